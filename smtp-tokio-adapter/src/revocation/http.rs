//! A GET by HTTP/1.1 without TLS, as revocation lists are fetched.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, StatusCode};
use smtp_tls_policy::pki::ReplaceError;
use smtp_tls_policy::{Host, HttpUrl, HttpUrlError};

use crate::http::{Reach, connect, exchange, request};

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
            Self::Timeout(_) => "crl-fetch-timeout",
            Self::List(ReplaceError::Older { .. }) => "crl-fetch-older",
            Self::List(ReplaceError::Expired { .. }) => "crl-fetch-expired",
            Self::List(ReplaceError::Signature) => "crl-fetch-signature",
            Self::List(_) => "crl-fetch-unusable",
            Self::Broken(_) => "crl-fetch-broken",
        }
    }
}

/// Fetches what a URL names, within one deadline from the look-up of the host to the last octet.
pub(super) async fn get(
    url: &str,
    max_len: usize,
    timeout: Duration,
    reach: Reach,
) -> Result<Vec<u8>, CrlFetchError> {
    let body = tokio::time::timeout(timeout, body(url, max_len, reach)).await;
    body.unwrap_or(Err(CrlFetchError::Timeout(timeout)))
}

async fn body(url: &str, max_len: usize, reach: Reach) -> Result<Vec<u8>, CrlFetchError> {
    let url = HttpUrl::parse(url)?;
    if url.is_https() {
        return Err(CrlFetchError::Url(HttpUrlError::Scheme));
    }
    let found: Vec<IpAddr> = match url.host() {
        Host::Address(address) => vec![*address],
        Host::Name(name) => {
            let found = tokio::net::lookup_host((name.as_str(), url.port())).await?;
            found.map(|found| found.ip()).collect()
        }
    };
    let permitted = reach.filter(found, |address| address).map_err(CrlFetchError::NotGlobal)?;
    let (mut ipv6, mut ipv4) = (Vec::new(), Vec::new());
    for address in permitted {
        match address {
            IpAddr::V6(address) => ipv6.push(address),
            IpAddr::V4(address) => ipv4.push(address),
        }
    }
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
