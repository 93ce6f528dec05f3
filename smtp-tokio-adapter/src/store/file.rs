//! A store of one file a record.
//!
//! A file begins with four lines: the form, the key, the second at which it expires, and the
//! checksum of everything else. The value follows. The parts of the key, between slashes, are
//! folders and the name of the file; what is no letter, digit, dot, hyphen or underscore is written
//! as `%` and two digits.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use super::{MAX_LISTED, MAX_VALUE_LEN, Pending, Store, StoreError};

const FORM: &str = "smtp store 1";
/// The last part of the name of a record.
const SUFFIX: &str = ".rec";
/// Of a file that is being written; what a crash leaves is overwritten.
const TEMPORARY: &str = ".new";
/// Of a file that was damaged.
const DAMAGED: &str = ".damaged";
/// Folders in folders that are looked through.
const MAX_DEPTH: usize = 8;
/// Octets of a part of a key in one name of a file or folder; a longer part is several folders.
const MAX_NAME: usize = 200;
/// Most calls that read at the same time. Our own choice: more threads do not make a disk faster.
const MAX_READERS: usize = 8;
/// Records after which all are looked at, and those that have expired are removed.
const SWEEP: u64 = 1024;

/// A store in a directory, one file a record, which one process at a time may use.
///
/// A file is written under another name, flushed to the disk, and renamed: after a crash there is
/// the old record or the new one. A file that was damaged otherwise is renamed to `*.damaged`,
/// named in the log, and taken for absent.
///
/// At most eight calls read at the same time, and one writes: a disk that hangs takes no more than
/// nine threads of the runtime. A call that is dropped while it waits for its turn does nothing.
#[derive(Clone, Debug)]
pub struct FileStore {
    directory: PathBuf,
    /// Taken by whatever changes files. Reading needs no lock, because a file is replaced whole.
    changing: Arc<Mutex<()>>,
    /// Records that were put.
    puts: Arc<AtomicU64>,
    readers: Arc<Semaphore>,
    /// One turn: what an earlier call writes never follows what a later one wrote.
    writer: Arc<Semaphore>,
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
            directory,
            changing: Arc::default(),
            puts: Arc::default(),
            readers: Arc::new(Semaphore::new(MAX_READERS)),
            writer: Arc::new(Semaphore::new(1)),
        })
    }

    /// The parts of the key are folders, and the last one is the file.
    fn path(&self, key: &str) -> PathBuf {
        let mut path = self.directory.clone();
        for part in key.split('/') {
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
        path.as_mut_os_string().push(SUFFIX);
        path
    }
}

/// Runs this where it may block, in its turn.
fn blocking<'a, T: Send + 'static>(
    turns: &Arc<Semaphore>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Pending<'a, T> {
    let turns = Arc::clone(turns);
    Box::pin(async move {
        // It is never closed.
        let turn = turns.acquire_owned().await.map_err(|_| StoreError::Away)?;
        let work = move || {
            // The turn is over when the work is, also if the call is dropped meanwhile.
            let _turn = turn;
            work()
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(StoreError::Io)
    })
}

impl Store for FileStore {
    fn get<'a>(&'a self, key: &'a str) -> Pending<'a, Option<Vec<u8>>> {
        let (path, key, changing) = (self.path(key), key.to_owned(), Arc::clone(&self.changing));
        blocking(&self.readers, move || {
            Ok(read(&path, &changing)?.filter(|(found, _)| *found == key).map(|it| it.1))
        })
    }

    fn put<'a>(&'a self, key: &'a str, value: &'a [u8], lifetime: Duration) -> Pending<'a, ()> {
        let path = self.path(key);
        let octets = encode(key, expiry(lifetime), value);
        let (directory, changing) = (self.directory.clone(), Arc::clone(&self.changing));
        let is_time = self.puts.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1;
        Box::pin(async move {
            let changed = Arc::clone(&changing);
            let written = blocking(&self.writer, move || {
                let _alone = alone(&changed);
                write(&path, &octets)
            });
            written.await?;
            if is_time {
                let swept = blocking(&self.readers, move || {
                    walk(&directory, MAX_DEPTH, &changing, &mut |_, _| true)
                });
                swept.await?;
            }
            Ok(())
        })
    }

    fn put_new<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        lifetime: Duration,
    ) -> Pending<'a, bool> {
        let (path, key, changing) = (self.path(key), key.to_owned(), Arc::clone(&self.changing));
        let new = encode(&key, expiry(lifetime), value);
        blocking(&self.writer, move || {
            let _alone = alone(&changing);
            // What has expired, is damaged or belongs to another key is no value.
            let is_current = |it: &(String, u64, Vec<u8>)| it.0 == key && it.1 > now();
            if octets(&path)?.and_then(|it| decode(&it)).is_some_and(|it| is_current(&it)) {
                return Ok(false);
            }
            write(&path, &new)?;
            Ok(true)
        })
    }

    fn remove<'a>(&'a self, key: &'a str) -> Pending<'a, ()> {
        let (path, changing) = (self.path(key), Arc::clone(&self.changing));
        blocking(&self.writer, move || {
            let _alone = alone(&changing);
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => Ok(()),
            }
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Pending<'a, Vec<(String, Vec<u8>)>> {
        let (directory, prefix) = (self.directory.clone(), prefix.to_owned());
        let changing = Arc::clone(&self.changing);
        blocking(&self.readers, move || {
            let mut found = Vec::new();
            walk(&directory, MAX_DEPTH, &changing, &mut |key, value| {
                if key.starts_with(&prefix) {
                    found.push((key, value));
                }
                found.len() < MAX_LISTED
            })?;
            Ok(found)
        })
    }
}

