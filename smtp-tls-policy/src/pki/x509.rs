//! The little X.509 that the path builder keeps to itself.

use std::fmt;

use pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;
use x509_parser::certificate::X509Certificate;

use crate::pki::comparison::{ComparableName, ComparablePoint};
use crate::pki::crl::Points;
use crate::pki::der::{BIT_STRING, Element, INTEGER, OCTET_STRING, OID, Offset, Reader, SEQUENCE};

/// Parses a certificate, of whatever version and with whatever extensions.
pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (rest, certificate) =
        <X509Certificate<'_> as x509_parser::prelude::FromDer<_>>::from_der(der).ok()?;
    rest.is_empty().then_some(certificate)
}

/// A field of a certificate (RFC 5280, 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateField {
    /// The certificate as a whole: three parts, and nothing behind them.
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

impl fmt::Display for CertificateField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
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
        })
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

/// The octet from which on this is no SubjectPublicKeyInfo; `None` where its shape is sound.
pub(crate) fn fault_of_key(der: &[u8]) -> Option<usize> {
    let shape = || {
        let mut outer = Reader::new(der);
        let mut key = outer.expect(SEQUENCE)?.reader();
        outer.finish()?;
        key.expect(SEQUENCE)?;
        key.expect(BIT_STRING)?;
        key.finish()
    };
    shape().err().map(|Offset(offset)| offset)
}

/// The first field of a certificate that is not there, or not DER, and at which octet. `None` where all fields are
/// sound outside; what is in an extension is not looked at.
pub(crate) fn first_fault(der: &[u8]) -> Option<(CertificateField, usize)> {
    fields(der).err().map(|(field, Offset(offset))| (field, offset))
}

fn fields(der: &[u8]) -> Result<(), (CertificateField, Offset)> {
    use CertificateField as F;
    const VERSION: u8 = 0xa0;
    const UNIQUE_IDS: [u8; 2] = [0x81, 0x82];
    const EXTENSIONS: u8 = 0xa3;
    let at = |field| move |offset| (field, offset);
    let mut outer = Reader::new(der);
    let certificate = outer.expect(SEQUENCE).map_err(at(F::Certificate))?;
    outer.finish().map_err(at(F::Certificate))?;
    let mut parts = certificate.reader();
    let mut tbs = parts.expect(SEQUENCE).map_err(at(F::Certificate))?.reader();
    tbs.optional(VERSION).map_err(at(F::Version))?;
    tbs.expect(INTEGER).map_err(at(F::SerialNumber))?;
    tbs.expect(SEQUENCE).map_err(at(F::Algorithm))?;
    tbs.expect(SEQUENCE).map_err(at(F::Issuer))?;
    let mut validity = tbs.expect(SEQUENCE).map_err(at(F::Validity))?.reader();
    for _ in 0..2 {
        validity.next().and_then(|time| time.seconds()).map_err(at(F::Validity))?;
    }
    validity.finish().map_err(at(F::Validity))?;
    tbs.expect(SEQUENCE).map_err(at(F::Subject))?;
    let mut key = tbs.expect(SEQUENCE).map_err(at(F::PublicKey))?.reader();
    key.expect(SEQUENCE).map_err(at(F::PublicKey))?;
    key.expect(BIT_STRING).map_err(at(F::PublicKey))?;
    for id in UNIQUE_IDS {
        tbs.optional(id).map_err(at(F::Certificate))?;
    }
    if let Some(explicit) = tbs.optional(EXTENSIONS).map_err(at(F::Extensions))? {
        let mut list = explicit.reader().expect(SEQUENCE).map_err(at(F::Extensions))?.reader();
        while !list.is_empty() {
            let mut extension = list.expect(SEQUENCE).map_err(at(F::Extensions))?.reader();
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

/// Whether an issuer may sign revocation lists: key usage absent, or with cRLSign (RFC 5280, 6.3.3 (f)).
pub(crate) fn may_sign_crls(issuer: &CertificateDer<'_>) -> bool {
    const CRL_SIGN: u8 = 0x02;
    has_key_usage(issuer, CRL_SIGN)
}

/// Whether an issuer may sign certificates: key usage absent, or with keyCertSign (RFC 5280, 6.1.4 (n)). The path builder
/// does not ask.
pub(crate) fn may_sign_certificates(issuer: &CertificateDer<'_>) -> bool {
    const KEY_CERT_SIGN: u8 = 0x04;
    has_key_usage(issuer, KEY_CERT_SIGN)
}

/// Whether the key may be used so: a bit of the first octet (RFC 5280, 4.2.1.3), or no such extension. What cannot be read
/// allows nothing.
fn has_key_usage(der: &CertificateDer<'_>, usage: u8) -> bool {
    const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
    match Bare::from_der(der).and_then(|bare| bare.extension(KEY_USAGE)) {
        Ok(None) => true,
        Ok(Some(value)) => {
            let bits = value.reader().expect(BIT_STRING).map(|bits| bits.contents());
            // The number of unused bits comes first.
            bits.is_ok_and(|bits| bits.get(1).is_some_and(|octet| octet & usage != 0))
        }
        Err(_) => false,
    }
}

/// The parts of a certificate that are needed where nothing is asked of the rest.
struct Bare<'a> {
    issuer: &'a [u8],
    validity: Element<'a>,
    subject: &'a [u8],
    spki: &'a [u8],
    /// What follows the key: identifiers and extensions.
    rest: Reader<'a>,
}

impl<'a> Bare<'a> {
    /// Walks to the key without looking at the version, the dates or the extensions (RFC 5280, 4.1).
    fn from_der(der: &'a [u8]) -> Result<Self, Offset> {
        const VERSION: u8 = 0xa0;
        let mut tbs = Reader::new(der).next()?.reader().next()?.reader();
        // `[0] version` is absent in version 1; then the serial number comes first.
        tbs.optional(VERSION)?;
        let (_serial_number, _signature) = (tbs.next()?, tbs.next()?);
        let (issuer, validity, subject, spki) =
            (tbs.next()?, tbs.next()?, tbs.next()?, tbs.next()?);
        Ok(Self {
            issuer: issuer.whole(),
            validity,
            subject: subject.whole(),
            spki: spki.whole(),
            rest: tbs,
        })
    }

    /// The value of an extension; `None` where it is absent. One that stands twice is an error (RFC 5280, 4.2).
    fn extension(mut self, id: &[u8]) -> Result<Option<Element<'a>>, Offset> {
        const EXTENSIONS: u8 = 0xa3;
        let mut found = None;
        while !self.rest.is_empty() {
            let field = self.rest.next()?;
            if field.tag() != EXTENSIONS {
                continue;
            }
            let mut extensions = field.reader().expect(SEQUENCE)?.reader();
            while !extensions.is_empty() {
                let at = extensions.offset();
                let mut extension = extensions.expect(SEQUENCE)?.reader();
                if extension.expect(OID)?.contents() != id {
                    continue;
                }
                while extension.peek().is_some_and(|tag| tag != OCTET_STRING) {
                    extension.next()?;
                }
                if found.replace(extension.expect(OCTET_STRING)?).is_some() {
                    return Err(at);
                }
            }
        }
        Ok(found)
    }
}

/// Where a certificate says whose it is.
pub(crate) struct Naming<'a> {
    /// The value of the subject alternative name (RFC 5280, 4.2.1.6).
    pub(crate) alternatives: Option<&'a [u8]>,
    /// The distinguished name of the subject.
    pub(crate) subject: &'a [u8],
}

