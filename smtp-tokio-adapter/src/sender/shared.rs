//! The store of a sender: calls that never fail, because deliveries go on without it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::lock;
use crate::store::{Store, StoreError};

/// Most changes that wait until the store is back. Our own choice, as for the caches in memory.
const MAX_UNSAVED: usize = 10_000;

/// A store, and what could not be written to it yet.
pub(super) struct Shared {
    store: Arc<dyn Store>,
    away: AtomicBool,
    unsaved: Mutex<BTreeMap<String, Change>>,
}

/// A value and when it expires; `None` removes the record.
type Change = Option<(Vec<u8>, Instant)>;

impl Shared {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, away: AtomicBool::new(false), unsaved: Mutex::default() }
    }

    /// The value of a key, if the store has one and is not away.
    pub(super) async fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.said(self.store.get(key).await).flatten()
    }

    pub(super) async fn list(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        self.said(self.store.list(prefix).await).unwrap_or_default()
    }

    pub(super) async fn put(&self, key: String, value: Vec<u8>, lifetime: Duration) {
        // A lifetime past what the clock can count is cut to a year.
        let year = Duration::from_secs(366 * 24 * 60 * 60);
        self.change(key, Some((value, Instant::now() + lifetime.min(year)))).await;
    }

    pub(super) async fn remove(&self, key: String) {
        self.change(key, None).await;
    }

    /// Writes what waits for the store, as long as that works.
    pub(super) async fn flush(&self) {
        loop {
            let Some((key, change)) = lock(&self.unsaved).pop_first() else { return };
            if !self.change(key, change).await {
                return;
            }
        }
    }

    /// Whether the change was made. Otherwise it waits.
    async fn change(&self, key: String, change: Change) -> bool {
        let done = match &change {
            Some((value, expires)) => match expires.checked_duration_since(Instant::now()) {
                Some(lifetime) => self.store.put(&key, value, lifetime).await,
                None => Ok(()),
            },
            None => self.store.remove(&key).await,
        };
        let mut unsaved = lock(&self.unsaved);
        match self.said(done) {
            Some(()) => {
                // An older change of this key must not come after this one.
                unsaved.remove(&key);
                true
            }
            None => {
                if unsaved.len() < MAX_UNSAVED || unsaved.contains_key(&key) {
                    unsaved.insert(key, change);
                }
                false
            }
        }
    }

    /// Says once that the store is away, and once that it is back.
    fn said<T>(&self, answer: Result<T, StoreError>) -> Option<T> {
        let was_away = self.away.swap(answer.is_err(), Ordering::Relaxed);
        match answer {
            Ok(value) => {
                if was_away {
                    tracing::info!("the store is back; what waited for it will be written");
                }
                Some(value)
            }
            Err(error) => {
                if !was_away {
                    tracing::warn!(
                        %error,
                        "the store is away; deliveries go on with what is in memory, and changes \
                         are written when it is back"
                    );
                }
                None
            }
        }
    }
}
