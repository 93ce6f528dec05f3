//! A store of one file a record.
//!
//! A file begins with four lines: the form, the key, the second at which it expires, and the
//! checksum of everything else. The value follows. The parts of the key, between slashes, are
//! folders and the name of the file; what is no letter, digit, dot, hyphen or underscore is written
//! as `%` and two digits.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use smtp_tls_policy::UnreadableRecord;
use tokio::sync::Semaphore;

use super::named::Named;
use super::walk::{Entry, Walk};
use super::{MAX_LISTED, MAX_VALUE_LEN, Store, StoreError};
use crate::aside::set_aside;

/// The first line of each file, and the number of the form that is written.
const FORM: &str = "smtp store ";
const NUMBER: u32 = 1;
/// The last part of the name of a record.
const SUFFIX: &str = ".rec";
/// Of a file that is being written; what a crash leaves is overwritten.
const TEMPORARY: &str = ".new";
/// Of a file of a later version whose record was put anew.
const NEWER: &str = ".newer";
/// Octets of a part of a key in one name of a file or folder; a longer part is several folders.
const MAX_NAME: usize = 200;
/// Most calls that read at the same time. Our own choice: more threads do not make a disk faster.
const MAX_READERS: usize = 8;
/// Records after which all are looked at, and those that have expired are removed.
const SWEEP: u64 = 1024;
/// Files that a sweep looks at in one turn among the readers.
const SLICE: usize = 256;

/// A store in a directory, one file a record, which one process at a time may use.
///
/// A file is written under another name, flushed to the disk, and renamed: after a crash there is
/// the old record or the new one. A file that was damaged otherwise, and a folder in the place of
/// one, is moved to the folder `.damaged`, where the newest eight stay, named in the log, and taken
/// for absent. A file that a later version of this library wrote is named in the log once and left
/// alone; if its record is put anew, it is kept as `*.newer`. A file that may not be read is named
/// in the log once, and taken for absent.
///
/// Records that have expired are removed while others are put, by a task in the background for
/// which no call waits.
///
/// At most eight calls read at the same time, and one writes: a disk that hangs takes no more than
/// nine threads of the runtime. A call that is dropped while it waits for its turn does nothing.
#[derive(Clone, Debug)]
pub struct FileStore {
    common: Arc<Common>,
    /// Records that were put.
    puts: Arc<AtomicU64>,
    /// Whether a sweep is under way.
    sweeping: Arc<AtomicBool>,
    readers: Arc<Semaphore>,
    /// One turn: what an earlier call writes never follows what a later one wrote.
    writer: Arc<Semaphore>,
}

/// What the calls have in common.
#[derive(Debug)]
struct Common {
    directory: PathBuf,
    /// Taken by whatever changes files. Reading needs no lock, because a file is replaced whole.
    changing: Mutex<()>,
    /// Files that cannot be read and stay where they are, as far as the log has named them.
    named: Named,
}

impl Common {
    fn alone(&self) -> MutexGuard<'_, ()> {
        // There is nothing in it that could be out of order.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileStore {
    /// A store in this directory, which is made if it does not exist. It blocks on the disk.
    ///
    /// # Errors
    ///
    /// The directory cannot be made.
    pub fn open(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        fs::create_dir_all(&directory)?;
        Ok(Self {
            common: Arc::new(Common {
                directory,
                changing: Mutex::default(),
                named: Named::default(),
            }),
            puts: Arc::default(),
            sweeping: Arc::default(),
            readers: Arc::new(Semaphore::new(MAX_READERS)),
            writer: Arc::new(Semaphore::new(1)),
        })
    }

    /// The parts of the key are folders, and the last one is the file.
    fn path(&self, key: &str) -> PathBuf {
        let mut path = self.parts(key.split('/'));
        path.as_mut_os_string().push(SUFFIX);
        path
    }

