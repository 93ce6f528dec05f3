//! The sending side: one connection, from its first octet to QUIT.

pub(crate) mod auth;
mod commands;
pub(crate) mod connection;
mod conversation;
mod drive;
mod opening;
pub(crate) mod outbound;
pub(crate) mod outcome;
pub(crate) mod reuse;
pub(crate) mod target;

pub use connection::{Connection, OpenError};
pub use outbound::Outbound;
pub use outcome::{Decision, Delivery, Failure, OutcomeBuf, Spoken};
pub use target::Target;
