//! Rows P2 to P10 of the decision table, from the zones to the wire, in both modes: the golden
//! table `golden/rows.txt`. Every host is one mail server of ours, and the TLSA records that
//! are right are of its key; two hosts have servers of their own, without STARTTLS and with a
//! self-signed certificate.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use smtp_proto::server::StartTls;
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::inquiry::{DnsAnswer, MxRecord};
use smtp_tls_policy::pki::TlsaRecord;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::{DaneRule, Posture};
use smtp_tls_policy::sts::{Fetch, FetchError, PolicyText};
use smtp_tls_policy::{Domain, Host};
use smtp_tokio_adapter::lookups::dns::Resolver;
use smtp_tokio_adapter::lookups::{Combined, Lookups, PolicyFetch};
use smtp_tokio_adapter::test_kit::Flaw;
use smtp_tokio_adapter::{Inbound, Mail, Report, Sender, Session, Spoken, serve};

use crate::answers::golden;
use crate::common::{Taker, connector, envelope, provider, sender, smtp};
use crate::servers::{Dns, dns};

const POSTURES: [Posture; 5] = [
    Posture::Opportunistic,
    Posture::Deterministic,
    Posture::Encrypt,
    Posture::Verified,
    Posture::DaneOnly,
];

/// The domains, by the row of the table that they show.
const ROWS: &[(&str, &str, &str)] = &[
    ("P2", "MX records bogus", "bogus.example"),
    ("P2", "MX records expired", "expired.example"),
    ("P2", "MX records: SERVFAIL", "lame.example"),
    ("P3", "MX insecure, TLSA secure", "p3.insecure.example"),
    ("P4", "MX denied, securely", "self.secure.example"),
    ("P4", "MX denied, insecurely", "mx.insecure.example"),
    ("P4b", "AAAA bogus, A secure", "fam.secure.example"),
    ("P4b", "AAAA: SERVFAIL, A insecure", "famun.secure.example"),
    ("P4b", "A and AAAA: SERVFAIL", "famnone.secure.example"),
    ("P5", "MX secure, A insecure", "p5.secure.example"),
    ("P5", "nothing is signed", "insecure.example"),
    ("P6", "secure alias of an insecure host", "p6.secure.example"),
    ("P6", "insecure alias", "p6.insecure.example"),
    ("P6", "bogus alias", "p6bad.secure.example"),
    ("P6", "insecure alias, alone: SERVFAIL", "p6lame.secure.example"),
    ("P7", "secure alias of a host with TLSA", "p7.secure.example"),
    ("P7", "secure alias, TLSA at the alias", "p7own.secure.example"),
    ("P7", "secure aliases, TLSA at the middle one", "p7mid.secure.example"),
    ("P8", "TLSA bogus", "p8.secure.example"),
    ("P8", "TLSA: SERVFAIL", "p8lame.secure.example"),
    ("P8", "TLSA bogus, right at the alias", "p8alias.secure.example"),
    ("P9", "TLSA unusable", "p9.secure.example"),
    ("P9", "TLSA unusable, no STARTTLS", "p9clear.secure.example"),
    ("P9", "TLSA unusable, certificate self-signed", "p9self.secure.example"),
    ("P9", "the same, MTA-STS enforce", "p9sts.secure.example"),
    ("P10", "TLSA denied", "p10.secure.example"),
    ("P10", "TLSA denied, no STARTTLS", "p10clear.secure.example"),
    ("P10", "TLSA denied, certificate self-signed", "p10self.secure.example"),
    ("P10", "the same, MTA-STS enforce", "p10sts.secure.example"),
    ("P10", "TLSA denied, insecurely", "p10optout.secure.example"),
    ("", "TLSA secure", "secure.example"),
    ("", "TLSA secure, below an opt-out", "signed.optout"),
    ("", "not signed, below an opt-out", "plain.optout"),
    ("", "TLSA of another key", "mismatch.secure.example"),
];

/// A resolver, and the questions that decide about DANE.
struct Asked(Resolver, Mutex<Vec<String>>);

impl Asked {
    fn note(&self, kind: &str, owner: &str) {
        self.1.lock().unwrap().push(format!("{kind} {owner}"));
    }
}

