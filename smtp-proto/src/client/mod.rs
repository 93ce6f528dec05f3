//! The client: one connection, many transactions.
//!
//! ```text
//!  new ─> greeting ─> EHLO ──────────────┬─> ready <──────────────────────────────┐
//!            │         │ 500-504         │    │ start_transaction               │
//!            │         └─> HELO ─────────┤    └─> MAIL ─> RCPT.. ─> DATA ─> body ─> dot
//!            │                           │          │       │        │              │
//!            │   STARTTLS ─> handshake ──┘          └───────┴────────┴─> RSET ──────┘
//!            │      ^            │ tls_established: *self = fresh, EHLO again
//!            v      │            v
//!        Unwelcome  NoTls ──> closed <── quit, 421, errors
//! ```
//!
//! The driver calls [`poll`](Client::poll) with everything it has read, drops what was consumed, acts on the step and
//! comes again. [`Want`] says when to send the output and what to wait for. Every transition stands in
//! `transition.rs`, in one match.
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use smtp_proto::client::{Client, Config, Envelope, Event, Outcome};
//! use smtp_proto::fallback::{Channel, TlsRules};
//! use smtp_proto::{Progress, Step};
//!
//! let config = Arc::new(Config::new("client.test.example".parse()?));
//! let now = Instant::now();
//! let mut client = Client::new(config, TlsRules::NEVER, Channel::Plain, now);
//! let mut output = Vec::new();
//! // What a server might say, all at once: this is a script, not a network.
//! let mut input: &[u8] = b"220 mx\r\n250-mx\r\n250 PIPELINING\r\n250 sender\r\n250 recipient\r\n354 go\r\n250 queued\r\n";
//! loop {
//!     let Progress { consumed, step } = client.poll(now, input, &mut output)?;
//!     input = &input[consumed..];
//!     match step {
//!         Step::Event(Event::Ready) => client.start_transaction(Arc::new(Envelope {
//!             reverse_path: "sender@test.example".parse()?,
//!             recipients: vec!["reader@test.example".parse()?],
//!             ..Envelope::default()
//!         }), now)?,
//!         Step::Event(Event::SendBody) => {
//!             client.write_body(b"Subject: hello\r\n\r\n.one dot\r\n", &mut output, now)?;
//!             client.end_body(&mut output, now)?;
//!         }
//!         Step::Event(Event::Finished(Outcome::Accepted(reply))) => {
//!             assert_eq!(reply.to_string(), "250 queued");
//!             break;
//!         }
//!         Step::Event(_) => {}
//!         Step::Wait(_) => unreachable!("the script is complete"),
//!     }
//! }
//! assert!(output.ends_with(b"DATA\r\nSubject: hello\r\n\r\n..one dot\r\n.\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod transition;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::body::DotEncoder;
use crate::capabilities::{Capabilities, Extension};
use crate::command::Command;
use crate::error::{ApiMisuse, Error, PeerMisbehaved, Phase};
use crate::fallback::{Channel, Fallback, TlsFailure, TlsInfo, TlsRules, after};
use crate::params::{BodyType, MailParameters, Parameters};
use crate::path::{DomainBuf, ForwardPathBuf, ReversePathBuf};
use crate::reply::{Reply, ReplyParser};
use crate::timeouts::Timeouts;
use crate::{Progress, Step, Want};

/// Octets of pipelined commands that wait for their replies. RFC 2920, 3.1: a group must fit the TCP send window,
/// or both ends may block on each other; 4 KiB fits every window in use.
pub const MAX_PIPELINED: usize = 4096;

/// What all connections of a client have in common.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name in EHLO: a domain that resolves to this host, or its address literal (RFC 5321, 4.1.4).
    pub name: DomainBuf,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Whether PIPELINING is used where offered. The events are the same either way.
    pub pipelining: bool,
}

impl Config {
    /// Everything at its default.
    pub fn new(name: DomainBuf) -> Self {
        Self { name, timeouts: Timeouts::default(), pipelining: true }
    }
}

