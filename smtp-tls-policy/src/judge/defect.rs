//! The path builder's errors in this crate's words.

use pki_types::{CertificateDer, UnixTime};
use webpki::EndEntityCert;

use crate::decision::Reason;
use crate::verdict::{Defect, Detail, Place};
use crate::x509;

/// Names the defect behind the path builder's error, and where it can be told, the certificate.
pub(super) fn defect_of(error: &webpki::Error, chain: &[CertificateDer<'_>]) -> Defect {
    use webpki::Error as E;
    let dated = |reason, date: UnixTime| Defect::at(reason, place_of_date(date, chain)).with(Detail::Date(date));
    let chain_wide = |reason| Defect::at(reason, Place::Chain);
    let what = |reason, what| Defect::at(reason, place_of_error(error, chain)).with(Detail::What(what));
    match error {
        E::CertExpired { not_after, .. } => dated(Reason::CertExpired, *not_after),
        E::CertNotValidYet { not_before, .. } => dated(Reason::CertNotYetValid, *not_before),
        E::UnknownIssuer => chain_wide(Reason::CertUnknownIssuer),
        E::CaUsedAsEndEntity => Defect::at(Reason::CertIsCa, Place::Leaf),
        E::RequiredEkuNotFoundContext(_) => chain_wide(Reason::CertWrongPurpose),
        E::EmptyEkuExtension => what(Reason::CertMalformed, "empty extended key usage"),
        E::InvalidSignatureForPublicKey => chain_wide(Reason::CertBadSignature),
        E::SignatureAlgorithmMismatch => what(Reason::CertMalformed, "two signature algorithms"),
        E::NameConstraintViolation => chain_wide(Reason::CertConstraintViolated).with(Detail::What("name constraints")),
        E::PathLenConstraintViolated => chain_wide(Reason::CertConstraintViolated).with(Detail::What("path length")),
        E::EndEntityUsedAsCa => {
            chain_wide(Reason::CertConstraintViolated).with(Detail::What("an issuer is no authority"))
        }
        E::CertDistrusted => chain_wide(Reason::CertUnknownIssuer).with(Detail::What("distrusted key")),
        E::MaximumNameConstraintComparisonsExceeded
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumPathDepthExceeded
        | E::MaximumSignatureChecksExceeded => chain_wide(Reason::CertTooCostly),
        E::UnsupportedCertVersion => what(Reason::CertUnsupported, "not X.509 version 3"),
        E::UnsupportedCriticalExtension => what(Reason::CertUnsupported, "unknown critical extension"),
        E::UnsupportedSignatureAlgorithmContext(_) | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            chain_wide(Reason::CertUnsupported).with(Detail::What("signature algorithm or key size"))
        }
        E::BadDer | E::TrailingData(_) => what(Reason::CertMalformed, "encoding"),
        E::BadDerTime | E::InvalidCertValidity => what(Reason::CertMalformed, "dates"),
        E::ExtensionValueInvalid | E::MalformedExtensions => what(Reason::CertMalformed, "extensions"),
        E::InvalidSerialNumber => what(Reason::CertMalformed, "serial number"),
        E::MalformedDnsIdentifier => what(Reason::CertMalformed, "names"),
        E::MalformedNameConstraint | E::InvalidNetworkMaskConstraint => {
            chain_wide(Reason::CertMalformed).with(Detail::What("name constraints"))
        }
        _ => chain_wide(Reason::CertMalformed),
    }
}

/// The certificate that has this date.
fn place_of_date(date: UnixTime, chain: &[CertificateDer<'_>]) -> Place {
    let has = |der: &CertificateDer<'_>| {
        x509::parse(der).is_some_and(|certificate| {
            let validity = certificate.validity();
            [validity.not_before, validity.not_after].iter().any(|t| u64::try_from(t.timestamp()) == Ok(date.as_secs()))
        })
    };
    chain.iter().find(|der| has(der)).map_or(Place::Chain, |der| Place::of(der, chain))
}

/// The first certificate that cannot be parsed for this reason.
fn place_of_error(error: &webpki::Error, chain: &[CertificateDer<'_>]) -> Place {
    chain
        .iter()
        .find(|der| EndEntityCert::try_from(*der).err().as_ref() == Some(error))
        .map_or(Place::Chain, |der| Place::of(der, chain))
}
