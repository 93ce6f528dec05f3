//! Domains, mailboxes and the paths of an envelope (RFC 5321, 4.1.2 and 4.1.3).
//!
//! A value of these types has been checked against the grammar once, so it cannot hold CR, LF, NUL or
//! anything else that could end a command early. `Foo<'i>` borrows the text, `FooBuf` owns it.
//!
//! ```
//! use smtp_proto::wire::path::{Mailbox, MailboxBuf, PathError};
//!
//! let mailbox = Mailbox::parse("reader@test.example").unwrap();
//! assert_eq!((mailbox.local(), mailbox.domain().as_str()), ("reader", "test.example"));
//! assert_eq!(Mailbox::parse("reader@test.example\r\nDATA"), Err(PathError::Domain));
//!
//! let owned: MailboxBuf = "\"quoted local\"@[192.0.2.1]".parse().unwrap();
//! assert!(owned.borrow().domain().is_literal());
//! ```

mod domain;
mod mailbox;
mod owned;

pub use domain::{Domain, DomainBuf};
pub use mailbox::{Mailbox, MailboxBuf};
pub use owned::{ForwardPathBuf, ReversePathBuf};

use std::fmt;

/// RFC 5321, 4.5.3.1.1: octets before the `@`.
pub const MAX_LOCAL_PART: usize = 64;
/// RFC 5321, 4.5.3.1.2: octets of a domain name or number.
pub const MAX_DOMAIN: usize = 255;
/// RFC 1035, 2.3.4: octets between two dots.
pub const MAX_LABEL: usize = 63;
/// RFC 5321, 4.5.3.1.3: octets of a path with its punctuation and separators, less the angle brackets.
pub const MAX_MAILBOX: usize = 254;

/// Which part of a path is against the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No `<` where the path must begin, or no `>` where it must end.
    #[error("a path stands between < and >")]
    Brackets,
    /// The part before the `@`: RFC 5321, 4.1.2 `Local-part`.
    #[error("the local part is malformed or longer than {MAX_LOCAL_PART} octets")]
    LocalPart,
    /// No `@` after the local part.
    #[error("the domain is missing")]
    NoDomain,
    /// RFC 5321, 4.1.2 `Domain` or 4.1.3 `address-literal`.
    #[error("the domain is malformed or longer than {MAX_DOMAIN} octets")]
    Domain,
    /// RFC 5321, appendix C: a source route must be a list of `@domain`, ended by a colon.
    #[error("the source route is malformed")]
    SourceRoute,
    /// RFC 5321, 4.5.3.1.3.
    #[error("the path is longer than {MAX_MAILBOX} octets")]
    TooLong,
}

/// The sender of a message: a mailbox, or the null path `<>` of a notification (RFC 5321, 4.5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath<'i> {
    /// `<>`
    Null,
    /// `<local-part@domain>`
    Mailbox(Mailbox<'i>),
}

impl<'i> ReversePath<'i> {
    /// Reads what stands between the brackets. A source route is checked and dropped (RFC 5321, appendix C).
    pub fn parse(text: &'i str) -> Result<Self, PathError> {
        match Self::at_front(text)? {
            (path, "") => Ok(path),
            _ => Err(PathError::Domain),
        }
    }

    /// Reads `<path>` at the front of `text`, and returns what follows it.
    #[inline]
    pub(crate) fn in_brackets(text: &'i str) -> Result<(Self, &'i str), PathError> {
        let (path, rest) = Self::at_front(opened(text)?)?;
        Ok((path, closed(rest)?))
    }

    #[inline]
    fn at_front(text: &'i str) -> Result<(Self, &'i str), PathError> {
        // `< >` is a null path with an SP in it: harmless and seen.
        let behind_space = text.strip_prefix(' ').unwrap_or(text);
        if matches!(behind_space.as_bytes(), [] | [b'>', ..]) {
            return Ok((Self::Null, behind_space));
        }
        let (mailbox, rest) = Mailbox::at_front(without_route(text)?)?;
        Ok((Self::Mailbox(mailbox), rest))
    }

    /// The mailbox, if there is one.
    pub const fn mailbox(self) -> Option<Mailbox<'i>> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// The text between the brackets; empty for the null path.
    pub const fn as_str(self) -> &'i str {
        match self {
            Self::Null => "",
            Self::Mailbox(mailbox) => mailbox.as_str(),
        }
    }

    /// An owned copy.
    pub fn to_buf(self) -> ReversePathBuf {
        ReversePathBuf(self.mailbox().map(Mailbox::to_buf))
    }
}

impl fmt::Display for ReversePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}

/// A recipient: a mailbox, or `<Postmaster>` without a domain (RFC 5321, 4.1.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForwardPath<'i> {
    /// `<Postmaster>` in any case of its letters; the text is as the peer wrote it.
    Postmaster(&'i str),
    /// `<local-part@domain>`
    Mailbox(Mailbox<'i>),
}

impl<'i> ForwardPath<'i> {
    /// Reads what stands between the brackets. A source route is checked and dropped (RFC 5321, appendix C).
    pub fn parse(text: &'i str) -> Result<Self, PathError> {
        match Self::at_front(text)? {
            (path, "") => Ok(path),
            _ => Err(PathError::Domain),
        }
    }

    /// Reads `<path>` at the front of `text`, and returns what follows it.
    #[inline]
    pub(crate) fn in_brackets(text: &'i str) -> Result<(Self, &'i str), PathError> {
        let (path, rest) = Self::at_front(opened(text)?)?;
        Ok((path, closed(rest)?))
    }

    #[inline]
    fn at_front(text: &'i str) -> Result<(Self, &'i str), PathError> {
        match Mailbox::at_front(without_route(text)?) {
            Ok((mailbox, rest)) => Ok((Self::Mailbox(mailbox), rest)),
            Err(error) => Self::postmaster_at_front(text).ok_or(error),
        }
    }

    fn postmaster_at_front(text: &'i str) -> Option<(Self, &'i str)> {
        let (word, rest) = text.split_at_checked("Postmaster".len())?;
        let valid =
            word.eq_ignore_ascii_case("Postmaster") && matches!(rest.as_bytes(), [] | [b'>', ..]);
        valid.then_some((Self::Postmaster(word), rest))
    }

    /// The mailbox; none for `<Postmaster>`.
    pub const fn mailbox(self) -> Option<Mailbox<'i>> {
        match self {
            Self::Postmaster(_) => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// The text between the brackets.
    pub const fn as_str(self) -> &'i str {
        match self {
            Self::Postmaster(text) => text,
            Self::Mailbox(mailbox) => mailbox.as_str(),
        }
    }

    /// An owned copy.
    pub fn to_buf(self) -> ForwardPathBuf {
        match self {
            Self::Postmaster(text) => ForwardPathBuf { text: text.into(), at: None },
            Self::Mailbox(mailbox) => {
                ForwardPathBuf { text: mailbox.text.into(), at: Some(mailbox.at) }
            }
        }
    }
}

impl fmt::Display for ForwardPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}

/// What follows the `<` that a path begins with.
fn opened(text: &str) -> Result<&str, PathError> {
    text.strip_prefix('<').ok_or(PathError::Brackets)
}

/// What follows the `>` that must stand right behind a path.
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
    if text.starts_with('@') { behind_route(text).ok_or(PathError::SourceRoute) } else { Ok(text) }
}

/// RFC 5321, 4.1.2: `A-d-l ":"`, where `A-d-l = At-domain *( "," At-domain )`.
#[inline(never)]
fn behind_route(mut text: &str) -> Option<&str> {
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
