//! Runs every row of the golden decision table through the public API.

mod common;

use std::sync::LazyLock;

use common::sts::StsPolicy;
use common::table::{TABLE, section};
use common::*;
use pki_types::CertificateDer;
use rcgen::ExtendedKeyUsagePurpose;
use smtp_tls_policy::judge::{Standing, admit, admit_handshake};
use smtp_tls_policy::pki::{
    CnFallback, Pin, Reference, Revocation, RootsId, TlsaRecord, TlsaSet, Trust,
};
use std::net::Ipv4Addr;

use smtp_tls_policy::inquiry::{Answer, Ask, DnsAnswer, DomainInquiry, HostInquiry};
use smtp_tls_policy::plan::Ground;
use smtp_tls_policy::plan::{
    Attempt, Check, Demand, DnsStatus, Facts, HostOrigin, MessageTls, Plan, Refusal, TlsaFact, plan,
};
use smtp_tls_policy::rules::{
    ClientCertificate, ClientCheck, DaneRule, Floor, InboundConnector, InboundConnectors,
    OptionalTls, OutboundConnector, OutboundConnectors, Posture, SmartHost, StsRule, Weight, Yield,
    Yields,
};
use smtp_tls_policy::sts::StsAnswer;
use smtp_tls_policy::{Domain, Host, Namespace, Reason, pki_types};

fn connector(name: &str) -> OutboundConnector {
    let (posture, require_tls) = match name.strip_suffix("+tls") {
        Some(posture) => (posture, true),
        None => (name, false),
    };
    let posture = Posture::parse(posture).unwrap();
    let mut connector = OutboundConnector::new("c", vec![Namespace::Default], posture);
    connector.require_tls = require_tls;
    match posture {
        Posture::PrivateCa => connector.roots = RootsId::new("private"),
        Posture::Pinned => connector.pins = vec![Pin::of_key(&GOOD.der).unwrap()],
        _ => {}
    }
    OutboundConnectors::new(vec![connector.clone()]).expect("a connector that makes sense");
    connector
}

/// The good certificate, by an authority that `World` trusts.
static GOOD: LazyLock<Leaf> = LazyLock::new(|| PUBLIC.issue(&leaf_params(&["mx.example.net"])));
static PUBLIC: LazyLock<Authority> = LazyLock::new(|| Authority::new("Public"));

/// The TLSA set of the good certificate's key: 3 1 0.
fn good_tlsa(base: &str) -> TlsaFact {
    use rcgen::PublicKeyData;
    let data = GOOD.key.subject_public_key_info();
    let record = TlsaRecord { usage: 3, selector: 1, matching: 0, data };
    TlsaFact::Found(TlsaSet::new(Domain::parse(base).unwrap(), &[record]))
}

fn lower(value: &impl std::fmt::Debug) -> String {
    match format!("{value:?}").as_str() {
        "StartTls" => "starttls".into(),
        "NotTls" => "not-tls".into(),
        other => other.to_ascii_lowercase(),
    }
}

fn yields(text: &str) -> Yields {
    let mut words = text.split(' ').map(|word| match word {
        "now" => Yield::Now,
        "later" => Yield::Later,
        "never" => Yield::Never,
        other => panic!("{other}"),
    });
    let mut next = || words.next().unwrap();
    Yields { refused: next(), broken: next(), untrusted: next() }
}

