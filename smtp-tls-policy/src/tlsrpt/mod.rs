//! TLS reporting (RFC 8460): the record that asks for reports, what each connection contributes,
//! and the reports of a day.
//!
//! - [`TlsrptRecord::find`] says where the reports on a domain go, if anywhere.
//! - [`Reporting`] knows the policies for one host, and makes [`ReportedSession`]s of what happened
//!   there.
//! - [`Aggregate`] counts sessions, and gives a [`DailyReport`] on each policy domain once a day
//!   (UTC) is over.
//! - With the feature `reports`, `DailyReport::mail` is the mail that carries such a report,
//!   `DailyReport::gzip` the body of a POST, and `datagram` what a collector beside the mail server
//!   takes instead. `ReceivedReport` reads a report that another mail system sent
//!   about a domain of ours, and says what is wrong with it.
//!
//! To send a report is the caller's: to ask for the record, to sign the mail with DKIM (without
//! `l=`), and to send it. The mail ignores every failure of TLS on its way, and is no part of the
//! next report (RFC 8460, sections 3 and 5.3): its field `TLS-Required: No` sees to both.

mod counts;
#[cfg(feature = "reports")]
mod datagram;
#[cfg(feature = "reports")]
mod received;
mod report;
mod session;
#[cfg(feature = "reports")]
mod submit;
mod submitter;

#[cfg(feature = "reports")]
pub use datagram::datagram;
#[cfg(feature = "reports")]
pub use received::{
    Complaint, MAX_COMPLAINTS, MAX_ENCLOSED_LEN, MAX_REPORT_LEN, MAX_REPORT_VALUES, ReceivedReport,
    ReportError, ReportedFailure, ReportedPolicy,
};
pub use report::{Aggregate, CountRecord, DailyReport, day_of};
pub use session::{AppliedPolicy, ReportedSession, Reporting};
pub use submitter::{ReportId, Submitter};

use crate::dns_txt::{TxtError, fields, select};
use crate::domain::{Domain, Host};
use crate::http_url::HttpUrl;

/// What a TLSRPT record begins with (RFC 8460, section 3).
pub const RECORD_VERSION: &str = "v=TLSRPTv1";

/// RFC 5234, appendix B.1.
const WSP: [char; 2] = [' ', '\t'];

/// The name whose TXT records ask for reports on this domain: `_smtp._tls.` and the domain. `None`
/// where that is longer than a name can be.
pub fn record_name(policy_domain: &Domain) -> Option<Domain> {
    Domain::parse(&format!("_smtp._tls.{policy_domain}")).ok()
}

/// Where reports go (RFC 8460, section 3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rua {
    /// By mail to this address: percent-decoded, ASCII, a dot-string local part and a domain or
    /// address literal.
    Mailto(String),
    /// By POST to this URI, as published: an [`HttpUrl`] of scheme `https`.
    Https(String),
}

/// A TLSRPT record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TlsrptRecord {
    /// The record as published, its strings joined.
    pub text: String,
    /// Where reports go, in the order of the record: one that is accepted is enough.
    pub rua: Vec<Rua>,
    /// How many URIs are left out because of a scheme that RFC 8460 does not have, or as no place
    /// to send anything to.
    pub unusable: usize,
}

impl TlsrptRecord {
    /// Finds the record among the TXT records of [`record_name`]; each of them is a list of
    /// character-strings.
    ///
    /// `Ok(None)`: no record begins with the version. An error means that no reports are wanted
    /// either (RFC 8460, section 3).
    ///
    /// ```
    /// use smtp_tls_policy::tlsrpt::{TlsrptRecord, Rua};
    ///
    /// let record = TlsrptRecord::find(&[["v=TLSRPTv1;rua=mailto:reports@example.com"]])?.expect("there is one");
    /// assert_eq!(record.rua, [Rua::Mailto("reports@example.com".to_owned())]);
    /// # Ok::<(), smtp_tls_policy::TxtError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TxtError`]: several records, or one that the grammar of RFC 8460, section 3 does not have.
    /// White space before a destination is taken all the same.
    pub fn find<R, S>(records: &[R]) -> Result<Option<Self>, TxtError>
    where
        R: AsRef<[S]>,
        S: AsRef<[u8]>,
    {
        select(records, RECORD_VERSION)?.map(|record| Self::read(&record)).transpose()
    }

