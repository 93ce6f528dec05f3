//! A list as long as the longest that public authorities have.

use std::sync::Arc;

use pki_types::UnixTime;
use smtp_tls_policy::Reason;
use smtp_tls_policy::pki::{Replaced, Revocation, RootsId};
use smtp_tokio_adapter::revocation::CrlFetchError;

use crate::web::{Answer, SERIAL};
use crate::world::{World, connector, judge};

const ENTRIES: u64 = 1_000_000;
/// Octets of memory for an entry beside the list itself, while it is read: 24 of the table that
/// stays, and 12 for the places of the entries (`Crl`).
const READING: usize = 36;
/// What else this process may need meanwhile: buffers, other tests, what its allocator keeps.
const REST: usize = 16 << 20;

/// The most memory that this process has had since the last call, and what it has now, in octets;
/// `None` where the system does not say.
fn peak_and_current() -> Option<(usize, usize)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| -> Option<usize> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok().map(|count| count << 10)
    };
    let found = (field("VmHWM:")?, field("VmRSS:")?);
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    Some(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn list_of_a_million_entries_is_fetched_and_used_and_a_longer_one_is_refused() {
    let world = World::new(&["/1.crl"]).await;
    let url = world.web.url("/1.crl");
    let good = world.root.leaf_of(SERIAL + ENTRIES, std::slice::from_ref(&url)).cert[0].clone();
    let serials: Vec<u64> = (SERIAL..SERIAL + ENTRIES).collect();
    let list: Arc<[u8]> = world.root.list(1, &serials, (1, 25), &url).into();
    drop(serials);
    world.web.answer("/1.crl", Answer::Long(Arc::clone(&list)));
    world.judge();

    // One octet too long: refused before all of it is read, and nothing is changed.
    let generation = world.trust.generation();
    let limited = world.fetcher().with_max_list_len(list.len() - 1);
    let error = limited.refresh(UnixTime::now()).await.remove(0).outcome.unwrap_err();
    assert!(matches!(error, CrlFetchError::TooLong(limit) if limit == list.len() - 1), "{error:?}");
    assert_eq!(error.code(), "crl-fetch-too-long");
    assert_eq!(world.trust.generation(), generation);

    let before = peak_and_current();
    let fetcher = world.fetcher().with_max_list_len(list.len());
    let fetched = fetcher.refresh(UnixTime::now()).await.remove(0);
    let after = peak_and_current();
    assert!(matches!(fetched.outcome, Ok(Replaced::Added)), "{fetched:?}");
    assert_eq!(world.trust.load().crls(&RootsId::public()).next().unwrap().len(), 1_000_000);
    let rule = connector(Revocation::Hard);
    assert_eq!(world.judge(), Reason::CertRevoked);
    assert_eq!(judge(&good, &rule, &world.trust, UnixTime::now()), Reason::TlsOk);

    if let (Some((_, before)), Some((peak, _))) = (before, after) {
        // As it came, and as it is kept.
        let limit = 2 * list.len() + READING * 1_000_000 + REST;
        let peak = peak.saturating_sub(before);
        assert!(
            peak <= limit,
            "{peak} octets at once for a list of {}; {limit} are allowed",
            list.len()
        );
    }
}
