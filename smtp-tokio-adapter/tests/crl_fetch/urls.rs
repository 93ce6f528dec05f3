//! One list at several URLs, and several lists of one issuer.

use std::sync::Arc;

use pki_types::UnixTime;
use smtp_tls_policy::Reason;
use smtp_tls_policy::pki::{ReplaceError, Replaced, Revocation, RootsId};
use smtp_tls_policy::plan::DnsStatus;
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::revocation::CrlFetchError;
use smtp_tokio_adapter::test_kit::Pki;

use crate::web::{Answer, Authority, SERIAL};
use crate::world::{World, connector, in_seconds, judge};

const HOUR: u64 = 3600;

fn raw(text: &str) -> Answer {
    Answer::Raw(text.as_bytes().to_vec())
}

/// The server of the first URL, whatever it answers, cannot keep the others from being asked.
#[tokio::test]
async fn first_url_that_answers_badly_does_not_hide_the_second() {
    type Bad = fn(&World, &str) -> Answer;
    let cases: [(&str, Bad); 4] = [
        ("404", |_, _| raw("HTTP/1.1 404 No\r\n\r\n")),
        ("a page", |_, _| raw("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")),
        ("a forged list", |_, url| Answer::List(Authority(Pki::new()).list(9, &[], (1, 25), url))),
        ("an expired list", |world, url| Answer::List(world.root.list(1, &[], (48, 24), url))),
    ];
    for (name, bad) in cases {
        let world = World::new(&["/bad.crl", "/good.crl"]).await;
        let (bad_url, url) = (world.web.url("/bad.crl"), world.web.url("/good.crl"));
        world.web.answer("/bad.crl", bad(&world, &bad_url));
        world.web.answer("/good.crl", Answer::List(world.root.list(2, &[], (1, 25), &url)));
        world.judge();
        let fetched = world.fetcher().refresh(UnixTime::now()).await.remove(0);
        assert_eq!(fetched.url, url, "{name}");
        assert!(matches!(fetched.outcome, Ok(Replaced::Added)), "{name}: {fetched:?}");
        assert_eq!(world.judge(), Reason::TlsOk, "{name}");
    }
}

#[tokio::test]
async fn first_url_that_is_stale_does_not_hide_the_second() {
    let world = World::new(&["/stale.crl", "/fresh.crl"]).await;
    let url = world.web.url("/fresh.crl");
    let list = |number, (age, life)| Answer::List(world.root.list(number, &[], (age, life), &url));
    let first = list(1, (1, 25));
    world.web.answer("/stale.crl", first.clone());
    world.judge();
    let fetcher = world.fetcher();
    fetcher.refresh(UnixTime::now()).await;
    assert_eq!(world.web.requests(), 1);

    // The same once more, and one that is older still.
    world.web.answer("/fresh.crl", list(2, (0, 48)));
    let fetched = fetcher.refresh(in_seconds(18 * HOUR)).await.remove(0);
    assert_eq!((fetched.url, world.web.requests()), (url.clone(), 2));
    assert!(matches!(fetched.outcome, Ok(Replaced::Replaced)), "{:?}", fetched.outcome);
    world.web.answer("/fresh.crl", list(3, (0, 72)));
    let fetched = fetcher.refresh(in_seconds(40 * HOUR)).await.remove(0);
    assert_eq!(fetched.url, url);
    assert!(matches!(fetched.outcome, Ok(Replaced::Replaced)), "{:?}", fetched.outcome);

    // What is best counts, and the last of equals.
    world.web.answer("/fresh.crl", raw("HTTP/1.1 404 No\r\n\r\n"));
    let fetched = fetcher.refresh(in_seconds(60 * HOUR)).await.remove(0);
    assert!(matches!(fetched.outcome, Err(CrlFetchError::Status(404))), "{:?}", fetched.outcome);
    world.web.answer("/stale.crl", list(3, (0, 72)));
    let fetched = fetcher.refresh(in_seconds(61 * HOUR)).await.remove(0);
    assert!(fetched.outcome.is_ok(), "{:?}", fetched.outcome);
    world.web.answer("/stale.crl", raw("HTTP/1.1 404 No\r\n\r\n"));
    world.web.answer("/fresh.crl", first);
    let fetched = fetcher.refresh(in_seconds(70 * HOUR)).await.remove(0);
    let error = fetched.outcome.unwrap_err();
    assert!(matches!(error, CrlFetchError::List(ReplaceError::Older { .. })), "{error:?}");
    assert_eq!(error.code(), "crl-fetch-older");
}

