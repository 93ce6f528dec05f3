//! The cache of policies as a machine without I/O (RFC 8461, sections 3.3 and 5.1): what applies
//! now, what to fetch, when to refresh, when to back off.
//!
//! For each delivery the caller looks up the TXT records of [`record_name`](super::record_name) and
//! tells [`Cache::discovered`], which answers or asks for a fetch; what the fetch gave goes to
//! [`Cache::fetched`]:
//!
//! ```
//! use std::time::Duration;
//! use smtp_tls_policy::Domain;
//! use smtp_tls_policy::pki_types::UnixTime;
//! use smtp_tls_policy::sts::*;
//!
//! let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
//! let mut cache = Cache::new();
//! let next_hop = Domain::parse("example.com")?;
//!
//! let records = [["v=STSv1; id=1;"]]; // from DNS
//! let id = PolicyId::find(&records).map_err(Trouble::Record);
//! let Discovered::Fetch(fetch) = cache.discovered(&next_hop, id, now) else {
//!     panic!("nothing is cached")
//! };
//! assert_eq!(fetch.url(), "https://mta-sts.example.com/.well-known/mta-sts.txt");
//! let body = b"version: STSv1\nmode: enforce\nmx: *.example.com\nmax_age: 604800"; // by HTTPS
//! let policy = PolicyText::from_response(200, Some("text/plain"), body);
//! let fetched = cache.fetched(fetch, policy, now);
//!
//! let applied = fetched.answer.policy.expect("a policy applies");
//! assert!(applied.policy().permits(&Domain::parse("mx1.example.com")?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The policy domain is the next hop: the recipient domain, or the smart host where one is
//! configured; never a parent, never an address literal (RFC 8461, section 3.4). A policy is found
//! under exactly the domain it was fetched for, so no two domains share one, whatever MX hosts they
//! share.
//!
//! In the background, [`Cache::due`] names the policies to be fetched again before they expire.
//!
//! Before mail is bounced for an `enforce` policy, call [`Cache::discovered`] once more
//! (RFC 8461, section 5).

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use pki_types::UnixTime;

use super::attempts::{Attempt, Attempts};
use super::fetch::{FetchError, policy_host};
use super::messages::{
    CachedPolicy, Discovered, Due, Fetch, FetchEnd, StoreChange, StsAnswer, Trouble, after,
};
use super::policy::{Mode, PolicyText};
use super::times::REFRESH_RETRY;
use super::txt::PolicyId;
use crate::domain::Domain;

/// Most policies that a [`Cache`] holds, unless set. Our own choice.
const MAX_POLICIES: usize = 10_000;
/// Most fetches that a [`Cache`] remembers, unless set. Our own choice.
const MAX_ATTEMPTS: usize = 10_000;

/// The cache. Time is an argument: wall-clock time, for policies outlive the process.
#[derive(Debug)]
pub struct Cache {
    max_policies: usize,
    known: HashMap<Domain, Known>,
    /// By what goes first when there is no room: mode, then last use.
    by_worth: BTreeSet<(Mode, u64, Domain)>,
    by_due: BTreeSet<(UnixTime, Domain)>,
    attempts: Attempts,
    uses: u64,
}

#[derive(Debug)]
struct Known {
    cached: CachedPolicy,
    used: u64,
    due: UnixTime,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new()
    }
}

impl Cache {
    /// An empty cache of at most 10,000 policies and 10,000 attempts.
    pub fn new() -> Self {
        Self {
            max_policies: MAX_POLICIES,
            known: HashMap::new(),
            by_worth: BTreeSet::new(),
            by_due: BTreeSet::new(),
            attempts: Attempts::new(MAX_ATTEMPTS),
            uses: 0,
        }
    }

    /// Holds at most this many policies from now on; each one costs at most
    /// [`MAX_POLICY_LEN`](super::MAX_POLICY_LEN) bytes, and some hundred as a rule. Where one must
    /// go, it is one of mode none, then testing, then enforce, and of these the least recently
    /// used; a policy never takes the place of one of a stricter mode.
    #[must_use]
    pub fn with_max_policies(self, max_policies: usize) -> Self {
        Self { max_policies, ..self }
    }

    /// Remembers at most this many fetches that are under way, or failed within
    /// [`FETCH_BACKOFF`](super::FETCH_BACKOFF). What was remembered before is forgotten.
    #[must_use]
    pub fn with_max_attempts(self, max_attempts: usize) -> Self {
        Self { attempts: Attempts::new(max_attempts), ..self }
    }

