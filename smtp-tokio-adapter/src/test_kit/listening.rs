//! Where scripts are played: on loopback, or in memory.

use std::io;
use std::net::SocketAddr;

use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::test_kit::peer::{Peer, ScriptError};
use crate::test_kit::script::Script;

/// Octets that a stream in memory holds.
const IN_MEMORY: usize = 4096;

/// Plays a script at the other end of a stream in memory, in a task of the current runtime. The
/// task returns the peer, which can [play on](Peer::play).
///
/// # Panics
///
/// Panics outside a tokio runtime.
pub fn in_memory(script: Script) -> (DuplexStream, JoinHandle<Result<Peer, ScriptError>>) {
    let (ours, theirs) = tokio::io::duplex(IN_MEMORY);
    let playing = tokio::spawn(async move {
        let mut peer = Peer::new(theirs);
        peer.play(&script).await?;
        Ok(peer)
    });
    (ours, playing)
}

/// Listens on a free port of 127.0.0.1. The first connection gets the first script, the second one
/// the second, and each further one the last.
///
/// # Errors
///
/// The system's, if there is no free port.
///
/// # Cancel safety
///
/// Cancel safe: no connection was accepted.
pub async fn listen(scripts: impl IntoIterator<Item = Script>) -> io::Result<Listening> {
    Listening::on(TcpListener::bind("127.0.0.1:0").await?, scripts)
}

/// Listens on a free port of 127.0.0.1, and runs `react` for each connection, with the number of
/// the connection from 0 on: for a server that reacts to what it reads, with
/// [`Peer::next_line`] or [`Peer::serve`].
///
/// # Errors
///
/// The system's, if there is no free port.
///
/// # Cancel safety
///
/// Cancel safe: no connection was accepted.
pub async fn listen_with<R>(
    react: impl Fn(Peer, usize) -> R + Send + 'static,
) -> io::Result<Listening>
where
    R: Future<Output = Result<Peer, ScriptError>> + Send + 'static,
{
    Listening::with(TcpListener::bind("127.0.0.1:0").await?, react)
}

/// A scripted server on loopback. Dropping it ends its connections.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    finish: watch::Sender<bool>,
    accepting: JoinHandle<Vec<Result<Peer, ScriptError>>>,
}

impl Listening {
    /// Plays scripts to the connections of this listener, as [`listen`] does.
    ///
    /// # Errors
    ///
    /// The system's, if the listener has no address.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn on(
        listener: TcpListener,
        scripts: impl IntoIterator<Item = Script>,
    ) -> io::Result<Self> {
        let scripts: Vec<Script> = scripts.into_iter().collect();
        Self::with(listener, move |mut peer, index| {
            let script = scripts.get(index).or(scripts.last()).cloned().unwrap_or_default();
            async move {
                peer.play(&script).await?;
                // The other side decides when a connection ends that the script leaves open.
                Ok(peer)
            }
        })
    }

    fn with<R>(
        listener: TcpListener,
        react: impl Fn(Peer, usize) -> R + Send + 'static,
    ) -> io::Result<Self>
    where
        R: Future<Output = Result<Peer, ScriptError>> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let (finish, finishing) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, react, finishing));
        Ok(Self { address, finish, accepting })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more connections, waits until each script has come to its end or to a stall, and
    /// returns the peers in the order of their connections.
    ///
    /// # Errors
    ///
    /// The first [`ScriptError`] of a connection.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the connections end, and their peers are lost.
    pub async fn finish(mut self) -> Result<Vec<Peer>, ScriptError> {
        self.finish.send_replace(true);
        // The task fails only if the runtime shuts down, and this task with it.
        (&mut self.accepting).await.unwrap_or_default().into_iter().collect()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept<R>(
    listener: TcpListener,
    react: impl Fn(Peer, usize) -> R + Send,
    mut finishing: watch::Receiver<bool>,
) -> Vec<Result<Peer, ScriptError>>
where
    R: Future<Output = Result<Peer, ScriptError>> + Send + 'static,
{
    let mut playing = JoinSet::new();
    let mut accepted = 0;
    loop {
        let stream = tokio::select! {
            biased;
            _ = finishing.wait_for(|&it| it) => break,
            Ok((stream, _)) = listener.accept() => stream,
        };
        // Otherwise the kernel would hold back a second write until the first is acknowledged.
        let _: io::Result<()> = stream.set_nodelay(true);
        let index = accepted;
        accepted += 1;
        let reacting = react(Peer::new(stream).stalling_until(finishing.clone()), index);
        playing.spawn(async move { (index, reacting.await) });
    }
    drop(listener);
    let mut ended = playing.join_all().await;
    ended.sort_by_key(|(index, _)| *index);
    ended.into_iter().map(|(_, played)| played).collect()
}
