//! The policy: plans, connector look-up, the judgement of a chain beside rustls-webpki alone, and
//! revocation lists.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use pki_types::{CertificateDer, UnixTime};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SigningKey};
use smtp_tls_policy::pki::{Crl, LiveTrust, Revocation, RootsId, Trust};
use smtp_tls_policy::pki::{TlsaRecord, TlsaSet};
use smtp_tls_policy::plan::{DnsStatus, Facts, HostOrigin, Plan, TlsaFact, plan};
use smtp_tls_policy::rules::{OutboundConnector, OutboundConnectors, Posture};
use smtp_tls_policy::sts::{CachedPolicy, PolicyId, PolicyText, StsAnswer};
use smtp_tls_policy::{Domain, Host, Namespace};
use webpki::{EndEntityCert, KeyUsage};

const HOST: &str = "mx1.mail.example.com";

fn host(name: &str) -> Host {
    Host::parse(name).expect("a host")
}

fn connector(posture: Posture) -> OutboundConnector {
    OutboundConnector::new("c", vec![Namespace::Default], posture)
}

fn plans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    let (next_hop, host) = (host("example.com"), host(HOST));
    for posture in [Posture::Opportunistic, Posture::Deterministic] {
        let connector = connector(posture);
        group.bench_function(BenchmarkId::from_parameter(posture), |bencher| {
            bencher.iter(|| {
                plan(black_box(&Facts::new(&connector, &next_hop, &host, HostOrigin::Mx)))
            });
        });
    }
    let connector = connector(Posture::Deterministic);
    let base = Domain::parse(HOST).expect("a domain");
    let records = ["3 1 1", "2 1 1"].map(|fields| format!("{fields} {}", "ab".repeat(32)));
    let records = records.map(|record| TlsaRecord::parse(&record).expect("a record"));
    let tlsa = TlsaFact::Found(TlsaSet::new(base, &records));
    let text = format!("version: STSv1\nmode: enforce\nmx: {HOST}\nmax_age: 604800\n");
    let policy = PolicyText::parse(text.as_bytes()).expect("a policy");
    let (domain, id) = (Domain::parse("example.com"), PolicyId::parse("1"));
    let (domain, id) = (domain.expect("a domain"), id.expect("an id"));
    let cached = CachedPolicy::new(domain, id, UnixTime::now(), policy);
    let sts = StsAnswer { policy: Some(cached), trouble: None };
    group.bench_function("dane and sts", |bencher| {
        bencher.iter(|| {
            let mut facts = Facts::new(&connector, &next_hop, &host, HostOrigin::Mx);
            (facts.mx, facts.tlsa, facts.sts) = (DnsStatus::Secure, &tlsa, &sts);
            plan(black_box(&facts))
        });
    });
    group.finish();
}

/// A name of four labels for each number, as far apart as hashes make them.
fn name(index: u32) -> String {
    format!(
        "mail{index}.dept{}.company{}.example",
        index % 17,
        index.wrapping_mul(2_654_435_761) % 100_003
    )
}

/// The same look-ups with a thousand and with a million namespaces: exact names, names below a
/// wildcard, and names that no connector serves. First a thousand domains that come again and
/// again, as those of real mail do; then so many that no cache holds what they lead to.
fn connectors(criterion: &mut Criterion) {
    for (title, asked) in
        [("connector look-up", 1_000u32), ("connector look-up, seldom the same", 200_000)]
    {
        let mut group = criterion.benchmark_group(title);
        for count in [1_000u32, 1_000_000] {
            let namespace = |index: u32| {
                let domain = Domain::parse(&name(index)).expect("a domain");
                if index.is_multiple_of(2) {
                    Namespace::Exact(domain)
                } else {
                    Namespace::Subdomains(domain)
                }
            };
            let mut bank = connector(Posture::Verified);
            bank.name = "bank".into();
            bank.namespaces = (0..count).map(namespace).collect();
            let connectors = OutboundConnectors::new(vec![bank, connector(Posture::Deterministic)])
                .expect("a set");
            let questions: Vec<_> = (0..asked)
                .map(|number| {
                    let index = number.wrapping_mul(2_654_435_761) % count;
                    match number % 3 {
                        0 => host(&name(index & !1)),
                        1 => host(&format!("a.{}", name(index | 1))),
                        _ => host(&format!("nobody{index}.example.net")),
                    }
                })
                .collect();
            let mut next = questions.iter().cycle();
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter(|| {
                    next.next().map(|question| black_box(connectors.find(question)).posture)
                });
            });
        }
        group.finish();
    }
}

