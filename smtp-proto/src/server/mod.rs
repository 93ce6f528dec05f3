//! The server: one connection, answered by the caller.
//!
//! ```text
//!  new ─> Connected ─> commands <─────────────────────────────┐
//!          │ 554: 503   │ │  STARTTLS ─> handshake ─> *self = fresh
//!          │ to all     │ └─ EHLO, MAIL, RCPT ── respond ─────┤
//!          v but QUIT   └── DATA ── 354 ─> Body.. ─> EndOfBody ── respond
//!        QUIT, 421, errors ──> Closed
//! ```
//!
//! Events in the first half of [`Event`] want [`Server::respond`]; the reply code decides the transition. Until then
//! nothing more is parsed, so a slow answer holds back only its own connection. Every transition stands in
//! `transition.rs`, in one match.
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use smtp_proto::fallback::Channel;
//! use smtp_proto::reply::Response;
//! use smtp_proto::server::{Config, Event, Server};
//! use smtp_proto::{Step, Want};
//!
//! let config = Arc::new(Config::new("mx.test.example".parse()?));
//! let now = Instant::now();
//! let mut server = Server::new(config, Channel::Plain, now);
//! let (mut output, mut message) = (Vec::new(), Vec::new());
//! let mut input: &[u8] = b"EHLO client.test.example\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\n\
//!                          Subject: hello\r\n\r\n..one dot\r\n.\r\nQUIT\r\n";
//! loop {
//!     let progress = server.poll(now, input, &mut output)?;
//!     input = &input[progress.consumed..];
//!     let response = match progress.step {
//!         Step::Event(Event::Connected) => Response::fixed(220, (2, 0, 0), "ESMTP"),
//!         Step::Event(Event::Data) => Response::fixed(354, (3, 0, 0), "go ahead"),
//!         Step::Event(Event::Body(runs)) => {
//!             runs.for_each(|run| message.extend_from_slice(run));
//!             continue;
//!         }
//!         Step::Event(Event::Closed) => break,
//!         Step::Event(_) => Response::fixed(250, (2, 0, 0), "OK"),
//!         Step::Wait(_) => unreachable!("the script is complete"),
//!     };
//!     server.respond(&response, &mut output)?;
//! }
//! assert_eq!(message, b"Subject: hello\r\n\r\n.one dot\r\n");
//! assert!(output.ends_with(b"221 2.0.0 closing the connection\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod replies;
mod transition;

use std::sync::Arc;
use std::time::Instant;

use crate::body::{BodyDefect, DotDecoder, Runs};
use crate::command::Command;
use crate::error::{ApiMisuse, Error, PeerMisbehaved, Phase};
use crate::fallback::{Channel, TlsInfo};
use crate::line::{Line, LineReader};
use crate::params::{MailParameters, Parameters};
use crate::path::{DomainBuf, ForwardPath, ReversePath};
use crate::reply::Response;
use crate::timeouts::Timeouts;
use crate::{Progress, Step, Want};

/// What all connections of a server have in common.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name in the greeting and in the EHLO reply.
    pub name: DomainBuf,
    /// Whether STARTTLS is offered, or demanded.
    pub starttls: StartTls,
    /// Octets of the largest message: announced with SIZE, enforced at MAIL and while the body comes (RFC 1870).
    pub size_limit: Option<u64>,
    /// Announce PIPELINING (RFC 2920). Pipelined commands are answered in order either way.
    pub pipelining: bool,
    /// Announce 8BITMIME (RFC 6152). Octets above 127 are taken either way.
    pub eight_bit_mime: bool,
    /// Announce ENHANCEDSTATUSCODES (RFC 2034), and write them.
    pub enhanced_status_codes: bool,
    /// Further EHLO lines, keyword and parameters. Controls become `?`.
    pub keywords: Vec<String>,
    /// Limits on what a client may send.
    pub limits: Limits,
    /// Time limits; a server uses `idle`, `body` and `handshake`.
    pub timeouts: Timeouts,
}

