//! The lists that judged chains name, for a task that fetches them.

use std::time::Duration;

use pki_types::UnixTime;
use smtp_tls_policy::pki::{MAX_WANTED_LISTS, WANTED_FOR, WantedList};

use super::*;

pub(crate) fn with_points(
    mut params: rcgen::CertificateParams,
    uris: &[&str],
) -> rcgen::CertificateParams {
    let point = |uri: &&str| rcgen::CrlDistributionPoint { uris: vec![(*uri).to_owned()] };
    params.crl_distribution_points = uris.iter().map(point).collect();
    params
}

fn later(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(NOW + seconds))
}

pub(crate) fn earlier(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(NOW - seconds))
}

fn urls(wanted: &[WantedList]) -> Vec<&str> {
    wanted.iter().flat_map(|list| list.urls.iter().map(String::as_str)).collect()
}

pub(crate) const DAY: u64 = 24 * 3600;

#[test]
fn judged_chain_names_the_lists_that_it_needs() {
    let root = Authority::new("Root");
    let issuer = root.below("Issuer", |params| {
        *params = with_points(params.clone(), &["http://example.com/root.crl"]);
    });
    let params = with_points(leaf_params(&[HOST]), &["http://example.com/7.crl"]);
    let leaf = issuer.issue(&params);
    let bench = Bench::new(&[&root]).revocation(Revocation::Hard);
    assert!(bench.trust.wanted(now()).is_empty());
    // Both, though the first one that is missing decides.
    assert_eq!(bench.judge(&[&leaf.der, &issuer.der]), Reason::RevocationUnknown);
    let wanted = bench.trust.wanted(now());
    assert_eq!(urls(&wanted), ["http://example.com/7.crl", "http://example.com/root.crl"]);
    for list in &wanted {
        assert_eq!((&list.roots, list.due.as_secs()), (&RootsId::public(), 0));
        assert_eq!(list.next_update, None);
    }
    // Once more is not once more in the table.
    bench.judge(&[&leaf.der, &issuer.der]);
    assert_eq!(bench.trust.wanted(now()).len(), 2);

    // Loaded lists are due before they expire: here after one and a half of two days.
    let scope = rcgen::CrlIssuingDistributionPoint {
        distribution_point: rcgen::CrlDistributionPoint {
            uris: vec!["http://EXAMPLE.com/7.crl".to_owned()],
        },
        scope: None,
    };
    let bench = bench
        .crl(&issuer.crl_scoped(&[], days(-1), days(1), Some(scope)))
        .crl(&root.crl_dated(&[], days(-4), days(4)));
    assert_eq!(bench.judge(&[&leaf.der, &issuer.der]), Reason::TlsOk);
    let wanted = bench.trust.wanted(now());
    assert_eq!(urls(&wanted), ["http://example.com/7.crl", "http://example.com/root.crl"]);
    let dates = |list: &WantedList| (list.due, list.next_update);
    assert_eq!(dates(&wanted[0]), (later(DAY / 2), Some(later(DAY))));
    assert_eq!(dates(&wanted[1]), (later(2 * DAY), Some(later(4 * DAY))));
}

#[test]
fn chain_that_is_not_trusted_names_no_list() {
    let (root, stranger) = (Authority::new("Root"), Authority::new("Root"));
    let params = with_points(leaf_params(&[HOST]), &["http://example.com/7.crl"]);
    let bench = Bench::new(&[&root]);
    assert_ne!(bench.judge(&[&stranger.issue(&params).der, &stranger.der]), Reason::TlsOk);
    assert!(bench.trust.wanted(now()).is_empty());
}

