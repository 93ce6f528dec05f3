//! What is known of the MTA-STS policy of a next hop, seen from one of its hosts.

use crate::reason::Reason;

/// The MTA-STS policy that applies now, fetched or cached (RFC 8461), seen from one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StsPolicy {
    /// No record, no valid policy, or mode `none`.
    #[default]
    None,
    /// Mode `testing`: reported, and nothing else.
    Testing {
        /// Whether the host is in the policy's list.
        mx_matches: bool,
    },
    /// Mode `enforce`.
    Enforce {
        /// Whether the host is in the policy's list.
        mx_matches: bool,
    },
}

/// Why the last live look-up of the MTA-STS policy failed. Only reported, but for
/// [`Local`](Self::Local).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StsFailure {
    /// The policy could not be fetched.
    Fetch,
    /// The policy is malformed.
    Invalid,
    /// The certificate of the policy host is not valid.
    WebPki,
    /// A fault of this side. Without a cached policy no mail is sent until it is mended.
    Local,
}

impl From<StsFailure> for Reason {
    fn from(failure: StsFailure) -> Self {
        match failure {
            StsFailure::Fetch => Self::StsFetchFailed,
            StsFailure::Invalid => Self::StsPolicyInvalid,
            StsFailure::WebPki => Self::StsWebpkiInvalid,
            StsFailure::Local => Self::StsLocalFault,
        }
    }
}

/// What is known of the MTA-STS policy of the next hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StsFact {
    /// The policy that applies.
    pub policy: StsPolicy,
    /// Whether the last live look-up failed, while a cached policy applies or none does.
    pub failure: Option<StsFailure>,
}

impl StsFact {
    /// No policy, and nothing failed.
    pub const NONE: Self = Self::new(StsPolicy::None);

    /// A policy, and nothing failed.
    pub const fn new(policy: StsPolicy) -> Self {
        Self { policy, failure: None }
    }

    /// The same, with a live look-up that failed.
    pub const fn with_failure(self, failure: StsFailure) -> Self {
        Self { policy: self.policy, failure: Some(failure) }
    }
}
