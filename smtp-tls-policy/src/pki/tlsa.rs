//! TLSA records (RFC 6698, updated by RFC 7671), as SMTP uses them (RFC 7672).
//!
//! A [`TlsaRecord`] is what the DNS says; a [`TlsaSet`] is what remains of a secure RRset after the
//! unusable records and the weaker digests are gone.
//! A [`HostInquiry`](crate::inquiry::HostInquiry) finds the set.
//!
//! ```
//! use smtp_tls_policy::pki::{TlsaError, TlsaRecord, TlsaSet};
//! use smtp_tls_policy::Domain;
//!
//! let strong = TlsaRecord::parse(&format!("3 1 2 {}", "ab".repeat(64)))?;
//! let weak = TlsaRecord::parse(&format!("3 1 1 {}", "cd".repeat(32)))?;
//! let pkix = TlsaRecord::parse(&format!("1 1 1 {}", "ef".repeat(32)))?;
//! let set = TlsaSet::new(Domain::parse("mx.example.com")?, &[weak, strong, pkix]);
//! assert_eq!(set.usable().len(), 1);
//! assert_eq!(set.unusable(), [(2, TlsaError::Usage)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;

use crate::domain::Domain;
use crate::pki::x509;

/// Most records of an RRset that count, once the weaker digests are gone; further ones are
/// unusable. A message of 64 KiB holds some 1,800 digests, real sets have one to eight, and each
/// may cost a signature.
pub const MAX_TLSA_RECORDS: usize = 32;
/// Octets of a record before its certificate association data (RFC 6698, section 2.1).
const HEADER_LEN: usize = 3;

/// A TLSA record as it is in the DNS (RFC 6698, section 2.1). Nothing is checked yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TlsaRecord {
    /// Certificate usage (RFC 7218: 0 PKIX-TA, 1 PKIX-EE, 2 DANE-TA, 3 DANE-EE).
    pub usage: u8,
    /// Selector (0 Cert, 1 SPKI).
    pub selector: u8,
    /// Matching type (0 Full, 1 SHA2-256, 2 SHA2-512).
    pub matching: u8,
    /// Certificate association data.
    pub data: Vec<u8>,
}

/// Why a text or an RDATA cannot be read as a TLSA record, or why a record cannot be used (RFC
/// 6698, section 4.1; RFC 7672, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TlsaError {
    /// A field is absent: usage (1), selector (2), matching type (3) or certificate association
    /// data (4).
    #[error("field {0} of the TLSA record is missing")]
    Missing(usize),
    /// Usage, selector or matching type is not a number from 0 to 255.
    #[error("field {0} of the TLSA record is not a number from 0 to 255")]
    Field(usize),
    /// The octet of the data at this position, counted from 0, is not two hexadecimal digits.
    #[error("octet {0} of the data of the TLSA record is not two hexadecimal digits")]
    Hex(usize),
    /// PKIX-TA(0) and PKIX-EE(1) have no use in SMTP (RFC 7672, section 3.1.3), and the others no
    /// meaning.
    #[error("the certificate usage is not DANE-TA(2) or DANE-EE(3)")]
    Usage,
    /// A selector other than 0 and 1.
    #[error("the selector is not known")]
    Selector,
    /// A matching type other than 0, 1 and 2.
    #[error("the matching type is not known")]
    Matching,
    /// The digest is not as long as its matching type says.
    #[error("the digest has the wrong length")]
    DigestLength,
    /// Full(0) with data that is no certificate or no public key, and the octet at which it stops
    /// being one, if that can be told.
    #[error("the full certificate or key does not parse{}", .0.map(|at| format!(", from octet {at} on")).unwrap_or_default())]
    Data(Option<usize>),
    /// More than [`MAX_TLSA_RECORDS`] records.
    #[error("the record set is too large")]
    TooMany,
}

impl TlsaRecord {
    /// Reads the RDATA (RFC 6698, section 2.1).
    ///
    /// # Errors
    ///
    /// [`TlsaError::Missing`] if it has fewer than four octets.
    pub fn from_wire(rdata: &[u8]) -> Result<Self, TlsaError> {
        match rdata {
            [usage, selector, matching, data @ ..] if !data.is_empty() => Ok(Self {
                usage: *usage,
                selector: *selector,
                matching: *matching,
                data: data.to_vec(),
            }),
            short => Err(TlsaError::Missing(short.len().min(HEADER_LEN) + 1)),
        }
    }

