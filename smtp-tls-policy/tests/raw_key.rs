//! Raw public keys (RFC 7250): judged by themselves, and shown in handshakes.

mod common;

use std::sync::Arc;

use common::tls::*;
use common::*;
use pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use proptest::prelude::*;
use rcgen::PublicKeyData;
use rustls::{ClientConfig, Error, PeerIncompatible, ServerConfig};
use sha2::{Digest, Sha256, Sha512};
use smtp_tls_policy::judge::Standing;
use smtp_tls_policy::pki::{LiveTrust, Pin, TlsaRecord, TlsaSet, Trust};
use smtp_tls_policy::plan::{DnsStatus, Facts, HostOrigin, Plan, TlsaFact, plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::tls::*;
use smtp_tls_policy::{Host, Namespace, Reason, pki_types};

fn record(usage: u8, selector: u8, matching: u8, octets: &[u8]) -> TlsaRecord {
    let data = match matching {
        1 => Sha256::digest(octets).to_vec(),
        2 => Sha512::digest(octets).to_vec(),
        _ => octets.to_vec(),
    };
    TlsaRecord { usage, selector, matching, data }
}

fn dane(posture: Posture, records: &[TlsaRecord]) -> Plan {
    let host = Host::parse(HOST).unwrap();
    let tlsa = TlsaFact::Found(TlsaSet::new(host.domain().unwrap().clone(), records));
    let connector = OutboundConnector::new("c", vec![Namespace::Default], posture);
    let mut facts = Facts::new(&connector, &host, &host, HostOrigin::Mx);
    (facts.mx, facts.tlsa) = (DnsStatus::Secure, &tlsa);
    plan(&facts).unwrap()
}

fn pinned(pins: Vec<Pin>) -> Plan {
    let mut connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Pinned);
    connector.pins = pins;
    let host = Host::parse(HOST).unwrap();
    plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap()
}

fn plain(posture: Posture) -> Plan {
    let host = Host::parse(HOST).unwrap();
    let connector = OutboundConnector::new("c", vec![Namespace::Default], posture);
    plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap()
}

#[test]
fn records_of_the_key_and_no_others() {
    let leaf = Authority::new("Root").issue(&leaf_params(&[HOST]));
    let key = SubjectPublicKeyInfoDer::from(leaf.key.subject_public_key_info());
    let judge = |record: TlsaRecord| dane(Posture::Opportunistic, &[record]).judge_raw_key(&key);
    for matching in [0, 1, 2] {
        assert!(judge(record(3, 1, matching, &key)).is_authenticated());
        // RFC 7671, section 5.1: "raw public keys are not compatible with any other TLSA record
        // types".
        for (usage, selector, octets) in [(2, 1, &key[..]), (3, 0, &leaf.der), (2, 0, &leaf.der)] {
            let verdict = judge(record(usage, selector, matching, octets));
            assert_eq!(
                (verdict.reason(), verdict.standing()),
                (Reason::DaneMismatch, Standing::Refused)
            );
        }
    }
    let other = rcgen::KeyPair::generate().unwrap().subject_public_key_info();
    assert_eq!(
        judge(record(3, 1, 1, &other)).to_string(),
        "the certificate matches none of the host's TLSA records (leaf, a raw public key)"
    );
    // Rotation: one of several.
    let set = [record(3, 1, 1, &other), record(3, 1, 1, &key)];
    assert!(dane(Posture::Opportunistic, &set).judge_raw_key(&key).is_authenticated());
}

#[test]
fn pins_of_the_key_and_no_others() {
    let leaf = Authority::new("Root").issue(&leaf_params(&[HOST]));
    let key = SubjectPublicKeyInfoDer::from(leaf.key.subject_public_key_info());
    let other =
        Pin::of_raw_key(&rcgen::KeyPair::generate().unwrap().subject_public_key_info().into());
    assert!(
        pinned(vec![other.clone(), Pin::of_raw_key(&key)]).judge_raw_key(&key).is_authenticated()
    );
    assert_eq!(pinned(vec![other]).judge_raw_key(&key).reason(), Reason::PinMismatch);
    assert_eq!(
        pinned(vec![Pin::of_certificate(&leaf.der)]).judge_raw_key(&key).reason(),
        Reason::PinMismatch
    );
}

