//! CRLite beside revocation lists: the rows of the golden table, which question the filters are
//! asked, and SCTs that cannot be read.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::table::section;
use common::*;
use pki_types::{CertificateDer, UnixTime};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use smtp_tls_policy::judge::{Standing, Verdict, admit};
use smtp_tls_policy::pki::{
    Crlite, CrliteStatus, DEFAULT_CRLITE_MAX_AGE, LiveTrust, MAX_SCTS, Revocation, RootsId, Sct,
    Trust,
};
use smtp_tls_policy::plan::{Facts, HostOrigin, Plan, plan};
use smtp_tls_policy::rules::{
    ClientCertificate, ClientCheck, InboundConnector, OutboundConnector, Posture,
};
use smtp_tls_policy::{Fault, Host, Namespace, Reason};

const HOST: &str = "mx.example.net";
const URL: &str = "http://example.com/1.crl";
const LOG: u8 = 7;
const MILLISECONDS: u64 = NOW * 1000 - 5;

/// The parts of a question: the hash of the issuer's key, the serial number and the SCTs.
type Asked = ([u8; 32], Vec<u8>, Vec<Sct>);

/// An SCT of version 1.
fn sct(log: u8, milliseconds: u64) -> Vec<u8> {
    let signature = [4, 3, 0, 2, 0xab, 0xcd];
    [&[0][..], &[log; 32], &milliseconds.to_be_bytes(), &[0, 0], &signature].concat()
}

/// `opaque<0..2^16-1>`
fn vector(contents: &[u8]) -> Vec<u8> {
    [&u16::try_from(contents.len()).unwrap().to_be_bytes(), contents].concat()
}

fn sct_list(scts: &[Vec<u8>]) -> Vec<u8> {
    vector(&scts.iter().flat_map(|sct| vector(sct)).collect::<Vec<_>>())
}

fn octet_string(contents: &[u8]) -> Vec<u8> {
    let len = u16::try_from(contents.len()).unwrap();
    let head = match len {
        0..0x80 => vec![len as u8],
        0x80..0x100 => vec![0x81, len as u8],
        _ => [&[0x82][..], &len.to_be_bytes()].concat(),
    };
    [&[0x04][..], &head, contents].concat()
}

/// The parameters of a host's certificate with this value of the extension.
fn with_extension(value: Vec<u8>) -> rcgen::CertificateParams {
    let mut params = leaf_params(&[HOST]);
    params.crl_distribution_points =
        vec![rcgen::CrlDistributionPoint { uris: vec![URL.to_owned()] }];
    let id = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
    params.custom_extensions.push(rcgen::CustomExtension::from_oid_content(&id, value));
    params
}

fn with_scts(scts: &[Vec<u8>]) -> rcgen::CertificateParams {
    with_extension(octet_string(&sct_list(scts)))
}

fn trust_in(root: &Authority) -> Trust {
    let mut trust = Trust::empty();
    trust.add_root_der(&RootsId::public(), &root.der).unwrap();
    trust
}

fn plan_of(posture: &str, revocation: &str) -> Plan {
    let posture = Posture::parse(posture).unwrap();
    let mut connector = OutboundConnector::new("c", vec![Namespace::Default], posture);
    connector.revocation = match revocation {
        "off" => Revocation::Off,
        "soft" => Revocation::Soft,
        "if-configured" => Revocation::IfConfigured,
        "hard" => Revocation::Hard,
        other => panic!("{other}"),
    };
    let (next_hop, host) = (Host::parse("example.com").unwrap(), Host::parse(HOST).unwrap());
    plan(&Facts::new(&connector, &next_hop, &host, HostOrigin::Mx)).unwrap()
}

