//! Every extension from `deliver` to `serve` and back: what the one says is what the other hears.

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{HOST, Pki, changed, connector, outbound, plan_for, smart, smtp};
use smtp_proto::client;
use smtp_proto::client::{Envelope, Recipient};
use smtp_proto::error::ApiMisuse;
use smtp_proto::route::RecipientStatus;
use smtp_proto::server;
use smtp_proto::server::{EarlyTalk, FutureRelease};
use smtp_proto::wire::body::Runs;
use smtp_proto::wire::command::{Command, Queue, Uri, Xclient, XclientName, XclientValue};
use smtp_proto::wire::params::{
    BodyType, DeliverBy, Hold, MailParameters, Notify, Orcpt, Priority, RcptParameters, Ret, Xtext,
};
use smtp_proto::wire::path::{ForwardPath, ReversePath};
use smtp_proto::wire::reply::{EnhancedCode, Response};
use smtp_proto::{Date, Protocol};
use smtp_tls_policy::plan::{DnsStatus, Plan};
use smtp_tls_policy::rules::{OutboundConnectors, Posture};
use smtp_tls_policy::{Domain, Host};
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::test_kit::{Peer, Script};
use smtp_tokio_adapter::{
    Connection, Failure, Message, Outbound, PoolLimits, Report, Sender, Target,
};
use smtp_tokio_adapter::{Handler, Inbound, Session, serve};
use tokio::net::{TcpListener, TcpStream};

const MESSAGE: &[u8] = b"Subject: hello\r\n\r\n.dot\r\n";

/// What a server has heard.
#[derive(Default)]
struct Heard {
    /// MAIL, RCPT and other commands, with their parameters as they came.
    commands: Mutex<Vec<String>>,
    messages: Mutex<Vec<Vec<u8>>>,
    early: Mutex<Vec<Option<EarlyTalk>>>,
    connections: Mutex<usize>,
}

impl Heard {
    fn commands(&self) -> Vec<String> {
        std::mem::take(&mut *self.commands.lock().unwrap())
    }
}

/// Hears everything, and answers late, in several lines, at every stage.
struct Listener {
    heard: Arc<Heard>,
    body: Vec<u8>,
    recipients: Vec<String>,
}

impl Listener {
    async fn hear(&self, command: String) {
        // Later than anything that is ready at once.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.heard.commands.lock().unwrap().push(command);
    }
}

const OK: Response = Response::fixed(250, (2, 0, 0), "good\nand well");

impl Handler for Listener {
    async fn connected(&mut self, _: &Session) -> Response {
        *self.heard.connections.lock().unwrap() += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
        Response::fixed(220, (2, 0, 0), "welcome\nto all")
    }

    async fn hello(&mut self, session: &Session) -> Response {
        self.heard.early.lock().unwrap().push(session.early_talk);
        OK
    }

    async fn mail(
        &mut self,
        _: &Session,
        path: ReversePath<'_>,
        parameters: MailParameters<'_>,
    ) -> Response {
        self.recipients.clear();
        self.hear(format!("MAIL {path} {}", parameters.all.as_str())).await;
        OK
    }

    async fn recipient(
        &mut self,
        _: &Session,
        path: ForwardPath<'_>,
        parameters: RcptParameters<'_>,
    ) -> Response {
        self.hear(format!("RCPT {path} {}", parameters.all.as_str())).await;
        if path.as_str().starts_with("later") {
            return Response::fixed(450, (4, 2, 1), "not\nnow");
        }
        if path.as_str().starts_with("gone") {
            return Response::fixed(550, (5, 1, 1), "no\nsuch\nuser");
        }
        self.recipients.push(path.as_str().to_owned());
        OK
    }

    async fn data(&mut self, _: &Session) -> Response {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Response::fixed(354, (3, 0, 0), "go\nahead")
    }

    async fn body(&mut self, runs: Runs<'_>) {
        runs.append_to(&mut self.body);
    }

    async fn fetch(&mut self, _: &Session, uri: Uri<'_>) -> Response {
        if uri.is_scheme("imap") {
            self.body.extend_from_slice(MESSAGE);
            OK
        } else {
            Response::fixed(554, (5, 7, 8), "trust\nis missing")
        }
    }

    async fn end_of_body(&mut self, _: &Session) -> Response {
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.heard.messages.lock().unwrap().push(std::mem::take(&mut self.body));
        OK
    }

