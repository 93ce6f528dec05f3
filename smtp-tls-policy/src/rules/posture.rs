//! Floors, weights, fallback rules, and the named presets of them.

use std::fmt;
use std::str::FromStr;

/// The least that a connection must be before mail goes over it. Sources raise it, none lowers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Floor {
    /// Clear text will do.
    Plaintext,
    /// TLS, whoever the peer is.
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
    /// Nothing; it is written down.
    Recorded,
    /// This does not count as TLS: the connection is dropped, and the fallback rules decide.
    NotTls,
    /// Below this, no mail.
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

/// Whether clear text may be used when TLS cannot be had.
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

/// When clear text may be used, by what stood in the way of TLS.
///
/// The default is [`Yield::Now`] three times, as Exchange and Exim do; Postfix waits for a later run of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Yields {
    /// The peer answered STARTTLS with a temporary refusal (4yz); a peer without STARTTLS, or with a permanent
    /// refusal, will not do better later.
    pub refused: Yield,
    /// The handshake failed or stalled, or bytes lay behind the 220.
    pub broken: Yield,
    /// The certificate failed a check of weight [`Weight::NotTls`].
    pub untrusted: Yield,
}

impl Yields {
    /// Clear text is never used.
    pub const NEVER: Self =
        Self { refused: Yield::Never, broken: Yield::Never, untrusted: Yield::Never };

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
    /// TLS where it is offered, whoever the peer is; clear text elsewhere.
    Opportunistic,
    /// TLS where it is offered by a peer whose certificate is good in every respect; what is less is not TLS, and
    /// the hop is clear text. The rule of Exchange Hosted Services.
    Deterministic,
    /// TLS or nothing, whoever the peer is.
    Encrypt,
    /// TLS or nothing, with a certificate for the host.
    Verified,
    /// TLS or nothing, with a certificate for the next hop, so that a forged MX answer does not help.
    Secure,
    /// TLS or nothing, with a certificate from the given authorities and no others.
    PrivateCa,
    /// TLS or nothing, with a host that its TLSA records authenticate, found by secure MX records (RFC 7672, 6).
    DaneOnly,
    /// TLS or nothing, with a certificate or key that the connector lists.
    Pinned,
}

/// Whether the DANE records of hosts count (RFC 7672). For no connector of posture [`Posture::None`] do they.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum DaneRule {
    /// They do not.
    Off,
    /// Where the MX records are secure.
    SecureMx,
    /// Also where the MX records are not: the host is then who it says it is, while a forger may have chosen it
    /// (RFC 7672, 2.2.1: MAY).
    #[default]
    AnyMx,
}

/// Whether the MTA-STS policies of recipient domains count (RFC 8461).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum StsRule {
    /// They do not.
    Off,
    /// They do, save that DANE with secure MX records stands in for them: who is found and authenticated by DNSSEC needs
    /// no second witness.
    UnlessDane,
    /// They do, beside DANE: both must hold.
    #[default]
    On,
}

/// What `TLS-Required: No` (RFC 8689, 5) takes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum OptionalTls {
    /// What the recipient publishes: DANE and MTA-STS. The administrator's own rules stay, or any sender could strip
    /// them.
    #[default]
    Published,
    /// The administrator's rules as well.
    Everything,
}

/// Whose name a certificate must carry, where the connector does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The host that is dialled.
    Host,
    /// The next-hop domain, or a name below it.
    NextHop,
}

impl Posture {
    /// Every posture, from the weakest to the strictest, by what each one trusts.
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

    /// What a failed PKIX check means; `None` where the preset has no check.
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

/// A posture of this name does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such posture; one of none, opportunistic, deterministic, encrypt, verified, secure, private-ca, dane-only, pinned"
)]
pub struct UnknownPosture;

impl FromStr for Posture {
    type Err = UnknownPosture;

    fn from_str(text: &str) -> Result<Self, UnknownPosture> {
        Self::ALL.into_iter().find(|posture| posture.as_str() == text).ok_or(UnknownPosture)
    }
}
