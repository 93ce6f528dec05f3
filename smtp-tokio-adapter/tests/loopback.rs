//! Real sockets and real TLS, both sides ours, or one side broken on purpose.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{
    HOST, Pki, changed, connector, envelope, outbound, outbound_with, plan_for, provider, send,
    send_to, smart, smtp, start, to_data,
};
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use smtp_proto::route::{Ending, Manner, RecipientStatus};
use smtp_proto::server::StartTls;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::rules::{IdentityId, Posture};
use smtp_tls_policy::tls::{ClientCertificates, ClientTls, server_config};
use smtp_tls_policy::{Host, Reason};
use smtp_tokio_adapter::Inbound;
use smtp_tokio_adapter::test_kit::{Script, Tls, listen};
use smtp_tokio_adapter::{OutcomeBuf, Spoken, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MESSAGE: &[u8] = b"Subject: hello\r\n\r\n.dot\r\n..two\r\n";

fn with_tls(pki: &Pki) -> Inbound {
    changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(pki.server_config(HOST)))
}

#[tokio::test]
async fn tls_carries_a_message_and_the_decision_gives_the_reason() {
    let pki = Pki::new();
    let server = start(with_tls(&pki)).await;
    for posture in
        [Posture::Opportunistic, Posture::Deterministic, Posture::Encrypt, Posture::Verified]
    {
        let by = connector(posture);
        let report = send(&outbound(&pki), server.address, &by, MESSAGE).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{posture}: {report:?}");
        assert_eq!(report.attempts.len(), 1);
        let decision = &report.attempts[0].decision;
        assert_eq!((decision.channel, decision.reason), (Spoken::Tls, Reason::TlsOk));
        assert!(decision.sentence.starts_with("TLS"), "{}", decision.sentence);
    }
    assert_eq!(*server.kept.messages.lock().unwrap(), vec![MESSAGE.to_vec(); 4]);
    assert_eq!(*server.kept.over_tls.lock().unwrap(), [true; 4]);
}

#[tokio::test]
async fn posture_none_never_asks_for_tls() {
    let pki = Pki::new();
    let server = start(with_tls(&pki)).await;
    let by = connector(Posture::None);
    let report = send(&outbound(&pki), server.address, &by, MESSAGE).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered]);
    assert_eq!(report.attempts[0].decision.reason, Reason::TlsNotWanted);
    assert_eq!(*server.kept.over_tls.lock().unwrap(), [false]);
}

