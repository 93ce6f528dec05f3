//! One connection that takes TLS with any certificate, and shows what the server does.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pki_types::CertificateDer;
use rustls::ProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use serde::Serialize;
use smtp_proto::fallback::TlsFailure;
use smtp_proto::wire::path::DomainBuf;
use smtp_tls_policy::pki::TrustStore;
use smtp_tls_policy::plan::{Facts, HostOrigin, Plan, Refusal, plan};
use smtp_tls_policy::rules::{DaneRule, IdentityId, OutboundConnector, Posture, StsRule};
use smtp_tls_policy::tls::ClientTls;
use smtp_tls_policy::{Host, Reason};
use smtp_tokio_adapter::{Failure, Outbound, Target};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Most octets of clear text that are kept of one connection.
const MAX_LOG: usize = 64 * 1024;

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
    /// The time-stamped conversation.
    pub(crate) trace: Vec<String>,
}

/// How far the connection came.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// TLS is up, and the server answered EHLO in it.
    Tls,
    /// There is no TLS.
    NoTls(TlsFailure, Reason),
    /// The server could not be reached, or the conversation ended before TLS was decided.
    Ended(String),
}

/// A command, or nothing before the greeting, and the reply.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Exchange {
    pub(crate) command: String,
    pub(crate) reply: Vec<String>,
}

/// Opens connections.
pub(crate) struct Prober {
    pub(crate) name: DomainBuf,
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) trust: Arc<dyn TrustStore>,
    pub(crate) identities: Vec<(IdentityId, Arc<CertifiedKey>)>,
    /// The time that each step may take.
    pub(crate) step: Duration,
}

impl Prober {
    pub(super) fn outbound(&self, provider: CryptoProvider) -> Outbound {
        let provider = Arc::new(provider);
        let tls = ClientTls::new(Arc::clone(&provider));
        for (id, identity) in &self.identities {
            tls.add_identity(id.clone(), Arc::clone(identity));
        }
        let outbound = Outbound::new(self.name.clone(), provider, Arc::clone(&self.trust));
        outbound.with_tls(tls).with_connect_timeout(self.step).with_smtp(|smtp| {
            let limits = &mut smtp.timeouts;
            for limit in [
                &mut limits.greeting,
                &mut limits.hello,
                &mut limits.handshake,
                &mut limits.command,
                &mut limits.progress,
                &mut limits.quit,
            ] {
                *limit = (*limit).min(self.step);
            }
        })
    }

    /// Connects to one address and gets TLS with any certificate. The server is asked for nothing
    /// but EHLO, STARTTLS and QUIT.
    pub(crate) async fn observe(
        &self,
        connector: &OutboundConnector,
        host: &Host,
        address: SocketAddr,
    ) -> Observed {
        self.observe_with(self.provider.as_ref().clone(), connector, host, address).await
    }

    /// Whether the server takes TLS 1.2 too, and with which cipher suite.
    pub(crate) async fn takes_tls12(
        &self,
        connector: &OutboundConnector,
        host: &Host,
        address: SocketAddr,
    ) -> Option<&'static str> {
        let mut provider = self.provider.as_ref().clone();
        provider.cipher_suites.retain(|suite| suite.version().version == ProtocolVersion::TLSv1_2);
        let observed = self.observe_with(provider, connector, host, address).await;
        observed.tls.map(|(_, cipher, _)| cipher)
    }

    async fn observe_with(
        &self,
        provider: CryptoProvider,
        connector: &OutboundConnector,
        host: &Host,
        address: SocketAddr,
    ) -> Observed {
        let log = Arc::new(Mutex::new(Log::new()));
        let mut observed = Observed {
            address,
            exchanges: Vec::new(),
            tls: None,
            inside: Vec::new(),
            chain: Vec::new(),
            outcome: Outcome::Ended(String::new()),
            trace: Vec::new(),
        };
        let unchecked = match unchecked(connector, host) {
            Ok(unchecked) => unchecked,
            Err(refusal) => {
                observed.outcome = Outcome::Ended(refusal.to_string());
                return observed;
            }
        };
        let mut target = Target::new(host, &unchecked);
        target.identity = connector.identity.clone();
        let connecting = tokio::time::timeout(self.step, TcpStream::connect(address)).await;
        let stream = match connecting {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                observed.outcome = Outcome::Ended(format!("{address}: no connection: {error}"));
                return observed;
            }
            Err(_) => {
                let limit = self.step.as_secs_f64();
                let why = format!("{address}: no connection within {limit} s");
                observed.outcome = Outcome::Ended(why);
                return observed;
            }
        };
        log.lock().unwrap_or_else(PoisonError::into_inner).note(format!("connected to {address}"));
        let tap = Tap { inner: stream, log: Arc::clone(&log) };
        let opened = self.outbound(provider).open(&target, tap).await;
        observed.outcome = match opened {
            Ok(connection) => {
                let decision = connection.decision();
                let outcome = match (&decision.tls, decision.reason) {
                    (Some(tls), _) => {
                        observed.tls = Some((tls.version, tls.cipher, tls.group));
                        Outcome::Tls
                    }
                    (None, Reason::StarttlsNotOffered) => {
                        Outcome::NoTls(TlsFailure::NotOffered, decision.reason)
                    }
                    (None, reason) => {
                        let log = log.lock().unwrap_or_else(PoisonError::into_inner);
                        let transient = log.exchanges().last().is_some_and(|last| {
                            last.reply.last().is_some_and(|line| line.starts_with('4'))
                        });
                        Outcome::NoTls(TlsFailure::Refused { transient }, reason)
                    }
                };
                observed.inside = match observed.tls {
                    Some(_) => connection
                        .capabilities()
                        .iter()
                        .map(|(word, rest)| format!("{word} {rest}").trim().to_owned())
                        .collect(),
                    None => Vec::new(),
                };
                observed.chain = connection.peer_certificates().to_vec();
                connection.quit().await;
                outcome
            }
            Err(error) => match error.failure {
                Failure::NoTls { failure, .. } => Outcome::NoTls(failure, error.decision.reason),
                failure => Outcome::Ended(format!("{address}: {failure}")),
            },
        };
        let log = log.lock().unwrap_or_else(PoisonError::into_inner);
        observed.exchanges = log.exchanges();
        observed.trace = log.lines();
        if let Some((version, cipher, group)) = observed.tls {
            observed.trace.push(format!(
                "         --  {version}, {cipher}, {}",
                group.unwrap_or("key exchange group not known")
            ));
            let inside = observed.inside.iter().map(|line| format!("         S:  (TLS) {line}"));
            observed.trace.extend(inside);
        }
        observed
    }
}

