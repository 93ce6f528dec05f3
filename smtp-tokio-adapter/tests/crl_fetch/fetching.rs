//! Revocation lists that are fetched because judged chains name them, from a server that
//! misbehaves.

use std::sync::Arc;
use std::time::Duration;

use pki_types::UnixTime;
use smtp_tls_policy::pki::{LiveTrust, ReplaceError, Replaced, Revocation, RootsId, Trust};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::{Namespace, Reason};
use smtp_tokio_adapter::revocation::{CrlFetchError, CrlFetcher, FetchedList};
use smtp_tokio_adapter::test_kit::Pki;

use crate::web::{Answer, Authority, SERIAL};
use crate::world::{SinceEpoch, World, in_seconds};

#[tokio::test]
async fn list_is_fetched_after_first_contact_and_refreshed_before_it_expires() {
    let world = World::new(&["/1.crl"]).await;
    let url = world.web.url("/1.crl");
    let fetcher = world.fetcher();
    assert!(fetcher.refresh(UnixTime::now()).await.is_empty());
    // First contact: the rule decides, and the list is named.
    assert_eq!(world.judge(), Reason::RevocationUnknown);
    world.web.answer("/1.crl", Answer::List(world.root.list(1, &[], (1, 25), &url)));
    let fetched = fetcher.refresh(UnixTime::now()).await;
    assert_eq!(fetched.len(), 1);
    assert_eq!((&fetched[0].url, &fetched[0].roots), (&url, &RootsId::public()));
    assert!(matches!(fetched[0].outcome, Ok(Replaced::Added)), "{fetched:?}");
    assert_eq!(world.judge(), Reason::TlsOk);

    // Not due for most of its life, and then before it expires.
    assert_eq!(world.web.requests(), 1);
    assert!(fetcher.refresh(in_seconds(17 * 3600)).await.is_empty());
    assert_eq!(world.web.requests(), 0);
    world.web.answer("/1.crl", Answer::List(world.root.list(2, &[SERIAL], (0, 48), &url)));
    let fetched = fetcher.refresh(in_seconds(18 * 3600)).await;
    assert!(matches!(fetched[0].outcome, Ok(Replaced::Replaced)), "{fetched:?}");
    assert_eq!(world.judge(), Reason::CertRevoked);
}

#[tokio::test]
async fn another_url_of_the_same_list_is_tried() {
    let world = World::new(&["/gone.crl", "/1.crl"]).await;
    let list = world.root.list(1, &[], (1, 25), &world.web.url("/gone.crl"));
    world.web.answer("/1.crl", Answer::List(list));
    world.judge();
    let fetched = world.fetcher().refresh(UnixTime::now()).await;
    assert_eq!(fetched[0].url, world.web.url("/1.crl"));
    assert_eq!(world.judge(), Reason::TlsOk);
}

#[tokio::test]
async fn hostile_answers_have_typed_errors_and_change_nothing() {
    let world = World::new(&["/1.crl"]).await;
    let url = world.web.url("/1.crl");
    world.judge();
    let forged = Authority(Pki::new()).list(9, &[], (1, 25), &url);
    let good = world.root.list(1, &[], (1, 25), &url);
    let raw = |text: &str| Answer::Raw(text.as_bytes().to_vec());
    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: {}\r\n\r\n", world.web.url("/2.crl"));
    world.web.answer("/2.crl", Answer::List(good.clone()));
    type Is = fn(&CrlFetchError) -> bool;
    let http: Is = |e| matches!(e, CrlFetchError::Http(_));
    let unusable: Is = |e| matches!(e, CrlFetchError::List(ReplaceError::Crl(_)));
    let early = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n0";
    let half = good[..good.len() / 2].to_vec();
    let cases: [(&str, Answer, Is, &str); 10] = [
        (
            "404",
            raw("HTTP/1.1 404 No\r\n\r\n"),
            |e| matches!(e, CrlFetchError::Status(404)),
            "crl-fetch-status",
        ),
        (
            "a redirection",
            raw(&redirect),
            |e| matches!(e, CrlFetchError::Status(302)),
            "crl-fetch-status",
        ),
        ("no HTTP", raw("220 mx.example.com ESMTP\r\n"), http, "crl-fetch-http"),
        ("nothing", raw(""), http, "crl-fetch-http"),
        ("a body that ends early", raw(early), http, "crl-fetch-http"),
        (
            "a body without an end",
            Answer::Endless,
            |e| matches!(e, CrlFetchError::TooLong(_)),
            "crl-fetch-too-long",
        ),
        (
            "silence",
            Answer::Silence,
            |e| matches!(e, CrlFetchError::Timeout(_)),
            "crl-fetch-timeout",
        ),
        ("no list", Answer::List(b"<html>".to_vec()), unusable, "crl-fetch-unusable"),
        ("half a list", Answer::List(half), unusable, "crl-fetch-unusable"),
        (
            "a forged list",
            Answer::List(forged),
            |e| matches!(e, CrlFetchError::List(ReplaceError::Signature)),
            "crl-fetch-signature",
        ),
    ];
    let before = world.trust.generation();
    for (name, answer, is, code) in cases {
        world.web.answer("/1.crl", answer);
        // Each with a fetcher that has not failed yet.
        let fetcher =
            world.fetcher().with_max_list_len(1 << 20).with_timeout(Duration::from_millis(400));
        let fetched = fetcher.refresh(UnixTime::now()).await;
        let [fetched] = &fetched[..] else { panic!("{name}: {fetched:?}") };
        assert!(fetched.outcome.as_ref().is_err_and(is), "{name}: {fetched:?}");
        assert_eq!(fetched.outcome.as_ref().unwrap_err().code(), code, "{name}");
        assert_eq!(world.trust.generation(), before, "{name}");
    }
    assert_eq!(world.judge(), Reason::RevocationUnknown);
    world.web.answer("/1.crl", Answer::List(good));
    world.fetcher().refresh(UnixTime::now()).await;
    assert_eq!(world.judge(), Reason::TlsOk);
}