#[tokio::test]
async fn implicit_tls_has_no_fallback() {
    let pki = Pki::new();
    let server = start(changed(with_tls(&pki), |it| it.implicit = true)).await;
    let by = |port| smart(connector(Posture::Opportunistic), port, true);
    let address = server.address;
    let report = send(&outbound(&pki), address, &by(address.port()), MESSAGE).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");

    // A server that speaks clear text on that port gets nothing.
    let clear = start(with_tls(&pki)).await;
    let address = clear.address;
    let report = send(&outbound(&pki), address, &by(address.port()), MESSAGE).await;
    assert_eq!(
        report.statuses(),
        [RecipientStatus::Deferred(EnhancedCode::new(4, 7, 5))],
        "{report:?}"
    );
    let manners: Vec<Manner> = report.attempts.iter().map(|it| it.manner).collect();
    assert_eq!(manners, [Manner::AsPlanned, Manner::PlainHello]);
    assert!(clear.kept.messages.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_refused_recipient_bounces_and_the_others_get_the_message() {
    let pki = Pki::new();
    let server = start(with_tls(&pki)).await;
    let by = connector(Posture::Deterministic);
    let recipients = ["a@test.example", "nobody@test.example", "b@test.example"];
    let report = send_to(&outbound(&pki), server.address, &by, MESSAGE, &recipients).await;
    let refused = RecipientStatus::Bounced(EnhancedCode::new(5, 1, 1));
    assert_eq!(
        report.statuses(),
        [RecipientStatus::Delivered, refused, RecipientStatus::Delivered]
    );
}

#[tokio::test]
async fn one_connection_carries_many_transactions() {
    let pki = Pki::new();
    let server = start(with_tls(&pki)).await;
    let outbound = outbound(&pki);
    let plan = plan_for(&connector(Posture::Verified), false);
    let host = Host::parse(HOST).unwrap();
    let target = Target::new(&host, &plan);
    let stream = TcpStream::connect(server.address).await.unwrap();
    let connection = outbound.open(&target, stream).await.unwrap();
    let decision = connection.decision().clone();
    assert_eq!(decision.reason, Reason::TlsOk);
    let mut connection = connection;
    for number in 0..5 {
        let body = format!("Subject: {number}\r\n\r\n");
        let recipient = if number == 2 { "nobody@test.example" } else { "reader@test.example" };
        let delivery =
            connection.send(Arc::new(envelope(&[recipient])), &mut body.as_bytes()).await;
        assert_eq!(
            matches!(delivery.end, Ok(OutcomeBuf::Accepted(_))),
            number != 2,
            "{delivery:?}"
        );
    }
    connection.quit().await;
    assert_eq!(server.kept.messages.lock().unwrap().len(), 4);
}

/// Remembers whether a certificate was asked for.
#[derive(Debug)]
struct Asked(Arc<AtomicBool>);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::SeqCst);
        None
    }
    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_certificate_request_is_sent_only_where_configured() {
    let pki = Pki::new();
    let hints = Vec::new();
    for (wanted, certificates) in
        [(false, ClientCertificates::None), (true, ClientCertificates::Request { hints })]
    {
        let tls = server_config(pki.identity(HOST), certificates, provider()).unwrap();
        let server = start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(tls))).await;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(pki.root().clone()).unwrap();
        let asked = Arc::new(AtomicBool::new(false));
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(Asked(Arc::clone(&asked))));
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let mut read = [0; 512];
        for line in [&b""[..], b"EHLO client.test.example\r\n", b"STARTTLS\r\n"] {
            stream.write_all(line).await.unwrap();
            assert!(stream.read(&mut read).await.unwrap() > 0);
        }
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect(HOST.try_into().unwrap(), stream).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), wanted);
    }
}

#[tokio::test]
async fn an_identity_is_shown_to_a_server_that_asks_for_a_certificate() {
    let pki = Pki::new();
    let request = ClientCertificates::Request { hints: Vec::new() };
    let tls = server_config(pki.identity(HOST), request, provider()).unwrap();
    let server = start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(tls))).await;
    let id = IdentityId::new("ours");
    let client_tls = ClientTls::new(provider());
    client_tls.add_identity(id.clone(), pki.identity("client.test.example"));
    let outbound = outbound_with(&pki, client_tls);
    let mut by = connector(Posture::Deterministic);
    // No other connector may ever use it: the plan is the same, the identity is not.
    for identity in [Some(id), None] {
        by.identity = identity;
        send(&outbound, server.address, &by, MESSAGE).await;
    }
    assert_eq!(*server.kept.chains.lock().unwrap(), [1, 0]);
    // RFC 8314, section 4.3: the group, here the hybrid post-quantum one, which comes first.
    let stamps = server.kept.stamps.lock().unwrap();
    let session = "tls TLS_AES_256_GCM_SHA384 group X25519MLKEM768 (version=TLSv1.3)";
    assert!(stamps.iter().all(|stamp| stamp.contains(session)), "{stamps:?}");
    let names = "(Client CN \"client.test.example\", Issuer \"";
    assert!(stamps[0].contains(names) && stamps[0].contains("(verified OK))"), "{stamps:?}");
    assert!(stamps[1].contains("(Client did not present a certificate)"), "{stamps:?}");
}

/// In TLS 1.3 a server's refusal of the client comes after the client's handshake is done.
#[tokio::test]
async fn a_refused_client_counts_as_a_failed_handshake() {
    let pki = Pki::new();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pki.root().clone()).unwrap();
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pki.identity(HOST))));
    let server =
        start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(Arc::new(tls)))).await;
    let by = connector(Posture::Verified);
    let report = send(&outbound(&pki), server.address, &by, MESSAGE).await;
    assert_eq!(
        report.statuses(),
        [RecipientStatus::Deferred(EnhancedCode::new(4, 7, 5))],
        "{report:?}"
    );
    assert_eq!(report.attempts[0].decision.reason, Reason::HandshakeFailed);

    let by = connector(Posture::Deterministic);
    let report = send(&outbound(&pki), server.address, &by, MESSAGE).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    assert_eq!(*server.kept.over_tls.lock().unwrap(), [false]);
}

