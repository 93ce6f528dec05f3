//! What a server knows of its connection: the state, the session and the open transaction.

use super::EarlyTalk;
use super::exchange::Running;
use super::pace::BodyClock;
use super::tolerance::{BareLineEnds, Tolerance};
use crate::error::Error;
use crate::sasl::server::{ExchangeStep, Identity};
use crate::wire::body::{DotDecoder, LineChecker, LineNormaliser, NulChecker};
use crate::wire::reply::Response;

/// What the conversation does next. Assigned in `transition.rs` only.
#[derive(Debug)]
pub(super) enum State {
    /// The `Connected` event is due.
    Fresh,
    /// The client's next command.
    Command,
    /// The caller owes a response.
    Asked(Question),
    /// The octets of a message after DATA.
    Body,
    /// The message has ended; the event is due.
    BodyEnded,
    /// The octets of a chunk.
    Chunk(Chunk),
    /// The chunk has ended; its reply is due.
    ChunkEnded(Chunk),
    /// STARTTLS is granted; the 220 is sent unless the client has sent more than the command.
    TlsGranted,
    /// The driver runs the handshake.
    Handshake,
    /// AUTH: the client's next response.
    Auth(Box<Running>),
    /// AUTH: the caller has answered; the mechanism's next step is due.
    AuthDue(Box<Running>, ExchangeStep),
    /// The `Closed` event is due.
    Closing,
    /// Every further poll fails with this error.
    Over(Error),
}

/// The event that the caller has to answer, with what the answer decides about.
#[derive(Debug)]
pub(super) enum Question {
    Connected,
    Hello {
        extended: bool,
    },
    StartTls,
    Mail(Needs),
    Recipient {
        /// The recipient's domain, if domains are counted and no accepted recipient had it.
        new_domain: Option<String>,
    },
    Data,
    /// The first BDAT of a message; the event is that of DATA.
    Chunk {
        size: u64,
        last: bool,
    },
    /// BURL.
    Fetch {
        last: bool,
    },
    EndOfBody {
        /// Recipients of the message.
        recipients: usize,
    },
    Xclient {
        /// The user that the proxy names.
        login: Option<Identity>,
    },
    Other,
    /// A question of a SASL mechanism.
    Auth(Box<Running>),
}

impl Question {
    /// Whether a reply of this code answers the event.
    pub(super) const fn allows(&self, code: u16) -> bool {
        match self {
            Self::Connected => matches!(code, 220 | 421 | 554),
            Self::StartTls | Self::Xclient { .. } => matches!(code, 220 | 400..=599),
            Self::Data | Self::Chunk { .. } => matches!(code, 354 | 400..=599),
            Self::Hello { .. } | Self::Fetch { .. } => matches!(code, 250 | 400..=599),
            Self::Auth(_) => matches!(code, 400..=599),
            Self::Mail(_) | Self::Recipient { .. } | Self::EndOfBody { .. } | Self::Other => {
                matches!(code, 200..=299 | 400..=599)
            }
        }
    }
}

/// What the connection has seen so far, apart from the open transaction.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) greeted: Greeted,
    /// The reply to every command but QUIT, for a client that gets no service.
    pub(super) barred: Option<Response>,
    /// The user that has authenticated, or that XCLIENT names.
    pub(super) identity: Option<Identity>,
    /// The first time that the client spoke before its turn.
    pub(super) early_talk: Option<EarlyTalk>,
    /// Commands of any kind.
    pub(super) commands: u64,
    /// Transactions that have begun.
    pub(super) transactions: usize,
    /// Commands that were refused by the client's fault.
    pub(super) errors: usize,
    /// Commands with an unknown verb.
    pub(super) unknown_commands: usize,
    /// Commands since the last message that brought none forward.
    pub(super) idle_commands: usize,
    /// Attempts to authenticate that failed by the client's fault.
    pub(super) failed_attempts: usize,
}

/// How the client has greeted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Greeted {
    #[default]
    No,
    Helo,
    /// EHLO or LHLO.
    Ehlo,
}

/// From an accepted MAIL to the end of the message, or to RSET.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) needs: Needs,
    /// Accepted recipients.
    pub(super) recipients: usize,
    /// Their domains; empty unless their number is limited.
    pub(super) domains: Vec<String>,
    pub(super) transfer: Transfer,
    pub(super) content: Content,
    /// Octets of the message so far.
    pub(super) size: u64,
    /// How fast the message comes; absent until its first octet, and once it has failed.
    pub(super) clock: Option<BodyClock>,
}

/// What MAIL announced about addresses and body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// SMTPUTF8: addresses of this transaction may be in UTF-8.
    pub(super) utf8: bool,
    /// BODY=BINARYMIME: any octets, in chunks only.
    pub(super) binary: bool,
}

/// How the message of a transaction arrives.
#[derive(Debug, Default)]
pub(super) enum Transfer {
    /// It has not begun.
    #[default]
    None,
    /// After DATA.
    Data(DotDecoder),
    /// In chunks, the first of which has come.
    Chunks(LineChecker),
    /// A chunk was refused: RFC 3030, section 2 wants RSET before anything else.
    Failed,
}

/// The rules for the octets of a message, and what they have found so far.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) line_ends: LineEnds,
    pub(super) nuls: NulChecker,
}

/// What becomes of bare CRs and LFs.
#[derive(Debug)]
pub(super) enum LineEnds {
    Refused,
    RefusedForNow,
    Normalised(LineNormaliser),
}

impl Content {
    pub(super) const fn new(tolerance: Tolerance) -> Self {
        let line_ends = match tolerance.bare_line_ends {
            BareLineEnds::Refuse => LineEnds::Refused,
            BareLineEnds::RefuseForNow => LineEnds::RefusedForNow,
            BareLineEnds::Normalise => LineEnds::Normalised(LineNormaliser::new()),
        };
        Self { line_ends, nuls: NulChecker::new(tolerance.nul) }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::new(Tolerance::STRICT)
    }
}

/// The chunk that is being read.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Octets that have not come.
    pub(super) left: u64,
    pub(super) last: bool,
    /// The chunk is read only to find its end.
    pub(super) dropped: Option<Dropped>,
}

/// Why a chunk is dropped.
#[derive(Debug)]
pub(super) struct Dropped {
    /// The reply once the chunk has been read.
    pub(super) response: Response,
    /// The client is at fault.
    pub(super) is_error: bool,
    pub(super) clock: Option<BodyClock>,
}
