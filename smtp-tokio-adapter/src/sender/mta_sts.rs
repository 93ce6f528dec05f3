//! MTA-STS policies: the cache, with the look-ups that it asks for.

use std::pin::pin;
use std::sync::Mutex;
use std::time::Duration;

use smtp_tls_policy::pki_types::UnixTime;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::sts::{
    Cache, CachedPolicy, Discovered, Due, FETCH_TIMEOUT, Fetch, FetchEnd, FetchError, PolicyId,
    StoreChange, StsAnswer, Trouble, record_name,
};
use smtp_tls_policy::{Domain, UnreadableRecord};
use tokio::sync::Notify;

use super::groups::all;
use super::stored::Shared;
use super::{Sender, lock};
use crate::lookups::Lookups;
use crate::metering::lookup;

/// What keys of policies begin with.
const PREFIX: &str = "sts/";
/// Policies that are refreshed at the same time. Our own choice: a policy host that never answers
/// takes up to 80 seconds.
const AT_ONCE: usize = 8;
/// How often what waits for the store is written while policies are refreshed. Our own choice.
const WRITE_INTERVAL: Duration = Duration::from_secs(60);
/// How long that may take each time. Our own choice.
const WRITE_TIME: Duration = Duration::from_secs(60);
/// Policies that are looked for in the store each time. Our own choice: after a store has come back
/// empty, new ones may be among them, and not so many within a minute.
const SOUGHT: usize = 8;

/// What is known of policies.
pub(super) struct Policies {
    cache: Mutex<Cache>,
    /// A fetch has ended, of whichever policy.
    fetched: Notify,
    search: Mutex<Search>,
}

impl Policies {
    pub(super) fn new(cache: Cache) -> Self {
        Self { cache: Mutex::new(cache), fetched: Notify::new(), search: Mutex::default() }
    }
}

/// The search for policies that the store has lost. It goes through the domains in turn.
#[derive(Default)]
struct Search {
    /// In order.
    held: Vec<Domain>,
    /// The domain that was looked for last.
    last: Option<Domain>,
    /// How many are still to be looked for.
    left: usize,
    /// One was missing, and all are looked for.
    is_whole: bool,
}

impl Search {
    /// Looks for a few of these, or goes on looking for all.
    fn begin(&mut self, mut held: Vec<Domain>) {
        held.sort_unstable();
        self.left = match self.is_whole {
            true => self.left,
            false => SOUGHT.min(held.len()),
        };
        self.held = held;
    }

    fn next(&self) -> Option<Domain> {
        let after = self.held.partition_point(|domain| Some(domain) <= self.last.as_ref());
        let next = self.held.get(after).or(self.held.first());
        next.filter(|_| self.left > 0).cloned()
    }

    /// The policy of this domain is in the store now. It was missing before, or not.
    fn found(&mut self, domain: Domain, was_lost: bool) {
        self.left = match was_lost && !self.is_whole {
            true => self.held.len(),
            false => self.left,
        };
        self.is_whole |= was_lost;
        self.left = self.left.saturating_sub(1);
        self.is_whole &= self.left > 0;
        self.last = Some(domain);
    }
}

/// The rule of the cache by which a look-up leads to a fetch.
type Tell = fn(&mut Cache, &Domain, Result<Option<PolicyId>, Trouble>, UnixTime) -> Discovered;

/// A fetch for which others wait. They are told of its end, also where it is given up with its
/// delivery.
struct Fetching<'a> {
    policies: &'a Policies,
    domain: &'a Domain,
    ended: bool,
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        if !self.ended {
            lock(&self.policies.cache).given_up(self.domain);
        }
        self.policies.fetched.notify_waiters();
    }
}

impl<L: Lookups> Sender<L> {
    /// Sets the gauges of the metrics whose values change with time alone: the ages of revocation
    /// lists, of CRLite data and of MTA-STS policies. Call it before each scrape, or once a minute.
    #[cfg(feature = "metrics")]
    pub fn record_ages(&self) {
        let trust = self.outbound.trust.load();
        crate::metering::lists(&trust, self.now());
        crate::metering::crlite(&trust, self.now());
        crate::metering::policies(&lock(&self.policies.cache), self.now());
    }

