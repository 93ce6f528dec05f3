//! Reads those parts of certificates that the path builder keeps to itself.
//!
//! [`parse`] reads a whole certificate. Most functions here ask for less: they walk to the fields
//! that they need with the DER reader of x509-parser, and ask nothing of the rest, so that the key
//! of a certificate can be used at floors where the certificate itself is not checked.

use pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;
use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::certificate::{X509Certificate, X509CertificateParser};
use x509_parser::nom::{Offset as _, Parser as _};
use x509_parser::time::ASN1Time;

use crate::pki::comparison::{ComparableName, ComparablePoint};

/// Parses a certificate of any version, with the values of its extensions as they are.
pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    let (rest, certificate) = parser.parse(der).ok()?;
    rest.is_empty().then_some(certificate)
}

/// Parses a certificate of any version, and the values of its extensions.
pub(crate) fn parse_deep<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(certificate)
}

/// A field of a certificate (RFC 5280, section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertificateField {
    /// The certificate as a whole: three parts, and nothing after them.
    Certificate,
    /// `version`
    Version,
    /// `serialNumber`
    SerialNumber,
    /// `signature` and `signatureAlgorithm`
    Algorithm,
    /// `issuer`
    Issuer,
    /// `validity`
    Validity,
    /// `subject`
    Subject,
    /// `subjectPublicKeyInfo`
    PublicKey,
    /// `extensions`
    Extensions,
    /// `signatureValue`
    Signature,
}

impl CertificateField {
    /// The name in errors.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Version => "version",
            Self::SerialNumber => "serialNumber",
            Self::Algorithm => "signature algorithm",
            Self::Issuer => "issuer",
            Self::Validity => "validity",
            Self::Subject => "subject",
            Self::PublicKey => "subjectPublicKeyInfo",
            Self::Extensions => "extensions",
            Self::Signature => "signature",
        }
    }
}

/// What the path builder finds wrong with one certificate, and in which field.
pub(crate) fn fault_of(error: &webpki::Error) -> (&'static str, CertificateField) {
    use CertificateField as F;
    use webpki::Error as E;
    match error {
        E::UnsupportedCertVersion => ("not X.509 version 3", F::Version),
        E::UnsupportedCriticalExtension => ("unknown critical extension", F::Extensions),
        E::BadDerTime | E::InvalidCertValidity => ("dates", F::Validity),
        E::EmptyEkuExtension => ("empty extended key usage", F::Extensions),
        E::ExtensionValueInvalid | E::MalformedExtensions => ("extensions", F::Extensions),
        E::MalformedNameConstraint | E::InvalidNetworkMaskConstraint => {
            ("name constraints", F::Extensions)
        }
        E::InvalidSerialNumber => ("serial number", F::SerialNumber),
        E::MalformedDnsIdentifier => ("names", F::Extensions),
        E::SignatureAlgorithmMismatch => ("two signature algorithms", F::Algorithm),
        _ => ("encoding", F::Certificate),
    }
}

/// The octet, counted from 0, at which an encoding is not what it should be.
type Offset = usize;

const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const INTEGER: u8 = 0x02;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// `[0] version` of a certificate.
const VERSION: u8 = 0xa0;
/// `[3] extensions` of a certificate.
const EXTENSIONS: u8 = 0xa3;

/// Below id-ce.
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 17];
pub(crate) const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];
const CRL_DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 31];
const POLICY_MAPPINGS: &[u8] = &[0x55, 0x1d, 33];
const POLICY_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 36];
const NO_REV_AVAIL: &[u8] = &[0x55, 0x1d, 56];

/// Reads the elements of an encoding in order.
#[derive(Clone, Copy, Debug)]
struct Fields<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
}

/// One element.
#[derive(Clone, Copy, Debug)]
struct Field<'a> {
    /// With tag and length.
    whole: &'a [u8],
    /// Without tag and length.
    contents: &'a [u8],
}

impl<'a> Fields<'a> {
    fn of(der: &'a [u8]) -> Self {
        Self { whole: der, rest: der }
    }

    /// Those inside an element of the same encoding.
    fn inside(&self, field: Field<'a>) -> Self {
        Self { whole: self.whole, rest: field.contents }
    }

    fn offset(&self) -> Offset {
        self.whole.offset(self.rest)
    }

