//! What senders share through a store: in memory, on disk, and on a Redis server.
//!
//! Without redis-server each test of it says so and passes; with `CI=true` it fails.

mod common;

use std::path::PathBuf;
#[cfg(feature = "redis")]
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::{HOST, Pki, Running, connector, envelope, smtp, start};
use smtp_proto::route::RecipientStatus;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::inquiry::DnsAnswer;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::Posture;
use smtp_tls_policy::{Domain, Host};
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::store::{FileStore, MemoryStore, Store};
use smtp_tokio_adapter::{Inbound, Mail, Sender};

const DOMAIN: &str = "test.example";
const HOUR: Duration = Duration::from_secs(3600);

/// A folder that is gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn files(&self) -> Vec<String> {
        fn walk(path: &std::path::Path, names: &mut Vec<String>) {
            for entry in std::fs::read_dir(path).into_iter().flatten() {
                let entry = entry.unwrap();
                match entry.file_type().unwrap().is_dir() {
                    true => walk(&entry.path(), names),
                    false => names.push(entry.file_name().into_string().unwrap()),
                }
            }
        }
        let mut names = Vec::new();
        walk(&self.0, &mut names);
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn exercise(store: &dyn Store) {
    let sorted = |mut found: Vec<(String, Vec<u8>)>| {
        found.sort();
        found
            .into_iter()
            .map(|(key, value)| (key, String::from_utf8(value).unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(store.get("a/x").await.unwrap(), None);
    store.put("a/x", b"old", HOUR).await.unwrap();
    store.put("a/y_1.z/[::1]:25", b"other\nlines\0", HOUR).await.unwrap();
    store.put("b/x", b"", HOUR).await.unwrap();
    store.put("a/x", b"new", HOUR).await.unwrap();
    assert_eq!(store.get("a/x").await.unwrap().as_deref(), Some(&b"new"[..]));
    assert_eq!(store.get("b/x").await.unwrap().as_deref(), Some(&b""[..]));
    let found = sorted(store.list("a/").await.unwrap());
    assert_eq!(
        found,
        [("a/x".into(), "new".into()), ("a/y_1.z/[::1]:25".into(), "other\nlines\0".into())]
    );
    store.remove("a/x").await.unwrap();
    store.remove("a/never").await.unwrap();
    assert_eq!(sorted(store.list("a/").await.unwrap()).len(), 1);
    store.put("a/short", b"1", Duration::from_secs(1)).await.unwrap();
    while store.get("a/short").await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(sorted(store.list("a/").await.unwrap()).len(), 1);
}

#[tokio::test]
async fn store_in_memory_keeps_what_it_is_given_until_it_expires() {
    exercise(&MemoryStore::new()).await;
}

#[tokio::test]
async fn store_of_files_keeps_what_it_is_given_until_it_expires() {
    let folder = Folder::new("store-keeps");
    exercise(&FileStore::open(&folder.0).unwrap()).await;
    // Another process finds the same.
    let again = FileStore::open(&folder.0).unwrap();
    assert_eq!(again.list("").await.unwrap().len(), 2);
    assert_eq!(folder.files().len(), 2);
    // The longest domain that has a policy.
    let domain =
        format!("{}.{}.{}.{}", "a".repeat(60), "b".repeat(60), "c".repeat(60), "d".repeat(61));
    assert_eq!(domain.len(), 244);
    let key = format!("sts/{domain}");
    again.put(&key, b"policy", HOUR).await.unwrap();
    assert_eq!(again.get(&key).await.unwrap().as_deref(), Some(&b"policy"[..]));
}

#[tokio::test]
async fn damaged_file_is_set_aside_and_spoils_no_other() {
    let folder = Folder::new("store-damage");
    let store = FileStore::open(&folder.0).unwrap();
    store.put("good", b"good", HOUR).await.unwrap();
    store.put("bad", b"the value", HOUR).await.unwrap();
    let path = folder.0.join("bad.rec");
    let written = std::fs::read(&path).unwrap();
    let mut damaged: Vec<Vec<u8>> = (0..written.len()).map(|len| written[..len].to_vec()).collect();
    for at in 0..written.len() {
        let mut octets = written.clone();
        octets[at] ^= 0x20;
        damaged.push(octets);
    }
    damaged.push([&written[..], &written[..]].concat());
    damaged.push(vec![b'\n'; 1 << 20]);
    for octets in damaged {
        std::fs::write(&path, &octets).unwrap();
        assert_eq!(store.list("").await.unwrap(), [("good".to_owned(), b"good".to_vec())]);
        assert_eq!(folder.files(), ["bad.damaged", "good.rec"]);
    }
    // The record of another key, copied.
    std::fs::copy(folder.0.join("good.rec"), &path).unwrap();
    assert_eq!(store.get("bad").await.unwrap(), None);
    store.put("bad", b"again", HOUR).await.unwrap();
    assert_eq!(store.get("bad").await.unwrap().as_deref(), Some(&b"again"[..]));
}

#[tokio::test]
async fn crash_in_the_middle_of_a_write_leaves_the_old_record() {
    let folder = Folder::new("store-crash");
    let store = FileStore::open(&folder.0).unwrap();
    store.put("key", b"old", HOUR).await.unwrap();
    let written = std::fs::read(folder.0.join("key.rec")).unwrap();
    for len in 0..=written.len() {
        std::fs::write(folder.0.join("key.new"), &written[..len]).unwrap();
        assert_eq!(store.get("key").await.unwrap().as_deref(), Some(&b"old"[..]));
    }
    store.put("key", b"new", HOUR).await.unwrap();
    assert_eq!(folder.files(), ["key.rec"]);
}

/// Deliveries that fail at the same host put the same record at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn record_that_many_put_at_once_is_never_absent_or_damaged() {
    let folder = Folder::new("store-race");
    let store = FileStore::open(&folder.0).unwrap();
    store.put("key", b"first", HOUR).await.unwrap();
    let putting: Vec<_> = (0..8)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..20 {
                    let value = format!("{number} {round}").repeat(100);
                    store.put("key", value.as_bytes(), HOUR).await.unwrap();
                    assert!(store.get("key").await.unwrap().is_some());
                }
            })
        })
        .collect();
    for put in putting {
        put.await.unwrap();
    }
    assert_eq!(folder.files(), ["key.rec"]);
}

