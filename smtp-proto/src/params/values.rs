//! The values of parameters. What is text stays in its encoded form, checked, so that it can be written as it is.

use std::fmt;
use std::str::FromStr;

use super::ParameterError;
use crate::reply::push_number;

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
/// use smtp_proto::params::Xtext;
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
            && kind.bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\".[]=+".contains(&byte));
        let valid = if kind.eq_ignore_ascii_case("utf-8") {
            // RFC 6533, 3: `utf-8-addr-unitext` and `utf-8-addr-xtext`; `+` and `=` are always escaped.
            !address.is_empty()
                && address.bytes().all(|byte| matches!(byte, b'!'..=b'~' | 0x80..) && !b"+=".contains(&byte))
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

/// `MT-PRIORITY=` of MAIL (RFC 6710, 5): -9 (least) to 9 (most), 0 without the parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(i8);

impl Priority {
    /// None beyond -9 and 9.
    pub const fn new(value: i8) -> Option<Self> {
        if value >= -9 && value <= 9 { Some(Self(value)) } else { None }
    }

    /// The number.
    pub const fn value(self) -> i8 {
        self.0
    }

    /// RFC 6710, 5: `(["-"] NZDIGIT) / "0"`.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let number = |byte: u8| (byte.is_ascii_digit()).then(|| (byte - b'0') as i8);
        match *value.as_bytes() {
            [digit] => number(digit).map(Self),
            [b'-', digit @ b'1'..=b'9'] => number(digit).map(|number| Self(-number)),
            _ => None,
        }
    }

    pub(super) fn write(self, output: &mut Vec<u8>) {
        put_signed(output, self.0.into());
    }
}

/// What becomes of a message that cannot be delivered in time (RFC 2852, 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByMode {
    /// `R`: it is returned.
    Return,
    /// `N`: its sender is told, and delivery is still tried.
    Notify,
}

/// `BY=` of MAIL (RFC 2852, 4).
///
/// ```
/// use smtp_proto::params::{ByMode, DeliverBy};
///
/// let by: DeliverBy = "120;RT".parse()?;
/// assert_eq!((by.seconds(), by.mode(), by.is_traced()), (120, ByMode::Return, true));
/// assert!("0;R".parse::<DeliverBy>().is_err(), "what is late already cannot be returned");
/// # Ok::<(), smtp_proto::params::ParameterError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliverBy {
    seconds: i32,
    mode: ByMode,
    trace: bool,
}

impl DeliverBy {
    /// RFC 2852, 4: the most seconds either way.
    pub const MAX_SECONDS: i32 = 999_999_999;

    /// None beyond [`MAX_SECONDS`](Self::MAX_SECONDS), and for [`ByMode::Return`] without a positive time.
    pub const fn new(seconds: i32, mode: ByMode, trace: bool) -> Option<Self> {
        let in_range = -Self::MAX_SECONDS <= seconds && seconds <= Self::MAX_SECONDS;
        // RFC 2852, 4: with R a zero or negative time is a syntax error.
        if in_range && (seconds > 0 || matches!(mode, ByMode::Notify)) {
            Some(Self { seconds, mode, trace })
        } else {
            None
        }
    }

    /// Seconds from now; zero and less for [`ByMode::Notify`] where the time is over already.
    pub const fn seconds(self) -> i32 {
        self.seconds
    }

    /// What happens then.
    pub const fn mode(self) -> ByMode {
        self.mode
    }

    /// `T`: notifications about relaying are wanted.
    pub const fn is_traced(self) -> bool {
        self.trace
    }

    pub(super) fn write(self, output: &mut Vec<u8>) {
        put_signed(output, self.seconds.into());
        output.extend_from_slice(match self.mode {
            ByMode::Return => b";R",
            ByMode::Notify => b";N",
        });
        if self.trace {
            output.push(b'T');
        }
    }
}

impl FromStr for DeliverBy {
    type Err = ParameterError;

