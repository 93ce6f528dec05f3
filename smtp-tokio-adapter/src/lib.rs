//! Tokio sockets and rustls sessions for `smtp-proto` and `smtp-tls-policy`.
//!
//! - [`Sender`] sends a message to recipients of any domains, by what the DNS, MTA-STS, the
//!   connectors and the message say. [`lookups::Lookups`] answers its questions; [`lookups::Zone`]
//!   does so in memory.
//! - [`Outbound`] opens one connection as a client: [`Connection`].
//! - [`serve()`] accepts connections and passes their events to a [`Handler`]; [`Session::stamp`]
//!   is the Received field of a message that arrives.
//! - AUTH: [`Target::credentials`] and [`Sender::with_credentials`] in the client,
//!   [`Handler::authenticate`] in the server.
//! - [`Report`] has one outcome for each recipient, and what a TLS report counts.
//!
//! Everything that decides is in the other two crates. This one moves octets, keeps time, and
//! converts the values of one crate to those of the other. Each connection is a `tracing` span that
//! carries the decision about TLS and its reason. At level TRACE, events with the target
//! `smtp_tokio_adapter::conversation` are the lines that the client and the server say, without
//! credentials and without the messages.
#![doc = ""]
#![doc = include_str!("../REFERENCE.md")]

mod aside;
mod binding;
mod client;
mod convert;
mod crl_warnings;
mod dialling;
mod drive;
mod handshake;
#[cfg(any(feature = "crl-fetch", feature = "https"))]
mod http;
mod identities;
pub mod lookups;
#[cfg_attr(not(feature = "metrics"), path = "metering_off.rs")]
mod metering;
mod pem_files;
#[cfg(any(feature = "crl-fetch", feature = "crlite"))]
pub mod revocation;
#[cfg(feature = "native-certs")]
mod roots;
mod sender;
mod server;
#[cfg(all(unix, feature = "settings"))]
mod setup;
pub mod store;
#[cfg(feature = "test-kit")]
pub mod test_kit;
pub mod tls_reports;
mod wire;

pub use client::{
    Connection, Decision, Delivery, Failure, OpenError, Outbound, OutcomeBuf, Spoken, Target,
};
pub use convert::tls_rules;
pub use identities::{IdentityFiles, ServerCertificates};
#[cfg(feature = "metrics")]
pub use metering::describe_metrics;
pub use pem_files::{
    CertificateFileError, MAX_IDENTITY_FILE, MAX_TRUST_FILE, add_lists_file, add_roots_file,
};
#[cfg(feature = "native-certs")]
pub use roots::native_roots;
pub use sender::{
    DialAttempt, Mail, Message, PoolLimits, RecipientOutcome, Report, Sender, measure,
};
pub use server::{
    Admission, Arrival, Collect, Handler, Inbound, Inbox, Session, handle, scram, serve,
};
#[cfg(feature = "proxy-protocol")]
pub use server::{
    DEFAULT_MAX_PROXY_HEADER, DEFAULT_PROXY_TIMEOUT, NetworkError, ProxyHeaderError, ProxyProtocol,
};
#[cfg(all(unix, feature = "settings"))]
pub use setup::Setup;
pub use wire::Io;

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
