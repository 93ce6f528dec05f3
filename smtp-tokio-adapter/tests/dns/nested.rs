//! Nested signed zones that make every validation cost as much as it can: the DS records of each
//! zone have seven signatures that are wrong, by zones further up, before the one that is right.
//! Nothing of it may be kept: each time to live is zero.

use hickory_net::proto::dnssec::rdata::{DNSSECRData, RRSIG};
use hickory_net::proto::op::{Message, Query};
use hickory_net::proto::rr::rdata::MX;
use hickory_net::proto::rr::{Name, RData, Record, RecordType};
use smtp_tls_policy::plan::DnsStatus;
use smtp_tokio_adapter::lookups::dns::{Anchors, Fault, Resolver};

use crate::common::log::Log;
use crate::forged::domain;
use crate::forger::{Forger, empty};
use crate::servers::servers;
use crate::signer::{VALID, Zone, record};

/// Zones below the root.
const DEPTH: usize = 6;
/// What each set of DS records has beside the good signature, which comes last.
const WRONG: usize = 7;

/// The zones from the root downwards: `.`, `a.`, `a.a.` and so on.
fn zones() -> Vec<Zone> {
    (0..=DEPTH)
        .map(|depth| Zone::new(&if depth == 0 { ".".into() } else { "a.".repeat(depth) }))
        .collect()
}

/// A signature of this zone with the right key tag, and wrong octets that no other one has.
fn wrong(zone: &Zone, set: &[Record], number: u8) -> Record {
    let mut made = zone.signature(set, VALID, None);
    if let RData::DNSSEC(DNSSECRData::RRSIG(right)) = &made.data {
        let wrong = RRSIG::from_sig(right.input().clone(), vec![number; 64]);
        made.data = RData::DNSSEC(DNSSECRData::RRSIG(wrong));
    }
    made
}

fn answer(zones: &[Zone], is_signed: bool, query: &Query, answer: &mut Message) {
    let depth = |name: &Name| usize::from(name.num_labels());
    let of = |depth: usize| &zones[depth.min(DEPTH)];
    let records = match query.query_type() {
        RecordType::DNSKEY => {
            let zone = of(depth(query.name()));
            zone.signed(&zone.name, [RData::DNSSEC(DNSSECRData::DNSKEY(zone.key.clone()))])
        }
        RecordType::DS => {
            let (at, zone) = (depth(query.name()), of(depth(query.name())));
            let mut set =
                of(at - 1).signed(&zone.name, [RData::DNSSEC(DNSSECRData::DS(zone.ds()))]);
            let right = set.pop().unwrap();
            for number in 0..WRONG {
                // Of the parent and of its parent in turns.
                let signer = of((at - 1).saturating_sub(number % 2));
                let wrong = wrong(signer, &set[..1], u8::try_from(number).unwrap());
                set.push(wrong);
            }
            set.push(right);
            set
        }
        _ => {
            let mut set = vec![record(query.name(), RData::MX(MX::new(10, query.name().clone())))];
            set.push(wrong(of(1), &set, 9));
            if is_signed {
                set.push(of(DEPTH).signature(&set[..1], VALID, None));
            }
            set
        }
    };
    answer.answers = records;
    answer.answers.iter_mut().for_each(|it| it.ttl = 0);
}

/// How the MX records of the deepest zone are taken, how often the validator looked at a message,
/// and how many messages there were.
async fn look_up(is_signed: bool) -> (Result<DnsStatus, Fault>, usize, usize) {
    let (log, _guard) = Log::record_target(Some("hickory_net::dnssec"));
    let zones = zones();
    let anchors = Anchors::parse(&format!(". IN DNSKEY {}", zones[0].key)).unwrap();
    let asked = domain(zones[DEPTH].name.to_ascii().trim_end_matches('.'));
    let say = move |question: Message| {
        let mut message = empty(&question);
        answer(&zones, is_signed, &question.queries[0], &mut message);
        Some(message.to_vec().unwrap())
    };
    let forger = Forger::new(say, |_| None).await;
    let resolver = Resolver::validating(servers(forger.address), anchors).with_cache_limit(0);
    let status = resolver.look_up_mx(&asked).await.map(|answer| answer.status);
    (status, log.with("validating message_response").len(), forger.asked().len())
}

/// One message for the keys and one for the delegation of each zone, and one for the answer.
const MESSAGES: usize = 2 * DEPTH + 2;

#[tokio::test]
async fn nested_zones_with_wrong_signatures_cost_a_bounded_number_of_validations() {
    for (is_signed, expected) in [(true, Ok(DnsStatus::Secure)), (false, Err(Fault::Bogus))] {
        let (status, validations, messages) = look_up(is_signed).await;
        assert_eq!(status, expected, "{is_signed}");
        assert!(validations <= 4 * MESSAGES, "{is_signed} {validations}");
        assert!(messages <= MESSAGES, "{is_signed} {messages}");
    }
}
