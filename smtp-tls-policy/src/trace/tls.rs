//! The marks that TLS leaves in a header.

use std::fmt;

use super::scan::items;
use super::text::{Text, is_white, strip};

/// The version of the protocol, as written in a header. Displayed as OpenSSL and Postfix name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsVersion {
    /// SSL 2.0.
    Ssl2,
    /// SSL 3.0.
    Ssl3,
    /// `TLSv1/SSLv3`: the family of the cipher suite, by its old OpenSSL name. Anything from SSL
    /// 3.0 to TLS 1.2.
    Tls1OrSsl3,
    /// TLS 1.0.
    Tls10,
    /// TLS 1.1.
    Tls11,
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl TlsVersion {
    /// Reads the spellings in use: `TLSv1.2`, `TLS1.2`, `TLS1_2`, `TLSv1_2`, `TLS-1.2`, in any
    /// case.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.eq_ignore_ascii_case(b"TLSv1/SSLv3") {
            return Some(Self::Tls1OrSsl3);
        }
        let (tls, rest) = match strip(text, "TLS") {
            Some(rest) => (true, rest),
            None => (false, strip(text, "SSL")?),
        };
        let rest = if let [b'v' | b'V' | b'-' | b'_', rest @ ..] = rest { rest } else { rest };
        Some(match (tls, rest) {
            (false, [b'2'] | [b'2', b'.' | b'_', b'0']) => Self::Ssl2,
            (false, [b'3'] | [b'3', b'.' | b'_', b'0']) => Self::Ssl3,
            (true, [b'1'] | [b'1', b'.' | b'_', b'0']) => Self::Tls10,
            (true, [b'1', b'.' | b'_', b'1']) => Self::Tls11,
            (true, [b'1', b'.' | b'_', b'2']) => Self::Tls12,
            (true, [b'1', b'.' | b'_', b'3']) => Self::Tls13,
            _ => return None,
        })
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ssl2 => "SSLv2",
            Self::Ssl3 => "SSLv3",
            Self::Tls1OrSsl3 => "TLSv1/SSLv3",
            Self::Tls10 => "TLSv1",
            Self::Tls11 => "TLSv1.1",
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        })
    }
}

/// Where a header says that TLS was used; of several places the first of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Evidence {
    /// The `tls` clause of RFC 8314, section 4.3.
    Clause,
    /// A comment.
    Comment,
    /// The `with` keyword: `ESMTPS`.
    Keyword,
    /// Words in the `with` clause: `ECDHE-RSA-AES256-GCM-SHA384 encrypted SMTP`.
    Phrase,
}

/// TLS, as a header states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsMark<'i> {
    /// Where it is stated.
    pub evidence: Evidence,
    /// The version, where stated.
    pub version: Option<TlsVersion>,
    /// The cipher suite, by whichever of its names the writer used.
    pub cipher: Option<Text<'i>>,
    /// The key exchange group of RFC 8314, section 4.3.
    pub group: Option<Text<'i>>,
    /// The client's certificate, where the header says something about it.
    pub client: Option<ShownCertificate<'i>>,
}

/// What a field says about the client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownCertificate<'i> {
    /// The server did not ask for one.
    NotRequested,
    /// The server asked, the client had none.
    NotPresented,
    /// The client showed one.
    Presented {
        /// Its Common Name.
        common_name: Option<Text<'i>>,
        /// The Common Name of its issuer.
        issuer: Option<Text<'i>>,
        /// Whether the server found it valid.
        verified: bool,
    },
}

/// What one place of a header says about the channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'i> {
    pub(super) evidence: Evidence,
    pub(super) version: Option<TlsVersion>,
    pub(super) cipher: Option<Text<'i>>,
    pub(super) client: Option<ShownCertificate<'i>>,
}

impl<'i> Found<'i> {
    pub(super) const fn new(evidence: Evidence) -> Self {
        Self { evidence, version: None, cipher: None, client: None }
    }

    /// Whether a version or a cipher suite is named.
    const fn is_stated(&self) -> bool {
        self.version.is_some() || self.cipher.is_some()
    }
}

