//! What the validator does not tell of hashed proofs (RFC 5155): whether an opt-out carries them.

use hickory_net::proto::dnssec::Proof;
use hickory_net::proto::dnssec::rdata::{DNSSECRData, NSEC3};
use hickory_net::proto::rr::{Name, RData, Record};

/// Most iterations of a hash that are computed (RFC 9276, section 3.2, lets a validator choose).
const MAX_ITERATIONS: u16 = 500;

/// A validated NSEC3 record.
pub(super) struct Hashed<'a> {
    zone: Name,
    /// The hash in its name.
    hash: Vec<u8>,
    pub(super) data: &'a NSEC3,
}

/// The validated NSEC3 records among these.
pub(super) fn validated(records: &[Record]) -> Vec<Hashed<'_>> {
    records.iter().filter(|it| it.proof == Proof::Secure).filter_map(Hashed::read).collect()
}

impl<'a> Hashed<'a> {
    fn read(record: &'a Record) -> Option<Self> {
        let RData::DNSSEC(DNSSECRData::NSEC3(data)) = &record.data else { return None };
        let hash = unbase32(record.name.iter().next()?)?;
        Some(Self { zone: record.name.base_name(), hash, data })
    }

    pub(super) fn is_of(&self, zone: &Name) -> bool {
        self.zone == *zone
    }

    fn hash(&self, name: &Name) -> Option<Vec<u8>> {
        if self.data.iterations() > MAX_ITERATIONS {
            return None;
        }
        let digest =
            self.data.hash_algorithm().hash(self.data.salt(), name, self.data.iterations()).ok()?;
        self.zone.zone_of(name).then(|| digest.as_ref().to_vec())
    }

    /// The record is the name's own.
    pub(super) fn matches(&self, name: &Name) -> bool {
        self.hash(name).is_some_and(|hash| hash == self.hash)
    }

    /// The record shows that the name has none of its own.
    pub(super) fn covers(&self, name: &Name) -> bool {
        let Some(hash) = self.hash(name) else { return false };
        let (first, next) = (&self.hash[..], self.data.next_hashed_owner_name());
        match first < next {
            true => first < &hash[..] && &hash[..] < next,
            // The last record leads back to the first (RFC 5155, section 3.1.7).
            false => &hash[..] > first || &hash[..] < next,
        }
    }
}

/// Whether a proof that the name does not exist, or that a wildcard answers for it, leaves room for
/// an unsigned delegation: the record that covers the next closer name has the Opt-Out bit. Such an
/// answer is not secure (RFC 5155, section 9.2).
///
/// `encloser` is the number of labels of the closest name that exists, where the signature of a
/// wildcard tells it.
pub(super) fn opts_out(name: &Name, encloser: Option<usize>, proof: &[Hashed<'_>]) -> bool {
    if proof.iter().any(|it| it.matches(name)) {
        return false;
    }
    let apex = proof.first().map_or(0, |it| it.zone.iter().count());
    let encloser = encloser.unwrap_or_else(|| {
        let exists = |labels: &usize| proof.iter().any(|it| it.matches(&name.trim_to(*labels)));
        (apex..name.iter().count()).rev().find(exists).unwrap_or(apex)
    });
    let next_closer = name.trim_to(encloser + 1);
    proof.iter().any(|it| it.data.opt_out() && it.covers(&next_closer))
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
