//! Revocation lists as authorities write them: names in other encodings, old versions, and
//! certificates for which there is no list.

use super::*;

const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const TELETEX: u8 = 0x14;
const IA5: u8 = 0x16;
const UNIVERSAL: u8 = 0x1c;
const BMP: u8 = 0x1e;

/// The Common Name `Test CA` in each string type, in other case, and with other white space.
fn spellings() -> Vec<Vec<u8>> {
    let utf16: Vec<u8> = "Test CA".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let utf32: Vec<u8> = "Test CA".chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
    vec![
        name_of(UTF8, b"Test CA"),
        name_of(PRINTABLE, b"Test CA"),
        name_of(IA5, b"Test CA"),
        name_of(TELETEX, b"Test CA"),
        name_of(UNIVERSAL, &utf32),
        name_of(BMP, &utf16),
        name_of(UTF8, b"TEST CA"),
        name_of(PRINTABLE, b" test  ca "),
    ]
}

fn list_from(issuer: &[u8], authority: &Authority, serials: &[u8]) -> Vec<u8> {
    let entries: Vec<_> = serials.iter().map(|serial| entry(&[*serial], &[])).collect();
    let mut list = RawCrl::new().number(1).entries(&entries);
    list.issuer = Some(issuer.to_vec());
    list.signed_by(authority)
}

/// Case V01.
#[test]
fn list_with_its_issuer_in_another_string_type_revokes_and_clears() {
    let root = Authority::new("Test CA");
    let leaf = root.issue(&leaf_params(&[HOST]));
    for issuer in spellings() {
        for rule in [Revocation::Soft, Revocation::IfConfigured, Revocation::Hard] {
            let judge = |serials: &[u8]| {
                let list = list_from(&issuer, &root, serials);
                Bench::new(&[&root]).crl(&list).revocation(rule).judge(&[&leaf.der])
            };
            assert_eq!(judge(&[SERIAL]), Reason::CertRevoked, "{issuer:x?}");
            assert_eq!(judge(&[SERIAL + 1]), Reason::TlsOk, "{issuer:x?}");
        }
    }
    // Another name is another issuer.
    let list = list_from(&name_of(UTF8, b"Test CA 2"), &root, &[SERIAL]);
    assert_eq!(Bench::new(&[&root]).crl(&list).judge(&[&leaf.der]), Reason::TlsOk);
}

#[test]
fn list_in_another_string_type_replaces_its_predecessor() {
    let root = Authority::new("Test CA");
    let mut trust = Bench::new(&[&root]).trust;
    let id = RootsId::public();
    let mut replace =
        |list: &[u8]| trust.replace_crl(&id, std::sync::Arc::new(Crl::from_der(list).unwrap()));
    assert_eq!(replace(&list_from(&name_of(UTF8, b"Test CA"), &root, &[])), Ok(Replaced::Added));
    let newer = list_from(&name_of(PRINTABLE, b"Test CA"), &root, &[SERIAL]);
    assert_eq!(replace(&newer), Ok(Replaced::Replaced));
    let forged = list_from(&name_of(PRINTABLE, b"Test CA"), &Authority::new("Test CA"), &[]);
    assert_eq!(replace(&forged), Err(ReplaceError::Signature));
}

#[test]
fn list_of_an_issuer_that_no_certificate_has_is_reported() {
    let root = Authority::new("Root");
    let issuer = root.below("Issuer", |_| {});
    let leaf = issuer.issue(&leaf_params(&[HOST]));
    let bench = Bench::new(&[&root])
        .crl(&root.crl(&[]))
        .crl(&issuer.crl(&[]))
        .crl(&Authority::new("Stranger").crl(&[]));
    let unmatched = || {
        let lists = bench.trust.unmatched_lists(&RootsId::public());
        let mut names: Vec<_> =
            lists.map(|list| String::from_utf8_lossy(list.issuer()).into_owned()).collect();
        names.sort_unstable_by_key(|name| name.len());
        names
    };
    // The names end the names.
    let ends = |names: Vec<String>, wanted: &[&str]| {
        assert_eq!(names.len(), wanted.len(), "{names:?}");
        assert!(names.iter().zip(wanted).all(|(name, end)| name.ends_with(end)), "{names:?}");
    };
    ends(unmatched(), &["Issuer", "Stranger"]);
    assert_eq!(bench.judge(&[&leaf.der, &issuer.der]), Reason::TlsOk);
    ends(unmatched(), &["Stranger"]);
    assert_eq!(bench.trust.unmatched_lists(&RootsId::new("none")).count(), 0);
}

