//! What a report says is wrong, in sentences.

use std::collections::BTreeMap;
use std::fmt;

use super::{ReceivedReport, ReportedPolicy};
use crate::reason::ResultType;

/// Something that is wrong with a domain, as a reporter saw it. [`Display`](fmt::Display) is a
/// sentence about it, and one about what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Complaint {
    /// The domain of the policy.
    pub domain: String,
    /// The type of the policy, as in [`ReportedPolicy::kind`].
    pub kind: String,
    /// The mode of an MTA-STS policy: `enforce` or `testing` as a rule.
    pub mode: Option<String>,
    /// The MX host, if the report names one.
    pub mx: Option<String>,
    /// The result type; empty for sessions whose failure the report does not explain.
    pub result: String,
    /// The error code or message of the reporter.
    pub reason: Option<String>,
    /// How many sessions failed so.
    pub sessions: u64,
}

impl Complaint {
    /// The result type, if RFC 8460 has it.
    pub fn result_type(&self) -> Option<ResultType> {
        ResultType::ALL.iter().copied().find(|it| it.as_str() == self.result)
    }
}

/// Most complaints of one report. The failures of the others are in the report's policies.
pub const MAX_COMPLAINTS: usize = 1_000;

/// What makes the failures of a policy alike: MX host, result and reason.
type Alike<'r> = (Option<&'r str>, &'r str, Option<&'r str>);

pub(super) fn of(report: &ReceivedReport) -> Vec<Complaint> {
    let mut sums = Vec::new();
    for policy in &report.policies {
        let mut alike = BTreeMap::<Alike<'_>, u64>::new();
        for failure in &policy.failures {
            let key = (failure.mx.as_deref(), &*failure.result, failure.reason.as_deref());
            let sum = alike.entry(key).or_default();
            *sum = sum.saturating_add(failure.sessions);
        }
        let explained = alike.values().fold(0, |all: u64, sum| all.saturating_add(*sum));
        let silent = policy.failed.saturating_sub(explained);
        if silent > 0 {
            let sum = alike.entry((None, "", None)).or_default();
            *sum = sum.saturating_add(silent);
        }
        sums.extend(alike.into_iter().map(|(alike, sessions)| (policy, alike, sessions)));
    }
    sums.sort_by_key(|(.., sessions)| std::cmp::Reverse(*sessions));
    // Texts are copied only now: a small report can name one long text for each of many failures.
    sums.truncate(MAX_COMPLAINTS);
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let complaint =
        |(policy, (mx, result, reason), sessions): (&ReportedPolicy, Alike<'_>, _)| Complaint {
            domain: policy.domain.clone(),
            kind: policy.kind.clone(),
            mode: mode_of(policy),
            mx: owned(mx),
            result: result.to_owned(),
            reason: owned(reason),
            sessions,
        };
    sums.into_iter().map(complaint).collect()
}

fn mode_of(policy: &ReportedPolicy) -> Option<String> {
    let mode = policy.strings.iter().find_map(|line| line.trim().strip_prefix("mode:"));
    mode.map(|mode| mode.trim().to_owned()).filter(|_| policy.kind == "sts")
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sessions = match self.sessions {
            1 => "session",
            _ => "sessions",
        };
        write!(f, "{}: {} {sessions} failed", self.domain, self.sessions)?;
        if let Some(mx) = &self.mx {
            write!(f, " at {mx}")?;
        }
        match self.kind.as_str() {
            "tlsa" => f.write_str(" under the TLSA records (DANE)")?,
            "sts" => f.write_str(" under the MTA-STS policy")?,
            "no-policy-found" => f.write_str(" without a policy")?,
            kind => write!(f, " under a policy of type {kind}")?,
        }
        if let Some(mode) = &self.mode {
            write!(f, " in mode {mode}")?;
        }
        let result = self.result_type();
        match result {
            Some(result) => write!(f, ": {} ({result})", what(result))?,
            None if self.result.is_empty() => f.write_str(": the report gives no cause")?,
            None => write!(f, ": {}", self.result)?,
        }
        if let Some(reason) = &self.reason {
            write!(f, ", {reason}")?;
        }
        f.write_str(".")?;
        match result {
            Some(result) => write!(f, " {}", advice(result)),
            None => f.write_str(" Look into the log of this host for the time of the report."),
        }
    }
}

/// What a result type says about our side.
const fn what(result: ResultType) -> &'static str {
    match result {
        ResultType::StarttlsNotSupported => "the host did not offer STARTTLS",
        ResultType::CertificateHostMismatch => "the certificate is for another name",
        ResultType::CertificateExpired => "the certificate has expired",
        ResultType::CertificateNotTrusted => "the certificate is not trusted",
        ResultType::ValidationFailure => "TLS failed",
        ResultType::TlsaInvalid => "none of the TLSA records can be used",
        ResultType::DnssecInvalid => "the DNSSEC signatures could not be validated",
        ResultType::DaneRequired => "the sender requires DANE and found no TLSA records",
        ResultType::StsPolicyFetchError => "the MTA-STS policy could not be fetched",
        ResultType::StsPolicyInvalid => "the MTA-STS policy or its record is malformed",
        ResultType::StsWebpkiInvalid => "the certificate of the policy host is not valid",
    }
}

const fn advice(result: ResultType) -> &'static str {
    match result {
        ResultType::StarttlsNotSupported => {
            "Turn STARTTLS on for this host; if it is on, something between the two removes it."
        }
        ResultType::CertificateHostMismatch => {
            "The certificate needs the MX name among its DNS names, or the policy needs this host."
        }
        ResultType::CertificateExpired => "Renew the certificate of this host.",
        ResultType::CertificateNotTrusted => {
            "Send the whole chain of a public authority, or publish a TLSA record that matches it."
        }
        ResultType::ValidationFailure => "The reason of the reporter says more, if it gave one.",
        ResultType::TlsaInvalid => {
            "Publish a TLSA record that matches the certificate, before the certificate changes."
        }
        ResultType::DnssecInvalid => "Check the DNSSEC chain of the domain and of its MX hosts.",
        ResultType::DaneRequired => "Publish signed TLSA records for each MX host.",
        ResultType::StsPolicyFetchError => {
            "Serve the policy at the policy host with status 200 and type text/plain."
        }
        ResultType::StsPolicyInvalid => "Correct the policy text or its TXT record.",
        ResultType::StsWebpkiInvalid => {
            "Give the policy host a valid certificate of a public authority for its name."
        }
    }
}
