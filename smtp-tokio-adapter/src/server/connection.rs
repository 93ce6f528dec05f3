//! One connection as a server, from its first octet to its last.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smtp_proto::channel::{Channel, Peer, TlsInfo};
use smtp_proto::sasl::server::Answer;
use smtp_proto::server::{Server, ServerEvent, Tolerance};
use smtp_proto::stamp::Hello;
use smtp_proto::timeouts::Phase;
use smtp_proto::wire::command::Command;
use smtp_proto::wire::reply::Response;
use smtp_proto::{Protocol, Step, Want};
use smtp_tls_policy::pki::CommonNames;
use smtp_tls_policy::tls::session_names;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::binding::{Shown, bindings};
use crate::metering;
use crate::metering::Role;
use crate::server::handler::{GO_AHEAD, Handler, Session};
use crate::server::inbound::Inbound;
#[cfg(feature = "proxy-protocol")]
use crate::server::proxy::{Looks, ProxyHeaderError};
use crate::wire::{Io, Link, Moved, Until, Wire};

const NO_TLS: Response = Response::fixed(454, (4, 7, 0), "TLS not available");
const SHUTDOWN: Response = Response::fixed(421, (4, 3, 2), "shutting down");
#[cfg(feature = "proxy-protocol")]
const PROXY_HEADER: Response =
    Response::fixed(421, (4, 7, 0), "a PROXY header is not accepted from this network");
