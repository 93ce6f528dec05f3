//! Roots and revocation lists, by name, parsed once.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor};

use crate::revocation::{CrlError, Crls};

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

/// What certificates are judged against.
///
/// A value never changes: to trust something else, make another one, which has another generation.
pub trait TrustStore: fmt::Debug + Send + Sync {
    /// The roots of this name; `None` if there is no such set.
    fn roots(&self, id: &RootsId) -> Option<&[TrustAnchor<'static>]>;

    /// The revocation lists that go with the roots of this name.
    fn crls(&self, id: &RootsId) -> Option<&Crls>;

    /// The signature algorithms that certificates and revocation lists may use.
    fn algorithms(&self) -> &[&'static dyn SignatureVerificationAlgorithm];

    /// A number that no other store in this process has had.
    fn generation(&self) -> Generation;
}

/// Tells trust stores apart, for caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Generation(u64);

impl Generation {
    /// A number that was not given out before in this process.
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A certificate that cannot serve as a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the root certificate is malformed")]
pub struct RootError;

/// Roots and revocation lists in memory. Build it, then share it as `Arc<dyn TrustStore>`.
#[derive(Debug)]
pub struct Trust {
    sets: HashMap<RootsId, (Vec<TrustAnchor<'static>>, Crls)>,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    generation: Generation,
}

impl Trust {
    /// Trusts nobody. Signatures may use every algorithm of the providers that this crate was built with.
    pub fn new() -> Self {
        Self::with_algorithms(webpki::ALL_VERIFICATION_ALGS)
    }

    /// Trusts nobody. Signatures may use these algorithms, such as those of a provider of your own.
    pub fn with_algorithms(algorithms: &'static [&'static dyn SignatureVerificationAlgorithm]) -> Self {
        Self { sets: HashMap::new(), algorithms, generation: Generation::next() }
    }

    /// Adds roots, such as those of the `webpki-roots` crate, to the set of this name.
    pub fn add_roots(&mut self, id: &RootsId, roots: impl IntoIterator<Item = TrustAnchor<'static>>) {
        self.set(id).0.extend(roots);
    }

    /// Adds a root certificate to the set of this name. Neither its dates nor its signature matter
    /// (RFC 5280, 6.1.1 (d)).
    pub fn add_root_der(&mut self, id: &RootsId, root: &CertificateDer<'_>) -> Result<(), RootError> {
        let anchor = webpki::anchor_from_trusted_cert(root).map_err(|_| RootError)?;
        self.set(id).0.push(anchor.to_owned());
        Ok(())
    }

    /// Adds a revocation list to the set of this name.
    pub fn add_crl_der(&mut self, id: &RootsId, crl: &[u8]) -> Result<(), CrlError> {
        self.set(id).1.add_der(crl)
    }

    fn set(&mut self, id: &RootsId) -> &mut (Vec<TrustAnchor<'static>>, Crls) {
        // What was cached for the store as it was no longer holds.
        self.generation = Generation::next();
        self.sets.entry(id.clone()).or_default()
    }
}

impl Default for Trust {
    fn default() -> Self {
        Self::new()
    }
}

impl TrustStore for Trust {
    fn roots(&self, id: &RootsId) -> Option<&[TrustAnchor<'static>]> {
        self.sets.get(id).map(|set| &*set.0)
    }

    fn crls(&self, id: &RootsId) -> Option<&Crls> {
        self.sets.get(id).map(|set| &set.1)
    }

    fn algorithms(&self) -> &[&'static dyn SignatureVerificationAlgorithm] {
        self.algorithms
    }

    fn generation(&self) -> Generation {
        self.generation
    }
}