/// A record is put now and then only, and what strangers choose must not fill the disk.
#[tokio::test]
async fn records_that_have_expired_are_removed_while_others_are_put() {
    let folder = Folder::new("store-sweep");
    let store = FileStore::open(&folder.0).unwrap();
    for number in 0..20 {
        store.put(&format!("broken/{number}/a"), b"gone", Duration::ZERO).await.unwrap();
    }
    for _ in 0..1024 {
        store.put("sts/kept", b"kept", HOUR).await.unwrap();
    }
    assert_eq!(folder.files(), ["kept.rec"]);
    assert!(!folder.0.join("broken/7").exists());
}

/// A mail server, and senders that see its domain in different ways.
struct World {
    pki: Pki,
    server: Running,
}

impl World {
    async fn new() -> Self {
        let pki = Pki::new();
        let mut inbound = Inbound::new(Arc::new(smtp()));
        inbound.tls = Some(pki.server_config(HOST));
        let server = start(inbound).await;
        Self { pki, server }
    }

    /// A sender that finds the record of the policy, or cannot look it up.
    async fn sender(&self, record: bool, store: Option<&Arc<dyn Store>>) -> Sender<Zone> {
        let (domain, host) = (Domain::parse(DOMAIN).unwrap(), Domain::parse(HOST).unwrap());
        let mut zone = Zone::new(DnsStatus::Insecure);
        zone.add_mx(&domain, 10, &host).add_host(&host, ["127.0.0.1".parse().unwrap()]);
        if record {
            let policy = "version: STSv1\nmode: enforce\nmx: other.example\nmax_age: 604800\n";
            zone.publish_sts(&domain, "1", policy);
        } else {
            let owner = Domain::parse("_mta-sts.test.example").unwrap();
            zone.txt.insert(owner, DnsAnswer::none(DnsStatus::Failed));
        }
        let sender = common::sender(&self.pki, zone, self.server.address.port());
        match store {
            Some(store) => sender.with_store(Arc::clone(store)).await,
            None => sender,
        }
    }
}

async fn deliver(sender: &Sender<Zone>) -> RecipientStatus {
    let (connector, domain) = (connector(Posture::Opportunistic), Host::parse(DOMAIN).unwrap());
    let (envelope, message) =
        (envelope(&["reader@test.example"]), bytes::Bytes::from("Subject: x\r\n\r\nx\r\n"));
    let mail = Mail::new(&connector, &domain, &envelope, &message);
    let sent = tokio::time::timeout(Duration::from_secs(20), sender.send_mail(&mail));
    sent.await.expect("no delivery waits for a store").unwrap().statuses()[0]
}

/// The policy forbids the host.
fn protected() -> RecipientStatus {
    RecipientStatus::Deferred(EnhancedCode::new(4, 7, 5))
}

async fn policy_of_one_protects_the_other(store: Arc<dyn Store>) {
    let world = World::new().await;
    // Without a store, the sender that cannot look up the record knows no policy.
    assert_eq!(deliver(&world.sender(false, None).await).await, RecipientStatus::Delivered);
    let before = world.sender(false, Some(&store)).await;
    assert_eq!(deliver(&world.sender(true, Some(&store)).await).await, protected());
    // One that was there before the policy, and one that comes after it.
    assert_eq!(deliver(&before).await, protected());
    let after = world.sender(false, Some(&store)).await;
    assert_eq!(deliver(&after).await, protected());
    assert!(after.refresh().await.is_some(), "it is refreshed before it expires");
    // A damaged record is removed, and the next fetch brings it back.
    store.put("sts/test.example", b"nonsense", HOUR).await.unwrap();
    assert_eq!(deliver(&world.sender(false, Some(&store)).await).await, RecipientStatus::Delivered);
    assert_eq!(store.get("sts/test.example").await.unwrap(), None);
}

