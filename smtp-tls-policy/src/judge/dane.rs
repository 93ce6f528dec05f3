//! The DANE check (RFC 7672, section 3; RFC 7671, section 5).

use std::cell::RefCell;

use pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::VerifiedPath;

use super::builder_error::defect_of;
use super::purpose::Purpose;
use super::webpki_copies::Adapted;
use super::{Algorithms, check_names, check_path, common_name_is_allowed, itself, within_limits};
use crate::pki::anchors::AnchorNames;
use crate::pki::defect::{Defect, Place};
use crate::pki::names::Names;
use crate::pki::tlsa::{Association, Selector, Tlsa, Usage};
use crate::pki::x509;
use crate::reason::Reason;

/// Judges a chain by TLSA records. One matching record of either usage is enough; the names are
/// for DANE-TA(2).
pub(super) fn judge(
    records: &[Tlsa],
    names: &Names,
    chain: &[CertificateDer<'_>],
    algorithms: Algorithms<'_>,
    now: UnixTime,
) -> Result<(), Defect> {
    let of = |usage| records.iter().filter(move |record| record.usage() == usage);
    // RFC 7672, section 3.1.1: neither names nor dates nor anything else of the certificate counts,
    // nor what is shown with it.
    if let Some(leaf) = chain.first()
        && of(Usage::EndEntity).any(|record| record.matches(leaf))
    {
        return Ok(());
    }
    let (leaf, issuers) = within_limits(chain)?;
    if of(Usage::TrustAnchor).any(|record| record.matches(leaf))
        && x509::is_self_signed(leaf, algorithms)
    {
        // The path builder takes no such leaf.
        itself(
            &Adapted::new(chain, &[], &AnchorNames::default(), algorithms),
            now,
            Purpose::Server,
        )?;
        return check_names(names, leaf, |_| true);
    }
    let authorities: Vec<_> =
        of(Usage::TrustAnchor).flat_map(|record| authorities(record, leaf, issuers)).collect();
    if authorities.is_empty() {
        return Err(Defect::at(Reason::DaneMismatch, Place::Chain));
    }
    let (anchors, path_lens): (Vec<_>, Vec<_>) = authorities.into_iter().unzip();
    let anchor_names = AnchorNames::new(&anchors);
    let adapted = Adapted::new(chain, &anchors, &anchor_names, algorithms);
    let defect = RefCell::new(None);
    // RFC 7671, section 5.2.1: the constraints of the authority's certificate hold. The path
    // builder keeps those on names only.
    let verify_path = |path: &VerifiedPath<'_>| {
        check_path(&adapted, path, &defect)?;
        let is_used = |anchor: &TrustAnchor<'_>| std::ptr::eq(anchor, path.anchor());
        let anchor = adapted.anchors.iter().position(is_used);
        let most = anchor.and_then(|anchor| path_lens.get(anchor).copied().flatten());
        match most.is_some_and(|most| path.intermediate_certificates().count() > most) {
            true => Err(webpki::Error::PathLenConstraintViolated),
            false => Ok(()),
        }
    };
    let verified = adapted.verify(now, Purpose::Server, &verify_path, |path| {
        check_names(names, leaf, |name| common_name_is_allowed(name, &adapted, path))
    });
    match (verified, defect.into_inner()) {
        (Ok(named), _) => named,
        (Err(_), Some(defect)) => Err(defect),
        // There are authorities that match, and the chain does not lead to them.
        (Err(webpki::Error::UnknownIssuer), None) => {
            Err(Defect::at(Reason::DaneMismatch, Place::Chain))
        }
        (Err(error), None) => Err(defect_of(&error, &adapted.chain)),
    }
}

/// The trust anchors that a record makes of a chain, each with the most intermediate certificates
/// that may follow.
fn authorities<'a>(
    record: &'a Tlsa,
    leaf: &'a CertificateDer<'_>,
    issuers: &'a [CertificateDer<'_>],
) -> Vec<(TrustAnchor<'a>, Option<usize>)> {
    let whole = |der: &'a CertificateDer<'_>| {
        // A key is no certificate: RFC 7671, section 5.2.1, finds its path length mutable, and the
        // chain's own constraints are the path builder's.
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
        // RFC 7671, section 5.2.2: the one form that needs no authority in the chain.
        (Selector::Certificate, Association::Full(der)) => {
            let der = CertificateDer::from(der.as_slice());
            let anchor = webpki::anchor_from_trusted_cert(&der).map(|anchor| anchor.to_owned());
            found.extend(anchor.ok().map(|anchor| (anchor, x509::path_len(&der))));
        }
        // RFC 7671, section 5.2.3: a bare key has no name. It is tried under the name of every
        // issuer; a signature decides.
        (Selector::Key, Association::Full(spki)) => {
            let Some(key) = x509::contents(spki) else {
                return found;
            };
            for der in std::iter::once(leaf).chain(issuers) {
                let Some((name, _)) = x509::names_of(der) else {
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
