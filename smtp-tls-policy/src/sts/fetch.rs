//! The HTTPS fetch of a policy (RFC 8461, section 3.3) as a pure function of what came back.

use std::time::Duration;

use super::policy::{MAX_POLICY_LEN, PolicyError, PolicyText};
use crate::domain::Domain;
use crate::reason::ResultType;

/// How long a fetch may take, from the look-up of the address to the last byte (RFC 8461, section
/// 3.3: "a suggested timeout is one minute").
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest body to read, in bytes: a caller stops once it has read one more, and
/// [`PolicyText::from_response`] finds it [too large](FetchError::TooLarge) (RFC 8461, section
/// 3.3).
pub const MAX_BODY_LEN: usize = MAX_POLICY_LEN;
/// The path of the policy on its host (RFC 8461, section 3.2).
pub const WELL_KNOWN_PATH: &str = "/.well-known/mta-sts.txt";

/// The host that serves the policy of this domain: `mta-sts.` and the domain (RFC 8461, section
/// 3.2). `None` where that is longer than a name can be.
pub fn policy_host(policy_domain: &Domain) -> Option<Domain> {
    Domain::parse(&format!("mta-sts.{policy_domain}")).ok()
}

impl PolicyText {
    /// The policy in the response of the policy host: its HTTP status code, the value of its
    /// `Content-Type` header field, and the body of at most [`MAX_BODY_LEN`] bytes, and one more if
    /// it is longer.
    ///
    /// ```
    /// use smtp_tls_policy::sts::{FetchError, PolicyText};
    ///
    /// let body = b"version: STSv1\nmode: enforce\nmx: mx.example.com\nmax_age: 604800";
    /// assert!(PolicyText::from_response(200, Some("text/plain; charset=utf-8"), body).is_ok());
    /// let moved = PolicyText::from_response(301, None, b"");
    /// assert_eq!(moved, Err(FetchError::Status(301)));
    /// ```
    ///
    /// # Errors
    ///
    /// [`FetchError`]: the status is not exactly 200, the media type is not `text/plain`, or the
    /// body is too large or no policy.
    pub fn from_response(
        status: u16,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Self, FetchError> {
        // RFC 8461, section 3.3: "only valid if the HTTP response code is 200 (OK)"; a redirect is
        // such a failure as well.
        if status != 200 {
            return Err(FetchError::Status(status));
        }
        if !content_type.is_some_and(is_text_plain) {
            return Err(FetchError::ContentType);
        }
        if body.len() > MAX_BODY_LEN {
            return Err(FetchError::TooLarge);
        }
        Self::parse_tolerant(body).map_err(FetchError::Policy)
    }
}

/// Whether a `Content-Type` is `text/plain` (RFC 8461, section 3.2). Parameters are ignored, as the
/// RFC says.
pub fn is_text_plain(content_type: &str) -> bool {
    // RFC 9110, section 8.3.1: type and subtype are compared without regard to case; white space
    // may stand before ";".
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim_matches([' ', '\t']).eq_ignore_ascii_case("text/plain")
}

/// Why a policy could not be fetched.
///
/// What is wrong with a response, [`PolicyText::from_response`] finds; the rest the caller, which
/// makes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The policy host has no address, or does not speak HTTPS there.
    #[error("the policy host cannot be reached")]
    Unreachable,
    /// The policy did not come within [`FETCH_TIMEOUT`].
    #[error("the policy host did not answer in time")]
    Timeout,
    /// The certificate of the policy host is not valid for it.
    #[error("the certificate of the policy host is not valid")]
    Certificate,
    /// A fault of this side, such as no free descriptor, missing roots or a stale list; also when
    /// the record or the addresses of the policy host are looked up. It says nothing of the domain:
    /// mail waits unless a cached policy applies.
    #[error("this side could not ask for the policy")]
    Local,
    /// The status was not 200. Redirects are never followed.
    #[error("the policy host answered with status {0}")]
    Status(u16),
    /// The media type was not `text/plain`, or absent.
    #[error("the policy is not of type text/plain")]
    ContentType,
    /// The body is longer than [`MAX_BODY_LEN`].
    #[error("the policy is longer than 64 KiB")]
    TooLarge,
    /// The body is not a policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl FetchError {
    /// The result type in a TLS report (RFC 8460, section 4.3.2.2); `None` for a fault of this
    /// side, which is not reported.
    pub const fn result_type(&self) -> Option<ResultType> {
        Some(match self {
            Self::Local => return None,
            Self::Certificate => ResultType::StsWebpkiInvalid,
            Self::Policy(_) => ResultType::StsPolicyInvalid,
            Self::Unreachable
            | Self::Timeout
            | Self::Status(_)
            | Self::ContentType
            | Self::TooLarge => ResultType::StsPolicyFetchError,
        })
    }
}
