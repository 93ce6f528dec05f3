//! Connectors by address namespace, and the domains they are found by.

mod common;

use common::*;
use proptest::prelude::*;
use smtp_tls_policy::judge::admit_handshake;
use smtp_tls_policy::pki::{Reference, Revocation, RootsId, Trust};
use smtp_tls_policy::rules::{
    ClientCertificate, ClientCheck, ConnectorError, ConnectorErrorKind, Faults, IdentityId,
    InboundConnector, InboundConnectors, OutboundConnector, OutboundConnectors, Posture, SmartHost,
};
use smtp_tls_policy::{Domain, DomainError, Host, Namespace, Reason};

fn outbound(list: &[(&str, &[&str])]) -> Result<OutboundConnectors, Faults<ConnectorError>> {
    let connectors = list.iter().map(|(name, namespaces)| {
        let namespaces = namespaces.iter().map(|n| Namespace::parse(n).unwrap());
        OutboundConnector::new(name, namespaces.collect(), Posture::Deterministic)
    });
    OutboundConnectors::new(connectors.collect())
}

fn kinds(errors: &Faults<ConnectorError>) -> Vec<ConnectorErrorKind> {
    errors.iter().map(|error| error.kind.clone()).collect()
}

#[test]
fn the_most_specific_namespace_wins() {
    let connectors = outbound(&[
        ("default", &["*"]),
        ("exact", &["example.com", "deep.a.example.com"]),
        ("wide", &["*.example.com", "*.org"]),
        ("narrow", &["*.a.example.com"]),
    ])
    .unwrap();
    for (recipient, name) in [
        ("example.com", "exact"),
        ("EXAMPLE.com.", "exact"),
        ("b.example.com", "wide"),
        ("c.b.example.com", "wide"),
        ("a.example.com", "wide"),
        ("x.a.example.com", "narrow"),
        ("y.x.a.example.com", "narrow"),
        ("deep.a.example.com", "exact"),
        ("below.deep.a.example.com", "narrow"),
        ("any.org", "wide"),
        ("org", "default"),
        ("notexample.com", "default"),
        ("com", "default"),
        ("[192.0.2.1]", "default"),
    ] {
        let host = Host::parse(recipient).unwrap();
        assert_eq!(&*connectors.find(&host).name, name, "{recipient}");
    }
}

#[test]
fn internationalised_names_are_one_name() {
    let connectors = outbound(&[
        ("default", &["*"]),
        ("idn", &["b\u{fc}cher.example", "*.xn--bcher-kva.example"]),
    ])
    .unwrap();
    for recipient in [
        "b\u{fc}cher.example",
        "B\u{dc}CHER.example.",
        "xn--bcher-kva.example",
        "XN--BCHER-KVA.Example",
        "mx.b\u{fc}cher.example",
    ] {
        let host = Host::parse(recipient).unwrap();
        assert_eq!(&*connectors.find(&host).name, "idn", "{recipient}");
    }
}

