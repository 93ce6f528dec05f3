//! Sources raise and none lowers, in whatever order they come.
//!
//! What is raised is what becomes of the mail: clear text, TLS with anybody, TLS with a peer that
//! is known, no mail. `second_formulation` says which of these it must be; here it only must not
//! sink.

mod common;

use std::sync::LazyLock;

use common::sts::StsPolicy;
use common::*;
use pki_types::CertificateDer;
use proptest::prelude::*;
use proptest::sample::select;
use smtp_tls_policy::inquiry::{Answer, Ask, DnsAnswer, DomainInquiry};
use smtp_tls_policy::judge::Standing;
use smtp_tls_policy::pki::{Pin, Reference, RootsId, TlsaRecord, TlsaSet, Trust};
use smtp_tls_policy::plan::{
    Attempt, Check, Demand, DnsStatus, Facts, HostOrigin, MessageTls, Plan, Refusal, TlsaFact, plan,
};
use smtp_tls_policy::rules::{
    DaneRule, Floor, OptionalTls, OutboundConnector, Posture, SmartHost, StsRule, Weight, Yield,
    Yields,
};
use smtp_tls_policy::sts::{StsAnswer, Trouble};
use smtp_tls_policy::{Domain, Host, Namespace, Reason, Status, pki_types};

/// What comes of a hop, from the weakest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Clear,
    Encrypted,
    Authenticated,
    Refused,
}

/// What the peer does.
#[derive(Clone, Copy, Debug)]
enum Peer {
    NoStartTls,
    RefusesForNow,
    Broken,
    Shows(usize),
}

struct World {
    trust: Trust,
    certificates: Vec<CertificateDer<'static>>,
    /// DANE-EE(3) for the first and the sixth certificate, DANE-TA(2) for the private authority.
    records: Vec<TlsaRecord>,
}

const CERTIFICATES: usize = 7;

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (public, private) = (Authority::new("Public"), Authority::new("Private"));
    let mut trust = Trust::empty();
    for (id, root) in [(RootsId::public(), &public), (RootsId::new("private"), &private)] {
        trust.add_root_der(&id, &root.der).unwrap();
    }
    let good = leaf_params(&["mx.example.net"]);
    let mut expired = good.clone();
    expired.not_after = days(-1);
    let both = leaf_params(&["mx.example.net", "example.com"]);
    let certificates = vec![
        public.issue(&good).der,
        private.issue(&good).der,
        public.issue(&expired).der,
        public.issue(&leaf_params(&["example.com"])).der,
        public.issue(&both).der,
        Authority::with(good).der,
        version_1().der,
    ];
    assert_eq!(certificates.len(), CERTIFICATES);
    let record = |usage, data: &CertificateDer<'_>| TlsaRecord {
        usage,
        selector: 0,
        matching: 0,
        data: data.to_vec(),
    };
    let records =
        vec![record(3, &certificates[0]), record(3, &certificates[5]), record(2, &private.der)];
    World { trust, certificates, records }
});

/// What the search for TLSA records gave.
#[derive(Clone, Debug)]
enum Records {
    Absent,
    /// These, in this order.
    Usable(Vec<TlsaRecord>),
    Unusable,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    ByMx(DnsStatus),
    SmartHost { secure: bool },
}

/// All that is known before dialling.
#[derive(Clone, Debug)]
struct Known {
    connector: Option<OutboundConnector>,
    found: Found,
    records: Records,
    sts: StsPolicy,
    trouble: Option<Trouble>,
    message: MessageTls,
    demands: Vec<Demand>,
    implicit: bool,
    broken: bool,
}

impl Known {
    fn plan(&self) -> Result<Plan, Refusal> {
        let (next_hop, host) =
            (Host::parse("example.com").unwrap(), Host::parse("mx.example.net").unwrap());
        let (mx, origin) = match self.found {
            Found::ByMx(mx) => (mx, HostOrigin::Mx),
            Found::SmartHost { .. } => (DnsStatus::Insecure, HostOrigin::SmartHost),
        };
        let base = Domain::parse("mx.example.net").unwrap();
        let unusable = [TlsaRecord::parse("1 1 1 00").unwrap()];
        let tlsa = match &self.records {
            Records::Absent => TlsaFact::Absent,
            Records::Usable(records) => TlsaFact::Found(TlsaSet::new(base, records)),
            Records::Unusable => TlsaFact::Found(TlsaSet::new(base, &unusable)),
            Records::Failed => TlsaFact::Failed,
        };
        let mut facts = match &self.connector {
            Some(connector) => Facts::new(connector, &next_hop, &host, origin),
            None => Facts::policy_unavailable(&next_hop, &host, origin),
        };
        (facts.mx, facts.tlsa) = (mx, &tlsa);
        let sts = StsAnswer { trouble: self.trouble, ..self.sts.answer(&["mx.example.net"]) };
        (facts.sts, facts.message) = (&sts, self.message);
        facts.demands = &self.demands;
        facts.implicit_tls = self.implicit;
        plan(&facts).map(|plan| if self.broken { plan.remembering_broken() } else { plan })
    }

