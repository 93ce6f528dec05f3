//! Decides what follows a failure of TLS, clear text included.
//!
//! [`TlsRules`] is made before dialling, by whatever policy the caller has. [`after`] turns a rule
//! and a [`TlsFailure`] into what to do next. It is pure, and no other function answers a failure
//! with clear text: [`Client`](crate::client::Client) asks it before it sends MAIL on a channel
//! without TLS, and [`Route`](crate::route::Route) dials again without TLS only if it allowed that.
//! The other places that know of clear text can only withhold it: `Route` has each address of a
//! host tried for TLS first. Whether TLS is tried at all is in the rules: [`TlsRules::Never`] comes
//! from a policy that wants none, and from the caller's memory of a peer whose TLS is broken.
//!
//! ```
//! use smtp_proto::channel::Channel;
//! use smtp_proto::fallback::{Fallback, TlsFailure, TlsRules, after};
//!
//! let opportunistic = TlsRules::OPPORTUNISTIC.without_plain_hello();
//! let required = TlsRules::REQUIRED.without_plain_hello();
//! assert_eq!(after(opportunistic, &Channel::Plain, TlsFailure::NotOffered), Fallback::ContinuePlaintext);
//! assert_eq!(after(opportunistic, &Channel::Plain, TlsFailure::Handshake), Fallback::ReconnectPlaintext);
//! assert_eq!(after(required, &Channel::Plain, TlsFailure::Handshake), Fallback::Forbidden);
//! assert_eq!(
//!     after(TlsRules::REQUIRED, &Channel::Plain, TlsFailure::Handshake),
//!     Fallback::RetryPlainHello,
//! );
//! ```

use std::fmt;

use crate::channel::Channel;

/// Whether TLS is tried, and what may happen when it cannot be had; a value, made before dialling.
/// Exhaustive on purpose: new rules must break every match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsRules {
    /// Clear text: STARTTLS is not even asked for.
    Never,
    /// TLS where it can be had.
    Opportunistic {
        /// When clear text may follow a STARTTLS that was refused for now (4yz).
        refused: ClearText,
        /// When clear text may follow TLS that broke: bytes after the 220, a failed or stalled
        /// handshake, EHLO refused inside TLS, a lost session.
        broken: ClearText,
        /// When clear text may follow a certificate that is not acceptable.
        untrusted: ClearText,
        /// As for [`Required`](Self::Required::retry_plain_hello).
        retry_plain_hello: bool,
        /// Whether another address of the host is still to be tried for TLS, so that clear text
        /// waits: where it could follow on the same connection, the answer is
        /// [`Fallback::ReconnectPlaintext`], which the driver puts after the other addresses. The
        /// driver sets it for each connection, as
        /// [`Next::Dial`](crate::route::Next::Dial::tls_elsewhere) says.
        tls_elsewhere: bool,
    },
    /// TLS or nothing.
    Required {
        /// Whether a failed handshake is repeated once, on a new connection and with the plainest
        /// ClientHello, before anything else follows. The driver sets it to false for that second
        /// connection, and where it remembers that the peer needs the plainest ClientHello.
        retry_plain_hello: bool,
    },
}

impl TlsRules {
    /// TLS where it can be had, else clear text at once.
    pub const OPPORTUNISTIC: Self = Self::Opportunistic {
        refused: ClearText::Now,
        broken: ClearText::Now,
        untrusted: ClearText::Now,
        retry_plain_hello: true,
        tls_elsewhere: false,
    };
    /// TLS or nothing; a failed handshake is repeated.
    pub const REQUIRED: Self = Self::Required { retry_plain_hello: true };

    /// The same rules for a connection after which a failed handshake is not repeated: see
    /// [`retry_plain_hello`](Self::Required::retry_plain_hello).
    #[must_use]
    pub const fn without_plain_hello(mut self) -> Self {
        match &mut self {
            Self::Never => {}
            Self::Opportunistic { retry_plain_hello, .. }
            | Self::Required { retry_plain_hello } => {
                *retry_plain_hello = false;
            }
        }
        self
    }

    /// The same rules for a connection while another address of the host is still to be tried for
    /// TLS, or not: see [`tls_elsewhere`](Self::Opportunistic::tls_elsewhere).
    #[must_use]
    pub const fn with_tls_elsewhere(mut self, is_left: bool) -> Self {
        match &mut self {
            Self::Opportunistic { tls_elsewhere, .. } => *tls_elsewhere = is_left,
            Self::Never | Self::Required { .. } => {}
        }
        self
    }
}

/// When clear text may take the place of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClearText {
    /// At once.
    Now,
    /// On a later run of the queue, in the caller's hands.
    Later,
    /// Not at all.
    Never,
}

