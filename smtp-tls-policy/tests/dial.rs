//! How the hosts of a connector are dialled: order of addresses, families, and what is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smtp_tls_policy::inquiry::{Answer, Ask, DnsAnswer, DomainInquiry, HostInquiry, Prepared};
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::{
    Config, ConnectorErrorKind, Families, OutboundConnector, OutboundConnectors, Posture,
    SmartHost, Socks5Proxy,
};
use smtp_tls_policy::{Host, Namespace};

fn connector(families: Families) -> OutboundConnector {
    let mut connector =
        OutboundConnector::new("all", vec![Namespace::Default], Posture::Opportunistic);
    connector.dial.families = families;
    connector
}

/// What is found of a host with these addresses.
fn prepared(
    families: Families,
    ipv4: DnsAnswer<Ipv4Addr>,
    ipv6: DnsAnswer<Ipv6Addr>,
) -> Option<Prepared> {
    let connector = connector(families);
    let (domain, host) = (Host::parse("a.example").unwrap(), Host::parse("mx.example").unwrap());
    let mut inquiry = DomainInquiry::new(&connector, &domain);
    inquiry.answer(Answer::Mx(DnsAnswer::none(DnsStatus::Insecure)));
    let domain = inquiry.finish().unwrap();
    let mut inquiry = HostInquiry::new(&domain, &host);
    let asked = Ask::Addresses { host: host.domain().unwrap(), families };
    assert_eq!(inquiry.ask(), Some(asked));
    inquiry.answer(Answer::Addresses(ipv4, ipv6));
    inquiry.finish().ok()
}

fn four(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

fn six(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
}

/// RFC 8305, section 4.
#[test]
fn families_take_turns_and_ipv6_begins() {
    let ipv4 = DnsAnswer::new(DnsStatus::Insecure, vec![four(1), four(2), four(3)]);
    let ipv6 = DnsAnswer::new(DnsStatus::Insecure, vec![six(1), six(2)]);
    let order: Vec<IpAddr> =
        vec![six(1).into(), four(1).into(), six(2).into(), four(2).into(), four(3).into()];
    assert_eq!(prepared(Families::Both, ipv4, ipv6).unwrap().addresses, order);
}

#[test]
fn addresses_of_a_family_that_is_not_dialled_are_left_out() {
    let ipv4 = DnsAnswer::new(DnsStatus::Insecure, vec![four(1)]);
    let ipv6 = DnsAnswer::new(DnsStatus::Insecure, vec![six(1)]);
    for (families, left) in
        [(Families::Ipv4Only, IpAddr::from(four(1))), (Families::Ipv6Only, six(1).into())]
    {
        let prepared = prepared(families, ipv4.clone(), ipv6.clone()).unwrap();
        assert_eq!(prepared.addresses, [left]);
    }
}

/// The failure of a family that is not dialled neither delays the host nor makes it unsigned.
#[test]
fn failed_lookup_of_a_family_that_is_not_dialled_is_ignored() {
    let ipv4 = DnsAnswer::new(DnsStatus::Secure, vec![four(1)]);
    let failed = DnsAnswer::none(DnsStatus::Failed);
    assert!(prepared(Families::Both, ipv4.clone(), failed.clone()).is_none());
    // TLSA records are asked for, because the addresses are signed.
    let connector = connector(Families::Ipv4Only);
    let (domain, host) = (Host::parse("a.example").unwrap(), Host::parse("mx.example").unwrap());
    let mut inquiry = DomainInquiry::new(&connector, &domain);
    inquiry.answer(Answer::Mx(DnsAnswer::none(DnsStatus::Secure)));
    let domain = inquiry.finish().unwrap();
    let mut inquiry = HostInquiry::new(&domain, &host);
    inquiry.answer(Answer::Addresses(ipv4, failed));
    assert!(inquiry.ask().is_some());
}

#[test]
fn address_literal_of_a_family_that_is_not_dialled_has_no_address() {
    let connector = connector(Families::Ipv6Only);
    let literal = Host::parse("192.0.2.1").unwrap();
    let domain = DomainInquiry::new(&connector, &literal).finish().unwrap();
    assert_eq!(HostInquiry::new(&domain, &literal).finish().unwrap().addresses, [] as [IpAddr; 0]);
}

/// What is wrong with a connector that was changed so.
fn errors(change: impl FnOnce(&mut OutboundConnector)) -> Vec<ConnectorErrorKind> {
    let mut connector = connector(Families::Both);
    change(&mut connector);
    match OutboundConnectors::new(vec![connector]) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(|it| it.kind.clone()).collect(),
    }
}

#[test]
fn proxy_login_that_cannot_be_sent_is_refused() {
    let with = |user: &str, password: &str| {
        let proxy = Socks5Proxy::new((four(1), 1080).into()).with_login(user, password);
        errors(|it| it.dial.socks5 = Some(proxy))
    };
    let longest = "x".repeat(Socks5Proxy::MAX_LOGIN_LEN);
    assert_eq!(with(&longest, &longest), []);
    let too_long = "x".repeat(Socks5Proxy::MAX_LOGIN_LEN + 1);
    for (user, password) in [("", "a"), ("a", ""), (&*too_long, "a"), ("a", &*too_long)] {
        assert_eq!(with(user, password), [ConnectorErrorKind::ImpossibleProxyLogin]);
    }
}

