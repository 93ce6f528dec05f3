//! Tokio sockets and rustls sessions for `smtp-proto` and `smtp-tls-policy`.
//!
//! - [`Sender`] delivers by what the DNS, MTA-STS, the connector and the message say; the caller answers its [`lookups::Lookups`].
//! - [`deliver()`] walks a route until every recipient has its final word; [`Connection`] is one connection of it.
//! - [`serve()`] accepts connections and puts their events before a [`Handler`].
//! - AUTH: [`Target::credentials`] and [`Mail::credentials`] in the client, [`Handler::authenticate`] in the server.
//! - [`Connection::command`], [`Connection::xclient`] and [`Connection::send_uri`] are what else a connection can say, and
//!   [`Handler::other`], [`Handler::xclient`] and [`Handler::fetch`] what answers it.
//! - [`Session::stamp`] is the Received field of a message that comes, [`Report::sessions`] what a TLS report counts.
//! - [`ReuseKey`] tells which messages may share a connection, and [`lookups::Zone`] is a DNS and a web in memory.
//!
//! Everything that decides is in the other two crates; this one moves bytes, keeps time, and carries the words of one
//! crate to the other. Every connection is a `tracing` span, with the decision about TLS and its reason.

mod binding;
mod client;
mod convert;
pub mod lookups;
#[cfg(feature = "crl-fetch")]
pub mod revocation;
#[cfg(feature = "native-certs")]
mod roots;
mod sender;
mod server;
mod wire;

pub use client::{
    Connection, Decision, Delivery, Failure, MessageError, OpenError, Outbound, OutcomeBuf,
    ReuseKey, Spoken, Target,
};
pub use convert::tls_rules;
#[cfg(feature = "native-certs")]
pub use roots::{NativeRootsError, native_roots};
pub use sender::{
    Candidate, DialAttempt, Hosts, Mail, Message, OtherDomain, RecipientOutcome, Report, Sender,
    Skip, measure,
};
pub use server::{Handler, Inbound, Service, Session, handle, scram, serve};
pub use wire::Io;

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
