//! rustls at both ends, in memory.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::tls::*;
use common::*;
use pki_types::UnixTime;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, Error, HandshakeKind, ServerConnection};
use smtp_tls_policy::judge::Standing;
use smtp_tls_policy::pki::{LiveTrust, Replaced, Revocation, RootsId, Trust};
use smtp_tls_policy::plan::{Demand, Facts, HostOrigin, MessageTls, Plan, plan};
use smtp_tls_policy::rules::{Floor, IdentityId, OutboundConnector, Posture};
use smtp_tls_policy::tls::*;
use smtp_tls_policy::{Host, Namespace, Reason, pki_types};

fn plan_of(connector: &OutboundConnector) -> Plan {
    let host = Host::parse(HOST).unwrap();
    plan(&Facts::new(connector, &host, &host, HostOrigin::Mx)).unwrap()
}

fn posture(posture: Posture) -> OutboundConnector {
    let mut connector = OutboundConnector::new("c", vec![Namespace::Default], posture);
    if posture == Posture::PrivateCa {
        connector.roots = RootsId::new("private");
    }
    connector
}

fn trust(root: &Authority) -> Arc<LiveTrust> {
    let mut trust = Trust::empty();
    for id in [RootsId::public(), RootsId::new("private")] {
        trust.add_root_der(&id, &root.der).unwrap();
    }
    trust.into()
}

fn connect(
    connector: &OutboundConnector,
    identity: Arc<CertifiedKey>,
    root: &Authority,
    provider: Arc<CryptoProvider>,
) -> Result<Pair, Error> {
    let plan = plan_of(connector);
    let (tls, _) = client_tls(provider.clone());
    let client = tls.config(&plan, None, &trust(root)).unwrap();
    let server = server_config(identity, ClientCertificates::None, provider).unwrap();
    shake(client, server, &plan)
}

const TLS_POSTURES: [Posture; 6] = [
    Posture::Opportunistic,
    Posture::Deterministic,
    Posture::Encrypt,
    Posture::Verified,
    Posture::Secure,
    Posture::PrivateCa,
];

#[test]
fn a_good_certificate_under_every_posture() {
    let root = Authority::new("Root");
    let leaf = root.issue(&leaf_params(&[HOST]));
    for version in VERSIONS {
        for p in TLS_POSTURES {
            let identity = certified(vec![leaf.der.clone()], &leaf.key);
            let pair = connect(&posture(p), identity, &root, provider_of(version)).unwrap();
            assert_eq!(pair.client.protocol_version(), Some(version.version));
        }
    }
}

/// Case H09g: both ends are ours, so that no group of the server's choice is missing.
#[test]
fn p_521_key_works_in_both_versions() {
    let root = Authority::new("Root");
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    let der = leaf_params(&[HOST]).signed_by(&key, &root.issuer).unwrap().der().clone();
    for version in VERSIONS {
        for p in [Posture::Opportunistic, Posture::Verified] {
            let identity = certified(vec![der.clone()], &key);
            let pair = connect(&posture(p), identity, &root, provider_of(version)).unwrap();
            assert_eq!(pair.client.protocol_version(), Some(version.version));
        }
    }
}

/// A peer that shows a good public certificate, and signs with another key.
#[test]
fn a_certificate_whose_key_the_peer_does_not_hold() {
    let root = Authority::new("Root");
    let stolen = root.issue(&leaf_params(&[HOST]));
    let own = rcgen::KeyPair::generate().unwrap();
    for version in VERSIONS {
        for p in TLS_POSTURES {
            let identity = certified(vec![stolen.der.clone()], &own);
            let error = connect(&posture(p), identity, &root, provider_of(version))
                .err()
                .unwrap_or_else(|| panic!("{p} {version:?} accepted a replayed certificate"));
            assert!(verdict_of(&error).is_none());
            assert!(matches!(error, Error::InvalidCertificate(_)), "{error:?}");
        }
    }
    // The same with a certificate that only this crate's own walk can read.
    let (shown, other) = (version_1(), version_1());
    for version in VERSIONS {
        let identity = certified(vec![shown.der.clone()], &other.key);
        let p = posture(Posture::Opportunistic);
        assert!(connect(&p, identity, &root, provider_of(version)).is_err());
    }
}