    /// Does what is due in the background: fetches MTA-STS policies again before they expire (RFC
    /// 8461, section 3.3), a few at a time, so that no delivery waits for it; writes to the store
    /// what could not be written before, and the policies that the store has lost. Returns when
    /// there is something to do next. A policy that cannot be fetched again is named in the log.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, a policy that is being fetched is due again after
    /// [`REFRESH_RETRY`](smtp_tls_policy::sts::REFRESH_RETRY), and each other one stays due.
    /// Changes on their way to the store go on waiting for it.
    pub async fn refresh(&self) -> Option<UnixTime> {
        let refreshing = all((0..AT_ONCE).map(|_| Box::pin(self.refresh_due())));
        // Policy hosts that answer late must not keep changes from the store.
        let writing = async {
            loop {
                self.write_waiting().await;
                tokio::time::sleep(WRITE_INTERVAL).await;
            }
        };
        tokio::select! {
            // If nothing is due, the store is written to once, below.
            biased;
            _ = refreshing => {}
            () = writing => {}
        }
        self.write_waiting().await;
        lock(&self.policies.cache).deadline()
    }

    /// Fetches policies as long as one is due.
    async fn refresh_due(&self) {
        loop {
            let due = lock(&self.policies.cache).due(self.now());
            match due {
                Some(Due::Refresh(domain)) => self.refresh_policy(&domain).await,
                Some(Due::Expired(change)) => self.keep(vec![change]).await,
                None => return,
            }
        }
    }

    /// RFC 8461, section 3.3: administrators are alerted to each refresh that fails, unless the
    /// mode is none. The cache has no trouble with a policy of that mode.
    async fn refresh_policy(&self, domain: &Domain) {
        let answer = match self.next_fetch(domain, Cache::refresh).await {
            Ok(fetch) => self.fetched(fetch).await,
            Err(answer) => answer,
        };
        if let (Some(cached), Some(trouble)) = (&answer.policy, &answer.trouble) {
            let hours_left = cached.expires().as_secs().saturating_sub(self.now().as_secs()) / 3600;
            tracing::warn!(
                %domain,
                %trouble,
                hours_left,
                "an MTA-STS policy is not refreshed; once it expires, mail to the domain goes \
                 without it: look why this host does not get the record or the policy"
            );
        }
    }

    /// What MTA-STS says of a domain now (RFC 8461, sections 3.3 and 5.1).
    pub(super) async fn sts(&self, domain: &Domain) -> StsAnswer {
        self.recall_policy(domain).await;
        let fetch = match self.next_fetch(domain, Cache::discovered).await {
            Ok(fetch) => fetch,
            Err(answer) => return answer,
        };
        let answer = self.fetched(fetch).await;
        if let Some(trouble) = &answer.trouble {
            tracing::warn!(%domain, %trouble, "an MTA-STS policy cannot be fetched, or has a fault");
        }
        answer
    }

    /// Looks up the record, and tells the cache. `Ok` is the fetch that it asks for, and `Err` what
    /// applies without one.
    async fn next_fetch(&self, domain: &Domain, tell: Tell) -> Result<Fetch, StsAnswer> {
        let id = self.policy_id(domain).await;
        let Policies { cache, fetched, .. } = &self.policies;
        let patience = tokio::time::Instant::now() + FETCH_TIMEOUT;
        loop {
            let mut ended = pin!(fetched.notified());
            // Whatever ends from here on is heard.
            ended.as_mut().enable();
            let next = tell(&mut lock(cache), domain, id.clone(), self.now());
            match next {
                Discovered::Done(answer) => return Err(answer),
                Discovered::Fetch(fetch) => return Ok(fetch),
                Discovered::UnderWay => {
                    // The first mail of many to a domain fetches its policy. The others must not go
                    // without it meanwhile.
                    let answer = lock(cache).applies(domain, self.now());
                    if answer.policy.is_some()
                        || tokio::time::timeout_at(patience, ended).await.is_err()
                    {
                        return Err(answer);
                    }
                }
            }
        }
    }

    /// Fetches a policy, and says what applies then.
    async fn fetched(&self, fetch: Fetch) -> StsAnswer {
        let domain = fetch.domain().clone();
        let mut fetching = Fetching { policies: &self.policies, domain: &domain, ended: false };
        let fetching_policy = async {
            let policy = tokio::time::timeout(FETCH_TIMEOUT, self.lookups.fetch(&fetch)).await;
            policy.unwrap_or(Err(FetchError::Timeout))
        };
        let policy = lookup("sts-policy", fetching_policy).await;
        let end = lock(&self.policies.cache).fetched(fetch, policy, self.now());
        let FetchEnd { answer, changes } = end;
        fetching.ended = true;
        drop(fetching);
        self.keep(changes).await;
        answer
    }

