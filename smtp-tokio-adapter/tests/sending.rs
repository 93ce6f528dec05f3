//! A client whose peer, or whose message, behaves badly; in memory where that is enough.

mod common;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use common::{
    HOST, Pki, changed, connector, envelope, outbound, outbound_with, pipelined, plan_for,
    provider, send, sender_of, smtp, start, to_data, to_host, to_mail,
};
use rustls::pki_types::UnixTime;
use smtp_proto::error::Error;
use smtp_proto::route::{NO_SUCH_DOMAIN, RecipientStatus};
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::inquiry::DnsAnswer;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::{IdentityId, OutboundConnector, Posture};
use smtp_tls_policy::tls::{ClientCertificates, ClientTls, server_config};
use smtp_tls_policy::{Domain, Host, Reason};
use smtp_tokio_adapter::Inbound;
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::test_kit::{Listening, Peer, Script, in_memory, listen};
use smtp_tokio_adapter::{
    Connection, Delivery, Failure, Io, Mail, Message, Outbound, OutcomeBuf, Report, Target,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpListener;
use tokio::time::Instant;

async fn open<S: Io>(outbound: &Outbound, stream: S) -> Connection<S> {
    let (host, plan) = (Host::parse(HOST).unwrap(), plan_for(&connector(Posture::None), false));
    let target = Target::new(&host, &plan);
    outbound.open(&target, stream).await.unwrap()
}

async fn mail<S: Io>(
    connection: &mut Connection<S>,
    body: &mut (impl AsyncRead + Unpin + Send),
) -> Delivery {
    connection.send(Arc::new(envelope(&["reader@test.example"])), body).await
}

fn lines(octets: usize) -> Vec<u8> {
    b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n".repeat(octets / 64)
}

/// A stream to which nothing can be written any more once the flag is up.
struct Breaking(DuplexStream, Arc<AtomicBool>);

impl AsyncRead for Breaking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Breaking {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.1.load(Ordering::SeqCst) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_552_from_a_server_that_hung_up_counts() {
    let (ours, theirs) = tokio::io::duplex(1024);
    let broken = Arc::new(AtomicBool::new(false));
    let stream = Breaking(ours, Arc::clone(&broken));
    let peer = tokio::spawn(async move {
        let mut peer = Peer::new(theirs);
        peer.play(&to_data().expect_octets(100).say("552 5.3.4 too big")).await.unwrap();
        broken.store(true, Ordering::SeqCst);
        peer
    });
    let mut connection = open(&outbound(&Pki::new()), stream).await;
    let delivery = mail(&mut connection, &mut lines(1 << 20).as_slice()).await;
    assert!(matches!(delivery.end, Ok(OutcomeBuf::Refused { .. })), "{delivery:?}");
    assert_eq!(delivery.status(0), Some(RecipientStatus::Bounced(EnhancedCode::new(5, 3, 4))));
    drop(peer);
}

#[tokio::test]
async fn replies_before_their_commands_end_the_connection() {
    let replies = Script::new().say("220 mx\n250-mx\n250 STARTTLS\n220 go");
    let (ours, peer) = in_memory(replies.expect_end());
    let (host, plan) = (Host::parse(HOST).unwrap(), plan_for(&connector(Posture::Verified), false));
    let target = Target::new(&host, &plan);
    let refused = outbound(&Pki::new()).open(&target, ours).await.map(drop).unwrap_err();
    assert!(matches!(refused.failure, Failure::Protocol(Error::UnsolicitedReply)));
    peer.await.unwrap().expect("no command was sent");
}

#[tokio::test]
async fn a_server_that_loses_its_way_at_rset_has_neither_taken_nor_bounced_anything() {
    for reply in ["354 what", "550 5.5.1 no", "450 later"] {
        let refused = to_mail().expect("RCPT").say("550 5.1.1 unknown");
        let (ours, peer) = in_memory(refused.expect("RSET").say(reply));
        let mut connection = open(&outbound(&Pki::new()), ours).await;
        let first = mail(&mut connection, &mut &b"x\r\n"[..]).await;
        assert_eq!(first.end.unwrap(), OutcomeBuf::NoRecipients);
        let second = mail(&mut connection, &mut &b"x\r\n"[..]).await;
        let word = second.status(0);
        assert!(
            matches!(word, None | Some(RecipientStatus::Deferred(EnhancedCode { class: 4, .. }))),
            "{reply}: {word:?}"
        );
        drop(peer);
    }
}

#[tokio::test]
async fn a_server_that_closes_its_side_in_the_middle_of_the_body_does_not_get_the_rest() {
    let (ours, peer) = in_memory(to_data().end_output().ignore());
    let mut connection = open(&outbound(&Pki::new()), ours).await;
    let delivery = mail(&mut connection, &mut lines(8 << 20).as_slice()).await;
    assert!(matches!(delivery.end, Err(Failure::Protocol(_))), "{delivery:?}");
    drop(connection);
    assert!(peer.await.unwrap().unwrap().received() < 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn after_an_early_552_the_rest_of_the_message_is_not_sent_to_a_server_that_does_not_read() {
    let (ours, peer) = in_memory(to_data().expect_octets(100).say("552 5.3.4 too big"));
    let mut connection = open(&outbound(&Pki::new()), ours).await;
    let delivery = mail(&mut connection, &mut lines(1 << 20).as_slice()).await;
    assert!(matches!(delivery.end, Ok(OutcomeBuf::Refused { .. })), "{delivery:?}");
    let begun = Instant::now();
    connection.quit().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_loses_its_patience_is_heard_while_the_source_stalls() {
    for (word, expected) in [
        ("421 4.4.2 too slow\r\n", Some(RecipientStatus::Deferred(EnhancedCode::new(4, 4, 2)))),
        ("552 5.3.4 too big\r\n", Some(RecipientStatus::Bounced(EnhancedCode::new(5, 3, 4)))),
        ("", None),
    ] {
        let (ours, peer) = in_memory(to_data().send(word).end_output());
        let mut connection = open(&outbound(&Pki::new()), ours).await;
        let (mut source, _held) = tokio::io::duplex(1);
        let sending =
            tokio::time::timeout(Duration::from_secs(5), mail(&mut connection, &mut source));
        let delivery = sending.await.expect("the word is there");
        assert_eq!(delivery.status(0), expected, "{delivery:?}");
        drop(peer);
    }
}

/// One line every 50 ms.
struct Dripping(u8, Option<Pin<Box<tokio::time::Sleep>>>);

impl AsyncRead for Dripping {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let sleep =
            self.1.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(50))));
        std::task::ready!(sleep.as_mut().poll(cx));
        self.1 = None;
        if self.0 > 0 {
            self.0 -= 1;
            buffer.put_slice(b"line\r\n");
        }
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_source_is_passed_on_as_it_comes() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let peer = tokio::spawn(async move {
        let mut peer = Peer::new(theirs);
        peer.play(&to_data()).await.unwrap();
        let first = Script::new().expect_octets(1);
        let first = tokio::time::timeout(Duration::from_millis(500), peer.play(&first)).await;
        let rest = Script::new().expect_message().say("250 ok").expect("QUIT").say("221 bye");
        peer.play(&rest).await.unwrap();
        first.is_ok()
    });
    let outbound = outbound(&Pki::new()).with_smtp(|smtp| {
        smtp.timeouts.body = Duration::from_millis(500);
    });
    let mut connection = open(&outbound, ours).await;
    let delivery = mail(&mut connection, &mut Dripping(20, None)).await;
    assert!(matches!(delivery.end, Ok(OutcomeBuf::Accepted(_))), "{delivery:?}");
    connection.quit().await;
    assert!(peer.await.unwrap(), "the first line came late");
}

/// Sends to a host at two addresses, by this connector. The message is not measured.
async fn report(
    outbound: &Outbound,
    address: SocketAddr,
    connector: &OutboundConnector,
    message: &impl Message,
) -> Report {
    let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(127, 0, 0, 2).into()];
    let sender = to_host(outbound, address.port(), &addresses);
    let domain = Host::parse("test.example").unwrap();
    let envelope = changed(envelope(&["reader@test.example"]), |it| it.size = Some(3));
    let mail = Mail::new(connector, &domain, &envelope, message);
    let delivery = sender.send_mail(&mail);
    tokio::time::timeout(Duration::from_secs(20), delivery).await.expect("no hang")
}

/// A server at every address of the loopback network.
async fn everywhere(script: Script) -> Listening {
    Listening::on(TcpListener::bind("0.0.0.0:0").await.unwrap(), [script]).unwrap()
}

struct Unreadable;

impl Message for Unreadable {
    type Body = tokio::io::Empty;
    async fn open(&self) -> io::Result<Self::Body> {
        Err(io::ErrorKind::NotFound.into())
    }
}

struct Stalled;

impl Message for Stalled {
    type Body = tokio::io::Empty;
    async fn open(&self) -> io::Result<Self::Body> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_not_blamed_on_the_hosts() {
    let script = Script::new().say("220 mx").expect("EHLO").say("250 mx").expect("QUIT");
    let server = everywhere(script.say("221 bye")).await;
    let address = server.address();
    let outbound = outbound(&Pki::new()).with_smtp(|smtp| {
        smtp.timeouts.idle = Duration::from_millis(200);
    });
    let by = connector(Posture::None);
    for report in [
        report(&outbound, address, &by, &Unreadable).await,
        report(&outbound, address, &by, &Stalled).await,
    ] {
        assert_eq!(
            report.statuses(),
            [RecipientStatus::Deferred(EnhancedCode::new(4, 3, 0))],
            "{report:?}"
        );
        assert_eq!(report.attempts.len(), 1);
    }
}

#[tokio::test]
async fn an_identity_that_is_not_loaded_is_not_blamed_on_the_host() {
    let script = Script::new().say("220 mx").expect("EHLO").say("250-mx\n250 STARTTLS");
    let server = everywhere(script.expect("STARTTLS").say("220 go")).await;
    let address = server.address();
    let by =
        changed(connector(Posture::Verified), |it| it.identity = Some(IdentityId::new("lost")));
    let report =
        report(&outbound(&Pki::new()), address, &by, &bytes::Bytes::from_static(b"x\r\n")).await;
    assert_eq!(
        report.statuses(),
        [RecipientStatus::Deferred(EnhancedCode::new(4, 3, 5))],
        "{report:?}"
    );
    assert_eq!(report.attempts.len(), 1);
    assert_eq!(report.attempts[0].decision.reason, Reason::IdentityMissing);
}

#[tokio::test]
async fn a_connection_that_ends_before_tls_is_decided_says_so() {
    let server = everywhere(Script::new().say("554 no service").ignore()).await;
    let address = server.address();
    let body = bytes::Bytes::from_static(b"x\r\n");
    for (posture, reason) in
        [(Posture::Verified, Reason::Undecided), (Posture::None, Reason::TlsNotWanted)]
    {
        let report = report(&outbound(&Pki::new()), address, &connector(posture), &body).await;
        let decision = &report.attempts[0].decision;
        assert_eq!(decision.reason, reason);
        assert_eq!(
            decision.sentence.starts_with("clear text"),
            posture == Posture::None,
            "{}",
            decision.sentence
        );
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let unused = listener.local_addr().unwrap();
    drop(listener);
    let by = connector(Posture::Verified);
    let report = report(&outbound(&Pki::new()), unused, &by, &body).await;
    assert_eq!(report.attempts[1].decision.reason, Reason::Undecided);
}

#[tokio::test]
async fn a_retry_in_clear_text_that_fails_says_what_led_to_it() {
    // With TLS the 220 answers STARTTLS, and what follows is no TLS; in clear text the 220 answers
    // MAIL, and what follows is no reply to RCPT.
    let script = Script::new().say("220 mx").expect("EHLO").say("250-mx\n250 STARTTLS");
    let script = script.expect("").say("220 go").expect_octets(1).say("whatever");
    let server = listen([script]).await.unwrap();
    let address = server.address();
    let body = bytes::Bytes::from_static(b"x\r\n");
    let by = connector(Posture::Opportunistic);
    let report = report(&outbound(&Pki::new()), address, &by, &body).await;
    let reasons: Vec<_> = report.attempts.iter().map(|attempt| attempt.decision.reason).collect();
    // The host's other address is tried before clear text, and nothing listens there.
    let failed = Reason::HandshakeFailed;
    assert_eq!(reasons, [failed, failed, Reason::Undecided, failed], "{report:?}");
    let sentence = &report.attempts[3].decision.sentence;
    assert!(sentence.starts_with("clear text, because the TLS handshake failed"), "{sentence}");
}

#[tokio::test]
async fn a_connection_knows_whether_it_can_be_used_again() {
    let (ours, peer) = in_memory(to_data().expect_message().say("250 ok"));
    let mut connection = open(&outbound(&Pki::new()), ours).await;
    assert!(connection.is_reusable().await);
    let delivery = mail(&mut connection, &mut &b"x\r\n"[..]).await;
    assert!(matches!(delivery.end, Ok(OutcomeBuf::Accepted(_))), "{delivery:?}");
    assert!(connection.is_reusable().await);
    let mut peer = peer.await.unwrap().unwrap();
    peer.play(&Script::new().say("421 4.4.2 too slow")).await.unwrap();
    assert!(!connection.is_reusable().await);
    drop(peer);
    assert!(!connection.is_reusable().await);

    // A transaction that ends with 421 ends the connection, however quiet the server is then.
    let (ours, peer) = in_memory(to_mail().expect("RCPT").say("421 4.3.2 shutting down"));
    let mut connection = open(&outbound(&Pki::new()), ours).await;
    let delivery = mail(&mut connection, &mut &b"x\r\n"[..]).await;
    assert!(matches!(delivery.end, Ok(OutcomeBuf::Refused { .. })), "{delivery:?}");
    assert!(!connection.is_reusable().await);
    drop(peer.await.unwrap());
}

/// RFC 5321, section 4.5.3.1.10: 552 to RCPT is what RFC 821 had for too many recipients.
#[tokio::test]
async fn too_many_recipients_is_no_reason_to_give_one_up() {
    let bounced = |subject, detail| RecipientStatus::Bounced(EnhancedCode::new(5, subject, detail));
    let later = RecipientStatus::Deferred(EnhancedCode::new(4, 5, 3));
    for (reply, status) in [
        ("552 too many recipients", later),
        ("552 5.5.3 too many recipients", later),
        ("452 4.5.3 too many recipients", later),
        ("552 5.2.2 mailbox full", bounced(2, 2)),
        ("552 5.3.4 too big", bounced(3, 4)),
        ("550 no such user", bounced(0, 0)),
    ] {
        let script = pipelined(&format!("250 sender\n250 good\n{reply}\n354 go"));
        let (ours, peer) = in_memory(script.expect_message().say("250 kept"));
        let mut connection = open(&outbound(&Pki::new()), ours).await;
        let envelope = Arc::new(envelope(&["good@test.example", "other@test.example"]));
        let delivery = connection.send(envelope, &mut &b"x\r\n"[..]).await;
        assert_eq!(delivery.status(0), Some(RecipientStatus::Delivered), "{reply}");
        assert_eq!(delivery.status(1), Some(status), "{reply}");
        drop(peer.await.unwrap());
    }
}

/// A recipient that a server's limit leaves for the next transaction is tried at the next host when
/// the server goes away.
#[tokio::test]
async fn a_421_before_the_next_transaction_leads_to_the_next_host() {
    let greeted = Script::new().say("220 mx").expect("EHLO").say("250-mx\n250 LIMITS RCPTMAX=1");
    let accepted = greeted.expect("MAIL").say("250 ok").expect("RCPT");
    let server = everywhere(accepted.say("421 4.3.2 shutting down").stall()).await;
    let address = server.address();
    let outbound = outbound(&Pki::new()).with_smtp(|smtp| {
        smtp.leave_over_limit = true;
    });
    let mut zone = Zone::new(DnsStatus::Insecure);
    for host in ["a.test.example", "b.test.example"] {
        let (domain, host) = (Domain::parse("test.example").unwrap(), Domain::parse(host).unwrap());
        zone.add_mx(&domain, 10, &host).add_host(&host, [Ipv4Addr::LOCALHOST.into()]);
    }
    let sender = sender_of(outbound, zone, address.port());
    let envelope = envelope(&["a@test.example", "b@test.example"]);
    let message = bytes::Bytes::from_static(b"x\r\n");

    let report = sender.send(envelope, &message).await;
    let words = [
        RecipientStatus::Deferred(EnhancedCode::new(4, 3, 2)),
        RecipientStatus::Deferred(EnhancedCode::new(4, 5, 3)),
    ];
    assert_eq!(report.statuses(), words, "{report:?}");
    assert_eq!(report.attempts.len(), 2, "{report:?}");
}

/// The first day of 2001.
#[derive(Debug)]
struct Yesteryear;

impl rustls::time_provider::TimeProvider for Yesteryear {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(978_307_200)))
    }
}

