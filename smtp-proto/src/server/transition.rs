//! Every transition of the server: the only file that assigns its state.

use std::sync::Arc;
use std::time::Instant;

use super::auth::write_challenge;
use super::exchange::Running;
use super::state::{Chunk, Content, Dropped, Greeted, Question, State, Transaction, Transfer};
use super::{Server, ServerEvent, replies};
use crate::Protocol;
use crate::channel::{Channel, TlsInfo};
use crate::error::Error;
use crate::sasl::server::{Answer, ExchangeStep};
use crate::starttls::HandOver;
use crate::timeouts::Phase;
use crate::wire::body::{DotDecoder, LineChecker};
use crate::wire::command::Uri;
use crate::wire::reply::Response;

/// The conversation as a whole.
impl Server {
    /// Hands an event to the caller, which owes a response now.
    pub(super) fn ask<'i>(
        &mut self,
        question: Question,
        event: ServerEvent<'i>,
    ) -> ServerEvent<'i> {
        self.state = State::Asked(question);
        event
    }

    /// Sends the last reply of the conversation.
    pub(super) fn end<'i>(
        &mut self,
        response: &Response,
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'i>> {
        self.say(response, output);
        self.state = State::Closing;
        None
    }

    /// Ends the conversation with an error, which every later poll returns.
    pub(super) fn fail(&mut self, error: Error) -> Error {
        self.state = State::Over(error);
        error
    }

    /// Tells the caller that the last reply is written.
    pub(super) fn on_closing(&mut self) -> ServerEvent<'static> {
        self.state = State::Over(Error::Closed);
        ServerEvent::Closed
    }

    pub(super) fn on_close(&mut self, response: &Response, output: &mut Vec<u8>) {
        match self.state {
            State::Over(_) | State::Closing => {}
            State::Handshake => self.state = State::Closing,
            _ => {
                self.end(response, output);
            }
        }
    }

    pub(super) fn on_eof(&mut self) -> Result<(), Error> {
        match self.state {
            State::Over(Error::Closed) => Ok(()),
            State::Over(error) => Err(error),
            State::Body | State::BodyEnded | State::Chunk(_) | State::ChunkEnded(_) => {
                Err(self.fail(Error::Eof(Phase::Body)))
            }
            State::TlsGranted | State::Handshake => Err(self.fail(Error::Eof(Phase::Handshake))),
            _ => {
                self.state = State::Closing;
                Ok(())
            }
        }
    }

    /// STARTTLS is granted. Plaintext after the command could come from an attacker, and would be
    /// taken for what the client says inside TLS.
    pub(super) fn on_tls_granted(
        &mut self,
        has_plaintext: bool,
        now: Instant,
        output: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if has_plaintext {
            self.say(&replies::PLAINTEXT_AFTER_STARTTLS, output);
            return Err(self.on_plaintext());
        }
        self.say(&replies::READY_FOR_TLS, output);
        self.state = State::Handshake;
        self.pace.restart(now);
        Ok(())
    }

    /// The client has sent plaintext where the handshake is due.
    pub(super) fn on_plaintext(&mut self) -> Error {
        self.fail(Error::PlaintextAfterStartTls)
    }

    /// Forgets the transaction.
    pub(super) fn reset(&mut self) {
        self.transaction = None;
    }

    pub(super) fn on_rset(&mut self, output: &mut Vec<u8>) -> ServerEvent<'static> {
        self.reset();
        self.say(&replies::OK, output);
        ServerEvent::Reset
    }

    /// Refuses a command, and the client itself once it has made too many errors. A client that is
    /// barred is told so, whatever is wrong with the command (RFC 5321, section 3.1).
    pub(super) fn refuse<'i>(
        &mut self,
        response: &Response,
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'i>> {
        self.session.errors += 1;
        if self.session.errors > self.config.limits.errors {
            return self.end(&replies::TOO_MANY_ERRORS, output);
        }
        self.say(self.session.barred.as_ref().unwrap_or(response), output);
        None
    }
}

