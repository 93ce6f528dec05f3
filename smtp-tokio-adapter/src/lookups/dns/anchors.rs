//! The keys from which validation starts.

use std::sync::Arc;
use std::time::SystemTime;

use hickory_net::proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS, RRSIG};
use hickory_net::proto::dnssec::{TrustAnchors, Verifier};
use hickory_net::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Query};
use hickory_net::proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::fault::Fault;
use super::presentation::{Anchor, AnchorsError, records};
use super::prune::signature;
use super::upstream::Upstream;

/// The keys from which validation starts.
#[derive(Clone)]
pub struct Anchors {
    keys: Arc<TrustAnchors>,
    zones: Arc<[Zone]>,
}

/// A zone that is trusted for itself.
#[derive(Debug)]
struct Zone {
    name: Name,
    /// Digests of its keys.
    digests: Vec<DS>,
}

impl Anchors {
    /// The keys of the root zone, of 2017 and 2024, as IANA publishes them.
    pub fn root() -> Self {
        let root = Zone { name: Name::root(), digests: Vec::new() };
        Self { keys: Arc::new(TrustAnchors::default()), zones: [root].into() }
    }

    /// Reads DNSKEY and DS records in the format of a zone file: the `root.key` of a resolver, the
    /// output of `dig DNSKEY` or `dnssec-dsfromkey`, or the digests that IANA publishes for the
    /// root zone. Comments and parentheses are understood, directives are not.
    ///
    /// A zone is trusted by any of its anchors. A DS record is the digest of a key, by SHA-256 or
    /// SHA-384, which the zone must have among its DNSKEY records and sign them with. What lies
    /// below no anchor counts as insecure (RFC 7672, section 2.1.1).
    ///
    /// ```
    /// use smtp_tokio_adapter::lookups::dns::Anchors;
    ///
    /// // https://data.iana.org/root-anchors/
    /// let anchors = Anchors::parse(
    ///     ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
    ///      . IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
    /// )?;
    ///
    /// let error = Anchors::parse("\n. IN DS 20326 8 2 E06D").unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "line 2 of the trust anchors: a digest of type 2 has 32 octets, and this one has 2",
    /// );
    /// # Ok::<(), smtp_tokio_adapter::lookups::dns::AnchorsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A record is something else or cannot be used, and the line of it; or there is none.
    pub fn parse(text: &str) -> Result<Self, AnchorsError> {
        let (mut keys, mut zones) = (TrustAnchors::empty(), Vec::<Zone>::new());
        for (name, anchor) in records(text)? {
            let position = zones.iter().position(|zone| zone.name == name).unwrap_or(zones.len());
            if position == zones.len() {
                zones.push(Zone { name: name.clone(), digests: Vec::new() });
            }
            match anchor {
                Anchor::Key(key) => {
                    keys.insert_with_name(key.public_key(), (&name).into());
                }
                Anchor::Digest(digest) => zones[position].digests.push(digest),
            }
        }
        if zones.is_empty() {
            return Err(AnchorsError::None);
        }
        Ok(Self { keys: Arc::new(keys), zones: zones.into() })
    }

    /// The zone of the anchor that counts for a name: the closest at or above it.
    pub(super) fn zone(&self, name: &Name) -> Option<&Name> {
        let above = self.zones.iter().map(|zone| &zone.name).filter(|zone| zone.zone_of(name));
        above.max_by_key(|zone| zone.num_labels())
    }

    /// The keys with which the validator starts at this zone of an anchor.
    ///
    /// The validator takes the keys of the root for what they are, and checks by them the other
    /// keys that the root has. Of another zone it wants to be told all keys: they are looked up
    /// here, and count if one that is trusted has signed them.
    pub(super) async fn keys(
        &self,
        zone: &Name,
        upstream: &Upstream,
    ) -> Result<Arc<TrustAnchors>, Fault> {
        let digests =
            self.zones.iter().find(|it| it.name == *zone).map_or(&[][..], |it| &it.digests);
        if zone.is_root() && digests.is_empty() {
            return Ok(Arc::clone(&self.keys));
        }
        let mut options = DnsRequestOptions::default();
        options.edns_set_dnssec_ok = true;
        let query = Query::query(zone.clone(), RecordType::DNSKEY);
        let response = upstream.ask(&DnsRequest::from_query(query, options)).await?;
        let published = keys_of(zone, &response);
        let is_trusted = |key: &&DNSKEY| {
            let is_digested = |ds: &DS| {
                ds.algorithm() == key.algorithm() && ds.covers(zone, key).unwrap_or(false)
            };
            key.zone_key()
                && !key.revoke()
                && (self.keys.contains_with_name(key.public_key(), &zone.into())
                    || digests.iter().any(is_digested))
        };
        let trusted: Vec<&DNSKEY> = published.iter().copied().filter(is_trusted).collect();
        let mut keys = TrustAnchors::clone(&self.keys);
        match zone.is_root() {
            true => trusted.iter().for_each(|key| {
                keys.insert(key.public_key());
            }),
            false if is_signed(zone, &response, &trusted) => {
                for key in published.iter().filter(|key| key.zone_key() && !key.revoke()) {
                    keys.insert_with_name(key.public_key(), zone.into());
                }
            }
            false => return Err(Fault::Bogus),
        }
        Ok(Arc::new(keys))
    }
}

fn keys_of<'a>(zone: &Name, response: &'a DnsResponse) -> Vec<&'a DNSKEY> {
    let own = response.answers.iter().filter(|record| record.name == *zone);
    own.filter_map(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::DNSKEY(key)) => Some(key),
        _ => None,
    })
    .collect()
}

/// Whether one of these keys has signed the DNSKEY records of the zone (RFC 4035, section 5.3.1).
fn is_signed(zone: &Name, response: &DnsResponse, trusted: &[&DNSKEY]) -> bool {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Times in signatures are counted modulo 2^32 (RFC 4034, section 3.1.5).
    let now = u32::try_from(since.as_secs() & u64::from(u32::MAX)).unwrap_or_default();
    let is_at_or_after = |later: u32, earlier: u32| later.wrapping_sub(earlier) < 1 << 31;
    let is_current = |signature: &RRSIG| {
        let input = signature.input();
        is_at_or_after(now, input.sig_inception.get())
            && is_at_or_after(input.sig_expiration.get(), now)
    };
    let is_key =
        |record: &&Record| record.name == *zone && record.record_type() == RecordType::DNSKEY;
    let records = || response.answers.iter().filter(is_key);
    let signatures = response.answers.iter().filter(|record| record.name == *zone);
    signatures.filter_map(signature).any(|made| {
        let input = made.input();
        input.type_covered == RecordType::DNSKEY
            && input.signer_name == *zone
            && input.num_labels == zone.num_labels()
            && is_current(made)
            && trusted
                .iter()
                .filter(|key| key.algorithm() == input.algorithm)
                .any(|key| key.verify_rrsig(zone, DNSClass::IN, made, records()).is_ok())
    })
}

impl std::fmt::Debug for Anchors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let zones: Vec<_> = self.zones.iter().map(|zone| &zone.name).collect();
        f.debug_tuple("Anchors").field(&zones).finish()
    }
}
