//! The store of a sender: calls that never fail, because deliveries go on without it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use smtp_tls_policy::UnreadableRecord;
use smtp_tls_policy::plan::Broken;
use smtp_tls_policy::sts::CachedPolicy;
use tokio::sync::RwLock;
use tokio::time::Instant;

use super::lock;
use crate::store::{Store, WatchedStore};

/// Most changes that wait until the store is back. Our own choice, as for the caches in memory.
const MAX_UNSAVED: usize = 10_000;

/// A store, and what could not be written to it yet.
pub(super) struct Shared {
    store: WatchedStore,
    /// By key, with a number by which a newer change is told.
    unsaved: Mutex<BTreeMap<String, (u64, Change)>>,
    changes: AtomicU64,
    /// Taken for reading by a delivery that writes, and for writing by the flush: an old change
    /// never follows a new one.
    order: RwLock<()>,
}

/// A value and when it expires; `None` removes the record.
type Change = Option<(Vec<u8>, Instant)>;

/// Failed writes in a row after which a flush gives up: the store is away.
const MAX_FAILURES: usize = 3;

/// What the log says of a store that is away.
const AWAY: &str = "deliveries go on with what is in memory, a policy that only the store has \
                    counts as absent, and changes are written when it is back";

impl Shared {
    pub(super) fn new(store: Arc<impl Store + 'static>) -> Self {
        Self {
            store: WatchedStore::new(store, AWAY),
            unsaved: Mutex::default(),
            changes: AtomicU64::new(0),
            order: RwLock::new(()),
        }
    }

