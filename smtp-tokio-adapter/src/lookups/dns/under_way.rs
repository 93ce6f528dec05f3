//! Questions that are under way: all that ask one of them wait for the same answer.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

/// Answers for which calls wait, by question.
pub(super) struct UnderWay<Q: Eq + Hash, A>(Mutex<HashMap<Q, Arc<OnceCell<A>>>>);

impl<Q: Eq + Hash, A> Default for UnderWay<Q, A> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Q: Clone + Eq + Hash, A: Clone> UnderWay<Q, A> {
    /// Asks this question, or waits for the answer if it is being asked. If the call that asks is
    /// dropped, the next one that waits asks.
    pub(super) async fn ask(&self, question: Q, asking: impl Future<Output = A>) -> A {
        let answer = Arc::clone(self.lock().entry(question.clone()).or_default());
        let waiting = Waiting { under_way: self, question, answer };
        waiting.answer.get_or_init(|| asking).await.clone()
    }
}

impl<Q: Eq + Hash, A> UnderWay<Q, A> {
    fn lock(&self) -> MutexGuard<'_, HashMap<Q, Arc<OnceCell<A>>>> {
        // The map is in order whenever the lock is free.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that waits for an answer.
struct Waiting<'a, Q: Eq + Hash, A> {
    under_way: &'a UnderWay<Q, A>,
    question: Q,
    answer: Arc<OnceCell<A>>,
}

impl<Q: Eq + Hash, A> Drop for Waiting<'_, Q, A> {
    /// A later call is not told this answer, and the map holds no question for which no call waits.
    fn drop(&mut self) {
        let mut questions = self.under_way.lock();
        let is_this = questions.get(&self.question).is_some_and(|it| Arc::ptr_eq(it, &self.answer));
        // The map has one of the two, and each other call that waits has one more.
        if is_this && (self.answer.initialized() || Arc::strong_count(&self.answer) == 2) {
            questions.remove(&self.question);
        }
    }
}