/// A root, an intermediate and a host.
struct Chain {
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    issuer_name: Vec<u8>,
    chain: [CertificateDer<'static>; 2],
}

fn now() -> UnixTime {
    // 1 June 2026, within the years that rcgen gives a certificate.
    UnixTime::since_unix_epoch(Duration::from_secs(1_780_272_000))
}

fn chain() -> Chain {
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let key = || KeyPair::generate().expect("a key");
    let (root_params, root_key) = (authority("Root"), key());
    let root = root_params.self_signed(&root_key).expect("a root").der().clone();
    let root_issuer = Issuer::new(root_params, root_key);
    let (params, issuer_key) = (authority("Issuer"), key());
    let intermediate =
        params.signed_by(&issuer_key, &root_issuer).expect("an issuer").der().clone();
    let anchor = webpki::anchor_from_trusted_cert(&intermediate).expect("an authority");
    let issuer_name = anchor.subject.as_ref().to_vec();
    let issuer = Issuer::new(params, issuer_key);
    let leaf = CertificateParams::new(vec![HOST.to_owned()]).expect("parameters");
    let leaf = leaf.signed_by(&key(), &issuer).expect("a leaf").der().clone();
    Chain { root, issuer, issuer_name, chain: [leaf, intermediate] }
}

fn verified() -> Plan {
    let mut connector = connector(Posture::Verified);
    connector.revocation = Revocation::Off;
    let host = host(HOST);
    plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).expect("a plan")
}

/// The same chain, name and algorithms, with and without what this crate adds.
fn judgements(criterion: &mut Criterion) {
    let chain = chain();
    let mut trust = Trust::empty();
    trust.add_root_der(&RootsId::public(), &chain.root).expect("a root");
    let live = LiveTrust::new(trust.clone());
    let plan = verified();
    assert!(plan.judge(&chain.chain, &trust, now()).is_authenticated());
    let anchors = [webpki::anchor_from_trusted_cert(&chain.root).expect("a root")];
    let name = pki_types::ServerName::try_from(HOST).expect("a name");

    let mut group = criterion.benchmark_group("judge");
    group.bench_function("rustls-webpki alone", |bencher| {
        bencher.iter(|| {
            let leaf = EndEntityCert::try_from(black_box(&chain.chain[0])).expect("a certificate");
            leaf.verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors,
                &chain.chain[1..],
                now(),
                KeyUsage::server_auth(),
                None,
                None,
            )
            .expect("a path");
            leaf.verify_is_valid_for_subject_name(&name).expect("the name");
        });
    });
    group.bench_function("judge", |bencher| {
        bencher.iter(|| plan.judge(black_box(&chain.chain), &trust, now()).is_authenticated());
    });
    group.bench_function("judge, live trust", |bencher| {
        bencher
            .iter(|| plan.judge(black_box(&chain.chain), &live.load(), now()).is_authenticated());
    });
    group.finish();
}

/// A DER element.
fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = u32::try_from(contents.len()).expect("32 bits").to_be_bytes();
    match contents.len() {
        0..=0x7f => out.push(length[3]),
        0x80..=0xff => out.extend([0x81, length[3]]),
        0x100..=0xffff => out.extend([0x82, length[2], length[3]]),
        0x1_0000..=0xff_ffff => out.extend([0x83, length[1], length[2], length[3]]),
        _ => {
            out.push(0x84);
            out.extend(length);
        }
    }
    out.extend_from_slice(contents);
    out
}

