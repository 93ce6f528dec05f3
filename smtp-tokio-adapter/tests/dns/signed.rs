//! Signed answers at the borders of what validation takes.

use hickory_net::proto::dnssec::rdata::{DNSSECRData, DS, NSEC3};
use hickory_net::proto::dnssec::{Algorithm, DigestType, Nsec3HashAlgorithm};
use hickory_net::proto::op::{Message, Query};
use hickory_net::proto::rr::rdata::{A, CNAME, NS, SOA};
use hickory_net::proto::rr::{Name, RData, Record, RecordType};
use smtp_tls_policy::plan::DnsStatus;
use smtp_tokio_adapter::lookups::dns::{Fault, Resolver};

use crate::forged::{domain, is, name};
use crate::signer::{Times, VALID, Zone, record, signing};

const HOST: &str = "mx.test.";

fn address() -> RData {
    RData::A(A::new(192, 0, 2, 1))
}

async fn ipv4(resolver: &Resolver, host: &str) -> Result<DnsStatus, Fault> {
    resolver.look_up_ipv4(&domain(host)).await.map(|answer| answer.status)
}

async fn ipv6(resolver: &Resolver, host: &str) -> Result<DnsStatus, Fault> {
    resolver.look_up_ipv6(&domain(host)).await.map(|answer| answer.status)
}

/// The address of the host, signed in this time and for so many labels.
async fn of_signature(times: Times, labels: Option<u8>) -> Result<DnsStatus, Fault> {
    let say = move |zone: &Zone, query: &Query, answer: &mut Message| {
        if is(query, RecordType::A, HOST) {
            let set = [record(&name(HOST), address())];
            let signature = zone.signature(&set, times, labels);
            answer.answers = [&set[..], &[signature]].concat();
        }
    };
    let (resolver, _forger) = signing(|zone| vec![zone.ds()], say).await;
    ipv4(&resolver, "mx.test").await
}

/// RFC 4034, section 3.1.5: the times are counted modulo 2^32. RFC 4035, section 5.3.1.
#[tokio::test]
async fn signature_counts_in_its_time_and_for_its_labels() {
    const DAY: i64 = 86_400;
    for (times, labels, expected) in [
        (VALID, None, Ok(DnsStatus::Secure)),
        ((-20_000 * DAY, DAY), None, Ok(DnsStatus::Secure)),
        ((-DAY, 20_000 * DAY), None, Ok(DnsStatus::Secure)),
        ((-2 * DAY, -DAY), None, Err(Fault::Bogus)),
        ((DAY, 2 * DAY), None, Err(Fault::Bogus)),
        ((DAY, -DAY), None, Err(Fault::Bogus)),
        // From its inception to its expiration it would be more than 2^31 seconds.
        ((-30_000 * DAY, DAY), None, Err(Fault::Bogus)),
        // It is that of a wildcard, and no proof says that nothing is closer.
        (VALID, Some(1), Err(Fault::Bogus)),
        (VALID, Some(0), Err(Fault::Bogus)),
    ] {
        assert_eq!(of_signature(times, labels).await, expected, "{times:?} {labels:?}");
    }
}

/// A DS record of the key of a zone, with another algorithm and digest.
fn ds(zone: &Zone, algorithm: Algorithm, digest: u8) -> DS {
    DS::new(zone.ds().key_tag(), algorithm, DigestType::from(digest), vec![7; 32])
}

fn rsa_sha1() -> Algorithm {
    Algorithm::from_u8(5)
}

fn nsec3_rsa_sha1() -> Algorithm {
    Algorithm::from_u8(7)
}

fn digest(zone: &Zone, digest: DigestType) -> DS {
    DS::from_key(zone.key.public_key(), &zone.name, digest).unwrap()
}

