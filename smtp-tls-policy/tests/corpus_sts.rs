//! MTA-STS and TLSRPT corpora.

mod common;

use std::time::Duration;

use common::corpus;
use pki_types::UnixTime;
use serde_json::Value;
use smtp_tls_policy::Domain;
use smtp_tls_policy::TxtError;
use smtp_tls_policy::sts::{
    Cache, Discovered, FetchError, PolicyId, PolicyText, Trouble, is_text_plain,
};
use smtp_tls_policy::tlsrpt;

/// Runs every row but the exceptions; all rows that fail are named.
fn each(name: &str, key: &str, check: impl Fn(&Value) -> Result<(), String>) {
    let Some(rows) = corpus(&format!("{name}.jsonl")) else { return };
    let excepted: Vec<&str> = include_str!("corpora/sts_exceptions.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| {
            let (row, reason) =
                line.strip_prefix(name)?.strip_prefix(": ")?.split_once(": ").expect("row: reason");
            assert!(reason.starts_with("RFC "), "{row}: an exception cites an RFC");
            Some(row)
        })
        .collect();
    assert!(excepted.len() <= 5);
    let mut wrong = Vec::new();
    for row in &rows {
        let id = match &row[key] {
            Value::String(id) => id.clone(),
            other => other.to_string(),
        };
        match (check(row), excepted.contains(&id.as_str())) {
            (Ok(()), true) => wrong.push(format!("{id}: passes, although it is an exception")),
            (Err(error), false) => wrong.push(format!("{row}: {error}")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn same<T: PartialEq + std::fmt::Debug>(got: T, expected: T) -> Result<(), String> {
    (got == expected).then_some(()).ok_or(format!("got {got:?}, not {expected:?}"))
}

fn text<'r>(row: &'r Value, key: &str) -> &'r str {
    row[key].as_str().unwrap()
}

#[test]
fn corpus_mta_sts_txt() {
    each("mta_sts_txt", "input", |row| {
        let found = PolicyId::find(&[[text(row, "input")]]);
        match row["fields"].as_object() {
            Some(fields) => match found {
                Ok(Some(id)) => same(id.as_str(), fields["id"].as_str().unwrap()),
                other => Err(format!("{other:?}")),
            },
            None => same(matches!(found, Ok(Some(_))), row["valid"].as_bool().unwrap()),
        }
    });
}

#[test]
fn corpus_mta_sts_txt_lookup() {
    each("mta_sts_txt_lookup", "txts", |row| {
        // A look-up that fails never becomes a set of records; see the cache.
        let Some(records) = row["txts"].as_array() else {
            return same(text(row, "outcome"), "temp_error");
        };
        let records: Vec<[&str; 1]> =
            records.iter().map(|record| [record.as_str().unwrap()]).collect();
        let outcome = match PolicyId::find(&records) {
            Ok(Some(_)) => "found",
            Ok(None) => "none",
            Err(TxtError::Several { .. }) => "multiple_records",
            Err(_) => "syntax_error",
        };
        let expected = match text(row, "outcome") {
            error @ ("syntax_error" | "multiple_records") => error,
            // "no_record", "not_found", "none"
            none if none.starts_with("no") => "none",
            _ => "found",
        };
        same(outcome, expected)
    });
}

#[test]
fn corpus_mta_sts_policy() {
    each("mta_sts_policy", "input", |row| {
        same(
            PolicyText::parse(text(row, "input").as_bytes()).is_ok(),
            row["valid"].as_bool().unwrap(),
        )
    });
}

#[test]
fn corpus_mta_sts_mx_match() {
    each("mta_sts_mx_match", "mx", |row| {
        let host = Domain::parse(text(row, "mx")).map_err(|error| error.to_string())?;
        let patterns =
            row["patterns"].as_array().unwrap().iter().map(|pattern| pattern.as_str().unwrap());
        // A pattern that is no domain name makes no policy, and permits none.
        let policies = patterns.map(|pattern| {
            // RFC 8461, section 3.2: a policy has A-labels; some rows have U-labels.
            let (star, name) = match pattern.strip_prefix("*.") {
                Some(name) => ("*.", name),
                None => ("", pattern),
            };
            let name = Domain::parse(name).map_or(name.to_owned(), |name| name.to_string());
            let pattern = format!("{star}{name}");
            let text = format!("version: STSv1\nmode: enforce\nmax_age: 86400\nmx: {pattern}\n");
            PolicyText::parse(text.as_bytes())
        });
        let matched = policies.flatten().any(|policy| policy.permits(&host));
        same(matched, row["match"].as_bool().unwrap())
    });
}

#[test]
fn corpus_mta_sts_content_type() {
    each("mta_sts_content_type", "content_type", |row| {
        same(is_text_plain(text(row, "content_type")), row["acceptable"].as_bool().unwrap())
    });
}

#[test]
fn corpus_tlsrpt_txt() {
    each("tlsrpt_txt", "input", |row| {
        let found = tlsrpt::TlsrptRecord::find(&[[text(row, "input")]]);
        same(matches!(found, Ok(Some(_))), row["valid"].as_bool().unwrap())
    });
}

/// One delivery through the cache.
#[test]
fn corpus_mta_sts_fetch_scenarios() {
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
    each("mta_sts_fetch_scenarios", "domain", |row| {
        let domain = Domain::parse(text(row, "domain")).map_err(|error| error.to_string())?;
        let records: Vec<[&str; 1]> = match &row["txt"] {
            Value::Null => Vec::new(),
            Value::String(record) => vec![[record]],
            Value::Array(records) => {
                records.iter().map(|record| [record.as_str().unwrap()]).collect()
            }
            other => panic!("{other}"),
        };
        let mut cache = Cache::new();
        let id = PolicyId::find(&records).map_err(Trouble::Record);
        let (answer, kept) = match cache.discovered(&domain, id, now) {
            Discovered::Done(answer) => (answer, 0),
            Discovered::UnderWay => return Err("nothing was under way".to_owned()),
            Discovered::Fetch(fetch) => {
                let http = &row["http"];
                let body = http["body"].as_str().unwrap_or_default();
                // The suite shows the certificates of its hosts only in their names. To judge them
                // is the caller's part.
                let policy = match http["status"].as_u64() {
                    _ if domain.as_str().starts_with("bad-cert") => Err(FetchError::Certificate),
                    None => Err(FetchError::Unreachable),
                    Some(status) => {
                        let content_type = http["content_type"].as_str();
                        PolicyText::from_response(status as u16, content_type, body.as_bytes())
                    }
                };
                let fetched = cache.fetched(fetch, policy, now);
                (fetched.answer, fetched.changes.len())
            }
        };
        let outcome = match answer.trouble {
            _ if kept == 1 => "VALID",
            Some(Trouble::Fetch(_)) => "FETCH_ERROR",
            Some(_) | None => "NONE",
        };
        same(outcome, text(row, "expected"))
    });
}
