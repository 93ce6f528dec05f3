//! Certificate revocation lists (RFC 5280, sections 5 and 6.3), held parsed, and consulted along a
//! verified path.
//!
//! A list counts for a certificate if its issuer is the certificate's issuer, its scope includes
//! the certificate, and its signature verifies with the key that verified the certificate. Names
//! are compared by RFC 5280, section 7.1, and distribution points by section 7.4, in whatever
//! string type they are written. Serial numbers are compared in such a list only. A list for one
//! distribution point revokes certificates that have none, and does not clear them. Delta lists,
//! indirect lists and lists partitioned by reasons are refused when they are loaded. One issuer may
//! have several lists for different certificates, and two keys.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pki_types::{
    CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use webpki::VerifiedPath;

use crate::pki::anchors::{AnchorNames, Anchors};
use crate::pki::comparison::{ComparableName, ComparablePoint};
use crate::pki::crl::{Coverage, Crl, CrlError, Points};
use crate::pki::crlite::{Crlite, CrliteStatus};
use crate::pki::date::Date;
use crate::pki::defect::{Defect, Detail, Place};
use crate::pki::roots::RootsId;
use crate::pki::wanted::{Wanted, WantedList, WantedPoint};
use crate::pki::x509;
use crate::reason::{Fault, Reason};

/// How revocation lists are used. A certificate that a verified list or
/// [CRLite](crate::pki::crlite::Crlite) revokes fails under every rule but `Off`. For a host's
/// certificate that CRLite clears no list is missing.
///
/// A host's certificate that has the extension noRevAvail (RFC 9608), or is valid for at most seven
/// days, needs no list: it passes under every rule unless a list revokes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Revocation {
    /// Lists are not consulted.
    Off,
    /// A certificate that no list covers passes.
    Soft,
    /// A certificate that no list covers fails if a list of its issuer was loaded by the
    /// administrator, and passes otherwise. A list that the program fetched because a chain named
    /// it counts only for the certificates that it covers: an issuer has many lists.
    #[default]
    IfConfigured,
    /// A certificate that no list covers fails.
    Hard,
}

/// Most lists of one issuer for the same certificates that are kept side by side while it is not
/// known which key signed which: an authority that replaces its key has two.
const MAX_UNKNOWN_SIGNERS: usize = 4;

/// The revocation lists for one set of roots, by issuer. A copy shares the parsed lists.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crls(HashMap<ComparableName, Vec<Arc<Crl>>>);

impl Crls {
    /// Adds a list to those that are there. Its signature is verified when the list is first
    /// consulted, for only then is the issuer's key known.
    pub(crate) fn add(&mut self, crl: Arc<Crl>) {
        self.0.entry(crl.issuer_name().clone()).or_default().push(crl);
    }

