//! The checks of a peer's certificate, each with the weight of its failure.

use std::fmt;

use crate::pki::names::{CnFallback, Names};
use crate::pki::pin::Pin;
use crate::pki::revocation::Revocation;
use crate::pki::roots::RootsId;
use crate::pki::tlsa::{Tlsa, Usage};
use crate::rules::posture::Weight;

/// The PKIX check: chain, dates, purpose, revocation, names, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
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

/// The DANE check (RFC 7672, section 3): one of the records matches.
///
/// DANE-EE(3) asks for nothing else: no chain, no dates, no names, no revocation. DANE-TA(2) asks
/// for a chain to the authority of the record and to no other root, with dates, purposes and
/// constraints below it, and for one of the names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Dane {
    /// The usable records; one match is enough.
    pub records: Vec<Tlsa>,
    /// The names for DANE-TA(2).
    pub names: Names,
    /// What a failure means.
    pub weight: Weight,
}

/// A check of the peer's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(tag = "kind", rename_all = "kebab-case"))]
pub enum Check {
    /// A chain to a root.
    Pkix(Pkix),
    /// What the host's TLSA records say.
    Dane(Dane),
    /// The peer's own certificate, or its key, is one that the administrator knows. Nothing else is
    /// asked.
    Pinned {
        /// The pins; one match is enough.
        pins: Vec<Pin>,
        /// What a failure means.
        weight: Weight,
    },
}

impl Check {
    /// What a failure means.
    pub fn weight(&self) -> Weight {
        match self {
            Self::Pkix(pkix) => pkix.weight,
            Self::Dane(dane) => dane.weight,
            Self::Pinned { weight, .. } => *weight,
        }
    }

    pub(crate) fn set_weight(&mut self, new: Weight) {
        match self {
            Self::Pkix(pkix) => pkix.weight = new,
            Self::Dane(dane) => dane.weight = new,
            Self::Pinned { weight, .. } => *weight = new,
        }
    }

    /// Whether two checks ask the same, whatever a failure means.
    pub(crate) fn asks_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pkix(a), Self::Pkix(b)) => {
                (&a.roots, &a.names, a.revocation) == (&b.roots, &b.names, b.revocation)
            }
            (Self::Dane(a), Self::Dane(b)) => (&a.records, &a.names) == (&b.records, &b.names),
            (Self::Pinned { pins: a, .. }, Self::Pinned { pins: b, .. }) => a == b,
            (Self::Pkix(_) | Self::Dane(_) | Self::Pinned { .. }, _) => false,
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pkix(pkix) => {
                let by = match pkix.names.cn {
                    CnFallback::Never => " as an alternative name",
                    CnFallback::IfNoDnsSan | CnFallback::Always => "",
                };
                write!(f, "a chain to the roots {}, for {}{by}", pkix.roots, pkix.names)
            }
            Self::Dane(dane) => {
                f.write_str("a TLSA record:")?;
                either(f, &dane.records)?;
                match dane.records.iter().any(|record| record.usage() == Usage::TrustAnchor) {
                    true => write!(f, ", for {}", dane.names),
                    false => Ok(()),
                }
            }
            Self::Pinned { pins, .. } => {
                f.write_str("a pin:")?;
                either(f, pins)
            }
        }
    }
}

/// `: a or b`
fn either<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    items
        .iter()
        .enumerate()
        .try_for_each(|(index, item)| write!(f, "{} {item}", if index == 0 { "" } else { " or" }))
}
