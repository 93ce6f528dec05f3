//! Notifies the sender of the recipients that do not get the message (RFC 3464).

use std::sync::Arc;
use std::time::SystemTime;

use smtp_proto::Date;
use smtp_proto::wire::command::Command;
use smtp_proto::wire::params::{MailParameters, RcptParameters};
use smtp_proto::wire::path::ReversePath;

use crate::{Failed, entry::Entry, journal::Journal, part::Part, queue::Queue};

/// Puts a notification into the queue, unless there is nothing to tell or it was told before.
pub(crate) async fn tell(
    queue: &Arc<Queue>,
    entry: &Entry,
    journal: &mut Journal,
) -> Result<(), Failed> {
    let recipients = entry.envelope.recipients.iter().enumerate();
    let failed = recipients.filter_map(|(index, to)| match journal.outcome(index) {
        Some("delivered") | None => None,
        Some(fields) => {
            let (to, fields) = (&to.path, fields.replace('\t', "\r\n"));
            let named = format!("\r\nFinal-Recipient: rfc822; {}\r\n", to.as_str());
            Some(format!("{named}Action: failed\r\n{fields}\r\n"))
        }
    });
    let failed: String = failed.collect();
    let sender = &entry.envelope.reverse_path;
    // RFC 5321, section 6.1: a notification is not answered by another one.
    if failed.is_empty() || sender.is_null() || journal.has("told") {
        return Ok(());
    }
    let mut head = Vec::new();
    let mut parameters = MailParameters::default();
    // RFC 8689, section 5: the way back is as protected, and the body of the message stays here.
    parameters.require_tls = entry.envelope.require_tls;
    Command::Mail { path: ReversePath::Null, parameters }.write(&mut head);
    let (path, parameters) = (sender.as_str().parse()?, RcptParameters::default());
    Command::Rcpt { path, parameters }.write(&mut head);
    Command::Data.write(&mut head);

    let mut part = Part::begin(queue).await;
    part.write(&head).await;
    part.write(report(queue.setup.name.as_str(), sender.as_str(), &failed)?.as_bytes()).await;
    part.write(entry.header()).await;
    part.write(format!("\r\n--{BOUNDARY}--\r\n").as_bytes()).await;
    part.commit(queue).await?;
    Ok(journal.note("told".to_owned())?)
}

/// No line of the parts can be this one: no field begins so.
const BOUNDARY: &str = "=_relay_notification";

/// The report up to the header of the message, which ends it.
fn report(host: &str, sender: &str, failed: &str) -> Result<String, Failed> {
    let now = SystemTime::now();
    let (id, date) = (now.duration_since(SystemTime::UNIX_EPOCH)?.as_nanos(), Date::utc(now));
    let date = date.ok_or("the clock is wrong")?;
    Ok(format!(
        "From: Mail Delivery <postmaster@{host}>\r\n\
         To: <{sender}>\r\n\
         Subject: Undelivered mail\r\n\
         Date: {date}\r\n\
         Message-ID: <{id}@{host}>\r\n\
         Auto-Submitted: auto-replied\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"{BOUNDARY}\"\r\n\r\n\
         --{BOUNDARY}\r\nContent-Type: text/plain\r\n\r\n\
         Your message could not be delivered to these recipients:\r\n{failed}\r\n\
         --{BOUNDARY}\r\nContent-Type: message/delivery-status\r\n\r\n\
         Reporting-MTA: dns; {host}\r\n{failed}\r\n\
         --{BOUNDARY}\r\nContent-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    ))
}
