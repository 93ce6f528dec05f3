//! URLs that others publish, and that are asked by HTTP.

use std::net::{IpAddr, Ipv6Addr};

use crate::domain::Host;

/// A URL of scheme `http` or `https` (RFC 9110, section 4.2), which a certificate or a DNS record
/// names.
///
/// ```
/// use smtp_tls_policy::{HttpUrl, HttpUrlError};
///
/// let url = HttpUrl::parse("http://crl.example.com/ca.crl#newest")?;
/// assert_eq!((url.authority(), url.port(), url.target()), ("crl.example.com".to_owned(), 80, "/ca.crl"));
/// assert_eq!(HttpUrl::parse("https://example.com:65536/"), Err(HttpUrlError::Port));
/// # Ok::<(), HttpUrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpUrl {
    is_https: bool,
    host: Host,
    /// As it is in the URL.
    port: Option<u16>,
    target: String,
}

/// Why a text is no URL that can be asked by HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum HttpUrlError {
    /// The scheme is neither `http` nor `https`, or not the one that is needed here.
    #[error("its scheme is another one, or it has no authority")]
    Scheme,
    /// There is a user name or a password before the host. A URL of a stranger should have none
    /// (RFC 9110, section 4.2.4).
    #[error("it has a user name or a password")]
    UserInfo,
    /// There is no host, or what is in its place is no domain name and no address.
    #[error("it has no valid host")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("its port is no number from 1 to 65535")]
    Port,
    /// A character that a path, a query or a fragment cannot have, or a `%` that two hexadecimal
    /// digits do not follow (RFC 3986, sections 2.1 and 3.3).
    #[error("its path, query or fragment has a character that no URL contains")]
    Character,
}

impl HttpUrl {
    /// Reads a URL. The fragment is left out: it is not sent (RFC 9110, section 7.1).
    ///
    /// # Errors
    ///
    /// [`HttpUrlError`]: the text is no such URL, and nothing is to be asked by it.
    pub fn parse(text: &str) -> Result<Self, HttpUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(HttpUrlError::Scheme)?;
        // RFC 3986, section 3.1: schemes are compared without regard to case.
        let is_https = scheme.eq_ignore_ascii_case("https");
        if !is_https && !scheme.eq_ignore_ascii_case("http") {
            return Err(HttpUrlError::Scheme);
        }
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(HttpUrlError::UserInfo);
        }
        let (host, port) = host_and_port(authority)?;
        if !is_path_and_query(target) || !is_path_and_query(fragment) {
            return Err(HttpUrlError::Character);
        }
        let target = match target.starts_with('/') {
            true => target.to_owned(),
            false => format!("/{target}"),
        };
        Ok(Self { is_https, host, port, target })
    }

    /// Whether the scheme is `https`; else it is `http`.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port: that of the scheme if the URL has none.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.is_https { 443 } else { 80 })
    }

    /// The host, and the port if the URL has one: the field `Host` of a request.
    pub fn authority(&self) -> String {
        let host = match &self.host {
            Host::Name(name) => name.to_string(),
            Host::Address(IpAddr::V4(address)) => address.to_string(),
            Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
        };
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    /// The path and the query, as they are requested. It begins with a slash.
    pub fn target(&self) -> &str {
        &self.target
    }
}

fn host_and_port(authority: &str) -> Result<(Host, Option<u16>), HttpUrlError> {
    let (host, port) = match authority.strip_prefix('[') {
        // RFC 3986, section 3.2.2. Without a zone: that is of this machine alone (RFC 6874).
        Some(rest) => {
            let (literal, port) = rest.split_once(']').ok_or(HttpUrlError::Host)?;
            let address: Ipv6Addr = literal.parse().map_err(|_| HttpUrlError::Host)?;
            (Host::Address(IpAddr::V6(address)), port)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (name, port) = authority.split_at(end);
            let host = Some(name).filter(|name| name.is_ascii());
            (host.and_then(|name| Host::parse(name).ok()).ok_or(HttpUrlError::Host)?, port)
        }
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        // RFC 3986, section 3.2.3: an empty port is the default one.
        Some("") => None,
        Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            match digits.parse() {
                Ok(0) | Err(_) => return Err(HttpUrlError::Port),
                Ok(port) => Some(port),
            }
        }
        None | Some(_) => return Err(HttpUrlError::Port),
    };
    Ok((host, port))
}

/// RFC 3986, sections 3.3 to 3.5.
fn is_path_and_query(text: &str) -> bool {
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        let good = match octet {
            b'%' => (0..2).all(|_| octets.next().is_some_and(|it| it.is_ascii_hexdigit())),
            _ => octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&octet),
        };
        if !good {
            return false;
        }
    }
    true
}
