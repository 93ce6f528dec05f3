//! The rules said a second time, in another way, and compared with `plan` and `judge` over the full
//! product of what can be known before dialling.
//!
//! `rules.rs` is a flat list of rules that know nothing of each other, where the crate joins
//! contributions; `peers.rs` says by hand what each certificate proves. What is compared is what
//! becomes of the mail, for every kind of peer.

#[path = "../common/mod.rs"]
mod common;
mod peers;
mod rules;

use std::collections::HashMap;
use std::sync::LazyLock;

use common::sts::StsPolicy;
use common::{now, sts};
use peers::*;
use rules::*;
use smtp_tls_policy::judge::Standing;
use smtp_tls_policy::pki::{CnFallback, Reference, RootsId};
use smtp_tls_policy::plan::{
    Attempt, Check, Demand, DnsStatus, Facts, HostOrigin, MessageTls, Plan, Refusal, TlsaFact, plan,
};
use smtp_tls_policy::rules::{
    DaneRule, Floor, OptionalTls, OutboundConnector, Posture, SmartHost, StsRule, Yield, Yields,
};
use smtp_tls_policy::sts::{self as mta_sts, StsAnswer};
use smtp_tls_policy::{Domain, Host, Namespace, Reason};

/// What the two formulations remember: equal questions are asked of the certificates once.
#[derive(Default)]
struct Judge {
    /// Per list of checks: standing and whether the peer is known, for each certificate.
    verdicts: HashMap<Vec<Check>, Vec<(Standing, bool)>>,
    asks: Vec<Ask>,
    cases: usize,
    differences: Vec<String>,
}

/// Everything that a plan is made of but the facts that vary fastest.
struct Stage {
    connector: OutboundConnector,
    next_hop: Host,
    host: Host,
    origin: HostOrigin,
    expanded: Option<Domain>,
    base: &'static str,
    tlsa: TlsaFact,
    demands: Vec<Demand>,
}

fn connector(case: &Case) -> OutboundConnector {
    let mut connector = OutboundConnector::new("c", vec![Namespace::Default], case.posture);
    connector.require_tls = case.require_tls;
    connector.cn = case.cn;
    connector.yields = case.yields;
    (connector.dane, connector.sts, connector.optional_tls) =
        (case.dane, case.sts_rule, case.optional_tls);
    if case.names {
        connector.names = vec![Reference::parse(GIVEN).unwrap()];
    }
    if case.posture == Posture::PrivateCa {
        connector.roots = RootsId::new("private");
    }
    if case.posture == Posture::Pinned {
        connector.pins = WORLD.pins.clone();
    }
    let smart_host = || SmartHost::new(Host::parse(HOST).unwrap());
    connector.smart_host = match case.origin {
        Origin::Mx | Origin::ImplicitMx | Origin::MxAddress | Origin::Literal => None,
        Origin::Smart => Some(smart_host()),
        Origin::SecureSmart => {
            let mut smart_host = smart_host();
            smart_host.secure = true;
            Some(smart_host)
        }
        Origin::ImplicitTlsSmart => {
            let mut smart_host = smart_host();
            smart_host.implicit_tls = true;
            Some(smart_host)
        }
    };
    connector
}

impl Stage {
    fn new(case: &Case) -> Self {
        let name = |text| Host::parse(text).unwrap();
        let (next_hop, host, origin) = match case.origin {
            Origin::Mx => (name(NEXT_HOP), name(HOST), HostOrigin::Mx),
            Origin::ImplicitMx => (name(NEXT_HOP), name(NEXT_HOP), HostOrigin::Mx),
            Origin::MxAddress => (name(NEXT_HOP), name(ADDRESS), HostOrigin::Mx),
            Origin::Smart | Origin::SecureSmart | Origin::ImplicitTlsSmart => {
                (name(NEXT_HOP), name(HOST), HostOrigin::SmartHost)
            }
            Origin::Literal => (name(ADDRESS), name(ADDRESS), HostOrigin::Literal),
        };
        let base = match (case.alias, case.origin) {
            (true, _) => ALIAS,
            (false, Origin::ImplicitMx) => NEXT_HOP,
            (false, _) => HOST,
        };
        Self {
            connector: connector(case),
            next_hop,
            host,
            origin,
            expanded: case.expanded.then(|| Domain::parse(EXPANDED).unwrap()),
            base,
            tlsa: WORLD.tlsa(case.tlsa, base),
            demands: case
                .demand
                .map(|floor| Demand { by: "message".into(), floor })
                .into_iter()
                .collect(),
        }
    }

