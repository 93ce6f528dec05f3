//! The client: one connection, many transactions.
//!
//! ```text
//!  new ─> greeting ─> EHLO ──────────────┬─> ready <──────────────────────────────┐
//!            │         │ 500-504         │    │ start_transaction               │
//!            │         └─> HELO ─────────┤    └─> MAIL ─> RCPT.. ─> DATA ─> body ─> dot
//!            │                           │          │       │        │              │
//!            │   STARTTLS ─> handshake ──┘          └───────┴────────┴─> RSET ──────┘
//!            │      ^            │ tls_established: *self = fresh, EHLO again
//!            v      │            v          ready ─> authenticate ─> AUTH ─> ready
//!        Unwelcome  NoTls ──> closed <── quit, 421, errors
//! ```
//!
//! The driver calls [`poll`](Client::poll) with everything it has read, drops what was consumed,
//! acts on the step and polls again. [`Want`] says when to send the output and what to wait for.
//! The match in `transition.rs` says which reply to which command leads where.
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use smtp_proto::client::{Client, ClientConfig, ClientEvent, Envelope, Outcome, Recipient};
//! use smtp_proto::channel::Channel;
//! use smtp_proto::fallback::TlsRules;
//! use smtp_proto::{Progress, Step};
//!
//! let config = Arc::new(ClientConfig::new("client.test.example".parse()?));
//! let now = Instant::now();
//! let mut client = Client::new(config, TlsRules::Never, Channel::Plain, now);
//! let mut output = Vec::new();
//! // What a server might say to each group of commands: this is a script, not a network.
//! let mut replies = [
//!     "220 mx\r\n",
//!     "250-mx\r\n250 PIPELINING\r\n",
//!     "250 sender\r\n250 recipient\r\n354 go\r\n",
//!     "250 queued\r\n",
//! ]
//! .iter();
//! let mut input: &[u8] = b"";
//! loop {
//!     let Progress { consumed, step } = client.poll(input, &mut output, now)?;
//!     input = &input[consumed..];
//!     match step {
//!         Step::Event(ClientEvent::Ready) => {
//!             let reader: Recipient = "reader@test.example".parse()?;
//!             let envelope = Envelope::new("sender@test.example".parse()?, [reader]);
//!             client.start_transaction(Arc::new(envelope), now)?;
//!         }
//!         Step::Event(ClientEvent::SendBody) => {
//!             client.write_body(b"Subject: hello\r\n\r\n.one dot\r\n", &mut output, now)?;
//!             client.end_body(&mut output, now)?;
//!         }
//!         Step::Event(ClientEvent::Finished(Outcome::Accepted(reply))) => {
//!             assert_eq!(reply.to_string(), "250 queued");
//!             break;
//!         }
//!         Step::Event(_) => {}
//!         Step::Wait(_) => input = replies.next().expect("another reply").as_bytes(),
//!     }
//! }
//! assert!(output.ends_with(b"DATA\r\nSubject: hello\r\n\r\n..one dot\r\n.\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod auth;
mod body;
mod command;
mod config;
mod encoding;
mod envelope;
mod event;
mod exchange;
mod state;
mod tls_failure;
mod transaction;
mod transition;
mod work;

pub use config::ClientConfig;
use encoding::Body;
use envelope::Skipped;
pub use envelope::{Envelope, Recipient};
pub use event::{AuthFailure, ClientEvent, Outcome, Unsupported};
pub use exchange::MAX_CHALLENGE;
use state::{Sent, State};
use transaction::{Next, Transaction};
use work::Work;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::channel::Channel;
use crate::error::{ApiMisuse, Error};
use crate::fallback::{TlsFailure, TlsRules};
use crate::timeouts::Phase;
use crate::wire::capabilities::{Capabilities, Extension};
use crate::wire::command::Command;
use crate::wire::params::BodyType;
use crate::wire::reply::{Parsed, ReplyError, ReplyParser, ReplyRules};
use crate::{Progress, Protocol, Step, Want};

/// Octets of pipelined commands that wait for their replies. RFC 2920, section 3.1: a group must
/// fit the TCP send window, or both ends may block on each other; 4 KiB fits every window in use.
pub const MAX_PIPELINED: usize = 4096;

