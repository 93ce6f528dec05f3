//! TLS versions and key exchange groups by connector: rules, plans, and
//! which clients are admitted.

mod common;

use common::{TLS, now};
use smtp_tls_policy::judge::{ShownTls, admit};
use smtp_tls_policy::pki::Trust;
use smtp_tls_policy::plan::{Demand, Facts, HostOrigin, MessageTls, Plan, plan};
use smtp_tls_policy::rules::{
    Config, ConnectorErrorKind, Floor, InboundConnector, InboundConnectors, KeyGroup,
    MinTlsVersion, OptionalTls, OutboundConnector, OutboundConnectors, Posture, TlsLimits,
};
use smtp_tls_policy::tls::{TlsConfigError, limited};
use smtp_tls_policy::{Host, Namespace, Reason};

fn limits(min_version: MinTlsVersion, groups: &[KeyGroup]) -> TlsLimits {
    let mut limits = TlsLimits::default();
    (limits.min_version, limits.groups) = (min_version, groups.to_vec());
    limits
}

fn plan_of(connector: &OutboundConnector, change: impl FnOnce(&mut Facts<'_>)) -> Plan {
    let host = Host::parse("mx.example.com").unwrap();
    let mut facts = Facts::new(connector, &host, &host, HostOrigin::Mx);
    change(&mut facts);
    plan(&facts).unwrap()
}

fn outbound(tls: TlsLimits) -> OutboundConnector {
    let mut connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Encrypt);
    connector.tls = tls;
    connector
}

#[test]
fn session_is_compared_with_the_limits() {
    use KeyGroup::{Secp384r1, X25519, X25519MlKem768};
    use MinTlsVersion::{Tls12, Tls13};
    let version = Some(Reason::TlsVersionNotAllowed);
    let group = Some(Reason::TlsGroupNotAllowed);
    let rows: [(TlsLimits, &str, Option<&str>, Option<Reason>); 12] = [
        (limits(Tls12, &[]), "TLSv1.2", Some("X25519"), None),
        (limits(Tls12, &[]), "TLSv1.3", Some("X448"), None),
        (limits(Tls12, &[]), "TLSv1.2", None, None),
        (limits(Tls13, &[]), "TLSv1.3", Some("X25519"), None),
        (limits(Tls13, &[]), "TLSv1.2", Some("X25519"), version),
        (limits(Tls12, &[X25519]), "TLSv1.2", Some("X25519"), None),
        (limits(Tls12, &[X25519]), "TLSv1.3", Some("secp256r1"), group),
        // A resumed session of TLS 1.2 has no group; its first handshake had one.
        (limits(Tls12, &[X25519]), "TLSv1.2", None, None),
        (limits(Tls12, &[X25519, Secp384r1]), "TLSv1.3", Some("secp384r1"), None),
        // Post-quantum groups are groups of TLS 1.3.
        (limits(Tls12, &[X25519MlKem768]), "TLSv1.2", Some("X25519"), version),
        (limits(Tls12, &[X25519MlKem768, X25519]), "TLSv1.2", Some("X25519"), None),
        (TlsLimits::post_quantum(), "TLSv1.3", Some("X25519"), group),
    ];
    for (limits, version, group, refusal) in rows {
        assert_eq!(limits.refusal(version, group), refusal, "{limits}: {version} {group:?}");
    }
    for group in KeyGroup::ALL {
        let is_refused = TlsLimits::post_quantum().refusal("TLSv1.3", Some(group.as_str()));
        assert_eq!(is_refused.is_none(), group.is_post_quantum(), "{group}");
    }
}