const INTERNAL: Response = Response::fixed(421, (4, 3, 0), "internal error");
/// The last reply of a connection whose handler has panicked, and of one that outlived the grace.
const PANICKED: &[u8] = b"421 4.3.0 internal error\r\n";
const GRACE_OVER: &[u8] = b"421 4.3.2 shutting down\r\n";
/// Octets of replies that may wait for the client to read them before its next command is read.
const MAX_QUEUED: usize = 64 * 1024;
/// How long closing a connection may take.
const LINGER: Duration = Duration::from_secs(2);

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
    let mut serving = Serving {
        inbound,
        handler,
        session,
        wire: Wire::new(stream),
        leaving,
        #[cfg(feature = "proxy-protocol")]
        proxy_header_checked: false,
    };
    let last_words = tokio::select! {
        biased;
        ended = unless_it_panics(serving.run()) => match ended {
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
        serving.wire.link.output.extend_from_slice(last_words);
        serving.wire.close(Instant::now() + LINGER).await;
    }
    serving.handler.closed().await;
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

/// Passes one event to the handler.
async fn answer<S: Io, H: Handler>(
    event: ServerEvent<'_>,
    handler: &mut H,
    session: &mut Session,
    inbound: &Inbound,
    recipients: usize,
    link: &mut Link<S>,
) -> io::Result<Said> {
    if let ServerEvent::Hello { name, extended } = event {
        session.name = name.to_owned();
        session.hello = match (inbound.smtp.protocol, extended) {
            (Protocol::Lmtp, _) => Hello::Lhlo,
            (Protocol::Smtp, true) => Hello::Ehlo,
            (Protocol::Smtp, false) => Hello::Helo,
        };
    }
    let session = &*session;
    let response = match event {
        ServerEvent::Connected => link.promptly(handler.connected(session)).await?,
        ServerEvent::Hello { .. } => link.promptly(handler.hello(session)).await?,
        ServerEvent::StartTls if inbound.tls.is_none() => NO_TLS,
        ServerEvent::StartTls => link.promptly(handler.starttls(session)).await?,
        ServerEvent::Mail { path, parameters } => {
            link.promptly(handler.mail(session, path, parameters)).await?
        }
        ServerEvent::Recipient { path, parameters } => {
            link.promptly(handler.recipient(session, path, parameters)).await?
        }
        ServerEvent::Data => link.promptly(handler.data(session)).await?,
        ServerEvent::EndOfBody if inbound.smtp.protocol == Protocol::Lmtp => {
            return Ok(Said::Each(
                link.promptly(handler.end_of_body_each(session, recipients)).await?,
            ));
        }
        ServerEvent::EndOfBody => link.promptly(handler.end_of_body(session)).await?,
        ServerEvent::Fetch { uri, first, .. } => {
            let ready = if first { link.promptly(handler.data(session)).await? } else { GO_AHEAD };
            if ready.code() == GO_AHEAD.code() {
                link.promptly(handler.fetch(session, uri)).await?
            } else {
                ready
            }
        }
        ServerEvent::Xclient(client) => link.promptly(handler.xclient(session, client)).await?,
        ServerEvent::Other(command) => link.promptly(handler.other(session, command)).await?,
        ServerEvent::Authenticate(question) => {
            let answer = link.promptly(handler.authenticate(session, question)).await?;
            return Ok(Said::Answer(answer));
        }
        ServerEvent::Authenticated(identity) => {
            tracing::info!(
                user = identity.user,
                authorization = identity.authorization,
                "authenticated"
            );
            link.promptly(handler.authenticated(session)).await?;
            return Ok(Said::None);
        }
        ServerEvent::AuthenticationFailed(failure) => {
            tracing::info!(%failure, "not authenticated");
            link.promptly(handler.authentication_failed(session, &failure)).await?;
            return Ok(Said::None);
        }
        ServerEvent::Body(runs) => {
            link.promptly(handler.body(runs)).await?;
            return Ok(Said::None);
        }
        ServerEvent::BodyRefused(refusal) => {
            tracing::info!(%refusal, "message refused");
            link.promptly(handler.body_refused(refusal)).await?;
            return Ok(Said::None);
        }
        ServerEvent::Reset => {
            link.promptly(handler.reset()).await?;
            return Ok(Said::None);
        }
        ServerEvent::Closed => return Ok(Said::None),
    };
    Ok(Said::One(response))
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

/// What is taken from the client although the RFCs forbid it.
fn tolerance<H: Handler>(handler: &mut H, session: &Session, inbound: &Inbound) -> Tolerance {
    handler.tolerance(session).unwrap_or(inbound.smtp.tolerance)
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

struct Serving<'a, S, H> {
    inbound: &'a Inbound,
    handler: H,
    session: Session,
    wire: Wire<S>,
    leaving: watch::Receiver<bool>,
    /// The connection does not begin with a PROXY header, or has been refused for it.
    #[cfg(feature = "proxy-protocol")]
    proxy_header_checked: bool,
}

impl<S: Io, H: Handler> Serving<'_, S, H> {
    async fn run(&mut self) -> Result<(), Lost> {
        let mut channel = Channel::Plain;
        if self.inbound.implicit {
            let deadline = self.inbound.smtp.timeouts.deadline(Phase::Handshake, Instant::now());
            channel = Channel::Implicit(self.handshake(Some(deadline)).await?);
        }
        let implicit = channel != Channel::Plain;
        let mut server = Server::new(Arc::clone(&self.inbound.smtp), channel, Instant::now());
        if implicit && let Some(response) = self.handler.handshake(&self.session).await {
            server.bar(response);
        }
        server.set_tolerance(tolerance(&mut self.handler, &self.session, self.inbound));
        let ended = self.converse(&mut server).await;
        let deadline = Instant::now() + LINGER;
        self.wire.close(deadline).await;
        self.wire.drain(deadline).await;
        ended
    }

    async fn converse(&mut self, server: &mut Server) -> Result<(), Lost> {
        loop {
            let Self { inbound, handler, session, wire, leaving, .. } = self;
            #[cfg(feature = "proxy-protocol")]
            let proxy_header_checked = &mut self.proxy_header_checked;
            if wire.queued() > MAX_QUEUED {
                wire.send(inbound.smtp.timeouts.deadline(Phase::Idle, Instant::now())).await?;
            }
            #[cfg(feature = "proxy-protocol")]
            if !std::mem::replace(proxy_header_checked, true) && inbound.proxy.is_some() {
                match Looks::like(&wire.input) {
                    Looks::Header => {
                        let error = ProxyHeaderError::Unlisted;
                        tracing::warn!(%error, "refused with 421");
                        server.close(&PROXY_HEADER, &mut wire.link.output);
                    }
                    Looks::Other => {}
                    Looks::Open if wire.input.is_empty() => *proxy_header_checked = false,
                    Looks::Open => {
                        *proxy_header_checked = false;
                        let more = wire.exchange(Until::Lines, server.deadline()).await?;
                        // Otherwise the machine knows what a silent client gets.
                        *proxy_header_checked = more != Moved::Read;
                        continue;
                    }
                }
            }
            let progress = server.poll(&wire.input, &mut wire.link.output, Instant::now())?;
            let greets = matches!(progress.step, Step::Event(ServerEvent::Connected));
            let opens = matches!(progress.step, Step::Event(ServerEvent::Mail { .. }));
            let mut restarts = matches!(progress.step, Step::Event(ServerEvent::Xclient(_)));
            let want = match progress.step {
                Step::Wait(want) => Some(want),
                Step::Event(ServerEvent::Closed) => return Ok(()),
                Step::Event(event) => {
                    let command = command(&event, inbound.smtp.protocol);
                    session.early_talk = server.early_talk();
                    if session.identity.as_ref() != server.identity() {
                        session.identity = server.identity().cloned();
                    }
                    let recipients = server.recipients();
                    let given =
                        match answer(event, handler, session, inbound, recipients, &mut wire.link)
                            .await?
                        {
                            Said::None => Ok(()),
                            Said::One(response) => {
                                restarts &= response.code() == 220;
                                if opens && response.code() / 100 == 2 {
                                    server.set_tolerance(tolerance(handler, session, inbound));
                                }
                                server.respond(&response, &mut wire.link.output)
                            }
                            Said::Each(responses) => {
                                server.respond_each(&responses, &mut wire.link.output)
                            }
                            Said::Answer(answer) => server.answer(answer),
                        };
                    if restarts {
                        (session.name, session.hello) = (String::new(), Hello::Helo);
                    }
                    if let Err(misuse) = given {
                        tracing::error!(
                            command,
                            %misuse,
                            "the handler gave a wrong answer; the connection is closed with 421"
                        );
                        server.close(&INTERNAL, &mut wire.link.output);
                    }
                    None
                }
            };
            if server.has_read_secrets() {
                wire.advance_over_secrets(progress.consumed);
            } else {
                wire.advance(progress.consumed);
            }
            // Input that is there before the greeting is sent came too early: the machine records
            // that.
            if greets {
                wire.probe().await?;
            }
            match want {
                None | Some(Want::Caller) => {}
                Some(Want::Handshake) => {
                    let deadline = server.deadline();
                    match wire.exchange(Until::Sent, deadline).await? {
                        Moved::Sent => {}
                        // The machine decides what plaintext before the handshake means.
                        Moved::Read | Moved::TimedOut => continue,
                        Moved::Eof => {
                            server.handle_eof()?;
                            continue;
                        }
                    }
                    let tls = self.handshake(deadline).await?;
                    server.tls_established(tls, Instant::now())?;
                    if let Some(response) = self.handler.handshake(&self.session).await {
                        server.bar(response);
                    }
                    server.set_tolerance(tolerance(&mut self.handler, &self.session, self.inbound));
                }
                Some(Want::Input) => {
                    let until = match server.phase() {
                        Phase::Body => Until::Body,
                        phase if phase == Phase::Auth || server.has_read_secrets() => {
                            Until::Secrets
                        }
                        _ => Until::Lines,
                    };
                    if until == Until::Secrets {
                        wire.make_room_for_secrets(inbound.smtp.limits.auth_line);
                    }
                    let exchange = wire.exchange(until, server.deadline());
                    let moved = if until == Until::Body {
                        exchange.await?
                    } else {
                        tokio::select! {
                            biased;
                            moved = exchange => moved?,
                            Ok(_) = leaving.wait_for(|&leaving| leaving) => {
                                server.close(&SHUTDOWN, &mut wire.link.output);
                                continue;
                            }
                        }
                    };
                    if moved == Moved::Eof {
                        // Everything read has been answered: the client closed its sending side.
                        return Ok(server.handle_eof()?);
                    }
                }
            }
        }
    }

    async fn handshake(&mut self, deadline: Option<Instant>) -> Result<Arc<TlsInfo>, Lost> {
        let (Some(config), Some(stream)) = (&self.inbound.tls, self.wire.take_plain()) else {
            return Err(Lost::Handshake(io::ErrorKind::Unsupported.into()));
        };
        let (config, shown) = Shown::watch(config);
        let accepting = TlsAcceptor::from(config).accept(stream);
        let stream = match deadline {
            None => accepting.await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), accepting)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        }
        .map_err(|error| {
            metering::handshake_failed(Role::Server);
            Lost::Handshake(error)
        })?;
        let (_, connection) = stream.get_ref();
        let chain = connection.peer_certificates().unwrap_or_default();
        self.session.client_chain =
            chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        self.session.client_names = chain.first().map(CommonNames::of);
        let names = session_names(connection)
            .ok_or_else(|| Lost::Handshake(io::ErrorKind::InvalidData.into()))?;
        // `admit` judges the client at MAIL, when the sender's domain is known.
        let mut tls = TlsInfo::new(Peer::Unauthenticated, names.version, names.cipher);
        tls.group = names.group;
        tls.bindings = bindings(connection, shown.certificate().as_ref());
        let tls = Arc::new(tls);
        metering::handshake(Role::Server, &tls);
        tracing::debug!(version = tls.version, cipher = tls.cipher, group = tls.group, "TLS");
        self.session.tls = Some(Arc::clone(&tls));
        self.session.name.clear();
        self.session.hello = Hello::Helo;
        // RFC 3207, section 4.2.
        self.session.identity = None;
        self.wire.put_tls(stream);
        Ok(tls)
    }
}
