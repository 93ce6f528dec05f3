//! HTTP/1.1: one request over one connection, and a bounded answer.

mod connect;
mod reach;
#[cfg(feature = "https")]
mod tls;

pub(crate) use self::connect::connect;
pub(crate) use self::reach::Reach;
#[cfg(feature = "https")]
pub(crate) use self::tls::{HttpsError, Tls};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST};
use hyper::http::HeaderMap;
use hyper::http::request::Builder;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use smtp_tls_policy::HttpUrl;
use tokio::task::JoinSet;

use crate::wire::Io;

/// Most header fields of an answer.
const MAX_FIELDS: usize = 64;
/// Most octets of the header of an answer.
const MAX_HEADER_LEN: usize = 32 << 10;

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    #[cfg_attr(not(feature = "https"), expect(dead_code, reason = "only policies have a type"))]
    pub(crate) fields: HeaderMap,
    /// The body of an answer with status 200: all of it, or its first octets, of which there is one
    /// more than the limit. Empty for every other status.
    pub(crate) body: Vec<u8>,
}

/// A request for what a URL names, over a connection that serves nothing else.
pub(crate) fn request(method: Method, url: &HttpUrl) -> Builder {
    let builder = Request::builder().method(method).uri(url.target());
    builder.header(HOST, url.authority()).header(CONNECTION, "close")
}

/// Sends a request, and reads at most `max_len` octets of the body and one. Redirections are not
/// followed. The caller sets the time limit.
pub(crate) async fn exchange<S: Io + 'static>(
    stream: S,
    request: Request<Full<Bytes>>,
    max_len: usize,
) -> Result<Answer, hyper::Error> {
    let mut builder = http1::Builder::new();
    builder.max_headers(MAX_FIELDS).max_buf_size(MAX_HEADER_LEN);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    // Ends with this function, whatever becomes of it.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let (head, mut body) = sender.send_request(request).await?.into_parts();
    let mut octets = Vec::new();
    while head.status == StatusCode::OK
        && octets.len() <= max_len
        && let Some(frame) = body.frame().await
    {
        if let Ok(data) = frame?.into_data() {
            let room = max_len.saturating_add(1) - octets.len();
            octets.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(Answer { status: head.status, fields: head.headers, body: octets })
}
