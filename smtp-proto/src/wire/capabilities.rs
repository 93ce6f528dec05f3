//! What a peer can do: EHLO lines read and kept (RFC 5321, section 4.1.1.1 and section 2.2.1).

use crate::wire::ascii::number;
use crate::wire::reply::{Lines, Reply};

/// A service extension, by its EHLO keyword. Keywords that are not here are kept as well: see
/// [`Capabilities::iter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Extension {
    /// `8BITMIME` (RFC 6152)
    EightBitMime,
    /// `AUTH` (RFC 4954), also in the old form `AUTH=`
    Auth,
    /// `BINARYMIME` (RFC 3030)
    BinaryMime,
    /// `BURL` (RFC 4468)
    Burl,
    /// `CHUNKING` (RFC 3030)
    Chunking,
    /// `DELIVERBY` (RFC 2852)
    DeliverBy,
    /// `DSN` (RFC 3461)
    Dsn,
    /// `ENHANCEDSTATUSCODES` (RFC 2034)
    EnhancedStatusCodes,
    /// `ETRN` (RFC 1985)
    Etrn,
    /// `EXPN` (RFC 5321)
    Expn,
    /// `FUTURERELEASE` (RFC 4865)
    FutureRelease,
    /// `HELP` (RFC 5321)
    Help,
    /// `LIMITS` (RFC 9422)
    Limits,
    /// `MT-PRIORITY` (RFC 6710)
    MtPriority,
    /// `PIPELINING` (RFC 2920)
    Pipelining,
    /// `REQUIRETLS` (RFC 8689)
    RequireTls,
    /// `SIZE` (RFC 1870)
    Size,
    /// `SMTPUTF8` (RFC 6531)
    SmtpUtf8,
    /// `STARTTLS` (RFC 3207)
    StartTls,
    /// `VRFY` (RFC 5321)
    Vrfy,
    /// `XCLIENT`, as Postfix defines it
    Xclient,
}

impl Extension {
    /// Every extension with its keyword; the only such table.
    const ALL: [(Self, &'static str); 21] = [
        (Self::EightBitMime, "8BITMIME"),
        (Self::Auth, "AUTH"),
        (Self::BinaryMime, "BINARYMIME"),
        (Self::Burl, "BURL"),
        (Self::Chunking, "CHUNKING"),
        (Self::DeliverBy, "DELIVERBY"),
        (Self::Dsn, "DSN"),
        (Self::EnhancedStatusCodes, "ENHANCEDSTATUSCODES"),
        (Self::Etrn, "ETRN"),
        (Self::Expn, "EXPN"),
        (Self::FutureRelease, "FUTURERELEASE"),
        (Self::Help, "HELP"),
        (Self::Limits, "LIMITS"),
        (Self::MtPriority, "MT-PRIORITY"),
        (Self::Pipelining, "PIPELINING"),
        (Self::RequireTls, "REQUIRETLS"),
        (Self::Size, "SIZE"),
        (Self::SmtpUtf8, "SMTPUTF8"),
        (Self::StartTls, "STARTTLS"),
        (Self::Vrfy, "VRFY"),
        (Self::Xclient, "XCLIENT"),
    ];

    /// Every extension that is here.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().map(|(extension, _)| extension)
    }

