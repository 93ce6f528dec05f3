//! The message on its way in, after DATA or in chunks: what is read, and what is wrong with it.

use std::time::Instant;

use super::pace::BodyClock;
use super::state::{Chunk, Greeted, LineEnds, State, Transaction, Transfer};
use super::{Server, ServerEvent, StartTls, replies};
use crate::channel::Channel;
use crate::wire::body::{BodyDefect, Runs};
use crate::wire::reply::Response;

/// What reading a piece of a message came to.
pub(super) struct Read<'i> {
    /// Octets of the input that were read.
    pub(super) taken: usize,
    pub(super) event: Option<ServerEvent<'i>>,
    /// The message, or the chunk, is complete.
    pub(super) ended: bool,
}

impl Server {
    /// Reads on after DATA.
    pub(super) fn read<'i>(&mut self, input: &'i [u8], now: Instant) -> Read<'i> {
        let Some(Transaction { transfer: Transfer::Data(decoder), clock, .. }) =
            &mut self.transaction
        else {
            return Read { taken: 0, event: None, ended: true };
        };
        let mut rest = input;
        let runs = decoder.decode(&mut rest);
        let (taken, ended) = (input.len() - rest.len(), decoder.has_ended());
        BodyClock::count(clock, taken, now);
        Read { taken, event: self.take(runs), ended }
    }

    /// Reads on in a chunk.
    pub(super) fn read_chunk<'i>(&mut self, input: &'i [u8], now: Instant) -> Read<'i> {
        let State::Chunk(chunk) = &mut self.state else {
            return Read { taken: 0, event: None, ended: true };
        };
        let available = usize::try_from(chunk.left).unwrap_or(usize::MAX).min(input.len());
        if let Some(dropped) = &mut chunk.dropped {
            chunk.left -= available as u64;
            BodyClock::count(&mut dropped.clock, available, now);
            return Read { taken: available, event: None, ended: chunk.left == 0 };
        }
        let runs = Runs::of_chunk(&input[..available]);
        let taken = runs.octets();
        chunk.left -= taken as u64;
        let ended = chunk.left == 0;
        if let Some(transaction) = &mut self.transaction {
            BodyClock::count(&mut transaction.clock, taken, now);
            // RFC 3030, section 3: only BINARYMIME may hold what is no line.
            if let Transfer::Chunks(lines) = &mut transaction.transfer
                && !transaction.needs.binary
            {
                lines.check(&input[..taken]);
            }
        }
        Read { taken, event: self.take(runs), ended }
    }

    /// Applies the rules to octets of the message, and shows them if it can still be taken.
    fn take<'i>(&mut self, mut runs: Runs<'i>) -> Option<ServerEvent<'i>> {
        if let Some(transaction) = &mut self.transaction
            && !transaction.needs.binary
        {
            if let LineEnds::Normalised(lines) = &mut transaction.content.line_ends {
                runs = lines.normalise(runs);
            }
            runs.clone().for_each(|run| transaction.content.nuls.check(run));
        }
        let octets = runs.octets();
        if let Some(transaction) = &mut self.transaction {
            transaction.size = transaction.size.saturating_add(octets as u64);
        }
        (octets > 0 && self.refusal().is_none()).then_some(ServerEvent::Body(runs))
    }

    /// The line ends that are still to be shown of a message without further octets.
    pub(super) fn take_held_line_ends(&mut self) -> Option<ServerEvent<'static>> {
        match &mut self.transaction.as_mut()?.content.line_ends {
            LineEnds::Normalised(lines) => {
                let runs = lines.finish();
                self.take(runs)
            }
            LineEnds::Refused | LineEnds::RefusedForNow => None,
        }
    }

    /// What is wrong with the message so far.
    pub(super) fn refusal(&self) -> Option<BodyDefect> {
        let transaction = self.transaction.as_ref()?;
        if self.config.size_limit.is_some_and(|limit| transaction.size > limit) {
            return Some(BodyDefect::TooLarge);
        }
        let line_end = match (&transaction.content.line_ends, &transaction.transfer) {
            (LineEnds::Normalised(_), _) | (_, Transfer::None | Transfer::Failed) => None,
            (_, Transfer::Data(decoder)) => decoder.defect(),
            (_, Transfer::Chunks(lines)) => lines.defect(),
        };
        line_end.or(transaction.content.nuls.defect())
    }

    /// What is wrong with the complete message, or with a piece before another that the server
    /// fetches.
    pub(super) fn refusal_at_end(&self) -> Option<BodyDefect> {
        self.refusal().or_else(|| {
            let transaction = self.transaction.as_ref()?;
            match (&transaction.content.line_ends, &transaction.transfer) {
                (LineEnds::Normalised(lines), _) => lines.holds_cr().then_some(BodyDefect::BareCr),
                (_, Transfer::Chunks(lines)) => lines.defect_at_end(),
                (_, Transfer::None | Transfer::Data(_) | Transfer::Failed) => None,
            }
        })
    }

    /// The reply to a message that is refused.
    pub(super) fn reply_to_refused(&self, refusal: BodyDefect) -> Response {
        let for_now = self
            .transaction
            .as_ref()
            .is_some_and(|it| matches!(it.content.line_ends, LineEnds::RefusedForNow));
        match refusal {
            BodyDefect::TooLarge => replies::TOO_LARGE,
            BodyDefect::Nul => replies::NUL_IN_BODY,
            BodyDefect::BareCr | BodyDefect::BareLf if for_now => replies::BARE_LINE_END_FOR_NOW,
            BodyDefect::BareCr | BodyDefect::BareLf => replies::BARE_LINE_END,
        }
    }

    /// Whether what arrives is read only to find its end.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.state, State::Chunk(Chunk { dropped: Some(_), .. }))
            || self.refusal().is_some()
    }

    /// The clock of the message that is under way.
    pub(super) fn body_clock(&self) -> Option<BodyClock> {
        match &self.state {
            State::Chunk(Chunk { dropped: Some(dropped), .. }) => dropped.clock,
            _ => self.transaction.as_ref()?.clock,
        }
    }

    /// Why BURL, which may come wherever a chunk may (RFC 4468, section 3.2), is refused.
    pub(super) fn refusal_of_burl(&self) -> Option<Response> {
        if self.config.announced_burl().is_none() {
            return Some(replies::NOT_OFFERED);
        }
        if self.session.greeted == Greeted::No {
            return Some(replies::HELLO_FIRST);
        }
        match &self.transaction {
            None => Some(replies::MAIL_FIRST),
            // RFC 4468, section 6: 554 or 503; nothing is fetched (RFC 4468, section 3.2).
            Some(Transaction { recipients: 0, .. }) => Some(replies::RCPT_FIRST),
            Some(Transaction { transfer: Transfer::Failed, .. }) => Some(replies::RSET_FIRST),
            Some(_) => None,
        }
    }

    /// Why BDAT is refused.
    pub(super) fn refusal_of_bdat(&self) -> Option<Response> {
        let clear = matches!(self.channel, Channel::Plain);
        if self.session.barred.is_some() {
            return Some(replies::BARRED);
        }
        // RFC 3207, section 4: to every command but four, offered or not.
        if clear && self.config.starttls == StartTls::Required {
            return Some(replies::TLS_FIRST);
        }
        if !self.config.chunking {
            return Some(replies::NOT_OFFERED);
        }
        if self.session.greeted == Greeted::No {
            return Some(replies::HELLO_FIRST);
        }
        if self.needs_auth() {
            return Some(replies::AUTH_FIRST);
        }
        match &self.transaction {
            None => Some(replies::MAIL_FIRST),
            // RFC 3030, section 2: 503 without a valid RCPT.
            Some(Transaction { recipients: 0, .. }) => Some(replies::RCPT_FIRST),
            Some(Transaction { transfer: Transfer::Failed, .. }) => Some(replies::RSET_FIRST),
            Some(_) => None,
        }
    }
}
