//! Looks up what one delivery needs to know.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, OnceLock};

use smtp_proto::route::{Ending, Targets};
use smtp_proto::wire::host::HostName;
use smtp_proto::wire::path::ReversePath;
use smtp_tls_policy::inquiry::{
    Answer, Ask, DnsAnswer, DomainFacts, DomainInquiry, HostInquiry, MailHosts, MxRecord,
    NotDialled, Prepared,
};
use smtp_tls_policy::plan::{DnsStatus, HostOrigin, MessageTls, Policy};
use smtp_tls_policy::{Domain, Host};

use tokio::time::Instant;

use super::{Mail, Sender, lock};
use crate::client::Target;
use crate::lookups::Lookups;
use crate::metering::lookup;
use crate::sender::known::{Course, Known, Ready, Rules};
use crate::sender::message::Message;
use crate::sender::report::{DialAttempt, Walked};

/// The facts about a domain, or why none of its hosts is dialled.
type Domainwide<'a> = Result<DomainFacts<'a>, NotDialled>;

/// One delivery to a domain, and what is known of it.
pub(super) struct Job<'a, L, M> {
    pub(super) sender: &'a Sender<L>,
    mail: &'a Mail<'a, M>,
    /// The rules under which what is known may serve other deliveries.
    rules: Option<Rules<'a>>,
    /// What an earlier delivery has found out.
    known: Option<Arc<Known>>,
    /// Looked up for this delivery, which asks one question after the other.
    domain: OnceLock<Box<Domainwide<'a>>>,
    since: Instant,
    /// The hosts that were prepared for this delivery.
    ready: Mutex<Vec<Arc<Ready>>>,
}

impl<'a, L: Lookups, M: Message> Job<'a, L, M> {
    /// A delivery that may use what is known under these rules, and add to it.
    pub(super) fn new(
        sender: &'a Sender<L>,
        mail: &'a Mail<'a, M>,
        connector: Option<&'a str>,
    ) -> Self {
        let rules = connector.map(|connector| (connector, message_tls(mail)));
        let since = Instant::now();
        let known = rules.and_then(|rules| sender.known.recall(mail.domain, rules, since));
        let (domain, ready) = (OnceLock::new(), Mutex::default());
        Self { sender, mail, rules, known, domain, since, ready }
    }

