//! A route walked to its end, with every fallback that its plans allow.

use std::net::SocketAddr;
use std::sync::Arc;

use smtp_proto::client::Envelope;
use smtp_proto::fallback::Fallback;
use smtp_proto::route::{Ending, Manner, Next, RecipientStatus, Route, RouteConfig, Targets};
use smtp_proto::wire::host::HostName;
use smtp_tls_policy::tlsrpt::ReportedSession;

use crate::client::outbound::Outbound;
use crate::client::outcome::{Decision, Failure, LOCAL, MessageError, Spoken};
use crate::sender::dial::{Dialled, Dialling, KeptFor, Parcel};
use crate::sender::hosts::{Hosts, Skip};
use crate::sender::known::Ready;
use crate::sender::message::Message;
use crate::sender::report::{DialAttempt, Journal, RecipientOutcome, Report};
use crate::sender::shown::Shown;

impl Outbound {
    /// Sends one message along a route, with hosts whose addresses and plans the caller makes.
    /// [`Sender`](crate::Sender) makes them from the DNS, MTA-STS and the connectors.
    ///
    /// Each address of a host is tried, first with TLS as its plan says; what follows a failure of
    /// TLS, [`after`](smtp_proto::fallback::after) decides. A server that takes only so many
    /// recipients or transactions gets the others in further transactions, on the same connection
    /// or another one, if [`leave_over_limit`](smtp_proto::client::ClientConfig::leave_over_limit)
    /// is set.
    /// Each connection is one `tracing` span, with the decision about TLS as an event.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: which recipients have the message is then unknown. To keep what is known,
    /// use [`Sender::send_with`](crate::Sender::send_with).
    pub async fn send_along(
        &self,
        targets: Targets,
        config: &RouteConfig,
        hosts: &impl Hosts,
        envelope: &Envelope,
        message: &impl Message,
    ) -> Report {
        let mut tell = |_: usize, _: &RecipientOutcome| {};
        let journal = Journal::new(envelope.recipients.len(), &mut tell);
        let indices: Vec<usize> = (0..envelope.recipients.len()).collect();
        let route = Route::new(targets, indices.len(), config);
        let envelope = Arc::new(envelope.clone());
        let parcel = Parcel { envelope: &envelope, indices: &indices, message, journal: &journal };
        let walked = walk(self, None, route, &Unkept(hosts), &parcel).await;
        let Walked { attempts, skipped } = walked;
        let recipients = journal.finish(RecipientStatus::Deferred(LOCAL));
        Report { recipients, attempts, skipped }
    }
}

/// Prepares hosts, each in its turn.
pub(super) trait Preparing: Sync {
    /// Prepares one host, or says why it is not dialled.
    fn ready(&self, host: &HostName) -> impl Future<Output = Result<Arc<Ready>, Skip>> + Send;
}

/// Nothing of these hosts is kept.
struct Unkept<'a, H>(&'a H);

impl<H: Hosts> Preparing for Unkept<'_, H> {
    async fn ready(&self, host: &HostName) -> Result<Arc<Ready>, Skip> {
        Ok(Arc::new(Ready::new(self.0.prepare(host).await?)))
    }
}

/// The connections of one route, and the hosts of it that were not dialled.
#[derive(Default)]
pub(super) struct Walked {
    pub(super) attempts: Vec<DialAttempt>,
    pub(super) skipped: Vec<(String, Skip)>,
}

/// Settles the recipients that cannot be sent, because their addresses or that of the sender break
/// the rules for addresses: no host can change that, so none is asked. Returns their positions in
/// the envelope and their statuses. `indices` are those of the journal.
pub(super) fn refuse(
    outbound: &Outbound,
    envelope: &Envelope,
    indices: &[usize],
    journal: &Journal<'_>,
) -> Vec<(usize, RecipientStatus)> {
    let rules = outbound.smtp.addresses;
    let sender = envelope.reverse_path.borrow().check(rules).err();
    let mut refused = Vec::new();
    for (position, recipient) in envelope.recipients.iter().enumerate() {
        let failure = match (sender, recipient.path.borrow().check(rules)) {
            (Some(error), _) => Failure::Message(MessageError::Sender(error)),
            (None, Err(error)) => Failure::Message(MessageError::Recipient(error)),
            (None, Ok(())) => continue,
        };
        let Some(status) = failure.status() else { continue };
        let failure = Some(Arc::new(failure));
        let outcome = RecipientOutcome { failure, ..RecipientOutcome::undialled(status) };
        journal.settle(indices[position], outcome);
        refused.push((position, status));
    }
    refused
}

