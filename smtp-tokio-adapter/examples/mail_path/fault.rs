//! A server's stream that breaks STARTTLS on purpose: everything after the 220 is wrong.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What happens after the 220 to STARTTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Bytes that are no TLS.
    Garbage,
    /// Nothing, for ever.
    Silence,
    /// Silence as well, and the grant is a 250 instead of the 220.
    NotA220,
    /// A reply in clear text, in one write with the 220.
    Injection,
    /// The connection is closed if the ClientHello is large, as some filters do. A smaller one gets
    /// a good handshake.
    LargeHello,
}

/// What is written after the 220; a client that used it would believe in these extensions.
const INJECTED: &[u8] = b"250-mail.injected.example\r\n250 AUTH PLAIN\r\n";
const GARBAGE: &[u8] = b"\x00\x01this is no ServerHello\r\n";

/// Wraps the server's end of a connection.
pub struct Faulty {
    stream: TcpStream,
    fault: Fault,
    /// The 220 to STARTTLS has gone out.
    granted: bool,
    /// Bytes of our own that must go out first.
    pending: Vec<u8>,
}

impl Faulty {
    pub fn new(stream: TcpStream, fault: Fault) -> Self {
        Self { stream, fault, granted: false, pending: Vec::new() }
    }

    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let written =
                std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, &self.pending))?;
            self.pending.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

/// Octets of a record that only a ClientHello with a post-quantum key share has: that of
/// X25519MLKEM768 alone has 1216, and all the rest has fewer than this.
const LARGE: usize = 1000;

/// Whether these octets begin a handshake record (RFC 8446, section 5.1) of a large ClientHello.
fn is_large_hello(bytes: &[u8]) -> bool {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    let [HANDSHAKE, _, _, high, low, CLIENT_HELLO, ..] = bytes else { return false };
    usize::from(u16::from_be_bytes([*high, *low])) >= LARGE
}

impl AsyncRead for Faulty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if self.granted && self.fault == Fault::LargeHello {
            if is_large_hello(buffer.filled()) {
                buffer.clear();
            }
            return polled;
        }
        if self.granted && matches!(polled, Poll::Ready(Ok(()))) && !buffer.filled().is_empty() {
            // The ClientHello: it never reaches the server.
            buffer.clear();
            if self.fault == Fault::Garbage {
                self.pending = GARBAGE.to_vec();
                std::task::ready!(self.poll_pending(cx))?;
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        polled
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_pending(cx))?;
        // The greeting is a 220 as well, but the only one with the host's name.
        if bytes.starts_with(b"220 2.0.0 ") && !self.granted {
            self.granted = true;
            self.pending = bytes.to_vec();
            if self.fault == Fault::NotA220 {
                self.pending[..3].copy_from_slice(b"250");
            }
            if self.fault == Fault::Injection {
                self.pending.extend_from_slice(INJECTED);
            }
            std::task::ready!(self.poll_pending(cx))?;
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
