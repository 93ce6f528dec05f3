//! Defects for the errors of the path builder.

use pki_types::{AlgorithmIdentifier, CertificateDer, UnixTime, alg_id};
use webpki::EndEntityCert;

use crate::pki::defect::{Defect, Detail, Place};
use crate::pki::x509;
use crate::reason::Reason;

/// The defect for an error of the path builder, with the certificate that has it, if that can be
/// told.
pub(super) fn defect_of(error: &webpki::Error, chain: &[CertificateDer<'_>]) -> Defect {
    use webpki::Error as E;
    let dated = |reason, date: UnixTime| {
        Defect::at(reason, place_of_date(date, chain)).with(Detail::Date(date))
    };
    let chain_wide = |reason| Defect::at(reason, Place::Chain);
    let at_fault = |reason| {
        let fails =
            |der: &&CertificateDer<'_>| EndEntityCert::try_from(*der).err().as_ref() == Some(error);
        // Dates are read only when a path is verified.
        let unsound = |der: &&CertificateDer<'_>| x509::first_fault(der).is_some();
        match chain.iter().find(fails).or_else(|| chain.iter().find(unsound)) {
            Some(der) => Defect::at(reason, Place::of(der, chain)).with(fault(error, der)),
            None => Defect::at(reason, Place::Chain).with(Detail::What(x509::fault_of(error).0)),
        }
    };
    match error {
        E::CertExpired { not_after, .. } => dated(Reason::CertExpired, *not_after),
        E::CertNotValidYet { not_before, .. } => dated(Reason::CertNotYetValid, *not_before),
        E::UnknownIssuer => chain_wide(Reason::CertUnknownIssuer),
        E::CaUsedAsEndEntity => Defect::at(Reason::CertIsCa, Place::Leaf),
        E::RequiredEkuNotFoundContext(_) => chain_wide(Reason::CertWrongPurpose),
        E::InvalidSignatureForPublicKey => chain_wide(Reason::CertBadSignature),
        E::NameConstraintViolation => {
            let what = match chain.iter().any(x509::has_unprocessed_constraints) {
                true => "name constraints, one of a form that is not supported",
                false => "name constraints",
            };
            chain_wide(Reason::CertConstraintViolated).with(Detail::What(what))
        }
        E::PathLenConstraintViolated => {
            chain_wide(Reason::CertConstraintViolated).with(Detail::What("path length"))
        }
        E::EndEntityUsedAsCa => chain_wide(Reason::CertConstraintViolated)
            .with(Detail::What("an issuer is no authority")),
        E::CertDistrusted => {
            chain_wide(Reason::CertUnknownIssuer).with(Detail::What("distrusted key"))
        }
        E::MaximumNameConstraintComparisonsExceeded
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumPathDepthExceeded
        | E::MaximumSignatureChecksExceeded => chain_wide(Reason::CertTooCostly),
        E::UnsupportedCertVersion | E::UnsupportedCriticalExtension => {
            at_fault(Reason::CertUnsupported)
        }
        E::UnsupportedSignatureAlgorithmContext(context) => {
            let is_common = is_common_signature(&context.signature_algorithm_id);
            chain_wide(unsupported_algorithm(is_common)).with(Detail::What("signature algorithm"))
        }
        E::UnsupportedSignatureAlgorithmForPublicKeyContext(context) => {
            let is_common =
                is_common_pair(&context.signature_algorithm_id, &context.public_key_algorithm_id);
            let what = Detail::What("signature algorithm or kind of key");
            chain_wide(unsupported_algorithm(is_common)).with(what)
        }
        E::MalformedNameConstraint | E::InvalidNetworkMaskConstraint => {
            chain_wide(Reason::CertMalformed).with(Detail::What("name constraints"))
        }
        E::BadDer
        | E::TrailingData(_)
        | E::BadDerTime
        | E::InvalidCertValidity
        | E::EmptyEkuExtension
        | E::ExtensionValueInvalid
        | E::MalformedExtensions
        | E::InvalidSerialNumber
        | E::MalformedDnsIdentifier
        | E::SignatureAlgorithmMismatch => at_fault(Reason::CertMalformed),
        _ => chain_wide(Reason::CertMalformed),
    }
}

/// Whose fault an unsupported algorithm is: one in common use is missing on this side.
fn unsupported_algorithm(is_common: bool) -> Reason {
    if is_common { Reason::AlgorithmMissing } else { Reason::CertUnsupported }
}

/// The signature algorithms that certificates commonly use, and that this side should verify
/// (RFC 4055, RFC 5758 and RFC 8410), each with the kinds of key that make such signatures.
const COMMON: [(AlgorithmIdentifier, &[AlgorithmIdentifier]); 10] = {
    const RSA: &[AlgorithmIdentifier] = &[alg_id::RSA_ENCRYPTION];
    const ECDSA: &[AlgorithmIdentifier] =
        &[alg_id::ECDSA_P256, alg_id::ECDSA_P384, alg_id::ECDSA_P521];
    [
        (alg_id::RSA_PKCS1_SHA256, RSA),
        (alg_id::RSA_PKCS1_SHA384, RSA),
        (alg_id::RSA_PKCS1_SHA512, RSA),
        (alg_id::RSA_PSS_SHA256, RSA),
        (alg_id::RSA_PSS_SHA384, RSA),
        (alg_id::RSA_PSS_SHA512, RSA),
        (alg_id::ECDSA_SHA256, ECDSA),
        (alg_id::ECDSA_SHA384, ECDSA),
        (alg_id::ECDSA_SHA512, ECDSA),
        (alg_id::ED25519, &[alg_id::ED25519]),
    ]
};

fn is_common_signature(signature: &[u8]) -> bool {
    COMMON.iter().any(|(common, _)| common.as_ref() == signature)
}

fn is_common_pair(signature: &[u8], key: &[u8]) -> bool {
    COMMON.iter().any(|(common, keys)| {
        common.as_ref() == signature && keys.iter().any(|common| common.as_ref() == key)
    })
}

/// The field of this certificate that is at fault.
pub(super) fn fault(error: &webpki::Error, der: &CertificateDer<'_>) -> Detail {
    let (what, field) = x509::fault_of(error);
    let (field, offset) = match x509::first_fault(der) {
        Some((field, offset)) => (field, Some(offset)),
        None => (field, None),
    };
    Detail::Field { what, field: field.as_str(), offset }
}

/// The certificate that has this date.
fn place_of_date(date: UnixTime, chain: &[CertificateDer<'_>]) -> Place {
    let has = |der: &CertificateDer<'_>| {
        x509::parse(der).is_some_and(|certificate| {
            let validity = certificate.validity();
            [validity.not_before, validity.not_after]
                .iter()
                .any(|t| u64::try_from(t.timestamp()) == Ok(date.as_secs()))
        })
    };
    chain.iter().find(|der| has(der)).map_or(Place::Chain, |der| Place::of(der, chain))
}
