//! The URI of BURL (RFC 4468, section 3.5).

use std::fmt;

/// An absolute URI (RFC 3986, section 4.3), checked for its scheme and its characters. The program
/// that fetches the piece interprets the rest.
///
/// ```
/// use smtp_proto::wire::command::Uri;
///
/// let uri = Uri::parse("imap://reader@mail.test.example/outbox/;uid=25;urlauth=submit+reader:internal:91").unwrap();
/// assert!(uri.is_scheme("IMAP"));
/// assert!(Uri::parse("no/scheme").is_none() && Uri::parse("imap://a b").is_none());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Uri<'i>(&'i str);

impl<'i> Uri<'i> {
    /// Checks a URI.
    pub fn parse(text: &'i str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        // RFC 3986, section 3.1.
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        // RFC 3986, sections 2.2 and 2.3; an absolute URI has no fragment.
        let is_uri =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&byte);
        (is_scheme && !rest.is_empty() && rest.bytes().all(is_uri)).then_some(Self(text))
    }

    /// Whether it has this scheme, in any case.
    pub fn is_scheme(self, scheme: &str) -> bool {
        self.0.split(':').next().is_some_and(|own| own.eq_ignore_ascii_case(scheme))
    }

    /// The text.
    pub const fn as_str(self) -> &'i str {
        self.0
    }
}

/// Shows the scheme only: the rest may grant the right to read a user's mail (RFC 4468, section 8).
impl fmt::Debug for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uri({}:..)", self.0.split(':').next().unwrap_or_default())
    }
}