    /// Takes over what a store held. Expired policies, and those for
    /// which there is no room, are not taken. The changes are to be made in the store.
    ///
    /// The clock must have been set: a policy from the future counts as fetched `now`, and is gone
    /// when a clock that was late by more than its max_age is put forward.
    pub fn restore(
        &mut self,
        policies: impl IntoIterator<Item = CachedPolicy>,
        now: UnixTime,
    ) -> Vec<StoreChange> {
        let mut changes = Vec::new();
        for mut cached in policies {
            // A clock that once ran ahead must not make a policy last for longer than its max_age
            // from now.
            let ahead = cached.fetched > now;
            cached.fetched = cached.fetched.min(now);
            if cached.expires() < now {
                changes.push(StoreChange::Remove(cached.domain));
            } else {
                let stored =
                    |change: &StoreChange| !ahead && matches!(change, StoreChange::Save(_));
                changes.extend(self.insert(cached).into_iter().filter(|change| !stored(change)));
            }
        }
        changes
    }

    /// How many policies are held, expired ones included until [`Cache::due`] has named them.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// The policies that are held, of whichever mode and in no order, expired ones included until
    /// [`Cache::due`] has named them.
    pub fn policies(&self) -> impl Iterator<Item = &CachedPolicy> {
        self.known.values().map(|known| &known.cached)
    }

    /// Whether no policy is held.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The policy of exactly this domain, of whichever mode, unless it has expired.
    pub fn current(&self, domain: &Domain, now: UnixTime) -> Option<&CachedPolicy> {
        self.known.get(domain).map(|known| &known.cached).filter(|cached| now <= cached.expires())
    }

    /// What applies to this domain now, without looking anything up.
    pub fn applies(&mut self, domain: &Domain, now: UnixTime) -> StsAnswer {
        self.answer(domain, None, now)
    }

    /// The record was looked up, and this is its id ([`PolicyId::find`]), or why there is none:
    /// [`Trouble::Lookup`], [`Trouble::Record`] or [`FetchError::Local`].
    ///
    /// A fetch is needed where no policy is cached, where the id is new, and once a day.
    pub fn discovered(
        &mut self,
        domain: &Domain,
        id: Result<Option<PolicyId>, Trouble>,
        now: UnixTime,
    ) -> Discovered {
        let current = self.current(domain, now);
        let (id, host) = match (id, policy_host(domain)) {
            (Ok(Some(id)), Some(host)) => (id, host),
            (Ok(None), _) => {
                let vanished = current.map(|_| Trouble::Vanished);
                return Discovered::Done(self.answer(domain, vanished, now));
            }
            (Err(trouble), _) => {
                return Discovered::Done(self.answer(domain, Some(trouble), now));
            }
            (Ok(Some(_)), None) => return Discovered::Done(self.answer(domain, None, now)),
        };
        if current.is_some_and(|cached| cached.id == id && now < cached.refresh_at()) {
            return Discovered::Done(self.answer(domain, None, now));
        }
        match self.attempts.find(domain, &id, now) {
            Some(Attempt::UnderWay) => Discovered::UnderWay,
            Some(Attempt::Failed(error)) => {
                Discovered::Done(self.answer(domain, Some(error.into()), now))
            }
            None => {
                self.attempts.began(domain, &id, now);
                Discovered::Fetch(Fetch { domain: domain.clone(), host, id })
            }
        }
    }

    /// The record was looked up because of a [`Due::Refresh`]. The same as
    /// [`discovered`](Cache::discovered) where there is an id. Where there is none, the policy is
    /// fetched under the id of the cached one, so that an attacker who suppresses the record alone
    /// does not outlast the policy (RFC 8461, section 10.2: "regardless of the state of the
    /// "_mta-sts" TXT record"); but not one of mode none, which is how a policy goes (section 8.3).
    pub fn refresh(
        &mut self,
        domain: &Domain,
        id: Result<Option<PolicyId>, Trouble>,
        now: UnixTime,
    ) -> Discovered {
        let kept = self.current(domain, now).filter(|cached| cached.policy.mode() != Mode::None);
        let id = match (id, kept) {
            (Ok(None) | Err(_), Some(cached)) => Ok(Some(cached.id.clone())),
            (id, _) => id,
        };
        self.discovered(domain, id, now)
    }

