//! A route walked to its end, with every fallback that its plans allow.

use std::net::SocketAddr;
use std::sync::Arc;

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
use crate::metering;
use crate::sender::dial::{Dialled, Dialling, KeptFor, Parcel};
use crate::sender::job::Job;
use crate::sender::known::Ready;
use crate::sender::message::Message;
use crate::sender::report::{DialAttempt, Journal, RecipientOutcome, Walked};
use crate::sender::shown::Shown;

/// Settles the recipients that cannot be sent, because their addresses or that of the sender break
/// the rules for addresses: no host can change that, so none is asked. Returns the indices of the
/// others.
pub(super) fn sendable(
    outbound: &Outbound,
    envelope: &Envelope,
    journal: &Journal<'_>,
) -> Vec<usize> {
    let rules = outbound.smtp.addresses;
    let sender = envelope.reverse_path.check(rules).err();
    let mut sendable = Vec::with_capacity(envelope.recipients.len());
    for (index, recipient) in envelope.recipients.iter().enumerate() {
        let failure = match (sender, recipient.path.check(rules)) {
            (Some(error), _) => Failure::Sender(error),
            (None, Err(error)) => Failure::Recipient(error),
            (None, Ok(())) => {
                sendable.push(index);
                continue;
            }
        };
        let status = failure.status().unwrap_or(RecipientStatus::Deferred(LOCAL));
        let failure = Some(Arc::new(failure));
        let outcome = RecipientOutcome { failure, ..RecipientOutcome::undialled(status) };
        journal.settle(index, outcome);
    }
    sendable
}

/// Walks a route until each recipient has its final status, and writes each into the journal.
pub(super) async fn walk<L: Lookups, M: Message>(
    outbound: &Outbound,
    kept: KeptFor<'_>,
    route: Route,
    job: &Job<'_, L, M>,
    parcel: &Parcel<'_, '_, M>,
) -> Walked {
    let mut walk = Walk::begin(outbound, kept, route, parcel);
    loop {
        let host = match walk.route.next() {
            Next::Done { .. } => return walk.finish(),
            Next::Prepare { host } => host.clone(),
            // `dial_host` dials until the route asks for another host.
            Next::Dial { .. } => {
                walk.route.ended(Ending::Local(LOCAL));
                continue;
            }
        };
        match job.ready(&host).await {
            Ok(Some(ready)) => walk.dial_host(&host, &ready).await,
            Ok(None) => walk.pass_over_unnamed(&host),
            Err(why) => walk.pass_over(&host, why),
        }
    }
}

/// A route on its way.
struct Walk<'a, 'j, M> {
    outbound: &'a Outbound,
    kept: KeptFor<'a>,
    parcel: &'a Parcel<'a, 'j, M>,
    route: Route,
    /// What the last host that was asked said of each recipient.
    latest: Vec<RecipientOutcome>,
    walked: Walked,
}

impl<'a, 'j, M: Message> Walk<'a, 'j, M> {
    /// No host was asked yet.
    fn begin(
        outbound: &'a Outbound,
        kept: KeptFor<'a>,
        route: Route,
        parcel: &'a Parcel<'a, 'j, M>,
    ) -> Self {
        let none = RecipientOutcome::undialled(RecipientStatus::Deferred(LOCAL));
        let latest = vec![none; parcel.envelope.recipients.len()];
        Self { outbound, kept, parcel, route, latest, walked: Walked::default() }
    }

    /// Writes the final status of each recipient into the journal.
    fn finish(self) -> Walked {
        if let Next::Done { statuses, clear_next_run } = self.route.next() {
            for (index, (&status, outcome)) in statuses.iter().zip(self.latest).enumerate() {
                let is_left = matches!(status, RecipientStatus::Deferred(_));
                let clear_next_run = clear_next_run && is_left;
                let outcome = RecipientOutcome { status, clear_next_run, ..outcome };
                self.parcel.journal.settle(self.parcel.indices[index], outcome);
            }
        }
        self.walked
    }

    /// A host that is not dialled.
    fn pass_over(&mut self, host: &HostName, why: NotDialled) {
        for outcome in &mut self.latest {
            outcome.host.get_or_insert_with(|| host.clone());
        }
        let status = convert::status(why.refusal.status());
        match why.refusal.ends_domain() {
            true => self.route.stop(status),
            false => self.route.skip(status),
        }
        tracing::info!(%host, %status, refusal = %why.refusal, "not dialled");
        metering::not_dialled(why.refusal.reason());
        self.walked.skipped.push((host.clone(), why));
    }

    /// A host that only the answer for an earlier delivery names. The next run of the queue asks
    /// again.
    fn pass_over_unnamed(&mut self, host: &HostName) {
        for outcome in &mut self.latest {
            outcome.host.get_or_insert_with(|| host.clone());
        }
        tracing::info!(%host, "not dialled: the newest answer of the DNS does not name it");
        self.route.skip(LOOKUP_FAILED);
    }