/// The addresses come from the resolver that the program has chosen, such as one that validates.
#[tokio::test]
async fn host_of_a_list_is_looked_up_by_the_given_resolver() {
    let mut world = World::new(&["/unused.crl"]).await;
    let url = world.web.url("/1.crl").replace("127.0.0.1", "lists.test.example");
    world.leaf = world.root.leaf(std::slice::from_ref(&url)).cert[0].clone();
    world.web.answer("/1.crl", Answer::List(world.root.list(1, &[], (1, 25), &url)));
    world.judge();
    let mut zone = Zone::new(DnsStatus::Insecure);
    let unknown = world.fetcher().with_lookups(Arc::new(Zone::new(DnsStatus::Insecure)));
    let error = unknown.refresh(UnixTime::now()).await.remove(0).outcome.unwrap_err();
    assert!(matches!(error, CrlFetchError::Io(_)), "{error:?}");
    assert_eq!(error.code(), "crl-fetch-connection");
    zone.add_host(&"lists.test.example".parse().unwrap(), ["127.0.0.1".parse().unwrap()]);
    let fetched = world.fetcher().with_lookups(zone).refresh(UnixTime::now()).await.remove(0);
    assert!(matches!(fetched.outcome, Ok(Replaced::Added)), "{fetched:?}");
    assert_eq!(world.judge(), Reason::TlsOk);
}

/// Large authorities split their lists: each certificate names the part that covers it, and the
/// issuing distribution point of the part says so (RFC 5280, section 5.2.5).
#[tokio::test]
async fn parts_of_an_issuers_lists_are_fetched_by_their_distribution_points_and_used() {
    const OTHER: u64 = SERIAL + 1;
    let world = World::new(&["/1.crl"]).await;
    let urls = ["/1.crl", "/2.crl"].map(|path| world.web.url(path));
    let other = world.root.leaf_of(OTHER, &urls[1..]).cert[0].clone();
    let rule = connector(Revocation::Hard);
    let judge = || {
        let now = UnixTime::now();
        (world.judge(), judge(&other, &rule, &world.trust, now))
    };
    assert_eq!(judge(), (Reason::RevocationUnknown, Reason::RevocationUnknown));
    // The first part speaks for the first certificate alone, also if it lists the second.
    world.web.answer("/1.crl", Answer::List(world.root.list(1, &[OTHER], (1, 25), &urls[0])));
    let fetcher = world.fetcher();
    let fetched = fetcher.refresh(UnixTime::now()).await;
    assert_eq!(fetched.iter().filter(|it| it.outcome.is_ok()).count(), 1, "{fetched:?}");
    assert_eq!(judge(), (Reason::TlsOk, Reason::RevocationUnknown));

    world.web.answer("/2.crl", Answer::List(world.root.list(2, &[], (1, 25), &urls[1])));
    fetcher.refresh(in_seconds(70)).await;
    assert_eq!(judge(), (Reason::TlsOk, Reason::TlsOk));
    assert_eq!(world.trust.load().crls(&RootsId::public()).count(), 2);

    // Each part has a successor of its own.
    world.web.answer("/2.crl", Answer::List(world.root.list(3, &[OTHER], (0, 48), &urls[1])));
    let fetched = fetcher.refresh(in_seconds(18 * HOUR)).await;
    let replaced = |outcome: &Result<_, _>| matches!(outcome, Ok(Replaced::Replaced));
    let urls_of_new = fetched.iter().filter(|it| replaced(&it.outcome)).map(|it| &it.url);
    assert_eq!(urls_of_new.collect::<Vec<_>>(), [&urls[1]]);
    assert_eq!(judge(), (Reason::TlsOk, Reason::CertRevoked));
    assert_eq!(Arc::clone(&world.trust.load()).crls(&RootsId::public()).count(), 2);
}
