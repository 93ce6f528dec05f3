//! The hosts of a route, in order.

use std::cmp::Reverse;

use smallvec::SmallVec;

use super::config::RouteConfig;
use super::status::{LOOKUP_FAILED, LOOP, NO_ADDRESS, NO_SUCH_DOMAIN, NULL_MX, RecipientStatus};
use crate::wire::host::HostName;

/// Hosts with their preferences. Most routes have few.
pub(super) type Hosts = SmallVec<[(u16, HostName); 1]>;

/// Where the mail of a domain goes.
///
/// ```
/// use smtp_proto::route::Targets;
///
/// let records = [(20, Some("backup.test.example")), (10, Some("mx.test.example"))];
/// let targets = Targets::mx("test.example", records);
/// assert!(targets.names(&"mx.test.example".parse()?) && !targets.names(&"test.example".parse()?));
/// // Without MX records the domain is its own host. A null MX says that it accepts no mail.
/// assert!(Targets::mx("test.example", []).names(&"test.example".parse()?));
/// assert!(!Targets::mx("test.example", [(0, None)]).names(&"test.example".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// With the preference of each; lower first.
    hosts: Vec<(u16, HostName)>,
    /// They come from MX records: this host, and those that are not better, are left out.
    is_by_mx: bool,
    /// The status of each recipient if no host is left.
    without_hosts: RecipientStatus,
}

impl Targets {
    /// The domain does not exist.
    pub const NO_SUCH_DOMAIN: Self = Self::none(RecipientStatus::Bounced(NO_SUCH_DOMAIN));
    /// The look-up of MX records failed for now.
    pub const LOOKUP_FAILED: Self = Self::none(RecipientStatus::Deferred(LOOKUP_FAILED));

    /// What an MX look-up for `domain` has found: the preference of each record, lower first, and
    /// its host, `None` for the `.` of a null MX (RFC 7505). No records mean that the domain is its
    /// own host (RFC 5321, section 5.1). Hosts whose names are none are left out. A domain whose
    /// name is none does not exist.
    pub fn mx<'a>(domain: &str, records: impl IntoIterator<Item = (u16, Option<&'a str>)>) -> Self {
        let Ok(domain) = domain.parse() else { return Self::NO_SUCH_DOMAIN };
        let read = |(preference, exchange): (u16, Option<&str>)| {
            Some((preference, exchange.map(str::parse::<HostName>).transpose().ok()?))
        };
        let mut records = records.into_iter().filter_map(read).peekable();
        let hosts: Vec<_> = match records.peek() {
            // RFC 5321, section 5.1: the implicit MX has preference 0.
            None => vec![(0, domain)],
            // RFC 7505, section 3: a null MX beside others has no meaning.
            Some(_) => records.filter_map(|(preference, host)| Some((preference, host?))).collect(),
        };
        match hosts.is_empty() {
            true => Self::none(RecipientStatus::Bounced(NULL_MX)),
            false => Self { hosts, is_by_mx: true, without_hosts: RecipientStatus::Bounced(LOOP) },
        }
    }

    /// One host without an MX look-up: a smart host, or an address literal. A host whose name is
    /// none does not exist.
    pub fn host(name: &str) -> Self {
        let Ok(host) = name.parse() else { return Self::NO_SUCH_DOMAIN };
        let without_hosts = RecipientStatus::Bounced(NO_ADDRESS);
        Self { hosts: vec![(0, host)], is_by_mx: false, without_hosts }
    }

    const fn none(status: RecipientStatus) -> Self {
        Self { hosts: Vec::new(), is_by_mx: true, without_hosts: status }
    }

    /// Whether this host is one of them, whatever the [`RouteConfig`] leaves out.
    pub fn names(&self, host: &HostName) -> bool {
        self.hosts.iter().any(|(_, name)| name == host)
    }

    /// Hosts with their preferences, the first one to try at the end.
    pub(super) fn last_to_first(&self, config: &RouteConfig, seed: u64) -> Hosts {
        // RFC 5321, section 5.1: this host and everything that is not better than it would only
        // bring the mail back.
        let own = |(_, name): &&(u16, HostName)| self.is_by_mx && config.own_names.contains(name);
        let own = self.hosts.iter().filter(own).map(|&(preference, _)| preference).min();
        let is_better = |it: &&(u16, HostName)| own.is_none_or(|own| it.0 < own);
        let mut hosts: Hosts = self.hosts.iter().filter(is_better).cloned().collect();
        if hosts.len() > 1 {
            shuffle(&mut hosts, seed);
            hosts.sort_by_key(|&(preference, _)| Reverse(preference));
        }
        hosts
    }

    /// The status of each recipient if there is no host.
    pub(super) const fn without_hosts(&self) -> RecipientStatus {
        self.without_hosts
    }
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
