//! Peers whose TLS is broken: in memory, and in the store that machines share.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use smtp_tls_policy::Host;
use smtp_tls_policy::plan::{Broken, REMEMBERED_FOR};

use super::{Sender, lock};
use crate::client::target::Target;
use crate::lookups::Lookups;
use crate::sender::groups::all;
use crate::sender::report::DialAttempt;
use crate::sender::shown::Shown;

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
            if let Some(shown) = attempt.shown
                && let Ok(host) = Host::parse(&attempt.host)
            {
                self.note_peer(&host, attempt.address, shown).await;
            }
        }
    }

    async fn note_peer(&self, host: &Host, address: SocketAddr, shown: Shown) {
        let known = {
            let (mut memory, now) = (lock(&self.broken), Instant::now());
            let known = memory.recall(host, address, now);
            match (shown, known) {
                // The usual hello is tried again once the time of the memory is over.
                (
                    Shown::Broken(Broken::NeedsPlainHello | Broken::NeedsNoCertificate),
                    Some(Broken::NeedsPlainHello),
                )
                | (
                    Shown::Broken(Broken::NeedsNoCertificate),
                    Some(Broken::NeedsNoCertificate),
                )
                // The address has its turn before others again once the time is over.
                | (Shown::Broken(Broken::NoStartTls), Some(Broken::NoStartTls))
                // Other mail has found out that TLS is broken.
                | (Shown::PlainHelloFails, Some(Broken::Failed | Broken::Stalled) | None) => return,
                (Shown::Broken(how), _) => memory.broke(host, address, how, now),
                (Shown::Works | Shown::PlainHelloFails, _) => memory.worked(host, address),
            }
            known
        };
        let Some(shared) = &self.shared else { return };
        match shown {
            Shown::Broken(how) => {
                let record = format!("{} {}", text(how), self.now().as_secs());
                shared.put(key(host, address), record.into_bytes(), REMEMBERED_FOR).await;
            }
            Shown::Works | Shown::PlainHelloFails if known.is_some() => {
                shared.remove(key(host, address)).await;
            }
            Shown::Works | Shown::PlainHelloFails => {}
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
        // With the plainest hello, such a target leaves its certificate out.
        let may_leave_out = target.identity.is_some() && target.may_retry_in_clear();
        let heeds_hellos = target.asks_as_others_do();
        let mut peers = Peers::default();
        let dialled = &addresses[..addresses.len().min(self.route.dials.max(1))];
        let mut known = self.peers_in_memory(&target.host, dialled, port);
        if self.shared.is_some() {
            let unknown = (0..dialled.len()).filter(|&at| known[at].is_none());
            let unknown: Vec<usize> = unknown.collect();
            let asking = unknown.iter().map(|&at| {
                let address = SocketAddr::new(dialled[at], port);
                Box::pin(self.broken_elsewhere(&target.host, address))
            });
            let answers = all(asking).await;
            for (at, answer) in unknown.into_iter().zip(answers) {
                known[at] = answer;
            }
        }
        for (&ip, known) in dialled.iter().zip(known) {
            match known {
                Some(Broken::Failed | Broken::Stalled) => peers.broken.push(ip),
                Some(Broken::NoStartTls) => peers.without_starttls.push(ip),
                Some(Broken::NeedsPlainHello) if heeds_hellos => peers.plain_hello.push(ip),
                Some(Broken::NeedsNoCertificate) if heeds_hellos && may_leave_out => {
                    peers.plain_hello.push(ip);
                }
                Some(Broken::NeedsPlainHello | Broken::NeedsNoCertificate) | None => {}
            }
        }
        peers
    }

    fn peers_in_memory(&self, host: &Host, ips: &[IpAddr], port: u16) -> Vec<Option<Broken>> {
        let (memory, now) = (lock(&self.broken), Instant::now());
        let recall = |&ip| memory.recall(host, SocketAddr::new(ip, port), now);
        ips.iter().map(recall).collect()
    }

    async fn broken_elsewhere(&self, host: &Host, address: SocketAddr) -> Option<Broken> {
        let shared = self.shared.as_ref()?;
        let record = shared.get(&key(host, address)).await?;
        let Some((how, time)) = parse(&record) else {
            tracing::warn!(%host, %address, "a broken peer in the store is damaged; it is removed");
            shared.remove(key(host, address)).await;
            return None;
        };
        // The time that is over counts, and the clocks of two machines may differ.
        let age = Duration::from_secs(self.now().as_secs().saturating_sub(time));
        let now = Instant::now();
        let then = now.checked_sub(age)?;
        let mut memory = lock(&self.broken);
        memory.broke(host, address, how, then);
        memory.recall(host, address, now)
    }
}

fn key(host: &Host, address: SocketAddr) -> String {
    format!("broken/{host}/{address}")
}

const fn text(how: Broken) -> &'static str {
    match how {
        Broken::Failed => "failed",
        Broken::Stalled => "stalled",
        Broken::NeedsPlainHello => "needs-plain-hello",
        Broken::NeedsNoCertificate => "needs-no-certificate",
        Broken::NoStartTls => "no-starttls",
    }
}

fn parse(record: &[u8]) -> Option<(Broken, u64)> {
    let (how, time) = std::str::from_utf8(record).ok()?.split_once(' ')?;
    let all = [
        Broken::Failed,
        Broken::Stalled,
        Broken::NeedsPlainHello,
        Broken::NeedsNoCertificate,
        Broken::NoStartTls,
    ];
    let how = all.into_iter().find(|it| text(*it) == how)?;
    Some((how, time.parse().ok()?))
}
