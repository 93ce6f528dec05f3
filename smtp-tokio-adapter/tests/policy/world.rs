//! A domain with two hosts, the DNS around it, and what its servers have seen.

pub use std::net::{IpAddr, Ipv4Addr, SocketAddr};
pub use std::sync::atomic::{AtomicBool, Ordering};
pub use std::sync::{Arc, Mutex};
pub use std::time::Duration;

pub use crate::common::{
    HOST, Pki, Taker, changed, connector, envelope, outbound, plan_for, provider, smtp,
};
pub use bytes::Bytes;
pub use rustls::pki_types::UnixTime;
pub use rustls::server::{ClientHello, ResolvesServerCert};
pub use rustls::sign::CertifiedKey;
pub use rustls::time_provider::TimeProvider;
pub use smtp_proto::client::Envelope;
pub use smtp_proto::route::RecipientStatus;
pub use smtp_proto::server;
pub use smtp_proto::wire::path::ReversePath;
pub use smtp_proto::wire::reply::{EnhancedCode, Response};
pub use smtp_tls_policy::inquiry::{DnsAnswer, MxRecord};
pub use smtp_tls_policy::pki::TlsaRecord;
pub use smtp_tls_policy::plan::DnsStatus;
pub use smtp_tls_policy::rules::{DaneRule, OutboundConnector, Posture, SmartHost, Yield};
pub use smtp_tls_policy::tls::ClientTls;
pub use smtp_tls_policy::{Domain, Host, Reason};
pub use smtp_tokio_adapter::lookups::Zone;
pub use smtp_tokio_adapter::test_kit::{Peer, Script, Tls};
pub use smtp_tokio_adapter::{Failure, Mail, Report, Sender, Spoken, Target};
pub use smtp_tokio_adapter::{Inbound, serve};
pub use tokio::net::TcpListener;

pub static MESSAGE: Bytes = Bytes::from_static(b"Subject: hello\r\n\r\nHello.\r\n");
pub const DOMAIN: &str = "test.example";
pub const BACKUP: &str = "backup.test.example";

pub fn name(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

/// What a server has seen.
#[derive(Default)]
pub struct Seen {
    /// REQUIRETLS on MAIL, and TLS, of each message.
    messages: Mutex<Vec<(bool, bool)>>,
    connections: Mutex<usize>,
    pub sni: Mutex<Vec<Option<String>>>,
}

impl Seen {
    pub fn messages(&self) -> Vec<(bool, bool)> {
        self.messages.lock().unwrap().clone()
    }
    pub fn took(&self, require_tls: bool, tls: bool) {
        self.messages.lock().unwrap().push((require_tls, tls));
    }
    pub fn connected(&self) {
        *self.connections.lock().unwrap() += 1;
    }
    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

/// Takes every message, and tells what it came with.
fn telling(seen: &Arc<Seen>) -> Taker {
    let (seen, required) = (Arc::clone(seen), Arc::new(AtomicBool::new(false)));
    let require = Arc::clone(&required);
    let taker = Taker::new(move |session| {
        seen.took(required.load(Ordering::Relaxed), session.tls.is_some());
        Response::fixed(250, (2, 0, 0), "kept")
    });
    taker.with_mail(move |parameters| require.store(parameters.require_tls, Ordering::Relaxed))
}

/// Shows one certificate to each client, and remembers by which name it was asked.
pub struct Shows(Arc<CertifiedKey>, Arc<Seen>);

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

pub fn tls_of(identity: Arc<CertifiedKey>, seen: &Arc<Seen>) -> Arc<rustls::ServerConfig> {
    let builder = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let resolver = Arc::new(Shows(identity, Arc::clone(seen)));
    Arc::new(builder.with_no_client_auth().with_cert_resolver(resolver))
}

/// A listener at the last address that is given, on a port that is free at all of them.
pub async fn listen(ips: &[IpAddr]) -> Vec<TcpListener> {
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

pub fn loopback(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

pub fn take(
    listener: TcpListener,
    config: server::ServerConfig,
    identity: Arc<CertifiedKey>,
) -> Arc<Seen> {
    let seen = Arc::new(Seen::default());
    let tls = Some(tls_of(identity, &seen));
    let inbound = changed(Inbound::new(Arc::new(config)), |it| it.tls = tls);
    let shared = Arc::clone(&seen);
    let service = move |_: SocketAddr| {
        *shared.connections.lock().unwrap() += 1;
        telling(&shared)
    };
    tokio::spawn(serve(listener, inbound, service, std::future::pending()));
    seen
}

pub fn with_requiretls(offered: bool) -> server::ServerConfig {
    changed(smtp(), |it| it.require_tls = offered)
}

/// A domain with one host at 127.0.0.1, and a second one at 127.0.0.2.
pub struct World {
    pub pki: Pki,
    pub port: u16,
    pub first: Arc<Seen>,
    pub second: Arc<Seen>,
    /// The first host's.
    pub identity: Arc<CertifiedKey>,
    pub zone: Zone,
}

impl World {
    pub async fn new(status: DnsStatus) -> Self {
        Self::with(status, smtp(), smtp()).await
    }

    pub async fn with(
        status: DnsStatus,
        first: server::ServerConfig,
        second: server::ServerConfig,
    ) -> Self {
        let pki = Pki::new();
        let [one, two] =
            <[TcpListener; 2]>::try_from(listen(&[loopback(1), loopback(2)]).await).unwrap();
        let port = one.local_addr().unwrap().port();
        let identity = pki.identity(HOST);
        let first = take(one, first, Arc::clone(&identity));
        let second = take(two, second, pki.identity(BACKUP));
        let mut zone = Zone::new(status);
        zone.keeps_questions = true;
        zone.add_mx(&name(DOMAIN), 10, &name(HOST)).add_host(&name(HOST), [loopback(1)]);
        zone.add_mx(&name(DOMAIN), 20, &name(BACKUP)).add_host(&name(BACKUP), [loopback(2)]);
        Self { pki, port, first, second, identity, zone }
    }

    pub fn tlsa(&self, host: &str) -> String {
        format!("_{}._tcp.{host}", self.port)
    }

    pub fn end_entity(&self) -> TlsaRecord {
        let data = self.identity.key.public_key().unwrap().to_vec();
        TlsaRecord { usage: 3, selector: 1, matching: 0, data }
    }

    pub fn sender(self) -> (Sender<Zone>, Arc<Seen>, Arc<Seen>) {
        let sender = crate::common::sender(&self.pki, self.zone, self.port);
        (sender, self.first, self.second)
    }
}

pub async fn send(
    sender: &Sender<Zone>,
    connector: &OutboundConnector,
    envelope: &Envelope,
) -> Report {
    let domain = Host::parse(DOMAIN).unwrap();
    deliver(sender, &Mail::new(connector, &domain, envelope, &MESSAGE)).await
}

pub async fn deliver(sender: &Sender<Zone>, mail: &Mail<'_, Bytes>) -> Report {
    tokio::time::timeout(Duration::from_secs(20), sender.send_mail(mail)).await.expect("no hang")
}

pub fn plain() -> Envelope {
    envelope(&["reader@test.example"])
}

pub fn requiretls() -> Envelope {
    let mut envelope = plain();
    envelope.require_tls = true;
    envelope
}

pub const fn status(class: u8, subject: u16, detail: u16) -> EnhancedCode {
    EnhancedCode::new(class, subject, detail)
}

pub fn reason(report: &Report) -> Option<Reason> {
    Some(report.skipped.last()?.1.refusal.reason())
}
