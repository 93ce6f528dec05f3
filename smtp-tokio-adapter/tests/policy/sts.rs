//! MTA-STS, from the record and the policy to the wire (RFC 8461).

use smtp_tls_policy::sts::{Cache, CachedPolicy, Fetch, FetchError, PolicyId, PolicyText};
use smtp_tokio_adapter::lookups::Lookups;
use smtp_tokio_adapter::store::FileStore;

use crate::common::log::Log;
use crate::world::*;

pub const ENFORCE: &str =
    "version: STSv1\nmode: enforce\nmx: backup.test.example\nmax_age: 604800\n";

#[tokio::test]
async fn a_host_outside_the_mta_sts_policy_is_passed_over_in_its_turn() {
    let mut world = World::new(DnsStatus::Insecure).await;
    world.zone.publish_sts(&name(DOMAIN), "1", ENFORCE);
    let (sender, first, second) = world.sender();
    let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    assert_eq!(
        (report.skipped[0].0.as_str(), reason(&report)),
        (HOST, Some(Reason::StsMxMismatch))
    );
    assert_eq!((first.connections(), second.messages()), (0, vec![(false, true)]));
}

#[tokio::test]
async fn a_cached_mta_sts_policy_holds_while_its_record_is_suppressed() {
    let mut world = World::new(DnsStatus::Insecure).await;
    world.zone.publish_sts(&name(DOMAIN), "1", &ENFORCE.replace("backup", "elsewhere"));
    let (mut sender, first, second) = world.sender();
    let record = name("_mta-sts.test.example");
    let everybody = connector(Posture::Opportunistic);
    let deferred = [RecipientStatus::Deferred(status(4, 7, 5))];
    assert_eq!(send(&sender, &everybody, &plain()).await.statuses(), deferred);
    for suppressed in [DnsAnswer::none(DnsStatus::Failed), DnsAnswer::none(DnsStatus::Insecure)] {
        sender.lookups_mut().txt.insert(record.clone(), suppressed);
        assert_eq!(send(&sender, &everybody, &plain()).await.statuses(), deferred);
    }
    assert_eq!((first.connections(), second.connections()), (0, 0));
    // The domain takes its policy back in the way that there is for it (RFC 8461, section 8.3).
    sender.lookups_mut().publish_sts(
        &name(DOMAIN),
        "2",
        "version: STSv1\nmode: none\nmax_age: 86400\n",
    );
    assert_eq!(send(&sender, &everybody, &plain()).await.statuses(), [RecipientStatus::Delivered]);
    let fetches =
        sender.lookups().asked().iter().filter(|question| question.starts_with("GET")).count();
    assert_eq!(fetches, 2);
}

/// P0: clear text is an answer to what the peer did, never to what this side failed to do.
#[tokio::test]
async fn record_that_this_side_could_not_look_up_defers_the_mail_unless_a_policy_is_cached() {
    for is_cached in [false, true] {
        let mut world = World::new(DnsStatus::Insecure).await;
        world.zone.publish_sts(&name(DOMAIN), "1", ENFORCE);
        let (mut sender, first, second) = world.sender();
        let everybody = connector(Posture::Opportunistic);
        if is_cached {
            send(&sender, &everybody, &plain()).await;
        }
        let owner = name("_mta-sts.test.example");
        sender.lookups_mut().txt.insert(owner, DnsAnswer::none(DnsStatus::Local));
        let report = send(&sender, &everybody, &plain()).await;
        let (expected, delivered) = match is_cached {
            true => (RecipientStatus::Delivered, 2),
            false => (RecipientStatus::Deferred(status(4, 3, 5)), 0),
        };
        assert_eq!(report.statuses(), [expected], "{report:?}");
        assert_eq!((first.connections(), second.messages().len()), (0, delivered));
    }
}

