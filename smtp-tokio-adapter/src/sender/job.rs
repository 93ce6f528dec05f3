//! One delivery: what is looked up for it, and what that comes to for each host.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use smtp_proto::route::{LOOKUP_FAILED, Mx, Targets};
use smtp_proto::wire::host::HostName;
use smtp_proto::wire::path::ReversePathBuf;
use smtp_tls_policy::inquiry::MxRecord;
use smtp_tls_policy::plan::{
    Attempt, Dns, DnsStatus, Facts, HostOrigin, MessageTls, Policy, TlsaFact, plan,
};
use smtp_tls_policy::plan::{Query, Search};
use smtp_tls_policy::tlsrpt::Reporting;
use smtp_tls_policy::{Domain, Host, sts};

use super::{Mail, Sender, lock};
use crate::lookups::Lookups;
use crate::sender::hosts::{Candidate, Hosts, Skip};
use crate::sender::message::Message;

/// What is known of one delivery before its hosts are looked up.
pub(super) struct Job<'a, L, M> {
    sender: &'a Sender<L>,
    mail: &'a Mail<'a, M>,
    origin: HostOrigin,
    /// The smart host, or the domain.
    next_hop: Host,
    pub(super) port: u16,
    mx: DnsStatus,
    expanded: Option<Domain>,
    sts: sts::StsAnswer,
}

impl<'a, L: Lookups, M: Message> Job<'a, L, M> {
    pub(super) async fn look_up(sender: &'a Sender<L>, mail: &'a Mail<'a, M>) -> (Self, Targets) {
        let mut job = Self {
            sender,
            mail,
            origin: HostOrigin::Mx,
            next_hop: mail.domain.clone(),
            port: sender.route.port,
            mx: DnsStatus::Insecure,
            expanded: None,
            sts: sts::StsAnswer::default(),
        };
        let smart_host = match mail.policy {
            Policy::Connector(connector) => connector.smart_host.as_ref(),
            Policy::Unavailable => None,
        };
        if let Some(smart_host) = smart_host {
            (job.origin, job.next_hop, job.port) =
                (HostOrigin::SmartHost, smart_host.host.clone(), smart_host.port);
        } else if mail.domain.domain().is_none() {
            job.origin = HostOrigin::Literal;
        }
        let Ok(name) = job.next_hop.to_string().parse::<HostName>() else {
            return (job, Targets::NoSuchDomain);
        };
        let targets = match (job.origin, job.next_hop.domain()) {
            (HostOrigin::Mx, Some(domain)) if matches!(mail.policy, Policy::Connector(_)) => {
                let answer = sender.answered(sender.lookups.mx(domain).await);
                (job.mx, job.expanded) = (answer.status, answer.alias);
                match (answer.status.is_failure(), answer.no_such_name) {
                    (false, true) => return (job, Targets::NoSuchDomain),
                    (false, false) => {
                        let mx = |record: &MxRecord| {
                            let exchange = match &record.exchange {
                                Some(exchange) => Some(exchange.as_str().parse().ok()?),
                                None => None,
                            };
                            Some(Mx { preference: record.preference, exchange })
                        };
                        let records = answer.records.iter().filter_map(mx).collect();
                        Targets::Mx { domain: name.clone(), records }
                    }
                    (true, _) => Targets::Host(name.clone()),
                }
            }
            _ => Targets::Host(name.clone()),
        };
        if plan(&job.facts(&job.next_hop, &TlsaFact::Absent))
            .is_err_and(|refusal| refusal.ends_domain())
        {
            // Nobody is dialled, whoever the MX records name: the first host to be prepared says why.
            return (job, Targets::Host(name));
        }
        let asks = job.facts(&job.next_hop, &TlsaFact::Absent).asks_for_sts().cloned();
        if let Some(domain) = asks {
            job.sts = sender.sts(&domain).await;
        }
        (job, targets)
    }

