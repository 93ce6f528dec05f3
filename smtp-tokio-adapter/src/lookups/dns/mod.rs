//! DNS with DNSSEC: [`Resolver`] asks recursive resolvers, and validates what they say or believes
//! the ones on this host.
//!
//! DANE needs to know of each answer whether it is secure (RFC 7672, section 2.1), and there are
//! two ways to know:
//!
//! | | [`Resolver::validating`] | [`Resolver::believing_local`] |
//! |---|---|---|
//! | who checks signatures | this process, from [`Anchors`] | the resolver; its AD bit counts |
//! | which resolvers | any that hand out DNSSEC records | validating ones, on a loopback address |
//! | a bogus answer is | [`DnsStatus::Bogus`] | the same, or [`DnsStatus::Failed`] |
//! | messages | six for a new domain, then one or two | one for each question |
//!
//! With a validating resolver on the machine, believe it: that is what Postfix does. Its AD bit
//! means nothing where an attacker on the way can set it. So a resolver elsewhere must be
//! validated, or the caller of [`Resolver::believing_remote`] must know the way to it to be safe.
//!
//! ```no_run
//! use smtp_tls_policy::Domain;
//! use smtp_tokio_adapter::lookups::{Lookups, dns::{Anchors, Resolver, Servers}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The resolver of /etc/resolv.conf may be anywhere: its answers are validated here.
//! let resolver = Resolver::validating(Servers::of_system()?, Anchors::root());
//! let domain = Domain::parse("example.com")?;
//! let answer = resolver.mx(&domain).await;
//! println!("{:?}: {:?}", answer.status, answer.records);
//! // The same with the reason, where the lookup fails.
//! match resolver.look_up_mx(&domain).await {
//!     Ok(answer) => println!("{} hosts", answer.records.len()),
//!     Err(fault) => println!("{}: {fault}", fault.code()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A resolver asks DNS only. [`Combined`](super::Combined) adds an HTTPS client for the policies of
//! MTA-STS.
//!
//! # Statuses
//!
//! - An answer is as secure as the least secure CNAME on the way to it, itself included.
//! - A denial is secure by its NSEC or NSEC3 records, and so is what a wildcard gave: nothing may
//!   be closer to the name than the wildcard. An opt-out (RFC 5155, section 6) leaves room for an
//!   unsigned name, and makes either insecure. So does an NSEC3 record with more than 100
//!   iterations (RFC 9276, section 3.2).
//! - Whatever is no answer is a [`Fault`], and a failed lookup: a server that does not answer, says
//!   SERVFAIL or REFUSED, does not resolve, or answers with something malformed. A resolver that
//!   validates says SERVFAIL instead of handing out what is bogus. Only with extended errors (RFC
//!   8914; `ede: yes` in unbound) it says why.
//!   No answer in time is [`DnsStatus::Indeterminate`]; where no server can be asked, the fault is
//!   of this side: [`DnsStatus::Local`].
//! - What lies below no trust anchor is insecure (RFC 7672, section 2.1.1).
//! - So is a zone of whose DS records none has an algorithm and a digest that are used here (RFC
//!   4035, section 5.2): RSA with SHA-256 or SHA-512, ECDSA, Ed25519; SHA-256, SHA-384, and SHA-1
//!   where it is alone (RFC 4509, section 3). RSA with SHA-1 is not used (RFC 9905, section 2).
//!
//! # Limits
//!
//! | what | bound | then |
//! |---|---|---|
//! | time of a question, with CNAMEs | [`Resolver::with_time_limit`] | [`Fault::Timeout`] |
//! | messages of a question | [`MAX_QUERIES`]; 16 times as many looks at them | [`Fault::Queries`] |
//! | CNAMEs in a row | [`MAX_ALIASES`] | [`Fault::Aliases`] |
//! | signatures and keys of an answer | 8 and 32 | [`Fault::Oversize`] |
//! | records of an answer | [`MAX_RECORDS`] | the rest is left out, of MX the least preferred |
//! | memory of answers and keys | [`Resolver::with_cache_limit`] | the oldest go |

