//! A store as its users call it: each call ends in time, and the log says when the store goes away,
//! when it is back, and which records cannot be read.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smtp_tls_policy::UnreadableRecord;
use tokio::time::Instant;

use super::named::Named;
use super::{DAMAGED, DAMAGED_KEPT_FOR, MAX_CALL_TIME, MAX_LIST_TIME, PAUSE, Store, StoreError};

/// The answer of a store to come.
type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A [`Store`] of any type.
trait AnyStore: Send + Sync {
    fn get<'a>(&'a self, key: &'a str) -> Pending<'a, Option<Vec<u8>>>;
    fn put<'a>(&'a self, key: &'a str, value: &'a [u8], lifetime: Duration) -> Pending<'a, ()>;
    fn put_new<'a>(&'a self, key: &'a str, value: &'a [u8], life: Duration) -> Pending<'a, bool>;
    fn remove<'a>(&'a self, key: &'a str) -> Pending<'a, ()>;
    fn list<'a>(&'a self, prefix: &'a str) -> Pending<'a, Vec<(String, Vec<u8>)>>;
}

impl<S: Store> AnyStore for S {
    fn get<'a>(&'a self, key: &'a str) -> Pending<'a, Option<Vec<u8>>> {
        Box::pin(Store::get(self, key))
    }
    fn put<'a>(&'a self, key: &'a str, value: &'a [u8], lifetime: Duration) -> Pending<'a, ()> {
        Box::pin(Store::put(self, key, value, lifetime))
    }
    fn put_new<'a>(&'a self, key: &'a str, value: &'a [u8], life: Duration) -> Pending<'a, bool> {
        Box::pin(Store::put_new(self, key, value, life))
    }
    fn remove<'a>(&'a self, key: &'a str) -> Pending<'a, ()> {
        Box::pin(Store::remove(self, key))
    }
    fn list<'a>(&'a self, prefix: &'a str) -> Pending<'a, Vec<(String, Vec<u8>)>> {
        Box::pin(Store::list(self, prefix))
    }
}

/// A store whose calls never fail, because its users go on without it.
pub(crate) struct WatchedStore {
    store: Arc<dyn AnyStore>,
    is_away: AtomicBool,
    /// Until when it is left alone, after a call that did not end in time.
    pause: Mutex<Option<Instant>>,
    /// Records of later versions that the log has named.
    newer: Named,
    /// What it means that the store is away, for the log.
    consequence: &'static str,
}

impl WatchedStore {
    pub(crate) fn new(store: Arc<impl Store + 'static>, consequence: &'static str) -> Self {
        Self {
            store,
            is_away: AtomicBool::new(false),
            pause: Mutex::new(None),
            newer: Named::default(),
            consequence,
        }
    }

    /// Deals with a record that cannot be read: one of a later version is named once and left
    /// alone, and a damaged one is named and set aside. `what` it is and the `consequence` are for
    /// the log.
    pub(crate) async fn unreadable(
        &self,
        (key, value): (&str, &[u8]),
        why: UnreadableRecord,
        what: &str,
        consequence: &str,
    ) -> Option<()> {
        match why {
            UnreadableRecord::Newer => {
                if self.newer.is_first(key) {
                    tracing::warn!(
                        key,
                        "a record in the store is of a later version of this program ({what}); it is \
                         left alone, and {consequence}"
                    );
                }
                Some(())
            }
            UnreadableRecord::Damaged => {
                let aside = format!("{DAMAGED}{key}");
                tracing::warn!(
                    key,
                    aside,
                    "a record in the store is damaged ({what}); it is set aside, and {consequence}"
                );
                self.put(&aside, value, DAMAGED_KEPT_FOR).await?;
                self.remove(key).await
            }
        }
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
                    let code = error.code();
                    tracing::warn!(code, %error, "the store is away; {}", self.consequence);
                }
                None
            }
        }
    }
}
