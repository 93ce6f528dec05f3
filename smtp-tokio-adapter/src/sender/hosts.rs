//! The trait that finds and prepares the hosts of a delivery.

use std::net::IpAddr;

use smtp_proto::wire::host::HostName;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::plan::{Plan, Refusal};
use smtp_tls_policy::tlsrpt::{ReportedSession, Reporting};

use crate::client::Target;
use crate::convert;

/// What is known of a host before it is dialled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Candidate {
    /// The host, its plan, its client certificate and its credentials.
    pub target: Target,
    /// The addresses of the host in the order in which to try them.
    pub addresses: Vec<IpAddr>,
    /// Addresses of the host where TLS broke a short while ago, and the plan for them. None unless
    /// set.
    pub broken: Option<(Vec<IpAddr>, Plan)>,
    /// Addresses of the host where the handshake succeeds only with the plainest ClientHello. Empty
    /// unless set.
    pub plain_hello: Vec<IpAddr>,
    /// Addresses of the host at which TLS is not expected. They are dialled after the others, if
    /// clear text may be used at all. Empty unless set.
    pub without_tls: Vec<IpAddr>,
    /// What is to be reported of its connections (RFC 8460). Nothing unless set.
    pub reporting: Reporting,
}

impl Candidate {
    /// A host of whose addresses nothing is remembered.
    pub fn new(target: Target, addresses: Vec<IpAddr>) -> Self {
        Self {
            target,
            addresses,
            broken: None,
            plain_hello: Vec::new(),
            without_tls: Vec::new(),
            reporting: Reporting::default(),
        }
    }
}

/// A host that is not dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skip {
    /// The status of the recipients, unless another host has a better one.
    pub status: EnhancedCode,
    /// The reason: the policy refuses the host, or a look-up failed. Always set by a
    /// [`Sender`](crate::Sender). If it [ends the domain](Refusal::ends_domain), no other host is
    /// dialled either.
    pub refusal: Option<Refusal>,
    /// What is to be reported of it (RFC 8460).
    pub session: Option<ReportedSession>,
}

impl From<EnhancedCode> for Skip {
    fn from(status: EnhancedCode) -> Self {
        Self { status, refusal: None, session: None }
    }
}

impl From<Refusal> for Skip {
    fn from(refusal: Refusal) -> Self {
        Self { status: convert::status(refusal.status()), refusal: Some(refusal), session: None }
    }
}

/// Looks up hosts and makes their plans, each in its turn.
pub trait Hosts: Sync {
    /// Prepares one host, or says why it is not dialled.
    fn prepare(&self, host: &HostName) -> impl Future<Output = Result<Candidate, Skip>> + Send;
}
