//! Domains, mailboxes and the paths of an envelope (RFC 5321, 4.1.2 and 4.1.3).
//!
//! A value of these types has been checked against the grammar once, so it cannot hold CR, LF, NUL or
//! anything else that could end a command early. `Foo<'i>` borrows the text, `FooBuf` owns it.
//!
//! ```
//! use smtp_proto::path::{Mailbox, MailboxBuf, PathError};
//!
//! let mailbox = Mailbox::parse("reader@test.example").unwrap();
//! assert_eq!((mailbox.local(), mailbox.domain().as_str()), ("reader", "test.example"));
//! assert_eq!(Mailbox::parse("reader@test.example\r\nDATA"), Err(PathError::Domain));
//!
//! let owned: MailboxBuf = "\"quoted local\"@[192.0.2.1]".parse().unwrap();
//! assert!(owned.borrow().domain().is_literal());
//! ```

use std::fmt;
use std::str::FromStr;

use memchr::memchr2;

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
    /// Not UTF-8 (RFC 6531, 3.3).
    #[error("the path is not UTF-8")]
    NotUtf8,
}

/// A domain name or an address literal such as `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
///
/// Labels may be U-labels (RFC 6531): [`is_ascii`](Domain::is_ascii) tells. Compared as written; use
/// [`eq_ignore_case`](Domain::eq_ignore_case) for the comparison that DNS makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Domain<'i>(&'i str);

impl<'i> Domain<'i> {
    /// Checks `text`: `Domain` of RFC 5321, 4.1.2, or `address-literal` of 4.1.3. No trailing dot.
    pub fn parse(text: &'i str) -> Result<Self, PathError> {
        let valid = match text.as_bytes() {
            [b'[', .., b']'] => is_address_literal(&text[1..text.len() - 1]),
            _ => is_domain_name(text),
        };
        if valid { Ok(Self(text)) } else { Err(PathError::Domain) }
    }

    /// The text as it was given.
    pub const fn as_str(self) -> &'i str {
        self.0
    }

    /// Whether this is an address in brackets.
    pub fn is_literal(self) -> bool {
        self.0.starts_with('[')
    }

    /// The address, if this is an address literal.
    pub fn address(self) -> Option<std::net::IpAddr> {
        let inner = self.0.strip_prefix('[')?.strip_suffix(']')?;
        match inner.split_at_checked(5) {
            Some((tag, rest)) if tag.eq_ignore_ascii_case("IPv6:") => rest.parse().ok().map(std::net::IpAddr::V6),
            _ => inner.parse().ok().map(std::net::IpAddr::V4),
        }
    }

    /// Whether a peer without SMTPUTF8 can be shown this domain.
    pub fn is_ascii(self) -> bool {
        self.0.is_ascii()
    }

    /// RFC 5321, 2.4: domain names are compared without regard to the case of ASCII letters.
    pub fn eq_ignore_case(self, other: Domain<'_>) -> bool {
        self.0.eq_ignore_ascii_case(other.0)
    }
}

impl fmt::Display for Domain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// `local-part@domain`, without brackets or source route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mailbox<'i> {
    text: &'i str,
    at: usize,
}

impl<'i> Mailbox<'i> {
    /// Checks `text`: `Mailbox` of RFC 5321, 4.1.2, extended by RFC 6531, 3.3.
    pub fn parse(text: &'i str) -> Result<Self, PathError> {
        let at = local_part_end(text.as_bytes())?;
        if at == 0 || at > MAX_LOCAL_PART {
            return Err(PathError::LocalPart);
        }
        match text.as_bytes().get(at) {
            Some(b'@') => {}
            Some(_) => return Err(PathError::LocalPart),
            None => return Err(PathError::NoDomain),
        }
        Domain::parse(&text[at + 1..])?;
        if text.len() > MAX_MAILBOX {
            return Err(PathError::TooLong);
        }
        Ok(Self { text, at })
    }

    /// The part before the `@`, with its quotes if it has any. Its case is the receiver's affair (RFC 5321, 2.4).
    pub fn local(self) -> &'i str {
        &self.text[..self.at]
    }

    /// The part after the `@`.
    pub fn domain(self) -> Domain<'i> {
        Domain(&self.text[self.at + 1..])
    }

    /// `local-part@domain` as it was given.
    pub const fn as_str(self) -> &'i str {
        self.text
    }

    /// Whether a peer without SMTPUTF8 can be shown this mailbox.
    pub fn is_ascii(self) -> bool {
        self.text.is_ascii()
    }

    /// The same mailbox with A-labels in place of U-labels, in ASCII (RFC 6531, 3.2). None where the local part is not
    /// ASCII, for which there is no other form, and where the domain has no A-labels (RFC 5891, 4.4).
    #[cfg(feature = "idna")]
    pub fn to_ascii(self) -> Option<MailboxBuf> {
        if !self.local().is_ascii() {
            return None;
        }
        if self.is_ascii() {
            return Some(self.to_buf());
        }
        let domain = idna::domain_to_ascii(self.domain().as_str()).ok()?;
        format!("{}@{domain}", self.local()).parse().ok().filter(|mailbox: &MailboxBuf| mailbox.borrow().is_ascii())
    }

    /// An owned copy.
    pub fn to_buf(self) -> MailboxBuf {
        MailboxBuf { text: self.text.into(), at: self.at }
    }
}

