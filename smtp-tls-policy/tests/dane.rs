//! DANE (RFC 7672): records, the search for them, and what they make of a host.

mod common;

use common::cost::{MAX_SIGNATURES, counting, signatures};
use common::*;
use pki_types::CertificateDer;
use proptest::prelude::*;
use rcgen::PublicKeyData;
use smtp_tls_policy::judge::{Standing, Verdict};
use smtp_tls_policy::pki::{MAX_TLSA_RECORDS, TlsaError};
use smtp_tls_policy::pki::{RootsId, TlsaRecord, TlsaSet, Trust};
use smtp_tls_policy::plan::{DnsStatus, Facts, HostOrigin, TlsaFact, plan};
use smtp_tls_policy::rules::{Floor, OutboundConnector, Posture};
use smtp_tls_policy::{Domain, Host, Namespace, Reason, pki_types};

const HOST: &str = "mx.example.net";

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn digest(matching: u8, octets: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256, Sha512};
    match matching {
        0 => octets.to_vec(),
        1 => Sha256::digest(octets).to_vec(),
        2 => Sha512::digest(octets).to_vec(),
        other => panic!("{other}"),
    }
}

fn record(usage: u8, selector: u8, matching: u8, octets: &[u8]) -> TlsaRecord {
    TlsaRecord { usage, selector, matching, data: digest(matching, octets) }
}

mod records {
    use super::*;

    #[test]
    fn both_forms() {
        let text = format!("3 1 1 {}", "0a".repeat(32));
        let record = TlsaRecord::parse(&text).unwrap();
        assert_eq!(record.to_string(), text);
        let mut wire = vec![3, 1, 1];
        wire.extend([10; 32]);
        assert_eq!(record.to_wire(), wire);
        assert_eq!(TlsaRecord::from_wire(&wire), Ok(record.clone()));
        // RFC 6698, section 2.2: white space within the data, hexadecimal in either case.
        let spaced = TlsaRecord::parse("3 1\t1 0A0a0A 0a0 a").unwrap();
        assert_eq!(spaced.data, [10; 5]);
        for (text, error) in [
            ("", TlsaError::Missing(1)),
            ("3 1", TlsaError::Missing(3)),
            ("3 1 1", TlsaError::Missing(4)),
            ("3 1 1 ", TlsaError::Missing(4)),
            ("256 1 1 00", TlsaError::Field(1)),
            ("3 +1 1 00", TlsaError::Field(2)),
            ("3 1 x 00", TlsaError::Field(3)),
            ("3 1 1 0", TlsaError::Hex(0)),
            ("3 1 1 00 11 0g", TlsaError::Hex(2)),
            ("3 1 1 0011g0", TlsaError::Hex(2)),
        ] {
            assert_eq!(TlsaRecord::parse(text), Err(error), "{text:?}");
        }
        for wire in [&[][..], &[3, 1], &[3, 1, 1]] {
            assert_eq!(TlsaRecord::from_wire(wire), Err(TlsaError::Missing(wire.len() + 1)));
        }
    }

    proptest! {
        #[test]
        fn any_wire(rdata in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(record) = TlsaRecord::from_wire(&rdata) {
                prop_assert_eq!(&record.to_wire(), &rdata);
                prop_assert_eq!(TlsaRecord::parse(&record.to_string()), Ok(record.clone()));
                // Whatever it is, it is usable or there is a reason.
                let set = TlsaSet::new(domain(HOST), &[record]);
                prop_assert_eq!(set.usable().len() + set.unusable().len(), 1);
            }
        }

        #[test]
        fn any_text(text in "\\PC*") {
            let _ = TlsaRecord::parse(&text);
        }
    }