    /// The folder of all keys that begin so.
    fn folder(&self, prefix: &str) -> PathBuf {
        match prefix.rsplit_once('/') {
            Some((folder, _)) => self.parts(folder.split('/')),
            None => self.common.directory.clone(),
        }
    }

    fn parts<'a>(&self, parts: impl Iterator<Item = &'a str>) -> PathBuf {
        let mut path = self.common.directory.clone();
        for part in parts {
            let mut name = String::with_capacity(part.len());
            for (at, octet) in part.bytes().enumerate() {
                match octet {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => {
                        name.push(char::from(octet));
                    }
                    b'.' if at > 0 => name.push('.'),
                    _ => name.push_str(&format!("%{octet:02x}")),
                }
            }
            // File systems take names of up to 255 octets, and a suffix follows. Another key with
            // the same path would only take the record's place: `get` compares keys.
            let mut rest = &name[..];
            while rest.len() > MAX_NAME {
                path.push(&rest[..MAX_NAME]);
                rest = &rest[MAX_NAME..];
            }
            path.push(rest);
        }
        path
    }

    /// Looks at all records in the background, a few at a time, so that those that have expired are
    /// removed. One sweep at a time.
    fn sweep(&self) {
        if self.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let under_way = UnderWay(Arc::clone(&self.sweeping));
        let (directory, readers) = (self.common.directory.clone(), Arc::clone(&self.readers));
        let common = Arc::clone(&self.common);
        tokio::spawn(async move {
            let _under_way = under_way;
            let first = directory.clone();
            let mut walk = blocking(&readers, move || Walk::new(first).map(Some)).await;
            while let Ok(Some(left)) = walk {
                let common = Arc::clone(&common);
                walk = blocking(&readers, move || Ok(slice(left, &common))).await;
            }
            if let Err(error) = walk {
                let store = directory.display();
                tracing::warn!(%store, %error, "expired records of the store cannot be removed");
            }
        });
    }
}

/// Looks at some files, and returns what is left of the walk.
fn slice(mut walk: Walk, common: &Common) -> Option<Walk> {
    for _ in 0..SLICE {
        drop(look_at(walk.next()?, common));
    }
    Some(walk)
}

/// Says when a sweep is over, however it ends.
struct UnderWay(Arc<AtomicBool>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Runs this where it may block, in its turn.
async fn blocking<T: Send + 'static>(
    turns: &Arc<Semaphore>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    // It is never closed.
    let turn = Arc::clone(turns).acquire_owned().await.map_err(|_| StoreError::Away)?;
    let work = move || {
        // The turn is over when the work is, also if the call is dropped meanwhile.
        let _turn = turn;
        work()
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(StoreError::Io)
}

impl Store for FileStore {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let (path, key, common) = (self.path(key), key.to_owned(), Arc::clone(&self.common));
        blocking(&self.readers, move || {
            Ok(read(&path, &common)?.filter(|it| it.key == key).map(|it| it.value))
        })
        .await
    }

    async fn put(&self, key: &str, value: &[u8], lifetime: Duration) -> Result<(), StoreError> {
        let path = self.path(key);
        let new = encode(key, expiry(lifetime), value);
        let common = Arc::clone(&self.common);
        let written = blocking(&self.writer, move || {
            let _alone = common.alone();
            if is_newer(&path) {
                fs::rename(&path, with_suffix(&path, NEWER))?;
            }
            write(&path, &new)
        });
        written.await?;
        if self.puts.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            self.sweep();
        }
        Ok(())
    }

    async fn put_new(
        &self,
        key: &str,
        value: &[u8],
        lifetime: Duration,
    ) -> Result<bool, StoreError> {
        let (path, key, common) = (self.path(key), key.to_owned(), Arc::clone(&self.common));
        let new = encode(&key, expiry(lifetime), value);
        blocking(&self.writer, move || {
            let _alone = common.alone();
            let is_value = octets(&path)?.is_some_and(|octets| match decode(&octets) {
                Ok(record) => record.key == key && record.is_current(),
                Err(why) => why == UnreadableRecord::Newer,
            });
            // What has expired, is damaged or belongs to another key is no value.
            if !is_value {
                write(&path, &new)?;
            }
            Ok(!is_value)
        })
        .await
    }

    async fn remove(&self, key: &str) -> Result<(), StoreError> {
        let (path, common) = (self.path(key), Arc::clone(&self.common));
        blocking(&self.writer, move || {
            let _alone = common.alone();
            if is_newer(&path) {
                return Ok(());
            }
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => Ok(()),
            }
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let (store, folder, prefix) = (self.clone(), self.folder(prefix), prefix.to_owned());
        let (common, is_first) = (Arc::clone(&self.common), folder == self.common.directory);
        blocking(&self.readers, move || {
            let walk = match Walk::new(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && !is_first => {
                    return Ok(Vec::new());
                }
                walk => walk?,
            };
            let records = walk.filter_map(|entry| look_at(entry, &common));
            // A file that was copied to another place is not the record of its key.
            let found = records
                .filter(|(path, it)| it.key.starts_with(&prefix) && store.path(&it.key) == *path);
            Ok(found.take(MAX_LISTED).map(|(_, it)| (it.key, it.value)).collect())
        })
        .await
    }
}