/// A serial number of 16 octets, as public authorities make them.
fn serial(index: u32) -> [u8; 16] {
    let mut serial = [0; 16];
    serial[0] = 0x41;
    for (position, part) in serial[1..].chunks_exact_mut(3).enumerate() {
        let spread =
            index.wrapping_mul(2_654_435_761).rotate_left(7 * u32::try_from(position).unwrap_or(0));
        part.copy_from_slice(&spread.to_be_bytes()[..3]);
    }
    serial[12..].copy_from_slice(&index.to_be_bytes());
    serial
}

/// A signed list with so many entries, each with a date and a reason.
fn crl(chain: &Chain, count: u32) -> Vec<u8> {
    const ECDSA_WITH_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
    let reason =
        tlv(0x30, &tlv(0x30, &[&b"\x06\x03\x55\x1d\x15"[..], &tlv(4, &[0x0a, 1, 4])].concat()));
    let mut entries = Vec::new();
    for index in 0..count {
        let entry = [&tlv(2, &serial(index))[..], &tlv(0x17, b"260531000000Z"), &reason].concat();
        entries.extend(tlv(0x30, &entry));
    }
    let number = tlv(0x30, &[&b"\x06\x03\x55\x1d\x14"[..], &tlv(4, &[2, 1, 1])].concat());
    let tbs = [
        &[2, 1, 1][..],
        ECDSA_WITH_SHA256,
        &tlv(0x30, &chain.issuer_name),
        &tlv(0x17, b"260531000000Z"),
        &tlv(0x17, b"270602000000Z"),
        &tlv(0x30, &entries),
        &tlv(0xa0, &tlv(0x30, &number)),
    ]
    .concat();
    let tbs = tlv(0x30, &tbs);
    let signature = chain.issuer.key().sign(&tbs).expect("a signature");
    tlv(0x30, &[&tbs[..], ECDSA_WITH_SHA256, &tlv(3, &[&[0][..], &signature].concat())].concat())
}

fn lists(criterion: &mut Criterion) {
    const COUNT: u32 = 1_000_000;
    let chain = chain();
    let der = crl(&chain, COUNT);
    let parsed = Arc::new(Crl::from_der(&der).expect("a list"));
    let mut group = criterion.benchmark_group("crl");
    group.bench_function("look-up in 1000000, listed", |bencher| {
        let mut index = 0u32;
        bencher.iter(|| {
            index = index.wrapping_add(7_919) % COUNT;
            assert!(parsed.lists(black_box(&serial(index))));
        });
    });
    group.bench_function("look-up in 1000000, not listed", |bencher| {
        let mut index = 0u32;
        bencher.iter(|| {
            index = index.wrapping_add(7_919) % COUNT;
            assert!(!parsed.lists(black_box(&serial(COUNT + index))));
        });
    });
    // The whole of it: the chain, and two look-ups, with a signature that was verified before.
    let mut trust = Trust::empty();
    trust.add_root_der(&RootsId::public(), &chain.root).expect("a root");
    trust.add_crl(&RootsId::public(), Arc::clone(&parsed));
    let mut connector = connector(Posture::Verified);
    connector.revocation = Revocation::IfConfigured;
    let host = host(HOST);
    let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).expect("a plan");
    assert!(plan.judge(&chain.chain, &trust, now()).is_authenticated());
    group.bench_function("judge with the list of 1000000", |bencher| {
        bencher.iter(|| plan.judge(black_box(&chain.chain), &trust, now()).is_authenticated());
    });
    group.sample_size(10);
    for count in [10_000, 100_000, COUNT] {
        let der = crl(&chain, count);
        group.bench_function(BenchmarkId::new("load", count), |bencher| {
            bencher.iter(|| Crl::from_der(black_box(&der)).expect("a list"));
        });
    }
    group.finish();
}

fn config() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
}

criterion_group! {
    name = policy;
    config = config();
    targets = plans, connectors, judgements, lists
}
criterion_main!(policy);
