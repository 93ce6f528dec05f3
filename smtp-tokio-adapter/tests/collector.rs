//! Sessions to a collector of the tlsrpt-reporter.
#![cfg(all(unix, feature = "reports"))]

use std::os::unix::net::UnixDatagram;

use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::tlsrpt::{Reporting, TlsrptRecord};
use smtp_tls_policy::{Domain, Host, Namespace, Reason};
use smtp_tokio_adapter::tls_reports::Collector;

#[test]
fn sessions_reach_the_collector_and_its_absence_or_slowness_never_waits() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("tlsrpt.socket");
    let _ = std::fs::remove_file(&path);
    let collector = Collector::new(&path).unwrap();
    let (domain, host) = (Host::parse("y.example").unwrap(), Host::parse("mx.y.example").unwrap());
    let connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Opportunistic);
    let facts = Facts::new(&connector, &domain, &host, HostOrigin::Mx);
    let reporting = Reporting::of(&facts);
    let (plan, address) = (plan(&facts).unwrap(), "192.0.2.1".parse().unwrap());
    let sessions = reporting.no_tls(&plan, Reason::StarttlsNotOffered, None, None, address);
    let record = [["v=TLSRPTv1; rua=mailto:tls@y.example"]];
    let record = TlsrptRecord::find(&record).unwrap().unwrap();
    let domain = Domain::parse("y.example").unwrap();

    assert!(collector.send(&domain, &record, &sessions).is_err(), "the collector is away");
    let socket = UnixDatagram::bind(&path).unwrap();
    collector.send(&domain, &record, &sessions).unwrap();
    collector.send(&domain, &record, &[]).unwrap();
    let mut octets = vec![0; 65_536];
    let len = socket.recv(&mut octets).unwrap();
    let read: serde_json::Value = serde_json::from_slice(&octets[..len]).unwrap();
    assert_eq!((&read["d"], &read["policies"][0]["f"]), (&"y.example".into(), &1.into()));
    // A collector that reads nothing: its queue is full at last, and the call returns.
    while collector.send(&domain, &record, &sessions).is_ok() {}
    let _ = std::fs::remove_file(&path);
}
