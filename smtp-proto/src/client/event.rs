//! The events of a client.

use crate::fallback::{Fallback, TlsFailure};
use crate::route::RecipientStatus;
use crate::sasl::SaslError;
use crate::timeouts::Phase;
use crate::wire::path::PathError;
use crate::wire::reply::{EnhancedCode, Reply, Severity};

/// What happened, or what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent<'i> {
    /// There is no TLS, and what [`after`](crate::fallback::after) says about it.
    /// [`Fallback::ContinuePlaintext`]: the conversation goes on. Everything else: it is over; the
    /// connection ends with [`Closed`](Self::Closed).
    NoTls {
        /// The cause.
        failure: TlsFailure,
        /// What the rules say.
        fallback: Fallback,
        /// The server's words, where it said any.
        reply: Option<Reply<'i>>,
    },
    /// [`Client::start_transaction`](super::Client::start_transaction) can be called; capabilities
    /// are known.
    Ready,
    /// [`Client::authenticate`](super::Client::authenticate) has succeeded: 235.
    Authenticated(Reply<'i>),
    /// It has not. Another attempt can be made, or mail sent without (RFC 4954, section 4), unless
    /// [`Closed`](Self::Closed) follows. One of both comes for each attempt that has begun, and an
    /// [`Error`](crate::error::Error) for neither.
    AuthenticationFailed {
        /// The cause.
        failure: AuthFailure,
        /// The server's last words.
        reply: Reply<'i>,
    },
    /// The reply to the RCPT of one recipient. Comes once for each, in order, unless the
    /// transaction ends before.
    Recipient {
        /// Index in [`Envelope::recipients`](super::Envelope::recipients).
        index: usize,
        /// 2yz: accepted.
        reply: Reply<'i>,
    },
    /// A recipient is not sent, because its address breaks
    /// [`ClientConfig::addresses`](super::ClientConfig::addresses). It would be the same with any
    /// server under these rules, so it counts as refused for good. These events come first,
    /// together with [`Left`](Self::Left), in the order of the recipients.
    NotSent {
        /// Index in [`Envelope::recipients`](super::Envelope::recipients).
        index: usize,
        /// What is wrong with the address.
        error: PathError,
    },
    /// A recipient is not sent in this transaction, for the server takes no more of them: see
    /// [`leave_over_limit`](super::ClientConfig::leave_over_limit). These events come first.
    Left {
        /// Index in [`Envelope::recipients`](super::Envelope::recipients).
        index: usize,
    },
    /// The body is wanted: [`Client::write_body`](super::Client::write_body), then
    /// [`Client::end_body`](super::Client::end_body). Keep polling meanwhile.
    SendBody,
    /// LMTP: the reply to the message for one accepted recipient (RFC 2033, section 4.2).
    Delivered {
        /// Index in [`Envelope::recipients`](super::Envelope::recipients).
        index: usize,
        /// 2yz: delivered.
        reply: Reply<'i>,
    },
    /// The transaction is over, exactly once. Another can start, unless [`Closed`](Self::Closed)
    /// follows.
    Finished(Outcome<'i>),
    /// The reply to a command of [`Client::command`](super::Client::command) or
    /// [`Client::xclient`](super::Client::xclient), whatever it is but 421.
    Answered(Reply<'i>),
    /// The server does not want this connection, or no longer: a greeting or EHLO that is not 2yz,
    /// 421 out of the blue.
    Unwelcome {
        /// What was refused.
        phase: Phase,
        /// The status of mail that cannot be sent because of it: that of the reply, or if HELO was
        /// refused as well as EHLO, that of the first refusal.
        status: EnhancedCode,
        /// The reply.
        reply: Reply<'i>,
    },
    /// The conversation is over: send the output, then close the connection.
    Closed,
}

/// Why an authentication failed (RFC 4954, section 4 and 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AuthFailure {
    /// 535 5.7.8: the server does not take the credentials.
    #[error("the credentials are not valid")]
    Credentials,
    /// 432 4.7.12: the user has to log in with PLAIN once, so that the server can store the
    /// password in another form.
    #[error("a password transition is needed")]
    PasswordTransition,
    /// 534 5.7.9: the user may not use a mechanism as weak as this.
    #[error("the mechanism is too weak")]
    TooWeak,
    /// 538 5.7.11: not without TLS.
    #[error("the mechanism needs encryption")]
    EncryptionNeeded,
    /// 504: the server does not know the mechanism, though it has listed it.
    #[error("the mechanism is not known")]
    UnknownMechanism,
    /// 454 4.7.0 and every other 4yz.
    #[error("not now")]
    Temporary,
    /// Every other 5yz.
    #[error("refused")]
    Refused,
    /// The mechanism could not go on, and the exchange was cancelled; or the server has claimed a
    /// success that the mechanism denies, and then the connection ends as well.
    #[error("{0}")]
    Mechanism(#[from] SaslError),
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<'i> {
    /// The server has taken the message for every recipient that it accepted.
    Accepted(Reply<'i>),
    /// LMTP: every accepted recipient has had its [`Delivered`](ClientEvent::Delivered).
    PerRecipient,
    /// MAIL, DATA, a chunk or the message was refused, or RCPT with 421. It counts for every
    /// recipient that was accepted and not [`Delivered`](ClientEvent::Delivered), or has had no
    /// event.
    Refused {
        /// What was refused.
        phase: Phase,
        /// The reply that refused it.
        reply: Reply<'i>,
    },
    /// Every recipient was refused or not sent, each in its own event.
    NoRecipients,
    /// The server lacks what the envelope needs. Nothing was sent.
    Unsupported(Unsupported),
}

impl Outcome<'_> {
    /// The status of each recipient that the outcome counts for; `None` if each recipient has its
    /// own event, and for a refused RSET, which is about the transaction before: the message was
    /// not sent.
    pub fn status(&self) -> Option<RecipientStatus> {
        match self {
            Self::Accepted(_) => Some(RecipientStatus::Delivered),
            // RFC 5321, section 4.1.1.5: RSET cannot fail.
            Self::Refused { phase: Phase::Reset, .. } | Self::PerRecipient | Self::NoRecipients => {
                None
            }
            Self::Refused { reply, .. } => Some(RecipientStatus::refused(reply)),
            Self::Unsupported(unsupported) => Some(match unsupported.status() {
                status @ EnhancedCode { class: 5, .. } => RecipientStatus::Bounced(status),
                status => RecipientStatus::Deferred(status),
            }),
        }
    }
}

/// What the server lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// RFC 6152, section 3: a body with octets above 127 needs 8BITMIME.
    #[error("the server does not offer 8BITMIME")]
    EightBitMime,
    /// RFC 3030, section 3: a body of any octets needs BINARYMIME and CHUNKING.
    #[error("the server does not offer BINARYMIME")]
    BinaryMime,
    /// RFC 1870, section 6: the message is larger than the server takes.
    #[error("the message exceeds the server's limit of {limit} octets")]
    Size {
        /// The limit.
        limit: u64,
    },
    /// RFC 9422, section 4.2: more recipients than the server takes in one transaction.
    #[error("the server takes only {limit} recipients at once")]
    Recipients {
        /// The limit.
        limit: u32,
    },
    /// RFC 9422, section 4.3: recipients of more domains than the server takes in one transaction.
    #[error("the server takes only recipients of {limit} domains at once")]
    RecipientDomains {
        /// The limit.
        limit: u32,
    },
    /// RFC 9422, section 4.1: the server has had all transactions that it takes on one connection.
    /// Another connection will do.
    #[error("the server takes only {limit} transactions on one connection")]
    Transactions {
        /// The limit.
        limit: u32,
    },
    /// RFC 4468, section 3.1: the message is to be fetched, and the server cannot do that, or not
    /// from where it is.
    #[error("the server does not offer BURL")]
    Burl,
    /// RFC 6531, section 3.5: an address or the header is not ASCII, and A-labels would not help.
    #[error("the server does not offer SMTPUTF8")]
    SmtpUtf8,
    /// RFC 8689, section 4.2.1: the message must not travel without TLS, or not to this server.
    #[error("the server does not offer REQUIRETLS inside TLS")]
    RequireTls,
    /// RFC 2852, section 4.1.4.1: the message must be returned in time, and the server cannot do
    /// that, or not in so short a time.
    #[error("the server does not offer DELIVERBY for this time")]
    DeliverBy,
    /// RFC 4865, section 4: the message is to be held, and the server cannot do that, or not for so
    /// long.
    #[error("the server does not offer FUTURERELEASE for this time")]
    FutureRelease,
    /// RFC 4865, section 5.2.1: the message must be delivered before it may be sent on. No server
    /// takes it.
    #[error("the message would be held beyond its deliver-by time")]
    HeldBeyondDeliverBy,
}

impl AuthFailure {
    /// What the server's refusal means.
    pub(super) fn of(reply: &Reply<'_>) -> Self {
        match (reply.code(), reply.severity()) {
            (432, _) => Self::PasswordTransition,
            (504, _) => Self::UnknownMechanism,
            (534, _) => Self::TooWeak,
            (535, _) => Self::Credentials,
            (538, _) => Self::EncryptionNeeded,
            (_, Severity::Transient) => Self::Temporary,
            _ => Self::Refused,
        }
    }

    /// The status of mail that is not sent for it: always 4.y.z, for with other credentials it may
    /// be.
    pub fn status(self, reply: &Reply<'_>) -> EnhancedCode {
        match self {
            // RFC 4954, section 6, where the server has not said so itself.
            Self::Credentials => EnhancedCode::new(4, 7, 8),
            Self::TooWeak => EnhancedCode::new(4, 7, 9),
            Self::EncryptionNeeded => EnhancedCode::new(4, 7, 11),
            Self::PasswordTransition => EnhancedCode::new(4, 7, 12),
            // RFC 3463, section 3.8: X.7.0, other or undefined security status.
            Self::Mechanism(_) => EnhancedCode::new(4, 7, 0),
            Self::UnknownMechanism | Self::Temporary | Self::Refused => match reply.enhanced() {
                Some(code) => EnhancedCode { class: 4, ..code },
                None => EnhancedCode::new(4, 7, 0),
            },
        }
    }
}

impl Unsupported {
    /// The status of a recipient that got no mail for it.
    pub const fn status(self) -> EnhancedCode {
        match self {
            // RFC 3463, section 3.7: X.6.3, conversion required but not supported.
            Self::EightBitMime | Self::BinaryMime => EnhancedCode::new(5, 6, 3),
            // RFC 1870, section 6.3.
            Self::Size { .. } => EnhancedCode::new(5, 3, 4),
            // RFC 3463, section 3.6: X.5.3, too many recipients; they can be sent in parts.
            Self::Recipients { .. } | Self::RecipientDomains { .. } => EnhancedCode::new(4, 5, 3),
            Self::Transactions { .. } => EnhancedCode::new(4, 5, 0),
            // RFC 6531, section 3.5.
            Self::SmtpUtf8 => EnhancedCode::new(5, 6, 7),
            // RFC 8689, section 4.2.1.
            Self::RequireTls => EnhancedCode::new(5, 7, 30),
            // RFC 4865, section 5.2.2.
            Self::HeldBeyondDeliverBy => EnhancedCode::new(5, 5, 4),
            // RFC 3463, section 3.4: X.3.3, system not capable of selected features.
            Self::Burl | Self::DeliverBy | Self::FutureRelease => EnhancedCode::new(5, 3, 3),
        }
    }
}