mod algorithms;
mod anchors;
mod cache;
mod denial;
mod fault;
mod nsec;
mod nsec3;
mod presentation;
mod prune;
mod records;
mod servers;
mod signatures;
mod upstream;
mod validate;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use hickory_net::proto::op::Query;
use hickory_net::proto::rr::{Name, RData, RecordType};
use smtp_tls_policy::Domain;
use smtp_tls_policy::inquiry::{DnsAnswer, MxRecord};
use smtp_tls_policy::pki::TlsaRecord;
use smtp_tls_policy::plan::DnsStatus;

use super::Lookups;
use super::setup_error::SetupError;

pub use self::anchors::Anchors;
pub use self::fault::Fault;
pub use self::servers::Servers;

use self::cache::Cache;
use self::upstream::{Link, Upstream};
use self::validate::{Hop, Says, believe, validate};

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("the feature dns needs one of the features aws-lc-rs and ring to check signatures");

/// Most records of one answer that are used. A message of 64 KiB holds some 4,000 MX records.
pub const MAX_RECORDS: usize = 256;
/// Most CNAME records that follow each other. Resolvers stop at 8 to 16.
pub const MAX_ALIASES: usize = 10;
/// Most messages that one question may cost, with the keys and delegations that validate it. A new
/// domain takes six to ten.
pub const MAX_QUERIES: usize = 64;
/// How long a question may take unless set: as long as a resolver tries the servers of a domain.
pub const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(20);
/// How many bytes of answers and keys are kept unless set.
pub const DEFAULT_CACHE_LIMIT: usize = 8 << 20;

/// Answers the questions of a sender by DNS, and says of each answer whether it is secure.
///
/// One value serves a process; what it has learned is shared by all that ask.
pub struct Resolver {
    servers: Servers,
    trust: Trust,
    time_limit: Duration,
    link: Arc<Link>,
    answers: Cache<Query, Hop>,
}

#[derive(Clone, Debug)]
enum Trust {
    Anchors(Anchors),
    Servers,
}

/// Where a chain of CNAMEs leads.
struct Found {
    status: DnsStatus,
    records: Vec<RData>,
    alias: Option<Name>,
    no_such_name: bool,
}

impl Resolver {
    /// Validates what these servers say. They must be recursive resolvers that hand out DNSSEC
    /// records, as all common ones do; they may validate too, and need not.
    pub fn validating(servers: Servers, anchors: Anchors) -> Self {
        Self::new(servers, Trust::Anchors(anchors))
    }

    /// Believes the AD bit of these servers, which must validate (RFC 4035, section 4.9.3). One
    /// that does not never sets the bit: then nothing is secure, and DANE has no effect.
    ///
    /// # Errors
    ///
    /// [`SetupError::RemoteServer`] if a server has another address than one of the loopback.
    pub fn believing_local(servers: Servers) -> Result<Self, SetupError> {
        servers.local()?;
        Ok(Self::new(servers, Trust::Servers))
    }

    /// Believes the AD bit of these servers, wherever they are.
    ///
    /// An attacker that can change a packet on the way to them can switch DANE off, or vouch for
    /// forged TLSA records. Use this only where the way is protected by other means: a VPN, or a
    /// network that holds nothing but these two hosts (RFC 7672, section 2.1).
    pub fn believing_remote(servers: Servers) -> Self {
        Self::new(servers, Trust::Servers)
    }

    fn new(servers: Servers, trust: Trust) -> Self {
        let link = Arc::new(Link::new(servers.addresses(), DEFAULT_CACHE_LIMIT / 2));
        let answers = Cache::new(DEFAULT_CACHE_LIMIT / 2);
        Self { servers, trust, time_limit: DEFAULT_TIME_LIMIT, link, answers }
    }

    /// Gives a question this long, CNAMEs and validation included. Several servers share the time:
    /// each but the last has its part of it, and at most five seconds.
    #[must_use]
    pub fn with_time_limit(self, time_limit: Duration) -> Self {
        Self { time_limit, ..self }
    }

    /// Keeps at most this many bytes of answers and keys; 0 keeps none. What is kept so far is
    /// forgotten.
    #[must_use]
    pub fn with_cache_limit(self, bytes: usize) -> Self {
        let link = Arc::new(Link::new(self.servers.addresses(), bytes / 2));
        Self { link, answers: Cache::new(bytes / 2), ..self }
    }

