//! Which fetches are under way, and which failed a short while ago.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use pki_types::UnixTime;

use super::fetch::{FETCH_TIMEOUT, FetchError};
use super::times::FETCH_BACKOFF;
use super::txt::PolicyId;
use crate::domain::Domain;

/// How a fetch stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attempt {
    /// It began less than [`FETCH_TIMEOUT`] ago.
    UnderWay,
    /// It failed less than [`FETCH_BACKOFF`] ago.
    Failed(FetchError),
}

/// The last attempt of each domain, bounded: where there is no room the oldest goes, at the price
/// of a fetch too many.
#[derive(Debug)]
pub(super) struct Attempts {
    limit: usize,
    last: HashMap<Domain, (PolicyId, Attempt, UnixTime)>,
    by_time: BTreeSet<(UnixTime, Domain)>,
}

impl Attempts {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, last: HashMap::new(), by_time: BTreeSet::new() }
    }

    /// The attempt at this version of the policy, as long as it counts.
    pub(super) fn find(&self, domain: &Domain, id: &PolicyId, now: UnixTime) -> Option<Attempt> {
        let (last_id, attempt, time) = self.last.get(domain)?;
        let lasts = match attempt {
            Attempt::UnderWay => FETCH_TIMEOUT,
            Attempt::Failed(_) => FETCH_BACKOFF,
        };
        // Neither does an attempt count that a clock set back has put into the future.
        let age = now.as_secs().checked_sub(time.as_secs()).map(Duration::from_secs)?;
        (last_id == id && age < lasts).then_some(*attempt)
    }

    pub(super) fn began(&mut self, domain: &Domain, id: &PolicyId, now: UnixTime) {
        self.set(domain, id, Attempt::UnderWay, now);
    }

    pub(super) fn failed(
        &mut self,
        domain: &Domain,
        id: &PolicyId,
        error: FetchError,
        now: UnixTime,
    ) {
        self.set(domain, id, Attempt::Failed(error), now);
    }

    /// It succeeded, or was given up: nothing is held against the next one.
    pub(super) fn ended(&mut self, domain: &Domain) {
        if let Some((_, _, time)) = self.last.remove(domain) {
            self.by_time.remove(&(time, domain.clone()));
        }
    }

    fn set(&mut self, domain: &Domain, id: &PolicyId, attempt: Attempt, now: UnixTime) {
        self.ended(domain);
        if self.last.len() >= self.limit {
            match self.by_time.pop_first() {
                Some((_, oldest)) => self.last.remove(&oldest),
                None => return,
            };
        }
        self.by_time.insert((now, domain.clone()));
        self.last.insert(domain.clone(), (id.clone(), attempt, now));
    }
}
