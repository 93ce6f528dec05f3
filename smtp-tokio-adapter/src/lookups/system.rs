//! The addresses that the operating system finds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smtp_tls_policy::Domain;
use smtp_tls_policy::inquiry::{DnsAnswer, MxRecord};
use smtp_tls_policy::plan::DnsStatus;

use crate::dialling::is_local;
use crate::lookups::Lookups;

/// Looks up addresses as other programs on this host do: in the hosts file, the DNS, or wherever
/// else the operating system is told to look.
///
/// It finds no MX or TLSA records and no MTA-STS policies, so it serves connectors with a smart
/// host only: mail for a domain without one is deferred.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

async fn addresses<T>(host: &Domain, family: impl Fn(IpAddr) -> Option<T>) -> DnsAnswer<T> {
    match tokio::net::lookup_host((host.as_str(), 0)).await {
        Ok(found) => {
            let found = found.filter_map(|address| family(address.ip())).collect();
            DnsAnswer::new(DnsStatus::Insecure, found)
        }
        // The operating system does not say whether the name is missing or the lookup failed.
        Err(error) => {
            tracing::debug!(%host, %error, "no addresses");
            DnsAnswer::none(match is_local(&error) {
                true => DnsStatus::Local,
                false => DnsStatus::Failed,
            })
        }
    }
}

impl Lookups for SystemResolver {
    async fn mx(&self, _: &Domain) -> DnsAnswer<MxRecord> {
        DnsAnswer::none(DnsStatus::Local)
    }

    async fn ipv4(&self, host: &Domain) -> DnsAnswer<Ipv4Addr> {
        addresses(host, |address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
        .await
    }

    async fn ipv6(&self, host: &Domain) -> DnsAnswer<Ipv6Addr> {
        addresses(host, |address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address),
        })
        .await
    }
}
