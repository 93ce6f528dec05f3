//! Takes mail from programs on this host and passes it on to a smart host, with a queue on disk.
//!
//! ```text
//! cargo run --example relay -- 127.0.0.1:2525 relay.example QUEUE smtp.test.example:25 [ROOTS]
//! ```
//!
//! A message is answered with 250 after it is in the queue on the disk, and leaves the queue after
//! the smart host has answered 250. The relay can be killed at any time: it loses no accepted
//! message, and sends again only what the smart host accepted just before. A message with
//! recipients that were refused for good is kept as `*.bounced`, for the notification (RFC 3464)
//! that is due.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use smtp_proto::client::{Envelope, Recipient};
use smtp_proto::route::RecipientStatus;
use smtp_proto::server::ServerConfig;
use smtp_proto::stamp::Date;
use smtp_proto::wire::body::Runs;
use smtp_proto::wire::params::{MailParameters, RcptParameters};
use smtp_proto::wire::path::{ForwardPath, ReversePath};
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::rules::{OutboundConnector, OutboundConnectors, Posture, SmartHost};
use smtp_tls_policy::{Host, Namespace, pki::Trust};
use smtp_tokio_adapter::lookups::SystemResolver;
use smtp_tokio_adapter::{Handler, Inbound, Outbound, Sender, Session, serve};
use tokio::sync::Notify;

type Failed = Box<dyn std::error::Error + Send + Sync>;

static ADDED: Notify = Notify::const_new();

/// The handler of one connection. `entry` becomes a file of the queue: the sender's line, a line
/// for each recipient, an empty line, and the message.
struct Submission {
    name: Arc<str>,
    queue: Arc<Path>,
    entry: Vec<u8>,
}

impl Handler for Submission {
    async fn mail(
        &mut self,
        _: &Session,
        path: ReversePath<'_>,
        _: MailParameters<'_>,
    ) -> Response {
        self.entry = format!("{}\n", path.as_str()).into_bytes();
        Response::fixed(250, (2, 1, 0), "sender OK")
    }

    async fn recipient(
        &mut self,
        _: &Session,
        path: ForwardPath<'_>,
        _: RcptParameters<'_>,
    ) -> Response {
        if path.mailbox().is_some_and(|it| Host::parse(it.domain().as_str()).is_err()) {
            return Response::fixed(550, (5, 1, 2), "no such domain");
        }
        self.entry.extend_from_slice(format!("{}\n", path.as_str()).as_bytes());
        Response::fixed(250, (2, 1, 5), "recipient OK")
    }

    async fn data(&mut self, session: &Session) -> Response {
        self.entry.push(b'\n');
        if let Some(date) = Date::utc(SystemTime::now()) {
            session.stamp(&self.name, false, date).write(&mut self.entry);
        }
        Response::fixed(354, (3, 0, 0), "end with <CRLF>.<CRLF>")
    }

    async fn body(&mut self, runs: Runs<'_>) {
        runs.append_to(&mut self.entry);
    }

    async fn end_of_body(&mut self, session: &Session) -> Response {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let name = format!("{now}-{}.mail", session.peer.map_or(0, |peer| peer.port()));
        let (path, entry) = (self.queue.join(name), std::mem::take(&mut self.entry));
        match tokio::task::spawn_blocking(move || store(&path, &entry)).await {
            Ok(Ok(())) => {
                ADDED.notify_one();
                Response::fixed(250, (2, 0, 0), "queued")
            }
            failed => {
                eprintln!("cannot queue a message: {failed:?}");
                Response::fixed(451, (4, 3, 0), "cannot queue the message now")
            }
        }
    }
}

/// Writes a file, or replaces it, at once or not at all.
fn store(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let mut file = std::fs::File::create(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    std::fs::File::open(path.parent().unwrap_or(path))?.sync_all()
}

/// Tries to deliver one entry, and keeps the recipients that are left.
async fn deliver(sender: &Sender<SystemResolver>, path: &Path) -> Result<(), Failed> {
    let entry = bytes::Bytes::from(std::fs::read(path)?);
    let head = entry.windows(2).position(|two| two == b"\n\n").ok_or("not an entry")?;
    let (message, head) = (entry.slice(head + 2..), std::str::from_utf8(&entry[..head])?);
    let (from, recipients) = head.split_once('\n').ok_or("an entry without recipients")?;
    let (mut deferred, mut bounced) = (vec![from], vec![from]);
    let to: Vec<Recipient> = recipients.lines().map(str::parse).collect::<Result<_, _>>()?;
    let report = sender.send(&Envelope::new(from.parse()?, to), &message).await;
    for (to, outcome) in recipients.lines().zip(&report.recipients) {
        println!("{to}: {}", outcome.status);
        match outcome.status {
            RecipientStatus::Delivered => {}
            RecipientStatus::Deferred(_) => deferred.push(to),
            RecipientStatus::Bounced(_) => bounced.push(to),
        }
    }
    let entry = |to: &[&str]| [to.join("\n").as_bytes(), b"\n\n", &message].concat();
    if bounced.len() > 1 {
        // The count falls with each refusal, so no earlier file is replaced.
        let number = format!("{}.bounced", deferred.len());
        store(&path.with_extension(number), &entry(&bounced))?;
    }
    if deferred.len() > 1 {
        store(path, &entry(&deferred))?
    } else {
        std::fs::remove_file(path)?
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, name, queue, smart_host, roots @ ..] = &arguments[..] else {
        return Err("usage: relay ADDRESS:PORT NAME QUEUE HOST:PORT [ROOTS]".into());
    };
    let trust = match roots.first() {
        Some(file) => Trust::from_der(&[CertificateDer::from_pem_file(file)?])?,
        None => Trust::webpki_roots(),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let outbound = Outbound::new(name.parse()?, provider, Arc::new(trust));
    let everyone = vec![Namespace::Default];
    let mut connector = OutboundConnector::new("smart host", everyone, Posture::Verified);
    let (host, port) = smart_host.split_once(':').ok_or("HOST:PORT has no port")?;
    let mut smart_host = SmartHost::new(Host::parse(host)?);
    smart_host.port = port.parse()?;
    connector.smart_host = Some(smart_host);
    let connectors = Arc::new(OutboundConnectors::new(vec![connector])?);
    let sender = Sender::new(outbound, connectors, SystemResolver)?;

    let listener = tokio::net::TcpListener::bind(address).await?;
    if !listener.local_addr()?.ip().is_loopback() {
        return Err(
            "this relay asks no client for a password: ADDRESS must be of the loopback".into()
        );
    }
    println!("listening on {}", listener.local_addr()?);
    let (name, queue) = (Arc::<str>::from(&name[..]), Arc::<Path>::from(PathBuf::from(queue)));
    let mut config = ServerConfig::new(name.parse()?);
    config.size_limit = Some(10 << 20);
    let folder = Arc::clone(&queue);
    let service =
        move |_| Submission { name: name.clone(), queue: folder.clone(), entry: Vec::new() };
    tokio::spawn(serve(
        listener,
        Inbound::new(Arc::new(config)),
        Arc::new(service),
        std::future::pending(),
    ));

    loop {
        for file in std::fs::read_dir(&queue)? {
            let path = file?.path();
            if path.extension().is_some_and(|it| it == "mail")
                && let Err(error) = deliver(&sender, &path).await
            {
                eprintln!("{}: {error}", path.display());
            }
        }
        // RFC 5321, section 4.5.4.1: half an hour between two tries, unless there is new mail.
        let _ = tokio::time::timeout(Duration::from_secs(30 * 60), ADDED.notified()).await;
    }
}
