//! Which addresses a fetch may connect to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses are connected to where a stranger has named the host, so that a stranger cannot
/// make this machine speak to its own services and those of its network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Global unicast addresses. Refused are loopback, private, shared (RFC 6598), link-local and
    /// unique local ones, multicast, IPv4 addresses written as IPv6, and whatever else the
    /// registries of special addresses (RFC 6890) do not call globally reachable. An address of
    /// NAT64 (`64:ff9b::/96`) or 6to4 counts as the IPv4 address in it.
    #[default]
    Global,
    /// Every address: for destinations in a network of your own.
    Any,
}

impl Reach {
    /// Whether this address may be connected to.
    pub fn permits(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Any, _) => true,
            (Self::Global, IpAddr::V4(address)) => is_global_v4(address),
            (Self::Global, IpAddr::V6(address)) => is_global_v6(address),
        }
    }

    /// The addresses that may be connected to.
    ///
    /// # Errors
    ///
    /// The first address, if none of them may be.
    pub(crate) fn filter<T: Copy>(
        self,
        addresses: Vec<T>,
        address: impl Fn(T) -> IpAddr,
    ) -> Result<Vec<T>, IpAddr> {
        let first = addresses.first().copied();
        let permitted: Vec<T> =
            addresses.into_iter().filter(|it| self.permits(address(*it))).collect();
        match (permitted.is_empty(), first) {
            (true, Some(first)) => Err(address(first)),
            (true, None) | (false, _) => Ok(permitted),
        }
    }
}

/// The registry of special IPv4 addresses (RFC 6890, section 2.2.2, as IANA keeps it).
fn is_global_v4(address: Ipv4Addr) -> bool {
    match address.octets() {
        // This network, private networks, shared addresses, loopback, link-local addresses.
        [0 | 10 | 127, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => false,
        [169, 254, ..] => false,
        // Protocol assignments, of which two are global anycast (RFC 7723, RFC 8155).
        [192, 0, 0, last] => matches!(last, 9 | 10),
        // Documentation, and the benchmarking of devices.
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [198, 18..=19, ..] => false,
        // Multicast, and what is reserved, broadcast included.
        [224..=255, ..] => false,
        _ => true,
    }
}

/// The registry of special IPv6 addresses (RFC 6890, section 2.2.3, as IANA keeps it), inside the
/// global unicast addresses, which are `2000::/3`.
fn is_global_v6(address: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_global_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // NAT64 (RFC 6052, section 2.1), by which a host without IPv4 reaches IPv4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => embedded(high, low),
        // Protocol assignments: Teredo, benchmarking and others. The exceptions are for protocols
        // of their own, and none of them serves HTTP.
        [0x2001, 0..=0x1ff, ..] => false,
        // Documentation (RFC 3849, RFC 9637).
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}