/// A plan under which the server's certificate is not looked at.
fn unchecked(connector: &OutboundConnector, host: &Host) -> Result<Plan, Refusal> {
    let mut open =
        OutboundConnector::new("probe", connector.namespaces.clone(), Posture::Opportunistic);
    (open.dane, open.sts) = (DaneRule::Off, StsRule::Off);
    let implicit = connector.smart_host.as_ref().is_some_and(|it| it.implicit_tls);
    open.smart_host = connector.smart_host.clone();
    let origin = if open.smart_host.is_some() { HostOrigin::SmartHost } else { HostOrigin::Mx };
    let mut facts = Facts::new(&open, host, host, origin);
    facts.implicit_tls = implicit;
    plan(&facts)
}

/// What was said, in octets, with the time.
struct Log {
    begun: Instant,
    entries: Vec<(Duration, Said)>,
    size: usize,
    is_tls: bool,
}

enum Said {
    Client(Vec<u8>),
    Server(Vec<u8>),
    Note(String),
}

impl Log {
    fn new() -> Self {
        Self { begun: Instant::now(), entries: Vec::new(), size: 0, is_tls: false }
    }

    fn note(&mut self, text: String) {
        self.entries.push((self.begun.elapsed(), Said::Note(text)));
    }

    fn said(&mut self, is_client: bool, octets: &[u8]) {
        // RFC 8446, section 5.1: a handshake record begins with the octet 22 and the version 3.
        if is_client && !self.is_tls && octets.starts_with(&[22, 3]) {
            self.is_tls = true;
            self.note("TLS handshake".to_owned());
        }
        if self.is_tls || self.size > MAX_LOG || octets.is_empty() {
            return;
        }
        self.size += octets.len();
        let octets = octets.to_vec();
        let said = if is_client { Said::Client(octets) } else { Said::Server(octets) };
        self.entries.push((self.begun.elapsed(), said));
    }

    /// Each command in clear text with its reply.
    fn exchanges(&self) -> Vec<Exchange> {
        let mut exchanges = vec![Exchange::default()];
        for (_, said) in &self.entries {
            match said {
                Said::Client(octets) => exchanges
                    .extend(lines(octets).map(|command| Exchange { command, reply: Vec::new() })),
                Said::Server(octets) => {
                    if let Some(last) = exchanges.last_mut() {
                        last.reply.extend(lines(octets));
                    }
                }
                Said::Note(_) => {}
            }
        }
        exchanges
    }

    fn lines(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (at, said) in &self.entries {
            let at = at.as_secs_f64();
            match said {
                Said::Client(octets) => {
                    all.extend(lines(octets).map(|line| format!("{at:8.3} C:  {line}")));
                }
                Said::Server(octets) => {
                    all.extend(lines(octets).map(|line| format!("{at:8.3} S:  {line}")));
                }
                Said::Note(text) => all.push(format!("{at:8.3} --  {text}")),
            }
        }
        all
    }
}

fn lines(octets: &[u8]) -> impl Iterator<Item = String> {
    let text = String::from_utf8_lossy(octets).into_owned();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.into_iter()
}

/// A socket that notes what passes.
struct Tap {
    inner: TcpStream,
    log: Arc<Mutex<Log>>,
}

impl Tap {
    fn said(&self, is_client: bool, octets: &[u8]) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).said(is_client, octets);
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = read {
            self.said(false, &buffer.filled()[before..]);
        }
        read
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, octets);
        if let Poll::Ready(Ok(size)) = written {
            self.said(true, &octets[..size]);
        }
        written
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
