//! TCP connections to the first address of a host that answers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long an address is tried before the next one is tried beside it (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Most addresses that are tried. Our own choice.
const MAX_ADDRESSES: usize = 8;

/// Connects to a port of a host. The families take turns, IPv6 first (RFC 8305, section 4). The
/// caller sets the time limit.
pub(crate) async fn connect(
    ipv6: Vec<Ipv6Addr>,
    ipv4: Vec<Ipv4Addr>,
    port: u16,
) -> io::Result<TcpStream> {
    let mut waiting = in_turns(ipv6, ipv4).into_iter();
    let mut running = JoinSet::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    loop {
        if let Some(address) = waiting.next() {
            running.spawn(TcpStream::connect((address, port)));
        }
        tokio::select! {
            Some(connected) = running.join_next() => match connected {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = error,
                Err(panicked) => failure = io::Error::other(panicked),
            },
            () = tokio::time::sleep(ATTEMPT_DELAY), if !waiting.as_slice().is_empty() => {}
            else => return Err(failure),
        }
    }
}

fn in_turns(ipv6: Vec<Ipv6Addr>, ipv4: Vec<Ipv4Addr>) -> Vec<IpAddr> {
    let (mut ipv6, mut ipv4) = (ipv6.into_iter(), ipv4.into_iter());
    let mut addresses = Vec::new();
    loop {
        let next = [ipv6.next().map(IpAddr::V6), ipv4.next().map(IpAddr::V4)];
        let before = addresses.len();
        addresses.extend(next.into_iter().flatten());
        if addresses.len() == before || addresses.len() >= MAX_ADDRESSES {
            addresses.truncate(MAX_ADDRESSES);
            return addresses;
        }
    }
}
