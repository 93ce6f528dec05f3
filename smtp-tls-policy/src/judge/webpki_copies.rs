//! Adapts a chain to the path builder, which takes fewer forms of certificates than RFC 5280 does.
//!
//! The path builder (rustls-webpki) compares names octet by octet, refuses critical extensions on
//! policies and name constraints on directory names and mailboxes, and takes version 3 only. Where
//! a chain needs more, it is shown copies that differ in nothing but that: names of one meaning get
//! one spelling (RFC 5280, section 7.1), the extensions on policies are not marked critical because
//! this crate processes them ([`certificate_policies`](super::certificate_policies)), name
//! constraints have no forms that it refuses and this crate processes
//! ([`name_constraints`](super::name_constraints)), a host's certificate of version 1 is marked as
//! one of version 3 without extensions, and dates before 1970 (RFC 5280, section 4.1.2.5.1: a
//! UTCTime begins in 1950) become 1970. Signatures are verified over what the issuer signed, not
//! over the copies.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm,
    TrustAnchor, UnixTime,
};
use webpki::{EndEntityCert, VerifiedPath};
use x509_parser::asn1_rs::{Any, FromDer, Sequence, ToDer};
use x509_parser::nom::Offset as _;
use x509_parser::x509::{X509Name, X509Version};

use super::Algorithms;
use super::purpose::Purpose;
use crate::pki::anchors::AnchorNames;
use crate::pki::comparison::ComparableName;
use crate::pki::x509;

/// A chain and the anchors to which it may lead, as the path builder sees them.
pub(super) struct Adapted<'a> {
    /// As many certificates as the peer showed, in the same order.
    pub(super) chain: Cow<'a, [CertificateDer<'a>]>,
    /// As many as were given, in the same order.
    pub(super) anchors: Cow<'a, [TrustAnchor<'a>]>,
    /// The chain and the anchors as they were given.
    given: (&'a [CertificateDer<'a>], &'a [TrustAnchor<'a>]),
    algorithms: Algorithms<'a>,
    /// Of each copy the data that it shows, and the data that the issuer signed.
    signed: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<'a> Adapted<'a> {
    /// Copies what has to be changed, which in most chains is nothing.
    pub(super) fn new(
        chain: &'a [CertificateDer<'a>],
        anchors: &'a [TrustAnchor<'a>],
        names: &AnchorNames,
        algorithms: Algorithms<'a>,
    ) -> Self {
        let spellings = Spellings::of(chain, anchors, names);
        let mut adapted = Self {
            chain: Cow::Borrowed(chain),
            anchors: Cow::Borrowed(anchors),
            given: (chain, anchors),
            algorithms,
            signed: Vec::new(),
        };
        for (position, der) in chain.iter().enumerate() {
            if let Some(copy) = copy_of(der, position == 0, &spellings) {
                adapted.chain.to_mut()[position] = CertificateDer::from(copy.der);
                adapted.signed.push((copy.shown, copy.signed));
            }
        }
        adapted.forget_ambiguous();
        for (position, anchor) in anchors.iter().enumerate() {
            if let Some(name) = spellings.replacement(&anchor.subject) {
                adapted.anchors.to_mut()[position].subject = name.to_vec().into();
            }
            if let Some(constraints) = anchor.name_constraints.as_deref().and_then(retagged) {
                adapted.anchors.to_mut()[position].name_constraints = Some(constraints.into());
            }
        }
        adapted
    }

    /// Leaves the signature of a copy to fail where the copy shows what another certificate of the
    /// chain shows: a peer can send the copy itself, which the issuer never signed. It has other
    /// name constraints than the original and must not be taken for it.
    fn forget_ambiguous(&mut self) {
        if self.signed.is_empty() {
            return;
        }
        let mut pairs: Vec<(&[u8], &[u8])> = Vec::new();
        pairs.extend(self.signed.iter().map(|(shown, signed)| (&shown[..], &signed[..])));
        let copied = self.given.0.iter().zip(&*self.chain).map(|(given, copy)| given != copy);
        let parsed: Vec<_> = self.given.0.iter().map(x509::parse).collect();
        for (certificate, copied) in parsed.iter().zip(copied) {
            let Some(certificate) = certificate.as_ref().filter(|_| !copied) else { continue };
            let tbs = certificate.tbs_certificate.as_ref();
            pairs.push((tbs, tbs));
        }
        let mut of_shown = HashMap::new();
        let mut ambiguous = HashSet::new();
        for (shown, signed) in pairs {
            if **of_shown.entry(shown).or_insert(signed) != *signed {
                ambiguous.insert(shown.to_vec());
            }
        }
        self.signed.retain(|(shown, _)| !ambiguous.contains(shown));
    }

    /// Builds a path from the first certificate of the chain to one of the anchors, and asks
    /// `check` of each path that is good in everything else.
    ///
    /// # Errors
    ///
    /// What the path builder finds wrong, in terms of the adapted chain.
    pub(super) fn verify<T>(
        &self,
        now: UnixTime,
        purpose: Purpose,
        check: &dyn Fn(&VerifiedPath<'_>) -> Result<(), webpki::Error>,
        then: impl FnOnce(&VerifiedPath<'_>) -> T,
    ) -> Result<T, webpki::Error> {
        let (leaf, issuers) = self.chain.split_first().ok_or(webpki::Error::BadDer)?;
        let originals: Vec<_> = self.algorithms.iter().map(|inner| self.original(*inner)).collect();
        let originals: Vec<_> = originals.iter().map(|algorithm| algorithm as _).collect();
        let algorithms = match self.signed.is_empty() {
            true => self.algorithms,
            false => &*originals,
        };
        let end_entity = EndEntityCert::try_from(leaf)?;
        let path = end_entity.verify_for_usage(
            algorithms,
            &self.anchors,
            issuers,
            now,
            purpose,
            None,
            Some(check),
        )?;
        Ok(then(&path))
    }

    /// The certificates and the anchor of a path as they were given; `None` if the path is of
    /// another chain.
    pub(super) fn originals(&self, path: &VerifiedPath<'_>) -> Option<Originals<'a>> {
        let (chain, anchors) = self.given;
        let original = |cert: &webpki::Cert<'_>| {
            let der = cert.der();
            chain.get(self.chain.iter().position(|copy| *copy == der)?)
        };
        let is_used = |anchor: &TrustAnchor<'_>| std::ptr::eq(anchor, path.anchor());
        Some(Originals {
            leaf: original(path.end_entity())?,
            issuers: path.intermediate_certificates().map(original).collect::<Option<_>>()?,
            anchor: anchors.get(self.anchors.iter().position(is_used)?)?,
        })
    }

    fn original(&self, inner: &'a dyn SignatureVerificationAlgorithm) -> Original<'_> {
        Original { inner, signed: &self.signed }
    }
}

/// A path in terms of what was given.
pub(super) struct Originals<'a> {
    pub(super) leaf: &'a CertificateDer<'a>,
    /// From the leaf's issuer upwards.
    pub(super) issuers: Vec<&'a CertificateDer<'a>>,
    pub(super) anchor: &'a TrustAnchor<'a>,
}

/// Verifies signatures over what an issuer signed, given the copy that the path builder sees.
#[derive(Debug)]
struct Original<'a> {
    inner: &'a dyn SignatureVerificationAlgorithm,
    signed: &'a [(Vec<u8>, Vec<u8>)],
}

