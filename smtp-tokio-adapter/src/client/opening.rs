//! A connection from its first octet until it is ready for transactions.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use rustls::{ClientConfig, ClientConnection};
use smtp_proto::channel::{Channel, Peer, TlsInfo};
use smtp_proto::client::{Client, ClientEvent};
use smtp_proto::error::{ApiMisuse, Error};
use smtp_proto::fallback::{Fallback, TlsFailure, TlsRules, after};
use smtp_proto::route::Manner;
use smtp_proto::timeouts::Phase;
use smtp_tls_policy::Reason;
use smtp_tls_policy::judge::Standing;
use smtp_tls_policy::plan::Attempt;
use smtp_tls_policy::tls::{
    is_local_fault_io, judge_session, limits_verdict_of_io, server_name, verdict_of_io,
};
use tokio_rustls::TlsConnector;

use crate::client::auth::authenticate;
use crate::client::conversation;
use crate::client::drive::{Body, drive, hang_up};
use crate::client::outbound::Outbound;
use crate::client::outcome::{Decision, Failure, Spoken, lost};
use crate::client::target::Target;
use crate::drive::{Driven, now};
use crate::handshake::{Broken, shake, shown};
use crate::metering::Role;
use crate::wire::{Io, Link, Stream};

/// A connection on its way to `Ready`.
pub(super) struct Opening<'a> {
    outbound: &'a Outbound,
    target: &'a Target,
    tls_elsewhere: bool,
    pub(super) decision: Decision,
}

impl<'a> Opening<'a> {
    pub(super) fn new(outbound: &'a Outbound, target: &'a Target, tls_elsewhere: bool) -> Self {
        let decision = Decision::undecided(&target.plan, target.is_clear());
        Self { outbound, target, tls_elsewhere, decision }
    }

    /// Opens the connection, with TLS or without as the target says, and authenticates.
    pub(super) async fn run<S: Io>(&mut self, stream: S) -> Result<Link<Client, S>, Failure> {
        let mut stream = Stream::Plain(stream);
        let channel = match self.target.plan.attempt() {
            Attempt::Implicit => self.implicit_tls(&mut stream).await?,
            Attempt::Clear | Attempt::StartTls => Channel::Plain,
        };
        let smtp = Arc::clone(&self.outbound.smtp);
        let rules = self.target.rules().with_tls_elsewhere(self.tls_elsewhere);
        let mut link = Link::new(Client::new(smtp, rules, channel, now()), stream);
        self.greet(&mut link).await?;
        if let Some(credentials) = &self.target.credentials {
            let authenticated = authenticate(&mut link, credentials, &self.outbound.tls).await;
            authenticated.map_err(|failure| self.lost(&mut link, failure))?;
        }
        Ok(link)
    }

    /// TLS before the first octet of SMTP. There is no fallback from it.
    async fn implicit_tls<S: Io>(&mut self, stream: &mut Stream<S>) -> Result<Channel, Failure> {
        let deadline = self.outbound.smtp.timeouts.deadline(Phase::Handshake, now());
        match self.handshake(stream, Some(deadline)).await? {
            Shaken::Good(tls) => Ok(Channel::Implicit(tls)),
            // No SMTP was spoken that QUIT could end.
            Shaken::Untrusted(_) => Err(self.untrusted(Fallback::Forbidden)),
            Shaken::Failed { failure, timed_out } => {
                let rules = match self.target.rules() {
                    rules @ TlsRules::Required { .. } => rules,
                    TlsRules::Never | TlsRules::Opportunistic { .. } => TlsRules::REQUIRED,
                };
                let fallback = after(rules, &Channel::Plain, failure);
                Err(self.no_tls(failure, fallback, timed_out))
            }
        }
    }

    /// Drives the client through greeting, EHLO and STARTTLS until it is ready for transactions.
    async fn greet<S: Io>(&mut self, link: &mut Link<Client, S>) -> Result<(), Failure> {
        loop {
            let mut heard = Heard::default();
            let driven = drive(link, Body::none(), &mut |event| heard.note(event)).await;
            self.settle(link, heard).await?;
            match driven {
                Ok(Driven::Stopped) => return Ok(()),
                Ok(Driven::Closed) => return Err(Failure::Protocol(Error::Closed)),
                Ok(Driven::Handshake(deadline)) => self.start_tls(link, deadline).await?,
                Err(failure) => return Err(self.lost(link, failure)),
            }
        }
    }