/// The client's side of one connection. See the [module](self).
#[derive(Debug)]
pub struct Client {
    config: Arc<ClientConfig>,
    rules: TlsRules,
    channel: Channel,
    capabilities: Capabilities,
    parser: ReplyParser,
    state: State,
    /// A command of the conversation itself that is sent as soon as nothing is under way.
    due: Option<Sent>,
    work: Work,
    authenticated: bool,
    /// Commands that wait for replies, oldest first, with their octets.
    queue: VecDeque<(Sent, usize)>,
    /// Octets of all commands in the queue.
    pipelined: usize,
    /// This many replies belong to a transaction that has finished.
    stale: usize,
    /// RSET must come before the next MAIL.
    reset: bool,
    /// Transactions that have begun on this connection.
    transactions: u32,
    /// Empty: the room of the last transaction's list, for the next one.
    verdicts: Vec<usize>,
    /// Each octet that the last poll was given belongs to a command that was sent before.
    is_in_step: bool,
    /// What a strict reader would have said to a reply on this channel.
    fault: Option<ReplyError>,
    /// The last poll may have written credentials.
    written_secrets: bool,
    /// From when the time limit of the present phase counts.
    since: Instant,
}

impl Client {
    /// A fresh connection. `channel` is [`Channel::Plain`], or [`Channel::Implicit`] when the
    /// driver has run the handshake already (RFC 8314).
    pub fn new(config: Arc<ClientConfig>, rules: TlsRules, channel: Channel, now: Instant) -> Self {
        let mut client = Self::without_greeting(config, rules, channel, now);
        client.push(Sent::Greeting, 0, now);
        client
    }

    fn without_greeting(
        config: Arc<ClientConfig>,
        rules: TlsRules,
        channel: Channel,
        now: Instant,
    ) -> Self {
        Self {
            config,
            rules,
            channel,
            capabilities: Capabilities::default(),
            parser: ReplyParser::default(),
            state: State::Opening,
            due: None,
            work: Work::None,
            authenticated: false,
            queue: VecDeque::new(),
            pipelined: 0,
            stale: 0,
            reset: false,
            transactions: 0,
            verdicts: Vec::new(),
            is_in_step: true,
            fault: None,
            written_secrets: false,
            since: now,
        }
    }

