//! Clients that authenticate to our server, with users that have to be looked up.

mod common;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::log::Log;
use common::{
    HOST, Pki, changed, connector, envelope, outbound, outbound_with, provider, smart, smtp,
    to_host,
};
use smtp_proto::Secret;
use smtp_proto::route::RecipientStatus;
use smtp_proto::sasl::client::Credentials;
use smtp_proto::sasl::scram::{Keys, MIN_ITERATIONS};
use smtp_proto::sasl::server::{self as sasl, Answer, Failure, Identity, Mechanism, Question};
use smtp_proto::server;
use smtp_proto::wire::body::Runs;
use smtp_proto::wire::params::RcptParameters;
use smtp_proto::wire::path::ForwardPath;
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::Host;
use smtp_tls_policy::rules::{IdentityId, Posture};
use smtp_tls_policy::tls::{ClientCertificates, ClientTls, server_config};
use smtp_tokio_adapter::test_kit::{Peer, Script};
use smtp_tokio_adapter::{Handler, Inbound, Session, scram, serve};
use smtp_tokio_adapter::{Mail, Outbound, Report};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// The users there are, and what came of each attempt.
#[derive(Default)]
struct Office {
    users: HashMap<&'static str, Keys>,
    /// The look-up of `slow` waits for this.
    slow: Notify,
    asked: Notify,
    mail: Mutex<Vec<Option<Identity>>>,
    seen: Mutex<Vec<String>>,
}

/// Looks a user up, as a database would: later, and not here.
async fn look_up(office: Arc<Office>, user: String) -> Option<Keys> {
    if user == "slow" {
        office.asked.notify_one();
        office.slow.notified().await;
    }
    tokio::task::spawn_blocking(move || office.users.get(user.as_str()).cloned()).await.unwrap()
}

struct Clerk(Arc<Office>);

impl Handler for Clerk {
    async fn authenticate(&mut self, session: &Session, question: Question) -> Answer {
        let office = Arc::clone(&self.0);
        match question {
            Question::Password { user, password } => match look_up(office, user.clone()).await {
                Some(keys) if keys.is_of(&password) => Answer::Accepted(user),
                _ => Answer::Refused,
            },
            Question::Keys { user } => {
                look_up(office, user).await.map_or(Answer::Refused, Answer::Keys)
            }
            Question::Token { token, host, .. } => {
                let ours = host.is_none_or(|host| host == HOST);
                if ours && token == Secret::from("good-token") {
                    Answer::Accepted("user".into())
                } else {
                    Answer::Refused
                }
            }
            // The test's clients have one certificate, and the handshake has checked its key.
            Question::External { .. } if !session.client_chain.is_empty() => {
                Answer::Accepted("device".into())
            }
            _ => Answer::Refused,
        }
    }

    async fn authenticated(&mut self, session: &Session) {
        self.0
            .seen
            .lock()
            .unwrap()
            .push(format!("{} is here", session.identity.as_ref().unwrap().user));
    }

    async fn authentication_failed(&mut self, session: &Session, failure: &Failure) {
        assert_eq!(session.identity, None);
        self.0.seen.lock().unwrap().push(failure.to_string());
    }

