//! Roots and revocation lists that are replaced while they are used.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::*;
use pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm,
};
use smtp_tls_policy::judge::{admit, admit_handshake};
use smtp_tls_policy::pki::CrlErrorKind;
use smtp_tls_policy::pki::{LiveTrust, ReplaceError, Replaced, Revocation, RootsId, Trust};
use smtp_tls_policy::plan::{Facts, HostOrigin, Plan, plan};
use smtp_tls_policy::rules::{
    ClientCertificate, ClientCheck, InboundConnector, InboundConnectors, OutboundConnector, Posture,
};
use smtp_tls_policy::{Host, Namespace, Reason, pki_types};

const HOST: &str = "mx.example.com";

fn id() -> RootsId {
    RootsId::public()
}

fn hard() -> Plan {
    let mut connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Verified);
    connector.revocation = Revocation::Hard;
    let host = Host::parse(HOST).unwrap();
    plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap()
}

/// Counts the signatures that are verified with it.
#[derive(Debug)]
struct Counting {
    inner: &'static dyn SignatureVerificationAlgorithm,
    count: AtomicUsize,
}

impl SignatureVerificationAlgorithm for Counting {
    fn verify_signature(
        &self,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.inner.verify_signature(key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.signature_alg_id()
    }
}

fn counting() -> (&'static Counting, &'static [&'static dyn SignatureVerificationAlgorithm]) {
    let inner = webpki_p256();
    let counting: &'static Counting =
        Box::leak(Box::new(Counting { inner, count: AtomicUsize::new(0) }));
    (counting, Box::leak(Box::new([counting as &dyn SignatureVerificationAlgorithm])))
}

/// ECDSA P-256 with SHA-256, which is what the certificates made here are signed with.
fn webpki_p256() -> &'static dyn SignatureVerificationAlgorithm {
    let algorithms =
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let signature = pki_types::alg_id::ECDSA_SHA256;
    let key = pki_types::alg_id::ECDSA_P256;
    *algorithms
        .all
        .iter()
        .find(|a| a.signature_alg_id() == signature && a.public_key_alg_id() == key)
        .unwrap()
}

impl Counting {
    fn take(&self) -> usize {
        self.count.swap(0, Ordering::Relaxed)
    }
}

#[test]
fn a_newer_list_takes_the_place_of_an_older_one() {
    let root = Authority::new("Root");
    let leaf = root.issue(&leaf_params(&[HOST])).der;
    let mut trust = Trust::empty();
    trust.add_root_der(&id(), &root.der).unwrap();
    let live = LiveTrust::new(trust);
    let judge = || hard().judge(std::slice::from_ref(&leaf), &live.load(), now()).reason();
    assert_eq!(judge(), Reason::RevocationUnknown);

    let list = |number: u8, serials: &[Vec<u8>]| {
        RawCrl::new().number(number).entries(serials).signed_by(&root)
    };
    let revoked = [entry(&[SERIAL], &[])];
    let mut generation = live.generation();
    let mut replace = |crl: &[u8]| {
        let replaced = live.replace_crl_der(&id(), crl);
        let changed = std::mem::replace(&mut generation, live.generation()) != generation;
        (replaced, changed)
    };
    let first = list(1, &[]);
    assert_eq!(replace(&first), (Ok(Replaced::Added), true));
    assert_eq!(judge(), Reason::TlsOk);
    // The same once more is no change: sessions stay.
    assert_eq!(replace(&first), (Ok(Replaced::Unchanged), false));
    assert_eq!(replace(&list(3, &revoked)), (Ok(Replaced::Replaced), true));
    assert_eq!(judge(), Reason::CertRevoked);

    // Back by its number, or by its date.
    let (older, changed) = replace(&list(2, &[]));
    assert!(
        matches!(&older, Err(ReplaceError::Older { have, offered }) if offered.is_older_than(have)),
        "{older:?}"
    );
    assert_eq!(
        older.unwrap_err().to_string(),
        "the revocation list (number 0x02 of 2026-05-31T00:00:00Z) is older than the one that is there \
         (number 0x03 of 2026-05-31T00:00:00Z)"
    );
    assert!(!changed);
    let mut yesterday = RawCrl::new().number(4);
    yesterday.this_update = tlv(0x17, b"260530235959Z");
    assert!(matches!(replace(&yesterday.signed_by(&root)).0, Err(ReplaceError::Older { .. })));
    // Nor without a number where the date is older.
    let mut no_number = RawCrl::new().with(&[extension(24, false, &[])]);
    no_number.this_update = tlv(0x17, b"260530235959Z");
    assert!(matches!(replace(&no_number.signed_by(&root)).0, Err(ReplaceError::Older { .. })));
    assert_eq!(judge(), Reason::CertRevoked);

    // A forger's: newer, and signed by another key. And what is no list at all.
    let impostor = Authority::new("Root");
    let forged = RawCrl::new().number(9).signed_by(&impostor);
    assert_eq!(replace(&forged), (Err(ReplaceError::Signature), false));
    let (malformed, changed) = replace(&forged[1..]);
    assert!(
        matches!(malformed, Err(ReplaceError::Crl(error)) if error.kind == CrlErrorKind::Malformed)
    );
    assert!(!changed);
    assert_eq!(judge(), Reason::CertRevoked);

    // Going back needs an explicit call.
    live.update(|trust| trust.clear_crls(&id()));
    assert_eq!(live.replace_crl_der(&id(), &list(2, &[])), Ok(Replaced::Added));
    assert_eq!(judge(), Reason::TlsOk);
}

/// Before any chain has shown the issuer's key: where the issuer is a root of the set, its key is
/// known all the same.
#[test]
fn a_forged_list_does_not_displace_one_that_was_never_asked() {
    let (root, impostor) = (Authority::new("Root"), Authority::new("Root"));
    let forged = RawCrl::new().number(9).signed_by(&impostor);
    let genuine = RawCrl::new().number(1).entries(&[entry(&[SERIAL], &[])]).signed_by(&root);
    let mut trust = Trust::empty();
    trust.add_root_der(&id(), &root.der).unwrap();
    trust.add_crl_der(&id(), &genuine).unwrap();
    let live = LiveTrust::new(trust);
    assert_eq!(live.replace_crl_der(&id(), &forged), Err(ReplaceError::Signature));
    let leaf = root.issue(&leaf_params(&[HOST])).der;
    assert_eq!(hard().judge(&[leaf], &live.load(), now()).reason(), Reason::CertRevoked);
    assert_eq!(
        live.replace_crl_der(&id(), &RawCrl::new().number(2).signed_by(&root)),
        Ok(Replaced::Replaced)
    );
    // If no key of the issuer is known, both stay, and only the genuine one has an effect.
    let live = LiveTrust::new(Trust::empty());
    assert_eq!(live.replace_crl_der(&id(), &genuine), Ok(Replaced::Added));
    assert_eq!(live.replace_crl_der(&id(), &forged), Ok(Replaced::Added));
    live.update(|trust| trust.add_root_der(&id(), &root.der)).unwrap();
    let leaf = root.issue(&leaf_params(&[HOST])).der;
    assert_eq!(hard().judge(&[leaf], &live.load(), now()).reason(), Reason::CertRevoked);
}

/// An authority that replaces its key has two under one name, and its lists need not say which of
/// them made the signature.
#[test]
fn two_keys_under_one_name_replace_each_their_own_list() {
    let (old, new) = (Authority::new("Root"), Authority::new("Root"));
    let number = |number, authority| RawCrl::new().number(number).signed_by(authority);
    let revoking = |number, authority| {
        let revoked = [entry(&[SERIAL], &[])];
        RawCrl::new().number(number).entries(&revoked).signed_by(authority)
    };
    let leaves = [&old, &new].map(|authority| authority.issue(&leaf_params(&[HOST])).der);
    let judge = |live: &LiveTrust| {
        leaves
            .each_ref()
            .map(|leaf| hard().judge(std::slice::from_ref(leaf), &live.load(), now()).reason())
    };
    let count = |live: &LiveTrust| live.load().crls(&id()).count();

    let mut trust = Trust::empty();
    for root in [&old, &new] {
        trust.add_root_der(&id(), &root.der).unwrap();
    }
    let live = LiveTrust::new(trust);
    let replace = |crl: &[u8]| live.replace_crl_der(&id(), crl);
    assert_eq!(replace(&number(9, &old)), Ok(Replaced::Added));
    assert_eq!(judge(&live), [Reason::TlsOk, Reason::CrlInvalid]);
    assert_eq!(replace(&number(1, &new)), Ok(Replaced::Added));
    assert_eq!(judge(&live), [Reason::TlsOk; 2]);
    assert_eq!(replace(&revoking(2, &new)), Ok(Replaced::Replaced));
    assert_eq!(judge(&live), [Reason::TlsOk, Reason::CertRevoked]);
    assert!(matches!(replace(&number(1, &new)), Err(ReplaceError::Older { .. })));
    assert_eq!(replace(&revoking(10, &old)), Ok(Replaced::Replaced));
    assert_eq!(judge(&live), [Reason::CertRevoked; 2]);
    assert_eq!(count(&live), 2);

    // Below a root: the keys are known once a chain was judged.
    let root = Authority::new("Top");
    let (old, new) = (root.below("Issuer", |_| {}), root.below("Issuer", |_| {}));
    let mut trust = Trust::empty();
    trust.add_root_der(&id(), &root.der).unwrap();
    trust.add_crl_der(&id(), &number(1, &root)).unwrap();
    let live = LiveTrust::new(trust);
    let replace = |crl: &[u8]| live.replace_crl_der(&id(), crl);
    let chains =
        [&old, &new].map(|issuer| [issuer.issue(&leaf_params(&[HOST])).der, issuer.der.clone()]);
    let judge = || chains.each_ref().map(|chain| hard().judge(chain, &live.load(), now()).reason());
    assert_eq!(replace(&number(9, &old)), Ok(Replaced::Added));
    assert_eq!(replace(&number(1, &new)), Ok(Replaced::Added));
    assert_eq!(judge(), [Reason::TlsOk; 2]);
    assert_eq!(replace(&revoking(2, &new)), Ok(Replaced::Replaced));
    assert_eq!(judge(), [Reason::TlsOk, Reason::CertRevoked]);
    assert_eq!(replace(&revoking(10, &old)), Ok(Replaced::Replaced));
    assert_eq!(judge(), [Reason::CertRevoked; 2]);
    assert_eq!(count(&live), 3);
}

/// The cRLNumber of one octet.
fn number_of(crl: &smtp_tls_policy::pki::Crl) -> u8 {
    crl.number().unwrap()[0]
}

/// While no key of the issuer is known, a list that is fetched again and again does not fill
/// memory.
#[test]
fn lists_of_unknown_keys_are_bounded() {
    let root = Authority::new("Root");
    let live = LiveTrust::new(Trust::empty());
    for number in 1..=40 {
        live.replace_crl_der(&id(), &RawCrl::new().number(number).signed_by(&root)).unwrap();
    }
    let trust = live.load();
    let numbers: Vec<_> = trust.crls(&id()).map(|crl| number_of(crl)).collect();
    assert_eq!(numbers, [0x25, 0x26, 0x27, 0x28]);
}

#[test]
fn lists_of_one_issuer_for_different_certificates_stay_beside_each_other() {
    let root = Authority::new("Root");
    let point = |field: u8| extension(28, true, &tlv(0x30, &tlv(field, &[0xff])));
    let key = |key: u8| extension(35, false, &tlv(0x30, &tlv(0x80, &[key])));
    let (users, authorities) = (
        RawCrl::new().number(5).with(&[point(0x81)]),
        RawCrl::new().number(2).with(&[point(0x82)]),
    );
    let (old_key, new_key) =
        (RawCrl::new().number(9).with(&[key(1)]), RawCrl::new().number(1).with(&[key(2)]));
    let mut trust = Trust::empty();
    trust.add_root_der(&id(), &root.der).unwrap();
    let live = LiveTrust::new(trust);
    for crl in [&users, &authorities, &old_key, &new_key] {
        assert_eq!(live.replace_crl_der(&id(), &crl.signed_by(&root)), Ok(Replaced::Added));
    }
    let count = || live.load().crls(&id()).count();
    assert_eq!(count(), 4);
    let newer = RawCrl::new().number(3).with(&[point(0x82)]).signed_by(&root);
    assert_eq!(live.replace_crl_der(&id(), &newer), Ok(Replaced::Replaced));
    assert_eq!(count(), 4);
}

/// Replacing one issuer's list neither parses nor verifies that of another one again, and its own
/// signature is verified before any handshake.
#[test]
fn what_stays_is_shared_and_verified_once() {
    let (one, other) = (Authority::new("One"), Authority::new("Other"));
    let (counter, algorithms) = counting();
    let mut trust = Trust::empty().with_algorithms(algorithms);
    for root in [&one, &other] {
        trust.add_root_der(&id(), &root.der).unwrap();
        trust.add_crl_der(&id(), &RawCrl::new().number(1).signed_by(root)).unwrap();
    }
    let live = LiveTrust::new(trust);
    let leaves = [&one, &other].map(|root| root.issue(&leaf_params(&[HOST])).der);
    let judge = |leaf: &CertificateDer<'static>| {
        assert_eq!(
            hard().judge(std::slice::from_ref(leaf), &live.load(), now()).reason(),
            Reason::TlsOk
        );
        counter.take()
    };
    // The certificate and the list; then only the certificate.
    for leaf in &leaves {
        assert_eq!((judge(leaf), judge(leaf)), (2, 1));
    }
    let lists = |issuer: &str| {
        let trust = live.load();
        trust.crls(&id()).find(|crl| crl.issuer().ends_with(issuer.as_bytes())).cloned().unwrap()
    };
    let (before, kept) = (lists("One"), lists("Other"));
    let newer = RawCrl::new().number(2).signed_by(&one);
    assert_eq!(live.replace_crl_der(&id(), &newer), Ok(Replaced::Replaced));
    assert_eq!(counter.take(), 1);
    assert!(Arc::ptr_eq(&kept, &lists("Other")));
    assert!(!Arc::ptr_eq(&before, &lists("One")));
    for leaf in &leaves {
        assert_eq!(judge(leaf), 1);
    }
}

