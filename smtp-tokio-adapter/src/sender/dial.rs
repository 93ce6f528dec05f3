//! One connection of a delivery: as many transactions as it takes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use smtp_proto::client::{Envelope, OverLimit};
use smtp_proto::route::{Ending, RecipientStatus};
use smtp_tls_policy::tlsrpt::{ReportedSession, Reporting};
use tokio::net::TcpStream;

use crate::client::Connection;
use crate::client::outbound::{Outbound, Target};
use crate::client::outcome::{Decision, Delivery, End, Failure, MessageError, is_too_many};
use crate::sender::message::Message;

/// What a connection came to.
pub(super) struct Dialled {
    pub(super) decision: Decision,
    /// What is to be reported of it.
    pub(super) sessions: Vec<ReportedSession>,
    /// By the position in what remained; none where nothing was said.
    pub(super) words: Vec<Option<RecipientStatus>>,
    pub(super) ending: Ending,
    /// Positions of those whom the server takes no more on this connection, and would take on another.
    pub(super) left: Vec<usize>,
}

/// The message, for the recipients that wait.
pub(super) struct Parcel<'a, M> {
    pub(super) envelope: &'a Envelope,
    /// Their indices.
    pub(super) remaining: &'a [usize],
    pub(super) message: &'a M,
}

pub(super) async fn dial(
    outbound: &Outbound,
    target: &Target<'_>,
    address: SocketAddr,
    parcel: Parcel<'_, impl Message>,
    before: Option<Decision>,
    reporting: &Reporting,
) -> Dialled {
    let count = parcel.remaining.len();
    let words = vec![None; count];
    let connecting = tokio::time::timeout(outbound.connect_timeout, TcpStream::connect(address));
    let stream = match connecting.await {
        Ok(Ok(stream)) => stream,
        unreachable => {
            tracing::info!(error = ?unreachable.err(), "no connection");
            let decision =
                before.unwrap_or_else(|| Decision::undecided(target.plan, target.is_clear()));
            return Dialled {
                decision,
                sessions: Vec::new(),
                words,
                ending: Ending::Unreachable,
                left: Vec::new(),
            };
        }
    };
    // Without it a small message waits for the peer's delayed ACK, 40 ms and more.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let local = stream.local_addr().ok().map(|local| local.ip());
    let (mut decision, opened) = Connection::open(outbound, target, stream).await;
    let sessions = match before {
        // It stands for the connection before it, which has been told.
        Some(before) => {
            decision = before;
            Vec::new()
        }
        None => reporting.connection(target.plan, decision.for_report(), local, address.ip()),
    };
    tracing::info!(reason = decision.reason.code(), decision = %decision.sentence, "TLS decision");
    let mut connection = match opened {
        Ok(connection) => connection,
        Err(failure) => {
            tracing::info!(%failure, "not delivered here");
            let delivery = Delivery::unsent(count, Err(failure));
            let words = (0..count).map(|at| delivery.word(at)).collect();
            return Dialled {
                decision,
                sessions,
                words,
                ending: delivery.ending(),
                left: Vec::new(),
            };
        }
    };
    let mut transactions = Transactions { outbound, parcel, words };
    let (ending, left) = transactions.run(&mut connection).await;
    // In clear text there was no TLS that could have been lost: what led here is still the reason.
    if ending != Ending::Finished && !target.is_clear() {
        decision = connection.decision().clone();
    }
    connection.quit().await;
    Dialled { decision, sessions, words: transactions.words, ending, left }
}

struct Transactions<'a, M> {
    outbound: &'a Outbound,
    parcel: Parcel<'a, M>,
    words: Vec<Option<RecipientStatus>>,
}

impl<M: Message> Transactions<'_, M> {
    /// One transaction, and then others for those whom the server took no more; and whom another connection may serve.
    async fn run(&mut self, connection: &mut Connection<TcpStream>) -> (Ending, Vec<usize>) {
        // A route for more recipients than there are defers the rest.
        let Parcel { envelope, remaining, .. } = &self.parcel;
        let known = envelope.recipients.len();
        let mut open: Vec<usize> =
            (0..remaining.len()).filter(|&at| remaining[at] < known).collect();
        loop {
            let delivery = self.transact(connection, &open).await;
            for (at, &position) in open.iter().enumerate() {
                if let Some(word) = delivery.word(at) {
                    self.words[position] = Some(word);
                }
            }
            let ending = delivery.ending();
            let left: Vec<usize> = (0..open.len())
                .filter(|&at| self.is_left(&delivery, at))
                .map(|at| open[at])
                .collect();
            // Who takes nobody at all would not take anybody the next time, and who has said 421 is going away.
            let is_over = ending != Ending::Finished || connection.is_over();
            if is_over || left.is_empty() || left.len() == open.len() {
                let shut_down = ending == Ending::Finished && connection.is_over();
                return (if shut_down { Ending::ShutDown } else { ending }, Vec::new());
            }
            if connection.transactions_left() == Some(0) {
                return (ending, left);
            }
            open = left;
        }
    }

    /// Whether a recipient waits for another transaction: over the limits that were announced (RFC 9422, 4), or refused
    /// for them alone (RFC 5321, 4.5.3.1.10).
    fn is_left(&self, delivery: &Delivery, at: usize) -> bool {
        let taken = matches!(delivery.end, Ok(End::Accepted(_) | End::PerRecipient));
        let refused = delivery.recipients[at].as_ref().is_some_and(|reply| {
            let reply = reply.borrow();
            matches!(reply.code(), 452 | 552) && reply.enhanced().is_some_and(is_too_many)
        });
        self.outbound.smtp.over_limit == OverLimit::Leave
            && (delivery.left.contains(&at) || refused && taken)
    }

    async fn transact(&self, connection: &mut Connection<TcpStream>, open: &[usize]) -> Delivery {
        let Parcel { envelope, remaining, message } = self.parcel;
        let recipients =
            open.iter().map(|&at| envelope.recipients[remaining[at]].clone()).collect();
        let mut envelope = envelope.clone();
        envelope.recipients = recipients;
        let delivery = match message.uri().filter(|_| connection.capabilities().fetches_imap()) {
            Some(uri) => connection.send_uri(Arc::new(envelope), uri).await,
            None => {
                // The server's patience with an idle client is about ours.
                let opening =
                    tokio::time::timeout(self.outbound.smtp.timeouts.idle, message.open());
                match opening.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                    Ok(mut body) => connection.send(Arc::new(envelope), &mut body).await,
                    Err(error) => Delivery::unsent(
                        open.len(),
                        Err(Failure::Message(MessageError::Read(error))),
                    ),
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

impl Delivery {
    fn ending(&self) -> Ending {
        self.end.as_ref().map_or_else(Failure::ending, |_| Ending::Finished)
    }
}
