//! A transaction under way: what it sends next, and what it needs of the server.

use std::collections::HashSet;
use std::sync::Arc;

use super::encoding::Body;
use super::envelope::Skipped;
use super::state::Sent;
use super::{Envelope, Recipient, Unsupported};
use crate::channel::Channel;
use crate::timeouts::Phase;
use crate::wire::capabilities::{Capabilities, Extension, Limits};
use crate::wire::command;
use crate::wire::command::Command;
use crate::wire::params::{BodyType, Hold, MailParameters, RcptParameters, Xtext};

/// A transaction that has not finished.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) envelope: Arc<Envelope>,
    /// The cursor: what is sent next.
    pub(super) next: Next,
    /// Recipients with a reply.
    pub(super) answered: usize,
    /// Recipients with a positive reply.
    pub(super) accepted: usize,
    /// LMTP: the indices of the accepted recipients, each of which has its own reply to the
    /// message.
    pub(super) verdicts: Vec<usize>,
    /// How the body is written.
    pub(super) body: Body,
    /// DATA was answered with 354.
    pub(super) permitted: bool,
    /// Recipients that are not sent, by index in rising order, and how many of them the caller
    /// knows of.
    pub(super) skipped: Vec<Skipped>,
    pub(super) told: usize,
    /// What the server lacks, found when the transaction started.
    pub(super) unsupported: Option<Unsupported>,
}

/// What a transaction sends next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Mail,
    Recipient(usize),
    Data,
    /// Nothing: DATA awaits its 354, or the first chunk the replies to all RCPTs.
    Permission,
    /// The caller's bytes.
    Body,
    /// Nothing: the final dot awaits its reply.
    Verdict,
}

impl Next {
    /// What the conversation waits for if no command awaits its reply.
    pub(super) const fn phase(self) -> Phase {
        match self {
            Self::Mail => Phase::Mail,
            Self::Recipient(_) => Phase::Recipient,
            Self::Data => Phase::Data,
            Self::Permission | Self::Body => Phase::Body,
            Self::Verdict => Phase::EndOfData,
        }
    }
}

impl Transaction {
    /// A transaction that has sent nothing. `verdicts` is an empty list, whose room is used again.
    pub(super) fn new(
        envelope: Arc<Envelope>,
        body: Body,
        skipped: Vec<Skipped>,
        verdicts: Vec<usize>,
    ) -> Self {
        Self {
            envelope,
            next: Next::Mail,
            answered: 0,
            accepted: 0,
            verdicts,
            body,
            permitted: false,
            skipped,
            told: 0,
            unsupported: None,
        }
    }

    /// Whether every recipient that is sent has had its reply.
    pub(super) fn is_answered(&self) -> bool {
        self.answered + self.skipped.len() == self.envelope.recipients.len()
    }

    /// The index of the first recipient from `start` on that is sent.
    fn recipient_from(&self, start: usize) -> Option<usize> {
        (start..self.envelope.recipients.len()).find(|&it| !Skipped::has(&self.skipped, it))
    }

    /// Appends the next command, if there is one, and says what comes after it.
    pub(super) fn write_next(
        &self,
        capabilities: &Capabilities,
        authenticated: bool,
        output: &mut Vec<u8>,
    ) -> (Option<Sent>, Next) {
        match self.next {
            Next::Mail => match self.recipient_from(0) {
                Some(first) => {
                    self.envelope.write_mail(capabilities, authenticated, &self.skipped, output);
                    (Some(Sent::Mail), Next::Recipient(first))
                }
                None => (None, Next::Mail),
            },
            Next::Recipient(index) => {
                self.envelope.recipients[index].write(capabilities, output);
                let next = match self.recipient_from(index + 1) {
                    Some(index) => Next::Recipient(index),
                    None if self.body.is_chunks() => Next::Permission,
                    None => Next::Data,
                };
                (Some(Sent::Recipient(index)), next)
            }
            Next::Data => {
                Command::Data.write(output);
                (Some(Sent::Data), Next::Permission)
            }
            Next::Permission | Next::Body | Next::Verdict => (None, self.next),
        }
    }
}

impl Envelope {
    /// Adds the recipients over the server's limits to those that are not sent, and says which
    /// limit they are over. The first one that could be sent is never among them.
    pub(super) fn over(
        &self,
        limits: Limits,
        against: Vec<Skipped>,
    ) -> (Vec<Skipped>, Option<Unsupported>) {
        if limits.recipients.is_none() && limits.recipient_domains.is_none() {
            return (against, None);
        }
        let (mut skipped, mut sent, mut reason) = (Vec::new(), 0, None);
        let mut domains = HashSet::new();
        let mut against = against.into_iter().peekable();
        for (index, recipient) in self.recipients.iter().enumerate() {
            if let Some(it) = against.next_if(|it| it.index == index) {
                skipped.push(it);
                continue;
            }
            let mailbox = limits.recipient_domains.and_then(|_| recipient.path.mailbox());
            let domain = mailbox.map(|it| it.domain().as_str().to_ascii_lowercase());
            let known = domain.as_ref().is_none_or(|domain| domains.contains(domain));
            let full = |limit: &u32| !known && domains.len() >= *limit as usize;
            if let Some(limit) = limits.recipient_domains.filter(full) {
                skipped.push(Skipped { index, why: None });
                reason = Some(Unsupported::RecipientDomains { limit });
            } else if let Some(limit) = limits.recipients.filter(|&limit| sent >= limit) {
                skipped.push(Skipped { index, why: None });
                reason = reason.or(Some(Unsupported::Recipients { limit }));
            } else {
                sent += 1;
                domains.extend(domain);
            }
        }
        (skipped, reason)
    }

