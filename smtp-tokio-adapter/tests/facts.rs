//! Facts that serve more than one delivery, where the answers change meanwhile.

mod common;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{connector, envelope, outbound};
use smtp_proto::route::{LOOKUP_FAILED, RecipientStatus};
use smtp_tls_policy::Domain;
use smtp_tls_policy::inquiry::{DnsAnswer, MxRecord};
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::{OutboundConnectors, Posture};
use smtp_tokio_adapter::lookups::Lookups;
use smtp_tokio_adapter::test_kit::{Peer, Script, listen_with};
use smtp_tokio_adapter::{PoolLimits, Report, Sender};

/// Two MX hosts. The second one is in the first answers alone.
struct Changing {
    answers: usize,
    asked: AtomicUsize,
}

impl Lookups for Changing {
    async fn mx(&self, _: &Domain) -> DnsAnswer<MxRecord> {
        let hosts = match self.asked.fetch_add(1, Ordering::SeqCst) < self.answers {
            true => &["mx1.test.example", "mx2.test.example"][..],
            false => &["mx1.test.example"],
        };
        let record = |(at, host): (usize, &&str)| {
            MxRecord::new(10 * (at as u16 + 1), Domain::parse(host).unwrap())
        };
        DnsAnswer::new(DnsStatus::Insecure, hosts.iter().enumerate().map(record).collect())
    }

    async fn ipv4(&self, host: &Domain) -> DnsAnswer<Ipv4Addr> {
        let last = if host.as_str() == "mx1.test.example" { 1 } else { 2 };
        DnsAnswer::new(DnsStatus::Insecure, vec![Ipv4Addr::new(127, 0, 0, last)])
    }

    async fn ipv6(&self, _: &Domain) -> DnsAnswer<Ipv6Addr> {
        DnsAnswer::none(DnsStatus::Insecure)
    }
}

/// The second of two deliveries, whose first host has gone away after the first one.
async fn second_delivery(answers: usize) -> Report {
    let talk = |mut peer: Peer, _| async move {
        peer.play(&Script::new().say("220 mx")).await?;
        let kept = || Script::new().say("354 go").expect_message().say("250 kept").close();
        peer.serve(|line| line.starts_with("DATA").then(kept)).await?;
        Ok(peer)
    };
    let listening = listen_with(talk).await.unwrap();
    let port = listening.address().port();
    let connectors = Arc::new(OutboundConnectors::new(vec![connector(Posture::None)]).unwrap());
    let lookups = Changing { answers, asked: AtomicUsize::new(0) };
    let sender = Sender::new(outbound(&common::Pki::new()), connectors, lookups).unwrap();
    let mut limits = PoolLimits::default();
    // On a slow machine a second may pass between two deliveries.
    limits.facts = Duration::from_secs(3600);
    let sender = sender.with_pool(limits).with_route(|route| route.port = port);
    let (envelope, message) = (
        envelope(&["reader@test.example"]),
        Bytes::from_static(b"Subject: hello\r\n\r\nHello.\r\n"),
    );
    let report = sender.send(&envelope, &message).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    drop(listening);
    sender.send(&envelope, &message).await
}

fn dialled(report: &Report) -> Vec<&str> {
    let mut hosts: Vec<&str> = report.attempts.iter().map(|it| &*it.host).collect();
    hosts.dedup();
    hosts
}

#[tokio::test]
async fn next_host_that_the_new_answer_does_not_name_is_not_dialled() {
    let report = second_delivery(1).await;
    assert_eq!(dialled(&report), ["mx1.test.example"], "{report:?}");
    let (host, skip) = &report.skipped[0];
    assert_eq!((&**host, skip.status), ("mx2.test.example", LOOKUP_FAILED));
    assert!(matches!(report.statuses()[..], [RecipientStatus::Deferred(_)]), "{report:?}");
}

#[tokio::test]
async fn next_host_that_the_new_answer_names_is_dialled() {
    let report = second_delivery(2).await;
    assert_eq!(dialled(&report), ["mx1.test.example", "mx2.test.example"], "{report:?}");
    assert!(report.skipped.is_empty(), "{report:?}");
}
