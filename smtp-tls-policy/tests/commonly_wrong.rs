//! What implementers commonly get wrong: the table of `golden/commonly-wrong.md` names tests that
//! exist, and here are those that have no other place.

mod common;
#[path = "../../smtp-proto/tests/common/listed.rs"]
mod listed;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::LazyLock;

use common::sts::StsPolicy;
use common::*;
use pki_types::CertificateDer;
use smtp_tls_policy::judge::{Standing, Verdict};
use smtp_tls_policy::pki::{Pin, RootsId, TlsaRecord, TlsaSet, Trust};
use smtp_tls_policy::plan::{DnsStatus, Facts, HostOrigin, MessageTls, Plan, TlsaFact, plan};
use smtp_tls_policy::rules::{
    Floor, OutboundConnector, OutboundConnectors, Posture, SmartHost, StsRule, Yields,
};
use smtp_tls_policy::{Domain, Host, Namespace, Reason, pki_types, sts, tlsrpt};

#[test]
fn every_line_is_held_by_a_test() {
    let table = include_str!("golden/commonly-wrong.md");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let mut known = HashMap::new();
    for (row, number) in rows.iter().zip(1..) {
        let [line, _, tests] =
            row.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>()[..]
        else {
            panic!("{row}")
        };
        assert_eq!(line, number.to_string(), "{row}");
        let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "{row}");
        for test in tests {
            let (package, name) = test.split_once("::").unwrap_or_else(|| panic!("{test}"));
            let names = known.entry(package).or_insert_with(|| listed::tests(package));
            assert!(names.contains(name), "no test {test}");
        }
    }
    // `RULES.md` lists the same mistakes.
    let listed = include_str!("../RULES.md").split("## What implementations commonly get wrong");
    let listed = listed.last().unwrap().lines().filter(|line| line.starts_with("| "));
    assert_eq!(rows.len(), listed.count() - 1);
}

/// The pages of cases name tests, or conversations, each of which is a test. All must be there.
#[test]
fn pages_name_tests_that_exist() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut known = HashSet::new();
    for package in ["smtp-proto", "smtp-tls-policy", "smtp-tokio-adapter"] {
        known.extend(listed::tests(package));
    }
    let mut missing = Vec::new();
    for page in PAGES {
        let text = std::fs::read_to_string(crates.join(page)).unwrap();
        for row in text.lines().filter(|line| line.starts_with("| ")) {
            let tests = row.trim_matches('|').split(" | ").last().unwrap_or_default();
            let tests = tests.split('`').skip(1).step_by(2);
            missing.extend(
                tests.filter(|test| !known.contains(*test)).map(|it| (page, it.to_owned())),
            );
        }
    }
    assert!(missing.is_empty(), "pages and tests that are not there: {missing:#?}");
}

