//! Where the TLSA records of a host are looked for (RFC 7672, sections 2.2.2 and 2.2.3).

use crate::domain::Domain;
use crate::pki::tlsa::{TlsaRecord, TlsaSet};
use crate::plan::facts::{DnsStatus, TlsaFact};

/// The search for the TLSA records of one host and port, once its addresses are known.
#[derive(Clone, Debug)]
pub(super) struct TlsaSearch {
    host: Domain,
    port: u16,
    state: State,
}

/// The question that comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TlsaQuery<'a> {
    /// Is the CNAME record of this name alone signed (RFC 7672, section 2.1.3)?
    Cname(&'a Domain),
    /// The TLSA records of this name.
    Tlsa(&'a str),
}

#[derive(Clone, Debug)]
enum State {
    AskCname,
    AskTlsa {
        /// The candidate base domain that is asked.
        base: Domain,
        /// Its name with the port and protocol in front.
        owner: String,
        /// The host's own name is the next candidate.
        then_host: bool,
    },
    Done(TlsaFact),
}

impl TlsaSearch {
    /// A search that begins with the status of the addresses, from the host's name to the records,
    /// and, if the host is an alias, with the name at the end of the CNAMEs. Names between the two
    /// are never candidates.
    pub(super) fn new(
        host: &Domain,
        port: u16,
        addresses: DnsStatus,
        alias: Option<&Domain>,
    ) -> Self {
        let alias = alias.filter(|alias| *alias != host);
        let state = match (addresses, alias) {
            // RFC 7672, section 2.1.2: a lookup that fails makes the host unreachable.
            (failed, _) if failed.is_failure() => State::failed(failed),
            (DnsStatus::Secure, None) => State::ask(host, port, false),
            // "Secure CNAME": the expanded name, and failing that the host.
            (DnsStatus::Secure, Some(alias)) => State::ask(alias, port, true),
            // RFC 7672, section 2.2.2, "Non-CNAME" with insecure addresses: no search. The name
            // servers of some unsigned zones never answer a question for TLSA records.
            (_, None) => State::Done(TlsaFact::NotAsked),
            // "Insecure CNAME": the zone of the alias itself may be signed all the same.
            (_, Some(_)) => State::AskCname,
        };
        Self { host: host.clone(), port, state }
    }

    /// The question that comes next; `None` once the outcome is known.
    pub(super) fn query(&self) -> Option<TlsaQuery<'_>> {
        match &self.state {
            State::AskCname => Some(TlsaQuery::Cname(&self.host)),
            State::AskTlsa { owner, .. } => Some(TlsaQuery::Tlsa(owner)),
            State::Done(_) => None,
        }
    }

    /// The status of the CNAME record alone. Ignored unless that was the question.
    pub(super) fn cname(&mut self, status: DnsStatus) {
        let State::AskCname = self.state else { return };
        self.state = match status {
            DnsStatus::Secure => State::ask(&self.host, self.port, false),
            DnsStatus::Insecure => State::Done(TlsaFact::NotAsked),
            failed => State::failed(failed),
        };
    }

    /// The TLSA records, or their denial. Ignored unless that was the question.
    pub(super) fn tlsa(&mut self, status: DnsStatus, records: &[TlsaRecord]) {
        let State::AskTlsa { base, then_host, .. } = &self.state else { return };
        self.state = match status {
            // RFC 7672, section 2.1.2: a failed lookup is never taken for absence.
            failed if failed.is_failure() => State::failed(failed),
            DnsStatus::Secure if !records.is_empty() => {
                State::Done(TlsaFact::Found(TlsaSet::new(base.clone(), records)))
            }
            // Denied, securely or not, or unsigned: the next candidate.
            _ if *then_host => State::ask(&self.host, self.port, false),
            _ => State::Done(TlsaFact::Absent),
        };
    }

    /// The outcome. A search that was given up half-way has failed.
    pub(super) fn into_fact(self) -> TlsaFact {
        match self.state {
            State::Done(fact) => fact,
            State::AskCname | State::AskTlsa { .. } => TlsaFact::Failed,
        }
    }
}

impl State {
    /// The end of a search by a look-up that failed.
    fn failed(status: DnsStatus) -> Self {
        Self::Done(match status {
            DnsStatus::Local => TlsaFact::Local,
            _ => TlsaFact::Failed,
        })
    }

    /// RFC 7672, section 2.2.3: the port is that of the connection.
    fn ask(base: &Domain, port: u16, then_host: bool) -> Self {
        Self::AskTlsa { base: base.clone(), owner: format!("_{port}._tcp.{base}"), then_host }
    }
}
