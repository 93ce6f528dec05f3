//! Names of hosts as the DNS has them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::path::{Domain, MAX_LABEL, PathError};

/// Longest host name, in octets, without a trailing dot (RFC 1035, section 2.3.4: 255 octets on the
/// wire).
pub const MAX_HOST_NAME: usize = 253;

/// The DNS name of a host, or an address literal, in the spelling in which hosts are compared.
///
/// The domain of a mailbox ([`Domain`]) has no underscore (RFC 5321, section 4.1.2). The host that
/// an MX record names may have one: `_dc-mx.0123456789ab.example` is in use. Labels are letters,
/// digits, hyphens and underscores, and neither begin nor end with a hyphen; internationalised
/// names are written as A-labels. Letters become lower case, and one trailing dot is dropped. An
/// address is no name: it is written as a literal, in brackets. Clones share the text.
///
/// ```
/// use smtp_proto::wire::host::HostName;
///
/// let host: HostName = "_DC-MX.0123456789ab.example.".parse()?;
/// assert_eq!(host.as_str(), "_dc-mx.0123456789ab.example");
/// assert!("[192.0.2.1]".parse::<HostName>().is_ok());
/// assert!("192.0.2.1".parse::<HostName>().is_err());
/// assert!("-mx.example".parse::<HostName>().is_err());
/// # Ok::<(), smtp_proto::wire::path::PathError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostName(Arc<str>);

impl HostName {
    /// The name in lower case without a trailing dot, or the address literal in brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.starts_with('[') {
            let literal = Domain::parse(text)?;
            return Ok(Self(literal.as_str().into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_good = |label: &str| {
            let bytes = label.as_bytes();
            (1..=MAX_LABEL).contains(&bytes.len())
                && !matches!(bytes, [b'-', ..] | [.., b'-'])
                && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        // An address in place of a name, as in a wrong MX record, is no name (RFC 5321, section
        // 5.1).
        let is_address = name.parse::<std::net::Ipv4Addr>().is_ok();
        if name.len() > MAX_HOST_NAME || is_address || !name.split('.').all(is_good) {
            return Err(PathError::HostName);
        }
        Ok(Self(name.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