    async fn end_of_body_each(&mut self, session: &Session, recipients: usize) -> Vec<Response> {
        assert_eq!(recipients, self.recipients.len());
        let taken = self.end_of_body(session).await;
        let full = Response::fixed(452, (4, 2, 2), "mailbox\nfull");
        let word =
            |path: &String| if path.starts_with("full") { full.clone() } else { taken.clone() };
        self.recipients.iter().map(word).collect()
    }

    async fn other(&mut self, _: &Session, command: Command<'_>) -> Response {
        self.hear(format!("{command:?}")).await;
        Response::fixed(252, (2, 5, 2), "who\nknows")
    }

    async fn xclient(&mut self, session: &Session, client: Xclient<'_>) -> Response {
        assert_eq!(session.name, "client.test.example");
        self.hear(format!("{:?}", client.addr)).await;
        match client.addr {
            Some(XclientValue::Value(address)) if address.is_loopback() => {
                Response::fixed(550, (5, 7, 1), "not\nthis one")
            }
            _ => Response::fixed(220, (2, 0, 0), "and\nagain"),
        }
    }
}

struct Server {
    address: SocketAddr,
    heard: Arc<Heard>,
}

async fn listen(inbound: Inbound) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::new(Heard::default());
    let shared = Arc::clone(&heard);
    let service = move |_: SocketAddr| Listener {
        heard: Arc::clone(&shared),
        body: Vec::new(),
        recipients: Vec::new(),
    };
    tokio::spawn(serve(listener, inbound, service, std::future::pending()));
    Server { address, heard }
}

/// A server in clear text, set up by `set`.
async fn server(set: impl FnOnce(&mut server::ServerConfig)) -> Server {
    let mut config = server::ServerConfig::new(HOST.parse().unwrap());
    set(&mut config);
    listen(Inbound::new(Arc::new(config))).await
}

fn clear() -> Plan {
    plan_for(&connector(Posture::None), false)
}

fn sender(set: impl FnOnce(&mut client::ClientConfig)) -> Outbound {
    outbound(&Pki::new()).with_smtp(set)
}

fn envelope(recipients: &[&str]) -> Envelope {
    common::envelope(recipients)
}

async fn go(
    server: &Server,
    outbound: &Outbound,
    posture: Posture,
    envelope: &Envelope,
    message: &impl Message,
) -> Report {
    let port = server.address.port();
    let by = smart(connector(posture), port, false);
    let connectors = Arc::new(OutboundConnectors::new(vec![by]).unwrap());
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.add_host(&Domain::parse(HOST).unwrap(), [Ipv4Addr::LOCALHOST.into()]);
    let sender = Sender::new(outbound.clone(), connectors, zone).unwrap();
    let alone = changed(PoolLimits::default(), |it| it.idle = 0);
    sender.with_pool(alone).send(envelope.clone(), message).await
}

/// Delivers in clear text, which must go well, and says what the server has heard.
async fn delivered(server: &Server, envelope: &Envelope, message: &'static [u8]) -> Vec<String> {
    let report =
        go(server, &sender(|_| ()), Posture::None, envelope, &Bytes::from_static(message)).await;
    assert!(report.statuses().iter().all(|word| *word == RecipientStatus::Delivered), "{report:?}");
    assert_eq!(server.heard.messages.lock().unwrap().pop().as_deref(), Some(message));
    server.heard.commands()
}

async fn connect(server: &Server, outbound: &Outbound) -> Connection<TcpStream> {
    let plan = clear();
    let host = Host::parse(HOST).unwrap();
    let target = Target::new(&host, &plan);
    let stream = TcpStream::connect(server.address).await.unwrap();
    outbound.open(&target, stream).await.unwrap()
}

#[tokio::test]
async fn smtputf8_both_ways() {
    let server = server(|it| it.smtputf8 = true).await;
    let heard = delivered(&server, &envelope(&["\u{fc}@test.example"]), MESSAGE).await;
    assert_eq!(
        heard,
        ["MAIL <sender@client.test.example> SMTPUTF8", "RCPT <\u{fc}@test.example> "]
    );
}

