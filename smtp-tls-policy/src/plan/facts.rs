//! What is known before dialling one host: the input of [`plan`](crate::plan::plan()).

use std::sync::Arc;

use crate::domain::{Domain, Host};
use crate::pki::tlsa::TlsaSet;
#[cfg(doc)]
use crate::reason::Reason;
use crate::rules::connector::OutboundConnector;
use crate::rules::posture::Floor;
use crate::sts::messages::StsAnswer;

/// How the host to dial was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostOrigin {
    /// From the MX lookup of the next hop, the implicit MX included (RFC 5321, section 5.1).
    Mx,
    /// From the configuration: it is the next hop.
    SmartHost,
    /// The recipient domain is an address literal: it is the next hop.
    Literal,
}

/// The policy for the next hop.
#[derive(Clone, Copy, Debug)]
pub enum Policy<'a> {
    /// The connector that serves the recipient domain.
    Connector(&'a OutboundConnector),
    /// The lookup of the policy failed, or gave something malformed. That is not the same as having
    /// no policy.
    Unavailable,
}

/// A source beside the connector, such as one message that wants TLS. It can only raise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The name of the source, for logs.
    pub by: Arc<str>,
    /// The least that the connection must be. [`Floor::Authenticated`] brings the connector's
    /// certificate check with it, or a PKIX check for the host if the connector has no check.
    pub floor: Floor,
}

/// What a validating resolver says of an answer or a denial (RFC 4033, section 5), or that there is
/// no answer.
///
/// A resolver that does not validate must say [`Insecure`](Self::Insecure): then DANE never
/// applies. See [`ValidationWatch`](crate::inquiry::ValidationWatch).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsStatus {
    /// Signed, and each signature on the way verified.
    Secure,
    /// From a zone that is provably not signed.
    Insecure,
    /// Signatures are missing or wrong. A failed lookup (RFC 7672, section 2.1.1).
    Bogus,
    /// It cannot be told: no answer came in time, or the resolver lacks what it takes (RFC 4035,
    /// section 4.3). A failed lookup (RFC 7672, section 2.1.1). Whose fault it is cannot be told
    /// either, so no TLS report counts an MX lookup that ends so.
    Indeterminate,
    /// SERVFAIL, a malformed reply, or anything else that came back and is no answer.
    Failed,
    /// This side could not ask: it has no free descriptor, or no resolver can be reached. A failed
    /// lookup that says nothing of the domain: the mail waits, and no TLS report counts it.
    Local,
}

impl DnsStatus {
    /// Whether the lookup failed: there is no answer that could be believed.
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Secure | Self::Insecure => false,
            Self::Bogus | Self::Indeterminate | Self::Failed | Self::Local => true,
        }
    }
}

/// What is known of the host's TLSA records; a [`HostInquiry`](crate::inquiry::HostInquiry) finds
/// it out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsaFact {
    /// The question was not asked, because DANE does not apply to the host: its addresses are not
    /// signed (RFC 7672, section 2.2.2), or its connector lets no TLSA records count.
    #[default]
    NotAsked,
    /// There are none, or only insecure ones.
    Absent,
    /// A secure RRset. All of its records may be unusable.
    Found(TlsaSet),
    /// A lookup on the way failed: the host is unreachable (RFC 7672, section 2.1.2).
    Failed,
    /// The same, for a [fault of this side](DnsStatus::Local).
    Local,
}

/// What the message wants of TLS (RFC 8689). It decides whether MAIL carries the option REQUIRETLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MessageTls {
    /// Nothing. MAIL is without the option.
    #[default]
    Default,
    /// `TLS-Required: No`: it is to arrive even where the recipient's published policies fail. MAIL
    /// is without the option.
    Optional,
    /// REQUIRETLS. MAIL carries the option: a host that does not offer it inside TLS gets QUIT and
    /// no mail, with 5.7.30 ([`Reason::RequiretlsUnsupported`]).
    Required,
    /// REQUIRETLS with a null reverse-path: MAIL carries the option if the EHLO reply inside TLS
    /// offers it. Otherwise the message goes without (RFC 8689, section 4.2.1 speaks of other
    /// messages only).
    RequiredOfBounce,
}

impl MessageTls {
    /// From the REQUIRETLS option of MAIL, the reverse-path, and whether the message has a single
    /// header field `TLS-Required: No`, which REQUIRETLS overrules (RFC 8689, section 4.1).
    pub const fn new(require_tls: bool, null_reverse_path: bool, tls_required_no: bool) -> Self {
        match (require_tls, null_reverse_path, tls_required_no) {
            (true, false, _) => Self::Required,
            (true, true, _) => Self::RequiredOfBounce,
            (false, _, true) => Self::Optional,
            (false, _, false) => Self::Default,
        }
    }
}

/// What is known before dialling one host.
///
/// An [`inquiry`](crate::inquiry) gathers these facts for a delivery. They can be written by hand
/// where nothing has to be looked up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Facts<'a> {
    /// The policy for the recipient domain.
    pub policy: Policy<'a>,
    /// Further sources, in any order.
    pub demands: &'a [Demand],
    /// The recipient domain, whose MX lookup gave the host. Ignored for a smart host and an address
    /// literal: in that case the host itself is the next hop.
    pub next_hop: &'a Host,
    /// The host to dial.
    pub host: &'a Host,
    /// How the host was found.
    pub origin: HostOrigin,
    /// TLS from the first byte, without STARTTLS (RFC 8314). A connector's smart host with implicit
    /// TLS counts by itself.
    pub implicit_tls: bool,
    /// The DNSSEC status of the MX answer, or of its denial. For a smart host
    /// [`SmartHost::secure`](crate::rules::connector::SmartHost::secure) counts instead.
    pub mx: DnsStatus,
    /// The name at the end of the recipient domain's CNAMEs, if it is an alias (RFC 7672, section
    /// 2.2.1).
    pub expanded_next_hop: Option<&'a Domain>,
    /// The host's TLSA records.
    pub tlsa: &'a TlsaFact,
    /// The MTA-STS policy of the next hop, and what failed when it was looked up.
    pub sts: &'a StsAnswer,
    /// What the message wants.
    pub message: MessageTls,
}

impl<'a> Facts<'a> {
    /// The facts for one host of a recipient domain that this connector serves. STARTTLS, no
    /// further sources, nothing signed in the DNS, and no MTA-STS policy.
    pub fn new(
        connector: &'a OutboundConnector,
        next_hop: &'a Host,
        host: &'a Host,
        origin: HostOrigin,
    ) -> Self {
        Self::of(Policy::Connector(connector), next_hop, host, origin)
    }

    /// The facts where the policy could not be looked up.
    pub fn policy_unavailable(next_hop: &'a Host, host: &'a Host, origin: HostOrigin) -> Self {
        Self::of(Policy::Unavailable, next_hop, host, origin)
    }

    pub(crate) fn of(
        policy: Policy<'a>,
        next_hop: &'a Host,
        host: &'a Host,
        origin: HostOrigin,
    ) -> Self {
        Self {
            policy,
            demands: &[],
            next_hop,
            host,
            origin,
            implicit_tls: false,
            mx: DnsStatus::Insecure,
            expanded_next_hop: None,
            tlsa: &TlsaFact::NotAsked,
            sts: &StsAnswer { policy: None, trouble: None },
            message: MessageTls::Default,
        }
    }
}
