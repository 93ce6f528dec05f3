//! Roots and revocation lists that are replaced while handshakes run.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::pki::crl::Crl;
use crate::pki::revocation::{ReplaceError, Replaced};
use crate::pki::roots::RootsId;
use crate::pki::trust::{Current, Trust, TrustStore};
use crate::pki::wanted::WantedList;

/// A [`Trust`] that can be replaced at any time, as by a task that fetches revocation lists.
///
/// Whoever judges reads one pointer, without a lock, and keeps the trust that it found until the judgement is made. Whoever
/// changes something copies the trust, in which everything that stays is shared, changes the copy, and puts it in
/// place; changes wait for each other, and for nobody else. Each change has a generation of its own, so that TLS
/// configurations and sessions of before are not used again.
///
/// ```
/// use std::sync::Arc;
/// use smtp_tls_policy::pki::{LiveTrust, ReplaceError, Replaced, RootsId, Trust, TrustStore};
///
/// let live = Arc::new(LiveTrust::new(Trust::webpki_roots()));
/// let shared: Arc<dyn TrustStore> = live.clone(); // for the adapter, for `ClientTls`, for `admit`
/// let before = shared.current().generation();
///
/// let fetched = b"not a list";
/// let error = live.replace_crl_der(&RootsId::public(), fetched).unwrap_err();
/// assert!(matches!(error, ReplaceError::Crl(_)));
/// assert_eq!(shared.current().generation(), before);
///
/// live.update(|trust| trust.clear_crls(&RootsId::public()));
/// assert_ne!(shared.current().generation(), before);
/// ```
pub struct LiveTrust {
    current: ArcSwap<Trust>,
    /// Held by whoever changes something, never by who judges.
    change: Mutex<()>,
}

impl LiveTrust {
    /// Begins with this.
    pub fn new(trust: Trust) -> Self {
        Self { current: ArcSwap::from_pointee(trust), change: Mutex::new(()) }
    }

    /// The trust that holds now, to keep.
    pub fn load(&self) -> Arc<Trust> {
        self.current.load_full()
    }

    /// Changes a copy, and puts it in place when all is done: several changes become visible at once.
    pub fn update<R>(&self, change: impl FnOnce(&mut Trust) -> R) -> R {
        match self.try_update(|trust| Ok::<_, Infallible>(change(trust))) {
            Ok(done) => done,
        }
    }

    /// The same for changes that may fail: then nothing is changed at all.
    ///
    /// # Errors
    ///
    /// That of the change.
    pub fn try_update<R, E>(
        &self,
        change: impl FnOnce(&mut Trust) -> Result<R, E>,
    ) -> Result<R, E> {
        // Nothing is half-way when a change panics: the copy is dropped.
        let _waiting = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current.load_full();
        let mut trust = Trust::clone(&before);
        let done = change(&mut trust)?;
        if trust.generation() != before.generation() {
            self.current.store(Arc::new(trust));
        }
        Ok(done)
    }

    /// Parses a revocation list and puts it in the place of its predecessors, as [`Trust::replace_crl`] does.
    ///
    /// # Errors
    ///
    /// A [`ReplaceError`]; the lists that are there stay.
    pub fn replace_crl_der(&self, id: &RootsId, crl: &[u8]) -> Result<Replaced, ReplaceError> {
        // A long list takes its time: nobody waits for that.
        let crl = Arc::new(Crl::from_der(crl)?);
        self.try_update(|trust| trust.replace_crl(id, crl))
    }
}

impl LiveTrust {
    /// Parses a revocation list that was fetched because it was wanted, and replaces its predecessors,
    /// as [`Trust::replace_wanted_crl`] does.
    ///
    /// # Errors
    ///
    /// A [`ReplaceError`]; the lists that are there stay.
    pub fn replace_wanted_crl_der(
        &self,
        wanted: &WantedList,
        crl: &[u8],
    ) -> Result<Replaced, ReplaceError> {
        let crl = Arc::new(Crl::from_der(crl)?);
        self.try_update(|trust| trust.replace_wanted_crl(wanted, crl))
    }
}

impl TrustStore for LiveTrust {
    fn current(&self) -> Current<'_> {
        self.load().into()
    }
}

impl fmt::Debug for LiveTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LiveTrust").field(&*self.current.load()).finish()
    }
}
