//! How long a client may take, whatever it does meanwhile.

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
    /// When the client has last brought a message forward.
    progress: Instant,
    /// When the body began, and its octets on the wire so far; none between bodies.
    body: Option<(Instant, u64)>,
    /// When the caller was given an event.
    handed: Option<Instant>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { progress: now, body: None, handed: None }
    }

    /// The caller has an event now.
    pub(super) fn hand(&mut self, now: Instant) {
        self.handed = Some(now);
    }

    /// The caller is back: how long it was away.
    pub(super) fn resume(&mut self, now: Instant) -> Duration {
        let Some(handed) = self.handed.take() else { return Duration::ZERO };
        let away = now.saturating_duration_since(handed);
        self.progress += away;
        if let Some((began, _)) = &mut self.body {
            *began += away;
        }
        away
    }

    /// Octets of a body have come, or it has begun.
    pub(super) fn on_body(&mut self, octets: usize, now: Instant) {
        let (_, total) = self.body.get_or_insert((now, 0));
        *total += octets as u64;
    }

    /// A message has come to its end.
    pub(super) fn on_message(&mut self, now: Instant) {
        *self = Self { handed: self.handed, ..Self::new(now) };
    }

    /// The transaction is over without a message.
    pub(super) fn forget_body(&mut self) {
        self.body = None;
    }

    /// When the patience ends with a phase that has lasted since then, and what is said about it.
    /// `refused`: what comes is read only to find its end.
    pub(super) fn deadline(
        &self,
        phase: Phase,
        since: Instant,
        refused: bool,
        config: &ServerConfig,
    ) -> (Instant, Response) {
        let timeouts = &config.timeouts;
        let silent = timeouts.deadline(phase, since);
        let slow = self.body.and_then(|(began, octets)| {
            let seconds = octets.checked_div(config.limits.body_rate.into())?;
            Some(later(later(began, timeouts.body), Duration::from_secs(seconds)))
        });
        let own = match phase {
            Phase::Body => (silent, replies::STALLED),
            Phase::Idle => (silent, replies::IDLE),
            _ => return (silent, replies::IDLE),
        };
        // A body that is under way is progress enough, also between two chunks; but a chunk of 16
        // EiB that nobody wants is not.
        let brings_none = self.body.is_none() || refused;
        let idle =
            brings_none.then(|| (later(self.progress, timeouts.progress), replies::NO_PROGRESS));
        let slow = slow.map(|at| (at, replies::TOO_SLOW));
        [Some(own), idle, slow]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
            .unwrap_or((silent, replies::IDLE))
    }
}
