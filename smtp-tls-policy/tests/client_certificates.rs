//! Client certificates in both directions, through real handshakes of TLS 1.2 and 1.3.

mod common;

use std::sync::Arc;

use common::tls::*;
use common::*;
use pki_types::CertificateDer;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::ServerConnection;
use smtp_tls_policy::judge::{admit, admit_handshake};
use smtp_tls_policy::pki::{LiveTrust, Pin, Reference, RootsId, Trust};
use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
use smtp_tls_policy::rules::{
    ClientCertificate, ClientCheck, ClientPurpose, ConnectorErrorKind, IdentityId,
    InboundConnector, InboundConnectors, OutboundConnector, Posture,
};
use smtp_tls_policy::tls::*;
use smtp_tls_policy::{Domain, Host, Namespace, Reason, pki_types};

fn partners() -> RootsId {
    RootsId::new("partners")
}

struct World {
    public: Authority,
    partner: Authority,
    trust: Arc<LiveTrust>,
}

impl World {
    fn new() -> Self {
        let (public, partner) = (Authority::new("Public"), Authority::new("Partner CA"));
        let mut trust = Trust::empty();
        trust.add_root_der(&RootsId::public(), &public.der).unwrap();
        trust.add_root_der(&partners(), &partner.der).unwrap();
        Self { public, partner, trust: trust.into() }
    }

    fn client(
        &self,
        authority: &Authority,
        change: impl FnOnce(&mut rcgen::CertificateParams),
    ) -> Leaf {
        let mut params = leaf_params(&["out.partner.example"]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        authority.issue(&params)
    }

    /// A handshake in which the client shows this, if anything; the server's end of it.
    fn connect(
        &self,
        identity: Option<&Leaf>,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> ServerConnection {
        let host = self.public.issue(&leaf_params(&[HOST]));
        let connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Verified);
        let name = Host::parse(HOST).unwrap();
        let plan = plan(&Facts::new(&connector, &name, &name, HostOrigin::Mx)).unwrap();
        let provider = provider_of(version);
        let (tls, _) = client_tls(provider.clone());
        let id = IdentityId::new("ours");
        if let Some(leaf) = identity {
            tls.add_identity(id.clone(), certified(vec![leaf.der.clone()], &leaf.key));
        }
        let client = tls.config(&plan, identity.map(|_| &id), &self.trust).unwrap();
        let request = ClientCertificates::Request { hints: Vec::new() };
        let server =
            server_config(certified(vec![host.der.clone()], &host.key), request, provider).unwrap();
        shake(client, server, &plan).unwrap().server
    }
}

/// One listener with four connectors: `tied` to a certificate name, `any` certificate from the
/// partners' roots, `noted` only, and one for all other domains, which asks for none.
fn connectors() -> InboundConnectors {
    let connector = |name: &str, certificate| {
        let namespace = Namespace::parse(&format!("{name}.example")).unwrap();
        let mut connector = InboundConnector::new(name, vec![namespace]);
        connector.require_tls = matches!(certificate, ClientCertificate::Required(_));
        connector.client_certificate = certificate;
        connector
    };
    let mut tied = ClientCheck::new(partners());
    tied.names = vec![Reference::parse("out.partner.example").unwrap()];
    let world = InboundConnector::new("world", vec![Namespace::Default]);
    InboundConnectors::new(vec![
        connector("tied", ClientCertificate::Required(tied)),
        connector("any", ClientCertificate::Required(ClientCheck::new(partners()))),
        connector("noted", ClientCertificate::Recorded),
        world,
    ])
    .unwrap()
}

#[test]
fn a_listener_judges_at_mail_what_the_handshake_showed() {
    let world = World::new();
    let connectors = connectors();
    assert!(connectors.asks_for_certificate());
    let good = world.client(&world.partner, |_| {});
    let other = world.client(&world.partner, |params| {
        params.subject_alt_names =
            vec![rcgen::SanType::DnsName("other.example".try_into().unwrap())];
    });
    let expired = world.client(&world.partner, |params| params.not_after = days(-1));
    let host = world.client(&world.partner, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]
    });
    let public = world.client(&world.public, |_| {});
    let unreadable = version_1();
    let missing = ("554 5.7.0", Reason::ClientCertMissing);
    for version in VERSIONS {
        // What the client shows, and the answers of `tied` and `any`. The other two accept it all.
        for (name, shown, tied, any) in [
            ("nothing", None, Some(missing), Some(missing)),
            ("good", Some(&good), None, None),
            (
                "another name",
                Some(&other),
                Some(("550 5.7.1", Reason::ClientCertNameMismatch)),
                None,
            ),
            (
                "expired",
                Some(&expired),
                Some(("554 5.7.0", Reason::CertExpired)),
                Some(("554 5.7.0", Reason::CertExpired)),
            ),
            ("a host's", Some(&host), None, Some(("554 5.7.0", Reason::CertWrongPurpose))),
            (
                "by a public authority",
                Some(&public),
                Some(("554 5.7.0", Reason::CertUnknownIssuer)),
                Some(("554 5.7.0", Reason::CertUnknownIssuer)),
            ),
            (
                "version 1",
                Some(&unreadable),
                Some(("554 5.7.0", Reason::CertSelfSigned)),
                Some(("554 5.7.0", Reason::CertSelfSigned)),
            ),
        ] {
            let session = world.connect(shown, version);
            let chain: Vec<CertificateDer<'_>> =
                session.peer_certificates().unwrap_or_default().to_vec();
            // Some connector takes mail from any client, so none is refused before MAIL.
            assert!(admit_handshake(&connectors, &chain, &world.trust.load(), now()).is_ok());
            for (sender, expected) in
                [("tied", tied), ("any", any), ("noted", None), ("elsewhere", None)]
            {
                let sender = Domain::parse(&format!("{sender}.example")).unwrap();
                let connector = connectors.find(Some(&sender));
                let said = admit(connector, Some(TLS), &chain, &world.trust.load(), now())
                    .err()
                    .map(|r| (format!("{} {}", r.code(), r.status()), r.reason()));
                let expected = expected.map(|(status, reason)| (status.to_owned(), reason));
                assert_eq!(said, expected, "{name} for {sender} with {:?}", version.version);
            }
        }
    }
}

