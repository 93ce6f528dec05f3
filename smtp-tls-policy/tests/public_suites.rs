//! The classes of cases that the public suites (x509-limbo, BetterTLS, PKITS) are made of, with
//! certificates made here: what is right on the few of their rows that a clone may have beside it
//! must be right on the rest.

mod common;

use common::*;
use pki_types::{CertificateDer, UnixTime};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CustomExtension, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints, SanType,
};
use smtp_tls_policy::pki::{CnFallback, RootsId, Trust};
use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::{Host, Namespace, Reason, pki_types};

const HOST: &str = "mx.example.com";

/// Root, issuer below it, leaf below that; each can be changed.
struct Chain {
    host: &'static str,
    root: fn(&mut CertificateParams),
    issuer: fn(&mut CertificateParams),
    leaf: fn(&mut CertificateParams),
    names: &'static [&'static str],
    /// Seconds after the usual time of judgement.
    later: i64,
}

const PLAIN: Chain =
    Chain { host: HOST, root: |_| {}, issuer: |_| {}, leaf: |_| {}, names: &[HOST], later: 0 };

fn authority(name: &str, change: fn(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (days(-100), days(100));
    change(&mut params);
    params
}

impl Chain {
    fn judge(&self) -> Reason {
        let root = Authority::with(authority("Root", self.root));
        let issuer = root.below("Issuer", self.issuer);
        let mut params = leaf_params(self.names);
        (self.leaf)(&mut params);
        let leaf = issuer.issue(&params);
        judge(self.host, &[leaf.der, issuer.der], &[&root.der], self.later)
    }
}

fn judge(
    host: &str,
    chain: &[CertificateDer<'static>],
    roots: &[&CertificateDer<'static>],
    later: i64,
) -> Reason {
    let mut trust = Trust::empty();
    for root in roots {
        trust.add_root_der(&RootsId::public(), root).unwrap();
    }
    let mut connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Verified);
    connector.cn = CnFallback::Never;
    let host = Host::parse(host).unwrap();
    let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(
        NOW.checked_add_signed(later).unwrap(),
    ));
    plan.judge(chain, &trust, now).reason()
}

/// Holds each chain to its verdict.
fn all(cases: &[(&str, Chain, Reason)]) {
    for (what, chain, reason) in cases {
        assert_eq!(chain.judge(), *reason, "{what}");
    }
}

fn dns(text: &'static str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

use Reason::{
    CertConstraintViolated, CertExpired, CertMalformed, CertNameMismatch, CertNotYetValid,
    CertUnsupported, CertWrongPurpose, TlsOk,
};

/// webpki::san, bettertls: names.
#[test]
fn names() {
    let cases: &[(&str, &[&str], &str, Reason)] = &[
        ("exact", &["mx.example.com"], "mx.example.com", TlsOk),
        ("case", &["MX.Example.COM"], "mx.example.com", TlsOk),
        ("the second of two", &["a.example.org", "mx.example.com"], "mx.example.com", TlsOk),
        ("another", &["mx.example.org"], "mx.example.com", CertNameMismatch),
        ("a name above", &["example.com"], "mx.example.com", CertNameMismatch),
        ("a name below", &["a.mx.example.com"], "mx.example.com", CertNameMismatch),
        ("a suffix without its dot", &["x.example.com"], "mx.example.com", CertNameMismatch),
        ("wildcard", &["*.example.com"], "mx.example.com", TlsOk),
        ("wildcard for the name above", &["*.example.com"], "example.com", CertNameMismatch),
        ("wildcard across labels", &["*.example.com"], "a.b.example.com", CertNameMismatch),
        ("wildcard not left-most", &["mx.*.com"], "mx.example.com", CertNameMismatch),
        ("wildcard within a label", &["m*.example.com"], "mx.example.com", CertNameMismatch),
        ("wildcard at the end of a label", &["*x.example.com"], "mx.example.com", CertNameMismatch),
        (
            "wildcard within an A-label",
            &["xn--*-1b3c148a.example.com"],
            "xn--bliss-1b3c148a.example.com",
            CertNameMismatch,
        ),
        ("two wildcards", &["*.*.com"], "mx.example.com", CertNameMismatch),
        ("wildcard alone", &["*"], "localhost", CertNameMismatch),
        ("wildcard for a registry", &["*.com"], "example.com", CertNameMismatch),
        ("A-label", &["xn--bcher-kva.example.com"], "xn--bcher-kva.example.com", TlsOk),
        ("A-label for a U-label", &["xn--bcher-kva.example.com"], "b\u{fc}cher.example.com", TlsOk),
        ("address", &["192.0.2.1"], "192.0.2.1", TlsOk),
        ("another address", &["192.0.2.2"], "192.0.2.1", CertNameMismatch),
        ("address of version 6", &["2001:db8::1"], "[IPv6:2001:DB8:0::1]", TlsOk),
        ("another of version 6", &["2001:db8::2"], "2001:db8::1", CertNameMismatch),
        ("an address mapped into version 6", &["::ffff:192.0.2.1"], "192.0.2.1", CertNameMismatch),
        ("a name for an address", &["mx.example.com"], "192.0.2.1", CertNameMismatch),
        ("an address for a name", &["192.0.2.1"], "mx.example.com", CertNameMismatch),
        ("underscore", &["a_b.example.com"], "a_b.example.com", TlsOk),
    ];
    for (what, names, host, reason) in cases {
        let chain = Chain { host, names, ..PLAIN };
        assert_eq!(chain.judge(), *reason, "{what}");
    }
    all(&[
        // rfc5280::san::ip-in-dns
        (
            "an address as a DNS name",
            Chain {
                host: "192.0.2.1",
                leaf: |params| params.subject_alt_names = vec![dns("192.0.2.1")],
                ..PLAIN
            },
            CertNameMismatch,
        ),
        ("no names", Chain { names: &[], ..PLAIN }, CertNameMismatch),
        // webpki::cn: only a SAN counts.
        (
            "Common Name",
            Chain { names: &[], leaf: |params| common_name(params, HOST), ..PLAIN },
            CertNameMismatch,
        ),
        // rfc5280::san::noncritical-with-empty-subject is for the issuer to keep; critical, it is
        // in order.
        (
            "empty subject",
            Chain {
                leaf: |params| params.distinguished_name = rcgen::DistinguishedName::new(),
                ..PLAIN
            },
            TlsOk,
        ),
        // Of SANs that cannot be read none matches.
        (
            "a SAN that is no name",
            Chain {
                names: &[],
                leaf: |params| {
                    let garbage = tlv(0x30, &tlv(0x82, b"mx.ex\xc3\xa4mple.com"));
                    params
                        .custom_extensions
                        .push(CustomExtension::from_oid_content(&[2, 5, 29, 17], garbage));
                },
                ..PLAIN
            },
            CertNameMismatch,
        ),
    ]);
}

/// rfc5280::nc, bettertls::nameconstraints.
#[test]
fn name_constraints() {
    fn permits(subtrees: Vec<GeneralSubtree>) -> Option<NameConstraints> {
        Some(NameConstraints { permitted_subtrees: subtrees, excluded_subtrees: vec![] })
    }
    fn excludes(subtrees: Vec<GeneralSubtree>) -> Option<NameConstraints> {
        Some(NameConstraints { permitted_subtrees: vec![], excluded_subtrees: subtrees })
    }
    fn name(text: &str) -> GeneralSubtree {
        GeneralSubtree::DnsName(text.into())
    }
    fn net(text: &str, mask: u8) -> GeneralSubtree {
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(text.parse().unwrap(), mask))
    }
    let address = Chain { host: "192.0.2.1", names: &["192.0.2.1"], ..PLAIN };
    all(&[
        (
            "permitted",
            Chain { issuer: |p| p.name_constraints = permits(vec![name("example.com")]), ..PLAIN },
            TlsOk,
        ),
        (
            "permitted by the root",
            Chain { root: |p| p.name_constraints = permits(vec![name("example.com")]), ..PLAIN },
            TlsOk,
        ),
        (
            "permitted exactly",
            Chain {
                issuer: |p| p.name_constraints = permits(vec![name("mx.example.com")]),
                ..PLAIN
            },
            TlsOk,
        ),
        (
            "one of two permitted",
            Chain {
                issuer: |p| {
                    p.name_constraints = permits(vec![name("example.org"), name("example.com")])
                },
                ..PLAIN
            },
            TlsOk,
        ),
        (
            "not permitted",
            Chain { issuer: |p| p.name_constraints = permits(vec![name("example.org")]), ..PLAIN },
            CertConstraintViolated,
        ),
        (
            "not permitted by the root",
            Chain { root: |p| p.name_constraints = permits(vec![name("example.org")]), ..PLAIN },
            CertConstraintViolated,
        ),
        (
            "a suffix that is no parent",
            Chain { issuer: |p| p.name_constraints = permits(vec![name("ample.com")]), ..PLAIN },
            CertConstraintViolated,
        ),
        (
            "excluded",
            Chain { issuer: |p| p.name_constraints = excludes(vec![name("example.com")]), ..PLAIN },
            CertConstraintViolated,
        ),
        (
            "excluded below",
            Chain {
                issuer: |p| p.name_constraints = excludes(vec![name("a.mx.example.com")]),
                ..PLAIN
            },
            TlsOk,
        ),
        (
            "every name excluded",
            Chain { issuer: |p| p.name_constraints = excludes(vec![name("")]), ..PLAIN },
            CertConstraintViolated,
        ),
        (
            "excluded though permitted",
            Chain {
                issuer: |p| {
                    p.name_constraints = Some(NameConstraints {
                        permitted_subtrees: vec![name("example.com")],
                        excluded_subtrees: vec![name("mx.example.com")],
                    });
                },
                ..PLAIN
            },
            CertConstraintViolated,
        ),
        (
            "permitted by one authority and not by the other",
            Chain {
                root: |p| p.name_constraints = permits(vec![name("example.com")]),
                issuer: |p| p.name_constraints = permits(vec![name("example.org")]),
                ..PLAIN
            },
            CertConstraintViolated,
        ),
        // Every name of the certificate counts, wanted or not.
        (
            "another name is not permitted",
            Chain {
                names: &[HOST, "mx.example.org"],
                issuer: |p| p.name_constraints = permits(vec![name("example.com")]),
                ..PLAIN
            },
            CertConstraintViolated,
        ),
        (
            "a wildcard reaches an excluded name",
            Chain {
                names: &["*.example.com"],
                issuer: |p| p.name_constraints = excludes(vec![name("mx.example.com")]),
                ..PLAIN
            },
            CertConstraintViolated,
        ),
        (
            "a wildcard within what is permitted",
            Chain {
                names: &["*.example.com"],
                issuer: |p| p.name_constraints = permits(vec![name("example.com")]),
                ..PLAIN
            },
            TlsOk,
        ),
        // RFC 5280, section 4.2.1.10: no constraint of one kind binds names of another.
        (
            "a net for a name",
            Chain { issuer: |p| p.name_constraints = permits(vec![net("10.0.0.0", 8)]), ..PLAIN },
            TlsOk,
        ),
        (
            "a name for an address",
            Chain {
                issuer: |p| p.name_constraints = permits(vec![name("example.com")]),
                ..address
            },
            TlsOk,
        ),
    ]);
    let within = |issuer: fn(&mut CertificateParams)| Chain {
        issuer,
        host: "192.0.2.1",
        names: &["192.0.2.1"],
        ..PLAIN
    };
    let six = |issuer: fn(&mut CertificateParams)| Chain {
        issuer,
        host: "2001:db8::1",
        names: &["2001:db8::1"],
        ..PLAIN
    };
    all(&[
        ("net", within(|p| p.name_constraints = permits(vec![net("192.0.2.0", 24)])), TlsOk),
        (
            "another net",
            within(|p| p.name_constraints = permits(vec![net("198.51.100.0", 24)])),
            CertConstraintViolated,
        ),
        (
            "net excluded",
            within(|p| p.name_constraints = excludes(vec![net("192.0.2.0", 24)])),
            CertConstraintViolated,
        ),
        (
            "net of version 6",
            six(|p| p.name_constraints = permits(vec![net("2001:db8::", 32)])),
            TlsOk,
        ),
        (
            "another of version 6",
            six(|p| p.name_constraints = permits(vec![net("2001:db9::", 32)])),
            CertConstraintViolated,
        ),
    ]);
}

/// RFC 5280, section 4.2.1.10: without alternative names, constraints on mailboxes bind the
/// subject's emailAddress.
#[test]
fn mailboxes_in_subjects() {
    fn address(params: &mut CertificateParams, address: &str) {
        let email = rcgen::DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
        params
            .distinguished_name
            .push(email, rcgen::DnValue::Ia5String(address.try_into().unwrap()));
    }
    let is_good = |permitted: &[&str], excluded: &[&str], shown: &str| {
        let list = |texts: &[&str]| {
            texts.iter().map(|t| GeneralSubtree::Rfc822Name((*t).to_owned())).collect()
        };
        let constraints = NameConstraints {
            permitted_subtrees: list(permitted),
            excluded_subtrees: list(excluded),
        };
        let with = |constrained: bool| {
            let mut params = authority("x", |_| {});
            params.name_constraints = constrained.then(|| constraints.clone());
            params
        };
        let mut verdicts = Vec::new();
        for (by_root, by_issuer, of_issuer) in
            [(true, false, false), (false, true, false), (true, false, true)]
        {
            let root = Authority::with(with(by_root));
            let issuer = root.below("Issuer", |params| {
                params.name_constraints = with(by_issuer).name_constraints;
                if of_issuer {
                    address(params, shown);
                }
            });
            let mut params = leaf_params(if of_issuer { &[HOST] } else { &[] });
            if !of_issuer {
                address(&mut params, shown);
            }
            let leaf = issuer.issue(&params);
            verdicts.push(judge(HOST, &[leaf.der, issuer.der], &[&root.der], 0));
        }
        match verdicts[..] {
            // A leaf without alternative names has no name of a host: the path was good.
            [CertNameMismatch, CertNameMismatch, TlsOk] => true,
            [CertConstraintViolated, CertConstraintViolated, CertConstraintViolated] => false,
            _ => panic!("{permitted:?} {excluded:?} {shown}: {verdicts:?}"),
        }
    };
    for (permitted, excluded, shown, good) in [
        (&["root@example.com"][..], &[][..], "root@example.com", true),
        (&["root@example.com"], &[], "root@EXAMPLE.com", true),
        (&["root@example.com"], &[], "Root@example.com", false),
        (&["*@example.com"], &[], "root@example.com", false),
        (&["example.com"], &[], "root@Example.com", true),
        (&["example.com"], &[], "root@mx.example.com", false),
        (&[".example.com"], &[], "root@a.mx.example.com", true),
        (&[".example.com"], &[], "root@example.com", false),
        (&[".example.com"], &[], "root@badexample.com", false),
        (&["example.org", "example.com"], &[], "root@example.com", true),
        (&["a@b@example.com"], &[], "a@b@example.com", false),
        (&["example.com"], &[], "a@b@example.com", false),
        (&["example.com"], &[], "example.com", false),
        (&[], &["example.org"], "root@example.com", true),
        (&[], &["example.com"], "root@example.com", false),
        (&[], &[""], "root@example.com", false),
        (&["example.com"], &["root@example.com"], "root@example.com", false),
    ] {
        assert_eq!(is_good(permitted, excluded, shown), good, "{permitted:?} {excluded:?} {shown}");
    }
    // A certificate with alternative names is bound by these only.
    let root = Authority::with(authority("Root", |params| {
        let permitted_subtrees = vec![GeneralSubtree::Rfc822Name("example.org".into())];
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
    }));
    let mut params = leaf_params(&[HOST]);
    address(&mut params, "root@example.com");
    assert_eq!(judge(HOST, &[root.issue(&params).der], &[&root.der], 0), TlsOk);
}

/// webpki::eku, rfc5280: purposes and what authorities may do.
#[test]
fn purposes_and_authorities() {
    use ExtendedKeyUsagePurpose::{ClientAuth, CodeSigning, ServerAuth};
    all(&[
        (
            "for servers",
            Chain { leaf: |p| p.extended_key_usages = vec![ServerAuth], ..PLAIN },
            TlsOk,
        ),
        (
            "for both",
            Chain { leaf: |p| p.extended_key_usages = vec![ClientAuth, ServerAuth], ..PLAIN },
            TlsOk,
        ),
        (
            "for clients",
            Chain { leaf: |p| p.extended_key_usages = vec![ClientAuth], ..PLAIN },
            CertWrongPurpose,
        ),
        // The usage of an authority binds what is below it.
        (
            "authority for servers",
            Chain { issuer: |p| p.extended_key_usages = vec![ServerAuth], ..PLAIN },
            TlsOk,
        ),
        (
            "authority for code",
            Chain { issuer: |p| p.extended_key_usages = vec![CodeSigning], ..PLAIN },
            CertWrongPurpose,
        ),
        ("no key usage", Chain { issuer: |p| p.key_usages = vec![], ..PLAIN }, TlsOk),
        // RFC 5280, section 6.1.4 (n).
        (
            "an authority that may not sign certificates",
            Chain { issuer: |p| p.key_usages = vec![KeyUsagePurpose::CrlSign], ..PLAIN },
            CertConstraintViolated,
        ),
        // 6.1.4 (k).
        (
            "no authority",
            Chain { issuer: |p| p.is_ca = IsCa::ExplicitNoCa, ..PLAIN },
            CertConstraintViolated,
        ),
        (
            "an authority that does not say so",
            Chain { issuer: |p| p.is_ca = IsCa::NoCa, ..PLAIN },
            CertConstraintViolated,
        ),
        // 6.1.4 (l) and (m).
        (
            "path length 0, at the end",
            Chain { issuer: |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)), ..PLAIN },
            TlsOk,
        ),
    ]);
    let root = Authority::new("Root");
    for (length, reason) in [(0, CertConstraintViolated), (1, TlsOk)] {
        let upper =
            root.below("Upper", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(length)));
        let lower = upper.below("Lower", |_| {});
        let leaf = lower.issue(&leaf_params(&[HOST])).der;
        assert_eq!(judge(HOST, &[leaf, lower.der, upper.der], &[&root.der], 0), reason, "{length}");
    }
}

