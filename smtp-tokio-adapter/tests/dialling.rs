//! How a sender reaches a host: addresses raced, source addresses and proxies, on loopback.

mod common;

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use common::{HOST, Pki, connector, envelope, outbound};
use smtp_proto::route::{Ending, RecipientStatus};
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::Domain;
use smtp_tls_policy::inquiry::{DnsAnswer, MxRecord};
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::{DialRules, Families, OutboundConnectors, Posture};
use smtp_tokio_adapter::lookups::{Lookups, Zone};
use smtp_tokio_adapter::test_kit::Peer;
use smtp_tokio_adapter::{Failure, Report, Sender};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const LIVE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// RFC 3463, section 3.4: system incorrectly configured.
const OURS: RecipientStatus = RecipientStatus::Deferred(EnhancedCode::new(4, 3, 5));

/// A server without TLS that takes messages, and the addresses from which connections came.
struct Server {
    port: u16,
    clients: Arc<Mutex<Vec<IpAddr>>>,
}

impl Server {
    fn on(listener: TcpListener) -> Self {
        let port = listener.local_addr().unwrap().port();
        let clients = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&clients);
        let script = common::to_data().expect_message().say("250 kept").ignore();
        tokio::spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                seen.lock().unwrap().push(from.ip());
                let script = script.clone();
                tokio::spawn(async move { drop(Peer::new(stream).play(&script).await) });
            }
        });
        Self { port, clients }
    }

    async fn start() -> Self {
        Self::on(TcpListener::bind((LIVE, 0)).await.unwrap())
    }

    fn clients(&self) -> Vec<IpAddr> {
        self.clients.lock().unwrap().clone()
    }
}

/// A connection that has begun, and goes on as long as it is kept.
type Connecting = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// An address that never answers: the queue of its listener is full.
struct Dead {
    ip: IpAddr,
    _kept: (TcpListener, Vec<Connecting>),
}

/// A dead address, IPv6 if this machine has it, and a live one, on the same port.
async fn dead_and_live() -> (Dead, Server) {
    loop {
        let live = TcpListener::bind((LIVE, 0)).await.unwrap();
        let port = live.local_addr().unwrap().port();
        let six = TcpSocket::new_v6().and_then(|socket| {
            socket.bind((Ipv6Addr::LOCALHOST, port).into())?;
            socket.listen(1)
        });
        let four = || {
            let socket = TcpSocket::new_v4()?;
            socket.bind((Ipv4Addr::new(127, 0, 0, 2), port).into())?;
            socket.listen(1)
        };
        let Ok(listener) = six.or_else(|_| four()) else { continue };
        let address = listener.local_addr().unwrap();
        let mut full = Vec::new();
        for _ in 0..16 {
            let mut connecting: Connecting = Box::pin(async move {
                let _stream = TcpStream::connect(address).await;
                std::future::pending().await
            });
            // Begins to connect.
            poll_fn(|cx| Poll::Ready(connecting.as_mut().poll(cx).is_ready())).await;
            full.push(connecting);
        }
        return (Dead { ip: address.ip(), _kept: (listener, full) }, Server::on(live));
    }
}

fn sender_with<L: Lookups>(
    lookups: L,
    port: u16,
    posture: Posture,
    dial: impl FnOnce(&mut DialRules),
) -> Sender<L> {
    let mut connector = connector(posture);
    dial(&mut connector.dial);
    let connectors = Arc::new(OutboundConnectors::new(vec![connector]).unwrap());
    // A dead address would cost an hour.
    let outbound = outbound(&Pki::new()).with_connect_timeout(Duration::from_secs(3600));
    Sender::new(outbound, connectors, lookups).unwrap().with_route(|route| route.port = port)
}

fn sender(
    addresses: &[IpAddr],
    port: u16,
    posture: Posture,
    dial: impl FnOnce(&mut DialRules),
) -> Sender<Zone> {
    let (domain, host) = (Domain::parse("test.example").unwrap(), Domain::parse(HOST).unwrap());
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.add_mx(&domain, 10, &host).add_host(&host, addresses.iter().copied());
    sender_with(zone, port, posture, dial)
}

async fn send<L: Lookups>(sender: &Sender<L>) -> Report {
    let message = Bytes::from_static(b"Subject: hello\r\n\r\nHello.\r\n");
    sender.send(envelope(&["reader@test.example"]), &message).await
}

