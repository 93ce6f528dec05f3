//! Which versions of TLS and which key exchanges a connector allows.

use std::fmt;

use crate::reason::Reason;

/// A version of TLS that connectors can ask for. Older ones are never spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum MinTlsVersion {
    /// TLS 1.2 (RFC 5246) or 1.3.
    #[default]
    #[cfg_attr(feature = "serde", serde(rename = "1.2"))]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[cfg_attr(feature = "serde", serde(rename = "1.3"))]
    Tls13,
}

impl MinTlsVersion {
    /// Every version.
    pub const ALL: [Self; 2] = [Self::Tls12, Self::Tls13];

    /// The number in a configuration file: `1.2` or `1.3`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

macro_rules! groups {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $post_quantum:literal;)+) => {
        /// A group of key exchange, by its IANA name (TLS Supported Groups).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum KeyGroup { $($(#[doc = $doc])+ $name,)+ }

        impl KeyGroup {
            /// Every group that a connector can name.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The IANA name, as logs and Received fields have it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Whether a recording cannot be decrypted by a later quantum computer, as far as is
            /// known.
            pub const fn is_post_quantum(self) -> bool {
                match self { $(Self::$name => $post_quantum,)+ }
            }
        }
    };
}

groups! {
    /// X25519 joined with ML-KEM-768.
    X25519MlKem768 = "X25519MLKEM768", true;
    /// P-256 joined with ML-KEM-768.
    Secp256r1MlKem768 = "secp256r1MLKEM768", true;
    /// ML-KEM-768 alone.
    MlKem768 = "MLKEM768", true;
    /// ML-KEM-1024 alone.
    MlKem1024 = "MLKEM1024", true;
    /// X25519 (RFC 7748).
    X25519 = "X25519", false;
    /// P-256.
    Secp256r1 = "secp256r1", false;
    /// P-384.
    Secp384r1 = "secp384r1", false;
}

impl KeyGroup {
    /// The post-quantum groups, which `post-quantum` means in a configuration file.
    pub fn post_quantum() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|group| group.is_post_quantum())
    }
}

impl fmt::Display for KeyGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for KeyGroup {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What a connector asks of TLS itself, beside the certificate. The default allows all that the
/// provider has.
///
/// Only connectors that require TLS may set it: otherwise a peer that cannot meet it would get the
/// mail in clear text.
///
/// ```
/// use smtp_tls_policy::Reason;
/// use smtp_tls_policy::rules::TlsLimits;
///
/// let limits = TlsLimits::post_quantum();
/// assert_eq!(limits.refusal("TLSv1.3", Some("X25519MLKEM768")), None);
/// assert_eq!(limits.refusal("TLSv1.3", Some("X25519")), Some(Reason::TlsGroupNotAllowed));
/// assert_eq!(limits.refusal("TLSv1.2", Some("X25519")), Some(Reason::TlsVersionNotAllowed));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub struct TlsLimits {
    /// The oldest version that is allowed.
    pub min_version: MinTlsVersion,
    /// The groups that are allowed; empty: all that the provider has.
    pub groups: Vec<KeyGroup>,
}

impl TlsLimits {
    /// TLS 1.3 with a post-quantum group, and nothing else.
    pub fn post_quantum() -> Self {
        Self { min_version: MinTlsVersion::Tls13, groups: KeyGroup::post_quantum().collect() }
    }

    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }

    /// The oldest version that can meet the limits: post-quantum groups belong to TLS 1.3.
    pub(crate) fn lowest(&self) -> MinTlsVersion {
        match self.groups.is_empty() || self.groups.iter().any(|group| !group.is_post_quantum()) {
            true => self.min_version,
            false => MinTlsVersion::Tls13,
        }
    }

    /// Why a session is not allowed, if it is not. `version` is `TLSv1.2` or `TLSv1.3`, and
    /// `group` the IANA name of the group; `None` where no key exchange used one, as in a resumed
    /// session of TLS 1.2. A client resumes only what the same limits allowed. A listener whose
    /// connectors have different limits may see a session that another connector allowed: give it
    /// the limits of all with [`limited`](crate::tls::limited) if that matters.
    pub fn refusal(&self, version: &str, group: Option<&str>) -> Option<Reason> {
        if self.lowest() == MinTlsVersion::Tls13 && version != "TLSv1.3" {
            return Some(Reason::TlsVersionNotAllowed);
        }
        let is_allowed = |name: &str| self.groups.iter().any(|allowed| allowed.as_str() == name);
        let is_refused = !self.groups.is_empty() && group.is_some_and(|group| !is_allowed(group));
        is_refused.then_some(Reason::TlsGroupNotAllowed)
    }
}

impl fmt::Display for TlsLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS {} or later", self.lowest().as_str())?;
        for (index, group) in self.groups.iter().enumerate() {
            write!(f, "{} {group}", if index == 0 { ", key exchange by" } else { " or" })?;
        }
        Ok(())
    }
}
