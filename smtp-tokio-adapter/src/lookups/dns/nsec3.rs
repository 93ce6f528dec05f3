//! Proofs by NSEC3 records, which hold hashes in place of names (RFC 5155).

use hickory_net::proto::dnssec::rdata::{DNSSECRData, NSEC3};
use hickory_net::proto::rr::{Name, RData, Record};

use super::nsec::signer;

/// Most iterations of a hash that are computed. RFC 9276, section 3.2 lets a validator choose, and
/// take a denial with more for insecure.
pub(super) const MAX_ITERATIONS: u16 = 100;

/// The validated NSEC3 records of one zone, all with the same parameters.
pub(super) struct Chain<'a> {
    pub(super) zone: &'a Name,
    /// Each record with the hash in its name.
    records: Vec<(Vec<u8>, &'a NSEC3)>,
}

/// The validated NSEC3 records among these, by zone and parameters (RFC 5155, section 8.2).
pub(super) fn chains(records: &[Record]) -> Vec<Chain<'_>> {
    let mut chains: Vec<Chain<'_>> = Vec::new();
    for record in records {
        let RData::DNSSEC(DNSSECRData::NSEC3(data)) = &record.data else { continue };
        let Some(zone) = signer(record, records) else { continue };
        let Some(hash) = record.name.iter().next().and_then(unbase32) else { continue };
        if record.name.base_name() != *zone {
            continue;
        }
        match chains.iter_mut().find(|it| it.zone == zone && it.is_like(data)) {
            Some(chain) => chain.records.push((hash, data)),
            None => chains.push(Chain { zone, records: vec![(hash, data)] }),
        }
    }
    chains
}

impl<'a> Chain<'a> {
    fn is_like(&self, other: &NSEC3) -> bool {
        self.records.iter().all(|(_, it)| {
            it.hash_algorithm() == other.hash_algorithm()
                && it.iterations() == other.iterations()
                && it.salt() == other.salt()
        })
    }

    /// Whether its hashes are not computed.
    pub(super) fn has_too_many_iterations(&self) -> bool {
        self.records.iter().any(|(_, data)| data.iterations() > MAX_ITERATIONS)
    }

    fn hash(&self, name: &Name) -> Option<Vec<u8>> {
        let (_, data) = self.records.first()?;
        if !self.zone.zone_of(name) || self.has_too_many_iterations() {
            return None;
        }
        let digest = data.hash_algorithm().hash(data.salt(), name, data.iterations()).ok()?;
        Some(digest.as_ref().to_vec())
    }

    /// The record of this name itself.
    pub(super) fn find(&self, name: &Name) -> Option<&'a NSEC3> {
        let hash = self.hash(name)?;
        self.records.iter().find(|(own, _)| *own == hash).map(|(_, data)| *data)
    }

    /// The records that show that this name has none of its own.
    pub(super) fn covering(&self, name: &Name) -> Vec<&'a NSEC3> {
        let Some(hash) = self.hash(name) else { return Vec::new() };
        let covers = |first: &Vec<u8>, next: &[u8]| match first.as_slice() < next {
            true => *first < hash && hash.as_slice() < next,
            // The last record leads back to the first (RFC 5155, section 3.1.7).
            false => hash > *first || hash.as_slice() < next,
        };
        let records = self.records.iter();
        let covering = records.filter(|(own, data)| covers(own, data.next_hashed_owner_name()));
        covering.map(|(_, data)| *data).collect()
    }
}

/// Base 32 with the extended hex alphabet, without padding (RFC 4648, section 7).
fn unbase32(text: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut held) = (Vec::with_capacity(text.len() * 5 / 8), 0_u32, 0);
    for digit in text {
        let value = char::from(*digit).to_digit(32)?;
        (bits, held) = ((bits << 5) | value, held + 5);
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from((bits >> held) & 0xff).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_32_is_read_as_rfc_4648_writes_it() {
        for (text, bytes) in
            [("", ""), ("CO", "f"), ("CPNG", "fo"), ("CPNMU", "foo"), ("cpnmuoj1e8", "foobar")]
        {
            assert_eq!(unbase32(text.as_bytes()).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(unbase32(b"W"), None);
    }
}
