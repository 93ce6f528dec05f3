//! The host of one connection, and the rules for it.

use smtp_proto::fallback::TlsRules;
use smtp_proto::route::Manner;
use smtp_proto::sasl::client::{ChannelFloor, Credentials};
use smtp_tls_policy::Host;
use smtp_tls_policy::plan::{Attempt, Plan};
use smtp_tls_policy::rules::{DialRules, IdentityId};
use smtp_tls_policy::tls::server_name;

use crate::convert;

/// The host of one connection, and the rules for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Target {
    /// The host.
    pub host: Host,
    /// What [`plan`](smtp_tls_policy::plan::plan()) made of the facts. Whether the message has
    /// REQUIRETLS is a part of it.
    pub plan: Plan,
    /// The client certificate to show. None by default.
    pub identity: Option<IdentityId>,
    /// What to authenticate with at this host, and at no other. None by default. Without success no
    /// mail is sent (RFC 4954, section 9). Unless they [allow clear text](ChannelFloor::Clear),
    /// credentials require TLS, whatever the plan says of it.
    pub credentials: Option<Credentials>,
    /// How the host is dialled: source address, interface and proxy. The system's choice by
    /// default.
    pub dial: DialRules,
    /// How the connection is to be made. [`Manner::AsPlanned`] by default.
    pub manner: Manner,
}

impl Target {
    /// A host with its plan: a first try, without client certificate and credentials.
    pub fn new(host: &Host, plan: &Plan) -> Self {
        Self::of(host.clone(), plan.clone())
    }

    pub(crate) fn of(host: Host, plan: Plan) -> Self {
        Self {
            host,
            plan,
            identity: None,
            credentials: None,
            dial: DialRules::default(),
            manner: Manner::AsPlanned,
        }
    }

    /// Whether TLS is not even asked for.
    pub(crate) fn is_clear(&self) -> bool {
        self.rules_in_this_manner() == TlsRules::Never
    }

    /// Whether a connection in clear text may follow one whose TLS failed.
    pub(crate) fn may_retry_in_clear(&self) -> bool {
        self.is_optional() && self.plan.attempt() != Attempt::Implicit
    }

    /// The rules of the plan, raised by what the credentials need. The manner never overrides a
    /// plan that requires TLS.
    pub(crate) fn rules(&self) -> TlsRules {
        let rules = self.rules_in_this_manner();
        match server_name(&self.plan, &self.host) {
            Ok(_) => rules,
            // A second hello does not help a name that TLS cannot carry.
            Err(_) => rules.without_plain_hello(),
        }
    }

    /// Whether TLS is tried, and clear text allowed without it.
    fn is_optional(&self) -> bool {
        matches!(self.rules_in_this_manner(), TlsRules::Opportunistic { .. })
    }

    fn rules_in_this_manner(&self) -> TlsRules {
        let rules = match self.credentials.as_ref().map(|credentials| credentials.floor) {
            // S16: neither the credentials nor the mail that they are for travel in clear text.
            Some(ChannelFloor::Authenticated | ChannelFloor::Encrypted) => TlsRules::REQUIRED,
            Some(ChannelFloor::Clear) | None => convert::tls_rules(&self.plan),
        };
        match (self.manner, rules) {
            (Manner::ClearText, TlsRules::Opportunistic { .. }) => TlsRules::Never,
            (Manner::AsPlanned, _) => rules,
            (Manner::PlainHello | Manner::ClearText, _) => rules.without_plain_hello(),
        }
    }

    /// Whether the handshake of this connection asks as little of the peer as that of any mail: it
    /// has the plainest hello, no client certificate and no limits of a connector, the plan may end
    /// in clear text, and the connection takes the usual way to the peer. If such a handshake
    /// fails, that is a fault of the peer.
    pub(crate) fn is_plainest(&self) -> bool {
        self.manner == Manner::PlainHello
            && self.may_retry_in_clear()
            && self.shown_identity().is_none()
            && self.asks_as_others_do()
    }

    /// Whether the handshake with the peer is like that of other mail: it has no limits of a
    /// connector, and takes the usual way. Only then does it show what other handshakes need, and
    /// only then is what others needed of use to it.
    pub(crate) fn asks_as_others_do(&self) -> bool {
        self.plan.limits().is_unlimited() && self.takes_the_usual_way()
    }

    /// Whether connections go the way of all mail. A proxy, or an interface with a way of its own,
    /// may break TLS by itself.
    pub(crate) fn takes_the_usual_way(&self) -> bool {
        let mut usual = DialRules::default();
        usual.families = self.dial.families;
        usual.clear_text_at_once = self.dial.clear_text_at_once;
        self.dial == usual
    }

    /// The client certificate that this connection does not show, and one as planned would.
    pub(crate) fn identity_left_out(&self) -> Option<&IdentityId> {
        self.identity.as_ref().filter(|_| self.shown_identity().is_none())
    }

    /// The client certificate to show on this connection. With the plainest hello, one is left out
    /// where the next step would be clear text, in which none is shown either.
    pub(crate) fn shown_identity(&self) -> Option<&IdentityId> {
        let is_optional = self.is_optional();
        self.identity.as_ref().filter(|_| self.manner == Manner::AsPlanned || !is_optional)
    }
}
