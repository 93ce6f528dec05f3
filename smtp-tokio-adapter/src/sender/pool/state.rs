//! The state of a pool, without I/O: connections in use and idle, and the queue of deliveries.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use rustls::sign::CertifiedKey;
use smtp_tls_policy::Host;
use smtp_tls_policy::pki::Generation;
use tokio::time::Instant;

use super::limits::PoolLimits;
use crate::client::reuse::{Place, ReuseKey};
use crate::metering::PoolCounts;

/// How long a connection may be idle without a limit.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// How much later than its time a connection may be closed: a pool with open connections is looked
/// at so often.
const MOST_LATE: Duration = Duration::from_secs(1);

/// What may change while a connection is kept. One that was opened on other terms is not reused.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The trust by which the peer is judged.
    pub(crate) trust: Generation,
    /// The certificate that is shown.
    pub(crate) identity: Option<Arc<CertifiedKey>>,
}

impl PartialEq for Terms {
    fn eq(&self, other: &Self) -> bool {
        let is_same = match (&self.identity, &other.identity) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        self.trust == other.trust && is_same
    }
}

/// A connection that has carried messages, or is about to.
#[derive(Debug)]
pub(crate) struct Kept<C> {
    pub(crate) connection: C,
    /// The address of the peer.
    pub(crate) address: SocketAddr,
    /// What was in force when it was opened.
    pub(crate) terms: Terms,
    /// When it was opened.
    pub(crate) opened: Instant,
    /// Messages that it has carried.
    pub(crate) messages: u32,
}

impl<C> Kept<C> {
    pub(crate) fn new(connection: C, address: SocketAddr, terms: Terms) -> Self {
        Self { connection, address, terms, opened: Instant::now(), messages: 0 }
    }
}

/// The answer to a delivery that asks for a connection.
pub(super) enum Answer<C> {
    /// Its turn: with a kept connection, or with leave to open one.
    Turn(Option<Kept<C>>),
    /// It waits under this number.
    Wait(u64),
    /// Too many deliveries wait.
    Full,
}

/// A turn for a delivery that waited, and what wakes the delivery.
pub(super) struct Grant<C, W> {
    pub(super) key: Arc<ReuseKey>,
    pub(super) wake: W,
    pub(super) kept: Option<Kept<C>>,
}

#[derive(Debug)]
struct Idle<C> {
    /// Of two connections, the one that has been idle for a longer time has the lower one.
    number: u64,
    kept: Kept<C>,
    until: Instant,
}

type ByKey<T> = HashMap<Arc<ReuseKey>, T, BuildHasherDefault<HashOfKey>>;

/// Passes on the hash that a key has of itself.
#[derive(Default)]
struct HashOfKey(u64);

impl Hasher for HashOfKey {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// No key writes anything but its hash; a hasher must take octets all the same.
    fn write(&mut self, octets: &[u8]) {
        for &octet in octets {
            self.0 = self.0.rotate_left(8) ^ u64::from(octet);
        }
    }
}

/// Deliveries to one next hop, by key and in the order of their arrival. No queue is empty.
type Queues<W> = ByKey<BTreeMap<u64, W>>;

/// The connections and the waiting deliveries of one host and port.
#[derive(Debug)]
struct AtPlace<C, W> {
    open: usize,
    keys: ByKey<AtKey<C>>,
    /// Deliveries that wait, by next hop. No next hop is without any.
    queues: BTreeMap<Host, Queues<W>>,
    /// The next hop that had the last turn.
    last: Option<Host>,
}

#[derive(Debug)]
struct AtKey<C> {
    open: usize,
    /// The one that was used last is at the end.
    idle: Vec<Idle<C>>,
}

impl<C> Default for AtKey<C> {
    fn default() -> Self {
        Self { open: 0, idle: Vec::new() }
    }
}

impl<C, W> Default for AtPlace<C, W> {
    fn default() -> Self {
        let (keys, queues) = (ByKey::default(), BTreeMap::new());
        Self { open: 0, keys, queues, last: None }
    }
}

impl<C, W> AtPlace<C, W> {
    fn has_idle(&self) -> bool {
        self.keys.values().any(|of| !of.idle.is_empty())
    }
}

