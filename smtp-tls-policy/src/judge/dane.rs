//! The DANE check (RFC 7672, 3; RFC 7671, 5).

use pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::defect::{defect_of, fault};
use super::{VerifyPath, check_names, check_path, within_limits};
use crate::pki::defect::{Defect, Detail, Place};
use crate::pki::names::{Match, Mismatch};
use crate::pki::tlsa::{Association, Selector, Tlsa, Usage};
use crate::pki::x509;
use crate::plan::check::Dane;
use crate::reason::Reason;

type Algorithms<'a> = &'a [&'a dyn SignatureVerificationAlgorithm];

/// One matching record is enough, of whatever usage.
pub(super) fn judge(
    check: &Dane,
    chain: &[CertificateDer<'_>],
    algorithms: Algorithms<'_>,
    now: UnixTime,
) -> Result<(), Defect> {
    let (leaf, issuers) = within_limits(chain)?;
    let of = |usage| check.records.iter().filter(move |record| record.usage() == usage);
    // RFC 7672, 3.1.1: neither names nor dates nor anything else of the certificate counts.
    if of(Usage::EndEntity).any(|record| record.matches(leaf)) {
        return Ok(());
    }
    if of(Usage::TrustAnchor).any(|record| record.matches(leaf))
        && x509::is_self_signed(leaf, algorithms)
    {
        return own_authority(check, leaf, now);
    }
    let authorities: Vec<_> =
        of(Usage::TrustAnchor).flat_map(|record| authorities(record, leaf, issuers)).collect();
    if authorities.is_empty() {
        return Err(Defect::at(Reason::DaneMismatch, Place::Chain));
    }
    let (anchors, path_lens): (Vec<_>, Vec<_>) = authorities.into_iter().unzip();
    // RFC 7671, 5.2.1: the constraints of the authority's certificate hold. The path builder keeps those on names only.
    let verify_path = |path: &VerifiedPath<'_>| {
        check_path(path)?;
        let anchor = anchors.iter().position(|anchor| std::ptr::eq(anchor, path.anchor()));
        let most = anchor.and_then(|anchor| path_lens.get(anchor).copied().flatten());
        match most.is_some_and(|most| path.intermediate_certificates().count() > most) {
            true => Err(webpki::Error::PathLenConstraintViolated),
            false => Ok(()),
        }
    };
    let verify_path: &VerifyPath<'_> = &verify_path;
    let usage = KeyUsage::server_auth();
    EndEntityCert::try_from(leaf)
        .and_then(|end_entity| {
            let path = end_entity.verify_for_usage(
                algorithms,
                &anchors,
                issuers,
                now,
                usage,
                None,
                Some(verify_path),
            )?;
            Ok(check_names(&check.names, leaf, &path))
        })
        .unwrap_or_else(|error| match error {
            // There are authorities that match, and the chain does not lead to them.
            webpki::Error::UnknownIssuer => Err(Defect::at(Reason::DaneMismatch, Place::Chain)),
            error => Err(defect_of(&error, chain)),
        })
}

/// The trust anchors that a record makes of a chain, each with the most intermediate certificates that may follow.
fn authorities<'a>(
    record: &'a Tlsa,
    leaf: &'a CertificateDer<'_>,
    issuers: &'a [CertificateDer<'_>],
) -> Vec<(TrustAnchor<'a>, Option<usize>)> {
    let whole = |der: &'a CertificateDer<'_>| {
        // A key is no certificate: RFC 7671, 5.2.1, finds its path length mutable, and the chain's own constraints are
        // the path builder's.
        let path_len = x509::path_len(der);
        webpki::anchor_from_trusted_cert(der).ok().map(|anchor| (anchor, path_len))
    };
    let mut found: Vec<_> =
        issuers.iter().filter(|der| record.matches(der)).filter_map(whole).collect();
    if !found.is_empty() {
        return found;
    }
    // The authority is not in the chain: the record itself may bring it.
    match (record.selector(), record.association()) {
        // RFC 7671, 5.2.2: the one form that needs no authority in the chain.
        (Selector::Certificate, Association::Full(der)) => {
            let der = CertificateDer::from(der.as_slice());
            let anchor = webpki::anchor_from_trusted_cert(&der).map(|anchor| anchor.to_owned());
            found.extend(anchor.ok().map(|anchor| (anchor, x509::path_len(&der))));
        }
        // RFC 7671, 5.2.3: a bare key has no name. It is tried under the name of every issuer; a signature decides.
        (Selector::Key, Association::Full(spki)) => {
            let Some(key) = x509::contents(spki) else {
                return found;
            };
            for der in std::iter::once(leaf).chain(issuers) {
                let Some(name) = x509::issuer_contents(der) else {
                    continue;
                };
                if found.iter().all(|(anchor, _)| *anchor.subject != *name) {
                    let anchor = TrustAnchor {
                        subject: name.into(),
                        subject_public_key_info: key.into(),
                        name_constraints: None,
                    };
                    found.push((anchor, None));
                }
            }
        }
        (_, Association::Sha256(_) | Association::Sha512(_)) => {}
    }
    found
}

/// The leaf is the authority of its own record, and signed itself: dates and names are left to check. The path builder
/// takes no such leaf.
fn own_authority(check: &Dane, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), Defect> {
    let malformed =
        |what| Err(Defect::at(Reason::CertMalformed, Place::Leaf).with(Detail::What(what)));
    let Some(certificate) = x509::parse(leaf) else {
        return Err(Defect::at(Reason::CertMalformed, Place::Leaf)
            .with(fault(&webpki::Error::BadDer, leaf)));
    };
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    let validity = certificate.validity();
    let date = |time| UnixTime::since_unix_epoch(std::time::Duration::from_secs(time));
    let dated = |reason, time| Err(Defect::at(reason, Place::Leaf).with(Detail::Date(date(time))));
    let (not_before, not_after) = (seconds(validity.not_before), seconds(validity.not_after));
    if now.as_secs() < not_before {
        return dated(Reason::CertNotYetValid, not_before);
    }
    if now.as_secs() > not_after {
        return dated(Reason::CertExpired, not_after);
    }
    match check.names.check(leaf) {
        Ok(Match::Alternative | Match::CommonName(_)) => Ok(()),
        Err(Mismatch::Malformed) => malformed("names"),
        Err(Mismatch::Names(presented)) => {
            let names = Detail::Names { wanted: check.names.references.clone(), presented };
            Err(Defect::at(Reason::CertNameMismatch, Place::Leaf).with(names))
        }
    }
}