fn alone(changing: &Mutex<()>) -> MutexGuard<'_, ()> {
    // There is nothing in it that could be out of order.
    changing.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads every record until `next` returns false, which removes those that have expired, and the
/// folders that nothing is left in. What cannot be read is named in the log, and left out. Returns
/// whether `next` wants more.
fn walk(
    directory: &Path,
    depth: usize,
    changing: &Mutex<()>,
    next: &mut dyn FnMut(String, Vec<u8>) -> bool,
) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        let walked = match entry.file_type()?.is_dir() {
            true if depth == 0 => continue,
            true => walk(&path, depth - 1, changing, next).inspect(|_| {
                let _alone = alone(changing);
                // Fails if there is something left.
                drop(fs::remove_dir(&path));
            }),
            false if !entry.file_name().to_str().is_some_and(|name| name.ends_with(SUFFIX)) => {
                continue;
            }
            false => read(&path, changing).map(|it| it.is_none_or(|(key, value)| next(key, value))),
        };
        match walked {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a part of the store cannot be read");
            }
        }
    }
    Ok(true)
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

/// Key and value of a file, unless it has expired. A damaged file is set aside.
fn read(path: &Path, changing: &Mutex<()>) -> io::Result<Option<(String, Vec<u8>)>> {
    let is_current = |it: &(String, u64, Vec<u8>)| it.1 > now();
    if let Some((key, _, value)) = octets(path)?.and_then(|it| decode(&it)).filter(is_current) {
        return Ok(Some((key, value)));
    }
    // Once more, now that no other call changes the file.
    let _alone = alone(changing);
    let Some(octets) = octets(path)? else { return Ok(None) };
    match decode(&octets) {
        Some(found) if is_current(&found) => Ok(Some((found.0, found.2))),
        Some(_) => {
            fs::remove_file(path)?;
            Ok(None)
        }
        None => {
            let aside = with_suffix(path, DAMAGED);
            tracing::warn!(
                file = %path.display(),
                aside = %aside.display(),
                "a file of the store is damaged; it is set aside, and its record is made anew"
            );
            fs::rename(path, aside)?;
            Ok(None)
        }
    }
}

/// The octets of a file, if there is one.
fn octets(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        // A name that is too long for a file was never written.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename) =>
        {
            return Ok(None);
        }
        file => file?,
    };
    let mut octets = Vec::new();
    let limit = u64::try_from(MAX_VALUE_LEN + 1024).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut octets)?;
    Ok(Some(octets))
}

fn encode(key: &str, expires: u64, value: &[u8]) -> Vec<u8> {
    let sum = checksum([key.as_bytes(), expires.to_string().as_bytes(), value]);
    let head = format!("{FORM}\n{key}\n{expires}\n{sum:08x}\n");
    [head.as_bytes(), value].concat()
}

fn decode(octets: &[u8]) -> Option<(String, u64, Vec<u8>)> {
    let mut parts = octets.splitn(5, |octet| *octet == b'\n');
    let mut line = || std::str::from_utf8(parts.next()?).ok();
    let (form, key, expires, sum) = (line()?, line()?, line()?, line()?);
    let value = parts.next()?;
    let expected = checksum([key.as_bytes(), expires.as_bytes(), value]);
    let good = form == FORM && sum == format!("{expected:08x}") && value.len() <= MAX_VALUE_LEN;
    good.then_some((key.to_owned(), expires.parse().ok()?, value.to_vec()))
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
