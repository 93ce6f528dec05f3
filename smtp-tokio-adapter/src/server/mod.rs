//! The receiving side: a listener, a handler for each connection, a limit of connections and a
//! graceful shutdown.
//!
//! [`serve`] makes one [`Handler`] for each connection. Every method of a handler has a
//! default, except `recipient`, `body` and `end_of_body`. [`Collect`] is the handler of programs
//! that want whole messages.

mod admission;
mod connection;
mod handler;
mod inbound;
mod inbox;
mod listener;
#[cfg(feature = "proxy-protocol")]
mod proxy;

pub use admission::Admission;
pub use connection::handle;
pub use handler::{Handler, Session};
pub use inbound::Inbound;
pub use inbox::{Arrival, Collect, Inbox};
pub use listener::{scram, serve};
#[cfg(feature = "proxy-protocol")]
pub use proxy::{
    DEFAULT_MAX_PROXY_HEADER, DEFAULT_PROXY_TIMEOUT, NetworkError, ProxyHeaderError, ProxyProtocol,
};
