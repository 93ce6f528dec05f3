//! One connection's octets: a stream that may become TLS, and the input and output buffers of the
//! machine.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, BytesMut};
use pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;
use zeroize::Zeroize;

/// Octets of room for a read of commands or replies. Small, because most connections are idle.
const READ_LINES: usize = 4 * 1024;
/// Octets of room for a read of a message.
const READ_BODY: usize = 64 * 1024;
/// Octets of an output buffer that are kept once it is sent.
const KEEP_OUTPUT: usize = 4 * 1024;

/// A stream that carries octets both ways.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Clear text or TLS.
#[derive(Debug)]
pub(crate) enum Stream<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
    /// A handshake has the stream, or lost it when it failed.
    Gone,
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the stream was lost in a handshake")
}

impl<S: Io> Stream<S> {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Gone => Poll::Ready(Err(gone())),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Gone => Poll::Ready(Err(gone())),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Gone => Poll::Ready(Err(gone())),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}

/// What ended an [`exchange`](Wire::exchange).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// The output has gone out.
    Sent,
    /// There is new input.
    Read,
    /// The peer has closed its sending side.
    Eof,
    /// The deadline passed.
    TimedOut,
}

/// What an exchange waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// The output is sent. Input ends the exchange as well, because the peer may wait until it is
    /// read.
    Sent,
    /// Lines are read.
    Lines,
    /// Lines with credentials are read, into the space that was reserved for them.
    Secrets,
    /// A piece of a message is read.
    Body,
}

/// A stream and what must be sent over it.
#[derive(Debug)]
pub(crate) struct Link<S> {
    pub(crate) stream: Stream<S>,
    pub(crate) output: Vec<u8>,
    /// Octets of the output that have gone out.
    sent: usize,
    /// The output holds credentials: it is wiped once it is sent, or will not be sent.
    secret: bool,
}

impl<S> Link<S> {
    /// Marks the output as holding credentials.
    pub(crate) fn mark_secret(&mut self) {
        self.secret = true;
    }

    fn wipe(&mut self) {
        if std::mem::take(&mut self.secret) {
            self.output.zeroize();
        }
    }
}

impl<S> Drop for Link<S> {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl<S: Io> Link<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.output.len() {
            let written = ready!(self.stream.poll_write(cx, &self.output[self.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        self.sent = 0;
        self.wipe();
        self.output.clear();
        self.output.shrink_to(KEEP_OUTPUT);
        self.stream.poll_flush(cx)
    }

    /// Waits for an answer of the handler. An answer that is ready at once costs nothing; while a
    /// late one is awaited, queued replies are sent (RFC 2920, section 3.2). The answer is awaited
    /// even if the peer is gone.
    pub(crate) async fn promptly<T>(&mut self, answer: impl Future<Output = T>) -> io::Result<T> {
        let mut answer = pin!(answer);
        let mut sending = Some(());
        let mut sent = Ok(());
        let answer = poll_fn(|cx| {
            let answer = answer.as_mut().poll(cx);
            if answer.is_pending()
                && sending.is_some()
                && let Poll::Ready(result) = self.poll_send(cx)
            {
                sending = None;
                sent = result;
            }
            answer
        })
        .await;
        sent.map(|()| answer)
    }
}

/// A link with its input.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    pub(crate) link: Link<S>,
    pub(crate) input: BytesMut,
    /// The input may hold credentials: it is wiped when it is dropped.
    secret: bool,
    eof: bool,
}

impl<S> Drop for Wire<S> {
    fn drop(&mut self) {
        // A line of AUTH may have been cut off.
        if self.secret {
            self.input.zeroize();
        }
    }
}

impl<S: Io> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        let link =
            Link { stream: Stream::Plain(stream), output: Vec::new(), sent: 0, secret: false };
        Self { link, input: BytesMut::new(), secret: false, eof: false }
    }

    /// Octets of the output, including those at its start that are sent already.
    pub(crate) fn queued(&self) -> usize {
        self.link.output.len()
    }

    /// Drops what has not been sent.
    pub(crate) fn drop_output(&mut self) {
        self.link.wipe();
        self.link.output = Vec::new();
        self.link.sent = 0;
    }

    pub(crate) fn advance(&mut self, consumed: usize) {
        self.input.advance(consumed);
    }

    /// Drops input that may hold credentials, and wipes it.
    pub(crate) fn advance_over_secrets(&mut self, consumed: usize) {
        self.input[..consumed].zeroize();
        self.advance(consumed);
    }

    /// Reserves space for `octets` and one more read, so that the input does not move while
    /// credentials are read.
    pub(crate) fn make_room_for_secrets(&mut self, octets: usize) {
        self.secret = true;
        if self.input.capacity() - self.input.len() < octets + READ_LINES {
            let mut roomy = BytesMut::with_capacity(self.input.len() + octets + READ_LINES);
            roomy.extend_from_slice(&self.input);
            self.input.zeroize();
            self.input = roomy;
        }
    }

    /// Takes the stream out, if it is in clear text.
    pub(crate) fn take_plain(&mut self) -> Option<S> {
        match std::mem::replace(&mut self.link.stream, Stream::Gone) {
            Stream::Plain(stream) => Some(stream),
            other => {
                self.link.stream = other;
                None
            }
        }
    }

