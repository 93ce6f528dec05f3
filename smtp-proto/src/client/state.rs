//! The state of a conversation, and the commands that wait for replies.

use crate::error::Error;
use crate::timeouts::Phase;
use crate::wire::reply::EnhancedCode;

/// A command that waits for its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// No command: the server speaks first.
    Greeting,
    Ehlo,
    Helo {
        /// The status of the refusal of EHLO.
        refused: EnhancedCode,
    },
    StartTls,
    /// AUTH or a response of it.
    Auth,
    Mail,
    Recipient(usize),
    Data,
    /// BDAT that is not the last.
    Chunk,
    EndOfData,
    /// No command: the reply to the message for one recipient in LMTP.
    Delivery(usize),
    /// The dot that answers a 354 after the transaction has ended.
    LoneDot,
    Reset,
    /// What the caller sends between two transactions.
    Command,
    Xclient,
    Quit,
}

impl Sent {
    /// Whether a command may have this positive reply. Codes that RFC 5321, section 4.2.3 and RFC
    /// 4954, section 6 give to other commands show that the replies are out of step; codes of no
    /// command count by their first digit, as RFC 5321, section 4.3.2 wants.
    pub(super) const fn may_be_answered_with(self, code: u16) -> bool {
        match self {
            Self::Greeting => !matches!(code, 211 | 214 | 221 | 235 | 250 | 251 | 252),
            Self::Ehlo | Self::Helo { .. } | Self::Mail | Self::Reset => {
                !matches!(code, 211 | 214 | 220 | 221 | 235 | 251 | 252)
            }
            Self::Recipient(_) => !matches!(code, 211 | 214 | 220 | 221 | 235),
            // The message is accepted, whatever else the server says: in doubt it would come twice.
            Self::Chunk | Self::EndOfData | Self::Delivery(_) | Self::LoneDot => true,
            // Each has its own codes where its reply is read.
            Self::StartTls | Self::Auth | Self::Data | Self::Xclient => true,
            Self::Command | Self::Quit => true,
        }
    }

    pub(super) const fn phase(self) -> Phase {
        match self {
            Self::Greeting => Phase::Greeting,
            Self::Ehlo | Self::Helo { .. } => Phase::Hello,
            Self::StartTls => Phase::StartTls,
            Self::Auth => Phase::Auth,
            Self::Mail => Phase::Mail,
            Self::Recipient(_) => Phase::Recipient,
            Self::Data => Phase::Data,
            Self::Chunk => Phase::Body,
            Self::EndOfData | Self::Delivery(_) | Self::LoneDot => Phase::EndOfData,
            Self::Reset => Phase::Reset,
            Self::Command | Self::Xclient => Phase::Command,
            Self::Quit => Phase::Quit,
        }
    }
}

/// The state of the conversation. Every assignment to it is in `transition.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Greeting, EHLO or STARTTLS is under way.
    Opening,
    /// The 220 to STARTTLS was read; the driver runs the handshake.
    Handshake,
    /// EHLO was answered, the event is due.
    Opened,
    /// Between transactions, or in one.
    Ready,
    /// QUIT was or will be sent; nothing else matters.
    Leaving,
    /// The `Closed` event is due.
    Closing,
    Over(Error),
}
