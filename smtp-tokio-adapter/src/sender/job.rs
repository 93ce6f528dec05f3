//! Looks up what one delivery needs to know.

use std::sync::{Arc, Mutex};

use smtp_proto::route::{Ending, LOOKUP_FAILED, Targets};
use smtp_proto::wire::host::HostName;
use smtp_proto::wire::path::ReversePathBuf;
use smtp_tls_policy::inquiry::{
    DnsAnswer, DomainAnswer, DomainAsk, DomainFacts, DomainInquiry, HostAnswer, HostAsk,
    HostInquiry, MailFacts, MailHosts, MxRecord, NotDialled,
};
use smtp_tls_policy::plan::{Attempt, DnsStatus, HostOrigin, MessageTls, Policy};
use smtp_tls_policy::{Domain, Host};

use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::{Mail, Sender, lock};
use crate::client::Target;
use crate::lookups::Lookups;
use crate::metering::lookup;
use crate::sender::deliver::{Preparing, Walked};
use crate::sender::hosts::{Candidate, Skip};
use crate::sender::known::{Course, Known, Ready, Rules};
use crate::sender::message::Message;
use crate::sender::report::DialAttempt;

/// The facts about a domain, or why none of its hosts is dialled.
type Domainwide<'a> = Result<DomainFacts<'a>, NotDialled>;

/// One delivery to a domain, and what is known of it.
pub(super) struct Job<'a, L, M> {
    sender: &'a Sender<L>,
    mail: &'a Mail<'a, M>,
    /// The rules under which what is known may serve other deliveries.
    rules: Option<Rules<'a>>,
    /// What an earlier delivery has found out.
    known: Option<Arc<Known>>,
    /// Looked up for this delivery.
    domain: OnceCell<Domainwide<'a>>,
    since: Instant,
    /// The hosts that were prepared for this delivery.
    ready: Mutex<Vec<(HostName, Arc<Ready>)>>,
}

impl<'a, L: Lookups, M: Message> Job<'a, L, M> {
    /// A delivery that may use what is known under these rules, and add to it.
    pub(super) fn new(
        sender: &'a Sender<L>,
        mail: &'a Mail<'a, M>,
        connector: Option<&'a str>,
    ) -> Self {
        let rules = connector.map(|connector| (connector, message_tls(mail)));
        let known = rules.and_then(|rules| sender.known.recall(mail.domain, rules));
        let (domain, ready) = (OnceCell::new(), Mutex::default());
        Self { sender, mail, rules, known, domain, since: Instant::now(), ready }
    }

    /// Where the mail goes.
    pub(super) async fn course(&self) -> Course {
        match &self.known {
            Some(known) => known.course.clone(),
            None => self.looked_up().await,
        }
    }

