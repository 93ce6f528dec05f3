//! Which certificates a list speaks for (RFC 5280, sections 5.2.5 and 6.3.3).

use pki_types::CertificateDer;

use super::der::{CONSTRUCTED_0, Element, Offset, SEQUENCE};
use super::error::{CrlError, CrlErrorKind, CrlField};
use crate::pki::comparison::{ComparableName, ComparablePoint};
use crate::pki::x509;

/// The scope of a list: its issuing distribution point.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scope {
    user_only: bool,
    ca_only: bool,
    /// The names of its distribution point, in order; empty if it is not bound to one.
    names: Vec<ComparablePoint>,
}

/// What a list can say of a certificate of its issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// Nothing: the certificate is out of its scope.
    None,
    /// It may be the part of the issuer's lists that has the certificate, or another one: what it
    /// lists is revoked, what it does not list is not cleared.
    Part,
    /// Whether the certificate is revoked.
    Whole,
}

/// The distribution points that a certificate names (RFC 5280, section 4.2.1.13).
#[derive(Debug)]
pub(crate) enum Points {
    /// The certificate has no such extension. RFC 5280, section 6.3.3, gives it a point of the name
    /// of its issuer.
    Implied(ComparablePoint),
    /// The names of the points for all reasons and of the issuer's own lists.
    Named(Vec<ComparablePoint>),
}

impl Points {
    /// The points of a certificate of this issuer.
    pub(crate) fn of(certificate: &CertificateDer<'_>, issuer: &ComparableName) -> Self {
        match x509::distribution_points(certificate) {
            Some(names) => Self::Named(names),
            None => Self::Implied(ComparablePoint::directory(issuer.clone())),
        }
    }
}

impl Scope {
    pub(super) fn read(value: Element<'_>) -> Result<Self, CrlError> {
        const FIELD: CrlField = CrlField::IssuingDistributionPoint;
        let malformed = FIELD.malformed();
        let mut outer = value.reader();
        let point = outer.expect(SEQUENCE).map_err(&malformed)?;
        outer.finish().map_err(&malformed)?;
        let mut scope = Self::default();
        let mut fields = point.reader();
        let mut last = None;
        while !fields.is_empty() {
            let field = fields.next().map_err(&malformed)?;
            let at = Offset(field.start);
            // Each once, and in this order.
            if last.replace(field.tag() & 0x1f) >= Some(field.tag() & 0x1f) {
                return Err(malformed(at));
            }
            let refuse_if = |kind| match field.boolean() {
                Ok(true) => Err(FIELD.error(kind, at)),
                Ok(false) => Ok(()),
                Err(at) => Err(malformed(at)),
            };
            match field.tag() {
                CONSTRUCTED_0 => scope.names = full_name(field)?,
                0x81 => scope.user_only = field.boolean().map_err(&malformed)?,
                0x82 => scope.ca_only = field.boolean().map_err(&malformed)?,
                0x83 => return Err(FIELD.error(CrlErrorKind::PartitionedByReason, at)),
                0x84 => refuse_if(CrlErrorKind::Indirect)?,
                0x85 => refuse_if(CrlErrorKind::AttributeCertificates)?,
                _ => return Err(malformed(at)),
            }
        }
        Ok(scope)
    }

    /// Whether this is a name of the distribution point.
    fn has(&self, name: &ComparablePoint) -> bool {
        self.names.binary_search(name).is_ok()
    }

    /// What the list can say of a certificate of its issuer (RFC 5280, section 6.3.3, (b)(2)).
    pub(super) fn covers(&self, points: &Points, is_leaf: bool) -> Coverage {
        if (is_leaf && self.ca_only) || (!is_leaf && self.user_only) {
            return Coverage::None;
        }
        if self.names.is_empty() {
            return Coverage::Whole;
        }
        match points {
            Points::Named(names) if names.iter().any(|name| self.has(name)) => Coverage::Whole,
            Points::Named(_) => Coverage::None,
            Points::Implied(name) if self.has(name) => Coverage::Whole,
            // A list for another point may be one part of many.
            Points::Implied(_) => Coverage::Part,
        }
    }
}

/// The names of `DistributionPointName`: those of `fullName`.
fn full_name(point: Element<'_>) -> Result<Vec<ComparablePoint>, CrlError> {
    const FIELD: CrlField = CrlField::IssuingDistributionPoint;
    const RELATIVE: u8 = 0xa1;
    let mut reader = point.reader();
    if reader.peek() == Some(RELATIVE) {
        return Err(FIELD.error(CrlErrorKind::RelativeName, reader.offset()));
    }
    let full = reader.expect(CONSTRUCTED_0).map_err(FIELD.malformed())?;
    reader.finish().map_err(FIELD.malformed())?;
    let mut names = Vec::new();
    let mut reader = full.reader();
    while !reader.is_empty() {
        let name = reader.next().map_err(FIELD.malformed())?;
        let comparable = ComparablePoint::from_der(name.whole());
        names.push(comparable.ok_or(FIELD.error(CrlErrorKind::Malformed, Offset(name.start)))?);
    }
    if names.is_empty() {
        // GeneralNames has at least one (RFC 5280, section 4.2.1.6): none must not mean "every
        // certificate".
        return Err(FIELD.error(CrlErrorKind::Malformed, Offset(full.start)));
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}
