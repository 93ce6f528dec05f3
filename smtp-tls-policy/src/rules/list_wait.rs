//! How long a delivery waits for revocation lists.

use std::time::Duration;

/// How long a delivery waits for missing revocation lists, unless a connector says otherwise.
pub const DEFAULT_LIST_WAIT: Duration = Duration::from_secs(5);

/// The longest such wait. The delivery has a turn among the connections to its host meanwhile.
pub const MAX_LIST_WAIT: Duration = Duration::from_secs(60);
