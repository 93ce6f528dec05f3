//! Domains, mailboxes and the paths of an envelope (RFC 5321, sections 4.1.2 and 4.1.3).
//!
//! A value that was parsed has been checked against the grammar, so it cannot hold CR, LF, NUL or
//! anything else that could end a command early. A path without a domain can be made by hand: like
//! every other it is checked again before it is sent. A value borrows the text that it was read
//! from, or owns it: `into_owned` copies the text, `parse` of [`str`] gives an owned value.
//!
//! ```
//! use smtp_proto::wire::path::{AddressRules, ForwardPath, Mailbox, PathError};
//!
//! let mailbox = Mailbox::parse("reader@test.example", AddressRules::STRICT).unwrap();
//! assert_eq!((mailbox.local(), mailbox.domain().as_str()), ("reader", "test.example"));
//! let smuggled = Mailbox::parse("reader@test.example\r\nDATA", AddressRules::FIELD);
//! assert_eq!(smuggled, Err(PathError::Domain));
//!
//! let owned: ForwardPath<'static> = "\"quoted local\"@[192.0.2.1]".parse().unwrap();
//! assert_eq!(owned.to_string(), "<\"quoted local\"@[192.0.2.1]>");
//! ```

mod domain;
mod mailbox;
mod rules;

pub use domain::Domain;
pub use mailbox::Mailbox;
pub use rules::AddressRules;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// RFC 5321, section 4.5.3.1.1: octets before the `@`.
pub const MAX_LOCAL_PART: usize = 64;
/// RFC 5321, section 4.5.3.1.2: octets of a domain name or number.
pub const MAX_DOMAIN: usize = 255;
/// RFC 1035, section 2.3.4: octets between two dots.
pub const MAX_LABEL: usize = 63;
/// RFC 5321, section 4.5.3.1.3: octets of a path with its punctuation and separators, less the
/// angle brackets.
pub const MAX_MAILBOX: usize = 254;

/// Which part of a path is against the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No `<` where the path must begin, or no `>` where it must end.
    #[error("the path is not in angle brackets")]
    Brackets,
    /// The part before the `@`: RFC 5321, section 4.1.2 `Local-part`.
    #[error("the local part is malformed or too long")]
    LocalPart,
    /// No `@` after the local part.
    #[error("the domain is missing")]
    NoDomain,
    /// RFC 5321, section 4.1.2 `Domain` or 4.1.3 `address-literal`.
    #[error("the domain is malformed or longer than {MAX_DOMAIN} octets")]
    Domain,
    /// The text is neither a DNS name of a host nor an address literal.
    #[error(
        "a host name has labels of 1 to {MAX_LABEL} letters, digits, hyphens and underscores, \
         and at most 253 octets"
    )]
    HostName,
    /// RFC 5321, appendix C: a source route must be a list of `@domain`, ended by a colon.
    #[error("the source route is malformed")]
    SourceRoute,
    /// RFC 5321, section 4.5.3.1.3.
    #[error("the path is longer than {MAX_MAILBOX} octets")]
    TooLong,
}

