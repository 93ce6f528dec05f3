//! From one message to what it says of one name, and how far that can be believed.
//!
//! The validator is hickory's. What it says is "secure" is taken as it is; what it says is
//! "insecure" is not: it takes an opt-out record of any zone above the name for the proof that the
//! name is not signed, so a record of `com` would unsign everything below a signed `example.com`.
//! The way down from the trust anchor is walked here once more, and only a delegation that its own
//! parent leaves unsigned makes what lies below insecure.

use std::pin::pin;

use hickory_net::dnssec::DnssecDnsHandle;
use hickory_net::proto::dnssec::Proof;
use hickory_net::proto::dnssec::rdata::{DNSSECRData, DS, NSEC};
use hickory_net::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Query, ResponseCode};
use hickory_net::proto::rr::{Name, RData, Record, RecordType, RecordTypeSet};
use hickory_net::proto::serialize::binary::BinDecodable;
use hickory_net::xfer::{DnsHandle, FirstAnswer};
use hickory_net::{DnsError, NetError};

use super::anchors::Anchors;
use super::fault::Fault;
use super::nsec3::{Hashed, opts_out, validated};
use super::prune::signature;
use super::upstream::Upstream;

/// Entries of the validator's own cache, which lives as long as one question.
const VALIDATIONS: usize = 256;

/// What one name says.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    pub(super) is_secure: bool,
    pub(super) says: Says,
}

#[derive(Clone, Debug)]
pub(super) enum Says {
    /// These records, at least one.
    Records(Vec<RData>),
    /// The name is an alias of this one.
    Alias(Name),
    /// There are no such records.
    Denied { no_such_name: bool },
}

/// Asks a resolver that validates, and believes it.
pub(super) async fn believe(
    upstream: &Upstream,
    query: Query,
) -> Result<(Hop, DnsResponse), Fault> {
    let mut request = DnsRequest::from_query(query, DnsRequestOptions::default());
    // RFC 6840, section 5.7: the bit in a question says that the answer's is understood.
    request.metadata.authentic_data = true;
    let response = upstream.ask(&request).await?;
    let hop = Hop { is_secure: response.authentic_data, says: says(&response)? };
    Ok((hop, response))
}

/// Asks, and validates the answer.
pub(super) async fn validate(
    upstream: &Upstream,
    anchors: &Anchors,
    query: Query,
) -> Result<(Hop, DnsResponse), Fault> {
    let Some(anchor) = anchors.zone(query.name()).cloned() else {
        let request = DnsRequest::from_query(query, DnsRequestOptions::default());
        let response = upstream.ask(&request).await?;
        return Ok((Hop { is_secure: false, says: says(&response)? }, response));
    };
    let validator = Validator::new(upstream, anchors);
    let (response, proof) = validator.look_up(query.clone()).await?;
    let is_secure = match proof {
        Proof::Secure => !leaves_room(&query, &response),
        Proof::Insecure => {
            validator.is_unsigned(anchor, query.name(), &response).await?;
            false
        }
        Proof::Bogus => return Err(Fault::Bogus),
        Proof::Indeterminate => return Err(Fault::Indeterminate),
    };
    Ok((Hop { is_secure, says: says(&response)? }, response))
}

fn says(response: &DnsResponse) -> Result<Says, Fault> {
    let Some(query) = response.queries.first() else { return Err(Fault::Malformed) };
    let records = response.answers.iter().filter(|it| signature(it).is_none());
    let records: Vec<RData> = records.map(|it| it.data.clone()).collect();
    let Some(first) = response.answers.iter().find(|it| signature(it).is_none()) else {
        let no_such_name = response.response_code == ResponseCode::NXDomain;
        return Ok(Says::Denied { no_such_name });
    };
    Ok(match &first.data {
        // The alias alone is the question.
        _ if query.query_type() == RecordType::CNAME => Says::Records(records),
        RData::CNAME(target) => Says::Alias(target.0.clone()),
        RData::Unknown { code: RecordType::DNAME, rdata } => {
            Says::Alias(redirected(query.name(), &first.name, &rdata.anything)?)
        }
        _ => Says::Records(records),
    })
}

