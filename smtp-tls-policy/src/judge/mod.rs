//! What the certificate is worth: one finding per check, in order.

pub(crate) mod admit;
mod dane;
mod defect;
mod limits;
mod mailboxes;
mod raw_key;
pub(crate) mod verdict;

use std::cell::{Cell, RefCell};

use pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::pki::defect::{Defect, Detail, Place};
use crate::pki::names::{Match, Mismatch, Names, constraints_allow};
use crate::pki::revocation::{Consultation, Crls, MAX_LIST_SIGNATURES, Revocation};
use crate::pki::trust::{Trust, TrustStore};
use crate::pki::x509;
use crate::plan::Plan;
use crate::plan::check::{Check, Pinned, Pkix};
use crate::reason::Reason;

pub use self::admit::{Inbound, admit, admit_handshake};
use self::defect::defect_of;
use self::limits::within_limits;
pub use self::limits::{MAX_CHAIN_BYTES, MAX_CHAIN_LEN};
pub use self::verdict::{Finding, Standing, Verdict};

impl Plan {
    /// Judges the chain that a server showed, leaf first, as it was sent.
    ///
    /// The cost is bounded: [`MAX_CHAIN_LEN`] certificates, more of them only where few paths lead through them, and
    /// [`MAX_CHAIN_BYTES`] bytes are looked at, and the path builder has budgets for signatures and steps.
    pub fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        trust: &dyn TrustStore,
        now: UnixTime,
    ) -> Verdict {
        // Once, for the store may change meanwhile.
        let trust = &*trust.current();
        let findings = self.checks().iter().map(|check| {
            let result = match check {
                Check::Pkix(pkix) => judge_pkix(pkix, chain, trust, now, KeyUsage::server_auth()),
                Check::Dane(check) => dane::judge(check, chain, trust.algorithms(), now),
                Check::Pinned(pinned) => judge_pins(pinned, chain),
            };
            Finding { weight: check.weight(), result }
        });
        Verdict::new(findings.collect())
    }
}

/// What the path builder asks of a path that is good in everything else.
type VerifyPath<'a> = dyn Fn(&VerifiedPath<'_>) -> Result<(), webpki::Error> + 'a;

/// Chain, dates, purpose, revocation, names: the first that fails is the defect.
pub(crate) fn judge_pkix(
    check: &Pkix,
    chain: &[CertificateDer<'_>],
    trust: &Trust,
    now: UnixTime,
    usage: KeyUsage,
) -> Result<(), Defect> {
    // First, for nothing that the peer shows can make up for it.
    let roots = trust.roots(&check.roots);
    if roots.is_empty() {
        let set = Detail::Roots(check.roots.clone());
        return Err(Defect::at(Reason::RootsMissing, Place::Chain).with(set));
    }
    let (leaf, issuers) = within_limits(chain)?;
    let algorithms = trust.algorithms();

    let none = Crls::default();
    let consultation = Consultation {
        rule: check.revocation,
        crls: trust.crls(&check.roots).unwrap_or(&none),
        algorithms,
        now,
        chain,
        defect: RefCell::new(None),
        signatures: Cell::new(MAX_LIST_SIGNATURES),
    };
    let verify_path = |path: &VerifiedPath<'_>| {
        check_path(path)?;
        match check.revocation {
            Revocation::Off => Ok(()),
            Revocation::Soft | Revocation::IfConfigured | Revocation::Hard => {
                consultation.check(path)
            }
        }
    };
    let verify_path: &VerifyPath<'_> = &verify_path;

    let verified = EndEntityCert::try_from(leaf).and_then(|end_entity| {
        let path = end_entity.verify_for_usage(
            algorithms,
            roots,
            issuers,
            now,
            usage,
            None,
            Some(verify_path),
        )?;
        Ok(check_names(&check.names, leaf, &path))
    });
    match verified {
        Ok(named) => named,
        Err(error) => {
            if let Some(defect) = consultation.defect.into_inner() {
                // The path was good in everything else.
                return Err(defect);
            }
            let known_root = || roots.iter().any(|root| is_key_of(root, leaf));
            if x509::is_self_signed(leaf, algorithms) && !known_root() {
                return Err(Defect::at(Reason::CertSelfSigned, Place::Leaf));
            }
            if error == webpki::Error::InvalidSignatureForPublicKey
                && x509::is_complete(chain, algorithms)
            {
                // No signature is wrong: a root of the same name is trusted, and is not the one at the end of this chain.
                return Err(Defect::at(Reason::CertUnknownIssuer, Place::Chain));
            }
            Err(defect_of(&error, chain))
        }
    }
}

/// What the path builder does not ask of a path.
fn check_path(path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
    // RFC 5280, 6.1.4 (n): every issuer below the root has keyCertSign, if it has a key usage at all.
    if !path.intermediate_certificates().all(|issuer| x509::may_sign_certificates(&issuer.der())) {
        return Err(webpki::Error::EndEntityUsedAsCa);
    }
    mailboxes::check(path)
}

fn judge_pins(check: &Pinned, chain: &[CertificateDer<'_>]) -> Result<(), Defect> {
    let (leaf, _) = within_limits(chain)?;
    match check.pins.iter().any(|pin| pin.matches(leaf)) {
        true => Ok(()),
        false => Err(Defect::at(Reason::PinMismatch, Place::Leaf)),
    }
}

/// Whether a root is this very certificate's name and key.
fn is_key_of(root: &pki_types::TrustAnchor<'_>, leaf: &CertificateDer<'_>) -> bool {
    webpki::anchor_from_trusted_cert(leaf).is_ok_and(|anchor| {
        anchor.subject == root.subject
            && anchor.subject_public_key_info == root.subject_public_key_info
    })
}

fn check_names(
    names: &Names,
    leaf: &CertificateDer<'_>,
    path: &VerifiedPath<'_>,
) -> Result<(), Defect> {
    let malformed = || Defect::at(Reason::CertMalformed, Place::Leaf).with(Detail::What("names"));
    if names.references.is_empty() {
        return Ok(());
    }
    match names.check(leaf) {
        Ok(Match::Alternative) => Ok(()),
        Ok(Match::CommonName(name)) if common_name_is_allowed(&name, path) => Ok(()),
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
fn common_name_is_allowed(name: &str, path: &VerifiedPath<'_>) -> bool {
    // The path builder keeps the contents of an anchor's constraints without their SEQUENCE header.
    let anchor = match &path.anchor().name_constraints {
        None => None,
        Some(contents) => match sequence(contents) {
            Some(der) => Some(der),
            None => return false,
        },
    };
    if anchor.is_some_and(|der| !constraints_in(&der, name)) {
        return false;
    }
    path.intermediate_certificates().all(|issuer| {
        let der = issuer.der();
        let Some(parsed) = x509::parse(&der) else {
            return false;
        };
        match parsed.name_constraints() {
            Ok(None) => true,
            Ok(Some(constraints)) => allows(constraints.value, name),
            Err(_) => false,
        }
    })
}

/// `SEQUENCE { contents }`.
fn sequence(contents: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(contents.len()).ok()?.to_be_bytes();
    let mut der = match length {
        [0, short @ 0..=0x7f] => vec![0x30, short],
        [0, long] => vec![0x30, 0x81, long],
        [high, low] => vec![0x30, 0x82, high, low],
    };
    der.extend_from_slice(contents);
    Some(der)
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