#[tokio::test]
async fn fetch_that_fails_waits_longer_each_time() {
    let world = World::new(&["/1.crl"]).await;
    world.judge();
    let fetcher = world.fetcher();
    let mut times = Vec::new();
    let begin = UnixTime::now().duration();
    for seconds in 0..=900 {
        let now = UnixTime::since_unix_epoch(begin + Duration::from_secs(seconds));
        if !fetcher.refresh(now).await.is_empty() {
            times.push(seconds);
        }
    }
    assert_eq!(times, [0, 60, 180, 420, 900]);
}

/// An issuer that is late: the old list is fetched once a minute, and not in a loop.
#[tokio::test]
async fn list_that_is_stale_on_the_server_is_not_fetched_in_a_loop() {
    let world = World::new(&["/1.crl"]).await;
    let url = world.web.url("/1.crl");
    world.web.answer("/1.crl", Answer::List(world.root.list(1, &[], (24, 25), &url)));
    world.judge();
    let fetcher = world.fetcher();
    assert!(matches!(fetcher.refresh(UnixTime::now()).await[0].outcome, Ok(Replaced::Added)));
    for seconds in 0..50 {
        assert!(fetcher.refresh(in_seconds(seconds)).await.is_empty());
    }
    for seconds in [70, 3700] {
        let fetched = fetcher.refresh(in_seconds(seconds)).await;
        assert!(matches!(fetched[0].outcome, Ok(Replaced::Unchanged)), "{fetched:?}");
    }
    assert_eq!(world.judge_at(Revocation::Hard, in_seconds(3700)), Reason::CrlExpired);
}

#[tokio::test]
async fn run_loads_and_fetches_without_being_asked() {
    let world = World::new(&["/1.crl"]).await;
    let url = world.web.url("/1.crl");
    world.web.answer("/1.crl", Answer::List(world.root.list(1, &[], (1, 25), &url)));
    let fetcher = world.fetcher().with_interval(Duration::from_millis(10));
    let task = tokio::spawn(async move { fetcher.run().await });
    let mut waited = 0;
    while world.judge() != Reason::TlsOk {
        assert!(waited < 500);
        tokio::time::sleep(Duration::from_millis(10)).await;
        waited += 1;
    }
    task.abort();
}

/// An authority of the public set may put any URL into a certificate; the authorities of other sets
/// are the administrator's own, with lists in its own network.
#[tokio::test]
async fn lists_of_public_roots_are_fetched_from_global_addresses_only() {
    let world = World::with_wanted_list().await;
    let fetched = CrlFetcher::new(Arc::clone(&world.trust)).refresh(UnixTime::now()).await;
    let [FetchedList { outcome: Err(CrlFetchError::NotGlobal(refused)), .. }] = &fetched[..] else {
        panic!("{fetched:?}")
    };
    assert!(refused.is_loopback());
    assert_eq!(fetched[0].outcome.as_ref().unwrap_err().code(), "crl-fetch-not-global");
    assert_eq!((world.web.requests(), world.judge()), (0, Reason::RevocationUnknown));

    let private = RootsId::new("private-ca");
    let mut trust = Trust::empty();
    trust.add_root_der(&private, world.root.0.root()).unwrap();
    let trust = Arc::new(LiveTrust::new(trust));
    let mut connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::PrivateCa);
    (connector.revocation, connector.roots) = (Revocation::Hard, private);
    assert_eq!(world.judge_for(&connector, &trust), Reason::RevocationUnknown);
    CrlFetcher::new(Arc::clone(&trust)).refresh(UnixTime::now()).await;
    assert_eq!(world.judge_for(&connector, &trust), Reason::TlsOk);
}
