//! A strict reader of DER (X.690, sections 8 to 10) that can tell the offset of each element.

/// `INTEGER`
pub(crate) const INTEGER: u8 = 0x02;
/// `BIT STRING`
pub(crate) const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`
pub(crate) const OCTET_STRING: u8 = 0x04;
/// `OBJECT IDENTIFIER`
pub(crate) const OID: u8 = 0x06;
/// `UTCTime`
pub(crate) const UTC_TIME: u8 = 0x17;
/// `GeneralizedTime`
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
/// `SEQUENCE`
pub(crate) const SEQUENCE: u8 = 0x30;
/// `[0]`, constructed.
pub(crate) const CONSTRUCTED_0: u8 = 0xa0;

/// The octet, counted from 0 at the beginning of what was given, at which an encoding is not what
/// it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offset(pub(crate) usize);

/// Reads one element after the other between two octets of an encoding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    der: &'a [u8],
    at: usize,
    end: usize,
}

/// One element: tag, length, contents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    der: &'a [u8],
    /// Where its tag is.
    pub(crate) start: usize,
    /// Where its contents begin.
    pub(crate) inner: usize,
    /// Where it ends.
    pub(crate) end: usize,
}

impl<'a> Reader<'a> {
    /// Reads all of this.
    pub(crate) fn new(der: &'a [u8]) -> Self {
        Self { der, at: 0, end: der.len() }
    }

    /// Reads from this octet on.
    pub(crate) fn from(der: &'a [u8], at: usize) -> Self {
        Self { der, at: at.min(der.len()), end: der.len() }
    }

    /// The offset of the next element.
    pub(crate) fn offset(&self) -> Offset {
        Offset(self.at)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.end
    }

    /// The tag of the next element; `None` at the end.
    pub(crate) fn peek(&self) -> Option<u8> {
        (self.at < self.end).then(|| self.der[self.at])
    }

    /// The next element. Tags of more than one octet, and lengths that are indefinite, of more than
    /// four octets, or longer than they need be, are refused: what is read here has none (X.690,
    /// section 10.1).
    pub(crate) fn next(&mut self) -> Result<Element<'a>, Offset> {
        let start = self.at;
        let rest = self.der.get(start..self.end).ok_or(Offset(start))?;
        let (header, length) = match rest {
            [tag, ..] if tag & 0x1f == 0x1f => return Err(Offset(start)),
            [_, short @ 0..=0x7f, ..] => (2, usize::from(*short)),
            [_, 0x81, a @ 0x80..=0xff, ..] => (3, usize::from(*a)),
            [_, 0x82, a @ 1..=0xff, b, ..] => (4, be(&[*a, *b])),
            [_, 0x83, a @ 1..=0xff, b, c, ..] => (5, be(&[*a, *b, *c])),
            [_, 0x84, a @ 1..=0xff, b, c, d, ..] => (6, be(&[*a, *b, *c, *d])),
            _ => return Err(Offset(start)),
        };
        let inner = start + header;
        let end = inner.checked_add(length).filter(|end| *end <= self.end).ok_or(Offset(start))?;
        self.at = end;
        Ok(Element { der: self.der, start, inner, end })
    }

    /// The next element, which has this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<Element<'a>, Offset> {
        match self.peek() {
            Some(found) if found == tag => self.next(),
            _ => Err(self.offset()),
        }
    }

    /// The next element, if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, Offset> {
        match self.peek() {
            Some(found) if found == tag => self.next().map(Some),
            _ => Ok(None),
        }
    }

    /// Fails if anything is left.
    pub(crate) fn finish(&self) -> Result<(), Offset> {
        if self.is_empty() { Ok(()) } else { Err(self.offset()) }
    }
}

fn be(octets: &[u8]) -> usize {
    octets.iter().fold(0, |value, octet| (value << 8) | usize::from(*octet))
}

impl<'a> Element<'a> {
    pub(crate) fn tag(&self) -> u8 {
        self.der[self.start]
    }

    /// Without tag and length.
    pub(crate) fn contents(&self) -> &'a [u8] {
        &self.der[self.inner..self.end]
    }

    /// With tag and length.
    pub(crate) fn whole(&self) -> &'a [u8] {
        &self.der[self.start..self.end]
    }

    /// Reads what is inside.
    pub(crate) fn reader(&self) -> Reader<'a> {
        Reader { der: self.der, at: self.inner, end: self.end }
    }

    /// The value of a BOOLEAN. DER writes TRUE as 0xff; some authorities write 1 (X.690, sections
    /// 8.2.2 and 11.1), and the signature leaves no doubt that they meant it.
    pub(crate) fn boolean(&self) -> Result<bool, Offset> {
        match self.contents() {
            [octet] => Ok(*octet != 0),
            _ => Err(Offset(self.inner)),
        }
    }

    /// Seconds since 1970 of a `UTCTime` or `GeneralizedTime` in the forms that certificates and
    /// lists may use (RFC 5280, section 4.1.2.5): with seconds, without fractions, in UTC. What
    /// lies before 1970 is 0.
    pub(crate) fn seconds(&self) -> Result<u64, Offset> {
        let wrong = Offset(self.inner);
        let (&b'Z', digits) = self.contents().split_last().ok_or(wrong)? else {
            return Err(wrong);
        };
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(wrong);
        }
        let number = |digits: &[u8]| {
            digits.iter().fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'))
        };
        let (year, rest) = match (self.tag(), digits.len()) {
            // RFC 5280, section 4.1.2.5.1: 50 and up are of the last century.
            (UTC_TIME, 12) => match number(&digits[..2]) {
                year @ 50.. => (1900 + year, &digits[2..]),
                year => (2000 + year, &digits[2..]),
            },
            (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
            _ => return Err(wrong),
        };
        let (month, day) = (number(&rest[..2]), number(&rest[2..4]));
        let (hour, minute, second) = (number(&rest[4..6]), number(&rest[6..8]), number(&rest[8..]));
        let is_leap = |year: u64| {
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
        };
        let february = if is_leap(year) { 29 } else { 28 };
        let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let length = month
            .checked_sub(1)
            .and_then(|month| usize::try_from(month).ok())
            .and_then(|m| months.get(m));
        let good = length.is_some_and(|length| (1..=*length).contains(&day))
            && hour < 24
            && minute < 60
            && second < 60;
        if !good {
            return Err(wrong);
        }
        if year < 1970 {
            return Ok(0);
        }
        let before = year - 1;
        let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
        let days = (year - 1970) * 365
            + (leap_days(before) - leap_days(1969))
            + months.iter().take(usize::try_from(month - 1).unwrap_or(0)).sum::<u64>()
            + (day - 1);
        Ok(((days * 24 + hour) * 60 + minute) * 60 + second)
    }
}
