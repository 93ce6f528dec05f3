//! Our server in a process of its own: it takes all mail and discards it.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;

use smtp_proto::server::{ServerConfig, StartTls};
use smtp_proto::wire::body::Runs;
use smtp_proto::wire::params::RcptParameters;
use smtp_proto::wire::path::ForwardPath;
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::tls::{ClientCertificates, server_config};
use smtp_tokio_adapter::{Handler, IdentityFiles, Inbound, Session, serve};
use tokio::net::TcpListener;

use crate::certificate::{Certificate, NAME};

/// The argument that makes this program the server; the files of its certificate follow.
pub(crate) const SERVE: &str = "--serve";
/// More than any part opens.
const CONNECTIONS: usize = 4000;

struct Discard;

impl Handler for Discard {
    async fn recipient(
        &mut self,
        _: &Session,
        _: ForwardPath<'_>,
        _: RcptParameters<'_>,
    ) -> Response {
        Response::fixed(250, (2, 1, 5), "recipient OK")
    }

    async fn body(&mut self, _: Runs<'_>) {}

    async fn end_of_body(&mut self, _: &Session) -> Response {
        Response::fixed(250, (2, 0, 0), "discarded")
    }
}

/// Says its port, and serves until its input ends.
pub(crate) fn serve_until_end_of_input(files: &[String]) -> ExitCode {
    if let Err(error) = serve_here(files) {
        eprintln!("load {SERVE}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn serve_here(files: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let [chain, key] = files else { return Err("needs the files of a chain and a key".into()) };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let identity = IdentityFiles::new(chain, key).load(&provider)?;
    let tls = server_config(identity, ClientCertificates::None, provider)?;
    let mut config = ServerConfig::new(NAME.parse()?);
    config.starttls = StartTls::Offered;
    let mut inbound = Inbound::new(Arc::new(config));
    (inbound.tls, inbound.connections) = (Some(tls), CONNECTIONS);
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(
        async {
            // Every address of the loopback: the hosts of many domains are one server.
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
            println!("{}", listener.local_addr()?.port());
            let end_of_input = async {
                drop(
                    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()))
                        .await,
                );
            };
            serve(listener, inbound, |_: SocketAddr| Discard, end_of_input).await
        },
    )?;
    Ok(())
}

/// The server's process. It ends when its input does.
pub(crate) struct Served {
    process: Child,
    pub(crate) port: u16,
}

impl Served {
    pub(crate) fn start(certificate: &Certificate) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.arg(SERVE).args(certificate.files());
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut served = Self { process: process.map_err(|error| error.to_string())?, port: 0 };
        let mut line = String::new();
        let output = served.process.stdout.take().ok_or("no output")?;
        BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
        served.port = line.trim().parse().map_err(|error| format!("port {line:?}: {error}"))?;
        Ok(served)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        if self.process.wait().is_err() {
            eprintln!("load: the server goes on");
        }
    }
}
