//! TCP connections as a connector's [`DialRules`] say: from its source address, through its
//! interface or its proxy.

mod race;
#[cfg_attr(not(feature = "socks5"), path = "socks5_off.rs")]
mod socks5;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use smtp_tls_policy::Reason;
use smtp_tls_policy::rules::DialRules;
use tokio::net::{TcpSocket, TcpStream};

pub(crate) use self::race::{Raced, race};

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NoConnection {
    /// The address does not answer, or the network does not lead there.
    Peer(io::Error),
    /// A fault of this side: another address would not be dialled as the connector says either.
    Local(Reason, io::Error),
}

/// Connects to an address. Within the time limit there is a connection or a failure.
pub(crate) async fn connect(
    address: SocketAddr,
    rules: &DialRules,
    limit: Duration,
) -> Result<TcpStream, NoConnection> {
    let stream = match rules.socks5 {
        None => tcp(address, rules, limit).await?,
        Some(proxy) => {
            let stream = tcp(proxy, rules, limit).await.map_err(|failure| match failure {
                NoConnection::Peer(error) => NoConnection::Local(Reason::ProxyFailed, error),
                local => local,
            })?;
            match tokio::time::timeout(limit, socks5::ask(stream, address)).await {
                Ok(connected) => connected?,
                // A proxy waits for the host as long as any client would.
                Err(_) => return Err(NoConnection::Peer(io::ErrorKind::TimedOut.into())),
            }
        }
    };
    // Without it a small message waits for the peer's delayed ACK, 40 ms and more.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    Ok(stream)
}

async fn tcp(
    address: SocketAddr,
    rules: &DialRules,
    limit: Duration,
) -> Result<TcpStream, NoConnection> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(NoConnection::Peer)?;
    bind(&socket, address.ip(), rules)
        .map_err(|error| NoConnection::Local(Reason::SourceUnavailable, error))?;
    let connecting = tokio::time::timeout(limit, socket.connect(address));
    let connected = connecting.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    connected.map_err(NoConnection::Peer)
}

fn bind(socket: &TcpSocket, to: IpAddr, rules: &DialRules) -> io::Result<()> {
    if let Some(interface) = &rules.interface {
        bind_interface(socket, interface)?;
    }
    match rules.source(to) {
        Some(source) => socket.bind(SocketAddr::new(source, 0)),
        None => Ok(()),
    }
}

#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
fn bind_interface(socket: &TcpSocket, interface: &str) -> io::Result<()> {
    socket.bind_device(Some(interface.as_bytes()))
}

#[cfg(not(any(target_os = "android", target_os = "fuchsia", target_os = "linux")))]
fn bind_interface(_: &TcpSocket, _: &str) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "connections cannot be tied to a network interface on this system",
    ))
}
