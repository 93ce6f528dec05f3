//! A GET by HTTP/1.1 without TLS, as revocation lists are fetched.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONNECTION, HOST};
use hyper::{Request, StatusCode, Uri};
use tokio::net::TcpStream;

use crate::http::{Reach, exchange};

/// Most addresses of a host that are tried. Our own choice.
const MAX_ADDRESSES: usize = 8;

/// Why a list was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The URL is not one of scheme `http` with a host.
    #[error("the URL is not an http URL with a host")]
    Url,
    /// The host has no address from which lists may be fetched, but this one: see
    /// [`with_reach`](super::CrlFetcher::with_reach).
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
}

/// Fetches what a URL names, within one deadline from the look-up of the host to the last octet.
pub(super) async fn get(
    url: &str,
    max_len: usize,
    timeout: Duration,
    reach: Reach,
) -> Result<Vec<u8>, HttpError> {
    let body = tokio::time::timeout(timeout, body(url, max_len, reach)).await;
    body.unwrap_or(Err(HttpError::Timeout(timeout)))
}

async fn body(url: &str, max_len: usize, reach: Reach) -> Result<Vec<u8>, HttpError> {
    let uri: Uri = url.parse().map_err(|_| HttpError::Url)?;
    if uri.scheme_str() != Some("http") {
        return Err(HttpError::Url);
    }
    let authority = uri.authority().ok_or(HttpError::Url)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((host, authority.port_u16().unwrap_or(80))).await?;
    let addresses = reach.filter(found.take(MAX_ADDRESSES).collect(), |it: SocketAddr| it.ip());
    let stream = TcpStream::connect(&addresses.map_err(HttpError::NotGlobal)?[..]).await?;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let host = match authority.port() {
        Some(port) => format!("{}:{port}", authority.host()),
        None => authority.host().to_owned(),
    };
    let request = Request::get(target)
        .header(HOST, host)
        .header(CONNECTION, "close")
        .body(Full::<Bytes>::default())
        .map_err(|_| HttpError::Url)?;
    let answer = exchange(stream, request, max_len).await?;
    match answer.status {
        StatusCode::OK if answer.body.len() > max_len => Err(HttpError::TooLong(max_len)),
        StatusCode::OK => Ok(answer.body),
        status => Err(HttpError::Status(status.as_u16())),
    }
}
