//! Command lines: bounded, ended by CRLF unless a bare LF is allowed, each byte looked at once.

use memchr::memchr2;

/// What is wrong with a line that has been read to its end and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineError {
    /// Longer than the limit.
    #[error("the line is too long")]
    TooLong,
    /// A CR without LF. RFC 5321, section 2.3.8: CR and LF appear only together, as a line end.
    #[error("a bare CR in the line")]
    BareCr,
    /// An LF without CR. It is taken as the end of the broken line, so that the peer gets its
    /// reply.
    #[error("the line ends in a bare LF")]
    BareLf,
}

/// What is known of a line that has been dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BrokenLine {
    pub(crate) error: LineError,
    /// A chunk may follow it.
    pub(crate) is_bdat: bool,
}

/// Whether a line was meant as BDAT, whatever is wrong with the rest of it. RFC 3030, section 2:
/// the octets after such a line are a chunk, which must not be read as commands.
pub(crate) fn is_bdat(line: &[u8]) -> bool {
    line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"))
        && !line.get(4).is_some_and(u8::is_ascii_alphanumeric)
}

/// What is at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'i> {
    /// A line without its end; with it, it takes `usize` octets of the input.
    Whole(&'i [u8], usize),
    /// A broken line, dropped; it took `usize` octets of the input.
    Broken(BrokenLine, usize),
    /// More input is needed; `usize` octets can be dropped already.
    Partial(usize),
}

/// Remembers how far the input has been searched, so that a line that arrives byte by byte is
/// searched once.
#[derive(Clone, Debug, Default)]
pub(crate) struct LineReader {
    scanned: usize,
    /// The line so far is broken; its front may be gone already.
    broken: Option<BrokenLine>,
}

impl LineReader {
    /// Reads one line of at most `limit` octets, its end included, from the front of `input`. The
    /// end is CRLF; with `bare_lf`, LF is one as well.
    pub(crate) fn read<'i>(&mut self, input: &'i [u8], limit: usize, bare_lf: bool) -> Line<'i> {
        // A driver that waits until its peer reads replies shows nothing of the input meanwhile.
        self.scanned = self.scanned.min(input.len());
        loop {
            let Some(found) = memchr2(b'\r', b'\n', &input[self.scanned..]) else {
                return self.partial(input, input.len(), limit);
            };
            let at = self.scanned + found;
            if input[at] == b'\n' {
                let defect = (!bare_lf).then_some(LineError::BareLf);
                return self.end(input, at, at + 1, limit, defect);
            }
            match input.get(at + 1) {
                Some(b'\n') => return self.end(input, at, at + 2, limit, None),
                Some(_) => {
                    // What is wrong first is what is said, however the bytes were cut.
                    let error = if at < limit { LineError::BareCr } else { LineError::TooLong };
                    self.note(error, input);
                    self.scanned = at + 1;
                }
                // The CR stays in the input: its LF may come.
                None => return self.partial(input, at, limit),
            }
        }
    }

    fn end<'i>(
        &mut self,
        input: &'i [u8],
        text: usize,
        next: usize,
        limit: usize,
        defect: Option<LineError>,
    ) -> Line<'i> {
        let too_long = (next > limit).then_some(LineError::TooLong);
        if let Some(error) = too_long.or(defect) {
            self.note(error, &input[..text]);
        }
        match std::mem::take(self).broken {
            None => Line::Whole(&input[..text], next),
            Some(broken) => Line::Broken(broken, next),
        }
    }

    /// What is wrong first is kept: at that time the front of the line is still there.
    fn note(&mut self, error: LineError, line: &[u8]) {
        self.broken.get_or_insert_with(|| BrokenLine { error, is_bdat: is_bdat(line) });
    }

    fn partial(&mut self, input: &[u8], scanned: usize, limit: usize) -> Line<'static> {
        if input.len() > limit {
            self.note(LineError::TooLong, input);
        }
        if self.broken.is_some() {
            self.scanned = 0;
            Line::Partial(scanned)
        } else {
            self.scanned = scanned;
            Line::Partial(0)
        }
    }
}