/// A forger answers the fetch first; the genuine list replaces nothing that the forger wrote.
#[test]
fn fetched_list_must_be_signed_by_the_key_of_the_judged_chain() {
    use std::sync::Arc;
    let root = Authority::new("Root");
    let (issuer, forger) = (root.below("Issuer", |_| {}), Authority::new("Issuer"));
    let params = with_points(leaf_params(&[HOST]), &["http://example.com/7.crl"]);
    let leaf = issuer.issue(&params);
    let mut bench = Bench::new(&[&root]).crl(&root.crl(&[])).revocation(Revocation::Hard);
    let judge = |bench: &Bench| bench.judge(&[&leaf.der, &issuer.der]);
    assert_eq!(judge(&bench), Reason::RevocationUnknown);
    let wanted = bench.trust.wanted(now()).remove(0);
    let parse = |list: &[u8]| Arc::new(Crl::from_der(list).unwrap());
    for forged in [
        forger.crl(&[]),
        RawCrl::new().number(100).signed_by(&forger),
        Authority::new("Other").crl(&[]),
    ] {
        let refused = bench.trust.replace_wanted_crl(&wanted, parse(&forged), now());
        assert_eq!(refused, Err(ReplaceError::Signature));
    }
    // Even one that was loaded by another way does not stay.
    let newest = rcgen::CertificateRevocationListParams {
        this_update: days(0),
        next_update: days(9),
        crl_number: rcgen::SerialNumber::from_slice(&[99]),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::PreSpecified(vec![1]),
    };
    bench.trust.add_crl(&RootsId::public(), parse(newest.signed_by(&forger.issuer).unwrap().der()));
    let genuine = RawCrl::new().number(1).signed_by(&issuer);
    let added = bench.trust.replace_wanted_crl(&wanted, parse(&genuine), now());
    assert_eq!(added, Ok(Replaced::Added));
    assert_eq!(judge(&bench), Reason::TlsOk);
    let revoking = RawCrl::new().number(2).entries(&[entry(&[SERIAL], &[])]).signed_by(&issuer);
    let replaced = bench.trust.replace_wanted_crl(&wanted, parse(&revoking), now());
    assert_eq!(replaced, Ok(Replaced::Replaced));
    assert_eq!(judge(&bench), Reason::CertRevoked);
    let older = bench.trust.replace_wanted_crl(&wanted, parse(&genuine), now());
    assert!(matches!(older, Err(ReplaceError::Older { .. })));
}

/// An issuer splits its lists by distribution point. The first one that is fetched must not make
/// the certificates of all others fail.
#[test]
fn fetched_list_asks_nothing_of_certificates_that_it_does_not_cover() {
    use std::sync::Arc;
    let root = Authority::new("Root");
    let leaf = |part: u8| {
        root.issue(&with_points(leaf_params(&[HOST]), &[&format!("http://example.com/{part}.crl")]))
    };
    let part = |part: u8, until: i64| {
        let distribution_point =
            rcgen::CrlDistributionPoint { uris: vec![format!("http://example.com/{part}.crl")] };
        let scope = rcgen::CrlIssuingDistributionPoint { distribution_point, scope: None };
        Arc::new(Crl::from_der(&root.crl_scoped(&[], days(-2), days(until), Some(scope))).unwrap())
    };
    let mut bench = Bench::new(&[&root]).revocation(Revocation::IfConfigured);
    let judge = |bench: &Bench, part| bench.judge(&[&leaf(part).der]);
    assert_eq!(judge(&bench, 1), Reason::TlsOk);
    let wanted = bench.trust.wanted(now()).remove(0);
    // It was fetched while it was current.
    let fetched = part(1, -1);
    bench.trust.replace_wanted_crl(&wanted, Arc::clone(&fetched), earlier(2 * DAY)).unwrap();
    assert_eq!((judge(&bench, 1), judge(&bench, 2)), (Reason::CrlExpired, Reason::TlsOk));
    // A certificate without a point is covered by no part.
    assert_eq!(bench.judge(&[&root.issue(&leaf_params(&[HOST])).der]), Reason::TlsOk);
    bench.trust.replace_wanted_crl(&wanted, part(1, 1), now()).unwrap();
    assert_eq!((judge(&bench, 1), judge(&bench, 2)), (Reason::TlsOk, Reason::TlsOk));

    // The program starts again, and reads the lists that it has kept.
    bench.trust.clear_crls(&RootsId::public());
    bench.trust.restore_fetched_crl(&RootsId::public(), part(1, 2), now()).unwrap();
    assert_eq!((judge(&bench, 1), judge(&bench, 2)), (Reason::TlsOk, Reason::TlsOk));

    // The rule hard wants one for each certificate.
    bench = bench.revocation(Revocation::Hard);
    assert_eq!((judge(&bench, 1), judge(&bench, 2)), (Reason::TlsOk, Reason::RevocationUnknown));

    // A list that an administrator loads is one that the rule asks for, also once it is replaced
    // by a fetched one.
    bench = bench.revocation(Revocation::IfConfigured);
    bench.trust.add_crl(&RootsId::public(), part(3, 1));
    assert_eq!((judge(&bench, 1), judge(&bench, 2)), (Reason::TlsOk, Reason::RevocationUnknown));
    judge(&bench, 3);
    let wanted = bench.trust.wanted(now());
    let wanted = wanted.iter().find(|list| urls(std::slice::from_ref(list))[0].contains("3.crl"));
    bench.trust.replace_wanted_crl(wanted.unwrap(), part(3, 2), now()).unwrap();
    assert_eq!((judge(&bench, 3), judge(&bench, 2)), (Reason::TlsOk, Reason::RevocationUnknown));
}

