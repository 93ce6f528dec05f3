//! The receiving side: a listener, a handler for each connection, a cap on connections and a graceful end.
//!
//! A [`Service`] makes one [`Handler`] for each connection. Every method of a handler has an answer by default, but
//! those without which there is no mail server: `recipient`, `body` and `end_of_body`. A handler may take its time:
//! nothing more is read from its client meanwhile, other connections go on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pki_types::CertificateDer;
use smtp_proto::body::Runs;
use smtp_proto::command::Command;
use smtp_proto::error::Phase;
use smtp_proto::fallback::{Channel, Peer, TlsInfo};
use smtp_proto::params::{MailParameters, RcptParameters};
use smtp_proto::path::{ForwardPath, ReversePath};
use smtp_proto::reply::Response;
use smtp_proto::server::{self, BodyRefusal, EarlyTalk, Event, Server};
use smtp_proto::{Step, Want};
use smtp_tls_policy::rustls::session_names;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::transport::{Io, Link, Moved, Until, Wire};

const GREETING: Response = Response::fixed(220, (2, 0, 0), "");
const HELLO: Response = Response::fixed(250, (2, 0, 0), "");
const READY_FOR_TLS: Response = Response::fixed(220, (2, 0, 0), "ready to start TLS");
const NO_TLS: Response = Response::fixed(454, (4, 7, 0), "TLS not available");
const SENDER_OK: Response = Response::fixed(250, (2, 1, 0), "sender OK");
const GO_AHEAD: Response = Response::fixed(354, (3, 0, 0), "end with <CRLF>.<CRLF>");
// RFC 5321, 3.5.3.
const VRFY: Response = Response::fixed(252, (2, 5, 2), "cannot VRFY, but will take the message and attempt delivery");
const EXPN: Response = Response::fixed(502, (5, 5, 1), "command not implemented");
const HELP: Response = Response::fixed(214, (2, 0, 0), "see RFC 5321");
const SHUTDOWN: Response = Response::fixed(421, (4, 3, 2), "shutting down");
const INTERNAL: Response = Response::fixed(421, (4, 3, 0), "internal error");
const BUSY: &[u8] = b"421 4.3.2 too many connections\r\n";
/// The last words of a connection whose handler has panicked, and of one that has outlived the grace.
const PANICKED: &[u8] = b"421 4.3.0 internal error\r\n";
const GRACE_OVER: &[u8] = b"421 4.3.2 shutting down\r\n";
/// Octets of replies that may wait for a client to read them before its next command is looked at.
const MAX_QUEUED: usize = 64 * 1024;
/// How long connections may take to say their last words after the grace, `closed` included.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long closing a connection may take.
const LINGER: Duration = Duration::from_secs(2);

/// What all connections of a listener have in common.
#[derive(Clone)]
pub struct Inbound {
    /// Name, extensions, limits.
    pub smtp: Arc<server::Config>,
    /// The server's certificate; needed where [`server::Config::starttls`] is not `No`, and for `implicit`.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// TLS from the first byte (RFC 8314, 3.3).
    pub implicit: bool,
    /// Connections at a time; one more is told 421 and closed.
    pub connections: usize,
    /// How long a message that is under way at shutdown may take.
    pub grace: Duration,
}

impl Inbound {
    /// Clear text, a thousand connections, half a minute of grace.
    pub fn new(smtp: Arc<server::Config>) -> Self {
        Self { smtp, tls: None, implicit: false, connections: 1000, grace: Duration::from_secs(30) }
    }
}

