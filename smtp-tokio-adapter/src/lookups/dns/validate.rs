//! From one message to what it says of one name, and how far that can be believed.
//!
//! The validator is hickory's. What it says of signatures is taken as it is, save that it takes any
//! DS record of a delegation, also one with SHA-1 beside a better one. What it says of proofs
//! is not: [`denial`] holds them against the rules once more. Nor is "insecure": the validator
//! takes an opt-out record of any zone above the name for the proof that the name is not signed, so
//! a record of `com` would unsign everything below a signed `example.com`. The way down from the
//! trust anchor is walked here once more, and only a delegation that its own parent leaves unsigned
//! makes what lies below insecure.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_net::dnssec::DnssecDnsHandle;
use hickory_net::proto::dnssec::rdata::{DNSSECRData, DS};
use hickory_net::proto::dnssec::{Proof, TrustAnchors};
use hickory_net::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Query, ResponseCode};
use hickory_net::proto::rr::{Name, RData, Record, RecordType, RecordTypeSet};
use hickory_net::proto::serialize::binary::BinDecodable;
use hickory_net::xfer::{DnsHandle, FirstAnswer};
use hickory_net::{DnsError, NetError};

use super::algorithms::{chosen, is_known};
use super::anchors::{Anchors, is_vouched_for};
use super::denial::{self, Proven};
use super::fault::Fault;
use super::nsec;
use super::nsec3::{Chain, MAX_ITERATIONS, chains};
use super::prune::signature;
use super::upstream::Upstream;
use super::{MAX_QUERIES, records};

/// Entries of the validator's own cache, which lives as long as one question: more than there are
/// sets of records in all of its messages.
const VALIDATIONS: usize = 32 * MAX_QUERIES;
/// How long the validator keeps a validation: until the question ends, whatever the time to live of
/// the records. Without this it would validate the keys of a zone again for each record, and those
/// of the zones above for each of these.
const VALIDATION_LIFETIME: Duration = Duration::from_secs(86_400);

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

impl Says {
    /// Bytes of memory beyond the octets of the records in the message.
    pub(super) fn bytes(&self) -> usize {
        /// What a string of a TXT record costs beside its octets: a pointer, a length, and what the
        /// allocator adds.
        const STRING: usize = 32;
        let Self::Records(records) = self else { return 0 };
        let strings = records.iter().map(|it| match it {
            RData::TXT(text) => text.txt_data.len() * STRING,
            _ => 0,
        });
        size_of_val(&records[..]) + strings.sum::<usize>()
    }
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
    let Some((anchor, keys)) = anchors.start(query.name(), upstream).await? else {
        return ask_unsigned(upstream, query).await;
    };
    let validator = Validator::new(upstream, anchor, keys);
    let (response, status) = match validator.look_up(query.clone()).await {
        // The validator looks for the zone from the name upwards, by NS and DS records. A server of
        // an unsigned zone may answer for addresses alone, and nothing depends on other records
        // below an unsigned delegation.
        Err(_)
            if upstream.failed_in_validation()
                && matches!(validator.unsigned_cut(query.name()).await, Ok(Cut::Unsigned)) =>
        {
            // The next alias has faults of its own.
            upstream.forget_fault();
            return ask_unsigned(upstream, query).await;
        }
        answer => answer?,
    };
    if matches!(status, Status::Insecure | Status::Bogus) {
        validator.is_unsigned(query.name(), &response).await?;
    }
    Ok((Hop { is_secure: status == Status::Secure, says: says(&response)? }, response))
}

/// Asks for what is known to be not signed.
async fn ask_unsigned(upstream: &Upstream, query: Query) -> Result<(Hop, DnsResponse), Fault> {
    let request = DnsRequest::from_query(query, DnsRequestOptions::default());
    let response = upstream.ask(&request).await?;
    Ok((Hop { is_secure: false, says: says(&response)? }, response))
}

