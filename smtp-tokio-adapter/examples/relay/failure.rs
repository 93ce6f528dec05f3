//! Why a recipient does not get the message, as the fields of a notification (RFC 3464, section
//! 2.3), parted by tabs: one line of the journal.

use smtp_proto::route::RecipientStatus;
use smtp_tokio_adapter::RecipientOutcome;

/// A message that goes in circles (RFC 3463, section 3.5).
pub(crate) const LOOP: &str = "Status: 5.4.6\tDiagnostic-Code: x-relay; too many Received fields";
/// Most characters of a reply: a line of a message has at most 998.
const MAX_REPLY: usize = 800;

pub(crate) fn fields(outcome: &RecipientOutcome) -> String {
    let mut fields = match outcome.status {
        RecipientStatus::Bounced(status) => format!("Status: {status}"),
        // RFC 3463, section 3.5: the time for the delivery is over.
        RecipientStatus::Deferred(_) | RecipientStatus::Delivered => "Status: 4.4.7".to_owned(),
    };
    if let Some(host) = &outcome.host {
        fields += &format!("\tRemote-MTA: dns; {host}");
    }
    let reply = outcome.reply.as_ref().map(|it| format!("smtp; {it}"));
    if let Some(text) = reply.or(outcome.failure.as_ref().map(|it| format!("x-relay; {it}"))) {
        let plain = |char: char| if (' '..='~').contains(&char) { char } else { '?' };
        let text: String = text.chars().take(MAX_REPLY).map(plain).collect();
        fields += &format!("\tDiagnostic-Code: {text}");
    }
    fields
}