/// Every case that was collected has its row: a test, or a decision with its reason.
#[test]
fn every_collected_case_has_a_row() {
    // `C01a C01b` is written in one cell as `C01a, C01b`.
    const COLLECTED: &str = "\
        C01a C01b C02a C02c C03 C11a C11c C15 C17a C17d C17e C17f C20a C20b C20e C20h C21 C22 C30 \
        C40d C41a C86 C52b C70 C73 C74 S01a S02a S03a S04a S06 S12 S13 S14 S20a S20c S25f S26 S35 \
        S36 S43 S44d S50 S62 S64 S87 A01 A03b A04 A04b A04d A05 D33b K01 K02b K04b K06 V01 V02 \
        V15 V16b T09 T13 T15 T16b T16d T22b T24 H05b H09b H09d H09g S04 S05b S05c S12b S15 S15c \
        P02 P04 R01 R03 R05 R06 R07 R11 C11 L02 N1 N2 E1 E2 E3 E4 E5 E6 E7 E8 E9 E10 E11 E12";
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut listed = HashSet::new();
    for page in PAGES {
        let text = std::fs::read_to_string(crates.join(page)).unwrap();
        for row in text.lines().filter(|line| line.starts_with("| ")) {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            let [ids, _, decision, _] = cells[..] else { panic!("{page}: {row}") };
            assert!(!decision.is_empty(), "{page}: {row}");
            listed.extend(ids.split(", ").map(str::to_owned));
        }
    }
    let missing: Vec<&str> =
        COLLECTED.split_ascii_whitespace().filter(|id| !listed.contains(*id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

const PAGES: [&str; 3] =
    ["smtp-proto/CASES.md", "smtp-tls-policy/CASES.md", "smtp-tokio-adapter/CASES.md"];

const HOST: &str = "mx.example.net";

struct World {
    public: Authority,
    trust: Trust,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let public = Authority::new("Public");
    let mut trust = Trust::empty();
    for id in [RootsId::public(), RootsId::new("private")] {
        trust.add_root_der(&id, &public.der).unwrap();
    }
    World { public, trust }
});

impl World {
    fn judge(&self, plan: &Plan, chain: &[CertificateDer<'static>]) -> Verdict {
        plan.judge(chain, &self.trust, now())
    }
}

fn posture(posture: Posture) -> OutboundConnector {
    let mut connector = OutboundConnector::new("c", vec![Namespace::Default], posture);
    match posture {
        Posture::PrivateCa => connector.roots = RootsId::new("private"),
        Posture::Pinned => connector.pins = vec![Pin::of_certificate(&WORLD.public.der)],
        _ => {}
    }
    connector
}

fn host(name: &str) -> Host {
    Host::parse(name).unwrap()
}

fn found(base: &str, record: TlsaRecord) -> TlsaFact {
    TlsaFact::Found(TlsaSet::new(Domain::parse(base).unwrap(), &[record]))
}

/// The record of an authority that is not trusted.
fn of_a_stranger(usage: u8) -> TlsaRecord {
    TlsaRecord { usage, selector: 0, matching: 0, data: Authority::new("Stranger").der.to_vec() }
}

/// Line 4, RFC 7672, section 3.1.2.
#[test]
fn a_public_root_does_not_stand_in_for_the_authority_of_a_record() {
    let (connector, next_hop, host) =
        (posture(Posture::Opportunistic), host("example.com"), host(HOST));
    let leaf = WORLD.public.issue(&leaf_params(&[HOST])).der;
    for (data, passes) in [(of_a_stranger(2).data, false), (WORLD.public.der.to_vec(), true)] {
        let tlsa = found(HOST, TlsaRecord { usage: 2, selector: 0, matching: 0, data });
        let mut facts = Facts::new(&connector, &next_hop, &host, HostOrigin::Mx);
        (facts.mx, facts.tlsa) = (DnsStatus::Secure, &tlsa);
        let verdict =
            WORLD.judge(&plan(&facts).unwrap(), &[leaf.clone(), WORLD.public.der.clone()]);
        assert_eq!(verdict.is_authenticated(), passes);
    }
}

/// Line 9, RFC 8461, section 2: "senders who implement MTA-STS validation MUST NOT allow MTA-STS
/// Policy validation to override a failing DANE validation".
#[test]
fn a_good_certificate_by_mta_sts_does_not_save_one_that_dane_refuses() {
    let (next_hop, host) = (host("example.com"), host(HOST));
    let leaf = WORLD.public.issue(&leaf_params(&[HOST])).der;
    for sts in [StsRule::On, StsRule::UnlessDane] {
        for usage in [2, 3] {
            let mut connector = posture(Posture::Opportunistic);
            connector.sts = sts;
            let tlsa = found(HOST, of_a_stranger(usage));
            let mut facts = Facts::new(&connector, &next_hop, &host, HostOrigin::Mx);
            let policy = StsPolicy::Enforce { mx_matches: true }.answer(&[HOST]);
            facts.sts = &policy;
            assert!(
                WORLD.judge(&plan(&facts).unwrap(), std::slice::from_ref(&leaf)).is_authenticated()
            );
            (facts.mx, facts.tlsa) = (DnsStatus::Secure, &tlsa);
            let verdict = WORLD.judge(&plan(&facts).unwrap(), std::slice::from_ref(&leaf));
            assert_eq!(
                (verdict.standing(), verdict.reason()),
                (Standing::Refused, Reason::DaneMismatch)
            );
        }
    }
}

/// Line 10, RFC 8461, sections 4.1 and 4.2.
#[test]
fn the_pattern_of_a_policy_is_no_name_of_a_certificate() {
    let policy = StsPolicy::Enforce { mx_matches: true }.answer(&["*.example.net"]);
    let (connector, next_hop, host) =
        (posture(Posture::Opportunistic), host("example.com"), host(HOST));
    let mut facts = Facts::new(&connector, &next_hop, &host, HostOrigin::Mx);
    facts.sts = &policy;
    let plan = plan(&facts).unwrap();
    let reason = |names: &[&str]| {
        WORLD.judge(&plan, &[WORLD.public.issue(&leaf_params(names)).der]).reason()
    };
    assert_eq!(reason(&["other.example.net"]), Reason::CertNameMismatch);
    assert_eq!(reason(&["example.net"]), Reason::CertNameMismatch);
    assert_eq!(reason(&[HOST]), Reason::TlsOk);
    assert_eq!(reason(&["*.example.net"]), Reason::TlsOk);
}

/// Line 14.
#[test]
fn one_name_in_many_spellings() {
    let leaf = WORLD.public.issue(&leaf_params(&["MX.xn--bcher-kva.Example"])).der;
    let (connector, next_hop) = (posture(Posture::Verified), host("example.com"));
    for spelling in [
        "mx.xn--bcher-kva.example",
        "MX.XN--BCHER-KVA.example.",
        "mx.b\u{fc}cher.example",
        "mx.B\u{dc}CHER.Example.",
    ] {
        let host = host(spelling);
        let plan = plan(&Facts::new(&connector, &next_hop, &host, HostOrigin::Mx)).unwrap();
        assert_eq!(
            WORLD.judge(&plan, std::slice::from_ref(&leaf)).reason(),
            Reason::TlsOk,
            "{spelling}"
        );
        assert_eq!(plan.sni().unwrap().as_str(), "mx.xn--bcher-kva.example");
    }
}

/// Line 17. RFC 7672, section 2.2: "falling back to the next SMTP server or delayed delivery"; RFC
/// 8461, section 5.
#[test]
fn what_tls_or_policy_ends_is_deferred() {
    let (next_hop, host) = (host("example.com"), host(HOST));
    let of_servers =
        [Reason::TlsRequired, Reason::ClientCertMissing, Reason::ClientCertNameMismatch];
    let of_requiretls = [Reason::RequiretlsUnsupported, Reason::RequiretlsMxInsecure];
    for message in [MessageTls::Default, MessageTls::Optional, MessageTls::RequiredOfBounce] {
        let connector = posture(Posture::Verified);
        let mut facts = Facts::new(&connector, &next_hop, &host, HostOrigin::Mx);
        facts.message = message;
        let plan = plan(&facts).unwrap();
        for reason in
            Reason::ALL.iter().filter(|r| !of_servers.contains(r) && !of_requiretls.contains(r))
        {
            assert_eq!(plan.status(*reason).map_or(4, |status| status.class), 4, "{reason}");
        }
    }
    let connector = posture(Posture::DaneOnly);
    let mut facts = Facts::new(&connector, &next_hop, &host, HostOrigin::Mx);
    for mx in [DnsStatus::Insecure, DnsStatus::Bogus, DnsStatus::Secure] {
        facts.mx = mx;
        let refusal = plan(&facts).unwrap_err();
        assert_eq!((refusal.code() / 100, refusal.status().class), (4, 4), "{refusal}");
    }
}

/// Line 23, RFC 8460, section 4.4.
#[test]
fn the_policy_domain_of_a_report() {
    let domain = |text| Domain::parse(text).unwrap();
    let (next_hop, mx) = (host("example.com"), host(HOST));
    let text = "version: STSv1\nmode: testing\nmx: *.example.com\nmax_age: 604800\n";
    let policy = sts::PolicyText::parse(text.as_bytes()).unwrap();
    let published = |domain: Domain| sts::StsAnswer {
        policy: Some(sts::CachedPolicy::new(
            domain,
            sts::PolicyId::parse("1").unwrap(),
            pki_types::UnixTime::now(),
            policy.clone(),
        )),
        trouble: None,
    };
    // Each policy of a connection that found no STARTTLS, with its `policy-domain`.
    let reported = |facts: &Facts<'_>| -> Vec<(&'static str, Domain)> {
        let plan = plan(facts).unwrap();
        tlsrpt::Reporting::of(facts)
            .no_tls(&plan, Reason::StarttlsNotOffered, None, None, [192, 0, 2, 1].into())
            .into_iter()
            .map(|session| (session.policy.kind(), session.policy.domain().clone()))
            .collect()
    };
    let mut connector = posture(Posture::Opportunistic);
    connector.smart_host = Some(SmartHost::new(mx.clone()));
    let tlsa = found("host.elsewhere.example", of_a_stranger(3));
    let mut facts = Facts::new(&connector, &next_hop, &mx, HostOrigin::Mx);
    assert_eq!(reported(&facts), [("no-policy-found", domain("example.com"))]);
    let answer = published(domain("example.com"));
    facts.sts = &answer;
    assert_eq!(reported(&facts), [("sts", domain("example.com"))]);
    (facts.mx, facts.tlsa) = (DnsStatus::Secure, &tlsa);
    let both = [("tlsa", domain("host.elsewhere.example")), ("sts", domain("example.com"))];
    assert_eq!(reported(&facts), both);
    // The smart host is the next hop.
    facts.origin = HostOrigin::SmartHost;
    let of_smart_host = published(domain(HOST));
    facts.sts = &of_smart_host;
    assert_eq!(reported(&facts)[1], ("sts", domain(HOST)));
    facts.message = MessageTls::Optional;
    assert_eq!(reported(&facts), []);
    facts.message = MessageTls::Default;
    facts.origin = HostOrigin::Literal;
    assert_eq!(reported(&facts), []);
}

/// Line 24: there is no posture that looks at a certificate, refuses it, and then goes on in clear
/// text unless it says that what is refused is no TLS at all.
#[test]
fn a_level_that_verifies_requires() {
    let (next_hop, host) = (host("example.com"), host(HOST));
    for p in [Posture::Verified, Posture::Secure, Posture::PrivateCa, Posture::Pinned] {
        let mut connector = posture(p);
        connector.yields = Yields::default();
        let plan = plan(&Facts::new(&connector, &next_hop, &host, HostOrigin::Mx)).unwrap();
        assert_eq!((plan.floor(), plan.yields()), (Floor::Authenticated, Yields::NEVER), "{p}");
        let stranger = Authority::with(leaf_params(&[HOST])).der;
        assert_eq!(WORLD.judge(&plan, &[stranger]).standing(), Standing::Refused, "{p}");
    }
}

/// Line 28: what one domain publishes or its connector asks says nothing about another, though the
/// host is the same.
#[test]
fn two_domains_that_share_a_host() {
    let shared = host(HOST);
    let connectors = OutboundConnectors::new(vec![
        OutboundConnector::new("everybody", vec![Namespace::Default], Posture::Opportunistic),
        OutboundConnector::new(
            "bank",
            vec![Namespace::parse("bank.example").unwrap()],
            Posture::Secure,
        ),
    ])
    .unwrap();
    let plan_for = |domain: &str, policy: StsPolicy| {
        let next_hop = host(domain);
        let mut facts = Facts::new(connectors.find(&next_hop), &next_hop, &shared, HostOrigin::Mx);
        let sts = policy.answer(&[HOST]);
        facts.sts = &sts;
        plan(&facts).unwrap()
    };
    let lax = plan_for("a.example", StsPolicy::None);
    let strict = plan_for("b.example", StsPolicy::Enforce { mx_matches: true });
    let bank = plan_for("bank.example", StsPolicy::None);
    assert_eq!(lax.floor(), Floor::Plaintext);
    assert_eq!(strict.floor(), Floor::Authenticated);
    // Three plans, hence three TLS configurations, which share no session.
    assert!(lax != strict && lax != bank && strict != bank);
    let leaf = WORLD.public.issue(&leaf_params(&[HOST])).der;
    let known = |plan: &Plan| WORLD.judge(plan, std::slice::from_ref(&leaf)).standing();
    assert_eq!(known(&strict), Standing::Acceptable);
    // The name of the host is not that of the bank.
    assert_eq!(known(&bank), Standing::Refused);
}