#[test]
fn limits_need_a_connector_that_requires_tls() {
    let defects = |connector: OutboundConnector| {
        let errors = OutboundConnectors::new(vec![connector]).err();
        errors.map_or(Vec::new(), |it| it.iter().map(|error| error.kind.clone()).collect())
    };
    for posture in Posture::ALL {
        let mut connector = outbound(TlsLimits::post_quantum());
        connector.posture = posture;
        let lax =
            matches!(posture, Posture::None | Posture::Opportunistic | Posture::Deterministic);
        let refused = defects(connector).contains(&ConnectorErrorKind::LimitsWithoutTls);
        assert_eq!(refused, lax, "{posture}");
    }
    let mut required = outbound(TlsLimits::post_quantum());
    required.posture = Posture::Opportunistic;
    required.require_tls = true;
    assert_eq!(defects(required), []);

    let mut inbound = InboundConnector::new("c", vec![Namespace::Default]);
    inbound.tls = TlsLimits::post_quantum();
    let errors = InboundConnectors::new(vec![inbound.clone()]).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "connector \"c\": the limits of TLS need TLS, because a peer that cannot meet them would \
         use clear text; set require-tls = true"
    );
    inbound.require_tls = true;
    InboundConnectors::new(vec![inbound]).unwrap();
}

#[test]
fn plan_carries_the_limits_of_its_connector_and_no_source_lowers_them() {
    let connector = outbound(TlsLimits::post_quantum());
    let plain = plan_of(&connector, |_| {});
    assert_eq!(*plain.limits(), TlsLimits::post_quantum());
    assert!(
        plain.to_string().contains("; TLS 1.3 or later, key exchange by X25519MLKEM768 or "),
        "{plain}"
    );
    let demand = [Demand { by: "message".into(), floor: Floor::Authenticated }];
    for message in [MessageTls::Default, MessageTls::Optional, MessageTls::RequiredOfBounce] {
        let host = Host::parse("mx.example.com").unwrap();
        let mut facts = Facts::new(&connector, &host, &host, HostOrigin::Mx);
        (facts.message, facts.demands) = (message, &demand);
        let plan = plan(&facts).unwrap();
        assert_eq!(*plan.limits(), TlsLimits::post_quantum(), "{message:?}");
    }
    // `TLS-Required: No` that cancels everything cancels the limits too: otherwise a peer that does
    // not meet them would get clear text, where TLS of another kind can be had.
    let mut lax = connector.clone();
    lax.optional_tls = OptionalTls::Everything;
    let plan = plan_of(&lax, |facts| facts.message = MessageTls::Optional);
    assert_eq!((plan.floor(), plan.limits()), (Floor::Plaintext, &TlsLimits::default()));
}

#[test]
fn limits_are_read_from_toml_with_the_place_of_each_fault() {
    let read = |fields: &str| {
        let text = format!(
            "[[outbound]]\nname = \"o\"\nnamespaces = [\"*\"]\nposture = \"encrypt\"\n{fields}\n\
             [[inbound]]\nname = \"i\"\nnamespaces = [\"*\"]\nrequire-tls = true\n{fields}\n"
        );
        Config::from_toml("c.toml", &text, &Trust::empty(), &[])
            .map(|config| {
                let outbound = config.outbound.iter().next().unwrap().tls.clone();
                assert_eq!(config.inbound.iter().next().unwrap().tls, outbound);
                outbound
            })
            .map_err(|errors| errors.to_string())
    };
    use KeyGroup::{Secp384r1, X25519, X25519MlKem768};
    use MinTlsVersion::{Tls12, Tls13};
    assert_eq!(read(""), Ok(TlsLimits::default()));
    assert_eq!(read("tls = {}"), Ok(TlsLimits::default()));
    assert_eq!(read("tls = { min-version = \"1.3\" }"), Ok(limits(Tls13, &[])));
    assert_eq!(
        read("tls = { groups = [\"X25519MLKEM768\", \"secp384r1\", \"X25519\"] }"),
        Ok(limits(Tls12, &[X25519MlKem768, Secp384r1, X25519]))
    );
    assert_eq!(
        read("tls = { min-version = \"1.3\", groups = [\"post-quantum\", \"X25519MLKEM768\"] }"),
        Ok(TlsLimits::post_quantum())
    );
    for (fields, message) in [
        ("tls = true", "c.toml: line 5, field outbound.tls: found true; expected a table"),
        ("tls = { min-version = \"1.1\" }", "field outbound.tls.min-version: found \"1.1\"; "),
        ("tls = { min-version = 1.3 }", "field outbound.tls.min-version: found the number 1.3"),
        ("tls = { groups = [] }", "field outbound.tls.groups: found an empty list"),
        (
            "tls = { groups = [\"x25519\"] }",
            "field outbound.tls.groups: found \"x25519\"; expected one of post-quantum, \
             X25519MLKEM768",
        ),
        ("tls = { group = [\"X25519\"] }", "there is no such field; did you mean groups?"),
    ] {
        let errors = read(fields).unwrap_err();
        assert!(errors.contains(message), "{fields}: {errors}");
        assert_eq!(errors.lines().count(), 2, "{errors}");
    }
}

