//! Reads how the hosts of a connector are found and dialled.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::rules::config::Reader;
use crate::rules::config::domains::smart_host;
use crate::rules::config::section::Section;
use crate::rules::connector::SmartHost;
use crate::rules::dial::{DialRules, Families};
use crate::rules::proxy::Socks5Proxy;

const SMART_HOST: &[&str] = &["host", "port", "implicit-tls", "secure"];
const DIAL: &[&str] =
    &["families", "source-ipv4", "source-ipv6", "interface", "socks5", "clear-text-at-once"];
const SOCKS5: &[&str] = &["address", "user", "password"];
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
        let host = host.and_then(|host| self.parsed(&raw, "host", host, smart_host));
        let port = self.port(&raw, "port");
        let implicit_tls = self.boolean(&raw, "implicit-tls");
        let secure = self.boolean(&raw, "secure");
        let mut smart_host = SmartHost::new(host?);
        smart_host.port = port.unwrap_or(smart_host.port);
        (smart_host.implicit_tls, smart_host.secure) = (implicit_tls, secure);
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
        dial.socks5 = self.socks5(&raw);
        dial.clear_text_at_once = self.boolean(&raw, "clear-text-at-once");
        dial
    }

    fn socks5(&mut self, section: &Section<'_>) -> Option<Socks5Proxy> {
        let raw = self.table(section, "socks5", "{ address = \"127.0.0.1:1080\" }")?;
        let path = section.path("socks5");
        let raw = Section { path: &path, ..raw };
        self.unknown(&raw, SOCKS5);
        let is_given = |key| raw.get(key).is_some();
        let mut login = None;
        if is_given("user") || is_given("password") {
            let user = self.required(&raw, "user", "the user for the proxy, a string");
            let password = self.password(&raw);
            login = user.zip(password);
        }
        let expected = "the address and port of a SOCKS5 proxy, such as \"127.0.0.1:1080\"";
        self.required(&raw, "address", expected)?;
        let address = self.address::<SocketAddr>(&raw, "address", expected)?;
        let proxy = Socks5Proxy::new(address);
        Some(match login {
            Some((user, password)) => proxy.with_login(user, password),
            None => proxy,
        })
    }

    /// The field `password`, of which no error shows the value.
    fn password<'s>(&mut self, section: &'s Section<'_>) -> Option<&'s str> {
        let text = section.get("password").and_then(|value| value.get_ref().as_str());
        match text.filter(|text| !text.is_empty()) {
            Some(text) => Some(text),
            None => {
                let (at, field) = section.place(&["password"]);
                let message = "the field is missing, empty or no string; expected the password \
                               for the proxy";
                self.error(at, field, message.to_owned());
                None
            }
        }
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