    #[test]
    fn usable_or_not() {
        let leaf = Authority::new("Root").issue(&leaf_params(&[HOST]));
        let key = leaf.key.subject_public_key_info();
        let raw = |usage, selector, matching, data: &[u8]| {
            let record = TlsaRecord { usage, selector, matching, data: data.to_vec() };
            let set = TlsaSet::new(domain(HOST), &[record]);
            set.unusable().first().map(|(_, why)| *why)
        };
        // A key begins as a certificate does, and has no serial number; a certificate has an
        // algorithm where a key has bits.
        let serial_number = 2 + 2;
        let (_, certificate) = x509_parser::parse_x509_certificate(&leaf.der).unwrap();
        let algorithm = 4 + certificate.tbs_certificate.as_ref().len();
        for usage in [2, 3] {
            assert_eq!(raw(usage, 0, 0, &leaf.der), None);
            assert_eq!(raw(usage, 1, 0, &key), None);
            assert_eq!(raw(usage, 0, 0, &key), Some(TlsaError::Data(Some(serial_number))));
            assert_eq!(raw(usage, 1, 0, &leaf.der), Some(TlsaError::Data(Some(algorithm))));
            assert_eq!(
                raw(usage, 0, 0, &leaf.der[..leaf.der.len() - 1]),
                Some(TlsaError::Data(Some(0)))
            );
            let longer = [&leaf.der[..], &[5, 0]].concat();
            assert!(matches!(raw(usage, 0, 0, &longer), Some(TlsaError::Data(_))));
            for selector in [0, 1] {
                assert_eq!(raw(usage, selector, 1, &[0; 32]), None);
                assert_eq!(raw(usage, selector, 2, &[0; 64]), None);
                assert_eq!(raw(usage, selector, 1, &[0; 31]), Some(TlsaError::DigestLength));
                assert_eq!(raw(usage, selector, 1, &[0; 64]), Some(TlsaError::DigestLength));
                assert_eq!(raw(usage, selector, 2, &[0; 32]), Some(TlsaError::DigestLength));
                assert_eq!(raw(usage, selector, 3, &[0; 32]), Some(TlsaError::Matching));
            }
            assert_eq!(raw(usage, 2, 1, &[0; 32]), Some(TlsaError::Selector));
        }
        // RFC 7672, section 3.1.3.
        for usage in [0, 1, 4, 255] {
            assert_eq!(raw(usage, 1, 1, &[0; 32]), Some(TlsaError::Usage));
        }
        // The limit is said, and what is within it counts.
        let many: Vec<_> = (0..=MAX_TLSA_RECORDS)
            .map(|n| TlsaRecord { usage: 3, selector: 1, matching: 1, data: vec![n as u8; 32] })
            .collect();
        let set = TlsaSet::new(domain(HOST), &many);
        assert_eq!(set.usable().len(), MAX_TLSA_RECORDS);
        assert_eq!(set.unusable(), [(MAX_TLSA_RECORDS, TlsaError::TooMany)]);
        // Whatever the order of the answer, the same records count, and those of no use take no
        // place of others.
        let mut reversed = many.clone();
        reversed.reverse();
        assert_eq!(TlsaSet::new(domain(HOST), &reversed).usable(), set.usable());
        let useless = (0..=255).map(|octet| TlsaRecord {
            usage: 1,
            selector: 1,
            matching: 1,
            data: vec![octet; 32],
        });
        let crowded: Vec<_> = useless.chain(many).collect();
        assert_eq!(TlsaSet::new(domain(HOST), &crowded).usable(), set.usable());
    }

    /// RFC 7671, section 9: many records with the weaker digest do not crowd out the stronger one.
    #[test]
    fn stronger_digest_counts_wherever_it_is_in_a_large_record_set() {
        let of = |matching: u8, octet: u8| TlsaRecord {
            usage: 3,
            selector: 1,
            matching,
            data: vec![octet; if matching == 1 { 32 } else { 64 }],
        };
        let weak: Vec<_> = (0..=255).map(|octet| of(1, octet)).collect();
        for place in [0, MAX_TLSA_RECORDS, weak.len()] {
            let mut records = weak.clone();
            records.insert(place, of(2, 255));
            let set = TlsaSet::new(domain(HOST), &records);
            let usable: Vec<_> = set.usable().iter().map(|it| it.to_string()).collect();
            assert_eq!(usable, [of(2, 255).to_string()], "{place}");
            assert_eq!(set.unusable(), [], "{place}");
        }
        // Of digests that are equally strong, those beyond the limit do not count, and equal ones
        // count once.
        let strong = (0..=255).flat_map(|octet| [of(2, octet), of(2, octet)]);
        let set = TlsaSet::new(domain(HOST), &weak.into_iter().chain(strong).collect::<Vec<_>>());
        assert_eq!(set.usable().len(), MAX_TLSA_RECORDS);
        assert_eq!(set.unusable().len(), 256 - MAX_TLSA_RECORDS);
        assert!(set.unusable().iter().all(|(_, why)| *why == TlsaError::TooMany));
    }

