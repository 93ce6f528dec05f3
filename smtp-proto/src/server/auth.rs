//! AUTH: one exchange at a time, between the client, a mechanism and the caller (RFC 4954, section
//! 4).

use super::{Question, Server, ServerEvent, State, replies};
use crate::error::ApiMisuse;
use crate::sasl::server as sasl;
use crate::sasl::server::{Answer, Exchange, ExchangeStep, Failure, Identity};
use crate::sasl::{decode_base64, encode_base64};
use crate::secret::Secret;
use crate::wire::command::InitialResponse;
use crate::wire::line::LineError;
use crate::wire::reply::Response;

/// An exchange that is under way.
#[derive(Debug)]
pub(super) struct Running {
    exchange: Box<dyn Exchange>,
    /// What the caller may say.
    wanted: Wanted,
    /// What comes of the caller's answer.
    due: Option<ExchangeStep>,
}

impl Server {
    /// Answers [`ServerEvent::Authenticate`]. What comes of it is said at the next poll.
    ///
    /// ```
    /// use std::{sync::Arc, time::Instant};
    /// use smtp_proto::channel::{Channel, Peer, TlsInfo};
    /// use smtp_proto::wire::reply::Response;
    /// use smtp_proto::Secret;
    /// use smtp_proto::sasl::server::{Answer, Plain, Question};
    /// use smtp_proto::server::{ServerConfig, ServerEvent, Server};
    /// use smtp_proto::{Step, Want};
    ///
    /// let mut config = ServerConfig::new("mail.test.example".parse()?);
    /// config.mechanisms = vec![Arc::new(Plain)];
    /// let tls = TlsInfo::new(Peer::Unauthenticated, "TLSv1.3", "TLS_AES_128_GCM_SHA256");
    /// let now = Instant::now();
    /// let mut server = Server::new(Arc::new(config), Channel::Implicit(Arc::new(tls)), now);
    /// // RFC 4954, section 4.1.
    /// let mut input: &[u8] = b"EHLO client.test.example\r\nAUTH PLAIN dGVzdAB0ZXN0ADEyMzQ=\r\n";
    /// let mut output = Vec::new();
    /// loop {
    ///     let progress = server.poll(input, &mut output, now)?;
    ///     input = &input[progress.consumed..];
    ///     match progress.step {
    ///         Step::Event(ServerEvent::Authenticate(Question::Password { user, password })) => {
    ///             // Here a real server looks the user up, and takes its time.
    ///             let right = user == "test" && password == Secret::from("1234");
    ///             server.answer(if right { Answer::Accepted(user) } else { Answer::Refused })?;
    ///         }
    ///         Step::Event(ServerEvent::Authenticate(_)) => server.answer(Answer::Refused)?,
    ///         Step::Event(ServerEvent::Authenticated(identity)) => assert_eq!(identity.authorization, "test"),
    ///         Step::Event(ServerEvent::Connected) => server.respond(&Response::fixed(220, (2, 0, 0), ""), &mut output)?,
    ///         Step::Event(_) => server.respond(&Response::fixed(250, (2, 0, 0), ""), &mut output)?,
    ///         Step::Wait(want) => break assert_eq!(want, Want::Input),
    ///     }
    /// }
    /// assert!(output.ends_with(b"235 2.7.0 authentication succeeded\r\n"));
    /// assert_eq!(server.identity().map(|identity| identity.user.as_str()), Some("test"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ApiMisuse::NoResponseWanted`] if nothing was asked, [`ApiMisuse::WrongAnswer`] if
    /// something else was.
    pub fn answer(&mut self, answer: Answer) -> Result<(), ApiMisuse> {
        let (State::Asked(Question::Auth), Some(running)) = (self.state, &mut self.exchange) else {
            return Err(ApiMisuse::NoResponseWanted);
        };
        if !running.wanted.allows(&answer) {
            return Err(ApiMisuse::WrongAnswer);
        }
        running.wanted = Wanted::Nothing;
        running.due = Some(running.exchange.answer(answer));
        self.state = State::AuthDue;
        self.since = None;
        Ok(())
    }

