//! The parameters of MAIL.

use super::{BodyType, DeliverBy, Hold, ParameterError, Parameters, Priority, Ret, Word, Xtext, put, set, set_flag};
use crate::reply::push_number;

/// The parameters of MAIL that this library gives a meaning, and the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailParameters<'i> {
    /// `SIZE=` (RFC 1870): octets of the message, CRLF counted as two, without dot-stuffing.
    pub size: Option<u64>,
    /// `BODY=` (RFC 6152, RFC 3030)
    pub body: Option<BodyType>,
    /// `SMTPUTF8` (RFC 6531, 3.4): addresses or header fields of this transaction may be in UTF-8.
    pub smtputf8: bool,
    /// `RET=` (RFC 3461, 4.3)
    pub ret: Option<Ret>,
    /// `ENVID=` (RFC 3461, 4.4): at most 100 characters.
    pub envelope_id: Option<Xtext<'i>>,
    /// `REQUIRETLS` (RFC 8689, 4.2): no hop without authenticated TLS.
    pub require_tls: bool,
    /// `MT-PRIORITY=` (RFC 6710, 5)
    pub priority: Option<Priority>,
    /// `BY=` (RFC 2852, 4)
    pub deliver_by: Option<DeliverBy>,
    /// `HOLDFOR=` or `HOLDUNTIL=` (RFC 4865, 4)
    pub hold: Option<Hold>,
    /// `AUTH=` (RFC 4954, 5): who submitted the message in the first place, a mailbox or `<>`. To be believed only
    /// of a trusted client.
    pub auth: Option<Xtext<'i>>,
    /// All of them as they came, known ones included. Empty in a command that is to be written from the fields above.
    pub all: Parameters<'i>,
}

/// RFC 3461, 4.4: characters of the encoded value.
const MAX_ENVELOPE_ID: usize = 100;

#[derive(Clone, Copy)]
enum Keyword {
    Auth,
    Body,
    By,
    EnvelopeId,
    HoldFor,
    HoldUntil,
    MtPriority,
    RequireTls,
    Ret,
    Size,
    SmtpUtf8,
}

/// The common ones first.
const KEYWORDS: [(&str, Keyword); 11] = [
    ("SIZE", Keyword::Size),
    ("BODY", Keyword::Body),
    ("SMTPUTF8", Keyword::SmtpUtf8),
    ("RET", Keyword::Ret),
    ("ENVID", Keyword::EnvelopeId),
    ("AUTH", Keyword::Auth),
    ("REQUIRETLS", Keyword::RequireTls),
    ("MT-PRIORITY", Keyword::MtPriority),
    ("BY", Keyword::By),
    ("HOLDFOR", Keyword::HoldFor),
    ("HOLDUNTIL", Keyword::HoldUntil),
];

impl Keyword {
    fn of(text: &str) -> Option<Self> {
        KEYWORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|&(_, keyword)| keyword)
    }
}

impl<'i> MailParameters<'i> {
    /// Reads what stands behind the path.
    pub fn parse(text: &'i str) -> Result<Self, ParameterError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        // RFC 5321, 4.1.1: a server should tolerate trailing white space.
        let text = text.trim_end_matches(' ');
        let mut it = Self { all: Parameters { text }, ..Self::default() };
        let mut left = text;
        while !left.is_empty() {
            let Word { keyword, value, rest } = Word::parse(left).ok_or(ParameterError::Syntax)?;
            left = rest;
            match Keyword::of(keyword) {
                None => {}
                Some(Keyword::Size) => set(&mut it.size, value.and_then(parse_size))?,
                Some(Keyword::Body) => set(&mut it.body, value.and_then(BodyType::parse))?,
                Some(Keyword::SmtpUtf8) => set_flag(&mut it.smtputf8, value)?,
                Some(Keyword::Ret) => set(&mut it.ret, value.and_then(Ret::parse))?,
                Some(Keyword::EnvelopeId) => {
                    let value = value.filter(|value| value.len() <= MAX_ENVELOPE_ID);
                    set(&mut it.envelope_id, value.and_then(Xtext::parse))?;
                }
                Some(Keyword::Auth) => set(&mut it.auth, value.and_then(Xtext::parse))?,
                Some(Keyword::RequireTls) => set_flag(&mut it.require_tls, value)?,
                Some(Keyword::MtPriority) => set(&mut it.priority, value.and_then(Priority::parse))?,
                Some(Keyword::By) => set(&mut it.deliver_by, value.and_then(|value| value.parse().ok()))?,
                // RFC 4865, 4: one of the two, and once.
                Some(Keyword::HoldFor) => set(&mut it.hold, value.and_then(Hold::parse_for))?,
                Some(Keyword::HoldUntil) => {
                    set(&mut it.hold, value.and_then(|value| value.parse().ok()).map(Hold::Until))?;
                }
            }
        }
        Ok(it)
    }

    /// The keywords without a meaning here.
    pub fn unknown(&self) -> impl Iterator<Item = &'i str> + use<'i> {
        self.all.iter().map(|(keyword, _)| keyword).filter(|keyword| Keyword::of(keyword).is_none())
    }

    /// Appends the parameters, each with a space before it: as they came, or else the typed ones.
    pub(crate) fn write(&self, output: &mut Vec<u8>) {
        if !self.all.is_empty() {
            return self.all.write(output);
        }
        if let Some(size) = self.size {
            put(output, &[" SIZE="]);
            push_number(output, size);
        }
        if let Some(body) = self.body {
            put(output, &[" BODY=", body.as_str()]);
        }
        if self.smtputf8 {
            put(output, &[" SMTPUTF8"]);
        }
        if let Some(ret) = self.ret {
            put(output, &[" RET=", ret.as_str()]);
        }
        if let Some(id) = self.envelope_id {
            put(output, &[" ENVID=", id.as_str()]);
        }
        if self.require_tls {
            put(output, &[" REQUIRETLS"]);
        }
        if let Some(priority) = self.priority {
            put(output, &[" MT-PRIORITY="]);
            priority.write(output);
        }
        if let Some(by) = self.deliver_by {
            put(output, &[" BY="]);
            by.write(output);
        }
        if let Some(hold) = self.hold {
            hold.write(output);
        }
        if let Some(auth) = self.auth {
            put(output, &[" AUTH=", auth.as_str()]);
        }
    }
}

/// RFC 1870, 5: `1*20DIGIT`. Twenty digits can say more than 64 bits hold: too large for anybody, but no syntax error.
fn parse_size(value: &str) -> Option<u64> {
    let digits = (1..=20).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().unwrap_or(u64::MAX))
}
