//! One rule for NULs in bodies, for what a server takes and what a client sends.

use memchr::{memchr, memchr_iter};

use super::BodyDefect;

/// Whether a body may hold NULs. Client and server have the same rule by default, so that a relay
/// can send on what it has taken.
///
/// A NUL at the beginning of a line is refused under either rule: to a host that drops NULs, the
/// line begins with the next octet, and a dot there could end the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NulRule {
    /// NULs are carried like any other octet. RFC 5321, section 4.5.2: a message may contain any of
    /// the 128 ASCII characters, and all of them are delivered.
    #[default]
    Carry,
    /// A body with a NUL is refused. RFC 5322, section 4 forbids authors to write one, and neither
    /// 7bit nor 8bit data may hold it (RFC 2045, sections 2.7 and 2.8).
    Refuse,
}

/// Looks for NULs that the [`NulRule`] does not allow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NulChecker {
    rule: NulRule,
    at_line_start: bool,
    found: bool,
}

impl NulChecker {
    /// A checker at the first octet of a message.
    #[must_use]
    pub(crate) const fn new(rule: NulRule) -> Self {
        Self { rule, at_line_start: true, found: false }
    }

    /// Looks at the next octets of the message, without dot-stuffing.
    pub(crate) fn check(&mut self, bytes: &[u8]) {
        let Some(&last) = bytes.last() else { return };
        self.found |= match self.rule {
            NulRule::Refuse => memchr(0, bytes).is_some(),
            NulRule::Carry => memchr_iter(0, bytes).any(|at| match at.checked_sub(1) {
                None => self.at_line_start,
                Some(before) => bytes[before] == b'\n',
            }),
        };
        self.at_line_start = last == b'\n';
    }

    /// [`BodyDefect::Nul`] if there was a NUL that the rule refuses.
    #[must_use]
    pub(crate) const fn defect(&self) -> Option<BodyDefect> {
        if self.found { Some(BodyDefect::Nul) } else { None }
    }
}
