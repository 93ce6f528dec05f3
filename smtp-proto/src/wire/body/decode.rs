//! Removes the dot-stuffing of a received message (RFC 5321, section 4.5.2).

use super::BodyDefect;
use super::cuts::Cuts;
use super::runs::Runs;
use super::scan::{Marks, Place, STEP, plain_prefix};

/// Takes the stuffing out of a message as it arrives, and finds its end.
///
/// The message ends at CRLF `.` CRLF and nowhere else; the first of these two CRLF belongs to it. A
/// message of no bytes at all is `.` CRLF at once (RFC 5321, section 4.1.1.4). A line that begins
/// with a dot and has anything else on it, be it a lone CR, loses that dot (RFC 5321, section
/// 4.5.2).
#[derive(Clone, Copy, Debug)]
pub struct DotDecoder {
    state: State,
    defect: Option<BodyDefect>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The place of the next byte.
    Text(Place),
    /// The line has only a dot so far; it was consumed and is no part of the message.
    Dot,
    /// The line has only a dot and a CR so far; the CR is held back.
    DotCr,
    /// The end of the message was seen.
    End,
}

/// What one step makes of its input: the bytes of the message, and how many bytes it consumed.
type Stepped<'i> = (Runs<'i>, usize);

impl DotDecoder {
    /// A decoder at the first byte after the CRLF of the DATA command.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Text(Place::LineStart), defect: None }
    }

    /// Decodes the front of `input`, however the bytes were cut on their way: moves `input` past
    /// the bytes that it consumed, and returns the bytes of the message among them, in order.
    ///
    /// One step covers at most 16 KiB and 64 dot lines: call again while input is left and the
    /// message has not [ended](Self::has_ended). Each step consumes at least one byte until then.
    /// After the end none is consumed: what follows is the client's next command. A step over all
    /// of the input leaves none of it unread: a dot or a CR whose meaning depends on the next byte
    /// is kept inside the decoder.
    pub fn decode<'i>(&mut self, input: &mut &'i [u8]) -> Runs<'i> {
        let (runs, consumed) = self.step(input);
        *input = &input[consumed..];
        runs
    }

    /// Whether the message is complete.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.state, State::End)
    }

    fn step<'i>(&mut self, input: &'i [u8]) -> Stepped<'i> {
        let window = &input[..input.len().min(STEP)];
        let mut cuts = Cuts::new(window);
        let place = match (self.state, window) {
            (State::Text(place), _) => place,
            (State::Dot, [b'\r', b'\n', ..]) => return self.stop(cuts, State::End, 0, 2),
            (State::Dot, [b'\r']) => return self.stop(cuts, State::DotCr, 0, 1),
            (State::DotCr, [b'\n', ..]) => return self.stop(cuts, State::End, 0, 1),
            (state @ State::End, _) | (state, []) => return self.stop(cuts, state, 0, 0),
            (State::Dot, _) => Place::Inside,
            (State::DotCr, _) => {
                cuts.lead_with_cr();
                Place::AfterCr
            }
        };
        self.decode_text(cuts, window, place)
    }

    /// The first bare CR or bare LF so far, in the order of the bytes.
    ///
    /// It is known at the latest when the byte after it has been consumed. The message's other
    /// bytes keep coming, so that its end is found. A server then refuses the message (RFC 5321,
    /// section 2.3.8: only CRLF is a line end, so such a message means different things to
    /// different readers), or has the runs rewritten by [`LineNormaliser`](super::LineNormaliser).
    ///
    /// NUL is not looked for: a [`Server`](crate::server::Server) does so by its
    /// [`NulRule`](super::NulRule).
    #[must_use]
    pub const fn defect(&self) -> Option<BodyDefect> {
        self.defect
    }

    fn decode_text<'i>(
        &mut self,
        mut cuts: Cuts<'i>,
        window: &'i [u8],
        mut place: Place,
    ) -> Stepped<'i> {
        let mut at = 0;
        let mut quiet = true;
        while at < window.len() {
            // Where one dot line is, the next is near: the question is put again once a block had
            // none.
            if quiet {
                (at, place) = plain_prefix(window, at, place, |_| ());
                if at == window.len() {
                    break;
                }
            }
            let marks = Marks::of(&window[at..], place);
            quiet = marks.dot | marks.cr_bare | marks.lf_bare == 0;
            let mut dots = marks.dot;
            while dots != 0 {
                // The first dot that may be alone on its line, and the stuffed ones before it.
                let suspects = dots & marks.before_cr_or_last;
                let suspect = suspects & suspects.wrapping_neg();
                let before = suspect.wrapping_sub(1);
                if let Err(full) = cuts.note(at, dots & before) {
                    return self.stop_at_dot(
                        cuts,
                        &marks,
                        at,
                        full,
                        State::Text(Place::LineStart),
                        0,
                    );
                }
                if suspect == 0 {
                    break;
                }
                let bit = suspect.trailing_zeros();
                let (state, width) = match window[at + bit as usize + 1..] {
                    [b'\r', b'\n', ..] => (State::End, 3),
                    [b'\r'] => (State::DotCr, 2),
                    [] => (State::Dot, 1),
                    _ if cuts.note(at, suspect).is_err() => (State::Text(Place::LineStart), 0),
                    _ => {
                        dots &= !(suspect | before);
                        continue;
                    }
                };
                return self.stop_at_dot(cuts, &marks, at, bit, state, width);
            }
            self.record(&marks, u64::MAX);
            at += marks.len;
            place = marks.next;
        }
        self.stop(cuts, State::Text(place), at, at)
    }

    /// Ends the step in front of the dot at `bit` of the block at `at`; `width` bytes from it on
    /// are consumed.
    fn stop_at_dot<'i>(
        &mut self,
        cuts: Cuts<'i>,
        marks: &Marks,
        at: usize,
        bit: u32,
        state: State,
        width: usize,
    ) -> Stepped<'i> {
        self.record(marks, (1 << bit) - 1);
        let dot = at + bit as usize;
        self.stop(cuts, state, dot, dot + width)
    }

    fn stop<'i>(
        &mut self,
        cuts: Cuts<'i>,
        state: State,
        len: usize,
        consumed: usize,
    ) -> Stepped<'i> {
        self.state = state;
        (Runs::new(cuts.end_at(len)), consumed)
    }

    /// Records the first defect among the bytes `within`.
    fn record(&mut self, marks: &Marks, within: u64) {
        self.defect = self.defect.or_else(|| marks.defect(within));
    }
}

impl Default for DotDecoder {
    fn default() -> Self {
        Self::new()
    }
}