fn seconds(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn crlite(answer: CrliteStatus, made: u64) -> Crlite {
    Crlite::new(move |_, _, _| answer, seconds(made))
}

/// The outcome in the words of the table.
fn outcome(plan: &Plan, verdict: &Verdict) -> String {
    match verdict.standing() {
        Standing::Acceptable => "TLS".into(),
        Standing::NotTls => "clear".into(),
        Standing::Refused | Standing::LocalFault if plan.awaited_lists(verdict).is_some() => {
            format!("wait, then next {}", plan.status(verdict.reason()).unwrap())
        }
        Standing::Refused | Standing::LocalFault => {
            format!("next {}", plan.status(verdict.reason()).unwrap())
        }
    }
}

#[test]
fn each_state_of_list_and_filter_under_each_rule() {
    let root = Authority::new("Root");
    let good = with_scts(&[sct(LOG, MILLISECONDS)]);
    let (mut bare, mut short) = (good.clone(), good.clone());
    bare.custom_extensions.clear();
    (short.not_before, short.not_after) = (days(-1), days(1));
    let [good, bare, short] = [good, bare, short].map(|params| root.issue(&params).der);
    let (_, rows) = section("CRLite");
    assert!(rows.len() >= 40);
    for row in rows {
        let [rule, posture, revocation, list, filter, result, reason, finding] = row[..] else {
            panic!("{row:?}")
        };
        let at = format!("{rule} {posture} {revocation} {list} {filter}");
        let mut trust = trust_in(&root);
        let mut leaf = &good;
        let lists = match list {
            "none" => Vec::new(),
            "none is needed" => {
                leaf = &short;
                Vec::new()
            }
            "current" => vec![root.crl(&[])],
            "expired" => vec![root.crl_dated(&[], days(-3), days(-1))],
            "revokes" => vec![root.crl(&[SERIAL])],
            "of another key" => vec![Authority::new("Root").crl(&[])],
            other => panic!("{other}"),
        };
        for list in lists {
            trust.add_crl_der(&RootsId::public(), &list).unwrap();
        }
        let day = 24 * 3600;
        let (fresh, old) = (NOW - day, NOW - DEFAULT_CRLITE_MAX_AGE.as_secs() - 1);
        trust.set_crlite(match filter {
            "not asked" => None,
            "no data" => Some(Crlite::without_data()),
            "no SCTs" => {
                leaf = &bare;
                Some(crlite(CrliteStatus::Good, fresh))
            }
            "good" => Some(crlite(CrliteStatus::Good, fresh)),
            "revoked" => Some(crlite(CrliteStatus::Revoked, fresh)),
            "not covered" => Some(crlite(CrliteStatus::NotCovered, fresh)),
            "not enrolled" => Some(crlite(CrliteStatus::NotEnrolled, fresh)),
            "good, ten days old" => Some(crlite(CrliteStatus::Good, old + 1)),
            "good, older" => Some(crlite(CrliteStatus::Good, old)),
            "good, from the future" => Some(crlite(CrliteStatus::Good, NOW + 1)),
            "revoked, older" => Some(crlite(CrliteStatus::Revoked, old)),
            other => panic!("{other}"),
        });
        let plan = plan_of(posture, revocation);
        let verdict = plan.judge(std::slice::from_ref(leaf), &trust, now());
        assert_eq!(outcome(&plan, &verdict), result, "{at}");
        assert_eq!(verdict.reason().code(), reason, "{at}");
        let [found] = verdict.findings() else { panic!("{at}: one check") };
        assert_eq!(found.crlite.map_or("-", CrliteStatus::code), finding, "{at}");
        if let Some(status) = found.crlite {
            let text = found.to_string();
            assert!(text.contains(&status.to_string()), "{at}: {text}");
            let defect = found.result.as_ref().err();
            assert_eq!(defect.map_or(found.crlite, |it| it.crlite()), found.crlite, "{at}");
        }
    }
}

#[test]
fn filters_are_asked_about_issuer_key_serial_and_scts_of_the_leaf_alone() {
    let root = Authority::new("Root");
    let issuer = root.below("Issuer", |params| {
        // An authority with SCTs of its own is not asked about.
        params.custom_extensions = with_scts(&[sct(1, 1)]).custom_extensions;
    });
    let mut params = with_scts(&[sct(LOG, MILLISECONDS), sct(8, 0)]);
    // The leading zero of the INTEGER belongs to it.
    params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x00, 0x80, 0x01]));
    let leaf = issuer.issue(&params).der;
    let asked = Arc::new(Mutex::new(Vec::<Asked>::new()));
    let asking = Arc::clone(&asked);
    let look_up = move |issuer: &[u8; 32], serial: &[u8], scts: &[Sct]| {
        asking.lock().unwrap().push((*issuer, serial.to_vec(), scts.to_vec()));
        CrliteStatus::Good
    };
    let mut trust = trust_in(&root);
    trust.set_crlite(Some(Crlite::new(look_up, now())));
    let verdict =
        plan_of("verified", "soft").judge(&[leaf.clone(), issuer.der.clone()], &trust, now());
    assert_eq!(verdict.reason(), Reason::TlsOk);
    let (_, parsed) = x509_parser::parse_x509_certificate(&issuer.der).unwrap();
    let hash: [u8; 32] = Sha256::digest(parsed.public_key().raw).into();
    let scts = vec![Sct::new([LOG; 32], MILLISECONDS), Sct::new([8; 32], 0)];
    assert_eq!(*asked.lock().unwrap(), [(hash, vec![0x00, 0x80, 0x01], scts)]);
    // Under the rule "hard" the authority still needs the list of the root.
    let chain = [leaf, issuer.der];
    let hard = plan_of("verified", "hard");
    let verdict = hard.judge(&chain, &trust, now());
    assert_eq!(verdict.reason(), Reason::RevocationUnknown);
    let defect = verdict.defect().unwrap();
    assert_eq!((defect.certificate(), defect.crlite()), (Some(1), None));
    // The list of the leaf, which it names, is not waited for.
    assert!(verdict.missing_lists().is_empty());
    trust.add_crl_der(&RootsId::public(), &root.crl(&[])).unwrap();
    assert_eq!(hard.judge(&chain, &trust, now()).reason(), Reason::TlsOk);
}

