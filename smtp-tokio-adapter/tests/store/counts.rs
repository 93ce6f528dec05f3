//! Counts of TLS reports that several machines share.

use std::sync::Arc;
use std::time::Duration;

use smtp_tls_policy::pki_types::UnixTime;
use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
use smtp_tls_policy::rules::Posture;
use smtp_tls_policy::sts::StsAnswer;
use smtp_tls_policy::tlsrpt::{
    DailyReport, ReportId, ReportedSession, Reporting, Submitter, TlsOutcome,
};
use smtp_tls_policy::{Host, Reason};
use smtp_tokio_adapter::store::{FileStore, MemoryStore, Store};
use smtp_tokio_adapter::tls_reports::{COUNTS_KEPT_FOR, SETTLING, SharedCounts};

use crate::common::connector;
use crate::common::log::Log;
use crate::places::{Folder, Switched};
#[cfg(feature = "redis")]
use crate::places::{Redis, redis_store};

const DAY: u64 = 24 * 3600;

/// Noon of today: records in the stores expire by the real clock.
fn noon() -> UnixTime {
    at(UnixTime::now().as_secs() / DAY * DAY + DAY / 2)
}

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// When the reports on today may be claimed.
fn tomorrow() -> UnixTime {
    at(noon().as_secs() + DAY / 2 + SETTLING.as_secs())
}

/// A failed handshake with the host of a domain.
fn session(domain: &str) -> ReportedSession {
    let connector = connector(Posture::Opportunistic);
    let (domain, host) =
        (Host::parse(domain).unwrap(), Host::parse(&format!("mx.{domain}")).unwrap());
    let facts = Facts::new(&connector, &domain, &host, HostOrigin::Mx);
    let reporting = Reporting::of(&facts, &StsAnswer::default());
    let outcome = TlsOutcome::NoTls(Reason::HandshakeFailed, None);
    let address = "192.0.2.1".parse().unwrap();
    reporting.connection(&plan(&facts).unwrap(), outcome, None, address).remove(0)
}

/// The domain of a report, its failed sessions, and how many of them were of the one kind.
fn failed(report: &DailyReport) -> (String, u64, u64) {
    let submitter = Submitter::new("X", "tls@x.example").unwrap();
    let id = ReportId::parse("1").unwrap();
    let json = serde_json::to_value(report.json(&submitter, &id)).unwrap();
    let [policy] = &json["policies"].as_array().unwrap()[..] else { panic!("{json}") };
    let [failure] = &policy["failure-details"].as_array().unwrap()[..] else { panic!("{json}") };
    let total = policy["summary"]["total-failure-session-count"].as_u64().unwrap();
    (report.domain().to_string(), total, failure["failed-session-count"].as_u64().unwrap())
}

fn all_failed(reports: &[DailyReport]) -> Vec<(String, u64, u64)> {
    let mut all: Vec<_> = reports.iter().map(failed).collect();
    all.sort();
    all
}

fn counted(domain: &str, sessions: u64) -> (String, u64, u64) {
    (domain.to_owned(), sessions, sessions)
}

