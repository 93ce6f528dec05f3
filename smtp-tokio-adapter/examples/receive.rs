//! Receives mail with STARTTLS and stores each message as a file.
//!
//! ```text
//! cargo run --example receive -- 127.0.0.1:2525 mx.test.example FOLDER CHAIN KEY
//! ```
//!
//! CHAIN and KEY are the server's certificates and its private key in PEM. The answer 250 is sent
//! after the message is on the disk, so an accepted message is never lost.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use smtp_proto::server::{ServerConfig, StartTls};
use smtp_proto::stamp::Date;
use smtp_proto::wire::body::Runs;
use smtp_proto::wire::params::{MailParameters, RcptParameters};
use smtp_proto::wire::path::{ForwardPath, ReversePath};
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::tls::{ClientCertificates, server_config};
use smtp_tokio_adapter::{Handler, Inbound, Session, serve};

/// The handler of one connection, with the message that is arriving. It begins with a field
/// Delivered-To (RFC 9228) for each recipient.
struct Inbox {
    name: Arc<str>,
    folder: Arc<Path>,
    message: Vec<u8>,
}

impl Handler for Inbox {
    async fn mail(&mut self, _: &Session, _: ReversePath<'_>, _: MailParameters<'_>) -> Response {
        self.message.clear();
        Response::fixed(250, (2, 1, 0), "sender OK")
    }

    async fn recipient(
        &mut self,
        _: &Session,
        path: ForwardPath<'_>,
        _: RcptParameters<'_>,
    ) -> Response {
        self.message.extend_from_slice(format!("Delivered-To: {}\r\n", path.as_str()).as_bytes());
        Response::fixed(250, (2, 1, 5), "recipient OK")
    }

    async fn data(&mut self, session: &Session) -> Response {
        if let Some(date) = Date::utc(SystemTime::now()) {
            session.stamp(&self.name, false, date).write(&mut self.message);
        }
        Response::fixed(354, (3, 0, 0), "end with <CRLF>.<CRLF>")
    }

    async fn body(&mut self, runs: Runs<'_>) {
        runs.append_to(&mut self.message);
    }

    async fn end_of_body(&mut self, session: &Session) -> Response {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let name = format!("{now}-{}.eml", session.peer.map_or(0, |peer| peer.port()));
        let (folder, message) = (Arc::clone(&self.folder), std::mem::take(&mut self.message));
        match tokio::task::spawn_blocking(move || store(&folder, &name, &message)).await {
            Ok(Ok(())) => Response::fixed(250, (2, 0, 0), "stored"),
            failed => {
                eprintln!("cannot store a message: {failed:?}");
                Response::fixed(451, (4, 3, 0), "cannot store the message now")
            }
        }
    }
}

/// The file has its name only after its bytes are on the disk; the name is there after the folder
/// is.
fn store(folder: &Path, name: &str, message: &[u8]) -> std::io::Result<()> {
    let part = folder.join(format!("{name}.part"));
    let mut file = std::fs::File::create_new(&part)?;
    file.write_all(message)?;
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
    let chain = CertificateDer::pem_file_iter(chain)?.collect::<Result<Vec<_>, _>>()?;
    let identity = CertifiedKey::from_der(chain, PrivateKeyDer::from_pem_file(key)?, &provider)?;
    let mut config = ServerConfig::new(name.parse()?);
    (config.starttls, config.size_limit) = (StartTls::Offered, Some(10 << 20));
    let mut inbound = Inbound::new(Arc::new(config));
    inbound.tls = Some(server_config(Arc::new(identity), ClientCertificates::None, provider)?);

    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let (name, folder) = (Arc::<str>::from(&name[..]), Arc::<Path>::from(PathBuf::from(folder)));
    let inbox = move |_| Inbox { name: name.clone(), folder: folder.clone(), message: Vec::new() };
    let shutdown = async { drop(tokio::signal::ctrl_c().await) };
    Ok(serve(listener, inbound, Arc::new(inbox), shutdown).await?)
}
