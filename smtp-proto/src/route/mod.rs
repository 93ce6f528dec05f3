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
//! use smtp_proto::route::{Ending, Manner, Next, RecipientStatus, Route, RouteConfig, Targets};
//! use smtp_proto::wire::reply::EnhancedCode;
//!
//! let records = [(20, Some("backup.test.example")), (10, Some("mx.test.example"))];
//! let targets = Targets::mx("test.example", records);
//! let mut route = Route::new(&targets, 1, &RouteConfig::default(), 0);
//! assert!(matches!(route.next(), Next::Prepare { host } if host.as_str() == "mx.test.example"));
//!
//! route.prepared_opportunistic(&["192.0.2.1".parse()?], &[]);
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

mod config;
mod dials;
mod ending;
mod status;
mod targets;

pub use config::{RouteConfig, SMTP_PORT};
pub use dials::Manner;
use dials::{Dials, Turn};
pub use ending::Ending;
pub use status::{
    BAD_CONNECTION, LOOKUP_FAILED, LOOP, NO_ADDRESS, NO_ANSWER, NO_SUCH_DOMAIN, NULL_MX,
    RecipientStatus,
};
pub use targets::Targets;

use std::net::{IpAddr, SocketAddr};

use smallvec::{SmallVec, smallvec};

use self::targets::Hosts;
use crate::fallback::Fallback;
use crate::wire::host::HostName;
use crate::wire::reply::EnhancedCode;

/// What to do next. Asking again without reporting gives the same answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// Look up a host; then call [`Route::prepared`],
    /// [`Route::prepared_opportunistic`], [`Route::skip`] or [`Route::stop`].
    Prepare {
        /// The host.
        host: &'a HostName,
    },
    /// Connect and deliver; then call [`Route::status`] for each recipient that has one, and
    /// [`Route::ended`], which takes those with a final one out of `remaining`.
    Dial {
        /// The host, for SNI and names.
        host: &'a HostName,
        /// Its address.
        address: SocketAddr,
        /// How to connect.
        manner: Manner,
        /// Whether another address of the host is still to be tried for TLS: the rules of this
        /// connection must say so, by
        /// [`with_tls_elsewhere`](crate::fallback::TlsRules::with_tls_elsewhere). Never for the
        /// last connection that the limit allows, so that clear text is not lost by waiting.
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

/// Candidate hosts, and the recipients without a final status. See the [module](self).
#[derive(Debug)]
pub struct Route {
    /// With their preferences, the next one at the end.
    hosts: Hosts,
    host: Option<Current>,
    port: u16,
    dials: usize,
    tls_at_each_address: bool,
    /// Those without a final status when the last connection ended, in order.
    remaining: SmallVec<[usize; 2]>,
    statuses: SmallVec<[RecipientStatus; 2]>,
    is_final: SmallVec<[bool; 16]>,
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

impl Route {
    /// A route for `recipients` recipients, known by their indices. The seed shuffles hosts of
    /// equal preference (RFC 5321, section 5.1), so each delivery has another one. Equal seeds give
    /// equal orders.
    pub fn new(targets: &Targets, recipients: usize, config: &RouteConfig, seed: u64) -> Self {
        let mut hosts = targets.last_to_first(config, seed);
        let known = hosts.len();
        hosts.drain(..known.saturating_sub(config.hosts.max(1)));
        let mut route = Self {
            host: None,
            port: config.port,
            dials: config.dials.max(1),
            tls_at_each_address: config.tls_at_each_address,
            remaining: (0..recipients).collect(),
            statuses: smallvec![targets.without_hosts(); recipients],
            is_final: smallvec![false; recipients],
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
        match dials.as_ref().and_then(|dials| dials.queue.first()) {
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
            let winner = winner.map(|it| it.ip()).or(dials.queue.first().map(|it| it.0));
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
        let turn = queue.and_then(|it| it.first()).map(|it| it.1);
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
        let Some(&(_, turn)) = dials.queue.first() else { return };
        for address in unreached.iter().filter(|it| **it != winner) {
            dials.queue.retain(|it| *it != (address.ip(), turn));
            self.dials = self.dials.saturating_sub(1).max(1);
        }
        let position = dials.queue.iter().position(|it| *it == (winner.ip(), turn));
        if let Some(at) = position {
            dials.queue.remove(at);
        }
        dials.queue.insert(0, (winner.ip(), turn));
        if !unreached.is_empty() {
            self.defer_all(NO_ANSWER);
        }
    }

    /// Answers [`Next::Prepare`] for a host that requires TLS or implies it, or that is dialled in
    /// clear text from the start: no ending of TLS leads to clear text. The addresses are in the
    /// order in which to try them; none means that the name exists and has no address.
    pub fn prepared(&mut self, addresses: &[IpAddr]) {
        self.prepare(addresses, &[], false);
    }

    /// Answers [`Next::Prepare`] for a host that may be dialled without TLS after a connection
    /// whose TLS failed. `without_tls` are addresses at which TLS is not expected, because there
    /// was none a short while ago: they are dialled after the others, and clear text does not wait
    /// for them.
    pub fn prepared_opportunistic(&mut self, addresses: &[IpAddr], without_tls: &[IpAddr]) {
        let last = if self.tls_at_each_address { without_tls } else { &[] };
        self.prepare(addresses, last, true);
    }

    fn prepare(&mut self, addresses: &[IpAddr], last: &[IpAddr], may_retry_in_clear: bool) {
        let Some(Current { dials: dials @ None, .. }) = &mut self.host else { return };
        if addresses.is_empty() {
            return self.skip(NO_ADDRESS);
        }
        *dials = Some(Dials::new(addresses, last, may_retry_in_clear));
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
        self.is_final.fill(true);
    }

    /// The status of one recipient at the present host. [`RecipientStatus::Deferred`] is final only
    /// if no other host is left.
    pub fn status(&mut self, index: usize, status: RecipientStatus) {
        if let (Some(entry), Some(is_final @ false)) =
            (self.statuses.get_mut(index), self.is_final.get_mut(index))
        {
            *entry = status;
            *is_final = !matches!(status, RecipientStatus::Deferred(_));
        }
    }

    /// Answers [`Next::Dial`].
    pub fn ended(&mut self, ending: Ending) {
        let Some(Current { dials: Some(dials), .. }) = &mut self.host else { return };
        self.remaining.retain(|index| !self.is_final[*index]);
        self.dials = self.dials.saturating_sub(1);
        let mut comes_again = false;
        match ending {
            Ending::NoTls { fallback, .. } => {
                comes_again = dials.retry(fallback, self.tls_at_each_address);
            }
            Ending::Unreachable | Ending::Broken | Ending::ShutDown | Ending::Unwelcome(_) => {
                dials.queue.remove(0);
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
            if !self.is_final[index] {
                self.statuses[index] = status;
            }
        }
    }

    fn advance(&mut self) {
        self.host = self.hosts.pop().map(|(_, name)| Current { name, dials: None });
    }
}
