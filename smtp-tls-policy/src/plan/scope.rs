//! Which published policies count for a delivery, as far as that is known before a host is.

use crate::domain::Host;
use crate::plan::facts::{DnsStatus, Facts, HostOrigin, MessageTls};
use crate::reason::Reason;
use crate::rules::connector::OutboundConnector;
use crate::rules::posture::{DaneRule, OptionalTls, Posture, StsRule};

/// What decides which published policies count: the connector, the message, and how hosts are
/// found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) connector: &'a OutboundConnector,
    pub(crate) origin: HostOrigin,
    pub(crate) message: MessageTls,
    /// The status of the MX answer.
    pub(crate) mx: DnsStatus,
}

impl<'a> Scope<'a> {
    pub(super) fn of(connector: &'a OutboundConnector, facts: &Facts<'_>) -> Self {
        Self { connector, origin: facts.origin, message: facts.message, mx: facts.mx }
    }

    /// Whether DNSSEC led to the host, or a configuration that counts as much.
    pub(crate) fn mx_secure(&self) -> bool {
        match self.origin {
            HostOrigin::Mx => self.mx == DnsStatus::Secure,
            HostOrigin::SmartHost => {
                self.connector.smart_host.as_ref().is_some_and(|smart_host| smart_host.secure)
            }
            HostOrigin::Literal => false,
        }
    }

    /// `TLS-Required: No`: what others publish is only recorded.
    pub(crate) fn is_optional(&self) -> bool {
        self.message == MessageTls::Optional
    }

    pub(crate) fn is_dane_only(&self) -> bool {
        let capped = self.is_optional() && self.connector.optional_tls == OptionalTls::Everything;
        self.connector.posture == Posture::DaneOnly && !capped
    }

    /// Why no host of the next hop may be dialled, whatever is published for it.
    pub(crate) fn refusal(&self) -> Option<Reason> {
        // RFC 7672, section 2.1.2: without the MX records the hosts are not known.
        if self.origin == HostOrigin::Mx && self.mx.is_failure() {
            return Some(match self.mx {
                DnsStatus::Local => Reason::LookupLocalFault,
                _ => Reason::MxLookupFailed,
            });
        }
        // RFC 7672, section 2.2.1: mandatory DANE and insecure MX records: delivery MUST be
        // delayed.
        let insecure =
            self.is_dane_only() && !self.mx_secure() && self.origin != HostOrigin::Literal;
        insecure.then_some(Reason::MxInsecure)
    }

    /// Whether the TLSA records of this host count, if there are any.
    pub(crate) fn dane_counts(&self, host: &Host) -> bool {
        // RFC 7672, section 2.2: DANE does not apply to an address, neither as a literal nor in an
        // MX record.
        let is_name = self.origin != HostOrigin::Literal && host.domain().is_some();
        is_name
            && self.connector.posture != Posture::None
            && match self.connector.dane {
                DaneRule::Off => false,
                DaneRule::SecureMx => self.mx_secure(),
                DaneRule::AnyMx => true,
            }
    }

    /// Whether the TLSA records of this host are in force, and not only recorded.
    pub(crate) fn dane_binds(&self, host: &Host) -> bool {
        self.dane_counts(host) && (self.is_dane_only() || !self.is_optional())
    }

    /// Whether the MTA-STS policy counts, if there is one. It is the policy of the next hop, and a
    /// smart host is the next hop.
    pub(crate) fn sts_counts(&self, next_hop: &Host) -> bool {
        self.origin != HostOrigin::Literal
            && next_hop.domain().is_some()
            && self.connector.posture != Posture::None
            && self.connector.sts != StsRule::Off
    }

    /// Whether the MTA-STS policy can matter, so that it is worth a lookup.
    pub(crate) fn asks_for_sts(&self, next_hop: &Host) -> bool {
        // RFC 8689, section 4.2.1: under REQUIRETLS it may vouch for the host, whatever the
        // posture.
        let vouches = self.message == MessageTls::Required && self.connector.sts != StsRule::Off;
        let has_domain = self.origin != HostOrigin::Literal && next_hop.domain().is_some();
        has_domain && (vouches || self.sts_counts(next_hop))
    }
}
