//! The functions of `metering.rs` without the feature `metrics`: nothing is counted.

use smtp_proto::channel::TlsInfo;
use smtp_tls_policy::Reason;
use smtp_tls_policy::plan::Plan;

/// The side of a connection on which a handshake ran.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    Client,
    Server,
}

/// What a connection speaks after the decision.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Channel {
    Tls,
    Clear,
    Neither,
}

/// Where the connection of a delivery comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    Opened,
    Reused,
    Replaced,
}

/// The limit of a pool by which a delivery is deferred.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PoolLimit {
    Waiting,
    Patience,
}

/// What a pool holds at a time.
#[expect(dead_code, reason = "nothing counts it")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolCounts {
    pub(crate) open: usize,
    pub(crate) idle: usize,
    pub(crate) waiting: usize,
}

pub(crate) fn decision(_: &Plan, _: Channel, _: Reason) {}

pub(crate) fn handshake(_: Role, _: &TlsInfo) {}

pub(crate) fn handshake_failed(_: Role) {}

pub(crate) async fn lookup<T>(_: &'static str, asking: impl Future<Output = T>) -> T {
    asking.await
}

pub(crate) fn pool_changed(_: PoolCounts, _: PoolCounts) {}

pub(crate) fn pool_turn(_: Turn) {}

pub(crate) fn pool_refused(_: PoolLimit) {}

/// A connection that a listener serves.
pub(crate) struct Served;

impl Served {
    pub(crate) fn begin() -> Self {
        Self
    }
}
