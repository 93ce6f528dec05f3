//! Records of a store, and what senders share through them.

use std::sync::Arc;
use std::time::Duration;

use smtp_proto::route::RecipientStatus;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::inquiry::DnsAnswer;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::Posture;
use smtp_tls_policy::{Domain, Host};
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::store::{FileStore, MemoryStore, Store};
use smtp_tokio_adapter::{Inbound, Mail, Sender};

use crate::common;
use crate::common::log::Log;
use crate::common::{HOST, Pki, Running, connector, envelope, smtp, start};
use crate::places::{Folder, Switched};
#[cfg(feature = "redis")]
use crate::places::{Redis, redis_store};

const DOMAIN: &str = "test.example";
const HOUR: Duration = Duration::from_secs(3600);

async fn exercise(store: &impl Store) {
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
    store.put("b/x", b"1", HOUR).await.unwrap();
    store.put("a/x", b"new", HOUR).await.unwrap();
    assert_eq!(store.get("a/x").await.unwrap().as_deref(), Some(&b"new"[..]));
    assert_eq!(store.get("b/x").await.unwrap().as_deref(), Some(&b"1"[..]));
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
    // What is there stays, and what has expired is not there.
    assert!(store.put_new("c/claim", b"first", Duration::from_secs(1)).await.unwrap());
    assert!(!store.put_new("c/claim", b"second", HOUR).await.unwrap());
    assert_eq!(store.get("c/claim").await.unwrap().as_deref(), Some(&b"first"[..]));
    while store.get("c/claim").await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(store.put_new("c/claim", b"third", HOUR).await.unwrap());
    store.remove("c/claim").await.unwrap();
    assert!(store.put_new("c/claim", b"fourth", HOUR).await.unwrap());
    store.remove("c/claim").await.unwrap();
    // As long as a domain may be, and longer once it is escaped.
    let long = format!("d/{}/{}", "l.".repeat(126), "é".repeat(120));
    assert!(store.put_new(&long, b"long", HOUR).await.unwrap());
    assert_eq!(store.list("d/l.l.").await.unwrap(), [(long.clone(), b"long".to_vec())]);
    store.remove(&long).await.unwrap();
    assert_eq!(store.get(&long).await.unwrap(), None);
}

