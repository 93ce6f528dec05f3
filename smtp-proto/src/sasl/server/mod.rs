//! SASL on the server's side: the mechanisms, and the questions that they ask the caller.
//!
//! A [`Mechanism`] is listed in
//! [`ServerConfig::mechanisms`](crate::server::ServerConfig::mechanisms) and begins an
//! [`Exchange`] for each AUTH. An exchange knows no users: it asks the caller [`Question`]s, and
//! the caller may take its time to look up the answer.
//!
//! | mechanism | function | question |
//! |---|---|---|
//! | SCRAM-SHA-256-PLUS, SCRAM-SHA-256 (RFC 5802, RFC 7677) | [`scram()`] | [`Question::Keys`] |
//! | EXTERNAL (RFC 4422) | [`external()`] | [`Question::External`] |
//! | OAUTHBEARER (RFC 7628) | [`oauthbearer`] | [`Question::Token`] |
//! | XOAUTH2 (in no RFC) | [`xoauth2`] | [`Question::Token`] |
//! | PLAIN (RFC 4616) | [`plain`] | [`Question::Password`] |
//! | LOGIN (in no RFC) | [`login`] | [`Question::Password`] |
//!
//! ```
//! use smtp_proto::channel::Channel;
//! use smtp_proto::sasl::server::{Answer, ExchangeStep, Question, plain};
//! use smtp_proto::Secret;
//!
//! let mut exchange = plain().begin(&Channel::Plain, &["PLAIN"]);
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

pub use external::external;
pub use password::{login, plain};
pub use scram::scram;
pub use token::{oauthbearer, xoauth2};

use std::fmt;

use super::SaslError;
use super::scram::{Keys, prepare};
use crate::channel::Channel;
use crate::secret::Secret;
use crate::wire::reply::Response;

/// A mechanism that a server offers. Other crates can implement it.
pub trait Mechanism: fmt::Debug + Send + Sync {
    /// Its name (RFC 4422, section 3.1).
    fn name(&self) -> &str;

    /// Whether it can be offered on this channel.
    fn is_offered(&self, _channel: &Channel) -> bool {
        true
    }

    /// Begins an exchange: AUTH names this mechanism. `offered` are the names of all mechanisms
    /// that the server has listed on this channel.
    fn begin(&self, channel: &Channel, offered: &[&str]) -> Box<dyn Exchange>;
}

/// One exchange, from AUTH to its end.
pub trait Exchange: fmt::Debug + Send {
    /// The first challenge if AUTH has no initial response; empty in mechanisms in which the client
    /// begins (RFC 4422, section 5.1).
    fn first_challenge(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Whether AUTH may come with an initial response (RFC 4954, section 4).
    fn takes_initial_response(&self) -> bool {
        true
    }

    /// Takes a response of the client.
    fn respond(&mut self, response: &Secret) -> ExchangeStep;

    /// Takes the caller's answer to the last question.
    fn answer(&mut self, answer: Answer) -> ExchangeStep;
}

/// What comes next in an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeStep {
    /// Send this challenge, and wait for the client's response.
    Challenge(Vec<u8>),
    /// Ask the caller.
    Ask(Question),
    /// The client has proved this identity.
    Done(Identity),
    /// The client has not proved its identity, or the server could not check the proof.
    Failed(Failure),
}

/// A question that the caller answers by looking up a user. Names are in the form of SASLprep (RFC
/// 4013).
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
    /// SCRAM: which keys are stored for this user? Answer with [`Answer::Keys`], or with
    /// [`Answer::Refused`] if there is no such user: the client learns at the end of the exchange
    /// that it has failed, but not why.
    Keys {
        /// The authentication identity.
        user: String,
    },
    /// XOAUTH2, OAUTHBEARER: which user does this token belong to, and is it for this service?
    Token {
        /// The user to which the token belongs, according to the client.
        user: Option<String>,
        /// The bearer token.
        token: Secret,
        /// The name of the server, as the client knows it. RFC 7628, section 3.2: it must be ours.
        host: Option<String>,
        /// The port, as the client knows it.
        port: Option<u16>,
    },
    /// EXTERNAL: which user does the client's certificate belong to?
    External {
        /// The user as which the client wants to act; absent to act as the certificate's user.
        authorization: Option<String>,
    },
    /// The credentials are right; may this user act as another one? Answer with
    /// [`Answer::Accepted`], most often with `authorization`.
    Authorize {
        /// The authenticated user: the name in the answer to the last question, or the one to which
        /// the keys belong.
        user: String,
        /// The user as which the client wants to act.
        authorization: String,
    },
    /// A question of a mechanism from another crate.
    Other(Secret),
}

