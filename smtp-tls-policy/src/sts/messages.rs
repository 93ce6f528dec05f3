//! What the cache is told, and what it says.

use std::time::Duration;

use pki_types::UnixTime;

use super::fetch::{FetchError, WELL_KNOWN_PATH};
use super::policy::PolicyText;
use super::times::{REFRESH_INTERVAL, REFRESH_RETRY};
use super::txt::PolicyId;
use crate::dns_txt::TxtError;
use crate::domain::Domain;
use crate::reason::{Reason, ResultType};

/// A policy as it was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedPolicy {
    pub(super) domain: Domain,
    pub(super) id: PolicyId,
    pub(super) fetched: UnixTime,
    pub(super) policy: PolicyText,
}

impl CachedPolicy {
    /// A policy, the domain and the id under which it was found, and when it was fetched.
    pub fn new(domain: Domain, id: PolicyId, fetched: UnixTime, policy: PolicyText) -> Self {
        Self { domain, id, fetched, policy }
    }

    /// The policy domain.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The id of the record that announced it.
    pub fn id(&self) -> &PolicyId {
        &self.id
    }

    /// When it was fetched.
    pub fn fetched(&self) -> UnixTime {
        self.fetched
    }

    /// The policy.
    pub fn policy(&self) -> &PolicyText {
        &self.policy
    }

    /// The last second in which it applies (RFC 8461, section 5.1: "time-since-fetch has not
    /// exceeded its max_age").
    pub fn expires(&self) -> UnixTime {
        after(self.fetched, self.policy.max_age())
    }

    pub(super) fn refresh_at(&self) -> UnixTime {
        match self.policy.max_age() / 2 {
            half if half < REFRESH_RETRY => after(self.expires(), Duration::from_secs(1)),
            half => after(self.fetched, REFRESH_INTERVAL.min(half)),
        }
    }
}

pub(super) fn after(time: UnixTime, duration: Duration) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(
        time.as_secs().saturating_add(duration.as_secs()),
    ))
}

/// What is wrong with the live policy. It never takes a cached one away, and is to be reported (RFC
/// 8461, section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// The look-up of the record failed: no answer, SERVFAIL, bogus. A name that does not exist is
    /// no failure, but an empty set. Where this side could not ask, it is [`FetchError::Local`].
    #[error("the look-up of the MTA-STS record failed")]
    Lookup,
    /// The records are not what RFC 8461 describes.
    #[error("the MTA-STS record is not valid: {0}")]
    Record(#[from] TxtError),
    /// A policy is cached, but its record has vanished.
    #[error("the MTA-STS record of a cached policy has vanished")]
    Vanished,
    /// The fetch failed, now or within [`FETCH_BACKOFF`](super::FETCH_BACKOFF).
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

impl Trouble {
    /// The result type in a TLS report (RFC 8460, section 4.3.2.2); `None` for a fault of this
    /// side, which is not reported.
    pub const fn result_type(&self) -> Option<ResultType> {
        match self {
            Self::Lookup | Self::Vanished => Some(ResultType::StsPolicyFetchError),
            Self::Record(_) => Some(ResultType::StsPolicyInvalid),
            Self::Fetch(error) => error.result_type(),
        }
    }

    /// The reason that is noted, and under which mail is deferred if it is
    /// [`Reason::StsLocalFault`].
    pub const fn reason(&self) -> Reason {
        match self.result_type() {
            None => Reason::StsLocalFault,
            Some(ResultType::StsPolicyInvalid) => Reason::StsPolicyInvalid,
            Some(ResultType::StsWebpkiInvalid) => Reason::StsWebpkiInvalid,
            Some(_) => Reason::StsFetchFailed,
        }
    }
}

/// What applies to a domain now; [`plan`](crate::plan::plan()) takes it as
/// [`Facts::sts`](crate::plan::Facts::sts).
///
/// A host is compared with the policy's patterns ([`PolicyText::permits`]); its certificate is
/// compared with its name, and never with a pattern (RFC 8461, section 4.1). An address matches no
/// pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct StsAnswer {
    /// The policy, not expired, in mode testing or enforce. `None`: deliver as though the domain
    /// had no MTA-STS, unless the trouble is a [fault of this side](FetchError::Local).
    pub policy: Option<CachedPolicy>,
    /// What failed on the way, whether or not a policy applies.
    pub trouble: Option<Trouble>,
}

/// What to do after the record was looked up.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Discovered {
    /// Nothing: this applies.
    Done(StsAnswer),
    /// Fetch the policy, then call [`Cache::fetched`](super::Cache::fetched). Until then
    /// [`Cache::applies`](super::Cache::applies) says what applies.
    Fetch(Fetch),
    /// The same fetch is under way for another delivery; [`Cache::applies`](super::Cache::applies)
    /// says what applies before and after it.
    UnderWay,
}

/// A fetch to make: HTTPS GET of [`Fetch::url`], within [`FETCH_TIMEOUT`](super::FETCH_TIMEOUT).
///
/// The caller sees to it (RFC 8461, section 3.3) that the certificate leads to a public root, is
/// within its dates and has [`Fetch::host`] as a DNS-ID (the common name never counts); that
/// redirects are not followed and no HTTP cache is used; that no more than
/// [`MAX_BODY_LEN`](super::MAX_BODY_LEN) bytes and one are read; and that the response, whatever
/// its status, is read by [`PolicyText::from_response`](super::PolicyText::from_response), which
/// checks status, media type and size.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Fetch {
    pub(super) domain: Domain,
    pub(super) host: Domain,
    pub(super) id: PolicyId,
}

impl Fetch {
    /// The policy domain.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The policy host: the name to connect to, and the one that its certificate must have.
    pub fn host(&self) -> &Domain {
        &self.host
    }

    /// What to GET.
    pub fn url(&self) -> String {
        format!("https://{}{WELL_KNOWN_PATH}", self.host)
    }
}

/// What to change in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum StoreChange {
    /// Store this policy, instead of any older one of its domain.
    Save(CachedPolicy),
    /// Drop the policy of this domain.
    Remove(Domain),
}

/// The end of a fetch.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct FetchEnd {
    /// What applies now.
    pub answer: StsAnswer,
    /// What to change in the store: one change where a policy came, and one more where another had
    /// to give way.
    pub changes: Vec<StoreChange>,
}

/// What is due; see [`Cache::due`](super::Cache::due).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Due {
    /// Look up the record of this domain, and call [`Cache::refresh`](super::Cache::refresh).
    Refresh(Domain),
    /// The policy has expired and is gone: make this change in the store.
    Expired(StoreChange),
}
