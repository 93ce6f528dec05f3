//! One connection's octets: a stream that may become TLS, and the driver of a machine.

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use pki_types::CertificateDer;
use smtp_proto::driver::{Driver, Machine, Output};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

/// Most octets of commands or replies that are read at a time.
const LINES: usize = 4 * 1024;

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

    fn poll_send(&mut self, output: &mut Output, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !output.unsent().is_empty() {
            let written = ready!(self.poll_write(cx, output.unsent()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            output.sent(written);
        }
        self.poll_flush(cx)
    }

    /// Waits for an answer of the handler. An answer that is ready at once costs nothing; while a
    /// late one is awaited, queued replies are sent (RFC 2920, section 3.2). The answer is awaited
    /// even if the peer is gone.
    pub(crate) async fn send_during<T>(
        &mut self,
        output: &mut Output,
        answer: impl Future<Output = T>,
    ) -> io::Result<T> {
        let mut answer = pin!(answer);
        let mut sending = Some(());
        let mut sent = Ok(());
        let answer = poll_fn(|cx| {
            let answer = answer.as_mut().poll(cx);
            if answer.is_pending()
                && sending.is_some()
                && let Poll::Ready(result) = self.poll_send(output, cx)
            {
                sending = None;
                sent = result;
            }
            answer
        })
        .await;
        sent.map(|()| answer)
    }

    /// Takes the stream out, if it is in clear text.
    pub(crate) fn take_plain(&mut self) -> Option<S> {
        match std::mem::replace(self, Self::Gone) {
            Self::Plain(stream) => Some(stream),
            other => {
                *self = other;
                None
            }
        }
    }

    /// The certificates that the peer showed; empty in clear text.
    pub(crate) fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        match self {
            Self::Tls(stream) => stream.get_ref().1.peer_certificates().unwrap_or_default(),
            Self::Plain(_) | Self::Gone => &[],
        }
    }

    pub(crate) fn put_tls(&mut self, stream: impl Into<TlsStream<S>>) {
        *self = Self::Tls(Box::new(stream.into()));
    }
}

/// What ends an [`exchange`](Link::exchange).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// The output is sent. If `listens`, new input ends the exchange as well.
    Sent { listens: bool },
    /// There is new input.
    Read,
}

/// A machine with its buffers, and the stream over which it speaks.
#[derive(Debug)]
pub(crate) struct Link<M, S> {
    pub(crate) driver: Driver<M>,
    pub(crate) stream: Stream<S>,
}

impl<M: Machine, S: Io> Link<M, S> {
    pub(crate) fn new(machine: M, stream: Stream<S>) -> Self {
        Self { driver: Driver::new(machine), stream }
    }

    /// Sends the output, and reads at the same time if input may come: otherwise a peer that
    /// answers early could wait for this side while this side waits for the peer. Ends at the
    /// deadline at the latest, and at the end of the input.
    pub(crate) async fn exchange(
        &mut self,
        until: Until,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        let moved = poll_fn(|cx| self.poll_exchange(until, cx));
        match deadline {
            None => moved.await,
            // The machine says what a passed deadline means.
            Some(deadline) => {
                tokio::time::timeout_at(deadline.into(), moved).await.unwrap_or(Ok(()))
            }
        }
    }

    fn poll_exchange(&mut self, until: Until, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = self.poll_send(cx)?;
        match until {
            Until::Sent { listens: false } => sent.map(Ok),
            Until::Sent { listens: true } if sent.is_ready() => Poll::Ready(Ok(())),
            Until::Sent { listens: true } | Until::Read => {
                let read = self.poll_read(cx)?;
                // The next line may take minutes.
                if read.is_pending() && sent.is_ready() && until == Until::Read {
                    self.driver.release();
                }
                read.map(|_| Ok(()))
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_send(self.driver.output(), cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.driver.hears_lines() {
            // Most of these reads find nothing yet, and a connection that waits holds no buffer.
            let mut octets = [MaybeUninit::uninit(); LINES];
            let mut lines = ReadBuf::uninit(&mut octets);
            ready!(self.stream.poll_read(cx, &mut lines))?;
            self.driver.take_in(lines.filled());
            return Poll::Ready(Ok(lines.filled().len()));
        }
        let mut space = ReadBuf::new(self.driver.space());
        ready!(self.stream.poll_read(cx, &mut space))?;
        let read = space.filled().len();
        self.driver.received(read);
        Poll::Ready(Ok(read))
    }

    /// Waits until there is new input, or its end, and sends nothing.
    pub(crate) async fn listen(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_read(cx)).await.map(|_| ())
    }

    /// Reads without waiting, and returns whether octets have come.
    pub(crate) async fn look(&mut self) -> io::Result<bool> {
        poll_fn(|cx| {
            Poll::Ready(match self.poll_read(cx) {
                Poll::Ready(read) => read.map(|read| read > 0),
                Poll::Pending => Ok(false),
            })
        })
        .await
    }

    /// Whether the peer is silent and has not closed its side, as far as can be seen without
    /// waiting.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        let is_silent = self.driver.unread().is_empty()
            && !self.driver.is_ended()
            && matches!(self.look().await, Ok(false));
        // The look may have found the end of the input.
        is_silent && !self.driver.is_ended()
    }

    /// Reads and drops until the peer closes its side or the deadline passes: closing a socket with
    /// unread octets resets the connection, and the peer may then lose the last reply.
    pub(crate) async fn drain(&mut self, deadline: Instant) {
        if self.driver.is_ended() {
            return;
        }
        let mut dropped = vec![0; 4 * 1024];
        let draining = async {
            loop {
                let mut space = ReadBuf::new(&mut dropped);
                poll_fn(|cx| self.stream.poll_read(cx, &mut space)).await?;
                if space.filled().is_empty() {
                    return io::Result::Ok(());
                }
            }
        };
        let _: Result<io::Result<()>, _> = tokio::time::timeout_at(deadline.into(), draining).await;
    }

    /// Drops what is not sent, and the stream: closing a TLS session would send what it has taken.
    pub(crate) fn abandon(&mut self) {
        self.driver.output().discard();
        self.stream = Stream::Gone;
    }

    /// Sends what is left and closes the sending side, within the deadline. Errors are ignored: the
    /// connection is over.
    pub(crate) async fn close(&mut self, deadline: Instant) {
        let closing = async {
            poll_fn(|cx| self.poll_send(cx)).await?;
            poll_fn(|cx| self.stream.poll_shutdown(cx)).await
        };
        let _: Result<io::Result<()>, _> = tokio::time::timeout_at(deadline.into(), closing).await;
    }
}