fn says(response: &DnsResponse) -> Result<Says, Fault> {
    let Some(query) = response.queries.first() else { return Err(Fault::Malformed) };
    let records = response.answers.iter().filter(|it| signature(it).is_none());
    let records: Vec<RData> = records.map(|it| it.data.clone()).collect();
    let records = records::bounded(records);
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

/// How an answer is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// It is signed, and so is the proof that it may need.
    Secure,
    /// The same, and the proof leaves room for an unsigned delegation (RFC 5155, section 9.2).
    OptOut,
    /// It is not signed.
    Insecure,
    /// It is not as its zone must be signed, if the zone is.
    Bogus,
}

struct Validator<'a> {
    handle: DnssecDnsHandle<Upstream>,
    upstream: &'a Upstream,
    /// The zone at which validation starts.
    anchor: Name,
    /// Zones whose delegations have been checked.
    checked: Mutex<HashSet<Name>>,
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

/// What is on the way from the anchor to a name.
enum Cut {
    /// An unsigned delegation.
    Unsigned,
    /// None: the name is in this signed zone.
    None(Name),
}

impl<'a> Validator<'a> {
    fn new(upstream: &'a Upstream, anchor: Name, keys: Arc<TrustAnchors>) -> Self {
        let handle = DnssecDnsHandle::with_trust_anchor(upstream.clone(), keys);
        let handle = handle
            .validation_cache_size(VALIDATIONS)
            .positive_validation_ttl(VALIDATION_LIFETIME..=Duration::MAX)
            .negative_validation_ttl(VALIDATION_LIFETIME..=Duration::MAX);
        let handle = handle.nsec3_iteration_limits(Some(MAX_ITERATIONS), Some(u16::MAX));
        Self { handle, upstream, anchor, checked: Mutex::default() }
    }

    /// The answer, and how all of it is to be taken.
    async fn look_up(&self, query: Query) -> Result<(DnsResponse, Status), Fault> {
        let (response, status) = self.validated(query).await?;
        if matches!(status, Status::Secure | Status::OptOut) {
            self.check_delegations(&response).await?;
        }
        Ok((response, status))
    }

    /// Makes sure that each delegation on the way to a validated answer holds by the DS records
    /// that count. The validator has made sure that it holds by any of them.
    async fn check_delegations(&self, response: &DnsResponse) -> Result<(), Fault> {
        let mut zones = signers(response);
        while let Some(zone) = zones.pop() {
            if zone == self.anchor || !self.is_first(&zone) {
                continue;
            }
            let query = Query::query(zone.clone(), RecordType::DS);
            let (response, status) = self.validated(query).await?;
            if status != Status::Secure {
                return Err(Fault::Bogus);
            }
            let all: Vec<&DS> = response.answers.iter().filter_map(ds).collect();
            let chosen = chosen(&all);
            let is_choice = chosen.len() < all.iter().filter(|ds| is_known(ds)).count();
            if is_choice && !is_vouched_for(&zone, &chosen, self.upstream).await? {
                return Err(Fault::Bogus);
            }
            zones.extend(signers(&response));
        }
        Ok(())
    }

    fn is_first(&self, zone: &Name) -> bool {
        // The set is in order whenever the lock is free.
        self.checked.lock().unwrap_or_else(PoisonError::into_inner).insert(zone.clone())
    }

    /// The answer, and what the validator says of it.
    ///
    /// The validator calls bogus whatever it finds no proof for, and it knows none for a delegation
    /// whose denial has too many iterations. So only the way down from the anchor tells a bogus
    /// answer from an insecure one.
    async fn validated(&self, query: Query) -> Result<(DnsResponse, Status), Fault> {
        let answer =
            pin!(self.handle.lookup(query.clone(), DnsRequestOptions::default()).first_answer())
                .await;
        // "Bogus" is also what the validator says where it could not look up the keys.
        let bogus = |fault| self.upstream.fault().unwrap_or(fault);
        match answer {
            Ok(response) => match of_response(&query, &response) {
                Err(Fault::Bogus) => match self.upstream.fault() {
                    Some(fault) => Err(fault),
                    None => Ok((response, Status::Bogus)),
                },
                status => Ok((response, status.map_err(bogus)?)),
            },
            Err(NetError::Dns(DnsError::Nsec { response, proof: Proof::Insecure, .. })) => {
                Ok((*response, Status::Insecure))
            }
            Err(NetError::Dns(DnsError::Nsec { response, .. })) => {
                if let Some(fault) = self.upstream.fault() {
                    return Err(fault);
                }
                match of_response(&query, &response) {
                    Ok(status @ (Status::Secure | Status::OptOut))
                        if overrules(&query, &response) =>
                    {
                        Ok((*response, status))
                    }
                    Ok(_) | Err(_) => Ok((*response, Status::Bogus)),
                }
            }
            Err(_) => Err(bogus(Fault::Bogus)),
        }
    }

