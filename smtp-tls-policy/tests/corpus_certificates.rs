//! Certificate corpora: x509-limbo, BetterTLS and PKITS.

mod common;

use std::time::Duration;

use common::{TLS, base64, corpus};
use pki_types::{CertificateDer, UnixTime};
use serde_json::Value;
use smtp_tls_policy::judge::{Standing, admit};
use smtp_tls_policy::pki::{CnFallback, Revocation, RootsId, Trust};
use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
use smtp_tls_policy::rules::{
    ClientCertificate, ClientCheck, InboundConnector, OutboundConnector, Posture,
};
use smtp_tls_policy::{Host, Namespace, Reason, pki_types};

/// Whether there is an exception for a row.
fn is_exception(id: &str) -> bool {
    include_str!("corpora/exceptions.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .any(|line| {
            let (row, reason) = line.split_once(": ").expect("id: reason");
            assert!(reason.contains("RFC"), "{row}: an exception cites an RFC");
            id == row
        })
}

/// Most exceptions a corpus.
const MAX_EXCEPTIONS: usize = 5;

struct Row {
    id: String,
    chain: Vec<CertificateDer<'static>>,
    trust: Result<Trust, String>,
    now: UnixTime,
    peer: Option<String>,
    has_crls: bool,
}

fn ders(row: &Value, field: &str) -> Vec<Vec<u8>> {
    match &row[field] {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().map(|i| base64(i.as_str().unwrap())).collect(),
        other => panic!("{field}: {other}"),
    }
}

fn roots() -> RootsId {
    RootsId::new("corpus")
}

fn read(row: &Value) -> Row {
    let mut chain = vec![CertificateDer::from(base64(row["leaf"].as_str().unwrap()))];
    chain.extend(ders(row, "inter").into_iter().map(CertificateDer::from));
    let trust = || {
        let mut trust = Trust::empty();
        for root in ders(row, "trusted") {
            trust
                .add_root_der(&roots(), &CertificateDer::from(root))
                .map_err(|error| error.to_string())?;
        }
        for crl in ders(row, "crls") {
            trust.add_crl_der(&roots(), &crl).map_err(|error| error.to_string())?;
        }
        Ok(trust)
    };
    Row {
        id: row["id"].as_str().unwrap().to_owned(),
        chain,
        trust: trust(),
        now: UnixTime::since_unix_epoch(Duration::from_secs(row["time"].as_u64().unwrap())),
        peer: row["peer"].as_str().map(str::to_owned),
        has_crls: row["crls"].as_array().is_some_and(|crls| !crls.is_empty()),
    }
}

/// Judges a server's chain by posture `private-ca`.
fn server(row: &Row, cn: CnFallback) -> Result<(), String> {
    let trust = row.trust.as_ref().map_err(Clone::clone)?;
    // A row that names no peer is not about names, which are looked at last.
    let host = Host::parse(row.peer.as_deref().unwrap_or("peer.invalid"))
        .map_err(|error| error.to_string())?;
    let mut connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::PrivateCa);
    connector.roots = roots();
    connector.cn = cn;
    if row.has_crls {
        connector.revocation = Revocation::Hard;
    }
    let plan = plan(&Facts::new(&connector, &host, &host, HostOrigin::Mx)).unwrap();
    let verdict = plan.judge(&row.chain, trust, row.now);
    match verdict.standing() {
        Standing::Acceptable => Ok(()),
        _ if row.peer.is_none() && verdict.reason() == Reason::CertNameMismatch => Ok(()),
        _ => Err(verdict.to_string()),
    }
}

/// Judges a client's chain, whatever its names.
fn client(row: &Row) -> Result<(), String> {
    let trust = row.trust.as_ref().map_err(Clone::clone)?;
    let mut check = ClientCheck::new(roots());
    if row.has_crls {
        check.revocation = Revocation::Hard;
    }
    let mut connector = InboundConnector::new("c", vec![Namespace::Default]);
    connector.require_tls = true;
    connector.client_certificate = ClientCertificate::Required(check);
    admit(&connector, Some(TLS), &row.chain, trust, row.now)
        .map(drop)
        .map_err(|refusal| refusal.to_string())
}

/// Compares every row.
fn run(file: &str, mut judge: impl FnMut(&Value, &Row) -> (bool, Result<(), String>)) {
    let Some(rows) = corpus(file) else { return };
    let (mut wrong, mut exceptions) = (Vec::new(), 0);
    for value in &rows {
        let row = read(value);
        let (expected, judged) = judge(value, &row);
        match (expected, &judged) {
            (true, Ok(())) | (false, Err(_)) if is_exception(&row.id) => {
                wrong.push(format!("{}: an exception that is none", row.id));
            }
            (true, Ok(())) | (false, Err(_)) => {}
            // No exception excuses a certificate that must be refused.
            (true, Err(_)) if is_exception(&row.id) => exceptions += 1,
            _ => wrong.push(format!("{}: expected {expected}, {judged:?}", row.id)),
        }
    }
    assert!(exceptions <= MAX_EXCEPTIONS, "{file}: {exceptions} exceptions");
    assert!(wrong.is_empty(), "{file}:\n{}", wrong.join("\n"));
}

fn succeeds(value: &Value, field: &str) -> bool {
    match value[field].as_str() {
        Some("SUCCESS") => true,
        Some("FAILURE") => false,
        other => panic!("{field}: {other:?}"),
    }
}

#[test]
fn corpus_x509_limbo_smtp_server() {
    run("x509_limbo_smtp_server.jsonl", |value, row| {
        (succeeds(value, "expect"), server(row, CnFallback::Never))
    });
}

#[test]
fn corpus_x509_limbo_client() {
    run("x509_limbo_client.jsonl", |value, row| (succeeds(value, "expect"), client(row)));
}

#[test]
fn corpus_bettertls_strict() {
    for file in ["bettertls_subset.jsonl", "bettertls_cn.jsonl"] {
        run(file, |value, row| (succeeds(value, "expect"), server(row, CnFallback::Never)));
    }
}

#[test]
fn corpus_bettertls_common_name() {
    run("bettertls_cn.jsonl", |value, row| {
        let expected = succeeds(value, "expect_with_cn_fallback");
        (expected, server(row, CnFallback::IfNoDnsSan))
    });
}

/// Never accepts what the row rejects; rejects a valid chain only where rustls-webpki does.
#[test]
fn corpus_pkits() {
    run("pkits_subset.jsonl", |value, row| {
        let judged = client(row);
        let baseline = succeeds(value, "baseline_webpki_0_103_17");
        match (succeeds(value, "expect"), &judged) {
            (true, Err(_)) if !baseline => (false, judged),
            (expected, _) => (expected, judged),
        }
    });
}

/// Rows on which rustls-webpki differed from the suite when they were collected: the judge is never
/// worse than both.
#[test]
fn corpus_x509_limbo_divergent_info() {
    run("x509_limbo_divergent_info.jsonl", |value, row| {
        let judged =
            if value["kind"] == "CLIENT" { client(row) } else { server(row, CnFallback::Never) };
        let (suite, baseline) =
            (succeeds(value, "expect"), succeeds(value, "baseline_rustls_0_23_46_webpki_0_103_17"));
        let expected = if suite == baseline { suite } else { judged.is_ok() };
        (expected, judged)
    });
}
