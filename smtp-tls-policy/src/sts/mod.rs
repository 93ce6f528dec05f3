//! MTA-STS (RFC 8461): the record, the policy, the rules of its fetch, and the cache.
//!
//! - [`PolicyId::find`] reads the TXT records, [`PolicyText::from_response`] the HTTPS response,
//!   [`PolicyText::parse`] the policy alone.
//! - [`Cache`] decides what applies now and what to fetch. It does no I/O.
//! - A policy outlives the process as a record of a store ([`CachedPolicy::to_record`]).

mod attempts;
mod cache;
mod fetch;
pub(crate) mod messages;
pub(crate) mod policy;
mod record;
mod times;
mod txt;

pub use cache::Cache;
pub use fetch::{
    FETCH_TIMEOUT, FetchError, MAX_BODY_LEN, WELL_KNOWN_PATH, is_text_plain, policy_host,
};
pub use messages::{
    CachedPolicy, Discovered, Due, Fetch, FetchEnd, StoreChange, StsAnswer, Trouble,
};
pub use policy::{MAX_MAX_AGE, MAX_POLICY_LEN, Mode, PolicyError, PolicyText};
pub use times::{FETCH_BACKOFF, REFRESH_INTERVAL, REFRESH_RETRY};
pub use txt::{MAX_ID_LEN, PolicyId, RECORD_VERSION, record_name};