#[tokio::test]
async fn smtputf8_is_not_sent_where_it_is_not_offered() {
    let server = server(|_| ()).await;
    let report = go(
        &server,
        &sender(|_| ()),
        Posture::None,
        &envelope(&["\u{fc}@test.example"]),
        &Bytes::from_static(MESSAGE),
    )
    .await;
    assert_eq!(report.statuses(), [RecipientStatus::Bounced(EnhancedCode::new(5, 6, 7))]);
    assert_eq!(server.heard.commands(), [""; 0]);
}

#[tokio::test]
async fn dsn_both_ways() {
    let server = server(|it| it.dsn = true).await;
    let mut mail = envelope(&["reader@test.example"]);
    (mail.ret, mail.envelope_id) = (Some(Ret::Headers), Xtext::parse("id+2B1"));
    mail.recipients[0].notify = Some(Notify::NEVER);
    mail.recipients[0].orcpt = Orcpt::parse("rfc822;a@test.example");
    let heard = delivered(&server, &mail, MESSAGE).await;
    assert_eq!(
        heard,
        [
            "MAIL <sender@client.test.example> RET=HDRS ENVID=id+2B1",
            "RCPT <reader@test.example> NOTIFY=NEVER ORCPT=rfc822;a@test.example",
        ]
    );
}

#[tokio::test]
async fn chunking_both_ways() {
    let server = server(|it| it.chunking = true).await;
    // Larger than a chunk of ours.
    let long = Bytes::from(b"0123456789abcdef\r\n".repeat(10_000));
    for chunking in [true, false] {
        for pipelining in [true, false] {
            let outbound = sender(|it| (it.chunking, it.pipelining) = (chunking, pipelining));
            let report =
                go(&server, &outbound, Posture::None, &envelope(&["reader@test.example"]), &long)
                    .await;
            assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
            assert_eq!(server.heard.messages.lock().unwrap().pop().as_deref(), Some(&long[..]));
        }
    }
}

#[tokio::test]
async fn binarymime_both_ways() {
    const OCTETS: &[u8] = b"Content-Transfer-Encoding: binary\r\n\r\n\0\r\x01\n.\n\r\n.\r\n";
    let server = server(|it| (it.chunking, it.binary_mime) = (true, true)).await;
    let mut mail = envelope(&["reader@test.example"]);
    mail.body = BodyType::BinaryMime;
    let heard = delivered(&server, &mail, OCTETS).await;
    assert_eq!(heard[0], "MAIL <sender@client.test.example> BODY=BINARYMIME");
}

#[tokio::test]
async fn limits_leave_no_recipient_without_a_status() {
    let all: Vec<String> =
        (0..11).map(|number| format!("r{number}@d{}.test.example", number % 3)).collect();
    let mut names: Vec<&str> = all.iter().map(String::as_str).collect();
    names.insert(4, "gone@d0.test.example");
    // Recipients, domains, and transactions on a connection; announced, or only said when it is too
    // late.
    for (recipients, domains, transactions, announced) in [
        (3, None, None, true),
        (3, None, Some(2), true),
        (4, Some(1), None, true),
        (3, None, None, false),
    ] {
        let server = server(|it| {
            it.announce_limits = announced;
            it.limits.recipients = recipients;
            it.limits.recipient_domains = domains;
            it.limits.transactions = transactions;
        })
        .await;
        let outbound = sender(|it| it.leave_over_limit = true);
        let report =
            go(&server, &outbound, Posture::None, &envelope(&names), &Bytes::from_static(MESSAGE))
                .await;
        for (index, word) in report.statuses().iter().enumerate() {
            let no = RecipientStatus::Bounced(EnhancedCode::new(5, 1, 1));
            assert_eq!(
                *word,
                if index == 4 { no } else { RecipientStatus::Delivered },
                "{report:?}"
            );
        }
        let sent = server.heard.commands().iter().filter(|it| it.starts_with("RCPT")).count();
        assert_eq!(sent, names.len(), "no recipient gets it twice");
        let messages = server.heard.messages.lock().unwrap().len();
        assert!(messages >= names.len().div_ceil(recipients), "{messages}");
        let connections = *server.heard.connections.lock().unwrap();
        assert_eq!(connections, transactions.map_or(1, |most| messages.div_ceil(most)));
        assert_eq!(report.attempts.len(), connections);
    }

    // A deferred recipient is not tried again on the next connection to the same host.
    let server = self::server(|it| {
        it.announce_limits = true;
        (it.limits.recipients, it.limits.transactions) = (2, Some(1));
    })
    .await;
    let names = [
        "later1@test.example",
        "later2@test.example",
        "a@test.example",
        "later3@test.example",
        "b@test.example",
    ];
    let outbound = sender(|it| it.leave_over_limit = true);
    let report =
        go(&server, &outbound, Posture::None, &envelope(&names), &Bytes::from_static(MESSAGE))
            .await;
    let later = RecipientStatus::Deferred(EnhancedCode::new(4, 2, 1));
    assert_eq!(
        report.statuses(),
        [later, later, RecipientStatus::Delivered, later, RecipientStatus::Delivered],
        "{report:?}"
    );
    assert_eq!(
        server.heard.commands().iter().filter(|it| it.starts_with("RCPT")).count(),
        names.len()
    );

    // The caller's other choice: nothing is sent, and the envelope is the caller's to split.
    let server = self::server(|it| (it.announce_limits, it.limits.recipients) = (true, 3)).await;
    let report = go(
        &server,
        &sender(|_| ()),
        Posture::None,
        &envelope(&names),
        &Bytes::from_static(MESSAGE),
    )
    .await;
    assert!(
        report
            .statuses()
            .iter()
            .all(|word| *word == RecipientStatus::Deferred(EnhancedCode::new(4, 5, 3))),
        "{report:?}"
    );
    assert_eq!(server.heard.commands(), [""; 0]);
}

