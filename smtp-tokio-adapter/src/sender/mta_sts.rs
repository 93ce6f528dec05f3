//! MTA-STS policies: the cache, with the look-ups that it asks for.

use std::pin::pin;
use std::sync::Mutex;
use std::time::Duration;

use smtp_tls_policy::pki_types::UnixTime;
use smtp_tls_policy::sts::{
    Cache, CachedPolicy, Discovered, Due, FETCH_TIMEOUT, FetchEnd, FetchError, PolicyId,
    StoreChange, StsAnswer, Trouble, record_name,
};
use smtp_tls_policy::{Domain, UnreadableRecord};
use tokio::sync::Notify;

use super::{Sender, lock};
use crate::lookups::Lookups;
use crate::metering::lookup;

/// What keys of policies begin with.
const PREFIX: &str = "sts/";

/// What is known of policies.
pub(super) struct Policies {
    cache: Mutex<Cache>,
    /// A fetch has ended, of whichever policy.
    fetched: Notify,
}

impl Policies {
    pub(super) fn new(cache: Cache) -> Self {
        Self { cache: Mutex::new(cache), fetched: Notify::new() }
    }
}

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
    /// 8461, section 3.3), so that no delivery waits for it. Returns when there is something to do
    /// next.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the policy that is being fetched stays due, and is fetched by the
    /// next call. A change on its way to the store may be lost to it; memory has it.
    pub async fn refresh(&self) -> Option<UnixTime> {
        if let Some(shared) = &self.shared {
            shared.flush().await;
        }
        loop {
            let due = lock(&self.policies.cache).due(self.now());
            match due {
                Some(Due::Refresh(domain)) => {
                    let _: StsAnswer = self.sts(&domain).await;
                }
                Some(Due::Expired(change)) => self.keep(vec![change]).await,
                None => return lock(&self.policies.cache).deadline(),
            }
        }
    }

    /// What MTA-STS says of a domain now (RFC 8461, sections 3.3 and 5.1).
    pub(super) async fn sts(&self, domain: &Domain) -> StsAnswer {
        self.recall_policy(domain).await;
        let id = self.policy_id(domain).await;
        let Policies { cache, fetched, .. } = &self.policies;
        let patience = tokio::time::Instant::now() + FETCH_TIMEOUT;
        let fetch = loop {
            let mut ended = pin!(fetched.notified());
            // Whatever ends from here on is heard.
            ended.as_mut().enable();
            let next = lock(cache).discovered(domain, id.clone(), self.now());
            match next {
                Discovered::Done(answer) => return answer,
                Discovered::Fetch(fetch) => break fetch,
                Discovered::UnderWay => {
                    // The first mail of many to a domain fetches its policy. The others must not go
                    // without it meanwhile.
                    let answer = lock(cache).applies(domain, self.now());
                    if answer.policy.is_some()
                        || tokio::time::timeout_at(patience, ended).await.is_err()
                    {
                        return answer;
                    }
                }
            }
        };
        let mut fetching = Fetching { policies: &self.policies, domain, ended: false };
        let fetching_policy = async {
            let policy = tokio::time::timeout(FETCH_TIMEOUT, self.lookups.fetch(&fetch)).await;
            policy.unwrap_or(Err(FetchError::Timeout))
        };
        let policy = lookup("sts-policy", fetching_policy).await;
        let FetchEnd { answer, changes } = lock(cache).fetched(fetch, policy, self.now());
        fetching.ended = true;
        drop(fetching);
        if let Some(trouble) = &answer.trouble {
            tracing::warn!(%domain, %trouble, "MTA-STS");
        }
        self.keep(changes).await;
        answer
    }

    /// Takes a policy that another machine or an earlier run fetched out of the store, if none is
    /// in memory.
    async fn recall_policy(&self, domain: &Domain) {
        let Some(shared) = &self.shared else { return };
        if lock(&self.policies.cache).holds(domain, self.now()) {
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
                match cache.holds(cached.domain(), self.now()) {
                    true => Vec::new(),
                    false => cache.restore([cached], self.now()),
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
                    let left = cached.expires().as_secs().saturating_sub(self.now().as_secs());
                    // The last second counts.
                    let lifetime = Duration::from_secs(left.saturating_add(1));
                    let key = format!("{PREFIX}{}", cached.domain());
                    shared.put(key, cached.to_record(), lifetime).await;
                }
                // For want of room here: the other machines may still need it, and it expires.
                StoreChange::Remove(_) => {}
            }
        }
    }

    async fn policy_id(&self, domain: &Domain) -> Result<Option<PolicyId>, Trouble> {
        let Some(name) = record_name(domain) else { return Ok(None) };
        let answer = self.answered(lookup("txt", self.lookups.txt(&name)).await);
        match answer.status.is_failure() {
            true => Err(Trouble::Lookup),
            false => PolicyId::find(&answer.records).map_err(Trouble::Record),
        }
    }
}
