//! Both machines in memory, a body of 10 KiB: a whole connection from greeting to QUIT, and one
//! transaction of a connection that has had some. Beside the server that of mailrs, which leaves
//! lines and the end of the body to its caller.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use mailrs_smtp_proto as mailrs;
use smtp_proto::channel::Channel;
use smtp_proto::client;
use smtp_proto::client::{Client, Envelope, Recipient};
use smtp_proto::fallback::TlsRules;
use smtp_proto::server;
use smtp_proto::server::Server;
use smtp_proto::wire::reply::Response;
use smtp_proto::{Step, Want};

fn body() -> Vec<u8> {
    b"A line of text of the usual length, as people and programs write it.\r\n".repeat(147)
}

const GREETING: [&[u8]; 2] = [
    b"220 mx.test.example ESMTP\r\n",
    b"250-mx.test.example\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n",
];
const TRANSACTION: [&[u8]; 2] = [
    b"250 2.1.0 OK\r\n250 2.1.5 OK\r\n354 go ahead\r\n",
    b"250 2.0.0 OK: queued as 4bXyZ01234\r\n",
];
const END: [&[u8]; 1] = [b"221 2.0.0 bye\r\n"];

/// Feeds the client what the server says, one read at a time; starts a transaction, or says QUIT,
/// when it can.
fn drive_client<'r>(
    client: &mut Client,
    now: Instant,
    reads: impl IntoIterator<Item = &'r [u8]>,
    envelope: &Arc<Envelope>,
    body: &[u8],
    output: &mut Vec<u8>,
) {
    for read in reads {
        let mut input = read;
        loop {
            let progress = client.poll(input, output, now).unwrap();
            input = &input[progress.consumed..];
            match progress.step {
                Step::Wait(_) => break,
                Step::Event(client::ClientEvent::Ready) => {
                    client.start_transaction(Arc::clone(envelope), now).unwrap()
                }
                Step::Event(client::ClientEvent::SendBody) => {
                    client.write_body(body, output, now).unwrap();
                    client.end_body(output, now).unwrap();
                }
                Step::Event(client::ClientEvent::Finished(outcome)) => drop(black_box(outcome)),
                Step::Event(client::ClientEvent::Closed) => return,
                Step::Event(_) => {}
            }
        }
        black_box(&output);
        output.clear();
    }
}

const OK: Response = Response::fixed(250, (2, 0, 0), "OK");
const READY: Response = Response::fixed(220, (2, 0, 0), "ready");
const GO: Response = Response::fixed(354, (3, 0, 0), "go ahead");

/// Feeds the server what the client says, one read at a time, and takes everything.
fn drive_server(
    server: &mut Server,
    now: Instant,
    reads: &[&[u8]],
    spool: &mut Vec<u8>,
    output: &mut Vec<u8>,
) {
    spool.clear();
    for &read in reads {
        let mut input = read;
        loop {
            let progress = server.poll(input, output, now).unwrap();
            input = &input[progress.consumed..];
            let response = match progress.step {
                Step::Wait(want) => {
                    assert_eq!(want, Want::Input);
                    break;
                }
                Step::Event(server::ServerEvent::Body(runs)) => {
                    runs.for_each(|run| spool.extend_from_slice(run));
                    continue;
                }
                Step::Event(server::ServerEvent::Closed) => break,
                Step::Event(server::ServerEvent::Connected) => &READY,
                Step::Event(server::ServerEvent::Data) => &GO,
                Step::Event(_) => &OK,
            };
            server.respond(response, output).unwrap();
        }
        black_box(&output);
        output.clear();
    }
    black_box(&spool);
}

/// The same with the machine of mailrs; here is what it leaves to its caller.
fn drive_mailrs(session: &mut mailrs::Session, reads: &[&[u8]], output: &mut Vec<u8>) {
    let mut spool = Vec::new();
    let mut in_body = false;
    for &read in reads {
        let mut input = read;
        while !input.is_empty() {
            if std::mem::take(&mut in_body) {
                let end = memchr::memmem::find(input, b"\r\n.\r\n").unwrap() + 5;
                spool = mailrs::unstuff_data(&input[..end]);
                output.extend_from_slice(mailrs::Response::data_ok().format().as_bytes());
                input = &input[end..];
                continue;
            }
            let end = memchr::memchr(b'\r', input).unwrap();
            let command =
                mailrs::parse_command(std::str::from_utf8(&input[..end]).unwrap()).unwrap();
            input = &input[end + 2..];
            let response = match session.handle_command(&command) {
                mailrs::Event::Reply(_) if matches!(command, mailrs::Command::Ehlo(_)) => {
                    mailrs::format_ehlo_response(&session.hostname, &session.capabilities())
                }
                mailrs::Event::Reply(response) | mailrs::Event::Shutdown(response) => {
                    response.format()
                }
                mailrs::Event::NeedData { reverse_path, forward_paths } => {
                    black_box((reverse_path, forward_paths));
                    in_body = true;
                    mailrs::Response::data_start().format()
                }
                _ => unreachable!("no TLS, no AUTH"),
            };
            output.extend_from_slice(response.as_bytes());
        }
        black_box(&output);
        output.clear();
    }
    black_box(&spool);
}

