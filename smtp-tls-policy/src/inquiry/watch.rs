//! Notices a resolver that does not validate.

use crate::plan::facts::DnsStatus;

/// Number of answers without a single secure one after which a resolver is taken not to validate.
/// The root, `com`, `net`, `org` and most country codes are signed, so that some denial or
/// delegation among so many would be secure.
pub const SILENT_AFTER: u64 = 1000;

/// Notices a resolver that does not validate.
///
/// With such a resolver each answer is `Insecure`, which looks like a world without DANE. Show it
/// each answer, and warn when [`is_silent`](Self::is_silent).
#[derive(Clone, Debug, Default)]
pub struct ValidationWatch {
    answers: u64,
    secure: u64,
}

impl ValidationWatch {
    /// Counts an answer.
    pub fn saw(&mut self, status: DnsStatus) {
        self.answers = self.answers.saturating_add(1);
        if status == DnsStatus::Secure {
            self.secure = self.secure.saturating_add(1);
        }
    }

    /// Whether at least [`SILENT_AFTER`] answers came and none was secure.
    pub fn is_silent(&self) -> bool {
        self.answers >= SILENT_AFTER && self.secure == 0
    }
}
