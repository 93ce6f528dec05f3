//! Connectors that allow some TLS versions and key exchange groups only, on loopback.

mod common;

use std::sync::Arc;

use common::{HOST, Pki, changed, connector, outbound_with, provider, send, smtp, start};
use rustls::crypto::CryptoProvider;
use smtp_tls_policy::rules::{KeyGroup, MinTlsVersion, OutboundConnector, Posture, TlsLimits};
use smtp_tls_policy::tls::{ClientCertificates, ClientTls, limited, server_config};
use smtp_tokio_adapter::{Inbound, Report};

fn limits(min_version: MinTlsVersion, groups: &[KeyGroup]) -> TlsLimits {
    let mut limits = TlsLimits::default();
    (limits.min_version, limits.groups) = (min_version, groups.to_vec());
    limits
}

fn rule(posture: Posture, tls: TlsLimits) -> OutboundConnector {
    changed(connector(posture), |it| it.tls = tls)
}

/// A provider of TLS 1.2 only.
fn tls12() -> Arc<CryptoProvider> {
    let mut provider = CryptoProvider::clone(&provider());
    provider.cipher_suites.retain(|suite| suite.tls13().is_none());
    Arc::new(provider)
}

/// Sends twice to a server with this provider, so that the second session may be resumed.
async fn deliver(
    server: Arc<CryptoProvider>,
    rule: &OutboundConnector,
) -> [(Report, Vec<bool>); 2] {
    let pki = Pki::new();
    let tls = server_config(pki.identity(HOST), ClientCertificates::None, server).unwrap();
    let server = start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(tls))).await;
    let outbound = outbound_with(&pki, ClientTls::new(provider()));
    let once = async || {
        let report = send(&outbound, server.address, rule, "\r\n").await;
        (report, std::mem::take(&mut *server.kept.over_tls.lock().unwrap()))
    };
    [once().await, once().await]
}

#[tokio::test]
async fn session_that_meets_the_limits_carries_the_mail() {
    use KeyGroup::{Secp384r1, X25519};
    use MinTlsVersion::{Tls12, Tls13};
    for (limits, server, version, group) in [
        (TlsLimits::default(), provider(), "TLSv1.3", Some("X25519MLKEM768")),
        (TlsLimits::post_quantum(), provider(), "TLSv1.3", Some("X25519MLKEM768")),
        (limits(Tls12, &[X25519]), provider(), "TLSv1.3", Some("X25519")),
        (limits(Tls13, &[Secp384r1]), provider(), "TLSv1.3", Some("secp384r1")),
        (limits(Tls12, &[Secp384r1]), tls12(), "TLSv1.2", Some("secp384r1")),
    ] {
        let rule = rule(Posture::Verified, limits);
        for (report, over_tls) in deliver(server, &rule).await {
            assert_eq!(over_tls, [true], "{rule:?}: {report:?}");
            let tls = report.attempts[0].decision.tls.clone().unwrap();
            assert_eq!(tls.version, version, "{rule:?}");
            // A resumed session of TLS 1.2 has no key exchange.
            assert!(tls.group == group || version == "TLSv1.2" && tls.group.is_none(), "{rule:?}");
        }
    }
}

#[tokio::test]
async fn peer_that_cannot_meet_the_limits_gets_no_mail_and_a_reason_of_its_own() {
    let classic =
        || limited(&provider(), &limits(MinTlsVersion::Tls12, &[KeyGroup::X25519])).unwrap();
    let tls13 = limits(MinTlsVersion::Tls13, &[]);
    for (limits, server, reason) in [
        (TlsLimits::post_quantum(), classic(), "tls-group-not-allowed"),
        (limits(MinTlsVersion::Tls12, &[KeyGroup::Secp384r1]), classic(), "tls-group-not-allowed"),
        (TlsLimits::post_quantum(), tls12(), "tls-version-not-allowed"),
        (tls13, tls12(), "tls-version-not-allowed"),
    ] {
        for posture in [Posture::Encrypt, Posture::Verified] {
            let rule = rule(posture, limits.clone());
            for (report, over_tls) in deliver(Arc::clone(&server), &rule).await {
                assert!(over_tls.is_empty(), "{rule:?}: {over_tls:?}");
                let decisions: Vec<_> =
                    report.attempts.iter().map(|it| it.decision.reason.code()).collect();
                assert_eq!(decisions, [reason], "{rule:?}: {report:?}");
                assert_eq!(report.statuses()[0].to_string(), "deferred: 4.7.5", "{rule:?}");
            }
        }
    }
}

/// Our own library lacks what the connector asks for: that says nothing about the peer.
#[tokio::test]
async fn provider_that_cannot_meet_the_limits_defers_as_a_local_fault() {
    let pki = Pki::new();
    let server =
        start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(pki.server_config(HOST))))
            .await;
    let outbound = outbound_with(&pki, ClientTls::new(tls12()));
    let rule = rule(Posture::Encrypt, TlsLimits::post_quantum());
    let report = send(&outbound, server.address, &rule, "\r\n").await;
    assert_eq!(report.statuses()[0].to_string(), "deferred: 4.3.5");
    assert_eq!(report.attempts[0].decision.reason.code(), "tls-unavailable");
    assert!(server.kept.over_tls.lock().unwrap().is_empty());
}
