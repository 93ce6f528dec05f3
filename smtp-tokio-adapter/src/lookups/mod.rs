//! What a sender asks the network before it dials.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use smtp_tls_policy::Domain;
use smtp_tls_policy::inquiry::{DnsAnswer, MxRecord};
use smtp_tls_policy::pki::TlsaRecord;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::sts::{Fetch, FetchError, PolicyText};

mod combined;
#[cfg(feature = "dns")]
pub mod dns;
#[cfg(feature = "https")]
mod https;
#[cfg(any(feature = "dns", feature = "https"))]
mod setup_error;
mod system;
mod zone;

pub use combined::Combined;
#[cfg(feature = "https")]
pub use https::PolicyClient;
#[cfg(any(feature = "dns", feature = "https"))]
pub use setup_error::SetupError;
pub use system::SystemResolver;
pub use zone::Zone;

/// The questions that a sender asks the network. The resolver of the feature `dns` answers the DNS
/// questions, [`Zone`] answers from memory, and [`Combined`] adds an HTTPS client to either.
///
/// Only a validating resolver may say [`DnsStatus::Secure`], on this host or at the other end of a
/// channel that cannot be forged (RFC 7672, section 2.1). An implementation without one answers
/// [`DnsStatus::Insecure`]: then DANE never applies.
///
/// The sender sets no time limit for a lookup: the resolver has its own, and answers
/// [`DnsStatus::Indeterminate`] once it is over. If a question cannot be asked for want of a
/// descriptor or of a resolver, the answer is [`DnsStatus::Local`]: the mail waits. Names are
/// A-labels without a dot at the end.
pub trait Lookups: Send + Sync {
    /// MX records. A record whose exchange is no host name, such as an address, is left out; if no
    /// record is left because of that, the lookup has failed. The `.` of a null MX is `None`
    /// (RFC 7505).
    fn mx(&self, domain: &Domain) -> impl Future<Output = DnsAnswer<MxRecord>> + Send;

    /// A records, in the order in which to try them.
    fn ipv4(&self, host: &Domain) -> impl Future<Output = DnsAnswer<Ipv4Addr>> + Send;

    /// AAAA records, in the order in which to try them; a machine without IPv6 answers with no
    /// records and the status of the answer for A.
    fn ipv6(&self, host: &Domain) -> impl Future<Output = DnsAnswer<Ipv6Addr>> + Send;

    /// The status of the CNAME record of this name alone, without what it leads to (RFC 7672,
    /// section 2.1.3).
    fn cname(&self, _owner: &str) -> impl Future<Output = DnsStatus> + Send {
        async { DnsStatus::Insecure }
    }

    /// TLSA records of `_25._tcp.` and the host, a CNAME followed.
    fn tlsa(&self, _owner: &str) -> impl Future<Output = DnsAnswer<TlsaRecord>> + Send {
        async { DnsAnswer::none(DnsStatus::Insecure) }
    }

    /// TXT records of `_mta-sts.` and the domain, a CNAME followed, each a list of
    /// character-strings (RFC 8461, section 3.1).
    fn txt(&self, _owner: &Domain) -> impl Future<Output = DnsAnswer<Vec<Vec<u8>>>> + Send {
        async { DnsAnswer::none(DnsStatus::Insecure) }
    }

    /// Gets an MTA-STS policy by HTTPS, as [`Fetch`] says; [`PolicyText::from_response`] reads the
    /// response. Without an HTTPS client every policy is unreachable.
    fn fetch(&self, _fetch: &Fetch) -> impl Future<Output = Result<PolicyText, FetchError>> + Send {
        async { Err(FetchError::Unreachable) }
    }
}

/// Shares a resolver and what it has learned, for example between a sender and what fetches
/// revocation lists.
impl<L: Lookups> Lookups for Arc<L> {
    async fn mx(&self, domain: &Domain) -> DnsAnswer<MxRecord> {
        (**self).mx(domain).await
    }

    async fn ipv4(&self, host: &Domain) -> DnsAnswer<Ipv4Addr> {
        (**self).ipv4(host).await
    }

    async fn ipv6(&self, host: &Domain) -> DnsAnswer<Ipv6Addr> {
        (**self).ipv6(host).await
    }

    async fn cname(&self, owner: &str) -> DnsStatus {
        (**self).cname(owner).await
    }

    async fn tlsa(&self, owner: &str) -> DnsAnswer<TlsaRecord> {
        (**self).tlsa(owner).await
    }

    async fn txt(&self, owner: &Domain) -> DnsAnswer<Vec<Vec<u8>>> {
        (**self).txt(owner).await
    }

    async fn fetch(&self, fetch: &Fetch) -> Result<PolicyText, FetchError> {
        (**self).fetch(fetch).await
    }
}

/// Gets MTA-STS policies by HTTPS: the one question of [`Lookups`] that DNS does not answer. The
/// client of the feature `https` does so, and [`Combined`] joins it with a resolver.
pub trait PolicyFetch: Send + Sync {
    /// Gets an MTA-STS policy: [`Lookups::fetch`]. The addresses of the policy host come from this
    /// resolver.
    fn fetch<L: Lookups>(
        &self,
        fetch: &Fetch,
        dns: &L,
    ) -> impl Future<Output = Result<PolicyText, FetchError>> + Send;
}
