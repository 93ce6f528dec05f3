//! Counts of TLS reports that several machines share.

use std::sync::Arc;
use std::time::Duration;

use smtp_tls_policy::pki_types::UnixTime;
use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
use smtp_tls_policy::rules::Posture;
use smtp_tls_policy::tlsrpt::{
    Aggregate, DailyReport, ReportId, ReportedSession, Reporting, Submitter,
};
use smtp_tls_policy::{Host, Reason};
use smtp_tokio_adapter::store::{FileStore, MemoryStore, Store};
use smtp_tokio_adapter::tls_reports::{CLAIMED_FOR, COUNTS_KEPT_FOR, SETTLING, SharedCounts};

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
    let reporting = Reporting::of(&facts);
    let (plan, address) = (plan(&facts).unwrap(), "192.0.2.1".parse().unwrap());
    reporting.no_tls(&plan, Reason::HandshakeFailed, None, None, address).remove(0)
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

/// Every report that there is to claim.
async fn claim_all(counts: &SharedCounts, now: UnixTime) -> Vec<DailyReport> {
    let mut reports = Vec::new();
    while let Some(report) = counts.claim(now).await {
        reports.push(report);
    }
    reports
}

fn counted(domain: &str, sessions: u64) -> (String, u64, u64) {
    (domain.to_owned(), sessions, sessions)
}