/// How much of a comment its place lets the writer's peer decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Before `by`, where the peer chose some of the names: a comment that only looks like a
    /// version is not a mark.
    From,
    /// After `by`.
    By,
    /// After `with`: a bare `(TLS)` counts.
    With,
}

/// A comment that tells of TLS. Known by its first words: further in, many writers repeat what the
/// peer said.
pub(super) fn in_comment(comment: &[u8], place: Place) -> Option<Found<'_>> {
    let mut found = Found::new(Evidence::Comment);
    let mut rest = items(comment);
    let first = rest.next()?;
    if first.eq_ignore_ascii_case(b"using") {
        if items(comment).any(denies) {
            return None;
        }
        // Postfix: `using TLSv1.3 with cipher X (256/256 bits)`. CommuniGate: `using TLS: TLSv1.2,
        // AES256-SHA`.
        let second = rest.next()?;
        if is_colon_word(second) {
            list(&mut found, rest)?;
        } else {
            found.version = TlsVersion::parse(second);
            if found.version.is_none() && !second.eq_ignore_ascii_case(b"TLS") {
                return None;
            }
            found.cipher = rest
                .skip_while(|item| !item.eq_ignore_ascii_case(b"cipher"))
                .nth(1)
                .and_then(cipher);
        }
    } else if let Some(version) = strip(first, "version=") {
        // Sendmail, Gmail, Exchange: `version=TLSv1.3 cipher=X bits=256 verify=NO`.
        found.version = TlsVersion::parse(version);
        for item in rest {
            if let Some(name) = strip(item, "cipher=") {
                found.cipher = suite(name);
            } else if let Some(verify) = strip(item, "verify=") {
                found.client = sendmail_verify(verify);
            }
        }
        // `version=NONE`, and versions of other things.
        if !found.is_stated() || items(comment).any(denies) {
            return None;
        }
    } else if is_colon_word(first) {
        // Courier, MailMarshal: `TLS: TLSv1/SSLv3,256bits,AES256-SHA`.
        list(&mut found, rest)?;
    } else if first.eq_ignore_ascii_case(b"AUTH:") {
        // Courier: `AUTH: LOGIN user@example.net, SSL: TLSv1/SSLv3,128bits,RC4-MD5`. The mechanism
        // and the user are one word each; what the user is called is not looked at.
        if !rest.nth(2).is_some_and(is_colon_word) {
            return None;
        }
        list(&mut found, rest)?;
    } else if place == Place::From {
        return None;
    } else if first.eq_ignore_ascii_case(b"Cipher") {
        // Exim before 4.50: `Cipher TLSv1:DES-CBC3-SHA:168`.
        colons(&mut found, rest.next()?)?;
    } else if first.eq_ignore_ascii_case(b"over") {
        // chasquid: `over SMTP, TLS-1.3, envelope from "s"`.
        found.version = Some(TlsVersion::parse(rest.nth(1)?)?);
    } else if let Some(version) = TlsVersion::parse(first) {
        // Exim: `TLS1.3`; mox: `TLS1.3 TLS_AES_128_GCM_SHA256`; others: `TLSv1.2 with cipher X`.
        if items(comment).any(denies) {
            return None;
        }
        found.version = Some(version);
        let is_filler = |word: &[u8]| {
            word.eq_ignore_ascii_case(b"with") || word.eq_ignore_ascii_case(b"cipher")
        };
        let name = rest.find(|word| !is_filler(word));
        found.cipher = name.and_then(|name| cipher(strip(name, "cipher=").unwrap_or(name)));
    } else if let Some(name) = strip(first, "cipher=") {
        // Momentum: `(cipher=ECDHE-RSA-AES256-GCM-SHA384)`.
        found.cipher = Some(suite(name)?);
    } else if place == Place::With && is_tls_word(first) {
        // Exchange 2007 to 2016: `(TLS)`; GroupWise: `(TLS encrypted)`; IceWarp: `(SSL)`.
        if rest.any(denies) {
            return None;
        }
    } else if place == Place::With
        && !first.contains(&b':')
        && rest.next().is_some_and(|word| word.eq_ignore_ascii_case(b"encrypted"))
    {
        // qmail with its TLS patch, qpsmtpd: `(DHE-RSA-AES256-SHA encrypted)`.
        found.cipher = Some(suite(first)?);
    } else {
        // Exim, OpenSMTPD, KumoMTA: `TLSv1.3:TLS_AES_256_GCM_SHA384:256`. T-Online: `TLSv1.3:X
        // encrypted`.
        colons(&mut found, first)?;
    }
    Some(found)
}

