//! Which lists are fetched now, by one task each, and which must wait until they are fetched
//! again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pki_types::UnixTime;
use smtp_tls_policy::pki::{RootsId, WantedList};
use tokio::sync::{Semaphore, SemaphorePermit, watch};

/// The pause after a fetch that brought no newer list; it doubles with each failure.
const RETRY: Duration = Duration::from_secs(60);
/// The longest pause.
const MAX_RETRY: Duration = Duration::from_secs(3600);

type Key = (RootsId, Vec<String>);

/// The fetches that run, and the pauses after those that failed.
#[derive(Debug)]
pub(super) struct Fetching {
    state: Mutex<State>,
    /// How many fetches for deliveries that wait may still begin.
    slots: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    running: HashMap<Key, watch::Receiver<()>>,
    /// The lists that must wait. They are among the wanted ones, which are bounded.
    pauses: HashMap<Key, Pause>,
}

/// When a list may be fetched again, and how often it failed.
#[derive(Clone, Copy, Debug, Default)]
struct Pause {
    until: u64,
    failures: u32,
}

/// What a task that wants a list may do.
pub(super) enum Turn {
    /// It fetches the list.
    Lead(Lead),
    /// Another task fetches the list.
    Follow(Follow),
    /// No task fetches the list for now: the last fetch failed.
    Paused,
}

/// The right to fetch a list. Those that follow are woken when it is dropped.
pub(super) struct Lead {
    fetching: Arc<Fetching>,
    key: Key,
    end: watch::Sender<()>,
}

/// A fetch that another task makes.
pub(super) struct Follow(watch::Receiver<()>);

impl Fetching {
    pub(super) fn new(at_once: usize) -> Self {
        Self { state: Mutex::default(), slots: Semaphore::new(at_once) }
    }

    /// Decides which task fetches a list.
    pub(super) fn turn(self: &Arc<Self>, wanted: &WantedList, now: UnixTime) -> Turn {
        let key = key(wanted);
        let mut state = self.lock();
        if let Some(running) = state.running.get(&key) {
            return Turn::Follow(Follow(running.clone()));
        }
        if state.pauses.get(&key).is_some_and(|pause| pause.until > now.as_secs()) {
            return Turn::Paused;
        }
        let (end, running) = watch::channel(());
        state.running.insert(key.clone(), running);
        Turn::Lead(Lead { fetching: Arc::clone(self), key, end })
    }

    /// Waits until a further fetch may begin.
    pub(super) async fn slot(&self) -> Option<SemaphorePermit<'_>> {
        self.slots.acquire().await.ok()
    }

    /// Forgets the pauses of lists that are wanted no more.
    pub(super) fn keep_pauses(&self, wanted: &[WantedList]) {
        let keys: HashSet<_> = wanted.iter().map(key).collect();
        self.lock().pauses.retain(|key, _| keys.contains(key));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is in order whenever the lock is free.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead {
    /// The same fetch, for a task that waits for it.
    pub(super) fn follow(&self) -> Follow {
        Follow(self.end.subscribe())
    }

    /// The fetch has ended: decides when the list may be fetched again.
    pub(super) fn done(self, is_new: bool, now: UnixTime) {
        let mut state = self.fetching.lock();
        let before = state.pauses.get(&self.key).copied().unwrap_or_default().failures;
        let failures = if is_new { 0 } else { before.saturating_add(1) };
        let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = RETRY.saturating_mul(factor).min(MAX_RETRY);
        let until = now.as_secs().saturating_add(pause.as_secs());
        state.pauses.insert(self.key.clone(), Pause { until, failures });
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.fetching.lock().running.remove(&self.key);
    }
}

impl Follow {
    /// Waits for the end of the fetch, whatever it brought.
    pub(super) async fn over(&mut self) {
        // Nothing is ever sent: the end is that the sender is gone.
        while self.0.changed().await.is_ok() {}
    }
}

fn key(list: &WantedList) -> Key {
    (list.roots.clone(), list.urls.clone())
}
