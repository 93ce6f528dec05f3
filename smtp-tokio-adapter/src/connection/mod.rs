//! One connection of the sending side: [`Connection`] drives one [`Client`] over one stream.

mod auth;
mod commands;
mod drive;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smtp_proto::channel::{Channel, Peer, TlsInfo};
use smtp_proto::client::{Client, ClientConfig, ClientEvent, Envelope};
use smtp_proto::error::{ApiMisuse, Error};
use smtp_proto::fallback::{Fallback, TlsFailure, TlsMode, TlsRules};
use smtp_proto::sasl::client::{Credentials, Floor};
use smtp_proto::timeouts::Phase;
use smtp_proto::wire::capabilities::Extension;
use smtp_proto::wire::command::Uri;
use smtp_tls_policy::Host;
use smtp_tls_policy::judge::Standing;
use smtp_tls_policy::pki::TrustStore;
use smtp_tls_policy::plan::{Attempt, Plan, Requiretls};
use smtp_tls_policy::rules::IdentityId;
use smtp_tls_policy::rustls::{
    ClientTls, judge_session, server_name, session_names, verdict_of_io,
};
use tokio::io::AsyncRead;
use tokio_rustls::TlsConnector;

use crate::binding::bindings;
use crate::explain;
use crate::outcome::{Decision, Delivery, End, Failure, Spoken};
use crate::transport::{Io, Wire};

use self::auth::authenticate;
pub(crate) use self::auth::random;
use self::drive::{Driven, drive, hang_up};

/// How long closing a connection may take once its result is known.
const LINGER: Duration = Duration::from_secs(2);

/// What all deliveries of a sender have in common. Cheap to share.
#[derive(Clone)]
pub struct Outbound {
    /// Name and time limits.
    pub smtp: Arc<ClientConfig>,
    /// TLS configurations, one for each plan and identity.
    pub tls: Arc<ClientTls>,
    /// Roots and CRLs.
    pub trust: Arc<dyn TrustStore>,
    /// How long a TCP connection may take to come up. RFC 5321 names no limit; systems wait two minutes and more.
    pub connect_timeout: Duration,
}

impl Outbound {
    /// Everything at its default: 30 seconds to connect.
    pub fn new(smtp: Arc<ClientConfig>, tls: Arc<ClientTls>, trust: Arc<dyn TrustStore>) -> Self {
        Self { smtp, tls, trust, connect_timeout: Duration::from_secs(30) }
    }
}

/// Whom to speak to, and under which rules.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// The host.
    pub host: &'a Host,
    /// Its plan.
    pub plan: &'a Plan,
    /// The client certificate to show.
    pub identity: Option<&'a IdentityId>,
    /// What to authenticate with: this host's, and nobody else's. Without success no mail is sent (RFC 4954, 9). Unless they
    /// [allow clear text](Floor::Clear), TLS is required then, whatever the plan says of it.
    pub credentials: Option<&'a Credentials>,
    /// This connection takes the place of one whose TLS failed, and [`after`](smtp_proto::fallback::after) has answered
    /// [`ReconnectPlaintext`](Fallback::ReconnectPlaintext). Without effect where the plan requires TLS.
    pub retry_in_clear: bool,
}

impl Target<'_> {
    /// Whether TLS is not even asked for.
    pub(crate) fn is_clear(&self) -> bool {
        self.rules().mode == TlsMode::Never
    }

    /// Whoever asks for clear text, a plan that requires TLS keeps its rules.
    fn rules(&self) -> TlsRules {
        let rules = rules(self.plan, self.credentials);
        match rules.mode {
            TlsMode::Opportunistic if self.retry_in_clear => TlsRules::NEVER,
            TlsMode::Never | TlsMode::Opportunistic | TlsMode::Required => rules,
        }
    }
}

/// The rules of a plan for somebody with these credentials.
pub(crate) fn rules(plan: &Plan, credentials: Option<&Credentials>) -> TlsRules {
    match credentials.map(|credentials| credentials.floor) {
        // S16: never in clear text, neither they nor the mail that they are for.
        Some(Floor::Authenticated | Floor::Encrypted) => TlsRules::REQUIRED,
        Some(Floor::Clear) | None => explain::rules(plan),
    }
}

/// One connection that is ready for transactions.
pub struct Connection<S> {
    client: Client,
    wire: Wire<S>,
    plan: Plan,
    decision: Decision,
    /// What to authenticate with once more where everything starts again, and where the nonce comes from.
    credentials: Option<(Credentials, Arc<ClientTls>)>,
}

