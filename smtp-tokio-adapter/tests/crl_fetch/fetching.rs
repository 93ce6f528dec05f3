//! Revocation lists that are fetched because judged chains name them, from a server that
//! misbehaves.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pki_types::{CertificateDer, UnixTime};
use smtp_tls_policy::pki::{LiveTrust, ReplaceError, Replaced, Revocation, RootsId, Trust};
use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::{Host, Namespace, Reason};
use smtp_tokio_adapter::revocation::{CrlFetchError, CrlFetcher, FetchedList};
use smtp_tokio_adapter::test_kit::Pki;

use crate::common::HOST;
use crate::web::{Answer, Authority, SERIAL, Web};

struct World {
    web: Web,
    root: Authority,
    leaf: CertificateDer<'static>,
    trust: Arc<LiveTrust>,
}

impl World {
    /// A leaf whose list has these paths.
    async fn new(paths: &[&str]) -> Self {
        let (web, root) = (Web::start().await, Authority(Pki::new()));
        let urls: Vec<_> = paths.iter().map(|path| web.url(path)).collect();
        let leaf = root.leaf(&urls).cert[0].clone();
        let trust = Arc::new(LiveTrust::new(Trust::from_der([root.0.root()]).unwrap()));
        Self { web, root, leaf, trust }
    }

    fn judge(&self) -> Reason {
        self.judge_by(&self.trust)
    }

    fn judge_by(&self, trust: &LiveTrust) -> Reason {
        let mut connector =
            OutboundConnector::new("c", vec![Namespace::Default], Posture::Verified);
        connector.revocation = Revocation::Hard;
        self.judge_for(&connector, trust)
    }

    fn judge_for(&self, connector: &OutboundConnector, trust: &LiveTrust) -> Reason {
        let host = Host::parse(HOST).unwrap();
        let plan = plan(&Facts::new(connector, &host, &host, HostOrigin::Mx)).unwrap();
        plan.judge(std::slice::from_ref(&self.leaf), &trust.load(), UnixTime::now()).reason()
    }

    fn fetcher(&self) -> CrlFetcher {
        let fetcher = CrlFetcher::new(Arc::clone(&self.trust)).with_any_address();
        fetcher.with_timeout(Duration::from_secs(5))
    }
}

fn in_seconds(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(UnixTime::now().duration() + Duration::from_secs(seconds))
}

trait SinceEpoch {
    fn duration(&self) -> Duration;
}

impl SinceEpoch for UnixTime {
    fn duration(&self) -> Duration {
        Duration::from_secs(self.as_secs())
    }
}

/// A folder that is gone when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn files(&self, suffix: &str) -> Vec<PathBuf> {
        let files = std::fs::read_dir(&self.0).into_iter().flatten();
        let files = files.map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|it| it == suffix)).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

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
    let cases: [(&str, Answer, Is); 10] = [
        ("404", raw("HTTP/1.1 404 No\r\n\r\n"), |e| matches!(e, CrlFetchError::Status(404))),
        ("a redirection", raw(&redirect), |e| matches!(e, CrlFetchError::Status(302))),
        ("no HTTP", raw("220 mx.example.com ESMTP\r\n"), |e| matches!(e, CrlFetchError::Http(_))),
        ("nothing", raw(""), |e| matches!(e, CrlFetchError::Http(_))),
        ("a body that ends early", raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n0"), |e| {
            matches!(e, CrlFetchError::Http(_))
        }),
        ("a body without an end", Answer::Endless, |e| matches!(e, CrlFetchError::TooLong(_))),
        ("silence", Answer::Silence, |e| matches!(e, CrlFetchError::Timeout(_))),
        ("no list", Answer::List(b"<html>".to_vec()), |e| {
            matches!(e, CrlFetchError::List(ReplaceError::Crl(_)))
        }),
        ("half a list", Answer::List(good[..good.len() / 2].to_vec()), |e| {
            matches!(e, CrlFetchError::List(ReplaceError::Crl(_)))
        }),
        ("a forged list", Answer::List(forged), |e| {
            matches!(e, CrlFetchError::List(ReplaceError::Signature))
        }),
    ];
    let before = world.trust.load().generation();
    for (name, answer, is) in cases {
        world.web.answer("/1.crl", answer);
        // Each with a fetcher that has not failed yet.
        let fetcher =
            world.fetcher().with_max_list_len(1 << 20).with_timeout(Duration::from_millis(400));
        let fetched = fetcher.refresh(UnixTime::now()).await;
        let [fetched] = &fetched[..] else { panic!("{name}: {fetched:?}") };
        assert!(fetched.outcome.as_ref().is_err_and(is), "{name}: {fetched:?}");
        assert_eq!(world.trust.load().generation(), before, "{name}");
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
    world.web.answer("/1.crl", Answer::List(world.root.list(1, &[], (25, 24), &url)));
    world.judge();
    let fetcher = world.fetcher();
    assert!(matches!(fetcher.refresh(UnixTime::now()).await[0].outcome, Ok(Replaced::Added)));
    assert_eq!(world.judge(), Reason::CrlExpired);
    for seconds in 0..50 {
        assert!(fetcher.refresh(in_seconds(seconds)).await.is_empty());
    }
    let fetched = fetcher.refresh(in_seconds(70)).await;
    assert!(matches!(fetched[0].outcome, Ok(Replaced::Unchanged)), "{fetched:?}");
}

