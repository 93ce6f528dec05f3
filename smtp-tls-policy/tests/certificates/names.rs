//! For which names a certificate is.

use super::*;

fn judge(bench: Bench, root: &Authority, params: &rcgen::CertificateParams) -> Reason {
    bench.judge(&[&root.issue(params).der])
}

/// Case K06: every name below a domain is written `.example.com`.
#[test]
fn wildcard_as_a_reference_is_refused() {
    for text in ["*.example.com", "*", "m*.example.com"] {
        assert_eq!(Reference::parse(text), Err(DomainError::Character), "{text}");
    }
    assert!(matches!(Reference::parse(".example.com"), Ok(Reference::Below(_))));
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
    // dNSName is an IA5String (RFC 5280, section 4.2.1.6).
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
        let subtrees =
            |names: &[&str]| names.iter().map(|n| GeneralSubtree::DnsName((*n).into())).collect();
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
