//! Stores that lose records, and stores that are full.

use std::sync::Arc;
use std::time::Duration;

use std::net::{Ipv4Addr, Ipv6Addr};

use smtp_tls_policy::Domain;
use smtp_tls_policy::inquiry::{DnsAnswer, MxRecord};
use smtp_tls_policy::pki_types::UnixTime;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::sts::{
    Cache, CachedPolicy, FETCH_TIMEOUT, Fetch, FetchError, PolicyId, PolicyText,
};
use smtp_tokio_adapter::lookups::{Lookups, Zone};
use smtp_tokio_adapter::store::{MemoryStore, Store};
use tokio::time::Instant;

use crate::common::log::Log;
use crate::common::{Pki, sender};
use crate::places::Switched;

const HOUR: Duration = Duration::from_secs(3600);

/// A cache with policies of so many domains, which were fetched so long ago.
fn cache(domains: usize, ago: Duration) -> Cache {
    let policy = b"version: STSv1\nmode: enforce\nmx: mx.example\nmax_age: 604800\n";
    let policy = PolicyText::from_response(200, Some("text/plain"), policy).unwrap();
    let id = PolicyId::parse("1").unwrap();
    let cached = (0..domains).map(|number| {
        let domain = Domain::parse(&format!("d{number}.example")).unwrap();
        let fetched = Duration::from_secs(UnixTime::now().as_secs()) - ago;
        let fetched = UnixTime::since_unix_epoch(fetched);
        CachedPolicy::new(domain, id.clone(), fetched, policy.clone())
    });
    let mut cache = Cache::new();
    // That they are not in the store is what the tests are about.
    let _ = cache.restore(cached, UnixTime::now());
    cache
}

/// Senders of a program, or a server that keeps nothing on disk: what one knows protects the others
/// again before it is next fetched.
#[tokio::test]
async fn policies_that_the_store_has_lost_are_written_again() {
    let store = Arc::new(MemoryStore::new());
    let zone = Zone::new(DnsStatus::Insecure);
    let sender = sender(&Pki::new(), zone, 25).with_policy_cache(cache(100, Duration::ZERO));
    let sender = sender.with_store(Arc::clone(&store)).await;
    let records = async || store.list("sts/").await.unwrap().len();
    assert_eq!(records().await, 0);
    sender.refresh().await;
    assert_eq!(records().await, 100);
    // All of them are gone.
    for (key, _) in store.list("sts/").await.unwrap() {
        store.remove(&key).await.unwrap();
    }
    sender.refresh().await;
    assert_eq!(records().await, 100);
    // One is gone: it is looked for in its turn. What another machine has written stays.
    store.remove("sts/d50.example").await.unwrap();
    store.put("sts/d51.example", b"of another machine", HOUR).await.unwrap();
    for _ in 0..13 {
        sender.refresh().await;
    }
    assert_eq!(records().await, 100);
    let other = store.get("sts/d51.example").await.unwrap();
    assert_eq!(other.as_deref(), Some(&b"of another machine"[..]));
}

/// Policy hosts of which one answers, and the others take what is sent and say nothing.
struct Tarpits;

impl Lookups for Tarpits {
    async fn mx(&self, _: &Domain) -> DnsAnswer<MxRecord> {
        DnsAnswer::none(DnsStatus::Insecure)
    }
    async fn ipv4(&self, _: &Domain) -> DnsAnswer<Ipv4Addr> {
        DnsAnswer::none(DnsStatus::Insecure)
    }
    async fn ipv6(&self, _: &Domain) -> DnsAnswer<Ipv6Addr> {
        DnsAnswer::none(DnsStatus::Insecure)
    }
    async fn fetch(&self, fetch: &Fetch) -> Result<PolicyText, FetchError> {
        match fetch.domain().as_str() {
            "d9.example" => Err(FetchError::Status(404)),
            _ => std::future::pending().await,
        }
    }
}

/// The clock of the test stands still until nothing else is left to do.
#[tokio::test(start_paused = true)]
async fn policy_hosts_that_never_answer_hold_up_neither_each_other_nor_the_store() {
    let (log, _guard) = Log::record();
    let store = Arc::new(Switched::default());
    let sender = sender(&Pki::new(), Tarpits, 25).with_policy_cache(cache(60, 25 * HOUR));
    let sender = Arc::new(sender.with_store(Arc::clone(&store)).await);
    store.turn(true);
    let start = Instant::now();
    let refreshing = Arc::clone(&sender);
    let refreshing = tokio::spawn(async move { refreshing.refresh().await });
    tokio::time::sleep(Duration::from_secs(30)).await;
    store.turn(false);
    // What the store lacks is written while the hosts are still silent.
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert!(!refreshing.is_finished());
    assert_eq!(store.list("sts/").await.unwrap().len(), 60);
    refreshing.await.unwrap();
    // Eight at a time.
    assert_eq!(start.elapsed(), 8 * FETCH_TIMEOUT);
    assert_eq!(log.with("an MTA-STS policy is not refreshed").len(), 60);
    assert_eq!(log.with("404").len(), 1);
}

/// At the limit each further record costs no look at all others: it would take hours.
#[tokio::test]
async fn full_store_in_memory_drops_what_expires_first() {
    let store = MemoryStore::new();
    let put = async |number: u32| {
        let lifetime = HOUR + Duration::from_secs(u64::from(number));
        store.put(&format!("{number}"), b"1", lifetime).await.unwrap();
    };
    for number in 0..200_000 {
        put(number).await;
    }
    for (number, is_there) in [(0, false), (99_999, false), (100_000, true), (199_999, true)] {
        assert_eq!(store.get(&number.to_string()).await.unwrap().is_some(), is_there, "{number}");
    }
    // What is put anew is no further record, and counts by its new lifetime.
    store.put("100000", b"2", 2 * 200_000 * Duration::from_secs(1)).await.unwrap();
    assert!(store.get("100001").await.unwrap().is_some());
    put(200_000).await;
    assert_eq!(store.get("100000").await.unwrap().as_deref(), Some(&b"2"[..]));
    assert!(store.get("100001").await.unwrap().is_none());
}
