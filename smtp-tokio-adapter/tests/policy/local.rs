//! Faults of this side (rule P0), and reports that are complete whatever the route.

use smtp_tls_policy::pki::{RootsId, Trust};
use smtp_tls_policy::rules::{IdentityId, OutboundConnectors};
use smtp_tokio_adapter::Outbound;

use crate::world::*;

/// Row P0: clear text, and TLS that nothing has judged, answer what the peer did and never a fault
/// of this side. Postures that check nothing are not affected.
#[tokio::test]
async fn roots_that_are_not_loaded_defer_under_every_posture_that_checks() {
    for (posture, checks) in [
        (Posture::None, false),
        (Posture::Opportunistic, false),
        (Posture::Encrypt, false),
        (Posture::Deterministic, true),
        (Posture::Verified, true),
        (Posture::Secure, true),
        (Posture::PrivateCa, true),
    ] {
        let (sender, first, second) = World::new(DnsStatus::Insecure).await.sender();
        let mut connector = connector(posture);
        connector.roots = RootsId::new("lost");
        connector.names = vec![HOST.parse().unwrap()];
        let report = send(&sender, &connector, &plain()).await;
        let (expected, messages) = if checks {
            (RecipientStatus::Deferred(status(4, 3, 5)), 0)
        } else {
            (RecipientStatus::Delivered, 1)
        };
        assert_eq!(report.statuses(), [expected], "{posture} {report:?}");
        assert_eq!(first.messages().len() + second.messages().len(), messages, "{posture}");
    }
}

/// Row E2: a sender whose connectors name roots or an identity that are not loaded is not made.
#[test]
fn sender_is_not_made_with_roots_or_an_identity_that_are_not_loaded() {
    let make = |trust: Trust, change: fn(&mut OutboundConnector)| {
        let mut connector = connector(Posture::Verified);
        change(&mut connector);
        let name = "client.test.example".parse().unwrap();
        let outbound = Outbound::new(name, provider(), trust);
        let connectors = Arc::new(OutboundConnectors::new(vec![connector]).unwrap());
        let made = Sender::new(outbound, connectors, Zone::new(DnsStatus::Insecure));
        made.map(drop).map_err(|error| error.to_string())
    };
    let root = || Trust::from_der([Pki::new().root()]).unwrap();
    assert_eq!(make(root(), |_| {}), Ok(()));
    assert!(make(Trust::empty(), |_| {}).unwrap_err().contains("public"));
    let error = make(root(), |it| it.roots = RootsId::new("bank-ca")).unwrap_err();
    assert!(error.contains("bank-ca"), "{error}");
    let error = make(root(), |it| it.identity = Some(IdentityId::new("ours"))).unwrap_err();
    assert!(error.contains("ours"), "{error}");
}

/// Row E9: the crate's names do not hide the crate `rustls` from a program that imports all.
#[test]
fn glob_import_of_the_policy_crate_leaves_rustls_in_sight() {
    mod program {
        #[allow(unused_imports, reason = "the import is what is tested")]
        use smtp_tls_policy::*;

        pub(super) fn suites(provider: &rustls::crypto::CryptoProvider) -> usize {
            provider.cipher_suites.len()
        }
    }
    assert!(program::suites(&provider()) > 0);
}

/// Row F4: one status for each recipient, wherever the mail goes, if no host can be looked up, and
/// however few connections are allowed.
#[tokio::test]
async fn report_has_one_status_for_each_recipient_whatever_the_targets() {
    let record = |host| MxRecord::new(10, name(host));
    let null = changed(record(HOST), |it| it.exchange = None);
    let found = |records| DnsAnswer::new(DnsStatus::Insecure, records);
    let smart_host = SmartHost::new(HOST.parse().unwrap());
    let by_name = connector(Posture::Opportunistic);
    let by_host = changed(by_name.clone(), |it| it.smart_host = Some(smart_host));
    let envelope = envelope(&["a@test.example", "b@test.example", "c@test.example"]);
    for dials in [0, 1] {
        for (by, mx) in [
            (&by_name, DnsAnswer::no_such_name(DnsStatus::Insecure)),
            (&by_name, DnsAnswer::none(DnsStatus::Failed)),
            (&by_host, found(vec![])),
            (&by_name, found(vec![])),
            (&by_name, found(vec![null.clone()])),
            (&by_name, found(vec![record(HOST), record(BACKUP)])),
        ] {
            let mut zone = Zone::new(DnsStatus::Insecure);
            zone.mx.insert(name(DOMAIN), mx);
            for host in [DOMAIN, HOST, BACKUP] {
                zone.ipv4.insert(name(host), DnsAnswer::none(DnsStatus::Failed));
            }
            let sender = crate::common::sender(&Pki::new(), zone, 25)
                .with_route(|route| (route.dials, route.hosts) = (dials, dials));
            let report = send(&sender, by, &envelope).await;
            assert_eq!(report.statuses().len(), 3, "{report:?}");
            assert_eq!(report.attempts.len(), 0, "{report:?}");
        }
    }
}