/// An identity belongs to the connector that names it: no other connection shows it, not even to
/// the same host.
#[test]
fn an_identity_is_shown_for_its_own_connector_only() {
    let world = World::new();
    let (ours, theirs) =
        (world.client(&world.partner, |_| {}), world.client(&world.partner, |_| {}));
    let host = world.public.issue(&leaf_params(&[HOST]));
    let name = Host::parse(HOST).unwrap();
    for version in VERSIONS {
        let provider = provider_of(version);
        let (tls, _) = client_tls(provider.clone());
        for (id, leaf) in [("ours", &ours), ("theirs", &theirs)] {
            tls.add_identity(IdentityId::new(id), certified(vec![leaf.der.clone()], &leaf.key));
        }
        let request = ClientCertificates::Request { hints: Vec::new() };
        let server =
            server_config(certified(vec![host.der.clone()], &host.key), request, provider).unwrap();
        // Twice, so that sessions are there to be resumed.
        for _ in 0..2 {
            for (identity, expected) in
                [(Some("ours"), Some(&ours.der)), (None, None), (Some("theirs"), Some(&theirs.der))]
            {
                let mut connector =
                    OutboundConnector::new("c", vec![Namespace::Default], Posture::Verified);
                connector.identity = identity.map(IdentityId::new);
                let plan = plan(&Facts::new(&connector, &name, &name, HostOrigin::Mx)).unwrap();
                let client = tls.config(&plan, connector.identity.as_ref(), &world.trust).unwrap();
                let pair = shake(client, server.clone(), &plan).unwrap();
                let shown = pair.server.peer_certificates().and_then(|chain| chain.first());
                assert_eq!(shown, expected, "{identity:?}");
            }
        }
    }
}

fn required(check: ClientCheck) -> InboundConnectors {
    let mut connector = InboundConnector::new("partner", vec![Namespace::Default]);
    connector.require_tls = true;
    connector.client_certificate = ClientCertificate::Required(check);
    InboundConnectors::new(vec![connector]).unwrap()
}

/// What is said at MAIL, after a check that the handshake was judged alike but for the name.
fn ask(check: ClientCheck, trust: &Trust, shown: &CertificateDer<'static>) -> Option<Reason> {
    let connectors = required(check);
    let chain = [shown.clone()];
    let connector = connectors.find(None);
    let reason =
        admit(connector, Some(TLS), &chain, trust, now()).err().map(|refusal| refusal.reason());
    let early = admit_handshake(&connectors, &chain, trust, now()).err();
    match reason {
        Some(Reason::ClientCertNameMismatch) => assert!(early.is_none()),
        reason => assert_eq!(early.map(|refusal| refusal.reason()), reason),
    }
    reason
}

