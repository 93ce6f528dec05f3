//! Genuine records in the wrong place: wildcards, and the proofs of other denials.

use hickory_net::proto::dnssec::rdata::{DNSSECRData, RRSIG, SigInput};
use hickory_net::proto::op::{Message, Query, ResponseCode};
use hickory_net::proto::rr::{RData, Record, RecordType};
use smtp_tls_policy::plan::DnsStatus;
use smtp_tokio_adapter::lookups::dns::Fault;

use crate::forged::{domain, forged, is, name};
use crate::forger::records;
use crate::servers::{Dns, dns};

fn signature(record: &Record) -> Option<&RRSIG> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => Some(signature),
        _ => None,
    }
}

/// The signature of a record, with another number of labels: it is not valid.
fn relabelled(record: &Record, labels: u8) -> Record {
    let signature = signature(record).unwrap();
    let input = SigInput { num_labels: labels, ..signature.input().clone() };
    let mut record = record.clone();
    record.data =
        RData::DNSSEC(DNSSECRData::RRSIG(RRSIG::from_sig(input, signature.sig().to_vec())));
    record
}

/// Every NSEC3 record of `parked.example`, with its signatures.
fn chain(dns: &Dns) -> Vec<Record> {
    let mut chain: Vec<Record> = Vec::new();
    for probe in 0..32 {
        let probe = format!("probe{probe}.parked.example.");
        for record in records(dns.plain, &probe, RecordType::TXT).authorities {
            let kind =
                signature(&record).map_or(record.record_type(), |it| it.input().type_covered);
            if kind == RecordType::NSEC3 && !chain.iter().any(|it| same(it, &record)) {
                chain.push(record);
            }
        }
    }
    chain
}

/// Whether two records differ in their time to live alone.
fn same(one: &Record, other: &Record) -> bool {
    one.name == other.name && one.data == other.data
}

/// The wildcard `*.parked.example`, as a server answers with it for another name.
fn parked(dns: &Dns, owner: &str) -> Vec<Record> {
    let mut answers = records(dns.plain, "any.parked.example.", RecordType::CNAME).answers;
    for record in &mut answers {
        record.name = name(owner);
    }
    assert!(answers.iter().any(|it| it.record_type() == RecordType::CNAME), "{answers:?}");
    answers
}

/// The signature that is not valid says that the wildcard is right above the name, so that the
/// names between the two are not looked for (RFC 5155, section 8.8).
#[tokio::test]
async fn wildcard_above_a_signed_delegation_is_bogus_whatever_a_forged_signature_says() {
    let Some(dns) = dns() else { return };
    let owner = "mx.sub.parked.example.";
    for (labels, is_first) in [(2, true), (3, true), (3, false), (4, true), (0, true)] {
        let mut answers = parked(dns, owner);
        let genuine = answers.iter().find(|it| signature(it).is_some()).unwrap().clone();
        let at = if is_first { 0 } else { answers.len() };
        answers.insert(at, relabelled(&genuine, labels));
        let proof = chain(dns);
        let (resolver, _forger) = forged(dns, move |query, answer| {
            if is(query, RecordType::CNAME, owner) || is(query, RecordType::A, owner) {
                (answer.answers, answer.authorities) = (answers.clone(), proof.clone());
            }
        })
        .await;
        let found = resolver.look_up_cname("mx.sub.parked.example").await;
        assert_eq!(found.unwrap_err(), Fault::Bogus, "{labels} {is_first}");
        let found = resolver.look_up_ipv4(&domain("mx.sub.parked.example")).await;
        assert_eq!(found.unwrap_err(), Fault::Bogus, "{labels} {is_first}");
    }
}

