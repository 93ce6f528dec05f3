//! The listener, and what its connections have in common.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use smtp_proto::sasl::server::{Decoy, Mechanism, ScramSha256};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::client::auth::random;
use crate::server::connection::handle_until;
use crate::server::handler::Service;
use crate::server::inbound::Inbound;

const BUSY: &[u8] = b"421 4.3.2 too many connections\r\n";
/// How long connections may take to say their last words after the grace, `closed` included.
const FAREWELL: Duration = Duration::from_secs(5);

/// SCRAM-SHA-256-PLUS and SCRAM-SHA-256 for
/// [`ServerConfig::mechanisms`](smtp_proto::server::ServerConfig::mechanisms), with nonces from the
/// provider's random numbers.
pub fn scram(decoy: Decoy, provider: Arc<CryptoProvider>) -> [Arc<dyn Mechanism>; 2] {
    ScramSha256::both(decoy, move || random(&provider).ok())
}

/// Accepts connections until `shutdown` is done, then lets messages under way come to their end.
///
/// # Errors
///
/// `InvalidInput`, at once: implicit TLS without a certificate. The listener's, if it can accept no
/// more; messages under way come to their end first.
pub async fn serve<T: Service>(
    listener: TcpListener,
    inbound: Inbound,
    service: Arc<T>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    if inbound.implicit && inbound.tls.is_none() {
        // Every handshake would fail, one client after the other.
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "implicit TLS without a certificate",
        ));
    }
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
            // One try: a client that cannot even take this gets silence; to one that waits for TLS
            // it would be noise.
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
    // EMFILE, ENFILE, ENOBUFS and ENOMEM have no stable kinds; EBADF, EINVAL and the like do not
    // pass.
    !matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::NotConnected | io::ErrorKind::Unsupported
    )
}
