//! Answers that were changed on the way: validation must notice each of them.

use std::net::SocketAddr;

use hickory_net::proto::dnssec::rdata::DNSSECRData;
use hickory_net::proto::op::{Message, Query, ResponseCode};
use hickory_net::proto::rr::rdata::{A, CNAME, NS, TXT};
use hickory_net::proto::rr::{Name, RData, Record, RecordType};
use smtp_tls_policy::Domain;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tokio_adapter::lookups::dns::{Anchors, Fault, MAX_QUERIES, Resolver};

use crate::forger::{Forger, records};
use crate::servers::{Dns, dns, servers};

pub(crate) fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

pub(crate) fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

pub(crate) fn is(query: &Query, kind: RecordType, owner: &str) -> bool {
    query.query_type() == kind && *query.name() == name(owner)
}

/// The resolver that validates, and the server in its way.
pub(crate) async fn forged(
    dns: &'static Dns,
    change: impl FnMut(&Query, &mut Message) + Send + 'static,
) -> (Resolver, Forger) {
    let forger = Forger::between(dns.plain, change).await;
    (validating(dns, forger.address), forger)
}

fn validating(dns: &Dns, address: SocketAddr) -> Resolver {
    Resolver::validating(servers(address), Anchors::parse(&dns.anchor).unwrap())
}

fn owner(dns: &Dns) -> String {
    format!("_{}._tcp.mx.secure.example", dns.mail.local_addr().unwrap().port())
}

#[tokio::test]
async fn an_answer_without_its_signatures_is_bogus() {
    let Some(dns) = dns() else { return };
    let (resolver, _forger) = forged(dns, |query, answer| {
        if is(query, RecordType::MX, "secure.example.") {
            answer.answers.retain(|it| it.record_type() == RecordType::MX);
        }
    })
    .await;
    assert_eq!(resolver.look_up_mx(&domain("secure.example")).await.unwrap_err(), Fault::Bogus);
}

#[tokio::test]
async fn a_denial_without_its_proofs_is_bogus() {
    let Some(dns) = dns() else { return };
    let (resolver, _forger) = forged(dns, |query, answer| {
        if query.query_type() == RecordType::TLSA {
            (answer.answers, answer.authorities) = (Vec::new(), Vec::new());
        }
    })
    .await;
    assert_eq!(resolver.look_up_tlsa(&owner(dns)).await.unwrap_err(), Fault::Bogus);
}

#[tokio::test]
async fn a_denial_with_the_soa_record_of_an_unsigned_zone_is_bogus() {
    let Some(dns) = dns() else { return };
    for zone in ["insecure.example.", "secure.example.", "mx.secure.example."] {
        let soa = records(dns.plain, "insecure.example.", RecordType::SOA).answers.remove(0);
        let (resolver, _forger) = forged(dns, move |query, answer| {
            if query.query_type() == RecordType::TLSA {
                let mut soa = soa.clone();
                soa.name = name(zone);
                (answer.answers, answer.authorities) = (Vec::new(), vec![soa]);
            }
        })
        .await;
        assert_eq!(resolver.look_up_tlsa(&owner(dns)).await.unwrap_err(), Fault::Bogus, "{zone}");
    }
}

/// The records that a parent has for a delegation say nothing of what is below it (RFC 6840,
/// section 4.1).
#[tokio::test]
async fn a_denial_with_the_proofs_of_the_parent_zone_is_bogus() {
    let Some(dns) = dns() else { return };
    for code in [ResponseCode::NoError, ResponseCode::NXDomain] {
        // The delegation's own NSEC record, from the answer that there is no such type at it.
        let authorities = records(dns.authoritative, "zzz.example.", RecordType::A).authorities;
        let (resolver, _forger) = forged(dns, move |query, answer| {
            if query.query_type() == RecordType::TLSA {
                answer.metadata.response_code = code;
                (answer.answers, answer.authorities) = (Vec::new(), authorities.clone());
            }
        })
        .await;
        assert_eq!(resolver.look_up_tlsa(&owner(dns)).await.unwrap_err(), Fault::Bogus);
    }
}

