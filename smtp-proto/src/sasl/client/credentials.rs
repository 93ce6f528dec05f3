//! Credentials for one server, and the choice of the best mechanism for them.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::bearer::{ClientOauthBearer, ClientXoauth2};
use super::scram::{Binding, ClientScramSha256};
use super::simple::{ClientExternal, ClientLogin, ClientPlain};
use super::{AuthRefusal, ChannelFloor, ClientMechanism};
use crate::channel::Channel;
use crate::sasl::SaslError;
use crate::sasl::scram::{Nonce, SCRAM_SHA_256, SCRAM_SHA_256_PLUS};
use crate::secret::Secret;
use crate::wire::capabilities::Capabilities;

/// The most rounds of HMAC that a server may ask for in SCRAM, unless set otherwise: a hostile one
/// could keep a processor busy for an hour. Servers in use ask for 4096 to 600,000; this takes some
/// tenths of a second.
pub const MAX_ITERATIONS: u32 = 1_000_000;

/// What one has to authenticate with at one server. No other server is to see it.
///
/// ```
/// use smtp_proto::wire::capabilities::Capabilities;
/// use smtp_proto::channel::Channel;
/// use smtp_proto::wire::reply::Reply;
/// use smtp_proto::sasl::client::{AuthRefusal, Credentials, ChannelFloor};
///
/// let reply = Reply::parse(b"250-mx.test.example\r\n250 AUTH LOGIN PLAIN SCRAM-SHA-256\r\n")?.unwrap();
/// let capabilities = Capabilities::of(&reply);
/// let credentials = Credentials::password("user", "pencil");
/// // 24 octets from a good source of random numbers.
/// let nonce = || [0; 24].into();
/// let refused = credentials.mechanism(&capabilities, &Channel::Plain, nonce());
/// assert_eq!(refused.unwrap_err(), AuthRefusal::ClearText);
///
/// let mut lax = credentials;
/// lax.floor = ChannelFloor::Clear;
/// assert_eq!(lax.mechanism(&capabilities, &Channel::Plain, nonce())?.name(), "SCRAM-SHA-256");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// Authorization identity; empty means the authentication identity. LOGIN, XOAUTH2 and
    /// OAUTHBEARER cannot say it, and are not used then.
    pub authorization: String,
    proof: Proof,
    /// In which channels.
    pub floor: ChannelFloor,
    /// The most rounds of HMAC that a server may ask for in SCRAM. [`MAX_ITERATIONS`] by default.
    pub max_iterations: u32,
}

impl Credentials {
    /// A password in UTF-8 of this user, for channels to an
    /// [authenticated](ChannelFloor::Authenticated) server.
    pub fn password(user: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self::of(Proof::Password { user: user.into(), password: password.into() })
    }

    /// An OAuth 2.0 access token, as the authorization server gave it, for the mailbox of this
    /// user. Tokens are short-lived: getting one is the caller's affair. For channels to an
    /// [authenticated](ChannelFloor::Authenticated) server.
    pub fn token(user: impl Into<String>, token: impl Into<Secret>) -> Self {
        Self::of(Proof::Token { user: user.into(), token: token.into() })
    }

    /// The client certificate that TLS has shown.
    pub fn certificate() -> Self {
        Self::of(Proof::Certificate)
    }

