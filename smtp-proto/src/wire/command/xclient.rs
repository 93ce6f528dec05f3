//! XCLIENT: a proxy names the client for which it speaks. No RFC describes the command; this is
//! the grammar of `XCLIENT_README` of Postfix.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Hello;
use crate::wire::ascii::put;
use crate::wire::params::Xtext;

/// The name of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum XclientName {
    /// `NAME`: the client's host name.
    Name,
    /// `ADDR`: the client's address.
    Addr,
    /// `PORT`: the client's port.
    Port,
    /// `PROTO`: the protocol that the client speaks.
    Proto,
    /// `HELO`: the name that the client gave itself.
    Helo,
    /// `LOGIN`: the user as which the client has authenticated.
    Login,
    /// `DESTADDR`: the address that the client has connected to.
    DestAddr,
    /// `DESTPORT`: the port that the client has connected to.
    DestPort,
}

impl XclientName {
    /// Every name.
    pub const ALL: [Self; 8] = [
        Self::Name,
        Self::Addr,
        Self::Port,
        Self::Proto,
        Self::Helo,
        Self::Login,
        Self::DestAddr,
        Self::DestPort,
    ];

    /// The name, in capitals.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::Addr => "ADDR",
            Self::Port => "PORT",
            Self::Proto => "PROTO",
            Self::Helo => "HELO",
            Self::Login => "LOGIN",
            Self::DestAddr => "DESTADDR",
            Self::DestPort => "DESTPORT",
        }
    }

    /// The attribute of a name in any case.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(name))
    }
}

/// The value of an attribute, which may be unknown to the proxy as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum XclientValue<T> {
    /// The value.
    Value(T),
    /// `[UNAVAILABLE]`: there is none.
    Unavailable,
    /// `[TEMPUNAVAIL]`: the look-up failed, and may succeed later.
    TemporarilyUnavailable,
}

/// The attributes of one XCLIENT command; it has at least one. An absent attribute keeps its value.
///
/// ```
/// use smtp_proto::wire::command::{Command, XclientValue};
/// use smtp_proto::wire::path::AddressRules;
///
/// let line = b"XCLIENT NAME=[TEMPUNAVAIL] ADDR=IPV6:2001:db8::1 LOGIN=a+2Bb";
/// let Ok(Command::Xclient(client)) = Command::parse(line, AddressRules::STRICT) else { panic!() };
/// assert_eq!(client.name, Some(XclientValue::TemporarilyUnavailable));
/// assert_eq!(client.addr, Some(XclientValue::Value("2001:db8::1".parse()?)));
/// assert!(matches!(client.login, Some(XclientValue::Value(login)) if login.decode() == b"a+b"));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Xclient<'i> {
    /// The client's host name.
    pub name: Option<XclientValue<Xtext<'i>>>,
    /// The client's address.
    pub addr: Option<XclientValue<IpAddr>>,
    /// The client's port.
    pub port: Option<XclientValue<u16>>,
    /// The command with which the client has introduced itself: HELO for SMTP, EHLO for ESMTP. LHLO
    /// is written as ESMTP.
    pub proto: Option<Hello>,
    /// The name that the client gave itself.
    pub helo: Option<XclientValue<Xtext<'i>>>,
    /// The user as which the client has authenticated.
    pub login: Option<XclientValue<Xtext<'i>>>,
    /// The address that the client has connected to.
    pub dest_addr: Option<XclientValue<IpAddr>>,
    /// The port that the client has connected to.
    pub dest_port: Option<XclientValue<u16>>,
}

