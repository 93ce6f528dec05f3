//! The result of a step: a piece of the caller's buffer and the dots at which it is cut.

use std::ops::Range;

use super::scan::STEP;

/// Most dot lines that one step covers. Bounds the size of the events that carry the offsets; more
/// dot lines cost more steps, not memory.
const DOT_LINES: usize = 64;

/// Bytes that one vector instruction copies.
const SHORT: usize = 16;

const _: () = assert!(STEP <= u16::MAX as usize, "an offset has 16 bits");
const _: () = assert!(size_of::<Cuts<'_>>() <= 160, "events are moved");

/// Bytes with the offsets of the dots that begin a line in them.
#[derive(Clone)]
pub(super) struct Cuts<'b> {
    bytes: &'b [u8],
    /// Where the next piece begins.
    from: u16,
    /// The next dot, and how many there are.
    next: u8,
    count: u8,
    /// A CR that was held back comes first.
    cr: bool,
    dots: [u16; DOT_LINES],
}

impl<'b> Cuts<'b> {
    /// Begins a step over `bytes`, of which there are at most [`STEP`].
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, from: 0, next: 0, count: 0, cr: false, dots: [0; DOT_LINES] }
    }

    /// Puts the CR that an earlier step held back in front.
    pub(super) fn lead_with_cr(&mut self) {
        self.cr = true;
    }

    /// Notes the `dots` of a block that begins at `at`; stops at the first for which there is no
    /// room, and tells its bit.
    pub(super) fn note(&mut self, at: usize, mut dots: u64) -> Result<(), u32> {
        while dots != 0 {
            let bit = dots.trailing_zeros();
            let slot = self.dots.get_mut(usize::from(self.count)).ok_or(bit)?;
            *slot = (at + bit as usize) as u16;
            self.count += 1;
            dots &= dots - 1;
        }
        Ok(())
    }

    /// Ends the step: only the first `len` bytes belong to it.
    pub(super) fn end_at(mut self, len: usize) -> Self {
        self.bytes = &self.bytes[..len];
        self
    }

    /// The bytes without a held CR and without regard to the dots, and the number of dots.
    pub(super) fn left(&self) -> (usize, usize) {
        let bytes = self.bytes.len() - usize::from(self.from) + usize::from(self.cr);
        (bytes, usize::from(self.count - self.next))
    }

    /// The next piece that is not empty. Each dot ends one piece and the next begins after it; if
    /// `DOUBLE`, both pieces hold it.
    #[inline]
    pub(super) fn next<const DOUBLE: bool>(&mut self) -> Option<&'b [u8]> {
        if self.cr {
            self.cr = false;
            return Some(b"\r");
        }
        let bytes = self.bytes;
        while self.next < self.count {
            let dot = self.dots[usize::from(self.next)];
            self.next += 1;
            let (end, resume) = if DOUBLE { (dot + 1, dot) } else { (dot, dot + 1) };
            let piece = &bytes[usize::from(self.from)..usize::from(end)];
            self.from = resume;
            if !piece.is_empty() {
                return Some(piece);
            }
        }
        let piece = &bytes[usize::from(self.from)..];
        self.from = bytes.len() as u16;
        (!piece.is_empty()).then_some(piece)
    }

    /// Appends all pieces to `output`, without the dots.
    pub(super) fn append_to(self, output: &mut Vec<u8>) {
        if self.cr {
            output.push(b'\r');
        }
        let mut from = usize::from(self.from);
        for dot in &self.dots[usize::from(self.next)..usize::from(self.count)] {
            let dot = usize::from(*dot);
            append_piece(self.bytes, from..dot, output);
            from = dot + 1;
        }
        output.extend_from_slice(&self.bytes[from..]);
    }
}

/// Appends `bytes[piece]` to `output`.
///
/// Short pieces are what a hostile body is made of. To copy as many bytes as there are takes a
/// call; to copy a fixed number and drop the surplus takes none.
#[inline]
pub(super) fn append_piece(bytes: &[u8], piece: Range<usize>, output: &mut Vec<u8>) {
    match bytes[piece.start..].first_chunk::<SHORT>() {
        Some(wide) if piece.len() <= SHORT => {
            let len = output.len() + piece.len();
            output.extend_from_slice(wide);
            output.truncate(len);
        }
        _ => output.extend_from_slice(&bytes[piece]),
    }
}
