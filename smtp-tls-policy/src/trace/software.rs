//! Which software wrote a header, as far as the header says.

use std::fmt;

use super::text::{is_white, strip};

/// Software that writes Received headers and can be told by them, with the first two numbers of its
/// version where that is stated.
///
/// Exhaustive: what a field without a mark of TLS means depends on the software that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Software {
    /// This library: `(smtp-proto)` after `by`.
    Own,
    /// `(Postfix)`.
    Postfix,
    /// `(Exim 4.98)`.
    Exim(Option<(u16, u16)>),
    /// `with Microsoft SMTP Server` or `with mapi`: Exchange 2007 and newer. The version is that of
    /// the `id`.
    Exchange(Option<(u16, u16)>),
    /// `with Microsoft SMTPSVC`: IIS, and Exchange up to 2003.
    MicrosoftSmtpSvc,
    /// `(8.15.2/8.15.2)`, and what descends from it.
    Sendmail((u16, u16)),
    /// `(OpenSMTPD)`.
    OpenSmtpd,
    /// `(Haraka/2.8.16)`.
    Haraka(Option<(u16, u16)>),
    /// `(Stalwart SMTP)`.
    Stalwart,
    /// `(chasquid)`.
    Chasquid,
    /// `(KumoMTA 192.0.2.1)`.
    KumoMta,
    /// `(Dovecot)`.
    Dovecot,
    /// `(qmail 123 invoked from network)`.
    Qmail,
    /// `(MessageSwitch)`: the inside of Exchange Hosted Services.
    MessageSwitch,
}

impl Software {
    /// Whether this software marks every hop that came over TLS, so that a field of its own without
    /// a mark means clear text.
    ///
    /// Postfix names no version: it is taken as 2.3 (2006) or newer, which write `ESMTPS`. Exim
    /// marks TLS since 4.50 (2005), Sendmail since 8.12 (2001), Exchange since 2007.
    pub fn always_marks_tls(self) -> bool {
        match self {
            Self::Own
            | Self::Postfix
            | Self::Exchange(_)
            | Self::OpenSmtpd
            | Self::Haraka(_)
            | Self::Stalwart
            | Self::Chasquid
            | Self::KumoMta => true,
            Self::Exim(version) => version.is_none_or(|version| version >= (4, 50)),
            Self::Sendmail(version) => version >= (8, 12),
            Self::MicrosoftSmtpSvc | Self::Dovecot | Self::Qmail | Self::MessageSwitch => false,
        }
    }

    /// The first two numbers of its version, where stated.
    pub const fn version(self) -> Option<(u16, u16)> {
        match self {
            Self::Exim(version) | Self::Exchange(version) | Self::Haraka(version) => version,
            Self::Sendmail(version) => Some(version),
            Self::Own
            | Self::Postfix
            | Self::MicrosoftSmtpSvc
            | Self::OpenSmtpd
            | Self::Stalwart
            | Self::Chasquid
            | Self::KumoMta
            | Self::Dovecot
            | Self::Qmail
            | Self::MessageSwitch => None,
        }
    }

    /// From the first words of a comment after `by`.
    pub(super) fn in_comment(comment: &[u8]) -> Option<Self> {
        /// Makes the software of the words after its name.
        type Make = fn(&[u8]) -> Software;
        const NAMES: [(&str, Make); 11] = [
            ("smtp-proto", |_| Software::Own),
            ("Postfix", |_| Software::Postfix),
            ("Exim", |rest| Software::Exim(version_after(rest))),
            ("OpenSMTPD", |_| Software::OpenSmtpd),
            ("Haraka", |rest| Software::Haraka(version_after(rest))),
            ("Stalwart", |_| Software::Stalwart),
            ("chasquid", |_| Software::Chasquid),
            ("KumoMTA", |_| Software::KumoMta),
            ("Dovecot", |_| Software::Dovecot),
            ("qmail", |_| Software::Qmail),
            ("MessageSwitch", |_| Software::MessageSwitch),
        ];
        for (name, software) in NAMES {
            let Some(rest) = strip(comment, name) else {
                continue;
            };
            if rest.first().is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-') {
                return Some(software(rest));
            }
        }
        // The version of sendmail, that of its configuration, and sometimes more:
        // `8.14.4/8.14.4/Submit`.
        let slash = comment.iter().position(|byte| *byte == b'/')?;
        let (own, configuration) = (version(&comment[..slash])?, version(&comment[slash + 1..])?);
        (own.0 == 8 && configuration.0 == 8).then_some(Self::Sendmail(own))
    }

    /// From the `with` clause and the `id` clause.
    pub(super) fn in_with(with: &[u8], id: Option<&[u8]>) -> Option<Self> {
        let exchange = || Self::Exchange(id.and_then(version));
        let mut words = with.split(|byte| is_white(*byte)).filter(|word| !word.is_empty());
        let (first, second) = (words.next()?, words.next());
        if first.eq_ignore_ascii_case(b"mapi") {
            Some(exchange())
        } else if !first.eq_ignore_ascii_case(b"Microsoft") {
            None
        } else if second.is_some_and(|word| word.eq_ignore_ascii_case(b"SMTP")) {
            Some(exchange())
        } else {
            second.and_then(|word| strip(word, "SMTPSVC")).map(|_| Self::MicrosoftSmtpSvc)
        }
    }
}

/// The name of the product, and its version where that is stated: `Exim 4.98`.
impl fmt::Display for Software {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "Own",
            Self::Postfix => "Postfix",
            Self::Exim(_) => "Exim",
            Self::Exchange(_) => "Exchange",
            Self::MicrosoftSmtpSvc => "MicrosoftSmtpSvc",
            Self::Sendmail(_) => "Sendmail",
            Self::OpenSmtpd => "OpenSmtpd",
            Self::Haraka(_) => "Haraka",
            Self::Stalwart => "Stalwart",
            Self::Chasquid => "Chasquid",
            Self::KumoMta => "KumoMta",
            Self::Dovecot => "Dovecot",
            Self::Qmail => "Qmail",
            Self::MessageSwitch => "MessageSwitch",
        })?;
        match self.version() {
            Some((major, minor)) => write!(f, " {major}.{minor}"),
            None => Ok(()),
        }
    }
}

/// The version after the name of a product and a slash or a space.
fn version_after(rest: &[u8]) -> Option<(u16, u16)> {
    version(rest.strip_prefix(b"/").unwrap_or(rest.trim_ascii_start()))
}

/// The first two numbers of `4.98`, `8.15.2`, `4.84_2`.
fn version(text: &[u8]) -> Option<(u16, u16)> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = |text: &[u8]| str::from_utf8(text).ok()?.parse().ok();
    let (major, rest) = text.split_at(digits(text));
    let rest = rest.strip_prefix(b".")?;
    Some((number(major)?, number(&rest[..digits(rest)])?))
}
