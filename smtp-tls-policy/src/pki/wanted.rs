//! The revocation lists that judged chains name, so that a task can fetch them.
//!
//! A judgement records the distribution points of the certificates of a verified path. It takes no
//! lock: it reads a table, and in most cases finds that the points are there. A chain that leads to
//! no trusted root is not recorded, so that a stranger cannot make this side fetch anything.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use pki_types::UnixTime;

use crate::http_url::HttpUrl;
use crate::pki::comparison::ComparableName;
use crate::pki::roots::RootsId;

/// Most lists that a set of roots remembers as wanted. Public authorities cut their lists into some
/// hundred parts each.
pub const MAX_WANTED_LISTS: usize = 4096;
/// Most octets of a URL that is remembered.
const MAX_URL_LEN: usize = 1024;
/// Most URLs of one distribution point that are remembered.
const MAX_URLS: usize = 4;
/// How long a list is wanted after the last judgement that named it.
pub const WANTED_FOR: Duration = Duration::from_secs(14 * 24 * 3600);
/// A judgement notes its time only if the last note is as old as this, so that threads that judge
/// do not take the cache line from each other.
const RESOLUTION: u64 = 3600;
/// Slots that are tried for one entry.
const MAX_PROBES: usize = 32;

/// A revocation list that a judged chain names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WantedList {
    /// The set of roots to which it belongs.
    pub roots: RootsId,
    /// Where to fetch it, by HTTP: at least one URL. Any of them serves the same list (RFC 5280,
    /// section 4.2.1.13).
    pub urls: Vec<String>,
    /// When to fetch it: when three quarters of the life of the loaded list are over, or 1970 if no
    /// such list is loaded.
    pub due: UnixTime,
    /// When the loaded list expires; `None` if no such list is loaded.
    pub next_update: Option<UnixTime>,
    /// The issuer and its key, as the judged chains show them.
    pub(crate) point: Arc<WantedPoint>,
}

impl WantedList {
    /// `dates` are those of the loaded list: when it is due, and when it expires.
    pub(crate) fn new(
        roots: RootsId,
        point: Arc<WantedPoint>,
        dates: Option<(UnixTime, UnixTime)>,
    ) -> Self {
        let (due, next_update) = dates.unzip();
        let urls = point.urls.to_vec();
        let due = due.unwrap_or(UnixTime::since_unix_epoch(Duration::ZERO));
        Self { roots, urls, due, next_update, point }
    }
}

/// One distribution point of an issuer.
#[derive(Debug)]
pub(crate) struct WantedPoint {
    pub(crate) issuer: ComparableName,
    /// The SubjectPublicKeyInfo of the issuer, which verified the certificate that names the point.
    pub(crate) key: Box<[u8]>,
    pub(crate) urls: Box<[String]>,
    /// Seconds since 1970.
    seen: AtomicU64,
}

impl WantedPoint {
    /// `None` if the list cannot be fetched by any of the URLs.
    pub(crate) fn new(
        issuer: &ComparableName,
        key: &[u8],
        urls: &[&str],
        now: UnixTime,
    ) -> Option<Self> {
        let urls = fetchable(urls);
        (!urls.is_empty()).then(|| Self::of(issuer, key, &urls, now))
    }

    fn of(issuer: &ComparableName, key: &[u8], urls: &[&str], now: UnixTime) -> Self {
        Self {
            issuer: issuer.clone(),
            key: key.into(),
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            seen: AtomicU64::new(now.as_secs()),
        }
    }
}

/// The time of the last judgement makes no difference.
impl PartialEq for WantedPoint {
    fn eq(&self, other: &Self) -> bool {
        (&self.issuer, &self.key, &self.urls) == (&other.issuer, &other.key, &other.urls)
    }
}

impl Eq for WantedPoint {}

/// The distribution points that the judgements by one set of roots have seen, shared by all copies
/// of the set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted(Arc<ArcSwapOption<Table>>);

/// A hash table with open addressing, to which entries are only added.
#[derive(Debug)]
struct Table {
    slots: Box<[OnceLock<Arc<WantedPoint>>]>,
    hasher: RandomState,
}