impl<S: Io> Connection<S> {
    /// Greets, learns what the server can do, and gets TLS or does without, as the rules say. The decision comes in
    /// any case.
    pub async fn open(
        outbound: &Outbound,
        target: &Target<'_>,
        stream: S,
    ) -> (Decision, Result<Self, Failure>) {
        let mut opening = Opening { outbound, target, decision: Decision::undecided(target) };
        let result = opening.run(stream).await;
        let (decision, plan) = (opening.decision, target.plan.clone());
        let credentials =
            target.credentials.map(|credentials| (credentials.clone(), Arc::clone(&outbound.tls)));
        (
            decision.clone(),
            result.map(|(client, wire)| Self { client, wire, plan, decision, credentials }),
        )
    }

    /// What the server can do.
    pub fn capabilities(&self) -> &smtp_proto::wire::capabilities::Capabilities {
        self.client.capabilities()
    }

    /// What was decided about TLS; after a failure, what became of it.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Whether the server is still there and has said nothing since the last transaction, as far as can be seen without
    /// waiting. For who keeps connections: a server that lost its patience says 421, which is no word on the next message.
    pub async fn is_idle(&mut self) -> bool {
        !self.is_over() && self.client.phase() == Phase::Idle && self.wire.is_quiet().await
    }

    /// Whether the last transaction has ended the conversation.
    pub(crate) fn is_over(&self) -> bool {
        self.client.is_over()
    }

    /// One transaction. The body is streamed; the connection can carry another afterwards if the result is `Ok`.
    pub async fn send(
        &mut self,
        envelope: Arc<Envelope>,
        body: &mut (impl AsyncRead + Unpin),
    ) -> Delivery {
        let mut delivery = Delivery::unsent(envelope.recipients.len(), Ok(End::NoRecipients));
        delivery.end = self.transact(envelope, body, None, &mut delivery).await;
        delivery
    }

    /// One transaction whose message the server fetches by itself (RFC 4468): see
    /// [`Client::write_uri`](Client::write_uri).
    pub async fn send_uri(&mut self, envelope: Arc<Envelope>, uri: Uri<'_>) -> Delivery {
        let mut envelope = (*envelope).clone();
        envelope.burl = true;
        let envelope = Arc::new(envelope);
        let mut delivery = Delivery::unsent(envelope.recipients.len(), Ok(End::NoRecipients));
        delivery.end =
            self.transact(envelope, &mut tokio::io::empty(), Some(uri), &mut delivery).await;
        delivery
    }

    /// Transactions that the server will still take on this connection (RFC 9422, 4.1); none if it sets no limit.
    pub fn transactions_left(&self) -> Option<u32> {
        self.client.transactions_left()
    }

    async fn transact(
        &mut self,
        envelope: Arc<Envelope>,
        body: &mut (impl AsyncRead + Unpin),
        uri: Option<Uri<'_>>,
        delivery: &mut Delivery,
    ) -> Result<End, Failure> {
        let envelope = self.planned(envelope)?;
        self.client.start_transaction(envelope, Instant::now()).map_err(Failure::Misuse)?;
        let (mut end, mut asked) = (None, false);
        let finished = loop {
            let driven = drive(&mut self.client, &mut self.wire, body, &mut |event| {
                match event {
                    ClientEvent::Recipient { index, reply } => {
                        delivery.recipients[index] = Some(reply.to_buf())
                    }
                    ClientEvent::Delivered { index, reply } => {
                        delivery.delivered.push((index, reply.to_buf()))
                    }
                    ClientEvent::Left { index } => delivery.left.push(index),
                    ClientEvent::SendBody if uri.is_some() => {
                        asked = true;
                        return ControlFlow::Break(());
                    }
                    ClientEvent::Finished(outcome) => {
                        end = Some(End::from(outcome));
                        return ControlFlow::Break(());
                    }
                    _ => {}
                }
                ControlFlow::Continue(())
            })
            .await;
            match uri.filter(|_| driven.is_ok() && std::mem::take(&mut asked)) {
                Some(uri) => {
                    let output = &mut self.wire.link.output;
                    self.client.write_uri(uri, true, output, Instant::now())?;
                }
                None => break driven,
            }
        };
        match (end, finished) {
            (Some(end), _) => Ok(end),
            (None, Err(failure)) => {
                Err(lost(&mut self.client, &self.plan, &mut self.decision, failure))
            }
            (None, Ok(_)) => Err(Failure::Protocol(Error::Closed)),
        }
    }

    /// The envelope as it may go over this connection. Whether MAIL carries REQUIRETLS is for the plan to say, which was made
    /// for one wish of the message and knows what that wish asked of the certificate.
    fn planned(&mut self, envelope: Arc<Envelope>) -> Result<Arc<Envelope>, Failure> {
        // RFC 8689, 4.2.1: what was offered in clear text does not count.
        let offered =
            self.client.channel().tls().is_some() && self.capabilities().has(Extension::RequireTls);
        match (self.plan.requiretls(), envelope.require_tls) {
            (Requiretls::NotWanted, false) => Ok(envelope),
            (Requiretls::Needed | Requiretls::WhereOffered, true) if offered => Ok(envelope),
            (Requiretls::Needed, true) => Err(self.decision.no_requiretls(&self.plan)),
            (Requiretls::WhereOffered, true) => Ok(without_requiretls(&envelope)),
            (Requiretls::NotWanted, true)
            | (Requiretls::Needed | Requiretls::WhereOffered, false) => Err(Failure::OtherMessage),
        }
    }

