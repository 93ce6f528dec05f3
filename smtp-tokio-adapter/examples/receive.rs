//! Receives mail with STARTTLS and stores each message as a file.
//!
//! ```text
//! cargo run --example receive -- 127.0.0.1:2525 mx.test.example FOLDER CHAIN KEY
//! ```
//!
//! CHAIN and KEY are the server's certificates and its private key in PEM; FOLDER must exist. The
//! answer 250 is sent after the message is on the disk, so an accepted message is never lost.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use smtp_proto::server::{ServerConfig, StartTls};
use smtp_proto::wire::path::ForwardPath;
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::tls::{ClientCertificates, server_config};
use smtp_tokio_adapter::{Arrival, Collect, IdentityFiles, Inbound, Inbox, Session, serve};

/// The folder of the messages.
struct Folder(Arc<Path>);

impl Inbox for Folder {
    /// Every recipient has this one inbox.
    async fn recipient(&mut self, _: &Session, _: ForwardPath<'_>) -> Response {
        Response::fixed(250, (2, 1, 5), "recipient OK")
    }

    async fn arrived(&mut self, session: &Session, arrival: Arrival) -> Response {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let name = format!("{now}-{}.eml", session.peer.map_or(0, |peer| peer.port()));
        let folder = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || store(&folder, &name, &arrival)).await {
            Ok(Ok(())) => Response::fixed(250, (2, 0, 0), "stored"),
            failed => {
                eprintln!("cannot store a message: {failed:?}");
                Response::fixed(451, (4, 3, 0), "cannot store the message now")
            }
        }
    }
}

/// Each recipient has a field Delivered-To (RFC 9228). The file has its name only after its octets
/// are on the disk; the name is there after the folder is.
fn store(folder: &Path, name: &str, arrival: &Arrival) -> std::io::Result<()> {
    let part = folder.join(format!("{name}.part"));
    let mut file = std::fs::File::create_new(&part)?;
    for recipient in &arrival.recipients {
        write!(file, "Delivered-To: {}\r\n", recipient.as_str())?;
    }
    file.write_all(&arrival.message)?;
    file.sync_all()?;
    std::fs::rename(&part, folder.join(name))?;
    std::fs::File::open(folder)?.sync_all()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, name, folder, chain, key] = &arguments[..] else {
        return Err("usage: receive ADDRESS:PORT NAME FOLDER CHAIN KEY".into());
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let identity = IdentityFiles::new(chain, key).load(&provider)?;
    let mut config = ServerConfig::new(name.parse()?);
    (config.starttls, config.size_limit) = (StartTls::Offered, Some(10 << 20));
    let mut inbound = Inbound::new(Arc::new(config));
    inbound.tls = Some(server_config(identity, ClientCertificates::None, provider)?);

    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let (name, folder) = (Arc::<str>::from(&name[..]), Arc::<Path>::from(PathBuf::from(folder)));
    let inbox = move |_| Collect::new(Arc::clone(&name), Folder(Arc::clone(&folder)));
    let shutdown = async { drop(tokio::signal::ctrl_c().await) };
    Ok(serve(listener, inbound, inbox, shutdown).await?)
}