#[tokio::test]
async fn a_552_in_the_middle_of_a_large_body_ends_it_without_a_deadlock() {
    // The server stops reading after its 552, and the message is larger than every buffer on the
    // way.
    let script = to_data().expect_octets(1).say("552 5.3.4 too big").stall();
    let server = listen([script]).await.unwrap();
    let body =
        vec![b"0123456789abcdef0123456789abcdef0123456789abcdef\r\n".as_slice(); 400_000].concat();
    let by = connector(Posture::None);
    let outbound = outbound(&Pki::new());
    let delivery = send(&outbound, server.address(), &by, body);
    let report =
        tokio::time::timeout(Duration::from_secs(20), delivery).await.expect("no deadlock");
    assert_eq!(
        report.statuses(),
        [RecipientStatus::Bounced(EnhancedCode::new(5, 3, 4))],
        "{report:?}"
    );
}

fn offering_starttls() -> Script {
    Script::new().say("220 mx").expect("EHLO").say("250-mx\n250 STARTTLS")
}

#[tokio::test]
async fn a_reply_injected_after_the_220_to_starttls_defers_the_message() {
    let pki = Pki::new();
    let tls = Tls::server(pki.identity(HOST)).injecting("250 injected").refused();
    let server = listen([offering_starttls().starttls(tls)]).await.unwrap();
    let by = connector(Posture::Verified);
    let report = send(&outbound(&pki), server.address(), &by, MESSAGE).await;
    assert_eq!(report.attempts[0].decision.reason, Reason::PlaintextInjected);
    assert_eq!(report.statuses(), [RecipientStatus::Deferred(EnhancedCode::new(4, 7, 5))]);
    server.finish().await.unwrap();
}

#[tokio::test]
async fn a_stalled_handshake_ends_by_its_deadline() {
    let script = offering_starttls().expect("STARTTLS").say("220 go").stall();
    let server = listen([script]).await.unwrap();
    let by = connector(Posture::Encrypt);
    let outbound = outbound(&Pki::new())
        .with_smtp(|smtp| smtp.timeouts.handshake = Duration::from_millis(200));
    let report = send(&outbound, server.address(), &by, MESSAGE).await;
    assert_eq!(report.attempts[0].decision.reason, Reason::HandshakeTimeout);
    assert_eq!(report.statuses(), [RecipientStatus::Deferred(EnhancedCode::new(4, 7, 5))]);
    server.finish().await.unwrap();
}

#[tokio::test]
async fn a_message_in_doubt_is_not_sent_again() {
    let server = listen([to_data().expect_message().stall()]).await.unwrap();
    let pki = Pki::new();
    let outbound = outbound(&pki).with_smtp(|config| {
        config.timeouts.end_of_data = Duration::from_millis(200);
    });
    let by = connector(Posture::None);
    let report = send(&outbound, server.address(), &by, MESSAGE).await;
    assert_eq!(report.attempts.len(), 1);
    assert_eq!(report.attempts[0].ending, Ending::InDoubt);
    assert_eq!(report.statuses(), [RecipientStatus::Deferred(EnhancedCode::new(4, 4, 2))]);
    server.finish().await.unwrap();
}

#[tokio::test]
async fn a_bare_line_end_is_never_sent() {
    let pki = Pki::new();
    let server = start(with_tls(&pki)).await;
    let by = connector(Posture::Deterministic);
    let report =
        send(&outbound(&pki), server.address, &by, &b"Subject: x\r\n\r\na\nb\r\n"[..]).await;
    assert_eq!(
        report.statuses(),
        [RecipientStatus::Bounced(EnhancedCode::new(5, 6, 0))],
        "{report:?}"
    );
    assert!(server.kept.messages.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_slow_handler_holds_back_only_its_own_connection() {
    let pki = Pki::new();
    let server = start(with_tls(&pki)).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    let script = b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<slow@test.example>\r\nNOOP\r\n";
    slow.write_all(script).await.unwrap();
    // What is queued is sent although the handler thinks for an hour.
    let mut got = Vec::new();
    while !got.ends_with(b"250 2.1.0 sender OK\r\n") {
        assert!(slow.read_buf(&mut got).await.unwrap() > 0, "{}", String::from_utf8_lossy(&got));
    }
    let by = connector(Posture::Deterministic);
    let report = send(&outbound(&pki), server.address, &by, MESSAGE).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered]);
}

