//! Which addresses a fetch may connect to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses are connected to where a stranger has named the host, so that a stranger cannot
/// make this machine speak to its own services and those of its network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reach {
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
    fn permits(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Any, _) => true,
            (Self::Global, IpAddr::V4(address)) => is_global_v4(address),
            (Self::Global, IpAddr::V6(address)) => is_global_v6(address),
        }
    }

    /// The addresses of a host that may be connected to.
    ///
    /// # Errors
    ///
    /// The first address, if there are some and none of them may be.
    pub(crate) fn filter(
        self,
        mut ipv6: Vec<Ipv6Addr>,
        mut ipv4: Vec<Ipv4Addr>,
    ) -> Result<(Vec<Ipv6Addr>, Vec<Ipv4Addr>), IpAddr> {
        let (first_ipv6, first_ipv4) = (ipv6.first().copied(), ipv4.first().copied());
        ipv6.retain(|address| self.permits(IpAddr::V6(*address)));
        ipv4.retain(|address| self.permits(IpAddr::V4(*address)));
        let first = first_ipv6.map(IpAddr::V6).or(first_ipv4.map(IpAddr::V4));
        match first.filter(|_| ipv6.is_empty() && ipv4.is_empty()) {
            Some(refused) => Err(refused),
            None => Ok((ipv6, ipv4)),
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

#[cfg(test)]
mod tests {
    use super::Reach;

    #[test]
    fn global_addresses_are_those_of_the_registries() {
        let permits = |text: &str| Reach::Global.permits(text.parse().unwrap());
        for global in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.0.9",
            "192.0.0.10",
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:4860:4860::8888",
            "2001:200::1",
            "2a00::1",
            "3ffe:ffff::1",
            "64:ff9b::101:101",
            "2002:101:101::1",
        ] {
            assert!(permits(global), "{global}");
        }
        for special in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.0.0",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.0",
            "192.0.0.8",
            "192.0.0.255",
            "192.0.2.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.0",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:1.1.1.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::101:101",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:1ff::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:c0a8:101::1",
            "3fff::1",
            "3fff:fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!permits(special), "{special}");
            assert!(Reach::Any.permits(special.parse().unwrap()), "{special}");
        }
    }
}
