//! A decision in one sentence.

use super::Plan;
use super::refusal::Clause;
use crate::pki::defect::Defect;
use crate::reason::{Fault, Reason};

/// How a hop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Ending {
    /// The mail went over TLS.
    Tls,
    /// The mail went in clear text.
    ClearText,
    /// The mail did not go.
    NotDelivered,
}

/// The decision in one sentence, for a log.
///
/// `clear text, because the certificate has expired (leaf: ...); allowed by posture deterministic
/// of connector default`
pub fn explain(plan: &Plan, ending: Ending, reason: Reason, defect: Option<&Defect>) -> String {
    let clause = Clause(reason, defect);
    let because = plan.because();
    match ending {
        Ending::Tls if defect.is_some() => format!("TLS, although {clause}; under {because}"),
        Ending::Tls if plan.checks().is_empty() => {
            format!("TLS, without a check of the certificate; under {because}")
        }
        Ending::Tls => {
            format!("TLS, because the certificate passed every required check; under {because}")
        }
        Ending::ClearText => format!("clear text, because {clause}; allowed by {because}"),
        Ending::NotDelivered if reason.fault() == Fault::Local => {
            format!("not delivered, because {clause}; the fault is on this side; under {because}")
        }
        // No rule caused this ending.
        Ending::NotDelivered if reason == Reason::Undecided => {
            format!("not delivered, because {clause}; under {because}")
        }
        Ending::NotDelivered => format!("not delivered, because {clause}; required by {because}"),
    }
}
