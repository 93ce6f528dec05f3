//! What NSEC and NSEC3 records prove: that a name or its records do not exist, and that nothing is
//! closer to a name than the wildcard that answers for it.
//!
//! The validator checks each signature. It also looks at the proofs, and believes too much of them:
//! it takes the labels of a wildcard from any signature that comes with an answer, valid or not,
//! and without a SOA record it takes the parent of a name for the closest name that exists. So all
//! proofs are held here against the rules of RFC 4035, section 5.4, and RFC 5155, section 8, once
//! more.

use hickory_net::proto::dnssec::rdata::{NSEC3, SigInput};
use hickory_net::proto::op::Query;
use hickory_net::proto::rr::{Name, Record, RecordType, RecordTypeSet};

use super::nsec::{self, Plain};
use super::nsec3::{self, Chain};

/// How far something is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Proven {
    /// Not at all.
    No,
    /// An opt-out leaves room for a delegation to an unsigned zone (RFC 5155, section 9.2).
    OptOut,
    /// All of it.
    Yes,
}

impl From<bool> for Proven {
    fn from(is_proven: bool) -> Self {
        if is_proven { Self::Yes } else { Self::No }
    }
}

/// Whether the records of one zone prove that there are no such records, or with `no_such_name`
/// that there is no such name.
pub(super) fn denial(query: &Query, no_such_name: bool, authorities: &[Record]) -> Proven {
    let plain = nsec::validated(authorities);
    let by_plain = plain.iter().any(|one| {
        let of_zone: Vec<&Plain<'_>> = plain.iter().filter(|it| it.zone == one.zone).collect();
        plain_denial(query, no_such_name, &of_zone)
    });
    let chains = nsec3::chains(authorities);
    let by_hash = chains.iter().map(|it| hashed_denial(query, no_such_name, it)).max();
    by_hash.unwrap_or(Proven::No).max(by_plain.into())
}

/// RFC 4035, section 5.4.
fn plain_denial(query: &Query, no_such_name: bool, proofs: &[&Plain<'_>]) -> bool {
    let name = query.name();
    if let Some(own) = proofs.iter().find(|it| it.owner == name) {
        return !no_such_name && lacks(own.data.type_set(), query);
    }
    if proofs.iter().any(|it| it.is_above_next(name)) {
        return !no_such_name;
    }
    let Some(covering) = proofs.iter().find(|it| it.covers(name)) else { return false };
    let Ok(wildcard) = covering.encloser(name).prepend_label("*") else { return false };
    match no_such_name {
        true => proofs.iter().any(|it| it.covers(&wildcard)),
        false => {
            let mut own = proofs.iter().filter(|it| *it.owner == wildcard);
            own.any(|it| lacks(it.data.type_set(), query))
        }
    }
}

/// RFC 5155, sections 8.4 to 8.7.
fn hashed_denial(query: &Query, no_such_name: bool, chain: &Chain<'_>) -> Proven {
    let name = query.name();
    if let Some(own) = chain.find(name) {
        return (!no_such_name && lacks(own.type_set(), query)).into();
    }
    let labels = (chain.zone.iter().count()..name.iter().count()).rev();
    let mut existing =
        labels.filter_map(|labels| chain.find(&name.trim_to(labels)).map(|it| (labels, it)));
    let Some((labels, encloser)) = existing.next() else { return Proven::No };
    // RFC 5155, section 8.3: the record of a delegation says nothing of what is below it.
    if encloser.is_ancestor_delegation() {
        return Proven::No;
    }
    let covered = coverage(&chain.covering(&name.trim_to(labels + 1)));
    if covered == Proven::OptOut && query.query_type() == RecordType::DS && !no_such_name {
        return Proven::OptOut;
    }
    let Ok(wildcard) = name.trim_to(labels).prepend_label("*") else { return Proven::No };
    let is_denied = match no_such_name {
        true => !chain.covering(&wildcard).is_empty(),
        false => chain.find(&wildcard).is_some_and(|it| lacks(it.type_set(), query)),
    };
    covered.min(is_denied.into())
}

/// Whether nothing is closer to a name than the wildcard that answers for it (RFC 4035, section
/// 5.3.4; RFC 5155, section 8.8). `made` is the valid signature of the answer.
pub(super) fn expansion(name: &Name, made: &SigInput, authorities: &[Record]) -> Proven {
    let zone = &made.signer_name;
    // What does not exist has nothing below it: neither the name, nor a closer wildcard.
    let next_closer = name.trim_to(usize::from(made.num_labels) + 1);
    let plain = nsec::validated(authorities);
    if plain.iter().any(|it| it.zone == zone && it.covers(&next_closer)) {
        return Proven::Yes;
    }
    let chains = nsec3::chains(authorities);
    let of_zone = chains.iter().filter(|it| it.zone == zone);
    coverage(&of_zone.flat_map(|it| it.covering(&next_closer)).collect::<Vec<_>>())
}

/// Whether the name asked for has a DNAME record, by an NSEC or NSEC3 record of its own.
pub(super) fn has_dname(query: &Query, authorities: &[Record]) -> bool {
    let has = |types: &RecordTypeSet| types.contains(RecordType::DNAME);
    let plain = nsec::validated(authorities);
    let chains = nsec3::chains(authorities);
    plain.iter().any(|it| it.owner == query.name() && has(it.data.type_set()))
        || chains.iter().filter_map(|it| it.find(query.name())).any(|it| has(it.type_set()))
}

/// What the records that cover a next closer name say of it.
fn coverage(covering: &[&NSEC3]) -> Proven {
    match covering.iter().any(|it| !it.opt_out()) {
        true => Proven::Yes,
        false if covering.is_empty() => Proven::No,
        false => Proven::OptOut,
    }
}

/// Whether a name with these types has no records of the type asked for, by a record of the zone
/// that would have them: a parent has the DS records of a delegation, and nothing else of it
/// (RFC 6840, sections 4.1 and 4.4).
fn lacks(types: &RecordTypeSet, query: &Query) -> bool {
    let is_apex = types.contains(RecordType::SOA);
    let is_other_zone = match query.query_type() {
        RecordType::DS => is_apex && !query.name().is_root(),
        _ => types.contains(RecordType::NS) && !is_apex,
    };
    !is_other_zone && !types.contains(query.query_type()) && !types.contains(RecordType::CNAME)
}
