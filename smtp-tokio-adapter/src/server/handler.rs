//! What answers a connection: the handler, its default answers, and what it is told of the
//! connection.

use std::net::SocketAddr;
use std::sync::Arc;

use pki_types::CertificateDer;
use smtp_proto::channel::TlsInfo;
use smtp_proto::sasl::server::{Answer, Failure, Identity, Question};
use smtp_proto::server::{BodyRefusal, EarlyTalk};
use smtp_proto::stamp::{
    CipherSuite, ClientCertificate, Date, Hello, Stamp, TlsStamp, TlsVersion, Transmission,
};
use smtp_proto::wire::body::Runs;
use smtp_proto::wire::command::{Command, Uri, Xclient};
use smtp_proto::wire::params::{MailParameters, RcptParameters};
use smtp_proto::wire::path::{ForwardPath, ReversePath};
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::pki::CommonNames;

const GREETING: Response = Response::fixed(220, (2, 0, 0), "");
const HELLO: Response = Response::fixed(250, (2, 0, 0), "");
const READY_FOR_TLS: Response = Response::fixed(220, (2, 0, 0), "ready to start TLS");
const SENDER_OK: Response = Response::fixed(250, (2, 1, 0), "sender OK");
pub(super) const GO_AHEAD: Response = Response::fixed(354, (3, 0, 0), "end with <CRLF>.<CRLF>");
// RFC 5321, section 3.5.3.
const VRFY: Response =
    Response::fixed(252, (2, 5, 2), "cannot VRFY, but will take the message and attempt delivery");
const NO_PROXY: Response = Response::fixed(550, (5, 7, 1), "not a proxy that is trusted here");
// RFC 4468, section 6.
const NO_FETCH: Response = Response::fixed(554, (5, 6, 6), "cannot fetch the message");
const EXPN: Response = Response::fixed(502, (5, 5, 1), "command not implemented");
const HELP: Response = Response::fixed(214, (2, 0, 0), "see RFC 5321");

/// What is known of a connection.
#[derive(Clone, Debug)]
pub struct Session {
    /// The client's address; none where the stream is no socket.
    pub peer: Option<SocketAddr>,
    /// What the client called itself last.
    pub name: String,
    /// How it greeted: HELO, EHLO or LHLO. SMTP before it has.
    pub hello: Hello,
    /// Whether the client spoke before it was its turn.
    pub early_talk: Option<EarlyTalk>,
    /// What the handshake showed; none in clear text.
    pub tls: Option<Arc<TlsInfo>>,
    /// The client's certificate and its chain, leaf first, as it was shown; empty if none. The key
    /// behind it was checked, and nothing else: judge it with
    /// [`admit`](smtp_tls_policy::judge::admit()).
    pub client_chain: Arc<[CertificateDer<'static>]>,
    /// The names in the client's certificate, if it showed one. They prove nothing.
    pub client_names: Option<CommonNames>,
    /// The identity that AUTH has proved; `None` again after STARTTLS. With it the Received field
    /// says ESMTPA or ESMTPSA (RFC 4954, section 7).
    pub identity: Option<Identity>,
}

impl Session {
    /// The Received field for a message that arrives now (RFC 5321, section 4.4): what the
    /// connection shows, including the version, cipher suite and key exchange group of TLS and
    /// whether the client presented a certificate. `by` is the name of this host. `client_verified`
    /// is whether the handler has judged that certificate and accepted it. SMTPUTF8, a single
    /// recipient and an id are for the handler to add.
    pub fn stamp<'a>(&'a self, by: &'a str, client_verified: bool, date: Date) -> Stamp<'a> {
        let client = match &self.client_names {
            Some(names) => ClientCertificate::Presented {
                common_name: names.subject.as_deref(),
                issuer: names.issuer.as_deref(),
                verified: client_verified,
            },
            // True whether or not the server asked for one: rustls does not tell which it was.
            None => ClientCertificate::NotPresented,
        };
        let tls = self.tls.as_deref().and_then(|tls| {
            let version = TlsVersion::parse(tls.version)?;
            Some(TlsStamp {
                version,
                cipher: CipherSuite::Name(tls.cipher),
                group: tls.group,
                client: Some(client),
            })
        });
        Stamp {
            helo: &self.name,
            reverse_name: None,
            address: self.peer.map(|peer| peer.ip()),
            by,
            transmission: Transmission {
                hello: self.hello,
                auth: self.identity.is_some(),
                utf8: false,
            },
            id: None,
            recipient: None,
            tls,
            date,
        }
    }
}

/// Makes a handler for each connection. A function of the client's address is one.
pub trait Service: Send + Sync + 'static {
    /// One for each connection.
    type Handler: Handler;
    /// A connection has come.
    fn handler(&self, peer: SocketAddr) -> Self::Handler;
}

