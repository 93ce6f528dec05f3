//! One connection of a delivery, kept or new: as many transactions as it takes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use smtp_proto::client::Envelope;
use smtp_proto::fallback::Fallback;
use smtp_proto::route::{Ending, RecipientStatus, Route};
use smtp_proto::wire::host::HostName;
use smtp_tls_policy::Host;
use smtp_tls_policy::tlsrpt::ReportedSession;
use tokio::net::TcpStream;

use crate::client::outbound::Outbound;
use crate::client::outcome::{Decision, Delivery, Failure, OutcomeBuf, Spoken};
use crate::client::target::Target;
use crate::client::{Connection, OpenError};
use crate::dialling;
use crate::dialling::{Raced, race};
use crate::metering::{self, Turn};
use crate::sender::known::Ready;
#[cfg(feature = "crl-fetch")]
use crate::sender::list_wait::ListWait;
use crate::sender::message::Message;
use crate::sender::pool::{Kept, Pool, Slot, Terms};
use crate::sender::report::{Journal, RecipientOutcome};

/// What became of a connection.
pub(super) struct Dialled {
    /// The address of the peer: for a kept connection, not always the one that was asked for.
    pub(super) address: SocketAddr,
    pub(super) is_reused: bool,
    /// The connection ended, and the message may go over another one at once.
    may_be_repeated: bool,
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
    /// The addresses that were dialled before, and could not be reached.
    pub(super) unreached: Vec<(SocketAddr, Arc<Failure>)>,
    /// The addresses that were dialled as well, and given up.
    pub(super) outrun: Vec<SocketAddr>,
}

/// A message, its recipients, and where their outcomes go.
pub(super) struct Parcel<'a, 'j, M> {
    pub(super) envelope: &'a Arc<Envelope>,
    /// The index in the journal of each recipient of the envelope.
    pub(super) indices: &'a [usize],
    pub(super) message: &'a M,
    pub(super) journal: &'a Journal<'j>,
}

/// The pool from which connections come, and the next hop for which they are kept.
#[derive(Clone, Copy)]
pub(super) struct KeptFor<'a> {
    pub(super) pool: &'a Pool,
    pub(super) next_hop: &'a Host,
}

/// How a connection was opened, or could not be.
struct Opened {
    connection: Result<Connection<TcpStream>, Box<OpenError>>,
    address: SocketAddr,
    /// None without a connection; the inner value is the address of this side, if the peer sees it.
    local: Option<Option<IpAddr>>,
    unreached: Vec<(SocketAddr, Arc<Failure>)>,
    outrun: Vec<SocketAddr>,
}

/// One connection that is to be made, or taken from the pool.
pub(super) struct Dialling<'a, 'j, M> {
    pub(super) outbound: &'a Outbound,
    pub(super) kept: KeptFor<'a>,
    pub(super) target: &'a Arc<Target>,
    pub(super) host: &'a HostName,
    pub(super) address: SocketAddr,
    /// Further addresses of the host, dialled in the same way if `address` does not answer.
    pub(super) others: &'a [SocketAddr],
    /// Knows whether clear text waits for another address of the host.
    pub(super) route: &'a Route,
    pub(super) parcel: &'a Parcel<'a, 'j, M>,
    pub(super) remaining: &'a [usize],
    /// The decision that led to this connection in clear text.
    pub(super) before: Option<Arc<Decision>>,
    /// The host.
    pub(super) ready: &'a Ready,
}

impl<M: Message> Dialling<'_, '_, M> {
    /// Sends the message for the recipients that remain, over a kept connection or a new one. A
    /// kept connection that ends before it has taken the message is replaced by a new one, once.
    pub(super) async fn run(&self) -> Dialled {
        let KeptFor { pool, next_hop } = self.kept;
        let key = self.ready.key(next_hop, self.target, self.address.port());
        let Ok(mut slot) = pool.slot(key).await else {
            let decision = Decision::undecided(&self.target.plan, self.target.is_clear());
            return self.failed(self.address, decision.into(), Vec::new(), Failure::Congested);
        };
        let mut turn = Turn::Opened;
        if let Some(mut kept) = slot.take() {
            turn = Turn::Replaced;
            if self.may_reuse(&kept) && kept.connection.is_reusable().await {
                // Boxed, as what follows: most deliveries may be waiting for their turn, and need
                // the memory of neither.
                let dialled = Box::pin(self.reuse(kept, &mut slot)).await;
                if !dialled.may_be_repeated {
                    metering::pool_turn(Turn::Reused);
                    return dialled;
                }
                tracing::info!("a kept connection was over, and is replaced");
            } else {
                slot.quit(kept.connection);
            }
        }
        metering::pool_turn(turn);
        Box::pin(self.open(slot)).await
    }

