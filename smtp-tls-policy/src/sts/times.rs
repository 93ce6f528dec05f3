//! Refresh and back-off intervals (RFC 8461, section 3.3).

use std::time::Duration;

/// How often a policy is fetched again although its id is the same: once a day, as RFC 8461,
/// section 3.3 suggests.
///
/// A policy must be fetched again before it expires. So one that lives less than two days is
/// fetched again in the middle of its life. One that lives less than twice [`REFRESH_RETRY`] is
/// not: it would cost more fetches than deliveries.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// How long after a failed fetch the same version of a policy is left alone (RFC 8461, section 3.3:
/// "five minutes or longer per version ID").
pub const FETCH_BACKOFF: Duration = Duration::from_secs(5 * 60);
/// How long after a refresh was asked for, and nothing came of it, the next one is asked for. Our
/// own choice.
pub const REFRESH_RETRY: Duration = Duration::from_secs(60 * 60);