    /// The value of a key, if the store has one and is not away.
    pub(super) async fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.store.get(key).await
    }

    pub(super) async fn list(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        self.store.list(prefix).await.unwrap_or_default()
    }

    pub(super) async fn put(&self, key: String, value: Vec<u8>, lifetime: Duration) {
        // A lifetime past what the clock can count is cut to a year.
        let year = Duration::from_secs(366 * 24 * 60 * 60);
        self.change(key, Some((value, Instant::now() + lifetime.min(year)))).await;
    }

    pub(super) async fn remove(&self, key: String) {
        self.change(key, None).await;
    }

    /// Puts this value unless the store has one, and returns whether it did; `None` if the store is
    /// away.
    pub(super) async fn put_new(
        &self,
        key: &str,
        value: &[u8],
        lifetime: Duration,
    ) -> Option<bool> {
        self.store.put_new(key, value, lifetime).await
    }

    /// Deals with a record that cannot be read.
    pub(super) async fn unreadable(&self, key: &str, record: &[u8], why: UnreadableRecord) {
        let what = "a policy or a broken peer";
        let consequence = "this machine goes on as if it were not there";
        // If the store is away, it is dealt with when the record is read again.
        self.store.unreadable((key, record), why, what, consequence).await;
    }

    /// Writes what waits for the store. A change that fails goes on waiting and holds up no other,
    /// unless the store is away. If the future is dropped, what was not written goes on waiting.
    pub(super) async fn flush(&self) {
        loop {
            let begun = self.changes.load(Ordering::Relaxed);
            if !self.flush_once().await {
                return;
            }
            // A change that came meanwhile may be of a key that was past.
            if lock(&self.unsaved).values().all(|(number, _)| *number < begun) {
                return;
            }
        }
    }

    /// Writes each waiting change once. Whether the store is there to the end.
    async fn flush_once(&self) -> bool {
        let (mut done, mut failures) = (String::new(), 0);
        while failures < MAX_FAILURES {
            let _alone = self.order.write().await;
            let after = (Bound::Excluded(done.clone()), Bound::Unbounded);
            let next = lock(&self.unsaved)
                .range(after)
                .next()
                .map(|(key, (number, change))| (key.clone(), *number, change.clone()));
            let Some((key, number, change)) = next else { return true };
            match self.write(&key, &change).await {
                Some(()) => {
                    failures = 0;
                    self.written(&key, number);
                }
                None => failures += 1,
            }
            done = key;
        }
        false
    }

    /// Makes a change, or lets it wait: also if the future is dropped, and if the flush is under
    /// way, which writes it then.
    async fn change(&self, key: String, change: Change) {
        let number = self.changes.fetch_add(1, Ordering::Relaxed);
        {
            let mut unsaved = lock(&self.unsaved);
            if unsaved.len() < MAX_UNSAVED || unsaved.contains_key(&key) {
                unsaved.insert(key.clone(), (number, change.clone()));
            }
        }
        let Ok(_beside_others) = self.order.try_read() else { return };
        if self.write(&key, &change).await.is_some() {
            self.written(&key, number);
        }
    }

    /// The change of this number waits no longer.
    fn written(&self, key: &str, number: u64) {
        let mut unsaved = lock(&self.unsaved);
        if unsaved.get(key).is_some_and(|(newest, _)| *newest == number) {
            unsaved.remove(key);
        }
    }

    /// Makes a change in the store, unless the record there is one of a later version, which other
    /// machines may need.
    async fn write(&self, key: &str, change: &Change) -> Option<()> {
        if let Some(there) = self.store.read(key).await?
            && (CachedPolicy::is_newer(&there) || Broken::is_newer(&there))
        {
            self.unreadable(key, &there, UnreadableRecord::Newer).await;
            return Some(());
        }
        match change {
            Some((value, expires)) => match expires.checked_duration_since(Instant::now()) {
                Some(lifetime) => self.store.put(key, value, lifetime).await,
                None => Some(()),
            },
            None => self.store.remove(key).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::store::StoreError;

    /// A store that is away for the first write. Each later one ends only when it is let.
    struct Slow {
        writes: Mutex<Vec<String>>,
        may_end: Semaphore,
    }

    impl Store for Slow {
        async fn get(&self, _: &str) -> Result<Option<Vec<u8>>, StoreError> {
            Ok(None)
        }
        async fn put(&self, _: &str, value: &[u8], _: Duration) -> Result<(), StoreError> {
            let count = {
                let mut writes = lock(&self.writes);
                writes.push(String::from_utf8_lossy(value).into_owned());
                writes.len()
            };
            if count == 1 {
                return Err(StoreError::Away);
            }
            self.may_end.acquire().await.unwrap().forget();
            Ok(())
        }
        async fn put_new(&self, _: &str, _: &[u8], _: Duration) -> Result<bool, StoreError> {
            Ok(false)
        }
        async fn remove(&self, _: &str) -> Result<(), StoreError> {
            Ok(())
        }
        async fn list(&self, _: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
            Ok(Vec::new())
        }
    }

    async fn is_pending(future: &mut (impl Future<Output = ()> + Unpin)) -> bool {
        poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())).await
    }

    /// A change that is made while the flush writes an older one of the same key comes after it.
    #[tokio::test]
    async fn new_change_is_written_after_an_old_one_that_the_flush_is_writing() {
        let slow = Arc::new(Slow { writes: Mutex::default(), may_end: Semaphore::new(0) });
        let shared = Shared::new(Arc::clone(&slow));
        let writes = || lock(&slow.writes).clone();
        let put = |value: &str| shared.put("key".into(), value.into(), Duration::from_secs(60));
        put("old").await;
        let mut flushing = Box::pin(shared.flush());
        assert!(is_pending(&mut flushing).await);
        assert_eq!(writes(), ["old", "old"]);
        // No delivery waits for the flush.
        assert!(!is_pending(&mut Box::pin(put("new"))).await);
        assert_eq!(writes(), ["old", "old"], "the new change waits for the old one");
        slow.may_end.add_permits(2);
        flushing.await;
        assert_eq!(writes(), ["old", "old", "new"]);
        // Nothing waits any more: an old change does not follow the new one.
        shared.flush().await;
        assert_eq!(writes().len(), 3);
    }

    /// A change that waits for the store is replaced by a newer one of the same key.
    #[tokio::test]
    async fn new_change_that_is_written_ends_the_wait_of_the_old_one() {
        let slow = Arc::new(Slow { writes: Mutex::default(), may_end: Semaphore::new(9) });
        let shared = Shared::new(Arc::clone(&slow));
        for value in ["old", "new"] {
            shared.put("key".into(), value.into(), Duration::from_secs(60)).await;
        }
        shared.flush().await;
        assert_eq!(*lock(&slow.writes), ["old", "new"]);
    }
}
