//! A resolver that signs what it answers, for zones that no signing tool makes.
//!
//! It knows a root, and one zone below it, `test.`, whose answers the test writes.

use std::time::{Duration, SystemTime};

use hickory_net::proto::dnssec::crypto::EcdsaSigningKey;
use hickory_net::proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS, NSEC, RRSIG, SigInput};
use hickory_net::proto::dnssec::{Algorithm, DigestType, SigningKey, TBS};
use hickory_net::proto::op::{Message, Query};
use hickory_net::proto::rr::rdata::{NS, SOA};
use hickory_net::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use smtp_tokio_adapter::lookups::dns::{Anchors, Resolver};

use crate::forged::name;
use crate::forger::{Forger, empty};
use crate::servers::servers;

const TTL: u32 = 60;

/// A zone and its key.
pub(crate) struct Zone {
    pub(crate) name: Name,
    pub(crate) key: DNSKEY,
    signing: EcdsaSigningKey,
}

/// From when to when a signature is valid, in seconds from now.
pub(crate) type Times = (i64, i64);
pub(crate) const VALID: Times = (-3600, 3600);

impl Zone {
    pub(crate) fn new(zone: &str) -> Self {
        let algorithm = Algorithm::ECDSAP256SHA256;
        let pkcs8 = EcdsaSigningKey::generate_pkcs8(algorithm).unwrap();
        let signing = EcdsaSigningKey::from_pkcs8(&pkcs8, algorithm).unwrap();
        let key = DNSKEY::new(true, true, false, signing.to_public_key().unwrap());
        Self { name: name(zone), key, signing }
    }

    pub(crate) fn ds(&self) -> DS {
        DS::from_key(self.key.public_key(), &self.name, DigestType::SHA256).unwrap()
    }

    /// The signature of a set of records.
    pub(crate) fn signature(&self, set: &[Record], times: Times, labels: Option<u8>) -> Record {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let at = |offset: i64| {
            let time = i64::try_from(since.as_secs()).unwrap() + offset;
            u32::try_from(time & i64::from(u32::MAX)).unwrap()
        };
        let owner = &set[0].name;
        let input = SigInput {
            type_covered: set[0].record_type(),
            algorithm: self.signing.algorithm(),
            num_labels: labels.unwrap_or_else(|| owner.num_labels()),
            original_ttl: TTL,
            sig_expiration: at(times.1).into(),
            sig_inception: at(times.0).into(),
            key_tag: self.key.calculate_key_tag().unwrap(),
            signer_name: self.name.clone(),
        };
        let text = TBS::from_input(owner, DNSClass::IN, &input, set.iter()).unwrap();
        let made = RRSIG::from_sig(input, self.signing.sign(&text).unwrap());
        record(owner, RData::DNSSEC(DNSSECRData::RRSIG(made)))
    }

    /// A set of records with its signature.
    pub(crate) fn signed(
        &self,
        owner: &Name,
        data: impl IntoIterator<Item = RData>,
    ) -> Vec<Record> {
        let mut set: Vec<Record> = data.into_iter().map(|data| record(owner, data)).collect();
        set.push(self.signature(&set, VALID, None));
        set
    }

    pub(crate) fn soa(&self) -> Vec<Record> {
        let soa = SOA::new(self.name.clone(), self.name.clone(), 1, 3600, 900, 604_800, 300);
        self.signed(&self.name, [RData::SOA(soa)])
    }

    /// An NSEC record with its signature.
    pub(crate) fn nsec(&self, owner: &str, next: &str, types: &[RecordType]) -> Vec<Record> {
        let nsec = NSEC::new(name(next), types.iter().copied());
        self.signed(&name(owner), [RData::DNSSEC(DNSSECRData::NSEC(nsec))])
    }
}

pub(crate) fn record(owner: &Name, data: RData) -> Record {
    Record::from_rdata(owner.clone(), TTL, data)
}

/// A resolver whose anchor is the key of a new root, for a zone `test.` with these DS records. What
/// is asked beyond keys and delegations, `say` answers.
pub(crate) async fn signing(
    zone: impl FnOnce(&Zone) -> Vec<DS>,
    mut say: impl FnMut(&Zone, &Query, &mut Message) + Send + 'static,
) -> (Resolver, Forger) {
    let (root, test) = (Zone::new("."), Zone::new("test."));
    let anchors = Anchors::parse(&format!(". IN DNSKEY {}", root.key)).unwrap();
    let ds = zone(&test);
    let answer = move |question: Message| {
        let mut answer = empty(&question);
        let query = &question.queries[0];
        let key = |zone: &Zone| RData::DNSSEC(DNSSECRData::DNSKEY(zone.key.clone()));
        match query.query_type() {
            RecordType::DNSKEY if query.name().is_root() => {
                answer.answers = root.signed(&root.name, [key(&root)]);
            }
            RecordType::DNSKEY if *query.name() == test.name => {
                answer.answers = test.signed(&test.name, [key(&test)]);
            }
            RecordType::DS if *query.name() == test.name => {
                let data = ds.iter().cloned().map(|it| RData::DNSSEC(DNSSECRData::DS(it)));
                answer.answers = root.signed(&test.name, data);
            }
            RecordType::NS if *query.name() == test.name => {
                let data = [RData::NS(NS(name("ns.test.")))];
                answer.answers = test.signed(&test.name, data);
            }
            _ => say(&test, query, &mut answer),
        }
        Some(answer.to_vec().unwrap())
    };
    let forger = Forger::new(answer, |_| None).await;
    let resolver = Resolver::validating(servers(forger.address), anchors);
    (resolver.with_time_limit(Duration::from_secs(5)), forger)
}