    async fn recipient(
        &mut self,
        _: &Session,
        _: ForwardPath<'_>,
        _: RcptParameters<'_>,
    ) -> Response {
        Response::fixed(250, (2, 1, 5), "OK")
    }
    async fn body(&mut self, _: Runs<'_>) {}
    async fn end_of_body(&mut self, session: &Session) -> Response {
        self.0.mail.lock().unwrap().push(session.identity.clone());
        Response::fixed(250, (2, 0, 0), "kept")
    }
}

fn decoy() -> Secret {
    Secret::from("of this server")
}

fn both() -> Vec<Arc<dyn Mechanism>> {
    scram(decoy(), MIN_ITERATIONS, provider()).into()
}

fn office() -> Arc<Office> {
    let keys =
        |password: &str, salt: &[u8]| Keys::derive(&Secret::from(password), salt, 4096).unwrap();
    let users = [
        ("user", keys("pencil", b"0123456789abcdef")),
        ("slow", keys("snail", b"fedcba9876543210")),
    ];
    Arc::new(Office { users: users.into(), ..Office::default() })
}

fn submission(mechanisms: Vec<Arc<dyn Mechanism>>) -> server::ServerConfig {
    changed(smtp(), |it| {
        it.mechanisms = mechanisms;
        it.auth_required = true;
    })
}

async fn start(
    office: &Arc<Office>,
    smtp: server::ServerConfig,
    tls: Arc<rustls::ServerConfig>,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let inbound = changed(Inbound::new(Arc::new(smtp)), |it| it.tls = Some(tls));
    let office = Arc::clone(office);
    let service = move |_: SocketAddr| Clerk(Arc::clone(&office));
    tokio::spawn(serve(listener, inbound, service, std::future::pending()));
    address
}

async fn send_by(
    outbound: &Outbound,
    address: SocketAddr,
    credentials: Option<&Credentials>,
    identity: Option<IdentityId>,
) -> Report {
    let by = smart(connector(Posture::Verified), address.port(), false);
    let by = changed(by, |it| it.identity = identity);
    let sender = to_host(outbound, 25, &[Ipv4Addr::LOCALHOST.into()]);
    let (domain, envelope) =
        (Host::parse("test.example").unwrap(), envelope(&["reader@test.example"]));
    let message = Bytes::from_static(b"Subject: x\r\n\r\n");
    let mut mail = Mail::new(&by, &domain, &envelope, &message);
    mail.credentials = credentials;
    sender.send_mail(&mail).await
}

async fn send(pki: &Pki, address: SocketAddr, credentials: Option<Credentials>) -> Report {
    send_by(&outbound(pki), address, credentials.as_ref(), None).await
}

fn user(password: &str) -> Option<Credentials> {
    Some(Credentials::password("user", password))
}

fn identity(user: &str) -> Identity {
    Identity::new(user, user)
}

/// Each mechanism alone, so that no other can have done it.
#[tokio::test]
async fn every_mechanism_over_real_tls() {
    let pki = Pki::new();
    let [plus, bare] = scram(decoy(), MIN_ITERATIONS, provider());
    let token = || Some(Credentials::token("user", "good-token"));
    let (password, bad_token) =
        (|| user("pencil"), || Some(Credentials::token("user", "bad-token")));
    type Case = (Arc<dyn Mechanism>, Option<Credentials>, Option<Credentials>);
    let cases: [Case; 6] = [
        // Over TLS 1.3: bound to its exporter (RFC 9266).
        (plus, password(), user("pen")),
        (bare, password(), user("pen")),
        (sasl::plain(), password(), user("pen")),
        (sasl::login(), password(), Some(Credentials::password("stranger", "pencil"))),
        (sasl::xoauth2(None), token(), bad_token()),
        (sasl::oauthbearer(None, None), token(), bad_token()),
    ];
    for (mechanism, right, wrong) in cases {
        let name = mechanism.name().to_owned();
        let office = office();
        // A client that sees SCRAM-SHA-256 alone says that it has seen no -PLUS, which the server
        // has to know.
        let address = start(&office, submission(vec![mechanism]), pki.server_config(HOST)).await;
        let report = send(&pki, address, right).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{name} {report:?}");
        assert_eq!(*office.mail.lock().unwrap(), [Some(identity("user"))]);
        let report = send(&pki, address, wrong).await;
        // RFC 4954, section 6 calls 535 permanent; of the credentials, not of the mail.
        assert!(
            matches!(report.statuses()[..], [RecipientStatus::Deferred(_)]),
            "{name} {report:?}"
        );
        assert_eq!(office.mail.lock().unwrap().len(), 1);
        assert_eq!(*office.seen.lock().unwrap(), ["user is here", "refused"], "{name}");
    }
}

/// The lines of the conversation are in the log at level TRACE. Neither what a mechanism sends nor
/// the message is.
#[tokio::test]
async fn log_of_a_conversation_has_no_credentials_and_no_message() {
    let pki = Pki::new();
    let [plus, bare] = scram(decoy(), MIN_ITERATIONS, provider());
    let token = || Some(Credentials::token("user", "good-token"));
    type Case = (Arc<dyn Mechanism>, Option<Credentials>);
    let cases: [Case; 6] = [
        (plus, user("pencil")),
        (bare, user("pencil")),
        (sasl::plain(), user("pencil")),
        (sasl::login(), user("pencil")),
        (sasl::xoauth2(None), token()),
        (sasl::oauthbearer(None, None), token()),
    ];
    for (mechanism, credentials) in cases {
        let name = mechanism.name().to_owned();
        let address = start(&office(), submission(vec![mechanism]), pki.server_config(HOST)).await;
        let (log, guard) = Log::record_target(Some("smtp_tokio_adapter::conversation"));
        let report = send(&pki, address, credentials).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{name} {report:?}");
        // QUIT follows the report.
        let goodbye = async {
            while log.with("server=\"221 ").is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), goodbye).await.unwrap();
        drop(guard);
        let said = log.with("client=");
        let verbs: Vec<&str> = said
            .iter()
            .map(|line| line.split('"').nth(1).unwrap().split(' ').next().unwrap())
            .collect();
        // One response or two; the message is one piece and an end.
        let mut once = verbs.clone();
        once.dedup();
        let wanted = [
            "EHLO",
            "STARTTLS",
            "EHLO",
            "(credentials)",
            "MAIL",
            "RCPT",
            "DATA",
            "(14",
            "(end",
            "QUIT",
        ];
        assert_eq!(once, wanted, "{name}: {said:?}");
        assert_eq!(log.with("version=\"TLSv1.3\"").len(), 1, "{name}");
        for reply in ["220 ", "250-", "235 ", "354 ", "221 "] {
            assert!(!log.with(&format!("server=\"{reply}")).is_empty(), "{name}: {reply}");
        }
        // What a server says in SCRAM lets a password be guessed offline.
        for said in log.with("server=\"334").iter().chain(&log.with("server=\"235")) {
            assert!(said.contains("(hidden)\""), "{name}: {said}");
            assert!(said.split('"').nth(1).unwrap().len() <= "235 2.7.0 (hidden)".len(), "{said}");
        }
        for secret in ["pencil", "good-token", "Subject"] {
            assert_eq!(log.with(secret), Vec::<String>::new(), "{name}");
        }
    }
}

