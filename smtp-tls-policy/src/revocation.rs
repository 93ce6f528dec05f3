//! Certificate revocation lists (RFC 5280, 5 and 6.3), held parsed, and consulted along a verified path.
//!
//! A list counts for a certificate when its issuer is the certificate's issuer, its scope includes the certificate,
//! and its signature verifies with the key that verified the certificate. Serial numbers are compared in such a list
//! only. Delta lists, indirect lists and lists split by reasons are refused when they are loaded.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::OnceLock;

use pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{CertRevocationList, OwnedCertRevocationList, VerifiedPath};
use x509_parser::extensions::{DistributionPointName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::decision::Reason;
use crate::judge::{Defect, Place};
use crate::x509::{self, Signed};

/// What is asked of revocation lists. A certificate that a verified list revokes always fails, save with `Off`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Revocation {
    /// Lists are not consulted.
    Off,
    /// A certificate of which no list says anything passes.
    Soft,
    /// Such a certificate fails where a list of its issuer is loaded, and passes where none is.
    #[default]
    IfConfigured,
    /// Such a certificate fails.
    Hard,
}

/// A revocation list that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrlError {
    /// Not what RFC 5280, 5.1 describes: version 2, nextUpdate, cRLNumber and sound entries.
    #[error("the revocation list is malformed or of an unsupported version")]
    Malformed,
    /// A delta list (RFC 5280, 5.2.4).
    #[error("delta revocation lists are not supported")]
    Delta,
    /// A list that speaks for other issuers (RFC 5280, 5.2.5).
    #[error("indirect revocation lists are not supported")]
    Indirect,
    /// A list for some revocation reasons only (RFC 5280, 5.2.5).
    #[error("revocation lists split by reasons are not supported")]
    PartitionedByReason,
    /// A list for attribute certificates, or with a distribution point that has no URI.
    #[error("the scope of the revocation list is not supported")]
    Scope,
    /// A critical extension that is not known here.
    #[error("the revocation list has an unknown critical extension")]
    CriticalExtension,
}

/// Which certificates a list speaks for (RFC 5280, 5.2.5).
#[derive(Debug)]
struct Scope {
    user_only: bool,
    ca_only: bool,
    /// The URIs of its distribution point; empty: not bound to one.
    uris: Vec<String>,
}

/// A parsed revocation list.
#[derive(Debug)]
struct Crl {
    list: CertRevocationList<'static>,
    signed: Signed,
    this_update: u64,
    next_update: u64,
    scope: Option<Scope>,
    /// The key with which the signature was verified: a long list is hashed once, not once a handshake.
    verified_by: OnceLock<Vec<u8>>,
}

/// The revocation lists for one set of roots, by issuer.
#[derive(Debug, Default)]
pub struct Crls(HashMap<Vec<u8>, Vec<Crl>>);

impl Crls {
    /// Parses a list. Its signature is verified when it is first consulted, for only then is the issuer's key known.
    pub(crate) fn add_der(&mut self, der: &[u8]) -> Result<(), CrlError> {
        let crl = Crl::from_der(der)?;
        self.0.entry(crl.list.issuer().to_vec()).or_default().push(crl);
        Ok(())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Crl {
    fn from_der(der: &[u8]) -> Result<Self, CrlError> {
        let list = OwnedCertRevocationList::from_der(der).map_err(|error| match error {
            webpki::Error::UnsupportedDeltaCrl => CrlError::Delta,
            webpki::Error::UnsupportedIndirectCrl => CrlError::Indirect,
            webpki::Error::UnsupportedRevocationReasonsPartitioning => CrlError::PartitionedByReason,
            webpki::Error::UnsupportedCrlIssuingDistributionPoint => CrlError::Scope,
            webpki::Error::UnsupportedCriticalExtension => CrlError::CriticalExtension,
            _ => CrlError::Malformed,
        })?;
        let (_, parsed) = CertificateRevocationList::from_der(der).map_err(|_| CrlError::Malformed)?;
        let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
        let next_update = parsed.next_update().ok_or(CrlError::Malformed)?;
        let list = CertRevocationList::from(list);
        let scope = match list.issuing_distribution_point() {
            Some(_) => Some(Scope::of(&parsed)?),
            None => None,
        };
        Ok(Self {
            signed: Signed::from_der(der).ok_or(CrlError::Malformed)?,
            this_update: seconds(parsed.last_update().timestamp()),
            next_update: seconds(next_update.timestamp()),
            scope,
            list,
            verified_by: OnceLock::new(),
        })
    }

    fn is_signed_by(&self, spki: &[u8], algorithms: &[&dyn SignatureVerificationAlgorithm]) -> bool {
        if self.verified_by.get().is_some_and(|key| key == spki) {
            return true;
        }
        let good = self.signed.verify(spki, algorithms);
        if good {
            // Another thread may have been first; both verified the same thing, or the key of a second issuer of
            // this name is verified each time.
            let _ = self.verified_by.set(spki.to_vec());
        }
        good
    }
}

impl Scope {
    fn of(crl: &CertificateRevocationList<'_>) -> Result<Self, CrlError> {
        let point = crl
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::IssuingDistributionPoint(point) => Some(point),
                _ => None,
            })
            .ok_or(CrlError::Scope)?;
        if point.indirect_crl {
            return Err(CrlError::Indirect);
        }
        if point.only_some_reasons.is_some() {
            return Err(CrlError::PartitionedByReason);
        }
        if point.only_contains_attribute_certs {
            return Err(CrlError::Scope);
        }
        let uris = match &point.distribution_point {
            None => Vec::new(),
            Some(name) => {
                let uris = uris_of(name);
                if uris.is_empty() {
                    return Err(CrlError::Scope);
                }
                uris
            }
        };
        Ok(Self { user_only: point.only_contains_user_certs, ca_only: point.only_contains_ca_certs, uris })
    }

