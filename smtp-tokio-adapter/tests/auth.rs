//! Connections with credentials, against servers that are not to have them.

mod common;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{
    HOST, Pki, Taker, changed, connector, envelope, outbound, outbound_with, plan_for, provider,
    smart, smtp, start, to_host,
};
use smtp_proto::Secret;
use smtp_proto::channel::ChannelBinding;
use smtp_proto::client::AuthFailure;
use smtp_proto::fallback::{Fallback, TlsFailure};
use smtp_proto::route::RecipientStatus;
use smtp_proto::sasl::client::{AuthRefusal, ChannelFloor, Credentials};
use smtp_proto::sasl::scram::{Keys, MIN_ITERATIONS};
use smtp_proto::sasl::server::{self as sasl, Answer, Question};
use smtp_proto::wire::command::{Xclient, XclientValue};
use smtp_proto::wire::reply::{EnhancedCode, Response};
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::{Posture, SmartHost};
use smtp_tls_policy::tls::ClientTls;
use smtp_tls_policy::{Domain, Host};
use smtp_tokio_adapter::Mail;
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::test_kit::{Listening, Peer, Script, ScriptError, Tls, listen_with};
use smtp_tokio_adapter::{Connection, Failure, Outbound, Report, Target};
use smtp_tokio_adapter::{Inbound, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// `\0user\0pencil`, as AUTH PLAIN sends it.
const PLAIN: &str = "AHVzZXIAcGVuY2ls";

/// A server of a few fixed replies.
#[derive(Clone)]
struct Fake {
    /// What EHLO says in clear text, and inside TLS.
    clear: &'static [&'static str],
    inside: &'static [&'static str],
    /// The reply to STARTTLS, and what comes after it at once.
    starttls: &'static str,
    /// The replies to AUTH and to each line after it.
    auth: &'static [&'static str],
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// What a server was told on all its connections.
#[derive(Debug, Default)]
struct Heard {
    connections: usize,
    clear: String,
    inside: String,
}

impl Fake {
    fn new(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        Self {
            clear: &["STARTTLS", "AUTH PLAIN LOGIN"],
            inside: &["AUTH PLAIN LOGIN"],
            starttls: "220 go",
            auth: &["235 2.7.0 ok"],
            tls,
        }
    }

    async fn start(&self) -> Listening {
        let fake = self.clone();
        listen_with(move |peer, _| fake.clone().converse(peer)).await.unwrap()
    }

    async fn converse(self, mut peer: Peer) -> Result<Peer, ScriptError> {
        let say = |text: &str| Script::new().say(text);
        peer.play(&say("220 mx")).await?;
        let (mut keywords, mut auth, mut authenticating) = (self.clear, self.auth.iter(), false);
        let served = peer.serve(|line| {
            let verb = line.split(' ').next()?;
            if authenticating || verb == "AUTH" {
                // Without a further reply the server hangs up.
                let Some(reply) = auth.next() else { return Some(Script::new().close()) };
                authenticating = reply.starts_with("334");
                return Some(say(reply));
            }
            match verb {
                "EHLO" => {
                    let lines = keywords.iter().map(|line| format!("250-{line}\n"));
                    Some(say(&format!("250-mx\n{}250 HELP", lines.collect::<String>())))
                }
                "STARTTLS" if self.starttls.starts_with("220") => {
                    keywords = self.inside;
                    let granted = say(self.starttls);
                    Some(match &self.tls {
                        Some(tls) => granted.tls(Tls::server_with(Arc::clone(tls))),
                        None => granted.close(),
                    })
                }
                "STARTTLS" => Some(say(self.starttls)),
                "XCLIENT" => Some(say("220 again")),
                _ => None,
            }
        });
        // A client may refuse the handshake.
        let _: Result<(), ScriptError> = served.await;
        Ok(peer)
    }
}

/// What was heard in all, once every connection is closed.
async fn all(server: Listening) -> Heard {
    let peers = server.finish().await.unwrap();
    let mut heard = Heard { connections: peers.len(), ..Heard::default() };
    for peer in &peers {
        let (clear, inside) = match peer.transcript().split_once("- TLS established\n") {
            Some((clear, inside)) => (clear, inside),
            None => (peer.transcript(), ""),
        };
        for (lines, heard) in [(clear, &mut heard.clear), (inside, &mut heard.inside)] {
            let received = lines.lines().filter_map(|line| line.strip_prefix("< "));
            heard.extend(received.flat_map(|line| [line, "\r\n"]));
        }
    }
    heard
}

