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

mod config;
mod event;
mod replies;
mod transition;

pub use config::{Config, FutureRelease, Limits, StartTls};
pub use event::{BodyRefusal, Event};

use std::sync::Arc;
use std::time::Instant;

use crate::body::DotDecoder;
use crate::error::{ApiMisuse, Error, PeerMisbehaved, Phase};
use crate::fallback::{Channel, TlsInfo};
use crate::line::{Line, LineReader};
use crate::reply::Response;
use crate::{Progress, Step, Want};

/// The event that waits for a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Connected,
    Hello { extended: bool },
    StartTls,
    Mail { utf8: bool },
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
    /// MAIL had SMTPUTF8: addresses of this transaction may be in UTF-8.
    utf8: bool,
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
            utf8: false,
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
        self.utf8 = false;
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