/// An attacker on the way of the fetch can repeat a list of last year, which is genuine.
/// Certificates that pass without a list must go on to pass.
#[test]
fn expired_list_is_refused_unless_it_replaces_one() {
    use std::sync::Arc;
    const URL: &str = "http://example.com/1.crl";
    let root = Authority::new("Root");
    let leaf = root.issue(&with_points(leaf_params(&[HOST]), &[URL]));
    let list = |from, until| {
        Arc::new(Crl::from_der(&root.crl_dated(&[], days(from), days(until))).unwrap())
    };
    let mut bench = Bench::new(&[&root]).revocation(Revocation::IfConfigured);
    assert_eq!(bench.judge(&[&leaf.der]), Reason::TlsOk);
    let wanted = bench.trust.wanted(now()).remove(0);
    let generation = bench.trust.generation();
    let refused = bench.trust.replace_wanted_crl(&wanted, list(-3, -1), now());
    assert_eq!(refused, Err(ReplaceError::Expired { next_update: earlier(DAY) }));
    let refused = bench.trust.restore_fetched_crl(&RootsId::public(), list(-3, 0), now());
    assert_eq!(
        refused.unwrap_err().to_string(),
        "the revocation list has expired already, at 2026-06-01T00:00:00Z"
    );
    assert_eq!((bench.trust.generation(), bench.judge(&[&leaf.der])), (generation, Reason::TlsOk));

    // An issuer that is late: its newer list is expired too, and is taken for what it revokes.
    bench.trust.replace_wanted_crl(&wanted, list(-3, -1), earlier(2 * DAY)).unwrap();
    let replaced = bench.trust.replace_wanted_crl(&wanted, list(-2, 0), now());
    assert_eq!(replaced, Ok(Replaced::Replaced));
    assert_eq!(bench.judge(&[&leaf.der]), Reason::CrlExpired);
}

/// A list that no chain has named for two weeks is not refreshed. When it expires, it must not make
/// the next certificate fail.
#[test]
fn expired_list_is_dropped_unless_it_is_wanted_or_an_administrator_loaded_it() {
    use std::sync::Arc;
    const URL: &str = "http://example.com/1.crl";
    let root = Authority::new("Root");
    let mut params = with_points(leaf_params(&[HOST]), &[URL]);
    params.not_after = days(100);
    let leaf = root.issue(&params);
    let list =
        |until| Arc::new(Crl::from_der(&root.crl_dated(&[], days(-1), days(until))).unwrap());
    let id = RootsId::public();
    let mut bench = Bench::new(&[&root]).revocation(Revocation::IfConfigured);
    assert_eq!(bench.judge(&[&leaf.der]), Reason::TlsOk);
    let wanted = bench.trust.wanted(now()).remove(0);
    bench.trust.replace_wanted_crl(&wanted, list(30), now()).unwrap();
    let (expiry, last) = (30 * DAY, WANTED_FOR.as_secs());
    assert!(!bench.trust.drop_expired_crls(later(expiry - 1)));
    assert!(bench.trust.wanted(later(last + 1)).is_empty());
    let generation = bench.trust.generation();
    assert!(!bench.trust.drop_expired_crls(later(expiry - 1)));
    assert_eq!(bench.trust.generation(), generation);
    assert!(bench.trust.drop_expired_crls(later(expiry)));
    assert_ne!(bench.trust.generation(), generation);
    assert_eq!((bench.trust.crls(&id).count(), bench.trust.list_sets()), (0, Vec::new()));

    // Wanted: the rule of the connector sees that it has expired.
    assert_eq!(bench.judge(&[&leaf.der]), Reason::TlsOk);
    bench.trust.replace_wanted_crl(&wanted, list(3), now()).unwrap();
    assert!(!bench.trust.drop_expired_crls(later(4 * DAY)));
    assert_eq!(bench.trust.crls(&id).count(), 1);

    // Of the administrator, also once a fetched one has replaced it.
    bench.trust.clear_crls(&id);
    bench.trust.replace_crl(&id, list(3)).unwrap();
    assert!(!bench.trust.drop_expired_crls(later(expiry)));
    let newer = Arc::new(Crl::from_der(&root.crl_dated(&[], days(0), days(4))).unwrap());
    bench.trust.replace_wanted_crl(&wanted, newer, now()).unwrap();
    assert!(!bench.trust.drop_expired_crls(later(expiry)));
    assert_eq!(bench.trust.crls(&id).count(), 1);
}