/// Two that count at once, each with a connection of its own to the store.
async fn counts_add_up(one: Arc<dyn Store>, other: Arc<dyn Store>) {
    let writers = [one, other].map(|store| Arc::new(SharedCounts::new(store)));
    let counting = writers.clone().map(|counts| {
        tokio::spawn(async move {
            for _ in 0..20 {
                counts.record([&session("a.example"), &session("b.example")], noon());
                counts.flush(noon()).await;
            }
            counts.record([&session("b.example")], noon());
            counts.flush(noon()).await;
        })
    });
    for counting in counting {
        counting.await.unwrap();
    }
    // Both want the reports, and each report goes to one of them.
    let claims = writers.clone().map(|counts| {
        tokio::spawn(async move {
            let reports = counts.claim(tomorrow()).await;
            for report in &reports {
                counts.done(report, tomorrow()).await;
            }
            reports
        })
    });
    let mut reports = Vec::new();
    for claim in claims {
        reports.extend(claim.await.unwrap());
    }
    assert_eq!(all_failed(&reports), [counted("a.example", 40), counted("b.example", 42)]);
    for counts in &writers {
        assert!(counts.claim(tomorrow()).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_that_two_count_at_once_add_up_and_each_report_goes_to_one() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    counts_add_up(Arc::clone(&store), store).await;
    let folder = Folder::new("store-counts");
    let store = FileStore::open(&folder.0).unwrap();
    counts_add_up(Arc::new(store.clone()), Arc::new(store)).await;
    // Of what was counted nothing is left but the two claims.
    assert_eq!(folder.files(), ["a.example.rec", "b.example.rec"]);
    #[cfg(feature = "redis")]
    if let Some(redis) = Redis::start(None).await {
        counts_add_up(Arc::new(redis_store(&redis)), Arc::new(redis_store(&redis))).await;
    }
}

#[tokio::test]
async fn counts_survive_the_end_of_the_process() {
    let folder = Folder::new("store-restart");
    for _ in 0..3 {
        let counts = SharedCounts::new(Arc::new(FileStore::open(&folder.0).unwrap()));
        counts.record([&session("a.example")], noon());
        counts.flush(noon()).await;
    }
    // One that was not there on the day.
    let counts = SharedCounts::new(Arc::new(FileStore::open(&folder.0).unwrap()));
    assert_eq!(all_failed(&counts.claim(tomorrow()).await), [counted("a.example", 3)]);
}

#[tokio::test]
async fn report_waits_until_every_machine_has_had_time_to_write() {
    let counts = SharedCounts::new(Arc::new(MemoryStore::new()));
    counts.record([&session("a.example")], noon());
    assert!(counts.claim(noon()).await.is_empty());
    assert!(counts.claim(at(tomorrow().as_secs() - 1)).await.is_empty());
    assert_eq!(counts.claim(tomorrow()).await.len(), 1);
}

#[tokio::test]
async fn report_that_is_not_done_is_claimed_again_when_the_claim_has_expired() {
    let store = Arc::new(MemoryStore::new());
    let (one, other) = (SharedCounts::new(store.clone()), SharedCounts::new(store.clone()));
    one.record([&session("a.example")], noon());
    assert_eq!(one.claim(tomorrow()).await.len(), 1);
    assert!(one.claim(tomorrow()).await.is_empty());
    assert!(other.claim(tomorrow()).await.is_empty());
    // The claim expires.
    let claim = format!("tlsrpt-claim/{}/a.example", noon().as_secs() / DAY);
    assert!(store.get(&claim).await.unwrap().is_some());
    store.remove(&claim).await.unwrap();
    let again = other.claim(tomorrow()).await;
    assert_eq!(all_failed(&again), [counted("a.example", 1)]);
    other.done(&again[0], tomorrow()).await;
    // One that writes late does not cause a second report.
    one.record([&session("a.example")], noon());
    assert!(one.claim(tomorrow()).await.is_empty());
}

#[tokio::test]
async fn store_that_is_away_loses_no_count_sends_no_report_and_is_named_once() {
    let (log, _guard) = Log::record();
    let store = Arc::new(Switched::default());
    let counts = SharedCounts::new(store.clone());
    counts.record([&session("a.example")], noon());
    counts.flush(noon()).await;
    store.turn(true);
    for _ in 0..5 {
        counts.record([&session("a.example"), &session("b.example")], noon());
        counts.flush(noon()).await;
    }
    assert!(counts.claim(tomorrow()).await.is_empty());
    let warned = log.with("the store is away");
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("counted in memory"), "{warned:?}");
    store.turn(false);
    let reports = counts.claim(tomorrow()).await;
    assert_eq!(all_failed(&reports), [counted("a.example", 6), counted("b.example", 5)]);

    // Away when the reports are done: no machine sends them again all the same.
    store.turn(true);
    for report in &reports {
        counts.done(report, tomorrow()).await;
    }
    store.turn(false);
    for (claim, _) in store.list("tlsrpt-claim/").await.unwrap() {
        store.remove(&claim).await.unwrap();
    }
    assert!(counts.claim(tomorrow()).await.is_empty());
    let other = SharedCounts::new(store.clone());
    assert!(other.claim(tomorrow()).await.is_empty());
    assert!(store.list("tlsrpt/").await.unwrap().is_empty());
}

#[tokio::test]
async fn damaged_counts_are_removed_named_and_spoil_no_others() {
    let (log, _guard) = Log::record();
    let store = Arc::new(MemoryStore::new());
    let counts = SharedCounts::new(store.clone());
    counts.record([&session("a.example")], noon());
    counts.flush(noon()).await;
    let day = noon().as_secs() / DAY;
    let hour = Duration::from_secs(3600);
    for key in [
        format!("tlsrpt/{day}/a.example/0-1"),
        format!("tlsrpt/{day}/b.example/0-1"),
        format!("tlsrpt/{day}/..../0-1"),
        format!("tlsrpt/{day}/a.example"),
    ] {
        store.put(&key, b"nonsense", hour).await.unwrap();
    }
    let reports = counts.claim(tomorrow()).await;
    assert_eq!(all_failed(&reports), [counted("a.example", 1)]);
    assert_eq!(store.list("tlsrpt/").await.unwrap().len(), 1);
    assert_eq!(log.with("are damaged").len(), 4);
}

#[tokio::test]
async fn counts_that_never_reach_the_store_are_dropped_in_the_end_and_the_log_says_so() {
    let (log, _guard) = Log::record();
    let store = Arc::new(Switched::default());
    store.turn(true);
    let counts = SharedCounts::new(store.clone());
    counts.record([&session("a.example")], noon());
    counts.flush(at(tomorrow().as_secs() + COUNTS_KEPT_FOR.as_secs() - DAY)).await;
    assert!(log.with("they are lost").is_empty());
    counts.flush(at(tomorrow().as_secs() + COUNTS_KEPT_FOR.as_secs() + DAY)).await;
    assert_eq!(log.with("they are lost").len(), 1);
    store.turn(false);
    assert!(counts.claim(tomorrow()).await.is_empty());
}