/// The caller's answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Yes, and this is the user's name. An empty one is refused.
    Accepted(String),
    /// The answer to [`Question::Keys`].
    Keys(Keys),
    /// No such user, wrong password, no such right. The client never hears which: 535 5.7.8.
    Refused,
    /// The look-up failed for now: 454 4.7.0.
    Unavailable,
    /// Another failure, with a code of 4yz or 5yz: for example 432 4.7.12 or 534 5.7.9 (RFC 4954,
    /// section 6), or 421. It tells the client that there is such a user.
    Failed(Response),
    /// The answer to [`Question::Other`].
    Other(Secret),
}

/// The identity that a client has proved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Identity {
    /// The authentication identity: the user to which the credentials belong.
    pub user: String,
    /// The authorization identity: the user as which the client acts. Most often the same.
    pub authorization: String,
}

impl Identity {
    /// The user to which the credentials belong, and the user as which the client acts.
    pub fn new(user: impl Into<String>, authorization: impl Into<String>) -> Self {
        Self { user: user.into(), authorization: authorization.into() }
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The client gave up (`*`).
    #[error("cancelled by the client")]
    Cancelled,
    /// A line over [`ServerLimits::auth_line`](crate::server::ServerLimits::auth_line).
    #[error("a line that is too long")]
    LineTooLong,
    /// A line with a bare CR, or one that ends in a bare LF.
    #[error("a line that does not end in CRLF")]
    BrokenLine,
    /// Not base64, or not a message of the mechanism.
    #[error("a malformed response")]
    Malformed,
    /// An initial response to a mechanism in which the server begins.
    #[error("an initial response that the mechanism does not have")]
    InitialResponse,
    /// The credentials are wrong, or do not allow what the client asked for, or an attacker is
    /// between client and server.
    #[error("refused")]
    Refused,
    /// The look-up failed for now.
    #[error("not available")]
    Unavailable,
    /// The caller's own reply.
    #[error("{0}")]
    Response(Response),
}

impl From<SaslError> for Failure {
    fn from(error: SaslError) -> Self {
        match error {
            SaslError::Base64 | SaslError::Malformed | SaslError::Extension => Self::Malformed,
            _ => Self::Refused,
        }
    }
}

/// The failure that an answer means which does not fit the question.
fn failed(answer: Answer) -> ExchangeStep {
    ExchangeStep::Failed(match answer {
        Answer::Unavailable => Failure::Unavailable,
        Answer::Failed(response) => Failure::Response(response),
        _ => Failure::Refused,
    })
}

/// The user that the client claims to be, and the one as which it wants to act.
#[derive(Clone, Debug, Default)]
struct Claim {
    user: String,
    authorization: Option<String>,
    /// The caller has named the user to which the credentials belong; the authorization is left.
    proven: bool,
}

impl Claim {
    /// RFC 4954, section 4: names are prepared; a name that cannot be is an error.
    fn new(user: &str, authorization: Option<&str>) -> Result<Self, SaslError> {
        let user = prepare(user)?.into_owned();
        let authorization = match authorization {
            Some(name) => Some(prepare(name)?.into_owned()).filter(|name| *name != user),
            None => None,
        };
        Ok(Self { user, authorization, proven: false })
    }

    /// The credentials belong to this user. To act as another user takes another question.
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

    /// Takes the caller's answer about the credentials, then the one about the authorization.
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

/// A response although the mechanism waits for none.
const OUT_OF_TURN: ExchangeStep = ExchangeStep::Failed(Failure::Malformed);
