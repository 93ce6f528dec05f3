//! `date-time` of RFC 5322, section 3.3, without a clock and without a calendar library.

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
/// Two values are equal if both agree; compare [`unix_seconds`](Self::unix_seconds) to ask whether
/// they are the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