    /// Replaces the predecessors of a list: those [of the same kind](Crl::is_of_the_same_kind) that
    /// the same key signed.
    ///
    /// The keys are those of the roots with the issuer's name, and those that a judgement has
    /// found. If none is known, the caller vouches for the list. Authorities that replace their key
    /// have two keys under one name; if their lists do not say by which they were signed (RFC 5280,
    /// section 5.2.1), up to four stay side by side until a judgement shows the keys.
    ///
    /// # Errors
    ///
    /// A [`ReplaceError`], and nothing is changed: a predecessor is newer, none of the issuer's
    /// known keys signed the list, or it was fetched, has expired, and has no predecessor.
    pub(crate) fn replace(
        &mut self,
        crl: Arc<Crl>,
        known: Option<&[u8]>,
        fetched_at: Option<UnixTime>,
        roots: &Anchors,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<Replaced, ReplaceError> {
        let lists = self.0.get(crl.issuer_name()).cloned().unwrap_or_default();
        let kin: Vec<_> = lists.iter().filter(|have| have.is_of_the_same_kind(&crl)).collect();
        let only_fetched = fetched_at.is_some();
        let has_expired = fetched_at.is_some_and(|now| crl.next_update() <= now);
        if only_fetched {
            crl.set_fetched();
        }
        if let Some(have) = kin.iter().find(|have| ***have == crl) {
            let becomes_configured = have.was_only_fetched() && !only_fetched;
            have.set_only_fetched(only_fetched && have.was_only_fetched());
            return Ok(match becomes_configured {
                // From now on it says something of the other certificates of its issuer.
                true => Replaced::Replaced,
                false => Replaced::Unchanged,
            });
        }
        let names_key = crl.authority_key().is_some();
        let root_keys: Vec<_> =
            roots.of_name(crl.issuer_name()).map(webpki::spki_for_anchor).collect();
        let mut keys = kin
            .iter()
            .flat_map(|have| have.signers())
            .chain(root_keys.iter().map(|key| key.as_ref()))
            .chain(known)
            .peekable();
        let no_key_is_known = keys.peek().is_none();
        // Here the signature is verified, and not in the next handshake.
        let signer = keys.find(|key| crl.is_signed_by(key, algorithms));

        let by_key = |key: &[u8]| -> Vec<_> {
            kin.iter().copied().filter(|have| have.is_signed_by(key, algorithms)).collect()
        };
        // Those that are replaced, and those of them that must not be newer.
        let (replaced, genuine): (Vec<_>, Vec<_>) = match signer {
            // Those that name the same key and were not signed by it are not worth keeping.
            Some(key) if names_key => (kin.clone(), by_key(key)),
            Some(key) => (by_key(key), by_key(key)),
            None if names_key && no_key_is_known => (kin.clone(), kin.clone()),
            // Perhaps it was signed by another key of the issuer.
            None if !names_key && root_keys.is_empty() && known.is_none() => {
                if has_expired {
                    return Err(ReplaceError::Expired { next_update: crl.next_update() });
                }
                crl.set_only_fetched(only_fetched);
                return Ok(self.add_unknown(crl));
            }
            None if kin.is_empty() && known.is_none() => (Vec::new(), Vec::new()),
            None => return Err(ReplaceError::Signature),
        };
        // It would clear no certificate, and make those fail that pass without a list: an attacker
        // on the way of the fetch could defer the mail by an old list.
        if has_expired && genuine.is_empty() {
            return Err(ReplaceError::Expired { next_update: crl.next_update() });
        }
        if let Some(have) = genuine.into_iter().find(|have| crl.is_older_than(have)) {
            return Err(ReplaceError::Older { have: Arc::clone(have), offered: crl });
        }
        let outcome = match replaced.is_empty() {
            true => Replaced::Added,
            false => Replaced::Replaced,
        };
        let replaced: Vec<_> = replaced.into_iter().cloned().collect();
        let was_only_fetched = replaced.iter().all(|gone| gone.was_only_fetched());
        crl.set_only_fetched(only_fetched && was_only_fetched);
        let lists = self.0.entry(crl.issuer_name().clone()).or_default();
        lists.retain(|have| !replaced.iter().any(|gone| Arc::ptr_eq(gone, have)));
        lists.push(crl);
        Ok(outcome)
    }

    /// Adds a list of an unknown key to others of its kind, and drops the oldest one if there are
    /// too many.
    fn add_unknown(&mut self, crl: Arc<Crl>) -> Replaced {
        let lists = self.0.entry(crl.issuer_name().clone()).or_default();
        let unknown =
            |have: &Arc<Crl>| have.is_of_the_same_kind(&crl) && have.signers().next().is_none();
        let positions = lists.iter().enumerate().filter(|(_, have)| unknown(have));
        let (count, oldest) = positions.fold((0, None), |(count, oldest), (position, have)| {
            let is_older =
                oldest.is_none_or(|(_, oldest): (usize, &Arc<Crl>)| have.is_older_than(oldest));
            (count + 1, if is_older { Some((position, have)) } else { oldest })
        });
        let outcome = match oldest.map(|(position, _)| position) {
            Some(oldest) if count >= MAX_UNKNOWN_SIGNERS => {
                lists.remove(oldest);
                Replaced::Replaced
            }
            _ => Replaced::Added,
        };
        lists.push(crl);
        outcome
    }

    /// The lists after a reload: those that an administrator has loaded now, and the fetched ones.
    /// Of two lists of one kind that the same key signed, the newer one stays; where no key is
    /// known yet, lists that name the same key are taken for lists of it, as when they are
    /// replaced. Also whether anything is different afterwards.
    pub(crate) fn reloaded(
        &self,
        mut loaded: Self,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> (Self, bool) {
        let mut is_changed = false;
        let mut set_only_fetched = |crl: &Crl, only_fetched| {
            is_changed |= crl.was_only_fetched() != only_fetched;
            crl.set_only_fetched(only_fetched);
        };
        for have in self.iter() {
            let lists = loaded.0.entry(have.issuer_name().clone()).or_default();
            if let Some(same) = lists.iter_mut().find(|new| **new == *have) {
                // Its signature is verified already.
                set_only_fetched(have, false);
                *same = Arc::clone(have);
                continue;
            }
            let names_one_key = have.authority_key().is_some() && have.signers().next().is_none();
            let by_same_key = |new: &Crl| {
                new.is_of_the_same_kind(have)
                    && (names_one_key
                        || have.signers().any(|key| new.is_signed_by(key, algorithms)))
            };
            let is_older = |new: &Crl| by_same_key(new) && new.is_older_than(have);
            let is_newer = |new: &Crl| by_same_key(new) && !new.is_older_than(have);
            let has_newer = lists.iter().any(|new| is_newer(new));
            let has_older = lists.iter().any(|new| is_older(new));
            if has_newer || !(has_older || have.was_fetched()) {
                continue;
            }
            set_only_fetched(have, !has_older);
            lists.retain(|new| !is_older(new));
            lists.push(Arc::clone(have));
        }
        loaded.0.retain(|_, lists| !lists.is_empty());
        is_changed |= !self.holds_same(&loaded);
        (loaded, is_changed)
    }

    /// Whether both hold the same lists, in whatever order.
    fn holds_same(&self, other: &Self) -> bool {
        let holds = |list: &Arc<Crl>| self.iter().any(|have| Arc::ptr_eq(have, list));
        self.iter().count() == other.iter().count() && other.iter().all(holds)
    }

    /// The lists whose issuer is unknown: none of these roots has its name, and no certificate of
    /// that issuer was judged since the list was loaded. Such a list has had no effect, and an
    /// administrator should look for the reason.
    pub(crate) fn unmatched<'a>(
        &'a self,
        roots: &'a AnchorNames,
    ) -> impl Iterator<Item = &'a Arc<Crl>> {
        self.iter().filter(|crl| !crl.issuer_is_known() && !roots.contain(crl.issuer_name()))
    }

