//! Runs a scenario: four hops, each with its own server, recorder and client.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use smtp_proto::client::{Envelope, Recipient};
use smtp_proto::route::RecipientStatus;
use smtp_proto::server;
use smtp_proto::timeouts::Timeouts;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::inquiry::DnsAnswer;
use smtp_tls_policy::pki::{CertificateSummary, LiveTrust, Pin, RootsId, TlsaRecord, Trust};
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::Config;
use smtp_tls_policy::rules::IdentityId;
use smtp_tls_policy::tls::{ClientCertificates, ClientTls, server_config};
use smtp_tls_policy::trace;
use smtp_tls_policy::trace::HopVerdict;
use smtp_tls_policy::{Domain, Reason};
use smtp_tokio_adapter::Inbound;
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::{DialAttempt, Outbound, Report, Sender, Spoken};

use crate::Failed;
use crate::message::{Mail, inspect};
use crate::pki::{Certificate, Pki};
use crate::scenario::{HOPS, Hop, Scenario, Setup, StartTls, Tlsa, TrustFault, Wish};
use crate::server::{Running, Seen, Server};
use crate::wire::{Recorder, loopback};

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
    pub review: Option<HopVerdict>,
    pub intact: Option<bool>,
    /// Whether the server was told of REQUIRETLS.
    pub require_tls: bool,
    pub clear_octets: u64,
    /// Octets that the message of this hop has.
    pub octets: u64,
    pub attempts: Vec<DialAttempt>,
    /// The chain that the server shows where TLS comes so far, its own certificate first.
    pub certificates: Vec<CertificateSummary>,
}

/// The final status of the recipient.
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
    trust: Trust,
    provider: Arc<CryptoProvider>,
    /// Where messages are spooled.
    directory: PathBuf,
    capture: Option<PathBuf>,
}

