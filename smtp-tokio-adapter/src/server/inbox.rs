//! Whole messages: a handler that collects each message and hands it over with its envelope.

use std::sync::Arc;
use std::time::SystemTime;

use smtp_proto::Date;
use smtp_proto::wire::body::{BodyDefect, Runs};
use smtp_proto::wire::params::{MailParameters, RcptParameters};
use smtp_proto::wire::path::{ForwardPath, ReversePath};
use smtp_proto::wire::reply::Response;

use crate::server::handler::{GO_AHEAD, Handler, SENDER_OK, Session};

/// A message that has come, with its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arrival {
    /// The sender: where a notification goes.
    pub reverse_path: ReversePath<'static>,
    /// The recipients that were accepted, in the order of their RCPT commands.
    pub recipients: Vec<ForwardPath<'static>>,
    /// The message. It begins with the Received field of this host.
    pub message: Vec<u8>,
}

impl Arrival {
    fn from(reverse_path: ReversePath<'static>) -> Self {
        Self { reverse_path, recipients: Vec::new(), message: Vec::new() }
    }
}

/// Takes whole messages; [`Collect`] makes a [`Handler`] of it.
///
/// # Cancel safety
///
/// As that of a [`Handler`].
pub trait Inbox: Send {
    /// RCPT: 250 if mail for this recipient is taken, else 550 5.1.1 or another refusal. A server
    /// that takes every recipient is used to send spam.
    fn recipient(
        &mut self,
        session: &Session,
        path: ForwardPath<'_>,
    ) -> impl Future<Output = Response> + Send;

    /// A message is complete. Store it before the answer 2yz, which takes the responsibility for it
    /// (RFC 5321, section 4.2.5).
    fn arrived(
        &mut self,
        session: &Session,
        arrival: Arrival,
    ) -> impl Future<Output = Response> + Send;
}

/// A handler that keeps each message in memory until it is complete. Set
/// [`ServerConfig::size_limit`](smtp_proto::server::ServerConfig::size_limit): it bounds that
/// memory.
#[derive(Clone, Debug)]
pub struct Collect<I> {
    name: Arc<str>,
    inbox: I,
    arrival: Arrival,
}

impl<I> Collect<I> {
    /// A handler of one connection to the host `name`, which is in the Received fields. They say
    /// that the client's certificate was not verified.
    pub fn new(name: impl Into<Arc<str>>, inbox: I) -> Self {
        Self { name: name.into(), inbox, arrival: Arrival::from(ReversePath::Null) }
    }

    /// Ends the transaction, and returns what has come of it.
    fn take(&mut self) -> Arrival {
        std::mem::replace(&mut self.arrival, Arrival::from(ReversePath::Null))
    }
}

impl<I: Inbox> Handler for Collect<I> {
    async fn mail(
        &mut self,
        _: &Session,
        path: ReversePath<'_>,
        _: MailParameters<'_>,
    ) -> Response {
        self.arrival = Arrival::from(path.into_owned());
        SENDER_OK
    }

    async fn recipient(
        &mut self,
        session: &Session,
        path: ForwardPath<'_>,
        _: RcptParameters<'_>,
    ) -> Response {
        let response = self.inbox.recipient(session, path.clone()).await;
        if response.code() / 100 == 2 {
            self.arrival.recipients.push(path.into_owned());
        }
        response
    }

    async fn data(&mut self, session: &Session) -> Response {
        if let Some(date) = Date::utc(SystemTime::now()) {
            session.stamp(&self.name, false, date).write(&mut self.arrival.message);
        }
        GO_AHEAD
    }

    async fn body(&mut self, runs: Runs<'_>) {
        runs.append_to(&mut self.arrival.message);
    }

    async fn end_of_body(&mut self, session: &Session) -> Response {
        let arrival = self.take();
        self.inbox.arrived(session, arrival).await
    }

    async fn body_refused(&mut self, _: BodyDefect) {
        drop(self.take());
    }

    async fn reset(&mut self) {
        drop(self.take());
    }
}