/// Why there is no TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsFailure {
    /// Not tried: [`TlsRules::Never`].
    NotWanted,
    /// EHLO does not list STARTTLS, or EHLO is not known.
    NotOffered,
    /// STARTTLS was answered with 4yz or 5yz.
    Refused {
        /// 4yz
        transient: bool,
    },
    /// STARTTLS was answered with 3yz, or with a 2yz other than 220: the server may wait for a
    /// handshake or for something else, so nothing more can be said on this connection.
    UnexpectedReply,
    /// Plaintext after the 220: a third party may be writing into the conversation.
    Injected,
    /// An alert, a time-out or an EOF before the EHLO inside TLS was answered.
    Handshake,
    /// The certificate was judged and does not count.
    Untrusted,
    /// EHLO inside TLS was refused.
    HelloInside,
    /// The session broke later.
    Lost {
        /// Whether the final dot had been sent: the server may have the message.
        end_of_data_sent: bool,
    },
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotWanted => "TLS is not wanted",
            Self::NotOffered => "STARTTLS is not offered",
            Self::Refused { transient: true } => "STARTTLS was refused for now",
            Self::Refused { transient: false } => "STARTTLS was refused",
            Self::UnexpectedReply => "STARTTLS was neither granted with 220 nor refused",
            Self::Injected => "plaintext came after the 220 to STARTTLS",
            Self::Handshake => "the TLS handshake failed",
            Self::Untrusted => "the certificate does not count",
            Self::HelloInside => "EHLO was refused inside TLS",
            Self::Lost { .. } => "the TLS session was lost",
        })
    }
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// Drop this connection; dial the same address and port again, once, and run the handshake with
    /// the plainest ClientHello: no post-quantum key share, no resumption, no client certificate
    /// that was only asked for. The checks are the same, and so is the least protection.
    RetryPlainHello,
    /// Go on in clear text on this connection.
    ContinuePlaintext,
    /// Drop this connection; dial the same address and port again and speak clear text, after the
    /// host's other addresses were tried for TLS. After a broken handshake both ends are in an
    /// unknown state, so never on the same connection.
    ReconnectPlaintext,
    /// Nothing more now; clear text is allowed on a later run of the queue.
    PlaintextNextRun,
    /// No clear text: this host is done, try the next.
    Forbidden,
}

/// Decides. The only function in the workspace that may answer "plaintext".
///
/// "When TLS is required we must never, ever, end up in plaintext": [`TlsRules::Required`] and
/// [`Channel::Implicit`] are answered first, whatever else holds.
///
/// A failed handshake is repeated with the plainest ClientHello, if
/// [`retry_plain_hello`](TlsRules::Required::retry_plain_hello) allows it: before clear text, and
/// before a host is given up where TLS is required. For a handshake that has failed before there
/// was implicit TLS, ask with [`TlsRules::REQUIRED`] and [`Channel::Plain`].
///
/// While another address of the host is to be tried for TLS
/// ([`tls_elsewhere`](TlsRules::Opportunistic::tls_elsewhere)), no connection goes on in clear
/// text.
pub const fn after(rules: TlsRules, channel: &Channel, failure: TlsFailure) -> Fallback {
    match (rules, failure) {
        // S10b: not plaintext, so allowed under all rules that try TLS.
        (
            TlsRules::Opportunistic { retry_plain_hello: true, .. }
            | TlsRules::Required { retry_plain_hello: true },
            TlsFailure::Handshake,
        ) => {
            return Fallback::RetryPlainHello;
        }
        (TlsRules::Never | TlsRules::Opportunistic { .. } | TlsRules::Required { .. }, _) => {}
    }
    match (rules, channel) {
        (TlsRules::Required { .. }, _) | (_, Channel::Implicit(_)) => Fallback::Forbidden,
        (TlsRules::Never, Channel::Plain) => Fallback::ContinuePlaintext,
        // STARTTLS was never wanted, so this is not our conversation.
        (TlsRules::Never, Channel::StartTls(_)) => Fallback::Forbidden,
        (
            TlsRules::Opportunistic { refused, broken, untrusted, tls_elsewhere, .. },
            Channel::Plain,
        ) => match failure {
            // Unreachable: `NotWanted` is reported only under `Never`.
            TlsFailure::NotWanted => Fallback::Forbidden,
            TlsFailure::NotOffered | TlsFailure::Refused { transient: false } => {
                same_connection(ClearText::Now, tls_elsewhere)
            }
            TlsFailure::Refused { transient: true } => same_connection(refused, tls_elsewhere),
            // S9: no setting governs it, as none governs a refusal for good.
            TlsFailure::UnexpectedReply => new_connection(ClearText::Now),
            TlsFailure::Injected | TlsFailure::Handshake => new_connection(broken),
            TlsFailure::Untrusted => new_connection(untrusted),
            // Neither can happen before TLS is up.
            TlsFailure::HelloInside | TlsFailure::Lost { .. } => Fallback::Forbidden,
        },
        (TlsRules::Opportunistic { broken, untrusted, .. }, Channel::StartTls(_)) => {
            match failure {
                TlsFailure::Handshake | TlsFailure::HelloInside => new_connection(broken),
                // A certificate is judged again when a session is resumed.
                TlsFailure::Untrusted => new_connection(untrusted),
                TlsFailure::Lost { end_of_data_sent: false } => new_connection(broken),
                // The server may have the message: sending it again at once would duplicate it.
                TlsFailure::Lost { end_of_data_sent: true } => Fallback::Forbidden,
                // Decided before TLS came up.
                TlsFailure::NotWanted
                | TlsFailure::NotOffered
                | TlsFailure::Refused { .. }
                | TlsFailure::UnexpectedReply
                | TlsFailure::Injected => Fallback::Forbidden,
            }
        }
    }
}

/// S4b: no address of a host gets clear text while another one may have TLS.
const fn same_connection(when: ClearText, tls_elsewhere: bool) -> Fallback {
    match when {
        ClearText::Now if tls_elsewhere => Fallback::ReconnectPlaintext,
        ClearText::Now => Fallback::ContinuePlaintext,
        ClearText::Later => Fallback::PlaintextNextRun,
        ClearText::Never => Fallback::Forbidden,
    }
}

const fn new_connection(when: ClearText) -> Fallback {
    match when {
        ClearText::Now => Fallback::ReconnectPlaintext,
        ClearText::Later => Fallback::PlaintextNextRun,
        ClearText::Never => Fallback::Forbidden,
    }
}