    fn read(record: &[u8]) -> Result<Self, TxtError> {
        let (mut rua, mut unusable, mut seen) = (Vec::new(), 0, false);
        // The first URI that the grammar does not have.
        let mut malformed = None;
        for field in fields(record, RECORD_VERSION) {
            let field = field?;
            if field.name == "rua" {
                seen = true;
                // The grammar has no limit for the number of rua fields: each of them counts.
                let error = TxtError::Value { field: field.index, name: "rua" };
                for uri in field.value.split(',') {
                    let uri = uri.trim_matches(WSP);
                    let Some(scheme) = scheme(uri) else {
                        malformed = malformed.or(Some(error));
                        unusable += 1;
                        continue;
                    };
                    match destination(scheme, uri) {
                        Some(Destination::Mailto(address)) => rua.push(Rua::Mailto(address)),
                        Some(Destination::Https) => rua.push(Rua::Https(uri.to_owned())),
                        None => unusable += 1,
                    }
                }
            } else if !field.is_extension() {
                return Err(TxtError::Value { field: field.index, name: "extension" });
            }
        }
        if !seen {
            return Err(TxtError::Missing { name: "rua" });
        }
        match malformed {
            // One good destination is enough: the others are left out.
            Some(error) if rua.is_empty() => Err(error),
            Some(_) | None => {
                let text = String::from_utf8_lossy(record).into_owned();
                Ok(Self { text, rua, unusable })
            }
        }
    }
}

/// The scheme of a URI in the characters of RFC 3986, of which RFC 8460, section 3 takes `,`, `!`
/// and `;` away.
fn scheme(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    let mut letters = scheme.bytes();
    let good = letters.next().is_some_and(|b| b.is_ascii_alphabetic())
        && letters.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let (before, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (ahead, behind) = around_literal(before)?;
    (good && is_uri_text(ahead) && is_uri_text(behind) && is_uri_text(fragment)).then_some(scheme)
}

/// What stands around the IP literal of an authority (RFC 3986, section 3.2.2), the one place for
/// square brackets; `None` where what stands between them is none.
fn around_literal(text: &str) -> Option<(&str, &str)> {
    let end =
        text.get(2..).and_then(|rest| rest.find(['/', '?'])).map_or(text.len(), |end| end + 2);
    let authority = text[..end].strip_prefix("//").unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if !host.starts_with('[') {
        return Some((text, ""));
    }
    let at = end - host.len();
    let (literal, port) = host[1..].split_once(']')?;
    let address = literal.parse::<std::net::Ipv6Addr>().is_ok();
    let good =
        address && port.strip_prefix(':').unwrap_or(port).bytes().all(|b| b.is_ascii_digit());
    // A port is told from the host by its colon.
    (good && (port.is_empty() || port.starts_with(':'))).then_some((&text[..at], &text[end..]))
}

fn is_uri_text(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let good = match byte {
            b'%' => (0..2).all(|_| bytes.next().is_some_and(|b| b.is_ascii_hexdigit())),
            // RFC 3986, sections 2.2 and 2.3: reserved and unreserved, less the three, "#" and
            // brackets.
            b'-' | b'.' | b'_' | b'~' | b':' | b'/' | b'?' | b'@' => true,
            b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b'=' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        if !good {
            return false;
        }
    }
    true
}

enum Destination {
    Mailto(String),
    Https,
}

fn destination(scheme: &str, uri: &str) -> Option<Destination> {
    // RFC 3986, section 3.1: schemes are compared without regard to case.
    if scheme.eq_ignore_ascii_case("mailto") {
        // RFC 6068, section 2: header fields may follow; a report has its own.
        let to = uri[scheme.len() + 1..].split(['?', '#']).next()?;
        return address(to).map(Destination::Mailto);
    }
    let url = HttpUrl::parse(uri).ok()?;
    url.is_https().then_some(Destination::Https)
}

/// The address of a `mailto` URI, percent-decoded; `None` if it cannot be put into a RCPT command
/// as it is.
fn address(encoded: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            _ => byte,
        });
    }
    let decoded = String::from_utf8(decoded).ok()?;
    mailbox(&decoded).map(|(local, host)| format!("{local}@{host}"))
}

/// The parts of an address that can be put into a RCPT command as it is.
fn mailbox(text: &str) -> Option<(&str, Host)> {
    let (local, domain) = text.rsplit_once('@')?;
    // RFC 5321, section 4.1.2: Dot-string. That keeps CR, LF, NUL, spaces and angle brackets out of
    // what is sent.
    let atext = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    // RFC 5321, section 4.5.3.1.1: a local part has at most 64 octets.
    let good = local.len() <= 64
        && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(atext));
    let literal = domain.starts_with('[');
    let host = match Host::parse(domain) {
        Ok(host @ Host::Name(_)) => host,
        Ok(host @ Host::Address(_)) if literal => host,
        Ok(Host::Address(_)) | Err(_) => return None,
    };
    good.then_some((local, host))
}
