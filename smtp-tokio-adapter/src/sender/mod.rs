//! From an envelope to the outcome of each recipient: [`Sender`] asks the network, makes the plans,
//! and walks the routes.
//!
//! ```
//! use std::{net::{Ipv4Addr, Ipv6Addr}, sync::Arc};
//! use smtp_proto::client::{Envelope, Recipient};
//! use smtp_tls_policy::{Domain, Namespace, Reason};
//! use smtp_tls_policy::pki::{TlsaRecord, Trust};
//! use smtp_tls_policy::plan::DnsStatus;
//! use smtp_tls_policy::rules::{OutboundConnector, OutboundConnectors, Posture};
//! use smtp_tls_policy::inquiry::{DnsAnswer, MxRecord};
//! use smtp_tokio_adapter::{Outbound, Sender, lookups::Lookups};
//!
//! /// A resolver in whose answers all is signed, and the TLSA records have broken signatures.
//! struct Zone;
//!
//! impl Lookups for Zone {
//!     async fn mx(&self, _: &Domain) -> DnsAnswer<MxRecord> {
//!         let host = Domain::parse("mx.test.example").unwrap();
//!         DnsAnswer::new(DnsStatus::Secure, vec![MxRecord::new(10, host)])
//!     }
//!     async fn ipv4(&self, _: &Domain) -> DnsAnswer<Ipv4Addr> {
//!         DnsAnswer::new(DnsStatus::Secure, vec![Ipv4Addr::LOCALHOST])
//!     }
//!     async fn ipv6(&self, _: &Domain) -> DnsAnswer<Ipv6Addr> {
//!         DnsAnswer::none(DnsStatus::Secure)
//!     }
//!     async fn tlsa(&self, owner: &str) -> DnsAnswer<TlsaRecord> {
//!         assert_eq!(owner, "_25._tcp.mx.test.example");
//!         DnsAnswer::none(DnsStatus::Bogus)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
//! let name = "client.test.example".parse()?;
//! let outbound = Outbound::new(name, provider, Trust::webpki_roots());
//! let all =
//!     OutboundConnector::new("all", vec![Namespace::Default], Posture::Deterministic);
//! let connectors = Arc::new(OutboundConnectors::new(vec![all])?);
//! let sender = Sender::new(outbound, connectors, Zone)?;
//!
//! let reader: Recipient = "reader@test.example".parse()?;
//! let envelope = Envelope::new("sender@client.test.example".parse()?, [reader]);
//! let message = bytes::Bytes::from("Subject: hello\r\n\r\nHello.\r\n");
//!
//! // A failed look-up of TLSA records does not mean that there are none (RFC 7672, section 2.1.2).
//! let report = sender.send(envelope, &message).await;
//! assert_eq!(report.statuses()[0].to_string(), "deferred: 4.7.5");
//! assert!(report.attempts.is_empty());
//! let (host, why) = &report.skipped[0];
//! assert_eq!(host.as_str(), "mx.test.example");
//! assert_eq!(why.refusal.reason(), Reason::TlsaLookupFailed);
//! # Ok(())
//! # }
//! ```

mod deliver;
mod dial;
mod groups;
mod job;
mod known;
#[cfg(feature = "crl-fetch")]
mod list_wait;
mod message;
mod mta_sts;
mod peers;
mod pool;
mod report;
mod shown;
mod stored;

pub use self::message::{Message, measure};
pub use self::pool::PoolLimits;
pub use self::report::{DialAttempt, RecipientOutcome, Report};

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smtp_proto::client::Envelope;
use smtp_proto::route::{NO_SUCH_DOMAIN, RecipientStatus, RouteConfig};
use smtp_proto::sasl::client::Credentials;
use smtp_proto::wire::params::BodyType;
use smtp_tls_policy::Host;
use smtp_tls_policy::inquiry::{DnsAnswer, ValidationWatch};
use smtp_tls_policy::pki_types::UnixTime;
use smtp_tls_policy::plan::{BrokenPeers, Demand, DnsStatus, Policy};
use smtp_tls_policy::rules::{ConnectorError, Faults, OutboundConnector, OutboundConnectors};
use smtp_tls_policy::sts;