/// An opt-out record of a top level domain covers the hash of nearly any name. It tells that there
/// may be unsigned delegations in that domain itself, and nothing of what is below a signed one.
#[tokio::test]
async fn an_opt_out_record_does_not_unsign_what_is_below_a_signed_delegation() {
    let Some(dns) = dns() else { return };
    let secret = format!("_{}._tcp.mx.signed.optout", dns.mail.local_addr().unwrap().port());
    // Every NSEC3 record of the domain: among them is one that covers whatever is asked.
    let mut chain: Vec<Record> = Vec::new();
    for probe in 0..64 {
        let probe = format!("probe{probe}.optout.");
        for record in records(dns.plain, &probe, RecordType::DS).authorities {
            if !chain.contains(&record) {
                chain.push(record);
            }
        }
    }
    assert!(chain.iter().any(|it| it.record_type() == RecordType::NSEC3));
    let cut = name(&format!("{secret}."));
    let (resolver, _forger) = forged(dns, move |query, answer| match query.query_type() {
        // "The name is the apex of a zone of its own ..."
        RecordType::NS if *query.name() == cut => {
            answer.metadata.response_code = ResponseCode::NoError;
            let ns = RData::NS(NS(name("ns.example.")));
            answer.answers = vec![Record::from_rdata(cut.clone(), 60, ns)];
            answer.authorities.clear();
        }
        // "... of which the top level domain shows that it may be unsigned ..."
        RecordType::DS if *query.name() == cut => {
            answer.metadata.response_code = ResponseCode::NoError;
            (answer.answers, answer.authorities) = (Vec::new(), chain.clone());
        }
        // "... and has no TLSA records".
        RecordType::TLSA => {
            (answer.answers, answer.authorities) = (Vec::new(), Vec::new());
        }
        _ => {}
    })
    .await;
    assert_eq!(resolver.look_up_tlsa(&secret).await.unwrap_err(), Fault::Bogus);
}

#[tokio::test]
async fn a_wildcard_in_place_of_a_name_that_exists_is_bogus() {
    let Some(dns) = dns() else { return };
    let wildcard = records(dns.plain, "any.wild.secure.example.", RecordType::A);
    let insecure = records(dns.plain, "insecure.example.", RecordType::SOA).answers;
    let own = records(dns.plain, "closer.wild.secure.example.", RecordType::AAAA).authorities;
    for proof in [Vec::new(), wildcard.authorities.clone(), insecure, own] {
        let mut answers = wildcard.answers.clone();
        for record in &mut answers {
            record.name = name("closer.wild.secure.example.");
        }
        let (resolver, _forger) = forged(dns, move |query, answer| {
            if is(query, RecordType::A, "closer.wild.secure.example.") {
                (answer.answers, answer.authorities) = (answers.clone(), proof.clone());
            }
        })
        .await;
        let found = resolver.look_up_ipv4(&domain("closer.wild.secure.example")).await;
        assert_eq!(found.unwrap_err(), Fault::Bogus);
    }
}

#[tokio::test]
async fn an_unsigned_alias_in_a_signed_zone_is_bogus() {
    let Some(dns) = dns() else { return };
    let (resolver, _forger) = forged(dns, |query, answer| {
        if is(query, RecordType::A, "mx.secure.example.") {
            let target = RData::CNAME(CNAME(name("mx.insecure.example.")));
            let alias = Record::from_rdata(name("mx.secure.example."), 60, target);
            let host = name("mx.insecure.example.");
            let host = Record::from_rdata(host, 60, RData::A(A::new(192, 0, 2, 1)));
            answer.answers = vec![alias, host];
        }
    })
    .await;
    let found = resolver.look_up_ipv4(&domain("mx.secure.example")).await;
    assert_eq!(found.unwrap_err(), Fault::Bogus);
}

/// What a server adds for another name is not looked at: it is neither believed, nor in the way.
#[tokio::test]
async fn records_of_other_names_change_nothing() {
    let Some(dns) = dns() else { return };
    let (resolver, _forger) = forged(dns, |query, answer| {
        if is(query, RecordType::A, "mx.secure.example.") {
            let other = name("other.example.");
            let address = Record::from_rdata(other.clone(), 60, RData::A(A::new(192, 0, 2, 1)));
            answer.answers.insert(0, address.clone());
            answer.authorities.push(Record::from_rdata(
                other.clone(),
                60,
                RData::NS(NS(other.clone())),
            ));
            answer.additionals.push(address);
            answer.answers.push(Record::from_rdata(
                name("mx.secure.example."),
                60,
                RData::TXT(TXT::new(vec!["text".into()])),
            ));
        }
    })
    .await;
    let found = resolver.look_up_ipv4(&domain("mx.secure.example")).await.unwrap();
    assert_eq!((found.status, found.records.len()), (DnsStatus::Secure, 1));
}

#[tokio::test]
async fn an_added_address_makes_the_whole_set_bogus() {
    let Some(dns) = dns() else { return };
    let (resolver, _forger) = forged(dns, |query, answer| {
        if is(query, RecordType::A, "mx.secure.example.") {
            let address = RData::A(A::new(192, 0, 2, 1));
            answer.answers.push(Record::from_rdata(name("mx.secure.example."), 60, address));
        }
    })
    .await;
    let found = resolver.look_up_ipv4(&domain("mx.secure.example")).await;
    assert_eq!(found.unwrap_err(), Fault::Bogus);
}

