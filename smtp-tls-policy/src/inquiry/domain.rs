//! The questions that are asked once for each recipient domain.

use crate::domain::{Domain, Host};
use crate::inquiry::answer::MxRecord;
use crate::inquiry::ask::{Answer, Ask};
use crate::inquiry::not_dialled::NotDialled;
use crate::plan::facts::{Demand, DnsStatus, Facts, HostOrigin, MessageTls, Policy, TlsaFact};
use crate::plan::scope::Scope;
use crate::plan::{domain_refusal, policy_unavailable};
use crate::rules::connector::OutboundConnector;
use crate::rules::dial::{DialRules, Families};
use crate::sts::StsAnswer;
use crate::tlsrpt::Reporting;

/// The port of SMTP (RFC 5321, section 4.5.4.2).
const SMTP_PORT: u16 = 25;

/// What is known of a delivery before anything is looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mail<'a> {
    pub(super) policy: Policy<'a>,
    demands: &'a [Demand],
    domain: &'a Host,
    pub(super) message: MessageTls,
    port: u16,
    pub(super) skips_failed_family: bool,
}

/// The hosts to which the mail of a domain goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailHosts {
    /// The hosts of these MX records. Without records the domain is its own host (RFC 5321, section
    /// 5.1).
    Mx(Vec<MxRecord>),
    /// The next hop itself: a smart host or an address literal.
    NextHop,
    /// None: the domain does not exist.
    NoSuchDomain,
}

/// Asks what is needed once for each recipient domain: MX records and MTA-STS policy.
///
/// A smart host and an address literal have no MX records, and a domain that is refused or does not
/// exist needs no policy: the questions are left out.
///
/// What is known of the delivery is set before the first question: each `with_*` begins anew, and
/// forgets what was answered.
#[derive(Clone, Debug)]
pub struct DomainInquiry<'a> {
    facts: DomainFacts<'a>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    AskMx,
    AskSts,
    Done,
}

/// What is known of a recipient domain once its questions are answered; a
/// [`HostInquiry`](super::HostInquiry) asks about each of its hosts.
#[derive(Clone, Debug)]
pub struct DomainFacts<'a> {
    pub(super) mail: Mail<'a>,
    origin: HostOrigin,
    next_hop: Host,
    port: u16,
    hosts: MailHosts,
    mx: DnsStatus,
    expanded_next_hop: Option<Domain>,
    sts: StsAnswer,
}

impl<'a> DomainInquiry<'a> {
    /// An inquiry for a message to this domain, or to this address literal, which the connector
    /// serves. By default there are no further demands, the message wants nothing of TLS, and the
    /// port is 25.
    pub fn new(connector: &'a OutboundConnector, domain: &'a Host) -> Self {
        Self::of(Policy::Connector(connector), domain)
    }

    /// An inquiry for a message to a domain whose policy could not be looked up: it asks nothing,
    /// and ends with the refusal.
    pub fn policy_unavailable(domain: &'a Host) -> Self {
        Self::of(Policy::Unavailable, domain)
    }

    fn of(policy: Policy<'a>, domain: &'a Host) -> Self {
        Self::begin(Mail {
            policy,
            demands: &[],
            domain,
            message: MessageTls::Default,
            port: SMTP_PORT,
            skips_failed_family: false,
        })
    }

    /// Further demands on the connection.
    #[must_use]
    pub fn with_demands(self, demands: &'a [Demand]) -> Self {
        Self::begin(Mail { demands, ..self.facts.mail })
    }

    /// What the message wants of TLS.
    #[must_use]
    pub fn with_message(self, message: MessageTls) -> Self {
        Self::begin(Mail { message, ..self.facts.mail })
    }

    /// The port of hosts that MX records name; a smart host has a port of its own.
    #[must_use]
    pub fn with_port(self, port: u16) -> Self {
        Self::begin(Mail { port, ..self.facts.mail })
    }

    /// Uses the addresses of one family if the look-up of the other one fails, also where DANE may
    /// apply. Unless this is called, the host is unreachable then (RFC 7672, section 2.2.2).
    ///
    /// DANE may apply if the connector lets TLSA records count, and the answer of the other family,
    /// or the CNAME that led there, is secure. Everywhere else the addresses of the other family
    /// are used in any case.
    #[must_use]
    pub fn skipping_failed_family(self) -> Self {
        Self::begin(Mail { skips_failed_family: true, ..self.facts.mail })
    }

    fn begin(mail: Mail<'a>) -> Self {
        let smart_host = match mail.policy {
            Policy::Connector(connector) => connector.smart_host.as_ref(),
            Policy::Unavailable => None,
        };
        let (origin, next_hop, port) = match (smart_host, mail.domain) {
            (Some(it), _) => (HostOrigin::SmartHost, it.host.clone(), it.port),
            (None, Host::Name(_)) => (HostOrigin::Mx, mail.domain.clone(), mail.port),
            (None, Host::Address(_)) => (HostOrigin::Literal, mail.domain.clone(), mail.port),
        };
        let facts = DomainFacts {
            mail,
            origin,
            next_hop,
            port,
            hosts: MailHosts::NextHop,
            // Until the answer comes: an inquiry that is given up has failed.
            mx: match origin {
                HostOrigin::Mx => DnsStatus::Indeterminate,
                HostOrigin::SmartHost | HostOrigin::Literal => DnsStatus::Insecure,
            },
            expanded_next_hop: None,
            sts: StsAnswer::default(),
        };
        let state = match (mail.policy, origin) {
            (Policy::Unavailable, _) => State::Done,
            (Policy::Connector(_), HostOrigin::Mx) => State::AskMx,
            (Policy::Connector(_), HostOrigin::SmartHost | HostOrigin::Literal) => facts.after_mx(),
        };
        Self { facts, state }
    }