#[tokio::test]
async fn wildcard_in_place_of_a_closer_wildcard_is_bogus_whatever_a_forged_signature_says() {
    let Some(dns) = dns() else { return };
    let owner = "_25._tcp.mx.parked.example.";
    for labels in [3, 4] {
        let mut answers = parked(dns, owner);
        let genuine = answers.iter().find(|it| signature(it).is_some()).unwrap().clone();
        answers.insert(0, relabelled(&genuine, labels));
        let proof = chain(dns);
        let (resolver, _forger) = forged(dns, move |query, answer| {
            if is(query, RecordType::TLSA, owner) {
                (answer.answers, answer.authorities) = (answers.clone(), proof.clone());
            }
        })
        .await;
        let found = resolver.look_up_tlsa("_25._tcp.mx.parked.example").await;
        assert_eq!(found.unwrap_err(), Fault::Bogus, "{labels}");
    }
    // What the servers answer is secure.
    let found = dns.validates().look_up_tlsa("_25._tcp.mx.parked.example").await.unwrap();
    assert_eq!((found.status, found.records.len()), (DnsStatus::Secure, 1));
    let found = dns.validates().look_up_cname("any.parked.example").await;
    assert_eq!(found.unwrap(), DnsStatus::Secure);
    let found = dns.validates().look_up_ipv4(&domain("mx.sub.parked.example")).await.unwrap();
    assert_eq!(found.status, DnsStatus::Secure);
}

/// The NSEC record of the wildcard `*.wild.secure.example`, with its signature.
fn of_wildcard(dns: &Dns) -> Vec<Record> {
    let denial = records(dns.plain, "any.wild.secure.example.", RecordType::AAAA).authorities;
    let is_own = |it: &Record| it.name == name("*.wild.secure.example.");
    let found: Vec<Record> = denial.into_iter().filter(is_own).collect();
    assert!(found.iter().any(|it| it.record_type() == RecordType::NSEC), "{found:?}");
    found
}

/// Without the SOA record, the closest name that exists must be taken from the proof itself: it is
/// not the parent of the name (RFC 4592, section 3.3.1).
#[tokio::test]
async fn denial_without_soa_record_of_a_name_that_a_wildcard_serves_is_bogus() {
    let Some(dns) = dns() else { return };
    for code in [ResponseCode::NXDomain, ResponseCode::NoError] {
        for asked in ["any.wild.secure.example", "_25._tcp.any.wild.secure.example"] {
            let proof = of_wildcard(dns);
            let owner = name(&format!("{asked}."));
            let (resolver, _forger) = forged(dns, move |query: &Query, answer: &mut Message| {
                if *query.name() == owner {
                    answer.metadata.response_code = code;
                    (answer.answers, answer.authorities) = (Vec::new(), proof.clone());
                }
            })
            .await;
            let found = resolver.look_up_tlsa(asked).await;
            assert_eq!(found.unwrap_err(), Fault::Bogus, "{asked} {code}");
        }
    }
}

/// The NSEC record of a wildcard has the signature of any name below it: such a record says which
/// types the wildcard has, and nothing of the name (RFC 4035, section 5.4).
#[tokio::test]
async fn nsec_record_of_a_wildcard_denies_nothing_at_the_names_below_it() {
    let Some(dns) = dns() else { return };
    let soa = records(dns.plain, "nothing.secure.example.", RecordType::A).authorities;
    let soa: Vec<Record> = soa
        .into_iter()
        .filter(|it| it.name == name("secure.example."))
        .filter(|it| match signature(it) {
            Some(signature) => signature.input().type_covered == RecordType::SOA,
            None => it.record_type() == RecordType::SOA,
        })
        .collect();
    assert_eq!(soa.len(), 2);
    for with_soa in [true, false] {
        let mut proof = of_wildcard(dns);
        for record in &mut proof {
            record.name = name("closer.wild.secure.example.");
        }
        if with_soa {
            proof.extend(soa.clone());
        }
        let (resolver, _forger) = forged(dns, move |query, answer| {
            if is(query, RecordType::TXT, "closer.wild.secure.example.") {
                answer.metadata.response_code = ResponseCode::NoError;
                (answer.answers, answer.authorities) = (Vec::new(), proof.clone());
            }
        })
        .await;
        let found = resolver.look_up_txt(&domain("closer.wild.secure.example")).await;
        assert_eq!(found.unwrap_err(), Fault::Bogus, "{with_soa}");
    }
}
