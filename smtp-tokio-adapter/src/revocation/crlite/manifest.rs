//! The manifest of a cache of CRLite filters, as `upki fetch` writes it.

use serde::Deserialize;

use super::error::CrliteError;

/// Most filters that a manifest may list. Mozilla publishes a whole filter and then some four
/// smaller ones a day.
pub const MAX_CRLITE_FILTERS: usize = 1024;
/// Longest name of a filter (C2SP `upki-revocation`, "Revocation cache directory layout").
const MAX_NAME_LEN: usize = 32;

/// Which filters belong together.
#[derive(Debug)]
pub(super) struct Manifest {
    /// When it was made, in seconds since 1970.
    pub(super) made: u64,
    pub(super) files: Vec<Listed>,
}

/// One filter.
#[derive(Debug)]
pub(super) struct Listed {
    /// The name of a file of the cache.
    pub(super) name: String,
    pub(super) len: u64,
    /// SHA-256.
    pub(super) digest: [u8; 32],
}

#[derive(Deserialize)]
struct Json {
    generated_at: u64,
    /// Earlier versions say `filters`.
    #[serde(alias = "filters")]
    files: Vec<JsonFile>,
}

#[derive(Deserialize)]
struct JsonFile {
    filename: String,
    size: u64,
    hash: String,
}

impl Manifest {
    pub(super) fn parse(octets: &[u8]) -> Result<Self, CrliteError> {
        let json: Json =
            serde_json::from_slice(octets).map_err(|it| CrliteError::Manifest(it.to_string()))?;
        let count = json.files.len();
        if count == 0 || count > MAX_CRLITE_FILTERS {
            let what = format!("it lists {count} filters instead of 1 to {MAX_CRLITE_FILTERS}");
            return Err(CrliteError::Manifest(what));
        }
        let files = json.files.into_iter().map(JsonFile::listed).collect::<Result<_, _>>()?;
        Ok(Self { made: json.generated_at, files })
    }
}

impl JsonFile {
    fn listed(self) -> Result<Listed, CrliteError> {
        let octets = self.filename.bytes();
        let is_name = !matches!(&*self.filename, "" | "." | "..")
            && octets.len() <= MAX_NAME_LEN
            && octets.into_iter().all(|it| it.is_ascii_alphanumeric() || b"-._".contains(&it));
        if !is_name {
            return Err(CrliteError::Manifest(format!("{:?} is no file name", self.filename)));
        }
        let digest = digest(&self.hash).ok_or_else(|| {
            CrliteError::Manifest(format!("the hash of {} is not one of SHA-256", self.filename))
        })?;
        Ok(Listed { name: self.filename, len: self.size, digest })
    }
}

/// 32 octets in hexadecimal digits.
fn digest(text: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut digest = [0; 32];
    if pairs.len() != digest.len() || !rest.is_empty() {
        return None;
    }
    for (octet, pair) in digest.iter_mut().zip(pairs) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *octet = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(digest)
}