/// What is known of a connection.
#[derive(Clone, Debug)]
pub struct Session {
    /// The client's address; none where the stream is no socket.
    pub peer: Option<SocketAddr>,
    /// What the client called itself last.
    pub name: String,
    /// EHLO, not HELO.
    pub extended: bool,
    /// Whether the client spoke before it was its turn.
    pub early_talk: Option<EarlyTalk>,
    /// What the handshake showed; none in clear text.
    pub tls: Option<Arc<TlsInfo>>,
    /// The client's certificate and its chain, leaf first, as it was shown; empty if none. The key behind it was
    /// checked, and nothing else: judge it with [`admit`](smtp_tls_policy::admit()).
    pub client_chain: Arc<[CertificateDer<'static>]>,
}

/// Makes a handler for each connection. A function of the client's address is one.
pub trait Service: Send + Sync + 'static {
    /// One for each connection.
    type Handler: Handler;
    /// A connection has come.
    fn handler(&self, peer: SocketAddr) -> Self::Handler;
}

impl<F, H> Service for F
where
    F: Fn(SocketAddr) -> H + Send + Sync + 'static,
    H: Handler,
{
    type Handler = H;
    fn handler(&self, peer: SocketAddr) -> H {
        self(peer)
    }
}

/// Answers one connection.
pub trait Handler: Send {
    /// The greeting: 220, 554 or 421. The server's name is put before the text.
    fn connected(&mut self, _session: &Session) -> impl Future<Output = Response> + Send {
        async { GREETING }
    }

    /// EHLO or HELO: 250. It also ends an open transaction.
    fn hello(&mut self, _session: &Session) -> impl Future<Output = Response> + Send {
        async { HELLO }
    }

    /// STARTTLS: 220 or 454.
    fn starttls(&mut self, _session: &Session) -> impl Future<Output = Response> + Send {
        async { READY_FOR_TLS }
    }

    /// TLS is up. A response here is the answer to everything but QUIT from now on: for a client whose certificate is
    /// not acceptable (554 5.7.0).
    fn handshake(&mut self, _session: &Session) -> impl Future<Output = Option<Response>> + Send {
        async { None }
    }

    /// MAIL: 250 opens a transaction.
    fn mail(
        &mut self,
        _session: &Session,
        _path: ReversePath<'_>,
        _parameters: MailParameters<'_>,
    ) -> impl Future<Output = Response> + Send {
        async { SENDER_OK }
    }

    /// RCPT.
    fn recipient(
        &mut self,
        session: &Session,
        path: ForwardPath<'_>,
        parameters: RcptParameters<'_>,
    ) -> impl Future<Output = Response> + Send;

    /// DATA: 354.
    fn data(&mut self, _session: &Session) -> impl Future<Output = Response> + Send {
        async { GO_AHEAD }
    }

