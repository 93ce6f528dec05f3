//! One connection of a delivery: as many transactions as it takes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use smtp_proto::client::{Envelope, OverLimit};
use smtp_proto::route::{Ending, RecipientStatus};
use smtp_tls_policy::tlsrpt::ReportedSession;
use tokio::net::TcpStream;
use tracing::Instrument;

use crate::client::outbound::Outbound;
use crate::client::outcome::{Decision, Delivery, Failure, MessageError, OutcomeBuf, is_too_many};
use crate::client::target::Target;
use crate::client::{Connection, OpenError};
use crate::sender::hosts::Candidate;
use crate::sender::message::Message;
use crate::sender::report::{Journal, RecipientOutcome};

/// What became of a connection.
pub(super) struct Dialled {
    pub(super) decision: Arc<Decision>,
    /// What is to be reported of it (RFC 8460).
    pub(super) sessions: Vec<ReportedSession>,
    /// By the position in what remained; none without a reply.
    pub(super) statuses: Vec<Option<RecipientStatus>>,
    /// By the position in what remained; their `status` has no meaning yet.
    pub(super) outcomes: Vec<RecipientOutcome>,
    pub(super) ending: Ending,
    pub(super) failure: Option<Arc<Failure>>,
    /// Positions of recipients that the server takes only on another connection.
    pub(super) left: Vec<usize>,
}

/// A message, its recipients, and where their outcomes go.
pub(super) struct Parcel<'a, 'j, M> {
    pub(super) envelope: &'a Envelope,
    /// The index in the journal of each recipient of the envelope.
    pub(super) indices: &'a [usize],
    pub(super) message: &'a M,
    pub(super) journal: &'a Journal<'j>,
}

/// Connects, and sends the message for the recipients that remain. `before` is the decision that
/// led to this connection in clear text.
pub(super) async fn dial(
    outbound: &Outbound,
    target: &Target,
    (host, address): (&str, SocketAddr),
    parcel: &Parcel<'_, '_, impl Message>,
    remaining: &[usize],
    before: Option<Decision>,
    candidate: &Candidate,
) -> Dialled {
    let (opened, local) = match outbound.tcp(address).await {
        Ok(stream) => {
            let local = stream.local_addr().ok().map(|local| local.ip());
            (outbound.open(target, stream).await, Some(local))
        }
        Err(error) => {
            let decision = Decision::undecided(&target.plan, target.is_clear());
            let failure = Failure::Connect(error);
            (Err(Box::new(OpenError { decision, failure })), None)
        }
    };
    let decision = match &opened {
        Ok(connection) => connection.decision(),
        Err(error) => &error.decision,
    };
    let sessions = match (&before, local) {
        (None, Some(local)) => {
            candidate.reporting.connection(&target.plan, decision.for_report(), local, address.ip())
        }
        // No connection; or the one before it has been reported, and this one with it.
        (Some(_), _) | (_, None) => Vec::new(),
    };
    let decision = Arc::new(before.unwrap_or_else(|| decision.clone()));
    tracing::info!(reason = decision.reason.code(), decision = %decision.sentence, "TLS decision");
    let asked = RecipientOutcome {
        host: Some(host.to_owned()),
        address: Some(address),
        decision: Some(Arc::clone(&decision)),
        ..RecipientOutcome::undialled(RecipientStatus::Delivered)
    };
    let count = remaining.len();
    let mut connection = match opened {
        Ok(connection) => connection,
        Err(error) => {
            tracing::info!(failure = %error.failure, "not delivered here");
            let ending = error.failure.ending();
            let delivery = Delivery::unsent(count, Err(error.failure));
            let statuses = (0..count).map(|at| delivery.status(at)).collect();
            let reply = delivery.reply(0).cloned();
            let failure = delivery.end.err().map(Arc::new);
            let outcome = RecipientOutcome { reply, failure: failure.clone(), ..asked };
            let outcomes = vec![outcome; count];
            let left = Vec::new();
            return Dialled { decision, sessions, statuses, outcomes, ending, failure, left };
        }
    };
    let statuses = vec![None; count];
    let outcomes = vec![asked.clone(); count];
    let mut transactions = Transactions { outbound, parcel, remaining, asked, statuses, outcomes };
    let (ending, failure, left) = transactions.run(&mut connection).await;
    let Transactions { statuses, outcomes, .. } = transactions;
    // In clear text no TLS could be lost: the reason of what led here is still right.
    let decision = match ending {
        Ending::Finished | Ending::ShutDown => decision,
        _ if target.is_clear() => decision,
        _ => Arc::new(connection.decision().clone()),
    };
    // Beside the delivery: a server that never answers QUIT delays no result.
    tokio::spawn(connection.quit().in_current_span());
    Dialled { decision, sessions, statuses, outcomes, ending, failure, left }
}