    /// Where the mail goes.
    pub(super) async fn course(&self) -> Cow<'_, Arc<Course>> {
        match &self.known {
            Some(known) => Cow::Borrowed(&known.course),
            // Boxed, as all that a delivery to a known domain does without: few deliveries need its
            // memory, and for a short time.
            None => Cow::Owned(Arc::new(Box::pin(self.looked_up()).await)),
        }
    }

    /// Where the mail goes, looked up for this delivery.
    async fn looked_up(&self) -> Course {
        let mut config = self.sender.route.clone();
        let domain = match self.domain().await {
            Ok(domain) => domain,
            // A refusal of the whole domain is told when its first host is prepared.
            Err(_) => {
                return Course {
                    targets: Targets::host(&self.mail.domain.to_string()),
                    config,
                    next_hop: self.mail.domain.clone(),
                };
            }
        };
        let next_hop = domain.next_hop();
        let targets = match domain.hosts() {
            MailHosts::NoSuchDomain => Targets::NO_SUCH_DOMAIN,
            MailHosts::NextHop => Targets::host(&next_hop.to_string()),
            MailHosts::Mx(records) => {
                Targets::mx(&next_hop.to_string(), records.iter().map(MxRecord::as_pair))
            }
        };
        config.port = domain.port();
        // Else clear text waits until each address of a host was tried for TLS.
        config.tls_at_each_address &= !domain.dial().clear_text_at_once;
        Course { targets, config, next_hop: next_hop.clone() }
    }

    /// Keeps what was found out for the next deliveries, if the route went well by it.
    pub(super) fn learn(&self, course: &Arc<Course>, walked: &Walked) {
        let Some(rules) = self.rules else { return };
        let is_good = |it: &DialAttempt| it.failure.is_none() && it.ending == Ending::Finished;
        if !walked.skipped.is_empty() || !walked.attempts.iter().all(is_good) {
            self.sender.known.forget(self.mail.domain);
        } else if self.known.is_none() && !walked.attempts.is_empty() {
            let hosts = std::mem::take(&mut *lock(&self.ready));
            let known = Known::new(self.since, Arc::clone(course), hosts);
            self.sender.learn(self.mail, rules, known);
        }
    }

    async fn domain(&self) -> &Domainwide<'a> {
        if let Some(domain) = self.domain.get() {
            return domain;
        }
        let domain = Box::new(self.look_up().await);
        self.domain.get_or_init(|| domain)
    }

    /// Looks up what is needed once for the domain of the mail.
    async fn look_up(&self) -> Domainwide<'a> {
        let Self { sender, mail, .. } = *self;
        let inquiry = match mail.policy {
            Policy::Connector(connector) => DomainInquiry::new(connector, mail.domain),
            Policy::Unavailable => DomainInquiry::policy_unavailable(mail.domain),
        };
        let mut inquiry = inquiry
            .with_demands(mail.demands)
            .with_port(sender.route.port)
            .with_message(message_tls(mail));
        if sender.skips_failed_family {
            inquiry = inquiry.skipping_failed_family();
        }
        while let Some(ask) = inquiry.ask() {
            let answer = self.answer(ask).await;
            inquiry.answer(answer);
        }
        inquiry.finish()
    }

    /// What an earlier delivery has found out about a host of the route.
    pub(super) fn known(&self, host: &HostName) -> Option<&Ready> {
        self.known.as_ref()?.host(host)
    }

    /// Looks up a host of the route; or says why it is not dialled. None if the newest answer of
    /// the DNS no longer names the host.
    pub(super) async fn ready(&self, host: &HostName) -> Result<Option<Arc<Ready>>, NotDialled> {
        let Some(ready) = Box::pin(self.prepare(host)).await? else { return Ok(None) };
        let ready = Arc::new(ready);
        lock(&self.ready).push(Arc::clone(&ready));
        Ok(Some(ready))
    }

    /// Asks the DNS and the policy host.
    async fn answer(&self, ask: Ask<'_>) -> Answer {
        let (sender, lookups) = (self.sender, &self.sender.lookups);
        match ask {
            Ask::Mx(domain) => Answer::Mx(sender.answered(lookup("mx", lookups.mx(domain)).await)),
            Ask::Sts(domain) => Answer::Sts(sender.sts(domain).await),
            Ask::Addresses { host, families } => {
                // A family that is not dialled is not asked for, and its answer is ignored.
                let ipv4 = async {
                    match families.has_ipv4() {
                        true => sender.answered(lookup("ipv4", lookups.ipv4(host)).await),
                        false => DnsAnswer::none(DnsStatus::Insecure),
                    }
                };
                let ipv6 = async {
                    match families.has_ipv6() {
                        true => sender.answered(lookup("ipv6", lookups.ipv6(host)).await),
                        false => DnsAnswer::none(DnsStatus::Insecure),
                    }
                };
                let (ipv4, ipv6) = tokio::join!(ipv4, ipv6);
                Answer::Addresses(ipv4, ipv6)
            }
            Ask::Cname(host) => {
                Answer::Cname(sender.seen(lookup("cname", lookups.cname(host.as_str())).await))
            }
            Ask::Tlsa(owner) => {
                Answer::Tlsa(sender.answered(lookup("tlsa", lookups.tlsa(owner)).await))
            }
        }
    }

    /// Looks up a host, and makes its plan; none if only an earlier answer names the host.
    async fn prepare(&self, name: &HostName) -> Result<Option<Ready>, NotDialled> {
        let domain = self.domain().await.as_ref().map_err(Clone::clone)?;
        let host = match (domain.origin(), Domain::parse(name.as_str())) {
            (HostOrigin::Mx, Ok(host)) => Host::Name(host),
            (HostOrigin::Mx | HostOrigin::SmartHost | HostOrigin::Literal, _) => {
                domain.next_hop().clone()
            }
        };
        // The rules for a host are made from the answer that names it, and from no other one.
        if self.known.is_some() && !self.looked_up().await.names(name) {
            // What is known is of another answer.
            self.sender.known.forget(self.mail.domain);
            return Ok(None);
        }
        let mut inquiry = HostInquiry::new(domain, &host);
        while let Some(ask) = inquiry.ask() {
            let answer = self.answer(ask).await;
            inquiry.answer(answer);
        }
        let Prepared { plan, addresses, reporting, .. } = inquiry.finish()?;
        let mut target = Target::of(host, plan);
        if let Policy::Connector(connector) = self.mail.policy {
            target.identity = connector.identity.clone();
            target.dial = connector.dial.clone();
        }
        if domain.origin() == HostOrigin::SmartHost {
            target.credentials = self.mail.credentials.cloned();
        }
        let peers = self.sender.broken_peers(&target, &addresses, domain.port()).await;
        Ok(Some(Ready::new(name.clone(), target, addresses, peers, reporting)))
    }
}

fn message_tls<M>(mail: &Mail<'_, M>) -> MessageTls {
    let envelope = mail.envelope;
    let is_bounce = envelope.reverse_path == ReversePath::Null;
    MessageTls::new(envelope.require_tls, is_bounce, mail.tls_required_no)
}
