//! From one connection to the next: candidate hosts in order, until each recipient has its final
//! status.
//!
//! A [`Route`] starts where [`Client`](crate::client::Client) ends: it knows no policy and does no
//! I/O. It asks for the addresses of a host when the host's turn comes ([`Next::Prepare`]), says
//! what to dial ([`Next::Dial`]), and is told how the connection ended ([`Ending`]). Each address
//! of a host is tried before the next host (RFC 5321, section 5.1), each at first with TLS as the
//! caller's rules say. What follows a TLS failure is decided by [`after`](crate::fallback::after):
//! the same address with the plainest ClientHello, the host's other addresses, and at last the same
//! address in clear text.
//!
//! ```
//! use smtp_proto::fallback::Fallback;
//! use smtp_proto::route::{
//!     Ending, HostAddresses, Manner, Mx, Next, RecipientStatus, Route, RouteConfig, Targets,
//! };
//! use smtp_proto::wire::reply::EnhancedCode;
//!
//! let records = vec![
//!     Mx::new(20, "backup.test.example".parse()?),
//!     Mx::new(10, "mx.test.example".parse()?),
//! ];
//! let targets = Targets::Mx { domain: "test.example".parse()?, records };
//! let mut route = Route::new(targets, 1, &RouteConfig::default());
//! assert!(matches!(route.next(), Next::Prepare { host } if host.as_str() == "mx.test.example"));
//!
//! let mut prepared = HostAddresses::new(vec!["192.0.2.1".parse()?]);
//! prepared.may_retry_in_clear = true;
//! route.prepared(prepared);
//! assert!(matches!(route.next(), Next::Dial { manner: Manner::AsPlanned, .. }));
//! // The certificate was not acceptable, and the rules allow clear text then.
//! let status = EnhancedCode::new(4, 7, 5);
//! route.ended(Ending::NoTls { fallback: Fallback::ReconnectPlaintext, status });
//! // The same address and port again, without TLS.
//! assert!(matches!(route.next(), Next::Dial { address, manner: Manner::ClearText, .. }
//!     if address == "192.0.2.1:25".parse().unwrap()));
//! route.status(0, RecipientStatus::Delivered);
//! route.ended(Ending::Finished);
//! assert!(matches!(route.next(), Next::Done { statuses: [RecipientStatus::Delivered], .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::fallback::Fallback;
use crate::wire::host::HostName;
use crate::wire::reply::{EnhancedCode, Reply, Severity};

/// The port of SMTP (RFC 5321, section 4.5.4.2); the clear retry goes to the port that was dialled.
pub const SMTP_PORT: u16 = 25;

/// RFC 3463, section 3.2 and RFC 5321, section 3.6.1: the domain does not exist.
pub const NO_SUCH_DOMAIN: EnhancedCode = EnhancedCode::new(5, 1, 2);
/// RFC 7505, section 4.2: the domain accepts no mail.
pub const NULL_MX: EnhancedCode = EnhancedCode::new(5, 1, 10);
/// RFC 3463, section 3.5: no host of the route has an address.
pub const NO_ADDRESS: EnhancedCode = EnhancedCode::new(5, 4, 4);
/// RFC 3463, section 3.5: every host of the route is this one.
pub const LOOP: EnhancedCode = EnhancedCode::new(5, 4, 6);
/// RFC 3463, section 3.5: a look-up failed for now.
pub const LOOKUP_FAILED: EnhancedCode = EnhancedCode::new(4, 4, 3);
/// RFC 3463, section 3.5: no connection.
pub const NO_ANSWER: EnhancedCode = EnhancedCode::new(4, 4, 1);
/// RFC 3463, section 3.5: the connection broke.
pub const BAD_CONNECTION: EnhancedCode = EnhancedCode::new(4, 4, 2);

/// Where the mail of a domain goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// MX records; none means that the domain is its own host (RFC 5321, section 5.1).
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

impl Targets {
    /// What an MX look-up for `domain` has found, with names as text: the preference of each record
    /// and its host, `None` for the `.` of a null MX. Hosts whose names are none are left out. A
    /// domain whose name is none does not exist.
    pub fn mx<'a>(domain: &str, records: impl IntoIterator<Item = (u16, Option<&'a str>)>) -> Self {
        let Ok(domain) = domain.parse() else { return Self::NoSuchDomain };
        let mx = |(preference, exchange): (u16, Option<&str>)| {
            let exchange = exchange.map(str::parse).transpose().ok()?;
            Some(Mx { preference, exchange })
        };
        Self::Mx { domain, records: records.into_iter().filter_map(mx).collect() }
    }

    /// One host without an MX look-up. A host whose name is none does not exist.
    pub fn host(name: &str) -> Self {
        name.parse().map_or(Self::NoSuchDomain, Self::Host)
    }
}