impl Lookups for Asked {
    async fn mx(&self, domain: &Domain) -> DnsAnswer<MxRecord> {
        self.0.mx(domain).await
    }
    async fn ipv4(&self, host: &Domain) -> DnsAnswer<Ipv4Addr> {
        self.0.ipv4(host).await
    }
    async fn ipv6(&self, host: &Domain) -> DnsAnswer<Ipv6Addr> {
        self.0.ipv6(host).await
    }
    async fn cname(&self, owner: &str) -> DnsStatus {
        self.note("CNAME", owner);
        self.0.cname(owner).await
    }
    async fn tlsa(&self, owner: &str) -> DnsAnswer<TlsaRecord> {
        self.note("TLSA", owner);
        self.0.tlsa(owner).await
    }
    async fn txt(&self, owner: &Domain) -> DnsAnswer<Vec<Vec<u8>>> {
        self.0.txt(owner).await
    }
    async fn fetch(&self, _: &Fetch) -> Result<PolicyText, FetchError> {
        let policy = b"version: STSv1\nmode: enforce\nmx: *.secure.example\nmax_age: 86400\n";
        PolicyText::from_response(200, Some("text/plain"), policy)
    }
}

/// Shows one certificate, and remembers by which name it was asked for.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>, Arc<Mutex<Vec<String>>>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.1.lock().unwrap().push(hello.server_name().unwrap_or("-").to_owned());
        Some(Arc::clone(&self.0))
    }
}

/// Runs the mail server of all hosts, and of two addresses beside it: without STARTTLS, and with a
/// self-signed certificate. The names that clients ask for in TLS.
fn take(dns: &Dns) -> Arc<Mutex<Vec<String>>> {
    let names = Arc::<Mutex<Vec<String>>>::default();
    let port = dns.mail.local_addr().unwrap().port();
    let beside = |last| {
        let listener = std::net::TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    };
    let own = dns.pki.flawed(Flaw::SelfSigned, "mx-own.secure.example");
    run(dns.mail.try_clone().unwrap(), Some(Arc::clone(&dns.identity)), &names);
    run(beside(2), None, &names);
    run(beside(3), Some(own), &names);
    names
}

/// Runs a mail server with this certificate; without one it offers no STARTTLS.
fn run(
    listener: std::net::TcpListener,
    identity: Option<Arc<CertifiedKey>>,
    names: &Arc<Mutex<Vec<String>>>,
) {
    let mut inbound = Inbound::new(Arc::new(smtp()));
    match identity {
        Some(identity) => {
            let tls = rustls::ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(Shows(identity, Arc::clone(names))));
            inbound.tls = Some(Arc::new(tls));
        }
        None => Arc::make_mut(&mut inbound.smtp).starttls = StartTls::No,
    }
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let taker = |_: SocketAddr| Taker::new(|_: &Session| Response::fixed(250, (2, 0, 0), "kept"));
    tokio::spawn(serve(listener, inbound, taker, std::future::pending()));
}

#[tokio::test]
async fn rows_p2_to_p10_hold_from_the_zones_to_the_wire_in_both_modes() {
    let Some(dns) = dns() else { return };
    let names = take(dns);
    let port = dns.mail.local_addr().unwrap().port();
    let mut table = String::new();
    for (rule, is_skipped, dane) in [
        ("Delays", false, DaneRule::AnyMx),
        ("IsSkipped", true, DaneRule::AnyMx),
        ("SecureMx", false, DaneRule::SecureMx),
    ] {
        let [validates, believes] = [dns.validates(), dns.believes()].map(|resolver| {
            let asked = Asked(resolver, Mutex::default());
            let sender = sender(&dns.pki, asked, port);
            if is_skipped { sender.skipping_failed_family() } else { sender }
        });
        // The rows on which a setting other than the default has an effect.
        let concerned = match (is_skipped, dane) {
            (true, _) => Some("P4b"),
            (false, DaneRule::SecureMx) => Some("P3"),
            (false, _) => None,
        };
        let rows = ROWS.iter().filter(|row| concerned.is_none_or(|concerned| row.0 == concerned));
        for (row, what, domain) in rows {
            let heading = match *row {
                "" => format!("{what}: {domain}"),
                "P4b" => format!("{row} {what} ({rule}): {domain}"),
                "P3" if concerned.is_some() => format!("{row} {what} ({rule}): {domain}"),
                _ => format!("{row} {what}: {domain}"),
            };
            writeln!(table, "{heading}").unwrap();
            // Outcomes, each with the postures that have it.
            let mut outcomes: Vec<(String, Vec<String>)> = Vec::new();
            for posture in POSTURES {
                let [here, there] = [
                    deliver(&validates, (posture, dane), domain, &names).await,
                    deliver(&believes, (posture, dane), domain, &names).await,
                ]
                .map(|line| line.replace(&format!("_{port}."), "_25."));
                let here = match here == there {
                    true => here,
                    false => format!("{here}\n        AD: {there}"),
                };
                let posture = format!("{posture:?}");
                match outcomes.iter_mut().find(|(outcome, _)| *outcome == here) {
                    Some((_, postures)) => postures.push(posture),
                    None => outcomes.push((here, vec![posture])),
                }
            }
            for (outcome, postures) in outcomes {
                writeln!(table, "    {}:\n        {outcome}", postures.join(", ")).unwrap();
            }
        }
    }
    golden("rows.txt", &table);
}