/// RFC 4034, section 6.2: the target is signed in lower case, however a server writes it.
#[tokio::test]
async fn a_signed_dname_record_with_capital_letters_in_its_target_is_secure() {
    let Some(dns) = dns() else { return };
    let (resolver, _forger) = forged(dns, |query, answer| {
        if is(query, RecordType::A, "host.moved.secure.example.") {
            for record in &mut answer.answers {
                if let RData::Unknown { code: RecordType::DNAME, rdata } = &mut record.data {
                    rdata.anything.make_ascii_uppercase();
                }
            }
        }
    })
    .await;
    let found = resolver.look_up_ipv4(&domain("host.moved.secure.example")).await.unwrap();
    assert_eq!((found.status, found.records.len()), (DnsStatus::Secure, 1));
    assert_eq!(found.alias, Some(domain("host.target.secure.example")));
}

#[tokio::test]
async fn a_thousand_unsigned_names_in_one_answer_are_not_looked_up() {
    let Some(dns) = dns() else { return };
    let (resolver, forger) = forged(dns, |query, answer| {
        if is(query, RecordType::A, "mx.secure.example.") {
            let other = |number| name(&format!("{number}.secure.example."));
            let address = |at| Record::from_rdata(other(at), 60, RData::A(A::new(192, 0, 2, 1)));
            answer.answers.extend((0..1000).map(address));
        }
    })
    .await;
    let found = resolver.look_up_ipv4(&domain("mx.secure.example")).await.unwrap();
    assert_eq!((found.status, found.records.len()), (DnsStatus::Secure, 1));
    assert!(forger.asked().len() < 10 && forger.asked_over_tcp() == 1, "{:?}", forger.asked());
}

#[tokio::test]
async fn hundreds_of_signatures_are_not_checked() {
    let Some(dns) = dns() else { return };
    let (resolver, _forger) = forged(dns, |query, answer| {
        if is(query, RecordType::A, "mx.secure.example.") {
            let is_signature = |it: &&Record| it.record_type() == RecordType::RRSIG;
            let signature = answer.answers.iter().find(is_signature).unwrap().clone();
            answer.answers.extend(std::iter::repeat_n(signature, 200));
        }
    })
    .await;
    let found = resolver.look_up_ipv4(&domain("mx.secure.example")).await;
    assert_eq!(found.unwrap_err(), Fault::Oversize);
}

#[tokio::test]
async fn hundreds_of_keys_are_not_tried() {
    let Some(dns) = dns() else { return };
    let (resolver, _forger) = forged(dns, |query, answer| {
        if is(query, RecordType::DNSKEY, "secure.example.") {
            let is_key = |it: &&Record| it.record_type() == RecordType::DNSKEY;
            let key = answer.answers.iter().find(is_key).unwrap().clone();
            answer.answers.extend(std::iter::repeat_n(key, 200));
        }
    })
    .await;
    let found = resolver.look_up_ipv4(&domain("mx.secure.example")).await;
    assert_eq!(found.unwrap_err(), Fault::Oversize);
}

/// Keys or delegations that cannot be looked up leave the status open. That is a failure, and its
/// reason is the one of the lookup.
#[tokio::test]
async fn a_delegation_that_cannot_be_looked_up_is_a_failure_and_not_insecure() {
    let Some(dns) = dns() else { return };
    for (kind, asked) in [
        (RecordType::DS, "insecure.example"),
        (RecordType::DNSKEY, "secure.example"),
        (RecordType::DS, "secure.example"),
    ] {
        let (resolver, _forger) = forged(dns, move |query, answer| {
            if query.query_type() == kind {
                answer.metadata.response_code = ResponseCode::ServFail;
                answer.answers.clear();
            }
        })
        .await;
        let found = resolver.look_up_mx(&domain(asked)).await;
        assert_eq!(found.unwrap_err(), Fault::ResponseCode(2), "{kind} {asked}");
    }
}

/// Servers of unsigned zones may answer for addresses alone. Nothing depends on the other records
/// there; at a name that is signed its status is open without them.
#[tokio::test]
async fn ns_and_ds_records_that_fail_below_an_unsigned_delegation_hold_up_no_answer() {
    let Some(dns) = dns() else { return };
    let (resolver, forger) = forged(dns, |query, answer| {
        let is_of_validation = matches!(query.query_type(), RecordType::NS | RecordType::DS);
        if is_of_validation && query.name().iter().count() > 2 {
            answer.metadata.response_code = ResponseCode::ServFail;
            answer.answers.clear();
        }
    })
    .await;
    for host in ["mx.insecure.example", "alias6.insecure.example"] {
        let found = resolver.look_up_ipv4(&domain(host)).await.unwrap();
        assert_eq!((found.status, found.records.len()), (DnsStatus::Insecure, 1), "{host}");
    }
    assert!(forger.asked().contains(&"NS mx.insecure.example.".to_owned()));
    let found = resolver.look_up_ipv4(&domain("mx.secure.example")).await.unwrap();
    assert_eq!(found.status, DnsStatus::Secure);
    // Whether the delegation is unsigned is not known.
    let (resolver, _forger) = forged(dns, |query, answer| {
        if matches!(query.query_type(), RecordType::NS | RecordType::DS) {
            answer.metadata.response_code = ResponseCode::ServFail;
            answer.answers.clear();
        }
    })
    .await;
    let found = resolver.look_up_ipv4(&domain("mx.insecure.example")).await;
    assert_eq!(found.unwrap_err(), Fault::ResponseCode(2));
}