    /// Notes that there is no TLS, and hangs up where the client must not go on.
    async fn settle<S: Io>(
        &mut self,
        link: &mut Link<Client, S>,
        heard: Heard,
    ) -> Result<(), Failure> {
        let mut failed = heard.unwelcome;
        if let Some((failure, fallback)) = heard.no_tls {
            if failure == TlsFailure::Injected {
                self.decision.channel = Spoken::Tls;
            }
            let error = self.no_tls(failure, fallback, false);
            if fallback != Fallback::ContinuePlaintext {
                failed = Some(error);
            }
        }
        match failed {
            Some(failure) => {
                hang_up(link).await;
                Err(failure)
            }
            None => Ok(()),
        }
    }

    /// The handshake after the 220 to STARTTLS.
    async fn start_tls<S: Io>(
        &mut self,
        link: &mut Link<Client, S>,
        deadline: Option<Instant>,
    ) -> Result<(), Failure> {
        let shaken = self.handshake(&mut link.stream, deadline).await?;
        let client = link.driver.machine_mut();
        match shaken {
            Shaken::Good(tls) => client.tls_established(tls, now()).map_err(Failure::Misuse),
            Shaken::Untrusted(tls) => {
                let fallback = client.tls_untrusted(tls, now()).map_err(Failure::Misuse)?;
                hang_up(link).await;
                Err(self.untrusted(fallback))
            }
            Shaken::Failed { failure, timed_out } => {
                let fallback = client.tls_failed(failure);
                Err(self.no_tls(failure, fallback, timed_out))
            }
        }
    }

    /// The connection has failed: what the rules about TLS say of it.
    fn lost<S>(&mut self, link: &mut Link<Client, S>, failure: Failure) -> Failure {
        let client = link.driver.machine_mut();
        lost(client, &self.target.plan, &mut self.decision, failure)
    }

    fn no_tls(&mut self, failure: TlsFailure, fallback: Fallback, timed_out: bool) -> Failure {
        self.decision.no_tls(&self.target.plan, failure, fallback, timed_out)
    }

    /// TLS is up, and the certificate does not count, or could not be judged: in that case nothing
    /// is known of the peer, and what the rules say of a bad certificate does not apply.
    fn untrusted(&mut self, fallback: Fallback) -> Failure {
        match self.decision.unjudged(&self.target.plan) {
            Some(fault) => fault,
            None => self.no_tls(TlsFailure::Untrusted, fallback, false),
        }
    }

    /// Turns a clear stream into TLS, and judges who is there.
    async fn handshake<S: Io>(
        &mut self,
        clear: &mut Stream<S>,
        deadline: Option<Instant>,
    ) -> Result<Shaken, Failure> {
        let Target { host, plan, .. } = self.target;
        let config = self.config()?;
        self.decision.channel = Spoken::Tls;
        let name = match server_name(plan, host) {
            Ok(name) => name,
            // A name that no certificate can carry: the handshake has failed before it began.
            Err(error) => {
                tracing::debug!(%error, "TLS handshake failed");
                return Ok(Shaken::failed(TlsFailure::Handshake));
            }
        };
        let Some(stream) = clear.take_plain() else {
            return Err(Failure::Misuse(ApiMisuse::NoHandshake));
        };
        let connecting = TlsConnector::from(config).connect(name, stream);
        let stream = match shake(Role::Client, connecting, deadline).await {
            Ok(stream) => stream,
            Err(Broken { timed_out: true, .. }) => {
                return Ok(Shaken::Failed { failure: TlsFailure::Handshake, timed_out: true });
            }
            Err(Broken { error, .. }) => return self.broken(&error),
        };
        let shaken = self.judge(stream.get_ref().1)?;
        if !matches!(shaken, Shaken::Failed { .. }) {
            clear.put_tls(stream);
        }
        Ok(shaken)
    }

