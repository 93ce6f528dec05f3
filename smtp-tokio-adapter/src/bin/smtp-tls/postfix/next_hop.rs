//! The next hops that Postfix asks about, in each form of smtp(8) and lmtp(8).

use std::net::Ipv6Addr;

use smtp_tls_policy::Host;
use smtp_tls_policy::rules::SmartHost;

/// A next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NextHop {
    /// A domain whose hosts its MX records name: `example.com`, `example.com:587`.
    Domain(Host, u16),
    /// A host: `[mail.example.com]`, `[192.0.2.1]:587`, `[ipv6:2001:db8::1]`.
    Host(Host),
    /// A socket of this machine, by its path. No network is between it and Postfix.
    Socket,
    /// `.example.com`: Postfix asks so about domains below, after it had no answer for the domain.
    Parent,
}

impl NextHop {
    /// Reads a next hop as Postfix writes it in a question.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('.') {
            return Ok(Self::Parent);
        }
        // lmtp(8): `unix:pathname` and `inet:host:port`. No domain has a slash.
        if text.contains('/') {
            return Ok(Self::Socket);
        }
        let text = match text.get(..5) {
            Some(kind) if kind.eq_ignore_ascii_case("inet:") => &text[5..],
            _ => text,
        };
        if let Some(rest) = text.strip_prefix('[') {
            let (inner, rest) = rest.split_once(']').ok_or("a bracket is not closed")?;
            match rest.strip_prefix(':') {
                Some(service) => {
                    port(service)?;
                }
                None if rest.is_empty() => {}
                None => return Err(format!("\"{rest}\" after the bracket is no port")),
            }
            return host(inner).map(Self::Host);
        }
        let (name, port) = match text.rsplit_once(':') {
            // Without brackets an address with colons is no domain with a port.
            Some(_) if text.parse::<Ipv6Addr>().is_ok() => (text, SmartHost::DEFAULT_PORT),
            Some((name, service)) => (name, port(service)?),
            None => (text, SmartHost::DEFAULT_PORT),
        };
        match host(name)? {
            domain @ Host::Name(_) => Ok(Self::Domain(domain, port)),
            address @ Host::Address(_) => Ok(Self::Host(address)),
        }
    }
}

/// A name or an address without brackets. Postfix writes an IPv6 address with the tag of RFC 5321,
/// section 4.1.3, or without it.
fn host(text: &str) -> Result<Host, String> {
    let untagged = match text.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => &text[5..],
        _ => text,
    };
    if let Ok(address) = untagged.parse::<Ipv6Addr>() {
        return Ok(Host::Address(address.into()));
    }
    Host::parse(text).map_err(|error| error.to_string())
}

/// The port of a number, or of the name of a service.
fn port(service: &str) -> Result<u16, String> {
    if let Ok(port) = service.parse::<u16>() {
        return (port != 0).then_some(port).ok_or_else(|| "there is no port 0".to_owned());
    }
    // Those that Postfix knows by itself (known_tcp_ports in postconf(5)).
    match service.to_ascii_lowercase().as_str() {
        "lmtp" => return Ok(24),
        "smtp" => return Ok(25),
        "smtps" | "submissions" => return Ok(465),
        "submission" => return Ok(587),
        _ => {}
    }
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
    of_services(&services, service).ok_or_else(|| format!("the service \"{service}\" is not known"))
}

/// The TCP port of a service by the text of services(5).
fn of_services(text: &str, service: &str) -> Option<u16> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (name, port) = (words.next()?, words.next()?);
        let port = port.strip_suffix("/tcp")?;
        (name == service || words.any(|alias| alias == service)).then(|| port.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str, port: u16) -> Result<NextHop, String> {
        Ok(NextHop::Domain(Host::parse(name).unwrap(), port))
    }

    fn host(name: &str) -> Result<NextHop, String> {
        Ok(NextHop::Host(Host::parse(name).unwrap()))
    }

    #[test]
    fn each_form_of_a_next_hop_is_read() {
        for (text, wanted) in [
            ("example.com", domain("example.com", 25)),
            ("Example.COM.", domain("example.com", 25)),
            ("example.com:587", domain("example.com", 587)),
            ("example.com:submission", domain("example.com", 587)),
            ("example.com:SMTPS", domain("example.com", 465)),
            ("example.com:smtp", domain("example.com", 25)),
            ("b\u{fc}cher.example:26", domain("xn--bcher-kva.example", 26)),
            ("under_score.example", domain("under_score.example", 25)),
            ("[mail.example.com]", host("mail.example.com")),
            ("[Mail.Example.COM.]:587", host("mail.example.com")),
            ("[mail.example.com]:submission", host("mail.example.com")),
            ("[192.0.2.1]", host("192.0.2.1")),
            ("[192.0.2.1]:25", host("192.0.2.1")),
            ("192.0.2.1:25", host("192.0.2.1")),
            ("[ipv6:2001:db8::1]", host("2001:db8::1")),
            ("[IPv6:2001:DB8::1]:587", host("2001:db8::1")),
            ("[2001:db8::1]:587", host("2001:db8::1")),
            ("[ipv6:::1]:24", host("::1")),
            ("2001:db8::1", host("2001:db8::1")),
            ("inet:lmtp.example:lmtp", domain("lmtp.example", 24)),
            ("inet:[127.0.0.1]:24", host("127.0.0.1")),
            ("unix:private/dovecot-lmtp", Ok(NextHop::Socket)),
            ("/var/run/lmtp.sock", Ok(NextHop::Socket)),
            (".example.com", Ok(NextHop::Parent)),
            (".com", Ok(NextHop::Parent)),
        ] {
            assert_eq!(NextHop::parse(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_next_hop_is_refused_with_a_reason() {
        for (text, why) in [
            ("", "empty"),
            ("[", "not closed"),
            ("[]", "empty"),
            ("[mail.example", "not closed"),
            ("[mail.example]x", "no port"),
            ("[mail.example]:", "not known"),
            ("[mail.example]:0", "port 0"),
            ("example.com:", "not known"),
            ("example.com:0", "port 0"),
            ("example.com:65536", "not known"),
            ("example.com:no-such-service", "not known"),
            (":25", "empty"),
            ("a..example", "label"),
            ("\"example.com\"", "character"),
            ("user@example.com", "character"),
            ("example.com, other.example", "character"),
            ("[ipv6:192.0.2.1]", "character"),
        ] {
            let error = NextHop::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn services_have_aliases_comments_and_other_protocols() {
        let text =
            "# all\nsmtp\t25/tcp\tmail # first\nodd 26/udp other\nodd 27/tcp other\nbad x/tcp\n";
        for (service, wanted) in
            [("smtp", Some(25)), ("mail", Some(25)), ("other", Some(27)), ("bad", None)]
        {
            assert_eq!(of_services(text, service), wanted, "{service}");
        }
        assert_eq!(of_services(text, "first"), None);
    }
}
