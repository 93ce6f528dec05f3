//! The result of a judgement: one finding for each check, and what the findings mean together.

use std::fmt;

use crate::pki::crlite::CrliteStatus;
use crate::pki::defect::Defect;
use crate::pki::wanted::WantedList;
use crate::reason::{Fault, Reason};
use crate::rules::posture::Weight;

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What a failure means.
    pub weight: Weight,
    /// Whether the check passed, or why not.
    pub result: Result<(), Defect>,
    /// What CRLite says of the peer's own certificate. `None` if it was not asked: the check is no
    /// PKIX check, or it failed before revocation, or the rule is
    /// [`Revocation::Off`](crate::pki::Revocation::Off), or the trust has no
    /// [`Crlite`](crate::pki::Crlite).
    pub crlite: Option<CrliteStatus>,
}

impl Finding {
    /// Whether the check failed for a fault of this side: it says nothing about the peer.
    fn is_local_fault(&self) -> bool {
        self.result.as_ref().is_err_and(|defect| defect.reason().fault() == Fault::Local)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.result {
            Ok(()) => {
                write!(f, "passed ({})", self.weight)?;
                self.crlite.map_or(Ok(()), |crlite| write!(f, ", {crlite}"))
            }
            Err(defect) => write!(f, "failed ({}): {defect}", self.weight),
        }
    }
}

/// What the findings mean together, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Standing {
    /// Every check that had to pass did.
    Acceptable,
    /// A check of weight [`Weight::NotTls`] failed: the connection does not count as TLS.
    NotTls,
    /// A check of weight [`Weight::Refuse`] failed: this peer gets no mail.
    Refused,
    /// A check that had to pass could not be made, for a fault of this side ([`Fault::Local`]),
    /// such as missing roots. The peer may be good or bad: the mail is deferred, and never sent in
    /// clear text for it.
    LocalFault,
}

/// What a certificate, and the session that showed it, are worth under a plan: one finding per
/// check, in the order of [`Plan::checks`](crate::plan::Plan::checks).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    findings: Vec<Finding>,
}

impl Verdict {
    pub(crate) fn new(findings: Vec<Finding>) -> Self {
        Self { findings }
    }

    /// The same verdict, with a session that the connector's limits do not allow.
    #[cfg(feature = "rustls")]
    pub(crate) fn beyond_limits(mut self, defect: Defect) -> Self {
        self.findings.push(Finding { weight: Weight::Refuse, result: Err(defect), crlite: None });
        self
    }

    /// What the findings mean together. A fault of this side in a check that had to pass outweighs
    /// whatever else failed; recorded checks have no consequence.
    pub fn standing(&self) -> Standing {
        let decisive = self.decisive();
        match decisive.map(|finding| finding.weight) {
            None | Some(Weight::Recorded) => Standing::Acceptable,
            Some(_) if decisive.is_some_and(Finding::is_local_fault) => Standing::LocalFault,
            Some(Weight::NotTls) => Standing::NotTls,
            Some(Weight::Refuse) => Standing::Refused,
        }
    }

    /// One finding per check of the plan, and one more if the session breaks the
    /// [limits](crate::plan::Plan::limits) of the plan.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// [`Reason::TlsOk`] if the certificate is acceptable, else that of the decisive failure.
    pub fn reason(&self) -> Reason {
        match self.standing() {
            Standing::Acceptable => Reason::TlsOk,
            Standing::NotTls | Standing::Refused | Standing::LocalFault => {
                self.defect().map_or(Reason::TlsOk, Defect::reason)
            }
        }
    }

    /// What is wrong, by the decisive failure; also where the failure is only recorded.
    pub fn defect(&self) -> Option<&Defect> {
        self.decisive()?.result.as_ref().err()
    }

    /// The revocation lists that the chain names and that are not loaded, or have expired, if the
    /// peer could not be judged without them; otherwise none.
    pub fn missing_lists(&self) -> &[WantedList] {
        match self.standing() {
            Standing::LocalFault => self.defect().map_or(&[], Defect::missing_lists),
            Standing::Acceptable | Standing::NotTls | Standing::Refused => &[],
        }
    }

    /// Whether the peer is known: the certificate is acceptable, and passed at least one check of
    /// any weight. False under a plan without checks.
    pub fn is_authenticated(&self) -> bool {
        self.standing() == Standing::Acceptable && self.findings.iter().any(|f| f.result.is_ok())
    }

    /// The first of the gravest failures: local faults in checks that have to pass, then by weight.
    fn decisive(&self) -> Option<&Finding> {
        let gravity = |finding: &Finding| {
            let has_to_pass = finding.weight > Weight::Recorded;
            (has_to_pass && finding.is_local_fault(), finding.weight)
        };
        let mut failed = self.findings.iter().filter(|f| f.result.is_err());
        let first = failed.next()?;
        Some(
            failed.fold(
                first,
                |worst, next| if gravity(next) > gravity(worst) { next } else { worst },
            ),
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
