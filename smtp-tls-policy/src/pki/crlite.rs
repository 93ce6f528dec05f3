//! CRLite: filters that say of every certificate of the public authorities whether it is revoked,
//! as a second source beside revocation lists.
//!
//! A filter knows the certificates of its *enrolled* issuers that have an SCT in the logs and times
//! that it *covers*. Of these it says exactly which are revoked; of others it says nothing. It
//! knows certificates of hosts only, so those of authorities still need lists.
//!
//! This module asks and judges. It reads no files: a program gives it a function that looks
//! certificates up, as the feature `crlite` of `smtp-tokio-adapter` does.
//!
//! What list and filter say together:
//!
//! - Either of them revokes. A revocation also counts if the data is out of date.
//! - A current filter that knows the certificate and does not revoke it clears it, as a list does.
//! - In every other case ([`CrliteStatus`] says which) the certificate is judged by its lists
//!   alone, and without them the rule of the connector decides.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pki_types::UnixTime;
use sha2::{Digest, Sha256};
use webpki::EndEntityCert;

use crate::pki::date::Date;

/// How old CRLite data may be to clear a certificate, unless set: ten days, as long as a public
/// authority's list may be current (CA/Browser Forum, Baseline Requirements, section 4.9.7).
pub const DEFAULT_CRLITE_MAX_AGE: Duration = Duration::from_secs(10 * 24 * 3600);

/// Most SCTs of a certificate. Public certificates have two to five; of a certificate with more
/// none is used.
pub const MAX_SCTS: usize = 16;

/// A signed certificate timestamp (SCT) that is embedded in a certificate: when a log of
/// Certificate Transparency promised to include it (RFC 6962, section 3.3).
///
/// The signature of the log is not verified. The SCT is part of what the issuer signed, and it only
/// selects the filters that know the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Sct {
    /// The id of the log: the SHA-256 digest of its key.
    pub log: [u8; 32],
    /// Milliseconds since 1970.
    pub milliseconds: u64,
}

impl Sct {
    /// An SCT of this log.
    pub const fn new(log: [u8; 32], milliseconds: u64) -> Self {
        Self { log, milliseconds }
    }
}

/// What CRLite says of the certificate of a host, or why it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CrliteStatus {
    /// It is revoked.
    Revoked,
    /// It is not revoked, by data that is current.
    Good,
    /// No filter covers one of its SCTs: it may be too new or too old.
    NotCovered,
    /// Its issuer is not one that the filters know, such as a private authority.
    NotEnrolled,
    /// The certificate has no SCTs, or a list of SCTs that cannot be read.
    NoScts,
    /// The data is of this time, and too old, or of a time that is still to come.
    OutOfDate(UnixTime),
    /// No filters are loaded.
    NoData,
}

impl CrliteStatus {
    /// The code for programs, such as `not-covered`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Good => "good",
            Self::NotCovered => "not-covered",
            Self::NotEnrolled => "not-enrolled",
            Self::NoScts => "no-scts",
            Self::OutOfDate(_) => "out-of-date",
            Self::NoData => "no-data",
        }
    }
}

impl fmt::Display for CrliteStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CRLite: ")?;
        match self {
            Self::Revoked => f.write_str("revoked"),
            Self::Good => f.write_str("not revoked"),
            Self::NotCovered => f.write_str("not covered"),
            Self::NotEnrolled => f.write_str("issuer not enrolled"),
            Self::NoScts => f.write_str("no SCTs in the certificate"),
            Self::OutOfDate(made) => write!(f, "out of date, the data is of {}", Date(*made)),
            Self::NoData => f.write_str("no data"),
        }
    }
}

/// CRLite as a second source of revocations: filters with their age, or none as yet.
///
/// Give it to [`Trust::set_crlite`](crate::pki::trust::Trust::set_crlite). While handshakes run a
/// [`LiveTrust`](crate::pki::live_trust::LiveTrust) replaces it.
#[derive(Clone, Debug)]
pub struct Crlite(Option<Data>);

