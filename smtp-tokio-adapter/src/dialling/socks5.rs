//! SOCKS5 (RFC 1928, RFC 1929): asks a proxy for a connection to an address.

use std::io;
use std::net::SocketAddr;

use smtp_tls_policy::Reason;
use smtp_tls_policy::rules::Socks5Proxy;
use tokio::net::TcpStream;
use tokio_socks::Error;
use tokio_socks::tcp::Socks5Stream;

use crate::dialling::NoConnection;

/// Asks the proxy at the other end of this stream for a connection. The proxy is given the address,
/// so that it has no name to look up.
pub(super) async fn ask(
    stream: TcpStream,
    to: SocketAddr,
    proxy: &Socks5Proxy,
) -> Result<TcpStream, NoConnection> {
    let asked = match proxy.user().zip(proxy.password()) {
        None => Socks5Stream::connect_with_socket(stream, to).await,
        Some((user, password)) => {
            Socks5Stream::connect_with_password_and_socket(stream, to, user, password).await
        }
    };
    match asked {
        Ok(stream) => Ok(stream.into_inner()),
        Err(error) => Err(failure(error)),
    }
}

/// Only the replies that are about the host are its failure (RFC 1928, section 6).
fn failure(error: Error) -> NoConnection {
    let kind = match &error {
        Error::NetworkUnreachable => io::ErrorKind::NetworkUnreachable,
        Error::HostUnreachable => io::ErrorKind::HostUnreachable,
        Error::ConnectionRefused => io::ErrorKind::ConnectionRefused,
        Error::TtlExpired => io::ErrorKind::TimedOut,
        _ => return NoConnection::Local(Reason::ProxyFailed, io::Error::other(error)),
    };
    NoConnection::Peer(io::Error::new(kind, error))
}