/// Who sends what to whom. Shared, so that a transaction does not copy it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The sender.
    pub reverse_path: ReversePathBuf,
    /// The recipients, in the order of their [`Recipient`](Event::Recipient) events.
    pub recipients: Vec<ForwardPathBuf>,
    /// Octets of the message, if known: sent where the server announces SIZE, and refused here already if over its
    /// limit (RFC 1870, 6).
    pub size: Option<u64>,
    /// What the bytes of the body may be. 8BITMIME is needed where this says so (RFC 6152, 3).
    pub body: BodyType,
}

/// The null sender, no recipient yet, a body of 7 bits.
impl Default for Envelope {
    fn default() -> Self {
        Self { reverse_path: ReversePathBuf::NULL, recipients: Vec::new(), size: None, body: BodyType::SevenBit }
    }
}

impl Envelope {
    fn is_ascii(&self) -> bool {
        self.reverse_path.borrow().as_str().is_ascii()
            && self.recipients.iter().all(|path| path.borrow().as_str().is_ascii())
    }
}

/// What happened, or what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'i> {
    /// There is no TLS, and what [`after`] says about it. [`Fallback::ContinuePlaintext`]: the conversation goes on.
    /// Everything else: it is over; the connection ends with [`Closed`](Self::Closed).
    NoTls {
        /// Why.
        failure: TlsFailure,
        /// What the rules say.
        fallback: Fallback,
        /// The server's words, where it said any.
        reply: Option<Reply<'i>>,
    },
    /// [`Client::start_transaction`] can be called; capabilities are known.
    Ready,
    /// The word on one recipient. Comes once for each, in order, unless the transaction ends before.
    Recipient {
        /// Index in [`Envelope::recipients`].
        index: usize,
        /// 2yz: accepted.
        reply: Reply<'i>,
    },
    /// The body is wanted: [`Client::write_body`], then [`Client::end_body`]. Keep polling meanwhile.
    SendBody,
    /// The transaction is over, exactly once. Another can start, unless [`Closed`](Self::Closed) follows.
    Finished(Outcome<'i>),
    /// The server does not want this connection, or no longer: a greeting or EHLO that is not 2yz, 421 out of the blue.
    Unwelcome {
        /// Where.
        phase: Phase,
        /// The server's words.
        reply: Reply<'i>,
    },
    /// The conversation is over: send the output, then close the connection.
    Closed,
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome<'i> {
    /// The server has taken the message for every recipient that it accepted.
    Accepted(Reply<'i>),
    /// MAIL, DATA or the message was refused, or RCPT with 421. It counts for every recipient that was accepted or
    /// has had no event.
    Refused {
        /// What was refused.
        phase: Phase,
        /// Why.
        reply: Reply<'i>,
    },
    /// Every recipient was refused, each in its own event.
    NoRecipients,
    /// The server lacks what the envelope needs. Nothing was sent.
    Unsupported(Unsupported),
}

/// What the server lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// RFC 6152, 3: a body with octets above 127 needs 8BITMIME.
    #[error("the server does not offer 8BITMIME")]
    EightBitMime,
    /// RFC 1870, 6: the message is larger than the server takes.
    #[error("the message exceeds the server's limit of {limit} octets")]
    Size {
        /// The limit.
        limit: u64,
    },
    /// An address that is not ASCII cannot be sent.
    #[error("an address is not ASCII")]
    NonAsciiAddress,
}

/// A command that waits for its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// No command: the server speaks first.
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Mail,
    Recipient(usize),
    Data,
    EndOfData,
    /// The dot that answers a 354 nobody wants any more.
    LoneDot,
    Reset,
    Quit,
}

impl Sent {
    const fn phase(self) -> Phase {
        match self {
            Self::Greeting => Phase::Greeting,
            Self::Ehlo | Self::Helo => Phase::Hello,
            Self::StartTls => Phase::StartTls,
            Self::Mail => Phase::Mail,
            Self::Recipient(_) => Phase::Recipient,
            Self::Data => Phase::Data,
            Self::EndOfData | Self::LoneDot => Phase::EndOfData,
            Self::Reset => Phase::Reset,
            Self::Quit => Phase::Quit,
        }
    }
}

