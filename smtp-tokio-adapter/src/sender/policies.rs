//! MTA-STS policies: the cache, with the look-ups that it asks for.

use std::pin::pin;
use std::sync::{Arc, Mutex};

use smtp_tls_policy::Domain;
use smtp_tls_policy::pki_types::UnixTime;
use smtp_tls_policy::sts::{
    Cache, Discovered, DiscoveryError, Due, FETCH_TIMEOUT, FetchEnd, FetchError, PolicyStore,
    StoreChange, StsAnswer, StsRecord, record_name,
};
use tokio::sync::Notify;

use super::{Sender, lock};
use crate::lookups::Lookups;
use crate::metering::lookup;

type Store = Arc<Mutex<dyn PolicyStore + Send>>;

/// What is known of policies.
pub(super) struct Policies {
    cache: Mutex<Cache>,
    store: Option<Store>,
    /// A fetch has ended, of whichever policy.
    fetched: Notify,
}

impl Policies {
    pub(super) fn new(cache: Cache, store: Option<Store>) -> Self {
        Self { cache: Mutex::new(cache), store, fetched: Notify::new() }
    }

    /// The disk may block: not here.
    async fn store(&self, changes: Vec<StoreChange>) {
        let Some(store) = self.store.clone().filter(|_| !changes.is_empty()) else { return };
        let stored = tokio::task::spawn_blocking(move || {
            let mut store = lock(&store);
            changes.iter().try_for_each(|change| store.apply(change))
        });
        match stored.await {
            Ok(Ok(())) => {}
            // What applies now is in the cache; only the next run of the process will not know it.
            Ok(Err(error)) => tracing::warn!(%error, "MTA-STS policy not stored"),
            Err(error) => tracing::warn!(%error, "MTA-STS policy not stored"),
        }
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
    /// lists and of MTA-STS policies. Call it before each scrape, or once a minute.
    #[cfg(feature = "metrics")]
    pub fn record_ages(&self) {
        crate::metering::lists(&self.outbound.trust.current(), self.now());
        crate::metering::policies(&lock(&self.policies.cache), self.now());
    }

    /// Does what is due in the background: fetches MTA-STS policies again before they expire (RFC
    /// 8461, section 3.3), so that no delivery waits for it. Returns when there is something to do
    /// next.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the policy that is being fetched stays due, and is fetched by the
    /// next call.
    pub async fn refresh(&self) -> Option<UnixTime> {
        loop {
            let due = lock(&self.policies.cache).due(self.now());
            match due {
                Some(Due::Refresh(domain)) => {
                    let _: StsAnswer = self.sts(&domain).await;
                }
                Some(Due::Expired(change)) => self.policies.store(vec![change]).await,
                None => return lock(&self.policies.cache).deadline(),
            }
        }
    }

    /// What MTA-STS says of a domain now (RFC 8461, sections 3.3 and 5.1).
    pub(super) async fn sts(&self, domain: &Domain) -> StsAnswer {
        let record = self.record(domain).await;
        let Policies { cache, fetched, .. } = &self.policies;
        let patience = tokio::time::Instant::now() + FETCH_TIMEOUT;
        let fetch = loop {
            let mut ended = pin!(fetched.notified());
            // Whatever ends from here on is heard.
            ended.as_mut().enable();
            let next = lock(cache).discovered(domain, record.clone(), self.now());
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
            let response = tokio::time::timeout(FETCH_TIMEOUT, self.lookups.fetch(&fetch)).await;
            response.unwrap_or(Err(FetchError::Timeout))
        };
        let response = lookup("sts-policy", fetching_policy).await;
        let FetchEnd { answer, changes } = lock(cache).fetched(fetch, response, self.now());
        fetching.ended = true;
        drop(fetching);
        if let Some(trouble) = &answer.trouble {
            tracing::warn!(%domain, %trouble, "MTA-STS");
        }
        self.policies.store(changes).await;
        answer
    }

    async fn record(&self, domain: &Domain) -> Result<Option<StsRecord>, DiscoveryError> {
        let Some(name) = record_name(domain) else { return Ok(None) };
        let answer = self.answered(lookup("txt", self.lookups.txt(&name)).await);
        match answer.status.is_failure() {
            true => Err(DiscoveryError::Lookup),
            false => StsRecord::find(&answer.records).map_err(DiscoveryError::Record),
        }
    }
}
