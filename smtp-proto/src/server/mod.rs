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
mod commands;
mod config;
mod event;
mod exchange;
mod hello;
mod pace;
mod replies;
mod state;
mod tolerance;
mod transition;

pub use config::{FutureRelease, ServerConfig, ServerLimits, StartTls};
pub use event::{EarlyTalk, ServerEvent};
pub use tolerance::{BareLineEnds, Tolerance};

use std::sync::Arc;
use std::time::Instant;

use crate::channel::{Channel, TlsInfo};
use crate::error::{ApiMisuse, Error};
use crate::starttls::HandOver;
use crate::timeouts::Phase;
use crate::wire::line::{Line, LineReader};
use crate::wire::reply::Response;
use crate::{Progress, Protocol, Step, Want};
use auth::is_auth;
use pace::{Pace, Waiting};
use state::{Greeted, Question, Session, State, Transaction};

/// The server's side of one connection. See the [module](self).
#[derive(Debug)]
pub struct Server {
    config: Arc<ServerConfig>,
    channel: Channel,
    state: State,
    session: Session,
    transaction: Option<Transaction>,
    tolerance: Tolerance,
    lines: LineReader,
    pace: Pace,
    /// The greeting was written by the last call, and is not sent yet.
    greeting: bool,
    /// The line that is being read may hold credentials.
    secret_line: bool,
    /// What the last poll has consumed may hold credentials.
    read_secrets: bool,
}

impl Server {
    /// A fresh connection. `channel` is [`Channel::Plain`], or [`Channel::Implicit`] when the
    /// driver has run the handshake already (RFC 8314).
    pub fn new(config: Arc<ServerConfig>, channel: Channel, now: Instant) -> Self {
        let tolerance = config.tolerance;
        Self {
            config,
            channel,
            state: State::Fresh,
            session: Session::default(),
            transaction: None,
            tolerance,
            lines: LineReader::default(),
            pace: Pace::new(now),
            greeting: false,
            secret_line: false,
            read_secrets: false,
        }
    }