/// What the path builder cannot parse works where no certificate is asked for, and nowhere else.
#[test]
fn odd_certificates_where_none_is_checked() {
    let root = Authority::new("Root");
    let v1 = version_1();
    let ca = {
        let mut params = leaf_params(&[HOST]);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        root.issue(&params)
    };
    let critical = {
        let mut params = leaf_params(&[HOST]);
        let mut extension = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
        root.issue(&params)
    };
    for version in VERSIONS {
        for (leaf, reason) in [
            (&v1, Reason::CertSelfSigned),
            (&ca, Reason::CertIsCa),
            (&critical, Reason::CertUnsupported),
        ] {
            let identity = || certified(vec![leaf.der.clone()], &leaf.key);
            for p in [Posture::Opportunistic, Posture::Encrypt] {
                connect(&posture(p), identity(), &root, provider_of(version)).unwrap();
            }
            for p in [Posture::Deterministic, Posture::Verified] {
                let error =
                    connect(&posture(p), identity(), &root, provider_of(version)).err().unwrap();
                assert_eq!(verdict_of(&error).unwrap().reason(), reason);
            }
        }
    }
}

#[test]
fn the_verdict_comes_out_of_the_handshake() {
    let (root, private) = (Authority::new("Root"), Authority::new("Private"));
    let leaf = private.issue(&leaf_params(&[HOST]));
    for (p, standing) in
        [(Posture::Deterministic, Standing::NotTls), (Posture::Verified, Standing::Refused)]
    {
        let identity = certified(vec![leaf.der.clone()], &leaf.key);
        let error = connect(&posture(p), identity, &root, provider()).err().unwrap();
        let verdict = verdict_of(&error).unwrap();
        assert_eq!(verdict.standing(), standing);
        assert_eq!(verdict.reason(), Reason::CertUnknownIssuer);
        // As tokio-rustls hands it on.
        let error = std::io::Error::new(std::io::ErrorKind::InvalidData, error.clone());
        assert_eq!(verdict_of_io(&error), Some(verdict));
    }
    let other = std::io::Error::new(std::io::ErrorKind::InvalidData, Error::HandshakeNotComplete);
    assert_eq!(verdict_of_io(&other), None);
    assert_eq!(verdict_of_io(&std::io::ErrorKind::TimedOut.into()), None);
}

/// Above the floor Plaintext a NotTls check is only recorded: judged afterwards, from the session.
#[test]
fn recorded_checks_are_judged_after_the_handshake() {
    let (root, private) = (Authority::new("Root"), Authority::new("Private"));
    let leaf = private.issue(&leaf_params(&[HOST]));
    let connector = posture(Posture::Deterministic);
    let host = Host::parse(HOST).unwrap();
    let demands = [Demand { by: "message".into(), floor: Floor::Encrypted }];
    let mut facts = Facts::new(&connector, &host, &host, HostOrigin::Mx);
    facts.demands = &demands;
    let plan = plan(&facts).unwrap();
    let (tls, _) = client_tls(provider());
    let trust = trust(&root);
    let client = tls.config(&plan, None, &trust).unwrap();
    let identity = certified(vec![leaf.der.clone()], &leaf.key);
    let server = server_config(identity, ClientCertificates::None, provider()).unwrap();
    let pair = shake(client, server, &plan).unwrap();
    let verdict = judge_session(&plan, &pair.client, &trust.load(), now());
    assert_eq!(verdict.standing(), Standing::Acceptable);
    assert!(!verdict.is_authenticated());
    assert_eq!(verdict.defect().unwrap().reason(), Reason::CertUnknownIssuer);
}

/// RFC 8689, section 4.2.1: a server that fails a message with REQUIRETLS gets QUIT, so the
/// handshake goes on. But no certificate of ours is shown to an unknown server.
#[test]
fn requiretls_is_judged_after_the_handshake_unless_an_identity_would_be_shown() {
    let (root, private) = (Authority::new("Root"), Authority::new("Private"));
    let leaf = private.issue(&leaf_params(&[HOST]));
    let own = root.issue(&leaf_params(&["client.example"]));
    let connector = posture(Posture::Opportunistic);
    let host = Host::parse(HOST).unwrap();
    let mut facts = Facts::new(&connector, &host, &host, HostOrigin::SmartHost);
    facts.message = MessageTls::Required;
    let plan = plan(&facts).unwrap();
    let trust = trust(&root);
    for version in VERSIONS {
        let (tls, _) = client_tls(provider_of(version));
        let id = IdentityId::new("own");
        tls.add_identity(id.clone(), certified(vec![own.der.clone()], &own.key));
        let server = || {
            let asking = ClientCertificates::Request { hints: Vec::new() };
            server_config(
                certified(vec![leaf.der.clone()], &leaf.key),
                asking,
                provider_of(version),
            )
            .unwrap()
        };
        let pair = shake(tls.config(&plan, None, &trust).unwrap(), server(), &plan).unwrap();
        let verdict = judge_session(&plan, &pair.client, &trust.load(), now());
        assert_eq!(
            (verdict.standing(), verdict.reason()),
            (Standing::Refused, Reason::CertUnknownIssuer)
        );

        let error =
            shake(tls.config(&plan, Some(&id), &trust).unwrap(), server(), &plan).err().unwrap();
        assert_eq!(verdict_of(&error).unwrap().reason(), Reason::CertUnknownIssuer);
    }
}

