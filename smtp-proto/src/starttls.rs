//! The STARTTLS hand-over (RFC 3207), from the 220 to the first command inside TLS, for both roles.
//!
//! | what happens | rule | where |
//! |---|---|---|
//! | the client sends STARTTLS | alone in its group, and only after an EHLO reply without a fault | `client/transition.rs`, `on_ehlo` |
//! | the server grants it | the 220 is written only if nothing came after the command | `server/transition.rs`, `on_tls_granted` |
//! | the 220 goes out | all output is sent before the handshake begins | [`before_handshake`] |
//! | the client looks | octets between the 220 and the handshake are an attack, and never parsed | [`before_handshake`], `Client::poll` |
//! | the handshake | the driver runs it and judges the certificate inside it | `smtp-tokio-adapter`, `handshake.rs` |
//! | TLS is up | everything known from before is forgotten | [`HandOver::hand_over`] |
//! | TLS is not up | the rules say whether there may be clear text | `client/tls_failure.rs`, `fallback::after` |

use std::sync::Arc;
use std::time::Instant;

use crate::channel::TlsInfo;
use crate::error::ApiMisuse;

/// What a driver does when the machine waits for a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Sends: STARTTLS, or the 220 to it, must not go out inside TLS.
    Send,
    /// Takes in what can be read without waiting.
    Look,
    /// Runs the handshake.
    Handshake,
}

/// What comes before the handshake. A server is silent between its 220 and the ClientHello, so a
/// client looks once more for octets that a third party has put there. What a server can read then
/// is the ClientHello.
pub(crate) const fn before_handshake(is_sent: bool, looked: bool, peer_is_silent: bool) -> Before {
    match (is_sent, peer_is_silent && !looked) {
        (false, _) => Before::Send,
        (true, true) => Before::Look,
        (true, false) => Before::Handshake,
    }
}

/// A machine that goes on inside TLS.
pub(crate) trait HandOver: Sized {
    /// Whether the 220 was read, or written.
    fn awaits_handshake(&self) -> bool;

    /// The machine that the same peer would meet if it had just connected with TLS. Only the
    /// configuration, and the rules about TLS, come from the old one.
    fn renewed(&self, tls: Arc<TlsInfo>, now: Instant) -> Self;

    /// The handshake succeeded. RFC 3207, section 4.2: everything known from before is forgotten.
    fn hand_over(&mut self, tls: Arc<TlsInfo>, now: Instant) -> Result<(), ApiMisuse> {
        if !self.awaits_handshake() {
            return Err(ApiMisuse::NoHandshake);
        }
        *self = self.renewed(tls, now);
        Ok(())
    }
}
