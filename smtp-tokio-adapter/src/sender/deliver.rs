//! A whole delivery: a [`Route`] walked to its end, with every fallback that its plans allow.
//!
//! [`deliver`] asks [`Hosts`] for addresses and plans, dials, retries in clear text where
//! [`after`](smtp_proto::fallback::after) said so, and reports every connection with the decision and its reason.
//! [`Sender`](crate::Sender) is the `Hosts` of who has a resolver.

use std::net::SocketAddr;

use smtp_proto::client::Envelope;
use smtp_proto::fallback::TlsMode;
use smtp_proto::route::{Next, Prepared, Route};

use crate::client::outbound::{Outbound, Target, rules};
use crate::client::outcome::{Decision, Spoken};
use crate::sender::dial::{Dialled, Parcel, dial};
use crate::sender::hosts::{Candidate, Hosts};
use crate::sender::message::Message;
use crate::sender::report::{DialAttempt, Report};

/// Delivers one message along a route until every recipient has its final word.
///
/// Where a server takes only so many recipients or transactions at once, and the client's
/// [`over_limit`](smtp_proto::client::ClientConfig::over_limit) is `Leave`, the others follow in further transactions on the
/// same connection, or on another one to the same host.
///
/// Each connection is one span, with the decision and its reason as an event.
pub async fn deliver(
    outbound: &Outbound,
    mut route: Route,
    hosts: &impl Hosts,
    envelope: &Envelope,
    message: &impl Message,
) -> Report {
    let (mut attempts, mut skipped) = (Vec::new(), Vec::new());
    let mut candidate: Option<Candidate> = None;
    // Why TLS was given up at an address of this host, for the retry in clear text.
    let mut led_here: Vec<(SocketAddr, Decision)> = Vec::new();
    // Whom the host that was dialled last would take on another connection.
    let mut waiting: Option<Vec<usize>> = None;
    loop {
        let (address, host, clear_retry, remaining) = match route.next() {
            Next::Done { statuses, clear_next_run } => {
                return Report { words: statuses.to_vec(), attempts, skipped, clear_next_run };
            }
            Next::Prepare { host } => {
                led_here.clear();
                let host = host.clone();
                match hosts.prepare(&host).await {
                    Ok(found) => {
                        let rules = rules(&found.plan, found.credentials.as_ref());
                        let mut prepared = Prepared::new(found.addresses.clone());
                        prepared.may_retry_in_clear = rules.mode == TlsMode::Opportunistic
                            && found.plan.attempt() != smtp_tls_policy::plan::Attempt::Implicit;
                        route.prepared(prepared);
                        candidate = Some(found);
                    }
                    Err(skip) => {
                        match &skip.refusal {
                            Some(refusal) if refusal.ends_domain() => route.stop(skip.status),
                            _ => route.skip(skip.status),
                        }
                        let refusal = skip.refusal.as_ref().map(tracing::field::display);
                        tracing::info!(%host, status = %skip.status, refusal, "not dialled");
                        skipped.push((host.to_string(), skip));
                    }
                }
                continue;
            }
            Next::Dial { host, address, clear_retry, remaining, .. } => (
                address,
                host.as_str().to_owned(),
                clear_retry,
                waiting.take().unwrap_or_else(|| remaining.to_vec()),
            ),
        };
        let Some(candidate) = &candidate else {
            return Report { words: Vec::new(), attempts, skipped, clear_next_run: false };
        };
        let target = Target {
            host: &candidate.host,
            plan: candidate.plan_for(address.ip()),
            identity: candidate.identity.as_ref(),
            credentials: candidate.credentials.as_ref(),
            retry_in_clear: clear_retry,
        };
        // A retry in clear text is what the earlier decision at this address led to.
        let before = led_here
            .iter()
            .find(|(earlier, _)| clear_retry && *earlier == address)
            .map(|(_, before)| Decision { channel: Spoken::Clear, tls: None, ..before.clone() });
        let parcel = Parcel { envelope, remaining: &remaining, message };
        let dialled = dial(outbound, &target, address, parcel, before, &candidate.reporting);
        let Dialled { decision, sessions, words, ending, left } = tracing::Instrument::instrument(
            dialled,
            tracing::info_span!("smtp_deliver", host = %host, address = %address),
        )
        .await;
        for (&index, word) in remaining.iter().zip(words) {
            if let Some(word) = word {
                route.status(index, word);
            }
        }
        if !left.is_empty() {
            // The same host once more, for those whom it takes on another connection; it has spoken about the others.
            waiting = Some(left.iter().map(|&position| remaining[position]).collect());
        } else {
            route.ended(ending);
            if !clear_retry {
                led_here.push((address, decision.clone()));
            }
        }
        attempts.push(DialAttempt { host, address, decision, ending, sessions });
    }
}
