//! One certificate case per check.

mod common;

use common::*;
use pki_types::CertificateDer;
use rcgen::{CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, NameConstraints};
use smtp_tls_policy::*;

const HOST: &str = "mx.example.com";

/// A trust store with the public roots given, and what a connector does with them.
struct Bench {
    trust: Trust,
    connector: OutboundConnector,
    host: Host,
}

impl Bench {
    fn new(roots: &[&Authority]) -> Self {
        let mut trust = Trust::new();
        trust.add_roots(&RootsId::public(), []);
        for root in roots {
            trust.add_root_der(&RootsId::public(), &root.der).unwrap();
        }
        Self {
            trust,
            connector: OutboundConnector::new("c", vec![Namespace::Default], Posture::Deterministic),
            host: Host::parse(HOST).unwrap(),
        }
    }

    fn crl(mut self, crl: &[u8]) -> Self {
        self.trust.add_crl_der(&RootsId::public(), crl).unwrap();
        self
    }

    fn revocation(mut self, rule: Revocation) -> Self {
        self.connector.revocation = rule;
        self
    }

    fn host(mut self, host: &str) -> Self {
        self.host = Host::parse(host).unwrap();
        self
    }

    fn cn(mut self, cn: CnFallback) -> Self {
        self.connector.cn = cn;
        self
    }

    fn names(mut self, names: &[&str]) -> Self {
        self.connector.names = names.iter().map(|n| Reference::parse(n).unwrap()).collect();
        self
    }

