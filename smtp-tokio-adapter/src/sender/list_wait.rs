//! The wait of a delivery for revocation lists that are missing.

use smtp_tls_policy::judge::Verdict;
use smtp_tls_policy::plan::Plan;
use tokio::time::Instant;

use crate::client::outbound::Outbound;

/// The wait of one delivery at one address. The first list that is missing begins it, and it never
/// begins again.
#[derive(Default)]
pub(super) struct ListWait {
    deadline: Option<Instant>,
}

impl ListWait {
    /// Waits for the lists without which this verdict could not be reached, if the plan says so and
    /// there is time left. Returns whether one of them is loaded now, so that the peer can be
    /// judged again.
    pub(super) async fn is_worth_while(
        &mut self,
        outbound: &Outbound,
        plan: &Plan,
        verdict: &Verdict,
    ) -> bool {
        let (Some(fetcher), Some((missing, limit)), Some(now)) =
            (&outbound.fetcher, plan.awaited_lists(verdict), outbound.tls.now())
        else {
            return false;
        };
        let begun = Instant::now();
        let deadline = *self.deadline.get_or_insert(begun + limit);
        if begun >= deadline {
            return false;
        }
        let urls: Vec<_> = missing.iter().flat_map(|list| list.urls.first()).collect();
        tracing::info!(?urls, ?limit, "waits for missing revocation lists");
        let came = fetcher.wait(missing, deadline, now).await;
        tracing::info!(came, waited = ?begun.elapsed(), "the wait for revocation lists is over");
        came
    }
}
