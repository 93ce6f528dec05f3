//! What a certificate says, for people.

use std::fmt;
use std::time::Duration;

use pki_types::{CertificateDer, UnixTime};
use x509_parser::extensions::GeneralName;
use x509_parser::public_key::PublicKey;

use crate::pki::date::Date;
use crate::pki::pin::Pin;
use crate::pki::x509;

/// What a certificate says of itself, for people: nothing in it is verified. Control characters and
/// what is not ASCII are escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateSummary {
    /// The subject, such as `CN=mx.example`.
    pub subject: String,
    /// The issuer.
    pub issuer: String,
    /// The DNS names and addresses, in their order.
    pub names: Vec<String>,
    /// The first moment of its validity.
    pub not_before: UnixTime,
    /// The last moment of its validity.
    pub not_after: UnixTime,
    /// The kind and size of its key, such as `RSA 2048` or `EC 256`.
    pub key: String,
    /// Where its revocation lists are.
    pub lists: Vec<String>,
    /// The SHA-256 digest of its key, as a connector pins it.
    pub pin: Option<Pin>,
}

impl CertificateSummary {
    /// Reads a certificate. `None` if it does not follow RFC 5280 so far that it can be read.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = x509::parse_deep(certificate)?;
        let (not_before, not_after) = x509::dates(certificate)?;
        let time = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let alternative = parsed.subject_alternative_name().ok().flatten();
        let names = alternative.into_iter().flat_map(|it| &it.value.general_names);
        let key = parsed.public_key();
        Some(Self {
            subject: escaped(&parsed.subject().to_string()),
            issuer: escaped(&parsed.issuer().to_string()),
            names: names.filter_map(name).collect(),
            not_before: time(not_before),
            not_after: time(not_after),
            key: match key.parsed() {
                Ok(PublicKey::RSA(rsa)) => format!("RSA {}", rsa.key_size()),
                Ok(PublicKey::EC(point)) => format!("EC {}", point.key_size()),
                _ => format!("algorithm {}", key.algorithm.algorithm),
            },
            lists: x509::point_uris(certificate).into_iter().flatten().map(escaped).collect(),
            pin: Pin::of_key(certificate),
        })
    }
}

impl fmt::Display for CertificateSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, issued by {}, valid {} to {}, {}",
            self.subject,
            self.issuer,
            Date(self.not_before),
            Date(self.not_after),
            self.key,
        )
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(escaped(name)),
        GeneralName::IPAddress(octets) => Some(match <[u8; 4]>::try_from(*octets) {
            Ok(octets) => std::net::Ipv4Addr::from(octets).to_string(),
            Err(_) => std::net::Ipv6Addr::from(<[u8; 16]>::try_from(*octets).ok()?).to_string(),
        }),
        _ => None,
    }
}

fn escaped(text: &str) -> String {
    text.escape_default().to_string().replace("\\'", "'").replace("\\\"", "\"")
}