    /// Makes sure that no chain of signed delegations leads to the name.
    async fn is_unsigned(&self, name: &Name, response: &DnsResponse) -> Result<(), Fault> {
        let zone = match self.unsigned_cut(name).await? {
            Cut::Unsigned => return Ok(()),
            Cut::None(zone) => zone,
        };
        // RFC 9276, section 3.2: too many iterations make a denial insecure, if it is the zone's
        // own, and so the proof that nothing is closer than a wildcard that answers.
        let mut records = response.answers.iter().filter(|it| signature(it).is_none());
        let is_valid = records.all(|it| it.proof == Proof::Secure);
        match is_valid && are_beyond(&zone, &chains(&response.authorities)) {
            true => Ok(()),
            false => Err(Fault::Bogus),
        }
    }

    /// Walks down from the anchor to the name, as far as the first unsigned delegation.
    async fn unsigned_cut(&self, name: &Name) -> Result<Cut, Fault> {
        let mut zone = self.anchor.clone();
        for labels in zone.iter().count() + 1..=name.iter().count() {
            let cut = name.trim_to(labels);
            match self.delegation(&zone, &cut).await? {
                Delegation::Signed => zone = cut,
                Delegation::Unsigned => return Ok(Cut::Unsigned),
                Delegation::None => {}
            }
        }
        Ok(Cut::None(zone))
    }

