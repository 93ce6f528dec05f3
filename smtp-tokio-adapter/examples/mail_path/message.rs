//! The message: read once, its line ends made CRLF where they are not, and never held in memory.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use smtp_proto::wire::params::BodyType;
use smtp_tls_policy::trace::tls_required_no;
use smtp_tokio_adapter::Message;

use crate::scenario::Wish;
use crate::{Failed, Usage};

/// A message in a file, every line ended by CRLF.
#[derive(Clone, Debug)]
pub struct Mail {
    pub path: PathBuf,
    pub octets: u64,
    pub body: BodyType,
}

impl Mail {
    /// The same with the wish of its sender, if the header says it.
    pub fn marked(&self, wish: Wish, to: &Path) -> Result<Self, Failed> {
        if wish != Wish::TlsRequiredNo {
            return Ok(self.clone());
        }
        let mut marked = File::create(to)?;
        marked.write_all(b"TLS-Required: No\r\n")?;
        std::io::copy(&mut File::open(&self.path)?, &mut marked)?;
        let octets = marked.metadata()?.len();
        Ok(Self { path: to.to_owned(), octets, body: self.body })
    }
}

impl Message for Mail {
    type Body = tokio::fs::File;
    async fn open(&self) -> std::io::Result<Self::Body> {
        tokio::fs::File::open(&self.path).await
    }

    fn tls_required_no(&self) -> bool {
        inspect(&self.path, 0).is_ok_and(|stored| tls_required_no(&stored.header))
    }
}

/// Copies the message to `to` with CRLF line ends. Says whether any had to be made.
pub fn prepare(from: &mut dyn Read, to: &Path) -> Result<(Mail, bool), Failed> {
    let mut reader = BufReader::with_capacity(64 * 1024, from);
    let mut writer = BufWriter::new(File::create(to)?);
    let (mut octets, mut ascii, mut converted, mut previous) = (0, true, false, b'\n');
    loop {
        let piece = reader
            .fill_buf()
            .map_err(|error| Usage(format!("cannot read the message: {error}")))?;
        if piece.is_empty() {
            break;
        }
        let length = piece.len();
        ascii &= piece.is_ascii();
        let mut start = 0;
        for (at, &byte) in piece.iter().enumerate() {
            // SMTP cannot carry them (RFC 5321, section 2.3.8; RFC 5322, section 4), and guessing
            // what they meant is not ours.
            if byte == 0 || (previous == b'\r' && byte != b'\n') {
                let what = if byte == 0 { "a NUL" } else { "a CR without LF" };
                let place = octets + (at - start) as u64;
                return Err(Usage(format!("the message holds {what} near octet {place}")).into());
            }
            if byte == b'\n' && previous != b'\r' {
                writer.write_all(&piece[start..at])?;
                writer.write_all(b"\r")?;
                octets += (at - start) as u64 + 1;
                start = at;
                converted = true;
            }
            previous = byte;
        }
        writer.write_all(&piece[start..])?;
        octets += (length - start) as u64;
        reader.consume(length);
    }
    if previous == b'\r' {
        return Err(Usage(format!("the message holds a CR without LF near octet {octets}")).into());
    }
    if previous != b'\n' {
        writer.write_all(b"\r\n")?;
        octets += 2;
    }
    writer.flush()?;
    let body = if ascii { BodyType::SevenBit } else { BodyType::EightBitMime };
    Ok((Mail { path: to.to_owned(), octets, body }, converted))
}

/// What a stored message shows.
pub struct Stored {
    /// Its header section, or as much as Received headers can fill.
    pub header: Vec<u8>,
    /// A hash of everything below the headers that the servers on the way have added.
    pub digest: [u8; 32],
}

/// Octets of the header section that are looked at.
const HEADER: u64 = 64 * 1024;

/// Reads a message below its first `added` header fields.
pub fn inspect(path: &Path, added: usize) -> Result<Stored, Failed> {
    let mut file = File::open(path)?;
    let mut header = Vec::new();
    Read::by_ref(&mut file).take(HEADER).read_to_end(&mut header)?;
    let start = fields_end(&header, added);
    let mut hash = Sha256::new();
    hash.update(&header[start..]);
    std::io::copy(&mut file, &mut Hashing(&mut hash))?;
    Ok(Stored { header, digest: hash.finalize().into() })
}

/// Where the first `count` header fields end: before the line that begins without white space after
/// them.
fn fields_end(header: &[u8], count: usize) -> usize {
    let mut fields = 0;
    let mut start = 0;
    for line in header.split_inclusive(|&byte| byte == b'\n') {
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            if fields == count {
                break;
            }
            fields += 1;
        }
        start += line.len();
    }
    start
}

struct Hashing<'h>(&'h mut Sha256);

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
