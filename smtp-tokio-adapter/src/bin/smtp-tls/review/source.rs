//! Finds messages, and reads their header sections and nothing more.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::status::Failure;

/// The largest header section that is read. Servers take 32 KiB to 1 MiB.
const MAX_HEADER: usize = 1 << 20;
/// How deep folders are searched.
const MAX_DEPTH: usize = 16;

/// Where messages are.
pub(super) enum Source {
    /// Standard input.
    Stdin,
    /// A message or an mbox file.
    File(PathBuf),
    /// The files of a folder, in the order of their names.
    Files(Vec<PathBuf>),
}

impl Source {
    pub(super) fn find(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::Stdin);
        }
        let metadata = std::fs::metadata(path).map_err(|error| Failure::file(path, error))?;
        if !metadata.is_dir() {
            return Ok(Self::File(path.to_owned()));
        }
        let mut files = Vec::new();
        collect(path, 0, &mut files)?;
        files.sort_unstable();
        match files.is_empty() {
            true => Err(Failure::file(path, "the folder holds no messages")),
            false => Ok(Self::Files(files)),
        }
    }
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |error| Failure::file(folder, error);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        // Maildir: what is being delivered is in `tmp`, and indexes have names with a dot or of
        // the server in front.
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if kind.is_dir() && name != "tmp" && depth < MAX_DEPTH {
            collect(&entry.path(), depth + 1, files)?;
        } else if kind.is_file() && !name.starts_with('.') && !is_index(&name) {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Files of IMAP servers beside the messages of a Maildir.
fn is_index(name: &str) -> bool {
    ["dovecot", "courier", "maildir", "subscriptions"].iter().any(|it| name.starts_with(it))
}

/// What was read.
pub(super) enum Reading {
    /// A header section.
    Header,
    /// What is there is no message, and why.
    Unusable(&'static str),
    /// Nothing is left.
    End,
}

/// One message, or an mbox file.
pub(super) struct Input<R> {
    reader: R,
    read: u64,
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    NotKnown,
    Mbox,
    Message,
}

impl Input<BufReader<File>> {
    /// Opens a file, and tells its size.
    pub(super) fn open(path: &Path) -> Result<(Self, u64), Failure> {
        let failed = |error| Failure::file(path, error);
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        Ok((Self::new(BufReader::with_capacity(16 << 10, file)), size))
    }
}

impl<R: BufRead> Input<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, read: 0, format: Format::NotKnown }
    }

    /// Whether there may be several messages.
    pub(super) fn is_mbox(&self) -> bool {
        self.format == Format::Mbox
    }

    /// How many octets were read.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Reads the next header section.
    pub(super) fn next(&mut self, header: &mut Vec<u8>) -> io::Result<Reading> {
        header.clear();
        match self.format {
            Format::NotKnown => {
                self.line(header)?;
                if header.is_empty() {
                    self.format = Format::Message;
                    return Ok(Reading::Unusable("the file is empty"));
                }
                // RFC 4155, appendix A: a message in an mbox file begins with a line "From ".
                if header.starts_with(b"From ") {
                    self.format = Format::Mbox;
                    header.clear();
                } else {
                    self.format = Format::Message;
                    if !is_field(header) {
                        return Ok(Reading::Unusable("the file is no message: it has no header"));
                    }
                    if header.len() > MAX_HEADER {
                        return Ok(TOO_LARGE);
                    }
                }
            }
            Format::Mbox => match self.skip_body()? {
                true => {}
                false => return Ok(Reading::End),
            },
            Format::Message => return Ok(Reading::End),
        }
        loop {
            let start = header.len();
            self.line(header)?;
            let line = &header[start..];
            match line {
                [] | b"\n" | b"\r\n" => break,
                _ if header.len() > MAX_HEADER => return Ok(TOO_LARGE),
                _ => {}
            }
        }
        match header.contains(&0) {
            true => Ok(Reading::Unusable("the file is no message: its header has NUL octets")),
            false if !is_field(header) => {
                Ok(Reading::Unusable("this is no message: it has no header"))
            }
            false => Ok(Reading::Header),
        }
    }

    /// Appends a line, or as much of it as is more than a header section may have.
    fn line(&mut self, header: &mut Vec<u8>) -> io::Result<()> {
        let room = (MAX_HEADER + 1).saturating_sub(header.len()) as u64;
        self.read += (&mut self.reader).take(room).read_until(b'\n', header)? as u64;
        Ok(())
    }

    /// Skips to the header section of the next message; false if there is none.
    fn skip_body(&mut self) -> io::Result<bool> {
        let mut after_empty_line = true;
        let mut start = Vec::with_capacity(8);
        loop {
            start.clear();
            let size = (&mut self.reader).take(8).read_until(b'\n', &mut start)?;
            self.read += size as u64;
            if size == 0 {
                return Ok(false);
            }
            if !start.ends_with(b"\n") {
                self.read += self.reader.skip_until(b'\n')? as u64;
            }
            if after_empty_line && start.starts_with(b"From ") {
                return Ok(true);
            }
            after_empty_line = matches!(&*start, b"\n" | b"\r\n");
        }
    }
}

const TOO_LARGE: Reading = Reading::Unusable("the header section has more than 1 MiB");

/// Whether a text begins with a header field (RFC 5322, section 2.2).
fn is_field(header: &[u8]) -> bool {
    let name = header.iter().take_while(|octet| matches!(octet, b'!'..=b'9' | b';'..=b'~')).count();
    name > 0 && header[name..].trim_ascii_start().starts_with(b":")
}
