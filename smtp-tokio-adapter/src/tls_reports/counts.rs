//! The counts of TLS reports, in a store that several machines may share.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smtp_tls_policy::pki_types::UnixTime;
use smtp_tls_policy::tlsrpt::{Aggregate, CountRecord, DailyReport, ReportedSession, day_of};
use smtp_tls_policy::{Domain, UnreadableRecord};

use crate::store::{MAX_LISTED, MAX_VALUE_LEN, Store, WatchedStore};

/// How long after the end of its day a report waits at least, so that every machine has written its
/// counts: call [`SharedCounts::flush`] more often than this.
pub const SETTLING: Duration = Duration::from_secs(15 * 60);
/// How long a report belongs to the machine that has claimed it: send it within this time. If the
/// machine does not say by then that the report is [done](SharedCounts::done), any machine may
/// claim it again.
pub const CLAIMED_FOR: Duration = Duration::from_secs(60 * 60);
/// How long counts are kept after the end of their day. RFC 8460, section 5.5 has a report that
/// cannot be sent tried for 24 hours.
pub const COUNTS_KEPT_FOR: Duration = Duration::from_secs(3 * DAY);

const DAY: u64 = 24 * 60 * 60;
/// Failed calls in a row after which a flush or a claim gives up: the store is away.
const MAX_FAILURES: usize = 3;
/// What a claim says once its report is done. Lines follow that name the records, and how many
/// sessions of each were reported.
const DONE: &str = "done";
/// What the log says of a store that is away.
const AWAY: &str = "sessions for TLS reports are counted in memory, and reports wait until it is \
                    back";

/// Counts sessions for TLS reports, beside other machines.
///
/// Each process counts in memory, and writes what it has counted to the store under keys of its
/// own: two that count at once add up, and neither overwrites the other. What a process has written
/// survives its end. Once a day is over, [`claim`](Self::claim) gives the reports on it one by one,
/// each to one of the machines.
///
/// Counts that a machine writes only after the report on their day was claimed are in no report:
/// the log says how many sessions that concerns. A record of a later version of this library is
/// left alone, named in the log, and not part of the report.
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
/// while let Some(report) = counts.claim(UnixTime::now()).await {
///     // ... send it to where the record of `report.domain()` says, and if it was taken:
///     counts.done(&report, UnixTime::now()).await;
/// }
/// # }
/// ```
pub struct SharedCounts {
    store: WatchedStore,
    aggregate: Mutex<Aggregate>,
    /// One that has counted nothing, with the limits of the other.
    empty: Aggregate,
    /// Tells the records of this process from those of others.
    writer: String,
    reports: Mutex<Reports>,
    /// One flush at a time, so that an older record never follows a newer one.
    flushing: tokio::sync::Mutex<()>,
    /// Reports that no machine has claimed yet, as far as the last list of the store says.
    waiting: tokio::sync::Mutex<VecDeque<Waiting>>,
}

/// A day and a policy domain.
type Subject = (u64, Domain);
/// The keys of the records that a report was made of, and their sessions.
type Counted = BTreeMap<String, u64>;

#[derive(Default)]
struct Reports {
    /// Reports that this process has claimed, when it did, and their records.
    claimed: BTreeMap<Subject, (UnixTime, Counted)>,
    /// Reports that are done, of which the store does not know yet, and their records.
    done: BTreeMap<Subject, Counted>,
}

/// A report to claim.
struct Waiting {
    subject: Subject,
    keys: Vec<String>,
    /// Whether there may be more records than these keys.
    is_cut: bool,
}

impl SharedCounts {
    /// Counts in memory and in this store. Nothing is counted yet here; what the store has counts.
    pub fn new(store: Arc<impl Store + 'static>) -> Self {
        let random = || RandomState::new().hash_one(std::process::id());
        Self {
            store: WatchedStore::new(store, AWAY),
            aggregate: Mutex::default(),
            empty: Aggregate::new(),
            writer: format!("{:016x}{:016x}", random(), random()),
            reports: Mutex::default(),
            flushing: tokio::sync::Mutex::default(),
            waiting: tokio::sync::Mutex::default(),
        }
    }

