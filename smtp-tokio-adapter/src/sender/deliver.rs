//! A route walked to its end, with every fallback that its plans allow.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smtp_proto::client::Envelope;
use smtp_proto::fallback::Fallback;
use smtp_proto::route::{Ending, LOOKUP_FAILED, Manner, Next, RecipientStatus, Route};
use smtp_proto::wire::host::HostName;
use smtp_tls_policy::inquiry::NotDialled;
use smtp_tls_policy::tlsrpt::ReportedSession;

use crate::client::outbound::Outbound;
use crate::client::outcome::{Decision, Failure, LOCAL, Spoken};
use crate::client::target::Target;
use crate::convert;
use crate::lookups::Lookups;
use crate::sender::Sender;
use crate::sender::dial::{Dialled, Dialling, Parcel};
use crate::sender::job::Job;
use crate::sender::known::{Course, Ready};
use crate::sender::message::Message;
use crate::sender::pool::KeptFor;
use crate::sender::report::{DialAttempt, Journal, RecipientOutcome, Walked};
use crate::sender::shown::Shown;

/// Settles the recipients that cannot be sent, because their addresses or that of the sender break
/// the rules for addresses: no host can change that, so none is asked. Returns the indices of the
/// others.
pub(super) fn sendable<'a>(
    outbound: &Outbound,
    envelope: &'a Envelope,
    journal: &'a Journal<'_>,
) -> impl Iterator<Item = usize> + 'a {
    let rules = outbound.smtp.addresses;
    let sender = envelope.reverse_path.check(rules).map_err(Failure::Sender);
    let sender = sender.map_err(Arc::new);
    let recipients = envelope.recipients.iter().enumerate();
    recipients.filter_map(move |(index, recipient)| {
        let recipient = || recipient.path.check(rules).map_err(Failure::Recipient);
        let failure = match &sender {
            Ok(()) => recipient().map_err(Arc::new).err(),
            Err(failure) => Some(Arc::clone(failure)),
        };
        let Some(failure) = failure else { return Some(index) };
        let status = failure.status().unwrap_or(RecipientStatus::Deferred(LOCAL));
        let failure = Some(failure);
        journal.settle(index, RecipientOutcome { failure, ..RecipientOutcome::undialled(status) });
        None
    })
}

/// Walks a route until each recipient has its final status, and writes each into the journal.
pub(super) async fn walk<L: Lookups, M: Message>(
    job: &Job<'_, L, M>,
    course: &Course,
    parcel: &Parcel<'_, '_, M>,
) -> Walked {
    let mut walk = Walk::begin(job.sender, course, parcel);
    loop {
        let known = match walk.route.next() {
            Next::Done { .. } => return walk.finish(),
            Next::Prepare { host } => job.known(host).ok_or_else(|| host.clone()),
            // `dial_host` dials until the route asks for another host.
            Next::Dial { .. } => {
                walk.route.ended(Ending::Local(LOCAL));
                continue;
            }
        };
        let looked_up;
        let ready = match known {
            Ok(known) => known,
            Err(host) => match job.ready(&host).await {
                Ok(Some(ready)) => {
                    looked_up = ready;
                    &looked_up
                }
                Ok(None) => {
                    walk.pass_over_unnamed(&host);
                    continue;
                }
                Err(why) => {
                    walk.pass_over(&host, why);
                    continue;
                }
            },
        };
        walk.dial_host(ready).await;
    }
}

/// A route on its way.
struct Walk<'a, 'j, M> {
    outbound: &'a Outbound,
    kept: KeptFor<'a>,
    parcel: &'a Parcel<'a, 'j, M>,
    route: Route,
    walked: Walked,
}

impl<'a, 'j, M: Message> Walk<'a, 'j, M> {
    /// No host was asked yet.
    fn begin<L>(sender: &'a Sender<L>, course: &'a Course, parcel: &'a Parcel<'a, 'j, M>) -> Self {
        let seed = sender.deliveries.fetch_add(1, Ordering::Relaxed);
        let route = Route::new(&course.targets, parcel.indices.len(), &course.config, seed);
        // Most messages need one connection.
        let walked = Walked { attempts: Vec::with_capacity(1), skipped: Vec::new() };
        let kept = KeptFor { pool: &sender.pool, next_hop: &course.next_hop };
        Self { outbound: &sender.outbound, kept, parcel, route, walked }
    }

    /// Writes the final status of each recipient into the journal.
    fn finish(self) -> Walked {
        let Parcel { indices, journal, .. } = *self.parcel;
        if let Next::Done { statuses, clear_next_run } = self.route.next() {
            for (&index, &status) in indices.iter().zip(statuses) {
                let is_left = matches!(status, RecipientStatus::Deferred(_));
                journal.conclude(index, status, clear_next_run && is_left);
            }
        }
        self.walked
    }

    /// A host that is not dialled.
    #[cold]
    fn pass_over(&mut self, host: &HostName, why: NotDialled) {
        self.note_host(host);
        let status = convert::status(why.refusal.status());
        match why.refusal.ends_domain() {
            true => self.route.stop(status),
            false => self.route.skip(status),
        }
        tracing::info!(%host, %status, refusal = %why.refusal, "not dialled");
        self.walked.skipped.push((host.clone(), why));
    }

    /// A host that only the answer for an earlier delivery names. The next run of the queue asks
    /// again.
    #[cold]
    fn pass_over_unnamed(&mut self, host: &HostName) {
        self.note_host(host);
        tracing::info!(%host, "not dialled: the newest answer of the DNS does not name it");
        self.route.skip(LOOKUP_FAILED);
    }