fn reasons(report: &Report) -> Vec<&'static str> {
    report.attempts.iter().map(|it| it.decision.reason.code()).collect()
}

#[tokio::test]
async fn dead_address_costs_the_delay_and_not_the_time_limit() {
    let (dead, server) = dead_and_live().await;
    let sender = sender(&[dead.ip, LIVE], server.port, Posture::None, |_| {});
    let report = send(&sender).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    let [attempt] = &report.attempts[..] else { panic!("{report:?}") };
    assert_eq!(attempt.address, SocketAddr::new(LIVE, server.port));
    assert_eq!(attempt.outrun, [SocketAddr::new(dead.ip, server.port)]);
    assert_eq!(report.recipients[0].address, Some(attempt.address));
}

#[tokio::test]
async fn each_address_that_refuses_is_in_the_report_with_its_failure() {
    let server = Server::start().await;
    let closed = IpAddr::from([127, 0, 0, 3]);
    let other = IpAddr::from([127, 0, 0, 4]);
    let sender = sender(&[closed, other, LIVE], server.port, Posture::None, |_| {});
    let report = send(&sender).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    let seen: Vec<_> = report.attempts.iter().map(|it| (it.address.ip(), it.ending)).collect();
    let expected =
        [(closed, Ending::Unreachable), (other, Ending::Unreachable), (LIVE, Ending::Finished)];
    assert_eq!(seen, expected);
    for attempt in &report.attempts[..2] {
        let failure = attempt.failure.as_deref();
        assert!(matches!(failure, Some(Failure::Connect(_))), "{failure:?}");
    }
    // All of them fail: the report has the same, and the recipient the last failure.
    let sender = self::sender(&[closed, other], server.port, Posture::None, |_| {});
    let report = send(&sender).await;
    assert_eq!(report.attempts.len(), 2, "{report:?}");
    assert_eq!(report.statuses()[0].to_string(), "deferred: 4.4.1");
    assert!(matches!(report.recipients[0].failure.as_deref(), Some(Failure::Connect(_))));
}

#[tokio::test]
async fn connections_come_from_the_source_address_of_the_connector() {
    let server = Server::start().await;
    let source = Ipv4Addr::new(127, 0, 0, 9);
    let sender = sender(&[LIVE], server.port, Posture::None, |it| it.source_ipv4 = Some(source));
    assert_eq!(send(&sender).await.statuses(), [RecipientStatus::Delivered]);
    assert_eq!(server.clients(), [IpAddr::V4(source)]);
}

#[tokio::test]
async fn source_that_cannot_be_used_defers_without_a_connection() {
    for posture in [Posture::None, Posture::Opportunistic, Posture::Verified] {
        let server = Server::start().await;
        for rules in [
            // An address for documentation (RFC 5737), which no machine has.
            |it: &mut DialRules| it.source_ipv4 = Some(Ipv4Addr::new(192, 0, 2, 1)),
            |it: &mut DialRules| it.interface = Some("nosuch0".into()),
        ] {
            let addresses = [LIVE, IpAddr::from([127, 0, 0, 5])];
            let report = send(&sender(&addresses, server.port, posture, rules)).await;
            assert_eq!(report.statuses(), [OURS], "{posture} {report:?}");
            assert_eq!(reasons(&report), ["source-unavailable"], "{posture}");
        }
        assert!(server.clients().is_empty());
    }
}

/// By a child with few descriptors, so that no other test is short of them.
#[test]
fn want_of_descriptors_defers_and_tries_no_other_address() {
    let test = "without_descriptors";
    let mut child = std::process::Command::new("sh");
    child.args(["-c", "ulimit -n 64; exec \"$0\" --exact --ignored --nocapture \"$1\""]);
    let child = child.arg(std::env::current_exe().unwrap()).arg(test).output().unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && output.contains("1 passed"), "{output}");
}

#[tokio::test]
#[ignore = "the child of want_of_descriptors_defers_and_tries_no_other_address"]
async fn without_descriptors() {
    let server = Server::start().await;
    let addresses = [LIVE, IpAddr::from([127, 0, 0, 5])];
    let sender = sender(&addresses, server.port, Posture::Opportunistic, |_| {});
    let mut all = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        all.push(file);
    }
    let report = send(&sender).await;
    assert_eq!(report.statuses(), [OURS], "{report:?}");
    assert_eq!(reasons(&report), ["connect-local-fault"]);
    drop(all);
    let report = send(&sender).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
}

