//! DNS answers with their DNSSEC status.

use crate::domain::Domain;
use crate::plan::facts::DnsStatus;

/// An answer of the DNS, denials and failures included.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsAnswer<T> {
    /// The DNSSEC status of the whole answer: from the name that was asked to the records, with
    /// every CNAME on the way.
    pub status: DnsStatus,
    /// The records; empty if the name has none, and if the lookup failed.
    pub records: Vec<T>,
    /// The name at the end of the CNAMEs, if the name that was asked is an alias.
    pub alias: Option<Domain>,
    /// The name does not exist (NXDOMAIN).
    pub no_such_name: bool,
}

impl<T> DnsAnswer<T> {
    /// These records, for a name that is no alias.
    pub fn new(status: DnsStatus, records: Vec<T>) -> Self {
        Self { status, records, alias: None, no_such_name: false }
    }

    /// The name has no such records, or the lookup failed: the status tells which.
    pub fn none(status: DnsStatus) -> Self {
        Self::new(status, Vec::new())
    }

    /// The name does not exist.
    pub fn no_such_name(status: DnsStatus) -> Self {
        Self { no_such_name: true, ..Self::none(status) }
    }

    /// The same answer, found at the end of CNAMEs.
    #[must_use]
    pub fn through(self, alias: Domain) -> Self {
        Self { alias: Some(alias), ..self }
    }
}

/// An MX record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxRecord {
    /// The preference; lower values are tried first.
    pub preference: u16,
    /// The mail server; `None` is the `.` of a null MX (RFC 7505).
    pub exchange: Option<Domain>,
}

impl MxRecord {
    /// A record that names a mail server.
    pub fn new(preference: u16, exchange: Domain) -> Self {
        Self { preference, exchange: Some(exchange) }
    }

    /// The preference, and the name of the host as text; `None` for a null MX.
    pub fn as_pair(&self) -> (u16, Option<&str>) {
        (self.preference, self.exchange.as_ref().map(Domain::as_str))
    }
}
