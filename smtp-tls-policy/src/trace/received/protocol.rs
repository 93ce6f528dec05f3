//! The `with` clause: RFC 3848 and RFC 6531, 4.3, and what others write there.

use super::text::Text;

/// What is spoken, before its extensions are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HELO.
    Smtp,
    /// EHLO.
    Esmtp,
    /// LHLO (RFC 2033).
    Lmtp,
}

/// The protocol and the extensions that its keyword tells of, TLS apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transmission {
    /// What is spoken.
    pub protocol: Protocol,
    /// The client authenticated itself with AUTH (RFC 4954).
    pub auth: bool,
    /// The transaction uses SMTPUTF8 (RFC 6531).
    pub utf8: bool,
}

impl Transmission {
    /// The registered keyword. TLS, AUTH and SMTPUTF8 have keywords for ESMTP and LMTP only: with one of them,
    /// [`Protocol::Smtp`] (a client that said HELO inside TLS) is written as ESMTP.
    pub const fn keyword(self, tls: bool) -> &'static str {
        match (self.protocol, self.utf8, tls, self.auth) {
            (Protocol::Smtp, false, false, false) => "SMTP",
            (Protocol::Esmtp, false, false, false) => "ESMTP",
            (Protocol::Smtp | Protocol::Esmtp, false, false, true) => "ESMTPA",
            (Protocol::Smtp | Protocol::Esmtp, false, true, false) => "ESMTPS",
            (Protocol::Smtp | Protocol::Esmtp, false, true, true) => "ESMTPSA",
            (Protocol::Smtp | Protocol::Esmtp, true, false, false) => "UTF8SMTP",
            (Protocol::Smtp | Protocol::Esmtp, true, false, true) => "UTF8SMTPA",
            (Protocol::Smtp | Protocol::Esmtp, true, true, false) => "UTF8SMTPS",
            (Protocol::Smtp | Protocol::Esmtp, true, true, true) => "UTF8SMTPSA",
            (Protocol::Lmtp, false, false, false) => "LMTP",
            (Protocol::Lmtp, false, false, true) => "LMTPA",
            (Protocol::Lmtp, false, true, false) => "LMTPS",
            (Protocol::Lmtp, false, true, true) => "LMTPSA",
            (Protocol::Lmtp, true, false, false) => "UTF8LMTP",
            (Protocol::Lmtp, true, false, true) => "UTF8LMTPA",
            (Protocol::Lmtp, true, true, false) => "UTF8LMTPS",
            (Protocol::Lmtp, true, true, true) => "UTF8LMTPSA",
        }
    }

    /// The transmission, and whether the keyword tells of TLS. Unregistered keywords that are in use are understood.
    pub(super) fn parse(keyword: &[u8]) -> Option<(Self, bool)> {
        let (utf8, rest) = match strip(keyword, "UTF8") {
            Some(rest) => (true, rest),
            None => (false, keyword),
        };
        let (protocol, auth, rest) = if let Some(rest) = strip(rest, "ESMTP") {
            (Protocol::Esmtp, false, rest)
        } else if let Some(rest) = strip(rest, "LMTP") {
            (Protocol::Lmtp, false, rest)
        } else if let Some(rest) = strip(rest, "SMTP") {
            // UTF8SMTP is ESMTP with SMTPUTF8 (RFC 6531, 4.3).
            (if utf8 { Protocol::Esmtp } else { Protocol::Smtp }, false, rest)
        } else {
            // Exim before 4.50: authenticated, and TLS not told.
            (Protocol::Esmtp, true, strip(rest, "ASMTP")?)
        };
        let (tls, more_auth) = match rest {
            [] => (false, false),
            [b'A' | b'a'] => (false, true),
            [b'S' | b's'] => (true, false),
            [b'S' | b's', b'A' | b'a'] => (true, true),
            // `ESMTP-TLS`, `ESMTP/TLS/cipher`.
            [b'-' | b'/', rest @ ..] => match strip(rest, "TLS") {
                Some([] | [b'/', ..]) => (true, false),
                _ => return None,
            },
            _ => return None,
        };
        Some((Self { protocol, auth: auth || more_auth, utf8 }, tls))
    }
}

/// The text without a prefix, whose case does not matter.
pub(super) fn strip<'i>(text: &'i [u8], prefix: &str) -> Option<&'i [u8]> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix.as_bytes()).then_some(rest)
}

/// The `with` clause of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct With<'i> {
    /// All of it up to its first comment or the next clause: `ESMTPS`, but also `Microsoft SMTP Server`.
    pub text: Text<'i>,
    /// What its first word says, if that is a keyword of RFC 3848 or RFC 6531 or near to one.
    pub transmission: Option<Transmission>,
}
