//! DANE corpora: OpenSSL's and ssl_dane's.

mod common;

use std::time::Duration;

use common::{base64, corpus};
use pki_types::{CertificateDer, UnixTime};
use serde_json::Value;
use smtp_tls_policy::pki::{TlsaRecord, TlsaSet, Trust};
use smtp_tls_policy::plan::{DnsStatus, Facts, HostOrigin, TlsaFact, plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::{Host, Namespace, pki_types};

/// The exception for a row, if there is one: `id: reason`.
fn is_exception(id: &str) -> bool {
    include_str!("corpora/dane_exceptions.txt")
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .any(|line| {
            let (row, reason) = line.split_once(": ").expect("id: reason");
            assert!(reason.contains("RFC"), "{row}: an exception cites an RFC");
            row == id
        })
}

fn records(row: &Value) -> Vec<TlsaRecord> {
    let record = |tlsa: &Value| {
        let field = |name: &str| tlsa[name].as_u64().unwrap();
        let data = tlsa["data"].as_str().unwrap();
        let text = format!("{} {} {} {data}", field("usage"), field("selector"), field("mtype"));
        TlsaRecord::parse(&text).unwrap()
    };
    row["tlsa"].as_array().unwrap().iter().map(record).collect()
}

/// Whether the chain is that of a host which these records authenticate.
fn judge(row: &Value, names: &[&str], time: u64) -> Result<(), String> {
    let chain: Vec<_> = row["chain"]
        .as_array()
        .unwrap()
        .iter()
        .map(|der| CertificateDer::from(base64(der.as_str().unwrap())))
        .collect();
    // The first name is the base domain, a second one the next hop.
    let host = Host::parse(names[0]).unwrap();
    let next_hop = Host::parse(names.last().unwrap()).unwrap();
    let connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::DaneOnly);
    let tlsa = TlsaFact::Found(TlsaSet::new(host.domain().unwrap().clone(), &records(row)));
    let mut facts = Facts::new(&connector, &next_hop, &host, HostOrigin::Mx);
    (facts.mx, facts.tlsa) = (DnsStatus::Secure, &tlsa);
    let plan = plan(&facts).map_err(|refusal| refusal.to_string())?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(time));
    let verdict = plan.judge(&chain, &Trust::empty(), now);
    match verdict.is_authenticated() {
        true => Ok(()),
        false => Err(verdict.to_string()),
    }
}

fn run(file: &str, mut judge: impl FnMut(&Value) -> (bool, Result<(), String>)) {
    let Some(rows) = corpus(file) else { return };
    let mut wrong = Vec::new();
    for row in &rows {
        let id = row["id"].as_str().unwrap();
        let (expected, judged) = judge(row);
        match (expected == judged.is_ok(), is_exception(id)) {
            (true, false) | (false, true) => {}
            (true, true) => wrong.push(format!("{id}: an exception that is none")),
            (false, false) => wrong.push(format!("{id}: expected {expected}, {judged:?}: {row}")),
        }
    }
    assert!(wrong.is_empty(), "{file}:\n{}", wrong.join("\n"));
}

/// 1 June 2026, within the dates of OpenSSL's certificates.
const OPENSSL_TIME: u64 = common::NOW;

#[test]
fn corpus_dane_openssl() {
    run("dane_openssl.jsonl", |row| {
        let base = row["base_name"].as_str().unwrap();
        // RFC 7672, section 3.1.3: PKIX-TA(0) and PKIX-EE(1) are unusable, so that a host with no
        // other records is not one that DANE authenticates, whatever the public roots say.
        let usable = records(row).iter().any(|record| record.usage >= 2);
        // RFC 7672, section 3.2.1: no name check for DANE-EE(3), though OpenSSL can be told to make
        // one.
        let name_check_failed = row["expect_verify_result"] == 62;
        let by_host_record =
            row["expect_match_depth"] == 0 && records(row).iter().any(|record| record.usage == 3);
        let passes = row["expect_verify_result"] == 0 || (name_check_failed && by_host_record);
        (passes && usable, judge(row, &[base], OPENSSL_TIME))
    });
}

#[test]
fn corpus_dane_ssl_dane_matrix() {
    run("dane_ssl_dane_matrix.jsonl", |row| {
        let names: Vec<_> =
            row["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let expected = match row["expect"].as_str().unwrap() {
            "pass" => true,
            "fail" => false,
            other => panic!("{other}"),
        };
        (expected, judge(row, &names, row["time"].as_u64().unwrap()))
    });
}
