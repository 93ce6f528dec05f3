//! Errors of revocation lists, with field and octet.

use std::fmt;

use super::der::Offset;

/// A revocation list that cannot be used: what is wrong, in which field, and at which octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} ({field}, octet {offset})")]
pub struct CrlError {
    /// The fault.
    pub kind: CrlErrorKind,
    field: CrlField,
    /// The octet of the list at which the fault is, counted from 0.
    pub offset: usize,
}

impl CrlError {
    /// The field with the fault, such as `nextUpdate` (RFC 5280, section 5.1), or
    /// `revoked certificate 2` of the entries, which are counted from 1.
    pub fn field(&self) -> impl fmt::Display + use<> {
        self.field
    }
}

/// What is wrong with a revocation list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum CrlErrorKind {
    /// Not what RFC 5280, section 5.1 describes, or not DER.
    #[error("the revocation list is malformed")]
    Malformed,
    /// Neither version 1 nor version 2, or version 1 with extensions (RFC 5280, section 5.1.2.1).
    #[error("the revocation list is of no known version")]
    Version,
    /// nextUpdate is absent (RFC 5280, section 5.1.2.5), so that the list would never expire.
    #[error("the revocation list lacks a required field")]
    Missing,
    /// A delta list (RFC 5280, section 5.2.4), which means nothing without its base.
    #[error("delta revocation lists are not supported")]
    Delta,
    /// A list that speaks for other issuers (RFC 5280, section 5.2.5 and 5.3.3).
    #[error("indirect revocation lists are not supported")]
    Indirect,
    /// A list for some revocation reasons only (RFC 5280, section 5.2.5).
    #[error("revocation lists partitioned by reasons are not supported")]
    PartitionedByReason,
    /// A list for attribute certificates (RFC 5280, section 5.2.5).
    #[error("revocation lists for attribute certificates are not supported")]
    AttributeCertificates,
    /// A distribution point whose name is relative to the issuer's (RFC 5280, section 4.2.1.13).
    #[error("revocation lists with a relative distribution point name are not supported")]
    RelativeName,
    /// A critical extension that is not known here (RFC 5280, section 5.2).
    #[error("the revocation list has an unknown critical extension")]
    CriticalExtension,
    /// 4 GiB or more.
    #[error("the revocation list is too long")]
    TooLong,
}

/// A field of a revocation list (RFC 5280, section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CrlField {
    /// The list as a whole: three parts, and nothing after them.
    List,
    /// `version`
    Version,
    /// `signature` and `signatureAlgorithm`, which must be equal.
    Algorithm,
    /// `issuer`
    Issuer,
    /// `thisUpdate`
    ThisUpdate,
    /// `nextUpdate`
    NextUpdate,
    /// The entry of `revokedCertificates` at this position, counted from 1; 0: the field itself.
    Entry(usize),
    /// The entry of `crlExtensions` at this position, counted from 1; 0: the field itself.
    Extension(usize),
    /// The extension cRLNumber.
    CrlNumber,
    /// The extension deltaCRLIndicator.
    DeltaCrlIndicator,
    /// The extension issuingDistributionPoint.
    IssuingDistributionPoint,
    /// `signatureValue`
    Signature,
}

impl fmt::Display for CrlField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::List => "list",
            Self::Version => "version",
            Self::Algorithm => "signature algorithm",
            Self::Issuer => "issuer",
            Self::ThisUpdate => "thisUpdate",
            Self::NextUpdate => "nextUpdate",
            Self::Entry(0) => "revokedCertificates",
            Self::Entry(position) => return write!(f, "revoked certificate {position}"),
            Self::Extension(0) => "crlExtensions",
            Self::Extension(position) => return write!(f, "extension {position}"),
            Self::CrlNumber => "cRLNumber",
            Self::DeltaCrlIndicator => "deltaCRLIndicator",
            Self::IssuingDistributionPoint => "issuingDistributionPoint",
            Self::Signature => "signature",
        };
        f.write_str(name)
    }
}

impl CrlField {
    pub(super) fn error(self, kind: CrlErrorKind, Offset(offset): Offset) -> CrlError {
        CrlError { kind, field: self, offset }
    }

    /// For `map_err`.
    pub(super) fn malformed(self) -> impl Fn(Offset) -> CrlError {
        move |offset| self.error(CrlErrorKind::Malformed, offset)
    }
}
