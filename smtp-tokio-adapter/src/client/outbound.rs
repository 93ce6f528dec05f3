//! What connections have in common.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use smtp_proto::client::ClientConfig;
use smtp_proto::wire::path::DomainBuf;
use smtp_tls_policy::pki::TrustStore;
use smtp_tls_policy::tls::ClientTls;

use crate::lists::ListWatch;
#[cfg(feature = "crl-fetch")]
use crate::revocation::CrlFetcher;

/// What all connections of a sender have in common: name, time limits, TLS and trust. Cheap to
/// clone.
#[derive(Clone)]
pub struct Outbound {
    pub(crate) smtp: Arc<ClientConfig>,
    pub(crate) tls: Arc<ClientTls>,
    pub(crate) trust: Arc<dyn TrustStore>,
    pub(crate) connect_timeout: Duration,
    pub(crate) lists: Arc<ListWatch>,
    #[cfg(feature = "crl-fetch")]
    pub(crate) fetcher: Option<CrlFetcher>,
}

impl Outbound {
    /// `name` is the name in EHLO: a domain that resolves to this host. Certificates are judged by
    /// `trust`, with the algorithms of `provider`. 30 seconds to connect.
    pub fn new(name: DomainBuf, provider: Arc<CryptoProvider>, trust: Arc<dyn TrustStore>) -> Self {
        Self {
            smtp: Arc::new(ClientConfig::new(name)),
            tls: Arc::new(ClientTls::new(provider)),
            trust,
            connect_timeout: Duration::from_secs(30),
            lists: Arc::default(),
            #[cfg(feature = "crl-fetch")]
            fetcher: None,
        }
    }

    /// Changes how SMTP is spoken: time limits, LMTP, pipelining, and others.
    #[must_use]
    pub fn with_smtp(mut self, change: impl FnOnce(&mut ClientConfig)) -> Self {
        change(Arc::make_mut(&mut self.smtp));
        self
    }

    /// Uses this source of TLS configurations, for example one with client certificates. A caller
    /// that keeps a clone of the `Arc` can replace the certificates later
    /// ([`ClientTls::add_identity`]).
    #[must_use]
    pub fn with_tls(self, tls: impl Into<Arc<ClientTls>>) -> Self {
        Self { tls: tls.into(), ..self }
    }

    /// Lets deliveries wait for revocation lists that are missing, as their connectors say
    /// ([`list_wait`](smtp_tls_policy::rules::OutboundConnector::list_wait)), while this fetcher
    /// fetches them. Its trust must be the one that judges here.
    #[cfg(feature = "crl-fetch")]
    #[must_use]
    pub fn with_crl_fetcher(self, fetcher: CrlFetcher) -> Self {
        Self { fetcher: Some(fetcher), ..self }
    }

    /// Waits this long for a TCP connection. RFC 5321 names no limit; systems wait two minutes and
    /// more.
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }
}
