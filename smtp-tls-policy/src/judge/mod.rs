//! Judges a peer's certificate: one finding for each check, in order.

pub(crate) mod admit;
mod builder_error;
mod certificate_policies;
mod dane;
mod limits;
mod name_constraints;
pub(crate) mod purpose;
mod raw_key;
pub(crate) mod verdict;
mod webpki_copies;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::VerifiedPath;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::pki::crlite::CrliteStatus;
use crate::pki::defect::{Defect, Detail, Place};
use crate::pki::names::{Match, Mismatch, Names, constraints_allow};
use crate::pki::pin::Pin;
use crate::pki::revocation::{Consultation, Crls, MAX_LIST_SIGNATURES, Revocation};
use crate::pki::roots::RootsId;
use crate::pki::trust::Trust;
use crate::pki::wanted::{Wanted, WantedList};
use crate::pki::x509;
use crate::plan::Plan;
use crate::plan::check::Check;
use crate::reason::Reason;

pub use self::admit::{ShownTls, admit, admit_handshake};
use self::builder_error::{defect_of, fault};
use self::limits::within_limits;
pub use self::limits::{MAX_CHAIN_BYTES, MAX_CHAIN_LEN};
use self::purpose::Purpose;
pub use self::verdict::{Finding, Standing, Verdict};
use self::webpki_copies::{Adapted, sequence};

impl Plan {
    /// Judges the chain that a server showed, leaf first, as it was sent.
    ///
    /// The cost is bounded: at most [`MAX_CHAIN_LEN`] certificates are looked at, more of them only
    /// if few paths lead through them, and at most [`MAX_CHAIN_BYTES`] bytes, and the path builder
    /// has budgets for signatures and steps.
    pub fn judge(&self, chain: &[CertificateDer<'_>], trust: &Trust, now: UnixTime) -> Verdict {
        let findings = self.checks().iter().map(|check| {
            let (result, crlite) = match check {
                Check::Pkix { roots, names, revocation, .. } => {
                    let pkix = Pkix { roots, names, revocation: *revocation };
                    judge_pkix(pkix, chain, trust, now, Purpose::Server)
                }
                Check::Dane { records, names, .. } => {
                    (dane::judge(records, names, chain, trust.algorithms(), now), None)
                }
                Check::Pinned { pins, .. } => (judge_pins(pins, chain), None),
            };
            Finding { weight: check.weight(), result, crlite }
        });
        Verdict::new(findings.collect())
    }

    /// The revocation lists for which the delivery should wait, and how long at most: those that
    /// the chain names and that are [missing](Verdict::missing_lists). `None` if the verdict does
    /// not depend on them, or if the connector does not wait
    /// ([`list_wait`](crate::rules::OutboundConnector::list_wait)). After the wait the chain is
    /// judged again, on a new connection; if it cannot be judged then, the mail is deferred.
    pub fn awaited_lists<'v>(&self, verdict: &'v Verdict) -> Option<(&'v [WantedList], Duration)> {
        let missing = verdict.missing_lists();
        let waits = !missing.is_empty() && !self.list_wait().is_zero();
        waits.then(|| (missing, self.list_wait()))
    }
}

type Algorithms<'a> = &'a [&'a dyn SignatureVerificationAlgorithm];

/// What a PKIX check asks for, of a server or of a client.
#[derive(Clone, Copy)]
pub(crate) struct Pkix<'c> {
    pub(crate) roots: &'c RootsId,
    pub(crate) names: &'c Names,
    pub(crate) revocation: Revocation,
}

