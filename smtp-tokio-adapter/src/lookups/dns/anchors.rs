//! The keys from which validation starts.

use std::sync::Arc;

use hickory_net::proto::dnssec::rdata::{DNSKEY, DS};
use hickory_net::proto::dnssec::{PublicKey, PublicKeyBuf, TrustAnchors, Verifier};
use hickory_net::proto::op::DnsResponse;
use hickory_net::proto::rr::{Name, RecordType};

use super::fault::Fault;
use super::presentation::{Anchor, records};
use super::prune::signature;
use super::signatures::{is_made_by, keys_of};
use super::upstream::Upstream;
use crate::lookups::setup_error::SetupError;

/// The flag of a key that is revoked (RFC 5011, section 3).
const REVOKED: u16 = 1 << 7;

/// The keys from which validation starts.
#[derive(Clone)]
pub struct Anchors(Arc<[Zone]>);

/// A zone that is trusted for itself.
struct Zone {
    name: Name,
    keys: Vec<PublicKeyBuf>,
    /// Digests of its keys.
    digests: Vec<DS>,
}

impl Anchors {
    /// The keys of the root zone, of 2017 and 2024, as IANA publishes them.
    pub fn root() -> Self {
        let published = TrustAnchors::default();
        let keys = (0..published.len()).filter_map(|index| published.get(index)).cloned();
        let root = Zone { name: Name::root(), keys: keys.collect(), digests: Vec::new() };
        Self([root].into())
    }

    /// Reads DNSKEY and DS records in the format of a zone file: the `root.key` of a resolver, the
    /// output of `dig DNSKEY` or `dnssec-dsfromkey`, or the digests that IANA publishes for the
    /// root zone. Comments and parentheses are understood, directives are not.
    ///
    /// Resolvers that follow RFC 5011 write the state of each key as a comment, such as
    /// `;;state=2 [  VALID  ]`. Keys that are valid or missing are trusted. A key that waits for
    /// its acceptance, is revoked or was removed is left out (RFC 5011, section 4.2).
    ///
    /// A zone is trusted by any of its anchors. A DS record is the digest of a key, by SHA-256 or
    /// SHA-384, which the zone must have among its DNSKEY records and sign them with. What lies
    /// below no anchor counts as insecure (RFC 7672, section 2.1.1).
    ///
    /// A key that its zone has revoked since is not trusted. If all anchors of a zone other than
    /// the root are revoked, the zone counts as if it had none (RFC 5011, section 5); if those of
    /// the root are, everything is bogus until they are replaced.
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
    /// # Ok::<(), smtp_tokio_adapter::lookups::SetupError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A record is something else or cannot be used, and the line of it; or there is none.
    pub fn parse(text: &str) -> Result<Self, SetupError> {
        let mut zones = Vec::<Zone>::new();
        for (name, anchor) in records(text)? {
            let position = zones.iter().position(|zone| zone.name == name).unwrap_or(zones.len());
            if position == zones.len() {
                zones.push(Zone { name, keys: Vec::new(), digests: Vec::new() });
            }
            let zone = &mut zones[position];
            match anchor {
                Anchor::Key(key) => zone.keys.push(key.public_key().clone()),
                Anchor::Digest(digest) => zone.digests.push(digest),
            }
        }
        match zones.is_empty() {
            true => Err(SetupError::NoAnchor),
            false => Ok(Self(zones.into())),
        }
    }

    /// The zone of the anchor that counts for a name, and the keys with which the validator starts
    /// there. It is the closest zone at or above the name whose anchors are not all revoked.
    pub(super) async fn start(
        &self,
        name: &Name,
        upstream: &Upstream,
    ) -> Result<Option<(Name, Arc<TrustAnchors>)>, Fault> {
        let mut above: Vec<_> = self.0.iter().filter(|zone| zone.name.zone_of(name)).collect();
        above.sort_by_key(|zone| std::cmp::Reverse(zone.name.num_labels()));
        for zone in above {
            if let Some(keys) = zone.start(upstream).await? {
                return Ok(Some((zone.name.clone(), Arc::new(keys))));
            }
            tracing::warn!(
                zone = %zone.name,
                "the zone has revoked all keys that are trust anchors here; what is in it counts \
                 as without an anchor; replace the anchors"
            );
        }
        Ok(None)
    }
}