/// The status of a certificate with this value of the extension, by filters that know each one.
fn status_with(root: &Authority, value: Vec<u8>) -> CrliteStatus {
    let leaf = root.issue(&with_extension(value)).der;
    let mut trust = trust_in(root);
    trust.set_crlite(Some(crlite(CrliteStatus::Good, NOW)));
    let verdict = plan_of("verified", "soft").judge(&[leaf], &trust, now());
    assert_eq!(verdict.reason(), Reason::TlsOk, "{verdict}");
    verdict.findings()[0].crlite.unwrap()
}

#[test]
fn scts_that_cannot_be_read_count_as_none() {
    let root = Authority::new("Root");
    let good = sct(LOG, MILLISECONDS);
    let one = [good.clone()];
    let list = |scts: &[Vec<u8>]| octet_string(&sct_list(scts));
    let changed = |change: fn(&mut Vec<u8>)| {
        let mut sct = good.clone();
        change(&mut sct);
        list(&[sct])
    };
    let cases = [
        ("one", list(&one), CrliteStatus::Good),
        ("as many as are read", list(&vec![good.clone(); MAX_SCTS]), CrliteStatus::Good),
        ("one too many", list(&vec![good.clone(); MAX_SCTS + 1]), CrliteStatus::NoScts),
        ("a thousand", list(&vec![good.clone(); 1000]), CrliteStatus::NoScts),
        ("of another version", changed(|sct| sct[0] = 1), CrliteStatus::NoScts),
        ("one of another version", list(&[vec![1], good.clone()]), CrliteStatus::Good),
        ("octets after an SCT", changed(|sct| sct.push(0)), CrliteStatus::NoScts),
        ("a long signature", changed(|sct| sct[46] = 0xff), CrliteStatus::NoScts),
        ("empty list", list(&[]), CrliteStatus::NoScts),
        ("empty SCT", list(&[Vec::new()]), CrliteStatus::NoScts),
        (
            "octets after the list",
            octet_string(&[sct_list(&one), vec![0]].concat()),
            CrliteStatus::NoScts,
        ),
        ("empty string", octet_string(&[]), CrliteStatus::NoScts),
    ];
    for (name, value, expected) in cases {
        assert_eq!(status_with(&root, value), expected, "{name}");
    }
    let whole = sct_list(&[good.clone(), good]);
    for len in 0..whole.len() {
        let status = status_with(&root, octet_string(&whole[..len]));
        assert_eq!(status, CrliteStatus::NoScts, "the first {len} octets");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_value_of_the_extension_is_judged(value in prop::collection::vec(any::<u8>(), 0..200)) {
        let root = Authority::new("Root");
        let wrapped = vector(&vector(&[&[0][..], &value].concat()));
        for value in [value, wrapped] {
            let status = status_with(&root, octet_string(&value));
            prop_assert!(matches!(status, CrliteStatus::NoScts | CrliteStatus::Good));
        }
    }
}

#[test]
fn data_of_a_longer_or_shorter_age_is_a_setting() {
    let root = Authority::new("Root");
    let leaf = root.issue(&with_scts(&[sct(LOG, MILLISECONDS)])).der;
    let status = |age: u64, limit: u64| {
        let data = crlite(CrliteStatus::Good, NOW - age).with_max_age(Duration::from_secs(limit));
        assert_eq!(data.made(), Some(seconds(NOW - age)));
        let mut trust = trust_in(&root);
        trust.set_crlite(Some(data));
        let chain = std::slice::from_ref(&leaf);
        let verdict = plan_of("verified", "soft").judge(chain, &trust, now());
        verdict.findings()[0].crlite
    };
    assert_eq!(status(60, 60), Some(CrliteStatus::Good));
    assert_eq!(status(61, 60), Some(CrliteStatus::OutOfDate(seconds(NOW - 61))));
    assert_eq!(Crlite::without_data().made(), None);
}

#[test]
fn defect_says_what_crlite_says_and_the_wait_is_as_without_it() {
    let root = Authority::new("Root");
    let leaf = root.issue(&with_scts(&[sct(LOG, MILLISECONDS)])).der;
    let judge = |crlite: Option<Crlite>| {
        let mut trust = trust_in(&root);
        trust.set_crlite(crlite);
        plan_of("verified", "hard").judge(std::slice::from_ref(&leaf), &trust, now())
    };
    for (crlite, text) in [
        (Crlite::without_data(), "CRLite: no data"),
        (crlite(CrliteStatus::NotCovered, NOW), "CRLite: not covered"),
        (crlite(CrliteStatus::NotEnrolled, NOW), "CRLite: issuer not enrolled"),
        (crlite(CrliteStatus::Good, 0), "CRLite: out of date, the data is of 1970-01-01T00:00:00Z"),
    ] {
        let verdict = judge(Some(crlite));
        assert_eq!(
            verdict.to_string(),
            format!(
                "no revocation list loaded here covers the certificate (leaf, issuer \"CN=Root\", \
                 {text})"
            )
        );
        assert_eq!(verdict.missing_lists(), judge(None).missing_lists());
        assert_eq!(verdict.missing_lists().len(), 1);
    }
    let revoked = judge(Some(crlite(CrliteStatus::Revoked, NOW)));
    assert_eq!(revoked.to_string(), "the certificate has been revoked (leaf, CRLite: revoked)");
    assert_eq!(revoked.reason().fault(), Fault::Peer);
}

#[test]
fn client_certificate_that_crlite_revokes_is_refused() {
    let root = Authority::new("Root");
    let mut params = with_scts(&[sct(LOG, MILLISECONDS)]);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let chain = [root.issue(&params).der];
    let mut connector = InboundConnector::new("branch", vec![Namespace::Default]);
    connector.client_certificate = ClientCertificate::Required(ClientCheck::new(RootsId::public()));
    let reason = |answer| {
        let mut trust = trust_in(&root);
        trust.set_crlite(Some(crlite(answer, NOW)));
        let (tls, now) = (Some(TLS), now());
        admit(&connector, tls, &chain, &trust, now)
            .err()
            .map(|refusal| (refusal.code(), refusal.reason()))
    };
    assert_eq!(reason(CrliteStatus::Good), None);
    assert_eq!(reason(CrliteStatus::Revoked), Some((554, Reason::CertRevoked)));
}

/// Configurations and sessions of TLS belong to a generation of the trust.
#[test]
fn filters_that_are_replaced_begin_a_new_generation() {
    let root = Authority::new("Root");
    let leaf: CertificateDer<'static> = root.issue(&with_scts(&[sct(LOG, MILLISECONDS)])).der;
    let live = LiveTrust::new(trust_in(&root));
    let judge = || {
        let chain = std::slice::from_ref(&leaf);
        plan_of("verified", "soft").judge(chain, &live.load(), now()).reason()
    };
    let before = live.generation();
    live.update(|trust| trust.set_crlite(Some(crlite(CrliteStatus::Revoked, NOW))));
    assert_ne!(live.generation(), before);
    assert_eq!(judge(), Reason::CertRevoked);
    live.update(|trust| trust.set_crlite(Some(crlite(CrliteStatus::Good, NOW))));
    assert_eq!(judge(), Reason::TlsOk);
}

/// The data still revokes, but clears no certificate. An administrator would not see it otherwise.
#[cfg(feature = "serde")]
#[test]
fn filters_that_are_out_of_date_are_a_warning_of_the_configuration() {
    let text = "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\nposture = \"secure\"\n";
    let config = smtp_tls_policy::rules::Config::parse("c.toml", text).unwrap();
    let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let warnings = |crlite| {
        let mut trust = Trust::empty();
        trust.set_crlite(crlite);
        let found = config.warnings(text, &trust, at(NOW));
        found.into_iter().map(|warning| warning.message).collect::<Vec<_>>()
    };
    let data = |made| Crlite::new(|_, _, _| CrliteStatus::Good, at(made));
    let age = DEFAULT_CRLITE_MAX_AGE.as_secs();
    for (crlite, wanted) in [
        (None, 0),
        (Some(Crlite::without_data()), 0),
        (Some(data(NOW)), 0),
        (Some(data(NOW - age)), 0),
        (Some(data(NOW - age - 1)), 1),
        (Some(data(NOW + 1)), 1),
    ] {
        let found = warnings(crlite);
        assert_eq!(found.len(), wanted, "{found:?}");
        assert!(found.iter().all(|it| it.contains("clears no certificate")), "{found:?}");
    }
}
