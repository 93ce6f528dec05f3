//! The task that fetches revocation lists and keeps them.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pki_types::UnixTime;
use smtp_tls_policy::HttpUrlError;
use smtp_tls_policy::pki::{Crl, LiveTrust, ReplaceError, Replaced, RootsId, Trust, WantedList};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;

use super::fetching::{Fetching, Lead, Turn};
use super::http::{self, CrlFetchError, Finder};
use super::store::{self, Folder};
use crate::http::Reach;
use crate::lookups::Lookups;

/// Most octets of a list, unless set: a list of a million entries has some 40 MiB.
pub const DEFAULT_MAX_LIST_LEN: usize = 64 << 20;
/// Most octets of memory that all fetched lists take, unless set: those of the public authorities
/// that a server meets as a rule take some 100 MiB.
pub const DEFAULT_MAX_MEMORY: usize = 512 << 20;
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
    folder: Option<Arc<Folder>>,
    max_len: usize,
    max_memory: usize,
    timeout: Duration,
    interval: Duration,
    reach: Reach,
    finder: Finder,
    fetching: Arc<Fetching>,
}

/// What became of one list.
#[derive(Debug)]
#[non_exhaustive]
pub struct FetchedList {
    /// The set of roots to which it belongs.
    pub roots: RootsId,
    /// The URL from which it came, or the last one that was tried.
    pub url: String,
    /// What was done with the list, or why there is none.
    pub outcome: Result<Replaced, CrlFetchError>,
}

impl CrlFetcher {
    /// Fetches for this trust, and keeps nothing on disk.
    pub fn new(trust: Arc<LiveTrust>) -> Self {
        Self {
            trust,
            folder: None,
            max_len: DEFAULT_MAX_LIST_LEN,
            max_memory: DEFAULT_MAX_MEMORY,
            timeout: DEFAULT_FETCH_TIMEOUT,
            interval: DEFAULT_INTERVAL,
            reach: Reach::default(),
            finder: Finder::default(),
            fetching: Arc::new(Fetching::new(MAX_AT_ONCE)),
        }
    }

