//! The main job as a program: its lines of JSON against the table that it must fulfil, and against
//! broken rules.
//!
//! `cargo test` builds the example beside the tests, so it is run from there.

#[path = "common/browser.rs"]
mod browser;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

const HOPS: [(&str, &str); 4] = [
    ("outbound", "on-premise>ehs"),
    ("outbound", "ehs>online"),
    ("inbound", "online>ehs"),
    ("inbound", "ehs>on-premise"),
];

fn example() -> PathBuf {
    // target/PROFILE/deps/this-test -> target/PROFILE/examples/mail_path
    let test = std::env::current_exe().unwrap();
    // `cargo test` builds it. `cargo test --test mail_path` does not, and an older one is run.
    test.parent().unwrap().parent().unwrap().join("examples").join("mail_path")
}

fn run(arguments: &[&str]) -> Output {
    Command::new(example()).args(arguments).output().expect("cargo test builds the examples")
}

/// The page of the run of all scenarios.
fn page() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("mail_path.html")
}

/// A run of all scenarios, which also writes [`page`]. It takes a while, so that there is one.
fn all() -> &'static Output {
    static ALL: OnceLock<Output> = OnceLock::new();
    ALL.get_or_init(|| run(&["--json", "--html", page().to_str().unwrap()]))
}

/// Lines by scenario, each scenario in path order.
fn lines(output: &Output) -> BTreeMap<String, Vec<Value>> {
    let mut scenarios: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout.clone()).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        scenarios.entry(line["scenario"].as_str().unwrap().to_owned()).or_default().push(line);
    }
    scenarios
}

/// The defects of the table: name, connections, reason, status where TLS is required.
const DEFECTS: [(&str, usize, &str, &str); 13] = [
    ("no-starttls", 1, "starttls-not-offered", "4.7.4"),
    ("starttls-refused", 1, "starttls-refused", "4.7.4"),
    ("starttls-not-220", 2, "starttls-refused", "4.7.4"),
    ("broken-handshake", 3, "handshake-failed", "4.7.5"),
    ("stalled-handshake", 3, "handshake-timeout", "4.7.5"),
    ("plaintext-injected", 2, "plaintext-injected", "4.7.5"),
    ("private-cert", 2, "cert-unknown-issuer", "4.7.5"),
    ("self-signed", 2, "cert-self-signed", "4.7.5"),
    ("expired", 2, "cert-expired", "4.7.5"),
    ("not-yet-valid", 2, "cert-not-yet-valid", "4.7.5"),
    ("revoked", 2, "cert-revoked", "4.7.5"),
    ("revoked-other-string-type", 2, "cert-revoked", "4.7.5"),
    ("wrong-name", 2, "cert-name-mismatch", "4.7.5"),
];

/// Over TLS on the last hop after an earlier connection failed, also where TLS is required: the
/// connection, and why the first one failed.
const SECOND_TRIES: [(&str, u64, &str); 4] = [
    ("second-address", 2, "cert-name-mismatch"),
    ("second-address-no-starttls", 2, "starttls-not-offered"),
    ("second-address-handshake", 3, "handshake-failed"),
    ("large-hello", 2, "handshake-failed"),
];