    /// Takes a policy that another machine or an earlier run fetched out of the store, if none is
    /// in memory.
    async fn recall_policy(&self, domain: &Domain) {
        let Some(shared) = &self.shared else { return };
        if lock(&self.policies.cache).current(domain, self.now()).is_some() {
            return;
        }
        let key = format!("{PREFIX}{domain}");
        if let Some(record) = shared.get(&key).await {
            self.restore_policy(&key, &record).await;
        }
    }

    /// Takes all policies out of the store, so that they are refreshed before they expire.
    pub(super) async fn restore_policies(&self) {
        let Some(shared) = &self.shared else { return };
        for (key, record) in shared.list(PREFIX).await {
            self.restore_policy(&key, &record).await;
        }
    }

    async fn restore_policy(&self, key: &str, record: &[u8]) {
        let domain = key.strip_prefix(PREFIX).and_then(|domain| Domain::parse(domain).ok());
        let read = match domain {
            Some(domain) => CachedPolicy::from_record(&domain, record),
            None => Err(UnreadableRecord::Damaged),
        };
        let changes = match (read, &self.shared) {
            (Ok(cached), _) => {
                let mut cache = lock(&self.policies.cache);
                // What came meanwhile is newer.
                match cache.current(cached.domain(), self.now()) {
                    Some(_) => Vec::new(),
                    None => cache.restore([cached], self.now()),
                }
            }
            (Err(why), Some(shared)) => {
                shared.unreadable(key, record, why).await;
                Vec::new()
            }
            (Err(_), None) => Vec::new(),
        };
        self.keep(changes).await;
    }

    async fn keep(&self, changes: Vec<StoreChange>) {
        let Some(shared) = &self.shared else { return };
        for change in changes {
            match change {
                StoreChange::Save(cached) => {
                    let (key, record, lifetime) = self.record(&cached);
                    shared.put(key, record, lifetime).await;
                }
                // For want of room here: the other machines may still need it, and it expires.
                StoreChange::Remove(_) => {}
            }
        }
    }

    /// The key, the record and the lifetime of a policy in the store.
    fn record(&self, cached: &CachedPolicy) -> (String, Vec<u8>, Duration) {
        let left = cached.expires().as_secs().saturating_sub(self.now().as_secs());
        // The last second counts.
        let lifetime = Duration::from_secs(left.saturating_add(1));
        (format!("{PREFIX}{}", cached.domain()), cached.to_record(), lifetime)
    }

    /// Writes what waits for the store, and what it has lost, as far as there is time.
    async fn write_waiting(&self) {
        let Some(shared) = &self.shared else { return };
        let writing = async {
            shared.flush().await;
            self.write_lost(shared).await;
        };
        // The rest goes on waiting.
        let _ = tokio::time::timeout(WRITE_TIME, writing).await;
    }

    /// Looks for a few policies in the store, in turn. If one is missing, looks for all of them: a
    /// server that keeps nothing on disk comes back empty. What is missing is written again: it
    /// protects the mail of others, which may be kept from the policy by now.
    async fn write_lost(&self, shared: &Shared) {
        let Policies { cache, search, .. } = &self.policies;
        let held = lock(cache).policies().map(|it| it.domain().clone()).collect();
        lock(search).begin(held);
        while let Some(domain) = { lock(search).next() } {
            let cached = lock(cache).current(&domain, self.now()).cloned();
            let mut is_lost = false;
            if let Some(cached) = cached {
                let (key, record, lifetime) = self.record(&cached);
                // Another machine may have written a newer one.
                match shared.put_new(&key, &record, lifetime).await {
                    Some(is_new) => is_lost = is_new,
                    None => return,
                }
            }
            lock(search).found(domain, is_lost);
        }
    }

    /// The id in the record of a domain.
    ///
    /// A record that cannot be looked up is as good as none, unless a policy is cached (RFC 8461,
    /// sections 3.1 and 3.3), also where the look-up timed out. A resolver that has just answered
    /// for the MX records is silent, as far as can be told, because the domain's name servers are,
    /// and those of domains without MTA-STS may be. An attacker who suppresses the record of a
    /// policy that was never seen succeeds in any case (section 10.2). Only a question that this
    /// side could not ask defers the mail.
    async fn policy_id(&self, domain: &Domain) -> Result<Option<PolicyId>, Trouble> {
        let Some(name) = record_name(domain) else { return Ok(None) };
        let answer = self.answered(lookup("txt", self.lookups.txt(&name)).await);
        match answer.status {
            DnsStatus::Local => Err(FetchError::Local.into()),
            status if status.is_failure() => Err(Trouble::Lookup),
            _ => PolicyId::find(&answer.records).map_err(Trouble::Record),
        }
    }
}
