//! What senders share through a store: in memory, on disk, and on a Redis server.

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "redis")]
mod connections;
mod counts;
mod lost;
#[cfg(feature = "redis")]
mod odd;
mod places;
#[cfg(feature = "redis")]
mod processes;
mod records;
mod slow;