    /// Keeps the lists in this directory, which only this process should be able to write, and
    /// which no other fetcher uses. A file is removed when its list has been replaced, or has
    /// expired and is not wanted any more.
    #[must_use]
    pub fn with_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.folder = Some(Arc::new(Folder::new(directory.into())));
        self
    }

    /// Takes lists of at most this many octets.
    #[must_use]
    pub fn with_max_list_len(mut self, max_len: usize) -> Self {
        self.max_len = max_len;
        self
    }

    /// Lets all lists that were fetched take at most this many octets of memory. A list for which
    /// there is no room takes the place of lists that no judgement has named for
    /// [`WANTED_FOR`](smtp_tls_policy::pki::WANTED_FOR), or since the program began, and never of
    /// others: if that is not enough, it is refused with [`CrlFetchError::NoRoom`], and the log
    /// warns of it. Lists that an administrator loaded do not count. What a fetch takes until its
    /// list is loaded does not count either.
    #[must_use]
    pub fn with_max_memory(mut self, max_memory: usize) -> Self {
        self.max_memory = max_memory;
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

    /// Takes the addresses of the hosts of lists from this resolver. Unless set, they come from the
    /// [operating system](crate::lookups::SystemResolver), whose look-up may go on in its thread
    /// when the time of the fetch is over.
    #[must_use]
    pub fn with_lookups(mut self, lookups: impl Lookups + 'static) -> Self {
        self.finder = Finder::new(lookups);
        self
    }

    /// Looks this often for lists that are due.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Loads the lists that were kept on disk and are not loaded yet, one after the other, and
    /// returns how many. Files of lists that have expired, or that a newer one has replaced, are
    /// removed; those of lists for which there is no [room](Self::with_max_memory) stay. A damaged
    /// file is moved to the folder `.damaged`, where the newest eight stay, and reported to the
    /// log.
    ///
    /// # Errors
    ///
    /// An error of the file system. The lists that were read before it are loaded.
    ///
    /// # Cancel safety
    ///
    /// The lists that were read before the future is dropped are loaded.
    pub async fn load(&self, now: UnixTime) -> std::io::Result<usize> {
        let Some(folder) = &self.folder else {
            return Ok(0);
        };
        let there = Arc::clone(folder);
        let files = spawn_blocking(move || there.unloaded()).await??;
        let mut loaded = 0;
        for file in files {
            let (fetcher, there) = (self.clone(), Arc::clone(folder));
            let restored = spawn_blocking(move || fetcher.restore(&there, file, now)).await?;
            loaded += usize::from(restored);
        }
        Ok(loaded)
    }

    /// Loads a list that was kept. It blocks on the disk, and while the list is parsed.
    fn restore(&self, folder: &Folder, file: PathBuf, now: UnixTime) -> bool {
        let Some(kept) = folder.read(&file, self.max_len) else { return false };
        let parsed = Crl::from_der(&kept.der).map_err(|error| ReplaceError::Crl(error).into());
        let restored = parsed.and_then(|list| {
            let list = Arc::new(list);
            let restore = |trust: &mut Trust| {
                let replaced = trust.restore_fetched_crl(&kept.roots, Arc::clone(&list), now)?;
                self.check_room(trust).map(|()| replaced)
            };
            self.trust.try_update(restore).map(|replaced| (list, replaced))
        });
        match restored {
            Ok((list, replaced)) => {
                folder.loaded(file, &list);
                // The file of a list that this one has replaced, or that is loaded already.
                if replaced != Replaced::Added {
                    folder.sweep(&self.trust.load());
                }
                replaced != Replaced::Unchanged
            }
            Err(CrlFetchError::List(
                error @ (ReplaceError::Expired { .. } | ReplaceError::Older { .. }),
            )) => {
                tracing::debug!(url = kept.url, %error, "a kept revocation list is removed");
                store::remove(&file);
                false
            }
            Err(error @ CrlFetchError::NoRoom { .. }) => {
                let code = error.code();
                tracing::warn!(url = kept.url, code, %error, "a kept revocation list is not loaded");
                false
            }
            Err(error) => {
                tracing::warn!(url = kept.url, %error, "a kept revocation list cannot be used");
                folder.set_aside(&file, "it cannot be used");
                false
            }
        }
    }

    /// Whether the lists that were fetched have room.
    fn check_room(&self, trust: &Trust) -> Result<(), CrlFetchError> {
        let (needed, limit) = (trust.fetched_crl_memory(), self.max_memory);
        match needed <= limit {
            true => Ok(()),
            false => Err(CrlFetchError::NoRoom { needed, limit }),
        }
    }

    /// Fetches the lists that are due, at most eight at the same time, and returns what became of
    /// each. A list that is fetched already, for a delivery that waits, is left out. A list that
    /// could not be fetched, or is not newer, waits for a minute, and longer with each failure.
    ///
    /// Before that, fetched lists that are not wanted any more are dropped with their files, if
    /// they expire before the next look.
    ///
    /// # Cancel safety
    ///
    /// Fetches that run are given up; the lists that came before the future is dropped are loaded,
    /// though the last of them may not be on disk.
    pub async fn refresh(&self, now: UnixTime) -> Vec<FetchedList> {
        self.drop_expired(now).await;
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
        if let Err(error) = self.load(UnixTime::now()).await {
            tracing::warn!(%error, "the kept revocation lists cannot be read; they are fetched again");
        }
        loop {
            self.refresh(UnixTime::now()).await;
            tokio::time::sleep(self.interval).await;
        }
    }

    /// Drops the lists that will have expired at the next look, and are not wanted any more: they
    /// would make the next certificate fail that they cover.
    async fn drop_expired(&self, now: UnixTime) {
        let fetcher = self.clone();
        let next_look = now.as_secs().saturating_add(self.interval.as_secs());
        let next_look = UnixTime::since_unix_epoch(Duration::from_secs(next_look));
        let dropping = spawn_blocking(move || {
            let dropped = fetcher.trust.update(|trust| trust.drop_expired_crls(next_look));
            if dropped && let Some(folder) = &fetcher.folder {
                folder.sweep(&fetcher.trust.load());
            }
        });
        if let Err(error) = dropping.await {
            tracing::error!(%error, "the removal of expired revocation lists broke");
        }
    }

    /// Tries the URLs of a list in order, until one brings a newer list that has not expired, and
    /// loads and keeps what comes.
    async fn fetch(self, wanted: WantedList, lead: Lead, now: UnixTime) -> FetchedList {
        let reach = match wanted.roots == RootsId::public() {
            true => self.reach,
            false => Reach::Any,
        };
        let mut best = (String::new(), Err(CrlFetchError::Url(HttpUrlError::Scheme)));
        for url in &wanted.urls {
            let taken = match http::get(url, self.max_len, self.timeout, reach, &self.finder).await
            {
                Ok(der) => self.take(&wanted, der, now).await,
                Err(error) => Err(error),
            };
            if let Err(error) = &taken {
                let code = error.code();
                tracing::debug!(url, code, %error, "no revocation list from this URL");
            }
            // The server of one URL must not hide what the others have.
            let is_over = match &taken {
                Ok(it) => it.is_new() && it.list.next_update() > now,
                Err(error) => matches!(error, CrlFetchError::NoRoom { .. }),
            };
            if rank(&taken) >= rank(&best.1) {
                best = (url.clone(), taken);
            }
            if is_over {
                break;
            }
        }
        let (url, taken) = best;
        // A list that is new may be due again at once, if its issuer is late.
        lead.done(taken.as_ref().is_ok_and(Taken::is_new), now);
        let outcome = match taken {
            Ok(taken) => {
                let replaced = taken.replaced;
                tracing::debug!(url, ?replaced, "fetched a revocation list");
                if taken.is_new() {
                    self.keep(&wanted, &url, taken).await;
                }
                Ok(replaced)
            }
            Err(error) => {
                tracing::warn!(
                    url,
                    roots = %wanted.roots,
                    code = error.code(),
                    %error,
                    "a revocation list cannot be refreshed; when the loaded one expires, the rule of \
                     the connector decides about certificates of its issuer"
                );
                Err(error)
            }
        };
        FetchedList { roots: wanted.roots, url, outcome }
    }

    /// Loads what a fetch brought, in a thread where it may take its time: a long list is parsed
    /// and hashed.
    async fn take(
        &self,
        wanted: &WantedList,
        der: Vec<u8>,
        now: UnixTime,
    ) -> Result<Taken, CrlFetchError> {
        let (fetcher, wanted) = (self.clone(), wanted.clone());
        spawn_blocking(move || {
            let list = Arc::new(Crl::from_der(&der).map_err(ReplaceError::Crl)?);
            let replace = |trust: &mut Trust| {
                let replaced = trust.replace_wanted_crl(&wanted, Arc::clone(&list), now)?;
                // An error leaves the trust as it is, with the lists that are dropped here.
                trust.drop_unwanted_crls(fetcher.max_memory, now);
                fetcher.check_room(trust).map(|()| replaced)
            };
            let replaced = fetcher.trust.try_update(replace)?;
            Ok(Taken { list, der, replaced })
        })
        .await?
    }

    /// Keeps a list on disk, and removes the files of those that it has replaced.
    async fn keep(&self, wanted: &WantedList, url: &str, taken: Taken) {
        let Some(folder) = &self.folder else { return };
        let (folder, trust) = (Arc::clone(folder), Arc::clone(&self.trust));
        let (roots, url) = (wanted.roots.clone(), url.to_owned());
        let keeping = spawn_blocking(move || {
            let written = folder.write(&roots, &url, &taken.der, &taken.list);
            if let Err(error) = written {
                let directory = folder.path().display();
                tracing::warn!(%directory, %error, "a revocation list cannot be kept on disk");
            }
            folder.sweep(&trust.load());
        });
        if let Err(error) = keeping.await {
            tracing::error!(%error, "the task that keeps a revocation list on disk broke");
        }
    }
}

/// A list that came, and what was done with it.
struct Taken {
    list: Arc<Crl>,
    der: Vec<u8>,
    replaced: Replaced,
}

impl Taken {
    fn is_new(&self) -> bool {
        self.replaced != Replaced::Unchanged
    }
}

/// Of what several URLs bring, the highest counts.
fn rank(taken: &Result<Taken, CrlFetchError>) -> u8 {
    match taken {
        Err(_) => 0,
        Ok(taken) => 1 + u8::from(taken.is_new()),
    }
}
