//! Roots and revocation lists, by name, parsed once.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor};

use crate::pki::crl::{Crl, CrlError};
use crate::pki::revocation::{Crls, ReplaceError, Replaced};
use crate::pki::x509;
use crate::pki::x509::CertificateField;

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

/// What certificates are judged against, now. Share one as `Arc<dyn TrustStore>`: a [`Trust`] that stays as it is, or a
/// [`LiveTrust`](crate::pki::live_trust::LiveTrust) whose contents are replaced while handshakes run.
pub trait TrustStore: fmt::Debug + Send + Sync {
    /// The trust that holds now. A judgement asks once, so that roots and lists belong together from its start to its end.
    fn current(&self) -> Current<'_>;
}

/// The trust at one moment.
#[derive(Clone, Debug)]
pub struct Current<'a>(Held<'a>);

#[derive(Clone, Debug)]
enum Held<'a> {
    Borrowed(&'a Trust),
    Shared(Arc<Trust>),
}

impl<'a> From<&'a Trust> for Current<'a> {
    fn from(trust: &'a Trust) -> Self {
        Self(Held::Borrowed(trust))
    }
}

impl From<Arc<Trust>> for Current<'_> {
    fn from(trust: Arc<Trust>) -> Self {
        Self(Held::Shared(trust))
    }
}

impl Deref for Current<'_> {
    type Target = Trust;

    fn deref(&self) -> &Trust {
        match &self.0 {
            Held::Borrowed(trust) => trust,
            Held::Shared(trust) => trust,
        }
    }
}

/// Tells trusts of different contents apart, for caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Generation(u64);

impl Generation {
    /// A number that was not given out before in this process.
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A certificate that cannot serve as a root: what is wrong, in which field, and where that can be told, at which octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct RootError {
    /// What is wrong.
    pub what: &'static str,
    /// In which field of the certificate.
    pub field: CertificateField,
    /// At which octet of the certificate, counted from 0.
    pub offset: Option<usize>,
}

impl fmt::Display for RootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the root certificate cannot be used: {} ({}", self.what, self.field)?;
        match self.offset {
            Some(offset) => write!(f, ", octet {offset})"),
            None => f.write_str(")"),
        }
    }
}

/// Roots and revocation lists in memory. Build it, then share it as `Arc<dyn TrustStore>`, or make a
/// [`LiveTrust`](crate::pki::live_trust::LiveTrust) of it.
///
/// A copy is cheap: it shares the sets that neither of the two changes.
#[derive(Clone, Debug)]
pub struct Trust {
    sets: HashMap<RootsId, Arc<Set>>,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    generation: Generation,
}

#[derive(Clone, Debug, Default)]
struct Set {
    roots: Vec<TrustAnchor<'static>>,
    crls: Crls,
}

impl Trust {
    /// Trusts nobody. Signatures may use every algorithm of the providers that this crate was built with.
    pub fn new() -> Self {
        Self::with_algorithms(webpki::ALL_VERIFICATION_ALGS)
    }

    /// Trusts nobody. Signatures may use these algorithms, such as those of a provider of your own.
    pub fn with_algorithms(
        algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    ) -> Self {
        Self { sets: HashMap::new(), algorithms, generation: Generation::next() }
    }

    /// Adds roots, such as those of the `webpki-roots` crate, to the set of this name.
    pub fn add_roots(
        &mut self,
        id: &RootsId,
        roots: impl IntoIterator<Item = TrustAnchor<'static>>,
    ) {
        self.set(id).roots.extend(roots);
    }

    /// Adds a root certificate to the set of this name. Neither its dates nor its signature matter
    /// (RFC 5280, 6.1.1 (d)).
    ///
    /// # Errors
    ///
    /// A [`RootError`] that says what is wrong with the certificate, and where.
    pub fn add_root_der(
        &mut self,
        id: &RootsId,
        root: &CertificateDer<'_>,
    ) -> Result<(), RootError> {
        let anchor = webpki::anchor_from_trusted_cert(root).map_err(|error| {
            let (what, field) = x509::fault_of(&error);
            match x509::first_fault(root) {
                Some((field, offset)) => RootError { what, field, offset: Some(offset) },
                None => RootError { what, field, offset: None },
            }
        })?;
        self.set(id).roots.push(anchor.to_owned());
        Ok(())
    }

