//! The server: one connection, answered by the caller.
//!
//! ```text
//!  new ─> Connected ─> commands <─────────────────────────────┐
//!          │ 554: 503   │ │  STARTTLS ─> handshake ─> *self = fresh
//!          │ to all     │ │─ AUTH ─> 334.. ─> Authenticate ── answer ──> 235, 535
//!          │            │ └─ EHLO, MAIL, RCPT ── respond ─────┤
//!          v but QUIT   └── DATA ── 354 ─> Body.. ─> EndOfBody ── respond
//!        QUIT, 421, errors ──> Closed
//! ```
//!
//! Events in the first half of [`ServerEvent`] want [`Server::respond`]; the reply code decides the
//! transition. [`ServerEvent::Authenticate`] wants [`Server::answer`]; what that leads to the
//! mechanism decides. Until then nothing more is parsed, so a slow answer holds back only its own
//! connection. What a command leads to is in `transition.rs`.
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use smtp_proto::channel::Channel;
//! use smtp_proto::wire::reply::Response;
//! use smtp_proto::server::{ServerConfig, ServerEvent, Server};
//! use smtp_proto::{Step, Want};
//!
//! let config = Arc::new(ServerConfig::new("mx.test.example".parse()?));
//! let now = Instant::now();
//! let mut server = Server::new(config, Channel::Plain, now);
//! let (mut output, mut message) = (Vec::new(), Vec::new());
//! let mut input: &[u8] = b"EHLO client.test.example\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\n\
//!                          Subject: hello\r\n\r\n..one dot\r\n.\r\nQUIT\r\n";
//! loop {
//!     let progress = server.poll(input, &mut output, now)?;
//!     input = &input[progress.consumed..];
//!     let response = match progress.step {
//!         Step::Event(ServerEvent::Connected) => Response::fixed(220, (2, 0, 0), "ESMTP"),
//!         Step::Event(ServerEvent::Data) => Response::fixed(354, (3, 0, 0), "go ahead"),
//!         Step::Event(ServerEvent::Body(runs)) => {
//!             runs.for_each(|run| message.extend_from_slice(run));
//!             continue;
//!         }
//!         Step::Event(ServerEvent::Closed) => break,
//!         Step::Event(_) => Response::fixed(250, (2, 0, 0), "OK"),
//!         Step::Wait(_) => unreachable!("the script is complete"),
//!     };
//!     server.respond(&response, &mut output)?;
//! }
//! assert_eq!(message, b"Subject: hello\r\n\r\n.one dot\r\n");
//! assert!(output.ends_with(b"221 2.0.0 closing the connection\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod auth;
mod body;
mod config;
mod event;
mod hello;
mod pace;
mod replies;
mod state;
mod transition;

pub use config::{FutureRelease, ServerConfig, ServerLimits, StartTls};
pub use event::{BodyRefusal, EarlyTalk, ServerEvent};

use std::sync::Arc;
use std::time::Instant;

use crate::channel::{Channel, TlsInfo};
use crate::error::{ApiMisuse, Error, PeerMisbehaved};
use crate::sasl::server::Identity;
use crate::timeouts::Phase;
use crate::wire::body::{DotDecoder, LineChecker};
use crate::wire::line::{Line, LineReader};
use crate::wire::reply::Response;
use crate::{Progress, Step, Want};
use auth::{Running, is_auth};
use pace::Pace;
use state::{Chunk, Needs, Question, Said, State, Transfer};

