//! Whole fetches of other programs' test suites: a record, and what a real server answers.

use smtp_tls_policy::Domain;
use smtp_tls_policy::sts::{Cache, Discovered, PolicyId, StoreChange, Trouble, policy_host};
use smtp_tokio_adapter::lookups::{Combined, Lookups};

use crate::common::Pki;
use crate::folder;
use crate::policies::{client, now, zone};
use crate::web::{Answer, Tls, Web, response};

/// The rows on which this library differs, each with the RFC that says so.
fn exceptions() -> Vec<&'static str> {
    let all = include_str!("../../../smtp-tls-policy/tests/corpora/sts_exceptions.txt").lines();
    let rows = all.filter_map(|line| line.strip_prefix("mta_sts_fetch_scenarios: "));
    rows.map(|row| row.split(':').next().unwrap()).collect()
}

async fn outcome(row: &serde_json::Value, domain: &Domain) -> &'static str {
    let records: Vec<[&str; 1]> = row["txt"].as_str().map(|record| [record]).into_iter().collect();
    let mut cache = Cache::new();
    let id = PolicyId::find(&records).map_err(Trouble::Record);
    let fetch = match cache.discovered(domain, id, now()) {
        Discovered::Done(_) => return "NONE",
        Discovered::Fetch(fetch) => fetch,
        Discovered::UnderWay => panic!("nothing was under way"),
    };
    let (pki, http) = (Pki::new(), &row["http"]);
    let host = policy_host(domain).unwrap();
    // The suite shows the certificates of its hosts only in their names.
    let identity = match domain.as_str().starts_with("bad-cert") {
        true => Pki::new().identity(host.as_str()),
        false => pki.identity(host.as_str()),
    };
    let body = http["body"].as_str().unwrap();
    let status = format!("{} Status", http["status"]);
    let text = response(&status, http["content_type"].as_str(), body);
    let web = Web::start(Tls::Shows(identity), Answer::Keeps(text)).await;
    let lookups = Combined::new(zone(host.as_str()), client(&pki, web.port));
    let policy = lookups.fetch(&fetch).await;
    let end = cache.fetched(fetch, policy, now());
    match (&end.changes[..], end.answer.trouble) {
        ([StoreChange::Save(_)], _) => "VALID",
        ([], Some(Trouble::Fetch(_))) => "FETCH_ERROR",
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn corpus_mta_sts_fetch_scenarios_over_https() {
    let Some(rows) = folder::read("mta_sts_fetch_scenarios.jsonl") else { return };
    let mut wrong = Vec::new();
    for row in rows.lines() {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        let name = row["domain"].as_str().unwrap();
        let got = outcome(&row, &Domain::parse(name).unwrap()).await;
        let expected = match exceptions().contains(&name) {
            true => "VALID",
            false => row["expected"].as_str().unwrap(),
        };
        if got != expected {
            wrong.push(format!("{row}: {got}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