type LookUp = dyn Fn(&[u8; 32], &[u8], &[Sct]) -> CrliteStatus + Send + Sync;

#[derive(Clone)]
struct Data {
    look_up: Arc<LookUp>,
    made: UnixTime,
    max_age: Duration,
}

impl Crlite {
    /// CRLite is wanted, but no filters are loaded. Findings say so ([`CrliteStatus::NoData`]).
    pub const fn without_data() -> Self {
        Self(None)
    }

    /// Filters with data of this time. They clear certificates for [`DEFAULT_CRLITE_MAX_AGE`].
    ///
    /// `look_up` says what the filters hold about the certificate of a host:
    /// [`Revoked`](CrliteStatus::Revoked), [`Good`](CrliteStatus::Good),
    /// [`NotCovered`](CrliteStatus::NotCovered) or [`NotEnrolled`](CrliteStatus::NotEnrolled),
    /// however old the data is. Handshakes wait for it: it must not read files or wait for locks.
    /// Its arguments are
    ///
    /// - the SHA-256 digest of the SubjectPublicKeyInfo of the issuer,
    /// - the contents of the INTEGER of the serial number, with its leading zero octet, if any, and
    /// - the SCTs of the certificate, from one to [`MAX_SCTS`].
    pub fn new(
        look_up: impl Fn(&[u8; 32], &[u8], &[Sct]) -> CrliteStatus + Send + Sync + 'static,
        made: UnixTime,
    ) -> Self {
        let look_up = Arc::new(look_up);
        Self(Some(Data { look_up, made, max_age: DEFAULT_CRLITE_MAX_AGE }))
    }

    /// Lets data of at most this age clear certificates.
    #[must_use]
    pub fn with_max_age(self, max_age: Duration) -> Self {
        Self(self.0.map(|data| Data { max_age, ..data }))
    }

    /// The time of the data; `None` if no filters are loaded.
    pub fn made(&self) -> Option<UnixTime> {
        self.0.as_ref().map(|data| data.made)
    }

    /// Whether filters are loaded that may clear certificates: not too old, and not of a time that
    /// is still to come.
    pub fn is_current(&self, now: UnixTime) -> bool {
        self.0.as_ref().is_some_and(|data| data.is_current(now))
    }

    /// What is known of the certificate of a host, whose issuer has this SubjectPublicKeyInfo.
    pub(crate) fn status(
        &self,
        leaf: &EndEntityCert<'_>,
        issuer: &[u8],
        now: UnixTime,
    ) -> CrliteStatus {
        let Some(data) = &self.0 else { return CrliteStatus::NoData };
        let scts = scts_of(leaf).unwrap_or_default();
        if scts.is_empty() {
            return CrliteStatus::NoScts;
        }
        let issuer_key_hash = Sha256::digest(issuer).into();
        match (data.look_up)(&issuer_key_hash, leaf.serial(), &scts) {
            CrliteStatus::Revoked => CrliteStatus::Revoked,
            _ if !data.is_current(now) => CrliteStatus::OutOfDate(data.made),
            status => status,
        }
    }
}

impl Data {
    fn is_current(&self, now: UnixTime) -> bool {
        let age = now.as_secs().checked_sub(self.made.as_secs());
        age.is_some_and(|age| age <= self.max_age.as_secs())
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Data")
            .field("made", &self.made)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

/// The SCTs of version 1. `None` if one of them cannot be read, or if there are too many.
fn scts_of(leaf: &EndEntityCert<'_>) -> Option<Vec<Sct>> {
    let mut all = leaf.sct_log_timestamps().ok()?;
    let mut found = Vec::new();
    for sct in all.by_ref().take(MAX_SCTS) {
        match sct {
            Ok(sct) => found.push(Sct::new(sct.log_id, sct.timestamp_ms)),
            Err(webpki::sct::Error::UnsupportedSctVersion) => {}
            Err(_) => return None,
        }
    }
    all.next().is_none().then_some(found)
}
