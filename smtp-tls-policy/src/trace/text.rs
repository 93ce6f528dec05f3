//! A piece of a header with its original octets, compared and shown as if it had never been folded.

use std::fmt::{self, Write as _};

use crate::visible::is_hidden;

/// Bytes of a header field, borrowed. Equality and [`Display`](fmt::Display) see them unfolded (RFC
/// 5322, section 3.2.2): a run of white space, folded or not, is one space. Nothing else is
/// interpreted; quoted pairs keep their backslash.
#[derive(Clone, Copy)]
pub struct Text<'i>(&'i [u8]);

impl<'i> Text<'i> {
    pub(super) const fn new(raw: &'i [u8]) -> Self {
        Self(raw.trim_ascii())
    }

    /// The original bytes, folding included; without the white space around them.
    pub const fn raw(self) -> &'i [u8] {
        self.0
    }

    /// The text, where it is UTF-8 and not folded. A single word never is.
    pub fn as_str(self) -> Option<&'i str> {
        let text = str::from_utf8(self.0).ok()?;
        (!text.contains(['\r', '\n'])).then_some(text)
    }

    pub(super) fn unfolded(self) -> impl Iterator<Item = u8> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let byte = *self.0.get(at)?;
            at += 1;
            if !is_white(byte) {
                return Some(byte);
            }
            while self.0.get(at).copied().is_some_and(is_white) {
                at += 1;
            }
            Some(b' ')
        })
    }

    /// ASCII case is ignored; `prefix` is written unfolded.
    pub(super) fn starts_with(self, prefix: &str) -> bool {
        let mut bytes = self.unfolded();
        prefix
            .bytes()
            .all(|wanted| bytes.next().is_some_and(|byte| byte.eq_ignore_ascii_case(&wanted)))
    }
}

pub(super) const fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.unfolded().eq(other.unfolded())
    }
}

impl Eq for Text<'_> {}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        self.unfolded().eq(other.bytes())
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

/// For people: what is not UTF-8, and each character that [is hidden](is_hidden), is shown as
/// U+FFFD.
impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut white = false;
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                let is_white = matches!(character, ' ' | '\t' | '\r' | '\n');
                if is_white {
                    if !white {
                        f.write_char(' ')?;
                    }
                } else if is_hidden(character) {
                    f.write_char(char::REPLACEMENT_CHARACTER)?;
                } else {
                    f.write_char(character)?;
                }
                white = is_white;
            }
            if !chunk.invalid().is_empty() {
                f.write_char(char::REPLACEMENT_CHARACTER)?;
                white = false;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// The text without a prefix, whose case does not matter.
pub(super) fn strip<'i>(text: &'i [u8], prefix: &str) -> Option<&'i [u8]> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix.as_bytes()).then_some(rest)
}