    /// When the newest list of this issuer for a distribution point with one of these URLs is due,
    /// and when it expires. Lists that are known to be of another key of the issuer do not count.
    pub(crate) fn dates_of(
        &self,
        issuer: &ComparableName,
        key: &[u8],
        urls: &[String],
    ) -> Option<(UnixTime, UnixTime)> {
        let points = points_of(urls);
        let lists = self.0.get(issuer).into_iter().flatten();
        // RFC 5280, section 6.3.3, step (f): of two keys under one name, only the one that signed
        // the certificate counts.
        let own = lists.filter(|crl| crl.known_signer(key) != Some(false));
        let covering = own.filter(|crl| covers_any(crl, &points));
        let newest = covering.max_by_key(|crl| crl.times().0)?;
        let (this_update, next_update) = newest.times();
        let due = this_update + next_update.saturating_sub(this_update) / 4 * 3;
        let time = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        Some((time(due), time(next_update)))
    }

    /// The lists that were only fetched, belong to none of the wanted points, and are of this kind.
    pub(crate) fn unwanted(
        &self,
        wanted: &Wanted,
        now: UnixTime,
        is_of_kind: impl Fn(&Crl) -> bool,
    ) -> Vec<Arc<Crl>> {
        let is_in_question = |crl: &&Arc<Crl>| crl.was_only_fetched() && is_of_kind(crl);
        let mut unwanted: Vec<_> = self.iter().filter(is_in_question).cloned().collect();
        if unwanted.is_empty() {
            return unwanted;
        }
        for point in wanted.points(now) {
            let points = points_of(&point.urls);
            unwanted.retain(|crl| {
                let is_other = *crl.issuer_name() != point.issuer
                    || crl.known_signer(&point.key) == Some(false);
                is_other || !covers_any(crl, &points)
            });
        }
        unwanted
    }

