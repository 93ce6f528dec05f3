//! What a connection and a transaction come to, as owned data.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use smtp_proto::channel::TlsInfo;
use smtp_proto::client;
use smtp_proto::client::{AuthFailure, Client, Envelope, Unsupported};
use smtp_proto::error::{ApiMisuse, Error};
use smtp_proto::fallback::{Fallback, TlsFailure};
use smtp_proto::route::{Ending, Manner, RecipientStatus};
use smtp_proto::sasl::client::AuthRefusal;
use smtp_proto::timeouts::Phase;
use smtp_proto::wire::body::BodyDefect;
use smtp_proto::wire::capabilities::Extension;
use smtp_proto::wire::path::PathError;
use smtp_proto::wire::reply::{EnhancedCode, Reply};
use smtp_tls_policy::judge::{Standing, Verdict};
use smtp_tls_policy::plan::Plan;
use smtp_tls_policy::tlsrpt::{ReportedSession, Reporting};
use smtp_tls_policy::{Host, Reason};

use crate::convert;

/// RFC 3463, section 3.7: other or undefined media error.
const DEFECT: EnhancedCode = EnhancedCode::new(5, 6, 0);
/// RFC 3463, section 3.2: bad destination mailbox address syntax.
const BAD_RECIPIENT: EnhancedCode = EnhancedCode::new(5, 1, 3);
/// RFC 3463, section 3.2: bad sender's mailbox address syntax.
const BAD_SENDER: EnhancedCode = EnhancedCode::new(5, 1, 7);
/// RFC 3463, section 3.4: other or undefined mail system status, on this side.
pub(crate) const LOCAL: EnhancedCode = EnhancedCode::new(4, 3, 0);
/// RFC 3463, section 3.5: mail system congestion.
const CONGESTED: EnhancedCode = EnhancedCode::new(4, 4, 5);
/// RFC 3463, section 3.6: too many recipients.
const TOO_MANY: EnhancedCode = EnhancedCode::new(4, 5, 3);
/// RFC 8689, section 4.2.1: REQUIRETLS support required.
const REQUIRETLS_NEEDED: EnhancedCode = EnhancedCode::new(5, 7, 30);

/// What the decision about TLS was, and why.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What the connection was to speak: TLS once STARTTLS was granted, else clear text.
    pub channel: Spoken,
    /// What the handshake showed, if it succeeded.
    pub tls: Option<Arc<TlsInfo>>,
    /// The reason for it.
    pub reason: Reason,
    /// The judgement of the certificate, where there was one.
    pub verdict: Option<Arc<Verdict>>,
    /// One sentence for people.
    pub sentence: String,
}

impl Decision {
    /// Before anything is known: what a plan without TLS, or a retry in clear text, is going to do;
    /// else nothing yet.
    pub(crate) fn undecided(plan: &Plan, is_clear: bool) -> Self {
        let (reason, ending) = match is_clear {
            true => {
                let reason = plan.clear_reason().unwrap_or(Reason::TlsNotWanted);
                (reason, smtp_tls_policy::plan::HopEnding::ClearText)
            }
            false => (Reason::Undecided, smtp_tls_policy::plan::HopEnding::NotDelivered),
        };
        let sentence = smtp_tls_policy::plan::explain(plan, ending, reason, None);
        Self { channel: Spoken::Clear, tls: None, reason, verdict: None, sentence }
    }

    /// TLS is up.
    pub(crate) fn established(&mut self, plan: &Plan, manner: Manner, tls: Arc<TlsInfo>) {
        self.tls = Some(tls);
        let ending = match manner {
            Manner::AsPlanned => smtp_tls_policy::plan::HopEnding::Tls,
            Manner::PlainHello | Manner::ClearText => {
                smtp_tls_policy::plan::HopEnding::TlsPlainHello
            }
        };
        self.explain(plan, Reason::TlsOk, ending);
    }