/// The second at which a record expires that is put now.
fn expiry(lifetime: Duration) -> u64 {
    now().saturating_add(lifetime.as_secs())
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The path with another suffix in place of that of a record.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut other = path.with_extension("").into_os_string();
    other.push(suffix);
    other.into()
}

fn write(path: &Path, octets: &[u8]) -> io::Result<()> {
    let temporary = with_suffix(path, TEMPORARY);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut file = File::create(&temporary)?;
    file.write_all(octets)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        // Makes the rename durable. Other systems do that by themselves, or cannot.
        Some(directory) if cfg!(unix) => File::open(directory)?.sync_all(),
        Some(_) | None => Ok(()),
    }
}

/// What a walk has found: a file and its record, if it is one that has not expired. What cannot be
/// read is named in the log. A folder that nothing is left in is removed.
fn look_at(entry: io::Result<Entry>, common: &Common) -> Option<(PathBuf, Record)> {
    let path = match entry {
        Ok(Entry::File(path)) => path,
        Ok(Entry::Left(folder)) => {
            let _alone = common.alone();
            // Fails if there is something left.
            drop(fs::remove_dir(folder));
            return None;
        }
        Err(error) => {
            tracing::warn!(%error, "a part of the store cannot be read");
            return None;
        }
    };
    if !path.as_os_str().as_encoded_bytes().ends_with(SUFFIX.as_bytes()) {
        return None;
    }
    match read(&path, common) {
        Ok(record) => record.map(|record| (path, record)),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a part of the store cannot be read");
            None
        }
    }
}

