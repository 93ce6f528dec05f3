//! The message of a delivery.

use std::io;

#[cfg(doc)]
use smtp_proto::client::Envelope;
use smtp_proto::wire::command::Uri;
use smtp_proto::wire::params::BodyType;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Octets that [`measure`] reads at a time.
const READ: usize = 64 * 1024;

/// Where a message comes from. It is opened once for each transaction.
pub trait Message: Sync {
    /// The bytes, lines ended by CRLF.
    type Body: AsyncRead + Unpin + Send;
    /// Starts from the beginning.
    fn open(&self) -> impl Future<Output = io::Result<Self::Body>> + Send;

    /// Where a submission server can fetch the whole message by itself. Used where it offers BURL (RFC 4468); everybody
    /// else gets the bytes.
    fn uri(&self) -> Option<Uri<'_>> {
        None
    }
}

impl Message for bytes::Bytes {
    type Body = io::Cursor<bytes::Bytes>;
    async fn open(&self) -> io::Result<Self::Body> {
        Ok(io::Cursor::new(self.clone()))
    }
}

/// What the body may be is for the caller to know; this finds out by reading it once.
///
/// Returns the octets (for [`Envelope::size`]) and the body type.
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