/// A zone without an answer for AAAA records.
struct Ipv4Zone(Zone);

impl Lookups for Ipv4Zone {
    async fn mx(&self, domain: &Domain) -> DnsAnswer<MxRecord> {
        self.0.mx(domain).await
    }
    async fn ipv4(&self, host: &Domain) -> DnsAnswer<Ipv4Addr> {
        self.0.ipv4(host).await
    }
    async fn ipv6(&self, _: &Domain) -> DnsAnswer<Ipv6Addr> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn ipv4_only_does_not_ask_for_ipv6_addresses() {
    let server = Server::start().await;
    let (domain, host) = (Domain::parse("test.example").unwrap(), Domain::parse(HOST).unwrap());
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.add_mx(&domain, 10, &host).add_host(&host, [LIVE]);
    let only = |it: &mut DialRules| it.families = Families::Ipv4Only;
    let sender = sender_with(Ipv4Zone(zone), server.port, Posture::None, only);
    assert_eq!(send(&sender).await.statuses(), [RecipientStatus::Delivered]);
}

#[tokio::test]
async fn host_without_an_address_of_the_family_bounces_as_one_without_an_address() {
    let only = |it: &mut DialRules| it.families = Families::Ipv6Only;
    let report = send(&sender(&[LIVE], 25, Posture::None, only)).await;
    assert_eq!(report.statuses()[0].to_string(), "bounced: 5.4.4");
}

#[cfg(feature = "socks5")]
mod socks5 {
    use smtp_tls_policy::rules::Socks5Proxy;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// RFC 1929, section 2: the version, and a user and a password with their lengths.
    const LOGIN: &[u8] = b"\x01\x05relay\x06sesame";

