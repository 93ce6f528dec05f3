//! A store as its users call it: each call ends in time, and the log says when the store goes away
//! and when it is back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{MAX_CALL_TIME, MAX_LIST_TIME, PAUSE, Pending, Store, StoreError};

/// A store whose calls never fail, because its users go on without it.
pub(crate) struct WatchedStore {
    store: Arc<dyn Store>,
    is_away: AtomicBool,
    /// Until when it is left alone, after a call that did not end in time.
    pause: Mutex<Option<Instant>>,
    /// What it means that the store is away, for the log.
    consequence: &'static str,
}

impl WatchedStore {
    pub(crate) const fn new(store: Arc<dyn Store>, consequence: &'static str) -> Self {
        Self { store, is_away: AtomicBool::new(false), pause: Mutex::new(None), consequence }
    }

    /// The value of this key; `None` also if the store is away.
    pub(crate) async fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.read(key).await.flatten()
    }

    /// The value of this key. `None` if the store is away, as in each call below.
    pub(crate) async fn read(&self, key: &str) -> Option<Option<Vec<u8>>> {
        self.within(MAX_CALL_TIME, self.store.get(key)).await
    }

    pub(crate) async fn put(&self, key: &str, value: &[u8], lifetime: Duration) -> Option<()> {
        self.within(MAX_CALL_TIME, self.store.put(key, value, lifetime)).await
    }

    pub(crate) async fn put_new(
        &self,
        key: &str,
        value: &[u8],
        lifetime: Duration,
    ) -> Option<bool> {
        self.within(MAX_CALL_TIME, self.store.put_new(key, value, lifetime)).await
    }

    pub(crate) async fn remove(&self, key: &str) -> Option<()> {
        self.within(MAX_CALL_TIME, self.store.remove(key)).await
    }

    pub(crate) async fn list(&self, prefix: &str) -> Option<Vec<(String, Vec<u8>)>> {
        self.within(MAX_LIST_TIME, self.store.list(prefix)).await
    }

    async fn within<T>(&self, limit: Duration, call: Pending<'_, T>) -> Option<T> {
        let answer = match self.is_left_alone() {
            true => Err(StoreError::Away),
            false => match tokio::time::timeout(limit, call).await {
                Ok(answer) => answer,
                Err(_) => {
                    *self.pause() = Some(Instant::now() + PAUSE);
                    Err(StoreError::Away)
                }
            },
        };
        self.said(answer)
    }

    fn is_left_alone(&self) -> bool {
        self.pause().is_some_and(|until| Instant::now() < until)
    }

    fn pause(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        // It is in order whenever the lock is free.
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the store answered. Says once that it is away, and once that it is back.
    fn said<T>(&self, answer: Result<T, StoreError>) -> Option<T> {
        let was_away = self.is_away.swap(answer.is_err(), Ordering::Relaxed);
        match answer {
            Ok(value) => {
                if was_away {
                    tracing::info!("the store is back; what waited for it will be written");
                }
                Some(value)
            }
            Err(error) => {
                if !was_away {
                    tracing::warn!(%error, "the store is away; {}", self.consequence);
                }
                None
            }
        }
    }
}
