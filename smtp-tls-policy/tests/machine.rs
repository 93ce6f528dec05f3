//! Plans, verdicts and refusals as data: a golden file with one of each, which machines may rely
//! on.

mod common;

use std::sync::LazyLock;

use common::sts::StsPolicy;
use common::*;
use serde_json::{Value, json};
use smtp_tls_policy::judge::admit;
use smtp_tls_policy::pki::{Pin, Reference, RootsId, TlsaRecord, TlsaSet, Trust};
use smtp_tls_policy::plan::{
    Demand, DnsStatus, Facts, HostOrigin, MessageTls, Plan, Refusal, TlsaFact, plan,
};
use smtp_tls_policy::rules::{
    ClientCertificate, ClientCheck, Floor, InboundConnector, OutboundConnector, Posture, SmartHost,
};
use smtp_tls_policy::sts::StsAnswer;
use smtp_tls_policy::{Host, Namespace, Reason};

static HOST: LazyLock<Host> = LazyLock::new(|| Host::parse("mx.example.com").unwrap());
static NEXT_HOP: LazyLock<Host> = LazyLock::new(|| Host::parse("example.com").unwrap());

fn connector(posture: Posture) -> OutboundConnector {
    OutboundConnector::new("partners", vec![Namespace::Default], posture)
}

fn plan_of<'a>(
    connector: &'a OutboundConnector,
    change: impl FnOnce(&mut Facts<'a>),
) -> Result<Plan, Refusal> {
    let mut facts = Facts::new(connector, &NEXT_HOP, &HOST, HostOrigin::Mx);
    change(&mut facts);
    plan(&facts)
}

fn value(of: &impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap()
}

