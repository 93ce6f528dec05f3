//! SASL (RFC 4422) for AUTH (RFC 4954): what a mechanism is, and the ones that are here.
//!
//! No mechanism here brings a security layer of its own (RFC 4422, section 3.7), so nothing changes
//! on the wire after a success: that is what TLS is for. The core has no source of random numbers:
//! the caller that makes a SCRAM mechanism passes the nonce.

pub mod client;
pub mod scram;
pub mod server;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::secret::Secret;

/// Octets of the longest name of a mechanism (RFC 4422, section 3.1).
pub const MAX_MECHANISM_NAME: usize = 20;

/// Whether this can be the name of a mechanism: 1 to 20 capitals, digits, hyphens and underscores
/// (RFC 4422, section 3.1).
pub fn is_mechanism_name(name: &str) -> bool {
    let known = |byte: u8| {
        byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
    };
    (1..=MAX_MECHANISM_NAME).contains(&name.len()) && name.bytes().all(known)
}

/// Why an exchange cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SaslError {
    /// Not base64 as RFC 4648, section 4 has it, with its padding (RFC 4954, section 4).
    #[error("not base64")]
    Base64,
    /// Not a message of this mechanism, or not the one that comes next.
    #[error("not a message of the mechanism")]
    Malformed,
    /// A challenge although the mechanism has nothing more to say.
    #[error("a challenge after the last message")]
    UnexpectedChallenge,
    /// A name or password holds what the mechanism cannot carry, or what SASLprep (RFC 4013)
    /// prohibits.
    #[error("a name or password with characters that are not allowed")]
    Prohibited,
    /// SCRAM: the server's nonce does not begin with ours (RFC 5802, section 5.1), or the client's
    /// is not the one it was sent.
    #[error("the nonce is another one")]
    Nonce,
    /// SCRAM: fewer rounds than are safe, or more than anybody needs.
    #[error("an iteration count of {0}")]
    Iterations(u32),
    /// SCRAM: an extension that must be understood (RFC 5802, section 5.1: `m=`).
    #[error("an extension that is not known")]
    Extension,
    /// The channel binding is missing, of a type that is not there, or another channel's: there may
    /// be a man in the middle.
    #[error("the channel binding does not fit")]
    ChannelBinding,
    /// SCRAM: the server's signature is wrong. It does not know the password.
    #[error("the server does not know the password")]
    Signature,
    /// The server claims success before it has shown that it knows the password.
    #[error("success without proof of the server")]
    Unproven,
    /// The server has said no inside the mechanism (RFC 5802, section 5.1: `e=`).
    #[error("the server refused inside the mechanism")]
    Refused,
}

/// Appends base64 (RFC 4648, section 4).
pub(crate) fn encode_base64(octets: &[u8], output: &mut Vec<u8>) {
    let start = output.len();
    let length = octets.len().div_ceil(3) * 4;
    output.resize(start + length, 0);
    let encoded = STANDARD.encode_slice(octets, &mut output[start..]);
    debug_assert_eq!(encoded, Ok(length));
}

/// Reads base64 strictly: padding where RFC 4648, section 3.2 wants it, no stray bits (3.5),
/// nothing else in between.
pub(crate) fn decode_base64(text: &[u8]) -> Result<Secret, SaslError> {
    let mut octets = zeroize::Zeroizing::new(vec![0; text.len().div_ceil(4) * 3]);
    let length = STANDARD.decode_slice(text, &mut octets).map_err(|_| SaslError::Base64)?;
    octets.truncate(length);
    Ok(Secret::from(std::mem::take(&mut *octets)))
}
