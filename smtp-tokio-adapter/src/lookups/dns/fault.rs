//! Why a question has no answer.

use smtp_tls_policy::plan::DnsStatus;

use super::{MAX_ALIASES, MAX_QUERIES};

/// Why a question has no answer that can be used.
///
/// Each of them is a failed lookup (RFC 7672, section 2.1.1): it is never read as "there are no
/// such records".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// No server gave an answer within the time limit.
    #[error("no answer came within the time limit")]
    Timeout,
    /// No server can be asked: the connection is refused, there is no route, or this host has no
    /// free descriptor.
    #[error("no name server can be reached")]
    Unreachable,
    /// The server answered with a response code that is neither NOERROR nor NXDOMAIN. A resolver
    /// answers SERVFAIL (2) where the name servers of the domain fail, or where it validates and
    /// the answer is bogus.
    #[error("the name server answered with response code {0}")]
    ResponseCode(u16),
    /// The answer is no DNS message, has records that cannot be read, or answers another question.
    #[error("the answer is malformed")]
    Malformed,
    /// The server is not a resolver: it refers to other servers instead of asking them.
    #[error("the name server refers to others and does not resolve")]
    Lame,
    /// The answer is truncated, although it came over TCP.
    #[error("the answer is truncated over TCP too")]
    Truncated,
    /// The answer has more signatures, keys or proofs than any honest one.
    #[error("the answer has more DNSSEC records than are looked at")]
    Oversize,
    /// The question needed more than [`MAX_QUERIES`] messages, or to look at them more than 16
    /// times as often.
    #[error("the question needs more than {MAX_QUERIES} messages, or too many looks at them")]
    Queries,
    /// Signatures or proofs are missing, wrong or expired.
    #[error("the answer is bogus: DNSSEC validation failed")]
    Bogus,
    /// The DNSSEC status cannot be determined.
    #[error("the DNSSEC status of the answer cannot be determined")]
    Indeterminate,
    /// CNAME records form a loop, or more than [`MAX_ALIASES`] follow each other.
    #[error("CNAME records form a loop, or more than {MAX_ALIASES} follow each other")]
    Aliases,
    /// A CNAME record leads to a name that cannot be one of a host.
    #[error("a CNAME record leads to a name that is no host name")]
    AliasName,
    /// There are MX records, but none names a host.
    #[error("no MX record has the name of a host")]
    NoHostName,
}

impl Fault {
    /// A short word for logs and metrics. It does not change between versions.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Timeout => "dns-timeout",
            Self::Unreachable => "dns-unreachable",
            Self::ResponseCode(_) => "dns-response-code",
            Self::Malformed => "dns-malformed",
            Self::Lame => "dns-lame",
            Self::Truncated => "dns-truncated",
            Self::Oversize => "dns-oversize",
            Self::Queries => "dns-queries",
            Self::Bogus => "dns-bogus",
            Self::Indeterminate => "dns-indeterminate",
            Self::Aliases => "dns-aliases",
            Self::AliasName => "dns-alias-name",
            Self::NoHostName => "dns-no-host-name",
        }
    }

    /// The status of the failed lookup.
    pub const fn status(self) -> DnsStatus {
        match self {
            Self::Bogus => DnsStatus::Bogus,
            // Whether the name servers of the domain or the resolver is silent, cannot be told.
            Self::Indeterminate | Self::Timeout => DnsStatus::Indeterminate,
            Self::Unreachable => DnsStatus::Local,
            Self::ResponseCode(_)
            | Self::Malformed
            | Self::Lame
            | Self::Truncated
            | Self::Oversize
            | Self::Queries
            | Self::Aliases
            | Self::AliasName
            | Self::NoHostName => DnsStatus::Failed,
        }
    }
}