    /// Whether a connection that is opened now would be like this one. Clear text is kept from a
    /// message for which another address may have TLS.
    fn may_reuse(&self, kept: &Kept) -> bool {
        let is_asked_for =
            || kept.address == self.address && !self.route.tls_elsewhere_after(&[], self.address);
        let is_clear = kept.connection.decision().channel == Spoken::Clear;
        kept.terms == self.terms() && (!is_clear || self.target.is_clear() || is_asked_for())
    }

    /// The terms of a connection that is opened now.
    fn terms(&self) -> Terms {
        let identity = self.target.identity.as_ref();
        Terms {
            trust: self.outbound.trust.load().generation(),
            identity: identity.and_then(|id| self.outbound.tls.current_identity(id)),
        }
    }

    async fn reuse(&self, kept: Kept, slot: &mut Slot) -> Dialled {
        tracing::debug!(messages = kept.messages, "connection reused");
        let decision = self.before.clone().unwrap_or_else(|| kept.connection.shared_decision());
        // The delivery that opened the connection has reported it.
        self.transact(kept, slot, decision, Vec::new(), true).await
    }

    /// Connects. If the certificate could not be judged for want of revocation lists, waits for
    /// them as the connector says, and connects again.
    async fn connect(&self) -> Opened {
        let opened = self.connect_once(self.address, self.others).await;
        #[cfg(feature = "crl-fetch")]
        let opened = self.after_lists(opened).await;
        opened
    }

    #[cfg(feature = "crl-fetch")]
    async fn after_lists(&self, mut opened: Opened) -> Opened {
        let mut wait = ListWait::default();
        while let Err(error) = &opened.connection
            && let Some(verdict) = &error.decision.verdict
            && wait.is_worth_while(self.outbound, &self.target.plan, verdict).await
        {
            let again = self.connect_once(opened.address, &[]).await;
            opened = Opened { unreached: opened.unreached, outrun: opened.outrun, ..again };
        }
        opened
    }

    async fn connect_once(&self, first: SocketAddr, others: &[SocketAddr]) -> Opened {
        let Self { outbound, target, .. } = *self;
        let limit = outbound.connect_timeout;
        let connect = |address| dialling::connect(address, &target.dial, limit);
        let pause = || tokio::time::sleep(outbound.attempt_delay);
        let Raced { address, end, failed, outrun } = race(first, others, connect, pause).await;
        let unreached: Vec<SocketAddr> = failed.iter().map(|it| it.0).collect();
        let tls_elsewhere = self.route.tls_elsewhere_after(&unreached, address);
        let unreached = failed.into_iter().map(|(address, error)| {
            tracing::info!(%address, %error, "no connection");
            (address, Arc::new(Failure::Connect(error)))
        });
        let unreached = unreached.collect();
        let (connection, local) = match end {
            Ok(stream) => {
                // Through a proxy the peer sees another address.
                let direct = target.dial.socks5.is_none().then_some(&stream);
                let local = direct.and_then(|stream| stream.local_addr().ok());
                let local = local.map(|local| local.ip());
                (outbound.open_as(target, stream, tls_elsewhere).await, Some(local))
            }
            Err(failure) => (Err(Box::new(OpenError::unconnected(target, failure))), None),
        };
        Opened { connection, address, local, unreached, outrun }
    }

    /// Connects, and sends the message.
    async fn open(&self, mut slot: Slot) -> Dialled {
        let terms = self.terms();
        let opened = self.connect().await;
        let sessions = self.sessions(&opened);
        let Opened { connection, address, unreached, outrun, .. } = opened;
        let decision = match (&self.before, &connection) {
            (Some(before), _) => Arc::clone(before),
            (None, Ok(connection)) => connection.shared_decision(),
            (None, Err(error)) => Arc::new(error.decision.clone()),
        };
        tracing::info!(
            %address, reason = decision.reason.code(), decision = %decision.sentence,
            "TLS decision",
        );
        let dialled = match connection {
            Ok(connection) => {
                let kept = Kept::new(Box::new(connection), address, terms);
                self.transact(kept, &mut slot, decision, sessions, false).await
            }
            Err(error) => {
                tracing::info!(failure = %error.failure, "not delivered here");
                self.failed(address, decision, sessions, error.failure)
            }
        };
        Dialled { unreached, outrun, ..dialled }
    }