    fn next(&mut self) -> Result<Field<'a>, Offset> {
        let (after, any) = Any::from_der(self.rest).map_err(|_| self.offset())?;
        let whole = &self.rest[..self.rest.len() - after.len()];
        self.rest = after;
        Ok(Field { whole, contents: any.data })
    }

    /// The next element, which must have this tag.
    fn expect(&mut self, tag: u8) -> Result<Field<'a>, Offset> {
        match self.rest.first() {
            Some(found) if *found == tag => self.next(),
            _ => Err(self.offset()),
        }
    }

    /// The next element, if it has this tag.
    fn optional(&mut self, tag: u8) -> Result<Option<Field<'a>>, Offset> {
        match self.rest.first() {
            Some(found) if *found == tag => self.next().map(Some),
            _ => Ok(None),
        }
    }

    fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Fails if anything is left.
    fn finish(&self) -> Result<(), Offset> {
        if self.is_empty() { Ok(()) } else { Err(self.offset()) }
    }
}

/// The octet at which an encoding stops being a SubjectPublicKeyInfo; `None` if its shape is sound.
pub(crate) fn fault_of_key(der: &[u8]) -> Option<usize> {
    let shape = || {
        let mut outer = Fields::of(der);
        let key = outer.expect(SEQUENCE)?;
        outer.finish()?;
        let mut key = outer.inside(key);
        key.expect(SEQUENCE)?;
        key.expect(BIT_STRING)?;
        key.finish()
    };
    shape().err()
}

/// The first field of a certificate that is absent or not DER, and at which octet; `None` if the
/// shape of all fields is sound. The values of extensions are not looked at.
pub(crate) fn first_fault(der: &[u8]) -> Option<(CertificateField, usize)> {
    fields(der).err()
}

fn fields(der: &[u8]) -> Result<(), (CertificateField, Offset)> {
    use CertificateField as F;
    const UNIQUE_IDS: [u8; 2] = [0x81, 0x82];
    let at = |field| move |offset| (field, offset);
    let mut outer = Fields::of(der);
    let certificate = outer.expect(SEQUENCE).map_err(at(F::Certificate))?;
    outer.finish().map_err(at(F::Certificate))?;
    let mut parts = outer.inside(certificate);
    let tbs = parts.expect(SEQUENCE).map_err(at(F::Certificate))?;
    let mut tbs = parts.inside(tbs);
    tbs.optional(VERSION).map_err(at(F::Version))?;
    tbs.expect(INTEGER).map_err(at(F::SerialNumber))?;
    tbs.expect(SEQUENCE).map_err(at(F::Algorithm))?;
    tbs.expect(SEQUENCE).map_err(at(F::Issuer))?;
    let validity = tbs.expect(SEQUENCE).map_err(at(F::Validity))?;
    let mut validity = tbs.inside(validity);
    for _ in 0..2 {
        seconds(&mut validity).map_err(at(F::Validity))?;
    }
    validity.finish().map_err(at(F::Validity))?;
    tbs.expect(SEQUENCE).map_err(at(F::Subject))?;
    let key = tbs.expect(SEQUENCE).map_err(at(F::PublicKey))?;
    let mut key = tbs.inside(key);
    key.expect(SEQUENCE).map_err(at(F::PublicKey))?;
    key.expect(BIT_STRING).map_err(at(F::PublicKey))?;
    for id in UNIQUE_IDS {
        tbs.optional(id).map_err(at(F::Certificate))?;
    }
    if let Some(explicit) = tbs.optional(EXTENSIONS).map_err(at(F::Extensions))? {
        let list = tbs.inside(explicit).expect(SEQUENCE).map_err(at(F::Extensions))?;
        let mut list = tbs.inside(list);
        while !list.is_empty() {
            let extension = list.expect(SEQUENCE).map_err(at(F::Extensions))?;
            let mut extension = list.inside(extension);
            extension.expect(OID).map_err(at(F::Extensions))?;
            while !extension.is_empty() {
                extension.next().map_err(at(F::Extensions))?;
            }
        }
    }
    tbs.finish().map_err(at(F::Certificate))?;
    parts.expect(SEQUENCE).map_err(at(F::Algorithm))?;
    parts.expect(BIT_STRING).map_err(at(F::Signature))?;
    parts.finish().map_err(at(F::Certificate))
}

