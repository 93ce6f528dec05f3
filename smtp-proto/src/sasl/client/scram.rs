//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): the password stays here, and the
//! server shows that it knows it as well.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{ClientMechanism, authorization_of};
use crate::channel::ChannelBinding;
use crate::sasl::SaslError;
use crate::sasl::scram::{
    ClientFinal, ClientFirst, Flag, MIN_ITERATIONS, Nonce, SCRAM_SHA_256, SCRAM_SHA_256_PLUS,
    SaltedPassword, ServerFinal, ServerFirst, auth_message, prepare, proof, signature,
};
use crate::secret::Secret;

/// What a client says of channel binding (RFC 5802, section 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    /// `n`: this side knows no binding.
    Unsupported,
    /// `y`: this side knows one, but the server does not list the -PLUS. A server that did list it
    /// learns from this that an attacker changed its list, and fails the exchange.
    Unoffered,
    /// `p=`: the mechanism is the -PLUS.
    Used(ChannelBinding),
}

/// One exchange of SCRAM.
#[derive(Debug)]
pub(super) struct ClientScramSha256 {
    binding: Binding,
    header: String,
    bare: String,
    nonce: Nonce,
    max_iterations: u32,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Begin { password: Secret },
    Asked { password: Secret },
    Proved { server_signature: Signature },
    Verified,
    Failed,
}

/// What the server's signature has to be.
struct Signature(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signature(..)")
    }
}

impl ClientScramSha256 {
    /// `authorization` is the authorization identity; empty means the user.
    ///
    /// # Errors
    ///
    /// [`SaslError::Prohibited`] where SASLprep (RFC 4013) prohibits a name or the password, or
    /// nothing is left of it.
    pub(super) fn new(
        authorization: &str,
        user: &str,
        password: Secret,
        binding: Binding,
        nonce: Nonce,
        max_iterations: u32,
    ) -> Result<Self, SaslError> {
        let authorization = authorization_of(authorization)?;
        // What cannot be sent is better known now than in the middle of the exchange.
        if let std::borrow::Cow::Owned(prepared) =
            prepare(password.as_str().ok_or(SaslError::Prohibited)?)?
        {
            drop(Secret::from(prepared));
        }
        let flag = match &binding {
            Binding::Unsupported => Flag::Unsupported,
            Binding::Unoffered => Flag::Unoffered,
            Binding::Used(binding) => Flag::Used(binding.name()),
        };
        let authorization = Some(&*authorization).filter(|name| !name.is_empty());
        let (header, bare) =
            ClientFirst::write(flag, authorization, &prepare(user)?, nonce.as_str());
        let stage = Stage::Begin { password };
        Ok(Self { binding, header, bare, nonce, max_iterations, stage })
    }

    /// server-first-message: makes client-final-message.
    fn prove(&mut self, password: &Secret, challenge: &[u8]) -> Result<Secret, SaslError> {
        let server_first = ServerFirst::parse(challenge)?;
        // RFC 5802, section 5.1: the nonce is ours, followed by the server's; without the latter an
        // exchange could be replayed.
        let nonce = self.nonce.as_str();
        if !server_first.nonce.starts_with(nonce) || server_first.nonce.len() == nonce.len() {
            return Err(SaslError::Nonce);
        }
        // RFC 7677, section 4: "at least 4096".
        if !(MIN_ITERATIONS..=self.max_iterations).contains(&server_first.iterations) {
            return Err(SaslError::Iterations(server_first.iterations));
        }
        let data = match &self.binding {
            Binding::Used(binding) => binding.data().as_bytes(),
            Binding::Unsupported | Binding::Unoffered => b"",
        };
        let without_proof =
            ClientFinal::write_without_proof(&self.header, data, server_first.nonce);
        let server_first_text = std::str::from_utf8(challenge).map_err(|_| SaslError::Malformed)?;
        let auth_message = auth_message(&self.bare, server_first_text, &without_proof);
        let salted = SaltedPassword::derive(password, &server_first.salt, server_first.iterations)?;
        let proof = proof(&salted.client_key(), &auth_message);
        let server_signature =
            Signature(Zeroizing::new(signature(&salted.server_key(), &auth_message)));
        self.stage = Stage::Proved { server_signature };
        Ok(ClientFinal::write(&without_proof, &proof).into())
    }
}

impl ClientMechanism for ClientScramSha256 {
    fn name(&self) -> &'static str {
        match self.binding {
            Binding::Unsupported | Binding::Unoffered => SCRAM_SHA_256,
            Binding::Used(_) => SCRAM_SHA_256_PLUS,
        }
    }

    fn reveals_secret(&self) -> bool {
        false
    }

    fn initial_response(&mut self) -> Result<Option<Secret>, SaslError> {
        match std::mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Begin { password } => {
                self.stage = Stage::Asked { password };
                Ok(Some(Secret::concat(&[self.header.as_bytes(), self.bare.as_bytes()])))
            }
            _ => Err(SaslError::Malformed),
        }
    }

    /// The first answer takes as long as the server's iteration count wants it to.
    fn respond(&mut self, challenge: &[u8]) -> Result<Secret, SaslError> {
        match std::mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Asked { password } => self.prove(&password, challenge),
            Stage::Proved { server_signature } => {
                let signature = ServerFinal::parse(challenge)?.signature;
                if !bool::from(signature.ct_eq(&*server_signature.0)) {
                    return Err(SaslError::Signature);
                }
                self.stage = Stage::Verified;
                // RFC 4954, section 4: no data comes with the 235, so the signature came as a
                // challenge; it wants no answer.
                Ok(Secret::default())
            }
            Stage::Verified | Stage::Failed => Err(SaslError::UnexpectedChallenge),
            Stage::Begin { .. } => Err(SaslError::Malformed),
        }
    }

    fn accepted(&mut self) -> Result<(), SaslError> {
        match self.stage {
            Stage::Verified => Ok(()),
            // RFC 5802, section 5: a client must see the signature of the server, or else it may
            // speak to another server.
            Stage::Begin { .. } | Stage::Asked { .. } | Stage::Proved { .. } | Stage::Failed => {
                Err(SaslError::Unproven)
            }
        }
    }
}