    /// What the handshake begins with.
    fn config(&mut self) -> Result<Arc<ClientConfig>, Failure> {
        let (plan, identity) = (&self.target.plan, self.target.shown_identity());
        let (tls, trust) = (&self.outbound.tls, &self.outbound.trust);
        let config = match self.target.manner {
            Manner::AsPlanned => tls.config(plan, identity, trust),
            Manner::PlainHello | Manner::ClearText => tls.plain_hello_config(plan, identity, trust),
        };
        config.map_err(|error| self.decision.local_fault(plan, error.reason(), Some(&error)))
    }

    /// The handshake broke off: by the peer, by the verifier, or for a fault of this side.
    fn broken(&mut self, error: &io::Error) -> Result<Shaken, Failure> {
        let plan = &self.target.plan;
        let verdict = verdict_of_io(error).cloned();
        let verdict = verdict.or_else(|| limits_verdict_of_io(plan, error));
        self.decision.verdict = verdict.map(Arc::new);
        if is_local_fault_io(error) {
            return Err(self.decision.local_fault(plan, Reason::TlsUnavailable, Some(error)));
        }
        if let Some(fault) = self.decision.unjudged(plan) {
            return Err(fault);
        }
        let untrusted = self.decision.verdict.is_some();
        tracing::debug!(%error, untrusted, "TLS handshake failed");
        Ok(Shaken::failed(if untrusted { TlsFailure::Untrusted } else { TlsFailure::Handshake }))
    }

    /// TLS is up. A resumed session has not asked the verifier, `Recorded` checks never stop a
    /// handshake, and a server that fails a message with REQUIRETLS must get QUIT.
    fn judge(&mut self, session: &ClientConnection) -> Result<Shaken, Failure> {
        let Target { plan, manner, .. } = self.target;
        let (tls, trust) = (&self.outbound.tls, &self.outbound.trust);
        let Some(now) = tls.now() else {
            let error = &"the time is not known";
            return Err(self.decision.local_fault(plan, Reason::TlsUnavailable, Some(error)));
        };
        let current = trust.load();
        let verdict = judge_session(plan, session, &current, now);
        self.outbound.lists.look(&current);
        let peer =
            if verdict.is_authenticated() { Peer::Authenticated } else { Peer::Unauthenticated };
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let Some(info) = shown(Role::Client, peer, session, certificate) else {
            return Ok(Shaken::failed(TlsFailure::Handshake));
        };
        let standing = verdict.standing();
        self.decision.verdict = Some(Arc::new(verdict));
        conversation::tls(&info);
        if standing != Standing::Acceptable {
            // What this session was resumed from, or could be resumed as, must not be offered
            // again.
            tls.forget(plan, self.target.shown_identity(), trust);
            return Ok(Shaken::Untrusted(info));
        }
        self.decision.established(plan, *manner, Arc::clone(&info));
        Ok(Shaken::Good(info))
    }
}

/// What the client reports before it is ready.
#[derive(Default)]
struct Heard {
    no_tls: Option<(TlsFailure, Fallback)>,
    unwelcome: Option<Failure>,
}

impl Heard {
    /// Breaks once the client is ready, or must not go on.
    fn note(&mut self, event: ClientEvent<'_>) -> ControlFlow<()> {
        match event {
            ClientEvent::Ready => ControlFlow::Break(()),
            ClientEvent::NoTls { failure, fallback, .. } => {
                self.no_tls = Some((failure, fallback));
                match fallback {
                    Fallback::ContinuePlaintext => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(()),
                }
            }
            ClientEvent::Unwelcome { phase, status, reply } => {
                let reply = reply.into_owned();
                self.unwelcome = Some(Failure::Unwelcome { phase, status, reply });
                ControlFlow::Break(())
            }
            ClientEvent::Closed => ControlFlow::Continue(()),
            // Neither AUTH nor a command nor a transaction is under way.
            ClientEvent::Authenticated(_)
            | ClientEvent::AuthenticationFailed { .. }
            | ClientEvent::Recipient { .. }
            | ClientEvent::NotSent { .. }
            | ClientEvent::Left { .. }
            | ClientEvent::SendBody
            | ClientEvent::Delivered { .. }
            | ClientEvent::Finished(_)
            | ClientEvent::Answered(_) => ControlFlow::Continue(()),
        }
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

impl Shaken {
    /// There is no TLS, and no deadline is the cause.
    const fn failed(failure: TlsFailure) -> Self {
        Self::Failed { failure, timed_out: false }
    }
}