    fn verdict(&self, chain: &[&CertificateDer<'static>]) -> Verdict {
        let chain: Vec<_> = chain.iter().map(|der| (*der).clone()).collect();
        let facts = Facts::new(&self.connector, &self.host, &self.host, HostOrigin::Mx);
        plan(&facts).unwrap().judge(&chain, &self.trust, now())
    }

    fn judge(&self, chain: &[&CertificateDer<'static>]) -> Reason {
        let verdict = self.verdict(chain);
        let ok = verdict.reason() == Reason::TlsOk;
        assert_eq!(verdict.standing() == Standing::Acceptable, ok);
        assert_eq!(verdict.is_authenticated(), ok);
        verdict.reason()
    }
}

#[test]
fn a_good_certificate() {
    let root = Authority::new("Root");
    let issuer = root.below("Issuer", |_| {});
    let leaf = issuer.issue(&leaf_params(&[HOST]));
    let bench = Bench::new(&[&root]);
    assert_eq!(bench.judge(&[&leaf.der, &issuer.der]), Reason::TlsOk);
    // Order and company do not matter.
    let other = Authority::new("Other");
    assert_eq!(bench.judge(&[&leaf.der, &other.der, &root.der, &issuer.der]), Reason::TlsOk);
    // Without its issuer there is no chain.
    assert_eq!(bench.judge(&[&leaf.der]), Reason::CertUnknownIssuer);
    assert_eq!(bench.judge(&[]), Reason::CertMissing);
}

#[test]
fn an_unknown_issuer() {
    let (root, private) = (Authority::new("Root"), Authority::new("Private"));
    let leaf = private.issue(&leaf_params(&[HOST]));
    let bench = Bench::new(&[&root]);
    let verdict = bench.verdict(&[&leaf.der, &private.der]);
    assert_eq!(verdict.reason(), Reason::CertUnknownIssuer);
    assert_eq!(verdict.standing(), Standing::NotTls);

    // An authority of the same name with another key is not the authority.
    let impostor = Authority::new("Root");
    let leaf = impostor.issue(&leaf_params(&[HOST]));
    assert_eq!(bench.judge(&[&leaf.der]), Reason::CertBadSignature);
    // Where the chain shows that its signatures are good, nobody is accused of a wrong one.
    assert_eq!(bench.judge(&[&leaf.der, &impostor.der]), Reason::CertUnknownIssuer);
    let issuer = impostor.below("Issuer", |_| {});
    let leaf = issuer.issue(&leaf_params(&[HOST]));
    assert_eq!(bench.judge(&[&leaf.der, &issuer.der, &impostor.der]), Reason::CertUnknownIssuer);
    assert_eq!(bench.judge(&[&leaf.der, &issuer.der]), Reason::CertBadSignature);
    let mut forged = leaf.der.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert_ne!(bench.judge(&[&forged.into(), &issuer.der, &impostor.der]), Reason::TlsOk);
}

#[test]
fn the_connector_names_roots_that_are_not_loaded() {
    let root = Authority::new("Root");
    let leaf = root.issue(&leaf_params(&[HOST]));
    let mut bench = Bench::new(&[&root]);
    bench.connector.roots = RootsId::new("elsewhere");
    assert_eq!(bench.judge(&[&leaf.der]), Reason::RootsMissing);
}

#[test]
fn a_private_authority_instead_of_the_public_ones() {
    let (public, private) = (Authority::new("Public"), Authority::new("Private"));
    let mut bench = Bench::new(&[&public]);
    let id = RootsId::new("private");
    bench.trust.add_root_der(&id, &private.der).unwrap();
    bench.connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::PrivateCa);
    bench.connector.roots = id;
    let params = leaf_params(&[HOST]);
    assert_eq!(bench.judge(&[&private.issue(&params).der]), Reason::TlsOk);
    let verdict = bench.verdict(&[&public.issue(&params).der]);
    assert_eq!(verdict.reason(), Reason::CertUnknownIssuer);
    assert_eq!(verdict.standing(), Standing::Refused);
}

#[test]
fn a_self_signed_certificate() {
    let root = Authority::new("Root");
    let bench = Bench::new(&[&root]);
    // As a host and, as `openssl req -x509` makes it, as an authority; expired or not.
    for is_ca in [false, true] {
        for start in [-10, -30] {
            let mut params = leaf_params(&[HOST]);
            (params.not_before, params.not_after) = (days(start), days(start + 20));
            if is_ca {
                params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            }
            let leaf = Authority::with(params);
            assert_eq!(bench.judge(&[&leaf.der]), Reason::CertSelfSigned);
        }
    }
    assert_eq!(bench.judge(&[&version_1().der]), Reason::CertSelfSigned);

    // Named after itself, but signed by another key of that name: not self-signed.
    let impostor = Authority::new("Twin");
    let mut params = leaf_params(&[HOST]);
    params.distinguished_name = rcgen::DistinguishedName::new();
    common_name(&mut params, "Twin");
    let leaf = impostor.issue(&params);
    assert_eq!(bench.judge(&[&leaf.der]), Reason::CertUnknownIssuer);

    // A root vouches for it: then it is what it says it is.
    let own = Authority::with(leaf_params(&[HOST]));
    assert_eq!(Bench::new(&[&own]).judge(&[&own.der]), Reason::TlsOk);
    assert_eq!(Bench::new(&[&root]).judge(&[&root.der]), Reason::CertIsCa);
}

#[test]
fn dates() {
    let root = Authority::new("Root");
    let bench = Bench::new(&[&root]);
    let mut params = leaf_params(&[HOST]);
    (params.not_before, params.not_after) = (days(-20), days(-1));
    let verdict = bench.verdict(&[&root.issue(&params).der]);
    assert_eq!(verdict.reason(), Reason::CertExpired);
    assert_eq!(verdict.to_string(), "the certificate has expired (leaf, 2026-05-31T00:00:00Z)");
    (params.not_before, params.not_after) = (days(1), days(20));
    let verdict = bench.verdict(&[&root.issue(&params).der]);
    assert_eq!(verdict.reason(), Reason::CertNotYetValid);
    assert_eq!(
        verdict.defect().unwrap().detail(),
        &Detail::Date(pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW + 24 * 3600)))
    );

    let issuer = root.below("Old", |params| params.not_after = days(-1));
    let leaf = issuer.issue(&leaf_params(&[HOST]));
    let verdict = bench.verdict(&[&leaf.der, &issuer.der]);
    assert_eq!(verdict.reason(), Reason::CertExpired);
    assert_eq!(verdict.defect().unwrap().place(), Place::Issuer(1));
}

