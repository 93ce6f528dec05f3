//! Names of client identities.

use std::fmt;
use std::sync::Arc;

/// The name of a client identity: a certificate and its key, which the TLS configuration holds.
/// Only connectors that name an identity show it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityId(Arc<str>);

impl IdentityId {
    /// The identity of this name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