    /// A piece of the message. What cannot be stored is remembered, and said in [`end_of_body`](Self::end_of_body).
    fn body(&mut self, runs: Runs<'_>) -> impl Future<Output = ()> + Send;

    /// The message is complete. 2yz takes the responsibility for it (RFC 5321, 4.2.5): store it first.
    fn end_of_body(&mut self, session: &Session) -> impl Future<Output = Response> + Send;

    /// The message was read to its end and refused by the machine: forget what came of it.
    fn body_refused(&mut self, _refusal: BodyRefusal) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// RSET: forget the transaction.
    fn reset(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// The connection is over, however it ended, be it by a panic in another method or by the end of the grace, which
    /// drops the method that is under way. A message without an answer is nobody's: forget what came of it.
    ///
    /// Not called where the future of [`serve`] or [`handle`] is dropped itself.
    fn closed(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// VRFY, EXPN or HELP.
    fn other(&mut self, _session: &Session, command: Command<'_>) -> impl Future<Output = Response> + Send {
        let response = match command {
            Command::Vrfy { .. } => VRFY,
            Command::Help(_) => HELP,
            _ => EXPN,
        };
        async { response }
    }
}

/// Accepts connections until `shutdown` is done, then lets messages under way come to their end.
///
/// # Errors
///
/// The listener's, if it can accept no more; messages under way come to their end first.
pub async fn serve<T: Service>(
    listener: TcpListener,
    inbound: Inbound,
    service: Arc<T>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(inbound.connections));
    let (leave, leaving) = watch::channel(false);
    let (give_up, given_up) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    let ended = loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = &mut shutdown => break Ok(()),
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_passing(&error) => {
                    tracing::warn!(%error, "accept");
                    // Out of descriptors: the next call would fail as well, at once.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
                Err(error) => break Err(error),
            },
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            tracing::warn!(%peer, "too many connections");
            // One try: a client that cannot even take this gets silence; to one that waits for TLS it would be noise.
            if !inbound.implicit {
                let _: io::Result<usize> = stream.try_write(BUSY);
            }
            continue;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        let (inbound, service) = (inbound.clone(), Arc::clone(&service));
        let (leaving, mut given_up) = (leaving.clone(), given_up.clone());
        let span = tracing::info_span!("smtp_serve", %peer);
        tasks.spawn(tracing::Instrument::instrument(
            async move {
                let handler = service.handler(peer);
                let given_up = async {
                    if given_up.wait_for(|&given_up| given_up).await.is_err() {
                        std::future::pending::<()>().await;
                    }
                };
                handle_until(&inbound, handler, stream, Some(peer), leaving, given_up).await;
                drop(slot);
            },
            span,
        ));
    };
    drop(listener);
    leave.send_replace(true);
    if tokio::time::timeout(inbound.grace, all(&mut tasks)).await.is_err() {
        tracing::warn!(connections = tasks.len(), "grace is over");
        give_up.send_replace(true);
        if tokio::time::timeout(FAREWELL, all(&mut tasks)).await.is_err() {
            tasks.shutdown().await;
        }
    }
    ended
}

async fn all(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

/// Whether `accept` may succeed later: everything that is about one connection, or about resources.
fn is_passing(error: &io::Error) -> bool {
    // EMFILE, ENFILE, ENOBUFS and ENOMEM have no stable kinds; EBADF, EINVAL and the like do not pass.
    !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotConnected | io::ErrorKind::Unsupported)
}

/// Serves one stream to its end. `leaving` turns true at shutdown; if its sender is gone, there is none.
pub async fn handle<S: Io, H: Handler>(
    inbound: &Inbound,
    handler: H,
    stream: S,
    peer: Option<SocketAddr>,
    leaving: watch::Receiver<bool>,
) {
    handle_until(inbound, handler, stream, peer, leaving, std::future::pending()).await;
}

/// The same, but no longer than until `given_up` is done.
async fn handle_until<S: Io, H: Handler>(
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
        extended: false,
        early_talk: None,
        tls: None,
        client_chain: Arc::from(Vec::new()),
    };
    let mut serving = Serving { inbound, handler, session, wire: Wire::new(stream), leaving };
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

/// The handler is the caller's code: its panic, which the panic hook has reported, ends one connection in good order.
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

/// Puts one event before the handler.
async fn answer<S: Io, H: Handler>(
    event: Event<'_>,
    handler: &mut H,
    session: &mut Session,
    inbound: &Inbound,
    link: &mut Link<S>,
) -> io::Result<Option<Response>> {
    if let Event::Hello { name, extended } = event {
        session.name = name.to_owned();
        session.extended = extended;
    }
    let session = &*session;
    let response = match event {
        Event::Connected => link.promptly(handler.connected(session)).await?,
        Event::Hello { .. } => link.promptly(handler.hello(session)).await?,
        Event::StartTls if inbound.tls.is_none() => NO_TLS,
        Event::StartTls => link.promptly(handler.starttls(session)).await?,
        Event::Mail { path, parameters } => link.promptly(handler.mail(session, path, parameters)).await?,
        Event::Recipient { path, parameters } => link.promptly(handler.recipient(session, path, parameters)).await?,
        Event::Data => link.promptly(handler.data(session)).await?,
        Event::EndOfBody => link.promptly(handler.end_of_body(session)).await?,
        Event::Other(command) => link.promptly(handler.other(session, command)).await?,
        Event::Body(runs) => {
            link.promptly(handler.body(runs)).await?;
            return Ok(None);
        }
        Event::BodyRefused(refusal) => {
            tracing::info!(%refusal, "message refused");
            link.promptly(handler.body_refused(refusal)).await?;
            return Ok(None);
        }
        Event::Reset => {
            link.promptly(handler.reset()).await?;
            return Ok(None);
        }
        Event::Closed => return Ok(None),
    };
    Ok(Some(response))
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
}

impl<S: Io, H: Handler> Serving<'_, S, H> {
    async fn run(&mut self) -> Result<(), Lost> {
        let mut channel = Channel::Plain;
        if self.inbound.implicit {
            let deadline = Instant::now() + self.inbound.smtp.timeouts.of(Phase::Handshake);
            channel = Channel::Implicit(self.handshake(Some(deadline)).await?);
        }
        let implicit = channel != Channel::Plain;
        let mut server = Server::new(Arc::clone(&self.inbound.smtp), channel, Instant::now());
        if implicit && let Some(response) = self.handler.handshake(&self.session).await {
            server.bar(response);
        }
        let ended = self.converse(&mut server).await;
        let deadline = Instant::now() + LINGER;
        self.wire.close(deadline).await;
        self.wire.drain(deadline).await;
        ended
    }

