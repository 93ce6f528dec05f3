//! The folder of corpora beside the repository.

use std::path::PathBuf;

/// A file of the corpora. `None`, and a line that names the file, if it is absent, as in a clone of
/// the repository alone.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub(crate) fn read(file: &str) -> Option<String> {
    let folder = std::env::var_os("SMTP_CORPORA_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpora")),
        PathBuf::from,
    );
    match std::fs::read_to_string(folder.join(file)) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: {file} is not in {}", folder.display());
            None
        }
        Err(error) => panic!("{file} in {}: {error}", folder.display()),
    }
}