    /// What is to be reported of a new connection. Nothing without one; and nothing if the one
    /// before it has been reported, and this one with it.
    fn sessions(&self, opened: &Opened) -> Vec<ReportedSession> {
        let (None, Some(local)) = (&self.before, opened.local) else { return Vec::new() };
        let decision = match &opened.connection {
            Ok(connection) => connection.decision(),
            Err(error) => &error.decision,
        };
        let (plan, remote) = (&self.target.plan, opened.address.ip());
        decision.sessions(&self.ready.reporting, plan, local, remote)
    }

    /// Nothing was sent.
    fn failed(
        &self,
        address: SocketAddr,
        decision: Arc<Decision>,
        sessions: Vec<ReportedSession>,
        failure: Failure,
    ) -> Dialled {
        let count = self.remaining.len();
        let ending = failure.ending();
        let delivery = Delivery::unsent(count, Err(failure));
        let statuses = (0..count).map(|at| delivery.status(at)).collect();
        let reply = delivery.reply(0).cloned();
        let failure = delivery.end.err().map(Arc::new);
        let outcome =
            RecipientOutcome { reply, failure: failure.clone(), ..self.asked(&decision, address) };
        let (outcomes, left) = (vec![outcome; count], Vec::new());
        Dialled {
            address,
            is_reused: false,
            may_be_repeated: false,
            decision,
            sessions,
            statuses,
            outcomes,
            ending,
            failure,
            left,
            unreached: Vec::new(),
            outrun: Vec::new(),
        }
    }

    /// The connection's part of each outcome.
    fn asked(&self, decision: &Arc<Decision>, address: SocketAddr) -> RecipientOutcome {
        RecipientOutcome {
            host: Some(self.host.clone()),
            address: Some(address),
            decision: Some(Arc::clone(decision)),
            ..RecipientOutcome::undialled(RecipientStatus::Delivered)
        }
    }

    /// Runs the transactions of one connection, and keeps it if it may carry another message.
    async fn transact(
        &self,
        mut kept: Kept,
        slot: &mut Slot,
        decision: Arc<Decision>,
        sessions: Vec<ReportedSession>,
        is_reused: bool,
    ) -> Dialled {
        let address = kept.address;
        let mut transactions = Transactions::new(self, self.asked(&decision, address));
        let (ending, failure, left) = transactions.run(&mut kept).await;
        let Transactions { may_be_repeated, statuses, outcomes, .. } = transactions;
        let ending = if is_reused { without_tls_retry(ending) } else { ending };
        let decision = self.after(&kept, ending, decision);
        if failure.is_none() && !may_be_repeated && kept.connection.is_reusable().await {
            slot.keep(kept);
        } else {
            // Beside the delivery: a server that never answers QUIT delays no result.
            slot.quit(kept.connection);
        }
        Dialled {
            address,
            is_reused,
            may_be_repeated,
            decision,
            sessions,
            statuses,
            outcomes,
            ending,
            failure,
            left,
            unreached: Vec::new(),
            outrun: Vec::new(),
        }
    }

    /// The decision about TLS that is told of a connection that has ended so. In clear text no TLS
    /// could be lost: the reason of what led here is still right.
    fn after(&self, kept: &Kept, ending: Ending, decision: Arc<Decision>) -> Arc<Decision> {
        match ending {
            Ending::Finished | Ending::ShutDown => decision,
            _ if self.target.is_clear() => decision,
            _ => kept.connection.shared_decision(),
        }
    }
}

/// The ending of a connection that was kept. It tells nothing of the peer's TLS, so that it is no
/// reason for clear text. The next address, or the next run, begins with a handshake.
fn without_tls_retry(ending: Ending) -> Ending {
    match ending {
        Ending::NoTls { fallback: Fallback::Forbidden, .. } => ending,
        Ending::NoTls { .. } => Ending::Broken,
        ending => ending,
    }
}

