//! What a plan makes of what a server showed.

use serde::Serialize;
use smtp_proto::channel::Channel;
use smtp_proto::fallback::{Fallback, TlsFailure, after};
use smtp_tls_policy::Reason;
use smtp_tls_policy::judge::{Standing, Verdict};
use smtp_tls_policy::pki::Trust;
use smtp_tls_policy::plan::{Attempt, HopEnding, Plan, explain};
use smtp_tokio_adapter::tls_rules;

use crate::input;
use crate::status::Status;

use super::observe::{Observed, Outcome};

/// What would become of mail.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Decided {
    /// The posture, or `connector NAME`.
    pub(crate) rule: String,
    /// `tls`, `clear-text`, `deferred` or `refused`.
    pub(crate) ending: &'static str,
    /// The code of the reason.
    pub(crate) reason: &'static str,
    /// The decision in one sentence.
    pub(crate) sentence: String,
    /// Each check of the certificate, with what it found.
    pub(crate) checks: Vec<CheckFound>,
}

/// A check, and what it found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CheckFound {
    pub(crate) check: String,
    pub(crate) passed: bool,
    pub(crate) finding: String,
}

impl Decided {
    /// A host that is not dialled.
    pub(crate) fn refused(rule: String, reason: Option<Reason>, sentence: String) -> Self {
        let reason = reason.map_or("lookup-failed", Reason::code);
        Self { rule, ending: "deferred", reason, sentence, checks: Vec::new() }
    }

    pub(crate) fn new(rule: String, plan: &Plan, observed: &Observed, trust: &Trust) -> Self {
        let verdict = match observed.outcome {
            Outcome::Tls if plan.attempt() != Attempt::Clear => {
                Some(plan.judge(&observed.chain, trust, input::now()))
            }
            _ => None,
        };
        let (ending, reason) = ending(plan, observed, verdict.as_ref());
        let defect = verdict.as_ref().and_then(Verdict::defect);
        let sentence = match (&observed.outcome, ending) {
            (Outcome::Refused(why) | Outcome::Ended(why), HopEnding::NotDelivered) => {
                format!("not delivered: {why}")
            }
            _ => explain(plan, ending, reason, defect),
        };
        let findings = verdict.as_ref().map_or(&[][..], Verdict::findings);
        let checks = plan
            .checks()
            .iter()
            .zip(findings)
            .map(|(check, finding)| CheckFound {
                check: check.to_string(),
                passed: finding.result.is_ok(),
                finding: finding.to_string(),
            })
            .collect();
        let ending = match ending {
            HopEnding::Tls | HopEnding::TlsPlainHello => "tls",
            HopEnding::ClearText => "clear-text",
            _ if matches!(observed.outcome, Outcome::Refused(_)) => "refused",
            HopEnding::TlsAgain | HopEnding::NotDelivered => "deferred",
        };
        Self { rule, ending, reason: reason.code(), sentence, checks }
    }

    pub(crate) fn status(&self) -> Status {
        match self.ending {
            "tls" => Status::Good,
            "clear-text" => Status::Bad,
            "refused" => Status::Unsure,
            _ => Status::Deferred,
        }
    }
}

fn ending(plan: &Plan, observed: &Observed, verdict: Option<&Verdict>) -> (HopEnding, Reason) {
    let tls = match observed.plain_hello {
        Some(true) => HopEnding::TlsPlainHello,
        Some(false) | None => HopEnding::Tls,
    };
    let clear_or_not = |failure: TlsFailure, reason| {
        // What the plan says once the handshake with the plainest hello has failed as well.
        let rules = tls_rules(plan).without_plain_hello();
        // EHLO refused inside TLS has the consequences of a broken handshake (RULES.md, S13); the
        // channel of the connection that showed it is gone.
        let failure = match failure {
            TlsFailure::HelloInside => TlsFailure::Handshake,
            failure => failure,
        };
        let ending = match after(rules, &Channel::Plain, failure) {
            Fallback::ContinuePlaintext | Fallback::ReconnectPlaintext => HopEnding::ClearText,
            Fallback::RetryPlainHello | Fallback::PlaintextNextRun | Fallback::Forbidden => {
                HopEnding::NotDelivered
            }
        };
        (ending, reason)
    };
    match (&observed.outcome, verdict) {
        (Outcome::OwnFault(reason), _) => (HopEnding::NotDelivered, *reason),
        (Outcome::Refused(_) | Outcome::Ended(_), _) => {
            (HopEnding::NotDelivered, Reason::Undecided)
        }
        _ if plan.attempt() == Attempt::Clear => {
            (HopEnding::ClearText, plan.clear_reason().unwrap_or(Reason::TlsNotWanted))
        }
        (Outcome::NoTls(failure, reason), _) => clear_or_not(*failure, *reason),
        (Outcome::Tls, None) => (tls, Reason::TlsOk),
        (Outcome::Tls, Some(verdict)) => match verdict.standing() {
            Standing::Acceptable => (tls, verdict.reason()),
            Standing::LocalFault => (HopEnding::NotDelivered, verdict.reason()),
            Standing::NotTls | Standing::Refused => {
                clear_or_not(TlsFailure::Untrusted, verdict.reason())
            }
        },
    }
}
