//! What a message to many recipients costs: as much again for each of them, however many there are.
//! Counted in memory that the sender takes.

mod common;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use smtp_proto::client::Envelope;
use smtp_proto::route::RecipientStatus;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::Domain;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::{OutboundConnectors, Posture};
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::{PoolLimits, Sender};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// From each to the next there are four times as many more.
const COUNTS: [usize; 3] = [32, 128, 512];

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Answers RCPT with this reply, and takes the message.
async fn serve(stream: TcpStream, to_recipient: &str) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let (mut line, mut in_body) = (String::new(), false);
    stream.write_all(b"220 mx\r\n").await?;
    while stream.read_line(&mut line).await? > 0 {
        let reply = match &line[..line.len().min(4)] {
            _ if in_body && line != ".\r\n" => "",
            _ if in_body => "250 2.0.0 queued\r\n",
            "EHLO" => "250-mx\r\n250-PIPELINING\r\n250 SIZE\r\n",
            "RCPT" => to_recipient,
            "DATA" => "354 go\r\n",
            "QUIT" => "221 bye\r\n",
            _ => "250 OK\r\n",
        };
        in_body = reply.starts_with("354") || in_body && reply.is_empty();
        stream.write_all(reply.as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

/// A server in a thread of its own: only what the thread of the sender takes is counted.
fn start(to_recipient: &'static str) -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        runtime().block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                // A client that has gone is no fault of the test.
                tokio::spawn(async move { drop(serve(stream, to_recipient).await) });
            }
        });
    });
    port
}

fn domain(number: usize) -> Domain {
    Domain::parse(&format!("d{number:04}.example")).unwrap()
}

/// A sender that knows so many domains, each with a host of its own.
fn sender(port: u16, domains: usize) -> Sender<Zone> {
    let mut zone = Zone::new(DnsStatus::Insecure);
    for number in 0..domains {
        let host = Domain::parse(&format!("mx.{}", domain(number))).unwrap();
        zone.add_mx(&domain(number), 10, &host).add_host(&host, [Ipv4Addr::LOCALHOST.into()]);
    }
    let connectors = OutboundConnectors::new(vec![common::connector(Posture::None)]).unwrap();
    let outbound = common::outbound(&common::Pki::new());
    let sender = Sender::new(outbound, Arc::new(connectors), zone).unwrap();
    // What is kept beyond a delivery has limits of its own.
    let mut limits = PoolLimits::default();
    limits.idle = 0;
    sender.with_route(|route| route.port = port).with_pool(limits)
}

/// So many recipients, of the first domain or of one each.
fn envelope(recipients: usize, is_one_each: bool) -> Arc<Envelope> {
    let recipients = (0..recipients).map(|number| {
        let domain = domain(if is_one_each { number } else { 0 });
        format!("reader{number:04}@{domain}")
    });
    let recipients: Vec<_> = recipients.collect();
    let recipients: Vec<_> = recipients.iter().map(String::as_str).collect();
    let mut envelope = common::envelope(&recipients);
    envelope.size = Some(5);
    Arc::new(envelope)
}

/// The memory that a second message takes.
fn cost(
    sender: &Sender<Zone>,
    envelope: &Arc<Envelope>,
    expected: RecipientStatus,
) -> AllocationInfo {
    let (runtime, message) = (runtime(), Bytes::from_static(b"abc\r\n"));
    let send = || {
        let report = runtime.block_on(sender.send(Arc::clone(envelope), &message));
        let odd = report.recipients.iter().find(|recipient| recipient.status != expected);
        assert!(odd.is_none(), "{odd:?}");
    };
    send();
    measure(send)
}

/// Four times as many more recipients take at most five times as much more memory, in octets and in
/// pieces. What a message costs without them does not count.
#[track_caller]
fn assert_linear(costs: [AllocationInfo; 3]) {
    let of: [fn(&AllocationInfo) -> u64; 2] = [|it| it.count_total, |it| it.bytes_total];
    for of in of {
        let [few, more, most] = [&costs[0], &costs[1], &costs[2]].map(of);
        assert!(most - more <= 5 * (more - few), "{costs:?}");
    }
}

#[test]
fn recipients_of_one_domain_cost_as_much_again_each() {
    let sender = sender(start("250 OK\r\n"), 1);
    let delivered = RecipientStatus::Delivered;
    assert_linear(COUNTS.map(|count| cost(&sender, &envelope(count, false), delivered)));
}

#[test]
fn refused_recipients_of_one_domain_cost_as_much_again_each() {
    let sender = sender(start("550 5.1.1 no\r\n"), 1);
    let bounced = RecipientStatus::Bounced(EnhancedCode::new(5, 1, 1));
    assert_linear(COUNTS.map(|count| cost(&sender, &envelope(count, false), bounced)));
}

#[test]
fn recipients_of_as_many_domains_cost_as_much_again_each() {
    let sender = sender(start("250 OK\r\n"), COUNTS[2]);
    assert_linear(
        COUNTS.map(|count| cost(&sender, &envelope(count, true), RecipientStatus::Delivered)),
    );
}
