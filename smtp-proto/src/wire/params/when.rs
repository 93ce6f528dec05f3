//! When and how urgently a message is to be delivered: MT-PRIORITY, DELIVERBY and FUTURERELEASE.

use std::fmt;
use std::str::FromStr;

use super::ParameterError;
use crate::wire::ascii::push_number;

/// `MT-PRIORITY=` of MAIL (RFC 6710, section 5): -9 (least) to 9 (most), 0 without the parameter.
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

    /// RFC 6710, section 5: `(["-"] NZDIGIT) / "0"`.
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

/// What becomes of a message that cannot be delivered in time (RFC 2852, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByMode {
    /// `R`: it is returned.
    Return,
    /// `N`: its sender is told, and delivery is still tried.
    Notify,
}

/// `BY=` of MAIL (RFC 2852, section 4).
///
/// ```
/// use smtp_proto::wire::params::{ByMode, DeliverBy};
///
/// let by: DeliverBy = "120;RT".parse()?;
/// assert_eq!((by.seconds(), by.mode(), by.is_traced()), (120, ByMode::Return, true));
/// assert!("0;R".parse::<DeliverBy>().is_err(), "what is late already cannot be returned");
/// # Ok::<(), smtp_proto::wire::params::ParameterError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliverBy {
    seconds: i32,
    mode: ByMode,
    trace: bool,
}

impl DeliverBy {
    /// RFC 2852, section 4: the most seconds either way.
    pub const MAX_SECONDS: i32 = 999_999_999;

    /// None beyond [`MAX_SECONDS`](Self::MAX_SECONDS), and for [`ByMode::Return`] without a
    /// positive time.
    pub const fn new(seconds: i32, mode: ByMode, trace: bool) -> Option<Self> {
        let in_range = -Self::MAX_SECONDS <= seconds && seconds <= Self::MAX_SECONDS;
        // RFC 2852, section 4: with R a zero or negative time is a syntax error.
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
        let number = |from: usize| {
            text[from..from + 2]
                .iter()
                .fold(0, |number, digit| 10 * number + digit.wrapping_sub(b'0'))
        };
        text.iter().zip(b"0000-00-00T00:00:00").all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            // RFC 3339, section 5.6: `T` and `Z` may be small.
            form => byte.to_ascii_uppercase() == *form,
        }) && (1..=12).contains(&number(5))
            && (1..=days(100 * u32::from(number(0)) + u32::from(number(2)), number(5)))
                .contains(&number(8))
            && number(11) < 24
            && number(14) < 60
            && number(17) <= 60
    }

    fn zone(text: &[u8]) -> Option<Option<[u8; 6]>> {
        match text {
            b"Z" | b"z" => Some(None),
            // RFC 3339, section 5.6: up to 23:59.
            [b'+' | b'-', b'0' | b'1', b'0'..=b'9', b':', b'0'..=b'5', b'0'..=b'9']
            | [b'+' | b'-', b'2', b'0'..=b'3', b':', b'0'..=b'5', b'0'..=b'9'] => {
                text.try_into().ok().map(Some)
            }
            _ => None,
        }
    }
}

/// Days of a month of the Gregorian calendar (RFC 3339, section 5.7).
const fn days(year: u32, month: u8) -> u8 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl FromStr for DateTime {
    type Err = ParameterError;

    /// RFC 4865, section 4 takes `date-time` from RFC 3339, section 5.6.
    fn from_str(text: &str) -> Result<Self, ParameterError> {
        let (stamp, mut rest) = text.as_bytes().split_first_chunk().ok_or(ParameterError::Value)?;
        if let Some(fraction) = rest.strip_prefix(b".") {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            rest = if digits > 0 { &fraction[digits..] } else { b"" };
        }
        match Self::zone(rest) {
            Some(zone) if Self::is_stamp(stamp) => {
                Ok(Self { stamp: stamp.map(|byte| byte.to_ascii_uppercase()), zone })
            }
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

/// `HOLDFOR=` or `HOLDUNTIL=` of MAIL (RFC 4865, section 4): not to be sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// Seconds from now, 1 to 999 999 999.
    For(u32),
    /// A point in time.
    Until(DateTime),
}

impl Hold {
    /// RFC 4865, section 4: `%x31-39 *8DIGIT`.
    pub(super) fn parse_for(value: &str) -> Option<Self> {
        if is_number(value) && !value.starts_with('0') {
            value.parse().ok().map(Self::For)
        } else {
            None
        }
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