/// The server's side of one connection. See the [module](self).
#[derive(Debug)]
pub struct Server {
    config: Arc<ServerConfig>,
    channel: Channel,
    state: State,
    lines: LineReader,
    decoder: DotDecoder,
    said: Said,
    /// MAIL was accepted.
    mail: bool,
    /// What MAIL said of addresses and body.
    needs: Needs,
    /// RCPTs accepted in this transaction.
    recipients: usize,
    /// Their domains, then that of the RCPT that is being answered; kept only where their number is
    /// limited.
    domains: Vec<String>,
    new_domain: bool,
    /// Transactions that have begun on this connection.
    transactions: usize,
    /// Replies that the end of the message has: one, or in LMTP one for each recipient.
    deliveries: usize,
    /// Recipients of the message whose end was reported last.
    delivering: usize,
    transfer: Transfer,
    chunk: Chunk,
    /// The answer to the chunk that is being dropped, and whether it is the client's fault.
    chunk_refusal: Option<(Response, bool)>,
    checker: LineChecker,
    /// Octets of the message so far.
    body_size: u64,
    errors: usize,
    unknown_commands: usize,
    /// Commands since the last message that brought none forward.
    idle_commands: usize,
    /// Commands seen, for the one check that only the first command gets.
    commands: u64,
    early_talk: Option<EarlyTalk>,
    /// The greeting was written by the last call, and is not sent yet.
    greeting: bool,
    /// The answer to everything but QUIT.
    barred: Option<Response>,
    /// AUTH, from its command to its last reply.
    exchange: Option<Box<Running>>,
    identity: Option<Identity>,
    /// Whom XCLIENT names, until it is answered.
    login: Option<Identity>,
    /// Attempts to authenticate that failed by the client's fault.
    failed_attempts: usize,
    /// The line that is being read may hold credentials.
    secret_line: bool,
    /// What the last poll has consumed may hold credentials.
    read_secrets: bool,
    /// From when the time limit counts; none until the next poll.
    since: Option<Instant>,
    pace: Pace,
}

impl Server {
    /// A fresh connection. `channel` is [`Channel::Plain`], or [`Channel::Implicit`] when the
    /// driver has run the handshake already (RFC 8314).
    pub fn new(config: Arc<ServerConfig>, channel: Channel, now: Instant) -> Self {
        Self {
            config,
            channel,
            state: State::Fresh,
            lines: LineReader::default(),
            decoder: DotDecoder::new(),
            said: Said::Nothing,
            mail: false,
            needs: Needs::default(),
            domains: Vec::new(),
            new_domain: false,
            transactions: 0,
            deliveries: 1,
            delivering: 0,
            transfer: Transfer::None,
            chunk: Chunk { left: 0, last: false },
            chunk_refusal: None,
            checker: LineChecker::new(),
            recipients: 0,
            body_size: 0,
            errors: 0,
            unknown_commands: 0,
            idle_commands: 0,
            commands: 0,
            early_talk: None,
            greeting: false,
            barred: None,
            exchange: None,
            identity: None,
            login: None,
            failed_attempts: 0,
            secret_line: false,
            read_secrets: false,
            since: Some(now),
            pace: Pace::new(now),
        }
    }