#[test]
fn sets_that_make_no_sense() {
    use ConnectorErrorKind::*;
    for (list, index, kind) in [
        (&[("a", &["*"][..]), ("a", &["example.com"])][..], 1, DuplicateName),
        (&[("", &["*"])], 0, NoName),
        (&[("a", &["*"]), ("b", &[])], 1, NoNamespaces),
        (
            &[("a", &["*", "example.com"]), ("b", &["x.example", "Example.COM."])],
            1,
            DuplicateNamespace { position: 1, by: Some("a".into()) },
        ),
        (&[("a", &["*", "*"])], 0, DuplicateNamespace { position: 1, by: None }),
        (&[("a", &["example.com"])], 1, NoDefault),
        (&[], 0, NoDefault),
    ] {
        let errors = outbound(list).unwrap_err();
        let first = errors.iter().next().unwrap();
        assert_eq!((first.index, &first.kind), (index, &kind), "{errors}");
    }
    // A name and what is below it are two namespaces.
    assert!(outbound(&[("a", &["*"]), ("b", &["example.com", "*.example.com"])]).is_ok());

    let one = |posture, change: fn(&mut OutboundConnector)| {
        let mut connector = OutboundConnector::new("c", vec![Namespace::Default], posture);
        change(&mut connector);
        OutboundConnectors::new(vec![connector]).map(drop).map_err(|errors| kinds(&errors))
    };
    assert_eq!(one(Posture::None, |c| c.require_tls = true), Err(vec![NoneRequiresTls]));
    assert_eq!(
        one(Posture::None, |c| {
            let mut smart_host = SmartHost::new(Host::parse("gw.example").unwrap());
            smart_host.implicit_tls = true;
            c.smart_host = Some(smart_host);
        }),
        Err(vec![NoneRequiresTls])
    );
    assert_eq!(one(Posture::PrivateCa, |_| {}), Err(vec![PrivateCaWithoutRoots]));
    assert_eq!(one(Posture::PrivateCa, |c| c.roots = RootsId::new("x")), Ok(()));
    assert_eq!(one(Posture::Encrypt, |c| c.roots = RootsId::new("x")), Err(vec![UnusedRoots]));

    let mut inbound = InboundConnector::new("i", vec![Namespace::Default]);
    inbound.client_certificate =
        ClientCertificate::Required(ClientCheck::new(RootsId::new("partners")));
    let errors = InboundConnectors::new(vec![inbound]).unwrap_err();
    assert_eq!(kinds(&errors), [CertificateWithoutTls]);
}

/// Connectors built in code meet the trust store before the first delivery.
#[test]
fn roots_and_identities_that_are_not_loaded_are_refused() {
    let root = Authority::new("Root");
    let (bank_ca, own) = (RootsId::new("bank-ca"), IdentityId::new("own"));
    let trust = Trust::from_der([&root.der]).unwrap();
    let namespace = |name| vec![Namespace::parse(name).unwrap()];
    let mut bank = OutboundConnector::new("bank", namespace("bank.example"), Posture::Verified);
    bank.roots = bank_ca.clone();
    bank.identity = Some(IdentityId::new("ours"));
    // Lists come and go while mail flows.
    let mut hard = OutboundConnector::new("hard", namespace("hard.example"), Posture::Verified);
    hard.revocation = Revocation::Hard;
    // A posture that checks no chain needs no roots.
    let lax = OutboundConnector::new("lax", namespace("*"), Posture::Opportunistic);
    let connectors = OutboundConnectors::new(vec![bank, hard, lax]).unwrap();
    let errors = connectors.check(&trust, std::slice::from_ref(&own)).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "connector \"bank\": no roots with the name \"bank-ca\" are loaded; loaded: \"public\"\n\
         connector \"bank\": no identity with the name \"ours\" is loaded; loaded: \"own\""
    );
    let places: Vec<_> = errors.iter().map(|error| (error.index, &*error.connector)).collect();
    assert_eq!(places, [(0, "bank"), (0, "bank")]);
    let errors = connectors.check(&Trust::empty(), &[]).unwrap_err();
    assert!(errors.to_string().contains("none at all are loaded"), "{errors}");

    let mut trust = trust;
    trust.add_root_der(&bank_ca, &root.der).unwrap();
    assert_eq!(connectors.check(&trust, &[IdentityId::new("ours")]), Ok(()));

    let mut partner = InboundConnector::new("partner", namespace("*"));
    partner.require_tls = true;
    partner.client_certificate =
        ClientCertificate::Required(ClientCheck::new(RootsId::new("partner-ca")));
    let connectors = InboundConnectors::new(vec![partner]).unwrap();
    assert_eq!(
        connectors.check(&trust).unwrap_err().to_string(),
        "connector \"partner\": no roots with the name \"partner-ca\" are loaded; \
         loaded: \"bank-ca\", \"public\""
    );
    trust.add_root_der(&RootsId::new("partner-ca"), &root.der).unwrap();
    assert_eq!(connectors.check(&trust), Ok(()));
}

