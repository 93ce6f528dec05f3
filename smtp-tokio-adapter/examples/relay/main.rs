//! A relay for the programs of this host: it takes their mail by SMTP, keeps it in a queue on disk,
//! and delivers it by DNS with DANE, MTA-STS, revocation lists and connectors.
//!
//! ```text
//! cargo run --features settings,metrics --example relay -- relay.toml 127.0.0.1:2525 127.0.0.1:9925
//! ```
//!
//! The documentation of `Setup` says what is in `relay.toml`. Mail comes to the first address, of
//! the loopback because no password is asked for. The second one has the metrics for Prometheus.
//!
//! | file | what it does |
//! |---|---|
//! | `receive` | answers the commands of a client, and says 250 once the message is on the disk |
//! | `queue`, `part`, `entry` | the folder of messages, a message on its way into it, its format |
//! | `deliver`, `journal` | tries each message, and writes each outcome down when it is known |
//! | `bounce`, `failure` | notifies the sender of recipients without the message (RFC 3464) |
//! | `reload` | at SIGHUP reads the certificates, roots, lists and passwords of the settings again |
//! | `metrics` | the page for Prometheus |
//!
//! It can be killed at any time: no accepted message is lost, and one is sent again only if the
//! 250 of its server had not reached the journal.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod bounce;
mod deliver;
mod entry;
mod failure;
mod journal;
mod metrics;
mod part;
mod queue;
mod receive;
mod reload;

use std::{path::Path, process::ExitCode, sync::Arc};

use smtp_tokio_adapter::{Setup, serve};
use tokio::net::TcpListener;
use tokio::signal::{ctrl_c, unix::SignalKind, unix::signal};

use crate::{queue::Queue, receive::Reception};

pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("{error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [settings, listen, metrics] = &arguments[..] else {
        return Err("usage: relay SETTINGS.toml ADDRESS:PORT METRICS-ADDRESS:PORT".into());
    };
    let page = metrics::Page::install()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut setup = Setup::load(Path::new(settings), provider).await?;
    let smtp = Arc::make_mut(&mut setup.inbound.smtp);
    (smtp.size_limit, smtp.require_tls) = (Some(10 << 20), true);
    let (inbound, setup) = (setup.inbound.clone(), Arc::new(setup));
    let listener = TcpListener::bind(listen).await?;
    if !listener.local_addr()?.ip().is_loopback() {
        return Err("the relay asks for no password: it must listen at the loopback".into());
    }
    println!("listening on {}", listener.local_addr()?);
    let metrics = TcpListener::bind(metrics).await?;
    println!("metrics on {}", metrics.local_addr()?);
    tokio::spawn(page.serve(metrics, Arc::clone(&setup)));
    tokio::spawn(Arc::clone(&setup).upkeep());
    tokio::spawn(reload::run(Arc::clone(&setup), signal(SignalKind::hangup())?));
    let queue = Queue::open(setup)?;
    let taking = Arc::clone(&queue);
    let service = move |_| Reception::new(Arc::clone(&taking));
    let mut ended = signal(SignalKind::terminate())?;
    let shutdown = async move {
        tokio::select! { _ = ended.recv() => {}, _ = ctrl_c() => {} }
    };
    serve(listener, inbound, service, shutdown).await?;
    queue.close().await;
    Ok(())
}
