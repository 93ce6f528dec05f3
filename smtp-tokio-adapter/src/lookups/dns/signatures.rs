//! Which signature of a set of records counts.
//!
//! The validator looks up the keys of the signer for each signature, and validates them each time.
//! A set with eight signatures in each of a dozen nested zones would cost 8^12 validations, so a
//! set comes to the validator with one signature: one that a key of its signer made. Whether that
//! key is to be trusted, the validator finds out.

use std::time::SystemTime;

use hickory_net::proto::dnssec::Verifier;
use hickory_net::proto::dnssec::rdata::{DNSKEY, DNSSECRData, RRSIG};
use hickory_net::proto::op::DnsResponse;
use hickory_net::proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::prune::signature;

/// Most keys of the same tag that are tried on a signature (CVE-2023-50387, "KeyTrap"). The
/// validator tries as many.
const MAX_COLLISIONS: usize = 2;

/// The owner and type of each set of records that has more than one signature.
pub(super) fn contested(records: &[Record]) -> Vec<(Name, RecordType)> {
    let mut sets = Vec::new();
    let mut signed = Vec::new();
    for record in records {
        let Some(made) = signature(record) else { continue };
        let set = (record.name.clone(), made.input().type_covered);
        match signed.contains(&set) {
            true if !sets.contains(&set) => sets.push(set),
            true => {}
            false => signed.push(set),
        }
    }
    sets
}

/// Whether the record is a signature of this set.
pub(super) fn is_of((owner, kind): &(Name, RecordType), record: &Record) -> bool {
    record.name == *owner
        && signature(record).is_some_and(|made| made.input().type_covered == *kind)
}

/// The keys of a zone that its DNSKEY answer holds.
pub(super) fn keys_of<'a>(zone: &Name, response: &'a DnsResponse) -> Vec<&'a DNSKEY> {
    let own = response.answers.iter().filter(|record| record.name == *zone);
    own.filter_map(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::DNSKEY(key)) => Some(key),
        _ => None,
    })
    .collect()
}

/// Whether one of these keys made this signature, which is in force, for these records (RFC 4035,
/// section 5.3.1).
pub(super) fn is_made_by<'r>(
    keys: &[&DNSKEY],
    made: &RRSIG,
    owner: &Name,
    records: impl Iterator<Item = &'r Record> + Clone,
) -> bool {
    let input = made.input();
    let has_tag = |key: &&&DNSKEY| key.calculate_key_tag().is_ok_and(|tag| tag == input.key_tag);
    let mut tried = keys.iter().filter(has_tag).take(MAX_COLLISIONS);
    is_in_force(made)
        && tried.any(|key| {
            key.algorithm() == input.algorithm
                && key.verify_rrsig(owner, DNSClass::IN, made, records.clone()).is_ok()
        })
}

fn is_in_force(made: &RRSIG) -> bool {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Times in signatures are counted modulo 2^32 (RFC 4034, section 3.1.5).
    let now = u32::try_from(since.as_secs() & u64::from(u32::MAX)).unwrap_or_default();
    let is_at_or_after = |later: u32, earlier: u32| later.wrapping_sub(earlier) < 1 << 31;
    let input = made.input();
    is_at_or_after(now, input.sig_inception.get())
        && is_at_or_after(input.sig_expiration.get(), now)
}
