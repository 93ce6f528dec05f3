//! Revocation lists: what is read from them, and why one is refused, and where.

mod common;

use common::*;
use proptest::prelude::*;
use smtp_tls_policy::pki::CrlErrorKind as Kind;
use smtp_tls_policy::pki::{Crl, ListStatus, Revocation, RootsId, Trust};
use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::{Host, Namespace, Reason, pki_types};

fn root() -> Authority {
    Authority::new("Root")
}

/// issuingDistributionPoint, critical as it must be.
fn point(fields: &[Vec<u8>]) -> Vec<u8> {
    extension(28, true, &tlv(0x30, &fields.concat()))
}

/// `distributionPoint: fullName: uniformResourceIdentifier`
fn full_name(uri: &str) -> Vec<u8> {
    tlv(0xa0, &tlv(0xa0, &tlv(0x86, uri.as_bytes())))
}

const YES: &[u8] = &[0xff];

#[test]
fn what_a_list_says() {
    let root = root();
    let number = extension(20, false, &tlv(2, &[0x01, 0x00]));
    let crl = RawCrl::new()
        .with(&[number])
        .entries(&[entry(&[1], &[]), entry(&[0x00, 0x80], &[])])
        .signed_by(&root);
    let crl = Crl::from_der(&crl).unwrap();
    assert_eq!((crl.len(), crl.is_empty()), (2, false));
    assert_eq!(crl.number(), Some(&[0x01, 0x00][..]));
    assert_eq!(crl.this_update().as_secs(), NOW - 24 * 3600);
    assert_eq!(crl.next_update().as_secs(), NOW + 24 * 3600);
    assert!(crl.lists(&[1]) && crl.lists(&[0x00, 0x80]));
    assert!(!crl.lists(&[2]) && !crl.lists(&[]));
    let (_, certificate) = x509_parser::parse_x509_certificate(&root.der).unwrap();
    assert!(certificate.subject().as_raw().ends_with(crl.issuer()));

    let crl = Crl::from_der(&RawCrl::new().number(0).signed_by(&root)).unwrap();
    assert!(crl.is_empty() && !crl.lists(&[0]));
    assert_eq!(crl.number(), Some(&[0x00][..]));
}

#[test]
fn serial_numbers_are_integers() {
    let root = root();
    // A leading octet that only repeats the sign is no other number; one that gives the sign is.
    for (listed, shown, same) in [
        (&[0x00, 0x2a][..], &[0x2a][..], true),
        (&[0x2a], &[0x00, 0x00, 0x2a], true),
        (&[0x00, 0xff], &[0xff], false),
        (&[0xff], &[0x00, 0xff], false),
        (&[0xff, 0xff], &[0xff], true),
        (&[0x2a], &[0x2a, 0x00], false),
    ] {
        let crl = RawCrl::new().number(1).entries(&[entry(listed, &[])]).signed_by(&root);
        assert_eq!(Crl::from_der(&crl).unwrap().lists(shown), same, "{listed:?} {shown:?}");
    }
}

/// RFC 5280, sections 5.3.1 and 6.3.3, (k). Every other reason revokes, and so does a second entry.
#[test]
fn entry_with_reason_remove_from_crl_revokes_nothing() {
    let root = root();
    let reason = |code: u8| extension(21, false, &tlv(0x0a, &[code]));
    let invalid_later = extension(24, false, &tlv(0x18, b"20300101000000Z"));
    for code in [0, 1, 2, 3, 4, 5, 6, 8, 9, 10] {
        let one = entry(&[1], &[reason(code), invalid_later.clone()]);
        let crl = RawCrl::new().entries(std::slice::from_ref(&one)).signed_by(&root);
        let crl = Crl::from_der(&crl).unwrap();
        assert_eq!((crl.lists(&[1]), crl.is_empty()), (code != 8, code == 8), "{code}");
        let crl = RawCrl::new().entries(&[one, entry(&[1], &[])]).signed_by(&root);
        assert!(Crl::from_der(&crl).unwrap().lists(&[1]), "{code}");
    }
    // The position of a fault counts every entry.
    let crl = RawCrl::new().entries(&[entry(&[1], &[reason(8)]), entry(&[], &[])]);
    let error = Crl::from_der(&crl.signed_by(&root)).unwrap_err();
    assert_eq!(error.field().to_string(), "revoked certificate 2");
}

