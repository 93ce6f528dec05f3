//! Proofs by NSEC records (RFC 4034, section 4).

use hickory_net::proto::dnssec::Proof;
use hickory_net::proto::dnssec::rdata::{DNSSECRData, NSEC};
use hickory_net::proto::rr::{Name, RData, Record};

use super::prune::signature;

/// A validated NSEC record.
pub(super) struct Plain<'a> {
    /// The zone that signed it.
    pub(super) zone: &'a Name,
    pub(super) owner: &'a Name,
    pub(super) data: &'a NSEC,
}

/// The validated NSEC records among these.
pub(super) fn validated(records: &[Record]) -> Vec<Plain<'_>> {
    let read = |record| Plain::read(record, records);
    records.iter().filter_map(read).collect()
}

/// The zone that signed a validated record, if it signed the record for the name that it has.
///
/// A record of a wildcard is valid at every name that the wildcard serves, and then its signature
/// has fewer labels. It denies nothing at such a name (RFC 4035, section 5.4).
pub(super) fn signer<'a>(record: &Record, all: &'a [Record]) -> Option<&'a Name> {
    let valid = all.iter().filter(|it| it.proof == Proof::Secure && it.name == record.name);
    let mut made = valid.filter_map(signature).map(|it| it.input());
    let made = made.find(|it| it.type_covered == record.record_type())?;
    let is_own = record.proof == Proof::Secure && made.num_labels == record.name.num_labels();
    is_own.then_some(&made.signer_name)
}

impl<'a> Plain<'a> {
    fn read(record: &'a Record, all: &'a [Record]) -> Option<Self> {
        let RData::DNSSEC(DNSSECRData::NSEC(data)) = &record.data else { return None };
        Some(Self { zone: signer(record, all)?, owner: &record.name, data })
    }

    /// The record shows that there is nothing at this name, and nothing below it.
    pub(super) fn covers(&self, name: &Name) -> bool {
        self.is_around(name) && !name.zone_of(self.data.next_domain_name())
    }

    /// The record shows that this name has no records, and that names below it do.
    pub(super) fn is_above_next(&self, name: &Name) -> bool {
        self.is_around(name) && name.zone_of(self.data.next_domain_name())
    }

    fn is_around(&self, name: &Name) -> bool {
        let (owner, next) = (self.owner, self.data.next_domain_name());
        let is_between = match owner < next {
            true => owner < name && name < next,
            // The last record leads back to the apex (RFC 4034, section 4.1.1).
            false => owner < name && next == self.zone,
        };
        // RFC 6840, section 4.1: the record of a delegation says nothing of what is below it.
        let is_below_cut = self.data.is_ancestor_delegation() && owner.zone_of(name);
        self.zone.zone_of(name) && is_between && !is_below_cut
    }

    /// The longest name above a covered one that exists: both names of the record do, and so does
    /// every name above them (RFC 4592, section 3.3.1).
    pub(super) fn encloser(&self, name: &Name) -> Name {
        let common = |other: &Name| {
            let labels = name.iter().rev().zip(other.iter().rev());
            labels.take_while(|(one, other)| one.eq_ignore_ascii_case(other)).count()
        };
        name.trim_to(common(self.owner).max(common(self.data.next_domain_name())))
    }
}
