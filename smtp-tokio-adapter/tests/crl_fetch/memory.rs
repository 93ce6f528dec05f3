//! The memory that fetched lists take.

use pki_types::{CertificateDer, UnixTime};
use smtp_tls_policy::Reason;
use smtp_tls_policy::pki::{Replaced, Revocation, RootsId};
use smtp_tokio_adapter::revocation::{CrlFetchError, CrlFetcher, FetchedList};

use crate::common::log::Log;
use crate::web::Answer;
use crate::world::{Folder, World, connector, in_seconds, judge};

const DAY: u64 = 24 * 3600;
/// The hours of lists that last longer than lists are wanted.
const LONG: (i64, i64) = (1, 24 * 60);

/// Two certificates, with a list each of a hundred entries.
async fn two_lists() -> (World, [CertificateDer<'static>; 2]) {
    let world = World::new(&["/1.crl"]).await;
    let serials: Vec<u64> = (1000..1100).collect();
    for path in ["/1.crl", "/2.crl"] {
        let url = world.web.url(path);
        world.web.answer(path, Answer::List(world.root.list(1, &serials, LONG, &url)));
    }
    let other = world.root.leaf_of(43, &[world.web.url("/2.crl")]).cert[0].clone();
    let leaves = [world.leaf.clone(), other];
    (world, leaves)
}

impl World {
    /// Judges a certificate by the rule `hard`, which wants its list.
    fn judge_leaf(&self, leaf: &CertificateDer<'static>, now: UnixTime) -> Reason {
        judge(leaf, &connector(Revocation::Hard), &self.trust, now)
    }

    /// Octets of memory that the loaded lists take.
    fn memory(&self) -> usize {
        self.trust.load().fetched_crl_memory()
    }
}

/// The one list that a refresh fetches.
async fn fetched(fetcher: &CrlFetcher, now: UnixTime) -> FetchedList {
    let mut all = fetcher.refresh(now).await;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[tokio::test]
async fn list_without_room_is_refused_and_takes_the_place_of_one_that_is_not_wanted_any_more() {
    let (log, _guard) = Log::record();
    let (folder, (world, [first, second])) = (Folder::new("crl-fetch-room"), two_lists().await);
    let fetcher = world.fetcher().with_directory(&folder.0);
    world.judge_leaf(&first, UnixTime::now());
    assert!(fetched(&fetcher, UnixTime::now()).await.outcome.is_ok());
    assert_eq!(world.judge_leaf(&first, UnixTime::now()), Reason::TlsOk);
    let limit = world.memory() * 3 / 2;
    let fetcher = fetcher.with_max_memory(limit);

    // Both are wanted.
    assert_eq!(world.judge_leaf(&second, UnixTime::now()), Reason::RevocationUnknown);
    let refused = fetched(&fetcher, UnixTime::now()).await;
    let error = refused.outcome.unwrap_err();
    let CrlFetchError::NoRoom { needed, limit: told } = error else { panic!("{error}") };
    // Their signatures may differ by an octet or two.
    assert_eq!(told, limit);
    assert!((limit + 1..3 * world.memory()).contains(&needed), "{needed}");
    assert_eq!(log.with("crl-fetch-no-room").len(), 1);
    assert_eq!(world.judge_leaf(&first, UnixTime::now()), Reason::TlsOk);
    assert_eq!(world.judge_leaf(&second, UnixTime::now()), Reason::RevocationUnknown);
    assert!(world.memory() <= limit);
    assert_eq!(folder.files("crl").len(), 1);

    // After two weeks no chain names the first.
    let later = in_seconds(15 * DAY);
    world.judge_leaf(&second, later);
    assert_eq!(fetched(&fetcher, later).await.outcome.unwrap(), Replaced::Added);
    assert_eq!(world.judge_leaf(&second, later), Reason::TlsOk);
    assert!(world.memory() <= limit);
    assert_eq!(world.trust.load().crls(&RootsId::public()).count(), 1);
    assert_eq!(folder.files("crl").len(), 1);
}

/// An authority must not take its old list away by one that is too long.
#[tokio::test]
async fn newer_list_without_room_leaves_the_older_one_in_its_place() {
    let (world, [leaf, _]) = two_lists().await;
    world.judge_leaf(&leaf, UnixTime::now());
    world.fetcher().refresh(UnixTime::now()).await;
    let (url, serials) = (world.web.url("/1.crl"), (1000..3000).collect::<Vec<_>>());
    world.web.answer("/1.crl", Answer::List(world.root.list(2, &serials, (0, 24 * 60), &url)));
    let later = in_seconds(50 * DAY);
    world.judge_leaf(&leaf, later);
    let before = world.memory();
    let fetcher = world.fetcher().with_max_memory(2 * before);
    let error = fetched(&fetcher, later).await.outcome.unwrap_err();
    assert!(matches!(error, CrlFetchError::NoRoom { .. }), "{error}");
    assert_eq!((world.memory(), world.judge_leaf(&leaf, later)), (before, Reason::TlsOk));
}

/// After a restart it is not known yet which lists are wanted.
#[tokio::test]
async fn of_kept_lists_those_are_loaded_that_have_room_and_the_files_of_the_others_stay() {
    let (folder, (world, leaves)) = (Folder::new("crl-fetch-room-kept"), two_lists().await);
    for leaf in &leaves {
        assert_eq!(world.judge_leaf(leaf, UnixTime::now()), Reason::RevocationUnknown);
    }
    world.fetcher().with_directory(&folder.0).refresh(UnixTime::now()).await;
    let all = world.memory();
    let (trust, fetcher) = world.restart(&folder);
    let fetcher = fetcher.with_max_memory(all - 1);
    assert_eq!(fetcher.load(UnixTime::now()).await.unwrap(), 1);
    assert!((all / 3..all * 2 / 3).contains(&trust.load().fetched_crl_memory()));
    assert_eq!(folder.files("crl").len(), 2);
    let (trust, fetcher) = world.restart(&folder);
    assert_eq!(fetcher.load(UnixTime::now()).await.unwrap(), 2);
    assert_eq!(trust.load().fetched_crl_memory(), all);
}
