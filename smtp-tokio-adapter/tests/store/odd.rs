//! Odd answers of a Redis server.

use std::sync::Arc;
use std::time::Duration;

use smtp_tokio_adapter::store::{MAX_VALUE_LEN, RedisStore, Store, StoreError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::common::log::Log;
use crate::places::{Redis, redis_store};

const HOUR: Duration = Duration::from_secs(3600);
const LIMIT: Duration = Duration::from_millis(300);
/// What never ends by itself fails after this.
const HANG: Duration = Duration::from_secs(60);

/// A server that gives the same answer to each command.
async fn answering(answer: &[u8]) -> RedisStore {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    let answer: Arc<[u8]> = answer.into();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&answer)));
        }
    });
    RedisStore::new(&url).unwrap().with_time_limit(LIMIT)
}

async fn serve(mut stream: TcpStream, answer: Arc<[u8]>) -> Option<()> {
    let mut octets = vec![0; 4096];
    loop {
        let count = stream.read(&mut octets).await.ok().filter(|count| *count > 0)?;
        // Commands are arrays (RESP), and none of ours has another array in it.
        let commands = octets[..count].iter().filter(|octet| **octet == b'*').count();
        for _ in 0..commands {
            stream.write_all(&answer).await.ok()?;
        }
    }
}

#[tokio::test]
async fn odd_answers_are_typed_errors() {
    let endless = [&b"$1000000\r\n"[..], &[b'x'; 1000]].concat();
    let nested = b"*1\r\n".repeat(100_000);
    for (what, answer) in [
        ("MOVED", &b"-MOVED 1 127.0.0.1:1\r\n"[..]),
        ("ASK", b"-ASK 1 127.0.0.1:1\r\n"),
        ("LOADING", b"-LOADING Redis is loading the dataset in memory\r\n"),
        ("NOAUTH", b"-NOAUTH Authentication required.\r\n"),
        ("NOPERM", b"-NOPERM this user has no permissions\r\n"),
        ("MISCONF", b"-MISCONF Redis is configured to save RDB snapshots\r\n"),
        ("CLUSTERDOWN", b"-CLUSTERDOWN Hash slot not served\r\n"),
        ("other error", b"-ERR max number of clients reached\r\n"),
        ("no code", b"-\r\n"),
        ("array", b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("no end", &endless),
        ("deep array", &nested),
        ("web server", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ("mail server", b"220 mx ESMTP\r\n"),
        ("octets", b"\0\xff\r\n"),
        ("silence", b""),
    ] {
        let store = answering(answer).await;
        let found = timeout(HANG, store.get("key")).await.unwrap();
        assert!(
            matches!(found, Err(StoreError::Server(_) | StoreError::Away)),
            "{what}: {found:?}"
        );
        let code = found.unwrap_err().code();
        assert!(["store-server", "store-away"].contains(&code), "{what}: {code}");
        let found = timeout(HANG, store.list("")).await.unwrap();
        assert!(found.is_err(), "{what}: {found:?}");
        let put = timeout(HANG, store.put_new("key", b"value", HOUR)).await.unwrap();
        assert!(put.is_err(), "{what}");
    }
}

#[tokio::test]
async fn value_that_is_no_string_is_absent_and_spoils_no_other_record() {
    let (log, _guard) = Log::record();
    let Some(redis) = Redis::start(None).await else { return };
    let store = redis_store(&redis);
    store.put("sts/good", b"good", HOUR).await.unwrap();
    let mut console = TcpStream::connect(("127.0.0.1", redis.port)).await.unwrap();
    console.write_all(b"LPUSH smtp:sts/alien x\r\n").await.unwrap();
    let mut added = [0; 4];
    console.read_exact(&mut added).await.unwrap();
    assert_eq!(&added, b":1\r\n");
    for _ in 0..2 {
        assert_eq!(store.get("sts/alien").await.unwrap(), None);
        let found = store.list("sts/").await.unwrap();
        assert_eq!(found, [("sts/good".to_owned(), b"good".to_vec())]);
    }
    assert_eq!(log.with("is no string").len(), 1);
    assert!(!store.put_new("sts/alien", b"claim", HOUR).await.unwrap());
    store.put("sts/alien", b"anew", HOUR).await.unwrap();
    assert_eq!(store.get("sts/alien").await.unwrap().as_deref(), Some(&b"anew"[..]));
}

/// What the server sent to its clients so far, in octets.
async fn sent_by_server(console: &mut TcpStream) -> u64 {
    console.write_all(b"INFO stats\r\n").await.unwrap();
    let mut said = String::new();
    let sent = loop {
        let mut octets = [0; 4096];
        let count = console.read(&mut octets).await.unwrap();
        assert_ne!(count, 0);
        said.push_str(std::str::from_utf8(&octets[..count]).unwrap());
        let sent =
            said.split_once("total_net_output_bytes:").and_then(|(_, it)| it.split_once('\r'));
        if let Some((sent, _)) = sent.filter(|_| said.ends_with("\r\n")) {
            break sent;
        }
    };
    sent.parse().unwrap()
}

#[tokio::test]
async fn value_of_any_length_costs_no_more_than_the_longest_record() {
    let Some(redis) = Redis::start(None).await else { return };
    let store = redis_store(&redis);
    let longest = vec![b'x'; MAX_VALUE_LEN];
    store.put("longest", &longest, HOUR).await.unwrap();
    assert_eq!(store.get("longest").await.unwrap(), Some(longest));
    let mut console = TcpStream::connect(("127.0.0.1", redis.port)).await.unwrap();
    console.write_all(b"SETRANGE smtp:huge 99999999 x\r\n").await.unwrap();
    let mut length = [0; 12];
    console.read_exact(&mut length).await.unwrap();
    assert_eq!(&length, b":100000000\r\n");
    let before = sent_by_server(&mut console).await;
    assert_eq!(store.get("huge").await.unwrap(), None);
    let cost = sent_by_server(&mut console).await - before;
    assert!(cost < 2 * MAX_VALUE_LEN as u64, "{cost}");
}
