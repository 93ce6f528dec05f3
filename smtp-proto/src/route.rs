//! From one connection to the next: candidate hosts in order until every recipient has its final word.
//!
//! A [`Route`] is where [`Client`](crate::client::Client) ends: it knows no policy and does no I/O. It asks for what it
//! needs ([`Next::Prepare`]: addresses and rules of a host, lazily), says what to dial ([`Next::Dial`]), is told how
//! that ended ([`Ending`]), and goes on: the same address in clear text when [`after`](crate::fallback::after) said so,
//! the host's next address, the next host.
//!
//! ```
//! use smtp_proto::fallback::{Fallback, TlsMode, TlsRules};
//! use smtp_proto::wire::reply::EnhancedCode;
//! use smtp_proto::route::{RouteConfig, Ending, Mx, Next, Prepared, Route, Targets, Word};
//!
//! let mx = |preference, name: &str| Mx { preference, exchange: Some(name.parse().unwrap()) };
//! let targets = Targets::Mx {
//!     domain: "test.example".parse()?,
//!     records: vec![mx(20, "backup.test.example"), mx(10, "mx.test.example")],
//! };
//! let mut route = Route::new(targets, 1, &RouteConfig::default());
//! assert!(matches!(route.next(), Next::Prepare { host } if host.as_str() == "mx.test.example"));
//!
//! route.prepared(Prepared { addresses: vec!["192.0.2.1".parse()?], rules: TlsRules::OPPORTUNISTIC, implicit: false });
//! assert!(matches!(route.next(), Next::Dial { rules, .. } if rules.mode == TlsMode::Opportunistic));
//! route.ended(Ending::NoTls { fallback: Fallback::ReconnectPlaintext, status: EnhancedCode::new(4, 7, 5) });
//! // The same address and port again, without TLS.
//! assert!(matches!(route.next(), Next::Dial { address, rules, .. }
//!     if address == "192.0.2.1:25".parse().unwrap() && rules.mode == TlsMode::Never));
//! route.word(0, Word::Delivered);
//! route.ended(Ending::Finished);
//! assert!(matches!(route.next(), Next::Done { words: [Word::Delivered], .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::fallback::{Fallback, TlsMode, TlsRules};
use crate::wire::host::HostName;
use crate::wire::reply::EnhancedCode;

/// The port of SMTP (RFC 5321, 4.5.4.2); the clear retry goes to the port that was dialled.
pub const SMTP_PORT: u16 = 25;

/// RFC 3463, 3.2 and RFC 5321, 3.6.1: the domain does not exist.
pub const NO_SUCH_DOMAIN: EnhancedCode = EnhancedCode::new(5, 1, 2);
/// RFC 7505, 4.2: the domain accepts no mail.
pub const NULL_MX: EnhancedCode = EnhancedCode::new(5, 1, 10);
/// RFC 3463, 3.5: no host of the route has an address.
pub const NO_ADDRESS: EnhancedCode = EnhancedCode::new(5, 4, 4);
/// RFC 3463, 3.5: every host of the route is this one.
pub const LOOP: EnhancedCode = EnhancedCode::new(5, 4, 6);
/// RFC 3463, 3.5: a look-up failed for now.
pub const LOOKUP_FAILED: EnhancedCode = EnhancedCode::new(4, 4, 3);
/// RFC 3463, 3.5: no connection.
pub const NO_ANSWER: EnhancedCode = EnhancedCode::new(4, 4, 1);
/// RFC 3463, 3.5: the connection broke.
pub const BAD_CONNECTION: EnhancedCode = EnhancedCode::new(4, 4, 2);

/// Where the mail of a domain goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// MX records; none means that the domain is its own host (RFC 5321, 5.1).
    Mx {
        /// The domain of the recipients.
        domain: HostName,
        /// What the look-up found.
        records: Vec<Mx>,
    },
    /// One host without an MX look-up: a smart host, or an address literal.
    Host(HostName),
    /// The domain does not exist.
    NoSuchDomain,
    /// The look-up failed for now.
    LookupFailed,
}

