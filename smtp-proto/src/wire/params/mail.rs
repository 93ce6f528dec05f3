//! The parameters of MAIL.

use super::{
    BodyType, DeliverBy, Hold, Parameters, Priority, Ret, Word, Xtext, set, set_flag,
    without_trailing_spaces,
};
use crate::date::Date;
use crate::wire::ascii::{is_word, number, push_number, put};
use crate::wire::fault::CommandError;

/// The parameters of MAIL that this library gives a meaning, and the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailParameters<'i> {
    /// `SIZE=` (RFC 1870): octets of the message, CRLF counted as two, without dot-stuffing.
    pub size: Option<u64>,
    /// `BODY=` (RFC 6152, RFC 3030)
    pub body: Option<BodyType>,
    /// `SMTPUTF8` (RFC 6531, section 3.4): addresses or header fields of this transaction may be in
    /// UTF-8.
    pub smtputf8: bool,
    /// `RET=` (RFC 3461, section 4.3)
    pub ret: Option<Ret>,
    /// `ENVID=` (RFC 3461, section 4.4): at most 100 characters.
    pub envelope_id: Option<Xtext<'i>>,
    /// `REQUIRETLS` (RFC 8689, section 4.2): no hop without authenticated TLS.
    pub require_tls: bool,
    /// `MT-PRIORITY=` (RFC 6710, section 5)
    pub priority: Option<Priority>,
    /// `BY=` (RFC 2852, section 4)
    pub deliver_by: Option<DeliverBy>,
    /// `HOLDFOR=` or `HOLDUNTIL=` (RFC 4865, section 4)
    pub hold: Option<Hold>,
    /// `AUTH=` (RFC 4954, section 5): the mailbox that submitted the message first, or `<>`.
    /// Believe it only from a trusted client. A [`Server`](crate::server::Server) shows `<>` if the
    /// client has not authenticated.
    pub auth: Option<Xtext<'i>>,
    /// All of them as they came, known ones included. Empty in a command that is to be written from
    /// the fields above.
    pub all: Parameters<'i>,
}

/// RFC 3461, section 4.4: characters of the encoded value.
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

impl Keyword {
    fn of(text: &str) -> Option<Self> {
        match text.as_bytes() {
            text if is_word(text, b"SIZE") => Some(Self::Size),
            text if is_word(text, b"BODY") => Some(Self::Body),
            text if is_word(text, b"AUTH") => Some(Self::Auth),
            text if is_word(text, b"BY") => Some(Self::By),
            text if is_word(text, b"RET") => Some(Self::Ret),
            text if is_word(text, b"ENVID") => Some(Self::EnvelopeId),
            text if is_word(text, b"HOLDFOR") => Some(Self::HoldFor),
            text if is_word(text, b"SMTPUTF8") => Some(Self::SmtpUtf8),
            text if is_word(text, b"HOLDUNTIL") => Some(Self::HoldUntil),
            text if is_word(text, b"REQUIRETLS") => Some(Self::RequireTls),
            text if is_word(text, b"MT-PRIORITY") => Some(Self::MtPriority),
            _ => None,
        }
    }
}

impl<'i> MailParameters<'i> {
    /// Reads the parameters after the path.
    ///
    /// # Errors
    ///
    /// The text is against the grammar, a known parameter has a bad value, or it is repeated with
    /// another value.
    #[inline]
    pub fn parse(text: &'i str) -> Result<Self, CommandError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let text = without_trailing_spaces(text);
        let mut it = Self { all: Parameters::checked(text), ..Self::default() };
        let mut left = text;
        while !left.is_empty() {
            let Word { keyword, value, rest } = Word::parse(left).ok_or(CommandError::Parameter)?;
            left = rest;
            match Keyword::of(keyword) {
                None => {}
                // RFC 1870, section 5: `1*20DIGIT`.
                Some(Keyword::Size) => {
                    set(&mut it.size, value.and_then(|value| number(value.as_bytes())))?
                }
                Some(Keyword::Body) => set(&mut it.body, value.and_then(BodyType::parse))?,
                Some(keyword) => it.set_rare(keyword, value)?,
            }
        }
        Ok(it)
    }

    /// Sets a rare parameter; apart from the common ones, which stay small and fast.
    #[inline(never)]
    fn set_rare(&mut self, keyword: Keyword, value: Option<&'i str>) -> Result<(), CommandError> {
        match keyword {
            Keyword::Size | Keyword::Body => Ok(()),
            Keyword::SmtpUtf8 => set_flag(&mut self.smtputf8, value),
            Keyword::Ret => set(&mut self.ret, value.and_then(Ret::parse)),
            Keyword::EnvelopeId => {
                let value = value.filter(|value| value.len() <= MAX_ENVELOPE_ID);
                set(&mut self.envelope_id, value.and_then(Xtext::parse_ascii))
            }
            Keyword::Auth => set(&mut self.auth, value.and_then(Xtext::parse)),
            Keyword::RequireTls => set_flag(&mut self.require_tls, value),
            Keyword::MtPriority => set(&mut self.priority, value.and_then(Priority::parse)),
            Keyword::By => set(&mut self.deliver_by, value.and_then(DeliverBy::parse)),
            // RFC 4865, section 4: one of the two, and once.
            Keyword::HoldFor => set(&mut self.hold, value.and_then(Hold::parse_for)),
            Keyword::HoldUntil => {
                // RFC 4865, section 4 takes `date-time` from RFC 3339, section 5.6.
                set(&mut self.hold, value.and_then(Date::parse_rfc3339).map(Hold::Until))
            }
        }
    }

    /// The keywords that this library does not know.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
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
        if let Some(id) = &self.envelope_id {
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
        if let Some(auth) = &self.auth {
            put(output, &[" AUTH=", auth.as_str()]);
        }
    }
}
