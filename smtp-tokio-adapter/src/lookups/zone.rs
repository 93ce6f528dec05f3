//! A DNS and a web in memory: for tests, and for networks in which every host is known.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use smtp_tls_policy::Domain;
use smtp_tls_policy::inquiry::{DnsAnswer, MxRecord};
use smtp_tls_policy::pki::TlsaRecord;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::sts::{Fetch, FetchError, PolicyText, record_name};

use crate::lookups::Lookups;

/// Answers from tables. What is not in them is denied, with the status of the zone.
///
/// ```
/// use smtp_tls_policy::Domain;
/// use smtp_tls_policy::plan::DnsStatus;
/// use smtp_tls_policy::inquiry::DnsAnswer;
/// use smtp_tokio_adapter::lookups::Zone;
///
/// let mut zone = Zone::new(DnsStatus::Secure);
/// let (domain, host) = (Domain::parse("test.example")?, Domain::parse("mx.test.example")?);
/// zone.add_mx(&domain, 10, &host).add_host(&host, ["192.0.2.1".parse()?]);
/// zone.tlsa.insert("_25._tcp.mx.test.example".into(), DnsAnswer::none(DnsStatus::Bogus));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Zone {
    /// Of what is put in by the methods, and of every denial.
    pub status: DnsStatus,
    /// MX answers by domain.
    pub mx: HashMap<Domain, DnsAnswer<MxRecord>>,
    /// A answers by host.
    pub ipv4: HashMap<Domain, DnsAnswer<Ipv4Addr>>,
    /// AAAA answers by host.
    pub ipv6: HashMap<Domain, DnsAnswer<Ipv6Addr>>,
    /// The status of CNAME records alone, by name.
    pub cname: HashMap<String, DnsStatus>,
    /// TLSA answers by name, `_25._tcp.` included.
    pub tlsa: HashMap<String, DnsAnswer<TlsaRecord>>,
    /// TXT answers by name, `_mta-sts.` included.
    pub txt: HashMap<Domain, DnsAnswer<Vec<Vec<u8>>>>,
    /// The policies by domain, or what is wrong with the answer of the policy host.
    pub policies: HashMap<Domain, Result<PolicyText, FetchError>>,
    /// Whether [`asked`](Self::asked) keeps the questions. Off unless set, because each delivery
    /// asks some.
    pub keeps_questions: bool,
    asked: Mutex<Vec<String>>,
}

impl Zone {
    /// Holds nothing.
    pub fn new(status: DnsStatus) -> Self {
        Self {
            status,
            mx: HashMap::new(),
            ipv4: HashMap::new(),
            ipv6: HashMap::new(),
            cname: HashMap::new(),
            tlsa: HashMap::new(),
            txt: HashMap::new(),
            policies: HashMap::new(),
            keeps_questions: false,
            asked: Mutex::default(),
        }
    }

    /// Adds an MX record.
    pub fn add_mx(&mut self, domain: &Domain, preference: u16, exchange: &Domain) -> &mut Self {
        let status = self.status;
        let records =
            &mut self.mx.entry(domain.clone()).or_insert_with(|| DnsAnswer::none(status)).records;
        records.push(MxRecord::new(preference, exchange.clone()));
        self
    }

    /// Adds addresses of a host.
    pub fn add_host(
        &mut self,
        host: &Domain,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> &mut Self {
        let status = self.status;
        for address in addresses {
            match address {
                IpAddr::V4(address) => {
                    self.ipv4
                        .entry(host.clone())
                        .or_insert_with(|| DnsAnswer::none(status))
                        .records
                        .push(address);
                }
                IpAddr::V6(address) => {
                    self.ipv6
                        .entry(host.clone())
                        .or_insert_with(|| DnsAnswer::none(status))
                        .records
                        .push(address);
                }
            }
        }
        self
    }

    /// Adds a TLSA record of a host and port.
    pub fn add_tlsa(&mut self, host: &Domain, port: u16, record: TlsaRecord) -> &mut Self {
        let status = self.status;
        let owner = format!("_{port}._tcp.{host}");
        self.tlsa.entry(owner).or_insert_with(|| DnsAnswer::none(status)).records.push(record);
        self
    }

    /// Publishes an MTA-STS policy: the record with this id, and the text on its host. Without
    /// effect for a domain too long to have one.
    pub fn publish_sts(&mut self, domain: &Domain, id: &str, policy: &str) -> &mut Self {
        if let Some(owner) = record_name(domain) {
            let record = vec![format!("v=STSv1; id={id};").into_bytes()];
            self.txt.insert(owner, DnsAnswer::new(self.status, vec![record]));
            let policy = PolicyText::from_response(200, Some("text/plain"), policy.as_bytes());
            self.policies.insert(domain.clone(), policy);
        }
        self
    }

    /// The questions since [`keeps_questions`](Self::keeps_questions) was set, in order: `MX
    /// test.example`, `TLSA _25._tcp.mx.test.example`, `GET https://...`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ask<T: Clone>(
        &self,
        question: fmt::Arguments<'_>,
        answer: Option<&DnsAnswer<T>>,
    ) -> DnsAnswer<T> {
        self.note(question);
        answer.cloned().unwrap_or_else(|| DnsAnswer::none(self.status))
    }

    fn note(&self, question: fmt::Arguments<'_>) {
        if self.keeps_questions {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.push(question.to_string());
        }
    }
}

impl Lookups for Zone {
    async fn mx(&self, domain: &Domain) -> DnsAnswer<MxRecord> {
        self.ask(format_args!("MX {domain}"), self.mx.get(domain))
    }

    async fn ipv4(&self, host: &Domain) -> DnsAnswer<Ipv4Addr> {
        self.ask(format_args!("A {host}"), self.ipv4.get(host))
    }

    async fn ipv6(&self, host: &Domain) -> DnsAnswer<Ipv6Addr> {
        self.ask(format_args!("AAAA {host}"), self.ipv6.get(host))
    }

    async fn cname(&self, owner: &str) -> DnsStatus {
        self.note(format_args!("CNAME {owner}"));
        self.cname.get(owner).copied().unwrap_or(self.status)
    }

    async fn tlsa(&self, owner: &str) -> DnsAnswer<TlsaRecord> {
        self.ask(format_args!("TLSA {owner}"), self.tlsa.get(owner))
    }

    async fn txt(&self, owner: &Domain) -> DnsAnswer<Vec<Vec<u8>>> {
        self.ask(format_args!("TXT {owner}"), self.txt.get(owner))
    }

    async fn fetch(&self, fetch: &Fetch) -> Result<PolicyText, FetchError> {
        self.note(format_args!("GET {}", fetch.url()));
        self.policies.get(fetch.domain()).cloned().unwrap_or(Err(FetchError::Unreachable))
    }
}
