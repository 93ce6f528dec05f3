//! One connection of the sending side: [`Connection`] drives one [`Client`] over one stream.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use smtp_proto::client::{Client, ClientEvent, Envelope};
use smtp_proto::error::Error;
use smtp_proto::sasl::client::Credentials;
use smtp_proto::timeouts::Phase;
use smtp_proto::wire::capabilities::Extension;
use smtp_proto::wire::command::Uri;
use smtp_tls_policy::plan::{Plan, Requiretls};
use smtp_tls_policy::tls::ClientTls;
use tokio::io::AsyncRead;

use crate::client::drive::{Driven, LINGER, drive};
use crate::client::opening::Opening;
use crate::client::outbound::{Outbound, Target};
use crate::client::outcome::{Decision, Delivery, End, Failure, lost};
use crate::wire::{Io, Wire};

/// One connection that is ready for transactions.
pub struct Connection<S> {
    pub(super) client: Client,
    pub(super) wire: Wire<S>,
    pub(super) plan: Plan,
    pub(super) decision: Decision,
    /// What to authenticate with once more where everything starts again, and where the nonce comes from.
    pub(super) credentials: Option<(Credentials, Arc<ClientTls>)>,
}

impl<S: Io> Connection<S> {
    /// Greets, learns what the server can do, and gets TLS or does without, as the rules say. The decision comes in
    /// any case.
    pub async fn open(
        outbound: &Outbound,
        target: &Target<'_>,
        stream: S,
    ) -> (Decision, Result<Self, Failure>) {
        let mut opening = Opening::new(outbound, target);
        let result = opening.run(stream).await;
        let (decision, plan) = (opening.decision, target.plan.clone());
        let credentials =
            target.credentials.map(|credentials| (credentials.clone(), Arc::clone(&outbound.tls)));
        (
            decision.clone(),
            result.map(|(client, wire)| Self { client, wire, plan, decision, credentials }),
        )
    }

    /// What the server can do.
    pub fn capabilities(&self) -> &smtp_proto::wire::capabilities::Capabilities {
        self.client.capabilities()
    }

    /// What was decided about TLS; after a failure, what became of it.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Whether the server is still there and has said nothing since the last transaction, as far as can be seen without
    /// waiting. For who keeps connections: a server that lost its patience says 421, which is no word on the next message.
    pub async fn is_idle(&mut self) -> bool {
        !self.is_over() && self.client.phase() == Phase::Idle && self.wire.is_quiet().await
    }

    /// Whether the last transaction has ended the conversation.
    pub(crate) fn is_over(&self) -> bool {
        self.client.is_over()
    }

    /// One transaction. The body is streamed; the connection can carry another afterwards if the result is `Ok`.
    pub async fn send(
        &mut self,
        envelope: Arc<Envelope>,
        body: &mut (impl AsyncRead + Unpin),
    ) -> Delivery {
        let mut delivery = Delivery::unsent(envelope.recipients.len(), Ok(End::NoRecipients));
        delivery.end = self.transact(envelope, body, None, &mut delivery).await;
        delivery
    }

    /// One transaction whose message the server fetches by itself (RFC 4468): see
    /// [`Client::write_uri`](Client::write_uri).
    pub async fn send_uri(&mut self, envelope: Arc<Envelope>, uri: Uri<'_>) -> Delivery {
        let mut envelope = (*envelope).clone();
        envelope.burl = true;
        let envelope = Arc::new(envelope);
        let mut delivery = Delivery::unsent(envelope.recipients.len(), Ok(End::NoRecipients));
        delivery.end =
            self.transact(envelope, &mut tokio::io::empty(), Some(uri), &mut delivery).await;
        delivery
    }

    /// Transactions that the server will still take on this connection (RFC 9422, 4.1); none if it sets no limit.
    pub fn transactions_left(&self) -> Option<u32> {
        self.client.transactions_left()
    }

    async fn transact(
        &mut self,
        envelope: Arc<Envelope>,
        body: &mut (impl AsyncRead + Unpin),
        uri: Option<Uri<'_>>,
        delivery: &mut Delivery,
    ) -> Result<End, Failure> {
        let envelope = self.planned(envelope)?;
        self.client.start_transaction(envelope, Instant::now()).map_err(Failure::Misuse)?;
        let (mut end, mut asked) = (None, false);
        let finished = loop {
            let driven = drive(&mut self.client, &mut self.wire, body, &mut |event| {
                match event {
                    ClientEvent::Recipient { index, reply } => {
                        delivery.recipients[index] = Some(reply.to_buf())
                    }
                    ClientEvent::Delivered { index, reply } => {
                        delivery.delivered.push((index, reply.to_buf()))
                    }
                    ClientEvent::Left { index } => delivery.left.push(index),
                    ClientEvent::SendBody if uri.is_some() => {
                        asked = true;
                        return ControlFlow::Break(());
                    }
                    ClientEvent::Finished(outcome) => {
                        end = Some(End::from(outcome));
                        return ControlFlow::Break(());
                    }
                    _ => {}
                }
                ControlFlow::Continue(())
            })
            .await;
            match uri.filter(|_| driven.is_ok() && std::mem::take(&mut asked)) {
                Some(uri) => {
                    let output = &mut self.wire.link.output;
                    self.client.write_uri(uri, true, output, Instant::now())?;
                }
                None => break driven,
            }
        };
        match (end, finished) {
            (Some(end), _) => Ok(end),
            (None, Err(failure)) => {
                Err(lost(&mut self.client, &self.plan, &mut self.decision, failure))
            }
            (None, Ok(_)) => Err(Failure::Protocol(Error::Closed)),
        }
    }

    /// The envelope as it may go over this connection. Whether MAIL carries REQUIRETLS is for the plan to say, which was made
    /// for one wish of the message and knows what that wish asked of the certificate.
    fn planned(&mut self, envelope: Arc<Envelope>) -> Result<Arc<Envelope>, Failure> {
        // RFC 8689, 4.2.1: what was offered in clear text does not count.
        let offered =
            self.client.channel().tls().is_some() && self.capabilities().has(Extension::RequireTls);
        match (self.plan.requiretls(), envelope.require_tls) {
            (Requiretls::NotWanted, false) => Ok(envelope),
            (Requiretls::Needed | Requiretls::WhereOffered, true) if offered => Ok(envelope),
            (Requiretls::Needed, true) => Err(self.decision.no_requiretls(&self.plan)),
            (Requiretls::WhereOffered, true) => Ok(without_requiretls(&envelope)),
            (Requiretls::NotWanted, true)
            | (Requiretls::Needed | Requiretls::WhereOffered, false) => Err(Failure::OtherMessage),
        }
    }

    /// Says QUIT and closes. Every result is known by then, so nothing that happens here matters.
    ///
    /// A message that was given up half-way stays so: what is left of it is not sent.
    pub async fn quit(mut self) {
        if self.client.quit().is_ok() {
            let _: Result<Driven, Failure> =
                drive(&mut self.client, &mut self.wire, &mut tokio::io::empty(), &mut |_| {
                    ControlFlow::Continue(())
                })
                .await;
        } else {
            self.wire.drop_output();
        }
        self.wire.close(Instant::now() + LINGER).await;
    }
}

/// The same envelope for a server that does not offer REQUIRETLS.
fn without_requiretls(envelope: &Envelope) -> Arc<Envelope> {
    let mut envelope = envelope.clone();
    envelope.require_tls = false;
    Arc::new(envelope)
}