/// Of many calls at once one puts its value.
async fn race(store: Arc<impl Store + 'static>) {
    let puts: Vec<_> = (0..16)
        .map(|number: u8| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.put_new("claim", &[number], HOUR).await.unwrap() })
        })
        .collect();
    let mut winners = Vec::new();
    for (number, put) in puts.into_iter().enumerate() {
        if put.await.unwrap() {
            winners.push(number as u8);
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(store.get("claim").await.unwrap(), Some(winners));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_that_put_a_new_record_at_once_puts_it() {
    race(Arc::new(MemoryStore::new())).await;
    let folder = Folder::new("store-claims");
    race(Arc::new(FileStore::open(&folder.0).unwrap())).await;
    #[cfg(feature = "redis")]
    if let Some(redis) = Redis::start(None).await {
        race(Arc::new(redis_store(&redis))).await;
    }
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
        assert!(!path.exists());
        assert!(folder.0.join("good.rec").exists());
    }
    // The record of another key, copied.
    std::fs::copy(folder.0.join("good.rec"), &path).unwrap();
    assert_eq!(store.get("bad").await.unwrap(), None);
    assert!(store.put_new("bad", b"anew", HOUR).await.unwrap());
    store.put("bad", b"again", HOUR).await.unwrap();
    assert_eq!(store.get("bad").await.unwrap().as_deref(), Some(&b"again"[..]));
}

/// Whatever damages them, a folder of one that was a record among them.
#[tokio::test]
async fn of_damaged_files_the_newest_eight_are_kept_and_no_record_is_read_from_them() {
    let folder = Folder::new("store-damage-bounded");
    let store = FileStore::open(&folder.0).unwrap();
    store.put("a/good", b"good", HOUR).await.unwrap();
    let path = folder.0.join("a/bad.rec");
    for number in 0..20 {
        match number % 5 {
            0 => {
                std::fs::create_dir(&path).unwrap();
                std::fs::copy(folder.0.join("a/good.rec"), path.join("x.rec")).unwrap();
            }
            _ => std::fs::write(&path, format!("damaged {number}")).unwrap(),
        }
        assert_eq!(store.get("a/bad").await.unwrap(), None);
        assert_eq!(store.list("").await.unwrap(), [("a/good".to_owned(), b"good".to_vec())]);
    }
    let entries = std::fs::read_dir(folder.0.join(".damaged")).unwrap();
    let mut kept: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    kept.sort_unstable();
    let kept = kept.iter().map(|path| std::fs::read_to_string(path).unwrap_or("folder".to_owned()));
    let expected = (12..20).map(|number| match number % 5 {
        0 => "folder".to_owned(),
        _ => format!("damaged {number}"),
    });
    assert_eq!(kept.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
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
    while folder.files() != ["kept.rec"] || folder.0.join("broken").exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A pipe that nothing is written to takes the place of a directory that takes long to look at.
#[cfg(unix)]
#[tokio::test]
async fn no_call_waits_until_expired_records_are_removed() {
    let folder = Folder::new("store-waits");
    let store = FileStore::open(&folder.0).unwrap();
    let pipe = folder.0.join("pipe.rec");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for _ in 0..1024 {
        store.put("key", b"value", HOUR).await.unwrap();
    }
    assert_eq!(store.get("key").await.unwrap().as_deref(), Some(&b"value"[..]));
    let both = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
    std::fs::remove_file(&pipe).unwrap();
    drop(both);
}

/// A machine that was not updated yet must not take the records of the others for damaged.
#[tokio::test]
async fn file_of_a_later_version_is_left_alone() {
    let folder = Folder::new("store-newer");
    let store = FileStore::open(&folder.0).unwrap();
    let path = folder.0.join("key.rec");
    for newer in ["smtp store 2\nkey\nsomething else", "smtp store 2\n\u{0}", "smtp store 10\n"] {
        std::fs::write(&path, newer).unwrap();
        assert_eq!(store.get("key").await.unwrap(), None);
        assert_eq!(store.list("").await.unwrap(), []);
        assert!(!store.put_new("key", b"claim", HOUR).await.unwrap());
        store.remove("key").await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), newer);
    }
    // A record that is put anew takes the place of the file, and nothing is lost.
    store.put("key", b"anew", HOUR).await.unwrap();
    assert_eq!(store.get("key").await.unwrap().as_deref(), Some(&b"anew"[..]));
    let kept = std::fs::read_to_string(folder.0.join("key.newer")).unwrap();
    assert_eq!(kept, "smtp store 10\n");
}

/// Whatever is in the place of a file, the other records are there, and the record can be put anew.
#[cfg(unix)]
#[tokio::test]
async fn folder_symlink_or_file_without_permission_spoils_no_other_record() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let folder = Folder::new("store-places");
    let store = FileStore::open(&folder.0).unwrap();
    store.put("good", b"good", HOUR).await.unwrap();
    let path = folder.0.join("bad.rec");
    let there = async |what: &str| {
        assert_eq!(store.get("bad").await.unwrap(), None, "{what}");
        assert_eq!(store.list("").await.unwrap(), [("good".to_owned(), b"good".to_vec())]);
        store.put("bad", b"anew", HOUR).await.unwrap();
        assert_eq!(store.get("bad").await.unwrap().as_deref(), Some(&b"anew"[..]), "{what}");
        store.remove("bad").await.unwrap();
    };
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("inside"), "inside").unwrap();
    there("folder").await;
    let aside = std::fs::read_dir(folder.0.join(".damaged")).unwrap().next().unwrap().unwrap();
    assert!(aside.path().join("inside").exists());
    std::fs::remove_dir_all(folder.0.join(".damaged")).unwrap();
    std::fs::write(folder.0.join(".damaged"), "in the way").unwrap();
    std::fs::write(&path, "damaged").unwrap();
    there("file that cannot be set aside").await;
    symlink(folder.0.join("nowhere"), &path).unwrap();
    there("dangling symlink").await;
    symlink(folder.0.join("good.rec"), &path).unwrap();
    there("symlink to the record of another key").await;
    std::fs::write(&path, "anything").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    there("file without permission").await;
}

#[tokio::test]
async fn list_looks_at_no_other_folder_than_that_of_its_prefix() {
    let folder = Folder::new("store-prefix");
    let store = FileStore::open(&folder.0).unwrap();
    store.put("a/b/c", b"1", HOUR).await.unwrap();
    store.put("a/bb/c", b"2", HOUR).await.unwrap();
    // In another folder a damaged file would be set aside.
    std::fs::create_dir(folder.0.join("d")).unwrap();
    std::fs::write(folder.0.join("d/e.rec"), "damaged").unwrap();
    for (prefix, found) in [("a/b/", 1), ("a/b", 2), ("a/bb/c", 1), ("a/x/", 0), ("x", 0)] {
        let listed = store.list(prefix).await.unwrap();
        assert_eq!(listed.len(), found, "{prefix}");
        assert_eq!(folder.0.join("d/e.rec").exists(), prefix.contains('/'), "{prefix}");
    }
}

/// A mail server, and senders that see its domain in different ways.
pub(crate) struct World {
    pki: Pki,
    server: Running,
}

impl World {
    pub(crate) async fn new() -> Self {
        let pki = Pki::new();
        let mut inbound = Inbound::new(Arc::new(smtp()));
        inbound.tls = Some(pki.server_config(HOST));
        let server = start(inbound).await;
        Self { pki, server }
    }

