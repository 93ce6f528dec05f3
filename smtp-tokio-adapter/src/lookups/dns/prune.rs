//! What an answer is reduced to before anything looks at it.
//!
//! A name server may add whatever it likes: records of other names, thousands of them, each of
//! which the validator would look up keys for. Kept is what answers the question: the records of
//! the name itself with their signatures, or its CNAME record, and the proofs of a denial. So a
//! chain of CNAMEs is walked one question at a time, and what the end of the chain says is never
//! mistaken for something that the name itself says.

use std::time::Duration;

use hickory_net::proto::dnssec::rdata::{DNSSECRData, RRSIG};
use hickory_net::proto::op::{DnsResponse, Query, ResponseCode};
use hickory_net::proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::algorithms::is_used;
use super::fault::Fault;

/// Most signatures of one set of records. During a change of algorithm and keys there are four.
const MAX_SIGNATURES: usize = 8;
/// Most keys of a zone that are looked at (CVE-2023-50387, "KeyTrap"). Real zones have one to six.
const MAX_KEYS: usize = 32;
/// Most records in the authority section of a denial, signatures included. NSEC3 needs nine.
const MAX_PROOF: usize = 32;
/// Longest time for which an answer is kept (RFC 8767, section 4, suggests a cap of days; a day is
/// what resolvers use).
const MAX_LIFETIME: u32 = 86_400;

pub(super) fn signature(record: &Record) -> Option<&RRSIG> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => Some(signature),
        _ => None,
    }
}

/// The type of the record, or the one that the signature is for.
fn subject(record: &Record) -> RecordType {
    signature(record).map_or(record.record_type(), |it| it.input().type_covered)
}

pub(super) fn prune(response: &mut DnsResponse, query: &Query) -> Result<(), Fault> {
    let name = query.name();
    response.additionals.clear();
    let counts = |it: &Record| signature(it).is_none_or(|made| is_used(made.input().algorithm));
    response.answers.retain(counts);
    response.authorities.retain(counts);
    response.answers.iter_mut().for_each(lower_target);
    let has = |kind| response.answers.iter().any(|it| it.name == *name && it.record_type() == kind);
    let kind = match query.query_type() {
        kind if has(kind) => Some(kind),
        _ if has(RecordType::CNAME) => Some(RecordType::CNAME),
        _ => None,
    };
    let (owner, kind) = match (kind, redirection(name, &response.answers)) {
        (Some(RecordType::CNAME), Some(owner)) => (owner, Some(RecordType::DNAME)),
        (kind, _) => (name.clone(), kind),
    };
    let is_kept = |it: &Record| it.name == owner && it.dns_class == DNSClass::IN;
    response.answers.retain(|it| is_kept(it) && Some(subject(it)) == kind);
    match kind {
        Some(kind) => prune_answer(response, &owner, kind),
        None => prune_denial(response, name),
    }
}

/// Writes the target of a DNAME record in lower case, as it is signed (RFC 4034, section 6.2). The
/// validator, which does not know such records, takes it as it stands.
fn lower_target(record: &mut Record) {
    if let RData::Unknown { code: RecordType::DNAME, rdata } = &mut record.data {
        // The octets before labels are lengths below 64, and no letters.
        rdata.anything.make_ascii_lowercase();
    }
}

/// The owner of the DNAME record that gave the name its CNAME record. The latter has no signature
/// then: the server made it up (RFC 6672, section 5.3.1).
fn redirection(name: &Name, answers: &[Record]) -> Option<Name> {
    let signs = |it: &Record| signature(it).is_some() && subject(it) == RecordType::CNAME;
    if answers.iter().any(|it| it.name == *name && signs(it)) {
        return None;
    }
    let is_above = |it: &&Record| it.name.zone_of(name) && it.name != *name;
    let redirects = answers.iter().filter(|it| it.record_type() == RecordType::DNAME);
    redirects.filter(is_above).map(|it| it.name.clone()).max_by_key(Name::num_labels)
}

fn prune_answer(response: &mut DnsResponse, name: &Name, kind: RecordType) -> Result<(), Fault> {
    let signatures = response.answers.iter().filter_map(signature);
    let records = response.answers.len() - signatures.clone().count();
    if signatures.clone().count() > MAX_SIGNATURES
        || (kind == RecordType::DNSKEY && records > MAX_KEYS)
    {
        return Err(Fault::Oversize);
    }
    // RFC 4035, section 5.3.4: of what a wildcard gave, there must be proof that nothing is closer.
    let mut expanded = signatures.filter(|it| it.input().num_labels < name.num_labels());
    let zone = expanded.next().map(|it| it.input().signer_name.clone());
    // Whatever follows a CNAME has questions of its own, and says then whether the name exists.
    response.metadata.response_code = ResponseCode::NoError;
    match zone {
        Some(zone) => prune_proof(
            response,
            |record| record.record_type() != RecordType::SOA,
            |it| *it == zone,
        ),
        None => {
            response.authorities.clear();
            Ok(())
        }
    }
}

