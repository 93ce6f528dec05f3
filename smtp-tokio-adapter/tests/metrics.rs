//! The metrics: their names are those of `METRICS.md`, and they move as the page says.
#![cfg(feature = "metrics")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{HOST, Pki, changed, envelope, outbound, sender_of, smtp, start};
use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use smtp_tls_policy::Domain;
use smtp_tls_policy::pki::{Crlite, CrliteStatus, RootsId};
use smtp_tls_policy::pki_types::UnixTime;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::test_kit::{Script, listen};
use smtp_tokio_adapter::{Inbound, Outbound, PoolLimits, Sender};

/// The rows of the table: name, kind, labels.
fn page() -> BTreeSet<(String, String, Vec<String>)> {
    let page = include_str!("../METRICS.md");
    let rows = page.lines().filter(|line| line.starts_with("| `smtp_"));
    let row = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let labels = cells[2].split(", ").filter(|it| !it.is_empty());
        let labels = labels.map(|it| it.trim_matches('`').to_owned()).collect();
        (cells[0].trim_matches('`').to_owned(), cells[1].to_owned(), labels)
    };
    rows.map(row).collect()
}

/// A name, a kind and the labels with their values.
type Series = (String, String, Vec<(String, String)>);

/// The values that were recorded since the last call.
fn recorded(snapshots: &Snapshotter) -> BTreeMap<Series, f64> {
    let mut values = BTreeMap::new();
    for (key, _, _, value) in snapshots.snapshot().into_vec() {
        let (kind, key) = key.into_parts();
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let labels = key.labels().map(|it| (it.key().to_owned(), it.value().to_owned())).collect();
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(all) => all.len() as f64,
        };
        values.insert((key.name().to_owned(), kind.to_owned(), labels), value);
    }
    values
}

/// The value of one series.
fn value(values: &BTreeMap<Series, f64>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let of = |it: &(&str, &str)| (it.0.to_owned(), it.1.to_owned());
    let labels: Vec<_> = labels.iter().map(of).collect();
    let found = values.iter().find(|((a, _, b), _)| a == name && *b == labels);
    *found.unwrap_or_else(|| panic!("{name} {labels:?} in {values:?}")).1
}