/// The books of a pool of connections `C`, in which a waiting delivery is woken by `W`.
///
/// Between two calls no delivery waits that could have a turn, so a new delivery never overtakes
/// one that waits for the same connection. Hosts have their turns in a circle, and so have the next
/// hops of one host; the deliveries of one next hop have theirs in order, except that one whose key
/// has all its connections holds up no delivery with another key.
#[derive(Debug)]
pub(super) struct State<C, W> {
    limits: PoolLimits,
    /// Connections that are in use, being opened, or idle.
    open: usize,
    places: BTreeMap<Place, AtPlace<C, W>>,
    /// Places at which deliveries wait.
    queued: BTreeSet<Place>,
    /// The place that had the last turn.
    last: Option<Place>,
    waiting: usize,
    /// The keys of the idle connections, by number: the one that has been idle for the longest time
    /// is first.
    idle: BTreeMap<u64, Arc<ReuseKey>>,
    next: u64,
    is_closed: bool,
    /// Connections that are to say QUIT.
    pub(super) leaving: Vec<C>,
    /// Whether a task closes connections whose time is over.
    pub(super) has_reaper: bool,
}

impl<C, W> State<C, W> {
    pub(super) fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            open: 0,
            places: BTreeMap::new(),
            queued: BTreeSet::new(),
            last: None,
            waiting: 0,
            idle: BTreeMap::new(),
            next: 0,
            is_closed: false,
            leaving: Vec::new(),
            has_reaper: false,
        }
    }

    pub(super) fn limits(&self) -> &PoolLimits {
        &self.limits
    }

    pub(super) fn counts(&self) -> PoolCounts {
        PoolCounts { open: self.open, idle: self.idle.len(), waiting: self.waiting }
    }

    pub(super) fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    /// The key of open connections that is equal to this one.
    pub(super) fn known(&self, key: &ReuseKey) -> Option<Arc<ReuseKey>> {
        let (known, _) = self.places.get(key.place())?.keys.get_key_value(key)?;
        Some(Arc::clone(known))
    }

    /// A delivery asks for a connection. `wake` is called for if it must wait.
    pub(super) fn ask(
        &mut self,
        key: &Arc<ReuseKey>,
        now: Instant,
        wake: impl FnOnce() -> W,
    ) -> Answer<C> {
        if !self.is_awaited(key)
            && let Some(kept) = self.turn(key, now)
        {
            return Answer::Turn(kept);
        }
        if self.waiting >= self.limits.waiting {
            return Answer::Full;
        }
        let (number, place) = (self.number(), key.place());
        let at = self.places.entry(place.clone()).or_default();
        let queues = at.queues.entry(key.next_hop().clone()).or_default();
        queues.entry(Arc::clone(key)).or_default().insert(number, wake());
        self.queued.insert(place.clone());
        self.waiting += 1;
        Answer::Wait(number)
    }

    /// A delivery waits no longer.
    pub(super) fn give_up(&mut self, key: &ReuseKey, number: u64) {
        self.dequeue(key, number);
    }

    /// A delivery is done. Its connection, if it may carry another message, is kept.
    pub(super) fn give_back(
        &mut self,
        key: &Arc<ReuseKey>,
        kept: Option<Kept<C>>,
        now: Instant,
    ) -> Vec<Grant<C, W>> {
        match kept {
            Some(kept) if self.may_keep(&kept, now) => self.keep(key, kept, now),
            kept => {
                self.leaving.extend(kept.map(|kept| kept.connection));
                self.release(key);
            }
        }
        let mut grants = Vec::new();
        while let Some(grant) = self.grant(now) {
            grants.push(grant);
        }
        while self.idle.len() > self.limits.idle {
            self.evict_first();
        }
        grants
    }

    /// Closes the connections whose time is over. Says when to look again; none if none is open.
    ///
    /// A connection that is in use may be idle soon, and its time over: none needs to be idle now.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        let over = self.all_idle().filter(|idle| idle.until <= now);
        let over: Vec<u64> = over.map(|idle| idle.number).collect();
        for number in over {
            self.evict(number);
        }
        let ends = self.all_idle().map(|idle| idle.until);
        let next = ends.chain([now + MOST_LATE]).min();
        next.filter(|_| self.open > 0)
    }

    /// Closes every idle connection, and keeps none from now on.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        while self.has_idle() {
            self.evict_first();
        }
    }

    fn may_keep(&self, kept: &Kept<C>, now: Instant) -> bool {
        !self.is_closed
            && self.limits.idle > 0
            && kept.messages < self.limits.messages
            && now.saturating_duration_since(kept.opened) < self.limits.age
    }

    fn keep(&mut self, key: &Arc<ReuseKey>, kept: Kept<C>, now: Instant) {
        // A limit of `Duration::MAX` is none.
        let ends =
            [now.checked_add(self.limits.idle_time), kept.opened.checked_add(self.limits.age)];
        let until = ends.into_iter().flatten().min().unwrap_or(now + A_YEAR);
        let number = self.number();
        // The connection is one of the open ones.
        if let Some(at) = self.places.get_mut(key.place())
            && let Some(of) = at.keys.get_mut(key)
        {
            of.idle.push(Idle { number, kept, until });
            self.idle.insert(number, Arc::clone(key));
        }
    }

    /// A turn for this key, if there is room for one.
    fn turn(&mut self, key: &Arc<ReuseKey>, now: Instant) -> Option<Option<Kept<C>>> {
        let place = key.place();
        while let Some(idle) = self.last_used(key) {
            if idle.until > now {
                return Some(Some(idle.kept));
            }
            self.release(key);
            self.leaving.push(idle.kept.connection);
        }
        let at = self.places.get(place);
        let of_key = at.and_then(|at| at.keys.get(key)).map_or(0, |of| of.open);
        let of_host = at.map_or(0, |at| at.open);
        if of_key >= self.limits.per_key {
            return None;
        }
        if of_host >= self.limits.per_host {
            let keys = at.into_iter().flat_map(|at| &at.keys);
            let keys = keys.filter(|(key, _)| self.is_dispensable(key, of_key));
            let first = keys.filter_map(|(_, of)| of.idle.first()).map(|idle| idle.number).min()?;
            self.evict(first);
        }
        if self.open >= self.limits.total {
            let mut keys = self.idle.iter();
            let first = keys.find(|(_, key)| self.is_dispensable(key, of_key))?;
            self.evict(*first.0);
        }
        self.open += 1;
        let at = self.places.entry(place.clone()).or_default();
        at.open += 1;
        at.keys.entry(Arc::clone(key)).or_default().open += 1;
        Some(None)
    }

    /// Whether an idle connection may be closed for a key with this many connections: any for a
    /// key without one; otherwise one that no delivery waits for, so that two next hops of one host
    /// do not close each other's connections in turn.
    fn is_dispensable(&self, key: &ReuseKey, of_key: usize) -> bool {
        of_key == 0 || !self.is_awaited(key)
    }

    /// Whether a delivery waits for a connection of this key.
    fn is_awaited(&self, key: &ReuseKey) -> bool {
        self.waiting > 0
            && self
                .places
                .get(key.place())
                .and_then(|at| at.queues.get(key.next_hop()))
                .is_some_and(|queues| queues.contains_key(key))
    }

    fn all_idle(&self) -> impl Iterator<Item = &Idle<C>> {
        self.places.values().flat_map(|at| at.keys.values()).flat_map(|of| &of.idle)
    }

    /// The next turn of a delivery that waits.
    fn grant(&mut self, now: Instant) -> Option<Grant<C, W>> {
        if self.waiting == 0 || self.open >= self.limits.total && !self.has_idle() {
            return None;
        }
        let mut place = self.last.clone();
        for _ in 0..self.queued.len() {
            place = following(&self.queued, place.as_ref()).cloned();
            let Some(place) = &place else { break };
            let Some(at) = self.places.get(place) else { continue };
            if at.open >= self.limits.per_host && !at.has_idle() {
                continue;
            }
            let (mut hop, hops) = (at.last.clone(), at.queues.len());
            for _ in 0..hops {
                let Some(at) = self.places.get(place) else { break };
                let next = at.queues.range((after(hop.as_ref()), Bound::Unbounded)).next();
                let Some((next, queues)) = next.or_else(|| at.queues.first_key_value()) else {
                    break;
                };
                hop = Some(next.clone());
                let front = |(key, queue): (&Arc<ReuseKey>, &BTreeMap<u64, W>)| {
                    queue.first_key_value().map(|(&number, _)| (number, Arc::clone(key)))
                };
                let mut fronts: Vec<(u64, Arc<ReuseKey>)> =
                    queues.iter().filter_map(front).collect();
                fronts.sort_unstable_by_key(|(number, _)| *number);
                for (number, key) in fronts {
                    let Some(kept) = self.turn(&key, now) else { continue };
                    let wake = self.dequeue(&key, number)?;
                    if let Some(at) = self.places.get_mut(place) {
                        at.last = hop;
                    }
                    self.last = Some(place.clone());
                    return Some(Grant { key, wake, kept });
                }
            }
        }
        None
    }

    fn dequeue(&mut self, key: &ReuseKey, number: u64) -> Option<W> {
        let place = key.place();
        let at = self.places.get_mut(place)?;
        let queues = at.queues.get_mut(key.next_hop())?;
        let queue = queues.get_mut(key)?;
        let wake = queue.remove(&number)?;
        self.waiting -= 1;
        if queue.is_empty() {
            queues.remove(key);
        }
        if queues.is_empty() {
            at.queues.remove(key.next_hop());
        }
        if at.queues.is_empty() {
            self.queued.remove(place);
        }
        self.tidy(place);
        Some(wake)
    }

    /// Takes the idle connection of this key out that was used last.
    fn last_used(&mut self, key: &ReuseKey) -> Option<Idle<C>> {
        let at = self.places.get_mut(key.place())?;
        let idle = at.keys.get_mut(key)?.idle.pop()?;
        self.idle.remove(&idle.number);
        Some(idle)
    }

    /// Closes an idle connection.
    fn evict(&mut self, number: u64) {
        let Some(key) = self.idle.remove(&number) else { return };
        if let Some(at) = self.places.get_mut(key.place())
            && let Some(of) = at.keys.get_mut(&key)
            && let Some(position) = of.idle.iter().position(|idle| idle.number == number)
        {
            self.leaving.push(of.idle.remove(position).kept.connection);
        }
        self.release(&key);
    }

    fn evict_first(&mut self) {
        if let Some((&number, _)) = self.idle.first_key_value() {
            self.evict(number);
        }
    }

    /// One connection of this key less.
    fn release(&mut self, key: &ReuseKey) {
        let place = key.place();
        self.open = self.open.saturating_sub(1);
        if let Some(at) = self.places.get_mut(place) {
            at.open = at.open.saturating_sub(1);
            if let Some(of) = at.keys.get_mut(key) {
                of.open = of.open.saturating_sub(1);
                if of.open == 0 {
                    at.keys.remove(key);
                }
            }
        }
        self.tidy(place);
    }

    /// Forgets a place without connections and waiting deliveries.
    fn tidy(&mut self, place: &Place) {
        let is_unused = |at: &AtPlace<C, W>| at.open == 0 && at.queues.is_empty();
        if self.places.get(place).is_some_and(is_unused) {
            self.places.remove(place);
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// The item after the one that had the last turn; the first one after the last.
fn following<'a, T: Ord>(items: &'a BTreeSet<T>, last: Option<&T>) -> Option<&'a T> {
    items.range((after(last), Bound::Unbounded)).next().or_else(|| items.first())
}