    fn outcome(&self, peer: Peer) -> Outcome {
        let Ok(plan) = self.plan() else {
            return Outcome::Refused;
        };
        let clear = |rule: Yield| match (plan.floor(), rule) {
            // On this run of the queue or on a later one: clear text is what it comes to.
            (Floor::Plaintext, Yield::Now | Yield::Later) => Outcome::Clear,
            _ => Outcome::Refused,
        };
        match (plan.attempt(), peer) {
            (Attempt::Clear, _) => Outcome::Clear,
            (_, Peer::NoStartTls) => clear(Yield::Now),
            (_, Peer::RefusesForNow) => clear(plan.yields().refused),
            (_, Peer::Broken) => clear(plan.yields().broken),
            (_, Peer::Shows(certificate)) => {
                let chain = [WORLD.certificates[certificate].clone()];
                let verdict = plan.judge(&chain, &WORLD.trust, now());
                match verdict.standing() {
                    Standing::Acceptable if verdict.is_authenticated() => Outcome::Authenticated,
                    Standing::Acceptable => Outcome::Encrypted,
                    Standing::NotTls => clear(plan.yields().untrusted),
                    Standing::Refused | Standing::LocalFault => Outcome::Refused,
                }
            }
        }
    }

    /// The plan in all that has consequences.
    fn consequences(&self) -> Result<Plan, (Status, bool)> {
        self.plan().map_err(|refusal| (refusal.status(), refusal.ends_domain()))
    }

    fn posture(&self) -> Posture {
        self.connector.as_ref().map_or(Posture::None, |connector| connector.posture)
    }

    fn tls_is_optional(&self) -> bool {
        self.message == MessageTls::Optional
    }
}

/// One more thing that is known.
#[derive(Clone, Debug)]
enum Further {
    Demand(Floor),
    ImplicitTls,
    TlsRequiredByConnector,
    Pinned,
    Records(Records),
    Sts(StsPolicy),
    StsFailure,
    Requiretls,
    RequiretlsOfBounce,
    MxLookupFailed,
    PolicyUnavailable,
    DaneRule(DaneRule),
    StsRule(StsRule),
    Yields(Yields),
}