    /// The recipients of which no host has said anything have this one.
    fn note_host(&self, host: &HostName) {
        for &index in self.parcel.indices {
            self.parcel.journal.note(index, |open| {
                open.host.get_or_insert_with(|| host.clone());
            });
        }
    }

    /// Dials the addresses of one host, until the route asks for something else.
    async fn dial_host(&mut self, ready: &Ready) {
        let addresses = &ready.addresses;
        match ready.may_retry_in_clear() {
            true => self.route.prepared_opportunistic(addresses, &ready.without_tls),
            false => self.route.prepared(addresses),
        }

        let mut at_host = AtHost::default();
        while let Next::Dial { address, manner, remaining, .. } = self.route.next() {
            let waiting = at_host.waiting.take();
            let remaining = waiting.as_deref().unwrap_or(remaining);
            let target = ready.at(address.ip(), manner);
            let before = at_host.before(address, manner);
            let mut dialled = {
                // Pinned where it is made: it is large, and would be copied to be awaited.
                let dial = pin!(self.dial(ready, &target, (address, manner), remaining, before));
                dial.await
            };
            self.note_unreached(ready, &target, &mut dialled);
            at_host.report_once(&mut dialled.attempt);
            for &(index, status) in &dialled.statuses {
                self.route.status(index, status);
            }
            at_host.ended(&mut self.route, &mut dialled);
            self.note_attempt(ready, &target, dialled.attempt);
        }
        // The route had no connection left for the second handshake.
        if let Some(last) = self.walked.attempts.last_mut() {
            last.sessions.append(&mut at_host.held);
        }
    }

    /// Makes one connection, or takes one from the pool, and sends the message over it.
    async fn dial(
        &self,
        ready: &Ready,
        target: &Arc<Target>,
        (address, manner): (SocketAddr, Manner),
        remaining: &[usize],
        before: Option<Arc<Decision>>,
    ) -> Dialled {
        // An address at which TLS is remembered to be broken must not win for being nearer.
        let rivals = self.route.rivals();
        let others: Vec<SocketAddr> =
            rivals.filter(|it| *ready.at(it.ip(), manner) == *target).collect();
        let dialling = Dialling {
            outbound: self.outbound,
            kept: self.kept,
            target,
            address,
            others: &others,
            route: &self.route,
            parcel: self.parcel,
            before,
            ready,
        };
        let span = tracing::info_span!("smtp_deliver", host = %ready.host, address = %address);
        tracing::Instrument::instrument(dialling.run(remaining), span).await
    }

    /// The addresses that were dialled before this one, each with an attempt of its own.
    fn note_unreached(&mut self, ready: &Ready, target: &Target, dialled: &mut Dialled) {
        let unreached: Vec<SocketAddr> = dialled.unreached.iter().map(|it| it.0).collect();
        self.route.raced(&unreached, dialled.attempt.address);
        for (address, failure) in std::mem::take(&mut dialled.unreached) {
            let undecided = Decision::undecided(&target.plan, target.is_clear());
            self.walked.attempts.push(DialAttempt {
                host: ready.host.clone(),
                address,
                manner: target.manner,
                is_reused: false,
                outrun: Vec::new(),
                decision: Arc::new(undecided),
                ending: failure.ending(),
                failure: Some(failure),
                sessions: Vec::new(),
                shown: None,
            });
        }
    }

    fn note_attempt(&mut self, ready: &Ready, target: &Target, mut attempt: DialAttempt) {
        // Of a host with one address this would be remembered in vain.
        let is_useful = |it: &Shown| !it.is_no_starttls() || ready.addresses.len() > 1;
        attempt.shown = Shown::by(target, &attempt.decision, attempt.is_reused).filter(is_useful);
        self.walked.attempts.push(attempt);
    }
}

/// What the connections to one host leave for the next ones to it.
#[derive(Default)]
struct AtHost {
    /// Why TLS was given up at an address, for the retry in clear text.
    given_up: Vec<(SocketAddr, Arc<Decision>)>,
    /// Recipients that the server would take on another connection.
    waiting: Option<Vec<usize>>,
    /// What would be reported of a connection whose handshake is repeated.
    held: Vec<ReportedSession>,
}

impl AtHost {
    /// The last decision at this address, if a retry in clear text is what it led to.
    fn before(&self, address: SocketAddr, manner: Manner) -> Option<Arc<Decision>> {
        if manner != Manner::ClearText {
            return None;
        }
        let (_, before) = self.given_up.iter().rev().find(|(earlier, _)| *earlier == address)?;
        let clear = Decision { channel: Spoken::Clear, tls: None, ..(**before).clone() };
        Some(Arc::new(clear))
    }

    /// RFC 8460, section 4.4: both handshakes are one session, and the second one decides. So does
    /// a kept connection, whose session was reported when it was opened.
    fn report_once(&mut self, attempt: &mut DialAttempt) {
        let earlier = std::mem::take(&mut self.held);
        if attempt.sessions.is_empty() && !attempt.is_reused {
            attempt.sessions = earlier;
        }
        let again = Fallback::RetryPlainHello;
        if matches!(attempt.ending, Ending::NoTls { fallback, .. } if fallback == again) {
            self.held = std::mem::take(&mut attempt.sessions);
        }
    }

    /// Tells the route how the connection ended, unless recipients wait for another one.
    fn ended(&mut self, route: &mut Route, dialled: &mut Dialled) {
        if !dialled.left.is_empty() {
            self.waiting = Some(std::mem::take(&mut dialled.left));
            return;
        }
        let DialAttempt { address, manner, decision, ending, .. } = &dialled.attempt;
        route.ended(*ending);
        if *manner != Manner::ClearText && matches!(ending, Ending::NoTls { .. }) {
            self.given_up.push((*address, Arc::clone(decision)));
        }
    }
}