/// The name with its end, which is the owner of a DNAME record, replaced by the record's target
/// (RFC 6672, section 2.2).
fn redirected(name: &Name, owner: &Name, target: &[u8]) -> Result<Name, Fault> {
    let target = Name::from_bytes(target).map_err(|_| Fault::Malformed)?;
    let labels = name.iter().count().saturating_sub(owner.iter().count());
    let start = Name::from_labels(name.iter().take(labels));
    start.and_then(|start| start.append_domain(&target)).map_err(|_| Fault::AliasName)
}

/// An opt-out in the proof that comes with a denial or a wildcard.
fn leaves_room(query: &Query, response: &DnsResponse) -> bool {
    let proof = validated(&response.authorities);
    let signatures = response.answers.iter().filter_map(signature);
    let encloser = signatures.map(|it| usize::from(it.input().num_labels)).min();
    !proof.is_empty() && opts_out(query.name(), encloser, &proof)
}

struct Validator<'a> {
    handle: DnssecDnsHandle<Upstream>,
    upstream: &'a Upstream,
}

/// What a zone says of a name that may be the apex of a zone below it.
enum Delegation {
    /// It is one, and signed.
    Signed,
    /// It is one, or may be one, and is not signed.
    Unsigned,
    /// It is none.
    None,
}

impl<'a> Validator<'a> {
    fn new(upstream: &'a Upstream, anchors: &Anchors) -> Self {
        let handle = DnssecDnsHandle::with_trust_anchor(upstream.clone(), anchors.keys.clone());
        Self { handle: handle.validation_cache_size(VALIDATIONS), upstream }
    }

    /// The answer, and what was proven of all of it.
    async fn look_up(&self, query: Query) -> Result<(DnsResponse, Proof), Fault> {
        let answer =
            pin!(self.handle.lookup(query.clone(), DnsRequestOptions::default()).first_answer())
                .await;
        match answer {
            Ok(response) => match (of_response(&query, &response), self.upstream.fault()) {
                // "Bogus" is also what the validator says where it could not look up the keys.
                (Proof::Bogus | Proof::Indeterminate, Some(fault)) => Err(fault),
                (proof, _) => Ok((response, proof)),
            },
            Err(NetError::Dns(DnsError::Nsec { response, proof: Proof::Insecure, .. })) => {
                Ok((*response, Proof::Insecure))
            }
            Err(NetError::Dns(DnsError::Nsec { response, .. }))
                if is_proven_expansion(query.name(), &response)
                    || redirects(&response)
                    || is_denied_beside_dname(&query, &response) =>
            {
                Ok((*response, Proof::Secure))
            }
            Err(_) => Err(self.upstream.fault().unwrap_or(Fault::Bogus)),
        }
    }

    /// Makes sure that no chain of signed delegations leads to the name.
    async fn is_unsigned(
        &self,
        anchor: Name,
        name: &Name,
        response: &DnsResponse,
    ) -> Result<(), Fault> {
        let mut zone = anchor;
        for labels in zone.iter().count() + 1..=name.iter().count() {
            let cut = name.trim_to(labels);
            match self.delegation(&zone, &cut).await? {
                Delegation::Signed => zone = cut,
                Delegation::Unsigned => return Ok(()),
                Delegation::None => {}
            }
        }
        // RFC 9276, section 3.2: too many iterations make a denial insecure, if it is the zone's
        // own.
        let proof = validated(&response.authorities);
        match !proof.is_empty()
            && proof.iter().all(|it| it.is_of(&zone))
            && response.answers.is_empty()
        {
            true => Ok(()),
            false => Err(Fault::Bogus),
        }
    }