    /// Whether the list speaks for this certificate (RFC 5280, 6.3.3, (b)(2)).
    fn includes(&self, certificate: &CertificateDer<'_>, is_leaf: bool) -> bool {
        if (is_leaf && self.ca_only) || (!is_leaf && self.user_only) {
            return false;
        }
        if self.uris.is_empty() {
            return true;
        }
        let Some(parsed) = x509::parse(certificate) else {
            return false;
        };
        let points = parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::CRLDistributionPoints(points) => Some(points),
            _ => None,
        });
        match points {
            None => true,
            Some(points) => points.iter().any(|point| {
                point.reasons.is_none()
                    && point.crl_issuer.is_none()
                    && point
                        .distribution_point
                        .as_ref()
                        .is_some_and(|name| uris_of(name).iter().any(|uri| self.uris.contains(uri)))
            }),
        }
    }
}

fn uris_of(name: &DistributionPointName<'_>) -> Vec<String> {
    match name {
        DistributionPointName::FullName(names) => names
            .iter()
            .filter_map(|name| match name {
                x509_parser::extensions::GeneralName::URI(uri) => Some((*uri).to_owned()),
                _ => None,
            })
            .collect(),
        DistributionPointName::NameRelativeToCRLIssuer(_) => Vec::new(),
    }
}

/// One consultation of the lists: the rule, the lists, and why the last path failed.
pub(crate) struct Consultation<'a> {
    pub(crate) rule: Revocation,
    pub(crate) crls: &'a Crls,
    pub(crate) algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
    pub(crate) now: UnixTime,
    pub(crate) chain: &'a [CertificateDer<'a>],
    pub(crate) defect: RefCell<Option<Defect>>,
}

impl Consultation<'_> {
    /// Consults the lists for every certificate of a path. The path builder tries another path after an error.
    pub(crate) fn check(&self, path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
        let mut is_leaf = true;
        let mut certificate: &webpki::Cert<'_> = path.end_entity();
        let mut issuers = path.intermediate_certificates();
        loop {
            let issuer = issuers.next();
            if let Some(lists) = self.crls.0.get(certificate.issuer()) {
                let spki = match issuer {
                    Some(issuer) => issuer.subject_public_key_info(),
                    None => webpki::spki_for_anchor(path.anchor()),
                };
                self.certificate(certificate, is_leaf, issuer, spki.as_ref(), lists)?;
            } else if self.rule == Revocation::Hard {
                self.fail(Reason::RevocationUnknown, certificate)?;
            }
            match issuer {
                Some(issuer) => (certificate, is_leaf) = (issuer, false),
                None => return Ok(()),
            }
        }
    }

    fn certificate(
        &self,
        certificate: &webpki::Cert<'_>,
        is_leaf: bool,
        issuer: Option<&webpki::Cert<'_>>,
        spki: &[u8],
        lists: &[Crl],
    ) -> Result<(), webpki::Error> {
        let der = certificate.der();
        let may_sign = issuer.is_none_or(|issuer| x509::may_sign_crls(&issuer.der()));
        let mut known_good = false;
        let mut why_unknown = None;
        for crl in lists {
            let in_scope = crl.scope.as_ref().is_none_or(|s| s.includes(&der, is_leaf));
            if !in_scope {
                continue;
            }
            if !may_sign || !crl.is_signed_by(spki, self.algorithms) {
                why_unknown.get_or_insert(Reason::CrlInvalid);
                continue;
            }
            // A revocation outlives the list that announced it: it is looked for before the list's dates are.
            let absent = crl.list.find_serial(certificate.serial()).is_ok_and(|entry| entry.is_none());
            if !absent {
                return self.fail(Reason::CertRevoked, certificate);
            }
            let now = self.now.as_secs();
            if now >= crl.next_update {
                why_unknown.get_or_insert(Reason::CrlExpired);
            } else if now < crl.this_update {
                why_unknown.get_or_insert(Reason::RevocationUnknown);
            } else {
                known_good = true;
            }
        }
        if known_good || self.rule == Revocation::Soft {
            return Ok(());
        }
        self.fail(why_unknown.unwrap_or(Reason::RevocationUnknown), certificate)
    }

    fn fail(&self, reason: Reason, certificate: &webpki::Cert<'_>) -> Result<(), webpki::Error> {
        let der = certificate.der();
        let place = Place::of(&der, self.chain);
        self.defect.borrow_mut().get_or_insert(Defect::at(reason, place));
        // Any error that the path builder does not rank above this one.
        Err(webpki::Error::CertRevoked)
    }
}
