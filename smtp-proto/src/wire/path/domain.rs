//! Domains: names and address literals.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::{AddressRules, MAX_DOMAIN, MAX_LABEL, PathError, run_end};

/// A domain name or an address literal such as `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
///
/// Labels may be U-labels (RFC 6531): [`is_ascii`](Domain::is_ascii) tells. Compared as written;
/// use [`eq_ignore_case`](Domain::eq_ignore_case) for the comparison that DNS makes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Domain<'i>(pub(super) Cow<'i, str>);

impl<'i> Domain<'i> {
    /// Checks `text`: `Domain` of RFC 5321, section 4.1.2, or `address-literal` of section 4.1.3.
    /// No trailing dot.
    ///
    /// # Errors
    ///
    /// [`PathError::Domain`]: the text is neither.
    pub fn parse(text: &'i str) -> Result<Self, PathError> {
        match domain_end(text) {
            Some(end) if end == text.len() => Ok(Self(Cow::Borrowed(text))),
            _ => Err(PathError::Domain),
        }
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same domain, free of the text that it was read from.
    pub fn into_owned(self) -> Domain<'static> {
        Domain(Cow::Owned(self.0.into_owned()))
    }

    /// Whether this is an address in brackets.
    pub fn is_literal(&self) -> bool {
        self.0.starts_with('[')
    }

    /// The address, if this is an address literal.
    pub fn address(&self) -> Option<std::net::IpAddr> {
        let inner = self.0.strip_prefix('[')?.strip_suffix(']')?;
        match inner.split_at_checked(5) {
            Some((tag, rest)) if tag.eq_ignore_ascii_case("IPv6:") => {
                rest.parse().ok().map(std::net::IpAddr::V6)
            }
            _ => inner.parse().ok().map(std::net::IpAddr::V4),
        }
    }

    /// Whether a peer without SMTPUTF8 can be shown this domain.
    pub fn is_ascii(&self) -> bool {
        self.0.is_ascii()
    }

    /// RFC 5321, section 2.4: domain names are compared without regard to the case of ASCII
    /// letters.
    pub fn eq_ignore_case(&self, other: &Domain<'_>) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl fmt::Display for Domain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Domain<'static> {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        Domain::parse(text).map(Domain::into_owned)
    }
}

/// Where the domain or address literal at the front of `text` ends; none if there is none.
#[inline]
pub(super) fn domain_end(text: &str) -> Option<usize> {
    if text.starts_with('[') {
        return literal_end(text);
    }
    // RFC 5321, section 4.1.2: `sub-domain *("." sub-domain)`; RFC 6531, section 3.3 adds U-labels.
    let bytes = text.as_bytes();
    let mut start = 0;
    loop {
        let end = run_end(bytes, start, is_in_label);
        let label = &bytes[start..end];
        if matches!(label, [] | [b'-', ..] | [.., b'-']) || label.len() > MAX_LABEL {
            return None;
        }
        if bytes.get(end) != Some(&b'.') {
            return (end <= MAX_DOMAIN).then_some(end);
        }
        start = end + 1;
    }
}

/// The same for names with underscores, if these rules allow them.
pub(super) fn lenient_domain_end(text: &str, rules: AddressRules) -> Option<usize> {
    if !rules.underscores || text.starts_with('[') {
        return domain_end(text);
    }
    let bytes = text.as_bytes();
    let mut start = 0;
    loop {
        let end = run_end(bytes, start, |byte| is_in_label(byte) || byte == b'_');
        let label = &bytes[start..end];
        if matches!(label, [] | [b'-', ..] | [.., b'-']) || label.len() > MAX_LABEL {
            return None;
        }
        if bytes.get(end) != Some(&b'.') {
            return (end <= MAX_DOMAIN).then_some(end);
        }
        start = end + 1;
    }
}

/// RFC 5321, section 4.1.3. Rare, and so out of the way of names.
#[inline(never)]
fn literal_end(text: &str) -> Option<usize> {
    let end = text.find(']')?;
    is_address_literal(&text[1..end]).then_some(end + 1)
}

/// Letters, digits, the hyphen, and the octets of U-labels.
const fn is_in_label(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] =
                matches!(byte as u8, b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | 0x80..);
            byte += 1;
        }
        table
    };
    TABLE[byte as usize]
}

/// RFC 5321, section 4.1.3, without the brackets. IPv6 is the only registered tag of a general
/// literal.
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
        let digits =
            !part.is_empty() && part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
        if parts > 4 || !digits || part.parse::<u8>().is_err() {
            return false;
        }
    }
    parts == 4
}

/// `IPv6-full / IPv6-comp / IPv6v4-full / IPv6v4-comp`: a `::` replaces at least two groups.
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
            let valid = (1..=4).contains(&group.len())
                && group.bytes().all(|byte| byte.is_ascii_hexdigit());
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
