//! One certificate revocation list (RFC 5280, 5), parsed once and kept as it came.
//!
//! What is kept is the encoding itself and a hash table over the serial numbers, of at most 24 octets an entry: a list of
//! a million entries costs its own length and 16 MiB. A look-up reads one slot or two, and at most one entry. The table is
//! keyed at random, so that no choice of serial numbers makes it slow.
//!
//! ```
//! # use smtp_tls_policy::pki::{Crl, CrlErrorKind};
//! let error = Crl::from_der(&[0x30, 0x03, 0x02, 0x01, 0x01]).unwrap_err();
//! assert_eq!(error.kind, CrlErrorKind::Malformed);
//! assert_eq!(error.to_string(), "the revocation list is malformed (list, octet 2)");
//! ```

mod error;
mod parse;
mod serials;

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};

use crate::pki::x509::Signed;

pub use self::error::{CrlError, CrlErrorKind, CrlField};

use self::parse::Scope;
use self::serials::Serials;

/// Most keys of which a list remembers whether they made its signature. Authorities of one name have two while a key is
/// being replaced; a further one costs a verification each time.
const MAX_KEYS: usize = 4;

/// A parsed revocation list. Its signature is not verified yet: only a chain, or an earlier list, tells the issuer's key.
pub struct Crl {
    der: Box<[u8]>,
    signed: Range<usize>,
    algorithm: Range<usize>,
    signature: Range<usize>,
    issuer: Range<usize>,
    /// The value of the authority key identifier, and of the issuing distribution point, as they stand.
    authority_key: Option<Range<usize>>,
    point: Option<Range<usize>>,
    version: CrlVersion,
    next_update: u64,
    scope: Option<Scope>,
    serials: Serials,
    /// Keys, and whether they made the signature: a long list is hashed once, not once a handshake.
    keys: [OnceLock<(Box<[u8]>, bool)>; MAX_KEYS],
}

/// How new a list is: its cRLNumber (RFC 5280, 5.2.3), if it has one, and its thisUpdate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CrlVersion {
    number: Option<CrlNumber>,
    this_update: u64,
}

/// A cRLNumber: at most 20 octets (RFC 5280, 5.2.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CrlNumber([u8; 20]);

/// What a list can say of a certificate of its issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// Nothing: the certificate is out of its scope.
    None,
    /// It may be the part of the issuer's lists that has the certificate, or another one: what it lists is revoked, what
    /// it does not list is not cleared.
    Part,
    /// Whether the certificate is revoked.
    Whole,
}

impl CrlVersion {
    /// The cRLNumber.
    pub fn number(&self) -> Option<CrlNumber> {
        self.number
    }

    /// When the list was issued.
    pub fn this_update(&self) -> UnixTime {
        time(self.this_update)
    }

    /// Whether this is older than the other: by its number, where both have one, or by its date. A list that is newer by
    /// one and older by the other is not what RFC 5280, 5.2.3 lets an issuer make, and counts as older.
    pub fn is_older_than(&self, other: &Self) -> bool {
        let by_number =
            matches!((self.number, other.number), (Some(own), Some(theirs)) if own < theirs);
        by_number || self.this_update < other.this_update
    }
}

impl fmt::Display for CrlVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "number {number} of ")?,
            None => f.write_str("without a number, of ")?,
        }
        crate::pki::date::Date(self.this_update()).fmt(f)
    }
}

