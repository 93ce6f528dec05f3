//! Domain names, hosts and address namespaces, in the one spelling in which they are compared.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// Longest domain name, in bytes, without its trailing dot (RFC 1035, section 2.3.4: 255 octets on
/// the wire).
pub const MAX_DOMAIN_LEN: usize = 253;
/// Longest label of a domain name, in bytes (RFC 1035, section 2.3.4).
pub const MAX_LABEL_LEN: usize = 63;

/// A domain name in the spelling in which names are compared: lower case, A-labels, no trailing
/// dot.
///
/// ```
/// use smtp_tls_policy::Domain;
///
/// assert_eq!(Domain::parse("Mail.B\u{fc}cher.Example.")?.as_str(), "mail.xn--bcher-kva.example");
/// # Ok::<(), smtp_tls_policy::DomainError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Arc<str>);

impl Domain {
    /// Reads a domain name: letters, digits, hyphens and underscores in labels of 1 to 63 bytes,
    /// 253 bytes in all, with or without one trailing dot, or with the feature `idna` an
    /// internationalised name, which becomes A-labels (RFC 5891).
    ///
    /// # Errors
    ///
    /// [`DomainError`]: the text is not such a name, or it is an address.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(DomainError::Empty);
        }
        if is_ipv4(text) {
            return Err(DomainError::Address);
        }
        if text.is_ascii() {
            check(text)?;
            return Ok(Self::lower(text));
        }
        // A U-label is never longer than its A-label by more than the bytes of UTF-8.
        if text.len() > 4 * MAX_DOMAIN_LEN {
            return Err(DomainError::TooLong);
        }
        let ascii = to_ascii(text)?;
        let ascii = ascii.strip_suffix('.').unwrap_or(&ascii);
        check(ascii)?;
        if is_ipv4(ascii) {
            return Err(DomainError::Address);
        }
        Ok(Self::lower(ascii))
    }

    /// A name that is checked.
    fn lower(name: &str) -> Self {
        match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Self(name.to_ascii_lowercase().into()),
            false => Self(name.into()),
        }
    }

    /// The name: lower case, A-labels, no trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name itself, then each of its parents: `a.b.c`, `b.c`, `c`.
    pub(crate) fn suffixes(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.as_str()), |name| {
            name.split_once('.').map(|(_, parent)| parent)
        })
    }

    /// Whether this name lies below `parent`, at any depth.
    pub(crate) fn is_below(&self, parent: &Self) -> bool {
        is_below(self.as_str(), parent.as_str())
    }
}

/// Whether `name` lies below `parent`, at any depth; both are already normalised.
pub(crate) fn is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|head| head.len() > 1 && head.ends_with('.'))
}

/// The A-labels of an internationalised name.
#[cfg(feature = "idna")]
fn to_ascii(name: &str) -> Result<std::borrow::Cow<'_, str>, DomainError> {
    idna::domain_to_ascii_cow(name.as_bytes(), idna::AsciiDenyList::EMPTY)
        .map_err(|_| DomainError::Idn)
}

/// Without the feature `idna` a name has to be given as A-labels.
#[cfg(not(feature = "idna"))]
fn to_ascii(_: &str) -> Result<std::borrow::Cow<'_, str>, DomainError> {
    Err(DomainError::Idn)
}

/// Whether the text is an IPv4 address. Most texts do not end as one.
fn is_ipv4(text: &str) -> bool {
    text.ends_with(|last: char| last.is_ascii_digit()) && text.parse::<Ipv4Addr>().is_ok()
}