    /// TLS could not be had, or was lost. `timed_out`: whether a deadline ended it.
    pub(crate) fn no_tls(
        &mut self,
        plan: &Plan,
        failure: TlsFailure,
        fallback: Fallback,
        timed_out: bool,
    ) -> Failure {
        let reason = match (failure, &self.verdict) {
            (TlsFailure::Untrusted, Some(verdict)) => verdict.reason(),
            _ => convert::reason(failure, timed_out),
        };
        let ending = match fallback {
            Fallback::ContinuePlaintext | Fallback::ReconnectPlaintext => {
                smtp_tls_policy::plan::HopEnding::ClearText
            }
            Fallback::RetryPlainHello => smtp_tls_policy::plan::HopEnding::TlsAgain,
            Fallback::PlaintextNextRun | Fallback::Forbidden => {
                smtp_tls_policy::plan::HopEnding::NotDelivered
            }
        };
        self.tls = None;
        self.explain(plan, reason, ending);
        // 4.7.5: what the rules say of everything that is not a missing STARTTLS.
        let status = plan.status(reason).map_or(EnhancedCode::new(4, 7, 5), convert::status);
        Failure::NoTls { failure, fallback, status }
    }

    /// TLS with this host cannot be had, or its certificate not be judged, for a fault of this
    /// side. The mail waits until that is repaired: no rule about the peer applies, so nothing is
    /// sent in clear text, nor to a host further down the route, where clear text might be allowed.
    pub(crate) fn local_fault(
        &mut self,
        plan: &Plan,
        reason: Reason,
        error: Option<&dyn fmt::Display>,
    ) -> Failure {
        self.tls = None;
        self.explain(plan, reason, smtp_tls_policy::plan::HopEnding::NotDelivered);
        tracing::error!(
            reason = reason.code(),
            connector = plan.because().connector(),
            error = error.map(tracing::field::display),
            decision = %self.sentence,
            "mail is deferred until a fault on this side is repaired",
        );
        // RFC 3463, section 3.4: X.3.5, system incorrectly configured.
        let status = plan.status(reason).map_or(EnhancedCode::new(4, 3, 5), convert::status);
        Failure::LocalFault { reason, status }
    }

    /// The failure, if the certificate could not be judged for a fault of this side.
    pub(crate) fn unjudged(&mut self, plan: &Plan) -> Option<Failure> {
        let verdict = self.verdict.as_ref()?;
        let is_local = verdict.standing() == Standing::LocalFault;
        let reason = verdict.reason();
        is_local.then(|| self.local_fault(plan, reason, None))
    }

    /// What the connection came to, for TLS reports.
    pub(crate) fn sessions(
        &self,
        reporting: &Reporting,
        plan: &Plan,
        sending: Option<IpAddr>,
        receiving: IpAddr,
    ) -> Vec<ReportedSession> {
        match (&self.tls, self.verdict.as_deref()) {
            (Some(_), Some(verdict)) => reporting.tls(plan, verdict, sending, receiving),
            // A certificate that counts is not what went wrong.
            (_, verdict) => {
                let verdict = verdict.filter(|verdict| verdict.standing() != Standing::Acceptable);
                reporting.no_tls(plan, self.reason, verdict, sending, receiving)
            }
        }
    }

    /// TLS is up, and the server does not offer REQUIRETLS in it.
    pub(crate) fn no_requiretls(&mut self, plan: &Plan) -> Failure {
        self.explain(
            plan,
            Reason::RequiretlsUnsupported,
            smtp_tls_policy::plan::HopEnding::NotDelivered,
        );
        Failure::RequiretlsUnsupported
    }

    fn explain(&mut self, plan: &Plan, reason: Reason, ending: smtp_tls_policy::plan::HopEnding) {
        // What is wrong with a certificate is not what is wrong with the server's extensions.
        let verdict = self.verdict.as_ref().filter(|_| reason != Reason::RequiretlsUnsupported);
        let defect = verdict.and_then(|verdict| verdict.defect());
        self.sentence = smtp_tls_policy::plan::explain(plan, ending, reason, defect);
        self.reason = reason;
    }
}