impl fmt::Display for CrlNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        let first = self.0.iter().position(|octet| *octet != 0).unwrap_or(self.0.len() - 1);
        self.0[first..].iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for CrlNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Crl {
    /// Parses a list: version 2, with nextUpdate and sound entries. Costs one pass over it.
    ///
    /// # Errors
    ///
    /// A [`CrlError`] that says what is wrong with the list, or what of RFC 5280 it uses that is not supported, and where.
    pub fn from_der(der: &[u8]) -> Result<Self, CrlError> {
        let parts = parse::parse(der)?;
        let serials = Serials::new(der, &parts.serials);
        Ok(Self {
            signed: parts.signed,
            algorithm: parts.algorithm,
            signature: parts.signature,
            issuer: parts.issuer,
            authority_key: parts.authority_key,
            point: parts.point,
            version: CrlVersion { number: parts.number, this_update: parts.this_update },
            next_update: parts.next_update,
            scope: parts.scope,
            serials,
            keys: Default::default(),
            der: der.into(),
        })
    }

    /// The distinguished name of its issuer: the contents of the SEQUENCE, in DER.
    pub fn issuer(&self) -> &[u8] {
        &self.der[self.issuer.clone()]
    }

    /// How new it is.
    pub fn version(&self) -> CrlVersion {
        self.version
    }

    /// When the next one is due; from then on it clears nobody.
    pub fn next_update(&self) -> UnixTime {
        time(self.next_update)
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.serials.len()
    }

    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it lists this serial number: the contents of the INTEGER, in DER. That means something only for a
    /// certificate of the list's issuer, and once the signature is verified: judgements see to both.
    pub fn lists(&self, serial: &[u8]) -> bool {
        self.serials.contains(&self.der, serial)
    }

    /// Whether both speak for the same certificates of the same issuer: equal names, key identifiers (RFC 5280, 5.2.1)
    /// and issuing distribution points (5.2.5). Of such lists the newest is meant.
    pub fn is_of_the_same_kind(&self, other: &Self) -> bool {
        let kind = |crl: &Self, range: &Option<Range<usize>>| {
            range.clone().map(|range| crl.der[range].to_vec())
        };
        self.issuer() == other.issuer()
            && kind(self, &self.authority_key) == kind(other, &other.authority_key)
            && kind(self, &self.point) == kind(other, &other.point)
    }

    /// Whether both are the same, octet by octet.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.der == other.der
    }

    pub(crate) fn times(&self) -> (u64, u64) {
        (self.version.this_update, self.next_update)
    }

    /// What it can say of this certificate of its issuer (RFC 5280, 6.3.3, (b)(2)).
    pub(crate) fn covers(&self, certificate: &CertificateDer<'_>, is_leaf: bool) -> Coverage {
        self.scope
            .as_ref()
            .map_or(Coverage::Whole, |scope| scope.covers(&self.der, certificate, is_leaf))
    }

    /// Whether this key made the signature, if that was found out before.
    pub(crate) fn known_signer(&self, spki: &[u8]) -> Option<bool> {
        self.keys
            .iter()
            .filter_map(OnceLock::get)
            .find(|(key, _)| **key == *spki)
            .map(|(_, good)| *good)
    }

    /// Whether this key made the signature. What comes of it is remembered.
    pub(crate) fn is_signed_by(
        &self,
        spki: &[u8],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        if let Some(known) = self.known_signer(spki) {
            return known;
        }
        let good = self.verify(spki, algorithms);
        let mut finding = (spki.into(), good);
        for slot in &self.keys {
            // Another thread may be first, with this key or another one. Where no slot is left it is found out again.
            match slot.set(finding) {
                Ok(()) => break,
                Err(back) => finding = back,
            }
        }
        good
    }

    fn verify(&self, spki: &[u8], algorithms: &[&dyn SignatureVerificationAlgorithm]) -> bool {
        let part = |range: &Range<usize>| &self.der[range.clone()];
        let signed = Signed {
            data: part(&self.signed),
            algorithm: part(&self.algorithm),
            signature: part(&self.signature),
        };
        signed.verify(spki, algorithms)
    }

    /// The keys that are known to have made the signature.
    pub(crate) fn signers(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().filter_map(OnceLock::get).filter(|(_, good)| *good).map(|(key, _)| &**key)
    }
}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crl")
            .field("version", &self.version)
            .field("entries", &self.len())
            .finish_non_exhaustive()
    }
}

fn time(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}
