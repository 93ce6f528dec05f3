//! What became of a delivery: each recipient, each connection, each host that was not dialled.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::{SmallVec, smallvec};
use smtp_proto::route::{Ending, Manner, RecipientStatus};
use smtp_proto::wire::host::HostName;
use smtp_proto::wire::reply::Reply;
use smtp_tls_policy::inquiry::NotDialled;
use smtp_tls_policy::tlsrpt::ReportedSession;

use super::lock;
use crate::client::outcome::{Decision, Failure, LOCAL};
use crate::sender::shown::Shown;

/// What became of one recipient: all that a delivery status notification (RFC 3464) says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecipientOutcome {
    /// Delivered, deferred or bounced.
    pub status: RecipientStatus,
    /// The host that decided, for `Remote-MTA`; none if no host was dialled.
    pub host: Option<HostName>,
    /// Its address; none if the host was not dialled.
    pub address: Option<SocketAddr>,
    /// The whole reply that decided, for `Diagnostic-Code`: to RCPT, DATA or the final dot, or to
    /// the greeting or EHLO. None if the status does not come from a reply.
    pub reply: Option<Reply<'static>>,
    /// Why the connection ended early, with its cause, such as the error of the socket or of the
    /// message's source.
    pub failure: Option<Arc<Failure>>,
    /// What was decided about TLS on that connection.
    pub decision: Option<Arc<Decision>>,
    /// TLS failed, and the connector allows clear text on a later run of the queue
    /// ([`Yield::Later`](smtp_tls_policy::rules::Yield::Later)). Keep it with the recipient, and
    /// name the recipient in [`Sender::send_with`](crate::Sender::send_with) from now on.
    pub clear_next_run: bool,
}

impl RecipientOutcome {
    /// A recipient without a host that was asked.
    pub(super) const fn undialled(status: RecipientStatus) -> Self {
        Self {
            status,
            host: None,
            address: None,
            reply: None,
            failure: None,
            decision: None,
            clear_next_run: false,
        }
    }

    /// The id under which the server that accepted the message queued it, if its reply has one in a
    /// common form: `queued as ID` or `id=ID`.
    pub fn queue_id(&self) -> Option<&str> {
        self.reply.as_ref().filter(|_| self.status == RecipientStatus::Delivered).and_then(queue_id)
    }
}

fn queue_id<'r>(reply: &'r Reply<'_>) -> Option<&'r str> {
    let id = |line| {
        let text = std::str::from_utf8(line).ok()?;
        let (_, rest) = text.split_once("queued as ").or_else(|| text.split_once("id="))?;
        let ends = |c: char| c.is_whitespace() || matches!(c, '>' | ')' | ',' | ';');
        let id = rest.trim_start_matches('<').split(ends).next()?.trim_end_matches('.');
        Some(id).filter(|id| !id.is_empty())
    };
    reply.lines().find_map(id)
}

/// One connection of a delivery.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DialAttempt {
    /// The host.
    pub host: HostName,
    /// Its address.
    pub address: SocketAddr,
    /// How it was made.
    pub manner: Manner,
    /// Whether it had been kept from an earlier delivery.
    pub is_reused: bool,
    /// Addresses of the host that were dialled beside it and had not answered when it was there.
    /// Each of those connections was given up before anything was sent; each address that failed
    /// has an attempt of its own.
    pub outrun: Vec<SocketAddr>,
    /// What was decided about TLS.
    pub decision: Arc<Decision>,
    /// How it ended, for the route.
    pub ending: Ending,
    /// Why it ended early; none if it ran to its end.
    pub failure: Option<Arc<Failure>>,
    /// What is to be reported of it (RFC 8460): one final status for each policy, or none. The
    /// first delivery of a connection reports it.
    pub sessions: Vec<ReportedSession>,
    /// What it shows about the TLS of the peer, if anything.
    pub(super) shown: Option<Shown>,
}

/// What became of a delivery.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The outcome of each recipient: exactly one, in the order of the envelope.
    pub recipients: Vec<RecipientOutcome>,
    /// Each connection, in order.
    pub attempts: Vec<DialAttempt>,
    /// The hosts that were not dialled, in order: the policy refuses the host, or a look-up failed.
    /// A host that only the answer for an earlier delivery names is not among them: its recipients
    /// are deferred with 4.4.3.
    pub skipped: Vec<(HostName, NotDialled)>,
}

impl Report {
    /// The status of each recipient, in the order of the envelope.
    pub fn statuses(&self) -> Vec<RecipientStatus> {
        self.recipients.iter().map(|recipient| recipient.status).collect()
    }