    /// Says QUIT and closes. Every result is known by then, so nothing that happens here matters.
    ///
    /// A message that was given up half-way stays so: what is left of it is not sent.
    pub async fn quit(mut self) {
        if self.client.quit().is_ok() {
            let _: Result<Driven, Failure> =
                drive(&mut self.client, &mut self.wire, &mut tokio::io::empty(), &mut |_| {
                    ControlFlow::Continue(())
                })
                .await;
        } else {
            self.wire.drop_output();
        }
        self.wire.close(Instant::now() + LINGER).await;
    }
}

/// A connection on its way to `Ready`.
struct Opening<'a> {
    outbound: &'a Outbound,
    target: &'a Target<'a>,
    decision: Decision,
}

impl<'a> Opening<'a> {
    async fn run<S: Io>(&mut self, stream: S) -> Result<(Client, Wire<S>), Failure> {
        let mut wire = Wire::new(stream);
        let mut channel = Channel::Plain;
        if self.target.plan.attempt() == Attempt::Implicit {
            let deadline = self.outbound.smtp.timeouts.deadline(Phase::Handshake, Instant::now());
            channel = match self.handshake(&mut wire, Some(deadline)).await? {
                Shaken::Good(tls) => Channel::Implicit(tls),
                // No SMTP was spoken that QUIT could end.
                Shaken::Untrusted(_) => {
                    return Err(self.no_tls(TlsFailure::Untrusted, Fallback::Forbidden, false));
                }
                Shaken::Failed { failure, timed_out } => {
                    return Err(self.no_tls(failure, Fallback::Forbidden, timed_out));
                }
            };
        }
        let smtp = Arc::clone(&self.outbound.smtp);
        let mut client = Client::new(smtp, self.target.rules(), channel, Instant::now());
        loop {
            let mut failed = None;
            let mut no_tls = None;
            let driven = drive(&mut client, &mut wire, &mut tokio::io::empty(), &mut |event| {
                match event {
                    ClientEvent::Ready => return ControlFlow::Break(()),
                    ClientEvent::NoTls { failure, fallback, .. } => {
                        no_tls = Some((failure, fallback));
                        if fallback != Fallback::ContinuePlaintext {
                            return ControlFlow::Break(());
                        }
                    }
                    ClientEvent::Unwelcome { phase, reply } => {
                        failed = Some(Failure::Unwelcome { phase, reply: reply.to_buf() });
                        return ControlFlow::Break(());
                    }
                    _ => {}
                }
                ControlFlow::Continue(())
            })
            .await;
            if let Some((failure, fallback)) = no_tls {
                if failure == TlsFailure::Injected {
                    self.decision.channel = Spoken::Tls;
                }
                let error = self.no_tls(failure, fallback, false);
                if fallback != Fallback::ContinuePlaintext {
                    hang_up(&mut client, &mut wire).await;
                    return Err(error);
                }
            }
            if let Some(failure) = failed {
                hang_up(&mut client, &mut wire).await;
                return Err(failure);
            }
            match driven {
                Ok(Driven::Stopped) => break,
                Ok(Driven::Closed) => return Err(Failure::Protocol(Error::Closed)),
                Ok(Driven::Handshake) => {
                    match self.handshake(&mut wire, client.deadline()).await? {
                        Shaken::Good(tls) => {
                            client.tls_established(tls, Instant::now()).map_err(Failure::Misuse)?
                        }
                        Shaken::Untrusted(tls) => {
                            let fallback = client
                                .tls_untrusted(tls, Instant::now())
                                .map_err(Failure::Misuse)?;
                            hang_up(&mut client, &mut wire).await;
                            return Err(self.no_tls(TlsFailure::Untrusted, fallback, false));
                        }
                        Shaken::Failed { failure, timed_out } => {
                            let fallback = client.tls_failed(failure);
                            return Err(self.no_tls(failure, fallback, timed_out));
                        }
                    }
                }
                Err(failure) => {
                    return Err(lost(&mut client, self.target.plan, &mut self.decision, failure));
                }
            }
        }
        if let Some(credentials) = self.target.credentials {
            let authenticated =
                authenticate(&mut client, &mut wire, credentials, &self.outbound.tls).await;
            authenticated.map_err(|failure| {
                lost(&mut client, self.target.plan, &mut self.decision, failure)
            })?;
        }
        Ok((client, wire))
    }

