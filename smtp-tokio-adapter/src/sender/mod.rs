//! From a domain to the words on its recipients: [`Sender`] asks the network, makes the facts and the plans, and walks the
//! route.
//!
//! ```
//! use std::{net::{Ipv4Addr, Ipv6Addr}, sync::Arc};
//! use smtp_proto::client::{ClientConfig, Envelope, Recipient};
//! use smtp_proto::route::RecipientStatus;
//! use smtp_tls_policy::{Domain, Host, Namespace, Reason};
//! use smtp_tls_policy::pki::{TlsaRecord, Trust};
//! use smtp_tls_policy::plan::DnsStatus;
//! use smtp_tls_policy::rules::{OutboundConnector, OutboundConnectors, Posture};
//! use smtp_tls_policy::tls::ClientTls;
//! use smtp_tls_policy::inquiry::{DnsAnswer, MxRecord};
//! use smtp_tokio_adapter::{Mail, Outbound, Sender, lookups::Lookups};
//!
//! /// What the resolver says: everything is signed, save that somebody has broken the TLSA records.
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
//! let config = Arc::new(ClientConfig::new("client.test.example".parse()?));
//! let outbound = Outbound::new(config, Arc::new(ClientTls::new(provider)), Arc::new(Trust::webpki_roots()));
//! let sender = Sender::new(outbound, Zone);
//!
//! let everybody = OutboundConnector::new("everybody", vec![Namespace::Default], Posture::Deterministic);
//! let connectors = OutboundConnectors::new(vec![everybody])?;
//! let domain = Host::parse("test.example")?;
//! let reader: Recipient = "reader@test.example".parse()?;
//! let envelope = Envelope::new("sender@test.example".parse()?, [reader]);
//! let message = bytes::Bytes::from("Subject: hello\r\n\r\nHello.\r\n");
//! let mail = Mail::new(connectors.find(&domain), &domain, &envelope, &message);
//!
//! // Who cannot tell whether there are TLSA records must not take that for their absence (RFC 7672, 2.1.2).
//! let report = sender.deliver(&mail).await;
//! assert!(matches!(report.words[..], [RecipientStatus::Deferred(status)] if status.to_string() == "4.7.5"));
//! assert!(report.attempts.is_empty());
//! let (host, skip) = &report.skipped[0];
//! assert_eq!(host, "mx.test.example");
//! assert_eq!(skip.refusal.as_ref().map(|it| it.reason()), Some(Reason::TlsaLookupFailed));
//! # Ok(())
//! # }
//! ```

mod deliver;
mod dial;
mod hosts;
mod job;
mod message;
mod policies;
mod report;

pub use self::deliver::deliver;
pub use self::hosts::{Candidate, Hosts, Skip};
pub use self::message::{Message, measure};
pub use self::report::{DialAttempt, Report};

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use smtp_proto::client::Envelope;
use smtp_proto::route::{Route, RouteConfig};
use smtp_proto::sasl::client::Credentials;
use smtp_tls_policy::inquiry::{DnsAnswer, FailedFamily, ValidationWatch};
use smtp_tls_policy::pki_types::UnixTime;
use smtp_tls_policy::plan::{Broken, BrokenPeers};
use smtp_tls_policy::plan::{Demand, DnsStatus, Policy};
use smtp_tls_policy::rules::OutboundConnector;
use smtp_tls_policy::sts;
use smtp_tls_policy::sts::PolicyStore;
use smtp_tls_policy::{Host, Reason};

use crate::client::{Outbound, Spoken};
use crate::lookups::Lookups;

use self::job::Job;
use self::policies::Policies;

/// Delivers mail by what the DNS, the recipients' policies, the connector and the message say together.
///
/// One value serves all deliveries of a process: it remembers MTA-STS policies, and peers whose TLS is broken. Let
/// [`refresh`](Self::refresh) run beside them, again at the time that it gives or once an hour.
///
/// A deferral by an MTA-STS policy needs nothing else before the mail is given up at last: each delivery asks for the record
/// again (RFC 8461, 5.1).
pub struct Sender<L> {
    /// Name, time limits, TLS, trust.
    pub outbound: Outbound,
    /// Who answers the questions.
    pub lookups: L,
    /// How routes are walked. The seed is changed from one delivery to the next, and a smart host has a port of its own.
    pub route: RouteConfig,
    /// What the failure of one address family means where the other has an answer.
    pub failed_family: FailedFamily,
    deliveries: AtomicU64,
    watch: Mutex<ValidationWatch>,
    broken: Mutex<BrokenPeers>,
    policies: Policies,
}