impl HandOver for Server {
    fn awaits_handshake(&self) -> bool {
        matches!(self.state, State::Handshake)
    }

    fn renewed(&self, tls: Arc<TlsInfo>, now: Instant) -> Self {
        // The client speaks first: there is no second greeting.
        let state = State::Command;
        Self { state, ..Self::new(Arc::clone(&self.config), Channel::StartTls(tls), now) }
    }
}

/// The caller's answers.
impl Server {
    pub(super) fn on_response(&mut self, response: &Response, output: &mut Vec<u8>) {
        let positive = response.code() / 100 == 2;
        let State::Asked(question) = std::mem::replace(&mut self.state, State::Command) else {
            return;
        };
        match question {
            Question::Connected => {
                self.greeting = true;
                self.greet(response, output);
                if !positive {
                    // RFC 5321, section 3.1: after 554 the server waits for QUIT and answers
                    // everything else with 503.
                    self.session.barred = Some(replies::BARRED);
                }
            }
            Question::Xclient { login } if positive => {
                self.reset();
                self.session.greeted = Greeted::No;
                // The proxy names the user; what the client has proved itself no longer counts.
                self.session.identity = login;
                self.greet(response, output);
            }
            // RFC 2034, section 4: no enhanced codes in the replies to EHLO and HELO.
            Question::Hello { extended } if positive => {
                self.reset();
                self.session.greeted = if extended { Greeted::Ehlo } else { Greeted::Helo };
                if extended {
                    self.write_capabilities(response, output);
                } else {
                    Response::new(response.code(), (0, 0, 0), self.named(response, ""))
                        .write(false, output);
                }
            }
            Question::Hello { .. } => response.write(false, output),
            // The 220 is written once it is clear that the client has sent nothing more.
            Question::StartTls if positive => self.state = State::TlsGranted,
            Question::Mail(needs) => {
                if positive {
                    self.transaction = Some(Transaction { needs, ..Transaction::default() });
                    self.session.transactions += 1;
                }
                self.say(response, output);
            }
            Question::Recipient { new_domain } => {
                if positive && let Some(transaction) = &mut self.transaction {
                    transaction.recipients += 1;
                    transaction.domains.extend(new_domain);
                }
                self.say(response, output);
            }
            Question::Data => {
                if response.code() == 354
                    && let Some(transaction) = &mut self.transaction
                {
                    transaction.transfer = Transfer::Data(DotDecoder::new());
                    transaction.content = Content::new(self.tolerance);
                    self.state = State::Body;
                }
                self.say(response, output);
            }
            Question::Chunk { size, last } if response.code() == 354 => {
                self.state = State::Chunk(Chunk { left: size, last, dropped: None });
            }
            Question::Chunk { .. } if response.code() == 421 => self.say(response, output),
            // RFC 3030, section 2: the reply comes after the chunk. Unless it was the last one,
            // the client has to send RSET.
            Question::Chunk { size, last } => {
                self.fail_transfer(last);
                self.drop_chunk(size, last, response.clone(), false);
            }
            // The reply is that to `EndOfBody`.
            Question::Fetch { last: true } if positive => self.state = State::BodyEnded,
            Question::Fetch { .. } if positive => self.say(response, output),
            // RFC 4468, section 3.2: the entire transaction fails.
            Question::Fetch { last } => {
                self.fail_transfer(last);
                self.say(response, output);
            }
            Question::EndOfBody { recipients } => {
                for _ in 0..self.replies_to_body(recipients) {
                    self.say(response, output);
                }
            }
            Question::StartTls | Question::Xclient { .. } | Question::Other => {
                self.say(response, output);
            }
            // The mechanism's own reply follows at the next poll.
            Question::Auth(running) => {
                let failure = crate::sasl::server::Failure::Response(response.clone());
                self.state = State::AuthDue(running, ExchangeStep::Failed(failure));
                return;
            }
        }
        // RFC 5321, section 3.8.
        if response.code() == 421 {
            self.state = State::Closing;
        }
    }

