//! What costs no allocation: every parser, and a transaction on a connection that has had one.

mod common;

use std::sync::Arc;
use std::time::Instant;

use allocation_counter::measure;
use common::{client_config, envelope, server_config};
use smtp_proto::channel::Channel;
use smtp_proto::client;
use smtp_proto::client::Client;
use smtp_proto::fallback::TlsRules;
use smtp_proto::server;
use smtp_proto::server::Server;
use smtp_proto::wire::capabilities::Capabilities;
use smtp_proto::wire::command::Command;
use smtp_proto::wire::path::AddressRules;
use smtp_proto::wire::reply::{Reply, Response};
use smtp_proto::{Step, Want};

const EHLO: &[u8] = b"250-mx\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250-X y\r\n250 8BITMIME\r\n";

#[test]
fn allocations_are_seen() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![1]))).count_total, 1);
}

#[test]
fn parsers_do_not_allocate() {
    let mut capabilities = Capabilities::of(&Reply::parse(EHLO).unwrap().unwrap());
    let info = measure(|| {
        let reply = Reply::parse(EHLO).unwrap().unwrap();
        assert_eq!(reply.lines().count(), 5);
        capabilities.replace(&reply);
        let reply = Reply::parse(b"550-5.1.1 no\r\n550 5.1.1 user\r\n").unwrap().unwrap();
        assert!(reply.enhanced().is_some());
        for line in [
            "EHLO client.test.example",
            "MAIL FROM:<@a,@b:\"a b\"@[IPv6:::1]> SIZE=1 BODY=8BITMIME",
            "RCPT TO:<b@test.example>",
            "WHAT",
            "MAIL FROM:<>>",
        ] {
            let _ = Command::parse(line.as_bytes(), AddressRules::STRICT);
        }
    });
    assert_eq!(info.count_total, 0);
}

fn client_transaction(
    client: &mut Client,
    mail: &Arc<client::Envelope>,
    now: Instant,
    output: &mut Vec<u8>,
) {
    client.start_transaction(Arc::clone(mail), now).unwrap();
    let mut finished = false;
    for mut input in
        [&b""[..], b"250 OK\r\n250 OK\r\n550 5.1.1 no\r\n354 go\r\n", b"250 2.0.0 queued\r\n"]
    {
        loop {
            let progress = client.poll(input, output, now).unwrap();
            input = &input[progress.consumed..];
            match progress.step {
                Step::Wait(_) => break,
                Step::Event(client::ClientEvent::SendBody) => {
                    client.write_body(b"Subject: x\r\n\r\n.dot\r\n", output, now).unwrap();
                    client.end_body(output, now).unwrap();
                }
                Step::Event(client::ClientEvent::Finished(client::Outcome::Accepted(_))) => {
                    finished = true
                }
                Step::Event(_) => {}
            }
        }
        output.clear();
    }
    assert!(finished);
}

#[test]
fn a_warm_client_does_not_allocate() {
    let now = Instant::now();
    let mut client = Client::new(Arc::new(client_config()), TlsRules::Never, Channel::Plain, now);
    let mail = Arc::new(envelope("sender@test.example", &["a@test.example", "b@test.example"]));
    let mut output = Vec::new();
    for mut input in [&b"220 mx\r\n"[..], EHLO] {
        while let Step::Event(_) = {
            let progress = client.poll(input, &mut output, now).unwrap();
            input = &input[progress.consumed..];
            progress.step
        } {}
    }
    client_transaction(&mut client, &mail, now, &mut output);
    let info = measure(|| client_transaction(&mut client, &mail, now, &mut output));
    assert_eq!(info.count_total, 0);
}

fn server_transaction(server: &mut Server, now: Instant, output: &mut Vec<u8>) {
    const OK: Response = Response::fixed(250, (2, 0, 0), "OK");
    const GO: Response = Response::fixed(354, (3, 0, 0), "go ahead");
    let mut taken = false;
    let mut octets = 0;
    for mut input in [
        &b"MAIL FROM:<a@test.example> BODY=8BITMIME\r\nRCPT TO:<b@test.example>\r\nWHAT\r\nDATA\r\n"[..],
        b"Subject: x\r\n\r\n..dot\r\n",
        b".\r\n",
    ] {
        loop {
            let progress = server.poll(input, output, now).unwrap();
            input = &input[progress.consumed..];
            let response = match progress.step {
                Step::Wait(want) => {
                    assert_eq!(want, Want::Input);
                    break;
                }
                Step::Event(server::ServerEvent::Body(runs)) => {
                    octets += runs.map(<[u8]>::len).sum::<usize>();
                    continue;
                }
                Step::Event(server::ServerEvent::Data) => &GO,
                Step::Event(event) => {
                    taken |= matches!(event, server::ServerEvent::EndOfBody);
                    &OK
                }
            };
            server.respond(response, output).unwrap();
        }
        output.clear();
    }
    assert!(taken && octets == 20);
}

#[test]
fn a_warm_server_does_not_allocate() {
    let now = Instant::now();
    let mut server = Server::new(Arc::new(server_config()), Channel::Plain, now);
    let mut output = Vec::new();
    let _ = server.poll(b"", &mut output, now).unwrap();
    server.respond(&Response::fixed(220, (2, 0, 0), "ready"), &mut output).unwrap();
    let _ = server.poll(b"EHLO c\r\n", &mut output, now).unwrap();
    server.respond(&Response::fixed(250, (2, 0, 0), "OK"), &mut output).unwrap();
    server_transaction(&mut server, now, &mut output);
    let info = measure(|| server_transaction(&mut server, now, &mut output));
    assert_eq!(info.count_total, 0);
}
