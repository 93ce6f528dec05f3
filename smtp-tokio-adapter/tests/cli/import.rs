//! `smtp-tls import`.

use crate::program::{Folder, smtp_tls};

/// The configuration that an import wrote, which `lint` accepts, and the exit status.
fn import(product: &str, text: &str) -> (String, i32) {
    let folder = Folder::new();
    let file = folder.file("rules", text);
    let ran = smtp_tls(&["import", product, &file]);
    let written = folder.file("connectors.toml", &ran.stdout);
    let lint = smtp_tls(&["lint", &written]);
    assert_ne!(lint.status, 1, "{lint:?}\n{ran:?}");
    (ran.stdout, ran.status)
}

#[test]
fn each_level_of_postfix_has_its_posture() {
    let pin = "AB:".repeat(31) + "AB";
    for (line, wanted) in [
        ("a.example none", "posture = \"none\""),
        ("a.example may", "posture = \"opportunistic\"\nsts = \"off\"\ndane = \"off\""),
        ("a.example encrypt", "posture = \"encrypt\""),
        ("a.example dane", "posture = \"opportunistic\"\nsts = \"off\"\n\n"),
        ("a.example dane-only", "posture = \"dane-only\""),
        ("a.example verify", "posture = \"verified\""),
        ("a.example secure", "posture = \"secure\""),
        ("a.example secure match=hostname", "posture = \"verified\""),
        (
            "a.example secure match=mx.example:.b.example",
            "names = [\"mx.example\", \".b.example\"]",
        ),
        (&format!("a.example fingerprint match={pin}"), "pins = [\"cert:sha256:abab"),
        (".a.example\n  encrypt", "namespaces = [\"*.a.example\"]"),
    ] {
        let (toml, status) = import("postfix", &format!("{line}\n# all others\n"));
        assert!(toml.contains(wanted), "{line}: {toml}");
        // The file has no rule for other domains.
        assert_eq!(status, 3);
    }
}

#[test]
fn differences_in_meaning_are_comments() {
    let rules = "[mail.example]:587 secure\na.example encrypt ciphers=high\n\
        b.example secure match=nexthop:mx.example\nc.example fingerprint match=00:11\n";
    let (toml, status) = import("postfix", rules);
    assert_eq!(status, 3);
    for part in [
        "# line 1, [mail.example]:587: the next hop is a host",
        "# line 2, a.example: the attribute ciphers has no counterpart",
        "# line 3, b.example: match=nexthop:mx.example is not the same",
        "# line 4, c.example: only SHA-256 fingerprints can be pinned",
        "posture = \"pinned\"\nsts = \"off\"\ndane = \"off\"\npins = [\"cert:sha256:0000",
    ] {
        assert!(toml.contains(part), "{part}: {toml}");
    }
}

#[test]
fn connectors_of_exchange_are_taken_over() {
    let json = r#"[
      {"Name": "Internet", "AddressSpaces": ["SMTP:*;1"], "RequireTLS": false, "SmartHosts": []},
      {"Name": "Bank", "AddressSpaces": ["SMTP:bank.example;1", "smtp:*.bank.example;5"],
       "TlsAuthLevel": "DomainValidation", "TlsDomain": "mail.bank.example", "RequireTLS": true,
       "SmartHosts": ["gw.bank.example"]},
      {"Name": "Cloud", "RecipientDomains": ["cloud.example"], "TlsSettings": 1, "Enabled": true}
    ]"#;
    let (toml, status) = import("exchange", json);
    assert_eq!(status, 0, "{toml}");
    for part in [
        "name = \"Internet\"\nnamespaces = [\"*\"]\nposture = \"opportunistic\"",
        "namespaces = [\"bank.example\", \"*.bank.example\"]\nposture = \"secure\"",
        "names = [\"mail.bank.example\"]\nsmart-host = { host = \"gw.bank.example\" }",
        "namespaces = [\"cloud.example\"]\nposture = \"encrypt\"",
    ] {
        assert!(toml.contains(part), "{part}: {toml}");
    }
}

/// The `>` of Windows PowerShell writes UTF-16 with a byte order mark.
#[test]
fn connectors_in_utf_16_are_read() {
    let json = r#"[{"Name": "Bänk", "AddressSpaces": ["SMTP:*;1"], "RequireTLS": false}]"#;
    let folder = Folder::new();
    let little = ["\u{feff}", json].concat().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big = ["\u{feff}", json].concat().encode_utf16().flat_map(u16::to_be_bytes).collect();
    for octets in [little, big] {
        let octets: Vec<u8> = octets;
        let file = folder.file("connectors.json", &octets);
        assert!(smtp_tls(&["import", "exchange", &file]).stdout.contains("name = \"Bänk\""));
        let cut = folder.file("cut.json", &octets[..octets.len() - 1]);
        smtp_tls(&["import", "exchange", &cut]).fails(5, "not text in UTF-8 or UTF-16");
    }
}

#[test]
fn files_that_are_no_rules_end_with_5() {
    let folder = Folder::new();
    for (product, text, why) in [
        ("postfix", "a.example", "line 1: the policy is missing"),
        ("postfix", "a.example verry", "line 1: there is no level verry"),
        ("postfix", "a..example may", "a..example"),
        ("exchange", "x", "no JSON"),
        ("exchange", "[{}]", "no connector of Exchange"),
        ("exchange", r#"{"Name": "a", "TlsSettings": "Best"}"#, "no TLS level Best"),
    ] {
        let file = folder.file("rules", text);
        smtp_tls(&["import", product, &file]).fails(5, why);
    }
}
