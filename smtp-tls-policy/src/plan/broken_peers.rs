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

use pki_types::UnixTime;

use crate::domain::Host;
use crate::reason::Reason;
use crate::record::{UnreadableRecord, body};
use crate::rules::identity::IdentityId;

/// How long a broken peer is remembered, unless the caller says otherwise. Our own choice: as long
/// as a common queue waits at most between its first runs, and short enough that a peer repaired
/// gets TLS again within the hour.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);
/// How many broken peers are remembered, unless the caller says otherwise. Our own choice.
pub const MAX_PEERS: usize = 10_000;

/// What each record of a store begins with, and the version that is written.
const FORM: &str = "smtp-broken-peer ";
const VERSION: u32 = 1;

/// How TLS with a peer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// The handshake ended with an alert, a protocol error or the end of the stream.
    Failed,
    /// The handshake did not end in time. That counts as much.
    Stalled,
    /// The handshake failed or stalled, and succeeded with the plainest ClientHello.
    NeedsPlainHello,
    /// The handshake failed or stalled with the client certificate of the peer's key
    /// ([`PeerKey::identity`]), and succeeded with the plainest ClientHello and without it.
    NeedsNoCertificate,
    /// STARTTLS was not offered, or was refused. That is no reason for clear text: STARTTLS is used
    /// wherever it is offered. The host's other addresses are tried first, and do not wait for it.
    NoStartTls,
}

impl Broken {
    const ALL: [Self; 5] = [
        Self::Failed,
        Self::Stalled,
        Self::NeedsPlainHello,
        Self::NeedsNoCertificate,
        Self::NoStartTls,
    ];

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

    const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Stalled => "stalled",
            Self::NeedsPlainHello => "needs-plain-hello",
            Self::NeedsNoCertificate => "needs-no-certificate",
            Self::NoStartTls => "no-starttls",
        }
    }

    /// How TLS with this peer broke, and when, as a record for a store: lines with the form, with
    /// both, and with the name of the client certificate.
    pub fn to_record(self, peer: &PeerKey, since: UnixTime) -> Vec<u8> {
        let identity = peer.identity.as_ref().map_or("", IdentityId::as_str);
        format!("{FORM}{VERSION}\n{} {}\n{identity}", self.as_str(), since.as_secs()).into_bytes()
    }

    /// Reads a record: how TLS with this peer broke, and when. `None` if the record is about
    /// another client certificate.
    ///
    /// # Errors
    ///
    /// [`UnreadableRecord`]: it is none that [`to_record`](Self::to_record) writes.
    pub fn from_record(
        peer: &PeerKey,
        record: &[u8],
    ) -> Result<Option<(Self, UnixTime)>, UnreadableRecord> {
        use UnreadableRecord::{Damaged, Newer};

        let body = std::str::from_utf8(body(record, FORM, VERSION)?).map_err(|_| Damaged)?;
        let (what, identity) = body.split_once('\n').ok_or(Damaged)?;
        let (how, time) = what.split_once(' ').ok_or(Damaged)?;
        let time = Duration::from_secs(time.parse().map_err(|_| Damaged)?);
        let is_code = !how.is_empty() && how.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        let known = Self::ALL.into_iter().find(|it| it.as_str() == how);
        // A later version may tell further ways to break.
        let how = known.ok_or(if is_code { Newer } else { Damaged })?;
        let is_this = identity == peer.identity.as_ref().map_or("", IdentityId::as_str);
        Ok(is_this.then(|| (how, UnixTime::since_unix_epoch(time))))
    }

    /// Whether a later version of this library wrote this record: then leave it alone.
    pub fn is_newer(record: &[u8]) -> bool {
        let peer = PeerKey::new(Host::Address([0u8; 4].into()), ([0u8; 4], 0).into());
        Self::from_record(&peer, record) == Err(UnreadableRecord::Newer)
    }
}

/// What tells one remembered peer from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct PeerKey {
    /// The host.
    pub host: Host,
    /// Its address and port.
    pub address: SocketAddr,
    /// The client certificate without which alone a handshake succeeded. What broke with one
    /// certificate says nothing of connectors with another one, or with none. None unless set.
    pub identity: Option<IdentityId>,
}

impl PeerKey {
    /// The host at one address and port, whatever certificate is shown to it.
    pub fn new(host: Host, address: SocketAddr) -> Self {
        Self { host, address, identity: None }
    }

    /// The same peer, for handshakes in which this client certificate is shown.
    #[must_use]
    pub fn with_identity(self, identity: IdentityId) -> Self {
        Self { identity: Some(identity), ..self }
    }
}

/// The broken peers. Bounded: where there is no room the oldest is forgotten. Equal calls give
/// equal answers; time is an argument.
///
/// ```
/// use std::time::{Duration, Instant};
/// use smtp_tls_policy::Host;
/// use smtp_tls_policy::plan::{Broken, BrokenPeers, PeerKey};
///
/// let mut peers = BrokenPeers::default();
/// let peer = PeerKey::new(Host::parse("mx.example")?, "192.0.2.1:25".parse()?);
/// let now = Instant::now();
/// peers.broke(&peer, Broken::Stalled, now);
/// assert_eq!(peers.recall(&peer, now), Some(Broken::Stalled));
/// assert_eq!(peers.recall(&peer, now + Duration::from_secs(3600)), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct BrokenPeers {
    lifetime: Duration,
    limit: usize,
    peers: BTreeMap<PeerKey, (Broken, Instant)>,
    by_time: BTreeSet<(Instant, PeerKey)>,
}

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
    /// [`Broken::NeedsNoCertificate`] counts for a key with that certificate.
    pub fn broke(&mut self, peer: &PeerKey, how: Broken, now: Instant) {
        self.forget(peer);
        while let Some((time, _)) = self.by_time.first()
            && (self.peers.len() >= self.limit || !self.lasts(*time, now))
            && let Some((_, oldest)) = self.by_time.pop_first()
        {
            self.peers.remove(&oldest);
        }
        if self.peers.len() < self.limit {
            self.by_time.insert((now, peer.clone()));
            self.peers.insert(peer.clone(), (how, now));
        }
    }

    /// A handshake with this peer succeeded: what it did before is forgotten.
    pub fn worked(&mut self, peer: &PeerKey) {
        self.forget(peer);
    }

    /// How TLS with exactly this peer broke, if that is remembered still.
    pub fn recall(&self, peer: &PeerKey, now: Instant) -> Option<Broken> {
        let (how, time) = self.peers.get(peer)?;
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

    fn forget(&mut self, peer: &PeerKey) {
        if let Some((_, time)) = self.peers.remove(peer) {
            self.by_time.remove(&(time, peer.clone()));
        }
    }
}
