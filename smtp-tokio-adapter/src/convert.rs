//! Converts plans, failures and statuses between the two crates. Every match is exhaustive, so that
//! a new case breaks it.

use smtp_proto::fallback::{ClearText, TlsFailure, TlsRules};
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::plan::{Attempt, Plan};
use smtp_tls_policy::rules::Floor;
use smtp_tls_policy::{Reason, Status};

/// The rules that a plan makes for the core.
///
/// ```
/// use smtp_proto::fallback::TlsRules;
/// use smtp_tls_policy::{Host, Namespace};
/// use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
/// use smtp_tls_policy::rules::{OutboundConnector, Posture};
///
/// let connector = OutboundConnector::new("partner", vec![Namespace::Default], Posture::Verified);
/// let (domain, host) = (Host::parse("test.example")?, Host::parse("mx.test.example")?);
/// let plan = plan(&Facts::new(&connector, &domain, &host, HostOrigin::Mx))?;
/// assert_eq!(smtp_tokio_adapter::tls_rules(&plan), TlsRules::REQUIRED);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn tls_rules(plan: &Plan) -> TlsRules {
    let of = |it| match it {
        smtp_tls_policy::rules::Yield::Now => ClearText::Now,
        smtp_tls_policy::rules::Yield::Later => ClearText::Later,
        smtp_tls_policy::rules::Yield::Never => ClearText::Never,
    };
    match (plan.attempt(), plan.floor()) {
        (Attempt::Clear, _) => TlsRules::Never,
        (Attempt::StartTls, Floor::Plaintext) => {
            let yields = plan.yields();
            TlsRules::Opportunistic {
                refused: of(yields.refused),
                broken: of(yields.broken),
                untrusted: of(yields.untrusted),
                retry_plain_hello: true,
                tls_elsewhere: false,
            }
        }
        (Attempt::StartTls, Floor::Encrypted | Floor::Authenticated) | (Attempt::Implicit, _) => {
            TlsRules::REQUIRED
        }
    }
}

/// The reason code of a failure. `timed_out`: whether a handshake ended by its deadline.
pub(crate) fn reason(failure: TlsFailure, timed_out: bool) -> Reason {
    match failure {
        TlsFailure::NotWanted => Reason::TlsNotWanted,
        TlsFailure::NotOffered => Reason::StarttlsNotOffered,
        TlsFailure::Refused { .. } | TlsFailure::UnexpectedReply => Reason::StarttlsRefused,
        TlsFailure::Injected => Reason::PlaintextInjected,
        TlsFailure::Handshake if timed_out => Reason::HandshakeTimeout,
        // A certificate that does not count has a verdict, which says more.
        TlsFailure::Handshake | TlsFailure::Untrusted => Reason::HandshakeFailed,
        TlsFailure::HelloInside => Reason::TlsHelloFailed,
        TlsFailure::Lost { .. } => Reason::TlsLost,
    }
}

/// A policy's status in the core's words.
pub(crate) fn status(status: Status) -> EnhancedCode {
    EnhancedCode::new(status.class, status.subject, status.detail)
}
