//! `smtp-tls lint`.

use crate::program::{Folder, smtp_tls};

const GOOD: &str = r#"
[[outbound]]
name = "default"
namespaces = ["*"]
posture = "deterministic"

[[outbound]]
name = "bank"
namespaces = ["*.bank.example"]
posture = "private-ca"
roots = "bank-ca"
identity = "our-key"
"#;

#[test]
fn a_file_without_errors_ends_with_0_and_names_what_was_not_checked() {
    let folder = Folder::new();
    let file = folder.file("good.toml", GOOD);
    let ran = smtp_tls(&["lint", &file]);
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
    // The paths of folders differ in length, and so do the places where lines are broken.
    let text = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        text,
        format!(
            "note: give --ca NAME=FILE to check the roots bank-ca \
             note: give --identity NAME=FILE to check the identities our-key \
             in order: {file}, 2 outbound connectors and no inbound connectors"
        ),
    );
}

#[test]
fn connectors_are_counted_as_the_file_has_them() {
    let folder = Folder::new();
    let inbound = |name: &str, domain: &str| {
        format!("[[inbound]]\nname = \"{name}\"\nnamespaces = [\"{domain}\"]\n")
    };
    let (one, two) = (inbound("a", "*"), inbound("b", "b.example"));
    for (more, wanted) in [("", 0), (&*one, 1), (&*[&*one, &*two].concat(), 2)] {
        let file = folder.file("c.toml", format!("{GOOD}\n{more}"));
        let json = smtp_tls(&["lint", &file, "--json"]).json();
        assert_eq!((&json["outbound"], &json["inbound"]), (&2.into(), &wanted.into()), "{json:#}");
    }
}

#[test]
fn all_errors_are_told_at_once_with_line_field_and_remedy() {
    let folder = Folder::new();
    let text = GOOD.replace("deterministic", "determinstic").replace("roots", "root");
    let file = folder.file("bad.toml", text);
    let ran = smtp_tls(&["lint", &file, "--json"]);
    assert_eq!((ran.status, &*ran.stderr), (1, ""), "{ran:?}");
    let errors = ran.json()["errors"].clone();
    let of = |at: usize| (errors[at]["line"].as_u64(), errors[at]["field"].as_str());
    assert_eq!(of(0), (Some(5), Some("outbound.posture")));
    assert_eq!(of(1), (Some(11), Some("outbound.root")));
    let message = |at: usize| errors[at]["message"].as_str().unwrap();
    assert!(message(0).contains("did you mean \"deterministic\"?"), "{errors}");
    assert!(message(1).contains("did you mean roots?"), "{errors}");
    let text = smtp_tls(&["lint", &file]);
    assert!(text.stdout.starts_with("error: "), "{text:?}");
    assert!(text.stdout.ends_with("2 errors, no warnings\n"), "{text:?}");
}

