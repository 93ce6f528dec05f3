//! Deliveries that meet a certificate whose revocation list is not there.

use std::sync::Arc;
use std::time::Duration;

use pki_types::UnixTime;
use rcgen::CertificateParams;
use smtp_proto::route::RecipientStatus;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::Reason;
use smtp_tls_policy::pki::{LiveTrust, Revocation, RootsId, Trust};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::tls::{ClientCertificates, server_config};
use smtp_tokio_adapter::revocation::CrlFetcher;
use smtp_tokio_adapter::test_kit::Pki;
use smtp_tokio_adapter::{Inbound, Outbound, Report};
use tokio::sync::Semaphore;

use crate::common::{HOST, Running, changed, connector, provider, send, smtp, start};
use crate::web::{Answer, Authority, SERIAL, Web};

const DEFERRED: RecipientStatus = RecipientStatus::Deferred(EnhancedCode::new(4, 3, 5));
/// Longer than any wait that a test is meant to see the end of.
const LONG: Duration = Duration::from_secs(60);

/// A host whose certificate names a list, and a sender that fetches lists.
struct World {
    web: Web,
    root: Authority,
    trust: Arc<LiveTrust>,
    outbound: Outbound,
    host: Running,
}

impl World {
    async fn new() -> Self {
        let (web, root) = (Web::start().await, Authority(Pki::new()));
        let host = serve_as(root.leaf(&[web.url("/1.crl")])).await;
        let trust = Arc::new(LiveTrust::new(Trust::from_der([root.0.root()]).unwrap()));
        let fetcher = CrlFetcher::new(Arc::clone(&trust)).with_timeout(LONG).with_any_address();
        let name = "client.test.example".parse().unwrap();
        let outbound = Outbound::new(name, provider(), trust.clone()).with_crl_fetcher(fetcher);
        Self { web, root, trust, outbound, host }
    }

    fn list(&self, number: u64, serials: &[u64]) -> Vec<u8> {
        self.root.list(number, serials, (1, 25), &self.web.url("/1.crl"))
    }

    async fn send(&self, rule: &OutboundConnector) -> Report {
        send(&self.outbound, self.host.address, rule, MESSAGE).await
    }

    fn messages(&self) -> usize {
        self.host.kept.messages.lock().unwrap().len()
    }

    /// Until the web server has a request that it has not answered.
    async fn until_asked(&self) {
        while self.web.requests() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

const MESSAGE: &str = "Subject: list\r\n\r\nBody.\r\n";

async fn serve_as(identity: Arc<rustls::sign::CertifiedKey>) -> Running {
    let tls = server_config(identity, ClientCertificates::None, provider()).unwrap();
    start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(tls))).await
}

fn rule(posture: Posture, revocation: Revocation, list_wait: Duration) -> OutboundConnector {
    changed(connector(posture), |it| {
        (it.revocation, it.list_wait) = (revocation, Some(list_wait));
    })
}

fn status(report: &Report) -> RecipientStatus {
    report.recipients[0].status
}

fn reasons(report: &Report) -> Vec<Reason> {
    report.attempts.iter().map(|attempt| attempt.decision.reason).collect()
}

#[tokio::test]
async fn list_that_comes_in_time_lets_the_mail_go_at_once() {
    let world = World::new().await;
    world.web.answer("/1.crl", Answer::List(world.list(1, &[])));
    let rule = rule(Posture::Verified, Revocation::Hard, LONG);
    let report = world.send(&rule).await;
    assert_eq!(status(&report), RecipientStatus::Delivered);
    // The connection that could not be judged is no attempt of its own.
    assert_eq!(reasons(&report), [Reason::TlsOk]);
    assert_eq!(*world.host.kept.over_tls.lock().unwrap(), [true]);
    assert_eq!(world.web.requests(), 1);
    assert_eq!(status(&world.send(&rule).await), RecipientStatus::Delivered);
    assert_eq!(world.web.requests(), 0);
}

#[tokio::test]
async fn expired_list_is_fetched_again_while_the_delivery_waits() {
    let world = World::new().await;
    let expired = world.root.list(1, &[], (48, 24), &world.web.url("/1.crl"));
    world.trust.replace_crl_der(&RootsId::public(), &expired).unwrap();
    world.web.answer("/1.crl", Answer::List(world.list(2, &[])));
    let report = world.send(&rule(Posture::Verified, Revocation::IfConfigured, LONG)).await;
    assert_eq!(
        (status(&report), reasons(&report)),
        (RecipientStatus::Delivered, vec![Reason::TlsOk])
    );
}

#[tokio::test]
async fn list_that_revokes_the_certificate_decides_as_if_it_had_been_there() {
    for (posture, delivered) in [(Posture::Verified, false), (Posture::Deterministic, true)] {
        let world = World::new().await;
        world.web.answer("/1.crl", Answer::List(world.list(1, &[SERIAL])));
        let report = world.send(&rule(posture, Revocation::Hard, LONG)).await;
        assert_eq!(status(&report) == RecipientStatus::Delivered, delivered, "{posture}");
        let reasons = reasons(&report);
        assert!(reasons.iter().all(|reason| *reason == Reason::CertRevoked), "{reasons:?}");
    }
}

