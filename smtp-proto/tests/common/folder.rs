//! The folder of corpora beside the repository.

use std::path::PathBuf;

/// A file of the corpora; `None`, and a word about it, where the folder is absent, as in a clone of
/// the repository alone.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub(crate) fn read(file: &str) -> Option<String> {
    let folder = std::env::var_os("SMTP_CORPORA_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpora")),
        PathBuf::from,
    );
    if !folder.is_dir() {
        println!("skipped: no corpora in {}", folder.display());
        return None;
    }
    let path = folder.join(file);
    Some(
        std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    )
}