/// Two that count at once, each with a connection of its own to the store.
async fn counts_add_up<S: Store + 'static>(one: Arc<S>, other: Arc<S>) {
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
            let mut reports = Vec::new();
            while let Some(report) = counts.claim(tomorrow()).await {
                counts.done(&report, tomorrow()).await;
                reports.push(report);
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
        assert!(counts.claim(tomorrow()).await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_that_two_count_at_once_add_up_and_each_report_goes_to_one() {
    let store = Arc::new(MemoryStore::new());
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
    assert_eq!(all_failed(&claim_all(&counts, tomorrow()).await), [counted("a.example", 3)]);
}

#[tokio::test]
async fn report_waits_until_every_machine_has_had_time_to_write() {
    let counts = SharedCounts::new(Arc::new(MemoryStore::new()));
    counts.record([&session("a.example")], noon());
    assert!(counts.claim(noon()).await.is_none());
    assert!(counts.claim(at(tomorrow().as_secs() - 1)).await.is_none());
    assert!(counts.claim(tomorrow()).await.is_some());
}

#[tokio::test]
async fn report_that_is_not_done_is_claimed_again_when_the_claim_has_expired() {
    let store = Arc::new(MemoryStore::new());
    let (one, other) = (SharedCounts::new(store.clone()), SharedCounts::new(store.clone()));
    one.record([&session("a.example")], noon());
    assert!(one.claim(tomorrow()).await.is_some());
    assert!(one.claim(tomorrow()).await.is_none());
    assert!(other.claim(tomorrow()).await.is_none());
    // The claim expires.
    let claim = claim_of("a.example");
    assert!(store.get(&claim).await.unwrap().is_some());
    store.remove(&claim).await.unwrap();
    let again = claim_all(&other, tomorrow()).await;
    assert_eq!(all_failed(&again), [counted("a.example", 1)]);
    other.done(&again[0], tomorrow()).await;
    // One that writes late does not cause a second report.
    one.record([&session("a.example")], noon());
    assert!(one.claim(tomorrow()).await.is_none());
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
    assert!(counts.claim(tomorrow()).await.is_none());
    let warned = log.with("the store is away");
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("counted in memory"), "{warned:?}");
    store.turn(false);
    let reports = claim_all(&counts, tomorrow()).await;
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
    assert!(counts.claim(tomorrow()).await.is_none());
    let other = SharedCounts::new(store.clone());
    assert!(other.claim(tomorrow()).await.is_none());
    assert!(store.list("tlsrpt/").await.unwrap().is_empty());
}

#[tokio::test]
async fn damaged_counts_are_set_aside_named_and_spoil_no_others() {
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
    let reports = claim_all(&counts, tomorrow()).await;
    assert_eq!(all_failed(&reports), [counted("a.example", 1)]);
    assert_eq!(store.list("tlsrpt/").await.unwrap().len(), 1);
    assert_eq!(log.with("a record in the store is damaged (counts of TLS sessions)").len(), 4);
    let aside = store.list("damaged/tlsrpt/").await.unwrap();
    assert_eq!(aside.len(), 4);
    assert!(aside.iter().all(|(_, value)| value == b"nonsense"), "{aside:?}");
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
    assert!(counts.claim(tomorrow()).await.is_none());
}

/// However long it takes to send one report, the claims of the others do not expire meanwhile.
#[tokio::test]
async fn report_is_claimed_only_when_the_one_before_it_was_sent() {
    let store = Arc::new(MemoryStore::new());
    let (one, other) = (SharedCounts::new(store.clone()), SharedCounts::new(store.clone()));
    for domain in ["a.example", "b.example", "c.example"] {
        one.record([&session(domain)], noon());
    }
    let first = one.claim(tomorrow()).await.unwrap();
    assert_eq!(failed(&first), counted("a.example", 1));
    assert_eq!(store.list("tlsrpt-claim/").await.unwrap().len(), 1);
    // While it is sent, another machine sends the others.
    let others = claim_all(&other, tomorrow()).await;
    assert_eq!(all_failed(&others), [counted("b.example", 1), counted("c.example", 1)]);
    one.done(&first, tomorrow()).await;
    assert!(one.claim(tomorrow()).await.is_none());
}

/// A store with little room may lose any record.
#[tokio::test]
async fn report_whose_claim_is_lost_is_not_given_to_the_same_machine_within_the_hour() {
    let store = Arc::new(MemoryStore::new());
    let counts = SharedCounts::new(store.clone());
    counts.record([&session("a.example")], noon());
    assert!(counts.claim(tomorrow()).await.is_some());
    store.remove(&claim_of("a.example")).await.unwrap();
    assert!(counts.claim(tomorrow()).await.is_none());
    let later = at(tomorrow().as_secs() + CLAIMED_FOR.as_secs());
    assert!(counts.claim(later).await.is_some());
}

fn claim_of(domain: &str) -> String {
    format!("tlsrpt-claim/{}/{domain}", noon().as_secs() / DAY)
}

/// Between the claim and its end, and after that; in a record of its own, and in one that has been
/// reported with fewer sessions.
#[tokio::test]
async fn sessions_that_come_after_the_claim_of_their_report_are_counted_in_the_log() {
    for is_done_before in [true, false] {
        for is_record_reported in [true, false] {
            let (log, _guard) = Log::record();
            let store = Arc::new(MemoryStore::new());
            let (late, other) =
                (SharedCounts::new(store.clone()), SharedCounts::new(store.clone()));
            other.record([&session("a.example")], noon());
            other.flush(noon()).await;
            if is_record_reported {
                late.record([&session("a.example"), &session("a.example")], noon());
                late.flush(noon()).await;
            }
            let report = other.claim(tomorrow()).await.unwrap();
            let reported = if is_record_reported { 3 } else { 1 };
            assert_eq!(failed(&report), counted("a.example", reported));
            if is_done_before {
                other.done(&report, tomorrow()).await;
            }
            for _ in 0..5 {
                late.record([&session("a.example")], noon());
            }
            late.flush(noon()).await;
            if !is_done_before {
                other.done(&report, tomorrow()).await;
            }
            assert!(other.claim(tomorrow()).await.is_none());
            let named = log.with("they are in no report");
            assert_eq!(named.len(), 1, "{is_done_before} {is_record_reported} {named:?}");
            assert!(named[0].contains("sessions=5"), "{named:?}");
            assert!(named[0].contains("domain=a.example"), "{named:?}");
            assert!(store.list("tlsrpt/").await.unwrap().is_empty());
            // It is said once.
            assert!(other.claim(tomorrow()).await.is_none());
            assert_eq!(log.with("they are in no report").len(), 1);
        }
    }
}

/// While the machines are updated one after the other.
#[tokio::test]
async fn counts_of_a_later_version_are_left_alone_and_named() {
    let (log, _guard) = Log::record();
    let store = Arc::new(MemoryStore::new());
    let counts = SharedCounts::new(store.clone());
    counts.record([&session("a.example")], noon());
    counts.flush(noon()).await;
    let day = noon().as_secs() / DAY;
    let (key, value) = store.list("tlsrpt/").await.unwrap().remove(0);
    let text = String::from_utf8(value).unwrap();
    let newer = [
        (format!("{key}0"), text.replace("counts 1", "counts 2")),
        (format!("{key}1"), text.replace("handshake-failed", "a-later-reason")),
        (format!("tlsrpt/{day}/b.example/0-1"), text.replace("counts 1", "counts 2")),
        (format!("tlsrpt/{day}/another/place/of/a/key"), "smtp-tls-counts 3\n?".to_owned()),
        (format!("tlsrpt/{day}/c..example/0-1"), "smtp-tls-counts 3\n?".to_owned()),
    ];
    for (key, value) in &newer {
        store.put(key, value.as_bytes(), Duration::from_secs(3600)).await.unwrap();
    }
    let reports = claim_all(&counts, tomorrow()).await;
    assert_eq!(all_failed(&reports), [counted("a.example", 1)]);
    counts.done(&reports[0], tomorrow()).await;
    assert!(counts.claim(tomorrow()).await.is_none());
    for (key, value) in &newer {
        assert_eq!(store.get(key).await.unwrap().as_deref(), Some(value.as_bytes()), "{key}");
        assert_eq!(log.with(&format!("key=\"{key}\"")).len(), 1, "{key}");
    }
    assert!(log.with("is damaged").is_empty());
    assert_eq!(store.list("tlsrpt/").await.unwrap().len(), newer.len());
}

#[tokio::test]
async fn claim_that_fails_keeps_no_other_report_back_and_is_made_again() {
    let store = Arc::new(Switched::default());
    let counts = SharedCounts::new(store.clone());
    let domains = ["a.example", "b.example", "c.example", "d.example"];
    for domain in domains {
        counts.record([&session(domain)], noon());
    }
    counts.flush(noon()).await;
    store.fail_new(Some(claim_of("b.example")));
    let reports = claim_all(&counts, tomorrow()).await;
    let others = ["a.example", "c.example", "d.example"].map(|domain| counted(domain, 1));
    assert_eq!(all_failed(&reports), others);
    store.fail_new(None);
    let reports = claim_all(&counts, tomorrow()).await;
    assert_eq!(all_failed(&reports), [counted("b.example", 1)]);
}

#[tokio::test]
async fn sessions_beyond_the_limits_are_counted_in_the_log() {
    let (log, _guard) = Log::record();
    let counts = SharedCounts::new(Arc::new(MemoryStore::new()))
        .with_aggregate(Aggregate::new().with_max_policies(1));
    counts.record([&session("a.example"), &session("b.example"), &session("b.example")], noon());
    counts.flush(noon()).await;
    let named = log.with("more policies than the limits");
    assert!(named.len() == 1 && named[0].contains("sessions=2"), "{named:?}");
}
