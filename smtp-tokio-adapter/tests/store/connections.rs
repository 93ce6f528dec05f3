//! Connections to a Redis server that are lost, and servers that change their part.

use std::net::SocketAddr;
use std::time::Duration;

use smtp_tokio_adapter::store::{RedisStore, Store};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::places::{Redis, redis_store};

const HOUR: Duration = Duration::from_secs(3600);

/// The first line of the answer to a command.
async fn command(redis: &Redis, command: &str) -> String {
    let mut console = TcpStream::connect(("127.0.0.1", redis.port)).await.unwrap();
    console.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
    let mut line = String::new();
    BufReader::new(console).read_line(&mut line).await.unwrap();
    line.trim().to_owned()
}

/// How many clients the server has, the console not counted.
async fn clients(redis: &Redis) -> usize {
    let mut console = TcpStream::connect(("127.0.0.1", redis.port)).await.unwrap();
    console.write_all(b"CLIENT LIST\r\nPING\r\n").await.unwrap();
    let mut lines = BufReader::new(console).lines();
    let mut count = 0;
    while let Some(line) = lines.next_line().await.unwrap().filter(|line| line != "+PONG") {
        count += usize::from(line.starts_with("id="));
    }
    count - 1
}

/// A server or a proxy closes what is idle for a while. A policy that only the store has must not
/// count as absent for that.
#[tokio::test]
async fn call_after_the_server_has_closed_the_connection_is_made_on_a_new_one() {
    let Some(redis) = Redis::start(None).await else { return };
    let store = redis_store(&redis);
    store.put("key", b"value", HOUR).await.unwrap();
    let mut killed = 0;
    for number in 0..4 {
        let answer = command(&redis, "CLIENT KILL TYPE normal SKIPME yes").await;
        killed += answer.trim_start_matches(':').parse::<usize>().unwrap();
        match number {
            0 => assert_eq!(store.get("key").await.unwrap().as_deref(), Some(&b"value"[..])),
            1 => store.put("key", b"value", HOUR).await.unwrap(),
            2 => assert!(!store.put_new("key", b"other", HOUR).await.unwrap()),
            _ => assert_eq!(store.list("k").await.unwrap(), [("key".into(), b"value".into())]),
        }
    }
    assert!(killed >= 4, "{killed}");
    // By the server's own limit.
    assert_eq!(command(&redis, "CONFIG SET timeout 1").await, "+OK");
    while clients(&redis).await > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(store.get("key").await.unwrap().as_deref(), Some(&b"value"[..]));
}

/// A proxy that leads each new connection to the next of these servers, and later ones to the last.
async fn proxy(servers: Vec<u16>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut client, _) = listener.accept().await.unwrap();
            let port = servers[number.min(servers.len() - 1)];
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    address
}

/// After a failover the connection that is kept leads to a replica, which takes no writes.
#[tokio::test]
async fn write_that_a_replica_refuses_goes_to_the_primary_on_a_new_connection() {
    let Some(replica) = Redis::start(None).await else { return };
    let primary = Redis::start(None).await.unwrap();
    let address = proxy(vec![replica.port, primary.port]).await;
    let store = RedisStore::new(&format!("redis://{address}/")).unwrap();
    store.put("key", b"before", HOUR).await.unwrap();
    // It has no primary to follow, and refuses writes all the same.
    assert_eq!(command(&replica, "REPLICAOF 127.0.0.1 1").await, "+OK");
    store.put("key", b"after", HOUR).await.unwrap();
    assert_eq!(store.get("key").await.unwrap().as_deref(), Some(&b"after"[..]));
    assert_eq!(redis_store(&primary).get("key").await.unwrap().as_deref(), Some(&b"after"[..]));

    // Where each connection leads to a replica, reading goes on, and a later write is tried anew.
    let address = proxy(vec![replica.port, replica.port, primary.port]).await;
    let store = RedisStore::new(&format!("redis://{address}/")).unwrap();
    assert_eq!(store.get("key").await.unwrap().as_deref(), Some(&b"before"[..]));
    let refused = store.put("key", b"lost", HOUR).await.unwrap_err().to_string();
    assert!(refused.contains("READONLY") || refused.contains("read only"), "{refused}");
    store.put("key", b"last", HOUR).await.unwrap();
    assert_eq!(redis_store(&primary).get("key").await.unwrap().as_deref(), Some(&b"last"[..]));
}