/// A transaction that has not finished.
#[derive(Debug)]
struct Transaction {
    envelope: Arc<Envelope>,
    /// The cursor: what is sent next.
    next: Next,
    /// Recipients with a reply.
    answered: usize,
    accepted: usize,
    /// What the server lacks, found when the transaction started.
    unsupported: Option<Unsupported>,
}

/// What a transaction sends next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Mail,
    Recipient(usize),
    Data,
    /// Nothing: DATA awaits its 354.
    Permission,
    /// The caller's bytes.
    Body,
    /// Nothing: the final dot awaits its reply.
    Verdict,
}

/// Where the conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Greeting, EHLO or STARTTLS is under way.
    Opening,
    /// The 220 to STARTTLS was read; the driver runs the handshake.
    Handshake,
    /// EHLO was answered, the event is due.
    Opened,
    /// Between transactions, or in one.
    Ready,
    /// QUIT was or will be sent; nothing else matters.
    Leaving,
    /// The `Closed` event is due.
    Closing,
    Over(Error),
}

/// The client's side of one connection. See the [module](self).
#[derive(Debug)]
pub struct Client {
    config: Arc<Config>,
    rules: TlsRules,
    channel: Channel,
    capabilities: Capabilities,
    parser: ReplyParser,
    state: State,
    /// A command of the conversation itself that is sent as soon as nothing is under way.
    due: Option<Sent>,
    transaction: Option<Transaction>,
    /// Commands that wait for replies, oldest first, with their octets.
    queue: VecDeque<(Sent, usize)>,
    /// Octets of all commands in the queue.
    pipelined: usize,
    /// This many replies belong to a transaction that has finished.
    stale: usize,
    /// RSET must come before the next MAIL.
    reset: bool,
    encoder: DotEncoder,
    /// From when the time limit of the present phase counts.
    since: Instant,
}

impl Client {
    /// A fresh connection. `channel` is [`Channel::Plain`], or [`Channel::Implicit`] when the driver has run the
    /// handshake already (RFC 8314).
    pub fn new(config: Arc<Config>, rules: TlsRules, channel: Channel, now: Instant) -> Self {
        let mut client = Self::without_greeting(config, rules, channel, now);
        client.push(Sent::Greeting, 0, now);
        client
    }

    fn without_greeting(config: Arc<Config>, rules: TlsRules, channel: Channel, now: Instant) -> Self {
        Self {
            config,
            rules,
            channel,
            capabilities: Capabilities::default(),
            parser: ReplyParser::default(),
            state: State::Opening,
            due: None,
            transaction: None,
            queue: VecDeque::new(),
            pipelined: 0,
            stale: 0,
            reset: false,
            encoder: DotEncoder::new(),
            since: now,
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
            if let Some(event) = self.due_event()? {
                return Ok(Progress { consumed, step: Step::Event(event) });
            }
            self.send(now, output);
            let rest = &input[consumed..];
            if self.state == State::Handshake {
                // RFC 3207, 4.2 and 5: nothing may stand between the 220 and the handshake; it is never parsed.
                if !rest.is_empty() {
                    let event = self.no_tls(TlsFailure::Injected, None);
                    return Ok(Progress { consumed: input.len(), step: Step::Event(event) });
                }
                return self.wait(now, consumed, Want::Handshake);
            }
            let reply = match self.parser.parse(rest) {
                Ok(Some(reply)) => reply,
                Ok(None) => return self.wait(now, consumed, Want::Input),
                Err(error) => return Err(self.fail(PeerMisbehaved::Reply(error).into())),
            };
            consumed += reply.len();
            match self.on_reply(reply, now) {
                Ok(None) => {}
                Ok(Some(event)) => return Ok(Progress { consumed, step: Step::Event(event) }),
                Err(error) => return Err(self.fail(error)),
            }
        }
    }

    fn wait<'i>(&mut self, now: Instant, consumed: usize, want: Want) -> Result<Progress<Event<'i>>, Error> {
        match self.deadline() {
            Some(deadline) if now >= deadline => Err(self.fail(Error::Timeout(self.phase()))),
            _ => Ok(Progress { consumed, step: Step::Wait(want) }),
        }
    }