    /// The certificates that the peer showed; empty in clear text.
    pub(crate) fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        match &self.link.stream {
            Stream::Tls(stream) => stream.get_ref().1.peer_certificates().unwrap_or_default(),
            Stream::Plain(_) | Stream::Gone => &[],
        }
    }

    pub(crate) fn put_tls(&mut self, stream: impl Into<TlsStream<S>>) {
        self.link.stream = Stream::Tls(Box::new(stream.into()));
    }

    /// Sends the output and reads at the same time: otherwise a peer that answers early could wait
    /// for this side while this side waits for the peer.
    pub(crate) async fn exchange(
        &mut self,
        until: Until,
        deadline: Option<Instant>,
    ) -> io::Result<Moved> {
        let moved = poll_fn(|cx| self.poll_exchange(until, cx));
        match deadline {
            None => moved.await,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), moved).await {
                Ok(moved) => moved,
                Err(_) => Ok(Moved::TimedOut),
            },
        }
    }

    fn poll_exchange(&mut self, until: Until, cx: &mut Context<'_>) -> Poll<io::Result<Moved>> {
        let sent = self.link.poll_send(cx)?.is_ready();
        if sent && until == Until::Sent && !self.eof {
            return Poll::Ready(Ok(Moved::Sent));
        }
        if !self.eof {
            let room = if until == Until::Body { READ_BODY } else { READ_LINES };
            let read = self.poll_read(room, cx);
            // The next line may take minutes: a connection that waits holds no buffer.
            if read.is_pending() && until == Until::Lines && self.input.is_empty() {
                self.input = BytesMut::new();
            }
            if ready!(read)? > 0 {
                return Poll::Ready(Ok(Moved::Read));
            }
            self.eof = true;
        }
        // After the end of the input the last replies are still sent, but the exchange before a
        // handshake is over.
        if sent || until == Until::Sent { Poll::Ready(Ok(Moved::Eof)) } else { Poll::Pending }
    }

    /// Sends the output and reads nothing: back-pressure on a peer that sends and does not read.
    pub(crate) async fn send(&mut self, deadline: Instant) -> io::Result<()> {
        let sending = poll_fn(|cx| self.link.poll_send(cx));
        tokio::time::timeout_at(deadline.into(), sending)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_read(&mut self, room: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(room);
        let mut reader = Reader(&mut self.link.stream);
        pin!(reader.read_buf(&mut self.input)).poll(cx)
    }

    /// Waits until there is new input, or its end, and sends nothing.
    pub(crate) async fn listen(&mut self) -> io::Result<()> {
        let read = poll_fn(|cx| self.poll_read(READ_LINES, cx)).await?;
        self.eof |= read == 0;
        Ok(())
    }

    /// Reads without waiting, and returns whether octets have come that were not expected: before a
    /// handshake there must be none.
    pub(crate) async fn probe(&mut self) -> io::Result<bool> {
        poll_fn(|cx| {
            Poll::Ready(match self.poll_read(READ_LINES, cx) {
                Poll::Ready(read) => read.map(|read| {
                    self.eof = read == 0;
                    read > 0
                }),
                Poll::Pending => Ok(false),
            })
        })
        .await
    }

    /// Whether the peer is silent and has not closed its side, as far as can be seen without
    /// waiting.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        let is_silent =
            self.input.is_empty() && !self.eof && matches!(self.probe().await, Ok(false));
        // The probe may have found the end of the input.
        is_silent && !self.eof
    }

    /// Reads and drops until the peer closes its side or the deadline passes: closing a socket with
    /// unread octets resets the connection, and the peer may then lose the last reply.
    pub(crate) async fn drain(&mut self, deadline: Instant) {
        let draining = async {
            while !self.eof && poll_fn(|cx| self.poll_read(READ_LINES, cx)).await? > 0 {
                self.input.clear();
            }
            io::Result::Ok(())
        };
        let _: Result<io::Result<()>, _> = tokio::time::timeout_at(deadline.into(), draining).await;
    }

    /// Sends what is left and closes the sending side, within the deadline. Errors are ignored: the
    /// connection is over.
    pub(crate) async fn close(&mut self, deadline: Instant) {
        let closing = async {
            poll_fn(|cx| self.link.poll_send(cx)).await?;
            poll_fn(|cx| self.link.stream.poll_shutdown(cx)).await
        };
        let _: Result<io::Result<()>, _> = tokio::time::timeout_at(deadline.into(), closing).await;
    }
}

/// Gives `read_buf` a reader.
struct Reader<'s, S>(&'s mut Stream<S>);

impl<S: Io> AsyncRead for Reader<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;

    use super::{Moved, Until, Wire};

    #[tokio::test]
    async fn connection_that_waits_for_a_line_holds_no_buffer() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let mut wire = Wire::new(ours);
        let soon = || Some(super::Instant::now() + Duration::from_millis(10));
        assert_eq!(wire.exchange(Until::Lines, soon()).await.unwrap(), Moved::TimedOut);
        assert_eq!(wire.input.capacity(), 0);
        theirs.write_all(b"NOO").await.unwrap();
        assert_eq!(wire.exchange(Until::Lines, soon()).await.unwrap(), Moved::Read);
        // Half a line is kept, however long the rest takes.
        assert_eq!(wire.exchange(Until::Lines, soon()).await.unwrap(), Moved::TimedOut);
        assert_eq!(&wire.input[..], b"NOO");
        wire.advance(3);
        assert_eq!(wire.exchange(Until::Lines, soon()).await.unwrap(), Moved::TimedOut);
        assert_eq!(wire.input.capacity(), 0);
    }
}