#[tokio::test]
async fn requiretls_both_ways() {
    let pki = Pki::new();
    for offered in [true, false] {
        let config = changed(smtp(), |it| it.require_tls = offered);
        let server = listen(changed(Inbound::new(Arc::new(config)), |it| {
            it.tls = Some(pki.server_config(HOST))
        }))
        .await;
        let mut mail = envelope(&["reader@test.example"]);
        mail.require_tls = true;
        let report = go(
            &server,
            &outbound(&pki),
            Posture::Deterministic,
            &mail,
            &Bytes::from_static(MESSAGE),
        )
        .await;
        if offered {
            assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
            assert_eq!(server.heard.commands()[0], "MAIL <sender@client.test.example> REQUIRETLS");
        } else {
            assert!(
                matches!(
                    report.statuses()[..],
                    [RecipientStatus::Bounced(_) | RecipientStatus::Deferred(_)]
                ),
                "{report:?}"
            );
            assert_eq!(server.heard.commands(), [""; 0]);
        }
    }
}

#[tokio::test]
async fn priorities_and_times_both_ways() {
    let server = server(|it| {
        it.mt_priority = Some("MIXER".into());
        it.deliver_by = Some(60);
        it.future_release =
            Some(FutureRelease::new(1000, Date::parse_rfc3339("2030-01-01T00:00:00Z").unwrap()));
        it.size_limit = Some(1000);
    })
    .await;
    let mut mail = envelope(&["reader@test.example"]);
    mail.priority = Priority::new(-4);
    mail.deliver_by = DeliverBy::return_after(120).map(DeliverBy::traced);
    mail.hold = Some(Hold::For(60));
    mail.size = Some(MESSAGE.len() as u64);
    let heard = delivered(&server, &mail, MESSAGE).await;
    let words: Vec<&str> = heard[0].split(' ').collect();
    for word in ["SIZE=24", "MT-PRIORITY=-4", "BY=120;RT", "HOLDFOR=60"] {
        assert!(words.contains(&word), "{words:?}");
    }
    // What the server cannot do is said before anything is sent.
    let with = |change: fn(&mut Envelope)| changed(mail.clone(), change);
    for (mail, status) in [
        (with(|it| it.deliver_by = DeliverBy::return_after(30)), (5, 3, 3)),
        (with(|it| (it.deliver_by, it.hold) = (None, Some(Hold::For(1001)))), (5, 3, 3)),
        (with(|it| it.hold = Some(Hold::For(120))), (5, 5, 4)),
        (with(|it| it.size = Some(1001)), (5, 3, 4)),
    ] {
        let report =
            go(&server, &sender(|_| ()), Posture::None, &mail, &Bytes::from_static(MESSAGE)).await;
        let (class, subject, detail) = status;
        let status = EnhancedCode::new(class, subject, detail);
        assert_eq!(report.statuses(), [RecipientStatus::Bounced(status)]);
    }
    assert_eq!(server.heard.commands(), [""; 0]);
}

