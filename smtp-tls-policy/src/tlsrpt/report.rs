//! Counts of sessions, and the report of a day (RFC 8460, section 4).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use pki_types::UnixTime;

use super::session::{AppliedPolicy, ReportedSession, SessionFailure};
use super::submitter::{ReportId, Submitter};
use crate::domain::{Domain, Host};

/// Seconds of a day in UTC, leap seconds aside.
const DAY: u64 = 24 * 60 * 60;

/// How much an [`Aggregate`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AggregateLimits {
    /// Most policies of all domains and days; one that changes within a day counts anew. Sessions
    /// under a further one are not counted. By default 10,000: our own choice.
    pub policies: usize,
    /// Most different failures of one policy and day; a further one is counted in the summary only.
    /// By default 100: our own choice.
    pub failures: usize,
}

impl Default for AggregateLimits {
    fn default() -> Self {
        Self { policies: 10_000, failures: 100 }
    }
}

/// Counts sessions by day, policy domain and policy. Time is an argument.
#[derive(Clone, Debug, Default)]
pub struct Aggregate {
    limits: AggregateLimits,
    held: usize,
    days: BTreeMap<u64, BTreeMap<Domain, BTreeMap<AppliedPolicy, Counts>>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    successful: u64,
    failed: u64,
    failures: BTreeMap<Details, u64>,
}

/// What makes failures alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Details {
    failure: SessionFailure,
    sending: Option<IpAddr>,
    mx: Option<Host>,
    receiving: Option<IpAddr>,
}

impl Aggregate {
    /// Nothing is counted yet.
    pub fn new(limits: AggregateLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Counts a session on the day of `now`.
    pub fn record(&mut self, session: &ReportedSession, now: UnixTime) {
        let (day, domain) = (now.as_secs() / DAY, session.policy.domain());
        let known = self.days.get(&day).and_then(|domains| domains.get(domain));
        if !known.is_some_and(|policies| policies.contains_key(&session.policy)) {
            if self.held >= self.limits.policies {
                return;
            }
            self.held += 1;
        }
        let policies = self.days.entry(day).or_default().entry(domain.clone()).or_default();
        let counts = policies.entry(session.policy.clone()).or_default();
        let total = if session.succeeded { &mut counts.successful } else { &mut counts.failed };
        *total = total.saturating_add(1);
        for failure in &session.failures {
            let (failure, mx) = (*failure, session.mx.clone());
            let details =
                Details { failure, sending: session.sending, mx, receiving: session.receiving };
            if counts.failures.contains_key(&details)
                || counts.failures.len() < self.limits.failures
            {
                let count = counts.failures.entry(details).or_default();
                *count = count.saturating_add(1);
            }
        }
    }

    /// The reports on every day that is over, which are no longer held here: one for each policy
    /// domain, oldest first.
    pub fn finished(&mut self, now: UnixTime) -> Vec<DailyReport> {
        let to_come = self.days.split_off(&(now.as_secs() / DAY));
        let mut reports = Vec::new();
        for (day, domains) in std::mem::replace(&mut self.days, to_come) {
            for (domain, policies) in domains {
                self.held -= policies.len();
                reports.push(DailyReport { domain, day, policies });
            }
        }
        reports
    }
}

/// What is to be reported on one policy domain and one day (UTC).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyReport {
    domain: Domain,
    day: u64,
    policies: BTreeMap<AppliedPolicy, Counts>,
}

impl DailyReport {
    /// The policy domain: the record at its [`record_name`](super::record_name) says where the
    /// report goes.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The first second of the day.
    pub fn begins(&self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(self.day.saturating_mul(DAY)))
    }

    /// The last second of the day, as in RFC 8460, appendix B.
    pub fn ends(&self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(
            self.begins().as_secs().saturating_add(DAY - 1),
        ))
    }

    /// The name of the file (RFC 8460, section 5.1), such as
    /// `sender.example!receiver.example!1459468800!1459555199!001.json`. `extension` is `json` or
    /// `json.gz`; of the id, letters and digits are taken.
    pub fn file_name(&self, submitter: &Submitter, id: &ReportId, extension: &str) -> String {
        let (begins, ends) = (self.begins().as_secs(), self.ends().as_secs());
        let id: String = id.as_str().chars().filter(char::is_ascii_alphanumeric).collect();
        let (sender, domain) = (submitter.domain(), &self.domain);
        format!("{sender}!{domain}!{begins}!{ends}!{id}.{extension}")
    }

    /// The report as it is serialised to JSON (RFC 8460, section 4.4).
    ///
    /// `mx-host` is an array of strings, as the text of the RFC says; the example in its appendix B
    /// has a string.
    #[cfg(feature = "serde")]
    pub fn json<'a>(
        &'a self,
        submitter: &'a Submitter,
        id: &'a ReportId,
    ) -> impl serde::Serialize + use<'a> {
        json::Report::new(self, submitter, id)
    }
}

#[cfg(feature = "serde")]
mod json {
    use std::net::IpAddr;

    use serde::Serialize;

    use super::{AppliedPolicy, Counts, ReportId, Submitter};
    use crate::pki::date::Date;

    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    pub(super) struct Report<'a> {
        organization_name: &'a str,
        date_range: DateRange,
        contact_info: &'a str,
        report_id: &'a str,
        policies: Vec<Policy<'a>>,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct DateRange {
        start_datetime: String,
        end_datetime: String,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Policy<'a> {
        policy: Applied<'a>,
        summary: Summary,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        failure_details: Vec<Failure<'a>>,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Applied<'a> {
        policy_type: &'static str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        policy_string: Vec<String>,
        policy_domain: &'a str,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        mx_host: &'a [String],
    }

    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Summary {
        total_successful_session_count: u64,
        total_failure_session_count: u64,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Failure<'a> {
        result_type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        sending_mta_ip: Option<IpAddr>,
        #[serde(skip_serializing_if = "Option::is_none")]
        receiving_mx_hostname: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        receiving_ip: Option<IpAddr>,
        failed_session_count: u64,
        failure_reason_code: &'a str,
    }

    impl<'a> Report<'a> {
        pub(super) fn new(
            report: &'a super::DailyReport,
            submitter: &'a Submitter,
            id: &'a ReportId,
        ) -> Self {
            Self {
                organization_name: submitter.organization(),
                date_range: DateRange {
                    start_datetime: Date(report.begins()).to_string(),
                    end_datetime: Date(report.ends()).to_string(),
                },
                contact_info: submitter.contact(),
                report_id: id.as_str(),
                policies: report
                    .policies
                    .iter()
                    .map(|(policy, counts)| Policy::new(policy, counts))
                    .collect(),
            }
        }
    }

    impl<'a> Policy<'a> {
        fn new(policy: &'a AppliedPolicy, counts: &'a Counts) -> Self {
            let failures = counts.failures.iter().map(|(details, count)| Failure {
                result_type: details.failure.result.as_str(),
                sending_mta_ip: details.sending,
                receiving_mx_hostname: details.mx.as_ref().map(ToString::to_string),
                receiving_ip: details.receiving,
                failed_session_count: *count,
                failure_reason_code: details.failure.reason.code(),
            });
            Self {
                policy: Applied {
                    policy_type: policy.kind(),
                    policy_string: policy.strings(),
                    policy_domain: policy.domain().as_str(),
                    mx_host: policy.mx(),
                },
                summary: Summary {
                    total_successful_session_count: counts.successful,
                    total_failure_session_count: counts.failed,
                },
                failure_details: failures.collect(),
            }
        }
    }
}