#[test]
fn purposes() {
    let root = Authority::new("Root");
    let bench = Bench::new(&[&root]);
    let mut params = leaf_params(&[HOST]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    assert_eq!(bench.judge(&[&root.issue(&params).der]), Reason::CertWrongPurpose);
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    assert_eq!(bench.judge(&[&root.issue(&params).der]), Reason::TlsOk);
}

#[test]
fn what_the_path_builder_refuses() {
    let root = Authority::new("Root");
    let bench = Bench::new(&[&root]);
    // An authority as a host.
    let authority = root.below("Issuer", |_| {});
    assert_eq!(bench.judge(&[&authority.der]), Reason::CertIsCa);
    // A host as an authority.
    let mut params = leaf_params(&["ca.example"]);
    common_name(&mut params, "Host");
    let key = rcgen::KeyPair::generate().unwrap();
    let host = params.signed_by(&key, &root.issuer).unwrap().der().clone();
    let below = leaf_params(&[HOST])
        .signed_by(&rcgen::KeyPair::generate().unwrap(), &rcgen::Issuer::new(params, key))
        .unwrap()
        .der()
        .clone();
    assert_eq!(bench.judge(&[&below, &host]), Reason::CertConstraintViolated);
    // An unknown critical extension.
    let mut params = leaf_params(&[HOST]);
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    extension.set_criticality(true);
    params.custom_extensions.push(extension);
    let verdict = bench.verdict(&[&root.issue(&params).der]);
    assert_eq!(verdict.reason(), Reason::CertUnsupported);
    assert_eq!(
        verdict.to_string(),
        "the certificate uses something that is not supported (leaf, unknown critical extension, extensions)"
    );
    // Not a certificate.
    let leaf = root.issue(&leaf_params(&[HOST])).der;
    for length in [0, 1, 2, 10, leaf.len() - 1] {
        let cut = CertificateDer::from(leaf[..length].to_vec());
        let verdict = bench.verdict(&[&cut]);
        assert_eq!(verdict.reason(), Reason::CertMalformed);
        assert_eq!(verdict.defect().unwrap().place(), Place::Leaf);
    }
}

#[test]
fn limits() {
    let root = Authority::new("Root");
    let bench = Bench::new(&[&root]);
    let leaf = root.issue(&leaf_params(&[HOST])).der;
    let mut chain = vec![&leaf];
    chain.resize(judge::MAX_CHAIN_LEN, &root.der);
    assert_eq!(bench.judge(&chain), Reason::TlsOk);
    chain.push(&root.der);
    assert_eq!(bench.judge(&chain), Reason::CertTooCostly);
    let padding = CertificateDer::from(vec![0; judge::MAX_CHAIN_BYTES]);
    assert_eq!(bench.judge(&[&leaf, &padding]), Reason::CertTooCostly);
}

/// A host behind a bridge between authorities shows every cross certificate; few paths lead through them.
#[test]
fn a_long_chain_with_few_paths() {
    let (root, bridge) = (Authority::new("Root"), Authority::new("Bridge"));
    let bench = Bench::new(&[&root]);
    let cross = |by: &Authority, of: &Authority, name: &str| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (days(-100), days(100));
        params.signed_by(of.issuer.key(), &by.issuer).unwrap().der().clone()
    };
    let mut others = Vec::new();
    for number in 0..12 {
        let name = format!("Other {number}");
        let other = Authority::new(&name);
        others.push(cross(&bridge, &other, &name));
        others.push(cross(&other, &bridge, "Bridge"));
    }
    let issuer = bridge.below("Issuer", |_| {});
    let leaf = issuer.issue(&leaf_params(&[HOST])).der;
    let to_root = cross(&root, &bridge, "Bridge");
    let mut chain = vec![&leaf, &issuer.der];
    chain.extend(&others);
    assert!(chain.len() > judge::MAX_CHAIN_LEN);
    assert_eq!(bench.judge(&chain), Reason::CertUnknownIssuer);
    chain.push(&to_root);
    assert_eq!(bench.judge(&chain), Reason::TlsOk);
}