/// An MX record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mx {
    /// Lower first.
    pub preference: u16,
    /// The host; none is the `.` of a null MX (RFC 7505).
    pub exchange: Option<HostName>,
}

impl Mx {
    /// A record that names a host.
    pub const fn new(preference: u16, exchange: HostName) -> Self {
        Self { preference, exchange: Some(exchange) }
    }

    /// The null MX record: the domain accepts no mail (RFC 7505, section 3).
    pub const fn null() -> Self {
        Self { preference: 0, exchange: None }
    }
}

/// How a route is walked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteConfig {
    /// Shuffles hosts of equal preference (RFC 5321, section 5.1). Equal seeds give equal orders.
    pub seed: u64,
    /// Names of this host: they and every worse or equal preference are left out (RFC 5321,
    /// section 5.1).
    pub own_names: Vec<HostName>,
    /// The port of every host. 25 by default.
    pub port: u16,
    /// Most connections, retries included; 0 counts as 1. 20 by default: RFC 5321, section 5.1
    /// wants at least two addresses tried.
    pub dials: usize,
    /// Most hosts, each of which may have to be looked up; 0 counts as 1. 50 by default: an MX
    /// answer of 64 KiB holds thousands.
    pub hosts: usize,
    /// Whether each address of a host is tried for TLS before mail goes to one of them in clear
    /// text: where a handshake failed, and where STARTTLS was refused or not offered. On by
    /// default. If off, clear text follows at once. Other hosts are not tried, not even those of
    /// equal preference: each of them has rules of its own.
    pub tls_at_each_address: bool,
}

impl Default for RouteConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            own_names: Vec::new(),
            port: SMTP_PORT,
            dials: 20,
            hosts: 50,
            tls_at_each_address: true,
        }
    }
}

/// What is known of a host before it is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostAddresses {
    /// Its addresses in the order in which to try them. None: the name exists but has no address.
    pub addresses: Vec<IpAddr>,
    /// Whether a connection without TLS may follow one whose TLS failed. Off by default. Without it
    /// no ending leads to clear text: neither required nor implicit TLS ever does.
    pub may_retry_in_clear: bool,
    /// Addresses at which TLS is not expected, because there was none a short while ago. They are
    /// dialled after the others if clear text may be used at all, and clear text does not wait for
    /// them. None by default.
    pub without_tls: Vec<IpAddr>,
}

impl HostAddresses {
    /// A host that is not dialled in clear text after a failure of TLS.
    pub fn new(addresses: Vec<IpAddr>) -> Self {
        Self { addresses, may_retry_in_clear: false, without_tls: Vec::new() }
    }
}

/// What to do next. Asking again without reporting gives the same answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// Look up a host; then call [`Route::prepared`], [`Route::skip`] or [`Route::stop`].
    Prepare {
        /// The host.
        host: &'a HostName,
    },
    /// Connect and deliver; then call [`Route::status`] for each recipient that has one, and
    /// [`Route::ended`].
    Dial {
        /// The host, for SNI and names.
        host: &'a HostName,
        /// Its address.
        address: SocketAddr,
        /// How to connect.
        manner: Manner,
        /// Whether another address of the host is still to be tried for TLS: the rules of this
        /// connection must have
        /// [`tls_elsewhere`](crate::fallback::TlsRules::tls_elsewhere) accordingly. Never for
        /// the last connection that the limit allows, so that clear text is not lost by waiting.
        tls_elsewhere: bool,
        /// Indices of the recipients without a final status.
        remaining: &'a [usize],
    },
    /// Each recipient has its final status.
    Done {
        /// The status of each recipient, by index: as many as there are recipients.
        statuses: &'a [RecipientStatus],
        /// Clear text is allowed on the next run of the queue: a connection ended with
        /// [`Fallback::PlaintextNextRun`].
        clear_next_run: bool,
    },
}