#[test]
fn lists_that_are_refused_and_why_and_where() {
    let root = root();
    let good = || RawCrl::new().number(1).entries(&[entry(&[1], &[]), entry(&[2], &[])]);
    let unknown = |critical| extension(99, critical, &[5, 0]);
    assert!(Crl::from_der(&good().with(&[unknown(false)]).signed_by(&root)).is_ok());
    assert!(
        Crl::from_der(&good().entries(&[entry(&[1], &[unknown(false)])]).signed_by(&root)).is_ok()
    );

    let mut v1_with_extensions = good();
    v1_with_extensions.version = Vec::new();
    let mut v3 = good();
    v3.version = vec![2, 1, 2];
    let mut no_next = good();
    no_next.next_update = Vec::new();
    let mut bad_date = good();
    bad_date.this_update = tlv(0x17, b"260532000000Z");
    let mut bad_next = good();
    bad_next.next_update = tlv(0x18, b"20260602000000.5Z");
    let with = |extensions: &[Vec<u8>]| good().with(extensions);
    let reason = |code: u8| extension(21, false, &tlv(0x0a, &[code]));
    let cases = [
        ("version 1 with extensions", v1_with_extensions, Kind::Version, "crlExtensions"),
        ("version 3", v3, Kind::Version, "version"),
        ("no nextUpdate", no_next, Kind::Missing, "nextUpdate"),
        ("a date that is none", bad_date, Kind::Malformed, "thisUpdate"),
        ("a date with fractions", bad_next, Kind::Malformed, "nextUpdate"),
        ("delta", with(&[extension(27, true, &tlv(2, &[1]))]), Kind::Delta, "deltaCRLIndicator"),
        ("indirect", with(&[point(&[tlv(0x84, YES)])]), Kind::Indirect, "issuingDistributionPoint"),
        (
            "indirect, by its second entry",
            good().entries(&[
                entry(&[1], &[reason(1)]),
                entry(&[2], &[extension(29, true, &tlv(0x30, &[]))]),
            ]),
            Kind::Indirect,
            "revoked certificate 2",
        ),
        (
            "partitioned by reasons",
            with(&[point(&[full_name("http://example.com/1.crl"), tlv(0x83, &[1, 0x60])])]),
            Kind::PartitionedByReason,
            "issuingDistributionPoint",
        ),
        (
            "for attribute certificates",
            with(&[point(&[tlv(0x85, YES)])]),
            Kind::AttributeCertificates,
            "issuingDistributionPoint",
        ),
        (
            "a relative name",
            with(&[point(&[tlv(0xa0, &tlv(0xa1, &[]))])]),
            Kind::RelativeName,
            "issuingDistributionPoint",
        ),
        (
            "a name that is none",
            with(&[point(&[tlv(0xa0, &tlv(0xa0, &[]))])]),
            Kind::Malformed,
            "issuingDistributionPoint",
        ),
        (
            "fields in disorder",
            with(&[point(&[tlv(0x82, YES), tlv(0x81, YES)])]),
            Kind::Malformed,
            "issuingDistributionPoint",
        ),
        (
            "a BOOLEAN that is none",
            with(&[point(&[tlv(0x81, &[1, 1])])]),
            Kind::Malformed,
            "issuingDistributionPoint",
        ),
        (
            "an unknown critical extension",
            with(&[unknown(true)]),
            Kind::CriticalExtension,
            "extension 2",
        ),
        (
            "the same of an entry",
            good().entries(&[entry(&[1], &[]), entry(&[2], &[reason(1), unknown(true)])]),
            Kind::CriticalExtension,
            "revoked certificate 2",
        ),
        (
            "two reasons in an entry",
            good().entries(&[entry(&[1], &[reason(1), reason(8)])]),
            Kind::Malformed,
            "revoked certificate 1",
        ),
        ("two numbers", good().number(2), Kind::Malformed, "cRLNumber"),
        ("a negative number", RawCrl::new().number(0x80), Kind::Malformed, "cRLNumber"),
        (
            "a number of 21 octets",
            RawCrl::new().with(&[extension(20, false, &tlv(2, &[1; 21]))]),
            Kind::Malformed,
            "cRLNumber",
        ),
        (
            "an entry without a date",
            good().entries(&[entry(&[1], &[]), tlv(0x30, &tlv(2, &[2]))]),
            Kind::Malformed,
            "revoked certificate 2",
        ),
        (
            "an entry without a number",
            good().entries(&[entry(&[], &[])]),
            Kind::Malformed,
            "revoked certificate 1",
        ),
    ];
    for (name, crl, kind, field) in cases {
        let der = crl.signed_by(&root);
        let error = Crl::from_der(&der).unwrap_err();
        assert_eq!((error.kind, &*error.field().to_string()), (kind, field), "{name}: {error}");
        assert!(0 < error.offset && error.offset < der.len(), "{name}: {error}");
        // As the trust store says it.
        let mut trust = Trust::empty();
        assert_eq!(trust.add_crl_der(&RootsId::public(), &der), Err(error), "{name}");
    }
}

