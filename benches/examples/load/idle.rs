//! Memory of connections that wait: our server in a process of its own, our client in this one.

use smtp_tls_policy::rules::Posture;
use smtp_tokio_adapter::{Connection, Target};
use tokio::net::TcpStream;

use crate::certificate::Certificate;
use crate::process::memory;
use crate::senders::{connect, outbound, rules};
use crate::server::Served;

/// Connections that wait, and those that are there before, so that what all need once is not
/// counted.
const IDLE: usize = 1000;
const BEFORE: usize = 50;

/// Prints what a connection costs that has said EHLO and waits, in clear text and inside TLS.
pub(crate) fn report(certificate: &Certificate) -> Result<(), String> {
    println!("\nKiB of an idle connection after EHLO, by {IDLE} of them");
    for (name, posture) in [("clear text", Posture::None), ("STARTTLS", Posture::Verified)] {
        let server = Served::start(certificate)?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(async {
            let mut connections = Vec::with_capacity(BEFORE + IDLE);
            open(&mut connections, BEFORE, server.port, posture, certificate).await?;
            let before = (memory(server.id())?, memory(std::process::id())?);
            open(&mut connections, IDLE, server.port, posture, certificate).await?;
            let after = (memory(server.id())?, memory(std::process::id())?);
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
    certificate: &Certificate,
) -> Result<(), String> {
    let (host, plan) = rules(posture)?;
    let outbound = outbound(certificate, true)?;
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
