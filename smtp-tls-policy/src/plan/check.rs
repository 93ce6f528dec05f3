//! The checks of a peer's certificate, each with the weight of its failure.

use std::fmt;

use crate::pki::names::{CnFallback, Names};
use crate::pki::pin::Pin;
use crate::pki::revocation::Revocation;
use crate::pki::roots::RootsId;
use crate::pki::tlsa::{Tlsa, Usage};
use crate::rules::posture::Weight;

/// A check of the peer's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(tag = "kind", rename_all = "kebab-case"))]
pub enum Check {
    /// The PKIX check: chain, dates, purpose, revocation, names, in this order.
    Pkix {
        /// The roots to which the chain must lead.
        roots: RootsId,
        /// The names of which the certificate must carry one.
        names: Names,
        /// How revocation lists are used.
        revocation: Revocation,
        /// What a failure means.
        weight: Weight,
    },
    /// The DANE check (RFC 7672, section 3): one of the host's TLSA records matches.
    ///
    /// DANE-EE(3) asks for nothing else: no chain, no dates, no names, no revocation. DANE-TA(2)
    /// asks for a chain to the authority of the record and to no other root, with dates, purposes
    /// and constraints below it, and for one of the names.
    Dane {
        /// The usable records; one match is enough.
        records: Vec<Tlsa>,
        /// The names for DANE-TA(2).
        names: Names,
        /// What a failure means.
        weight: Weight,
    },
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
            Self::Pkix { weight, .. } | Self::Dane { weight, .. } | Self::Pinned { weight, .. } => {
                *weight
            }
        }
    }

    pub(crate) fn set_weight(&mut self, new: Weight) {
        match self {
            Self::Pkix { weight, .. } | Self::Dane { weight, .. } | Self::Pinned { weight, .. } => {
                *weight = new
            }
        }
    }

    /// Whether two checks ask the same, whatever a failure means.
    pub(crate) fn asks_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Pkix { roots, names, revocation, weight: _ },
                Self::Pkix { roots: r, names: n, revocation: rule, weight: _ },
            ) => (roots, names, revocation) == (r, n, rule),
            (
                Self::Dane { records, names, weight: _ },
                Self::Dane { records: r, names: n, weight: _ },
            ) => (records, names) == (r, n),
            (Self::Pinned { pins: a, weight: _ }, Self::Pinned { pins: b, weight: _ }) => a == b,
            (Self::Pkix { .. } | Self::Dane { .. } | Self::Pinned { .. }, _) => false,
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pkix { roots, names, .. } => {
                let by = match names.cn {
                    CnFallback::Never => " as an alternative name",
                    CnFallback::IfNoDnsSan | CnFallback::Always => "",
                };
                write!(f, "a chain to the roots {roots}, for {names}{by}")
            }
            Self::Dane { records, names, .. } => {
                f.write_str("a TLSA record:")?;
                either(f, records)?;
                match records.iter().any(|record| record.usage() == Usage::TrustAnchor) {
                    true => write!(f, ", for {names}"),
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
