//! Reads a cache of CRLite filters from its directory. Blocks.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pki_types::UnixTime;
use sha2::{Digest, Sha256};

use super::error::CrliteError;
use super::filters::{Filter, Filters};
use super::manifest::{Listed, Manifest};

const MANIFEST: &str = "manifest.json";
/// Most octets of the manifest. With a thousand filters it has some 150 KiB.
const MAX_MANIFEST_LEN: u64 = 1 << 20;

/// The filters of one manifest.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    /// The digest of the manifest.
    manifest: [u8; 32],
    /// When the manifest was made.
    listed: UnixTime,
    /// How old the data is: the time of the manifest, or of the newest SCT that is covered, if that
    /// is older.
    pub(super) made: UnixTime,
    pub(super) filters: Arc<Filters>,
}

impl Cache {
    /// Reads the manifest and its filters, but for those that are in memory. Returns what was read
    /// before, and false, if the manifest has not changed.
    pub(super) fn read(
        directory: &Path,
        max_len: u64,
        before: Option<Self>,
    ) -> Result<(Self, bool), CrliteError> {
        let path = directory.join(MANIFEST);
        let octets = match read(&path, MAX_MANIFEST_LEN) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CrliteError::NoData(path));
            }
            read => read.map_err(|error| CrliteError::Io { path, error })?,
        };
        if len(&octets) > MAX_MANIFEST_LEN {
            let what = "the manifest of the CRLite data";
            return Err(CrliteError::TooLarge { what, limit: MAX_MANIFEST_LEN });
        }
        let digest = Sha256::digest(&octets).into();
        let before = match before {
            Some(before) if before.manifest == digest => return Ok((before, false)),
            before => before,
        };
        let manifest = Manifest::parse(&octets)?;
        let offered = seconds(manifest.made);
        if let Some(have) =
            before.as_ref().map(|before| before.listed).filter(|have| *have > offered)
        {
            return Err(CrliteError::Older { have, offered });
        }
        let sum = manifest.files.iter().fold(0u64, |sum, file| sum.saturating_add(file.len));
        if sum > max_len {
            let what = "the CRLite data";
            return Err(CrliteError::TooLarge { what, limit: max_len });
        }
        let known: &[Arc<Filter>] = before.as_ref().map_or(&[], |before| &before.filters.0);
        let mut filters = Vec::new();
        for listed in &manifest.files {
            filters.push(match known.iter().find(|filter| filter.digest == listed.digest) {
                Some(filter) => Arc::clone(filter),
                None => Arc::new(filter(directory.join(&listed.name), listed)?),
            });
        }
        let newest = filters.iter().map(|filter| filter.newest()).max().unwrap_or(0);
        let made = seconds(manifest.made.min(newest));
        let filters = Arc::new(Filters(filters));
        Ok((Self { manifest: digest, listed: offered, made, filters }, true))
    }
}

fn filter(path: PathBuf, listed: &Listed) -> Result<Filter, CrliteError> {
    let octets = read(&path, listed.len).map_err(|error| CrliteError::Io { path, error })?;
    if len(&octets) != listed.len {
        let (name, expected) = (listed.name.clone(), listed.len);
        return Err(CrliteError::Length { name, expected, found: len(&octets) });
    }
    let digest: [u8; 32] = Sha256::digest(&octets).into();
    if digest != listed.digest {
        return Err(CrliteError::Digest(listed.name.clone()));
    }
    Filter::parse(listed, &octets)
}

/// Reads a regular file, and at most one octet more than this.
fn read(path: &Path, max_len: u64) -> io::Result<Vec<u8>> {
    // A pipe would keep the thread for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut octets = Vec::new();
    File::open(path)?.take(max_len.saturating_add(1)).read_to_end(&mut octets)?;
    Ok(octets)
}

fn len(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}

fn seconds(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}
