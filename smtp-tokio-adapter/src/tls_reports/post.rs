//! Reports by POST (RFC 8460, section 5.4).

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Method;
use hyper::header::CONTENT_TYPE;
use rustls::crypto::CryptoProvider;
use smtp_tls_policy::pki::LiveTrust;
use smtp_tls_policy::rules::Posture;
use smtp_tls_policy::{Host, HttpUrl, HttpUrlError};

use crate::http::{Reach, Tls, connect, exchange, request};
use crate::lookups::Lookups;

/// How long a POST may take unless set, from the look-up of the host to the answer.
pub const DEFAULT_POST_TIMEOUT: Duration = Duration::from_secs(60);

/// Sends reports to destinations of scheme `https`.
///
/// The certificate of the destination is not judged unless
/// [`with_certificates`](Self::with_certificates) says so: RFC 8460, section 7 holds that a report
/// about a misconfigured domain must not be lost because its web server is misconfigured as well,
/// and that an attacker on the way learns nothing from it. Redirections are not followed, and no
/// proxy is used.
///
/// The destination is what the owner of a domain has published, which may be anything: it is
/// connected to only if it has a global address ([`with_any_address`](Self::with_any_address)).
pub struct ReportClient {
    tls: Tls,
    time_limit: Duration,
    reach: Reach,
}

/// Why a report was not taken. It may be sent again for 24 hours (RFC 8460, section 5.5).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// The destination is no URI that can be posted to by HTTPS.
    #[error("the destination cannot be posted to: {0}")]
    Uri(#[from] HttpUrlError),
    /// The host has no address, or none that can be connected to.
    #[error("the destination cannot be connected to: {0}")]
    Connect(io::Error),
    /// The host has no address to which reports may go, but this one: see
    /// [`with_any_address`](ReportClient::with_any_address).
    #[error("the destination has the address {0}, which is not a global one, and is not posted to")]
    NotGlobal(IpAddr),
    /// There is no TLS with the host.
    #[error("no TLS with the destination: {0}")]
    Tls(String),
    /// The server does not speak HTTP/1.1, or its answer ended early.
    #[error("the answer of the destination is broken: {0}")]
    Http(#[from] hyper::Error),
    /// The status is not one of success.
    #[error("the destination answered {0}")]
    Status(u16),
    /// The POST took longer than the limit.
    #[error("the POST took longer than {} s", .0.as_secs_f32())]
    Timeout(Duration),
}

impl PostError {
    /// A short word for logs and metrics. It does not change between versions.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Uri(_) => "report-post-uri",
            Self::Connect(_) => "report-post-connection",
            Self::NotGlobal(_) => "report-post-not-global",
            Self::Tls(_) => "report-post-tls",
            Self::Http(_) => "report-post-http",
            Self::Status(_) => "report-post-status",
            Self::Timeout(_) => "report-post-timeout",
        }
    }
}

impl ReportClient {
    /// A client with the algorithms of this provider. The trust counts only
    /// [`with_certificates`](Self::with_certificates).
    pub fn new(provider: Arc<CryptoProvider>, trust: impl Into<Arc<LiveTrust>>) -> Self {
        let mut tls = Tls::new(provider, trust.into());
        tls.posture = Posture::Encrypt;
        Self { tls, time_limit: DEFAULT_POST_TIMEOUT, reach: Reach::default() }
    }

    /// Sends reports only to hosts whose certificate leads to a root of the set `public` and is for
    /// their name.
    #[must_use]
    pub fn with_certificates(mut self) -> Self {
        self.tls.posture = Posture::Verified;
        self
    }

    /// Connects to any address: for domains of your own network, whose reports go to a host in it.
    /// Unless set, a report goes to global unicast addresses alone (RFC 6890), so that the owner of
    /// a domain cannot make this machine speak to its own services and those of its network.
    #[must_use]
    pub fn with_any_address(mut self) -> Self {
        self.reach = Reach::Any;
        self
    }

    /// Gives up a POST after this time.
    #[must_use]
    pub fn with_time_limit(mut self, time_limit: Duration) -> Self {
        self.time_limit = time_limit;
        self
    }

    /// Sends a report that is compressed with gzip (`DailyReport::gzip`) to a destination of the
    /// record ([`Rua::Https`](smtp_tls_policy::tlsrpt::Rua::Https)). The addresses of its host come
    /// from this resolver.
    ///
    /// # Errors
    ///
    /// [`PostError`]: the report was not taken.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the destination may have the report. Sent again under the same id,
    /// it counts once (RFC 8460, section 5.3).
    pub async fn post(
        &self,
        uri: &str,
        report: impl Into<Bytes>,
        dns: &impl Lookups,
    ) -> Result<(), PostError> {
        let posted = tokio::time::timeout(self.time_limit, self.send(uri, report.into(), dns));
        posted.await.unwrap_or(Err(PostError::Timeout(self.time_limit)))
    }

    async fn send(&self, uri: &str, report: Bytes, dns: &impl Lookups) -> Result<(), PostError> {
        let url = HttpUrl::parse(uri)?;
        if !url.is_https() {
            return Err(PostError::Uri(HttpUrlError::Scheme));
        }
        let host = url.host();
        let (ipv6, ipv4) = match host {
            Host::Address(IpAddr::V6(address)) => (vec![*address], Vec::new()),
            Host::Address(IpAddr::V4(address)) => (Vec::new(), vec![*address]),
            Host::Name(name) => {
                let (ipv6, ipv4) = tokio::join!(dns.ipv6(name), dns.ipv4(name));
                (ipv6.records, ipv4.records)
            }
        };
        let (ipv6, ipv4) = self.reach.filter(ipv6, ipv4).map_err(PostError::NotGlobal)?;
        let stream = connect(ipv6, ipv4, url.port()).await.map_err(PostError::Connect)?;
        let stream = self.tls.handshake(host, stream).await;
        let stream = stream.map_err(|error| PostError::Tls(error.to_string()))?;
        let request = request(Method::POST, &url)
            .header(CONTENT_TYPE, "application/tlsrpt+gzip")
            .body(Full::new(report))
            // What a URL has, a request can have.
            .map_err(|_| PostError::Uri(HttpUrlError::Character))?;
        // What the destination says of itself is of no use.
        match exchange(stream, request, 0).await?.status {
            status if status.is_success() => Ok(()),
            status => Err(PostError::Status(status.as_u16())),
        }
    }
}
