//! A store that lives as long as its value.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{MAX_LISTED, Store, StoreError};

/// A store in memory: for tests, and for several senders of one process. It holds at most 100,000
/// records; a further one takes the place of the one that expires first.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Records>);

type Records = BTreeMap<String, (Vec<u8>, Instant)>;

const MAX_RECORDS: usize = 100_000;

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
        let records = self.lock();
        let record = records.get(key).filter(|(_, expires)| *expires > Instant::now());
        let value = record.map(|(value, _)| value.clone());
        Ok(value)
    }

    async fn put(&self, key: &str, value: &[u8], lifetime: Duration) -> Result<(), StoreError> {
        put(&mut self.lock(), key, value, lifetime);
        Ok(())
    }

    async fn put_new(
        &self,
        key: &str,
        value: &[u8],
        lifetime: Duration,
    ) -> Result<bool, StoreError> {
        let mut records = self.lock();
        let is_new = records.get(key).is_none_or(|(_, expires)| *expires <= Instant::now());
        if is_new {
            put(&mut records, key, value, lifetime);
        }
        Ok(is_new)
    }

    async fn remove(&self, key: &str) -> Result<(), StoreError> {
        self.lock().remove(key);
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let (now, records) = (Instant::now(), self.lock());
        let from = records.range(prefix.to_owned()..);
        let found = from
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(_, (_, expires))| *expires > now)
            .map(|(key, (value, _))| (key.clone(), value.clone()))
            .take(MAX_LISTED);
        Ok(found.collect())
    }
}

fn put(records: &mut Records, key: &str, value: &[u8], lifetime: Duration) {
    let now = Instant::now();
    if records.len() >= MAX_RECORDS && !records.contains_key(key) {
        records.retain(|_, (_, expires)| *expires > now);
        let first = records.iter().min_by_key(|(_, (_, expires))| *expires);
        if let Some(first) = first.map(|(key, _)| key.clone())
            && records.len() >= MAX_RECORDS
        {
            records.remove(&first);
        }
    }
    // A lifetime past what the clock can count is cut to a year.
    let year = Duration::from_secs(366 * 24 * 60 * 60);
    records.insert(key.to_owned(), (value.to_vec(), now + lifetime.min(year)));
}