#[test]
fn plans() {
    let (_, rows) = section("Plans");
    for row in rows {
        let [rule, posture, given, attempt, floor, check, names, wanted] = row[..] else {
            panic!("{row:?}");
        };
        let mut connector = connector(posture);
        let name = |text| Host::parse(text).unwrap();
        let (mut next_hop, mut host) = (name("example.com"), name("mx.example.net"));
        let (mut origin, mut implicit, mut demands) = (HostOrigin::Mx, false, Vec::new());
        let demand = |floor| Demand { by: "message".into(), floor };
        match given {
            "" => {}
            "address literal" => {
                (next_hop, host) = (name("[192.0.2.1]"), name("[192.0.2.1]"));
                origin = HostOrigin::Literal;
            }
            "smart host" => origin = HostOrigin::SmartHost,
            "implicit smart host" => {
                origin = HostOrigin::SmartHost;
                let mut smart_host = SmartHost::new(host.clone());
                smart_host.implicit_tls = true;
                connector.smart_host = Some(smart_host);
            }
            "implicit TLS" => implicit = true,
            "demand plaintext" => demands.push(demand(Floor::Plaintext)),
            "demand encrypted" => demands.push(demand(Floor::Encrypted)),
            "demand authenticated" => demands.push(demand(Floor::Authenticated)),
            other => {
                connector.yields = yields(other.strip_prefix("yields ").expect("known facts"));
            }
        }
        let mut facts = Facts::new(&connector, &next_hop, &host, origin);
        facts.implicit_tls = implicit;
        facts.demands = &demands;
        let plan = plan(&facts).unwrap();
        let at = format!("{rule} {posture} {given}");
        assert_eq!(lower(&plan.attempt()), attempt, "{at}");
        assert_eq!(lower(&plan.floor()), floor, "{at}");
        assert_eq!(plan.yields(), yields(wanted), "{at}");
        let checks: Vec<_> = plan.checks().iter().map(|c| lower(&c.weight())).collect();
        assert_eq!(checks.join(" "), check, "{at}");
        let compared: Vec<_> = plan
            .checks()
            .iter()
            .flat_map(|check| match check {
                Check::Pkix { names, .. } | Check::Dane { names, .. } => &names.references[..],
                Check::Pinned { .. } => &[],
            })
            .map(Reference::to_string)
            .collect();
        assert_eq!(compared.join(" "), names, "{at}");
        // RFC 6066, section 3: names only.
        let sni = plan.sni().map(Domain::as_str);
        match (plan.attempt(), host.domain()) {
            (Attempt::Clear, _) => assert_eq!(sni, None),
            (_, domain) => assert_eq!(sni, domain.map(Domain::as_str)),
        }
    }
}

/// The organisations and certificates of the table.
struct World {
    public: &'static Authority,
    private: Authority,
    trust: Trust,
}

impl World {
    fn new() -> Self {
        let (public, private) = (&*PUBLIC, Authority::new("Private"));
        let mut trust = Trust::empty();
        let roots = [(RootsId::public(), public), (RootsId::new("private"), &private)];
        for (id, root) in roots {
            trust.add_root_der(&id, &root.der).unwrap();
        }
        trust.add_crl_der(&RootsId::public(), &public.crl(&[13])).unwrap();
        Self { public, private, trust }
    }

    fn certificate(&self, what: &str) -> CertificateDer<'static> {
        let mut params = leaf_params(&["mx.example.net"]);
        match what {
            "good" => return GOOD.der.clone(),
            "of the next hop" => params = leaf_params(&["example.com"]),
            "private" => return self.private.issue(&params).der,
            "self-signed" => return Authority::with(params).der,
            "expired" => params.not_after = days(-1),
            "not yet valid" => params.not_before = days(1),
            "revoked" => params.serial_number = Some(rcgen::SerialNumber::from_slice(&[13])),
            "wrong name" => params = leaf_params(&["mx.example.org"]),
            "Common Name only" => {
                params = leaf_params(&[]);
                common_name(&mut params, "mx.example.net");
            }
            "X.509 version 1" => return version_1().der,
            "of an authority" => return self.public.below("Below", |_| {}).der,
            "unknown critical extension" => {
                let mut extension =
                    rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
                extension.set_criticality(true);
                params.custom_extensions.push(extension);
            }
            other => panic!("{other}"),
        }
        self.public.issue(&params).der
    }
}

/// The facts and knobs of a row, as `name=value, name=value`.
struct Given<'a>(&'a str);

impl Given<'_> {
    fn of(&self, name: &str) -> Option<&str> {
        self.0
            .split(", ")
            .filter_map(|word| word.split_once('='))
            .find(|word| word.0 == name)
            .map(|word| word.1)
    }
}

