//! Sans-IO SMTP: bytes in, bytes out; no sockets, no clock, no runtime, no TLS library.
//!
//! Two machines on one set of types: [`client::Client`] and [`server::Server`]. The caller owns the
//! buffers; events borrow the input. [`route::Route`] leads from one connection to the next.
//! [`fallback::after`] is the only function that answers a failure of TLS with clear text.
//!
//! ```text
//!          input, now                                 recipient statuses
//! socket ─────────────> poll ──> Event | Wait    Route <──────────────── driver
//!        <─────────────       output                └─> Prepare | Dial | Done
//! ```
//!
//! | what | where |
//! |---|---|
//! | what a server announces and takes | [`server::ServerConfig`] |
//! | what a server asks its caller | [`server::ServerEvent`] |
//! | what a client sends | [`client::Envelope`]; of what a relay has read: [`client::Envelope::relaying`] |
//! | AUTH, in both roles, and mechanisms of one's own | [`sasl`] |
//! | commands between two transactions, XCLIENT, BURL | [`client::Client::command`], [`wire::command`] |
//! | which host next, and the final status of each recipient | [`route`] |
//! | the Received field | [`stamp`] |
//! | time limits | [`timeouts`] |
//!
//! The driver loop is the same for both, whatever moves the bytes. [`driver::Driver`] is this loop
//! without its I/O:
//!
//! 1. Call `poll` with everything that has been read and not yet been consumed.
//! 2. A [`Step::Event`]: handle it. Then drop `consumed` octets from the front of the input, and
//!    poll again.
//! 3. A [`Step::Wait`]: drop the octets, send the output, then do what [`Want`] says, at most until
//!    `deadline`.
//! 4. At the end of the input, poll until it waits, then call `handle_eof`.
//! 5. After an error send the output (a 421 may be in it) and close.
//! 6. Wipe the buffers if they held credentials:
//!    [`has_handled_secrets`](driver::Machine::has_handled_secrets).
//!
//! Rules that hold everywhere: the trace of events is the same for any fragmentation of the bytes,
//! with and without PIPELINING; no input of a peer can panic, allocate without bound or cost more
//! than linear time; every limit is named and has its source; STARTTLS replaces the whole machine,
//! so there is no list of fields to forget; credentials are not used in clear text, and no password
//! is shown to a stranger, unless the caller has said so.
//!
#![doc = include_str!("../CONFORMANCE.md")]

pub mod channel;
pub mod client;
mod date;
pub mod driver;
pub mod error;
pub mod fallback;
pub mod route;
pub mod sasl;
mod secret;
pub mod server;
pub mod stamp;
mod starttls;
pub mod timeouts;
pub mod wire;

pub use date::Date;
pub use secret::Secret;

/// The protocol of a conversation. LMTP (RFC 2033) is SMTP to the host that delivers: LHLO, and one
/// reply to the message for each recipient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RFC 5321
    #[default]
    Smtp,
    /// RFC 2033. Never on port 25 (RFC 2033, section 5).
    Lmtp,
}

/// What one call of `poll` did: drop `consumed` octets from the front of the input, then act on
/// `step`.
///
/// The driver loop needs these two and no more, so this struct will never have another field: a
/// [`Machine`](driver::Machine) outside this crate can make one, and a driver can take it apart.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<E> {
    /// Octets of the input that are done with.
    pub consumed: usize,
    /// What comes next.
    pub step: Step<E>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<E> {
    /// Something happened, or something is wanted. Poll again when it is dealt with.
    Event(E),
    /// Nothing more can be done without the driver.
    Wait(Want),
}

/// What the driver must do before it polls again. In every case: send the output first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Read more input.
    Input,
    /// The caller acts next. A server needs [`respond`](server::Server::respond) or
    /// [`answer`](server::Server::answer); the driver reads nothing until then, which is the
    /// back-pressure. A client needs [`write_body`](client::Client::write_body) or
    /// [`end_body`](client::Client::end_body); if the server replies before, the driver polls with
    /// that reply first.
    Caller,
    /// Run the TLS handshake, then call `tls_established` or `tls_failed`. If bytes can be read
    /// before the handshake begins, poll once more with them: a client never lets them reach the
    /// handshake.
    Handshake,
}
