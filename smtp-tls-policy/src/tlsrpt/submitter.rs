//! The organisation that a report comes from, and the name of the report.

use std::fmt;

use super::mailbox;
use crate::domain::{Domain, Host};

/// The organisation that a report comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitter {
    organization: String,
    contact: String,
    domain: Domain,
}

/// The contact is not an address with a domain: a dot-string, `@` and a domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the contact of a TLS report is not an address with a domain name")]
pub struct ContactError;

impl Submitter {
    /// The name of the organisation, and an address that answers questions about its reports. The
    /// domain of the address is the submitter of each report, and its DKIM key signs the mail.
    ///
    /// # Errors
    ///
    /// [`ContactError`]: the contact is no such address.
    pub fn new(organization: &str, contact: &str) -> Result<Self, ContactError> {
        match mailbox(contact) {
            Some((local, Host::Name(domain))) => Ok(Self {
                organization: organization.to_owned(),
                contact: format!("{local}@{domain}"),
                domain,
            }),
            Some((_, Host::Address(_))) | None => Err(ContactError),
        }
    }

    /// The name of the organisation.
    pub fn organization(&self) -> &str {
        &self.organization
    }

    /// The address.
    pub fn contact(&self) -> &str {
        &self.contact
    }

    /// The domain of the address: `TLS-Report-Submitter`.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }
}

/// What tells a report from the others of its submitter: 1 to 60 ASCII letters, digits and hyphens,
/// such as a UUID.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReportId(String);

impl ReportId {
    /// Reads an id; `None` if it is no such text.
    pub fn parse(text: &str) -> Option<Self> {
        let good = (1..=60).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        good.then(|| Self(text.to_owned()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
