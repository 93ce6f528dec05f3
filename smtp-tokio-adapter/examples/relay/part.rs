//! A message on its way into the queue. Its file is `NUMBER.part` until it is complete and on the
//! disk; only then does it get the name `NUMBER.mail`.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::queue::Queue;

/// Removed when it is dropped, unless it is complete.
pub(crate) struct Part {
    path: PathBuf,
    /// The file, or the first thing that went wrong.
    file: io::Result<File>,
}

impl Part {
    pub(crate) async fn begin(queue: &Queue) -> Self {
        let path = queue.next_part();
        Self { file: File::create_new(&path).await, path }
    }

    /// An error is kept for [`commit`](Self::commit).
    pub(crate) async fn write(&mut self, octets: &[u8]) {
        if let Ok(file) = &mut self.file
            && let Err(error) = file.write_all(octets).await
        {
            self.file = Err(error);
        }
    }

    /// Takes the responsibility for the message: once this is done, no crash loses it. Begins to
    /// deliver it.
    pub(crate) async fn commit(mut self, queue: &Arc<Queue>) -> io::Result<()> {
        let nothing = Err(io::ErrorKind::NotFound.into());
        let mut file = std::mem::replace(&mut self.file, nothing)?;
        file.flush().await?;
        file.sync_all().await?;
        let path = self.path.with_extension("mail");
        tokio::fs::rename(&self.path, &path).await?;
        let synced = async { File::open(&queue.folder).await?.sync_all().await };
        if let Err(error) = synced.await {
            // The client keeps the message, so the queue must not have it too.
            tokio::fs::remove_file(&path).await?;
            return Err(error);
        }
        queue.deliver(path);
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}
