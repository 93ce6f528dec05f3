//! PLAIN, LOGIN and EXTERNAL: nothing is computed, and nothing is known of the server afterwards.

use super::{ClientMechanism, authorization_of};
use crate::sasl::SaslError;
use crate::secret::Secret;

/// PLAIN (RFC 4616): user and password as they are, in one message.
#[derive(Debug)]
pub(super) struct ClientPlain {
    /// None once it is said.
    message: Option<Secret>,
}

impl ClientPlain {
    /// `authorization` is the authorization identity; empty means the user.
    ///
    /// # Errors
    ///
    /// [`SaslError::Prohibited`] for a NUL, and for an empty user or password.
    pub(super) fn new(
        authorization: &str,
        user: &str,
        password: &Secret,
    ) -> Result<Self, SaslError> {
        let authorization = authorization_of(authorization)?;
        let (user, password) = (user.as_bytes(), password.as_bytes());
        // RFC 4616, section 2: `message = [authzid] UTF8NUL authcid UTF8NUL passwd`, none of which
        // has a NUL in it.
        let parts = [authorization.as_bytes(), user, password];
        if parts.iter().any(|part| part.contains(&0)) || user.is_empty() || password.is_empty() {
            return Err(SaslError::Prohibited);
        }
        // RFC 4616, section 2: the server prepares user and password, or compares them as they are.
        // It alone knows.
        let message = Secret::concat(&[parts[0], b"\0", parts[1], b"\0", parts[2]]);
        Ok(Self { message: Some(message) })
    }
}

impl ClientMechanism for ClientPlain {
    fn name(&self) -> &'static str {
        "PLAIN"
    }

    /// RFC 4616, section 2: the message is one, so that a server can only ask for it. Some ask in
    /// plain words.
    fn ignores_challenges(&self) -> bool {
        true
    }

    fn reveals_secret(&self) -> bool {
        true
    }

    fn initial_response(&mut self) -> Result<Option<Secret>, SaslError> {
        Ok(self.message.take())
    }

    fn respond(&mut self, _challenge: &[u8]) -> Result<Secret, SaslError> {
        Err(SaslError::UnexpectedChallenge)
    }

    fn accepted(&mut self) -> Result<(), SaslError> {
        said(&self.message)
    }
}

/// LOGIN, which is in no RFC (draft-murchison-sasl-login): the server asks for the user, then for
/// the password. What it writes into its questions is not looked at, for servers differ.
#[derive(Debug)]
pub(super) struct ClientLogin {
    user: Option<Secret>,
    password: Option<Secret>,
}

impl ClientLogin {
    /// # Errors
    ///
    /// [`SaslError::Prohibited`] for a NUL, and for an empty user or password.
    pub(super) fn new(user: &str, password: Secret) -> Result<Self, SaslError> {
        let parts = [user.as_bytes(), password.as_bytes()];
        if parts.iter().any(|part| part.is_empty() || part.contains(&0)) {
            return Err(SaslError::Prohibited);
        }
        Ok(Self { user: Some(user.into()), password: Some(password) })
    }
}

impl ClientMechanism for ClientLogin {
    fn name(&self) -> &'static str {
        "LOGIN"
    }

    /// Servers ask in base64 or in plain words.
    fn ignores_challenges(&self) -> bool {
        true
    }

    fn reveals_secret(&self) -> bool {
        true
    }

    fn initial_response(&mut self) -> Result<Option<Secret>, SaslError> {
        Ok(None)
    }

    fn respond(&mut self, _challenge: &[u8]) -> Result<Secret, SaslError> {
        self.user.take().or_else(|| self.password.take()).ok_or(SaslError::UnexpectedChallenge)
    }

    fn accepted(&mut self) -> Result<(), SaslError> {
        said(&self.password)
    }
}

/// EXTERNAL (RFC 4422, A): the server knows the client already, by the certificate it has shown.
#[derive(Debug)]
pub(super) struct ClientExternal {
    authorization: Option<Secret>,
}

impl ClientExternal {
    /// `authorization` is the authorization identity; empty means the one that the certificate
    /// names.
    ///
    /// # Errors
    ///
    /// [`SaslError::Prohibited`] for a NUL (RFC 4422, A.1).
    pub(super) fn new(authorization: &str) -> Result<Self, SaslError> {
        let authorization = authorization_of(authorization)?;
        if authorization.contains('\0') {
            return Err(SaslError::Prohibited);
        }
        Ok(Self { authorization: Some(Secret::from(&*authorization)) })
    }
}

impl ClientMechanism for ClientExternal {
    fn name(&self) -> &'static str {
        "EXTERNAL"
    }

    fn reveals_secret(&self) -> bool {
        false
    }

    fn initial_response(&mut self) -> Result<Option<Secret>, SaslError> {
        Ok(self.authorization.take())
    }

    fn respond(&mut self, _challenge: &[u8]) -> Result<Secret, SaslError> {
        Err(SaslError::UnexpectedChallenge)
    }

    fn accepted(&mut self) -> Result<(), SaslError> {
        said(&self.authorization)
    }
}

/// A server cannot have checked what it has not been told.
fn said(message: &Option<Secret>) -> Result<(), SaslError> {
    if message.is_none() { Ok(()) } else { Err(SaslError::Unproven) }
}
