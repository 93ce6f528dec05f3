//! Finds messages, and reads their header sections and nothing more.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::input;
use crate::status::Failure;

/// The largest header section that is read. Servers take 32 KiB to 1 MiB.
const MAX_HEADER: usize = 1 << 20;
/// The largest file in UTF-16 that is read.
const MAX_UTF16: usize = 64 << 20;
/// How deep folders are searched.
const MAX_DEPTH: usize = 16;

/// Where messages are.
pub(super) enum Source {
    /// Standard input.
    Stdin,
    /// A message or an mbox file.
    File(PathBuf),
    /// The files of a folder, in the order of their names, and the folders in it that cannot be
    /// read.
    Files(Vec<PathBuf>, Vec<Failure>),
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
        let (mut files, mut unread) = (Vec::new(), Vec::new());
        collect(path, 0, &mut files, &mut unread)?;
        files.sort_unstable();
        match (files.is_empty(), unread.pop()) {
            (true, None) => Err(Failure::file(path, "the folder holds no messages")),
            (true, Some(failure)) if unread.is_empty() => Err(failure),
            (_, last) => {
                unread.extend(last);
                Ok(Self::Files(files, unread))
            }
        }
    }
}

fn collect(
    folder: &Path,
    depth: usize,
    files: &mut Vec<PathBuf>,
    unread: &mut Vec<Failure>,
) -> Result<(), Failure> {
    let failed = |error| Failure::file(folder, error);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        // Maildir: what is being delivered is in `tmp`, and indexes have names with a dot or of
        // the server in front.
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if kind.is_dir() && name != "tmp" && depth < MAX_DEPTH {
            let collected = collect(&entry.path(), depth + 1, files, unread);
            unread.extend(collected.err());
        } else if !name.starts_with('.') && !is_index(&name) {
            // A link to a file is a message; one to a folder might lead back.
            let is_file = kind.is_file() || (kind.is_symlink() && entry.path().is_file());
            files.extend(is_file.then(|| entry.path()));
        }
    }
    Ok(())
}

/// Files of IMAP servers and mail programs beside the messages of a folder.
fn is_index(name: &str) -> bool {
    let starts = ["dovecot", "courier", "cyrus.", "maildir", "subscriptions"];
    starts.iter().any(|it| name.starts_with(it)) || name.ends_with(".msf")
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

/// One message, or a file of several.
pub(super) struct Input<'r> {
    reader: Box<dyn BufRead + 'r>,
    read: u64,
    format: Format,
    /// The octet that ends a line: LF, or CR in files that have no LF.
    line_end: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    NotKnown,
    Mbox,
    /// Messages between lines of four octets 1, as MMDF and PMDF keep them.
    Mmdf,
    Message,
}

/// The line before and after a message of MMDF.
const MMDF: &[u8] = b"\x01\x01\x01\x01";

impl Input<'static> {
    /// Opens a file, and tells its size; 0 if that says nothing of how much is read.
    pub(super) fn open(path: &Path) -> Result<(Self, u64), Failure> {
        let failed = |error| Failure::file(path, error);
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut reader = BufReader::with_capacity(16 << 10, file);
        let is_gzip = is_gzip(&mut reader).map_err(failed)?;
        let input = Self::new(reader).map_err(failed)?;
        Ok((input, if is_gzip { 0 } else { size }))
    }
}

/// RFC 1952, section 2.3.1.
fn is_gzip(reader: &mut impl BufRead) -> io::Result<bool> {
    Ok(reader.fill_buf()?.starts_with(&[0x1f, 0x8b]))
}

