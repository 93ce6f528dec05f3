//! `probe` and `test` against the zones of the DNS tests: the golden table `golden/zones.txt`. All
//! hosts are one mail server, and the TLSA records that are right are of its key.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::Value;

use crate::dns::dns;
use crate::program::{Folder, Ran, smtp_tls};
use crate::servers::serve_with_tls;
use crate::shown::{decision, postures};
use crate::table::{each, golden};

/// The domains, with what each of them is for; the first columns are rows of the decision table.
const DOMAINS: [(&str, &str); 34] = [
    ("P2: MX records bogus", "bogus.example"),
    ("P2: MX records with expired signatures", "expired.example"),
    ("P2: MX records, SERVFAIL", "lame.example"),
    ("P3: MX insecure, TLSA secure", "p3.insecure.example"),
    ("P4: MX denied securely", "self.secure.example"),
    ("P4b: AAAA bogus, A secure", "fam.secure.example"),
    ("P5: MX secure, A insecure", "p5.secure.example"),
    ("P5: nothing is signed", "insecure.example"),
    ("P6: secure alias of an insecure host", "p6.secure.example"),
    ("P6: insecure alias", "p6.insecure.example"),
    ("P6: bogus alias", "p6bad.secure.example"),
    ("P7: secure alias of a host with TLSA", "p7.secure.example"),
    ("P7: secure alias, TLSA at the alias", "p7own.secure.example"),
    ("P8: TLSA bogus", "p8.secure.example"),
    ("P8: TLSA, SERVFAIL", "p8lame.secure.example"),
    ("P9: TLSA unusable", "p9.secure.example"),
    ("P10: TLSA denied", "p10.secure.example"),
    ("TLSA secure; the second host has none", "secure.example"),
    ("TLSA secure, below an opt-out", "signed.optout"),
    ("not signed, below an opt-out", "plain.optout"),
    ("TLSA of another key", "mismatch.secure.example"),
    ("signed with NSEC3", "nsec3.example"),
    ("signed, without DS records at the parent", "island.example"),
    ("signed by an algorithm that is not known", "unknown.example"),
    ("the domain is an alias", "alias.secure.example"),
    ("the domain is an alias of an unsigned one", "toinsecure.secure.example"),
    ("some MX records name no host", "oddmx.secure.example"),
    ("no MX record names a host", "nomx.secure.example"),
    ("null MX", "nullmx.secure.example"),
    ("no such domain", "missing.secure.example"),
    ("an alias that leads nowhere", "nowhere.secure.example"),
    ("aliases in a loop", "loop1.secure.example"),
    ("DNAME", "host.moved.secure.example"),
    ("300 MX records", "many.secure.example"),
];

/// The look-ups, one a line, without the port of the mail server.
fn look_ups(answer: &Value, port: &str) -> String {
    let mut lines = String::new();
    for asked in answer["look_ups"].as_array().into_iter().flatten() {
        let question = asked["question"].as_str().unwrap().replace(port, "PORT");
        writeln!(lines, "asked {question}: {}", asked["status"].as_str().unwrap()).unwrap();
    }
    lines
}

/// The exit status and the ending; without an answer, the error.
fn ending(ran: &Ran, answer: &Value) -> String {
    match answer["ending"].as_str() {
        Some(ending) => format!("exit {}, {ending}", ran.status),
        None => format!("exit {}, {}", ran.status, ran.stderr.trim_end()),
    }
}

#[test]
fn probe_and_test_judge_each_zone_as_the_golden_table_says() {
    let Some(dns) = dns() else { return };
    let folder = Folder::new();
    let root = folder.file("root.pem", dns.pki.root_pem());
    let anchor = folder.file("root.key", &dns.anchor);
    let (resolver, port) =
        (dns.plain.to_string(), dns.mail.local_addr().unwrap().port().to_string());
    let configs = ["opportunistic", "dane-only"].map(|posture| {
        let text = format!(
            "[[outbound]]\nname = \"lab\"\nnamespaces = [\"*\"]\nposture = \"{posture}\"\n"
        );
        (posture, folder.file(&format!("{posture}.toml"), text))
    });
    serve_with_tls(dns.mail.try_clone().unwrap(), Arc::clone(&dns.identity));
    let run = |command: &[&str]| {
        let trust = ["--ca", &root, "--trust-anchor", &anchor];
        let network = ["--json", "--resolver", &resolver, "--port", &port, "--timeout", "40"];
        smtp_tls(&[command, &trust, &network].concat())
    };
    let blocks = each(DOMAINS, |(what, domain)| {
        let mut text = format!("{what}: {domain}\n");
        let ran = run(&["probe", domain]);
        let answer = serde_json::from_str(&ran.stdout).unwrap_or(Value::Null);
        let hosts = answer["hosts"].as_array().map(Vec::as_slice).unwrap_or_default();
        for line in look_ups(&answer, &port).lines().take(8) {
            writeln!(text, "  {line}").unwrap();
        }
        writeln!(text, "  probe: {}", ending(&ran, &answer)).unwrap();
        if let (true, Some(why)) = (hosts.is_empty(), answer["sentence"].as_str()) {
            writeln!(text, "    {why}").unwrap();
        }
        for host in hosts.iter().take(2) {
            writeln!(text, "    {}: {}", host["host"].as_str().unwrap(), decision(host)).unwrap();
            for line in postures(host).lines() {
                writeln!(text, "      {line}").unwrap();
            }
        }
        if hosts.len() > 2 {
            writeln!(text, "    and {} more hosts", hosts.len() - 2).unwrap();
        }
        for (posture, config) in &configs {
            let ran = run(&["test", "lab", "--config", config, "--domain", domain]);
            let answer: Value = serde_json::from_str(&ran.stdout).unwrap_or(Value::Null);
            let may = match answer["may_be_switched_on"].as_bool() {
                Some(true) => "yes",
                Some(false) => "no",
                None => ran.stderr.trim_end(),
            };
            writeln!(text, "  test {posture}: exit {}, {may}", ran.status).unwrap();
        }
        text
    });
    golden("zones.txt", &blocks.join("\n"));
}
