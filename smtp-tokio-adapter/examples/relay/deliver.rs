//! Tries each message until every recipient has its outcome.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use smtp_proto::route::RecipientStatus;
use smtp_tokio_adapter::RecipientOutcome;

use crate::{Failed, bounce, entry::Entry, failure, journal::Journal, queue::Queue};

/// RFC 5321, section 4.5.4.1: a pause of at least 30 minutes, and later of two or three hours; the
/// message is given up after four or five days.
const SHORTEST_PAUSE: Duration = Duration::from_secs(30 * 60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3 * 60 * 60);
const GIVE_UP: Duration = Duration::from_secs(5 * 24 * 60 * 60);

/// Tries one message again and again: as long after the last try as the message is old.
pub(crate) async fn deliver(queue: &Arc<Queue>, mail: &Path) {
    loop {
        let age = age(mail).unwrap_or_default();
        let Ok(slot) = queue.slots.acquire().await else { return };
        match attempt(queue, mail, age > GIVE_UP).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => eprintln!("{}: {error}", mail.display()),
        }
        drop(slot);
        tokio::time::sleep(age.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
    }
}

/// The file does not change after the message has come.
fn age(mail: &Path) -> Result<Duration, Failed> {
    Ok(SystemTime::now().duration_since(std::fs::metadata(mail)?.modified()?)?)
}

/// Tries the recipients without an outcome. Returns whether the message is done.
async fn attempt(queue: &Arc<Queue>, mail: &Path, is_last: bool) -> Result<bool, Failed> {
    let entry = Entry::read(mail)?;
    let mut journal = Journal::open(&mail.with_extension("journal"))?;
    let all = 0..entry.envelope.recipients.len();
    let left: Vec<usize> = all.clone().filter(|it| journal.outcome(*it).is_none()).collect();
    if entry.is_in_a_loop() {
        for &index in &left {
            journal.note(format!("{index} {}", failure::LOOP))?;
        }
    } else {
        let recipients = left.iter().map(|&index| entry.envelope.recipients[index].clone());
        let mut part = entry.envelope.clone();
        part.recipients = recipients.collect();
        let may_be_clear = |at: &usize| journal.has(&format!("clear {}", left[*at]));
        let clear_now: Vec<usize> = (0..left.len()).filter(may_be_clear).collect();
        let note = |at: usize, outcome: &RecipientOutcome| {
            let index = left[at];
            println!("{}: {}", entry.envelope.recipients[index].path, outcome.status);
            let line = match outcome.status {
                RecipientStatus::Delivered => format!("{index} delivered"),
                RecipientStatus::Deferred(_) if !is_last && outcome.clear_next_run => {
                    format!("clear {index}")
                }
                RecipientStatus::Deferred(_) if !is_last => return,
                _ => format!("{index} {}", failure::fields(outcome)),
            };
            if let Err(error) = journal.note(line) {
                eprintln!("{}: {error}", mail.display());
            }
        };
        queue.setup.sender.send_with(part, &entry.message, &clear_now, note).await;
    }
    if all.clone().any(|index| journal.outcome(index).is_none()) {
        return Ok(false);
    }
    bounce::tell(queue, &entry, &mut journal).await?;
    journal.finish(mail)?;
    Ok(true)
}
