//! Reports that others send about our domains, read and put into sentences (feature `reports`).

mod complaint;
mod json;
mod unwrap;

use std::net::IpAddr;

pub use self::complaint::{Complaint, MAX_COMPLAINTS};
pub use self::unwrap::{MAX_ENCLOSED_LEN, MAX_REPORT_LEN};

/// Most values in the JSON text of a report, counted as commas and braces. Our own choice.
pub const MAX_REPORT_VALUES: usize = 300_000;

/// A report that another mail system sent about a domain of ours (RFC 8460, section 4.4).
///
/// Anyone can send one: whether its mail has the DKIM signature that RFC 8460, section 3 asks for
/// is for the caller to check. All texts are at most 1,024 characters long, with U+FFFD in place of
/// each character that [is hidden](crate::is_hidden), so that they can be shown.
///
/// ```
/// use smtp_tls_policy::tlsrpt::ReceivedReport;
///
/// let json = br#"{
///     "organization-name": "Company-X",
///     "date-range": {
///         "start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"
///     },
///     "contact-info": "sts-reporting@company-x.example",
///     "report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
///     "policies": [{
///         "policy": {
///             "policy-type": "sts",
///             "policy-string": ["version: STSv1", "mode: testing", "max_age: 86400"],
///             "policy-domain": "company-y.example"
///         },
///         "summary": {
///             "total-successful-session-count": 5326, "total-failure-session-count": 100
///         },
///         "failure-details": [{
///             "result-type": "certificate-expired",
///             "receiving-mx-hostname": "mx1.company-y.example",
///             "failed-session-count": 100
///         }]
///     }]
/// }"#;
/// let report = ReceivedReport::read(json)?; // also gzip, or the whole mail
/// let complaints = report.complaints();
/// assert_eq!(
///     complaints[0].to_string(),
///     "company-y.example: 100 sessions failed at mx1.company-y.example under the MTA-STS policy \
///      in mode testing: the certificate has expired (certificate-expired). Renew the certificate \
///      of this host."
/// );
/// # Ok::<(), smtp_tls_policy::tlsrpt::ReportError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedReport {
    /// The organisation that sent it.
    pub organization: String,
    /// Its address; empty if absent.
    pub contact: String,
    /// Identifies the report among those of this organisation.
    pub id: String,
    /// When the time that the report covers begins, as written.
    pub begins: String,
    /// When that time ends, as written.
    pub ends: String,
    /// What happened under each policy, in the order of the report.
    pub policies: Vec<ReportedPolicy>,
}

/// What happened under one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReportedPolicy {
    /// The type of the policy: `tlsa` (DANE), `sts` (MTA-STS) or `no-policy-found`, as
    /// [`AppliedPolicy::kind`](super::AppliedPolicy::kind) gives them, or another text.
    pub kind: String,
    /// The domain whose policy it is.
    pub domain: String,
    /// The lines of an MTA-STS policy, or the TLSA records, as the reporter saw them.
    pub strings: Vec<String>,
    /// The MX patterns of an MTA-STS policy.
    pub mx: Vec<String>,
    /// Sessions that met the policy.
    pub successful: u64,
    /// Sessions that did not.
    pub failed: u64,
    /// What failed. One session may be counted by several of these.
    pub failures: Vec<ReportedFailure>,
}

/// Sessions that failed alike.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReportedFailure {
    /// The result type: [`ResultType::as_str`](crate::ResultType::as_str) for those of RFC 8460.
    pub result: String,
    /// The host of the reporter.
    pub sending: Option<IpAddr>,
    /// The MX host.
    pub mx: Option<String>,
    /// What the MX host called itself.
    pub helo: Option<String>,
    /// The address of the MX host.
    pub receiving: Option<IpAddr>,
    /// How many sessions failed so.
    pub sessions: u64,
    /// A URI with more about it. Do not open it without thought: anyone can send a report.
    pub information: Option<String>,
    /// An error code or message of the reporter.
    pub reason: Option<String>,
}

/// Why a report cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// More than [`MAX_ENCLOSED_LEN`] octets of a mail or a compressed report.
    #[error("it is longer than {MAX_ENCLOSED_LEN} octets")]
    TooLong,
    /// More than [`MAX_REPORT_LEN`] octets of JSON, or a compressed report that expands to more.
    #[error("its JSON text is longer than {MAX_REPORT_LEN} octets")]
    TooLarge,
    /// More than [`MAX_REPORT_VALUES`] values.
    #[error("its JSON text has more than {MAX_REPORT_VALUES} values")]
    TooMany,
    /// The compressed report is damaged or cut off.
    #[error("its gzip part is damaged")]
    Gzip,
    /// The mail has no part of type `application/tlsrpt+json` or `application/tlsrpt+gzip`.
    #[error("it is neither JSON nor gzip, nor a mail with a TLS report")]
    NoReport,
    /// The text is no report in JSON.
    #[error("its JSON text is no TLS report: {0}")]
    Json(String),
}

impl ReceivedReport {
    /// Reads a report: JSON, the same compressed with gzip, or the mail that carries either (RFC
    /// 8460, section 5).
    ///
    /// Lenient where reporters differ from the RFC and each other and only one meaning is left: a
    /// single string in place of a list of strings, counts as strings, absent and unknown fields.
    ///
    /// # Errors
    ///
    /// [`ReportError`]: what is too long, damaged or missing.
    pub fn read(octets: &[u8]) -> Result<Self, ReportError> {
        json::parse(&unwrap::json(octets)?)
    }

    /// What is wrong, most sessions first: one complaint for each policy, result type, MX host and
    /// reason, and one for each policy whose failed sessions the report does not explain. At most
    /// [`MAX_COMPLAINTS`].
    pub fn complaints(&self) -> Vec<Complaint> {
        complaint::of(self)
    }
}
