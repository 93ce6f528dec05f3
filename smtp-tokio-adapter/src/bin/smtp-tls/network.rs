//! DNS and MTA-STS look-ups, with a list of what was asked and answered.

use std::cell::RefCell;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use smtp_tls_policy::inquiry::{
    Answer, Ask, DnsAnswer, DomainFacts, DomainInquiry, HostInquiry, MailHosts, MxRecord,
    NotDialled, Prepared,
};
use smtp_tls_policy::pki::{LiveTrust, TlsaRecord};
use smtp_tls_policy::pki_types::UnixTime;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::sts::{
    Cache, CachedPolicy, Discovered, Due, FetchError, PolicyId, StsAnswer, Trouble, record_name,
};
use smtp_tls_policy::{Domain, Host};
use smtp_tokio_adapter::lookups::dns::{Anchors, Fault, Resolver, Servers};
use smtp_tokio_adapter::lookups::{Combined, PolicyClient, PolicyFetch};

use crate::input;
use crate::status::Failure;

#[cfg(test)]
mod tests;

/// An address, with or without a port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    ip: IpAddr,
    port: Option<u16>,
}

impl Address {
    /// The address, with this port where none is given.
    pub(crate) fn with_port(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(port))
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err("there is no port 0".to_owned()),
                port => Ok(Self { ip: address.ip(), port: Some(port) }),
            };
        }
        let ip = text.trim_start_matches('[').trim_end_matches(']').parse();
        let wrong = |_| "expected an address, such as 192.0.2.1 or [2001:db8::1]:53".to_owned();
        Ok(Self { ip: ip.map_err(wrong)?, port: None })
    }
}

/// How questions are asked.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "DNS and time")]
pub(crate) struct NetworkOptions {
    /// Ask this DNS resolver instead of those in /etc/resolv.conf
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    pub(crate) resolver: Option<Address>,
    /// Validate DNSSEC from the DNSKEY and DS records in this file instead of those of the root
    #[arg(long, value_name = "FILE")]
    trust_anchor: Option<PathBuf>,
    /// Fetch MTA-STS policies from this port
    #[arg(long, value_name = "PORT", default_value = "443", hide = true)]
    policy_port: u16,
    /// The time that the whole run may take, in seconds; the service `postfix` may take as long for
    /// each answer. A server that does not answer may take half of it
    #[arg(long, value_name = "SECONDS", default_value = "30",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

impl NetworkOptions {
    /// The time that the whole run may take.
    pub(crate) fn time_limit(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// What one question, or one step of a conversation, may take, so that its failure can be told.
    pub(crate) fn step_limit(&self) -> Duration {
        self.time_limit() / 2
    }

    /// Runs to the end, or until the time is over.
    pub(crate) fn run<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Network(format!("no sockets can be used: {error}")))?;
        let limit = self.time_limit();
        let ended = runtime.block_on(async { tokio::time::timeout(limit, work).await });
        // A look-up in another thread of the system's resolver is not waited for.
        runtime.shutdown_background();
        ended.unwrap_or_else(|_| {
            let limit = self.timeout;
            Err(Failure::Network(format!(
                "no answer within {limit} s; give more time with --timeout"
            )))
        })
    }
}

/// A question, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Asked {
    /// The name and the type, such as `example.com MX`.
    pub(crate) question: String,
    /// `secure`, `insecure`, `bogus`, `indeterminate` or `failed`; for a policy `fetched` or
    /// `failed`.
    pub(crate) status: &'static str,
    /// The records, or why there are none.
    pub(crate) answer: String,
}

/// How often a look-up asks whether the fetch of another one has ended.
const FETCH_PAUSE: Duration = Duration::from_millis(20);

type Tell = fn(&mut Cache, &Domain, Result<Option<PolicyId>, Trouble>, UnixTime) -> Discovered;

/// DNS and HTTPS.
pub(crate) struct Network {
    pub(crate) resolver: Arc<Resolver>,
    policies: PolicyClient,
    cache: RefCell<Cache>,
    asked: RefCell<Vec<Asked>>,
}