/// Issuers that all share one name make the path builder try every order of them.
#[test]
fn a_hostile_chain_ends_soon() {
    let root = Authority::new("Root");
    let bench = Bench::new(&[&root]);
    let twins: Vec<_> = (1..judge::MAX_CHAIN_LEN).map(|_| Authority::new("Twin")).collect();
    let leaf = twins[0].issue(&leaf_params(&[HOST]));
    let mut chain = vec![&leaf.der];
    chain.extend(twins.iter().map(|twin| &twin.der));
    let start = std::time::Instant::now();
    let reason = bench.judge(&chain);
    assert!([Reason::CertUnknownIssuer, Reason::CertTooCostly].contains(&reason), "{reason}");
    assert!(start.elapsed() < std::time::Duration::from_secs(5));
}

mod revocation {
    use super::*;

    #[test]
    fn revoked_and_not_revoked() {
        let root = Authority::new("Root");
        let leaf = root.issue(&leaf_params(&[HOST]));
        let bench = |crl: &[u8]| Bench::new(&[&root]).crl(crl);
        for rule in [Revocation::Soft, Revocation::IfConfigured, Revocation::Hard] {
            let revoked = bench(&root.crl(&[SERIAL])).revocation(rule);
            let verdict = revoked.verdict(&[&leaf.der]);
            assert_eq!(verdict.reason(), Reason::CertRevoked);
            assert_eq!(verdict.defect().unwrap().place(), Place::Leaf);
            let other = bench(&root.crl(&[SERIAL + 1])).revocation(rule);
            assert_eq!(other.judge(&[&leaf.der]), Reason::TlsOk);
        }
        let off = bench(&root.crl(&[SERIAL])).revocation(Revocation::Off);
        assert_eq!(off.judge(&[&leaf.der]), Reason::TlsOk);
    }

    #[test]
    fn an_issuer_that_is_revoked() {
        let root = Authority::new("Root");
        let issuer = root.below("Issuer", |params| {
            params.serial_number = Some(rcgen::SerialNumber::from_slice(&[7]));
        });
        let leaf = issuer.issue(&leaf_params(&[HOST]));
        let bench = Bench::new(&[&root]).crl(&root.crl(&[7])).crl(&issuer.crl(&[]));
        let verdict = bench.verdict(&[&leaf.der, &issuer.der]);
        assert_eq!(verdict.reason(), Reason::CertRevoked);
        assert_eq!(verdict.defect().unwrap().place(), Place::Issuer(1));
    }

    #[test]
    fn unknown_is_what_the_rule_says() {
        let root = Authority::new("Root");
        let issuer = root.below("Issuer", |_| {});
        let leaf = issuer.issue(&leaf_params(&[HOST]));
        let chain = [&leaf.der, &issuer.der];
        let judge = |rule, crls: &[Vec<u8>]| {
            let mut bench = Bench::new(&[&root]).revocation(rule);
            for crl in crls {
                bench = bench.crl(crl);
            }
            bench.judge(&chain)
        };
        use Revocation::*;
        // No list at all.
        assert_eq!(judge(Soft, &[]), Reason::TlsOk);
        assert_eq!(judge(IfConfigured, &[]), Reason::TlsOk);
        assert_eq!(judge(Hard, &[]), Reason::RevocationUnknown);
        // A list of one of the two issuers.
        let half = [root.crl(&[])];
        assert_eq!(judge(IfConfigured, &half), Reason::TlsOk);
        assert_eq!(judge(Hard, &half), Reason::RevocationUnknown);
        let whole = [root.crl(&[]), issuer.crl(&[])];
        assert_eq!(judge(Hard, &whole), Reason::TlsOk);
    }

    #[test]
    fn a_list_past_its_next_update() {
        let root = Authority::new("Root");
        let leaf = root.issue(&leaf_params(&[HOST]));
        let judge = |rule, serials: &[u8]| {
            let stale = root.crl_dated(serials, days(-2), days(0));
            Bench::new(&[&root]).crl(&stale).revocation(rule).judge(&[&leaf.der])
        };
        use Revocation::*;
        assert_eq!(judge(IfConfigured, &[]), Reason::CrlExpired);
        assert_eq!(judge(Hard, &[]), Reason::CrlExpired);
        assert_eq!(judge(Soft, &[]), Reason::TlsOk);
        // What it revoked stays revoked.
        assert_eq!(judge(Soft, &[SERIAL]), Reason::CertRevoked);
        // A fresh list beside it settles the matter.
        let bench = Bench::new(&[&root]).crl(&root.crl_dated(&[], days(-2), days(0))).crl(&root.crl(&[]));
        assert_eq!(bench.judge(&[&leaf.der]), Reason::TlsOk);
        // One from the future says nothing yet.
        let bench = Bench::new(&[&root]).crl(&root.crl_dated(&[], days(1), days(2)));
        assert_eq!(bench.judge(&[&leaf.der]), Reason::RevocationUnknown);
    }

