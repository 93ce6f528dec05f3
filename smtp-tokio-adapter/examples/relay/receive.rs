//! Takes messages by SMTP into the queue.

use std::sync::Arc;
use std::time::SystemTime;

use smtp_proto::Date;
use smtp_proto::wire::body::Runs;
use smtp_proto::wire::command::Command;
use smtp_proto::wire::params::{MailParameters, RcptParameters};
use smtp_proto::wire::path::{ForwardPath, ReversePath};
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::Host;
use smtp_tokio_adapter::{Handler, Session};

use crate::{part::Part, queue::Queue};

const NOT_NOW: Response = Response::fixed(451, (4, 3, 0), "cannot queue the message now");

/// The handler of one connection.
pub(crate) struct Reception {
    queue: Arc<Queue>,
    /// The commands MAIL, RCPT and DATA of the client, which are the head of the file.
    head: Vec<u8>,
    part: Option<Part>,
}

impl Reception {
    pub(crate) const fn new(queue: Arc<Queue>) -> Self {
        Self { queue, head: Vec::new(), part: None }
    }
}

impl Handler for Reception {
    async fn mail(
        &mut self,
        _: &Session,
        path: ReversePath<'_>,
        parameters: MailParameters<'_>,
    ) -> Response {
        self.head.clear();
        Command::Mail { path, parameters }.write(&mut self.head);
        Response::fixed(250, (2, 1, 0), "sender OK")
    }

    async fn recipient(
        &mut self,
        _: &Session,
        path: ForwardPath<'_>,
        parameters: RcptParameters<'_>,
    ) -> Response {
        if path.mailbox().is_none_or(|it| Host::parse(it.domain().as_str()).is_err()) {
            return Response::fixed(550, (5, 1, 2), "no such domain");
        }
        Command::Rcpt { path, parameters }.write(&mut self.head);
        Response::fixed(250, (2, 1, 5), "recipient OK")
    }

    async fn data(&mut self, session: &Session) -> Response {
        Command::Data.write(&mut self.head);
        if let Some(date) = Date::utc(SystemTime::now()) {
            session.stamp(self.queue.setup.name.as_str(), false, date).write(&mut self.head);
        }
        self.part.insert(Part::begin(&self.queue).await).write(&self.head).await;
        Response::fixed(354, (3, 0, 0), "end with <CRLF>.<CRLF>")
    }

    async fn body(&mut self, runs: Runs<'_>) {
        let Some(part) = &mut self.part else { return };
        for run in runs {
            part.write(run).await;
        }
    }

    async fn end_of_body(&mut self, _: &Session) -> Response {
        let Some(part) = self.part.take() else { return NOT_NOW };
        let queued = part.commit(&self.queue).await;
        let queued = queued.inspect_err(|error| eprintln!("a message cannot be queued: {error}"));
        if queued.is_ok() { Response::fixed(250, (2, 0, 0), "queued") } else { NOT_NOW }
    }
}
