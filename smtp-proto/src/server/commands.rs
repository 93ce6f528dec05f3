//! Commands: which is refused, answered at once, or put before the caller.

use super::state::{Greeted, Needs, Question, Transaction, Transfer};
use super::{Server, ServerEvent, StartTls, replies};
use crate::Protocol;
use crate::channel::Channel;
use crate::sasl::server::Identity;
use crate::wire::command::{Command, CommandError, XclientValue};
use crate::wire::line::{BrokenLine, LineError, is_bdat};
use crate::wire::params::{BodyType, Hold, MailParameters, RcptParameters, Xtext};
use crate::wire::path::{ForwardPath, Mailbox, ReversePath};
use crate::wire::reply::Response;

impl Server {
    pub(super) fn on_line<'i>(
        &mut self,
        line: &'i [u8],
        ends_in_bare_lf: bool,
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'i>> {
        self.session.commands += 1;
        match Command::parse(line, self.config.addresses) {
            Ok(command) if self.exceeds_idle(&command) => self.end(&replies::TOO_MANY_IDLE, output),
            Ok(Command::StartTls) if ends_in_bare_lf => {
                self.refuse(&replies::line(LineError::BareLf), output)
            }
            Ok(Command::Unknown { .. }) | Err(_) if is_bdat(line) => {
                self.end(&replies::MALFORMED_BDAT, output)
            }
            Ok(command) => self.on_command(command, output),
            // RFC 3207, section 4: a MAIL or RCPT with a flaw is a MAIL or RCPT all the same.
            Err(
                CommandError::Sender(_)
                | CommandError::Recipient(_)
                | CommandError::Parameter
                | CommandError::ParameterValue
                | CommandError::ParameterTwice,
            ) if self.needs_tls() => self.refuse(&replies::TLS_FIRST, output),
            Err(CommandError::Queue | CommandError::Attribute | CommandError::Uri)
                if self.needs_tls() =>
            {
                self.refuse(&replies::TLS_FIRST, output)
            }
            Err(error) => self.refuse(&replies::command(error), output),
        }
    }

    pub(super) fn on_broken_line(
        &mut self,
        line: BrokenLine,
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'static>> {
        self.session.commands += 1;
        if line.is_bdat {
            return self.end(&replies::MALFORMED_BDAT, output);
        }
        self.refuse(&replies::line(line.error), output)
    }

    fn on_command<'i>(
        &mut self,
        command: Command<'i>,
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'i>> {
        if matches!(command, Command::Quit) {
            return self.end(&replies::BYE, output);
        }
        if let Command::Bdat { size, last } = command {
            return self.on_bdat(size, last);
        }
        if self.session.barred.is_some() {
            return self.refuse(&replies::BARRED, output);
        }
        if let Command::Unknown { verb, .. } = command
            && self.session.commands == 1
            && is_http(verb)
        {
            return self.end(&replies::NOT_HTTP, output);
        }
        if let Some(refusal) = self.refusal_of(&command) {
            return self.refuse(&refusal, output);
        }
        match command {
            Command::Quit | Command::Bdat { .. } => None,
            Command::Noop(_) => self.done(&replies::OK, output),
            Command::Ehlo(name) | Command::Lhlo(name) => Some(self.ask(
                Question::Hello { extended: true },
                ServerEvent::Hello { name, extended: true },
            )),
            Command::Helo(name) => Some(self.ask(
                Question::Hello { extended: false },
                ServerEvent::Hello { name, extended: false },
            )),
            Command::StartTls => Some(self.ask(Question::StartTls, ServerEvent::StartTls)),
            Command::Auth { mechanism, initial } => match self.begin_auth(mechanism, initial) {
                Ok((running, step)) => self.on_auth_step(running, step, output),
                Err(response) => self.refuse(&response, output),
            },
            Command::Rset => Some(self.on_rset(output)),
            Command::Mail { path, mut parameters } => {
                match self.refusal_of_mail(&path, &parameters) {
                    Some((response, true)) => self.refuse(&response, output),
                    Some((response, false)) => self.done(&response, output),
                    None => {
                        let binary = parameters.body == Some(BodyType::BinaryMime);
                        let needs = Needs { utf8: parameters.smtputf8, binary };
                        // RFC 4954, section 5: "if the client is not authenticated, then the server
                        // MUST behave as if the AUTH=<> parameter was supplied".
                        if self.session.identity.is_none() {
                            parameters.auth = parameters.auth.map(|_| Xtext::NOBODY);
                        }
                        Some(
                            self.ask(Question::Mail(needs), ServerEvent::Mail { path, parameters }),
                        )
                    }
                }
            }
            Command::Rcpt { path, parameters } => self.on_rcpt(path, parameters, output),
            Command::Data => self.on_data(output),
            Command::Burl { uri, last } => self.on_burl(uri, last, output),
            Command::Xclient(client) => {
                let login = client.login.as_ref().and_then(login);
                Some(self.ask(Question::Xclient { login }, ServerEvent::Xclient(client)))
            }
            Command::Vrfy { .. } | Command::Expn { .. } | Command::Help(_) | Command::Etrn(_) => {
                Some(self.ask(Question::Other, ServerEvent::Other(command)))
            }
            Command::Unknown { verb, .. } if is_listed(&self.config.verbs, verb) => {
                Some(self.ask(Question::Other, ServerEvent::Other(command)))
            }
            Command::Unknown { .. } => {
                self.session.unknown_commands += 1;
                if self.session.unknown_commands > self.config.limits.unknown_commands {
                    return self.end(&replies::TOO_MANY_UNKNOWN, output);
                }
                self.refuse(&replies::UNKNOWN_COMMAND, output)
            }
        }
    }

    /// Why a command is refused in the state of the session, before its parameters count. The first
    /// refusal that applies is the one that the client hears.
    fn refusal_of(&self, command: &Command<'_>) -> Option<Response> {
        let lmtp = self.config.protocol == Protocol::Lmtp;
        let clear = matches!(self.channel, Channel::Plain);
        Some(match command {
            // RFC 2033, section 4.1: LHLO, and a server of the one protocol refuses the hello of
            // the other.
            Command::Ehlo(_) | Command::Helo(_) if lmtp => replies::UNKNOWN_COMMAND,
            Command::Lhlo(_) if !lmtp => replies::UNKNOWN_COMMAND,
            Command::StartTls if !clear => replies::TLS_ALREADY,
            Command::StartTls if self.config.starttls == StartTls::No => replies::NOT_OFFERED,
            Command::StartTls if self.session.greeted != Greeted::Ehlo => replies::HELLO_FIRST,
            // RFC 3207, section 4: these, and no others, before TLS where it is needed.
            Command::Noop(_) | Command::Ehlo(_) | Command::Lhlo(_) | Command::StartTls => {
                return None;
            }
            _ if self.needs_tls() => replies::TLS_FIRST,

            Command::Auth { .. } if self.config.mechanisms.is_empty() => replies::NOT_OFFERED,
            Command::Auth { .. } if self.session.greeted != Greeted::Ehlo => replies::HELLO_FIRST,
            // RFC 4954, section 4: once, and not in a transaction.
            Command::Auth { .. } if self.session.identity.is_some() => {
                replies::AUTHENTICATED_ALREADY
            }
            Command::Auth { .. } if self.transaction.is_some() => replies::TRANSACTION_OPEN,
            Command::Auth { .. } if clear && !self.config.auth_in_clear => {
                replies::ENCRYPTION_FIRST
            }

            Command::Mail { .. } | Command::Rcpt { .. } | Command::Data
                if self.session.greeted == Greeted::No =>
            {
                replies::HELLO_FIRST
            }
            Command::Mail { .. }
            | Command::Rcpt { .. }
            | Command::Data
            | Command::Vrfy { .. }
            | Command::Expn { .. }
            | Command::Etrn(_)
                if self.needs_auth() =>
            {
                replies::AUTH_FIRST
            }
            Command::Mail { .. } if self.transaction.is_some() => replies::NESTED_MAIL,

            // RFC 6531, section 3.7.4.2.
            Command::Vrfy { smtputf8: true, .. } | Command::Expn { smtputf8: true, .. }
                if !self.config.announces_smtputf8() =>
            {
                replies::UNKNOWN_PARAMETER
            }
            Command::Vrfy { text, smtputf8: false } | Command::Expn { text, smtputf8: false }
                if !text.is_ascii() =>
            {
                replies::NON_ASCII_ADDRESS
            }

            Command::Etrn(_) if !self.config.etrn => replies::NOT_OFFERED,
            Command::Etrn(_) if self.session.greeted == Greeted::No => replies::HELLO_FIRST,
            // RFC 1985, section 5: illegal between MAIL and the end of the message.
            Command::Etrn(_) if self.transaction.is_some() => replies::TRANSACTION_OPEN,
            Command::Etrn(queue) if !queue.is_ascii() && !self.config.announces_smtputf8() => {
                replies::NON_ASCII_ADDRESS
            }

            Command::Xclient(_) if self.config.xclient.is_empty() => replies::NOT_OFFERED,
            Command::Xclient(_) if self.transaction.is_some() => replies::TRANSACTION_OPEN,
            Command::Xclient(client)
                if client.names().any(|name| !self.config.xclient.contains(&name)) =>
            {
                replies::UNKNOWN_ATTRIBUTE
            }
            _ => return None,
        })
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
        self.session.idle_commands += usize::from(idle);
        idle && self.session.idle_commands > self.config.limits.idle_commands
    }

    fn on_rcpt<'i>(
        &mut self,
        path: ForwardPath<'i>,
        parameters: RcptParameters<'i>,
        output: &mut Vec<u8>,
    ) -> Option<ServerEvent<'i>> {
        let Some(transaction) = &self.transaction else {
            return self.refuse(&replies::MAIL_FIRST, output);
        };
        if !matches!(transaction.transfer, Transfer::None) {
            return self.refuse(&replies::BODY_BEGUN, output);
        }
        if let Some(response) = self.refusal_of_rcpt(&path, &parameters, transaction) {
            return self.refuse(&response, output);
        }
        if transaction.recipients >= self.config.limits.recipients {
            return self.done(&replies::TOO_MANY_RECIPIENTS, output);
        }
        match self.new_domain(&path, transaction) {
            Ok(new_domain) => Some(self.ask(
                Question::Recipient { new_domain },
                ServerEvent::Recipient { path, parameters },
            )),
            Err(response) => self.done(&response, output),
        }
    }

    fn on_data<'i>(&mut self, output: &mut Vec<u8>) -> Option<ServerEvent<'i>> {
        let lmtp = self.config.protocol == Protocol::Lmtp;
        let refusal = match &self.transaction {
            None => replies::MAIL_FIRST,
            Some(Transaction { transfer, .. }) if !matches!(transfer, Transfer::None) => {
                replies::BODY_BEGUN
            }
            Some(Transaction { recipients: 0, .. }) if lmtp => replies::RCPT_FIRST,
            Some(Transaction { recipients: 0, .. }) => replies::NO_RECIPIENTS,
            Some(Transaction { needs: Needs { binary: true, .. }, .. }) => replies::BDAT_ONLY,
            Some(_) => return Some(self.ask(Question::Data, ServerEvent::Data)),
        };
        self.refuse(&refusal, output)
    }

    /// Why a MAIL cannot be put before the caller, and whether that is an error of the client's.
    fn refusal_of_mail(
        &self,
        path: &ReversePath<'_>,
        parameters: &MailParameters<'_>,
    ) -> Option<(Response, bool)> {
        let config = &*self.config;
        let clear = matches!(self.channel, Channel::Plain);
        // RFC 8689, section 2: offered and taken inside TLS only. RFC 8689, section 4.2.1: 5.7.30.
        if parameters.require_tls && (clear || !config.require_tls) {
            return Some((replies::NO_REQUIRETLS, true));
        }
        if self.has_strange_parameter(parameters) {
            return Some((replies::UNKNOWN_PARAMETER, true));
        }
        if !path.as_str().is_ascii() && !parameters.smtputf8 {
            return Some((replies::NON_ASCII_ADDRESS, true));
        }
        if config.limits.transactions.is_some_and(|limit| self.session.transactions >= limit) {
            return Some((replies::TOO_MANY_TRANSACTIONS, false));
        }
        if parameters.size.zip(config.size_limit).is_some_and(|(size, limit)| size > limit) {
            return Some((replies::TOO_LARGE, false));
        }
        // RFC 2852, section 2: a minimum holds for the mode R.
        if parameters.deliver_by.is_some_and(|by| {
            by.is_returned()
                && config.deliver_by.is_some_and(|minimum| i64::from(by.seconds()) < minimum.into())
        }) {
            return Some((replies::TOO_SOON, false));
        }
        // RFC 4865, section 5.2.2. The machine has no clock for HOLDUNTIL.
        if let (Some(Hold::For(seconds)), Some(by)) = (parameters.hold, parameters.deliver_by)
            && i64::from(seconds) > i64::from(by.seconds())
        {
            return Some((replies::HELD_BEYOND_DELIVER_BY, false));
        }
        match (parameters.hold, config.future_release) {
            // RFC 4865, section 4.
            (Some(Hold::For(seconds)), Some(limits)) if seconds > limits.longest => {
                Some((replies::TOO_LATE, false))
            }
            _ => None,
        }
    }

    /// Whether MAIL has a parameter that is not known, or belongs to an extension that was not
    /// announced (RFC 5321, section 4.1.1.11).
    fn has_strange_parameter(&self, parameters: &MailParameters<'_>) -> bool {
        let config = &*self.config;
        let dsn = parameters.ret.is_some() || parameters.envelope_id.is_some();
        let unknown =
            parameters.unknown().any(|keyword| !is_listed(&config.mail_parameters, keyword));
        // What a server without the extension cannot keep.
        let binding = parameters.body == Some(BodyType::BinaryMime)
            && !config.takes(BodyType::BinaryMime)
            || parameters.smtputf8 && !config.announces_smtputf8()
            || parameters.deliver_by.is_some() && config.deliver_by.is_none()
            || parameters.hold.is_some() && config.future_release.is_none();
        let harmless = parameters.size.is_some() && config.size_limit.is_none()
            || parameters.body.is_some_and(|body| !config.takes(body))
            || dsn && !config.dsn
            || parameters.priority.is_some() && config.mt_priority.is_none()
            // RFC 4954, section 5: it goes with AUTH.
            || parameters.auth.is_some() && config.offered(&self.channel).next().is_none();
        unknown || binding || harmless && !self.tolerance.unannounced_parameters
    }

    fn refusal_of_rcpt(
        &self,
        path: &ForwardPath<'_>,
        parameters: &RcptParameters<'_>,
        transaction: &Transaction,
    ) -> Option<Response> {
        let dsn = parameters.notify.is_some() || parameters.orcpt.is_some();
        let strange =
            parameters.unknown().any(|keyword| !is_listed(&self.config.rcpt_parameters, keyword))
                || dsn && !self.config.dsn && !self.tolerance.unannounced_parameters;
        if strange {
            return Some(replies::UNKNOWN_PARAMETER);
        }
        // RFC 6531, section 3.5; RFC 6533, section 3 for ORCPT.
        let ascii = path.as_str().is_ascii()
            && parameters.orcpt.as_ref().is_none_or(|orcpt| orcpt.as_str().is_ascii());
        (!ascii && !transaction.needs.utf8).then_some(replies::NON_ASCII_ADDRESS)
    }

    /// The domain of a recipient if it counts as another one; an error if it is one too many (RFC
    /// 9422, section 4.3).
    fn new_domain(
        &self,
        path: &ForwardPath<'_>,
        transaction: &Transaction,
    ) -> Result<Option<String>, Response> {
        let Some(limit) = self.config.limits.recipient_domains else { return Ok(None) };
        let Some(domain) = path.mailbox().map(Mailbox::domain) else { return Ok(None) };
        let domain = domain.as_str();
        if transaction.domains.iter().any(|known| known.eq_ignore_ascii_case(domain)) {
            return Ok(None);
        }
        if transaction.domains.len() >= limit {
            return Err(replies::TOO_MANY_DOMAINS);
        }
        Ok(Some(domain.to_owned()))
    }

    pub(super) fn needs_tls(&self) -> bool {
        matches!(self.channel, Channel::Plain) && self.config.starttls == StartTls::Required
    }

    /// Sends a reply without counting an error.
    fn done(&self, response: &Response, output: &mut Vec<u8>) -> Option<ServerEvent<'static>> {
        self.say(response, output);
        None
    }
}

/// The user that XCLIENT names. Names end up in logs and header fields, so one with controls is
/// dropped; SASLprep has none either (RFC 4013, section 2.3).
fn login(value: &XclientValue<Xtext<'_>>) -> Option<Identity> {
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