#[tokio::test]
async fn private_verbs_and_parameters_both_ways() {
    let server = server(|it| {
        it.keywords = vec!["XFOO and more".into()];
        it.verbs = vec!["XADR".into()];
        it.mail_parameters = vec!["XFOO".into()];
        it.rcpt_parameters = vec!["XBAR".into()];
    })
    .await;
    let mut mail = envelope(&[]);
    mail.parameters = "XFOO=1".parse().unwrap();
    let mut reader: Recipient = "reader@test.example".parse().unwrap();
    reader.parameters = "XBAR".parse().unwrap();
    mail.recipients.push(reader);
    let heard = delivered(&server, &mail, MESSAGE).await;
    assert_eq!(
        heard,
        ["MAIL <sender@client.test.example> XFOO=1", "RCPT <reader@test.example> XBAR"]
    );

    let mut connection = connect(&server, &sender(|_| ())).await;
    assert!(connection.capabilities().iter().any(|line| line == ("XFOO", "and more")));
    let reply = connection
        .command(Command::Unknown { verb: "XADR", argument: "test.example" })
        .await
        .unwrap();
    assert_eq!(reply.to_string(), "252 2.5.2 who / 2.5.2 knows");
    let reply =
        connection.command(Command::Unknown { verb: "XOTHER", argument: "" }).await.unwrap();
    assert_eq!(reply.code(), 500);
    connection.quit().await;
}

#[tokio::test]
async fn commands_between_two_transactions_both_ways() {
    let server = server(|it| (it.vrfy, it.expn, it.help, it.etrn) = (true, true, true, true)).await;
    let mut connection = connect(&server, &sender(|_| ())).await;
    for command in [
        Command::Vrfy { text: "smith", smtputf8: false },
        Command::Expn { text: "list", smtputf8: false },
        Command::Help("MAIL"),
        Command::Etrn(Queue::Named("uucp")),
    ] {
        let reply = connection.command(command.clone()).await.unwrap();
        assert_eq!(reply.to_string(), "252 2.5.2 who / 2.5.2 knows", "{command:?}");
        assert_eq!(server.heard.commands(), [format!("{command:?}")]);
    }
    for command in [Command::Noop(""), Command::Rset] {
        assert_eq!(connection.command(command).await.unwrap().code(), 250);
    }
    let misuse = connection.command(Command::Data).await;
    assert!(matches!(misuse, Err(Failure::Misuse(ApiMisuse::OwnCommand))), "{misuse:?}");
    let delivery =
        connection.send(Arc::new(envelope(&["reader@test.example"])), &mut &MESSAGE[..]).await;
    assert_eq!(delivery.status(0), Some(RecipientStatus::Delivered));
    connection.quit().await;
}

#[tokio::test]
async fn xclient_both_ways() {
    let server = server(|it| it.xclient = vec![XclientName::Addr, XclientName::Login]).await;
    let mut connection = connect(&server, &sender(|_| ())).await;
    let of = |address: &str| {
        changed(Xclient::default(), |it| {
            it.addr = Some(XclientValue::Value(address.parse().unwrap()))
        })
    };
    let login = Some(XclientValue::Value(Xtext::parse("reader").unwrap()));
    let reply =
        connection.xclient(&changed(of("2001:db8::1"), |it| it.login = login)).await.unwrap();
    assert_eq!(reply.to_string(), "220 mx.test.example ESMTP and / again");
    assert_eq!(server.heard.commands(), ["Some(Value(2001:db8::1))"]);
    // EHLO was said again.
    assert_eq!(server.heard.early.lock().unwrap().len(), 2);
    let reply = connection.xclient(&of("127.0.0.1")).await.unwrap();
    assert_eq!(reply.code(), 550);
    let port = changed(Xclient::default(), |it| it.port = Some(XclientValue::Unavailable));
    assert!(matches!(connection.xclient(&port).await, Err(Failure::NotOffered(_))));
    let delivery =
        connection.send(Arc::new(envelope(&["reader@test.example"])), &mut &MESSAGE[..]).await;
    assert_eq!(delivery.status(0), Some(RecipientStatus::Delivered), "{delivery:?}");
    connection.quit().await;
}

/// A message that lies on an IMAP server as well.
struct Stored(&'static str);

impl Message for Stored {
    type Body = &'static [u8];
    async fn open(&self) -> std::io::Result<Self::Body> {
        Ok(b"Subject: as bytes\r\n")
    }
    fn uri(&self) -> Option<Uri<'_>> {
        Uri::parse(self.0)
    }
}

