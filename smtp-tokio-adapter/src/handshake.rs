//! The TLS handshake of either role: its time limit, and what it has shown.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use pki_types::CertificateDer;
use rustls::ConnectionCommon;
use smtp_proto::channel::{Peer, TlsInfo};
use smtp_tls_policy::tls::session_names;

use crate::binding::bindings;
use crate::metering;
use crate::metering::Role;

/// Why there is no TLS session.
pub(crate) struct Broken {
    pub(crate) error: io::Error,
    /// The deadline has ended the handshake.
    pub(crate) timed_out: bool,
}

/// Runs a handshake, at most until the deadline.
pub(crate) async fn shake<T>(
    role: Role,
    shaking: impl Future<Output = io::Result<T>>,
    deadline: Option<Instant>,
) -> Result<T, Broken> {
    let broken = |error, timed_out| Broken { error, timed_out };
    let shaken = match deadline {
        None => shaking.await.map_err(|error| broken(error, false)),
        Some(deadline) => match tokio::time::timeout_at(deadline.into(), shaking).await {
            Ok(shaken) => shaken.map_err(|error| broken(error, false)),
            Err(_) => Err(broken(io::ErrorKind::TimedOut.into(), true)),
        },
    };
    shaken.inspect_err(|_| metering::handshake_failed(role))
}

/// What the handshake has shown; `None` for a session that rustls cannot name. `certificate` is the
/// server's.
pub(crate) fn shown<D>(
    role: Role,
    peer: Peer,
    session: &ConnectionCommon<D>,
    certificate: Option<&CertificateDer<'_>>,
) -> Option<Arc<TlsInfo>> {
    let names = session_names(session)?;
    let mut tls = TlsInfo::new(peer, names.version, names.cipher);
    (tls.group, tls.bindings) = (names.group, bindings(session, certificate));
    let tls = Arc::new(tls);
    metering::handshake(role, &tls);
    Some(tls)
}
