//! The task that fetches revocation lists and keeps them.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pki_types::UnixTime;
use smtp_tls_policy::HttpUrlError;
use smtp_tls_policy::pki::{LiveTrust, Replaced, RootsId, WantedList};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::fetching::{Fetching, Lead, Turn};
use super::http::{self, CrlFetchError};
use super::store;
use crate::http::Reach;

/// Most octets of a list, unless set: a list of a million entries has some 40 MiB.
pub const DEFAULT_MAX_LIST_LEN: usize = 64 << 20;
/// How long one fetch may take, unless set, from the look-up of the host to the last octet.
pub const DEFAULT_FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// How often [`CrlFetcher::run`] looks for lists that are due, unless set.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
/// Lists that [`CrlFetcher::refresh`] fetches at the same time. For deliveries that wait as many
/// more are fetched.
const MAX_AT_ONCE: usize = 8;

/// Fetches revocation lists for a [`LiveTrust`]. See the [module](super).
///
/// Cheap to clone; a clone shares the fetches that run.
#[derive(Clone, Debug)]
pub struct CrlFetcher {
    trust: Arc<LiveTrust>,
    directory: Option<PathBuf>,
    max_len: usize,
    timeout: Duration,
    interval: Duration,
    reach: Reach,
    fetching: Arc<Fetching>,
}

/// What became of one list.
#[derive(Debug)]
#[non_exhaustive]
pub struct FetchedList {
    /// The set of roots to which it belongs.
    pub roots: RootsId,
    /// The URL that was tried last.
    pub url: String,
    /// What was done with the list, or why there is none.
    pub outcome: Result<Replaced, CrlFetchError>,
}

impl CrlFetcher {
    /// Fetches for this trust, and keeps nothing on disk.
    pub fn new(trust: Arc<LiveTrust>) -> Self {
        Self {
            trust,
            directory: None,
            max_len: DEFAULT_MAX_LIST_LEN,
            timeout: DEFAULT_FETCH_TIMEOUT,
            interval: DEFAULT_INTERVAL,
            reach: Reach::default(),
            fetching: Arc::new(Fetching::new(MAX_AT_ONCE)),
        }
    }

    /// Keeps the lists in this directory, which only this process should be able to write.
    #[must_use]
    pub fn with_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Takes lists of at most this many octets.
    #[must_use]
    pub fn with_max_list_len(mut self, max_len: usize) -> Self {
        self.max_len = max_len;
        self
    }

    /// Gives each fetch this long.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Fetches lists of the set `public` from any address. Unless set they come from global unicast
    /// addresses alone (RFC 6890), because an authority of that set may put any URL into a
    /// certificate, such as one of this machine or its network. Lists of other sets, whose
    /// authorities the administrator has chosen, are fetched from any address.
    #[must_use]
    pub fn with_any_address(mut self) -> Self {
        self.reach = Reach::Any;
        self
    }

    /// Looks this often for lists that are due.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Loads the lists that were kept on disk, and returns how many. A damaged file is renamed to
    /// `*.damaged` and reported to the log.
    ///
    /// # Errors
    ///
    /// An error of the file system. The lists that were read before it are loaded.
    ///
    /// # Cancel safety
    ///
    /// The lists that were read before the future is dropped are loaded.
    pub async fn load(&self) -> std::io::Result<usize> {
        let Some(directory) = &self.directory else {
            return Ok(0);
        };
        let mut loaded = 0;
        for kept in store::read(directory, self.max_len).await? {
            match self.trust.restore_fetched_crl_der(&kept.roots, &kept.der) {
                Ok(_) => loaded += 1,
                Err(error) => {
                    tracing::warn!(url = kept.url, %error, "a kept revocation list cannot be used");
                    store::set_aside(&kept.path, "it cannot be used").await;
                }
            }
        }
        Ok(loaded)
    }

    /// Fetches the lists that are due, at most eight at the same time, and returns what became of
    /// each. A list that is fetched already, for a delivery that waits, is left out. A list that
    /// could not be fetched, or is not newer, waits for a minute, and longer with each failure.
    ///
    /// # Cancel safety
    ///
    /// Fetches that run are given up; the lists that came before the future is dropped are loaded.
    pub async fn refresh(&self, now: UnixTime) -> Vec<FetchedList> {
        let wanted = self.trust.load().wanted(now);
        self.fetching.keep_pauses(&wanted);
        let mut due = wanted.into_iter().filter(|list| list.due <= now);
        let mut running = JoinSet::new();
        let mut results = Vec::new();
        loop {
            while running.len() < MAX_AT_ONCE {
                let Some(wanted) = due.next() else { break };
                if let Turn::Lead(lead) = self.fetching.turn(&wanted, now) {
                    running.spawn(self.clone().fetch(wanted, lead, now));
                }
            }
            match running.join_next().await {
                Some(Ok(fetched)) => results.push(fetched),
                // A task that panics is a defect of ours, and costs this list only.
                Some(Err(error)) => tracing::error!(%error, "a fetch of a revocation list broke"),
                None => return results,
            }
        }
    }

