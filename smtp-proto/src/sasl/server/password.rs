//! PLAIN (RFC 4616) and LOGIN: the client sends the password.

use std::sync::Arc;

use super::{Answer, Claim, Exchange, ExchangeStep, Mechanism, OUT_OF_TURN, Question, end};
use crate::channel::Channel;
use crate::sasl::SaslError;
use crate::secret::Secret;

/// PLAIN (RFC 4616): names and password in one message. A server that offers AUTH must offer PLAIN
/// inside TLS (RFC 4954, section 4).
pub fn plain() -> Arc<dyn Mechanism> {
    Arc::new(Plain)
}

/// LOGIN, which is in no RFC: the server asks for the name, then for the password. Some older
/// clients know no other mechanism, and some of them send the name with AUTH.
pub fn login() -> Arc<dyn Mechanism> {
    Arc::new(Login)
}

#[derive(Debug)]
struct Plain;

impl Mechanism for Plain {
    fn name(&self) -> &str {
        "PLAIN"
    }

    fn begin(&self, _: &Channel, _: &[&str]) -> Box<dyn Exchange> {
        Box::new(OneMessage(None))
    }
}

#[derive(Debug)]
struct OneMessage(Option<Claim>);

impl Exchange for OneMessage {
    fn respond(&mut self, response: &Secret) -> ExchangeStep {
        if self.0.is_some() {
            return OUT_OF_TURN;
        }
        match read_plain(response) {
            Ok((claim, password)) => {
                let user = claim.user.clone();
                self.0 = Some(claim);
                ExchangeStep::Ask(Question::Password { user, password })
            }
            Err(error) => ExchangeStep::Failed(error.into()),
        }
    }

    fn answer(&mut self, answer: Answer) -> ExchangeStep {
        end(self.0.get_or_insert_default().judge(answer))
    }
}

/// RFC 4616, section 2: `[authzid] NUL authcid NUL passwd`, in UTF-8; the last two are not empty.
fn read_plain(message: &Secret) -> Result<(Claim, Secret), SaslError> {
    let mut parts = message.as_str().ok_or(SaslError::Malformed)?.split('\0');
    let (Some(authorization), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SaslError::Malformed);
    };
    if user.is_empty() || password.is_empty() {
        return Err(SaslError::Malformed);
    }
    let authorization = Some(authorization).filter(|name| !name.is_empty());
    Ok((Claim::new(user, authorization)?, Secret::from(password)))
}

#[derive(Debug)]
struct Login;

impl Mechanism for Login {
    fn name(&self) -> &str {
        "LOGIN"
    }

    fn begin(&self, _: &Channel, _: &[&str]) -> Box<dyn Exchange> {
        Box::new(TwoMessages::User)
    }
}

#[derive(Debug)]
enum TwoMessages {
    User,
    Password(Claim),
    Asked(Claim),
}

impl Exchange for TwoMessages {
    // Clients look for these words.
    fn first_challenge(&self) -> Vec<u8> {
        b"Username:".to_vec()
    }

    fn respond(&mut self, response: &Secret) -> ExchangeStep {
        let text = response.as_str().filter(|text| !text.is_empty() && !text.contains('\0'));
        let Some(text) = text else { return ExchangeStep::Failed(SaslError::Malformed.into()) };
        match std::mem::replace(self, Self::User) {
            Self::User => match Claim::new(text, None) {
                Ok(claim) => {
                    *self = Self::Password(claim);
                    ExchangeStep::Challenge(b"Password:".to_vec())
                }
                Err(error) => ExchangeStep::Failed(error.into()),
            },
            Self::Password(claim) => {
                let user = claim.user.clone();
                *self = Self::Asked(claim);
                ExchangeStep::Ask(Question::Password { user, password: response.clone() })
            }
            Self::Asked(_) => OUT_OF_TURN,
        }
    }

    fn answer(&mut self, answer: Answer) -> ExchangeStep {
        match self {
            Self::Asked(claim) => end(claim.judge(answer)),
            Self::User | Self::Password(_) => OUT_OF_TURN,
        }
    }
}
