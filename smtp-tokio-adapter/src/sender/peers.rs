//! Peers whose TLS is broken: in memory, and in the store that machines share.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use smtp_tls_policy::Host;
use smtp_tls_policy::plan::{Broken, PeerKey, REMEMBERED_FOR};

use super::{Sender, lock};
use crate::client::target::Target;
use crate::lookups::Lookups;
use crate::sender::groups::all;
use crate::sender::report::DialAttempt;
use crate::sender::shown::Shown;
use crate::store::MAX_CALL_TIME;

/// Octets that the name of a client certificate has in a key of the store. The record has all of
/// it.
const MAX_NAME: usize = 64;

/// What is remembered of the addresses of a host.
#[derive(Default)]
pub(super) struct Peers {
    /// TLS is broken.
    pub(super) broken: Vec<IpAddr>,
    /// The target must begin with the plainest ClientHello.
    pub(super) plain_hello: Vec<IpAddr>,
    /// STARTTLS was not offered, or was refused.
    pub(super) without_starttls: Vec<IpAddr>,
}

impl<L: Lookups> Sender<L> {
    /// Notes peers whose TLS broke, and peers whose TLS works again.
    pub(super) async fn remember(&self, attempts: &[DialAttempt]) {
        for attempt in attempts {
            if let Some(shown) = &attempt.shown
                && let Ok(host) = Host::parse(attempt.host.as_str())
            {
                Box::pin(self.note_peer(PeerKey::new(host, attempt.address), shown)).await;
            }
        }
    }

    async fn note_peer(&self, peer: PeerKey, shown: &Shown) {
        let known = lock(&self.broken).recall(&peer, Instant::now());
        match (shown, known) {
            (Shown::Works(identity), _) => {
                self.worked(&peer).await;
                if let Some(identity) = identity {
                    self.worked(&peer.with_identity(identity.clone())).await;
                }
            }
            // The usual hello is tried again once the time of the memory is over.
            (Shown::Broken(Broken::NeedsPlainHello), Some(Broken::NeedsPlainHello))
            // The address has its turn before others again once the time is over.
            | (Shown::Broken(Broken::NoStartTls), Some(Broken::NoStartTls))
            // The plainest hello, which leaves the certificate out, is remembered anyway.
            | (Shown::NeedsNoCertificate(_), Some(Broken::NeedsPlainHello))
            // Other mail has found out that TLS is broken.
            | (Shown::PlainHelloFails, Some(Broken::Failed | Broken::Stalled) | None) => {}
            (Shown::Broken(how), _) => self.broke(&peer, *how).await,
            (Shown::NeedsNoCertificate(identity), _) => {
                self.worked(&peer).await;
                let peer = peer.with_identity(identity.clone());
                let known = lock(&self.broken).recall(&peer, Instant::now());
                if known != Some(Broken::NeedsNoCertificate) {
                    self.broke(&peer, Broken::NeedsNoCertificate).await;
                }
            }
            (Shown::PlainHelloFails, Some(_)) => self.worked(&peer).await,
        }
    }

    async fn broke(&self, peer: &PeerKey, how: Broken) {
        lock(&self.broken).broke(peer, how, Instant::now());
        if let Some(shared) = &self.shared {
            shared.put(key(peer), how.to_record(peer, self.now()), REMEMBERED_FOR).await;
        }
    }

    async fn worked(&self, peer: &PeerKey) {
        let was_broken = {
            let mut memory = lock(&self.broken);
            let known = memory.recall(peer, Instant::now());
            memory.worked(peer);
            known.is_some()
        };
        if was_broken && let Some(shared) = &self.shared {
            shared.remove(key(peer)).await;
        }
    }