    /// RFC 7671, section 9: per usage and selector, after the unusable are gone; Full(0) is no
    /// digest.
    #[test]
    fn digest_agility() {
        let leaf = Authority::new("Root").issue(&leaf_params(&[HOST]));
        let kept = |records: &[TlsaRecord]| TlsaSet::new(domain(HOST), records).usable().len();
        let (weak, strong) = (record(3, 0, 1, &leaf.der), record(3, 0, 2, &leaf.der));
        assert_eq!(kept(&[weak.clone(), strong.clone()]), 1);
        assert_eq!(kept(&[strong.clone(), weak.clone()]), 1);
        assert_eq!(kept(&[weak.clone(), record(3, 0, 1, b"other")]), 2);
        assert_eq!(kept(&[weak.clone(), record(3, 1, 2, b"key")]), 2);
        assert_eq!(kept(&[weak.clone(), record(2, 0, 2, b"authority")]), 2);
        assert_eq!(kept(&[weak.clone(), record(3, 0, 0, &leaf.der)]), 2);
        // A strong digest of the wrong length does not push out a good weak one.
        let short = TlsaRecord { data: vec![0; 63], ..strong.clone() };
        assert_eq!(kept(&[weak.clone(), short]), 1);
        assert_eq!(kept(&[weak.clone(), weak]), 1);
    }
}

/// A host with a chain, under posture dane-only.
struct Scene {
    records: Vec<TlsaRecord>,
    mx: DnsStatus,
    next_hop: &'static str,
    expanded: Option<&'static str>,
    host: &'static str,
    base: &'static str,
}

impl Scene {
    fn new(records: Vec<TlsaRecord>) -> Self {
        Self {
            records,
            mx: DnsStatus::Secure,
            next_hop: "example.com",
            expanded: None,
            host: HOST,
            base: HOST,
        }
    }

