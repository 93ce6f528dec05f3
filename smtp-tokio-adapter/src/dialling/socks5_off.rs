//! SOCKS5 without the feature `socks5`: no connection is made in another way.

use std::io;
use std::net::SocketAddr;

use smtp_tls_policy::Reason;
use smtp_tls_policy::rules::Socks5Proxy;
use tokio::net::TcpStream;

use crate::dialling::NoConnection;

pub(super) async fn ask(
    _: TcpStream,
    _: SocketAddr,
    _: &Socks5Proxy,
) -> Result<TcpStream, NoConnection> {
    let why = "the connector names a proxy, and the program was built without the feature socks5";
    let error = io::Error::new(io::ErrorKind::Unsupported, why);
    Err(NoConnection::Local(Reason::ProxyFailed, error))
}
