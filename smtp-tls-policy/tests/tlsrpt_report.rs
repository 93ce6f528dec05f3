//! What connections contribute to reports, and the report itself: a golden file in the shape of RFC
//! 8460, appendix B.

mod common;

use std::net::IpAddr;
use std::time::Duration;

use common::*;
use pki_types::{CertificateDer, UnixTime};
use smtp_tls_policy::ResultType;
use smtp_tls_policy::judge::Standing;
use smtp_tls_policy::pki::{RootsId, TlsaRecord, TlsaSet, Trust};
use smtp_tls_policy::plan::{DnsStatus, Facts, HostOrigin, MessageTls, TlsaFact, plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::sts::{CachedPolicy, PolicyId, PolicyText, StsAnswer, Trouble};
use smtp_tls_policy::tlsrpt::{
    Aggregate, AppliedPolicy, ReportId, ReportedSession, Reporting, Submitter,
};
use smtp_tls_policy::{Domain, Host, Namespace, Reason, pki_types};

/// 2016-04-01T12:00:00Z
const NOON: u64 = 1_459_512_000;

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn name(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn policy(mode: &str) -> StsAnswer {
    let text =
        format!("version: STSv1\nmode: {mode}\nmx: *.mail.company-y.example\nmax_age: 86400\n");
    let policy = PolicyText::parse(text.as_bytes()).unwrap();
    let id = PolicyId::parse("1").unwrap();
    StsAnswer {
        policy: Some(CachedPolicy::new(name("company-y.example"), id, at(NOON), policy)),
        trouble: None,
    }
}

/// The facts of one host of company-y.example, and what comes of them.
struct Case {
    connector: OutboundConnector,
    mx: DnsStatus,
    tlsa: TlsaFact,
    sts: StsAnswer,
    message: MessageTls,
    host: &'static str,
}

impl Case {
    fn new(posture: Posture) -> Self {
        Self {
            connector: OutboundConnector::new("c", vec![Namespace::Default], posture),
            mx: DnsStatus::Insecure,
            tlsa: TlsaFact::Absent,
            sts: StsAnswer::default(),
            message: MessageTls::Default,
            host: "mx1.mail.company-y.example",
        }
    }

    fn with<T>(&self, act: impl FnOnce(&Facts<'_>, &Reporting) -> T) -> T {
        let (domain, host) =
            (Host::parse("company-y.example").unwrap(), Host::parse(self.host).unwrap());
        let mut facts = Facts::new(&self.connector, &domain, &host, HostOrigin::Mx);
        (facts.mx, facts.tlsa) = (self.mx, &self.tlsa);
        facts.sts = &self.sts;
        facts.message = self.message;
        act(&facts, &Reporting::of(&facts))
    }

    /// A handshake in which this chain is shown.
    fn shown(&self, chain: &[CertificateDer<'_>], trust: &Trust) -> Vec<ReportedSession> {
        self.with(|facts, reporting| {
            let plan = plan(facts).unwrap();
            let verdict = plan.judge(chain, trust, now());
            let (sending, receiving) = (Some(ip("2001:db8:abcd:12::1")), ip("203.0.113.56"));
            match verdict.standing() {
                Standing::Acceptable => reporting.tls(&plan, &verdict, sending, receiving),
                Standing::NotTls | Standing::Refused | Standing::LocalFault => {
                    reporting.no_tls(&plan, verdict.reason(), Some(&verdict), sending, receiving)
                }
            }
        })
    }

    fn failed(&self, reason: Reason, sending: &str, receiving: &str) -> Vec<ReportedSession> {
        self.with(|facts, reporting| {
            let plan = plan(facts).unwrap();
            reporting.no_tls(&plan, reason, None, Some(ip(sending)), ip(receiving))
        })
    }

    fn refused(&self) -> Vec<ReportedSession> {
        self.with(|facts, reporting| {
            reporting.refusal(plan(facts).unwrap_err().reason()).into_iter().collect()
        })
    }
}

/// Kind, whether it succeeded, and what failed.
fn told(sessions: &[ReportedSession]) -> Vec<(&'static str, bool, Vec<&'static str>)> {
    let failures = |session: &ReportedSession| {
        session.failures.iter().filter_map(|it| it.result_type()).map(|it| it.as_str()).collect()
    };
    sessions.iter().map(|it| (it.policy.kind(), it.succeeded, failures(it))).collect()
}

struct World {
    trust: Trust,
    good: Leaf,
    other: Leaf,
    expired: Leaf,
}

fn world() -> World {
    let public = Authority::new("Public");
    let mut trust = Trust::empty();
    trust.add_root_der(&RootsId::public(), &public.der).unwrap();
    let good = public.issue(&leaf_params(&["mx1.mail.company-y.example"]));
    let other = public.issue(&leaf_params(&["elsewhere.example"]));
    let mut params = leaf_params(&["mx1.mail.company-y.example"]);
    (params.not_before, params.not_after) = (days(-20), days(-10));
    let expired = public.issue(&params);
    World { trust, good, other, expired }
}

fn tlsa_of(leaf: &Leaf) -> TlsaFact {
    let record = TlsaRecord { usage: 3, selector: 0, matching: 0, data: leaf.der.to_vec() };
    TlsaFact::Found(TlsaSet::new(name("mx1.mail.company-y.example"), &[record]))
}

/// Roots that are missing here say nothing about the peer: neither a success nor a failure of it.
#[test]
fn a_local_fault_is_not_reported() {
    let World { trust, good, .. } = world();
    let good = &[good.der.clone()][..];
    for posture in [Posture::Deterministic, Posture::Verified] {
        assert_eq!(told(&Case::new(posture).shown(good, &Trust::empty())), []);
    }
    for mode in ["enforce", "testing"] {
        let mut case = Case::new(Posture::Opportunistic);
        case.sts = policy(mode);
        assert_eq!(told(&case.shown(good, &Trust::empty())), [], "{mode}");
    }
    // What DANE says of the certificate needs no roots, and is reported.
    let mut case = Case::new(Posture::Deterministic);
    (case.mx, case.tlsa) = (DnsStatus::Secure, tlsa_of(&world().good));
    case.sts = policy("enforce");
    assert_eq!(
        told(&case.shown(good, &Trust::empty())),
        [("tlsa", false, vec!["certificate-not-trusted"])]
    );
    assert_eq!(told(&case.shown(good, &trust))[0].0, "tlsa");
}

#[test]
fn each_policy_has_its_own_word_on_a_certificate() {
    let World { trust, good, other, .. } = world();
    let (good, other_chain) = (&[good.der.clone()][..], &[other.der.clone()][..]);
    let mut case = Case::new(Posture::Opportunistic);
    // Nothing is published: TLS with any peer.
    assert_eq!(told(&case.shown(other_chain, &trust)), [("no-policy-found", true, vec![])]);
    // S11: the administrator's rule. Where it refuses it is told; where it yields to clear text it
    // is not.
    case.connector = Case::new(Posture::Verified).connector;
    assert_eq!(
        told(&case.shown(other_chain, &trust)),
        [("no-policy-found", false, vec!["certificate-host-mismatch"])]
    );
    case.connector = Case::new(Posture::Deterministic).connector;
    assert_eq!(told(&case.shown(other_chain, &trust)), []);

    for (mode, chain, succeeded) in [
        ("enforce", good, true),
        ("testing", good, true),
        ("enforce", other_chain, false),
        ("testing", other_chain, false),
    ] {
        let mut case = Case::new(Posture::Opportunistic);
        case.sts = policy(mode);
        let failures = if succeeded { vec![] } else { vec!["certificate-host-mismatch"] };
        assert_eq!(told(&case.shown(chain, &trust)), [("sts", succeeded, failures)], "{mode}");
    }

    // Both are published. The certificate for another name is the one that DANE-EE wants.
    let mut case = Case::new(Posture::Opportunistic);
    (case.mx, case.sts, case.tlsa) = (DnsStatus::Secure, policy("enforce"), tlsa_of(&other));
    assert_eq!(
        told(&case.shown(other_chain, &trust)),
        [("sts", false, vec!["certificate-host-mismatch"])]
    );
    case.sts = policy("testing");
    assert_eq!(
        told(&case.shown(other_chain, &trust)),
        [("tlsa", true, vec![]), ("sts", false, vec!["certificate-host-mismatch"])]
    );
    assert_eq!(told(&case.shown(good, &trust)), [("tlsa", false, vec!["certificate-not-trusted"])]);
}

#[test]
fn what_failed_on_the_way_is_told_beside_the_status() {
    let World { trust, good, .. } = world();
    let chain = [good.der];
    let mut case = Case::new(Posture::Opportunistic);
    // P12 and P13.
    case.sts = StsAnswer { trouble: Some(Trouble::Lookup), ..policy("enforce") };
    assert_eq!(told(&case.shown(&chain, &trust)), [("sts", true, vec!["sts-policy-fetch-error"])]);
    case.sts.policy = None;
    let sessions = case.shown(&chain, &trust);
    assert_eq!(told(&sessions), [("sts", true, vec!["sts-policy-fetch-error"])]);
    assert_eq!(sessions[0].policy.strings(), [""; 0]);
    // P9.
    let mut case = Case::new(Posture::Opportunistic);
    let record = TlsaRecord { usage: 1, selector: 1, matching: 1, data: vec![7; 32] };
    case.tlsa = TlsaFact::Found(TlsaSet::new(name("base.example"), &[record]));
    let sessions = case.shown(&chain, &trust);
    assert_eq!(told(&sessions), [("tlsa", true, vec!["tlsa-invalid"])]);
    assert_eq!(sessions[0].policy.domain(), &name("base.example"));
    assert_eq!(sessions[0].policy.strings(), [format!("1 1 1 {}", "07".repeat(32))]);
    // P14 in testing.
    let mut case = Case::new(Posture::Opportunistic);
    (case.sts, case.host) = (policy("testing"), "mx1.mail.company-y.test");
    assert_eq!(told(&case.shown(&chain, &trust)), [("sts", false, vec!["validation-failure"])]);
}

#[test]
fn a_host_that_is_not_dialled_is_told_of() {
    let mut case = Case::new(Posture::Opportunistic);
    (case.sts, case.host) = (policy("enforce"), "mx1.mail.company-y.test");
    assert_eq!(told(&case.refused()), [("sts", false, vec!["validation-failure"])]);
    assert_eq!(case.refused()[0].receiving, None);

    let mut case = Case::new(Posture::Opportunistic);
    (case.mx, case.tlsa) = (DnsStatus::Secure, TlsaFact::Failed);
    assert_eq!(told(&case.refused()), [("tlsa", false, vec!["dnssec-invalid"])]);
    assert_eq!(case.refused()[0].policy.domain(), &name("mx1.mail.company-y.example"));

    case.mx = DnsStatus::Bogus;
    assert_eq!(told(&case.refused()), [("tlsa", false, vec!["dnssec-invalid"])]);
    assert_eq!(
        (&case.refused()[0].mx, case.refused()[0].policy.domain()),
        (&None, &name("company-y.example"))
    );

    let mut case = Case::new(Posture::DaneOnly);
    assert_eq!(told(&case.refused()), [("tlsa", false, vec!["dane-required"])]);
    case.mx = DnsStatus::Secure;
    assert_eq!(told(&case.refused()), [("tlsa", false, vec!["dane-required"])]);

    // What the message cannot have is no failure of the host's.
    let mut case = Case::new(Posture::Opportunistic);
    case.message = MessageTls::Required;
    assert_eq!(told(&case.refused()), []);
}

#[test]
fn nothing_is_told_where_no_policy_was_asked() {
    let World { trust, good, .. } = world();
    let chain = [good.der];
    let mut case = Case::new(Posture::Opportunistic);
    (case.mx, case.sts, case.message) =
        (DnsStatus::Secure, policy("enforce"), MessageTls::Optional);
    assert_eq!(told(&case.shown(&chain, &trust)), []);
    assert_eq!(told(&case.failed(Reason::StarttlsNotOffered, "192.0.2.1", "192.0.2.2")), []);
    let case = Case::new(Posture::None);
    assert_eq!(told(&case.failed(Reason::TlsNotWanted, "192.0.2.1", "192.0.2.2")), []);
}

/// Every result type that a reason has is one of the RFC's.
#[test]
fn reasons_have_the_words_of_the_rfc() {
    for reason in Reason::ALL {
        assert_eq!(reason.result_type().map(ResultType::as_str), reason.tlsrpt(), "{reason}");
    }
}

#[test]
fn the_report_of_a_day_has_the_shape_of_appendix_b() {
    let World { trust, good, expired, .. } = world();
    let mut aggregate = Aggregate::new();
    let mut record = |sessions: Vec<ReportedSession>, times: usize, time: u64| {
        for session in sessions {
            (0..times).for_each(|_| aggregate.record(&session, at(time)));
        }
    };
    let mut case = Case::new(Posture::Opportunistic);
    case.sts = policy("testing");
    record(case.shown(&[good.der], &trust), 5326, NOON);
    record(case.shown(&[expired.der], &trust), 100, NOON);
    case.host = "mx2.mail.company-y.example";
    record(
        case.failed(Reason::StarttlsNotOffered, "2001:db8:abcd:13::1", "203.0.113.56"),
        200,
        NOON,
    );
    case.host = "mx-backup.mail.company-y.example";
    record(case.failed(Reason::HandshakeFailed, "198.51.100.62", "203.0.113.58"), 3, NOON);
    // The next day, and another domain.
    record(
        case.failed(Reason::HandshakeFailed, "198.51.100.62", "203.0.113.58"),
        1,
        NOON + 24 * 3600,
    );
    let mut dane = Case::new(Posture::Opportunistic);
    dane.tlsa = TlsaFact::Found(TlsaSet::new(
        name("mx.company-z.example"),
        &[TlsaRecord::parse(&format!("3 1 1 {}", "1f85".repeat(16))).unwrap()],
    ));
    record(dane.failed(Reason::StarttlsRefused, "198.51.100.62", "203.0.113.60"), 1, NOON);

    assert!(aggregate.finished(at(NOON)).is_empty());
    let reports = aggregate.finished(at(NOON + 24 * 3600));
    assert_eq!(
        reports.iter().map(|it| it.domain().as_str()).collect::<Vec<_>>(),
        ["company-y.example", "mx.company-z.example"]
    );
    let id = ReportId::parse("5065427c-23d3-47ca-b6e0-946ea0e8c4be").unwrap();
    let submitter = Submitter::new("Company-X", "sts-reporting@company-x.example").unwrap();
    let json: Vec<_> = reports.iter().map(|it| it.json(&submitter, &id)).collect();
    let json = serde_json::to_string_pretty(&json).unwrap() + "\n";
    assert_eq!(json, include_str!("golden/tlsrpt.json"));
    assert_eq!(
        reports[0].file_name(&submitter, &ReportId::parse("0-01").unwrap(), "json.gz"),
        "company-x.example!company-y.example!1459468800!1459555199!001.json.gz"
    );
    // What was told is gone; the next day is to come.
    assert!(aggregate.finished(at(NOON + 24 * 3600)).is_empty());
    assert_eq!(aggregate.finished(at(NOON + 48 * 3600)).len(), 1);
}

#[test]
fn an_aggregate_is_bounded() {
    let mut aggregate = Aggregate::new().with_max_policies(2).with_max_failures(3);
    let session = |domain: &str, receiving: u8| {
        let mut case = Case::new(Posture::Opportunistic);
        case.tlsa = TlsaFact::Found(TlsaSet::new(name(domain), &[]));
        case.failed(Reason::StarttlsNotOffered, "192.0.2.1", &format!("192.0.2.{receiving}"))
            .remove(0)
    };
    for domain in ["a.example", "b.example", "c.example"] {
        for receiving in 0..10 {
            aggregate.record(&session(domain, receiving), at(NOON));
        }
    }
    let reports = aggregate.finished(at(NOON + 24 * 3600));
    assert_eq!(reports.len(), 2);
    let submitter = Submitter::new("o", "c@o.example").unwrap();
    let id = ReportId::parse("i").unwrap();
    let json = serde_json::to_value(reports[0].json(&submitter, &id)).unwrap();
    let policy = &json["policies"][0];
    assert_eq!(policy["failure-details"].as_array().unwrap().len(), 3);
    assert_eq!(policy["summary"]["total-failure-session-count"], 10);
    // There is room again.
    aggregate.record(&session("c.example", 1), at(NOON + 24 * 3600));
    assert!(matches!(session("c.example", 1).policy, AppliedPolicy::Tlsa { .. }));
    assert_eq!(aggregate.finished(at(NOON + 48 * 3600)).len(), 1);
}

/// A domain that changes a long policy with each mail fills no memory.
#[test]
fn an_aggregate_holds_few_long_policies() {
    let mut aggregate = Aggregate::new().with_max_octets(10_000);
    let mut session = {
        let mut case = Case::new(Posture::Opportunistic);
        case.tlsa = TlsaFact::Found(TlsaSet::new(name("a.example"), &[]));
        case.failed(Reason::StarttlsNotOffered, "192.0.2.1", "192.0.2.2").remove(0)
    };
    let mut record_changing_policies = |aggregate: &mut Aggregate, day: u64| {
        for version in 0..100 {
            let hosts = "mx: mx.a.example\n".repeat(50);
            let text = format!("version: STSv1\nmode: enforce\n{hosts}max_age: {version}\n");
            let policy = Some(PolicyText::parse(text.as_bytes()).unwrap());
            session.policy = AppliedPolicy::Sts { domain: name("a.example"), policy };
            aggregate.record(&session, at(NOON + day * 24 * 3600));
        }
    };
    let submitter = Submitter::new("o", "c@o.example").unwrap();
    let id = ReportId::parse("i").unwrap();
    for day in 0..3 {
        record_changing_policies(&mut aggregate, day);
        let reports = aggregate.finished(at(NOON + (day + 1) * 24 * 3600));
        let json = serde_json::to_value(reports[0].json(&submitter, &id)).unwrap();
        assert_eq!(json["policies"].as_array().unwrap().len(), 15, "of 649 octets each");
    }
}
