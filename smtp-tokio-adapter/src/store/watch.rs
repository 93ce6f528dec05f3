//! Says in the log when a store goes away, and when it is back.

use std::sync::atomic::{AtomicBool, Ordering};

use super::StoreError;

/// Whether a store was away at its last answer.
#[derive(Debug)]
pub(crate) struct StoreWatch {
    away: AtomicBool,
    /// What that means, for the log.
    consequence: &'static str,
}

impl StoreWatch {
    pub(crate) const fn new(consequence: &'static str) -> Self {
        Self { away: AtomicBool::new(false), consequence }
    }

    /// What the store answered. Says once that it is away, and once that it is back.
    pub(crate) fn said<T>(&self, answer: Result<T, StoreError>) -> Option<T> {
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
                    tracing::warn!(%error, "the store is away; {}", self.consequence);
                }
                None
            }
        }
    }
}