    /// The lists without these.
    pub(crate) fn without(&self, gone: &[Arc<Crl>]) -> Self {
        let mut left = self.clone();
        for gone in gone {
            if let Some(lists) = left.0.get_mut(gone.issuer_name()) {
                lists.retain(|crl| !Arc::ptr_eq(crl, gone));
            }
        }
        left.0.retain(|_, lists| !lists.is_empty());
        left
    }

    /// The lists of this issuer.
    pub(crate) fn of(&self, issuer: &ComparableName) -> impl Iterator<Item = &Arc<Crl>> {
        self.0.get(issuer).into_iter().flatten()
    }

    /// All lists, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Crl>> {
        self.0.values().flatten()
    }

    /// Whether there is no list.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The distribution points of these URLs.
fn points_of(urls: &[String]) -> Points {
    Points::Named(urls.iter().map(|url| ComparablePoint::uri(url)).collect())
}

/// Whether a list covers certificates that name these points, of hosts or of authorities.
fn covers_any(crl: &Crl, points: &Points) -> bool {
    [true, false].iter().any(|is_leaf| crl.covers(points, *is_leaf) == Coverage::Whole)
}

/// What [`Trust::replace_crl`](crate::pki::trust::Trust::replace_crl) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Replaced {
    /// The list was added, and replaced no other.
    Added,
    /// The list was added, and its predecessors were dropped.
    Replaced,
    /// The same list was there already; nothing changed.
    Unchanged,
}

/// Why a list cannot replace another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// The list cannot be used at all.
    #[error(transparent)]
    Crl(#[from] CrlError),
    /// The list is older than the one that is there: by its cRLNumber, or by its thisUpdate.
    #[error(
        "the revocation list ({}) is older than the one that is there ({})",
        offered.version(),
        have.version()
    )]
    Older {
        /// The list that is there.
        have: Arc<Crl>,
        /// The list that was offered.
        offered: Arc<Crl>,
    },
    /// The list was fetched, has expired already, and has no predecessor. Without it, the rule of
    /// the connector decides about the certificates that it covers.
    #[error("the revocation list has expired already, at {}", Date(*next_update))]
    Expired {
        /// When the list expired.
        next_update: UnixTime,
    },
    /// None of the known keys of the issuer signed the list.
    #[error("the revocation list was signed by none of the known keys of its issuer")]
    Signature,
}

/// The key of an issuer in a path, which is the anchor at its end.
fn key_of(
    issuer: Option<&webpki::Cert<'_>>,
    anchor: &TrustAnchor<'_>,
) -> SubjectPublicKeyInfoDer<'static> {
    match issuer {
        Some(issuer) => issuer.subject_public_key_info(),
        None => webpki::spki_for_anchor(anchor),
    }
}

/// One consultation of the lists: the rule, the lists, and the defect of the first path that
/// failed.
pub(crate) struct Consultation<'a> {
    /// The set of roots to which the lists belong.
    pub(crate) roots: &'a RootsId,
    /// Where the lists that the path names are recorded.
    pub(crate) wanted: &'a Wanted,
    pub(crate) rule: Revocation,
    pub(crate) crls: &'a Crls,
    /// The second source, if the trust has one.
    pub(crate) crlite: Option<&'a Crlite>,
    /// What CRLite says of the leaf, once it was asked.
    pub(crate) crlite_status: &'a Cell<Option<CrliteStatus>>,
    pub(crate) algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
    pub(crate) now: UnixTime,
    pub(crate) chain: &'a [CertificateDer<'a>],
    pub(crate) defect: RefCell<Option<Defect>>,
    /// How many signatures of lists may still be verified.
    pub(crate) signatures: Cell<usize>,
}

/// Most signatures of lists that one check of a chain verifies. Each list may be long, each result
/// is remembered, and a path has at most seven certificates: an authority with many keys under one
/// name must not multiply the work.
pub(crate) const MAX_LIST_SIGNATURES: usize = 16;
/// Most missing lists that a defect names: a delivery that waits for lists fetches no more of them.
const MAX_MISSING_LISTS: usize = 8;

