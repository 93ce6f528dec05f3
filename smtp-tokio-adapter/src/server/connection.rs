//! One connection as a server, from its first octet to its last.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use smtp_proto::Protocol;
use smtp_proto::channel::{Channel, Peer, TlsInfo};
use smtp_proto::driver::{Driver, Output};
use smtp_proto::sasl::server::Answer;
use smtp_proto::server::{Server, ServerConfig, ServerEvent, Tolerance};
use smtp_proto::timeouts::Phase;
use smtp_proto::wire::command::{Command, Hello};
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::pki::CommonNames;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::binding::Shown;
use crate::drive::{Caller, Driven, LINGER, Reported, drive, now};
use crate::handshake::{shake, shown};
use crate::metering::Role;
use crate::server::admission::Admission;
use crate::server::handler::{GO_AHEAD, Handler, Session};
use crate::server::inbound::Inbound;
#[cfg(feature = "proxy-protocol")]
use crate::server::proxy::{Looks, ProxyHeaderError};
use crate::wire::{Io, Link, Stream};

const NO_TLS: Response = Response::fixed(454, (4, 7, 0), "TLS not available");
const SHUTDOWN: Response = Response::fixed(421, (4, 3, 2), "shutting down");
#[cfg(feature = "proxy-protocol")]
const PROXY_HEADER: Response =
    Response::fixed(421, (4, 7, 0), "a PROXY header is not accepted from this network");
const INTERNAL: Response = Response::fixed(421, (4, 3, 0), "internal error");
/// The last reply of a connection whose handler has panicked, and of one that outlived the grace.
const PANICKED: &[u8] = b"421 4.3.0 internal error\r\n";
const GRACE_OVER: &[u8] = b"421 4.3.2 shutting down\r\n";

/// Serves one stream to its end. `leaving` becomes true at shutdown; if its sender is dropped,
/// there is no shutdown.
///
/// # Cancel safety
///
/// Not cancel safe: if the future is dropped, the stream is closed without a reply and the handler
/// is dropped without [`closed`](Handler::closed). The client keeps a message that was not
/// answered.
pub async fn handle<S: Io, H: Handler>(
    inbound: &Inbound,
    handler: H,
    stream: S,
    peer: Option<SocketAddr>,
    leaving: watch::Receiver<bool>,
) {
    handle_until(inbound, handler, stream, peer, leaving, std::future::pending()).await;
}

/// Serves one stream until `given_up` is ready, at the latest.
pub(super) async fn handle_until<S: Io, H: Handler>(
    inbound: &Inbound,
    handler: H,
    stream: S,
    peer: Option<SocketAddr>,
    leaving: watch::Receiver<bool>,
    given_up: impl Future<Output = ()>,
) {
    let session = Session {
        peer,
        name: String::new(),
        hello: Hello::Helo,
        early_talk: None,
        tls: None,
        client_chain: Arc::from(Vec::new()),
        client_names: None,
        identity: None,
    };
    let answering = Answering {
        smtp: Arc::clone(&inbound.smtp),
        tls: inbound.tls.clone(),
        admission: inbound.admission.clone(),
        handler,
        session,
        leaving,
        #[cfg(feature = "proxy-protocol")]
        awaits_proxy_header: inbound.proxy.is_some(),
    };
    let server = Server::new(Arc::clone(&inbound.smtp), Channel::Plain, now());
    let mut serving = Serving { answering, link: Link::new(server, Stream::Plain(stream)) };
    let last_words = tokio::select! {
        biased;
        ended = unless_it_panics(serving.run(inbound.implicit)) => match ended {
            Some(Ok(())) => {
                tracing::debug!("closed");
                None
            }
            Some(Err(error)) => {
                tracing::info!(%error, "connection lost");
                None
            }
            None => Some(PANICKED),
        },
        () = given_up => Some(GRACE_OVER),
    };
    if let Some(last_words) = last_words {
        serving.link.driver.output().buffer().extend_from_slice(last_words);
        serving.link.close(now() + LINGER).await;
    }
    serving.answering.handler.closed().await;
}

