//! Facts that serve more than one delivery, where the answers change meanwhile.

mod common;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{HOST, changed, connector, envelope, outbound, smtp, start};
use smtp_proto::route::{LOOKUP_FAILED, RecipientStatus};
use smtp_proto::sasl::client::Credentials;
use smtp_tls_policy::inquiry::{DnsAnswer, MxRecord};
use smtp_tls_policy::plan::{BrokenPeers, DnsStatus};
use smtp_tls_policy::rules::{OutboundConnectors, Posture};
use smtp_tls_policy::sts::Cache;
use smtp_tls_policy::{Domain, Reason};
use smtp_tokio_adapter::lookups::{Lookups, Zone};
use smtp_tokio_adapter::store::MemoryStore;
use smtp_tokio_adapter::test_kit::{Peer, Script, listen_with};
use smtp_tokio_adapter::{Inbound, PoolLimits, Report, Sender};

/// Three MX hosts in the first answers, and what comes after these.
struct Changing {
    answers: usize,
    then: DnsAnswer<MxRecord>,
    asked: AtomicUsize,
}

/// An answer with the first so many of the hosts.
fn hosts(count: u16) -> DnsAnswer<MxRecord> {
    let host = |at| Domain::parse(&format!("mx{at}.test.example")).unwrap();
    let records = (1..=count).map(|at| MxRecord::new(10 * at, host(at)));
    DnsAnswer::new(DnsStatus::Insecure, records.collect())
}

impl Lookups for Changing {
    async fn mx(&self, _: &Domain) -> DnsAnswer<MxRecord> {
        match self.asked.fetch_add(1, Ordering::SeqCst) < self.answers {
            true => hosts(3),
            false => self.then.clone(),
        }
    }

    async fn ipv4(&self, host: &Domain) -> DnsAnswer<Ipv4Addr> {
        // One server has the port at the address of the first host alone.
        let last = if host.as_str() == "mx1.test.example" { 1 } else { 2 };
        DnsAnswer::new(DnsStatus::Insecure, vec![Ipv4Addr::new(127, 0, 0, last)])
    }

    async fn ipv6(&self, _: &Domain) -> DnsAnswer<Ipv6Addr> {
        DnsAnswer::none(DnsStatus::Insecure)
    }
}

/// On a slow machine a second may pass between two deliveries.
fn lasting() -> PoolLimits {
    changed(PoolLimits::default(), |it| it.facts = Duration::from_secs(3600))
}

/// The second of two deliveries, whose first host has gone away after the first one.
async fn second_delivery(answers: usize, then: DnsAnswer<MxRecord>) -> Report {
    let talk = |mut peer: Peer, _| async move {
        peer.play(&Script::new().say("220 mx")).await?;
        let kept = || Script::new().say("354 go").expect_message().say("250 kept").close();
        peer.serve(|line| line.starts_with("DATA").then(kept)).await?;
        Ok(peer)
    };
    let listening = listen_with(talk).await.unwrap();
    let port = listening.address().port();
    let connectors = Arc::new(OutboundConnectors::new(vec![connector(Posture::None)]).unwrap());
    let lookups = Changing { answers, then, asked: AtomicUsize::new(0) };
    let sender = Sender::new(outbound(&common::Pki::new()), connectors, lookups).unwrap();
    let sender = sender.with_pool(lasting()).with_route(|route| route.port = port);
    let (envelope, message) = (
        envelope(&["reader@test.example"]),
        Bytes::from_static(b"Subject: hello\r\n\r\nHello.\r\n"),
    );
    let report = sender.send(envelope.clone(), &message).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    drop(listening);
    sender.send(envelope, &message).await
}

fn dialled(report: &Report) -> Vec<&str> {
    let mut hosts: Vec<&str> = report.attempts.iter().map(|it| it.host.as_str()).collect();
    hosts.dedup();
    hosts
}

fn skipped(report: &Report) -> Vec<(&str, Reason)> {
    report.skipped.iter().map(|(host, why)| (host.as_str(), why.refusal.reason())).collect()
}

#[tokio::test]
async fn next_host_that_the_new_answer_does_not_name_is_not_dialled() {
    let report = second_delivery(1, hosts(1)).await;
    assert_eq!(dialled(&report), ["mx1.test.example"], "{report:?}");
    assert!(report.skipped.is_empty(), "{report:?}");
    assert_eq!(report.statuses(), [RecipientStatus::Deferred(LOOKUP_FAILED)], "{report:?}");
}

#[tokio::test]
async fn next_host_that_the_new_answer_names_is_dialled() {
    let report = second_delivery(2, hosts(1)).await;
    let all = ["mx1.test.example", "mx2.test.example", "mx3.test.example"];
    assert_eq!(dialled(&report), all, "{report:?}");
    assert!(report.skipped.is_empty(), "{report:?}");
}

#[tokio::test]
async fn a_refusal_that_ends_the_domain_leaves_no_next_host() {
    let report = second_delivery(1, DnsAnswer::none(DnsStatus::Bogus)).await;
    assert_eq!(dialled(&report), ["mx1.test.example"], "{report:?}");
    assert_eq!(skipped(&report), [("mx2.test.example", Reason::MxLookupFailed)]);
    assert!(matches!(report.statuses()[..], [RecipientStatus::Deferred(_)]), "{report:?}");
}

/// Each setting counts at once: what was looked up by the old one is looked up again.
#[tokio::test]
async fn facts_are_dropped_with_a_change_of_any_setting() {
    type Change = fn(Sender<Zone>) -> Sender<Zone>;
    let changes: [Change; 7] = [
        |it| it,
        |it| it.with_route(|route| route.hosts += 1),
        |it| it.with_pool(lasting()),
        |it| it.skipping_failed_family(),
        |it| it.with_credentials("test", Credentials::password("user", "pencil")),
        |it| it.with_memory(BrokenPeers::default()),
        |it| it.with_policy_cache(Cache::new()),
    ];
    let server = start(Inbound::new(Arc::new(smtp()))).await;
    let (domain, host) = (Domain::parse("test.example").unwrap(), Domain::parse(HOST).unwrap());
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.keeps_questions = true;
    zone.add_mx(&domain, 10, &host).add_host(&host, [Ipv4Addr::LOCALHOST.into()]);
    let sender = common::sender(&common::Pki::new(), zone, server.address.port());
    let mut sender = sender.with_pool(lasting());
    for (before, change) in changes.into_iter().enumerate() {
        sender = twice(change(sender), before + 1).await;
    }
    let store = Arc::new(MemoryStore::new());
    twice(sender.with_store(store).await, changes.len() + 1).await;
}

/// The sender after two deliveries, of which the first one asks: so many have asked then.
async fn twice(sender: Sender<Zone>, asked: usize) -> Sender<Zone> {
    let message = Bytes::from_static(b"Subject: hello\r\n\r\nHello.\r\n");
    for _ in 0..2 {
        let report = sender.send(envelope(&["reader@test.example"]), &message).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
        let questions = sender.lookups().asked();
        assert_eq!(questions.iter().filter(|it| **it == "MX test.example").count(), asked);
    }
    sender
}
