//! Which software wrote a header, as far as the header says.

use super::text::{is_white, strip};

/// Software that writes Received headers and can be told by them.
///
/// Exhaustive: what a field without a mark of TLS means depends on the software that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Product {
    /// This library: `(smtp-proto)` after `by`.
    Own,
    /// `(Postfix)`.
    Postfix,
    /// `(Exim 4.98)`.
    Exim,
    /// `with Microsoft SMTP Server` or `with mapi`: Exchange 2007 and newer. The version is that of
    /// the `id`.
    Exchange,
    /// `with Microsoft SMTPSVC`: IIS, and Exchange up to 2003.
    MicrosoftSmtpSvc,
    /// `(8.15.2/8.15.2)`, and what descends from it.
    Sendmail,
    /// `(OpenSMTPD)`.
    OpenSmtpd,
    /// `(Haraka/2.8.16)`.
    Haraka,
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

/// A product and its version, as stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Software {
    /// The product.
    pub product: Product,
    /// Its first two numbers.
    pub version: Option<(u16, u16)>,
}

impl Software {
    /// Whether this software marks every hop that came over TLS, so that a field of its own without
    /// a mark means clear text.
    ///
    /// Postfix names no version: it is taken as 2.3 (2006) or newer, which write `ESMTPS`. Exim
    /// marks TLS since 4.50 (2005), Sendmail since 8.12 (2001), Exchange since 2007.
    pub fn always_marks_tls(self) -> bool {
        match self.product {
            Product::Own
            | Product::Postfix
            | Product::Exchange
            | Product::OpenSmtpd
            | Product::Haraka
            | Product::Stalwart
            | Product::Chasquid
            | Product::KumoMta => true,
            Product::Exim => self.version.is_none_or(|version| version >= (4, 50)),
            Product::Sendmail => self.version.is_none_or(|version| version >= (8, 12)),
            Product::MicrosoftSmtpSvc
            | Product::Dovecot
            | Product::Qmail
            | Product::MessageSwitch => false,
        }
    }

    /// From the first words of a comment after `by`.
    pub(super) fn in_comment(comment: &[u8]) -> Option<Self> {
        const NAMES: [(&str, Product); 11] = [
            ("smtp-proto", Product::Own),
            ("Postfix", Product::Postfix),
            ("Exim", Product::Exim),
            ("OpenSMTPD", Product::OpenSmtpd),
            ("Haraka", Product::Haraka),
            ("Stalwart", Product::Stalwart),
            ("chasquid", Product::Chasquid),
            ("KumoMTA", Product::KumoMta),
            ("Dovecot", Product::Dovecot),
            ("qmail", Product::Qmail),
            ("MessageSwitch", Product::MessageSwitch),
        ];
        for (name, product) in NAMES {
            let Some(rest) = strip(comment, name) else {
                continue;
            };
            if rest.first().is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-') {
                let version = match product {
                    Product::Exim | Product::Haraka => {
                        version(rest.strip_prefix(b"/").unwrap_or(rest.trim_ascii_start()))
                    }
                    _ => None,
                };
                return Some(Self { product, version });
            }
        }
        // The version of sendmail, that of its configuration, and sometimes more:
        // `8.14.4/8.14.4/Submit`.
        let slash = comment.iter().position(|byte| *byte == b'/')?;
        let (own, configuration) = (version(&comment[..slash])?, version(&comment[slash + 1..])?);
        (own.0 == 8 && configuration.0 == 8)
            .then_some(Self { product: Product::Sendmail, version: Some(own) })
    }

    /// From the `with` clause and the `id` clause.
    pub(super) fn in_with(with: &[u8], id: Option<&[u8]>) -> Option<Self> {
        let mut words = with.split(|byte| is_white(*byte)).filter(|word| !word.is_empty());
        let (first, second) = (words.next()?, words.next());
        let product = if first.eq_ignore_ascii_case(b"mapi") {
            Product::Exchange
        } else if !first.eq_ignore_ascii_case(b"Microsoft") {
            return None;
        } else if second.is_some_and(|word| word.eq_ignore_ascii_case(b"SMTP")) {
            Product::Exchange
        } else if second.is_some_and(|word| strip(word, "SMTPSVC").is_some()) {
            return Some(Self { product: Product::MicrosoftSmtpSvc, version: None });
        } else {
            return None;
        };
        Some(Self { product, version: id.and_then(version) })
    }
}

/// The first two numbers of `4.98`, `8.15.2`, `4.84_2`.
fn version(text: &[u8]) -> Option<(u16, u16)> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = |text: &[u8]| str::from_utf8(text).ok()?.parse().ok();
    let (major, rest) = text.split_at(digits(text));
    let rest = rest.strip_prefix(b".")?;
    Some((number(major)?, number(&rest[..digits(rest)])?))
}
