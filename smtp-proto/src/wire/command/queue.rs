//! What ETRN names (RFC 1985, section 5).

use crate::wire::ascii::put;
use crate::wire::path::Domain;

/// The mail whose delivery a client asks for with ETRN.
///
/// ```
/// use smtp_proto::wire::command::Queue;
///
/// assert!(matches!(Queue::parse("@test.example"), Some(Queue::Subdomains(domain)) if domain.as_str() == "test.example"));
/// assert_eq!(Queue::parse("#uucp"), Some(Queue::Named("uucp")));
/// assert_eq!(Queue::parse("two words"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Queue<'i> {
    /// A node by its name (RFC 1985, section 5), or an address literal.
    Node(Domain<'i>),
    /// `@`: all mail for the domain and what is below it (RFC 1985, section 5.3).
    Subdomains(Domain<'i>),
    /// `#`: a queue by a name that only the server knows (RFC 1985, section 5.3); printable,
    /// without spaces.
    Named(&'i str),
}

impl<'i> Queue<'i> {
    /// Reads `[option character] name`.
    pub fn parse(text: &'i str) -> Option<Self> {
        if let Some(name) = text.strip_prefix('#') {
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
            return is_name.then_some(Self::Named(name));
        }
        match text.strip_prefix('@') {
            Some(domain) => Domain::parse(domain).ok().map(Self::Subdomains),
            None => Domain::parse(text).ok().map(Self::Node),
        }
    }

    pub(crate) fn is_ascii(&self) -> bool {
        match self {
            Self::Node(domain) | Self::Subdomains(domain) => domain.is_ascii(),
            Self::Named(name) => name.is_ascii(),
        }
    }

    pub(super) fn write(&self, output: &mut Vec<u8>) {
        match self {
            Self::Node(domain) => put(output, &[domain.as_str()]),
            Self::Subdomains(domain) => put(output, &["@", domain.as_str()]),
            Self::Named(name) => put(output, &["#", name]),
        }
    }
}
