//! Fetches the revocation lists that judged chains name (feature `crl-fetch`).
//!
//! Certificates name the lists of their issuer by URLs. Judgements record them
//! ([`Trust::wanted`](smtp_tls_policy::pki::Trust::wanted)); a [`CrlFetcher`] fetches those that
//! are due, keeps them on disk, and puts them into the [`LiveTrust`] without a pause for the
//! handshakes that run. A list is fetched again when three quarters of its life are over.
//!
//! What happens on first contact, before a list is there, is for the connector's
//! [`Revocation`](smtp_tls_policy::pki::Revocation): `hard` defers the mail with 4.3.5, and the
//! next attempt finds the list; `if-configured` and `soft` let it pass.
//!
//! ```
//! # async fn example() {
//! use std::sync::Arc;
//! use smtp_tls_policy::pki::{LiveTrust, Trust};
//! use smtp_tokio_adapter::revocation::CrlFetcher;
//!
//! let trust = Arc::new(LiveTrust::new(Trust::webpki_roots())); // shared with `Outbound`
//! let fetcher = CrlFetcher::new(Arc::clone(&trust)).with_directory("crls");
//! tokio::spawn(async move { fetcher.run().await });
//! # }
//! ```

mod http;
mod store;

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pki_types::UnixTime;
use smtp_tls_policy::pki::{LiveTrust, ReplaceError, Replaced, RootsId, WantedList};
use tokio::task::JoinSet;

pub use self::http::HttpError;

/// Most octets of a list, unless set: a list of a million entries has some 40 MiB.
pub const DEFAULT_MAX_LIST_LEN: usize = 64 << 20;
/// How long one fetch may take, unless set, from the look-up of the host to the last octet.
pub const DEFAULT_FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// How often [`CrlFetcher::run`] looks for lists that are due, unless set.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
/// Lists that are fetched at the same time.
const MAX_AT_ONCE: usize = 8;
/// The pause after a fetch that brought no newer list; it doubles with each failure.
const RETRY: Duration = Duration::from_secs(60);
/// The longest pause.
const MAX_RETRY: Duration = Duration::from_secs(3600);

/// Fetches revocation lists for a [`LiveTrust`]. See the [module](self).
#[derive(Debug)]
pub struct CrlFetcher {
    trust: Arc<LiveTrust>,
    directory: Option<PathBuf>,
    max_len: usize,
    timeout: Duration,
    interval: Duration,
    /// The lists that must wait before they are fetched again. They are among the wanted ones,
    /// which are bounded.
    pauses: Mutex<HashMap<Key, Pause>>,
}

type Key = (RootsId, Vec<String>);

/// When a list may be fetched again, and how often it failed.
#[derive(Clone, Copy, Debug)]
struct Pause {
    until: u64,
    failures: u32,
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

/// Why a fetched list is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CrlFetchError {
    /// The list was not fetched.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The list cannot be used.
    #[error(transparent)]
    List(#[from] ReplaceError),
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
            pauses: Mutex::default(),
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
            match self.trust.replace_crl_der(&kept.roots, &kept.der) {
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
    /// each. A list that could not be fetched, or is not newer, waits for a minute, and longer with
    /// each failure.
    ///
    /// # Cancel safety
    ///
    /// Fetches that run are given up; the lists that came before the future is dropped are loaded.
    pub async fn refresh(&self, now: UnixTime) -> Vec<FetchedList> {
        let mut due = self.due(now).into_iter();
        let mut running = JoinSet::new();
        let mut results = Vec::new();
        loop {
            while running.len() < MAX_AT_ONCE {
                let Some(wanted) = due.next() else { break };
                running.spawn(self.fetch(wanted));
            }
            match running.join_next().await {
                Some(Ok((wanted, url, fetched))) => {
                    results.push(self.take(&wanted, url, fetched, now).await);
                }
                // A task that panics is a defect of ours, and costs this list only.
                Some(Err(error)) => tracing::error!(%error, "a fetch of a revocation list broke"),
                None => return results,
            }
        }
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

    fn due(&self, now: UnixTime) -> Vec<WantedList> {
        let wanted = self.trust.load().wanted(now);
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        let keys: std::collections::HashSet<_> = wanted.iter().map(key).collect();
        pauses.retain(|key, _| keys.contains(key));
        let may_go = |list: &WantedList| {
            list.due <= now && pauses.get(&key(list)).is_none_or(|it| it.until <= now.as_secs())
        };
        wanted.into_iter().filter(may_go).collect()
    }

    /// Tries the URLs of a list in order.
    fn fetch(
        &self,
        wanted: WantedList,
    ) -> impl Future<Output = (WantedList, String, Result<Vec<u8>, HttpError>)> + use<> {
        let (max_len, timeout) = (self.max_len, self.timeout);
        async move {
            let mut last = (String::new(), Err(HttpError::Url));
            for url in &wanted.urls {
                let fetched = http::get(url, max_len, timeout).await;
                let done = fetched.is_ok();
                last = (url.clone(), fetched);
                if done {
                    break;
                }
            }
            (wanted, last.0, last.1)
        }
    }

    /// Loads what a fetch brought, keeps it, and decides when the list may be fetched again.
    async fn take(
        &self,
        wanted: &WantedList,
        url: String,
        fetched: Result<Vec<u8>, HttpError>,
        now: UnixTime,
    ) -> FetchedList {
        let outcome = match fetched {
            Err(error) => Err(CrlFetchError::Http(error)),
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
        self.pause(wanted, &outcome, now);
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

    fn pause(&self, wanted: &WantedList, outcome: &Result<Replaced, CrlFetchError>, now: UnixTime) {
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        // A list that is new may be due again at once, if its issuer is late.
        let failed = !matches!(outcome, Ok(Replaced::Added | Replaced::Replaced));
        let before = pauses.get(&key(wanted)).map_or(0, |pause| pause.failures);
        let failures = if failed { before.saturating_add(1) } else { 0 };
        let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = RETRY.saturating_mul(factor).min(MAX_RETRY);
        let until = now.as_secs().saturating_add(pause.as_secs());
        pauses.insert(key(wanted), Pause { until, failures });
    }
}

fn key(list: &WantedList) -> Key {
    (list.roots.clone(), list.urls.clone())
}