    fn facts(&self, case: &Case) -> Facts<'_> {
        let mut facts = match case.policy_known {
            true => Facts::new(&self.connector, &self.next_hop, &self.host, self.origin),
            false => Facts::policy_unavailable(&self.next_hop, &self.host, self.origin),
        };
        facts.demands = &self.demands;
        facts.implicit_tls = case.implicit;
        (facts.mx, facts.tlsa) = (case.mx, &self.tlsa);
        facts.expanded_next_hop = self.expanded.as_ref();
        facts.sts = sts_answer(case);
        facts.message = case.message;
        facts
    }
}

/// What MTA-STS says in this case: one value for each pair, because there are many cases.
fn sts_answer(case: &Case) -> &'static StsAnswer {
    static ANSWERS: LazyLock<Vec<(StsPolicy, StsAnswer)>> = LazyLock::new(|| {
        let answers = |policy: StsPolicy| {
            let listed = policy.answer(&[HOST, NEXT_HOP]);
            FAILURES.map(|trouble| (policy, StsAnswer { trouble, ..listed.clone() }))
        };
        STS.into_iter().flat_map(answers).collect()
    });
    let is_it = |(policy, answer): &&(StsPolicy, StsAnswer)| {
        (*policy, answer.trouble) == (case.sts, case.failure)
    };
    &ANSWERS.iter().find(is_it).expect("every pair").1
}

impl Judge {
    fn compare(&mut self, case: &Case, stage: &Stage) {
        self.cases += 1;
        asks(case, &mut self.asks);
        let planned = plan(&stage.facts(case));
        let planned = planned.map(|it| if case.broken { it.remembering_broken() } else { it });
        if let Some(difference) = self.difference(case, stage, planned) {
            // The first of each kind says enough.
            let kind = |text: &str| {
                text.split_once("Plan {").map_or(text.to_owned(), |(kind, _)| kind.to_owned())
            };
            if self.differences.len() < 12
                && self.differences.iter().all(|known| kind(known) != kind(&difference))
            {
                self.differences.push(format!("{difference}\n  {case:?}\n  {:?}", self.asks));
            }
        }
    }