/// Two authorities of one name: a long list is not hashed again and again for the key that did not
/// sign it.
#[test]
fn what_did_not_verify_is_remembered_too() {
    let (old, new) = (Authority::new("Root"), Authority::new("Root"));
    let (counter, algorithms) = counting();
    let mut trust = Trust::empty().with_algorithms(algorithms);
    for root in [&old, &new] {
        trust.add_crl_der(&id(), &RawCrl::new().number(1).signed_by(root)).unwrap();
    }
    // The root whose key did not sign the leaf is not trusted, so that one signature is the leaf's.
    trust.add_root_der(&id(), &new.der).unwrap();
    let leaf = new.issue(&leaf_params(&[HOST])).der;
    let judge = || {
        assert_eq!(
            hard().judge(std::slice::from_ref(&leaf), &trust, now()).reason(),
            Reason::TlsOk
        );
        counter.take()
    };
    assert_eq!((judge(), judge(), judge()), (3, 1, 1));
}

/// Roots and lists that are replaced together are seen together, and a list never goes back,
/// however many threads judge.
#[test]
fn a_judgement_sees_one_trust_from_start_to_end() {
    let worlds: Vec<_> = ["One", "Other"]
        .iter()
        .map(|name| {
            let root = Authority::new(name);
            let leaf = root.issue(&leaf_params(&[HOST])).der;
            (root, leaf)
        })
        .collect();
    let live = LiveTrust::new(Trust::empty());
    let set = |live: &LiveTrust, (root, _): &(Authority, CertificateDer<'static>)| {
        live.update(|trust| {
            trust.clear_roots(&id());
            trust.add_root_der(&id(), &root.der).unwrap();
            trust.clear_crls(&id());
            trust.add_crl_der(&id(), &RawCrl::new().number(1).signed_by(root)).unwrap();
        });
    };
    set(&live, &worlds[0]);
    let plan = hard();
    let (over, judged) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for (_, leaf) in &worlds {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let reason =
                            plan.judge(std::slice::from_ref(leaf), &live.load(), now()).reason();
                        // The root without its list would be `revocation-unknown` or `crl-invalid`.
                        assert!(
                            [Reason::TlsOk, Reason::CertUnknownIssuer].contains(&reason),
                            "{reason}"
                        );
                        judged.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
        for round in 1..400 {
            set(&live, &worlds[round % 2]);
        }
        while judged.load(Ordering::Relaxed) < 100 {
            std::thread::yield_now();
        }
        over.store(true, Ordering::Relaxed);
    });
}

