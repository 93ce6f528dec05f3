//! The folder of corpora beside the repository.

use std::path::PathBuf;

/// A file of the corpora. `None`, and a line that names the file, if it is absent, as in a clone of
/// the repository alone. In CI a folder that is there, or that the variable names, must have it.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub(crate) fn read(file: &str) -> Option<String> {
    let named = std::env::var_os("SMTP_CORPORA_DIR").map(PathBuf::from);
    let is_named = named.is_some();
    let folder = named.unwrap_or_else(|| {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpora"))
    });
    let is_due = || {
        let in_ci = std::env::var("CI").as_deref() == Ok("true");
        in_ci && (is_named || folder.is_dir())
    };
    match std::fs::read_to_string(folder.join(file)) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert!(!is_due(), "in CI {file} must be in {}", folder.display());
            println!("skipped: {file} is not in {}", folder.display());
            None
        }
        Err(error) => panic!("{file} in {}: {error}", folder.display()),
    }
}
