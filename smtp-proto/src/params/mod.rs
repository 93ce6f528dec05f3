//! The parameters of MAIL and RCPT (RFC 5321, 4.1.2 `Mail-parameters` and `Rcpt-parameters`).

mod mail;
mod rcpt;
mod values;

pub use mail::MailParameters;
pub use rcpt::RcptParameters;
pub use values::{ByMode, DateTime, DeliverBy, Hold, Notify, Orcpt, OrcptBuf, Priority, Ret, Xtext, XtextBuf};

use std::fmt;
use std::str::FromStr;

/// Why parameters cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// Not `keyword` or `keyword=value`, or two spaces between.
    #[error("a parameter is malformed")]
    Syntax,
    /// The value of a known parameter is malformed.
    #[error("the value of a parameter is malformed")]
    Value,
    /// A known parameter stands there twice.
    #[error("a parameter stands there twice")]
    Duplicate,
}

/// What the bytes of a body may be (RFC 6152, RFC 3030).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BodyType {
    /// `BODY=7BIT`, and the meaning of no parameter.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME`
    EightBitMime,
    /// `BODY=BINARYMIME` (RFC 3030, 3): any octets in lines of any length, carried by BDAT only.
    BinaryMime,
}

impl BodyType {
    fn parse(value: &str) -> Option<Self> {
        [Self::SevenBit, Self::EightBitMime, Self::BinaryMime]
            .into_iter()
            .find(|body| value.eq_ignore_ascii_case(body.as_str()))
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
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Parameters<'i> {
    /// `keyword[=value] *(SP keyword[=value])`
    text: &'i str,
}

impl<'i> Parameters<'i> {
    /// Checks `text`, which must be empty or begin with the first keyword.
    pub fn parse(text: &'i str) -> Result<Self, ParameterError> {
        // RFC 5321, 4.1.1: a server should tolerate trailing white space.
        let text = text.trim_end_matches(' ');
        let parameters = Self { text };
        if parameters.iter().all(|(keyword, value)| is_keyword(keyword) && value.is_none_or(is_value)) {
            Ok(parameters)
        } else {
            Err(ParameterError::Syntax)
        }
    }

    /// Keywords as they came, in any case, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&'i str, Option<&'i str>)> + use<'i> {
        let words = (!self.text.is_empty()).then(|| self.text.split(' '));
        words.into_iter().flatten().map(|word| match word.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (word, None),
        })
    }

    /// Appends the parameters as they came, each with a space before it.
    pub(crate) fn write(&self, output: &mut Vec<u8>) {
        if !self.is_empty() {
            put(output, &[" ", self.text]);
        }
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The text as it came.
    pub const fn as_str(&self) -> &'i str {
        self.text
    }
}

impl fmt::Debug for Parameters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

/// Own [`Parameters`]: for extensions that this library does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParametersBuf(Box<str>);

impl ParametersBuf {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The borrowed form.
    pub fn borrow(&self) -> Parameters<'_> {
        Parameters { text: &self.0 }
    }
}

impl FromStr for ParametersBuf {
    type Err = ParameterError;
    fn from_str(text: &str) -> Result<Self, ParameterError> {
        Parameters::parse(text).map(|parameters| Self(parameters.text.into()))
    }
}

fn set<T>(field: &mut Option<T>, value: Option<T>) -> Result<(), ParameterError> {
    let value = value.ok_or(ParameterError::Value)?;
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(ParameterError::Duplicate),
    }
}

/// A parameter without a value.
fn set_flag(field: &mut bool, value: Option<&str>) -> Result<(), ParameterError> {
    match (value, std::mem::replace(field, true)) {
        (Some(_), _) => Err(ParameterError::Value),
        (None, true) => Err(ParameterError::Duplicate),
        (None, false) => Ok(()),
    }
}

fn put(output: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        output.extend_from_slice(part.as_bytes());
    }
}

/// RFC 5321, 4.1.2: `esmtp-keyword`.
fn is_keyword(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// RFC 5321, 4.1.2: `esmtp-value`, with the UTF-8 of RFC 6531, 3.3.
fn is_value(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'!'..=b'<' | b'>'..=b'~' | 0x80..))
}
