//! Memory of broken peers: which of them failed in a handshake a short while ago, so that an
//! attempt whose floor is plaintext anyway need not fail there again; and which of them need the
//! plainest ClientHello.
//!
//! It cannot lower anything: it holds no plan and makes none. All that leaves it is one fact, *this
//! peer's TLS was broken a while ago*, and what that fact may do is for
//! [`plan`](crate::plan::plan()) to say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::domain::Host;
use crate::reason::Reason;

/// How long a broken peer is remembered, unless the caller says otherwise. Our own choice: as long
/// as a common queue waits at most between its first runs, and short enough that a peer repaired
/// gets TLS again within the hour.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);
/// How many broken peers are remembered, unless the caller says otherwise. Our own choice.
pub const MAX_PEERS: usize = 10_000;

/// How TLS with a peer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// The handshake ended with an alert, a protocol error or the end of the stream.
    Failed,
    /// The handshake did not end in time. That counts as much.
    Stalled,
    /// The handshake failed or stalled, and succeeded with the plainest ClientHello.
    NeedsPlainHello,
    /// The handshake failed or stalled with a client certificate, and succeeded with the plainest
    /// ClientHello and without it. That says nothing about connectors without a certificate.
    NeedsNoCertificate,
    /// STARTTLS was not offered, or was refused. That is no reason for clear text: STARTTLS is used
    /// wherever it is offered. The host's other addresses are tried first, and do not wait for it.
    NoStartTls,
}

impl Broken {
    /// The reason of the attempt that failed.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Failed | Self::NeedsPlainHello | Self::NeedsNoCertificate => {
                Reason::HandshakeFailed
            }
            Self::Stalled => Reason::HandshakeTimeout,
            Self::NoStartTls => Reason::StarttlsNotOffered,
        }
    }
}

/// The broken peers, each a host at one address and port. Bounded: where there is no room the
/// oldest is forgotten. Equal calls give equal answers; time is an argument.
///
/// ```
/// use std::time::{Duration, Instant};
/// use smtp_tls_policy::Host;
/// use smtp_tls_policy::plan::{Broken, BrokenPeers};
///
/// let mut peers = BrokenPeers::default();
/// let (host, address, now) = (Host::parse("mx.example")?, "192.0.2.1:25".parse()?, Instant::now());
/// peers.broke(&host, address, Broken::Stalled, now);
/// assert_eq!(peers.recall(&host, address, now), Some(Broken::Stalled));
/// assert_eq!(peers.recall(&host, address, now + Duration::from_secs(3600)), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct BrokenPeers {
    lifetime: Duration,
    limit: usize,
    peers: BTreeMap<Peer, (Broken, Instant)>,
    by_time: BTreeSet<(Instant, Peer)>,
}

type Peer = (Host, SocketAddr);

impl Default for BrokenPeers {
    fn default() -> Self {
        Self::new(REMEMBERED_FOR, MAX_PEERS)
    }
}

impl BrokenPeers {
    /// Remembers at most `limit` peers, each for less than `lifetime`.
    pub fn new(lifetime: Duration, limit: usize) -> Self {
        Self { lifetime, limit, peers: BTreeMap::new(), by_time: BTreeSet::new() }
    }

    /// The handshake with this peer failed or stalled. An untrusted certificate is no such failure.
    ///
    /// The memory serves the mail of all connectors. So a handshake counts only where it had none
    /// of the limits of a connector, and no proxy, source address or interface of its own; as
    /// [`Broken::Failed`] or [`Broken::Stalled`] only where it also had the plainest ClientHello
    /// and no client certificate. Otherwise the fault may be of this side.
    pub fn broke(&mut self, host: &Host, address: SocketAddr, how: Broken, now: Instant) {
        let peer = (host.clone(), address);
        self.forget(&peer);
        while let Some((time, _)) = self.by_time.first()
            && (self.peers.len() >= self.limit || !self.lasts(*time, now))
            && let Some((_, oldest)) = self.by_time.pop_first()
        {
            self.peers.remove(&oldest);
        }
        if self.peers.len() < self.limit {
            self.by_time.insert((now, peer.clone()));
            self.peers.insert(peer, (how, now));
        }
    }

    /// A handshake with this peer succeeded: what it did before is forgotten.
    pub fn worked(&mut self, host: &Host, address: SocketAddr) {
        self.forget(&(host.clone(), address));
    }

    /// How TLS with exactly this peer broke, if that is remembered still.
    pub fn recall(&self, host: &Host, address: SocketAddr, now: Instant) -> Option<Broken> {
        let (how, time) = self.peers.get(&(host.clone(), address))?;
        self.lasts(*time, now).then_some(*how)
    }

    /// How many peers are held, with those whose time is over until their place is needed.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether no peer is held.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    fn lasts(&self, time: Instant, now: Instant) -> bool {
        now.saturating_duration_since(time) < self.lifetime
    }

    fn forget(&mut self, peer: &Peer) {
        if let Some((_, time)) = self.peers.remove(peer) {
            self.by_time.remove(&(time, peer.clone()));
        }
    }
}
