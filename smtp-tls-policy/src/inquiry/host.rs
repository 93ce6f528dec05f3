//! The questions that are asked once for each host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::domain::Host;
use crate::inquiry::answer::DnsAnswer;
use crate::inquiry::ask::{Answer, Ask};
use crate::inquiry::domain::DomainFacts;
use crate::inquiry::not_dialled::NotDialled;
use crate::inquiry::tlsa_search::{TlsaQuery, TlsaSearch};
use crate::plan::facts::{DnsStatus, TlsaFact};
use crate::plan::{Plan, addresses_failed, plan};
use crate::reason::Reason;
use crate::rules::dial::Families;
use crate::tlsrpt::Reporting;

/// Asks what is needed for one host: addresses and TLSA records.
///
/// TLSA records are asked for only after the addresses, and only if they can count: the name
/// servers of some unsigned zones never answer that question (RFC 7672, section 2.2.2).
#[derive(Clone, Debug)]
pub struct HostInquiry<'d> {
    domain: &'d DomainFacts<'d>,
    host: Host,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    AskAddresses,
    Search {
        addresses: Vec<IpAddr>,
        search: TlsaSearch,
        /// How one family failed, if that delays the host where DANE may apply.
        family_failed: Option<DnsStatus>,
    },
    Found {
        addresses: Vec<IpAddr>,
        tlsa: TlsaFact,
    },
    /// The addresses could not be looked up.
    Unreachable {
        /// How that failed.
        status: DnsStatus,
        /// The answer should have been signed.
        is_signed: bool,
    },
}

/// A host that may be dialled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Prepared {
    /// The host.
    pub host: Host,
    /// Its addresses in the order in which to try them: the families take turns, and IPv6 begins
    /// (RFC 8305, section 4). Empty if it has none of a family that the connector dials.
    pub addresses: Vec<IpAddr>,
    /// What is asked of a connection to it.
    pub plan: Plan,
    /// Makes what a TLS report counts of a connection to it (RFC 8460).
    pub reporting: Reporting,
}

impl<'d> HostInquiry<'d> {
    /// An inquiry about a host of this domain that has asked nothing yet.
    pub fn new(domain: &'d DomainFacts<'d>, host: &Host) -> Self {
        let state = match host {
            Host::Name(_) => State::AskAddresses,
            Host::Address(address) => {
                let addresses = Some(*address).filter(|it| domain.dial().families.has(*it));
                State::Found {
                    addresses: addresses.into_iter().collect(),
                    tlsa: TlsaFact::NotAsked,
                }
            }
        };
        Self { domain, host: host.clone(), state }
    }

