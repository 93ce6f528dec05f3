//! MTA-STS policies of the service `postfix`, which are older than half a day.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicUsize, Ordering};

use smtp_tls_policy::sts::{Mode, PolicyText};
use smtp_tokio_adapter::test_kit::Pki;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const HOUR: u64 = 3600;

fn domain() -> Domain {
    Domain::parse("test.example").unwrap()
}

fn policy(mode: &str) -> String {
    format!("version: STSv1\nmode: {mode}\nmx: mx.test.example\nmax_age: {}\n", 24 * HOUR)
}

/// A resolver that has no records but the addresses of hosts, which are this machine.
fn resolver() -> Address {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string().parse().unwrap();
    std::thread::spawn(move || {
        let mut message = [0; 512];
        while let Ok((_, client)) = socket.recv_from(&mut message) {
            let end = 12 + message[12..].iter().position(|octet| *octet == 0).unwrap() + 5;
            let is_address = message[end - 4..end - 2] == [0, 1];
            // RFC 1035, section 4.1.1: an answer, of this many questions and records.
            let header = [0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0];
            let mut answer = [&message[..2], &header, &message[12..end]].concat();
            if is_address {
                // The name of the question, A, IN, a time to live of zero, four octets.
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
            }
            socket.send_to(&answer, client).unwrap();
        }
    });
    address
}

/// The policy host of the domain: its port, and how often it was asked.
async fn policy_host(pki: &Pki, policy: String) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tls, count) = (pki.server_config("mta-sts.test.example"), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let Ok(mut stream) = TlsAcceptor::from(Arc::clone(&tls)).accept(stream).await else {
                continue;
            };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let length = policy.len();
            let header = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n";
            let response = format!("{header}Content-Length: {length}\r\n\r\n{policy}");
            stream.write_all(response.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    (port, count)
}

/// The service after 13 hours: it holds this policy of a domain whose record is suppressed.
fn after_13_hours(pki: &Pki, policy_port: u16, mode: &str) -> Network {
    let options =
        NetworkOptions { resolver: Some(resolver()), trust_anchor: None, policy_port, timeout: 4 };
    let mut network = Network::new(&options, pki.trust()).unwrap();
    // Nothing is below the trust anchor.
    let anchors = Anchors::parse(
        "other. DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000",
    )
    .unwrap();
    let servers = Servers::new([options.resolver.unwrap().with_port(53)]).unwrap();
    network.resolver = Arc::new(Resolver::validating(servers, anchors));
    let text = PolicyText::from_response(200, Some("text/plain"), policy(mode).as_bytes()).unwrap();
    let id = PolicyId::find(&[vec![b"v=STSv1; id=1;".to_vec()]]).unwrap().unwrap();
    let fetched = UnixTime::since_unix_epoch(Duration::from_secs(
        input::now().as_secs() - 13 * HOUR - HOUR / 2,
    ));
    let cached = CachedPolicy::new(domain(), id, fetched, text);
    network.cache.get_mut().restore([cached], input::now());
    network
}

/// The warnings of one look for policies that are due.
async fn warnings(network: &Network) -> Vec<String> {
    let warnings = RefCell::default();
    network.refresh(|text| Vec::push(&mut warnings.borrow_mut(), text.to_owned())).await;
    warnings.into_inner()
}

#[tokio::test]
async fn policy_whose_record_is_suppressed_is_fetched_again_before_it_expires() {
    let pki = Pki::new();
    let (port, count) = policy_host(&pki, policy("testing")).await;
    let network = after_13_hours(&pki, port, "enforce");
    assert_eq!(warnings(&network).await, Vec::<String>::new());
    let now = network.sts_policy(&domain()).unwrap();
    assert_eq!(now.policy().mode(), Mode::Testing, "the policy that was fetched");
    assert!(now.fetched().as_secs() > input::now().as_secs() - HOUR);
    assert!(warnings(&network).await.is_empty());
    assert_eq!(count.load(Ordering::Relaxed), 1, "it is not due again");
}

#[tokio::test]
async fn policy_that_cannot_be_fetched_again_is_a_warning_unless_its_mode_is_none() {
    let pki = Pki::new();
    let (port, count) = policy_host(&pki, "no policy".to_owned()).await;
    let network = after_13_hours(&pki, port, "enforce");
    let [warning] = &warnings(&network).await[..] else { panic!("one policy is not refreshed") };
    assert!(warning.contains("policy of test.example is not refreshed"), "{warning}");
    assert!(warning.contains("in 10 hours"), "{warning}");
    assert_eq!(network.sts_policy(&domain()).unwrap().policy().mode(), Mode::Enforce);
    assert!(warnings(&network).await.is_empty(), "it is due again in an hour");
    assert_eq!(count.load(Ordering::Relaxed), 1);
    let network = after_13_hours(&pki, port, "none");
    assert_eq!(warnings(&network).await, Vec::<String>::new());
}