    /// Advances the conversation: `input` is everything read and not yet consumed, `output`
    /// receives what must be sent.
    ///
    /// # Errors
    ///
    /// A time limit has passed, the client has broken the protocol beyond repair, or the
    /// conversation is over. Errors are final: send the output and close the connection.
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
            if let Some(clock) = self.transaction.as_mut().and_then(|it| it.clock.as_mut()) {
                clock.skip(away);
            }
        }
        // RFC 5321, section 3.1: the client waits for the greeting.
        let greeting_is_due =
            matches!(self.state, State::Fresh) || std::mem::take(&mut self.greeting);
        if greeting_is_due && !input.is_empty() {
            self.session.early_talk = Some(EarlyTalk::BeforeGreeting);
        }
        loop {
            let rest = &input[consumed..];
            let event = match self.state {
                State::Over(error) => return Err(error),
                State::Asked(_) => {
                    return Ok(Progress { consumed, step: Step::Wait(Want::Caller) });
                }
                State::Fresh => Some(self.ask(Question::Connected, ServerEvent::Connected)),
                State::BodyEnded => Some(self.on_body_end(now, output)),
                State::Closing => Some(self.on_closing()),
                State::TlsGranted => {
                    self.on_tls_granted(!rest.is_empty(), now, output)?;
                    None
                }
                // The handshake belongs to the driver: what the machine sees is plaintext.
                State::Handshake if !rest.is_empty() => return Err(self.on_plaintext()),
                State::Handshake => return self.wait(now, consumed, Want::Handshake, output),
                State::Body | State::Chunk(_) => {
                    let read = match self.state {
                        State::Body => self.read(rest, now),
                        _ => self.read_chunk(rest, now),
                    };
                    consumed += read.taken;
                    if read.taken > 0 {
                        self.pace.restart(now);
                    }
                    self.on_body_read(read.ended);
                    if read.taken == 0 && !read.ended {
                        return self.wait(now, consumed, Want::Input, output);
                    }
                    read.event
                }
                State::ChunkEnded(_) => self.on_chunk_end(now, output),
                State::AuthDue(..) => self.on_auth_due(output),
                State::Command | State::Auth(_) => {
                    let in_exchange = matches!(self.state, State::Auth(_));
                    self.secret_line |= in_exchange || is_auth(rest);
                    self.read_secrets |= self.secret_line;
                    let line = self.lines.read(
                        rest,
                        self.line_limit(rest),
                        self.tolerance.bare_lf_commands,
                    );
                    let taken = match line {
                        Line::Whole(_, taken) | Line::Broken(_, taken) | Line::Partial(taken) => {
                            taken
                        }
                    };
                    consumed += taken;
                    let event = match line {
                        Line::Partial(_) => return self.wait(now, consumed, Want::Input, output),
                        Line::Broken(line, _) if in_exchange => {
                            self.on_broken_auth_line(line.error, output)
                        }
                        Line::Broken(line, _) => self.on_broken_line(line, output),
                        Line::Whole(line, _) if in_exchange => self.on_auth_line(line, output),
                        Line::Whole(line, taken) => {
                            self.note_pipelining(line, consumed < input.len());
                            self.on_line(line, taken == line.len() + 1, output)
                        }
                    };
                    self.secret_line = false;
                    self.pace.restart(now);
                    event
                }
            };
            if let Some(event) = event {
                self.pace.hand(now);
                return Ok(Progress { consumed, step: Step::Event(event) });
            }
        }
    }

    fn wait<'i>(
        &mut self,
        now: Instant,
        consumed: usize,
        want: Want,
        output: &mut Vec<u8>,
    ) -> Result<Progress<ServerEvent<'i>>, Error> {
        let since = self.pace.wait(now);
        let waiting = self.waiting(since);
        let (deadline, response) = self.pace.deadline(&waiting, &self.config);
        if now < deadline {
            return Ok(Progress { consumed, step: Step::Wait(want) });
        }
        if want == Want::Input {
            self.say(&response, output);
        }
        Err(self.fail(Error::Timeout(waiting.phase)))
    }

    fn waiting(&self, since: Instant) -> Waiting {
        Waiting { phase: self.phase(), since, body: self.body_clock(), refused: self.is_refused() }
    }

    /// RFC 2920, section 3.1: commands may be grouped once the EHLO reply has announced it. A chunk
    /// always follows its command.
    fn note_pipelining(&mut self, line: &[u8], more: bool) {
        let announced = self.config.pipelining && self.session.greeted == Greeted::Ehlo;
        if more
            && !announced
            && !line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"))
        {
            self.session.early_talk.get_or_insert(EarlyTalk::Unannounced);
        }
    }

    fn say(&self, response: &Response, output: &mut Vec<u8>) {
        response.write(self.config.enhanced_status_codes, output);
    }

    /// When [`poll`](Self::poll) must be called again at the latest. None while the caller owes a
    /// response, and once the conversation is over.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Asked(_) | State::Over(_) => None,
            _ => {
                let waiting = self.waiting(self.pace.since()?);
                Some(self.pace.deadline(&waiting, &self.config).0)
            }
        }
    }

    /// What the conversation is waiting for.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Body | State::BodyEnded | State::Chunk(_) | State::ChunkEnded(_) => Phase::Body,
            State::TlsGranted | State::Handshake => Phase::Handshake,
            State::Auth(_) | State::AuthDue(..) => Phase::Auth,
            _ => Phase::Idle,
        }
    }

    /// Octets of the longest line that the client may send next, if it may hold credentials.
    pub(crate) fn secret_line(&self) -> Option<usize> {
        let is_secret = self.read_secrets || self.phase() == Phase::Auth;
        is_secret.then_some(self.config.limits.auth_line)
    }

    /// Whether the greeting is written, and the client has to wait until it is sent.
    pub(crate) const fn is_greeting(&self) -> bool {
        self.greeting
    }

    /// Answers the event that waits for it. The code decides what follows; 421 ends the connection.
    ///
    /// # Errors
    ///
    /// [`ApiMisuse::NoResponseWanted`] if no event waits for a response,
    /// [`ApiMisuse::WrongCode`] if the code does not answer the event. The event waits on.
    pub fn respond(&mut self, response: &Response, output: &mut Vec<u8>) -> Result<(), ApiMisuse> {
        let State::Asked(question) = &self.state else { return Err(ApiMisuse::NoResponseWanted) };
        if !question.allows(response.code()) {
            return Err(ApiMisuse::WrongCode(response.code()));
        }
        self.on_response(response, output);
        self.pace.restart_at_next_poll();
        Ok(())
    }

    /// Answers [`ServerEvent::EndOfBody`] in LMTP with one response for each recipient that was
    /// accepted, in the order of their RCPTs (RFC 2033, section 4.2). The one response of
    /// [`respond`](Self::respond) is sent for each of them.
    ///
    /// # Errors
    ///
    /// As [`respond`](Self::respond), and [`ApiMisuse::ResponseCount`] if there are more or fewer
    /// responses than recipients (in SMTP: than one). The event waits on.
    pub fn respond_each(
        &mut self,
        responses: &[Response],
        output: &mut Vec<u8>,
    ) -> Result<(), ApiMisuse> {
        let State::Asked(question @ Question::EndOfBody { recipients }) = &self.state else {
            return Err(ApiMisuse::NoResponseWanted);
        };
        let expected = if self.config.protocol == Protocol::Lmtp { *recipients } else { 1 };
        if responses.len() != expected {
            return Err(ApiMisuse::ResponseCount { expected });
        }
        if let Some(wrong) = responses.iter().find(|response| !question.allows(response.code())) {
            return Err(ApiMisuse::WrongCode(wrong.code()));
        }
        self.on_responses(responses, output);
        self.pace.restart_at_next_poll();
        Ok(())
    }

    /// Ends the conversation with a last reply, whatever it is doing: for a shutdown, or a handler
    /// that has failed. Nothing is sent during a handshake or after the end.
    pub fn close(&mut self, response: &Response, output: &mut Vec<u8>) {
        self.on_close(response, output);
    }

    /// From now on everything but QUIT gets this response: for a client whose certificate is not
    /// acceptable (RFC 3207, sections 4.1 and 4.2).
    pub fn bar(&mut self, response: Response) {
        self.session.barred = Some(response);
    }

    /// Replaces [`ServerConfig::tolerance`] for this client: for commands from now on, for messages
    /// from the next DATA or first BDAT on. After STARTTLS the configuration counts again.
    pub fn set_tolerance(&mut self, tolerance: Tolerance) {
        self.tolerance = tolerance;
    }

    /// The handshake succeeded. Everything known from before is forgotten: this value is replaced
    /// by a fresh one (RFC 3207, section 4.2).
    ///
    /// # Errors
    ///
    /// [`ApiMisuse::NoHandshake`] unless the last poll asked for a handshake.
    pub fn tls_established(&mut self, tls: Arc<TlsInfo>, now: Instant) -> Result<(), ApiMisuse> {
        self.hand_over(tls, now)
    }

    /// The peer has closed its sending side, and everything it sent has been polled and answered:
    /// real clients close that side before they read the last replies. The next
    /// [`poll`](Self::poll) reports [`Closed`](ServerEvent::Closed).
    ///
    /// # Errors
    ///
    /// [`Error::Eof`] if a message or the handshake was cut off; the error of the conversation if
    /// it has failed before.
    pub fn handle_eof(&mut self) -> Result<(), Error> {
        self.on_eof()
    }

    /// Whether the client spoke before it was its turn, the first time that it did. What it said is
    /// answered all the same; what to make of it is the caller's affair, most often a reason to
    /// refuse.
    ///
    /// To see it, show [`poll`](Self::poll) what has come before the greeting is sent: wait a
    /// moment with the answer to [`ServerEvent::Connected`], then read what is there without
    /// waiting.
    pub const fn early_talk(&self) -> Option<EarlyTalk> {
        self.session.early_talk
    }

    /// Recipients of the present transaction that were accepted; at [`ServerEvent::EndOfBody`], of
    /// the one that ends.
    pub fn recipients(&self) -> usize {
        match &self.state {
            State::Asked(Question::EndOfBody { recipients }) => *recipients,
            _ => self.transaction.as_ref().map_or(0, |it| it.recipients),
        }
    }

    /// What the bytes travel in.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }
}
