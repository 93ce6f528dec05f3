//! The caller's work in a conversation.

use super::exchange::Exchange;
use super::state::Sent;
use super::transaction::Transaction;

/// What the caller has asked for and has not had the result of. Each kind owns its data.
#[derive(Debug, Default)]
pub(super) enum Work {
    #[default]
    None,
    /// A command between two transactions.
    Command {
        sent: Sent,
        /// Its line; empty once it is sent.
        line: Vec<u8>,
    },
    Auth(Exchange),
    Mail(Transaction),
}

impl Work {
    pub(super) const fn mail(&self) -> Option<&Transaction> {
        match self {
            Self::Mail(transaction) => Some(transaction),
            Self::None | Self::Command { .. } | Self::Auth(_) => None,
        }
    }

    pub(super) const fn mail_mut(&mut self) -> Option<&mut Transaction> {
        match self {
            Self::Mail(transaction) => Some(transaction),
            Self::None | Self::Command { .. } | Self::Auth(_) => None,
        }
    }
}
