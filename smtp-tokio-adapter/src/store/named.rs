//! What the log has spoken of, so that it says each thing once.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Most names that are kept. After that some things are said once more.
const MAX_NAMED: usize = 1000;

/// Names of what the log has spoken of.
#[derive(Debug, Default)]
pub(super) struct Named(Mutex<BTreeSet<String>>);

impl Named {
    /// Whether the log has not spoken of this yet. From now on it has.
    pub(super) fn is_first(&self, name: &str) -> bool {
        // The set is in order whenever the lock is free.
        let mut named = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if named.len() >= MAX_NAMED {
            named.clear();
        }
        named.insert(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_said_once_and_few_are_kept() {
        let named = Named::default();
        assert!(named.is_first("a"));
        assert!(!named.is_first("a"));
        assert!(named.is_first("b"));
        for number in 0..10 * MAX_NAMED {
            assert!(named.is_first(&number.to_string()));
        }
        assert!(named.0.lock().unwrap().len() <= MAX_NAMED);
    }
}
