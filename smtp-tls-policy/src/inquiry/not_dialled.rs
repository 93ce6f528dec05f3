//! Why a host, or a whole domain, is not dialled.

use crate::plan::refusal::Refusal;
use crate::tlsrpt::{ReportedSession, Reporting};

/// Why a host, or a whole domain, is not dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{refusal}")]
#[non_exhaustive]
pub struct NotDialled {
    /// The reason, and the status of the recipients unless another host does better. If it
    /// [ends the domain](Refusal::ends_domain), no other host is dialled either.
    pub refusal: Refusal,
    /// What a TLS report counts (RFC 8460); `None` if nothing is reported.
    pub session: Option<ReportedSession>,
}

impl NotDialled {
    pub(super) fn new(refusal: Refusal, reporting: &Reporting) -> Self {
        let session = reporting.refusal(refusal.reason());
        Self { refusal, session }
    }
}
