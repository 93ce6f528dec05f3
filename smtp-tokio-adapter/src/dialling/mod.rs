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
use tokio::time::Instant;

pub(crate) use self::race::{Raced, race};

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NoConnection {
    /// The address does not answer, or the network does not lead there.
    Peer(io::Error),
    /// A fault of this side: another address could not be dialled as the connector says either.
    Local(Reason, io::Error),
}

/// Whether a connection, or a look-up, failed for want of descriptors, memory, buffers or ports on
/// this host.
pub(crate) fn is_local(error: &io::Error) -> bool {
    /// ENFILE and EMFILE on every Unix, and ENOBUFS as Linux and others number it.
    const WANT: [i32; 3] = [23, 24, if cfg!(target_os = "linux") { 105 } else { 55 }];
    matches!(error.kind(), io::ErrorKind::OutOfMemory | io::ErrorKind::AddrNotAvailable)
        || cfg!(unix) && error.raw_os_error().is_some_and(|code| WANT.contains(&code))
}

/// Connects to an address. Within the time limit there is a connection or a failure.
pub(crate) async fn connect(
    address: SocketAddr,
    rules: &DialRules,
    limit: Duration,
) -> Result<TcpStream, NoConnection> {
    let stream = match &rules.socks5 {
        None => in_time(limit, tcp(address, rules)).await?,
        Some(proxy) => {
            let ask = |stream| socks5::ask(stream, address, proxy);
            through_proxy(limit, tcp(proxy.address, rules), ask).await?
        }
    };
    // Without it a small message waits for the peer's delayed ACK, 40 ms and more.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    Ok(stream)
}

/// Connects to a proxy and asks it for a connection, all within one time limit.
async fn through_proxy<S, A>(
    limit: Duration,
    connecting: impl Future<Output = Result<S, NoConnection>>,
    ask: impl FnOnce(S) -> A,
) -> Result<S, NoConnection>
where
    A: Future<Output = Result<S, NoConnection>>,
{
    let begin = Instant::now();
    let stream = in_time(limit, connecting).await.map_err(|failure| match failure {
        NoConnection::Peer(error) => NoConnection::Local(Reason::ProxyFailed, error),
        local => local,
    })?;
    // A proxy waits for the host as long as any client would, so that a late answer is the host's.
    in_time(limit.saturating_sub(begin.elapsed()), ask(stream)).await
}

async fn in_time<S>(
    limit: Duration,
    connecting: impl Future<Output = Result<S, NoConnection>>,
) -> Result<S, NoConnection> {
    let connected = tokio::time::timeout(limit, connecting).await;
    connected.unwrap_or_else(|_| Err(NoConnection::Peer(io::ErrorKind::TimedOut.into())))
}

async fn tcp(address: SocketAddr, rules: &DialRules) -> Result<TcpStream, NoConnection> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(|error| failed(address, error))?;
    bind(&socket, address.ip(), rules)
        .map_err(|error| NoConnection::Local(Reason::SourceUnavailable, error))?;
    socket.connect(address).await.map_err(|error| failed(address, error))
}

/// Whose fault it is that there is no connection to this address.
pub(crate) fn failed(address: SocketAddr, error: io::Error) -> NoConnection {
    match error.kind() {
        // A host that has no IPv6 says so; for want of ports it says the same.
        io::ErrorKind::AddrNotAvailable if address.is_ipv6() => {
            NoConnection::Peer(io::ErrorKind::NetworkUnreachable.into())
        }
        _ if is_local(&error) => NoConnection::Local(Reason::ConnectLocalFault, error),
        _ => NoConnection::Peer(error),
    }
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

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_slow_proxy_that_never_answers_costs_the_time_limit_once() {
        let begin = Instant::now();
        let connecting = async {
            tokio::time::sleep(LIMIT - Duration::from_secs(1)).await;
            Ok(())
        };
        let failure = through_proxy(LIMIT, connecting, |()| pending()).await.unwrap_err();
        assert_eq!(begin.elapsed(), LIMIT);
        // The proxy has waited for the host.
        let NoConnection::Peer(error) = failure else { panic!("{failure:?}") };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_that_cannot_be_connected_to_costs_the_time_limit_once() {
        let begin = Instant::now();
        let failure = through_proxy(LIMIT, pending(), |()| ready(Ok(()))).await.unwrap_err();
        assert_eq!(begin.elapsed(), LIMIT);
        assert!(matches!(failure, NoConnection::Local(Reason::ProxyFailed, _)), "{failure:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_time_limit_is_a_limit_too() {
        through_proxy(Duration::MAX, ready(Ok(())), |()| ready(Ok(()))).await.unwrap();
    }
}