impl Config {
    /// No TLS, no size limit, everything else at its default.
    pub fn new(name: DomainBuf) -> Self {
        Self {
            name,
            starttls: StartTls::No,
            size_limit: None,
            pipelining: true,
            eight_bit_mime: true,
            enhanced_status_codes: true,
            keywords: Vec::new(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// Whether a server speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StartTls {
    /// Not offered.
    No,
    /// Offered.
    Offered,
    /// 530 to everything but NOOP, EHLO, STARTTLS and QUIT before it. RFC 3207, 4: a server that is publicly
    /// referenced must not do this.
    Required,
}

/// Limits on what a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a command line with its CRLF. RFC 5321, 4.5.3.1.4: at least 512, more with extensions; 2048 is what
    /// Postfix takes.
    pub command_line: usize,
    /// Recipients of a transaction. RFC 5321, 4.5.3.1.8: at least 100.
    pub recipients: usize,
    /// Commands that were refused for syntax or order; one more ends the connection with 421. RFC 5321, 4.3.2 leaves
    /// the number open; 20 is what Postfix takes.
    pub errors: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { command_line: 2048, recipients: 1000, errors: 20 }
    }
}

/// What happened, or what is wanted.
#[derive(Clone, Debug)]
pub enum Event<'i> {
    /// Answer with the greeting: 220, or 554 (then everything but QUIT gets 503), or 421. The server's name is put
    /// before the text.
    Connected,
    /// EHLO or HELO; answer with 250. It also ends an open transaction. The server's name is put before the text, and
    /// the extensions follow it.
    Hello {
        /// What the client calls itself.
        name: &'i str,
        /// EHLO.
        extended: bool,
    },
    /// STARTTLS; answer with 220, or 454.
    StartTls,
    /// MAIL, which opens a transaction.
    Mail {
        /// The sender.
        path: ReversePath<'i>,
        /// Its parameters.
        parameters: MailParameters<'i>,
    },
    /// RCPT in an open transaction.
    Recipient {
        /// The recipient.
        path: ForwardPath<'i>,
        /// Its parameters.
        parameters: Parameters<'i>,
    },
    /// DATA in a transaction with recipients; answer with 354.
    Data,
    /// The message is complete. 2yz takes the responsibility for it (RFC 5321, 4.2.5).
    EndOfBody,
    /// VRFY, EXPN or HELP.
    Other(Command<'i>),

    // From here on there is nothing to answer.
    /// Bytes of the message, dot-stuffing removed.
    Body(Runs<'i>),
    /// The message was read to its end and refused: forget what came of it. The transaction is over.
    BodyRefused(BodyRefusal),
    /// RSET: forget the transaction.
    Reset,
    /// The conversation is over: send the output, then close the connection.
    Closed,
}

/// Why the machine refused a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyRefusal {
    /// More octets than [`Config::size_limit`].
    #[error("the message exceeds the size limit")]
    TooLarge,
    /// Line ends that another host might read differently.
    #[error("{0}")]
    Defect(BodyDefect),
}

/// The event that waits for a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Connected,
    Hello { extended: bool },
    StartTls,
    Mail,
    Recipient,
    Data,
    EndOfBody,
    Other,
}

/// Where the conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The `Connected` event is due.
    Fresh,
    /// Between commands.
    Command,
    /// The caller owes a response.
    Asked(Question),
    /// Bytes of a message come.
    Body,
    /// The message has ended, the event is due.
    BodyEnded,
    /// STARTTLS is granted; the 220 goes out if nothing stands behind the command.
    TlsGranted,
    /// The driver runs the handshake.
    Handshake,
    /// The `Closed` event is due.
    Closing,
    Over(Error),
}

/// What the client has said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Helo,
    Ehlo,
}

/// The server's side of one connection. See the [module](self).
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    channel: Channel,
    state: State,
    lines: LineReader,
    decoder: DotDecoder,
    said: Said,
    /// MAIL was accepted.
    mail: bool,
    /// RCPTs accepted in this transaction.
    recipients: usize,
    /// Octets of the message so far.
    body_size: u64,
    errors: usize,
    /// Commands seen, for the one check that only the first command gets.
    commands: u64,
    /// The answer to everything but QUIT.
    barred: Option<Response>,
    /// From when the time limit counts; none until the next poll.
    since: Option<Instant>,
}

impl Server {
    /// A fresh connection. `channel` is [`Channel::Plain`], or [`Channel::Implicit`] when the driver has run the
    /// handshake already (RFC 8314).
    pub fn new(config: Arc<Config>, channel: Channel, now: Instant) -> Self {
        Self {
            config,
            channel,
            state: State::Fresh,
            lines: LineReader::default(),
            decoder: DotDecoder::new(),
            said: Said::Nothing,
            mail: false,
            recipients: 0,
            body_size: 0,
            errors: 0,
            commands: 0,
            barred: None,
            since: Some(now),
        }
    }

