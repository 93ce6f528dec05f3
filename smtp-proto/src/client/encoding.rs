//! How a body is encoded: dot-stuffed after DATA, or in chunks.

use crate::wire::body::{BodyDefect, DotEncoder, LineChecker, NulChecker, NulRule};
use crate::wire::command::Command;
use crate::wire::params::BodyType;

/// How the body of the present transaction is written.
#[derive(Debug)]
pub(super) enum Body {
    /// After DATA.
    Data(DotEncoder, NulChecker),
    /// With BDAT, under the same rules.
    Chunks(LineChecker, NulChecker),
    /// With BDAT, any octets (RFC 3030, section 3).
    Binary,
}

impl Body {
    pub(super) fn of(chunks: bool, kind: BodyType, nul: NulRule) -> Self {
        let nuls = NulChecker::new(nul);
        match (chunks, kind) {
            (false, _) => Self::Data(DotEncoder::new(), nuls),
            (true, BodyType::BinaryMime) => Self::Binary,
            (true, _) => Self::Chunks(LineChecker::new(), nuls),
        }
    }

    /// Whether chunks are sent, with BDAT or BURL, instead of DATA.
    pub(super) const fn is_chunks(&self) -> bool {
        match self {
            Self::Data(..) => false,
            Self::Chunks(..) | Self::Binary => true,
        }
    }

    /// Appends a piece, and returns whether it is a chunk, which has a reply of its own.
    pub(super) fn write(&mut self, piece: &[u8], output: &mut Vec<u8>) -> Result<bool, BodyDefect> {
        match self {
            Self::Data(encoder, nuls) => {
                nuls.check(piece);
                nuls.defect().map_or(Ok(()), Err)?;
                return encoder.encode(piece, output).map(|()| false);
            }
            Self::Chunks(lines, nuls) => {
                lines.check(piece);
                nuls.check(piece);
                nuls.defect().or(lines.defect()).map_or(Ok(()), Err)?;
            }
            Self::Binary => {}
        }
        if piece.is_empty() {
            return Ok(false);
        }
        write_chunk(piece, false, output);
        Ok(true)
    }

    /// Appends the end.
    pub(super) fn finish(&mut self, output: &mut Vec<u8>) -> Result<(), BodyDefect> {
        match self {
            Self::Data(encoder, _) => std::mem::take(encoder).finish(output)?,
            Self::Chunks(lines, _) => {
                lines.defect_at_end().map_or(Ok(()), Err)?;
                // As with DATA: RFC 5321, section 4.1.1.4.
                write_chunk(if lines.is_at_line_start() { b"" } else { b"\r\n" }, true, output);
            }
            Self::Binary => write_chunk(b"", true, output),
        }
        Ok(())
    }
}

fn write_chunk(piece: &[u8], last: bool, output: &mut Vec<u8>) {
    Command::Bdat { size: piece.len() as u64, last }.write(output);
    output.extend_from_slice(piece);
}
