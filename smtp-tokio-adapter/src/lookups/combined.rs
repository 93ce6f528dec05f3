//! One [`Lookups`] of a DNS resolver and an HTTPS client.

use std::net::{Ipv4Addr, Ipv6Addr};
#[cfg(all(unix, feature = "dns", feature = "https"))]
use std::sync::Arc;

#[cfg(all(unix, feature = "dns", feature = "https"))]
use rustls::crypto::CryptoProvider;
use smtp_tls_policy::Domain;
use smtp_tls_policy::inquiry::{DnsAnswer, MxRecord};
#[cfg(all(unix, feature = "dns", feature = "https"))]
use smtp_tls_policy::pki::LiveTrust;
use smtp_tls_policy::pki::TlsaRecord;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::sts::{Fetch, FetchError, PolicyText};

use super::{Lookups, PolicyFetch};
#[cfg(all(unix, feature = "dns", feature = "https"))]
use super::{
    PolicyClient, SetupError,
    dns::{Anchors, Resolver, Servers},
};

/// Asks one value the DNS questions of [`Lookups`], and another one for MTA-STS policies.
///
/// ```
/// use smtp_tls_policy::plan::DnsStatus;
/// use smtp_tls_policy::sts::{Fetch, FetchError, PolicyText};
/// use smtp_tokio_adapter::lookups::{Combined, Lookups, PolicyFetch, Zone};
///
/// /// An HTTPS client that reaches no server.
/// struct Offline;
///
/// impl PolicyFetch for Offline {
///     async fn fetch<L: Lookups>(&self, _: &Fetch, _: &L) -> Result<PolicyText, FetchError> {
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

#[cfg(all(unix, feature = "dns", feature = "https"))]
impl Combined<Resolver, PolicyClient> {
    /// Everything that a sender asks the network: DNS from the servers of `/etc/resolv.conf`,
    /// validated here from the root, and MTA-STS policies by HTTPS. Needs the features `dns` and
    /// `https`.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    /// use smtp_tls_policy::Namespace;
    /// use smtp_tls_policy::pki::{LiveTrust, Trust};
    /// use smtp_tls_policy::rules::{OutboundConnector, OutboundConnectors, Posture};
    /// use smtp_tokio_adapter::{Outbound, Sender, lookups::Combined};
    ///
    /// let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    /// let trust = Arc::new(LiveTrust::new(Trust::webpki_roots()));
    /// let lookups = Combined::system(provider.clone(), trust.clone())?;
    /// let outbound = Outbound::new("mail.example.com".parse()?, provider, trust);
    /// let all = OutboundConnector::new("all", vec![Namespace::Default], Posture::Opportunistic);
    /// let sender = Sender::new(outbound, Arc::new(OutboundConnectors::new(vec![all])?), lookups)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The system's DNS configuration cannot be used, or the trust has no public roots.
    pub fn system(
        provider: Arc<CryptoProvider>,
        trust: impl Into<Arc<LiveTrust>>,
    ) -> Result<Self, SetupError> {
        let dns = Resolver::validating(Servers::of_system()?, Anchors::root());
        Ok(Self::new(dns, PolicyClient::new(provider, trust)?))
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

    async fn fetch(&self, fetch: &Fetch) -> Result<PolicyText, FetchError> {
        self.policies.fetch(fetch, &self.dns).await
    }
}