struct Transactions<'a, 'j, M> {
    outbound: &'a Outbound,
    parcel: &'a Parcel<'a, 'j, M>,
    remaining: &'a [usize],
    /// The connection's part of each outcome.
    asked: RecipientOutcome,
    statuses: Vec<Option<RecipientStatus>>,
    outcomes: Vec<RecipientOutcome>,
}

impl<M: Message> Transactions<'_, '_, M> {
    /// Runs one transaction, and further ones for recipients that the server took no more. Returns
    /// the positions of those that need another connection.
    async fn run(
        &mut self,
        connection: &mut Connection<TcpStream>,
    ) -> (Ending, Option<Arc<Failure>>, Vec<usize>) {
        let mut open: Vec<usize> = (0..self.remaining.len()).collect();
        loop {
            let mut delivery = self.transact(connection, &open).await;
            let ending = delivery.end.as_ref().map_or_else(Failure::ending, |_| Ending::Finished);
            for (at, &position) in open.iter().enumerate() {
                if let Some(status) = delivery.status(at) {
                    self.statuses[position] = Some(status);
                }
                self.outcomes[position].reply = delivery.reply(at).cloned();
            }
            let left: Vec<usize> = (0..open.len())
                .filter(|&at| self.is_left(&delivery, at))
                .map(|at| open[at])
                .collect();
            let end = std::mem::replace(&mut delivery.end, Ok(OutcomeBuf::NoRecipients));
            if let Err(failure) = end {
                let failure = Arc::new(failure);
                for &position in &open {
                    self.outcomes[position].failure = Some(Arc::clone(&failure));
                }
                return (ending, Some(failure), Vec::new());
            }
            if connection.is_over() {
                // 421 after the client was welcome.
                return (Ending::ShutDown, None, Vec::new());
            }
            // A server that accepted no recipient would accept none the next time.
            if left.is_empty() || left.len() == open.len() {
                return (ending, None, Vec::new());
            }
            if connection.transactions_left() == Some(0) {
                return (ending, None, left);
            }
            open = left;
        }
    }

    /// Whether a recipient waits for another transaction: over the limits that were announced
    /// (RFC 9422, section 4), or refused for them alone (RFC 5321, section 4.5.3.1.10).
    fn is_left(&self, delivery: &Delivery, at: usize) -> bool {
        let taken = matches!(delivery.end, Ok(OutcomeBuf::Accepted(_) | OutcomeBuf::PerRecipient));
        let refused = delivery.recipients[at].as_ref().is_some_and(|reply| {
            let reply = reply.borrow();
            matches!(reply.code(), 452 | 552) && reply.enhanced().is_some_and(is_too_many)
        });
        self.outbound.smtp.over_limit == OverLimit::Leave
            && (delivery.left.contains(&at) || refused && taken)
    }

    async fn transact(
        &mut self,
        connection: &mut Connection<TcpStream>,
        open: &[usize],
    ) -> Delivery {
        let Parcel { envelope, indices, message, journal } = *self.parcel;
        let mut part = envelope.clone();
        part.recipients =
            open.iter().map(|&at| envelope.recipients[self.remaining[at]].clone()).collect();
        let part = Arc::new(part);
        let (asked, remaining) = (&self.asked, self.remaining);
        // What is final is told at once, while the connection goes on.
        let mut settled = |at: usize, delivery: &Delivery| match delivery.status(at) {
            Some(status @ (RecipientStatus::Delivered | RecipientStatus::Bounced(_))) => {
                let reply = delivery.reply(at).cloned();
                let outcome = RecipientOutcome { status, reply, ..asked.clone() };
                journal.settle(indices[remaining[open[at]]], outcome);
            }
            Some(RecipientStatus::Deferred(_)) | None => {}
        };
        let delivery = match message.uri().filter(|_| connection.capabilities().fetches_imap()) {
            Some(uri) => {
                let body = &mut tokio::io::empty();
                connection.send_observed(part, body, Some(uri), &mut settled).await
            }
            None => {
                // The server's time limit for an idle client is about the same.
                let patience = self.outbound.smtp.timeouts.idle;
                let opening = tokio::time::timeout(patience, message.open()).await;
                match opening.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                    Ok(mut body) => {
                        connection.send_observed(part, &mut body, None, &mut settled).await
                    }
                    Err(error) => {
                        let failure = Failure::Message(MessageError::Read(error));
                        Delivery::unsent(open.len(), Err(failure))
                    }
                }
            }
        };
        match &delivery.end {
            Ok(end) => tracing::info!(?end, "delivered or refused"),
            Err(failure) => tracing::info!(%failure, "not delivered here"),
        }
        delivery
    }
}