/// rfc5280: extensions and encodings.
#[test]
fn extensions() {
    fn unknown(critical: bool) -> CustomExtension {
        let mut extension =
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
        extension.set_criticality(critical);
        extension
    }
    all(&[
        ("unknown", Chain { leaf: |p| p.custom_extensions.push(unknown(false)), ..PLAIN }, TlsOk),
        (
            "unknown and critical",
            Chain { leaf: |p| p.custom_extensions.push(unknown(true)), ..PLAIN },
            CertUnsupported,
        ),
        (
            "unknown, of the issuer",
            Chain { issuer: |p| p.custom_extensions.push(unknown(false)), ..PLAIN },
            TlsOk,
        ),
        (
            "unknown and critical, of the issuer",
            Chain { issuer: |p| p.custom_extensions.push(unknown(true)), ..PLAIN },
            CertUnsupported,
        ),
        // RFC 5280, section 4.2: "A certificate MUST NOT include more than one instance of a
        // particular extension."
        (
            "twice",
            Chain {
                leaf: |p| {
                    let names = tlv(0x30, &tlv(0x82, HOST.as_bytes()));
                    p.custom_extensions
                        .push(CustomExtension::from_oid_content(&[2, 5, 29, 17], names));
                },
                ..PLAIN
            },
            CertMalformed,
        ),
    ]);
}

