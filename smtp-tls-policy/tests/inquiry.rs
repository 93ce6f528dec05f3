//! The questions of a delivery: which are asked, in which order, and what the answers come to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use smtp_tls_policy::inquiry::*;
use smtp_tls_policy::pki::TlsaRecord;
use smtp_tls_policy::plan::DnsStatus::{Bogus, Failed, Indeterminate, Insecure, Local, Secure};
use smtp_tls_policy::plan::{Attempt, DnsStatus, Ground, MessageTls};
use smtp_tls_policy::rules::{DaneRule, Families, Floor, OutboundConnector, Posture, SmartHost};
use smtp_tls_policy::sts::{CachedPolicy, PolicyId, PolicyText, StsAnswer};
use smtp_tls_policy::{Domain, Host, Namespace, Reason, ResultType, pki_types::UnixTime};

const DOMAIN: &str = "example.com";
const HOST: &str = "mx.example.net";
const ALIAS: &str = "host.example.org";
const STATUSES: [DnsStatus; 6] = [Secure, Insecure, Bogus, Indeterminate, Failed, Local];

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn connector(posture: Posture) -> OutboundConnector {
    OutboundConnector::new("c", vec![Namespace::Default], posture)
}

fn usable() -> TlsaRecord {
    TlsaRecord { usage: 3, selector: 1, matching: 1, data: vec![7; 32] }
}

fn unusable() -> TlsaRecord {
    TlsaRecord { usage: 1, selector: 1, matching: 1, data: vec![7; 32] }
}

fn mx(status: DnsStatus) -> DnsAnswer<MxRecord> {
    DnsAnswer::new(status, vec![MxRecord::new(10, domain(HOST))])
}

fn sts(mode: &str, mx: &str) -> StsAnswer {
    let text = format!("version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 604800\n");
    let policy = PolicyText::parse(text.as_bytes()).unwrap();
    let id = PolicyId::parse("1").unwrap();
    let cached = CachedPolicy::new(domain(DOMAIN), id, UnixTime::now(), policy);
    StsAnswer { policy: Some(cached), trouble: None }
}

/// The DNS and the MTA-STS policy of one test.
#[derive(Debug)]
struct World {
    mx: DnsAnswer<MxRecord>,
    sts: StsAnswer,
    ipv4: DnsAnswer<Ipv4Addr>,
    ipv6: DnsAnswer<Ipv6Addr>,
    cname: DnsStatus,
    /// The answer for each owner: the first one whose owner ends in this name.
    tlsa: Vec<(&'static str, DnsAnswer<TlsaRecord>)>,
}

impl World {
    /// Each answer has this status; the host has an IPv4 address and no TLSA records.
    fn new(status: DnsStatus) -> Self {
        Self {
            mx: mx(status),
            sts: StsAnswer::default(),
            ipv4: DnsAnswer::new(status, vec![Ipv4Addr::LOCALHOST]),
            ipv6: DnsAnswer::none(status),
            cname: status,
            tlsa: Vec::new(),
        }
    }

    /// A question in words, and its answer.
    fn answer(&self, ask: Ask<'_>) -> (String, Answer) {
        match ask {
            Ask::Mx(name) => (format!("MX {name}"), Answer::Mx(self.mx.clone())),
            Ask::Sts(name) => (format!("STS {name}"), Answer::Sts(self.sts.clone())),
            Ask::Addresses { host, families } => {
                assert_eq!(families, Families::Both);
                let answer = Answer::Addresses(self.ipv4.clone(), self.ipv6.clone());
                (format!("A+AAAA {host}"), answer)
            }
            Ask::Cname(name) => (format!("CNAME {name}"), Answer::Cname(self.cname)),
            Ask::Tlsa(owner) => {
                let answer = self.tlsa.iter().find(|(name, _)| owner.ends_with(name));
                let answer = answer.map(|(_, answer)| answer.clone());
                let answer = answer.unwrap_or(DnsAnswer::none(self.mx.status));
                (format!("TLSA {owner}"), Answer::Tlsa(answer))
            }
        }
    }