/// What a connection spoke, or was to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// Clear text.
    Clear,
    /// TLS.
    Tls,
}

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// TLS could not be had; [`Connection::decision`](crate::Connection::decision) says why.
    #[error("{failure}")]
    NoTls {
        /// What was missing.
        failure: TlsFailure,
        /// What the rules say now.
        fallback: Fallback,
        /// The status for a recipient that is deferred for it.
        status: EnhancedCode,
    },
    /// The server does not want this connection, or no longer.
    #[error("unwelcome ({phase}): {reply}")]
    Unwelcome {
        /// The phase of the conversation that it refused.
        phase: Phase,
        /// The status for the route: that of the reply, or that of the refusal of EHLO where HELO
        /// was refused as well.
        status: EnhancedCode,
        /// Its reply.
        reply: Reply<'static>,
    },
    /// The credentials could not be used here, and nothing was said of them.
    #[error("not authenticated: {0}")]
    Auth(#[from] AuthRefusal),
    /// The server has not taken the credentials. That is a fault of their setup, not of the mail,
    /// which is deferred, whatever the reply says, until there are others (RFC 4954, section 6, on
    /// 535: "the client SHOULD ask the user to supply new credentials").
    #[error("not authenticated: {failure}: {reply}")]
    AuthenticationFailed {
        /// The cause.
        failure: AuthFailure,
        /// The server's reply.
        reply: Reply<'static>,
    },
    /// Too many deliveries wait for a connection, or this one has waited too long: see
    /// [`PoolLimits`](crate::PoolLimits). The mail is deferred.
    #[error("too many deliveries wait for a connection")]
    Congested,
    /// No TCP connection could be made.
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    /// The conversation broke off.
    #[error("{0}")]
    Protocol(#[from] Error),
    /// The socket broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The final dot was sent, and then the connection broke: the message may have been delivered.
    #[error("no reply to the message after its final dot: {0}")]
    InDoubt(Box<Failure>),
    /// The source of the message failed.
    #[error("the message could not be read: {0}")]
    Source(#[source] io::Error),
    /// The message has octets above 127, and
    /// [`Envelope::body`](smtp_proto::client::Envelope::body) says that it is ASCII:
    /// [`measure`](crate::measure) it first. Its final dot was not sent.
    #[error("the message has 8-bit octets, and its envelope says that it is 7-bit")]
    EightBit,
    /// The sender's address breaks
    /// [`ClientConfig::addresses`](smtp_proto::client::ClientConfig::addresses). Nothing was sent.
    #[error("the sender's address cannot be sent: {0}")]
    Sender(PathError),
    /// The address of this recipient breaks
    /// [`ClientConfig::addresses`](smtp_proto::client::ClientConfig::addresses). It was not sent;
    /// the message goes to the other recipients.
    #[error("the recipient's address cannot be sent: {0}")]
    Recipient(PathError),
    /// The message holds what SMTP cannot carry.
    #[error("{0}")]
    Defect(BodyDefect),
    /// A recipient of [`Mail`](crate::Mail) is not of its domain, so that another connector may
    /// apply. Nothing was sent.
    #[error(
        "recipient {index} is not of the domain {domain}, so another connector may apply; nothing was sent"
    )]
    OtherDomain {
        /// Index in [`Envelope::recipients`](smtp_proto::client::Envelope::recipients).
        index: usize,
        /// The domain of the mail.
        domain: Host,
    },
    /// The server does not announce an extension that a command needs. Nothing was sent.
    #[error("the server does not offer {}", .0.keyword())]
    NotOffered(Extension),
    /// The machine was driven wrongly.
    #[error("{0}")]
    Misuse(ApiMisuse),
    /// The message requires REQUIRETLS, and the server does not offer it inside TLS: RFC 8689,
    /// section 4.2.1.
    #[error("the server does not offer REQUIRETLS inside TLS")]
    RequiretlsUnsupported,
    /// The envelope wants REQUIRETLS and the plan was made for a message that does not, or the
    /// other way round. Nothing was sent: only a plan made for this message says whether this
    /// server may have it.
    #[error("the plan was made for a message with another wish for REQUIRETLS")]
    OtherMessage,
    /// Something that TLS needs is missing on this side, or stale: nothing is known of the peer,
    /// and the mail is deferred. [`Connection::decision`](crate::Connection::decision) says what it
    /// is.
    #[error("a fault on this side: {}", reason.sentence())]
    LocalFault {
        /// What is missing, or stale.
        reason: Reason,
        /// The status for the recipients: 4.3.5, system incorrectly configured (RFC 3463, section
        /// 3.4).
        status: EnhancedCode,
    },
}

