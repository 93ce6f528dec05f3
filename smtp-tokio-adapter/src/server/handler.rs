//! The handler of a connection, its default answers, and what it knows about the connection.

use std::net::SocketAddr;
use std::sync::Arc;

use pki_types::CertificateDer;
use smtp_proto::Date;
use smtp_proto::channel::TlsInfo;
use smtp_proto::sasl::server::{Answer, Failure, Identity, Question};
use smtp_proto::server::{EarlyTalk, Tolerance};
use smtp_proto::stamp::{ClientCertificate, Stamp};
use smtp_proto::wire::body::{BodyDefect, Runs};
use smtp_proto::wire::command::{Command, Hello, Uri, Xclient};
use smtp_proto::wire::params::{MailParameters, RcptParameters};
use smtp_proto::wire::path::{ForwardPath, ReversePath};
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::judge::ShownTls;
use smtp_tls_policy::pki::CommonNames;

const GREETING: Response = Response::fixed(220, (2, 0, 0), "");
const HELLO: Response = Response::fixed(250, (2, 0, 0), "");
const READY_FOR_TLS: Response = Response::fixed(220, (2, 0, 0), "ready to start TLS");
pub(super) const SENDER_OK: Response = Response::fixed(250, (2, 1, 0), "sender OK");
pub(super) const GO_AHEAD: Response = Response::fixed(354, (3, 0, 0), "end with <CRLF>.<CRLF>");
// RFC 5321, section 3.5.3.
const VRFY: Response =
    Response::fixed(252, (2, 5, 2), "cannot VRFY, but will take the message and attempt delivery");
const NO_PROXY: Response = Response::fixed(550, (5, 7, 1), "not a proxy that is trusted here");
// RFC 4468, section 6.
const NO_FETCH: Response = Response::fixed(554, (5, 6, 6), "cannot fetch the message");
const EXPN: Response = Response::fixed(502, (5, 5, 1), "command not implemented");
const HELP: Response = Response::fixed(214, (2, 0, 0), "see RFC 5321");

/// What is known about a connection.
#[derive(Clone, Debug)]
pub struct Session {
    /// The client's address; `None` if the stream is not a socket.
    pub peer: Option<SocketAddr>,
    /// The name in the client's last EHLO, HELO or LHLO; empty before the first.
    pub name: String,
    /// How the client greeted: HELO, EHLO or LHLO. HELO before the first greeting.
    pub hello: Hello,
    /// Whether the client spoke before it was its turn.
    pub early_talk: Option<EarlyTalk>,
    /// What the handshake showed; `None` in clear text.
    pub tls: Option<Arc<TlsInfo>>,
    /// The client's certificate chain, leaf first, as the client sent it; empty without one. The
    /// handshake proves only that the client has the leaf's private key: judge the chain with
    /// [`admit`](smtp_tls_policy::judge::admit()).
    pub client_chain: Arc<[CertificateDer<'static>]>,
    /// The names in the client's certificate, if the client showed one. They prove nothing.
    pub client_names: Option<CommonNames>,
    /// The identity that AUTH has proved; `None` again after STARTTLS. With an identity the
    /// Received field says ESMTPA or ESMTPSA (RFC 4954, section 7).
    pub identity: Option<Identity>,
}

impl Session {
    /// What TLS negotiated, as [`admit`](smtp_tls_policy::judge::admit()) asks for it; `None` in
    /// clear text.
    pub fn shown_tls(&self) -> Option<ShownTls<'_>> {
        self.tls.as_deref().map(|tls| ShownTls::new(tls.version, tls.cipher, tls.group))
    }

    /// The Received field for a message that arrives now (RFC 5321, section 4.4): what the
    /// connection shows, including the version, cipher suite and key exchange group of TLS and
    /// whether the client presented a certificate. `by` is the name of this host. `client_verified`
    /// says whether the handler has judged that certificate and accepted it. The handler adds
    /// SMTPUTF8, a single recipient and an id.
    pub fn stamp<'a>(&'a self, by: &'a str, client_verified: bool, date: Date) -> Stamp<'a> {
        let client = match &self.client_names {
            Some(names) => ClientCertificate::Presented {
                common_name: names.subject.as_deref(),
                issuer: names.issuer.as_deref(),
                verified: client_verified,
            },
            // Also if the server did not ask for a certificate: rustls does not say whether it did.
            None => ClientCertificate::NotPresented,
        };
        let mut stamp = Stamp::new(&self.name, by, self.hello, date);
        stamp.auth = self.identity.is_some();
        stamp.address = self.peer.map(|peer| peer.ip());
        stamp.tls = self.tls.as_deref();
        stamp.client = Some(client);
        stamp
    }
}

/// Answers the commands of one connection.
///
/// A method may take its time: nothing more is read from its client meanwhile, and other
/// connections go on. A response whose code the command does not allow closes the connection with
/// 421; a `tracing` error then names the command and the code.
///
/// # Cancel safety
///
/// The future of a method is dropped before it is ready if the server shuts down and the grace
/// ([`Inbound::grace`](crate::Inbound::grace)) is over, or if the future of
/// [`serve`](crate::serve()) or [`handle`](crate::handle()) is dropped. Otherwise it runs to its
/// end, even if the client hangs up meanwhile.
pub trait Handler: Send {
    /// The greeting: 220, 554 or 421. The server's name is put before the text.
    fn connected(&mut self, _session: &Session) -> impl Future<Output = Response> + Send {
        async { GREETING }
    }