/// A server that resumes whatever it can, on one configuration.
struct Resuming {
    root: Authority,
    server: Arc<ServerConfig>,
}

impl Resuming {
    fn new() -> Self {
        let root = Authority::new("Root");
        let leaf = root.issue(&leaf_params(&[HOST]));
        let identity = certified(vec![leaf.der.clone()], &leaf.key);
        let server = server_config(identity, ClientCertificates::None, provider()).unwrap();
        Self { root, server }
    }

    fn kind(&self, client: Arc<ClientConfig>, plan: &Plan) -> HandshakeKind {
        let pair = shake(client, self.server.clone(), plan).unwrap();
        pair.client.handshake_kind().unwrap()
    }
}

#[test]
fn resumption_stays_within_one_configuration() {
    let peer = Resuming::new();
    let (tls, _) = client_tls(provider());
    let id = IdentityId::new("ours");
    let own = peer.root.issue(&leaf_params(&["client.example"]));
    tls.add_identity(id.clone(), certified(vec![own.der.clone()], &own.key));
    let (first, other) = (trust(&peer.root), trust(&peer.root));
    let lax = plan_of(&posture(Posture::Opportunistic));
    let strict = plan_of(&posture(Posture::Verified));
    let config = |plan: &Plan, id: Option<&IdentityId>, trust| tls.config(plan, id, trust).unwrap();

    assert_eq!(peer.kind(config(&lax, None, &first), &lax), HandshakeKind::Full);
    assert_eq!(peer.kind(config(&lax, None, &first), &lax), HandshakeKind::Resumed);
    // Another plan, identity or trust begins anew.
    assert_eq!(peer.kind(config(&strict, None, &first), &strict), HandshakeKind::Full);
    assert_eq!(peer.kind(config(&lax, Some(&id), &first), &lax), HandshakeKind::Full);
    assert_eq!(peer.kind(config(&lax, None, &other), &lax), HandshakeKind::Full);
    assert!(Arc::ptr_eq(&config(&lax, None, &first), &config(&lax, None, &first)));
}

#[test]
fn a_resumed_session_is_judged_again() {
    let peer = Resuming::new();
    let (tls, clock) = client_tls(provider());
    let trust = trust(&peer.root);
    let plan = plan_of(&posture(Posture::Deterministic));
    let config = tls.config(&plan, None, &trust).unwrap();
    let pair = shake(config.clone(), peer.server.clone(), &plan).unwrap();
    let verdict = judge_session(&plan, &pair.client, &trust.load(), now());
    assert!(verdict.is_authenticated());

    // The certificate expires while the ticket lives: the verifier is not asked, the stored chain
    // is.
    let late = NOW + 3600;
    clock.0.store(late, Ordering::Relaxed);
    let pair = shake(config, peer.server.clone(), &plan).unwrap();
    assert_eq!(pair.client.handshake_kind(), Some(HandshakeKind::Resumed));
    let then = UnixTime::since_unix_epoch(Duration::from_secs(NOW + 20 * 24 * 3600));
    let verdict = judge_session(&plan, &pair.client, &trust.load(), then);
    assert_eq!(verdict.reason(), Reason::CertExpired);
    tls.forget(&plan, None, &trust);
    let config = tls.config(&plan, None, &trust).unwrap();
    assert_eq!(peer.kind(config, &plan), HandshakeKind::Full);

    // A verifier that is asked goes by the clock it was given.
    clock.0.store(NOW + 20 * 24 * 3600, Ordering::Relaxed);
    tls.forget(&plan, None, &trust);
    let config = tls.config(&plan, None, &trust).unwrap();
    let error = shake(config, peer.server.clone(), &plan).err().unwrap();
    assert_eq!(verdict_of(&error).unwrap().reason(), Reason::CertExpired);
}

