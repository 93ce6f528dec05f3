//! The counts of one policy and day, and their text in a record of a store.
//!
//! A record is lines of a word and a value: the kind and the domain of the policy, its strings, the
//! totals, and the failures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use super::session::{AppliedPolicy, ReportedSession, SessionFailure, failure};
use crate::domain::{Domain, Host};
use crate::pki::tlsa::TlsaRecord;
use crate::reason::Reason;
use crate::sts::PolicyText;

/// Most octets of a policy's strings in a record; the strings after that are left out of the
/// report.
const MAX_STRINGS_LEN: usize = 16 << 10;
/// Most octets of a record; the failures after that are counted in the summary only.
const MAX_RECORD_LEN: usize = 64 << 10;

/// What was counted under one policy on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) successful: u64,
    pub(super) failed: u64,
    pub(super) failures: BTreeMap<Details, u64>,
}

/// What makes failures alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Details {
    pub(super) failure: SessionFailure,
    pub(super) sending: Option<IpAddr>,
    pub(super) mx: Option<Host>,
    pub(super) receiving: Option<IpAddr>,
}

impl Counts {
    /// Counts a session. Failures of more kinds than `max_failures` are counted in the total only.
    pub(super) fn record(&mut self, session: &ReportedSession, max_failures: usize) {
        let total = if session.succeeded { &mut self.successful } else { &mut self.failed };
        *total = total.saturating_add(1);
        for failure in &session.failures {
            let (failure, mx) = (*failure, session.mx.clone());
            let details =
                Details { failure, sending: session.sending, mx, receiving: session.receiving };
            self.add_failure(details, 1, max_failures);
        }
    }

    /// Adds what another writer has counted.
    pub(super) fn add(&mut self, other: Self, max_failures: usize) {
        self.successful = self.successful.saturating_add(other.successful);
        self.failed = self.failed.saturating_add(other.failed);
        for (details, count) in other.failures {
            self.add_failure(details, count, max_failures);
        }
    }

    fn add_failure(&mut self, details: Details, more: u64, max_failures: usize) {
        if self.failures.contains_key(&details) || self.failures.len() < max_failures {
            let count = self.failures.entry(details).or_default();
            *count = count.saturating_add(more);
        }
    }

    /// The record of these counts.
    pub(super) fn to_record(&self, policy: &AppliedPolicy) -> String {
        let mut text = format!("{} {}\n", policy.kind(), policy.domain());
        let mut strings = policy.strings();
        if let AppliedPolicy::Sts { policy: Some(_), .. } = policy {
            // Without its lifetime it could not be read again; of the hosts, some may be left out.
            strings[2..].rotate_right(1);
        }
        for string in strings {
            // The strings come from a DNS answer or a policy, in which no line end is left.
            if text.len() + string.len() > MAX_STRINGS_LEN || string.contains('\n') {
                break;
            }
            line(&mut text, "string", &string);
        }
        line(&mut text, "successful", &self.successful.to_string());
        line(&mut text, "failed", &self.failed.to_string());
        for (details, count) in &self.failures {
            let Details { failure, sending, mx, receiving } = details;
            let (sending, receiving) = (Optional(*sending), Optional(*receiving));
            let (code, mx) = (failure.reason.code(), Optional(mx.as_ref()));
            let value = format!("{count} {code} {sending} {mx} {receiving}");
            if text.len() + value.len() > MAX_RECORD_LEN {
                break;
            }
            line(&mut text, "failure", &value);
        }
        text
    }

    /// Reads a record; `None` if [`to_record`](Self::to_record) did not write it.
    pub(super) fn from_record(record: &[u8]) -> Option<(AppliedPolicy, Self)> {
        let mut lines = std::str::from_utf8(record).ok()?.lines();
        let (kind, domain) = lines.next()?.split_once(' ')?;
        let domain = Domain::parse(domain).ok()?;
        let (mut strings, mut counts) = (Vec::new(), Self::default());
        let mut totals = 0;
        for line in lines {
            let (name, value) = line.split_once(' ')?;
            match name {
                "string" => strings.push(value),
                "successful" => (counts.successful, totals) = (value.parse().ok()?, totals + 1),
                "failed" => (counts.failed, totals) = (value.parse().ok()?, totals + 1),
                "failure" => {
                    let (details, count) = details(value)?;
                    counts.failures.insert(details, count);
                }
                _ => return None,
            }
        }
        let policy = AppliedPolicy::from_strings(kind, domain, &strings)?;
        // Each total is there once: a record that was cut off is damaged.
        (totals == 2).then_some((policy, counts))
    }
}

impl AppliedPolicy {
    /// The policy with this [`kind`](Self::kind) and these [`strings`](Self::strings).
    fn from_strings(kind: &str, domain: Domain, strings: &[&str]) -> Option<Self> {
        match kind {
            "tlsa" => {
                let records = strings.iter().map(|string| published(string));
                Some(Self::Tlsa { domain, records: records.collect::<Option<_>>()? })
            }
            "sts" => {
                let policy = match strings {
                    [] => None,
                    lines => Some(PolicyText::parse_tolerant(lines.join("\n").as_bytes()).ok()?),
                };
                Some(Self::Sts { domain, policy: policy.as_ref().map(PolicyText::without_defect) })
            }
            "no-policy-found" => strings.is_empty().then_some(Self::NotFound { domain }),
            _ => None,
        }
    }
}

/// A TLSA record as it was published, which need not be one that can be used: a report is to name
/// it all the same.
fn published(string: &str) -> Option<TlsaRecord> {
    let Some(without_data) = string.strip_suffix(' ') else {
        return TlsaRecord::parse(string).ok();
    };
    let record = TlsaRecord::parse(&format!("{without_data} 00")).ok()?;
    Some(TlsaRecord { data: Vec::new(), ..record })
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{name} {value}");
}

/// A value, or a hyphen.
struct Optional<T>(Option<T>);

impl<T: std::fmt::Display> std::fmt::Display for Optional<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("-"),
        }
    }
}

fn details(value: &str) -> Option<(Details, u64)> {
    let mut words = value.split(' ');
    let (count, code) = (words.next()?.parse().ok()?, words.next()?);
    let reason = Reason::ALL.iter().copied().find(|reason| reason.code() == code)?;
    let mut next = || match words.next()? {
        "-" => Some(None),
        word => Some(Some(word)),
    };
    let (sending, mx, receiving) = (next()?, next()?, next()?);
    let address = |word: Option<&str>| word.map(str::parse::<IpAddr>).transpose().ok();
    let details = Details {
        failure: failure(reason)?,
        sending: address(sending)?,
        mx: mx.map(Host::parse).transpose().ok()?,
        receiving: address(receiving)?,
    };
    words.next().is_none().then_some((details, count))
}