    /// LMTP: one response for each recipient.
    pub(super) fn on_responses(&mut self, responses: &[Response], output: &mut Vec<u8>) {
        self.state = State::Command;
        for response in responses {
            self.say(response, output);
        }
        if responses.iter().any(|response| response.code() == 421) {
            self.state = State::Closing;
        }
    }

    /// Replies to a complete message (RFC 2033, section 4.2).
    fn replies_to_body(&self, recipients: usize) -> usize {
        if self.config.protocol == Protocol::Lmtp { recipients } else { 1 }
    }
}

/// The message on its way in.
impl Server {
    /// A piece of the message was read; `ended` if it was the last.
    pub(super) fn on_body_read(&mut self, ended: bool) {
        if !ended {
            return;
        }
        self.state = match std::mem::replace(&mut self.state, State::BodyEnded) {
            State::Chunk(chunk) => State::ChunkEnded(chunk),
            _ => State::BodyEnded,
        };
    }

    pub(super) fn on_body_end(
        &mut self,
        now: Instant,
        output: &mut Vec<u8>,
    ) -> ServerEvent<'static> {
        let refused = self.refusal_at_end().map(|it| (it, self.reply_to_refused(it)));
        let recipients = self.transaction.as_ref().map_or(0, |it| it.recipients);
        self.reset();
        self.session.idle_commands = 0;
        self.pace.on_message(now);
        let Some((refusal, response)) = refused else {
            return self.ask(Question::EndOfBody { recipients }, ServerEvent::EndOfBody);
        };
        for _ in 0..self.replies_to_body(recipients) {
            self.say(&response, output);
        }
        self.state = State::Command;
        ServerEvent::BodyRefused(refusal)
    }

    pub(super) fn on_chunk_end(
        &mut self,
        now: Instant,
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'static>> {
        let chunk = std::mem::replace(&mut self.state, State::Command);
        let State::ChunkEnded(Chunk { last, dropped, .. }) = chunk else { return None };
        if let Some(Dropped { response, is_error, .. }) = dropped {
            if is_error {
                return self.refuse(&response, output);
            }
            self.say(&response, output);
            return None;
        }
        if last {
            let event = self.take_held_line_ends();
            if event.is_some() {
                self.state = State::BodyEnded;
                return event;
            }
            return Some(self.on_body_end(now, output));
        }
        let Some(refusal) = self.refusal() else {
            self.say(&replies::CHUNK_TAKEN, output);
            return None;
        };
        self.say(&self.reply_to_refused(refusal), output);
        self.fail_transfer(false);
        Some(ServerEvent::BodyRefused(refusal))
    }

    /// A message that comes in pieces has failed. Unless the last piece is past, the rest follows,
    /// and RSET is due.
    fn fail_transfer(&mut self, last: bool) {
        if last {
            self.reset();
        } else if let Some(transaction) = &mut self.transaction {
            transaction.transfer = Transfer::Failed;
            transaction.clock = None;
        }
    }

    /// BURL (RFC 4468, section 3.2).
    pub(super) fn on_burl<'i>(
        &mut self,
        uri: Uri<'i>,
        last: bool,
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'i>> {
        if let Some(response) = self.refusal_of_burl() {
            return self.refuse(&response, output);
        }
        // The server does not see what the caller fetches; no piece may end in the middle of a
        // line end that the next one completes.
        if let Some(refusal) = self.refusal_at_end() {
            self.say(&self.reply_to_refused(refusal), output);
            self.fail_transfer(last);
            return Some(ServerEvent::BodyRefused(refusal));
        }
        let first = self.begin_chunks();
        Some(self.ask(Question::Fetch { last }, ServerEvent::Fetch { uri, first, last }))
    }

    /// BDAT. Whatever is wrong with it, its octets are read before it is answered (RFC 3030,
    /// section 2).
    pub(super) fn on_bdat(&mut self, size: u64, last: bool) -> Option<ServerEvent<'static>> {
        if let Some(response) = self.refusal_of_bdat() {
            self.drop_chunk(size, last, response, true);
            return None;
        }
        if let (Some(transaction), Some(limit)) = (&mut self.transaction, self.config.size_limit)
            && transaction.size.saturating_add(size) > limit
        {
            // What is announced to be too much is not shown to the caller.
            transaction.size = u64::MAX;
        }
        if self.begin_chunks() {
            return Some(self.ask(Question::Chunk { size, last }, ServerEvent::Data));
        }
        self.state = State::Chunk(Chunk { left: size, last, dropped: None });
        None
    }

    /// Whether this piece is the first of its message.
    fn begin_chunks(&mut self) -> bool {
        let Some(transaction) = &mut self.transaction else { return false };
        let first = matches!(transaction.transfer, Transfer::None);
        if first {
            transaction.transfer = Transfer::Chunks(LineChecker::new());
            transaction.content = Content::new(self.tolerance);
        }
        first
    }

    /// Reads the chunk to its end, then sends `response`.
    fn drop_chunk(&mut self, left: u64, last: bool, response: Response, is_error: bool) {
        let dropped = Some(Dropped { response, is_error, clock: None });
        self.state = State::Chunk(Chunk { left, last, dropped });
    }
}