    /// Takes the roots of this set away. The set stays, and trusts nobody.
    pub fn clear_roots(&mut self, id: &RootsId) {
        self.set(id).roots.clear();
    }

    /// Adds a revocation list to the set of this name. Of several lists of one issuer each one counts: what any of them
    /// revokes is revoked, and any current one clears the rest.
    ///
    /// # Errors
    ///
    /// As [`Crl::from_der`].
    pub fn add_crl_der(&mut self, id: &RootsId, crl: &[u8]) -> Result<(), CrlError> {
        self.add_crl(id, Arc::new(Crl::from_der(crl)?));
        Ok(())
    }

    /// The same for a list that was parsed before, perhaps for several sets.
    pub fn add_crl(&mut self, id: &RootsId, crl: Arc<Crl>) {
        self.set(id).crls.add(crl);
    }

    /// Puts a newer revocation list in the place of its predecessors: those of the same issuer that speak for the same
    /// certificates ([`Crl::is_of_the_same_kind`]). Where there are none it is added. The other lists stay as they are,
    /// parsed and verified.
    ///
    /// # Errors
    ///
    /// A [`ReplaceError`], and nothing is changed: the list cannot be used, a predecessor is newer, or the signature is
    /// not that of the key which signed the predecessor. Who means to go back calls [`clear_crls`](Self::clear_crls).
    pub fn replace_crl(&mut self, id: &RootsId, crl: Arc<Crl>) -> Result<Replaced, ReplaceError> {
        let algorithms = self.algorithms;
        let mut crls = self.crls(id).cloned().unwrap_or_default();
        let replaced = crls.replace(crl, self.roots(id).unwrap_or_default(), algorithms)?;
        if replaced != Replaced::Unchanged {
            self.set(id).crls = crls;
        }
        Ok(replaced)
    }

    /// Takes the revocation lists of this set away.
    pub fn clear_crls(&mut self, id: &RootsId) {
        self.set(id).crls = Crls::default();
    }

    fn set(&mut self, id: &RootsId) -> &mut Set {
        // What was cached for the store as it was no longer holds.
        self.generation = Generation::next();
        Arc::make_mut(self.sets.entry(id.clone()).or_default())
    }

    /// The roots of this name; `None` if there is no such set.
    pub fn roots(&self, id: &RootsId) -> Option<&[TrustAnchor<'static>]> {
        self.sets.get(id).map(|set| &*set.roots)
    }

    /// The revocation lists that go with the roots of this name.
    pub fn crls(&self, id: &RootsId) -> Option<&Crls> {
        self.sets.get(id).map(|set| &set.crls)
    }

    /// The loaded lists that match no known issuer, and so have had no effect: the issuer is none of
    /// the roots of this set, and no certificate of that issuer was judged since.
    pub fn unmatched_lists<'a>(
        &'a self,
        id: &RootsId,
    ) -> impl Iterator<Item = &'a Arc<Crl>> + use<'a> {
        self.sets.get(id).into_iter().flat_map(|set| set.crls.unmatched(&set.roots))
    }

    /// The signature algorithms that certificates and revocation lists may use.
    pub fn algorithms(&self) -> &'static [&'static dyn SignatureVerificationAlgorithm] {
        self.algorithms
    }

    /// A number that no trust with other contents in this process has had.
    pub fn generation(&self) -> Generation {
        self.generation
    }
}

impl Default for Trust {
    fn default() -> Self {
        Self::new()
    }
}

impl TrustStore for Trust {
    fn current(&self) -> Current<'_> {
        self.into()
    }
}
