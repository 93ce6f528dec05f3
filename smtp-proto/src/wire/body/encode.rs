//! Adds dot-stuffing to a message that is sent (RFC 5321, section 4.5.2).

use std::iter::FusedIterator;

use super::BodyDefect;
use super::cuts::{Cuts, append_piece};
use super::scan::{BLOCK, Marks, Place, STEP, plain_prefix};

/// Puts the stuffing into a message as it is sent, and refuses one that must not be sent.
///
/// NUL is not looked for: a [`Client`](crate::client::Client) does so by its
/// [`NulRule`](super::NulRule).
///
/// The chunks may be cut anywhere. A CR at the end of a chunk is held back until the next byte
/// proves it to be half of a CRLF. The first defect is final: every later call returns it again.
#[derive(Clone, Debug)]
pub struct DotEncoder {
    place: Place,
    defect: Option<BodyDefect>,
}

impl DotEncoder {
    /// An encoder at the first byte of a message.
    #[must_use]
    pub const fn new() -> Self {
        Self { place: Place::LineStart, defect: None }
    }

    /// Encodes the front of `chunk` without copying, for a gathering write: moves `chunk` past the
    /// bytes that it consumed, and returns slices to send one after another, none of them empty.
    ///
    /// One step covers at most 16 KiB and 64 dot lines, and at least one byte: call again while
    /// bytes are left. A dot that must be doubled ends one slice and begins the next: both are
    /// slices of the caller's chunk that overlap in this byte. The only other bytes are a CR that
    /// an earlier step held back.
    ///
    /// # Errors
    ///
    /// The first [`BodyDefect`] of the message lies in this step. Nothing of the step may be sent;
    /// what earlier steps returned holds no defect, but it is the front of a message that can no
    /// longer be finished.
    pub fn segments<'b>(
        &mut self,
        chunk: &mut &'b [u8],
    ) -> Result<impl FusedIterator<Item = &'b [u8]> + use<'b>, BodyDefect> {
        let window = &chunk[..chunk.len().min(STEP)];
        let mut cuts = Cuts::new(window);
        if self.place == Place::AfterCr && !window.is_empty() {
            cuts.lead_with_cr();
        }
        let consumed = self.scan(window, &mut cuts)?;
        let held = usize::from(self.place == Place::AfterCr && consumed != 0);
        *chunk = &chunk[consumed..];
        Ok(Segments { cuts: cuts.end_at(consumed - held) })
    }

    /// Encodes all of `chunk` and appends it to `output`.
    ///
    /// # Errors
    ///
    /// The first [`BodyDefect`] of the message lies in this chunk. `output` is as it was before the
    /// call, so the bytes of the chunk that precede the defect are not in it; those of earlier
    /// chunks may have been sent already.
    pub fn encode(&mut self, mut chunk: &[u8], output: &mut Vec<u8>) -> Result<(), BodyDefect> {
        let before = output.len();
        output.reserve(chunk.len());
        while !chunk.is_empty() {
            let window = &chunk[..chunk.len().min(STEP)];
            if self.place == Place::AfterCr {
                output.push(b'\r');
            }
            let scanned = self.scan(window, &mut Copied { window, output });
            let consumed = scanned.inspect_err(|_| output.truncate(before))?;
            if self.place == Place::AfterCr {
                output.pop();
            }
            chunk = &chunk[consumed..];
        }
        Ok(())
    }

    /// Takes `window` into `sink`, up to the first dot for which that has no room: the bytes taken.
    /// A CR at their end is among them.
    fn scan(&mut self, window: &[u8], sink: &mut impl Sink) -> Result<usize, BodyDefect> {
        if let Some(defect) = self.defect {
            return Err(defect);
        }
        let mut at = 0;
        let mut quiet = true;
        while at < window.len() {
            // Where one dot line is, the next is near: the question is put again once a block had
            // none.
            if quiet {
                (at, self.place) = plain_prefix(window, at, self.place, |block| sink.plain(block));
                if at == window.len() {
                    break;
                }
            }
            let marks = Marks::of(&window[at..], self.place);
            if let Some(defect) = marks.defect(u64::MAX) {
                self.defect = Some(defect);
                return Err(defect);
            }
            quiet = marks.dot == 0;
            if let Err(full) = sink.marked(at, marks.len, marks.dot) {
                self.place = Place::LineStart;
                return Ok(at + full as usize);
            }
            at += marks.len;
            self.place = marks.next;
        }
        Ok(at)
    }

    /// Appends the end of the message to `output`: `.` CRLF, with a CRLF before it if the last line
    /// has none.
    ///
    /// RFC 5321, section 4.1.1.4: a body whose final line does not end in CRLF gets one added, and
    /// no other body does.
    ///
    /// # Errors
    ///
    /// The defect that was found before, or [`BodyDefect::BareCr`] if the last byte is a CR:
    /// nothing is appended.
    pub fn finish(self, output: &mut Vec<u8>) -> Result<(), BodyDefect> {
        let end: &[u8] = match (self.defect, self.place) {
            (Some(defect), _) => return Err(defect),
            (None, Place::AfterCr) => return Err(BodyDefect::BareCr),
            (None, Place::LineStart) => b".\r\n",
            (None, Place::Inside) => b"\r\n.\r\n",
        };
        output.extend_from_slice(end);
        Ok(())
    }
}

/// Where the bytes of a window go, in order.
trait Sink {
    /// Takes a block without dot lines.
    fn plain(&mut self, block: &[u8; BLOCK]);

    /// Takes `len` bytes of the window from `at` on, in which each bit of `dots` marks a dot line;
    /// stops at the first for which there is no room, and tells its bit.
    fn marked(&mut self, at: usize, len: usize, dots: u64) -> Result<(), u32>;
}

/// Stays in the caller's buffer.
impl Sink for Cuts<'_> {
    fn plain(&mut self, _: &[u8; BLOCK]) {}

    fn marked(&mut self, at: usize, _: usize, dots: u64) -> Result<(), u32> {
        self.note(at, dots)
    }
}

/// Copies block by block. The copy costs little: the scan is bound by another resource.
struct Copied<'b> {
    window: &'b [u8],
    output: &'b mut Vec<u8>,
}

impl Sink for Copied<'_> {
    fn plain(&mut self, block: &[u8; BLOCK]) {
        self.output.extend_from_slice(block);
    }

    fn marked(&mut self, at: usize, len: usize, mut dots: u64) -> Result<(), u32> {
        let mut from = at;
        while dots != 0 {
            let dot = at + dots.trailing_zeros() as usize;
            append_piece(self.window, from..dot + 1, self.output);
            from = dot;
            dots &= dots - 1;
        }
        self.output.extend_from_slice(&self.window[from..at + len]);
        Ok(())
    }
}

impl Default for DotEncoder {
    fn default() -> Self {
        Self::new()
    }
}

/// See [`DotEncoder::segments`].
struct Segments<'b> {
    cuts: Cuts<'b>,
}

impl<'b> Iterator for Segments<'b> {
    type Item = &'b [u8];

    #[inline]
    fn next(&mut self) -> Option<&'b [u8]> {
        self.cuts.next::<true>()
    }
}

impl FusedIterator for Segments<'_> {}
