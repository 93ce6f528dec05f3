//! MTA-STS (RFC 8461): the record, the policy, the rules of its fetch, and the cache.

mod fetch;
mod policy;
mod txt;

pub use fetch::{FETCH_TIMEOUT, FetchError, MAX_BODY_LEN, Response, WELL_KNOWN_PATH, is_text_plain, policy_host};
pub use policy::{MAX_MAX_AGE, MAX_POLICY_LEN, Mode, MxPattern, Policy, PolicyError};
pub use txt::{MAX_ID_LEN, PolicyId, RECORD_VERSION, Record, record_name};