impl From<ApiMisuse> for Failure {
    fn from(misuse: ApiMisuse) -> Self {
        match misuse {
            ApiMisuse::Sender(error) => Self::Sender(error),
            ApiMisuse::Defect(defect) => Self::Defect(defect),
            ApiMisuse::NotOffered(extension) => Self::NotOffered(extension),
            misuse => Self::Misuse(misuse),
        }
    }
}

impl Failure {
    /// What this failure means for a [`Route`](smtp_proto::route::Route): the host's next address,
    /// the next host, or no other host now.
    pub fn ending(&self) -> Ending {
        match self {
            Self::NoTls { fallback, status, .. } => {
                Ending::NoTls { fallback: *fallback, status: *status }
            }
            Self::RequiretlsUnsupported => {
                Ending::NoTls { fallback: Fallback::Forbidden, status: REQUIRETLS_NEEDED }
            }
            Self::Unwelcome { status, .. } => Ending::Unwelcome(*status),
            Self::Auth(refusal) => Ending::Unauthenticated(refusal.status()),
            Self::AuthenticationFailed { failure, reply } => {
                Ending::Unauthenticated(failure.status(reply))
            }
            Self::InDoubt(_) => Ending::InDoubt,
            Self::Connect(_) => Ending::Unreachable,
            Self::Congested => Ending::Local(CONGESTED),
            Self::Protocol(_) | Self::Io(_) => Ending::Broken,
            Self::LocalFault { status, .. } => Ending::Local(*status),
            Self::Source(_) | Self::Misuse(_) | Self::NotOffered(_) => Ending::Local(LOCAL),
            Self::OtherMessage | Self::OtherDomain { .. } => Ending::Local(LOCAL),
            Self::EightBit | Self::Defect(_) => Ending::Local(DEFECT),
            Self::Sender(_) => Ending::Local(BAD_SENDER),
            Self::Recipient(_) => Ending::Local(BAD_RECIPIENT),
        }
    }

    /// The reply of the server that ended the connection, where it was one.
    pub fn reply(&self) -> Option<&Reply<'static>> {
        match self {
            Self::Unwelcome { reply, .. } | Self::AuthenticationFailed { reply, .. } => Some(reply),
            _ => None,
        }
    }

    /// The status of a recipient whose transaction ended so; none if the route decides.
    pub(crate) fn status(&self) -> Option<RecipientStatus> {
        if let Self::LocalFault { status, .. } = self {
            return Some(RecipientStatus::Deferred(*status));
        }
        match self.ending() {
            Ending::Local(status @ EnhancedCode { class: 5, .. }) => {
                Some(RecipientStatus::Bounced(status))
            }
            Ending::Local(status) => Some(RecipientStatus::Deferred(status)),
            _ => None,
        }
    }
}

/// How a transaction ended for each recipient.
#[derive(Debug)]
pub struct Delivery {
    /// The reply to each RCPT that the server answered, by index.
    pub recipients: Vec<Option<Reply<'static>>>,
    /// LMTP: the replies to the message for each recipient, as far as they came, with its index.
    /// This list and the next two are in the order of the indices.
    pub delivered: Vec<(usize, Reply<'static>)>,
    /// Recipients that were not sent because of their addresses, by index: see
    /// [`ClientConfig::addresses`](smtp_proto::client::ClientConfig::addresses).
    pub not_sent: Vec<(usize, PathError)>,
    /// Recipients over the server's limits that were left for another transaction, by index.
    pub left: Vec<usize>,
    /// How the transaction as a whole ended.
    pub end: Result<OutcomeBuf, Failure>,
    /// The first recipient that RCPT accepted, by index. The status of each of many recipients may
    /// depend on it.
    first_accepted: Option<usize>,
}

/// How a transaction ended, as owned data; see [`client::Outcome`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutcomeBuf {
    /// The message was taken for every accepted recipient.
    Accepted(Reply<'static>),
    /// LMTP: each accepted recipient has had its own reply to the message.
    PerRecipient,
    /// MAIL, DATA or the message was refused.
    Refused {
        /// What was refused.
        phase: Phase,
        /// The reply that refused it.
        reply: Reply<'static>,
    },
    /// Every recipient was refused.
    NoRecipients,
    /// The server lacks what the envelope needs.
    Unsupported(Unsupported),
}

impl Delivery {
    /// A delivery of which nothing is known yet.
    pub(crate) fn of(envelope: &Envelope) -> Self {
        Self {
            recipients: vec![None; envelope.recipients.len()],
            delivered: Vec::new(),
            not_sent: Vec::new(),
            left: Vec::new(),
            end: Ok(OutcomeBuf::NoRecipients),
            first_accepted: None,
        }
    }

