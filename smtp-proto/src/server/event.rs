//! The events of a server.

use crate::sasl::server::{Failure, Identity, Question};
use crate::wire::body::{BodyDefect, Runs};
use crate::wire::command::{Command, Uri, Xclient};
use crate::wire::params::{MailParameters, RcptParameters};
use crate::wire::path::{ForwardPath, ReversePath};

/// What has happened on a connection, or what the caller has to decide.
#[derive(Clone, Debug)]
pub enum ServerEvent<'i> {
    /// A client has connected; answer with the greeting: 220, or 554 (then everything but QUIT gets
    /// 503), or 421. The server's name is put before the text.
    Connected,
    /// EHLO, HELO or LHLO; answer with 250, which also ends an open transaction. The server's name
    /// is put before the text, and the extensions follow it.
    Hello {
        /// The name that the client gives itself.
        name: &'i str,
        /// True for EHLO and LHLO, false for HELO.
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
        parameters: RcptParameters<'i>,
    },
    /// DATA in a transaction with recipients, or its first BDAT; answer with 354, which is not sent
    /// to a BDAT.
    Data,
    /// BURL (RFC 4468): the URI names a piece of the message. Fetch it, append it to what has
    /// arrived, and answer with 250. For the last piece 250 is not sent: the answer to
    /// [`EndOfBody`](Self::EndOfBody), which follows, is. On failure answer with a code of RFC
    /// 4468, section 6, such as 554 5.6.6; that ends the message, with no further event.
    Fetch {
        /// The URI of the piece.
        uri: Uri<'i>,
        /// The piece is the first of the message; there is no [`Data`](Self::Data).
        first: bool,
        /// The piece is the last of the message.
        last: bool,
    },
    /// XCLIENT: a proxy names the client for which it speaks. Answer with 220 if the proxy may: the
    /// conversation starts again with EHLO, and the response is the greeting, with the server's
    /// name before the text. Otherwise answer with 550, 421 or 501.
    Xclient(Xclient<'i>),
    /// The message is complete. 2yz takes the responsibility for it (RFC 5321, section 4.2.5). In
    /// LMTP each recipient may have its own answer:
    /// [`Server::respond_each`](super::Server::respond_each).
    EndOfBody,
    /// VRFY, EXPN, HELP or ETRN, or one of [`ServerConfig::verbs`](super::ServerConfig::verbs).
    Other(Command<'i>),

    /// AUTH: a question of the mechanism. Answer with [`Server::answer`](super::Server::answer), or
    /// with a response of 4yz or 5yz. This connection waits for the answer.
    Authenticate(Question),

    // From here on there is nothing to answer.
    /// The client has authenticated: [`Server::identity`](super::Server::identity) returns this
    /// identity from now on.
    Authenticated(Identity),
    /// An attempt to authenticate has failed.
    AuthenticationFailed(Failure),
    /// Octets of the message, without dot-stuffing.
    Body(Runs<'i>),
    /// The message, or a chunk of it, was read to its end and refused: drop what has arrived of it.
    /// The transaction is over.
    BodyRefused(BodyDefect),
    /// RSET: drop the transaction.
    Reset,
    /// The conversation is over: send the output, then close the connection.
    Closed,
}

/// How a client spoke before its turn. Programs that send spam often do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EarlyTalk {
    /// Before the greeting (RFC 5321, section 3.1).
    BeforeGreeting,
    /// Several commands at once without PIPELINING, or before EHLO was answered (RFC 2920, section
    /// 3.1).
    Unannounced,
}