async fn send(
    outbound: &Outbound,
    server: &Listening,
    posture: Posture,
    credentials: Credentials,
) -> Report {
    let by = smart(connector(posture), server.address().port(), false);
    let sender = to_host(outbound, 25, &[Ipv4Addr::LOCALHOST.into()]);
    let (domain, envelope) =
        (Host::parse("test.example").unwrap(), envelope(&["reader@test.example"]));
    let message = Bytes::from_static(b"Subject: secret\r\n\r\n");
    let mail = Mail::new(&by, &domain, &envelope, &message).credentials(&credentials);
    sender.send_mail(&mail).await
}

async fn open(
    outbound: &Outbound,
    server: &Listening,
    posture: Posture,
    credentials: &Credentials,
) -> Result<Connection<TcpStream>, Failure> {
    let (host, plan) = (Host::parse(HOST).unwrap(), plan_for(&connector(posture), false));
    let mut target = Target::new(&host, &plan);
    target.credentials = Some(credentials.clone());
    let stream = TcpStream::connect(server.address()).await.unwrap();
    outbound.open(&target, stream).await.map_err(|error| error.failure)
}

fn password() -> Credentials {
    Credentials::password("user", "pencil")
}

#[tokio::test]
async fn mail_is_sent_once_the_server_has_taken_the_credentials() {
    let pki = Pki::new();
    let fake = Fake::new(Some(pki.server_config(HOST)));
    let server = fake.start().await;
    let report = send(&outbound(&pki), &server, Posture::Verified, password()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    let heard = all(server).await;
    assert_eq!(heard.clear, "EHLO client.test.example\r\nSTARTTLS\r\n");
    let start = format!(
        "EHLO client.test.example\r\nAUTH PLAIN {PLAIN}\r\nMAIL FROM:<sender@client.test.example>"
    );
    assert!(heard.inside.starts_with(&start), "{heard:?}");
}

/// S16: whatever the plan allows without credentials. Nothing of them, and nothing of the mail, in
/// clear text.
#[tokio::test]
async fn with_credentials_there_is_no_clear_text() {
    let pki = Pki::new();
    let other = Pki::new();
    let tls = Some(pki.server_config(HOST));
    let stripped = Fake { clear: &["AUTH PLAIN LOGIN SCRAM-SHA-256"], ..Fake::new(None) };
    let refused = Fake { starttls: "454 not now", ..Fake::new(None) };
    let unknown = Fake { starttls: "502 what", ..Fake::new(None) };
    let injected = Fake { starttls: "220 go\n250-mx\n250 AUTH PLAIN", ..Fake::new(tls.clone()) };
    let broken = Fake::new(None);
    let untrusted = Fake::new(Some(other.server_config(HOST)));
    let only_clear = Fake { inside: &[], ..Fake::new(tls) };
    for (what, fake, status) in [
        ("stripped", stripped, (4, 7, 4)),
        ("refused", refused, (4, 7, 4)),
        ("unknown", unknown, (4, 7, 4)),
        ("injected", injected, (4, 7, 5)),
        ("broken", broken, (4, 7, 5)),
        ("untrusted", untrusted, (4, 7, 5)),
        ("AUTH in clear text only", only_clear, (4, 7, 4)),
    ] {
        for posture in
            [Posture::None, Posture::Opportunistic, Posture::Deterministic, Posture::Verified]
        {
            let server = fake.start().await;
            let report = send(&outbound(&pki), &server, posture, password()).await;
            let RecipientStatus::Deferred(code) = report.statuses()[0] else {
                panic!("{what}, {posture}: {report:?}")
            };
            let heard = all(server).await;
            for text in [&heard.clear, &heard.inside] {
                assert!(
                    !text.contains("AUTH") && !text.contains("MAIL"),
                    "{what}, {posture}: {heard:?}"
                );
            }
            // The second connection repeats the handshake. None speaks clear text only.
            let connections = if what == "broken" { 2 } else { 1 };
            assert_eq!(heard.connections, connections, "{what}, {posture}");
            assert!(report.recipients.iter().all(|it| !it.clear_next_run));
            // An unjudged certificate is no reason to break off, but reason enough to keep the
            // password.
            if posture == Posture::Verified {
                assert_eq!((code.class, code.subject, code.detail), status, "{what}, {posture}");
            }
        }
    }
}

#[tokio::test]
async fn a_password_is_not_shown_to_just_anybody() {
    let pki = Pki::new();
    let fake = Fake::new(Some(Pki::new().server_config(HOST)));
    for posture in [Posture::None, Posture::Opportunistic, Posture::Encrypt] {
        let server = fake.start().await;
        for credentials in [password(), Credentials::token("user", "token")] {
            let failure = open(&outbound(&pki), &server, posture, &credentials).await.err();
            let expected = match credentials {
                _ if credentials == password() => AuthRefusal::UnauthenticatedPeer,
                _ => AuthRefusal::NotOffered,
            };
            assert!(
                matches!(failure, Some(Failure::Auth(refusal)) if refusal == expected),
                "{posture}: {failure:?}"
            );
        }
        let inside = all(server).await.inside;
        // It goes away in good order.
        assert!(!inside.contains("AUTH") && inside.ends_with("QUIT\r\n"), "{inside}");
        // Unless told.
        let server = fake.start().await;
        let mut lax = password();
        lax.floor = ChannelFloor::Encrypted;
        let connection = open(&outbound(&pki), &server, posture, &lax).await.unwrap();
        connection.quit().await;
        assert!(all(server).await.inside.contains(PLAIN));
    }
}

#[tokio::test]
async fn clear_text_is_used_only_where_it_was_allowed() {
    let pki = Pki::new();
    let fake = Fake { clear: &["AUTH PLAIN"], ..Fake::new(None) };
    let server = fake.start().await;
    let mut told = password();
    told.floor = ChannelFloor::Clear;
    let report = send(&outbound(&pki), &server, Posture::None, told.clone()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    assert!(all(server).await.clear.contains(PLAIN));
    // A plan that requires TLS does so still.
    let server = fake.start().await;
    let report = send(&outbound(&pki), &server, Posture::Encrypt, told).await;
    assert_eq!(
        report.statuses(),
        [RecipientStatus::Deferred(EnhancedCode::new(4, 7, 4))],
        "{report:?}"
    );
    assert!(!all(server).await.clear.contains("AUTH"));
}

#[tokio::test]
async fn what_a_server_says_of_the_credentials_defers_the_mail() {
    let pki = Pki::new();
    let cases: [(&'static [&'static str], AuthFailure, (u16, u16)); 5] = [
        (&["535 5.7.8 no"], AuthFailure::Credentials, (7, 8)),
        (&["535 no"], AuthFailure::Credentials, (7, 8)),
        (&["454 4.7.0 later"], AuthFailure::Temporary, (7, 0)),
        (&["534 5.7.9 weak"], AuthFailure::TooWeak, (7, 9)),
        (&["421 4.3.2 bye"], AuthFailure::Temporary, (3, 2)),
    ];
    for (auth, class, (subject, detail)) in cases {
        let fake = Fake { auth, ..Fake::new(Some(pki.server_config(HOST))) };
        let server = fake.start().await;
        let report = send(&outbound(&pki), &server, Posture::Verified, password()).await;
        // Never bounced, and never sent without.
        assert_eq!(
            report.statuses(),
            [RecipientStatus::Deferred(EnhancedCode::new(4, subject, detail))],
            "{auth:?}"
        );
        let heard_of_it = all(server).await;
        assert!(!heard_of_it.inside.contains("MAIL"));
        // One attempt: a wrong password is not tried again with another mechanism or on another
        // connection.
        assert_eq!((heard_of_it.inside.matches("AUTH").count(), heard_of_it.connections), (1, 1));
        let server = fake.start().await;
        let failure = open(&outbound(&pki), &server, Posture::Verified, &password()).await.err();
        assert!(
            matches!(failure, Some(Failure::AuthenticationFailed { failure, .. }) if failure == class),
            "{failure:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_skips_the_proof_gets_no_mail() {
    let pki = Pki::new();
    for auth in [&["235 ok"] as &'static [&'static str], &["334 cj14", "501 cancelled"]] {
        let inside = &["AUTH PLAIN SCRAM-SHA-256"];
        let fake = Fake { auth, inside, ..Fake::new(Some(pki.server_config(HOST))) };
        let server = fake.start().await;
        let report = send(&outbound(&pki), &server, Posture::Verified, password()).await;
        assert_eq!(
            report.statuses(),
            [RecipientStatus::Deferred(EnhancedCode::new(4, 7, 0))],
            "{report:?}"
        );
        let inside = all(server).await.inside;
        // No mail, and no second attempt in which the password would be shown.
        assert!(
            !inside.contains("MAIL") && !inside.contains("PLAIN") && inside.ends_with("QUIT\r\n"),
            "{inside}"
        );
    }
}

#[tokio::test]
async fn a_lost_session_is_not_replaced_by_clear_text() {
    let pki = Pki::new();
    let fake = Fake { auth: &["334 "], ..Fake::new(Some(pki.server_config(HOST))) };
    let server = fake.start().await;
    let mut long = password();
    long.authorization = "x".repeat(400);
    let failure = open(&outbound(&pki), &server, Posture::Opportunistic, &{
        let mut credentials = long;
        credentials.floor = ChannelFloor::Encrypted;
        credentials
    })
    .await
    .err();
    let Some(Failure::NoTls { failure, fallback, .. }) = failure else { panic!("{failure:?}") };
    assert_eq!(
        (failure, fallback),
        (TlsFailure::Lost { end_of_data_sent: false }, Fallback::Forbidden)
    );
    assert_eq!(all(server).await.connections, 1);
}

/// Knows one user, remembers what its session can be bound to, and takes mail from this user only.
fn bound(bindings: Arc<Mutex<Vec<ChannelBinding>>>) -> Taker {
    let taker = Taker::new(|session: &Session| match &session.identity {
        Some(identity) if identity.user == "user" => Response::fixed(250, (2, 0, 0), "OK"),
        _ => Response::fixed(550, (5, 7, 1), "no"),
    });
    taker.with_users(move |session, question| {
        *bindings.lock().unwrap() =
            session.tls.as_ref().map(|tls| tls.bindings.clone()).unwrap_or_default();
        match question {
            Question::Keys { user } if user == "user" => Answer::Keys(
                Keys::derive(&Secret::from("pencil"), b"0123456789abcdef", 4096).unwrap(),
            ),
            _ => Answer::Refused,
        }
    })
}

/// The whole way, with a mechanism that succeeds only if both ends know the same of their channel.
#[tokio::test]
async fn scram_plus_is_bound_to_sessions_new_and_resumed() {
    let (exporter, end_point) = ("tls-exporter", "tls-server-end-point");
    let pki = Pki::new();
    let outbound = outbound_with(&pki, ClientTls::new(provider()));
    let mut seen = Vec::new();
    for (version, names) in [
        (&rustls::version::TLS13, vec![exporter, end_point]),
        (&rustls::version::TLS12, vec![end_point]),
    ] {
        let identity = pki.identity(HOST);
        let config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(identity)));
        let [plus, _] = sasl::scram(Secret::from("decoy"), MIN_ITERATIONS, || Some([7; 24].into()));
        let smtp = changed(smtp(), |it| it.mechanisms = vec![plus]);
        let inbound = changed(Inbound::new(Arc::new(smtp)), |it| it.tls = Some(Arc::new(config)));
        let theirs = Arc::new(Mutex::new(Vec::new()));
        let (host, plan) =
            (Host::parse(HOST).unwrap(), plan_for(&connector(Posture::Verified), false));
        let mut target = Target::new(&host, &plan);
        target.credentials = Some(password());
        // The second session is resumed from the first.
        for _ in 0..2 {
            let (ours, peer) = tokio::io::duplex(1 << 16);
            let (inbound, handler) = (inbound.clone(), bound(Arc::clone(&theirs)));
            let (_leave, leaving) = tokio::sync::watch::channel(false);
            let serving = tokio::spawn(async move {
                smtp_tokio_adapter::handle(&inbound, handler, peer, None, leaving).await;
            });
            let connection = outbound.open(&target, ours).await.unwrap();
            let decision = connection.decision().clone();
            let mut connection = connection;
            let envelope = Arc::new(envelope(&["reader@test.example"]));
            let delivery = connection.send(envelope, &mut b"x\r\n".as_slice()).await;
            assert_eq!(delivery.status(0), Some(RecipientStatus::Delivered));
            connection.quit().await;
            serving.await.unwrap();
            let bindings = decision.tls.unwrap().bindings.clone();
            assert_eq!(bindings.iter().map(ChannelBinding::name).collect::<Vec<_>>(), names);
            assert_eq!(bindings, *theirs.lock().unwrap());
            assert!(bindings.iter().all(|binding| binding.data().as_bytes().len() == 32));
            seen.push(bindings);
        }
    }
    // Each session has an exporter of its own; a certificate is the same in all of its sessions.
    assert_ne!(seen[0][0], seen[1][0]);
    assert_eq!(seen[0][1], seen[1][1]);
    assert_ne!(seen[0][1], seen[2][0]);
    assert_eq!(seen[2], seen[3]);
}

