//! Client certificates in both directions, through real handshakes of TLS 1.2 and 1.3.

mod common;

use std::sync::Arc;

use common::tls::*;
use common::*;
use pki_types::CertificateDer;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::ServerConnection;
use smtp_tls_policy::judge::{Inbound, admit, admit_handshake};
use smtp_tls_policy::pki::{Reference, RootsId, Trust, TrustStore};
use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
use smtp_tls_policy::rules::{
    ClientCertificate, ClientCheck, IdentityId, InboundConnector, InboundConnectors,
    OutboundConnector, Posture,
};
use smtp_tls_policy::tls::*;
use smtp_tls_policy::{Domain, Host, Namespace, Reason, pki_types};

fn partners() -> RootsId {
    RootsId::new("partners")
}

struct World {
    public: Authority,
    partner: Authority,
    trust: Arc<dyn TrustStore>,
}

impl World {
    fn new() -> Self {
        let (public, partner) = (Authority::new("Public"), Authority::new("Partner CA"));
        let mut trust = Trust::empty();
        trust.add_root_der(&RootsId::public(), &public.der).unwrap();
        trust.add_root_der(&partners(), &partner.der).unwrap();
        Self { public, partner, trust: Arc::new(trust) }
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
        let (mut tls, _) = client_tls(provider.clone());
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

/// One listener: a partner whose domain is tied to a certificate, one who may have any from these roots, one of whom it is
/// only written down, and the world.
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
        // What the client shows; what `tied`, `any` say. `noted` and the world take everybody.
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
            (
                "a host's",
                Some(&host),
                Some(("554 5.7.0", Reason::CertWrongPurpose)),
                Some(("554 5.7.0", Reason::CertWrongPurpose)),
            ),
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
            // Some connector takes mail from anybody: nobody is sent away before MAIL.
            assert!(admit_handshake(&connectors, &chain, &*world.trust, now()).is_ok());
            for (sender, expected) in
                [("tied", tied), ("any", any), ("noted", None), ("elsewhere", None)]
            {
                let sender = Domain::parse(&format!("{sender}.example")).unwrap();
                let connector = connectors.find(Some(&sender));
                let inbound = Inbound {
                    connector,
                    tls: true,
                    chain: &chain,
                    trust: &*world.trust,
                    now: now(),
                };
                let said = admit(&inbound)
                    .err()
                    .map(|r| (format!("{} {}", r.code(), r.status()), r.reason()));
                let expected = expected.map(|(status, reason)| (status.to_owned(), reason));
                assert_eq!(said, expected, "{name} for {sender} with {:?}", version.version);
            }
        }
    }
}

/// An identity belongs to the connector that names it: nobody else's connection shows it, not even to the same host.
#[test]
fn an_identity_is_shown_for_its_own_connector_only() {
    let world = World::new();
    let (ours, theirs) =
        (world.client(&world.partner, |_| {}), world.client(&world.partner, |_| {}));
    let host = world.public.issue(&leaf_params(&[HOST]));
    let name = Host::parse(HOST).unwrap();
    for version in VERSIONS {
        let provider = provider_of(version);
        let (mut tls, _) = client_tls(provider.clone());
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
