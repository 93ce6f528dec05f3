//! The memory of broken peers, on virtual time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use smtp_tls_policy::memory::{Broken, BrokenPeers};
use smtp_tls_policy::{Host, Reason};

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
        let recall = |seconds| peers.recall(&host(1), address(1), start + Duration::from_secs(seconds));
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
        peers.broke(&host(index), address(index), Broken::Failed, now + Duration::from_secs(index.into()));
    }
    let held =
        [1, 2, 3].map(|index| peers.recall(&host(index), address(index), now + Duration::from_secs(3)).is_some());
    assert_eq!((held, peers.len()), ([false, true, true], 2));
    // Those whose time is over make room by themselves.
    peers.broke(&host(4), address(4), Broken::Failed, now + LIFETIME * 2);
    assert_eq!(peers.len(), 1);
    let mut nothing = BrokenPeers::new(LIFETIME, 0);
    nothing.broke(&host(1), address(1), Broken::Failed, now);
    assert!(nothing.is_empty());
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
