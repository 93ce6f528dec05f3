//! A root, its certificates, a server that remembers, and a client that delivers to it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

pub mod log;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use smtp_proto::client::{Envelope, Recipient};
use smtp_proto::route;
use smtp_proto::route::Targets;
use smtp_proto::server;
use smtp_proto::stamp::Date;
use smtp_proto::timeouts::Timeouts;
use smtp_proto::wire::body::Runs;
use smtp_proto::wire::host::HostName;
use smtp_proto::wire::params::RcptParameters;
use smtp_proto::wire::path::ForwardPath;
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::pki::{RootsId, Trust};
use smtp_tls_policy::plan::{Facts, HostOrigin, Plan, plan};
use smtp_tls_policy::rules::{IdentityId, OutboundConnector, OutboundConnectors, Posture};
use smtp_tls_policy::tls::{ClientCertificates, ClientTls, server_config};
use smtp_tls_policy::{Host, Namespace};
use smtp_tokio_adapter::lookups::Lookups;
use smtp_tokio_adapter::{Candidate, Hosts, Outbound, Report, Sender, Skip, Target};
use smtp_tokio_adapter::{Handler, Inbound, Service, Session, serve};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub const HOST: &str = "mx.test.example";

pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// An authority whose root the test trusts.
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    pub root: CertificateDer<'static>,
    /// The root in PEM.
    pub root_pem: String,
}

impl Pki {
    pub fn new() -> Self {
        Self::named("Test CA")
    }

    /// A root with this Common Name.
    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let (root, root_pem) = (root.der().clone(), root.pem());
        Self { issuer: Issuer::new(params, key), root, root_pem }
    }

    pub fn identity(&self, name: &str) -> Arc<CertifiedKey> {
        self.sign(&CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    /// A certificate for a host, and its private key, both in PEM.
    pub fn identity_pem(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    pub fn sign(&self, params: &CertificateParams) -> Arc<CertifiedKey> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Arc::new(CertifiedKey::from_der(vec![certificate.der().clone()], der, &provider()).unwrap())
    }

    /// A revocation list of the root, which revokes these serial numbers.
    pub fn crl(&self, number: u8, serials: &[u8]) -> Vec<u8> {
        let revoked = |serial: &u8| rcgen::RevokedCertParams {
            serial_number: rcgen::SerialNumber::from_slice(&[*serial]),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(4096, 1, 1),
            crl_number: rcgen::SerialNumber::from_slice(&[number]),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }

    pub fn trust(&self) -> Arc<Trust> {
        let mut trust = Trust::empty();
        trust.add_root_der(&RootsId::public(), &self.root).unwrap();
        Arc::new(trust)
    }

    pub fn server(&self) -> Arc<rustls::ServerConfig> {
        server_config(self.identity(HOST), ClientCertificates::None, provider()).unwrap()
    }
}

/// What a server was given.
#[derive(Default)]
pub struct Kept {
    pub messages: Mutex<Vec<Vec<u8>>>,
    /// Octets that came and then did not become a message.
    pub lost: Mutex<Vec<usize>>,
    pub chains: Mutex<Vec<usize>>,
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
        if path.as_str().starts_with("nobody") {
            Response::fixed(550, (5, 1, 1), "no such user")
        } else {
            Response::fixed(250, (2, 1, 5), "OK")
        }
    }

    async fn body(&mut self, runs: Runs<'_>) {
        runs.append_to(&mut self.1);
    }

    async fn end_of_body(&mut self, session: &Session) -> Response {
        self.0.messages.lock().unwrap().push(std::mem::take(&mut self.1));
        self.0.over_tls.lock().unwrap().push(session.tls.is_some());
        self.0.chains.lock().unwrap().push(session.client_chain.len());
        let (mut stamp, date) = (Vec::new(), Date::new(1_780_272_000, 0).unwrap());
        session.stamp(HOST, true, date).write(&mut stamp);
        let stamp = String::from_utf8(stamp).unwrap();
        let words: Vec<&str> = stamp.split_ascii_whitespace().collect();
        self.0.stamps.lock().unwrap().push(words.join(" "));
        Response::fixed(250, (2, 0, 0), "kept")
    }

    async fn closed(&mut self) {
        self.0.lost.lock().unwrap().push(self.1.len());
    }
}

struct Shared(Arc<Kept>);

impl Service for Shared {
    type Handler = Keeper;
    fn handler(&self, _: SocketAddr) -> Keeper {
        Keeper(Arc::clone(&self.0), Vec::new())
    }
}

/// A server on loopback.
pub struct Running {
    pub address: SocketAddr,
    pub kept: Arc<Kept>,
    pub stop: tokio::sync::oneshot::Sender<()>,
    pub task: JoinHandle<std::io::Result<()>>,
}

pub fn smtp() -> server::ServerConfig {
    server::ServerConfig {
        starttls: server::StartTls::Offered,
        ..server::ServerConfig::new(HOST.parse().unwrap())
    }
}

pub async fn start(inbound: Inbound) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let kept = Arc::new(Kept::default());
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let service = Arc::new(Shared(Arc::clone(&kept)));
    let task = tokio::spawn(serve(listener, inbound, service, async { drop(stopped.await) }));
    Running { address, kept, stop, task }
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
    let mut timeouts = Timeouts::default();
    timeouts.handshake = Duration::from_secs(2);
    Outbound::new("client.test.example".parse().unwrap(), provider(), pki.trust())
        .with_smtp(|smtp| smtp.timeouts = timeouts)
        .with_tls(tls)
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

pub struct Loopback {
    pub plan: Plan,
    pub identity: Option<IdentityId>,
}

impl Hosts for Loopback {
    async fn prepare(&self, host: &HostName) -> Result<Candidate, Skip> {
        let addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let mut target = Target::new(&Host::parse(host.as_str()).unwrap(), &self.plan);
        target.identity = self.identity.clone();
        Ok(Candidate::new(target, addresses))
    }
}

pub fn envelope(recipients: &[&str]) -> Envelope {
    Envelope::new(
        "sender@client.test.example".parse().unwrap(),
        recipients.iter().map(|it| it.parse::<Recipient>().unwrap()),
    )
}

pub async fn send(
    outbound: &Outbound,
    address: SocketAddr,
    plan: Plan,
    identity: Option<IdentityId>,
    message: impl Into<Bytes>,
) -> Report {
    send_to(outbound, address, plan, identity, message, &["reader@test.example"]).await
}

pub async fn send_to(
    outbound: &Outbound,
    address: SocketAddr,
    plan: Plan,
    identity: Option<IdentityId>,
    message: impl Into<Bytes>,
    recipients: &[&str],
) -> Report {
    let mut config = route::RouteConfig::default();
    config.port = address.port();
    let (targets, config) = (Targets::Host(HOST.parse().unwrap()), config);
    outbound
        .send_along(
            targets,
            &config,
            &Loopback { plan, identity },
            &envelope(recipients),
            &message.into(),
        )
        .await
}
