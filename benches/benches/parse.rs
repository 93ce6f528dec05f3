//! Reading commands and replies, beside the fastest peers: Stalwart's parser, and mailrs, which
//! reads commands only. Neither looks at the grammar of addresses. A command is looked at where the
//! parser has put it: a copy can cost a third of the time, and is the caller's. `memchr` is the
//! floor: finding the line ends and nothing else.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use smtp_proto::wire::capabilities::{Capabilities, Extension};
use smtp_proto::wire::command::Command;
use smtp_proto::wire::path::AddressRules;
use smtp_proto::wire::reply::Reply;

const EHLO_REPLY: &[u8] = b"250-mx.test.example at your service, [192.0.2.1]\r\n\
    250-PIPELINING\r\n\
    250-SIZE 52428800\r\n\
    250-ETRN\r\n\
    250-STARTTLS\r\n\
    250-AUTH PLAIN LOGIN\r\n\
    250-ENHANCEDSTATUSCODES\r\n\
    250-8BITMIME\r\n\
    250-DSN\r\n\
    250 CHUNKING\r\n";

const REPLIES: [(&str, &[u8]); 2] = [
    ("reply, 1 line", b"250 2.0.0 OK: queued as 4bXyZ01234\r\n"),
    (
        "reply, 5 lines",
        b"550-5.7.1 This message was refused by the policy of this host.\r\n\
          550-5.7.1 The sending address is not known to it,\r\n\
          550-5.7.1 or the sending host is not allowed to use it.\r\n\
          550-5.7.1 See https://postmaster.test.example/refused\r\n\
          550 5.7.1 for more information.\r\n",
    ),
];

const COMMANDS: [(&str, &[u8]); 3] = [
    ("EHLO", b"EHLO client.test.example\r\n"),
    ("MAIL + SIZE + BODY", b"MAIL FROM:<sender@client.test.example> SIZE=10240 BODY=8BITMIME\r\n"),
    ("RCPT", b"RCPT TO:<recipient@mx.test.example>\r\n"),
];

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));

    let mut capabilities = Capabilities::default();
    group.bench_function(BenchmarkId::new("ours", "EHLO reply, 10 lines"), |bencher| {
        bencher.iter(|| {
            let reply = Reply::parse(black_box(EHLO_REPLY)).unwrap().unwrap();
            capabilities.replace(&reply);
            black_box(capabilities.has(Extension::StartTls))
        });
    });
    group.bench_function(BenchmarkId::new("stalwart", "EHLO reply, 10 lines"), |bencher| {
        bencher.iter(|| {
            let reply = stalwart_smtp_proto::EhloResponse::parse(&mut black_box(EHLO_REPLY).iter())
                .unwrap();
            black_box(reply.capabilities())
        });
    });
    group.bench_function(BenchmarkId::new("memchr", "EHLO reply, 10 lines"), |bencher| {
        bencher.iter(|| memchr::memchr_iter(b'\n', black_box(EHLO_REPLY)).count());
    });

    for (name, reply) in REPLIES {
        group.bench_with_input(BenchmarkId::new("ours", name), reply, |bencher, input| {
            bencher.iter(|| {
                let reply = Reply::parse(black_box(input)).unwrap().unwrap();
                black_box((reply.code(), reply.enhanced()))
            });
        });
        group.bench_with_input(BenchmarkId::new("stalwart", name), reply, |bencher, input| {
            bencher.iter(|| {
                let mut receiver =
                    stalwart_smtp_proto::response::parser::ResponseReceiver::default();
                black_box(receiver.parse(&mut black_box(input).iter()).unwrap())
            });
        });
        group.bench_with_input(BenchmarkId::new("memchr", name), reply, |bencher, input| {
            bencher.iter(|| memchr::memchr_iter(b'\n', black_box(input)).count());
        });
    }

    for (name, line) in COMMANDS {
        group.bench_with_input(BenchmarkId::new("ours", name), line, |bencher, input| {
            bencher.iter(|| {
                let input = black_box(input);
                let end = memchr::memchr(b'\r', input).unwrap();
                assert!(black_box(&Command::parse(&input[..end], AddressRules::STRICT)).is_ok());
            });
        });
        group.bench_with_input(BenchmarkId::new("stalwart", name), line, |bencher, input| {
            bencher.iter(|| {
                assert!(
                    black_box(&stalwart_smtp_proto::Request::parse(&mut black_box(input).iter()))
                        .is_ok()
                );
            });
        });
        group.bench_with_input(BenchmarkId::new("mailrs", name), line, |bencher, input| {
            bencher.iter(|| {
                let input = black_box(input);
                let end = memchr::memchr(b'\r', input).unwrap();
                let line = std::str::from_utf8(&input[..end]).unwrap();
                assert!(black_box(&mailrs_smtp_proto::parse_command(line)).is_ok());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
