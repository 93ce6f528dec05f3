//! What a transaction is about: the envelope.

use std::str::FromStr;

use crate::wire::params::{
    BodyType, DeliverBy, Hold, MailParameters, Notify, Orcpt, Parameters, Priority, RcptParameters,
    Ret, Xtext,
};
use crate::wire::path::{AddressRules, ForwardPath, PathError, ReversePath};

/// Sender, recipients and parameters of a message. Shared, so that a transaction does not copy it.
///
/// What a server does not offer is left out where its RFC lets a client do so, and else makes the
/// transaction [`Unsupported`](super::Outcome::Unsupported) before anything is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// The sender.
    pub reverse_path: ReversePath<'static>,
    /// The recipients, in the order of their [`Recipient`](super::ClientEvent::Recipient) events.
    pub recipients: Vec<Recipient>,
    /// Octets of the message, if known: sent where the server announces SIZE, and refused here
    /// already if over its limit (RFC 1870, section 6).
    pub size: Option<u64>,
    /// What the bytes of the body may be. 8BITMIME is needed where this says so (RFC 6152, section
    /// 3), BINARYMIME likewise (RFC 3030, section 3).
    pub body: BodyType,
    /// The header of the message needs SMTPUTF8 (RFC 6531, section 3.4). Addresses that need it
    /// speak for themselves.
    pub smtputf8: bool,
    /// How much a notification of failure returns; sent where the server offers DSN (RFC 3461,
    /// section 5.2.2).
    pub ret: Option<Ret>,
    /// The sender's name for the transaction; sent where the server offers DSN.
    pub envelope_id: Option<Xtext<'static>>,
    /// Never without TLS, and only to servers that promise the same (RFC 8689, section 4.2.1).
    /// Whether a certificate counts is the affair of [`TlsRules`](crate::fallback::TlsRules).
    pub require_tls: bool,
    /// Sent where the server offers MT-PRIORITY (RFC 6710, section 4.2).
    pub priority: Option<Priority>,
    /// Sent where the server offers DELIVERBY.
    /// [`DeliverBy::return_after`] needs it (RFC 2852, section 4.1.4.1).
    pub deliver_by: Option<DeliverBy>,
    /// Needs FUTURERELEASE (RFC 4865, section 4).
    pub hold: Option<Hold>,
    /// Pieces of the body are fetched by the server:
    /// [`Client::write_uri`](super::Client::write_uri). Needs BURL with the parameter `imap` (RFC
    /// 4468, section 3.1).
    pub burl: bool,
    /// The original submitter of the message; sent where the server offers AUTH (RFC 4954, section
    /// 5). [`Xtext::NOBODY`] is sent only where this client has authenticated, so that the message
    /// is not taken for its own.
    pub auth: Option<Xtext<'static>>,
    /// Further parameters of MAIL, sent as they are: the caller has looked at the
    /// [`Capabilities`](crate::wire::capabilities::Capabilities).
    pub parameters: Parameters<'static>,
}

impl Envelope {
    /// A message with a 7-bit body and no parameters. [`ReversePath::Null`] is the null sender.
    pub fn new(
        from: ReversePath<'static>,
        to: impl IntoIterator<Item = impl Into<Recipient>>,
    ) -> Self {
        Self {
            reverse_path: from,
            recipients: to.into_iter().map(Into::into).collect(),
            size: None,
            body: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envelope_id: None,
            require_tls: false,
            priority: None,
            deliver_by: None,
            hold: None,
            burl: false,
            auth: None,
            parameters: Parameters::default(),
        }
    }

    /// What a relay passes on of a MAIL that it has read. The caller adds the recipients. Three
    /// things are not passed on: SIZE=, since the relay adds its Received field
    /// ([`size`](Self::size) is for the caller to set); AUTH=, since any client can say it (a
    /// caller that trusts the client sets [`auth`](Self::auth), RFC 4954, section 5); and unknown
    /// parameters.
    pub fn relaying(path: ReversePath<'_>, parameters: &MailParameters<'_>) -> Self {
        Self {
            reverse_path: path.into_owned(),
            recipients: Vec::new(),
            size: None,
            body: parameters.body.unwrap_or_default(),
            smtputf8: parameters.smtputf8,
            ret: parameters.ret,
            envelope_id: parameters.envelope_id.clone().map(Xtext::into_owned),
            require_tls: parameters.require_tls,
            priority: parameters.priority,
            deliver_by: parameters.deliver_by,
            hold: parameters.hold,
            burl: false,
            auth: Some(Xtext::NOBODY),
            parameters: Parameters::default(),
        }
    }