impl Wanted {
    /// Records a distribution point that a certificate of this issuer names, by the URLs of its
    /// list.
    pub(crate) fn record(&self, issuer: &ComparableName, key: &[u8], urls: &[&str], now: UnixTime) {
        let urls = fetchable(urls);
        if urls.is_empty() {
            return;
        }
        let table = self.0.load();
        match &*table {
            Some(table) => table.record(issuer, key, &urls, now),
            None => {
                // Of two threads that come first one makes the table.
                let made = Arc::new(Table::new());
                let before = self.0.compare_and_swap(&*table, Some(Arc::clone(&made)));
                before.as_ref().unwrap_or(&made).record(issuer, key, &urls, now);
            }
        }
    }

    /// The points that were seen in the last [`WANTED_FOR`]. The others are forgotten.
    pub(crate) fn points(&self, now: UnixTime) -> Vec<Arc<WantedPoint>> {
        let Some(table) = self.0.load_full() else {
            return Vec::new();
        };
        let oldest = now.as_secs().saturating_sub(WANTED_FOR.as_secs());
        let (fresh, stale): (Vec<_>, Vec<_>) = table
            .slots
            .iter()
            .filter_map(OnceLock::get)
            .cloned()
            .partition(|point| point.seen.load(Ordering::Relaxed) >= oldest);
        if !stale.is_empty() {
            let next = Table::new();
            for point in &fresh {
                next.insert(Arc::clone(point));
            }
            // What a judgement records meanwhile is recorded again by the next one that names it.
            self.0.store(Some(Arc::new(next)));
        }
        fresh
    }
}

impl Table {
    fn new() -> Self {
        let slots = std::iter::repeat_with(OnceLock::new).take(MAX_WANTED_LISTS).collect();
        Self { slots, hasher: RandomState::new() }
    }

    /// The slots for an entry, in the order in which they are tried.
    fn slots_of(
        &self,
        issuer: &ComparableName,
        url: &str,
    ) -> impl Iterator<Item = &OnceLock<Arc<WantedPoint>>> {
        let hash = self.hasher.hash_one((issuer, url)) >> 32;
        let first = usize::try_from(hash).unwrap_or(0) % MAX_WANTED_LISTS;
        let (before, after) = self.slots.split_at(first.min(self.slots.len()));
        after.iter().chain(before).take(MAX_PROBES)
    }

    fn record(&self, issuer: &ComparableName, key: &[u8], urls: &[&str], now: UnixTime) {
        let Some(first) = urls.first() else { return };
        let is_same = |point: &WantedPoint| {
            point.issuer == *issuer && *point.key == *key && point.urls.iter().eq(urls.iter())
        };
        for slot in self.slots_of(issuer, first) {
            let point = slot.get_or_init(|| Arc::new(WantedPoint::of(issuer, key, urls, now)));
            if is_same(point) {
                if point.seen.load(Ordering::Relaxed).saturating_add(RESOLUTION) < now.as_secs() {
                    point.seen.store(now.as_secs(), Ordering::Relaxed);
                }
                return;
            }
        }
        // The table is full: the point is recorded once others are forgotten.
    }

    fn insert(&self, point: Arc<WantedPoint>) {
        let mut point = point;
        let Some(first) = point.urls.first().cloned() else { return };
        let issuer = point.issuer.clone();
        for slot in self.slots_of(&issuer, &first) {
            match slot.set(point) {
                Ok(()) => return,
                Err(back) => point = back,
            }
        }
    }
}

/// The URLs of a distribution point by which its list can be fetched, as many as are remembered.
fn fetchable<'a>(urls: &[&'a str]) -> Vec<&'a str> {
    urls.iter().copied().filter(|url| is_fetchable(url)).take(MAX_URLS).collect()
}

/// Lists are fetched by HTTP without TLS: they are signed, and the certificate of a server would
/// have to be checked by lists in turn (RFC 5280, section 8).
fn is_fetchable(url: &str) -> bool {
    url.len() <= MAX_URL_LEN && HttpUrl::parse(url).is_ok_and(|url| !url.is_https())
}
