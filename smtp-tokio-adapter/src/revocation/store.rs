//! Fetched lists on disk, one file for each.
//!
//! A file begins with three lines of text, the form, the set of roots and the URL, and has the list
//! in DER after them. Its name is a digest of roots and URL.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use smtp_tls_policy::pki::RootsId;

const FORM: &str = "smtp revocation list 1";
const SUFFIX: &str = "crl";

/// A list that was kept.
pub(super) struct Kept {
    pub(super) path: PathBuf,
    pub(super) roots: RootsId,
    pub(super) url: String,
    pub(super) der: Vec<u8>,
}

/// Writes a list. A crash leaves the old file or the new one.
pub(super) async fn write(
    directory: &Path,
    roots: &RootsId,
    url: &str,
    der: &[u8],
) -> io::Result<()> {
    let head = format!("{FORM}\n{roots}\n{url}\n");
    if roots.as_str().contains('\n') {
        return Err(io::Error::other("the name of the roots has a line end"));
    }
    let digest = Sha256::digest(format!("{roots}\n{url}"));
    let name: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    let path = directory.join(name).with_extension(SUFFIX);
    let new = path.with_extension("new");
    tokio::fs::create_dir_all(directory).await?;
    tokio::fs::write(&new, [head.as_bytes(), der].concat()).await?;
    tokio::fs::File::open(&new).await?.sync_all().await?;
    tokio::fs::rename(&new, &path).await
}

/// Reads all lists of a directory that are not longer than this. A damaged file is set aside with
/// the suffix `damaged`.
pub(super) async fn read(directory: &Path, max_len: usize) -> io::Result<Vec<Kept>> {
    let mut entries = match tokio::fs::read_dir(directory).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    while let Some(entry) = entries.next_entry().await? {
        let path = entry.path();
        if path.extension() != Some(OsStr::new(SUFFIX)) {
            continue;
        }
        let len = usize::try_from(entry.metadata().await?.len()).unwrap_or(usize::MAX);
        let octets = match len <= max_len.saturating_add(4096) {
            true => tokio::fs::read(&path).await?,
            false => Vec::new(),
        };
        match parse(&octets) {
            Some((roots, url, der)) => {
                found.push(Kept { path, roots: RootsId::new(roots), url: url.to_owned(), der });
            }
            None => set_aside(&path, "not a revocation list that was kept here").await,
        }
    }
    Ok(found)
}

fn parse(octets: &[u8]) -> Option<(&str, &str, Vec<u8>)> {
    let mut parts = octets.splitn(4, |octet| *octet == b'\n');
    let mut line = || std::str::from_utf8(parts.next()?).ok();
    let (form, roots, url) = (line()?, line()?, line()?);
    let der = parts.next()?.to_vec();
    (form == FORM).then_some((roots, url, der))
}

/// Renames a damaged file, so that it is not read again and can be looked at.
pub(super) async fn set_aside(path: &Path, why: &str) {
    let aside = path.with_extension("damaged");
    let moved = tokio::fs::rename(path, &aside).await;
    tracing::warn!(
        file = %path.display(),
        why,
        "a kept revocation list is damaged; it is set aside, and fetched again when it is wanted"
    );
    if let Err(error) = moved {
        tracing::warn!(file = %path.display(), %error, "the damaged file cannot be renamed");
    }
}