/// rfc5280::validity: to the second.
#[test]
fn validity() {
    const DAY: i64 = 86_400;
    all(&[
        ("the first second", Chain { later: -10 * DAY, ..PLAIN }, TlsOk),
        ("the second before", Chain { later: -10 * DAY - 1, ..PLAIN }, CertNotYetValid),
        ("the last second", Chain { later: 10 * DAY, ..PLAIN }, TlsOk),
        ("the second after", Chain { later: 10 * DAY + 1, ..PLAIN }, CertExpired),
        (
            "an issuer that has expired",
            Chain { issuer: |p| p.not_after = days(-1), ..PLAIN },
            CertExpired,
        ),
        // RFC 5280, section 6.1.1 (d): of a root its name and key.
        ("a root that has expired", Chain { root: |p| p.not_after = days(-1), ..PLAIN }, TlsOk),
    ]);
}

/// X.509 version 1 knows no authorities below a root.
#[test]
fn an_issuer_of_version_1() {
    use rcgen::PublicKeyData;
    let root = Authority::new("Root");
    let key = rcgen::KeyPair::generate().unwrap();
    let name = |text: &str| {
        let attribute =
            tlv(0x30, &[tlv(0x06, b"\x55\x04\x03"), tlv(0x0c, text.as_bytes())].concat());
        tlv(0x30, &tlv(0x31, &attribute))
    };
    let dates = tlv(0x30, &[tlv(0x17, b"260501000000Z"), tlv(0x17, b"260701000000Z")].concat());
    let tbs = [
        tlv(0x02, &[7]),
        ECDSA_WITH_SHA256.to_vec(),
        name("Root"),
        dates,
        name("Old"),
        key.subject_public_key_info(),
    ];
    let old = certificate_of(&tlv(0x30, &tbs.concat()), root.issuer.key());
    let issuer = rcgen::Issuer::new(authority("Old", |_| {}), key);
    let leaf_key = rcgen::KeyPair::generate().unwrap();
    let leaf = leaf_params(&[HOST]).signed_by(&leaf_key, &issuer).unwrap().der().clone();
    assert_eq!(judge(HOST, &[leaf.clone(), old.clone()], &[&root.der], 0), CertUnsupported);
    // As a root it is a name and a key.
    assert_eq!(judge(HOST, &[leaf], &[&old], 0), TlsOk);
}

