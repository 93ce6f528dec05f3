//! The message of a delivery.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

#[cfg(doc)]
use smtp_proto::client::Envelope;
use smtp_proto::wire::command::Uri;
use smtp_proto::wire::params::BodyType;
use smtp_tls_policy::trace::tls_required_no;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Octets that [`measure`] reads at a time.
const READ: usize = 64 * 1024;

/// The source of a message. It is opened once for each transaction, and once to measure it.
pub trait Message: Sync {
    /// The bytes, with lines ended by CRLF.
    type Body: AsyncRead + Unpin + Send;

    /// Opens the message at its beginning.
    fn open(&self) -> impl Future<Output = io::Result<Self::Body>> + Send;

    /// Where a submission server can fetch the whole message by itself. Used if the server offers
    /// BURL (RFC 4468); other servers get the bytes. None by default.
    fn uri(&self) -> Option<Uri<'_>> {
        None
    }

    /// Whether the header of the message has a single field `TLS-Required: No` (RFC 8689, section
    /// 4.1): [`tls_required_no`]. False by default.
    fn tls_required_no(&self) -> bool {
        false
    }
}

impl Message for bytes::Bytes {
    type Body = io::Cursor<bytes::Bytes>;
    async fn open(&self) -> io::Result<Self::Body> {
        Ok(io::Cursor::new(self.clone()))
    }

    fn tls_required_no(&self) -> bool {
        tls_required_no(self)
    }
}

/// Opens a message within this time.
pub(super) async fn opened<M: Message>(message: &M, patience: Duration) -> io::Result<M::Body> {
    let mut opening = pin!(message.open());
    // Most messages are at hand, and need no timer.
    match poll_fn(|cx| Poll::Ready(opening.as_mut().poll(cx))).await {
        Poll::Ready(opened) => opened,
        Poll::Pending => {
            let opened = tokio::time::timeout(patience, opening).await;
            opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }
    }
}

/// Reads a body to its end, and returns its octets (for [`Envelope::size`]) and its type (for
/// [`Envelope::body`]): 8-bit if an octet is above 127.
///
/// # Errors
///
/// The error of the source.
///
/// # Cancel safety
///
/// If the future is dropped, the source has been read to an unknown place.
pub async fn measure(body: &mut (impl AsyncRead + Unpin)) -> io::Result<(u64, BodyType)> {
    let mut piece = bytes::BytesMut::with_capacity(READ);
    let (mut size, mut ascii) = (0, true);
    while body.read_buf(&mut piece).await? > 0 {
        size += piece.len() as u64;
        ascii &= piece.is_ascii();
        piece.clear();
    }
    Ok((size, if ascii { BodyType::SevenBit } else { BodyType::EightBitMime }))
}