#[test]
fn policies() {
    let (header, rows) = section("Policies");
    for row in rows {
        let (rule, given, reported) = (row[0], Given(row[1]), row[2]);
        for (posture, expected) in header.iter().zip(&row).skip(3) {
            let at = format!("{rule} {} {posture}", given.0);
            if *expected == "-" {
                continue;
            }
            let mut connector = connector(posture);
            connector.dane = match given.of("dane") {
                None => DaneRule::AnyMx,
                Some("secure-mx") => DaneRule::SecureMx,
                Some("off") => DaneRule::Off,
                Some(other) => panic!("{other}"),
            };
            connector.sts = match given.of("sts-rule") {
                None => StsRule::On,
                Some("unless-dane") => StsRule::UnlessDane,
                Some("off") => StsRule::Off,
                Some(other) => panic!("{other}"),
            };
            if given.of("optional-tls") == Some("everything") {
                connector.optional_tls = OptionalTls::Everything;
            }
            let name = |text| Host::parse(text).unwrap();
            let (mut next_hop, mut host) = (name("example.com"), name("mx.example.net"));
            let origin = match given.of("origin") {
                None => HostOrigin::Mx,
                Some("implicit-mx") => {
                    host = next_hop.clone();
                    HostOrigin::Mx
                }
                Some("mx-address") => {
                    host = name("192.0.2.1");
                    HostOrigin::Mx
                }
                Some("literal") => {
                    (next_hop, host) = (name("[192.0.2.1]"), name("[192.0.2.1]"));
                    HostOrigin::Literal
                }
                Some(kind @ ("smart-host" | "secure-smart-host")) => {
                    let mut smart_host = SmartHost::new(host.clone());
                    smart_host.secure = kind == "secure-smart-host";
                    connector.smart_host = Some(smart_host);
                    HostOrigin::SmartHost
                }
                Some(other) => panic!("{other}"),
            };
            let base = match given.of("base") {
                Some("alias") => "host.elsewhere.example".to_owned(),
                _ => host.domain().map_or("mx.example.net".to_owned(), Domain::to_string),
            };
            let unusable = TlsaRecord::parse("1 1 1 00").unwrap();
            let tlsa = match given.of("tlsa") {
                None => TlsaFact::Absent,
                Some("ee") => good_tlsa(&base),
                Some("unusable") => {
                    TlsaFact::Found(TlsaSet::new(Domain::parse(&base).unwrap(), &[unusable]))
                }
                Some("failed") => TlsaFact::Failed,
                Some(other) => panic!("{other}"),
            };
            let mx = match given.of("mx") {
                None => DnsStatus::Insecure,
                Some("secure") => DnsStatus::Secure,
                Some("bogus") => DnsStatus::Bogus,
                Some("indeterminate") => DnsStatus::Indeterminate,
                Some("failed") => DnsStatus::Failed,
                Some(other) => panic!("{other}"),
            };
            let mut facts = Facts::new(&connector, &next_hop, &host, origin);
            (facts.mx, facts.tlsa) = (mx, &tlsa);
            let policy = match given.of("sts") {
                None => StsPolicy::None,
                Some("enforce") => StsPolicy::Enforce { mx_matches: true },
                Some("enforce-other") => StsPolicy::Enforce { mx_matches: false },
                Some("testing") => StsPolicy::Testing { mx_matches: true },
                Some("testing-other") => StsPolicy::Testing { mx_matches: false },
                Some(other) => panic!("{other}"),
            };
            let trouble = given.of("sts-failure").map(|failure| match failure {
                "fetch" => sts::UNREACHABLE,
                "invalid" => sts::INVALID,
                "webpki" => sts::CERTIFICATE,
                other => panic!("{other}"),
            });
            let sts = StsAnswer {
                trouble,
                ..policy.answer(&[host.domain().map_or("mx.example", Domain::as_str)])
            };
            facts.sts = &sts;
            facts.message = match given.of("message") {
                None => MessageTls::new(false, false, false),
                Some("requiretls") => MessageTls::new(true, false, true),
                Some("bounce") => MessageTls::new(true, true, false),
                Some("optional") => MessageTls::new(false, false, true),
                Some(other) => panic!("{other}"),
            };
            let is_broken = given.of("remembered-broken") == Some("yes");
            let planned = plan(&facts);
            match planned.map(|it| if is_broken { it.remembering_broken() } else { it }) {
                Err(refusal) => {
                    let what = if refusal.ends_domain() { "stop" } else { "next" };
                    assert_eq!(
                        format!("{what} {}", refusal.status()),
                        *expected,
                        "{at}: {refusal}"
                    );
                    assert_eq!(refusal.code() / 100, u16::from(refusal.status().class), "{at}");
                }
                Ok(plan) => {
                    assert_eq!(summary(&plan), *expected, "{at}: {}", plan.because());
                    let notes: Vec<_> = plan.notes().iter().map(|reason| reason.code()).collect();
                    let wanted = if *posture == "none" { "" } else { reported };
                    assert_eq!(notes.join(" "), wanted, "{at}");
                    let has_dane =
                        plan.checks().iter().any(|check| matches!(check, Check::Dane { .. }));
                    let sni = match plan.attempt() {
                        Attempt::Clear => None,
                        _ if has_dane => Some(base.as_str()),
                        _ => host.domain().map(Domain::as_str),
                    };
                    assert_eq!(plan.sni().map(Domain::as_str), sni, "{at}");
                    assert_eq!(plan.message(), facts.message, "{at}");
                }
            }
        }
    }
}