    async fn delegation(&self, zone: &Name, cut: &Name) -> Result<Delegation, Fault> {
        let (response, proof) = self.look_up(Query::query(cut.clone(), RecordType::DS)).await?;
        let hashed = validated(&response.authorities);
        match proof {
            Proof::Secure => {}
            // Too many iterations, as above.
            Proof::Insecure if !hashed.is_empty() && hashed.iter().all(|it| it.is_of(zone)) => {
                return Ok(Delegation::Unsigned);
            }
            Proof::Insecure | Proof::Bogus | Proof::Indeterminate => return Err(Fault::Bogus),
        }
        let signers: Vec<&DS> = response.answers.iter().filter_map(ds).collect();
        if !signers.is_empty() {
            // RFC 4035, section 5.2: algorithms that are not known here are as good as none.
            let is_known =
                |ds: &&DS| ds.algorithm().is_supported() && ds.digest_type().is_supported();
            return Ok(if signers.iter().any(is_known) {
                Delegation::Signed
            } else {
                Delegation::Unsigned
            });
        }
        if !response.answers.is_empty() {
            // A CNAME record is alone at its name (RFC 1034, section 3.6.2).
            return Ok(Delegation::None);
        }
        match hashed.is_empty() {
            true => plain_delegation(zone, cut, &response.authorities),
            false => hashed_delegation(zone, cut, &hashed),
        }
    }
}

fn plain_delegation(zone: &Name, cut: &Name, authorities: &[Record]) -> Result<Delegation, Fault> {
    let proofs: Vec<(&Name, &NSEC)> =
        authorities.iter().filter_map(|it| nsec(it, zone, authorities)).collect();
    if let Some((_, own)) = proofs.iter().find(|(owner, _)| *owner == cut) {
        let types = own.type_set();
        let is_delegation = types.contains(RecordType::NS) && !types.contains(RecordType::SOA);
        return Ok(if is_delegation { Delegation::Unsigned } else { Delegation::None });
    }
    // The name has no records, but names below it do.
    match proofs.iter().any(|(_, it)| cut.zone_of(it.next_domain_name())) {
        true => Ok(Delegation::None),
        // What does not exist has nothing below it.
        false => Err(Fault::Bogus),
    }
}