    /// Where the mail goes, looked up for this delivery.
    async fn looked_up(&self) -> Course {
        let domain = match self.domain().await {
            Ok(domain) => domain,
            // A refusal of the whole domain is told when its first host is prepared.
            Err(_) => {
                return Course {
                    targets: Targets::host(&self.mail.domain.to_string()),
                    port: self.sender.route.port,
                    next_hop: self.mail.domain.clone(),
                    clear_text_at_once: false,
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
        Course {
            targets,
            port: domain.port(),
            next_hop: next_hop.clone(),
            clear_text_at_once: domain.dial().clear_text_at_once,
        }
    }

    /// Keeps what was found out for the next deliveries, if the route went well by it.
    pub(super) fn learn(&self, course: &Course, walked: &Walked) {
        let Some(rules) = self.rules else { return };
        let is_good = |it: &DialAttempt| it.failure.is_none() && it.ending == Ending::Finished;
        let memory = &self.sender.known;
        if !walked.skipped.is_empty() || !walked.attempts.iter().all(is_good) {
            memory.forget(self.mail.domain);
        } else if self.known.is_none() && !walked.attempts.is_empty() {
            let hosts = std::mem::take(&mut *lock(&self.ready));
            memory.keep(self.mail.domain, rules, Known::new(self.since, course.clone(), hosts));
        }
    }

    async fn domain(&self) -> &Domainwide<'a> {
        self.domain.get_or_init(|| self.look_up()).await
    }

    /// Looks up what is needed once for the domain of the mail.
    async fn look_up(&self) -> Domainwide<'a> {
        let Self { sender, mail, .. } = *self;
        let mut facts = match mail.policy {
            Policy::Connector(connector) => MailFacts::new(connector, mail.domain),
            Policy::Unavailable => MailFacts::policy_unavailable(mail.domain),
        };
        facts.demands = mail.demands;
        facts.port = sender.route.port;
        facts.failed_family = sender.failed_family;
        facts.message = message_tls(mail);
        let mut inquiry = DomainInquiry::new(facts);
        while let Some(ask) = inquiry.ask() {
            let answer = match ask {
                DomainAsk::Mx(domain) => {
                    DomainAnswer::Mx(sender.answered(lookup("mx", sender.lookups.mx(domain)).await))
                }
                DomainAsk::Sts(domain) => DomainAnswer::Sts(sender.sts(domain).await),
            };
            inquiry.answer(answer);
        }
        inquiry.finish()
    }

    /// Looks up a host, and makes its plan.
    async fn prepare(&self, name: &HostName) -> Result<Candidate, Skip> {
        let domain = self.domain().await.as_ref().map_err(|refused| Skip::from(refused.clone()))?;
        let host = match (domain.origin(), Domain::parse(name.as_str())) {
            (HostOrigin::Mx, Ok(host)) => Host::Name(host),
            (HostOrigin::Mx | HostOrigin::SmartHost | HostOrigin::Literal, _) => {
                domain.next_hop().clone()
            }
        };
        let (sender, lookups) = (self.sender, &self.sender.lookups);
        let mut inquiry = HostInquiry::new(domain, &host);
        while let Some(ask) = inquiry.ask() {
            let answer = match ask {
                HostAsk::Addresses(host) => {
                    // A family that is not dialled is not asked for, and its answer is ignored.
                    let families = inquiry.families();
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
                    HostAnswer::Addresses(ipv4, ipv6)
                }
                HostAsk::Cname(host) => HostAnswer::Cname(
                    sender.seen(lookup("cname", lookups.cname(host.as_str())).await),
                ),
                HostAsk::Tlsa(owner) => {
                    HostAnswer::Tlsa(sender.answered(lookup("tlsa", lookups.tlsa(owner)).await))
                }
            };
            inquiry.answer(answer);
        }
        let prepared = inquiry.finish()?;
        let mut target = Target::of(host, prepared.plan);
        if let Policy::Connector(connector) = self.mail.policy {
            target.identity = connector.identity.clone();
            target.dial = connector.dial.clone();
        }
        if domain.origin() == HostOrigin::SmartHost {
            target.credentials = self.mail.credentials.cloned();
        }
        let mut candidate = Candidate::new(target, prepared.addresses);
        candidate.reporting = prepared.reporting;
        let peers =
            sender.broken_peers(&candidate.target, &candidate.addresses, domain.port()).await;
        candidate.plain_hello = peers.plain_hello;
        candidate.without_tls = peers.without_starttls;
        if !peers.broken.is_empty() {
            let plan = candidate.target.plan.clone().remembering_broken();
            // A floor above plaintext is not touched: then the plan is the same.
            if plan.attempt() == Attempt::Clear {
                candidate.without_tls.extend_from_slice(&peers.broken);
                candidate.broken = Some((peers.broken, plan));
            }
        }
        Ok(candidate)
    }
}

impl<L: Lookups, M: Message> Preparing for Job<'_, L, M> {
    async fn ready(&self, host: &HostName) -> Result<Arc<Ready>, Skip> {
        if let Some(ready) = self.known.as_ref().and_then(|known| known.host(host)) {
            return Ok(Arc::clone(ready));
        }
        let ready = Arc::new(Ready::new(self.prepare(host).await?));
        // The rules for a host are made from the answer that names it, and from no other one.
        if self.known.is_some() && !self.looked_up().await.names(host) {
            return Err(Skip::from(LOOKUP_FAILED));
        }
        lock(&self.ready).push((host.clone(), Arc::clone(&ready)));
        Ok(ready)
    }
}

fn message_tls<M>(mail: &Mail<'_, M>) -> MessageTls {
    let envelope = mail.envelope;
    let is_bounce = envelope.reverse_path == ReversePathBuf::NULL;
    MessageTls::new(envelope.require_tls, is_bounce, mail.tls_required_no)
}

impl From<NotDialled> for Skip {
    fn from(why: NotDialled) -> Self {
        Self { session: why.session, ..Self::from(why.refusal) }
    }
}
