//! What ends a connection ([`Error`]), and why nothing was sent ([`ApiMisuse`]).
//!
//! A 4yz or 5yz reply is an event, never an [`Error`]. Errors are sticky and hold no bytes of the
//! peer.

use crate::timeouts::Phase;
use crate::wire::body::BodyDefect;
use crate::wire::capabilities::Extension;
use crate::wire::command::CommandError;
use crate::wire::path::PathError;
use crate::wire::reply::ReplyError;

/// The connection is over. Send what is in the output, then close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The deadline passed.
    #[error("timed out ({0})")]
    Timeout(Phase),
    /// The peer closed the connection before its time.
    #[error("the peer closed the connection ({0})")]
    Eof(Phase),
    /// The peer misbehaved: not a reply as of RFC 5321, section 4.2.
    #[error("malformed reply: {0}")]
    MalformedReply(#[from] ReplyError),
    /// The peer misbehaved: a reply came before its command was sent, or one more than there were
    /// commands. The replies before it may belong to other commands than they seemed to.
    #[error("a reply to no command")]
    UnsolicitedReply,
    /// The peer misbehaved: a code that the command does not allow, such as 354 to RCPT.
    #[error("reply code {code} makes no sense here ({phase})")]
    UnexpectedCode {
        /// The code.
        code: u16,
        /// The command it answers.
        phase: Phase,
    },
    /// The peer misbehaved: the client sent bytes after STARTTLS and before the handshake (RFC
    /// 3207, section 4).
    #[error("plaintext after STARTTLS")]
    PlaintextAfterStartTls,
    /// Polled after [`Closed`](crate::client::ClientEvent::Closed).
    #[error("the conversation has ended")]
    Closed,
}

impl Error {
    /// Whether the peer broke the protocol beyond repair. What it said before may then not have
    /// meant what it seemed to.
    pub const fn is_misbehaviour(&self) -> bool {
        match self {
            Self::MalformedReply(_)
            | Self::UnsolicitedReply
            | Self::UnexpectedCode { .. }
            | Self::PlaintextAfterStartTls => true,
            Self::Timeout(_) | Self::Eof(_) | Self::Closed => false,
        }
    }
}

/// Why nothing was sent: the present state does not allow the call, its data cannot be sent, or the
/// server does not offer what it needs. Nothing was sent, and the connection is as it was before
/// the call, but for [`Defect`](Self::Defect).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiMisuse {
    /// The client has not reported [`Ready`](crate::client::ClientEvent::Ready) yet, a transaction
    /// or a command is under way, or the conversation is ending: after QUIT, 421 or an error.
    #[error("no transaction can start now")]
    NotReady,
    /// RFC 4954, section 4: a connection that is authenticated takes no further AUTH.
    #[error("the connection is authenticated already")]
    AlreadyAuthenticated,
    /// An envelope needs at least one recipient.
    #[error("the envelope has no recipient")]
    NoRecipients,
    /// The sender's address breaks
    /// [`ClientConfig::addresses`](crate::client::ClientConfig::addresses).
    #[error("the sender's address cannot be sent: {0}")]
    Sender(PathError),
    /// The body is not wanted now: no `SendBody` yet, or the transaction is over.
    #[error("no body is wanted now")]
    NoBodyWanted,
    /// A command that the machine sends by itself in its own time, or by a method of its own.
    #[error("the machine itself sends this command")]
    OwnCommand,
    /// The message contains octets that its transfer cannot carry. Its beginning may be sent
    /// already, and SMTP has no way to abort a message in the middle, so the transaction can only
    /// end by closing the connection.
    #[error("the message cannot be sent: {0}")]
    Defect(BodyDefect),
    /// The server does not announce an extension that the command, or the piece of the message,
    /// needs.
    #[error("the server does not offer {}", .0.keyword())]
    NotOffered(Extension),
    /// The command is none, or not one line.
    #[error("the command is malformed: {0}")]
    Command(CommandError),
    /// [`Client::write_uri`](crate::client::Client::write_uri) although
    /// [`Envelope::burl`](crate::client::Envelope::burl) is not set.
    #[error("the envelope does not announce URIs")]
    NoUriAnnounced,
    /// No handshake is under way.
    #[error("no TLS handshake was asked for")]
    NoHandshake,
    /// No event is waiting for a response.
    #[error("no response is wanted now")]
    NoResponseWanted,
    /// The event does not allow this reply code.
    #[error("this event does not allow reply code {0}")]
    WrongCode(u16),
    /// The question does not allow this answer.
    #[error("this question does not allow this answer")]
    WrongAnswer,
    /// Not one response for each recipient.
    #[error("{expected} responses are wanted")]
    ResponseCount {
        /// The recipients.
        expected: usize,
    },
}
