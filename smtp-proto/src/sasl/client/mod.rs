//! The client's side of an exchange: what a mechanism is, and the mechanisms that are here.
//!
//! [`Client::authenticate`](crate::client::Client::authenticate) takes any [`ClientMechanism`].
//! Messages are octets: base64, the empty response and the limits of lines are the machine's
//! affair. [`Credentials::mechanism`] makes the one that is best for a server and a channel, and
//! [`Credentials::mechanism_named`] one of the caller's choice:
//!
//! | credentials | mechanisms, the best first |
//! |---|---|
//! | [`Credentials::password`] | SCRAM-SHA-256-PLUS, SCRAM-SHA-256, PLAIN, LOGIN |
//! | [`Credentials::token`] | OAUTHBEARER, XOAUTH2 |
//! | [`Credentials::certificate`] | EXTERNAL |
//! | [`Credentials::other`] | those that it names |
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use smtp_proto::client::{Client, ClientConfig, ClientEvent};
//! use smtp_proto::channel::{Channel, Peer, TlsInfo};
//! use smtp_proto::fallback::TlsRules;
//! use smtp_proto::sasl::client::Credentials;
//! use smtp_proto::{Progress, Step};
//!
//! // The handshake has been run, and the certificate is that of the server that was meant.
//! let tls = TlsInfo::new(Peer::Authenticated, "TLSv1.3", "TLS_AES_128_GCM_SHA256");
//! let (config, now) = (Arc::new(ClientConfig::new("client.test.example".parse()?)), Instant::now());
//! let mut client = Client::new(config, TlsRules::REQUIRED, Channel::Implicit(Arc::new(tls)), now);
//! let credentials = Credentials::password("tim", "tanstaaftanstaaf");
//! let mut replies =
//!     ["220 mx\r\n", "250-mx\r\n250 AUTH PLAIN LOGIN\r\n", "235 2.7.0 welcome\r\n"].iter();
//! let mut input: &[u8] = b"";
//! let mut output = Vec::new();
//! loop {
//!     let Progress { consumed, step } = client.poll(input, &mut output, now)?;
//!     input = &input[consumed..];
//!     match step {
//!         Step::Event(ClientEvent::Ready) => {
//!             let nonce = [0; 24].into(); // random, each time anew
//!             let mechanism = credentials.mechanism(client.capabilities(), client.channel(), nonce)?;
//!             client.authenticate(mechanism, credentials.floor, now)?;
//!         }
//!         Step::Event(ClientEvent::Authenticated(_)) => break,
//!         Step::Event(event) => panic!("{event:?}"),
//!         Step::Wait(_) => input = replies.next().expect("another reply").as_bytes(),
//!     }
//! }
//! assert!(output.ends_with(b"AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bearer;
mod credentials;
mod scram;
mod simple;

pub use credentials::{Credentials, MAX_ITERATIONS};

use std::borrow::Cow;
use std::fmt;

use super::SaslError;
use super::scram::prepare;
use crate::channel::{Channel, Peer};
use crate::error::ApiMisuse;
use crate::secret::Secret;
use crate::wire::reply::EnhancedCode;

/// One exchange, from its first message to the server's last word. Good for one attempt.
pub trait ClientMechanism: fmt::Debug + Send {
    /// Its name, in capitals: [`is_mechanism_name`](super::is_mechanism_name).
    fn name(&self) -> &str;

    /// Whether the peer, and an eavesdropper in clear text, learns something that can be used
    /// again: a password or a token.
    fn reveals_secret(&self) -> bool;

    /// What the client says first; none if the server has to begin (RFC 4422, section 5.1). Asked
    /// once, before anything else and before anything is sent.
    ///
    /// # Errors
    ///
    /// The mechanism cannot begin.
    fn initial_response(&mut self) -> Result<Option<Secret>, SaslError>;

    /// Whether the answers do not depend on the challenges, so that a challenge may be any text.
    /// False by default: a challenge that is not base64 cancels the exchange (RFC 4954, section 4).
    fn ignores_challenges(&self) -> bool {
        false
    }

