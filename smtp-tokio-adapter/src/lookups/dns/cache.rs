//! Answers that are still valid, up to a number of bytes.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What an entry costs in the maps and the allocator, beside its key and value themselves.
const OVERHEAD: usize = 100;

/// Two generations: new entries go to the younger one, and when that holds half of the limit, the
/// older one is dropped and the younger one takes its place. An entry that is used again moves to
/// the younger one, so what is asked often stays.
pub(super) struct Cache<K, V> {
    limit: usize,
    generations: Mutex<Generations<K, V>>,
}

struct Generations<K, V> {
    young: HashMap<K, Entry<V>>,
    old: HashMap<K, Entry<V>>,
    young_bytes: usize,
}

struct Entry<V> {
    value: V,
    bytes: usize,
    expires: Instant,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// What an entry costs beside the bytes that it is charged with.
    const ENTRY: usize = OVERHEAD + size_of::<K>() + size_of::<Entry<V>>();

    /// Holds at most this many bytes; 0 keeps nothing.
    pub(super) fn new(limit: usize) -> Self {
        let generations =
            Generations { young: HashMap::new(), old: HashMap::new(), young_bytes: 0 };
        Self { limit, generations: Mutex::new(generations) }
    }

    pub(super) fn find(&self, key: &K) -> Option<V> {
        let mut generations = self.lock();
        let now = Instant::now();
        if let Some(entry) = generations.young.get(key) {
            return (now < entry.expires).then(|| entry.value.clone());
        }
        let (key, entry) = generations.old.remove_entry(key)?;
        let value = (now < entry.expires).then(|| entry.value.clone())?;
        generations.put(key, entry, self.limit / 2);
        Some(value)
    }

    /// Keeps a value that needs `bytes` beside what any value needs.
    pub(super) fn keep(&self, key: K, value: V, bytes: usize, time: Duration) {
        let bytes = bytes.saturating_add(Self::ENTRY);
        let Some(expires) = Instant::now().checked_add(time) else { return };
        if !time.is_zero() && bytes <= self.limit / 2 {
            self.lock().put(key, Entry { value, bytes, expires }, self.limit / 2);
        }
    }

    pub(super) fn clear(&self) {
        let mut generations = self.lock();
        generations.young.clear();
        generations.old.clear();
        generations.young_bytes = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Generations<K, V>> {
        // The maps are in order whenever the lock is free.
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, V> Generations<K, V> {
    fn put(&mut self, key: K, entry: Entry<V>, limit: usize) {
        if self.young_bytes + entry.bytes > limit {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.old.remove(&key);
        self.young_bytes += entry.bytes;
        if let Some(replaced) = self.young.insert(key, entry) {
            self.young_bytes -= replaced.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const ENTRY: usize = Cache::<u32, ()>::ENTRY;

    #[test]
    fn ten_thousand_entries_stay_within_the_limit_and_the_one_in_use_stays() {
        let cache = Cache::new(100 * ENTRY);
        cache.keep(u32::MAX, (), 0, HOUR);
        for key in 0..10_000 {
            cache.keep(key, (), 0, HOUR);
            assert!(cache.find(&u32::MAX).is_some(), "{key}");
        }
        let generations = cache.lock();
        assert!(generations.young.len() + generations.old.len() <= 100);
        assert_eq!(generations.young_bytes, generations.young.len() * ENTRY);
    }

    #[test]
    fn an_expired_entry_is_not_found() {
        let cache = Cache::new(100 * ENTRY);
        cache.keep(1, (), 0, Duration::from_millis(1));
        std::thread::sleep(Duration::from_millis(5));
        assert!(cache.find(&1).is_none());
    }

    #[test]
    fn an_entry_larger_than_half_of_the_limit_is_not_kept() {
        let cache = Cache::new(100 * ENTRY);
        cache.keep(1, (), 60 * ENTRY, HOUR);
        assert!(cache.find(&1).is_none());
    }

    #[test]
    fn a_limit_of_zero_keeps_nothing() {
        let cache = Cache::new(0);
        cache.keep(1, (), 0, HOUR);
        assert!(cache.find(&1).is_none());
    }
}