#[tokio::test]
async fn in_tls_1_2_the_certificate_is_what_it_is_bound_to() {
    let pki = Pki::new();
    let tls12 = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pki.identity(HOST))));
    let office = office();
    let [plus, _] = scram(decoy(), MIN_ITERATIONS, provider());
    let address = start(&office, submission(vec![plus]), Arc::new(tls12)).await;
    assert_eq!(send(&pki, address, user("pencil")).await.statuses(), [RecipientStatus::Delivered]);
    assert_eq!(*office.mail.lock().unwrap(), [Some(identity("user"))]);
}

#[tokio::test]
async fn certificate_gives_the_identity() {
    let pki = Pki::new();
    let request = ClientCertificates::Request { hints: Vec::new() };
    let tls = server_config(pki.identity(HOST), request, provider()).unwrap();
    let office = office();
    let address = start(&office, submission(vec![sasl::external()]), tls).await;
    let id = IdentityId::new("ours");
    let client_tls = ClientTls::new(provider());
    client_tls.add_identity(id.clone(), pki.identity("client.test.example"));
    let outbound = outbound_with(&pki, client_tls);
    // Without a certificate there is no identity.
    for identity in [Some(id), None] {
        let credentials = Credentials::certificate();
        let report = send_by(&outbound, address, Some(&credentials), identity.clone()).await;
        assert_eq!(
            report.statuses()[0] == RecipientStatus::Delivered,
            identity.is_some(),
            "{report:?}"
        );
    }
    assert_eq!(*office.mail.lock().unwrap(), [Some(identity("device"))]);
}

