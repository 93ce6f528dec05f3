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

/// The hosts with the lowest preferences. One whose exchange is no host name is left out.
pub(super) fn mx(records: Vec<RData>) -> Result<Vec<MxRecord>, Fault> {
    let mut hosts: Vec<_> = records.into_iter().filter_map(exchange).collect();
    // A set of records has no order of its own, and what is beyond the bound must be the worst.
    hosts.sort_by_key(|it| it.preference);
    hosts.truncate(MAX_RECORDS);
    match hosts.is_empty() {
        true => Err(Fault::NoHostName),
        false => Ok(hosts),
    }
}

fn exchange(record: RData) -> Option<MxRecord> {
    let RData::MX(mx) = record else { return None };
    // RFC 7505, section 3: the root is a null MX.
    let exchange = if mx.exchange.is_root() { None } else { Some(host_name(&mx.exchange)?) };
    Some(MxRecord { preference: mx.preference, exchange })
}

pub(super) fn ipv4(records: Vec<RData>) -> Vec<Ipv4Addr> {
    bounded(records, |record| match record {
        RData::A(address) => Some(address.0),
        _ => None,
    })
}

pub(super) fn ipv6(records: Vec<RData>) -> Vec<Ipv6Addr> {
    bounded(records, |record| match record {
        RData::AAAA(address) => Some(address.0),
        _ => None,
    })
}

pub(super) fn tlsa(records: Vec<RData>) -> Vec<TlsaRecord> {
    bounded(records, |record| match record {
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
    bounded(records, |record| match record {
        RData::TXT(txt) => Some(txt.txt_data.iter().map(|string| string.to_vec()).collect()),
        _ => None,
    })
}

fn bounded<T>(records: Vec<RData>, read: impl FnMut(RData) -> Option<T>) -> Vec<T> {
    records.into_iter().filter_map(read).take(MAX_RECORDS).collect()
}