impl<F, H> Service for F
where
    F: Fn(SocketAddr) -> H + Send + Sync + 'static,
    H: Handler,
{
    type Handler = H;
    fn handler(&self, peer: SocketAddr) -> H {
        self(peer)
    }
}

/// Answers one connection.
pub trait Handler: Send {
    /// The greeting: 220, 554 or 421. The server's name is put before the text.
    fn connected(&mut self, _session: &Session) -> impl Future<Output = Response> + Send {
        async { GREETING }
    }

    /// EHLO or HELO: 250. It also ends an open transaction.
    fn hello(&mut self, _session: &Session) -> impl Future<Output = Response> + Send {
        async { HELLO }
    }

    /// STARTTLS: 220 or 454.
    fn starttls(&mut self, _session: &Session) -> impl Future<Output = Response> + Send {
        async { READY_FOR_TLS }
    }

    /// TLS is up. A response here is the answer to everything but QUIT from now on: for a client
    /// whose certificate is not acceptable (554 5.7.0).
    fn handshake(&mut self, _session: &Session) -> impl Future<Output = Option<Response>> + Send {
        async { None }
    }

    /// AUTH: a mechanism asks about a user. Called only where
    /// [`ServerConfig::mechanisms`](smtp_proto::server::ServerConfig::mechanisms) has any. Take the
    /// time that a look-up takes; by default nobody is known.
    fn authenticate(
        &mut self,
        _session: &Session,
        _question: Question,
    ) -> impl Future<Output = Answer> + Send {
        async { Answer::Refused }
    }

    /// The client has authenticated: [`Session::identity`] says as whom.
    fn authenticated(&mut self, _session: &Session) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// An attempt to authenticate has failed: for a log, or for a list of addresses that are to be
    /// kept out. Not called where the client hangs up before the end, as some do when a token is
    /// refused; the answer was given all the same.
    fn authentication_failed(
        &mut self,
        _session: &Session,
        _failure: &Failure,
    ) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// MAIL: 250 opens a transaction. `parameters.auth` is to be believed only of a client that is
    /// trusted in this (RFC 4954, section 5).
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

    /// A piece of the message. What cannot be stored is remembered, and said in
    /// [`end_of_body`](Self::end_of_body).
    fn body(&mut self, runs: Runs<'_>) -> impl Future<Output = ()> + Send;

    /// BURL: fetch what the URI names and put it behind what has come; 250 if that is done, else
    /// 554 5.6.6 and the other codes of RFC 4468, section 6, which end the message. Where it opens
    /// the message, [`data`](Self::data) was asked before.
    fn fetch(
        &mut self,
        _session: &Session,
        _uri: Uri<'_>,
    ) -> impl Future<Output = Response> + Send {
        async { NO_FETCH }
    }

    /// The message is complete. 2yz takes the responsibility for it (RFC 5321, section 4.2.5):
    /// store it first.
    fn end_of_body(&mut self, session: &Session) -> impl Future<Output = Response> + Send;

    /// The same in LMTP: a word for each of the `recipients` that were accepted, in the order of
    /// their RCPTs (RFC 2033, section 4.2). By default the word of [`end_of_body`](Self::end_of_body) holds
    /// for all of them.
    fn end_of_body_each(
        &mut self,
        session: &Session,
        recipients: usize,
    ) -> impl Future<Output = Vec<Response>> + Send {
        async move { vec![self.end_of_body(session).await; recipients] }
    }

    /// The message was read to its end and refused by the machine: forget what came of it.
    fn body_refused(&mut self, _refusal: BodyRefusal) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// RSET: forget the transaction.
    fn reset(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// The connection is over, however it ended, be it by a panic in another method or by the end
    /// of the grace, which drops the method that is under way. A message without an answer is
    /// nobody's: forget what came of it.
    ///
    /// Not called where the future of [`serve`](crate::serve()) or [`handle`](crate::handle()) is
    /// dropped itself.
    fn closed(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// XCLIENT: 220 if the client is a proxy that may speak for others. Then everything starts
    /// again with EHLO, and the handler knows for whom; the session still tells who the proxy is.
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
