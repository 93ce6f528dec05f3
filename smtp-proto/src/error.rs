//! What ends a connection, by who is at fault.
//!
//! A 4yz or 5yz reply is an event, never an [`Error`]. Errors are sticky and hold no bytes of the peer.

use crate::timeouts::Phase;
use crate::wire::body::BodyDefect;
use crate::wire::capabilities::Extension;
use crate::wire::command::CommandError;

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
    /// The peer broke the protocol beyond repair.
    #[error("{0}")]
    PeerMisbehaved(#[from] PeerMisbehaved),
    /// Polled after [`Closed`](crate::client::Event::Closed).
    #[error("the conversation has ended")]
    Closed,
}

/// What the peer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// Not a reply as of RFC 5321, 4.2.
    #[error("malformed reply: {0}")]
    Reply(#[from] crate::wire::reply::ReplyError),
    /// A reply although no command was waiting for one.
    #[error("a reply to no command")]
    UnsolicitedReply,
    /// A code that the command does not allow, such as 354 to RCPT.
    #[error("reply code {code} makes no sense here ({phase})")]
    UnexpectedCode {
        /// The code.
        code: u16,
        /// The command it answers.
        phase: Phase,
    },
    /// RFC 3207, 4: the client sent bytes behind STARTTLS before the handshake.
    #[error("plaintext behind STARTTLS")]
    PlaintextBehindStartTls,
}

/// The caller did what the state does not allow. Nothing has changed, the connection lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiMisuse {
    /// No [`Ready`](crate::client::Event::Ready) yet, or the last transaction has not finished, or the end is near.
    #[error("no transaction can start now")]
    NotReady,
    /// An envelope needs at least one recipient.
    #[error("the envelope has no recipient")]
    NoRecipients,
    /// The body is not wanted now: no `SendBody` yet, or the transaction is over.
    #[error("no body is wanted now")]
    NoBodyWanted,
    /// A command that the machine sends by itself in its own time, or by a method of its own.
    #[error("the machine itself sends this command")]
    OwnCommand,
    /// The command is none, or not one line.
    #[error("the command is malformed: {0}")]
    Command(CommandError),
    /// The server does not announce what the command needs.
    #[error("the server does not offer {}", .0.keyword())]
    NotOffered(Extension),
    /// The message itself cannot be sent. The transaction can only end with the connection, for there is no way
    /// to take back what was sent without ending the message.
    #[error("the message cannot be sent: {0}")]
    Body(BodyDefect),
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