    /// Events that need no input.
    fn due_event<'i>(&mut self) -> Result<Option<Event<'i>>, Error> {
        match self.state {
            State::Over(error) => return Err(error),
            State::Closing => {
                self.state = State::Over(Error::Closed);
                return Ok(Some(Event::Closed));
            }
            State::Opened => {
                self.state = State::Ready;
                return Ok(Some(Event::Ready));
            }
            State::Opening | State::Handshake | State::Ready | State::Leaving => {}
        }
        let Some(transaction) = &self.transaction else { return Ok(None) };
        let outcome = if let Some(unsupported) = transaction.unsupported {
            Outcome::Unsupported(unsupported)
        } else if transaction.accepted == 0 && transaction.answered == transaction.envelope.recipients.len() {
            self.reset = true;
            Outcome::NoRecipients
        } else {
            return Ok(None);
        };
        Ok(Some(self.finish(outcome)))
    }

    /// Writes every command that may go now.
    fn send(&mut self, now: Instant, output: &mut Vec<u8>) {
        if let Some(sent) = self.due.take_if(|_| self.queue.is_empty()) {
            let start = output.len();
            match sent {
                Sent::Ehlo => Command::Ehlo(self.config.name.as_str()).write(output),
                Sent::Helo => Command::Helo(self.config.name.as_str()).write(output),
                // RFC 3207, 4 and RFC 2920, 3.1: the last command of its group; here it is the only one.
                Sent::StartTls => Command::StartTls.write(output),
                Sent::LoneDot => output.extend_from_slice(b".\r\n"),
                Sent::Greeting | Sent::Mail | Sent::Recipient(_) | Sent::Data | Sent::EndOfData => {}
                Sent::Reset | Sent::Quit => {}
            }
            self.push(sent, output.len() - start, now);
        }
        if self.state == State::Leaving && self.queue.is_empty() {
            Command::Quit.write(output);
            self.push(Sent::Quit, b"QUIT\r\n".len(), now);
        }
        if self.state != State::Ready || self.stale > 0 || self.due.is_some() {
            return;
        }
        if self.reset && self.queue.is_empty() {
            Command::Rset.write(output);
            self.push(Sent::Reset, b"RSET\r\n".len(), now);
            self.reset = false;
        }
        while let Some(transaction) = &mut self.transaction {
            let pipelining = self.config.pipelining && self.capabilities.has(Extension::Pipelining);
            if !(self.queue.is_empty() || pipelining) {
                break;
            }
            let start = output.len();
            let (sent, next) = transaction.write_next(&self.capabilities, output);
            let Some(sent) = sent else { break };
            let length = output.len() - start;
            if self.pipelined + length > MAX_PIPELINED && !self.queue.is_empty() {
                output.truncate(start);
                break;
            }
            transaction.next = next;
            self.push(sent, length, now);
        }
    }

    fn push(&mut self, sent: Sent, length: usize, now: Instant) {
        if self.queue.is_empty() {
            self.since = now;
        }
        self.queue.push_back((sent, length));
        self.pipelined += length;
    }

