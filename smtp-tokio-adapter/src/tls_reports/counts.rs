//! The counts of TLS reports, in a store that several machines may share.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smtp_tls_policy::Domain;
use smtp_tls_policy::pki_types::UnixTime;
use smtp_tls_policy::tlsrpt::{Aggregate, AggregateLimits, DailyReport, ReportedSession, day_of};

use crate::store::{MAX_LISTED, Store, WatchedStore};

/// How long after the end of its day a report waits at least, so that every machine has written its
/// counts: call [`SharedCounts::flush`] more often than this.
pub const SETTLING: Duration = Duration::from_secs(15 * 60);
/// How long a report belongs to the machine that has claimed it. If the machine does not say by
/// then that the report is [done](SharedCounts::done), any machine may claim it again.
pub const CLAIMED_FOR: Duration = Duration::from_secs(60 * 60);
/// How long counts are kept after the end of their day. RFC 8460, section 5.5 has a report that
/// cannot be sent tried for 24 hours.
pub const COUNTS_KEPT_FOR: Duration = Duration::from_secs(3 * DAY);

const DAY: u64 = 24 * 60 * 60;
/// Failed writes in a row after which a flush gives up: the store is away.
const MAX_FAILURES: usize = 3;
/// What the log says of a store that is away.
const AWAY: &str = "sessions for TLS reports are counted in memory, and reports wait until it is \
                    back";

/// Counts sessions for TLS reports, beside other machines.
///
/// Each process counts in memory, and writes what it has counted to the store under keys of its
/// own: two that count at once add up, and neither overwrites the other. What a process has written
/// survives its end. Once a day is over, [`claim`](Self::claim) gives the reports on it, each to
/// one of the machines.
///
/// If the store is away, counting goes on in memory, within the limits, and no report is given,
/// because another machine might send the same one. The log says so once. After a crash the counts
/// since the last [`flush`](Self::flush) are lost.
///
/// ```
/// # async fn example(report: &smtp_tokio_adapter::Report) {
/// use std::sync::Arc;
/// use smtp_tls_policy::pki_types::UnixTime;
/// use smtp_tokio_adapter::store::MemoryStore;
/// use smtp_tokio_adapter::tls_reports::SharedCounts;
///
/// let counts = SharedCounts::new(Arc::new(MemoryStore::new()));
/// // After each delivery:
/// counts.record(report.sessions(), UnixTime::now());
/// // Once a minute, and before the program ends:
/// counts.flush(UnixTime::now()).await;
/// // Once an hour:
/// for report in counts.claim(UnixTime::now()).await {
///     // ... send it to where the record of `report.domain()` says, and if it was taken:
///     counts.done(&report, UnixTime::now()).await;
/// }
/// # }
/// ```
pub struct SharedCounts {
    store: WatchedStore,
    limits: AggregateLimits,
    aggregate: Mutex<Aggregate>,
    /// Tells the records of this process from those of others.
    writer: String,
    reports: Mutex<Reports>,
    /// One flush at a time, so that an older record never follows a newer one.
    flushing: tokio::sync::Mutex<()>,
}

/// A day and a policy domain.
type Subject = (u64, Domain);

#[derive(Default)]
struct Reports {
    /// The keys of the records that a claimed report was made of.
    claimed: BTreeMap<Subject, Vec<String>>,
    /// Reports that are done, of which the store does not know yet, and their records.
    done: BTreeMap<Subject, Vec<String>>,
}

impl SharedCounts {
    /// Counts in memory and in this store. Nothing is counted yet here; what the store has counts.
    pub fn new(store: Arc<dyn Store>) -> Self {
        let random = || RandomState::new().hash_one(std::process::id());
        Self {
            store: WatchedStore::new(store, AWAY),
            limits: AggregateLimits::default(),
            aggregate: Mutex::default(),
            writer: format!("{:016x}{:016x}", random(), random()),
            reports: Mutex::default(),
            flushing: tokio::sync::Mutex::default(),
        }
    }

    /// Holds at most this much in memory, and in one report. Begins to count anew.
    #[must_use]
    pub fn with_limits(self, limits: AggregateLimits) -> Self {
        Self { limits, aggregate: Mutex::new(Aggregate::new(limits)), ..self }
    }