/// Cases K01 and K02b.
#[test]
fn certificate_of_a_server_is_taken_from_a_client_where_a_name_is_tied_or_the_purpose_says_so() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, EmailProtection, ServerAuth};
    let world = World::new();
    let mut trust = Trust::empty();
    trust.add_root_der(&partners(), &world.partner.der).unwrap();
    let any = || ClientCheck::new(partners());
    let tied = || {
        let mut check = any();
        check.names = vec![Reference::parse("out.partner.example").unwrap()];
        check
    };
    let with = |mut check: ClientCheck, purpose| {
        check.purpose = Some(purpose);
        check
    };
    use ClientPurpose::{Client, ClientOrServer};
    let wrong = Some(Reason::CertWrongPurpose);
    for (purposes, by_any, by_tied, by_client, by_either) in [
        (vec![], None, None, None, None),
        (vec![ClientAuth], None, None, None, None),
        (vec![ServerAuth], wrong, None, wrong, None),
        (vec![ServerAuth, ClientAuth], None, None, None, None),
        (vec![Any], None, None, None, None),
        (vec![EmailProtection], wrong, wrong, wrong, wrong),
    ] {
        let leaf = world.client(&world.partner, |params| params.extended_key_usages = purposes);
        assert_eq!(ask(any(), &trust, &leaf.der), by_any);
        assert_eq!(ask(tied(), &trust, &leaf.der), by_tied);
        assert_eq!(ask(with(tied(), Client), &trust, &leaf.der), by_client);
        assert_eq!(ask(with(any(), ClientOrServer), &trust, &leaf.der), by_either);
    }
}

/// Case K04b.
#[test]
fn pinned_client_certificate_is_taken_whatever_else_is_wrong_with_it() {
    let world = World::new();
    let trust = Trust::empty();
    let expired = world.client(&world.partner, |params| params.not_after = days(-1));
    let other = world.client(&world.partner, |_| {});
    let pins = [Pin::of_certificate(&expired.der), Pin::of_key(&expired.der).unwrap()];
    for pin in pins {
        let check = || ClientCheck::pinned(vec![pin.clone()]);
        assert_eq!(ask(check(), &trust, &expired.der), None);
        assert_eq!(ask(check(), &trust, &other.der), Some(Reason::PinMismatch));
        // Beside roots.
        let mut trust = Trust::empty();
        trust.add_root_der(&partners(), &world.partner.der).unwrap();
        let mut check = check();
        check.roots = Some(partners());
        assert_eq!(ask(check.clone(), &trust, &expired.der), None);
        assert_eq!(ask(check.clone(), &trust, &other.der), None);
        check.pins.clear();
        assert_eq!(ask(check, &trust, &expired.der), Some(Reason::CertExpired));
    }
}

/// As `openssl req -x509` writes it, with or without CA:TRUE.
#[test]
fn client_certificate_that_is_itself_a_root_is_taken() {
    for is_ca in [
        rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained),
        rcgen::IsCa::NoCa,
        rcgen::IsCa::ExplicitNoCa,
    ] {
        let make = |name: &str| {
            let mut params = leaf_params(&[name]);
            params.is_ca = is_ca;
            Authority::with(params).der
        };
        let own = make("out.partner.example");
        let mut trust = Trust::empty();
        trust.add_root_der(&partners(), &own).unwrap();
        let mut tied = ClientCheck::new(partners());
        assert_eq!(ask(tied.clone(), &trust, &own), None);
        assert_eq!(
            ask(tied.clone(), &trust, &make("out.partner.example")),
            Some(Reason::CertSelfSigned)
        );
        tied.names = vec![Reference::parse("other.example").unwrap()];
        assert_eq!(ask(tied, &trust, &own), Some(Reason::ClientCertNameMismatch));
    }
}

#[test]
fn required_certificate_without_roots_and_pins_is_a_configuration_error() {
    let build = |check| {
        let mut connector = InboundConnector::new("partner", vec![Namespace::Default]);
        connector.require_tls = true;
        connector.client_certificate = ClientCertificate::Required(check);
        let errors = InboundConnectors::new(vec![connector]).unwrap_err();
        errors.iter().next().unwrap().kind.clone()
    };
    let mut check = ClientCheck::pinned(Vec::new());
    assert_eq!(build(check.clone()), ConnectorErrorKind::CertificateWithoutTrust);
    check.pins = vec![Pin::of_certificate(&World::new().public.der)];
    check.names = vec![Reference::parse("out.partner.example").unwrap()];
    assert_eq!(build(check), ConnectorErrorKind::NamesWithoutRoots);
}
