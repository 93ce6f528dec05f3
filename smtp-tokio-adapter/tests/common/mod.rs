//! A server that remembers its messages, a client that delivers to it, and common scripts.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

pub mod log;
pub mod programs;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use smtp_proto::Date;
use smtp_proto::Secret;
use smtp_proto::client::{Envelope, Recipient};
use smtp_proto::sasl::server::{Answer, Question};
use smtp_proto::server;
use smtp_proto::wire::body::Runs;
use smtp_proto::wire::params::{MailParameters, RcptParameters};
use smtp_proto::wire::path::{ForwardPath, ReversePath};
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::plan::{DnsStatus, Facts, HostOrigin, Plan, plan};
use smtp_tls_policy::rules::{OutboundConnector, OutboundConnectors, Posture, SmartHost};
use smtp_tls_policy::tls::ClientTls;
use smtp_tls_policy::{Domain, Host, Namespace};
use smtp_tokio_adapter::lookups::{Lookups, Zone};
use smtp_tokio_adapter::test_kit::Script;
pub use smtp_tokio_adapter::test_kit::{Pki, provider};
use smtp_tokio_adapter::{Handler, Inbound, Session, serve};
use smtp_tokio_adapter::{Mail, Outbound, PoolLimits, Report, Sender};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub const HOST: &str = "mx.test.example";

/// What a server was given.
#[derive(Default)]
pub struct Kept {
    pub messages: Mutex<Vec<Vec<u8>>>,
    /// Octets that came and then did not become a message.
    pub lost: Mutex<Vec<usize>>,
    pub chains: Mutex<Vec<usize>>,
    /// The certificate of the client at each message that came with one.
    pub leaves: Mutex<Vec<CertificateDer<'static>>>,
    /// The Received field of each message, unfolded.
    pub stamps: Mutex<Vec<String>>,
    pub over_tls: Mutex<Vec<bool>>,
}

/// Keeps every message.
pub struct Keeper(pub Arc<Kept>, Vec<u8>);

impl Handler for Keeper {
    async fn recipient(
        &mut self,
        _: &Session,
        path: ForwardPath<'_>,
        _: RcptParameters<'_>,
    ) -> Response {
        if path.as_str().starts_with("slow") {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        match path.as_str() {
            path if path.starts_with("nobody") => Response::fixed(550, (5, 1, 1), "no such user"),
            path if path.starts_with("later") => Response::fixed(451, (4, 3, 0), "try later"),
            _ => Response::fixed(250, (2, 1, 5), "OK"),
        }
    }

    async fn body(&mut self, runs: Runs<'_>) {
        runs.append_to(&mut self.1);
    }

    async fn end_of_body(&mut self, session: &Session) -> Response {
        self.0.messages.lock().unwrap().push(std::mem::take(&mut self.1));
        self.0.over_tls.lock().unwrap().push(session.tls.is_some());
        self.0.chains.lock().unwrap().push(session.client_chain.len());
        self.0.leaves.lock().unwrap().extend(session.client_chain.first().cloned());
        self.0.stamps.lock().unwrap().push(stamped(session, true));
        Response::fixed(250, (2, 0, 0), "kept")
    }

    async fn closed(&mut self) {
        self.0.lost.lock().unwrap().push(self.1.len());
    }
}

/// What a server knows of its users.
type Users = dyn FnMut(&Session, Question) -> Answer + Send;

/// Takes every recipient, knows the password `pencil` of every user, and answers each message by a
/// function.
pub struct Taker {
    message: Box<dyn FnMut(&Session) -> Response + Send>,
    users: Box<Users>,
    mail: Box<dyn FnMut(&MailParameters<'_>) + Send>,
}

impl Taker {
    pub fn new(message: impl FnMut(&Session) -> Response + Send + 'static) -> Self {
        let users = |_: &Session, question| match question {
            Question::Password { user, password } if password == Secret::from("pencil") => {
                Answer::Accepted(user)
            }
            _ => Answer::Refused,
        };
        Self { message: Box::new(message), users: Box::new(users), mail: Box::new(|_| ()) }
    }

    /// Asks this function about users.
    pub fn with_users(
        self,
        users: impl FnMut(&Session, Question) -> Answer + Send + 'static,
    ) -> Self {
        Self { users: Box::new(users), ..self }
    }