impl<'a> Naming<'a> {
    pub(crate) fn of(der: &'a [u8]) -> Result<Self, Offset> {
        const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 17];
        let bare = Bare::from_der(der)?;
        let subject = bare.subject;
        let alternatives = bare.extension(SUBJECT_ALTERNATIVE_NAME)?.map(|value| value.contents());
        Ok(Self { alternatives, subject })
    }
}

/// The value of the name constraints of a certificate (RFC 5280, 4.2.1.10); `None` where there are none.
pub(crate) fn name_constraints(der: &[u8]) -> Result<Option<Element<'_>>, Offset> {
    const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];
    Bare::from_der(der)?.extension(NAME_CONSTRAINTS)
}

/// The distribution points of a certificate. Points for some reasons only, and those of another
/// issuer's lists, are left out; of an extension that cannot be read nothing is left.
pub(crate) fn distribution_points(der: &CertificateDer<'_>, issuer: &ComparableName) -> Points {
    match named_points(der) {
        Ok(None) => Points::implied(issuer.clone()),
        Ok(Some(names)) => Points::Named(names),
        Err(_) => Points::Named(Vec::new()),
    }
}

fn named_points(der: &[u8]) -> Result<Option<Vec<ComparablePoint>>, Offset> {
    const CRL_DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 31];
    const NAME: u8 = 0xa0;
    let Some(value) = Bare::from_der(der)?.extension(CRL_DISTRIBUTION_POINTS)? else {
        return Ok(None);
    };
    let mut names = Vec::new();
    let mut points = value.reader().expect(SEQUENCE)?.reader();
    while !points.is_empty() {
        let mut point = points.expect(SEQUENCE)?.reader();
        let name = point.optional(NAME)?;
        // What may follow, `reasons` and `cRLIssuer`, makes it a point that is not supported.
        let Some(full) = name.filter(|_| point.is_empty()) else {
            continue;
        };
        if let Some(full) = full.reader().optional(NAME)? {
            let mut reader = full.reader();
            while !reader.is_empty() {
                names.extend(ComparablePoint::from_der(reader.next()?.whole()));
            }
        }
    }
    Ok(Some(names))
}

