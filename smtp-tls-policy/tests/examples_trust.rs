//! What can be copied from the docs and examples trusts real roots, or the example's own authority:
//! a trust without roots would defer all mail.

use std::fs;
use std::path::{Path, PathBuf};

/// Ways to build a trust that has no roots.
const EMPTY: [&str; 5] = [
    "Trust::empty(",
    "Trust::new([])",
    "Trust::new(vec![])",
    "Trust::new(None)",
    "Trust::from_der([])",
];
const WITH_ROOTS: [&str; 4] =
    ["Trust::webpki_roots(", "native_roots(", "Trust::from_der(", "Trust::new("];

fn files(folder: &Path, ends: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ends, found);
        } else if path.to_string_lossy().ends_with(ends) {
            found.push(path);
        }
    }
}

/// Each line that a reader may copy: pages whole, examples whole, and doc comments of sources.
fn copyable() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut pages = vec![root.join("README.md")];
    let mut sources = Vec::new();
    for package in ["smtp-proto", "smtp-tls-policy", "smtp-tokio-adapter", "benches"] {
        let package = root.join(package);
        pages.push(package.join("README.md"));
        files(&package.join("examples"), ".rs", &mut pages);
        files(&package.join("src"), ".md", &mut pages);
        files(&package.join("src"), ".rs", &mut sources);
    }
    let mut lines = Vec::new();
    for path in pages.into_iter().filter(|path| path.exists()) {
        let text = fs::read_to_string(&path).unwrap();
        lines.extend(text.lines().map(|line| (path.clone(), line.to_owned())));
    }
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        let docs = text.lines().map(str::trim_start);
        let docs = docs.filter(|line| line.starts_with("//!") || line.starts_with("///"));
        lines.extend(docs.map(|line| (path.clone(), line.to_owned())));
    }
    lines
}

#[test]
fn no_example_builds_an_empty_trust() {
    let lines = copyable();
    let empty: Vec<_> = lines
        .iter()
        .filter(|(_, line)| EMPTY.iter().any(|empty| line.contains(empty)))
        .map(|(path, line)| format!("{}: {line}", path.display()))
        .collect();
    assert!(empty.is_empty(), "{}", empty.join("\n"));
    // The test reads what it should: the page, the docs and the examples do build trusts.
    let with_roots = |name: &str| {
        lines.iter().any(|(path, line)| {
            path.to_string_lossy().contains(name)
                && WITH_ROOTS.iter().any(|roots| line.contains(roots))
        })
    };
    for name in ["README.md", "smtp-tls-policy/src/", "examples/mail_path/"] {
        assert!(with_roots(name), "{name}");
    }
}