    fn difference(
        &mut self,
        case: &Case,
        stage: &Stage,
        planned: Result<Plan, Refusal>,
    ) -> Option<String> {
        let asks = &self.asks;
        let stops = |ask: &Ask| match ask {
            Ask::Stop(reason) | Ask::Skip(reason) => Some(*reason),
            _ => None,
        };
        let plan = match planned {
            Err(refusal) => {
                let known = asks.iter().filter_map(stops).any(|reason| reason == refusal.reason());
                let ends = asks.iter().any(|ask| matches!(ask, Ask::Stop(_)));
                // RFC 8689, section 4.2.1: 5.7.10; but a failed look-up proves nothing.
                let lost = matches!(
                    refusal.reason(),
                    Reason::PolicyUnavailable
                        | Reason::StsLocalFault
                        | Reason::LookupLocalFault
                        | Reason::MxLookupFailed
                        | Reason::TlsaLookupFailed
                );
                let status = match (case.message, refusal.reason()) {
                    (MessageTls::Required, _) if !lost => "5.7.10",
                    (_, Reason::MxLookupFailed) => "4.4.3",
                    (_, Reason::StsLocalFault | Reason::LookupLocalFault) => "4.3.5",
                    _ => "4.7.5",
                };
                let said = (ends == refusal.ends_domain(), refusal.status().to_string() == status);
                return (!known || said != (true, true)).then(|| format!("refused: {refusal}"));
            }
            Ok(plan) => plan,
        };
        if asks.iter().any(|ask| stops(ask).is_some()) {
            return Some(format!("dialled: {plan:?}"));
        }
        let proves = |ask: &Ask| match ask {
            Ask::Prove(_) => true,
            Ask::Count(_) => needs_tls(asks) && would_defer(case),
            _ => false,
        };
        let floor = match asks.iter().any(proves) {
            true => Floor::Authenticated,
            false if needs_tls(asks) => Floor::Encrypted,
            false => Floor::Plaintext,
        };
        let attempt = match case.implicit || case.origin == Origin::ImplicitTlsSmart {
            true => Attempt::Implicit,
            false if is_silent(case, asks) => Attempt::Clear,
            false => Attempt::StartTls,
        };
        if (plan.floor(), plan.message(), plan.attempt()) != (floor, case.message, attempt) {
            let wanted = (floor, case.message, attempt);
            return Some(format!("{wanted:?} wanted: {plan:?}"));
        }
        // RFC 7672, section 8.1: the base domain wherever TLSA records are compared; RFC 6066,
        // section 3: no addresses.
        let compares = |ask: &Ask| {
            matches!(ask, Ask::Prove(Proof::Tlsa { .. }) | Ask::Note(Proof::Tlsa { .. }))
        };
        let sni = match attempt {
            Attempt::Clear => None,
            _ if asks.iter().any(compares) => Some(stage.base),
            _ => stage.host.domain().map(Domain::as_str),
        };
        if plan.sni().map(Domain::as_str) != sni {
            return Some(format!("SNI {sni:?} wanted: {plan:?}"));
        }
        let mut wanted: Vec<_> = asks
            .iter()
            .filter_map(|ask| match ask {
                Ask::Report(reason) => Some(*reason),
                _ => None,
            })
            .collect();
        let mut noted = plan.notes().to_vec();
        wanted.sort_unstable();
        noted.sort_unstable();
        if noted != wanted {
            return Some(format!("notes {wanted:?} wanted: {plan:?}"));
        }
        for trouble in TROUBLES {
            let theirs = with_trouble(&plan, trouble);
            let ours = in_trouble(case, asks, trouble);
            if theirs != ours {
                return Some(format!("{trouble:?}: {ours:?} wanted, {theirs:?}: {plan:?}"));
            }
        }
        if attempt == Attempt::Clear {
            return None;
        }
        let verdicts = match self.verdicts.get(plan.checks()) {
            Some(verdicts) => verdicts,
            None => {
                let judged = WORLD.shown.iter().map(|shown| {
                    let verdict = plan.judge(&shown.chain, &WORLD.trust, now());
                    (verdict.standing(), verdict.is_authenticated())
                });
                let judged = judged.collect();
                self.verdicts.entry(plan.checks().to_vec()).or_insert(judged)
            }
        };
        for (shown, &(standing, known)) in WORLD.shown.iter().zip(verdicts) {
            let theirs = match standing {
                Standing::Acceptable if known => Outcome::Authenticated,
                Standing::Acceptable => Outcome::Encrypted,
                Standing::NotTls => yielding(&plan, plan.yields().untrusted),
                Standing::Refused | Standing::LocalFault => Outcome::Refused,
            };
            let ours = rules::shown(case, asks, |proof| shown.proves(case, proof));
            if theirs != ours {
                return Some(format!("{}: {ours:?} wanted, {theirs:?}: {plan:?}", shown.what));
            }
        }
        None
    }

    fn end(self, at_least: usize) {
        assert!(
            self.differences.is_empty(),
            "of {} cases:\n{}",
            self.cases,
            self.differences.join("\n")
        );
        assert!(self.cases >= at_least, "{} cases", self.cases);
    }
}