#[tokio::test]
async fn a_client_that_closes_its_side_after_quit_gets_every_reply() {
    let pki = Pki::new();
    let server = start(with_tls(&pki)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let script =
        b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@test.example>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n";
    stream.write_all(script).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).await.unwrap();
    assert!(got.contains("\r\n250 2.0.0 kept\r\n221 "), "{got}");
    assert_eq!(*server.kept.messages.lock().unwrap(), [b"hello\r\n"]);
}

#[tokio::test]
async fn a_message_without_its_final_dot_is_not_stored() {
    let pki = Pki::new();
    let server = start(with_tls(&pki)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@test.example>\r\nDATA\r\nhello\r\n")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).await.unwrap();
    assert!(server.kept.messages.lock().unwrap().is_empty());
    assert_eq!(*server.kept.lost.lock().unwrap(), [7]);
}

#[tokio::test]
async fn a_connection_over_the_cap_gets_421() {
    let pki = Pki::new();
    let server = start(changed(with_tls(&pki), |it| it.connections = 1)).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    let mut greeting = [0; 3];
    first.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"220");
    let mut second = String::new();
    TcpStream::connect(server.address).await.unwrap().read_to_string(&mut second).await.unwrap();
    assert_eq!(second, "421 4.3.2 too many connections\r\n");
}

#[tokio::test]
async fn shutdown_lets_a_message_come_to_its_end() {
    let pki = Pki::new();
    let server = start(with_tls(&pki)).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let mut busy = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"EHLO x\r\n").await.unwrap();
    busy.write_all(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@test.example>\r\nDATA\r\nhel")
        .await
        .unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"354 end with <CRLF>.<CRLF>\r\n") {
        assert!(busy.read_buf(&mut got).await.unwrap() > 0);
    }
    server.stop.send(()).unwrap();
    let mut last = String::new();
    idle.read_to_string(&mut last).await.unwrap();
    assert!(last.ends_with("421 4.3.2 shutting down\r\n"), "{last}");
    busy.write_all(b"lo\r\n.\r\n").await.unwrap();
    let mut last = String::new();
    busy.read_to_string(&mut last).await.unwrap();
    assert_eq!(last, "250 2.0.0 kept\r\n421 4.3.2 shutting down\r\n");
    server.task.await.unwrap().unwrap();
    assert_eq!(*server.kept.messages.lock().unwrap(), [b"hello\r\n"]);
}

#[tokio::test]
async fn a_retry_in_clear_text_is_none_where_the_plan_requires_tls() {
    let pki = Pki::new();
    let server = start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = None)).await;
    for (posture, opens) in
        [(Posture::Opportunistic, true), (Posture::Encrypt, false), (Posture::Verified, false)]
    {
        let plan = plan_for(&connector(posture), false);
        let host = Host::parse(HOST).unwrap();
        let mut target = Target::new(&host, &plan);
        target.manner = Manner::ClearText;
        let stream = TcpStream::connect(server.address).await.unwrap();
        let connection = outbound(&pki).open(&target, stream).await;
        assert_eq!(connection.is_ok(), opens, "{posture}");
    }
}

#[tokio::test]
async fn required_starttls_turns_clear_mail_away() {
    let pki = Pki::new();
    let config = changed(smtp(), |it| it.starttls = StartTls::Required);
    let server =
        start(changed(Inbound::new(Arc::new(config)), |it| it.tls = Some(pki.server_config(HOST))))
            .await;
    let by = connector(Posture::None);
    let report = send(&outbound(&pki), server.address, &by, MESSAGE).await;
    assert_eq!(
        report.statuses(),
        [RecipientStatus::Bounced(EnhancedCode::new(5, 7, 0))],
        "{report:?}"
    );
}
