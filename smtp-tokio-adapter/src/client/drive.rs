//! The driver loop: polls the machine, moves bytes, and feeds the body.

use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use smtp_proto::client::{Client, ClientEvent, Envelope};
use smtp_proto::error::Error;
use smtp_proto::wire::params::BodyType;
use smtp_proto::{Step, Want};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::client::conversation;
use crate::client::outcome::{Failure, MessageError};
use crate::wire::{Io, Moved, Until, Wire};

/// How long closing a connection may take once its result is known.
pub(super) const LINGER: Duration = Duration::from_secs(2);
/// Octets of output that are gathered before a write: a body's end and the final dot go out
/// together.
const WRITE: usize = 64 * 1024;

/// Where [`drive`] stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Driven {
    /// The caller said so.
    Stopped,
    /// The machine wants a handshake.
    Handshake,
    /// The conversation is over.
    Closed,
}

/// Closes with QUIT, where the machine has one to say, without waiting for its reply.
pub(super) async fn hang_up<S: Io>(client: &mut Client, wire: &mut Wire<S>) {
    // QUIT is in the output then. An error says that there is none to send.
    let queued = wire.queued();
    let _: Result<_, Error> = client.poll(&wire.input, &mut wire.link.output, Instant::now());
    if conversation::is_wanted() {
        let said = wire.link.output.get(queued..).unwrap_or_default();
        conversation::step(&[], Some(0), said, client.has_written_secrets());
    }
    wire.close(Instant::now() + LINGER).await;
}

/// The body of a message, and what it may hold.
pub(super) struct Body<'a, R> {
    source: Option<&'a mut R>,
    /// The envelope says that the body is ASCII (RFC 6152).
    is_seven_bit: bool,
}

impl Body<'_, tokio::io::Empty> {
    /// No message is sent.
    pub(super) const fn none() -> Self {
        Self { source: None, is_seven_bit: false }
    }
}

impl<'a, R: AsyncRead + Unpin> Body<'a, R> {
    pub(super) fn of(envelope: &Envelope, source: &'a mut R) -> Self {
        Self { source: Some(source), is_seven_bit: envelope.body == BodyType::SevenBit }
    }

    async fn read(&mut self, piece: &mut BytesMut) -> io::Result<usize> {
        match &mut self.source {
            Some(source) => source.read_buf(piece).await,
            None => Ok(0),
        }
    }
}

/// The driver loop: polls the machine, moves bytes, feeds the body, and shows each event.
pub(super) async fn drive<S: Io>(
    client: &mut Client,
    wire: &mut Wire<S>,
    body: &mut Body<'_, impl AsyncRead + Unpin>,
    on_event: &mut (dyn FnMut(ClientEvent<'_>) -> ControlFlow<()> + Send),
) -> Result<Driven, Failure> {
    let mut piece = BytesMut::new();
    loop {
        let queued = wire.queued();
        let polled = client.poll(&wire.input, &mut wire.link.output, Instant::now());
        let has_secrets = client.has_written_secrets();
        if has_secrets {
            wire.link.mark_secret();
        }
        if conversation::is_wanted() {
            let consumed = polled.as_ref().ok().map(|progress| progress.consumed);
            let said = wire.link.output.get(queued..).unwrap_or_default();
            conversation::step(&wire.input, consumed, said, has_secrets);
        }
        let progress = match polled {
            Ok(progress) => progress,
            Err(error) => {
                wire.close(Instant::now() + LINGER).await;
                return Err(error.into());
            }
        };
        let want = match progress.step {
            Step::Event(event) => {
                let closed = matches!(event, ClientEvent::Closed);
                let flow = on_event(event);
                wire.advance(progress.consumed);
                match flow {
                    _ if closed => return Ok(Driven::Closed),
                    ControlFlow::Break(()) => return Ok(Driven::Stopped),
                    ControlFlow::Continue(()) => continue,
                }
            }
            Step::Wait(want) => want,
        };
        wire.advance(progress.consumed);
        let until = match want {
            // The server has answered STARTTLS before it was sent. STARTTLS must not go out inside
            // TLS, as the answer to something else.
            Want::Handshake if wire.queued() > 0 => Until::Sent,
            // A server says nothing between its 220 and our first flight: what has come was put
            // there by a third party.
            Want::Handshake => {
                if wire.probe().await? {
                    continue;
                }
                return Ok(Driven::Handshake);
            }
            Want::Caller => {
                fill(client, wire, body, &mut piece).await?;
                Until::Sent
            }
            Want::Input => Until::Lines,
        };
        match wire.exchange(until, client.deadline()).await {
            // The machine says what a passed deadline means.
            Ok(Moved::Sent | Moved::Read | Moved::TimedOut) => {}
            Ok(Moved::Eof) => client.handle_eof()?,
            // Nothing can be sent any more; but the server may have said why before it hung up.
            Err(error) => {
                if !wire.probe().await.unwrap_or(false) {
                    return Err(error.into());
                }
            }
        }
    }
}

/// Moves a good piece of the body into the output, and the final dot after its end. Waits only
/// while there is nothing to send, and nothing is heard.
async fn fill<S: Io>(
    client: &mut Client,
    wire: &mut Wire<S>,
    body: &mut Body<'_, impl AsyncRead + Unpin>,
    piece: &mut BytesMut,
) -> Result<(), Failure> {
    // A chunk may have to wait for the reply to the one before it.
    while wire.queued() < WRITE && client.wants_body() {
        piece.clear();
        piece.reserve(WRITE);
        let deadline = client.deadline();
        let read = tokio::select! {
            biased;
            read = body.read(piece) => read,
            () = std::future::ready(()), if wire.queued() > 0 => return Ok(()),
            // A server that has lost its patience says so, and need not wait for the source to
            // move.
            heard = wire.listen() => return Ok(heard?),
            // A source that stalls would let the server time out.
            () = passed(deadline) => Err(io::ErrorKind::TimedOut.into()),
        };
        let read = read.map_err(MessageError::Read)?;
        if body.is_seven_bit && !piece.is_ascii() {
            return Err(MessageError::EightBit.into());
        }
        if conversation::is_wanted() {
            conversation::message(read);
        }
        match read {
            0 => return Ok(client.end_body(&mut wire.link.output, Instant::now())?),
            _ => client.write_body(piece, &mut wire.link.output, Instant::now())?,
        }
    }
    Ok(())
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        None => std::future::pending().await,
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
    }
}
