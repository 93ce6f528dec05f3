//! Addresses as Received fields write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};

/// An address, and whether it is a literal in brackets: `[192.0.2.1]:25`, `[192.0.2.1:25]`,
/// `[IPv6:2001:db8::1]`, `2001:db8::1`, `fe80::1%14`.
pub(super) fn address(item: &[u8]) -> Option<(IpAddr, bool)> {
    let text = str::from_utf8(item).ok()?;
    let (text, literal) = match text.strip_prefix('[') {
        Some(text) => (text.split_once(']')?.0, true),
        None => (text, false),
    };
    let text = if text.get(..5).is_some_and(|tag| tag.eq_ignore_ascii_case("IPv6:")) {
        &text[5..]
    } else {
        text
    };
    let text = text.split_once('%').map_or(text, |(address, _zone)| address);
    let with_port = || Some(IpAddr::V4(*text.parse::<SocketAddrV4>().ok()?.ip()));
    let address = text.parse().ok().or_else(with_port)?;
    Some((address.to_canonical(), literal))
}

/// Where an address can be, from near to far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// The same host.
    Loopback,
    /// A private network: RFC 1918, RFC 3927, RFC 4193, RFC 4291, section 2.5.6.
    Private,
    /// Anywhere.
    Public,
}

impl Reach {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            address if address.is_loopback() => Self::Loopback,
            IpAddr::V4(address) if v4_is_private(address) => Self::Private,
            IpAddr::V6(address) if v6_is_private(address) => Self::Private,
            IpAddr::V4(_) | IpAddr::V6(_) => Self::Public,
        }
    }
}

fn v4_is_private(address: Ipv4Addr) -> bool {
    address.is_private() || address.is_link_local()
}

fn v6_is_private(address: Ipv6Addr) -> bool {
    address.is_unique_local() || address.is_unicast_link_local()
}
