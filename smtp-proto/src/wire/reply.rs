//! Replies: [`Reply`] is what a client reads, [`Response`] is what our server says (RFC 5321,
//! section 4.2).

use super::ascii::push_number;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use memchr::{memchr, memchr2};

/// Octets of a whole reply, which may be one line: RFC 5321, section 4.5.3.1.5 says 512 a line, but
/// servers send more, and a client that hangs up on a long sentence loses mail. The longest sane
/// replies are EHLO replies of a few KiB.
pub const MAX_REPLY: usize = 128 * 1024;

/// Why the input is not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line does not begin with three digits, 200 to 599, followed by SP, `-` or the line end.
    #[error("a line does not begin with a reply code")]
    Code,
    /// RFC 5321, section 4.2.1: the code must be the same on every line.
    #[error("the lines have different codes")]
    CodesDiffer,
    /// RFC 5321, section 2.3.8: CR and LF appear only together.
    #[error("a bare CR or LF in the reply")]
    LineEnd,
    /// The reply exceeds [`MAX_REPLY`].
    #[error("the reply is longer than {MAX_REPLY} octets")]
    TooLong,
}

/// The first digit of a reply code (RFC 5321, section 4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Severity {
    /// 2yz: done.
    Positive,
    /// 3yz: go on.
    Intermediate,
    /// 4yz: not now.
    Transient,
    /// 5yz: no.
    Permanent,
}

impl Severity {
    /// The severity of a code from 200 to 599.
    const fn of(code: u16) -> Self {
        match code / 100 {
            2 => Self::Positive,
            3 => Self::Intermediate,
            4 => Self::Transient,
            _ => Self::Permanent,
        }
    }
}

/// An enhanced status code such as 4.7.5 (RFC 3463, section 2; RFC 2034).
///
/// The three numbers are all that there is to a code, so this struct will never have another field:
/// it can be written as a literal, `EnhancedCode { class: 4, ..code }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnhancedCode {
    /// 2, 4 or 5.
    pub class: u8,
    /// 0 to 999.
    pub subject: u16,
    /// 0 to 999.
    pub detail: u16,
}

impl EnhancedCode {
    /// `class.subject.detail`.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// Reads a code from the front of `text`; no letter, digit or dot may follow.
    fn parse_prefix(text: &[u8]) -> Option<(Self, usize)> {
        let class = match text {
            [class @ (b'2' | b'4' | b'5'), b'.', ..] => class - b'0',
            _ => return None,
        };
        let (subject, next) = number(text, 2)?;
        let (detail, end) = number(text, (text.get(next) == Some(&b'.')).then_some(next + 1)?)?;
        // RFC 2034, section 4 wants a blank; some servers write punctuation.
        let ends = !text.get(end).is_some_and(|&byte| byte == b'.' || byte.is_ascii_alphanumeric());
        ends.then_some((Self { class, subject, detail }, end))
    }
}

/// RFC 3463, section 2: `1*3digit`, without leading zeros in practice; either is read.
fn number(text: &[u8], from: usize) -> Option<(u16, usize)> {
    let mut value = 0;
    let mut at = from;
    while let Some(digit @ b'0'..=b'9') = text.get(at) {
        if at - from == 3 {
            return None;
        }
        value = value * 10 + u16::from(digit - b'0');
        at += 1;
    }
    (at > from).then_some((value, at))
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// A whole reply of a server, with all its lines: borrowed from the input, or owned.
///
/// Clones of an [owned](Self::into_owned) reply share its octets: one reply of a server may be the
/// outcome of a thousand recipients.
///
/// ```
/// use smtp_proto::wire::reply::Reply;
///
/// let reply = Reply::parse(b"550-5.1.1 no such user\r\n550 5.1.1 try elsewhere\r\n").unwrap().unwrap();
/// assert_eq!((reply.code(), reply.is_permanent()), (550, true));
/// assert_eq!(reply.enhanced().unwrap().to_string(), "5.1.1");
/// assert_eq!(reply.lines().count(), 2);
/// assert_eq!(reply.to_string(), "550 5.1.1 no such user / 5.1.1 try elsewhere");
/// ```
#[derive(Clone)]
pub struct Reply<'i> {
    /// Every line with its code and CRLF.
    raw: Raw<'i>,
    code: u16,
}

#[derive(Clone)]
enum Raw<'i> {
    Borrowed(&'i [u8]),
    Shared(Arc<[u8]>),
}

impl<'i> Reply<'i> {
    /// Reads one whole reply from the front of `input`; none if more input is needed.
    ///
    /// Input that grows is better read by a [`ReplyParser`], which searches each byte once.
    ///
    /// # Errors
    ///
    /// The input does not begin with a reply by RFC 5321, section 4.2.
    pub fn parse(input: &'i [u8]) -> Result<Option<Self>, ReplyError> {
        ReplyParser::default().parse(input)
    }

