//! The limits of a connector, on providers and sessions.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{AlertDescription, CommonState, Error, PeerIncompatible};

use crate::judge::verdict::Verdict;
use crate::pki::defect::{Defect, Detail, Place};
use crate::plan::Plan;
use crate::reason::Reason;
use crate::rules::tls_limits::{MinTlsVersion, TlsLimits};
use crate::tls::{TlsConfigError, session_names};

/// The provider without the suites and groups that these limits exclude; the same one if nothing is
/// limited. [`ClientTls`](super::ClientTls) does this for each plan by itself; give a listener the
/// limits that all its connectors share
/// ([`InboundConnectors::tls_limits`](crate::rules::InboundConnectors::tls_limits)).
///
/// ```
/// use std::sync::Arc;
/// use smtp_tls_policy::rules::TlsLimits;
/// use smtp_tls_policy::tls::limited;
///
/// let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
/// let limited = limited(&provider, &TlsLimits::post_quantum())?;
/// assert_eq!(limited.kx_groups[0].name(), rustls::NamedGroup::X25519MLKEM768);
/// assert!(limited.cipher_suites.iter().all(|suite| suite.tls13().is_some()));
/// # Ok::<(), smtp_tls_policy::tls::TlsConfigError>(())
/// ```
///
/// # Errors
///
/// [`TlsConfigError::LimitsNotMet`] if the provider has nothing that the limits allow, as ring has
/// no post-quantum group.
pub fn limited(
    provider: &Arc<CryptoProvider>,
    limits: &TlsLimits,
) -> Result<Arc<CryptoProvider>, TlsConfigError> {
    if limits.is_unlimited() {
        return Ok(Arc::clone(provider));
    }
    let mut limited = CryptoProvider::clone(provider);
    if !limits.groups.is_empty() {
        limited.kx_groups.retain(|group| {
            let name = group.name();
            limits.groups.iter().any(|allowed| name.as_str() == Some(allowed.as_str()))
        });
    }
    if limits.lowest() == MinTlsVersion::Tls13 {
        limited.cipher_suites.retain(|suite| suite.tls13().is_some());
    }
    match limited.kx_groups.is_empty() || limited.cipher_suites.is_empty() {
        true => Err(TlsConfigError::LimitsNotMet(limits.clone())),
        false => Ok(Arc::new(limited)),
    }
}

/// The verdict, with a finding more if the session breaks the limits.
pub(super) fn judge_limits(plan: &Plan, session: &CommonState, verdict: Verdict) -> Verdict {
    let names = session_names(session);
    match names.and_then(|names| plan.limits().refusal(names.version, names.group)) {
        Some(reason) => verdict.beyond_limits(Defect::at(reason, Place::Session)),
        None => verdict,
    }
}

/// The verdict on a server that ended the handshake because it has nothing that the limits of the
/// plan allow; `None` if the plan has no limits, or the handshake failed for anything else. The
/// error is one that was wrapped into an [`std::io::Error`].
pub fn limits_verdict_of_io(plan: &Plan, error: &std::io::Error) -> Option<Verdict> {
    let limits = plan.limits();
    let requires_tls13 = limits.lowest() == MinTlsVersion::Tls13;
    let (reason, what) = match error.get_ref()?.downcast_ref()? {
        // RFC 8446, sections 4.1.1 and 4.2.1: what a server says that finds nothing in common.
        Error::AlertReceived(AlertDescription::ProtocolVersion) if requires_tls13 => {
            (Reason::TlsVersionNotAllowed, "the peer sent the alert protocol_version")
        }
        Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig)
            if requires_tls13 =>
        {
            (Reason::TlsVersionNotAllowed, "the peer answered with TLS 1.2")
        }
        Error::AlertReceived(
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity,
        ) if !limits.groups.is_empty() => {
            (Reason::TlsGroupNotAllowed, "the peer sent the alert handshake_failure")
        }
        _ => return None,
    };
    let defect = Defect::at(reason, Place::Session).with(Detail::What(what));
    Some(Verdict::new(Vec::new()).beyond_limits(defect))
}