/// Seconds since 1970 of a time (RFC 5280, section 4.1.2.5); 0 if it lies before.
fn seconds(fields: &mut Fields<'_>) -> Result<u64, Offset> {
    let at = fields.offset();
    let field = fields.next()?;
    let (_, time) = ASN1Time::from_der(field.whole).map_err(|_| at)?;
    Ok(u64::try_from(time.timestamp()).unwrap_or(0))
}

/// Whether an issuer may sign revocation lists: key usage absent, or with cRLSign (RFC 5280,
/// section 6.3.3, (f)).
pub(crate) fn may_sign_crls(issuer: &CertificateDer<'_>) -> bool {
    const CRL_SIGN: u8 = 0x02;
    has_key_usage(issuer, CRL_SIGN)
}

/// Whether an issuer may sign certificates: key usage absent, or with keyCertSign (RFC 5280,
/// section 6.1.4, (n)). The path builder does not ask.
pub(crate) fn may_sign_certificates(issuer: &CertificateDer<'_>) -> bool {
    const KEY_CERT_SIGN: u8 = 0x04;
    has_key_usage(issuer, KEY_CERT_SIGN)
}

/// Whether a key may authenticate a peer of TLS: key usage absent, or with digitalSignature,
/// keyEncipherment or keyAgreement (RFC 5280, section 4.2.1.12). Every handshake has a signature; a
/// certificate for one of the other two is taken as other software takes it. The path builder does
/// not ask.
pub(crate) fn may_authenticate(leaf: &CertificateDer<'_>) -> bool {
    const IN_A_HANDSHAKE: u8 = 0x80 | 0x20 | 0x08;
    has_key_usage(leaf, IN_A_HANDSHAKE)
}

/// Whether the key may be used so: one of these bits of the first octet (RFC 5280, section
/// 4.2.1.3), or no such extension. An extension that cannot be read allows nothing.
fn has_key_usage(der: &CertificateDer<'_>, usage: u8) -> bool {
    match Bare::from_der(der).and_then(|bare| bare.extension(KEY_USAGE)) {
        Ok(None) => true,
        Ok(Some(value)) => {
            let bits = Fields::of(value).expect(BIT_STRING).map(|bits| bits.contents);
            // The number of unused bits comes first.
            bits.is_ok_and(|bits| bits.get(1).is_some_and(|octet| octet & usage != 0))
        }
        Err(_) => false,
    }
}

/// The parts of a certificate that can be read without asking anything of the rest.
struct Bare<'a> {
    issuer: Field<'a>,
    validity: Field<'a>,
    subject: Field<'a>,
    spki: Field<'a>,
    /// What follows the key: identifiers and extensions.
    rest: Fields<'a>,
}

impl<'a> Bare<'a> {
    /// Walks to the key without looking at the version, the dates or the extensions (RFC 5280,
    /// section 4.1).
    fn from_der(der: &'a [u8]) -> Result<Self, Offset> {
        let mut outer = Fields::of(der);
        let certificate = outer.next()?;
        let mut parts = outer.inside(certificate);
        let tbs = parts.next()?;
        let mut tbs = parts.inside(tbs);
        // `[0] version` is absent in version 1; then the serial number comes first.
        tbs.optional(VERSION)?;
        let (_serial_number, _signature) = (tbs.next()?, tbs.next()?);
        let (issuer, validity, subject, spki) =
            (tbs.next()?, tbs.next()?, tbs.next()?, tbs.next()?);
        Ok(Self { issuer, validity, subject, spki, rest: tbs })
    }

    /// The value of an extension; `None` if it is absent. One that occurs twice is an error (RFC
    /// 5280, section 4.2).
    fn extension(mut self, id: &[u8]) -> Result<Option<&'a [u8]>, Offset> {
        let mut found = None;
        while !self.rest.is_empty() {
            let Some(explicit) = self.rest.optional(EXTENSIONS)? else {
                self.rest.next()?;
                continue;
            };
            let list = self.rest.inside(explicit).expect(SEQUENCE)?;
            let mut extensions = self.rest.inside(list);
            while !extensions.is_empty() {
                let at = extensions.offset();
                let extension = extensions.expect(SEQUENCE)?;
                let mut extension = extensions.inside(extension);
                if extension.expect(OID)?.contents != id {
                    continue;
                }
                let value = loop {
                    match extension.optional(OCTET_STRING)? {
                        Some(value) => break value.contents,
                        None => extension.next()?,
                    };
                };
                if found.replace(value).is_some() {
                    return Err(at);
                }
            }
        }
        Ok(found)
    }

    /// notBefore and notAfter in seconds since 1970.
    fn dates(&self) -> Result<(u64, u64), Offset> {
        let mut dates = self.rest.inside(self.validity);
        Ok((seconds(&mut dates)?, seconds(&mut dates)?))
    }
}

