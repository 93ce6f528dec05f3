//! The files of a folder and of the folders in it, one at a time.

use std::fs::{self, ReadDir};
use std::io;
use std::path::PathBuf;

use crate::aside;

/// Folders in folders that are looked through.
const MAX_DEPTH: usize = 8;

/// What a walk comes to.
pub(super) enum Entry {
    File(PathBuf),
    /// A folder in the first one whose files have all been given.
    Left(PathBuf),
}

/// Walks through a folder, but not through what was set aside.
pub(super) struct Walk {
    open: Vec<(PathBuf, ReadDir)>,
}

impl Walk {
    pub(super) fn new(folder: PathBuf) -> io::Result<Self> {
        let entries = fs::read_dir(&folder)?;
        Ok(Self { open: vec![(folder, entries)] })
    }
}

impl Iterator for Walk {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (_, entries) = self.open.last_mut()?;
            let Some(entry) = entries.next() else {
                let left = self.open.pop().filter(|_| !self.open.is_empty());
                return left.map(|(folder, _)| Ok(Entry::Left(folder)));
            };
            let found = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?.is_dir())));
            match found {
                Ok((path, false)) => return Some(Ok(Entry::File(path))),
                Ok((path, true))
                    if self.open.len() > MAX_DEPTH || path.ends_with(aside::FOLDER) => {}
                Ok((path, true)) => match fs::read_dir(&path) {
                    Ok(entries) => self.open.push((path, entries)),
                    // Another call has removed it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Some(Err(error)),
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