/// The status of one recipient.
///
/// ```
/// use smtp_proto::route::RecipientStatus;
/// use smtp_proto::wire::reply::EnhancedCode;
///
/// assert_eq!(RecipientStatus::Delivered.to_string(), "delivered");
/// let deferred = RecipientStatus::Deferred(EnhancedCode::new(4, 7, 5));
/// assert_eq!(deferred.to_string(), "deferred: 4.7.5");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientStatus {
    /// A server has accepted the message.
    Delivered,
    /// Not delivered now; to be tried again later.
    Deferred(EnhancedCode),
    /// Not deliverable; the sender is to be told.
    Bounced(EnhancedCode),
}

impl RecipientStatus {
    /// What a reply that is not 2yz means for a recipient: 5yz is final, and everything else is
    /// tried again later.
    ///
    /// ```
    /// use smtp_proto::route::RecipientStatus;
    /// use smtp_proto::wire::reply::{EnhancedCode, Reply};
    ///
    /// let status = |text: &[u8]| RecipientStatus::refused(&Reply::parse(text).unwrap().unwrap());
    /// let code = EnhancedCode::new;
    /// assert_eq!(status(b"550 5.1.1 no such user\r\n"), RecipientStatus::Bounced(code(5, 1, 1)));
    /// assert_eq!(status(b"451 later\r\n"), RecipientStatus::Deferred(code(4, 0, 0)));
    /// ```
    pub fn refused(reply: &Reply<'_>) -> Self {
        match reply.severity() {
            Severity::Permanent => Self::Bounced(reply.status()),
            Severity::Positive | Severity::Intermediate | Severity::Transient => {
                Self::Deferred(EnhancedCode { class: 4, ..reply.status() })
            }
        }
    }
}

impl fmt::Display for RecipientStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered => f.write_str("delivered"),
            Self::Deferred(status) => write!(f, "deferred: {status}"),
            Self::Bounced(status) => write!(f, "bounced: {status}"),
        }
    }
}

/// How a connection is made, after what earlier ones have shown of TLS at its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Manner {
    /// As the plan or the rules for the host say. If the handshake fails, it is repeated with the
    /// plainest ClientHello.
    #[default]
    AsPlanned,
    /// As the plan says, with the plainest ClientHello: no post-quantum key share, no resumption,
    /// and no client certificate where the plan may end in clear text. The checks are the same. The
    /// handshake failed at this address: see [`Fallback::RetryPlainHello`]. The rules of this
    /// connection must have
    /// [`retry_plain_hello`](crate::fallback::TlsRules::retry_plain_hello) off.
    PlainHello,
    /// In clear text: [`after`](crate::fallback::after) has answered
    /// [`Fallback::ReconnectPlaintext`], and the rules are
    /// [`TlsRules::NEVER`](crate::fallback::TlsRules::NEVER). As [`PlainHello`](Self::PlainHello)
    /// if the plan requires TLS.
    ClearText,
}

/// How one connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The conversation ran to its end. A recipient that was deferred is tried at the next host.
    Finished,
    /// No connection could be made. The host's next address is tried.
    Unreachable,
    /// The connection broke or timed out. The host's next address is tried.
    Broken,
    /// The server said 421 after the client was welcome. Recipients keep the statuses that were
    /// reported; the others are tried at the host's next address.
    ShutDown,
    /// The final dot was sent, and no reply came. The message may have been delivered, so no other
    /// server gets it now.
    InDoubt,
    /// A fault on this side, such as a message that cannot be read. No other host is tried now.
    Local(EnhancedCode),
    /// Greeting or EHLO was refused. The host's next address is tried. 5yz is final if each address
    /// of each host answers so.
    Unwelcome(EnhancedCode),
    /// The server must not be shown, or has not accepted, the credentials for this host. The next
    /// host is tried. Never permanent, because the fault is not the mail's.
    Unauthenticated(EnhancedCode),
    /// TLS was not possible, or broke.
    NoTls {
        /// The answer of [`after`](crate::fallback::after).
        fallback: Fallback,
        /// 4.7.4 or 4.7.5; kept if no later connection has a better one.
        status: EnhancedCode,
    },
}

/// Candidate hosts, and the recipients without a final status. See the [module](self).
#[derive(Debug)]
pub struct Route {
    hosts: VecDeque<HostName>,
    host: Option<Current>,
    port: u16,
    dials: usize,
    tls_at_each_address: bool,
    remaining: Vec<usize>,
    statuses: Vec<RecipientStatus>,
    /// Each host and address so far refused for good.
    all_permanent: bool,
    clear_next_run: bool,
}