use crate::client::outcome::LOCAL;
use crate::client::{Failure, Outbound};
use crate::lookups::Lookups;
use crate::store::Store;

use self::deliver::{sendable, walk};
use self::dial::Parcel;
use self::groups::{Group, all, groups};
use self::job::Job;
use self::known::{Known, Memory, Rules};
use self::mta_sts::Policies;
use self::pool::Pool;
use self::report::{Journal, Walked};
use self::stored::Shared;

/// Sends mail by what the DNS, the recipients' policies, the connectors and the message say
/// together.
///
/// One value serves all deliveries of a process: it remembers MTA-STS policies, and peers whose TLS
/// is broken. Let [`refresh`](Self::refresh) run beside them, again at the time that it gives or
/// once an hour.
///
/// A deferral by an MTA-STS policy needs nothing else before the mail is given up: the next
/// delivery asks for the record again (RFC 8461, section 5.1). Only what led to a good delivery is
/// used again, for a moment: [`PoolLimits::facts`].
///
/// # What a relay must keep
///
/// The message and, for each recipient, whether it is still to be sent, on stable storage before
/// the final 250 to the client (RFC 5321, section 4.2.5), until [`send_with`](Self::send_with)
/// hands out the recipient's outcome as delivered or bounced. Write that down inside the callback:
/// a process that is killed afterwards does not send the message again. Also the time of arrival,
/// the number of tries, and the [`clear_next_run`](RecipientOutcome::clear_next_run) of each
/// recipient. A recipient whose connection broke after the final dot ([`Failure::InDoubt`]) is
/// deferred, and may get the message twice: RFC 5321 has no way to ask.
pub struct Sender<L> {
    outbound: Outbound,
    connectors: Arc<OutboundConnectors>,
    lookups: L,
    route: RouteConfig,
    skips_failed_family: bool,
    credentials: Mutex<HashMap<Arc<str>, Arc<Credentials>>>,
    /// Seeds of routes. The first one is at random, so that not all hosts that start at once begin
    /// with the same MX host (RFC 5321, section 5.1).
    deliveries: AtomicU64,
    pool: Pool,
    known: Memory,
    watch: Mutex<ValidationWatch>,
    broken: Mutex<BrokenPeers>,
    policies: Policies,
    shared: Option<Shared>,
}

/// A message for the recipients of one domain, with a connector and demands that the caller chose:
/// for [`Sender::send_mail`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Mail<'a, M> {
    /// The connector that serves the domain; [`Policy::Unavailable`], which defers the mail, if the
    /// caller could not find out which one that is.
    pub policy: Policy<'a>,
    /// Further demands on the connection.
    pub demands: &'a [Demand],
    /// The domain of the recipients, or an address literal.
    pub domain: &'a Host,
    /// The envelope, with the recipients of this domain and no others. Its
    /// [`require_tls`](Envelope::require_tls) is the wish for REQUIRETLS.
    pub envelope: &'a Envelope,
    /// Whether the message has a single header field `TLS-Required: No` (RFC 8689, section 4.1):
    /// [`tls_required_no`](smtp_tls_policy::trace::tls_required_no).
    pub tls_required_no: bool,
    /// What to authenticate with at the connector's smart host: see
    /// [`Target`](crate::Target::credentials). No host that the DNS names is ever shown it.
    pub credentials: Option<&'a Credentials>,
    /// The message.
    pub message: &'a M,
}

impl<'a, M: Message> Mail<'a, M> {
    /// A message without further demands and credentials. Whether it wants `TLS-Required: No`, it
    /// says itself.
    pub fn new(
        connector: &'a OutboundConnector,
        domain: &'a Host,
        envelope: &'a Envelope,
        message: &'a M,
    ) -> Self {
        let policy = Policy::Connector(connector);
        Self {
            policy,
            demands: &[],
            domain,
            envelope,
            tls_required_no: message.tls_required_no(),
            credentials: None,
            message,
        }
    }

