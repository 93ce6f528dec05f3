//! The questions of both machines, and their answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::domain::Domain;
use crate::inquiry::answer::{DnsAnswer, MxRecord};
use crate::pki::tlsa::TlsaRecord;
use crate::plan::facts::DnsStatus;
use crate::rules::dial::Families;
use crate::sts::StsAnswer;

/// A question of a delivery. A [`DomainInquiry`](super::DomainInquiry) asks the first two, a
/// [`HostInquiry`](super::HostInquiry) the others; one function can answer them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<'q> {
    /// The MX records of this domain.
    Mx(&'q Domain),
    /// The MTA-STS policy that applies to this domain now: what [`sts::Cache`](crate::sts::Cache)
    /// says after the record at [`sts::record_name`](crate::sts::record_name) was looked up.
    Sts(&'q Domain),
    /// The A and AAAA records of a host, which can be looked up at the same time.
    Addresses {
        /// The host.
        host: &'q Domain,
        /// The families that the connector dials. The other one need not be looked up.
        families: Families,
    },
    /// The DNSSEC status of the CNAME record of this name alone, without what it leads to (RFC
    /// 7672, section 2.1.3).
    Cname(&'q Domain),
    /// The TLSA records of this name, such as `_25._tcp.` and the candidate base domain; a CNAME is
    /// followed.
    Tlsa(&'q str),
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug)]
pub enum Answer {
    /// To [`Ask::Mx`].
    Mx(DnsAnswer<MxRecord>),
    /// To [`Ask::Sts`].
    Sts(StsAnswer),
    /// To [`Ask::Addresses`]: A and AAAA. A machine without IPv6 answers the second one with no
    /// records and the status of the first one. The answer for a family that the connector does not
    /// dial is ignored.
    Addresses(DnsAnswer<Ipv4Addr>, DnsAnswer<Ipv6Addr>),
    /// To [`Ask::Cname`].
    Cname(DnsStatus),
    /// To [`Ask::Tlsa`].
    Tlsa(DnsAnswer<TlsaRecord>),
}

impl Answer {
    /// The answer to [`Ask::Addresses`] of a resolver that mixes both families, such as the
    /// operating system's.
    pub fn addresses(status: DnsStatus, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let (mut ipv4, mut ipv6) = (DnsAnswer::none(status), DnsAnswer::none(status));
        for address in addresses {
            match address {
                IpAddr::V4(address) => ipv4.records.push(address),
                IpAddr::V6(address) => ipv6.records.push(address),
            }
        }
        Self::Addresses(ipv4, ipv6)
    }
}
