//! Names of sets of roots.

use std::fmt;
use std::sync::Arc;

/// The name of a set of roots and of the revocation lists that go with them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RootsId(Arc<str>);

impl RootsId {
    const PUBLIC: &'static str = "public";

    /// The set of this name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The set `public`: the authorities that the world trusts to vouch for hosts.
    pub fn public() -> Self {
        Self::new(Self::PUBLIC)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RootsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
