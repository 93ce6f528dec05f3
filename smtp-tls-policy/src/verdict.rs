//! What a judgement says: findings, what they come to, and what exactly is wrong.

use std::fmt;

use pki_types::{CertificateDer, UnixTime};

use crate::decision::Reason;
use crate::names::Reference;
use crate::posture::Weight;
use crate::x509::CertificateField;

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
    /// What exactly, in which field, and where that can be told, at which octet of the certificate, counted from 0.
    Field {
        /// What.
        what: &'static str,
        /// The field.
        field: CertificateField,
        /// The octet.
        offset: Option<usize>,
    },
}

impl Defect {
    pub(crate) fn at(reason: Reason, place: Place) -> Self {
        Self { reason, place, detail: Detail::None }
    }

    pub(crate) fn with(self, detail: Detail) -> Self {
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
            Detail::Field { what, field, offset } => {
                write!(f, ", {what}, {field}")?;
                if let Some(offset) = offset {
                    write!(f, " at octet {offset}")?;
                }
            }
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
pub(crate) struct Date(pub(crate) UnixTime);

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

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.result {
            Ok(()) => write!(f, "passed ({})", self.weight),
            Err(defect) => write!(f, "failed ({}): {defect}", self.weight),
        }
    }
}

/// What the findings come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Standing {
    /// Every check that had to pass did.
    Acceptable,
    /// A check of weight [`Weight::NotTls`] failed: this does not count as TLS.
    NotTls,
    /// A check of weight [`Weight::Refuse`] failed: no mail.
    Refused,
}

/// What a certificate is worth under a plan: one finding per check, in the order of
/// [`Plan::checks`](crate::Plan::checks).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    findings: Vec<Finding>,
}

impl Verdict {
    pub(crate) fn new(findings: Vec<Finding>) -> Self {
        Self { findings }
    }

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

    /// Whether the peer is known: the certificate is acceptable, and passed at least one check of any weight. False
    /// under a plan without checks.
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
