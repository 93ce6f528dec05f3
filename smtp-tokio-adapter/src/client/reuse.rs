//! Which message a connection that is kept open may carry.

use smtp_proto::sasl::client::Credentials;
use smtp_tls_policy::Host;
use smtp_tls_policy::plan::Plan;
use smtp_tls_policy::rules::IdentityId;

use crate::client::outbound::Target;

/// All for which a connection was opened. One that is kept open may carry a further message only
/// where the message's key is equal, compared in full: what was proved for one next hop, plan or
/// identity is proved for no other.
///
/// Two domains that share a host have two keys, for the policy of the one says nothing about the
/// other; and so have two messages of which one has REQUIRETLS (RFC 8689), or `TLS-Required: No`,
/// since their plans differ. A key that is equal says nothing about the connection itself, which
/// [`Connection`](crate::Connection) tells.
///
/// ```
/// use smtp_tls_policy::{Host, Namespace};
/// use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
/// use smtp_tls_policy::rules::{OutboundConnector, Posture};
/// use smtp_tokio_adapter::{ReuseKey, Target};
///
/// let connector = OutboundConnector::new("everybody", vec![Namespace::Default], Posture::Verified);
/// let (one, other, host) = (Host::parse("a.example")?, Host::parse("b.example")?, Host::parse("mx.example")?);
/// let plan = plan(&Facts::new(&connector, &one, &host, HostOrigin::Mx))?;
/// let target = Target::new(&host, &plan);
/// assert_eq!(ReuseKey::new(&one, &target, 25), ReuseKey::new(&one, &target, 25));
/// assert_ne!(ReuseKey::new(&one, &target, 25), ReuseKey::new(&other, &target, 25));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReuseKey {
    next_hop: Host,
    host: Host,
    port: u16,
    /// REQUIRETLS is a part of it.
    plan: Plan,
    credentials: Option<Credentials>,
    identity: Option<IdentityId>,
    retry_in_clear: bool,
}

impl ReuseKey {
    /// The key for a message to `next_hop`, the domain for which the host was looked up, or the
    /// smart host.
    pub fn new(next_hop: &Host, target: &Target<'_>, port: u16) -> Self {
        Self {
            next_hop: next_hop.clone(),
            host: target.host.clone(),
            port,
            plan: target.plan.clone(),
            credentials: target.credentials.cloned(),
            identity: target.identity.cloned(),
            retry_in_clear: target.retry_in_clear,
        }
    }
}