/// An MX record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mx {
    /// Lower first.
    pub preference: u16,
    /// The host; none is the `.` of a null MX (RFC 7505).
    pub exchange: Option<HostName>,
}

/// How a route is walked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteConfig {
    /// Shuffles hosts of equal preference (RFC 5321, 5.1). Equal seeds give equal orders.
    pub seed: u64,
    /// Names of this host: they and every worse or equal preference are left out (RFC 5321, 5.1).
    pub own_names: Vec<HostName>,
    /// The port of every host.
    pub port: u16,
    /// Connections at most, clear retries included; 0 counts as 1. RFC 5321, 5.1 wants at least two addresses tried.
    pub dials: usize,
    /// Hosts at most, each of which may have to be looked up; 0 counts as 1. An MX answer of 64 KiB holds thousands.
    pub hosts: usize,
}

impl Default for RouteConfig {
    fn default() -> Self {
        Self { seed: 0, own_names: Vec::new(), port: SMTP_PORT, dials: 20, hosts: 50 }
    }
}

/// What is known of a host before it is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Its addresses in the order in which to try them. None: the name exists but has no address.
    pub addresses: Vec<IpAddr>,
    /// What the policy allows.
    pub rules: TlsRules,
    /// TLS from the first byte (RFC 8314).
    pub implicit: bool,
}

/// What to do next. Asking again without reporting gives the same answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// Look up a host, make its rules; then [`Route::prepared`], [`Route::skip`] or [`Route::stop`].
    Prepare {
        /// The host.
        host: &'a HostName,
    },
    /// Connect and deliver; then [`Route::word`] for every recipient that has one, then [`Route::ended`].
    Dial {
        /// The host, for SNI and names.
        host: &'a HostName,
        /// Where it is.
        address: SocketAddr,
        /// What may happen without TLS.
        rules: TlsRules,
        /// TLS from the first byte.
        implicit: bool,
        /// Indices of the recipients without a final word.
        remaining: &'a [usize],
    },
    /// Every recipient has its final word.
    Done {
        /// By index.
        words: &'a [Word],
        /// Clear text is allowed on the next run of the queue: a host answered with
        /// [`Fallback::PlaintextNextRun`].
        clear_next_run: bool,
    },
}

/// The word on one recipient.
///
/// ```
/// use smtp_proto::route::Word;
/// use smtp_proto::wire::reply::EnhancedCode;
///
/// assert_eq!(Word::Delivered.to_string(), "delivered");
/// assert_eq!(Word::Deferred(EnhancedCode::new(4, 7, 5)).to_string(), "deferred: 4.7.5");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// A server has taken the message.
    Delivered,
    /// Try again later.
    Deferred(EnhancedCode),
    /// Give up.
    Bounced(EnhancedCode),
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered => f.write_str("delivered"),
            Self::Deferred(status) => write!(f, "deferred: {status}"),
            Self::Bounced(status) => write!(f, "bounced: {status}"),
        }
    }
}

/// How one connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The conversation ran to its end. A recipient that was deferred is tried at the next host.
    Finished,
    /// No connection: the host's next address is tried.
    Unreachable,
    /// The connection broke or stalled: the host's next address is tried.
    Broken,
    /// The final dot was sent, and no word came. The message may have been delivered, so no other host gets it now.
    InDoubt,
    /// This side cannot go on, such as where the message cannot be read: no other host is tried now.
    Local(EnhancedCode),
    /// Greeting or EHLO was refused: the next host is tried. 5yz from every host is final.
    Unwelcome(EnhancedCode),
    /// The server could not be shown, or has not taken, the credentials for it: the next host is tried. Never final, for the
    /// fault is not the mail's.
    Unauthenticated(EnhancedCode),
    /// TLS could not be had, and the rules say what now. The status is kept if nothing better comes.
    NoTls {
        /// What [`after`](crate::fallback::after) said.
        fallback: Fallback,
        /// 4.7.4 or 4.7.5.
        status: EnhancedCode,
    },
}

