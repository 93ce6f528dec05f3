//! What is derived from a password (RFC 5802, section 3).

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{SCRAM_SHA_256, prepare};
use crate::sasl::{SaslError, decode_base64, encode_base64};
use crate::secret::Secret;

/// The fewest rounds that may be asked for (RFC 7677, section 4).
pub const MIN_ITERATIONS: u32 = 4096;
/// Octets of a salt that is long enough.
pub const SALT_OCTETS: usize = 16;

/// Octets of SHA-256.
pub(crate) type Hash = [u8; 32];

/// What a server stores of a user: nothing from which the password could be read, or with which a
/// client could log in. An attacker who has it can still play the server, or try passwords. So it
/// is wiped when dropped, and never printed.
#[derive(Clone)]
pub struct Keys {
    salt: Vec<u8>,
    iterations: u32,
    stored_key: Zeroizing<Hash>,
    server_key: Zeroizing<Hash>,
}

impl Keys {
    /// Derives the keys: slow on purpose, `iterations` rounds of HMAC.
    ///
    /// # Errors
    ///
    /// - [`SaslError::Iterations`] below [`MIN_ITERATIONS`].
    /// - [`SaslError::Malformed`]: no salt.
    /// - [`SaslError::Prohibited`]: the password is empty, not UTF-8, or SASLprep prohibits it.
    pub fn derive(password: &Secret, salt: &[u8], iterations: u32) -> Result<Self, SaslError> {
        check(salt, iterations)?;
        let salted = SaltedPassword::derive(password, salt, iterations)?;
        let stored_key = Zeroizing::new(Sha256::digest(*salted.client_key()).into());
        Ok(Self { salt: salt.to_owned(), iterations, stored_key, server_key: salted.server_key() })
    }

    /// Keys that were derived elsewhere.
    ///
    /// # Errors
    ///
    /// As [`derive`](Self::derive).
    pub fn new(
        salt: &[u8],
        iterations: u32,
        stored_key: Hash,
        server_key: Hash,
    ) -> Result<Self, SaslError> {
        check(salt, iterations)?;
        let (stored_key, server_key) = (Zeroizing::new(stored_key), Zeroizing::new(server_key));
        Ok(Self { salt: salt.to_owned(), iterations, stored_key, server_key })
    }

    /// Keys that no password has, with a salt that is always the same for one user: so that a
    /// stranger cannot be told from a user before the end of the exchange.
    pub(crate) fn of_unknown_user(secret: &Secret, user: &str, iterations: u32) -> Self {
        let derive = |use_for: &[u8]| hmac(secret.as_bytes(), &[use_for, user.as_bytes()]);
        let salt = derive(b"salt of an unknown user: ")[..SALT_OCTETS].to_vec();
        Self {
            salt,
            iterations,
            stored_key: derive(b"stored key: "),
            server_key: derive(b"server key: "),
        }
    }

    /// The salt.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The rounds of HMAC.
    pub const fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Whether this is the user's password, as PLAIN and LOGIN send it. As slow as
    /// [`derive`](Self::derive).
    pub fn is_of(&self, password: &Secret) -> bool {
        Self::derive(password, &self.salt, self.iterations).is_ok_and(|other| other == *self)
    }

    /// `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` (RFC 5803, section 3), which other
    /// servers store as well.
    pub fn to_text(&self) -> Secret {
        let mut text = Zeroizing::new(Vec::with_capacity(128 + self.salt.len() * 2));
        text.extend_from_slice(format!("{SCRAM_SHA_256}${}:", self.iterations).as_bytes());
        encode_base64(&self.salt, &mut text);
        text.push(b'$');
        encode_base64(&*self.stored_key, &mut text);
        text.push(b':');
        encode_base64(&*self.server_key, &mut text);
        Secret::from(std::mem::take(&mut *text))
    }
}

fn check(salt: &[u8], iterations: u32) -> Result<(), SaslError> {
    if iterations < MIN_ITERATIONS {
        return Err(SaslError::Iterations(iterations));
    }
    if salt.is_empty() { Err(SaslError::Malformed) } else { Ok(()) }
}

