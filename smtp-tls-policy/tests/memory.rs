//! The memory of broken peers, on virtual time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pki_types::UnixTime;
use proptest::prelude::*;
use smtp_tls_policy::pki::{Pin, RootsId};
use smtp_tls_policy::plan::{Attempt, Demand, Facts, HostOrigin, plan};
use smtp_tls_policy::plan::{Broken, BrokenPeers, PeerKey};
use smtp_tls_policy::rules::{Floor, IdentityId, OutboundConnector, Posture, Yield};
use smtp_tls_policy::{Host, Namespace, Reason, UnreadableRecord, pki_types};

const LIFETIME: Duration = Duration::from_secs(100);

fn host(index: u8) -> Host {
    Host::parse(&format!("mx{index}.example")).unwrap()
}

fn address(index: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, index], 25))
}

fn peer(index: u8) -> PeerKey {
    PeerKey::new(host(index), address(index))
}

#[test]
fn failures_and_stalls_are_remembered_until_they_expire() {
    let start = Instant::now();
    for how in [Broken::Failed, Broken::Stalled] {
        let mut peers = BrokenPeers::new(LIFETIME, 10);
        peers.broke(&peer(1), how, start);
        let recall = |seconds| peers.recall(&peer(1), start + Duration::from_secs(seconds));
        assert_eq!((recall(0), recall(99), recall(100)), (Some(how), Some(how), None));
    }
    assert_eq!(Broken::Failed.reason(), Reason::HandshakeFailed);
    assert_eq!(Broken::Stalled.reason(), Reason::HandshakeTimeout);
}

#[test]
fn another_host_address_or_port_is_another_peer() {
    let now = Instant::now();
    let mut peers = BrokenPeers::new(LIFETIME, 10);
    peers.broke(&peer(1), Broken::Failed, now);
    assert_eq!(peers.recall(&PeerKey::new(host(2), address(1)), now), None);
    assert_eq!(peers.recall(&PeerKey::new(host(1), address(2)), now), None);
    assert_eq!(
        peers.recall(&PeerKey::new(host(1), SocketAddr::new(address(1).ip(), 465)), now),
        None
    );
    peers.worked(&PeerKey::new(host(2), address(1)));
    assert_eq!(peers.len(), 1);
    // A success clears; a later failure counts from its own time, and says how.
    peers.worked(&peer(1));
    assert!(peers.is_empty());
    peers.broke(&peer(1), Broken::Failed, now);
    peers.broke(&peer(1), Broken::Stalled, now + LIFETIME / 2);
    assert_eq!(peers.recall(&peer(1), now + LIFETIME), Some(Broken::Stalled));
    assert_eq!(peers.len(), 1);
}

#[test]
fn client_certificate_that_a_peer_refuses_is_remembered_for_itself_alone() {
    let now = Instant::now();
    let mut peers = BrokenPeers::new(LIFETIME, 10);
    let showing = |name| peer(1).with_identity(IdentityId::new(name));
    peers.broke(&showing("ours"), Broken::NeedsNoCertificate, now);
    assert_eq!(peers.recall(&showing("ours"), now), Some(Broken::NeedsNoCertificate));
    assert_eq!(peers.recall(&showing("theirs"), now), None);
    assert_eq!(peers.recall(&peer(1), now), None);
    // Success with another certificate, or without one, says nothing of it.
    peers.worked(&showing("theirs"));
    peers.worked(&peer(1));
    assert_eq!(peers.len(), 1);
    peers.worked(&showing("ours"));
    assert!(peers.is_empty());
}

#[test]
fn record_of_a_broken_peer_is_read_as_it_was_written() {
    let since = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
    let with = |name| peer(1).with_identity(IdentityId::new(name));
    let ways = [
        Broken::Failed,
        Broken::Stalled,
        Broken::NeedsPlainHello,
        Broken::NeedsNoCertificate,
        Broken::NoStartTls,
    ];
    for (how, key) in ways
        .into_iter()
        .flat_map(|how| [peer(1), with("ours"), with("two\nlines \u{e9}")].map(|key| (how, key)))
    {
        let record = how.to_record(&key, since);
        assert_eq!(Broken::from_record(&key, &record), Ok(Some((how, since))), "{key:?}");
        assert_eq!(Broken::from_record(&with("theirs"), &record), Ok(None));
        assert!(!Broken::is_newer(&record));
        // Cut off before the name of the certificate.
        let end = record.iter().rposition(|octet| octet.is_ascii_digit()).unwrap() + 1;
        for len in 0..end {
            let read = Broken::from_record(&key, &record[..len]);
            assert_eq!(read, Err(UnreadableRecord::Damaged), "{len}");
        }
    }
}