fn check(name: &str) -> Result<(), DomainError> {
    if name.len() > MAX_DOMAIN_LEN {
        return Err(DomainError::TooLong);
    }
    for label in name.as_bytes().split(|&octet| octet == b'.') {
        if label.is_empty() {
            return Err(DomainError::EmptyLabel);
        }
        if label.len() > MAX_LABEL_LEN {
            return Err(DomainError::LabelTooLong);
        }
        // Underscores are no host name characters (RFC 1123, section 2.1), but names with them are
        // in use.
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !label.iter().copied().all(good) {
            return Err(DomainError::Character);
        }
        if label.starts_with(b"-") || label.ends_with(b"-") {
            return Err(DomainError::Hyphen);
        }
    }
    Ok(())
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        Self::parse(text)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// Why a text is not a domain name, a host or a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum DomainError {
    /// Nothing, or a lone dot.
    #[error("the name is empty")]
    Empty,
    /// Two dots in a row, or a dot at the start.
    #[error("a label of the name is empty")]
    EmptyLabel,
    /// More than [`MAX_DOMAIN_LEN`] bytes.
    #[error("the name is longer than 253 bytes")]
    TooLong,
    /// A label of more than [`MAX_LABEL_LEN`] bytes.
    #[error("a label of the name is longer than 63 bytes")]
    LabelTooLong,
    /// A byte which no domain name contains; `*` is one, save as the whole first label of a
    /// namespace.
    #[error("the name has a character that no domain name contains")]
    Character,
    /// A label begins or ends with a hyphen (RFC 1123, section 2.1).
    #[error("a label of the name begins or ends with a hyphen")]
    Hyphen,
    /// An internationalised name which has no A-label form (RFC 5891).
    #[error("the internationalised name has no valid A-label form")]
    Idn,
    /// An IP address where a domain name is needed.
    #[error("an IP address is not a domain name")]
    Address,
    /// A bracketed text which is no address literal (RFC 5321, section 4.1.3).
    #[error("the address literal is not valid")]
    Literal,
}

/// A place to send mail to: a domain name, or an address (RFC 5321, section 4.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A domain name.
    Name(Domain),
    /// An IP address.
    Address(IpAddr),
}

impl Host {
    /// Reads a domain name, an address, or an address literal: `mx.example`, `192.0.2.1`,
    /// `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
    ///
    /// # Errors
    ///
    /// [`DomainError`]: the text is neither a name nor an address.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(DomainError::Literal)?;
            // RFC 5321, section 4.1.3: the tag is compared without regard to case.
            let tagged = inner.get(..5).filter(|tag| tag.eq_ignore_ascii_case("ipv6:"));
            let address = match tagged {
                Some(_) => inner[5..].parse::<Ipv6Addr>().map(IpAddr::V6),
                None => inner.parse::<Ipv4Addr>().map(IpAddr::V4),
            };
            return address.map(Self::Address).map_err(|_| DomainError::Literal);
        }
        // Most texts are names, and are not read as addresses first.
        match Domain::parse(text) {
            Ok(name) => Ok(Self::Name(name)),
            Err(error) => text.parse().map(Self::Address).map_err(|_| error),
        }
    }

    /// The domain name, if it is one.
    pub fn domain(&self) -> Option<&Domain> {
        match self {
            Self::Name(domain) => Some(domain),
            Self::Address(_) => None,
        }
    }
}

impl From<Domain> for Host {
    fn from(domain: Domain) -> Self {
        Self::Name(domain)
    }
}

impl FromStr for Host {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        Self::parse(text)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(domain) => domain.fmt(f),
            Self::Address(IpAddr::V4(address)) => write!(f, "[{address}]"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[IPv6:{address}]"),
        }
    }
}

/// An address namespace: the mail domains that a connector serves.
///
/// Written `example.com`, `*.example.com` or `*`. Of several that hold a domain the most specific
/// wins: the exact name, then the subdomain wildcard with the most labels, then the default.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Namespace {
    /// This domain only.
    Exact(Domain),
    /// Every domain below this one, at any depth, but not the domain itself.
    Subdomains(Domain),
    /// Whatever no other connector serves, address literals and the null reverse-path included.
    Default,
}

impl Namespace {
    /// Reads `example.com`, `*.example.com` or `*`.
    ///
    /// # Errors
    ///
    /// [`DomainError`]: the text is none of the three.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        match text.strip_prefix('*') {
            Some("") => Ok(Self::Default),
            Some(rest) => match rest.strip_prefix('.') {
                Some(parent) => Domain::parse(parent).map(Self::Subdomains),
                None => Err(DomainError::Character),
            },
            None => Domain::parse(text).map(Self::Exact),
        }
    }
}

impl FromStr for Namespace {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        Self::parse(text)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(domain) => domain.fmt(f),
            Self::Subdomains(parent) => write!(f, "*.{parent}"),
            Self::Default => f.write_str("*"),
        }
    }
}