    /// The code, 200 to 599. RFC 5321, section 4.2 names the second digits in use; others are seen
    /// and kept.
    pub const fn code(&self) -> u16 {
        self.code
    }

    pub(crate) const fn severity(&self) -> Severity {
        Severity::of(self.code)
    }

    /// 2yz: done.
    pub const fn is_positive(&self) -> bool {
        matches!(self.severity(), Severity::Positive)
    }

    /// 3yz: go on.
    pub const fn is_intermediate(&self) -> bool {
        matches!(self.severity(), Severity::Intermediate)
    }

    /// 4yz: not now.
    pub const fn is_transient(&self) -> bool {
        matches!(self.severity(), Severity::Transient)
    }

    /// 5yz: no.
    pub const fn is_permanent(&self) -> bool {
        matches!(self.severity(), Severity::Permanent)
    }

    /// The enhanced code at the head of the first line that has one whose class agrees with the
    /// reply code (RFC 2034, section 4). Some servers write it on the last line only.
    pub fn enhanced(&self) -> Option<EnhancedCode> {
        self.lines().find_map(|text| {
            let (code, _) = EnhancedCode::parse_prefix(text)?;
            (u16::from(code.class) == self.code / 100).then_some(code)
        })
    }

    /// The text of each line, without code and CRLF. Any octets but CR and LF: RFC 5321 allows
    /// printable ASCII, RFC 6531 adds UTF-8, and servers send whatever they like.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        Lines { rest: self.as_bytes() }
    }

    /// Octets that this reply takes on the wire.
    #[allow(clippy::len_without_is_empty, reason = "a reply is never empty")]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// The reply as it came, every line with code and CRLF.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.raw {
            Raw::Borrowed(raw) => raw,
            Raw::Shared(raw) => raw,
        }
    }

    /// The enhanced code, or else what the reply code says by itself: 2.0.0, 4.0.0 or 5.0.0 (RFC
    /// 3463, section 2).
    pub fn status(&self) -> EnhancedCode {
        self.enhanced().unwrap_or(EnhancedCode::new((self.code / 100) as u8, 0, 0))
    }

    /// The same reply, free of the input.
    pub fn into_owned(self) -> Reply<'static> {
        let raw = match self.raw {
            Raw::Borrowed(raw) => Raw::Shared(raw.into()),
            Raw::Shared(raw) => Raw::Shared(raw),
        };
        Reply { raw, code: self.code }
    }
}

impl PartialEq for Reply<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Reply<'_> {}

/// One line for a log: controls and formats that are not seen, such as those that change the
/// direction of text, are escaped; lines are parted by ` / `.
impl fmt::Display for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        for (index, line) in self.lines().enumerate() {
            f.write_str(if index == 0 { " " } else { " / " })?;
            for char in String::from_utf8_lossy(line).chars() {
                match char {
                    '\'' | '"' | '\\' => fmt::Write::write_char(f, char)?,
                    char if char.is_alphanumeric() => fmt::Write::write_char(f, char)?,
                    char => write!(f, "{}", char.escape_debug())?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({self})")
    }
}

/// See [`Reply::lines`].
#[derive(Debug)]
pub(crate) struct Lines<'i> {
    pub(crate) rest: &'i [u8],
}

impl<'i> Iterator for Lines<'i> {
    type Item = &'i [u8];

    fn next(&mut self) -> Option<&'i [u8]> {
        // A line may be blank, without a code, or end in LF or CR CR LF: see
        // `ReplyRules::AsTheField`.
        loop {
            let end = memchr(b'\n', self.rest)?;
            let line = &self.rest[..end];
            self.rest = &self.rest[end + 1..];
            let end = line.iter().rposition(|&byte| byte != b'\r').map_or(0, |last| last + 1);
            let line = &line[..end];
            match prefix(line) {
                Ok(_) => return Some(line.get(4..).unwrap_or_default()),
                Err(_) if line.is_empty() => {}
                Err(_) => return Some(line),
            }
        }
    }
}

/// How a client reads replies that break RFC 5321, section 4.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReplyRules {
    /// A reply that breaks the grammar ends the connection.
    Strict,
    /// As most clients in use read them. Lines may end in LF or in CR CR LF; up to 8 blank lines or
    /// lines without a code may come before a reply, and any number inside of it. Where the lines
    /// have different codes with the same first digit the last code counts, otherwise the worst;
    /// after the message always the last, because a message must not be sent twice or lost where
    /// every other client agrees.
    ///
    /// The reply to STARTTLS is read strictly in any case, and STARTTLS is not sent to a server
    /// whose replies before it needed tolerance: the connection ends with the error of
    /// [`Strict`](Self::Strict).
    #[default]
    AsTheField,
}

