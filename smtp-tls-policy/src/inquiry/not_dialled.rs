//! Why a host, or a whole domain, is not dialled.

use crate::plan::refusal::Refusal;
use crate::reason::Status;
use crate::tlsrpt::{ReportedSession, Reporting};

/// A lookup failed for now (RFC 3463, section 3.5).
const LOOKUP_FAILED: Status = Status::new(4, 4, 3);

/// Why a host, or a whole domain, is not dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", match refusal {
    // It begins with its status.
    Some(refusal) => refusal.to_string(),
    None => format!("{status}: the lookup of the host's addresses failed"),
})]
#[non_exhaustive]
pub struct NotDialled {
    /// The status of the recipients, unless another host does better: 4.4.3 for a failed lookup,
    /// otherwise the status of the refusal.
    pub status: Status,
    /// The refusal of the policy; `None` if only the lookup of the addresses failed. If it
    /// [ends the domain](Refusal::ends_domain), no other host is dialled either.
    pub refusal: Option<Refusal>,
    /// What a TLS report counts (RFC 8460); `None` if nothing is reported.
    pub session: Option<ReportedSession>,
}

impl NotDialled {
    pub(super) fn refused(refusal: Refusal, reporting: &Reporting) -> Self {
        let session = reporting.refusal(refusal.reason());
        Self { status: refusal.status(), refusal: Some(refusal), session }
    }

    /// The addresses could not be looked up; with the refusal if it is known that the answer should
    /// have been signed.
    pub(super) fn unreachable(refusal: Option<Refusal>, reporting: &Reporting) -> Self {
        let session = refusal.as_ref().and_then(|it| reporting.refusal(it.reason()));
        Self { status: LOOKUP_FAILED, refusal, session }
    }
}