#[test]
fn what_a_listener_asks_for() {
    let open = InboundConnector::new("open", vec![Namespace::Default]);
    let mut partner =
        InboundConnector::new("partner", vec![Namespace::parse("partner.example").unwrap()]);
    partner.require_tls = true;
    partner.client_certificate =
        ClientCertificate::Required(ClientCheck::new(RootsId::new("partners")));
    let root = Authority::new("Partners");
    let mut trust = Trust::empty();
    trust.add_root_der(&RootsId::new("partners"), &root.der).unwrap();

    // One connector accepts mail without a certificate, so no client is refused before MAIL.
    let both = InboundConnectors::new(vec![open.clone(), partner.clone()]).unwrap();
    assert!(both.asks_for_certificate() && !both.requires_tls());
    assert!(admit_handshake(&both, &[], &trust, now()).is_ok());
    let sender = Domain::parse("Partner.Example").unwrap();
    assert_eq!(&*both.find(Some(&sender)).name, "partner");
    assert_eq!(&*both.find(None).name, "open");

    let none = InboundConnectors::new(vec![open]).unwrap();
    assert!(!none.asks_for_certificate());

    // Every connector wants one, from this authority or that: any of them will do.
    let mut rest = InboundConnector::new("rest", vec![Namespace::Default]);
    rest.require_tls = true;
    rest.client_certificate = ClientCertificate::Required(ClientCheck::new(RootsId::new("others")));
    let all = InboundConnectors::new(vec![rest, partner]).unwrap();
    assert!(all.requires_tls());
    let leaf = root.issue(&leaf_params(&["client.example"]));
    assert!(admit_handshake(&all, &[leaf.der], &trust, now()).is_ok());
    let stranger = Authority::new("Others").issue(&leaf_params(&["client.example"]));
    // One connector does not know the client; the other might, once its roots are loaded: the
    // client keeps its mail.
    let mut reversed: Vec<InboundConnector> = all.iter().cloned().collect();
    reversed.reverse();
    let reversed = InboundConnectors::new(reversed).unwrap();
    for all in [&all, &reversed] {
        let refusal =
            admit_handshake(all, std::slice::from_ref(&stranger.der), &trust, now()).unwrap_err();
        assert_eq!((refusal.code(), refusal.reason()), (451, Reason::RootsMissing));
    }
    let refusal = admit_handshake(&all, &[], &trust, now()).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "554 5.7.0: a client certificate is required; required by every inbound connector"
    );
}