/// Each value, by its name in the golden file.
fn everything() -> serde_json::Map<String, Value> {
    let mut all = serde_json::Map::new();
    let mut put = |name: &str, value: Value| {
        assert!(all.insert(name.to_owned(), value).is_none(), "{name} twice")
    };

    let tlsa = TlsaFact::Found(TlsaSet::new(
        HOST.domain().unwrap().clone(),
        &[
            TlsaRecord::parse(&format!("3 1 1 {}", "ab".repeat(32))).unwrap(),
            TlsaRecord::parse(&format!("2 0 2 {}", "cd".repeat(64))).unwrap(),
        ],
    ));
    let sts = StsPolicy::Testing { mx_matches: false }.answer(&[]);
    let sts = StsAnswer { trouble: Some(sts::UNREACHABLE), ..sts };
    let (deterministic, opportunistic, verified) = (
        connector(Posture::Deterministic),
        connector(Posture::Opportunistic),
        connector(Posture::Verified),
    );
    let demands = [Demand { by: "message 7".into(), floor: Floor::Encrypted }];
    let everything = plan_of(&deterministic, |facts| {
        (facts.mx, facts.tlsa, facts.sts) = (DnsStatus::Secure, &tlsa, &sts);
        facts.message = MessageTls::Required;
        facts.demands = &demands;
    });
    put("plan: dane, sts in testing, requiretls and a demand", value(&everything.unwrap()));
    let mut pinned = connector(Posture::Pinned);
    pinned.pins = vec![Pin::parse(&format!("spki:sha256:{}", "ef".repeat(32))).unwrap()];
    put("plan: pinned", value(&plan_of(&pinned, |_| {}).unwrap()));
    let broken = plan_of(&opportunistic, |_| {}).map(Plan::remembering_broken);
    put("plan: remembered broken", value(&broken.unwrap()));
    let mut implicit = connector(Posture::Encrypt);
    implicit.smart_host = Some(SmartHost::new(HOST.clone()));
    let implicit = plan_of(&implicit, |facts| {
        facts.implicit_tls = true;
        facts.message = MessageTls::Optional;
    });
    put("plan: implicit tls, tls-required no", value(&implicit.unwrap()));

    let root = Authority::new("Root");
    let mut trust = Trust::empty();
    trust.add_root_der(&RootsId::public(), &root.der).unwrap();
    let lax = plan_of(&deterministic, |_| {}).unwrap();
    let strict = plan_of(&verified, |_| {}).unwrap();
    let good = root.issue(&leaf_params(&["mx.example.com"])).der;
    let mut expired = leaf_params(&["mx.example.com"]);
    expired.not_after = days(-1);
    let expired = root.issue(&expired).der;
    let other = root.issue(&leaf_params(&["a.example", "*.b.example"])).der;
    put("verdict: good", value(&lax.judge(std::slice::from_ref(&good), &trust, now())));
    put("verdict: expired", value(&lax.judge(std::slice::from_ref(&expired), &trust, now())));
    put("verdict: name", value(&strict.judge(&[other], &trust, now())));
    put(
        "verdict: malformed",
        value(&strict.judge(&[good[..good.len() - 1].to_vec().into()], &trust, now())),
    );
    put(
        "verdict: no check",
        value(&plan_of(&connector(Posture::Encrypt), |_| {}).unwrap().judge(&[], &trust, now())),
    );
    let recorded = plan_of(&deterministic, |facts| facts.demands = &demands).unwrap();
    put("verdict: recorded", value(&recorded.judge(&[], &trust, now())));

    let failed = TlsaFact::Failed;
    let refused = plan_of(&opportunistic, |facts| {
        (facts.mx, facts.tlsa) = (DnsStatus::Secure, &failed);
    });
    put("refusal: tlsa", value(&refused.unwrap_err()));
    let refused = plan_of(&opportunistic, |facts| facts.message = MessageTls::Required);
    put("refusal: requiretls", value(&refused.unwrap_err()));
    let unknown = plan(&Facts::policy_unavailable(&HOST, &HOST, HostOrigin::Mx));
    put("refusal: policy", value(&unknown.unwrap_err()));
    let mut inbound = InboundConnector::new("branch", vec![Namespace::Default]);
    inbound.require_tls = true;
    let mut check = ClientCheck::new(RootsId::public());
    check.names = vec![Reference::parse(".branch.example").unwrap()];
    inbound.client_certificate = ClientCertificate::Required(check);
    let mut params = leaf_params(&["client.example"]);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let chain = [root.issue(&params).der];
    let ask = |tls: bool, chain| {
        let tls = tls.then_some(TLS);
        admit(&inbound, tls, chain, &trust, now())
    };
    put("refusal: client name", value(&ask(true, &chain[..]).unwrap_err()));
    put("refusal: no tls", value(&ask(false, &[]).unwrap_err()));

    put("reasons", Reason::ALL.iter().map(value).collect());
    all
}

#[test]
fn what_machines_read() {
    let golden: Value = serde_json::from_str(include_str!("golden/machine.json")).unwrap();
    let golden = golden.as_object().unwrap();
    let have = everything();
    for (name, value) in &have {
        let expected = golden.get(name).unwrap_or(&Value::Null);
        assert_eq!(
            value,
            expected,
            "{name}: {}",
            serde_json::to_string_pretty(&json!({ name.as_str(): value })).unwrap()
        );
    }
    assert_eq!(golden.len(), have.len());
}

/// Every sentence that a machine gets is the one that people get.
#[test]
fn sentences_are_those_of_display() {
    let plan = plan_of(&connector(Posture::Deterministic), |_| {}).unwrap();
    assert_eq!(value(&plan)["sentence"], plan.to_string());
    let verdict = plan.judge(&[], &Trust::webpki_roots(), now());
    assert_eq!(value(&verdict)["sentence"], verdict.to_string());
    assert_eq!(
        value(&verdict)["findings"][0]["defect"]["sentence"],
        verdict.defect().unwrap().to_string()
    );
    assert_eq!(
        verdict.findings()[0].to_string(),
        "failed (not-tls): the peer showed no certificate (chain)"
    );
}
