//! The folder of the messages: `NUMBER.mail` is a message, and `NUMBER.journal` what became of its
//! recipients so far.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use smtp_tokio_adapter::Setup;
use tokio::sync::Semaphore;

use crate::deliver::deliver;

/// Most messages that are being delivered at a time.
const DELIVERIES: usize = 20;
/// How long deliveries under way may take at shutdown.
const GRACE: Duration = Duration::from_secs(30);

pub(crate) struct Queue {
    pub(crate) setup: Arc<Setup>,
    pub(crate) folder: PathBuf,
    /// One permit for each delivery; closed at shutdown.
    pub(crate) slots: Semaphore,
    number: AtomicU64,
}

impl Queue {
    /// Goes on with the messages that are there, and removes what an earlier run left unfinished.
    pub(crate) fn open(setup: Arc<Setup>) -> io::Result<Arc<Self>> {
        let folder = setup.state.join("queue");
        std::fs::create_dir_all(&folder)?;
        let (mut mails, mut last) = (Vec::new(), 0);
        for file in std::fs::read_dir(&folder)? {
            let path = file?.path();
            let number = path.file_stem().and_then(|it| it.to_str()?.parse().ok());
            last = last.max(number.unwrap_or(0));
            match path.extension().and_then(|it| it.to_str()) {
                Some("mail") => mails.push(path),
                Some("journal") if path.with_extension("mail").exists() => {}
                Some("journal" | "part") => std::fs::remove_file(path)?,
                _ => {}
            }
        }
        let slots = Semaphore::new(DELIVERIES);
        let queue = Arc::new(Self { setup, folder, slots, number: AtomicU64::new(last + 1) });
        for path in mails {
            queue.deliver(path);
        }
        Ok(queue)
    }

    /// The name of the next file.
    pub(crate) fn next_part(&self) -> PathBuf {
        self.folder.join(format!("{}.part", self.number.fetch_add(1, Ordering::Relaxed)))
    }

    /// Delivers a message in a task of its own.
    pub(crate) fn deliver(self: &Arc<Self>, path: PathBuf) {
        let queue = Arc::clone(self);
        tokio::spawn(async move { deliver(&queue, &path).await });
    }

    /// Begins no delivery any more, and waits for those under way. The rest is for the next run.
    pub(crate) async fn close(&self) {
        self.slots.close();
        let idle = async {
            while self.slots.available_permits() < DELIVERIES {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        drop(tokio::time::timeout(GRACE, idle).await);
        self.setup.sender.close().await;
    }
}
