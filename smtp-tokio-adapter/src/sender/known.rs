//! What the look-ups said of a domain, kept for its next messages.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use smtp_proto::route::{Manner, RouteConfig, Targets};
use smtp_proto::wire::host::HostName;
use smtp_tls_policy::Host;
use smtp_tls_policy::plan::{Attempt, MessageTls, Plan};
use smtp_tls_policy::tlsrpt::Reporting;
use tokio::time::Instant;

use super::lock;
use crate::client::reuse::ReuseKey;
use crate::client::target::Target;
use crate::sender::peers::Peers;
use crate::sender::pool::{KeptFor, PoolLimits};

/// Where the mail of a domain goes.
pub(super) struct Course {
    pub(super) targets: Targets,
    /// How its routes are walked.
    pub(super) config: RouteConfig,
    /// The domain or smart host whose connections are kept apart from those of others.
    pub(super) next_hop: Host,
}

impl Course {
    /// Whether the mail may go to this host.
    pub(super) fn names(&self, host: &HostName) -> bool {
        self.targets.names(host)
    }
}

/// A host that may be dialled, for messages to one next hop.
pub(super) struct Ready {
    pub(super) host: HostName,
    /// Its addresses in the order in which to try them.
    pub(super) addresses: Vec<IpAddr>,
    /// Addresses at which TLS is not expected. They are dialled after the others, if clear text may
    /// be used at all.
    pub(super) without_tls: Vec<IpAddr>,
    /// What is to be reported of its connections (RFC 8460).
    pub(super) reporting: Reporting,
    /// Addresses where the handshake succeeds only with the plainest ClientHello.
    plain_hello: Vec<IpAddr>,
    /// Addresses where TLS broke a short while ago, and the plan for them.
    broken: Option<(Vec<IpAddr>, Plan)>,
    /// What a connection is opened for at an address of which nothing is remembered.
    usual: Arc<Target>,
    key: OnceLock<Arc<ReuseKey>>,
}

impl Ready {
    /// A host with what is remembered of its addresses.
    pub(super) fn new(
        host: HostName,
        target: Target,
        addresses: Vec<IpAddr>,
        peers: Peers,
        reporting: Reporting,
    ) -> Self {
        let Peers { broken, plain_hello, without_starttls: mut without_tls } = peers;
        let broken = Some(broken).filter(|addresses| !addresses.is_empty());
        let broken = broken.map(|addresses| (addresses, target.plan.clone().remembering_broken()));
        // A floor above plaintext is not touched: then the plan is the same.
        let broken = broken.filter(|(_, plan)| plan.attempt() == Attempt::Clear);
        if let Some((addresses, _)) = &broken {
            without_tls.extend_from_slice(addresses);
        }
        let (usual, key) = (Arc::new(target), OnceLock::new());
        Self { host, addresses, without_tls, reporting, plain_hello, broken, usual, key }
    }

    pub(super) fn may_retry_in_clear(&self) -> bool {
        self.usual.may_retry_in_clear()
    }

    /// What a connection to one address is opened for.
    pub(super) fn at(&self, address: IpAddr, manner: Manner) -> Cow<'_, Arc<Target>> {
        let manner = match manner {
            Manner::AsPlanned if self.plain_hello.contains(&address) => Manner::PlainHello,
            manner => manner,
        };
        let broken = self.broken.as_ref().filter(|(addresses, _)| {
            // What is known of broken TLS allows clear text, and credentials do not.
            self.usual.credentials.is_none() && addresses.contains(&address)
        });
        if manner == self.usual.manner && broken.is_none() {
            return Cow::Borrowed(&self.usual);
        }
        let mut target = (*self.usual).clone();
        target.manner = manner;
        if let Some((_, plan)) = broken {
            target.plan = plan.clone();
        }
        Cow::Owned(Arc::new(target))
    }

    /// The key of a message for a connection to this target, which is one of this host.
    pub(super) fn key(&self, kept: KeptFor<'_>, target: &Arc<Target>, port: u16) -> Arc<ReuseKey> {
        let key = || kept.pool.key(ReuseKey::of(kept.next_hop, Arc::clone(target), port));
        match Arc::ptr_eq(target, &self.usual) {
            true => Arc::clone(self.key.get_or_init(key)),
            false => key(),
        }
    }
}

/// What was found out for one delivery, and may serve the next ones.
pub(super) struct Known {
    since: Instant,
    pub(super) course: Arc<Course>,
    /// The hosts whose turn came.
    hosts: Vec<Arc<Ready>>,
}

impl Known {
    pub(super) fn new(since: Instant, course: Arc<Course>, hosts: Vec<Arc<Ready>>) -> Self {
        Self { since, course, hosts }
    }

    pub(super) fn host(&self, name: &HostName) -> Option<&Ready> {
        self.hosts.iter().map(|known| &**known).find(|known| known.host == *name)
    }
}

/// The connector by whose rules a domain was looked up, and what the message wants of TLS.
pub(super) type Rules<'a> = (&'a str, MessageTls);

/// What is known of one domain.
type OfDomain = Vec<(Arc<str>, MessageTls, Arc<Known>)>;

/// What is known, by domain, connector and message.
pub(super) struct Memory {
    by_domain: Mutex<HashMap<Host, OfDomain>>,
    /// How long it serves.
    age: Duration,
    /// Most domains.
    most: usize,
}

impl Memory {
    /// A memory for as many domains as may have a kept connection.
    pub(super) fn new(limits: &PoolLimits) -> Self {
        Self { by_domain: Mutex::default(), age: limits.facts, most: limits.idle }
    }

    /// What is known now of the domain under these rules.
    pub(super) fn recall(
        &self,
        domain: &Host,
        rules: Rules<'_>,
        now: Instant,
    ) -> Option<Arc<Known>> {
        let known = {
            let memory = lock(&self.by_domain);
            let (.., known) = memory.get(domain)?.iter().find(|it| (&*it.0, it.1) == rules)?;
            Arc::clone(known)
        };
        (now.saturating_duration_since(known.since) < self.age).then_some(known)
    }

    /// Keeps what was found out, if there is room for it.
    pub(super) fn keep(&self, domain: &Host, (connector, message): Rules<'_>, known: Known) {
        if self.age.is_zero() {
            return;
        }
        let mut memory = lock(&self.by_domain);
        if !memory.contains_key(domain) && memory.len() >= self.most {
            memory.retain(|_, of_domain| {
                of_domain.retain(|(.., known)| known.since.elapsed() < self.age);
                !of_domain.is_empty()
            });
            if memory.len() >= self.most {
                return;
            }
        }
        let of_domain = memory.entry(domain.clone()).or_default();
        of_domain.retain(|it| (&*it.0, it.1) != (connector, message));
        of_domain.push((connector.into(), message, Arc::new(known)));
    }

    /// The next delivery to this domain looks it up anew.
    pub(super) fn forget(&self, domain: &Host) {
        lock(&self.by_domain).remove(domain);
    }

    pub(super) fn clear(&self) {
        lock(&self.by_domain).clear();
    }
}