/// What is fetched and not wanted makes room for what is wanted, and nothing else does.
#[test]
fn room_is_made_by_unwanted_fetched_lists_that_expire_first() {
    use std::sync::Arc;
    let root = Authority::new("Root");
    let url = |number| format!("http://example.com/{number}.crl");
    let leaf = |number| {
        let mut params = with_points(leaf_params(&[HOST]), &[&url(number)]);
        params.not_after = days(100);
        root.issue(&params)
    };
    let id = RootsId::public();
    let mut bench = Bench::new(&[&root]).revocation(Revocation::IfConfigured);
    let list = |number, until| {
        let uris = vec![url(number)];
        let scope = rcgen::CrlIssuingDistributionPoint {
            distribution_point: rcgen::CrlDistributionPoint { uris },
            scope: None,
        };
        let list = root.crl_scoped(&[], days(-1), days(until), Some(scope));
        Arc::new(Crl::from_der(&list).unwrap())
    };
    // The list of each number expires on that day.
    for number in [30, 50, 40] {
        bench.judge(&[&leaf(number).der]);
        let wanted = bench.trust.wanted(now());
        let wanted = wanted.iter().find(|it| it.urls == [url(number)]).unwrap();
        bench.trust.replace_wanted_crl(wanted, list(number, number), now()).unwrap();
    }
    let all = bench.trust.fetched_crl_memory();
    bench.trust.replace_crl(&id, list(0, 20)).unwrap();
    assert_eq!(bench.trust.fetched_crl_memory(), all, "an administrator's list does not count");
    let loaded = |bench: &Bench| {
        let mut left: Vec<_> = bench.trust.crls(&id).map(|it| it.next_update()).collect();
        left.sort_unstable();
        left
    };
    let before = loaded(&bench);
    assert!(!bench.trust.drop_unwanted_crls(0, now()), "all are wanted");
    let unwanted = later(WANTED_FOR.as_secs() + 1);
    assert!(!bench.trust.drop_unwanted_crls(all, unwanted), "there is room");
    assert!(bench.trust.drop_unwanted_crls(all - 1, unwanted));
    assert_eq!(loaded(&bench), [before[0], before[2], before[3]]);
    assert!(bench.trust.drop_unwanted_crls(0, unwanted));
    assert_eq!(loaded(&bench), before[..1]);
    assert_eq!(bench.trust.fetched_crl_memory(), 0);
}

