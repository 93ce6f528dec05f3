//! Memory of connections that wait: our server in a process of its own, our client in this one.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;

use smtp_proto::server::{ServerConfig, StartTls};
use smtp_proto::wire::body::Runs;
use smtp_proto::wire::params::RcptParameters;
use smtp_proto::wire::path::ForwardPath;
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::rules::Posture;
use smtp_tokio_adapter::test_kit::Pki;
use smtp_tokio_adapter::{Connection, Target};
use smtp_tokio_adapter::{Handler, Inbound, Session, serve};
use tokio::net::{TcpListener, TcpStream};

use crate::process::memory;
use crate::senders::{connect, outbound, rules};

/// The argument that makes this program the server.
pub(crate) const SERVE: &str = "--serve";
/// Connections that wait, and those that are there before, so that what all need once is not
/// counted.
const IDLE: usize = 1000;
const BEFORE: usize = 50;

struct Nobody;

impl Handler for Nobody {
    async fn recipient(
        &mut self,
        _: &Session,
        _: ForwardPath<'_>,
        _: RcptParameters<'_>,
    ) -> Response {
        Response::fixed(550, (5, 1, 1), "no such user")
    }

    async fn body(&mut self, _: Runs<'_>) {}

    async fn end_of_body(&mut self, _: &Session) -> Response {
        Response::fixed(250, (2, 0, 0), "discarded")
    }
}

/// Says its port, and serves until its input ends.
pub(crate) fn serve_until_end_of_input() -> ExitCode {
    let served = serve_here();
    if let Err(error) = served {
        eprintln!("load {SERVE}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn serve_here() -> Result<(), Box<dyn std::error::Error>> {
    let tls = Pki::new().server_config("mail.test.example");
    let mut config = ServerConfig::new("mail.test.example".parse()?);
    config.starttls = StartTls::Offered;
    let inbound =
        Inbound { tls: Some(tls), connections: 2 * IDLE, ..Inbound::new(Arc::new(config)) };
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(
        async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            println!("{}", listener.local_addr()?.port());
            let end_of_input = async {
                drop(
                    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()))
                        .await,
                );
            };
            serve(listener, inbound, Arc::new(|_: SocketAddr| Nobody), end_of_input).await
        },
    )?;
    Ok(())
}

/// The server's process. It ends when its input does.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if self.0.wait().is_err() {
            eprintln!("load: the server goes on");
        }
    }
}

/// Prints what a connection costs that has said EHLO and waits, in clear text and inside TLS.
pub(crate) fn report() -> Result<(), String> {
    println!("\nKiB of an idle connection after EHLO, by {IDLE} of them");
    for (name, posture) in [("clear text", Posture::None), ("STARTTLS", Posture::Encrypt)] {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        let child = command.arg(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut server = Served(child.map_err(|error| error.to_string())?);
        let mut line = String::new();
        let output = server.0.stdout.take().ok_or("no output")?;
        BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
        let port = line.trim().parse().map_err(|error| format!("port {line:?}: {error}"))?;

        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(async {
            let mut connections = Vec::with_capacity(BEFORE + IDLE);
            open(&mut connections, BEFORE, port, posture).await?;
            let before = (memory(server.0.id())?, memory(std::process::id())?);
            open(&mut connections, IDLE, port, posture).await?;
            let after = (memory(server.0.id())?, memory(std::process::id())?);
            let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / IDLE as f64;
            let (of_server, of_client) = (each(before.0, after.0), each(before.1, after.1));
            println!("  {name:24} server {of_server:6.1}  client {of_client:6.1}");
            Ok::<(), String>(())
        })?;
    }
    Ok(())
}

async fn open(
    connections: &mut Vec<Connection<TcpStream>>,
    count: usize,
    port: u16,
    posture: Posture,
) -> Result<(), String> {
    let (host, plan) = rules(posture)?;
    let outbound = outbound(true)?;
    for _ in 0..count {
        let target = Target::new(&host, &plan);
        let opened = outbound.open(&target, connect(port).await?).await;
        let connection = opened.map_err(|error| error.decision.sentence)?;
        let decision = connection.decision();
        if decision.tls.is_some() != (posture != Posture::None) {
            return Err(decision.sentence.clone());
        }
        connections.push(connection);
    }
    Ok(())
}
