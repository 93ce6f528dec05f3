//! A relay between a client and a server that keeps what passes, piece by piece, in the order of
//! its passing.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Octets of a read: more than a client writes at once.
const READ: usize = 256 * 1024;
/// How long the end of a connection may follow its last message.
const ENDING: Duration = Duration::from_secs(20);

/// The side that has said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// Everything that was said over one connection.
#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    /// What the server takes for the client's address.
    pub(crate) client: SocketAddr,
    pub(crate) pieces: Vec<(Side, Vec<u8>)>,
    ended: bool,
}

type Shared = Arc<Mutex<Vec<Conversation>>>;

/// A relay to one server. It goes on until it is dropped.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) address: SocketAddr,
    conversations: Shared,
    relays: tokio::task::JoinHandle<()>,
}

impl Tap {
    pub(crate) async fn start(server: SocketAddr) -> Result<Self, String> {
        let failed = |error| format!("relay: {error}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let conversations = Shared::default();
        let shared = Arc::clone(&conversations);
        let relays = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(relay(client, server, Arc::clone(&shared)));
            }
        });
        Ok(Self { address, conversations, relays })
    }

    /// Waits until no connection is open, and takes what was said since the last time.
    pub(crate) async fn take(&self) -> Vec<Conversation> {
        let deadline = Instant::now() + ENDING;
        loop {
            {
                let mut conversations =
                    self.conversations.lock().unwrap_or_else(PoisonError::into_inner);
                if conversations.iter().all(|it| it.ended) || Instant::now() > deadline {
                    return std::mem::take(&mut conversations);
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.relays.abort();
    }
}

async fn relay(client: TcpStream, server: SocketAddr, shared: Shared) {
    let Ok(upstream) = TcpStream::connect(server).await else { return };
    let Ok(address) = upstream.local_addr() else { return };
    // A relay that waits for more would change what it looks at.
    if client.set_nodelay(true).and(upstream.set_nodelay(true)).is_err() {
        return;
    }
    shared.lock().unwrap_or_else(PoisonError::into_inner).push(Conversation {
        client: address,
        pieces: Vec::new(),
        ended: false,
    });
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = upstream.into_split();
    let keep = |side, bytes: &[u8]| {
        let mut conversations = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(conversation) =
            conversations.iter_mut().find(|it| it.client == address && !it.ended)
        {
            conversation.pieces.push((side, bytes.to_vec()));
        }
    };
    tokio::join!(
        pass(from_client, to_server, |bytes| keep(Side::Client, bytes)),
        pass(from_server, to_client, |bytes| keep(Side::Server, bytes))
    );
    let mut conversations = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(conversation) = conversations.iter_mut().find(|it| it.client == address) {
        conversation.ended = true;
    }
}

/// One direction, to its end. A piece is kept before it is passed on, so that it is kept before the
/// answer to it.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, keep: impl Fn(&[u8])) {
    let mut piece = vec![0; READ];
    while let Ok(read) = from.read(&mut piece).await
        && read > 0
    {
        keep(&piece[..read]);
        if to.write_all(&piece[..read]).await.is_err() {
            break;
        }
    }
    // The other direction may go on. An error says that the peer has gone.
    drop(to.shutdown().await);
}