impl Consultation<'_> {
    /// Consults the lists for every certificate of a path. The path builder tries another path
    /// after an error.
    pub(crate) fn check(&self, path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
        // Before any of them is found to be missing.
        self.each_point(path, false, |issuer, key, urls| {
            self.wanted.record(issuer, key, urls, self.now)
        });
        let checked = self.certificates(path);
        if checked.is_err() {
            self.name_missing(path);
        }
        checked
    }

    fn certificates(&self, path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
        let issuer = key_of(path.intermediate_certificates().next(), path.anchor());
        let crlite = self.crlite.map(|it| it.status(path.end_entity(), &issuer, self.now));
        self.crlite_status.set(crlite);
        let mut is_leaf = true;
        let mut certificate: &webpki::Cert<'_> = path.end_entity();
        let mut issuers = path.intermediate_certificates();
        loop {
            let issuer = issuers.next();
            self.certificate(certificate, is_leaf, issuer, path.anchor())?;
            match issuer {
                Some(issuer) => (certificate, is_leaf) = (issuer, false),
                None => return Ok(()),
            }
        }
    }

    /// The distribution points that a path names: the issuer, its key and the URLs of each. Those
    /// of a leaf that needs no list are left out, and those of one that CRLite clears.
    fn each_point(
        &self,
        path: &VerifiedPath<'_>,
        leaf_is_cleared: bool,
        mut each: impl FnMut(&ComparableName, &[u8], &[&str]),
    ) {
        let mut certificate: &webpki::Cert<'_> = path.end_entity();
        let mut is_leaf = true;
        let mut issuers = path.intermediate_certificates();
        loop {
            let issuer = issuers.next();
            let der = certificate.der();
            let points = match is_leaf && (leaf_is_cleared || x509::needs_no_list(&der)) {
                true => Vec::new(),
                false => x509::point_uris(&der),
            };
            if !points.is_empty() {
                let name = ComparableName::of_contents(certificate.issuer());
                let key = key_of(issuer, path.anchor());
                points.iter().for_each(|urls| each(&name, &key, urls));
            }
            match issuer {
                Some(issuer) => (certificate, is_leaf) = (issuer, false),
                None => return,
            }
        }
    }

    /// Writes into a defect of this side which lists of the path are not loaded, or have expired.
    fn name_missing(&self, path: &VerifiedPath<'_>) {
        let mut defect = self.defect.borrow_mut();
        let is_unnamed = |defect: &Defect| {
            defect.reason().fault() == Fault::Local && defect.missing_lists().is_empty()
        };
        if !defect.as_ref().is_some_and(is_unnamed) {
            return;
        }
        let mut missing = Vec::new();
        let leaf_is_cleared = self.crlite_status.get() == Some(CrliteStatus::Good);
        self.each_point(path, leaf_is_cleared, |issuer, key, urls| {
            let Some(point) = WantedPoint::new(issuer, key, urls, self.now) else { return };
            let dates = self.crls.dates_of(issuer, key, &point.urls);
            let is_current = dates.is_some_and(|(_, next_update)| self.now < next_update);
            if !is_current && missing.len() < MAX_MISSING_LISTS {
                missing.push(WantedList::new(self.roots.clone(), Arc::new(point), dates));
            }
        });
        *defect = defect.take().map(|defect| defect.with_missing_lists(missing));
    }

    /// Consults the lists for a certificate that is trusted for itself: if its own key signed a
    /// list, that list can revoke it. No list has to clear it, since no issuer vouches for it.
    pub(crate) fn check_itself(&self, certificate: &CertificateDer<'_>) -> Result<(), Defect> {
        let (Some((_, subject)), Some(serial), Some(spki)) =
            (x509::names_of(certificate), x509::serial(certificate), x509::spki(certificate))
        else {
            return Ok(());
        };
        let name = ComparableName::of_contents(subject);
        for crl in self.crls.0.get(&name).into_iter().flatten() {
            crl.set_issuer_is_known();
            if crl.lists(serial) && self.is_signed_by(crl, &spki) == Some(true) {
                return Err(Defect::at(Reason::CertRevoked, Place::Leaf));
            }
        }
        Ok(())
    }

    fn certificate(
        &self,
        certificate: &webpki::Cert<'_>,
        is_leaf: bool,
        issuer: Option<&webpki::Cert<'_>>,
        anchor: &TrustAnchor<'_>,
    ) -> Result<(), webpki::Error> {
        let name = &ComparableName::of_contents(certificate.issuer());
        let lists = self.crls.0.get(name);
        lists.into_iter().flatten().for_each(|crl| crl.set_issuer_is_known());
        let der = certificate.der();
        let needs_list = !(is_leaf && x509::needs_no_list(&der));
        let points = Points::of(&der, name);
        let spki = key_of(issuer, anchor);
        let crlite = self.crlite_status.get().filter(|_| is_leaf);
        if crlite == Some(CrliteStatus::Revoked) {
            return self.fail(Reason::CertRevoked, certificate, crlite);
        }
        let mut known_good = crlite == Some(CrliteStatus::Good);
        let needs_list = needs_list && !known_good;
        let counts = |crl: &Arc<Crl>| {
            !crl.was_only_fetched()
                || crl.covers(&points, is_leaf) == Coverage::Whole
                    && self.is_signed_by(crl, &spki) != Some(false)
        };
        let needs_list = match self.rule {
            Revocation::Off | Revocation::Soft => false,
            Revocation::IfConfigured => needs_list && lists.into_iter().flatten().any(counts),
            Revocation::Hard => needs_list,
        };
        let Some(lists) = lists else {
            return match needs_list {
                true => self.fail(Reason::RevocationUnknown, certificate, crlite),
                false => Ok(()),
            };
        };
        let may_sign = issuer.is_none_or(|issuer| x509::may_sign_crls(&issuer.der()));
        let mut why_unknown = None;
        for crl in lists {
            let lists = crl.lists(certificate.serial());
            // A signature is verified only if it makes a difference: an issuer may have a hundred
            // lists.
            let matters = match crl.covers(&points, is_leaf) {
                Coverage::None => false,
                Coverage::Part => lists,
                Coverage::Whole => lists || !known_good,
            };
            if !matters {
                continue;
            }
            let Some(signed) = self.is_signed_by(crl, &spki) else {
                return self.fail(Reason::CertTooCostly, certificate, None);
            };
            if !may_sign || !signed {
                why_unknown.get_or_insert(Reason::CrlInvalid);
                continue;
            }
            // A revocation outlives the list that announced it, so the list's dates come later.
            if lists {
                return self.fail(Reason::CertRevoked, certificate, crlite);
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
        if known_good || !needs_list {
            return Ok(());
        }
        self.fail(why_unknown.unwrap_or(Reason::RevocationUnknown), certificate, crlite)
    }

    /// `None` once the budget for signatures of lists is spent.
    fn is_signed_by(&self, crl: &Crl, spki: &[u8]) -> Option<bool> {
        crl.known_signer(spki).or_else(|| {
            self.signatures.set(self.signatures.get().checked_sub(1)?);
            Some(crl.is_signed_by(spki, self.algorithms))
        })
    }

    fn fail(
        &self,
        reason: Reason,
        certificate: &webpki::Cert<'_>,
        crlite: Option<CrliteStatus>,
    ) -> Result<(), webpki::Error> {
        let der = certificate.der();
        let is_local = |reason: Reason| reason.fault() == Fault::Local;
        let mut defect = self.defect.borrow_mut();
        // Where another path could be good if it could be judged, the fault is on this side.
        if defect.as_ref().is_none_or(|have| is_local(reason) && !is_local(have.reason())) {
            let detail = if is_local(reason) { Detail::issuer_of(&der) } else { Detail::None };
            let found = Defect::at(reason, Place::of(&der, self.chain)).with(detail);
            *defect = Some(found.with_crlite(crlite));
        }
        // The path builder ranks no other error of a complete path above this one.
        Err(webpki::Error::CertRevoked)
    }
}