/// A list is replaced between two handshakes on one `ClientTls`: what was known before is not
/// resumed, and the peer is refused. So it is with a configuration that was made before.
#[test]
fn a_list_replaced_between_two_handshakes() {
    let peer = Resuming::new();
    let (tls, _) = client_tls(provider());
    let mut connector = posture(Posture::Verified);
    connector.revocation = Revocation::Hard;
    let plan = plan_of(&connector);
    let mut first = Trust::empty();
    first.add_root_der(&RootsId::public(), &peer.root.der).unwrap();
    first.add_crl_der(&RootsId::public(), &RawCrl::new().number(1).signed_by(&peer.root)).unwrap();
    let live = Arc::new(LiveTrust::new(first));
    let trust: Arc<LiveTrust> = live.clone();
    let config = || tls.config(&plan, None, &trust).unwrap();

    let before = config();
    assert_eq!(peer.kind(config(), &plan), HandshakeKind::Full);
    assert_eq!(peer.kind(config(), &plan), HandshakeKind::Resumed);
    let revoked = RawCrl::new().number(2).entries(&[entry(&[SERIAL], &[])]).signed_by(&peer.root);
    assert_eq!(live.replace_crl_der(&RootsId::public(), &revoked), Ok(Replaced::Replaced));

    let error = shake(config(), peer.server.clone(), &plan).err().unwrap();
    assert_eq!(verdict_of(&error).unwrap().reason(), Reason::CertRevoked);
    let pair = shake(before.clone(), peer.server.clone(), &plan).unwrap();
    assert_eq!(pair.client.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(
        judge_session(&plan, &pair.client, &trust.load(), now()).reason(),
        Reason::CertRevoked
    );
    // A full handshake under the old configuration asks the trust of the moment.
    let leaf = peer.root.issue(&leaf_params(&[HOST]));
    let identity = certified(vec![leaf.der.clone()], &leaf.key);
    let server = server_config(identity, ClientCertificates::None, provider()).unwrap();
    let mut held = ClientConfig::clone(&before);
    held.resumption = rustls::client::Resumption::disabled();
    let error = shake(Arc::new(held), server, &plan).err().unwrap();
    assert_eq!(verdict_of(&error).unwrap().reason(), Reason::CertRevoked);
}

#[test]
fn the_cache_is_bounded_and_knows_its_identities() {
    let root = Authority::new("Root");
    let trust = trust(&root);
    let (tls, _) = client_tls(provider());
    let tls = tls.with_max_configs(2);
    let plans = [
        plan_of(&posture(Posture::Opportunistic)),
        plan_of(&posture(Posture::Encrypt)),
        plan_of(&posture(Posture::Verified)),
    ];
    let of = |tls: &ClientTls, i: usize| tls.config(&plans[i], None, &trust).unwrap();
    let first = of(&tls, 0);
    let second = of(&tls, 1);
    assert!(Arc::ptr_eq(&first, &of(&tls, 0)));
    // The third one displaces the second, which was used less recently.
    of(&tls, 2);
    assert!(Arc::ptr_eq(&first, &of(&tls, 0)));
    assert!(!Arc::ptr_eq(&second, &of(&tls, 1)));

    let id = IdentityId::new("ours");
    assert_eq!(
        tls.config(&plans[0], Some(&id), &trust).unwrap_err(),
        TlsConfigError::UnknownIdentity(id.clone())
    );
    let own = root.issue(&leaf_params(&["client.example"]));
    let identity = || certified(vec![own.der.clone()], &own.key);
    tls.add_identity(id.clone(), identity());
    let with = |tls: &ClientTls| tls.config(&plans[0], Some(&id), &trust).unwrap();
    let before = with(&tls);
    tls.add_identity(id.clone(), identity());
    assert!(!Arc::ptr_eq(&before, &with(&tls)));
}

#[test]
fn client_certificates() {
    let root = Authority::new("Root");
    let leaf = root.issue(&leaf_params(&[HOST]));
    let own = root.issue(&leaf_params(&["client.example"]));
    let trust = trust(&root);
    let plan = plan_of(&posture(Posture::Opportunistic));
    let id = IdentityId::new("ours");
    let thief = rcgen::KeyPair::generate().unwrap();
    for version in VERSIONS {
        let provider = provider_of(version);
        let run = |key: Option<&rcgen::KeyPair>, ask: ClientCertificates| {
            let (tls, _) = client_tls(provider.clone());
            if let Some(key) = key {
                tls.add_identity(id.clone(), certified(vec![own.der.clone()], key));
            }
            let client = tls.config(&plan, key.map(|_| &id), &trust).unwrap();
            let identity = certified(vec![leaf.der.clone()], &leaf.key);
            let server = server_config(identity, ask, provider.clone()).unwrap();
            let pair = shake(client, server, &plan)?;
            Ok::<_, Error>(pair.server.peer_certificates().map(<[_]>::to_vec))
        };
        let request = || ClientCertificates::Request { hints: Vec::new() };
        // Not asked for, not shown; asked for and absent; asked for and shown.
        assert_eq!(run(Some(&own.key), ClientCertificates::None).unwrap(), None);
        assert_eq!(run(None, request()).unwrap(), None);
        let shown = run(Some(&own.key), request()).unwrap().unwrap();
        assert_eq!(shown, std::slice::from_ref(&own.der));
        // The key must be the client's.
        assert!(run(Some(&thief), request()).is_err());
    }
}

/// A listener resumes sessions, and still knows whose they are.
#[test]
fn a_resumed_client_is_still_known() {
    let root = Authority::new("Root");
    let leaf = root.issue(&leaf_params(&[HOST]));
    let own = root.issue(&leaf_params(&["client.example"]));
    let trust = trust(&root);
    let plan = plan_of(&posture(Posture::Opportunistic));
    let id = IdentityId::new("ours");
    for version in VERSIONS {
        let provider = provider_of(version);
        let (tls, _) = client_tls(provider.clone());
        tls.add_identity(id.clone(), certified(vec![own.der.clone()], &own.key));
        let identity = certified(vec![leaf.der.clone()], &leaf.key);
        let request = ClientCertificates::Request { hints: Vec::new() };
        let server = server_config(identity, request, provider).unwrap();
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let client = tls.config(&plan, Some(&id), &trust).unwrap();
            let pair = shake(client, server.clone(), &plan).unwrap();
            assert_eq!(pair.server.handshake_kind(), Some(kind));
            let shown = pair.server.peer_certificates().unwrap();
            assert_eq!(shown, std::slice::from_ref(&own.der));
        }
    }
}