    #[test]
    fn a_list_with_a_bad_signature() {
        let root = Authority::new("Root");
        let leaf = root.issue(&leaf_params(&[HOST]));
        // Bits changed, and the right name with another key.
        let mut changed = root.crl(&[SERIAL]);
        *changed.last_mut().unwrap() ^= 1;
        let impostor = Authority::new("Root").crl(&[SERIAL]);
        for crl in [changed, impostor] {
            let judge = |rule| Bench::new(&[&root]).crl(&crl).revocation(rule).judge(&[&leaf.der]);
            // Its serial numbers are not looked at.
            assert_eq!(judge(Revocation::Soft), Reason::TlsOk);
            assert_eq!(judge(Revocation::IfConfigured), Reason::CrlInvalid);
            assert_eq!(judge(Revocation::Hard), Reason::CrlInvalid);
        }
    }

    #[test]
    fn two_authorities_of_one_name() {
        // A key roll-over: both roots, and the lists of both.
        let (old, new) = (Authority::new("Root"), Authority::new("Root"));
        let leaf = new.issue(&leaf_params(&[HOST]));
        let bench = |old_serials: &[u8], new_serials: &[u8]| {
            Bench::new(&[&old, &new]).crl(&old.crl(old_serials)).crl(&new.crl(new_serials)).judge(&[&leaf.der])
        };
        assert_eq!(bench(&[], &[]), Reason::TlsOk);
        assert_eq!(bench(&[SERIAL], &[]), Reason::TlsOk);
        assert_eq!(bench(&[], &[SERIAL]), Reason::CertRevoked);
    }

    #[test]
    fn the_same_serial_from_another_issuer() {
        let (root, other) = (Authority::new("Root"), Authority::new("Other"));
        let leaf = root.issue(&leaf_params(&[HOST]));
        let bench = Bench::new(&[&root, &other]).crl(&other.crl(&[SERIAL]));
        assert_eq!(bench.judge(&[&leaf.der]), Reason::TlsOk);
        let bench = bench.revocation(Revocation::Hard);
        assert_eq!(bench.judge(&[&leaf.der]), Reason::RevocationUnknown);
    }

    #[test]
    fn an_issuer_that_may_not_sign_lists() {
        // rcgen makes no list for an issuer without cRLSign: the list comes from a twin with the same key and name.
        let root = Authority::new("Root");
        let key = rcgen::KeyPair::generate().unwrap();
        let twin = rcgen::KeyPair::try_from(key.serialize_der().as_slice()).unwrap();
        let issuer = root.below("Issuer", |params| {
            params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        });
        drop(issuer);
        let params = |usages: Vec<rcgen::KeyUsagePurpose>| {
            let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::new();
            common_name(&mut params, "Issuer");
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.key_usages = usages;
            (params.not_before, params.not_after) = (days(-10), days(10));
            params
        };
        use rcgen::KeyUsagePurpose::{CrlSign, KeyCertSign};
        let shown = params(vec![KeyCertSign]);
        let shown_der = shown.signed_by(&key, &root.issuer).unwrap().der().clone();
        let issuer = Authority { issuer: rcgen::Issuer::new(shown, key), der: shown_der };
        let signer =
            Authority { issuer: rcgen::Issuer::new(params(vec![KeyCertSign, CrlSign]), twin), der: issuer.der.clone() };
        let leaf = issuer.issue(&leaf_params(&[HOST]));
        let bench = Bench::new(&[&root]).crl(&signer.crl(&[SERIAL]));
        assert_eq!(bench.judge(&[&leaf.der, &issuer.der]), Reason::CrlInvalid);
    }