    /// What an [`Aggregate`](smtp_tls_policy::tlsrpt::Aggregate) counts for the reports of RFC
    /// 8460.
    pub fn sessions(&self) -> impl Iterator<Item = &ReportedSession> {
        let skipped = self.skipped.iter().filter_map(|(_, skip)| skip.session.as_ref());
        skipped.chain(self.attempts.iter().flat_map(|attempt| &attempt.sessions))
    }
}

/// The connections of one route, and the hosts of it that were not dialled.
#[derive(Default)]
pub(super) struct Walked {
    pub(super) attempts: Vec<DialAttempt>,
    pub(super) skipped: Vec<(HostName, NotDialled)>,
}

impl Walked {
    /// Those of several routes.
    pub(super) fn joined(routes: Vec<Self>) -> Self {
        let mut all = Self::default();
        for mut route in routes {
            all.attempts.append(&mut route.attempts);
            all.skipped.append(&mut route.skipped);
        }
        all
    }

    pub(super) fn report(self, journal: Journal<'_>) -> Report {
        let Self { attempts, skipped } = self;
        Report { recipients: journal.finish(), attempts, skipped }
    }
}

/// Hands out each recipient's outcome the moment it is final, once, and keeps it for the report.
pub(super) struct Journal<'a>(Mutex<Entries<'a>>);

struct Entries<'a> {
    /// Final, or what the last host that was asked said of the recipient.
    outcomes: Vec<RecipientOutcome>,
    is_final: SmallVec<[bool; 16]>,
    tell: &'a mut (dyn FnMut(usize, &RecipientOutcome) + Send),
}

impl Entries<'_> {
    /// The outcome of a recipient for which it is not final.
    fn open(&mut self, index: usize) -> Option<&mut RecipientOutcome> {
        let is_open = self.is_final.get(index) == Some(&false);
        self.outcomes.get_mut(index).filter(|_| is_open)
    }

    fn settle(&mut self, index: usize, change: impl FnOnce(&mut RecipientOutcome)) {
        if let Some(outcome) = self.open(index) {
            change(outcome);
            self.is_final[index] = true;
            (self.tell)(index, &self.outcomes[index]);
        }
    }
}

impl<'a> Journal<'a> {
    pub(super) fn new(
        recipients: usize,
        tell: &'a mut (dyn FnMut(usize, &RecipientOutcome) + Send),
    ) -> Self {
        let none = RecipientOutcome::undialled(RecipientStatus::Deferred(LOCAL));
        let (outcomes, is_final) = (vec![none; recipients], smallvec![false; recipients]);
        Self(Mutex::new(Entries { outcomes, is_final, tell }))
    }

    fn entries(&self) -> MutexGuard<'_, Entries<'a>> {
        lock(&self.0)
    }

    /// The outcome of this recipient is final. The first one counts.
    pub(super) fn settle(&self, index: usize, outcome: RecipientOutcome) {
        self.entries().settle(index, |open| *open = outcome);
    }

    /// This is the final outcome of each recipient that has none yet.
    pub(super) fn settle_rest(&self, outcome: &RecipientOutcome) {
        let mut entries = self.entries();
        for index in 0..entries.outcomes.len() {
            entries.settle(index, |open| open.clone_from(outcome));
        }
    }

    /// Notes what a host said of this recipient. Another host may say something else.
    pub(super) fn note(&self, index: usize, change: impl FnOnce(&mut RecipientOutcome)) {
        if let Some(open) = self.entries().open(index) {
            change(open);
        }
    }

    /// What was noted last of this recipient is final, with this status.
    pub(super) fn conclude(&self, index: usize, status: RecipientStatus, clear_next_run: bool) {
        self.entries().settle(index, |open| {
            (open.status, open.clear_next_run) = (status, clear_next_run);
        });
    }

    /// One outcome for each recipient.
    pub(super) fn finish(self) -> Vec<RecipientOutcome> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).outcomes
    }
}

#[cfg(test)]
mod tests {
    use smtp_proto::wire::reply::Reply;

    use super::queue_id;

    #[test]
    fn queue_ids_of_common_servers_are_found() {
        for (line, id) in [
            ("250 2.0.0 Ok: queued as 4XyZ12\r\n", Some("4XyZ12")),
            ("250 OK id=1uABcd-000000001Ab-2XyZ\r\n", Some("1uABcd-000000001Ab-2XyZ")),
            ("250-2.0.0 thanks\r\n250 2.0.0 Ok: queued as <77>.\r\n", Some("77")),
            ("250 kept\r\n", None),
            ("250 queued as \r\n", None),
        ] {
            let reply = Reply::parse(line.as_bytes()).unwrap().unwrap().into_owned();
            assert_eq!(queue_id(&reply), id, "{line}");
        }
    }
}
