//! The recipients of an envelope, by domain and connector.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use smallvec::{SmallVec, smallvec};
use smtp_proto::client::{Envelope, Recipient};
use smtp_tls_policy::Host;
use smtp_tls_policy::rules::{OutboundConnector, OutboundConnectors};

/// Most groups of one message that are sent at the same time.
const AT_ONCE: usize = 8;

/// Recipients that share a next hop.
pub(super) struct Group<'a> {
    pub(super) connector: &'a OutboundConnector,
    /// Their domain; that of the first one where a smart host serves several.
    pub(super) domain: Host,
    /// Their indices in the envelope.
    pub(super) indices: SmallVec<[usize; 2]>,
}

/// Most messages have one.
pub(super) type Groups<'a> = SmallVec<[Group<'a>; 1]>;

/// The domain of a recipient; none for `<Postmaster>` and for what is no name of the DNS.
pub(super) fn domain_of(recipient: &Recipient) -> Option<Host> {
    let path = &recipient.path;
    Host::parse(path.mailbox()?.domain().as_str()).ok()
}

/// What the recipients of a group have in common: the name of their connector, and their domain
/// unless the connector has a smart host.
type Common<'a> = (&'a str, Option<Host>);

impl<'a> Group<'a> {
    fn common(&self) -> Common<'a> {
        let own = Some(&self.domain).filter(|_| self.connector.smart_host.is_none());
        (&self.connector.name, own.cloned())
    }

    fn is_for(&self, connector: &OutboundConnector, domain: &Host) -> bool {
        self.connector.name == connector.name
            && (connector.smart_host.is_some() || self.domain == *domain)
    }
}

/// Groups the recipients of these indices by domain, or by connector where that has a smart host;
/// and the indices of recipients without a domain.
pub(super) fn groups<'a>(
    envelope: &Envelope,
    indices: impl Iterator<Item = usize>,
    connectors: &'a OutboundConnectors,
) -> (Groups<'a>, Vec<usize>) {
    let (mut groups, mut strangers) = (Groups::new(), Vec::new());
    // All groups but the last one, which most messages have alone.
    let mut earlier: HashMap<Common<'a>, usize> = HashMap::new();
    for index in indices {
        let Some(domain) = domain_of(&envelope.recipients[index]) else {
            strangers.push(index);
            continue;
        };
        let connector = connectors.find(&domain);
        if let Some(last) = groups.last_mut().filter(|last| last.is_for(connector, &domain)) {
            last.indices.push(index);
            continue;
        }
        let new = Group { connector, domain, indices: smallvec![index] };
        if let Some(last) = groups.last() {
            earlier.insert(last.common(), groups.len() - 1);
            if let Some(&at) = earlier.get(&new.common()) {
                groups[at].indices.push(index);
                continue;
            }
        }
        groups.push(new);
    }
    (groups, strangers)
}

/// Runs futures, a few at the same time, and returns their results in order. Each future is made
/// when its turn comes.
pub(super) async fn all<F: Future + Unpin>(
    futures: impl ExactSizeIterator<Item = F>,
) -> Vec<F::Output> {
    let mut waiting = futures.enumerate();
    let mut results: Vec<Option<F::Output>> = (0..waiting.len()).map(|_| None).collect();
    let mut running: Vec<(usize, F)> = waiting.by_ref().take(AT_ONCE).collect();
    poll_fn(|cx| {
        let mut at = 0;
        while at < running.len() {
            match Pin::new(&mut running[at].1).poll(cx) {
                Poll::Pending => at += 1,
                Poll::Ready(result) => {
                    results[running[at].0] = Some(result);
                    match waiting.next() {
                        Some(next) => running[at] = next,
                        None => drop(running.swap_remove(at)),
                    }
                }
            }
        }
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    results.into_iter().flatten().collect()
}