    /// The questions of a whole delivery to one host, and the outcome.
    fn run(&self, inquiry: &DomainInquiry<'_>) -> (Vec<String>, Result<Prepared, NotDialled>) {
        let mut asked = Vec::new();
        let mut inquiry = inquiry.clone();
        while let Some(ask) = inquiry.ask() {
            assert!(matches!(ask, Ask::Mx(_) | Ask::Sts(_)), "{ask:?}");
            let (question, answer) = self.answer(ask);
            asked.push(question);
            inquiry.answer(answer);
            assert!(asked.len() <= 2, "{asked:?}");
        }
        let facts = match inquiry.finish() {
            Ok(facts) => facts,
            Err(refused) => {
                assert!(refused.refusal.ends_domain());
                return (asked, Err(refused));
            }
        };
        let host = match facts.hosts() {
            MailHosts::Mx(records) if records.is_empty() => facts.next_hop().clone(),
            MailHosts::Mx(records) => Host::Name(records[0].exchange.clone().unwrap()),
            MailHosts::NextHop => facts.next_hop().clone(),
            MailHosts::NoSuchDomain => panic!("no hosts"),
        };
        let before = asked.len();
        let mut inquiry = HostInquiry::new(&facts, &host);
        while let Some(ask) = inquiry.ask() {
            assert!(!matches!(ask, Ask::Mx(_) | Ask::Sts(_)), "{ask:?}");
            let (question, answer) = self.answer(ask);
            asked.push(question);
            inquiry.answer(answer);
            // Addresses, CNAME, and one TLSA question; or addresses and two TLSA questions.
            assert!(asked.len() - before <= 3, "{asked:?}");
        }
        (asked, inquiry.finish())
    }

