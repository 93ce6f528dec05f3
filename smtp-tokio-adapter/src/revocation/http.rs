//! A GET by HTTP/1.1 without TLS, as revocation lists are fetched.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, StatusCode};
use smtp_tls_policy::pki::ReplaceError;
use smtp_tls_policy::{Domain, Host, HttpUrl, HttpUrlError};

use crate::http::{Reach, connect, exchange, request};
use crate::lookups::{Lookups, SystemResolver};

/// Why a fetched list is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CrlFetchError {
    /// The URL cannot be asked by HTTP without TLS.
    #[error("the URL cannot be fetched: {0}")]
    Url(#[from] HttpUrlError),
    /// The host has no address from which lists may be fetched, but this one: see
    /// [`with_any_address`](super::CrlFetcher::with_any_address).
    #[error("the host has the address {0}, which is not a global one, and is not connected to")]
    NotGlobal(IpAddr),
    /// The host could not be reached, or the connection broke.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// The server does not speak HTTP/1.1, or its answer ended early.
    #[error("the server's answer is broken: {0}")]
    Http(#[from] hyper::Error),
    /// The status is not 200. Redirections are not followed.
    #[error("the server answered {0}")]
    Status(u16),
    /// The list is longer than the limit, in octets.
    #[error("the list is longer than {0} octets")]
    TooLong(usize),
    /// The lists that were fetched would take more memory than the limit: see
    /// [`with_max_memory`](super::CrlFetcher::with_max_memory).
    #[error("with this list the fetched ones take {needed} octets of memory, and may take {limit}")]
    NoRoom {
        /// Octets that all fetched lists would take.
        needed: usize,
        /// The limit, in octets.
        limit: usize,
    },
    /// The whole fetch took longer than the limit.
    #[error("the fetch took longer than {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// The list was fetched, and cannot be used.
    #[error(transparent)]
    List(#[from] ReplaceError),
    /// The task that reads the list broke, which is a defect of this library.
    #[error("the task that reads the list broke")]
    Broken(#[from] tokio::task::JoinError),
}

impl CrlFetchError {
    /// A short word for logs and metrics. It does not change between versions.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Url(_) => "crl-fetch-url",
            Self::NotGlobal(_) => "crl-fetch-not-global",
            Self::Io(_) => "crl-fetch-connection",
            Self::Http(_) => "crl-fetch-http",
            Self::Status(_) => "crl-fetch-status",
            Self::TooLong(_) => "crl-fetch-too-long",
            Self::NoRoom { .. } => "crl-fetch-no-room",
            Self::Timeout(_) => "crl-fetch-timeout",
            Self::List(ReplaceError::Older { .. }) => "crl-fetch-older",
            Self::List(ReplaceError::Expired { .. }) => "crl-fetch-expired",
            Self::List(ReplaceError::Signature) => "crl-fetch-signature",
            Self::List(_) => "crl-fetch-unusable",
            Self::Broken(_) => "crl-fetch-broken",
        }
    }
}

/// The look-ups of the addresses of hosts, without their type.
#[derive(Clone)]
pub(super) struct Finder(Arc<dyn Find>);

type Finding<'a> = Pin<Box<dyn Future<Output = (Vec<Ipv6Addr>, Vec<Ipv4Addr>)> + Send + 'a>>;

trait Find: Send + Sync {
    fn find<'a>(&'a self, host: &'a Domain) -> Finding<'a>;
}

impl<L: Lookups> Find for L {
    fn find<'a>(&'a self, host: &'a Domain) -> Finding<'a> {
        Box::pin(async move {
            let (ipv6, ipv4) = tokio::join!(self.ipv6(host), self.ipv4(host));
            (ipv6.records, ipv4.records)
        })
    }
}

impl Finder {
    pub(super) fn new(lookups: impl Lookups + 'static) -> Self {
        Self(Arc::new(lookups))
    }
}

impl Default for Finder {
    fn default() -> Self {
        Self::new(SystemResolver)
    }
}

impl fmt::Debug for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finder").finish_non_exhaustive()
    }
}

/// Fetches what a URL names, within one deadline from the look-up of the host to the last octet.
pub(super) async fn get(
    url: &str,
    max_len: usize,
    timeout: Duration,
    reach: Reach,
    finder: &Finder,
) -> Result<Vec<u8>, CrlFetchError> {
    let body = tokio::time::timeout(timeout, body(url, max_len, reach, finder)).await;
    body.unwrap_or(Err(CrlFetchError::Timeout(timeout)))
}

async fn body(
    url: &str,
    max_len: usize,
    reach: Reach,
    finder: &Finder,
) -> Result<Vec<u8>, CrlFetchError> {
    let url = HttpUrl::parse(url)?;
    if url.is_https() {
        return Err(CrlFetchError::Url(HttpUrlError::Scheme));
    }
    let (ipv6, ipv4) = match url.host() {
        Host::Address(IpAddr::V6(address)) => (vec![*address], Vec::new()),
        Host::Address(IpAddr::V4(address)) => (Vec::new(), vec![*address]),
        Host::Name(name) => finder.0.find(name).await,
    };
    let (ipv6, ipv4) = reach.filter(ipv6, ipv4).map_err(CrlFetchError::NotGlobal)?;
    let stream = connect(ipv6, ipv4, url.port()).await?;
    let request = request(Method::GET, &url).body(Full::<Bytes>::default());
    // What a URL has, a request can have.
    let request = request.map_err(|_| CrlFetchError::Url(HttpUrlError::Character))?;
    let answer = exchange(stream, request, max_len).await?;
    match answer.status {
        StatusCode::OK if answer.body.len() > max_len => Err(CrlFetchError::TooLong(max_len)),
        StatusCode::OK => Ok(answer.body),
        status => Err(CrlFetchError::Status(status.as_u16())),
    }
}