/// An authority has two keys under one name, and its old list names no distribution point.
#[test]
fn list_of_another_key_of_the_issuer_does_not_count_for_a_wanted_one() {
    use std::sync::Arc;
    const URL: &str = "http://example.com/new.crl";
    let root = Authority::new("Root");
    let (old, new) = (root.below("Issuer", |_| {}), root.below("Issuer", |_| {}));
    let leaf = |issuer: &Authority| issuer.issue(&with_points(leaf_params(&[HOST]), &[URL]));
    for rule in [Revocation::IfConfigured, Revocation::Hard] {
        let mut bench = Bench::new(&[&root]).crl(&root.crl(&[])).revocation(rule);
        let list = |issuer: &Authority| Arc::new(Crl::from_der(&issuer.crl(&[])).unwrap());
        bench.trust.restore_fetched_crl(&RootsId::public(), list(&old), now()).unwrap();
        let judged = bench.judge(&[&leaf(&new).der, &new.der]);
        let wanted = bench.trust.wanted(now()).remove(0);
        assert_eq!((&*wanted.urls, wanted.next_update), (&[URL.to_owned()][..], None));
        assert!(!bench.trust.has_current(&wanted, now()));
        match rule {
            Revocation::Hard => assert_eq!(judged, Reason::CrlInvalid),
            _ => assert_eq!(judged, Reason::TlsOk),
        }
        bench.trust.replace_wanted_crl(&wanted, list(&new), now()).unwrap();
        assert!(bench.trust.has_current(&wanted, now()));
        assert_eq!(bench.judge(&[&leaf(&new).der, &new.der]), Reason::TlsOk);
        assert_eq!(bench.judge(&[&leaf(&old).der, &old.der]), Reason::TlsOk);
    }
}

#[test]
fn list_that_cannot_be_fetched_or_is_not_needed_is_not_wanted() {
    let root = Authority::new("Root");
    let bench = Bench::new(&[&root]);
    let judge = |params: &rcgen::CertificateParams, rule| {
        let mut bench = Bench::new(&[]).revocation(rule);
        bench.trust = Bench::new(&[&root]).trust;
        assert_eq!(bench.judge(&[&root.issue(params).der]), Reason::TlsOk);
        bench.trust.wanted(now()).len()
    };
    let long = format!("http://example.com/{}", "a".repeat(1100));
    for uri in ["ldap://example.com/cn=x", "https://example.com/x", "http://a b/", &long] {
        let params = with_points(leaf_params(&[HOST]), &[uri]);
        assert_eq!(judge(&params, Revocation::Soft), 0, "{uri}");
    }
    let mut params = with_points(leaf_params(&[HOST]), &["http://example.com/7.crl"]);
    assert_eq!(judge(&params, Revocation::Soft), 1);
    assert_eq!(judge(&params, Revocation::Off), 0);
    (params.not_before, params.not_after) = (days(-3), days(3));
    assert_eq!(judge(&params, Revocation::IfConfigured), 0);
    assert!(bench.trust.wanted(now()).is_empty());
}

#[test]
fn list_is_forgotten_when_no_chain_names_it_any_more() {
    let root = Authority::new("Root");
    let mut params = with_points(leaf_params(&[HOST]), &["http://example.com/1.crl"]);
    params.not_after = days(100);
    let bench = Bench::new(&[&root]);
    // A copy of the trust has the same memory.
    let copy = bench.trust.clone();
    assert_eq!(bench.judge(&[&root.issue(&params).der]), Reason::TlsOk);
    let last = WANTED_FOR.as_secs();
    assert_eq!(copy.wanted(later(last)).len(), 1);
    assert!(copy.wanted(later(last + 1)).is_empty());
    assert!(bench.trust.wanted(now()).is_empty());
    assert_eq!(bench.judge(&[&root.issue(&params).der]), Reason::TlsOk);
    assert_eq!(copy.wanted(later(last)).len(), 1);
}

#[test]
fn wanted_lists_are_bounded() {
    let root = Authority::new("Root");
    let bench = Bench::new(&[&root]);
    let uris: Vec<String> = (0..400).map(|part| format!("http://example.com/{part}.crl")).collect();
    for chunk in 0..14 {
        let uris: Vec<String> = uris.iter().map(|uri| format!("{uri}?{chunk}")).collect();
        let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
        let params = with_points(leaf_params(&[HOST]), &uris);
        assert_eq!(bench.judge(&[&root.issue(&params).der]), Reason::TlsOk);
    }
    let count = bench.trust.wanted(now()).len();
    assert!(count <= MAX_WANTED_LISTS && count > MAX_WANTED_LISTS / 2, "{count}");
}
