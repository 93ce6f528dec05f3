//! TLS with an HTTPS server, judged as the host of a mandatory connector is.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use smtp_tls_policy::Host;
use smtp_tls_policy::judge::Standing;
use smtp_tls_policy::pki::{CnFallback, LiveTrust, Revocation};
use smtp_tls_policy::plan::{Facts, HostOrigin, Plan, Refusal, plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::tls::{
    ClientTls, TlsConfigError, is_local_fault_io, server_name, verdict_of_io,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The TLS of an HTTPS client: a chain to a public root, with the host as a DNS name of the
/// certificate (RFC 9525; the Common Name never counts).
pub(crate) struct Tls {
    configs: ClientTls,
    trust: Arc<LiveTrust>,
    pub(crate) revocation: Revocation,
    /// `Verified`, or `Encrypt` for any certificate.
    pub(crate) posture: Posture,
}

/// Why there is no TLS with an HTTPS server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpsError {
    /// The certificate was judged, and refused.
    #[error("its certificate is refused: {0}")]
    Certificate(String),
    /// The handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
    /// A fault on this side: about the certificate nothing is known.
    #[error("TLS cannot be used on this side: {0}")]
    Local(String),
}

impl HttpsError {
    fn local(fault: impl fmt::Display) -> Self {
        Self::Local(fault.to_string())
    }
}

impl From<Refusal> for HttpsError {
    fn from(refusal: Refusal) -> Self {
        Self::local(refusal)
    }
}

impl From<TlsConfigError> for HttpsError {
    fn from(error: TlsConfigError) -> Self {
        Self::local(error)
    }
}

impl Tls {
    pub(crate) fn new(provider: Arc<CryptoProvider>, trust: Arc<LiveTrust>) -> Self {
        // Each policy host is asked once a day, so that nothing is gained by keeping more.
        let configs = ClientTls::new(provider).with_max_configs(1);
        Self { configs, trust, revocation: Revocation::default(), posture: Posture::Verified }
    }

    /// The handshake with this host. The caller sets the time limit.
    pub(crate) async fn handshake(
        &self,
        host: &Host,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, HttpsError> {
        let plan = self.plan(host)?;
        let mut config = (*self.configs.config(&plan, None, &self.trust)?).clone();
        // Each session is judged in its handshake.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = server_name(&plan, host)?;
        let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        connected.map_err(|error| match verdict_of_io(&error) {
            Some(verdict) => match verdict.standing() {
                Standing::LocalFault => HttpsError::local(verdict),
                Standing::Acceptable | Standing::NotTls | Standing::Refused => {
                    HttpsError::Certificate(verdict.to_string())
                }
            },
            None if is_local_fault_io(&error) => HttpsError::local(error),
            None => HttpsError::Handshake(error),
        })
    }

    fn plan(&self, host: &Host) -> Result<Plan, Refusal> {
        let mut connector = OutboundConnector::new("https", Vec::new(), self.posture);
        connector.cn = CnFallback::Never;
        connector.revocation = self.revocation;
        plan(&Facts::new(&connector, host, host, HostOrigin::SmartHost))
    }
}
