//! What a judgement says: findings, what they come to, and what exactly is wrong.

use std::fmt;

use crate::pki::defect::Defect;
use crate::reason::Reason;
use crate::rules::posture::Weight;

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
/// [`Plan::checks`](crate::plan::Plan::checks).
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
            Standing::NotTls | Standing::Refused => {
                self.defect().map_or(Reason::TlsOk, Defect::reason)
            }
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
        Some(
            failed.fold(first, |worst, next| if next.weight > worst.weight { next } else { worst }),
        )
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
