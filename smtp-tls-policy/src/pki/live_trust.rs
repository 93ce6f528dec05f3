//! Roots and revocation lists that are replaced while handshakes run.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::pki::crl::Crl;
use crate::pki::revocation::{ReplaceError, Replaced};
use crate::pki::roots::RootsId;
use crate::pki::trust::{Generation, Trust};

/// A [`Trust`] that can be replaced at any time, for example by a task that fetches revocation
/// lists. Handshakes judge by one; a program that changes nothing passes its trust, which converts.
///
/// [`load`](Self::load) reads one pointer without a lock, and a judgement uses the trust that it
/// found until it ends. A change copies the trust, which shares all that stays, changes the copy,
/// and replaces the trust by it. Changes wait for each other only. Each change has a generation of
/// its own, so earlier TLS configurations and sessions are not used again.
///
/// ```
/// use std::sync::Arc;
/// use smtp_tls_policy::pki::{LiveTrust, ReplaceError, RootsId, Trust};
///
/// let live: Arc<LiveTrust> = Trust::webpki_roots().into();
/// let shared = Arc::clone(&live); // for the adapter, or for `ClientTls`
/// let before = shared.generation();
///
/// let fetched = b"not a list";
/// let error = live.replace_crl_der(&RootsId::public(), fetched).unwrap_err();
/// assert!(matches!(error, ReplaceError::Crl(_)));
/// assert_eq!(shared.generation(), before);
///
/// live.update(|trust| trust.clear_crls(&RootsId::public()));
/// assert_ne!(shared.generation(), before);
/// ```
pub struct LiveTrust {
    current: ArcSwap<Trust>,
    /// Held during a change, never during a judgement.
    change: Mutex<()>,
}

impl LiveTrust {
    /// Begins with this trust.
    pub fn new(trust: Trust) -> Self {
        Self { current: ArcSwap::from_pointee(trust), change: Mutex::new(()) }
    }

    /// The current trust, to keep.
    pub fn load(&self) -> Arc<Trust> {
        self.current.load_full()
    }

    /// The generation of the current trust. Costs less than [`load`](Self::load).
    pub fn generation(&self) -> Generation {
        self.current.load().generation()
    }

    /// Changes a copy and then replaces the trust by it, so that several changes become visible at
    /// once.
    pub fn update<R>(&self, change: impl FnOnce(&mut Trust) -> R) -> R {
        match self.try_update(|trust| Ok::<_, Infallible>(change(trust))) {
            Ok(done) => done,
        }
    }

    /// The same for a change that may fail: in that case the trust stays as it is.
    ///
    /// # Errors
    ///
    /// The error of the change.
    pub fn try_update<R, E>(
        &self,
        change: impl FnOnce(&mut Trust) -> Result<R, E>,
    ) -> Result<R, E> {
        // If a change panics, the copy is dropped and the trust is whole.
        let _waiting = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current.load_full();
        let mut trust = Trust::clone(&before);
        let done = change(&mut trust)?;
        if trust.generation() != before.generation() {
            self.current.store(Arc::new(trust));
        }
        Ok(done)
    }

    /// Parses a revocation list and replaces its predecessors by it, as [`Trust::replace_crl`]
    /// does.
    ///
    /// # Errors
    ///
    /// A [`ReplaceError`]; the loaded lists stay.
    pub fn replace_crl_der(&self, id: &RootsId, crl: &[u8]) -> Result<Replaced, ReplaceError> {
        // A long list takes time to parse: other changes need not wait for that.
        let crl = Arc::new(Crl::from_der(crl)?);
        self.try_update(|trust| trust.replace_crl(id, crl))
    }
}

/// Shares a trust, which the holders of the `Arc` can replace.
impl From<Trust> for Arc<LiveTrust> {
    fn from(trust: Trust) -> Self {
        Self::new(LiveTrust::new(trust))
    }
}

impl fmt::Debug for LiveTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LiveTrust").field(&*self.current.load()).finish()
    }
}
