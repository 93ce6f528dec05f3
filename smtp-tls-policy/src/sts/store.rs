//! Where policies are kept beyond the process.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pki_types::UnixTime;

use super::exchange::{CachedPolicy, StoreChange};
use super::policy::{MAX_POLICY_LEN, PolicyText};
use super::txt::PolicyId;
use crate::domain::Domain;

/// Keeps policies beyond the process. Written by the caller as the [`Cache`](super::Cache) says;
/// read once, when it begins.
pub trait PolicyStore {
    /// Everything in the store that can be read, in any order.
    ///
    /// # Errors
    ///
    /// The store as a whole cannot be read. One policy that cannot be read is no error: see
    /// [`Loaded::damaged`].
    fn load(&mut self) -> Result<Loaded, StoreError>;

    /// Makes one change. When it returns, the change is durable; when it fails, the store holds
    /// either the old policy of that domain or the new one, whole.
    ///
    /// # Errors
    ///
    /// The change could not be made.
    fn apply(&mut self, change: &StoreChange) -> Result<(), StoreError>;
}

/// What a store held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// The policies.
    pub policies: Vec<CachedPolicy>,
    /// What cannot be read, for a log: the domain as far as it is known. To the cache these have no
    /// policy, as if they had never been mailed to; the next delivery fetches it again and replaces
    /// them.
    pub damaged: Vec<(Option<Domain>, StoreError)>,
}

/// Why a store does not do what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system failed.
    #[error("the policy store cannot {doing}: {kind}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the file system said.
        kind: io::ErrorKind,
    },
    /// A stored policy is incomplete or was changed.
    #[error("a stored policy is damaged")]
    Damaged,
    /// The file is none that this store writes.
    #[error("a file in the policy store is no stored policy")]
    Foreign,
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> StoreError {
    move |error| StoreError::Io { doing, kind: error.kind() }
}

/// A store that lives as long as its value: for tests, and where policies need not outlive the
/// process.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(BTreeMap<Domain, CachedPolicy>);

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl PolicyStore for MemoryStore {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        Ok(Loaded { policies: self.0.values().cloned().collect(), damaged: Vec::new() })
    }

    fn apply(&mut self, change: &StoreChange) -> Result<(), StoreError> {
        match change {
            StoreChange::Save(cached) => self.0.insert(cached.domain().clone(), cached.clone()),
            StoreChange::Remove(domain) => self.0.remove(domain),
        };
        Ok(())
    }
}

/// A store of one file a policy, in a directory of its own.
///
/// A file is written under another name, flushed to the disk, and renamed: after a crash there is
/// the old policy or the new one. A checksum tells a file that was damaged otherwise; it does not
/// protect against a writer to the directory, which could write a policy of its own. Each call
/// blocks on the disk.
#[derive(Clone, Debug)]
pub struct FileStore {
    directory: PathBuf,
}

/// The last part of the name of a stored policy. A domain that has a policy is at most 244 bytes
/// long, because `_mta-sts.` precedes it, so the name stays under the 255 bytes of most file
/// systems.
const SUFFIX: &str = ".sts";
/// The last part of the name of a file that is being written; what a crash leaves is removed when
/// loading.
const TEMPORARY: &str = ".tmp";
/// The first line of a stored policy.
const MAGIC: &str = "mta-sts-policy 1";
/// The policy, and four lines in front of it: the first, domain, id and time, of which the domain
/// is the longest.
const MAX_FILE_LEN: u64 = MAX_POLICY_LEN as u64 + 512;

