//! EXTERNAL (RFC 4422, appendix A): the client's certificate says who it is.

use std::sync::Arc;

use super::{
    Answer, Claim, Exchange, ExchangeStep, Mechanism, OUT_OF_TURN, Question, end, prepare,
};
use crate::channel::Channel;
use crate::sasl::SaslError;
use crate::secret::Secret;

/// EXTERNAL (RFC 4422, appendix A): the client's certificate proves its identity. Offered inside
/// TLS; the caller, which sees the certificate, answers [`Question::External`].
pub fn external() -> Arc<dyn Mechanism> {
    Arc::new(External)
}

#[derive(Debug)]
struct External;

impl Mechanism for External {
    fn name(&self) -> &str {
        "EXTERNAL"
    }

    fn is_offered(&self, channel: &Channel) -> bool {
        channel.tls().is_some()
    }

    fn begin(&self, _: &Channel, _: &[&str]) -> Box<dyn Exchange> {
        Box::new(Outside::default())
    }
}

#[derive(Debug, Default)]
struct Outside {
    claim: Claim,
    heard: bool,
}

impl Exchange for Outside {
    fn respond(&mut self, response: &Secret) -> ExchangeStep {
        if std::mem::replace(&mut self.heard, true) {
            return OUT_OF_TURN;
        }
        // RFC 4422, appendix A.1: UTF-8 without NUL; empty if the client names no user to act as.
        let authorization = match response.as_str() {
            Some("") => Ok(None),
            Some(name) if !name.contains('\0') => prepare(name).map(|name| Some(name.into_owned())),
            _ => Err(SaslError::Malformed),
        };
        match authorization {
            Ok(authorization) => {
                self.claim.authorization.clone_from(&authorization);
                ExchangeStep::Ask(Question::External { authorization })
            }
            Err(error) => ExchangeStep::Failed(error.into()),
        }
    }

    fn answer(&mut self, answer: Answer) -> ExchangeStep {
        end(self.claim.judge(answer))
    }
}