#[tokio::test]
async fn lists_are_kept_on_disk_and_damaged_files_are_set_aside() {
    let folder = Folder::new("crl-fetch-kept");
    let world = World::new(&["/1.crl"]).await;
    let url = world.web.url("/1.crl");
    world.web.answer("/1.crl", Answer::List(world.root.list(1, &[], (1, 25), &url)));
    world.judge();
    let fetcher = world.fetcher().with_directory(&folder.0);
    assert_eq!(fetcher.load().await.unwrap(), 0);
    fetcher.refresh(UnixTime::now()).await;
    let files = folder.files("crl");
    assert_eq!((files.len(), folder.files("new").len()), (1, 0));

    // After a restart, without the network.
    let restart = || Arc::new(LiveTrust::new(Trust::from_der([world.root.0.root()]).unwrap()));
    let trust = restart();
    assert_eq!(world.judge_by(&trust), Reason::RevocationUnknown);
    let again = CrlFetcher::new(Arc::clone(&trust)).with_directory(&folder.0);
    assert_eq!(again.load().await.unwrap(), 1);
    assert_eq!(world.judge_by(&trust), Reason::TlsOk);
    world.web.requests();
    assert!(again.refresh(UnixTime::now()).await.is_empty());
    assert_eq!(world.web.requests(), 0);

    // Damaged in the list, and in the head; files of another kind stay.
    let octets = std::fs::read(&files[0]).unwrap();
    std::fs::write(folder.0.join("notes.txt"), b"x").unwrap();
    for damaged in [&octets[..octets.len() - 9], &octets[1..], b"", b"\n\n\n"] {
        std::fs::write(&files[0], damaged).unwrap();
        let trust = restart();
        let fetcher = CrlFetcher::new(Arc::clone(&trust)).with_directory(&folder.0);
        assert_eq!(fetcher.load().await.unwrap(), 0);
        assert_eq!((folder.files("crl").len(), folder.files("damaged").len()), (0, 1));
        assert_eq!(world.judge_by(&trust), Reason::RevocationUnknown);
    }
    assert_eq!(folder.files("txt").len(), 1);
}

/// A file of a later version is of use to that version, and one bad entry is no reason to do
/// without the other lists.
#[tokio::test]
async fn kept_list_of_a_later_version_stays_and_a_folder_or_dangling_link_spoils_no_other() {
    let folder = Folder::new("crl-fetch-newer");
    let world = World::new(&["/1.crl"]).await;
    let url = world.web.url("/1.crl");
    world.web.answer("/1.crl", Answer::List(world.root.list(1, &[], (1, 25), &url)));
    world.judge();
    world.fetcher().with_directory(&folder.0).refresh(UnixTime::now()).await;
    let file = folder.files("crl").remove(0);
    std::fs::create_dir(folder.0.join("0.crl")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.0.join("nowhere"), folder.0.join("00.crl")).unwrap();
    let restart = || {
        let trust = LiveTrust::new(Trust::from_der([world.root.0.root()]).unwrap());
        let trust = Arc::new(trust);
        let fetcher = CrlFetcher::new(Arc::clone(&trust)).with_directory(&folder.0);
        (trust, fetcher.with_any_address())
    };
    assert_eq!(restart().1.load().await.unwrap(), 1);
    assert_eq!(folder.files("damaged").len(), 1);

    let written = std::fs::read(&file).unwrap();
    let newer = [b"smtp revocation list 2", &written[b"smtp revocation list 1".len()..]].concat();
    std::fs::write(&file, &newer).unwrap();
    let (trust, fetcher) = restart();
    assert_eq!(fetcher.load().await.unwrap(), 0);
    assert_eq!(world.judge_by(&trust), Reason::RevocationUnknown);
    fetcher.refresh(UnixTime::now()).await;
    assert_eq!(world.judge_by(&trust), Reason::TlsOk);
    assert_eq!(std::fs::read(&file).unwrap(), newer);
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
    let world = World::new(&["/1.crl"]).await;
    let url = world.web.url("/1.crl");
    world.web.answer("/1.crl", Answer::List(world.root.list(1, &[], (1, 25), &url)));
    world.judge();
    let fetched = CrlFetcher::new(Arc::clone(&world.trust)).refresh(UnixTime::now()).await;
    let [FetchedList { outcome: Err(CrlFetchError::NotGlobal(refused)), .. }] = &fetched[..] else {
        panic!("{fetched:?}")
    };
    assert!(refused.is_loopback());
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