    /// The RDATA.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut rdata = Vec::with_capacity(HEADER_LEN + self.data.len());
        rdata.extend([self.usage, self.selector, self.matching]);
        rdata.extend_from_slice(&self.data);
        rdata
    }

    /// Reads the presentation form (RFC 6698, section 2.2): three numbers, and hexadecimal digits
    /// with or without blanks between them.
    ///
    /// # Errors
    ///
    /// A [`TlsaError`] that says which field is wrong.
    pub fn parse(text: &str) -> Result<Self, TlsaError> {
        let mut words = text.split_ascii_whitespace();
        let mut field = |position| {
            let digits = words.next().ok_or(TlsaError::Missing(position))?;
            match digits.bytes().all(|digit| digit.is_ascii_digit()) {
                true => digits.parse().map_err(|_| TlsaError::Field(position)),
                false => Err(TlsaError::Field(position)),
            }
        };
        let (usage, selector, matching) = (field(1)?, field(2)?, field(3)?);
        let data = hex(words.flat_map(str::bytes)).map_err(TlsaError::Hex)?;
        match data.is_empty() {
            true => Err(TlsaError::Missing(HEADER_LEN + 1)),
            false => Ok(Self { usage, selector, matching, data }),
        }
    }
}

/// Decodes hexadecimal digits of either case, or returns the position of the first octet that is
/// not two of them.
pub(crate) fn hex(mut digits: impl Iterator<Item = u8>) -> Result<Vec<u8>, usize> {
    let nibble =
        |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut out = Vec::new();
    while let Some(high) = digits.next() {
        let octet =
            nibble(high).and_then(|high| Some((high << 4) | digits.next().and_then(nibble)?));
        out.push(octet.ok_or(out.len())?);
    }
    Ok(out)
}

impl FromStr for TlsaRecord {
    type Err = TlsaError;

    fn from_str(text: &str) -> Result<Self, TlsaError> {
        Self::parse(text)
    }
}

impl fmt::Display for TlsaRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", self.usage, self.selector, self.matching)?;
        self.data.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// What a usable record vouches for (RFC 7672, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Usage {
    /// DANE-TA(2): an authority to which the chain must lead.
    TrustAnchor,
    /// DANE-EE(3): the server's own certificate or key, whatever its names and dates.
    EndEntity,
}

/// The part of a certificate that is compared (RFC 6698, section 2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Selector {
    /// Cert(0): the whole certificate.
    Certificate,
    /// SPKI(1): its SubjectPublicKeyInfo.
    Key,
}

/// The data with which that part is compared (RFC 6698, section 2.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Association {
    /// Full(0): these octets, which are DER.
    Full(Vec<u8>),
    /// SHA2-256(1): the digest.
    Sha256([u8; 32]),
    /// SHA2-512(2): the digest.
    Sha512([u8; 64]),
}

impl Association {
    /// Whether this is the association of these octets.
    pub(crate) fn matches(&self, octets: &[u8]) -> bool {
        use sha2::{Digest, Sha256, Sha512};
        match self {
            Self::Full(full) => full == octets,
            Self::Sha256(digest) => Sha256::digest(octets)[..] == digest[..],
            Self::Sha512(digest) => Sha512::digest(octets)[..] == digest[..],
        }
    }
}

/// A record that SMTP can use, checked. As a [`TlsaRecord`] it has its numbers again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tlsa {
    usage: Usage,
    selector: Selector,
    association: Association,
}

impl TryFrom<&TlsaRecord> for Tlsa {
    type Error = TlsaError;

    fn try_from(record: &TlsaRecord) -> Result<Self, TlsaError> {
        let usage = match record.usage {
            2 => Usage::TrustAnchor,
            3 => Usage::EndEntity,
            _ => return Err(TlsaError::Usage),
        };
        let selector = match record.selector {
            0 => Selector::Certificate,
            1 => Selector::Key,
            _ => return Err(TlsaError::Selector),
        };
        let data = &record.data;
        let association = match record.matching {
            0 if parses(usage, selector, data) => Association::Full(data.clone()),
            0 => {
                return Err(TlsaError::Data(match selector {
                    Selector::Certificate => x509::first_fault(data).map(|(_, offset)| offset),
                    Selector::Key => x509::fault_of_key(data),
                }));
            }
            1 => Association::Sha256(
                data.as_slice().try_into().map_err(|_| TlsaError::DigestLength)?,
            ),
            2 => Association::Sha512(
                data.as_slice().try_into().map_err(|_| TlsaError::DigestLength)?,
            ),
            _ => return Err(TlsaError::Matching),
        };
        Ok(Self { usage, selector, association })
    }
}

/// Whether full data is what the selector says. The host's own certificate need not be one that a
/// path builder takes.
fn parses(usage: Usage, selector: Selector, data: &[u8]) -> bool {
    let certificate = CertificateDer::from(data);
    match (usage, selector) {
        (_, Selector::Key) => {
            RawPublicKeyEntity::try_from(&SubjectPublicKeyInfoDer::from(data)).is_ok()
        }
        (Usage::TrustAnchor, Selector::Certificate) => {
            webpki::anchor_from_trusted_cert(&certificate).is_ok()
        }
        (Usage::EndEntity, Selector::Certificate) => {
            x509::contents(data).is_some() && x509::spki(&certificate).is_some()
        }
    }
}

impl Tlsa {
    /// What the record vouches for.
    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    /// The part of a certificate with which the record is compared.
    pub(crate) fn selector(&self) -> Selector {
        self.selector
    }

