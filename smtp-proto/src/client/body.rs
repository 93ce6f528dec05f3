//! The body of a message on its way: dot-stuffed after DATA, or in chunks.

use std::time::Instant;

use super::encoding::Body;
use super::state::Sent;
use super::transaction::Next;
use super::{Client, MAX_PIPELINED};
use crate::error::ApiMisuse;
use crate::wire::body::BodyDefect;
use crate::wire::capabilities::Extension;
use crate::wire::command::{Command, Uri};

/// Octets of the longest `BDAT n LAST`.
const MAX_BDAT: usize = "BDAT 18446744073709551615 LAST\r\n".len();
/// Octets of a BURL that a server takes without doubt: RFC 5321, section 4.5.3.1.4 demands 512, and
/// URIs are longer.
const MAX_BURL: usize = 2048;

impl Client {
    /// Whether [`write_body`](Self::write_body) and [`end_body`](Self::end_body) may be called now.
    /// Not while a chunk awaits its reply without PIPELINING; and no longer after an early refusal.
    pub fn wants_body(&self) -> bool {
        let Some(transaction) = self.work.mail() else { return false };
        self.is_ready()
            && self.is_in_step
            && transaction.next == Next::Body
            && match transaction.body {
                Body::Data(..) => true,
                // RFC 2920, section 3.1, as for all commands that wait for their replies.
                Body::Chunks(..) | Body::Binary if self.is_pipelining() => {
                    let longest = if transaction.envelope.burl { MAX_BURL } else { MAX_BDAT };
                    self.pipelined + longest <= MAX_PIPELINED
                }
                Body::Chunks(..) | Body::Binary => self.queue.is_empty(),
            }
    }

    /// Appends a piece of the message to `output`, dot-stuffed (RFC 5321, section 4.5.2) or as a
    /// chunk (RFC 3030, section 2). Pieces may be cut anywhere; each is a chunk of its own, so
    /// small ones cost.
    ///
    /// Lines must end in CRLF. After [`ApiMisuse::Defect`] the connection can only be closed: the
    /// message is incomplete on the wire, and there is no way to take it back.
    ///
    /// Call [`poll`](Client::poll) with everything that was read before each piece: a reply that is
    /// there before the end of the message does not answer it.
    ///
    /// # Errors
    ///
    /// [`ApiMisuse::Defect`] for octets that the transfer cannot carry, [`ApiMisuse::NotOffered`]
    /// where a chunk is needed and the server does not offer CHUNKING, [`ApiMisuse::NoBodyWanted`]
    /// unless [`wants_body`](Self::wants_body).
    pub fn write_body(
        &mut self,
        piece: &[u8],
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<(), ApiMisuse> {
        let body = self.wanted_body()?;
        let start = output.len();
        let written = body.write(piece, output);
        self.since = now;
        match written {
            Ok(false) => Ok(()),
            // Only the command line counts as one.
            Ok(true) => {
                self.push(Sent::Chunk, output.len() - start - piece.len(), now);
                Ok(())
            }
            Err(defect) => Err(self.defective(defect)),
        }
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
    ) -> Result<(), ApiMisuse> {
        let transaction = self.work.mail().filter(|_| self.wants_body());
        let Some(transaction) = transaction else { return Err(ApiMisuse::NoBodyWanted) };
        if !transaction.envelope.burl {
            return Err(ApiMisuse::NoUriAnnounced);
        }
        if let Body::Chunks(lines, _) = &transaction.body
            && let Some(defect) = lines.defect_at_end()
        {
            return Err(self.defective(defect));
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
    pub fn end_body(&mut self, output: &mut Vec<u8>, now: Instant) -> Result<(), ApiMisuse> {
        if let Err(defect) = self.wanted_body()?.finish(output) {
            return Err(self.defective(defect));
        }
        self.await_verdict(now);
        Ok(())
    }

    /// The body that the caller may write now.
    fn wanted_body(&mut self) -> Result<&mut Body, ApiMisuse> {
        let wanted = self.wants_body();
        let has_chunks = self.capabilities.has(Extension::Chunking);
        match self.work.mail_mut().filter(|_| wanted) {
            None => Err(ApiMisuse::NoBodyWanted),
            // A server may offer BURL without CHUNKING.
            Some(transaction) if transaction.body.is_chunks() && !has_chunks => {
                Err(ApiMisuse::NotOffered(Extension::Chunking))
            }
            Some(transaction) => Ok(&mut transaction.body),
        }
    }

    /// The message cannot be sent, and its beginning may be on its way: the connection must end.
    fn defective(&mut self, defect: BodyDefect) -> ApiMisuse {
        self.close();
        ApiMisuse::Defect(defect)
    }
}