/// Neither is taken for the other: a key in a chain is no certificate, and a certificate is no key.
#[test]
fn a_key_is_no_certificate() {
    let leaf = Authority::new("Root").issue(&leaf_params(&[HOST]));
    let key = leaf.key.subject_public_key_info();
    let trust = Trust::empty();
    let as_certificate = CertificateDer::from(key.clone());
    let as_key = SubjectPublicKeyInfoDer::from(leaf.der.as_ref());
    for plan in [
        dane(Posture::Opportunistic, &[record(3, 1, 1, &key)]),
        pinned(vec![Pin::of_raw_key(&SubjectPublicKeyInfoDer::from(key.clone()))]),
    ] {
        assert!(plan.judge(std::slice::from_ref(&leaf.der), &trust, now()).is_authenticated());
        assert!(
            !plan.judge(std::slice::from_ref(&as_certificate), &trust, now()).is_authenticated()
        );
        assert_eq!(plan.judge_raw_key(&as_key).reason(), Reason::CertMalformed);
    }
    let key = SubjectPublicKeyInfoDer::from(key);
    for posture in [Posture::Deterministic, Posture::Verified] {
        let verdict = plain(posture).judge_raw_key(&key);
        assert_eq!(verdict.reason(), Reason::CertMissing);
        assert_ne!(verdict.standing(), Standing::Acceptable);
    }
}

#[test]
fn when_a_raw_key_may_be_asked_for() {
    let leaf = Authority::new("Root").issue(&leaf_params(&[HOST]));
    let key = leaf.key.subject_public_key_info();
    let (by_key, by_certificate) = (record(3, 1, 1, &key), record(3, 0, 1, &leaf.der));
    let authority = record(2, 1, 1, &key);
    assert!(dane(Posture::Opportunistic, std::slice::from_ref(&by_key)).takes_raw_key());
    assert!(dane(Posture::DaneOnly, std::slice::from_ref(&by_key)).takes_raw_key());
    // The PKIX check is only recorded there.
    assert!(dane(Posture::Deterministic, std::slice::from_ref(&by_key)).takes_raw_key());
    // A host that could pass by its certificate might not pass by its key.
    assert!(!dane(Posture::Opportunistic, &[by_key.clone(), by_certificate]).takes_raw_key());
    assert!(!dane(Posture::Opportunistic, &[by_key.clone(), authority]).takes_raw_key());
    assert!(!dane(Posture::Verified, &[by_key]).takes_raw_key());
    // No peer is authenticated, so there is nothing to gain.
    assert!(!plain(Posture::Opportunistic).takes_raw_key());
    assert!(!plain(Posture::Encrypt).takes_raw_key());
    let pin = Pin::of_raw_key(&key.into());
    assert!(pinned(vec![pin.clone()]).takes_raw_key());
    assert!(!pinned(vec![pin, Pin::of_certificate(&leaf.der)]).takes_raw_key());
}

fn trust() -> Arc<LiveTrust> {
    Trust::empty().into()
}

fn raw_client(plan: &Plan) -> Arc<ClientConfig> {
    client_tls(provider()).0.raw_key_config(plan, None, &trust()).unwrap()
}

fn raw_server(key: &rcgen::KeyPair) -> Arc<ServerConfig> {
    raw_key_server_config(signing_key(key), ClientCertificates::None, provider()).unwrap()
}

#[test]
fn a_handshake_with_a_raw_key() {
    let key = rcgen::KeyPair::generate().unwrap();
    let spki = key.subject_public_key_info();
    for plan in [
        dane(Posture::Opportunistic, &[record(3, 1, 1, &spki)]),
        pinned(vec![Pin::of_raw_key(&SubjectPublicKeyInfoDer::from(spki.clone()))]),
    ] {
        let (client, server) = (raw_client(&plan), raw_server(&key));
        for kind in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
            let pair = shake(client.clone(), server.clone(), &plan).unwrap();
            assert_eq!(pair.client.handshake_kind(), Some(kind));
            assert_eq!(pair.client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
            assert_eq!(pair.client.peer_certificates().unwrap()[0].as_ref(), spki);
            assert!(judge_raw_key_session(&plan, &pair.client).is_authenticated());
            // Under another plan the same session is worth nothing.
            let other = dane(Posture::Opportunistic, &[record(3, 1, 1, b"other")]);
            assert_eq!(judge_raw_key_session(&other, &pair.client).reason(), Reason::DaneMismatch);
        }
    }
}

