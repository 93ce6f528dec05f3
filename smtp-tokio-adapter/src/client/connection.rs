//! One connection of the sending side: [`Connection`] drives one [`Client`] over one stream.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use pki_types::CertificateDer;
use smtp_proto::client::{Client, ClientEvent, Envelope};
use smtp_proto::error::Error;
use smtp_proto::sasl::client::Credentials;
use smtp_proto::wire::capabilities::Extension;
use smtp_proto::wire::command::Uri;
use smtp_proto::wire::params::BodyType;
use smtp_tls_policy::plan::{MessageTls, Plan};
use smtp_tls_policy::tls::ClientTls;
use tokio::io::AsyncRead;
use tokio::net::TcpStream;

use crate::client::drive::{Body, drive};
use crate::client::opening::Opening;
use crate::client::outbound::Outbound;
use crate::client::outcome::{Decision, Delivery, Failure, OutcomeBuf, Spoken, lost};
use crate::client::target::Target;
use crate::dialling;
use crate::dialling::NoConnection;
use crate::drive::{Driven, LINGER, now};
use crate::metering;
use crate::wire::{Io, Link};

/// One connection that is ready for transactions.
pub struct Connection<S> {
    pub(super) link: Link<Client, S>,
    pub(super) plan: Plan,
    pub(super) decision: Arc<Decision>,
    /// What to authenticate with once more where everything starts again, and where the nonce comes
    /// from.
    pub(super) credentials: Option<(Credentials, Arc<ClientTls>)>,
}

impl Outbound {
    /// Opens a connection over this stream: reads the greeting, learns what the server can do, gets
    /// TLS or does without as the plan says, and authenticates where the target has credentials.
    ///
    /// # Errors
    ///
    /// An [`OpenError`] with the failure and the decision about TLS. The stream is closed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the stream is closed without QUIT. No message has been sent.
    pub async fn open<S: Io>(
        &self,
        target: &Target,
        stream: S,
    ) -> Result<Connection<S>, Box<OpenError>> {
        self.open_as(target, stream, false).await
    }

    /// The same, where clear text may wait for another address of the host.
    pub(crate) async fn open_as<S: Io>(
        &self,
        target: &Target,
        stream: S,
        tls_elsewhere: bool,
    ) -> Result<Connection<S>, Box<OpenError>> {
        let mut opening = Opening::new(self, target, tls_elsewhere);
        let result = opening.run(stream).await;
        let channel = match (opening.decision.channel, &opening.decision.tls) {
            (Spoken::Tls, Some(_)) => metering::Channel::Tls,
            (Spoken::Tls, None) => metering::Channel::Neither,
            (Spoken::Clear, _) => metering::Channel::Clear,
        };
        metering::decision(&target.plan, channel, opening.decision.reason);
        let (decision, plan) = (opening.decision, target.plan.clone());
        let credentials = target.credentials.clone();
        let credentials = credentials.map(|credentials| (credentials, Arc::clone(&self.tls)));
        match result {
            Ok(link) => Ok(Connection { link, plan, decision: Arc::new(decision), credentials }),
            Err(failure) => Err(Box::new(OpenError { decision, failure })),
        }
    }

    /// Connects to this address, from the source address and through the proxy of the target, and
    /// opens a connection as [`open`](Self::open) does.
    ///
    /// # Errors
    ///
    /// An [`OpenError`]: [`Failure::Connect`] if there is no TCP connection within the
    /// [time limit](Self::with_connect_timeout); [`Failure::LocalFault`] if the source address or
    /// the interface cannot be used, or the proxy fails; otherwise as in [`open`](Self::open).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the socket is closed without QUIT. No message has been sent.
    pub async fn connect(
        &self,
        target: &Target,
        address: SocketAddr,
    ) -> Result<Connection<TcpStream>, Box<OpenError>> {
        match dialling::connect(address, &target.dial, self.connect_timeout).await {
            Ok(stream) => self.open(target, stream).await,
            Err(failure) => Err(Box::new(OpenError::unconnected(target, failure))),
        }
    }
}

/// Why a connection is not ready for messages.
#[derive(Debug, thiserror::Error)]
#[error("{failure}")]
#[non_exhaustive]
pub struct OpenError {
    /// What was decided about TLS.
    pub decision: Decision,
    /// What went wrong.
    pub failure: Failure,
}

impl OpenError {
    /// There is no TCP connection.
    pub(crate) fn unconnected(target: &Target, failure: NoConnection) -> Self {
        let mut decision = Decision::undecided(&target.plan, target.is_clear());
        let failure = match failure {
            NoConnection::Peer(error) => Failure::Connect(error),
            NoConnection::Local(reason, error) => {
                decision.local_fault(&target.plan, reason, Some(&error))
            }
        };
        Self { decision, failure }
    }
}