/// RFC 4035, section 5.2; RFC 4509, section 3; RFC 6840, section 5.2; RFC 9905, section 2.
#[tokio::test]
async fn delegation_is_insecure_only_if_no_ds_record_is_known_here() {
    const KNOWN: Algorithm = Algorithm::ECDSAP256SHA256;
    const SIGNED: (Result<DnsStatus, Fault>, Result<DnsStatus, Fault>) =
        (Ok(DnsStatus::Secure), Err(Fault::Bogus));
    const INSECURE: (Result<DnsStatus, Fault>, Result<DnsStatus, Fault>) =
        (Ok(DnsStatus::Insecure), Ok(DnsStatus::Insecure));
    const BOGUS: (Result<DnsStatus, Fault>, Result<DnsStatus, Fault>) =
        (Err(Fault::Bogus), Err(Fault::Bogus));
    type Make = fn(&Zone) -> Vec<DS>;
    let cases: [(&str, Make, _); 19] = [
        ("the key", |zone| vec![zone.ds()], SIGNED),
        ("SHA-384", |zone| vec![digest(zone, DigestType::SHA384)], SIGNED),
        ("unknown digest", |zone| vec![ds(zone, KNOWN, 200)], INSECURE),
        ("GOST", |zone| vec![ds(zone, KNOWN, 3)], INSECURE),
        ("Ed448", |zone| vec![ds(zone, Algorithm::Unknown(16), 2)], INSECURE),
        ("RSA/MD5", |zone| vec![ds(zone, Algorithm::Unknown(1), 2)], INSECURE),
        ("Ed448 and the key", |zone| vec![ds(zone, Algorithm::Unknown(16), 2), zone.ds()], SIGNED),
        ("another key", |zone| vec![ds(zone, KNOWN, 2)], BOGUS),
        ("unknown and another", |zone| vec![ds(zone, KNOWN, 200), ds(zone, KNOWN, 2)], BOGUS),
        ("short digest", |_| vec![DS::new(1, KNOWN, DigestType::SHA256, vec![7; 3])], BOGUS),
        // The weaker digest counts only where there is no better one.
        ("SHA-1 alone", |zone| vec![digest(zone, DigestType::SHA1)], SIGNED),
        ("SHA-1 and SHA-256", |zone| vec![digest(zone, DigestType::SHA1), zone.ds()], SIGNED),
        ("another by SHA-1, the key", |zone| vec![ds(zone, KNOWN, 1), zone.ds()], SIGNED),
        (
            "SHA-1, and another by SHA-256",
            |zone| vec![digest(zone, DigestType::SHA1), ds(zone, KNOWN, 2)],
            BOGUS,
        ),
        (
            "SHA-1, and another by SHA-384",
            |zone| vec![ds(zone, KNOWN, 4), digest(zone, DigestType::SHA1)],
            BOGUS,
        ),
        (
            "SHA-1, and an unknown digest",
            |zone| vec![digest(zone, DigestType::SHA1), ds(zone, KNOWN, 200)],
            SIGNED,
        ),
        (
            "SHA-1, and SHA-256 of an unknown algorithm",
            |zone| vec![digest(zone, DigestType::SHA1), ds(zone, Algorithm::Unknown(16), 2)],
            SIGNED,
        ),
        // RFC 9905, section 2.
        (
            "RSA/SHA-1",
            |zone| vec![ds(zone, rsa_sha1(), 2), ds(zone, nsec3_rsa_sha1(), 2)],
            INSECURE,
        ),
        ("RSA/SHA-1 and the key", |zone| vec![ds(zone, rsa_sha1(), 2), zone.ds()], SIGNED),
    ];
    for (what, make, (signed, unsigned)) in cases {
        for (is_signed, expected) in [(true, signed), (false, unsigned)] {
            let say = move |zone: &Zone, query: &Query, answer: &mut Message| {
                if is(query, RecordType::A, HOST) {
                    answer.answers = zone.signed(&name(HOST), [address()]);
                    answer.answers.truncate(if is_signed { 2 } else { 1 });
                } else {
                    let types = [RecordType::A, RecordType::RRSIG, RecordType::NSEC];
                    answer.authorities = [zone.soa(), zone.nsec(HOST, "test.", &types)].concat();
                }
            };
            let (resolver, _forger) = signing(make, say).await;
            assert_eq!(ipv4(&resolver, "mx.test").await, expected, "{what}, signed: {is_signed}");
        }
    }
}

/// An alias at the apex, beside records that it must be alone with.
#[tokio::test]
async fn alias_at_the_apex_of_a_zone_is_followed() {
    let say = |zone: &Zone, query: &Query, answer: &mut Message| {
        if is(query, RecordType::MX, "test.") {
            answer.answers = zone.signed(&zone.name, [RData::CNAME(CNAME(name(HOST)))]);
        } else {
            let types = [RecordType::A, RecordType::RRSIG, RecordType::NSEC];
            answer.authorities = [zone.soa(), zone.nsec(HOST, "test.", &types)].concat();
        }
    };
    let (resolver, _forger) = signing(|zone| vec![zone.ds()], say).await;
    let found = resolver.look_up_mx(&domain("test")).await.unwrap();
    assert_eq!((found.status, found.alias), (DnsStatus::Secure, Some(domain("mx.test"))));
}