/// The host whose turn it is.
#[derive(Debug)]
struct Current {
    name: HostName,
    /// None until it is prepared.
    dials: Option<Dials>,
}

/// The connections to one host that are still to be made; the first is under way.
#[derive(Debug)]
struct Dials {
    queue: VecDeque<(IpAddr, Turn)>,
    may_retry_in_clear: bool,
}

/// Why it is an address's turn to be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// As the caller's rules say.
    First,
    /// As the caller's rules say, at an address where TLS is not expected.
    FirstWithoutTls,
    /// With the plainest ClientHello.
    PlainHello,
    /// Without TLS.
    Clear,
}

impl Turn {
    const fn manner(self) -> Manner {
        match self {
            Self::First | Self::FirstWithoutTls => Manner::AsPlanned,
            Self::PlainHello => Manner::PlainHello,
            Self::Clear => Manner::ClearText,
        }
    }
}

impl Dials {
    /// Puts the next connection after a failure of TLS into the queue, in place of the first, and
    /// returns whether there is one to the same address.
    fn retry(&mut self, fallback: Fallback, tls_at_each_address: bool) -> bool {
        let Some((address, turn)) = self.queue.pop_front() else { return false };
        match (fallback, turn) {
            (Fallback::RetryPlainHello, Turn::First | Turn::FirstWithoutTls) => {
                self.queue.push_front((address, Turn::PlainHello));
            }
            (
                Fallback::ReconnectPlaintext,
                Turn::First | Turn::FirstWithoutTls | Turn::PlainHello,
            ) if self.may_retry_in_clear => {
                // Clear text waits for the addresses at which TLS is expected.
                let after = self.queue.iter().position(|it| it.1 == Turn::FirstWithoutTls);
                let at = if tls_at_each_address { after.unwrap_or(self.queue.len()) } else { 0 };
                self.queue.insert(at, (address, Turn::Clear));
            }
            _ => return false,
        }
        true
    }

    /// Puts a connection in clear text first, if there is one.
    fn prefer_clear(&mut self) {
        let clear = self.queue.iter().position(|&(_, turn)| turn == Turn::Clear);
        if let Some(dial) = clear.and_then(|at| self.queue.remove(at)) {
            self.queue.push_front(dial);
        }
    }
}