/// The record of a file, unless it has expired. A damaged file is set aside.
fn read(path: &Path, common: &Common) -> io::Result<Option<Record>> {
    match octets(path) {
        Ok(Some(octets)) => {
            if let Ok(record) = decode(&octets)
                && record.is_current()
            {
                return Ok(Some(record));
            }
        }
        Ok(None) => return Ok(None),
        // One file is no reason to do without the others.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let file = path.display().to_string();
            if common.named.is_first(&file) {
                let what = "a file of the store may not be read; its record counts as absent";
                tracing::warn!(file, %error, "{what}");
            }
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    // Once more, now that no other call changes the file.
    let _alone = common.alone();
    let Some(octets) = octets(path)? else { return Ok(None) };
    match decode(&octets) {
        Ok(record) if record.is_current() => Ok(Some(record)),
        Ok(_) => {
            fs::remove_file(path)?;
            Ok(None)
        }
        Err(UnreadableRecord::Newer) => {
            let file = path.display().to_string();
            if common.named.is_first(&file) {
                tracing::warn!(
                    file,
                    "a file of the store is of a later version of this program; it is left alone, \
                     and its record is not used"
                );
            }
            Ok(None)
        }
        Err(UnreadableRecord::Damaged) => {
            let file = path.display();
            match set_aside(&common.directory, path) {
                Ok(aside) => tracing::warn!(
                    %file,
                    aside = %aside.display(),
                    "a file of the store is damaged; it is set aside, and its record is made anew"
                ),
                Err(error) => tracing::warn!(
                    %file,
                    %error,
                    "a file of the store is damaged, and cannot be set aside; its record is made anew"
                ),
            }
            Ok(None)
        }
    }
}

/// Whether a later version wrote this file.
fn is_newer(path: &Path) -> bool {
    let octets = octets(path).ok().flatten();
    octets.is_some_and(|octets| decode(&octets).err() == Some(UnreadableRecord::Newer))
}

/// The octets of a file, if there is one. A folder in its place has none.
fn octets(path: &Path) -> io::Result<Option<Vec<u8>>> {
    use io::ErrorKind::{InvalidFilename, IsADirectory, NotADirectory, NotFound};

    let file = match File::open(path) {
        // A name that is too long for a file was never written.
        Err(error) if matches!(error.kind(), NotFound | InvalidFilename | NotADirectory) => {
            return Ok(None);
        }
        Err(error) if error.kind() == IsADirectory => return Ok(Some(Vec::new())),
        file => file?,
    };
    let mut octets = Vec::new();
    let limit = u64::try_from(MAX_VALUE_LEN + 1024).unwrap_or(u64::MAX);
    match file.take(limit).read_to_end(&mut octets) {
        // On Unix a folder can be opened, and not be read.
        Err(error) if error.kind() != IsADirectory => Err(error),
        Ok(_) | Err(_) => Ok(Some(octets)),
    }
}

/// What a file holds.
struct Record {
    key: String,
    expires: u64,
    value: Vec<u8>,
}

impl Record {
    fn is_current(&self) -> bool {
        self.expires > now()
    }
}

fn encode(key: &str, expires: u64, value: &[u8]) -> Vec<u8> {
    let sum = checksum([key.as_bytes(), expires.to_string().as_bytes(), value]);
    let head = format!("{FORM}{NUMBER}\n{key}\n{expires}\n{sum:08x}\n");
    [head.as_bytes(), value].concat()
}

fn decode(octets: &[u8]) -> Result<Record, UnreadableRecord> {
    let mut parts = octets.splitn(5, |octet| *octet == b'\n');
    let mut line = || parts.next().and_then(|line| std::str::from_utf8(line).ok());
    let form = line().and_then(|line| line.strip_prefix(FORM)?.parse().ok());
    match form.ok_or(UnreadableRecord::Damaged)? {
        NUMBER => {}
        number if number > NUMBER => return Err(UnreadableRecord::Newer),
        _ => return Err(UnreadableRecord::Damaged),
    }
    let (key, expires, sum) = (line(), line(), line());
    let head = || Some((key?, expires?, sum?));
    let ((key, expires, sum), value) = head().zip(parts.next()).ok_or(UnreadableRecord::Damaged)?;
    let expected = checksum([key.as_bytes(), expires.as_bytes(), value]);
    let is_good = sum == format!("{expected:08x}") && value.len() <= MAX_VALUE_LEN;
    let expires = expires.parse().ok().filter(|_| is_good).ok_or(UnreadableRecord::Damaged)?;
    Ok(Record { key: key.to_owned(), expires, value: value.to_vec() })
}

/// CRC-32 (ISO 3309), which tells every change of up to 32 bits in a row.
fn checksum(parts: [&[u8]; 3]) -> u32 {
    let step = |sum: u32, octet: &u8| {
        (0..8).fold(sum ^ u32::from(*octet), |sum, _| {
            if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 }
        })
    };
    !parts.into_iter().flatten().fold(u32::MAX, step)
}