impl Network {
    pub(crate) fn new(
        options: &NetworkOptions,
        trust: impl Into<Arc<LiveTrust>>,
    ) -> Result<Self, Failure> {
        let (resolver, policies) = clients(options, trust)?;
        Ok(Self {
            resolver: Arc::new(resolver),
            policies,
            cache: RefCell::new(Cache::new()),
            asked: RefCell::default(),
        })
    }

    /// What was asked since the last call, each question once.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.borrow_mut())
    }

    fn note(&self, question: String, status: &'static str, answer: String) {
        let mut asked = self.asked.borrow_mut();
        if !asked.iter().any(|it| it.question == question) {
            asked.push(Asked { question, status, answer });
        }
    }

    fn answered<T>(
        &self,
        question: String,
        answer: Result<DnsAnswer<T>, Fault>,
        show: impl Fn(&T) -> String,
    ) -> DnsAnswer<T> {
        let (answer, text) = match answer {
            Ok(answer) => {
                let mut text = answer.records.iter().map(show).collect::<Vec<_>>().join(", ");
                if answer.records.is_empty() {
                    let none = if answer.no_such_name { "no such name" } else { "no records" };
                    text = none.to_owned();
                }
                if let Some(alias) = &answer.alias {
                    text = format!("{text} (alias of {alias})");
                }
                (answer, text)
            }
            Err(fault) => (DnsAnswer::none(fault.status()), fault.to_string()),
        };
        self.note(question, word(answer.status), text);
        answer
    }

    /// Asks what is needed once for a domain. A failure means that no resolver answered: nothing is
    /// known of the domain, not even that its mail is deferred.
    pub(crate) async fn domain<'a>(
        &self,
        mut inquiry: DomainInquiry<'a>,
    ) -> Result<Result<DomainFacts<'a>, Box<NotDialled>>, Failure> {
        while let Some(ask) = inquiry.ask() {
            let answer = match ask {
                Ask::Mx(domain) => Answer::Mx(self.mx(domain).await?),
                ask => self.answer(ask).await,
            };
            inquiry.answer(answer);
        }
        Ok(inquiry.finish().map_err(Box::new))
    }

    /// The MTA-STS policy of a domain that was asked about, if one applies.
    pub(crate) fn sts_policy(&self, domain: &Domain) -> Option<CachedPolicy> {
        self.cache.borrow_mut().applies(domain, input::now()).policy
    }

    /// Asks what is needed for one host of a domain.
    pub(crate) async fn host(
        &self,
        domain: &DomainFacts<'_>,
        host: &Host,
    ) -> Result<Prepared, Box<NotDialled>> {
        let mut inquiry = HostInquiry::new(domain, host);
        while let Some(ask) = inquiry.ask() {
            let answer = self.answer(ask).await;
            inquiry.answer(answer);
        }
        inquiry.finish().map_err(Box::new)
    }

    async fn answer(&self, ask: Ask<'_>) -> Answer {
        match ask {
            Ask::Mx(domain) => Answer::Mx(
                self.mx(domain).await.unwrap_or_else(|_| DnsAnswer::none(DnsStatus::Failed)),
            ),
            Ask::Sts(domain) => Answer::Sts(self.sts(domain).await),
            Ask::Addresses { host, families } => {
                // A family that is not dialled is not asked for, and its answer is ignored.
                let ipv4 = async {
                    match families.has_ipv4() {
                        true => Some(self.resolver.look_up_ipv4(host).await),
                        false => None,
                    }
                };
                let ipv6 = async {
                    match families.has_ipv6() {
                        true => Some(self.resolver.look_up_ipv6(host).await),
                        false => None,
                    }
                };
                let (ipv4, ipv6) = tokio::join!(ipv4, ipv6);
                // Listed in this order, whichever answer came first.
                let ipv4 = match ipv4 {
                    Some(it) => self.answered(format!("{host} A"), it, ToString::to_string),
                    None => DnsAnswer::none(DnsStatus::Insecure),
                };
                let ipv6 = match ipv6 {
                    Some(it) => self.answered(format!("{host} AAAA"), it, ToString::to_string),
                    None => DnsAnswer::none(DnsStatus::Insecure),
                };
                Answer::Addresses(ipv4, ipv6)
            }
            Ask::Cname(host) => {
                let status = self.resolver.look_up_cname(host.as_str()).await;
                let status = status.unwrap_or_else(|fault| fault.status());
                self.note(format!("{host} CNAME"), word(status), String::new());
                Answer::Cname(status)
            }
            Ask::Tlsa(owner) => {
                let records = self.resolver.look_up_tlsa(owner).await;
                Answer::Tlsa(self.answered(format!("{owner} TLSA"), records, tlsa))
            }
        }
    }

    async fn mx(&self, domain: &Domain) -> Result<DnsAnswer<MxRecord>, Failure> {
        let records = self.resolver.look_up_mx(domain).await;
        if let Err(fault @ (Fault::Timeout | Fault::Unreachable)) = &records {
            self.note(format!("{domain} MX"), word(fault.status()), fault.to_string());
            return Err(Failure::Network(format!("DNS, {domain} MX: {fault}")));
        }
        let answer =
            self.answered(format!("{domain} MX"), records, |record| match &record.exchange {
                Some(exchange) => format!("{} {exchange}", record.preference),
                None => format!("{} .", record.preference),
            });
        Ok(answer)
    }

    /// Fetches the policies again that are due, so that none runs out because its record is
    /// suppressed (RFC 8461, section 10.2). Each one that cannot be fetched is a warning, unless
    /// its mode is none (section 3.3): the cache has no trouble with a policy of that mode.
    pub(crate) async fn refresh(&self, warn: impl Fn(&str)) {
        loop {
            let due = self.cache.borrow_mut().due(input::now());
            match due {
                Some(Due::Refresh(domain)) => {
                    let answer = self.sts_by(&domain, Cache::refresh).await;
                    // No question of Postfix led to this.
                    drop(self.asked());
                    if let (Some(cached), Some(trouble)) = (&answer.policy, &answer.trouble) {
                        let left =
                            cached.expires().as_secs().saturating_sub(input::now().as_secs());
                        warn(&format!(
                            "the MTA-STS policy of {domain} is not refreshed ({trouble}). It expires \
                             in {} hours, and mail to the domain then goes without it: look why this \
                             host does not get the record or the policy",
                            left / 3600
                        ));
                    }
                }
                Some(Due::Expired(_)) => {}
                None => return,
            }
        }
    }

    async fn sts(&self, domain: &Domain) -> StsAnswer {
        self.sts_by(domain, Cache::discovered).await
    }

    /// What MTA-STS says of a domain, by the rule by which its record leads to a fetch.
    async fn sts_by(&self, domain: &Domain, tell: Tell) -> StsAnswer {
        let id = self.sts_id(domain).await;
        let fetch = loop {
            let now = input::now();
            let next = tell(&mut self.cache.borrow_mut(), domain, id.clone(), now);
            match next {
                Discovered::Done(answer) => return answer,
                Discovered::Fetch(fetch) => break fetch,
                // Another look-up of the service fetches the policy. This one must not be answered
                // without it meanwhile; the caller's time limit ends the wait.
                Discovered::UnderWay => {
                    let answer = self.cache.borrow_mut().applies(domain, now);
                    if answer.policy.is_some() {
                        return answer;
                    }
                    tokio::time::sleep(FETCH_PAUSE).await;
                }
            }
        };
        let url = fetch.url();
        let policy = self.policies.fetch(&fetch, &self.resolver).await;
        let end = self.cache.borrow_mut().fetched(fetch, policy, input::now());
        let (status, text) = match (&end.answer.policy, &end.answer.trouble) {
            (Some(cached), _) => {
                let policy = cached.policy();
                let hosts = policy.mx().collect::<Vec<_>>().join(", ");
                ("fetched", format!("mode {}: {hosts}", policy.mode().as_str()))
            }
            (None, Some(trouble)) => ("failed", trouble.to_string()),
            (None, None) => ("fetched", "mode none".to_owned()),
        };
        self.note(url, status, text);
        end.answer
    }

    async fn sts_id(&self, domain: &Domain) -> Result<Option<PolicyId>, Trouble> {
        let Some(name) = record_name(domain) else { return Ok(None) };
        let texts = self.resolver.look_up_txt(&name).await;
        let show = |text: &Vec<Vec<u8>>| {
            format!("\"{}\"", String::from_utf8_lossy(&text.concat()).into_owned())
        };
        let answer = self.answered(format!("{name} TXT"), texts, show);
        match answer.status {
            DnsStatus::Local => Err(FetchError::Local.into()),
            status if status.is_failure() => Err(Trouble::Lookup),
            _ => PolicyId::find(&answer.records).map_err(Trouble::Record),
        }
    }
}