    /// The same, with credentials for the smart host.
    #[must_use]
    pub fn credentials(self, credentials: &'a Credentials) -> Self {
        Self { credentials: Some(credentials), ..self }
    }
}

impl<L: Lookups> Sender<L> {
    /// A sender that remembers nothing yet.
    ///
    /// # Errors
    ///
    /// A connector names roots, lists or a client certificate that the trust store and the TLS
    /// configuration of `outbound` do not have.
    pub fn new(
        outbound: Outbound,
        connectors: Arc<OutboundConnectors>,
        lookups: L,
    ) -> Result<Self, Faults<ConnectorError>> {
        connectors.check(&outbound.trust.load(), &outbound.tls.identities())?;
        let limits = PoolLimits::default();
        let mut route = RouteConfig::default();
        // A name that is none of the DNS is that of no MX host.
        route.own_names.extend(outbound.smtp.name.as_str().parse());
        Ok(Self {
            outbound,
            connectors,
            lookups,
            route,
            skips_failed_family: false,
            credentials: Mutex::default(),
            deliveries: AtomicU64::new(RandomState::new().hash_one(())),
            known: Memory::new(&limits),
            pool: Pool::new(limits),
            watch: Mutex::default(),
            broken: Mutex::default(),
            policies: Policies::new(sts::Cache::new()),
            shared: None,
        })
    }

    /// Changes how routes are walked. A smart host has a port of its own. The name in EHLO is one
    /// of the [`own_names`](RouteConfig::own_names) from the beginning: add each other name by
    /// which MX records call this host, so that it does not deliver to itself.
    #[must_use]
    pub fn with_route(self, change: impl FnOnce(&mut RouteConfig)) -> Self {
        self.with(|sender| change(&mut sender.route))
    }

    /// Opens and keeps connections by these limits.
    ///
    /// By default at most 10 connections serve one next hop by equal rules, 20 one host and 500 all
    /// of them; 100 idle ones are kept for 15 seconds. With a limit of 0 [idle](PoolLimits::idle)
    /// connections each delivery opens and closes its own.
    #[must_use]
    pub fn with_pool(self, limits: PoolLimits) -> Self {
        self.with(|sender| {
            sender.known = Memory::new(&limits);
            sender.pool = Pool::new(limits);
        })
    }

    /// Says QUIT on every kept connection, and keeps none from now on: for the end of the process,
    /// once no delivery is under way. A server that does not answer delays this by the time limit
    /// for QUIT.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connections go on saying QUIT.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Uses the addresses of one family if the look-up of the other one fails, also where DANE may
    /// apply: [`DomainInquiry::skipping_failed_family`]. Unless this is called, such a host is
    /// unreachable (RFC 7672, section 2.2.2).
    ///
    /// [`DomainInquiry::skipping_failed_family`]:
    ///     smtp_tls_policy::inquiry::DomainInquiry::skipping_failed_family
    #[must_use]
    pub fn skipping_failed_family(self) -> Self {
        self.with(|sender| sender.skips_failed_family = true)
    }

    /// Authenticates with these credentials at the smart host of the connector of this name. No
    /// host that the DNS names is ever shown them. Without such a connector, or its smart host,
    /// they are not used.
    #[must_use]
    pub fn with_credentials(self, connector: &str, credentials: Credentials) -> Self {
        self.replace_credentials(connector, Some(credentials));
        self
    }

    /// The same while deliveries run, for example with a new password or token; without credentials
    /// the next delivery does not authenticate. Connections that were authenticated with those from
    /// before carry no further message, except those of deliveries that had begun.
    pub fn replace_credentials(&self, connector: &str, credentials: Option<Credentials>) {
        let mut all = lock(&self.credentials);
        let before = match credentials.clone() {
            Some(new) => all.insert(connector.into(), Arc::new(new)),
            None => all.remove(connector),
        };
        // What a delivery with other credentials found out is kept before this, or not at all.
        if before.as_deref() != credentials.as_ref() {
            self.known.clear();
        }
    }

