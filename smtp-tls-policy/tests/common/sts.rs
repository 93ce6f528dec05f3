//! MTA-STS policies as facts that a test writes by hand.

use smtp_tls_policy::Domain;
use smtp_tls_policy::sts::{CachedPolicy, FetchError, PolicyId, PolicyText, StsAnswer, Trouble};

/// The policy that applies to a next hop, seen from the host of the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StsPolicy {
    None,
    Testing { mx_matches: bool },
    Enforce { mx_matches: bool },
}

/// Why a fetch failed: one error for each reason that a plan notes, or defers for.
pub(crate) const UNREACHABLE: Trouble = Trouble::Fetch(FetchError::Unreachable);
pub(crate) const CERTIFICATE: Trouble = Trouble::Fetch(FetchError::Certificate);
pub(crate) const INVALID: Trouble =
    Trouble::Record(smtp_tls_policy::TxtError::Missing { name: "id" });
pub(crate) const LOCAL: Trouble = Trouble::Fetch(FetchError::Local);

impl StsPolicy {
    /// The answer of the cache: the policy, which lists these hosts if it is to match them.
    pub(crate) fn answer(self, hosts: &[&str]) -> StsAnswer {
        let (mode, mx_matches) = match self {
            Self::None => return StsAnswer::default(),
            Self::Testing { mx_matches } => ("testing", mx_matches),
            Self::Enforce { mx_matches } => ("enforce", mx_matches),
        };
        let mut text = format!("version: STSv1\nmode: {mode}\nmax_age: 86400\n");
        for host in if mx_matches { hosts } else { &["not-listed.example"] } {
            text += &format!("mx: {host}\n");
        }
        let policy = CachedPolicy::new(
            Domain::parse("example.com").unwrap(),
            PolicyId::parse("1").unwrap(),
            super::now(),
            PolicyText::parse(text.as_bytes()).unwrap(),
        );
        StsAnswer { policy: Some(policy), trouble: None }
    }
}

/// The answer of the cache without a policy, for which this is the reason.
pub(crate) fn failed(trouble: Trouble) -> StsAnswer {
    StsAnswer { policy: None, trouble: Some(trouble) }
}