    /// The answer to a challenge. After an error the exchange is cancelled, and nothing more is
    /// asked.
    ///
    /// A server may send challenges without end: it is the mechanism that knows when there are too
    /// many.
    ///
    /// # Errors
    ///
    /// The challenge is malformed, or one too many.
    fn respond(&mut self, challenge: &[u8]) -> Result<Secret, SaslError>;

    /// The server says that the exchange has succeeded.
    ///
    /// # Errors
    ///
    /// The exchange is not complete, or the server has not proved what it must prove. It counts as
    /// a failure then, whatever the server says.
    fn accepted(&mut self) -> Result<(), SaslError>;
}

/// What a channel must be before credentials are used in it. Exhaustive on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChannelFloor {
    /// Any channel, clear text included: an eavesdropper gets the password and the mail.
    Clear,
    /// TLS with any peer: a man in the middle gets the password.
    Encrypted,
    /// TLS; and where the mechanism reveals a secret, only to a peer whose certificate was judged
    /// and accepted.
    #[default]
    Authenticated,
}

impl ChannelFloor {
    /// Whether a mechanism that reveals a secret, or does not, may be used in a channel.
    ///
    /// # Errors
    ///
    /// [`AuthRefusal::ClearText`] without TLS, [`AuthRefusal::UnauthenticatedPeer`] for a secret
    /// that would go to an unauthenticated peer.
    pub fn permits(self, channel: &Channel, reveals_secret: bool) -> Result<(), AuthRefusal> {
        let tls = match channel {
            Channel::Plain => None,
            Channel::StartTls(tls) | Channel::Implicit(tls) => Some(tls),
        };
        match (self, tls) {
            (Self::Clear, _) => Ok(()),
            (Self::Encrypted | Self::Authenticated, None) => Err(AuthRefusal::ClearText),
            (Self::Encrypted, Some(_)) => Ok(()),
            (Self::Authenticated, Some(tls)) => match tls.peer {
                Peer::Unauthenticated if reveals_secret => Err(AuthRefusal::UnauthenticatedPeer),
                Peer::Unauthenticated | Peer::Authenticated => Ok(()),
            },
        }
    }
}

/// Why an authentication was not begun. Nothing was sent for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthRefusal {
    /// The server does not list the mechanism, or none that fits the credentials.
    #[error("the server does not offer the mechanism")]
    NotOffered,
    /// There is no TLS, and the floor does not allow clear text.
    #[error("no credentials in clear text")]
    ClearText,
    /// The mechanism reveals a secret, and the peer is not authenticated.
    #[error("no password or token for a server that is not authenticated")]
    UnauthenticatedPeer,
    /// The mechanism cannot even begin.
    #[error("{0}")]
    Mechanism(#[from] SaslError),
    /// AUTH cannot be sent now.
    #[error("{0}")]
    Misuse(#[from] ApiMisuse),
}

impl AuthRefusal {
    /// The status of mail that is deferred because of this. It is always 4.y.z: another server or
    /// other credentials may do.
    pub const fn status(self) -> EnhancedCode {
        match self {
            // RFC 3463, section 3.8: X.7.4, security features not supported.
            Self::NotOffered => EnhancedCode::new(4, 7, 4),
            // RFC 4954, section 6: X.7.11, encryption required for the mechanism.
            Self::ClearText => EnhancedCode::new(4, 7, 11),
            // RFC 3463, section 3.8: X.7.5, cryptographic failure.
            Self::UnauthenticatedPeer => EnhancedCode::new(4, 7, 5),
            Self::Mechanism(_) | Self::Misuse(_) => EnhancedCode::new(4, 7, 0),
        }
    }
}

/// RFC 4954, section 4: prepared with SASLprep; an empty name is allowed.
fn authorization_of(name: &str) -> Result<Cow<'_, str>, SaslError> {
    if name.is_empty() { Ok(Cow::Borrowed("")) } else { prepare(name) }
}