fn after<T>(last: Option<&T>) -> Bound<&T> {
    last.map_or(Bound::Unbounded, Bound::Excluded)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use smtp_tls_policy::pki::Trust;
    use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
    use smtp_tls_policy::rules::{OutboundConnector, Posture};
    use smtp_tls_policy::{Host, Namespace};
    use tokio::time::Instant;

    use super::{Answer, Kept, State, Terms};
    use crate::client::reuse::ReuseKey;
    use crate::client::target::Target;
    use crate::sender::pool::PoolLimits;

    fn key(domain: &str, host: &str) -> Arc<ReuseKey> {
        let connector = OutboundConnector::new("all", vec![Namespace::Default], Posture::None);
        let (domain, host) = (Host::parse(domain).unwrap(), Host::parse(host).unwrap());
        let plan = plan(&Facts::new(&connector, &domain, &host, HostOrigin::Mx)).unwrap();
        Arc::new(ReuseKey::new(&domain, &Target::new(&host, &plan), 25))
    }

    fn kept(connection: u32) -> Kept<u32> {
        let address = SocketAddr::from(([127, 0, 0, 1], 25));
        let terms = Terms { trust: Trust::empty().generation(), identity: None };
        Kept::new(connection, address, terms)
    }

    fn limits(per_host: usize, total: usize) -> PoolLimits {
        PoolLimits { per_host, total, ..PoolLimits::default() }
    }

    #[test]
    fn turns_go_round_the_next_hops_of_a_host() {
        let (mut state, now) = (State::<u32, &str>::new(limits(1, 10)), Instant::now());
        let (busy, quiet) = (key("busy.example", "mx.example"), key("quiet.example", "mx.example"));
        assert!(matches!(state.ask(&busy, now, || "first"), Answer::Turn(None)));
        for wake in ["second", "third", "fourth"] {
            assert!(matches!(state.ask(&busy, now, || wake), Answer::Wait(_)));
        }
        assert!(matches!(state.ask(&quiet, now, || "quiet"), Answer::Wait(_)));
        let (mut order, mut done) = (Vec::new(), busy);
        while let [grant] = &state.give_back(&done, None, now)[..] {
            order.push(grant.wake);
            done = Arc::clone(&grant.key);
        }
        assert_eq!(order, ["second", "quiet", "third", "fourth"]);
    }

    #[test]
    fn turns_go_round_the_hosts() {
        let (mut state, now) = (State::<u32, &str>::new(limits(10, 1)), Instant::now());
        let (busy, quiet) =
            (key("busy.example", "mx1.example"), key("quiet.example", "mx2.example"));
        assert!(matches!(state.ask(&busy, now, || "first"), Answer::Turn(None)));
        for wake in ["second", "third"] {
            assert!(matches!(state.ask(&busy, now, || wake), Answer::Wait(_)));
        }
        assert!(matches!(state.ask(&quiet, now, || "quiet"), Answer::Wait(_)));
        let (mut order, mut done) = (Vec::new(), busy);
        while let [grant] = &state.give_back(&done, None, now)[..] {
            order.push(grant.wake);
            done = Arc::clone(&grant.key);
        }
        assert_eq!(order, ["second", "quiet", "third"]);
    }

    #[test]
    fn idle_connection_of_another_key_makes_room() {
        let (mut state, now) = (State::<u32, ()>::new(limits(1, 10)), Instant::now());
        let (one, other) = (key("a.example", "mx.example"), key("b.example", "mx.example"));
        assert!(matches!(state.ask(&one, now, || ()), Answer::Turn(None)));
        assert!(state.give_back(&one, Some(kept(7)), now).is_empty());
        assert!(matches!(state.ask(&other, now, || ()), Answer::Turn(None)));
        assert_eq!(state.leaving, [7]);
    }

    #[test]
    fn waiting_delivery_gets_the_connection_of_an_equal_key() {
        let (mut state, now) = (State::<u32, ()>::new(limits(1, 10)), Instant::now());
        let key = key("a.example", "mx.example");
        assert!(matches!(state.ask(&key, now, || ()), Answer::Turn(None)));
        assert!(matches!(state.ask(&key, now, || ()), Answer::Wait(_)));
        let grants = state.give_back(&key, Some(kept(7)), now);
        let connections: Vec<_> =
            grants.iter().map(|it| it.kept.as_ref().map(|kept| kept.connection)).collect();
        assert_eq!(connections, [Some(7)]);
        assert!(state.leaving.is_empty());
    }

    #[test]
    fn key_with_all_its_connections_holds_up_no_other_key_of_its_next_hop() {
        let limits = PoolLimits { per_key: 1, ..PoolLimits::default() };
        let (mut state, now) = (State::<u32, &str>::new(limits), Instant::now());
        let full = key("a.example", "mx.example");
        let connector = OutboundConnector::new("all", vec![Namespace::Default], Posture::Encrypt);
        let (domain, host) =
            (Host::parse("a.example").unwrap(), Host::parse("mx.example").unwrap());
        let plan = plan(&Facts::new(&connector, &domain, &host, HostOrigin::Mx)).unwrap();
        let other = Arc::new(ReuseKey::new(&domain, &Target::new(&host, &plan), 25));
        assert!(matches!(state.ask(&full, now, || "first"), Answer::Turn(None)));
        assert!(matches!(state.ask(&full, now, || "second"), Answer::Wait(_)));
        assert!(matches!(state.ask(&other, now, || "other"), Answer::Turn(None)));
        assert!(matches!(state.ask(&other, now, || "other again"), Answer::Wait(_)));
        let granted = state.give_back(&other, None, now);
        assert_eq!(granted.iter().map(|it| it.wake).collect::<Vec<_>>(), ["other again"]);
    }

    #[test]
    fn limit_of_duration_max_is_none() {
        let (age, idle_time) = (Duration::MAX, Duration::MAX);
        let limits = PoolLimits { age, idle_time, ..PoolLimits::default() };
        let (mut state, now) = (State::<u32, ()>::new(limits), Instant::now());
        let key = key("a.example", "mx.example");
        assert!(matches!(state.ask(&key, now, || ()), Answer::Turn(None)));
        assert!(state.give_back(&key, Some(kept(7)), now).is_empty());
        assert!(state.expire(now + Duration::from_secs(3600)).is_some());
        assert!(matches!(state.ask(&key, now, || ()), Answer::Turn(Some(_))));
    }

    /// Otherwise a busy pool would begin to look anew after almost each message.
    #[test]
    fn pool_is_looked_after_while_a_connection_is_open() {
        let (age, idle_time) = (Duration::from_secs(20), Duration::from_secs(3600));
        let limits = PoolLimits { age, idle_time, ..PoolLimits::default() };
        let mut state = State::<u32, ()>::new(limits);
        let (key, kept) = (key("a.example", "mx.example"), kept(7));
        let opened = kept.opened;
        let after = |millis| opened + Duration::from_millis(millis);
        assert!(matches!(state.ask(&key, opened, || ()), Answer::Turn(None)));
        // In use, and idle a moment later until it is too old.
        assert_eq!(state.expire(after(18_500)), Some(after(19_500)));
        assert!(state.give_back(&key, Some(kept), after(18_600)).is_empty());
        assert_eq!(state.expire(after(19_500)), Some(after(20_000)));
        assert!(state.leaving.is_empty());
        assert_eq!(state.expire(after(20_000)), None);
        assert_eq!(state.leaving, [7]);
    }

    /// 1,000 domains over 100 hosts, each with three deliveries, and ten connections in all.
    #[test]
    fn no_domain_starves_and_nothing_is_left_in_the_books() {
        let (mut state, now) = (State::<u32, usize>::new(limits(2, 10)), Instant::now());
        let keys: Vec<_> = (0..1000)
            .map(|at| key(&format!("d{at}.example"), &format!("mx{}.example", at % 100)))
            .collect();
        let mut running = Vec::new();
        for _ in 0..3 {
            for (domain, key) in keys.iter().enumerate() {
                if let Answer::Turn(_) = state.ask(key, now, || domain) {
                    running.push((domain, Arc::clone(key)));
                }
            }
        }
        let mut served = Vec::new();
        while !running.is_empty() {
            assert!(running.len() <= 10);
            let (domain, key) = running.remove(0);
            served.push(domain);
            for grant in state.give_back(&key, Some(kept(0)), now) {
                running.push((grant.wake, grant.key));
            }
        }
        assert_eq!(served.len(), 3000);
        // Each domain has had its first turn before any waits for its third.
        let firsts: std::collections::BTreeSet<_> = served[..2010].iter().collect();
        assert_eq!(firsts.len(), 1000);
        state.close();
        assert!(state.places.is_empty() && state.queued.is_empty() && state.idle.is_empty());
        assert_eq!((state.open, state.waiting), (0, 0));
    }
}
