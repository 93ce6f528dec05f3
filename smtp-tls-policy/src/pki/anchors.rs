//! Trust anchors, found by name.

use std::collections::{HashMap, HashSet};

use pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor};

use crate::pki::comparison::ComparableName;
use crate::pki::x509;

/// Anchors in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Anchors {
    list: Vec<TrustAnchor<'static>>,
    names: AnchorNames,
    /// Those that were given as certificates.
    certificates: HashSet<CertificateDer<'static>>,
}

/// The positions of anchors, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AnchorNames(HashMap<ComparableName, Vec<usize>>);

impl Anchors {
    /// Adds an anchor.
    pub(crate) fn add(&mut self, anchor: TrustAnchor<'static>) {
        self.names.add(self.list.len(), &anchor);
        self.list.push(anchor);
    }

    /// Adds the anchor that a certificate makes.
    pub(crate) fn add_certificate(
        &mut self,
        anchor: TrustAnchor<'static>,
        certificate: CertificateDer<'static>,
    ) {
        self.add(anchor);
        self.certificates.insert(certificate);
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them.
    pub(crate) fn list(&self) -> &[TrustAnchor<'static>] {
        &self.list
    }

    /// Their positions, by name.
    pub(crate) fn names(&self) -> &AnchorNames {
        &self.names
    }

    /// Those with this name.
    pub(crate) fn of_name(
        &self,
        name: &ComparableName,
    ) -> impl Iterator<Item = &TrustAnchor<'static>> {
        self.names.of(name).iter().filter_map(|position| self.list.get(*position))
    }

    /// Whether one has the name of a certificate's subject, and its key.
    fn with_key_of(&self, certificate: &CertificateDer<'_>) -> bool {
        let Some(((_, subject), key)) = x509::names_of(certificate).zip(x509::spki(certificate))
        else {
            return false;
        };
        let name = ComparableName::of_contents(subject);
        self.of_name(&name).any(|anchor| webpki::spki_for_anchor(anchor) == key)
    }

    /// Whether a certificate is itself an anchor: it was added as it is, or an anchor has its name
    /// and key and the key made its signature.
    pub(crate) fn contain(
        &self,
        certificate: &CertificateDer<'_>,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        self.certificates.contains(certificate)
            || (self.with_key_of(certificate) && x509::is_self_signed(certificate, algorithms))
    }
}

impl AnchorNames {
    /// The positions of these anchors.
    pub(crate) fn new(anchors: &[TrustAnchor<'_>]) -> Self {
        let mut names = Self::default();
        anchors.iter().enumerate().for_each(|(position, anchor)| names.add(position, anchor));
        names
    }

    fn add(&mut self, position: usize, anchor: &TrustAnchor<'_>) {
        let name = ComparableName::of_contents(&anchor.subject);
        self.0.entry(name).or_default().push(position);
    }

    /// The positions of the anchors with this name.
    pub(crate) fn of(&self, name: &ComparableName) -> &[usize] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether an anchor has this name.
    pub(crate) fn contain(&self, name: &ComparableName) -> bool {
        self.0.contains_key(name)
    }
}
