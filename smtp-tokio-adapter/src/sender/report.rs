//! What a delivery came to.

use std::net::SocketAddr;

use smtp_proto::route::{Ending, RecipientStatus};
use smtp_tls_policy::tlsrpt::ReportedSession;

use crate::client::outcome::Decision;
use crate::sender::hosts::Skip;

/// One connection of a delivery.
#[derive(Clone, Debug)]
pub struct DialAttempt {
    /// The host.
    pub host: String,
    /// Its address.
    pub address: SocketAddr,
    /// What was decided about TLS.
    pub decision: Decision,
    /// How it ended.
    pub ending: Ending,
    /// What is to be reported of it (RFC 8460): one final status for each policy, or none.
    pub sessions: Vec<ReportedSession>,
}

/// How a delivery ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// The final word on each recipient, by index.
    pub words: Vec<RecipientStatus>,
    /// Every connection, in order.
    pub attempts: Vec<DialAttempt>,
    /// The hosts that were not dialled, in order.
    pub skipped: Vec<(String, Skip)>,
    /// Clear text is allowed on the next run of the queue.
    pub clear_next_run: bool,
}

impl Report {
    /// What is to be counted by an [`Aggregate`](smtp_tls_policy::tlsrpt::Aggregate) for the reports of RFC 8460.
    pub fn sessions(&self) -> impl Iterator<Item = &ReportedSession> {
        let skipped = self.skipped.iter().filter_map(|(_, skip)| skip.session.as_ref());
        skipped.chain(self.attempts.iter().flat_map(|attempt| &attempt.sessions))
    }
}
