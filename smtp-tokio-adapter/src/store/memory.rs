//! A store that lives as long as its value.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{MAX_LISTED, Store, StoreError};

/// A store in memory: for tests, and for several senders of one process. It holds at most 100,000
/// records; a further one takes the place of the one that expires first.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Records>);

const MAX_RECORDS: usize = 100_000;

#[derive(Debug, Default)]
struct Records {
    by_key: BTreeMap<Arc<str>, (Vec<u8>, Instant)>,
    /// The keys, by what expires first.
    by_expiry: BTreeSet<(Instant, Arc<str>)>,
}

impl Records {
    /// The value of a key, unless it has expired.
    fn current(&self, key: &str) -> Option<&Vec<u8>> {
        let (value, expires) = self.by_key.get(key)?;
        (*expires > Instant::now()).then_some(value)
    }

    fn put(&mut self, key: &str, value: &[u8], lifetime: Duration) {
        self.remove(key);
        if self.by_key.len() >= MAX_RECORDS
            && let Some((_, first)) = self.by_expiry.pop_first()
        {
            self.by_key.remove(&first);
        }
        // A lifetime past what the clock can count is cut to a year.
        let year = Duration::from_secs(366 * 24 * 60 * 60);
        let (key, expires) = (Arc::from(key), Instant::now() + lifetime.min(year));
        self.by_expiry.insert((expires, Arc::clone(&key)));
        self.by_key.insert(key, (value.to_vec(), expires));
    }

    fn remove(&mut self, key: &str) {
        if let Some((key, (_, expires))) = self.by_key.remove_entry(key) {
            self.by_expiry.remove(&(expires, key));
        }
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        // The map is in order whenever the lock is free.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.lock().current(key).cloned())
    }

    async fn put(&self, key: &str, value: &[u8], lifetime: Duration) -> Result<(), StoreError> {
        self.lock().put(key, value, lifetime);
        Ok(())
    }

    async fn put_new(
        &self,
        key: &str,
        value: &[u8],
        lifetime: Duration,
    ) -> Result<bool, StoreError> {
        let mut records = self.lock();
        let is_new = records.current(key).is_none();
        if is_new {
            records.put(key, value, lifetime);
        }
        Ok(is_new)
    }

    async fn remove(&self, key: &str) -> Result<(), StoreError> {
        self.lock().remove(key);
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let (now, records) = (Instant::now(), self.lock());
        let from = records.by_key.range(Arc::from(prefix)..);
        let found = from
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(_, (_, expires))| *expires > now)
            .map(|(key, (value, _))| (key.to_string(), value.clone()))
            .take(MAX_LISTED);
        Ok(found.collect())
    }
}