    /// Ends the transaction; replies that are still to come belong to nobody.
    fn finish<'i>(&mut self, outcome: Outcome<'i>) -> Event<'i> {
        self.transaction = None;
        self.stale = self.queue.len();
        Event::Finished(outcome)
    }

    /// Asks the rules, and ends the conversation unless they let it go on.
    fn no_tls<'i>(&mut self, failure: TlsFailure, reply: Option<Reply<'i>>) -> Event<'i> {
        let fallback = after(self.rules, &self.channel, failure);
        if fallback != Fallback::ContinuePlaintext {
            match failure {
                TlsFailure::NotOffered | TlsFailure::Refused { .. } | TlsFailure::HelloInside => self.leave(),
                _ => self.state = State::Closing,
            }
        }
        Event::NoTls { failure, fallback, reply }
    }

    /// Says QUIT once everything is answered, and nothing else but the dot that a stale 354 waits for.
    fn leave(&mut self) {
        self.state = State::Leaving;
        self.due = self.due.filter(|&due| due == Sent::LoneDot);
    }

    /// The connection is gone; an earlier error stays.
    fn end(&mut self) {
        if !matches!(self.state, State::Over(_)) {
            self.state = State::Over(Error::Closed);
        }
    }

    fn fail(&mut self, error: Error) -> Error {
        self.state = State::Over(error);
        error
    }

    /// When [`poll`](Self::poll) must be called again at the latest. The driver bounds reads, writes and the handshake
    /// with it. None once the conversation is over.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Over(_) => None,
            _ => Some(self.since + self.config.timeouts.of(self.phase())),
        }
    }

    /// What the conversation is waiting for.
    pub fn phase(&self) -> Phase {
        match (self.state, self.queue.front(), &self.transaction) {
            (State::Handshake, ..) => Phase::Handshake,
            (_, Some((sent, _)), _) => sent.phase(),
            (_, None, Some(_)) => Phase::Body,
            (_, None, None) => Phase::Idle,
        }
    }

    /// The peer has closed its sending side, and everything it sent has been polled. After QUIT or 421 that is how it
    /// should be, and the next [`poll`](Self::poll) says [`Closed`](Event::Closed); else it is an error.
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

    /// Starts a transaction after [`Event::Ready`] or [`Event::Finished`]; the next [`poll`](Self::poll) sends it.
    pub fn start_transaction(&mut self, envelope: Arc<Envelope>, now: Instant) -> Result<(), ApiMisuse> {
        if self.state != State::Ready || self.transaction.is_some() {
            return Err(ApiMisuse::NotReady);
        }
        if envelope.recipients.is_empty() {
            return Err(ApiMisuse::NoRecipients);
        }
        self.encoder = DotEncoder::new();
        if self.queue.is_empty() {
            self.since = now;
        }
        let unsupported = self.unsupported(&envelope);
        self.transaction = Some(Transaction { envelope, next: Next::Mail, answered: 0, accepted: 0, unsupported });
        Ok(())
    }

    fn unsupported(&self, envelope: &Envelope) -> Option<Unsupported> {
        if envelope.body == BodyType::EightBitMime && !self.capabilities.has(Extension::EightBitMime) {
            return Some(Unsupported::EightBitMime);
        }
        if !envelope.is_ascii() {
            return Some(Unsupported::NonAsciiAddress);
        }
        match (envelope.size, self.capabilities.size_limit()) {
            (Some(size), Some(limit)) if size > limit => Some(Unsupported::Size { limit }),
            _ => None,
        }
    }

    /// Whether [`write_body`](Self::write_body) may be called now.
    pub fn wants_body(&self) -> bool {
        self.state == State::Ready && self.transaction.as_ref().is_some_and(|it| it.next == Next::Body)
    }

    /// Appends a piece of the message to `output`, dot-stuffed (RFC 5321, 4.5.2). Pieces may be cut anywhere.
    ///
    /// Lines must end in CRLF. After [`ApiMisuse::Body`] the connection can only be closed: the message is incomplete
    /// on the wire, and there is no way to take it back.
    pub fn write_body(&mut self, piece: &[u8], output: &mut Vec<u8>, now: Instant) -> Result<(), ApiMisuse> {
        if !self.wants_body() {
            return Err(ApiMisuse::NoBodyWanted);
        }
        self.since = now;
        self.encoder.encode(piece, output).map_err(|defect| {
            self.state = State::Closing;
            ApiMisuse::Body(defect)
        })
    }

    /// Ends the message: CRLF if it lacks the last one, then the final dot.
    pub fn end_body(&mut self, output: &mut Vec<u8>, now: Instant) -> Result<(), ApiMisuse> {
        if !self.wants_body() {
            return Err(ApiMisuse::NoBodyWanted);
        }
        if let Err(defect) = std::mem::take(&mut self.encoder).finish(output) {
            self.state = State::Closing;
            return Err(ApiMisuse::Body(defect));
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.next = Next::Verdict;
        }
        self.push(Sent::EndOfData, 0, now);
        Ok(())
    }

    /// Says QUIT between two transactions. [`Event::Closed`] follows the reply.
    pub fn quit(&mut self) -> Result<(), ApiMisuse> {
        match self.state {
            State::Ready | State::Opened if self.transaction.is_none() => {
                self.leave();
                Ok(())
            }
            State::Leaving => Ok(()),
            _ => Err(ApiMisuse::NotReady),
        }
    }

    /// The handshake succeeded and the certificate counts. Everything known from before is forgotten: this value is
    /// replaced by a fresh one (RFC 3207, 4.2).
    pub fn tls_established(&mut self, tls: Arc<TlsInfo>, now: Instant) -> Result<(), ApiMisuse> {
        if self.state != State::Handshake {
            return Err(ApiMisuse::NoHandshake);
        }
        let config = Arc::clone(&self.config);
        *self = Self::without_greeting(config, self.rules, Channel::StartTls(tls), now);
        self.due = Some(Sent::Ehlo);
        Ok(())
    }

    /// The handshake failed, or the certificate does not count ([`TlsFailure::Untrusted`]). The connection is over;
    /// the answer says whether there may be another in clear text.
    pub fn tls_failed(&mut self, failure: TlsFailure) -> Fallback {
        self.end();
        after(self.rules, &self.channel, failure)
    }

    /// The connection broke or stalled: whether TLS is at fault, and what the rules say about it. Call it after an I/O
    /// error, or after an [`Error`].
    ///
    /// None without TLS, where the peer misbehaves or stalls in a conversation that was under way, and where the
    /// conversation has said its last word already: there is nothing to fall back from. Until the EHLO inside TLS is answered everything counts as a failed handshake: in
    /// TLS 1.3 a server's refusal of the client arrives only then.
    pub fn connection_lost(&mut self) -> Option<(TlsFailure, Fallback)> {
        let opening = self.capabilities.is_unread();
        let failure = match (&self.channel, self.state) {
            (
                Channel::Plain,
                State::Handshake | State::Over(Error::Timeout(Phase::Handshake) | Error::Eof(Phase::Handshake)),
            ) => TlsFailure::Handshake,
            (Channel::Plain, _) | (_, State::Leaving | State::Closing | State::Over(Error::Closed)) => return None,
            _ if opening => TlsFailure::Handshake,
            (_, State::Over(Error::Timeout(_) | Error::PeerMisbehaved(_))) => return None,
            _ => TlsFailure::Lost { end_of_data_sent: self.is_in_doubt() },
        };
        self.end();
        Some((failure, after(self.rules, &self.channel, failure)))
    }

    /// Whether the final dot was sent and its reply has not come: if the connection ends now, nobody knows whether the
    /// message was delivered.
    pub fn is_in_doubt(&self) -> bool {
        self.transaction.as_ref().is_some_and(|it| it.next == Next::Verdict)
    }

    /// What the server can do; empty before [`Event::Ready`] and for a server that knows only HELO.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What the bytes travel in.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }
}

