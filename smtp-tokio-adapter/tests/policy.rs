//! DANE, MTA-STS, REQUIRETLS and the memory of broken peers, from the DNS to the wire: real sockets and real TLS.

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{HOST, Pki, connector, envelope, outbound, plan_for, provider, smtp};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use smtp_proto::body::Runs;
use smtp_proto::client::Envelope;
use smtp_proto::params::{MailParameters, RcptParameters};
use smtp_proto::path::{ForwardPath, ReversePath, ReversePathBuf};
use smtp_proto::reply::{EnhancedCode, Response};
use smtp_proto::route::{Mx, Word};
use smtp_proto::server;
use smtp_tls_policy::{
    DaneRule, DnsStatus, Domain, Host, OutboundConnector, Posture, Reason, SmartHost, TlsaRecord, Yield,
};
use smtp_tokio_adapter::serve::{Handler, Inbound, Session, serve};
use smtp_tokio_adapter::zone::Zone;
use smtp_tokio_adapter::{Answer, Connection, Failure, Mail, Report, Sender, Spoken, Target};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

static MESSAGE: Bytes = Bytes::from_static(b"Subject: hello\r\n\r\nHello.\r\n");
const DOMAIN: &str = "test.example";
const BACKUP: &str = "backup.test.example";

fn name(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

/// What a server has seen.
#[derive(Default)]
struct Seen {
    /// REQUIRETLS on MAIL, and TLS, of each message.
    messages: Mutex<Vec<(bool, bool)>>,
    connections: Mutex<usize>,
    sni: Mutex<Vec<Option<String>>>,
}

impl Seen {
    fn messages(&self) -> Vec<(bool, bool)> {
        self.messages.lock().unwrap().clone()
    }
    fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

struct Taker(Arc<Seen>, bool);

impl Handler for Taker {
    async fn mail(&mut self, _: &Session, _: ReversePath<'_>, parameters: MailParameters<'_>) -> Response {
        self.1 = parameters.require_tls;
        Response::fixed(250, (2, 1, 0), "OK")
    }
    async fn recipient(&mut self, _: &Session, _: ForwardPath<'_>, _: RcptParameters<'_>) -> Response {
        Response::fixed(250, (2, 1, 5), "OK")
    }
    async fn body(&mut self, _: Runs<'_>) {}
    async fn end_of_body(&mut self, session: &Session) -> Response {
        self.0.messages.lock().unwrap().push((self.1, session.tls.is_some()));
        Response::fixed(250, (2, 0, 0), "kept")
    }
}

/// Shows one certificate to everybody, and remembers by which name it was asked.
struct Shows(Arc<CertifiedKey>, Arc<Seen>);

impl std::fmt::Debug for Shows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shows")
    }
}

impl ResolvesServerCert for Shows {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.1.sni.lock().unwrap().push(hello.server_name().map(str::to_owned));
        Some(Arc::clone(&self.0))
    }
}

fn tls_of(identity: Arc<CertifiedKey>, seen: &Arc<Seen>) -> Arc<rustls::ServerConfig> {
    let builder =
        rustls::ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let resolver = Arc::new(Shows(identity, Arc::clone(seen)));
    Arc::new(builder.with_no_client_auth().with_cert_resolver(resolver))
}

/// A listener at the last address that is given, on a port that is free at all of them.
async fn listen(ips: &[IpAddr]) -> Vec<TcpListener> {
    'again: loop {
        let first = TcpListener::bind((ips[0], 0)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let mut all = vec![first];
        for ip in &ips[1..] {
            match TcpListener::bind((*ip, port)).await {
                Ok(listener) => all.push(listener),
                Err(_) => continue 'again,
            }
        }
        return all;
    }
}