struct Transactions<'a, 'j, M> {
    outbound: &'a Outbound,
    parcel: &'a Parcel<'a, 'j, M>,
    remaining: &'a [usize],
    /// The connection's part of each outcome.
    asked: RecipientOutcome,
    statuses: Vec<Option<RecipientStatus>>,
    outcomes: Vec<RecipientOutcome>,
    /// The connection ended, and the message may go over another one at once.
    may_be_repeated: bool,
}

impl<'a, 'j, M: Message> Transactions<'a, 'j, M> {
    /// No transaction has begun.
    fn new(dialling: &Dialling<'a, 'j, M>, asked: RecipientOutcome) -> Self {
        let Dialling { outbound, parcel, remaining, .. } = *dialling;
        let count = remaining.len();
        let (statuses, outcomes) = (vec![None; count], vec![asked.clone(); count]);
        Self { outbound, parcel, remaining, asked, statuses, outcomes, may_be_repeated: false }
    }

    /// Runs one transaction, and further ones for recipients that the server took no more. Returns
    /// the positions of those that need another connection.
    async fn run(&mut self, kept: &mut Kept) -> (Ending, Option<Arc<Failure>>, Vec<usize>) {
        let mut open: Vec<usize> = (0..self.remaining.len()).collect();
        let before = kept.messages;
        loop {
            let mut delivery = self.transact(&mut kept.connection, &open).await;
            let connection = &kept.connection;
            self.may_be_repeated = kept.messages == before && delivery.may_be_repeated();
            kept.messages += 1;
            let ending = delivery.end.as_ref().map_or_else(Failure::ending, |_| Ending::Finished);
            self.note(&delivery, &open);
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

    /// What a transaction came to for each recipient that it had.
    fn note(&mut self, delivery: &Delivery, open: &[usize]) {
        for (at, &position) in open.iter().enumerate() {
            if let Some(status) = delivery.status(at) {
                self.statuses[position] = Some(status);
            }
            self.outcomes[position].reply = delivery.reply(at).cloned();
        }
    }

    /// Whether a recipient waits for another transaction: over the limits that were announced
    /// (RFC 9422, section 4), or refused for them alone (RFC 5321, section 4.5.3.1.10).
    fn is_left(&self, delivery: &Delivery, at: usize) -> bool {
        let taken = matches!(delivery.end, Ok(OutcomeBuf::Accepted(_) | OutcomeBuf::PerRecipient));
        self.outbound.smtp.leave_over_limit
            && (delivery.left.contains(&at) || delivery.is_one_too_many(at) && taken)
    }

    /// The envelope with the recipients of one transaction.
    fn part(&self, open: &[usize]) -> Arc<Envelope> {
        let envelope = self.parcel.envelope;
        let indexes = open.iter().map(|&at| self.remaining[at]);
        if indexes.clone().eq(0..envelope.recipients.len()) {
            return Arc::clone(envelope);
        }
        let recipients = indexes.map(|index| envelope.recipients[index].clone());
        Arc::new(envelope.with_recipients(recipients.collect()))
    }

    /// Runs one transaction.
    async fn transact(
        &mut self,
        connection: &mut Connection<TcpStream>,
        open: &[usize],
    ) -> Delivery {
        let part = self.part(open);
        let Parcel { indices, message, journal, .. } = *self.parcel;
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
        let uri = message.uri().filter(|_| connection.capabilities().fetches_imap());
        let delivery = if uri.is_some() {
            let body = &mut tokio::io::empty();
            connection.send_observed(part, body, uri, &mut settled).await
        } else {
            match self.body().await {
                Ok(mut body) => connection.send_observed(part, &mut body, None, &mut settled).await,
                Err(error) => {
                    let failure = Failure::Source(error);
                    Delivery::unsent(open.len(), Err(failure))
                }
            }
        };
        match &delivery.end {
            Ok(end) => tracing::info!(?end, "delivered or refused"),
            Err(failure) => tracing::info!(%failure, "not delivered here"),
        }
        delivery
    }

    /// Opens the message. The server's time limit for an idle client is about the same as the one
    /// here.
    async fn body(&self) -> io::Result<M::Body> {
        let patience = self.outbound.smtp.timeouts.idle;
        let opening = tokio::time::timeout(patience, self.parcel.message.open()).await;
        opening.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}
