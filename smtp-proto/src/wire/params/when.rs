//! When and how urgently a message is to be delivered: MT-PRIORITY, DELIVERBY and FUTURERELEASE.

use std::io::Write as _;

use crate::date::Date;
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

/// `BY=` of MAIL (RFC 2852, section 4): how long delivery may take, and what becomes of a message
/// that is late.
///
/// ```
/// use smtp_proto::wire::params::DeliverBy;
///
/// let by = DeliverBy::return_after(120).unwrap().traced();
/// assert_eq!(DeliverBy::parse("120;RT"), Some(by));
/// assert_eq!((by.seconds(), by.is_returned(), by.is_traced()), (120, true, true));
/// assert_eq!(DeliverBy::parse("0;R"), None, "what is late already cannot be returned");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliverBy {
    seconds: i32,
    returned: bool,
    trace: bool,
}

impl DeliverBy {
    /// RFC 2852, section 4: the most seconds either way.
    pub const MAX_SECONDS: i32 = 999_999_999;

    /// `R`: a message that cannot be delivered in so many seconds from now is returned. None unless
    /// they are 1 to [`MAX_SECONDS`](Self::MAX_SECONDS).
    pub const fn return_after(seconds: i32) -> Option<Self> {
        // RFC 2852, section 4: with R a zero or negative time is a syntax error.
        if 0 < seconds && seconds <= Self::MAX_SECONDS {
            Some(Self { seconds, returned: true, trace: false })
        } else {
            None
        }
    }

    /// `N`: the sender of a message that cannot be delivered in so many seconds from now is told,
    /// and delivery is still tried. Zero and less where the time is over already; none beyond
    /// [`MAX_SECONDS`](Self::MAX_SECONDS) either way.
    pub const fn notify_after(seconds: i32) -> Option<Self> {
        if -Self::MAX_SECONDS <= seconds && seconds <= Self::MAX_SECONDS {
            Some(Self { seconds, returned: false, trace: false })
        } else {
            None
        }
    }

    /// The same with `T`: notifications about relaying are wanted.
    #[must_use]
    pub const fn traced(self) -> Self {
        Self { trace: true, ..self }
    }

    /// Reads `["-" / "+"] 1*9digit ";" ("R" / "N") ["T"]`.
    pub fn parse(value: &str) -> Option<Self> {
        let (time, mode) = value.split_once(';')?;
        let digits = time.strip_prefix(['-', '+']).unwrap_or(time);
        let seconds = if is_number(digits) { time.parse().ok()? } else { return None };
        let (by, trace) = match mode.as_bytes() {
            [b'R' | b'r', trace @ ..] => (Self::return_after(seconds)?, trace),
            [b'N' | b'n', trace @ ..] => (Self::notify_after(seconds)?, trace),
            _ => return None,
        };
        match trace {
            [] => Some(by),
            [b'T' | b't'] => Some(by.traced()),
            _ => None,
        }
    }

    /// Seconds from now; zero and less where the time is over already.
    pub const fn seconds(self) -> i32 {
        self.seconds
    }

    /// Whether a message that is late is returned (`R`). Otherwise its sender is told, and delivery
    /// is still tried (`N`).
    pub const fn is_returned(self) -> bool {
        self.returned
    }

    /// `T`: notifications about relaying are wanted.
    pub const fn is_traced(self) -> bool {
        self.trace
    }

    pub(super) fn write(self, output: &mut Vec<u8>) {
        put_signed(output, self.seconds.into());
        output.extend_from_slice(if self.returned { b";R" } else { b";N" });
        if self.trace {
            output.push(b'T');
        }
    }
}

/// `HOLDFOR=` or `HOLDUNTIL=` of MAIL (RFC 4865, section 4): not to be sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// Seconds from now, 1 to 999 999 999.
    For(u32),
    /// A point in time.
    Until(Date),
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
                // Writing into a `Vec` cannot fail.
                let _ = write!(output, " HOLDUNTIL={}", time.rfc3339());
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