impl Further {
    /// What is known then; `None` where this adds nothing, or is what another source asked for.
    fn to(&self, known: &Known) -> Option<Known> {
        let mut more = known.clone();
        let is_from_mx = matches!(known.found, Found::ByMx(_));
        match self {
            Self::Demand(floor) => {
                more.demands.push(Demand { by: "further".into(), floor: *floor })
            }
            Self::ImplicitTls => more.implicit = true,
            Self::TlsRequiredByConnector => {
                let connector = more.connector.as_mut()?;
                if connector.posture == Posture::None {
                    return None;
                }
                connector.require_tls = true;
            }
            // From a posture that knows no certificate to one that knows this one only; a demand
            // for a known peer takes the connector's check, whichever that is.
            Self::Pinned
                if known.demands.iter().any(|demand| demand.floor == Floor::Authenticated) =>
            {
                return None;
            }
            Self::Pinned => {
                let connector = more.connector.as_mut()?;
                if !matches!(connector.posture, Posture::Opportunistic | Posture::Encrypt) {
                    return None;
                }
                connector.posture = Posture::Pinned;
                connector.pins = vec![Pin::of_certificate(&WORLD.certificates[1])];
            }
            Self::Records(records) => {
                // RFC 8689, section 4.2.1: REQUIRETLS takes DANE in place of PKIX; dane-only asks
                // for the records; and a knob lets them replace MTA-STS.
                let wanted =
                    known.message == MessageTls::Required || known.posture() == Posture::DaneOnly;
                let instead = more.connector.as_ref()?.sts == StsRule::UnlessDane;
                if wanted || instead || !matches!(known.records, Records::Absent) {
                    return None;
                }
                more.records = records.clone();
            }
            Self::Sts(policy) => {
                // RFC 8689, section 4.2.1: the policy vouches for the host.
                if known.sts != StsPolicy::None || known.message == MessageTls::Required {
                    return None;
                }
                more.sts = *policy;
            }
            Self::StsFailure => more.trouble = Some(sts::UNREACHABLE),
            Self::Requiretls | Self::RequiretlsOfBounce if known.message != MessageTls::Default => {
                return None;
            }
            Self::Requiretls => more.message = MessageTls::Required,
            Self::RequiretlsOfBounce => more.message = MessageTls::RequiredOfBounce,
            Self::MxLookupFailed if !is_from_mx => return None,
            Self::MxLookupFailed => more.found = Found::ByMx(DnsStatus::Bogus),
            Self::PolicyUnavailable => more.connector = None,
            Self::DaneRule(rule) => {
                let wanted =
                    known.message == MessageTls::Required || known.posture() == Posture::DaneOnly;
                let connector = more.connector.as_mut()?;
                if wanted || *rule < connector.dane || connector.sts == StsRule::UnlessDane {
                    return None;
                }
                connector.dane = *rule;
            }
            Self::StsRule(rule) => {
                let connector = more.connector.as_mut()?;
                if *rule < connector.sts || known.message == MessageTls::Required {
                    return None;
                }
                connector.sts = *rule;
            }
            Self::Yields(yields) => {
                let connector = more.connector.as_mut()?;
                let was = connector.yields;
                connector.yields = Yields {
                    refused: was.refused.max(yields.refused),
                    broken: was.broken.max(yields.broken),
                    untrusted: was.untrusted.max(yields.untrusted),
                };
            }
        }
        Some(more)
    }
}

fn peers() -> Vec<Peer> {
    let mut peers = vec![Peer::NoStartTls, Peer::RefusesForNow, Peer::Broken];
    peers.extend((0..CERTIFICATES).map(Peer::Shows));
    peers
}

fn yields() -> impl Strategy<Value = Yields> {
    let one = || select(&[Yield::Now, Yield::Later, Yield::Never][..]);
    (one(), one(), one()).prop_map(|(refused, broken, untrusted)| Yields {
        refused,
        broken,
        untrusted,
    })
}

fn connectors() -> impl Strategy<Value = OutboundConnector> {
    let dane = select(&[DaneRule::Off, DaneRule::SecureMx, DaneRule::AnyMx][..]);
    let sts = select(&[StsRule::Off, StsRule::UnlessDane, StsRule::On][..]);
    let optional = select(&[OptionalTls::Published, OptionalTls::Everything][..]);
    let base = (select(&Posture::ALL[..]), any::<bool>(), yields(), any::<bool>());
    (base, dane, sts, optional).prop_map(
        |((posture, require_tls, yields, private), dane, sts, optional_tls)| {
            let mut connector = OutboundConnector::new("c", vec![Namespace::Default], posture);
            connector.require_tls = require_tls && posture != Posture::None;
            connector.yields = yields;
            (connector.sts, connector.optional_tls) = (sts, optional_tls);
            connector.dane =
                if posture == Posture::DaneOnly { dane.max(DaneRule::SecureMx) } else { dane };
            if posture == Posture::Pinned {
                connector.pins = vec![Pin::of_certificate(&WORLD.certificates[1])];
            }
            if (private && posture.pkix().is_some()) || posture == Posture::PrivateCa {
                connector.roots = RootsId::new("private");
            }
            connector
        },
    )
}

fn records() -> impl Strategy<Value = Records> {
    prop_oneof![
        Just(Records::Absent),
        (1..8u8).prop_map(|mask| {
            let chosen = WORLD.records.iter().enumerate().filter(|(at, _)| mask & (1 << at) != 0);
            Records::Usable(chosen.map(|(_, record)| record.clone()).collect())
        }),
        Just(Records::Unusable),
        Just(Records::Failed),
    ]
}

fn sts() -> impl Strategy<Value = StsPolicy> {
    let policy = any::<(bool, bool)>().prop_map(|(enforce, mx_matches)| match enforce {
        true => StsPolicy::Enforce { mx_matches },
        false => StsPolicy::Testing { mx_matches },
    });
    prop_oneof![Just(StsPolicy::None), policy]
}

