//! OAUTHBEARER and XOAUTH2: an OAuth 2.0 token as it is, in one message.

use super::ClientMechanism;
use crate::sasl::SaslError;
use crate::secret::Secret;

/// RFC 7628, section 3.1: what parts keys and values.
const SEPARATOR: &[u8] = b"\x01";

/// OAUTHBEARER (RFC 7628).
#[derive(Debug)]
pub(super) struct ClientOauthBearer(Bearer);

impl ClientOauthBearer {
    /// `user` is whose mailbox it is; empty if the token says so.
    ///
    /// # Errors
    ///
    /// [`SaslError::Prohibited`] for what no token holds (RFC 6750, section 2.1), and for controls
    /// in the user's name.
    pub(super) fn new(user: &str, token: &Secret) -> Result<Self, SaslError> {
        check(user, token)?;
        // RFC 5801, section 4, `saslname`: a comma ends it.
        let user = user.replace('=', "=3D").replace(',', "=2C");
        // RFC 7628, section 3.1: `client-resp = gs2-header kvsep *kvpair kvsep`; no channel
        // binding, hence `n`.
        let start: &[u8] = if user.is_empty() { b"n," } else { b"n,a=" };
        let message = [
            start,
            user.as_bytes(),
            b",",
            SEPARATOR,
            b"auth=Bearer ",
            token.as_bytes(),
            SEPARATOR,
            SEPARATOR,
        ];
        Ok(Self(Bearer::new(&message)))
    }
}

impl ClientMechanism for ClientOauthBearer {
    fn name(&self) -> &'static str {
        "OAUTHBEARER"
    }

    fn reveals_secret(&self) -> bool {
        true
    }

    fn initial_response(&mut self) -> Result<Option<Secret>, SaslError> {
        Ok(self.0.message.take())
    }

    fn respond(&mut self, _challenge: &[u8]) -> Result<Secret, SaslError> {
        // RFC 7628, section 3.2.3: the server has refused with a JSON text, and wants to hear a
        // lone separator.
        self.0.refused_with(SEPARATOR)
    }

    fn accepted(&mut self) -> Result<(), SaslError> {
        self.0.accepted()
    }
}

/// XOAUTH2, the same before there was an RFC, as Google and Microsoft have it.
#[derive(Debug)]
pub(super) struct ClientXoauth2(Bearer);

impl ClientXoauth2 {
    /// # Errors
    ///
    /// [`SaslError::Prohibited`] for what no token holds (RFC 6750, section 2.1), and for controls
    /// in the user's name.
    pub(super) fn new(user: &str, token: &Secret) -> Result<Self, SaslError> {
        check(user, token)?;
        let message = [
            b"user=",
            user.as_bytes(),
            SEPARATOR,
            b"auth=Bearer ",
            token.as_bytes(),
            SEPARATOR,
            SEPARATOR,
        ];
        Ok(Self(Bearer::new(&message)))
    }
}

impl ClientMechanism for ClientXoauth2 {
    fn name(&self) -> &'static str {
        "XOAUTH2"
    }

    fn reveals_secret(&self) -> bool {
        true
    }

    fn initial_response(&mut self) -> Result<Option<Secret>, SaslError> {
        Ok(self.0.message.take())
    }

    fn respond(&mut self, _challenge: &[u8]) -> Result<Secret, SaslError> {
        // The server has refused with a JSON text, and wants to hear an empty response.
        self.0.refused_with(b"")
    }

    fn accepted(&mut self) -> Result<(), SaslError> {
        self.0.accepted()
    }
}

/// What both have in common: one message, and one answer to a refusal.
#[derive(Debug)]
struct Bearer {
    /// None once it is said.
    message: Option<Secret>,
    refused: bool,
}

impl Bearer {
    fn new(message: &[&[u8]]) -> Self {
        Self { message: Some(Secret::concat(message)), refused: false }
    }

    fn refused_with(&mut self, answer: &[u8]) -> Result<Secret, SaslError> {
        if self.refused {
            return Err(SaslError::UnexpectedChallenge);
        }
        self.refused = true;
        Ok(Secret::from(answer))
    }

    fn accepted(&self) -> Result<(), SaslError> {
        match (&self.message, self.refused) {
            (Some(_), _) => Err(SaslError::Unproven),
            // RFC 7628, section 3.2.3: after the refusal the exchange can only fail.
            (None, true) => Err(SaslError::Refused),
            (None, false) => Ok(()),
        }
    }
}

/// RFC 6750, section 2.1: `b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" )
/// *"="`. Tokens in use have other printable characters as well, which do no harm.
fn check(user: &str, token: &Secret) -> Result<(), SaslError> {
    let printable = !token.is_empty() && token.as_bytes().iter().all(u8::is_ascii_graphic);
    if printable && !user.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(SaslError::Prohibited)
    }
}
