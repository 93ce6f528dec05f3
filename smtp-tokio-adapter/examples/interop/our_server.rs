//! Our server as it is put before their clients: `serve`, with everything on, behind a relay. It keeps mail in memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use smtp_proto::body::Runs;
use smtp_proto::params::{MailParameters, RcptParameters};
use smtp_proto::path::{ForwardPath, ReversePath};
use smtp_proto::reply::Response;
use smtp_proto::server::{Config, StartTls};
use smtp_tls_policy::rustls::{ClientCertificates, server_config};
use smtp_tokio_adapter::serve::{Handler, Inbound, Service, Session, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::lab::Lab;
use crate::tap::{Conversation, Tap};

/// The name in the lab's certificates.
const HOST: &str = "mail.test.example";
/// Octets of the largest message.
const SIZE_LIMIT: u64 = 50 << 20;

/// A message and what our side knows of its transaction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrived {
    pub(crate) client: Option<SocketAddr>,
    pub(crate) over_tls: bool,
    pub(crate) smtputf8: bool,
    /// The parameters of DSN, by their names.
    pub(crate) dsn: Vec<&'static str>,
    pub(crate) message: Vec<u8>,
}

type Store = Arc<Mutex<Vec<Arrived>>>;

struct Desks(Store);

impl Service for Desks {
    type Handler = Desk;
    fn handler(&self, peer: SocketAddr) -> Desk {
        Desk { store: Arc::clone(&self.0), client: peer, arriving: Arrived::default() }
    }
}

struct Desk {
    store: Store,
    client: SocketAddr,
    arriving: Arrived,
}

impl Handler for Desk {
    async fn mail(&mut self, session: &Session, _: ReversePath<'_>, parameters: MailParameters<'_>) -> Response {
        let dsn = [parameters.ret.map(|_| "RET"), parameters.envelope_id.map(|_| "ENVID")];
        self.arriving = Arrived {
            client: Some(self.client),
            over_tls: session.tls.is_some(),
            smtputf8: parameters.smtputf8,
            dsn: dsn.into_iter().flatten().collect(),
            message: Vec::new(),
        };
        Response::fixed(250, (2, 1, 0), "sender OK")
    }

    async fn recipient(&mut self, _: &Session, path: ForwardPath<'_>, parameters: RcptParameters<'_>) -> Response {
        if !path.as_str().ends_with("@test.example") {
            return Response::fixed(550, (5, 7, 1), "relay denied");
        }
        let dsn = [parameters.notify.map(|_| "NOTIFY"), parameters.orcpt.map(|_| "ORCPT")];
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
        let failed = |error: std::io::Error| format!("our server: {error}");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let identity = lab.identity("valid", &provider)?;
        let tls = server_config(identity, ClientCertificates::None, provider).map_err(|error| error.to_string())?;
        let name = HOST.parse().map_err(|_| "host name")?;
        let config = Config {
            starttls: if implicit { StartTls::No } else { StartTls::Offered },
            size_limit: Some(SIZE_LIMIT),
            chunking: true,
            smtputf8: true,
            dsn: true,
            ..Config::new(name)
        };
        let inbound = Inbound { tls: Some(tls), implicit, ..Inbound::new(Arc::new(config)) };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let tap = Tap::start(listener.local_addr().map_err(failed)?).await?;
        let store = Store::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let service = Arc::new(Desks(Arc::clone(&store)));
        tokio::spawn(serve(listener, inbound, service, async { drop(stopped.await) }));
        Ok(Self { address: tap.address, tap, store, _stop: stop })
    }

    /// What has come since the last time.
    pub(crate) async fn take(&self) -> (Vec<Arrived>, Vec<Conversation>) {
        let conversations = self.tap.take().await;
        (std::mem::take(&mut self.store.lock().unwrap_or_else(PoisonError::into_inner)), conversations)
    }
}