    /// Counts in this aggregate, whose limits hold in memory and for one report. Give one that has
    /// counted nothing yet: its counts are dropped.
    #[must_use]
    pub fn with_aggregate(self, mut empty: Aggregate) -> Self {
        empty.drop_all(u64::MAX);
        empty.take_left_out();
        Self { aggregate: Mutex::new(empty.clone()), empty, ..self }
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
        let (unsaved, left_out) = {
            let mut aggregate = lock(&self.aggregate);
            (aggregate.unsaved(), aggregate.take_left_out())
        };
        name_left_out(left_out);
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
        for (subject, counted) in done {
            if self.tell_done(&subject, &counted, now).await.is_none() {
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

    /// The next report on a day that is over for [`SETTLING`], which this machine shall send: no
    /// other machine is given it for [`CLAIMED_FOR`]. `None` once no report is left, or if the
    /// store is away.
    ///
    /// Send each report before the next one is claimed. One that could not be sent is claimed again
    /// after [`CLAIMED_FOR`], by whichever machine is first.
    ///
    /// # Cancel safety
    ///
    /// A report that was claimed before the future is dropped can be claimed again after
    /// [`CLAIMED_FOR`].
    pub async fn claim(&self, now: UnixTime) -> Option<DailyReport> {
        let mut waiting = self.waiting.lock().await;
        let (mut is_listed, mut failures) = (false, 0);
        while failures < MAX_FAILURES {
            let Some(next) = waiting.pop_front() else {
                if is_listed {
                    return None;
                }
                is_listed = true;
                self.flush(now).await;
                *waiting = self.waiting(now).await;
                continue;
            };
            match self.claim_one(&next, now).await {
                Some(Some(report)) => return Some(report),
                Some(None) => failures = 0,
                // The others can be claimed all the same, unless the store is away.
                None => failures += 1,
            }
        }
        None
    }

    /// What the store has of the days whose reports may be sent.
    async fn waiting(&self, now: UnixTime) -> VecDeque<Waiting> {
        let settled = now.as_secs().saturating_sub(SETTLING.as_secs()) / DAY;
        let oldest = settled.saturating_sub(COUNTS_KEPT_FOR.as_secs() / DAY);
        let mut waiting = VecDeque::new();
        for day in oldest..settled {
            let of_day = format!("tlsrpt/{day}/");
            let Some(listed) = self.store.list(&of_day).await else { break };
            let is_cut = listed.len() >= MAX_LISTED;
            let mut domains: BTreeMap<Domain, Vec<String>> = BTreeMap::new();
            for (key, value) in listed {
                let domain = key.strip_prefix(&of_day).and_then(|rest| rest.split_once('/'));
                match domain.and_then(|(domain, _)| Domain::parse(domain).ok()) {
                    Some(domain) => domains.entry(domain).or_default().push(key),
                    None => {
                        let why = match CountRecord::is_newer(&value) {
                            true => UnreadableRecord::Newer,
                            false => UnreadableRecord::Damaged,
                        };
                        self.unreadable(&key, &value, why).await;
                    }
                }
            }
            let of_day = domains.into_iter().map(|(domain, keys)| Waiting {
                subject: (day, domain),
                keys,
                is_cut,
            });
            waiting.extend(of_day);
        }
        waiting
    }

    /// Claims a report, unless a machine has it already. `None` if the store is away.
    async fn claim_one(&self, next: &Waiting, now: UnixTime) -> Option<Option<DailyReport>> {
        let (day, domain) = &next.subject;
        let is_ours = {
            let reports = lock(&self.reports);
            // Also if the store has lost the claim: a report is not sent twice within that time.
            let is_recent =
                |at: UnixTime| now.as_secs() < at.as_secs().saturating_add(CLAIMED_FOR.as_secs());
            reports.done.contains_key(&next.subject)
                || reports.claimed.get(&next.subject).is_some_and(|(at, _)| is_recent(*at))
        };
        if is_ours {
            return Some(None);
        }
        let claim = claim_key(*day, domain);
        if !self.store.put_new(&claim, self.writer.as_bytes(), CLAIMED_FOR).await? {
            let claim = self.store.read(&claim).await?;
            if let Some(reported) = claim.and_then(|claim| read_done(&claim)) {
                self.clear(&next.subject, next.keys.iter(), &reported).await?;
            }
            return Some(None);
        }
        let mut records = Vec::new();
        if next.is_cut {
            records = self.store.list(&prefix(*day, domain)).await?;
        } else {
            for key in &next.keys {
                // What is absent has expired, or belonged to a report that is done.
                let value = self.store.read(key).await?;
                records.extend(value.map(|value| (key.clone(), value)));
            }
        }
        Some(self.add_up(&next.subject, records, now).await)
    }

    /// The report of what all writers have counted.
    async fn add_up(
        &self,
        subject: &Subject,
        records: Vec<(String, Vec<u8>)>,
        now: UnixTime,
    ) -> Option<DailyReport> {
        let (day, domain) = subject;
        let (mut all, mut counted) = (self.empty.clone(), Counted::new());
        for (key, value) in records {
            match all.restore(*day, domain, &value) {
                Ok(sessions) => drop(counted.insert(key, sessions)),
                Err(why) => {
                    self.unreadable(&key, &value, why).await;
                }
            }
        }
        name_left_out(all.take_left_out());
        let end = UnixTime::since_unix_epoch(Duration::from_secs((day + 1).saturating_mul(DAY)));
        let report = all.finished(end).pop();
        lock(&self.reports).claimed.insert(subject.clone(), (now, counted));
        report
    }

    /// Deals with a record that cannot be read.
    async fn unreadable(&self, key: &str, value: &[u8], why: UnreadableRecord) -> Option<()> {
        let what = "counts of TLS sessions";
        let consequence = "it is in no report of this machine";
        self.store.unreadable((key, value), why, what, consequence).await
    }

    /// Says that a claimed report was taken, or is given up: no machine sends it again, and its
    /// counts are removed. If the store is away, the next [`flush`](Self::flush) says so to it.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the next flush goes on.
    pub async fn done(&self, report: &DailyReport, now: UnixTime) {
        let subject = (report.day(), report.domain().clone());
        let counted = {
            let mut reports = lock(&self.reports);
            let (_, counted) = reports.claimed.remove(&subject).unwrap_or((now, Counted::new()));
            reports.done.insert(subject.clone(), counted.clone());
            counted
        };
        self.tell_done(&subject, &counted, now).await;
    }

    async fn tell_done(&self, subject: &Subject, counted: &Counted, now: UnixTime) -> Option<()> {
        let (day, domain) = subject;
        if let Some(lifetime) = left(*day, now) {
            let claim = claim_key(*day, domain);
            // A day more than the counts, which a machine may write late.
            let lifetime = lifetime + Duration::from_secs(DAY);
            self.store.put(&claim, write_done(counted).as_bytes(), lifetime).await?;
        }
        self.clear(subject, counted.keys(), counted).await?;
        lock(&self.reports).done.remove(subject);
        Some(())
    }

    /// Removes the records of a report that is done, and names the sessions in them that were not
    /// reported.
    async fn clear(
        &self,
        (day, domain): &Subject,
        keys: impl Iterator<Item = &String>,
        reported: &Counted,
    ) -> Option<()> {
        for key in keys {
            let Some(value) = self.store.read(key).await? else { continue };
            match self.empty.clone().restore(*day, domain, &value) {
                Ok(sessions) => {
                    let late = sessions.saturating_sub(reported.get(key).copied().unwrap_or(0));
                    if late > 0 {
                        tracing::warn!(
                            %domain,
                            day,
                            sessions = late,
                            "counts of TLS sessions came to the store after the report on their \
                             day was claimed; they are in no report"
                        );
                    }
                    self.store.remove(key).await?;
                }
                Err(why) => self.unreadable(key, &value, why).await?,
            }
        }
        Some(())
    }
}

/// What a claim says of a report that is done. The records for which there is no room are left out:
/// if one of them is never removed, its sessions count as late.
fn write_done(counted: &Counted) -> String {
    let mut text = DONE.to_owned();
    for (key, sessions) in counted {
        let line = format!("\n{key} {sessions}");
        if text.len() + line.len() > MAX_VALUE_LEN {
            break;
        }
        text.push_str(&line);
    }
    text
}

/// The records of a report that is done; `None` if it is not done.
fn read_done(claim: &[u8]) -> Option<Counted> {
    let lines = std::str::from_utf8(claim).ok()?.strip_prefix(DONE)?.lines();
    let counted = lines.filter_map(|line| {
        let (key, sessions) = line.split_once(' ')?;
        Some((key.to_owned(), sessions.parse().ok()?))
    });
    Some(counted.collect())
}

fn name_left_out(sessions: u64) {
    if sessions > 0 {
        tracing::warn!(
            sessions,
            "TLS sessions are in no report, because there are more policies than the limits let in"
        );
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
