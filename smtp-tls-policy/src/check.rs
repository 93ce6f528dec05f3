//! The checks of a peer's certificate, each with the weight of its failure.

use crate::names::Names;
use crate::pin::Pin;
use crate::posture::Weight;
use crate::revocation::Revocation;
use crate::tlsa::Tlsa;
use crate::trust::RootsId;

/// The PKIX check: chain, dates, purpose, revocation, names, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pkix {
    /// The roots to which the chain must lead.
    pub roots: RootsId,
    /// The names of which the certificate must carry one.
    pub names: Names,
    /// How revocation lists are used.
    pub revocation: Revocation,
    /// What a failure means.
    pub weight: Weight,
}

/// The DANE check (RFC 7672, 3): one of the records matches.
///
/// DANE-EE(3) asks for nothing else: no chain, no dates, no names, no revocation. DANE-TA(2) asks for a chain to the
/// authority of the record and to no other root, with dates, purposes and constraints below it, and for one of the names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dane {
    /// The usable records; one match is enough.
    pub records: Vec<Tlsa>,
    /// The names for DANE-TA(2).
    pub names: Names,
    /// What a failure means.
    pub weight: Weight,
}

/// The pin check: the peer's own certificate, or its key, is one of these. Nothing else is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pinned {
    /// The pins; one match is enough.
    pub pins: Vec<Pin>,
    /// What a failure means.
    pub weight: Weight,
}

/// A check of the peer's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Check {
    /// A chain to a root.
    Pkix(Pkix),
    /// What the host's TLSA records say.
    Dane(Dane),
    /// A certificate or key that the administrator knows.
    Pinned(Pinned),
}

impl Check {
    /// What a failure means.
    pub fn weight(&self) -> Weight {
        match self {
            Self::Pkix(pkix) => pkix.weight,
            Self::Dane(dane) => dane.weight,
            Self::Pinned(pinned) => pinned.weight,
        }
    }

    pub(crate) fn set_weight(&mut self, weight: Weight) {
        match self {
            Self::Pkix(pkix) => pkix.weight = weight,
            Self::Dane(dane) => dane.weight = weight,
            Self::Pinned(pinned) => pinned.weight = weight,
        }
    }

    /// Whether two checks ask the same, whatever a failure means.
    pub(crate) fn asks_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pkix(a), Self::Pkix(b)) => (&a.roots, &a.names, a.revocation) == (&b.roots, &b.names, b.revocation),
            (Self::Dane(a), Self::Dane(b)) => (&a.records, &a.names) == (&b.records, &b.names),
            (Self::Pinned(a), Self::Pinned(b)) => a.pins == b.pins,
            (Self::Pkix(_) | Self::Dane(_) | Self::Pinned(_), _) => false,
        }
    }
}