    /// What mechanisms of the caller's own show: their names, in capitals, the best first, and a
    /// function that makes the one of a name from these credentials for each attempt on a channel.
    /// It fails if these credentials do not fit the mechanism. Equal only to its clones.
    ///
    /// ```
    /// use smtp_proto::Secret;
    /// use smtp_proto::sasl::SaslError;
    /// use smtp_proto::sasl::client::{ClientMechanism, Credentials};
    ///
    /// /// ANONYMOUS (RFC 4505): a client that names itself and proves nothing.
    /// #[derive(Debug)]
    /// struct Anonymous {
    ///     trace: Option<Secret>,
    /// }
    ///
    /// impl ClientMechanism for Anonymous {
    ///     fn name(&self) -> &str {
    ///         "ANONYMOUS"
    ///     }
    ///     fn reveals_secret(&self) -> bool {
    ///         false
    ///     }
    ///     fn initial_response(&mut self) -> Result<Option<Secret>, SaslError> {
    ///         Ok(self.trace.take())
    ///     }
    ///     fn respond(&mut self, _: &[u8]) -> Result<Secret, SaslError> {
    ///         Err(SaslError::UnexpectedChallenge)
    ///     }
    ///     fn accepted(&mut self) -> Result<(), SaslError> {
    ///         if self.trace.is_none() { Ok(()) } else { Err(SaslError::Unproven) }
    ///     }
    /// }
    ///
    /// let mut credentials = Credentials::other(&["ANONYMOUS"], |_, credentials, _| {
    ///     let trace = Some(credentials.authorization.as_str().into());
    ///     Ok(Box::new(Anonymous { trace }))
    /// });
    /// credentials.authorization = "postmaster@client.test.example".into();
    /// ```
    pub fn other(
        names: &'static [&'static str],
        make: impl Fn(&str, &Self, &Channel) -> Result<Box<dyn ClientMechanism>, SaslError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self::of(Proof::Other(Other { names, make: Arc::new(make) }))
    }

    fn of(proof: Proof) -> Self {
        let (floor, max_iterations) = (ChannelFloor::default(), MAX_ITERATIONS);
        Self { authorization: String::new(), proof, floor, max_iterations }
    }

    /// The best mechanism that the server offers and the channel allows: those that bind to the
    /// channel before those that do not, and those that keep the secret before those that show it.
    /// With another nonce for each attempt.
    ///
    /// Only what one server says inside one channel is looked at. Whether a failed attempt should
    /// be followed by one with a lesser mechanism is for the caller: a false server would like
    /// that.
    ///
    /// # Errors
    ///
    /// The obstacle to the best mechanism that the server offers; [`AuthRefusal::NotOffered`] if it
    /// offers none that fits.
    pub fn mechanism(
        &self,
        capabilities: &Capabilities,
        channel: &Channel,
        nonce: Nonce,
    ) -> Result<Box<dyn ClientMechanism>, AuthRefusal> {
        let mut refusal = None;
        for name in self.fitting() {
            match self.mechanism_named(name, capabilities, channel, nonce.clone()) {
                Ok(mechanism) => return Ok(mechanism),
                Err(
                    AuthRefusal::NotOffered | AuthRefusal::Mechanism(SaslError::ChannelBinding),
                ) => {}
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal.unwrap_or(AuthRefusal::NotOffered))
    }

    /// The mechanism of this name, in capitals, whichever others there are.
    ///
    /// # Errors
    ///
    /// [`AuthRefusal::NotOffered`] if the server does not offer it, or these credentials do not fit
    /// it; otherwise the obstacle to it.
    pub fn mechanism_named(
        &self,
        name: &str,
        capabilities: &Capabilities,
        channel: &Channel,
        nonce: Nonce,
    ) -> Result<Box<dyn ClientMechanism>, AuthRefusal> {
        if !self.fitting().contains(&name) || !capabilities.has_mechanism(name) {
            return Err(AuthRefusal::NotOffered);
        }
        let mechanism = self.make(name, capabilities, channel, nonce)?;
        self.floor.permits(channel, mechanism.reveals_secret())?;
        Ok(mechanism)
    }

    /// The best first.
    fn fitting(&self) -> &[&str] {
        match (&self.proof, self.authorization.is_empty()) {
            (Proof::Password { .. }, true) => {
                &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256, "PLAIN", "LOGIN"]
            }
            (Proof::Password { .. }, false) => &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256, "PLAIN"],
            (Proof::Token { .. }, true) => &["OAUTHBEARER", "XOAUTH2"],
            (Proof::Token { .. }, false) => &[],
            (Proof::Certificate, _) => &["EXTERNAL"],
            (Proof::Other(other), _) => other.names,
        }
    }

    fn make(
        &self,
        name: &str,
        capabilities: &Capabilities,
        channel: &Channel,
        nonce: Nonce,
    ) -> Result<Box<dyn ClientMechanism>, SaslError> {
        let authorization = &*self.authorization;
        Ok(match &self.proof {
            Proof::Password { user, password } => match name {
                SCRAM_SHA_256_PLUS | SCRAM_SHA_256 => {
                    let known = channel.tls().and_then(|tls| tls.bindings.first());
                    let binding = match known {
                        Some(binding) if name == SCRAM_SHA_256_PLUS => {
                            Binding::Used(binding.clone())
                        }
                        _ if name == SCRAM_SHA_256_PLUS => return Err(SaslError::ChannelBinding),
                        // RFC 5802, section 6: `y` only where the server does not list the -PLUS.
                        Some(_) if !capabilities.has_mechanism(SCRAM_SHA_256_PLUS) => {
                            Binding::Unoffered
                        }
                        _ => Binding::Unsupported,
                    };
                    Box::new(ClientScramSha256::new(
                        authorization,
                        user,
                        password.clone(),
                        binding,
                        nonce,
                        self.max_iterations,
                    )?)
                }
                "PLAIN" => Box::new(ClientPlain::new(authorization, user, password)?),
                _ => Box::new(ClientLogin::new(user, password.clone())?),
            },
            Proof::Token { user, token } if name == "OAUTHBEARER" => {
                Box::new(ClientOauthBearer::new(user, token)?)
            }
            Proof::Token { user, token } => Box::new(ClientXoauth2::new(user, token)?),
            Proof::Certificate => Box::new(ClientExternal::new(authorization)?),
            Proof::Other(other) => (other.make)(name, self, channel)?,
        })
    }
}

/// Makes the mechanism of a name.
type Make = dyn Fn(&str, &Credentials, &Channel) -> Result<Box<dyn ClientMechanism>, SaslError>
    + Send
    + Sync;

/// What shows who one is.
#[derive(Clone, Debug)]
enum Proof {
    Password { user: String, password: Secret },
    Token { user: String, token: Secret },
    Certificate,
    Other(Other),
}

/// Mechanisms of the caller's own.
#[derive(Clone)]
struct Other {
    names: &'static [&'static str],
    make: Arc<Make>,
}

impl fmt::Debug for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.names.fmt(f)
    }
}

impl PartialEq for Proof {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Password { user, password },
                Self::Password { user: other_user, password: other_password },
            ) => user == other_user && password == other_password,
            (Self::Token { user, token }, Self::Token { user: other_user, token: other_token }) => {
                user == other_user && token == other_token
            }
            (Self::Certificate, Self::Certificate) => true,
            (Self::Other(one), Self::Other(other)) => Arc::ptr_eq(&one.make, &other.make),
            _ => false,
        }
    }
}

impl Eq for Proof {}

/// Without the secrets: a hash gives something away of what goes into it.
impl Hash for Credentials {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let user = match &self.proof {
            Proof::Password { user, .. } | Proof::Token { user, .. } => user.as_str(),
            Proof::Certificate | Proof::Other(_) => "",
        };
        (&self.authorization, user, self.floor).hash(state);
    }
}