impl World {
    pub fn new(directory: PathBuf, capture: Option<PathBuf>) -> Result<Self, Failed> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let pki = Pki::new(Arc::clone(&provider))?;
        let trust = pki.trust()?;
        Ok(Self { pki, trust, provider, directory, capture })
    }

    /// Runs all four hops, in path order.
    pub async fn run(&self, scenario: &Scenario, mail: &Mail) -> Result<Vec<Observed>, Failed> {
        let mut observed = Vec::new();
        let marked = mail.marked(scenario.wish, &self.directory.join("marked.eml"))?;
        for direction in ["outbound", "inbound"] {
            let (sender, recipient) = match direction {
                "outbound" => ("alice@contoso.com", scenario.recipient),
                _ => (scenario.recipient, "alice@contoso.com"),
            };
            let original = inspect(&marked.path, 0)?.digest;
            // Each hop sends what the server before it has stored, with the tag that came with it;
            // none if it has not.
            let mut carried = Some((marked.clone(), scenario.wish == Wish::Requiretls));
            let mut added = 0;
            let mut stopped_by = None;
            for (index, hop) in
                HOPS.iter().enumerate().filter(|(_, hop)| hop.direction == direction)
            {
                let Some((mail, require_tls)) = carried.take() else {
                    observed.push(Observed::not_attempted(
                        hop,
                        stopped_by.unwrap_or(Reason::TlsNotWanted),
                    ));
                    continue;
                };
                let mut envelope =
                    Envelope::new(sender.parse()?, [recipient.parse::<Recipient>()?]);
                envelope.size = Some(mail.octets);
                envelope.body = mail.body;
                envelope.require_tls = require_tls;
                let mut hop =
                    self.hop(scenario, hop, &scenario.setups[index], &mail, &envelope).await?;
                if let Some(path) = hop.seen.stored {
                    added += 1;
                    let stored = inspect(&path, added)?;
                    hop.observed.intact = Some(stored.digest == original);
                    hop.observed.review =
                        trace::trace(&stored.header).next().map(|it| it.channel().verdict());
                    let octets = std::fs::metadata(&path)?.len();
                    carried = Some((Mail { path, octets, body: mail.body }, hop.seen.require_tls));
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
        let folder =
            self.capture.as_ref().map(|capture| capture.join(&scenario.name).join(hop.name));
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder)?;
        }
        let server = Arc::new(self.server(hop, setup)?);
        let identity = self.pki.identity(certificate(setup.starttls), hop.server)?;
        let mut running = Vec::new();
        for starttls in [Some(setup.starttls), setup.second].into_iter().flatten() {
            let identity = match starttls == setup.starttls {
                true => Arc::clone(&identity),
                false => self.pki.identity(certificate(starttls), hop.server)?,
            };
            let fault = match starttls {
                StartTls::Broken(fault) => Some(fault),
                _ => None,
            };
            let inbound = self.inbound(hop, setup, starttls, &server, identity)?;
            running.push(Running::start(Arc::clone(&server), inbound, fault).await?);
        }
        let wire = folder.as_ref().map(|folder| folder.join("wire.bin"));
        let addresses: Vec<SocketAddr> = running.iter().map(|it| it.address).collect();
        let recorder = Recorder::start(&addresses, wire.as_deref()).await?;
        let port = recorder.port;
        let domain = recipient_domain(envelope)?;
        let network = Network { hop, setup, domain: &domain, port, identity: &identity };
        let report = self.send(&network, mail, envelope).await?;
        for running in running {
            running.stop().await?;
        }
        let clear_octets = recorder.finish().await?;
        let seen = server.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let (Some(folder), Some(stored)) = (&folder, &seen.stored) {
            std::fs::copy(stored, folder.join("received.eml"))?;
        }
        let mut observed = Observed::new(hop, report, &seen, clear_octets, mail.octets)?;
        if let StartTls::Works(_) = setup.starttls {
            observed.certificates =
                identity.cert.iter().filter_map(CertificateSummary::of).collect();
        }
        Ok(HopEnd { observed, seen })
    }

    fn server(&self, hop: &Hop, setup: &Setup) -> Result<Server, Failed> {
        Ok(Server {
            name: hop.server,
            connectors: self.connectors(hop.server, setup.server)?.inbound,
            trust: self.trust.clone(),
            refuses_starttls: setup.starttls == StartTls::Refused,
            spool: self.directory.join(hop.name.replace('>', "-to-")).with_extension("eml"),
            seen: Mutex::default(),
        })
    }

    /// The connectors of a host, whose roots and identities are loaded when it starts.
    fn connectors(&self, host: &str, text: &str) -> Result<Config, Failed> {
        let identities = [IdentityId::new("on-premise")];
        Ok(Config::from_toml(host, text, &self.trust, &identities)?)
    }

    /// What the client of a hop trusts when it sends.
    /// Breaks the trust while the sender runs: at its start it would refuse such a trust.
    fn break_trust(&self, trust: &LiveTrust, fault: TrustFault) -> Result<(), Failed> {
        match fault {
            TrustFault::None => {}
            TrustFault::NoRoots => trust.update(|trust| trust.clear_roots(&RootsId::public())),
            TrustFault::StaleList => {
                let list = self.pki.stale_list()?;
                trust.update(|trust| {
                    trust.clear_crls(&RootsId::public());
                    trust.add_crl_der(&RootsId::public(), &list)
                })?;
            }
        }
        Ok(())
    }

    fn inbound(
        &self,
        hop: &Hop,
        setup: &Setup,
        starttls: StartTls,
        server: &Server,
        identity: Arc<CertifiedKey>,
    ) -> Result<Inbound, Failed> {
        let mut config = server::ServerConfig::new(hop.server.parse()?);
        config.timeouts.handshake = 2 * HANDSHAKE;
        config.size_limit = Some(1 << 30);
        config.require_tls = setup.offers_requiretls;
        config.starttls = match starttls {
            StartTls::Absent => server::StartTls::No,
            _ => server::StartTls::Offered,
        };
        let asks = server.connectors.asks_for_certificate();
        let client_certificates = if asks {
            ClientCertificates::Request { hints: Vec::new() }
        } else {
            ClientCertificates::None
        };
        let tls = server_config(identity, client_certificates, Arc::clone(&self.provider))?;
        let mut inbound = Inbound::new(Arc::new(config));
        inbound.tls = Some(tls);
        Ok(inbound)
    }

    async fn send(
        &self,
        network: &Network<'_>,
        mail: &Mail,
        envelope: &Envelope,
    ) -> Result<Report, Failed> {
        let Network { hop, setup, port, .. } = *network;
        let mut timeouts = Timeouts::default();
        timeouts.handshake = HANDSHAKE;
        let tls = ClientTls::new(Arc::clone(&self.provider));
        if let Some((kind, name)) = setup.client_certificate {
            let identity = self.pki.identity(kind, name)?;
            tls.add_identity(IdentityId::new("on-premise"), identity);
        }
        let trust = Arc::new(LiveTrust::new(self.trust.clone()));
        let outbound =
            Outbound::new(hop.client.parse()?, Arc::clone(&self.provider), trust.clone())
                .with_smtp(|smtp| smtp.timeouts = timeouts)
                .with_tls(tls);
        let connectors = self.connectors(hop.client, &network.connectors()?)?.outbound;
        let sender = Sender::new(outbound, Arc::new(connectors), network.zone(&self.pki)?)?
            .with_route(|route| route.port = port);
        self.break_trust(&trust, setup.trust)?;
        Ok(sender.send(envelope.clone(), mail).await)
    }
}

