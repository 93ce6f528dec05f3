//! Where a conversation stands.

use crate::error::Error;

/// The event that waits for a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Connected,
    Hello {
        extended: bool,
    },
    StartTls,
    Mail(Needs),
    Recipient,
    Data,
    /// As `Data`, asked by the first BDAT.
    Chunk,
    /// BURL.
    Fetch {
        last: bool,
    },
    EndOfBody,
    Xclient,
    Other,
    /// A question of a mechanism; `Server::exchange` has it.
    Auth,
}

/// Where the conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The `Connected` event is due.
    Fresh,
    /// Between commands.
    Command,
    /// The caller owes a response.
    Asked(Question),
    /// Bytes of a message come.
    Body,
    /// The message has ended, the event is due.
    BodyEnded,
    /// Bytes of a chunk come.
    Chunk,
    /// The chunk has ended, its answer is due.
    ChunkEnded,
    /// STARTTLS is granted; the 220 goes out if nothing stands behind the command.
    TlsGranted,
    /// The driver runs the handshake.
    Handshake,
    /// AUTH: the client's next response comes.
    Auth,
    /// AUTH: the caller has answered; the mechanism's next step is due.
    AuthDue,
    /// The `Closed` event is due.
    Closing,
    Over(Error),
}

/// What MAIL said of addresses and body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// SMTPUTF8: addresses of this transaction may be in UTF-8.
    pub(super) utf8: bool,
    /// BODY=BINARYMIME: any octets, in chunks only.
    pub(super) binary: bool,
}

/// How the message of this transaction comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    /// Not yet, or behind DATA.
    None,
    /// In chunks, the first of which has come.
    Chunks,
    /// A chunk was refused: RFC 3030, section 2 wants RSET before anything else.
    Failed,
}

/// The chunk that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Octets that have not come.
    pub(super) left: u64,
    pub(super) last: bool,
}

/// What the client has said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    Helo,
    Ehlo,
}