fn floors() -> impl Strategy<Value = Floor> {
    select(&[Floor::Plaintext, Floor::Encrypted, Floor::Authenticated][..])
}

fn demands() -> impl Strategy<Value = Vec<Demand>> {
    let demand = (floors(), 0..3u8)
        .prop_map(|(floor, by)| Demand { by: format!("source {by}").into(), floor });
    proptest::collection::vec(demand, 0..4)
}

fn known() -> impl Strategy<Value = Known> {
    let found = select(
        &[
            Found::ByMx(DnsStatus::Secure),
            Found::ByMx(DnsStatus::Insecure),
            Found::SmartHost { secure: true },
            Found::SmartHost { secure: false },
        ][..],
    );
    let message = select(
        &[
            MessageTls::Default,
            MessageTls::Optional,
            MessageTls::Required,
            MessageTls::RequiredOfBounce,
        ][..],
    );
    let others = (demands(), any::<bool>(), any::<bool>(), any::<bool>());
    (connectors(), found, records(), sts(), message, others).prop_map(
        |(mut connector, found, records, sts, message, (demands, implicit, broken, failed))| {
            if let Found::SmartHost { secure } = found {
                let mut smart_host = SmartHost::new(Host::parse("mx.example.net").unwrap());
                smart_host.secure = secure;
                connector.smart_host = Some(smart_host);
            }
            Known {
                connector: Some(connector),
                found,
                records,
                sts,
                trouble: failed.then_some(sts::INVALID),
                message,
                demands,
                implicit,
                broken,
            }
        },
    )
}