/// A device without a clock of its own, or a test, has one time and not two.
#[tokio::test]
async fn the_time_provider_is_the_only_clock_of_a_judgement() {
    let pki = Pki::new();
    let mut params = rcgen::CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let tls = server_config(pki.sign(&params), ClientCertificates::None, provider()).unwrap();
    let server = start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(tls))).await;
    let clock = ClientTls::new(provider()).with_time_provider(Arc::new(Yesteryear));
    let by = connector(Posture::Verified);
    let report = send(&outbound_with(&pki, clock), server.address, &by, &b"x\r\n"[..]).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
}

#[tokio::test]
async fn a_delivery_can_be_spawned() {
    fn is_send<T: Send>(it: T) -> T {
        it
    }
    let mut zone = Zone::new(DnsStatus::Insecure);
    let nothing = DnsAnswer::no_such_name(DnsStatus::Insecure);
    zone.mx.insert(Domain::parse("test.example").unwrap(), nothing);
    let sender = sender_of(outbound(&Pki::new()), zone, 25);
    let (envelope, message) = (envelope(&["a@test.example"]), bytes::Bytes::new());
    let report = is_send(sender.send(envelope, &message)).await;
    assert_eq!(report.statuses(), [RecipientStatus::Bounced(NO_SUCH_DOMAIN)]);
}