    /// `["-" / "+"] 1*9digit ";" ("R" / "N") ["T"]`
    fn from_str(value: &str) -> Result<Self, ParameterError> {
        let (time, mode) = value.split_once(';').ok_or(ParameterError::Value)?;
        let digits = time.strip_prefix(['-', '+']).unwrap_or(time);
        let seconds = if is_number(digits) { time.parse().ok() } else { None };
        let (mode, trace) = match mode.as_bytes() {
            [b'R' | b'r'] => (ByMode::Return, false),
            [b'R' | b'r', b'T' | b't'] => (ByMode::Return, true),
            [b'N' | b'n'] => (ByMode::Notify, false),
            [b'N' | b'n', b'T' | b't'] => (ByMode::Notify, true),
            _ => return Err(ParameterError::Value),
        };
        seconds.and_then(|seconds| Self::new(seconds, mode, trace)).ok_or(ParameterError::Value)
    }
}

/// A point in time as RFC 3339 writes it, checked for its shape: `2026-01-31T23:59:59Z`.
///
/// A copy on the stack, for it is short; a fraction of a second is not kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DateTime {
    /// `YYYY-MM-DDTHH:MM:SS`
    stamp: [u8; 19],
    /// `Z`, or `+HH:MM`.
    zone: Option<[u8; 6]>,
}

impl DateTime {
    fn is_stamp(text: &[u8]) -> bool {
        let number =
            |from: usize| text[from..from + 2].iter().fold(0, |number, digit| 10 * number + digit.wrapping_sub(b'0'));
        text.iter().zip(b"0000-00-00T00:00:00").all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == form,
        }) && (1..=12).contains(&number(5))
            && (1..=31).contains(&number(8))
            && number(11) < 24
            && number(14) < 60
            && number(17) <= 60
    }

    fn zone(text: &[u8]) -> Option<Option<[u8; 6]>> {
        match text {
            b"Z" => Some(None),
            [b'+' | b'-', h1, h2, b':', m1, m2] if [h1, h2, m1, m2].into_iter().all(u8::is_ascii_digit) => {
                text.try_into().ok().map(Some)
            }
            _ => None,
        }
    }
}

impl FromStr for DateTime {
    type Err = ParameterError;

    /// RFC 4865, 4 takes `date-time` from RFC 3339, 5.6.
    fn from_str(text: &str) -> Result<Self, ParameterError> {
        let (stamp, mut rest) = text.as_bytes().split_first_chunk().ok_or(ParameterError::Value)?;
        if let Some(fraction) = rest.strip_prefix(b".") {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            rest = if digits > 0 { &fraction[digits..] } else { b"" };
        }
        match Self::zone(rest) {
            Some(zone) if Self::is_stamp(stamp) => Ok(Self { stamp: *stamp, zone }),
            _ => Err(ParameterError::Value),
        }
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.stamp.iter().chain(self.zone.as_ref().map_or(&b"Z"[..], |zone| &zone[..]));
        bytes.map(|&byte| char::from(byte)).try_for_each(|char| fmt::Write::write_char(f, char))
    }
}

impl fmt::Debug for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `HOLDFOR=` or `HOLDUNTIL=` of MAIL (RFC 4865, 4): not to be sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// Seconds from now, 1 to 999 999 999.
    For(u32),
    /// A point in time.
    Until(DateTime),
}

impl Hold {
    /// RFC 4865, 4: `%x31-39 *8DIGIT`.
    pub(super) fn parse_for(value: &str) -> Option<Self> {
        if is_number(value) && !value.starts_with('0') { value.parse().ok().map(Self::For) } else { None }
    }

    pub(super) fn write(self, output: &mut Vec<u8>) {
        match self {
            Self::For(seconds) => {
                output.extend_from_slice(b" HOLDFOR=");
                push_number(output, seconds);
            }
            Self::Until(time) => {
                output.extend_from_slice(b" HOLDUNTIL=");
                output.extend_from_slice(&time.stamp);
                output.extend_from_slice(time.zone.as_ref().map_or(b"Z", |zone| zone));
            }
        }
    }
}

/// One to nine digits.
fn is_number(text: &str) -> bool {
    (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn put_signed(output: &mut Vec<u8>, value: i64) {
    if value < 0 {
        output.push(b'-');
    }
    push_number(output, value.unsigned_abs());
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