impl<'r> Input<'r> {
    /// What is compressed with gzip is decompressed, as far as it is read. UTF-16 with a byte order
    /// mark becomes UTF-8.
    pub(super) fn new(mut reader: impl BufRead + 'r) -> io::Result<Self> {
        let mut reader: Box<dyn BufRead + 'r> = match is_gzip(&mut reader)? {
            true => Box::new(BufReader::with_capacity(16 << 10, MultiGzDecoder::new(reader))),
            false => Box::new(reader),
        };
        let start = reader.fill_buf()?;
        if start.starts_with(b"\xef\xbb\xbf") {
            reader.consume(3);
        } else if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
            let mut octets = Vec::new();
            (&mut reader).take(MAX_UTF16 as u64 + 1).read_to_end(&mut octets)?;
            if octets.len() > MAX_UTF16 {
                let why = "the file is text in UTF-16, and larger than 64 MiB";
                return Err(io::Error::other(why));
            }
            reader = Box::new(Cursor::new(input::utf8_of_utf16(&octets).unwrap_or(octets)));
        }
        let start = reader.fill_buf()?;
        let has_lf = start.contains(&b'\n');
        let is_line_end = |pair: &[u8]| pair[0] == b'\r' && pair[1] != b'\r';
        let line_end = if !has_lf && start.windows(2).any(is_line_end) { b'\r' } else { b'\n' };
        Ok(Self { reader, read: 0, format: Format::NotKnown, line_end })
    }

    /// Whether there may be several messages.
    pub(super) fn is_mbox(&self) -> bool {
        matches!(self.format, Format::Mbox | Format::Mmdf)
    }

    /// How many octets were read.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Reads the next header section.
    pub(super) fn next(&mut self, header: &mut Vec<u8>) -> io::Result<Reading> {
        header.clear();
        let is_there = match self.format {
            Format::NotKnown => match self.begin(header)? {
                Some(reading) => return Ok(reading),
                None => true,
            },
            Format::Mbox => self.skip_body(header)?,
            Format::Mmdf => self.skip_body_of_mmdf(header)?,
            Format::Message => false,
        };
        if !is_there {
            return Ok(Reading::End);
        }
        while header.len() <= MAX_HEADER {
            let start = header.len();
            self.line(header)?;
            if is_blank(&header[start..]) {
                break;
            }
            // UUCP: a second line "From " after the one of the file.
            if start == 0 && header.starts_with(b">From ") {
                header.clear();
            }
        }
        if header.len() > MAX_HEADER {
            return Ok(Reading::Unusable("the header section has more than 1 MiB"));
        }
        match header.contains(&0) {
            true => Ok(Reading::Unusable("the file is no message: its header has NUL octets")),
            false if !is_field(header) => {
                Ok(Reading::Unusable("this is no message: it has no header"))
            }
            false => Ok(Reading::Header),
        }
    }

    /// Finds out the format, and reads the first line of a header section, or what comes before it.
    /// The result is the end of the file's reading, if so.
    fn begin(&mut self, header: &mut Vec<u8>) -> io::Result<Option<Reading>> {
        self.format = Format::Message;
        let mut is_first = true;
        loop {
            header.clear();
            self.line(header)?;
            let line = header.trim_ascii_end();
            // RFC 4155, appendix A: a message in an mbox file begins with a line "From ".
            if header.starts_with(b"From ") {
                self.format = Format::Mbox;
                header.clear();
                return Ok(None);
            }
            if line == MMDF {
                self.format = Format::Mmdf;
                return Ok(match self.separators_of_mmdf(header)? {
                    true => None,
                    false => Some(Reading::Unusable("the file is empty")),
                });
            }
            // Empty lines, the length that Apple Mail writes, and what mbox makes of a line "From "
            // that came with the message.
            let is_length = is_first && !line.is_empty() && line.iter().all(u8::is_ascii_digit);
            match header.as_slice() {
                [] => return Ok(Some(Reading::Unusable("the file is empty"))),
                line if is_blank(line) || is_length || line.starts_with(b">From ") => {}
                line if is_field(line) => return Ok(None),
                line => {
                    let why = "the file is no message: it has no header";
                    return Ok(Some(Reading::Unusable(input::other_kind(line).unwrap_or(why))));
                }
            }
            is_first = false;
        }
    }

    /// Appends a line, or as much of it as is more than a header section may have.
    fn line(&mut self, header: &mut Vec<u8>) -> io::Result<()> {
        let room = (MAX_HEADER + 1).saturating_sub(header.len()) as u64;
        self.read += (&mut self.reader).take(room).read_until(self.line_end, header)? as u64;
        Ok(())
    }

    /// Reads the start of a line, and skips the rest of it. False at the end of the file.
    fn start_of_line(&mut self, start: &mut Vec<u8>) -> io::Result<bool> {
        start.clear();
        let mut size = (&mut self.reader).take(8).read_until(self.line_end, start)?;
        if start.starts_with(b"From ") && start.last() != Some(&self.line_end) {
            size += (&mut self.reader).take(MAX_FROM).read_until(self.line_end, start)?;
        }
        if size > 0 && start.last() != Some(&self.line_end) {
            size += self.reader.skip_until(self.line_end)?;
        }
        self.read += size as u64;
        Ok(size > 0)
    }

    /// Skips to the header section of the next message, whose first line may have been read into
    /// `header` then; false if there is none.
    fn skip_body(&mut self, header: &mut Vec<u8>) -> io::Result<bool> {
        let mut after_empty_line = true;
        let mut start = Vec::with_capacity(8);
        while self.start_of_line(&mut start)? {
            while start.starts_with(b"From ") {
                if is_dated(&start) {
                    header.clear();
                    return Ok(true);
                }
                if !after_empty_line {
                    break;
                }
                // Without a date it may be a line of the body; a field after it says that it is
                // none.
                header.clear();
                self.line(header)?;
                if is_field(header) {
                    return Ok(true);
                }
                after_empty_line = false;
                std::mem::swap(&mut start, header);
            }
            header.clear();
            after_empty_line = is_blank(&start);
        }
        Ok(false)
    }

    fn skip_body_of_mmdf(&mut self, header: &mut Vec<u8>) -> io::Result<bool> {
        let mut start = Vec::with_capacity(8);
        while self.start_of_line(&mut start)? {
            if start.trim_ascii_end() == MMDF {
                return self.separators_of_mmdf(header);
            }
        }
        Ok(false)
    }

    /// Reads lines until one that is the first of a header section; false if there is none.
    fn separators_of_mmdf(&mut self, header: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            header.clear();
            self.line(header)?;
            let is_separator = header.trim_ascii_end() == MMDF || header.starts_with(b"From ");
            if header.is_empty() || !(is_separator || is_blank(header)) {
                return Ok(!header.is_empty());
            }
        }
    }
}