    /// Keeps what a delivery has found out, unless its credentials were replaced meanwhile.
    fn learn<M>(&self, mail: &Mail<'_, M>, rules: Rules<'_>, known: Known) {
        let credentials = lock(&self.credentials);
        let has_smart_host =
            matches!(mail.policy, Policy::Connector(connector) if connector.smart_host.is_some());
        if !has_smart_host || credentials.get(rules.0).map(|it| &**it) == mail.credentials {
            self.known.keep(mail.domain, rules, known);
        }
    }

    /// Sets how long peers are remembered whose TLS broke, and how many of them:
    /// [`BrokenPeers::new`]. With a limit of 0, none is. What was remembered so far is forgotten.
    #[must_use]
    pub fn with_memory(self, memory: BrokenPeers) -> Self {
        self.with(|sender| sender.broken = Mutex::new(memory))
    }

    /// Keeps MTA-STS policies in this cache, such as one that holds fewer of them. Before
    /// [`with_store`](Self::with_store), which fills it.
    #[must_use]
    pub fn with_policy_cache(self, cache: sts::Cache) -> Self {
        self.with(|sender| sender.policies = Policies::new(cache))
    }

    /// Shares MTA-STS policies and broken peers with other senders and later runs through this
    /// store, and takes over the policies in it. That is more than a gain of time: a domain that
    /// was once mailed to stays protected where its record is suppressed (RFC 8461, section 10.2).
    ///
    /// A store that does not answer delays a delivery once, by
    /// [`MAX_CALL_TIME`](crate::store::MAX_CALL_TIME) at most. One that answers late delays it by
    /// more; see [`store`](crate::store).
    ///
    /// # Cancel safety
    ///
    /// The sender is lost if the future is dropped; the store is unchanged.
    pub async fn with_store(self, store: Arc<impl Store + 'static>) -> Self {
        let sender = self.with(|sender| sender.shared = Some(Shared::new(store)));
        sender.restore_policies().await;
        sender
    }

