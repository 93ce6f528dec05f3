//! Races the addresses of one host (RFC 8305, section 5).

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;

use crate::dialling::NoConnection;

/// How a race ended.
pub(crate) struct Raced<S> {
    /// The address of the connection, or the last one that failed.
    pub(crate) address: SocketAddr,
    /// The connection, or why there is none.
    pub(crate) end: Result<S, NoConnection>,
    /// The addresses that failed before, in the order of their failures.
    pub(crate) failed: Vec<(SocketAddr, io::Error)>,
    /// The addresses that had not answered yet. Their sockets are closed.
    pub(crate) outrun: Vec<SocketAddr>,
}

/// Connects to the first address. While no connection is there, the next address joins after each
/// pause, and at once where an address fails. The first connection ends the race. The others are
/// closed; nothing was written to them. After a fault of this side no address joins, and it is the
/// end if those that run fail as well.
pub(crate) async fn race<S, C, P>(
    first: SocketAddr,
    others: &[SocketAddr],
    mut connect: impl FnMut(SocketAddr) -> C,
    mut pause: impl FnMut() -> P,
) -> Raced<S>
where
    C: Future<Output = Result<S, NoConnection>>,
    P: Future<Output = ()>,
{
    let mut waiting = others.iter().copied();
    let mut running: Vec<(SocketAddr, Pin<Box<C>>)> = vec![(first, Box::pin(connect(first)))];
    let mut resting = Box::pin(pause());
    let (mut failed, mut fault) = (Vec::new(), None);
    let (address, end) = poll_fn(|cx| {
        loop {
            let (mut at, mut has_failed) = (0, false);
            while at < running.len() {
                let Poll::Ready(end) = running[at].1.as_mut().poll(cx) else {
                    at += 1;
                    continue;
                };
                let (address, _) = running.remove(at);
                let is_last = running.is_empty() && waiting.len() == 0 && fault.is_none();
                match end {
                    Err(NoConnection::Peer(error)) if !is_last => {
                        failed.push((address, error));
                        has_failed = true;
                    }
                    Err(local @ NoConnection::Local(..)) => {
                        fault.get_or_insert((address, Err(local)));
                        waiting = others[others.len()..].iter().copied();
                    }
                    end => return Poll::Ready((address, end)),
                }
            }
            if let Some(fault) = fault.take_if(|_| running.is_empty()) {
                return Poll::Ready(fault);
            }
            if waiting.len() == 0 || !has_failed && resting.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if let Some(next) = waiting.next() {
                running.push((next, Box::pin(connect(next))));
                resting = Box::pin(pause());
            }
        }
    })
    .await;
    let outrun = running.iter().map(|(address, _)| *address).collect();
    Raced { address, end, failed, outrun }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::{pending, ready};
    use std::rc::Rc;

    use smtp_tls_policy::Reason;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tokio::sync::Notify;

    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 25))
    }

    fn refused<S>() -> Result<S, NoConnection> {
        Err(NoConnection::Peer(io::ErrorKind::ConnectionRefused.into()))
    }

    /// Counts the pauses that were begun; none of them ends before it is let go.
    #[derive(Clone, Default)]
    struct Pauses(Rc<(Cell<usize>, Notify)>);

    impl Pauses {
        fn next(&self) -> impl Future<Output = ()> + use<> {
            self.0.0.set(self.0.0.get() + 1);
            let this = self.clone();
            async move { this.0.1.notified().await }
        }
    }

    #[tokio::test]
    async fn an_address_that_never_answers_costs_one_pause() {
        let (pauses, dialled) = (Pauses::default(), RefCell::new(Vec::new()));
        let others = [address(2), address(3)];
        let connect = |to| {
            dialled.borrow_mut().push(to);
            async move { if to == address(1) { pending().await } else { Ok(to) } }
        };
        let mut racing = Box::pin(race(address(1), &others, connect, || pauses.next()));
        // Before the pause is over, nothing else is dialled.
        assert!(
            std::future::poll_fn(|cx| Poll::Ready(racing.as_mut().poll(cx).is_pending())).await
        );
        assert_eq!(*dialled.borrow(), [address(1)]);
        pauses.0.1.notify_one();
        let raced = racing.await;
        assert_eq!((raced.address, raced.end.unwrap()), (address(2), address(2)));
        assert_eq!(*dialled.borrow(), [address(1), address(2)]);
        assert_eq!(raced.outrun, [address(1)]);
        assert!(raced.failed.is_empty());
    }

    #[tokio::test]
    async fn an_address_that_fails_costs_no_pause() {
        let connect = |to| ready(if to == address(3) { Ok(to) } else { refused() });
        let raced = race(address(1), &[address(2), address(3)], connect, pending::<()>).await;
        assert_eq!((raced.address, raced.end.unwrap()), (address(3), address(3)));
        let failed: Vec<_> = raced.failed.iter().map(|(address, _)| *address).collect();
        assert_eq!(failed, [address(1), address(2)]);
    }

    #[tokio::test]
    async fn the_last_failure_ends_a_race_without_a_connection() {
        let connect = |_| ready(refused::<()>());
        let raced = race(address(1), &[address(2)], connect, pending::<()>).await;
        assert_eq!((raced.address, raced.failed.len()), (address(2), 1));
        assert!(matches!(raced.end, Err(NoConnection::Peer(_))));
    }

    #[tokio::test]
    async fn a_fault_of_this_side_ends_the_race() {
        let dialled = RefCell::new(Vec::new());
        let connect = |to| {
            dialled.borrow_mut().push(to);
            let error = io::ErrorKind::AddrNotAvailable.into();
            ready(Err::<(), _>(NoConnection::Local(Reason::SourceUnavailable, error)))
        };
        let raced = race(address(1), &[address(2)], connect, || ready(())).await;
        assert!(matches!(raced.end, Err(NoConnection::Local(Reason::SourceUnavailable, _))));
        assert_eq!(*dialled.borrow(), [address(1)]);
    }

    /// The first address is slow, and there is no descriptor for the second one.
    #[tokio::test]
    async fn after_a_fault_of_this_side_an_address_that_runs_may_still_win() {
        for answers in [true, false] {
            let (dialled, answer) = (RefCell::new(Vec::new()), Notify::new());
            let connect = |to| {
                dialled.borrow_mut().push(to);
                let (answer, local) = (&answer, to == address(2));
                async move {
                    if local {
                        answer.notify_one();
                        let error = io::ErrorKind::OutOfMemory.into();
                        return Err(NoConnection::Local(Reason::ConnectLocalFault, error));
                    }
                    answer.notified().await;
                    if answers { Ok(to) } else { refused() }
                }
            };
            let others = [address(2), address(3)];
            let raced = race(address(1), &others, connect, || ready(())).await;
            assert_eq!(*dialled.borrow(), [address(1), address(2)]);
            match raced.end {
                Ok(to) => assert!(answers && to == address(1)),
                Err(end) => assert!(!answers && matches!(end, NoConnection::Local(..)), "{end:?}"),
            }
        }
    }

    #[tokio::test]
    async fn the_loser_is_closed_and_gets_no_octet() {
        let (ours, mut theirs) = duplex(64);
        let ours = RefCell::new(Some(ours));
        let connect = |_| {
            let loser = ours.borrow_mut().take();
            async move {
                match loser {
                    // The handshake of TCP is under way.
                    Some(loser) => {
                        pending::<()>().await;
                        Ok(loser)
                    }
                    None => Ok::<DuplexStream, NoConnection>(duplex(64).0),
                }
            }
        };
        let raced = race(address(1), &[address(2)], connect, || ready(())).await;
        assert_eq!((raced.address, raced.outrun), (address(2), vec![address(1)]));
        let mut seen = Vec::new();
        theirs.read_to_end(&mut seen).await.unwrap();
        assert_eq!(seen, b"");
    }
}
