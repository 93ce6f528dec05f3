//! The second table: peculiarities of clients and servers in columns, peers in rows, and in each
//! cell what the peer made of it. Nothing in it is good or bad, except for the rows of this
//! library: each of those cells must be what is decided.

mod authenticating;
pub(crate) mod odd_server;
pub(crate) mod probes;
pub(crate) mod receivers;
pub(crate) mod senders;
pub(crate) mod table;