/// RFC 5280, section 7.4.
#[test]
fn list_for_a_distribution_point_in_another_spelling_covers_the_certificate() {
    let root = Authority::new("Root");
    let judge = |listed: &str, named: &str| {
        let scope = rcgen::CrlIssuingDistributionPoint {
            distribution_point: rcgen::CrlDistributionPoint { uris: vec![listed.to_owned()] },
            scope: None,
        };
        let list = root.crl_scoped(&[], days(-1), days(1), Some(scope));
        let mut params = leaf_params(&[HOST]);
        params.crl_distribution_points =
            vec![rcgen::CrlDistributionPoint { uris: vec![named.to_owned()] }];
        let bench = Bench::new(&[&root]).crl(&list).revocation(Revocation::Hard);
        bench.judge(&[&root.issue(&params).der])
    };
    let named = "http://crl.example.com/a/1%2F.crl";
    for listed in [
        "HTTP://CRL.example.COM/a/1%2f.crl",
        "http://crl.example.com:80/a/1%2F.crl",
        "http://crl.example.com/b/../a/./1%2F.crl",
        "http://crl.example.com/%61/1%2F%2ecrl",
    ] {
        assert_eq!(judge(listed, named), Reason::TlsOk, "{listed}");
    }
    for listed in ["http://crl.example.com/A/1%2F.crl", "http://crl.example.com/a/1/.crl"] {
        assert_eq!(judge(listed, named), Reason::RevocationUnknown, "{listed}");
    }
}

/// The same of a point that is a directory name.
#[test]
fn list_for_a_directory_name_in_another_string_type_covers_the_certificate() {
    let root = Authority::new("Root");
    let general = |name: Vec<u8>| tlv(0xa4, &name);
    let point = |name: Vec<u8>| tlv(0xa0, &tlv(0xa0, &general(name)));
    let idp = extension(28, true, &tlv(0x30, &point(name_of(PRINTABLE, b"Part 1"))));
    let list = RawCrl::new().number(1).with(&[idp]).signed_by(&root);
    for (name, reason) in [
        (name_of(UTF8, b"part 1"), Reason::TlsOk),
        (name_of(UTF8, b"Part 2"), Reason::RevocationUnknown),
    ] {
        let mut params = leaf_params(&[HOST]);
        params.custom_extensions.push(CustomExtension::from_oid_content(
            &[2, 5, 29, 31],
            tlv(0x30, &tlv(0x30, &point(name))),
        ));
        let bench = Bench::new(&[&root]).crl(&list);
        assert_eq!(bench.judge(&[&root.issue(&params).der]), reason);
    }
}

/// Case V02: what `openssl ca -gencrl` writes unless told otherwise.
#[test]
fn list_of_version_1_revokes_and_clears() {
    let root = Authority::new("Root");
    let leaf = root.issue(&leaf_params(&[HOST]));
    for version in [&[][..], &[2, 1, 1]] {
        let judge = |serials: &[u8]| {
            let entries: Vec<_> = serials.iter().map(|serial| entry(&[*serial], &[])).collect();
            let mut list = RawCrl::new().entries(&entries);
            list.version = version.to_vec();
            let bench = Bench::new(&[&root]).crl(&list.signed_by(&root));
            bench.revocation(Revocation::Hard).judge(&[&leaf.der])
        };
        assert_eq!(judge(&[SERIAL]), Reason::CertRevoked);
        assert_eq!(judge(&[SERIAL + 1]), Reason::TlsOk);
        assert_eq!(judge(&[]), Reason::TlsOk);
    }
}

