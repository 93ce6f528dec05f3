//! Which message a connection that is kept open may carry.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, LazyLock};

use smtp_tls_policy::Host;

use crate::client::target::Target;

/// Peers choose names in a key, so that its hash must not be foreseen.
static HASHING: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Everything that a connection was opened for. A kept connection may carry a further message only
/// if the message's key is equal, compared in full: what was proved for one next hop, plan or
/// identity is proved for no other.
///
/// Two domains that share a host have two keys, because the policy of one says nothing about the
/// other. Two messages of which one has REQUIRETLS (RFC 8689) or `TLS-Required: No` have two keys,
/// because their plans differ. An equal key says nothing about the state of the connection:
/// [`Connection::is_reusable`](crate::Connection::is_reusable) does.
///
/// ```
/// use smtp_tls_policy::{Host, Namespace};
/// use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
/// use smtp_tls_policy::rules::{OutboundConnector, Posture};
/// use smtp_tokio_adapter::{ReuseKey, Target};
///
/// let connector = OutboundConnector::new("default", vec![Namespace::Default], Posture::Verified);
/// let (one, other) = (Host::parse("a.example")?, Host::parse("b.example")?);
/// let host = Host::parse("mx.example")?;
/// let plan = plan(&Facts::new(&connector, &one, &host, HostOrigin::Mx))?;
/// let target = Target::new(&host, &plan);
/// assert_eq!(ReuseKey::new(&one, &target, 25), ReuseKey::new(&one, &target, 25));
/// assert_ne!(ReuseKey::new(&one, &target, 25), ReuseKey::new(&other, &target, 25));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq)]
pub struct ReuseKey {
    next_hop: Host,
    port: u16,
    target: Arc<Target>,
    /// Of all the rest: a pool looks a key up several times for each message.
    hash: u64,
}

impl PartialEq for ReuseKey {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
            && self.port == other.port
            && self.next_hop == other.next_hop
            && self.target == other.target
    }
}

impl Hash for ReuseKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl ReuseKey {
    /// The key for a message to `next_hop`: the domain for which the host was looked up, or the
    /// smart host.
    pub fn new(next_hop: &Host, target: &Target, port: u16) -> Self {
        Self::of(next_hop, Arc::new(target.clone()), port)
    }

    /// The same without a copy of the target.
    pub(super) fn of(next_hop: &Host, target: Arc<Target>, port: u16) -> Self {
        let hash = HASHING.hash_one((next_hop, port, &*target));
        Self { next_hop: next_hop.clone(), port, target, hash }
    }

    pub(super) fn next_hop(&self) -> &Host {
        &self.next_hop
    }

    /// The host and the port.
    pub(super) fn place(&self) -> (Host, u16) {
        (self.target.host.clone(), self.port)
    }
}