    /// Dials the addresses of one host, until the route asks for something else.
    async fn dial_host(&mut self, host: &HostName, ready: &Ready) {
        let addresses = &ready.addresses;
        match ready.may_retry_in_clear() {
            true => self.route.prepared_opportunistic(addresses, &ready.without_tls),
            false => self.route.prepared(addresses),
        }

        let mut at_host = AtHost::default();
        while let Next::Dial { address, manner, remaining, .. } = self.route.next() {
            let remaining = at_host.waiting.take().unwrap_or_else(|| remaining.to_vec());
            let target = ready.at(address.ip(), manner);
            let mut dialled =
                self.dial(host, ready, &target, (address, manner), &remaining, &at_host).await;
            self.note_unreached(host, &target, &mut dialled);
            at_host.report_once(&mut dialled);
            self.note_statuses(&remaining, &mut dialled);
            at_host.ended(&mut self.route, manner, &remaining, &dialled);
            self.note_attempt(host, ready, &target, dialled);
        }
        // The route had no connection left for the second handshake.
        if let Some(last) = self.walked.attempts.last_mut() {
            last.sessions.append(&mut at_host.held);
        }
    }

    /// Makes one connection, or takes one from the pool, and sends the message over it.
    async fn dial(
        &self,
        host: &HostName,
        ready: &Ready,
        target: &Arc<Target>,
        (address, manner): (SocketAddr, Manner),
        remaining: &[usize],
        at_host: &AtHost,
    ) -> Dialled {
        // An address at which TLS is remembered to be broken must not win for being nearer.
        let rivals = self.route.rivals();
        let others: Vec<SocketAddr> =
            rivals.filter(|it| ready.at(it.ip(), manner) == *target).collect();
        let dialling = Dialling {
            outbound: self.outbound,
            kept: self.kept,
            target,
            host,
            address,
            others: &others,
            route: &self.route,
            parcel: self.parcel,
            remaining,
            before: at_host.before(address, manner),
            ready,
        };
        let span = tracing::info_span!("smtp_deliver", host = %host, address = %address);
        tracing::Instrument::instrument(dialling.run(), span).await
    }

    /// The addresses that were dialled before this one, each with an attempt of its own.
    fn note_unreached(&mut self, host: &HostName, target: &Target, dialled: &mut Dialled) {
        let unreached: Vec<SocketAddr> = dialled.unreached.iter().map(|it| it.0).collect();
        self.route.raced(&unreached, dialled.address);
        for (address, failure) in std::mem::take(&mut dialled.unreached) {
            let undecided = Decision::undecided(&target.plan, target.is_clear());
            self.walked.attempts.push(DialAttempt {
                host: host.clone(),
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

    /// What the connection came to for each recipient that remained.
    fn note_statuses(&mut self, remaining: &[usize], dialled: &mut Dialled) {
        let statuses = std::mem::take(&mut dialled.statuses);
        let outcomes = std::mem::take(&mut dialled.outcomes);
        for ((&index, status), outcome) in remaining.iter().zip(statuses).zip(outcomes) {
            self.latest[index] = outcome;
            if let Some(status) = status {
                self.route.status(index, status);
            }
        }
    }

    fn note_attempt(&mut self, host: &HostName, ready: &Ready, target: &Target, dialled: Dialled) {
        let Dialled { address, is_reused, decision, sessions, ending, failure, outrun, .. } =
            dialled;
        // Of a host with one address this would be remembered in vain.
        let is_useful = |it: &Shown| !it.is_no_starttls() || ready.addresses.len() > 1;
        let shown = Shown::by(target, &decision, is_reused).filter(is_useful);
        self.walked.attempts.push(DialAttempt {
            host: host.clone(),
            address,
            manner: target.manner,
            is_reused,
            outrun,
            decision,
            ending,
            failure,
            sessions,
            shown,
        });
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
    fn report_once(&mut self, dialled: &mut Dialled) {
        let earlier = std::mem::take(&mut self.held);
        if dialled.sessions.is_empty() && !dialled.is_reused {
            dialled.sessions = earlier;
        }
        let again = Fallback::RetryPlainHello;
        if matches!(dialled.ending, Ending::NoTls { fallback, .. } if fallback == again) {
            self.held = std::mem::take(&mut dialled.sessions);
        }
    }

    /// Tells the route how the connection ended, unless recipients wait for another one.
    fn ended(&mut self, route: &mut Route, manner: Manner, remaining: &[usize], dialled: &Dialled) {
        if !dialled.left.is_empty() {
            self.waiting = Some(dialled.left.iter().map(|&position| remaining[position]).collect());
            return;
        }
        route.ended(dialled.ending);
        if manner != Manner::ClearText && matches!(dialled.ending, Ending::NoTls { .. }) {
            self.given_up.push((dialled.address, Arc::clone(&dialled.decision)));
        }
    }
}
