//! Connections kept for further messages.
//!
//! A delivery asks for a [`Slot`]: its turn, with a kept connection of an equal
//! [`ReuseKey`] if there is one, otherwise with leave to open one. The slot is
//! given back with the connection, or without it.

mod limits;
mod state;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use smtp_tls_policy::Host;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::Instrument;

pub use self::limits::PoolLimits;
pub(crate) use self::state::Terms;
use self::state::{Answer, State};
use crate::client::connection::Connection;
use crate::client::reuse::ReuseKey;
use crate::metering::{self, PoolLimit};

/// Boxed, because it goes from hand to hand.
type Open = Box<Connection<TcpStream>>;
/// A connection that has carried messages, or is about to.
pub(crate) type Kept = state::Kept<Open>;
type Books = State<Open, oneshot::Sender<Slot>>;

/// Too many deliveries wait for a connection, or this one has waited too long.
pub(crate) struct Congested;

/// Opens no more connections than its limits say, and keeps those that may carry another message.
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    books: Mutex<Books>,
    /// Connections that are saying QUIT.
    quits: watch::Sender<usize>,
}

/// The pool from which connections come, and the next hop for which they are kept.
#[derive(Clone, Copy)]
pub(crate) struct KeptFor<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) next_hop: &'a Host,
}

/// The turn of one delivery. Another one has its turn when this is dropped.
pub(crate) struct Slot {
    shared: Arc<Shared>,
    key: Arc<ReuseKey>,
    kept: Option<Kept>,
}

impl Pool {
    pub(crate) fn new(limits: PoolLimits) -> Self {
        let books = Mutex::new(State::new(limits));
        Self(Arc::new(Shared { books, quits: watch::Sender::new(0) }))
    }

    /// A key that finds its connections quickly: the one that they have, if it is equal.
    pub(crate) fn key(&self, key: ReuseKey) -> Arc<ReuseKey> {
        self.0.with(|books| books.known(&key)).unwrap_or_else(|| Arc::new(key))
    }

    /// Waits for a turn.
    pub(crate) async fn slot(&self, key: Arc<ReuseKey>) -> Result<Slot, Congested> {
        let mut woken = None;
        let (answer, patience) = self.0.with(|books| {
            let answer = books.ask(&key, Instant::now(), || {
                let (wake, receiver) = oneshot::channel();
                woken = Some(receiver);
                wake
            });
            (answer, books.limits().patience)
        });
        let (number, woken) = match (answer, woken) {
            (Answer::Turn(kept), _) => {
                return Ok(Slot { shared: Arc::clone(&self.0), key, kept });
            }
            (Answer::Wait(number), Some(woken)) => (number, woken),
            (Answer::Wait(_) | Answer::Full, _) => {
                metering::pool_refused(PoolLimit::Waiting);
                return Err(Congested);
            }
        };
        let waiting = Waiting { shared: &self.0, key: &key, number };
        let slot = tokio::time::timeout(patience, woken).await;
        drop(waiting);
        if slot.is_err() {
            metering::pool_refused(PoolLimit::Patience);
        }
        slot.map_err(|_| Congested)?.map_err(|_| Congested)
    }

    /// Says QUIT on every idle connection, and keeps none from now on. Returns once each of them,
    /// and each that was saying QUIT already, is closed.
    pub(crate) async fn close(&self) {
        self.0.with(State::close);
        let mut quits = self.0.quits.subscribe();
        // The sender is in the pool itself.
        let _: Result<_, _> = quits.wait_for(|&quits| quits == 0).await;
    }
}

impl Slot {
    /// The kept connection that comes with the turn.
    pub(crate) fn take(&mut self) -> Option<Kept> {
        self.kept.take()
    }

    /// A connection that may carry another message, to be given back with the turn.
    pub(crate) fn keep(&mut self, kept: Kept) {
        self.kept = Some(kept);
    }

    /// Says QUIT beside the deliveries.
    pub(crate) fn quit(&self, connection: Open) {
        self.shared.quit(connection);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let kept = self.kept.take();
        let grants = self.shared.with(|books| {
            let grants = books.give_back(&self.key, kept, Instant::now());
            // Without a runtime nothing closes idle connections but their number.
            if books.has_idle()
                && !books.has_reaper
                && let Ok(runtime) = Handle::try_current()
            {
                books.has_reaper = true;
                let shared = Arc::downgrade(&self.shared);
                runtime.spawn(reap(Reaping { shared, is_done: false }));
            }
            grants
        });
        for grant in grants {
            let (shared, key) = (Arc::clone(&self.shared), grant.key);
            // A delivery that was given up meanwhile drops its slot, and the next one has its turn.
            drop(grant.wake.send(Slot { shared, key, kept: grant.kept }));
        }
    }
}

impl Shared {
    /// Changes the books, and says QUIT where they have dropped a connection.
    fn with<T>(&self, change: impl FnOnce(&mut Books) -> T) -> T {
        // The books are in order whenever their lock is free: nothing in them panics half-way.
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let before = books.counts();
        let result = change(&mut books);
        let after = books.counts();
        let leaving = std::mem::take(&mut books.leaving);
        drop(books);
        metering::pool_changed(before, after);
        for connection in leaving {
            self.quit(connection);
        }
        result
    }

    fn quit(&self, connection: Open) {
        // Without a runtime the socket is closed.
        let Ok(runtime) = Handle::try_current() else { return };
        let quitting = Quitting::new(self.quits.clone());
        let quit = async move {
            connection.quit().await;
            drop(quitting);
        };
        runtime.spawn(quit.in_current_span());
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.with(State::close);
    }
}

/// A connection that is saying QUIT.
struct Quitting(watch::Sender<usize>);

impl Quitting {
    fn new(quits: watch::Sender<usize>) -> Self {
        quits.send_modify(|quits| *quits += 1);
        Self(quits)
    }
}

impl Drop for Quitting {
    fn drop(&mut self) {
        self.0.send_modify(|quits| *quits = quits.saturating_sub(1));
    }
}

/// A delivery that waits for its turn.
struct Waiting<'a> {
    shared: &'a Shared,
    key: &'a ReuseKey,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.with(|books| books.give_up(self.key, self.number));
    }
}

/// A task that closes connections whose time is over. If its runtime ends, even before the task has
/// begun, another one begins with the next connection that is kept.
struct Reaping {
    shared: Weak<Shared>,
    is_done: bool,
}

impl Drop for Reaping {
    fn drop(&mut self) {
        let shared = self.shared.upgrade().filter(|_| !self.is_done);
        if let Some(shared) = shared {
            shared.with(|books| books.has_reaper = false);
        }
    }
}

/// Closes connections whose time is over, until none is open.
async fn reap(mut reaping: Reaping) {
    loop {
        let Some(shared) = reaping.shared.upgrade() else { return };
        let next = shared.with(|books| {
            let next = books.expire(Instant::now());
            books.has_reaper = next.is_some();
            next
        });
        drop(shared);
        match next {
            Some(next) => tokio::time::sleep_until(next).await,
            None => {
                reaping.is_done = true;
                return;
            }
        }
    }
}
