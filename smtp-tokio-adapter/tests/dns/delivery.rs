//! What a resolver without an answer costs a delivery.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use smtp_tls_policy::inquiry::{DnsAnswer, MxRecord};
use smtp_tls_policy::pki::TlsaRecord;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::Posture;
use smtp_tls_policy::{Domain, Host};
use smtp_tokio_adapter::lookups::dns::{Anchors, Resolver};
use smtp_tokio_adapter::lookups::{Lookups, Zone};
use smtp_tokio_adapter::{Mail, Report};
use tokio::time::Instant;

use crate::common::{HOST, Pki, connector, envelope, sender};
use crate::servers::servers;

const LIMIT: Duration = Duration::from_secs(7);

/// A zone in memory, and a resolver that never answers questions of these kinds.
struct Silent<'a> {
    zone: Zone,
    resolver: Resolver,
    silent: &'a [&'a str],
    asked: Mutex<Vec<String>>,
}

impl Silent<'_> {
    fn is_silent(&self, kind: &str, owner: &str) -> bool {
        self.asked.lock().unwrap().push(format!("{kind} {owner}"));
        self.silent.contains(&kind)
    }
}

impl Lookups for Silent<'_> {
    async fn mx(&self, domain: &Domain) -> DnsAnswer<MxRecord> {
        match self.is_silent("MX", domain.as_str()) {
            true => self.resolver.mx(domain).await,
            false => self.zone.mx(domain).await,
        }
    }
    async fn ipv4(&self, host: &Domain) -> DnsAnswer<Ipv4Addr> {
        match self.is_silent("A", host.as_str()) {
            true => self.resolver.ipv4(host).await,
            false => self.zone.ipv4(host).await,
        }
    }
    async fn ipv6(&self, host: &Domain) -> DnsAnswer<Ipv6Addr> {
        match self.is_silent("AAAA", host.as_str()) {
            true => self.resolver.ipv6(host).await,
            false => self.zone.ipv6(host).await,
        }
    }
    async fn tlsa(&self, owner: &str) -> DnsAnswer<TlsaRecord> {
        match self.is_silent("TLSA", owner) {
            true => self.resolver.tlsa(owner).await,
            false => self.zone.tlsa(owner).await,
        }
    }
    async fn txt(&self, owner: &Domain) -> DnsAnswer<Vec<Vec<u8>>> {
        match self.is_silent("TXT", owner.as_str()) {
            true => self.resolver.txt(owner).await,
            false => self.zone.txt(owner).await,
        }
    }
}

/// Sends mail to `test.example`, and returns the questions too.
async fn deliver(zone: Zone, silent: &'static [&'static str]) -> (Report, Vec<String>) {
    // A socket that nothing reads.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = servers(socket.local_addr().unwrap());
    let resolver = Resolver::validating(server, Anchors::root()).with_time_limit(LIMIT);
    let lookups = Silent { zone, resolver, silent, asked: Mutex::default() };
    let sender = sender(&Pki::new(), lookups, 25);
    let (connector, domain) =
        (connector(Posture::Opportunistic), Host::parse("test.example").unwrap());
    let (envelope, message) =
        (envelope(&["reader@test.example"]), Bytes::from("Subject: x\r\n\r\nx\r\n"));
    let mail = Mail::new(&connector, &domain, &envelope, &message);
    let report = sender.send_mail(&mail).await;
    let asked = sender.lookups().asked.lock().unwrap().clone();
    (report, asked)
}

fn zone() -> Zone {
    let (domain, host) = (Domain::parse("test.example").unwrap(), Domain::parse(HOST).unwrap());
    let mut zone = Zone::new(DnsStatus::Secure);
    zone.add_mx(&domain, 10, &host).add_host(&host, [IpAddr::from([127, 0, 0, 1])]);
    zone
}

/// Why the host of the mail was left out, if a reason says it.
fn reason(report: &Report) -> Option<&'static str> {
    let [(_, skip)] = &report.skipped[..] else { panic!("{report:?}") };
    Some(skip.refusal.reason().code())
}

/// The clock of the test stands still until nothing else is left to do.
#[tokio::test(start_paused = true)]
async fn resolver_that_never_answers_costs_its_time_limit_once_and_defers_the_mail() {
    for (silent, status, expected) in [
        (&["MX"][..], "deferred: 4.4.3", Some("mx-lookup-failed")),
        (&["A", "AAAA"], "deferred: 4.4.3", Some("address-lookup-failed")),
        (&["TLSA"], "deferred: 4.7.5", Some("tlsa-lookup-failed")),
        (&["MX", "A", "AAAA", "TLSA", "TXT"], "deferred: 4.4.3", Some("mx-lookup-failed")),
    ] {
        let start = Instant::now();
        let (report, asked) = deliver(zone(), silent).await;
        assert_eq!(start.elapsed(), LIMIT, "{silent:?} {asked:?}");
        assert_eq!(report.statuses()[0].to_string(), status, "{silent:?} {report:?}");
        assert_eq!(reason(&report), expected, "{silent:?}");
    }
}

/// P13: whether the record is there, is not known, and whose fault that is, cannot be told. Name
/// servers of domains without MTA-STS may be as silent, so the mail goes on.
#[tokio::test(start_paused = true)]
async fn resolver_that_never_answers_for_txt_alone_costs_its_time_limit_and_the_host_is_dialled() {
    let start = Instant::now();
    let (report, asked) = deliver(zone(), &["TXT"]).await;
    assert!(start.elapsed() >= LIMIT, "{asked:?}");
    assert!(report.skipped.is_empty(), "{report:?}");
    assert!(asked.contains(&"TXT _mta-sts.test.example".to_owned()), "{asked:?}");
}

#[tokio::test]
async fn of_ten_thousand_mx_hosts_fifty_are_looked_up() {
    let domain = Domain::parse("test.example").unwrap();
    let mut zone = Zone::new(DnsStatus::Insecure);
    for number in 0..10_000 {
        zone.add_mx(&domain, number, &Domain::parse(&format!("mx{number}.test.example")).unwrap());
    }
    let (report, asked) = deliver(zone, &[]).await;
    assert_eq!(report.statuses()[0].to_string(), "deferred: 4.4.4");
    let of_kind = |kind: &str| asked.iter().filter(|it| it.starts_with(kind)).count();
    assert_eq!((of_kind("A "), of_kind("AAAA "), asked.len()), (50, 50, 102));
    assert!(asked.contains(&"A mx49.test.example".to_owned()));
}