    /// Authorities cut their lists into a hundred parts; that costs a handshake one signature, and no budget.
    #[test]
    fn many_parts() {
        let root = Authority::new("Root");
        let part = |number: usize| rcgen::CrlIssuingDistributionPoint {
            distribution_point: rcgen::CrlDistributionPoint { uris: vec![format!("http://example.com/{number}.crl")] },
            scope: None,
        };
        let mut trust = Bench::new(&[&root]).trust;
        for number in 0..40 {
            let serials = if number == 39 { &[7][..] } else { &[] };
            let crl = root.crl_scoped(serials, days(-1), days(1), Some(part(number)));
            trust.add_crl_der(&RootsId::public(), &crl).unwrap();
        }
        let judge = |serial: u8, points: &[usize]| {
            let mut bench = Bench::new(&[]);
            bench.trust = trust.clone();
            let mut params = leaf_params(&[HOST]);
            params.serial_number = Some(rcgen::SerialNumber::from_slice(&[serial]));
            params.crl_distribution_points = points.iter().map(|number| part(*number).distribution_point).collect();
            bench.judge(&[&root.issue(&params).der])
        };
        assert_eq!(judge(7, &[]), Reason::CertRevoked);
        assert_eq!(judge(8, &[]), Reason::RevocationUnknown);
        assert_eq!(judge(8, &[30]), Reason::TlsOk);
        assert_eq!(judge(8, &(0..40).collect::<Vec<_>>()), Reason::TlsOk);
        assert_eq!(judge(7, &(0..40).collect::<Vec<_>>()), Reason::CertRevoked);
    }

    #[test]
    fn a_list_for_some_certificates() {
        use rcgen::{CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope};
        let root = Authority::new("Root");
        let point = |uri: &str| CrlDistributionPoint { uris: vec![uri.to_owned()] };
        let judge = |serials: &[u8], scope, points: &[&str]| {
            let scope = CrlIssuingDistributionPoint { distribution_point: point("http://example.com/1.crl"), scope };
            let crl = root.crl_scoped(serials, days(-1), days(1), Some(scope));
            let mut params = leaf_params(&[HOST]);
            params.crl_distribution_points = points.iter().map(|uri| point(uri)).collect();
            Bench::new(&[&root]).crl(&crl).judge(&[&root.issue(&params).der])
        };
        let (own, other) = ("http://example.com/1.crl", "http://example.com/2.crl");
        for (scope, points, in_scope) in [
            (None, &[own][..], true),
            (None, &[other, own], true),
            (None, &[other], false),
            (Some(CrlScope::UserCertsOnly), &[own], true),
            (Some(CrlScope::CaCertsOnly), &[own], false),
        ] {
            let (revoked, clear) = match in_scope {
                true => (Reason::CertRevoked, Reason::TlsOk),
                false => (Reason::RevocationUnknown, Reason::RevocationUnknown),
            };
            assert_eq!(judge(&[SERIAL], scope, points), revoked, "{points:?}");
            assert_eq!(judge(&[], scope, points), clear, "{points:?}");
        }
        // RFC 5280, 6.3.3: a certificate without distribution points has that of its issuer's name. A list for another one
        // may be a part of many: it revokes, and clears nobody.
        assert_eq!(judge(&[SERIAL], None, &[]), Reason::CertRevoked);
        assert_eq!(judge(&[], None, &[]), Reason::RevocationUnknown);
        let (_, parsed) = x509_parser::parse_x509_certificate(&root.der).unwrap();
        let name = tlv(0xa0, &tlv(0xa0, &tlv(0xa4, parsed.subject().as_raw())));
        let crl = RawCrl::new().number(1).with(&[extension(28, true, &tlv(0x30, &name))]).signed_by(&root);
        let leaf = root.issue(&leaf_params(&[HOST])).der;
        assert_eq!(Bench::new(&[&root]).crl(&crl).judge(&[&leaf]), Reason::TlsOk);

        // A list for hosts says nothing of an authority.
        let issuer = root.below("Issuer", |params| {
            params.serial_number = Some(rcgen::SerialNumber::from_slice(&[7]));
        });
        let leaf = issuer.issue(&leaf_params(&[HOST]));
        for (scope, reason) in
            [(CrlScope::UserCertsOnly, Reason::RevocationUnknown), (CrlScope::CaCertsOnly, Reason::CertRevoked)]
        {
            let scope = CrlIssuingDistributionPoint { distribution_point: point(own), scope: Some(scope) };
            let crl = root.crl_scoped(&[7], days(-1), days(1), Some(scope));
            let verdict = Bench::new(&[&root]).crl(&crl).verdict(&[&leaf.der, &issuer.der]);
            assert_eq!(verdict.reason(), reason);
            assert_eq!(verdict.defect().unwrap().place(), Place::Issuer(1));
        }
    }
}