async fn deliver(
    sender: &Sender<Asked>,
    (posture, dane): (Posture, DaneRule),
    domain: &str,
    names: &Mutex<Vec<String>>,
) -> String {
    names.lock().unwrap().clear();
    sender.lookups().1.lock().unwrap().clear();
    let host = Host::parse(domain).unwrap();
    let envelope = envelope(&[&format!("reader@{domain}")]);
    let mut connector = connector(posture);
    connector.dane = dane;
    let message = Bytes::from_static(b"Subject: x\r\n\r\nx\r\n");
    let mail = Mail::new(&connector, &host, &envelope, &message);
    let report = sender.send_mail(&mail).await;
    let mut line = outcome(&report);
    for name in names.lock().unwrap().iter() {
        write!(line, ", SNI {name}").unwrap();
    }
    for question in sender.lookups().1.lock().unwrap().iter() {
        write!(line, ", asked {question}").unwrap();
    }
    line
}

/// What became of the message, over what, and why.
fn outcome(report: &Report) -> String {
    let mut line = report.statuses()[0].to_string();
    for (host, skip) in &report.skipped {
        let reason = skip.refusal.reason().code();
        write!(line, ", {host} skipped ({reason})").unwrap();
    }
    for attempt in &report.attempts {
        let decision = &attempt.decision;
        let channel = match decision.channel {
            Spoken::Tls => "TLS",
            _ => "clear text",
        };
        let judged = match &decision.verdict {
            Some(verdict) if verdict.is_authenticated() => ", authenticated",
            _ => "",
        };
        write!(line, ", {channel}{judged} ({})", decision.reason.code()).unwrap();
    }
    line
}

/// A web of one page, and what was asked of it.
struct Web(Mutex<Vec<String>>);

impl PolicyFetch for Web {
    async fn fetch<L: Lookups>(&self, fetch: &Fetch, _: &L) -> Result<PolicyText, FetchError> {
        self.0.lock().unwrap().push(fetch.url());
        let policy = b"version: STSv1\nmode: enforce\nmx: mx2.secure.example\nmax_age: 86400\n";
        PolicyText::from_response(200, Some("text/plain"), policy)
    }
}

/// The policy of the web leaves out the host that the DNS prefers.
#[tokio::test]
async fn a_resolver_and_a_policy_source_are_combined_for_one_sender() {
    let Some(dns) = dns() else { return };
    let lookups = Combined::new(dns.believes(), Web(Mutex::default()));
    let domain = Domain::parse("secure.example").unwrap();
    assert_eq!(lookups.mx(&domain).await.records.len(), 2);
    assert_eq!(lookups.ipv4(&domain).await.status, DnsStatus::Secure);
    assert_eq!(lookups.ipv6(&domain).await.status, DnsStatus::Secure);
    assert_eq!(lookups.cname("secure.example").await, DnsStatus::Secure);
    // Nothing listens at the port.
    let sender = sender(&dns.pki, lookups, 1);
    let envelope = envelope(&["reader@secure.example"]);
    let report = sender.send(envelope, &Bytes::from_static(b"x\r\n")).await;
    let skipped: Vec<_> = report.skipped.iter().map(|(host, _)| host.as_str()).collect();
    assert_eq!(skipped, ["mx.secure.example"], "{report:?}");
    let asked = sender.lookups().policies().0.lock().unwrap().clone();
    assert_eq!(asked, ["https://mta-sts.secure.example/.well-known/mta-sts.txt"]);
}
