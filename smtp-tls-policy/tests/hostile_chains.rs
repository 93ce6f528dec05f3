//! Chains and lists that are made to cost time: each is answered within budgets, on a small stack.

mod common;

use common::cost::{MAX_SIGNATURES, counting, ends, signatures};
use common::*;
use pki_types::CertificateDer;
use rcgen::{CustomExtension, GeneralSubtree, NameConstraints};
use smtp_tls_policy::pki::{Crl, Revocation, RootsId, Trust};
use smtp_tls_policy::plan::{Facts, HostOrigin, Plan, plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::{Host, Namespace, Reason, pki_types};

const HOST: &str = "mx.example.com";
/// What a thread has by default is 2 MiB; musl gives 128 KiB.
const SMALL_STACK: usize = 256 * 1024;

fn plan_with(revocation: Revocation) -> Plan {
    let mut connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Verified);
    connector.revocation = revocation;
    let host = Host::parse(HOST).unwrap();
    plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap()
}

fn trust(root: &Authority) -> Trust {
    let mut trust = counting(Trust::empty());
    trust.add_root_der(&RootsId::public(), &root.der).unwrap();
    trust
}

fn judge(plan: &Plan, trust: &Trust, chain: &[CertificateDer<'static>]) -> Reason {
    let (verdict, signatures) = std::thread::scope(|scope| {
        let judge = || signatures(|| plan.judge(chain, trust, now()));
        std::thread::Builder::new()
            .stack_size(SMALL_STACK)
            .spawn_scoped(scope, judge)
            .unwrap()
            .join()
            .unwrap()
    });
    assert!(signatures <= MAX_SIGNATURES, "{signatures}: {verdict}");
    verdict.reason()
}

/// A mesh of authorities that share a name and are each signed by a good root, and whose own lists
/// are all in the way.
#[test]
fn many_authorities_of_one_name_with_lists_along_the_way() {
    let root = Authority::new("Root");
    let mut trust = trust(&root);
    let twins: Vec<_> = (0..14).map(|_| root.below("Twin", |_| {})).collect();
    for _ in 0..8 {
        // Lists of that name by yet another key: each has to be tried with each key, and none of
        // them fits.
        trust.add_crl_der(&RootsId::public(), &Authority::new("Twin").crl(&[])).unwrap();
    }
    let leaf = twins[13].issue(&leaf_params(&[HOST])).der;
    let mut chain = vec![leaf];
    chain.extend(twins.iter().map(|twin| twin.der.clone()));
    for rule in [Revocation::IfConfigured, Revocation::Hard] {
        let reason = judge(&plan_with(rule), &trust, &chain);
        assert!([Reason::CrlInvalid, Reason::CertTooCostly].contains(&reason), "{reason}");
    }
    assert_eq!(judge(&plan_with(Revocation::Off), &trust, &chain), Reason::TlsOk);
}

/// The signatures of lists have a budget of their own.
#[test]
fn more_lists_than_one_check_may_verify() {
    let root = Authority::new("Root");
    let leaf = [root.issue(&leaf_params(&[HOST])).der];
    let of = |foreign: usize| {
        let mut trust = trust(&root);
        for _ in 0..foreign {
            trust.add_crl_der(&RootsId::public(), &Authority::new("Root").crl(&[])).unwrap();
        }
        trust.add_crl_der(&RootsId::public(), &root.crl(&[])).unwrap();
        trust
    };
    let plan = plan_with(Revocation::Hard);
    assert_eq!(judge(&plan, &of(15), &leaf), Reason::TlsOk);
    let trust = of(20);
    assert_eq!(judge(&plan, &trust, &leaf), Reason::CertTooCostly);
    // What was found out is remembered, so that the next one gets through.
    assert_eq!(judge(&plan, &trust, &leaf), Reason::TlsOk);
}

/// Every order of intermediates that all issued each other's names.
#[test]
fn authorities_that_lead_nowhere() {
    let root = Authority::new("Root");
    let stranger = Authority::new("Stranger");
    let twins: Vec<_> = (0..15).map(|_| stranger.below("Stranger", |_| {})).collect();
    let mut chain = vec![twins[0].issue(&leaf_params(&[HOST])).der];
    chain.extend(twins.iter().map(|twin| twin.der.clone()));
    let reason = judge(&plan_with(Revocation::Hard), &trust(&root), &chain);
    assert!([Reason::CertUnknownIssuer, Reason::CertTooCostly].contains(&reason), "{reason}");
}

#[test]
fn chains_that_are_too_long() {
    let root = Authority::new("Root");
    let leaf = root.issue(&leaf_params(&[HOST])).der;
    let plan = plan_with(Revocation::Hard);
    for length in [1_000, 100_000] {
        let chain = vec![leaf.clone(); length];
        assert_eq!(judge(&plan, &trust(&root), &chain), Reason::CertTooCostly);
    }
    let chain = [leaf, vec![0x30; 10 << 20].into()];
    assert_eq!(judge(&plan, &trust(&root), &chain), Reason::CertTooCostly);
    // The smallest certificates there are, thousands of them: all of one name, and no two of one
    // name.
    let tiny = |subject: &[u8], issuer: &[u8]| {
        let empty = tlv(0x30, &[]);
        let (subject, issuer) = (tlv(0x30, subject), tlv(0x30, issuer));
        let tbs =
            [tlv(2, &[1]), empty.clone(), issuer, empty.clone(), subject, empty.clone()].concat();
        CertificateDer::from(tlv(0x30, &[tlv(0x30, &tbs), empty, tlv(3, &[0])].concat()))
    };
    let same = vec![tiny(&[], &[]); 2_500];
    assert_eq!(judge(&plan, &trust(&root), &same), Reason::CertTooCostly);
    let other: Vec<_> =
        (0..2_000u16).map(|n| tiny(&n.to_be_bytes(), &(n + 1).to_be_bytes())).collect();
    assert_ne!(judge(&plan, &trust(&root), &other), Reason::TlsOk);
    // As deep as the path builder goes, and one deeper.
    let mut authorities = vec![Authority::new("Deep")];
    for depth in 0..12 {
        let next = authorities.last().unwrap().below(&format!("Deep {depth}"), |_| {});
        authorities.push(next);
    }
    let deep = |depth: usize| {
        let mut chain = vec![authorities[depth].issue(&leaf_params(&[HOST])).der];
        chain.extend(authorities[1..=depth].iter().rev().map(|authority| authority.der.clone()));
        judge(&plan_with(Revocation::Off), &trust(&authorities[0]), &chain)
    };
    assert_eq!(deep(6), Reason::TlsOk);
    for depth in 7..12 {
        assert!(
            [Reason::CertTooCostly, Reason::CertUnknownIssuer].contains(&deep(depth)),
            "{depth}"
        );
    }
}

/// As many names as there is room for, against as many constraints.
#[test]
fn huge_name_constraints_and_huge_alternative_names() {
    let root = Authority::new("Root");
    let subtrees = |count: usize| {
        (0..count).map(|n| GeneralSubtree::DnsName(format!("n{n}.example"))).collect()
    };
    for (permitted, excluded, names) in
        [(1_500, 0, 1_500), (0, 1_500, 1_500), (0, 0, 3_000), (700, 700, 1_500)]
    {
        let issuer = root.below("Issuer", |params| {
            if permitted + excluded > 0 {
                params.name_constraints = Some(NameConstraints {
                    permitted_subtrees: subtrees(permitted),
                    excluded_subtrees: subtrees(excluded),
                });
            }
        });
        let names: Vec<_> = (0..names).map(|n| format!("h.n{n}.example")).collect();
        let leaf =
            issuer.issue(&leaf_params(&names.iter().map(String::as_str).collect::<Vec<_>>())).der;
        let reason = judge(&plan_with(Revocation::Off), &trust(&root), &[leaf, issuer.der.clone()]);
        let expected =
            [Reason::CertNameMismatch, Reason::CertConstraintViolated, Reason::CertTooCostly];
        assert!(expected.contains(&reason), "{permitted} {excluded}: {reason}");

        // The Common Name, against the same constraints.
        let mut params = leaf_params(&[]);
        common_name(&mut params, HOST);
        let reason = judge(
            &plan_with(Revocation::Off),
            &trust(&root),
            &[issuer.issue(&params).der, issuer.der],
        );
        let expected = if permitted > 0 { Reason::CertConstraintViolated } else { Reason::TlsOk };
        assert_eq!(reason, expected, "{permitted} {excluded}");
    }
}

/// As many mailboxes in a subject as there is room for, against as many constraints.
#[test]
fn huge_name_constraints_and_a_huge_subject() {
    let root = Authority::new("Root");
    let issuer = root.below("Issuer", |params| {
        let permitted_subtrees =
            (0..1_500).map(|n| GeneralSubtree::Rfc822Name(format!("n{n}.example"))).collect();
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    });
    let mut params = leaf_params(&[]);
    common_name(&mut params, HOST);
    let plain = issuer.issue(&params).der;
    let (_, parsed) = x509_parser::parse_x509_certificate(&plain).unwrap();
    let tbs = parsed.tbs_certificate.as_ref();
    let subject = parsed.subject().as_raw();
    let at = subject.as_ptr() as usize - tbs.as_ptr() as usize;
    let (_, before) = tbs.split_at(if tbs[1] == 0x82 { 4 } else { 3 });
    let (before, behind) = (&before[..at - (tbs.len() - before.len())], &tbs[at + subject.len()..]);
    let email =
        [&b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01"[..], &tlv(0x16, b"a@n1499.example")]
            .concat();
    for (count, expected) in [(100, Reason::TlsOk), (1_000, Reason::CertConstraintViolated)] {
        let names = [&subject[2..], &tlv(0x31, &tlv(0x30, &email)).repeat(count)].concat();
        let tbs = tlv(0x30, &[before, &tlv(0x30, &names), behind].concat());
        let leaf = certificate_of(&tbs, issuer.issuer.key());
        let reason = judge(&plan_with(Revocation::Off), &trust(&root), &[leaf, issuer.der.clone()]);
        assert_eq!(reason, expected, "{count}");
    }
}

/// `SEQUENCE { SEQUENCE { ... } }`, as deep as it fits.
fn nested(tag: u8, octets: usize) -> Vec<u8> {
    let mut headers = Vec::new();
    let mut length = 0usize;
    while length < octets {
        let header = match length {
            0..=0x7f => vec![tag, length as u8],
            0x80..=0xff => vec![tag, 0x81, length as u8],
            _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
        };
        length += header.len();
        headers.push(header);
    }
    headers.into_iter().rev().flatten().collect()
}

/// In every extension that anybody parses, and in the names.
#[test]
fn deep_nesting() {
    let root = Authority::new("Root");
    let plans = [plan_with(Revocation::Hard), plan_with(Revocation::Off)];
    let mut trust = trust(&root);
    let point = rcgen::CrlIssuingDistributionPoint {
        distribution_point: rcgen::CrlDistributionPoint {
            uris: vec!["http://example.com/".to_owned()],
        },
        scope: None,
    };
    trust
        .add_crl_der(&RootsId::public(), &root.crl_scoped(&[], days(-1), days(1), Some(point)))
        .unwrap();
    for tag in [0x30, 0x31, 0xa0, 0xa4, 0x24] {
        for id in [14u64, 15, 17, 18, 19, 29, 30, 31, 32, 33, 35, 36, 37, 46, 54] {
            let mut params = leaf_params(&[]);
            params
                .custom_extensions
                .push(CustomExtension::from_oid_content(&[2, 5, 29, id], nested(tag, 30_000)));
            let leaf = root.issue(&params).der;
            for plan in &plans {
                assert_ne!(
                    judge(plan, &trust, std::slice::from_ref(&leaf)),
                    Reason::TlsOk,
                    "{tag:#x} {id}"
                );
            }
        }
        let deep = CertificateDer::from(nested(tag, 60_000));
        assert_ne!(judge(&plans[0], &trust, std::slice::from_ref(&deep)), Reason::TlsOk);
        assert!(Crl::from_der(&nested(tag, 60_000)).is_err());
        let mut list = RawCrl::new().with(&[extension(28, true, &nested(tag, 30_000))]);
        assert!(Crl::from_der(&list.signed_by(&root)).is_err());
        list = RawCrl::new().number(1);
        list.entries = nested(tag, 60_000);
        assert!(Crl::from_der(&list.signed_by(&root)).is_err());
    }
}

/// A list is read in linear time, whatever its contents.
#[test]
fn list_of_millions_of_small_extensions_is_read() {
    let root = Authority::new("Root");
    let pointless = extension(99, false, &[5, 0]);
    let of_list = RawCrl::new().number(1).with(&vec![pointless.clone(); 2_000_000]);
    let entries = vec![entry(&[1], &vec![pointless; 2_000_000])];
    for list in [of_list, RawCrl::new().number(1).entries(&entries)] {
        let der = list.signed_by(&root);
        assert!(ends("small extensions", move || Crl::from_der(&der).is_ok()));
    }
}