mod names {
    use super::*;

    fn judge(bench: Bench, root: &Authority, params: &rcgen::CertificateParams) -> Reason {
        bench.judge(&[&root.issue(params).der])
    }

    #[test]
    fn alternative_names() {
        let root = Authority::new("Root");
        // host, names of the certificate, good?
        for (host, names, good) in [
            ("mx.example.com", &["mx.example.com"][..], true),
            ("MX.Example.COM.", &["mx.example.com"], true),
            ("mx.example.com", &["other.example", "MX.example.com"], true),
            ("mx.example.com", &["example.com"], false),
            ("example.com", &["mx.example.com"], false),
            ("mx.example.com", &["*.example.com"], true),
            ("a.mx.example.com", &["*.example.com"], false),
            ("example.com", &["*.example.com"], false),
            ("mx.example.com", &["m*.example.com"], false),
            ("mx.example.com", &["*x.example.com"], false),
            ("mx.example.com", &["mx.*.com"], false),
            ("mx.example.com", &["*.*.com"], false),
            ("mx.example.com", &["*"], false),
            ("example.com", &["*.com"], false),
            ("mx.b\u{fc}cher.example", &["mx.xn--bcher-kva.example"], true),
            ("xn--bcher-kva.example.com", &["*.example.com"], true),
            ("mx.b\u{fc}cher.example", &["*.xn--bcher-kva.example"], true),
            ("192.0.2.1", &["192.0.2.1"], true),
            ("192.0.2.1", &["192.0.2.2"], false),
            ("[IPv6:2001:db8::1]", &["2001:db8::1"], true),
            ("[IPv6:2001:db8::1]", &["2001:db8::2", "192.0.2.1"], false),
            ("mx.example.com", &["192.0.2.1"], false),
        ] {
            let bench = Bench::new(&[&root]).host(host);
            let reason = judge(bench, &root, &leaf_params(names));
            let expected = if good { Reason::TlsOk } else { Reason::CertNameMismatch };
            assert_eq!(reason, expected, "{host} {names:?}");
        }
    }

    #[test]
    fn the_common_name() {
        let root = Authority::new("Root");
        // Common Name, alternative names, host; outcome with Never, IfNoDnsSan, Always.
        for (common, names, host, outcomes) in [
            (HOST, &[][..], HOST, [false, true, true]),
            ("MX.example.com.", &[], HOST, [false, true, true]),
            (HOST, &["other.example"], HOST, [false, false, true]),
            (HOST, &["192.0.2.1"], HOST, [false, true, true]),
            ("*.example.com", &[], HOST, [false, true, true]),
            ("*.com", &[], "example.com", [false, false, false]),
            ("m\u{fc}x.example", &[], "xn--mx-xka.example", [false, true, true]),
            ("192.0.2.1", &[], "192.0.2.1", [false, false, false]),
            ("Some Organisation", &[], HOST, [false, false, false]),
        ] {
            let rules = [CnFallback::Never, CnFallback::IfNoDnsSan, CnFallback::Always];
            for (rule, good) in rules.into_iter().zip(outcomes) {
                let mut params = leaf_params(names);
                common_name(&mut params, common);
                let reason = judge(Bench::new(&[&root]).host(host).cn(rule), &root, &params);
                let expected = if good { Reason::TlsOk } else { Reason::CertNameMismatch };
                assert_eq!(reason, expected, "{common} {names:?} {rule:?}");
            }
        }
    }

