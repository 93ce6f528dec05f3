//! The metrics: their names are those of `METRICS.md`, and they move as the page says.
#![cfg(feature = "metrics")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use common::{HOST, Pki, envelope, outbound, sender_of, smtp, start};
use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use smtp_tls_policy::Domain;
use smtp_tls_policy::pki::{RootsId, Trust};
use smtp_tls_policy::plan::DnsStatus;
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::{Inbound, METRICS, Outbound};

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

#[test]
fn page_has_exactly_the_metrics_of_the_code() {
    let code: BTreeSet<_> = METRICS
        .iter()
        .map(|it| {
            let labels = it.labels.iter().map(|&label| label.to_owned()).collect();
            (it.name.to_owned(), it.kind.to_owned(), labels)
        })
        .collect();
    assert_eq!(code.len(), METRICS.len(), "a name is there twice");
    assert_eq!(code, page());
    let text = include_str!("../METRICS.md");
    for metric in METRICS {
        // In the table, and in its explanation.
        assert!(text.matches(&format!("`{}`", metric.name)).count() >= 2, "{}", metric.name);
    }
}

/// One thread, so that the recorder of the thread sees everything.
#[tokio::test]
async fn delivery_records_every_metric_with_the_labels_of_the_page() {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);

    let pki = Pki::new();
    let mut trust = Trust::clone(&pki.trust());
    trust.add_crl_der(&RootsId::public(), &pki.crl(1, &[])).unwrap();
    let server =
        start(Inbound { tls: Some(pki.server_config(HOST)), ..Inbound::new(Arc::new(smtp())) })
            .await;
    let (domain, host) = (Domain::parse("test.example").unwrap(), Domain::parse(HOST).unwrap());
    let mut zone = Zone::new(DnsStatus::Secure);
    zone.add_mx(&domain, 10, &host).add_host(&host, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
    let trusting =
        Outbound::new("c.test.example".parse().unwrap(), common::provider(), Arc::new(trust));
    let sender = sender_of(trusting, zone, server.address.port());
    let report =
        sender.send(&envelope(&["reader@test.example"]), &bytes::Bytes::from("\r\n")).await;
    assert_eq!(report.statuses()[0].to_string(), "delivered", "{report:?}");
    sender.record_ages();

    let values = recorded(&snapshots);
    let value = |name: &str, labels: &[(&str, &str)]| {
        let of = |it: &(&str, &str)| (it.0.to_owned(), it.1.to_owned());
        let labels: Vec<_> = labels.iter().map(of).collect();
        let found = values.iter().find(|((a, _, b), _)| a == name && *b == labels);
        *found.unwrap_or_else(|| panic!("{name} {labels:?} in {values:?}")).1
    };
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
    assert_eq!(value("smtp_sts_policies", &[]), 0.0);
    assert_eq!(value("smtp_sts_policy_age_seconds", &[]), 0.0);

    // A server whose certificate nothing vouches for, under a connector that checks it.
    let strict = common::connector(smtp_tls_policy::rules::Posture::Verified);
    let plan = common::plan_for(&strict, false);
    let stranger = outbound(&Pki::new());
    common::send(&stranger, server.address, plan, None, "\r\n").await;
    let failures = recorded(&snapshots);
    let seen = |name: &str| failures.keys().any(|(it, _, _)| it == name);
    assert!(seen("smtp_tls_handshake_failures_total"), "{failures:?}");

    // Everything that was recorded is on the page, and everything on the page was recorded.
    let all = values.into_keys().chain(failures.into_keys());
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
