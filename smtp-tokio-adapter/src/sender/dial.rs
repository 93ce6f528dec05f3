//! One connection of a delivery, kept or new: as many transactions as it takes.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use smallvec::SmallVec;
use smtp_proto::client::Envelope;
use smtp_proto::fallback::Fallback;
use smtp_proto::route::{Ending, RecipientStatus, Route};
use smtp_tls_policy::tlsrpt::ReportedSession;
use tokio::net::TcpStream;

use crate::client::outbound::Outbound;
use crate::client::outcome::{Decision, Delivery, Failure, LOCAL, OutcomeBuf, Spoken};
use crate::client::target::Target;
use crate::client::{Connection, OpenError};
use crate::dialling;
use crate::dialling::{Raced, race};
use crate::metering::{self, Turn};
use crate::sender::known::Ready;
#[cfg(feature = "crl-fetch")]
use crate::sender::list_wait::ListWait;
use crate::sender::message::{Message, opened};
use crate::sender::part;
use crate::sender::pool::{Kept, KeptFor, Slot, Terms};
use crate::sender::report::{DialAttempt, Journal, RecipientOutcome};

/// The status of each recipient that has one. Most messages have one recipient.
pub(super) type Statuses = SmallVec<[(usize, RecipientStatus); 1]>;

/// What became of a connection.
pub(super) struct Dialled {
    /// For the report. Its address is that of the peer: for a kept connection, not always the one
    /// that was asked for.
    pub(super) attempt: DialAttempt,
    /// The status of each recipient that has one, by its index in the parcel.
    pub(super) statuses: Statuses,
    /// Recipients that the server takes only on another connection.
    pub(super) left: Vec<usize>,
    /// The addresses that were dialled before, and could not be reached.
    pub(super) unreached: Vec<(SocketAddr, Arc<Failure>)>,
}

/// A message, its recipients, and where their outcomes go.
pub(super) struct Parcel<'a, 'j, M> {
    pub(super) envelope: &'a Arc<Envelope>,
    /// The index in the journal of each recipient of the envelope.
    pub(super) indices: &'a [usize],
    pub(super) message: &'a M,
    pub(super) journal: &'a Journal<'j>,
}

/// What the transactions of one connection came to.
struct Transacted {
    /// The kept connection was over, and the message may go over another one at once: there is
    /// nothing else to tell of it.
    is_to_be_repeated: bool,
    ending: Ending,
    failure: Option<Arc<Failure>>,
    /// As in [`Dialled`].
    statuses: Statuses,
    left: Vec<usize>,
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
    pub(super) address: SocketAddr,
    /// Further addresses of the host, dialled in the same way if `address` does not answer.
    pub(super) others: &'a [SocketAddr],
    /// Knows whether clear text waits for another address of the host.
    pub(super) route: &'a Route,
    pub(super) parcel: &'a Parcel<'a, 'j, M>,
    /// The decision that led to this connection in clear text.
    pub(super) before: Option<Arc<Decision>>,
    pub(super) ready: &'a Ready,
}