    fn facts<'f>(&'f self, host: &'f Host, tlsa: &'f TlsaFact) -> Facts<'f> {
        let mut facts = match self.mail.policy {
            Policy::Connector(connector) => {
                Facts::new(connector, self.mail.domain, host, self.origin)
            }
            Policy::Unavailable => Facts::policy_unavailable(self.mail.domain, host, self.origin),
        };
        let envelope = self.mail.envelope;
        facts.demands = self.mail.demands;
        facts.dns = Dns { mx: self.mx, expanded_next_hop: self.expanded.as_ref(), tlsa };
        facts.sts = self.sts.fact(host);
        facts.message = MessageTls::new(
            envelope.require_tls,
            envelope.reverse_path == ReversePathBuf::NULL,
            self.mail.tls_required_no,
        );
        facts
    }

    fn reporting(&self, facts: &Facts<'_>) -> Reporting {
        Reporting::of(facts, &self.sts)
    }

    /// The host's addresses, the status of the answers together, and the name behind its CNAMEs.
    async fn addresses(&self, host: &Host) -> (Vec<IpAddr>, DnsStatus, Option<Domain>) {
        let name = match host {
            Host::Address(address) => return (vec![*address], DnsStatus::Insecure, None),
            Host::Name(name) => name,
        };
        let Sender { lookups, failed_family, .. } = self.sender;
        let (ipv4, ipv6) = tokio::join!(lookups.ipv4(name), lookups.ipv6(name));
        let (ipv4, ipv6) = (self.sender.answered(ipv4), self.sender.answered(ipv6));
        let status = DnsStatus::of_addresses(ipv4.status, ipv6.status, *failed_family);
        let of_ipv6 =
            ipv6.records.into_iter().filter(|_| !ipv6.status.is_failure()).map(IpAddr::V6);
        let of_ipv4 =
            ipv4.records.into_iter().filter(|_| !ipv4.status.is_failure()).map(IpAddr::V4);
        (of_ipv6.chain(of_ipv4).collect(), status, ipv4.alias.or(ipv6.alias))
    }

    /// RFC 7672, 2.2.2 and 2.2.3.
    async fn tlsa(&self, host: &Domain, addresses: DnsStatus, alias: Option<&Domain>) -> TlsaFact {
        let Sender { lookups, .. } = self.sender;
        let mut search = Search::new(host, self.port, addresses, alias);
        while let Some(query) = search.query() {
            match query {
                Query::Cname { owner } => {
                    let status = lookups.cname(&owner).await;
                    search.answer(self.sender.seen(status), &[]);
                }
                Query::Tlsa { owner, .. } => {
                    let answer = self.sender.answered(lookups.tlsa(&owner).await);
                    search.answer(answer.status, &answer.records);
                }
            }
        }
        search.into_fact()
    }

    /// Addresses of the host whose TLS is remembered to be broken.
    fn broken(&self, host: &Host, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let (broken, now) = (lock(&self.sender.broken), Instant::now());
        let is_broken =
            |ip: &&IpAddr| broken.recall(host, SocketAddr::new(**ip, self.port), now).is_some();
        addresses.iter().filter(is_broken).copied().collect()
    }
}

impl<L: Lookups, M: Message> Hosts for Job<'_, L, M> {
    async fn prepare(&self, name: &str) -> Result<Candidate, Skip> {
        let host = match self.origin {
            HostOrigin::Mx => Host::parse(name).map_err(|_| LOOKUP_FAILED)?,
            HostOrigin::SmartHost | HostOrigin::Literal => self.next_hop.clone(),
        };
        match plan(&self.facts(&host, &TlsaFact::Absent)) {
            Err(refusal) if refusal.ends_domain() => {
                let reporting = self.reporting(&self.facts(&host, &TlsaFact::Absent));
                return Err(Skip::from(refusal).reported(&reporting));
            }
            // The TLSA records are still to come, and have a word to say.
            Ok(_) | Err(_) => {}
        }
        let (addresses, status, alias) = self.addresses(&host).await;
        let tlsa = match host.domain() {
            Some(domain) if self.facts(&host, &TlsaFact::Absent).asks_for_tlsa() => {
                self.tlsa(domain, status, alias.as_ref()).await
            }
            _ => TlsaFact::Absent,
        };
        let mut facts = self.facts(&host, &tlsa);
        let (planned, reporting) = (plan(&facts), self.reporting(&facts));
        if status.is_failure() {
            // RFC 7672, 2.1.2: unreachable, under every posture; and it is the DNS that failed, not a certificate.
            let skip = Skip { refusal: planned.err(), ..LOOKUP_FAILED.into() };
            return Err(skip.reported(&reporting));
        }
        let planned = planned.map_err(|refusal| Skip::from(refusal).reported(&reporting))?;
        let mut candidate = Candidate::new(host.clone(), addresses, planned);
        candidate.reporting = reporting;
        if let Policy::Connector(connector) = self.mail.policy {
            candidate.identity = connector.identity.clone();
        }
        if self.origin == HostOrigin::SmartHost {
            candidate.credentials = self.mail.credentials.cloned();
        }
        let broken = self.broken(&host, &candidate.addresses);
        if !broken.is_empty() {
            facts.remembered_broken = true;
            // A floor above plaintext is not touched: then the plan is the same.
            candidate.broken = plan(&facts)
                .ok()
                .filter(|plan| plan.attempt() == Attempt::Clear)
                .map(|it| (broken, it));
        }
        Ok(candidate)
    }
}