    /// The question that comes next; `None` once all is known.
    pub fn ask(&self) -> Option<Ask<'_>> {
        match &self.state {
            State::AskAddresses => {
                let families = self.domain.dial().families;
                self.host.domain().map(|host| Ask::Addresses { host, families })
            }
            State::Search { search, .. } => search.query().map(|query| match query {
                TlsaQuery::Cname(host) => Ask::Cname(host),
                TlsaQuery::Tlsa(owner) => Ask::Tlsa(owner),
            }),
            State::Found { .. } | State::Unreachable { .. } => None,
        }
    }

    /// Takes the answer to [`ask`](Self::ask). An answer to another question is ignored.
    pub fn answer(&mut self, answer: Answer) {
        match (&mut self.state, answer) {
            (State::AskAddresses, Answer::Addresses(ipv4, ipv6)) => {
                self.state = self.found(ipv4, ipv6);
            }
            (State::Search { search, family_failed, .. }, Answer::Cname(status)) => {
                let was_asked = matches!(search.query(), Some(TlsaQuery::Cname(_)));
                match *family_failed {
                    // The name is signed, though its addresses are not: DANE may apply.
                    Some(failed) if was_asked && status == DnsStatus::Secure => {
                        self.state = State::Unreachable { status: failed, is_signed: true };
                    }
                    _ => search.cname(status),
                }
            }
            (State::Search { search, .. }, Answer::Tlsa(answer)) => {
                search.tlsa(answer.status, &answer.records);
            }
            _ => {}
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
    ) -> Result<Prepared, NotDialled> {
        while let Some(ask) = self.ask() {
            let answer = answer(ask);
            self.answer(answer);
        }
        self.finish()
    }

    /// The outcome: the plan for the host is made here. A question without an answer has failed.
    ///
    /// # Errors
    ///
    /// [`NotDialled`]: the policy refuses the host, or a lookup failed.
    #[expect(
        clippy::result_large_err,
        reason = "once for each domain or host; the facts are larger"
    )]
    pub fn finish(self) -> Result<Prepared, NotDialled> {
        let Self { domain, host, state } = self;
        let (addresses, tlsa) = match state {
            State::Found { addresses, tlsa } => (addresses, tlsa),
            State::Search { addresses, search, .. } => (addresses, search.into_fact()),
            State::AskAddresses => {
                return Err(unreachable(domain, &host, DnsStatus::Indeterminate, false));
            }
            State::Unreachable { status, is_signed } => {
                return Err(unreachable(domain, &host, status, is_signed));
            }
        };
        let reporting = domain.reporting(&host, &tlsa);
        match plan(&domain.facts(&host, &tlsa)) {
            Ok(plan) => Ok(Prepared { host, addresses, plan, reporting }),
            Err(refusal) => Err(NotDialled::new(refusal, &reporting)),
        }
    }

    fn found(&self, mut ipv4: DnsAnswer<Ipv4Addr>, mut ipv6: DnsAnswer<Ipv6Addr>) -> State {
        let dial = self.domain.dial();
        match dial.families {
            Families::Both => {}
            Families::Ipv4Only => ipv6 = DnsAnswer::none(ipv4.status),
            Families::Ipv6Only => ipv4 = DnsAnswer::none(ipv6.status),
        }
        let scope = self.domain.scope();
        let dane_binds = scope.is_some_and(|scope| scope.dane_binds(&self.host));
        let (status, family_failed) = match (ipv4.status, ipv6.status) {
            (a, aaaa) if a.is_failure() && aaaa.is_failure() => {
                let is_signed = [a, aaaa].contains(&DnsStatus::Bogus);
                let status = if aaaa == DnsStatus::Local { aaaa } else { a };
                return State::Unreachable { status, is_signed };
            }
            (a, aaaa) if a.is_failure() => (aaaa, Some(a)),
            (a, aaaa) if aaaa.is_failure() => (a, Some(aaaa)),
            (DnsStatus::Secure, DnsStatus::Secure) => (DnsStatus::Secure, None),
            _ => (DnsStatus::Insecure, None),
        };
        let delays = dane_binds && !self.domain.mail.skips_failed_family;
        let family_failed = family_failed.filter(|_| delays);
        if let (Some(failed), DnsStatus::Secure) = (family_failed, status) {
            return State::Unreachable { status: failed, is_signed: true };
        }
        if ipv6.status.is_failure() {
            ipv6 = DnsAnswer::none(ipv4.status);
        }
        if ipv4.status.is_failure() {
            ipv4 = DnsAnswer::none(ipv6.status);
        }
        let alias = ipv4.alias.or(ipv6.alias);
        let addresses = dial.order(ipv6.records, ipv4.records);
        match self.host.domain() {
            // A host without an address is not dialled, whatever its records say.
            Some(host)
                if !addresses.is_empty()
                    && scope.is_some_and(|scope| scope.dane_counts(&self.host)) =>
            {
                let search = TlsaSearch::new(host, self.domain.port(), status, alias.as_ref());
                State::Search { addresses, search, family_failed }
            }
            _ => State::Found { addresses, tlsa: TlsaFact::NotAsked },
        }
    }
}

/// The addresses could not be looked up: under every posture the host is not dialled (RFC 7672,
/// section 2.1.2). Only if the answer should have been signed, and TLSA records count, a TLS report
/// speaks of DNSSEC; and never of a fault of this side.
fn unreachable(
    domain: &DomainFacts<'_>,
    host: &Host,
    status: DnsStatus,
    is_signed: bool,
) -> NotDialled {
    let (tlsa, reason) = match status {
        DnsStatus::Local => (TlsaFact::NotAsked, Reason::LookupLocalFault),
        _ if is_signed => (TlsaFact::Failed, Reason::AddressLookupFailed),
        _ => (TlsaFact::NotAsked, Reason::AddressLookupFailed),
    };
    let reporting = domain.reporting(host, &tlsa);
    let refused = plan(&domain.facts(host, &tlsa)).err();
    let by_dane = refused.filter(|it| it.reason() == Reason::TlsaLookupFailed);
    NotDialled::new(addresses_failed(&domain.mail.policy, reason, by_dane), &reporting)
}
