//! The sending side: one connection, from its first octet to QUIT.

pub(crate) mod auth;
mod commands;
mod connection;
mod conversation;
mod drive;
mod opening;
pub(crate) mod outbound;
pub(crate) mod outcome;
pub(crate) mod pool;
mod reuse;
pub(crate) mod target;

pub use connection::{Connection, OpenError};
pub use outbound::Outbound;
pub use outcome::{Decision, Delivery, Failure, MessageError, OutcomeBuf, Spoken};
pub use pool::PoolLimits;
pub use target::{Manner, Target};