#[test]
fn domains() {
    let long = format!("{}.example", "a".repeat(63));
    let too_long = format!("{}.example", "a".repeat(64));
    let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    for (text, parsed) in [
        ("example.com", Ok("example.com")),
        ("Example.COM.", Ok("example.com")),
        ("_mta.example.com", Ok("_mta.example.com")),
        ("localhost", Ok("localhost")),
        (&long, Ok(long.as_str())),
        (&longest, Ok(longest.as_str())),
        ("stra\u{df}e.example", Ok("xn--strae-oqa.example")),
        ("\u{4f8b}\u{3048}.jp", Ok("xn--r8jz45g.jp")),
        ("", Err(DomainError::Empty)),
        (".", Err(DomainError::Empty)),
        ("example..com", Err(DomainError::EmptyLabel)),
        (".example.com", Err(DomainError::EmptyLabel)),
        ("example.com..", Err(DomainError::EmptyLabel)),
        (&too_long, Err(DomainError::LabelTooLong)),
        (&format!("{longest}.e"), Err(DomainError::TooLong)),
        ("*.example.com", Err(DomainError::Character)),
        ("exa mple.com", Err(DomainError::Character)),
        ("example.com\r\n", Err(DomainError::Character)),
        ("example.com\0", Err(DomainError::Character)),
        ("-a.example", Err(DomainError::Hyphen)),
        ("a-.example", Err(DomainError::Hyphen)),
        ("192.0.2.1", Err(DomainError::Address)),
        ("\u{ff11}92.0.2.1", Err(DomainError::Address)),
        ("\u{fc}\u{3002}.example", Err(DomainError::EmptyLabel)),
    ] {
        let domain = Domain::parse(text);
        let domain = domain.as_ref().map(Domain::as_str).map_err(|error| *error);
        // The exact error of an internationalised name is that of UTS 46.
        match (text.is_ascii(), domain, parsed) {
            (false, Err(_), Err(_)) => {}
            _ => assert_eq!(domain, parsed, "{text:?}"),
        }
    }
    for (text, shown) in [
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("192.0.2.1", "[192.0.2.1]"),
        ("[ipv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        ("2001:db8::1", "[IPv6:2001:db8::1]"),
        ("MX.example", "mx.example"),
    ] {
        assert_eq!(Host::parse(text).unwrap().to_string(), shown);
    }
    for text in ["[192.0.2.1", "[2001:db8::1]", "[x]", "[IPv6:192.0.2.1]", "[\u{fc}\u{fc}\u{fc}]"] {
        assert_eq!(Host::parse(text), Err(DomainError::Literal), "{text}");
    }
    for (text, parsed) in [
        ("*", Ok("*")),
        ("*.Example.com.", Ok("*.example.com")),
        ("example.com", Ok("example.com")),
        ("*example.com", Err(DomainError::Character)),
        ("*.*.example.com", Err(DomainError::Character)),
        ("*.", Err(DomainError::Empty)),
    ] {
        let namespace = Namespace::parse(text).map(|n| n.to_string());
        assert_eq!(namespace, parsed.map(str::to_owned), "{text}");
    }
}

proptest! {
    /// Whatever is given, a domain that was read is read again as itself.
    #[test]
    fn domains_are_normal(text in "\\PC{0,40}|[a-zA-Z0-9.*_\\-]{0,300}") {
        if let Ok(domain) = Domain::parse(&text) {
            prop_assert_eq!(Domain::parse(domain.as_str()), Ok(domain.clone()));
            prop_assert!(domain.as_str().len() <= smtp_tls_policy::MAX_DOMAIN_LEN);
            prop_assert_eq!(domain.as_str(), domain.as_str().to_ascii_lowercase());
        }
        let _ = (Host::parse(&text), Namespace::parse(&text), Reference::parse(&text));
    }

    /// The look-up is a scan for the longest match, only faster.
    #[test]
    fn a_look_up_is_the_longest_match(
        exact in proptest::collection::btree_set("[ab](\\.[ab]){0,3}", 0..4),
        below in proptest::collection::btree_set("[ab](\\.[ab]){0,3}", 0..4),
        recipient in "[ab](\\.[ab]){0,4}",
    ) {
        let mut connectors = vec![OutboundConnector::new("*", vec![Namespace::Default], Posture::Encrypt)];
        let namespaces = exact.iter().cloned().chain(below.iter().map(|b| format!("*.{b}")));
        for namespace in namespaces {
            let parsed = Namespace::parse(&namespace).unwrap();
            connectors.push(OutboundConnector::new(&namespace, vec![parsed], Posture::Encrypt));
        }
        let expected = if exact.contains(&recipient) {
            recipient.clone()
        } else {
            below
                .iter()
                .filter(|b| recipient.ends_with(&format!(".{b}")))
                .max_by_key(|b| b.len())
                .map_or_else(|| "*".to_owned(), |b| format!("*.{b}"))
        };
        let connectors = OutboundConnectors::new(connectors).unwrap();
        let found = connectors.find(&Host::parse(&recipient).unwrap());
        prop_assert_eq!(&*found.name, expected);
    }
}