    /// The certificate association data.
    pub(crate) fn association(&self) -> &Association {
        &self.association
    }

    /// Whether a certificate is the one that the record is about.
    pub(crate) fn matches(&self, der: &CertificateDer<'_>) -> bool {
        match self.selector {
            Selector::Certificate => self.association.matches(der),
            Selector::Key => x509::spki(der).is_some_and(|key| self.association.matches(&key)),
        }
    }

    /// Whether it is about the server's own key, which may be shown raw: DANE-EE(3) SPKI(1).
    pub(crate) fn is_about_raw_keys(&self) -> bool {
        (self.usage, self.selector) == (Usage::EndEntity, Selector::Key)
    }

    /// Whether a raw public key (RFC 7250) is the one that the record is about.
    pub(crate) fn matches_raw_key(&self, key: &SubjectPublicKeyInfoDer<'_>) -> bool {
        self.is_about_raw_keys() && self.association.matches(key)
    }

    /// What is compared: only such records compete by the strength of their digests.
    fn compared(&self) -> (Usage, Selector) {
        (self.usage, self.selector)
    }

    /// The strength of its digest; none for full data (RFC 7671, section 9).
    fn strength(&self) -> Option<u8> {
        match self.association {
            Association::Full(_) => None,
            Association::Sha256(_) => Some(1),
            Association::Sha512(_) => Some(2),
        }
    }
}

impl From<&Tlsa> for TlsaRecord {
    fn from(tlsa: &Tlsa) -> Self {
        let usage = match tlsa.usage {
            Usage::TrustAnchor => 2,
            Usage::EndEntity => 3,
        };
        let selector = match tlsa.selector {
            Selector::Certificate => 0,
            Selector::Key => 1,
        };
        let (matching, data) = match &tlsa.association {
            Association::Full(full) => (0, &full[..]),
            Association::Sha256(digest) => (1, &digest[..]),
            Association::Sha512(digest) => (2, &digest[..]),
        };
        Self { usage, selector, matching, data: data.to_vec() }
    }
}

impl fmt::Display for Tlsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TlsaRecord::from(self).fmt(f)
    }
}

/// The records of a secure TLSA RRset that count, and the base domain where they were found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsaSet {
    base: Domain,
    records: Arc<[TlsaRecord]>,
    usable: Vec<Tlsa>,
    unusable: Vec<(usize, TlsaError)>,
}

impl TlsaSet {
    /// Drops the unusable records, and per usage and selector all digests but the strongest (RFC
    /// 7671, section 9). Full(0) is no digest and stays.
    ///
    /// `base` is the TLSA base domain: the name after `_25._tcp.` (RFC 7672, section 2.2.3).
    pub fn new(base: Domain, records: &[TlsaRecord]) -> Self {
        let (mut usable, mut unusable) = (Vec::new(), Vec::new());
        for (position, record) in records.iter().enumerate() {
            match Tlsa::try_from(record) {
                Ok(tlsa) => usable.push((tlsa, position)),
                Err(why) => unusable.push((position, why)),
            }
        }
        // Equal sets make equal plans, in whichever order the answer has them.
        usable.sort_unstable();
        let mut strongest = BTreeMap::new();
        for (tlsa, _) in &usable {
            let best: &mut Option<u8> = strongest.entry(tlsa.compared()).or_default();
            *best = tlsa.strength().max(*best);
        }
        usable.retain(|(tlsa, _)| {
            tlsa.strength().is_none() || strongest.get(&tlsa.compared()) == Some(&tlsa.strength())
        });
        usable.dedup_by(|one, other| one.0 == other.0);
        // Not before: the stronger digest may be in any place of a large set.
        let surplus = usable.drain(usable.len().min(MAX_TLSA_RECORDS)..);
        unusable.extend(surplus.map(|(_, position)| (position, TlsaError::TooMany)));
        unusable.sort_unstable_by_key(|(position, _)| *position);
        let mut records = records.to_vec();
        records.sort_unstable();
        records.truncate(MAX_TLSA_RECORDS);
        let usable = usable.into_iter().map(|(tlsa, _)| tlsa).collect();
        Self { base, records: records.into(), usable, unusable }
    }

    /// The TLSA base domain.
    pub fn base(&self) -> &Domain {
        &self.base
    }

    /// The records as published, sorted, for reports; at most [`MAX_TLSA_RECORDS`].
    pub fn records(&self) -> &[TlsaRecord] {
        &self.records
    }

    pub(crate) fn shared_records(&self) -> &Arc<[TlsaRecord]> {
        &self.records
    }

    /// The records that count, sorted. If there is none, TLS is required, and DANE authenticates no
    /// host (RFC 7672, section 2.2).
    pub fn usable(&self) -> &[Tlsa] {
        &self.usable
    }

    /// The records that cannot be used, by their position in the RRset as given, and why.
    pub fn unusable(&self) -> &[(usize, TlsaError)] {
        &self.unusable
    }
}