/// Lines without a code that a client passes over before a reply.
const MAX_STRAY: usize = 8;

/// Reads replies from input that grows: remembers what it has searched.
#[derive(Clone, Debug, Default)]
pub struct ReplyParser {
    scanned: usize,
    line: usize,
    /// The code of the last line that has one; 0 before there is one.
    code: u16,
    /// The code of the line with the worst first digit, the last of them.
    worst: u16,
    /// Where the first line with a code begins, as far as is known.
    start: usize,
    /// Lines without a code before it.
    stray: usize,
    /// What is wrong with the reply by the strict rules.
    fault: Option<ReplyError>,
}

/// What [`ReplyParser::parse_as`] has read.
pub(crate) struct Parsed<'i> {
    pub(crate) reply: Reply<'i>,
    /// Octets of the reply and of the lines without a code before it.
    pub(crate) consumed: usize,
    /// What a strict parser would have said.
    pub(crate) fault: Option<ReplyError>,
}

impl ReplyParser {
    /// Reads one whole reply from the front of `input`, strictly; none if more input is needed.
    /// Until it has answered with a reply, the next call must be given the same input or a longer
    /// one.
    ///
    /// # Errors
    ///
    /// The input is not a reply. The same input gives the same error again.
    pub fn parse<'i>(&mut self, input: &'i [u8]) -> Result<Option<Reply<'i>>, ReplyError> {
        let parsed = self.parse_as(input, ReplyRules::Strict, false)?;
        Ok(parsed.map(|parsed| parsed.reply))
    }

    /// As [`parse`](Self::parse), by these rules. `last`: the code of the last line counts,
    /// whatever the others are.
    pub(crate) fn parse_as<'i>(
        &mut self,
        input: &'i [u8],
        rules: ReplyRules,
        last: bool,
    ) -> Result<Option<Parsed<'i>>, ReplyError> {
        loop {
            let Some(found) = memchr2(b'\r', b'\n', &input[self.scanned..]) else {
                return self.partial(input.len(), input.len());
            };
            let end = self.scanned + found;
            let next = match input[end..] {
                [b'\r'] => return self.partial(input.len(), end),
                [b'\r', b'\n', ..] => end + 2,
                [b'\r', b'\r'] if rules == ReplyRules::AsTheField => {
                    return self.partial(input.len(), end);
                }
                [b'\r', b'\r', b'\n', ..] => {
                    self.bend(ReplyError::LineEnd, rules)?;
                    end + 3
                }
                [b'\n', ..] => {
                    self.bend(ReplyError::LineEnd, rules)?;
                    end + 1
                }
                _ => return Err(ReplyError::LineEnd),
            };
            if next - self.start > MAX_REPLY {
                return Err(ReplyError::TooLong);
            }
            let is_last = match prefix(&input[self.line..end]) {
                Ok((code, is_last)) => {
                    if self.code > 0 && code != self.code {
                        self.bend(ReplyError::CodesDiffer, rules)?;
                    }
                    self.code = code;
                    if code / 100 >= self.worst / 100 {
                        self.worst = code;
                    }
                    is_last
                }
                Err(error) => {
                    // What is no text may be a TLS record.
                    if input[self.line..end].iter().any(|byte| byte.is_ascii_control()) {
                        return Err(error);
                    }
                    self.bend(error, rules)?;
                    if self.code == 0 {
                        (self.start, self.stray) = (next, self.stray + 1);
                    }
                    if self.stray > MAX_STRAY {
                        return Err(error);
                    }
                    false
                }
            };
            (self.scanned, self.line) = (next, next);
            if is_last {
                let Self { code, worst, fault, start, .. } = std::mem::take(self);
                let raw = Raw::Borrowed(&input[start..next]);
                let reply = Reply { raw, code: if last { code } else { worst } };
                return Ok(Some(Parsed { reply, consumed: next, fault }));
            }
        }
    }

    /// Notes a fault, or fails with it.
    fn bend(&mut self, error: ReplyError, rules: ReplyRules) -> Result<(), ReplyError> {
        match rules {
            ReplyRules::Strict => Err(error),
            ReplyRules::AsTheField => {
                self.fault = self.fault.or(Some(error));
                Ok(())
            }
        }
    }

    /// The octets before a reply that hold nothing but whole lines without a code.
    pub(crate) fn stray(&self) -> Option<(usize, ReplyError)> {
        self.fault.filter(|_| self.code == 0 && self.line > 0).map(|fault| (self.line, fault))
    }

    /// Forgets what was searched: the caller drops the stray lines.
    pub(crate) fn restart(&mut self) {
        *self = Self { stray: self.stray, ..Self::default() };
    }

    fn partial<T>(&mut self, available: usize, scanned: usize) -> Result<Option<T>, ReplyError> {
        self.scanned = scanned;
        if available - self.start > MAX_REPLY {
            return Err(ReplyError::TooLong);
        }
        Ok(None)
    }
}

