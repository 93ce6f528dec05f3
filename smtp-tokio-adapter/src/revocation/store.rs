//! Fetched lists on disk, one file for each.
//!
//! A file begins with three lines of text, the form, the set of roots and the URL, and has the list
//! in DER after them. Its name is a digest of the set and the list: a list that comes from two URLs
//! is one file, and another list never takes its place. Everything here blocks on the disk.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sha2::{Digest, Sha256};
use smtp_tls_policy::pki::{Crl, RootsId, Trust};

use crate::aside::set_aside;

/// The first line of each file, and the version that is written.
const FORM: &str = "smtp revocation list ";
const VERSION: u32 = 1;
const SUFFIX: &str = "crl";
/// Of a file that is being written.
const TEMPORARY: &str = "new";
/// Octets of a file before its list: the form, the set of roots and the URL.
const MAX_HEAD_LEN: usize = 4096;

/// A directory of lists.
#[derive(Debug)]
pub(super) struct Folder {
    directory: PathBuf,
    /// The files whose lists are loaded, or were. Held while files are written or removed.
    files: Mutex<HashMap<PathBuf, Weak<Crl>>>,
}

/// A list that was kept.
pub(super) struct Kept {
    pub(super) roots: RootsId,
    pub(super) url: String,
    pub(super) der: Vec<u8>,
}

impl Folder {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, files: Mutex::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.directory
    }

    /// Writes a list. A crash leaves the whole file or none. A file of a later version is left
    /// alone.
    pub(super) fn write(
        &self,
        roots: &RootsId,
        url: &str,
        der: &[u8],
        list: &Arc<Crl>,
    ) -> io::Result<()> {
        if roots.as_str().contains('\n') {
            return Err(io::Error::other("the name of the roots has a line end"));
        }
        let mut files = self.files();
        let digest = Sha256::new().chain_update(format!("{roots}\n")).chain_update(der).finalize();
        let name: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
        let path = self.directory.join(name).with_extension(SUFFIX);
        if let Ok(there) = read_some(&path, MAX_HEAD_LEN)
            && version(&there).is_some_and(|version| version > VERSION)
        {
            return Ok(());
        }
        fs::create_dir_all(&self.directory)?;
        let new = path.with_extension(unique());
        let written = write_whole(&new, &format!("{FORM}{VERSION}\n{roots}\n{url}\n"), der);
        if let Err(error) = written.and_then(|()| fs::rename(&new, &path)) {
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        files.insert(path, Arc::downgrade(list));
        Ok(())
    }

    /// Notes that the list of this file is loaded.
    pub(super) fn loaded(&self, path: PathBuf, list: &Arc<Crl>) {
        self.files().insert(path, Arc::downgrade(list));
    }

    /// Removes the files whose lists were loaded and are no more.
    pub(super) fn sweep(&self, trust: &Trust) {
        let lists = trust.list_sets().into_iter().flat_map(|roots| trust.crls(roots));
        let loaded: HashSet<_> = lists.map(Arc::as_ptr).collect();
        // No other list has the address of one that a `Weak` points to.
        self.files().retain(|path, list| loaded.contains(&list.as_ptr()) || !remove(path));
    }

    /// The files of lists that are not loaded. What a crash has left half written is removed.
    pub(super) fn unloaded(&self) -> io::Result<Vec<PathBuf>> {
        let files = self.files();
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let suffix = path.extension().and_then(OsStr::to_str);
            match suffix {
                Some(TEMPORARY) => drop(remove(&path)),
                Some(SUFFIX) if !files.contains_key(&path) => found.push(path),
                _ => {}
            }
        }
        Ok(found)
    }

    /// Reads a list that is not longer than this. A damaged file is set aside; a file of a later
    /// version, and one that cannot be read, is named in the log and left alone.
    pub(super) fn read(&self, path: &Path, max_len: usize) -> Option<Kept> {
        let limit = max_len.saturating_add(MAX_HEAD_LEN);
        let octets = match read_some(path, limit.saturating_add(1)) {
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => Vec::new(),
            Err(error) => {
                let file = path.display();
                tracing::warn!(%file, %error, "a kept revocation list cannot be read");
                return None;
            }
        };
        match (version(&octets), head(&octets)) {
            (Some(version), _) if version > VERSION => {
                tracing::warn!(
                    file = %path.display(),
                    "a kept revocation list is of a later version of this program; it is left alone, \
                     and fetched again when it is wanted"
                );
                None
            }
            (Some(VERSION), Some((roots, url, len))) if octets.len() <= limit => {
                let (roots, url) = (RootsId::new(roots), url.to_owned());
                let mut der = octets;
                drop(der.drain(..len));
                Some(Kept { roots, url, der })
            }
            (_, _) => {
                self.set_aside(path, "not a revocation list that was kept here");
                None
            }
        }
    }

    /// Moves a damaged file out of the way, so that it is not read again and can be looked at.
    pub(super) fn set_aside(&self, path: &Path, why: &str) {
        let file = path.display();
        match set_aside(&self.directory, path) {
            Ok(aside) => tracing::warn!(
                %file,
                aside = %aside.display(),
                why,
                "a kept revocation list is damaged; it is set aside, and fetched again when it is \
                 wanted"
            ),
            Err(error) => tracing::warn!(
                %file,
                why,
                %error,
                "a kept revocation list is damaged, and cannot be set aside; it is fetched again \
                 when it is wanted"
            ),
        }
    }

    fn files(&self) -> MutexGuard<'_, HashMap<PathBuf, Weak<Crl>>> {
        // There is nothing in it that could be out of order.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a file that is of no more use. Returns whether it is gone.
pub(super) fn remove(path: &Path) -> bool {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let file = path.display();
            tracing::warn!(%file, %error, "the file of an old revocation list cannot be removed");
            false
        }
        _ => true,
    }
}

/// The suffix of a temporary file: no two that are written have the same.
fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{number}.{TEMPORARY}", std::process::id())
}

fn write_whole(path: &Path, head: &str, der: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(head.as_bytes())?;
    file.write_all(der)?;
    file.sync_all()
}

/// At most this many octets of a file.
fn read_some(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let (mut octets, file) = (Vec::new(), File::open(path)?);
    file.take(u64::try_from(limit).unwrap_or(u64::MAX)).read_to_end(&mut octets)?;
    Ok(octets)
}

/// The version of a file's form.
fn version(octets: &[u8]) -> Option<u32> {
    let first = octets.split(|octet| *octet == b'\n').next()?;
    std::str::from_utf8(first).ok()?.strip_prefix(FORM)?.parse().ok()
}

/// The set of roots and the URL, and the length of the head.
fn head(octets: &[u8]) -> Option<(&str, &str, usize)> {
    let mut parts = octets.splitn(4, |octet| *octet == b'\n');
    let mut line = || std::str::from_utf8(parts.next()?).ok();
    let (_form, roots, url) = (line()?, line()?, line()?);
    Some((roots, url, octets.len() - parts.next()?.len()))
}