/// Candidate hosts, and the recipients that are waiting. See the [module](self).
#[derive(Debug)]
pub struct Route {
    hosts: VecDeque<HostName>,
    host: Option<Current>,
    port: u16,
    dials: usize,
    remaining: Vec<usize>,
    words: Vec<Word>,
    /// Every host so far refused for good.
    all_permanent: bool,
    clear_next_run: bool,
}

/// The host whose turn it is.
#[derive(Debug)]
struct Current {
    name: HostName,
    /// None until it is prepared.
    dial: Option<Dial>,
}

#[derive(Debug)]
struct Dial {
    addresses: VecDeque<IpAddr>,
    rules: TlsRules,
    implicit: bool,
    /// The front address is dialled again, without TLS.
    clear: bool,
}

impl Route {
    /// A route for `recipients` recipients, known by their indices.
    pub fn new(targets: Targets, recipients: usize, config: &RouteConfig) -> Self {
        let (mut hosts, word) = candidates(targets, config);
        let known = hosts.len();
        hosts.truncate(config.hosts.max(1));
        let mut route = Self {
            host: None,
            port: config.port,
            dials: config.dials.max(1),
            remaining: (0..recipients).collect(),
            words: vec![word; recipients],
            // Hosts that are never asked cannot refuse.
            all_permanent: hosts.len() == known,
            hosts,
            clear_next_run: false,
        };
        route.advance();
        route
    }

    /// What to do next.
    pub fn next(&self) -> Next<'_> {
        let current = self.host.as_ref().filter(|_| !self.remaining.is_empty() && self.dials > 0);
        let Some(Current { name: host, dial }) = current else {
            return Next::Done { words: &self.words, clear_next_run: self.clear_next_run };
        };
        match dial.as_ref().and_then(|dial| Some((dial, *dial.addresses.front()?))) {
            None => Next::Prepare { host },
            Some((dial, address)) => Next::Dial {
                host,
                address: SocketAddr::new(address, self.port),
                rules: if dial.clear { TlsRules::NEVER } else { dial.rules },
                implicit: dial.implicit,
                remaining: &self.remaining,
            },
        }
    }

    /// Answers [`Next::Prepare`].
    pub fn prepared(&mut self, prepared: Prepared) {
        if prepared.addresses.is_empty() {
            return self.skip(NO_ADDRESS);
        }
        if let Some(Current { dial: dial @ None, .. }) = &mut self.host {
            let Prepared { addresses, rules, implicit } = prepared;
            *dial = Some(Dial { addresses: addresses.into(), rules, implicit, clear: false });
        }
    }

    /// Answers [`Next::Prepare`]: this host is not to be dialled. A failed look-up is 4.4.3; the policy has statuses of
    /// its own. A permanent status counts only if every host ends with one.
    pub fn skip(&mut self, status: EnhancedCode) {
        self.defer_all(status);
        self.advance();
    }

    /// Answers [`Next::Prepare`]: neither this host nor any other of the route is to be dialled, for what stands in the way
    /// holds for all of them. The status is the last word on everyone who waits; a permanent one only if no host before
    /// has given hope.
    pub fn stop(&mut self, status: EnhancedCode) {
        self.defer_all(status);
        self.remaining.clear();
    }

    /// The word of the present host on one recipient. [`Word::Deferred`] is final only if no other host is left.
    pub fn word(&mut self, index: usize, word: Word) {
        if let (Some(entry), Some(position)) =
            (self.words.get_mut(index), self.remaining.iter().position(|&it| it == index))
        {
            *entry = word;
            if !matches!(word, Word::Deferred(_)) {
                self.remaining.remove(position);
            }
        }
    }

    /// Answers [`Next::Dial`].
    pub fn ended(&mut self, ending: Ending) {
        let Some(Current { dial: Some(dial), .. }) = &mut self.host else { return };
        self.dials = self.dials.saturating_sub(1);
        if self.dials == 0 {
            // Hosts that were never asked cannot have refused.
            self.all_permanent &= self.hosts.is_empty();
        }
        match ending {
            Ending::Finished => {
                // A host that spoke is one that may change its mind, also about recipients it said nothing of.
                self.all_permanent = false;
                for &index in &self.remaining {
                    if !matches!(self.words[index], Word::Deferred(_)) {
                        self.words[index] = Word::Deferred(BAD_CONNECTION);
                    }
                }
                self.advance();
            }
            Ending::Unreachable | Ending::Broken => {
                dial.addresses.pop_front();
                dial.clear = false;
                let more = !dial.addresses.is_empty();
                self.defer_all(if ending == Ending::Unreachable {
                    NO_ANSWER
                } else {
                    BAD_CONNECTION
                });
                if !more {
                    self.advance();
                }
            }
            Ending::InDoubt => {
                self.defer_all(BAD_CONNECTION);
                self.remaining.clear();
            }
            Ending::Local(status) => {
                self.defer_all(status);
                self.remaining.clear();
            }
            Ending::Unwelcome(status) => {
                self.defer_all(status);
                self.advance();
            }
            Ending::Unauthenticated(status) => {
                self.defer_all(EnhancedCode { class: 4, ..status });
                self.advance();
            }
            // Whatever is reported: no way leads from required or implicit TLS to clear text.
            Ending::NoTls { fallback: Fallback::ReconnectPlaintext, status }
                if dial.rules.mode == TlsMode::Opportunistic && !dial.implicit && !dial.clear =>
            {
                dial.clear = true;
                self.defer_all(status);
            }
            Ending::NoTls { fallback, status } => {
                self.clear_next_run |= fallback == Fallback::PlaintextNextRun;
                self.defer_all(status);
                self.advance();
            }
        }
    }

    /// Notes a status for every recipient that waits. The word becomes final when no host is left.
    fn defer_all(&mut self, status: EnhancedCode) {
        self.all_permanent &= status.class == 5;
        let word = if self.all_permanent {
            Word::Bounced(status)
        } else {
            // One host that may change its mind is a reason to come again.
            Word::Deferred(EnhancedCode { class: 4, ..status })
        };
        for &index in &self.remaining {
            self.words[index] = word;
        }
    }

    fn advance(&mut self) {
        self.host = self.hosts.pop_front().map(|name| Current { name, dial: None });
    }
}