    /// The question that comes next; `None` once all is known.
    pub fn ask(&self) -> Option<Ask<'_>> {
        let domain = self.facts.next_hop.domain()?;
        match self.state {
            State::AskMx => Some(Ask::Mx(domain)),
            State::AskSts => Some(Ask::Sts(domain)),
            State::Done => None,
        }
    }

    /// Takes the answer to [`ask`](Self::ask). An answer to another question is ignored.
    pub fn answer(&mut self, answer: Answer) {
        match (self.state, answer) {
            (State::AskMx, Answer::Mx(mx)) => {
                let facts = &mut self.facts;
                (facts.mx, facts.expanded_next_hop) = (mx.status, mx.alias);
                facts.hosts = match (mx.status.is_failure(), mx.no_such_name) {
                    (false, false) => MailHosts::Mx(mx.records),
                    (false, true) => MailHosts::NoSuchDomain,
                    (true, _) => MailHosts::NextHop,
                };
                self.state = facts.after_mx();
            }
            (State::AskSts, Answer::Sts(sts)) => {
                self.facts.sts = sts;
                self.state = State::Done;
            }
            (State::AskMx | State::AskSts | State::Done, _) => {}
        }
    }

    /// Asks each question, and returns the outcome: for look-ups that block.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish).
    #[expect(
        clippy::result_large_err,
        reason = "once for each domain or host; the facts are larger"
    )]
    pub fn resolve(
        mut self,
        mut answer: impl FnMut(Ask<'_>) -> Answer,
    ) -> Result<DomainFacts<'a>, NotDialled> {
        while let Some(ask) = self.ask() {
            let answer = answer(ask);
            self.answer(answer);
        }
        self.finish()
    }

    /// The outcome. An MX question without an answer has failed; an MTA-STS question without an
    /// answer means that no policy is known.
    ///
    /// # Errors
    ///
    /// [`NotDialled`]: no host of the domain may be dialled. Its refusal
    /// [ends the domain](crate::plan::Refusal::ends_domain).
    #[expect(
        clippy::result_large_err,
        reason = "once for each domain or host; the facts are larger"
    )]
    pub fn finish(self) -> Result<DomainFacts<'a>, NotDialled> {
        let facts = self.facts;
        let refusal = match facts.scope() {
            Some(_) if facts.hosts == MailHosts::NoSuchDomain => None,
            Some(scope) => domain_refusal(&scope),
            None => Some(policy_unavailable(facts.mail.message)),
        };
        match refusal {
            None => Ok(facts),
            Some(refusal) => {
                let reporting = match facts.mx {
                    // It cannot be told whose fault it is, nor whether the domain is signed.
                    DnsStatus::Indeterminate => Reporting::default(),
                    _ => facts.reporting(&facts.next_hop, &TlsaFact::NotAsked),
                };
                Err(NotDialled::new(refusal, &reporting))
            }
        }
    }
}

impl DomainFacts<'_> {
    /// The hosts to which the mail goes.
    pub fn hosts(&self) -> &MailHosts {
        &self.hosts
    }

    /// The recipient domain, its address literal, or the smart host.
    pub fn next_hop(&self) -> &Host {
        &self.next_hop
    }

    /// How its hosts are found.
    pub fn origin(&self) -> HostOrigin {
        self.origin
    }

    /// The port of its hosts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How its hosts are dialled.
    pub fn dial(&self) -> &DialRules {
        const DEFAULT: &DialRules = &DialRules {
            families: Families::Both,
            source_ipv4: None,
            source_ipv6: None,
            interface: None,
            socks5: None,
            clear_text_at_once: false,
        };
        match self.mail.policy {
            Policy::Connector(connector) => &connector.dial,
            Policy::Unavailable => DEFAULT,
        }
    }

    /// `None` if the policy could not be looked up.
    pub(super) fn scope(&self) -> Option<Scope<'_>> {
        let Policy::Connector(connector) = self.mail.policy else { return None };
        let (origin, message) = (self.origin, self.mail.message);
        Some(Scope { connector, origin, message, mx: self.mx })
    }

    /// The facts about one host.
    pub(super) fn facts<'f>(&'f self, host: &'f Host, tlsa: &'f TlsaFact) -> Facts<'f> {
        let mut facts = Facts::of(self.mail.policy, self.mail.domain, host, self.origin);
        facts.demands = self.mail.demands;
        facts.mx = self.mx;
        facts.expanded_next_hop = self.expanded_next_hop.as_ref();
        facts.tlsa = tlsa;
        facts.sts = &self.sts;
        facts.message = self.mail.message;
        facts
    }

    pub(super) fn reporting(&self, host: &Host, tlsa: &TlsaFact) -> Reporting {
        Reporting::of(&self.facts(host, tlsa))
    }

    /// The question after that for MX records: no policy is needed where no host will be dialled.
    fn after_mx(&self) -> State {
        let is_null = matches!(&self.hosts, MailHosts::Mx(records)
            if !records.is_empty() && records.iter().all(|record| record.exchange.is_none()));
        let asks = self.hosts != MailHosts::NoSuchDomain
            && !is_null
            && self.scope().is_some_and(|scope| {
                scope.refusal().is_none() && scope.asks_for_sts(&self.next_hop)
            });
        if asks { State::AskSts } else { State::Done }
    }
}