/// The sender of a message: a mailbox, or the null path `<>` of a notification (RFC 5321, section
/// 4.5.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath<'i> {
    /// `<>`
    Null,
    /// `<local-part>`, which only [`AddressRules::no_domain`] allows.
    Local(Cow<'i, str>),
    /// `<local-part@domain>`
    Mailbox(Mailbox<'i>),
}

impl<'i> ReversePath<'i> {
    /// Reads the text between the brackets. A source route is checked and dropped (RFC 5321,
    /// appendix C).
    ///
    /// # Errors
    ///
    /// The part of the path that these rules do not allow.
    pub fn parse(text: &'i str, rules: AddressRules) -> Result<Self, PathError> {
        match Self::at_front(text, rules)? {
            (path, "") => Ok(path),
            _ => Err(PathError::Domain),
        }
    }

    /// Reads the path at the front of `text`, and returns what follows it.
    #[inline]
    pub(crate) fn in_command(
        text: &'i str,
        rules: AddressRules,
    ) -> Result<(Self, &'i str), PathError> {
        match text.strip_prefix('<') {
            Some(text) => {
                let (path, rest) = Self::at_front(text, rules)?;
                Ok((path, closed(rest)?))
            }
            None => {
                let (path, rest) = Self::at_front(bare(text, rules)?, rules)?;
                Ok((path, after_bare(rest)?))
            }
        }
    }

    #[inline]
    fn at_front(text: &'i str, rules: AddressRules) -> Result<(Self, &'i str), PathError> {
        // `< >` is a null path with an SP in it: harmless and seen.
        let after_space = text.strip_prefix(' ').unwrap_or(text);
        if matches!(after_space.as_bytes(), [] | [b'>', ..]) {
            return Ok((Self::Null, after_space));
        }
        let text = without_route(text)?;
        match Mailbox::at_front(text, rules) {
            Ok((mailbox, rest)) => Ok((Self::Mailbox(mailbox), rest)),
            Err(error) => match local_at_front(text, rules) {
                Some((local, rest)) => Ok((Self::Local(Cow::Borrowed(local)), rest)),
                None => Err(error),
            },
        }
    }

    /// Checks this path against other rules than those that it was read with.
    ///
    /// # Errors
    ///
    /// The part of the path that these rules do not allow.
    pub fn check(&self, rules: AddressRules) -> Result<(), PathError> {
        match self {
            Self::Mailbox(mailbox) => mailbox.check(rules),
            Self::Null | Self::Local(_) => ReversePath::parse(self.as_str(), rules).map(|_| ()),
        }
    }

    /// The mailbox; `None` for the null path and for a path without a domain.
    pub const fn mailbox(&self) -> Option<&Mailbox<'i>> {
        match self {
            Self::Null | Self::Local(_) => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// Whether this is the null path `<>`.
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text between the brackets; empty for the null path.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Null => "",
            Self::Local(text) => text,
            Self::Mailbox(mailbox) => mailbox.as_str(),
        }
    }

    /// The same path, free of the text that it was read from.
    pub fn into_owned(self) -> ReversePath<'static> {
        match self {
            Self::Null => ReversePath::Null,
            Self::Local(text) => ReversePath::Local(Cow::Owned(text.into_owned())),
            Self::Mailbox(mailbox) => ReversePath::Mailbox(mailbox.into_owned()),
        }
    }
}

impl FromStr for ReversePath<'static> {
    type Err = PathError;
    /// Reads the text without brackets under [`AddressRules::FIELD`]; the empty text is the null
    /// path.
    fn from_str(text: &str) -> Result<Self, PathError> {
        ReversePath::parse(text, AddressRules::FIELD).map(ReversePath::into_owned)
    }
}

impl fmt::Display for ReversePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}

/// A recipient: a mailbox, or `<Postmaster>` without a domain (RFC 5321, section 4.1.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ForwardPath<'i> {
    /// `<Postmaster>` in any case of its letters, or with [`AddressRules::no_domain`] any local
    /// part; the text is as the peer wrote it.
    Local(Cow<'i, str>),
    /// `<local-part@domain>`
    Mailbox(Mailbox<'i>),
}

impl<'i> ForwardPath<'i> {
    /// Reads the text between the brackets. A source route is checked and dropped (RFC 5321,
    /// appendix C).
    ///
    /// # Errors
    ///
    /// The part of the path that these rules do not allow.
    pub fn parse(text: &'i str, rules: AddressRules) -> Result<Self, PathError> {
        match Self::at_front(text, rules)? {
            (path, "") => Ok(path),
            _ => Err(PathError::Domain),
        }
    }

    /// Reads the path at the front of `text`, and returns what follows it.
    #[inline]
    pub(crate) fn in_command(
        text: &'i str,
        rules: AddressRules,
    ) -> Result<(Self, &'i str), PathError> {
        match text.strip_prefix('<') {
            Some(text) => {
                let (path, rest) = Self::at_front(text, rules)?;
                Ok((path, closed(rest)?))
            }
            None => {
                let (path, rest) = Self::at_front(bare(text, rules)?, rules)?;
                Ok((path, after_bare(rest)?))
            }
        }
    }

    #[inline]
    fn at_front(text: &'i str, rules: AddressRules) -> Result<(Self, &'i str), PathError> {
        let mailbox = without_route(text).and_then(|text| Mailbox::at_front(text, rules));
        match mailbox {
            Ok((mailbox, rest)) => Ok((Self::Mailbox(mailbox), rest)),
            Err(error) => {
                let local = postmaster_at_front(text).or_else(|| local_at_front(text, rules));
                local.map(|(local, rest)| (Self::Local(Cow::Borrowed(local)), rest)).ok_or(error)
            }
        }
    }

    /// Checks this path against other rules than those that it was read with.
    ///
    /// # Errors
    ///
    /// The part of the path that these rules do not allow.
    pub fn check(&self, rules: AddressRules) -> Result<(), PathError> {
        match self {
            Self::Mailbox(mailbox) => mailbox.check(rules),
            Self::Local(_) => ForwardPath::parse(self.as_str(), rules).map(|_| ()),
        }
    }

    /// The mailbox; `None` for a path without a domain, such as `<Postmaster>`.
    pub const fn mailbox(&self) -> Option<&Mailbox<'i>> {
        match self {
            Self::Local(_) => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// The text between the brackets.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Local(text) => text,
            Self::Mailbox(mailbox) => mailbox.as_str(),
        }
    }

    /// The same path, free of the text that it was read from.
    pub fn into_owned(self) -> ForwardPath<'static> {
        match self {
            Self::Local(text) => ForwardPath::Local(Cow::Owned(text.into_owned())),
            Self::Mailbox(mailbox) => ForwardPath::Mailbox(mailbox.into_owned()),
        }
    }
}

