//! The parameters of MAIL and RCPT (RFC 5321, section 4.1.2 `Mail-parameters` and
//! `Rcpt-parameters`).

mod dsn;
mod mail;
mod rcpt;
mod when;

pub use dsn::{Notify, Orcpt, Ret, Xtext};
pub use mail::MailParameters;
pub use rcpt::RcptParameters;
pub use when::{DeliverBy, Hold, Priority};

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::wire::ascii::{is_word, put};
use crate::wire::fault::CommandError;

/// What the bytes of a body may be (RFC 6152, RFC 3030).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BodyType {
    /// `BODY=7BIT`, and the meaning of no parameter.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME`
    EightBitMime,
    /// `BODY=BINARYMIME` (RFC 3030, section 3): any octets in lines of any length, carried by BDAT
    /// only.
    BinaryMime,
}

impl BodyType {
    fn parse(value: &str) -> Option<Self> {
        match value.as_bytes() {
            value if is_word(value, b"8BITMIME") => Some(Self::EightBitMime),
            value if is_word(value, b"7BIT") => Some(Self::SevenBit),
            value if is_word(value, b"BINARYMIME") => Some(Self::BinaryMime),
            _ => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::SevenBit => "7BIT",
            Self::EightBitMime => "8BITMIME",
            Self::BinaryMime => "BINARYMIME",
        }
    }
}

/// Parameters as the peer wrote them, checked against the general grammar.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Parameters<'i> {
    /// `keyword[=value] *(1*SP keyword[=value])`
    text: Cow<'i, str>,
}

impl<'i> Parameters<'i> {
    /// Checks `text`, which must be empty or begin with the first keyword.
    ///
    /// # Errors
    ///
    /// [`CommandError::Parameter`]: the text is against the grammar.
    pub fn parse(text: &'i str) -> Result<Self, CommandError> {
        let text = without_trailing_spaces(text);
        let mut rest = text;
        while !rest.is_empty() {
            rest = Word::parse(rest).ok_or(CommandError::Parameter)?.rest;
        }
        Ok(Self::checked(text))
    }

    const fn checked(text: &'i str) -> Self {
        Self { text: Cow::Borrowed(text) }
    }

    /// Keywords as they came, in any case, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let mut rest = self.as_str();
        std::iter::from_fn(move || {
            let word = Word::parse(rest)?;
            rest = word.rest;
            Some((word.keyword, word.value))
        })
    }

    /// Appends the parameters as they came, each with a space before it.
    pub(crate) fn write(&self, output: &mut Vec<u8>) {
        if !self.is_empty() {
            put(output, &[" ", &self.text]);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The text as it came.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same parameters, free of the text that they were read from.
    pub fn into_owned(self) -> Parameters<'static> {
        Parameters { text: Cow::Owned(self.text.into_owned()) }
    }
}

impl fmt::Debug for Parameters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl FromStr for Parameters<'static> {
    type Err = CommandError;
    fn from_str(text: &str) -> Result<Self, CommandError> {
        Parameters::parse(text).map(Parameters::into_owned)
    }
}

/// A parameter that is there twice with the same value means what it means once.
fn set<T: PartialEq>(field: &mut Option<T>, value: Option<T>) -> Result<(), CommandError> {
    let value = value.ok_or(CommandError::ParameterValue)?;
    match field {
        Some(first) if *first != value => Err(CommandError::ParameterTwice),
        _ => {
            *field = Some(value);
            Ok(())
        }
    }
}

/// A parameter without a value.
fn set_flag(field: &mut bool, value: Option<&str>) -> Result<(), CommandError> {
    *field = true;
    if value.is_some() { Err(CommandError::ParameterValue) } else { Ok(()) }
}

/// RFC 5321, section 4.1.1: a server should tolerate trailing white space.
fn without_trailing_spaces(text: &str) -> &str {
    let spaces = text.bytes().rev().take_while(|&byte| byte == b' ').count();
    &text[..text.len() - spaces]
}

/// One parameter at the front of a text: `esmtp-param` of RFC 5321, section 4.1.2.
struct Word<'i> {
    keyword: &'i str,
    value: Option<&'i str>,
    /// What follows it and its SP.
    rest: &'i str,
}

impl<'i> Word<'i> {
    /// None where there is no parameter, or one against the grammar.
    #[inline]
    fn parse(text: &'i str) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut end = run(bytes, KEYWORD);
        // A keyword begins with a letter or a digit.
        if end == 0 || bytes[0] == b'-' {
            return None;
        }
        let keyword = &text[..end];
        let mut value = None;
        if bytes.get(end) == Some(&b'=') {
            let from = end + 1;
            end = from + run(&bytes[from..], VALUE);
            value = Some(&text[from..end]).filter(|value| !value.is_empty());
            value?;
        }
        match bytes.get(end) {
            None => Some(Self { keyword, value, rest: "" }),
            // RFC 5321, section 4.1.2 has one SP; many clients send several.
            Some(b' ') => {
                let spaces = bytes[end..].iter().take_while(|&&byte| byte == b' ').count();
                Some(Self { keyword, value, rest: &text[end + spaces..] })
            }
            Some(_) => None,
        }
    }
}

/// How many bytes at the front of `text` are of a class.
#[inline]
fn run(text: &[u8], class: u8) -> usize {
    text.iter().position(|&byte| CLASSES[usize::from(byte)] & class == 0).unwrap_or(text.len())
}

/// `esmtp-keyword`: letters, digits and `-`.
const KEYWORD: u8 = 1;
/// `esmtp-value`: printable and not `=`, with the UTF-8 of RFC 6531, section 3.3.
const VALUE: u8 = 2;
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let keyword = matches!(byte as u8, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-');
        let value = matches!(byte as u8, b'!'..=b'<' | b'>'..=b'~' | 0x80..);
        classes[byte] = if keyword { KEYWORD } else { 0 } | if value { VALUE } else { 0 };
        byte += 1;
    }
    classes
};