#[tokio::test]
async fn xclient_makes_authentication_start_again() {
    let pki = Pki::new();
    for (auth, opens) in [(&["235 ok", "235 ok"], true), (&["235 ok", "535 5.7.8 no"], false)] {
        let fake = Fake {
            auth,
            inside: &["AUTH PLAIN", "XCLIENT PORT"],
            ..Fake::new(Some(pki.server_config(HOST)))
        };
        let server = fake.start().await;
        let mut connection =
            open(&outbound(&pki), &server, Posture::Verified, &password()).await.unwrap();
        let proxy = changed(Xclient::default(), |it| it.port = Some(XclientValue::Value(25)));
        let reply = connection.xclient(&proxy).await;
        assert_eq!(reply.is_ok(), opens, "{reply:?}");
        let delivery = connection
            .send(Arc::new(envelope(&["reader@test.example"])), &mut b"x".as_slice())
            .await;
        assert_eq!(delivery.end.is_ok(), opens, "{delivery:?}");
        connection.quit().await;
        let inside = all(server).await.inside;
        assert_eq!(
            (inside.matches(PLAIN).count(), inside.contains("MAIL")),
            (2, opens),
            "{inside}"
        );
    }
}

/// What is for the smart host is not for the hosts that the DNS names.
#[tokio::test]
async fn only_the_smart_host_is_shown_credentials() {
    let (domain, host) = (Domain::parse("test.example").unwrap(), Domain::parse(HOST).unwrap());
    for smart in [true, false] {
        let pki = Pki::new();
        let fake = Fake::new(Some(pki.server_config(HOST)));
        let server = fake.start().await;
        let port = server.address().port();
        let mut zone = Zone::new(DnsStatus::Insecure);
        zone.add_mx(&domain, 10, &host).add_host(&host, [Ipv4Addr::LOCALHOST.into()]);
        let sender = common::sender(&pki, zone, port);
        let mut connector = connector(Posture::Verified);
        let mut smart_host = SmartHost::new(Host::parse(HOST).unwrap());
        smart_host.port = port;
        connector.smart_host = smart.then_some(smart_host);
        let (domain, envelope) =
            (Host::parse("test.example").unwrap(), envelope(&["reader@test.example"]));
        let (message, credentials) = (Bytes::from_static(b"x\r\n"), password());
        let mail = Mail::new(&connector, &domain, &envelope, &message).credentials(&credentials);
        let report = sender.send_mail(&mail).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
        sender.close().await;
        assert_eq!(all(server).await.inside.contains("AUTH"), smart);
    }
}