/// The code of a line, and whether the line is the last. RFC 5321, section 4.2: a client accepts a
/// bare code.
fn prefix(line: &[u8]) -> Result<(u16, bool), ReplyError> {
    let (digits, last) = match line {
        [a, b, c] => ([a, b, c], true),
        [a, b, c, b' ', ..] => ([a, b, c], true),
        [a, b, c, b'-', ..] => ([a, b, c], false),
        _ => return Err(ReplyError::Code),
    };
    let [a, b, c] = digits.map(|digit| u16::from(digit.wrapping_sub(b'0')));
    // 1yz is not used by SMTP (RFC 5321, section 4.2.1).
    if (2..=5).contains(&a) && b <= 9 && c <= 9 {
        Ok((a * 100 + b * 10 + c, last))
    } else {
        Err(ReplyError::Code)
    }
}

/// What a server says: code, enhanced code and text of one or more lines.
///
/// Writing it cannot break the protocol: controls in the text become `?`, and a line that would
/// exceed the 512 octets of RFC 5321, section 4.5.3.1.5 goes on in the next.
///
/// ```
/// use smtp_proto::wire::reply::Response;
///
/// const FULL: Response = Response::fixed(452, (4, 2, 2), "mailbox full");
/// let detailed = Response::new(550, (5, 7, 1), format!("{} may not send here\nask postmaster", "mallory"));
/// assert_eq!((FULL.code(), detailed.code()), (452, 550));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    code: u16,
    enhanced: EnhancedCode,
    text: Cow<'static, str>,
}

impl Response {
    /// Text lines are parted by LF. The enhanced code is sent only where the server announces
    /// ENHANCEDSTATUSCODES and the reply may carry one (RFC 2034, section 4).
    pub fn new(
        code: u16,
        (class, subject, detail): (u8, u16, u16),
        text: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { code, enhanced: EnhancedCode::new(class, subject, detail), text: text.into() }
    }

    /// As [`new`](Self::new), for constants.
    pub const fn fixed(
        code: u16,
        (class, subject, detail): (u8, u16, u16),
        text: &'static str,
    ) -> Self {
        Self {
            code,
            enhanced: EnhancedCode::new(class, subject, detail),
            text: Cow::Borrowed(text),
        }
    }

    /// The reply code.
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced code.
    pub const fn enhanced(&self) -> EnhancedCode {
        self.enhanced
    }

    /// The text; lines are parted by LF.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Appends the reply. `enhanced`: whether ENHANCEDSTATUSCODES was announced and this reply may
    /// carry a code.
    pub(crate) fn write(&self, enhanced: bool, output: &mut Vec<u8>) {
        // RFC 2034, section 4: only 2yz, 4yz and 5yz carry an enhanced code.
        let enhanced = enhanced && self.code / 100 != 3;
        let mut lines = TextLines::new(&self.text);
        while let Some(line) = lines.next() {
            push_number(output, self.code);
            output.push(if lines.rest.is_some() { b'-' } else { b' ' });
            if enhanced {
                push_number(output, u16::from(self.enhanced.class));
                output.push(b'.');
                push_number(output, self.enhanced.subject);
                output.push(b'.');
                push_number(output, self.enhanced.detail);
                output.push(b' ');
            }
            output
                .extend(line.bytes().map(|byte| if byte.is_ascii_control() { b'?' } else { byte }));
            output.extend_from_slice(b"\r\n");
        }
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.code, self.enhanced, self.text.replace('\n', " / "))
    }
}

/// Text octets of one reply line: 512, less the code, the longest enhanced code and CRLF.
const MAX_TEXT: usize = 512 - "550 ".len() - "5.999.999 ".len() - "\r\n".len();

/// Text in lines, cut at character boundaries so that each fits a reply line. There is one at
/// least.
struct TextLines<'t> {
    rest: Option<&'t str>,
}

impl<'t> TextLines<'t> {
    const fn new(text: &'t str) -> Self {
        Self { rest: Some(text) }
    }
}

impl<'t> Iterator for TextLines<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let text = self.rest?;
        let end = memchr(b'\n', text.as_bytes()).unwrap_or(text.len());
        if end <= MAX_TEXT {
            self.rest = text.get(end + 1..);
            return Some(&text[..end]);
        }
        let mut cut = MAX_TEXT;
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        let (line, rest) = text.split_at(cut);
        self.rest = Some(rest);
        Some(line)
    }
}

/// As much of `text` as one reply line holds.
pub(crate) fn first_line(text: &str) -> &str {
    TextLines::new(text).next().unwrap_or_default()
}