/// Walks a route until each recipient has its final status, and writes each into the journal.
pub(super) async fn walk(
    outbound: &Outbound,
    kept: Option<KeptFor<'_>>,
    mut route: Route,
    hosts: &impl Preparing,
    parcel: &Parcel<'_, '_, impl Message>,
) -> Walked {
    let mut walked = Walked::default();
    for (position, status) in refuse(outbound, parcel.envelope, parcel.indices, parcel.journal) {
        route.status(position, status);
    }
    let none = RecipientOutcome::undialled(RecipientStatus::Deferred(LOCAL));
    // What the last host that was asked said of each recipient.
    let mut latest = vec![none; parcel.envelope.recipients.len()];
    loop {
        let host = match route.next() {
            Next::Done { statuses, clear_next_run } => {
                for (index, (&status, outcome)) in statuses.iter().zip(latest).enumerate() {
                    let is_left = matches!(status, RecipientStatus::Deferred(_));
                    let clear_next_run = clear_next_run && is_left;
                    let outcome = RecipientOutcome { status, clear_next_run, ..outcome };
                    parcel.journal.settle(parcel.indices[index], outcome);
                }
                return walked;
            }
            Next::Prepare { host } => host.clone(),
            // `walk_host` dials until the route asks for another host.
            Next::Dial { .. } => {
                route.ended(Ending::Local(LOCAL));
                continue;
            }
        };
        match hosts.ready(&host).await {
            Ok(ready) => {
                let addresses = ready.addresses.clone();
                match ready.may_retry_in_clear() {
                    true => route.prepared_opportunistic(addresses, &ready.without_tls),
                    false => route.prepared(addresses),
                }
                let attempts = &mut walked.attempts;
                walk_host(
                    outbound,
                    kept,
                    &mut route,
                    host.as_str(),
                    &ready,
                    parcel,
                    &mut latest,
                    attempts,
                )
                .await;
            }
            Err(skip) => {
                for outcome in &mut latest {
                    outcome.host.get_or_insert_with(|| host.to_string());
                }
                match &skip.refusal {
                    Some(refusal) if refusal.ends_domain() => route.stop(skip.status),
                    _ => route.skip(skip.status),
                }
                let refusal = skip.refusal.as_ref().map(tracing::field::display);
                tracing::info!(%host, status = %skip.status, refusal, "not dialled");
                walked.skipped.push((host.to_string(), skip));
            }
        }
    }
}

/// Dials the addresses of one host, until the route asks for something else.
#[expect(clippy::too_many_arguments, reason = "all of them differ in each call")]
async fn walk_host(
    outbound: &Outbound,
    kept: Option<KeptFor<'_>>,
    route: &mut Route,
    host: &str,
    ready: &Ready,
    parcel: &Parcel<'_, '_, impl Message>,
    latest: &mut [RecipientOutcome],
    attempts: &mut Vec<DialAttempt>,
) {
    // Why TLS was given up at an address of this host, for the retry in clear text.
    let mut led_here: Vec<(SocketAddr, Arc<Decision>)> = Vec::new();
    // Recipients that the server would take on another connection.
    let mut waiting: Option<Vec<usize>> = None;
    // What would be reported of a connection whose handshake is repeated.
    let mut held: Vec<ReportedSession> = Vec::new();
    while let Next::Dial { address, manner, remaining, .. } = route.next() {
        let remaining = waiting.take().unwrap_or_else(|| remaining.to_vec());
        let is_clear_retry = manner == Manner::ClearText;
        let target = ready.at(address.ip(), manner);
        // An address at which TLS is remembered to be broken must not win for being nearer.
        let others: Vec<SocketAddr> =
            route.rivals().filter(|it| ready.at(it.ip(), manner) == target).collect();
        // A retry in clear text is what the last decision at this address led to.
        let mut earlier = led_here.iter().rev();
        let before = earlier.find(|(earlier, _)| is_clear_retry && *earlier == address).map(
            |(_, before)| {
                Arc::new(Decision { channel: Spoken::Clear, tls: None, ..(**before).clone() })
            },
        );
        let dialling = Dialling {
            outbound,
            kept,
            target: &target,
            host,
            address,
            others: &others,
            route,
            parcel,
            remaining: &remaining,
            before,
            ready,
        };
        let dialled = dialling.run();
        let span = tracing::info_span!("smtp_deliver", host = %host, address = %address);
        let dialled = tracing::Instrument::instrument(dialled, span).await;
        let Dialled { decision, mut sessions, statuses, outcomes, ending, failure, left, .. } =
            dialled;
        let unreached: Vec<SocketAddr> = dialled.unreached.iter().map(|it| it.0).collect();
        route.raced(&unreached, dialled.address);
        attempts.extend(dialled.unreached.into_iter().map(|(address, failure)| {
            let undecided = Decision::undecided(&target.plan, target.is_clear());
            DialAttempt {
                host: host.to_owned(),
                address,
                manner: target.manner,
                is_reused: false,
                outrun: Vec::new(),
                decision: Arc::new(undecided),
                ending: failure.ending(),
                failure: Some(failure),
                sessions: Vec::new(),
                shown: None,
            }
        }));
        // RFC 8460, section 4.4: both handshakes are one session, and the second one decides.
        // So does a kept connection, whose session was reported when it was opened.
        let earlier = std::mem::take(&mut held);
        if sessions.is_empty() && !dialled.is_reused {
            sessions = earlier;
        }
        if matches!(ending, Ending::NoTls { fallback: Fallback::RetryPlainHello, .. }) {
            held = std::mem::take(&mut sessions);
        }
        for ((&index, status), outcome) in remaining.iter().zip(statuses).zip(outcomes) {
            latest[index] = outcome;
            if let Some(status) = status {
                route.status(index, status);
            }
        }
        if left.is_empty() {
            route.ended(ending);
            if !is_clear_retry {
                led_here.push((dialled.address, Arc::clone(&decision)));
            }
        } else {
            waiting = Some(left.iter().map(|&position| remaining[position]).collect());
        }
        let host = host.to_owned();
        let manner = target.manner;
        let (address, is_reused) = (dialled.address, dialled.is_reused);
        // Of a host with one address this would be remembered in vain.
        let is_useful = |it: &Shown| !it.is_no_starttls() || ready.addresses.len() > 1;
        let shown = Shown::by(&target, &decision, is_reused).filter(is_useful);
        attempts.push(DialAttempt {
            host,
            address,
            manner,
            is_reused,
            outrun: dialled.outrun,
            decision,
            ending,
            failure,
            sessions,
            shown,
        });
    }
    // The route had no connection left for the second handshake.
    if let Some(last) = attempts.last_mut() {
        last.sessions.append(&mut held);
    }
}
