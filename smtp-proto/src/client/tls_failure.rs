//! How a handshake or a session ended, and what the rules say about it.

use std::sync::Arc;
use std::time::Instant;

use super::state::{Sent, State};
use super::{Client, ClientEvent};
use crate::channel::{Channel, TlsInfo};
use crate::error::{ApiMisuse, Error};
use crate::fallback::{Fallback, TlsFailure, after};
use crate::starttls::HandOver;
use crate::timeouts::Phase;
use crate::wire::reply::Reply;

impl HandOver for Client {
    fn awaits_handshake(&self) -> bool {
        self.state == State::Handshake
    }

    fn renewed(&self, tls: Arc<TlsInfo>, now: Instant) -> Self {
        let (config, channel) = (Arc::clone(&self.config), Channel::StartTls(tls));
        // The client speaks first: there is no second greeting.
        let due = Some(Sent::Ehlo);
        Self { due, ..Self::without_greeting(config, self.rules, channel, now) }
    }
}

impl Client {
    /// Asks the rules, and ends the conversation unless they let it go on.
    pub(super) fn no_tls<'i>(
        &mut self,
        failure: TlsFailure,
        reply: Option<Reply<'i>>,
    ) -> ClientEvent<'i> {
        let fallback = after(self.rules, &self.channel, failure);
        if fallback != Fallback::ContinuePlaintext {
            match failure {
                TlsFailure::NotOffered | TlsFailure::Refused { .. } | TlsFailure::HelloInside => {
                    self.leave()
                }
                _ => self.close(),
            }
        }
        ClientEvent::NoTls { failure, fallback, reply }
    }

    /// The handshake succeeded and the certificate counts. Everything known from before is
    /// forgotten: this value is replaced by a fresh one (RFC 3207, section 4.2).
    ///
    /// # Errors
    ///
    /// [`ApiMisuse::NoHandshake`] if no handshake was asked for.
    pub fn tls_established(&mut self, tls: Arc<TlsInfo>, now: Instant) -> Result<(), ApiMisuse> {
        self.hand_over(tls, now)
    }

    /// The handshake failed, or the certificate does not count ([`TlsFailure::Untrusted`]). The
    /// connection is over; the answer says whether there may be another in clear text.
    pub fn tls_failed(&mut self, failure: TlsFailure) -> Fallback {
        self.end();
        after(self.rules, &self.channel, failure)
    }

    /// The handshake succeeded, and the certificate does not count: the next [`poll`](Self::poll)
    /// says QUIT inside TLS, and nothing else (RFC 8689, section 4.2.1: "the client MUST issue a
    /// QUIT"). The answer says whether there may be another connection in clear text.
    ///
    /// # Errors
    ///
    /// [`ApiMisuse::NoHandshake`] if no handshake was asked for.
    pub fn tls_untrusted(
        &mut self,
        tls: Arc<TlsInfo>,
        now: Instant,
    ) -> Result<Fallback, ApiMisuse> {
        let fallback = after(self.rules, &self.channel, TlsFailure::Untrusted);
        self.tls_established(tls, now)?;
        self.due = None;
        self.leave();
        Ok(fallback)
    }

    /// The connection broke or stalled: whether TLS is at fault, and what the rules say about it.
    /// Call it after an I/O error, or after an [`Error`].
    ///
    /// Returns `None` if TLS was not in use, if the peer misbehaved or timed out after EHLO, or if
    /// the conversation had already ended: there is nothing to fall back from. Until the EHLO
    /// inside TLS is answered everything counts as a failed handshake: in TLS 1.3 a server's
    /// refusal of the client arrives only then.
    pub fn connection_lost(&mut self) -> Option<(TlsFailure, Fallback)> {
        let opening = self.capabilities.is_unread();
        let failure = match (&self.channel, self.state) {
            (
                Channel::Plain,
                State::Handshake
                | State::Over(Error::Timeout(Phase::Handshake) | Error::Eof(Phase::Handshake)),
            ) => TlsFailure::Handshake,
            (Channel::Plain, _)
            | (_, State::Leaving | State::Closing | State::Over(Error::Closed)) => return None,
            _ if opening => TlsFailure::Handshake,
            (_, State::Over(Error::Timeout(_))) => return None,
            (_, State::Over(error)) if error.is_misbehaviour() => return None,
            _ => TlsFailure::Lost { end_of_data_sent: self.is_in_doubt() },
        };
        self.end();
        Some((failure, after(self.rules, &self.channel, failure)))
    }
}