    /// Advances the conversation: `input` is everything read and not yet consumed, `output` receives what must be sent.
    ///
    /// Errors are sticky. After one, send the output and close the connection.
    pub fn poll<'i>(
        &mut self,
        now: Instant,
        input: &'i [u8],
        output: &mut Vec<u8>,
    ) -> Result<Progress<Event<'i>>, Error> {
        let mut consumed = 0;
        loop {
            let rest = &input[consumed..];
            let event = match self.state {
                State::Over(error) => return Err(error),
                State::Asked(_) => return Ok(Progress { consumed, step: Step::Wait(Want::Answer) }),
                State::Fresh => self.ask(Question::Connected, Event::Connected),
                State::BodyEnded => self.end_of_body(output),
                State::Closing => {
                    self.state = State::Over(Error::Closed);
                    Event::Closed
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
                State::Body => {
                    let decoded = self.decoder.decode(rest);
                    consumed += decoded.consumed;
                    if decoded.consumed > 0 {
                        self.since = Some(now);
                    }
                    if decoded.end {
                        self.state = State::BodyEnded;
                    }
                    self.body_size += decoded.runs.octets() as u64;
                    let refused = self.refusal().is_some();
                    match (refused || decoded.runs.octets() == 0, decoded.end, decoded.consumed) {
                        (true, false, 0) => return self.wait(now, consumed, Want::Input, output),
                        (true, ..) => continue,
                        (false, ..) => Event::Body(decoded.runs),
                    }
                }
                State::Command => {
                    let line = self.lines.read(rest, self.config.limits.command_line);
                    let taken = match line {
                        Line::Whole(_, taken) | Line::Broken(_, taken) | Line::Partial(taken) => taken,
                    };
                    consumed += taken;
                    let event = match line {
                        Line::Partial(_) => return self.wait(now, consumed, Want::Input, output),
                        Line::Broken(error, _) => self.on_broken_line(error, output),
                        Line::Whole(line, _) => self.on_line(line, output),
                    };
                    self.since = Some(now);
                    match event {
                        Some(event) => event,
                        None => continue,
                    }
                }
            };
            return Ok(Progress { consumed, step: Step::Event(event) });
        }
    }

    fn wait<'i>(
        &mut self,
        now: Instant,
        consumed: usize,
        want: Want,
        output: &mut Vec<u8>,
    ) -> Result<Progress<Event<'i>>, Error> {
        let since = *self.since.get_or_insert(now);
        let phase = self.phase();
        if now < since + self.config.timeouts.of(phase) {
            return Ok(Progress { consumed, step: Step::Wait(want) });
        }
        if want == Want::Input {
            self.say(&replies::TIMEOUT, output);
        }
        Err(self.fail(Error::Timeout(phase)))
    }

    fn ask<'i>(&mut self, question: Question, event: Event<'i>) -> Event<'i> {
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

    /// What is wrong with the message so far.
    fn refusal(&self) -> Option<BodyRefusal> {
        if self.config.size_limit.is_some_and(|limit| self.body_size > limit) {
            return Some(BodyRefusal::TooLarge);
        }
        self.decoder.defect().map(BodyRefusal::Defect)
    }

    fn end_of_body(&mut self, output: &mut Vec<u8>) -> Event<'static> {
        let refusal = self.refusal();
        self.reset();
        match refusal {
            None => self.ask(Question::EndOfBody, Event::EndOfBody),
            Some(refusal) => {
                let response = match refusal {
                    BodyRefusal::TooLarge => replies::TOO_LARGE,
                    BodyRefusal::Defect(_) => replies::BARE_LINE_END,
                };
                self.say(&response, output);
                self.state = State::Command;
                Event::BodyRefused(refusal)
            }
        }
    }

    /// Forgets the transaction.
    fn reset(&mut self) {
        self.mail = false;
        self.recipients = 0;
        self.body_size = 0;
        self.decoder = DotDecoder::new();
    }

    /// When [`poll`](Self::poll) must be called again at the latest. None while the caller owes a response, and once
    /// the conversation is over.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Asked(_) | State::Over(_) => None,
            _ => self.since.map(|since| since + self.config.timeouts.of(self.phase())),
        }
    }

    /// What the conversation is waiting for.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Body | State::BodyEnded => Phase::Body,
            State::TlsGranted | State::Handshake => Phase::Handshake,
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

    /// Ends the conversation with a last word, whatever it is doing: a shutdown, or a handler that has failed. Nothing
    /// is said while a handshake is under way or after the end.
    pub fn close(&mut self, response: &Response, output: &mut Vec<u8>) {
        match self.state {
            State::Over(_) | State::Closing => {}
            State::Handshake => self.state = State::Closing,
            _ => {
                self.say(response, output);
                self.state = State::Closing;
            }
        }
    }

    /// From now on everything but QUIT gets this response: for a client whose certificate is not acceptable
    /// (RFC 3207, 4.1 and 4.2).
    pub fn bar(&mut self, response: Response) {
        self.barred = Some(response);
    }

    /// The handshake succeeded. Everything known from before is forgotten: this value is replaced by a fresh one
    /// (RFC 3207, 4.2).
    pub fn tls_established(&mut self, tls: Arc<TlsInfo>, now: Instant) -> Result<(), ApiMisuse> {
        if self.state != State::Handshake {
            return Err(ApiMisuse::NoHandshake);
        }
        *self = Self::new(Arc::clone(&self.config), Channel::StartTls(tls), now);
        // The client speaks first: there is no second greeting.
        self.state = State::Command;
        Ok(())
    }

    /// The peer has closed its sending side, and everything it sent has been polled and answered: real clients close
    /// that side before they read the last replies. An error if a message was cut off.
    pub fn handle_eof(&mut self) -> Result<(), Error> {
        match self.state {
            State::Over(Error::Closed) => Ok(()),
            State::Over(error) => Err(error),
            State::Body | State::BodyEnded => Err(self.fail(Error::Eof(Phase::Body))),
            State::TlsGranted | State::Handshake => Err(self.fail(Error::Eof(Phase::Handshake))),
            _ => {
                self.state = State::Over(Error::Closed);
                Ok(())
            }
        }
    }

    /// What the bytes travel in.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }
}
