//! What a server tells its caller, or wants of it.

use crate::sasl::server::{Failure, Identity, Question};
use crate::wire::body::{BodyDefect, Runs};
use crate::wire::command::{Command, Uri, Xclient};
use crate::wire::params::{MailParameters, RcptParameters};
use crate::wire::path::{ForwardPath, ReversePath};

/// What happened, or what is wanted.
#[derive(Clone, Debug)]
pub enum ServerEvent<'i> {
    /// Answer with the greeting: 220, or 554 (then everything but QUIT gets 503), or 421. The
    /// server's name is put before the text.
    Connected,
    /// EHLO, HELO or LHLO; answer with 250. It also ends an open transaction. The server's name is
    /// put before the text, and the extensions follow it.
    Hello {
        /// What the client calls itself.
        name: &'i str,
        /// EHLO or LHLO.
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
    /// DATA in a transaction with recipients, or its first BDAT; answer with 354, which in the
    /// latter case is not said.
    Data,
    /// BURL (RFC 4468): a piece of the message is where the URI says. Fetch it, put it behind what
    /// has come, and answer with 250, which is not said for the last piece: that of
    /// [`EndOfBody`](Self::EndOfBody), which follows, is. Else with one of the codes of RFC 4468,
    /// section 6, such as 554 5.6.6; that ends the message, with no further event.
    Fetch {
        /// Where the piece is.
        uri: Uri<'i>,
        /// It opens the message, as [`Data`](Self::Data) does.
        first: bool,
        /// It is the last piece.
        last: bool,
    },
    /// XCLIENT: a proxy says for whom it speaks. Answer with 220 if it may: everything starts again
    /// with EHLO, and the response is the greeting, before the text of which the server's name is
    /// put. Else with 550, 421, or 501.
    Xclient(Xclient<'i>),
    /// The message is complete. 2yz takes the responsibility for it (RFC 5321, section 4.2.5). In
    /// LMTP each recipient may have its own answer:
    /// [`Server::respond_each`](super::Server::respond_each).
    EndOfBody,
    /// VRFY, EXPN, HELP or ETRN, or one of [`ServerConfig::verbs`](super::ServerConfig::verbs).
    Other(Command<'i>),

    /// AUTH: a question of the mechanism. Answer with [`Server::answer`](super::Server::answer), or
    /// with a response of 4yz or 5yz. Other connections go on meanwhile, this one does not.
    Authenticate(Question),

    // From here on there is nothing to answer.
    /// The client has authenticated: from now on [`Server::identity`](super::Server::identity) says
    /// as whom.
    Authenticated(Identity),
    /// An attempt to authenticate has failed.
    AuthenticationFailed(Failure),
    /// Bytes of the message, dot-stuffing removed.
    Body(Runs<'i>),
    /// The message, or a chunk of it, was read to its end and refused: forget what came of it. The
    /// transaction is over.
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
    /// More octets than [`ServerConfig::size_limit`](super::ServerConfig::size_limit).
    #[error("the message exceeds the size limit")]
    TooLarge,
    /// Line ends that another host might read differently.
    #[error("{0}")]
    Defect(BodyDefect),
}

/// How a client spoke before it was its turn. Programs that send spam often do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EarlyTalk {
    /// Before the greeting (RFC 5321, section 3.1).
    BeforeGreeting,
    /// Several commands at once without PIPELINING, or before EHLO was answered (RFC 2920, section
    /// 3.1).
    Unannounced,
}
