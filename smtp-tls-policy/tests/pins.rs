//! Pins: which texts are pins, and what they make of a host.

mod common;

use common::*;
use pki_types::CertificateDer;
use rcgen::PublicKeyData;
use smtp_tls_policy::judge::Standing;
use smtp_tls_policy::pki::PinError;
use smtp_tls_policy::pki::{Pin, Trust};
use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
use smtp_tls_policy::rules::{Floor, OutboundConnector, Posture};
use smtp_tls_policy::{Host, Namespace, Reason, pki_types};

#[test]
fn texts() {
    for (text, error) in [
        (String::new(), PinError::Selector),
        ("ab".repeat(32), PinError::Selector),
        (format!("key:sha256:{}", "ab".repeat(32)), PinError::Selector),
        (format!("spki:{}", "ab".repeat(32)), PinError::Algorithm),
        (format!("spki:sha1:{}", "ab".repeat(20)), PinError::Algorithm),
        (format!("cert:md5:{}", "ab".repeat(16)), PinError::Algorithm),
        (format!("spki:sha256:{}", "ab".repeat(31)), PinError::Digits),
        (format!("spki:sha384:{}", "ab".repeat(32)), PinError::Digits),
        (format!("spki:sha512:{}", "ab".repeat(65)), PinError::Digits),
        (format!("spki:sha256:{}x", "ab".repeat(31)), PinError::Digits),
    ] {
        assert_eq!(Pin::parse(&text), Err(error), "{text}");
    }
    for (algorithm, length) in [("sha256", 32), ("sha384", 48), ("sha512", 64)] {
        let text = format!("cert:{algorithm}:{}", "0f".repeat(length));
        assert_eq!(Pin::parse(&text).unwrap().to_string(), text);
    }
}

fn judge(pins: Vec<Pin>, chain: &[CertificateDer<'static>]) -> Reason {
    let mut connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Pinned);
    connector.pins = pins;
    let host = Host::parse("mx.example.com").unwrap();
    let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap();
    assert_eq!(plan.floor(), Floor::Authenticated);
    let verdict = plan.judge(chain, &Trust::empty(), now());
    assert_eq!(verdict.is_authenticated(), verdict.reason() == Reason::TlsOk);
    assert_ne!(verdict.standing(), Standing::NotTls);
    verdict.reason()
}

#[test]
fn the_certificate_or_the_key_and_nothing_else() {
    let root = Authority::new("Root");
    // Expired, for another name, self-signed, of version 1: a pin asks for none of that.
    let mut params = leaf_params(&["other.example"]);
    params.not_after = days(-1);
    for leaf in [root.issue(&params), version_1()] {
        let by_key = Pin::of_key(&leaf.der).unwrap();
        let by_certificate = Pin::of_certificate(&leaf.der);
        let chain = [leaf.der.clone()];
        assert_eq!(judge(vec![by_key.clone()], &chain), Reason::TlsOk);
        assert_eq!(judge(vec![by_certificate.clone()], &chain), Reason::TlsOk);
        // A pin is that of the host, not of an authority in its chain.
        let other = root.issue(&leaf_params(&["mx.example.com"]));
        assert_eq!(
            judge(vec![by_key.clone(), by_certificate], &[other.der.clone(), leaf.der.clone()]),
            Reason::PinMismatch
        );
        // Rotation: either of two.
        let next = Pin::of_key(&other.der).unwrap();
        for shown in [&leaf.der, &other.der] {
            assert_eq!(
                judge(vec![by_key.clone(), next.clone()], std::slice::from_ref(shown)),
                Reason::TlsOk
            );
        }
        assert_eq!(judge(vec![next], &chain), Reason::PinMismatch);
        // A renewed certificate keeps the pin of its key.
        let spki = leaf.key.subject_public_key_info();
        assert_eq!(Pin::of_raw_key(&spki.into()), by_key);
    }
    assert_eq!(judge(vec![Pin::of_certificate(&root.der)], &[]), Reason::CertMissing);
}

#[test]
fn longer_digests() {
    use sha2::{Digest, Sha384, Sha512};
    let leaf = Authority::new("Root").issue(&leaf_params(&["mx.example.com"])).der;
    let hex = |octets: &[u8]| {
        octets.iter().map(|octet| format!("{octet:02X}")).collect::<Vec<_>>().join(":")
    };
    for text in [
        format!("cert:sha384:{}", hex(&Sha384::digest(&leaf))),
        format!("cert:sha512:{}", hex(&Sha512::digest(&leaf))),
    ] {
        assert_eq!(
            judge(vec![Pin::parse(&text).unwrap()], std::slice::from_ref(&leaf)),
            Reason::TlsOk
        );
    }
}
