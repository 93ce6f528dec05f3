//! The counts of one policy and day, and their text in a record of a store.
//!
//! A record begins with a line that names its form. The other lines have a name and a value each:
//! the kind and the domain of the policy, its strings, the totals, and the failures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use super::session::{AppliedPolicy, ReportedSession};
use crate::domain::{Domain, Host};
use crate::pki::tlsa::TlsaRecord;
use crate::reason::{Reason, ResultType};
use crate::record::{UnreadableRecord, body};
use crate::sts::PolicyText;

/// What each record begins with, and the version that is written.
const FORM: &str = "smtp-tls-counts ";
const VERSION: u32 = 1;
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
    pub(super) result: ResultType,
    pub(super) reason: Reason,
    pub(super) sending: Option<IpAddr>,
    pub(super) mx: Option<Host>,
    pub(super) receiving: Option<IpAddr>,
}

impl Counts {
    /// Counts a session. Failures of more kinds than `max_failures` are counted in the total only.
    pub(super) fn record(&mut self, session: &ReportedSession, max_failures: usize) {
        let total = if session.succeeded { &mut self.successful } else { &mut self.failed };
        *total = total.saturating_add(1);
        let (sending, receiving) = (session.sending, session.receiving);
        for &reason in &session.failures {
            let Some(result) = reason.result_type() else { continue };
            let details = Details { result, reason, sending, mx: session.mx.clone(), receiving };
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
        let mut text = format!("{FORM}{VERSION}\n{} {}\n", policy.kind(), policy.domain());
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
            let Details { reason, sending, mx, receiving, .. } = details;
            let (sending, receiving) = (Optional(*sending), Optional(*receiving));
            let (code, mx) = (reason.code(), Optional(mx.as_ref()));
            let value = format!("{count} {code} {sending} {mx} {receiving}");
            if text.len() + value.len() > MAX_RECORD_LEN {
                break;
            }
            line(&mut text, "failure", &value);
        }
        text
    }

    /// How many sessions were counted.
    pub(super) fn sessions(&self) -> u64 {
        self.successful.saturating_add(self.failed)
    }

    /// Reads a record that [`to_record`](Self::to_record) wrote.
    pub(super) fn from_record(record: &[u8]) -> Result<(AppliedPolicy, Self), UnreadableRecord> {
        use UnreadableRecord::{Damaged, Newer};

        let body = body(record, FORM, VERSION)?;
        let mut lines = std::str::from_utf8(body).map_err(|_| Damaged)?.lines();
        let head = lines.next().and_then(|line| line.split_once(' ')).ok_or(Damaged)?;
        let (kind, domain) = (head.0, Domain::parse(head.1).map_err(|_| Damaged)?);
        let (mut strings, mut counts) = (Vec::new(), Self::default());
        let (mut totals, mut is_newer) = (0, !KINDS.contains(&kind));
        for line in lines {
            let (name, value) = line.split_once(' ').ok_or(Damaged)?;
            let mut total = || {
                totals += 1;
                value.parse().map_err(|_| Damaged)
            };
            match name {
                "string" => strings.push(value),
                "successful" => counts.successful = total()?,
                "failed" => counts.failed = total()?,
                "failure" => match details(value) {
                    Ok((details, count)) => drop(counts.failures.insert(details, count)),
                    Err(Newer) => is_newer = true,
                    Err(Damaged) => return Err(Damaged),
                },
                _ => is_newer = true,
            }
        }
        // Each total is there once: a record that was cut off is damaged.
        if totals != 2 {
            return Err(Damaged);
        }
        if is_newer {
            return Err(Newer);
        }
        let policy = AppliedPolicy::from_strings(kind, domain, &strings).ok_or(Damaged)?;
        Ok((policy, counts))
    }
}

/// What [`AppliedPolicy::kind`] can be.
const KINDS: [&str; 3] = ["tlsa", "sts", "no-policy-found"];

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

fn details(value: &str) -> Result<(Details, u64), UnreadableRecord> {
    use UnreadableRecord::{Damaged, Newer};

    let mut words = value.split(' ');
    let mut next = || words.next().ok_or(Damaged);
    let (count, code) = (next()?.parse().map_err(|_| Damaged)?, next()?);
    let (sending, mx, receiving) = (next()?, next()?, next()?);
    let address = |word: &str| match word {
        "-" => Ok(None),
        word => word.parse::<IpAddr>().map(Some).map_err(|_| Damaged),
    };
    let mx = match mx {
        "-" => None,
        word => Some(Host::parse(word).map_err(|_| Damaged)?),
    };
    let (sending, receiving) = (address(sending)?, address(receiving)?);
    if words.next().is_some() {
        return Err(Damaged);
    }
    // A later version may have further reasons, and may report more of them.
    let reason = Reason::ALL.iter().copied().find(|reason| reason.code() == code);
    let reported = reason.and_then(|reason| Some((reason.result_type()?, reason)));
    let (result, reason) = reported.ok_or(Newer)?;
    Ok((Details { result, reason, sending, mx, receiving }, count))
}
