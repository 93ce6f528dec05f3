//! Roots and revocation lists, in named sets, parsed once.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};

use crate::pki::anchors::Anchors;
use crate::pki::crl::{Crl, CrlError};
use crate::pki::crlite::Crlite;
use crate::pki::revocation::{Crls, ReplaceError, Replaced};
use crate::pki::roots::RootsId;
use crate::pki::wanted::{Wanted, WantedList};
use crate::pki::x509;

/// Distinguishes trusts with different contents, for caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Generation(u64);

impl Generation {
    /// A number that is new in this process.
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A certificate that cannot serve as a root: what is wrong, in which field, and where that can be
/// told, at which octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct RootError {
    /// What is wrong.
    pub what: &'static str,
    /// In which field of the certificate (RFC 5280, section 4.1), such as `serialNumber`.
    pub field: &'static str,
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

/// Root certificates and revocation lists in memory, in sets with names.
///
/// Connectors name the set that they judge by ([`RootsId`]); the default set is `public`. What
/// judges handshakes holds the trust as an `Arc` of a
/// [`LiveTrust`](crate::pki::live_trust::LiveTrust), into which a trust converts.
///
/// Without roots no certificate can be judged: under every posture that checks certificates, mail
/// is deferred with [`Reason::RootsMissing`](crate::Reason::RootsMissing). Start from
/// [`new`](Self::new), [`from_der`](Self::from_der) or `webpki_roots`.
///
/// A clone is cheap: it shares the sets that neither of the two changes.
#[derive(Clone, Debug)]
pub struct Trust {
    sets: HashMap<RootsId, Arc<Set>>,
    crlite: Option<Crlite>,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    generation: Generation,
}

#[derive(Clone, Debug, Default)]
struct Set {
    roots: Anchors,
    crls: Crls,
    wanted: Wanted,
}

impl Trust {
    /// Trusts these roots, such as those of the `webpki-roots` crate, in the set `public`.
    pub fn new(roots: impl IntoIterator<Item = TrustAnchor<'static>>) -> Self {
        let mut trust = Self::empty();
        trust.add_roots(&RootsId::public(), roots);
        trust
    }

    /// Trusts these root certificates, in DER, in the set `public`.
    ///
    /// # Errors
    ///
    /// A [`RootError`] about the first certificate that cannot serve as a root.
    pub fn from_der<'a>(
        roots: impl IntoIterator<Item = &'a CertificateDer<'a>>,
    ) -> Result<Self, RootError> {
        let mut trust = Self::empty();
        for root in roots {
            trust.add_root_der(&RootsId::public(), root)?;
        }
        Ok(trust)
    }

    /// Trusts the roots of Mozilla's program, as compiled into the `webpki-roots` crate, in the set
    /// `public`. They change with updates of that crate only. Needs the feature `webpki-roots`.
    #[cfg(feature = "webpki-roots")]
    pub fn webpki_roots() -> Self {
        Self::new(webpki_roots::TLS_SERVER_ROOTS.iter().cloned())
    }

    /// A trust without any set: no certificate can be judged until roots are added. Signatures may
    /// use every algorithm of the providers that this crate was built with.
    pub fn empty() -> Self {
        Self {
            sets: HashMap::new(),
            crlite: None,
            algorithms: webpki::ALL_VERIFICATION_ALGS,
            generation: Generation::next(),
        }
    }

    /// Replaces the algorithms that signatures of certificates and lists may use, for example by
    /// those of another provider.
    #[must_use]
    pub fn with_algorithms(
        self,
        algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    ) -> Self {
        Self { algorithms, generation: Generation::next(), ..self }
    }

    /// Adds roots, such as those of the `webpki-roots` crate, to the set of this name.
    pub fn add_roots(
        &mut self,
        id: &RootsId,
        roots: impl IntoIterator<Item = TrustAnchor<'static>>,
    ) {
        let set = self.set(id);
        roots.into_iter().for_each(|root| set.roots.add(root));
    }

