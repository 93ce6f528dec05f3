//! A server whose clients, or whose handlers, behave badly.

mod common;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{HOST, Pki, Taker, changed, smtp, stamped};
use smtp_proto::Protocol;
use smtp_proto::sasl::server::plain;
use smtp_proto::server::{BareLineEnds, StartTls, Tolerance};
use smtp_proto::wire::body::{BodyDefect, Runs};
use smtp_proto::wire::params::{MailParameters, RcptParameters};
use smtp_proto::wire::path::{ForwardPath, ReversePath};
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::Namespace;
use smtp_tls_policy::pki::RootsId;
use smtp_tls_policy::rules::{ClientCertificate, ClientCheck, InboundConnector, InboundConnectors};
use smtp_tokio_adapter::test_kit::{Peer, Script, Tls, in_memory};
use smtp_tokio_adapter::{
    Admission, Arrival, Collect, Handler, Inbound, Inbox, Session, handle, serve,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Panics at `panic@`, never answers `stuck@`, and counts its ends.
struct Moody(Arc<AtomicUsize>);

impl Handler for Moody {
    async fn recipient(
        &mut self,
        _: &Session,
        path: ForwardPath<'_>,
        _: RcptParameters<'_>,
    ) -> Response {
        assert!(!path.as_str().starts_with("panic"), "as asked");
        if path.as_str().starts_with("stuck") {
            std::future::pending::<()>().await;
        }
        Response::fixed(250, (2, 1, 5), "OK")
    }
    async fn body(&mut self, _: Runs<'_>) {}
    async fn end_of_body(&mut self, _: &Session) -> Response {
        Response::fixed(250, (2, 0, 0), "kept")
    }
    async fn closed(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn inbound() -> Inbound {
    Inbound::new(Arc::new(changed(smtp(), |it| it.starttls = StartTls::No)))
}

async fn until(condition: impl Fn() -> bool) {
    for _ in 0..100 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_replies_is_held_back() {
    const FLOOD: usize = 8 << 20;
    let (mut ours, theirs) = tokio::io::duplex(1 << 12);
    let (_leave, leaving) = watch::channel(false);
    let mut smtp = smtp();
    smtp.limits.idle_commands = usize::MAX;
    let inbound = Inbound::new(Arc::new(smtp));
    let server = tokio::spawn(async move {
        handle(&inbound, Moody(Arc::default()), theirs, None, leaving).await
    });
    let mut taken = 0;
    let flood = b"NOOP\r\n".repeat(1 << 10);
    while taken < FLOOD {
        match tokio::time::timeout(Duration::from_millis(500), ours.write(&flood[taken % 6..]))
            .await
        {
            Ok(written) => taken += written.unwrap(),
            Err(_) => break,
        }
    }
    assert!(taken < 1 << 20, "{taken} octets of commands were taken, and none of their replies");
    // It gets every reply once it reads.
    let mut got = Vec::new();
    while got.windows(4).filter(|it| it == b"250 ").count() < taken / 6 {
        let read = tokio::time::timeout(Duration::from_secs(2), ours.read_buf(&mut got));
        assert!(read.await.expect("a reply").unwrap() > 0);
    }
    server.abort();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_shutdown_sender_is_no_shutdown() {
    let (leave, leaving) = watch::channel(false);
    drop(leave);
    let script = Script::new().expect_reply("220").say("EHLO x").expect_reply("250");
    let (stream, client) = in_memory(script.say("QUIT").expect_reply("221").expect_end());
    handle(&inbound(), Moody(Arc::default()), stream, None, leaving).await;
    client.await.unwrap().unwrap();
}

struct Listening {
    address: SocketAddr,
    ended: Arc<AtomicUsize>,
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn listen(inbound: Inbound) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ended = Arc::new(AtomicUsize::new(0));
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let (counted, made) = (Arc::clone(&ended), AtomicUsize::new(0));
    let service = move |_| {
        assert!(made.fetch_add(1, Ordering::SeqCst) > 0, "the first handler cannot be made");
        Moody(Arc::clone(&counted))
    };
    let task = tokio::spawn(serve(listener, inbound, service, async { drop(stopped.await) }));
    let mut first = TcpStream::connect(address).await.unwrap();
    drop(first.read(&mut [0; 64]).await);
    Listening { address, ended, stop, task }
}

/// A client that has sent RCPT for this recipient.
async fn ask(address: SocketAddr, recipient: &str) -> Peer {
    let mut peer = Peer::new(TcpStream::connect(address).await.unwrap());
    let greeted = Script::new().expect_reply("220").say("EHLO x").expect_reply("250");
    let accepted = greeted.say("MAIL FROM:<>").expect_reply("250");
    peer.play(&accepted.say(&format!("RCPT TO:<{recipient}@test.example>"))).await.unwrap();
    peer
}

#[tokio::test]
async fn a_panic_ends_one_connection_and_nothing_else() {
    let server = listen(changed(inbound(), |it| it.connections = 1)).await;
    for _ in 0..3 {
        let mut peer = ask(server.address, "panic").await;
        peer.play(&Script::new().expect("421 4.3.0 ").expect_end()).await.unwrap();
    }
    until(|| server.ended.load(Ordering::SeqCst) == 3).await;
    let mut peer = ask(server.address, "fine").await;
    peer.play(&Script::new().expect("250 2.1.5 OK")).await.unwrap();
}

#[tokio::test]
async fn after_the_grace_a_stuck_handler_is_closed() {
    let server = listen(changed(inbound(), |it| it.grace = Duration::from_millis(100))).await;
    let _peer = ask(server.address, "stuck").await;
    server.stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), server.task)
        .await
        .expect("no hang")
        .unwrap()
        .unwrap();
    assert_eq!(server.ended.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_client_that_is_still_sending_gets_the_421() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = |_| Moody(Arc::default());
    tokio::spawn(serve(listener, inbound(), service, std::future::pending()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&b"WHAT\r\n".repeat(1 << 21)).await.expect("a server that listens to the end");
    stream.shutdown().await.unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).await.unwrap();
    assert!(
        got.ends_with("421 4.7.0 too many unknown commands, closing the connection\r\n"),
        "{got}"
    );
}

#[tokio::test]
async fn tls_without_a_certificate_is_refused_at_once() {
    for (implicit, starttls) in
        [(true, StartTls::No), (false, StartTls::Offered), (false, StartTls::Required)]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let smtp = Arc::new(changed(smtp(), |it| it.starttls = starttls));
        let inbound = changed(Inbound::new(smtp), |it| it.implicit = implicit);
        let service = |_| Moody(Arc::default());
        let error = serve(listener, inbound, service, std::future::pending()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{implicit} {starttls:?}");
    }
}

/// RFC 5321, section 4.4 and RFC 3848: the protocol follows from the greeting, and from AUTH.
#[tokio::test]
async fn the_received_field_names_the_protocol() {
    for (protocol, greeting, with) in [
        (Protocol::Smtp, "HELO c.test.example\r\n", "SMTP"),
        (Protocol::Smtp, "EHLO c.test.example\r\n", "ESMTP"),
        (Protocol::Smtp, "EHLO c.test.example\r\nAUTH PLAIN AHVzZXIAcGVuY2ls\r\n", "ESMTPA"),
        (Protocol::Lmtp, "LHLO c.test.example\r\n", "LMTP"),
        (Protocol::Lmtp, "LHLO c.test.example\r\nAUTH PLAIN AHVzZXIAcGVuY2ls\r\n", "LMTPA"),
    ] {
        let config = changed(smtp(), |it| {
            it.protocol = protocol;
            it.mechanisms = vec![plain()];
            it.auth_in_clear = true;
        });
        let inbound = Inbound::new(Arc::new(config));
        let (mut ours, theirs) = tokio::io::duplex(1 << 12);
        let (_leave, leaving) = watch::channel(false);
        let peer = Some("192.0.2.7:50000".parse().unwrap());
        let taker =
            Taker::new(|session: &Session| Response::new(250, (2, 0, 0), stamped(session, false)));
        tokio::spawn(async move { handle(&inbound, taker, theirs, peer, leaving).await });
        let message = "MAIL FROM:<>\r\nRCPT TO:<r@test.example>\r\nDATA\r\n\r\n.\r\nQUIT\r\n";
        ours.write_all(format!("{greeting}{message}").as_bytes()).await.unwrap();
        let mut said = String::new();
        ours.read_to_string(&mut said).await.unwrap();
        let from =
            "Received: from c.test.example ([192.0.2.7]) by mx.test.example (smtp-proto) with";
        assert!(
            said.contains(&format!("{from} {with}; Mon, 1 Jun 2026 00:00:00 +0000\r\n")),
            "{said}"
        );
    }
}

/// Takes bare LF after commands from every client, and in messages from one sender.
struct Lenient {
    sender: String,
    message: Arc<Mutex<Vec<u8>>>,
}

impl Handler for Lenient {
    fn tolerance(&mut self, _: &Session) -> Option<Tolerance> {
        let mut tolerance = Tolerance::STRICT;
        tolerance.bare_lf_commands = true;
        if self.sender == "old@test.example" {
            tolerance.bare_line_ends = BareLineEnds::Normalise;
        }
        Some(tolerance)
    }
    async fn mail(
        &mut self,
        _: &Session,
        path: ReversePath<'_>,
        _: MailParameters<'_>,
    ) -> Response {
        self.sender = path.as_str().to_owned();
        Response::fixed(250, (2, 1, 0), "OK")
    }
    async fn recipient(
        &mut self,
        _: &Session,
        _: ForwardPath<'_>,
        _: RcptParameters<'_>,
    ) -> Response {
        Response::fixed(250, (2, 1, 5), "OK")
    }
    async fn body(&mut self, runs: Runs<'_>) {
        runs.append_to(&mut self.message.lock().unwrap());
    }
    async fn body_refused(&mut self, _: BodyDefect) {
        self.message.lock().unwrap().clear();
    }
    async fn end_of_body(&mut self, _: &Session) -> Response {
        Response::fixed(250, (2, 0, 0), "kept")
    }
}

#[tokio::test(start_paused = true)]
async fn handler_sets_the_tolerance_of_a_client_and_of_a_transaction() {
    let message = Arc::new(Mutex::new(Vec::new()));
    let handler = Lenient { sender: String::new(), message: Arc::clone(&message) };
    let (mut ours, theirs) = tokio::io::duplex(1 << 12);
    let (_leave, leaving) = watch::channel(false);
    let inbound = inbound();
    let server =
        tokio::spawn(async move { handle(&inbound, handler, theirs, None, leaving).await });
    let script = "EHLO c\n\
        MAIL FROM:<new@test.example>\nRCPT TO:<b@test.example>\nDATA\na\nb\r\n.\r\n\
        MAIL FROM:<old@test.example>\nRCPT TO:<b@test.example>\nDATA\na\nb\r\n.\r\nQUIT\n";
    ours.write_all(script.as_bytes()).await.unwrap();
    let mut said = String::new();
    ours.read_to_string(&mut said).await.unwrap();
    server.await.unwrap();
    assert!(said.contains("\r\n554 5.6.0 message has a bare CR or LF\r\n"), "{said}");
    assert!(said.contains("\r\n250 2.0.0 kept\r\n221 "), "{said}");
    assert_eq!(*message.lock().unwrap(), b"a\r\nb\r\n");
}

/// Takes recipients at `test.example` and keeps what arrives.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Arrival>>>);

impl Inbox for Kept {
    async fn recipient(&mut self, _: &Session, path: ForwardPath<'_>) -> Response {
        if path.as_str().ends_with("@test.example") {
            Response::fixed(250, (2, 1, 5), "OK")
        } else {
            Response::fixed(550, (5, 1, 1), "not here")
        }
    }
    async fn arrived(&mut self, _: &Session, arrival: Arrival) -> Response {
        self.0.lock().unwrap().push(arrival);
        Response::fixed(250, (2, 0, 0), "kept")
    }
}

#[tokio::test(start_paused = true)]
async fn collected_message_has_its_accepted_recipients_and_nothing_of_an_abandoned_one() {
    let kept = Kept::default();
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let (_leave, leaving) = watch::channel(false);
    let handler = Collect::new("mx.test.example", kept.clone());
    let server =
        tokio::spawn(async move { handle(&inbound(), handler, theirs, None, leaving).await });
    for commands in [
        "HELO client.example\r\n",
        // Given up by EHLO, RSET and a refused message, one after the other.
        "MAIL FROM:<old@client.example>\r\nRCPT TO:<old@test.example>\r\n",
        "EHLO client.example\r\n",
        "MAIL FROM:<old@client.example>\r\nRCPT TO:<old@test.example>\r\nRSET\r\n",
        "MAIL FROM:<a@client.example>\r\nRCPT TO:<b@test.example>\r\n",
        "RCPT TO:<b@other.example>\r\nRCPT TO:<c@test.example>\r\n",
        "DATA\r\nSubject: one\r\n\r\n..dot\r\n.\r\n",
        "MAIL FROM:<>\r\nRCPT TO:<b@test.example>\r\nDATA\r\nSubject: two\r\n.\r\nQUIT\r\n",
    ] {
        ours.write_all(commands.as_bytes()).await.unwrap();
    }
    let mut said = String::new();
    ours.read_to_string(&mut said).await.unwrap();
    server.await.unwrap();
    assert!(said.contains("550 5.1.1 not here") && said.contains("221 "), "{said}");
    let kept = kept.0.lock().unwrap();
    let [one, two] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!(one.reverse_path.to_string(), "<a@client.example>");
    let recipients =
        |it: &Arrival| it.recipients.iter().map(|it| it.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(recipients(one), ["b@test.example", "c@test.example"]);
    assert_eq!(
        (two.reverse_path.to_string(), recipients(two)),
        ("<>".to_owned(), vec!["b@test.example".to_owned()])
    );
    let text = |it: &Arrival| String::from_utf8(it.message.clone()).unwrap();
    for (arrival, end) in [(one, "Subject: one\r\n\r\n.dot\r\n"), (two, "Subject: two\r\n")] {
        let message = text(arrival);
        assert!(message.starts_with("Received: from client.example"), "{message}");
        assert!(message.contains("by mx.test.example") && message.ends_with(end), "{message}");
        assert_eq!(message.matches("Received:").count(), 1, "{message}");
    }
}

/// Every connector of the listener wants a certificate, and the handler takes every client.
#[tokio::test]
async fn listener_whose_connectors_want_a_certificate_bars_a_client_without_one() {
    let pki = Pki::new();
    let mut partner = InboundConnector::new("partner", vec![Namespace::Default]);
    partner.require_tls = true;
    let check = ClientCheck::new(RootsId::public());
    partner.client_certificate = ClientCertificate::Required(check);
    let connectors = Arc::new(InboundConnectors::new(vec![partner]).unwrap());
    let mut inbound = Inbound::new(Arc::new(smtp()));
    inbound.tls = Some(pki.server_config(HOST));
    inbound.admission = Some(Admission::new(connectors, pki.trust()));
    let listening = listen(inbound).await;
    let stream = TcpStream::connect(listening.address).await.unwrap();
    let tls = Tls::client(pki.root(), HOST);
    let greeted = Script::new().expect_reply("220").say("EHLO x").expect_reply("250");
    let script = greeted.starttls(tls).say("EHLO x").expect("554 5.7.0");
    Peer::new(stream).play(&script).await.unwrap();
}
