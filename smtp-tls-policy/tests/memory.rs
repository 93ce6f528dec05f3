//! The memory of broken peers, on virtual time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use smtp_tls_policy::pki::{Pin, RootsId};
use smtp_tls_policy::plan::{Attempt, Demand, Facts, HostOrigin, plan};
use smtp_tls_policy::plan::{Broken, BrokenPeers};
use smtp_tls_policy::rules::{Floor, OutboundConnector, Posture, Yield};
use smtp_tls_policy::{Host, Namespace, Reason};

const LIFETIME: Duration = Duration::from_secs(100);

fn host(index: u8) -> Host {
    Host::parse(&format!("mx{index}.example")).unwrap()
}

fn address(index: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, index], 25))
}

#[test]
fn failures_and_stalls_are_remembered_until_they_expire() {
    let start = Instant::now();
    for how in [Broken::Failed, Broken::Stalled] {
        let mut peers = BrokenPeers::new(LIFETIME, 10);
        peers.broke(&host(1), address(1), how, start);
        let recall =
            |seconds| peers.recall(&host(1), address(1), start + Duration::from_secs(seconds));
        assert_eq!((recall(0), recall(99), recall(100)), (Some(how), Some(how), None));
    }
    assert_eq!(Broken::Failed.reason(), Reason::HandshakeFailed);
    assert_eq!(Broken::Stalled.reason(), Reason::HandshakeTimeout);
}

#[test]
fn another_host_address_or_port_is_another_peer() {
    let now = Instant::now();
    let mut peers = BrokenPeers::new(LIFETIME, 10);
    peers.broke(&host(1), address(1), Broken::Failed, now);
    assert_eq!(peers.recall(&host(2), address(1), now), None);
    assert_eq!(peers.recall(&host(1), address(2), now), None);
    assert_eq!(peers.recall(&host(1), SocketAddr::new(address(1).ip(), 465), now), None);
    peers.worked(&host(2), address(1));
    assert_eq!(peers.len(), 1);
    // A success clears; a later failure counts from its own time, and says how.
    peers.worked(&host(1), address(1));
    assert!(peers.is_empty());
    peers.broke(&host(1), address(1), Broken::Failed, now);
    peers.broke(&host(1), address(1), Broken::Stalled, now + LIFETIME / 2);
    assert_eq!(peers.recall(&host(1), address(1), now + LIFETIME), Some(Broken::Stalled));
    assert_eq!(peers.len(), 1);
}

#[test]
fn the_oldest_gives_way() {
    let now = Instant::now();
    let mut peers = BrokenPeers::new(LIFETIME, 2);
    for index in [1, 2, 3] {
        peers.broke(
            &host(index),
            address(index),
            Broken::Failed,
            now + Duration::from_secs(index.into()),
        );
    }
    let held = [1, 2, 3].map(|index| {
        peers.recall(&host(index), address(index), now + Duration::from_secs(3)).is_some()
    });
    assert_eq!((held, peers.len()), ([false, true, true], 2));
    // Those whose time is over make room by themselves.
    peers.broke(&host(4), address(4), Broken::Failed, now + LIFETIME * 2);
    assert_eq!(peers.len(), 1);
    let mut nothing = BrokenPeers::new(LIFETIME, 0);
    nothing.broke(&host(1), address(1), Broken::Failed, now);
    assert!(nothing.is_empty());
}