/// A plan without credentials is as it was.
#[tokio::test]
async fn without_credentials_nothing_changes() {
    let pki = Pki::new();
    let server = start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = None)).await;
    let by = connector(Posture::Opportunistic);
    let report = common::send(&outbound(&pki), server.address, &by, "x\r\n").await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered]);
}

/// RFC 9266, section 4.2, and RFC 5929, section 4.1, computed without this library.
#[tokio::test]
async fn bindings_are_those_of_the_rfcs() {
    let pki = Pki::new();
    let server = pki.server_config(HOST);
    let (ours, peer) = tokio::io::duplex(1 << 16);
    let theirs = tokio::spawn(async move {
        let mut stream = TlsAcceptor::from(server).accept(peer).await.unwrap();
        stream.write_all(b"220 mx\r\n").await.unwrap();
        while stream.read_u8().await.unwrap() != b'\n' {}
        stream.write_all(b"250 mx\r\n").await.unwrap();
        while stream.read_u8().await.unwrap() != b'\n' {}
        stream.write_all(b"221 bye\r\n").await.unwrap();
        let exported = stream.get_ref().1.export_keying_material(
            [0; 32],
            b"EXPORTER-Channel-Binding",
            Some(b""),
        );
        while stream.read_u8().await.is_ok() {}
        exported.unwrap()
    });
    let (host, plan) = (Host::parse(HOST).unwrap(), plan_for(&connector(Posture::Verified), true));
    let target = Target::new(&host, &plan);
    let connection = outbound(&pki).open(&target, ours).await.unwrap();
    let decision = connection.decision().clone();
    connection.quit().await;
    let bindings = &decision.tls.as_ref().unwrap().bindings;
    assert_eq!(*bindings[0].data(), Secret::from(theirs.await.unwrap().as_slice()));
}
