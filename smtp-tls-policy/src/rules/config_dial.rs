//! Reads how the hosts of a connector are found and dialled.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::domain::Host;
use crate::rules::config::{Reader, Section};
use crate::rules::connector::SmartHost;
use crate::rules::dial::{DialRules, Families};

const SMART_HOST: &[&str] = &["host", "port", "implicit-tls", "secure"];
const DIAL: &[&str] =
    &["families", "source-ipv4", "source-ipv6", "interface", "socks5", "clear-text-at-once"];
const FAMILIES: &[(&str, Families)] =
    &[("both", Families::Both), ("ipv4", Families::Ipv4Only), ("ipv6", Families::Ipv6Only)];

impl Reader<'_> {
    /// The field `smart-host` of a connector.
    pub(super) fn smart_host(&mut self, section: &Section<'_>) -> Option<SmartHost> {
        let raw = self.table(section, "smart-host", "{ host = \"gw.example\" }")?;
        let path = section.path("smart-host");
        let raw = Section { path: &path, ..raw };
        self.unknown(&raw, SMART_HOST);
        let host = self.required(&raw, "host", "a host name or an address, such as \"gw.example\"");
        let host = self.parsed(&raw, "host", host?, Host::parse)?;
        let mut smart_host = SmartHost::new(host);
        if let Some(port) = self.port(&raw, "port") {
            smart_host.port = port;
        }
        smart_host.implicit_tls = self.boolean(&raw, "implicit-tls");
        smart_host.secure = self.boolean(&raw, "secure");
        Some(smart_host)
    }

    /// The field `dial` of a connector.
    pub(super) fn dial(&mut self, section: &Section<'_>) -> DialRules {
        let mut dial = DialRules::default();
        let Some(raw) = self.table(section, "dial", "{ source-ipv4 = \"192.0.2.1\" }") else {
            return dial;
        };
        let path = section.path("dial");
        let raw = Section { path: &path, ..raw };
        self.unknown(&raw, DIAL);
        dial.families = self.choice(&raw, "families", FAMILIES).unwrap_or_default();
        let ipv4 = "an IPv4 address of this machine, such as \"192.0.2.1\"";
        dial.source_ipv4 = self.address::<Ipv4Addr>(&raw, "source-ipv4", ipv4);
        let ipv6 = "an IPv6 address of this machine, such as \"2001:db8::1\"";
        dial.source_ipv6 = self.address::<Ipv6Addr>(&raw, "source-ipv6", ipv6);
        let interface = "the name of a network interface, such as \"eth1\"";
        dial.interface = self.text(&raw, "interface", interface).map(Into::into);
        let proxy = "the address and port of a SOCKS5 proxy, such as \"127.0.0.1:1080\"";
        dial.socks5 = self.address::<SocketAddr>(&raw, "socks5", proxy);
        dial.clear_text_at_once = self.boolean(&raw, "clear-text-at-once");
        dial
    }

    fn address<T: std::str::FromStr>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        expected: &str,
    ) -> Option<T> {
        let text = self.text(section, key, expected)?;
        let parse = |text: &str| text.parse::<T>().map_err(|_| format!("expected {expected}"));
        self.parsed(section, key, text, parse)
    }
}