    /// Parameters stand only where the server offers them (RFC 5321, section 2.2.1).
    fn write_mail(
        &self,
        capabilities: &Capabilities,
        authenticated: bool,
        skipped: &[Skipped],
        output: &mut Vec<u8>,
    ) {
        let has = |extension| capabilities.has(extension);
        let parameters =
            MailParameters {
                size: self.size.filter(|_| has(Extension::Size)),
                body: Some(self.body).filter(|&body| body != BodyType::SevenBit),
                smtputf8: self.needs_smtputf8_without(skipped),
                ret: self.ret.filter(|_| has(Extension::Dsn)),
                envelope_id: self
                    .envelope_id
                    .as_ref()
                    .filter(|_| has(Extension::Dsn))
                    .map(|id| id.borrow()),
                require_tls: self.require_tls,
                priority: self.priority.filter(|_| has(Extension::MtPriority)),
                deliver_by: self.deliver_by.filter(|_| has(Extension::DeliverBy)),
                hold: self.hold,
                // RFC 4954, section 5: AUTH=<> "to any server which it has authenticated to"; a
                // mailbox to any that has AUTH.
                auth: self.auth.as_ref().map(|auth| auth.borrow()).filter(|auth| {
                    has(Extension::Auth) && (authenticated || *auth != Xtext::NOBODY)
                }),
                ..MailParameters::default()
            };
        command::write_mail(&self.reverse_path, &parameters, &self.parameters, output);
    }

    /// What the server lacks.
    pub(super) fn unsupported(
        &self,
        capabilities: &Capabilities,
        channel: &Channel,
        skipped: &[Skipped],
    ) -> Option<Unsupported> {
        let lacks = |extension| !capabilities.has(extension);
        if self.body == BodyType::EightBitMime && lacks(Extension::EightBitMime) {
            return Some(Unsupported::EightBitMime);
        }
        // RFC 3030, section 3: BINARYMIME can only be used together with CHUNKING.
        if self.body == BodyType::BinaryMime
            && (lacks(Extension::BinaryMime) || lacks(Extension::Chunking))
        {
            return Some(Unsupported::BinaryMime);
        }
        if self.needs_smtputf8_without(skipped) && lacks(Extension::SmtpUtf8) {
            return Some(Unsupported::SmtpUtf8);
        }
        if self.burl && !capabilities.fetches_imap() {
            return Some(Unsupported::Burl);
        }
        // RFC 8689, section 4.2.1: what was offered in clear text does not count.
        if self.require_tls && (lacks(Extension::RequireTls) || matches!(channel, Channel::Plain)) {
            return Some(Unsupported::RequireTls);
        }
        if self
            .deliver_by
            .is_some_and(|by| by.is_returned() && !capabilities.delivers_in(by.seconds()))
        {
            return Some(Unsupported::DeliverBy);
        }
        if let (Some(Hold::For(seconds)), Some(by)) = (self.hold, self.deliver_by)
            && i64::from(seconds) >= i64::from(by.seconds())
        {
            return Some(Unsupported::HeldBeyondDeliverBy);
        }
        if self.hold.is_some_and(|hold| !capabilities.holds(hold)) {
            return Some(Unsupported::FutureRelease);
        }
        match (self.size, capabilities.size_limit()) {
            (Some(size), Some(limit)) if size > limit => Some(Unsupported::Size { limit }),
            _ => None,
        }
    }
}

impl Recipient {
    fn write(&self, capabilities: &Capabilities, output: &mut Vec<u8>) {
        let dsn = capabilities.has(Extension::Dsn);
        let parameters = RcptParameters {
            notify: self.notify.filter(|_| dsn),
            orcpt: self.orcpt.as_ref().filter(|_| dsn).map(|orcpt| orcpt.borrow()),
            ..RcptParameters::default()
        };
        command::write_rcpt(&self.path, &parameters, &self.parameters, output);
    }
}

impl Capabilities {
    /// RFC 2852, section 2: a minimum may follow the keyword, in seconds.
    fn delivers_in(&self, seconds: i32) -> bool {
        self.parameters(Extension::DeliverBy).is_some_and(|parameters| {
            let minimum =
                parameters.split(',').next().and_then(|minimum| minimum.trim().parse::<i32>().ok());
            minimum.is_none_or(|minimum| seconds >= minimum)
        })
    }

    /// RFC 4865, section 3: the longest interval follows the keyword, then the last point in time.
    /// The latter is left to the server's clock.
    fn holds(&self, hold: Hold) -> bool {
        self.parameters(Extension::FutureRelease).is_some_and(|parameters| match hold {
            Hold::For(seconds) => {
                let longest =
                    parameters.split(' ').next().and_then(|longest| longest.parse::<u32>().ok());
                longest.is_none_or(|longest| seconds <= longest)
            }
            Hold::Until(_) => true,
        })
    }
}
