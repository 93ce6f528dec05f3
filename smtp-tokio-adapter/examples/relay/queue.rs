//! The queue on disk: messages come in by SMTP, and leave when each recipient has its outcome.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smtp_proto::client::{Envelope, Recipient};
use smtp_proto::route::RecipientStatus;
use smtp_proto::stamp::Date;
use smtp_proto::wire::body::Runs;
use smtp_proto::wire::params::{MailParameters, RcptParameters};
use smtp_proto::wire::path::{ForwardPath, ReversePath};
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::Host;
use smtp_tokio_adapter::{Handler, RecipientOutcome, Sender, Session};
use tokio::sync::Semaphore;

use crate::{Failed, Lookups};

/// Most messages that are being delivered at a time.
const DELIVERIES: usize = 20;
/// RFC 5321, section 4.5.4.1: at least half an hour between two tries.
const BETWEEN_TRIES: Duration = Duration::from_secs(30 * 60);

/// A folder with messages, and what delivers them.
pub(crate) struct Queue {
    name: String,
    folder: PathBuf,
    pub(crate) sender: Arc<Sender<Lookups>>,
    /// One permit for each delivery under way.
    slots: Semaphore,
}

impl Queue {
    /// Goes on with the messages that are there.
    pub(crate) fn open(
        name: String,
        folder: PathBuf,
        sender: Arc<Sender<Lookups>>,
    ) -> Result<Arc<Self>, Failed> {
        let queue = Arc::new(Self { name, folder, sender, slots: Semaphore::new(DELIVERIES) });
        for file in fs::read_dir(&queue.folder)? {
            let path = file?.path();
            if path.extension().is_some_and(|it| it == "mail") {
                tokio::spawn(deliver(Arc::clone(&queue), path));
            }
        }
        Ok(queue)
    }
}

/// The handler of one connection.
pub(crate) struct Submission {
    queue: Arc<Queue>,
    /// Becomes a file of the queue: the sender's line, a line for each recipient, an empty line,
    /// and the message.
    entry: Vec<u8>,
}

impl Submission {
    pub(crate) const fn new(queue: Arc<Queue>) -> Self {
        Self { queue, entry: Vec::new() }
    }
}

impl Handler for Submission {
    async fn mail(
        &mut self,
        _: &Session,
        from: ReversePath<'_>,
        _: MailParameters<'_>,
    ) -> Response {
        self.entry = format!("{}\n", from.as_str()).into_bytes();
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
        self.entry.extend_from_slice(format!("{}\n", to.as_str()).as_bytes());
        Response::fixed(250, (2, 1, 5), "recipient OK")
    }

    async fn data(&mut self, session: &Session) -> Response {
        self.entry.push(b'\n');
        if let Some(date) = Date::utc(SystemTime::now()) {
            session.stamp(&self.queue.name, false, date).write(&mut self.entry);
        }
        Response::fixed(354, (3, 0, 0), "end with <CRLF>.<CRLF>")
    }

    async fn body(&mut self, runs: Runs<'_>) {
        runs.append_to(&mut self.entry);
    }

    async fn end_of_body(&mut self, session: &Session) -> Response {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let name = format!("{now}-{}.mail", session.peer.map_or(0, |peer| peer.port()));
        let (path, entry) = (self.queue.folder.join(name), std::mem::take(&mut self.entry));
        let stored = path.clone();
        match tokio::task::spawn_blocking(move || store(&stored, &entry)).await {
            Ok(Ok(())) => {
                tokio::spawn(deliver(Arc::clone(&self.queue), path));
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
async fn deliver(queue: Arc<Queue>, path: PathBuf) {
    loop {
        let slot = queue.slots.acquire().await;
        match attempt(&queue.sender, &path).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => eprintln!("{}: {error}", path.display()),
        }
        drop(slot);
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}

/// Tries the recipients that are not in the journal. Returns whether all are in it now.
async fn attempt(sender: &Sender<Lookups>, path: &Path) -> Result<bool, Failed> {
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