impl Route {
    /// A route for `recipients` recipients, known by their indices.
    pub fn new(targets: Targets, recipients: usize, config: &RouteConfig) -> Self {
        let (mut hosts, status) = candidates(targets, config);
        let known = hosts.len();
        hosts.truncate(config.hosts.max(1));
        let mut route = Self {
            host: None,
            port: config.port,
            dials: config.dials.max(1),
            tls_at_each_address: config.tls_at_each_address,
            remaining: (0..recipients).collect(),
            statuses: vec![status; recipients],
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
        let Some(Current { name: host, dials }) = current else {
            return Next::Done { statuses: &self.statuses, clear_next_run: self.clear_next_run };
        };
        match dials.as_ref().and_then(|dials| dials.queue.front()) {
            None => Next::Prepare { host },
            Some(&(address, turn)) => Next::Dial {
                host,
                address: SocketAddr::new(address, self.port),
                manner: turn.manner(),
                tls_elsewhere: self.has_tls_elsewhere(&[], None),
                remaining: &self.remaining,
            },
        }
    }

    /// What [`Next::Dial::tls_elsewhere`] is once [`raced`](Self::raced) has told of this race: a
    /// driver asks when it knows the winner, and before it speaks with it.
    pub fn tls_elsewhere_after(&self, unreached: &[SocketAddr], winner: SocketAddr) -> bool {
        self.has_tls_elsewhere(unreached, Some(winner))
    }

    /// Whether clear text waits for another address of the host than the winner of a race, or than
    /// the next one.
    fn has_tls_elsewhere(&self, unreached: &[SocketAddr], winner: Option<SocketAddr>) -> bool {
        let dials = self.host.as_ref().and_then(|host| host.dials.as_ref());
        dials.is_some_and(|dials| {
            let winner = winner.map(|it| it.ip()).or(dials.queue.front().map(|it| it.0));
            let is_left = |address: &IpAddr| {
                Some(*address) != winner && unreached.iter().all(|it| it.ip() != *address)
            };
            self.tls_at_each_address
                && dials.may_retry_in_clear
                && self.dials > unreached.len() + 1
                && dials.queue.iter().any(|(it, turn)| *turn == Turn::First && is_left(it))
        })
    }

    /// The addresses that may be dialled beside the next one, in order: further addresses of the
    /// same host, with a first try each, as many as the limit of connections allows. A driver that
    /// races them (RFC 8305) calls [`raced`](Self::raced) with what came of it. Hosts of equal
    /// preference are not raced: each has rules of its own, and the slower one may be the one that
    /// requires TLS.
    pub fn rivals(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let queue = self.host.as_ref().and_then(|host| host.dials.as_ref()).map(|it| &it.queue);
        let turn = queue.and_then(|it| it.front()).map(|it| it.1);
        let is_first = matches!(turn, Some(Turn::First | Turn::FirstWithoutTls));
        let rivals = queue.into_iter().flatten().skip(1);
        let rivals = rivals.filter(move |(_, it)| turn == Some(*it));
        let most = if is_first { self.dials.saturating_sub(1) } else { 0 };
        rivals.take(most).map(|&(address, _)| SocketAddr::new(address, self.port))
    }

    /// Tells how a race of the next address and its [rivals](Self::rivals) went:
    /// [`Next::Dial`] is then about `winner`, and [`ended`](Self::ended) as well. These other
    /// addresses could not be reached. An address that was dialled and given up is dialled again
    /// where its turn comes. The winner may be an address without a turn: that of a connection
    /// which was kept from an earlier message.
    pub fn raced(&mut self, unreached: &[SocketAddr], winner: SocketAddr) {
        let Some(Current { dials: Some(dials), .. }) = &mut self.host else { return };
        let Some(&(_, turn)) = dials.queue.front() else { return };
        for address in unreached.iter().filter(|it| **it != winner) {
            dials.queue.retain(|it| *it != (address.ip(), turn));
            self.dials = self.dials.saturating_sub(1).max(1);
        }
        let position = dials.queue.iter().position(|it| *it == (winner.ip(), turn));
        if let Some(at) = position {
            dials.queue.remove(at);
        }
        dials.queue.push_front((winner.ip(), turn));
        if !unreached.is_empty() {
            self.defer_all(NO_ANSWER);
        }
    }

    /// Answers [`Next::Prepare`].
    pub fn prepared(&mut self, prepared: HostAddresses) {
        let Some(Current { dials: dials @ None, .. }) = &mut self.host else { return };
        if prepared.addresses.is_empty() {
            return self.skip(NO_ADDRESS);
        }
        let HostAddresses { addresses, may_retry_in_clear, without_tls } = prepared;
        let waits = may_retry_in_clear && self.tls_at_each_address;
        let (last, first): (Vec<_>, Vec<_>) =
            addresses.into_iter().partition(|it| waits && without_tls.contains(it));
        let first = first.into_iter().map(|it| (it, Turn::First));
        let queue = first.chain(last.into_iter().map(|it| (it, Turn::FirstWithoutTls))).collect();
        *dials = Some(Dials { queue, may_retry_in_clear });
    }

    /// Answers [`Next::Prepare`]: this host is not dialled. A failed look-up is 4.4.3; the policy
    /// has statuses of its own. A permanent status counts only if each host ends with one.
    pub fn skip(&mut self, status: EnhancedCode) {
        self.defer_all(status);
        self.advance();
    }

    /// Answers [`Next::Prepare`]: neither this host nor any other of the route is dialled, because
    /// the reason holds for all of them. Each recipient without a final status gets this one; it is
    /// permanent only if each earlier host has failed for good.
    pub fn stop(&mut self, status: EnhancedCode) {
        self.defer_all(status);
        self.remaining.clear();
    }

    /// The status of one recipient at the present host. [`RecipientStatus::Deferred`] is final only
    /// if no other host is left.
    pub fn status(&mut self, index: usize, status: RecipientStatus) {
        if let (Some(entry), Some(position)) =
            (self.statuses.get_mut(index), self.remaining.iter().position(|&it| it == index))
        {
            *entry = status;
            if !matches!(status, RecipientStatus::Deferred(_)) {
                self.remaining.remove(position);
            }
        }
    }

    /// Answers [`Next::Dial`].
    pub fn ended(&mut self, ending: Ending) {
        let Some(Current { dials: Some(dials), .. }) = &mut self.host else { return };
        self.dials = self.dials.saturating_sub(1);
        let mut comes_again = false;
        match ending {
            Ending::NoTls { fallback, .. } => {
                comes_again = dials.retry(fallback, self.tls_at_each_address);
            }
            Ending::Unreachable | Ending::Broken | Ending::ShutDown | Ending::Unwelcome(_) => {
                dials.queue.pop_front();
            }
            Ending::Finished | Ending::Unauthenticated(_) => dials.queue.clear(),
            Ending::InDoubt | Ending::Local(_) => {}
        }
        // The limit must not keep opportunistic mail in the queue for ever.
        if self.dials == 1 {
            dials.prefer_clear();
        }
        let is_host_done = dials.queue.is_empty();
        if self.dials == 0 {
            // Hosts and addresses that were never asked cannot have refused.
            self.all_permanent &= self.hosts.is_empty() && is_host_done;
        }
        match ending {
            Ending::Finished | Ending::ShutDown => {
                // A server that spoke may change its mind, also about recipients without a reply.
                self.all_permanent = false;
                for &index in &self.remaining {
                    if !matches!(self.statuses[index], RecipientStatus::Deferred(_)) {
                        self.statuses[index] = RecipientStatus::Deferred(BAD_CONNECTION);
                    }
                }
            }
            Ending::Unreachable => self.defer_all(NO_ANSWER),
            Ending::Broken => self.defer_all(BAD_CONNECTION),
            Ending::InDoubt => self.stop(BAD_CONNECTION),
            Ending::Local(status) => self.stop(status),
            Ending::Unwelcome(status) => self.defer_all(status),
            Ending::Unauthenticated(status) => {
                self.defer_all(EnhancedCode { class: 4, ..status });
            }
            Ending::NoTls { fallback, status } => {
                self.clear_next_run |= fallback == Fallback::PlaintextNextRun;
                // What the server says in the end decides whether the failure is permanent.
                let all_permanent = self.all_permanent;
                self.defer_all(status);
                self.all_permanent |= comes_again && all_permanent;
            }
        }
        if is_host_done {
            self.advance();
        }
    }

    /// Notes a status for each recipient without a final one. It becomes final if no host is left.
    fn defer_all(&mut self, status: EnhancedCode) {
        self.all_permanent &= status.class == 5;
        let status = if self.all_permanent {
            RecipientStatus::Bounced(status)
        } else {
            // One host that may change its mind is a reason to try again later.
            RecipientStatus::Deferred(EnhancedCode { class: 4, ..status })
        };
        for &index in &self.remaining {
            self.statuses[index] = status;
        }
    }

    fn advance(&mut self) {
        self.host = self.hosts.pop_front().map(|name| Current { name, dials: None });
    }
}

/// Hosts in order, and the status of each recipient if there is none.
fn candidates(targets: Targets, config: &RouteConfig) -> (VecDeque<HostName>, RecipientStatus) {
    let (domain, records) = match targets {
        Targets::Mx { domain, records } => (domain, records),
        Targets::Host(host) => return ([host].into(), RecipientStatus::Bounced(NO_ADDRESS)),
        Targets::NoSuchDomain => {
            return (VecDeque::new(), RecipientStatus::Bounced(NO_SUCH_DOMAIN));
        }
        Targets::LookupFailed => {
            return (VecDeque::new(), RecipientStatus::Deferred(LOOKUP_FAILED));
        }
    };
    if records.is_empty() {
        // RFC 5321, section 5.1: the implicit MX has preference 0.
        return if is_own(&domain, config) {
            (VecDeque::new(), RecipientStatus::Bounced(LOOP))
        } else {
            ([domain].into(), RecipientStatus::Bounced(NO_ADDRESS))
        };
    }
    let mut hosts: Vec<(u16, HostName)> =
        records.into_iter().filter_map(|mx| Some((mx.preference, mx.exchange?))).collect();
    if hosts.is_empty() {
        return (VecDeque::new(), RecipientStatus::Bounced(NULL_MX));
    }
    // RFC 5321, section 5.1: this host and everything that is not better than it would only bring
    // the mail back.
    let own = hosts
        .iter()
        .filter(|(_, name)| is_own(name, config))
        .map(|&(preference, _)| preference)
        .min();
    hosts.retain(|&(preference, _)| own.is_none_or(|own| preference < own));
    shuffle(&mut hosts, config.seed);
    hosts.sort_by_key(|&(preference, _)| preference);
    (hosts.into_iter().map(|(_, name)| name).collect(), RecipientStatus::Bounced(LOOP))
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
