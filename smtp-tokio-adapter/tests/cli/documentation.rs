//! `CLI.md` names every command, every exit status, and every field of the JSON output.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::common::{HOST, Pki};
use crate::program::{Folder, smtp_tls, smtp_tls_with};
use crate::servers::with_tls;

const PAGE: &str = include_str!("../../CLI.md");

/// The part of the page below a title.
fn section(title: &str) -> &'static str {
    let start = PAGE.find(&format!("### {title}\n")).unwrap_or_else(|| panic!("{title}"));
    let rest = &PAGE[start + 4..];
    &rest[..rest.find("\n### ").unwrap_or(rest.len())]
}

/// The words in code of a text.
fn words(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn fields(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                found.insert(name.clone());
                fields(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, found)),
        _ => {}
    }
}

#[track_caller]
fn documented(title: &str, more: &[&str], output: &str) {
    let value: Value = serde_json::from_str(output).unwrap_or_else(|_| panic!("{title}: {output}"));
    let mut found = BTreeSet::new();
    fields(&value, &mut found);
    let mut known = words(section(title));
    more.iter().for_each(|title| known.extend(words(section(title))));
    let missing: Vec<_> = found.iter().filter(|field| !known.contains(field.as_str())).collect();
    assert!(missing.is_empty(), "{title}: {missing:?} are not in CLI.md");
}

#[test]
fn every_field_of_the_json_output_is_documented() {
    let (folder, pki) = (Folder::new(), Pki::new());
    let (address, _) = with_tls(pki.identity(HOST));
    let (address, root) = (address.to_string(), folder.file("root.pem", pki.root_pem()));
    let text = format!(
        "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\", \"{HOST}\"]\nposture = \"verified\"\n"
    );
    let config = folder.file("c.toml", text);
    let bad = folder.file("bad.toml", "[[outbound]]\n");
    documented("lint", &[], &smtp_tls(&["lint", &bad, "--json"]).stdout);
    // An address literal needs no DNS.
    let plan = ["plan", "[192.0.2.1]", "--config", &config, "--ca", &root, "--json"];
    documented("plan", &[], &smtp_tls(&plan).stdout);
    let common = ["--connect", &address, "--ca", &root, "--json"];
    let probe = [&["probe", HOST][..], &common].concat();
    documented("probe", &["plan"], &smtp_tls(&probe).stdout);
    let send = ["test", "all", "--config", &config, "--send", "reader@mx.test.example"];
    let test = [&send[..], &common].concat();
    documented("test", &["probe", "plan"], &smtp_tls(&test).stdout);
    let message = b"Received: from a.example ([192.0.2.7]) by b.example with SMTP\r\n\r\n";
    documented("review", &[], &smtp_tls_with(&["review", "--json"], message).stdout);
    let summary = ["review", "--json", "--summary"];
    documented("review", &[], &smtp_tls_with(&summary, message).stdout);
    let report = br#"{"organization-name": "x", "report-id": "1", "contact-info": "y",
        "date-range": {"start-datetime": "2016-04-01T00:00:00Z",
        "end-datetime": "2016-04-01T23:59:59Z"}, "policies": []}"#;
    documented("report", &[], &smtp_tls_with(&["report", "-", "--json"], report).stdout);
}

#[test]
fn every_command_and_exit_status_is_documented() {
    let help = smtp_tls(&["--help"]).stdout;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in commands.take_while(|line| !line.is_empty()) {
        let name = line.trim_start().split(' ').next().unwrap();
        let is_named = PAGE.contains(&format!("`{name} ")) || PAGE.contains(&format!("`{name}`"));
        assert!(
            !line.starts_with("  ") || line.starts_with("   ") || name == "help" || is_named,
            "{name}"
        );
    }
    let statuses = help.lines().skip_while(|line| *line != "Exit status:").skip(1);
    for line in statuses.take_while(|line| line.starts_with("  ")) {
        let (status, meaning) = line.trim().split_once("  ").unwrap();
        assert!(PAGE.contains(&format!("| {status} | {meaning}")), "{line}");
    }
}
