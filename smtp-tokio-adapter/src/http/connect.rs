//! TCP connections to the first address of a host that answers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::dialling::{NoConnection, failed, race};

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
    first_of(in_turns(ipv6, ipv4), port, TcpStream::connect).await
}

async fn first_of<S, C>(
    addresses: Vec<IpAddr>,
    port: u16,
    dial: impl Fn(SocketAddr) -> C,
) -> io::Result<S>
where
    C: Future<Output = io::Result<S>>,
{
    let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, port));
    let addresses: Vec<SocketAddr> = addresses.collect();
    let Some((first, others)) = addresses.split_first() else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    };
    let connect = |address: SocketAddr| {
        let dialled = dial(address);
        async move { dialled.await.map_err(|error| failed(address, error)) }
    };
    let pause = || tokio::time::sleep(ATTEMPT_DELAY);
    race(*first, others, connect, pause).await.end.map_err(|failure| match failure {
        NoConnection::Peer(error) | NoConnection::Local(_, error) => error,
    })
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::pending;
    use std::io::ErrorKind;

    use tokio::time::Instant;

    use super::*;
    use crate::dialling::is_local;

    fn addresses(ipv6: u16, ipv4: u8) -> (Vec<Ipv6Addr>, Vec<Ipv4Addr>) {
        let six = (1..=ipv6).map(|last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
        (six.collect(), (1..=ipv4).map(|last| Ipv4Addr::new(192, 0, 2, last)).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn first_address_that_never_answers_costs_250_ms() {
        let (ipv6, ipv4) = addresses(1, 1);
        let begin = Instant::now();
        let dial =
            |to: SocketAddr| async move { if to.is_ipv6() { pending().await } else { Ok(to) } };
        let reached = first_of(in_turns(ipv6, ipv4), 80, dial).await.unwrap();
        assert_eq!(reached, SocketAddr::from(([192, 0, 2, 1], 80)));
        assert_eq!(begin.elapsed(), Duration::from_millis(250));
    }

    #[tokio::test(start_paused = true)]
    async fn address_that_refuses_costs_no_time() {
        let (ipv6, ipv4) = addresses(1, 1);
        let begin = Instant::now();
        let dial = |to: SocketAddr| async move {
            if to.is_ipv6() { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(to) }
        };
        assert!(first_of(in_turns(ipv6, ipv4), 80, dial).await.unwrap().is_ipv4());
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    /// The first address fails for want of descriptors, or because this host has no IPv6; the other
    /// one refuses.
    #[tokio::test]
    async fn fault_of_this_side_is_told_before_the_refusal_of_another_address() {
        for (code, kind) in [(24, None), (99, Some(ErrorKind::ConnectionRefused))] {
            let (ipv6, ipv4) = addresses(1, 1);
            let dial = |to: SocketAddr| async move {
                Err::<(), _>(match to.is_ipv6() {
                    true => io::Error::from_raw_os_error(code),
                    false => ErrorKind::ConnectionRefused.into(),
                })
            };
            let failure = first_of(in_turns(ipv6, ipv4), 80, dial).await.unwrap_err();
            assert_eq!(is_local(&failure), kind.is_none(), "{code}");
            assert!(kind.is_none_or(|kind| failure.kind() == kind), "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_thousand_addresses_eight_are_dialled_in_turns_of_the_families() {
        let (ipv6, ipv4) = addresses(1000, 2);
        let dialled = RefCell::new(Vec::new());
        let dial = |to: SocketAddr| {
            dialled.borrow_mut().push(to.is_ipv6());
            async { Err::<(), _>(io::ErrorKind::ConnectionRefused.into()) }
        };
        let failure = first_of(in_turns(ipv6, ipv4), 80, dial).await.unwrap_err();
        assert_eq!(failure.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(*dialled.borrow(), [true, false, true, false, true, true, true, true]);
    }

    #[tokio::test]
    async fn host_without_an_address_is_not_found() {
        let failure = connect(Vec::new(), Vec::new(), 80).await.unwrap_err();
        assert_eq!(failure.kind(), io::ErrorKind::NotFound);
    }
}
