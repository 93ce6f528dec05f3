//! Bodies in chunks (RFC 3030): counted, not stuffed, under the same rules for line ends.

use super::BodyDefect;
use super::scan::{Marks, Place, plain_prefix};

/// Checks a body that is carried by BDAT for bare CRs and LFs. The rules are those after DATA,
/// because the next host may be sent the message with DATA. Only a body of the type BINARYMIME is
/// exempt (RFC 3030, section 3), and is not shown to this.
///
/// ```
/// use smtp_proto::wire::body::{BodyDefect, LineChecker};
///
/// let mut lines = LineChecker::new();
/// lines.check(b"cut between CR\r");
/// lines.check(b"\nand LF\r\n");
/// assert_eq!(lines.defect(), None);
/// lines.check(b"a smuggler's\n.\n");
/// assert_eq!(lines.defect(), Some(BodyDefect::BareLf));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LineChecker {
    place: Place,
    defect: Option<BodyDefect>,
}

impl LineChecker {
    /// A checker at the first byte of a message.
    #[must_use]
    pub const fn new() -> Self {
        Self { place: Place::LineStart, defect: None }
    }

    /// Looks at the next bytes, however they are cut.
    pub fn check(&mut self, bytes: &[u8]) {
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

    /// The first bare CR or bare LF so far. NUL is not looked for; see
    /// [`NulChecker`](super::NulChecker).
    #[must_use]
    pub const fn defect(&self) -> Option<BodyDefect> {
        self.defect
    }

    /// The defect of the whole message: a CR at its end has no LF.
    #[must_use]
    pub fn defect_at_end(&self) -> Option<BodyDefect> {
        self.defect.or((self.place == Place::AfterCr).then_some(BodyDefect::BareCr))
    }

    /// Whether the bytes so far end with CRLF, or there are none.
    #[must_use]
    pub fn is_at_line_start(&self) -> bool {
        self.place == Place::LineStart
    }
}

impl Default for LineChecker {
    fn default() -> Self {
        Self::new()
    }
}
