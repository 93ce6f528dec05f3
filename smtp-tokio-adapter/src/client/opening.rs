//! A connection from its first octet until it is ready for transactions.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

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

    pub(super) async fn run<S: Io>(&mut self, stream: S) -> Result<Link<Client, S>, Failure> {
        let mut stream = Stream::Plain(stream);
        let mut channel = Channel::Plain;
        if self.target.plan.attempt() == Attempt::Implicit {
            let deadline = self.outbound.smtp.timeouts.deadline(Phase::Handshake, now());
            channel = match self.handshake(&mut stream, Some(deadline)).await? {
                Shaken::Good(tls) => Channel::Implicit(tls),
                // No SMTP was spoken that QUIT could end.
                Shaken::Untrusted(_) => {
                    return Err(self.untrusted(Fallback::Forbidden));
                }
                Shaken::Failed { failure, timed_out } => {
                    let rules = match self.target.rules() {
                        rules @ TlsRules::Required { .. } => rules,
                        TlsRules::Never | TlsRules::Opportunistic { .. } => TlsRules::REQUIRED,
                    };
                    let fallback = after(rules, &Channel::Plain, failure);
                    return Err(self.no_tls(failure, fallback, timed_out));
                }
            };
        }
        let smtp = Arc::clone(&self.outbound.smtp);
        let rules = self.target.rules().with_tls_elsewhere(self.tls_elsewhere);
        let client = Client::new(smtp, rules, channel, now());
        let mut link = Link::new(client, stream);
        loop {
            let mut failed = None;
            let mut no_tls = None;
            let driven = drive(&mut link, Body::none(), &mut |event| {
                match event {
                    ClientEvent::Ready => return ControlFlow::Break(()),
                    ClientEvent::NoTls { failure, fallback, .. } => {
                        no_tls = Some((failure, fallback));
                        if fallback != Fallback::ContinuePlaintext {
                            return ControlFlow::Break(());
                        }
                    }
                    ClientEvent::Unwelcome { phase, status, reply } => {
                        failed = Some(Failure::Unwelcome { phase, status, reply: reply.to_buf() });
                        return ControlFlow::Break(());
                    }
                    ClientEvent::Closed => {}
                    // Neither AUTH nor a command nor a transaction is under way.
                    ClientEvent::Authenticated(_)
                    | ClientEvent::AuthenticationFailed { .. }
                    | ClientEvent::Recipient { .. }
                    | ClientEvent::NotSent { .. }
                    | ClientEvent::Left { .. }
                    | ClientEvent::SendBody
                    | ClientEvent::Delivered { .. }
                    | ClientEvent::Finished(_)
                    | ClientEvent::Answered(_) => {}
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
                    hang_up(&mut link).await;
                    return Err(error);
                }
            }
            if let Some(failure) = failed {
                hang_up(&mut link).await;
                return Err(failure);
            }
            match driven {
                Ok(Driven::Stopped) => break,
                Ok(Driven::Closed) => return Err(Failure::Protocol(Error::Closed)),
                Ok(Driven::Handshake(deadline)) => {
                    let shaken = self.handshake(&mut link.stream, deadline).await?;
                    let client = link.driver.machine_mut();
                    match shaken {
                        Shaken::Good(tls) => {
                            client.tls_established(tls, now()).map_err(Failure::Misuse)?
                        }
                        Shaken::Untrusted(tls) => {
                            let fallback =
                                client.tls_untrusted(tls, now()).map_err(Failure::Misuse)?;
                            hang_up(&mut link).await;
                            return Err(self.untrusted(fallback));
                        }
                        Shaken::Failed { failure, timed_out } => {
                            let fallback = client.tls_failed(failure);
                            return Err(self.no_tls(failure, fallback, timed_out));
                        }
                    }
                }
                Err(failure) => {
                    return Err(self.lost(&mut link, failure));
                }
            }
        }
        if let Some(credentials) = &self.target.credentials {
            let authenticated = authenticate(&mut link, credentials, &self.outbound.tls).await;
            authenticated.map_err(|failure| self.lost(&mut link, failure))?;
        }
        Ok(link)
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
        let failed = |failure, timed_out| Ok(Shaken::Failed { failure, timed_out });
        let Target { host, plan, manner, .. } = self.target;
        let (tls, trust) = (&self.outbound.tls, &self.outbound.trust);
        let identity = self.target.shown_identity();
        let config = match manner {
            Manner::AsPlanned => tls.config(plan, identity, trust),
            Manner::PlainHello | Manner::ClearText => tls.plain_hello_config(plan, identity, trust),
        };
        let config = match config {
            Ok(config) => config,
            Err(error) => {
                return Err(self.decision.local_fault(plan, error.reason(), Some(&error)));
            }
        };
        self.decision.channel = Spoken::Tls;
        let name = match server_name(plan, host) {
            Ok(name) => name,
            // A name that no certificate can carry: the handshake has failed before it began.
            Err(error) => {
                tracing::debug!(%error, "TLS handshake failed");
                return failed(TlsFailure::Handshake, false);
            }
        };
        let Some(stream) = clear.take_plain() else {
            return Err(Failure::Misuse(ApiMisuse::NoHandshake));
        };
        let connecting = TlsConnector::from(config).connect(name, stream);
        let stream = match shake(Role::Client, connecting, deadline).await {
            Ok(stream) => stream,
            Err(Broken { timed_out: true, .. }) => return failed(TlsFailure::Handshake, true),
            Err(Broken { error, .. }) => {
                let verdict = verdict_of_io(&error).cloned();
                let verdict = verdict.or_else(|| limits_verdict_of_io(plan, &error));
                self.decision.verdict = verdict.map(Arc::new);
                if is_local_fault_io(&error) {
                    return Err(self.decision.local_fault(
                        plan,
                        Reason::TlsUnavailable,
                        Some(&error),
                    ));
                }
                if let Some(fault) = self.decision.unjudged(plan) {
                    return Err(fault);
                }
                let untrusted = self.decision.verdict.is_some();
                tracing::debug!(%error, untrusted, "TLS handshake failed");
                return failed(
                    if untrusted { TlsFailure::Untrusted } else { TlsFailure::Handshake },
                    false,
                );
            }
        };
        let (_, session) = stream.get_ref();
        // A resumed session has not asked the verifier, `Recorded` checks never stop a handshake,
        // and a server that fails a message with REQUIRETLS must get QUIT.
        let Some(now) = self.outbound.tls.now() else {
            let error = &"the time is not known";
            return Err(self.decision.local_fault(plan, Reason::TlsUnavailable, Some(error)));
        };
        let verdict = judge_session(plan, session, trust.as_ref(), now);
        self.outbound.lists.look(&trust.current());
        let peer =
            if verdict.is_authenticated() { Peer::Authenticated } else { Peer::Unauthenticated };
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let Some(tls) = shown(Role::Client, peer, session, certificate) else {
            return failed(TlsFailure::Handshake, false);
        };
        let standing = verdict.standing();
        self.decision.verdict = Some(Arc::new(verdict));
        conversation::tls(&tls);
        clear.put_tls(stream);
        if standing != Standing::Acceptable {
            // What this session was resumed from, or could be resumed as, must not be offered
            // again.
            self.outbound.tls.forget(plan, identity, trust);
            return Ok(Shaken::Untrusted(tls));
        }
        self.decision.established(plan, *manner, Arc::clone(&tls));
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
