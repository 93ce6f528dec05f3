//! The `with` clause: RFC 3848 and RFC 6531, section 4.3.

use crate::wire::command::Hello;

/// The registered keyword for a client that has used these extensions.
pub(super) const fn keyword(hello: Hello, tls: bool, auth: bool, utf8: bool) -> &'static str {
    match (hello, utf8, tls, auth) {
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
