//! `date-time` of RFC 5322, section 3.3, without a clock and without a calendar library.

use std::fmt;

use super::scan::{Scanner, Token};

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
pub struct DateTime {
    seconds: i64,
    offset: i16,
}

impl DateTime {
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

    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub const fn unix_seconds(self) -> i64 {
        self.seconds
    }

    /// Minutes east of UTC.
    pub const fn offset_minutes(self) -> i16 {
        self.offset
    }

    /// Reads a `date-time` with comments and folding, the obsolete forms of RFC 5322, section 4.3
    /// included: two-digit years, zone names, no seconds, white space in the time. An unknown zone
    /// name, or none, is taken as UTC. The day of the week is not compared.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = Scanner::new(text)
            .filter_map(|token| match token {
                Token::Word(word) => Some(word),
                Token::Comment(_) | Token::OpenComment(_) | Token::Semicolon => None,
            })
            .flat_map(|word| word.split(|&byte| byte == b','))
            // RFC 5322, section 4.3: white space and comments may be beside a colon.
            .flat_map(|part| part.chunk_by(|&left, &right| left != b':' && right != b':'))
            .peekable();

        let mut part = parts.next()?;
        if !part[0].is_ascii_digit() {
            part = parts.next()?;
        }
        let day = number(part, 2)?;
        let name = parts.next()?;
        let month =
            1 + MONTHS.iter().position(|month| month.as_bytes().eq_ignore_ascii_case(name))? as i64;
        let year = parts.next()?;
        let year = match (year.len(), number(year, 4)?) {
            // RFC 5322, section 4.3: two digits are 2000 to 2049 or 1950 to 1999, three count from
            // 1900.
            (1 | 2, year @ 0..50) => 2000 + year,
            (1..=3, year) => 1900 + year,
            (_, year) => year,
        };
        if day < 1 || day > days_before(year, month + 1) - days_before(year, month) {
            return None;
        }
        let colon = |part: &&[u8]| *part == b":";
        let hour = number(parts.next()?, 2).filter(|hour| *hour < 24)?;
        parts.next_if(colon)?;
        let minute = number(parts.next()?, 2).filter(|minute| *minute < 60)?;
        // 60 is a leap second.
        let second = match parts.next_if(colon) {
            Some(_) => number(parts.next()?, 2).filter(|second| *second <= 60)?,
            None => 0,
        };
        let offset = parts.next().map_or(Some(0), zone)?;
        let local = (days_before(year, month) + day - 1) * DAY + hour * 3600 + minute * 60 + second;
        Self::new(local - i64::from(offset) * 60, offset)
    }
}

/// The form that RFC 5321, section 4.4 asks for: four-digit year, explicit offset.
impl fmt::Display for DateTime {
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

fn number(digits: &[u8], at_most: usize) -> Option<i64> {
    if digits.is_empty() || digits.len() > at_most || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

fn zone(name: &[u8]) -> Option<i16> {
    if let [sign @ (b'+' | b'-'), digits @ ..] = name {
        let digits = (digits.len() == 4).then(|| number(digits, 4))??;
        let minutes =
            i16::try_from(digits / 100 * 60 + digits % 100).ok().filter(|_| digits % 100 < 60)?;
        return Some(if *sign == b'-' { -minutes } else { minutes });
    }
    // RFC 5322, section 4.3: the zones of North America; every other name counts as -0000.
    const ZONES: [(&str, i16); 8] = [
        ("EDT", -4),
        ("EST", -5),
        ("CDT", -5),
        ("CST", -6),
        ("MDT", -6),
        ("MST", -7),
        ("PDT", -7),
        ("PST", -8),
    ];
    let known = ZONES.iter().find(|(zone, _)| zone.as_bytes().eq_ignore_ascii_case(name));
    Some(known.map_or(0, |(_, hours)| hours * 60))
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