fn loopback(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

fn take(listener: TcpListener, config: server::Config, identity: Arc<CertifiedKey>) -> Arc<Seen> {
    let seen = Arc::new(Seen::default());
    let tls = Some(tls_of(identity, &seen));
    let inbound = Inbound { tls, ..Inbound::new(Arc::new(config)) };
    let shared = Arc::clone(&seen);
    let service = Arc::new(move |_: SocketAddr| {
        *shared.connections.lock().unwrap() += 1;
        Taker(Arc::clone(&shared), false)
    });
    tokio::spawn(serve(listener, inbound, service, std::future::pending()));
    seen
}

fn with_requiretls(offered: bool) -> server::Config {
    server::Config { require_tls: offered, ..smtp() }
}

/// A domain with one host at 127.0.0.1, and one behind it at 127.0.0.2.
struct World {
    pki: Pki,
    port: u16,
    first: Arc<Seen>,
    second: Arc<Seen>,
    /// The first host's.
    identity: Arc<CertifiedKey>,
    zone: Zone,
}

impl World {
    async fn new(status: DnsStatus) -> Self {
        Self::with(status, smtp(), smtp()).await
    }

    async fn with(status: DnsStatus, first: server::Config, second: server::Config) -> Self {
        let pki = Pki::new();
        let [one, two] = <[TcpListener; 2]>::try_from(listen(&[loopback(1), loopback(2)]).await).unwrap();
        let port = one.local_addr().unwrap().port();
        let identity = pki.identity(HOST);
        let first = take(one, first, Arc::clone(&identity));
        let second = take(two, second, pki.identity(BACKUP));
        let mut zone = Zone::new(status);
        zone.add_mx(&name(DOMAIN), 10, &name(HOST)).add_host(&name(HOST), [loopback(1)]);
        zone.add_mx(&name(DOMAIN), 20, &name(BACKUP)).add_host(&name(BACKUP), [loopback(2)]);
        Self { pki, port, first, second, identity, zone }
    }

    fn tlsa(&self, host: &str) -> String {
        format!("_{}._tcp.{host}", self.port)
    }

    fn end_entity(&self) -> TlsaRecord {
        let data = self.identity.key.public_key().unwrap().to_vec();
        TlsaRecord { usage: 3, selector: 1, matching: 0, data }
    }

    fn sender(self) -> (Sender<Zone>, Arc<Seen>, Arc<Seen>) {
        let mut sender = Sender::new(outbound(&self.pki), self.zone);
        sender.route.port = self.port;
        (sender, self.first, self.second)
    }
}

async fn send(sender: &Sender<Zone>, connector: &OutboundConnector, envelope: &Envelope) -> Report {
    let domain = Host::parse(DOMAIN).unwrap();
    deliver(sender, &Mail::new(connector, &domain, envelope, &MESSAGE)).await
}

async fn deliver(sender: &Sender<Zone>, mail: &Mail<'_, Bytes>) -> Report {
    tokio::time::timeout(Duration::from_secs(20), sender.deliver(mail)).await.expect("no hang")
}

fn plain() -> Envelope {
    envelope(&["reader@test.example"])
}

fn requiretls() -> Envelope {
    Envelope { require_tls: true, ..plain() }
}

const fn status(class: u8, subject: u16, detail: u16) -> EnhancedCode {
    EnhancedCode::new(class, subject, detail)
}

fn reason(report: &Report) -> Option<Reason> {
    Some(report.skipped.last()?.1.refusal.as_ref()?.reason())
}

#[tokio::test]
async fn behind_an_alias_the_base_domain_is_the_name_that_is_asked_for() {
    let mut world = World::new(DnsStatus::Secure).await;
    let answer = Answer::new(DnsStatus::Secure, vec![Ipv4Addr::LOCALHOST]).through(name("host.example.net"));
    world.zone.ipv4.insert(name(HOST), answer);
    let (expanded, record) = (name("host.example.net"), world.end_entity());
    let port = world.port;
    world.zone.add_tlsa(&expanded, port, record);
    let (sender, first, _) = world.sender();
    let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
    assert_eq!(report.words, [Word::Delivered], "{report:?}");
    assert_eq!(*first.sni.lock().unwrap(), [Some("host.example.net".into())]);
    let decision = &report.attempts[0].decision;
    assert!(decision.sentence.contains("DANE for host.example.net"), "{}", decision.sentence);
    assert!(decision.verdict.as_ref().unwrap().is_authenticated());
}

#[tokio::test]
async fn a_host_whose_tlsa_records_cannot_be_had_is_not_dialled_and_the_next_one_is() {
    for broken in [DnsStatus::Bogus, DnsStatus::Failed, DnsStatus::Indeterminate] {
        let mut world = World::new(DnsStatus::Secure).await;
        world.zone.tlsa.insert(world.tlsa(HOST), Answer::none(broken));
        let (sender, first, second) = world.sender();
        let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
        assert_eq!(report.words, [Word::Delivered], "{report:?}");
        assert_eq!(reason(&report), Some(Reason::TlsaLookupFailed));
        assert_eq!((first.connections(), second.connections()), (0, 1));
    }
}

#[tokio::test]
async fn a_wrong_certificate_under_dane_is_a_deferral_and_no_clear_text() {
    let mut world = World::new(DnsStatus::Secure).await;
    let record = TlsaRecord { usage: 3, selector: 1, matching: 1, data: vec![7; 32] };
    for host in [HOST, BACKUP] {
        let port = world.port;
        world.zone.add_tlsa(&name(host), port, record.clone());
    }
    let (sender, first, second) = world.sender();
    let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
    assert_eq!(report.words, [Word::Deferred(status(4, 7, 5))]);
    assert_eq!(report.attempts.len(), 2);
    assert!(report.attempts.iter().all(|it| it.decision.reason == Reason::DaneMismatch));
    assert!(first.messages().is_empty() && second.messages().is_empty());
}

#[tokio::test]
async fn nobody_in_an_unsigned_zone_is_asked_for_tlsa_records() {
    let (sender, ..) = World::new(DnsStatus::Insecure).await.sender();
    let report = send(&sender, &connector(Posture::Deterministic), &plain()).await;
    assert_eq!(report.words, [Word::Delivered]);
    let asked = sender.lookups.asked();
    assert!(asked.iter().all(|question| !question.starts_with("TLSA")), "{asked:?}");
}

#[tokio::test]
async fn what_holds_for_the_whole_domain_dials_nobody() {
    // RFC 7672, 2.1.2: a bogus MX answer.
    let mut world = World::new(DnsStatus::Secure).await;
    world.zone.mx.get_mut(&name(DOMAIN)).unwrap().status = DnsStatus::Bogus;
    let (sender, first, second) = world.sender();
    let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
    assert_eq!(
        (report.words.as_slice(), reason(&report)),
        (&[Word::Deferred(status(4, 4, 3))][..], Some(Reason::MxLookupFailed))
    );
    assert_eq!(sender.lookups.asked(), ["MX test.example"]);
    assert_eq!((first.connections(), second.connections()), (0, 0));

    // RFC 7672, 2.2.1: mandatory DANE, and unsigned MX records to hosts that would do.
    let mut world = World::new(DnsStatus::Secure).await;
    let (port, record) = (world.port, world.end_entity());
    world.zone.add_tlsa(&name(HOST), port, record);
    world.zone.mx.get_mut(&name(DOMAIN)).unwrap().status = DnsStatus::Insecure;
    let (sender, first, second) = world.sender();
    let report = send(&sender, &connector(Posture::DaneOnly), &plain()).await;
    assert_eq!(
        (report.words.as_slice(), reason(&report)),
        (&[Word::Deferred(status(4, 7, 5))][..], Some(Reason::MxInsecure))
    );
    assert_eq!(sender.lookups.asked(), ["MX test.example"]);
    assert_eq!((first.connections(), second.connections()), (0, 0));

    // P1: what the administrator wants cannot be looked up.
    let (sender, ..) = World::new(DnsStatus::Secure).await.sender();
    let (domain, envelope, everybody) = (Host::parse(DOMAIN).unwrap(), plain(), connector(Posture::None));
    let mut mail = Mail::new(&everybody, &domain, &envelope, &MESSAGE);
    mail.policy = smtp_tls_policy::Policy::Unavailable;
    let report = deliver(&sender, &mail).await;
    assert_eq!(
        (report.words.as_slice(), reason(&report)),
        (&[Word::Deferred(status(4, 7, 5))][..], Some(Reason::PolicyUnavailable))
    );
    assert_eq!(sender.lookups.asked(), [""; 0]);
}

#[tokio::test]
async fn mandatory_dane_goes_on_to_the_host_that_has_records() {
    let mut world = World::new(DnsStatus::Secure).await;
    let backup = world.pki.identity(BACKUP);
    let key = TlsaRecord { usage: 3, selector: 1, matching: 0, data: backup.key.public_key().unwrap().to_vec() };
    let [listener] = <[TcpListener; 1]>::try_from(listen(&[loopback(3)]).await).unwrap();
    world.port = listener.local_addr().unwrap().port();
    let third = take(listener, smtp(), backup);
    world.zone.ipv4.get_mut(&name(BACKUP)).unwrap().records = vec![Ipv4Addr::new(127, 0, 0, 3)];
    let port = world.port;
    world.zone.add_tlsa(&name(BACKUP), port, key);
    let (sender, first, _) = world.sender();
    let report = send(&sender, &connector(Posture::DaneOnly), &plain()).await;
    assert_eq!(report.words, [Word::Delivered], "{report:?}");
    assert_eq!(reason(&report), Some(Reason::DaneRequired));
    assert_eq!((first.connections(), third.messages()), (0, vec![(false, true)]));
}

#[tokio::test]
async fn look_ups_that_fail_keep_their_statuses() {
    let world = async |change: fn(&mut Zone)| {
        let mut world = World::new(DnsStatus::Secure).await;
        world.zone.mx.get_mut(&name(DOMAIN)).unwrap().records.truncate(1);
        change(&mut world.zone);
        let (sender, first, _) = world.sender();
        let report = send(&sender, &connector(Posture::Deterministic), &plain()).await;
        assert_eq!(first.connections(), 0);
        report.words[0]
    };
    let no_domain = world(|zone| drop(zone.mx.insert(name(DOMAIN), Answer::no_such_name(DnsStatus::Secure)))).await;
    assert_eq!(no_domain, Word::Bounced(status(5, 1, 2)));
    let null = Answer::new(DnsStatus::Secure, vec![Mx { preference: 0, exchange: None }]);
    let null_mx = {
        let mut world = World::new(DnsStatus::Secure).await;
        world.zone.mx.insert(name(DOMAIN), null);
        let (sender, ..) = world.sender();
        send(&sender, &connector(Posture::Deterministic), &plain()).await.words[0]
    };
    assert_eq!(null_mx, Word::Bounced(status(5, 1, 10)));
    let no_address = world(|zone| drop(zone.ipv4.remove(&name(HOST)))).await;
    assert_eq!(no_address, Word::Bounced(status(5, 4, 4)));
    // RFC 7672, 2.2.2: one family that fails is enough, also where nothing asks for DANE.
    let aaaa = world(|zone| drop(zone.ipv6.insert(name(HOST), Answer::none(DnsStatus::Failed)))).await;
    assert_eq!(aaaa, Word::Deferred(status(4, 4, 3)));
}

#[tokio::test]
async fn the_domain_itself_is_its_host_where_there_are_no_mx_records() {
    let mut world = World::new(DnsStatus::Secure).await;
    world.zone.mx.clear();
    world.zone.add_host(&name(DOMAIN), [loopback(1)]);
    let (port, record) = (world.port, world.end_entity());
    world.zone.add_tlsa(&name(DOMAIN), port, record);
    let (sender, first, _) = world.sender();
    let report = send(&sender, &connector(Posture::DaneOnly), &plain()).await;
    assert_eq!(report.words, [Word::Delivered], "{report:?}");
    assert_eq!(*first.sni.lock().unwrap(), [Some(DOMAIN.into())]);
}

#[tokio::test]
async fn an_address_literal_is_dialled_without_a_question() {
    let (sender, first, _) = World::new(DnsStatus::Secure).await.sender();
    let (domain, envelope) = (Host::parse("[127.0.0.1]").unwrap(), envelope(&["reader@[127.0.0.1]"]));
    let everybody = connector(Posture::Opportunistic);
    let report = deliver(&sender, &Mail::new(&everybody, &domain, &envelope, &MESSAGE)).await;
    assert_eq!(report.words, [Word::Delivered], "{report:?}");
    assert_eq!(first.messages(), [(false, true)]);
    assert_eq!(sender.lookups.asked(), [""; 0]);
}

#[tokio::test]
async fn a_secure_smart_host_may_be_held_to_its_tlsa_records() {
    let mut world = World::new(DnsStatus::Secure).await;
    let (port, record) = (world.port, world.end_entity());
    world.zone.add_tlsa(&name(HOST), port, record);
    let (mut sender, first, _) = world.sender();
    // The smart host's own port counts.
    sender.route.port = 1;
    let mut only = connector(Posture::DaneOnly);
    let mut smart_host = SmartHost::new(Host::parse(HOST).unwrap());
    (smart_host.port, smart_host.secure) = (port, true);
    only.smart_host = Some(smart_host);
    let report = send(&sender, &only, &plain()).await;
    assert_eq!(report.words, [Word::Delivered], "{report:?}");
    assert_eq!(first.messages(), [(false, true)]);
    let asked = sender.lookups.asked();
    assert!(asked.contains(&format!("TXT _mta-sts.{HOST}")), "{asked:?}");
    assert!(!asked.iter().any(|question| question.starts_with("MX")), "{asked:?}");
}

const ENFORCE: &str = "version: STSv1\nmode: enforce\nmx: backup.test.example\nmax_age: 604800\n";

#[tokio::test]
async fn a_host_outside_the_mta_sts_policy_is_passed_over_in_its_turn() {
    let mut world = World::new(DnsStatus::Insecure).await;
    world.zone.publish_sts(&name(DOMAIN), "1", ENFORCE);
    let (sender, first, second) = world.sender();
    let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
    assert_eq!(report.words, [Word::Delivered], "{report:?}");
    assert_eq!((report.skipped[0].0.as_str(), reason(&report)), (HOST, Some(Reason::StsMxMismatch)));
    assert_eq!((first.connections(), second.messages()), (0, vec![(false, true)]));
}

#[tokio::test]
async fn a_cached_mta_sts_policy_holds_while_its_record_is_suppressed() {
    let mut world = World::new(DnsStatus::Insecure).await;
    world.zone.publish_sts(&name(DOMAIN), "1", &ENFORCE.replace("backup", "elsewhere"));
    let (mut sender, first, second) = world.sender();
    let record = name("_mta-sts.test.example");
    let everybody = connector(Posture::Opportunistic);
    let deferred = [Word::Deferred(status(4, 7, 5))];
    assert_eq!(send(&sender, &everybody, &plain()).await.words, deferred);
    for suppressed in [Answer::none(DnsStatus::Failed), Answer::none(DnsStatus::Insecure)] {
        sender.lookups.txt.insert(record.clone(), suppressed);
        assert_eq!(send(&sender, &everybody, &plain()).await.words, deferred);
    }
    assert_eq!((first.connections(), second.connections()), (0, 0));
    // The domain takes its policy back in the way that there is for it (RFC 8461, 8.3).
    sender.lookups.publish_sts(&name(DOMAIN), "2", "version: STSv1\nmode: none\nmax_age: 86400\n");
    assert_eq!(send(&sender, &everybody, &plain()).await.words, [Word::Delivered]);
    let fetches = sender.lookups.asked().iter().filter(|question| question.starts_with("GET")).count();
    assert_eq!(fetches, 2);
}

#[tokio::test]
async fn mail_carries_requiretls_where_the_server_offers_it_and_goes_nowhere_else() {
    let everybody = connector(Posture::Opportunistic);
    let world = World::with(DnsStatus::Secure, with_requiretls(false), with_requiretls(true)).await;
    let (sender, first, second) = world.sender();
    let report = send(&sender, &everybody, &requiretls()).await;
    assert_eq!(report.words, [Word::Delivered], "{report:?}");
    assert_eq!(report.attempts[0].decision.reason, Reason::RequiretlsUnsupported);
    assert_eq!((first.connections(), first.messages()), (1, vec![]));
    assert_eq!(second.messages(), [(true, true)]);
    // A message without the wish goes to the first, and does not carry it to the second.
    assert_eq!(send(&sender, &everybody, &plain()).await.words, [Word::Delivered]);
    assert_eq!(first.messages(), [(false, true)]);

    let world = World::with(DnsStatus::Secure, with_requiretls(false), with_requiretls(false)).await;
    let (sender, first, second) = world.sender();
    let report = send(&sender, &everybody, &requiretls()).await;
    assert_eq!(report.words, [Word::Bounced(status(5, 7, 30))]);
    assert_eq!((first.connections(), second.connections()), (1, 1));
    assert!(first.messages().is_empty() && second.messages().is_empty());
}

#[tokio::test]
async fn requiretls_wants_hosts_for_which_dnssec_or_mta_sts_vouches() {
    let offering = || World::with(DnsStatus::Insecure, with_requiretls(true), with_requiretls(true));
    let everybody = connector(Posture::Opportunistic);
    let (sender, first, second) = offering().await.sender();
    let report = send(&sender, &everybody, &requiretls()).await;
    assert_eq!(report.words, [Word::Bounced(status(5, 7, 10))]);
    assert_eq!(reason(&report), Some(Reason::RequiretlsMxInsecure));
    assert_eq!((first.connections(), second.connections()), (0, 0));

    let mut world = offering().await;
    world.zone.publish_sts(&name(DOMAIN), "1", ENFORCE);
    let (sender, first, second) = world.sender();
    assert_eq!(send(&sender, &everybody, &requiretls()).await.words, [Word::Delivered]);
    assert_eq!((first.connections(), second.messages()), (0, vec![(true, true)]));
}

#[tokio::test]
async fn a_bounce_carries_requiretls_where_it_can_and_is_not_stopped_where_it_cannot() {
    let bounce = Envelope { reverse_path: ReversePathBuf::NULL, ..requiretls() };
    for offered in [true, false] {
        // Not even a signed MX record is asked for.
        let world = World::with(DnsStatus::Insecure, with_requiretls(offered), smtp()).await;
        let (sender, first, _) = world.sender();
        let report = send(&sender, &connector(Posture::Opportunistic), &bounce).await;
        assert_eq!(report.words, [Word::Delivered], "{report:?}");
        assert_eq!(first.messages(), [(offered, true)]);
    }
    // What is offered in clear text does not count.
    let config = server::Config { starttls: server::StartTls::No, ..with_requiretls(true) };
    let (sender, first, _) = World::with(DnsStatus::Insecure, config, smtp()).await.sender();
    assert_eq!(send(&sender, &connector(Posture::Opportunistic), &bounce).await.words, [Word::Delivered]);
    assert_eq!(first.messages(), [(false, false)]);
}

/// A server that speaks by hand, offers nothing, and writes down what it hears inside TLS.
async fn hears(listener: TcpListener, identity: Arc<CertifiedKey>) -> Vec<String> {
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mx\r\n").await.unwrap();
    let mut line = String::new();
    for reply in [&b"250-mx\r\n250 STARTTLS\r\n"[..], b"220 go\r\n"] {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        stream.write_all(reply).await.unwrap();
    }
    let acceptor = TlsAcceptor::from(tls_of(identity, &Arc::new(Seen::default())));
    let mut tls = BufReader::new(acceptor.accept(stream.into_inner()).await.unwrap());
    let mut heard = Vec::new();
    loop {
        line.clear();
        if tls.read_line(&mut line).await.unwrap_or(0) == 0 {
            return heard;
        }
        heard.push(line.trim_end().to_owned());
        let reply = if line.starts_with("QUIT") { "221 bye\r\n" } else { "250 mx\r\n" };
        let _ = tls.write_all(reply.as_bytes()).await;
    }
}

/// RFC 8689, 4.2.1: "If any of the above steps fail, the client MUST issue a QUIT".
#[tokio::test]
async fn who_fails_a_message_with_requiretls_hears_quit() {
    for (certified, heard, final_status) in
        [("elsewhere.example", &["QUIT"][..], (5, 7, 10)), (HOST, &["EHLO client.test.example", "QUIT"], (5, 7, 30))]
    {
        let mut world = World::new(DnsStatus::Secure).await;
        world.zone.mx.get_mut(&name(DOMAIN)).unwrap().records.truncate(1);
        let [listener] = <[TcpListener; 1]>::try_from(listen(&[loopback(1)]).await).unwrap();
        world.port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(hears(listener, world.pki.identity(certified)));
        let (sender, ..) = world.sender();
        let report = send(&sender, &connector(Posture::Opportunistic), &requiretls()).await;
        let (class, subject, detail) = final_status;
        assert_eq!(report.words, [Word::Bounced(status(class, subject, detail))], "{report:?}");
        assert_eq!(server.await.unwrap(), heard);
    }
}

/// A plan for another message does not say whether this one may go.
#[tokio::test]
async fn a_plan_made_without_requiretls_sends_no_message_with_it() {
    let world = World::with(DnsStatus::Secure, with_requiretls(true), smtp()).await;
    let address = SocketAddr::new(loopback(1), world.port);
    let (host, plan) = (Host::parse(HOST).unwrap(), plan_for(&connector(Posture::Verified), false));
    let target = Target { host: &host, plan: &plan, identity: None, credentials: None, retry_in_clear: false };
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut connection = Connection::open(&outbound(&world.pki), &target, stream).await.1.unwrap();
    let delivery = connection.send(Arc::new(requiretls()), &mut &MESSAGE[..]).await;
    assert!(matches!(delivery.end, Err(Failure::OtherMessage)), "{delivery:?}");
    assert_eq!(delivery.word(0), Some(Word::Deferred(status(4, 3, 0))));
    // The connection is none the worse for it.
    let delivery = connection.send(Arc::new(plain()), &mut &MESSAGE[..]).await;
    assert_eq!(delivery.word(0), Some(Word::Delivered));
    assert_eq!(world.first.messages(), [(false, true)]);
}

#[tokio::test]
async fn tls_required_no_lifts_what_is_published_and_not_what_the_administrator_wants() {
    let world = async || {
        let mut world = World::new(DnsStatus::Secure).await;
        let record = TlsaRecord { usage: 3, selector: 1, matching: 1, data: vec![7; 32] };
        let port = world.port;
        world.zone.add_tlsa(&name(HOST), port, record);
        world.zone.publish_sts(&name(DOMAIN), "1", &ENFORCE.replace("backup", "elsewhere"));
        world.zone.mx.get_mut(&name(DOMAIN)).unwrap().records.truncate(1);
        world
    };
    let (domain, envelope) = (Host::parse(DOMAIN).unwrap(), plain());
    let (sender, first, _) = world().await.sender();
    let everybody = connector(Posture::Opportunistic);
    let mail = Mail::new(&everybody, &domain, &envelope, &MESSAGE).tls_required_no(true);
    let report = deliver(&sender, &mail).await;
    assert_eq!(report.words, [Word::Delivered], "{report:?}");
    // TLS is tried all the same.
    assert_eq!(first.messages(), [(false, true)]);

    let mut world = world().await;
    world.zone.ipv4.get_mut(&name(HOST)).unwrap().records = vec![Ipv4Addr::new(127, 0, 0, 2)];
    let (sender, _, second) = world.sender();
    // Its certificate is for another name.
    let verified = connector(Posture::Verified);
    let mail = Mail::new(&verified, &domain, &envelope, &MESSAGE).tls_required_no(true);
    let report = deliver(&sender, &mail).await;
    assert_eq!(report.words, [Word::Deferred(status(4, 7, 5))], "{report:?}");
    assert!(second.messages().is_empty());
}

/// Answers STARTTLS with 220 and then with anything but TLS; takes mail in clear text.
async fn breaks_tls(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            stream.write_all(b"220 mx\r\n").await.unwrap();
            let mut line = String::new();
            while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                let reply = match line.split_ascii_whitespace().next().unwrap_or_default() {
                    "EHLO" => "250-mx\r\n250 STARTTLS\r\n",
                    "STARTTLS" => {
                        stream.write_all(b"220 go\r\n").await.unwrap();
                        stream.read_exact(&mut [0; 5]).await.unwrap();
                        stream.write_all(b"this is no TLS\r\n").await.unwrap();
                        return;
                    }
                    "DATA" => "354 go\r\n",
                    "QUIT" => "221 bye\r\n",
                    _ if line.starts_with('.') || !line.contains(':') || line.starts_with("MAIL") => "250 ok\r\n",
                    _ if line.starts_with("RCPT") => "250 ok\r\n",
                    _ => "",
                };
                line.clear();
                stream.write_all(reply.as_bytes()).await.unwrap();
            }
        });
    }
}