    /// Tells this function the parameters of MAIL.
    pub fn with_mail(self, mail: impl FnMut(&MailParameters<'_>) + Send + 'static) -> Self {
        Self { mail: Box::new(mail), ..self }
    }
}

impl Handler for Taker {
    async fn authenticate(&mut self, session: &Session, question: Question) -> Answer {
        (self.users)(session, question)
    }
    async fn mail(
        &mut self,
        _: &Session,
        _: ReversePath<'_>,
        parameters: MailParameters<'_>,
    ) -> Response {
        (self.mail)(&parameters);
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
    async fn body(&mut self, _: Runs<'_>) {}
    async fn end_of_body(&mut self, session: &Session) -> Response {
        (self.message)(session)
    }
}

/// The Received field of a message that arrives on 1 June 2026, unfolded.
pub fn stamped(session: &Session, client_verified: bool) -> String {
    let (mut stamp, date) = (Vec::new(), Date::new(1_780_272_000, 0).unwrap());
    session.stamp(HOST, client_verified, date).write(&mut stamp);
    let stamp = String::from_utf8(stamp).unwrap();
    stamp.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// A server on loopback.
pub struct Running {
    pub address: SocketAddr,
    pub kept: Arc<Kept>,
    pub stop: tokio::sync::oneshot::Sender<()>,
    pub task: JoinHandle<std::io::Result<()>>,
}

pub fn smtp() -> server::ServerConfig {
    changed(server::ServerConfig::new(HOST.parse().unwrap()), |it| {
        it.starttls = server::StartTls::Offered
    })
}

/// Starts a server on loopback. Without a certificate it offers no STARTTLS.
pub async fn start(mut inbound: Inbound) -> Running {
    if inbound.tls.is_none() {
        Arc::make_mut(&mut inbound.smtp).starttls = server::StartTls::No;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let kept = Arc::new(Kept::default());
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let keeping = Arc::clone(&kept);
    let service = move |_: SocketAddr| Keeper(Arc::clone(&keeping), Vec::new());
    let task = tokio::spawn(serve(listener, inbound, service, async { drop(stopped.await) }));
    Running { address, kept, stop, task }
}

/// A server without extensions, up to the reply to MAIL.
pub fn to_mail() -> Script {
    Script::new().say("220 mx").expect("EHLO").say("250 mx").expect("MAIL").say("250 sender")
}

/// The same server, up to the reply to DATA for a message with one recipient.
pub fn to_data() -> Script {
    to_mail().expect("RCPT").say("250 recipient").expect("DATA").say("354 go")
}

/// A server with PIPELINING that answers MAIL, two recipients and DATA with these lines at once.
pub fn pipelined(replies: &str) -> Script {
    let greeted = Script::new().say("220 mx").expect("EHLO").say("250-mx\n250 PIPELINING");
    greeted.expect("MAIL").expect("RCPT").expect("RCPT").expect("DATA").say(replies)
}

/// The value with this change.
pub fn changed<T>(mut value: T, change: impl FnOnce(&mut T)) -> T {
    change(&mut value);
    value
}

pub fn connector(posture: Posture) -> OutboundConnector {
    OutboundConnector::new("test", vec![Namespace::Default], posture)
}

pub fn plan_for(connector: &OutboundConnector, implicit: bool) -> Plan {
    let (domain, host) = (Host::parse("test.example").unwrap(), Host::parse(HOST).unwrap());
    let mut facts = Facts::new(connector, &domain, &host, HostOrigin::Mx);
    facts.implicit_tls = implicit;
    plan(&facts).unwrap()
}

pub fn outbound(pki: &Pki) -> Outbound {
    outbound_with(pki, ClientTls::new(provider()))
}

pub fn outbound_with(pki: &Pki, tls: ClientTls) -> Outbound {
    Outbound::new("client.test.example".parse().unwrap(), provider(), pki.trust()).with_tls(tls)
}

/// A sender whose connectors send all mail opportunistically.
pub fn sender<L: Lookups>(pki: &Pki, lookups: L, port: u16) -> Sender<L> {
    sender_of(outbound(pki), lookups, port)
}

pub fn sender_of<L: Lookups>(outbound: Outbound, lookups: L, port: u16) -> Sender<L> {
    let connectors = OutboundConnectors::new(vec![connector(Posture::Opportunistic)]).unwrap();
    let sender = Sender::new(outbound, Arc::new(connectors), lookups).unwrap();
    sender.with_route(|route| route.port = port)
}

/// A sender for mail to the domain `test.example`, whose one host is prepared by hand: [`HOST`]
/// with these addresses, and nothing is signed. Each delivery has a connection of its own.
pub fn to_host(outbound: &Outbound, port: u16, addresses: &[IpAddr]) -> Sender<Zone> {
    let host = Domain::parse(HOST).unwrap();
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.add_mx(&Domain::parse("test.example").unwrap(), 10, &host);
    zone.add_host(&host, addresses.iter().copied());
    let limits = changed(PoolLimits::default(), |it| it.idle = 0);
    sender_of(outbound.clone(), zone, port).with_pool(limits)
}

/// The connector with [`HOST`] as its smart host: the only hosts with credentials are smart hosts,
/// and so are those with TLS from the first octet.
pub fn smart(mut connector: OutboundConnector, port: u16, implicit_tls: bool) -> OutboundConnector {
    let smart_host = SmartHost::new(Host::parse(HOST).unwrap());
    connector.smart_host = Some(changed(smart_host, |it| {
        (it.port, it.implicit_tls) = (port, implicit_tls);
    }));
    connector
}

pub fn envelope(recipients: &[&str]) -> Envelope {
    Envelope::new(
        "sender@client.test.example".parse().unwrap(),
        recipients.iter().map(|it| it.parse::<Recipient>().unwrap()),
    )
}

/// Sends to `reader@test.example` by this connector. [`HOST`] listens at this address of loopback.
pub async fn send(
    outbound: &Outbound,
    address: SocketAddr,
    connector: &OutboundConnector,
    message: impl Into<Bytes>,
) -> Report {
    send_to(outbound, address, connector, message, &["reader@test.example"]).await
}

/// The same to these recipients of `test.example`. The message is not measured.
pub async fn send_to(
    outbound: &Outbound,
    address: SocketAddr,
    connector: &OutboundConnector,
    message: impl Into<Bytes>,
    recipients: &[&str],
) -> Report {
    let (message, mut envelope) = (message.into(), envelope(recipients));
    envelope.size = Some(message.len() as u64);
    let sender = to_host(outbound, address.port(), &[Ipv4Addr::LOCALHOST.into()]);
    let domain = Host::parse("test.example").unwrap();
    sender.send_mail(&Mail::new(connector, &domain, &envelope, &message)).await
}