    /// Adds a root certificate to the set of this name. Its dates and its own signature do not
    /// matter (RFC 5280, section 6.1.1 (d)).
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
            let (field, offset) = match x509::first_fault(root) {
                Some((field, offset)) => (field, Some(offset)),
                None => (field, None),
            };
            RootError { what, field: field.as_str(), offset }
        })?;
        self.set(id).roots.add_certificate(anchor.to_owned(), root.clone().into_owned());
        Ok(())
    }

    /// Removes the roots of this set. The set stays, without roots: until there are some again, no
    /// certificate can be judged by it ([`Reason::RootsMissing`](crate::Reason::RootsMissing)).
    pub fn clear_roots(&mut self, id: &RootsId) {
        self.set(id).roots = Anchors::default();
    }

    /// Adds a revocation list to the set of this name. Several lists of one issuer count together:
    /// a certificate is revoked if any of them lists it, and known to be good if a current one
    /// covers it.
    ///
    /// # Errors
    ///
    /// As [`Crl::from_der`].
    pub fn add_crl_der(&mut self, id: &RootsId, crl: &[u8]) -> Result<(), CrlError> {
        self.add_crl(id, Arc::new(Crl::from_der(crl)?));
        Ok(())
    }

    /// Adds a list that was parsed before, for example for several sets.
    pub fn add_crl(&mut self, id: &RootsId, crl: Arc<Crl>) {
        self.set(id).crls.add(crl);
    }

    /// Puts a newer revocation list in the place of its predecessors: those of the same issuer that
    /// speak for the same certificates ([`Crl::is_of_the_same_kind`]) and that the same key signed.
    /// If there are none, the list is added. The other lists stay as they are, parsed and verified.
    ///
    /// The issuer's keys are those of the roots with its name, and those that judgements have
    /// found. If none is known, the caller vouches for the list, and up to four lists stay side by
    /// side.
    ///
    /// # Errors
    ///
    /// A [`ReplaceError`], and nothing is changed: the list cannot be used, a predecessor is newer,
    /// or none of the issuer's known keys signed it. To go back to an older list, call
    /// [`clear_crls`](Self::clear_crls) first.
    pub fn replace_crl(&mut self, id: &RootsId, crl: Arc<Crl>) -> Result<Replaced, ReplaceError> {
        self.replace(id, crl, None, None)
    }

    /// Replaces the predecessors of a list that was fetched because it was [wanted](Self::wanted).
    /// It must be signed by the key that the judged chains show, so that a forger on the way of an
    /// unprotected fetch cannot put a list in.
    ///
    /// # Errors
    ///
    /// A [`ReplaceError`], and nothing is changed: as [`replace_crl`](Self::replace_crl),
    /// [`ReplaceError::Signature`] also for a list of another issuer, and
    /// [`ReplaceError::Expired`].
    pub fn replace_wanted_crl(
        &mut self,
        wanted: &WantedList,
        crl: Arc<Crl>,
        now: UnixTime,
    ) -> Result<Replaced, ReplaceError> {
        if *crl.issuer_name() != wanted.point.issuer {
            return Err(ReplaceError::Signature);
        }
        self.replace(&wanted.roots, crl, Some(&wanted.point.key), Some(now))
    }

    /// Puts back a list that [`replace_wanted_crl`](Self::replace_wanted_crl) took in an earlier
    /// run of the program, which vouches for it.
    ///
    /// # Errors
    ///
    /// As [`replace_crl`](Self::replace_crl), and [`ReplaceError::Expired`]; nothing is changed.
    pub fn restore_fetched_crl(
        &mut self,
        id: &RootsId,
        crl: Arc<Crl>,
        now: UnixTime,
    ) -> Result<Replaced, ReplaceError> {
        self.replace(id, crl, None, Some(now))
    }

    /// Removes the lists that were fetched, have expired at this time, and are not
    /// [wanted](Self::wanted) any more: they would only make the next certificate fail that they
    /// cover. Lists that an administrator loaded stay, and those by which they were replaced.
    /// Returns whether a list was removed.
    pub fn drop_expired_crls(&mut self, now: UnixTime) -> bool {
        self.drop_lists(|set| set.crls.unwanted(&set.wanted, now, |crl| crl.next_update() <= now))
    }

    /// Octets of memory that the lists take which were fetched. Those that an administrator loaded,
    /// and those by which they were replaced, do not count.
    pub fn fetched_crl_memory(&self) -> usize {
        let lists = self.sets.values().flat_map(|set| set.crls.iter());
        lists.filter(|crl| crl.was_only_fetched()).map(|crl| crl.memory()).sum()
    }

    /// Removes lists that were fetched and are not [wanted](Self::wanted) any more, those that
    /// expire first before the others, until the fetched ones take at most this many octets of
    /// [memory](Self::fetched_crl_memory). Lists that are wanted stay, also if they take more. A
    /// list that was restored after a restart is wanted once a judgement has named it. Returns
    /// whether a list was removed.
    pub fn drop_unwanted_crls(&mut self, max_memory: usize, now: UnixTime) -> bool {
        let mut excess = self.fetched_crl_memory().saturating_sub(max_memory);
        if excess == 0 {
            return false;
        }
        let of_set = |set: &Arc<Set>| set.crls.unwanted(&set.wanted, now, |_| true);
        let mut unwanted: Vec<_> = self.sets.values().flat_map(of_set).collect();
        unwanted.sort_by_key(|crl| crl.next_update());
        unwanted.retain(|crl| {
            let goes = excess > 0;
            excess = excess.saturating_sub(crl.memory());
            goes
        });
        let goes = |crl: &Arc<Crl>| unwanted.iter().any(|gone| Arc::ptr_eq(gone, crl));
        self.drop_lists(|set| set.crls.iter().filter(|crl| goes(crl)).cloned().collect())
    }

    /// Removes these lists of each set. Returns whether there are any.
    fn drop_lists(&mut self, of: impl Fn(&Set) -> Vec<Arc<Crl>>) -> bool {
        let gone = |(id, set): (&RootsId, &Arc<Set>)| {
            let gone = of(set);
            (!gone.is_empty()).then(|| (id.clone(), set.crls.without(&gone)))
        };
        let changed: Vec<_> = self.sets.iter().filter_map(gone).collect();
        let is_changed = !changed.is_empty();
        for (id, crls) in changed {
            self.set(&id).crls = crls;
        }
        is_changed
    }

    fn replace(
        &mut self,
        id: &RootsId,
        crl: Arc<Crl>,
        known: Option<&[u8]>,
        fetched_at: Option<UnixTime>,
    ) -> Result<Replaced, ReplaceError> {
        let none = Anchors::default();
        let mut crls = self.lists(id).cloned().unwrap_or_default();
        let roots = self.anchors(id).unwrap_or(&none);
        let replaced = crls.replace(crl, known, fetched_at, roots, self.algorithms)?;
        if replaced != Replaced::Unchanged {
            self.set(id).crls = crls;
        }
        Ok(replaced)
    }

    /// Removes the revocation lists of this set.
    pub fn clear_crls(&mut self, id: &RootsId) {
        self.set(id).crls = Crls::default();
    }

    /// Puts the roots and the lists of another trust in the place of those that an administrator
    /// has loaded here, for example after the files have changed. Sets that the other one does not
    /// have are removed.
    ///
    /// What was fetched stays: the lists of sets that remain, and the newer ones that have replaced
    /// a list that is loaded again. The lists that judgements want, CRLite and the algorithms stay
    /// too. If nothing has changed, the [generation](Self::generation) stays, and sessions with it.
    pub fn reload(&mut self, loaded: Self) {
        let is_gone = |id: &&RootsId| !loaded.sets.contains_key(*id);
        let gone: Vec<_> = self.sets.keys().filter(is_gone).cloned().collect();
        for id in gone {
            self.generation = Generation::next();
            self.sets.remove(&id);
        }
        for (id, new) in loaded.sets {
            let Set { roots, crls, .. } = Arc::unwrap_or_clone(new);
            let old = self.sets.get(&id);
            let (crls, is_changed) = match old {
                Some(old) => old.crls.reloaded(crls, self.algorithms),
                None => (crls, true),
            };
            if is_changed || old.is_none_or(|old| old.roots != roots) {
                let set = self.set(&id);
                (set.roots, set.crls) = (roots, crls);
            }
        }
    }

    /// Consults CRLite beside the lists of every set, or with `None` no more. See [`Crlite`].
    pub fn set_crlite(&mut self, crlite: Option<Crlite>) {
        self.generation = Generation::next();
        self.crlite = crlite;
    }

    /// CRLite, if it is consulted.
    pub fn crlite(&self) -> Option<&Crlite> {
        self.crlite.as_ref()
    }

    fn set(&mut self, id: &RootsId) -> &mut Set {
        // What was cached for the store as it was no longer holds.
        self.generation = Generation::next();
        Arc::make_mut(self.sets.entry(id.clone()).or_default())
    }

    /// The roots of this name; empty if there is no such set, or if it has no roots.
    pub fn roots(&self, id: &RootsId) -> &[TrustAnchor<'static>] {
        self.anchors(id).map_or(&[], Anchors::list)
    }

    /// The roots of this name, with an index by subject.
    pub(crate) fn anchors(&self, id: &RootsId) -> Option<&Anchors> {
        self.sets.get(id).map(|set| &set.roots)
    }

    /// The names of the sets that have roots, in order.
    pub fn names(&self) -> Vec<&RootsId> {
        let with_roots = self.sets.iter().filter(|(_, set)| !set.roots.is_empty());
        let mut names: Vec<_> = with_roots.map(|(id, _)| id).collect();
        names.sort_unstable();
        names
    }

    /// The revocation lists that go with the roots of this name, in no order.
    pub fn crls(&self, id: &RootsId) -> impl Iterator<Item = &Arc<Crl>> {
        self.lists(id).into_iter().flat_map(Crls::iter)
    }

    /// The same by issuer.
    pub(crate) fn lists(&self, id: &RootsId) -> Option<&Crls> {
        self.sets.get(id).map(|set| &set.crls)
    }

    /// The revocation lists that judged chains name, and when each is due, the most urgent first:
    /// what a task should fetch and give to
    /// [`replace_wanted_crl`](Self::replace_wanted_crl). A list is wanted
    /// for [`WANTED_FOR`](crate::pki::WANTED_FOR) after the last judgement that names it, and a set
    /// of roots has at most [`MAX_WANTED_LISTS`](crate::pki::MAX_WANTED_LISTS). Judgements under
    /// [`Revocation::Off`](crate::pki::Revocation::Off) name no lists.
    ///
    /// A list is found among those that are loaded by its issuer and distribution point.
    pub fn wanted(&self, now: UnixTime) -> Vec<WantedList> {
        let mut all = Vec::new();
        for (id, set) in &self.sets {
            all.extend(set.wanted.points(now).into_iter().map(|point| {
                let dates = set.crls.dates_of(&point.issuer, &point.key, &point.urls);
                WantedList::new(id.clone(), point, dates)
            }));
        }
        all.sort_unstable_by(|a, b| (a.due, &a.roots, &a.urls).cmp(&(b.due, &b.roots, &b.urls)));
        all
    }

    /// Whether this list is loaded now and has not expired.
    pub fn has_current(&self, wanted: &WantedList, now: UnixTime) -> bool {
        let (crls, point) = (self.lists(&wanted.roots), &wanted.point);
        let dates = crls.and_then(|it| it.dates_of(&point.issuer, &point.key, &point.urls));
        dates.is_some_and(|(_, next_update)| now < next_update)
    }

    /// Where judgements by these roots record the lists that they want.
    pub(crate) fn wanted_of(&self, id: &RootsId) -> Option<&Wanted> {
        self.sets.get(id).map(|set| &set.wanted)
    }

    /// The names of the sets that have revocation lists, in order.
    pub fn list_sets(&self) -> Vec<&RootsId> {
        let with_lists = self.sets.iter().filter(|(_, set)| !set.crls.is_empty());
        let mut names: Vec<_> = with_lists.map(|(id, _)| id).collect();
        names.sort_unstable();
        names
    }

    /// The loaded lists that match no known issuer, and so have had no effect: the issuer is none
    /// of the roots of this set, and no certificate of that issuer was judged since.
    pub fn unmatched_lists<'a>(
        &'a self,
        id: &RootsId,
    ) -> impl Iterator<Item = &'a Arc<Crl>> + use<'a> {
        self.sets.get(id).into_iter().flat_map(|set| set.crls.unmatched(set.roots.names()))
    }

    /// The signature algorithms that certificates and revocation lists may use.
    pub fn algorithms(&self) -> &'static [&'static dyn SignatureVerificationAlgorithm] {
        self.algorithms
    }

    /// A number that no trust with other contents has had in this process.
    pub fn generation(&self) -> Generation {
        self.generation
    }
}
