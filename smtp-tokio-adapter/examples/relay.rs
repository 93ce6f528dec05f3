//! Takes mail from programs on this host and passes it on to a smart host, with a queue on disk.
//!
//! ```text
//! cargo run --example relay -- 127.0.0.1:2525 relay.example QUEUE smtp.test.example:25 [ROOTS]
//! ```
//!
//! A message is answered with 250 once its file `*.mail` is on the disk. Each recipient that was
//! delivered or refused for good has a line in its `*.journal` the moment that is known. The relay
//! can be killed at any time: it loses no accepted message, and sends a message again only if the
//! smart host's 250 had not reached the journal. A message that is done is removed, or kept as
//! `*.bounced` with its journal if recipients were refused: a notification (RFC 3464) is due.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::fs::{self, File};
use std::io::{Read, Write};
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
use smtp_tokio_adapter::{Handler, Inbound, Outbound, RecipientOutcome, Sender, Session, serve};
use tokio::sync::Semaphore;

type Failed = Box<dyn std::error::Error + Send + Sync>;

struct Relay {
    name: String,
    queue: PathBuf,
    sender: Sender<SystemResolver>,
    /// One permit for each delivery under way.
    slots: Semaphore,
}

/// The handler of one connection. `entry` becomes a file of the queue: the sender's line, a line
/// for each recipient, an empty line, and the message.
struct Submission(Arc<Relay>, Vec<u8>);

impl Handler for Submission {
    async fn mail(
        &mut self,
        _: &Session,
        from: ReversePath<'_>,
        _: MailParameters<'_>,
    ) -> Response {
        self.1 = format!("{}\n", from.as_str()).into_bytes();
        Response::fixed(250, (2, 1, 0), "sender OK")
    }

    async fn recipient(
        &mut self,
        _: &Session,
        to: ForwardPath<'_>,
        _: RcptParameters<'_>,
    ) -> Response {
        if to.mailbox().is_some_and(|it| Host::parse(it.domain().as_str()).is_err()) {
            return Response::fixed(550, (5, 1, 2), "no such domain");
        }
        self.1.extend_from_slice(format!("{}\n", to.as_str()).as_bytes());
        Response::fixed(250, (2, 1, 5), "recipient OK")
    }

    async fn data(&mut self, session: &Session) -> Response {
        self.1.push(b'\n');
        if let Some(date) = Date::utc(SystemTime::now()) {
            session.stamp(&self.0.name, false, date).write(&mut self.1);
        }
        Response::fixed(354, (3, 0, 0), "end with <CRLF>.<CRLF>")
    }

    async fn body(&mut self, runs: Runs<'_>) {
        runs.append_to(&mut self.1);
    }

    async fn end_of_body(&mut self, session: &Session) -> Response {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let name = format!("{now}-{}.mail", session.peer.map_or(0, |peer| peer.port()));
        let (path, entry) = (self.0.queue.join(name), std::mem::take(&mut self.1));
        let stored = path.clone();
        match tokio::task::spawn_blocking(move || store(&stored, &entry)).await {
            Ok(Ok(())) => {
                tokio::spawn(deliver(Arc::clone(&self.0), path));
                Response::fixed(250, (2, 0, 0), "queued")
            }
            failed => {
                eprintln!("cannot queue a message: {failed:?}");
                Response::fixed(451, (4, 3, 0), "cannot queue the message now")
            }
        }
    }
}