#[test]
fn the_offset_is_that_of_the_fault() {
    let delta = extension(27, true, &tlv(2, &[1]));
    let der = RawCrl::new().number(1).with(std::slice::from_ref(&delta)).signed_by(&root());
    let error = Crl::from_der(&der).unwrap_err();
    assert!(der[error.offset..].starts_with(&delta));
    assert_eq!(
        error.to_string(),
        format!(
            "delta revocation lists are not supported (deltaCRLIndicator, octet {})",
            error.offset
        )
    );
    let error = Crl::from_der(b"").unwrap_err();
    assert_eq!(error.to_string(), "the revocation list is malformed (list, octet 0)");
}

/// onlyContainsUserCerts and onlyContainsCACerts need no distribution point (RFC 5280, section
/// 5.2.5), and its name need not be a URI.
#[test]
fn scopes_without_a_uri() {
    let root = root();
    let directory = tlv(0xa4, &tlv(0x30, &[]));
    let leaf = |points: Option<&[u8]>| {
        let mut params = leaf_params(&["mx.example.com"]);
        if let Some(name) = points {
            let points = tlv(0x30, &tlv(0x30, &tlv(0xa0, &tlv(0xa0, name))));
            params
                .custom_extensions
                .push(rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 31], points));
        }
        root.issue(&params).der
    };
    let judge = |point: Vec<u8>, leaf: pki_types::CertificateDer<'static>| {
        let mut trust = Trust::empty();
        trust.add_root_der(&RootsId::public(), &root.der).unwrap();
        let crl = RawCrl::new().with(&[point]).entries(&[entry(&[SERIAL], &[])]).signed_by(&root);
        trust.add_crl_der(&RootsId::public(), &crl).unwrap();
        let mut connector =
            OutboundConnector::new("c", vec![Namespace::Default], Posture::Verified);
        connector.revocation = Revocation::Hard;
        let host = Host::parse("mx.example.com").unwrap();
        let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap();
        plan.judge(&[leaf], &trust, now()).reason()
    };
    assert_eq!(judge(point(&[tlv(0x81, YES)]), leaf(None)), Reason::CertRevoked);
    assert_eq!(judge(point(&[tlv(0x82, YES)]), leaf(None)), Reason::RevocationUnknown);
    let named = point(&[tlv(0xa0, &tlv(0xa0, &directory))]);
    assert_eq!(judge(named.clone(), leaf(Some(&directory))), Reason::CertRevoked);
    assert_eq!(
        judge(named, leaf(Some(&tlv(0x86, b"http://example.com/")))),
        Reason::RevocationUnknown
    );
}