#[test]
fn damaged_record_of_a_broken_peer_is_told_from_one_of_a_later_version() {
    use UnreadableRecord::{Damaged, Newer};
    for (record, expected) in [
        (&b"smtp-broken-peer 2\nanything"[..], Newer),
        (b"smtp-broken-peer 4294967295\n\xff", Newer),
        (b"smtp-broken-peer 1\nneeds-tls-1.2 9\n", Damaged),
        (b"smtp-broken-peer 1\nneeds-early-data 9\n", Newer),
        (b"smtp-broken-peer 1\nneeds-early-data x\n", Damaged),
        (b"smtp-broken-peer 1\nfailed -9\n", Damaged),
        (b"smtp-broken-peer 1\nfailed 18446744073709551616\n", Damaged),
        (b"smtp-broken-peer 1\nfailed 9", Damaged),
        (b"smtp-broken-peer 1\n\xff 9\n", Damaged),
        (b"smtp-broken-peer 0\nfailed 9\n", Damaged),
        (b"smtp-broken-peer +1\nfailed 9\n", Damaged),
        (b"smtp-broken-peer 99999999999\nfailed 9\n", Damaged),
        (b"smtp-broken-peer \nfailed 9\n", Damaged),
        (b"smtp-sts-policy 2\nfailed 9\n", Damaged),
        (b"failed 9", Damaged),
        (b"", Damaged),
    ] {
        let shown = String::from_utf8_lossy(record);
        assert_eq!(Broken::from_record(&peer(1), record), Err(expected), "{shown}");
        assert_eq!(Broken::is_newer(record), expected == Newer, "{shown}");
    }
}

#[test]
fn the_oldest_gives_way() {
    let now = Instant::now();
    let mut peers = BrokenPeers::new(LIFETIME, 2);
    for index in [1, 2, 3] {
        peers.broke(&peer(index), Broken::Failed, now + Duration::from_secs(index.into()));
    }
    let held =
        [1, 2, 3].map(|index| peers.recall(&peer(index), now + Duration::from_secs(3)).is_some());
    assert_eq!((held, peers.len()), ([false, true, true], 2));
    // Those whose time is over make room by themselves.
    peers.broke(&peer(4), Broken::Failed, now + LIFETIME * 2);
    assert_eq!(peers.len(), 1);
    let mut nothing = BrokenPeers::new(LIFETIME, 0);
    nothing.broke(&peer(1), Broken::Failed, now);
    assert!(nothing.is_empty());
}

/// From the failure to the plan: a stall as much as a failure leads to clear text at once where
/// clear text would be the end of it anyway, and to nothing else anywhere, until it is forgotten.
#[test]
fn what_is_remembered_reaches_the_plan_and_never_a_floor() {
    let start = Instant::now();
    let demands = [Demand { by: "message".into(), floor: Floor::Encrypted }];
    let (peer, mut clear) = (peer(1), 0);
    for how in [Broken::Failed, Broken::Stalled] {
        let mut peers = BrokenPeers::new(LIFETIME, 10);
        peers.broke(&peer, how, start);
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
                    let mut facts = Facts::new(&connector, &peer.host, &peer.host, HostOrigin::Mx);
                    facts.implicit_tls = implicit;
                    facts.demands = if demanded { &demands } else { &[] };
                    let now = start + Duration::from_secs(seconds);
                    let is_broken = peers.recall(&peer, now).is_some();
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
            &PeerKey::new(name, address((round % 250) as u8)),
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
                Some(how) => peers.broke(&peer(index), how, now),
                None => peers.worked(&peer(index)),
            }
            last[usize::from(index)] = how.map(|how| (how, now));
            for (index, last) in (0..).zip(last) {
                let expected = last.filter(|(_, time)| now - *time < LIFETIME).map(|(how, _)| how);
                prop_assert_eq!(peers.recall(&peer(index), now), expected);
            }
            prop_assert!(peers.len() <= 4);
        }
    }
}
