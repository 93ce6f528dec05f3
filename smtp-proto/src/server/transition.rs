//! Every transition of the server: which command and which response lead where.

use super::auth::write_challenge;
use super::{
    Chunk, Needs, Question, Said, Server, ServerEvent, StartTls, State, Transfer, replies,
};
use crate::Protocol;
use crate::channel::Channel;
use crate::sasl::server::{ExchangeStep, Identity};
use crate::wire::command::{Command, CommandError, XclientValue};
use crate::wire::line::LineError;
use crate::wire::params::{BodyType, ByMode, Hold, MailParameters, RcptParameters, Xtext};
use crate::wire::path::{ForwardPath, ReversePath};
use crate::wire::reply::Response;

impl Server {
    pub(super) fn on_line<'i>(
        &mut self,
        line: &'i [u8],
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'i>> {
        self.commands += 1;
        match Command::parse(line, self.config.addresses) {
            Ok(command) if self.exceeds_idle(&command) => {
                self.say(&replies::TOO_MANY_IDLE, output);
                self.state = State::Closing;
                None
            }
            Ok(command) => self.on_command(command, output),
            // RFC 3207, section 4: a MAIL or RCPT with a flaw is a MAIL or RCPT all the same.
            Err(
                CommandError::Sender(_) | CommandError::Recipient(_) | CommandError::Parameter(_),
            ) if self.needs_tls() => self.refuse(&replies::TLS_FIRST, output),
            Err(CommandError::Queue | CommandError::Attribute | CommandError::Uri)
                if self.needs_tls() =>
            {
                self.refuse(&replies::TLS_FIRST, output)
            }
            Err(CommandError::ChunkSize) => {
                self.say(&replies::MALFORMED_BDAT, output);
                self.state = State::Closing;
                None
            }
            Err(error) => self.refuse(&replies::command(error), output),
        }
    }

    pub(super) fn on_broken_line(
        &mut self,
        error: LineError,
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'static>> {
        self.commands += 1;
        self.refuse(&replies::line(error), output)
    }

    fn on_command<'i>(
        &mut self,
        command: Command<'i>,
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'i>> {
        if matches!(command, Command::Quit) {
            self.say(&replies::BYE, output);
            self.state = State::Closing;
            return None;
        }
        if let Command::Bdat { size, last } = command {
            return self.on_bdat(Chunk { left: size, last });
        }
        if self.barred.is_some() {
            return self.refuse(&replies::BARRED, output);
        }
        let lmtp = self.config.protocol == Protocol::Lmtp;
        let clear = matches!(self.channel, Channel::Plain);
        match command {
            Command::Quit | Command::Bdat { .. } => None,
            // RFC 2033, section 4.1: LHLO, and a server of the one protocol refuses the hello of
            // the other.
            Command::Ehlo(_) | Command::Helo(_) if lmtp => {
                self.refuse(&replies::UNKNOWN_COMMAND, output)
            }
            Command::Lhlo(_) if !lmtp => self.refuse(&replies::UNKNOWN_COMMAND, output),
            Command::Noop(_) => self.done(&replies::OK, output),
            Command::Ehlo(name) | Command::Lhlo(name) => Some(self.ask(
                Question::Hello { extended: true },
                ServerEvent::Hello { name, extended: true },
            )),
            Command::StartTls if !clear => self.refuse(&replies::TLS_ALREADY, output),
            Command::StartTls if self.config.starttls == StartTls::No => {
                self.refuse(&replies::NOT_OFFERED, output)
            }
            Command::StartTls if self.said != Said::Ehlo => {
                self.refuse(&replies::HELLO_FIRST, output)
            }
            Command::StartTls => Some(self.ask(Question::StartTls, ServerEvent::StartTls)),

            Command::Unknown { verb, .. } if self.commands == 1 && is_http(verb) => {
                self.say(&replies::NOT_HTTP, output);
                self.state = State::Closing;
                None
            }
            // RFC 3207, section 4: everything but the commands above.
            _ if self.needs_tls() => self.refuse(&replies::TLS_FIRST, output),

            Command::Auth { .. } if self.config.mechanisms.is_empty() => {
                self.refuse(&replies::NOT_OFFERED, output)
            }
            Command::Auth { .. } if self.said != Said::Ehlo => {
                self.refuse(&replies::HELLO_FIRST, output)
            }
            // RFC 4954, section 4: once, and not in a transaction.
            Command::Auth { .. } if self.identity.is_some() => {
                self.refuse(&replies::AUTHENTICATED_ALREADY, output)
            }
            Command::Auth { .. } if self.mail => self.refuse(&replies::TRANSACTION_OPEN, output),
            Command::Auth { .. } if clear && !self.config.auth_in_clear => {
                self.refuse(&replies::ENCRYPTION_FIRST, output)
            }
            Command::Auth { mechanism, initial } => match self.begin_auth(mechanism, initial) {
                Ok(step) => self.on_auth_step(step, output),
                Err(response) => self.refuse(&response, output),
            },

            Command::Helo(name) => Some(self.ask(
                Question::Hello { extended: false },
                ServerEvent::Hello { name, extended: false },
            )),
            Command::Rset => {
                self.reset();
                self.say(&replies::OK, output);
                Some(ServerEvent::Reset)
            }
            Command::Mail { .. } | Command::Rcpt { .. } | Command::Data
                if self.said == Said::Nothing =>
            {
                self.refuse(&replies::HELLO_FIRST, output)
            }
            Command::Mail { .. }
            | Command::Rcpt { .. }
            | Command::Data
            | Command::Vrfy { .. }
            | Command::Expn { .. }
            | Command::Etrn(_)
                if self.needs_auth() =>
            {
                self.refuse(&replies::AUTH_FIRST, output)
            }
            Command::Mail { .. } if self.mail => self.refuse(&replies::NESTED_MAIL, output),
            Command::Mail { path, mut parameters } => match self.refusal_of_mail(path, &parameters)
            {
                Some((response, true)) => self.refuse(&response, output),
                Some((response, false)) => self.done(&response, output),
                None => {
                    let binary = parameters.body == Some(BodyType::BinaryMime);
                    let needs = Needs { utf8: parameters.smtputf8, binary };
                    // RFC 4954, section 5: "if the client is not authenticated, then the server
                    // MUST behave as if the AUTH=<> parameter was supplied".
                    if self.identity.is_none() {
                        parameters.auth = parameters.auth.map(|_| Xtext::NOBODY);
                    }
                    Some(self.ask(Question::Mail(needs), ServerEvent::Mail { path, parameters }))
                }
            },
            Command::Rcpt { .. } | Command::Data if !self.mail => {
                self.refuse(&replies::MAIL_FIRST, output)
            }
            Command::Rcpt { .. } | Command::Data if self.transfer != Transfer::None => {
                self.refuse(&replies::BODY_BEGUN, output)
            }
            Command::Rcpt { path, parameters } => match self.refusal_of_rcpt(path, &parameters) {
                Some(response) => self.refuse(&response, output),
                None if self.recipients >= self.config.limits.recipients => {
                    self.done(&replies::TOO_MANY_RECIPIENTS, output)
                }
                None if self.exceeds_domains(path) => self.done(&replies::TOO_MANY_DOMAINS, output),
                None => {
                    Some(self.ask(Question::Recipient, ServerEvent::Recipient { path, parameters }))
                }
            },
            Command::Data if self.recipients == 0 && lmtp => {
                self.refuse(&replies::RCPT_FIRST, output)
            }
            Command::Data if self.recipients > 0 && self.needs.binary => {
                self.refuse(&replies::BDAT_ONLY, output)
            }
            Command::Data if self.recipients == 0 => self.refuse(&replies::NO_RECIPIENTS, output),
            Command::Data => Some(self.ask(Question::Data, ServerEvent::Data)),
            // RFC 6531, section 3.7.4.2.
            Command::Vrfy { smtputf8: true, .. } | Command::Expn { smtputf8: true, .. }
                if !self.config.announces_smtputf8() =>
            {
                self.refuse(&replies::UNKNOWN_PARAMETER, output)
            }
            Command::Vrfy { text, smtputf8: false } | Command::Expn { text, smtputf8: false }
                if !text.is_ascii() =>
            {
                self.refuse(&replies::NON_ASCII_ADDRESS, output)
            }
            Command::Vrfy { .. } | Command::Expn { .. } | Command::Help(_) => {
                Some(self.ask(Question::Other, ServerEvent::Other(command)))
            }
            Command::Unknown { verb, .. } if is_listed(&self.config.verbs, verb) => {
                Some(self.ask(Question::Other, ServerEvent::Other(command)))
            }
            Command::Etrn(_) if !self.config.etrn => self.refuse(&replies::NOT_OFFERED, output),
            Command::Etrn(_) if self.said == Said::Nothing => {
                self.refuse(&replies::HELLO_FIRST, output)
            }
            // RFC 1985, section 5: illegal between MAIL and the end of the message.
            Command::Etrn(_) if self.mail => self.refuse(&replies::TRANSACTION_OPEN, output),
            Command::Etrn(queue) if !queue.is_ascii() && !self.config.announces_smtputf8() => {
                self.refuse(&replies::NON_ASCII_ADDRESS, output)
            }
            Command::Etrn(_) => Some(self.ask(Question::Other, ServerEvent::Other(command))),
            Command::Xclient(_) if self.config.xclient.is_empty() => {
                self.refuse(&replies::NOT_OFFERED, output)
            }
            Command::Xclient(_) if self.mail => self.refuse(&replies::TRANSACTION_OPEN, output),
            Command::Xclient(client)
                if client.names().any(|name| !self.config.xclient.contains(&name)) =>
            {
                self.refuse(&replies::UNKNOWN_ATTRIBUTE, output)
            }
            Command::Xclient(client) => {
                self.login = client.login.and_then(login);
                Some(self.ask(Question::Xclient, ServerEvent::Xclient(client)))
            }
            Command::Burl { uri, last } => self.on_burl(uri, last, output),
            Command::Unknown { .. } => {
                self.unknown_commands += 1;
                if self.unknown_commands > self.config.limits.unknown_commands {
                    self.say(&replies::TOO_MANY_UNKNOWN, output);
                    self.state = State::Closing;
                    return None;
                }
                self.refuse(&replies::UNKNOWN_COMMAND, output)
            }
        }
    }

    /// Counts a command that brings no message forward; whether it is one too many.
    fn exceeds_idle(&mut self, command: &Command<'_>) -> bool {
        let idle = match command {
            Command::Noop(_)
            | Command::Rset
            | Command::Vrfy { .. }
            | Command::Expn { .. }
            | Command::Help(_) => true,
            Command::Ehlo(_)
            | Command::Helo(_)
            | Command::Lhlo(_)
            | Command::Etrn(_)
            | Command::Xclient(_) => true,
            Command::Auth { .. } => true,
            Command::Unknown { verb, .. } => is_listed(&self.config.verbs, verb),
            _ => false,
        };
        self.idle_commands += usize::from(idle);
        idle && self.idle_commands > self.config.limits.idle_commands
    }

    /// Why a MAIL cannot be put before the caller, and whether that is an error of the client's.
    fn refusal_of_mail(
        &self,
        path: ReversePath<'_>,
        parameters: &MailParameters<'_>,
    ) -> Option<(Response, bool)> {
        let config = &*self.config;
        let clear = matches!(self.channel, Channel::Plain);
        // RFC 8689, section 2: offered and taken inside TLS only. RFC 8689, section 5: 5.7.30.
        if parameters.require_tls && (clear || !config.require_tls) {
            return Some((replies::NO_REQUIRETLS, true));
        }
        // RFC 5321, section 4.1.1.11: parameters of what was not announced are not known.
        let strange = parameters.unknown().any(|keyword| !is_listed(&config.mail_parameters, keyword))
            || parameters.size.is_some() && config.size_limit.is_none()
            || parameters.body.is_some_and(|body| !config.takes(body))
            || parameters.smtputf8 && !config.announces_smtputf8()
            || (parameters.ret.is_some() || parameters.envelope_id.is_some()) && !config.dsn
            || parameters.priority.is_some() && config.mt_priority.is_none()
            || parameters.deliver_by.is_some() && config.deliver_by.is_none()
            || parameters.hold.is_some() && config.future_release.is_none()
            // RFC 4954, section 5: it goes with AUTH.
            || parameters.auth.is_some() && config.offer(&self.channel).mechanisms().next().is_none();
        if strange {
            return Some((replies::UNKNOWN_PARAMETER, true));
        }
        if !path.as_str().is_ascii() && !parameters.smtputf8 {
            return Some((replies::NON_ASCII_ADDRESS, true));
        }
        if config.limits.transactions.is_some_and(|limit| self.transactions >= limit) {
            return Some((replies::TOO_MANY_TRANSACTIONS, false));
        }
        if parameters.size.zip(config.size_limit).is_some_and(|(size, limit)| size > limit) {
            return Some((replies::TOO_LARGE, false));
        }
        // RFC 2852, section 2: a minimum holds for the mode R.
        if parameters.deliver_by.is_some_and(|by| {
            by.mode() == ByMode::Return
                && config.deliver_by.is_some_and(|minimum| i64::from(by.seconds()) < minimum.into())
        }) {
            return Some((replies::TOO_SOON, false));
        }
        match (parameters.hold, config.future_release) {
            // RFC 4865, section 4.
            (Some(Hold::For(seconds)), Some(limits)) if seconds > limits.longest => {
                Some((replies::TOO_LATE, false))
            }
            _ => None,
        }
    }

    fn refusal_of_rcpt(
        &self,
        path: ForwardPath<'_>,
        parameters: &RcptParameters<'_>,
    ) -> Option<Response> {
        let strange =
            parameters.unknown().any(|keyword| !is_listed(&self.config.rcpt_parameters, keyword))
                || (parameters.notify.is_some() || parameters.orcpt.is_some()) && !self.config.dsn;
        if strange {
            return Some(replies::UNKNOWN_PARAMETER);
        }
        // RFC 6531, section 3.5; RFC 6533, section 3 for ORCPT.
        let ascii = path.as_str().is_ascii()
            && parameters.orcpt.is_none_or(|orcpt| orcpt.as_str().is_ascii());
        (!ascii && !self.needs.utf8).then_some(replies::NON_ASCII_ADDRESS)
    }

    /// Whether the domain of a recipient is one too many (RFC 9422, section 4.3). If not it is
    /// remembered, at the end of the list, until the recipient is refused.
    fn exceeds_domains(&mut self, path: ForwardPath<'_>) -> bool {
        let Some(limit) = self.config.limits.recipient_domains else { return false };
        let Some(domain) = path.mailbox().map(|mailbox| mailbox.domain().as_str()) else {
            return false;
        };
        if self.domains.iter().any(|known| known.eq_ignore_ascii_case(domain)) {
            return false;
        }
        let exceeds = self.domains.len() >= limit;
        if !exceeds {
            self.domains.push(domain.to_owned());
            self.new_domain = true;
        }
        exceeds
    }

    fn needs_tls(&self) -> bool {
        matches!(self.channel, Channel::Plain) && self.config.starttls == StartTls::Required
    }

    /// Says something that is nobody's fault.
    fn done(&self, response: &Response, output: &mut Vec<u8>) -> Option<ServerEvent<'static>> {
        self.say(response, output);
        None
    }

    /// Refuses a command, and the client itself when that was one too many. Who is barred is told
    /// so, whatever is wrong with the command (RFC 5321, section 3.1).
    pub(super) fn refuse(
        &mut self,
        response: &Response,
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'static>> {
        self.errors += 1;
        if self.errors > self.config.limits.errors {
            self.say(&replies::TOO_MANY_ERRORS, output);
            self.state = State::Closing;
        } else {
            self.say(self.barred.as_ref().unwrap_or(response), output);
        }
        None
    }

    pub(super) fn on_response(
        &mut self,
        question: Question,
        response: &Response,
        output: &mut Vec<u8>,
    ) {
        let positive = response.code() / 100 == 2;
        self.state = State::Command;
        match question {
            Question::Connected => {
                self.greeting = true;
                self.greet(response, output);
                if !positive {
                    // RFC 5321, section 3.1: after 554 the server waits for QUIT and answers
                    // everything else with 503.
                    self.barred = Some(replies::BARRED);
                }
            }
            Question::Xclient if positive => {
                self.reset();
                self.said = Said::Nothing;
                // As whom the client has authenticated, the proxy says; what it has said for itself
                // is no more.
                self.identity = self.login.take();
                self.greet(response, output);
            }
            // RFC 2034, section 4: no enhanced codes in the replies to EHLO and HELO.
            Question::Hello { extended } if positive => {
                self.reset();
                self.said = if extended { Said::Ehlo } else { Said::Helo };
                if extended {
                    self.write_capabilities(response, output);
                } else {
                    Response::new(response.code(), (0, 0, 0), self.named(response, ""))
                        .write(false, output);
                }
            }
            Question::Hello { .. } => response.write(false, output),
            // The 220 is written when it is clear that nothing stands behind the command.
            Question::StartTls if positive => self.state = State::TlsGranted,
            Question::Mail(needs) => {
                self.mail = positive;
                self.needs = if positive { needs } else { Needs::default() };
                self.transactions += usize::from(positive);
                self.say(response, output);
            }
            Question::Recipient => {
                self.recipients += usize::from(positive);
                if std::mem::take(&mut self.new_domain) && !positive {
                    self.domains.pop();
                }
                self.say(response, output);
            }
            Question::Data => {
                if response.code() == 354 {
                    self.state = State::Body;
                }
                self.say(response, output);
            }
            Question::Chunk if response.code() == 354 => self.state = State::Chunk,
            Question::Chunk if response.code() == 421 => self.say(response, output),
            // RFC 3030, section 2: the answer comes behind the chunk. Without the last one there
            // must be a RSET.
            Question::Chunk => {
                self.transfer = Transfer::Failed;
                if self.chunk.last {
                    self.reset();
                }
                self.drop_chunk(response.clone(), false);
            }
            // The word on the message is that of `EndOfBody`.
            Question::Fetch { last: true } if positive => {
                self.transfer = Transfer::Chunks;
                self.state = State::BodyEnded;
            }
            Question::Fetch { .. } if positive => {
                self.transfer = Transfer::Chunks;
                self.say(response, output);
            }
            // RFC 4468, section 3.2: the entire transaction fails.
            Question::Fetch { last } => {
                self.transfer = Transfer::Failed;
                self.pace.forget_body();
                if last {
                    self.reset();
                }
                self.say(response, output);
            }
            Question::EndOfBody => {
                for _ in 0..self.deliveries {
                    self.say(response, output);
                }
            }
            Question::StartTls | Question::Xclient | Question::Other => self.say(response, output),
            // What the mechanism makes of it comes at the next poll.
            Question::Auth => return self.on_failed_question(response),
        }
        // RFC 5321, section 3.8.
        if response.code() == 421 {
            self.state = State::Closing;
        }
    }

    /// A step of AUTH.
    pub(super) fn on_auth_step(
        &mut self,
        step: ExchangeStep,
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'static>> {
        self.state = State::Command;
        let failure = match step {
            ExchangeStep::Challenge(challenge) => {
                write_challenge(&challenge, output);
                self.state = State::Auth;
                return None;
            }
            ExchangeStep::Ask(question) => return Some(self.ask_for_auth(question)),
            ExchangeStep::Done(identity) => {
                self.exchange = None;
                self.say(&replies::AUTHENTICATED, output);
                self.identity = Some(identity.clone());
                return Some(ServerEvent::Authenticated(identity));
            }
            ExchangeStep::Failed(failure) => failure,
        };
        self.exchange = None;
        let response = replies::failure(&failure);
        self.failed_attempts += usize::from(response.code() / 100 == 5);
        if self.failed_attempts > self.config.limits.failed_attempts {
            self.say(&replies::TOO_MANY_ATTEMPTS, output);
            self.state = State::Closing;
        } else {
            self.say(&response, output);
            // RFC 5321, section 3.8.
            if response.code() == 421 {
                self.state = State::Closing;
            }
        }
        Some(ServerEvent::AuthenticationFailed(failure))
    }
}