/// From many threads at once, the newest list wins, whatever the order.
#[test]
fn the_newest_wins() {
    let root = Authority::new("Root");
    let mut trust = Trust::empty();
    trust.add_root_der(&id(), &root.der).unwrap();
    let live = LiveTrust::new(trust);
    let lists: Vec<_> =
        (1..=40).map(|number| RawCrl::new().number(number).signed_by(&root)).collect();
    std::thread::scope(|scope| {
        for start in 0..4 {
            let (live, lists) = (&live, &lists);
            scope.spawn(move || {
                for index in 0..lists.len() {
                    let _ =
                        live.replace_crl_der(&id(), &lists[(index * 7 + start * 11) % lists.len()]);
                }
            });
        }
    });
    let trust = live.load();
    let numbers: Vec<_> = trust.crls(&id()).map(|crl| number_of(crl)).collect();
    assert_eq!(numbers, [0x28]);
}

/// Readers go on while a change takes its time.
#[test]
fn a_slow_change_does_not_hold_readers_up() {
    let live = LiveTrust::new(Trust::empty());
    let root = Authority::new("Root");
    let (started, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            live.update(|trust| {
                started.store(true, Ordering::SeqCst);
                while !done.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                trust.add_root_der(&id(), &root.der).unwrap();
            });
        });
        while !started.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        // The change is in the middle of itself, and what was there is what is seen.
        for _ in 0..1000 {
            assert!(live.load().roots(&id()).is_empty());
        }
        done.store(true, Ordering::SeqCst);
    });
    assert!(!live.load().roots(&id()).is_empty());
}