/// The NSEC3 record of a name, which covers nothing else, with its signature.
fn hashed(zone: &Zone, owner: &Name, iterations: u16, types: &[RecordType]) -> Vec<Record> {
    let hash = Nsec3HashAlgorithm::SHA1.hash(b"", owner, iterations).unwrap();
    let mut next = hash.as_ref().to_vec();
    let last = next.last_mut().unwrap();
    *last = last.wrapping_add(1);
    let types = types.iter().copied();
    let data = NSEC3::new(Nsec3HashAlgorithm::SHA1, false, iterations, Vec::new(), next, types);
    let owner = name(&format!("{}.test.", base32(hash.as_ref())));
    zone.signed(&owner, [RData::DNSSEC(DNSSECRData::NSEC3(data))])
}

/// With the extended hex alphabet (RFC 4648, section 7).
fn base32(octets: &[u8]) -> String {
    let bits: String = octets.iter().map(|octet| format!("{octet:08b}")).collect();
    let digit = |five: &[u8]| {
        let value = u32::from_str_radix(std::str::from_utf8(five).unwrap(), 2).unwrap();
        char::from_digit(value, 32).unwrap()
    };
    bits.as_bytes().chunks(5).map(digit).collect()
}

/// A hundred are computed. RFC 9276, section 3.2.
const ITERATIONS: [(u16, DnsStatus); 4] = [
    (0, DnsStatus::Secure),
    (100, DnsStatus::Secure),
    (101, DnsStatus::Insecure),
    (u16::MAX, DnsStatus::Insecure),
];

#[tokio::test]
async fn denial_with_too_many_iterations_is_insecure_and_what_exists_stays_secure() {
    for (iterations, expected) in ITERATIONS {
        let say = move |zone: &Zone, query: &Query, answer: &mut Message| {
            if is(query, RecordType::A, HOST) {
                answer.answers = zone.signed(&name(HOST), [address()]);
            } else {
                let types = [RecordType::A, RecordType::RRSIG];
                let proof = hashed(zone, query.name(), iterations, &types);
                answer.authorities = [zone.soa(), proof].concat();
            }
        };
        let (resolver, _forger) = signing(|zone| vec![zone.ds()], say).await;
        assert_eq!(ipv4(&resolver, "mx.test").await, Ok(DnsStatus::Secure), "{iterations}");
        assert_eq!(ipv6(&resolver, "mx.test").await, Ok(expected), "{iterations}");
    }
}

#[tokio::test]
async fn zone_below_a_delegation_denied_with_too_many_iterations_is_insecure() {
    for (iterations, _) in ITERATIONS {
        let say = move |zone: &Zone, query: &Query, answer: &mut Message| {
            let sub = name("sub.test.");
            match query.query_type() {
                RecordType::A => answer.answers = vec![record(query.name(), address())],
                RecordType::NS if *query.name() == sub => {
                    answer.answers = vec![record(&sub, RData::NS(NS(name("ns.sub.test."))))];
                }
                RecordType::DS if *query.name() == sub => {
                    let proof = hashed(zone, &sub, iterations, &[RecordType::NS]);
                    answer.authorities = [zone.soa(), proof].concat();
                }
                _ => {
                    let soa = SOA::new(sub.clone(), sub.clone(), 1, 3600, 900, 604_800, 300);
                    answer.authorities = vec![record(&sub, RData::SOA(soa))];
                }
            }
        };
        let (resolver, _forger) = signing(|zone| vec![zone.ds()], say).await;
        let insecure = Ok(DnsStatus::Insecure);
        assert_eq!(ipv4(&resolver, "mx.sub.test").await, insecure, "{iterations}");
        assert_eq!(ipv6(&resolver, "mx.sub.test").await, insecure, "{iterations}");
    }
}

/// Nothing is closer than the wildcard, says a record that is not looked at.
#[tokio::test]
async fn wildcard_with_too_many_iterations_in_its_proof_is_insecure_if_its_signature_is_valid() {
    for is_signed in [true, false] {
        let say = move |zone: &Zone, query: &Query, answer: &mut Message| {
            let proof = hashed(zone, &name("other.test."), 101, &[RecordType::A]);
            if query.query_type() == RecordType::A {
                // The owner is put in its place after it was signed.
                let mut answers = zone.signed(&name("*.test."), [address()]);
                answers.truncate(if is_signed { 2 } else { 1 });
                answers.iter_mut().for_each(|it| it.name = query.name().clone());
                (answer.answers, answer.authorities) = (answers, proof);
            } else {
                // No delegation is denied with too many iterations.
                let types = [RecordType::A, RecordType::RRSIG, RecordType::NSEC];
                answer.authorities = [zone.soa(), zone.nsec(HOST, "test.", &types)].concat();
            }
        };
        let (resolver, _forger) = signing(|zone| vec![zone.ds()], say).await;
        let expected = if is_signed { Ok(DnsStatus::Insecure) } else { Err(Fault::Bogus) };
        assert_eq!(ipv4(&resolver, "mx.test").await, expected, "{is_signed}");
    }
}
