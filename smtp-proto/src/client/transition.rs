//! Every transition of the client: which reply to which command leads where, and what the caller
//! and the end of the connection change. No other file assigns the state or the work.

use std::time::Instant;

use super::envelope::Skipped;
use super::exchange::Exchange;
use super::state::{Sent, State};
use super::transaction::Next;
use super::work::Work;
use super::{Client, ClientEvent, Outcome};
use crate::Protocol;
use crate::channel::Channel;
use crate::error::{ApiMisuse, Error};
use crate::fallback::{Fallback, TlsFailure, TlsRules};
use crate::timeouts::Phase;
use crate::wire::capabilities::Extension;
use crate::wire::reply::Reply;
use crate::wire::reply::Severity::{Intermediate, Permanent, Positive, Transient};

impl Client {
    pub(super) fn on_reply<'i>(
        &mut self,
        reply: Reply<'i>,
        now: Instant,
    ) -> Result<Option<ClientEvent<'i>>, Error> {
        let Some((sent, length)) = self.queue.pop_front() else {
            return self.on_unasked(reply);
        };
        self.pipelined -= length;
        self.since = now;
        let stale = self.stale > 0;
        self.stale -= usize::from(stale);

        // RFC 5321, section 3.8 and section 4.2.1: 421 may answer any command, and ends the
        // connection.
        if reply.code() == 421 && sent != Sent::Quit {
            return Ok(Some(self.on_shutdown(sent.phase(), reply)));
        }

        if reply.is_positive() && !sent.may_be_answered_with(reply.code()) {
            return Err(unexpected(sent, &reply));
        }
        match sent {
            Sent::Greeting | Sent::Ehlo | Sent::Helo { .. } | Sent::StartTls => {
                self.on_opening_reply(sent, reply)
            }
            Sent::Auth => self.on_auth_reply(reply),
            Sent::Mail
            | Sent::Recipient(_)
            | Sent::Data
            | Sent::Chunk
            | Sent::EndOfData
            | Sent::Delivery(_)
            | Sent::LoneDot => match stale {
                true => self.on_stale_reply(sent, &reply).map(|()| None),
                false => self.on_mail_reply(sent, reply),
            },
            Sent::Reset | Sent::Command | Sent::Xclient | Sent::Quit => {
                self.on_other_reply(sent, reply)
            }
        }
    }

    /// The reply to what opens a connection, in clear text or inside TLS.
    fn on_opening_reply<'i>(
        &mut self,
        sent: Sent,
        reply: Reply<'i>,
    ) -> Result<Option<ClientEvent<'i>>, Error> {
        match (sent, reply.severity()) {
            (Sent::Greeting, Positive) => {
                self.due = Some(Sent::Ehlo);
                Ok(None)
            }
            (Sent::Greeting, _) => Ok(Some(self.unwelcome(Phase::Greeting, reply))),

            (Sent::Ehlo, Positive) => self.on_ehlo(reply),
            (Sent::Ehlo, Transient | Permanent) => Ok(self.on_ehlo_refused(reply)),

            (Sent::Helo { .. }, Positive) => {
                self.state = State::Opened;
                Ok(None)
            }
            // The refusal of EHLO says more than that of HELO.
            (Sent::Helo { refused }, Transient | Permanent) => {
                self.leave();
                Ok(Some(ClientEvent::Unwelcome { phase: Phase::Hello, status: refused, reply }))
            }

            (Sent::StartTls, Positive) if reply.code() == 220 => {
                self.state = State::Handshake;
                Ok(None)
            }
            (Sent::StartTls, Positive | Intermediate) => {
                Ok(Some(self.no_tls(TlsFailure::UnexpectedReply, Some(reply))))
            }
            (Sent::StartTls, severity @ (Transient | Permanent)) => {
                let failure = TlsFailure::Refused { transient: severity == Transient };
                self.state = State::Opened;
                Ok(Some(self.no_tls(failure, Some(reply))))
            }
            (sent, _) => Err(unexpected(sent, &reply)),
        }
    }

    fn on_auth_reply<'i>(&mut self, reply: Reply<'i>) -> Result<Option<ClientEvent<'i>>, Error> {
        match reply.severity() {
            Intermediate => match &mut self.work {
                Work::Auth(exchange) if reply.code() == 334 && !exchange.is_cancelled() => {
                    exchange.challenged(&reply);
                    Ok(None)
                }
                _ => Err(unexpected(Sent::Auth, &reply)),
            },
            Positive => match self.take_exchange() {
                Some(exchange) if reply.code() == 235 && !exchange.is_cancelled() => {
                    Ok(Some(self.auth_accepted(exchange, reply)))
                }
                _ => Err(unexpected(Sent::Auth, &reply)),
            },
            Transient | Permanent => match self.take_exchange() {
                Some(exchange) => Ok(Some(ClientEvent::AuthenticationFailed {
                    failure: exchange.refused(&reply),
                    reply,
                })),
                None => Err(unexpected(Sent::Auth, &reply)),
            },
        }
    }

    /// The reply to a command that a finished transaction had sent ahead. Only a 354 counts.
    fn on_stale_reply(&mut self, sent: Sent, reply: &Reply<'_>) -> Result<(), Error> {
        if (sent, reply.severity()) != (Sent::Data, Intermediate) {
            return Ok(());
        }
        if self.config.protocol == Protocol::Lmtp {
            // RFC 2033, section 4.2: the number of replies to such a dot is not defined. A
            // transaction or command that waits ends with the error.
            if !matches!(self.work, Work::None) {
                return Err(unexpected(sent, reply));
            }
            self.state = State::Closing;
        } else {
            // RFC 2920, section 3.1: 354 although nothing is to come must be answered with a lone
            // dot.
            self.due = Some(Sent::LoneDot);
            self.stale += 1;
        }
        Ok(())
    }

    /// The reply to a command of the transaction that is under way.
    fn on_mail_reply<'i>(
        &mut self,
        sent: Sent,
        reply: Reply<'i>,
    ) -> Result<Option<ClientEvent<'i>>, Error> {
        match (sent, reply.severity()) {
            (Sent::Mail | Sent::Chunk, Positive) => Ok(None),
            (Sent::Mail, Transient | Permanent) => {
                self.reset = !self.queue.is_empty();
                Ok(Some(self.finish(Outcome::Refused { phase: Phase::Mail, reply })))
            }
            (Sent::Recipient(index), Positive | Transient | Permanent) => {
                if let Work::Mail(transaction) = &mut self.work {
                    transaction.answered += 1;
                    if reply.is_positive() {
                        transaction.accepted += 1;
                        if self.config.protocol == Protocol::Lmtp {
                            transaction.verdicts.push(index);
                        }
                    }
                }
                Ok(Some(ClientEvent::Recipient { index, reply }))
            }
            (Sent::Data, Intermediate) if reply.code() == 354 => {
                match self.work.mail_mut() {
                    Some(it) if it.accepted > 0 => it.permitted = true,
                    // RFC 2033, section 4.2: how many replies would the dot have?
                    Some(_) if self.config.protocol == Protocol::Lmtp => {
                        self.state = State::Closing;
                        return Ok(Some(self.finish(Outcome::NoRecipients)));
                    }
                    // RFC 2920, section 3.1: a 354 without recipients is answered with a lone dot.
                    Some(_) => self.due = Some(Sent::LoneDot),
                    None => {}
                }
                Ok(None)
            }
            (Sent::Data, Transient | Permanent) if self.has_no_recipients() => Ok(None),
            (Sent::Data, Transient | Permanent) => {
                self.reset = true;
                Ok(Some(self.finish(Outcome::Refused { phase: Phase::Data, reply })))
            }
            (Sent::Chunk, Transient | Permanent) => {
                // RFC 3030, section 2: the message has failed; the chunks after it are answered,
                // then RSET clears the state.
                self.reset = true;
                let event = self.finish(Outcome::Refused { phase: Phase::Body, reply });
                // How many replies has the end of a message that has failed? RFC 2033 does not say.
                if self.queue.iter().any(|(sent, _)| matches!(sent, Sent::Delivery(_))) {
                    self.state = State::Closing;
                }
                Ok(Some(event))
            }
            (Sent::Delivery(index), Positive | Transient | Permanent) => {
                Ok(Some(ClientEvent::Delivered { index, reply }))
            }
            (Sent::EndOfData, Positive) => Ok(Some(self.finish(Outcome::Accepted(reply)))),
            (Sent::EndOfData, Transient | Permanent) => {
                Ok(Some(self.finish(Outcome::Refused { phase: Phase::EndOfData, reply })))
            }
            // Only a finished transaction leaves a lone dot.
            (Sent::LoneDot, Positive | Transient | Permanent) => Ok(None),
            (sent, _) => Err(unexpected(sent, &reply)),
        }
    }

    fn on_other_reply<'i>(
        &mut self,
        sent: Sent,
        reply: Reply<'i>,
    ) -> Result<Option<ClientEvent<'i>>, Error> {
        match (sent, reply.severity()) {
            (Sent::Reset, Positive) => Ok(None),
            // RFC 5321, section 4.1.1.5: RSET cannot fail. A server that says so has lost its way:
            // nothing more is sent to it.
            (Sent::Reset, Transient | Permanent) => {
                self.leave();
                Ok(Some(self.refuse_work(Phase::Reset, reply)))
            }
            (Sent::Command, Positive | Transient | Permanent) => {
                self.work = Work::None;
                Ok(Some(ClientEvent::Answered(reply)))
            }
            (Sent::Xclient, Positive) if reply.code() == 220 => {
                // As after a new connection, which has greeted now.
                self.work = Work::None;
                self.state = State::Opening;
                self.due = Some(Sent::Ehlo);
                self.reset = false;
                self.authenticated = false;
                Ok(Some(ClientEvent::Answered(reply)))
            }
            (Sent::Xclient, Transient | Permanent) => {
                self.work = Work::None;
                Ok(Some(ClientEvent::Answered(reply)))
            }
            (Sent::Quit, _) => {
                self.state = State::Closing;
                Ok(None)
            }
            (sent, _) => Err(unexpected(sent, &reply)),
        }
    }

    /// Whether every recipient was refused.
    fn has_no_recipients(&self) -> bool {
        self.work.mail().is_some_and(|it| it.accepted == 0)
    }

    /// Events that need no input.
    pub(super) fn due_event<'i>(&mut self) -> Result<Option<ClientEvent<'i>>, Error> {
        match self.state {
            State::Over(error) => return Err(error),
            State::Closing => {
                self.state = State::Over(Error::Closed);
                return Ok(Some(ClientEvent::Closed));
            }
            State::Opened => {
                self.state = State::Ready;
                return Ok(Some(ClientEvent::Ready));
            }
            State::Opening | State::Handshake | State::Ready | State::Leaving => {}
        }
        let Work::Mail(transaction) = &mut self.work else { return Ok(None) };
        if let Some(unsupported) = transaction.unsupported {
            return Ok(Some(self.finish(Outcome::Unsupported(unsupported))));
        }
        if let Some(&Skipped { index, why }) = transaction.skipped.get(transaction.told) {
            transaction.told += 1;
            return Ok(Some(match why {
                Some(error) => ClientEvent::NotSent { index, error },
                None => ClientEvent::Left { index },
            }));
        }
        let answered = transaction.is_answered();
        match transaction.next {
            // The reply to a DATA that was sent ahead shows whether the replies to RCPT are in
            // step.
            _ if answered
                && transaction.accepted == 0
                && self.queue.is_empty()
                && self.due.is_none()
                && self.is_in_step =>
            {
                self.reset |= transaction.next != Next::Mail;
                Ok(Some(self.finish(Outcome::NoRecipients)))
            }
            // With DATA the 354 is the permission. What was there before the body does not answer
            // it.
            Next::Permission
                if self.is_in_step
                    && (transaction.body.is_chunks() && answered || transaction.permitted) =>
            {
                transaction.next = Next::Body;
                Ok(Some(ClientEvent::SendBody))
            }
            Next::Verdict if self.queue.is_empty() => Ok(Some(self.finish(Outcome::PerRecipient))),
            _ => Ok(None),
        }
    }

    /// Begins what the caller asks for.
    pub(super) fn begin(&mut self, work: Work, now: Instant) {
        if self.queue.is_empty() {
            self.since = now;
        }
        self.work = work;
    }

    /// The end of the message is written.
    pub(super) fn await_verdict(&mut self, now: Instant) {
        let Work::Mail(transaction) = &mut self.work else { return };
        transaction.next = Next::Verdict;
        match self.config.protocol {
            Protocol::Smtp => self.push(Sent::EndOfData, 0, now),
            // RFC 2033, section 4.2: one reply for each accepted recipient, in the order of their
            // RCPTs.
            Protocol::Lmtp => {
                let verdicts = std::mem::take(&mut transaction.verdicts);
                for &index in &verdicts {
                    self.push(Sent::Delivery(index), 0, now);
                }
                self.verdicts = verdicts;
            }
        }
    }

    /// Ends the transaction; replies that are still to come are ignored.
    fn finish<'i>(&mut self, outcome: Outcome<'i>) -> ClientEvent<'i> {
        if let Work::Mail(transaction) = std::mem::take(&mut self.work)
            && transaction.verdicts.capacity() > 0
        {
            self.verdicts = transaction.verdicts;
        }
        self.verdicts.clear();
        self.stale = self.queue.len();
        ClientEvent::Finished(outcome)
    }

    /// Takes the exchange out of the work, if AUTH is under way.
    fn take_exchange(&mut self) -> Option<Exchange> {
        match std::mem::take(&mut self.work) {
            Work::Auth(exchange) => Some(exchange),
            other => {
                self.work = other;
                None
            }
        }
    }

    /// Ends the conversation without QUIT.
    pub(super) fn close(&mut self) {
        self.state = State::Closing;
    }

    /// Sends QUIT after all outstanding replies, and nothing else but the lone dot that a stale 354
    /// needs.
    pub(super) fn leave(&mut self) {
        self.state = State::Leaving;
        self.due = self.due.filter(|&due| due == Sent::LoneDot);
    }

    /// The connection is gone; an earlier error stays.
    pub(super) fn end(&mut self) {
        if !matches!(self.state, State::Over(_)) {
            self.state = State::Over(Error::Closed);
        }
    }

    /// Ends the conversation with an error. The credentials of an AUTH that is under way are wiped.
    pub(super) fn fail(&mut self, error: Error) -> Error {
        self.state = State::Over(error);
        drop(self.take_exchange());
        error
    }

    /// The peer has closed its sending side, and everything it sent has been polled. After QUIT or
    /// 421 that is how it should be, and the next [`poll`](Self::poll) reports
    /// [`Closed`](ClientEvent::Closed); otherwise it is an error.
    ///
    /// # Errors
    ///
    /// [`Error::Eof`] if the conversation was not over; or the error that has ended it before.
    pub fn handle_eof(&mut self) -> Result<(), Error> {
        match self.state {
            State::Closing | State::Leaving => {
                self.state = State::Closing;
                Ok(())
            }
            State::Over(error) => Err(error),
            State::Opening | State::Handshake | State::Opened | State::Ready => {
                Err(self.fail(Error::Eof(self.phase())))
            }
        }
    }

    /// Sends QUIT between two transactions. [`ClientEvent::Closed`] follows the reply.
    ///
    /// # Errors
    ///
    /// [`ApiMisuse::NotReady`] if the conversation is not between two transactions.
    pub fn quit(&mut self) -> Result<(), ApiMisuse> {
        match self.state {
            State::Ready if self.is_free() => {
                self.leave();
                Ok(())
            }
            State::Opened => {
                self.leave();
                Ok(())
            }
            State::Leaving => Ok(()),
            _ => Err(ApiMisuse::NotReady),
        }
    }

    /// Whether the conversation is between two transactions or in one.
    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    /// A reply while no command waits for one.
    fn on_unasked<'i>(&mut self, reply: Reply<'i>) -> Result<Option<ClientEvent<'i>>, Error> {
        let phase = self.phase();
        if reply.code() == 421 {
            return Ok(Some(self.on_shutdown(phase, reply)));
        }
        match (self.work.mail(), reply.severity()) {
            // The message is refused before its end. The dot was not sent and never will be, so the
            // connection must end. If DATA was sent ahead, a reply in the same read as its 354 may
            // as well be one that belongs to another command.
            (Some(transaction), Transient | Permanent)
                if transaction.next == Next::Body
                    || transaction.permitted && !self.is_pipelining() =>
            {
                self.state = State::Closing;
                Ok(Some(self.finish(Outcome::Refused { phase: Phase::Body, reply })))
            }
            _ => Err(Error::UnsolicitedReply),
        }
    }

    /// 421: the transaction is told first, then the connection ends.
    fn on_shutdown<'i>(&mut self, phase: Phase, reply: Reply<'i>) -> ClientEvent<'i> {
        // After XCLIENT TLS stays up: a refusal then is a refusal of the client.
        if phase == Phase::Hello
            && matches!(self.channel, Channel::StartTls(_))
            && self.capabilities.is_unread()
        {
            let event = self.no_tls(TlsFailure::HelloInside, Some(reply));
            self.state = State::Closing;
            return event;
        }
        self.state = State::Closing;
        self.refuse_work(phase, reply)
    }

    /// A refusal that ends the connection ends what is under way in it.
    fn refuse_work<'i>(&mut self, phase: Phase, reply: Reply<'i>) -> ClientEvent<'i> {
        match &self.work {
            Work::Mail(_) => self.finish(Outcome::Refused { phase, reply }),
            Work::Auth(exchange) => {
                let failure = exchange.refused(&reply);
                self.work = Work::None;
                ClientEvent::AuthenticationFailed { failure, reply }
            }
            Work::Command { .. } | Work::None => {
                ClientEvent::Unwelcome { phase, status: reply.status(), reply }
            }
        }
    }

    fn unwelcome<'i>(&mut self, phase: Phase, reply: Reply<'i>) -> ClientEvent<'i> {
        self.leave();
        ClientEvent::Unwelcome { phase, status: reply.status(), reply }
    }

    fn on_ehlo<'i>(&mut self, reply: Reply<'i>) -> Result<Option<ClientEvent<'i>>, Error> {
        let again = !self.capabilities.is_unread();
        self.capabilities.replace(&reply);
        for keyword in &self.config.ignored_keywords {
            if Extension::of(keyword) != Some(Extension::StartTls) {
                self.capabilities.ignore(keyword);
            }
        }
        self.state = State::Opened;
        Ok(match (&self.channel, self.rules) {
            // After XCLIENT the decision about TLS is not taken again.
            _ if again => None,
            // S12: STARTTLS offered again inside TLS is ignored.
            (Channel::StartTls(_) | Channel::Implicit(_), _) => None,
            (Channel::Plain, TlsRules::Never) => self.unless_allowed(TlsFailure::NotWanted, None),
            (Channel::Plain, TlsRules::Opportunistic { .. } | TlsRules::Required { .. }) => {
                if self.capabilities.has(Extension::StartTls) {
                    // Tolerance never reads across the hand-over.
                    if let Some(fault) = self.fault {
                        return Err(Error::MalformedReply(fault));
                    }
                    self.state = State::Opening;
                    self.due = Some(Sent::StartTls);
                    None
                } else {
                    Some(self.no_tls(TlsFailure::NotOffered, Some(reply)))
                }
            }
        })
    }

    fn on_ehlo_refused<'i>(&mut self, reply: Reply<'i>) -> Option<ClientEvent<'i>> {
        // After XCLIENT a refused EHLO is final: the server has accepted EHLO before.
        if !self.capabilities.is_unread() {
            return Some(self.unwelcome(Phase::Hello, reply));
        }
        if matches!(self.channel, Channel::StartTls(_)) {
            return Some(self.no_tls(TlsFailure::HelloInside, Some(reply)));
        }
        // RFC 5321, sections 3.2 and 4.1.4: an old server does not know EHLO, and HELO may do. Some
        // refuse EHLO with 550 and the like. RFC 7504: 521 means that the host accepts no mail.
        let is_final = reply.severity() != Permanent || reply.code() == 521;
        if is_final || self.config.protocol == Protocol::Lmtp {
            return Some(self.unwelcome(Phase::Hello, reply));
        }
        self.due = Some(Sent::Helo { refused: reply.status() });
        match (&self.channel, self.rules) {
            (Channel::Plain, TlsRules::Never) => self.unless_allowed(TlsFailure::NotWanted, None),
            (Channel::Plain, _) => Some(self.no_tls(TlsFailure::NotOffered, Some(reply))),
            (Channel::StartTls(_) | Channel::Implicit(_), _) => None,
        }
    }

    /// Where clear text is what the caller wants there is nothing to tell; but `after` has the word
    /// here as well.
    fn unless_allowed<'i>(
        &mut self,
        failure: TlsFailure,
        reply: Option<Reply<'i>>,
    ) -> Option<ClientEvent<'i>> {
        let event = self.no_tls(failure, reply);
        let allowed =
            matches!(event, ClientEvent::NoTls { fallback: Fallback::ContinuePlaintext, .. });
        if allowed { None } else { Some(event) }
    }
}

/// A reply that the command cannot have.
fn unexpected(sent: Sent, reply: &Reply<'_>) -> Error {
    Error::UnexpectedCode { code: reply.code(), phase: sent.phase() }
}