    /// Changes a setting. By the new one, what was found out for earlier deliveries may be
    /// otherwise, so the next delivery to each domain finds it out again.
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self.known.clear();
        self
    }

    /// What answers this sender's questions.
    pub const fn lookups(&self) -> &L {
        &self.lookups
    }

    /// What answers this sender's questions, to be changed. The next delivery to each domain asks.
    pub fn lookups_mut(&mut self) -> &mut L {
        self.known.clear();
        &mut self.lookups
    }

    /// Sends one message to recipients of any domains, as far as that can be done now: each domain
    /// by its connector, several domains at once. The report has one outcome for each recipient, in
    /// the order of the envelope.
    ///
    /// If [`Envelope::size`] is not set, the message is read once more, and its size and whether it
    /// needs 8BITMIME are set. An [`Arc`] of an envelope with its size is not copied for the
    /// recipients of one domain.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: if the future is dropped, recipients may have the message, and nothing says
    /// which. Use [`send_with`](Self::send_with), which hands out each outcome when it is known.
    pub fn send<M: Message>(
        &self,
        envelope: impl Into<Arc<Envelope>>,
        message: &M,
    ) -> impl Future<Output = Report> + Send {
        self.send_with(envelope, message, &[], |_, _| {})
    }

    /// Sends one message as [`send`](Self::send) does, and calls `on_outcome` with the index and
    /// the outcome of each recipient the moment it is final: once for each, and before the report.
    /// Write it to the journal there. The call must not block for long.
    ///
    /// `clear_now` are the indices of the recipients whose outcome on an earlier run had
    /// [`clear_next_run`](RecipientOutcome::clear_next_run); none on the first run. Where TLS fails
    /// again, they get the message in clear text if their connector says `later`. It takes all
    /// recipients of a domain, or of a smart host: while one of them is not named, TLS is asked of
    /// all.
    ///
    /// # Cancel safety
    ///
    /// Each recipient whose outcome was handed out is settled. If the future is dropped, each other
    /// one may be sent to again; one whose message was just being accepted then gets it twice.
    pub fn send_with<M: Message>(
        &self,
        envelope: impl Into<Arc<Envelope>>,
        message: &M,
        clear_now: &[usize],
        mut on_outcome: impl FnMut(usize, &RecipientOutcome) + Send,
    ) -> impl Future<Output = Report> + Send {
        let envelope = envelope.into();
        async move {
            let journal = Journal::new(envelope.recipients.len(), &mut on_outcome);
            let walked = self.send_all(envelope, message, clear_now, &journal).await;
            walked.report(journal)
        }
    }

    /// Sends one message to the recipients of one domain, under the connector of the mail. The
    /// message is measured as in [`send`](Self::send).
    ///
    /// If a recipient is of another domain, nothing is sent: each recipient is deferred with
    /// [`Failure::OtherDomain`].
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe, as [`send`](Self::send).
    pub async fn send_mail<M: Message>(&self, mail: &Mail<'_, M>) -> Report {
        let mut tell = |_: usize, _: &RecipientOutcome| {};
        let journal = Journal::new(mail.envelope.recipients.len(), &mut tell);
        let measured = match stranger(mail) {
            Some(stranger) => Err(stranger),
            None => self.measured(mail.envelope.clone().into(), mail.message).await,
        };
        let walked = match measured {
            Ok(envelope) => {
                let indices: Vec<_> = sendable(&self.outbound, &envelope, &journal).collect();
                let part = part(&envelope, &indices);
                let mail = Mail { envelope: &part, ..*mail };
                match indices.is_empty() {
                    true => Walked::default(),
                    false => self.send_part(&mail, None, &part, &indices, &journal).await,
                }
            }
            Err(failure) => {
                journal.settle_rest(&unsent(failure));
                Walked::default()
            }
        };
        walked.report(journal)
    }

    async fn send_all<M: Message>(
        &self,
        envelope: Arc<Envelope>,
        message: &M,
        clear_now: &[usize],
        journal: &Journal<'_>,
    ) -> Walked {
        let envelope = match self.measured(envelope, message).await {
            Ok(envelope) => envelope,
            Err(failure) => {
                journal.settle_rest(&unsent(failure));
                return Walked::default();
            }
        };
        let indices = sendable(&self.outbound, &envelope, journal);
        let (groups, strangers) = groups(&envelope, indices, &self.connectors);
        for index in strangers {
            let status = RecipientStatus::Bounced(NO_SUCH_DOMAIN);
            journal.settle(index, RecipientOutcome::undialled(status));
        }
        let clear_now: BTreeSet<usize> = clear_now.iter().copied().collect();
        let whole = Whole {
            envelope: &envelope,
            tls_required_no: message.tls_required_no(),
            message,
            journal,
        };
        let send = |group| self.send_group(group, &clear_now, &whole);
        match &groups[..] {
            // As most messages have it.
            [group] => send(group).await,
            groups => Walked::joined(all(groups.iter().map(|group| Box::pin(send(group)))).await),
        }
    }

    async fn send_group<M: Message>(
        &self,
        group: &Group<'_>,
        clear_now: &BTreeSet<usize>,
        whole: &Whole<'_, '_, M>,
    ) -> Walked {
        let smart_host = group.connector.smart_host.as_ref();
        let credentials =
            smart_host.and_then(|_| lock(&self.credentials).get(&*group.connector.name).cloned());
        let is_later = group.indices.iter().all(|index| clear_now.contains(index));
        let part = part(whole.envelope, &group.indices);
        let on_later_run = is_later.then(|| {
            let mut connector = group.connector.clone();
            connector.yields = connector.yields.on_later_run();
            Box::new(connector)
        });
        let mail = Mail {
            policy: Policy::Connector(on_later_run.as_deref().unwrap_or(group.connector)),
            demands: &[],
            domain: &group.domain,
            envelope: &part,
            tls_required_no: whole.tls_required_no,
            credentials: credentials.as_deref(),
            message: whole.message,
        };
        // The rules of a later run are other ones.
        let rules = Some(&*group.connector.name).filter(|_| !is_later);
        self.send_part(&mail, rules, &part, &group.indices, whole.journal).await
    }

    async fn send_part<M: Message>(
        &self,
        mail: &Mail<'_, M>,
        connector: Option<&str>,
        envelope: &Arc<Envelope>,
        indices: &[usize],
        journal: &Journal<'_>,
    ) -> Walked {
        let job = Job::new(self, mail, connector);
        let course = job.course().await;
        let parcel = Parcel { envelope, indices, message: mail.message, journal };
        let walked = walk(&job, &course, &parcel).await;
        job.learn(&course, &walked);
        self.remember(&walked.attempts).await;
        walked
    }

    /// The envelope with the size of the message and what its body needs, if it does not say so.
    async fn measured<M: Message>(
        &self,
        mut envelope: Arc<Envelope>,
        message: &M,
    ) -> Result<Arc<Envelope>, Failure> {
        if envelope.size.is_some() || message.uri().is_some() {
            return Ok(envelope);
        }
        let measuring = async { measure(&mut message.open().await?).await };
        let patience = self.outbound.smtp.timeouts.idle;
        let measured = tokio::time::timeout(patience, measuring).await;
        let (size, body) = measured
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(Failure::Source)?;
        let with_size = Arc::make_mut(&mut envelope);
        with_size.size = Some(size);
        if with_size.body == BodyType::SevenBit {
            with_size.body = body;
        }
        Ok(envelope)
    }

    fn now(&self) -> UnixTime {
        self.outbound.tls.now().unwrap_or_else(UnixTime::now)
    }

    /// Every answer passes here.
    fn seen(&self, status: DnsStatus) -> DnsStatus {
        let mut watch = lock(&self.watch);
        let was_silent = watch.is_silent();
        watch.saw(status);
        if watch.is_silent() && !was_silent {
            tracing::warn!(
                "no DNS answer so far was secure: the resolver does not validate, and DANE is without effect"
            );
        }
        status
    }

    fn answered<T>(&self, answer: DnsAnswer<T>) -> DnsAnswer<T> {
        self.seen(answer.status);
        answer
    }
}