    /// The keyword, in capitals.
    pub fn keyword(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The extension of a keyword in any case.
    pub fn of(keyword: &str) -> Option<Self> {
        Self::at_front(keyword.as_bytes())
            .filter(|(_, rest)| rest.is_empty())
            .map(|(extension, _)| extension)
    }

    /// The extension whose keyword a line begins with, and what follows the keyword.
    fn at_front(line: &[u8]) -> Option<(Self, &[u8])> {
        let &(extension, name) = Self::ALL.get(usize::from(Self::SLOTS[Self::slot(line)?]))?;
        let (keyword, rest) = line.split_at_checked(name.len())?;
        let whole = rest.first().is_none_or(|&byte| ends_keyword(byte));
        // Nearly all servers write capitals.
        let same = keyword == name.as_bytes() || keyword.eq_ignore_ascii_case(name.as_bytes());
        (whole && same).then_some((extension, rest))
    }

    /// The index of each keyword in [`ALL`](Self::ALL), by its [`slot`](Self::slot): one comparison
    /// instead of many.
    const SLOTS: [u8; 64] = {
        let mut slots = [u8::MAX; 64];
        let mut index = 0;
        while index < Self::ALL.len() {
            let Some(slot) = Self::slot(Self::ALL[index].1.as_bytes()) else {
                panic!("an empty keyword")
            };
            assert!(slots[slot] == u8::MAX, "two keywords share a slot: choose another factor");
            slots[slot] = index as u8;
            index += 1;
        }
        slots
    };

    /// From the first two letters; five bits of a letter are the same in both cases.
    const fn slot(keyword: &[u8]) -> Option<usize> {
        match keyword {
            [first, second, ..] => {
                Some(((*first & 31) as usize + 22 * (*second & 31) as usize) % 64)
            }
            _ => None,
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// What `LIMITS` says (RFC 9422, section 4); none where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) recipients: Option<u32>,
    pub(crate) transactions: Option<u32>,
    pub(crate) recipient_domains: Option<u32>,
}

impl Limits {
    /// RFC 9422, section 4: the largest number that can be announced, which has at most six digits.
    pub(crate) const MAX: u32 = 999_999;

    /// RFC 9422, section 3 and 4: `name=value` in any order; what is not known or malformed is
    /// ignored.
    fn parse(parameters: &[u8]) -> Self {
        let mut limits = Self::default();
        for word in parameters.split(|&byte| byte == b' ') {
            let Some(at) = memchr::memchr(b'=', word) else { continue };
            let field = match &word[..at] {
                name if name.eq_ignore_ascii_case(b"RCPTMAX") => &mut limits.recipients,
                name if name.eq_ignore_ascii_case(b"MAILMAX") => &mut limits.transactions,
                name if name.eq_ignore_ascii_case(b"RCPTDOMAINMAX") => {
                    &mut limits.recipient_domains
                }
                _ => continue,
            };
            // `%x31-39 0*5DIGIT`
            let digits = &word[at + 1..];
            if (1..=6).contains(&digits.len())
                && digits[0] != b'0'
                && digits.iter().all(u8::is_ascii_digit)
            {
                *field = Some(
                    digits.iter().fold(0, |number, digit| 10 * number + u32::from(digit - b'0')),
                );
            }
        }
        limits
    }
}

/// The EHLO reply of a server.
///
/// ```
/// use smtp_proto::wire::capabilities::{Capabilities, Extension};
/// use smtp_proto::wire::reply::Reply;
///
/// let reply = Reply::parse(b"250-mx.test.example at your service\r\n250-size 52428800\r\n250 XCLIENT NAME ADDR\r\n");
/// let capabilities = Capabilities::of(&reply.unwrap().unwrap());
/// assert!(capabilities.has(Extension::Size) && !capabilities.has(Extension::StartTls));
/// assert_eq!(capabilities.size_limit(), Some(52_428_800));
/// assert_eq!(capabilities.iter().nth(1), Some(("XCLIENT", "NAME ADDR")));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    known: u32,
    size_limit: Option<u64>,
    limits: Limits,
    /// The reply as it came.
    raw: Vec<u8>,
}

impl Capabilities {
    /// Reads an EHLO reply.
    pub fn of(reply: &Reply<'_>) -> Self {
        let mut capabilities = Self::default();
        capabilities.replace(reply);
        capabilities
    }

    /// Forgets everything and reads another EHLO reply; memory is used again.
    pub fn replace(&mut self, reply: &Reply<'_>) {
        self.clear();
        self.raw.extend_from_slice(reply.as_bytes());
        // The first line is the greeting (RFC 5321, section 4.1.1.1).
        for line in reply.lines().skip(1) {
            let Some((extension, parameters)) = Extension::at_front(without_indent(line)) else {
                continue;
            };
            self.known |= extension.bit();
            if extension == Extension::Limits {
                self.limits = Limits::parse(parameters);
            }
            if extension == Extension::Size {
                // RFC 1870, section 4: no number, or 0, means no fixed limit.
                self.size_limit = number(parameters.get(1..).unwrap_or_default().trim_ascii())
                    .filter(|&limit| limit > 0);
            }
        }
    }

    /// Forgets a keyword and its parameters, as if the peer had not announced it. Any case of
    /// letters.
    pub fn ignore(&mut self, keyword: &str) {
        let announced = self.iter().any(|(announced, _)| announced.eq_ignore_ascii_case(keyword));
        if !announced {
            return;
        }
        let mut kept = Vec::with_capacity(self.raw.len());
        for (index, line) in self.lines().enumerate() {
            if index == 0 || !split(line).0.eq_ignore_ascii_case(keyword.as_bytes()) {
                kept.extend_from_slice(b"250-");
                kept.extend_from_slice(line);
                kept.extend_from_slice(b"\r\n");
            }
        }
        self.raw = kept;
        if let Some(extension) = Extension::of(keyword) {
            self.known &= !extension.bit();
            match extension {
                Extension::Size => self.size_limit = None,
                Extension::Limits => self.limits = Limits::default(),
                _ => {}
            }
        }
    }

    /// Forgets everything: RFC 3207, section 4.2, and a peer that knows only HELO.
    pub fn clear(&mut self) {
        self.known = 0;
        self.size_limit = None;
        self.limits = Limits::default();
        self.raw.clear();
    }

    /// Whether no EHLO reply has been read.
    pub(crate) const fn is_unread(&self) -> bool {
        self.raw.is_empty()
    }

    /// Whether the peer lists an extension.
    pub const fn has(&self, extension: Extension) -> bool {
        self.known & extension.bit() != 0
    }

    /// Octets that the peer accepts in one message, if it says so (RFC 1870).
    pub const fn size_limit(&self) -> Option<u64> {
        self.size_limit
    }

    /// Recipients that the peer accepts in one transaction: `RCPTMAX` of LIMITS (RFC 9422, section
    /// 4); none if it does not say.
    pub const fn recipient_limit(&self) -> Option<u32> {
        self.limits.recipients
    }

    /// Different domains that the peer accepts among the recipients of one transaction:
    /// `RCPTDOMAINMAX` of LIMITS.
    pub const fn recipient_domain_limit(&self) -> Option<u32> {
        self.limits.recipient_domains
    }

    /// Transactions that the peer accepts on one connection: `MAILMAX` of LIMITS.
    pub const fn transaction_limit(&self) -> Option<u32> {
        self.limits.transactions
    }

    pub(crate) const fn limits(&self) -> Limits {
        self.limits
    }

    /// The SASL mechanisms that the peer offers (RFC 4954, section 3), as it names them; those of
    /// the old `AUTH=` as well.
    pub fn mechanisms(&self) -> impl Iterator<Item = &str> {
        self.iter()
            .filter(|(keyword, _)| Extension::of(keyword) == Some(Extension::Auth))
            .flat_map(|(_, names)| names.split([' ', '\t']).filter(|name| !name.is_empty()))
    }

    /// Whether the peer offers a SASL mechanism, in any case (RFC 4954, section 8).
    pub fn has_mechanism(&self, name: &str) -> bool {
        self.mechanisms().any(|offered| offered.eq_ignore_ascii_case(name))
    }

    /// Whether the peer fetches messages by IMAP URIs: BURL with `imap` or `imap://host` after it,
    /// which may wait for AUTH (RFC 4468, section 3.1).
    pub fn fetches_imap(&self) -> bool {
        let is_imap =
            |word: &str| word.get(..4).is_some_and(|front| front.eq_ignore_ascii_case("imap"));
        self.parameters(Extension::Burl).is_some_and(|words| words.split(' ').any(is_imap))
    }

    /// The parameters of an extension as they came: empty if it has none, none without the
    /// extension.
    pub fn parameters(&self, extension: Extension) -> Option<&str> {
        if !self.has(extension) {
            return None;
        }
        self.iter()
            .find(|(keyword, _)| Extension::of(keyword) == Some(extension))
            .map(|(_, parameters)| parameters)
    }

    /// Every line but the first as keyword and parameters, as they came; lines that are not UTF-8
    /// are left out.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines().skip(1).filter_map(|line| {
            let (keyword, parameters) = split(line);
            Some((std::str::from_utf8(keyword).ok()?, std::str::from_utf8(parameters).ok()?))
        })
    }

    /// The name that the peer gives itself: the first word of the first line.
    pub fn peer_name(&self) -> Option<&str> {
        let line = std::str::from_utf8(self.lines().next()?).ok()?;
        line.split(' ').next().filter(|name| !name.is_empty())
    }

    fn lines(&self) -> Lines<'_> {
        Lines { rest: &self.raw }
    }
}

/// RFC 5321, section 4.1.1.1 has one SP before a keyword. Some servers send several, and their
/// STARTTLS must not be overlooked.
fn without_indent(line: &[u8]) -> &[u8] {
    let indent = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &line[indent..]
}

/// `keyword [SP parameters]`; the old `AUTH=LOGIN` is read as `AUTH LOGIN`.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let line = without_indent(line);
    let end = line.iter().position(|&byte| ends_keyword(byte)).unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    (keyword, rest.get(1..).unwrap_or_default())
}

const fn ends_keyword(byte: u8) -> bool {
    matches!(byte, b' ' | b'=' | b'\t')
}
