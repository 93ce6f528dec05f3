//! AUTH: one exchange at a time, between the client, a mechanism and the caller (RFC 4954, section
//! 4).

use super::exchange::Running;
use super::state::{Question, State};
use super::{Server, ServerEvent, replies};
use crate::error::ApiMisuse;
use crate::sasl::encode_base64;
use crate::sasl::server::{Answer, ExchangeStep, Failure, Identity};
use crate::wire::command::InitialResponse;
use crate::wire::line::LineError;
use crate::wire::reply::Response;

impl Server {
    /// Answers [`ServerEvent::Authenticate`]. What comes of it is said at the next poll.
    ///
    /// ```
    /// use std::{sync::Arc, time::Instant};
    /// use smtp_proto::channel::{Channel, Peer, TlsInfo};
    /// use smtp_proto::wire::reply::Response;
    /// use smtp_proto::Secret;
    /// use smtp_proto::sasl::server::{Answer, Question, plain};
    /// use smtp_proto::server::{ServerConfig, ServerEvent, Server};
    /// use smtp_proto::{Step, Want};
    ///
    /// let mut config = ServerConfig::new("mail.test.example".parse()?);
    /// config.mechanisms = vec![plain()];
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
        let State::Asked(Question::Auth(running)) = &self.state else {
            return Err(ApiMisuse::NoResponseWanted);
        };
        if !running.allows(&answer) {
            return Err(ApiMisuse::WrongAnswer);
        }
        self.on_answer(answer);
        self.pace.restart_at_next_poll();
        Ok(())
    }

    /// The user that has authenticated on this connection, or that XCLIENT names in `LOGIN`. EHLO
    /// and RSET keep it; STARTTLS (RFC 3207, section 4.2) and XCLIENT forget it.
    pub const fn identity(&self) -> Option<&Identity> {
        self.session.identity.as_ref()
    }

    /// Whether what the last poll has consumed may hold credentials: wipe it when it is dropped.
    /// While [`phase`](Self::phase) is [`Phase::Auth`](crate::timeouts::Phase::Auth) more may come;
    /// a buffer with room for [`ServerLimits::auth_line`](super::ServerLimits::auth_line) octets
    /// need not grow, so that no copy is left in memory.
    pub const fn has_read_secrets(&self) -> bool {
        self.read_secrets
    }

    /// AUTH: the exchange with its first step, or why there is none.
    pub(super) fn begin_auth(
        &self,
        name: &str,
        initial: Option<InitialResponse<'_>>,
    ) -> Result<(Box<Running>, ExchangeStep), Response> {
        let mut offered = self.config.offered(&self.channel);
        let mechanism = offered.find(|it| it.name().eq_ignore_ascii_case(name));
        let mechanism = mechanism.ok_or(replies::UNKNOWN_MECHANISM)?;
        let names: Vec<&str> = self.config.offered(&self.channel).map(|it| it.name()).collect();
        let exchange = mechanism.begin(&self.channel, &names);
        let (running, step) = Running::begin(exchange, initial);
        Ok((Box::new(running), step))
    }

    /// A line of the client's.
    pub(super) fn on_auth_line(
        &mut self,
        line: &[u8],
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'static>> {
        self.on_auth_response(
            |running| match line {
                b"*" => ExchangeStep::Failed(Failure::Cancelled),
                _ => running.respond(line),
            },
            output,
        )
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
        self.on_auth_response(|_| ExchangeStep::Failed(failure), output)
    }

    /// Octets that a line may have.
    pub(super) fn line_limit(&self, line: &[u8]) -> usize {
        let limits = &self.config.limits;
        let auth = matches!(self.state, State::Auth(_))
            || is_auth(line) && !self.config.mechanisms.is_empty();
        if auth { limits.auth_line.max(limits.command_line) } else { limits.command_line }
    }

    /// RFC 4954, section 6: what is about mail wants an identity first.
    pub(super) fn needs_auth(&self) -> bool {
        self.config.auth_required && self.session.identity.is_none()
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
