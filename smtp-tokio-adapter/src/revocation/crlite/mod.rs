//! Loads CRLite filters from a cache that `upki fetch` keeps.

mod cache;
mod error;
mod filters;
mod manifest;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pki_types::UnixTime;
use smtp_tls_policy::pki::{Crlite, DEFAULT_CRLITE_MAX_AGE, LiveTrust, Sct};
use tokio::sync::Mutex;

use self::cache::Cache;
pub use self::error::CrliteError;
pub use self::manifest::MAX_CRLITE_FILTERS;

/// Most octets of all filters together, unless set. A cache of Mozilla's filters has some 10 MB.
pub const DEFAULT_MAX_CRLITE_LEN: u64 = 128 << 20;
/// How often [`CrliteLoader::run`] looks whether the manifest has changed, unless set.
pub const DEFAULT_CRLITE_INTERVAL: Duration = Duration::from_secs(60);

/// Loads CRLite filters into a [`LiveTrust`]. See the [module](super).
///
/// Cheap to clone; a clone shares what is loaded.
#[derive(Clone, Debug)]
pub struct CrliteLoader {
    trust: Arc<LiveTrust>,
    directory: Arc<Path>,
    max_len: u64,
    max_age: Duration,
    interval: Duration,
    /// Held while files are read.
    loaded: Arc<Mutex<Option<Cache>>>,
}

/// The filters that are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CrliteLoaded {
    /// How many filters there are.
    pub filters: usize,
    /// The time of the data.
    pub made: UnixTime,
    /// Whether this call has loaded them. Otherwise the manifest is the one of an earlier call.
    pub is_new: bool,
}

impl CrliteLoader {
    /// Loads filters of this directory for this trust, which consults CRLite from now on. It has no
    /// data until [`load`](Self::load) or [`run`](Self::run) has read it.
    pub fn new(trust: Arc<LiveTrust>, directory: impl AsRef<Path>) -> Self {
        let loader = Self {
            trust,
            directory: directory.as_ref().into(),
            max_len: DEFAULT_MAX_CRLITE_LEN,
            max_age: DEFAULT_CRLITE_MAX_AGE,
            interval: DEFAULT_CRLITE_INTERVAL,
            loaded: Arc::default(),
        };
        loader.set(None);
        loader
    }

    /// Takes filters of together at most this many octets. In memory they need about as much.
    #[must_use]
    pub fn with_max_len(mut self, max_len: u64) -> Self {
        self.max_len = max_len;
        self
    }

    /// Lets data of at most this age clear certificates.
    #[must_use]
    pub fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Looks this often whether the manifest has changed.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Reads the manifest, and loads its filters if it has changed.
    ///
    /// # Errors
    ///
    /// A [`CrliteError`]; what was loaded before stays.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed if the future is dropped.
    pub async fn load(&self) -> Result<CrliteLoaded, CrliteError> {
        let mut loaded = self.loaded.lock().await;
        let (directory, before) = (Arc::clone(&self.directory), loaded.clone());
        let max_len = self.max_len;
        let reading = move || Cache::read(&directory, max_len, before);
        let read = tokio::task::spawn_blocking(reading).await.unwrap_or_else(|it| Err(it.into()));
        let (cache, is_new) = read.inspect_err(|_| self.restore(loaded.as_ref()))?;
        match is_new {
            true => self.set(Some(&cache)),
            false => self.restore(Some(&cache)),
        }
        let now = CrliteLoaded { filters: cache.filters.0.len(), made: cache.made, is_new };
        *loaded = Some(cache);
        Ok(now)
    }

    /// Loads filters whenever the manifest changes, for ever. The log says what was loaded, and
    /// once for each fault why not.
    ///
    /// # Cancel safety
    ///
    /// As [`load`](Self::load).
    pub async fn run(&self) -> Infallible {
        let mut told = None;
        loop {
            let fault = match self.load().await {
                Ok(loaded) => {
                    if loaded.is_new {
                        let CrliteLoaded { filters, made, .. } = loaded;
                        tracing::info!(filters, made = made.as_secs(), "loaded CRLite filters");
                    }
                    let is_current = self.is_current(UnixTime::now());
                    (!is_current).then(|| {
                        format!(
                            "the data is older than {} s, and clears no certificate",
                            self.max_age.as_secs()
                        )
                    })
                }
                Err(error) => Some(error.to_string()),
            };
            if let Some(fault) = fault.as_ref().filter(|fault| told.as_ref() != Some(*fault)) {
                let directory = self.directory.display();
                tracing::error!(
                    %directory,
                    fault,
                    "CRLite data is missing, damaged or old; the filters that are loaded stay, and \
                     where they do not clear a certificate the rule of the connector decides"
                );
            }
            told = fault;
            tokio::time::sleep(self.interval).await;
        }
    }

    fn is_current(&self, now: UnixTime) -> bool {
        self.trust.load().crlite().is_some_and(|crlite| crlite.is_current(now))
    }

    fn set(&self, cache: Option<&Cache>) {
        let crlite = match cache {
            Some(cache) => {
                let filters = Arc::clone(&cache.filters);
                let look_up = move |issuer: &[u8; 32], serial: &[u8], scts: &[Sct]| {
                    filters.look_up(issuer, serial, scts)
                };
                Crlite::new(look_up, cache.made).with_max_age(self.max_age)
            }
            None => Crlite::without_data(),
        };
        self.trust.update(|trust| trust.set_crlite(Some(crlite)));
    }

    /// Sets CRLite again if the program has replaced the whole trust.
    fn restore(&self, cache: Option<&Cache>) {
        if self.trust.load().crlite().is_none() {
            self.set(cache);
        }
    }
}
