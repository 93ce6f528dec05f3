//! Paths that own their text.

use std::fmt;
use std::str::FromStr;

use super::{AddressRules, ForwardPath, Mailbox, PathError, ReversePath};

/// An owned [`ReversePath`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReversePathBuf(pub(super) Option<ForwardPathBuf>);

impl ReversePathBuf {
    /// The null path `<>`.
    pub const NULL: Self = Self(None);

    /// The borrowed form.
    pub fn borrow(&self) -> ReversePath<'_> {
        match self.0.as_ref().map(ForwardPathBuf::borrow) {
            None => ReversePath::Null,
            Some(ForwardPath::Local(text)) => ReversePath::Local(text),
            Some(ForwardPath::Mailbox(mailbox)) => ReversePath::Mailbox(mailbox),
        }
    }
}

impl FromStr for ReversePathBuf {
    type Err = PathError;
    /// Reads the text without brackets under [`AddressRules::FIELD`]; the empty text is the null
    /// path.
    fn from_str(text: &str) -> Result<Self, PathError> {
        ReversePath::parse(text, AddressRules::FIELD).map(ReversePath::to_buf)
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
    /// The index of the `@`; `None` for a path without a domain.
    pub(super) at: Option<usize>,
}

impl ForwardPathBuf {
    /// The borrowed form.
    pub fn borrow(&self) -> ForwardPath<'_> {
        match self.at {
            None => ForwardPath::Local(&self.text),
            Some(at) => ForwardPath::Mailbox(Mailbox { text: &self.text, at }),
        }
    }
}

impl FromStr for ForwardPathBuf {
    type Err = PathError;
    /// Reads the text without brackets under [`AddressRules::FIELD`].
    fn from_str(text: &str) -> Result<Self, PathError> {
        ForwardPath::parse(text, AddressRules::FIELD).map(ForwardPath::to_buf)
    }
}

impl fmt::Display for ForwardPathBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.borrow().fmt(f)
    }
}
