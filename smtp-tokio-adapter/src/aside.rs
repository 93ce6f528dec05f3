//! Damaged files, which are kept for an administrator to look at.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The folder for them, in the directory of the files.
pub(crate) const FOLDER: &str = ".damaged";
/// Most files that it keeps; the oldest go first. Our own choice: as a rule one fault of a disk
/// shows in one of them.
const MAX_KEPT: usize = 8;

/// Moves a damaged file, or a folder in the place of one, into the folder `.damaged` of this
/// directory, where the newest eight stay. Returns its new place: a name that begins with the time,
/// in seconds since 1970, and ends with the name that it had.
pub(crate) fn set_aside(directory: &Path, path: &Path) -> io::Result<PathBuf> {
    let folder = directory.join(FOLDER);
    fs::create_dir_all(&folder)?;
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut name = OsString::from(format!("{:010}.{:09}-", time.as_secs(), time.subsec_nanos()));
    name.push(path.file_name().unwrap_or_default());
    let aside = folder.join(name);
    fs::rename(path, &aside)?;
    let entries = fs::read_dir(&folder)?;
    let mut kept: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    kept.sort_unstable();
    for old in kept.iter().rev().skip(MAX_KEPT) {
        // What cannot be removed now is tried again next time.
        let _ = fs::remove_file(old).or_else(|_| fs::remove_dir_all(old));
    }
    Ok(aside)
}