/// Notes the server name indication of a client.
#[derive(Debug)]
struct Sni(Arc<CertifiedKey>, std::sync::Mutex<Option<Option<String>>>);

impl ResolvesServerCert for Sni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        *self.1.lock().unwrap() = Some(hello.server_name().map(str::to_owned));
        Some(self.0.clone())
    }
}

#[test]
fn the_server_name_is_sent_for_names_only() {
    let root = Authority::new("Root");
    let leaf = root.issue(&leaf_params(&[HOST, "192.0.2.1"]));
    let trust = trust(&root);
    for (host, sni) in [(HOST, Some(HOST)), ("[192.0.2.1]", None)] {
        let host = Host::parse(host).unwrap();
        let connector = posture(Posture::Verified);
        let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Literal)).unwrap();
        let (tls, _) = client_tls(provider());
        let config = tls.config(&plan, None, &trust).unwrap();
        let resolver = Arc::new(Sni(
            certified(vec![leaf.der.clone()], &leaf.key),
            std::sync::Mutex::default(),
        ));
        let server = Arc::new(
            ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(resolver.clone()),
        );
        let mut client = ClientConnection::new(config, server_name(&plan, &host).unwrap()).unwrap();
        let mut server = ServerConnection::new(server).unwrap();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets().unwrap();
        let seen = resolver.1.lock().unwrap().clone().unwrap();
        assert_eq!(seen.as_deref(), sni);
    }
}

#[test]
fn a_host_that_cannot_be_a_server_name() {
    let host = Host::parse("mx.123").unwrap();
    let connector = posture(Posture::Opportunistic);
    let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap();
    assert_eq!(server_name(&plan, &host), Err(TlsConfigError::ServerName(host)));
}

#[test]
fn names_of_what_was_negotiated() {
    let root = Authority::new("Root");
    let leaf = root.issue(&leaf_params(&[HOST]));
    for suite in aws_lc_rs::DEFAULT_CIPHER_SUITES {
        let name = format!("{:?}", suite.suite());
        if name.contains("RSA") {
            // The certificates made here have EC keys.
            continue;
        }
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = vec![*suite];
        let identity = certified(vec![leaf.der.clone()], &leaf.key);
        let p = posture(Posture::Opportunistic);
        let pair = connect(&p, identity, &root, Arc::new(provider)).unwrap();
        let names = session_names(&pair.client).unwrap();
        assert_eq!(names.cipher, name.replace("TLS13_", "TLS_"));
        let version = match name.starts_with("TLS13_") {
            true => "TLSv1.3",
            false => "TLSv1.2",
        };
        assert_eq!(names.version, version);
        assert_eq!(session_names(&pair.server), Some(names));
    }
}
