//! The settings that all outgoing connections share.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use smtp_proto::client::ClientConfig;
use smtp_proto::wire::path::Domain;
use smtp_tls_policy::pki::LiveTrust;
use smtp_tls_policy::tls::ClientTls;

use crate::crl_warnings::ListWatch;
#[cfg(feature = "crl-fetch")]
use crate::revocation::CrlFetcher;

/// RFC 8305, section 8: the recommended Connection Attempt Delay.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// RFC 8305, section 8: the delay must not be less.
const MIN_ATTEMPT_DELAY: Duration = Duration::from_millis(10);

/// What all connections of a sender have in common: name, time limits, TLS and trust. Cheap to
/// clone.
#[derive(Clone)]
pub struct Outbound {
    pub(crate) smtp: Arc<ClientConfig>,
    pub(crate) tls: Arc<ClientTls>,
    pub(crate) trust: Arc<LiveTrust>,
    pub(crate) connect_timeout: Duration,
    pub(crate) attempt_delay: Duration,
    pub(crate) lists: Arc<ListWatch>,
    #[cfg(feature = "crl-fetch")]
    pub(crate) fetcher: Option<CrlFetcher>,
}

impl Outbound {
    /// `name` is the name in EHLO: a domain that resolves to this host. Certificates are judged by
    /// `trust`, with the algorithms of `provider`. 30 seconds to connect to an address.
    ///
    /// A `Trust` that is given by value is this one's alone. Roots and lists that change while the
    /// program runs, and reach all that judges by them, are an `Arc<LiveTrust>`, given to each.
    pub fn new(
        name: Domain<'static>,
        provider: Arc<CryptoProvider>,
        trust: impl Into<Arc<LiveTrust>>,
    ) -> Self {
        Self {
            smtp: Arc::new(ClientConfig::new(name)),
            tls: Arc::new(ClientTls::new(provider)),
            trust: trust.into(),
            connect_timeout: Duration::from_secs(30),
            attempt_delay: ATTEMPT_DELAY,
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

    /// Waits this long for an address of a host before the next one is dialled beside it; the first
    /// connection is used, and the others are closed. 250 milliseconds by default, and never less
    /// than 10 (RFC 8305, section 8).
    #[must_use]
    pub fn with_attempt_delay(self, attempt_delay: Duration) -> Self {
        Self { attempt_delay: attempt_delay.max(MIN_ATTEMPT_DELAY), ..self }
    }
}
