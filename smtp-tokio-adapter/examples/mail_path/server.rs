//! A receiving organisation: judges its clients, writes its Received header, and says 250 when its
//! spool is complete.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::pki_types::UnixTime;
use smtp_proto::Date;
use smtp_proto::channel::TlsInfo;
use smtp_proto::wire::body::Runs;
use smtp_proto::wire::params::{MailParameters, RcptParameters};
use smtp_proto::wire::path::{ForwardPath, ReversePath};
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::judge::{admit, admit_handshake};
use smtp_tls_policy::pki::Trust;
use smtp_tls_policy::plan::Refusal;
use smtp_tls_policy::rules::InboundConnectors;
use smtp_tls_policy::{Domain, Reason};
use smtp_tokio_adapter::{Handler, Inbound, Session, handle, serve};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::Failed;
use crate::fault::{Fault, Faulty};

const STORED: Response = Response::fixed(250, (2, 0, 0), "stored");
const RECIPIENT_OK: Response = Response::fixed(250, (2, 1, 5), "recipient OK");
const NOT_NOW: Response = Response::fixed(454, (4, 7, 0), "TLS not available");
// RFC 5321, section 4.2.2 and RFC 3463, section 3.4.
const NO_SPACE: Response = Response::fixed(452, (4, 3, 1), "cannot store the message");

/// What a server saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Where the message is stored.
    pub stored: Option<PathBuf>,
    /// The TLS session that it came over.
    pub tls: Option<Arc<TlsInfo>>,
    /// MAIL carried REQUIRETLS: the next hop must be asked for it as well (RFC 8689, section 4.1).
    pub require_tls: bool,
    /// Why a client was turned away.
    pub refused: Option<Reason>,
}

/// One organisation's server on one hop.
pub struct Server {
    pub name: &'static str,
    pub connectors: InboundConnectors,
    pub trust: Trust,
    /// STARTTLS is answered with 454.
    pub refuses_starttls: bool,
    /// Where a message goes.
    pub spool: PathBuf,
    pub seen: Mutex<Seen>,
}

impl Server {
    fn see(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn refuse(&self, refusal: &Refusal) -> Response {
        self.see(|seen| seen.refused = Some(refusal.reason()));
        let status = refusal.status();
        Response::new(
            refusal.code(),
            (status.class, status.subject, status.detail),
            refusal.to_string(),
        )
    }
}

/// A server that runs.
pub struct Running {
    pub address: SocketAddr,
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Running {
    pub async fn start(
        server: Arc<Server>,
        inbound: Inbound,
        fault: Option<Fault>,
    ) -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let stopped = async {
            let _: Result<(), tokio::sync::oneshot::error::RecvError> = stopped.await;
        };
        let task = match fault {
            None => {
                let desk = move |_: SocketAddr| Desk::of(&server);
                tokio::spawn(async move { serve(listener, inbound, desk, stopped).await })
            }
            Some(fault) => tokio::spawn(serve_badly(listener, inbound, server, fault, stopped)),
        };
        Ok(Self { address, stop, task })
    }

    pub async fn stop(self) -> Result<(), Failed> {
        let _: Result<(), ()> = self.stop.send(());
        self.task.await.map_err(Failed::from_text)??;
        Ok(())
    }
}

/// As [`serve`], over streams that break STARTTLS.
async fn serve_badly(
    listener: TcpListener,
    inbound: Inbound,
    server: Arc<Server>,
    fault: Fault,
    stopped: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let (_leave, leaving) = tokio::sync::watch::channel(false);
    let mut connections = tokio::task::JoinSet::new();
    let mut stopped = std::pin::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => return Ok(()),
            accepted = listener.accept() => {
                let (stream, peer) = accepted?;
                stream.set_nodelay(true)?;
                let (inbound, handler, leaving) = (inbound.clone(), Desk::of(&server), leaving.clone());
                connections.spawn(async move {
                    handle(&inbound, handler, Faulty::new(stream, fault), Some(peer), leaving).await;
                });
            }
        }
    }
}

