//! Limits on the chains that peers show.

use std::collections::HashMap;

use pki_types::CertificateDer;

use crate::pki::comparison::ComparableName;
use crate::pki::defect::{Defect, Detail, Place};
use crate::pki::x509;
use crate::reason::Reason;

/// Most certificates of a chain, the leaf included, whatever they are. Longer chains, as of hosts
/// that show every cross certificate of a bridge, are looked at if the names in them leave few
/// paths to try.
///
/// The path builder follows at most six issuers, and real chains have two to four. It tries every
/// order of issuers that share a name, within a budget of 200 000 steps, and looks at every
/// certificate of the chain in each step: with 16 the worst chain known costs 0.2 s of one core.
pub const MAX_CHAIN_LEN: usize = 16;
/// Most bytes of a chain. In TLS 1.2 and in rustls a handshake message has at most 64 KiB.
pub const MAX_CHAIN_BYTES: usize = 0xffff;

/// The path builder's budget.
const MAX_STEPS: usize = 200_000;
/// Issuers above a leaf that the path builder follows, and the step at which it gives up.
const MAX_DEPTH: usize = 7;

/// The leaf and the rest of a chain that is not too long.
pub(super) fn within_limits<'a, 'c>(
    chain: &'a [CertificateDer<'c>],
) -> Result<(&'a CertificateDer<'c>, &'a [CertificateDer<'c>]), Defect> {
    let parts = chain.split_first().ok_or_else(|| Defect::at(Reason::CertMissing, Place::Chain))?;
    let too_costly =
        |what| Err(Defect::at(Reason::CertTooCostly, Place::Chain).with(Detail::What(what)));
    if chain.iter().map(|der| der.len()).sum::<usize>() > MAX_CHAIN_BYTES {
        return too_costly("more than 65535 bytes");
    }
    // A longer chain may cost as much as the longest one that is always taken.
    if chain.len() > MAX_CHAIN_LEN
        && steps(chain).saturating_mul(chain.len()) > MAX_STEPS * MAX_CHAIN_LEN
    {
        return too_costly("more than 16 certificates, and too many paths through them");
    }
    Ok(parts)
}

/// No fewer than the steps of a path builder that goes from name to name.
fn steps(chain: &[CertificateDer<'_>]) -> usize {
    let comparable = |der: &CertificateDer<'_>| {
        let (issuer, subject) = x509::names_of(der)?;
        Some((ComparableName::of_contents(issuer), ComparableName::of_contents(subject)))
    };
    let names: Vec<_> = chain.iter().map(comparable).collect();
    // How many ways lead from the leaf to each certificate in each number of steps.
    let mut ways = vec![0usize; chain.len()];
    if let Some(leaf) = ways.first_mut() {
        *leaf = 1;
    }
    let mut total = 1usize;
    for _ in 0..MAX_DEPTH {
        // By the name that is wanted next, since there may be thousands of small certificates.
        let mut wanted: HashMap<&ComparableName, usize> = HashMap::new();
        for (issuer, ways) in names.iter().zip(&ways) {
            if let (Some((issuer, _)), 1..) = (issuer, *ways) {
                let sum = wanted.entry(issuer).or_default();
                *sum = sum.saturating_add(*ways);
            }
        }
        for (name, ways) in names.iter().zip(&mut ways).skip(1) {
            *ways =
                name.as_ref().and_then(|(_, subject)| wanted.get(subject).copied()).unwrap_or(0);
            total = total.saturating_add(*ways);
        }
        if let Some(leaf) = ways.first_mut() {
            *leaf = 0;
        }
    }
    total
}