/// Reads what [`to_text`](Keys::to_text) writes.
impl FromStr for Keys {
    type Err = SaslError;

    fn from_str(text: &str) -> Result<Self, SaslError> {
        let parts = || {
            let (mechanism, rest) = text.split_once('$')?;
            let ((iterations, salt), keys) =
                rest.split_once('$').and_then(|(it, keys)| Some((it.split_once(':')?, keys)))?;
            let (stored_key, server_key) = keys.split_once(':')?;
            (mechanism == SCRAM_SHA_256).then_some((iterations, salt, stored_key, server_key))
        };
        let (iterations, salt, stored_key, server_key) = parts().ok_or(SaslError::Malformed)?;
        let salt = decode_base64(salt.as_bytes())?;
        let iterations = iterations.parse().map_err(|_| SaslError::Malformed)?;
        Self::new(salt.as_bytes(), iterations, *decode_hash(stored_key)?, *decode_hash(server_key)?)
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        let keys =
            self.stored_key.ct_eq(&*other.stored_key) & self.server_key.ct_eq(&*other.server_key);
        self.salt == other.salt && self.iterations == other.iterations && bool::from(keys)
    }
}

impl Eq for Keys {}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// What a password becomes with a salt; as good as the password itself.
pub(crate) struct SaltedPassword(Zeroizing<Hash>);

impl SaltedPassword {
    pub(crate) fn derive(
        password: &Secret,
        salt: &[u8],
        iterations: u32,
    ) -> Result<Self, SaslError> {
        let prepared = prepare(password.as_str().ok_or(SaslError::Prohibited)?)?;
        let mut salted = Zeroizing::new(Hash::default());
        pbkdf2::pbkdf2_hmac::<Sha256>(prepared.as_bytes(), salt, iterations, &mut *salted);
        if let std::borrow::Cow::Owned(prepared) = prepared {
            drop(Secret::from(prepared));
        }
        Ok(Self(salted))
    }

    pub(crate) fn client_key(&self) -> Zeroizing<Hash> {
        hmac(&*self.0, &[b"Client Key"])
    }

    pub(crate) fn server_key(&self) -> Zeroizing<Hash> {
        hmac(&*self.0, &[b"Server Key"])
    }
}

impl fmt::Debug for SaltedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SaltedPassword(..)")
    }
}

/// The client's proof of the password.
pub(crate) fn proof(client_key: &Hash, auth_message: &[u8]) -> Hash {
    let stored_key = Zeroizing::new(Sha256::digest(client_key).into());
    xor(client_key, &signature(&stored_key, auth_message))
}

/// Whether a client that knows the password has made this proof.
pub(crate) fn verify_proof(keys: &Keys, auth_message: &[u8], proof: &Hash) -> bool {
    let client_key = Zeroizing::new(xor(proof, &signature(&keys.stored_key, auth_message)));
    let stored_key: Zeroizing<Hash> = Zeroizing::new(Sha256::digest(*client_key).into());
    stored_key.ct_eq(&*keys.stored_key).into()
}

/// ClientSignature of the StoredKey, ServerSignature of the ServerKey.
pub(crate) fn signature(key: &Hash, auth_message: &[u8]) -> Hash {
    *hmac(key, &[auth_message])
}

impl Keys {
    /// The server's proof that it knows the keys.
    pub(crate) fn server_signature(&self, auth_message: &[u8]) -> Hash {
        signature(&self.server_key, auth_message)
    }
}

pub(super) fn decode_hash(text: &str) -> Result<Zeroizing<Hash>, SaslError> {
    let octets = decode_base64(text.as_bytes())?;
    Ok(Zeroizing::new(octets.as_bytes().try_into().map_err(|_| SaslError::Malformed)?))
}

fn hmac(key: &[u8], pieces: &[&[u8]]) -> Zeroizing<Hash> {
    let mut hmac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    for piece in pieces {
        hmac.update(piece);
    }
    Zeroizing::new(hmac.finalize().into_bytes().into())
}

fn xor(left: &Hash, right: &Hash) -> Hash {
    std::array::from_fn(|at| left[at] ^ right[at])
}