fn yielding(plan: &Plan, rule: Yield) -> Outcome {
    match (plan.floor(), rule) {
        (Floor::Plaintext, Yield::Now) => Outcome::Clear,
        (Floor::Plaintext, Yield::Later) => Outcome::ClearLater,
        _ => Outcome::Refused,
    }
}

fn with_trouble(plan: &Plan, trouble: Trouble) -> Outcome {
    match (plan.attempt(), trouble) {
        (Attempt::Clear, _) => Outcome::Clear,
        (_, Trouble::NoStarttls) => yielding(plan, Yield::Now),
        (_, Trouble::RefusesForNow) => yielding(plan, plan.yields().refused),
        (_, Trouble::Broken) => yielding(plan, plan.yields().broken),
    }
}

const PLAIN: Case = Case {
    policy_known: true,
    posture: Posture::Opportunistic,
    require_tls: false,
    names: false,
    cn: CnFallback::IfNoDnsSan,
    yields: Yields { refused: Yield::Now, broken: Yield::Now, untrusted: Yield::Now },
    dane: DaneRule::AnyMx,
    sts_rule: StsRule::On,
    optional_tls: OptionalTls::Published,
    origin: Origin::Mx,
    mx: DnsStatus::Insecure,
    tlsa: Records::Absent,
    alias: false,
    expanded: false,
    sts: StsPolicy::None,
    failure: None,
    message: MessageTls::Default,
    implicit: false,
    demand: None,
    broken: false,
};

const MX: [DnsStatus; 6] = [
    DnsStatus::Secure,
    DnsStatus::Insecure,
    DnsStatus::Bogus,
    DnsStatus::Indeterminate,
    DnsStatus::Failed,
    DnsStatus::Local,
];
const ORIGINS: [Origin; 7] = [
    Origin::Mx,
    Origin::ImplicitMx,
    Origin::MxAddress,
    Origin::Smart,
    Origin::SecureSmart,
    Origin::ImplicitTlsSmart,
    Origin::Literal,
];
const RECORDS: [(Records, bool); 9] = [
    (Records::Absent, false),
    (Records::Ee, false),
    (Records::Ee, true),
    (Records::Ta, false),
    (Records::Ta, true),
    (Records::Both, true),
    (Records::Unusable, false),
    (Records::Unusable, true),
    (Records::Failed, false),
];
const STS: [StsPolicy; 5] = [
    StsPolicy::None,
    StsPolicy::Testing { mx_matches: true },
    StsPolicy::Testing { mx_matches: false },
    StsPolicy::Enforce { mx_matches: true },
    StsPolicy::Enforce { mx_matches: false },
];
const FAILURES: [Option<mta_sts::Trouble>; 5] =
    [None, Some(sts::UNREACHABLE), Some(sts::INVALID), Some(sts::CERTIFICATE), Some(sts::LOCAL)];
const MESSAGES: [MessageTls; 4] =
    [MessageTls::Default, MessageTls::Optional, MessageTls::Required, MessageTls::RequiredOfBounce];
const DEMANDS: [Option<Floor>; 3] = [None, Some(Floor::Encrypted), Some(Floor::Authenticated)];
const NOW_LATER_NEVER: [Yield; 3] = [Yield::Now, Yield::Later, Yield::Never];

/// Every posture, with and without the requirement of TLS, where that makes sense.
fn postures() -> impl Iterator<Item = Case> {
    Posture::ALL.into_iter().flat_map(|posture| {
        let strict = (posture != Posture::None).then_some(true);
        [Some(false), strict].into_iter().flatten().map(move |require_tls| Case {
            posture,
            require_tls,
            ..PLAIN
        })
    })
}

/// Every combination of what changes the stage: origin, TLSA records and demand.
fn staged(case: &Case, demands: &[Option<Floor>], mut each: impl FnMut(&Case, &Stage)) {
    for origin in ORIGINS {
        // An address has no records; records in the facts must not count.
        for (tlsa, alias) in RECORDS {
            for &demand in demands {
                let case = Case { origin, tlsa, alias, demand, ..*case };
                each(&case, &Stage::new(&case));
            }
        }
    }
}