/// Answers one client.
struct Desk {
    server: Arc<Server>,
    recipient: Option<String>,
    /// The file that a message goes to, or why it cannot.
    spool: Option<std::io::Result<File>>,
}

impl Desk {
    fn of(server: &Arc<Server>) -> Self {
        Self { server: Arc::clone(server), recipient: None, spool: None }
    }
}

impl Desk {
    fn part(&self) -> PathBuf {
        self.server.spool.with_extension("part")
    }

    async fn open(&self, session: &Session) -> std::io::Result<File> {
        let mut file = File::create(self.part()).await?;
        let mut header = Vec::new();
        let date = Date::utc(SystemTime::now()).ok_or(std::io::ErrorKind::InvalidData)?;
        let mut stamp = session.stamp(self.server.name, false, date);
        (stamp.id, stamp.recipient) = (Some("1"), self.recipient.as_deref());
        stamp.write(&mut header);
        file.write_all(&header).await?;
        Ok(file)
    }

    async fn store(&mut self, session: &Session) -> std::io::Result<()> {
        let mut file =
            self.spool.take().unwrap_or_else(|| Err(std::io::ErrorKind::NotFound.into()))?;
        file.flush().await?;
        file.sync_all().await?;
        tokio::fs::rename(self.part(), &self.server.spool).await?;
        let (stored, tls) = (Some(self.server.spool.clone()), session.tls.clone());
        self.server.see(|seen| *seen = Seen { stored, tls, ..seen.clone() });
        Ok(())
    }
}

impl Handler for Desk {
    async fn starttls(&mut self, _session: &Session) -> Response {
        if self.server.refuses_starttls {
            NOT_NOW
        } else {
            Response::fixed(220, (2, 0, 0), "ready to start TLS")
        }
    }

    async fn handshake(&mut self, session: &Session) -> Option<Response> {
        let Server { connectors, trust, .. } = &*self.server;
        let admitted = admit_handshake(connectors, &session.client_chain, trust, UnixTime::now());
        admitted.err().map(|refusal| self.server.refuse(&refusal))
    }

    async fn mail(
        &mut self,
        session: &Session,
        path: ReversePath<'_>,
        parameters: MailParameters<'_>,
    ) -> Response {
        self.server.see(|seen| seen.require_tls = parameters.require_tls);
        let domain =
            path.mailbox().and_then(|mailbox| Domain::parse(mailbox.domain().as_str()).ok());
        match admit(
            self.server.connectors.find(domain.as_ref()),
            session.shown_tls(),
            &session.client_chain,
            &self.server.trust,
            UnixTime::now(),
        ) {
            Ok(_) => Response::fixed(250, (2, 1, 0), "sender OK"),
            Err(refusal) => self.server.refuse(&refusal),
        }
    }

    async fn recipient(
        &mut self,
        _session: &Session,
        path: ForwardPath<'_>,
        _parameters: RcptParameters<'_>,
    ) -> Response {
        self.recipient = Some(path.as_str().to_owned());
        RECIPIENT_OK
    }

    async fn data(&mut self, session: &Session) -> Response {
        self.spool = Some(self.open(session).await);
        Response::fixed(354, (3, 0, 0), "end with <CRLF>.<CRLF>")
    }

    async fn body(&mut self, runs: Runs<'_>) {
        for run in runs {
            let Some(Ok(file)) = &mut self.spool else { return };
            if let Err(error) = file.write_all(run).await {
                self.spool = Some(Err(error));
            }
        }
    }

    async fn end_of_body(&mut self, session: &Session) -> Response {
        match self.store(session).await {
            Ok(()) => STORED,
            Err(error) => {
                tracing::error!(%error, "spool");
                NO_SPACE
            }
        }
    }
}