    /// What is remembered of the addresses of the host, here or in the store. Only the addresses
    /// that a delivery can dial are looked up: a peer may publish hundreds.
    pub(super) async fn broken_peers(
        &self,
        target: &Target,
        addresses: &[IpAddr],
        port: u16,
    ) -> Peers {
        let heeds_hellos = target.asks_as_others_do();
        // With the plainest hello, such a target leaves its certificate out.
        let may_leave_out = heeds_hellos && target.may_retry_in_clear();
        let identity = target.identity.as_ref().filter(|_| may_leave_out);
        let dialled = &addresses[..addresses.len().min(self.route.dials.max(1))];
        let peer = |&ip| PeerKey::new(target.host.clone(), SocketAddr::new(ip, port));
        let any: Vec<PeerKey> = dialled.iter().map(peer).collect();
        let showing = identity.into_iter().flat_map(|identity| {
            any.iter().map(|peer| peer.clone().with_identity(identity.clone()))
        });
        let keys: Vec<PeerKey> = any.iter().cloned().chain(showing).collect();
        let known = self.recall(&keys).await;
        let (any, showing) = known.split_at(dialled.len());
        let mut peers = Peers::default();
        for (at, &ip) in dialled.iter().enumerate() {
            let refuses_certificate = showing.get(at) == Some(&Some(Broken::NeedsNoCertificate));
            match any[at] {
                Some(Broken::Failed | Broken::Stalled) => {
                    peers.broken.push(ip);
                    continue;
                }
                Some(Broken::NoStartTls) => peers.without_starttls.push(ip),
                Some(Broken::NeedsPlainHello | Broken::NeedsNoCertificate) | None => {}
            }
            if heeds_hellos && any[at] == Some(Broken::NeedsPlainHello) || refuses_certificate {
                peers.plain_hello.push(ip);
            }
        }
        peers
    }

    /// How TLS with each of these peers broke, by the memory, and else by the store.
    async fn recall(&self, peers: &[PeerKey]) -> Vec<Option<Broken>> {
        let mut known: Vec<Option<Broken>> = {
            let (memory, now) = (lock(&self.broken), Instant::now());
            peers.iter().map(|peer| memory.recall(peer, now)).collect()
        };
        if self.shared.is_some() {
            let unknown = (0..peers.len()).filter(|&at| known[at].is_none());
            let unknown: Vec<usize> = unknown.collect();
            let asking = unknown.iter().map(|&at| Box::pin(self.broken_elsewhere(&peers[at])));
            // A peer of which the store does not say anything in time is dialled as a new one.
            let asking = tokio::time::timeout(MAX_CALL_TIME, all(asking));
            let answers = asking.await.unwrap_or_default();
            for (at, answer) in unknown.into_iter().zip(answers) {
                known[at] = answer;
            }
        }
        known
    }

    async fn broken_elsewhere(&self, peer: &PeerKey) -> Option<Broken> {
        let (shared, key) = (self.shared.as_ref()?, key(peer));
        let record = shared.get(&key).await?;
        let (how, since) = match Broken::from_record(peer, &record) {
            Ok(read) => read?,
            Err(why) => {
                shared.unreadable(&key, &record, why).await;
                return None;
            }
        };
        // The time that is over counts, and the clocks of two machines may differ.
        let age = Duration::from_secs(self.now().as_secs().saturating_sub(since.as_secs()));
        let now = Instant::now();
        let then = now.checked_sub(age)?;
        let mut memory = lock(&self.broken);
        memory.broke(peer, how, then);
        memory.recall(peer, now)
    }
}

fn key(peer: &PeerKey) -> String {
    let (host, address) = (&peer.host, peer.address);
    match &peer.identity {
        None => format!("broken/{host}/{address}"),
        Some(identity) => format!("broken/{host}/{address}/id-{}", escaped(identity.as_str())),
    }
}

/// The begin of a name in the characters of a key.
fn escaped(name: &str) -> String {
    let mut key = String::new();
    for octet in name.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => key.push(char::from(octet)),
            _ => key.push_str(&format!("%{octet:02x}")),
        }
        if key.len() >= MAX_NAME {
            break;
        }
    }
    key
}
