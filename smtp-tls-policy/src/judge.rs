//! What the certificate is worth: one finding per check, in order.

use std::cell::RefCell;
use std::fmt;

use pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::decision::Reason;
use crate::names::{Match, Mismatch, Names, Reference, constraints_allow};
use crate::plan::{Check, Pkix, Plan};
use crate::posture::Weight;
use crate::revocation::{Consultation, Crls, Revocation};
use crate::trust::TrustStore;
use crate::x509;

/// Most certificates of a chain that are looked at, the leaf included.
///
/// The path builder tries every order of issuers that share a name, so its cost grows steeply with their number. It
/// follows at most six; real chains have two to four.
pub const MAX_CHAIN_LEN: usize = 10;
/// Most bytes of a chain. TLS 1.2 and rustls let a handshake message have 64 KiB.
pub const MAX_CHAIN_BYTES: usize = 0xffff;

/// Which certificate of a chain a defect is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The peer's own.
    Leaf,
    /// The one at this position of the chain as it was sent, counted from 1.
    Issuer(usize),
    /// The chain as a whole.
    Chain,
}

impl Place {
    pub(crate) fn of(der: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> Self {
        match chain.iter().position(|sent| sent == der) {
            Some(0) => Self::Leaf,
            Some(position) => Self::Issuer(position),
            None => Self::Chain,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf => f.write_str("leaf"),
            Self::Issuer(position) => write!(f, "issuer {position}"),
            Self::Chain => f.write_str("chain"),
        }
    }
}

/// What is wrong with a certificate. `Display` is one clause for a log, without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    reason: Reason,
    place: Place,
    detail: Detail,
}

/// What more there is to say of a defect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detail {
    /// Nothing.
    None,
    /// The date that is past, or to come.
    Date(UnixTime),
    /// The names.
    Names {
        /// Those of which one was wanted.
        wanted: Vec<Reference>,
        /// The first few host names that the certificate has, as A-labels, perhaps with a wildcard.
        presented: Vec<String>,
    },
    /// What exactly.
    What(&'static str),
}

impl Defect {
    pub(crate) fn at(reason: Reason, place: Place) -> Self {
        Self { reason, place, detail: Detail::None }
    }

    fn with(self, detail: Detail) -> Self {
        Self { detail, ..self }
    }

    /// The reason.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Which certificate.
    pub fn place(&self) -> Place {
        self.place
    }

    /// What more there is to say.
    pub fn detail(&self) -> &Detail {
        &self.detail
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.reason.sentence(), self.place)?;
        match &self.detail {
            Detail::None => {}
            Detail::Date(time) => write!(f, ", {}", Date(*time))?,
            Detail::Names { wanted, presented } => {
                f.write_str(", wanted")?;
                list(f, wanted)?;
                f.write_str(", has")?;
                list(f, presented)?;
            }
            Detail::What(what) => write!(f, ", {what}")?,
        }
        f.write_str(")")
    }
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, names: &[T]) -> fmt::Result {
    if names.is_empty() {
        return f.write_str(" no host name");
    }
    for (index, name) in names.iter().enumerate() {
        write!(f, "{} {name}", if index == 0 { "" } else { " or" })?;
    }
    Ok(())
}

/// A point in time as `2026-11-23T23:26:41Z`.
struct Date(UnixTime);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0.as_secs()).ok();
        let date = seconds.and_then(|s| x509_parser::time::ASN1Time::from_timestamp(s).ok());
        match date {
            Some(date) => {
                let date = date.to_datetime();
                write!(
                    f,
                    "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
                    date.year(),
                    u8::from(date.month()),
                    date.day(),
                    date.hour(),
                    date.minute(),
                    date.second()
                )
            }
            None => write!(f, "{} s after 1970", self.0.as_secs()),
        }
    }
}

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What a failure means.
    pub weight: Weight,
    /// Whether the check passed, or why not.
    pub result: Result<(), Defect>,
}

/// What the findings come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// Every check that had to pass did.
    Acceptable,
    /// A check of weight [`Weight::NotTls`] failed: this does not count as TLS.
    NotTls,
    /// A check of weight [`Weight::Refuse`] failed: no mail.
    Refused,
}

/// What a certificate is worth under a plan: one finding per check, in the order of [`Plan::checks`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    findings: Vec<Finding>,
}

impl Verdict {
    /// What the findings come to.
    pub fn standing(&self) -> Standing {
        match self.decisive().map(|finding| finding.weight) {
            None | Some(Weight::Recorded) => Standing::Acceptable,
            Some(Weight::NotTls) => Standing::NotTls,
            Some(Weight::Refuse) => Standing::Refused,
        }
    }

    /// One finding per check of the plan.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// [`Reason::TlsOk`] if the certificate is acceptable, else that of the weightiest failed check.
    pub fn reason(&self) -> Reason {
        match self.standing() {
            Standing::Acceptable => Reason::TlsOk,
            Standing::NotTls | Standing::Refused => self.defect().map_or(Reason::TlsOk, Defect::reason),
        }
    }