    /// MX records, the most preferred first: [`Lookups::mx`] with the reason of a failure.
    ///
    /// # Errors
    ///
    /// The lookup failed, or no record names a host.
    ///
    /// # Cancel safety
    ///
    /// A question that is dropped is forgotten.
    pub async fn look_up_mx(&self, domain: &Domain) -> Result<DnsAnswer<MxRecord>, Fault> {
        let mut found = self.find(domain.as_str(), RecordType::MX).await?;
        let records = match &std::mem::take(&mut found.records)[..] {
            [] => Vec::new(),
            some => records::mx(some)?,
        };
        found.of_host(records)
    }

    /// A records: [`Lookups::ipv4`] with the reason of a failure.
    ///
    /// # Errors
    ///
    /// The lookup failed.
    ///
    /// # Cancel safety
    ///
    /// A question that is dropped is forgotten.
    pub async fn look_up_ipv4(&self, host: &Domain) -> Result<DnsAnswer<Ipv4Addr>, Fault> {
        let mut found = self.find(host.as_str(), RecordType::A).await?;
        let records = records::ipv4(std::mem::take(&mut found.records));
        found.of_host(records)
    }

    /// AAAA records: [`Lookups::ipv6`] with the reason of a failure.
    ///
    /// # Errors
    ///
    /// The lookup failed.
    ///
    /// # Cancel safety
    ///
    /// A question that is dropped is forgotten.
    pub async fn look_up_ipv6(&self, host: &Domain) -> Result<DnsAnswer<Ipv6Addr>, Fault> {
        let mut found = self.find(host.as_str(), RecordType::AAAA).await?;
        let records = records::ipv6(std::mem::take(&mut found.records));
        found.of_host(records)
    }

    /// The status of the CNAME record alone: [`Lookups::cname`] with the reason of a failure.
    ///
    /// # Errors
    ///
    /// The lookup failed.
    ///
    /// # Cancel safety
    ///
    /// A question that is dropped is forgotten.
    pub async fn look_up_cname(&self, owner: &str) -> Result<DnsStatus, Fault> {
        self.find(owner, RecordType::CNAME).await.map(|found| found.status)
    }

    /// TLSA records: [`Lookups::tlsa`] with the reason of a failure.
    ///
    /// # Errors
    ///
    /// The lookup failed.
    ///
    /// # Cancel safety
    ///
    /// A question that is dropped is forgotten.
    pub async fn look_up_tlsa(&self, owner: &str) -> Result<DnsAnswer<TlsaRecord>, Fault> {
        let mut found = self.find(owner, RecordType::TLSA).await?;
        let records = records::tlsa(std::mem::take(&mut found.records));
        Ok(found.with(records))
    }

    /// TXT records: [`Lookups::txt`] with the reason of a failure.
    ///
    /// # Errors
    ///
    /// The lookup failed.
    ///
    /// # Cancel safety
    ///
    /// A question that is dropped is forgotten.
    pub async fn look_up_txt(&self, owner: &Domain) -> Result<DnsAnswer<Vec<Vec<u8>>>, Fault> {
        let mut found = self.find(owner.as_str(), RecordType::TXT).await?;
        let records = records::txt(std::mem::take(&mut found.records));
        Ok(found.with(records))
    }

    async fn find(&self, name: &str, kind: RecordType) -> Result<Found, Fault> {
        // A name that is too long for DNS, such as the one of TLSA records of a very long one.
        let Ok(name) = Name::from_ascii(format!("{name}.")) else { return Ok(Found::NOTHING) };
        let upstream = Upstream::new(Arc::clone(&self.link), self.time_limit);
        let following = self.follow(&upstream, name, kind);
        let answer = tokio::time::timeout(self.time_limit, following).await;
        let found = answer.unwrap_or_else(|_| Err(upstream.fault_in_time()));
        if let Err(Fault::Bogus | Fault::Indeterminate) = found {
            self.link.distrust();
        }
        found
    }

