//! How TLS is tried.

#[cfg(doc)]
use crate::rules::posture::Floor;

/// How TLS is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Attempt {
    /// Not at all; the floor is [`Floor::Plaintext`].
    Clear,
    /// By STARTTLS, where it is offered.
    StartTls,
    /// From the first byte (RFC 8314); the floor is at least [`Floor::Encrypted`], and nothing
    /// falls back from it.
    Implicit,
}
