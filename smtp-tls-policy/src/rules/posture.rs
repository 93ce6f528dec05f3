//! Floors, weights and fallback rules, and the named presets of them.

use std::fmt;

/// The minimum protection of a connection before mail goes over it. Sources of a plan raise it;
/// none lowers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Floor {
    /// Clear text is enough.
    Plaintext,
    /// TLS with any peer.
    Encrypted,
    /// TLS with a peer that passed at least one check of weight [`Weight::Refuse`].
    Authenticated,
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plaintext => "plaintext",
            Self::Encrypted => "encrypted",
            Self::Authenticated => "authenticated",
        })
    }
}

/// What a failed check means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Weight {
    /// Nothing: the failure is recorded.
    Recorded,
    /// The connection does not count as TLS: it is dropped, and the fallback rules decide.
    NotTls,
    /// The host is refused.
    Refuse,
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Recorded => "recorded",
            Self::NotTls => "not-tls",
            Self::Refuse => "refuse",
        })
    }
}

/// When clear text may be used after TLS failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Yield {
    /// At once.
    Now,
    /// On a later run of the queue.
    Later,
    /// Not at all.
    Never,
}

/// When clear text may be used, by the way in which TLS failed.
///
/// The default is [`Yield::Now`] for all three, as in Exchange and Exim; Postfix waits for a later
/// run of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Yields {
    /// The peer answered STARTTLS with a temporary refusal (4yz). A peer without STARTTLS, or with
    /// a permanent refusal, does no better later, so clear text is used at once.
    pub refused: Yield,
    /// The handshake failed or stalled, or clear text followed the 220.
    pub broken: Yield,
    /// The certificate failed a check of weight [`Weight::NotTls`].
    pub untrusted: Yield,
}

impl Yields {
    /// Clear text is never used.
    pub const NEVER: Self =
        Self { refused: Yield::Never, broken: Yield::Never, untrusted: Yield::Never };

    /// What is allowed on a run of the queue after one whose TLS failed: what was allowed
    /// [later](Yield::Later) is allowed now.
    #[must_use]
    pub fn on_later_run(self) -> Self {
        let now = |when| if when == Yield::Later { Yield::Now } else { when };
        Self {
            refused: now(self.refused),
            broken: now(self.broken),
            untrusted: now(self.untrusted),
        }
    }

    /// The stricter of two rules, field by field.
    pub(crate) fn join(self, other: Self) -> Self {
        Self {
            refused: self.refused.max(other.refused),
            broken: self.broken.max(other.broken),
            untrusted: self.untrusted.max(other.untrusted),
        }
    }
}

impl Default for Yields {
    fn default() -> Self {
        Self { refused: Yield::Now, broken: Yield::Now, untrusted: Yield::Now }
    }
}

/// A named preset. See [`rules`](crate::rules) for the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Posture {
    /// STARTTLS is never sent.
    None,
    /// TLS with any peer that offers it; clear text otherwise.
    Opportunistic,
    /// TLS with a peer whose certificate is good in every respect; clear text otherwise. The rule
    /// of Exchange Hosted Services.
    Deterministic,
    /// TLS with any peer, or nothing.
    Encrypt,
    /// TLS or nothing, with a certificate for the host.
    Verified,
    /// TLS or nothing, with a certificate for the next hop, so that a forged MX answer does not
    /// help.
    Secure,
    /// TLS or nothing, with a certificate from the given authorities and no others.
    PrivateCa,
    /// TLS or nothing, with a host that its TLSA records authenticate, found by secure MX records
    /// (RFC 7672, section 6).
    DaneOnly,
    /// TLS or nothing, with a certificate or key that the connector lists.
    Pinned,
}

/// Whether the TLSA records of hosts count (RFC 7672). They never do under posture
/// [`Posture::None`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum DaneRule {
    /// They never count.
    Off,
    /// They count if the MX records are secure.
    SecureMx,
    /// They count with any MX records. If these are insecure, the host is the one that the DNS
    /// named, but a forger may have named it (RFC 7672, section 2.2.1: MAY).
    #[default]
    AnyMx,
}

/// Whether the MTA-STS policies of recipient domains count (RFC 8461).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum StsRule {
    /// They never count.
    Off,
    /// They count, except for hosts that DANE with secure MX records authenticates.
    UnlessDane,
    /// They count together with DANE: both must hold.
    #[default]
    On,
}

/// Which requirements the header field `TLS-Required: No` (RFC 8689, section 3) cancels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum OptionalTls {
    /// Those that the recipient publishes: DANE and MTA-STS. The administrator's own rules stay;
    /// otherwise any sender could cancel them.
    #[default]
    Published,
    /// The administrator's rules as well.
    Everything,
}

/// Whose name a certificate must have if the connector does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The host that is dialled.
    Host,
    /// The next-hop domain, or a name below it.
    NextHop,
}

impl Posture {
    /// Every posture, from the weakest to the strictest.
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::Opportunistic,
        Self::Deterministic,
        Self::Encrypt,
        Self::Verified,
        Self::Secure,
        Self::PrivateCa,
        Self::DaneOnly,
        Self::Pinned,
    ];

    /// The name in configurations and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Opportunistic => "opportunistic",
            Self::Deterministic => "deterministic",
            Self::Encrypt => "encrypt",
            Self::Verified => "verified",
            Self::Secure => "secure",
            Self::PrivateCa => "private-ca",
            Self::DaneOnly => "dane-only",
            Self::Pinned => "pinned",
        }
    }

    /// Reads the name of a posture; `None` if there is no such posture.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|posture| posture.as_str() == text)
    }

    /// The floor of the preset.
    pub const fn floor(self) -> Floor {
        match self {
            Self::None | Self::Opportunistic | Self::Deterministic => Floor::Plaintext,
            Self::Encrypt => Floor::Encrypted,
            Self::Verified | Self::Secure | Self::PrivateCa | Self::DaneOnly | Self::Pinned => {
                Floor::Authenticated
            }
        }
    }

    /// What a failed PKIX check means; `None` if the preset has no check.
    pub const fn pkix(self) -> Option<Weight> {
        match self {
            Self::None | Self::Opportunistic | Self::Encrypt | Self::DaneOnly | Self::Pinned => {
                None
            }
            Self::Deterministic => Some(Weight::NotTls),
            Self::Verified | Self::Secure | Self::PrivateCa => Some(Weight::Refuse),
        }
    }

    /// Whether TLS is tried at all.
    pub const fn tries_tls(self) -> bool {
        !matches!(self, Self::None)
    }

    pub(crate) const fn subject(self) -> Subject {
        match self {
            Self::Secure => Subject::NextHop,
            _ => Subject::Host,
        }
    }
}

impl fmt::Display for Posture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