    /// The reply to RCPT of a recipient. The replies come in the order of the indices.
    pub(crate) fn answered(&mut self, index: usize, reply: Reply<'static>) {
        if reply.is_positive() {
            self.first_accepted.get_or_insert(index);
        }
        self.recipients[index] = Some(reply);
    }

    /// Whether the connection ended the transaction, and the message was neither accepted nor in
    /// doubt, and no recipient was refused: the same may be repeated at once on a new connection.
    pub(crate) fn may_be_repeated(&self) -> bool {
        let is_open =
            |reply: &Option<Reply<'static>>| reply.as_ref().is_none_or(|reply| reply.is_positive());
        self.delivered.is_empty()
            && self.recipients.iter().all(is_open)
            && match &self.end {
                // A refused RSET is about the message before this one.
                Ok(OutcomeBuf::Refused { phase: Phase::Reset, .. }) => true,
                Ok(OutcomeBuf::Refused { reply, .. }) => reply.code() == 421,
                Err(Failure::Unwelcome { reply, .. }) => reply.code() == 421,
                Err(Failure::Protocol(_) | Failure::Io(_)) => true,
                Err(Failure::NoTls { failure: TlsFailure::Lost { end_of_data_sent }, .. }) => {
                    !end_of_data_sent
                }
                _ => false,
            }
    }

    /// Whether an earlier recipient of the transaction was accepted: the first one cannot be one
    /// too many.
    fn has_accepted_before(&self, index: usize) -> bool {
        self.first_accepted.is_some_and(|first| first < index)
    }

    /// Whether RCPT was refused for the number of recipients alone.
    pub(crate) fn is_one_too_many(&self, index: usize) -> bool {
        let reply = self.recipients.get(index).and_then(Option::as_ref);
        reply.is_some_and(|reply| !reply.is_positive())
            && self.status(index) == Some(RecipientStatus::Deferred(TOO_MANY))
    }

    /// LMTP: the reply to the message for one recipient.
    fn verdict(&self, index: usize) -> Option<&Reply<'static>> {
        let at = self.delivered.binary_search_by_key(&index, |it| it.0).ok()?;
        Some(&self.delivered[at].1)
    }

    /// Whether a recipient is over the server's limits and was left for another transaction.
    pub(crate) fn is_left(&self, index: usize) -> bool {
        self.left.binary_search(&index).is_ok()
    }

