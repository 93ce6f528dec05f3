//! Sources raise and none lowers, in whatever order they come.

mod common;

use std::sync::LazyLock;

use common::*;
use pki_types::CertificateDer;
use proptest::prelude::*;
use smtp_tls_policy::*;

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
    /// Of the first certificate.
    tlsa: TlsaFact,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (public, private) = (Authority::new("Public"), Authority::new("Private"));
    let mut trust = Trust::new();
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
    let record = TlsaRecord { usage: 3, selector: 0, matching: 0, data: certificates[0].to_vec() };
    let tlsa = TlsaFact::Found(TlsaSet::new(Domain::parse("mx.example.net").unwrap(), &[record]));
    World { trust, certificates, tlsa }
});

fn outcome(plan: &Plan, peer: Peer) -> Outcome {
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
                Standing::Refused => Outcome::Refused,
            }
        }
    }
}

fn peers() -> impl Strategy<Value = Peer> {
    prop_oneof![
        Just(Peer::NoStartTls),
        Just(Peer::RefusesForNow),
        Just(Peer::Broken),
        (0..7usize).prop_map(Peer::Shows),
    ]
}

fn yields() -> impl Strategy<Value = Yields> {
    let one = || prop_oneof![Just(Yield::Now), Just(Yield::Later), Just(Yield::Never)];
    (one(), one(), one()).prop_map(|(refused, broken, untrusted)| Yields { refused, broken, untrusted })
}

fn connectors() -> impl Strategy<Value = OutboundConnector> {
    (proptest::sample::select(&Posture::ALL[..]), any::<bool>(), yields(), any::<bool>()).prop_map(
        |(posture, require_tls, yields, private)| {
            let mut connector = OutboundConnector::new("c", vec![Namespace::Default], posture);
            connector.require_tls = require_tls && posture != Posture::None;
            connector.yields = yields;
            if posture == Posture::Pinned {
                connector.pins = vec![Pin::of_certificate(&WORLD.certificates[1])];
            }
            if private || posture == Posture::PrivateCa {
                connector.roots = RootsId::new("private");
            }
            connector
        },
    )
}

fn demands() -> impl Strategy<Value = Vec<Demand>> {
    let floors = vec![Floor::Plaintext, Floor::Encrypted, Floor::Authenticated];
    let demand = (proptest::sample::select(floors), 0..3u8)
        .prop_map(|(floor, by)| Demand { by: format!("source {by}").into(), floor });
    proptest::collection::vec(demand, 0..4)
}

fn plan_with(connector: &OutboundConnector, demands: &[Demand], implicit_tls: bool) -> Plan {
    let (next_hop, host) = (Host::parse("example.com").unwrap(), Host::parse("mx.example.net").unwrap());
    let mut facts = Facts::new(connector, &next_hop, &host, HostOrigin::Mx);
    facts.demands = demands;
    facts.implicit_tls = implicit_tls;
    if connector.posture == Posture::DaneOnly {
        facts.dns = Dns { mx: DnsStatus::Secure, expanded_next_hop: None, tlsa: &WORLD.tlsa };
    }
    plan(&facts).unwrap()
}

proptest! {
    #[test]
    fn the_order_of_sources_does_not_matter(
        connector in connectors(),
        (given, shuffled) in demands().prop_flat_map(|d| (Just(d.clone()), Just(d).prop_shuffle())),
        implicit in any::<bool>(),
    ) {
        prop_assert_eq!(
            plan_with(&connector, &given, implicit),
            plan_with(&connector, &shuffled, implicit)
        );
    }

    #[test]
    fn a_further_source_never_weakens(
        connector in connectors(),
        before in demands(),
        more in demands(),
        implicit in any::<bool>(),
        peer in peers(),
    ) {
        // Clear text because nothing is tried becomes TLS, whatever the peer's certificate.
        let weak = plan_with(&connector, &before, implicit);
        let all = [before, more].concat();
        let strong = plan_with(&connector, &all, implicit);
        prop_assert!(outcome(&weak, peer) <= outcome(&strong, peer), "{weak:?} {strong:?}");
        prop_assert!(weak.floor() <= strong.floor());
    }

    #[test]
    fn requiring_tls_never_weakens(connector in connectors(), before in demands(), peer in peers()) {
        prop_assume!(connector.posture != Posture::None);
        let mut strict = connector.clone();
        strict.require_tls = true;
        let weak = plan_with(&connector, &before, false);
        let strong = plan_with(&strict, &before, false);
        prop_assert!(outcome(&weak, peer) <= outcome(&strong, peer));
    }

    #[test]
    fn plans_keep_their_promises(
        connector in connectors(),
        demands in demands(),
        implicit in any::<bool>(),
    ) {
        let plan = plan_with(&connector, &demands, implicit);
        let weights: Vec<_> = plan.checks().iter().map(Check::weight).collect();
        let has = |weight| weights.contains(&weight);
        prop_assert_eq!(plan.floor() == Floor::Authenticated, has(Weight::Refuse));
        if plan.floor() > Floor::Plaintext {
            prop_assert!(!has(Weight::NotTls));
            prop_assert_eq!(plan.yields(), Yields::NEVER);
            prop_assert!(plan.attempt() != Attempt::Clear);
        }
        if implicit {
            prop_assert_eq!(plan.attempt(), Attempt::Implicit);
            prop_assert!(plan.floor() >= Floor::Encrypted);
        }
    }
}
