//! A GET by HTTP/1.1 without TLS, as revocation lists are fetched.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::header::{CONNECTION, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Why a list was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The URL is not one of scheme `http` with a host.
    #[error("the URL is not an http URL with a host")]
    Url,
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
) -> Result<Vec<u8>, HttpError> {
    let body = tokio::time::timeout(timeout, body(url, max_len)).await;
    body.unwrap_or(Err(HttpError::Timeout(timeout)))
}

async fn body(url: &str, max_len: usize) -> Result<Vec<u8>, HttpError> {
    let uri: Uri = url.parse().map_err(|_| HttpError::Url)?;
    if uri.scheme_str() != Some("http") {
        return Err(HttpError::Url);
    }
    let authority = uri.authority().ok_or(HttpError::Url)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await?;
    // Ends with this function, whatever becomes of it.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let host = match authority.port() {
        Some(port) => format!("{}:{port}", authority.host()),
        None => authority.host().to_owned(),
    };
    let request = Request::get(target)
        .header(HOST, host)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| HttpError::Url)?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(HttpError::Status(response.status().as_u16()));
    }
    let mut body = response.into_body();
    let mut octets = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if octets.len() + data.len() > max_len {
                return Err(HttpError::TooLong(max_len));
            }
            octets.extend_from_slice(&data);
        }
    }
    Ok(octets)
}