    /// What is wrong, by the weightiest failed check; also where the failure is only recorded.
    pub fn defect(&self) -> Option<&Defect> {
        self.decisive()?.result.as_ref().err()
    }

    /// Whether the peer is known: the certificate is acceptable, and passed at least one check of any weight.
    pub fn is_authenticated(&self) -> bool {
        self.standing() == Standing::Acceptable && self.findings.iter().any(|f| f.result.is_ok())
    }

    /// The first of the weightiest failures.
    fn decisive(&self) -> Option<&Finding> {
        let mut failed = self.findings.iter().filter(|f| f.result.is_err());
        let first = failed.next()?;
        Some(failed.fold(first, |worst, next| if next.weight > worst.weight { next } else { worst }))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.defect() {
            Some(defect) => defect.fmt(f),
            None if self.findings.is_empty() => f.write_str("the certificate is not checked"),
            None => f.write_str("the certificate passed every check"),
        }
    }
}

impl std::error::Error for Verdict {}

impl Plan {
    /// Judges the chain that a server showed, leaf first, as it was sent.
    ///
    /// The cost is bounded: at most [`MAX_CHAIN_LEN`] certificates and [`MAX_CHAIN_BYTES`] bytes are looked at, and the
    /// path builder has budgets for signatures and steps.
    pub fn judge(&self, chain: &[CertificateDer<'_>], trust: &dyn TrustStore, now: UnixTime) -> Verdict {
        let findings = self.checks().iter().map(|check| match check {
            Check::Pkix(pkix) => {
                Finding { weight: pkix.weight, result: judge_pkix(pkix, chain, trust, now, KeyUsage::server_auth()) }
            }
        });
        Verdict { findings: findings.collect() }
    }
}

/// What the path builder asks of a path that is good in everything else.
type VerifyPath<'a> = dyn Fn(&VerifiedPath<'_>) -> Result<(), webpki::Error> + 'a;

/// Chain, dates, purpose, revocation, names: the first that fails is the defect.
pub(crate) fn judge_pkix(
    check: &Pkix,
    chain: &[CertificateDer<'_>],
    trust: &dyn TrustStore,
    now: UnixTime,
    usage: KeyUsage,
) -> Result<(), Defect> {
    let Some((leaf, issuers)) = chain.split_first() else {
        return Err(Defect::at(Reason::CertMissing, Place::Chain));
    };
    if chain.len() > MAX_CHAIN_LEN {
        let what = Detail::What("more than 10 certificates");
        return Err(Defect::at(Reason::CertTooCostly, Place::Chain).with(what));
    }
    if chain.iter().map(|der| der.len()).sum::<usize>() > MAX_CHAIN_BYTES {
        let what = Detail::What("more than 65535 bytes");
        return Err(Defect::at(Reason::CertTooCostly, Place::Chain).with(what));
    }
    let roots = trust.roots(&check.roots).ok_or_else(|| Defect::at(Reason::RootsMissing, Place::Chain))?;
    let algorithms = trust.algorithms();

    let none = Crls::default();
    let consultation = Consultation {
        rule: check.revocation,
        crls: trust.crls(&check.roots).unwrap_or(&none),
        algorithms,
        now,
        chain,
        defect: RefCell::new(None),
    };
    let verify_path = |path: &VerifiedPath<'_>| consultation.check(path);
    let verify_path: Option<&VerifyPath<'_>> = match check.revocation {
        Revocation::Off => None,
        Revocation::Soft | Revocation::IfConfigured | Revocation::Hard => Some(&verify_path),
    };

    let verified = EndEntityCert::try_from(leaf).and_then(|end_entity| {
        let path = end_entity.verify_for_usage(algorithms, roots, issuers, now, usage, None, verify_path)?;
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
            Err(defect_of(&error, chain))
        }
    }
}

/// Whether a root is this very certificate's name and key.
fn is_key_of(root: &pki_types::TrustAnchor<'_>, leaf: &CertificateDer<'_>) -> bool {
    webpki::anchor_from_trusted_cert(leaf).is_ok_and(|anchor| {
        anchor.subject == root.subject && anchor.subject_public_key_info == root.subject_public_key_info
    })
}

fn check_names(names: &Names, leaf: &CertificateDer<'_>, path: &VerifiedPath<'_>) -> Result<(), Defect> {
    let malformed = || Defect::at(Reason::CertMalformed, Place::Leaf).with(Detail::What("names"));
    if names.references.is_empty() {
        return Ok(());
    }
    let certificate = x509::parse(leaf).ok_or_else(malformed)?;
    match names.check(&certificate) {
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
    x509_parser::extensions::NameConstraints::from_der(der).is_ok_and(|(_, constraints)| allows(&constraints, name))
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

/// Names the defect behind the path builder's error, and where it can be told, the certificate.
fn defect_of(error: &webpki::Error, chain: &[CertificateDer<'_>]) -> Defect {
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