impl Zone {
    /// The keys with which the validator starts at this zone. `None` if all anchors are revoked.
    ///
    /// The validator takes the keys of the root for what they are, and checks by them the other
    /// keys that the root has. Of another zone it wants to be told all keys: they are looked up
    /// here, and count if one that is trusted has signed them.
    async fn start(&self, upstream: &Upstream) -> Result<Option<TrustAnchors>, Fault> {
        let Self { name, keys, digests } = self;
        let mut start = TrustAnchors::empty();
        for key in keys {
            start.insert_with_name(key, name.into());
        }
        if name.is_root() && digests.is_empty() {
            return Ok(Some(start));
        }
        let response = upstream.ask_keys(name).await?;
        let published = keys_of(name, &response);
        let trusted: Vec<&DNSKEY> =
            published.iter().copied().filter(|key| !key.revoke() && self.has(key)).collect();
        if name.is_root() {
            for key in trusted {
                start.insert(key.public_key());
            }
            return Ok(Some(start));
        }
        if is_signed(name, &response, &trusted) {
            // The validator makes no use of keys that are revoked or not of a zone. It has to be
            // told of them all the same: of a key that it does not know it wants a DS record.
            for key in published {
                start.insert_with_name(key.public_key(), name.into());
            }
            return Ok(Some(start));
        }
        let revoked: Vec<&DNSKEY> = published.into_iter().filter(|key| key.revoke()).collect();
        // RFC 5011, section 2.1: a key is revoked by a signature of its own.
        let is_revoked = |is_anchor: &dyn Fn(&DNSKEY) -> bool| {
            revoked.iter().any(|key| is_anchor(key) && is_signed(name, &response, &[key]))
        };
        let are_revoked = keys.iter().all(|it| is_revoked(&|key| is_same(it, key)))
            && digests.iter().all(|ds| is_revoked(&|key| covers(ds, name, key)));
        if are_revoked { Ok(None) } else { Err(Fault::Bogus) }
    }

    /// Whether this key is one of the anchors.
    fn has(&self, key: &DNSKEY) -> bool {
        key.zone_key()
            && (self.keys.iter().any(|it| is_same(it, key))
                || self.digests.iter().any(|ds| covers(ds, &self.name, key)))
    }
}

/// Whether a key with one of these digests has signed the keys of a zone (RFC 4035, section 5.2).
pub(super) async fn is_vouched_for(
    zone: &Name,
    digests: &[&DS],
    upstream: &Upstream,
) -> Result<bool, Fault> {
    let response = upstream.ask_keys(zone).await?;
    let has_digest = |key: &DNSKEY| {
        let is_usable = key.zone_key() && !key.revoke();
        is_usable && digests.iter().any(|ds| covers(ds, zone, key))
    };
    let trusted: Vec<&DNSKEY> =
        keys_of(zone, &response).into_iter().filter(|key| has_digest(key)).collect();
    Ok(is_signed(zone, &response, &trusted))
}

fn is_same(anchor: &PublicKeyBuf, key: &DNSKEY) -> bool {
    let key = key.public_key();
    anchor.public_bytes() == key.public_bytes() && anchor.algorithm() == key.algorithm()
}

/// Whether this is the digest of the key, as it was before it was revoked.
fn covers(ds: &DS, zone: &Name, key: &DNSKEY) -> bool {
    let key = DNSKEY::with_flags(key.flags() & !REVOKED, key.public_key().clone());
    ds.algorithm() == key.algorithm() && ds.covers(zone, &key).unwrap_or(false)
}

/// Whether one of these keys has signed the DNSKEY records of the zone.
fn is_signed(zone: &Name, response: &DnsResponse, trusted: &[&DNSKEY]) -> bool {
    let own = response.answers.iter().filter(|record| record.name == *zone);
    let keys = own.clone().filter(|record| record.record_type() == RecordType::DNSKEY);
    own.filter_map(signature).any(|made| {
        let input = made.input();
        input.type_covered == RecordType::DNSKEY
            && input.signer_name == *zone
            && input.num_labels == zone.num_labels()
            && is_made_by(trusted, made, zone, keys.clone())
    })
}

impl std::fmt::Debug for Anchors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let zones: Vec<_> = self.0.iter().map(|zone| &zone.name).collect();
        f.debug_tuple("Anchors").field(&zones).finish()
    }
}
