//! Raw public keys in place of certificates (RFC 7250), for hosts whose TLSA records are DANE-EE(3)
//! SPKI(1).
//!
//! A raw key has no issuer, no dates and no names. So it meets TLSA records of usage 3 and selector
//! 1 (RFC 7671, section 5.1) and pins of keys, and nothing else: never a PKIX check, never
//! DANE-TA(2), never the digest of a certificate. That a key could be taken out of a `3 0 0` record
//! is left unused, as RFC 7671, section 5.1 allows.
//!
//! TLS negotiates which of the two is shown. [`Plan::judge`] takes certificates,
//! [`Plan::judge_raw_key`] the key; neither accepts what the other judges.

use pki_types::SubjectPublicKeyInfoDer;
use webpki::RawPublicKeyEntity;

use crate::judge::verdict::{Finding, Verdict};
use crate::pki::defect::{Defect, Detail, Place};
use crate::plan::Plan;
use crate::plan::check::Check;
use crate::reason::Reason;
use crate::rules::posture::Weight;

impl Plan {
    /// Whether a raw public key may be asked for: there is a check that has to pass, and each such
    /// check lists keys and nothing else. A client that asks for raw keys gets no certificate, and
    /// a host that has none of these keys could pass by its certificate (RFC 7671, section 5.1:
    /// clients "SHOULD NOT negotiate the use of raw public keys unless the server's TLSA RRset
    /// includes 'DANE-EE(3) SPKI(1)' TLSA records").
    pub fn takes_raw_key(&self) -> bool {
        let mut binding =
            self.checks().iter().filter(|check| check.weight() > Weight::Recorded).peekable();
        binding.peek().is_some() && binding.all(lists_keys_only)
    }

    /// Judges the raw public key that a server showed. Time and trust have no part in it.
    pub fn judge_raw_key(&self, key: &SubjectPublicKeyInfoDer<'_>) -> Verdict {
        let findings = self.checks().iter().map(|check| Finding {
            weight: check.weight(),
            result: judge(check, key),
            crlite: None,
        });
        Verdict::new(findings.collect())
    }
}

fn lists_keys_only(check: &Check) -> bool {
    match check {
        Check::Pkix { .. } => false,
        Check::Dane { records, .. } => records.iter().all(|record| record.is_about_raw_keys()),
        Check::Pinned { pins, .. } => pins.iter().all(|pin| pin.is_of_key()),
    }
}

fn judge(check: &Check, key: &SubjectPublicKeyInfoDer<'_>) -> Result<(), Defect> {
    let defect =
        |reason| Err(Defect::at(reason, Place::Leaf).with(Detail::What("a raw public key")));
    if RawPublicKeyEntity::try_from(key).is_err() {
        return defect(Reason::CertMalformed);
    }
    let (matches, otherwise) = match check {
        // There is no chain to check.
        Check::Pkix { .. } => (false, Reason::CertMissing),
        Check::Dane { records, .. } => {
            (records.iter().any(|record| record.matches_raw_key(key)), Reason::DaneMismatch)
        }
        Check::Pinned { pins, .. } => {
            (pins.iter().any(|pin| pin.matches_raw_key(key)), Reason::PinMismatch)
        }
    };
    if matches { Ok(()) } else { defect(otherwise) }
}
