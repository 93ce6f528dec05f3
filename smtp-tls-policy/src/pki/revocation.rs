//! Certificate revocation lists (RFC 5280, 5 and 6.3), held parsed, and consulted along a verified path.
//!
//! A list counts for a certificate when its issuer is the certificate's issuer, its scope includes the certificate,
//! and its signature verifies with the key that verified the certificate. Serial numbers are compared in such a list
//! only. A list for one distribution point revokes certificates that have none, and does not clear them. Delta lists,
//! indirect lists and lists partitioned by reasons are refused when they are loaded; several lists that speak for different
//! certificates of one issuer are not.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::VerifiedPath;

use crate::pki::crl::{Coverage, Crl, CrlError, CrlVersion};
use crate::pki::defect::{Defect, Place};
use crate::pki::x509;
use crate::reason::Reason;

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

/// The revocation lists for one set of roots, by issuer. A copy shares the parsed lists.
#[derive(Clone, Debug, Default)]
pub struct Crls(HashMap<Vec<u8>, Vec<Arc<Crl>>>);

impl Crls {
    /// Adds a list beside those that are there. Its signature is verified when it is first consulted, for only then is
    /// the issuer's key known.
    pub fn add(&mut self, crl: Arc<Crl>) {
        self.0.entry(crl.issuer().to_vec()).or_default().push(crl);
    }

    /// Puts a list in the place of its predecessors: those [of the same kind](Crl::is_of_the_same_kind).
    ///
    /// # Errors
    ///
    /// A [`ReplaceError`], and nothing is changed: a predecessor is newer, or the key that signed it did not sign this list.
    /// Which key that is, a judgement has found out, or one of these roots has the issuer's name; otherwise it is not known
    /// yet, and whoever loads a list vouches for it.
    pub fn replace(
        &mut self,
        crl: Arc<Crl>,
        roots: &[TrustAnchor<'_>],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<Replaced, ReplaceError> {
        let lists = self.0.entry(crl.issuer().to_vec()).or_default();
        let mut predecessors =
            lists.iter().filter(|have| have.is_of_the_same_kind(&crl)).peekable();
        if predecessors.peek().is_none() {
            lists.push(crl);
            return Ok(Replaced::Added);
        }
        for have in predecessors {
            if have.is_same(&crl) {
                return Ok(Replaced::Unchanged);
            }
            if crl.version().is_older_than(&have.version()) {
                return Err(ReplaceError::Older { have: have.version(), offered: crl.version() });
            }
            // Here the signature is verified as well, and not in the next handshake.
            let of_name = |root: &&TrustAnchor<'_>| *root.subject == *crl.issuer();
            let mut known = have.signers().peekable();
            let signed = match known.peek() {
                Some(_) => known.any(|key| crl.is_signed_by(key, algorithms)),
                None => {
                    let mut roots =
                        roots.iter().filter(of_name).map(webpki::spki_for_anchor).peekable();
                    roots.peek().is_none() || roots.any(|key| crl.is_signed_by(&key, algorithms))
                }
            };
            if !signed {
                return Err(ReplaceError::Signature);
            }
        }
        lists.retain(|have| !have.is_of_the_same_kind(&crl));
        lists.push(crl);
        Ok(Replaced::Replaced)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Crl>> {
        self.0.values().flatten()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What became of a list that was to replace another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Replaced {
    /// It was the first of its kind, and is there now.
    Added,
    /// It is there now, and its predecessors are not.
    Replaced,
    /// It was there already; nothing changed.
    Unchanged,
}

/// Why a list does not replace another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// It cannot be used at all.
    #[error(transparent)]
    Crl(#[from] CrlError),
    /// It is older than the one that is there: by its cRLNumber, or by its thisUpdate.
    #[error("the revocation list ({offered}) is older than the one that is there ({have})")]
    Older {
        /// How new the one is that is there.
        have: CrlVersion,
        /// How new the one is that was offered.
        offered: CrlVersion,
    },
    /// The key that signed its predecessor did not sign it.
    #[error("the revocation list was not signed by the key that signed the one that is there")]
    Signature,
}

/// One consultation of the lists: the rule, the lists, and why the last path failed.
pub(crate) struct Consultation<'a> {
    pub(crate) rule: Revocation,
    pub(crate) crls: &'a Crls,
    pub(crate) algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
    pub(crate) now: UnixTime,
    pub(crate) chain: &'a [CertificateDer<'a>],
    pub(crate) defect: RefCell<Option<Defect>>,
    /// How many signatures of lists may still be verified.
    pub(crate) signatures: Cell<usize>,
}

/// Most signatures of lists that one check of a chain verifies. Each may be as long as the longest list, each is remembered,
/// and a path has at most seven certificates: an authority of many keys under one name must not make this many more.
pub(crate) const MAX_LIST_SIGNATURES: usize = 16;

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
        lists: &[Arc<Crl>],
    ) -> Result<(), webpki::Error> {
        let der = certificate.der();
        let may_sign = issuer.is_none_or(|issuer| x509::may_sign_crls(&issuer.der()));
        let mut known_good = false;
        let mut why_unknown = None;
        for crl in lists {
            let lists = crl.lists(certificate.serial());
            // A signature is verified only where it makes a difference: an issuer may have a hundred lists.
            let matters = match crl.covers(&der, is_leaf) {
                Coverage::None => false,
                Coverage::Part => lists,
                Coverage::Whole => lists || !known_good,
            };
            if !matters {
                continue;
            }
            let Some(signed) = self.is_signed_by(crl, spki) else {
                return self.fail(Reason::CertTooCostly, certificate);
            };
            if !may_sign || !signed {
                why_unknown.get_or_insert(Reason::CrlInvalid);
                continue;
            }
            // A revocation outlives the list that announced it: it is looked for before the list's dates are.
            if lists {
                return self.fail(Reason::CertRevoked, certificate);
            }
            let now = self.now.as_secs();
            let (this_update, next_update) = crl.times();
            if now >= next_update {
                why_unknown.get_or_insert(Reason::CrlExpired);
            } else if now < this_update {
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

    /// `None` once the budget for signatures of lists is spent.
    fn is_signed_by(&self, crl: &Crl, spki: &[u8]) -> Option<bool> {
        crl.known_signer(spki).or_else(|| {
            self.signatures.set(self.signatures.get().checked_sub(1)?);
            Some(crl.is_signed_by(spki, self.algorithms))
        })
    }

    fn fail(&self, reason: Reason, certificate: &webpki::Cert<'_>) -> Result<(), webpki::Error> {
        let der = certificate.der();
        let place = Place::of(&der, self.chain);
        self.defect.borrow_mut().get_or_insert(Defect::at(reason, place));
        // Any error that the path builder does not rank above this one.
        Err(webpki::Error::CertRevoked)
    }
}