    /// Who has authenticated on this connection, or whom XCLIENT names in `LOGIN`. Neither EHLO nor
    /// RSET forgets it; STARTTLS (RFC 3207, section 4.2) and XCLIENT do.
    pub const fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Whether what the last poll has consumed may hold credentials: wipe it when it is dropped.
    /// While [`phase`](Self::phase) is [`Phase::Auth`](crate::timeouts::Phase::Auth) more may come;
    /// with room for [`ServerLimits::auth_line`](super::ServerLimits::auth_line) octets the buffer
    /// need not grow, which would leave a copy behind.
    pub const fn has_read_secrets(&self) -> bool {
        self.read_secrets
    }

    /// AUTH names a mechanism: its first step, or why there is none.
    pub(super) fn begin_auth(
        &mut self,
        name: &str,
        initial: Option<InitialResponse<'_>>,
    ) -> Result<ExchangeStep, Response> {
        let offer = self.config.offer(&self.channel);
        let mut exchange = offer.find(name).ok_or(replies::UNKNOWN_MECHANISM)?.begin(&offer);
        let step = match initial {
            None => ExchangeStep::Challenge(exchange.first_challenge()),
            Some(_) if !exchange.takes_initial_response() => {
                ExchangeStep::Failed(Failure::InitialResponse)
            }
            // RFC 4954, section 4: a response of zero length.
            Some(initial) if initial.as_str() == "=" => exchange.respond(&Secret::default()),
            Some(initial) => step(&mut *exchange, initial.as_str().as_bytes()),
        };
        self.exchange = Some(Box::new(Running { exchange, wanted: Wanted::Nothing, due: None }));
        Ok(step)
    }

    /// A line of the client's.
    pub(super) fn on_auth_line(
        &mut self,
        line: &[u8],
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'static>> {
        let step = match &mut self.exchange {
            _ if line == b"*" => ExchangeStep::Failed(Failure::Cancelled),
            Some(running) => step(&mut *running.exchange, line),
            None => ExchangeStep::Failed(Failure::Malformed),
        };
        self.on_auth_step(step, output)
    }

    pub(super) fn on_broken_auth_line(
        &mut self,
        error: LineError,
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'static>> {
        let failure = match error {
            LineError::TooLong => Failure::LineTooLong,
            LineError::BareCr | LineError::BareLf => Failure::BrokenLine,
        };
        self.on_auth_step(ExchangeStep::Failed(failure), output)
    }

    /// A response in place of an answer.
    pub(super) fn on_failed_question(&mut self, response: &Response) {
        if let Some(running) = &mut self.exchange {
            running.due = Some(ExchangeStep::Failed(Failure::Response(response.clone())));
        }
        self.state = State::AuthDue;
    }

    pub(super) fn next_auth_step(&mut self, output: &mut Vec<u8>) -> Option<ServerEvent<'static>> {
        let due = self.exchange.as_mut().and_then(|running| running.due.take());
        self.on_auth_step(due.unwrap_or(ExchangeStep::Failed(Failure::Unavailable)), output)
    }

    pub(super) fn ask_for_auth(&mut self, question: sasl::Question) -> ServerEvent<'static> {
        if let Some(running) = &mut self.exchange {
            running.wanted = Wanted::by(&question);
        }
        self.ask(Question::Auth, ServerEvent::Authenticate(question))
    }

    /// Octets that a line may have.
    pub(super) fn line_limit(&self, line: &[u8]) -> usize {
        let limits = &self.config.limits;
        let auth = self.state == State::Auth || is_auth(line) && !self.config.mechanisms.is_empty();
        if auth { limits.auth_line.max(limits.command_line) } else { limits.command_line }
    }

    /// RFC 4954, section 6: what is about mail wants an identity first.
    pub(super) fn needs_auth(&self) -> bool {
        self.config.auth_required && self.identity.is_none()
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

fn step(exchange: &mut dyn Exchange, line: &[u8]) -> ExchangeStep {
    match decode_base64(line) {
        Ok(response) => exchange.respond(&response),
        Err(error) => ExchangeStep::Failed(error.into()),
    }
}

/// Whether a line begins as AUTH does.
pub(super) fn is_auth(line: &[u8]) -> bool {
    line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"))
}

/// 334 with the challenge and nothing else (RFC 4954, section 4). It is no text, so no line is
/// broken.
pub(super) fn write_challenge(challenge: &[u8], output: &mut Vec<u8>) {
    output.extend_from_slice(b"334 ");
    encode_base64(challenge, output);
    output.extend_from_slice(b"\r\n");
}
