//! A decision in one sentence.

use super::Plan;
use super::refusal::Clause;
use crate::pki::defect::Defect;
use crate::reason::{Fault, Reason};

/// How a hop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum HopEnding {
    /// The mail went over TLS.
    Tls,
    /// The mail went over TLS, after a handshake with the plainest ClientHello.
    TlsPlainHello,
    /// The handshake is repeated on a new connection, with the plainest ClientHello.
    TlsAgain,
    /// The mail went in clear text.
    ClearText,
    /// The mail did not go.
    NotDelivered,
}

/// The decision in one sentence, for a log.
///
/// `clear text, because the certificate has expired (leaf: ...); allowed by posture deterministic
/// of connector default`
pub fn explain(plan: &Plan, ending: HopEnding, reason: Reason, defect: Option<&Defect>) -> String {
    let clause = Clause(reason, defect);
    let because = plan.because();
    let tls = match ending {
        HopEnding::TlsPlainHello => "TLS with the plainest hello",
        HopEnding::Tls | HopEnding::TlsAgain | HopEnding::ClearText | HopEnding::NotDelivered => {
            "TLS"
        }
    };
    match ending {
        HopEnding::Tls | HopEnding::TlsPlainHello if defect.is_some() => {
            format!("{tls}, although {clause}; under {because}")
        }
        HopEnding::Tls | HopEnding::TlsPlainHello if plan.checks().is_empty() => {
            format!("{tls}, without a check of the certificate; under {because}")
        }
        HopEnding::Tls | HopEnding::TlsPlainHello => {
            format!("{tls}, because the certificate passed every required check; under {because}")
        }
        HopEnding::TlsAgain => {
            format!("another connection with the plainest hello, because {clause}; under {because}")
        }
        HopEnding::ClearText => format!("clear text, because {clause}; allowed by {because}"),
        HopEnding::NotDelivered if reason.fault() == Fault::Local => {
            format!("not delivered, because {clause}; the fault is on this side; under {because}")
        }
        // No rule caused this ending.
        HopEnding::NotDelivered if reason == Reason::Undecided => {
            format!("not delivered, because {clause}; under {because}")
        }
        HopEnding::NotDelivered => {
            format!("not delivered, because {clause}; required by {because}")
        }
    }
}