    /// Fetches lists that a judgement has [missed](smtp_tls_policy::judge::Verdict::missing_lists),
    /// and waits for them until the deadline. Returns whether one of them is loaded then, so that
    /// it is worth while to judge again.
    ///
    /// Callers that want the same list wait for one fetch. A list whose last fetch failed a short
    /// while ago is not waited for.
    ///
    /// # Cancel safety
    ///
    /// The fetches go on, and their lists are loaded.
    pub async fn wait(&self, missing: &[WantedList], deadline: Instant, now: UnixTime) -> bool {
        let mut running = Vec::new();
        for wanted in missing {
            if self.trust.load().has_current(wanted, now) {
                continue;
            }
            match self.fetching.turn(wanted, now) {
                Turn::Lead(lead) => {
                    running.push(lead.follow());
                    let (fetcher, wanted) = (self.clone(), wanted.clone());
                    tokio::spawn(async move {
                        let _slot = fetcher.fetching.slot().await;
                        fetcher.clone().fetch(wanted, lead, now).await
                    });
                }
                Turn::Follow(follow) => running.push(follow),
                Turn::Paused => {}
            }
        }
        let all = async {
            for mut follow in running {
                follow.over().await;
            }
        };
        // Late lists are for the next attempt.
        let _ = tokio::time::timeout_at(deadline, all).await;
        let trust = self.trust.load();
        missing.iter().any(|wanted| trust.has_current(wanted, now))
    }

    /// Loads what is kept on disk, and then fetches lists when they are due, for ever.
    ///
    /// # Cancel safety
    ///
    /// As [`refresh`](Self::refresh).
    pub async fn run(&self) -> Infallible {
        if let Err(error) = self.load().await {
            tracing::warn!(%error, "the kept revocation lists cannot be read; they are fetched again");
        }
        loop {
            self.refresh(UnixTime::now()).await;
            tokio::time::sleep(self.interval).await;
        }
    }

    /// Tries the URLs of a list in order, and loads what comes.
    async fn fetch(self, wanted: WantedList, lead: Lead, now: UnixTime) -> FetchedList {
        let mut last = (String::new(), Err(CrlFetchError::Url(HttpUrlError::Scheme)));
        let reach = match wanted.roots == RootsId::public() {
            true => self.reach,
            false => Reach::Any,
        };
        for url in &wanted.urls {
            let fetched = http::get(url, self.max_len, self.timeout, reach).await;
            let done = fetched.is_ok();
            last = (url.clone(), fetched);
            if done {
                break;
            }
        }
        let fetched = self.take(&wanted, last.0, last.1).await;
        // A list that is new may be due again at once, if its issuer is late.
        let is_new = matches!(fetched.outcome, Ok(Replaced::Added | Replaced::Replaced));
        lead.done(is_new, now);
        fetched
    }

    /// Loads what a fetch brought, and keeps it.
    async fn take(
        &self,
        wanted: &WantedList,
        url: String,
        fetched: Result<Vec<u8>, CrlFetchError>,
    ) -> FetchedList {
        let outcome = match fetched {
            Err(error) => Err(error),
            Ok(der) => match self.trust.replace_wanted_crl_der(wanted, &der) {
                Ok(replaced) => {
                    if replaced != Replaced::Unchanged {
                        self.keep(wanted, &url, &der).await;
                    }
                    Ok(replaced)
                }
                Err(error) => Err(CrlFetchError::List(error)),
            },
        };
        match &outcome {
            Ok(replaced) => tracing::debug!(url, ?replaced, "fetched a revocation list"),
            Err(error) => tracing::warn!(
                url,
                roots = %wanted.roots,
                %error,
                "a revocation list cannot be refreshed; when the loaded one expires, the rule of the \
                 connector decides about certificates of its issuer"
            ),
        }
        FetchedList { roots: wanted.roots.clone(), url, outcome }
    }

    async fn keep(&self, wanted: &WantedList, url: &str, der: &[u8]) {
        let Some(directory) = &self.directory else { return };
        if let Err(error) = store::write(directory, &wanted.roots, url, der).await {
            let directory = directory.display();
            tracing::warn!(%directory, %error, "a revocation list cannot be kept on disk");
        }
    }
}