/// What was learnt before a restart still protects the domain after it (RFC 8461, section 10.2).
#[tokio::test]
async fn a_policy_survives_in_the_store_and_is_refreshed_in_the_background() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("sts-store");
    let _ = std::fs::remove_dir_all(&folder);
    let store = || Arc::new(FileStore::open(&folder).unwrap());
    let everybody = connector(Posture::Opportunistic);
    let mut world = World::new(DnsStatus::Insecure).await;
    world.zone.publish_sts(&name(DOMAIN), "1", &ENFORCE.replace("backup", "elsewhere"));
    let (sender, ..) = world.sender();
    let sender = sender.with_store(store()).await;
    assert_eq!(sender.refresh().await, None);
    let deferred = [RecipientStatus::Deferred(status(4, 7, 5))];
    assert_eq!(send(&sender, &everybody, &plain()).await.statuses(), deferred);
    let due = sender.refresh().await.expect("a day later");

    // Another process, another day, and an attacker suppresses the record.
    let world = World::new(DnsStatus::Insecure).await;
    let tls = ClientTls::new(provider()).with_time_provider(Arc::new(At(due)));
    let outbound = crate::common::outbound_with(&world.pki, tls);
    let sender = crate::common::sender_of(outbound, world.zone, world.port);
    let sender = sender.with_store(store()).await;
    assert_eq!(send(&sender, &everybody, &plain()).await.statuses(), deferred);
    // The refresh asks for the record, finds none, asks for the policy all the same, and comes
    // again.
    let before = sender.lookups().asked().len();
    assert!(sender.refresh().await.is_some_and(|next| next > due));
    let url = "GET https://mta-sts.test.example/.well-known/mta-sts.txt";
    assert_eq!(sender.lookups().asked()[before..], ["TXT _mta-sts.test.example", url]);
}