/// The certificate that a server shows, or would.
const fn certificate(starttls: StartTls) -> Certificate {
    match starttls {
        StartTls::Works(certificate) => certificate,
        StartTls::Absent | StartTls::Refused | StartTls::Broken(_) => Certificate::Good,
    }
}

fn recipient_domain(envelope: &Envelope) -> Result<Domain, Failed> {
    let recipient = envelope.recipients[0].path.mailbox().ok_or(Failed::from_text("no domain"))?;
    Ok(Domain::parse(recipient.domain().as_str())?)
}

/// What the client of a hop finds around it.
struct Network<'a> {
    hop: &'static Hop,
    setup: &'a Setup,
    domain: &'a Domain,
    port: u16,
    /// The server's.
    identity: &'a CertifiedKey,
}

impl Network<'_> {
    /// The DNS, in which the server is the only host and is on loopback, and the web.
    fn zone(&self, pki: &Pki) -> Result<Zone, Failed> {
        let host = Domain::parse(self.hop.server)?;
        let mut zone = Zone::new(if self.setup.signed.is_some() {
            DnsStatus::Secure
        } else {
            DnsStatus::Insecure
        });
        let addresses = 1 + usize::from(self.setup.second.is_some());
        zone.add_mx(self.domain, 10, &host);
        zone.add_host(&host, (0..addresses).map(loopback).collect::<Vec<_>>());
        if let Some(policy) = self.setup.sts {
            zone.publish_sts(self.domain, "20261124", policy);
        }
        let digest = |usage, selector, octets: &[u8]| {
            let data = Sha256::digest(octets).to_vec();
            TlsaRecord { usage, selector, matching: 1, data }
        };
        let key = self.identity.key.public_key().ok_or(Failed::from_text("no key"))?;
        let tlsa = match self.setup.signed {
            None | Some(Tlsa::Absent) => return Ok(zone),
            Some(Tlsa::EndEntity) => digest(3, 1, &key),
            Some(Tlsa::TrustAnchor) => digest(2, 0, pki.private_ca()),
            Some(Tlsa::OtherKey) => digest(3, 1, b"another key"),
            Some(Tlsa::Unusable) => digest(1, 1, &key),
            Some(Tlsa::Bogus) => {
                zone.tlsa.insert(
                    format!("_{}._tcp.{host}", self.port),
                    DnsAnswer::none(DnsStatus::Bogus),
                );
                return Ok(zone);
            }
        };
        zone.add_tlsa(&host, self.port, tlsa);
        Ok(zone)
    }

    /// The client's connectors.
    fn connectors(&self) -> Result<String, Failed> {
        let leaf = self.identity.end_entity_cert()?;
        let pin = Pin::of_key(leaf).ok_or(Failed::from_text("no key"))?;
        Ok(self.setup.client.replace("@PIN@", &pin.to_string()))
    }
}

struct HopEnd {
    observed: Observed,
    seen: Seen,
}

impl Observed {
    fn new(
        hop: &'static Hop,
        report: Report,
        seen: &Seen,
        clear_octets: u64,
        octets: u64,
    ) -> Result<Self, Failed> {
        // A host that must not be dialled has no connection to show.
        let refusal = report.skipped.last().map(|(_, why)| &why.refusal);
        let (reason, sentence) = match (report.attempts.last(), refusal) {
            (Some(last), _) => (last.decision.reason, last.decision.sentence.clone()),
            (None, Some(refusal)) => (refusal.reason(), refusal.to_string()),
            (None, None) => return Err(Failed::from_text("neither a connection nor a refusal")),
        };
        let result = match report.statuses()[0] {
            RecipientStatus::Delivered => Outcome::Delivered,
            RecipientStatus::Deferred(status) => Outcome::Deferred(status),
            RecipientStatus::Bounced(status) => Outcome::Bounced(status),
        };
        let (reason, sentence) = match seen.refused {
            Some(refused) => (refused, format!("refused by the server: {}", refused.sentence())),
            None => (reason, sentence),
        };
        Ok(Self {
            hop,
            result,
            tls: seen.tls.as_ref().map(|tls| (tls.version, tls.cipher)),
            reason,
            sentence,
            review: None,
            intact: None,
            require_tls: seen.require_tls,
            clear_octets,
            octets,
            attempts: report.attempts,
            certificates: Vec::new(),
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
            require_tls: false,
            clear_octets: 0,
            octets: 0,
            attempts: Vec::new(),
            certificates: Vec::new(),
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
        let name = format!("mail-path-{}-{:?}", std::process::id(), stamp)
            .replace(|it: char| !it.is_alphanumeric(), "-");
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
