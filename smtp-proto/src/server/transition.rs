//! Every transition of the server: which command and which response lead where.

use super::{Event, Question, Said, Server, StartTls, State, replies};
use crate::command::{Command, CommandError};
use crate::fallback::Channel;
use crate::line::LineError;
use crate::reply::{Response, first_line};

impl Server {
    pub(super) fn on_line<'i>(&mut self, line: &'i [u8], output: &mut Vec<u8>) -> Option<Event<'i>> {
        self.commands += 1;
        match Command::parse(line) {
            Ok(command) => self.on_command(command, output),
            // RFC 3207, 4: a MAIL or RCPT with a flaw is a MAIL or RCPT all the same.
            Err(CommandError::Sender(_) | CommandError::Recipient(_) | CommandError::Parameter(_))
                if self.needs_tls() =>
            {
                self.refuse(&replies::TLS_FIRST, output)
            }
            Err(error) => self.refuse(&replies::command(error), output),
        }
    }

    pub(super) fn on_broken_line(&mut self, error: LineError, output: &mut Vec<u8>) -> Option<Event<'static>> {
        self.commands += 1;
        self.refuse(&replies::line(error), output)
    }

    fn on_command<'i>(&mut self, command: Command<'i>, output: &mut Vec<u8>) -> Option<Event<'i>> {
        if matches!(command, Command::Quit) {
            self.say(&replies::BYE, output);
            self.state = State::Closing;
            return None;
        }
        if self.barred.is_some() {
            return self.refuse(&replies::BARRED, output);
        }
        let clear = matches!(self.channel, Channel::Plain);
        match command {
            Command::Quit => None,
            Command::Noop(_) => self.done(&replies::OK, output),
            Command::Ehlo(name) => {
                Some(self.ask(Question::Hello { extended: true }, Event::Hello { name, extended: true }))
            }
            Command::StartTls if !clear => self.refuse(&replies::TLS_ALREADY, output),
            Command::StartTls if self.config.starttls == StartTls::No => self.refuse(&replies::NOT_OFFERED, output),
            Command::StartTls if self.said != Said::Ehlo => self.refuse(&replies::HELLO_FIRST, output),
            Command::StartTls => Some(self.ask(Question::StartTls, Event::StartTls)),

            Command::Unknown { verb, .. } if self.commands == 1 && is_http(verb) => {
                self.say(&replies::NOT_HTTP, output);
                self.state = State::Closing;
                None
            }
            // RFC 3207, 4: everything but the commands above.
            _ if self.needs_tls() => self.refuse(&replies::TLS_FIRST, output),

            Command::Helo(name) => {
                Some(self.ask(Question::Hello { extended: false }, Event::Hello { name, extended: false }))
            }
            Command::Rset => {
                self.reset();
                self.say(&replies::OK, output);
                Some(Event::Reset)
            }
            Command::Mail { .. } | Command::Rcpt { .. } | Command::Data if self.said == Said::Nothing => {
                self.refuse(&replies::HELLO_FIRST, output)
            }
            Command::Mail { .. } if self.mail => self.refuse(&replies::NESTED_MAIL, output),
            Command::Mail { path, parameters } => {
                if parameters.unknown().is_some()
                    || parameters.size.is_some() && self.config.size_limit.is_none()
                    || parameters.body.is_some() && !self.config.eight_bit_mime
                {
                    return self.refuse(&replies::UNKNOWN_PARAMETER, output);
                }
                if !path.as_str().is_ascii() {
                    return self.refuse(&replies::NON_ASCII_ADDRESS, output);
                }
                if parameters.size.zip(self.config.size_limit).is_some_and(|(size, limit)| size > limit) {
                    return self.done(&replies::TOO_LARGE, output);
                }
                Some(self.ask(Question::Mail, Event::Mail { path, parameters }))
            }
            Command::Rcpt { .. } | Command::Data if !self.mail => self.refuse(&replies::MAIL_FIRST, output),
            Command::Rcpt { path, parameters } => {
                if !parameters.is_empty() {
                    return self.refuse(&replies::UNKNOWN_PARAMETER, output);
                }
                if !path.as_str().is_ascii() {
                    return self.refuse(&replies::NON_ASCII_ADDRESS, output);
                }
                if self.recipients >= self.config.limits.recipients {
                    return self.done(&replies::TOO_MANY_RECIPIENTS, output);
                }
                Some(self.ask(Question::Recipient, Event::Recipient { path, parameters }))
            }
            Command::Data if self.recipients == 0 => self.refuse(&replies::NO_RECIPIENTS, output),
            Command::Data => Some(self.ask(Question::Data, Event::Data)),
            Command::Vrfy(_) | Command::Expn(_) | Command::Help(_) => {
                Some(self.ask(Question::Other, Event::Other(command)))
            }
            Command::Unknown { .. } => self.refuse(&replies::UNKNOWN_COMMAND, output),
        }
    }

    fn needs_tls(&self) -> bool {
        matches!(self.channel, Channel::Plain) && self.config.starttls == StartTls::Required
    }

    /// Says something that is nobody's fault.
    fn done(&self, response: &Response, output: &mut Vec<u8>) -> Option<Event<'static>> {
        self.say(response, output);
        None
    }

    /// Refuses a command, and the client itself when that was one too many. Who is barred is told so, whatever is
    /// wrong with the command (RFC 5321, 3.1).
    fn refuse(&mut self, response: &Response, output: &mut Vec<u8>) -> Option<Event<'static>> {
        self.errors += 1;
        if self.errors > self.config.limits.errors {
            self.say(&replies::TOO_MANY_ERRORS, output);
            self.state = State::Closing;
        } else {
            self.say(self.barred.as_ref().unwrap_or(response), output);
        }
        None
    }

    pub(super) fn on_response(&mut self, question: Question, response: &Response, output: &mut Vec<u8>) {
        let positive = response.code() / 100 == 2;
        self.state = State::Command;
        match question {
            Question::Connected => {
                let text = self.named(response, "ESMTP ");
                Response::new(response.code(), (0, 0, 0), text).write(false, output);
                if !positive {
                    // RFC 5321, 3.1: after 554 the server waits for QUIT and answers everything else with 503.
                    self.barred = Some(replies::BARRED);
                }
            }
            // RFC 2034, 4: no enhanced codes in the replies to EHLO and HELO.
            Question::Hello { extended } if positive => {
                self.reset();
                self.said = if extended { Said::Ehlo } else { Said::Helo };
                if extended {
                    self.write_capabilities(response, output);
                } else {
                    Response::new(response.code(), (0, 0, 0), self.named(response, "")).write(false, output);
                }
            }
            Question::Hello { .. } => response.write(false, output),
            // The 220 is written when it is clear that nothing stands behind the command.
            Question::StartTls if positive => self.state = State::TlsGranted,
            Question::Mail => {
                self.mail = positive;
                self.say(response, output);
            }
            Question::Recipient => {
                self.recipients += usize::from(positive);
                self.say(response, output);
            }
            Question::Data => {
                if response.code() == 354 {
                    self.state = State::Body;
                }
                self.say(response, output);
            }
            Question::StartTls | Question::EndOfBody | Question::Other => self.say(response, output),
        }
        // RFC 5321, 3.8.
        if response.code() == 421 {
            self.state = State::Closing;
        }
    }

    /// RFC 5321, 4.2 and 4.1.1.1: greeting and EHLO reply begin with the server's name.
    fn named(&self, response: &Response, protocol: &str) -> String {
        format!("{} {protocol}{}", self.config.name, response.text())
    }

    fn write_capabilities(&self, response: &Response, output: &mut Vec<u8>) {
        let config = &self.config;
        // Every line but the first is a keyword to the client (RFC 5321, 4.1.1.1), so the greeting has only one.
        let mut text = first_line(&self.named(response, "")).to_owned();
        let size = config.size_limit.map(|limit| format!("SIZE {limit}"));
        let clear = matches!(self.channel, Channel::Plain);
        let lines = [
            config.pipelining.then_some("PIPELINING"),
            size.as_deref(),
            // RFC 3207, 4.2: not offered again inside TLS.
            (clear && config.starttls != StartTls::No).then_some("STARTTLS"),
            config.eight_bit_mime.then_some("8BITMIME"),
            config.enhanced_status_codes.then_some("ENHANCEDSTATUSCODES"),
        ];
        for line in lines.into_iter().flatten().chain(config.keywords.iter().map(String::as_str)) {
            text.push('\n');
            text.extend(line.chars().map(|char| if char.is_control() { '?' } else { char }));
        }
        Response::new(250, (0, 0, 0), text).write(false, output);
    }
}

impl Question {
    pub(super) const fn allows(self, code: u16) -> bool {
        match self {
            Self::Connected => matches!(code, 220 | 421 | 554),
            Self::StartTls => matches!(code, 220 | 400..=599),
            Self::Data => matches!(code, 354 | 400..=599),
            Self::Hello { .. } => matches!(code, 250 | 400..=599),
            Self::Mail | Self::Recipient | Self::EndOfBody | Self::Other => matches!(code, 200..=299 | 400..=599),
        }
    }
}

/// Browsers can be made to speak to any port; what they send first is one of these.
fn is_http(verb: &str) -> bool {
    ["GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE"]
        .iter()
        .any(|method| verb.eq_ignore_ascii_case(method))
}
