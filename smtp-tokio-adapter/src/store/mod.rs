//! What senders remember beyond a process, and share between hosts: MTA-STS policies, peers whose
//! TLS is broken, and the counts of TLS reports.
//!
//! A [`Store`] holds small records, each with an expiry. [`MemoryStore`] forgets with the process,
//! [`FileStore`] outlives it, and `RedisStore` (feature `redis`) serves many hosts: a policy that
//! one of them fetched protects the mail of all, also where an attacker keeps the others from
//! the policy (RFC 8461, section 10.2).
//!
//! [`Sender::with_store`](crate::Sender::with_store) takes one, and so does
//! [`SharedCounts`](crate::tls_reports::SharedCounts). Deliveries never depend on it. If it is
//! away, they go on with what is in memory; what could not be written is written when it is back.
//!
//! A call that takes longer than [`MAX_CALL_TIME`] is given up, and for five seconds no other one
//! is made: a store that does not answer delays a delivery once. A store that answers each call
//! just in time delays it by the calls that it makes one after the other: one for the policy of
//! the domain, two to write a policy that was fetched, and for each host `MAX_CALL_TIME` for what
//! is known of its addresses. What the delivery has shown of each peer is written in two calls
//! after the outcomes of the recipients are known.
//!
//! [`Sender::refresh`](crate::Sender::refresh) looks whether the store still has the policies that
//! are in memory. A store that came back empty gets them again, so that they protect the mail of
//! the others before they are next fetched.
//!
//! While it is away, policies that another process has fetched since this sender started are not
//! known. Mail to their domains goes as MTA-STS prescribes for a first contact. The policies that
//! this process has used are in its memory, and it read those of the others when it started. The
//! log has a warning when the store goes away, and a line when it is back.
//!
//! Each record begins with the version of its form. So a fleet may be updated one machine at a
//! time: a machine that does not know the version of a record says so once, leaves the record
//! alone, and goes on as if there were none. A record that is damaged is named in the log, and set
//! aside for a week under a key that begins with `damaged/`.
//!
//! What is in a store is believed. A writer to it could plant policies, and could make mail to
//! hosts without a TLS requirement go in clear text.

mod file;
mod memory;
mod named;
#[cfg(feature = "redis")]
mod redis;
mod walk;
mod watch;

use std::io;
use std::time::Duration;

pub use self::file::FileStore;
pub use self::memory::MemoryStore;
#[cfg(feature = "redis")]
pub use self::redis::{DEFAULT_REDIS_TIMEOUT, RedisStore};
pub(crate) use self::watch::WatchedStore;

/// Longest value of a record, in octets: an MTA-STS policy of the longest kind has some more than
/// 64 KiB. Longer ones are damaged.
pub const MAX_VALUE_LEN: usize = 128 << 10;
/// Most records that [`Store::list`] gives. Our own choice, as for the caches in memory.
pub const MAX_LISTED: usize = 10_000;

/// How long a call of a [`Store`] may take, other than [`Store::list`]: then it is dropped, and the
/// store counts as away. Our own choice: a delivery waits that long once, unless the store answers
/// late (see the [module](self)).
pub const MAX_CALL_TIME: Duration = Duration::from_secs(10);
/// How long [`Store::list`] may take. Our own choice: a sender waits for it when it starts, and no
/// delivery does.
pub const MAX_LIST_TIME: Duration = Duration::from_secs(60);
/// How long a store that did not answer is left alone, so that not each delivery waits for it.
const PAUSE: Duration = Duration::from_secs(5);
/// What the key of a damaged record begins with, once it is set aside.
const DAMAGED: &str = "damaged/";
/// How long a damaged record is kept, for an administrator to look at. Our own choice.
const DAMAGED_KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Holds small records with an expiry. Keys are ASCII text without spaces and control characters,
/// at most 400 octets long; values have at least one octet, and at most [`MAX_VALUE_LEN`].
///
/// A call that takes longer than [`MAX_CALL_TIME`], or [`MAX_LIST_TIME`], is dropped, and for five
/// seconds none is made. What a dropped call was to write may be in the store or not.
pub trait Store: Send + Sync {
    /// The value of this key; `None` if there is none, or it has expired or is damaged.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;

    /// Puts this value in place of any other of the key, for this time.
    fn put(
        &self,
        key: &str,
        value: &[u8],
        lifetime: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Puts this value unless the key has one, and returns whether it did. Of several calls at once
    /// one puts its value, whichever machine makes them.
    fn put_new(
        &self,
        key: &str,
        value: &[u8],
        lifetime: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Removes the record of this key, if there is one.
    fn remove(&self, key: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Keys that begin with this text, and their values; at most [`MAX_LISTED`].
    fn list(
        &self,
        prefix: &str,
    ) -> impl Future<Output = Result<Vec<(String, Vec<u8>)>, StoreError>> + Send;
}

/// Why a store does not do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system failed.
    #[error("the store's file system failed: {0}")]
    Io(#[from] io::Error),
    /// The server of the store failed or cannot be reached.
    #[error("the server of the store failed: {0}")]
    Server(String),
    /// The store did not answer in time, or not a moment ago.
    #[error("the store does not answer")]
    Away,
}

impl StoreError {
    /// A short word for logs and metrics. It does not change between versions.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "store-io",
            Self::Server(_) => "store-server",
            Self::Away => "store-away",
        }
    }
}