    /// Advances the conversation: `input` is everything read and not yet consumed, `output`
    /// receives what must be sent.
    ///
    /// Errors are sticky. After one, send the output and close the connection.
    pub fn poll<'i>(
        &mut self,
        input: &'i [u8],
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Progress<ServerEvent<'i>>, Error> {
        let mut consumed = 0;
        self.read_secrets = false;
        if !matches!(self.state, State::Asked(_)) {
            let away = self.pace.resume(now);
            self.since = self.since.map(|since| since + away);
        }
        // RFC 5321, section 3.1: the client waits for the greeting.
        if (self.state == State::Fresh || std::mem::take(&mut self.greeting)) && !input.is_empty() {
            self.early_talk = Some(EarlyTalk::BeforeGreeting);
        }
        loop {
            let rest = &input[consumed..];
            let event = match self.state {
                State::Over(error) => return Err(error),
                State::Asked(_) => {
                    return Ok(Progress { consumed, step: Step::Wait(Want::Answer) });
                }
                State::Fresh => self.ask(Question::Connected, ServerEvent::Connected),
                State::BodyEnded => self.end_of_body(now, output),
                State::Closing => {
                    self.state = State::Over(Error::Closed);
                    ServerEvent::Closed
                }
                State::TlsGranted | State::Handshake if !rest.is_empty() => {
                    if self.state == State::TlsGranted {
                        self.say(&replies::PLAINTEXT_BEHIND_STARTTLS, output);
                    }
                    return Err(self.fail(PeerMisbehaved::PlaintextBehindStartTls.into()));
                }
                State::TlsGranted => {
                    self.say(&replies::READY_FOR_TLS, output);
                    self.state = State::Handshake;
                    self.since = Some(now);
                    continue;
                }
                State::Handshake => return self.wait(now, consumed, Want::Handshake, output),
                State::Body | State::Chunk => {
                    let (taken, event) = if self.state == State::Body {
                        self.read(rest)
                    } else {
                        self.read_chunk(rest)
                    };
                    consumed += taken;
                    self.pace.on_body(taken, now);
                    if taken > 0 {
                        self.since = Some(now);
                    }
                    match event {
                        Some(event) => event,
                        None if taken == 0 && matches!(self.state, State::Body | State::Chunk) => {
                            return self.wait(now, consumed, Want::Input, output);
                        }
                        None => continue,
                    }
                }
                State::ChunkEnded => match self.end_of_chunk(now, output) {
                    Some(event) => event,
                    None => continue,
                },
                State::AuthDue => match self.next_auth_step(output) {
                    Some(event) => event,
                    None => continue,
                },
                State::Command | State::Auth => {
                    let in_exchange = self.state == State::Auth;
                    self.secret_line |= in_exchange || is_auth(rest);
                    self.read_secrets |= self.secret_line;
                    let line = self.lines.read(rest, self.line_limit(rest));
                    let taken = match line {
                        Line::Whole(_, taken) | Line::Broken(_, taken) | Line::Partial(taken) => {
                            taken
                        }
                    };
                    consumed += taken;
                    let event = match line {
                        Line::Partial(_) => return self.wait(now, consumed, Want::Input, output),
                        Line::Broken(error, _) if in_exchange => {
                            self.on_broken_auth_line(error, output)
                        }
                        Line::Broken(error, _) => self.on_broken_line(error, output),
                        Line::Whole(line, _) if in_exchange => self.on_auth_line(line, output),
                        Line::Whole(line, _) => {
                            self.note_pipelining(line, consumed < input.len());
                            self.on_line(line, output)
                        }
                    };
                    self.secret_line = false;
                    self.since = Some(now);
                    match event {
                        Some(event) => event,
                        None => continue,
                    }
                }
            };
            self.pace.hand(now);
            return Ok(Progress { consumed, step: Step::Event(event) });
        }
    }

    fn wait<'i>(
        &mut self,
        now: Instant,
        consumed: usize,
        want: Want,
        output: &mut Vec<u8>,
    ) -> Result<Progress<ServerEvent<'i>>, Error> {
        let since = *self.since.get_or_insert(now);
        let phase = self.phase();
        let (deadline, response) =
            self.pace.deadline(phase, since, self.is_refused(), &self.config);
        if now < deadline {
            return Ok(Progress { consumed, step: Step::Wait(want) });
        }
        if want == Want::Input {
            self.say(&response, output);
        }
        Err(self.fail(Error::Timeout(phase)))
    }

    /// RFC 2920, section 3.1: commands may be grouped once the EHLO reply has announced it. A chunk
    /// always follows its command.
    fn note_pipelining(&mut self, line: &[u8], more: bool) {
        let announced = self.config.pipelining && self.said == Said::Ehlo;
        if more
            && !announced
            && !line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"))
        {
            self.early_talk.get_or_insert(EarlyTalk::Unannounced);
        }
    }

    fn ask<'i>(&mut self, question: Question, event: ServerEvent<'i>) -> ServerEvent<'i> {
        self.state = State::Asked(question);
        event
    }

    fn say(&self, response: &Response, output: &mut Vec<u8>) {
        response.write(self.config.enhanced_status_codes, output);
    }

    fn fail(&mut self, error: Error) -> Error {
        self.state = State::Over(error);
        error
    }

    /// Forgets the transaction.
    fn reset(&mut self) {
        self.mail = false;
        self.needs = Needs::default();
        self.domains.clear();
        self.transfer = Transfer::None;
        self.checker = LineChecker::new();
        self.recipients = 0;
        self.body_size = 0;
        self.decoder = DotDecoder::new();
        self.pace.forget_body();
    }

    /// When [`poll`](Self::poll) must be called again at the latest. None while the caller owes a
    /// response, and once the conversation is over.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Asked(_) | State::Over(_) => None,
            _ => self.since.map(|since| {
                self.pace.deadline(self.phase(), since, self.is_refused(), &self.config).0
            }),
        }
    }

    /// What the conversation is waiting for.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Body | State::BodyEnded | State::Chunk | State::ChunkEnded => Phase::Body,
            State::TlsGranted | State::Handshake => Phase::Handshake,
            State::Auth | State::AuthDue => Phase::Auth,
            _ => Phase::Idle,
        }
    }

    /// Answers the event that waits for it. The code decides what follows; 421 ends the connection.
    pub fn respond(&mut self, response: &Response, output: &mut Vec<u8>) -> Result<(), ApiMisuse> {
        let State::Asked(question) = self.state else { return Err(ApiMisuse::NoResponseWanted) };
        if !question.allows(response.code()) {
            return Err(ApiMisuse::WrongCode(response.code()));
        }
        self.on_response(question, response, output);
        self.since = None;
        Ok(())
    }

    /// As [`respond`](Self::respond) to [`ServerEvent::EndOfBody`] in LMTP, with a word for each
    /// recipient that was accepted, in the order of their RCPTs (RFC 2033, section 4.2). A single
    /// response by `respond` is said for all of them.
    pub fn respond_each(
        &mut self,
        responses: &[Response],
        output: &mut Vec<u8>,
    ) -> Result<(), ApiMisuse> {
        let question = Question::EndOfBody;
        if self.state != State::Asked(question) {
            return Err(ApiMisuse::NoResponseWanted);
        }
        if responses.len() != self.deliveries {
            return Err(ApiMisuse::ResponseCount { expected: self.deliveries });
        }
        if let Some(wrong) = responses.iter().find(|response| !question.allows(response.code())) {
            return Err(ApiMisuse::WrongCode(wrong.code()));
        }
        self.deliveries = 1;
        responses.iter().for_each(|response| self.on_response(question, response, output));
        if responses.iter().any(|response| response.code() == 421) {
            self.state = State::Closing;
        }
        self.since = None;
        Ok(())
    }

    /// Ends the conversation with a last word, whatever it is doing: a shutdown, or a handler that
    /// has failed. Nothing is said while a handshake is under way or after the end.
    pub fn close(&mut self, response: &Response, output: &mut Vec<u8>) {
        match self.state {
            State::Over(_) | State::Closing => {}
            State::Handshake => self.state = State::Closing,
            _ => {
                self.exchange = None;
                self.say(response, output);
                self.state = State::Closing;
            }
        }
    }

    /// From now on everything but QUIT gets this response: for a client whose certificate is not
    /// acceptable (RFC 3207, sections 4.1 and 4.2).
    pub fn bar(&mut self, response: Response) {
        self.barred = Some(response);
    }

    /// The handshake succeeded. Everything known from before is forgotten: this value is replaced
    /// by a fresh one (RFC 3207, section 4.2).
    pub fn tls_established(&mut self, tls: Arc<TlsInfo>, now: Instant) -> Result<(), ApiMisuse> {
        if self.state != State::Handshake {
            return Err(ApiMisuse::NoHandshake);
        }
        *self = Self::new(Arc::clone(&self.config), Channel::StartTls(tls), now);
        // The client speaks first: there is no second greeting.
        self.state = State::Command;
        Ok(())
    }

    /// The peer has closed its sending side, and everything it sent has been polled and answered:
    /// real clients close that side before they read the last replies. An error if a message was
    /// cut off.
    pub fn handle_eof(&mut self) -> Result<(), Error> {
        match self.state {
            State::Over(Error::Closed) => Ok(()),
            State::Over(error) => Err(error),
            State::Body | State::BodyEnded | State::Chunk | State::ChunkEnded => {
                Err(self.fail(Error::Eof(Phase::Body)))
            }
            State::TlsGranted | State::Handshake => Err(self.fail(Error::Eof(Phase::Handshake))),
            _ => {
                self.state = State::Over(Error::Closed);
                Ok(())
            }
        }
    }

    /// Whether the client spoke before it was its turn, the first time that it did. What it said is
    /// answered all the same; what to make of it is the caller's affair, most often a reason to
    /// refuse.
    ///
    /// To see it, show [`poll`](Self::poll) what has come before the greeting is sent: wait a
    /// moment with the answer to [`ServerEvent::Connected`], then read what is there without
    /// waiting.
    pub const fn early_talk(&self) -> Option<EarlyTalk> {
        self.early_talk
    }

    /// Recipients of the present transaction that were accepted; at [`ServerEvent::EndOfBody`], of
    /// the one that ends.
    pub const fn recipients(&self) -> usize {
        match self.state {
            State::Asked(Question::EndOfBody) => self.delivering,
            _ => self.recipients,
        }
    }

    /// What the bytes travel in.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }
}
