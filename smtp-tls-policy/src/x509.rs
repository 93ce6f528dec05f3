//! The little X.509 that the path builder keeps to itself.

use pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;
use x509_parser::asn1_rs::{Any, FromDer, Tag};
use x509_parser::certificate::X509Certificate;

/// Parses a certificate, of whatever version and with whatever extensions.
pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (rest, certificate) = <X509Certificate<'_> as x509_parser::prelude::FromDer<_>>::from_der(der).ok()?;
    rest.is_empty().then_some(certificate)
}

/// Whether an issuer may sign revocation lists: key usage absent, or with cRLSign (RFC 5280, 6.3.3 (f)).
pub(crate) fn may_sign_crls(issuer: &CertificateDer<'_>) -> bool {
    parse(issuer).is_some_and(|certificate| {
        certificate.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.crl_sign()))
    })
}

/// The parts of a certificate that are needed where nothing is asked of the rest.
struct Bare<'a> {
    issuer: &'a [u8],
    subject: &'a [u8],
    spki: &'a [u8],
}

impl<'a> Bare<'a> {
    /// Walks to the key without looking at the version, the dates or the extensions (RFC 5280, 4.1).
    fn from_der(der: &'a [u8]) -> Option<Self> {
        let (_, certificate) = Any::from_der(der).ok()?;
        let (_, tbs) = Any::from_der(certificate.data).ok()?;
        let mut rest = tbs.data;
        let mut next = || {
            let (after, _) = Any::from_der(rest).ok()?;
            let field = &rest[..rest.len() - after.len()];
            rest = after;
            Some(field)
        };
        // `[0] version` is absent in version 1; then the serial number comes first.
        let first = next()?;
        if first.first() == Some(&0xa0) {
            next()?;
        }
        let (_signature, issuer, _validity) = (next()?, next()?, next()?);
        let (subject, spki) = (next()?, next()?);
        Some(Self { issuer, subject, spki })
    }
}

/// The SubjectPublicKeyInfo of a certificate, of whatever version and with whatever extensions.
pub(crate) fn spki<'a>(der: &'a CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'a>> {
    Bare::from_der(der).map(|bare| SubjectPublicKeyInfoDer::from(bare.spki))
}

/// The SubjectPublicKeyInfo of a certificate, or of a bare public key (RFC 7250) shown in its place.
pub(crate) fn key_of<'a>(der: &'a CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'a>> {
    let bare = SubjectPublicKeyInfoDer::from(der.as_ref());
    match RawPublicKeyEntity::try_from(&bare).is_ok() {
        true => Some(bare),
        false => spki(der),
    }
}

/// The issuer's name of a certificate, as the contents of its SEQUENCE.
pub(crate) fn issuer_contents<'a>(der: &'a CertificateDer<'_>) -> Option<&'a [u8]> {
    let bare = Bare::from_der(der)?;
    Any::from_der(bare.issuer).ok().map(|(_, name)| name.data)
}

/// Whether a certificate names itself as its issuer, and its own key made its signature.
pub(crate) fn is_self_signed(der: &CertificateDer<'_>, algorithms: &[&dyn SignatureVerificationAlgorithm]) -> bool {
    Bare::from_der(der).is_some_and(|bare| {
        bare.subject == bare.issuer && Signed::from_der(der).is_some_and(|signed| signed.verify(bare.spki, algorithms))
    })
}

/// The outer shape of certificates and revocation lists: `SEQUENCE { toBeSigned, AlgorithmIdentifier, BIT STRING }`.
#[derive(Debug)]
pub(crate) struct Signed {
    data: Vec<u8>,
    /// The contents of the AlgorithmIdentifier, without its tag and length.
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    pub(crate) fn from_der(der: &[u8]) -> Option<Self> {
        let (_, outer) = Any::from_der(der).ok()?;
        let (rest, _) = Any::from_der(outer.data).ok()?;
        let data = &outer.data[..outer.data.len() - rest.len()];
        let (rest, algorithm) = Any::from_der(rest).ok()?;
        let (_, signature) = Any::from_der(rest).ok()?;
        // A BIT STRING begins with the number of its unused bits: none in a signature.
        let (&0, signature_bits) = signature.data.split_first()? else {
            return None;
        };
        (algorithm.tag() == Tag::Sequence && signature.tag() == Tag::BitString).then(|| Self {
            data: data.to_vec(),
            algorithm: algorithm.data.to_vec(),
            signature: signature_bits.to_vec(),
        })
    }

    /// Verifies the signature with a SubjectPublicKeyInfo.
    pub(crate) fn verify(&self, spki: &[u8], algorithms: &[&dyn SignatureVerificationAlgorithm]) -> bool {
        let spki = SubjectPublicKeyInfoDer::from(spki);
        let Ok(key) = RawPublicKeyEntity::try_from(&spki) else {
            return false;
        };
        // One signature algorithm may go with several kinds of key (ECDSA with SHA-256: P-256 and P-384).
        algorithms
            .iter()
            .filter(|algorithm| algorithm.signature_alg_id().as_ref() == self.algorithm)
            .any(|algorithm| key.verify_signature(*algorithm, &self.data, &self.signature).is_ok())
    }
}

/// The contents of a SEQUENCE that is all there is.
pub(crate) fn contents(der: &[u8]) -> Option<&[u8]> {
    let (rest, sequence) = Any::from_der(der).ok()?;
    (rest.is_empty() && sequence.tag() == Tag::Sequence).then_some(sequence.data)
}

/// The most intermediate certificates that may follow an authority (RFC 5280, 4.2.1.9), if its certificate says.
pub(crate) fn path_len(der: &CertificateDer<'_>) -> Option<usize> {
    let certificate = parse(der)?;
    let constraints = certificate.basic_constraints().ok().flatten()?;
    usize::try_from(constraints.value.path_len_constraint?).ok()
}
