//! Reference names, and how the names of a certificate match them (RFC 6125, RFC 9525).
//!
//! Subject alternative names come first. A `*` counts only as the whole left-most label of a
//! presented name, where it matches exactly one label, and never in a reference name. Both sides
//! are compared in lower case, as A-labels and without a trailing dot. An address matches iPAddress
//! entries only.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, SubjectAlternativeName};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use crate::domain::{Domain, DomainError, Host, is_below};
use crate::pki::comparison::text;
use crate::pki::x509::{self, Naming};

/// Most names of a certificate that a report repeats.
const MAX_REPORTED_NAMES: usize = 4;

/// A name that a certificate may carry to be accepted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reference {
    /// Exactly this name. Written `mail.example.com`.
    Name(Domain),
    /// Any name below this one, at any depth. Written `.example.com`.
    Below(Domain),
    /// This address, as an iPAddress entry. Written `192.0.2.1`.
    Address(IpAddr),
}

impl Reference {
    /// Reads `mail.example.com`, `.example.com` or an address.
    ///
    /// # Errors
    ///
    /// A [`DomainError`] if the text is none of them. `*.example.com` is refused: every name below
    /// a domain is written `.example.com`.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        if let Some(parent) = text.strip_prefix('.') {
            return Domain::parse(parent).map(Self::Below);
        }
        Host::parse(text).map(Self::from)
    }
}

impl From<Host> for Reference {
    fn from(host: Host) -> Self {
        match host {
            Host::Name(domain) => Self::Name(domain),
            Host::Address(address) => Self::Address(address),
        }
    }
}

impl FromStr for Reference {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        Self::parse(text)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(domain) => domain.fmt(f),
            Self::Below(parent) => write!(f, ".{parent}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Whether the subject's Common Name counts as a DNS name. It never matches an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum CnFallback {
    /// The Common Name never counts (RFC 9525, section 2; RFC 8461, section 4.1).
    Never,
    /// The Common Name counts if the certificate has no DNS name among its alternative names (RFC
    /// 6125, section 6.4.4).
    #[default]
    IfNoDnsSan,
    /// The Common Name counts as well as the alternative names.
    Always,
}

/// The names a certificate must carry one of, and whether its Common Name counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Names {
    /// The references; one match is enough. Empty: the name is not checked.
    pub references: Vec<Reference>,
    /// Whether the Common Name counts.
    pub cn: CnFallback,
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.references.is_empty() {
            return f.write_str("any name");
        }
        for (index, reference) in self.references.iter().enumerate() {
            write!(f, "{}{reference}", if index == 0 { "" } else { " or " })?;
        }
        Ok(())
    }
}

/// By which name a certificate matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// By an alternative name, or because no name was asked for.
    Alternative,
    /// By its Common Name, which name constraints must still allow.
    CommonName(String),
}

/// Why a certificate did not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// The certificate does not parse.
    Malformed,
    /// None of its names is one of the references; here are the first few that are host names.
    Names(Vec<String>),
}

impl Names {
    /// Compares the names of a certificate with the references.
    pub(crate) fn check(&self, certificate: &CertificateDer<'_>) -> Result<Match, Mismatch> {
        if self.references.is_empty() {
            return Ok(Match::Alternative);
        }
        // Only these two fields are parsed: a certificate has others, and a handshake waits.
        let naming = Naming::of(certificate).ok_or(Mismatch::Malformed)?;
        let alternatives = match naming.alternatives {
            None => Vec::new(),
            Some(der) => match SubjectAlternativeName::from_der(der) {
                Ok(([], names)) => names.general_names,
                Ok(_) | Err(_) => return Err(Mismatch::Malformed),
            },
        };

        let mut has_dns = false;
        let mut presented = Vec::new();
        for name in &alternatives {
            let matched = match name {
                // RFC 5280, section 4.2.1.6: an IA5String. Others are names that cannot be read.
                GeneralName::DNSName(name) if name.is_ascii() => {
                    has_dns = true;
                    if presented.len() < MAX_REPORTED_NAMES {
                        presented.extend(readable(name));
                    }
                    self.references.iter().any(|r| matches_dns(r, name))
                }
                GeneralName::IPAddress(bytes) => {
                    self.references.iter().any(|r| matches_address(r, bytes))
                }
                // A name that cannot be read matches nothing. It may be a host's name, so the
                // Common Name does not count instead.
                GeneralName::DNSName(_) | GeneralName::Invalid(..) => {
                    has_dns = true;
                    false
                }
                _ => false,
            };
            if matched {
                return Ok(Match::Alternative);
            }
        }

        let common_name = match self.cn {
            CnFallback::Never => None,
            CnFallback::IfNoDnsSan if has_dns => None,
            CnFallback::IfNoDnsSan | CnFallback::Always => common_name(naming.subject),
        };
        if let Some(name) = common_name {
            if self.references.iter().any(|r| matches_dns(r, &name)) {
                return Ok(Match::CommonName(name));
            }
            presented.push(name);
        }
        Err(Mismatch::Names(presented))
    }
}