    fn deliver(&self, posture: Posture) -> (Vec<String>, Result<Prepared, NotDialled>) {
        let connector = connector(posture);
        self.run(&DomainInquiry::new(&connector, &host(DOMAIN)))
    }
}

/// The reason of a refusal, its status, and the result type of its report.
fn refused(outcome: &Result<Prepared, NotDialled>) -> (Option<Reason>, String, Option<ResultType>) {
    let refused = outcome.as_ref().expect_err("a refusal");
    let result = refused.session.as_ref().and_then(|session| session.failures[0].result_type());
    (Some(refused.refusal.reason()), refused.refusal.status().to_string(), result)
}

/// The base domain of the DANE check, or of unusable records.
fn base(outcome: &Result<Prepared, NotDialled>) -> Option<String> {
    let grounds = outcome.as_ref().expect("a plan").plan.because().grounds();
    grounds.iter().find_map(|ground| match ground {
        Ground::Dane { base, .. } | Ground::TlsaUnusable { base } => Some(base.to_string()),
        _ => None,
    })
}

#[test]
fn p1_policy_lookup_that_failed_asks_nothing_and_defers() {
    let (asked, outcome) =
        World::new(Secure).run(&DomainInquiry::policy_unavailable(&host(DOMAIN)));
    assert_eq!(asked, [""; 0]);
    let reason = Some(Reason::PolicyUnavailable);
    assert_eq!((refused(&outcome).0, refused(&outcome).1), (reason, "4.7.5".to_owned()));
}

#[test]
fn p2_failed_mx_lookup_defers_the_domain_and_asks_nothing_more() {
    for status in [Bogus, Indeterminate, Failed] {
        let world = World { mx: DnsAnswer::none(status), ..World::new(Secure) };
        for posture in Posture::ALL {
            let (asked, outcome) = world.deliver(posture);
            assert_eq!(asked, ["MX example.com"], "{posture}");
            assert_eq!(refused(&outcome).0, Some(Reason::MxLookupFailed));
            assert_eq!(refused(&outcome).1, "4.4.3");
        }
    }
}

/// RFC 8460, section 4.3.2.1 has `dnssec-invalid` for what a resolver returned. A time-out may be
/// the fault of this side, and what this side could not ask is.
#[test]
fn mx_lookup_without_an_answer_is_in_no_tls_report() {
    for (status, reported) in
        [(Bogus, true), (Failed, true), (Indeterminate, false), (Local, false)]
    {
        let world = World { mx: DnsAnswer::none(status), ..World::new(Secure) };
        let (_, outcome) = world.deliver(Posture::Opportunistic);
        assert_eq!(outcome.unwrap_err().session.is_some(), reported, "{status:?}");
    }
}

/// P0: clear text is never an answer to what this side failed to do.
#[test]
fn lookup_that_this_side_could_not_make_stops_the_domain_and_is_in_no_tls_report() {
    let (mut no_mx, mut no_address) = (World::new(Secure), World::new(Insecure));
    no_mx.mx = DnsAnswer::none(Local);
    no_address.ipv4 = DnsAnswer::none(Failed);
    no_address.ipv6 = DnsAnswer::none(Local);
    let (mut no_tlsa, mut no_family) = (World::new(Secure), World::new(Secure));
    no_tlsa.tlsa = vec![(HOST, DnsAnswer::none(Local))];
    no_family.ipv6 = DnsAnswer::none(Local);
    for (world, name) in
        [(no_mx, "MX"), (no_address, "addresses"), (no_tlsa, "TLSA"), (no_family, "AAAA alone")]
    {
        let (_, outcome) = world.deliver(Posture::Opportunistic);
        let NotDialled { refusal, session, .. } = outcome.unwrap_err();
        assert_eq!(refusal.reason(), Reason::LookupLocalFault, "{name}");
        assert_eq!(refusal.status().to_string(), "4.3.5", "{name}");
        assert!(refusal.ends_domain() && session.is_none(), "{name}");
    }
}

#[test]
fn p3_tlsa_records_after_insecure_mx_count_unless_the_connector_wants_secure_mx() {
    let mut world = World::new(Secure);
    world.mx.status = Insecure;
    world.tlsa = vec![(HOST, DnsAnswer::new(Secure, vec![usable()]))];
    assert_eq!(base(&world.deliver(Posture::Opportunistic).1), Some(HOST.to_owned()));

    let mut careful = connector(Posture::Opportunistic);
    careful.dane = DaneRule::SecureMx;
    let (asked, outcome) = world.run(&DomainInquiry::new(&careful, &host(DOMAIN)));
    assert_eq!(base(&outcome), None);
    assert_eq!(asked, ["MX example.com", "STS example.com", "A+AAAA mx.example.net"]);

    let (asked, outcome) = world.deliver(Posture::DaneOnly);
    assert_eq!(asked, ["MX example.com"]);
    assert_eq!(refused(&outcome).0, Some(Reason::MxInsecure));
}

#[test]
fn p4_secure_denial_of_mx_makes_the_domain_its_own_dane_host() {
    let mut world = World::new(Secure);
    world.mx = DnsAnswer::none(Secure);
    world.tlsa = vec![(DOMAIN, DnsAnswer::new(Secure, vec![usable()]))];
    let (asked, outcome) = world.deliver(Posture::Opportunistic);
    assert_eq!(base(&outcome), Some(DOMAIN.to_owned()));
    assert_eq!(asked.last().unwrap(), "TLSA _25._tcp.example.com");
}

#[test]
fn p4b_failed_family_delays_only_where_the_other_one_is_secure() {
    let addresses = vec![Ipv4Addr::LOCALHOST];
    for failure in [Bogus, Indeterminate, Failed] {
        for posture in Posture::ALL {
            // Unsigned: the family that answered is used, and nothing speaks of DNSSEC.
            let mut world = World::new(Insecure);
            world.ipv6 = DnsAnswer::none(failure);
            let (_, outcome) = world.deliver(posture);
            if posture == Posture::DaneOnly {
                assert_eq!(refused(&outcome).0, Some(Reason::MxInsecure));
            } else {
                let prepared = outcome.unwrap();
                assert_eq!(prepared.addresses, [IpAddr::V4(Ipv4Addr::LOCALHOST)], "{posture}");
            }

            // Signed: delayed, unless nothing published counts.
            let mut world = World::new(Secure);
            world.ipv6 = DnsAnswer::none(failure);
            let (asked, outcome) = world.deliver(posture);
            assert!(!asked.iter().any(|question| question.starts_with("TLSA")), "{asked:?}");
            if posture == Posture::None {
                assert_eq!(outcome.unwrap().addresses, [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
            } else {
                let expected = (
                    Some(Reason::TlsaLookupFailed),
                    "4.4.3".to_owned(),
                    Some(ResultType::DnssecInvalid),
                );
                assert_eq!(refused(&outcome), expected, "{posture}");
            }
        }
        // The other way round.
        let mut world = World::new(Insecure);
        world.ipv4 = DnsAnswer::none(failure);
        world.ipv6 = DnsAnswer::new(Insecure, vec![Ipv6Addr::LOCALHOST]);
        let prepared = world.deliver(Posture::Deterministic).1.unwrap();
        assert_eq!(prepared.addresses, [IpAddr::V6(Ipv6Addr::LOCALHOST)]);

        // The alias is signed, though its addresses are not: DANE may apply.
        let mut world = World::new(Insecure);
        world.ipv4 = DnsAnswer::new(Insecure, addresses.clone()).through(domain(ALIAS));
        world.ipv6 = DnsAnswer::none(failure);
        world.cname = Secure;
        let (asked, outcome) = world.deliver(Posture::Deterministic);
        assert_eq!(asked.last().unwrap(), "CNAME mx.example.net");
        assert_eq!(refused(&outcome).1, "4.4.3");
        world.cname = Insecure;
        assert!(world.deliver(Posture::Deterministic).1.is_ok());
    }
}

#[test]
fn p4b_knob_uses_the_validated_family_and_its_tlsa_records() {
    let connector = connector(Posture::Deterministic);
    let domain = host(DOMAIN);
    let mail = DomainInquiry::new(&connector, &domain).skipping_failed_family();
    let mut world = World::new(Secure);
    world.ipv6 = DnsAnswer::none(Bogus);
    world.tlsa = vec![(HOST, DnsAnswer::new(Secure, vec![usable()]))];
    let (_, outcome) = world.run(&mail);
    assert_eq!(base(&outcome), Some(HOST.to_owned()));
    assert_eq!(outcome.unwrap().addresses.len(), 1);
}

#[test]
fn both_families_failed_defers_and_reports_dnssec_only_if_bogus() {
    use Reason::{AddressLookupFailed, TlsaLookupFailed};
    for (a, aaaa, reason, result) in [
        (Failed, Failed, AddressLookupFailed, None),
        (Indeterminate, Failed, AddressLookupFailed, None),
        (Bogus, Failed, TlsaLookupFailed, Some(ResultType::DnssecInvalid)),
    ] {
        let mut world = World::new(Secure);
        (world.ipv4, world.ipv6) = (DnsAnswer::none(a), DnsAnswer::none(aaaa));
        for posture in Posture::ALL {
            let outcome = world.deliver(posture).1;
            // Where no TLSA records count, nothing of DANE is said either.
            let (reason, result) = match posture {
                Posture::None => (AddressLookupFailed, None),
                _ => (reason, result),
            };
            let expected = (Some(reason), "4.4.3".to_owned(), result);
            assert_eq!(refused(&outcome), expected, "{a:?} {posture}");
            let said = outcome.unwrap_err().to_string();
            assert!(said.starts_with("451 4.4.3: the "), "{said}");
        }
    }
}

#[test]
fn p5_insecure_addresses_without_an_alias_ask_for_no_tlsa_records() {
    let mut world = World::new(Insecure);
    world.mx.status = Secure;
    let (asked, outcome) = world.deliver(Posture::Deterministic);
    assert_eq!(asked, ["MX example.com", "STS example.com", "A+AAAA mx.example.net"]);
    assert_eq!(base(&outcome), None);
    assert_eq!(refused(&world.deliver(Posture::DaneOnly).1).0, Some(Reason::DaneRequired));
    // A name that is its own alias is no alias.
    world.ipv4.alias = Some(domain(HOST));
    assert_eq!(world.deliver(Posture::Deterministic).0.len(), 3);
}

#[test]
fn p6_insecure_alias_asks_for_the_cname_alone() {
    let mut world = World::new(Secure);
    world.ipv4 = DnsAnswer::new(Insecure, vec![Ipv4Addr::LOCALHOST]).through(domain(ALIAS));
    world.tlsa = vec![(HOST, DnsAnswer::new(Secure, vec![usable()]))];
    let (asked, outcome) = world.deliver(Posture::Opportunistic);
    assert_eq!(asked[3..], ["CNAME mx.example.net", "TLSA _25._tcp.mx.example.net"]);
    assert_eq!(base(&outcome), Some(HOST.to_owned()));
    world.cname = Insecure;
    let (asked, outcome) = world.deliver(Posture::Opportunistic);
    assert_eq!((asked.len(), base(&outcome)), (4, None));
    for failure in [Bogus, Indeterminate, Failed] {
        world.cname = failure;
        let (_, outcome) = world.deliver(Posture::Opportunistic);
        assert_eq!(refused(&outcome).0, Some(Reason::TlsaLookupFailed));
    }
}

#[test]
fn p7_secure_alias_is_asked_first_and_the_host_name_after_it() {
    let mut world = World::new(Secure);
    world.ipv4.alias = Some(domain(ALIAS));
    world.tlsa = vec![
        (ALIAS, DnsAnswer::new(Secure, vec![usable()])),
        (HOST, DnsAnswer::new(Secure, vec![usable()])),
    ];
    let (asked, outcome) = world.deliver(Posture::Opportunistic);
    assert_eq!(asked[3..], ["TLSA _25._tcp.host.example.org"]);
    assert_eq!(base(&outcome), Some(ALIAS.to_owned()));
    assert_eq!(outcome.unwrap().plan.sni().map(Domain::as_str), Some(ALIAS));
    for no_records in [
        DnsAnswer::none(Secure),
        DnsAnswer::none(Insecure),
        DnsAnswer::new(Insecure, vec![usable()]),
    ] {
        world.tlsa[0].1 = no_records;
        let (asked, outcome) = world.deliver(Posture::Opportunistic);
        assert_eq!(asked.len(), 5);
        assert_eq!(base(&outcome), Some(HOST.to_owned()));
    }
    // A failure at the first candidate is not absence.
    world.tlsa[0].1 = DnsAnswer::none(Failed);
    let (asked, outcome) = world.deliver(Posture::Opportunistic);
    assert_eq!((asked.len(), refused(&outcome).0), (4, Some(Reason::TlsaLookupFailed)));
}

#[test]
fn p8_failed_tlsa_lookup_refuses_the_host_also_with_records() {
    for failure in [Bogus, Indeterminate, Failed] {
        for records in [vec![], vec![usable()]] {
            let mut world = World::new(Secure);
            world.tlsa = vec![(HOST, DnsAnswer::new(failure, records))];
            let (_, outcome) = world.deliver(Posture::Opportunistic);
            let (reason, status, result) = refused(&outcome);
            assert_eq!((reason, status.as_str()), (Some(Reason::TlsaLookupFailed), "4.7.5"));
            assert_eq!(result, Some(ResultType::DnssecInvalid));
        }
    }
}

#[test]
fn p9_unusable_records_raise_the_floor_to_encrypted() {
    let mut world = World::new(Secure);
    world.tlsa = vec![(HOST, DnsAnswer::new(Secure, vec![unusable()]))];
    let prepared = world.deliver(Posture::Opportunistic).1.unwrap();
    assert_eq!(prepared.plan.floor(), Floor::Encrypted);
    assert_eq!(refused(&world.deliver(Posture::DaneOnly).1).0, Some(Reason::TlsaUnusable));
}

#[test]
fn p10_denied_or_unsigned_records_leave_the_posture_as_it_is() {
    for answer in [
        DnsAnswer::none(Secure),
        DnsAnswer::none(Insecure),
        DnsAnswer::new(Insecure, vec![usable()]),
    ] {
        let mut world = World::new(Secure);
        world.tlsa = vec![(HOST, answer)];
        let prepared = world.deliver(Posture::Opportunistic).1.unwrap();
        assert_eq!(prepared.plan.floor(), Floor::Plaintext);
        assert_eq!(refused(&world.deliver(Posture::DaneOnly).1).0, Some(Reason::DaneRequired));
    }
}

#[test]
fn p11_dane_and_enforce_both_hold() {
    let mut world = World::new(Secure);
    world.tlsa = vec![(HOST, DnsAnswer::new(Secure, vec![usable()]))];
    world.sts = sts("enforce", HOST);
    let prepared = world.deliver(Posture::Opportunistic).1.unwrap();
    assert_eq!(prepared.plan.checks().len(), 2);
}

#[test]
fn p14_host_outside_an_enforced_policy_is_refused_in_its_turn() {
    let world = World { sts: sts("enforce", "other.example.net"), ..World::new(Insecure) };
    let (reason, status, result) = refused(&world.deliver(Posture::Opportunistic).1);
    assert_eq!((reason, status.as_str()), (Some(Reason::StsMxMismatch), "4.7.5"));
    assert_eq!(result, Some(ResultType::ValidationFailure));
}

#[test]
fn p15_policy_in_testing_is_recorded_only() {
    let world = World { sts: sts("testing", "other.example.net"), ..World::new(Insecure) };
    let prepared = world.deliver(Posture::Opportunistic).1.unwrap();
    assert_eq!(prepared.plan.floor(), Floor::Plaintext);
    assert_eq!(prepared.plan.notes(), [Reason::StsMxMismatch]);
}

#[test]
fn p16_tls_required_no_is_not_stopped_by_published_policies() {
    let connector = connector(Posture::Opportunistic);
    let domain = host(DOMAIN);
    let mail = DomainInquiry::new(&connector, &domain).with_message(MessageTls::Optional);
    let mut world = World { sts: sts("enforce", "other.example.net"), ..World::new(Secure) };
    world.tlsa = vec![(HOST, DnsAnswer::none(Failed))];
    assert_eq!(world.run(&mail).1.unwrap().plan.floor(), Floor::Plaintext);
    // Neither does a failed family: DANE is not in force for this message.
    world.ipv6 = DnsAnswer::none(Bogus);
    assert!(world.run(&mail).1.is_ok());
}

#[test]
fn p17_requiretls_needs_secure_mx_or_a_policy_that_lists_the_host() {
    let connector = connector(Posture::Opportunistic);
    let domain = host(DOMAIN);
    let mail = DomainInquiry::new(&connector, &domain).with_message(MessageTls::Required);
    let mut world = World::new(Insecure);
    let (reason, status, _) = refused(&world.run(&mail).1);
    assert_eq!((reason, status.as_str()), (Some(Reason::RequiretlsMxInsecure), "5.7.10"));
    world.sts = sts("testing", HOST);
    assert_eq!(world.run(&mail).1.unwrap().plan.floor(), Floor::Authenticated);
}

#[test]
fn p18_address_literal_asks_nothing() {
    let connector = connector(Posture::Opportunistic);
    let literal = host("[192.0.2.1]");
    let (asked, outcome) = World::new(Secure).run(&DomainInquiry::new(&connector, &literal));
    assert_eq!(asked, [""; 0]);
    let prepared = outcome.unwrap();
    assert_eq!(prepared.addresses, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(prepared.plan.attempt(), Attempt::StartTls);
}

#[test]
fn smart_host_asks_for_no_mx_and_uses_its_own_port() {
    let mut connector = connector(Posture::Opportunistic);
    let mut smart_host = SmartHost::new(host("_relay.example.net"));
    (smart_host.port, smart_host.secure) = (2525, true);
    connector.smart_host = Some(smart_host);
    let (asked, outcome) = World::new(Secure).run(&DomainInquiry::new(&connector, &host(DOMAIN)));
    let expected = [
        "STS _relay.example.net",
        "A+AAAA _relay.example.net",
        "TLSA _2525._tcp._relay.example.net",
    ];
    assert_eq!(asked, expected);
    assert_eq!(outcome.unwrap().host, host("_relay.example.net"));
}

#[test]
fn domain_that_does_not_exist_or_has_a_null_mx_asks_for_no_policy() {
    let connector = connector(Posture::Deterministic);
    let domain = host(DOMAIN);
    let null = MxRecord { preference: 0, exchange: None };
    for (mx, hosts) in [
        (DnsAnswer::no_such_name(Secure), MailHosts::NoSuchDomain),
        (DnsAnswer::new(Insecure, vec![null.clone()]), MailHosts::Mx(vec![null])),
    ] {
        let mut inquiry = DomainInquiry::new(&connector, &domain);
        inquiry.answer(Answer::Mx(mx));
        assert_eq!(inquiry.ask(), None);
        assert_eq!(inquiry.finish().unwrap().hosts(), &hosts);
    }
}

#[test]
fn host_without_an_address_asks_for_no_tlsa_records() {
    let mut world = World::new(Secure);
    world.ipv4.records.clear();
    let (asked, outcome) = world.deliver(Posture::Deterministic);
    assert_eq!(asked.last().unwrap(), "A+AAAA mx.example.net");
    assert_eq!(outcome.unwrap().addresses, [IpAddr::V4(Ipv4Addr::LOCALHOST); 0]);
}

#[test]
fn inquiry_that_is_given_up_has_failed() {
    let connector = connector(Posture::Opportunistic);
    let next_hop = host(DOMAIN);
    let inquiry = DomainInquiry::new(&connector, &next_hop);
    let refused = inquiry.finish().unwrap_err();
    assert_eq!(refused.refusal.reason(), Reason::MxLookupFailed);

    let mut inquiry = DomainInquiry::new(&connector, &next_hop);
    inquiry.answer(Answer::Mx(mx(Secure)));
    let facts = inquiry.finish().unwrap();
    let inquiry = HostInquiry::new(&facts, &host(HOST));
    let refused = inquiry.finish().unwrap_err();
    let expected = (Reason::AddressLookupFailed, "4.4.3".to_owned());
    assert_eq!((refused.refusal.reason(), refused.refusal.status().to_string()), expected);
    let mut inquiry = HostInquiry::new(&facts, &host(HOST));
    let addresses = DnsAnswer::new(Secure, vec![Ipv4Addr::LOCALHOST]);
    inquiry.answer(Answer::Addresses(addresses, DnsAnswer::none(Secure)));
    let refused = inquiry.finish().unwrap_err();
    assert_eq!(refused.refusal.reason(), Reason::TlsaLookupFailed);
}

#[test]
fn resolver_without_one_secure_answer_in_a_thousand_is_silent() {
    let mut watch = ValidationWatch::default();
    for _ in 0..SILENT_AFTER {
        assert!(!watch.is_silent());
        watch.saw(Insecure);
    }
    assert!(watch.is_silent());
    watch.saw(Secure);
    assert!(!watch.is_silent());
}

fn status() -> impl Strategy<Value = DnsStatus> {
    proptest::sample::select(STATUSES.to_vec())
}

prop_compose! {
    fn tlsa()(status in status(), records in 0_usize..3) -> DnsAnswer<TlsaRecord> {
        DnsAnswer::new(status, [vec![], vec![usable()], vec![unusable()]][records].clone())
    }
}

prop_compose! {
    fn any_world()(
        mx_status in status(), a in status(), aaaa in status(), cname in status(),
        (has_a, has_aaaa, alias, listed, policy) in
            (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), 0_usize..3),
        tlsa in (tlsa(), tlsa()),
    ) -> World {
        let alias = alias.then(|| domain(ALIAS));
        let list = if listed { HOST } else { "other.example.net" };
        let mut ipv4 = DnsAnswer::new(a, vec![Ipv4Addr::LOCALHOST; usize::from(has_a)]);
        let mut ipv6 = DnsAnswer::new(aaaa, vec![Ipv6Addr::LOCALHOST; usize::from(has_aaaa)]);
        (ipv4.alias, ipv6.alias) = (alias.clone(), alias);
        World {
            mx: mx(mx_status),
            sts: [StsAnswer::default(), sts("testing", list), sts("enforce", list)][policy].clone(),
            ipv4, ipv6, cname,
            tlsa: vec![(HOST, tlsa.0), (ALIAS, tlsa.1)],
        }
    }
}

proptest! {
    /// Each failure is bounded: it defers, and it leads neither to fewer checks nor to more
    /// questions. Whichever family answers first, the outcome is the same.
    #[test]
    fn answers_in_any_order_and_with_strays_between_give_the_same_outcome(
        world in any_world(),
        posture in proptest::sample::select(Posture::ALL.to_vec()),
        strays in proptest::collection::vec((0_u8..4, status()), 0..6),
    ) {
        let connector = connector(posture);
        let next_hop = host(DOMAIN);
        let mail = DomainInquiry::new(&connector, &next_hop);
        let (asked, outcome) = world.run(&mail);
        let again = world.run(&mail);
        prop_assert_eq!(&asked, &again.0);
        prop_assert_eq!(format!("{outcome:?}"), format!("{:?}", again.1));
        if let Err(refused) = &outcome {
            prop_assert_eq!(refused.refusal.status().class, 4);
        }

        // The same answers by hand, with answers that no question asked for between them.
        let mut inquiry = mail.clone();
        inquiry.answer(Answer::Sts(sts("enforce", "stray.example")));
        inquiry.answer(Answer::Mx(world.mx.clone()));
        inquiry.answer(Answer::Mx(DnsAnswer::none(Failed)));
        inquiry.answer(Answer::Sts(world.sts.clone()));
        inquiry.answer(Answer::Sts(StsAnswer::default()));
        let Ok(facts) = inquiry.finish() else {
            prop_assert!(outcome.is_err());
            return Ok(());
        };
        let mut inquiry = HostInquiry::new(&facts, &host(HOST));
        let mut strays = strays.into_iter();
        loop {
            let asks = match inquiry.ask() {
                None => None,
                Some(Ask::Addresses { .. }) => Some(0),
                Some(Ask::Cname(_)) => Some(1),
                Some(Ask::Tlsa(owner)) => Some(if owner.ends_with(HOST) { 2 } else { 3 }),
                Some(Ask::Mx(_) | Ask::Sts(_)) => panic!("asked of a host"),
            };
            if let Some((kind, status)) = strays.next() {
                let is_answer = matches!((asks, kind), (Some(0), 0) | (Some(1), 1) | (Some(2 | 3), 2 | 3));
                if !is_answer {
                    inquiry.answer(match kind {
                        0 => Answer::Addresses(DnsAnswer::none(status), DnsAnswer::none(status)),
                        1 => Answer::Cname(status),
                        _ => Answer::Tlsa(DnsAnswer::new(status, vec![unusable()])),
                    });
                }
            }
            inquiry.answer(match asks {
                None => break,
                Some(0) => Answer::Addresses(world.ipv4.clone(), world.ipv6.clone()),
                Some(1) => Answer::Cname(world.cname),
                Some(2) => Answer::Tlsa(world.tlsa[0].1.clone()),
                Some(_) => Answer::Tlsa(world.tlsa[1].1.clone()),
            });
        }
        prop_assert_eq!(format!("{outcome:?}"), format!("{:?}", inquiry.finish()));
    }

    /// An answer that fails, in place of one that does not, never lowers what is asked of the
    /// connection: the host is refused, or its plan is at least as strict.
    #[test]
    fn failed_answer_never_lowers_the_floor(
        world in any_world(),
        which in 0_u8..3,
        failure in proptest::sample::select(vec![Bogus, Indeterminate, Failed]),
    ) {
        let (_, before) = world.deliver(Posture::Opportunistic);
        let Ok(before) = before else { return Ok(()) };
        let mut world = world;
        match which {
            0 => world.mx.status = failure,
            1 => world.cname = failure,
            _ => world.tlsa.iter_mut().for_each(|(_, answer)| answer.status = failure),
        }
        if let (_, Ok(after)) = world.deliver(Posture::Opportunistic) {
            prop_assert!(after.plan.floor() >= before.plan.floor());
        }
    }
}
