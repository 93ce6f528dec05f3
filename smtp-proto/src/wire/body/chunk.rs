//! Bodies in chunks (RFC 3030): counted, not stuffed, under the same rules for line ends.

use super::BodyDefect;
use super::scan::{Marks, Place, plain_prefix};

/// Checks a body that is carried by BDAT for bare CRs and LFs. The rules are those after DATA,
/// because the next host may be sent the message with DATA. Only a body of the type BINARYMIME is
/// exempt (RFC 3030, section 3), and is not shown to this.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LineChecker {
    place: Place,
    defect: Option<BodyDefect>,
}

impl LineChecker {
    /// A checker at the first byte of a message.
    pub(crate) const fn new() -> Self {
        Self { place: Place::LineStart, defect: None }
    }

    /// Looks at the next bytes, however they are cut.
    pub(crate) fn check(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while self.defect.is_none() && at < bytes.len() {
            (at, self.place) = plain_prefix(bytes, at, self.place, |_| ());
            if at == bytes.len() {
                break;
            }
            let marks = Marks::of(&bytes[at..], self.place);
            self.defect = marks.defect(u64::MAX);
            self.place = marks.next;
            at += marks.len;
        }
    }

    /// The first bare CR or bare LF so far.
    pub(crate) const fn defect(&self) -> Option<BodyDefect> {
        self.defect
    }

    /// The defect of the whole message: a CR at its end has no LF.
    pub(crate) fn defect_at_end(&self) -> Option<BodyDefect> {
        self.defect.or((self.place == Place::AfterCr).then_some(BodyDefect::BareCr))
    }

    /// Whether the bytes so far end with CRLF, or there are none.
    pub(crate) fn is_at_line_start(&self) -> bool {
        self.place == Place::LineStart
    }
}
