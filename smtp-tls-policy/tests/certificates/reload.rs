//! Roots and lists that an administrator loads again.

use std::sync::Arc;

use super::wanted::{DAY, earlier, with_points};
use super::*;

const URL: &str = "http://example.com/1.crl";

fn public() -> RootsId {
    RootsId::public()
}

/// What an administrator has loaded: this root, and these lists.
fn loaded(root: &Authority, lists: &[&[u8]]) -> Trust {
    let mut trust = Trust::empty();
    trust.add_root_der(&public(), &root.der).unwrap();
    lists.iter().for_each(|list| trust.add_crl_der(&public(), list).unwrap());
    trust
}

fn lists(bench: &Bench) -> Vec<Arc<Crl>> {
    bench.trust.crls(&public()).cloned().collect()
}

#[test]
fn reload_of_the_same_roots_and_lists_keeps_the_generation() {
    let root = Authority::new("Root");
    let list = root.crl(&[]);
    let mut bench = Bench::new(&[&root]).crl(&list);
    let (generation, before) = (bench.trust.generation(), lists(&bench));
    bench.trust.reload(loaded(&root, &[&list]));
    assert_eq!(bench.trust.generation(), generation);
    assert!(Arc::ptr_eq(&lists(&bench)[0], &before[0]), "its signature is verified already");
    for other in [loaded(&root, &[]), loaded(&Authority::new("Root"), &[&list])] {
        let generation = bench.trust.generation();
        bench.trust.reload(other);
        assert_ne!(bench.trust.generation(), generation);
    }
}

#[test]
fn reload_replaces_roots_and_removes_the_sets_that_are_gone() {
    let (root, other) = (Authority::new("Root"), Authority::new("Other"));
    let mut bench = Bench::new(&[&root]);
    let partner = RootsId::new("partner");
    bench.trust.add_root_der(&partner, &root.der).unwrap();
    let leaf = other.issue(&leaf_params(&[HOST]));
    assert_eq!(bench.judge(&[&leaf.der]), Reason::CertUnknownIssuer);
    bench.trust.reload(loaded(&other, &[]));
    assert_eq!(bench.judge(&[&leaf.der]), Reason::TlsOk);
    assert_eq!(bench.trust.names(), [&public()]);
    assert!(bench.trust.roots(&partner).is_empty());
}

/// Both lists are for the same certificates. The older one is loaded by the administrator.
#[test]
fn reload_keeps_fetched_lists_and_goes_back_to_no_older_one() {
    let root = Authority::new("Root");
    let leaf = root.issue(&with_points(leaf_params(&[HOST]), &[URL]));
    let old = root.crl_dated(&[], days(-2), days(2));
    let revoking = root.crl_dated(&[SERIAL], days(-1), days(3));
    for of_administrator in [&[][..], &[&*old]] {
        let mut bench = Bench::new(&[&root]).revocation(Revocation::IfConfigured);
        bench.trust.reload(loaded(&root, of_administrator));
        assert_eq!(bench.judge(&[&leaf.der]), Reason::TlsOk);
        let wanted = bench.trust.wanted(now()).remove(0);
        let fetched = Arc::new(Crl::from_der(&revoking).unwrap());
        bench.trust.replace_wanted_crl(&wanted, Arc::clone(&fetched), now()).unwrap();
        let generation = bench.trust.generation();
        bench.trust.reload(loaded(&root, of_administrator));
        assert_eq!(bench.judge(&[&leaf.der]), Reason::CertRevoked);
        let [kept] = &lists(&bench)[..] else { panic!("one list") };
        assert!(Arc::ptr_eq(kept, &fetched), "the file on disk is that of this list");
        assert_eq!(bench.trust.generation(), generation);
        assert_eq!(bench.trust.wanted(now())[0].urls, [URL]);
        // Other roots of the same authority change nothing about it.
        let mut more = loaded(&root, of_administrator);
        more.add_root_der(&public(), &Authority::new("Other").der).unwrap();
        bench.trust.reload(more);
        assert_eq!(bench.judge(&[&leaf.der]), Reason::CertRevoked);
        // A newer list of the administrator takes its place.
        bench.trust.reload(loaded(&root, &[&root.crl_dated(&[], days(0), days(4))]));
        assert_eq!((bench.judge(&[&leaf.der]), lists(&bench).len()), (Reason::TlsOk, 1));
    }
}

