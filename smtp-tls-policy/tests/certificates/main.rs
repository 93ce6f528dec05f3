//! One certificate case per check.

#[path = "../common/mod.rs"]
mod common;
mod corners;
mod forms;
mod lists;
mod names;
mod reload;
mod revocation;
mod wanted;

use common::cost::{MAX_SIGNATURES, counting, signatures};
use common::*;
use pki_types::CertificateDer;
use rcgen::{CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, NameConstraints};
use smtp_tls_policy::judge::{Standing, Verdict};
use smtp_tls_policy::pki::{
    CnFallback, CommonNames, Crl, CrlErrorKind, Detail, Reference, ReplaceError, Replaced,
    Revocation, RootsId, Trust,
};
use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::{DomainError, Host, Namespace, Reason, judge, pki_types};

const HOST: &str = "mx.example.com";

/// A trust store with the public roots given, and what a connector does with them.
struct Bench {
    trust: Trust,
    connector: OutboundConnector,
    host: Host,
}

impl Bench {
    fn new(roots: &[&Authority]) -> Self {
        let mut trust = Trust::empty();
        trust.add_roots(&RootsId::public(), []);
        for root in roots {
            trust.add_root_der(&RootsId::public(), &root.der).unwrap();
        }
        Self {
            trust,
            connector: OutboundConnector::new(
                "c",
                vec![Namespace::Default],
                Posture::Deterministic,
            ),
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
    // If the chain shows that its signatures are good, the reason does not speak of a wrong one.
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

    // As a root it vouches for itself, and for the names that it has.
    let own = Authority::with(leaf_params(&[HOST]));
    assert_eq!(Bench::new(&[&own]).judge(&[&own.der]), Reason::TlsOk);
    assert_eq!(Bench::new(&[&root]).judge(&[&root.der]), Reason::CertNameMismatch);
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
        &Detail::Date(pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            NOW + 24 * 3600
        )))
    );

    let issuer = root.below("Old", |params| params.not_after = days(-1));
    let leaf = issuer.issue(&leaf_params(&[HOST]));
    let verdict = bench.verdict(&[&leaf.der, &issuer.der]);
    assert_eq!(verdict.reason(), Reason::CertExpired);
    assert_eq!(verdict.defect().unwrap().certificate(), Some(1));
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
        assert_eq!(verdict.defect().unwrap().certificate(), Some(0));
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

/// A host below a bridge between authorities shows every cross certificate; few paths lead through
/// them.
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
fn chain_of_issuers_with_one_name_costs_few_signatures() {
    let root = Authority::new("Root");
    let mut bench = Bench::new(&[&root]);
    bench.trust = counting(bench.trust);
    let twins: Vec<_> = (1..judge::MAX_CHAIN_LEN).map(|_| Authority::new("Twin")).collect();
    let leaf = twins[0].issue(&leaf_params(&[HOST]));
    let mut chain = vec![&leaf.der];
    chain.extend(twins.iter().map(|twin| &twin.der));
    // The budget of the path builder ends the search.
    let (reason, signatures) = signatures(|| bench.judge(&chain));
    assert_eq!(reason, Reason::CertTooCostly);
    assert!(signatures <= MAX_SIGNATURES, "{signatures}");
}
