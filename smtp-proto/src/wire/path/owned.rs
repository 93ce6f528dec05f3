//! Paths that own their text.

use std::fmt;
use std::str::FromStr;

use super::{ForwardPath, Mailbox, MailboxBuf, PathError, ReversePath};

/// An owned [`ReversePath`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReversePathBuf(pub(super) Option<MailboxBuf>);

impl ReversePathBuf {
    /// The null path `<>`.
    pub const NULL: Self = Self(None);

    /// The borrowed form.
    pub fn borrow(&self) -> ReversePath<'_> {
        match &self.0 {
            None => ReversePath::Null,
            Some(mailbox) => ReversePath::Mailbox(mailbox.borrow()),
        }
    }
}

impl FromStr for ReversePathBuf {
    type Err = PathError;
    /// Reads the text without brackets; the empty text is the null path.
    fn from_str(text: &str) -> Result<Self, PathError> {
        ReversePath::parse(text).map(ReversePath::to_buf)
    }
}

impl fmt::Display for ReversePathBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.borrow().fmt(f)
    }
}

/// An owned [`ForwardPath`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ForwardPathBuf {
    pub(super) text: Box<str>,
    /// Where the `@` stands; none for `<Postmaster>`.
    pub(super) at: Option<usize>,
}

impl ForwardPathBuf {
    /// The borrowed form.
    pub fn borrow(&self) -> ForwardPath<'_> {
        match self.at {
            None => ForwardPath::Postmaster(&self.text),
            Some(at) => ForwardPath::Mailbox(Mailbox { text: &self.text, at }),
        }
    }
}

impl FromStr for ForwardPathBuf {
    type Err = PathError;
    /// Reads the text without brackets.
    fn from_str(text: &str) -> Result<Self, PathError> {
        ForwardPath::parse(text).map(ForwardPath::to_buf)
    }
}

impl fmt::Display for ForwardPathBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.borrow().fmt(f)
    }
}
