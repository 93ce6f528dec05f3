//! How many connections a pool opens and keeps.

use std::time::Duration;

/// How many connections a [`Sender`](crate::Sender) opens at a time, and how long it keeps them. A
/// connection that is saying QUIT, for at most the time limit of QUIT, counts no more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolLimits {
    /// Most idle connections in all; the one that was idle for the longest time is closed first.
    /// With 0 each delivery opens and closes its own connection. 100 by default.
    pub idle: usize,
    /// Most connections for messages that may share one at a time, idle ones included. 10 by
    /// default.
    pub per_key: usize,
    /// Most connections to one host and port at a time, idle ones included. 20 by default, as many
    /// as Postfix opens to one destination.
    pub per_host: usize,
    /// Most connections at a time, idle ones included. 500 by default.
    pub total: usize,
    /// Most deliveries that wait for a connection; one more is deferred with 4.4.5. 10,000 by
    /// default.
    pub waiting: usize,
    /// How long a delivery waits for a connection before it is deferred with 4.4.5. 5 minutes by
    /// default.
    pub patience: Duration,
    /// How long a connection is kept without a message. 15 seconds by default: RFC 5321, section
    /// 4.5.3.2.7 lets a server close after 5 minutes, and many servers close earlier.
    pub idle_time: Duration,
    /// How long a connection is kept in all: what was proved of the peer when it was opened is
    /// proved again afterwards. 5 minutes by default.
    pub age: Duration,
    /// Most messages on one connection. A server that announces fewer (`MAILMAX`, RFC 9422, section
    /// 4.1) gets fewer. 100 by default.
    pub messages: u32,
    /// How long what was looked up for a domain serves its further messages, which then ask neither
    /// a resolver nor a policy host. 1 second by default; with zero each delivery asks. Only facts
    /// that led to a good delivery are used again, by messages of the same connector and with the
    /// same wishes about TLS (RFC 8689), and for at most as many domains as
    /// [`idle`](Self::idle) says. A longer time outlives the TTL of records.
    pub facts: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            idle: 100,
            per_key: 10,
            per_host: 20,
            total: 500,
            waiting: 10_000,
            patience: Duration::from_secs(5 * 60),
            idle_time: Duration::from_secs(15),
            age: Duration::from_secs(5 * 60),
            messages: 100,
            facts: Duration::from_secs(1),
        }
    }
}