#[test]
fn a_change_that_fails_or_panics_changes_nothing() {
    let live = LiveTrust::new(Trust::empty());
    let before = live.generation();
    let failed = live.try_update(|trust| {
        trust.add_roots(&id(), []);
        Err::<(), _>("no")
    });
    assert_eq!(failed, Err("no"));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        live.update(|trust| {
            trust.add_roots(&id(), []);
            panic!("half-way");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(live.generation(), before);
    live.update(|trust| trust.add_roots(&id(), []));
    assert_ne!(live.generation(), before);
}

/// The receiving side as well.
#[test]
fn admit_asks_the_trust_of_the_moment() {
    let root = Authority::new("Partner");
    let mut params = leaf_params(&["out.partner.example"]);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let chain = [root.issue(&params).der];
    let mut trust = Trust::empty();
    trust.add_root_der(&id(), &root.der).unwrap();
    trust.add_crl_der(&id(), &RawCrl::new().number(1).signed_by(&root)).unwrap();
    let live = LiveTrust::new(trust);
    let mut connector = InboundConnector::new("partner", vec![Namespace::Default]);
    connector.require_tls = true;
    connector.client_certificate = ClientCertificate::Required(ClientCheck::new(id()));
    let connectors = InboundConnectors::new(vec![connector]).unwrap();
    let ask = || {
        let at_mail = admit(connectors.find(None), Some(TLS), &chain, &live.load(), now())
            .map(|_| ())
            .map_err(|refusal| refusal.reason());
        assert_eq!(
            admit_handshake(&connectors, &chain, &live.load(), now())
                .map_err(|refusal| refusal.reason()),
            at_mail
        );
        at_mail
    };
    assert_eq!(ask(), Ok(()));
    let revoked = RawCrl::new().number(2).entries(&[entry(&[SERIAL], &[])]).signed_by(&root);
    live.replace_crl_der(&id(), &revoked).unwrap();
    assert_eq!(ask(), Err(Reason::CertRevoked));
}
