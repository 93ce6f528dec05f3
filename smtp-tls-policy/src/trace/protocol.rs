//! The `with` clause: RFC 3848 and RFC 6531, section 4.3, and what others write there.

use super::text::strip;

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
#[derive(Clone, Copy)]
pub(super) struct Transmission {
    pub(super) protocol: Protocol,
    pub(super) auth: bool,
    pub(super) utf8: bool,
}

impl Transmission {
    /// The transmission, and whether the keyword tells of TLS. Unregistered keywords that are in
    /// use are understood.
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
            // UTF8SMTP is ESMTP with SMTPUTF8 (RFC 6531, section 4.3).
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
