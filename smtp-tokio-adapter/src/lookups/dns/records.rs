//! From records to what a sender works with.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_net::proto::rr::{Name, RData};
use smtp_tls_policy::Domain;
use smtp_tls_policy::inquiry::MxRecord;
use smtp_tls_policy::pki::TlsaRecord;

use super::MAX_RECORDS;
use super::fault::Fault;

/// The name as one of a host, if it can be one: letters, digits and hyphens (RFC 1123, section 2.1;
/// underscores are in use), no address, not the root.
pub(super) fn host_name(name: &Name) -> Option<Domain> {
    // Bytes that no host name has are written with a backslash, which none has either.
    Domain::parse(&name.to_ascii()).ok()
}

/// At most [`MAX_RECORDS`] of these records of one set; of MX records those with the lowest
/// preferences that can be used.
pub(super) fn bounded(mut records: Vec<RData>) -> Vec<RData> {
    if records.len() > MAX_RECORDS {
        // A set of records has no order of its own, and what is beyond the bound must be the worst.
        records.sort_by_cached_key(|it| match it {
            RData::MX(mx) => (exchange(it).is_none(), mx.preference),
            _ => (false, 0),
        });
        records.truncate(MAX_RECORDS);
    }
    // There may be room for thousands.
    records.shrink_to_fit();
    records
}

/// The hosts in the order of their preferences. One whose exchange is no host name is left out.
pub(super) fn mx(records: &[RData]) -> Result<Vec<MxRecord>, Fault> {
    let mut hosts: Vec<_> = records.iter().filter_map(exchange).collect();
    hosts.sort_by_key(|it| it.preference);
    match hosts.is_empty() {
        true => Err(Fault::NoHostName),
        false => Ok(hosts),
    }
}

fn exchange(record: &RData) -> Option<MxRecord> {
    let RData::MX(mx) = record else { return None };
    // RFC 7505, section 3: the root is a null MX.
    let exchange = if mx.exchange.is_root() { None } else { Some(host_name(&mx.exchange)?) };
    Some(MxRecord { preference: mx.preference, exchange })
}

pub(super) fn ipv4(records: Vec<RData>) -> Vec<Ipv4Addr> {
    read(records, |record| match record {
        RData::A(address) => Some(address.0),
        _ => None,
    })
}

pub(super) fn ipv6(records: Vec<RData>) -> Vec<Ipv6Addr> {
    read(records, |record| match record {
        RData::AAAA(address) => Some(address.0),
        _ => None,
    })
}

pub(super) fn tlsa(records: Vec<RData>) -> Vec<TlsaRecord> {
    read(records, |record| match record {
        RData::TLSA(tlsa) => Some(TlsaRecord {
            usage: tlsa.cert_usage.into(),
            selector: tlsa.selector.into(),
            matching: tlsa.matching.into(),
            data: tlsa.cert_data,
        }),
        _ => None,
    })
}

pub(super) fn txt(records: Vec<RData>) -> Vec<Vec<Vec<u8>>> {
    read(records, |record| match record {
        RData::TXT(txt) => Some(txt.txt_data.iter().map(|string| string.to_vec()).collect()),
        _ => None,
    })
}

fn read<T>(records: Vec<RData>, read: impl FnMut(RData) -> Option<T>) -> Vec<T> {
    records.into_iter().filter_map(read).collect()
}
