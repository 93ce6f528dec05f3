//! The PROXY protocol: the client's address, and which headers are refused.
#![cfg(feature = "proxy-protocol")]

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::log::Log;
use common::{HOST, Pki, Taker, changed, smtp, stamped};
use smtp_proto::server::StartTls;
use smtp_proto::wire::reply::Response;
use smtp_tokio_adapter::{Inbound, ProxyHeaderError, ProxyProtocol, Session, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 25\r\n";
const V1_IPV6: &[u8] = b"PROXY TCP6 2001:db8::1 2001:db8::2 50000 25\r\n";
const V1_UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";
const V1_UNKNOWN_LONG: &[u8] = b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
    ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";

/// A version 2 header.
fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    header.extend(payload);
    header
}

/// `192.0.2.1` port 50000 to `198.51.100.2` port 25.
const IPV4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0xc3, 0x50, 0, 25];

fn ipv6() -> Vec<u8> {
    let mut payload = vec![0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    payload.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    payload.extend([0xc3, 0x50, 0, 25]);
    payload
}

/// Good headers, each with the client that it names.
fn good() -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
    let with_tlv = [IPV4, &[0x03, 0, 4, 1, 2, 3, 4]].concat();
    vec![
        ("version 1, IPv4", V1.to_vec(), Some("192.0.2.1:50000")),
        ("version 1, IPv6", V1_IPV6.to_vec(), Some("[2001:db8::1]:50000")),
        ("version 1, unknown", V1_UNKNOWN.to_vec(), None),
        ("version 1, unknown and as long as can be", V1_UNKNOWN_LONG.to_vec(), None),
        ("version 2, IPv4", v2(0x21, 0x11, IPV4), Some("192.0.2.1:50000")),
        ("version 2, IPv6", v2(0x21, 0x21, &ipv6()), Some("[2001:db8::1]:50000")),
        ("version 2, with a TLV", v2(0x21, 0x11, &with_tlv), Some("192.0.2.1:50000")),
        ("version 2, local", v2(0x20, 0x00, &[]), None),
        ("version 2, local with addresses", v2(0x20, 0x11, IPV4), None),
        ("version 2, no family", v2(0x21, 0x00, &[]), None),
    ]
}

fn loopback() -> ProxyProtocol {
    ProxyProtocol::new(["127.0.0.0/8"]).unwrap()
}