    /// The same for these recipients in place of its own.
    #[must_use]
    pub fn with_recipients(&self, recipients: Vec<Recipient>) -> Self {
        Self {
            reverse_path: self.reverse_path.clone(),
            recipients,
            envelope_id: self.envelope_id.clone(),
            auth: self.auth.clone(),
            parameters: self.parameters.clone(),
            ..*self
        }
    }

    /// Whether it can only be sent to a server that offers SMTPUTF8.
    pub fn needs_smtputf8(&self) -> bool {
        self.needs_smtputf8_without(&[])
    }

    /// The same without the recipients that are not sent.
    pub(super) fn needs_smtputf8_without(&self, skipped: &[Skipped]) -> bool {
        let mut recipients = self.recipients.iter().enumerate();
        self.smtputf8
            || !self.reverse_path.as_str().is_ascii()
            || !recipients.all(|(index, it)| Skipped::has(skipped, index) || it.is_ascii())
    }

    /// The recipients whose addresses break these rules.
    pub(super) fn against(&self, rules: AddressRules) -> Vec<Skipped> {
        let recipients = self.recipients.iter().enumerate();
        recipients
            .filter_map(|(index, recipient)| {
                let error = recipient.path.check(rules).err()?;
                Some(Skipped { index, why: Some(error) })
            })
            .collect()
    }

    /// The same with A-labels for U-labels, if that makes it ASCII (RFC 6531, section 3.2).
    #[cfg(feature = "idna")]
    pub(super) fn to_ascii(&self, skipped: &[Skipped]) -> Option<Self> {
        if self.smtputf8 {
            return None;
        }
        let reverse_path = match &self.reverse_path {
            ReversePath::Null | ReversePath::Local(_) => self.reverse_path.clone(),
            ReversePath::Mailbox(mailbox) => ReversePath::Mailbox(mailbox.to_ascii()?),
        };
        let recipients: Option<Vec<Recipient>> = self
            .recipients
            .iter()
            .enumerate()
            .map(|(index, recipient)| match Skipped::has(skipped, index) {
                true => Some(recipient.clone()),
                false => recipient.to_ascii(),
            })
            .collect();
        Some(Self { reverse_path, recipients: recipients?, ..self.clone() })
            .filter(|it| !it.needs_smtputf8_without(skipped))
    }
}

/// A recipient that is not sent in this transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) index: usize,
    /// What is wrong with its address; `None` for a recipient over the server's limits.
    pub(super) why: Option<PathError>,
}

impl Skipped {
    /// Whether the recipient of this index is among them.
    pub(super) fn has(skipped: &[Self], index: usize) -> bool {
        skipped.binary_search_by_key(&index, |it| it.index).is_ok()
    }
}

/// A recipient and what is wanted for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recipient {
    /// The address.
    pub path: ForwardPath<'static>,
    /// When the sender wants a notification; sent where the server offers DSN (RFC 3461, section
    /// 5.2.2).
    pub notify: Option<Notify>,
    /// The recipient that the sender meant; sent where the server offers DSN.
    pub orcpt: Option<Orcpt<'static>>,
    /// Further parameters of RCPT, sent as they are.
    pub parameters: Parameters<'static>,
}

impl Recipient {
    /// What a relay passes on of a RCPT it has read; unknown parameters are not.
    pub fn relaying(path: ForwardPath<'_>, parameters: &RcptParameters<'_>) -> Self {
        Self {
            path: path.into_owned(),
            notify: parameters.notify,
            orcpt: parameters.orcpt.clone().map(Orcpt::into_owned),
            parameters: Parameters::default(),
        }
    }

    fn is_ascii(&self) -> bool {
        let orcpt = self.orcpt.as_ref().is_none_or(|orcpt| orcpt.as_str().is_ascii());
        orcpt && self.path.as_str().is_ascii()
    }

    #[cfg(feature = "idna")]
    fn to_ascii(&self) -> Option<Self> {
        let path = match &self.path {
            ForwardPath::Local(_) => self.path.clone(),
            ForwardPath::Mailbox(mailbox) => ForwardPath::Mailbox(mailbox.to_ascii()?),
        };
        Some(Self { path, ..self.clone() })
    }
}

impl From<ForwardPath<'static>> for Recipient {
    fn from(path: ForwardPath<'static>) -> Self {
        Self { path, notify: None, orcpt: None, parameters: Parameters::default() }
    }
}

impl FromStr for Recipient {
    type Err = PathError;

    /// Reads the address without brackets; nothing special is wanted.
    fn from_str(text: &str) -> Result<Self, PathError> {
        text.parse().map(|path: ForwardPath<'static>| path.into())
    }
}
