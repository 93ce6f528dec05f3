//! The scripted peer, against clients of its own and raw streams.

use std::time::Duration;

use rustls::version::TLS13;
use smtp_tokio_adapter::test_kit::{Flaw, Peer, Pki, Script, Tls, in_memory, listen, provider};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HOST: &str = "mx.test.example";

/// The problem of a script whose other side sends these octets and closes its sending side.
async fn problem(script: Script, octets: &[u8]) -> String {
    let (mut stream, playing) = in_memory(script);
    stream.write_all(octets).await.unwrap();
    stream.shutdown().await.unwrap();
    playing.await.unwrap().unwrap_err().problem
}

#[tokio::test]
async fn each_failed_expectation_names_what_came_instead() {
    for (script, octets, expected) in [
        (
            Script::new().expect("MAIL"),
            "QUIT\r\n",
            r#"expects a line that begins with "MAIL", but the other side sent "QUIT""#,
        ),
        (
            Script::new().expect("MAIL"),
            "MAI",
            r#"expects a line that begins with "MAIL", but the other side closed the connection"#,
        ),
        (
            Script::new().expect_reply("250"),
            "550-no\r\n550 never\r\n",
            r#"expects a reply with the code 250, but the other side sent "550 never""#,
        ),
        (
            Script::new().expect_end(),
            "NOOP\r\n",
            "expects that the other side closes the connection, but the other side sent \
             \"NOOP\\r\\n\"",
        ),
        (Script::new().close().say("250 late"), "", "comes after the connection was closed"),
    ] {
        assert_eq!(problem(script, octets.as_bytes()).await, expected);
    }
}

#[tokio::test]
async fn octets_before_the_expected_end_fail_it_while_the_connection_is_open() {
    let (mut stream, playing) = in_memory(Script::new().expect("MAIL").expect_end());
    stream.write_all(b"MAIL\r\nNOOP\r\n").await.unwrap();
    let error = playing.await.unwrap().unwrap_err();
    assert!(error.problem.ends_with(r#"but the other side sent "NOOP\r\n""#), "{error}");
}

#[tokio::test]
async fn a_message_is_read_up_to_its_dot_however_it_is_cut() {
    for message in ["", "Subject: x\r\n\r\n..two\r\n.\r\n".strip_suffix(".\r\n").unwrap()] {
        let octets = format!("{message}.\r\nQUIT\r\n");
        for size in [1, 2, 3, 100] {
            let (mut stream, playing) = in_memory(Script::new().expect_message().expect("QUIT"));
            for piece in octets.as_bytes().chunks(size) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            let peer = playing.await.unwrap().unwrap();
            assert_eq!(peer.messages(), [message.as_bytes()], "pieces of {size}");
            assert_eq!(peer.received(), octets.len() as u64);
        }
    }
}

#[tokio::test]
async fn garbage_is_the_same_each_time_and_has_octets_of_every_kind() {
    let garbage = async || {
        let (mut stream, playing) = in_memory(Script::new().garbage(2000).close());
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        playing.await.unwrap().unwrap();
        read
    };
    let read = garbage().await;
    assert_eq!(read.len(), 2000);
    assert!([0, b'\n', b'\r', 0xff].iter().all(|octet| read.contains(octet)));
    assert_eq!(garbage().await, read);
}

/// Both sides scripted, on loopback: what the client's script returns.
async fn meet(server: Tls, client: Tls) -> (Result<(), String>, Result<(), String>) {
    let script = Script::new().say("220 mx").starttls(server);
    let server = listen([script]).await.unwrap();
    let mut peer = Peer::new(TcpStream::connect(server.address()).await.unwrap());
    let played = peer.play(&Script::new().expect("220").starttls(client)).await;
    drop(peer);
    let served = server.finish().await;
    (served.map(drop).map_err(|error| error.problem), played.map_err(|error| error.problem))
}

#[tokio::test]
async fn a_good_certificate_is_accepted_and_each_flaw_is_refused() {
    let pki = Pki::new();
    let client = || Tls::client(pki.root(), HOST);
    assert_eq!(meet(Tls::server(pki.identity(HOST)), client()).await, (Ok(()), Ok(())));
    for flaw in [Flaw::WrongName, Flaw::Expired, Flaw::NotYetValid, Flaw::SelfSigned] {
        let server = || Tls::server(pki.flawed(flaw, HOST));
        let (served, played) = meet(server().refused(), client()).await;
        assert_eq!(served, Ok(()), "{flaw:?}");
        let problem = played.unwrap_err();
        assert!(problem.starts_with("expects a TLS handshake, but it failed: "), "{problem}");
        // Without `refused` the server's script fails as well.
        assert!(meet(server(), client()).await.0.is_err(), "{flaw:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_should_be_refused_and_is_not_fails_the_script() {
    let pki = Pki::new();
    let server = Tls::server(pki.identity(HOST)).refused();
    let (served, _) = meet(server, Tls::client(pki.root(), HOST)).await;
    let problem = served.unwrap_err();
    assert_eq!(problem, "expects that the other side refuses the TLS handshake, but it succeeded");
}

#[tokio::test]
async fn a_side_that_closes_in_the_handshake_fails_it_for_the_other() {
    let pki = Pki::new();
    let (server, client) = (Tls::server(pki.identity(HOST)), Tls::client(pki.root(), HOST));
    let (served, played) = meet(server.clone().closing(), client.clone().refused()).await;
    assert_eq!((served, played), (Ok(()), Ok(())));
    let (served, played) = meet(server.refused(), client.closing()).await;
    assert_eq!((served, played), (Ok(()), Ok(())));
}

/// The same client with X25519MLKEM768 first, and with X25519 alone.
#[tokio::test]
async fn a_large_hello_is_refused_and_a_small_one_accepted() {
    let pki = Pki::new();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pki.root().clone()).unwrap();
    let client = |is_large: bool| {
        let mut provider = (*provider()).clone();
        provider.kx_groups.retain(|group| is_large || group.name() == rustls::NamedGroup::X25519);
        let config = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        Tls::client_with(config.into(), HOST)
    };
    let server = || Tls::server(pki.identity(HOST)).refusing_large_hello();
    assert_eq!(meet(server(), client(false)).await, (Ok(()), Ok(())));
    assert_eq!(meet(server(), client(true).refused()).await, (Ok(()), Ok(())));
}

#[tokio::test]
async fn each_connection_gets_its_script_and_a_stall_ends_with_the_listener() {
    let scripts = [Script::new().say("220 first").close(), Script::new().say("421 later").stall()];
    let server = listen(scripts).await.unwrap();
    for (greeting, closes) in
        [("220 first\r\n", true), ("421 later\r\n", false), ("421 later\r\n", false)]
    {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let mut read = vec![0; greeting.len()];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(read, greeting.as_bytes());
        let end = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut [0])).await;
        assert_eq!(end.is_ok(), closes, "{greeting}");
    }
    let peers = server.finish().await.unwrap();
    let transcripts: Vec<_> = peers.iter().map(Peer::transcript).collect();
    let stalled = "> 421 later\n- stalled\n";
    assert_eq!(transcripts, ["> 220 first\n- closed\n", stalled, stalled]);
}
