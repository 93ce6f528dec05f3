//! DSN parameters of MAIL and RCPT (RFC 3461). Text stays in its encoded form, checked, so that it
//! can be written as it came.

use std::borrow::Cow;

/// `RET=` of MAIL (RFC 3461, section 4.3): how much of the message a notification of failure
/// returns.
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

/// `NOTIFY=` of RCPT (RFC 3461, section 4.1): when the sender wants a notification about this
/// recipient. Start from [`NEVER`](Self::NEVER), and set what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
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

    /// `NEVER` alone, or the others once each (RFC 3461, section 4.1).
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

/// Text in the encoding `xtext` (RFC 3461, section 4): printable ASCII without `+`, `=` and SP, any
/// other octet as `+` and two hexadecimal digits.
///
/// The decoded text is UTF-8 without control characters, so it can be put into a header field, a
/// reply or a log: `ENVID=a+0D+0AX:+20y` is refused. RFC 3461 asks for capital digits; small ones
/// are taken as well, since a widely used server writes them.
///
/// ```
/// use smtp_proto::wire::params::Xtext;
///
/// let envelope_id = Xtext::parse("QQ+2B1").unwrap();
/// assert_eq!(envelope_id.decode(), b"QQ+1");
/// assert_eq!(Xtext::encode(b"QQ+1"), "QQ+2B1");
/// assert_eq!(Xtext::parse("QQ+2b1").unwrap().decode(), b"QQ+1");
/// assert!(Xtext::parse("a+0D+0AX:+20y").is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Xtext<'i>(Cow<'i, str>);

impl Xtext<'static> {
    /// `<>`: it is not known who submitted a message (RFC 4954, section 5).
    pub const NOBODY: Self = Self(Cow::Borrowed("<>"));
}

impl<'i> Xtext<'i> {
    /// Checks encoded text. `None` if it is empty, against the encoding, or if the decoded text is
    /// not UTF-8 or has a control character.
    pub fn parse(text: &'i str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (mut at, mut is_ascii) = (0, true);
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'+' => {
                    let (high, low) = (digit(*bytes.get(at + 1)?)?, digit(*bytes.get(at + 2)?)?);
                    match 16 * high + low {
                        b' '..=b'~' => {}
                        0x80.. => is_ascii = false,
                        _ => return None,
                    }
                    at += 3;
                }
                b'!'..=b'~' if byte != b'=' => at += 1,
                _ => return None,
            }
        }
        let text = Self(Cow::Borrowed(text));
        let is_text = || {
            let decoded = text.decode();
            str::from_utf8(&decoded).is_ok_and(|decoded| !decoded.contains(char::is_control))
        };
        (at > 0 && (is_ascii || is_text())).then_some(text)
    }

    /// The same for text that must be printable ASCII once decoded (RFC 3461, sections 4.2 and
    /// 4.4).
    pub(super) fn parse_ascii(text: &'i str) -> Option<Self> {
        Self::parse(text).filter(|text| text.decode().is_ascii())
    }

    /// Encodes text. Control characters cannot be in xtext that this library reads.
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

    /// The decoded text: UTF-8 without control characters.
    pub fn decode(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(self.0.len());
        let mut bytes = self.0.bytes();
        while let Some(byte) = bytes.next() {
            octets.push(match byte {
                // `parse` saw two digits after it.
                b'+' => {
                    let (high, low) = (bytes.next(), bytes.next());
                    let value = |byte: Option<u8>| byte.and_then(digit).unwrap_or(0);
                    16 * value(high) + value(low)
                }
                byte => byte,
            });
        }
        octets
    }

    /// The encoded form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text, borrowed.
    pub fn borrow(&self) -> Xtext<'_> {
        Xtext(Cow::Borrowed(&self.0))
    }

    /// The same text, free of what it was read from.
    pub fn into_owned(self) -> Xtext<'static> {
        Xtext(Cow::Owned(self.0.into_owned()))
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// `ORCPT=` of RCPT (RFC 3461, section 4.2): the recipient that the sender of the message meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Orcpt<'i> {
    text: Cow<'i, str>,
    /// The offset of the semicolon.
    semicolon: usize,
}

/// RFC 3461, section 4.2: characters of the whole value.
const MAX_ORCPT: usize = 500;

impl<'i> Orcpt<'i> {
    /// `addr-type ";" xtext`; of the type `utf-8` also UTF-8 and `\x{..}` (RFC 6533, section 3).
    pub fn parse(text: &'i str) -> Option<Self> {
        let semicolon = text.find(';')?;
        let (kind, address) = (&text[..semicolon], &text[semicolon + 1..]);
        let is_atom = !kind.is_empty()
            && kind
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\".[]=+".contains(&byte));
        let valid = if kind.eq_ignore_ascii_case("utf-8") {
            // RFC 6533, section 3: `utf-8-addr-unitext` and `utf-8-addr-xtext`; `+` and `=` are
            // always escaped.
            !address.is_empty()
                && address
                    .bytes()
                    .all(|byte| matches!(byte, b'!'..=b'~' | 0x80..) && !b"+=".contains(&byte))
                && !address.contains(char::is_control)
                && escapes_are_printable(address)
        } else {
            Xtext::parse_ascii(address).is_some()
        };
        (is_atom && valid && text.len() <= MAX_ORCPT)
            .then_some(Self { text: Cow::Borrowed(text), semicolon })
    }

    /// The type of the address, such as `rfc822`.
    pub fn kind(&self) -> &str {
        &self.text[..self.semicolon]
    }

    /// The address in its encoded form.
    pub fn address(&self) -> &str {
        &self.text[self.semicolon + 1..]
    }

    /// The whole value as it came.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same value, borrowed.
    pub fn borrow(&self) -> Orcpt<'_> {
        Orcpt { text: Cow::Borrowed(&self.text), semicolon: self.semicolon }
    }

    /// The same value, free of what it was read from.
    pub fn into_owned(self) -> Orcpt<'static> {
        Orcpt { text: Cow::Owned(self.text.into_owned()), semicolon: self.semicolon }
    }
}

/// RFC 6533, section 3: `EmbeddedUnicodeChar` is `\\x{` and `}` around hexadecimal digits. One for
/// a control character, or for no character, is refused: a reader that decodes it must not get a
/// line end.
fn escapes_are_printable(address: &str) -> bool {
    address.match_indices("\\x{").all(|(at, opening)| {
        let digits = address[at + opening.len()..].split('}').next().unwrap_or_default();
        let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
        code.is_some_and(|character| !character.is_control())
    })
}
