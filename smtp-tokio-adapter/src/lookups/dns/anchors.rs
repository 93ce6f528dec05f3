//! The keys from which validation starts.

use std::sync::Arc;

use hickory_net::proto::dnssec::TrustAnchors;
use hickory_net::proto::rr::Name;
use hickory_net::proto::serialize::txt::trust_anchor::{Entry, Parser};

/// The keys from which validation starts.
#[derive(Clone)]
pub struct Anchors {
    pub(super) keys: Arc<TrustAnchors>,
    /// Whose keys they are.
    zones: Arc<[Name]>,
}

/// Why a text has no trust anchors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorsError {
    /// A line is not a DNSKEY record.
    #[error("the trust anchors are not DNSKEY records: {0}")]
    Syntax(String),
    /// There is no record in the text.
    #[error("there is no trust anchor")]
    None,
}

impl Anchors {
    /// The keys of the root zone, of 2017 and 2024, as IANA publishes them.
    pub fn root() -> Self {
        Self { keys: Arc::new(TrustAnchors::default()), zones: [Name::root()].into() }
    }

    /// Reads DNSKEY records in the format of a zone file, such as the `root.key` of a resolver or
    /// the output of `dig DNSKEY`. DS records are not understood.
    ///
    /// What lies below none of them counts as insecure (RFC 7672, section 2.1.1). Of a zone other
    /// than the root every key must be here, the zone signing key too, unless its parent has DS
    /// records for it that can be validated.
    ///
    /// # Errors
    ///
    /// A record is something else, or there is none.
    pub fn parse(text: &str) -> Result<Self, AnchorsError> {
        let syntax = |error: &dyn std::fmt::Display| AnchorsError::Syntax(error.to_string());
        let entries = Parser::new(text).parse().map_err(|error| syntax(&error))?;
        let (mut keys, mut zones) = (TrustAnchors::empty(), Vec::new());
        for entry in entries {
            let Entry::DNSKEY(record) = entry else {
                return Err(syntax(&"another type of record"));
            };
            let mut zone = record.name().clone();
            zone.set_fqdn(true);
            keys.insert_with_name(record.data().public_key(), (&zone).into());
            zones.push(zone);
        }
        if zones.is_empty() {
            return Err(AnchorsError::None);
        }
        Ok(Self { keys: Arc::new(keys), zones: zones.into() })
    }

    /// The zone of the anchor that counts for a name: the closest at or above it.
    pub(super) fn zone(&self, name: &Name) -> Option<&Name> {
        self.zones.iter().filter(|zone| zone.zone_of(name)).max_by_key(|zone| zone.num_labels())
    }
}

impl std::fmt::Debug for Anchors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Anchors").field(&self.zones).finish()
    }
}
