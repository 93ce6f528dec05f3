//! How the hosts of a connector are dialled: address families, source addresses, a network
//! interface, a proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::rules::proxy::Socks5Proxy;

/// Which addresses of a host are dialled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Families {
    /// IPv6 and IPv4.
    #[default]
    Both,
    /// IPv4 only; AAAA records are not asked for.
    Ipv4Only,
    /// IPv6 only; A records are not asked for.
    Ipv6Only,
}

impl Families {
    /// Whether IPv4 addresses are dialled.
    pub const fn has_ipv4(self) -> bool {
        matches!(self, Self::Both | Self::Ipv4Only)
    }

    /// Whether IPv6 addresses are dialled.
    pub const fn has_ipv6(self) -> bool {
        matches!(self, Self::Both | Self::Ipv6Only)
    }

    /// Whether this address is dialled.
    pub const fn has(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.has_ipv4(),
            IpAddr::V6(_) => self.has_ipv6(),
        }
    }
}

/// How the hosts of a connector are dialled. By default the system chooses the source address and
/// the interface, and there is no proxy.
///
/// A source address or an interface that this machine does not have, and a proxy that fails, are
/// faults of this side: the mail is deferred with 4.3.5, and never sent in another way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DialRules {
    /// Which addresses of a host are dialled. A host that has none of them counts as a host without
    /// an address.
    pub families: Families,
    /// The address of this machine from which IPv4 connections are made.
    pub source_ipv4: Option<Ipv4Addr>,
    /// The address of this machine from which IPv6 connections are made.
    pub source_ipv6: Option<Ipv6Addr>,
    /// The network interface through which connections are made, such as `eth1`.
    pub interface: Option<Arc<str>>,
    /// The SOCKS5 proxy that makes the connections. It is given addresses and never
    /// names, because a plan holds for the addresses that this side has looked up. The source
    /// address and the interface are those of the connection to the proxy.
    pub socks5: Option<Socks5Proxy>,
    /// Whether mail goes in clear text to the first address without TLS, where clear text is
    /// allowed. Off by default: the host's other addresses are tried for TLS before.
    pub clear_text_at_once: bool,
}

impl DialRules {
    /// Most octets in the name of an interface: what Linux allows.
    pub const MAX_INTERFACE: usize = 15;

    /// The source address for a connection to this address.
    pub fn source(&self, to: IpAddr) -> Option<IpAddr> {
        match to {
            IpAddr::V4(_) => self.source_ipv4.map(IpAddr::V4),
            IpAddr::V6(_) => self.source_ipv6.map(IpAddr::V6),
        }
    }

    /// Whether some connection uses the source address of each family.
    pub(crate) fn has_unused_source(&self) -> bool {
        let dials = |family: IpAddr| match &self.socks5 {
            Some(proxy) => proxy.address.is_ipv4() == family.is_ipv4(),
            None => self.families.has(family),
        };
        let sources = [self.source_ipv4.map(IpAddr::V4), self.source_ipv6.map(IpAddr::V6)];
        sources.into_iter().flatten().any(|source| !dials(source))
    }

    /// Whether a source address or the address of the proxy is none that a connection can have.
    pub(crate) fn has_impossible_address(&self) -> bool {
        let is_impossible = |it: IpAddr| it.is_unspecified() || it.is_multicast();
        let sources = [self.source_ipv4.map(IpAddr::V4), self.source_ipv6.map(IpAddr::V6)];
        sources.into_iter().flatten().any(is_impossible)
            || self
                .socks5
                .as_ref()
                .is_some_and(|it| is_impossible(it.address.ip()) || it.address.port() == 0)
    }

    /// Whether the proxy's user or password is one that cannot be sent.
    pub(crate) fn has_impossible_login(&self) -> bool {
        self.socks5.as_ref().is_some_and(Socks5Proxy::has_impossible_login)
    }

    /// Whether the system cannot have an interface of this name.
    pub(crate) fn has_impossible_interface(&self) -> bool {
        self.interface.as_ref().is_some_and(|name| {
            name.is_empty()
                || name.len() > Self::MAX_INTERFACE
                || name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
        })
    }

    /// The addresses to dial, in their order: the families take turns, and IPv6 begins (RFC 8305,
    /// section 4).
    pub(crate) fn order(&self, ipv6: Vec<Ipv6Addr>, ipv4: Vec<Ipv4Addr>) -> Vec<IpAddr> {
        let mut ipv6 = ipv6.into_iter().map(IpAddr::V6).filter(|_| self.families.has_ipv6());
        let mut ipv4 = ipv4.into_iter().map(IpAddr::V4).filter(|_| self.families.has_ipv4());
        let mut order = Vec::new();
        loop {
            let (six, four) = (ipv6.next(), ipv4.next());
            if six.is_none() && four.is_none() {
                return order;
            }
            order.extend(six.into_iter().chain(four));
        }
    }
}
