//! Lists that have expired, and what becomes of mail.

use std::sync::Arc;

use pki_types::UnixTime;
use smtp_tls_policy::Reason;
use smtp_tls_policy::pki::{ReplaceError, Replaced, Revocation, RootsId, WANTED_FOR};
use smtp_tokio_adapter::revocation::CrlFetchError;

use crate::web::{Answer, SERIAL};
use crate::world::{Folder, World, in_seconds};

const RULE: Revocation = Revocation::IfConfigured;
const HOUR: u64 = 3600;

/// An attacker between this host and the server can repeat an old list, which is genuine. It must
/// not make certificates fail that pass without a list.
#[tokio::test]
async fn expired_list_that_is_replayed_defers_no_mail() {
    let folder = Folder::new("crl-fetch-replayed");
    let world = World::new(&["/1.crl"]).await;
    let url = world.web.url("/1.crl");
    let fetcher = world.fetcher().with_directory(&folder.0);
    assert_eq!(world.judge_at(RULE, UnixTime::now()), Reason::TlsOk);
    world.web.answer("/1.crl", Answer::List(world.root.list(1, &[], (48, 24), &url)));
    for at in [0, 2 * HOUR] {
        let fetched = fetcher.refresh(in_seconds(at)).await.remove(0);
        let error = fetched.outcome.unwrap_err();
        assert!(matches!(error, CrlFetchError::List(ReplaceError::Expired { .. })), "{error:?}");
        assert_eq!(error.code(), "crl-fetch-expired");
        assert_eq!(world.judge_at(RULE, in_seconds(at)), Reason::TlsOk);
        assert!(folder.files("crl").is_empty());
    }
    world.web.answer("/1.crl", Answer::List(world.root.list(2, &[SERIAL], (1, 25), &url)));
    let fetched = fetcher.refresh(in_seconds(4 * HOUR)).await.remove(0);
    assert!(matches!(fetched.outcome, Ok(Replaced::Added)), "{fetched:?}");
    assert_eq!(world.judge_at(RULE, in_seconds(4 * HOUR)), Reason::CertRevoked);
}

/// After a downtime nothing is wanted yet, so nothing is fetched before the first judgement.
#[tokio::test]
async fn lists_that_expired_while_the_program_was_down_are_not_loaded() {
    let folder = Folder::new("crl-fetch-downtime");
    let world = World::with_wanted_list().await;
    world.fetcher().with_directory(&folder.0).refresh(UnixTime::now()).await;

    let (trust, fetcher) = world.restart(&folder);
    let world = World { trust: Arc::clone(&trust), ..world };
    assert_eq!(fetcher.load(in_seconds(25 * HOUR)).await.unwrap(), 0);
    assert_eq!((folder.files("crl").len(), folder.damaged()), (0, 0));
    assert_eq!(trust.load().crls(&RootsId::public()).count(), 0);
    assert!(fetcher.refresh(in_seconds(25 * HOUR)).await.is_empty());
    assert_eq!(world.judge_at(RULE, in_seconds(25 * HOUR)), Reason::TlsOk);
}

#[tokio::test]
async fn list_that_is_not_wanted_is_dropped_with_its_file_when_it_expires() {
    let folder = Folder::new("crl-fetch-unwanted");
    let world = World::new(&["/1.crl"]).await;
    let url = world.web.url("/1.crl");
    let days = 20;
    world.web.answer("/1.crl", Answer::List(world.root.list(1, &[], (0, 24 * days), &url)));
    world.judge();
    let fetcher = world.fetcher().with_directory(&folder.0);
    fetcher.refresh(UnixTime::now()).await;
    world.web.requests();
    let loaded =
        || (world.trust.load().crls(&RootsId::public()).count(), folder.files("crl").len());

    let not_wanted = WANTED_FOR.as_secs() + HOUR;
    assert!(fetcher.refresh(in_seconds(not_wanted)).await.is_empty());
    assert_eq!(loaded(), (1, 1));
    let expired = in_seconds(24 * 20 * HOUR + 1);
    assert!(fetcher.refresh(expired).await.is_empty());
    assert_eq!((loaded(), world.web.requests()), ((0, 0), 0));
    // The first delivery after that is as at first contact.
    assert_eq!(world.judge_at(RULE, expired), Reason::TlsOk);
}

/// A list that was there and cannot be refreshed is one that the rule asks for: otherwise an
/// attacker who blocks the refresh could let a revoked certificate pass.
#[tokio::test]
async fn expired_list_that_is_wanted_stays_and_fails() {
    let folder = Folder::new("crl-fetch-blocked");
    let world = World::with_wanted_list().await;
    let fetcher = world.fetcher().with_directory(&folder.0);
    fetcher.refresh(UnixTime::now()).await;
    world.web.answer("/1.crl", Answer::Raw(b"HTTP/1.1 404 No\r\n\r\n".to_vec()));
    let expired = in_seconds(26 * HOUR);
    assert!(fetcher.refresh(expired).await[0].outcome.is_err());
    assert_eq!(world.judge_at(RULE, expired), Reason::CrlExpired);
    assert_eq!(folder.files("crl").len(), 1);
}

#[tokio::test]
async fn expired_list_of_the_administrator_is_never_dropped() {
    let folder = Folder::new("crl-fetch-administrator");
    let world = World::new(&["/1.crl"]).await;
    let url = world.web.url("/1.crl");
    let id = RootsId::public();
    world.trust.replace_crl_der(&id, &world.root.list(1, &[], (1, 25), &url)).unwrap();
    // A newer one is fetched in its place.
    world.judge();
    world.web.answer("/1.crl", Answer::List(world.root.list(2, &[], (0, 30), &url)));
    let fetcher = world.fetcher().with_directory(&folder.0);
    fetcher.refresh(in_seconds(20 * HOUR)).await;
    let late = in_seconds(WANTED_FOR.as_secs() + 48 * HOUR);
    assert!(fetcher.refresh(late).await.is_empty());
    assert_eq!((world.trust.load().crls(&id).count(), folder.files("crl").len()), (1, 1));
    assert_eq!(world.judge_at(RULE, late), Reason::CrlExpired);
}
