//! Stores that never answer, and how often a store is asked.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use smtp_proto::route::RecipientStatus;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::pki_types::UnixTime;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::Posture;
use smtp_tls_policy::{Domain, Host};
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::store::{MAX_CALL_TIME, MAX_LIST_TIME, MemoryStore, Store, StoreError};
use smtp_tokio_adapter::tls_reports::SharedCounts;
use smtp_tokio_adapter::{Mail, Report, Sender};
use tokio::time::Instant;

use crate::common::{HOST, Pki, connector, envelope, sender};

/// Notes the key of each read, and answers after this time.
struct Slow {
    store: MemoryStore,
    delay: Duration,
    calls: AtomicUsize,
    read: Mutex<Vec<String>>,
}

impl Slow {
    fn new(delay: Duration) -> Arc<Self> {
        let (calls, read) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Self { store: MemoryStore::new(), delay, calls, read })
    }

    fn calls(&self) -> usize {
        self.calls.swap(0, Ordering::SeqCst)
    }

    /// The store, late.
    async fn late(&self) -> &MemoryStore {
        self.calls.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.delay).await;
        &self.store
    }
}

impl Store for Slow {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read.lock().unwrap().push(key.to_owned());
        self.late().await.get(key).await
    }
    async fn put(&self, key: &str, value: &[u8], lifetime: Duration) -> Result<(), StoreError> {
        self.late().await.put(key, value, lifetime).await
    }
    async fn put_new(
        &self,
        key: &str,
        value: &[u8],
        lifetime: Duration,
    ) -> Result<bool, StoreError> {
        self.late().await.put_new(key, value, lifetime).await
    }
    async fn remove(&self, key: &str) -> Result<(), StoreError> {
        self.late().await.remove(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.late().await.list(prefix).await
    }
}

/// The domain `test.example`, whose host has these addresses.
fn zone(addresses: Vec<IpAddr>) -> Zone {
    let (domain, host) = (Domain::parse("test.example").unwrap(), Domain::parse(HOST).unwrap());
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.add_mx(&domain, 10, &host).add_host(&host, addresses);
    zone
}

async fn deliver(sender: &Sender<Zone>) -> Report {
    let (connector, domain) =
        (connector(Posture::Opportunistic), Host::parse("test.example").unwrap());
    let (envelope, message) =
        (envelope(&["reader@test.example"]), bytes::Bytes::from("Subject: x\r\n\r\nx\r\n"));
    sender.send_mail(&Mail::new(&connector, &domain, &envelope, &message)).await
}

#[tokio::test(start_paused = true)]
async fn store_that_never_answers_delays_a_delivery_once_and_is_left_alone_for_a_while() {
    let year = Duration::from_secs(366 * 24 * 60 * 60);
    let slow = Slow::new(year);
    let start = Instant::now();
    let sender = sender(&Pki::new(), zone(Vec::new()), 25).with_store(slow.clone()).await;
    assert_eq!((start.elapsed(), slow.calls()), (MAX_LIST_TIME, 1));
    for delays in [Duration::ZERO, MAX_CALL_TIME, Duration::ZERO] {
        let start = Instant::now();
        let report = deliver(&sender).await;
        // The host has no address.
        assert_eq!(report.statuses(), [RecipientStatus::Bounced(EnhancedCode::new(5, 4, 4))]);
        let calls = usize::from(!delays.is_zero());
        assert_eq!((start.elapsed(), slow.calls()), (delays, calls));
        if delays.is_zero() {
            tokio::time::advance(Duration::from_secs(5)).await;
        }
    }
    let start = Instant::now();
    let counts = SharedCounts::new(slow.clone());
    assert!(counts.claim(UnixTime::now()).await.is_none());
    assert_eq!((start.elapsed(), slow.calls()), (MAX_LIST_TIME, 1));
}

#[tokio::test(start_paused = true)]
async fn store_that_answers_late_but_in_time_is_not_given_up() {
    let slow = Slow::new(MAX_CALL_TIME - Duration::from_millis(1));
    let sender = sender(&Pki::new(), zone(Vec::new()), 25).with_store(slow.clone()).await;
    for _ in 0..2 {
        slow.calls();
        deliver(&sender).await;
        assert_eq!(slow.calls(), 1);
    }
}

#[tokio::test]
async fn store_is_asked_for_as_many_addresses_of_a_host_as_can_be_dialled() {
    let slow = Slow::new(Duration::ZERO);
    let addresses = (1..=250).map(|last| Ipv4Addr::new(127, 0, 7, last).into()).collect();
    // A port where nothing listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sender = sender(&Pki::new(), zone(addresses), port)
        .with_route(|route| route.dials = 3)
        .with_store(slow.clone())
        .await;
    let report = deliver(&sender).await;
    assert_eq!(report.attempts.len(), 3);
    let mut dialled: Vec<String> =
        report.attempts.iter().map(|it| format!("broken/{HOST}/{}", it.address)).collect();
    dialled.sort();
    let mut read = slow.read.lock().unwrap().clone();
    read.retain(|key| key.starts_with("broken/"));
    read.sort();
    assert_eq!(read, dialled);
}

/// Readers of a file that never come to an end, on a runtime with few threads.
#[cfg(unix)]
#[test]
fn store_on_a_disk_that_hangs_leaves_threads_to_others() {
    use smtp_tokio_adapter::store::FileStore;

    let folder = crate::places::Folder::new("store-hangs");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(12)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Arc::new(FileStore::open(&folder.0).unwrap());
        // Opening a pipe to read waits until it is opened to write.
        let pipe = folder.0.join("key.rec");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let reading: Vec<_> = (0..40)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { drop(store.get("key").await) })
            })
            .collect();
        // Each of them has begun, or waits for its turn.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let other = tokio::task::spawn_blocking(|| 7);
        let other = tokio::time::timeout(Duration::from_secs(60), other).await;
        reading.iter().for_each(tokio::task::JoinHandle::abort);
        let both = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
        std::fs::remove_file(&pipe).unwrap();
        drop(both);
        assert_eq!(other.expect("a thread is left").unwrap(), 7);
    });
}
