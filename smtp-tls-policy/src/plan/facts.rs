//! What is known before dialling one host: the input of [`plan`](crate::plan::plan()).

use std::sync::Arc;

use crate::domain::{Domain, Host};
use crate::pki::tlsa::TlsaSet;
use crate::rules::connector::OutboundConnector;
use crate::rules::posture::Floor;
use crate::sts::fact::StsFact;

/// How the host to dial was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostOrigin {
    /// From the MX look-up of the next hop, the implicit MX included (RFC 5321, 5.1).
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
    /// The look-up failed, or gave something malformed. That is not the same as having no policy.
    Unavailable,
}

/// A source beside the connector, such as one message that wants TLS. It can only raise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Who demands, for logs.
    pub by: Arc<str>,
    /// The least that the connection must be. [`Floor::Authenticated`] brings the connector's certificate check with
    /// it, or a PKIX check for the host where it has none.
    pub floor: Floor,
}

/// What a validating resolver says of an answer (RFC 4033, 5), denials included, or that there is none.
///
/// A resolver that does not validate must say [`Insecure`](Self::Insecure): then DANE never applies. See
/// [`ValidationWatch`](crate::plan::search::ValidationWatch).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsStatus {
    /// Signed, and every signature on the way verified.
    Secure,
    /// From a zone that is provably not signed.
    Insecure,
    /// Signatures are missing or wrong. A failed look-up (RFC 7672, 2.1.1).
    Bogus,
    /// It cannot be told. A failed look-up (RFC 7672, 2.1.1).
    Indeterminate,
    /// SERVFAIL, a timeout, a malformed reply, or anything else that is no answer.
    Failed,
}

/// What the failure of one address family means where the other one has an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FailedFamily {
    /// The host is unreachable (RFC 7672, 2.2.2).
    #[default]
    Delays,
    /// The addresses of the other family are used.
    IsSkipped,
}

impl DnsStatus {
    /// Whether the look-up failed: there is no answer that could be believed.
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Secure | Self::Insecure => false,
            Self::Bogus | Self::Indeterminate | Self::Failed => true,
        }
    }

    /// Joins the answers for A and AAAA: the worse of the two counts, save that a failed family may be skipped.
    pub const fn of_addresses(a: Self, aaaa: Self, rule: FailedFamily) -> Self {
        match (rule, a.is_failure(), aaaa.is_failure()) {
            (FailedFamily::IsSkipped, true, false) => aaaa,
            (FailedFamily::Delays, false, true) => aaaa,
            (_, true, _) | (FailedFamily::IsSkipped, false, true) => a,
            (_, false, false) => match (a, aaaa) {
                (Self::Secure, Self::Secure) => Self::Secure,
                _ => Self::Insecure,
            },
        }
    }
}

/// What came of the search for the host's TLSA records; [`Search`](crate::plan::search::Search) makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsaFact {
    /// There are none, or only insecure ones, or DANE does not apply to the host.
    #[default]
    Absent,
    /// A secure RRset, whose records may all be unusable.
    Found(TlsaSet),
    /// A look-up on the way failed: the host is unreachable (RFC 7672, 2.1.2).
    Failed,
}

/// What the DNS said on the way to the host.
#[derive(Clone, Copy, Debug)]
pub struct Dns<'a> {
    /// Of the MX answer, or of its denial. A smart host counts by [`SmartHost::secure`](crate::rules::connector::SmartHost::secure)
    /// instead.
    pub mx: DnsStatus,
    /// The recipient domain behind its CNAME, where it is an alias (RFC 7672, 2.2.1).
    pub expanded_next_hop: Option<&'a Domain>,
    /// The host's TLSA records.
    pub tlsa: &'a TlsaFact,
}

impl Dns<'_> {
    /// Nothing on the way is signed.
    pub const UNSIGNED: Self =
        Self { mx: DnsStatus::Insecure, expanded_next_hop: None, tlsa: &TlsaFact::Absent };
}

/// What the message wants of TLS (RFC 8689).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MessageTls {
    /// Nothing.
    #[default]
    Default,
    /// `TLS-Required: No`: it is to arrive even where the recipient's published policies fail.
    Optional,
    /// REQUIRETLS.
    Required,
    /// REQUIRETLS with a null reverse-path: the option is sent where it is offered, and its absence stops nothing
    /// (RFC 8689, 4.2.1 speaks of other messages only).
    RequiredOfBounce,
}

impl MessageTls {
    /// From the REQUIRETLS option of MAIL, the reverse-path, and whether the message has a single header field
    /// `TLS-Required: No`, which REQUIRETLS overrules (RFC 8689, 4.1).
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
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Facts<'a> {
    /// The policy for the recipient domain.
    pub policy: Policy<'a>,
    /// Further sources, in any order.
    pub demands: &'a [Demand],
    /// The recipient domain, whose MX look-up gave the host. For a smart host or an address literal the host itself is
    /// the next hop, whatever stands here.
    pub next_hop: &'a Host,
    /// The host to dial.
    pub host: &'a Host,
    /// How the host was found.
    pub origin: HostOrigin,
    /// TLS from the first byte, without STARTTLS (RFC 8314). That of the connector's smart host counts by itself.
    pub implicit_tls: bool,
    /// What the DNS said.
    pub dns: Dns<'a>,
    /// The MTA-STS policy of the next hop.
    pub sts: StsFact,
    /// What the message wants.
    pub message: MessageTls,
    /// A TLS handshake with this host failed or stalled lately. Without effect above the floor Plaintext.
    pub remembered_broken: bool,
}

impl<'a> Facts<'a> {
    /// The facts for one host of a recipient domain that this connector serves. STARTTLS, and no further sources.
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

    fn of(policy: Policy<'a>, next_hop: &'a Host, host: &'a Host, origin: HostOrigin) -> Self {
        Self {
            policy,
            demands: &[],
            next_hop,
            host,
            origin,
            implicit_tls: false,
            dns: Dns::UNSIGNED,
            sts: StsFact::NONE,
            message: MessageTls::Default,
            remembered_broken: false,
        }
    }
}
