//! The driver loop over a stream, for clients and servers: does what [`Driver::step`] says.

use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use smtp_proto::driver::{Driver, Machine, Output, Task, Todo};
use smtp_proto::error::Error;

use crate::wire::{Io, Link, Stream, Until};

/// How long closing a connection may take once its result is known.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// The time of the clock that the timers go by, which a test may pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Where [`drive`] stopped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Driven {
    /// The caller said so.
    Stopped,
    /// The machine waits for a handshake, which must be over at this time.
    Handshake(Option<Instant>),
    /// The conversation is over.
    Closed,
}

/// An event of [`Todo::Event`]. It is one argument: the compiler does not see that a future is
/// `Send` which borrows from `M::Event` alone.
pub(crate) struct Reported<'d, M: Machine> {
    pub(crate) event: M::Event<'d>,
    pub(crate) machine: &'d mut M,
    pub(crate) output: &'d mut Output,
}

/// What the two roles do differently between the steps of their machines.
pub(crate) trait Caller<M: Machine, S> {
    /// Why a conversation did not come to its end.
    type Error: From<Error> + From<io::Error>;

    /// Whether input that is there still counts after an I/O error. A client may find in it why the
    /// server hung up. A server could no longer answer it: a message that it accepted now would
    /// come again.
    const HEARS_LAST_WORDS: bool;

    /// Looks at the input before the machine does.
    fn before_step(&mut self, _driver: &mut Driver<M>) {}

    /// Looks at what a step has heard and said, once its event is handled. `is_good`: the machine
    /// has not failed.
    fn stepped(&mut self, _driver: &Driver<M>, _is_good: bool) {}

    /// Handles one event.
    fn event(
        &mut self,
        reported: Reported<'_, M>,
        stream: &mut Stream<S>,
    ) -> impl Future<Output = Result<ControlFlow<()>, Self::Error>> + Send;

    /// Gives the machine what it waits for: [`Task::Caller`].
    fn provide(
        &mut self,
        link: &mut Link<M, S>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Waits until the conversation has to end, whatever the peer does; asked while the peer has a
    /// line to send.
    fn interrupted(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Ends the conversation after [`interrupted`](Self::interrupted).
    fn interrupt(&mut self, _driver: &mut Driver<M>) {}
}

/// Drives the machine until its caller stops it, it waits for a handshake, or it is over. After an
/// error of the machine the output may hold last words, which are not sent yet.
///
/// If the future is dropped, no octet of the buffers is lost or doubled, but an event may have been
/// shown to the caller and not answered.
pub(crate) async fn drive<M: Machine, S: Io, C: Caller<M, S>>(
    link: &mut Link<M, S>,
    caller: &mut C,
) -> Result<Driven, C::Error> {
    loop {
        caller.before_step(&mut link.driver);
        let Link { driver, stream } = &mut *link;
        let stepped = match driver.step(now()) {
            Ok(Todo::Event { event, machine, output }) => {
                let reported = Reported { event, machine, output };
                Ok((caller.event(reported, stream).await?, None))
            }
            Ok(Todo::Task(task)) => Ok((ControlFlow::Continue(()), Some(task))),
            Err(error) => Err(error),
        };
        caller.stepped(&link.driver, stepped.is_ok());
        let (flow, task) = stepped?;
        if flow.is_break() {
            return Ok(Driven::Stopped);
        }
        let Some(task) = task else { continue };
        let moved = match task {
            Task::Caller => {
                caller.provide(link).await?;
                continue;
            }
            Task::Look => link.look().await.map(drop),
            Task::Handshake { deadline } => return Ok(Driven::Handshake(deadline)),
            Task::Closed => return Ok(Driven::Closed),
            Task::Send { listens, deadline } => {
                link.exchange(Until::Sent { listens }, deadline).await
            }
            // A message is read to its end.
            Task::Receive { deadline } if link.driver.machine().reads_message() => {
                link.exchange(Until::Read, deadline).await
            }
            Task::Receive { deadline } => {
                let exchange = link.exchange(Until::Read, deadline);
                tokio::select! {
                    biased;
                    moved = exchange => moved,
                    () = caller.interrupted() => {
                        caller.interrupt(&mut link.driver);
                        Ok(())
                    }
                }
            }
        };
        match moved {
            Err(_) if C::HEARS_LAST_WORDS && link.look().await.unwrap_or(false) => {}
            moved => moved?,
        }
    }
}