impl Question {
    pub(super) const fn allows(self, code: u16) -> bool {
        match self {
            Self::Connected => matches!(code, 220 | 421 | 554),
            Self::StartTls | Self::Xclient => matches!(code, 220 | 400..=599),
            Self::Data | Self::Chunk => matches!(code, 354 | 400..=599),
            Self::Hello { .. } | Self::Fetch { .. } => matches!(code, 250 | 400..=599),
            Self::Auth => matches!(code, 400..=599),
            Self::Mail(_) | Self::Recipient | Self::EndOfBody | Self::Other => {
                matches!(code, 200..=299 | 400..=599)
            }
        }
    }
}

/// Whom a proxy says to have authenticated. Names end up in logs and header fields, and SASLprep
/// has none with controls (RFC 4013, section 2.3).
fn login(value: XclientValue<Xtext<'_>>) -> Option<Identity> {
    let XclientValue::Value(name) = value else { return None };
    let user = String::from_utf8(name.decode())
        .ok()
        .filter(|user| !user.is_empty() && !user.contains(char::is_control))?;
    Some(Identity { authorization: user.clone(), user })
}

/// Whether `keyword` is one of `keywords`, in any case.
fn is_listed(keywords: &[String], keyword: &str) -> bool {
    keywords.iter().any(|it| it.eq_ignore_ascii_case(keyword))
}

/// Browsers can be made to speak to any port; what they send first is one of these.
fn is_http(verb: &str) -> bool {
    ["GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE"]
        .iter()
        .any(|method| verb.eq_ignore_ascii_case(method))
}