    fn verdict(&self, chain: &[&CertificateDer<'static>]) -> Verdict {
        let chain: Vec<_> = chain.iter().map(|der| (*der).clone()).collect();
        // Public roots that vouch for the world, to show that they do not count.
        let mut trust = counting(Trust::empty());
        if let Some(last) = chain.last() {
            let _ = trust.add_root_der(&RootsId::public(), last);
        }
        let connector =
            OutboundConnector::new("c", vec![Namespace::Default], Posture::Opportunistic);
        let (next_hop, host) =
            (Host::parse(self.next_hop).unwrap(), Host::parse(self.host).unwrap());
        let tlsa = TlsaFact::Found(TlsaSet::new(domain(self.base), &self.records));
        let expanded = self.expanded.map(domain);
        let mut facts = Facts::new(&connector, &next_hop, &host, HostOrigin::Mx);
        (facts.mx, facts.tlsa) = (self.mx, &tlsa);
        facts.expanded_next_hop = expanded.as_ref();
        let plan = plan(&facts).unwrap();
        assert_eq!(plan.floor(), Floor::Authenticated);
        assert_eq!(plan.sni(), Some(&domain(self.base)));
        plan.judge(&chain, &trust, now())
    }

    fn judge(&self, chain: &[&CertificateDer<'static>]) -> Reason {
        let verdict = self.verdict(chain);
        assert_eq!(verdict.is_authenticated(), verdict.reason() == Reason::TlsOk);
        assert_ne!(verdict.standing(), Standing::NotTls);
        verdict.reason()
    }
}

mod end_entity {
    use super::*;

    #[test]
    fn every_form() {
        let root = Authority::new("Root");
        let leaf = root.issue(&leaf_params(&[HOST]));
        let other = root.issue(&leaf_params(&[HOST]));
        let key = leaf.key.subject_public_key_info();
        for (selector, octets) in [(0, leaf.der.to_vec()), (1, key)] {
            for matching in [0, 1, 2] {
                let scene = Scene::new(vec![record(3, selector, matching, &octets)]);
                assert_eq!(scene.judge(&[&leaf.der, &root.der]), Reason::TlsOk);
                assert_eq!(scene.judge(&[&leaf.der]), Reason::TlsOk);
                // Another certificate, though of the same authority and name; and not elsewhere in
                // the chain.
                assert_eq!(scene.judge(&[&other.der, &root.der]), Reason::DaneMismatch);
                assert_eq!(scene.judge(&[&other.der, &leaf.der]), Reason::DaneMismatch);
                assert_eq!(scene.judge(&[]), Reason::CertMissing);
            }
        }
    }

    /// RFC 7672, sections 3.1.1 and 3.2.1: neither dates nor names nor anything else of the
    /// certificate.
    #[test]
    fn nothing_else_is_looked_at() {
        let root = Authority::new("Root");
        let mut expired = leaf_params(&["other.example"]);
        (expired.not_before, expired.not_after) = (days(-20), days(-10));
        expired.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let mut future = leaf_params(&[]);
        (future.not_before, future.not_after) = (days(10), days(20));
        let certificates =
            [root.issue(&expired).der, root.issue(&future).der, version_1().der, root.der.clone()];
        for der in &certificates {
            for record in [record(3, 0, 1, der), record(3, 0, 2, der), record(3, 0, 0, der)] {
                assert_eq!(Scene::new(vec![record]).judge(&[der]), Reason::TlsOk);
            }
        }
    }

    /// What is shown with the certificate does not count either, however much it is.
    #[test]
    fn chain_beyond_the_limits_is_not_looked_at() {
        let twins: Vec<_> = (0..20).map(|_| Authority::new("Twin")).collect();
        let leaf = twins[0].issue(&leaf_params(&[HOST]));
        let padding = CertificateDer::from(vec![0; smtp_tls_policy::judge::MAX_CHAIN_BYTES]);
        let mut chain = vec![&leaf.der];
        chain.extend(twins.iter().map(|twin| &twin.der));
        for chain in [&chain[..], &[&leaf.der, &padding]] {
            assert_eq!(Scene::new(vec![record(3, 0, 1, &leaf.der)]).judge(chain), Reason::TlsOk);
            let authority = Scene::new(vec![record(2, 0, 1, &twins[0].der)]);
            assert_eq!(authority.judge(chain), Reason::CertTooCostly);
        }
    }

    /// The weaker digest does not count where a stronger one is (RFC 7671, section 9).
    #[test]
    fn the_strongest_digest_decides() {
        let root = Authority::new("Root");
        let leaf = root.issue(&leaf_params(&[HOST]));
        let scene =
            Scene::new(vec![record(3, 0, 1, &leaf.der), record(3, 0, 2, b"another certificate")]);
        assert_eq!(scene.judge(&[&leaf.der]), Reason::DaneMismatch);
        let scene =
            Scene::new(vec![record(3, 0, 2, &leaf.der), record(3, 0, 1, b"another certificate")]);
        assert_eq!(scene.judge(&[&leaf.der]), Reason::TlsOk);
    }
}

mod trust_anchor {
    use super::*;

    struct Pki {
        root: Authority,
        issuer: Authority,
        leaf: Leaf,
    }

    fn pki(params: &rcgen::CertificateParams) -> Pki {
        let root = Authority::new("Root");
        let issuer = root.below("Issuer", |_| {});
        let leaf = issuer.issue(params);
        Pki { root, issuer, leaf }
    }

    fn key_of(authority: &Authority) -> Vec<u8> {
        let issuer: &rcgen::KeyPair = authority.issuer.key();
        issuer.subject_public_key_info()
    }

    /// The root or the intermediate, whole or by key, full or by digest.
    #[test]
    fn every_form_in_the_chain() {
        let pki = pki(&leaf_params(&[HOST]));
        let chain = [&pki.leaf.der, &pki.issuer.der, &pki.root.der];
        for authority in [&pki.root, &pki.issuer] {
            for (selector, octets) in [(0, authority.der.to_vec()), (1, key_of(authority))] {
                for matching in [0, 1, 2] {
                    let scene = Scene::new(vec![record(2, selector, matching, &octets)]);
                    assert_eq!(scene.judge(&chain), Reason::TlsOk, "{selector} {matching}");
                }
            }
        }
    }

    /// RFC 7671, sections 5.2.2 and 5.2.3: full data brings the authority; a digest cannot.
    #[test]
    fn an_authority_that_is_not_in_the_chain() {
        let pki = pki(&leaf_params(&[HOST]));
        let (with, without) = ([&pki.leaf.der, &pki.issuer.der], [&pki.leaf.der]);
        for (selector, root, issuer) in [
            (0, pki.root.der.to_vec(), pki.issuer.der.to_vec()),
            (1, key_of(&pki.root), key_of(&pki.issuer)),
        ] {
            assert_eq!(Scene::new(vec![record(2, selector, 0, &root)]).judge(&with), Reason::TlsOk);
            assert_eq!(
                Scene::new(vec![record(2, selector, 0, &issuer)]).judge(&without),
                Reason::TlsOk
            );
            for matching in [1, 2] {
                let scene = Scene::new(vec![record(2, selector, matching, &root)]);
                assert_eq!(scene.judge(&with), Reason::DaneMismatch);
            }
            // The step between is missing.
            let reason = Scene::new(vec![record(2, selector, 0, &root)]).judge(&without);
            assert!([Reason::DaneMismatch, Reason::CertBadSignature].contains(&reason), "{reason}");
        }
    }

    /// Public roots do not help, and an authority that only shares the name does not count.
    #[test]
    fn another_authority() {
        let own = pki(&leaf_params(&[HOST]));
        let other = pki(&leaf_params(&[HOST]));
        let scene = Scene::new(vec![record(2, 0, 1, &own.root.der)]);
        let chain = [&other.leaf.der, &other.issuer.der, &other.root.der];
        assert_eq!(scene.judge(&chain), Reason::DaneMismatch);
        // The right authority is shown, and did not sign.
        let reason = scene.judge(&[&other.leaf.der, &other.issuer.der, &own.root.der]);
        assert!([Reason::CertBadSignature, Reason::DaneMismatch].contains(&reason), "{reason}");
        let scene = Scene::new(vec![record(2, 1, 0, &key_of(&own.root))]);
        assert!(!scene.verdict(&chain).is_authenticated());
    }

    /// Dates and purposes below the authority count, its own dates do not.
    #[test]
    fn dates_and_purposes() {
        let mut expired = leaf_params(&[HOST]);
        expired.not_after = days(-1);
        let pki_expired = pki(&expired);
        let chain = [&pki_expired.leaf.der, &pki_expired.issuer.der];
        let scene = Scene::new(vec![record(2, 0, 1, &pki_expired.issuer.der)]);
        assert_eq!(scene.judge(&chain), Reason::CertExpired);

        let mut client = leaf_params(&[HOST]);
        client.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let pki_client = pki(&client);
        let scene = Scene::new(vec![record(2, 0, 1, &pki_client.issuer.der)]);
        assert_eq!(
            scene.judge(&[&pki_client.leaf.der, &pki_client.issuer.der]),
            Reason::CertWrongPurpose
        );

        let root = Authority::new("Root");
        let old = root.below("Issuer", |params| params.not_after = days(-1));
        let leaf = old.issue(&leaf_params(&[HOST]));
        let chain = [&leaf.der, &old.der, &root.der];
        assert_eq!(Scene::new(vec![record(2, 0, 1, &old.der)]).judge(&chain), Reason::TlsOk);
        assert_eq!(Scene::new(vec![record(2, 0, 1, &root.der)]).judge(&chain), Reason::CertExpired);
    }

    /// RFC 7671, section 5.2.1: the constraints of the authority's certificate hold.
    #[test]
    fn constraints_of_the_authority() {
        let root = Authority::new("Root");
        let short = root.below("Short", |params| {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        });
        let below = short.below("Below", |_| {});
        let (near, far) = (short.issue(&leaf_params(&[HOST])), below.issue(&leaf_params(&[HOST])));
        for matching in [0, 1, 2] {
            let scene = Scene::new(vec![record(2, 0, matching, &short.der)]);
            assert_eq!(scene.judge(&[&near.der, &short.der]), Reason::TlsOk);
            assert_eq!(
                scene.judge(&[&far.der, &below.der, &short.der]),
                Reason::CertConstraintViolated
            );
        }
        let narrow = root.below("Narrow", |params| {
            params.name_constraints = Some(rcgen::NameConstraints {
                permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("example.org".into())],
                excluded_subtrees: Vec::new(),
            });
        });
        let leaf = narrow.issue(&leaf_params(&[HOST]));
        let scene = Scene::new(vec![record(2, 0, 1, &narrow.der)]);
        assert_eq!(scene.judge(&[&leaf.der, &narrow.der]), Reason::CertConstraintViolated);
    }

    /// RFC 7672, section 3.2.2: base domain, next hop, expanded next hop; only the first after
    /// insecure MX records.
    #[test]
    fn names() {
        for (name, secure, insecure) in [
            ("host.example.org", true, true),
            ("example.com", true, false),
            ("expanded.example", true, false),
            // The host's own name is none where the base domain is another.
            (HOST, false, false),
            ("*.example.org", true, true),
            ("a.example.com", false, false),
        ] {
            let pki = pki(&leaf_params(&[name]));
            let mut scene = Scene::new(vec![record(2, 0, 1, &pki.root.der)]);
            (scene.base, scene.expanded) = ("host.example.org", Some("expanded.example"));
            for (mx, good) in [(DnsStatus::Secure, secure), (DnsStatus::Insecure, insecure)] {
                scene.mx = mx;
                let reason = scene.judge(&[&pki.leaf.der, &pki.issuer.der, &pki.root.der]);
                let expected = if good { Reason::TlsOk } else { Reason::CertNameMismatch };
                assert_eq!(reason, expected, "{name} {mx:?}");
            }
        }
        // RFC 7672, section 3.2.3: the CN-ID only where there is no DNS-ID.
        for (names, reason) in
            [(&[][..], Reason::TlsOk), (&["other.example"], Reason::CertNameMismatch)]
        {
            let mut params = leaf_params(names);
            common_name(&mut params, HOST);
            let pki = pki(&params);
            let scene = Scene::new(vec![record(2, 0, 1, &pki.issuer.der)]);
            assert_eq!(scene.judge(&[&pki.leaf.der, &pki.issuer.der]), reason);
        }
    }

    /// A host that is the authority of its own certificate: as an authority or not, but signed by
    /// itself.
    #[test]
    fn the_host_itself() {
        for is_ca in [false, true] {
            let mut params = leaf_params(&[HOST]);
            if is_ca {
                params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            }
            let own = Authority::with(params.clone());
            let scene = Scene::new(vec![record(2, 0, 1, &own.der)]);
            assert_eq!(scene.judge(&[&own.der]), Reason::TlsOk);
            params.not_after = days(-1);
            let old = Authority::with(params.clone());
            assert_eq!(
                Scene::new(vec![record(2, 0, 1, &old.der)]).judge(&[&old.der]),
                Reason::CertExpired
            );
            let mut client = leaf_params(&[HOST]);
            client.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
            let client = Authority::with(client);
            assert_eq!(
                Scene::new(vec![record(2, 0, 1, &client.der)]).judge(&[&client.der]),
                Reason::CertWrongPurpose
            );
            let named = Authority::with(leaf_params(&["other.example"]));
            let scene = Scene::new(vec![record(2, 0, 1, &named.der)]);
            assert_eq!(scene.judge(&[&named.der]), Reason::CertNameMismatch);
        }
        // One that another authority signed is no authority because a record names it.
        let leaf = Authority::new("Root").issue(&leaf_params(&[HOST]));
        assert_eq!(
            Scene::new(vec![record(2, 0, 1, &leaf.der)]).judge(&[&leaf.der]),
            Reason::DaneMismatch
        );
    }

    /// Records are alternatives: one that matches is enough, of either usage.
    #[test]
    fn either_usage() {
        let pki = pki(&leaf_params(&["other.example"]));
        let chain = [&pki.leaf.der, &pki.issuer.der];
        let authority = record(2, 0, 1, &pki.issuer.der);
        let (host, stranger) = (record(3, 0, 1, &pki.leaf.der), record(3, 0, 1, b"stranger"));
        assert_eq!(Scene::new(vec![authority.clone(), host]).judge(&chain), Reason::TlsOk);
        assert_eq!(
            Scene::new(vec![authority, stranger.clone()]).judge(&chain),
            Reason::CertNameMismatch
        );
        assert_eq!(Scene::new(vec![stranger]).judge(&chain), Reason::DaneMismatch);
    }

    /// A hostile chain and a full record set stay within the budgets.
    #[test]
    fn many_keys_of_one_name() {
        let twins: Vec<_> =
            (1..smtp_tls_policy::judge::MAX_CHAIN_LEN).map(|_| Authority::new("Twin")).collect();
        let leaf = twins[0].issue(&leaf_params(&[HOST]));
        let mut chain = vec![&leaf.der];
        chain.extend(twins.iter().map(|twin| &twin.der));
        let keys = (0..MAX_TLSA_RECORDS).map(|_| {
            let key = rcgen::KeyPair::generate().unwrap();
            record(2, 1, 0, &key.subject_public_key_info())
        });
        let scene = Scene::new(keys.collect());
        let (verdict, signatures) = signatures(|| scene.verdict(&chain));
        assert!(!verdict.is_authenticated());
        assert!((1..=MAX_SIGNATURES).contains(&signatures), "{signatures}");
    }
}

/// Each host of an MX set by its own records; a worse one with records does not outrank a better
/// one without.
#[test]
fn a_set_of_which_some_hosts_have_records() {
    let connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Deterministic);
    let next_hop = Host::parse("example.com").unwrap();
    let found = TlsaFact::Found(TlsaSet::new(domain(HOST), &[record(3, 1, 1, b"key")]));
    let floor = |tlsa: &TlsaFact| {
        let host = Host::parse(HOST).unwrap();
        let mut facts = Facts::new(&connector, &next_hop, &host, HostOrigin::Mx);
        (facts.mx, facts.tlsa) = (DnsStatus::Secure, tlsa);
        plan(&facts)
            .map(|plan| plan.floor())
            .map_err(|refusal| (refusal.reason(), refusal.ends_domain()))
    };
    assert_eq!(floor(&found), Ok(Floor::Authenticated));
    assert_eq!(floor(&TlsaFact::Absent), Ok(Floor::Plaintext));
    assert_eq!(floor(&TlsaFact::Failed), Err((Reason::TlsaLookupFailed, false)));
}

/// Insecure MX records: never called verified delivery to the next hop (RFC 7672, section 2.2.1).
#[test]
fn trusted_is_not_verified() {
    let connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Opportunistic);
    let (next_hop, host) = (Host::parse("example.com").unwrap(), Host::parse(HOST).unwrap());
    let tlsa = TlsaFact::Found(TlsaSet::new(domain(HOST), &[record(3, 1, 1, b"key")]));
    let because = |mx| {
        let mut facts = Facts::new(&connector, &next_hop, &host, HostOrigin::Mx);
        (facts.mx, facts.tlsa) = (mx, &tlsa);
        plan(&facts).unwrap().because().to_string()
    };
    assert_eq!(
        because(DnsStatus::Secure),
        "posture opportunistic of connector c and DANE for mx.example.net"
    );
    assert_eq!(
        because(DnsStatus::Insecure),
        "posture opportunistic of connector c and DANE for mx.example.net, found by insecure MX records (trusted, not verified)"
    );
}
