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

impl Submitter {
    /// The name of the organisation, and an address that answers questions about its reports. The
    /// domain of the address is the submitter of each report, and its DKIM key signs the mail.
    /// `None` if the contact is not an address with a domain name: a dot-string, `@` and the name.
    pub fn new(organization: &str, contact: &str) -> Option<Self> {
        match mailbox(contact) {
            Some((local, Host::Name(domain))) => Some(Self {
                organization: organization.to_owned(),
                contact: format!("{local}@{domain}"),
                domain,
            }),
            Some((_, Host::Address(_))) | None => None,
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