#[tokio::test]
async fn burl_both_ways() {
    const URI: &str =
        "imap://reader@imap.test.example/outbox/;uid=25;urlauth=submit+reader:internal:91";
    let offering = server(|it| it.burl = Some("imap".into())).await;
    let silent = server(|_| ()).await;
    let mail = envelope(&["reader@test.example"]);
    for (server, uri, expected) in [
        (&offering, URI, Some(MESSAGE)),
        (&silent, URI, Some(&b"Subject: as bytes\r\n"[..])),
        (&offering, "https://test.example/1", None),
    ] {
        let report = go(server, &sender(|_| ()), Posture::None, &mail, &Stored(uri)).await;
        match expected {
            Some(_) => assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}"),
            None => {
                assert_eq!(
                    report.statuses(),
                    [RecipientStatus::Bounced(EnhancedCode::new(5, 7, 8))]
                )
            }
        }
        assert_eq!(server.heard.messages.lock().unwrap().pop().as_deref(), expected);
    }
}

#[tokio::test]
async fn lmtp_has_a_reply_for_each_recipient() {
    let pki = Pki::new();
    let config = changed(smtp(), |it| {
        it.protocol = Protocol::Lmtp;
        it.chunking = true;
    });
    let server = listen(changed(Inbound::new(Arc::new(config)), |it| {
        it.tls = Some(pki.server_config(HOST))
    }))
    .await;
    let names = ["a@test.example", "gone@test.example", "full@test.example", "b@test.example"];
    // In clear text, and with STARTTLS; with DATA, and in chunks.
    for posture in [Posture::None, Posture::Verified] {
        for chunking in [true, false] {
            let outbound = outbound(&pki).with_smtp(|config| {
                config.protocol = Protocol::Lmtp;
                config.chunking = chunking;
            });
            let report =
                go(&server, &outbound, posture, &envelope(&names), &Bytes::from_static(MESSAGE))
                    .await;
            assert_eq!(
                report.statuses(),
                [
                    RecipientStatus::Delivered,
                    RecipientStatus::Bounced(EnhancedCode::new(5, 1, 1)),
                    RecipientStatus::Deferred(EnhancedCode::new(4, 2, 2)),
                    RecipientStatus::Delivered
                ],
                "{report:?}"
            );
            assert_eq!(report.attempts[0].decision.tls.is_some(), posture == Posture::Verified);
            assert_eq!(server.heard.messages.lock().unwrap().pop().as_deref(), Some(MESSAGE));
        }
    }
}

#[tokio::test]
async fn early_talkers_are_known_to_the_handler() {
    let server = server(|_| ()).await;
    delivered(&server, &envelope(&["reader@test.example"]), MESSAGE).await;
    let script = Script::new().say("EHLO c\nQUIT").expect_reply("220").expect_reply("250");
    let mut client = Peer::new(TcpStream::connect(server.address).await.unwrap());
    client.play(&script.expect("221 2.0.0 closing the connection").expect_end()).await.unwrap();
    assert_eq!(*server.heard.early.lock().unwrap(), [None, Some(EarlyTalk::BeforeGreeting)]);
}

#[tokio::test]
async fn answers_of_many_lines_come_through_at_every_stage() {
    let server = server(|it| it.pipelining = false).await;
    let mut script = Script::new();
    for (command, answer) in [
        ("", "220-mx.test.example ESMTP welcome\n220 to all"),
        ("HELO c", "250-mx.test.example good\n250 and well"),
        ("MAIL FROM:<>", "250-2.0.0 good\n250 2.0.0 and well"),
        ("RCPT TO:<gone@test.example>", "550-5.1.1 no\n550-5.1.1 such\n550 5.1.1 user"),
        ("RCPT TO:<a@test.example>", "250-2.0.0 good\n250 2.0.0 and well"),
        ("DATA", "354-go\n354 ahead"),
        (".", "250-2.0.0 good\n250 2.0.0 and well"),
        ("VRFY a", "252-2.5.2 who\n252 2.5.2 knows"),
        ("QUIT", "221 2.0.0 closing the connection"),
    ] {
        script = answer.lines().fold(script.say(command), Script::expect);
    }
    let mut client = Peer::new(TcpStream::connect(server.address).await.unwrap());
    client.play(&script.expect_end()).await.unwrap();
}
