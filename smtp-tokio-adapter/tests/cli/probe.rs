//! `smtp-tls probe`, without DNS.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use crate::common::{HOST, Pki};
use crate::program::{Folder, Ran, smtp_tls};
use crate::servers::{
    filtered, refused, rubbish, rubbish_after_starttls, scripted, web, with_tls, with_tls_of,
};

fn probe(address: SocketAddr, pki: &Pki, more: &[&str]) -> Ran {
    let folder = Folder::new();
    let root = folder.file("root.pem", pki.root_pem());
    let address = address.to_string();
    let mut arguments = vec!["probe", HOST, "--connect", &address, "--ca", &root];
    arguments.extend(more);
    if !more.contains(&"--timeout") {
        arguments.extend(["--timeout", "20"]);
    }
    smtp_tls(&arguments)
}

/// Each version and group that was offered alone, and whether it was taken.
fn taken(json: &serde_json::Value) -> Vec<(String, bool)> {
    let tls = &json["hosts"][0]["tls"];
    let of = |list: &str, name: &str| -> Vec<(String, bool)> {
        let all = tls[list].as_array().unwrap().iter();
        all.map(|it| (it[name].as_str().unwrap().to_owned(), it["taken"].as_bool().unwrap()))
            .collect()
    };
    [of("versions", "version"), of("groups", "group")].concat()
}

