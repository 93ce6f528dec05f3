//! Connections that take TLS with any certificate, and show what the server does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pki_types::CertificateDer;
use rustls::ProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use smtp_proto::fallback::TlsFailure;
use smtp_proto::route::Manner;
use smtp_proto::wire::path::Domain;
use smtp_tls_policy::pki::LiveTrust;
use smtp_tls_policy::plan::{Facts, HostOrigin, Plan, Refusal, plan};
use smtp_tls_policy::rules::{DaneRule, IdentityId, OutboundConnector, Posture, StsRule};
use smtp_tls_policy::tls::ClientTls;
use smtp_tls_policy::{Host, Reason};
use smtp_tokio_adapter::{Connection, Failure, OpenError, Outbound, Target};
use tokio::net::TcpStream;

use crate::conversation::{Exchange, Recorder};

/// What one connection showed.
pub(crate) struct Observed {
    pub(crate) address: SocketAddr,
    /// What was said in clear text.
    pub(crate) exchanges: Vec<Exchange>,
    /// The version, the cipher suite and the key exchange group.
    pub(crate) tls: Option<(&'static str, &'static str, Option<&'static str>)>,
    /// What the server announces inside TLS.
    pub(crate) inside: Vec<String>,
    /// The certificates, the server's own first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) outcome: Outcome,
    /// Whether there was TLS with the plainest hello, if a handshake had failed before.
    pub(crate) plain_hello: Option<bool>,
}

/// How far the connection came.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// TLS is up, and the server answered EHLO in it.
    Tls,
    /// There is no TLS.
    NoTls(TlsFailure, Reason),
    /// The server speaks SMTP and refused this client, before TLS was decided.
    Refused(String),
    /// The server could not be reached, or the conversation ended before TLS was decided.
    Ended(String),
    /// The connector's source address, interface or proxy cannot be used.
    OwnFault(Reason),
}

/// What the client offers in its hello.
#[derive(Clone, Copy)]
enum Offer<'a> {
    /// All that it has.
    All,
    /// The plainest hello, as after a failed handshake.
    Plainest,
    /// One version.
    Version(ProtocolVersion),
    /// One key exchange group.
    Group(&'a str),
}

/// Opens connections.
pub(crate) struct Prober {
    pub(crate) name: Domain<'static>,
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) trust: Arc<LiveTrust>,
    pub(crate) identities: Vec<(IdentityId, Arc<CertifiedKey>)>,
    pub(crate) recorder: Recorder,
    /// When the run began, and how long it may take.
    pub(crate) begun: Instant,
    pub(crate) limit: Duration,
}

/// One host, as a connector sees it.
#[derive(Clone, Copy)]
pub(crate) struct Peer<'a> {
    pub(crate) connector: &'a OutboundConnector,
    pub(crate) host: &'a Host,
    pub(crate) address: SocketAddr,
    /// Whether the plan requires TLS. If so, the plainest hello has the client certificate too, as
    /// in a delivery.
    pub(crate) requires_tls: bool,
}

impl Prober {
    /// The time that the next step may take: half of what is left, so that its failure can be told.
    pub(crate) fn step(&self) -> Duration {
        self.limit.saturating_sub(self.begun.elapsed()) / 2
    }

    /// Whether so little time is left that what was found must be told now.
    pub(super) fn is_late(&self) -> bool {
        self.begun.elapsed() >= self.limit / 4 * 3
    }

    pub(super) fn outbound(&self, provider: CryptoProvider) -> Outbound {
        let provider = Arc::new(provider);
        let tls = ClientTls::new(Arc::clone(&provider));
        for (id, identity) in &self.identities {
            tls.add_identity(id.clone(), Arc::clone(identity));
        }
        let step = self.step();
        let outbound = Outbound::new(self.name.clone(), provider, Arc::clone(&self.trust));
        outbound.with_tls(tls).with_connect_timeout(step).with_smtp(|smtp| {
            let limits = &mut smtp.timeouts;
            for limit in [
                &mut limits.greeting,
                &mut limits.hello,
                &mut limits.handshake,
                &mut limits.command,
                &mut limits.progress,
                &mut limits.quit,
            ] {
                *limit = (*limit).min(step);
            }
        })
    }

    /// Connects to one address and gets TLS with any certificate. The server is asked for nothing
    /// but EHLO, STARTTLS and QUIT. After a failed handshake there is a second connection with the
    /// plainest hello, as in a delivery.
    pub(crate) async fn observe(&self, peer: Peer<'_>) -> Observed {
        let mut first = self.connect(peer, Offer::All).await;
        if !matches!(first.outcome, Outcome::NoTls(TlsFailure::Handshake, _)) {
            return first;
        }
        let mut second = self.connect(peer, Offer::Plainest).await;
        match second.outcome {
            Outcome::Tls => {
                second.plain_hello = Some(true);
                second
            }
            Outcome::NoTls(..) | Outcome::Refused(_) | Outcome::Ended(_) | Outcome::OwnFault(_) => {
                first.plain_hello = Some(false);
                first
            }
        }
    }