/// An alias in an unsigned zone whose servers fail NS and DS questions. What is told is what fails
/// at its end.
#[tokio::test]
async fn fault_at_the_end_of_an_alias_is_told_and_none_that_did_not_matter_on_the_way() {
    let Some(dns) = dns() else { return };
    let target = Name::from_ascii("mx.secure.example.").unwrap();
    let (resolver, _forger) = forged(dns, move |query, answer| {
        let is_of_validation = matches!(query.query_type(), RecordType::NS | RecordType::DS);
        if is_of_validation && query.name().iter().count() > 2 {
            answer.metadata.response_code = ResponseCode::ServFail;
            answer.answers.clear();
        } else if query.query_type() == RecordType::A {
            answer.answers.clear();
            if *query.name() == target {
                answer.metadata.response_code = ResponseCode::Refused;
            } else {
                let alias = RData::CNAME(CNAME(target.clone()));
                answer.add_answer(Record::from_rdata(query.name().clone(), 60, alias));
            }
        }
    })
    .await;
    let found = resolver.look_up_ipv4(&domain("mx.insecure.example")).await;
    assert_eq!(found.unwrap_err(), Fault::ResponseCode(5));
}

#[tokio::test]
async fn the_ad_bit_counts_for_nothing_where_answers_are_validated() {
    let Some(dns) = dns() else { return };
    let (resolver, _forger) = forged(dns, |_, answer| answer.metadata.authentic_data = true).await;
    let found = resolver.look_up_mx(&domain("insecure.example")).await.unwrap();
    assert_eq!(found.status, DnsStatus::Insecure);
    assert_eq!(resolver.look_up_mx(&domain("bogus.example")).await.unwrap_err(), Fault::Bogus);
}

/// A name as long as names can be, each label of which might be the apex of a zone.
#[tokio::test]
async fn a_name_of_a_hundred_labels_costs_a_bounded_number_of_messages() {
    let Some(dns) = dns() else { return };
    let (resolver, forger) = forged(dns, |query, answer| {
        if query.query_type() != RecordType::DNSKEY {
            answer.answers.retain(|it| it.name.num_labels() < 3);
            answer.authorities.clear();
        }
    })
    .await;
    let long = domain(&format!("{}secure.example", "a.".repeat(110)));
    let found = resolver.look_up_ipv4(&long).await.unwrap_err();
    assert_eq!((found, forger.asked().len()), (Fault::Queries, MAX_QUERIES));
}

/// What was kept of a forged answer must not make the next, honest one bogus.
#[tokio::test]
async fn a_forged_key_is_forgotten_with_the_answer_that_it_made_bogus() {
    let Some(dns) = dns() else { return };
    let mut forges = true;
    let (resolver, _forger) = forged(dns, move |query, answer| {
        if is(query, RecordType::DNSKEY, "secure.example.") && std::mem::take(&mut forges) {
            let is_entry_point = |it: &Record| match &it.data {
                RData::DNSSEC(DNSSECRData::DNSKEY(key)) => key.secure_entry_point(),
                _ => false,
            };
            answer.answers.retain(|it| !is_entry_point(it));
        }
    })
    .await;
    let asked = domain("secure.example");
    assert_eq!(resolver.look_up_mx(&asked).await.unwrap_err(), Fault::Bogus);
    assert_eq!(resolver.look_up_mx(&asked).await.unwrap().status, DnsStatus::Secure);
}

/// The keys and delegations of one question serve the next.
#[tokio::test]
async fn the_second_question_about_a_domain_costs_fewer_messages() {
    let Some(dns) = dns() else { return };
    for (asked, host, first, second) in [
        ("secure.example", "mx.secure.example", 6, 1),
        ("insecure.example", "mx.insecure.example", 6, 2),
    ] {
        let (resolver, forger) = forged(dns, |_, _| {}).await;
        resolver.look_up_mx(&domain(asked)).await.unwrap();
        let before = forger.asked().len();
        resolver.look_up_ipv4(&domain(host)).await.unwrap();
        let after = forger.asked();
        assert_eq!((before, after.len() - before), (first, second), "{after:?}");
    }
}