    /// The fetch ended. A policy takes the place of the cached one, whatever its mode; a failure
    /// changes nothing that applies, and the same version is left alone for
    /// [`FETCH_BACKOFF`](super::FETCH_BACKOFF), unless the fault was of this side.
    pub fn fetched(
        &mut self,
        fetch: Fetch,
        policy: Result<PolicyText, FetchError>,
        now: UnixTime,
    ) -> FetchEnd {
        let Fetch { domain, id, .. } = fetch;
        match policy {
            Ok(policy) => {
                self.attempts.ended(&domain);
                let cached = CachedPolicy { domain, id, fetched: now, policy };
                // It applies to the delivery that waits for it even where there is no room to keep
                // it.
                let answer =
                    StsAnswer { policy: active(&cached).cloned(), trouble: defect(&cached) };
                FetchEnd { answer, changes: self.insert(cached) }
            }
            Err(error) => {
                match error {
                    FetchError::Local => self.attempts.ended(&domain),
                    _ => self.attempts.failed(&domain, &id, error, now),
                }
                FetchEnd {
                    answer: self.answer(&domain, Some(error.into()), now),
                    changes: Vec::new(),
                }
            }
        }
    }

    /// The fetch for this domain was given up half-way, as when the delivery that had asked for it
    /// is: the next one makes it anew.
    pub fn given_up(&mut self, domain: &Domain) {
        self.attempts.ended(domain);
    }

    /// What is due in the background: call it until it gives `None`, then again at
    /// [`Cache::deadline`].
    pub fn due(&mut self, now: UnixTime) -> Option<Due> {
        let (time, domain) = self.by_due.first()?.clone();
        if now < time {
            return None;
        }
        let known = self.known.get_mut(&domain)?;
        if known.cached.expires() < now {
            self.remove(&domain);
            return Some(Due::Expired(StoreChange::Remove(domain)));
        }
        self.by_due.remove(&(time, domain.clone()));
        // A refresh that works sets another time; this is for the one that does not.
        known.due =
            after(now, REFRESH_RETRY).min(after(known.cached.expires(), Duration::from_secs(1)));
        self.by_due.insert((known.due, domain.clone()));
        Some(Due::Refresh(domain))
    }

    /// When [`Cache::due`] has something to say next.
    pub fn deadline(&self) -> Option<UnixTime> {
        self.by_due.first().map(|(time, _)| *time)
    }

    fn answer(&mut self, domain: &Domain, trouble: Option<Trouble>, now: UnixTime) -> StsAnswer {
        self.touch(domain);
        match self.current(domain, now) {
            // RFC 8461, section 3.3: alert "unless the cached policy mode is "none"", which is how
            // a policy goes (8.3).
            Some(cached) if cached.policy.mode() == Mode::None => StsAnswer::default(),
            Some(cached) => StsAnswer {
                policy: Some(cached.clone()),
                trouble: trouble.or_else(|| defect(cached)),
            },
            None => StsAnswer { policy: None, trouble },
        }
    }

    fn touch(&mut self, domain: &Domain) {
        if let Some(known) = self.known.get_mut(domain) {
            let mode = known.cached.policy.mode();
            self.by_worth.remove(&(mode, known.used, domain.clone()));
            self.uses += 1;
            known.used = self.uses;
            self.by_worth.insert((mode, known.used, domain.clone()));
        }
    }

    fn insert(&mut self, cached: CachedPolicy) -> Vec<StoreChange> {
        let mut changes = Vec::with_capacity(2);
        if !self.remove(&cached.domain) && self.known.len() >= self.max_policies {
            match self.by_worth.first() {
                Some((mode, _, domain)) if *mode <= cached.policy.mode() => {
                    let domain = domain.clone();
                    self.remove(&domain);
                    changes.push(StoreChange::Remove(domain));
                }
                // All that is held is stricter, or nothing may be held.
                _ => return vec![StoreChange::Remove(cached.domain)],
            }
        }
        self.uses += 1;
        let (used, due, domain) = (self.uses, cached.refresh_at(), cached.domain.clone());
        self.by_worth.insert((cached.policy.mode(), used, domain.clone()));
        self.by_due.insert((due, domain.clone()));
        changes.push(StoreChange::Save(cached.clone()));
        self.known.insert(domain, Known { cached, used, due });
        changes
    }

    /// Forgets a policy; whether there was one.
    fn remove(&mut self, domain: &Domain) -> bool {
        let Some(Known { cached, used, due }) = self.known.remove(domain) else { return false };
        self.by_worth.remove(&(cached.policy.mode(), used, domain.clone()));
        self.by_due.remove(&(due, domain.clone()));
        true
    }
}

/// RFC 8461, section 5: mode none is "as though it does not have any active policy".
fn active(cached: &CachedPolicy) -> Option<&CachedPolicy> {
    (cached.policy.mode() != Mode::None).then_some(cached)
}

/// What is to be reported of a policy that applies in spite of a fault in its text.
fn defect(cached: &CachedPolicy) -> Option<Trouble> {
    cached.policy.defect().map(|defect| Trouble::Fetch(FetchError::Policy(defect)))
}
