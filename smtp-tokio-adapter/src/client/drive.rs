//! What a client does in the driver loop: shows each event, and feeds the body.

use std::io;
use std::ops::ControlFlow;
use std::time::Instant;

use bytes::BytesMut;
use smtp_proto::client::{Client, ClientEvent};
use smtp_proto::driver::Driver;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::client::conversation;
use crate::client::outcome::Failure;
use crate::drive;
use crate::drive::{Caller, Driven, LINGER, Reported, now};
use crate::wire::{Io, Link, Stream};

/// Octets of output that are gathered before a write: a body's end and the final dot go out
/// together.
const WRITE: usize = 64 * 1024;
/// Fewest octets of room for a piece of the body, whatever size its envelope states.
const LEAST_ROOM: usize = 512;

/// Closes with QUIT, where the machine has one to say, without waiting for its reply.
pub(super) async fn hang_up<S: Io>(link: &mut Link<Client, S>) {
    // QUIT is in the output then. An error says that there is none to send.
    drop(link.driver.step(now()));
    log(&link.driver, true);
    link.close(now() + LINGER).await;
}

/// Logs what the last step has heard and said.
fn log(driver: &Driver<Client>, is_good: bool) {
    if conversation::is_wanted() {
        let (heard, consumed) = match is_good {
            true => (driver.heard(), Some(driver.heard().len())),
            false => (driver.unread(), None),
        };
        let has_secrets = driver.machine().has_written_secrets();
        conversation::step(heard, consumed, driver.said(), has_secrets);
    }
}

/// The body of a message, and what it may hold.
pub(super) struct Body<'a> {
    source: Option<&'a mut (dyn AsyncRead + Unpin + Send)>,
    /// The envelope says that the body is ASCII (RFC 6152).
    is_seven_bit: bool,
    /// Octets of room for the next piece. Memory for more than there is costs more than to fill it.
    room: usize,
}

impl<'a> Body<'a> {
    /// No message is sent.
    pub(super) const fn none() -> Self {
        Self { source: None, is_seven_bit: false, room: LEAST_ROOM }
    }

    /// The body of a message for which the envelope states this size.
    pub(super) fn of(
        size: Option<u64>,
        is_seven_bit: bool,
        source: &'a mut (dyn AsyncRead + Unpin + Send),
    ) -> Self {
        // One more than its size: then the end is seen without further room.
        let size = size.and_then(|size| usize::try_from(size).ok());
        let room = size.map_or(WRITE, |size| size.saturating_add(1).clamp(LEAST_ROOM, WRITE));
        Self { source: Some(source), is_seven_bit, room }
    }

    /// Reads the next piece.
    async fn read(&mut self, piece: &mut BytesMut) -> io::Result<usize> {
        let Some(source) = &mut self.source else { return Ok(0) };
        piece.clear();
        piece.reserve(self.room);
        let read = source.read_buf(piece).await?;
        if read >= self.room {
            self.room = WRITE;
        }
        Ok(read)
    }
}

/// Drives the client, feeds the body, and shows each event. After a failure the stream is gone:
/// what is left of a message that counts as failed must not reach the server after all.
pub(super) async fn drive<'a, S: Io>(
    link: &mut Link<Client, S>,
    body: Body<'a>,
    on_event: &'a mut (dyn FnMut(ClientEvent<'_>) -> ControlFlow<()> + Send),
) -> Result<Driven, Failure> {
    let mut caller = Sending { body, on_event, piece: BytesMut::new() };
    let driven = drive::drive(link, &mut caller).await;
    if driven.is_err() {
        link.abandon();
    }
    driven
}

struct Sending<'a> {
    body: Body<'a>,
    on_event: &'a mut (dyn FnMut(ClientEvent<'_>) -> ControlFlow<()> + Send),
    piece: BytesMut,
}

impl<S: Io> Caller<Client, S> for Sending<'_> {
    type Error = Failure;

    const HEARS_LAST_WORDS: bool = true;

    async fn event(
        &mut self,
        reported: Reported<'_, Client>,
        _: &mut Stream<S>,
    ) -> Result<ControlFlow<()>, Failure> {
        Ok((self.on_event)(reported.event))
    }

    fn stepped(&mut self, driver: &Driver<Client>, is_good: bool) {
        log(driver, is_good);
    }

    /// Moves a good piece of the body into the output, and the final dot after its end. Waits only
    /// while there is nothing to send, and nothing is heard.
    async fn provide(&mut self, link: &mut Link<Client, S>) -> Result<(), Failure> {
        // A chunk may have to wait for the reply to the one before it.
        while link.driver.output().unsent().len() < WRITE && link.driver.machine().wants_body() {
            let Self { body, piece, .. } = self;
            let deadline = link.driver.machine().deadline();
            let is_queued = !link.driver.output().unsent().is_empty();
            let read = tokio::select! {
                biased;
                read = body.read(piece) => read,
                () = std::future::ready(()), if is_queued => return Ok(()),
                // A server that has lost its patience says so, and need not wait for the source to
                // move.
                heard = link.listen() => return Ok(heard?),
                // A source that stalls would let the server time out.
                () = passed(deadline) => Err(io::ErrorKind::TimedOut.into()),
            };
            let read = read.map_err(Failure::Source)?;
            if body.is_seven_bit && !piece.is_ascii() {
                return Err(Failure::EightBit);
            }
            if conversation::is_wanted() {
                conversation::message(read);
            }
            let (client, output) = link.driver.parts();
            match read {
                0 => return Ok(client.end_body(output, now())?),
                _ => client.write_body(piece, output, now())?,
            }
        }
        Ok(())
    }
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        None => std::future::pending().await,
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
    }
}
