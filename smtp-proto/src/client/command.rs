//! Commands between two transactions.

use std::time::Instant;

use super::Client;
use super::state::Sent;
use super::work::Work;
use crate::error::ApiMisuse;
use crate::wire::capabilities::Extension;
use crate::wire::command::{Command, Xclient, XclientName};
use crate::wire::path::AddressRules;

impl Client {
    /// Sends a command between two transactions: VRFY, EXPN, HELP, NOOP, RSET, ETRN, or a verb that
    /// this library does not know. Its reply is [`Answered`](super::ClientEvent::Answered); one
    /// command waits at a time (RFC 2920, section 3.1: VRFY and its like are the last of their
    /// group).
    ///
    /// # Errors
    ///
    /// [`ApiMisuse::NotReady`] before [`Ready`](super::ClientEvent::Ready), within a transaction,
    /// and while another command waits; [`ApiMisuse::OwnCommand`] for what the machine sends by
    /// itself or by another method; [`ApiMisuse::NotOffered`] for ETRN, and for text that is
    /// not ASCII, where the server does not announce it; [`ApiMisuse::Command`] for what no server
    /// would read as this command.
    pub fn command(&mut self, command: Command<'_>, now: Instant) -> Result<(), ApiMisuse> {
        if !self.is_free() {
            return Err(ApiMisuse::NotReady);
        }
        let mut line = Vec::new();
        command.write(&mut line);
        // What the server will read decides, whatever the command calls itself.
        let read = Command::parse(line.strip_suffix(b"\r\n").unwrap_or(&line), AddressRules::FIELD)
            .map_err(ApiMisuse::Command)?;
        if let Some(extension) = self.needed_by(&read)? {
            return Err(ApiMisuse::NotOffered(extension));
        }
        self.begin(Work::Command { sent: Sent::Command, line }, now);
        Ok(())
    }

    /// Tells the server which client this proxy speaks for, if the server trusts the proxy. The
    /// reply is [`Answered`](super::ClientEvent::Answered). Where it is 220, everything starts
    /// again: EHLO is said once more and [`Ready`](super::ClientEvent::Ready) follows. What was
    /// decided about TLS stands.
    ///
    /// # Errors
    ///
    /// [`ApiMisuse::NotReady`] as for [`command`](Self::command); [`ApiMisuse::NotOffered`]
    /// where the server does not list XCLIENT with all these attributes; [`ApiMisuse::Command`]
    /// without any.
    pub fn xclient(&mut self, attributes: &Xclient<'_>, now: Instant) -> Result<(), ApiMisuse> {
        if !self.is_free() {
            return Err(ApiMisuse::NotReady);
        }
        let mut line = Vec::new();
        Command::Xclient(attributes.clone()).write(&mut line);
        Command::parse(line.strip_suffix(b"\r\n").unwrap_or(&line), AddressRules::FIELD)
            .map_err(ApiMisuse::Command)?;
        let listed = self.capabilities.parameters(Extension::Xclient).unwrap_or_default();
        let takes = |name: XclientName| {
            listed.split(' ').any(|word| word.eq_ignore_ascii_case(name.as_str()))
        };
        if !attributes.names().all(takes) {
            return Err(ApiMisuse::NotOffered(Extension::Xclient));
        }
        self.begin(Work::Command { sent: Sent::Xclient, line }, now);
        Ok(())
    }

    /// Whether the connection can carry another message. `unread` is what the driver has read and
    /// [`poll`](Self::poll) has not consumed: a reply that is there before its command cannot be
    /// told from the command's own, so the answer is no unless it is empty. The driver may ask as
    /// soon as a transaction is [`Finished`](super::ClientEvent::Finished).
    pub fn is_idle(&self, unread: &[u8]) -> bool {
        unread.is_empty()
            && self.queue.is_empty()
            && self.is_free()
            && self.transactions_left() != Some(0)
    }

    /// Whether the caller may send something.
    pub(super) const fn is_free(&self) -> bool {
        self.is_ready() && matches!(self.work, Work::None)
    }

    /// What the server lacks for a command; an error for what is not the caller's to send.
    fn needed_by(&self, command: &Command<'_>) -> Result<Option<Extension>, ApiMisuse> {
        let lacks =
            |extension| Some(extension).filter(|&extension| !self.capabilities.has(extension));
        match command {
            Command::Ehlo(_)
            | Command::Helo(_)
            | Command::Lhlo(_)
            | Command::StartTls
            | Command::Quit => Err(ApiMisuse::OwnCommand),
            Command::Mail { .. } | Command::Rcpt { .. } | Command::Data | Command::Bdat { .. } => {
                Err(ApiMisuse::OwnCommand)
            }
            Command::Burl { .. } | Command::Xclient(_) | Command::Auth { .. } => {
                Err(ApiMisuse::OwnCommand)
            }
            Command::Rset => Ok(None),
            // RFC 1985, section 2: an extension, so nothing to send where it is not announced (RFC
            // 5321, section 2.2.1).
            Command::Etrn(queue) => Ok(lacks(Extension::Etrn)
                .or_else(|| if queue.is_ascii() { None } else { lacks(Extension::SmtpUtf8) })),
            // RFC 6531, section 3.7.4.2: the parameter makes the argument UTF-8; without the
            // extension there is neither.
            Command::Vrfy { text, smtputf8 } | Command::Expn { text, smtputf8 } => {
                Ok(if *smtputf8 || !text.is_ascii() { lacks(Extension::SmtpUtf8) } else { None })
            }
            Command::Noop(text) | Command::Help(text) | Command::Unknown { argument: text, .. } => {
                Ok(if text.is_ascii() { None } else { lacks(Extension::SmtpUtf8) })
            }
        }
    }
}
