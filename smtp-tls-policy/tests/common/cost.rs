//! The cost of hostile input, in counts that are the same on a busy machine.

use std::cell::Cell;
use std::sync::mpsc;
use std::time::Duration;

use pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};
use smtp_tls_policy::judge;
use smtp_tls_policy::pki::Trust;

/// The most signatures that one check of a chain may verify: the budgets of the path builder and of
/// revocation lists, and one for each certificate to see whether it signs itself.
pub(crate) const MAX_SIGNATURES: usize = 100 + 16 + judge::MAX_CHAIN_LEN;

thread_local! {
    static VERIFIED: Cell<usize> = const { Cell::new(0) };
}

/// An algorithm that counts the signatures that it verifies.
#[derive(Debug)]
struct Counting(&'static dyn SignatureVerificationAlgorithm);

impl SignatureVerificationAlgorithm for Counting {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        VERIFIED.set(VERIFIED.get() + 1);
        self.0.verify_signature(public_key, message, signature)
    }
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.0.public_key_alg_id()
    }
    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.0.signature_alg_id()
    }
}

/// The same trust, whose signatures are counted.
pub(crate) fn counting(trust: Trust) -> Trust {
    let counting = |inner: &&'static dyn SignatureVerificationAlgorithm| {
        &*Box::leak(Box::new(Counting(*inner))) as &'static dyn SignatureVerificationAlgorithm
    };
    let all: Vec<_> = webpki::ALL_VERIFICATION_ALGS.iter().map(counting).collect();
    trust.with_algorithms(all.leak())
}

/// The signatures that this thread verifies in this work.
pub(crate) fn signatures<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = VERIFIED.get();
    let done = work();
    (done, VERIFIED.get() - before)
}

/// Runs work that takes seconds if its cost is linear, and hours if it is quadratic. The limit only
/// turns a test that hangs into one that fails.
pub(crate) fn ends<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    const HANG: Duration = Duration::from_secs(600);
    let (tell, told) = mpsc::channel();
    let thread = std::thread::spawn(move || tell.send(work()));
    match told.recv_timeout(HANG) {
        Ok(done) => done,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what}: no end"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().unwrap_err())
        }
    }
}
