//! The receiving side: a listener, a handler for each connection, a cap on connections and a
//! graceful end.
//!
//! A [`Service`] makes one [`Handler`] for each connection. Every method of a handler has an answer
//! by default, but those without which there is no mail server: `recipient`, `body` and
//! `end_of_body`. A handler may take its time: nothing more is read from its client meanwhile,
//! other connections go on.

mod connection;
mod handler;
mod inbound;
mod listener;

pub use connection::handle;
pub use handler::{Handler, Service, Session};
pub use inbound::Inbound;
pub use listener::{scram, serve};
