//! Runs the rows of the decision table that are the adapter's to keep.

/// The table belongs to the policy, which names the rules.
#[path = "../../smtp-tls-policy/tests/common/table.rs"]
mod table;

use std::collections::HashSet;

use smtp_proto::sasl::client::Credentials;
use smtp_tls_policy::pki::{TlsaRecord, TlsaSet};
use smtp_tls_policy::plan::{Dns, DnsStatus, Facts, HostOrigin, MessageTls, TlsaFact, plan};
use smtp_tls_policy::rules::{IdentityId, OutboundConnector, Posture, Socks5Proxy};
use smtp_tls_policy::sts::{StsFact, StsPolicy};
use smtp_tls_policy::{Host, Namespace};
use smtp_tokio_adapter::ReuseKey;
use smtp_tokio_adapter::Target;
use table::section;

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
    facts.dns = Dns { mx: DnsStatus::Secure, expanded_next_hop: None, tlsa: &tlsa };
    if differs_in("MTA-STS policy") {
        facts.sts = StsFact::new(StsPolicy::Enforce { mx_matches: true });
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