fn prune_denial(response: &mut DnsResponse, name: &Name) -> Result<(), Fault> {
    let soa = response
        .authorities
        .iter()
        .filter(|it| it.record_type() == RecordType::SOA && it.name.zone_of(name));
    let zone = soa.max_by_key(|it| it.name.num_labels()).map(|it| it.name.clone());
    let refers = response.authorities.iter().any(|it| it.record_type() == RecordType::NS);
    // RFC 2308, section 2.2: without SOA and with NS it is a referral. A resolver gives none, and
    // one that does not recurse knows nothing.
    if zone.is_none() && (refers || !response.recursion_available) {
        return Err(Fault::Lame);
    }
    match zone {
        Some(zone) => prune_proof(
            response,
            |it| subject(it) != RecordType::SOA || it.name == zone,
            |it| *it == zone,
        ),
        None => prune_proof(response, |_| true, |it| it.zone_of(name)),
    }
}

/// Keeps SOA, NSEC and NSEC3, as far as one of the signatures at their name is by such a zone. A
/// SOA may have none: then the zone is unsigned, or the denial bogus.
fn prune_proof(
    response: &mut DnsResponse,
    keep: impl Fn(&Record) -> bool,
    is_zone: impl Fn(&Name) -> bool,
) -> Result<(), Fault> {
    let proves = |kind| matches!(kind, RecordType::SOA | RecordType::NSEC | RecordType::NSEC3);
    let records = std::mem::take(&mut response.authorities);
    let (signatures, records): (Vec<_>, Vec<_>) = records
        .into_iter()
        .filter(|it| it.dns_class == DNSClass::IN && proves(subject(it)) && keep(it))
        .partition(|it| signature(it).is_some());
    if signatures.len() + records.len() > MAX_PROOF {
        return Err(Fault::Oversize);
    }
    let signatures: Vec<_> = signatures
        .into_iter()
        .filter(|it| signature(it).is_some_and(|signature| is_zone(&signature.input().signer_name)))
        .collect();
    let is_signed = |it: &Record| {
        signatures.iter().any(|other| other.name == it.name && subject(other) == it.record_type())
    };
    let records =
        records.into_iter().filter(|it| it.record_type() == RecordType::SOA || is_signed(it));
    let records: Vec<_> = records.collect();
    response.authorities = records;
    response.authorities.extend(signatures);
    Ok(())
}

/// How long the answer may be kept: the shortest time of its records; of a denial, what its SOA
/// record says (RFC 2308, section 5), and no time at all without one.
pub(super) fn lifetime(response: &DnsResponse) -> Duration {
    let seconds = match response.answers.iter().map(|it| it.ttl).min() {
        Some(shortest) => shortest,
        None => response.negative_ttl().unwrap_or(0),
    };
    Duration::from_secs(seconds.min(MAX_LIFETIME).into())
}

#[cfg(test)]
mod tests {
    use hickory_net::proto::dnssec::Algorithm;
    use hickory_net::proto::dnssec::rdata::SigInput;
    use hickory_net::proto::op::Message;
    use hickory_net::proto::rr::rdata::A;

    use super::*;

    #[test]
    fn signature_by_rsa_with_sha_1_is_left_out() {
        for (algorithm, kept) in [(5, 1), (7, 1), (8, 2), (13, 2)] {
            let name = Name::from_ascii("mx.test.").unwrap();
            let query = Query::query(name.clone(), RecordType::A);
            let input = SigInput {
                type_covered: RecordType::A,
                algorithm: Algorithm::from_u8(algorithm),
                num_labels: 2,
                original_ttl: 60,
                sig_expiration: 0.into(),
                sig_inception: 0.into(),
                key_tag: 1,
                signer_name: Name::root(),
            };
            let made = DNSSECRData::RRSIG(RRSIG::from_sig(input, vec![7; 64]));
            let data = [RData::A(A::new(192, 0, 2, 1)), RData::DNSSEC(made)];
            let mut message = Message::query();
            message.add_query(query.clone());
            message.answers = data.map(|it| Record::from_rdata(name.clone(), 60, it)).into();
            let mut response = DnsResponse::from_message(message.into_response()).unwrap();
            prune(&mut response, &query).unwrap();
            assert_eq!(response.answers.len(), kept, "{algorithm}");
        }
    }
}
