//! Where to look for TLSA records, and whether to look at all (RFC 7672, 2.2.2 and 2.2.3), without a resolver.
//!
//! The caller resolves the host's addresses first, for a host in an unsigned zone must not be asked for TLSA records:
//! the name servers of some such zones answer nothing at all (RFC 7672, 2.2.2). Then the [`Search`] says which question
//! comes next, until it knows the [`TlsaFact`].
//!
//! ```
//! use smtp_tls_policy::plan::{Query, Search};
//! use smtp_tls_policy::Domain;
//! use smtp_tls_policy::plan::{DnsStatus, TlsaFact};
//!
//! // mx.example.com is an alias of host.example.net, and every record on the way is signed.
//! let (host, alias) = (Domain::parse("mx.example.com")?, Domain::parse("host.example.net")?);
//! let mut search = Search::new(&host, 25, DnsStatus::Secure, Some(&alias));
//! while let Some(query) = search.query() {
//!     match query {
//!         Query::Tlsa { owner, .. } => assert!(owner.starts_with("_25._tcp.")),
//!         Query::Cname { .. } => unreachable!("the whole alias is secure"),
//!     }
//!     search.answer(DnsStatus::Secure, &[]); // denied, securely
//! }
//! assert_eq!(search.into_fact(), TlsaFact::Absent);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::domain::Domain;
use crate::pki::tlsa::{TlsaRecord, TlsaSet};
use crate::plan::facts::{DnsStatus, TlsaFact};

/// A question to the resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// The CNAME record of this name alone, without what it leads to: is its zone signed (RFC 7672, 2.1.3)?
    Cname {
        /// The name.
        owner: String,
    },
    /// The TLSA records of this name; a CNAME of its own is followed, and does not change the base domain.
    Tlsa {
        /// The name: `_<port>._tcp.<base>`.
        owner: String,
        /// The candidate base domain.
        base: Domain,
    },
}

/// The search for the TLSA records of one host and port.
#[derive(Clone, Debug)]
pub struct Search {
    host: Domain,
    port: u16,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    AskCname,
    /// The candidate base domain now asked, and whether the host itself follows it.
    AskTlsa {
        base: Domain,
        then_host: bool,
    },
    Done(TlsaFact),
}

impl Search {
    /// Begins with what the look-up of the host's addresses gave: the status of the whole answer, from the host's name
    /// to its addresses, and if the host is an alias, the last name of the chain. Names between are never candidates.
    ///
    /// [`DnsStatus::of_addresses`] joins the answers for A and AAAA.
    pub fn new(host: &Domain, port: u16, addresses: DnsStatus, alias: Option<&Domain>) -> Self {
        let alias = alias.filter(|alias| *alias != host);
        let state = match (addresses, alias) {
            // RFC 7672, 2.1.2: a look-up that fails makes the host unreachable.
            (DnsStatus::Bogus | DnsStatus::Indeterminate | DnsStatus::Failed, _) => {
                State::Done(TlsaFact::Failed)
            }
            // RFC 7672, 2.2.2, "Non-CNAME" with insecure addresses: no search.
            (DnsStatus::Insecure, None) => State::Done(TlsaFact::Absent),
            // "Insecure CNAME": the zone of the alias itself may be signed all the same.
            (DnsStatus::Insecure, Some(_)) => State::AskCname,
            (DnsStatus::Secure, None) => State::AskTlsa { base: host.clone(), then_host: false },
            // "Secure CNAME": the expanded name, and failing that the host.
            (DnsStatus::Secure, Some(alias)) => {
                State::AskTlsa { base: alias.clone(), then_host: true }
            }
        };
        Self { host: host.clone(), port, state }
    }

    /// The question to ask next; `None` once the outcome is known.
    pub fn query(&self) -> Option<Query> {
        match &self.state {
            State::AskCname => Some(Query::Cname { owner: self.host.to_string() }),
            State::AskTlsa { base, .. } => {
                // RFC 7672, 2.2.3: the port to which the connection goes.
                Some(Query::Tlsa {
                    owner: format!("_{}._tcp.{base}", self.port),
                    base: base.clone(),
                })
            }
            State::Done(_) => None,
        }
    }

    /// The answer to that question; without records it is a denial, which is no error. Without a question it is
    /// ignored.
    pub fn answer(&mut self, status: DnsStatus, records: &[TlsaRecord]) {
        let host = || State::AskTlsa { base: self.host.clone(), then_host: false };
        let next = match (&self.state, status) {
            (State::Done(_), _) => return,
            (_, DnsStatus::Bogus | DnsStatus::Indeterminate | DnsStatus::Failed) => {
                State::Done(TlsaFact::Failed)
            }
            (State::AskCname, DnsStatus::Secure) => host(),
            (State::AskCname, DnsStatus::Insecure) => State::Done(TlsaFact::Absent),
            (State::AskTlsa { base, .. }, DnsStatus::Secure) if !records.is_empty() => {
                State::Done(TlsaFact::Found(TlsaSet::new(base.clone(), records)))
            }
            // Denied, securely or not, or unsigned: the next candidate.
            (State::AskTlsa { then_host: true, .. }, _) => host(),
            (State::AskTlsa { then_host: false, .. }, _) => State::Done(TlsaFact::Absent),
        };
        self.state = next;
    }

    /// What was found, for [`Dns::tlsa`](crate::plan::facts::Dns::tlsa). A search that was given up half-way has failed.
    pub fn into_fact(self) -> TlsaFact {
        match self.state {
            State::Done(fact) => fact,
            State::AskCname | State::AskTlsa { .. } => TlsaFact::Failed,
        }
    }
}

/// Answers without a single secure one after which a resolver is taken not to validate. The root, `com`, `net`, `org` and
/// most country codes are signed, so that some denial or delegation among so many would have been.
pub const SILENT_AFTER: u64 = 1000;

/// Notices a resolver that does not validate: with it every answer is `Insecure`, which looks like a world without
/// DANE. Show it every answer, and say it loudly when [`is_silent`](Self::is_silent).
#[derive(Clone, Debug, Default)]
pub struct ValidationWatch {
    answers: u64,
    secure: u64,
}

impl ValidationWatch {
    /// Counts an answer.
    pub fn saw(&mut self, status: DnsStatus) {
        self.answers = self.answers.saturating_add(1);
        if status == DnsStatus::Secure {
            self.secure = self.secure.saturating_add(1);
        }
    }

    /// Whether at least [`SILENT_AFTER`] answers came, and none was secure.
    pub fn is_silent(&self) -> bool {
        self.answers >= SILENT_AFTER && self.secure == 0
    }
}