    /// Counts sessions, such as those of a [`Report`](crate::Report::sessions), in memory.
    pub fn record<'a>(
        &self,
        sessions: impl IntoIterator<Item = &'a ReportedSession>,
        now: UnixTime,
    ) {
        let mut aggregate = lock(&self.aggregate);
        sessions.into_iter().for_each(|session| aggregate.record(session, now));
    }

    /// Writes to the store what was counted since the last call, and which reports are done.
    ///
    /// # Cancel safety
    ///
    /// What was not written when the future is dropped is written by the next call.
    pub async fn flush(&self, now: UnixTime) {
        let _alone = self.flushing.lock().await;
        let unsaved = lock(&self.aggregate).unsaved();
        let mut failures = 0;
        for record in unsaved {
            let Some(lifetime) = left(record.day, now) else { continue };
            let key =
                format!("{}{}-{}", prefix(record.day, &record.domain), self.writer, record.number);
            match self.store.put(&key, &record.value, lifetime).await {
                Some(()) => {
                    failures = 0;
                    lock(&self.aggregate).saved(&record);
                }
                None => failures += 1,
            }
            if failures >= MAX_FAILURES {
                break;
            }
        }
        self.forget(now);
        let done = lock(&self.reports).done.clone();
        for (subject, keys) in done {
            if self.tell_done(&subject, &keys, now).await.is_none() {
                return;
            }
        }
    }

    /// Forgets the days that are over, once the store has them, and what is too old for a report.
    fn forget(&self, now: UnixTime) {
        let today = day_of(now);
        let oldest = today.saturating_sub(COUNTS_KEPT_FOR.as_secs() / DAY);
        let mut aggregate = lock(&self.aggregate);
        aggregate.drop_saved(today);
        let lost = aggregate.drop_all(oldest);
        if lost > 0 {
            tracing::warn!(
                policies = lost,
                "counts of TLS sessions never reached the store, and are too old to be reported; \
                 they are lost"
            );
        }
        let mut reports = lock(&self.reports);
        reports.claimed.retain(|(day, _), _| *day >= oldest);
        reports.done.retain(|(day, _), _| *day >= oldest);
    }

    /// The reports on the days that are over for [`SETTLING`], which this machine shall send: no
    /// other machine is given them for [`CLAIMED_FOR`]. One that could not be sent is claimed again
    /// after that time, by whichever machine is first.
    ///
    /// # Cancel safety
    ///
    /// Reports that were claimed before the future is dropped can be claimed again after
    /// [`CLAIMED_FOR`].
    pub async fn claim(&self, now: UnixTime) -> Vec<DailyReport> {
        self.flush(now).await;
        let settled = now.as_secs().saturating_sub(SETTLING.as_secs()) / DAY;
        let oldest = settled.saturating_sub(COUNTS_KEPT_FOR.as_secs() / DAY);
        let mut claimed = Vec::new();
        for day in oldest..settled {
            if self.claim_day(day, &mut claimed).await.is_none() {
                break;
            }
        }
        claimed
    }

    /// `None` if the store is away.
    async fn claim_day(&self, day: u64, claimed: &mut Vec<DailyReport>) -> Option<()> {
        let of_day = format!("tlsrpt/{day}/");
        let listed = self.store.list(&of_day).await?;
        let is_all = listed.len() < MAX_LISTED;
        let mut domains: BTreeMap<Domain, Vec<(String, Vec<u8>)>> = BTreeMap::new();
        for (key, value) in listed {
            let domain = key.strip_prefix(&of_day).and_then(|rest| rest.split_once('/'));
            match domain.and_then(|(domain, _)| Domain::parse(domain).ok()) {
                Some(domain) => domains.entry(domain).or_default().push((key, value)),
                None => self.remove_damaged(&key).await?,
            }
        }
        for (domain, mut records) in domains {
            if lock(&self.reports).done.contains_key(&(day, domain.clone())) {
                continue;
            }
            let claim = claim_key(day, &domain);
            let writer = self.writer.as_bytes();
            if !self.store.put_new(&claim, writer, CLAIMED_FOR).await? {
                continue;
            }
            if !is_all {
                // The list of the day was cut off.
                records = self.store.list(&prefix(day, &domain)).await?;
            }
            claimed.extend(self.add_up(day, &domain, records).await?);
        }
        Some(())
    }

    /// The report of what all writers have counted.
    async fn add_up(
        &self,
        day: u64,
        domain: &Domain,
        records: Vec<(String, Vec<u8>)>,
    ) -> Option<Option<DailyReport>> {
        let mut all = Aggregate::new(self.limits);
        let mut keys = Vec::new();
        for (key, value) in records {
            match all.restore(day, domain, &value) {
                true => keys.push(key),
                false => self.remove_damaged(&key).await?,
            }
        }
        let end = UnixTime::since_unix_epoch(Duration::from_secs((day + 1).saturating_mul(DAY)));
        let report = all.finished(end).pop();
        lock(&self.reports).claimed.insert((day, domain.clone()), keys);
        Some(report)
    }

    async fn remove_damaged(&self, key: &str) -> Option<()> {
        tracing::warn!(key, "counts of TLS sessions in the store are damaged; they are removed");
        self.store.remove(key).await
    }

    /// Says that a claimed report was taken, or is given up: no machine sends it again, and its
    /// counts are removed. If the store is away, the next [`flush`](Self::flush) says so to it.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the next flush goes on.
    pub async fn done(&self, report: &DailyReport, now: UnixTime) {
        let subject = (report.day(), report.domain().clone());
        let keys = {
            let mut reports = lock(&self.reports);
            let keys = reports.claimed.remove(&subject).unwrap_or_default();
            reports.done.insert(subject.clone(), keys.clone());
            keys
        };
        self.tell_done(&subject, &keys, now).await;
    }

    async fn tell_done(&self, subject: &Subject, keys: &[String], now: UnixTime) -> Option<()> {
        let (day, domain) = subject;
        if let Some(lifetime) = left(*day, now) {
            let claim = claim_key(*day, domain);
            // A day more than the counts, which a machine may write late.
            let lifetime = lifetime + Duration::from_secs(DAY);
            self.store.put(&claim, b"done", lifetime).await?;
        }
        for key in keys {
            self.store.remove(key).await?;
        }
        lock(&self.reports).done.remove(subject);
        Some(())
    }
}

/// How long counts of this day are kept from now on.
fn left(day: u64, now: UnixTime) -> Option<Duration> {
    let end = (day.saturating_add(1)).saturating_mul(DAY).saturating_add(COUNTS_KEPT_FOR.as_secs());
    end.checked_sub(now.as_secs()).filter(|left| *left > 0).map(Duration::from_secs)
}

fn prefix(day: u64, domain: &Domain) -> String {
    format!("tlsrpt/{day}/{domain}/")
}

fn claim_key(day: u64, domain: &Domain) -> String {
    format!("tlsrpt-claim/{day}/{domain}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each of them is in order whenever its lock is free.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