fn hashed_delegation(zone: &Name, cut: &Name, proofs: &[Hashed<'_>]) -> Result<Delegation, Fault> {
    if !proofs.iter().all(|it| it.is_of(zone)) {
        return Err(Fault::Bogus);
    }
    if let Some(own) = proofs.iter().find(|it| it.matches(cut)) {
        let types = own.data.type_set();
        let is_delegation = types.contains(RecordType::NS) && !types.contains(RecordType::SOA);
        return Ok(if is_delegation { Delegation::Unsigned } else { Delegation::None });
    }
    // Every name between the apex and this one has been looked at: this is the next closer name.
    match proofs.iter().any(|it| it.data.opt_out() && it.covers(cut)) {
        true => Ok(Delegation::Unsigned),
        false => Err(Fault::Bogus),
    }
}

/// What was proven of all records that answer, or of the denial.
fn of_response(query: &Query, response: &DnsResponse) -> Proof {
    let records = response.answers.iter().filter(|it| signature(it).is_none());
    let Some(proof) = records.map(|it| it.proof).min() else {
        // The validator has judged the proofs, and would have said so if they were not enough.
        let is_proof =
            |it: &&Record| matches!(it.record_type(), RecordType::NSEC | RecordType::NSEC3);
        let mut proofs = response.authorities.iter().filter(is_proof);
        return match proofs.any(|it| it.proof == Proof::Secure) {
            true => Proof::Secure,
            false => Proof::Insecure,
        };
    };
    let used = response.answers.iter().filter(|it| it.proof == Proof::Secure).filter_map(signature);
    let is_expanded =
        used.map(|it| it.input().num_labels).any(|labels| labels < query.name().num_labels());
    let is_proven = response.authorities.iter().any(|it| it.proof == Proof::Secure);
    match proof {
        // RFC 4035, section 5.3.4.
        Proof::Secure if is_expanded && !is_proven => Proof::Bogus,
        proof => proof,
    }
}

/// Whether records from a wildcard come with the proof that nothing is closer to the name than the
/// wildcard is (RFC 4035, section 5.3.4). The validator wants the wildcard itself covered by an
/// NSEC record, which it cannot be.
fn is_proven_expansion(name: &Name, response: &DnsResponse) -> bool {
    let (signatures, records): (Vec<_>, Vec<_>) =
        response.answers.iter().partition(|it| signature(it).is_some());
    let mut used = signatures.into_iter().filter(|it| it.proof == Proof::Secure);
    let Some(input) = used.next().and_then(signature).map(|it| it.input()) else { return false };
    if records.is_empty() || records.iter().any(|it| it.proof != Proof::Secure) {
        return false;
    }
    let encloser = usize::from(input.num_labels);
    // What does not exist has nothing below it: neither the name, nor a closer wildcard.
    let next_closer = name.trim_to(encloser + 1);
    let proofs = &response.authorities;
    proofs.iter().filter_map(|it| nsec(it, &input.signer_name, proofs)).any(|(owner, nsec)| {
        let next = nsec.next_domain_name();
        let is_between = match owner < next {
            true => *owner < next_closer && next_closer < *next,
            // The last record leads back to the apex (RFC 4034, section 4.1.1).
            false => *owner < next_closer && next.zone_of(&next_closer),
        };
        // RFC 6840, section 4.1: the record of a delegation says nothing of what is below it.
        let is_above = nsec.is_ancestor_delegation() && owner.zone_of(&next_closer);
        encloser < name.iter().count() && is_between && !is_above && !next_closer.zone_of(next)
    })
}

/// Whether the answer is a validated DNAME record, which the validator does not know. One from a
/// wildcard is not taken (RFC 6672, section 3.3: there should be none).
fn redirects(response: &DnsResponse) -> bool {
    let (signatures, records): (Vec<_>, Vec<_>) =
        response.answers.iter().partition(|it| signature(it).is_some());
    let is_expanded = |it: &Record| {
        signature(it).is_some_and(|made| made.input().num_labels < it.name.num_labels())
    };
    !records.is_empty()
        && records.iter().all(|it| it.record_type() == RecordType::DNAME)
        && records.iter().all(|it| it.proof == Proof::Secure)
        && !signatures.into_iter().any(is_expanded)
}

/// Whether a name that has a DNAME record is proven to have no records of the type. The validator
/// takes the proof for one of what is below the name, which it is not good for (RFC 6840, section
/// 4.1).
fn is_denied_beside_dname(query: &Query, response: &DnsResponse) -> bool {
    let kind = query.query_type();
    let denies = |types: &RecordTypeSet| {
        let is_delegation = types.contains(RecordType::NS) && !types.contains(RecordType::SOA);
        types.contains(RecordType::DNAME)
            && !is_delegation
            && !types.contains(kind)
            && !types.contains(RecordType::CNAME)
    };
    let is_plain = |record: &Record| match &record.data {
        RData::DNSSEC(DNSSECRData::NSEC(nsec)) => {
            record.name == *query.name() && record.proof == Proof::Secure && denies(nsec.type_set())
        }
        _ => false,
    };
    let hashed = validated(&response.authorities);
    kind != RecordType::DS
        && response.answers.is_empty()
        && response.response_code == ResponseCode::NoError
        && (response.authorities.iter().any(is_plain)
            || hashed.iter().any(|it| it.matches(query.name()) && denies(it.data.type_set())))
}

fn ds(record: &Record) -> Option<&DS> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::DS(ds)) => Some(ds),
        _ => None,
    }
}

/// A validated NSEC record that this zone has signed.
fn nsec<'a>(record: &'a Record, zone: &Name, all: &[Record]) -> Option<(&'a Name, &'a NSEC)> {
    let RData::DNSSEC(DNSSECRData::NSEC(nsec)) = &record.data else { return None };
    let is_by_zone = all.iter().any(|it| {
        it.name == record.name
            && it.proof == Proof::Secure
            && signature(it).is_some_and(|signature| {
                signature.input().type_covered == RecordType::NSEC
                    && signature.input().signer_name == *zone
            })
    });
    (record.proof == Proof::Secure && is_by_zone).then_some((&record.name, nsec))
}