impl<S: Io> Connection<S> {
    /// What the server can do.
    pub fn capabilities(&self) -> &smtp_proto::wire::capabilities::Capabilities {
        self.client().capabilities()
    }

    /// The certificates that the server showed, its own first; empty in clear text.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.link.stream.peer_certificates()
    }

    /// What was decided about TLS; after a failure, what became of it.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// The same, shared: the reports of all its messages have it.
    pub(crate) fn shared_decision(&self) -> Arc<Decision> {
        Arc::clone(&self.decision)
    }

    /// Whether this connection may carry another message. True if the last transaction ended with
    /// `Ok`, the server has not said 421, takes further transactions (RFC 9422, section 4.1), has
    /// neither closed its side nor said anything unasked, as far as can be seen without waiting.
    ///
    /// Ask before each further message. If false, [`quit`](Self::quit) and open another one. A
    /// message may share the connection only if it has the same next hop (the domain for which the
    /// host was looked up, or the smart host), port and [`Target`], compared in
    /// full: what was proved for one of them is proved for no other.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn is_reusable(&mut self) -> bool {
        self.is_idle() && self.link.is_quiet().await
    }

    /// Whether the last transaction ended well, and the server has said nothing unasked so far.
    /// Then no buffer is held until the next one.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.link.driver.release();
        self.client().is_idle(self.link.driver.unread())
    }

    /// Whether the last transaction has ended the conversation.
    pub(crate) fn is_over(&self) -> bool {
        self.client().is_over()
    }

    /// Sends one message: MAIL, RCPT for each recipient, and the body, which is streamed.
    ///
    /// The result holds the server's reply for each recipient and how the transaction ended. If it
    /// ended with an error, or the server has said 421, the connection carries no further message:
    /// [`is_reusable`](Self::is_reusable).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe. If the future is dropped, the message may be anything from not begun to
    /// accepted by the server; drop the connection as well, and send the message again later. A
    /// message whose final dot has not been sent is never accepted.
    pub async fn send(
        &mut self,
        envelope: Arc<Envelope>,
        body: &mut (impl AsyncRead + Unpin + Send),
    ) -> Delivery {
        let mut delivery = Delivery::of(&envelope);
        self.send_observed(envelope, body, None, &mut delivery, &mut |_, _| {}).await;
        delivery
    }

    /// Sends one message that the server fetches by itself (RFC 4468): see
    /// [`Client::write_uri`](Client::write_uri).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe, as [`send`](Self::send).
    pub async fn send_uri(&mut self, envelope: Arc<Envelope>, uri: Uri<'_>) -> Delivery {
        let (mut delivery, body) = (Delivery::of(&envelope), &mut tokio::io::empty());
        self.send_observed(envelope, body, Some(uri), &mut delivery, &mut |_, _| {}).await;
        delivery
    }

    /// Sends one message, notes in a new delivery what becomes of it, and calls `settled` with the
    /// index of each recipient that a reply of the server has just been about.
    pub(crate) async fn send_observed(
        &mut self,
        envelope: Arc<Envelope>,
        body: &mut (impl AsyncRead + Unpin + Send),
        uri: Option<Uri<'_>>,
        delivery: &mut Delivery,
        settled: &mut (dyn FnMut(usize, &Delivery) + Send),
    ) {
        let mut envelope = envelope;
        if uri.is_some() {
            Arc::make_mut(&mut envelope).burl = true;
        }
        if let Err(failure) = self.transact(envelope, body, uri, delivery, settled).await {
            delivery.end = Err(failure);
        }
    }

    /// Transactions that the server will still take on this connection (RFC 9422, section 4.1);
    /// none if it sets no limit.
    pub fn transactions_left(&self) -> Option<u32> {
        self.client().transactions_left()
    }

    pub(super) const fn client(&self) -> &Client {
        self.link.driver.machine()
    }

    /// The connection has failed: what the rules about TLS say of it.
    pub(super) fn lost(&mut self, failure: Failure) -> Failure {
        let decision = Arc::make_mut(&mut self.decision);
        lost(self.link.driver.machine_mut(), &self.plan, decision, failure)
    }

    async fn transact(
        &mut self,
        envelope: Arc<Envelope>,
        body: &mut (impl AsyncRead + Unpin + Send),
        uri: Option<Uri<'_>>,
        delivery: &mut Delivery,
        settled: &mut (dyn FnMut(usize, &Delivery) + Send),
    ) -> Result<(), Failure> {
        let envelope = self.planned(envelope)?;
        let (size, is_seven_bit) = (envelope.size, envelope.body == BodyType::SevenBit);
        let client = self.link.driver.machine_mut();
        client.start_transaction(envelope, now())?;
        let (mut ended, mut asked) = (false, false);
        let finished = loop {
            let body = Body::of(size, is_seven_bit, body);
            let driven = drive(&mut self.link, body, &mut |event| {
                match event {
                    ClientEvent::Recipient { index, reply } => {
                        // Not settled yet: if a later reply shows that the replies are out of step,
                        // this one may belong to another recipient.
                        delivery.answered(index, reply.into_owned());
                    }
                    ClientEvent::Delivered { index, reply } => {
                        delivery.delivered.push((index, reply.into_owned()));
                        settled(index, delivery);
                    }
                    ClientEvent::NotSent { index, error } => {
                        delivery.not_sent.push((index, error));
                    }
                    ClientEvent::Left { index } => delivery.left.push(index),
                    ClientEvent::SendBody => {
                        // The replies to RCPT were in step, so refusals are final.
                        for index in 0..delivery.recipients.len() {
                            settled(index, delivery);
                        }
                        asked = uri.is_some();
                        if asked {
                            return ControlFlow::Break(());
                        }
                    }
                    ClientEvent::Finished(outcome) => {
                        ended = true;
                        delivery.end = Ok(OutcomeBuf::from(outcome));
                        for index in 0..delivery.recipients.len() {
                            settled(index, delivery);
                        }
                        return ControlFlow::Break(());
                    }
                    // 421, which `Finished` or the end of the connection explains.
                    ClientEvent::Unwelcome { .. } | ClientEvent::Closed => {}
                    // Neither TLS nor AUTH nor a command is under way in a transaction.
                    ClientEvent::NoTls { .. }
                    | ClientEvent::Ready
                    | ClientEvent::Authenticated(_)
                    | ClientEvent::AuthenticationFailed { .. }
                    | ClientEvent::Answered(_) => {}
                }
                ControlFlow::Continue(())
            })
            .await;
            match uri.filter(|_| driven.is_ok() && std::mem::take(&mut asked)) {
                Some(uri) => {
                    let (client, output) = self.link.driver.parts();
                    client.write_uri(uri, true, output, now())?;
                }
                None => break driven,
            }
        };
        match finished {
            _ if ended => Ok(()),
            Err(failure) => Err(self.lost(failure)),
            Ok(_) => Err(Failure::Protocol(Error::Closed)),
        }
    }

    /// The envelope as it may go over this connection. Whether MAIL carries REQUIRETLS is for the
    /// plan to say, which was made for one wish of the message and knows what that wish asked of
    /// the certificate.
    fn planned(&mut self, envelope: Arc<Envelope>) -> Result<Arc<Envelope>, Failure> {
        // RFC 8689, section 4.2.1: what was offered in clear text does not count.
        let offered = self.client().channel().tls().is_some()
            && self.capabilities().has(Extension::RequireTls);
        match (self.plan.message(), envelope.require_tls) {
            (MessageTls::Default | MessageTls::Optional, false) => Ok(envelope),
            (MessageTls::Required | MessageTls::RequiredOfBounce, true) if offered => Ok(envelope),
            (MessageTls::Required, true) => {
                Err(Arc::make_mut(&mut self.decision).no_requiretls(&self.plan))
            }
            (MessageTls::RequiredOfBounce, true) => Ok(without_requiretls(&envelope)),
            (MessageTls::Default | MessageTls::Optional, true)
            | (MessageTls::Required | MessageTls::RequiredOfBounce, false) => {
                Err(Failure::OtherMessage)
            }
        }
    }

    /// Sends QUIT and closes, within the time limit for the reply to QUIT. Each result is known by
    /// then, so no error of this matters.
    ///
    /// The rest of a message that was given up half-way is not sent.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is closed without QUIT.
    pub async fn quit(mut self) {
        if self.link.driver.machine_mut().quit().is_ok() {
            let _: Result<Driven, Failure> =
                drive(&mut self.link, Body::none(), &mut |_| ControlFlow::Continue(())).await;
            self.link.close(now() + LINGER).await;
        } else {
            self.link.abandon();
        }
    }
}

/// The same envelope for a server that does not offer REQUIRETLS.
fn without_requiretls(envelope: &Envelope) -> Arc<Envelope> {
    let mut envelope = envelope.clone();
    envelope.require_tls = false;
    Arc::new(envelope)
}