/// From the failure to the plan: a stall as much as a failure leads to clear text at once where
/// clear text would be the end of it anyway, and to nothing else anywhere, until it is forgotten.
#[test]
fn what_is_remembered_reaches_the_plan_and_never_a_floor() {
    let start = Instant::now();
    let demands = [Demand { by: "message".into(), floor: Floor::Encrypted }];
    let (peer, mut clear) = ((host(1), address(1)), 0);
    for how in [Broken::Failed, Broken::Stalled] {
        let mut peers = BrokenPeers::new(LIFETIME, 10);
        peers.broke(&peer.0, peer.1, how, start);
        for posture in Posture::ALL {
            for (require_tls, implicit, demanded, broken) in (0..24).map(|bits| {
                let broken = [Yield::Now, Yield::Later, Yield::Never][bits / 8];
                (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0, broken)
            }) {
                let mut connector = OutboundConnector::new("c", vec![Namespace::Default], posture);
                connector.require_tls = require_tls;
                connector.yields.broken = broken;
                connector.roots = if posture == Posture::PrivateCa {
                    RootsId::new("own")
                } else {
                    RootsId::public()
                };
                connector.pins =
                    vec![Pin::parse(&format!("spki:sha256:{}", "ab".repeat(32))).unwrap()];
                let plan_at = |seconds| {
                    let mut facts = Facts::new(&connector, &peer.0, &peer.0, HostOrigin::Mx);
                    facts.implicit_tls = implicit;
                    facts.demands = if demanded { &demands } else { &[] };
                    let now = start + Duration::from_secs(seconds);
                    let is_broken = peers.recall(&peer.0, peer.1, now).is_some();
                    plan(&facts).map(|it| if is_broken { it.remembering_broken() } else { it })
                };
                // Posture dane-only refuses a host that has no records, broken or not.
                let (Ok(remembered), Ok(forgotten)) = (plan_at(99), plan_at(100)) else {
                    assert_eq!((posture, plan_at(99)), (Posture::DaneOnly, plan_at(100)));
                    continue;
                };
                let may_be_clear = forgotten.floor() == Floor::Plaintext
                    && forgotten.attempt() == Attempt::StartTls
                    && broken == Yield::Now;
                if may_be_clear {
                    clear += 1;
                    assert_eq!(remembered.attempt(), Attempt::Clear);
                    assert_eq!(remembered.clear_reason(), Some(Reason::RememberedBroken));
                    assert_eq!(remembered.floor(), forgotten.floor());
                } else {
                    assert_eq!(
                        remembered, forgotten,
                        "{posture} {require_tls} {implicit} {demanded} {broken:?}"
                    );
                }
            }
        }
    }
    // Opportunistic and Deterministic, without a further demand, by failure and by stall.
    assert_eq!(clear, 4);
}

/// Whatever comes, and in whatever order of times, the memory stays as large as it may be.
#[test]
fn a_flood_of_broken_peers_stays_within_bounds() {
    let start = Instant::now();
    let mut peers = BrokenPeers::new(LIFETIME, 100);
    for round in 0..50_000u32 {
        let name = Host::parse(&format!("mx{}.example", round % 7_001)).unwrap();
        let seconds = u64::from(round.wrapping_mul(2_654_435_761) % 150);
        peers.broke(
            &name,
            address((round % 250) as u8),
            Broken::Failed,
            start + Duration::from_secs(seconds),
        );
        assert!(peers.len() <= 100);
    }
    assert!(!peers.is_empty());
}

proptest! {
    /// Against the rule itself: the last failure, unless a success or its lifetime came after it.
    #[test]
    fn what_is_recalled_is_the_last_failure(steps in proptest::collection::vec((0..4u8, 0..3u8, 0..60u64), 0..60)) {
        let mut peers = BrokenPeers::new(LIFETIME, 4);
        let mut last: [Option<(Broken, Instant)>; 4] = [None; 4];
        let mut now = Instant::now();
        for (index, what, seconds) in steps {
            now += Duration::from_secs(seconds);
            let how = match what {
                0 => None,
                1 => Some(Broken::Failed),
                _ => Some(Broken::Stalled),
            };
            match how {
                Some(how) => peers.broke(&host(index), address(index), how, now),
                None => peers.worked(&host(index), address(index)),
            }
            last[usize::from(index)] = how.map(|how| (how, now));
            for (index, last) in (0..).zip(last) {
                let expected = last.filter(|(_, time)| now - *time < LIFETIME).map(|(how, _)| how);
                prop_assert_eq!(peers.recall(&host(index), address(index), now), expected);
            }
            prop_assert!(peers.len() <= 4);
        }
    }
}
