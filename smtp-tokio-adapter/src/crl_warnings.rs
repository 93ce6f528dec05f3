//! Warns about loaded revocation lists that have no effect.

use std::sync::{Arc, Mutex, PoisonError};

use smtp_tls_policy::pki::{Crl, Generation, Trust};

/// Finds the loaded lists that match no known issuer, once for each change of the trust.
#[derive(Debug, Default)]
pub(crate) struct ListWatch(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    generation: Option<Generation>,
    /// The lists that the log has named and that still match no issuer.
    warned: Vec<Arc<Crl>>,
}

impl ListWatch {
    /// Looks at the lists if the trust has changed since the last call. Call it after a judgement,
    /// which makes the issuers of the judged chain known.
    pub(crate) fn look(&self, trust: &Trust) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.generation == Some(trust.generation()) {
            return;
        }
        seen.generation = Some(trust.generation());
        let mut warned = Vec::new();
        for roots in trust.list_sets() {
            for list in trust.unmatched_lists(roots) {
                if !seen.warned.iter().any(|before| Arc::ptr_eq(before, list)) {
                    tracing::warn!(
                        %roots,
                        issuer = list.issuer_text(),
                        "a loaded revocation list has no effect: its issuer is no trusted root and \
                         issued no certificate that was judged; check that the list belongs to \
                         this set of roots"
                    );
                }
                warned.push(Arc::clone(list));
            }
        }
        seen.warned = warned;
    }
}
