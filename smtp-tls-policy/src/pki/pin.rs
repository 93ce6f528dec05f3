//! Pins: digests of certificates or keys that the administrator knows (Postfix: `fingerprint`;
//! Exchange: "direct trust").

use std::fmt;
use std::str::FromStr;

use pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::pki::tlsa::{Selector, hex};
use crate::pki::x509;

/// A digest. SHA-256 is the weakest that is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Digest {
    Sha256([u8; 32]),
    Sha384([u8; 48]),
    Sha512([u8; 64]),
}

/// The digest of a certificate or of a key (SubjectPublicKeyInfo).
///
/// While a peer replaces its key, configure the pins of both keys.
///
/// Written `spki:sha256:` or `cert:sha256:` (or `sha384`, `sha512`) and hexadecimal digits of
/// either case, with or without colons between the octets, as `openssl x509 -fingerprint` prints
/// them.
///
/// ```
/// use smtp_tls_policy::pki::Pin;
///
/// let pin = Pin::parse(&format!("spki:sha256:{}", "AB:".repeat(31) + "AB"))?;
/// assert_eq!(pin.to_string(), format!("spki:sha256:{}", "ab".repeat(32)));
/// # Ok::<(), smtp_tls_policy::pki::PinError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pin {
    selector: Selector,
    digest: Digest,
}

/// Why a text cannot be read as a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The text does not begin with `cert:` or `spki:`.
    #[error("a pin begins with cert: or spki:")]
    Selector,
    /// The digest is none of SHA-256, SHA-384 and SHA-512; SHA-1 and MD5 can be forged.
    #[error("the digest of a pin is sha256, sha384 or sha512")]
    Algorithm,
    /// The number of hexadecimal octets is not that of the digest.
    #[error("the pin does not have the hexadecimal octets of its digest")]
    Digits,
}

impl Pin {
    /// Reads a pin.
    ///
    /// # Errors
    ///
    /// A [`PinError`] that says which part of the text is wrong.
    pub fn parse(text: &str) -> Result<Self, PinError> {
        let (selector, rest) = text.split_once(':').ok_or(PinError::Selector)?;
        let selector = match selector {
            "cert" => Selector::Certificate,
            "spki" => Selector::Key,
            _ => return Err(PinError::Selector),
        };
        let (algorithm, digits) = rest.split_once(':').ok_or(PinError::Algorithm)?;
        let octets =
            || hex(digits.bytes().filter(|digit| *digit != b':')).map_err(|_| PinError::Digits);
        let length = |_| PinError::Digits;
        let digest = match algorithm {
            "sha256" => Digest::Sha256(octets()?.try_into().map_err(length)?),
            "sha384" => Digest::Sha384(octets()?.try_into().map_err(length)?),
            "sha512" => Digest::Sha512(octets()?.try_into().map_err(length)?),
            _ => return Err(PinError::Algorithm),
        };
        Ok(Self { selector, digest })
    }

    /// The pin of a certificate, by SHA-256.
    pub fn of_certificate(der: &CertificateDer<'_>) -> Self {
        Self { selector: Selector::Certificate, digest: Digest::Sha256(Sha256::digest(der).into()) }
    }

    /// The pin of a certificate's key, by SHA-256; `None` if it is not a certificate.
    pub fn of_key(der: &CertificateDer<'_>) -> Option<Self> {
        x509::spki(der).map(|key| Self::of_raw_key(&key))
    }

    /// The pin of a raw public key (RFC 7250), by SHA-256: that of a certificate with this key.
    pub fn of_raw_key(key: &SubjectPublicKeyInfoDer<'_>) -> Self {
        Self { selector: Selector::Key, digest: Digest::Sha256(Sha256::digest(key).into()) }
    }

    pub(crate) fn matches(&self, der: &CertificateDer<'_>) -> bool {
        match self.selector {
            Selector::Certificate => self.digest.is_of(der),
            Selector::Key => x509::spki(der).is_some_and(|key| self.digest.is_of(&key)),
        }
    }

    /// Whether it is the pin of a key, which may be shown raw.
    pub(crate) fn is_of_key(&self) -> bool {
        self.selector == Selector::Key
    }

    pub(crate) fn matches_raw_key(&self, key: &SubjectPublicKeyInfoDer<'_>) -> bool {
        self.is_of_key() && self.digest.is_of(key)
    }
}

impl Digest {
    fn is_of(&self, octets: &[u8]) -> bool {
        match self {
            Self::Sha256(digest) => Sha256::digest(octets)[..] == digest[..],
            Self::Sha384(digest) => Sha384::digest(octets)[..] == digest[..],
            Self::Sha512(digest) => Sha512::digest(octets)[..] == digest[..],
        }
    }
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        Self::parse(text)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selector = match self.selector {
            Selector::Certificate => "cert",
            Selector::Key => "spki",
        };
        let (algorithm, octets) = match &self.digest {
            Digest::Sha256(digest) => ("sha256", &digest[..]),
            Digest::Sha384(digest) => ("sha384", &digest[..]),
            Digest::Sha512(digest) => ("sha512", &digest[..]),
        };
        write!(f, "{selector}:{algorithm}:")?;
        octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