#[test]
fn whatever_is_published_and_wanted() {
    let mut judge = Judge::default();
    for posture in postures() {
        staged(&posture, &DEMANDS, |case, stage| {
            for mx in &MX[..3] {
                for sts in STS {
                    for message in MESSAGES {
                        for (implicit, broken) in [(false, false), (false, true), (true, false)] {
                            let case = Case { mx: *mx, sts, message, implicit, broken, ..*case };
                            judge.compare(&case, stage);
                        }
                    }
                }
            }
        });
    }
    judge.end(500_000);
}

#[test]
fn under_every_knob() {
    let mut judge = Judge::default();
    for posture in postures() {
        for dane in [DaneRule::Off, DaneRule::SecureMx, DaneRule::AnyMx] {
            if (posture.posture, dane) == (Posture::DaneOnly, DaneRule::Off) {
                // No such connector.
                continue;
            }
            for sts_rule in [StsRule::Off, StsRule::UnlessDane, StsRule::On] {
                for optional_tls in [OptionalTls::Published, OptionalTls::Everything] {
                    let knobs = Case { dane, sts_rule, optional_tls, ..posture };
                    staged(&knobs, &[None], |case, stage| {
                        for mx in &MX[..2] {
                            for sts in STS {
                                for message in MESSAGES {
                                    judge.compare(&Case { mx: *mx, sts, message, ..*case }, stage);
                                }
                            }
                        }
                    });
                }
            }
        }
    }
    judge.end(500_000);
}

#[test]
fn with_other_names_and_fallback_rules() {
    let mut judge = Judge::default();
    for posture in postures() {
        for cn in [CnFallback::Never, CnFallback::IfNoDnsSan, CnFallback::Always] {
            for (names, expanded) in [(false, false), (false, true), (true, false), (true, true)] {
                if names && posture.posture.pkix().is_none() {
                    continue;
                }
                let knobs = Case { cn, names, expanded, ..posture };
                staged(&knobs, &[None, Some(Floor::Authenticated)], |case, stage| {
                    for (mx, message) in [
                        (DnsStatus::Secure, MessageTls::Default),
                        (DnsStatus::Secure, MessageTls::Required),
                        (DnsStatus::Insecure, MessageTls::Default),
                        (DnsStatus::Insecure, MessageTls::Optional),
                    ] {
                        judge.compare(&Case { mx, message, ..*case }, stage);
                    }
                });
            }
        }
        for refused in NOW_LATER_NEVER {
            for broken in NOW_LATER_NEVER {
                for untrusted in NOW_LATER_NEVER {
                    for optional_tls in [OptionalTls::Published, OptionalTls::Everything] {
                        let yields = Yields { refused, broken, untrusted };
                        for (tlsa, alias) in RECORDS {
                            for demand in [Some(Floor::Plaintext), Some(Floor::Encrypted)] {
                                let knobs =
                                    Case { yields, optional_tls, tlsa, alias, demand, ..posture };
                                let stage = Stage::new(&knobs);
                                for message in MESSAGES {
                                    for broken in [false, true] {
                                        for sts in [StsPolicy::None, STS[3]] {
                                            judge.compare(
                                                &Case { message, broken, sts, ..knobs },
                                                &stage,
                                            );
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    judge.end(100_000);
}

#[test]
fn when_look_ups_fail() {
    let mut judge = Judge::default();
    for posture in postures() {
        staged(&posture, &[None], |case, stage| {
            for mx in MX {
                for sts in STS {
                    for failure in FAILURES {
                        for message in
                            [MessageTls::Default, MessageTls::Optional, MessageTls::Required]
                        {
                            judge.compare(&Case { mx, sts, failure, message, ..*case }, stage);
                        }
                    }
                }
            }
        });
    }
    for message in MESSAGES {
        for origin in ORIGINS {
            for mx in MX {
                let case = Case { policy_known: false, message, origin, mx, ..PLAIN };
                judge.compare(&case, &Stage::new(&case));
            }
        }
    }
    judge.end(200_000);
}