    /// A sender that finds the record of the policy, or cannot look it up.
    pub(crate) async fn sender(
        &self,
        record: bool,
        store: Option<&Arc<impl Store + 'static>>,
    ) -> Sender<Zone> {
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

pub(crate) async fn deliver(sender: &Sender<Zone>) -> RecipientStatus {
    let (connector, domain) = (connector(Posture::Opportunistic), Host::parse(DOMAIN).unwrap());
    let (envelope, message) =
        (envelope(&["reader@test.example"]), bytes::Bytes::from("Subject: x\r\n\r\nx\r\n"));
    let mail = Mail::new(&connector, &domain, &envelope, &message);
    let sent = tokio::time::timeout(Duration::from_secs(20), sender.send_mail(&mail));
    sent.await.expect("no delivery waits for a store").statuses()[0]
}

/// The policy forbids the host.
pub(crate) fn protected() -> RecipientStatus {
    RecipientStatus::Deferred(EnhancedCode::new(4, 7, 5))
}

async fn policy_of_one_protects_the_other(store: Arc<impl Store + 'static>) {
    let world = World::new().await;
    // Without a store, the sender that cannot look up the record knows no policy.
    assert_eq!(
        deliver(&world.sender(false, None::<&Arc<MemoryStore>>).await).await,
        RecipientStatus::Delivered
    );
    let before = world.sender(false, Some(&store)).await;
    assert_eq!(deliver(&world.sender(true, Some(&store)).await).await, protected());
    // One that was there before the policy, and one that comes after it.
    assert_eq!(deliver(&before).await, protected());
    let after = world.sender(false, Some(&store)).await;
    assert_eq!(deliver(&after).await, protected());
    assert!(after.refresh().await.is_some(), "it is refreshed before it expires");
    // A damaged record is set aside, and the next fetch brings it back.
    store.put("sts/test.example", b"nonsense", HOUR).await.unwrap();
    assert_eq!(deliver(&world.sender(false, Some(&store)).await).await, RecipientStatus::Delivered);
    assert_eq!(store.get("sts/test.example").await.unwrap(), None);
    let aside = store.get("damaged/sts/test.example").await.unwrap();
    assert_eq!(aside.as_deref(), Some(&b"nonsense"[..]));
    assert_eq!(deliver(&world.sender(true, Some(&store)).await).await, protected());
    assert!(store.get("sts/test.example").await.unwrap().is_some());
}

/// A fleet is updated one machine at a time: a machine that was not yet must not destroy what the
/// others have written.
#[tokio::test]
async fn policy_of_a_later_version_is_left_alone_and_named_once() {
    let (log, _guard) = Log::record();
    let (world, store) = (World::new().await, Arc::new(MemoryStore::new()));
    let newer = b"smtp-sts-policy 2\nwhatever a later version writes\xff";
    store.put("sts/test.example", newer, HOUR).await.unwrap();
    // One that cannot look up the record, and one that fetches the policy itself.
    for (record, expected) in [(false, RecipientStatus::Delivered), (true, protected())] {
        let sender = world.sender(record, Some(&store)).await;
        for _ in 0..2 {
            assert_eq!(deliver(&sender).await, expected);
            sender.refresh().await;
        }
        assert_eq!(store.get("sts/test.example").await.unwrap().as_deref(), Some(&newer[..]));
    }
    // Each of the two senders says so once.
    assert_eq!(log.with("is of a later version").len(), 2);
    assert!(log.with("is damaged").is_empty());
    assert_eq!(store.list("").await.unwrap().len(), 1);
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

/// RFC 8461, section 5.1 has mail go where no policy can be had; what is known of it elsewhere does
/// not help while the store is away.
#[tokio::test]
async fn policy_of_a_store_that_is_away_counts_as_absent_and_the_log_says_so_once() {
    let (log, _guard) = Log::record();
    let (world, switched) = (World::new().await, Arc::new(Switched::default()));
    let store = switched.clone();
    let other = world.sender(false, Some(&store)).await;
    assert_eq!(deliver(&world.sender(true, Some(&store)).await).await, protected());
    switched.turn(true);
    for _ in 0..3 {
        assert_eq!(deliver(&other).await, RecipientStatus::Delivered);
    }
    let warned = log.with("the store is away");
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("a policy that only the store has counts as absent"), "{warned:?}");
    switched.turn(false);
    assert_eq!(deliver(&other).await, protected());
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
    let store = Arc::new(redis_store(&redis));
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
    let store = Arc::new(store.with_time_limit(Duration::from_millis(200)));
    let world = World::new().await;
    let sender = world.sender(true, Some(&store)).await;
    assert_eq!(deliver(&sender).await, protected());
    let error = store.get("x").await.unwrap_err();
    assert_eq!(error.to_string(), "the store does not answer");
}