#[test]
fn every_scenario_ends_as_its_row_says() {
    let output = all();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let scenarios = lines(output);

    // Hops that differ from "TLS, delivered": scenario, hop, what they must be.
    let mut special: BTreeMap<(String, usize), Value> = BTreeMap::new();
    let clear = |reason: &str, connection: usize| {
        serde_json::json!({"result": "delivered", "tls": null, "reason": reason, "status": null, "review": "cleartext",
            "connections": connection})
    };
    let ended_after = |result: &str, status: &str, reason: &str, connections: usize| {
        serde_json::json!({"result": result, "tls": null, "reason": reason, "status": status, "review": null,
            "connections": connections})
    };
    let ended = |result: &str, status: &str, reason: &str| ended_after(result, status, reason, 1);
    for hop in 0..4 {
        special
            .insert((format!("no-starttls-hop{}", hop + 1), hop), clear("starttls-not-offered", 1));
    }
    for (name, connection, reason, status) in DEFECTS {
        special.insert((name.into(), 3), clear(reason, connection));
        // A failed handshake is repeated once.
        let connections = if name.ends_with("-handshake") { 2 } else { 1 };
        special.insert(
            (format!("{name}-required"), 3),
            ended_after("deferred", status, reason, connections),
        );
    }
    let outside = "onpremise-connector-outside".to_owned();
    special.insert((outside, 0), clear("starttls-not-offered", 1));
    for (name, result, status, reason) in [
        ("onpremise-connector-required", "deferred", "4.7.4", "starttls-not-offered"),
        ("mtls-missing", "bounced", "5.7.0", "client-cert-missing"),
        ("mtls-wrong-name", "bounced", "5.7.1", "client-cert-name-mismatch"),
    ] {
        special.insert((name.into(), 0), ended(result, status, reason));
        let stopped = serde_json::json!({"result": "not attempted", "tls": null, "reason": reason, "status": null,
            "review": null, "connections": 0});
        special.insert((name.into(), 1), stopped);
    }

    for (name, reason, connections) in [
        ("dane-mismatch", "dane-mismatch", 1),
        ("dane-bogus", "tlsa-lookup-failed", 0),
        ("sts-enforce-mx-mismatch", "sts-mx-mismatch", 0),
        ("pinned-mismatch", "pin-mismatch", 1),
    ] {
        special.insert((name.into(), 3), ended_after("deferred", "4.7.5", reason, connections));
    }
    for (name, reason) in [
        ("roots-missing", "roots-missing"),
        ("roots-missing-required", "roots-missing"),
        ("crl-stale-hard", "crl-expired"),
    ] {
        special.insert((name.into(), 3), ended("deferred", "4.3.5", reason));
    }
    for name in ["sts-testing", "tls-required-no"] {
        special.insert((name.into(), 3), clear("cert-self-signed", 2));
    }
    special.insert(
        ("requiretls-unsupported".into(), 3),
        ended("bounced", "5.7.30", "requiretls-unsupported"),
    );

    let mut names: Vec<String> = special.keys().map(|(name, _)| name.clone()).collect();
    names.extend(
        ["all-tls", "cn-only", "private-ca-allowed", "mtls", "mtls-server-certificate"]
            .map(str::to_owned),
    );
    names.extend(
        ["dane-ee", "dane-ta", "dane-unusable", "sts-enforce", "dane-and-sts"].map(str::to_owned),
    );
    names.extend(["requiretls", "pinned"].map(str::to_owned));
    let mut tries: BTreeMap<(String, usize), (u64, &str)> = BTreeMap::new();
    for (name, connection, reason) in SECOND_TRIES {
        for name in [name.to_owned(), format!("{name}-required")] {
            names.push(name.clone());
            tries.insert((name, 3), (connection, reason));
        }
    }
    names.sort();
    names.dedup();
    assert_eq!(scenarios.keys().cloned().collect::<Vec<_>>(), names);

    for (name, hops) in &scenarios {
        assert_eq!(hops.len(), 4, "{name}");
        for (index, (line, (direction, hop))) in hops.iter().zip(HOPS).enumerate() {
            let context = format!("{name} {hop}: {line}");
            assert_eq!(
                (&line["direction"], &line["hop"]),
                (&direction.into(), &hop.into()),
                "{context}"
            );
            let attempts = line["attempts"].as_array().unwrap();
            let delivered = line["result"] == "delivered";
            assert_eq!(
                line["intact"],
                if delivered { Value::Bool(true) } else { Value::Null },
                "{context}"
            );
            let clear_octets = line["clear_bytes_of_message"].as_u64().unwrap();
            match special.get(&(name.clone(), index)) {
                None => {
                    assert!(
                        delivered && line["review"] == "tls" && line["reason"] == "tls-ok",
                        "{context}"
                    );
                    assert_eq!(line["tls"]["version"], "TLSv1.3", "{context}");
                    assert!(
                        line["tls"]["cipher"].as_str().unwrap().starts_with("TLS_"),
                        "{context}"
                    );
                    let (connections, reason) =
                        *tries.get(&(name.clone(), index)).unwrap_or(&(1, "tls-ok"));
                    assert_eq!(clear_octets, 0, "{context}");
                    assert_eq!(attempts.len() as u64, connections, "{context}");
                    assert_eq!(attempts[0]["reason"], reason, "{context}");
                    let (last, earlier) = attempts.split_last().unwrap();
                    assert_eq!(last["channel"], "tls", "{context}");
                    // In clear text, a connection was given up before the message.
                    let channel = if reason == "starttls-not-offered" { "clear" } else { "tls" };
                    assert!(earlier.iter().all(|it| it["channel"] == channel), "{context}");
                }
                Some(expected) => {
                    for field in ["result", "tls", "reason", "status", "review"] {
                        assert_eq!(line[field], expected[field], "{field} of {context}");
                    }
                    assert_eq!(
                        attempts.len() as u64,
                        expected["connections"].as_u64().unwrap(),
                        "{context}"
                    );
                    assert_eq!(clear_octets > 0, delivered, "{context}");
                    if delivered {
                        assert_eq!(attempts.last().unwrap()["channel"], "clear", "{context}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_capture_lets_others_check() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("capture");
    let _ = std::fs::remove_dir_all(&folder);
    let output = run(&["--scenario", "no-starttls", "--capture", folder.to_str().unwrap()]);
    assert!(output.status.success());
    let needle = b"that is what dot-stuffing is for";
    let holds = |hop: &str, file: &str| {
        let bytes = std::fs::read(folder.join("no-starttls").join(hop).join(file)).unwrap();
        bytes.windows(needle.len()).any(|it| it == needle)
    };
    for (_, hop) in HOPS {
        assert!(holds(hop, "received.eml"));
        assert_eq!(holds(hop, "wire.bin"), hop == "ehs>on-premise", "{hop}");
    }
}

#[test]
fn a_page_draws_every_scenario_with_certificates_and_reasons() {
    let scenarios = lines(all());
    let written = std::fs::read_to_string(page()).unwrap();
    for (name, hops) in &scenarios {
        let start = written.find(&format!("<h2>{name}</h2>")).unwrap_or_else(|| panic!("{name}"));
        let drawn = &written[start + 4..];
        let drawn = &drawn[..drawn.find("<h2>").unwrap_or(drawn.len())];
        assert_eq!(drawn.matches("<div class=path>").count(), 2, "{name}");
        let words: Vec<&str> =
            drawn.split("<b>").skip(1).map(|it| it.split("</b>").next().unwrap()).collect();
        let wanted: Vec<String> = hops
            .iter()
            .map(|hop| match (hop["result"].as_str().unwrap(), hop["tls"].is_null()) {
                ("delivered", false) => "TLS".to_owned(),
                ("delivered", true) => "clear text".to_owned(),
                (result, _) => format!("{result} {}", hop["status"].as_str().unwrap_or_default()),
            })
            .collect();
        let wanted: Vec<&str> = wanted.iter().map(|it| it.trim_end()).collect();
        assert_eq!(words, wanted, "{name}");
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let Some(opened) = browser::open(folder, page().to_str().unwrap()) else { return };
    let parts = [
        "scenarios ended as they must",
        "<div class=\"box\">On-Premise<small>mail.<wbr>contoso.<wbr>com</small></div>",
        "<div class=\"arrow green\"><b>TLS</b>",
        "<div class=\"arrow red\"><b>clear text</b>",
        "<div class=\"arrow amber\"><b>deferred 4.7.5</b>",
        "the certificate is self-signed",
        "certificate: CN=",
        "connection 2: ",
    ];
    browser::is_clean(&opened, &parts);
}

#[test]
fn a_wrong_call_is_one_clear_line() {
    for arguments in [
        &["--message", "/nonexistent/message.eml"][..],
        &["--scenario", "all-tls", "--quiet", "--html", "/nonexistent/page.html"],
        &["--scenario", "no-such"],
        &["--frobnicate"],
        &["--message"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with("mail_path: ") && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn bare_lf_is_converted_and_said_so() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("unix.eml");
    std::fs::write(&path, "Subject: unix\n\n.line\nend without newline").unwrap();
    let output = run(&["--json", "--scenario", "all-tls", "--message", path.to_str().unwrap()]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("LF alone"));

    std::fs::write(&path, "Subject: mac\r\rtext\r\n").unwrap();
    let output = run(&["--scenario", "all-tls", "--message", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn help_and_results_fit_80_columns() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    for option in ["--list", "--scenario", "--message", "--json", "--capture", "--quiet"] {
        assert!(help.contains(&format!("\n  {option} ")), "{option}");
    }
    let result = run(&["--scenario", "roots-missing"]);
    assert!(result.status.success());
    let result = String::from_utf8(result.stdout).unwrap();
    for text in ["the client's trusted roots are gone", "deferred 4.3.5; review: -; connections: 1"]
    {
        assert!(result.contains(text), "{result}");
    }
    assert!(result.ends_with("\n1 of 1 scenarios ended as they must\n"), "{result}");
    for line in help.lines().chain(result.lines()) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn quiet_is_one_line_a_scenario_and_a_summary() {
    let output = run(&["--quiet", "--scenario", "crl-stale-hard"]);
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "ok      crl-stale-hard\n1 of 1 scenarios ended as they must\n"
    );
}

#[test]
fn list_names_what_runs() {
    let output = run(&["--list"]);
    let names = String::from_utf8(output.stdout).unwrap();
    assert!(names.lines().any(|name| name == "all-tls") && names.lines().count() >= 60, "{names}");
}

/// One rule taken out: the file, the line as it is, the line as it must not be.
const RULES: [(&str, &str, &str, &str); 13] = [
    (
        "after: TLS that is required yields to nothing",
        "smtp-proto/src/fallback.rs",
        "(TlsRules::Required { .. }, _) | (_, Channel::Implicit(_)) => Fallback::Forbidden,",
        "(_, Channel::Implicit(_)) => Fallback::Forbidden,\n        (TlsRules::Required { .. }, _) => Fallback::ContinuePlaintext,",
    ),
    (
        "after: a certificate that does not count allows clear text on a new connection",
        "smtp-proto/src/fallback.rs",
        "TlsFailure::Injected | TlsFailure::Handshake => new_connection(broken), \
         TlsFailure::Untrusted => new_connection(untrusted),",
        "TlsFailure::Injected | TlsFailure::Handshake => new_connection(broken), \
         TlsFailure::Untrusted => new_connection(ClearText::Never),",
    ),
    (
        "after: a handshake that fails is repeated with the plainest ClientHello",
        "smtp-proto/src/fallback.rs",
        "return Fallback::RetryPlainHello;",
        "",
    ),
    (
        "route: each address of a host is tried for TLS before one is dialled in clear text",
        "smtp-proto/src/route/config.rs",
        "tls_at_each_address: true",
        "tls_at_each_address: false",
    ),
    (
        "judge: a certificate that fails its check is no TLS",
        "smtp-tls-policy/src/judge/verdict.rs",
        "Some(Weight::NotTls) => Standing::NotTls,",
        "Some(Weight::NotTls) => Standing::Acceptable,",
    ),
    (
        "judge: a fault of this side is no fault of the peer",
        "smtp-tls-policy/src/judge/verdict.rs",
        "Some(_) if decisive.is_some_and(Finding::is_local_fault) => Standing::LocalFault,",
        "",
    ),
    (
        "plan: a connector that requires TLS raises the floor",
        "smtp-tls-policy/src/plan/sources.rs",
        "(true, Some(_)) => (Floor::Authenticated, Weight::Refuse),",
        "(true, Some(weight)) => (posture.floor(), weight),",
    ),
    (
        "search: a TLSA look-up that fails is not an absence",
        "smtp-tls-policy/src/inquiry/tlsa_search.rs",
        "failed if failed.is_failure() => State::failed(failed),",
        "failed if failed.is_failure() => State::Done(TlsaFact::Absent),",
    ),
    (
        "judge: a certificate that matches no TLSA record is refused",
        "smtp-tls-policy/src/judge/mod.rs",
        "(dane::judge(records, names, chain, trust.algorithms(), now), None)",
        "(dane::judge(records, names, chain, trust.algorithms(), now).or(Ok(())), None)",
    ),
    (
        "sources: a host outside the MTA-STS policy is refused",
        "smtp-tls-policy/src/plan/sources.rs",
        "if binding && mx_matches == Some(false) {",
        "if binding && mx_matches.is_none() {",
    ),
    (
        "the adapter: REQUIRETLS that is not offered sends the message nowhere",
        "smtp-tokio-adapter/src/client/connection.rs",
        "Err(Arc::make_mut(&mut self.decision).no_requiretls(&self.plan))",
        "Ok(without_requiretls(&envelope))",
    ),
    (
        "the adapter: MAIL carries REQUIRETLS",
        "smtp-tokio-adapter/src/client/connection.rs",
        "(MessageTls::Required | MessageTls::RequiredOfBounce, true) if offered => Ok(envelope),",
        "(MessageTls::Required | MessageTls::RequiredOfBounce, true) if offered => \
         Ok(without_requiretls(&envelope)),",
    ),
    (
        "sources: TLS-Required: No lifts what the recipient publishes",
        "smtp-tls-policy/src/plan/sources.rs",
        "let binding = enforce && !self.optional && !instead;",
        "let binding = enforce && !instead;",
    ),
];

/// Builds and runs the example with one rule taken out: the run must fail.
#[test]
fn a_rule_taken_out_makes_the_run_fail() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    let (copy, target) = (scratch.join("workspace"), scratch.join("target"));
    let _ = std::fs::remove_dir_all(&scratch);
    // What cargo has built of other people's crates serves the copy as well. Ours must not be
    // shared, for cargo writes into files of the same name.
    let built = example().parent().unwrap().parent().unwrap().to_owned();
    for folder in [".fingerprint", "build", "deps"] {
        each_file(&built.join(folder), &target.join("debug").join(folder), &|from, to| {
            if !from.to_string_lossy().rsplit('/').take(2).any(|name| name.contains("smtp")) {
                // Files come and go while other tests are built; what is missing is built again.
                let _ = std::fs::hard_link(from, to);
            }
        });
    }
    for folder in ["smtp-proto", "smtp-tls-policy", "smtp-tokio-adapter", "benches"] {
        each_file(&workspace.join(folder), &copy.join(folder), &|from, to| {
            std::fs::copy(from, to).unwrap();
        });
    }
    for name in ["Cargo.toml", "Cargo.lock", "README.md"] {
        std::fs::copy(workspace.join(name), copy.join(name)).unwrap();
    }
    let build = || {
        let mut cargo = Command::new(env!("CARGO"));
        // With the features of `cargo test --workspace --all-features`, so that what it has built
        // of other people's crates serves.
        cargo.args(["build", "--quiet", "--offline", "--locked", "--workspace", "--all-features"]);
        cargo.args(["--example", "mail_path"]).current_dir(&copy);
        // Build scripts go by some of what cargo tells this test about its package.
        for (name, _) in std::env::vars_os() {
            let shown = name.to_string_lossy();
            if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|it| shown.starts_with(it)) {
                cargo.env_remove(&name);
            }
        }
        cargo.env("CARGO_TARGET_DIR", &target).env("CARGO_INCREMENTAL", "1");
        let built = cargo.output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        target.join("debug/examples/mail_path")
    };
    let whole = Command::new(build()).output().unwrap();
    assert_eq!(whole.status.code(), Some(0), "the copy itself runs");
    // A run waits for time limits for the most part, so that the next rule is taken out meanwhile.
    let mut runs = Vec::new();
    for (number, (rule, file, line, mutant)) in RULES.into_iter().enumerate() {
        let file = copy.join(file);
        let source = std::fs::read_to_string(&file).unwrap();
        let changed = replace_code(&source, line, mutant)
            .unwrap_or_else(|| panic!("{rule}: the line is no longer there"));
        std::fs::write(&file, changed).unwrap();
        let program = scratch.join(format!("without-{number}"));
        std::fs::rename(build(), &program).unwrap();
        let mut run = Command::new(program);
        runs.push((rule, run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()));
        std::fs::write(&file, source).unwrap();
    }
    for (rule, mut run) in runs {
        let code = run.wait().unwrap().code();
        assert_eq!(code, Some(1), "{rule}: the run did not fail without it");
    }
    std::fs::remove_dir_all(&scratch).unwrap();
}

/// Replaces a piece of code, however it is laid out: white space and commas before a closing
/// bracket do not count. `None` if it is not there exactly once.
fn replace_code(source: &str, code: &str, by: &str) -> Option<String> {
    let compact = |text: &str| -> Vec<(usize, char)> {
        let mut kept: Vec<(usize, char)> = Vec::new();
        for (at, character) in text.char_indices().filter(|(_, it)| !it.is_whitespace()) {
            if matches!(character, ')' | '}' | ']') && kept.last().is_some_and(|(_, it)| *it == ',')
            {
                kept.pop();
            }
            kept.push((at, character));
        }
        kept
    };
    let (source_chars, code_chars) = (compact(source), compact(code));
    let matches = |window: &[(usize, char)]| {
        window.iter().map(|(_, it)| it).eq(code_chars.iter().map(|(_, it)| it))
    };
    let mut found = source_chars.windows(code_chars.len()).filter(|window| matches(window));
    let (place, None) = (found.next()?, found.next()) else { return None };
    let (start, end) = (place[0].0, place[place.len() - 1].0 + 1);
    Some(format!("{}{by}{}", &source[..start], &source[end..]))
}

fn each_file(from: &Path, to: &Path, act: &dyn Fn(&Path, &Path)) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => each_file(&entry.path(), &to, act),
            _ => act(&entry.path(), &to),
        }
    }
}