/// What is shown to people of each certificate of a chain.
#[test]
fn state_of_the_list_of_each_certificate_of_a_chain() {
    let (root, namesake) = (root(), root());
    let below = root.below("Below", |_| {});
    let leaf = below.issue(&leaf_params(&["mx.example.com"])).der;
    let chain = [leaf, below.der.clone(), root.der.clone()];
    let public = RootsId::public();
    let status = |lists: &[Vec<u8>]| {
        let mut trust = Trust::empty();
        trust.add_root_der(&public, &root.der).unwrap();
        lists.iter().for_each(|list| trust.add_crl_der(&public, list).unwrap());
        let all = trust.list_status(&public, &chain, now());
        all.iter().map(|it| it.code()).collect::<Vec<_>>()
    };
    let old = |serials: &[u8]| below.crl_dated(serials, days(-9), days(-1));
    for (lists, wanted) in [
        (vec![], ["not-loaded", "not-loaded", "not-needed"]),
        (vec![below.crl(&[7])], ["good", "not-loaded", "not-needed"]),
        (vec![below.crl(&[SERIAL]), root.crl(&[])], ["revoked", "good", "not-needed"]),
        (vec![old(&[]), root.crl(&[])], ["expired", "good", "not-needed"]),
        // A revocation outlives the list.
        (vec![old(&[SERIAL]), below.crl(&[])], ["revoked", "not-loaded", "not-needed"]),
        (vec![old(&[]), below.crl(&[])], ["good", "not-loaded", "not-needed"]),
        // Of the same name, with another key.
        (vec![namesake.crl(&[])], ["not-loaded", "not-signed", "not-needed"]),
    ] {
        assert_eq!(status(&lists), wanted);
    }
    let mut brief = leaf_params(&["mx.example.com"]);
    (brief.not_before, brief.not_after) = (days(-1), days(1));
    let brief = [root.issue(&brief).der];
    let mut trust = Trust::empty();
    assert_eq!(trust.list_status(&public, &brief, now()), [ListStatus::NotNeeded]);
    trust.add_root_der(&public, &root.der).unwrap();
    trust.add_crl_der(&public, &root.crl(&[SERIAL])).unwrap();
    assert_eq!(trust.list_status(&public, &brief, now()), [ListStatus::Revoked]);
    let broken = [pki_types::CertificateDer::from(vec![0x30, 0])];
    assert_eq!(trust.list_status(&public, &broken, now()), [ListStatus::NotLoaded]);
}

#[test]
fn a_long_list() {
    let root = root();
    let count = 100_000u32;
    let entries: Vec<_> =
        (0..count).map(|n| entry(&[&[1][..], &n.to_be_bytes()].concat(), &[])).collect();
    let crl = Crl::from_der(&RawCrl::new().number(1).entries(&entries).signed_by(&root)).unwrap();
    assert_eq!(crl.len(), count as usize);
    for n in (0..count).step_by(97) {
        assert!(crl.lists(&[&[1][..], &n.to_be_bytes()].concat()));
        assert!(!crl.lists(&[&[2][..], &n.to_be_bytes()].concat()));
    }
}

proptest! {
    /// Against a set.
    #[test]
    fn exactly_what_is_listed_is_found(
        listed in proptest::collection::btree_set(1u8..120, 0..40),
        asked in 1u8..120,
    ) {
        let entries: Vec<_> = listed.iter().map(|n| entry(&[*n], &[])).collect();
        let crl = Crl::from_der(&RawCrl::new().number(1).entries(&entries).signed_by(&root())).unwrap();
        prop_assert_eq!(crl.lists(&[asked]), listed.contains(&asked));
        prop_assert_eq!(crl.len(), listed.len());
    }

    /// A list that is cut or damaged anywhere gives an error that points into it, or is read.
    #[test]
    fn damage_is_located(damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut: prop::sample::Index) {
        let der = RawCrl::new().number(1).entries(&[entry(&[1], &[]), entry(&[2], &[])]).signed_by(&root());
        let at = cut.index(der.len());
        prop_assert_eq!(Crl::from_der(&der[..at]).unwrap_err().kind, Kind::Malformed);
        let mut damaged = der.clone();
        for (index, byte) in damage {
            damaged[index.index(der.len())] = byte;
        }
        if let Err(error) = Crl::from_der(&damaged) {
            prop_assert!(error.offset <= damaged.len());
        }
    }
}
