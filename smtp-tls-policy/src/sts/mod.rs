//! MTA-STS (RFC 8461): the record, the policy, the rules of its fetch, and the cache.
//!
//! - [`StsRecord::find`] reads the TXT records, [`PolicyText::parse`] the policy,
//!   [`PolicyResponse::policy`] the HTTPS response.
//! - [`Cache`] decides what applies now and what to fetch. It does no I/O.
//! - A policy outlives the process as a record of a store ([`CachedPolicy::to_record`]).

mod attempts;
mod cache;
pub(crate) mod fact;
mod fetch;
mod messages;
pub(crate) mod policy;
mod record;
mod times;
mod txt;

pub use cache::{Cache, CacheLimits};
pub use fact::{StsFact, StsFailure, StsPolicy};
pub use fetch::{
    FETCH_TIMEOUT, FetchError, MAX_BODY_LEN, PolicyResponse, WELL_KNOWN_PATH, is_text_plain,
    policy_host,
};
pub use messages::{
    CachedPolicy, Discovered, DiscoveryError, Due, Fetch, FetchEnd, StoreChange, StsAnswer, Trouble,
};
pub use policy::{MAX_MAX_AGE, MAX_POLICY_LEN, Mode, PolicyError, PolicyText};
pub use times::{FETCH_BACKOFF, REFRESH_INTERVAL, REFRESH_RETRY};
pub use txt::{MAX_ID_LEN, PolicyId, RECORD_VERSION, StsRecord, record_name};
