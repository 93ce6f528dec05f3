//! What a driver needs of either role.

use std::sync::Arc;
use std::time::Instant;

use crate::Progress;
use crate::channel::TlsInfo;
use crate::client::{Client, ClientEvent};
use crate::error::{ApiMisuse, Error};
use crate::server::{Server, ServerEvent};
use crate::timeouts::Phase;

/// One end of a conversation, as a driver sees it: [`Client`] or [`Server`].
///
/// A driver loop written against this trait serves both roles. Each method does what the method of
/// the same name does in [`Client`] and [`Server`].
pub trait Machine {
    /// What [`poll`](Self::poll) reports.
    type Event<'i>;

    /// Advances the conversation. See the [driver loop](crate).
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

    /// When [`poll`](Self::poll) must be called again at the latest; none once the conversation is
    /// over.
    fn deadline(&self) -> Option<Instant>;

    /// What the conversation is waiting for.
    fn phase(&self) -> Phase;

    /// The peer has closed its sending side, and everything it sent has been polled.
    ///
    /// # Errors
    ///
    /// [`Error::Eof`] if the conversation was not over.
    fn handle_eof(&mut self) -> Result<(), Error>;

    /// The TLS handshake that [`Want::Handshake`](crate::Want::Handshake) asked for has succeeded.
    ///
    /// # Errors
    ///
    /// [`ApiMisuse::NoHandshake`] if none was asked for.
    fn tls_established(&mut self, tls: Arc<TlsInfo>, now: Instant) -> Result<(), ApiMisuse>;

    /// Whether the bytes that the last [`poll`](Self::poll) consumed or wrote may hold credentials:
    /// the driver wipes its buffers after use.
    fn has_handled_secrets(&self) -> bool;
}

impl Machine for Client {
    type Event<'i> = ClientEvent<'i>;

    fn poll<'i>(
        &mut self,
        input: &'i [u8],
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Progress<ClientEvent<'i>>, Error> {
        self.poll(input, output, now)
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline()
    }

    fn phase(&self) -> Phase {
        self.phase()
    }

    fn handle_eof(&mut self) -> Result<(), Error> {
        self.handle_eof()
    }

    fn tls_established(&mut self, tls: Arc<TlsInfo>, now: Instant) -> Result<(), ApiMisuse> {
        self.tls_established(tls, now)
    }

    fn has_handled_secrets(&self) -> bool {
        self.has_written_secrets()
    }
}

impl Machine for Server {
    type Event<'i> = ServerEvent<'i>;

    fn poll<'i>(
        &mut self,
        input: &'i [u8],
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Progress<ServerEvent<'i>>, Error> {
        self.poll(input, output, now)
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline()
    }

    fn phase(&self) -> Phase {
        self.phase()
    }

    fn handle_eof(&mut self) -> Result<(), Error> {
        self.handle_eof()
    }

    fn tls_established(&mut self, tls: Arc<TlsInfo>, now: Instant) -> Result<(), ApiMisuse> {
        self.tls_established(tls, now)
    }

    fn has_handled_secrets(&self) -> bool {
        self.has_read_secrets()
    }
}