fn further() -> impl Strategy<Value = Further> {
    prop_oneof![
        floors().prop_map(Further::Demand),
        Just(Further::ImplicitTls),
        Just(Further::TlsRequiredByConnector),
        Just(Further::Pinned),
        records().prop_map(Further::Records),
        sts().prop_map(Further::Sts),
        Just(Further::StsFailure),
        Just(Further::Requiretls),
        Just(Further::RequiretlsOfBounce),
        Just(Further::MxLookupFailed),
        Just(Further::PolicyUnavailable),
        select(&[DaneRule::SecureMx, DaneRule::AnyMx][..]).prop_map(Further::DaneRule),
        select(&[StsRule::UnlessDane, StsRule::On][..]).prop_map(Further::StsRule),
        yields().prop_map(Further::Yields),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_order_of_sources_does_not_matter(known in known(), one in further(), other in further()) {
        let there = one.to(&known).and_then(|known| other.to(&known));
        let back = other.to(&known).and_then(|known| one.to(&known));
        if let (Some(there), Some(back)) = (there, back) {
            prop_assert_eq!(there.consequences(), back.consequences());
        }
    }

    #[test]
    fn the_order_within_a_source_does_not_matter(
        (known, demands) in known().prop_flat_map(|known| {
            let demands = known.demands.clone();
            (Just(known), Just(demands).prop_shuffle())
        }),
        (given, shuffled) in (Just(WORLD.records.clone()), Just(WORLD.records.clone()).prop_shuffle()),
        pins in Just(vec![0, 1, 5]).prop_shuffle(),
        names in Just(vec!["a.example", ".example.com", "mx.example.net"]).prop_shuffle(),
    ) {
        let arranged = |demands: &[Demand], records: &[TlsaRecord], pins: &[usize], names: &[&str]| {
            let mut known = known.clone();
            known.demands = demands.to_vec();
            known.records = Records::Usable(records.to_vec());
            let connector = known.connector.as_mut().unwrap();
            if connector.posture == Posture::Pinned {
                connector.pins = pins.iter().map(|pin| Pin::of_certificate(&WORLD.certificates[*pin])).collect();
            }
            if connector.posture.pkix().is_some() {
                connector.names = names.iter().map(|name| Reference::parse(name).unwrap()).collect();
            }
            known.consequences()
        };
        let usual = arranged(&known.demands, &given, &[0, 1, 5], &["a.example", ".example.com", "mx.example.net"]);
        prop_assert_eq!(usual, arranged(&demands, &shuffled, &pins, &names));
    }

    #[test]
    fn a_further_source_never_weakens(known in known(), further in further()) {
        if let Some(more) = further.to(&known) {
            for peer in peers() {
                let (before, after) = (known.outcome(peer), more.outcome(peer));
                prop_assert!(before <= after, "{peer:?}: {before:?} and then {after:?}: {:?}", more.plan());
            }
            if let (Ok(before), Ok(after)) = (known.plan(), more.plan()) {
                prop_assert!(before.floor() <= after.floor());
            }
        }
    }

    #[test]
    fn a_source_counts_once(known in known(), further in further()) {
        let once = further.to(&known);
        if let Some(twice) = once.as_ref().and_then(|once| further.to(once)) {
            prop_assert_eq!(once.unwrap().consequences(), twice.consequences());
        }
    }

    /// RFC 8689, section 4.2.2, and the rules: `TLS-Required: No` is the one source that lowers,
    /// and it lowers what is published.
    #[test]
    fn tls_required_no_lowers_what_is_published_and_nothing_else(known in known()) {
        let mut default = known.clone();
        default.message = MessageTls::Default;
        let mut optional = known.clone();
        optional.message = MessageTls::Optional;
        // The knob that lowers more is tested below.
        optional.connector.as_mut().unwrap().optional_tls = OptionalTls::Published;
        let mut unpublished = default.clone();
        (unpublished.sts, unpublished.trouble) = (StsPolicy::None, None);
        // Under dane-only the records are the administrator's demand.
        if known.posture() != Posture::DaneOnly {
            unpublished.records = Records::Absent;
        }
        for peer in peers() {
            let (with, without) = (default.outcome(peer), unpublished.outcome(peer));
            let lowered = optional.outcome(peer);
            prop_assert!(without <= lowered, "{peer:?}: {lowered:?} below the administrator's {without:?}");
            prop_assert!(lowered <= with.max(Outcome::Authenticated), "{peer:?}: {lowered:?} above {with:?}");
            // Whether mail goes at all is the administrator's.
            prop_assert_eq!(lowered == Outcome::Refused, without == Outcome::Refused, "{:?}", peer);
        }
        if let Ok(plan) = optional.plan() {
            prop_assert_eq!(plan.notes(), []);
            if let Ok(unpublished) = unpublished.plan() {
                prop_assert_eq!(plan.floor(), unpublished.floor());
                prop_assert_eq!(plan.yields(), unpublished.yields());
            }
        }
    }

    #[test]
    fn the_knob_lets_tls_required_no_lower_the_connector_but_no_further_source(known in known(), floor in floors()) {
        let mut optional = known.clone();
        optional.message = MessageTls::Optional;
        optional.connector.as_mut().unwrap().optional_tls = OptionalTls::Everything;
        optional.demands.clear();
        optional.implicit = false;
        let lookups = !matches!(optional.found, Found::ByMx(status) if status.is_failure());
        prop_assert!(lookups);
        prop_assert_eq!(optional.plan().unwrap().floor(), Floor::Plaintext);
        optional.demands.push(Demand { by: "message".into(), floor });
        prop_assert_eq!(optional.plan().unwrap().floor(), floor);
        optional.implicit = true;
        prop_assert_eq!(optional.plan().unwrap().floor(), floor.max(Floor::Encrypted));
    }

    /// Memory goes clear at once where clear text would have followed, and touches nothing above.
    #[test]
    fn memory_never_touches_a_floor(known in known()) {
        let (mut fresh, mut broken) = (known.clone(), known);
        (fresh.broken, broken.broken) = (false, true);
        match (fresh.plan(), broken.plan()) {
            (Ok(fresh), Ok(broken)) if fresh.floor() > Floor::Plaintext => prop_assert_eq!(fresh, broken),
            (Ok(fresh), Ok(broken)) => prop_assert!(
                broken == fresh || (broken.attempt() == Attempt::Clear && fresh.yields().broken == Yield::Now)
            ),
            (fresh, broken) => prop_assert_eq!(fresh, broken),
        }
    }

    #[test]
    fn plans_keep_their_promises(known in known()) {
        let Ok(plan) = known.plan() else { return Ok(()) };
        let weights: Vec<_> = plan.checks().iter().map(Check::weight).collect();
        let has = |weight| weights.contains(&weight);
        prop_assert_eq!(plan.floor() == Floor::Authenticated, has(Weight::Refuse));
        if plan.floor() > Floor::Plaintext {
            prop_assert!(!has(Weight::NotTls));
            prop_assert_eq!(plan.yields(), Yields::NEVER);
            prop_assert!(plan.attempt() != Attempt::Clear);
        }
        if known.implicit {
            prop_assert_eq!(plan.attempt(), Attempt::Implicit);
            prop_assert!(plan.floor() >= Floor::Encrypted);
        }
        prop_assert_eq!(plan.message(), known.message);
        if known.tls_is_optional() {
            let dane = plan.checks().iter().filter(|check| matches!(check, Check::Dane { .. }));
            let binding = dane.filter(|check| check.weight() == Weight::Refuse).count();
            prop_assert!(binding == 0 || known.posture() == Posture::DaneOnly);
        }
    }
}

/// Found by the second formulation: an address in place of a name in an MX record, which a forger
/// may have put there, went past a policy in mode `enforce`, whose patterns no address matches (RFC
/// 8461, section 4.1 and 5).
#[test]
fn an_address_in_an_mx_record_is_not_in_the_policy() {
    let connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Opportunistic);
    let (next_hop, host) = (Host::parse("example.com").unwrap(), Host::parse("192.0.2.1").unwrap());
    let mut facts = Facts::new(&connector, &next_hop, &host, HostOrigin::Mx);
    let enforce = StsPolicy::Enforce { mx_matches: true }.answer(&["mx.example.net"]);
    facts.sts = &enforce;
    assert_eq!(plan(&facts).unwrap_err().reason(), Reason::StsMxMismatch);
    let testing = StsPolicy::Testing { mx_matches: true }.answer(&["mx.example.net"]);
    facts.sts = &testing;
    assert_eq!(plan(&facts).unwrap().notes(), [Reason::StsMxMismatch]);
    facts.message = MessageTls::Required;
    assert_eq!(plan(&facts).unwrap_err().reason(), Reason::RequiretlsMxInsecure);
}