/// The file has its name only once its bytes are on the disk; then the name is on the disk too.
fn store(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let mut file = File::create_new(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

/// Tries to deliver one message until each recipient is delivered or refused for good.
async fn deliver(relay: Arc<Relay>, path: PathBuf) {
    loop {
        let slot = relay.slots.acquire().await;
        match attempt(&relay.sender, &path).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => eprintln!("{}: {error}", path.display()),
        }
        drop(slot);
        // RFC 5321, section 4.5.4.1: at least half an hour between two tries.
        tokio::time::sleep(Duration::from_secs(30 * 60)).await;
    }
}

/// Tries the recipients that are not in the journal. Returns whether all are in it now.
async fn attempt(sender: &Sender<SystemResolver>, path: &Path) -> Result<bool, Failed> {
    let entry = bytes::Bytes::from(fs::read(path)?);
    let head = entry.windows(2).position(|two| two == b"\n\n").ok_or("not an entry")?;
    let (message, head) = (entry.slice(head + 2..), std::str::from_utf8(&entry[..head])?);
    let (from, recipients) = head.split_once('\n').ok_or("an entry without recipients")?;
    let (journal, mut lines) = (path.with_extension("journal"), String::new());
    let mut file = File::options().read(true).append(true).create(true).open(&journal)?;
    sync_folder(&journal)?;
    file.read_to_string(&mut lines)?;
    let left: Vec<_> =
        recipients.lines().enumerate().filter(|(index, _)| !is_settled(&lines, *index)).collect();
    let to = left.iter().map(|(_, to)| to.parse()).collect::<Result<Vec<Recipient>, _>>()?;
    let envelope = Envelope::new(from.parse()?, to);
    let note = |at: usize, outcome: &RecipientOutcome| {
        let (index, to) = left[at];
        println!("{to}: {}", outcome.status);
        if !matches!(outcome.status, RecipientStatus::Deferred(_)) {
            let line = format!("\n{index} {}", outcome.status);
            if let Err(error) = file.write_all(line.as_bytes()).and_then(|()| file.sync_data()) {
                eprintln!("{}: {error}", journal.display());
            }
        }
    };
    sender.send_with(&envelope, &message, note).await;

    let lines = fs::read_to_string(&journal)?;
    if (0..recipients.lines().count()).any(|index| !is_settled(&lines, index)) {
        return Ok(false);
    }
    if lines.contains("bounced") {
        fs::rename(path, path.with_extension("bounced"))?;
    } else {
        fs::remove_file(path)?;
        sync_folder(path)?;
        fs::remove_file(&journal)?;
    }
    Ok(true)
}

/// A crash can cut off the last line of the journal. The blank shows that its number is whole.
fn is_settled(journal: &str, index: usize) -> bool {
    journal.lines().any(|line| line.starts_with(&format!("{index} ")))
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
    let mut all = OutboundConnector::new("all", vec![Namespace::Default], Posture::Verified);
    let (host, port) = smart_host.split_once(':').ok_or("HOST:PORT has no port")?;
    let mut smart_host = SmartHost::new(Host::parse(host)?);
    smart_host.port = port.parse()?;
    all.smart_host = Some(smart_host);
    let connectors = Arc::new(OutboundConnectors::new(vec![all])?);
    let sender = Sender::new(outbound, connectors, SystemResolver)?;
    let (queue, slots) = (PathBuf::from(queue), Semaphore::new(20));
    let relay = Arc::new(Relay { name: name.clone(), queue, sender, slots });

    let listener = tokio::net::TcpListener::bind(address).await?;
    if !listener.local_addr()?.ip().is_loopback() {
        return Err("this relay asks for no password: ADDRESS must be of the loopback".into());
    }
    println!("listening on {}", listener.local_addr()?);
    for file in fs::read_dir(&relay.queue)? {
        let path = file?.path();
        if path.extension().is_some_and(|it| it == "mail") {
            tokio::spawn(deliver(Arc::clone(&relay), path));
        }
    }
    let mut config = ServerConfig::new(name.parse()?);
    config.size_limit = Some(10 << 20);
    let connection = Arc::clone(&relay);
    let service = move |_| Submission(Arc::clone(&connection), Vec::new());
    let shutdown = async { drop(tokio::signal::ctrl_c().await) };
    serve(listener, Inbound::new(Arc::new(config)), Arc::new(service), shutdown).await?;
    relay.sender.close().await;
    Ok(())
}