/// DNS and HTTPS for a delivery.
pub(crate) fn lookups(
    options: &NetworkOptions,
    trust: impl Into<Arc<LiveTrust>>,
) -> Result<Combined<Resolver, PolicyClient>, Failure> {
    let (resolver, policies) = clients(options, trust)?;
    Ok(Combined::new(resolver, policies))
}

fn clients(
    options: &NetworkOptions,
    trust: impl Into<Arc<LiveTrust>>,
) -> Result<(Resolver, PolicyClient), Failure> {
    let servers = match options.resolver {
        Some(address) => Servers::new([address.with_port(53)]),
        None => Servers::of_system(),
    };
    let servers = servers.map_err(|error| Failure::Network(error.to_string()))?;
    let anchors = match &options.trust_anchor {
        Some(path) => {
            let text = input::read_text(path)?;
            Anchors::parse(&text).map_err(|error| Failure::file(path, error))?
        }
        None => Anchors::root(),
    };
    let limit = options.step_limit();
    let policies = PolicyClient::new(input::provider(), trust)
        .map_err(|error| Failure::Network(error.to_string()))?
        .with_port(options.policy_port)
        .with_time_limit(limit);
    Ok((Resolver::validating(servers, anchors).with_time_limit(limit), policies))
}

/// The hosts of a domain, in the order in which they are tried.
pub(crate) fn hosts(facts: &DomainFacts<'_>) -> Result<Vec<(Option<u16>, Host)>, Failure> {
    let domain = facts.next_hop();
    match facts.hosts() {
        MailHosts::NextHop => Ok(vec![(None, domain.clone())]),
        MailHosts::NoSuchDomain => {
            Err(Failure::Network(format!("the domain {domain} does not exist")))
        }
        // RFC 5321, section 5.1: without MX records the domain is its own host.
        MailHosts::Mx(records) if records.is_empty() => Ok(vec![(None, domain.clone())]),
        MailHosts::Mx(records) => {
            let mut hosts: Vec<_> = records
                .iter()
                .filter_map(|record| {
                    Some((Some(record.preference), Host::Name(record.exchange.clone()?)))
                })
                .collect();
            hosts.sort_by_key(|(preference, _)| *preference);
            match hosts.is_empty() {
                // RFC 7505.
                true => Err(Failure::Network(format!("the domain {domain} takes no mail"))),
                false => Ok(hosts),
            }
        }
    }
}

fn word(status: DnsStatus) -> &'static str {
    match status {
        DnsStatus::Secure => "secure",
        DnsStatus::Insecure => "insecure",
        DnsStatus::Bogus => "bogus",
        DnsStatus::Indeterminate => "indeterminate",
        DnsStatus::Failed => "failed",
        DnsStatus::Local => "local-fault",
    }
}

fn tlsa(record: &TlsaRecord) -> String {
    let TlsaRecord { usage, selector, matching, data } = record;
    let digits: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
    // Full data (RFC 6698, section 2.1.3) can be long.
    match digits.get(..64) {
        Some(start) if digits.len() > 128 => format!("{usage} {selector} {matching} {start}..."),
        _ => format!("{usage} {selector} {matching} {digits}"),
    }
}
