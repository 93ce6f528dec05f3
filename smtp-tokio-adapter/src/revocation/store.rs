//! Fetched lists on disk, one file for each.
//!
//! A file begins with three lines of text, the form, the set of roots and the URL, and has the list
//! in DER after them. Its name is a digest of roots and URL.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use smtp_tls_policy::pki::RootsId;
use tokio::io::AsyncReadExt;

/// The first line of each file, and the version that is written.
const FORM: &str = "smtp revocation list ";
const VERSION: u32 = 1;
const SUFFIX: &str = "crl";
/// Octets of a file before its list: the form, the set of roots and the URL.
const MAX_HEAD_LEN: usize = 4096;

/// A list that was kept.
pub(super) struct Kept {
    pub(super) path: PathBuf,
    pub(super) roots: RootsId,
    pub(super) url: String,
    pub(super) der: Vec<u8>,
}

/// Writes a list. A crash leaves the old file or the new one. A file of a later version is left
/// alone.
pub(super) async fn write(
    directory: &Path,
    roots: &RootsId,
    url: &str,
    der: &[u8],
) -> io::Result<()> {
    let head = format!("{FORM}{VERSION}\n{roots}\n{url}\n");
    if roots.as_str().contains('\n') {
        return Err(io::Error::other("the name of the roots has a line end"));
    }
    let digest = Sha256::digest(format!("{roots}\n{url}"));
    let name: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    let path = directory.join(name).with_extension(SUFFIX);
    let new = path.with_extension("new");
    if let Ok(there) = read_some(&path, MAX_HEAD_LEN).await
        && version(&there).is_some_and(|version| version > VERSION)
    {
        return Ok(());
    }
    tokio::fs::create_dir_all(directory).await?;
    tokio::fs::write(&new, [head.as_bytes(), der].concat()).await?;
    tokio::fs::File::open(&new).await?.sync_all().await?;
    tokio::fs::rename(&new, &path).await
}

/// Reads all lists of a directory that are not longer than this. A damaged file is set aside with
/// the suffix `damaged`; a file of a later version, and one that cannot be read, is named in the
/// log and left alone.
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
        let limit = max_len.saturating_add(MAX_HEAD_LEN);
        let octets = match read_some(&path, limit.saturating_add(1)).await {
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => Vec::new(),
            Err(error) => {
                let file = path.display();
                tracing::warn!(%file, %error, "a kept revocation list cannot be read");
                continue;
            }
        };
        match (version(&octets), parse(&octets)) {
            (Some(version), _) if version > VERSION => tracing::warn!(
                file = %path.display(),
                "a kept revocation list is of a later version of this program; it is left alone, \
                 and fetched again when it is wanted"
            ),
            (Some(VERSION), Some((roots, url, der))) if octets.len() <= limit => {
                found.push(Kept { path, roots: RootsId::new(roots), url: url.to_owned(), der });
            }
            (_, _) => set_aside(&path, "not a revocation list that was kept here").await,
        }
    }
    Ok(found)
}

/// At most this many octets of a file.
async fn read_some(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let (mut octets, file) = (Vec::new(), tokio::fs::File::open(path).await?);
    file.take(u64::try_from(limit).unwrap_or(u64::MAX)).read_to_end(&mut octets).await?;
    Ok(octets)
}

/// The version of a file's form.
fn version(octets: &[u8]) -> Option<u32> {
    let first = octets.split(|octet| *octet == b'\n').next()?;
    std::str::from_utf8(first).ok()?.strip_prefix(FORM)?.parse().ok()
}

fn parse(octets: &[u8]) -> Option<(&str, &str, Vec<u8>)> {
    let mut parts = octets.splitn(4, |octet| *octet == b'\n');
    let mut line = || std::str::from_utf8(parts.next()?).ok();
    let (_form, roots, url) = (line()?, line()?, line()?);
    Some((roots, url, parts.next()?.to_vec()))
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
