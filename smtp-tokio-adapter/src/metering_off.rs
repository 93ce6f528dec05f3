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

pub(crate) fn decision(_: &Plan, _: Channel, _: Reason) {}

pub(crate) fn handshake(_: Role, _: &TlsInfo) {}

pub(crate) fn handshake_failed(_: Role) {}

pub(crate) async fn lookup<T>(_: &'static str, asking: impl Future<Output = T>) -> T {
    asking.await
}

/// A connection that a listener serves.
pub(crate) struct Served;

impl Served {
    pub(crate) fn begin() -> Self {
        Self
    }
}