    /// Whether the server takes TLS of this version, and with which cipher suite; `None` if it
    /// cannot be told.
    pub(crate) async fn takes_version(
        &self,
        peer: Peer<'_>,
        version: ProtocolVersion,
    ) -> Option<Option<&'static str>> {
        self.takes(peer, Offer::Version(version)).await
    }

    /// Whether the server takes this key exchange group; `None` if it cannot be told.
    pub(crate) async fn takes_group(&self, peer: Peer<'_>, group: &str) -> Option<bool> {
        self.takes(peer, Offer::Group(group)).await.map(|cipher| cipher.is_some())
    }

    async fn takes(&self, peer: Peer<'_>, offer: Offer<'_>) -> Option<Option<&'static str>> {
        // The other half of the time is for what counts more: the other hosts, and the answer.
        if self.begun.elapsed() > self.limit / 2 {
            return None;
        }
        let observed = self.connect(peer, offer).await;
        match (observed.tls, observed.outcome) {
            (Some((_, cipher, _)), _) => Some(Some(cipher)),
            (None, Outcome::NoTls(TlsFailure::Handshake, reason))
                if reason != Reason::HandshakeTimeout =>
            {
                Some(None)
            }
            (None, _) => None,
        }
    }

    async fn connect(&self, peer: Peer<'_>, offer: Offer<'_>) -> Observed {
        let Peer { host, address, .. } = peer;
        let mut observed = Observed {
            address,
            exchanges: Vec::new(),
            tls: None,
            inside: Vec::new(),
            chain: Vec::new(),
            outcome: Outcome::Ended(String::new()),
            plain_hello: None,
        };
        let mut provider = self.provider.as_ref().clone();
        let offered = match offer {
            Offer::All => "all that the client has is offered".to_owned(),
            Offer::Plainest => "the plainest hello, after a failed handshake".to_owned(),
            Offer::Version(version) => {
                provider.cipher_suites.retain(|suite| suite.version().version == version);
                format!("{} alone is offered", version_name(version))
            }
            Offer::Group(group) => {
                provider.kx_groups.retain(|it| format!("{:?}", it.name()) == group);
                format!("the group {group} alone is offered")
            }
        };
        let place = self.recorder.begin(format!("{host}, {address}; {offered}"));
        let opened = self.open(peer, provider, offer, &mut observed).await;
        observed.exchanges = self.recorder.exchanges(place);
        match opened {
            None => {}
            Some(Ok(connection)) => {
                let decision = connection.decision();
                observed.outcome = match (&decision.tls, decision.reason) {
                    (Some(tls), _) => {
                        observed.tls = Some((tls.version, tls.cipher, tls.group));
                        Outcome::Tls
                    }
                    (None, Reason::StarttlsNotOffered) => {
                        Outcome::NoTls(TlsFailure::NotOffered, decision.reason)
                    }
                    (None, reason) => {
                        let transient = observed.exchanges.last().is_some_and(|last| {
                            last.reply.last().is_some_and(|line| line.starts_with('4'))
                        });
                        Outcome::NoTls(TlsFailure::Refused { transient }, reason)
                    }
                };
                if observed.tls.is_some() {
                    observed.inside = connection
                        .capabilities()
                        .iter()
                        .map(|(word, rest)| format!("{word} {rest}").trim().to_owned())
                        .collect();
                }
                observed.chain = connection.peer_certificates().to_vec();
                connection.quit().await;
            }
            Some(Err(error)) => {
                observed.outcome = match error.failure {
                    // No other address is dialled either.
                    Failure::LocalFault { reason, .. } => Outcome::OwnFault(reason),
                    Failure::NoTls { failure, .. } => {
                        Outcome::NoTls(failure, error.decision.reason)
                    }
                    // RFC 5321, section 4.3.2: no greeting has a code 3yz.
                    Failure::Unwelcome { phase, reply, .. } if reply.code() >= 400 => {
                        Outcome::Refused(format!(
                            "{address}: the server refuses this client ({phase}): {reply}"
                        ))
                    }
                    failure => Outcome::Ended(format!("{address}: {failure}")),
                }
            }
        }
        match &observed.outcome {
            Outcome::Tls => {}
            Outcome::NoTls(_, reason) => self.recorder.note(format!("no TLS: {}", reason.code())),
            Outcome::OwnFault(reason) => self.recorder.note(reason.sentence().to_owned()),
            Outcome::Refused(why) | Outcome::Ended(why) => self.recorder.note(why.clone()),
        }
        observed
    }

    /// `None` if there is no connection; then the outcome says why.
    async fn open(
        &self,
        peer: Peer<'_>,
        provider: CryptoProvider,
        offer: Offer<'_>,
        observed: &mut Observed,
    ) -> Option<Result<Connection<TcpStream>, Box<OpenError>>> {
        let Peer { connector, host, address, requires_tls } = peer;
        let unchecked = match unchecked(connector, host, requires_tls) {
            Ok(unchecked) => unchecked,
            Err(refusal) => {
                observed.outcome = Outcome::Ended(refusal.to_string());
                return None;
            }
        };
        let mut target = Target::new(host, &unchecked);
        target.identity = connector.identity.clone();
        target.dial = connector.dial.clone();
        if matches!(offer, Offer::Plainest) {
            target.manner = Manner::PlainHello;
        }
        Some(self.outbound(provider).connect(&target, address).await)
    }
}

/// The name of a version, as sessions have it.
pub(crate) fn version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        _ => "TLSv1.3",
    }
}

/// A plan under which the server's certificate is not looked at.
fn unchecked(
    connector: &OutboundConnector,
    host: &Host,
    requires_tls: bool,
) -> Result<Plan, Refusal> {
    let posture = if requires_tls { Posture::Encrypt } else { Posture::Opportunistic };
    let mut open = OutboundConnector::new("probe", connector.namespaces.clone(), posture);
    (open.dane, open.sts) = (DaneRule::Off, StsRule::Off);
    let implicit = connector.smart_host.as_ref().is_some_and(|it| it.implicit_tls);
    open.smart_host = connector.smart_host.clone();
    let origin = if open.smart_host.is_some() { HostOrigin::SmartHost } else { HostOrigin::Mx };
    let mut facts = Facts::new(&open, host, host, origin);
    facts.implicit_tls = implicit;
    plan(&facts)
}