    /// The reply that decided about one recipient: to the message in LMTP, to RCPT if that was
    /// refused, otherwise to the transaction as a whole.
    pub fn reply(&self, index: usize) -> Option<&Reply<'static>> {
        if let Some(reply) = self.verdict(index) {
            return Some(reply);
        }
        match self.recipients.get(index)? {
            Some(reply) if !reply.is_positive() => Some(reply),
            _ => match &self.end {
                Ok(OutcomeBuf::Accepted(reply) | OutcomeBuf::Refused { reply, .. }) => Some(reply),
                Ok(
                    OutcomeBuf::PerRecipient
                    | OutcomeBuf::NoRecipients
                    | OutcomeBuf::Unsupported(_),
                ) => None,
                Err(failure) => failure.reply(),
            },
        }
    }

    /// The status of one recipient; none if the connection broke before there was one.
    pub fn status(&self, index: usize) -> Option<RecipientStatus> {
        let of = |reply: &Reply<'_>| RecipientStatus::refused(reply);
        if let Some(reply) = self.verdict(index) {
            return Some(if reply.is_positive() { RecipientStatus::Delivered } else { of(reply) });
        }
        if self.not_sent.binary_search_by_key(&index, |it| it.0).is_ok() {
            return Some(RecipientStatus::Bounced(BAD_RECIPIENT));
        }
        if self.is_left(index) {
            return Some(RecipientStatus::Deferred(TOO_MANY));
        }
        // A reply too many, or one of another command: the replies to RCPT may belong to other
        // recipients.
        if matches!(&self.end, Err(Failure::Protocol(error)) if error.is_misbehaviour()) {
            return None;
        }
        match self.recipients.get(index)? {
            // RFC 5321, section 4.5.3.1.10: "Clients SHOULD treat a 552 code in this case as a
            // temporary, rather than permanent, failure". What else it may mean to RCPT, its
            // enhanced code says.
            Some(reply)
                if reply.code() == 552
                    && reply.enhanced().is_none_or(is_too_many)
                    && self.has_accepted_before(index) =>
            {
                Some(RecipientStatus::Deferred(TOO_MANY))
            }
            Some(reply) if !reply.is_positive() => Some(of(reply)),
            _ => match &self.end {
                Ok(outcome) => outcome.borrow().status(),
                Err(failure) => failure.status(),
            },
        }
    }
}

/// Whether a refusal of RCPT is for the number of recipients alone: 452, or 552 of old.
fn is_too_many(status: EnhancedCode) -> bool {
    (status.subject, status.detail) == (TOO_MANY.subject, TOO_MANY.detail)
}

impl From<client::Outcome<'_>> for OutcomeBuf {
    fn from(outcome: client::Outcome<'_>) -> Self {
        match outcome {
            client::Outcome::Accepted(reply) => Self::Accepted(reply.into_owned()),
            client::Outcome::Refused { phase, reply } => {
                Self::Refused { phase, reply: reply.into_owned() }
            }
            client::Outcome::PerRecipient => Self::PerRecipient,
            client::Outcome::Unsupported(unsupported) => Self::Unsupported(unsupported),
            client::Outcome::NoRecipients => Self::NoRecipients,
        }
    }
}

impl OutcomeBuf {
    /// The borrowed form.
    pub fn borrow(&self) -> client::Outcome<'_> {
        match self {
            Self::Accepted(reply) => client::Outcome::Accepted(reply.clone()),
            Self::Refused { phase, reply } => {
                client::Outcome::Refused { phase: *phase, reply: reply.clone() }
            }
            Self::PerRecipient => client::Outcome::PerRecipient,
            Self::Unsupported(unsupported) => client::Outcome::Unsupported(*unsupported),
            Self::NoRecipients => client::Outcome::NoRecipients,
        }
    }
}

/// What a broken connection means: the fault of TLS, a message in doubt, or just broken.
pub(super) fn lost(
    client: &mut Client,
    plan: &Plan,
    decision: &mut Decision,
    failure: Failure,
) -> Failure {
    match failure {
        Failure::Connect(_)
        | Failure::Congested
        | Failure::Misuse(_)
        | Failure::LocalFault { .. }
        | Failure::NoTls { .. } => return failure,
        Failure::Source(_) | Failure::EightBit | Failure::Defect(_) => return failure,
        Failure::Sender(_) | Failure::Recipient(_) => return failure,
        Failure::Auth(_) | Failure::AuthenticationFailed { .. } => return failure,
        Failure::OtherMessage | Failure::OtherDomain { .. } => return failure,
        Failure::RequiretlsUnsupported | Failure::NotOffered(_) => return failure,
        Failure::Protocol(_) | Failure::Io(_) | Failure::InDoubt(_) | Failure::Unwelcome { .. } => {
        }
    }
    if client.is_in_doubt() {
        return Failure::InDoubt(Box::new(failure));
    }
    let timed_out = matches!(failure, Failure::Protocol(Error::Timeout(_)));
    match client.connection_lost() {
        Some((no_tls, fallback)) => decision.no_tls(plan, no_tls, fallback, timed_out),
        None => failure,
    }
}
