//! The hosts of a delivery, each looked up in its turn.

use std::net::IpAddr;

use smtp_proto::sasl::client::Credentials;
use smtp_proto::wire::host::HostName;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::Host;
use smtp_tls_policy::plan::{Plan, Refusal};
use smtp_tls_policy::rules::IdentityId;
use smtp_tls_policy::tlsrpt::{ReportedSession, Reporting};

#[cfg(doc)]
use crate::client::Target;
use crate::convert;

/// What is known of a host before it is dialled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Candidate {
    /// The host.
    pub host: Host,
    /// Its addresses in the order in which to try them.
    pub addresses: Vec<IpAddr>,
    /// What [`plan`](smtp_tls_policy::plan::plan()) made of the facts.
    pub plan: Plan,
    /// The client certificate to show, if its connector has one.
    pub identity: Option<IdentityId>,
    /// What to authenticate with at this host: see [`Target::credentials`]. A token may be fetched
    /// for each connection.
    pub credentials: Option<Credentials>,
    /// Addresses of the host where TLS broke a short while ago, and what `plan` made of that. Empty
    /// unless set.
    pub broken: Option<(Vec<IpAddr>, Plan)>,
    /// What is to be reported of its connections (RFC 8460). Nothing unless set.
    pub reporting: Reporting,
}

impl Candidate {
    /// A host of whose addresses nothing is remembered, and to which neither a client certificate
    /// nor credentials are shown.
    pub fn new(host: Host, addresses: Vec<IpAddr>, plan: Plan) -> Self {
        Self {
            host,
            addresses,
            plan,
            identity: None,
            credentials: None,
            broken: None,
            reporting: Reporting::default(),
        }
    }

    pub(super) fn plan_for(&self, address: IpAddr) -> &Plan {
        match &self.broken {
            // What is known of broken TLS allows clear text, and credentials do not.
            Some((addresses, plan))
                if self.credentials.is_none() && addresses.contains(&address) =>
            {
                plan
            }
            _ => &self.plan,
        }
    }
}

/// A host that is not dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skip {
    /// The status of those who wait, unless something better comes: 4.4.3 for a failed look-up, or
    /// the policy's.
    pub status: EnhancedCode,
    /// The policy's reasons, where it is the policy that refuses. If it [ends the
    /// domain](Refusal::ends_domain), no other host is dialled either.
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