impl FromStr for ForwardPath<'static> {
    type Err = PathError;
    /// Reads the text without brackets under [`AddressRules::FIELD`].
    fn from_str(text: &str) -> Result<Self, PathError> {
        ForwardPath::parse(text, AddressRules::FIELD).map(ForwardPath::into_owned)
    }
}

impl fmt::Display for ForwardPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}

/// RFC 5321, section 4.1.1.3: a server must take `<Postmaster>`.
fn postmaster_at_front(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_at_checked("Postmaster".len())?;
    let valid = word.eq_ignore_ascii_case("Postmaster") && ends_path(rest);
    valid.then_some((word, rest))
}

#[inline(never)]
fn local_at_front(text: &str, rules: AddressRules) -> Option<(&str, &str)> {
    if !rules.no_domain {
        return None;
    }
    let (local, rest) = text.split_at(mailbox::local_end(text.as_bytes(), rules)?);
    ends_path(rest).then_some((local, rest))
}

fn ends_path(rest: &str) -> bool {
    matches!(rest.as_bytes(), [] | [b'>' | b' ', ..])
}

/// A path without brackets, where the rules allow it.
fn bare(text: &str, rules: AddressRules) -> Result<&str, PathError> {
    match text.as_bytes() {
        [] | [b' ', ..] => Err(PathError::Brackets),
        _ if rules.bare_paths => Ok(text),
        _ => Err(PathError::Brackets),
    }
}

/// What follows a path without brackets: nothing, or a space and parameters.
fn after_bare(rest: &str) -> Result<&str, PathError> {
    match rest.as_bytes() {
        [] | [b' ', ..] => Ok(rest),
        _ => Err(PathError::Brackets),
    }
}

/// What follows the `>` that must come right after a path.
fn closed(rest: &str) -> Result<&str, PathError> {
    match rest.as_bytes() {
        [b'>', ..] => Ok(&rest[1..]),
        [] => Err(PathError::Brackets),
        _ => Err(PathError::Domain),
    }
}

/// RFC 5321, appendix C and 4.1.1.3: `@a,@b:` before a mailbox is accepted and ignored.
#[inline]
fn without_route(text: &str) -> Result<&str, PathError> {
    if text.starts_with('@') { after_route(text).ok_or(PathError::SourceRoute) } else { Ok(text) }
}

/// RFC 5321, section 4.1.2: `A-d-l ":"`, where `A-d-l = At-domain *( "," At-domain )`.
#[inline(never)]
fn after_route(mut text: &str) -> Option<&str> {
    loop {
        let hop = text.strip_prefix('@')?;
        let rest = &hop[domain::domain_end(hop)?..];
        match rest.as_bytes().first()? {
            b',' => text = &rest[1..],
            b':' => return Some(&rest[1..]),
            _ => return None,
        }
    }
}

/// Where the bytes of a class that begin at `start` end.
#[inline]
fn run_end(text: &[u8], start: usize, class: impl Fn(u8) -> bool) -> usize {
    let mut end = start;
    while text.get(end).is_some_and(|&byte| class(byte)) {
        end += 1;
    }
    end
}
