//! The listener: accepts connections, limits their number, and ends them at shutdown.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use smtp_proto::Secret;
use smtp_proto::sasl::scram::Nonce;
use smtp_proto::sasl::server::{self as sasl, Mechanism};
use smtp_proto::server::StartTls;
use tokio::net::TcpListener;
#[cfg(feature = "proxy-protocol")]
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::client::auth::random;
use crate::metering::Served;
use crate::server::connection::handle_until;
use crate::server::handler::Handler;
use crate::server::inbound::Inbound;

const BUSY: &[u8] = b"421 4.3.2 too many connections\r\n";
#[cfg(feature = "proxy-protocol")]
const NO_PROXY_HEADER: &[u8] = b"421 4.7.0 a PROXY header is needed\r\n";
/// How long connections may take to send 421 after the grace, and handlers for `closed`.
const FAREWELL: Duration = Duration::from_secs(5);

/// SCRAM-SHA-256-PLUS and SCRAM-SHA-256 for
/// [`ServerConfig::mechanisms`](smtp_proto::server::ServerConfig::mechanisms), with nonces from the
/// provider's random numbers: [`smtp_proto::sasl::server::scram`].
pub fn scram(
    decoy_secret: Secret,
    decoy_iterations: u32,
    provider: Arc<CryptoProvider>,
) -> [Arc<dyn Mechanism>; 2] {
    let nonces = move || random(&provider).ok().map(Nonce::from);
    sasl::scram(decoy_secret, decoy_iterations, nonces)
}

/// Accepts connections until `shutdown` is ready, and then waits for the messages that are being
/// received, no longer than [`Inbound::grace`]. `handler` makes the handler of each connection from
/// the address of the client.
///
/// # Errors
///
/// `InvalidInput`, at once: implicit TLS or STARTTLS without a certificate. Otherwise the error of
/// a listener that can accept no more connections; messages that are being received end first.
///
/// # Cancel safety
///
/// Not cancel safe: if the future is dropped, all connections are closed without a reply, handlers
/// are dropped without [`closed`](Handler::closed), and clients keep the messages that were not
/// answered. Make `shutdown` ready to end the connections in good order.
pub async fn serve<H: Handler + 'static>(
    listener: TcpListener,
    inbound: Inbound,
    handler: impl Fn(SocketAddr) -> H + Send + Sync + 'static,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    if inbound.tls.is_none() {
        // Every handshake would fail, or every STARTTLS get 454.
        let needs = match inbound.smtp.starttls {
            _ if inbound.implicit => Some("implicit TLS without a certificate"),
            StartTls::Offered | StartTls::Required => Some("STARTTLS without a certificate"),
            StartTls::No => None,
        };
        if let Some(needs) = needs {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, needs));
        }
    }
    let handler = Arc::new(handler);
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
                    tracing::warn!(%error, "a connection cannot be accepted; trying again");
                    // Without file descriptors the next call would fail at once as well.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
                Err(error) => break Err(error),
            },
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            tracing::warn!(%peer, "refused with 421: too many connections");
            // One try, without waiting for a client that does not read. A client that waits for TLS
            // could not read it.
            if !inbound.implicit {
                let _: io::Result<usize> = stream.try_write(BUSY);
            }
            continue;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set");
        }
        let (inbound, handler) = (inbound.clone(), Arc::clone(&handler));
        let (leaving, mut given_up) = (leaving.clone(), given_up.clone());
        let span = tracing::info_span!("smtp_serve", %peer, client = tracing::field::Empty);
        tasks.spawn(tracing::Instrument::instrument(
            async move {
                let _served = Served::begin();
                #[cfg(feature = "proxy-protocol")]
                let (stream, peer) = match client(&inbound, stream, peer).await {
                    Some(accepted) => accepted,
                    None => return,
                };
                let handler = handler(peer);
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
        tracing::warn!(
            connections = tasks.len(),
            "the grace is over; connections are closed with 421"
        );
        give_up.send_replace(true);
        if tokio::time::timeout(FAREWELL, all(&mut tasks)).await.is_err() {
            tasks.shutdown().await;
        }
    }
    ended
}

/// Reads the header of a listed proxy. Returns the stream and the client's address; `None` if the
/// connection is refused.
#[cfg(feature = "proxy-protocol")]
async fn client(
    inbound: &Inbound,
    mut stream: TcpStream,
    peer: SocketAddr,
) -> Option<(TcpStream, SocketAddr)> {
    let Some(proxy) = inbound.proxy.as_ref().filter(|proxy| proxy.lists(peer.ip())) else {
        return Some((stream, peer));
    };
    match proxy.read(&mut stream).await {
        Ok(client) => {
            let client = client.unwrap_or(peer);
            tracing::Span::current().record("client", tracing::field::display(client));
            Some((stream, client))
        }
        Err(error) => {
            let code = error.code();
            tracing::warn!(code, %error, "refused: no usable PROXY header from a listed proxy");
            if !inbound.implicit {
                let _: io::Result<usize> = stream.try_write(NO_PROXY_HEADER);
            }
            None
        }
    }
}

async fn all(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

/// Whether `accept` may succeed later: everything that is about one connection, or about resources.
fn is_passing(error: &io::Error) -> bool {
    // EMFILE, ENFILE, ENOBUFS and ENOMEM have no stable kinds; EBADF, EINVAL and the like do not
    // pass.
    !matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::NotConnected | io::ErrorKind::Unsupported
    )
}