#[test]
fn roots_that_are_not_given_are_an_error_once_others_are() {
    let folder = Folder::new();
    let file = folder.file("good.toml", GOOD);
    let pki = smtp_tls_pki();
    let root = folder.file("root.pem", &pki);
    let other = format!("bank-ac={root}");
    let ran = smtp_tls(&["lint", &file, "--ca", &other, "--json"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    let errors = ran.json()["errors"].clone();
    assert_eq!(errors[0]["field"], "outbound.roots");
    assert!(errors[0]["message"].as_str().unwrap().contains("did you mean \"bank-ac\"?"));
    assert_eq!(errors[1]["field"], "outbound.identity");
}

#[test]
fn warnings_tell_namespaces_without_effect_or_weaker_and_roots_without_use() {
    let folder = Folder::new();
    let text = r#"
[[outbound]]
name = "default"
namespaces = ["*"]
posture = "none"

[[outbound]]
name = "bank"
namespaces = [
    "*.bank.example",
    "eu.bank.example",
]
posture = "verified"

[[outbound]]
name = "old"
namespaces = ["old.bank.example", "other.example"]
posture = "opportunistic"

[[outbound]]
name = "strict"
namespaces = ["strict.bank.example"]
posture = "secure"
"#;
    let file = folder.file("c.toml", text);
    let root = format!("unused={}", folder.file("root.pem", smtp_tls_pki()));
    let ran = smtp_tls(&["lint", &file, "--ca", &root, "--json"]);
    assert_eq!(ran.status, 3, "{ran:?}");
    let json = ran.json();
    let found: Vec<_> = json["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["line"].as_u64(), it["message"].as_str().unwrap().to_owned()))
        .collect();
    let wanted = [
        (Some(5), "never uses TLS"),
        (Some(11), "\"eu.bank.example\" has no effect"),
        (Some(17), "\"old.bank.example\" needs only clear text, although connector \"bank\""),
        (None, "no connector uses the roots \"unused\""),
    ];
    assert_eq!(found.len(), wanted.len(), "{found:?}");
    for ((line, message), (wanted_line, part)) in found.iter().zip(wanted) {
        assert_eq!(*line, wanted_line, "{message}");
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_list_past_its_next_update_is_a_warning() {
    let folder = Folder::new();
    let file = folder.file("good.toml", GOOD.replace("identity = \"our-key\"\n", ""));
    let (root, list) = old_list();
    let root = format!("bank-ca={}", folder.file("root.pem", root));
    let list = format!("bank-ca={}", folder.file("list.crl", list));
    let ran = smtp_tls(&["lint", &file, "--ca", &root, "--crl", &list]);
    assert_eq!(ran.status, 3, "{ran:?}");
    let text = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("list of the roots \"bank-ca\" was due to be replaced on 2020-02-01"));
}

/// The options for certificates are the same for each command that reads connectors.
#[cfg(feature = "crlite")]
#[test]
fn every_command_that_reads_connectors_takes_crlite_and_lint_warns_of_old_data() {
    let (folder, data) = (Folder::new(), Folder::new());
    let text = "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\nposture = \"secure\"\n";
    let file = folder.file("c.toml", text);
    let root = folder.file("root.pem", smtp_tls_pki());
    let path = data.path().to_str().unwrap();
    let nowhere = crate::servers::refused().to_string();
    for command in [
        &["lint", &file][..],
        &["plan", "a.example", "--config", &file, "--ca", &root],
        &["probe", "a.example", "--connect", &nowhere, "--ca", &root],
        &["test", "all", "--config", &file, "--connect", &nowhere, "--ca", &root],
        &["postfix", "--config", &file, "--listen", "127.0.0.1:0", "--ca", &root],
    ] {
        let ran = smtp_tls(&[command, &["--crlite", path]].concat());
        ran.fails(5, "there is no CRLite data");
    }
    crate::probe::crlite(&data, 86_400);
    let ran = smtp_tls(&["lint", &file, "--crlite", path, "--json"]);
    assert_eq!(ran.status, 3, "{ran:?}");
    let message = ran.json()["warnings"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("the CRLite data is of 1970-01-01"), "{message}");
}

#[test]
fn files_that_cannot_be_used_end_with_5_and_one_line() {
    let folder = Folder::new();
    let good = folder.file("good.toml", GOOD);
    let missing = format!("{}-missing", good);
    smtp_tls(&["lint", &missing]).fails(5, "No such file");
    smtp_tls(&["lint", folder.path().to_str().unwrap()]).fails(5, "directory");
    let binary = folder.file("binary", [0xff, 0, 0xfe, b'\n']);
    smtp_tls(&["lint", &binary]).fails(5, "not text in UTF-8");
    smtp_tls(&["lint", &good, "--ca", &binary]).fails(5, "PEM");
    smtp_tls(&["lint", &good, "--crl", &binary]).fails(5, "binary");
    smtp_tls(&["lint", &good, "--identity", &binary]).fails(5, "PEM");
    let bad = folder.file("bad.toml", "[[outbound]\nname = 1\n");
    let ran = smtp_tls(&["lint", &bad]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stdout.starts_with("error: "), "{ran:?}");
}

/// A root certificate in PEM.
fn smtp_tls_pki() -> String {
    crate::common::Pki::new().root_pem().to_owned()
}

/// A root in PEM, and a list of it that was due to be replaced in 2020, in DER.
fn old_list() -> (String, Vec<u8>) {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign];
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(parameters, key);
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2020, 1, 1),
        next_update: rcgen::date_time_ymd(2020, 2, 1),
        crl_number: rcgen::SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    (certificate.pem(), list.signed_by(&issuer).unwrap().der().to_vec())
}