/// The names by which a certificate says which host it is for.
pub(crate) struct Naming<'a> {
    /// The value of the subject alternative name (RFC 5280, section 4.2.1.6).
    pub(crate) alternatives: Option<&'a [u8]>,
    /// The distinguished name of the subject.
    pub(crate) subject: &'a [u8],
    /// The distinguished name of the issuer.
    issuer: &'a [u8],
}

impl<'a> Naming<'a> {
    /// `None` if they cannot be read.
    pub(crate) fn of(der: &'a [u8]) -> Option<Self> {
        let bare = Bare::from_der(der).ok()?;
        let (subject, issuer) = (bare.subject.whole, bare.issuer.whole);
        let alternatives = bare.extension(SUBJECT_ALTERNATIVE_NAME).ok()?;
        Some(Self { alternatives, subject, issuer })
    }

    /// Whether subject and issuer have the same name (RFC 5280, section 3.2).
    pub(crate) fn is_self_issued(&self) -> bool {
        let name = |der| contents(der).map(ComparableName::of_contents);
        name(self.subject) == name(self.issuer)
    }
}

/// The value of the name constraints of a certificate (RFC 5280, section 4.2.1.10), and `None` if
/// it has none.
///
/// # Errors
///
/// `Unreadable` if the extension cannot be read.
pub(crate) fn name_constraints(der: &[u8]) -> Result<Option<&[u8]>, Unreadable> {
    Bare::from_der(der).and_then(|bare| bare.extension(NAME_CONSTRAINTS)).map_err(|_| Unreadable)
}

/// The offset of the base of each subtree in the contents of name constraints; `None` if they
/// cannot be read.
pub(crate) fn subtree_bases(contents: &[u8]) -> Option<Vec<usize>> {
    const SUBTREES: [u8; 2] = [0xa0, 0xa1];
    let mut fields = Fields::of(contents);
    let mut bases = Vec::new();
    for tag in SUBTREES {
        if let Some(list) = fields.optional(tag).ok()? {
            let mut list = fields.inside(list);
            while !list.is_empty() {
                let subtree = list.expect(SEQUENCE).ok()?;
                bases.push(list.inside(subtree).offset());
            }
        }
    }
    fields.is_empty().then_some(bases)
}

/// Whether a certificate constrains a form of names that is not processed: otherName, ediPartyName
/// or URIs.
pub(crate) fn has_unprocessed_constraints(der: &CertificateDer<'_>) -> bool {
    const UNPROCESSED: [u8; 3] = [0xa0, 0xa5, 0x86];
    let Ok(Some(value)) = name_constraints(der) else {
        return false;
    };
    contents(value).is_some_and(|contents| {
        let mut bases = subtree_bases(contents).unwrap_or_default().into_iter();
        bases.any(|base| contents.get(base).is_some_and(|tag| UNPROCESSED.contains(tag)))
    })
}

/// Part of a certificate cannot be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unreadable;

/// Whether a certificate has an extension that can make a path fail for its policies, whatever the
/// policies are. One that cannot be read counts.
pub(crate) fn has_policy_rules(der: &CertificateDer<'_>) -> bool {
    [POLICY_MAPPINGS, POLICY_CONSTRAINTS]
        .iter()
        .any(|id| !matches!(Bare::from_der(der).and_then(|bare| bare.extension(id)), Ok(None)))
}

/// The names of the distribution points of a certificate; `None` if it does not have the extension.
/// Points for some reasons only, and those of another issuer's lists, are left out; of an extension
/// that cannot be read nothing is left.
pub(crate) fn distribution_points(der: &CertificateDer<'_>) -> Option<Vec<ComparablePoint>> {
    match full_names(der) {
        Ok(names) => {
            Some(names?.into_iter().flatten().filter_map(ComparablePoint::from_der).collect())
        }
        Err(_) => Some(Vec::new()),
    }
}

