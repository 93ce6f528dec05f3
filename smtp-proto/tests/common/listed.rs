//! The tests that there are.

use std::collections::HashSet;
use std::path::Path;

/// The names of all tests of a package: functions under an attribute `test`, and the conversations,
/// each of which is a test. They are read from its files: to list them by `cargo test` would build
/// the package once more.
pub(crate) fn tests(package: &str) -> HashSet<String> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(package);
    let mut names = HashSet::new();
    for folder in ["src", "tests"] {
        below(&package.join(folder), &mut names);
    }
    names
}

fn below(folder: &Path, names: &mut HashSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(&path, names);
        } else if path.parent().is_some_and(|it| it.ends_with("tests/conversations")) {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            // Between the attribute and the function there may be other attributes.
            let mut test = false;
            for line in text.lines().map(str::trim) {
                if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    test = true;
                } else if !line.starts_with("#[") {
                    let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
                    names.extend(
                        name.filter(|_| test)
                            .and_then(|it| it.split('(').next())
                            .map(str::to_owned),
                    );
                    test = false;
                }
            }
        }
    }
}
