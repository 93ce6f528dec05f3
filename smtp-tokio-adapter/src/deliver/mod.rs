//! A whole delivery: a [`Route`] walked to its end, with every fallback that its plans allow.
//!
//! [`deliver`] asks [`Hosts`] for addresses and plans, dials, retries in clear text where
//! [`after`](smtp_proto::fallback::after) said so, and reports every connection with the decision and its reason.
//! [`Sender`](crate::Sender) is the `Hosts` of who has a resolver.

use std::io;
use std::net::{IpAddr, SocketAddr};

use smtp_proto::client::Envelope;
use smtp_proto::fallback::TlsMode;
use smtp_proto::route::{Ending, Next, Prepared, Route, Word};
use smtp_proto::sasl::client::Credentials;
use smtp_proto::wire::command::Uri;
use smtp_proto::wire::params::BodyType;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::Host;
use smtp_tls_policy::plan::{Plan, Refusal};
use smtp_tls_policy::rules::IdentityId;
use smtp_tls_policy::tlsrpt::{ReportedSession, Reporting};
use tokio::io::{AsyncRead, AsyncReadExt};

mod dial;

use self::dial::{Dialled, Parcel, dial};
use crate::connection::{Outbound, Target, rules};
use crate::explain;
use crate::outcome::{Decision, Spoken};

/// Octets that [`measure`] reads at a time.
const READ: usize = 64 * 1024;

/// What is known of a host before it is dialled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Candidate {
    /// The host.
    pub host: Host,
    /// Its addresses in the order in which to try them.
    pub addresses: Vec<IpAddr>,
    /// What [`plan`](smtp_tls_policy::plan::plan()) made of the facts.
    pub plan: Plan,
    /// The client certificate to show, if its connector has one.
    pub identity: Option<IdentityId>,
    /// What to authenticate with at this host: see [`Target::credentials`]. A token may be fetched for each connection.
    pub credentials: Option<Credentials>,
    /// Addresses of the host where TLS broke a short while ago, and what `plan` made of that. Empty unless set.
    pub broken: Option<(Vec<IpAddr>, Plan)>,
    /// What is to be reported of its connections (RFC 8460). Nothing unless set.
    pub reporting: Reporting,
}

impl Candidate {
    /// A host of whose addresses nothing is remembered, and to which neither a client certificate nor credentials are shown.
    pub fn new(host: Host, addresses: Vec<IpAddr>, plan: Plan) -> Self {
        Self {
            host,
            addresses,
            plan,
            identity: None,
            credentials: None,
            broken: None,
            reporting: Reporting::default(),
        }
    }

    fn plan_for(&self, address: IpAddr) -> &Plan {
        match &self.broken {
            // What is known of broken TLS allows clear text, and credentials do not.
            Some((addresses, plan))
                if self.credentials.is_none() && addresses.contains(&address) =>
            {
                plan
            }
            _ => &self.plan,
        }
    }
}

/// A host that is not dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skip {
    /// The status of those who wait, unless something better comes: 4.4.3 for a failed look-up, or the policy's.
    pub status: EnhancedCode,
    /// The policy's reasons, where it is the policy that refuses. If it [ends the domain](Refusal::ends_domain), no other
    /// host is dialled either.
    pub refusal: Option<Refusal>,
    /// What is to be reported of it (RFC 8460).
    pub session: Option<ReportedSession>,
}

impl Skip {
    /// The same, with what is to be reported of the refusal.
    #[must_use]
    pub fn reported(self, reporting: &Reporting) -> Self {
        let session = self.refusal.as_ref().and_then(|refusal| reporting.refusal(refusal.reason()));
        Self { session, ..self }
    }
}

impl From<EnhancedCode> for Skip {
    fn from(status: EnhancedCode) -> Self {
        Self { status, refusal: None, session: None }
    }
}

impl From<Refusal> for Skip {
    fn from(refusal: Refusal) -> Self {
        Self { status: explain::status(refusal.status()), refusal: Some(refusal), session: None }
    }
}

/// Looks up hosts and makes their plans, each in its turn.
pub trait Hosts: Sync {
    /// Prepares one host, or says why it is not dialled.
    fn prepare(&self, host: &str) -> impl Future<Output = Result<Candidate, Skip>> + Send;
}

/// Where a message comes from. It is opened once for each transaction.
pub trait Message: Sync {
    /// The bytes, lines ended by CRLF.
    type Body: AsyncRead + Unpin + Send;
    /// Starts from the beginning.
    fn open(&self) -> impl Future<Output = io::Result<Self::Body>> + Send;

    /// Where a submission server can fetch the whole message by itself. Used where it offers BURL (RFC 4468); everybody
    /// else gets the bytes.
    fn uri(&self) -> Option<Uri<'_>> {
        None
    }
}

