//! What became of the recipients of one message, a line for each outcome.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

pub(crate) struct Journal {
    file: File,
    lines: Vec<String>,
}

impl Journal {
    /// Reads the lines that are complete. A crash can cut off the last one: it is removed.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let is_new = !path.exists();
        let mut file = File::options().read(true).append(true).create(true).open(path)?;
        if is_new {
            File::open(path.parent().unwrap_or(path))?.sync_all()?;
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let end = text.iter().rposition(|&octet| octet == b'\n').map_or(0, |end| end + 1);
        file.set_len(end as u64)?;
        let text = String::from_utf8_lossy(&text[..end]);
        Ok(Self { file, lines: text.lines().map(str::to_owned).collect() })
    }

    /// Returns when the line is on the disk.
    pub(crate) fn note(&mut self, line: String) -> io::Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes())?;
        self.file.sync_data()?;
        self.lines.push(line);
        Ok(())
    }

    pub(crate) fn has(&self, line: &str) -> bool {
        self.lines.iter().any(|it| it == line)
    }

    /// The outcome of this recipient, if it has one.
    pub(crate) fn outcome(&self, index: usize) -> Option<&str> {
        let label = format!("{index} ");
        self.lines.iter().find_map(|line| line.strip_prefix(&label))
    }

    /// Removes a message that is done, and then its journal.
    pub(crate) fn finish(self, mail: &Path) -> io::Result<()> {
        fs::remove_file(mail)?;
        File::open(mail.parent().unwrap_or(mail))?.sync_all()?;
        fs::remove_file(mail.with_extension("journal"))
    }
}
