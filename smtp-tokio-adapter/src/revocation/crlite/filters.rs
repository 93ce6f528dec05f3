//! CRLite filters in memory.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;

use clubcard_crlite::{CRLiteClubcard, CRLiteKey, CRLiteStatus, IssuerSpkiHash, LogId, Timestamp};
use sha2::{Digest, Sha256};
use smtp_tls_policy::pki::{CrliteStatus, Sct};

use super::error::CrliteError;
use super::manifest::Listed;

/// One filter.
pub(super) struct Filter {
    pub(super) digest: [u8; 32],
    card: CRLiteClubcard,
}

impl Filter {
    /// Parses the filter that a manifest lists.
    pub(super) fn parse(listed: &Listed, octets: &[u8]) -> Result<Self, CrliteError> {
        let unusable = |what| CrliteError::Filter { name: listed.name.clone(), what };
        let card = CRLiteClubcard::from_bytes(octets).map_err(|error| {
            let why = error.source().map_or_else(String::new, |source| format!(": {source}"));
            unusable(format!("{error}{why}"))
        })?;
        // A look-up indexes by these numbers without asking.
        let columns = card.as_ref().approx_filter.len();
        let fits = |number: usize| u32::try_from(number).is_ok();
        let is_sound = card.index().values().all(|entry| {
            entry.approx_filter_rank <= columns
                && fits(entry.approx_filter_m)
                && fits(entry.approx_filter_offset)
                && fits(entry.exact_filter_m)
                && fits(entry.exact_filter_offset)
        });
        match is_sound {
            true => Ok(Self { digest: listed.digest, card }),
            false => Err(unusable("the index of its issuers exceeds the filter".to_owned())),
        }
    }

    /// The newest time of an SCT that the filter covers, in seconds since 1970.
    pub(super) fn newest(&self) -> u64 {
        let times = self.card.universe().iter().map(|(_, interval)| interval.high.0);
        times.max().unwrap_or(0) / 1000
    }
}

/// The filters of one manifest. They count together.
pub(super) struct Filters(pub(super) Vec<Arc<Filter>>);

impl Filters {
    /// What the filters say of a certificate, as `Crlite::new` asks for it.
    pub(super) fn look_up(
        &self,
        issuer_key_hash: &[u8; 32],
        serial: &[u8],
        scts: &[Sct],
    ) -> CrliteStatus {
        let issuer = IssuerSpkiHash(*issuer_key_hash);
        let hash = Sha256::new().chain_update(issuer.0).chain_update(serial).finalize();
        let key = CRLiteKey::with_hash(&issuer, serial, hash.into());
        let mut answer = CrliteStatus::NotCovered;
        // C2SP `upki-revocation`, "Step 3: aggregate the per-filter results".
        for filter in &self.0 {
            let scts = scts.iter().map(|sct| (LogId(sct.log), Timestamp(sct.milliseconds)));
            match filter.card.contains(&key, scts) {
                CRLiteStatus::Revoked => return CrliteStatus::Revoked,
                CRLiteStatus::Good => answer = CrliteStatus::Good,
                CRLiteStatus::NotEnrolled if answer == CrliteStatus::NotCovered => {
                    answer = CrliteStatus::NotEnrolled;
                }
                CRLiteStatus::NotEnrolled | CRLiteStatus::NotCovered => {}
            }
        }
        answer
    }
}

impl fmt::Debug for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filters({})", self.0.len())
    }
}