    async fn delegation(&self, zone: &Name, cut: &Name) -> Result<Delegation, Fault> {
        let (response, status) = self.look_up(Query::query(cut.clone(), RecordType::DS)).await?;
        let hashed = chains(&response.authorities);
        match status {
            Status::Secure | Status::OptOut => {}
            // Too many iterations, as above.
            Status::Insecure if are_beyond(zone, &hashed) => return Ok(Delegation::Unsigned),
            Status::Insecure | Status::Bogus => return Err(Fault::Bogus),
        }
        let signers: Vec<&DS> = response.answers.iter().filter_map(ds).collect();
        if !signers.is_empty() {
            // RFC 4035, section 5.2: algorithms that are not known here are as good as none.
            return Ok(match signers.iter().any(|ds| is_known(ds)) {
                true => Delegation::Signed,
                false => Delegation::Unsigned,
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

/// Whether there are such records, and all of them are of this zone.
fn are_of(zone: &Name, chains: &[Chain<'_>]) -> bool {
    !chains.is_empty() && chains.iter().all(|it| it.zone == zone)
}

/// Whether all of them are of this zone, and have too many iterations.
fn are_beyond(zone: &Name, chains: &[Chain<'_>]) -> bool {
    are_of(zone, chains) && chains.iter().all(Chain::has_too_many_iterations)
}

fn plain_delegation(zone: &Name, cut: &Name, authorities: &[Record]) -> Result<Delegation, Fault> {
    let mut proofs = nsec::validated(authorities);
    proofs.retain(|it| it.zone == zone);
    if let Some(own) = proofs.iter().find(|it| it.owner == cut) {
        return Ok(of_types(own.data.type_set()));
    }
    // The name has no records, but names below it do.
    match proofs.iter().any(|it| it.is_above_next(cut)) {
        true => Ok(Delegation::None),
        // What does not exist has nothing below it.
        false => Err(Fault::Bogus),
    }
}

fn hashed_delegation(zone: &Name, cut: &Name, proofs: &[Chain<'_>]) -> Result<Delegation, Fault> {
    if !are_of(zone, proofs) {
        return Err(Fault::Bogus);
    }
    if let Some(own) = proofs.iter().find_map(|it| it.find(cut)) {
        return Ok(of_types(own.type_set()));
    }
    // Every name between the apex and this one has been looked at: this is the next closer name.
    match proofs.iter().flat_map(|it| it.covering(cut)).any(|it| it.opt_out()) {
        true => Ok(Delegation::Unsigned),
        false => Err(Fault::Bogus),
    }
}

/// What a name without DS records is.
fn of_types(types: &RecordTypeSet) -> Delegation {
    match types.contains(RecordType::NS) && !types.contains(RecordType::SOA) {
        true => Delegation::Unsigned,
        false => Delegation::None,
    }
}

/// How all records that answer are to be taken, or the denial.
fn of_response(query: &Query, response: &DnsResponse) -> Result<Status, Fault> {
    let records = response.answers.iter().filter(|it| signature(it).is_none());
    let Some(proof) = records.map(|it| it.proof).min() else {
        return of_denial(query, response);
    };
    match proof {
        Proof::Secure => of_records(query, response),
        Proof::Insecure => Ok(Status::Insecure),
        Proof::Bogus => Err(Fault::Bogus),
        Proof::Indeterminate => Err(Fault::Indeterminate),
    }
}

fn of_denial(query: &Query, response: &DnsResponse) -> Result<Status, Fault> {
    let is_proof = |it: &Record| {
        it.proof == Proof::Secure
            && matches!(it.record_type(), RecordType::NSEC | RecordType::NSEC3)
    };
    if !response.authorities.iter().any(is_proof) {
        return Ok(Status::Insecure);
    }
    let no_such_name = response.response_code == ResponseCode::NXDomain;
    status(denial::denial(query, no_such_name, &response.authorities))
}

/// How validated records are to be taken: all of one owner and type, and of one valid signature.
fn of_records(query: &Query, response: &DnsResponse) -> Result<Status, Fault> {
    let mut used = response.answers.iter().filter(|it| it.proof == Proof::Secure);
    let Some((owner, made)) =
        used.find_map(|it| signature(it).map(|made| (&it.name, made.input())))
    else {
        return Err(Fault::Bogus);
    };
    match made.num_labels < owner.num_labels() {
        false => Ok(Status::Secure),
        true if owner == query.name() => {
            status(denial::expansion(owner, made, &response.authorities))
        }
        // RFC 6672, section 3.3: there should be no DNAME record of a wildcard.
        true => Err(Fault::Bogus),
    }
}

fn status(proven: Proven) -> Result<Status, Fault> {
    match proven {
        Proven::Yes => Ok(Status::Secure),
        Proven::OptOut => Ok(Status::OptOut),
        Proven::No => Err(Fault::Bogus),
    }
}

/// Whether the proofs count although the validator does not take them. Of what a wildcard gave it
/// wants the wildcard itself covered by an NSEC record, which it cannot be; it does not know DNAME
/// records; and it takes the proof that a name with a DNAME record has no records of the type for
/// one of what is below the name, which it is not good for (RFC 6840, section 4.1).
fn overrules(query: &Query, response: &DnsResponse) -> bool {
    let is_denial = response.answers.iter().all(|it| signature(it).is_some());
    !is_denial || denial::has_dname(query, &response.authorities)
}

/// The zones that have signed a validated answer and its proofs.
fn signers(response: &DnsResponse) -> Vec<Name> {
    let records = response.answers.iter().chain(&response.authorities);
    let valid = records.filter(|it| it.proof == Proof::Secure);
    let mut zones: Vec<Name> =
        valid.filter_map(signature).map(|made| made.input().signer_name.clone()).collect();
    zones.sort_unstable();
    zones.dedup();
    zones
}

fn ds(record: &Record) -> Option<&DS> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::DS(ds)) => Some(ds),
        _ => None,
    }
}
