//! Policies as records of a store.

use std::time::Duration;

use pki_types::UnixTime;

use super::messages::CachedPolicy;
use super::policy::PolicyText;
use super::txt::PolicyId;
use crate::domain::Domain;
use crate::record::{UnreadableRecord, body};

/// What each record begins with, and the version that is written.
const FORM: &str = "smtp-sts-policy ";
const VERSION: u32 = 1;

impl CachedPolicy {
    /// The policy as a record for a store, under the name of its domain: lines with the form, the
    /// domain, the id and the time, and the policy text.
    pub fn to_record(&self) -> Vec<u8> {
        let (domain, id, fetched) = (self.domain(), self.id(), self.fetched().as_secs());
        let policy = self.policy();
        format!("{FORM}{VERSION}\n{domain}\n{id}\n{fetched}\n{policy}").into_bytes()
    }

    /// Reads a record of this domain.
    ///
    /// # Errors
    ///
    /// [`UnreadableRecord`]: it is none that [`to_record`](Self::to_record) writes, or that of
    /// another domain.
    pub fn from_record(domain: &Domain, record: &[u8]) -> Result<Self, UnreadableRecord> {
        let body = body(record, FORM, VERSION)?;
        Self::from_body(domain, body).ok_or(UnreadableRecord::Damaged)
    }

    /// Whether a later version of this library wrote this record: then leave it alone.
    pub fn is_newer(record: &[u8]) -> bool {
        body(record, FORM, VERSION) == Err(UnreadableRecord::Newer)
    }

    fn from_body(domain: &Domain, body: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(body).ok()?.splitn(4, '\n');
        let (name, id, fetched) = (lines.next()?, lines.next()?, lines.next()?);
        let fetched = UnixTime::since_unix_epoch(Duration::from_secs(fetched.parse().ok()?));
        let policy = PolicyText::parse_tolerant(lines.next()?.as_bytes()).ok()?;
        let cached = Self::new(domain.clone(), PolicyId::parse(id)?, fetched, policy);
        // A record that was copied under another name is not the policy of that domain.
        (name == domain.as_str()).then_some(cached)
    }
}