impl<M: Message> Dialling<'_, '_, M> {
    /// Sends the message for these recipients, over a kept connection or a new one. A kept
    /// connection that ends before it has taken the message is replaced by a new one, once.
    pub(super) async fn run(&self, remaining: &[usize]) -> Dialled {
        let key = self.ready.key(self.kept, self.target, self.address.port());
        let Ok(mut slot) = self.kept.pool.slot(key).await else {
            let decision = Decision::undecided(&self.target.plan, self.target.is_clear());
            return self.failed(remaining, self.address, decision.into(), Failure::Congested);
        };
        let mut turn = Turn::Opened;
        if let Some(mut kept) = slot.take() {
            turn = Turn::Replaced;
            if self.may_reuse(&kept) && kept.connection.is_reusable().await {
                tracing::debug!(messages = kept.messages, "connection reused");
                let decision = self.before.clone();
                let decision = decision.unwrap_or_else(|| kept.connection.shared_decision());
                let transacted = self.transact(&mut kept, &decision, remaining).await;
                if !transacted.is_to_be_repeated {
                    metering::pool_turn(Turn::Reused);
                    return self.done(kept, slot, decision, transacted, true);
                }
                tracing::info!("a kept connection was over, and is replaced");
            }
            slot.quit(kept.connection);
        }
        metering::pool_turn(turn);
        // Boxed: few deliveries need a new connection, and the memory that opens it.
        Box::pin(self.open(slot, remaining)).await
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
            trust: self.outbound.trust.generation(),
            identity: identity.and_then(|id| self.outbound.tls.current_identity(id)),
        }
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
    async fn open(&self, slot: Slot, remaining: &[usize]) -> Dialled {
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
        let mut dialled = match connection {
            Ok(connection) => {
                let mut kept = Kept::new(Box::new(connection), address, terms);
                let transacted = self.transact(&mut kept, &decision, remaining).await;
                self.done(kept, slot, decision, transacted, false)
            }
            Err(error) => {
                tracing::info!(failure = %error.failure, "not delivered here");
                self.failed(remaining, address, decision, error.failure)
            }
        };
        dialled.unreached = unreached;
        (dialled.attempt.sessions, dialled.attempt.outrun) = (sessions, outrun);
        dialled
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
    #[cold]
    fn failed(
        &self,
        remaining: &[usize],
        address: SocketAddr,
        decision: Arc<Decision>,
        failure: Failure,
    ) -> Dialled {
        let ending = failure.ending();
        let status = failure.status();
        let reply = failure.reply().cloned();
        let failure = Some(Arc::new(failure));
        for &index in remaining {
            let (reply, failure) = (reply.clone(), failure.clone());
            let asked = self.asked(&decision, address);
            self.note(index, RecipientOutcome { reply, failure, ..asked });
        }
        let statuses = status.into_iter();
        let statuses = statuses.flat_map(|it| remaining.iter().map(move |&index| (index, it)));
        let (statuses, left) = (statuses.collect(), Vec::new());
        let transacted = Transacted { is_to_be_repeated: false, ending, failure, statuses, left };
        self.dialled(address, decision, transacted, false)
    }

    /// Gives the connection back, to be kept if it may carry another message.
    fn done(
        &self,
        mut kept: Kept,
        mut slot: Slot,
        decision: Arc<Decision>,
        mut transacted: Transacted,
        is_reused: bool,
    ) -> Dialled {
        let address = kept.address;
        if is_reused {
            transacted.ending = without_tls_retry(transacted.ending);
        }
        let decision = self.after(&kept, transacted.ending, decision);
        // Whether the peer has closed its side or gone on talking shows when it is used again.
        if transacted.failure.is_none() && kept.connection.is_idle() {
            slot.keep(kept);
        } else {
            // Beside the delivery: a server that never answers QUIT delays no result.
            slot.quit(kept.connection);
        }
        self.dialled(address, decision, transacted, is_reused)
    }

    fn dialled(
        &self,
        address: SocketAddr,
        decision: Arc<Decision>,
        transacted: Transacted,
        is_reused: bool,
    ) -> Dialled {
        let Transacted { ending, failure, statuses, left, .. } = transacted;
        let attempt = DialAttempt {
            host: self.ready.host.clone(),
            address,
            manner: self.target.manner,
            is_reused,
            outrun: Vec::new(),
            decision,
            ending,
            failure,
            sessions: Vec::new(),
            shown: None,
        };
        Dialled { attempt, statuses, left, unreached: Vec::new() }
    }

    /// The connection's part of each outcome.
    fn asked(&self, decision: &Arc<Decision>, address: SocketAddr) -> RecipientOutcome {
        RecipientOutcome {
            host: Some(self.ready.host.clone()),
            address: Some(address),
            decision: Some(Arc::clone(decision)),
            ..RecipientOutcome::undialled(RecipientStatus::Deferred(LOCAL))
        }
    }

    /// What this connection has to say of a recipient. The route says whether that is its status.
    fn note(&self, index: usize, outcome: RecipientOutcome) {
        let Parcel { indices, journal, .. } = *self.parcel;
        journal.note(indices[index], |latest| *latest = outcome);
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

    /// Runs one transaction for these recipients, and further ones for those that the server took
    /// no more.
    async fn transact(
        &self,
        kept: &mut Kept,
        decision: &Arc<Decision>,
        remaining: &[usize],
    ) -> Transacted {
        let (before, address) = (kept.messages, kept.address);
        let (mut open, mut statuses) = (Cow::Borrowed(remaining), Statuses::new());
        loop {
            let asked = || self.asked(decision, address);
            let part = part(self.parcel.envelope, &open).into_owned();
            let mut delivery = Delivery::of(&part);
            self.transaction(&mut kept.connection, part, &open, asked, &mut delivery).await;
            let is_first = kept.messages == before;
            kept.messages += 1;
            let ending = delivery.end.as_ref().map_or_else(Failure::ending, |_| Ending::Finished);
            if before > 0 && is_first && delivery.may_be_repeated() {
                let (failure, left) = (None, Vec::new());
                return Transacted { is_to_be_repeated: true, ending, failure, statuses, left };
            }
            statuses.reserve(open.len());
            for (at, &index) in open.iter().enumerate() {
                let status = delivery.status(at);
                statuses.extend(status.map(|status| (index, status)));
                if !status.is_some_and(is_final) {
                    let reply = delivery.reply(at).cloned();
                    self.note(index, RecipientOutcome { reply, ..asked() });
                }
            }
            let left = open.iter().enumerate().filter(|(at, _)| self.is_left(&delivery, *at));
            let left: Vec<usize> = left.map(|(_, &index)| index).collect();
            let (ending, failure, left) = match delivery.end {
                Err(failure) => (ending, Some(Arc::new(failure)), Vec::new()),
                // 421 after the client was welcome.
                Ok(_) if kept.connection.is_over() => (Ending::ShutDown, None, Vec::new()),
                // A server that accepted no recipient would accept none the next time.
                Ok(_) if left.is_empty() || left.len() == open.len() => (ending, None, Vec::new()),
                Ok(_) if kept.connection.transactions_left() == Some(0) => (ending, None, left),
                Ok(_) => {
                    open = Cow::Owned(left);
                    continue;
                }
            };
            if let Some(failure) = &failure {
                for &index in &*open {
                    let failure = || Some(Arc::clone(failure));
                    let index = self.parcel.indices[index];
                    self.parcel.journal.note(index, |latest| latest.failure = failure());
                }
            }
            return Transacted { is_to_be_repeated: false, ending, failure, statuses, left };
        }
    }

    /// Whether a recipient waits for another transaction: over the limits that were announced
    /// (RFC 9422, section 4), or refused for them alone (RFC 5321, section 4.5.3.1.10).
    fn is_left(&self, delivery: &Delivery, at: usize) -> bool {
        let taken = matches!(delivery.end, Ok(OutcomeBuf::Accepted(_) | OutcomeBuf::PerRecipient));
        self.outbound.smtp.leave_over_limit
            && (delivery.is_left(at) || delivery.is_one_too_many(at) && taken)
    }

    /// Runs one transaction. What is final for a recipient is told at once, while the connection
    /// goes on.
    async fn transaction(
        &self,
        connection: &mut Connection<TcpStream>,
        part: Arc<Envelope>,
        open: &[usize],
        asked: impl Fn() -> RecipientOutcome + Sync,
        delivery: &mut Delivery,
    ) {
        let Parcel { indices, message, journal, .. } = *self.parcel;
        let mut settled = |at: usize, delivery: &Delivery| {
            if let Some(status) = delivery.status(at).filter(|&status| is_final(status)) {
                let reply = delivery.reply(at).cloned();
                let outcome = RecipientOutcome { status, reply, ..asked() };
                journal.settle(indices[open[at]], outcome);
            }
        };
        let uri = message.uri().filter(|_| connection.capabilities().fetches_imap());
        if uri.is_some() {
            let body = &mut tokio::io::empty();
            connection.send_observed(part, body, uri, delivery, &mut settled).await;
        } else {
            // The server's time limit for an idle client is about the same as the one here.
            match opened(message, self.outbound.smtp.timeouts.idle).await {
                Ok(mut body) => {
                    let body = &mut body;
                    connection.send_observed(part, body, None, delivery, &mut settled).await;
                }
                Err(error) => delivery.end = Err(Failure::Source(error)),
            }
        }
        match &delivery.end {
            Ok(end) => tracing::info!(?end, "delivered or refused"),
            Err(failure) => tracing::info!(%failure, "not delivered here"),
        }
    }
}

/// Whether no other host can change this status.
const fn is_final(status: RecipientStatus) -> bool {
    matches!(status, RecipientStatus::Delivered | RecipientStatus::Bounced(_))
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