    fn no_tls(&mut self, failure: TlsFailure, fallback: Fallback, timed_out: bool) -> Failure {
        self.decision.no_tls(self.target.plan, failure, fallback, timed_out)
    }

    /// Turns a clear stream into TLS, and judges who is there.
    async fn handshake<S: Io>(
        &mut self,
        wire: &mut Wire<S>,
        deadline: Option<Instant>,
    ) -> Result<Shaken, Failure> {
        let failed = |failure, timed_out| Ok(Shaken::Failed { failure, timed_out });
        let Target { host, plan, identity, .. } = *self.target;
        let trust = &self.outbound.trust;
        let config = self.outbound.tls.config(plan, identity, trust)?;
        self.decision.channel = Spoken::Tls;
        let name = match server_name(plan, host) {
            Ok(name) => name,
            // A name that no certificate can carry: the handshake has failed before it began.
            Err(error) => {
                tracing::debug!(%error, "TLS handshake failed");
                return failed(TlsFailure::Handshake, false);
            }
        };
        let Some(stream) = wire.take_plain() else {
            return Err(Failure::Misuse(ApiMisuse::NoHandshake));
        };
        let connecting = TlsConnector::from(config).connect(name, stream);
        let connected = match deadline {
            None => connecting.await,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), connecting).await {
                Ok(connected) => connected,
                Err(_) => return failed(TlsFailure::Handshake, true),
            },
        };
        let stream = match connected {
            Ok(stream) => stream,
            Err(error) => {
                self.decision.verdict = verdict_of_io(&error).cloned().map(Arc::new);
                let untrusted = self.decision.verdict.is_some();
                tracing::debug!(%error, untrusted, "TLS handshake failed");
                return failed(
                    if untrusted { TlsFailure::Untrusted } else { TlsFailure::Handshake },
                    false,
                );
            }
        };
        let (_, session) = stream.get_ref();
        // A resumed session has not asked the verifier, `Recorded` checks never stop a handshake, and who fails a message with
        // REQUIRETLS is to hear QUIT.
        let Some(now) = self.outbound.tls.now() else {
            return failed(TlsFailure::Handshake, false);
        };
        let verdict = judge_session(plan, session, trust.as_ref(), now);
        let peer =
            if verdict.is_authenticated() { Peer::Authenticated } else { Peer::Unauthenticated };
        let Some(names) = session_names(session) else {
            return failed(TlsFailure::Handshake, false);
        };
        let standing = verdict.standing();
        self.decision.verdict = Some(Arc::new(verdict));
        let bindings = bindings(session, session.peer_certificates().and_then(<[_]>::first));
        let tls =
            Arc::new(TlsInfo { peer, version: names.version, cipher: names.cipher, bindings });
        wire.put_tls(stream);
        if standing != Standing::Acceptable {
            // What this session was resumed from, or could be resumed as, must not be offered again.
            self.outbound.tls.forget(plan, identity, trust);
            return Ok(Shaken::Untrusted(tls));
        }
        self.decision.established(plan, Arc::clone(&tls));
        Ok(Shaken::Good(tls))
    }
}

/// How a handshake ended.
enum Shaken {
    /// TLS is up, and the certificate counts.
    Good(Arc<TlsInfo>),
    /// TLS is up, and the certificate does not count.
    Untrusted(Arc<TlsInfo>),
    /// There is no TLS. `timed_out`: whether a deadline ended it.
    Failed { failure: TlsFailure, timed_out: bool },
}

/// The same envelope for a server that does not offer REQUIRETLS.
fn without_requiretls(envelope: &Envelope) -> Arc<Envelope> {
    let mut envelope = envelope.clone();
    envelope.require_tls = false;
    Arc::new(envelope)
}

/// What a broken connection means: the fault of TLS, a message in doubt, or just broken.
fn lost(client: &mut Client, plan: &Plan, decision: &mut Decision, failure: Failure) -> Failure {
    match failure {
        Failure::Message(_) | Failure::Misuse(_) | Failure::Config(_) | Failure::NoTls { .. } => {
            return failure;
        }
        Failure::Auth(_) | Failure::AuthenticationFailed { .. } => return failure,
        Failure::RequiretlsUnsupported | Failure::OtherMessage | Failure::NotOffered(_) => {
            return failure;
        }
        Failure::Protocol(_) | Failure::Io(_) | Failure::InDoubt(_) | Failure::Unwelcome { .. } => {
        }
    }
    if client.is_in_doubt() {
        return Failure::InDoubt(Box::new(failure));
    }
    let timed_out = matches!(failure, Failure::Protocol(Error::Timeout(_)));
    match client.connection_lost() {
        Some((no_tls, fallback)) => decision.no_tls(plan, no_tls, fallback, timed_out),
        None => failure,
    }
}