impl<'i> Xclient<'i> {
    /// Reads `1*( SP attribute-name "=" attribute-value )` without the first SP.
    pub(super) fn parse(argument: &'i str) -> Option<Self> {
        let mut client = Self::default();
        for word in argument.split(' ').filter(|word| !word.is_empty()) {
            let (name, value) = word.split_once('=')?;
            let text = Xtext::parse(value)?;
            match XclientName::of(name)? {
                XclientName::Name => set(&mut client.name, known(value, |_| Some(text)))?,
                XclientName::Addr => set(&mut client.addr, known(value, address))?,
                XclientName::Port => set(&mut client.port, known(value, port))?,
                XclientName::Proto => set(&mut client.proto, spoken(value))?,
                XclientName::Helo => set(&mut client.helo, known(value, |_| Some(text)))?,
                XclientName::Login => set(&mut client.login, known(value, |_| Some(text)))?,
                XclientName::DestAddr => set(&mut client.dest_addr, known(value, address))?,
                XclientName::DestPort => set(&mut client.dest_port, known(value, port))?,
            }
        }
        // At least one attribute must be there.
        client.names().next().is_some().then_some(client)
    }

    /// The names of the attributes in the command.
    pub fn names(&self) -> impl Iterator<Item = XclientName> + use<> {
        let there = [
            self.name.is_some(),
            self.addr.is_some(),
            self.port.is_some(),
            self.proto.is_some(),
            self.helo.is_some(),
            self.login.is_some(),
            self.dest_addr.is_some(),
            self.dest_port.is_some(),
        ];
        XclientName::ALL.into_iter().zip(there).filter_map(|(name, there)| there.then_some(name))
    }

    pub(super) fn write(&self, output: &mut Vec<u8>) {
        put(output, &["XCLIENT"]);
        let text = |text: &Xtext<'_>| text.as_str().to_owned();
        write_known(XclientName::Name, &self.name, text, output);
        write_known(XclientName::Addr, &self.addr, address_text, output);
        write_known(XclientName::Port, &self.port, u16::to_string, output);
        if let Some(spoken) = self.proto {
            put(output, &[" PROTO=", if spoken == Hello::Helo { "SMTP" } else { "ESMTP" }]);
        }
        write_known(XclientName::Helo, &self.helo, text, output);
        write_known(XclientName::Login, &self.login, text, output);
        write_known(XclientName::DestAddr, &self.dest_addr, address_text, output);
        write_known(XclientName::DestPort, &self.dest_port, u16::to_string, output);
    }
}

/// `None` for a value that is malformed, and for an attribute that is there twice with different
/// values.
fn set<T: PartialEq>(field: &mut Option<T>, value: Option<T>) -> Option<()> {
    let value = value?;
    if field.as_ref().is_some_and(|first| *first != value) {
        return None;
    }
    *field = Some(value);
    Some(())
}

const UNAVAILABLE: &str = "[UNAVAILABLE]";
const TEMPORARILY: &str = "[TEMPUNAVAIL]";

fn known<T>(value: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<XclientValue<T>> {
    if value.eq_ignore_ascii_case(UNAVAILABLE) {
        Some(XclientValue::Unavailable)
    } else if value.eq_ignore_ascii_case(TEMPORARILY) {
        Some(XclientValue::TemporarilyUnavailable)
    } else {
        read(value).map(XclientValue::Value)
    }
}

/// An IPv4 address, or an IPv6 address after `IPV6:`; none in brackets.
fn address(value: &str) -> Option<IpAddr> {
    match value.split_at_checked("IPV6:".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("IPV6:") => {
            rest.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => value.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

fn address_text(address: &IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("IPV6:{address}"),
    }
}

fn port(value: &str) -> Option<u16> {
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { value.parse().ok() } else { None }
}

fn spoken(value: &str) -> Option<Hello> {
    if value.eq_ignore_ascii_case("SMTP") {
        Some(Hello::Helo)
    } else {
        value.eq_ignore_ascii_case("ESMTP").then_some(Hello::Ehlo)
    }
}

fn write_known<T>(
    name: XclientName,
    value: &Option<XclientValue<T>>,
    text: impl FnOnce(&T) -> String,
    output: &mut Vec<u8>,
) {
    let value = match value {
        None => return,
        Some(XclientValue::Value(value)) => text(value),
        Some(XclientValue::Unavailable) => UNAVAILABLE.to_owned(),
        Some(XclientValue::TemporarilyUnavailable) => TEMPORARILY.to_owned(),
    };
    put(output, &[" ", name.as_str(), "=", &value]);
}
