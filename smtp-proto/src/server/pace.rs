//! How long a client may take, for each step and over the whole connection.

use std::time::{Duration, Instant};

use super::ServerConfig;
use super::replies;
use crate::timeouts::Phase;
use crate::timeouts::later;
use crate::wire::reply::Response;

/// The clocks of a connection. Those that run across many commands stand still while the caller has
/// an event.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the present wait began; absent until the next poll.
    since: Option<Instant>,
    /// When the client last completed a message.
    progress: Instant,
    /// When the caller was given an event.
    handed: Option<Instant>,
}

/// The clock of one message.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyClock {
    /// When the message began.
    began: Instant,
    /// Its octets on the wire so far.
    octets: u64,
}

impl BodyClock {
    /// Counts octets that have arrived; starts the clock if it does not run.
    pub(super) fn count(clock: &mut Option<Self>, octets: usize, now: Instant) {
        let clock = clock.get_or_insert(Self { began: now, octets: 0 });
        clock.octets = clock.octets.saturating_add(octets as u64);
    }

    /// Leaves out the time for which the caller had an event.
    pub(super) fn skip(&mut self, away: Duration) {
        self.began += away;
    }

    /// When the message has been too slow on average.
    fn deadline(&self, config: &ServerConfig) -> Option<Instant> {
        let seconds = self.octets.checked_div(config.limits.body_rate.into())?;
        Some(later(later(self.began, config.timeouts.body), Duration::from_secs(seconds)))
    }
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: Some(now), progress: now, handed: None }
    }

    /// The caller has an event now.
    pub(super) fn hand(&mut self, now: Instant) {
        self.handed = Some(now);
    }

    /// The caller is back: returns how long it was away.
    pub(super) fn resume(&mut self, now: Instant) -> Duration {
        let Some(handed) = self.handed.take() else { return Duration::ZERO };
        let away = now.saturating_duration_since(handed);
        self.progress += away;
        self.since = self.since.map(|since| since + away);
        away
    }

    /// The present wait begins again.
    pub(super) fn restart(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// The next wait begins with the next poll.
    pub(super) fn restart_at_next_poll(&mut self) {
        self.since = None;
    }

    /// When the present wait began; it begins now unless one is under way.
    pub(super) fn wait(&mut self, now: Instant) -> Instant {
        *self.since.get_or_insert(now)
    }

    /// When the present wait began.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// A message is complete.
    pub(super) fn on_message(&mut self, now: Instant) {
        self.progress = now;
    }
}

/// What a time limit depends on.
pub(super) struct Waiting {
    pub(super) phase: Phase,
    pub(super) since: Instant,
    /// The clock of the message that is under way.
    pub(super) body: Option<BodyClock>,
    /// What the client sends is read only to find its end.
    pub(super) refused: bool,
}

impl Pace {
    /// When the server gives up waiting, and its reply then.
    pub(super) fn deadline(&self, waiting: &Waiting, config: &ServerConfig) -> (Instant, Response) {
        let timeouts = &config.timeouts;
        let silent = timeouts.deadline(waiting.phase, waiting.since);
        let own = match waiting.phase {
            Phase::Body => (silent, replies::STALLED),
            Phase::Idle => (silent, replies::IDLE),
            _ => return (silent, replies::IDLE),
        };
        // A message under way counts as progress, also between two chunks; a chunk that is dropped
        // does not, since it may have 16 EiB.
        let brings_none = waiting.body.is_none() || waiting.refused;
        let idle =
            brings_none.then(|| (later(self.progress, timeouts.progress), replies::NO_PROGRESS));
        let slow = waiting
            .body
            .and_then(|clock| clock.deadline(config))
            .map(|deadline| (deadline, replies::TOO_SLOW));
        [Some(own), idle, slow]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
            .unwrap_or((silent, replies::IDLE))
    }
}