impl FileStore {
    /// A store in this directory, which is made if it does not exist. One process at a time may use
    /// it.
    ///
    /// # Errors
    ///
    /// The directory cannot be made.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let directory = directory.into();
        fs::create_dir_all(&directory).map_err(failed("make its directory"))?;
        Ok(Self { directory })
    }

    fn path(&self, domain: &Domain, suffix: &str) -> PathBuf {
        // A domain has no slash, no empty label and no dot in front: it is a file name.
        self.directory.join(format!("{domain}{suffix}"))
    }

    fn save(&self, cached: &CachedPolicy) -> Result<(), StoreError> {
        let temporary = self.path(cached.domain(), TEMPORARY);
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(&encode(cached))?;
            file.sync_all()
        });
        let renamed = written.map_err(failed("write a policy")).and_then(|()| {
            fs::rename(&temporary, self.path(cached.domain(), SUFFIX))
                .map_err(failed("rename a policy"))
        });
        if renamed.is_err() {
            // The first error is the one to tell; what is left goes when loading.
            let _ = fs::remove_file(&temporary);
        }
        renamed?;
        self.sync()
    }

    fn remove(&self, domain: &Domain) -> Result<(), StoreError> {
        match fs::remove_file(self.path(domain, SUFFIX)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove a policy")(error))
            }
            Ok(()) | Err(_) => self.sync(),
        }
    }

    /// Makes a rename or a removal durable. Other systems than Unix do that by themselves, or
    /// cannot.
    fn sync(&self) -> Result<(), StoreError> {
        if cfg!(unix) {
            File::open(&self.directory)
                .and_then(|directory| directory.sync_all())
                .map_err(failed("flush its directory"))?;
        }
        Ok(())
    }
}

impl PolicyStore for FileStore {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        for entry in fs::read_dir(&self.directory).map_err(failed("read its directory"))? {
            let path = entry.map_err(failed("read its directory"))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.ends_with(TEMPORARY) {
                // No other process writes here: a crash left it. If it cannot be removed, the next
                // save overwrites it.
                let _ = fs::remove_file(&path);
                continue;
            }
            // Only the one spelling that is written: one domain must not have two files.
            let domain = name
                .strip_suffix(SUFFIX)
                .and_then(|text| Domain::parse(text).ok().filter(|domain| domain.as_str() == text));
            let read = match &domain {
                Some(domain) => {
                    read(&path).and_then(|bytes| decode(&bytes, domain).ok_or(StoreError::Damaged))
                }
                None => Err(StoreError::Foreign),
            };
            match read {
                Ok(cached) => loaded.policies.push(cached),
                Err(error) => loaded.damaged.push((domain, error)),
            }
        }
        Ok(loaded)
    }

    fn apply(&mut self, change: &StoreChange) -> Result<(), StoreError> {
        match change {
            StoreChange::Save(cached) => self.save(cached),
            StoreChange::Remove(domain) => self.remove(domain),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed("read a policy"))?;
    file.take(MAX_FILE_LEN + 1).read_to_end(&mut bytes).map_err(failed("read a policy"))?;
    Ok(bytes)
}

/// Lines of text: the first one, domain, id, time, the policy, and in the last the checksum of all
/// that precedes it.
fn encode(cached: &CachedPolicy) -> Vec<u8> {
    let (domain, id, fetched) = (cached.domain(), cached.id(), cached.fetched().as_secs());
    let body = format!("{MAGIC}\n{domain}\n{id}\n{fetched}\n{}\n", cached.policy());
    let sum = checksum(body.as_bytes());
    format!("{body}{sum:08x}\n").into_bytes()
}

fn decode(bytes: &[u8], expected: &Domain) -> Option<CachedPolicy> {
    if bytes.len() as u64 > MAX_FILE_LEN {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let (body, sum) = text.split_at(text.rfind('\n')? + 1);
    if sum != format!("{:08x}", checksum(body.as_bytes())) {
        return None;
    }
    let mut lines = body.strip_suffix('\n')?.splitn(5, '\n');
    let (magic, domain, id, fetched) = (lines.next()?, lines.next()?, lines.next()?, lines.next()?);
    // A file that was copied under another name is not the policy of that domain.
    if magic != MAGIC || domain != expected.as_str() {
        return None;
    }
    let fetched = UnixTime::since_unix_epoch(Duration::from_secs(fetched.parse().ok()?));
    let policy = PolicyText::parse_tolerant(lines.next()?.as_bytes()).ok()?;
    Some(CachedPolicy::new(expected.clone(), PolicyId::parse(id)?, fetched, policy))
}

/// CRC-32 (ISO 3309), which tells every change of up to 32 bits in a row.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 }
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}
