//! One certificate revocation list (RFC 5280, section 5), parsed once and kept as it came.
//!
//! A list consists of its encoding and a hash table over the serial numbers, of at most 24
//! octets an entry: a list of a million entries costs its own length and 16 MiB. A look-up reads
//! one slot or two, and at most one entry. The table is keyed at random, so that no choice of
//! serial numbers makes it slow.
//!
//! ```
//! # use smtp_tls_policy::pki::{Crl, CrlErrorKind};
//! let error = Crl::from_der(&[0x30, 0x03, 0x02, 0x01, 0x01]).unwrap_err();
//! assert_eq!(error.kind, CrlErrorKind::Malformed);
//! assert_eq!(error.to_string(), "the revocation list is malformed (list, octet 2)");
//! ```

mod der;
mod error;
mod parse;
mod scope;
mod serials;

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use pki_types::{SignatureVerificationAlgorithm, UnixTime};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use crate::pki::comparison::ComparableName;
use crate::pki::date::Date;
use crate::pki::x509::Signed;
use crate::visible::visible;

pub use self::error::{CrlError, CrlErrorKind};
pub(crate) use self::scope::{Coverage, Points};

use self::scope::Scope;
use self::serials::Serials;

/// Most keys of which a list remembers whether they made its signature. Authorities of one name
/// have two while a key is being replaced; a further one costs a verification each time.
const MAX_KEYS: usize = 4;
/// Most characters of an issuer's name in a log.
const MAX_ISSUER_TEXT: usize = 200;

/// A parsed revocation list. Its signature is not verified yet: only a chain, or an earlier list,
/// tells the issuer's key.
pub struct Crl {
    der: Box<[u8]>,
    signed: Range<usize>,
    algorithm: Range<usize>,
    signature: Range<usize>,
    issuer: Range<usize>,
    issuer_name: ComparableName,
    /// Whether a judged certificate was of this issuer.
    issuer_is_known: AtomicBool,
    /// Whether the program fetched it because a chain named it, and no administrator did.
    was_only_fetched: AtomicBool,
    was_fetched: AtomicBool,
    /// The value of the authority key identifier.
    authority_key: Option<Range<usize>>,
    version: CrlVersion,
    next_update: u64,
    scope: Option<Scope>,
    serials: Serials,
    /// Keys, and whether they made the signature: a long list is hashed once, not once a handshake.
    keys: [OnceLock<(Box<[u8]>, bool)>; MAX_KEYS],
}

/// How new a list is: its cRLNumber (RFC 5280, section 5.2.3), if it has one, and its thisUpdate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CrlVersion {
    number: Option<CrlNumber>,
    this_update: u64,
}

/// A cRLNumber: at most 20 octets (RFC 5280, section 5.2.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct CrlNumber([u8; 20]);

impl CrlNumber {
    /// The octets without leading zeros, at least one.
    fn octets(&self) -> &[u8] {
        let first = self.0.iter().position(|octet| *octet != 0).unwrap_or(self.0.len() - 1);
        &self.0[first..]
    }
}

impl fmt::Display for CrlVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "number {number} of ")?,
            None => f.write_str("without a number, of ")?,
        }
        Date(time(self.this_update)).fmt(f)
    }
}