/// A message for the recipients of one domain.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Mail<'a, M> {
    /// The connector that serves the domain, or that it could not be looked up.
    pub policy: Policy<'a>,
    /// Further demands on the connection.
    pub demands: &'a [Demand],
    /// The domain of the recipients, or an address literal.
    pub domain: &'a Host,
    /// The envelope, with the recipients of this domain and no others. Its
    /// [`require_tls`](Envelope::require_tls) is the wish for REQUIRETLS.
    pub envelope: &'a Envelope,
    /// Whether the message has a single header field `TLS-Required: No` (RFC 8689, 4.1):
    /// [`tls_required_no`](smtp_tls_policy::trace::tls_required_no).
    pub tls_required_no: bool,
    /// What to authenticate with at the connector's smart host: see [`Target`](crate::Target::credentials). No host that the
    /// DNS names is ever shown it.
    pub credentials: Option<&'a Credentials>,
    /// The message.
    pub message: &'a M,
}

impl<'a, M> Mail<'a, M> {
    /// A message without further demands.
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
            tls_required_no: false,
            credentials: None,
            message,
        }
    }

    /// The same, with credentials for the smart host.
    #[must_use]
    pub fn credentials(self, credentials: &'a Credentials) -> Self {
        Self { credentials: Some(credentials), ..self }
    }

    /// The same, with what the message says of itself.
    #[must_use]
    pub fn tls_required_no(self, tls_required_no: bool) -> Self {
        Self { tls_required_no, ..self }
    }
}

impl<L: Lookups> Sender<L> {
    /// Nothing is remembered yet; policies live as long as this value.
    pub fn new(outbound: Outbound, lookups: L) -> Self {
        Self {
            outbound,
            lookups,
            route: RouteConfig::default(),
            failed_family: FailedFamily::default(),
            deliveries: AtomicU64::new(0),
            watch: Mutex::default(),
            broken: Mutex::default(),
            policies: Policies::new(sts::Cache::new(sts::CacheLimits::default()), None),
        }
    }

    /// Remembers broken peers for another time, or fewer of them: [`BrokenPeers::new`]. With a limit of 0, none.
    #[must_use]
    pub fn with_memory(self, memory: BrokenPeers) -> Self {
        Self { broken: Mutex::new(memory), ..self }
    }

    /// Takes over MTA-STS policies from an earlier run, and keeps them in this store from now on. A cache is more than a
    /// gain of time: a domain that was once mailed to stays protected where its record is suppressed (RFC 8461, 10.2).
    ///
    /// # Errors
    ///
    /// The store cannot be read. One policy that cannot be read is left out.
    pub fn with_store(
        self,
        mut cache: sts::Cache,
        mut store: impl PolicyStore + Send + 'static,
    ) -> Result<Self, sts::StoreError> {
        let loaded = store.load()?;
        for (domain, error) in &loaded.damaged {
            tracing::warn!(domain = domain.as_ref().map(tracing::field::display), %error, "stored MTA-STS policy");
        }
        for change in cache.restore(loaded.policies, self.now()) {
            store.apply(&change)?;
        }
        Ok(Self { policies: Policies::new(cache, Some(Arc::new(Mutex::new(store)))), ..self })
    }

    /// Delivers one message to the recipients of one domain, as far as that can be done now.
    pub async fn deliver<M: Message>(&self, mail: &Mail<'_, M>) -> Report {
        let job = Job::look_up(self, mail).await;
        let turn = self.deliveries.fetch_add(1, Ordering::Relaxed);
        let seed = self.route.seed.wrapping_add(turn);
        let mut config = self.route.clone();
        (config.seed, config.port) = (seed, job.port());
        let route = Route::new(job.targets(), mail.envelope.recipients.len(), &config);
        let report = deliver(&self.outbound, route, &job, mail.envelope, mail.message).await;
        self.remember(&report);
        report
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

    /// Notes whose TLS broke, and whose works again.
    fn remember(&self, report: &Report) {
        let now = Instant::now();
        let mut broken = lock(&self.broken);
        for attempt in
            report.attempts.iter().filter(|attempt| attempt.decision.channel == Spoken::Tls)
        {
            let Ok(host) = Host::parse(&attempt.host) else { continue };
            match attempt.decision.reason {
                Reason::HandshakeFailed => {
                    broken.broke(&host, attempt.address, Broken::Failed, now)
                }
                Reason::HandshakeTimeout => {
                    broken.broke(&host, attempt.address, Broken::Stalled, now)
                }
                _ if attempt.decision.tls.is_some() => broken.worked(&host, attempt.address),
                _ => {}
            }
        }
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each of them is in order whenever its lock is free.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