/// chasquid says it where there is none: `over SMTP, plain text!, envelope from "s"`.
pub(super) fn says_clear_text(comment: &[u8]) -> bool {
    let mut items = items(comment);
    items.next().is_some_and(|item| item.eq_ignore_ascii_case(b"over"))
        && items.nth(1).is_some_and(|item| item.eq_ignore_ascii_case(b"plain"))
        && items.next().is_some_and(|item| item.eq_ignore_ascii_case(b"text!"))
}

/// The words of a `with` clause that tell of TLS.
pub(super) fn in_with(with: &[u8]) -> Option<Found<'_>> {
    let mut found = Found::new(Evidence::Phrase);
    let mut words = with.split(|byte| is_white(*byte)).filter(|word| !word.is_empty());
    let first = words.next()?;
    let second = words.next();
    // IronPort: `ESMTP/TLS/ECDHE-RSA-AES256-GCM-SHA384`.
    if let Some(name) = strip(first, "ESMTP/TLS/").or_else(|| strip(first, "SMTP/TLS/")) {
        found.cipher = cipher(name);
        return Some(found);
    }
    if second.is_some_and(|word| word.eq_ignore_ascii_case(b"encrypted"))
        && let Some(suite) = suite(first)
    {
        // MessageLabs: `ECDHE-RSA-AES256-GCM-SHA384 encrypted SMTP`.
        found.cipher = Some(suite);
        return Some(found);
    }
    // Mimecast: `ESMTP with STARTTLS`; others: `SMTP over TLS`.
    names_tls(with).then_some(found)
}

/// Whether one of the words names TLS, and none denies it: `ESMTP without TLS`.
pub(super) fn names_tls(phrase: &[u8]) -> bool {
    let mut words = phrase.split(|byte| is_white(*byte));
    words.clone().any(is_tls_word) && !words.any(denies)
}

/// Whether the next word of a `with` clause names a layer: `SMTP over TLS`, `ESMTP with TLS`.
pub(super) fn awaits_name(with: &[u8]) -> bool {
    matches!(with, [.., white, a, b, c, d] if is_white(*white)
        && [*b"over", *b"with"].iter().any(|word| word.eq_ignore_ascii_case(&[*a, *b, *c, *d])))
}

/// The `tls` clause (RFC 8314, section 4.3): a cipher suite. OpenSMTPD before 6.5 wrote `TLS
/// version=TLSv1.2 cipher=X`.
pub(super) fn in_clause(word: &[u8]) -> Option<Found<'_>> {
    let mut found = Found::new(Evidence::Clause);
    match strip(word, "version=") {
        Some(version) => found.version = Some(TlsVersion::parse(version)?),
        // Suites have names in capital letters.
        None if denies(word) && word.iter().any(u8::is_ascii_lowercase) => return None,
        None => found.cipher = Some(cipher(word)?),
    }
    Some(found)
}

/// Whether a word says that there is no TLS: `none`, `cipher=NONE`.
fn denies(word: &[u8]) -> bool {
    const WORDS: [&[u8]; 14] = [
        b"no",
        b"not",
        b"non",
        b"none",
        b"null",
        b"without",
        b"off",
        b"never",
        b"disabled",
        b"failed",
        b"refused",
        b"unavailable",
        b"false",
        b"unsecured",
    ];
    const KEYS: [&str; 4] = ["tls=", "ssl=", "version=", "cipher="];
    let value = KEYS.iter().find_map(|key| strip(word, key)).unwrap_or(word);
    WORDS.iter().any(|denial| denial.eq_ignore_ascii_case(value))
}