impl fmt::Display for CrlNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.octets().iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for CrlNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Crl {
    /// Parses a list of version 1 or 2, with nextUpdate and sound entries, in one pass over it.
    ///
    /// # Errors
    ///
    /// A [`CrlError`] that says what is wrong with the list, or what of RFC 5280 it uses that is
    /// not supported, and where.
    pub fn from_der(der: &[u8]) -> Result<Self, CrlError> {
        let parts = parse::parse(der)?;
        let serials = Serials::new(der, &parts.serials);
        Ok(Self {
            signed: parts.signed,
            algorithm: parts.algorithm,
            signature: parts.signature,
            issuer_name: ComparableName::of_contents(&der[parts.issuer.clone()]),
            issuer_is_known: AtomicBool::new(false),
            was_only_fetched: AtomicBool::new(false),
            was_fetched: AtomicBool::new(false),
            issuer: parts.issuer,
            authority_key: parts.authority_key,
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

    /// The distinguished name of the issuer for a log, such as `O=Example, CN=Example CA`: at most
    /// 200 characters, without hidden ones; empty if the name cannot be read.
    pub fn issuer_text(&self) -> String {
        // DER has one form for each length, so the contents tell where their header begins.
        let header = match self.issuer.len() {
            0..=0x7f => 2,
            0x80..=0xff => 3,
            _ => 4,
        };
        let der = self.der.get(self.issuer.start.saturating_sub(header)..self.issuer.end);
        let Some((_, name)) = der.and_then(|der| X509Name::from_der(der).ok()) else {
            return String::new();
        };
        let text: String = name.to_string().chars().take(MAX_ISSUER_TEXT).collect();
        visible(&text)
    }

    /// The cRLNumber (RFC 5280, section 5.2.3), the most significant octet first, without leading
    /// zeros; `None` if the list has none.
    pub fn number(&self) -> Option<&[u8]> {
        self.version.number.as_ref().map(CrlNumber::octets)
    }

    /// When the list was issued.
    pub fn this_update(&self) -> UnixTime {
        time(self.version.this_update)
    }

    /// Whether this list is older than another of its issuer: by its number, if both have one, or
    /// by its date. A list that is newer by one and older by the other is not what RFC 5280,
    /// section 5.2.3 lets an issuer make, and counts as older.
    pub fn is_older_than(&self, other: &Self) -> bool {
        let (own, other) = (&self.version, &other.version);
        let by_number =
            matches!((own.number, other.number), (Some(own), Some(theirs)) if own < theirs);
        by_number || own.this_update < other.this_update
    }

    /// How new the list is, for errors.
    pub(crate) fn version(&self) -> CrlVersion {
        self.version
    }

    /// When the next list is due. From then on this list clears no certificate.
    pub fn next_update(&self) -> UnixTime {
        time(self.next_update)
    }

    /// The number of entries that revoke a certificate.
    pub fn len(&self) -> usize {
        self.serials.len()
    }

    /// Whether no entry revokes a certificate.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets of memory that the list takes: its encoding and the table over its serial numbers.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.der.len() + self.serials.memory()
    }

    /// Whether the list revokes this serial number: the contents of the INTEGER, in DER. That means
    /// something only for a certificate of the list's issuer, and once the signature is verified:
    /// judgements see to both.
    pub fn lists(&self, serial: &[u8]) -> bool {
        self.serials.contains(&self.der, serial)
    }

    /// Whether both speak for the same certificates of the same issuer: equal names (RFC 5280,
    /// section 7.1), key identifiers (section 5.2.1) and issuing distribution points (section
    /// 5.2.5). Of such lists the newest is meant, if the same key signed them.
    pub fn is_of_the_same_kind(&self, other: &Self) -> bool {
        self.issuer_name == other.issuer_name
            && self.authority_key() == other.authority_key()
            && self.scope == other.scope
    }

    /// The value of the authority key identifier.
    pub(crate) fn authority_key(&self) -> Option<&[u8]> {
        self.authority_key.clone().map(|range| &self.der[range])
    }

    /// The name of its issuer, ready to be compared.
    pub(crate) fn issuer_name(&self) -> &ComparableName {
        &self.issuer_name
    }

    /// Records that a judged certificate was of this issuer.
    pub(crate) fn set_issuer_is_known(&self) {
        // Written once, so that threads that judge do not take the cache line from each other.
        if !self.issuer_is_known() {
            self.issuer_is_known.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a judged certificate was of this issuer.
    pub(crate) fn issuer_is_known(&self) -> bool {
        self.issuer_is_known.load(Ordering::Relaxed)
    }

    /// Records whether the list is there only because a judged chain named it.
    pub(crate) fn set_only_fetched(&self, was_only_fetched: bool) {
        self.was_only_fetched.store(was_only_fetched, Ordering::Relaxed);
    }

    /// Whether the list is there only because a judged chain named it. Then it says nothing of
    /// other lists of its issuer.
    pub(crate) fn was_only_fetched(&self) -> bool {
        self.was_only_fetched.load(Ordering::Relaxed)
    }

    /// It came by a fetch.
    pub(crate) fn set_fetched(&self) {
        self.was_fetched.store(true, Ordering::Relaxed);
    }

    /// Whether it came by a fetch, also where it replaced a list that an administrator loaded.
    pub(crate) fn was_fetched(&self) -> bool {
        self.was_fetched.load(Ordering::Relaxed)
    }

    pub(crate) fn times(&self) -> (u64, u64) {
        (self.version.this_update, self.next_update)
    }

    /// What it can say of a certificate of its issuer with these distribution points.
    pub(crate) fn covers(&self, points: &Points, is_leaf: bool) -> Coverage {
        self.scope.as_ref().map_or(Coverage::Whole, |scope| scope.covers(points, is_leaf))
    }

    /// Whether this key made the signature, if that was found out before.
    pub(crate) fn known_signer(&self, spki: &[u8]) -> Option<bool> {
        self.keys
            .iter()
            .filter_map(OnceLock::get)
            .find(|(key, _)| **key == *spki)
            .map(|(_, good)| *good)
    }

    /// Whether this key made the signature. The result is remembered.
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
            // Another thread may be first, with this key or another one. Where no slot is left it
            // is found out again.
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

/// Lists are equal if they are the same, octet by octet.
impl PartialEq for Crl {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Crl {}

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