/// Found by the second formulation: where the host is an alias, DANE replaces the certificate
/// check of MTA-STS, for both cannot be had with one server name. The policy's list has nothing to
/// do with names of servers, and holds (RFC 8461, section 5: "MUST NOT deliver the message to hosts
/// that fail MX matching").
#[test]
fn dane_of_an_alias_does_not_replace_the_list_of_the_policy() {
    let connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Opportunistic);
    let (next_hop, host) =
        (Host::parse("example.com").unwrap(), Host::parse("mx.example.net").unwrap());
    let base = Domain::parse("host.elsewhere.example").unwrap();
    let tlsa = TlsaFact::Found(TlsaSet::new(base, &WORLD.records));
    let mut facts = Facts::new(&connector, &next_hop, &host, HostOrigin::Mx);
    (facts.mx, facts.tlsa) = (DnsStatus::Secure, &tlsa);
    let not_listed = StsPolicy::Enforce { mx_matches: false }.answer(&[]);
    facts.sts = &not_listed;
    assert_eq!(plan(&facts).unwrap_err().reason(), Reason::StsMxMismatch);
    let listed = StsPolicy::Enforce { mx_matches: true }.answer(&["mx.example.net"]);
    facts.sts = &listed;
    let plan = plan(&facts).unwrap();
    let refusing = plan.checks().iter().filter(|check| check.weight() == Weight::Refuse);
    assert!(refusing.eq(plan.checks().iter().filter(|check| matches!(check, Check::Dane { .. }))));
}

/// Under posture `none` nothing published counts; but REQUIRETLS needs MTA-STS to vouch for a host
/// without DNSSEC (RFC 8689, section 4.2.1).
#[test]
fn requiretls_asks_for_the_mta_sts_policy_under_posture_none() {
    let connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::None);
    let next_hop = Host::parse("example.com").unwrap();
    let asks_for_sts = |message| {
        let mut inquiry = DomainInquiry::new(&connector, &next_hop).with_message(message);
        inquiry.answer(Answer::Mx(DnsAnswer::none(DnsStatus::Insecure)));
        matches!(inquiry.ask(), Some(Ask::Sts(_)))
    };
    assert!(!asks_for_sts(MessageTls::Default));
    assert!(asks_for_sts(MessageTls::Required));

    let host = Host::parse("mx.example.net").unwrap();
    let mut facts = Facts::new(&connector, &next_hop, &host, HostOrigin::Mx);
    facts.message = MessageTls::Required;
    let vouches = StsPolicy::Enforce { mx_matches: true }.answer(&["mx.example.net"]);
    facts.sts = &vouches;
    assert_eq!(plan(&facts).unwrap().floor(), Floor::Authenticated);
}