/// What a plan asks for, in the words of the table.
fn summary(plan: &Plan) -> String {
    let mut kinds: Vec<_> = plan
        .checks()
        .iter()
        .filter(|check| check.weight() == Weight::Refuse)
        .map(|check| match check {
            Check::Pkix { names, .. } if names.cn == CnFallback::Never => "sts",
            Check::Pkix { .. } => "pkix",
            Check::Dane { .. } => "dane",
            Check::Pinned { .. } => "pin",
        })
        .collect();
    kinds.sort_unstable();
    match (plan.attempt(), plan.floor()) {
        (Attempt::Clear, Floor::Plaintext) => "clear".into(),
        (_, Floor::Plaintext) => "open".into(),
        (_, Floor::Encrypted) => "tls".into(),
        (_, Floor::Authenticated) => format!("TLS {}", kinds.join(" ")),
    }
}

fn fallback(plan: &Plan, rule: Yield, reason: Reason) -> String {
    let status = plan.status(reason).expect("a failure has a status");
    match (plan.floor(), rule) {
        (Floor::Plaintext, Yield::Now) => "clear".into(),
        (Floor::Plaintext, Yield::Later) => "later".into(),
        _ => format!("next {status}"),
    }
}

#[test]
fn sending() {
    let (header, rows) = section("Sending");
    let world = World::new();
    let next_hop = Host::parse("example.com").unwrap();
    let host = Host::parse("mx.example.net").unwrap();
    for row in rows {
        let (rule, event, code, tlsrpt) = (row[0], row[1], row[2], row[row.len() - 1]);
        let reason = *Reason::ALL.iter().find(|r| r.code() == code).unwrap();
        assert_eq!(reason.tlsrpt().unwrap_or(""), tlsrpt, "{rule} {event}");
        let certificate = event.strip_prefix("certificate: ").map(|what| world.certificate(what));
        let columns = header.iter().zip(&row).skip(3).take(row.len() - 4);
        for (posture, expected) in columns {
            let connector = connector(posture);
            let tlsa = good_tlsa("mx.example.net");
            let mut facts = match rule {
                "P1" => Facts::policy_unavailable(&next_hop, &host, HostOrigin::Mx),
                _ => Facts::new(&connector, &next_hop, &host, HostOrigin::Mx),
            };
            if *posture == "dane-only" {
                (facts.mx, facts.tlsa) = (DnsStatus::Secure, &tlsa);
            }
            if rule == "S14" {
                facts.mx = DnsStatus::Secure;
                facts.message = MessageTls::Required;
            }
            let plan = match plan(&facts) {
                Ok(plan) => plan,
                Err(refusal) => {
                    assert_eq!(refusal.reason(), reason);
                    assert_eq!(format!("next {}", refusal.status()), *expected);
                    continue;
                }
            };
            let outcome = match (rule, plan.attempt(), &certificate) {
                ("S14", ..) => format!("next {}", plan.status(reason).unwrap()),
                ("S2" | "S4", Attempt::Clear, _) => "clear".into(),
                (_, Attempt::Clear, _) => "-".into(),
                ("S2" | "S4" | "S8" | "S9", ..) => fallback(&plan, Yield::Now, reason),
                ("S7", ..) => fallback(&plan, plan.yields().refused, reason),
                ("S6" | "S10" | "S13" | "S15", ..) => fallback(&plan, plan.yields().broken, reason),
                ("S11", _, Some(certificate)) => {
                    let chain = [certificate.clone()];
                    let verdict = plan.judge(&chain, &world.trust, now());
                    if *posture == "deterministic" || *posture == "verified" {
                        assert_eq!(verdict.reason(), reason, "{event} {posture}");
                    }
                    match verdict.standing() {
                        Standing::Acceptable if verdict.is_authenticated() => "TLS".into(),
                        Standing::Acceptable => "tls".into(),
                        Standing::NotTls => {
                            fallback(&plan, plan.yields().untrusted, verdict.reason())
                        }
                        Standing::Refused | Standing::LocalFault => {
                            format!("next {}", verdict.reason().status().unwrap())
                        }
                    }
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(outcome, *expected, "{rule} {event} {posture}");
        }
    }
}

#[test]
fn receiving() {
    let (_, rows) = section("Receiving");
    let world = World::new();
    let stranger = Authority::new("Stranger");
    for row in rows {
        let [rule, which, client, at_mail, reason, at_handshake] = row[..] else {
            panic!("{row:?}");
        };
        let mut connector = InboundConnector::new("c", vec![Namespace::Default]);
        let roots = RootsId::new("private");
        let mut check = ClientCheck::new(roots.clone());
        let (client, ours) = ["no roots", "stale list", "forged list", "no list"]
            .iter()
            .find_map(|ours| Some((client.strip_suffix(ours)?.strip_suffix(", ")?, *ours)))
            .unwrap_or((client, "in order"));
        let mut trust = Trust::empty();
        if ours != "no roots" {
            trust.add_root_der(&roots, &world.private.der).unwrap();
        }
        match ours {
            "stale list" => {
                trust
                    .add_crl_der(&roots, &world.private.crl_dated(&[], days(-2), days(-1)))
                    .unwrap();
            }
            "forged list" => {
                trust.add_crl_der(&roots, &Authority::new("Private").crl(&[])).unwrap()
            }
            "no list" => check.revocation = Revocation::Hard,
            _ => {}
        }
        match which {
            "asks for nothing" => {}
            "requires TLS" => connector.require_tls = true,
            "records certificates" => connector.client_certificate = ClientCertificate::Recorded,
            "requires a certificate" | "ties the domain to a name" => {
                if which == "ties the domain to a name" {
                    check.names = vec![Reference::parse("out.partner.example").unwrap()];
                }
                connector.require_tls = true;
                connector.client_certificate = ClientCertificate::Required(check);
            }
            other => panic!("{other}"),
        }
        let mut params = leaf_params(&["out.partner.example"]);
        let (tls, shown) = client.split_once(", ").unwrap_or((client, ""));
        let chain = match shown {
            "" => vec![],
            "good" => vec![world.private.issue(&params).der],
            "wrong name" => {
                let params = leaf_params(&["out.other.example"]);
                vec![world.private.issue(&params).der]
            }
            "unknown issuer" => vec![stranger.issue(&params).der],
            "expired" => {
                params.not_after = days(-1);
                vec![world.private.issue(&params).der]
            }
            "for servers only" => {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                vec![world.private.issue(&params).der]
            }
            other => panic!("{other}"),
        };
        let at = format!("{rule} {which} {client} {ours}");
        let said = |result: Result<(), Refusal>| match result {
            Ok(()) => ("ok".to_owned(), ""),
            Err(refusal) => {
                (format!("{} {}", refusal.code(), refusal.status()), refusal.reason().code())
            }
        };
        let admitted = admit(&connector, (tls == "tls").then_some(TLS), &chain, &trust, now());
        assert_eq!(said(admitted.map(drop)), (at_mail.to_owned(), reason), "{at}");
        if tls == "clear" {
            assert_eq!(at_handshake, "-", "{at}");
            continue;
        }
        let connectors = InboundConnectors::new(vec![connector]).unwrap();
        let gate = admit_handshake(&connectors, &chain, &trust, now());
        assert_eq!(said(gate).0, at_handshake, "{at}");
    }
}

#[test]
fn search() {
    let (_, rows) = section("Search");
    let status = |text: &str| match text {
        "secure" | "records" | "denied" => DnsStatus::Secure,
        "insecure" | "unsigned records" | "unsigned denial" => DnsStatus::Insecure,
        "bogus" => DnsStatus::Bogus,
        "indeterminate" => DnsStatus::Indeterminate,
        "failed" => DnsStatus::Failed,
        other => panic!("{other}"),
    };
    let connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Opportunistic);
    let (next_hop, host) =
        (Host::parse("example.com").unwrap(), Host::parse("mx.example.net").unwrap());
    let mut domain = DomainInquiry::new(&connector, &next_hop);
    domain.answer(Answer::Mx(DnsAnswer::none(DnsStatus::Secure)));
    let domain = domain.finish().unwrap();
    for row in rows {
        let [rule, addresses, alias, questions, found] = row[..] else { panic!("{row:?}") };
        let alias = (!alias.is_empty()).then(|| Domain::parse(alias).unwrap());
        let mut inquiry = HostInquiry::new(&domain, &host);
        let mut ipv4 = DnsAnswer::new(status(addresses), vec![Ipv4Addr::LOCALHOST]);
        ipv4.alias = alias;
        let ipv6 = DnsAnswer::none(status(addresses));
        inquiry.answer(Answer::Addresses(ipv4, ipv6));
        for question in questions.split("; ").filter(|question| !question.is_empty()) {
            let (question, answer) = question.split_once(": ").unwrap();
            let status = status(answer);
            let (asked, answer) = match inquiry.ask().expect("a question") {
                Ask::Cname(owner) => (format!("cname {owner}"), Answer::Cname(status)),
                Ask::Tlsa(owner) => {
                    let base = owner.strip_prefix("_25._tcp.").unwrap();
                    let record =
                        TlsaRecord { usage: 3, selector: 1, matching: 1, data: vec![0; 32] };
                    let records = if answer.ends_with("records") { vec![record] } else { vec![] };
                    let answer = Answer::Tlsa(DnsAnswer::new(status, records));
                    (format!("tlsa {base}"), answer)
                }
                Ask::Mx(_) | Ask::Sts(_) | Ask::Addresses { .. } => panic!("asked again"),
            };
            assert_eq!(asked, question, "{rule}");
            inquiry.answer(answer);
        }
        assert_eq!(inquiry.ask(), None, "{rule} {questions}");
        let outcome = match inquiry.finish() {
            Err(_) => "failed".to_owned(),
            Ok(prepared) => {
                let base = |ground: &Ground| match ground {
                    Ground::Dane { base, .. } => Some(base.to_string()),
                    _ => None,
                };
                let mut grounds = prepared.plan.because().grounds().iter();
                grounds.find_map(base).unwrap_or_else(|| "absent".to_owned())
            }
        };
        assert_eq!(outcome, found, "{rule} {addresses} {questions}");
    }
}

/// The ids of `RULES.md`, but for those that are tested elsewhere, as the page says.
fn rule_ids() -> Vec<&'static str> {
    let ids = include_str!("../RULES.md").lines().filter_map(|line| {
        let id = line.strip_prefix("| ")?.split(' ').next()?;
        let (kind, number) = id.split_at_checked(1)?;
        let is_id = matches!(kind, "P" | "S") && number.starts_with(|it: char| it.is_ascii_digit());
        (is_id && !["P4b", "S11b"].contains(&id)).then_some(id)
    });
    ids.collect()
}

