//! Points in time as RFC 5322 and RFC 3339 write them, without a clock and without a calendar
//! library.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY: i64 = 86_400;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// From 1 January 1970, a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
/// The zone is written as four digits: at most 99 hours and 59 minutes.
const MAX_OFFSET: i16 = 99 * 60 + 59;

/// A moment and the zone that it is written in.
///
/// Displayed as header fields have it (RFC 5322, section 3.3); [`rfc3339`](Self::rfc3339) is the
/// form of HOLDUNTIL. Two values are equal if both agree; compare
/// [`unix_seconds`](Self::unix_seconds) to ask whether they are the same moment.
///
/// ```
/// use smtp_proto::Date;
///
/// let date = Date::parse_rfc3339("2026-01-31T23:59:59+01:00").unwrap();
/// assert_eq!(date.to_string(), "Sat, 31 Jan 2026 23:59:59 +0100");
/// assert_eq!(date.rfc3339().to_string(), "2026-01-31T23:59:59+01:00");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Date {
    seconds: i64,
    offset: i16,
}

impl Date {
    /// Seconds since 1970-01-01 00:00:00 UTC, and the local offset from UTC in minutes, positive to
    /// the east.
    ///
    /// `None` unless the local year is 1900 to 9999 (RFC 5322, section 3.3: four digits, from 1900)
    /// and the offset is within 99 hours and 59 minutes.
    pub const fn new(unix_seconds: i64, offset_minutes: i16) -> Option<Self> {
        /// 1900-01-01 00:00:00 and 9999-12-31 23:59:59.
        const FIRST: i64 = days_before(1900, 1) * DAY;
        const LAST: i64 = days_before(10_000, 1) * DAY - 1;
        if offset_minutes < -MAX_OFFSET || offset_minutes > MAX_OFFSET {
            return None;
        }
        match unix_seconds.checked_add(offset_minutes as i64 * 60) {
            Some(local) if FIRST <= local && local <= LAST => {
                Some(Self { seconds: unix_seconds, offset: offset_minutes })
            }
            _ => None,
        }
    }

    /// A time of the system's clock, written in UTC. None before 1970 and after the year 9999.
    pub fn utc(time: SystemTime) -> Option<Self> {
        let since = time.duration_since(UNIX_EPOCH).ok()?;
        Self::new(i64::try_from(since.as_secs()).ok()?, 0)
    }

    /// Reads `date-time` of RFC 3339, section 5.6, such as `2026-01-31T23:59:59Z`. A fraction of a
    /// second is dropped, and a leap second is the first second of the next minute.
    ///
    /// `None` if the text is against the grammar, for a day that its month does not have, and as
    /// [`new`](Self::new).
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let (stamp, mut rest) = text.as_bytes().split_first_chunk::<19>()?;
        if let Some(fraction) = rest.strip_prefix(b".") {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            rest = if digits > 0 { &fraction[digits..] } else { b"" };
        }
        let offset = offset(rest)?;
        // RFC 3339, section 5.6: `T` and `Z` may be small.
        let is_stamp = stamp.iter().zip(b"0000-00-00T00:00:00").all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte.to_ascii_uppercase() == *form,
        });
        if !is_stamp {
            return None;
        }
        let number = |from: usize| two_digits(stamp[from], stamp[from + 1]);
        let (year, month, day) = (100 * number(0) + number(2), number(5), number(8));
        let (hour, minute, second) = (number(11), number(14), number(17));
        let is_month = (1..=12).contains(&month);
        let is_time = hour < 24 && minute < 60 && second <= 60;
        if !is_month || !is_time || !(1..=days_in(year, month)).contains(&day) {
            return None;
        }
        let days = days_before(year, month) + day - 1;
        let local = days * DAY + hour * 3600 + minute * 60 + second;
        Self::new(local - i64::from(offset) * 60, offset)
    }

    /// The form of RFC 3339, section 5.6, such as `2026-01-31T23:59:59Z`.
    ///
    /// RFC 3339 has no offset of 24 hours or more; such a moment is written in UTC.
    pub fn rfc3339(self) -> impl fmt::Display {
        Rfc3339(self)
    }

    fn write_rfc3339(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = if self.offset.abs() < 24 * 60 { self.offset } else { 0 };
        let local = self.seconds + i64::from(offset) * 60;
        let (days, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match (offset, offset.unsigned_abs()) {
            (0, _) => f.write_str("Z"),
            (1.., minutes) => write!(f, "+{:02}:{:02}", minutes / 60, minutes % 60),
            (_, minutes) => write!(f, "-{:02}:{:02}", minutes / 60, minutes % 60),
        }
    }

    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub const fn unix_seconds(self) -> i64 {
        self.seconds
    }

    /// Minutes east of UTC.
    pub const fn offset_minutes(self) -> i16 {
        self.offset
    }
}

/// The form that RFC 5321, section 4.4 asks for: four-digit year, explicit offset.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = self.seconds + i64::from(self.offset) * 60;
        let (days, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        let offset = self.offset.unsigned_abs();
        write!(
            f,
            "{}, {day} {} {year:04} {:02}:{:02}:{:02} {}{:02}{:02}",
            WEEKDAYS[days.rem_euclid(7) as usize],
            MONTHS[month as usize - 1],
            second / 3600,
            second / 60 % 60,
            second % 60,
            if self.offset < 0 { '-' } else { '+' },
            offset / 60,
            offset % 60,
        )
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_rfc3339(f)
    }
}

/// See [`Date::rfc3339`].
struct Rfc3339(Date);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write_rfc3339(f)
    }
}

fn two_digits(tens: u8, ones: u8) -> i64 {
    i64::from(tens - b'0') * 10 + i64::from(ones - b'0')
}

/// RFC 3339, section 5.6 `time-offset`, in minutes: up to 23:59 either way.
fn offset(text: &[u8]) -> Option<i16> {
    match *text {
        [b'Z' | b'z'] => Some(0),
        [
            sign @ (b'+' | b'-'),
            h @ b'0'..=b'2',
            hh @ b'0'..=b'9',
            b':',
            m @ b'0'..=b'5',
            mm @ b'0'..=b'9',
        ] => {
            let (hours, minutes) = (two_digits(h, hh), two_digits(m, mm));
            let offset = i16::try_from(hours * 60 + minutes).ok().filter(|_| hours < 24)?;
            Some(if sign == b'-' { -offset } else { offset })
        }
        _ => None,
    }
}

/// Days of a month of the Gregorian calendar (RFC 3339, section 5.7).
const fn days_in(year: i64, month: i64) -> i64 {
    days_before(year, month + 1) - days_before(year, month)
}

/// Days from 1970-01-01 to the first of a month of the Gregorian calendar; month 13 is the next
/// January.
const fn days_before(year: i64, month: i64) -> i64 {
    // Years that begin in March put the leap day last; 153 days in every five months from March on.
    let months = year * 12 + month - 3;
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12));
    year * 365 + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    // The mean year is 365.2425 days, so the guess is at most one off.
    let mut year = 1970 + days * 400 / 146_097;
    while days_before(year, 1) > days {
        year -= 1;
    }
    while days_before(year + 1, 1) <= days {
        year += 1;
    }
    let month = (2..=12).take_while(|&month| days_before(year, month) <= days).last().unwrap_or(1);
    (year, month, days - days_before(year, month) + 1)
}