/// Chain, dates, purpose, revocation, names: the first that fails is the defect. And what CRLite
/// says of the leaf, if it was asked.
pub(crate) fn judge_pkix(
    check: Pkix<'_>,
    chain: &[CertificateDer<'_>],
    trust: &Trust,
    now: UnixTime,
    purpose: Purpose,
) -> (Result<(), Defect>, Option<CrliteStatus>) {
    let crlite = Cell::new(None);
    let result = judge_chain(check, chain, trust, now, purpose, &crlite);
    (result, crlite.get())
}

fn judge_chain(
    check: Pkix<'_>,
    chain: &[CertificateDer<'_>],
    trust: &Trust,
    now: UnixTime,
    purpose: Purpose,
    crlite: &Cell<Option<CrliteStatus>>,
) -> Result<(), Defect> {
    // First, for nothing that the peer shows can make up for it.
    let Some(anchors) = trust.anchors(check.roots).filter(|anchors| !anchors.is_empty()) else {
        let set = Detail::Roots(check.roots.clone());
        return Err(Defect::at(Reason::RootsMissing, Place::Chain).with(set));
    };
    let (leaf, _) = within_limits(chain)?;
    let algorithms = trust.algorithms();
    let adapted = Adapted::new(chain, anchors.list(), anchors.names(), algorithms);

    let none = Crls::default();
    let unknown = Wanted::default();
    let consultation = Consultation {
        roots: check.roots,
        wanted: trust.wanted_of(check.roots).unwrap_or(&unknown),
        rule: check.revocation,
        crls: trust.lists(check.roots).unwrap_or(&none),
        crlite: trust.crlite(),
        crlite_status: crlite,
        algorithms,
        now,
        chain: &adapted.chain,
        defect: RefCell::new(None),
        signatures: Cell::new(MAX_LIST_SIGNATURES),
    };
    if anchors.contain(leaf, algorithms) {
        // The certificate is trusted for itself: no issuer has to vouch for it.
        itself(&adapted, now, purpose)?;
        if check.revocation != Revocation::Off {
            consultation.check_itself(leaf)?;
        }
        return check_names(check.names, leaf, |_| true);
    }
    let verify_path = |path: &VerifiedPath<'_>| {
        check_path(&adapted, path, &consultation.defect)?;
        match check.revocation {
            Revocation::Off => Ok(()),
            Revocation::Soft | Revocation::IfConfigured | Revocation::Hard => {
                consultation.check(path)
            }
        }
    };
    let verified = adapted.verify(now, purpose, &verify_path, |path| {
        check_names(check.names, leaf, |name| common_name_is_allowed(name, &adapted, path))
    });
    match verified {
        Ok(named) => named,
        Err(error) => {
            if let Some(defect) = consultation.defect.into_inner() {
                // The path was good in everything else.
                return Err(defect);
            }
            if x509::is_self_signed(leaf, algorithms) {
                return Err(Defect::at(Reason::CertSelfSigned, Place::Leaf));
            }
            if error == webpki::Error::InvalidSignatureForPublicKey
                && x509::is_complete(chain, algorithms)
            {
                // No signature is wrong: a root of the same name is trusted, and is not the one at
                // the end of this chain.
                return Err(Defect::at(Reason::CertUnknownIssuer, Place::Chain));
            }
            Err(defect_of(&error, &adapted.chain))
        }
    }
}

/// Checks a certificate that is trusted for itself, whether it is marked as an authority or not:
/// its form, its dates and its extended key usage.
fn itself(adapted: &Adapted<'_>, now: UnixTime, purpose: Purpose) -> Result<(), Defect> {
    let malformed = |what| Defect::at(Reason::CertMalformed, Place::Leaf).with(Detail::What(what));
    let leaf =
        adapted.chain.first().ok_or_else(|| Defect::at(Reason::CertMissing, Place::Chain))?;
    webpki::EndEntityCert::try_from(leaf).map_err(|error| defect_of(&error, &adapted.chain))?;
    check_dates(leaf, now)?;
    let purposes = x509::key_purposes(leaf).ok_or_else(|| malformed("extended key usage"))?;
    match purposes.is_empty() || purposes.iter().any(|oid| purpose.is_met_by(oid)) {
        true => Ok(()),
        false => Err(Defect::at(Reason::CertWrongPurpose, Place::Leaf)),
    }
}

/// Checks the dates of the peer's own certificate.
fn check_dates(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), Defect> {
    let (not_before, not_after) = x509::dates(leaf).ok_or_else(|| {
        Defect::at(Reason::CertMalformed, Place::Leaf).with(fault(&webpki::Error::BadDerTime, leaf))
    })?;
    let date = |time| UnixTime::since_unix_epoch(Duration::from_secs(time));
    let dated = |reason, time| Err(Defect::at(reason, Place::Leaf).with(Detail::Date(date(time))));
    if now.as_secs() < not_before {
        return dated(Reason::CertNotYetValid, not_before);
    }
    if now.as_secs() > not_after {
        return dated(Reason::CertExpired, not_after);
    }
    Ok(())
}

/// Checks what the path builder does not check of a path.
fn check_path(
    adapted: &Adapted<'_>,
    path: &VerifiedPath<'_>,
    defect: &RefCell<Option<Defect>>,
) -> Result<(), webpki::Error> {
    // RFC 5280, section 6.1.4, (n): every issuer below the root has keyCertSign, if it has a key
    // usage at all.
    if !path.intermediate_certificates().all(|issuer| x509::may_sign_certificates(&issuer.der())) {
        return Err(webpki::Error::EndEntityUsedAsCa);
    }
    let fails = |reason, place, what| {
        let found = Defect::at(reason, place).with(Detail::What(what));
        defect.borrow_mut().get_or_insert(found);
        // The path builder ranks no other error of a complete path above this one.
        Err(webpki::Error::CertRevoked)
    };
    if !x509::may_authenticate(&path.end_entity().der()) {
        return fails(Reason::CertWrongPurpose, Place::Leaf, "key usage");
    }
    if let Some(what) = certificate_policies::defect_of(path) {
        return fails(Reason::CertConstraintViolated, Place::Chain, what);
    }
    let originals = adapted.originals(path).ok_or(webpki::Error::NameConstraintViolation)?;
    name_constraints::check(&originals)
}

/// Whether one of the pins is that of the peer's own certificate or key. The rest of the chain is
/// not looked at.
pub(crate) fn judge_pins(pins: &[Pin], chain: &[CertificateDer<'_>]) -> Result<(), Defect> {
    let leaf = chain.first().ok_or_else(|| Defect::at(Reason::CertMissing, Place::Chain))?;
    match pins.iter().any(|pin| pin.matches(leaf)) {
        true => Ok(()),
        false => Err(Defect::at(Reason::PinMismatch, Place::Leaf)),
    }
}

fn check_names(
    names: &Names,
    leaf: &CertificateDer<'_>,
    is_allowed: impl FnOnce(&str) -> bool,
) -> Result<(), Defect> {
    let malformed = || Defect::at(Reason::CertMalformed, Place::Leaf).with(Detail::What("names"));
    if names.references.is_empty() {
        return Ok(());
    }
    match names.check(leaf) {
        Ok(Match::Alternative) => Ok(()),
        Ok(Match::CommonName(name)) if is_allowed(&name) => Ok(()),
        Ok(Match::CommonName(_)) => {
            let what = Detail::What("the Common Name lies outside the name constraints");
            Err(Defect::at(Reason::CertConstraintViolated, Place::Leaf).with(what))
        }
        Err(Mismatch::Malformed) => Err(malformed()),
        Err(Mismatch::Names(presented)) => {
            let names = Detail::Names { wanted: names.references.clone(), presented };
            Err(Defect::at(Reason::CertNameMismatch, Place::Leaf).with(names))
        }
    }
}

/// Applies the DNS name constraints of the path to a Common Name that is used as a DNS name.
fn common_name_is_allowed(name: &str, adapted: &Adapted<'_>, path: &VerifiedPath<'_>) -> bool {
    let Some(path) = adapted.originals(path) else {
        return false;
    };
    // The path builder keeps the contents of an anchor's constraints without their SEQUENCE header.
    let anchor = match &path.anchor.name_constraints {
        None => None,
        Some(contents) => match sequence(contents) {
            Some(der) => Some(der),
            None => return false,
        },
    };
    if anchor.is_some_and(|der| !constraints_in(&der, name)) {
        return false;
    }
    path.issuers.iter().all(|issuer| {
        let Some(parsed) = x509::parse_deep(issuer) else {
            return false;
        };
        match parsed.name_constraints() {
            Ok(None) => true,
            Ok(Some(constraints)) => allows(constraints.value, name),
            Err(_) => false,
        }
    })
}

fn constraints_in(der: &[u8], name: &str) -> bool {
    x509_parser::extensions::NameConstraints::from_der(der)
        .is_ok_and(|(_, constraints)| allows(&constraints, name))
}

fn allows(constraints: &x509_parser::extensions::NameConstraints<'_>, name: &str) -> bool {
    let subtrees = |list: &'_ Option<Vec<x509_parser::extensions::GeneralSubtree<'_>>>| {
        list.iter()
            .flatten()
            .filter_map(|subtree| match &subtree.base {
                GeneralName::DNSName(base) => Some((*base).to_owned()),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let permitted = subtrees(&constraints.permitted_subtrees);
    let excluded = subtrees(&constraints.excluded_subtrees);
    constraints_allow(name, &permitted, &excluded)
}
