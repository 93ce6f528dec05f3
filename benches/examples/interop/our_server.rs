//! Our server as it is put before their clients: `serve`, with everything on, and a relay before
//! it. It keeps mail in memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use smtp_proto::Secret;
use smtp_proto::sasl::scram::{Keys, MIN_ITERATIONS};
use smtp_proto::sasl::server::{self as sasl, Answer, Question};
use smtp_proto::server::{ServerConfig, StartTls, Tolerance};
use smtp_proto::wire::body::Runs;
use smtp_proto::wire::params::{MailParameters, RcptParameters};
use smtp_proto::wire::path::{ForwardPath, ReversePath};
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::tls::{ClientCertificates, server_config};
use smtp_tokio_adapter::{Handler, Inbound, Session, scram, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::lab::Lab;
use crate::tap::{Conversation, Tap};

/// The name in the lab's certificates.
const HOST: &str = "mail.test.example";
/// The one user, and the password.
pub(crate) const USER: &str = "user";
pub(crate) const PASSWORD: &str = "tanstaafl";
/// Octets of the largest message.
const SIZE_LIMIT: u64 = 50 << 20;

/// A message and what our side knows of its transaction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrived {
    pub(crate) client: Option<SocketAddr>,
    pub(crate) over_tls: bool,
    /// The user as which the client had authenticated, and by what.
    pub(crate) user: Option<(String, &'static str)>,
    pub(crate) smtputf8: bool,
    /// The parameters of DSN, by their names.
    pub(crate) dsn: Vec<&'static str>,
    pub(crate) message: Vec<u8>,
}

type Store = Arc<Mutex<Vec<Arrived>>>;

struct Desk {
    store: Store,
    client: SocketAddr,
    arriving: Arrived,
    /// What AUTH has asked for last.
    mechanism: &'static str,
}

impl Handler for Desk {
    async fn authenticate(&mut self, _: &Session, question: Question) -> Answer {
        match question {
            Question::Password { user, password }
                if user == USER && password.as_bytes() == PASSWORD.as_bytes() =>
            {
                self.mechanism = "a password";
                Answer::Accepted(user)
            }
            Question::Keys { user } if user == USER => {
                self.mechanism = "SCRAM";
                Keys::derive(&Secret::from(PASSWORD), b"interop's salt 1", MIN_ITERATIONS)
                    .map_or(Answer::Unavailable, Answer::Keys)
            }
            _ => Answer::Refused,
        }
    }

    async fn mail(
        &mut self,
        session: &Session,
        _: ReversePath<'_>,
        parameters: MailParameters<'_>,
    ) -> Response {
        let dsn = [parameters.ret.map(|_| "RET"), parameters.envelope_id.as_ref().map(|_| "ENVID")];
        self.arriving = Arrived {
            client: Some(self.client),
            over_tls: session.tls.is_some(),
            user: session
                .identity
                .as_ref()
                .map(|identity| (identity.authorization.clone(), self.mechanism)),
            smtputf8: parameters.smtputf8,
            dsn: dsn.into_iter().flatten().collect(),
            message: Vec::new(),
        };
        Response::fixed(250, (2, 1, 0), "sender OK")
    }

    async fn recipient(
        &mut self,
        _: &Session,
        path: ForwardPath<'_>,
        parameters: RcptParameters<'_>,
    ) -> Response {
        if !path.as_str().ends_with("@test.example") {
            return Response::fixed(550, (5, 7, 1), "relay denied");
        }
        let dsn = [parameters.notify.map(|_| "NOTIFY"), parameters.orcpt.as_ref().map(|_| "ORCPT")];
        self.arriving.dsn.extend(dsn.into_iter().flatten());
        Response::fixed(250, (2, 1, 5), "OK")
    }

    async fn body(&mut self, runs: Runs<'_>) {
        runs.append_to(&mut self.arriving.message);
    }

    async fn end_of_body(&mut self, _: &Session) -> Response {
        let arrived = std::mem::take(&mut self.arriving);
        self.store.lock().unwrap_or_else(PoisonError::into_inner).push(arrived);
        Response::fixed(250, (2, 0, 0), "stored")
    }
}

/// One listener.
pub(crate) struct OurServer {
    /// Where clients go: the relay.
    pub(crate) address: SocketAddr,
    tap: Tap,
    store: Store,
    /// The server ends when this is dropped.
    _stop: oneshot::Sender<()>,
}

impl OurServer {
    pub(crate) async fn start(lab: &Lab, implicit: bool) -> Result<Self, String> {
        Self::start_with(lab, implicit, Tolerance::default()).await
    }

    /// The same, taking more of what clients do wrong.
    pub(crate) async fn start_with(
        lab: &Lab,
        implicit: bool,
        tolerance: Tolerance,
    ) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("our server: {error}");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let identity = lab.identity("valid", &provider)?;
        let tls = server_config(identity, ClientCertificates::None, Arc::clone(&provider));
        let tls = tls.map_err(|error| error.to_string())?;
        let scram = scram(Secret::from("interop"), MIN_ITERATIONS, provider);
        let passwords = [sasl::plain(), sasl::login()];
        let name = HOST.parse().map_err(|_| "host name")?;
        let mut config = ServerConfig::new(name);
        config.starttls = if implicit { StartTls::No } else { StartTls::Offered };
        config.size_limit = Some(SIZE_LIMIT);
        config.chunking = true;
        config.smtputf8 = true;
        config.dsn = true;
        config.mechanisms = scram.into_iter().chain(passwords).collect();
        config.tolerance = tolerance;
        let mut inbound = Inbound::new(Arc::new(config));
        (inbound.tls, inbound.implicit) = (Some(tls), implicit);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let tap = Tap::start(listener.local_addr().map_err(failed)?).await?;
        let store = Store::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let arrived = Arc::clone(&store);
        let service = move |client: SocketAddr| Desk {
            store: Arc::clone(&arrived),
            client,
            arriving: Arrived::default(),
            mechanism: "",
        };
        tokio::spawn(serve(listener, inbound, service, async { drop(stopped.await) }));
        Ok(Self { address: tap.address, tap, store, _stop: stop })
    }

    /// What has come since the last time.
    pub(crate) async fn take(&self) -> (Vec<Arrived>, Vec<Conversation>) {
        let conversations = self.tap.take().await;
        (
            std::mem::take(&mut self.store.lock().unwrap_or_else(PoisonError::into_inner)),
            conversations,
        )
    }
}
