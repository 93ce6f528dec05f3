//! What a run of `probe` or `test` shows of one host, in the lines of the golden tables.

use std::fmt::Write;

use serde_json::Value;

use crate::program::Ran;

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The decision of each posture, those with the same decision in one line.
pub(crate) fn postures(host: &Value) -> String {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for decided in host["postures"].as_array().into_iter().flatten() {
        let decision = format!("{} ({})", text(decided, "ending"), text(decided, "reason"));
        let posture = text(decided, "rule");
        match groups.iter_mut().find(|(same, _)| *same == decision) {
            Some((_, postures)) => postures.push(posture),
            None => groups.push((decision, vec![posture])),
        }
    }
    groups.iter().fold(String::new(), |mut lines, (decision, postures)| {
        writeln!(lines, "{decision}: {}", postures.join(", ")).unwrap();
        lines
    })
}

/// The checks of the decision that counts: how many passed, and what the others found.
pub(crate) fn checks(host: &Value) -> String {
    let checks = host["decision"]["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = String::new();
    for check in checks {
        match check["passed"].as_bool() {
            Some(true) => writeln!(lines, "passed: {}", text(check, "check")).unwrap(),
            _ => writeln!(lines, "{}", text(check, "finding")).unwrap(),
        }
    }
    lines
}

/// The version that is taken where all are offered.
pub(crate) fn version(host: &Value) -> &str {
    host["tls"]["version"].as_str().unwrap_or("no TLS")
}

/// The decision that counts; of a host that cannot be reached, why.
pub(crate) fn decision(host: &Value) -> String {
    let decision = &host["decision"];
    match host["failure"].as_str() {
        Some(failure) => {
            // Without the address, which is another in each run.
            let why = failure.split_once(": ").map_or(failure, |(_, why)| why);
            format!("unreachable: {why}")
        }
        None => format!("{} ({})", text(decision, "ending"), text(decision, "reason")),
    }
}

/// The exit status and the decision.
pub(crate) fn verdict(ran: &Ran, host: &Value) -> String {
    format!("exit {}, {}", ran.status, decision(host))
}
