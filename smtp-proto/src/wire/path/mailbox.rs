//! Mailboxes, and the grammar of their local parts.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use super::domain::domain_end;
use super::{AddressRules, Domain, MAX_LOCAL_PART, MAX_MAILBOX, PathError, run_end};

/// `local-part@domain`, without brackets or source route.
#[derive(Clone, Debug)]
pub struct Mailbox<'i> {
    text: Cow<'i, str>,
    /// The offset of the `@`.
    at: usize,
    /// It was read by the strict rules, which all others include: it need not be read again.
    is_known_strict: bool,
}

impl PartialEq for Mailbox<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Mailbox<'_> {}

impl Hash for Mailbox<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl<'i> Mailbox<'i> {
    /// Checks `text`: `Mailbox` of RFC 5321, section 4.1.2, extended by RFC 6531, section 3.3 and
    /// by what these rules allow.
    ///
    /// # Errors
    ///
    /// The part of the mailbox that the rules do not allow.
    pub fn parse(text: &'i str, rules: AddressRules) -> Result<Self, PathError> {
        match Self::at_front(text, rules)? {
            (mailbox, "") => Ok(mailbox),
            _ => Err(PathError::Domain),
        }
    }

    /// The mailbox that `text` begins with, and what follows it. Always inline: the call costs RCPT
    /// a tenth of its time.
    #[inline(always)]
    pub(super) fn at_front(
        text: &'i str,
        rules: AddressRules,
    ) -> Result<(Self, &'i str), PathError> {
        match Self::strict_at_front(text) {
            Err(error) if rules != AddressRules::STRICT => {
                Self::lenient_at_front(text, rules).ok_or(error)
            }
            // The strict domain ends where an underscore is.
            Ok((_, rest)) if rules.underscores && rest.starts_with('_') => {
                Self::lenient_at_front(text, rules).ok_or(PathError::Domain)
            }
            result => result,
        }
    }

    /// Beyond RFC 5321, and so out of the way of what follows it.
    #[inline(never)]
    fn lenient_at_front(text: &'i str, rules: AddressRules) -> Option<(Self, &'i str)> {
        let at = local_end(text.as_bytes(), rules)?;
        let domain = text[at..].strip_prefix('@')?;
        let end = at + 1 + super::domain::lenient_domain_end(domain, rules)?;
        if end > MAX_MAILBOX {
            return None;
        }
        let (text, rest) = text.split_at(end);
        Some((Self { text: Cow::Borrowed(text), at, is_known_strict: false }, rest))
    }

    #[inline(always)]
    fn strict_at_front(text: &'i str) -> Result<(Self, &'i str), PathError> {
        let at = local_part_end(text.as_bytes())?;
        if at > MAX_LOCAL_PART {
            return Err(PathError::LocalPart);
        }
        match text.as_bytes().get(at) {
            Some(b'@') => {}
            None | Some(b'>') => return Err(PathError::NoDomain),
            Some(_) => return Err(PathError::LocalPart),
        }
        let end = at + 1 + domain_end(&text[at + 1..]).ok_or(PathError::Domain)?;
        if end > MAX_MAILBOX {
            return Err(PathError::TooLong);
        }
        let (text, rest) = text.split_at(end);
        Ok((Self { text: Cow::Borrowed(text), at, is_known_strict: true }, rest))
    }

    /// The part before the `@`, with its quotes if it has any. Its case is the receiver's affair
    /// (RFC 5321, section 2.4).
    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// The part after the `@`.
    pub fn domain(&self) -> Domain<'_> {
        Domain(Cow::Borrowed(&self.text[self.at + 1..]))
    }

    /// Whether RFC 5321 allows this mailbox as it is written.
    pub fn is_strict(&self) -> bool {
        self.check(AddressRules::STRICT).is_ok()
    }

    pub(super) fn check(&self, rules: AddressRules) -> Result<(), PathError> {
        match self.is_known_strict {
            true => Ok(()),
            false => Mailbox::parse(&self.text, rules).map(|_| ()),
        }
    }

    /// `local-part@domain` as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same mailbox, free of the text that it was read from.
    pub fn into_owned(self) -> Mailbox<'static> {
        Mailbox { text: Cow::Owned(self.text.into_owned()), ..self }
    }

    /// Whether a peer without SMTPUTF8 can be shown this mailbox.
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }

    /// The same mailbox with A-labels in place of U-labels, in ASCII (RFC 6531, section 3.2). None
    /// where the local part is not ASCII, for which there is no other form, and where the domain
    /// has no A-labels (RFC 5891, section 4.4).
    #[cfg(feature = "idna")]
    pub(crate) fn to_ascii(&self) -> Option<Mailbox<'static>> {
        if !self.local().is_ascii() {
            return None;
        }
        if self.is_ascii() {
            return Some(self.clone().into_owned());
        }
        let domain = idna::domain_to_ascii(self.domain().as_str()).ok()?;
        let text = format!("{}@{domain}", self.local());
        let mailbox = Mailbox::parse(&text, AddressRules::FIELD).ok()?;
        mailbox.is_ascii().then(|| mailbox.into_owned())
    }
}

impl fmt::Display for Mailbox<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where a local part ends that these rules allow, its length included.
pub(super) fn local_end(text: &[u8], rules: AddressRules) -> Option<usize> {
    let any_dots = |text: &[u8]| {
        let end = run_end(text, 0, |byte| is_atext(byte) || byte == b'.');
        (end > 0).then_some(end)
    };
    let end = match local_part_end(text) {
        Ok(end) if !(rules.any_dots && text.get(end) == Some(&b'.')) => end,
        _ if rules.any_dots && text.first() != Some(&b'"') => any_dots(text)?,
        _ => return None,
    };
    let max = if rules.long_local_parts { MAX_MAILBOX } else { MAX_LOCAL_PART };
    (end <= max).then_some(end)
}

/// Where the local part ends: the index of the first octet after it.
fn local_part_end(text: &[u8]) -> Result<usize, PathError> {
    match text.first() {
        Some(b'"') => quoted_string_end(text),
        Some(_) => dot_string_end(text),
        None => Err(PathError::LocalPart),
    }
}

/// RFC 5321, section 4.1.2: `Quoted-string`. RFC 6531, section 3.3 adds UTF-8, but not after a
/// backslash.
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

/// RFC 5321, section 4.1.2: `Dot-string`.
fn dot_string_end(text: &[u8]) -> Result<usize, PathError> {
    let mut start = 0;
    loop {
        let end = run_end(text, start, is_atext);
        if end == start {
            return Err(PathError::LocalPart);
        }
        if text.get(end) != Some(&b'.') {
            return Ok(end);
        }
        start = end + 1;
    }
}

/// RFC 5322, section 3.2.3, with the UTF8-non-ascii of RFC 6531, section 3.3.
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
