//! Counts of sessions, and the report of a day (RFC 8460, section 4).

use std::collections::BTreeMap;
use std::time::Duration;

use pki_types::UnixTime;

use super::counts::Counts;
use super::session::{AppliedPolicy, ReportedSession};
use super::submitter::{ReportId, Submitter};
use crate::domain::Domain;
use crate::record::UnreadableRecord;

/// Seconds of a day in UTC, leap seconds aside.
const DAY: u64 = 24 * 60 * 60;

/// The day (UTC) of a point of time, as days after 1 January 1970.
pub fn day_of(now: UnixTime) -> u64 {
    now.as_secs() / DAY
}

/// Counts sessions by day, policy domain and policy. Time is an argument.
///
/// Several writers, and one that starts again, share their counts as records of a store: each of
/// them writes [its own counts](Self::unsaved) under keys of its own, and one of them
/// [adds up](Self::restore) all records of a domain and day.
#[derive(Clone, Debug)]
pub struct Aggregate {
    max_policies: usize,
    max_failures: usize,
    max_octets: usize,
    held: usize,
    /// Octets of what the held policies say.
    octets: usize,
    days: BTreeMap<u64, BTreeMap<Domain, BTreeMap<AppliedPolicy, Held>>>,
    /// Sessions for which there was no room.
    left_out: u64,
    /// The number of the next policy.
    next: u64,
}

#[derive(Clone, Debug)]
struct Held {
    counts: Counts,
    number: u64,
    /// How often the counts have changed.
    changes: u64,
    /// The changes that a store has.
    saved: u64,
}

/// The counts of one policy on one day, as a record of a store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CountRecord {
    /// The day: [`day_of`] of its seconds.
    pub day: u64,
    /// The policy domain.
    pub domain: Domain,
    /// The number of the policy among those of this [`Aggregate`]: a key of the record needs it,
    /// the day, the domain, and a name of the writer.
    pub number: u64,
    /// What the record holds: ASCII text of less than 128 KiB.
    pub value: Vec<u8>,
    policy: AppliedPolicy,
    changes: u64,
}

impl CountRecord {
    /// Whether a later version of this library wrote this value: then leave it alone.
    pub fn is_newer(value: &[u8]) -> bool {
        Counts::from_record(value).err() == Some(UnreadableRecord::Newer)
    }
}

impl Default for Aggregate {
    fn default() -> Self {
        Self::new()
    }
}

impl Aggregate {
    /// Nothing is counted yet. Holds at most 10,000 policies of 16 MiB, and 100 different failures
    /// of each: our own choices.
    pub const fn new() -> Self {
        Self {
            max_policies: 10_000,
            max_failures: 100,
            max_octets: 16 << 20,
            held: 0,
            octets: 0,
            days: BTreeMap::new(),
            left_out: 0,
            next: 0,
        }
    }

    /// Holds at most this many policies of all domains and days; one that changes within a day
    /// counts anew. Sessions under a further one are [left out](Self::take_left_out).
    #[must_use]
    pub fn with_max_policies(self, max_policies: usize) -> Self {
        Self { max_policies, ..self }
    }

    /// Tells at most this many different failures of one policy and day apart; a further one is
    /// counted in the summary only.
    #[must_use]
    pub fn with_max_failures(self, max_failures: usize) -> Self {
        Self { max_failures, ..self }
    }

    /// Holds at most this many octets of what the policies say: an MTA-STS policy may have 64 KiB.
    /// Sessions under a policy for which there is no room are [left out](Self::take_left_out).
    #[must_use]
    pub fn with_max_octets(self, max_octets: usize) -> Self {
        Self { max_octets, ..self }
    }