#[test]
fn another_key_is_refused_in_the_handshake() {
    let plan = dane(Posture::Opportunistic, &[record(3, 1, 1, b"other")]);
    let error = shake(raw_client(&plan), raw_server(&rcgen::KeyPair::generate().unwrap()), &plan)
        .err()
        .unwrap();
    let verdict = verdict_of(&error).unwrap();
    assert_eq!((verdict.reason(), verdict.standing()), (Reason::DaneMismatch, Standing::Refused));
}

/// The right key, shown by a peer that does not hold it.
#[test]
fn a_replayed_key_is_refused() {
    let (shown, held) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let plan = dane(Posture::Opportunistic, &[record(3, 1, 1, &shown.subject_public_key_info())]);
    let thief = certified(vec![shown.subject_public_key_info().into()], &held);
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::server::AlwaysResolvesServerRawPublicKeys::new(
            thief,
        )));
    let error = shake(raw_client(&plan), Arc::new(server), &plan).err().unwrap();
    assert!(
        matches!(error, Error::InvalidCertificate(_)) && verdict_of(&error).is_none(),
        "{error:?}"
    );
}

/// What rustls 0.23 does not have: the choice of both. Each side that has one kind only refuses the
/// other, and the caller connects again for certificates.
#[test]
fn either_kind_alone() {
    let root = Authority::new("Root");
    let leaf = root.issue(&leaf_params(&[HOST]));
    let plan =
        dane(Posture::Opportunistic, &[record(3, 1, 1, &leaf.key.subject_public_key_info())]);
    let with_certificate = |provider| {
        let identity = certified(vec![leaf.der.clone()], &leaf.key);
        server_config(identity, ClientCertificates::None, provider).unwrap()
    };
    let incompatible = Error::PeerIncompatible(PeerIncompatible::IncorrectCertificateTypeExtension);
    let refused = |client, server| shake(client, server, &plan).err().unwrap();
    assert_eq!(refused(raw_client(&plan), with_certificate(provider())), incompatible);
    // TLS 1.2 is not even offered.
    let tls12 = with_certificate(provider_of(&rustls::version::TLS12));
    assert!(matches!(refused(raw_client(&plan), tls12), Error::PeerIncompatible(_)));

    let (tls, _) = client_tls(provider());
    let trust = trust();
    let for_certificates = tls.config(&plan, None, &trust).unwrap();
    assert_eq!(refused(for_certificates.clone(), raw_server(&leaf.key)), incompatible);
    // The way back: the same plan, by certificate.
    let pair = shake(for_certificates, with_certificate(provider()), &plan).unwrap();
    assert!(judge_session(&plan, &pair.client, &trust.load(), now()).is_authenticated());
    // And sessions of the one kind are no use for the other.
    assert!(!judge_raw_key_session(&plan, &pair.client).is_authenticated());
    assert!(!Arc::ptr_eq(
        &tls.config(&plan, None, &trust).unwrap(),
        &tls.raw_key_config(&plan, None, &trust).unwrap()
    ));

    let strict = plain(Posture::Verified);
    assert_eq!(
        tls.raw_key_config(&strict, None, &trust).unwrap_err(),
        TlsConfigError::RawKeyNotTaken
    );
}

/// A listener with both: the ClientHello says which.
#[test]
fn a_listener_chooses_by_the_client_hello() {
    let root = Authority::new("Root");
    let leaf = root.issue(&leaf_params(&[HOST]));
    let plan =
        dane(Posture::Opportunistic, &[record(3, 1, 1, &leaf.key.subject_public_key_info())]);
    let (tls, _) = client_tls(provider());
    let trust = trust();
    for (config, raw) in [
        (tls.config(&plan, None, &trust).unwrap(), false),
        (tls.raw_key_config(&plan, None, &trust).unwrap(), true),
    ] {
        let name = server_name(&plan, &Host::parse(HOST).unwrap()).unwrap();
        let mut client = rustls::ClientConnection::new(config, name).unwrap();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        let mut acceptor = rustls::server::Acceptor::default();
        acceptor.read_tls(&mut &wire[..]).unwrap();
        let accepted = acceptor.accept().unwrap().unwrap();
        assert_eq!(offers_raw_key(&accepted.client_hello()), raw);
    }
}

proptest! {
    /// Anything in place of the key is refused, and nothing panics.
    #[test]
    fn any_octets(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let plan = dane(Posture::Opportunistic, &[record(3, 1, 1, &octets)]);
        prop_assert!(!plan.judge_raw_key(&SubjectPublicKeyInfoDer::from(&octets[..])).is_authenticated());
    }
}
