//! What MAIL and RCPT say of notifications (RFC 3461). Text stays in its encoded form, checked, so that it can be written as it
//! is.

use std::str::FromStr;

use super::ParameterError;

/// `RET=` of MAIL (RFC 3461, 4.3): how much of the message a notification of failure returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ret {
    /// `FULL`
    Full,
    /// `HDRS`: the header only.
    Headers,
}

impl Ret {
    pub(super) fn parse(value: &str) -> Option<Self> {
        [Self::Full, Self::Headers].into_iter().find(|ret| value.eq_ignore_ascii_case(ret.as_str()))
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        }
    }
}

/// `NOTIFY=` of RCPT (RFC 3461, 4.1): when the sender wants a notification about this recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Notify {
    /// `SUCCESS`
    pub success: bool,
    /// `FAILURE`
    pub failure: bool,
    /// `DELAY`
    pub delay: bool,
}

impl Notify {
    /// `NEVER`: none of the three.
    pub const NEVER: Self = Self { success: false, failure: false, delay: false };

    /// `NEVER` stands alone, the others once each (RFC 3461, 4.1).
    pub(super) fn parse(value: &str) -> Option<Self> {
        if value.eq_ignore_ascii_case("NEVER") {
            return Some(Self::NEVER);
        }
        let mut notify = Self::NEVER;
        for word in value.split(',') {
            let flag = match word {
                word if word.eq_ignore_ascii_case("SUCCESS") => &mut notify.success,
                word if word.eq_ignore_ascii_case("FAILURE") => &mut notify.failure,
                word if word.eq_ignore_ascii_case("DELAY") => &mut notify.delay,
                _ => return None,
            };
            if std::mem::replace(flag, true) {
                return None;
            }
        }
        Some(notify)
    }

    pub(super) fn write(self, output: &mut Vec<u8>) {
        if self == Self::NEVER {
            output.extend_from_slice(b"NEVER");
            return;
        }
        let words = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        for (index, (_, word)) in words.into_iter().filter(|(wanted, _)| *wanted).enumerate() {
            if index > 0 {
                output.push(b',');
            }
            output.extend_from_slice(word.as_bytes());
        }
    }
}

/// Text in the encoding `xtext` (RFC 3461, 4): printable ASCII without `+`, `=` and SP, any other octet as `+` and two
/// hexadecimal digits in capitals.
///
/// ```
/// use smtp_proto::wire::params::Xtext;
///
/// let envelope_id = Xtext::parse("QQ+2B1").unwrap();
/// assert_eq!(envelope_id.decode(), b"QQ+1");
/// assert_eq!(Xtext::encode(b"QQ+1"), "QQ+2B1");
/// assert!(Xtext::parse("QQ+2b1").is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Xtext<'i>(&'i str);

impl Xtext<'static> {
    /// `<>`: it is not known who submitted a message (RFC 4954, 5).
    pub const NOBODY: Self = Self("<>");
}

impl<'i> Xtext<'i> {
    /// Checks encoded text, which must not be empty.
    pub fn parse(text: &'i str) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'+' => {
                    let digits = bytes.get(at + 1..at + 3)?;
                    if !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F')) {
                        return None;
                    }
                    at += 3;
                }
                b'!'..=b'~' if byte != b'=' => at += 1,
                _ => return None,
            }
        }
        (at > 0).then_some(Self(text))
    }

    /// Encodes any octets.
    pub fn encode(octets: &[u8]) -> String {
        let mut text = String::with_capacity(octets.len());
        for &byte in octets {
            match byte {
                b'!'..=b'~' if !matches!(byte, b'+' | b'=') => text.push(char::from(byte)),
                _ => text.push_str(&format!("+{byte:02X}")),
            }
        }
        text
    }

    /// What the text stands for.
    pub fn decode(self) -> Vec<u8> {
        let digit = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' + 10 };
        let mut octets = Vec::with_capacity(self.0.len());
        let mut bytes = self.0.bytes();
        while let Some(byte) = bytes.next() {
            octets.push(match byte {
                // `parse` saw two digits behind it.
                b'+' => 16 * bytes.next().map_or(0, digit) + bytes.next().map_or(0, digit),
                byte => byte,
            });
        }
        octets
    }

    /// The encoded form.
    pub const fn as_str(self) -> &'i str {
        self.0
    }
}

/// `ORCPT=` of RCPT (RFC 3461, 4.2): the recipient that the sender of the message meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Orcpt<'i> {
    text: &'i str,
    /// Where the semicolon stands.
    semicolon: usize,
}

/// RFC 3461, 4.2: characters of the whole value.
const MAX_ORCPT: usize = 500;

impl<'i> Orcpt<'i> {
    /// `addr-type ";" xtext`; of the type `utf-8` also UTF-8 and `\x{..}` (RFC 6533, 3).
    pub fn parse(text: &'i str) -> Option<Self> {
        let semicolon = text.find(';')?;
        let (kind, address) = (&text[..semicolon], &text[semicolon + 1..]);
        let is_atom = !kind.is_empty()
            && kind
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\".[]=+".contains(&byte));
        let valid = if kind.eq_ignore_ascii_case("utf-8") {
            // RFC 6533, 3: `utf-8-addr-unitext` and `utf-8-addr-xtext`; `+` and `=` are always escaped.
            !address.is_empty()
                && address
                    .bytes()
                    .all(|byte| matches!(byte, b'!'..=b'~' | 0x80..) && !b"+=".contains(&byte))
        } else {
            Xtext::parse(address).is_some()
        };
        (is_atom && valid && text.len() <= MAX_ORCPT).then_some(Self { text, semicolon })
    }

    /// The type of the address, such as `rfc822`.
    pub fn kind(self) -> &'i str {
        &self.text[..self.semicolon]
    }

    /// The address in its encoded form.
    pub fn address(self) -> &'i str {
        &self.text[self.semicolon + 1..]
    }

    /// The whole value as it came.
    pub const fn as_str(self) -> &'i str {
        self.text
    }
}

/// An owned [`Xtext`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct XtextBuf(Box<str>);

impl XtextBuf {
    /// The borrowed form.
    pub fn borrow(&self) -> Xtext<'_> {
        Xtext(&self.0)
    }
}

impl From<Xtext<'_>> for XtextBuf {
    fn from(text: Xtext<'_>) -> Self {
        Self(text.0.into())
    }
}

impl FromStr for XtextBuf {
    type Err = ParameterError;

    /// Reads the encoded form.
    fn from_str(text: &str) -> Result<Self, ParameterError> {
        Xtext::parse(text).map(Self::from).ok_or(ParameterError::Value)
    }
}

/// An owned [`Orcpt`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OrcptBuf {
    text: Box<str>,
    semicolon: usize,
}

impl OrcptBuf {
    /// The borrowed form.
    pub fn borrow(&self) -> Orcpt<'_> {
        Orcpt { text: &self.text, semicolon: self.semicolon }
    }
}

impl From<Orcpt<'_>> for OrcptBuf {
    fn from(orcpt: Orcpt<'_>) -> Self {
        Self { text: orcpt.text.into(), semicolon: orcpt.semicolon }
    }
}

impl FromStr for OrcptBuf {
    type Err = ParameterError;

    /// Reads `addr-type ";" xtext`.
    fn from_str(text: &str) -> Result<Self, ParameterError> {
        Orcpt::parse(text).map(Self::from).ok_or(ParameterError::Value)
    }
}
