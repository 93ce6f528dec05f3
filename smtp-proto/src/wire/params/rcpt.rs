//! The parameters of RCPT.

use super::{Notify, Orcpt, Parameters, Word, set, without_trailing_spaces};
use crate::wire::ascii::{is_word, put};
use crate::wire::fault::CommandError;

/// The parameters of RCPT that this library gives a meaning, and the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RcptParameters<'i> {
    /// `NOTIFY=` (RFC 3461, section 4.1)
    pub notify: Option<Notify>,
    /// `ORCPT=` (RFC 3461, section 4.2)
    pub orcpt: Option<Orcpt<'i>>,
    /// All of them as they came, known ones included. Empty in a command that is to be written from
    /// the fields above.
    pub all: Parameters<'i>,
}

impl<'i> RcptParameters<'i> {
    /// Reads the parameters after the path.
    ///
    /// # Errors
    ///
    /// The text is against the grammar, a known parameter has a bad value, or it is repeated with
    /// another value.
    #[inline]
    pub fn parse(text: &'i str) -> Result<Self, CommandError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let text = without_trailing_spaces(text);
        let mut it = Self { all: Parameters::checked(text), ..Self::default() };
        let mut left = text;
        while !left.is_empty() {
            let Word { keyword, value, rest } = Word::parse(left).ok_or(CommandError::Parameter)?;
            left = rest;
            if is_word(keyword.as_bytes(), b"NOTIFY") {
                set(&mut it.notify, value.and_then(Notify::parse))?;
            } else if is_word(keyword.as_bytes(), b"ORCPT") {
                set(&mut it.orcpt, value.and_then(Orcpt::parse))?;
            }
        }
        Ok(it)
    }

    /// The keywords that this library does not know.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        let known = |keyword: &[u8]| is_word(keyword, b"NOTIFY") || is_word(keyword, b"ORCPT");
        self.all
            .iter()
            .map(|(keyword, _)| keyword)
            .filter(move |keyword| !known(keyword.as_bytes()))
    }

    /// Appends the parameters, each with a space before it: as they came, or else the typed ones.
    pub(crate) fn write(&self, output: &mut Vec<u8>) {
        if !self.all.is_empty() {
            return self.all.write(output);
        }
        if let Some(notify) = self.notify {
            put(output, &[" NOTIFY="]);
            notify.write(output);
        }
        if let Some(orcpt) = &self.orcpt {
            put(output, &[" ORCPT=", orcpt.as_str()]);
        }
    }
}