    /// Counts a session on the day of `now`.
    pub fn record(&mut self, session: &ReportedSession, now: UnixTime) {
        let max_failures = self.max_failures;
        if let Some(held) = self.held(day_of(now), &session.policy) {
            held.counts.record(session, max_failures);
            held.changes += 1;
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// How many sessions were left out since the last call, because their policies were beyond the
    /// limits.
    pub fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    /// The counts of a policy; `None` if it is a new one and there is no room for it.
    fn held(&mut self, day: u64, policy: &AppliedPolicy) -> Option<&mut Held> {
        let domain = policy.domain();
        let known = self.days.get(&day).and_then(|domains| domains.get(domain));
        if !known.is_some_and(|policies| policies.contains_key(policy)) {
            let octets = self.octets.saturating_add(policy.published_len());
            if self.held >= self.max_policies || octets > self.max_octets {
                return None;
            }
            (self.held, self.octets) = (self.held + 1, octets);
        }
        let policies = self.days.entry(day).or_default().entry(domain.clone()).or_default();
        Some(policies.entry(policy.clone()).or_insert_with(|| {
            self.next += 1;
            Held { counts: Counts::default(), number: self.next, changes: 0, saved: 0 }
        }))
    }

    /// The counts that have changed since they were [`saved`](Self::saved). A record replaces the
    /// one of the same number that was written before it.
    pub fn unsaved(&self) -> Vec<CountRecord> {
        let mut records = Vec::new();
        for (&day, domains) in &self.days {
            for (domain, policies) in domains {
                for (policy, held) in policies.iter().filter(|(_, held)| held.changes > held.saved)
                {
                    records.push(CountRecord {
                        day,
                        domain: domain.clone(),
                        number: held.number,
                        value: held.counts.to_record(policy).into_bytes(),
                        policy: policy.clone(),
                        changes: held.changes,
                    });
                }
            }
        }
        records
    }

    /// Notes that a store has this record.
    pub fn saved(&mut self, record: &CountRecord) {
        let policies = self.days.get_mut(&record.day).and_then(|it| it.get_mut(&record.domain));
        if let Some(held) = policies.and_then(|policies| policies.get_mut(&record.policy)) {
            held.saved = held.saved.max(record.changes);
        }
    }

    /// Adds the counts of a record of this day and domain, as far as the limits let it, and returns
    /// of how many sessions they are.
    ///
    /// # Errors
    ///
    /// [`UnreadableRecord`]: it is of a later version, damaged, or of another domain. Nothing is
    /// added.
    pub fn restore(
        &mut self,
        day: u64,
        domain: &Domain,
        record: &[u8],
    ) -> Result<u64, UnreadableRecord> {
        let (policy, counts) = Counts::from_record(record)?;
        if policy.domain() != domain {
            return Err(UnreadableRecord::Damaged);
        }
        let (max_failures, sessions) = (self.max_failures, counts.sessions());
        match self.held(day, &policy) {
            Some(held) => held.counts.add(counts, max_failures),
            None => self.left_out = self.left_out.saturating_add(sessions),
        }
        Ok(sessions)
    }

    /// Drops the counts of days before this one that a store has.
    pub fn drop_saved(&mut self, before: u64) {
        for (_, domains) in self.days.range_mut(..before) {
            domains.retain(|_, policies| {
                policies.retain(|policy, held| {
                    let is_unsaved = held.changes > held.saved;
                    if !is_unsaved {
                        self.held -= 1;
                        self.octets -= policy.published_len();
                    }
                    is_unsaved
                });
                !policies.is_empty()
            });
        }
        self.days.retain(|_, domains| !domains.is_empty());
    }

    /// Drops the counts of days before this one, and returns of how many policies.
    pub fn drop_all(&mut self, before: u64) -> usize {
        let kept = self.days.split_off(&before);
        let dropped = std::mem::replace(&mut self.days, kept);
        let held = self.held;
        for policies in dropped.values().flat_map(BTreeMap::values) {
            self.forget(policies);
        }
        held - self.held
    }

    /// Makes room: these policies are no longer held.
    fn forget(&mut self, policies: &BTreeMap<AppliedPolicy, Held>) {
        self.held -= policies.len();
        self.octets -= policies.keys().map(AppliedPolicy::published_len).sum::<usize>();
    }

    /// The reports on every day that is over, which are no longer held here: one for each policy
    /// domain, oldest first.
    pub fn finished(&mut self, now: UnixTime) -> Vec<DailyReport> {
        let to_come = self.days.split_off(&day_of(now));
        let mut reports = Vec::new();
        for (day, domains) in std::mem::replace(&mut self.days, to_come) {
            for (domain, policies) in domains {
                self.forget(&policies);
                let policies = policies.into_iter().map(|(policy, held)| (policy, held.counts));
                reports.push(DailyReport { domain, day, policies: policies.collect() });
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

    /// The day: [`day_of`] of its seconds.
    pub fn day(&self) -> u64 {
        self.day
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
        #[serde(skip_serializing_if = "Vec::is_empty")]
        mx_host: Vec<&'a str>,
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
                result_type: details.result.as_str(),
                sending_mta_ip: details.sending,
                receiving_mx_hostname: details.mx.as_ref().map(ToString::to_string),
                receiving_ip: details.receiving,
                failed_session_count: *count,
                failure_reason_code: details.reason.code(),
            });
            Self {
                policy: Applied {
                    policy_type: policy.kind(),
                    policy_string: policy.strings(),
                    policy_domain: policy.domain().as_str(),
                    mx_host: policy.mx().collect(),
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