/// The URIs of the distribution points of a certificate, one list for each point that counts.
pub(crate) fn point_uris<'a>(der: &'a CertificateDer<'_>) -> Vec<Vec<&'a str>> {
    const URI: u8 = 0x86;
    let is_uri = |name: &&'a [u8]| name.first() == Some(&URI);
    let text = |name: &'a [u8]| {
        let field = Fields::of(name).next().ok()?;
        std::str::from_utf8(field.contents).ok()
    };
    let points = full_names(der).ok().flatten().unwrap_or_default();
    points
        .into_iter()
        .map(|names| names.into_iter().filter(is_uri).filter_map(text).collect())
        .collect()
}

/// The GeneralNames of the distribution points that count (RFC 5280, section 4.2.1.13), one list
/// for each point.
fn full_names(der: &[u8]) -> Result<Option<Vec<Vec<&[u8]>>>, Offset> {
    const NAME: u8 = 0xa0;
    let Some(value) = Bare::from_der(der)?.extension(CRL_DISTRIBUTION_POINTS)? else {
        return Ok(None);
    };
    let mut names = Vec::new();
    let mut outer = Fields::of(value);
    let points = outer.expect(SEQUENCE)?;
    let mut points = outer.inside(points);
    while !points.is_empty() {
        let point = points.expect(SEQUENCE)?;
        let mut point = points.inside(point);
        let name = point.optional(NAME)?;
        // What may follow, `reasons` and `cRLIssuer`, makes it a point that is not supported.
        let Some(name) = name.filter(|_| point.is_empty()) else {
            continue;
        };
        if let Some(full) = point.inside(name).optional(NAME)? {
            let mut full = point.inside(full);
            let mut of_point = Vec::new();
            while !full.is_empty() {
                of_point.push(full.next()?.whole);
            }
            names.push(of_point);
        }
    }
    Ok(Some(names))
}

/// Whether a host's certificate needs no revocation list: it says that there will be none
/// (noRevAvail, RFC 9608), or it is valid for at most seven days, for which public authorities
/// publish none (CA/Browser Forum, Baseline Requirements, "Short-lived Subscriber Certificate").
pub(crate) fn needs_no_list(leaf: &CertificateDer<'_>) -> bool {
    const SHORT_LIVED: u64 = 7 * 24 * 3600;
    let Ok(bare) = Bare::from_der(leaf) else {
        return false;
    };
    let is_short_lived = bare.dates().is_ok_and(|(not_before, not_after)| {
        not_after.checked_sub(not_before).is_some_and(|length| length <= SHORT_LIVED)
    });
    is_short_lived || matches!(bare.extension(NO_REV_AVAIL), Ok(Some(_)))
}

/// notBefore and notAfter in seconds since 1970; `None` if they cannot be read.
pub(crate) fn dates(der: &CertificateDer<'_>) -> Option<(u64, u64)> {
    Bare::from_der(der).ok()?.dates().ok()
}

/// The contents of the INTEGER of the serial number; `None` if it cannot be read.
pub(crate) fn serial<'a>(der: &'a CertificateDer<'_>) -> Option<&'a [u8]> {
    parse(der).map(|certificate| certificate.raw_serial())
}

/// The SubjectPublicKeyInfo of a certificate of any version and with any extensions.
pub(crate) fn spki<'a>(der: &'a CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'a>> {
    Bare::from_der(der).ok().map(|bare| SubjectPublicKeyInfoDer::from(bare.spki.whole))
}

/// The names of issuer and subject of a certificate, each without its tag and length.
pub(crate) fn names_of<'a>(der: &'a CertificateDer<'_>) -> Option<(&'a [u8], &'a [u8])> {
    Bare::from_der(der).ok().map(|bare| (bare.issuer.contents, bare.subject.contents))
}