#[tokio::test]
async fn policy_that_one_sender_fetched_protects_the_others_by_memory() {
    policy_of_one_protects_the_other(Arc::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn policy_that_one_sender_fetched_protects_the_others_by_files() {
    let folder = Folder::new("store-shared");
    policy_of_one_protects_the_other(Arc::new(FileStore::open(&folder.0).unwrap())).await;
}

/// A Redis server on a port of its own, which keeps nothing on disk.
#[cfg(feature = "redis")]
struct Redis {
    port: u16,
    child: Child,
}

#[cfg(feature = "redis")]
impl Redis {
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    async fn start(port: Option<u16>) -> Option<Self> {
        let port = port.unwrap_or_else(|| {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        });
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]);
        command.arg(port.to_string()).stdout(Stdio::null());
        let Ok(child) = command.spawn() else {
            assert!(std::env::var_os("CI").is_none(), "redis-server is not installed");
            println!("skipped: redis-server is not installed");
            return None;
        };
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(Self { port, child })
    }

    fn kill(mut self) -> u16 {
        self.end();
        self.port
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(feature = "redis")]
impl Drop for Redis {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(feature = "redis")]
fn redis_store(redis: &Redis) -> smtp_tokio_adapter::store::RedisStore {
    let url = format!("redis://127.0.0.1:{}/", redis.port);
    smtp_tokio_adapter::store::RedisStore::new(&url).unwrap()
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn redis_keeps_what_it_is_given_until_it_expires() {
    let Some(redis) = Redis::start(None).await else { return };
    exercise(&redis_store(&redis)).await;
    // Fleets with another prefix see nothing of each other.
    let other = redis_store(&redis).with_prefix("*");
    assert_eq!(other.list("").await.unwrap(), []);
    assert_eq!(redis_store(&redis).list("*").await.unwrap(), []);
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn policy_that_one_sender_fetched_protects_the_others_by_redis() {
    let Some(redis) = Redis::start(None).await else { return };
    policy_of_one_protects_the_other(Arc::new(redis_store(&redis))).await;
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn redis_that_is_killed_loses_nothing_and_holds_up_no_delivery() {
    let Some(redis) = Redis::start(None).await else { return };
    let world = World::new().await;
    let store: Arc<dyn Store> = Arc::new(redis_store(&redis));
    let (first, second) =
        (world.sender(true, Some(&store)).await, world.sender(false, Some(&store)).await);
    let port = redis.kill();
    // Away: the fetched policy is in memory, and the other sender goes on without it.
    assert_eq!(deliver(&first).await, protected());
    assert_eq!(deliver(&first).await, protected());
    assert_eq!(deliver(&second).await, RecipientStatus::Delivered);
    assert_eq!(deliver(&world.sender(false, Some(&store)).await).await, RecipientStatus::Delivered);
    // Back, and empty: what waited is written.
    let redis = Redis::start(Some(port)).await.unwrap();
    for _ in 0..300 {
        first.refresh().await;
        if redis_store(&redis).get("sts/test.example").await.unwrap().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(deliver(&second).await, protected());
}

/// What a server refuses to write, it can still read.
#[cfg(feature = "redis")]
#[tokio::test]
async fn redis_without_memory_for_a_record_still_gives_the_others() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Some(redis) = Redis::start(None).await else { return };
    let store = redis_store(&redis);
    store.put("there", b"value", HOUR).await.unwrap();
    let mut console = tokio::net::TcpStream::connect(("127.0.0.1", redis.port)).await.unwrap();
    console.write_all(b"CONFIG SET maxmemory 1\r\n").await.unwrap();
    let mut ok = [0; 5];
    console.read_exact(&mut ok).await.unwrap();
    assert_eq!(&ok, b"+OK\r\n");
    let refused = store.put("other", b"value", HOUR).await.unwrap_err().to_string();
    assert!(refused.contains("OOM"), "{refused}");
    assert_eq!(store.get("there").await.unwrap().as_deref(), Some(&b"value"[..]));
}

/// A server that accepts connections and never answers.
#[cfg(feature = "redis")]
#[tokio::test]
async fn redis_that_never_answers_costs_its_time_limit_once() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/", silent.local_addr().unwrap());
    let store = smtp_tokio_adapter::store::RedisStore::new(&url).unwrap();
    let store: Arc<dyn Store> = Arc::new(store.with_time_limit(Duration::from_millis(200)));
    let world = World::new().await;
    let sender = world.sender(true, Some(&store)).await;
    assert_eq!(deliver(&sender).await, protected());
    let error = store.get("x").await.unwrap_err();
    assert_eq!(error.to_string(), "the store does not answer");
}
