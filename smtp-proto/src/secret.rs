//! Octets that must stay secret.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A password, a token, or a message that holds one: wiped when dropped, never printed, compared in
/// a time that depends only on the lengths.
///
/// ```
/// use smtp_proto::Secret;
///
/// let password = Secret::from("open sesame");
/// assert_eq!(password.as_bytes(), b"open sesame");
/// assert_eq!(format!("{password:?}"), "Secret(..)");
/// ```
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Nothing yet, with room for `capacity` octets. Filled up to there it leaves no copy in freed
    /// memory.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(capacity)))
    }

    /// Joins pieces without leaving a copy in freed memory.
    pub fn concat(pieces: &[&[u8]]) -> Self {
        let mut secret = Self::with_capacity(pieces.iter().map(|piece| piece.len()).sum());
        for piece in pieces {
            secret.0.extend_from_slice(piece);
        }
        secret
    }

    /// The octets. A caller that copies them has to wipe the copy.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The octets as text, if they are UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Takes the memory over: nothing is copied.
impl From<Vec<u8>> for Secret {
    fn from(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }
}

/// Takes the memory over: nothing is copied.
impl From<String> for Secret {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

/// Copies; the original is for the caller to wipe.
impl From<&[u8]> for Secret {
    fn from(octets: &[u8]) -> Self {
        Self::concat(&[octets])
    }
}

/// Copies; the original is for the caller to wipe.
impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