#[test]
fn mail_is_admitted_only_over_a_session_that_meets_the_limits() {
    let mut connector = InboundConnector::new("c", vec![Namespace::Default]);
    connector.require_tls = true;
    connector.tls = TlsLimits::post_quantum();
    let trust = Trust::empty();
    let ask =
        |tls| admit(&connector, tls, &[], &trust, now()).err().map(|refusal| refusal.to_string());
    assert_eq!(
        ask(Some(ShownTls::new("TLSv1.3", "TLS_AES_128_GCM_SHA256", Some("X25519MLKEM768")))),
        None
    );
    assert_eq!(
        ask(Some(TLS)).unwrap(),
        "554 5.7.0: the peer uses no key exchange group that the connector allows; required by \
         inbound connector c"
    );
    assert_eq!(
        ask(Some(ShownTls::new(
            "TLSv1.2",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            Some("X25519")
        )))
        .unwrap(),
        "554 5.7.0: the peer speaks no TLS version that the connector allows; required by \
         inbound connector c"
    );
    assert!(ask(None).unwrap().starts_with("530 5.7.0: "));
}

#[test]
fn listener_restricts_itself_to_what_some_connector_allows() {
    let of = |all: &[TlsLimits]| {
        let connectors = all.iter().enumerate().map(|(index, tls)| {
            let namespace = match index {
                0 => Namespace::Default,
                _ => Namespace::parse(&format!("d{index}.example")).unwrap(),
            };
            let mut connector = InboundConnector::new(&index.to_string(), vec![namespace]);
            connector.require_tls = true;
            connector.tls = tls.clone();
            connector
        });
        InboundConnectors::new(connectors.collect()).unwrap().tls_limits()
    };
    use KeyGroup::{X25519, X25519MlKem768};
    use MinTlsVersion::{Tls12, Tls13};
    let any = TlsLimits::default;
    assert_eq!(of(&[any()]), any());
    assert_eq!(of(&[TlsLimits::post_quantum()]), TlsLimits::post_quantum());
    assert_eq!(of(&[TlsLimits::post_quantum(), any()]), any());
    assert_eq!(
        of(&[limits(Tls13, &[X25519]), limits(Tls13, &[X25519MlKem768, X25519])]),
        limits(Tls13, &[X25519MlKem768, X25519])
    );
    assert_eq!(of(&[limits(Tls13, &[X25519]), limits(Tls12, &[])]), any());
}

#[test]
fn provider_without_an_allowed_group_is_a_fault_of_this_side() {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups.retain(|group| group.name() == rustls::NamedGroup::X25519);
    let provider = std::sync::Arc::new(provider);
    let error = limited(&provider, &TlsLimits::post_quantum()).unwrap_err();
    assert_eq!(error, TlsConfigError::LimitsNotMet(TlsLimits::post_quantum()));
    assert_eq!(error.reason(), Reason::TlsUnavailable);
    // A plan with these limits has the same error, and not a handshake without them.
    let trust: std::sync::Arc<smtp_tls_policy::pki::LiveTrust> = Trust::empty().into();
    let tls = smtp_tls_policy::tls::ClientTls::new(provider);
    let plan = plan_of(&outbound(TlsLimits::post_quantum()), |_| {});
    assert_eq!(tls.config(&plan, None, &trust).unwrap_err(), error);
}