impl Message for bytes::Bytes {
    type Body = io::Cursor<bytes::Bytes>;
    async fn open(&self) -> io::Result<Self::Body> {
        Ok(io::Cursor::new(self.clone()))
    }
}

/// One connection of a delivery.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The host.
    pub host: String,
    /// Its address.
    pub address: SocketAddr,
    /// What was decided about TLS.
    pub decision: Decision,
    /// How it ended.
    pub ending: Ending,
    /// What is to be reported of it (RFC 8460): one final status for each policy, or none.
    pub sessions: Vec<ReportedSession>,
}

/// How a delivery ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// The final word on each recipient, by index.
    pub words: Vec<Word>,
    /// Every connection, in order.
    pub attempts: Vec<Attempt>,
    /// The hosts that were not dialled, in order.
    pub skipped: Vec<(String, Skip)>,
    /// Clear text is allowed on the next run of the queue.
    pub clear_next_run: bool,
}

impl Report {
    /// What is to be counted by an [`Aggregate`](smtp_tls_policy::tlsrpt::Aggregate) for the reports of RFC 8460.
    pub fn sessions(&self) -> impl Iterator<Item = &ReportedSession> {
        let skipped = self.skipped.iter().filter_map(|(_, skip)| skip.session.as_ref());
        skipped.chain(self.attempts.iter().flat_map(|attempt| &attempt.sessions))
    }
}

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
    // Why the connection before this one was given up, for the retry in clear text.
    let mut led_here: Option<Decision> = None;
    // Whom the host that was dialled last would take on another connection.
    let mut waiting: Option<Vec<usize>> = None;
    loop {
        let (address, host, rules, remaining) = match route.next() {
            Next::Done { words, clear_next_run } => {
                return Report { words: words.to_vec(), attempts, skipped, clear_next_run };
            }
            Next::Prepare { host } => {
                led_here = None;
                let host = host.as_str().to_owned();
                match hosts.prepare(&host).await {
                    Ok(found) => {
                        let implicit =
                            found.plan.attempt() == smtp_tls_policy::plan::Attempt::Implicit;
                        let rules = rules(&found.plan, found.credentials.as_ref());
                        route.prepared(Prepared {
                            addresses: found.addresses.clone(),
                            rules,
                            implicit,
                        });
                        candidate = Some(found);
                    }
                    Err(skip) => {
                        match &skip.refusal {
                            Some(refusal) if refusal.ends_domain() => route.stop(skip.status),
                            _ => route.skip(skip.status),
                        }
                        let refusal = skip.refusal.as_ref().map(tracing::field::display);
                        tracing::info!(host, status = %skip.status, refusal, "not dialled");
                        skipped.push((host, skip));
                    }
                }
                continue;
            }
            Next::Dial { host, address, rules, remaining, .. } => (
                address,
                host.as_str().to_owned(),
                rules,
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
            // The route says so, and not a plan that never wanted TLS.
            retry_in_clear: rules.mode == TlsMode::Never
                && candidate.plan.attempt() != smtp_tls_policy::plan::Attempt::Clear,
        };
        // A retry in clear text is what the decision before it led to.
        let before = led_here.take().filter(|_| target.retry_in_clear).map(|before| Decision {
            channel: Spoken::Clear,
            tls: None,
            ..before
        });
        let parcel = Parcel { envelope, remaining: &remaining, message };
        let dialled =
            dial(outbound, &target, address, parcel, before.clone(), &candidate.reporting);
        let Dialled { decision, sessions, words, ending, left } = tracing::Instrument::instrument(
            dialled,
            tracing::info_span!("smtp_deliver", host = %host, address = %address),
        )
        .await;
        for (&index, word) in remaining.iter().zip(words) {
            if let Some(word) = word {
                route.word(index, word);
            }
        }
        if !left.is_empty() {
            // The same host once more, for those whom it takes on another connection; it has spoken about the others.
            waiting = Some(left.iter().map(|&position| remaining[position]).collect());
            led_here = before;
        } else {
            route.ended(ending);
            led_here = Some(decision.clone());
        }
        attempts.push(Attempt { host, address, decision, ending, sessions });
    }
}

/// What the body may be is for the caller to know; this finds out by reading it once.
///
/// Returns the octets (for [`Envelope::size`]) and the body type.
pub async fn measure(body: &mut (impl AsyncRead + Unpin)) -> io::Result<(u64, BodyType)> {
    let mut piece = bytes::BytesMut::with_capacity(READ);
    let (mut size, mut ascii) = (0, true);
    while body.read_buf(&mut piece).await? > 0 {
        size += piece.len() as u64;
        ascii &= piece.is_ascii();
        piece.clear();
    }
    Ok((size, if ascii { BodyType::SevenBit } else { BodyType::EightBitMime }))
}