    async fn converse(&mut self, server: &mut Server) -> Result<(), Lost> {
        loop {
            let Self { inbound, handler, session, wire, leaving } = self;
            if wire.queued() > MAX_QUEUED {
                wire.send(Instant::now() + inbound.smtp.timeouts.of(Phase::Idle)).await?;
            }
            let progress = server.poll(Instant::now(), &wire.input, &mut wire.link.output)?;
            let greets = matches!(progress.step, Step::Event(Event::Connected));
            let want = match progress.step {
                Step::Wait(want) => Some(want),
                Step::Event(Event::Closed) => return Ok(()),
                Step::Event(event) => {
                    session.early_talk = server.early_talk();
                    let response = answer(event, handler, session, inbound, &mut wire.link).await?;
                    if let Some(response) = response
                        && let Err(misuse) = server.respond(&response, &mut wire.link.output)
                    {
                        tracing::error!(%misuse, "the handler's response");
                        server.close(&INTERNAL, &mut wire.link.output);
                    }
                    None
                }
            };
            wire.advance(progress.consumed);
            // What has come before the greeting is sent, came too early: the machine takes note of it.
            if greets {
                wire.probe().await?;
            }
            match want {
                None | Some(Want::Answer) => {}
                Some(Want::Handshake) => {
                    let deadline = server.deadline();
                    match wire.exchange(Until::Sent, deadline).await? {
                        Moved::Sent => {}
                        // The machine knows what plaintext here means.
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
                }
                Some(Want::Input) => {
                    let until = if server.phase() == Phase::Body { Until::Body } else { Until::Lines };
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
                        // Everything read has been answered: the client closed its sending side after its last word.
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
        let accepting = TlsAcceptor::from(Arc::clone(config)).accept(stream);
        let stream = match deadline {
            None => accepting.await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), accepting)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        }
        .map_err(Lost::Handshake)?;
        let (_, connection) = stream.get_ref();
        let chain = connection.peer_certificates().unwrap_or_default();
        self.session.client_chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        let names = session_names(connection).ok_or_else(|| Lost::Handshake(io::ErrorKind::InvalidData.into()))?;
        // Who the client is, is judged at MAIL: only then the sender's domain is known.
        let tls = Arc::new(TlsInfo { peer: Peer::Unauthenticated, version: names.version, cipher: names.cipher });
        tracing::debug!(version = tls.version, cipher = tls.cipher, "TLS");
        self.session.tls = Some(Arc::clone(&tls));
        self.session.name.clear();
        self.session.extended = false;
        self.wire.put_tls(stream);
        Ok(tls)
    }
}