#[test]
fn reload_drops_the_lists_that_the_administrator_has_removed_or_replaced() {
    let root = Authority::new("Root");
    let leaf = root.issue(&leaf_params(&[HOST]));
    let mut bench = Bench::new(&[&root]).crl(&root.crl_dated(&[SERIAL], days(-2), days(2)));
    assert_eq!(bench.judge(&[&leaf.der]), Reason::CertRevoked);
    // Made again, with the same dates.
    bench.trust.reload(loaded(&root, &[&root.crl_dated(&[], days(-2), days(2))]));
    assert_eq!((bench.judge(&[&leaf.der]), lists(&bench).len()), (Reason::TlsOk, 1));
    bench.trust.reload(loaded(&root, &[]));
    assert_eq!((bench.judge(&[&leaf.der]), lists(&bench).len()), (Reason::TlsOk, 0));
}

/// The two keys of an authority during a change, whose lists do not name their key.
#[test]
fn reload_keeps_the_fetched_list_of_one_key_beside_the_loaded_one_of_another_key() {
    let root = Authority::new("Root");
    let (old, new) = (root.below("Issuer", |_| {}), root.below("Issuer", |_| {}));
    let leaf = new.issue(&with_points(leaf_params(&[HOST]), &[URL]));
    let bench = Bench::new(&[&root]).crl(&root.crl(&[])).revocation(Revocation::Hard);
    let mut bench = bench;
    assert_eq!(bench.judge(&[&leaf.der, &new.der]), Reason::RevocationUnknown);
    let wanted = bench.trust.wanted(now()).remove(0);
    let fetched = RawCrl::new().number(1).signed_by(&new);
    let fetched = Arc::new(Crl::from_der(&fetched).unwrap());
    bench.trust.replace_wanted_crl(&wanted, fetched, earlier(DAY)).unwrap();
    assert_eq!(bench.judge(&[&leaf.der, &new.der]), Reason::TlsOk);
    let of_old_key = RawCrl::new().number(9).signed_by(&old);
    bench.trust.reload(loaded(&root, &[&root.crl(&[]), &of_old_key]));
    assert_eq!(bench.judge(&[&leaf.der, &new.der]), Reason::TlsOk);
}

/// After a restart no key of the issuer is known: its list is not of a root.
#[test]
fn reload_goes_back_to_no_older_list_of_an_issuer_that_no_judgement_has_met() {
    let root = Authority::new("Root");
    let issuer = root.below("Issuer", |_| {});
    let leaf = issuer.issue(&leaf_params(&[HOST]));
    let old = issuer.crl_dated(&[], days(-2), days(2));
    let revoking = issuer.crl_dated(&[SERIAL], days(-1), days(3));
    let mut bench = Bench::new(&[&root]).revocation(Revocation::IfConfigured);
    bench.trust.reload(loaded(&root, &[&old]));
    let fetched = Arc::new(Crl::from_der(&revoking).unwrap());
    bench.trust.restore_fetched_crl(&public(), Arc::clone(&fetched), now()).unwrap();
    bench.trust.reload(loaded(&root, &[&old]));
    assert!(Arc::ptr_eq(&lists(&bench)[0], &fetched));
    assert_eq!(bench.judge(&[&leaf.der, &issuer.der]), Reason::CertRevoked);
    // Without the file of the older list the fetched one stays as well.
    bench.trust.reload(loaded(&root, &[]));
    assert_eq!(bench.judge(&[&leaf.der, &issuer.der]), Reason::CertRevoked);
}

/// A list that an administrator loads says something of all certificates of its issuer.
#[test]
fn reload_or_load_of_a_list_that_was_fetched_begins_a_generation_once() {
    let root = Authority::new("Root");
    let leaf = root.issue(&with_points(leaf_params(&[HOST]), &[URL]));
    let list = root.crl_dated(&[], days(-1), days(3));
    let by_reload = |trust: &mut Trust| trust.reload(loaded(&root, &[&list]));
    let by_hand = |trust: &mut Trust| {
        trust.replace_crl(&public(), Arc::new(Crl::from_der(&list).unwrap())).unwrap();
    };
    for load in [&by_reload as &dyn Fn(&mut Trust), &by_hand] {
        let mut bench = Bench::new(&[&root]).revocation(Revocation::IfConfigured);
        assert_eq!(bench.judge(&[&leaf.der]), Reason::TlsOk);
        let wanted = bench.trust.wanted(now()).remove(0);
        let fetched = Arc::new(Crl::from_der(&list).unwrap());
        bench.trust.replace_wanted_crl(&wanted, fetched, now()).unwrap();
        let mut generation = bench.trust.generation();
        for is_new in [true, false] {
            load(&mut bench.trust);
            let before = std::mem::replace(&mut generation, bench.trust.generation());
            assert_eq!(before != generation, is_new);
        }
    }
}
