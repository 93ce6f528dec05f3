//! The server's side: what a mechanism asks of its caller, and the mechanisms that are here.
//!
//! A [`Mechanism`] stands in [`Config::mechanisms`](crate::server::ServerConfig::mechanisms) and
//! begins an [`Exchange`] for each AUTH. An exchange knows no user: it puts [`Question`]s before
//! the caller, who has the time to look things up.
//!
//! ```
//! use smtp_proto::channel::Channel;
//! use smtp_proto::sasl::server::{Answer, Exchange, Mechanism, Offer, Plain, Question, ExchangeStep};
//! use smtp_proto::Secret;
//!
//! let mut exchange = Plain.begin(&Offer::new(&Channel::Plain, &[]));
//! let ExchangeStep::Ask(Question::Password { user, password }) = exchange.respond(&Secret::from("\0tim\0tanstaafltanstaafl"))
//! else {
//!     panic!()
//! };
//! assert_eq!((user.as_str(), password.as_bytes()), ("tim", &b"tanstaafltanstaafl"[..]));
//! let ExchangeStep::Done(identity) = exchange.answer(Answer::Accepted(user)) else { panic!() };
//! assert_eq!(identity.authorization, "tim");
//! ```

mod external;
mod password;
mod scram;
mod token;

pub use external::External;
pub use password::{Login, Plain};
pub use scram::{Decoy, ScramSha256};
pub use token::{OauthBearer, Xoauth2};

use std::fmt;
use std::sync::Arc;

use super::SaslError;
use super::scram::{Keys, prepare};
use crate::channel::Channel;
use crate::secret::Secret;
use crate::wire::reply::Response;

/// A mechanism that a server offers. Anyone can write one.
pub trait Mechanism: fmt::Debug + Send + Sync {
    /// Its name (RFC 4422, section 3.1).
    fn name(&self) -> &str;

    /// Whether it can be offered on this channel.
    fn is_offered(&self, _channel: &Channel) -> bool {
        true
    }

    /// AUTH names it.
    fn begin(&self, offer: &Offer<'_>) -> Box<dyn Exchange>;
}

/// One exchange, from AUTH to its end.
pub trait Exchange: fmt::Debug + Send {
    /// What is said first where AUTH came without an initial response: nothing, if the client is to
    /// begin (RFC 4422, section 5.1).
    fn first_challenge(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Whether AUTH may come with an initial response (RFC 4954, section 4).
    fn takes_initial_response(&self) -> bool {
        true
    }

    /// The client has said something.
    fn respond(&mut self, response: &Secret) -> ExchangeStep;

    /// The caller has answered the question that was asked last.
    fn answer(&mut self, answer: Answer) -> ExchangeStep;
}

/// What comes next in an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeStep {
    /// Say this, and wait for the client.
    Challenge(Vec<u8>),
    /// Ask the caller.
    Ask(Question),
    /// The client is who it says.
    Done(Identity),
    /// It is not, or nobody can tell.
    Failed(Failure),
}

/// What the caller must look up. Names are in the form of SASLprep (RFC 4013).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question {
    /// PLAIN, LOGIN: is this the password of this user?
    Password {
        /// The authentication identity.
        user: String,
        /// The password as it came. RFC 4616, section 2 recommends SASLprep before it is compared;
        /// [`Keys::is_of`] does that.
        password: Secret,
    },
    /// SCRAM: what is stored of this user? Answer with [`Answer::Keys`], or [`Answer::Refused`] for
    /// one who is not there: the client is told only at the end, and not that.
    Keys {
        /// The authentication identity.
        user: String,
    },
    /// XOAUTH2, OAUTHBEARER: whose token is this, and is it for this service?
    Token {
        /// The user that the client says it is of.
        user: Option<String>,
        /// The bearer token.
        token: Secret,
        /// The name of the server, as the client knows it. RFC 7628, section 3.2: it must be ours.
        host: Option<String>,
        /// The port, as the client knows it.
        port: Option<u16>,
    },
    /// EXTERNAL: who is the client, by the certificate that it has shown?
    External {
        /// As whom it wants to act, if that is not plain from the certificate.
        authorization: Option<String>,
    },
    /// Everything is proven; may the one act as the other? Answer with [`Answer::Accepted`], most
    /// often with `authorization`.
    Authorize {
        /// The user, by the name with which the last question was answered, or that the keys are
        /// of.
        user: String,
        /// As whom it wants to act.
        authorization: String,
    },
    /// A question of a mechanism that is not from here.
    Other(Secret),
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Yes, and this is the user's name. An empty one is refused.
    Accepted(String),
    /// To [`Question::Keys`].
    Keys(Keys),
    /// No such user, wrong password, no such right. The client never hears which: 535 5.7.8.
    Refused,
    /// Nobody can tell now: 454 4.7.0.
    Unavailable,
    /// Something else, with a code of 4yz or 5yz: 432 4.7.12, say, or 534 5.7.9 (RFC 4954, section
    /// 6), or 421. It tells a stranger that there is such a user.
    Failed(Response),
    /// To [`Question::Other`].
    Other(Secret),
}

