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
/// [`Connection::is_reusable`](crate::client::connection::Connection::is_reusable) does.
#[derive(Clone, Debug, Eq)]
pub(crate) struct ReuseKey {
    next_hop: Host,
    place: Place,
    target: Arc<Target>,
    /// Of all the rest: a pool looks a key up several times for each message.
    hash: u64,
}

/// A host and its port.
pub(crate) type Place = (Host, u16);

impl PartialEq for ReuseKey {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
            && self.place.1 == other.place.1
            && self.next_hop == other.next_hop
            && (Arc::ptr_eq(&self.target, &other.target) || self.target == other.target)
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
    pub(crate) fn of(next_hop: &Host, target: Arc<Target>, port: u16) -> Self {
        let hash = HASHING.hash_one((next_hop, port, &*target));
        let place = (target.host.clone(), port);
        Self { next_hop: next_hop.clone(), place, target, hash }
    }

    #[cfg(test)]
    pub(crate) fn new(next_hop: &Host, target: &Target, port: u16) -> Self {
        Self::of(next_hop, Arc::new(target.clone()), port)
    }

    pub(crate) fn next_hop(&self) -> &Host {
        &self.next_hop
    }

    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }
}

/// The table belongs to the policy, which names the rules.
#[cfg(test)]
#[path = "../../../smtp-tls-policy/tests/common/table.rs"]
mod table;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use smtp_proto::sasl::client::Credentials;
    use smtp_tls_policy::pki::{TlsaRecord, TlsaSet};
    use smtp_tls_policy::pki_types::UnixTime;
    use smtp_tls_policy::plan::{DnsStatus, Facts, HostOrigin, MessageTls, TlsaFact, plan};
    use smtp_tls_policy::rules::{IdentityId, OutboundConnector, Posture, Socks5Proxy};
    use smtp_tls_policy::sts::{CachedPolicy, PolicyId, PolicyText, StsAnswer};
    use smtp_tls_policy::{Host, Namespace};

    use super::ReuseKey;
    use super::table::section;
    use crate::client::target::Target;

    /// The key of a message that differs in this from the one for which the connection was opened.
    fn key(differs: &str) -> ReuseKey {
        let differs_in = |what| differs == what;
        let name = |text| Host::parse(text).unwrap();
        let posture = if differs_in("posture") { Posture::Encrypt } else { Posture::Verified };
        let connector = OutboundConnector::new("c", vec![Namespace::Default], posture);
        let next_hop = name(if differs_in("next hop") { "b.example" } else { "a.example" });
        let host = name(if differs_in("host") { "mx2.example.net" } else { "mx1.example.net" });
        let record = TlsaRecord { usage: 3, selector: 1, matching: 1, data: vec![0; 32] };
        let tlsa = match differs_in("TLSA records") {
            true => TlsaFact::Found(TlsaSet::new(host.domain().unwrap().clone(), &[record])),
            false => TlsaFact::Absent,
        };
        let mut facts = Facts::new(&connector, &next_hop, &host, HostOrigin::Mx);
        (facts.mx, facts.tlsa) = (DnsStatus::Secure, &tlsa);
        let policy = b"version: STSv1\nmode: enforce\nmx: *.example.net\nmax_age: 86400\n";
        let policy = CachedPolicy::new(
            next_hop.domain().unwrap().clone(),
            PolicyId::parse("1").unwrap(),
            UnixTime::now(),
            PolicyText::parse(policy).unwrap(),
        );
        let published = StsAnswer { policy: Some(policy), trouble: None };
        if differs_in("MTA-STS policy") {
            facts.sts = &published;
        }
        if differs_in("REQUIRETLS") {
            facts.message = MessageTls::Required;
        }
        let plan = plan(&facts).unwrap();
        let identity = differs_in("identity").then(|| IdentityId::new("ours"));
        let credentials =
            differs_in("credentials").then(|| Credentials::password("submission", "secret"));
        let mut target = Target::new(&host, &plan);
        (target.identity, target.credentials) = (identity, credentials);
        target.dial.source_ipv4 = differs_in("source address").then_some([192, 0, 2, 1].into());
        let proxy = || Socks5Proxy::new(([127, 0, 0, 1], 1080).into());
        target.dial.socks5 = differs_in("proxy").then(proxy);
        let port = if differs_in("port") { 587 } else { 25 };
        ReuseKey::new(&next_hop, &target, port)
    }

    #[test]
    fn connections_kept() {
        let rows = section("Connections kept").1;
        for row in &rows {
            let [rule, differs, reused] = row[..] else { panic!("{row:?}") };
            let same = key("nothing") == key(differs);
            assert_eq!(if same { "yes" } else { "no" }, reused, "{rule} {differs}");
            // Whatever a pool is made of, equal keys meet in it and no others.
            assert_eq!(
                HashSet::from([key("nothing")]).contains(&key(differs)),
                same,
                "{rule} {differs}"
            );
        }
        // Each row differs in its own way; a word that `key` does not know would differ in none.
        let keys: HashSet<_> = rows.iter().map(|row| key(row[1])).collect();
        assert_eq!(keys.len(), rows.len());
    }
}