impl Transaction {
    /// Appends the next command, if there is one, and says what comes after it.
    fn write_next(&self, capabilities: &Capabilities, output: &mut Vec<u8>) -> (Option<Sent>, Next) {
        match self.next {
            Next::Mail => {
                // RFC 1870, 6 and RFC 6152, 3: parameters only where the server offers them.
                let size = self.envelope.size.filter(|_| capabilities.has(Extension::Size));
                let body = Some(self.envelope.body).filter(|&body| body != BodyType::SevenBit);
                let path = self.envelope.reverse_path.borrow();
                let parameters = MailParameters { size, body, ..MailParameters::default() };
                Command::Mail { path, parameters }.write(output);
                (Some(Sent::Mail), Next::Recipient(0))
            }
            Next::Recipient(index) => {
                let path = self.envelope.recipients[index].borrow();
                Command::Rcpt { path, parameters: Parameters::default() }.write(output);
                let last = index + 1 == self.envelope.recipients.len();
                (Some(Sent::Recipient(index)), if last { Next::Data } else { Next::Recipient(index + 1) })
            }
            Next::Data => {
                Command::Data.write(output);
                (Some(Sent::Data), Next::Permission)
            }
            Next::Permission | Next::Body | Next::Verdict => (None, self.next),
        }
    }
}
