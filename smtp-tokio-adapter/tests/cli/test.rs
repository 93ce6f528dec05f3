//! `smtp-tls test`.

use std::net::SocketAddr;

use crate::common::{HOST, Pki};
use crate::program::{Folder, Ran, smtp_tls};
use crate::servers::{refused, scripted, with_tls};

const CONFIG: &str = r#"
[[outbound]]
name = "default"
namespaces = ["*"]
posture = "opportunistic"

[[outbound]]
name = "partner"
namespaces = ["mx.test.example"]
posture = "POSTURE"
"#;

fn test(address: SocketAddr, pki: &Pki, posture: &str, connector: &str, more: &[&str]) -> Ran {
    let folder = Folder::new();
    let root = folder.file("root.pem", pki.root_pem());
    let config = folder.file("c.toml", CONFIG.replace("POSTURE", posture));
    let address = address.to_string();
    let mut arguments = vec!["test", connector, "--config", &config, "--connect", &address];
    arguments.extend(["--ca", &root, "--timeout", "20"]);
    arguments.extend(more);
    smtp_tls(&arguments)
}

#[test]
fn a_connector_whose_hosts_take_tls_may_be_switched_on() {
    let pki = Pki::new();
    let (address, kept) = with_tls(pki.identity(HOST));
    let ran = test(address, &pki, "verified", "partner", &["--json"]);
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
    let json = ran.json();
    assert_eq!(json["may_be_switched_on"], true);
    assert_eq!(json["targets"][0]["hosts"][0]["decision"]["reason"], "tls-ok");
    assert!(kept.messages.lock().unwrap().is_empty());
    let text = test(address, &pki, "verified", "partner", &[]);
    assert!(text.stdout.ends_with("  yes: the connector may be switched on\n"), "{text:?}");
}

#[test]
fn a_message_is_sent_only_when_asked_for_and_by_the_rules() {
    let pki = Pki::new();
    let (address, kept) = with_tls(pki.identity(HOST));
    let send = ["--json", "--send", "reader@mx.test.example", "--from", "me@me.example"];
    let ran = test(address, &pki, "verified", "partner", &send);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(ran.json()["sent"]["accepted"], true, "{ran:?}");
    assert_eq!(*kept.over_tls.lock().unwrap(), [true]);
    let message = String::from_utf8(kept.messages.lock().unwrap()[0].clone()).unwrap();
    assert!(message.contains("Subject: Test of TLS for connector partner"), "{message}");
    // The server refuses this recipient.
    let send = ["--json", "--send", "nobody@mx.test.example"];
    let ran = test(address, &pki, "verified", "partner", &send);
    assert_eq!(ran.status, 1, "{ran:?}");
    let json = ran.json();
    assert_eq!(
        (&json["may_be_switched_on"], &json["sent"]["accepted"]),
        (&false.into(), &false.into())
    );
    assert!(json["sent"]["outcome"].as_str().unwrap().contains("no such user"), "{json:#}");
}

/// A message that waits is deferred; one that is refused for good would come back.
#[test]
fn test_ends_with_4_for_a_temporary_refusal_and_with_1_for_a_permanent_one() {
    let pki = Pki::new();
    let (address, _) = with_tls(pki.identity(HOST));
    for (recipient, status, part) in [
        ("reader@mx.test.example", 0, ""),
        ("later@mx.test.example", 4, "try later"),
        ("nobody@mx.test.example", 1, "no such user"),
    ] {
        let ran = test(address, &pki, "verified", "partner", &["--json", "--send", recipient]);
        assert_eq!(ran.status, status, "{recipient}: {ran:?}");
        let json = ran.json();
        assert_eq!(json["may_be_switched_on"], status == 0, "{json:#}");
        assert!(json["sent"]["outcome"].as_str().unwrap().contains(part), "{json:#}");
    }
}

#[test]
fn a_connector_with_clear_text_deferrals_or_silence_may_not() {
    let pki = Pki::new();
    let plain = || scripted(&["220 mx", "250 mx", "221 bye"]);
    let (wrong, _) = with_tls(pki.identity("other.example"));
    for (address, posture, status, why) in [
        (plain(), "deterministic", 1, "some mail would go in clear text"),
        (plain(), "verified", 4, "some mail would be deferred"),
        (wrong, "deterministic", 1, "some mail would go in clear text"),
        (wrong, "verified", 4, "some mail would be deferred"),
        (refused(), "verified", 6, "a host or a domain cannot be reached"),
        (scripted(&["554 go away", "221 bye"]), "verified", 3, "a host refuses this client"),
    ] {
        let ran = test(address, &pki, posture, "partner", &["--json"]);
        assert_eq!(ran.status, status, "{posture}: {ran:?}");
        assert_eq!(ran.json()["may_be_switched_on"], false);
        let text = test(address, &pki, posture, "partner", &[]);
        assert!(text.stdout.contains(why), "{posture}: {text:?}");
    }
}

/// What is wrong with the addresses is told before a server is asked.
#[test]
fn addresses_that_cannot_be_used_end_with_2_at_once() {
    let pki = Pki::new();
    let nowhere = refused();
    for (arguments, why) in [
        (&["--send", "postmaster"][..], "--send: the domain of the address: "),
        (&["--send", "a@"], "--send <ADDRESS>"),
        (&["--send", "a@b.example", "--from", "x y"], "--from <ADDRESS>"),
        (&["--domain", "a@b.example"], "a mail address is no domain; give b.example"),
    ] {
        let ran = test(nowhere, &pki, "verified", "partner", arguments);
        assert_eq!((ran.status, &*ran.stdout), (2, ""), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains(why), "{arguments:?}: {ran:?}");
    }
    for from in ["<>", "", "me@me.example", "<me@me.example>"] {
        let more = ["--send", "a@b.example", "--from", from];
        assert_eq!(test(nowhere, &pki, "verified", "partner", &more).status, 6, "{from}");
    }
}

/// What was found of the first hosts is told, and which hosts were not probed.
#[test]
fn hosts_for_which_no_time_is_left_are_named() {
    let pki = Pki::new();
    let folder = Folder::new();
    let root = folder.file("root.pem", pki.root_pem());
    let config = folder.file("c.toml", CONFIG.replace("POSTURE", "verified"));
    // The first takes half of the time for its greeting, and the second half of the rest.
    let address = scripted(&[]).to_string();
    let mut arguments = vec!["test", "default", "--config", &config, "--connect", &address];
    arguments.extend(["--ca", &root, "--json", "--timeout", "4"]);
    for domain in ["a.example", "b.example", "c.example", "d.example"] {
        arguments.extend(["--domain", domain]);
    }
    let ran = smtp_tls(&arguments);
    assert_eq!((ran.status, ran.stderr.lines().count()), (6, 1), "{ran:?}");
    let json = ran.json();
    let failure = |at: usize| json["targets"][at]["hosts"][0]["failure"].as_str().unwrap();
    assert!(failure(0).contains("timed out (greeting)"), "{json:#}");
    assert_eq!(failure(3), "d.example: not probed, for the time is over; use --timeout");
}

#[test]
fn connectors_that_are_not_there_or_name_no_domain_end_with_2() {
    let pki = Pki::new();
    let ran = test(refused(), &pki, "verified", "partnr", &[]);
    ran.fails(2, "no outbound connector is called partnr; there are default, partner");
    let ran = test(refused(), &pki, "verified", "default", &[]);
    ran.fails(2, "give one with --domain");
    let (address, _) = with_tls(pki.identity(HOST));
    let ran = test(address, &pki, "verified", "default", &["--domain", HOST]);
    assert_eq!(ran.status, 0, "{ran:?}");
}