    /// Advances the conversation: `input` is everything read and not yet consumed, `output`
    /// receives what must be sent.
    ///
    /// # Errors
    ///
    /// The conversation is over: send the output and close the connection. Errors are sticky.
    pub fn poll<'i>(
        &mut self,
        input: &'i [u8],
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Progress<ClientEvent<'i>>, Error> {
        let mut consumed = 0;
        self.written_secrets = matches!(self.work, Work::Auth(_));
        loop {
            let rest = &input[consumed..];
            self.is_in_step = rest.is_empty();
            if let Some(event) = self.due_event()? {
                return Ok(Progress { consumed, step: Step::Event(event) });
            }
            // What is there already answers no command that is sent only now.
            if rest.is_empty() {
                self.send(now, output);
            } else if self.state == State::Leaving && self.queue.is_empty() {
                // Nothing is left to be said but QUIT, and its reply could not be told from these.
                self.close();
                consumed = input.len();
                continue;
            }
            if self.state == State::Handshake {
                // RFC 3207, section 4.2 and 5: nothing may stand between the 220 and the handshake;
                // it is never parsed.
                if !rest.is_empty() {
                    let event = self.no_tls(TlsFailure::Injected, None);
                    return Ok(Progress { consumed: input.len(), step: Step::Event(event) });
                }
                return self.wait(now, consumed, Want::Handshake);
            }
            let (rules, last) = self.reply_rules();
            let Parsed { reply, consumed: read, fault } =
                match self.parser.parse_as(rest, rules, last) {
                    Ok(Some(parsed)) => parsed,
                    Ok(None) => {
                        // Lines without a code answer nothing, and hold no command back.
                        if let Some((stray, fault)) = self.parser.stray() {
                            self.parser.restart();
                            self.fault = self.fault.or(Some(fault));
                            consumed += stray;
                            continue;
                        }
                        let want = if self.wants_body() { Want::Caller } else { Want::Input };
                        return self.wait(now, consumed, want);
                    }
                    Err(error) => return Err(self.fail(Error::MalformedReply(error))),
                };
            self.fault = self.fault.or(fault);
            consumed += read;
            let answers = self.queue.front().map(|&(sent, _)| sent);
            match self.on_reply(reply, now) {
                Ok(None) => {}
                Ok(Some(event)) if self.is_ahead(answers, &event, &input[consumed..]) => {
                    return Err(self.fail(Error::UnsolicitedReply));
                }
                Ok(Some(event)) => return Ok(Progress { consumed, step: Step::Event(event) }),
                Err(error) => return Err(self.fail(error)),
            }
        }
    }

    /// How the next reply is read, and whether the code of its last line counts in any case.
    fn reply_rules(&self) -> (ReplyRules, bool) {
        match self.queue.front() {
            Some((Sent::StartTls, _)) => (ReplyRules::Strict, false),
            Some((Sent::EndOfData | Sent::Delivery(_), _)) => (self.config.replies, true),
            _ => (self.config.replies, false),
        }
    }

    /// Whether `rest` shows that the reply which made this event, and those before it, may belong
    /// to other commands: each command is answered, or the reply ends the connection, and there is
    /// one reply more. A 421 is no such reply if nothing follows it: the server may send it at any
    /// time. After the final dot it is too late for the question: the 354 has shown that the
    /// replies before it were in step.
    fn is_ahead(&self, answers: Option<Sent>, event: &ClientEvent<'_>, rest: &[u8]) -> bool {
        let ends = matches!(event, ClientEvent::Finished(_)) && !self.is_ready();
        let is_last = match answers {
            Some(Sent::Mail | Sent::Recipient(_) | Sent::Data) => ends || self.queue.is_empty(),
            None => ends,
            Some(_) => false,
        };
        if !is_last {
            return false;
        }
        let rest = match self.config.replies {
            ReplyRules::Strict => rest,
            // A line without a code answers nothing.
            ReplyRules::AsTheField => from_code(rest),
        };
        !rest.is_empty() && !is_shutdown(rest)
    }

    fn wait<'i>(
        &mut self,
        now: Instant,
        consumed: usize,
        want: Want,
    ) -> Result<Progress<ClientEvent<'i>>, Error> {
        match self.deadline() {
            Some(deadline) if now >= deadline => Err(self.fail(Error::Timeout(self.phase()))),
            _ => Ok(Progress { consumed, step: Step::Wait(want) }),
        }
    }

    /// Writes every command that may go now.
    fn send(&mut self, now: Instant, output: &mut Vec<u8>) {
        if let Some(sent) = self.due.take_if(|_| self.queue.is_empty()) {
            let start = output.len();
            match sent {
                // RFC 2033, section 4.1.
                Sent::Ehlo if self.config.protocol == Protocol::Lmtp => {
                    Command::Lhlo(self.config.name.as_str()).write(output);
                }
                Sent::Ehlo => Command::Ehlo(self.config.name.as_str()).write(output),
                Sent::Helo { .. } => Command::Helo(self.config.name.as_str()).write(output),
                // RFC 3207, section 4 and RFC 2920, section 3.1: the last command of its group;
                // here it is the only one.
                Sent::StartTls => Command::StartTls.write(output),
                Sent::LoneDot => output.extend_from_slice(b".\r\n"),
                Sent::Greeting
                | Sent::Auth
                | Sent::Mail
                | Sent::Recipient(_)
                | Sent::Data
                | Sent::Chunk => {}
                Sent::EndOfData | Sent::Delivery(_) | Sent::Reset | Sent::Quit => {}
                Sent::Command | Sent::Xclient => {}
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
        match &mut self.work {
            Work::Command { sent, line } if self.queue.is_empty() && !line.is_empty() => {
                let (sent, line) = (*sent, std::mem::take(line));
                output.extend_from_slice(&line);
                self.push(sent, line.len(), now);
            }
            // RFC 4954, section 4: the last command of its group; here it is the only one.
            Work::Auth(exchange) if self.queue.is_empty() => {
                if let Some(length) = exchange.write_next(output) {
                    self.push(Sent::Auth, length, now);
                }
            }
            Work::None | Work::Command { .. } | Work::Auth(_) | Work::Mail(_) => {}
        }
        let pipelining = self.is_pipelining();
        while let Work::Mail(transaction) = &mut self.work {
            if !(self.queue.is_empty() || pipelining) {
                break;
            }
            let start = output.len();
            let (sent, next) =
                transaction.write_next(&self.capabilities, self.authenticated, output);
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

    fn is_pipelining(&self) -> bool {
        self.config.pipelining && self.capabilities.has(Extension::Pipelining)
    }

    fn push(&mut self, sent: Sent, length: usize, now: Instant) {
        if self.queue.is_empty() {
            self.since = now;
        }
        self.queue.push_back((sent, length));
        self.pipelined += length;
    }

    /// When [`poll`](Self::poll) must be called again at the latest. The driver bounds reads,
    /// writes and the handshake with it. None once the conversation is over.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Over(_) => None,
            _ => Some(self.config.timeouts.deadline(self.phase(), self.since)),
        }
    }

    /// What the conversation is waiting for.
    pub fn phase(&self) -> Phase {
        match (self.state, self.queue.front(), &self.work) {
            (State::Handshake, ..) => Phase::Handshake,
            (_, Some((sent, _)), _) => sent.phase(),
            (_, None, Work::Mail(transaction)) => transaction.next.phase(),
            (_, None, Work::Auth(_)) => Phase::Auth,
            (_, None, Work::Command { .. } | Work::None) => Phase::Idle,
        }
    }

    /// Starts a transaction after [`ClientEvent::Ready`] or [`ClientEvent::Finished`]; the next
    /// [`poll`](Self::poll) sends it.
    ///
    /// # Errors
    ///
    /// [`ApiMisuse::NotReady`] if the conversation is not between two transactions;
    /// [`ApiMisuse::NoRecipients`] for an envelope without recipients; [`ApiMisuse::Sender`] if the
    /// sender's address breaks [`ClientConfig::addresses`]. Nothing was sent.
    pub fn start_transaction(
        &mut self,
        envelope: Arc<Envelope>,
        now: Instant,
    ) -> Result<(), ApiMisuse> {
        if !self.is_free() {
            return Err(ApiMisuse::NotReady);
        }
        if envelope.recipients.is_empty() {
            return Err(ApiMisuse::NoRecipients);
        }
        let rules = self.config.addresses;
        envelope.reverse_path.check(rules).map_err(ApiMisuse::Sender)?;
        let against = envelope.against(rules);
        let envelope = self.fitting(envelope, &against);
        let offered = self.capabilities.has(Extension::Chunking);
        // RFC 4468, section 3.1: BURL takes the place of DATA, with or without chunks.
        let chunks = envelope.burl
            || offered && (self.config.chunking || envelope.body == BodyType::BinaryMime);
        let body = Body::of(chunks, envelope.body, self.config.nul);
        let limits = self.capabilities.limits();
        let (skipped, reason) = envelope.over(limits, against);
        let refused = reason.filter(|_| !self.config.leave_over_limit);
        let used_up = limits.transactions.filter(|&limit| self.transactions >= limit);
        let unsupported =
            envelope.unsupported(&self.capabilities, &self.channel, &skipped).or(refused);
        let unsupported = used_up.map(|limit| Unsupported::Transactions { limit }).or(unsupported);
        let is_sent = unsupported.is_none() && skipped.len() < envelope.recipients.len();
        self.transactions = self.transactions.saturating_add(u32::from(is_sent));
        let verdicts = std::mem::take(&mut self.verdicts);
        let mut transaction = Transaction::new(envelope, body, skipped, verdicts);
        transaction.unsupported = unsupported;
        self.begin(Work::Mail(transaction), now);
        Ok(())
    }

    /// Transactions that the server will still take on this connection (RFC 9422, section 4.1);
    /// none if it sets no limit.
    pub fn transactions_left(&self) -> Option<u32> {
        self.capabilities.transaction_limit().map(|limit| limit.saturating_sub(self.transactions))
    }

    /// RFC 6531, section 3.2: where the server lacks SMTPUTF8, A-labels may do.
    #[cfg(feature = "idna")]
    fn fitting(&self, envelope: Arc<Envelope>, skipped: &[Skipped]) -> Arc<Envelope> {
        if self.capabilities.has(Extension::SmtpUtf8) || !envelope.needs_smtputf8_without(skipped) {
            return envelope;
        }
        envelope.to_ascii(skipped).map_or(envelope, Arc::new)
    }

    #[cfg(not(feature = "idna"))]
    fn fitting(&self, envelope: Arc<Envelope>, _: &[Skipped]) -> Arc<Envelope> {
        envelope
    }

    /// Whether the conversation has ended, or nothing but QUIT is left of it, as after 421: no
    /// transaction can start any more.
    pub const fn is_over(&self) -> bool {
        match self.state {
            State::Leaving | State::Closing | State::Over(_) => true,
            State::Opening | State::Handshake | State::Opened | State::Ready => false,
        }
    }

    /// Whether the final dot was sent and its reply has not come: if the connection ends now, it is
    /// not known whether the message was delivered.
    pub fn is_in_doubt(&self) -> bool {
        self.work.mail().is_some_and(|it| it.next == Next::Verdict)
    }

    /// What the server can do; empty before [`ClientEvent::Ready`] and for a server that knows only
    /// HELO.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What the bytes travel in.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }
}

/// The input from the first line on that may have a code; empty if no line has begun with one.
fn from_code(mut input: &[u8]) -> &[u8] {
    while !matches!(input, [] | [b'2'..=b'5', ..]) {
        input = memchr::memchr(b'\n', input).map_or(&[], |end| &input[end + 1..]);
    }
    input
}

/// Whether a 421, which may be incomplete, is all that is left of the input.
fn is_shutdown(rest: &[u8]) -> bool {
    rest.split_inclusive(|&byte| byte == b'\n')
        .all(|line| b"421".starts_with(&line[..line.len().min(3)]))
}