#[tokio::test]
async fn list_that_does_not_come_defers_the_mail_and_never_leads_to_clear_text() {
    let not_http = Answer::Raw(b"HTTP/1.1 404 No\r\n\r\n".to_vec());
    for answer in [Answer::Silence, not_http, Answer::List(b"no list".to_vec())] {
        let world = World::new().await;
        world.web.answer("/1.crl", answer);
        for posture in [Posture::Deterministic, Posture::Verified] {
            let wait = Duration::from_millis(300);
            let report = world.send(&rule(posture, Revocation::Hard, wait)).await;
            assert_eq!(status(&report), DEFERRED, "{posture}");
            assert_eq!(reasons(&report), [Reason::RevocationUnknown], "{posture}");
        }
        assert_eq!(world.messages(), 0);
        // The second delivery joins the fetch that runs, or does not repeat the one that failed.
        assert_eq!(world.web.requests(), 1);
    }
}

#[tokio::test]
async fn list_whose_fetch_failed_is_not_waited_for() {
    let world = World::new().await;
    let rule = rule(Posture::Verified, Revocation::Hard, LONG);
    for requests in [1, 0] {
        let sent = tokio::time::timeout(LONG / 2, world.send(&rule)).await;
        assert_eq!(status(&sent.expect("no wait")), DEFERRED);
        assert_eq!(world.web.requests(), requests);
    }
}

#[tokio::test]
async fn connector_that_does_not_wait_defers_at_once_and_names_the_list() {
    let world = World::new().await;
    world.web.answer("/1.crl", Answer::List(world.list(1, &[])));
    let rule = rule(Posture::Verified, Revocation::Hard, Duration::ZERO);
    assert_eq!(status(&world.send(&rule).await), DEFERRED);
    assert_eq!(world.web.requests(), 0);
    assert_eq!(world.trust.load().wanted(UnixTime::now()).len(), 1);
}

#[tokio::test]
async fn deliveries_that_want_the_same_list_share_one_fetch() {
    let world = Arc::new(World::new().await);
    let gate = Arc::new(Semaphore::new(0));
    world.web.answer("/1.crl", Answer::Gated(Arc::clone(&gate), world.list(1, &[])));
    let rule = rule(Posture::Deterministic, Revocation::Hard, LONG);
    let deliveries: Vec<_> = (0..10)
        .map(|_| {
            let (world, rule) = (Arc::clone(&world), rule.clone());
            tokio::spawn(async move { world.send(&rule).await })
        })
        .collect();
    world.until_asked().await;
    gate.add_permits(1);
    for delivery in deliveries {
        assert_eq!(status(&delivery.await.unwrap()), RecipientStatus::Delivered);
    }
    assert_eq!(world.web.requests(), 0);
    assert_eq!(*world.host.kept.over_tls.lock().unwrap(), [true; 10]);
}

#[tokio::test]
async fn delivery_that_waits_holds_up_no_other_host() {
    let world = Arc::new(World::new().await);
    let gate = Arc::new(Semaphore::new(0));
    world.web.answer("/1.crl", Answer::Gated(Arc::clone(&gate), world.list(1, &[])));
    let rule = rule(Posture::Verified, Revocation::Hard, LONG);
    let waiting = tokio::spawn({
        let (world, rule) = (Arc::clone(&world), rule.clone());
        async move { world.send(&rule).await }
    });
    world.until_asked().await;
    // Another host, whose certificate is too short-lived to need a list.
    let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    let now = time::OffsetDateTime::now_utc();
    (params.not_before, params.not_after) =
        (now - time::Duration::days(1), now + time::Duration::days(2));
    let other = serve_as(world.root.0.sign(&params)).await;
    let report = send(&world.outbound, other.address, &rule, MESSAGE).await;
    assert_eq!(status(&report), RecipientStatus::Delivered);
    assert!(!waiting.is_finished());
    gate.add_permits(1);
    assert_eq!(status(&waiting.await.unwrap()), RecipientStatus::Delivered);
}

#[tokio::test]
async fn fetch_goes_on_when_the_delivery_that_began_it_is_dropped() {
    let world = Arc::new(World::new().await);
    let gate = Arc::new(Semaphore::new(0));
    world.web.answer("/1.crl", Answer::Gated(Arc::clone(&gate), world.list(1, &[])));
    let rule = rule(Posture::Verified, Revocation::Hard, LONG);
    let dropped = tokio::spawn({
        let (world, rule) = (Arc::clone(&world), rule.clone());
        async move { world.send(&rule).await }
    });
    world.until_asked().await;
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    let next = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.send(&rule).await }
    });
    gate.add_permits(1);
    assert_eq!(status(&next.await.unwrap()), RecipientStatus::Delivered);
    assert_eq!(world.web.requests(), 0);
}