/// AUTH.
impl Server {
    /// The caller has answered the mechanism's question.
    pub(super) fn on_answer(&mut self, answer: Answer) {
        self.state = match std::mem::replace(&mut self.state, State::Command) {
            State::Asked(Question::Auth(mut running)) => {
                let step = running.answer(answer);
                State::AuthDue(running, step)
            }
            other => other,
        };
    }

    /// The mechanism's next step is due.
    pub(super) fn on_auth_due(&mut self, output: &mut Vec<u8>) -> Option<ServerEvent<'static>> {
        match std::mem::replace(&mut self.state, State::Command) {
            State::AuthDue(running, step) => self.on_auth_step(running, step, output),
            _ => None,
        }
    }

    /// The client's response, or why there is none.
    pub(super) fn on_auth_response(
        &mut self,
        step: impl FnOnce(&mut Running) -> ExchangeStep,
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'static>> {
        let State::Auth(mut running) = std::mem::replace(&mut self.state, State::Command) else {
            return None;
        };
        let step = step(&mut running);
        self.on_auth_step(running, step, output)
    }

    pub(super) fn on_auth_step(
        &mut self,
        mut running: Box<Running>,
        step: ExchangeStep,
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'static>> {
        let failure = match step {
            ExchangeStep::Challenge(challenge) => {
                write_challenge(&challenge, output);
                self.state = State::Auth(running);
                return None;
            }
            ExchangeStep::Ask(question) => {
                running.expect_answer_to(&question);
                let event = ServerEvent::Authenticate(question);
                return Some(self.ask(Question::Auth(running), event));
            }
            ExchangeStep::Done(identity) => {
                self.say(&replies::AUTHENTICATED, output);
                self.session.identity = Some(identity.clone());
                return Some(ServerEvent::Authenticated(identity));
            }
            ExchangeStep::Failed(failure) => failure,
        };
        let response = replies::failure(&failure);
        self.session.failed_attempts += usize::from(response.code() / 100 == 5);
        if self.session.failed_attempts > self.config.limits.failed_attempts {
            self.end(&replies::TOO_MANY_ATTEMPTS, output);
        } else if response.code() == 421 {
            // RFC 5321, section 3.8.
            self.end(&response, output);
        } else {
            self.say(&response, output);
        }
        Some(ServerEvent::AuthenticationFailed(failure))
    }
}