#[test]
fn impossible_dial_rules_are_refused() {
    use ConnectorErrorKind as Kind;
    assert_eq!(
        errors(|it| {
            (it.dial.source_ipv4, it.dial.source_ipv6) = (Some(four(1)), Some(six(1)));
            it.dial.interface = Some("eth1.100".into());
        }),
        []
    );
    let unspecified = Ipv4Addr::UNSPECIFIED;
    assert_eq!(errors(|it| it.dial.source_ipv4 = Some(unspecified)), [Kind::ImpossibleDialAddress]);
    let no_port = SocketAddr::from((four(1), 0));
    assert_eq!(
        errors(|it| it.dial.socks5 = Some(Socks5Proxy::new(no_port))),
        [Kind::ImpossibleDialAddress]
    );
    for name in ["", "a name", "sixteen-octets-x", "a/b"] {
        let kinds = errors(|it| it.dial.interface = Some(name.into()));
        assert_eq!(kinds, [Kind::ImpossibleInterface], "{name}");
    }
    assert_eq!(
        errors(|it| {
            it.dial.families = Families::Ipv6Only;
            it.dial.source_ipv4 = Some(four(1));
        }),
        [Kind::UnusedSource]
    );
    // The source address is that of the connection to the proxy.
    let proxy = || Socks5Proxy::new((six(9), 1080).into());
    let through = |source: Ipv4Addr| {
        errors(move |it| {
            (it.dial.socks5, it.dial.source_ipv4) = (Some(proxy()), Some(source));
        })
    };
    assert_eq!(through(four(1)), [Kind::UnusedSource]);
    assert_eq!(
        errors(|it| {
            it.dial.families = Families::Ipv6Only;
            it.smart_host = Some(SmartHost::new(Host::parse("192.0.2.1").unwrap()));
        }),
        [Kind::SmartHostOfOtherFamily]
    );
}

#[cfg(feature = "serde")]
#[test]
fn dial_rules_are_read_from_toml() {
    let text = r#"
        [[outbound]]
        name = "all"
        namespaces = ["*"]
        posture = "opportunistic"
        [outbound.dial]
        families = "ipv6"
        source-ipv6 = "2001:db8::1"
        interface = "eth1"
        socks5 = { address = "[::1]:1080", user = "relay", password = "open sesame" }
        clear-text-at-once = true
    "#;
    let config = Config::parse("c.toml", text).unwrap();
    let dial = &config.outbound.iter().next().unwrap().dial;
    assert_eq!(dial.families, Families::Ipv6Only);
    assert_eq!((dial.source_ipv4, dial.source_ipv6), (None, Some(six(1))));
    assert_eq!(dial.interface.as_deref(), Some("eth1"));
    assert!(dial.clear_text_at_once);
    let proxy = Socks5Proxy::new("[::1]:1080".parse().unwrap());
    let proxy = proxy.with_login("relay", "open sesame");
    assert_eq!(dial.socks5, Some(proxy));
    assert!(!format!("{:?}", config.outbound).contains("sesame"));
}

#[cfg(feature = "serde")]
#[test]
fn errors_of_dial_rules_name_the_field() {
    let file = |dial: &str| {
        let text = format!(
            "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\nposture = \"encrypt\"\n\
             dial = {{ {dial} }}\n"
        );
        Config::parse("c.toml", &text).unwrap_err().to_string()
    };
    for (dial, message) in [
        (
            r#"source-ipv4 = "2001:db8::1""#,
            "c.toml: line 5, field outbound.dial.source-ipv4: found \"2001:db8::1\"; expected an \
             IPv4 address of this machine, such as \"192.0.2.1\"",
        ),
        (
            r#"families = "ipv5""#,
            "c.toml: line 5, field outbound.dial.families: found \"ipv5\"; did you mean \"ipv4\"? \
             Expected one of both, ipv4, ipv6",
        ),
        (
            r#"socks5 = { address = "proxy.example:1080" }"#,
            "c.toml: line 5, field outbound.dial.socks5.address: found \"proxy.example:1080\"; expected \
             the address and port of a SOCKS5 proxy, such as \"127.0.0.1:1080\"",
        ),
        (
            r#"socks5 = "127.0.0.1:1080""#,
            "c.toml: line 5, field outbound.dial.socks5: found \"127.0.0.1:1080\"; expected a \
             table, such as socks5 = { address = \"127.0.0.1:1080\" }",
        ),
        (
            r#"socks5 = { user = "relay", password = "sesame" }"#,
            "c.toml: line 5, field outbound.dial.socks5.address: the field is missing; expected \
             the address and port of a SOCKS5 proxy, such as \"127.0.0.1:1080\"",
        ),
        (
            r#"socks5 = { address = "127.0.0.1:1080", password = "sesame" }"#,
            "c.toml: line 5, field outbound.dial.socks5.user: the field is missing; expected the \
             user for the proxy, a string",
        ),
        (
            r#"socks5 = { address = "127.0.0.1:1080", user = "relay", password = 170717 }"#,
            "c.toml: line 5, field outbound.dial.socks5.password: the field is missing, empty or \
             no string; expected the password for the proxy",
        ),
        (
            r#"interface = "a name""#,
            "c.toml: line 5, field outbound.dial.interface: no network interface has such a name; \
             write 1 to 15 octets without spaces and slashes, such as \"eth1\"",
        ),
        (
            r#"sources = "192.0.2.1""#,
            "c.toml: line 5, field outbound.dial.sources: there is no such field; the fields are \
             families, source-ipv4, source-ipv6, interface, socks5, clear-text-at-once",
        ),
    ] {
        assert_eq!(file(dial), message);
    }
}
