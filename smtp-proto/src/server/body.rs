//! The message on its way in: behind DATA, or in chunks.

use std::time::Instant;

use super::{
    BodyRefusal, Chunk, Question, Said, Server, ServerEvent, StartTls, State, Transfer, replies,
};
use crate::Protocol;
use crate::channel::Channel;
use crate::wire::body::Runs;
use crate::wire::command::Uri;
use crate::wire::reply::Response;

impl Server {
    /// Reads on behind DATA: the octets taken, and the event that they make.
    pub(super) fn read<'i>(&mut self, input: &'i [u8]) -> (usize, Option<ServerEvent<'i>>) {
        let decoded = self.decoder.decode(input);
        if decoded.end {
            self.state = State::BodyEnded;
        }
        (decoded.consumed, self.take(decoded.runs))
    }

    /// Reads on in a chunk.
    pub(super) fn read_chunk<'i>(&mut self, input: &'i [u8]) -> (usize, Option<ServerEvent<'i>>) {
        let available = usize::try_from(self.chunk.left).unwrap_or(usize::MAX).min(input.len());
        let (taken, event) = if self.chunk_refusal.is_some() {
            (available, None)
        } else {
            let runs = Runs::of_chunk(&input[..available]);
            let taken = runs.octets();
            // RFC 3030, section 3: only BINARYMIME may hold what is no line.
            if !self.needs.binary {
                self.checker.check(&input[..taken]);
            }
            (taken, self.take(runs))
        };
        self.chunk.left -= taken as u64;
        if self.chunk.left == 0 {
            self.state = State::ChunkEnded;
        }
        (taken, event)
    }

    /// Counts bytes, and shows them if the message can still be taken.
    fn take<'i>(&mut self, runs: Runs<'i>) -> Option<ServerEvent<'i>> {
        let octets = runs.octets();
        self.body_size = self.body_size.saturating_add(octets as u64);
        (octets > 0 && self.refusal().is_none()).then_some(ServerEvent::Body(runs))
    }

    /// What is wrong with the message so far.
    fn refusal(&self) -> Option<BodyRefusal> {
        if self.config.size_limit.is_some_and(|limit| self.body_size > limit) {
            return Some(BodyRefusal::TooLarge);
        }
        self.decoder.defect().or(self.checker.defect()).map(BodyRefusal::Defect)
    }

    /// Whether what comes of a message is dropped: it cannot be taken, or nobody has asked for it.
    pub(super) fn is_refused(&self) -> bool {
        self.chunk_refusal.is_some() || self.refusal().is_some()
    }

    pub(super) fn end_of_body(
        &mut self,
        now: Instant,
        output: &mut Vec<u8>,
    ) -> ServerEvent<'static> {
        let refusal = self.refusal().or(self.checker.defect_at_end().map(BodyRefusal::Defect));
        // RFC 2033, section 4.2: one reply for each accepted recipient.
        self.delivering = self.recipients;
        self.deliveries = if self.config.protocol == Protocol::Lmtp { self.recipients } else { 1 };
        self.reset();
        self.idle_commands = 0;
        self.pace.on_message(now);
        match refusal {
            None => self.ask(Question::EndOfBody, ServerEvent::EndOfBody),
            Some(refusal) => {
                for _ in 0..self.deliveries {
                    self.say(&refusal.response(), output);
                }
                self.state = State::Command;
                ServerEvent::BodyRefused(refusal)
            }
        }
    }

    pub(super) fn end_of_chunk(
        &mut self,
        now: Instant,
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'static>> {
        self.state = State::Command;
        if let Some((response, is_error)) = self.chunk_refusal.take() {
            self.pace.forget_body();
            if is_error {
                return self.refuse(&response, output);
            }
            self.say(&response, output);
            return None;
        }
        if self.chunk.last {
            return Some(self.end_of_body(now, output));
        }
        let Some(refusal) = self.refusal() else {
            self.say(&replies::CHUNK_TAKEN, output);
            return None;
        };
        Some(self.fail_transfer(refusal, output))
    }

    /// A message that comes in pieces cannot be taken, which shows before its end.
    fn fail_transfer(
        &mut self,
        refusal: BodyRefusal,
        output: &mut Vec<u8>,
    ) -> ServerEvent<'static> {
        self.say(&refusal.response(), output);
        self.pace.forget_body();
        self.transfer = Transfer::Failed;
        ServerEvent::BodyRefused(refusal)
    }

    /// BURL, which stands where a chunk may stand (RFC 4468, section 3.2).
    pub(super) fn on_burl<'i>(
        &mut self,
        uri: Uri<'i>,
        last: bool,
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'i>> {
        let refusal = match self.transfer {
            _ if self.config.announced_burl().is_none() => replies::NOT_OFFERED,
            _ if self.said == Said::Nothing => replies::HELLO_FIRST,
            _ if !self.mail => replies::MAIL_FIRST,
            // RFC 4468, section 6: 554 or 503; nothing is fetched (3.2).
            _ if self.recipients == 0 => replies::RCPT_FIRST,
            Transfer::Failed => replies::RSET_FIRST,
            Transfer::None | Transfer::Chunks => {
                // What was fetched cannot be seen here; but no piece may lend its line end to
                // another.
                if let Some(defect) = self.checker.defect_at_end() {
                    let event = self.fail_transfer(BodyRefusal::Defect(defect), output);
                    if last {
                        self.reset();
                    }
                    return Some(event);
                }
                let first = self.transfer == Transfer::None;
                return Some(
                    self.ask(Question::Fetch { last }, ServerEvent::Fetch { uri, first, last }),
                );
            }
        };
        self.refuse(&refusal, output)
    }

    /// BDAT. Whatever is wrong with it, its octets are read before it is answered (RFC 3030,
    /// section 2).
    pub(super) fn on_bdat(&mut self, chunk: Chunk) -> Option<ServerEvent<'static>> {
        self.chunk = chunk;
        let clear = matches!(self.channel, Channel::Plain);
        let refusal = match self.transfer {
            _ if self.barred.is_some() => Some(replies::BARRED),
            // RFC 3207, section 4: to every command but four, offered or not.
            _ if clear && self.config.starttls == StartTls::Required => Some(replies::TLS_FIRST),
            _ if !self.config.chunking => Some(replies::NOT_OFFERED),
            _ if self.said == Said::Nothing => Some(replies::HELLO_FIRST),
            _ if self.needs_auth() => Some(replies::AUTH_FIRST),
            _ if !self.mail => Some(replies::MAIL_FIRST),
            // RFC 3030, section 2: 503 without a valid RCPT.
            _ if self.recipients == 0 => Some(replies::RCPT_FIRST),
            Transfer::Failed => Some(replies::RSET_FIRST),
            Transfer::None | Transfer::Chunks => None,
        };
        if let Some(response) = refusal {
            return self.drop_chunk(response, true);
        }
        // What is announced to be too much need not be shown.
        if self
            .config
            .size_limit
            .is_some_and(|limit| self.body_size.saturating_add(chunk.left) > limit)
        {
            self.body_size = u64::MAX;
        }
        if self.transfer == Transfer::None {
            self.transfer = Transfer::Chunks;
            return Some(self.ask(Question::Chunk, ServerEvent::Data));
        }
        self.state = State::Chunk;
        None
    }

    /// Reads the chunk to its end and says `response` then.
    pub(super) fn drop_chunk(
        &mut self,
        response: Response,
        is_error: bool,
    ) -> Option<ServerEvent<'static>> {
        self.chunk_refusal = Some((response, is_error));
        self.state = State::Chunk;
        None
    }
}

impl BodyRefusal {
    const fn response(self) -> Response {
        match self {
            Self::TooLarge => replies::TOO_LARGE,
            Self::Defect(_) => replies::BARE_LINE_END,
        }
    }
}