/// cve and pathological: loops, twins and issuers in any order.
#[test]
fn paths() {
    let (root, other) = (Authority::new("Root"), Authority::new("Other"));
    let upper = root.below("Upper", |_| {});
    let lower = upper.below("Lower", |_| {});
    let leaf = lower.issue(&leaf_params(&[HOST])).der;
    let chain = |issuers: &[&CertificateDer<'static>]| {
        let issuers = issuers.iter().map(|der| (*der).clone());
        std::iter::once(leaf.clone()).chain(issuers).collect::<Vec<_>>()
    };
    let reason =
        |issuers: &[&CertificateDer<'static>]| judge(HOST, &chain(issuers), &[&root.der], 0);
    assert_eq!(reason(&[&lower.der, &upper.der]), TlsOk);
    assert_eq!(reason(&[&upper.der, &lower.der]), TlsOk);
    assert_eq!(reason(&[&other.der, &upper.der, &root.der, &lower.der, &lower.der]), TlsOk);
    assert_eq!(reason(&[&lower.der]), Reason::CertUnknownIssuer);
    // An issuer of the same name that is past its dates, and another key of that name.
    let expired = root.below("Upper", |p| p.not_after = days(-1));
    let twin = root.below("Lower", |_| {});
    assert_eq!(reason(&[&expired.der, &twin.der, &lower.der, &upper.der]), TlsOk);
    // Two authorities that vouch for each other, and no root for them.
    let (a, b) = (Authority::new("A"), Authority::new("B"));
    let signed = |name: &str, of: &Authority, by: &Authority| {
        authority(name, |_| {}).signed_by(of.issuer.key(), &by.issuer).unwrap().der().clone()
    };
    let (a_by_b, b_by_a) = (signed("A", &a, &b), signed("B", &b, &a));
    let looped = a.issue(&leaf_params(&[HOST])).der;
    assert_eq!(judge(HOST, &[looped, a_by_b, b_by_a], &[&root.der], 0), Reason::CertUnknownIssuer);
    // CVE-2024-0567 and its like: a cross-signed root among the issuers, and the root itself as an
    // issuer.
    let cross = signed("Root", &root, &other);
    assert_eq!(reason(&[&lower.der, &upper.der, &cross]), TlsOk);
}

/// RFC 5280, section 4.1.1.2: the algorithm stands twice, and is the same.
#[test]
fn the_algorithm_is_the_one_that_is_signed() {
    let root = Authority::new("Root");
    let leaf = root.issue(&leaf_params(&[HOST])).der;
    let at = leaf
        .windows(ECDSA_WITH_SHA256.len())
        .position(|window| window == ECDSA_WITH_SHA256)
        .unwrap();
    // SHA-384 within, and a good signature over that.
    let mut der = leaf.to_vec();
    der[at + ECDSA_WITH_SHA256.len() - 1] = 3;
    // Tag and length of one octet, or of two or three: `81` and `82` say which.
    let header = |at: usize| match der[at + 1] {
        0x81 => (3, usize::from(der[at + 2])),
        0x82 => (4, usize::from(u16::from_be_bytes([der[at + 2], der[at + 3]]))),
        length => (2, usize::from(length)),
    };
    let start = header(0).0;
    let (length, contents) = header(start);
    let forged = certificate_of(&der[start..start + length + contents], root.issuer.key());
    let reason = judge(HOST, &[forged], &[&root.der], 0);
    assert!(
        [CertMalformed, CertUnsupported, Reason::CertBadSignature].contains(&reason),
        "{reason}"
    );
    assert_eq!(judge(HOST, &[leaf], &[&root.der], 0), TlsOk);
}