#[tokio::test]
async fn broken_tls_is_remembered_where_clear_text_will_do_and_nowhere_else() {
    let mut world = World::new(DnsStatus::Insecure).await;
    world.zone.mx.get_mut(&name(DOMAIN)).unwrap().records.truncate(1);
    let [listener] = <[TcpListener; 1]>::try_from(listen(&[loopback(1)]).await).unwrap();
    world.port = listener.local_addr().unwrap().port();
    tokio::spawn(breaks_tls(listener));
    let (sender, ..) = world.sender();
    let spoken = |report: &Report| {
        let all = report.attempts.iter().map(|it| (it.decision.channel, it.decision.reason)).collect::<Vec<_>>();
        (report.words[0], all)
    };
    let (tls, clear) = (Spoken::Tls, Spoken::Clear);
    let everybody = connector(Posture::Opportunistic);
    let broken = Reason::HandshakeFailed;
    let first = send(&sender, &everybody, &plain()).await;
    assert_eq!(spoken(&first), (Word::Delivered, vec![(tls, broken), (clear, broken)]));
    let second = send(&sender, &everybody, &plain()).await;
    assert_eq!(spoken(&second), (Word::Delivered, vec![(clear, Reason::RememberedBroken)]));
    // Who would rather wait does not go by what was learnt.
    let mut patient = everybody.clone();
    patient.yields.broken = Yield::Never;
    let deferred = Word::Deferred(status(4, 7, 5));
    assert_eq!(spoken(&send(&sender, &patient, &plain()).await), (deferred, vec![(tls, broken)]));
    let required = connector(Posture::Encrypt);
    assert_eq!(spoken(&send(&sender, &required, &plain()).await), (deferred, vec![(tls, broken)]));
}

