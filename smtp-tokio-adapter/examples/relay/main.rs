//! A relay for the programs of this host: it takes their mail by SMTP, keeps it in a queue on disk,
//! and delivers it by DNS with DANE, MTA-STS, revocation lists and connectors.
//!
//! ```text
//! cargo run --features dns,https,crl-fetch,metrics --example relay -- relay.toml
//! ```
//!
//! `settings.rs` shows what is in `relay.toml`. The metrics are at `http://METRICS/metrics`.
//!
//! A message is answered with 250 once its file `*.mail` is on the disk. Each recipient that was
//! delivered or refused for good has a line in its `*.journal` the moment that is known. The relay
//! can be killed at any time: it loses no accepted message, and sends a message again only if the
//! server's 250 had not reached the journal. A message that is done is removed, or kept as
//! `*.bounced` with its journal if recipients were refused: a notification (RFC 3464) is due.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]
#![allow(unreachable_pub, reason = "the modules of one program")]

mod metrics;
mod queue;
mod settings;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use smtp_proto::server::{ServerConfig, StartTls};
use smtp_tls_policy::pki::LiveTrust;
use smtp_tls_policy::tls::{ClientCertificates, server_config};
use smtp_tokio_adapter::lookups::{Combined, PolicyClient, dns::Resolver};
use smtp_tokio_adapter::revocation::CrlFetcher;
use smtp_tokio_adapter::store::FileStore;
use smtp_tokio_adapter::{Inbound, Outbound, Sender, ServerCertificates, serve};

use crate::metrics::Page;
use crate::queue::{Queue, Submission};
use crate::settings::Settings;

pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;
/// Asks the DNS, and MTA-STS policy hosts by HTTPS.
pub(crate) type Lookups = Combined<Resolver, PolicyClient>;

/// How often the work that is not for one message is done.
const UPKEEP: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file] = &arguments[..] else { return Err("usage: relay SETTINGS.toml".into()) };
    let settings = Settings::read(Path::new(file))?;
    let page = Page::install()?;
    let sender = Arc::new(sender(&settings).await?);

    let mut config = ServerConfig::new(settings.name.parse()?);
    config.size_limit = Some(10 << 20);
    let mut tls = None;
    if let Some(files) = &settings.certificate {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let shown = ServerCertificates::load(vec![files.into()], Arc::clone(&provider))?;
        tls = Some(server_config(shown.identities(), ClientCertificates::None, provider)?);
        config.starttls = StartTls::Offered;
    }
    let inbound = Inbound { tls, ..Inbound::new(Arc::new(config)) };

    let listener = tokio::net::TcpListener::bind(settings.listen).await?;
    if !listener.local_addr()?.ip().is_loopback() {
        return Err("this relay asks for no password: `listen` must be of the loopback".into());
    }
    let metrics = tokio::net::TcpListener::bind(settings.metrics).await?;
    println!("listening on {}", listener.local_addr()?);
    println!("metrics on {}", metrics.local_addr()?);
    tokio::spawn(Arc::clone(&page).serve(metrics, Arc::clone(&sender)));
    tokio::spawn(upkeep(page, Arc::clone(&sender)));

    let queue = Queue::open(settings.name.clone(), settings.folder("queue")?, sender)?;
    let connection = Arc::clone(&queue);
    let service = move |_| Submission::new(Arc::clone(&connection));
    let shutdown = async { drop(tokio::signal::ctrl_c().await) };
    serve(listener, inbound, Arc::new(service), shutdown).await?;
    queue.sender.close().await;
    Ok(())
}

/// The sender, with everything that it asks and remembers.
async fn sender(settings: &Settings) -> Result<Sender<Lookups>, Failed> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let trust = Arc::new(LiveTrust::new(settings.trust()?));
    let lists = CrlFetcher::new(Arc::clone(&trust)).with_directory(settings.folder("lists")?);
    lists.load().await?;
    let outbound = Outbound::new(settings.name.parse()?, Arc::clone(&provider), trust.clone());
    let outbound = outbound.with_crl_fetcher(lists.clone());
    tokio::spawn(async move { lists.run().await });

    let connectors = Arc::new(settings.connectors(&trust.load())?);
    let lookups = Combined::new(settings.resolver()?, PolicyClient::new(provider, trust)?);
    let store = FileStore::open(settings.folder("policies")?)?;
    let sender = Sender::new(outbound, connectors, lookups)?;
    let sender = sender.with_route(|route| route.port = settings.port);
    Ok(sender.with_store(Arc::new(store)).await)
}

/// Fetches policies again before they expire, and keeps the metrics small between two scrapes.
async fn upkeep(page: Arc<Page>, sender: Arc<Sender<Lookups>>) {
    loop {
        sender.refresh().await;
        page.upkeep();
        tokio::time::sleep(UPKEEP).await;
    }
}