    /// Walks the CNAME records from a name to what they lead to.
    async fn follow(
        &self,
        upstream: &Upstream,
        name: Name,
        kind: RecordType,
    ) -> Result<Found, Fault> {
        let mut names = vec![name];
        let mut is_secure = true;
        while let Some(name) = names.last().filter(|_| names.len() <= MAX_ALIASES + 1) {
            let hop = self.hop(upstream, Query::query(name.clone(), kind)).await?;
            is_secure &= hop.is_secure;
            let (records, no_such_name) = match hop.says {
                Says::Alias(target) if names.contains(&target) => return Err(Fault::Aliases),
                Says::Alias(target) => {
                    names.push(target);
                    continue;
                }
                Says::Records(records) => (records, false),
                Says::Denied { no_such_name } => (Vec::new(), no_such_name),
            };
            let status = if is_secure { DnsStatus::Secure } else { DnsStatus::Insecure };
            let alias = names.pop().filter(|_| !names.is_empty());
            return Ok(Found { status, records, alias, no_such_name });
        }
        Err(Fault::Aliases)
    }

    async fn hop(&self, upstream: &Upstream, query: Query) -> Result<Hop, Fault> {
        if let Some(hop) = self.answers.find(&query) {
            return Ok(hop);
        }
        let (hop, response) = match &self.trust {
            Trust::Anchors(anchors) => validate(upstream, anchors, query.clone()).await?,
            Trust::Servers => believe(upstream, query.clone()).await?,
        };
        let bytes = response.as_buffer().len() + hop.says.bytes();
        self.answers.keep(query, hop.clone(), bytes, prune::lifetime(&response));
        Ok(hop)
    }
}

impl Found {
    const NOTHING: Self =
        Self { status: DnsStatus::Insecure, records: Vec::new(), alias: None, no_such_name: true };

    fn with<T>(self, records: Vec<T>) -> DnsAnswer<T> {
        let Self { status, alias, no_such_name, .. } = self;
        let alias = alias.as_ref().and_then(records::host_name);
        let mut answer = DnsAnswer::new(status, records);
        (answer.alias, answer.no_such_name) = (alias, no_such_name);
        answer
    }

    /// The name at the end is one that TLSA records are looked up for, and certificates are held
    /// against.
    fn of_host<T>(self, records: Vec<T>) -> Result<DnsAnswer<T>, Fault> {
        let is_alias = self.alias.is_some();
        let answer = self.with(records);
        match is_alias && answer.alias.is_none() {
            true => Err(Fault::AliasName),
            false => Ok(answer),
        }
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { servers, trust, time_limit, .. } = self;
        let mut it = f.debug_struct("Resolver");
        it.field("servers", servers)
            .field("trust", trust)
            .field("time_limit", time_limit)
            .finish_non_exhaustive()
    }
}

impl Lookups for Resolver {
    async fn mx(&self, domain: &Domain) -> DnsAnswer<MxRecord> {
        settle("MX", domain.as_str(), self.look_up_mx(domain).await)
    }

    async fn ipv4(&self, host: &Domain) -> DnsAnswer<Ipv4Addr> {
        settle("A", host.as_str(), self.look_up_ipv4(host).await)
    }

    async fn ipv6(&self, host: &Domain) -> DnsAnswer<Ipv6Addr> {
        settle("AAAA", host.as_str(), self.look_up_ipv6(host).await)
    }

    async fn cname(&self, owner: &str) -> DnsStatus {
        let answer = self.look_up_cname(owner).await.map(DnsAnswer::<()>::none);
        settle("CNAME", owner, answer).status
    }

    async fn tlsa(&self, owner: &str) -> DnsAnswer<TlsaRecord> {
        settle("TLSA", owner, self.look_up_tlsa(owner).await)
    }

    async fn txt(&self, owner: &Domain) -> DnsAnswer<Vec<Vec<u8>>> {
        settle("TXT", owner.as_str(), self.look_up_txt(owner).await)
    }
}

fn settle<T>(kind: &str, name: &str, answer: Result<DnsAnswer<T>, Fault>) -> DnsAnswer<T> {
    answer.unwrap_or_else(|fault| {
        tracing::warn!(code = fault.code(), %fault, "the DNS lookup of {kind} {name} failed");
        DnsAnswer::none(fault.status())
    })
}
