//! Bodies with bare CRs and LFs, rewritten so that every line ends in CRLF.

use super::runs::{Held, Runs};

/// Rewrites a body so that every line ends in CRLF and no other CR or LF is left.
///
/// CR LF, CR CR LF, a lone LF and a lone CR are one line end each. CR CR LF is one because programs
/// that write CRLF through a stream in text mode send it for every line end.
///
/// The dot-stuffing and the end of the message are found before, by
/// [`DotDecoder`](super::DotDecoder), on the octets as they arrived. What this type turns into line
/// ends therefore never ends a message: LF `.` LF becomes a line with a dot, which is stuffed when
/// the message is sent on.
///
/// ```
/// use smtp_proto::wire::body::{DotDecoder, LineNormaliser};
///
/// let mut decoder = DotDecoder::new();
/// let mut lines = LineNormaliser::new();
/// let mut input = &b"first\nsecond\n.\nMAIL FROM:<a@b.example>\r\n.\r\n"[..];
/// let mut message = Vec::new();
/// lines.normalise(decoder.decode(&mut input)).append_to(&mut message);
/// lines.finish().append_to(&mut message);
/// assert_eq!(message, b"first\r\nsecond\r\n.\r\nMAIL FROM:<a@b.example>\r\n");
/// assert!(decoder.has_ended());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LineNormaliser {
    held: Held,
}

impl LineNormaliser {
    /// A normaliser at the first octet of a message.
    #[must_use]
    pub const fn new() -> Self {
        Self { held: Held::None }
    }

    /// The next runs of the message, however they are cut, with their line ends rewritten.
    #[must_use]
    pub fn normalise<'i>(&mut self, runs: Runs<'i>) -> Runs<'i> {
        let (runs, held) = runs.normalised(self.held);
        self.held = held;
        runs
    }

    /// Whether the message so far ends in CRs that have not been passed on.
    #[must_use]
    pub const fn holds_cr(&self) -> bool {
        !matches!(self.held, Held::None)
    }

    /// The end of the message: line ends for the CRs that were not passed on. The next message may
    /// follow.
    #[must_use]
    pub fn finish(&mut self) -> Runs<'static> {
        Runs::of_chunk(match std::mem::take(&mut self.held) {
            Held::None => b"",
            Held::Cr => b"\r\n",
            Held::CrCr => b"\r\n\r\n",
        })
    }
}