/// Most octets of a line "From " that are looked at.
const MAX_FROM: u64 = 512;

/// Whether a line has nothing but its end, which some programs write as CR CR LF.
fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|octet| matches!(octet, b'\r' | b'\n'))
}

/// Whether a line "From " has a month and a time, as those between the messages of an mbox file.
pub(crate) fn is_dated(line: &[u8]) -> bool {
    const MONTHS: [&[u8]; 12] = [
        b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov",
        b"dec",
    ];
    let words = || line.split(|octet| octet.is_ascii_whitespace());
    let is_time = |word: &[u8]| {
        let mut parts = word.split(|octet| *octet == b':');
        let is_number = |part: Option<&[u8]>| {
            part.is_some_and(|it| matches!(it.len(), 1 | 2) && it.iter().all(u8::is_ascii_digit))
        };
        is_number(parts.next()) && is_number(parts.next())
    };
    let is_month = |word: &[u8]| MONTHS.iter().any(|month| word.eq_ignore_ascii_case(month));
    words().any(is_time) && words().any(is_month)
}

/// Whether a text begins with a header field (RFC 5322, section 2.2). Names that begin as JSON and
/// HTML do are allowed there, and no field has one.
fn is_field(header: &[u8]) -> bool {
    let name = header.iter().take_while(|octet| matches!(octet, b'!'..=b'9' | b';'..=b'~')).count();
    name > 0
        && !matches!(header, [b'{' | b'[' | b'<' | b'"', ..])
        && header[name..].trim_ascii_start().starts_with(b":")
}