impl fmt::Display for Mailbox<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
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
        // `< >` is a null path with an SP in it: harmless and seen.
        if text.is_empty() || text == " " {
            return Ok(Self::Null);
        }
        Ok(Self::Mailbox(Mailbox::parse(without_route(text)?)?))
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
        if text.eq_ignore_ascii_case("postmaster") {
            return Ok(Self::Postmaster(text));
        }
        Ok(Self::Mailbox(Mailbox::parse(without_route(text)?)?))
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
            Self::Mailbox(mailbox) => ForwardPathBuf { text: mailbox.text.into(), at: Some(mailbox.at) },
        }
    }
}

impl fmt::Display for ForwardPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}

/// An owned [`Domain`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DomainBuf(Box<str>);

impl DomainBuf {
    /// The borrowed form.
    pub fn borrow(&self) -> Domain<'_> {
        Domain(&self.0)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DomainBuf {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        Domain::parse(text).map(|domain| Self(domain.0.into()))
    }
}

impl fmt::Display for DomainBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An owned [`Mailbox`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MailboxBuf {
    text: Box<str>,
    at: usize,
}

impl MailboxBuf {
    /// The borrowed form.
    pub fn borrow(&self) -> Mailbox<'_> {
        Mailbox { text: &self.text, at: self.at }
    }
}

impl FromStr for MailboxBuf {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        Mailbox::parse(text).map(Mailbox::to_buf)
    }
}

impl fmt::Display for MailboxBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An owned [`ReversePath`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReversePathBuf(Option<MailboxBuf>);

impl ReversePathBuf {
    /// The null path `<>`.
    pub const NULL: Self = Self(None);

    /// The borrowed form.
    pub fn borrow(&self) -> ReversePath<'_> {
        match &self.0 {
            None => ReversePath::Null,
            Some(mailbox) => ReversePath::Mailbox(mailbox.borrow()),
        }
    }
}

impl FromStr for ReversePathBuf {
    type Err = PathError;
    /// Reads the text without brackets; the empty text is the null path.
    fn from_str(text: &str) -> Result<Self, PathError> {
        ReversePath::parse(text).map(ReversePath::to_buf)
    }
}

impl fmt::Display for ReversePathBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.borrow().fmt(f)
    }
}

/// An owned [`ForwardPath`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ForwardPathBuf {
    text: Box<str>,
    /// Where the `@` stands; none for `<Postmaster>`.
    at: Option<usize>,
}

impl ForwardPathBuf {
    /// The borrowed form.
    pub fn borrow(&self) -> ForwardPath<'_> {
        match self.at {
            None => ForwardPath::Postmaster(&self.text),
            Some(at) => ForwardPath::Mailbox(Mailbox { text: &self.text, at }),
        }
    }
}

impl FromStr for ForwardPathBuf {
    type Err = PathError;
    /// Reads the text without brackets.
    fn from_str(text: &str) -> Result<Self, PathError> {
        ForwardPath::parse(text).map(ForwardPath::to_buf)
    }
}

impl fmt::Display for ForwardPathBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.borrow().fmt(f)
    }
}

/// Cuts `<path>` off the front of `text`: what stands between the brackets, and what follows them.
pub(crate) fn split_brackets(text: &str) -> Result<(&str, &str), PathError> {
    let inner = text.strip_prefix('<').ok_or(PathError::Brackets)?;
    let bytes = inner.as_bytes();
    // A `>` inside a quoted local part does not end the path; without a quote the first one does.
    let mut at = memchr2(b'"', b'>', bytes).ok_or(PathError::Brackets)?;
    let mut quoted = false;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => at += 1,
            b'>' if !quoted => return Ok((&inner[..at], &inner[at + 1..])),
            _ => {}
        }
        at += 1;
    }
    Err(PathError::Brackets)
}

/// RFC 5321, appendix C and 4.1.1.3: `@a,@b:` before a mailbox is accepted and ignored.
fn without_route(text: &str) -> Result<&str, PathError> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    // An address literal may hold a colon, so the one that ends the route is the first outside brackets.
    let mut bracketed = false;
    let end = text
        .bytes()
        .position(|byte| {
            match byte {
                b'[' => bracketed = true,
                b']' => bracketed = false,
                _ => {}
            }
            byte == b':' && !bracketed
        })
        .ok_or(PathError::SourceRoute)?;
    for hop in text[..end].split(',') {
        let name = hop.strip_prefix('@').ok_or(PathError::SourceRoute)?;
        Domain::parse(name).map_err(|_| PathError::SourceRoute)?;
    }
    Ok(&text[end + 1..])
}

