//! The body of a message on its way: dot-stuffed after DATA, or in chunks.

use std::time::Instant;

use super::{Client, MAX_PIPELINED, Next, Sent, State};
use crate::Protocol;
use crate::error::{ApiMisuse, BodyError};
use crate::wire::body::{BodyDefect, DotEncoder, LineChecker, NulChecker, NulRule};
use crate::wire::capabilities::Extension;
use crate::wire::command::{Command, Uri};
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

/// Octets of the longest `BDAT n LAST`.
const MAX_BDAT: usize = "BDAT 18446744073709551615 LAST\r\n".len();
/// Octets of a BURL that a server takes without doubt: RFC 5321, section 4.5.3.1.4 demands 512, and
/// URIs are longer.
const MAX_BURL: usize = 2048;

impl Body {
    pub(super) fn of(chunks: bool, kind: BodyType, nul: NulRule) -> Self {
        let nuls = NulChecker::new(nul);
        match (chunks, kind) {
            (false, _) => Self::Data(DotEncoder::new(), nuls),
            (true, BodyType::BinaryMime) => Self::Binary,
            (true, _) => Self::Chunks(LineChecker::new(), nuls),
        }
    }

    /// Appends a piece; whether it is a chunk, which will be answered.
    fn write(&mut self, piece: &[u8], output: &mut Vec<u8>) -> Result<bool, BodyDefect> {
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
    fn finish(&mut self, output: &mut Vec<u8>) -> Result<(), BodyDefect> {
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

impl Client {
    /// Whether [`write_body`](Self::write_body) and [`end_body`](Self::end_body) may be called now.
    /// Not while a chunk awaits its reply without PIPELINING; and no longer after an early refusal.
    pub fn wants_body(&self) -> bool {
        let wanted = self.state == State::Ready
            && self.is_in_step
            && self.transaction.as_ref().is_some_and(|it| it.next == Next::Body);
        wanted
            && match self.body {
                Body::Data(..) => true,
                // RFC 2920, section 3.1, as for all commands that wait for their replies.
                Body::Chunks(..) | Body::Binary if self.is_pipelining() => {
                    let fetches = self.transaction.as_ref().is_some_and(|it| it.envelope.burl);
                    self.pipelined + if fetches { MAX_BURL } else { MAX_BDAT } <= MAX_PIPELINED
                }
                Body::Chunks(..) | Body::Binary => self.queue.is_empty(),
            }
    }

    /// Appends a piece of the message to `output`, dot-stuffed (RFC 5321, section 4.5.2) or as a
    /// chunk (RFC 3030, section 2). Pieces may be cut anywhere; each is a chunk of its own, so
    /// small ones cost.
    ///
    /// Lines must end in CRLF. After [`BodyError::Defect`] the connection can only be closed: the
    /// message is incomplete on the wire, and there is no way to take it back.
    ///
    /// Call [`poll`](Client::poll) with everything that was read before each piece: a reply that is
    /// there before the end of the message does not answer it.
    ///
    /// # Errors
    ///
    /// [`BodyError::Defect`] for octets that the transfer cannot carry, [`BodyError::NotOffered`]
    /// where a chunk is needed and the server does not offer CHUNKING, [`ApiMisuse::NoBodyWanted`]
    /// unless [`wants_body`](Self::wants_body).
    pub fn write_body(
        &mut self,
        piece: &[u8],
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<(), BodyError> {
        if !self.wants_body() {
            return Err(ApiMisuse::NoBodyWanted.into());
        }
        self.chunks_are_offered()?;
        self.since = now;
        let start = output.len();
        match self.body.write(piece, output) {
            Ok(false) => {}
            // Only the command line counts as one.
            Ok(true) => self.push(Sent::Chunk, output.len() - start - piece.len(), now),
            Err(defect) => {
                self.state = State::Closing;
                return Err(BodyError::Defect(defect));
            }
        }
        Ok(())
    }

    /// Makes the server fetch a piece of the message, which may be the last (RFC 4468, section
    /// 3.2). The envelope must say so: [`Envelope::burl`](super::Envelope::burl). Pieces of the
    /// caller's own may come before and after it, where the server offers CHUNKING.
    ///
    /// # Errors
    ///
    /// As [`write_body`](Self::write_body), and [`ApiMisuse::NoUriAnnounced`] if the envelope does
    /// not set `burl`.
    pub fn write_uri(
        &mut self,
        uri: Uri<'_>,
        last: bool,
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<(), BodyError> {
        if !self.wants_body() {
            return Err(ApiMisuse::NoBodyWanted.into());
        }
        if !self.transaction.as_ref().is_some_and(|it| it.envelope.burl) {
            return Err(ApiMisuse::NoUriAnnounced.into());
        }
        if let Body::Chunks(lines, _) = &self.body
            && let Some(defect) = lines.defect_at_end()
        {
            self.state = State::Closing;
            return Err(BodyError::Defect(defect));
        }
        self.since = now;
        let start = output.len();
        Command::Burl { uri, last }.write(output);
        if last {
            self.await_verdict(now);
        } else {
            self.push(Sent::Chunk, output.len() - start, now);
        }
        Ok(())
    }

    /// Ends the message: CRLF if it lacks the last one, then the final dot or the last chunk.
    ///
    /// # Errors
    ///
    /// As [`write_body`](Self::write_body).
    pub fn end_body(&mut self, output: &mut Vec<u8>, now: Instant) -> Result<(), BodyError> {
        if !self.wants_body() {
            return Err(ApiMisuse::NoBodyWanted.into());
        }
        self.chunks_are_offered()?;
        if let Err(defect) = self.body.finish(output) {
            self.state = State::Closing;
            return Err(BodyError::Defect(defect));
        }
        self.await_verdict(now);
        Ok(())
    }

    /// A server may offer BURL without CHUNKING.
    fn chunks_are_offered(&self) -> Result<(), BodyError> {
        let offered =
            matches!(self.body, Body::Data(..)) || self.capabilities.has(Extension::Chunking);
        if offered { Ok(()) } else { Err(BodyError::NotOffered(Extension::Chunking)) }
    }

    /// The end of the message is written.
    fn await_verdict(&mut self, now: Instant) {
        if let Some(transaction) = &mut self.transaction {
            transaction.next = Next::Verdict;
        }
        match self.config.protocol {
            Protocol::Smtp => self.push(Sent::EndOfData, 0, now),
            // RFC 2033, section 4.2: one reply for each accepted recipient, in the order of their
            // RCPTs.
            Protocol::Lmtp => {
                for at in 0..self.accepted.len() {
                    self.push(Sent::Delivery(self.accepted[at]), 0, now);
                }
            }
        }
    }
}
