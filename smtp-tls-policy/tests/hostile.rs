//! Whatever a peer sends as a chain, or a server as a list, there is an answer, and no panic.

mod common;

use std::sync::LazyLock;

use common::*;
use pki_types::CertificateDer;
use proptest::prelude::*;
use smtp_tls_policy::judge::Verdict;
use smtp_tls_policy::pki::{Revocation, RootsId, Trust};
use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::{Host, Namespace, Reason, pki_types};

struct World {
    root: Authority,
    chain: Vec<Vec<u8>>,
    crl: Vec<u8>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let root = Authority::new("Root");
    let issuer = root.below("Issuer", |params| {
        params.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("example.com".into())],
            excluded_subtrees: vec![],
        });
    });
    let mut params = leaf_params(&[]);
    common_name(&mut params, "mx.example.com");
    let leaf = issuer.issue(&params);
    World { chain: vec![leaf.der.to_vec(), issuer.der.to_vec()], crl: issuer.crl(&[1, 2, 3]), root }
});

fn judge(chain: &[Vec<u8>], crl: &[u8]) -> Verdict {
    let mut trust = Trust::empty();
    trust.add_root_der(&RootsId::public(), &WORLD.root.der).unwrap();
    let _ = trust.add_crl_der(&RootsId::public(), crl);
    let connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Deterministic);
    let host = Host::parse("mx.example.com").unwrap();
    let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap();
    let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(&der[..])).collect();
    let verdict = plan.judge(&chain, &trust, now());
    assert!(!verdict.to_string().contains(|c: char| c.is_control()));
    verdict
}

#[test]
fn unchanged_chain_is_good() {
    assert!(judge(&WORLD.chain, &WORLD.crl).is_authenticated());
}

/// A certificate is signed: one byte changed, and it is worth nothing.
#[test]
fn every_byte_of_a_chain_counts() {
    for certificate in 0..2 {
        for at in 0..WORLD.chain[certificate].len() {
            let mut chain = WORLD.chain.clone();
            chain[certificate][at] ^= 0x01;
            let verdict = judge(&chain, &WORLD.crl);
            assert!(!verdict.is_authenticated(), "{certificate} {at}: {verdict}");
        }
    }
}

/// A list is signed too: one byte changed, and it clears no certificate.
#[test]
fn every_byte_of_a_list_counts() {
    let host = Host::parse("mx.example.com").unwrap();
    let mut connector =
        OutboundConnector::new("c", vec![Namespace::Default], Posture::Deterministic);
    connector.revocation = Revocation::Hard;
    let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap();
    let chain: Vec<_> = WORLD.chain.iter().map(|der| CertificateDer::from(&der[..])).collect();
    let judge = |crl: &[u8]| {
        let mut trust = Trust::empty();
        let id = RootsId::public();
        trust.add_root_der(&id, &WORLD.root.der).unwrap();
        trust.add_crl_der(&id, &WORLD.root.crl(&[])).unwrap();
        let _ = trust.add_crl_der(&id, crl);
        plan.judge(&chain, &trust, now())
    };
    assert!(judge(&WORLD.crl).is_authenticated());
    for at in 0..WORLD.crl.len() {
        let mut crl = WORLD.crl.clone();
        crl[at] ^= 0x01;
        let verdict = judge(&crl);
        let expected = [Reason::CrlInvalid, Reason::RevocationUnknown];
        assert!(expected.contains(&verdict.reason()), "{at}: {verdict}");
    }
}

proptest! {
    #[test]
    fn any_bytes(
        first in proptest::collection::vec(any::<u8>(), 0..200),
        second in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        prop_assert!(!judge(&[first.clone(), second.clone()], &second).is_authenticated());
        prop_assert!(!judge(&[WORLD.chain[0].clone(), first], &second).is_authenticated());
    }

    #[test]
    fn damaged_bytes(
        damage in proptest::collection::vec((0..2usize, any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut chain = WORLD.chain.clone();
        for (certificate, at, byte) in damage {
            let length = chain[certificate].len();
            chain[certificate][at.index(length)] = byte;
        }
        if let Some(cut) = cut {
            let length = chain[0].len();
            chain[0].truncate(cut.index(length));
        }
        if chain != WORLD.chain {
            prop_assert!(!judge(&chain, &WORLD.crl).is_authenticated());
        }
    }
}
