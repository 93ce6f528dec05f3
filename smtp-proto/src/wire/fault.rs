//! What is wrong with a command, its parameters included.

use crate::wire::path::PathError;

/// Why a line is not a command. A [`Server`](crate::server::Server) has a fixed reply to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No verb.
    #[error("no command")]
    Empty,
    /// A control octet other than HT.
    #[error("a control character in the command")]
    Control,
    /// Octets above 127 that are not UTF-8.
    #[error("the command is not UTF-8")]
    NotUtf8,
    /// BDAT with a malformed size: the server cannot tell where the next command begins.
    #[error("the size of a chunk is malformed")]
    ChunkSize,
    /// The node or queue of ETRN.
    #[error("the name of the node or queue is malformed")]
    Queue,
    /// An attribute of XCLIENT.
    #[error("an attribute is unknown, malformed or repeated")]
    Attribute,
    /// The URI of BURL.
    #[error("the URI is malformed")]
    Uri,
    /// An argument is missing, or the command takes none.
    #[error("the argument is missing or out of place")]
    Argument,
    /// The path of MAIL.
    #[error("{0}")]
    Sender(PathError),
    /// The path of RCPT.
    #[error("{0}")]
    Recipient(PathError),
    /// A parameter of MAIL or RCPT is neither `keyword` nor `keyword=value`.
    #[error("a parameter is malformed")]
    Parameter,
    /// The value of a known parameter is malformed.
    #[error("the value of a parameter is malformed")]
    ParameterValue,
    /// A known parameter is there twice, with different values.
    #[error("a parameter is there twice with different values")]
    ParameterTwice,
}
