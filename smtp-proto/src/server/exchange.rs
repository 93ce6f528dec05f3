//! One AUTH exchange between the client, a SASL mechanism and the caller.

use crate::sasl::decode_base64;
use crate::sasl::server as sasl;
use crate::sasl::server::{Answer, Exchange, ExchangeStep, Failure};
use crate::secret::Secret;
use crate::wire::command::InitialResponse;

/// An exchange that is under way.
#[derive(Debug)]
pub(super) struct Running {
    exchange: Box<dyn Exchange>,
    /// Answers that fit the last question.
    wanted: Wanted,
}

impl Running {
    /// The exchange with its first step.
    pub(super) fn begin(
        mut exchange: Box<dyn Exchange>,
        initial: Option<InitialResponse<'_>>,
    ) -> (Self, ExchangeStep) {
        let step = match initial {
            None => ExchangeStep::Challenge(exchange.first_challenge()),
            Some(_) if !exchange.takes_initial_response() => {
                ExchangeStep::Failed(Failure::InitialResponse)
            }
            // RFC 4954, section 4: a response of zero length.
            Some(initial) if initial.as_str() == "=" => exchange.respond(&Secret::default()),
            Some(initial) => respond(&mut *exchange, initial.as_str().as_bytes()),
        };
        (Self { exchange, wanted: Wanted::Nothing }, step)
    }

    /// Whether the caller's answer fits the last question.
    pub(super) fn allows(&self, answer: &Answer) -> bool {
        self.wanted.allows(answer)
    }

    pub(super) fn answer(&mut self, answer: Answer) -> ExchangeStep {
        self.exchange.answer(answer)
    }

    pub(super) fn expect_answer_to(&mut self, question: &sasl::Question) {
        self.wanted = Wanted::by(question);
    }

    /// A line of the client's.
    pub(super) fn respond(&mut self, line: &[u8]) -> ExchangeStep {
        respond(&mut *self.exchange, line)
    }
}

/// What a question can be answered with, besides a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Nothing,
    Name,
    Keys,
    /// A name, or what only the mechanism understands.
    Other,
}

impl Wanted {
    fn by(question: &sasl::Question) -> Self {
        match question {
            sasl::Question::Keys { .. } => Self::Keys,
            sasl::Question::Other(_) => Self::Other,
            _ => Self::Name,
        }
    }

    fn allows(self, answer: &Answer) -> bool {
        match answer {
            _ if self == Self::Nothing => false,
            Answer::Accepted(_) => self != Self::Keys,
            Answer::Keys(_) => self == Self::Keys,
            Answer::Other(_) => self == Self::Other,
            Answer::Failed(response) => matches!(response.code(), 400..=599),
            Answer::Refused | Answer::Unavailable => true,
        }
    }
}

fn respond(exchange: &mut dyn Exchange, line: &[u8]) -> ExchangeStep {
    match decode_base64(line) {
        Ok(response) => exchange.respond(&response),
        Err(error) => ExchangeStep::Failed(error.into()),
    }
}