/// Case V15.
#[test]
fn list_with_true_written_as_1_is_read() {
    let root = Authority::new("Root");
    let leaf = root.issue(&leaf_params(&[HOST]));
    let judge = |idp: Vec<u8>| {
        let list = RawCrl::new().number(1).with(&[idp]).signed_by(&root);
        Bench::new(&[&root]).crl(&list).judge(&[&leaf.der])
    };
    let value = |yes: u8| tlv(4, &tlv(0x30, &tlv(0x81, &[yes])));
    let idp = |critical: u8, yes: u8| {
        tlv(0x30, &[&[6, 3, 0x55, 0x1d, 28, 1, 1, critical][..], &value(yes)].concat())
    };
    assert_eq!(judge(idp(1, 1)), Reason::TlsOk);
    // Critical all the same, and for authorities only.
    let authorities = tlv(4, &tlv(0x30, &tlv(0x82, &[1])));
    let idp = tlv(0x30, &[&[6, 3, 0x55, 0x1d, 28, 1, 1, 1][..], &authorities].concat());
    assert_eq!(judge(idp), Reason::RevocationUnknown);
    let unknown = tlv(0x30, &[&[6, 3, 0x55, 0x1d, 99, 1, 1, 1][..], &tlv(4, &[5, 0])].concat());
    let list = RawCrl::new().number(1).with(&[unknown]).signed_by(&root);
    assert_eq!(Crl::from_der(&list).unwrap_err().kind, CrlErrorKind::CriticalExtension);
}

/// RFC 9608.
#[test]
fn certificate_with_no_rev_avail_needs_no_list() {
    let root = Authority::new("Root");
    let mut params = leaf_params(&[HOST]);
    params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 56], vec![5, 0]));
    needs_no_list(&root, &root.issue(&params).der);
}

#[test]
fn certificate_valid_for_seven_days_needs_no_list() {
    let root = Authority::new("Root");
    let mut params = leaf_params(&[HOST]);
    (params.not_before, params.not_after) = (days(-3), days(4));
    needs_no_list(&root, &root.issue(&params).der);
    // A second longer.
    params.not_after += time::Duration::seconds(1);
    let other = root.crl_dated(&[], days(-2), days(0));
    let bench = Bench::new(&[&root]).crl(&other);
    assert_eq!(bench.judge(&[&root.issue(&params).der]), Reason::CrlExpired);
}

/// Passes under every rule with no list, a stale one, one for other certificates, and one of
/// another key; fails if its issuer's list revokes it.
fn needs_no_list(root: &Authority, leaf: &CertificateDer<'static>) {
    for rule in [Revocation::Soft, Revocation::IfConfigured, Revocation::Hard] {
        let bench = || Bench::new(&[root]).revocation(rule);
        assert_eq!(bench().judge(&[leaf]), Reason::TlsOk, "{rule:?}");
        let scope = rcgen::CrlIssuingDistributionPoint {
            distribution_point: rcgen::CrlDistributionPoint {
                uris: vec!["http://example.com/1.crl".to_owned()],
            },
            scope: None,
        };
        for list in [
            root.crl_dated(&[], days(-2), days(0)),
            root.crl_scoped(&[], days(-1), days(1), Some(scope)),
            Authority::new("Root").crl(&[SERIAL]),
        ] {
            assert_eq!(bench().crl(&list).judge(&[leaf]), Reason::TlsOk, "{rule:?}");
        }
        let revoked = bench().crl(&root.crl(&[SERIAL])).judge(&[leaf]);
        assert_eq!(revoked, Reason::CertRevoked, "{rule:?}");
    }
}

/// The exception is for hosts: an authority needs its list.
#[test]
fn authority_with_no_rev_avail_needs_a_list() {
    let root = Authority::new("Root");
    let issuer = root.below("Issuer", |params| {
        let no_rev_avail = CustomExtension::from_oid_content(&[2, 5, 29, 56], vec![5, 0]);
        params.custom_extensions.push(no_rev_avail);
        (params.not_before, params.not_after) = (days(-3), days(3));
    });
    let leaf = issuer.issue(&leaf_params(&[HOST]));
    let bench = Bench::new(&[&root]).crl(&issuer.crl(&[])).revocation(Revocation::Hard);
    assert_eq!(bench.judge(&[&leaf.der, &issuer.der]), Reason::RevocationUnknown);
}