fn is_tls_word(word: &[u8]) -> bool {
    [&b"STARTTLS"[..], b"TLS", b"SSL"].iter().any(|name| name.eq_ignore_ascii_case(word))
}

/// Postfix's sentences about the client's certificate.
pub(super) fn client_certificate(comment: &[u8]) -> Option<ShownCertificate<'_>> {
    let text = Text::new(comment);
    if text.starts_with("No client certificate requested") {
        return Some(ShownCertificate::NotRequested);
    }
    if text.starts_with("Client did not present a certificate") {
        return Some(ShownCertificate::NotPresented);
    }
    if !text.starts_with("Client CN ") {
        return None;
    }
    let (common_name, rest) = quoted(text.raw());
    let issued = rest.trim_ascii_start().starts_with(b",");
    let (issuer, rest) = if issued { quoted(rest) } else { (None, rest) };
    // To the end: a certificate may be named `a", Issuer "b" (verified OK)`.
    let verified = Text::new(rest) == "(verified OK)";
    Some(ShownCertificate::Presented { common_name, issuer, verified })
}

/// The next text in quotation marks, and the rest after it.
fn quoted(text: &[u8]) -> (Option<Text<'_>>, &[u8]) {
    let mut parts = text.splitn(3, |byte| *byte == b'"');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(name), Some(rest)) => {
            (Some(Text::new(name)).filter(|name| !name.raw().is_empty()), rest)
        }
        _ => (None, text),
    }
}

/// The macro `{verify}` of sendmail. Other answers tell nothing about a certificate.
fn sendmail_verify(verify: &[u8]) -> Option<ShownCertificate<'_>> {
    let presented =
        |verified| ShownCertificate::Presented { common_name: None, issuer: None, verified };
    match verify {
        b"OK" => Some(presented(true)),
        b"FAIL" => Some(presented(false)),
        b"NO" => Some(ShownCertificate::NotPresented),
        b"NOT" => Some(ShownCertificate::NotRequested),
        _ => None,
    }
}

fn is_colon_word(item: &[u8]) -> bool {
    item.eq_ignore_ascii_case(b"TLS:") || item.eq_ignore_ascii_case(b"SSL:")
}

/// Version, key length and cipher suite in any order. `None` if there is neither a version nor a
/// suite: `TLS: none`.
fn list<'i>(found: &mut Found<'i>, items: impl Iterator<Item = &'i [u8]>) -> Option<()> {
    for item in items {
        if let Some(version) = TlsVersion::parse(item) {
            found.version = Some(version);
        } else if found.cipher.is_none() {
            found.cipher = suite(item);
        }
    }
    found.is_stated().then_some(())
}

/// `version:cipher:bits`.
fn colons<'i>(found: &mut Found<'i>, item: &'i [u8]) -> Option<()> {
    let mut parts = item.split(|byte| *byte == b':');
    let version = parts.next()?;
    found.version = TlsVersion::parse(version);
    let name = parts.next()?;
    // Exim writes UNKNOWN for a version that its library does not name.
    if found.version.is_none() && !version.eq_ignore_ascii_case(b"UNKNOWN") {
        return None;
    }
    found.cipher = cipher(name);
    Some(())
}

/// A cipher suite's name: RFC 8314, section 4.3, and with the hyphens of OpenSSL and the plus signs
/// of GnuTLS.
pub(super) fn cipher(name: &[u8]) -> Option<Text<'_>> {
    let hexadecimal = strip(name, "0x")
        .is_some_and(|hex| hex.len() == 4 && hex.iter().all(u8::is_ascii_hexdigit));
    let named = name.first().is_some_and(u8::is_ascii_alphabetic)
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-+".contains(byte));
    (hexadecimal || named).then(|| Text::new(name))
}

/// The name of a cipher suite where another word could be: it has several parts, as every suite
/// has, or is a number.
fn suite(name: &[u8]) -> Option<Text<'_>> {
    cipher(name).filter(|_| name.starts_with(b"0") || name.iter().any(|b| b"-_+".contains(b)))
}
