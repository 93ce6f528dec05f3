//! How TLS is tried, and whether MAIL carries REQUIRETLS.

#[cfg(doc)]
use crate::reason::Reason;
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

/// Whether MAIL carries the REQUIRETLS option (RFC 8689).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Requiretls {
    /// It does not.
    NotWanted,
    /// It does where the EHLO reply inside TLS offers it; elsewhere the message goes without.
    WhereOffered,
    /// It must: a host that does not offer it inside TLS gets QUIT and no mail, with 5.7.30
    /// ([`Reason::RequiretlsUnsupported`]).
    Needed,
}
