//! What a transaction on a kept connection costs in memory, by itself and as a whole delivery: a
//! few boxes and one buffer, and nothing stays.

mod common;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use smtp_proto::client::Envelope;
use smtp_proto::route::RecipientStatus;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::{OutboundConnectors, Posture};
use smtp_tls_policy::{Domain, Host};
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::{Io, PoolLimits, Sender, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Says yes to everything, and takes no memory.
async fn server(mut stream: impl Io) {
    let mut buffer = [0; 128 * 1024];
    let mut filled = 0;
    let mut in_body = false;
    stream.write_all(b"220 mx\r\n").await.unwrap();
    loop {
        let read = stream.read(&mut buffer[filled..]).await.unwrap();
        filled += read;
        if read == 0 {
            return;
        }
        let input = &buffer[..filled];
        let reply: &[u8] = match input {
            _ if in_body && !input.ends_with(b"\r\n.\r\n") => {
                // Only how it ends is of interest.
                if filled > 64 * 1024 {
                    buffer.copy_within(filled - 8..filled, 0);
                    filled = 8;
                }
                continue;
            }
            _ if in_body => b"250 2.0.0 queued\r\n",
            _ if input.starts_with(b"EHLO") => {
                b"250-mx\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE\r\n"
            }
            _ if input.ends_with(b"DATA\r\n") => b"250 OK\r\n250 OK\r\n354 go\r\n",
            _ => continue,
        };
        in_body = reply.ends_with(b"go\r\n");
        filled = 0;
        stream.write_all(reply).await.unwrap();
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn third_transaction(size: usize) -> AllocationInfo {
    let runtime = runtime();
    let pki = common::Pki::new();
    let outbound = common::outbound(&pki);
    let plan = common::plan_for(&common::connector(Posture::None), false);
    let host: Host = "mx.test.example".parse().unwrap();
    let target = Target::new(&host, &plan);
    let (ours, theirs) = duplex(64 * 1024);
    runtime.spawn(server(theirs));
    let mut connection = runtime.block_on(outbound.open(&target, ours)).unwrap();
    let body = b"A line of text of the usual length, as people and programs write it.\r\n"
        .repeat(size / 70);
    let mut envelope = common::envelope(&["a@test.example"]);
    envelope.size = Some(body.len() as u64);
    let envelope = Arc::new(envelope);
    let mut transaction = || {
        let mut source = &body[..];
        let delivery = runtime.block_on(connection.send(Arc::clone(&envelope), &mut source));
        assert!(delivery.end.is_ok(), "{delivery:?}");
    };
    transaction();
    transaction();
    measure(transaction)
}

fn sender(posture: Posture, port: u16) -> Sender<Zone> {
    let (domain, host) = ("test.example", "mx.test.example");
    let (domain, host) = (Domain::parse(domain).unwrap(), Domain::parse(host).unwrap());
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.add_mx(&domain, 10, &host).add_host(&host, [Ipv4Addr::LOCALHOST.into()]);
    let connectors = OutboundConnectors::new(vec![common::connector(posture)]).unwrap();
    let outbound = common::outbound(&common::Pki::new());
    let sender = Sender::new(outbound, Arc::new(connectors), zone).unwrap();
    let mut limits = PoolLimits::default();
    // On a slow machine a second may pass between two deliveries.
    (limits.per_host, limits.facts) = (1, Duration::from_secs(3600));
    sender.with_route(|route| route.port = port).with_pool(limits)
}

fn message() -> (Arc<Envelope>, Bytes) {
    let mut envelope = common::envelope(&["a@test.example"]);
    envelope.size = Some(1024);
    (Arc::new(envelope), Bytes::from(vec![b'x'; 1024]))
}

/// A whole delivery over a connection that the pool has kept.
fn third_delivery(posture: Posture) -> AllocationInfo {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    // Only what the thread of the sender takes is counted.
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        runtime().block_on(async { server(TcpStream::from_std(stream).unwrap()).await });
    });
    let (runtime, sender, (envelope, message)) = (runtime(), sender(posture, port), message());
    let delivery = || {
        let report = runtime.block_on(sender.send(Arc::clone(&envelope), &message));
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    };
    delivery();
    delivery();
    measure(delivery)
}

#[test]
fn delivery_on_a_kept_connection_takes_little_memory_and_all_of_it_is_freed() {
    for (posture, most) in [(Posture::None, 13), (Posture::Opportunistic, 13)] {
        let taken = third_delivery(posture);
        assert!(taken.count_total <= most && taken.bytes_max < 8 * 1024, "{posture}: {taken:?}");
        assert_eq!((taken.count_current, taken.bytes_current), (0, 0), "{posture}");
    }
}

/// Ten thousand deliveries may wait for their turn.
#[test]
fn delivery_that_waits_for_its_turn_holds_little_memory() {
    let runtime = runtime();
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let sender = sender(Posture::None, listener.local_addr().unwrap().port());
    let (envelope, message) = message();
    let _entered = runtime.enter();
    let mut cx = Context::from_waker(Waker::noop());
    // The first delivery has the only connection, and its server says nothing.
    let mut first = Box::pin(sender.send(Arc::clone(&envelope), &message));
    let mut second = Box::pin(sender.send(envelope, &message));
    assert!(first.as_mut().poll(&mut cx).is_pending());
    let held = measure(|| assert!(second.as_mut().poll(&mut cx).is_pending()));
    let size = size_of_val(&*second) as i64;
    assert!(size + held.bytes_current < 7 * 1024, "{size}: {held:?}");
}

#[test]
fn message_takes_little_memory_and_all_of_it_is_freed() {
    // The list of recipients, the two replies that are kept, the buffer through which the body
    // goes, and room for what the server says at each of two waits: nothing is held while there is
    // nothing in it.
    let small = third_transaction(1024);
    assert!(small.count_total <= 6 && small.bytes_total < 2 * 1024, "{small:?}");
    // Besides, the output grows for each piece of the body.
    let large = third_transaction(100 * 1024);
    assert!(large.count_total <= 11 && large.bytes_max < 192 * 1024, "{large:?}");
    assert_eq!(
        (small.count_current, small.bytes_current, large.count_current, large.bytes_current),
        (0, 0, 0, 0)
    );
}