/// The most specific Common Name of the subject (RFC 6125, section 6.4.4), in any string type, as
/// A-labels.
fn common_name(subject: &[u8]) -> Option<String> {
    let (_, subject) = X509Name::from_der(subject).ok()?;
    let attribute = subject.iter_common_name().last()?;
    readable(&text(attribute.attr_value())?)
}

/// The Common Names of a certificate and of its issuer, from any string type, for a log or a header
/// field. They prove nothing, and may have any character, line ends included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommonNames {
    /// The most specific Common Name of the subject.
    pub subject: Option<String>,
    /// The most specific Common Name of the issuer.
    pub issuer: Option<String>,
}

impl CommonNames {
    /// Reads the names of a certificate; both are `None` if it is malformed.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let Some(certificate) = x509::parse(certificate) else { return Self::default() };
        let last = |name: &X509Name<'_>| {
            text(name.iter_common_name().last()?.attr_value()).map(Cow::into_owned)
        };
        Self { subject: last(certificate.subject()), issuer: last(certificate.issuer()) }
    }
}

/// A presented name as A-labels; `None` if it is no host name, with or without a wildcard.
fn readable(presented: &str) -> Option<String> {
    let (star, name) = match presented.strip_prefix("*.") {
        Some(name) => ("*.", name),
        None => ("", presented),
    };
    let name = Domain::parse(name).ok()?;
    Some(format!("{star}{name}"))
}

fn matches_address(reference: &Reference, presented: &[u8]) -> bool {
    match reference {
        Reference::Address(IpAddr::V4(address)) => presented == address.octets(),
        Reference::Address(IpAddr::V6(address)) => presented == address.octets(),
        Reference::Name(_) | Reference::Below(_) => false,
    }
}

fn matches_dns(reference: &Reference, presented: &str) -> bool {
    let presented = presented.strip_suffix('.').unwrap_or(presented);
    match reference {
        Reference::Name(name) => {
            let name = name.as_str();
            if let Some(parent) = presented.strip_prefix("*.") {
                // RFC 6125, section 6.4.3: the whole left-most label and only that. `*.com` would
                // match every organisation below a registry, so two labels must follow.
                return parent.contains('.')
                    && name
                        .split_once('.')
                        .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent));
            }
            name.eq_ignore_ascii_case(presented)
        }
        Reference::Below(parent) => {
            let (star, name) = match presented.strip_prefix("*.") {
                Some(name) => (true, name),
                None => (false, presented),
            };
            // Every name that `*.example.com` matches lies below example.com.
            Domain::parse(name).is_ok_and(|name| name.is_below(parent) || (star && name == *parent))
        }
        Reference::Address(_) => false,
    }
}

/// Whether DNS name constraints (RFC 5280, section 4.2.1.10) let an authority issue for a presented
/// name. The path builder applies them to alternative names only.
pub(crate) fn constraints_allow(
    presented: &str,
    permitted: &[String],
    excluded: &[String],
) -> bool {
    let presented = presented.to_ascii_lowercase();
    let (star, name) = match presented.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, presented.as_str()),
    };
    let within = |subtree: &String| {
        let subtree = subtree.to_ascii_lowercase();
        let bare = subtree.strip_prefix('.').unwrap_or(&subtree);
        // "" is every name; ".example.com" is what lies below; "example.com" is both.
        let below = bare.is_empty() || is_below(name, bare);
        below || (name == bare && (star || bare == subtree))
    };
    // `*.example.com` matches names in a subtree that begins below it.
    let reaches = |subtree: &String| {
        let subtree = subtree.to_ascii_lowercase();
        star && is_below(subtree.trim_start_matches('.'), name)
    };
    if excluded.iter().any(|s| within(s) || reaches(s)) {
        return false;
    }
    permitted.is_empty() || permitted.iter().any(within)
}
