//! Runs a scenario: four hops, each with its own server, recorder and client.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::crypto::CryptoProvider;
use smtp_proto::client::{self, Envelope};
use smtp_proto::reply::EnhancedCode;
use smtp_proto::route::{self, Route, Targets, Word};
use smtp_proto::timeouts::Timeouts;
use smtp_proto::{received, server};
use smtp_tls_policy::config::Config;
use smtp_tls_policy::review::Channel;
use smtp_tls_policy::rustls::{ClientCertificates, ClientTls, server_config};
use smtp_tls_policy::{Facts, Host, HostOrigin, IdentityId, OutboundConnectors, Reason, Trust, TrustStore, plan};
use smtp_tokio_adapter::serve::Inbound;
use smtp_tokio_adapter::{Attempt, Candidate, Hosts, Outbound, Report, Spoken, deliver, explain, review};

use crate::Failed;
use crate::message::{Mail, inspect};
use crate::pki::{Certificate, Pki};
use crate::scenario::{HOPS, Hop, Scenario, Setup, StartTls};
use crate::server::{Running, Seen, Server};
use crate::wire::Recorder;

/// How long a handshake may take: a peer that stalls costs this much.
const HANDSHAKE: Duration = Duration::from_secs(1);

/// What a hop came to; everything in it was observed.
pub struct Observed {
    pub hop: &'static Hop,
    pub result: Outcome,
    /// Version and cipher of the receiving TLS session.
    pub tls: Option<(&'static str, &'static str)>,
    pub reason: Reason,
    pub sentence: String,
    /// What the stored message's own header of this hop says.
    pub review: Option<Channel>,
    pub intact: Option<bool>,
    pub clear_octets: u64,
    /// Octets that the message of this hop has.
    pub octets: u64,
    pub attempts: Vec<Attempt>,
}

/// The final word on the recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    Deferred(EnhancedCode),
    Bounced(EnhancedCode),
    NotAttempted,
}

/// What all scenarios share.
pub struct World {
    pki: Pki,
    trust: Arc<Trust>,
    provider: Arc<CryptoProvider>,
    /// Where messages are spooled.
    directory: PathBuf,
    capture: Option<PathBuf>,
}

impl World {
    pub fn new(directory: PathBuf, capture: Option<PathBuf>) -> Result<Self, Failed> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let pki = Pki::new(Arc::clone(&provider))?;
        let trust = Arc::new(pki.trust()?);
        Ok(Self { pki, trust, provider, directory, capture })
    }

    /// Runs all four hops, in path order.
    pub async fn run(&self, scenario: &Scenario, mail: &Mail) -> Result<Vec<Observed>, Failed> {
        let mut observed = Vec::new();
        for direction in ["outbound", "inbound"] {
            let (sender, recipient) = match direction {
                "outbound" => ("alice@contoso.com", scenario.recipient),
                _ => (scenario.recipient, "alice@contoso.com"),
            };
            let original = inspect(&mail.path, 0)?.digest;
            // Each hop sends what the server before it has stored; none if it has not.
            let mut carried = Some(mail.clone());
            let mut added = 0;
            let mut stopped_by = None;
            for (index, hop) in HOPS.iter().enumerate().filter(|(_, hop)| hop.direction == direction) {
                let Some(mail) = carried.take() else {
                    observed.push(Observed::not_attempted(hop, stopped_by.unwrap_or(Reason::TlsNotWanted)));
                    continue;
                };
                let envelope = Envelope {
                    reverse_path: sender.parse()?,
                    recipients: vec![recipient.parse()?],
                    size: Some(mail.octets),
                    body: mail.body,
                    ..Envelope::default()
                };
                let mut hop = self.hop(scenario, hop, &scenario.setups[index], &mail, &envelope).await?;
                if let Some(path) = hop.seen.stored {
                    added += 1;
                    let stored = inspect(&path, added)?;
                    hop.observed.intact = Some(stored.digest == original);
                    hop.observed.review =
                        received::trace(&stored.header).next().map(|it| review::hop(&it).judge().channel);
                    let octets = std::fs::metadata(&path)?.len();
                    carried = Some(Mail { path, octets, body: mail.body });
                }
                stopped_by = Some(hop.observed.reason);
                observed.push(hop.observed);
            }
        }
        Ok(observed)
    }

    async fn hop(
        &self,
        scenario: &Scenario,
        hop: &'static Hop,
        setup: &Setup,
        mail: &Mail,
        envelope: &Envelope,
    ) -> Result<HopEnd, Failed> {
        let folder = self.capture.as_ref().map(|capture| capture.join(&scenario.name).join(hop.name));
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder)?;
        }
        let server = Arc::new(self.server(hop, setup)?);
        let fault = match setup.starttls {
            StartTls::Broken(fault) => Some(fault),
            _ => None,
        };
        let running = Running::start(Arc::clone(&server), self.inbound(hop, setup, &server)?, fault).await?;
        let wire = folder.as_ref().map(|folder| folder.join("wire.bin"));
        let recorder = Recorder::start(running.address, wire.as_deref()).await?;
        let report = self.send(hop, setup, mail, envelope, recorder.address.port()).await?;
        running.stop().await?;
        let clear_octets = recorder.finish().await?;
        let seen = server.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let (Some(folder), Some(stored)) = (&folder, &seen.stored) {
            std::fs::copy(stored, folder.join("received.eml"))?;
        }
        Ok(HopEnd { observed: Observed::new(hop, report, &seen, clear_octets, mail.octets)?, seen })
    }

    fn server(&self, hop: &Hop, setup: &Setup) -> Result<Server, Failed> {
        Ok(Server {
            name: hop.server,
            connectors: Config::from_toml(setup.server)?.inbound,
            trust: Arc::clone(&self.trust) as Arc<dyn TrustStore>,
            refuses_starttls: setup.starttls == StartTls::Refused,
            spool: self.directory.join(hop.name.replace('>', "-to-")).with_extension("eml"),
            seen: Mutex::default(),
        })
    }

    fn inbound(&self, hop: &Hop, setup: &Setup, server: &Server) -> Result<Inbound, Failed> {
        let mut config = server::Config::new(hop.server.parse()?);
        config.timeouts.handshake = 2 * HANDSHAKE;
        config.size_limit = Some(1 << 30);
        config.starttls = match setup.starttls {
            StartTls::Absent => server::StartTls::No,
            _ => server::StartTls::Offered,
        };
        let certificate = match setup.starttls {
            StartTls::Works(certificate) => certificate,
            _ => Certificate::Good,
        };
        let asks = server.connectors.asks_for_certificate();
        let client_certificates =
            if asks { ClientCertificates::Request { hints: Vec::new() } } else { ClientCertificates::None };
        let identity = self.pki.identity(certificate, hop.server)?;
        let tls = server_config(identity, client_certificates, Arc::clone(&self.provider))?;
        Ok(Inbound { tls: Some(tls), ..Inbound::new(Arc::new(config)) })
    }

    async fn send(
        &self,
        hop: &Hop,
        setup: &Setup,
        mail: &Mail,
        envelope: &Envelope,
        port: u16,
    ) -> Result<Report, Failed> {
        let timeouts = Timeouts { handshake: HANDSHAKE, ..Timeouts::default() };
        let config = client::Config { timeouts, ..client::Config::new(hop.client.parse()?) };
        let mut tls = ClientTls::new(Arc::clone(&self.provider));
        if let Some(name) = setup.client_certificate {
            tls.add_identity(IdentityId::new("on-premise"), self.pki.identity(Certificate::Good, name)?);
        }
        let trust = Arc::clone(&self.trust) as Arc<dyn TrustStore>;
        let outbound = Outbound::new(Arc::new(config), Arc::new(tls), trust);
        let recipient = envelope.recipients[0].path.borrow().mailbox().ok_or(Failed::from_text("no domain"))?;
        let hosts = Directory {
            connectors: Config::from_toml(setup.client)?.outbound,
            next_hop: Host::parse(recipient.domain().as_str())?,
        };
        let targets = Targets::Host(hop.server.parse()?);
        let route = Route::new(targets, 1, &route::Config { port, ..route::Config::default() });
        Ok(deliver(&outbound, route, &hosts, envelope, mail).await)
    }
}

