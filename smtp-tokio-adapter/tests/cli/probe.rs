//! `smtp-tls probe`, without DNS.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::common::{HOST, Pki};
use crate::program::{Folder, Ran, smtp_tls};
use crate::servers::{refused, rubbish, scripted, with_tls};

/// Longer than any `--timeout` here, shorter than the time limits of a delivery.
const PATIENCE: Duration = Duration::from_secs(60);

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

#[test]
fn a_server_with_a_good_certificate_gets_mail_over_tls() {
    let pki = Pki::new();
    let (address, kept) = with_tls(pki.identity(HOST));
    let ran = probe(address, &pki, &["--json"]);
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
    let json = ran.json();
    assert_eq!((&json["ending"], &json["rule"]), (&"tls".into(), &"posture deterministic".into()));
    let host = &json["hosts"][0];
    assert_eq!(host["tls"]["version"], "TLSv1.3");
    assert_eq!(host["tls"]["group"], "X25519MLKEM768");
    assert_eq!(host["tls"]["post_quantum"], true);
    assert!(host["tls"]["tls_1_2"].as_str().unwrap().starts_with("TLS_ECDHE_"), "{host:#}");
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

#[test]
fn a_handshake_that_stalls_is_told_in_time() {
    let pki = Pki::new();
    let address = scripted(&["220 mx", "250-mx\r\n250 STARTTLS", "220 go ahead"]);
    let begun = Instant::now();
    let ran = probe(address, &pki, &["--json", "--posture", "verified", "--timeout", "4"]);
    assert!(begun.elapsed() < PATIENCE, "{ran:?}");
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
        (scripted(&["554 go away"]), "554 go away"),
        (silent, ""),
        // RFC 5737: an address where no host is.
        ("192.0.2.1:25".parse().unwrap(), ""),
    ] {
        let begun = Instant::now();
        let ran = probe(address, &pki, &["--timeout", "4"]);
        assert!(begun.elapsed() < PATIENCE, "{address}: {ran:?}");
        assert_eq!(ran.status, 6, "{address}: {ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{address}: {ran:?}");
        assert!(ran.stderr.contains(&address.to_string()), "{address}: {ran:?}");
        assert!(ran.stderr.contains(why), "{address}: {ran:?}");
    }
}

#[test]
fn a_trace_has_the_conversation_with_times() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let (address, _) = with_tls(pki.identity(HOST));
    let file = folder.file("trace", "");
    let ran = probe(address, &pki, &["--trace", &file]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let trace = std::fs::read_to_string(&file).unwrap();
    for part in [
        "S:  220 ",
        "C:  EHLO localhost.localdomain",
        "C:  STARTTLS",
        "--  TLS handshake",
        "--  TLSv1.3",
        "S:  (TLS) PIPELINING",
    ] {
        assert!(trace.contains(part), "{part}: {trace}");
    }
    let missing = "/nonexistent/trace";
    probe(address, &pki, &["--trace", missing]).fails(5, "No such file");
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