/// Whether a host's certificate needs no revocation list: it says that there will be none
/// (noRevAvail, RFC 9608), or it is valid for at most seven days, for which public authorities
/// publish none (CA/Browser Forum, Baseline Requirements, "Short-lived Subscriber Certificate").
pub(crate) fn needs_no_list(leaf: &CertificateDer<'_>) -> bool {
    const NO_REV_AVAIL: &[u8] = &[0x55, 0x1d, 56];
    const SHORT_LIVED: u64 = 7 * 24 * 3600;
    let Ok(bare) = Bare::from_der(leaf) else {
        return false;
    };
    let validity = || {
        let mut dates = bare.validity.reader();
        let (not_before, not_after) = (dates.next()?.seconds()?, dates.next()?.seconds()?);
        Ok::<_, Offset>(not_after.checked_sub(not_before))
    };
    let is_short_lived = matches!(validity(), Ok(Some(length)) if length <= SHORT_LIVED);
    is_short_lived || matches!(bare.extension(NO_REV_AVAIL), Ok(Some(_)))
}

/// The SubjectPublicKeyInfo of a certificate, of whatever version and with whatever extensions.
pub(crate) fn spki<'a>(der: &'a CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'a>> {
    Bare::from_der(der).ok().map(|bare| SubjectPublicKeyInfoDer::from(bare.spki))
}

/// The names of issuer and subject of a certificate, as they stand there.
pub(crate) fn names_of<'a>(der: &'a CertificateDer<'_>) -> Option<(&'a [u8], &'a [u8])> {
    Bare::from_der(der).ok().map(|bare| (bare.issuer, bare.subject))
}

/// The issuer's name of a certificate, as the contents of its SEQUENCE.
pub(crate) fn issuer_contents<'a>(der: &'a CertificateDer<'_>) -> Option<&'a [u8]> {
    let bare = Bare::from_der(der).ok()?;
    Reader::new(bare.issuer).next().ok().map(|name| name.contents())
}

/// Whether a certificate names itself as its issuer, and its own key made its signature.
pub(crate) fn is_self_signed(
    der: &CertificateDer<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> bool {
    Bare::from_der(der).is_ok_and(|bare| {
        bare.subject == bare.issuer
            && Signed::from_der(der).is_ok_and(|signed| signed.verify(bare.spki, algorithms))
    })
}

/// Whether each certificate from the leaf on was signed by another one of the chain, up to one that signed itself.
pub(crate) fn is_complete(
    chain: &[CertificateDer<'_>],
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> bool {
    // Authorities that share a name are tried in turn; an honest chain needs one signature a certificate.
    const MAX_SIGNATURES: usize = 16;
    let mut left = MAX_SIGNATURES;
    let mut certificate = chain.first();
    while let Some(der) = certificate {
        let (Ok(bare), Ok(signed)) = (Bare::from_der(der), Signed::from_der(der)) else {
            return false;
        };
        let mut signs = |issuer: &&CertificateDer<'_>| {
            Bare::from_der(issuer).is_ok_and(|issuer| {
                issuer.subject == bare.issuer && left > 0 && {
                    left -= 1;
                    signed.verify(issuer.spki, algorithms)
                }
            })
        };
        match chain.iter().find(&mut signs) {
            Some(issuer) if issuer == der => return true,
            issuer => certificate = issuer,
        }
    }
    false
}

/// The outer shape of certificates and revocation lists: `SEQUENCE { toBeSigned, AlgorithmIdentifier, BIT STRING }`.
#[derive(Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) data: &'a [u8],
    /// The contents of the AlgorithmIdentifier, without its tag and length.
    pub(crate) algorithm: &'a [u8],
    pub(crate) signature: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(crate) fn from_der(der: &'a [u8]) -> Result<Self, Offset> {
        let mut parts = Reader::new(der).next()?.reader();
        let (data, algorithm) = (parts.next()?, parts.expect(SEQUENCE)?);
        let signature = parts.expect(BIT_STRING)?;
        // A BIT STRING begins with the number of its unused bits: none in a signature.
        match signature.contents().split_first() {
            Some((0, bits)) => {
                Ok(Self { data: data.whole(), algorithm: algorithm.contents(), signature: bits })
            }
            _ => Err(Offset(signature.inner)),
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
        // One signature algorithm may go with several kinds of key (ECDSA with SHA-256: P-256 and P-384).
        algorithms
            .iter()
            .filter(|algorithm| algorithm.signature_alg_id().as_ref() == self.algorithm)
            .any(|algorithm| key.verify_signature(*algorithm, self.data, self.signature).is_ok())
    }
}

/// The contents of a SEQUENCE that is all there is.
pub(crate) fn contents(der: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(der);
    let sequence = reader.expect(SEQUENCE).ok()?;
    reader.is_empty().then(|| sequence.contents())
}

/// The most intermediate certificates that may follow an authority (RFC 5280, 4.2.1.9), if its certificate says.
pub(crate) fn path_len(der: &CertificateDer<'_>) -> Option<usize> {
    let certificate = parse(der)?;
    let constraints = certificate.basic_constraints().ok().flatten()?;
    usize::try_from(constraints.value.path_len_constraint?).ok()
}