/// Another connector may apply to a recipient of another domain.
fn stranger<M>(mail: &Mail<'_, M>) -> Option<Failure> {
    let is_stranger = |recipient| groups::domain_of(recipient).as_ref() != Some(mail.domain);
    let index = mail.envelope.recipients.iter().position(is_stranger)?;
    Some(Failure::OtherDomain { index, domain: mail.domain.clone() })
}

/// A message with all its recipients.
struct Whole<'a, 'j, M> {
    envelope: &'a Arc<Envelope>,
    /// What the message says of itself.
    tls_required_no: bool,
    message: &'a M,
    journal: &'a Journal<'j>,
}

/// The envelope for these of its recipients, in order.
fn part<'a>(envelope: &'a Arc<Envelope>, indices: &[usize]) -> Cow<'a, Arc<Envelope>> {
    if indices.len() == envelope.recipients.len() {
        return Cow::Borrowed(envelope);
    }
    let recipients = indices.iter().map(|&index| envelope.recipients[index].clone());
    Cow::Owned(Arc::new(envelope.with_recipients(recipients.collect())))
}

/// The outcome of recipients whose message cannot be read, or must not be sent.
fn unsent(failure: Failure) -> RecipientOutcome {
    let status = RecipientStatus::Deferred(LOCAL);
    RecipientOutcome { failure: Some(Arc::new(failure)), ..RecipientOutcome::undialled(status) }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each of them is in order whenever its lock is free.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