#[tokio::test]
async fn mail_without_credentials_is_refused_where_they_are_required() {
    let pki = Pki::new();
    let office = office();
    let address = start(&office, submission(both()), pki.server_config(HOST)).await;
    let report = send(&pki, address, None).await;
    assert!(matches!(report.statuses()[..], [RecipientStatus::Bounced(_)]), "{report:?}");
    assert_eq!(office.mail.lock().unwrap().len(), 0);
}

/// While one client waits for its user to be found, others come and go.
#[tokio::test]
async fn a_slow_look_up_holds_back_its_own_connection_only() {
    let pki = Arc::new(Pki::new());
    let office = office();
    let address = start(&office, submission(both()), pki.server_config(HOST)).await;
    let patient = {
        let pki = Arc::clone(&pki);
        tokio::spawn(async move {
            send(&pki, address, Some(Credentials::password("slow", "snail"))).await
        })
    };
    office.asked.notified().await;
    for _ in 0..3 {
        assert_eq!(
            send(&pki, address, user("pencil")).await.statuses(),
            [RecipientStatus::Delivered]
        );
    }
    assert!(!patient.is_finished());
    office.slow.notify_one();
    assert_eq!(patient.await.unwrap().statuses(), [RecipientStatus::Delivered]);
    let mail = office.mail.lock().unwrap();
    assert_eq!((mail.len(), &mail[3]), (4, &Some(identity("slow"))));
}

/// A client in clear text that has read the greeting.
async fn connect(address: SocketAddr) -> Peer {
    let mut client = Peer::new(TcpStream::connect(address).await.unwrap());
    client.play(&Script::new().expect_reply("220")).await.unwrap();
    client
}

fn ask(line: &str, reply: &str) -> Script {
    Script::new().say(line).expect_reply(reply)
}

#[tokio::test]
async fn outside_tls_there_is_no_auth() {
    let pki = Pki::new();
    let office = office();
    let address = start(&office, submission(both()), pki.server_config(HOST)).await;
    let mut client = connect(address).await;
    client.play(&ask("EHLO c", "250")).await.unwrap();
    assert!(!client.transcript().contains("AUTH"), "{}", client.transcript());
    client.play(&ask("AUTH PLAIN AHVzZXIAcGVuY2ls", "538 5.7.11 ")).await.unwrap();
    assert_eq!(office.seen.lock().unwrap().len(), 0);
}

/// Tokens are long, come in many pieces, and with the command where they should not.
#[tokio::test]
async fn long_lines_in_many_pieces() {
    let pki = Pki::new();
    let office = office();
    let smtp =
        changed(submission(vec![sasl::plain(), sasl::login()]), |it| it.auth_in_clear = true);
    let address = start(&office, smtp, pki.server_config(HOST)).await;
    let long = "AAAA".repeat(2500);
    for (begun, last) in [
        (ask("EHLO c", "250"), format!("AUTH PLAIN {long}\r\n")),
        (ask("EHLO c", "250").and(&ask("AUTH PLAIN", "334 ")), format!("{long}\r\n")),
    ] {
        let pieces = last
            .as_bytes()
            .chunks(999)
            .fold(begun, |script, piece| script.send(piece).pause(Duration::from_millis(2)));
        let script = pieces
            .expect_reply("501 5.5.2 ")
            .and(&ask("AUTH PLAIN AHVzZXIAcGVuY2ls", "235 2.7.0 "))
            .and(&ask("QUIT", "221 "));
        connect(address).await.play(&script).await.unwrap();
    }
    assert_eq!(*office.seen.lock().unwrap(), ["a malformed response", "user is here"].repeat(2));
    let wrong = ask("AUTH PLAIN AHVzZXIAcGVu", "535 5.7.8 ");
    let script = ask("EHLO c", "250").and(&wrong).and(&wrong).and(&wrong);
    let script = script.and(&ask("AUTH PLAIN AHVzZXIAcGVu", "421 4.7.0 ")).expect_end();
    connect(address).await.play(&script).await.unwrap();
}