impl SignatureVerificationAlgorithm for Original<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let original = self.signed.iter().find(|(shown, _)| shown == message);
        let message = original.map_or(message, |(_, signed)| signed);
        self.inner.verify_signature(public_key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.signature_alg_id()
    }
}

/// The names of a chain and its anchors that are written in several ways, each as the contents of a
/// Name.
struct Spellings(HashMap<ComparableName, Vec<u8>>);

impl Spellings {
    fn of(chain: &[CertificateDer<'_>], anchors: &[TrustAnchor<'_>], names: &AnchorNames) -> Self {
        let mut first: HashMap<ComparableName, &[u8]> = HashMap::new();
        let mut several = HashMap::new();
        for der in chain {
            let Some((issuer, subject)) = x509::names_of(der) else {
                continue;
            };
            for name in [issuer, subject] {
                let key = ComparableName::of_contents(name);
                let spelling = *first.entry(key.clone()).or_insert(name);
                let is_other = |anchor: &usize| {
                    anchors.get(*anchor).is_some_and(|anchor| *anchor.subject != *spelling)
                };
                if spelling != name || names.of(&key).iter().any(is_other) {
                    several.insert(key, spelling.to_vec());
                }
            }
        }
        Self(several)
    }

    /// The spelling that replaces this one.
    fn replacement(&self, contents: &[u8]) -> Option<&[u8]> {
        if self.0.is_empty() {
            return None;
        }
        let spelling = self.0.get(&ComparableName::of_contents(contents))?;
        (**spelling != *contents).then_some(spelling)
    }
}

struct Copy {
    der: Vec<u8>,
    shown: Vec<u8>,
    signed: Vec<u8>,
}

/// The extensions on policies that [`certificate_policies`](super::certificate_policies) processes
/// (RFC 5280, sections 4.2.1.4, 4.2.1.5, 4.2.1.11 and 4.2.1.14).
const POLICY_EXTENSIONS: [&[u8]; 4] =
    [&[0x55, 0x1d, 32], &[0x55, 0x1d, 33], &[0x55, 0x1d, 36], &[0x55, 0x1d, 54]];

