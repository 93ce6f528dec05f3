//! What libtlsrpt tells a collector of one delivery, in its form: tlsrpt-reporter reads it, and
//! Postfix 3.10 writes it (feature `reports`).

use std::net::IpAddr;

use serde::Serialize;

use super::TlsrptRecord;
use super::session::{AppliedPolicy, ReportedSession};
use crate::domain::Domain;
use crate::reason::ResultType;

#[derive(Serialize)]
struct Datagram<'a> {
    d: &'a str,
    pr: &'a str,
    policies: Vec<Policy<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Policy<'a> {
    policy_type: u16,
    policy_domain: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policy_string: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mx_host: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failure_details: Vec<Failure<'a>>,
    /// How many failures there are.
    t: usize,
    /// The final result: 0 is success, 1 is failure.
    f: u8,
}

#[derive(Serialize)]
struct Failure<'a> {
    c: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r: Option<IpAddr>,
    f: &'a str,
}

/// The datagram about one connection: the domain that was mailed to, its record, and the sessions
/// that the connection was under each policy. `None` if there are none.
///
/// The form is that of libtlsrpt 0.5: a JSON object with `d` and `pr`, the domain and its record,
/// and `policies`.
pub fn datagram(
    domain: &Domain,
    record: &TlsrptRecord,
    sessions: &[ReportedSession],
) -> Option<String> {
    let policies: Vec<_> = sessions.iter().map(Policy::new).collect();
    let datagram = Datagram { d: domain.as_str(), pr: &record.text, policies };
    (!sessions.is_empty()).then(|| serde_json::to_string(&datagram).ok()).flatten()
}

impl<'a> Policy<'a> {
    fn new(session: &'a ReportedSession) -> Self {
        let failures = session.failures.iter().filter_map(|reason| {
            Some(Failure {
                c: failure_code(reason.result_type()?),
                s: session.sending,
                n: session.mx.as_ref().map(ToString::to_string),
                r: session.receiving,
                f: reason.code(),
            })
        });
        Self {
            policy_type: match session.policy {
                AppliedPolicy::Tlsa { .. } => 1,
                AppliedPolicy::Sts { .. } => 2,
                AppliedPolicy::NotFound { .. } => 9,
            },
            policy_domain: session.policy.domain().as_str(),
            policy_string: session.policy.strings(),
            mx_host: session.policy.mx().collect(),
            failure_details: failures.collect(),
            t: session.failures.len(),
            f: u8::from(!session.succeeded),
        }
    }
}

/// The number of a result type in `tlsrpt.h`.
const fn failure_code(result: ResultType) -> u16 {
    match result {
        ResultType::StarttlsNotSupported => 201,
        ResultType::CertificateHostMismatch => 202,
        ResultType::CertificateNotTrusted => 203,
        ResultType::CertificateExpired => 204,
        ResultType::ValidationFailure => 205,
        ResultType::StsPolicyFetchError => 301,
        ResultType::StsPolicyInvalid => 302,
        ResultType::StsWebpkiInvalid => 303,
        ResultType::TlsaInvalid => 304,
        ResultType::DnssecInvalid => 305,
        ResultType::DaneRequired => 306,
    }
}