#[tokio::test]
async fn dane_that_is_switched_off_asks_nothing() {
    let mut world = World::new(DnsStatus::Secure).await;
    world.zone.tlsa.insert(world.tlsa(HOST), Answer::none(DnsStatus::Bogus));
    let (sender, first, _) = world.sender();
    let mut off = connector(Posture::Opportunistic);
    off.dane = DaneRule::Off;
    assert_eq!(send(&sender, &off, &plain()).await.words, [Word::Delivered]);
    assert_eq!(first.messages(), [(false, true)]);
    assert!(sender.lookups.asked().iter().all(|question| !question.starts_with("TLSA")));
}

/// Policy type, success, result types.
fn sessions(report: &Report) -> Vec<(&'static str, bool, Vec<&'static str>)> {
    let told = report.sessions().map(|it| {
        let failures = it.failures.iter().map(|failure| failure.result.as_str()).collect();
        (it.policy.kind(), it.succeeded, failures)
    });
    told.collect()
}

/// RFC 8460, 4: one final status for each connection, and none for one that only stands for another.
#[tokio::test]
async fn every_connection_is_reported_once() {
    let everybody = connector(Posture::Opportunistic);
    let mut world = World::new(DnsStatus::Insecure).await;
    world.zone.publish_sts(&name(DOMAIN), "1", ENFORCE);
    let (sender, ..) = world.sender();
    let report = send(&sender, &everybody, &plain()).await;
    assert_eq!(sessions(&report), [("sts", false, vec!["validation-failure"]), ("sts", true, vec![])]);
    let passed_over = report.skipped[0].1.session.as_ref().unwrap();
    assert_eq!((&passed_over.mx, passed_over.receiving), (&Some(Host::parse(HOST).unwrap()), None));
    let delivered = &report.attempts[0].sessions[0];
    assert_eq!((delivered.sending, delivered.receiving), (Some(loopback(1)), Some(loopback(2))));
    assert_eq!(delivered.policy.domain(), &name(DOMAIN));
    assert_eq!(delivered.policy.strings()[2], "mx: backup.test.example");
    // A sender who has asked for no policy tells of none.
    let (domain, envelope) = (Host::parse(DOMAIN).unwrap(), plain());
    let mail = Mail::new(&everybody, &domain, &envelope, &MESSAGE).tls_required_no(true);
    assert_eq!(sessions(&deliver(&sender, &mail).await), []);

    // TLS that breaks is told once, and not again for the clear text that follows, now or while it is remembered.
    let mut world = World::new(DnsStatus::Insecure).await;
    world.zone.mx.get_mut(&name(DOMAIN)).unwrap().records.truncate(1);
    let [listener] = <[TcpListener; 1]>::try_from(listen(&[loopback(1)]).await).unwrap();
    world.port = listener.local_addr().unwrap().port();
    tokio::spawn(breaks_tls(listener));
    let (sender, ..) = world.sender();
    let first = send(&sender, &everybody, &plain()).await;
    assert_eq!(first.attempts.len(), 2);
    assert_eq!(sessions(&first), [("no-policy-found", false, vec!["validation-failure"])]);
    assert_eq!(sessions(&send(&sender, &everybody, &plain()).await), []);

    // What a server lacks beside TLS is no failure of TLS.
    let world = World::with(DnsStatus::Secure, with_requiretls(false), with_requiretls(true)).await;
    let (sender, ..) = world.sender();
    let report = send(&sender, &everybody, &requiretls()).await;
    assert_eq!(sessions(&report), [("no-policy-found", true, vec![]), ("no-policy-found", true, vec![])]);
}