/// What the path builder is shown in place of a certificate; `None` if that is the certificate
/// itself, or if it cannot be read.
fn copy_of(der: &CertificateDer<'_>, is_leaf: bool, spellings: &Spellings) -> Option<Copy> {
    let certificate = x509::parse(der)?;
    let tbs = &certificate.tbs_certificate;
    let whole: &[u8] = der;
    let range = |part: &[u8]| {
        let start = whole.offset(part);
        start..start + part.len()
    };
    let mut changes: Vec<(Range<usize>, Vec<u8>)> = Vec::new();

    let tbs_range = range(tbs.as_ref());
    let (_, contents) = Any::from_der(tbs.as_ref()).ok()?;
    let contents = range(contents.data);
    let bare = tbs.extensions().is_empty() && tbs.issuer_uid.is_none() && tbs.subject_uid.is_none();
    if is_leaf && tbs.version() == X509Version::V1 && bare {
        const VERSION_3: [u8; 5] = [0xa0, 3, 2, 1, 2];
        // The field is absent, as it should be, or written out.
        let (_, first) = Any::from_der(&whole[contents.clone()]).ok()?;
        let written = match whole[contents.start] {
            0xa0 => range(first.data).end,
            _ => contents.start,
        };
        changes.push((contents.start..written, VERSION_3.to_vec()));
    }
    let renamed = |name: &X509Name<'_>| {
        let (_, parsed) = Any::from_der(name.as_raw()).ok()?;
        let spelling = spellings.replacement(parsed.data)?;
        Some((range(name.as_raw()), sequence(spelling)?))
    };
    changes.extend(renamed(&tbs.issuer));
    // The dates follow the issuer.
    let (_, dates) = Any::from_der(whole.get(range(tbs.issuer.as_raw()).end..)?).ok()?;
    let mut dates = dates.data;
    for date in [tbs.validity.not_before, tbs.validity.not_after] {
        let (rest, parsed) = Any::from_der(dates).ok()?;
        dates = rest;
        if date.timestamp() < 0 {
            changes.push((range(parsed.data), epoch(parsed.data.len())?.to_vec()));
        }
    }
    changes.extend(renamed(&tbs.subject));
    for extension in tbs.extensions() {
        if extension.oid.as_bytes() == x509::NAME_CONSTRAINTS
            && let Ok((_, parsed)) = Any::from_der(extension.value)
            && let Some(constraints) = retagged(parsed.data)
        {
            changes.push((range(parsed.data), constraints));
        }
        if extension.critical && POLICY_EXTENSIONS.contains(&extension.oid.as_bytes()) {
            // The flag ends where the header of the OCTET STRING begins.
            let value = range(extension.value);
            let header = match value.len() {
                0..0x80 => 2,
                0x80..0x100 => 3,
                _ => 4,
            };
            let flag = value.start.checked_sub(header + 1)?;
            if whole.get(flag - 2..=flag) == Some(&[1, 1, 0xff]) {
                changes.push((flag..flag + 1, vec![0]));
            }
        }
    }
    if changes.is_empty() {
        return None;
    }

    // They are in the order of the certificate's fields.
    let mut shown = Vec::with_capacity(contents.len());
    let mut at = contents.start;
    for (range, replacement) in changes {
        shown.extend_from_slice(whole.get(at..range.start)?);
        shown.extend_from_slice(&replacement);
        at = range.end;
    }
    shown.extend_from_slice(whole.get(at..contents.end)?);
    let shown = sequence(&shown)?;
    let outer = [&shown[..], &whole[tbs_range.end..]].concat();
    Some(Copy { der: sequence(&outer)?, shown, signed: whole[tbs_range].to_vec() })
}

/// 1 January 1970 as a UTCTime or a GeneralizedTime of this length. Every date before it lies as
/// far in the past.
fn epoch(length: usize) -> Option<&'static [u8]> {
    [&b"700101000000Z"[..], b"19700101000000Z"].into_iter().find(|date| date.len() == length)
}

/// The contents of name constraints (RFC 5280, section 4.2.1.10) without the two forms of names
/// that [`name_constraints`](super::name_constraints) processes and the path builder refuses: their
/// tags are replaced by those of forms that mail has no use for. `None` if there is nothing to
/// replace.
fn retagged(contents: &[u8]) -> Option<Vec<u8>> {
    const MAILBOX: u8 = 0x81;
    const DIRECTORY: u8 = 0xa4;
    const REGISTERED_ID: u8 = 0x88;
    const X400_ADDRESS: u8 = 0xa3;
    let mut changed = None;
    for base in x509::subtree_bases(contents)? {
        let tag = match contents.get(base) {
            Some(&MAILBOX) => REGISTERED_ID,
            Some(&DIRECTORY) => X400_ADDRESS,
            _ => continue,
        };
        changed.get_or_insert_with(|| contents.to_vec())[base] = tag;
    }
    changed
}

/// `SEQUENCE { contents }`.
pub(super) fn sequence(contents: &[u8]) -> Option<Vec<u8>> {
    Sequence::new(Cow::Borrowed(contents)).to_der_vec().ok()
}