fn sessions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session, 10 KiB");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    let (now, body) = (Instant::now(), body());
    let (mut output, mut spool) = (Vec::with_capacity(64 * 1024), Vec::with_capacity(64 * 1024));

    let config = Arc::new(client::ClientConfig::new("client.test.example".parse().unwrap()));
    let envelope = Arc::new({
        let mut envelope = Envelope::new(
            "sender@client.test.example".parse().unwrap(),
            ["recipient@mx.test.example".parse::<Recipient>().unwrap()],
        );
        envelope.size = Some(body.len() as u64);
        envelope
    });
    group.bench_function("client, connection", |bencher| {
        bencher.iter(|| {
            let mut client = Client::new(Arc::clone(&config), TlsRules::Never, Channel::Plain, now);
            let reads = GREETING.into_iter().chain(TRANSACTION);
            drive_client(&mut client, now, reads, &envelope, &body, &mut output);
            client.quit().unwrap();
            let _ = client.poll(b"", &mut output, now).unwrap();
            drive_client(&mut client, now, END, &envelope, &body, &mut output);
        });
    });
    let mut client = Client::new(Arc::clone(&config), TlsRules::Never, Channel::Plain, now);
    drive_client(
        &mut client,
        now,
        GREETING.into_iter().chain(TRANSACTION),
        &envelope,
        &body,
        &mut output,
    );
    group.bench_function("client, transaction", |bencher| {
        bencher.iter(|| {
            client.start_transaction(Arc::clone(&envelope), now).unwrap();
            let _ = client.poll(b"", &mut output, now).unwrap();
            drive_client(&mut client, now, TRANSACTION, &envelope, &body, &mut output);
        });
    });

    let config = Arc::new(server::ServerConfig::new("mx.test.example".parse().unwrap()));
    let hello: &[u8] = b"EHLO client.test.example\r\n";
    let opening: &[u8] = b"MAIL FROM:<sender@client.test.example> BODY=8BITMIME\r\n\
        RCPT TO:<recipient@mx.test.example>\r\nDATA\r\n";
    let message = [&body[..], b".\r\n"].concat();
    group.bench_function("server, connection", |bencher| {
        bencher.iter(|| {
            let mut server = Server::new(Arc::clone(&config), Channel::Plain, now);
            let reads = [b"", hello, opening, &message, b"QUIT\r\n"];
            drive_server(&mut server, now, &reads, &mut spool, &mut output);
        });
    });
    let mut server = Server::new(config, Channel::Plain, now);
    drive_server(&mut server, now, &[b"", hello], &mut spool, &mut output);
    group.bench_function("server, transaction", |bencher| {
        bencher
            .iter(|| drive_server(&mut server, now, &[opening, &message], &mut spool, &mut output));
    });
    group.bench_function("server, connection, mailrs", |bencher| {
        bencher.iter(|| {
            let mut session =
                mailrs::Session::new("mx.test.example", mailrs::SessionConfig::default());
            let greeting = mailrs::Response::greeting(&session.hostname).format_greeting();
            output.extend_from_slice(greeting.as_bytes());
            drive_mailrs(&mut session, &[hello, opening, &message, b"QUIT\r\n"], &mut output);
        });
    });
    let mut session = mailrs::Session::new("mx.test.example", mailrs::SessionConfig::default());
    drive_mailrs(&mut session, &[hello], &mut output);
    group.bench_function("server, transaction, mailrs", |bencher| {
        bencher.iter(|| drive_mailrs(&mut session, &[opening, &message], &mut output));
    });
    group.bench_function("copying the body alone", |bencher| {
        bencher.iter(|| {
            spool.clear();
            spool.extend_from_slice(black_box(&body));
            black_box(&spool);
        });
    });
    group.finish();
}

criterion_group!(benches, sessions);
criterion_main!(benches);