/// Hosts in order, and the word on everybody if there is none.
fn candidates(targets: Targets, config: &RouteConfig) -> (VecDeque<HostName>, Word) {
    let (domain, records) = match targets {
        Targets::Mx { domain, records } => (domain, records),
        Targets::Host(host) => return ([host].into(), Word::Bounced(NO_ADDRESS)),
        Targets::NoSuchDomain => return (VecDeque::new(), Word::Bounced(NO_SUCH_DOMAIN)),
        Targets::LookupFailed => return (VecDeque::new(), Word::Deferred(LOOKUP_FAILED)),
    };
    if records.is_empty() {
        // RFC 5321, 5.1: the implicit MX has preference 0.
        return if is_own(&domain, config) {
            (VecDeque::new(), Word::Bounced(LOOP))
        } else {
            ([domain].into(), Word::Bounced(NO_ADDRESS))
        };
    }
    let mut hosts: Vec<(u16, HostName)> =
        records.into_iter().filter_map(|mx| Some((mx.preference, mx.exchange?))).collect();
    if hosts.is_empty() {
        return (VecDeque::new(), Word::Bounced(NULL_MX));
    }
    // RFC 5321, 5.1: this host and everything that is not better than it would only bring the mail back.
    let own = hosts
        .iter()
        .filter(|(_, name)| is_own(name, config))
        .map(|&(preference, _)| preference)
        .min();
    hosts.retain(|&(preference, _)| own.is_none_or(|own| preference < own));
    shuffle(&mut hosts, config.seed);
    hosts.sort_by_key(|&(preference, _)| preference);
    (hosts.into_iter().map(|(_, name)| name).collect(), Word::Bounced(LOOP))
}

fn is_own(name: &HostName, config: &RouteConfig) -> bool {
    config.own_names.contains(name)
}

/// Fisher and Yates with SplitMix64: spreads load, and is no secret.
fn shuffle<T>(items: &mut [T], mut seed: u64) {
    for end in (1..items.len()).rev() {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = seed;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^= value >> 31;
        items.swap(end, (value % (end as u64 + 1)) as usize);
    }
}
