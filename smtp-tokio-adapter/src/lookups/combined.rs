//! One [`Lookups`] of a DNS resolver and an HTTPS client.

use std::net::{Ipv4Addr, Ipv6Addr};

use smtp_tls_policy::Domain;
use smtp_tls_policy::inquiry::{DnsAnswer, MxRecord};
use smtp_tls_policy::pki::TlsaRecord;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::sts::{Fetch, FetchError, PolicyResponse};

use super::{Lookups, PolicyFetch};

/// Asks one value the DNS questions of [`Lookups`], and another one for MTA-STS policies.
///
/// ```
/// use smtp_tls_policy::plan::DnsStatus;
/// use smtp_tls_policy::sts::{Fetch, FetchError, PolicyResponse};
/// use smtp_tokio_adapter::lookups::{Combined, Lookups, PolicyFetch, Zone};
///
/// /// An HTTPS client that reaches no server.
/// struct Offline;
///
/// impl PolicyFetch for Offline {
///     async fn fetch(&self, _: &Fetch) -> Result<PolicyResponse, FetchError> {
///         Err(FetchError::Unreachable)
///     }
/// }
///
/// fn is_lookups(_: &impl Lookups) {}
/// is_lookups(&Combined::new(Zone::new(DnsStatus::Secure), Offline));
/// ```
#[derive(Debug)]
pub struct Combined<D, P> {
    dns: D,
    policies: P,
}

impl<D, P> Combined<D, P> {
    /// DNS of the first, policies of the second.
    pub const fn new(dns: D, policies: P) -> Self {
        Self { dns, policies }
    }

    /// What answers the DNS questions.
    pub const fn dns(&self) -> &D {
        &self.dns
    }

    /// What gets the policies.
    pub const fn policies(&self) -> &P {
        &self.policies
    }
}

impl<D: Lookups, P: PolicyFetch> Lookups for Combined<D, P> {
    async fn mx(&self, domain: &Domain) -> DnsAnswer<MxRecord> {
        self.dns.mx(domain).await
    }

    async fn ipv4(&self, host: &Domain) -> DnsAnswer<Ipv4Addr> {
        self.dns.ipv4(host).await
    }

    async fn ipv6(&self, host: &Domain) -> DnsAnswer<Ipv6Addr> {
        self.dns.ipv6(host).await
    }

    async fn cname(&self, owner: &str) -> DnsStatus {
        self.dns.cname(owner).await
    }

    async fn tlsa(&self, owner: &str) -> DnsAnswer<TlsaRecord> {
        self.dns.tlsa(owner).await
    }

    async fn txt(&self, owner: &Domain) -> DnsAnswer<Vec<Vec<u8>>> {
        self.dns.txt(owner).await
    }

    async fn fetch(&self, fetch: &Fetch) -> Result<PolicyResponse, FetchError> {
        self.policies.fetch(fetch).await
    }
}