/// Catches a panic of the handler, which is the caller's code and which the panic hook has
/// reported: it ends one connection in good order.
async fn unless_it_panics<T>(running: impl Future<Output = T>) -> Option<T> {
    let mut running = std::pin::pin!(running);
    std::future::poll_fn(|cx| {
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| running.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Some),
            Err(_) => {
                tracing::error!("the handler panicked");
                std::task::Poll::Ready(None)
            }
        }
    })
    .await
}

/// The handler's answer to an event.
enum Said {
    None,
    One(Response),
    /// LMTP: one response for each recipient.
    Each(Vec<Response>),
    /// The answer to a mechanism's question.
    Answer(Answer),
}

/// The SMTP command that an event comes from, for the log.
fn command(event: &ServerEvent<'_>, protocol: Protocol) -> &'static str {
    match event {
        ServerEvent::Connected => "the greeting",
        ServerEvent::Hello { extended: false, .. } => "HELO",
        ServerEvent::Hello { .. } if protocol == Protocol::Lmtp => "LHLO",
        ServerEvent::Hello { .. } => "EHLO",
        ServerEvent::StartTls => "STARTTLS",
        ServerEvent::Mail { .. } => "MAIL",
        ServerEvent::Recipient { .. } => "RCPT",
        ServerEvent::Data => "DATA",
        ServerEvent::EndOfBody | ServerEvent::Body(_) | ServerEvent::BodyRefused(_) => {
            "the end of the message"
        }
        ServerEvent::Fetch { .. } => "BURL",
        ServerEvent::Xclient(_) => "XCLIENT",
        ServerEvent::Other(Command::Vrfy { .. }) => "VRFY",
        ServerEvent::Other(Command::Expn { .. }) => "EXPN",
        ServerEvent::Other(Command::Help(_)) => "HELP",
        ServerEvent::Other(Command::Etrn(_)) => "ETRN",
        ServerEvent::Other(_) => "a verb of the configuration",
        ServerEvent::Authenticate(_)
        | ServerEvent::Authenticated(_)
        | ServerEvent::AuthenticationFailed(_) => "AUTH",
        ServerEvent::Reset => "RSET",
        ServerEvent::Closed => "the end of the connection",
    }
}

/// Why a connection was not ended by QUIT or 421.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Protocol(#[from] smtp_proto::error::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("TLS handshake: {0}")]
    Handshake(io::Error),
    #[error("{0}")]
    Misuse(#[from] smtp_proto::error::ApiMisuse),
}

/// What answers the events of a server.
struct Answering<H> {
    smtp: Arc<ServerConfig>,
    tls: Option<Arc<rustls::ServerConfig>>,
    admission: Option<Admission>,
    handler: H,
    session: Session,
    leaving: watch::Receiver<bool>,
    /// The connection must not begin with a PROXY header, and may still do so.
    #[cfg(feature = "proxy-protocol")]
    awaits_proxy_header: bool,
}

impl<H: Handler> Answering<H> {
    /// Passes one event to the handler.
    async fn answer<S: Io>(
        &mut self,
        event: ServerEvent<'_>,
        recipients: usize,
        output: &mut Output,
        stream: &mut Stream<S>,
    ) -> io::Result<Said> {
        let Self { smtp, tls, admission, handler, session, .. } = self;
        if let ServerEvent::Hello { name, extended } = event {
            session.name = name.to_owned();
            session.hello = match (smtp.protocol, extended) {
                (Protocol::Lmtp, _) => Hello::Lhlo,
                (Protocol::Smtp, true) => Hello::Ehlo,
                (Protocol::Smtp, false) => Hello::Helo,
            };
        }
        let session = &*session;
        let response = match event {
            ServerEvent::Connected => {
                stream.send_during(output, handler.connected(session)).await?
            }
            ServerEvent::Hello { .. } => stream.send_during(output, handler.hello(session)).await?,
            ServerEvent::StartTls if tls.is_none() => NO_TLS,
            ServerEvent::StartTls => stream.send_during(output, handler.starttls(session)).await?,
            ServerEvent::Mail { path, parameters } => {
                match admission.as_ref().and_then(|it| it.at_mail(session, &path)) {
                    Some(refusal) => refusal,
                    None => {
                        stream.send_during(output, handler.mail(session, path, parameters)).await?
                    }
                }
            }
            ServerEvent::Recipient { path, parameters } => {
                stream.send_during(output, handler.recipient(session, path, parameters)).await?
            }
            ServerEvent::Data => stream.send_during(output, handler.data(session)).await?,
            ServerEvent::EndOfBody if smtp.protocol == Protocol::Lmtp => {
                return Ok(Said::Each(
                    stream
                        .send_during(output, handler.end_of_body_each(session, recipients))
                        .await?,
                ));
            }
            ServerEvent::EndOfBody => {
                stream.send_during(output, handler.end_of_body(session)).await?
            }
            ServerEvent::Fetch { uri, first, .. } => {
                let ready = if first {
                    stream.send_during(output, handler.data(session)).await?
                } else {
                    GO_AHEAD
                };
                if ready.code() == GO_AHEAD.code() {
                    stream.send_during(output, handler.fetch(session, uri)).await?
                } else {
                    ready
                }
            }
            ServerEvent::Xclient(client) => {
                stream.send_during(output, handler.xclient(session, client)).await?
            }
            ServerEvent::Other(command) => {
                stream.send_during(output, handler.other(session, command)).await?
            }
            ServerEvent::Authenticate(question) => {
                let answer =
                    stream.send_during(output, handler.authenticate(session, question)).await?;
                return Ok(Said::Answer(answer));
            }
            ServerEvent::Authenticated(identity) => {
                tracing::info!(
                    user = identity.user,
                    authorization = identity.authorization,
                    "authenticated"
                );
                stream.send_during(output, handler.authenticated(session)).await?;
                return Ok(Said::None);
            }
            ServerEvent::AuthenticationFailed(failure) => {
                tracing::info!(%failure, "not authenticated");
                stream
                    .send_during(output, handler.authentication_failed(session, &failure))
                    .await?;
                return Ok(Said::None);
            }
            ServerEvent::Body(runs) => {
                stream.send_during(output, handler.body(runs)).await?;
                return Ok(Said::None);
            }
            ServerEvent::BodyRefused(refusal) => {
                tracing::info!(%refusal, "message refused");
                stream.send_during(output, handler.body_refused(refusal)).await?;
                return Ok(Said::None);
            }
            ServerEvent::Reset => {
                stream.send_during(output, handler.reset()).await?;
                return Ok(Said::None);
            }
            ServerEvent::Closed => return Ok(Said::None),
        };
        Ok(Said::One(response))
    }

    /// What is taken from the client although the RFCs forbid it.
    fn tolerance(&mut self) -> Tolerance {
        self.handler.tolerance(&self.session).unwrap_or(self.smtp.tolerance)
    }
}

impl<S: Io, H: Handler> Caller<Server, S> for Answering<H> {
    type Error = Lost;

    const HEARS_LAST_WORDS: bool = false;

    #[cfg(feature = "proxy-protocol")]
    fn before_step(&mut self, driver: &mut Driver<Server>) {
        if !self.awaits_proxy_header {
            return;
        }
        match Looks::like(driver.unread()) {
            Looks::Header => {
                let error = ProxyHeaderError::Unlisted;
                tracing::warn!(code = error.code(), %error, "refused with 421");
                let (server, output) = driver.parts();
                server.close(&PROXY_HEADER, output);
                self.awaits_proxy_header = false;
            }
            Looks::Other => self.awaits_proxy_header = false,
            // The machine knows what a silent client gets.
            Looks::Open => driver.hold_input(),
        }
    }

    async fn event(
        &mut self,
        reported: Reported<'_, Server>,
        stream: &mut Stream<S>,
    ) -> Result<ControlFlow<()>, Lost> {
        let Reported { event, machine: server, output } = reported;
        let session = &mut self.session;
        let opens = matches!(event, ServerEvent::Mail { .. });
        let mut restarts = matches!(event, ServerEvent::Xclient(_));
        let command = command(&event, self.smtp.protocol);
        session.early_talk = server.early_talk();
        if session.identity.as_ref() != server.identity() {
            session.identity = server.identity().cloned();
        }
        let recipients = server.recipients();
        let given = match self.answer(event, recipients, output, stream).await? {
            Said::None => Ok(()),
            Said::One(response) => {
                restarts &= response.code() == 220;
                if opens && response.code() / 100 == 2 {
                    server.set_tolerance(self.tolerance());
                }
                server.respond(&response, output.buffer())
            }
            Said::Each(responses) => server.respond_each(&responses, output.buffer()),
            Said::Answer(answer) => server.answer(answer),
        };
        if restarts {
            (self.session.name, self.session.hello) = (String::new(), Hello::Helo);
        }
        if let Err(misuse) = given {
            tracing::error!(
                command,
                %misuse,
                "the handler gave a wrong answer; the connection is closed with 421"
            );
            server.close(&INTERNAL, output.buffer());
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Each event was answered, or its connection closed: the machine waits for nothing.
    async fn provide(&mut self, link: &mut Link<Server, S>) -> Result<(), Lost> {
        let (server, output) = link.driver.parts();
        server.close(&INTERNAL, output);
        Ok(())
    }

    async fn interrupted(&mut self) {
        // Without a sender there is no shutdown.
        if self.leaving.wait_for(|&leaving| leaving).await.is_err() {
            std::future::pending().await
        }
    }

    fn interrupt(&mut self, driver: &mut Driver<Server>) {
        let (server, output) = driver.parts();
        server.close(&SHUTDOWN, output);
    }
}

struct Serving<S, H> {
    answering: Answering<H>,
    link: Link<Server, S>,
}

impl<S: Io, H: Handler> Serving<S, H> {
    async fn run(&mut self, implicit: bool) -> Result<(), Lost> {
        if implicit {
            let smtp = Arc::clone(&self.answering.smtp);
            let deadline = smtp.timeouts.deadline(Phase::Handshake, now());
            let channel = Channel::Implicit(self.handshake(Some(deadline)).await?);
            *self.link.driver.machine_mut() = Server::new(smtp, channel, now());
            self.admit().await;
        } else {
            self.link.driver.machine_mut().set_tolerance(self.answering.tolerance());
        }
        let ended = self.converse().await;
        let deadline = now() + LINGER;
        self.link.close(deadline).await;
        self.link.drain(deadline).await;
        ended
    }

    async fn converse(&mut self) -> Result<(), Lost> {
        while let Driven::Handshake(deadline) = drive(&mut self.link, &mut self.answering).await? {
            let tls = self.handshake(deadline).await?;
            self.link.driver.machine_mut().tls_established(tls, now())?;
            self.admit().await;
        }
        Ok(())
    }

    /// Judges a client that has TLS now, and asks the handler about it.
    async fn admit(&mut self) {
        let Answering { handler, session, admission, .. } = &mut self.answering;
        let refused = match admission.as_ref().and_then(|it| it.after_handshake(session)) {
            Some(refusal) => Some(refusal),
            None => handler.handshake(session).await,
        };
        if let Some(response) = refused {
            self.link.driver.machine_mut().bar(response);
        }
        self.link.driver.machine_mut().set_tolerance(self.answering.tolerance());
    }

    async fn handshake(&mut self, deadline: Option<Instant>) -> Result<Arc<TlsInfo>, Lost> {
        let Self { answering: Answering { tls, session, .. }, link } = self;
        let (Some(config), Some(stream)) = (&*tls, link.stream.take_plain()) else {
            return Err(Lost::Handshake(io::ErrorKind::Unsupported.into()));
        };
        let (config, own) = Shown::watch(config);
        let accepting = TlsAcceptor::from(config).accept(stream);
        let shaken = shake(Role::Server, accepting, deadline).await;
        let stream = shaken.map_err(|broken| Lost::Handshake(broken.error))?;
        let (_, connection) = stream.get_ref();
        let chain = connection.peer_certificates().unwrap_or_default();
        session.client_chain =
            chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        session.client_names = chain.first().map(CommonNames::of);
        // `admit` judges the client at MAIL, when the sender's domain is known.
        let tls =
            shown(Role::Server, Peer::Unauthenticated, connection, own.certificate().as_ref())
                .ok_or_else(|| Lost::Handshake(io::ErrorKind::InvalidData.into()))?;
        tracing::debug!(version = tls.version, cipher = tls.cipher, group = tls.group, "TLS");
        session.tls = Some(Arc::clone(&tls));
        session.name.clear();
        session.hello = Hello::Helo;
        // RFC 3207, section 4.2.
        session.identity = None;
        link.stream.put_tls(stream);
        Ok(tls)
    }
}