/// Where the local part ends: the index of the first byte behind it.
fn local_part_end(text: &[u8]) -> Result<usize, PathError> {
    match text.first() {
        Some(b'"') => quoted_string_end(text),
        Some(_) => dot_string_end(text),
        None => Err(PathError::LocalPart),
    }
}

/// RFC 5321, 4.1.2: `Quoted-string`. RFC 6531, 3.3 adds UTF-8, but not behind a backslash.
fn quoted_string_end(text: &[u8]) -> Result<usize, PathError> {
    let mut at = 1;
    loop {
        match text.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => match text.get(at + 1) {
                Some(b' '..=b'~') => at += 2,
                _ => return Err(PathError::LocalPart),
            },
            Some(b' '..=b'~' | 0x80..) => at += 1,
            _ => return Err(PathError::LocalPart),
        }
    }
}

/// RFC 5321, 4.1.2: `Dot-string`.
fn dot_string_end(text: &[u8]) -> Result<usize, PathError> {
    let mut at = 0;
    loop {
        let start = at;
        while text.get(at).is_some_and(|&byte| is_atext(byte)) {
            at += 1;
        }
        if at == start {
            return Err(PathError::LocalPart);
        }
        if text.get(at) != Some(&b'.') {
            return Ok(at);
        }
        at += 1;
    }
}

/// RFC 5322, 3.2.3, with the UTF8-non-ascii of RFC 6531, 3.3.
const fn is_atext(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = (byte as u8).is_ascii_alphanumeric() || byte >= 0x80;
            byte += 1;
        }
        let special = b"!#$%&'*+-/=?^_`{|}~";
        let mut at = 0;
        while at < special.len() {
            table[special[at] as usize] = true;
            at += 1;
        }
        table
    };
    TABLE[byte as usize]
}

/// RFC 5321, 4.1.2: `sub-domain *("." sub-domain)`; RFC 6531, 3.3 adds U-labels.
fn is_domain_name(text: &str) -> bool {
    if text.is_empty() || text.len() > MAX_DOMAIN {
        return false;
    }
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        let start = at;
        while bytes.get(at).is_some_and(|&byte| is_in_label(byte)) {
            at += 1;
        }
        let valid = match &bytes[start..at] {
            [] | [b'-', ..] | [.., b'-'] => false,
            label => label.len() <= MAX_LABEL,
        };
        match bytes.get(at) {
            Some(b'.') if valid => at += 1,
            Some(_) => return false,
            None => return valid,
        }
    }
}

/// Letters, digits, the hyphen, and the octets of U-labels.
const fn is_in_label(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = matches!(byte as u8, b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | 0x80..);
            byte += 1;
        }
        table
    };
    TABLE[byte as usize]
}

/// RFC 5321, 4.1.3, without the brackets. IPv6 is the only registered tag of a general literal.
fn is_address_literal(inner: &str) -> bool {
    match inner.split_at_checked(5) {
        Some((tag, rest)) if tag.eq_ignore_ascii_case("IPv6:") => is_ipv6(rest),
        _ => is_ipv4(inner),
    }
}

/// `Snum 3("." Snum)`: one to three digits each, up to 255.
fn is_ipv4(text: &str) -> bool {
    let mut parts = 0;
    for part in text.split('.') {
        parts += 1;
        let digits = !part.is_empty() && part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
        if parts > 4 || !digits || part.parse::<u8>().is_err() {
            return false;
        }
    }
    parts == 4
}

/// `IPv6-full / IPv6-comp / IPv6v4-full / IPv6v4-comp`: a `::` stands for at least two groups.
fn is_ipv6(text: &str) -> bool {
    // A dotted quad at the end takes the place of two groups.
    let (groups, quad) = match text.rfind(':') {
        Some(colon) if text[colon + 1..].contains('.') => {
            if !is_ipv4(&text[colon + 1..]) {
                return false;
            }
            // The colon before the quad belongs to a `::` or only separates.
            let head = &text[..colon];
            (if head.ends_with(':') { &text[..=colon] } else { head }, 2)
        }
        _ => (text, 0),
    };
    let count = |part: &str| -> Option<usize> {
        if part.is_empty() {
            return Some(0);
        }
        part.split(':').try_fold(0, |count, group| {
            let valid = (1..=4).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_hexdigit());
            valid.then_some(count + 1)
        })
    };
    match groups.split_once("::") {
        Some((before, after)) => match (count(before), count(after)) {
            (Some(before), Some(after)) => before + after + quad <= 6,
            _ => false,
        },
        None => count(groups) == Some(8 - quad),
    }
}