    /// What to take from this client although the RFCs forbid it; `None` for
    /// [`ServerConfig::tolerance`](smtp_proto::server::ServerConfig::tolerance). Called before the
    /// greeting, after the TLS handshake, and after each MAIL that was accepted.
    fn tolerance(&mut self, _session: &Session) -> Option<Tolerance> {
        None
    }

    /// EHLO or HELO: 250. The greeting also ends an open transaction.
    fn hello(&mut self, _session: &Session) -> impl Future<Output = Response> + Send {
        async { HELLO }
    }

    /// STARTTLS: 220 or 454.
    fn starttls(&mut self, _session: &Session) -> impl Future<Output = Response> + Send {
        async { READY_FOR_TLS }
    }

    /// TLS is established. A response here answers every later command except QUIT: for a client
    /// whose certificate is not acceptable (554 5.7.0; RFC 3207, section 4.1).
    fn handshake(&mut self, _session: &Session) -> impl Future<Output = Option<Response>> + Send {
        async { None }
    }

    /// AUTH: a mechanism asks about a user. Called only if
    /// [`ServerConfig::mechanisms`](smtp_proto::server::ServerConfig::mechanisms) has a mechanism.
    /// The default refuses every user.
    fn authenticate(
        &mut self,
        _session: &Session,
        _question: Question,
    ) -> impl Future<Output = Answer> + Send {
        async { Answer::Refused }
    }

    /// The client has authenticated; [`Session::identity`] is its identity.
    fn authenticated(&mut self, _session: &Session) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// An attempt to authenticate has failed: for a log, or for a list of addresses to block. Not
    /// called if the client hangs up before the exchange ends, as some clients do when a token is
    /// refused; [`authenticate`](Self::authenticate) has refused the client in that case too.
    fn authentication_failed(
        &mut self,
        _session: &Session,
        _failure: &Failure,
    ) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// MAIL: 250 opens a transaction. Believe `parameters.auth` only if the client is trusted to
    /// relay identities (RFC 4954, section 5).
    fn mail(
        &mut self,
        _session: &Session,
        _path: ReversePath<'_>,
        _parameters: MailParameters<'_>,
    ) -> impl Future<Output = Response> + Send {
        async { SENDER_OK }
    }

    /// RCPT.
    fn recipient(
        &mut self,
        session: &Session,
        path: ForwardPath<'_>,
        parameters: RcptParameters<'_>,
    ) -> impl Future<Output = Response> + Send;

    /// DATA: 354.
    fn data(&mut self, _session: &Session) -> impl Future<Output = Response> + Send {
        async { GO_AHEAD }
    }

    /// A piece of the message. A handler that cannot store it remembers that, and refuses the
    /// message in [`end_of_body`](Self::end_of_body).
    fn body(&mut self, runs: Runs<'_>) -> impl Future<Output = ()> + Send;

    /// BURL: fetches what the URI names and appends it to what has come. 250 if that is done;
    /// otherwise 554 5.6.6 or another code of RFC 4468, section 6, which ends the message. If BURL
    /// opens the message, [`data`](Self::data) was called before.
    fn fetch(
        &mut self,
        _session: &Session,
        _uri: Uri<'_>,
    ) -> impl Future<Output = Response> + Send {
        async { NO_FETCH }
    }

    /// The message is complete. Store it before the answer 2yz, which takes the responsibility for
    /// it (RFC 5321, section 4.2.5).
    fn end_of_body(&mut self, session: &Session) -> impl Future<Output = Response> + Send;

    /// The message is complete, in LMTP: one response for each of the `recipients` that were
    /// accepted, in the order of their RCPT commands (RFC 2033, section 4.2). The default repeats
    /// the response of [`end_of_body`](Self::end_of_body) for each of them.
    fn end_of_body_each(
        &mut self,
        session: &Session,
        recipients: usize,
    ) -> impl Future<Output = Vec<Response>> + Send {
        async move { vec![self.end_of_body(session).await; recipients] }
    }

    /// The message was read to its end, and the protocol machine refused it: drop what has come.
    fn body_refused(&mut self, _refusal: BodyDefect) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// RSET: drop the transaction.
    fn reset(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// The connection is over, however it ended: also after a panic in another method, and after
    /// the end of the grace, which drops the method that runs. The client keeps a message that was
    /// not answered: drop what has come of it.
    ///
    /// Not called if the future of [`serve`](crate::serve()) or [`handle`](crate::handle()) is
    /// dropped.
    fn closed(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// XCLIENT: 220 if the peer is a proxy that may speak for other clients. The conversation then
    /// starts again with EHLO. `client` describes the client; the session still describes the
    /// proxy.
    fn xclient(
        &mut self,
        _session: &Session,
        _client: Xclient<'_>,
    ) -> impl Future<Output = Response> + Send {
        async { NO_PROXY }
    }

    /// VRFY, EXPN, HELP or ETRN, or one of
    /// [`ServerConfig::verbs`](smtp_proto::server::ServerConfig::verbs).
    fn other(
        &mut self,
        _session: &Session,
        command: Command<'_>,
    ) -> impl Future<Output = Response> + Send {
        let response = match command {
            Command::Vrfy { .. } => VRFY,
            Command::Help(_) => HELP,
            _ => EXPN,
        };
        async { response }
    }
}