#[test]
fn a_server_with_a_good_certificate_gets_mail_over_tls() {
    let pki = Pki::new();
    let (address, kept) = with_tls(pki.identity(HOST));
    let ran = probe(address, &pki, &["--json"]);
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
    let json = ran.json();
    let rule = "posture deterministic, the default";
    assert_eq!((&json["ending"], &json["rule"]), (&"tls".into(), &rule.into()));
    let host = &json["hosts"][0];
    assert_eq!(host["tls"]["version"], "TLSv1.3");
    assert_eq!(host["tls"]["group"], "X25519MLKEM768");
    assert_eq!(host["tls"]["post_quantum"], true);
    assert_eq!(host["plain_hello"], serde_json::Value::Null);
    assert_eq!(
        taken(&json),
        [
            ("TLSv1.3".to_owned(), true),
            ("TLSv1.2".to_owned(), true),
            ("X25519MLKEM768".to_owned(), true),
            ("X25519".to_owned(), true),
            ("secp256r1".to_owned(), true),
            ("secp384r1".to_owned(), true),
        ]
    );
    let cipher = |at: usize| host["tls"]["versions"][at]["cipher"].as_str().unwrap();
    assert!(cipher(0).starts_with("TLS13_") || cipher(0).starts_with("TLS_AES"), "{host:#}");
    assert!(cipher(1).starts_with("TLS_ECDHE_"), "{host:#}");
    let commands: Vec<_> =
        host["clear_text"].as_array().unwrap().iter().map(|it| it["command"].clone()).collect();
    assert_eq!(commands, ["", "EHLO localhost.localdomain", "STARTTLS"]);
    let replies = |at: usize| host["clear_text"][at]["reply"].as_array().unwrap().clone();
    assert!(replies(0)[0].as_str().unwrap().starts_with("220 "));
    assert!(replies(1).iter().any(|line| line.as_str().unwrap().ends_with("STARTTLS")));
    assert!(replies(2)[0].as_str().unwrap().starts_with("220 "));
    let inside = host["inside_tls"].as_array().unwrap();
    assert!(inside.iter().any(|it| it == "PIPELINING"), "{inside:?}");
    assert!(!inside.iter().any(|it| it == "STARTTLS"), "{inside:?}");
    let certificate = &host["certificates"][0];
    assert_eq!(certificate["names"][0], HOST);
    assert_eq!(certificate["key"], "EC 256");
    assert!(certificate["pin"].as_str().unwrap().starts_with("spki:sha256:"));
    assert_eq!(host["decision"]["checks"][0]["passed"], true);
    // No mail was sent.
    assert!(kept.messages.lock().unwrap().is_empty());
    let text = probe(address, &pki, &[]);
    assert_eq!(text.status, 0);
    for part in ["TLSv1.3, TLS_", "X25519MLKEM768, post-quantum", "What each posture would decide:"]
    {
        assert!(text.stdout.contains(part), "{part}: {text:?}");
    }
    // A pin is one word.
    for line in text.stdout.lines().filter(|line| !line.contains("spki:")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

/// Certificates of each kind, and what each posture makes of them.
#[test]
fn each_posture_decides_by_the_certificate() {
    let (pki, other) = (Pki::new(), Pki::new());
    let expired = {
        let mut parameters = rcgen::CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2020, 2, 1);
        pki.sign(&parameters)
    };
    let deferred = ("deferred", 4);
    for (identity, reason, deterministic, verified) in [
        (pki.identity(HOST), "tls-ok", ("tls", 0), ("tls", 0)),
        (pki.identity("other.example"), "cert-name-mismatch", ("clear-text", 1), deferred),
        (expired, "cert-expired", ("clear-text", 1), deferred),
        // A root of the same name signs with another key.
        (other.identity(HOST), "cert-bad-signature", ("clear-text", 1), deferred),
    ] {
        let (address, _) = with_tls(identity);
        for (posture, (ending, status)) in [
            ("none", ("clear-text", 1)),
            ("opportunistic", ("tls", 0)),
            ("deterministic", deterministic),
            ("encrypt", ("tls", 0)),
            ("verified", verified),
        ] {
            let ran = probe(address, &pki, &["--json", "--posture", posture]);
            assert_eq!(ran.status, status, "{reason} {posture}: {ran:?}");
            let json = ran.json();
            assert_eq!(json["ending"], ending, "{reason} {posture}");
            let decided = json["hosts"][0]["postures"].as_array().unwrap().clone();
            let same = decided.iter().find(|it| it["rule"] == posture).unwrap();
            assert_eq!(same["ending"], ending, "{reason} {posture}: {same:#}");
            if posture == "verified" {
                assert_eq!(same["reason"], reason);
            }
        }
    }
}

#[test]
fn servers_without_tls_get_clear_text_or_no_mail() {
    let pki = Pki::new();
    let refuses = scripted(&["220 mx", "250-mx\r\n250 STARTTLS", "554 no TLS today", "221 bye"]);
    let later = scripted(&["220 mx", "250-mx\r\n250 STARTTLS", "454 not now", "221 bye"]);
    for (address, reason) in [
        (scripted(&["220 mx", "250 mx", "221 bye"]), "starttls-not-offered"),
        (refuses, "starttls-refused"),
        (later, "starttls-refused"),
    ] {
        for (posture, ending, status) in
            [("deterministic", "clear-text", 1), ("verified", "deferred", 4)]
        {
            let ran = probe(address, &pki, &["--json", "--posture", posture]);
            assert_eq!(ran.status, status, "{reason}: {ran:?}");
            let json = ran.json();
            assert_eq!(json["ending"], ending, "{reason}: {ran:?}");
            assert_eq!(json["hosts"][0]["decision"]["reason"], reason, "{ran:?}");
        }
    }
}

/// Each version and each group is offered alone.
#[test]
fn versions_and_groups_that_a_server_takes_are_found_one_by_one() {
    let pki = Pki::new();
    let (old, new) = (&rustls::version::TLS12, &rustls::version::TLS13);
    for (version, groups, wanted, post_quantum) in [
        (old, &["secp256r1"][..], [false, true, false, false, true, false], false),
        (new, &["X25519"], [true, false, false, true, false, false], false),
        (new, &["X25519MLKEM768"], [true, false, true, false, false, false], true),
    ] {
        let address = with_tls_of(pki.identity(HOST), version, groups);
        let ran = probe(address, &pki, &["--json"]);
        assert_eq!(ran.status, 0, "{groups:?}: {ran:?}");
        let json = ran.json();
        let found: Vec<bool> = taken(&json).into_iter().map(|(_, taken)| taken).collect();
        assert_eq!(found, wanted, "{groups:?}: {:#}", json["hosts"][0]["tls"]);
        assert_eq!(json["hosts"][0]["tls"]["post_quantum"], post_quantum, "{groups:?}");
    }
}

/// A first connection, one for the other version, and one for each other group.
#[test]
fn a_host_is_connected_to_a_few_times() {
    let pki = Pki::new();
    let (server, _) = with_tls(pki.identity(HOST));
    let (address, count) = filtered(server, false);
    assert_eq!(probe(address, &pki, &[]).status, 0);
    assert_eq!(count.load(Ordering::Relaxed), 5);
}

#[test]
fn a_failed_handshake_is_tried_again_with_the_plainest_hello() {
    let pki = Pki::new();
    let (server, _) = with_tls(pki.identity(HOST));
    let (address, _) = filtered(server, true);
    let ran = probe(address, &pki, &["--json", "--posture", "verified"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let host = ran.json()["hosts"][0].clone();
    assert_eq!(host["plain_hello"], true, "{host:#}");
    let sentence = host["decision"]["sentence"].as_str().unwrap();
    assert!(sentence.starts_with("TLS with the plainest hello"), "{sentence}");
    assert_eq!(taken(&ran.json())[2], ("X25519MLKEM768".to_owned(), false));
    // Nothing helps here.
    let none = rubbish_after_starttls();
    let ran = probe(none, &pki, &["--json", "--posture", "verified"]);
    assert_eq!(ran.status, 4, "{ran:?}");
    assert_eq!(ran.json()["hosts"][0]["plain_hello"], false, "{ran:?}");
    let text = probe(none, &pki, &["--posture", "verified"]);
    assert!(text.stdout.contains("second try  no TLS with the plainest hello either"), "{text:?}");
}

/// The state of the list of each certificate: given, or fetched from where the certificate says.
#[test]
fn each_certificate_has_the_state_of_its_revocation_list() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let file = Arc::new(Mutex::new(pki.crl(2, &[7])));
    let (authority, asked) = web(Arc::clone(&file));
    let mut parameters = rcgen::CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    parameters.serial_number = Some(rcgen::SerialNumber::from(7_u64));
    let url = format!("http://{authority}/list.crl");
    parameters.crl_distribution_points =
        vec![rcgen::CrlDistributionPoint { uris: vec![url.clone()] }];
    let (address, _) = with_tls(pki.sign(&parameters));
    let list = |serials: &[u64]| folder.file("list.crl", pki.crl(1, serials));
    let (good, revoked) = (list(&[]), folder.file("revoked.crl", pki.crl(1, &[7])));
    for (more, status, ending) in [
        (&[][..], "not-loaded", 0),
        (&["--crl", &good], "good", 0),
        (&["--crl", &revoked], "revoked", 4),
        (&["--fetch-lists"], "revoked", 4),
    ] {
        let arguments = [&["--json", "--posture", "verified"][..], more].concat();
        let ran = probe(address, &pki, &arguments);
        assert_eq!(ran.status, ending, "{more:?}: {ran:?}");
        let certificate = ran.json()["hosts"][0]["certificates"][0].clone();
        assert_eq!(certificate["list_status"], status, "{more:?}: {certificate:#}");
        assert_eq!(certificate["lists"][0], url, "{more:?}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "only where it is asked for");
    *file.lock().unwrap() = b"no list".to_vec();
    let ran = probe(address, &pki, &["--fetch-lists"]);
    assert!(ran.stdout.contains("list status its list is not loaded: "), "{ran:?}");
}

/// Writes CRLite data of this time to a folder.
#[cfg(feature = "crlite")]
pub(crate) fn crlite(folder: &Folder, made: u64) {
    use sha2::{Digest, Sha256};
    // A filter of version 4 that covers no log and knows no issuer.
    let filter = [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    folder.file("a.filter", filter);
    let hash: String = Sha256::digest(filter).iter().map(|it| format!("{it:02x}")).collect();
    let listed = serde_json::json!({ "filename": "a.filter", "size": 13, "hash": hash });
    let manifest = serde_json::json!({ "generated_at": made, "comment": "", "files": [listed] });
    folder.file("manifest.json", manifest.to_string());
}

#[cfg(feature = "crlite")]
#[test]
fn crlite_filters_of_a_folder_are_consulted() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let (address, _) = with_tls(pki.identity(HOST));
    let path = folder.path().to_str().unwrap();
    let arguments = ["--json", "--posture", "verified", "--crlite", path];
    let ran = probe(address, &pki, &arguments);
    assert_eq!(ran.status, 5, "{ran:?}");
    assert!(ran.stderr.contains("there is no CRLite data"), "{ran:?}");
    crlite(&folder, 1);
    let ran = probe(address, &pki, &arguments);
    assert_eq!(ran.status, 0, "{ran:?}");
    let check = ran.json()["hosts"][0]["decision"]["checks"][0].clone();
    let finding = check["finding"].as_str().unwrap();
    assert!(finding.ends_with("CRLite: no SCTs in the certificate"), "{finding}");
}

#[test]
fn a_handshake_that_stalls_is_told_in_time() {
    let pki = Pki::new();
    let address = scripted(&["220 mx", "250-mx\r\n250 STARTTLS", "220 go ahead"]);
    let ran = probe(address, &pki, &["--json", "--posture", "verified", "--timeout", "4"]);
    assert_eq!(ran.status, 4, "{ran:?}");
    assert_eq!(ran.json()["hosts"][0]["decision"]["reason"], "handshake-timeout");
}

#[test]
fn servers_that_cannot_be_asked_end_with_6_and_say_why() {
    let pki = Pki::new();
    let silent = scripted(&[]);
    for (address, why) in [
        (refused(), "refused"),
        (rubbish(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), ""),
        (rubbish(vec![0xff; 100_000]), ""),
        (rubbish(Vec::new()), ""),
        // RFC 5321, section 4.3.2: a greeting is 220, or a refusal.
        (scripted(&["354 go on", "221 bye"]), "354 go on"),
        (scripted(&["250 hello", "221 bye"]), "250"),
        (silent, ""),
        // RFC 5737: an address where no host is.
        ("192.0.2.1:25".parse().unwrap(), ""),
    ] {
        let ran = probe(address, &pki, &["--timeout", "4"]);
        assert_eq!(ran.status, 6, "{address}: {ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{address}: {ran:?}");
        assert!(ran.stderr.contains(&address.to_string()), "{address}: {ran:?}");
        assert!(ran.stderr.contains(why), "{address}: {ran:?}");
    }
}

/// Such a host can be reached and speaks SMTP. It has not shown whether it has TLS.
#[test]
fn a_host_that_refuses_this_client_ends_with_3_and_its_reply() {
    let pki = Pki::new();
    for (replies, said) in [
        (&["554 go away", "221 bye"][..], "(greeting): 554 go away"),
        (&["521 no mail here", "221 bye"], "(greeting): 521 no mail here"),
        (&["421 too busy", "221 bye"], "(greeting): 421 too busy"),
        (&["220 mx", "421 not now", "221 bye"], "421 not now"),
    ] {
        let address = scripted(replies);
        for posture in ["none", "deterministic", "verified"] {
            let ran = probe(address, &pki, &["--json", "--posture", posture]);
            assert_eq!((ran.status, &*ran.stderr), (3, ""), "{said} {posture}: {ran:?}");
            let json = ran.json();
            assert_eq!(json["ending"], "refused", "{said}");
            let host = &json["hosts"][0];
            assert!(host["failure"].as_str().unwrap().contains(said), "{host:#}");
            assert_eq!(host["connected"], address.to_string(), "{host:#}");
            assert_eq!(host["decision"]["ending"], "refused", "{host:#}");
            assert!(host["tls"].is_null() && host["postures"] == serde_json::json!([]), "{host:#}");
        }
        let text = probe(address, &pki, &[]);
        let words = text.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("refused: ") && words.contains(said), "{text:?}");
        assert!(!text.stdout.contains("TLS         none"), "{text:?}");
    }
    // Where TLS is required HELO would be of no use: there is no STARTTLS without EHLO.
    let address = scripted(&["220 mx", "550 not you", "550 nor so", "221 bye"]);
    for (posture, status, said) in
        [("deterministic", 3, "550 nor so"), ("verified", 4, "does not offer STARTTLS")]
    {
        let ran = probe(address, &pki, &["--json", "--posture", posture]);
        assert_eq!(ran.status, status, "{posture}: {ran:?}");
        assert!(ran.json()["sentence"].as_str().unwrap().contains(said), "{posture}: {ran:?}");
    }
}

/// No connector has the posture that is asked about, so that no sentence names one.
#[test]
fn a_posture_that_is_asked_about_is_not_said_to_be_of_a_connector() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let (address, _) = with_tls(pki.identity(HOST));
    let text = "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\nposture = \"verified\"\n";
    let config = folder.file("c.toml", text);
    for (more, own) in [
        (&[][..], "under posture deterministic"),
        (&["--posture", "verified"], "under posture verified"),
        (&["--config", &config], "under posture verified of connector all"),
    ] {
        let json = probe(address, &pki, &[&["--json"], more].concat()).json();
        let host = &json["hosts"][0];
        let sentence = host["decision"]["sentence"].as_str().unwrap();
        assert!(sentence.ends_with(own), "{sentence}");
        for posture in host["postures"].as_array().unwrap() {
            let sentence = posture["sentence"].as_str().unwrap();
            let end = format!(" posture {}", posture["rule"].as_str().unwrap());
            assert!(sentence.ends_with(&end), "{sentence}");
        }
    }
}

#[test]
fn a_connector_of_a_configuration_decides() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let (address, _) = with_tls(pki.identity(HOST));
    let text = "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\nposture = \"private-ca\"\n\
                roots = \"partner\"\n";
    let config = folder.file("c.toml", text);
    let root = format!("partner={}", folder.file("partner.pem", pki.root_pem()));
    let ran = probe(address, &pki, &["--json", "--config", &config, "--ca", &root]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(ran.json()["rule"], "connector all");
    probe(address, &pki, &["--config", &config]).fails(5, "roots");
}