/// Who has authenticated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The user whose credentials they were.
    pub user: String,
    /// The user as whom the client acts from now on; most often the same.
    pub authorization: String,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The client gave up (`*`).
    #[error("cancelled by the client")]
    Cancelled,
    /// A line over [`Limits::auth_line`](crate::server::ServerLimits::auth_line).
    #[error("a line that is too long")]
    LineTooLong,
    /// A line with a CR or LF of its own.
    #[error("a line that does not end in CRLF")]
    BrokenLine,
    /// Not base64, or not a message of the mechanism.
    #[error("a malformed response")]
    Malformed,
    /// An initial response to a mechanism in which the server begins.
    #[error("an initial response that the mechanism does not have")]
    InitialResponse,
    /// The credentials are not right, or do not allow what was asked for, or somebody stands in
    /// between.
    #[error("refused")]
    Refused,
    /// Nobody can tell now.
    #[error("not available")]
    Unavailable,
    /// In the caller's words.
    #[error("{0}")]
    Response(Response),
}

/// What is offered on a connection.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'s> {
    channel: &'s Channel,
    mechanisms: &'s [Arc<dyn Mechanism>],
}

impl<'s> Offer<'s> {
    /// Of these mechanisms, those that fit the channel.
    pub fn new(channel: &'s Channel, mechanisms: &'s [Arc<dyn Mechanism>]) -> Self {
        Self { channel, mechanisms }
    }

    /// What the bytes travel in.
    pub fn channel(&self) -> &'s Channel {
        self.channel
    }

    /// In the order of the configuration.
    pub fn mechanisms(&self) -> impl Iterator<Item = &'s Arc<dyn Mechanism>> + use<'s> {
        let channel = self.channel;
        self.mechanisms.iter().filter(move |mechanism| mechanism.is_offered(channel))
    }

    /// The one of this name, in any case.
    pub fn find(&self, name: &str) -> Option<&'s Arc<dyn Mechanism>> {
        self.mechanisms().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }
}

impl From<SaslError> for Failure {
    fn from(error: SaslError) -> Self {
        match error {
            SaslError::Base64 | SaslError::Malformed | SaslError::Extension => Self::Malformed,
            _ => Self::Refused,
        }
    }
}

/// What an answer that is not the wanted one means.
fn failed(answer: Answer) -> ExchangeStep {
    ExchangeStep::Failed(match answer {
        Answer::Unavailable => Failure::Unavailable,
        Answer::Failed(response) => Failure::Response(response),
        _ => Failure::Refused,
    })
}

/// Whom the client has proven to be, and as whom it wants to act.
#[derive(Clone, Debug, Default)]
struct Claim {
    user: String,
    authorization: Option<String>,
    /// The caller has said whose credentials they are: what is left is the authorization.
    proven: bool,
}

impl Claim {
    /// RFC 4954, section 4: names are prepared, and one that cannot be fails.
    fn new(user: &str, authorization: Option<&str>) -> Result<Self, SaslError> {
        let user = prepare(user)?.into_owned();
        let authorization = match authorization {
            Some(name) => Some(prepare(name)?.into_owned()).filter(|name| *name != user),
            None => None,
        };
        Ok(Self { user, authorization, proven: false })
    }

    /// The credentials are this user's. Acting as somebody else takes another question.
    fn prove(&mut self, user: String) -> Result<Identity, ExchangeStep> {
        if user.is_empty() {
            return Err(ExchangeStep::Failed(Failure::Refused));
        }
        self.user = user;
        self.proven = true;
        match self.authorization.take_if(|name| *name != self.user) {
            Some(authorization) => Err(ExchangeStep::Ask(Question::Authorize {
                user: self.user.clone(),
                authorization,
            })),
            None => Ok(Identity { user: self.user.clone(), authorization: self.user.clone() }),
        }
    }

    /// What the caller says of the credentials, then of the authorization.
    fn judge(&mut self, answer: Answer) -> Result<Identity, ExchangeStep> {
        match answer {
            Answer::Accepted(authorization) if self.proven && !authorization.is_empty() => {
                Ok(Identity { user: std::mem::take(&mut self.user), authorization })
            }
            Answer::Accepted(user) if !self.proven => self.prove(user),
            answer => Err(failed(answer)),
        }
    }
}

/// The end of an exchange that has no more to say.
fn end(judged: Result<Identity, ExchangeStep>) -> ExchangeStep {
    judged.map_or_else(|step| step, ExchangeStep::Done)
}

/// A response that nobody waited for.
const OUT_OF_TURN: ExchangeStep = ExchangeStep::Failed(Failure::Malformed);
