//! What a driver needs of either role.

use std::time::Instant;

use crate::Progress;
use crate::client::{Client, ClientEvent};
use crate::error::Error;
use crate::server::{Server, ServerEvent};
use crate::starttls::HandOver;
use crate::timeouts::Phase;

/// One end of a conversation, as a [`Driver`](super::Driver) sees it: [`Client`] or [`Server`].
///
/// Each method does what the method of the same name does in [`Client`] and [`Server`].
pub trait Machine {
    /// What [`poll`](Self::poll) reports.
    type Event<'i>: Send;

    /// Octets of output above which nothing more of the input is shown to the machine. A server
    /// answers what it reads, so a client that reads no replies must not make the output grow. A
    /// client sets no limit: it must hear a server that refuses a message early.
    const MAX_QUEUED: usize;

    /// Advances the conversation.
    ///
    /// # Errors
    ///
    /// The conversation is over. Errors are sticky: each further call returns the same one.
    fn poll<'i>(
        &mut self,
        input: &'i [u8],
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Progress<Self::Event<'i>>, Error>;

    /// Whether this event is the last one: the output is sent, then the connection is closed.
    fn is_closed(event: &Self::Event<'_>) -> bool;

    /// When [`poll`](Self::poll) must be called again at the latest; none once the conversation is
    /// over.
    fn deadline(&self) -> Option<Instant>;

    /// The peer has closed its sending side, and everything it sent has been polled.
    ///
    /// # Errors
    ///
    /// [`Error::Eof`] if the conversation was not over. Otherwise the next poll reports that it is
    /// closed.
    fn handle_eof(&mut self) -> Result<(), Error>;

    /// Whether the peer sends a message next, and not commands or replies.
    fn reads_message(&self) -> bool;

    /// The octets of the longest line that the peer may send next, where that may hold credentials.
    fn secret_line(&self) -> Option<usize>;

    /// Whether the peer has nothing to say now, so that octets which can be read without waiting
    /// came too early. A server asks before its greeting is sent, a client before the handshake: a
    /// server is silent between its 220 and the ClientHello.
    fn expects_silence(&self) -> bool;

    /// Whether the octets that the last poll consumed or wrote may hold credentials: the driver
    /// wipes its buffers after use.
    fn has_handled_secrets(&self) -> bool;
}

impl Machine for Client {
    type Event<'i> = ClientEvent<'i>;

    const MAX_QUEUED: usize = usize::MAX;

    fn poll<'i>(
        &mut self,
        input: &'i [u8],
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Progress<ClientEvent<'i>>, Error> {
        self.poll(input, output, now)
    }

    fn is_closed(event: &ClientEvent<'_>) -> bool {
        matches!(event, ClientEvent::Closed)
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline()
    }

    fn handle_eof(&mut self) -> Result<(), Error> {
        self.handle_eof()
    }

    fn reads_message(&self) -> bool {
        false
    }

    fn secret_line(&self) -> Option<usize> {
        None
    }

    fn expects_silence(&self) -> bool {
        self.awaits_handshake()
    }

    fn has_handled_secrets(&self) -> bool {
        self.has_written_secrets()
    }
}

impl Machine for Server {
    type Event<'i> = ServerEvent<'i>;

    const MAX_QUEUED: usize = 64 * 1024;

    fn poll<'i>(
        &mut self,
        input: &'i [u8],
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Progress<ServerEvent<'i>>, Error> {
        self.poll(input, output, now)
    }

    fn is_closed(event: &ServerEvent<'_>) -> bool {
        matches!(event, ServerEvent::Closed)
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline()
    }

    fn handle_eof(&mut self) -> Result<(), Error> {
        self.handle_eof()
    }

    fn reads_message(&self) -> bool {
        self.phase() == Phase::Body
    }

    fn secret_line(&self) -> Option<usize> {
        self.secret_line()
    }

    fn expects_silence(&self) -> bool {
        self.is_greeting()
    }

    fn has_handled_secrets(&self) -> bool {
        self.has_read_secrets()
    }
}
