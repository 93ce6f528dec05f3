//! How long each phase may take (RFC 5321, section 4.5.3.2).

use std::fmt;
use std::time::{Duration, Instant};

/// Where a conversation stands; each has its time limit in [`Timeouts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The greeting of a new connection.
    Greeting,
    /// EHLO or HELO.
    Hello,
    /// STARTTLS, up to its reply.
    StartTls,
    /// The TLS handshake.
    Handshake,
    /// AUTH, each of its lines.
    Auth,
    /// Between two transactions (client), or waiting for the next command (server).
    Idle,
    /// MAIL.
    Mail,
    /// RCPT.
    Recipient,
    /// DATA, up to its 354.
    Data,
    /// The bytes of a message.
    Body,
    /// The final dot, up to the reply to the message.
    EndOfData,
    /// RSET.
    Reset,
    /// Another command between two transactions, such as VRFY.
    Command,
    /// QUIT.
    Quit,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting => "greeting",
            Self::Hello => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Handshake => "TLS handshake",
            Self::Auth => "AUTH",
            Self::Idle => "idle",
            Self::Mail => "MAIL",
            Self::Recipient => "RCPT",
            Self::Data => "DATA",
            Self::Body => "message body",
            Self::EndOfData => "end of data",
            Self::Reset => "RSET",
            Self::Command => "command",
            Self::Quit => "QUIT",
        })
    }
}

/// Time limits by [`Phase`]. A limit counts from the moment at which the oldest unanswered command
/// was sent or the one before it was answered; partial input does not extend it.
///
/// ```
/// use std::time::Duration;
/// use smtp_proto::timeouts::{Phase, Timeouts};
///
/// let mut hasty = Timeouts::default();
/// hasty.handshake = Duration::from_secs(5);
/// assert_eq!(hasty.of(Phase::Handshake), Duration::from_secs(5));
/// assert_eq!(hasty.of(Phase::EndOfData), Duration::from_secs(600));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// The greeting. RFC 5321, section 4.5.3.2.1: 5 minutes.
    pub greeting: Duration,
    /// EHLO, HELO, STARTTLS, RSET: not in RFC 5321; as MAIL.
    pub hello: Duration,
    /// The TLS handshake, both flights: not in an RFC; one minute. Its expiry leads to the fallback
    /// rules.
    pub handshake: Duration,
    /// Each line of AUTH: not in RFC 4954; as MAIL.
    pub auth: Duration,
    /// MAIL. RFC 5321, section 4.5.3.2.2: 5 minutes.
    pub mail: Duration,
    /// RCPT. RFC 5321, section 4.5.3.2.3: 5 minutes.
    pub recipient: Duration,
    /// DATA, up to its 354. RFC 5321, section 4.5.3.2.4: 2 minutes.
    pub data: Duration,
    /// Between two pieces of the body. RFC 5321, section 4.5.3.2.5: 3 minutes.
    pub body: Duration,
    /// From the final dot to its reply. RFC 5321, section 4.5.3.2.6: 10 minutes.
    pub end_of_data: Duration,
    /// A server that waits for a command, a client between two transactions. RFC 5321, section
    /// 4.5.3.2.7: 5 minutes.
    pub idle: Duration,
    /// VRFY and what else is sent between two transactions: not in RFC 5321; as MAIL.
    pub command: Duration,
    /// A server's patience with a client that brings no message, whatever else it says: from the
    /// start, or the end of the last message, to the first octet of the next, or to the end of one
    /// that is refused already. Time that the caller takes does not count. Not in RFC 5321, which
    /// bounds the time between two commands only; 30 minutes, which is what six of those may take.
    pub progress: Duration,
    /// QUIT: the result is known by then, so waiting gains little. 10 seconds.
    pub quit: Duration,
}

/// For limits that end beyond what an [`Instant`] can hold, such as [`Duration::MAX`]: about a
/// hundred years.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// When a limit that counts from then ends.
pub(crate) fn later(since: Instant, limit: Duration) -> Instant {
    since.checked_add(limit).or_else(|| since.checked_add(FOREVER)).unwrap_or(since)
}

impl Timeouts {
    /// When a phase that has lasted since then ends. A limit without end, [`Duration::MAX`], ends
    /// in a hundred years.
    pub fn deadline(&self, phase: Phase, since: Instant) -> Instant {
        later(since, self.of(phase))
    }

    /// The limit of one phase.
    pub const fn of(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Greeting => self.greeting,
            Phase::Hello | Phase::StartTls | Phase::Reset => self.hello,
            Phase::Handshake => self.handshake,
            Phase::Auth => self.auth,
            Phase::Idle => self.idle,
            Phase::Mail => self.mail,
            Phase::Recipient => self.recipient,
            Phase::Data => self.data,
            Phase::Body => self.body,
            Phase::EndOfData => self.end_of_data,
            Phase::Command => self.command,
            Phase::Quit => self.quit,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            greeting: 5 * MINUTE,
            hello: 5 * MINUTE,
            handshake: MINUTE,
            auth: 5 * MINUTE,
            mail: 5 * MINUTE,
            recipient: 5 * MINUTE,
            data: 2 * MINUTE,
            body: 3 * MINUTE,
            end_of_data: 10 * MINUTE,
            idle: 5 * MINUTE,
            command: 5 * MINUTE,
            progress: 30 * MINUTE,
            quit: Duration::from_secs(10),
        }
    }
}
