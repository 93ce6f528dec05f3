//! AUTH (RFC 4954): begins an exchange, and ends it.

use std::time::Instant;

use super::exchange::Exchange;
use super::work::Work;
use super::{Client, ClientEvent};
use crate::error::ApiMisuse;
use crate::fallback::TlsRules;
use crate::sasl::client::{AuthRefusal, ChannelFloor, ClientMechanism};
use crate::sasl::is_mechanism_name;
use crate::wire::reply::Reply;

impl Client {
    /// Begins AUTH after [`ClientEvent::Ready`], before, between or after transactions; the next
    /// [`poll`](Self::poll) sends it. [`ClientEvent::Authenticated`] or
    /// [`ClientEvent::AuthenticationFailed`] follows.
    ///
    /// The output then holds credentials: see [`has_written_secrets`](Self::has_written_secrets).
    /// They are sent in clear text, or to a server that is not authenticated, only if `floor`
    /// allows it. If TLS is lost after this call, clear text takes its place only if `floor` allows
    /// it, whatever the rules of the connection were.
    ///
    /// # Errors
    ///
    /// Nothing was sent, and the connection is as it was before the call.
    pub fn authenticate(
        &mut self,
        mechanism: Box<dyn ClientMechanism>,
        floor: ChannelFloor,
        now: Instant,
    ) -> Result<(), AuthRefusal> {
        // RFC 4954, section 4: "The AUTH command is not permitted during a mail transaction."
        if !self.is_free() {
            return Err(ApiMisuse::NotReady.into());
        }
        // RFC 4954, section 4: "no more AUTH commands may be issued in the same session".
        if self.authenticated {
            return Err(ApiMisuse::AlreadyAuthenticated.into());
        }
        floor.permits(&self.channel, mechanism.reveals_secret())?;
        // What is no name at all cannot have been offered, and would not be safe to send.
        let name = mechanism.name();
        if !is_mechanism_name(name) || !self.capabilities.has_mechanism(name) {
            return Err(AuthRefusal::NotOffered);
        }
        let exchange = Exchange::new(mechanism, self.config.initial_response)?;
        if floor != ChannelFloor::Clear {
            self.rules = TlsRules::REQUIRED;
        }
        self.begin(Work::Auth(exchange), now);
        Ok(())
    }

    /// Whether what the last [`poll`](Self::poll) wrote may hold credentials: wipe the output once
    /// it is sent. The output was given the room that it needs, so that its growth has left no copy
    /// in freed memory.
    pub const fn has_written_secrets(&self) -> bool {
        self.written_secrets
    }

    /// Whether the server has taken credentials on this connection.
    pub const fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// 235. A success that the mechanism denies is none; and since the server thinks otherwise, the
    ///      connection ends.
    pub(super) fn auth_accepted<'i>(
        &mut self,
        mut exchange: Exchange,
        reply: Reply<'i>,
    ) -> ClientEvent<'i> {
        match exchange.accepted() {
            Ok(()) => {
                self.authenticated = true;
                ClientEvent::Authenticated(reply)
            }
            Err(error) => {
                self.leave();
                ClientEvent::AuthenticationFailed { failure: error.into(), reply }
            }
        }
    }
}