/// Which crate runs a section. A section that no crate runs tests nothing.
const SECTIONS: [(&str, &str); 10] = [
    ("Plans", include_str!("decision_table.rs")),
    ("Policies", include_str!("decision_table.rs")),
    ("Sending", include_str!("decision_table.rs")),
    ("First contact", include_str!("first_contact.rs")),
    ("CRLite", include_str!("crlite.rs")),
    ("Search", include_str!("decision_table.rs")),
    ("Receiving", include_str!("decision_table.rs")),
    ("Conversations", include_str!("../../smtp-proto/tests/decision_table.rs")),
    ("Serving", include_str!("../../smtp-proto/tests/decision_table.rs")),
    ("Connections kept", include_str!("../../smtp-tokio-adapter/src/client/reuse.rs")),
];

#[test]
fn every_rule_and_posture_has_a_row() {
    let titles = TABLE.lines().filter_map(|line| line.strip_prefix("## "));
    assert_eq!(titles.count(), SECTIONS.len());
    let mut rules = Vec::new();
    for (title, source) in SECTIONS {
        assert!(source.contains(&format!("section(\"{title}\")")), "no crate runs {title}");
        rules.extend(section(title).1.iter().map(|row| row[0]));
    }
    let ids = rule_ids();
    assert!(ids.len() > 40, "{ids:?}");
    for rule in ids
        .iter()
        .copied()
        .chain(["P3 knob", "P8 knob", "P11 knob", "P14 knob", "P16 knob", "memory", "RFC 8314"])
    {
        assert!(rules.contains(&rule), "{rule} has no row");
    }
    for rule in rules {
        let known = ids.contains(&rule.trim_end_matches(" knob"));
        assert!(
            known || ["preset", "knob", "raise", "memory", "RFC 8314"].contains(&rule),
            "{rule} is no rule"
        );
    }
    for title in ["Policies", "Sending"] {
        let (header, _) = section(title);
        for posture in Posture::ALL {
            assert!(header.contains(&posture.as_str()), "{posture} has no column");
        }
    }
}