/// The answers to the questions about one domain, whose host is this machine.
fn zone() -> Zone {
    let (domain, host) = (Domain::parse("test.example").unwrap(), Domain::parse(HOST).unwrap());
    let mut zone = Zone::new(DnsStatus::Secure);
    zone.add_mx(&domain, 10, &host).add_host(&host, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
    zone
}

async fn deliver(sender: &Sender<Zone>) -> String {
    let (to, message) = (envelope(&["reader@test.example"]), Bytes::from_static(b"\r\n"));
    sender.send(to, &message).await.statuses()[0].to_string()
}

/// Three deliveries and room for one connection, whose server never greets: the first one has it,
/// the second one waits in vain, and the third one may not wait.
async fn crowd_a_pool(snapshots: &Snapshotter) -> BTreeMap<Series, f64> {
    let server = listen([Script::new().stall()]).await.unwrap();
    let mut limits = PoolLimits::default();
    (limits.total, limits.waiting, limits.patience) = (1, 1, Duration::from_millis(50));
    let sender = sender_of(outbound(&Pki::new()), zone(), server.address().port());
    let sender = Arc::new(sender.with_pool(limits));
    let spawn = || {
        let sender = Arc::clone(&sender);
        tokio::spawn(async move { deliver(&sender).await })
    };
    let first = spawn();
    let (second, third) = (spawn(), spawn());
    assert_eq!(second.await.unwrap(), "deferred: 4.4.5");
    assert_eq!(third.await.unwrap(), "deferred: 4.4.5");
    let values = recorded(snapshots);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    values
}

#[tokio::test]
async fn deliveries_that_wait_or_are_refused_are_counted_with_their_limit() {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let values = crowd_a_pool(&snapshots).await;
    assert_eq!(value(&values, "smtp_pool_connections", &[]), 1.0);
    assert_eq!(value(&values, "smtp_pool_waiting_deliveries", &[]), 0.0);
    assert_eq!(value(&values, "smtp_pool_turns_total", &[("connection", "opened")]), 1.0);
    for limit in ["waiting", "patience"] {
        assert_eq!(value(&values, "smtp_pool_refusals_total", &[("limit", limit)]), 1.0);
    }
    // The delivery that was dropped took its connection with it.
    assert_eq!(value(&recorded(&snapshots), "smtp_pool_connections", &[]), -1.0);
}

/// The server ends its first connection at the third MAIL.
#[tokio::test]
async fn turns_are_counted_by_where_the_connection_came_from() {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let greeting = Script::new().say("220 mx").expect("EHLO").say("250 mx");
    let message = Script::new().expect("MAIL").say("250 ok").expect("RCPT").say("250 ok");
    let message = message.expect("DATA").say("354 go").expect_message().say("250 kept");
    let first = greeting.clone().and(&message).and(&message);
    let first = first.expect("MAIL").say("421 4.3.2 closing").close();
    let second = greeting.and(&message).expect("QUIT").say("221 bye");
    let server = listen([first, second]).await.unwrap();
    let sender = sender_of(outbound(&Pki::new()), zone(), server.address().port());
    for _ in 0..3 {
        assert_eq!(deliver(&sender).await, "delivered");
    }
    let values = recorded(&snapshots);
    for connection in ["opened", "reused", "replaced"] {
        let labels = [("connection", connection)];
        assert_eq!(value(&values, "smtp_pool_turns_total", &labels), 1.0, "{connection}");
    }
    assert_eq!(value(&values, "smtp_pool_connections", &[]), 1.0);
    assert_eq!(value(&values, "smtp_pool_idle_connections", &[]), 1.0);
    sender.close().await;
    let values = recorded(&snapshots);
    assert_eq!(value(&values, "smtp_pool_connections", &[]), -1.0);
    assert_eq!(value(&values, "smtp_pool_idle_connections", &[]), -1.0);
}

fn hours_ago(hours: u64) -> UnixTime {
    let now = UnixTime::now().as_secs();
    UnixTime::since_unix_epoch(Duration::from_secs(now - hours * 3600))
}

#[tokio::test]
async fn crlite_without_data_has_no_age_and_no_value_where_it_is_not_wanted() {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    for (crlite, expected) in [(None, None), (Some(Crlite::without_data()), Some(0.0))] {
        let mut trust = Pki::new().trust();
        trust.set_crlite(crlite);
        let name = "c.test.example".parse().unwrap();
        let outbound = Outbound::new(name, common::provider(), trust);
        sender_of(outbound, zone(), 25).record_ages();
        let values = recorded(&snapshots);
        let of = |name: &str| values.iter().find(|((it, _, _), _)| it == name).map(|it| *it.1);
        assert_eq!(of("smtp_crlite_loaded"), expected);
        assert_eq!(of("smtp_crlite_age_seconds"), None);
    }
}

/// One thread, so that the recorder of the thread sees everything.
#[tokio::test]
async fn delivery_records_every_metric_with_the_labels_of_the_page() {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);

    let pki = Pki::new();
    let mut trust = pki.trust();
    trust.add_crl_der(&RootsId::public(), &pki.crl(1, &[])).unwrap();
    trust.set_crlite(Some(Crlite::new(|_, _, _| CrliteStatus::NotCovered, hours_ago(3))));
    let server =
        start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(pki.server_config(HOST))))
            .await;
    let trusting = Outbound::new("c.test.example".parse().unwrap(), common::provider(), trust);
    let sender = sender_of(trusting, zone(), server.address.port());
    assert_eq!(deliver(&sender).await, "delivered");
    sender.record_ages();

    let values = recorded(&snapshots);
    let value = |name: &str, labels: &[(&str, &str)]| value(&values, name, labels);
    let decision = [("channel", "tls"), ("posture", "opportunistic"), ("reason", "tls-ok")];
    assert_eq!(value("smtp_tls_decisions_total", &decision), 1.0);
    for role in ["client", "server"] {
        let labels = [("role", role), ("version", "TLSv1.3"), ("group", "X25519MLKEM768")];
        assert_eq!(value("smtp_tls_handshakes_total", &labels), 1.0);
    }
    assert_eq!(value("smtp_lookups_total", &[("question", "mx"), ("outcome", "secure")]), 1.0);
    assert_eq!(value("smtp_lookup_duration_seconds", &[("question", "ipv4")]), 1.0);
    assert_eq!(value("smtp_revocation_lists", &[("roots", "public")]), 1.0);
    assert!(value("smtp_revocation_list_age_seconds", &[("roots", "public")]) > 0.0);
    assert!(value("smtp_revocation_list_expires_seconds", &[("roots", "public")]) > 0.0);
    assert_eq!(value("smtp_crlite_loaded", &[]), 1.0);
    let age = value("smtp_crlite_age_seconds", &[]);
    assert!((10_800.0..11_100.0).contains(&age), "{age}");
    assert_eq!(value("smtp_sts_policies", &[]), 0.0);
    assert_eq!(value("smtp_sts_policy_age_seconds", &[]), 0.0);

    // A server whose certificate nothing vouches for, under a connector that checks it.
    let strict = common::connector(smtp_tls_policy::rules::Posture::Verified);
    let stranger = outbound(&Pki::new());
    common::send(&stranger, server.address, &strict, "\r\n").await;
    let failures = recorded(&snapshots);
    let seen = |name: &str| failures.keys().any(|(it, _, _)| it == name);
    assert!(seen("smtp_tls_handshake_failures_total"), "{failures:?}");
    let crowded = crowd_a_pool(&snapshots).await;

    // Everything that was recorded is on the page, and everything on the page was recorded.
    let all = values.into_keys().chain(failures.into_keys()).chain(crowded.into_keys());
    let all: BTreeSet<_> = all
        .map(|(name, kind, labels)| {
            (name, kind, labels.into_iter().map(|(label, _)| label).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(all, page());
}

#[tokio::test]
async fn connections_are_counted_while_they_are_open() {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let server = start(Inbound::new(Arc::new(smtp()))).await;
    // A snapshot sets the gauge to zero, so that the next one has the difference.
    let change = || {
        let values = recorded(&snapshots);
        let found = values.iter().find(|((name, _, _), _)| name == "smtp_server_connections");
        found.map_or(0.0, |(_, value)| *value)
    };
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        // The greeting: the connection is served.
        tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 64]).await.unwrap();
        streams.push(stream);
        assert_eq!(change(), 1.0);
    }
    drop(streams);
    let mut closed = 0.0;
    while closed > -3.0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        closed += change();
    }
    assert_eq!(closed, -3.0);
}
