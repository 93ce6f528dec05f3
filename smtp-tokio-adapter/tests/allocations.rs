//! What a transaction on a kept connection costs in memory: a few boxes and one buffer, and nothing
//! stays.

mod common;

use std::sync::Arc;

use allocation_counter::{AllocationInfo, measure};
use smtp_tls_policy::Host;
use smtp_tls_policy::rules::Posture;
use smtp_tokio_adapter::Target;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

/// Says yes to everything, and takes no memory.
async fn server(mut stream: DuplexStream) {
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

fn third_transaction(size: usize) -> AllocationInfo {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pki = common::Pki::new();
    let outbound = common::outbound(&pki);
    let plan = common::plan_for(&common::connector(Posture::None), false);
    let host: Host = "mx.test.example".parse().unwrap();
    let target = Target::new(&host, &plan);
    let (ours, theirs) = duplex(64 * 1024);
    runtime.spawn(server(theirs));
    let mut connection = runtime.block_on(outbound.open(&target, ours)).unwrap();
    let envelope = Arc::new(common::envelope(&["a@test.example"]));
    let body = b"A line of text of the usual length, as people and programs write it.\r\n"
        .repeat(size / 70);
    let mut transaction = || {
        let mut source = &body[..];
        let delivery = runtime.block_on(connection.send(Arc::clone(&envelope), &mut source));
        assert!(delivery.end.is_ok(), "{delivery:?}");
    };
    transaction();
    transaction();
    measure(transaction)
}

#[test]
fn message_takes_little_memory_and_all_of_it_is_freed() {
    // The list of recipients, the two replies that are kept, the buffer through which the body
    // goes, and room for what the server says at each of two waits: nothing is held while there is
    // nothing in it.
    let small = third_transaction(1024);
    assert!(small.count_total <= 6 && small.bytes_total < 73 * 1024, "{small:?}");
    // Besides, the output grows for each piece of the body.
    let large = third_transaction(100 * 1024);
    assert!(large.count_total <= 11 && large.bytes_max < 192 * 1024, "{large:?}");
    assert_eq!(
        (small.count_current, small.bytes_current, large.count_current, large.bytes_current),
        (0, 0, 0, 0)
    );
}
