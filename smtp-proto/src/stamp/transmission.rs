//! The `with` clause: RFC 3848 and RFC 6531, section 4.3.

/// The command with which the client introduced itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hello {
    /// HELO.
    Helo,
    /// EHLO.
    Ehlo,
    /// LHLO (RFC 2033).
    Lhlo,
}

/// The protocol and the extensions that its keyword tells of, TLS apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Transmission {
    /// What is spoken.
    pub hello: Hello,
    /// The client authenticated itself with AUTH (RFC 4954).
    pub auth: bool,
    /// The transaction uses SMTPUTF8 (RFC 6531).
    pub utf8: bool,
}

impl Transmission {
    /// A transaction after this greeting, without AUTH and SMTPUTF8.
    pub const fn new(hello: Hello) -> Self {
        Self { hello, auth: false, utf8: false }
    }

    /// The registered keyword. TLS, AUTH and SMTPUTF8 have keywords for ESMTP and LMTP only: with
    /// one of them, [`Hello::Helo`] (a client that said HELO inside TLS) is written as ESMTP.
    pub const fn keyword(self, tls: bool) -> &'static str {
        match (self.hello, self.utf8, tls, self.auth) {
            (Hello::Helo, false, false, false) => "SMTP",
            (Hello::Ehlo, false, false, false) => "ESMTP",
            (Hello::Helo | Hello::Ehlo, false, false, true) => "ESMTPA",
            (Hello::Helo | Hello::Ehlo, false, true, false) => "ESMTPS",
            (Hello::Helo | Hello::Ehlo, false, true, true) => "ESMTPSA",
            (Hello::Helo | Hello::Ehlo, true, false, false) => "UTF8SMTP",
            (Hello::Helo | Hello::Ehlo, true, false, true) => "UTF8SMTPA",
            (Hello::Helo | Hello::Ehlo, true, true, false) => "UTF8SMTPS",
            (Hello::Helo | Hello::Ehlo, true, true, true) => "UTF8SMTPSA",
            (Hello::Lhlo, false, false, false) => "LMTP",
            (Hello::Lhlo, false, false, true) => "LMTPA",
            (Hello::Lhlo, false, true, false) => "LMTPS",
            (Hello::Lhlo, false, true, true) => "LMTPSA",
            (Hello::Lhlo, true, false, false) => "UTF8LMTP",
            (Hello::Lhlo, true, false, true) => "UTF8LMTPA",
            (Hello::Lhlo, true, true, false) => "UTF8LMTPS",
            (Hello::Lhlo, true, true, true) => "UTF8LMTPSA",
        }
    }
}
