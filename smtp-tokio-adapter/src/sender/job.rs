//! Looks up what one delivery needs to know.

use smtp_proto::route::Targets;
use smtp_proto::wire::host::HostName;
use smtp_proto::wire::path::ReversePathBuf;
use smtp_tls_policy::inquiry::{
    DnsAnswer, DomainAnswer, DomainAsk, DomainFacts, DomainInquiry, HostAnswer, HostAsk,
    HostInquiry, MailFacts, MailHosts, MxRecord, NotDialled,
};
use smtp_tls_policy::plan::{Attempt, DnsStatus, HostOrigin, MessageTls, Policy};
use smtp_tls_policy::{Domain, Host};

use super::{Mail, Sender};
use crate::client::Target;
use crate::lookups::Lookups;
use crate::metering::lookup;
use crate::sender::hosts::{Candidate, Hosts, Skip};
use crate::sender::message::Message;

/// What is known of one delivery before its hosts are looked up.
pub(super) struct Job<'a, L, M> {
    sender: &'a Sender<L>,
    mail: &'a Mail<'a, M>,
    /// The facts about the domain, or why none of its hosts is dialled.
    domain: Result<DomainFacts<'a>, NotDialled>,
}

impl<'a, L: Lookups, M: Message> Job<'a, L, M> {
    /// Looks up what is needed once for the domain of the mail.
    pub(super) async fn look_up(sender: &'a Sender<L>, mail: &'a Mail<'a, M>) -> Self {
        let envelope = mail.envelope;
        let mut facts = match mail.policy {
            Policy::Connector(connector) => MailFacts::new(connector, mail.domain),
            Policy::Unavailable => MailFacts::policy_unavailable(mail.domain),
        };
        facts.demands = mail.demands;
        facts.port = sender.route.port;
        facts.failed_family = sender.failed_family;
        facts.message = MessageTls::new(
            envelope.require_tls,
            envelope.reverse_path == ReversePathBuf::NULL,
            mail.tls_required_no,
        );
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
        Self { sender, mail, domain: inquiry.finish() }
    }

    /// Where the mail goes.
    pub(super) fn targets(&self) -> Targets {
        // A refusal of the whole domain is told when its first host is prepared.
        let Ok(domain) = &self.domain else { return Targets::host(&self.mail.domain.to_string()) };
        match domain.hosts() {
            MailHosts::NoSuchDomain => Targets::NoSuchDomain,
            MailHosts::NextHop => Targets::host(&domain.next_hop().to_string()),
            MailHosts::Mx(records) => {
                let name = domain.next_hop().to_string();
                Targets::mx(&name, records.iter().map(MxRecord::as_pair))
            }
        }
    }

    /// The domain or smart host whose connections are kept apart from those of others.
    pub(super) fn next_hop(&self) -> &Host {
        self.domain.as_ref().map_or(self.mail.domain, DomainFacts::next_hop)
    }

    /// Whether clear text does not wait until each address of a host was tried for TLS.
    pub(super) fn clear_text_at_once(&self) -> bool {
        self.domain.as_ref().is_ok_and(|domain| domain.dial().clear_text_at_once)
    }

    /// The port of the hosts.
    pub(super) fn port(&self) -> u16 {
        self.domain.as_ref().map_or(self.sender.route.port, DomainFacts::port)
    }
}

impl<L: Lookups, M: Message> Hosts for Job<'_, L, M> {
    async fn prepare(&self, name: &HostName) -> Result<Candidate, Skip> {
        let domain = self.domain.as_ref().map_err(|refused| Skip::from(refused.clone()))?;
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

impl From<NotDialled> for Skip {
    fn from(why: NotDialled) -> Self {
        Self { session: why.session, ..Self::from(why.refusal) }
    }
}