    /// A SOCKS5 proxy that takes addresses only, and the user and password of `LOGIN`. Each
    /// connection gets the next answer; after the last one it connects.
    async fn proxy(answers: &[u8]) -> (SocketAddr, Arc<Mutex<Vec<SocketAddr>>>) {
        let listener = TcpListener::bind((LIVE, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, answers) = (Arc::clone(&asked), answers.to_vec());
        let mut answers = answers.into_iter();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answers.next().unwrap_or(0);
                let seen = Arc::clone(&seen);
                tokio::spawn(async move { drop(serve(stream, answer, &seen).await) });
            }
        });
        (address, asked)
    }

    async fn serve(
        mut client: TcpStream,
        answer: u8,
        seen: &Mutex<Vec<SocketAddr>>,
    ) -> std::io::Result<()> {
        let mut greeting = [0; 2];
        client.read_exact(&mut greeting).await?;
        let mut methods = vec![0; greeting[1].into()];
        client.read_exact(&mut methods).await?;
        match methods[..] {
            [0] => client.write_all(&[5, 0]).await?,
            [0, 2] => {
                client.write_all(&[5, 2]).await?;
                let mut login = vec![0; LOGIN.len()];
                client.read_exact(&mut login).await?;
                client.write_all(&[1, u8::from(login != LOGIN)]).await?;
                if login != LOGIN {
                    return Ok(());
                }
            }
            _ => panic!("{methods:?}"),
        }
        let mut request = [0; 4];
        client.read_exact(&mut request).await?;
        // CONNECT to an IPv4 address: a name would be 3.
        assert_eq!(request, [5, 1, 0, 1]);
        let mut to = [0; 6];
        client.read_exact(&mut to).await?;
        let [a, b, c, d, high, low] = to;
        let to = SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low])));
        seen.lock().unwrap().push(to);
        client.write_all(&[5, answer, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
        if answer == 0 {
            let mut server = TcpStream::connect(to).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await?;
        }
        Ok(())
    }

    #[tokio::test]
    async fn proxy_is_given_the_address_and_never_the_name() {
        let server = Server::start().await;
        let (proxy, asked) = proxy(&[]).await;
        let sender = sender(&[LIVE], server.port, Posture::None, |it| {
            it.socks5 = Some(Socks5Proxy::new(proxy))
        });
        assert_eq!(send(&sender).await.statuses(), [RecipientStatus::Delivered]);
        assert_eq!(*asked.lock().unwrap(), [SocketAddr::new(LIVE, server.port)]);
    }

    fn with_login(proxy: SocketAddr, password: &str) -> Socks5Proxy {
        Socks5Proxy::new(proxy).with_login("relay", password)
    }

    #[tokio::test]
    async fn proxy_that_asks_for_a_password_gets_that_of_the_connector() {
        let server = Server::start().await;
        let (proxy, asked) = proxy(&[]).await;
        let through = |it: &mut DialRules| it.socks5 = Some(with_login(proxy, "sesame"));
        let report = send(&sender(&[LIVE], server.port, Posture::None, through)).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
        assert_eq!(*asked.lock().unwrap(), [SocketAddr::new(LIVE, server.port)]);
    }

    #[tokio::test]
    async fn proxy_that_refuses_the_password_defers_and_is_asked_for_no_connection() {
        let server = Server::start().await;
        let (proxy, asked) = proxy(&[]).await;
        let through = |it: &mut DialRules| it.socks5 = Some(with_login(proxy, "wrong!"));
        let report = send(&sender(&[LIVE], server.port, Posture::Opportunistic, through)).await;
        assert_eq!(report.statuses(), [OURS], "{report:?}");
        assert_eq!(reasons(&report), ["proxy-failed"]);
        assert!(!format!("{report:?}").contains("wrong!"));
        assert!(asked.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn proxy_that_wants_a_password_of_a_connector_without_one_defers() {
        let listener = TcpListener::bind((LIVE, 0)).await.unwrap();
        let proxy = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            client.read_exact(&mut [0; 3]).await.unwrap();
            // No acceptable method.
            client.write_all(&[5, 0xFF]).await.unwrap();
        });
        let through = |it: &mut DialRules| it.socks5 = Some(Socks5Proxy::new(proxy));
        let report = send(&sender(&[LIVE], 25, Posture::Opportunistic, through)).await;
        assert_eq!(report.statuses(), [OURS], "{report:?}");
        assert_eq!(reasons(&report), ["proxy-failed"]);
    }

    #[tokio::test]
    async fn host_that_the_proxy_cannot_reach_leads_to_the_next_address() {
        let server = Server::start().await;
        let other = IpAddr::from([127, 0, 0, 4]);
        // Connection refused.
        let (proxy, asked) = proxy(&[5]).await;
        let addresses = [other, LIVE];
        let sender = sender(&addresses, server.port, Posture::None, |it| {
            it.socks5 = Some(Socks5Proxy::new(proxy))
        });
        let report = send(&sender).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
        assert_eq!(report.attempts[0].ending, Ending::Unreachable);
        let asked: Vec<IpAddr> = asked.lock().unwrap().iter().map(SocketAddr::ip).collect();
        assert_eq!(asked, addresses);
    }

    /// A general failure, a rule of the proxy, a command and an address type that it does not know.
    #[tokio::test]
    async fn proxy_that_fails_defers_without_another_connection() {
        for posture in [Posture::None, Posture::Opportunistic, Posture::Verified] {
            for answer in [1, 2, 7, 8, 99] {
                let server = Server::start().await;
                let (proxy, _) = proxy(&[answer]).await;
                let addresses = [LIVE, IpAddr::from([127, 0, 0, 5])];
                let through = |it: &mut DialRules| it.socks5 = Some(Socks5Proxy::new(proxy));
                let report = send(&sender(&addresses, server.port, posture, through)).await;
                assert_eq!(report.statuses(), [OURS], "{answer} {posture} {report:?}");
                assert_eq!(reasons(&report), ["proxy-failed"], "{answer} {posture}");
                assert!(server.clients().is_empty());
            }
        }
    }

    #[tokio::test]
    async fn proxy_that_is_not_there_defers() {
        let server = Server::start().await;
        // A port that was free a moment ago.
        let closed = TcpListener::bind((LIVE, 0)).await.unwrap().local_addr().unwrap();
        let through = |it: &mut DialRules| it.socks5 = Some(Socks5Proxy::new(closed));
        let report = send(&sender(&[LIVE], server.port, Posture::Opportunistic, through)).await;
        assert_eq!(report.statuses(), [OURS], "{report:?}");
        assert!(server.clients().is_empty());
    }
}
