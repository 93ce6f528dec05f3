//! Which algorithms of DNSSEC count, and which of several DS records.

use hickory_net::proto::dnssec::rdata::DS;
use hickory_net::proto::dnssec::{Algorithm, DigestType};

/// Whether signatures by this algorithm count. RSA with SHA-1 is as good as unknown: operators of
/// validators must treat it so (RFC 9905, section 2).
pub(super) fn is_used(algorithm: Algorithm) -> bool {
    algorithm.is_supported() && !matches!(u8::from(algorithm), 5 | 7)
}

/// Whether a DS record tells anything here: its algorithm and its digest are known (RFC 4035,
/// section 5.2).
pub(super) fn is_known(ds: &DS) -> bool {
    is_used(ds.algorithm()) && ds.digest_type().is_supported()
}

/// The DS records of a delegation that count. Those with SHA-1 do not if there are better ones (RFC
/// 4509, section 3): otherwise the weaker digest would decide.
pub(super) fn chosen<'a>(records: &[&'a DS]) -> Vec<&'a DS> {
    let known = || records.iter().copied().filter(|ds| is_known(ds));
    let is_better = |ds: &&DS| ds.digest_type() != DigestType::SHA1;
    match known().any(|ds| is_better(&ds)) {
        true => known().filter(is_better).collect(),
        false => known().collect(),
    }
}
