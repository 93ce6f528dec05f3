//! Finding the bytes that matter: one pass, no byte looked at alone.
//!
//! Almost every block of a message is plain, so [`plain_prefix`] asks one question of a whole block
//! ("is there anything here?") in a form that compiles to vector instructions. Where the answer is
//! yes, [`Marks`] turns 64 bytes into bit sets, whose cost does not depend on what is in them: an
//! attacker gains nothing by filling a body with dots, or with bare line feeds.

use super::BodyDefect;

/// Bytes per bit set.
const MARKED: usize = u64::BITS as usize;

/// Bytes per question. Larger blocks cost fewer tests, and more bytes to mark around each dot line.
pub(super) const BLOCK: usize = 128;

/// Most bytes that one step covers: what was scanned, and its copy, are in the first-level cache
/// (32 KiB or more) together. Also the most that a TLS record holds.
pub(super) const STEP: usize = 16 * 1024;

/// The place of the next byte in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// After a CRLF, or at the very start.
    LineStart,
    /// After any other byte but a CR.
    Inside,
    /// After a CR: the next byte must be an LF.
    AfterCr,
}

/// What up to 64 bytes hold; bit `i` speaks of byte `i`.
pub(super) struct Marks {
    /// How many bytes there are, and the place of the byte after them.
    pub(super) len: usize,
    pub(super) next: Place,
    /// A dot at the start of a line.
    pub(super) dot: u64,
    /// The byte in front of a CR, and the last byte.
    pub(super) before_cr_or_last: u64,
    /// The byte that ought to be an LF because it follows a CR, and is none.
    pub(super) cr_bare: u64,
    /// An LF that follows no CR.
    pub(super) lf_bare: u64,
}

impl Marks {
    /// Marks the first 64 of `bytes`, or all if there are fewer; there is at least one, and `place`
    /// is its place.
    pub(super) fn of(bytes: &[u8], place: Place) -> Self {
        if let Some(block) = bytes.first_chunk() {
            return Self::of_block(block, MARKED, place);
        }
        let mut block = [b' '; MARKED];
        block[..bytes.len()].copy_from_slice(bytes);
        Self::of_block(&block, bytes.len(), place)
    }

    #[inline]
    fn of_block(block: &[u8; MARKED], len: usize, place: Place) -> Self {
        let last = 1 << (len - 1);
        let cr = equal(block, b'\r');
        let lf = equal(block, b'\n');
        let after_cr = (cr << 1) | u64::from(place == Place::AfterCr);
        let line_end = lf & after_cr;
        let line_start = (line_end << 1) | u64::from(place == Place::LineStart);
        let next = if line_end & last != 0 {
            Place::LineStart
        } else if cr & last != 0 {
            Place::AfterCr
        } else {
            Place::Inside
        };
        Self {
            len,
            next,
            dot: equal(block, b'.') & line_start,
            before_cr_or_last: (cr >> 1) | last,
            cr_bare: after_cr & !lf & (last | (last - 1)),
            lf_bare: lf & !after_cr,
        }
    }

    /// The first defect among the bytes `within`, in the order of the bytes.
    pub(super) fn defect(&self, within: u64) -> Option<BodyDefect> {
        let defects = (self.cr_bare | self.lf_bare) & within;
        if defects == 0 {
            return None;
        }
        let first = defects & defects.wrapping_neg();
        Some(if self.cr_bare & first != 0 { BodyDefect::BareCr } else { BodyDefect::BareLf })
    }
}

/// The set of bytes in `block` that equal `byte`.
fn equal(block: &[u8; MARKED], byte: u8) -> u64 {
    // Each group of eight has a bit of its own, so that the groups can be laid over each other.
    let mut bits = [0u8; MARKED];
    for (index, bit) in bits.iter_mut().enumerate() {
        *bit = if block[index] == byte { 1 << (index / 8) } else { 0 };
    }
    let (groups, _) = bits.as_chunks::<8>();
    transpose(groups.iter().fold(0, |set, group| set | u64::from_le_bytes(*group)))
}

/// Transposes a matrix of 8 by 8 bits: swaps across the diagonal single bits, then squares of 2,
/// then of 4.
fn transpose(mut matrix: u64) -> u64 {
    for (distance, upper) in
        [(7, 0x00aa_00aa_00aa_00aa), (14, 0x0000_cccc_0000_cccc), (28, 0x0000_0000_f0f0_f0f0)]
    {
        let differing = (matrix ^ (matrix >> distance)) & upper;
        matrix ^= differing ^ (differing << distance);
    }
    matrix
}

/// Skips the plain blocks from the byte at `from` on, whose place is `place`: the next byte of
/// interest, and its place. A block without defect and dot line is plain. Each is shown to `each`
/// while it is at hand.
pub(super) fn plain_prefix(
    bytes: &[u8],
    from: usize,
    place: Place,
    mut each: impl FnMut(&[u8; BLOCK]),
) -> (usize, Place) {
    // Each byte is judged with the two before it, which the caller no longer has for the first two.
    if from < 2 {
        return (from, place);
    }
    let (first, _) = bytes[from - 2..].as_chunks::<BLOCK>();
    let (second, _) = bytes[from - 1..].as_chunks::<BLOCK>();
    let (third, _) = bytes[from..].as_chunks::<BLOCK>();
    let mut place = place;
    let mut end = from;
    for ((first, second), third) in first.iter().zip(second).zip(third) {
        // The last two bytes are no triple's first and second: their line end is judged here.
        let (before_last, last) = (second[BLOCK - 1], third[BLOCK - 1]);
        if !is_plain(first, second, third) || (before_last == b'\r') != (last == b'\n') {
            break;
        }
        each(third);
        end += BLOCK;
        place = match last {
            b'\n' => Place::LineStart,
            b'\r' => Place::AfterCr,
            _ => Place::Inside,
        };
    }
    (end, place)
}

/// Whether every CR is followed by an LF, every LF preceded by a CR, and no line begins with a dot,
/// where the three blocks hold three neighbouring bytes at each index.
///
/// Free of branches, so that it becomes vector instructions on any target.
#[inline]
fn is_plain(first: &[u8; BLOCK], second: &[u8; BLOCK], third: &[u8; BLOCK]) -> bool {
    let mut found = false;
    for index in 0..BLOCK {
        let cr = first[index] == b'\r';
        let lf = second[index] == b'\n';
        let dot = third[index] == b'.';
        found |= (cr ^ lf) | (lf & dot);
    }
    !found
}
