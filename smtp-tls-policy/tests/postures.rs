//! The posture table: each kind of certificate under each posture, judged by itself and in real
//! handshakes of TLS 1.2 and 1.3, which must come to the same.

mod common;

use std::sync::Arc;

use common::sts::StsPolicy;
use common::tls::*;
use common::*;
use pki_types::CertificateDer;
use rcgen::{BasicConstraints, CustomExtension, ExtendedKeyUsagePurpose, IsCa, PublicKeyData};
use sha2::{Digest, Sha256};
use smtp_tls_policy::judge::Verdict;
use smtp_tls_policy::pki::{LiveTrust, Pin, Reference, RootsId, TlsaRecord, TlsaSet, Trust};
use smtp_tls_policy::plan::{DnsStatus, Facts, HostOrigin, Plan, TlsaFact, plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::tls::*;
use smtp_tls_policy::{Host, Namespace, Reason, pki_types};

/// What a cell says: `-` nothing is asked; `ok` every check passed; else the reason for which it
/// failed.
///
/// Columns: Opportunistic and Encrypt, and TLSA records that are all unusable (nothing is asked) |
/// Deterministic, Verified, Secure, Private CA | MTA-STS enforce | DANE-TA(2) | DANE-EE(3) and
/// Pinned.
const TABLE: &[(&str, &str, &str, &str, &str, &str)] = &[
    ("good", "-", "ok", "ok", "ok", "ok"),
    ("expired", "-", "cert-expired", "cert-expired", "cert-expired", "ok"),
    ("not yet valid", "-", "cert-not-yet-valid", "cert-not-yet-valid", "cert-not-yet-valid", "ok"),
    // RFC 7672, section 3.1.2 speaks of no lists: the domain takes its record back.
    ("revoked", "-", "cert-revoked", "cert-revoked", "ok", "ok"),
    ("another name", "-", "cert-name-mismatch", "cert-name-mismatch", "cert-name-mismatch", "ok"),
    ("no name", "-", "cert-name-mismatch", "cert-name-mismatch", "cert-name-mismatch", "ok"),
    // RFC 8461, section 4.1: DNS-ID only.
    ("common name only", "-", "ok", "cert-name-mismatch", "ok", "ok"),
    ("self-signed", "-", "cert-self-signed", "cert-self-signed", "dane-mismatch", "ok"),
    ("version 1", "-", "cert-self-signed", "cert-self-signed", "dane-mismatch", "ok"),
    ("another authority", "-", "cert-unknown-issuer", "cert-unknown-issuer", "dane-mismatch", "ok"),
    ("an authority's", "-", "cert-is-ca", "cert-is-ca", "cert-is-ca", "ok"),
    (
        "unknown critical extension",
        "-",
        "cert-unsupported",
        "cert-unsupported",
        "cert-unsupported",
        "ok",
    ),
    ("malformed extension", "-", "cert-malformed", "cert-malformed", "cert-malformed", "ok"),
    ("for clients", "-", "cert-wrong-purpose", "cert-wrong-purpose", "cert-wrong-purpose", "ok"),
];

const REVOKED: u8 = 43;

struct World {
    root: Authority,
    stranger: Authority,
    trust: Arc<LiveTrust>,
}

impl World {
    fn new() -> Self {
        let (root, stranger) = (Authority::new("Root"), Authority::new("Stranger"));
        let mut trust = Trust::empty();
        for id in [RootsId::public(), RootsId::new("private")] {
            trust.add_root_der(&id, &root.der).unwrap();
            trust.add_crl_der(&id, &root.crl(&[REVOKED])).unwrap();
        }
        Self { root, stranger, trust: trust.into() }
    }

    fn certificate(&self, what: &str) -> Leaf {
        let mut params = leaf_params(&[HOST]);
        let extension =
            |params: &mut rcgen::CertificateParams, oid: &[u64], content: &[u8], critical| {
                let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
                extension.set_criticality(critical);
                params.custom_extensions.push(extension);
            };
        match what {
            "good" => {}
            "expired" => params.not_after = days(-1),
            "not yet valid" => params.not_before = days(1),
            "revoked" => params.serial_number = Some(rcgen::SerialNumber::from_slice(&[REVOKED])),
            "another name" => params = leaf_params(&["mx.other.example"]),
            "no name" => params = leaf_params(&[]),
            "common name only" => {
                params = leaf_params(&[]);
                common_name(&mut params, HOST);
            }
            "self-signed" => {
                let key = rcgen::KeyPair::generate().unwrap();
                let der = params.self_signed(&key).unwrap().der().clone();
                return Leaf { der, key };
            }
            "version 1" => return version_1(),
            "another authority" => return self.stranger.issue(&params),
            "an authority's" => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            "unknown critical extension" => extension(&mut params, &[1, 2, 3, 4], &[5, 0], true),
            "malformed extension" => extension(&mut params, &[2, 5, 29, 19], b"\x30\x7f", false),
            "for clients" => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            other => panic!("{other}"),
        }
        self.root.issue(&params)
    }

    /// The plans of a column of the table.
    fn plans(&self, column: usize, leaf: &Leaf) -> Vec<(&'static str, Plan)> {
        let key = leaf.key.subject_public_key_info();
        let root = self.root.issuer.key().subject_public_key_info();
        let record = |usage, octets: &[u8]| TlsaRecord {
            usage,
            selector: 1,
            matching: 1,
            data: Sha256::digest(octets).to_vec(),
        };
        let connector = |posture| {
            let mut connector = OutboundConnector::new("c", vec![Namespace::Default], posture);
            if posture == Posture::PrivateCa {
                connector.roots = RootsId::new("private");
            }
            if posture == Posture::Pinned {
                connector.pins = vec![Pin::of_raw_key(&key.clone().into())];
            }
            connector
        };
        let (next_hop, host) = (Host::parse("example.com").unwrap(), Host::parse(HOST).unwrap());
        let of = |posture, records: &[TlsaRecord], policy: StsPolicy| {
            let connector = connector(posture);
            let tlsa = match records {
                [] => TlsaFact::Absent,
                records => TlsaFact::Found(TlsaSet::new(host.domain().unwrap().clone(), records)),
            };
            let mut facts = Facts::new(&connector, &next_hop, &host, HostOrigin::Mx);
            (facts.mx, facts.tlsa) = (DnsStatus::Secure, &tlsa);
            let sts = policy.answer(&[HOST]);
            facts.sts = &sts;
            plan(&facts).unwrap()
        };
        let plain = |posture| of(posture, &[], StsPolicy::None);
        let any = Posture::Opportunistic;
        match column {
            0 => vec![
                ("opportunistic", plain(any)),
                ("encrypt", plain(Posture::Encrypt)),
                ("tlsa unusable", of(any, &[record(1, &key)], StsPolicy::None)),
            ],
            1 => vec![
                ("deterministic", plain(Posture::Deterministic)),
                ("verified", plain(Posture::Verified)),
                ("secure", plain(Posture::Secure)),
                ("private-ca", plain(Posture::PrivateCa)),
            ],
            2 => vec![("sts", of(any, &[], StsPolicy::Enforce { mx_matches: true }))],
            3 => vec![("dane-ta", of(any, &[record(2, &root)], StsPolicy::None))],
            _ => vec![
                ("dane-ee", of(any, &[record(3, &key)], StsPolicy::None)),
                ("dane-only", of(Posture::DaneOnly, &[record(3, &key)], StsPolicy::None)),
                ("pinned", plain(Posture::Pinned)),
            ],
        }
    }

    /// What comes of a handshake: what the verdict says after it, or the verdict that ended it.
    fn shake(
        &self,
        plan: &Plan,
        leaf: &Leaf,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> String {
        let provider = provider_of(version);
        let client = client_tls(provider.clone()).0.config(plan, None, &self.trust).unwrap();
        let identity = certified(vec![leaf.der.clone(), self.root.der.clone()], &leaf.key);
        let server = server_config(identity, ClientCertificates::None, provider).unwrap();
        match shake(client, server, plan) {
            Ok(pair) => {
                assert_eq!(pair.client.protocol_version(), Some(version.version));
                cell(&judge_session(plan, &pair.client, &self.trust.load(), now()))
            }
            Err(error) => cell(verdict_of(&error).unwrap_or_else(|| panic!("{error}"))),
        }
    }
}

fn cell(verdict: &Verdict) -> String {
    match (verdict.findings(), verdict.reason()) {
        ([], Reason::TlsOk) => "-".to_owned(),
        (_, Reason::TlsOk) => {
            assert!(verdict.is_authenticated());
            "ok".to_owned()
        }
        (_, reason) => reason.code().to_owned(),
    }
}

#[test]
fn every_certificate_under_every_posture() {
    let world = World::new();
    for (what, nothing, pkix, sts, authority, exact) in TABLE {
        let leaf = world.certificate(what);
        let chain = [leaf.der.clone(), world.root.der.clone()];
        for (column, expected) in [nothing, pkix, sts, authority, exact].into_iter().enumerate() {
            for (name, plan) in world.plans(column, &leaf) {
                let judged = cell(&plan.judge(&chain, &world.trust.load(), now()));
                assert_eq!(judged, *expected, "{what} under {name}");
                for version in VERSIONS {
                    let shaken = world.shake(&plan, &leaf, version);
                    assert_eq!(shaken, *expected, "{what} under {name} with {:?}", version.version);
                }
            }
        }
    }
}

/// Dates include their ends (RFC 5280, section 4.1.2.5).
#[test]
fn the_first_and_the_last_second() {
    let world = World::new();
    let leaf = world.certificate("good");
    let (_, plan) = world.plans(1, &leaf).remove(0);
    let judge = |seconds: u64| {
        let time = pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        plan.judge(std::slice::from_ref(&leaf.der), &world.trust.load(), time).reason()
    };
    let (first, last) = (NOW - 10 * 86_400, NOW + 10 * 86_400);
    // The list is current on one day around now only: it is another test's.
    assert_eq!(judge(first - 1), Reason::CertNotYetValid);
    assert_ne!(judge(first), Reason::CertNotYetValid);
    assert_ne!(judge(last), Reason::CertExpired);
    assert_eq!(judge(last + 1), Reason::CertExpired);
}

/// A set of roots is what is put into it: private authorities instead of the public ones, or beside
/// them.
#[test]
fn private_authorities_instead_of_and_beside_the_public_ones() {
    let (public, private) = (Authority::new("Public"), Authority::new("Private"));
    let (instead, beside) = (RootsId::new("instead"), RootsId::new("beside"));
    let mut trust = Trust::empty();
    for (id, roots) in [
        (RootsId::public(), &[&public][..]),
        (instead.clone(), &[&private]),
        (beside.clone(), &[&public, &private]),
    ] {
        for root in roots {
            trust.add_root_der(&id, &root.der).unwrap();
        }
    }
    let host = Host::parse(HOST).unwrap();
    let judge = |roots: &RootsId, issuer: &Authority| {
        let mut connector =
            OutboundConnector::new("c", vec![Namespace::Default], Posture::Verified);
        connector.roots = roots.clone();
        let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap();
        plan.judge(&[issuer.issue(&leaf_params(&[HOST])).der], &trust, now()).reason()
    };
    for (roots, by_public, by_private) in [
        (RootsId::public(), Reason::TlsOk, Reason::CertUnknownIssuer),
        (instead, Reason::CertUnknownIssuer, Reason::TlsOk),
        (beside, Reason::TlsOk, Reason::TlsOk),
    ] {
        assert_eq!(
            (judge(&roots, &public), judge(&roots, &private)),
            (by_public, by_private),
            "{roots}"
        );
    }
}

/// A `*` is never part of a name that is wanted, and an address is never the text of a DNS name.
#[test]
fn names_at_the_edge() {
    assert!(Reference::parse("*.example.com").is_err());
    assert!(Reference::parse("*").is_err());
    assert!(Reference::parse(".*.example.com").is_err());
    assert!(Host::parse("*.example.com").is_err());

    let root = Authority::new("Root");
    let mut trust = Trust::empty();
    trust.add_root_der(&RootsId::public(), &root.der).unwrap();
    let judge = |host: &str, names: &[Vec<u8>]| {
        let mut params = leaf_params(&[]);
        let names = tlv(0x30, &names.concat());
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], names));
        let host = Host::parse(host).unwrap();
        let connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Verified);
        let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap();
        plan.judge(&[root.issue(&params).der], &trust, now()).reason()
    };
    let (dns, address) =
        (|name: &str| tlv(0x82, name.as_bytes()), |octets: &[u8]| tlv(0x87, octets));
    for (host, names, good) in [
        ("mx.example.com", vec![dns("mx.example.com.")], true),
        ("mx.example.com.", vec![dns("MX.EXAMPLE.COM")], true),
        ("mx.example.com", vec![dns("*.EXAMPLE.com.")], true),
        ("mx.example.com", vec![dns("")], false),
        ("mx.example.com", vec![dns(".")], false),
        ("mx.example.com", vec![dns(".example.com")], false),
        ("mx.example.com", vec![dns("mx.example.com\0.evil.example")], false),
        ("mx.example.com", vec![dns("mx.example.com ")], false),
        ("mx.example.com", vec![dns("**.example.com")], false),
        ("192.0.2.1", vec![dns("192.0.2.1")], false),
        ("192.0.2.1", vec![dns("*.0.2.1")], false),
        ("192.0.2.1", vec![address(&[192, 0, 2, 1])], true),
        ("192.0.2.1", vec![address(&[192, 0, 2, 1, 255, 255, 255, 255])], false),
        ("[IPv6:::ffff:192.0.2.1]", vec![address(&[192, 0, 2, 1])], false),
        ("mx.example.com", vec![address(b"mx.example.com")], false),
        // An address, a mailbox or a URI is no host name, whatever it reads like.
        ("mx.example.com", vec![tlv(0x81, b"mx.example.com")], false),
        ("mx.example.com", vec![tlv(0x86, b"mx.example.com")], false),
    ] {
        let reason = judge(host, &names);
        assert_eq!(reason == Reason::TlsOk, good, "{host} {names:?}: {reason}");
    }
}

/// Pins of the old and the new certificate, while a host changes from one to the other.
#[test]
fn a_pin_survives_a_rotation() {
    let world = World::new();
    let (old, new, foreign) =
        (world.certificate("good"), world.certificate("self-signed"), world.certificate("good"));
    let pins = [Pin::of_certificate(&old.der), Pin::of_key(&new.der).unwrap()];
    let mut connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Pinned);
    let host = Host::parse(HOST).unwrap();
    let mut judge = |pins: &[Pin], der: &CertificateDer<'static>| {
        connector.pins = pins.to_vec();
        let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap();
        plan.judge(std::slice::from_ref(der), &world.trust.load(), now()).reason()
    };
    // Before, during and after; and never another certificate of the same issuer.
    for (known, shown, good) in [
        (&pins[..1], &old.der, true),
        (&pins[..1], &new.der, false),
        (&pins[..], &old.der, true),
        (&pins[..], &new.der, true),
        (&pins[1..], &new.der, true),
        (&pins[1..], &old.der, false),
        (&pins[..], &foreign.der, false),
    ] {
        let expected = if good { Reason::TlsOk } else { Reason::PinMismatch };
        assert_eq!(judge(known, shown), expected, "{known:?}");
    }
}