/// Whether a certificate names itself as its issuer, and its own key made its signature.
pub(crate) fn is_self_signed(
    der: &CertificateDer<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> bool {
    let is_same = |a: Field<'_>, b: Field<'_>| {
        a.contents == b.contents
            || ComparableName::of_contents(a.contents) == ComparableName::of_contents(b.contents)
    };
    Bare::from_der(der).is_ok_and(|bare| {
        is_same(bare.subject, bare.issuer)
            && Signed::from_der(der)
                .is_some_and(|signed| signed.verify(bare.spki.whole, algorithms))
    })
}

/// Whether each certificate from the leaf on was signed by another one of the chain, up to one that
/// signed itself.
pub(crate) fn is_complete(
    chain: &[CertificateDer<'_>],
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> bool {
    // Authorities that share a name are tried in turn; an honest chain needs one signature a
    // certificate.
    const MAX_SIGNATURES: usize = 16;
    let mut left = MAX_SIGNATURES;
    let names = |der: &CertificateDer<'_>| {
        let (issuer, subject) = names_of(der)?;
        Some((ComparableName::of_contents(issuer), ComparableName::of_contents(subject)))
    };
    let names: Vec<_> = chain.iter().map(names).collect();
    let mut position = 0;
    while let (Some(der), Some(Some((issuer, _)))) = (chain.get(position), names.get(position)) {
        let Some(signed) = Signed::from_der(der) else {
            return false;
        };
        let signs = |candidate: &usize| {
            let has_name = names[*candidate].as_ref().is_some_and(|(_, subject)| subject == issuer);
            has_name && left > 0 && {
                left -= 1;
                spki(&chain[*candidate]).is_some_and(|key| signed.verify(&key, algorithms))
            }
        };
        match (0..chain.len()).find(signs) {
            Some(next) if next == position => return true,
            Some(next) => position = next,
            None => return false,
        }
    }
    false
}

/// The outer shape of certificates and revocation lists: `SEQUENCE { toBeSigned,
/// AlgorithmIdentifier, BIT STRING }`.
#[derive(Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) data: &'a [u8],
    /// The contents of the AlgorithmIdentifier, without its tag and length.
    pub(crate) algorithm: &'a [u8],
    pub(crate) signature: &'a [u8],
}

impl<'a> Signed<'a> {
    fn from_der(der: &'a [u8]) -> Option<Self> {
        let mut outer = Fields::of(der);
        let certificate = outer.next().ok()?;
        let mut parts = outer.inside(certificate);
        let (data, algorithm) = (parts.next().ok()?, parts.expect(SEQUENCE).ok()?);
        let signature = parts.expect(BIT_STRING).ok()?;
        // A BIT STRING begins with the number of its unused bits: none in a signature.
        match signature.contents.split_first() {
            Some((0, bits)) => {
                Some(Self { data: data.whole, algorithm: algorithm.contents, signature: bits })
            }
            _ => None,
        }
    }

    /// Verifies the signature with a SubjectPublicKeyInfo.
    pub(crate) fn verify(
        &self,
        spki: &[u8],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let spki = SubjectPublicKeyInfoDer::from(spki);
        let Ok(key) = RawPublicKeyEntity::try_from(&spki) else {
            return false;
        };
        // One signature algorithm may go with several kinds of key (ECDSA with SHA-256: P-256 and
        // P-384).
        algorithms
            .iter()
            .filter(|algorithm| algorithm.signature_alg_id().as_ref() == self.algorithm)
            .any(|algorithm| key.verify_signature(*algorithm, self.data, self.signature).is_ok())
    }
}

/// The contents of an encoding that is one SEQUENCE and nothing else.
pub(crate) fn contents(der: &[u8]) -> Option<&[u8]> {
    let mut outer = Fields::of(der);
    let sequence = outer.expect(SEQUENCE).ok()?;
    outer.is_empty().then_some(sequence.contents)
}

/// The most intermediate certificates that may follow an authority (RFC 5280, section 4.2.1.9), if
/// its certificate says.
pub(crate) fn path_len(der: &CertificateDer<'_>) -> Option<usize> {
    let certificate = parse_deep(der)?;
    let constraints = certificate.basic_constraints().ok().flatten()?;
    usize::try_from(constraints.value.path_len_constraint?).ok()
}

/// The key purposes of a certificate (RFC 5280, section 4.2.1.12), each the contents of an OBJECT
/// IDENTIFIER; empty if it has no such extension, and `None` if that cannot be read.
pub(crate) fn key_purposes<'a>(der: &'a CertificateDer<'_>) -> Option<Vec<&'a [u8]>> {
    const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
    let Some(value) = Bare::from_der(der).ok()?.extension(EXTENDED_KEY_USAGE).ok()? else {
        return Some(Vec::new());
    };
    let mut purposes = Fields::of(contents(value)?);
    let mut found = Vec::new();
    while !purposes.is_empty() {
        found.push(purposes.expect(OID).ok()?.contents);
    }
    Some(found)
}