    #[test]
    fn a_name_that_cannot_be_read() {
        let root = Authority::new("Root");
        // dNSName is an IA5String (RFC 5280, 4.2.1.6).
        let unreadable = tlv(0x82, b"m\xfcx.example");
        let host = tlv(0x82, HOST.as_bytes());
        let judge = |names: &[&[u8]]| {
            let mut params = leaf_params(&[]);
            common_name(&mut params, HOST);
            let names = tlv(0x30, &names.concat());
            let extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], names);
            params.custom_extensions.push(extension);
            judge(Bench::new(&[&root]), &root, &params)
        };
        assert_eq!(judge(&[&host, &unreadable]), Reason::TlsOk);
        assert_eq!(judge(&[&unreadable, &host]), Reason::TlsOk);
        assert_eq!(judge(&[&unreadable]), Reason::CertNameMismatch);
        // A list that is none.
        assert_eq!(judge(&[b"\x82\x7f"]), Reason::CertMalformed);
    }

    #[test]
    fn constraints_hold_for_the_common_name_too() {
        let root = Authority::new("Root");
        let judge = |permitted: &[&str], excluded: &[&str]| {
            let subtrees = |names: &[&str]| names.iter().map(|n| GeneralSubtree::DnsName((*n).into())).collect();
            let issuer = root.below("Issuer", |params| {
                params.name_constraints = Some(NameConstraints {
                    permitted_subtrees: subtrees(permitted),
                    excluded_subtrees: subtrees(excluded),
                });
            });
            let mut params = leaf_params(&[]);
            common_name(&mut params, HOST);
            let leaf = issuer.issue(&params);
            Bench::new(&[&root]).judge(&[&leaf.der, &issuer.der])
        };
        assert_eq!(judge(&["example.com"], &[]), Reason::TlsOk);
        assert_eq!(judge(&["example.net"], &[]), Reason::CertConstraintViolated);
        assert_eq!(judge(&["example.com"], &["mx.example.com"]), Reason::CertConstraintViolated);
        assert_eq!(judge(&[], &["example.com"]), Reason::CertConstraintViolated);
        assert_eq!(judge(&[], &["le.com"]), Reason::TlsOk);
    }

    #[test]
    fn names_of_the_connector() {
        let root = Authority::new("Root");
        for (wanted, names, good) in [
            (&["mail.partner.example"][..], &["mail.partner.example"][..], true),
            (&["mail.partner.example"], &[HOST], false),
            (&["a.example", "b.example"], &["b.example"], true),
            (&[".partner.example"], &["a.b.partner.example"], true),
            (&[".partner.example"], &["*.partner.example"], true),
            (&[".partner.example"], &["partner.example"], false),
            (&[".partner.example"], &["evilpartner.example"], false),
        ] {
            let bench = Bench::new(&[&root]).names(wanted);
            let reason = judge(bench, &root, &leaf_params(names));
            assert_eq!(reason == Reason::TlsOk, good, "{wanted:?} {names:?}");
        }
    }

    #[test]
    fn the_next_hop() {
        let root = Authority::new("Root");
        let mut connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Secure);
        connector.roots = RootsId::public();
        let bench = Bench::new(&[&root]);
        let next_hop = Host::parse("example.com").unwrap();
        let host = Host::parse("mx.elsewhere.example").unwrap();
        let judge = |origin, name: &str| {
            let facts = Facts::new(&connector, &next_hop, &host, origin);
            let leaf = root.issue(&leaf_params(&[name]));
            let verdict = plan(&facts).unwrap().judge(&[leaf.der], &bench.trust, now());
            verdict.standing() == Standing::Acceptable
        };
        assert!(judge(HostOrigin::Mx, "example.com"));
        assert!(judge(HostOrigin::Mx, "mx1.example.com"));
        assert!(!judge(HostOrigin::Mx, "mx.elsewhere.example"));
        // A configured host is the next hop.
        assert!(judge(HostOrigin::SmartHost, "mx.elsewhere.example"));
        assert!(!judge(HostOrigin::SmartHost, "example.com"));
    }

    #[test]
    fn the_report_says_which_names() {
        let root = Authority::new("Root");
        let leaf = root.issue(&leaf_params(&["a.example", "*.b.example"]));
        assert_eq!(
            Bench::new(&[&root]).verdict(&[&leaf.der]).to_string(),
            "the certificate is for another name (leaf, wanted mx.example.com, has a.example or *.b.example)"
        );
    }
}