/// Feeds these pieces to the reader, then the end; returns what it made of them and what it left.
async fn read(
    proxy: &ProxyProtocol,
    pieces: &[&[u8]],
) -> (Result<Option<SocketAddr>, ProxyHeaderError>, Vec<u8>) {
    let (mut ours, mut theirs) = tokio::io::duplex(1 << 17);
    let writing = async {
        for piece in pieces {
            ours.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(ours);
    };
    let ((), result) = tokio::join!(writing, proxy.read(&mut theirs));
    let mut rest = Vec::new();
    theirs.read_to_end(&mut rest).await.unwrap();
    (result, rest)
}

#[tokio::test]
async fn header_is_read_alike_in_every_cut_and_nothing_after_it() {
    const REST: &[u8] = b"EHLO c.example\r\n";
    for (name, header, client) in good() {
        let client: Option<SocketAddr> = client.map(|it| it.parse().unwrap());
        let all = [&header[..], REST].concat();
        for cut in 0..=all.len() {
            let (result, rest) = read(&loopback(), &[&all[..cut], &all[cut..]]).await;
            assert_eq!(result.unwrap(), client, "{name}, cut at {cut}");
            assert_eq!(rest, REST, "{name}, cut at {cut}");
        }
        let octets: Vec<_> = all.chunks(1).collect();
        let (result, rest) = read(&loopback(), &octets).await;
        assert_eq!((result.unwrap(), &rest[..]), (client, REST), "{name}, octet by octet");
        for end in 0..header.len() {
            let (result, _) = read(&loopback(), &[&header[..end]]).await;
            let result = result.unwrap_err();
            assert!(matches!(result, ProxyHeaderError::Closed), "{name}, {end}: {result:?}");
            assert_eq!(result.code(), "proxy-header-closed");
        }
    }
}

#[tokio::test]
async fn malformed_header_has_a_typed_error() {
    use ProxyHeaderError as E;
    type Is = (&'static str, fn(&E) -> bool);
    type Case = (&'static str, Vec<u8>, Is);
    let malformed: Is = ("proxy-header-malformed", |it| matches!(it, E::Malformed(_)));
    let too_long: Is = ("proxy-header-too-long", |it| matches!(it, E::TooLong { .. }));
    let missing: Is = ("proxy-header-missing", |it| matches!(it, E::Missing));
    let transport: Is = ("proxy-header-transport", |it| matches!(it, E::Transport));
    let line = |text: &str| format!("PROXY {text}\r\n").into_bytes();
    let mut huge = v2(0x21, 0x11, &[0; 2033]);
    huge.truncate(16);
    let cases: Vec<Case> = vec![
        ("SMTP", b"EHLO c.example\r\n".to_vec(), missing),
        ("TLS", vec![22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3], missing),
        ("lower case", b"proxy TCP4 ".to_vec(), missing),
        ("half a signature", b"\r\n\r\n\0\r\nQUIX".to_vec(), missing),
        ("no addresses", line("TCP4"), malformed),
        ("no port", line("TCP4 192.0.2.1 192.0.2.2 1"), malformed),
        ("a name", line("TCP4 a.example b.example 1 2"), malformed),
        ("octet over 255", line("TCP4 300.0.2.1 192.0.2.2 1 2"), malformed),
        ("wrong family", line("TCP6 192.0.2.1 192.0.2.2 1 2"), malformed),
        ("leading zero", line("TCP4 192.0.2.1 192.0.2.2 01 2"), malformed),
        ("port over 65535", line("TCP4 192.0.2.1 192.0.2.2 65536 2"), malformed),
        ("two blanks", line("TCP4  192.0.2.1 192.0.2.2 1 2"), malformed),
        ("another protocol", line("UDP4 192.0.2.1 192.0.2.2 1 2"), malformed),
        ("more at the end", line("TCP4 192.0.2.1 192.0.2.2 1 2 3"), malformed),
        ("not UTF-8", b"PROXY TCP4 \xff\xfe 192.0.2.2 1 2\r\n".to_vec(), malformed),
        ("bare CR", b"PROXY TCP4 192.0.2.1\r192.0.2.2 1 2\r\n".to_vec(), malformed),
        ("no end", [b"PROXY ", &[b'x'; 101][..]].concat(), too_long),
        ("LF alone", [b"PROXY UNKNOWN\n", &[b'x'; 93][..]].concat(), too_long),
        ("version 3", v2(0x31, 0x11, IPV4), malformed),
        ("unknown command", v2(0x22, 0x11, IPV4), malformed),
        ("unknown family", v2(0x21, 0x41, IPV4), malformed),
        ("unknown transport", v2(0x21, 0x13, IPV4), malformed),
        ("short addresses", v2(0x21, 0x11, &IPV4[..11]), malformed),
        ("short IPv6 addresses", v2(0x21, 0x21, IPV4), malformed),
        ("2049 octets", huge, too_long),
        ("UDP", v2(0x21, 0x12, IPV4), transport),
        ("a Unix socket", v2(0x21, 0x31, &[0; 216]), transport),
    ];
    for (name, header, (code, is_right)) in cases {
        let (result, _) = read(&loopback(), &[&header]).await;
        let error = result.expect_err(name);
        assert!(is_right(&error), "{name}: {error:?}");
        assert_eq!(error.code(), code, "{name}");
    }
}

#[tokio::test]
async fn changed_octet_never_panics_or_reads_beyond_the_limit() {
    for (name, header, _) in good() {
        for at in 0..header.len() {
            for octet in [0, b' ', b'\r', b'\n', b'0', 0x7f, 0xff] {
                let mut header = header.clone();
                header[at] = octet;
                let all = [&header[..], &[b'x'; 4096][..]].concat();
                let (_, rest) = read(&loopback(), &[&all]).await;
                let read = all.len() - rest.len();
                assert!(read <= 2048, "{name}, octet {at} is {octet}: {read} octets were read");
            }
        }
    }
}

#[tokio::test]
async fn header_that_does_not_come_times_out() {
    let proxy = loopback().with_timeout(Duration::from_millis(30));
    let (mut ours, mut theirs) = tokio::io::duplex(64);
    ours.write_all(&V1[..20]).await.unwrap();
    let error = proxy.read(&mut theirs).await.unwrap_err();
    assert!(matches!(error, ProxyHeaderError::TimedOut(it) if it == Duration::from_millis(30)));
    assert_eq!(error.code(), "proxy-header-timeout");
}

/// A listener with these proxies; the peers for which it made handlers are written down.
async fn listen(
    proxy: ProxyProtocol,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> (SocketAddr, Arc<Mutex<Vec<SocketAddr>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let peers = Arc::new(Mutex::new(Vec::new()));
    let made = Arc::clone(&peers);
    let service = move |peer| {
        made.lock().unwrap().push(peer);
        Taker::new(|session: &Session| Response::new(250, (2, 0, 0), stamped(session, false)))
    };
    let implicit = tls.is_some();
    let config = changed(smtp(), |it| it.starttls = StartTls::No);
    let inbound = changed(Inbound::new(Arc::new(config)), |it| {
        it.proxy = Some(proxy);
        it.tls = tls;
        it.implicit = implicit;
    });
    tokio::spawn(serve(listener, inbound, service, std::future::pending()));
    (address, peers)
}

const MESSAGE: &str =
    "EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<r@test.example>\r\nDATA\r\n\r\n.\r\nQUIT\r\n";

async fn say(mut stream: TcpStream, pieces: &[&[u8]]) -> String {
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        // The server may have hung up already.
        if stream.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut said = Vec::new();
    let _: std::io::Result<usize> = stream.read_to_end(&mut said).await;
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn handler_and_stamp_see_the_client_of_a_listed_proxy() {
    for (name, header, client) in good() {
        let (address, peers) = listen(loopback(), None).await;
        let stream = TcpStream::connect(address).await.unwrap();
        let own = stream.local_addr().unwrap();
        let said = say(stream, &[&header, MESSAGE.as_bytes()]).await;
        let client = client.map_or(own, |it| it.parse().unwrap());
        assert_eq!(*peers.lock().unwrap(), [client], "{name}: {said}");
        let shown = match client.ip() {
            std::net::IpAddr::V4(ip) => format!("([{ip}])"),
            std::net::IpAddr::V6(ip) => format!("([IPv6:{ip}])"),
        };
        assert!(said.contains(&format!("from c.example {shown}")), "{name}: {said}");
    }
}

#[tokio::test]
async fn header_comes_before_implicit_tls() {
    let pki = Pki::new();
    let (address, peers) = listen(loopback(), Some(pki.server_config(HOST))).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&v2(0x21, 0x11, IPV4)).await.unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pki.root().clone()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(common::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = rustls::pki_types::ServerName::try_from(HOST).unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    stream.write_all(MESSAGE.as_bytes()).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.contains("([192.0.2.1])"), "{said}");
    assert_eq!(*peers.lock().unwrap(), ["192.0.2.1:50000".parse().unwrap()]);
}

#[tokio::test]
async fn missing_header_of_a_listed_proxy_is_refused() {
    let (log, _guard) = Log::record();
    for first in [&b"EHLO c.example\r\n"[..], b"QUIT\r\n", b"PROXY TCP4\r\n", b"\r\n"] {
        let (address, peers) =
            listen(loopback().with_timeout(Duration::from_millis(200)), None).await;
        let stream = TcpStream::connect(address).await.unwrap();
        let said = say(stream, &[first]).await;
        assert!(said.is_empty() || said.starts_with("421 4.7.0 "), "{said}");
        assert!(peers.lock().unwrap().is_empty());
    }
    let logged = log.with("PROXY header");
    assert_eq!(logged.len(), 4, "{logged:?}");
    assert!(logged[0].contains("begins without a PROXY header"), "{logged:?}");
}

#[tokio::test]
async fn header_of_an_unlisted_network_is_refused_in_every_cut() {
    let proxy = ProxyProtocol::new(["192.0.2.0/24"]).unwrap();
    let (address, _) = listen(proxy, None).await;
    for header in [V1.to_vec(), v2(0x21, 0x11, IPV4)] {
        for cut in 0..16 {
            let (log, _guard) = Log::record();
            let all = [&header[..], MESSAGE.as_bytes()].concat();
            let stream = TcpStream::connect(address).await.unwrap();
            let said = say(stream, &[&all[..cut], &all[cut..]]).await;
            assert!(!said.contains("250 "), "{cut}: {said}");
            assert!(
                said.ends_with("421 4.7.0 a PROXY header is not accepted from this network\r\n"),
                "{cut}: {said}"
            );
            assert_eq!(log.with("network that is not listed").len(), 1, "{cut}");
        }
    }
}

#[tokio::test]
async fn unlisted_client_without_a_header_is_served_under_its_own_address() {
    let proxy = ProxyProtocol::new(["192.0.2.0/24", "::1"]).unwrap();
    let (address, peers) = listen(proxy, None).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let own = stream.local_addr().unwrap();
    let said = say(stream, &[MESSAGE.as_bytes()]).await;
    assert!(said.contains("from c.example ([127.0.0.1])"), "{said}");
    // PROXY is no command later on, and no client can change its address with it.
    let stream = TcpStream::connect(address).await.unwrap();
    let said = say(stream, &[b"NOOP\r\n", V1, MESSAGE.as_bytes()]).await;
    assert!(said.contains("500 ") && said.contains("([127.0.0.1])"), "{said}");
    assert_eq!(peers.lock().unwrap()[0], own);
}
