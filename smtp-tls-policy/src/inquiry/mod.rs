//! What a delivery asks before it dials, as machines without I/O.
//!
//! A [`DomainInquiry`] asks once for each recipient domain: for its MX records and its MTA-STS
//! policy. A [`HostInquiry`] asks once for each host that the [`DomainFacts`] name: for its
//! addresses and its TLSA records. Both ask one question at a time, each question at most once, and
//! both end with a result, or with the reason why nothing is dialled. Where looking up blocks, one
//! call asks everything; a program that waits for answers calls `ask` and `answer` itself.
//!
//! ```
//! use std::net::{Ipv4Addr, Ipv6Addr};
//! use smtp_tls_policy::inquiry::*;
//! use smtp_tls_policy::pki::TlsaRecord;
//! use smtp_tls_policy::plan::DnsStatus;
//! use smtp_tls_policy::rules::{Floor, OutboundConnector, Posture};
//! use smtp_tls_policy::sts::StsAnswer;
//! use smtp_tls_policy::{Domain, Host, Namespace};
//!
//! /// A resolver. Here the whole DNS is signed, and mx.example.com has a TLSA record.
//! struct Resolver;
//!
//! impl Resolver {
//!     fn mx(&self, _: &Domain) -> DnsAnswer<MxRecord> {
//!         let host = Domain::parse("mx.example.com").unwrap();
//!         DnsAnswer::new(DnsStatus::Secure, vec![MxRecord::new(10, host)])
//!     }
//!     fn ipv4(&self, _: &Domain) -> DnsAnswer<Ipv4Addr> {
//!         DnsAnswer::new(DnsStatus::Secure, vec![Ipv4Addr::new(192, 0, 2, 1)])
//!     }
//!     fn ipv6(&self, _: &Domain) -> DnsAnswer<Ipv6Addr> {
//!         DnsAnswer::none(DnsStatus::Secure)
//!     }
//!     fn tlsa(&self, owner: &str) -> DnsAnswer<TlsaRecord> {
//!         assert_eq!(owner, "_25._tcp.mx.example.com");
//!         let record = TlsaRecord { usage: 3, selector: 1, matching: 1, data: vec![7; 32] };
//!         DnsAnswer::new(DnsStatus::Secure, vec![record])
//!     }
//!     fn cname(&self, _: &Domain) -> DnsStatus {
//!         DnsStatus::Secure
//!     }
//!     fn answer(&self, ask: Ask<'_>) -> Answer {
//!         match ask {
//!             Ask::Mx(domain) => Answer::Mx(self.mx(domain)),
//!             // `sts::Cache` answers this one.
//!             Ask::Sts(_) => Answer::Sts(StsAnswer::default()),
//!             Ask::Addresses { host, .. } => Answer::Addresses(self.ipv4(host), self.ipv6(host)),
//!             Ask::Cname(host) => Answer::Cname(self.cname(host)),
//!             Ask::Tlsa(owner) => Answer::Tlsa(self.tlsa(owner)),
//!         }
//!     }
//! }
//!
//! let resolver = Resolver;
//! let connector =
//!     OutboundConnector::new("all", vec![Namespace::Default], Posture::Deterministic);
//! let domain = Host::parse("example.com")?;
//!
//! let facts = DomainInquiry::new(&connector, &domain).resolve(|ask| resolver.answer(ask))?;
//! let inquiry = HostInquiry::new(&facts, &Host::parse("mx.example.com")?);
//! let prepared = inquiry.resolve(|ask| resolver.answer(ask))?;
//! assert_eq!(prepared.plan.floor(), Floor::Authenticated);
//! assert_eq!(prepared.addresses.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The question for the MTA-STS policy is answered by [`sts::Cache`](crate::sts::Cache), which is
//! itself a machine without I/O and says when the record and the policy have to be looked up.

mod answer;
mod ask;
mod domain;
mod host;
mod not_dialled;
mod tlsa_search;
mod watch;

pub use answer::{DnsAnswer, MxRecord};
pub use ask::{Answer, Ask};
pub use domain::{DomainFacts, DomainInquiry, MailHosts};
pub use host::{HostInquiry, Prepared};
pub use not_dialled::NotDialled;
pub use watch::{SILENT_AFTER, ValidationWatch};