/// Stands in for DNS: every host is on loopback.
struct Directory {
    connectors: OutboundConnectors,
    next_hop: Host,
}

impl Hosts for Directory {
    async fn prepare(&self, host: &str) -> Result<Candidate, EnhancedCode> {
        let malformed = EnhancedCode::new(4, 4, 3);
        let host = Host::parse(host).map_err(|_| malformed)?;
        let connector = self.connectors.find(&self.next_hop);
        let facts = Facts::new(connector, &self.next_hop, &host, HostOrigin::Mx);
        let plan = plan(&facts).map_err(|refusal| explain::status(refusal.status()))?;
        let addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        Ok(Candidate { host, addresses, plan, identity: connector.identity.clone() })
    }
}

struct HopEnd {
    observed: Observed,
    seen: Seen,
}

impl Observed {
    fn new(hop: &'static Hop, report: Report, seen: &Seen, clear_octets: u64, octets: u64) -> Result<Self, Failed> {
        let last = report.attempts.last().ok_or(Failed::from_text("no connection was made"))?;
        let result = match report.words[0] {
            Word::Delivered => Outcome::Delivered,
            Word::Deferred(status) => Outcome::Deferred(status),
            Word::Bounced(status) => Outcome::Bounced(status),
        };
        let reason = seen.refused.unwrap_or(last.decision.reason);
        let sentence = match seen.refused {
            Some(refused) => format!("refused by the server: {}", refused.sentence()),
            None => last.decision.sentence.clone(),
        };
        Ok(Self {
            hop,
            result,
            tls: seen.tls.as_ref().map(|tls| (tls.version, tls.cipher)),
            reason,
            sentence,
            review: None,
            intact: None,
            clear_octets,
            octets,
            attempts: report.attempts,
        })
    }

    fn not_attempted(hop: &'static Hop, reason: Reason) -> Self {
        Self {
            hop,
            result: Outcome::NotAttempted,
            tls: None,
            reason,
            sentence: "not attempted: the hop before it did not deliver".into(),
            review: None,
            intact: None,
            clear_octets: 0,
            octets: 0,
            attempts: Vec::new(),
        }
    }

    /// What the last connection spoke.
    pub fn spoken(&self) -> Option<Spoken> {
        self.attempts.last().map(|attempt| attempt.decision.channel)
    }
}

/// A directory for spool files that is gone when this is dropped.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> std::io::Result<Self> {
        let stamp = Instant::now();
        let name =
            format!("mail-path-{}-{:?}", std::process::id(), stamp).replace(|it: char| !it.is_alphanumeric(), "-");
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _: std::io::Result<()> = std::fs::remove_dir_all(&self.0);
    }
}