/// A sender on the day after it has fetched the policy of a domain, whose record an attacker
/// suppresses from then on.
async fn on_the_next_day(policy: &str, suppressed: DnsAnswer<Vec<Vec<u8>>>) -> Sender<Zone> {
    let mut world = World::new(DnsStatus::Insecure).await;
    world.zone.publish_sts(&name(DOMAIN), "1", policy);
    let yesterday = Duration::from_secs(UnixTime::now().as_secs()) - DAY;
    let (policy, id) = (policy.as_bytes(), PolicyId::parse("1").unwrap());
    let policy = PolicyText::from_response(200, Some("text/plain"), policy).unwrap();
    let cached = CachedPolicy::new(name(DOMAIN), id, UnixTime::since_unix_epoch(yesterday), policy);
    let mut cache = Cache::new();
    let _ = cache.restore([cached], UnixTime::now());
    world.zone.txt.insert(name("_mta-sts.test.example"), suppressed);
    world.sender().0.with_policy_cache(cache)
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a look-up says of a record that an attacker suppresses, or spoils.
fn suppressed() -> [DnsAnswer<Vec<Vec<u8>>>; 3] {
    let spoilt = vec![b"v=STSv1; id=-;".to_vec()];
    [
        DnsAnswer::none(DnsStatus::Insecure),
        DnsAnswer::none(DnsStatus::Failed),
        DnsAnswer::new(DnsStatus::Insecure, vec![spoilt]),
    ]
}

/// RFC 8461, section 10.2: the policy is fetched in the background whatever becomes of the record,
/// so that an attacker must keep all of it away for a whole max_age.
#[tokio::test]
async fn policy_whose_record_is_suppressed_is_refreshed_and_lasts() {
    let (log, _guard) = Log::record();
    for suppressed in suppressed() {
        let sender = on_the_next_day(ENFORCE, suppressed.clone()).await;
        let next = sender.refresh().await.unwrap();
        let left = next.as_secs() - UnixTime::now().as_secs();
        assert!(left > DAY.as_secs() - 60, "{suppressed:?}: the next refresh is due in {left} s");
    }
    assert_eq!(log.with(""), Vec::<String>::new(), "nothing is wrong with the policy");
}

#[tokio::test]
async fn refresh_that_fails_is_named_in_the_log_unless_the_mode_is_none() {
    let unreachable = Err(FetchError::Unreachable);
    for policy in [ENFORCE.to_owned(), ENFORCE.replace("enforce", "none")] {
        for suppressed in suppressed() {
            let (log, _guard) = Log::record();
            let mut sender = on_the_next_day(&policy, suppressed.clone()).await;
            sender.lookups_mut().policies.insert(name(DOMAIN), unreachable.clone());
            sender.refresh().await.unwrap();
            let named = log.with("an MTA-STS policy is not refreshed");
            let is_kept = policy.contains("enforce");
            assert_eq!(named.len(), usize::from(is_kept), "{suppressed:?}: {named:?}");
            assert!(named.iter().all(|it| it.contains("hours_left=14")), "{named:?}");
            // Mail still goes by it.
            let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
            let skipped = report.skipped.iter().map(|it| it.1.refusal.reason());
            let expected = is_kept.then_some(Reason::StsMxMismatch);
            assert_eq!(skipped.collect::<Vec<_>>(), Vec::from_iter(expected));
        }
    }
}

/// What this side failed to fetch may be a policy in mode enforce.
#[tokio::test]
async fn policy_that_this_side_cannot_fetch_defers_the_mail_until_it_can() {
    let mut world = World::new(DnsStatus::Insecure).await;
    world.zone.publish_sts(&name(DOMAIN), "1", ENFORCE);
    let policy = world.zone.policies.insert(name(DOMAIN), Err(FetchError::Local)).unwrap();
    let (mut sender, first, second) = world.sender();
    let everybody = connector(Posture::Opportunistic);
    let report = send(&sender, &everybody, &plain()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Deferred(status(4, 3, 5))], "{report:?}");
    assert_eq!((first.connections(), second.connections()), (0, 0));
    // It is mended, and the next run asks at once.
    sender.lookups_mut().policies.insert(name(DOMAIN), policy);
    let report = send(&sender, &everybody, &plain()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
}

/// A clock that stands.
#[derive(Debug)]
struct At(UnixTime);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

/// A policy host that takes its time.
struct Slow(Zone);

impl Lookups for Slow {
    async fn mx(&self, domain: &Domain) -> DnsAnswer<MxRecord> {
        self.0.mx(domain).await
    }
    async fn ipv4(&self, host: &Domain) -> DnsAnswer<Ipv4Addr> {
        self.0.ipv4(host).await
    }
    async fn ipv6(&self, host: &Domain) -> DnsAnswer<std::net::Ipv6Addr> {
        self.0.ipv6(host).await
    }
    async fn txt(&self, owner: &Domain) -> DnsAnswer<Vec<Vec<u8>>> {
        self.0.txt(owner).await
    }
    async fn fetch(&self, fetch: &Fetch) -> Result<PolicyText, FetchError> {
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.0.fetch(fetch).await
    }
}

/// A burst to a domain without a cached policy: the other deliveries wait for the one that fetches
/// it.
#[tokio::test]
async fn no_mail_goes_without_a_policy_that_is_being_fetched() {
    let mut world = World::new(DnsStatus::Insecure).await;
    world.zone.publish_sts(&name(DOMAIN), "1", &ENFORCE.replace("backup", "elsewhere"));
    let sender = crate::common::sender(&world.pki, Slow(world.zone), world.port);
    let sender = Arc::new(sender);
    let deliver = || {
        let sender = Arc::clone(&sender);
        tokio::spawn(async move {
            let (everybody, domain) =
                (connector(Posture::Opportunistic), Host::parse(DOMAIN).unwrap());
            sender.send_mail(&Mail::new(&everybody, &domain, &plain(), &MESSAGE)).await
        })
    };
    // The delivery that fetches is given up half-way, and another one does.
    let first = deliver();
    while sender.lookups().0.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let others = [deliver(), deliver(), deliver()];
    tokio::time::sleep(Duration::from_millis(50)).await;
    first.abort();
    for other in others {
        let report = tokio::time::timeout(Duration::from_secs(60), other)
            .await
            .expect("the policy comes")
            .unwrap();
        assert_eq!(report.statuses(), [RecipientStatus::Deferred(status(4, 7, 5))]);
    }
    assert_eq!((world.first.connections(), world.second.connections()), (0, 0));
    let fetches =
        sender.lookups().0.asked().iter().filter(|question| question.starts_with("GET")).count();
    assert_eq!(fetches, 1);
}
