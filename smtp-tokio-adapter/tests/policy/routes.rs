//! Routes: refusals that end a domain, look-ups that fail, and the memory of broken peers.

use smtp_tls_policy::pki::RootsId;
use smtp_tokio_adapter::store::{MemoryStore, Store};

use crate::world::*;

#[tokio::test]
async fn refusal_of_the_whole_domain_dials_no_host() {
    // RFC 7672, section 2.1.2: a bogus MX answer.
    let mut world = World::new(DnsStatus::Secure).await;
    world.zone.mx.get_mut(&name(DOMAIN)).unwrap().status = DnsStatus::Bogus;
    let (sender, first, second) = world.sender();
    let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
    assert_eq!(
        (report.statuses().as_slice(), reason(&report)),
        (&[RecipientStatus::Deferred(status(4, 4, 3))][..], Some(Reason::MxLookupFailed))
    );
    assert_eq!(sender.lookups().asked(), ["MX test.example"]);
    assert_eq!((first.connections(), second.connections()), (0, 0));

    // RFC 7672, section 2.2.1: mandatory DANE, and unsigned MX records to hosts that would do.
    let mut world = World::new(DnsStatus::Secure).await;
    let (port, record) = (world.port, world.end_entity());
    world.zone.add_tlsa(&name(HOST), port, record);
    world.zone.mx.get_mut(&name(DOMAIN)).unwrap().status = DnsStatus::Insecure;
    let (sender, first, second) = world.sender();
    let report = send(&sender, &connector(Posture::DaneOnly), &plain()).await;
    assert_eq!(
        (report.statuses().as_slice(), reason(&report)),
        (&[RecipientStatus::Deferred(status(4, 7, 5))][..], Some(Reason::MxInsecure))
    );
    assert_eq!(sender.lookups().asked(), ["MX test.example"]);
    assert_eq!((first.connections(), second.connections()), (0, 0));

    // P1: what the administrator wants cannot be looked up.
    let (sender, ..) = World::new(DnsStatus::Secure).await.sender();
    let (domain, envelope, everybody) =
        (Host::parse(DOMAIN).unwrap(), plain(), connector(Posture::None));
    let mut mail = Mail::new(&everybody, &domain, &envelope, &MESSAGE);
    mail.policy = smtp_tls_policy::plan::Policy::Unavailable;
    let report = deliver(&sender, &mail).await;
    assert_eq!(
        (report.statuses().as_slice(), reason(&report)),
        (&[RecipientStatus::Deferred(status(4, 7, 5))][..], Some(Reason::PolicyUnavailable))
    );
    assert_eq!(sender.lookups().asked(), [""; 0]);
}

/// The host with the good certificate cannot be judged, and the next one would take the mail in
/// clear text: for a fault of this side it must not get it.
#[tokio::test]
async fn missing_roots_defer_and_no_host_gets_the_mail_in_clear_text() {
    let without_tls = changed(smtp(), |it| it.starttls = server::StartTls::No);
    let world = World::with(DnsStatus::Insecure, smtp(), without_tls).await;
    let (sender, first, second) = world.sender();
    let mut lost = connector(Posture::Deterministic);
    lost.roots = RootsId::new("lost");
    // The second time as the first: this host is not remembered to have broken TLS.
    for connections in 1..=2 {
        let report = send(&sender, &lost, &plain()).await;
        assert_eq!(report.statuses(), [RecipientStatus::Deferred(status(4, 3, 5))]);
        assert_eq!((first.connections(), second.connections()), (connections, 0));
        assert_eq!((first.messages(), second.messages()), (vec![], vec![]));
        assert!(report.recipients.iter().all(|it| !it.clear_next_run));
        assert_eq!(report.sessions().count(), 0, "no failure of the peer is reported");
        assert_eq!(
            report.attempts[0].decision.sentence,
            "not delivered, because the trusted roots that the certificate is judged by are not \
             loaded here (chain, set of roots \"lost\"); the fault is on this side; under posture \
             deterministic of connector test"
        );
    }
    // Without TLS nothing has to be judged: what the peer does not offer is its own answer.
    let mut lax = connector(Posture::Opportunistic);
    lax.roots = RootsId::new("lost");
    let report = send(&sender, &lax, &plain()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered]);
    assert_eq!(first.messages(), [(false, true)]);
}

#[tokio::test]
async fn look_ups_that_fail_keep_their_statuses() {
    let world = async |change: fn(&mut Zone)| {
        let mut world = World::new(DnsStatus::Secure).await;
        world.zone.mx.get_mut(&name(DOMAIN)).unwrap().records.truncate(1);
        change(&mut world.zone);
        let (sender, first, _) = world.sender();
        let report = send(&sender, &connector(Posture::Deterministic), &plain()).await;
        assert_eq!(first.connections(), 0);
        report.statuses()[0]
    };
    let no_domain = world(|zone| {
        drop(zone.mx.insert(name(DOMAIN), DnsAnswer::no_such_name(DnsStatus::Secure)))
    })
    .await;
    assert_eq!(no_domain, RecipientStatus::Bounced(status(5, 1, 2)));
    let null = DnsAnswer::new(DnsStatus::Secure, vec![MxRecord { preference: 0, exchange: None }]);
    let null_mx = {
        let mut world = World::new(DnsStatus::Secure).await;
        world.zone.mx.insert(name(DOMAIN), null);
        let (sender, ..) = world.sender();
        send(&sender, &connector(Posture::Deterministic), &plain()).await.statuses()[0]
    };
    assert_eq!(null_mx, RecipientStatus::Bounced(status(5, 1, 10)));
    let no_address = world(|zone| drop(zone.ipv4.remove(&name(HOST)))).await;
    assert_eq!(no_address, RecipientStatus::Bounced(status(5, 4, 4)));
    // RFC 7672, section 2.2.2: one family that fails is enough for a signed host.
    let aaaa =
        world(|zone| drop(zone.ipv6.insert(name(HOST), DnsAnswer::none(DnsStatus::Failed)))).await;
    assert_eq!(aaaa, RecipientStatus::Deferred(status(4, 4, 3)));
}

#[tokio::test]
async fn failed_aaaa_of_an_unsigned_host_is_delivered_by_a_under_every_posture() {
    for posture in [
        Posture::None,
        Posture::Opportunistic,
        Posture::Deterministic,
        Posture::Encrypt,
        Posture::Verified,
    ] {
        for failure in [DnsStatus::Failed, DnsStatus::Bogus, DnsStatus::Indeterminate] {
            let mut world = World::new(DnsStatus::Insecure).await;
            world.zone.ipv6.insert(name(HOST), DnsAnswer::none(failure));
            let (sender, first, _) = world.sender();
            let report = send(&sender, &connector(posture), &plain()).await;
            assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{posture} {report:?}");
            assert_eq!(first.connections(), 1);
            let failures = report.sessions().flat_map(|session| &session.failures);
            assert_eq!(failures.count(), 0, "nothing speaks of DNSSEC");
        }
    }
}

#[tokio::test]
async fn an_address_literal_is_dialled_without_a_question() {
    let (sender, first, _) = World::new(DnsStatus::Secure).await.sender();
    let (domain, envelope) =
        (Host::parse("[127.0.0.1]").unwrap(), envelope(&["reader@[127.0.0.1]"]));
    let everybody = connector(Posture::Opportunistic);
    let report = deliver(&sender, &Mail::new(&everybody, &domain, &envelope, &MESSAGE)).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    assert_eq!(first.messages(), [(false, true)]);
    assert_eq!(sender.lookups().asked(), [""; 0]);
}

/// Answers STARTTLS with 220 and then with anything but TLS; takes mail in clear text.
pub async fn breaks_tls(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut peer = Peer::new(stream);
            let say = |text| Script::new().say(text);
            peer.play(&say("220 mx")).await.unwrap();
            while let Some(line) = peer.next_line().await {
                let reply = match line.get(..4).unwrap_or_default() {
                    "EHLO" => say("250-mx\n250 STARTTLS"),
                    "STAR" => say("220 go").expect_octets(5).say("this is no TLS").close(),
                    "DATA" => say("354 go").expect_message().say("250 ok"),
                    "QUIT" => say("221 bye").close(),
                    _ => say("250 ok"),
                };
                peer.play(&reply).await.unwrap();
            }
        });
    }
}

#[tokio::test]
async fn broken_tls_is_remembered_where_clear_text_will_do_and_nowhere_else() {
    let mut world = World::new(DnsStatus::Insecure).await;
    world.zone.mx.get_mut(&name(DOMAIN)).unwrap().records.truncate(1);
    let [listener] = <[TcpListener; 1]>::try_from(listen(&[loopback(1)]).await).unwrap();
    world.port = listener.local_addr().unwrap().port();
    tokio::spawn(breaks_tls(listener));
    let (mut sender, ..) = world.sender();
    let spoken = |report: &Report| {
        let all = report
            .attempts
            .iter()
            .map(|it| (it.decision.channel, it.decision.reason))
            .collect::<Vec<_>>();
        (report.statuses()[0], all)
    };
    let (tls, clear) = (Spoken::Tls, Spoken::Clear);
    let everybody = connector(Posture::Opportunistic);
    let broken = Reason::HandshakeFailed;
    let first = send(&sender, &everybody, &plain()).await;
    assert_eq!(
        spoken(&first),
        (RecipientStatus::Delivered, vec![(tls, broken), (tls, broken), (clear, broken)])
    );
    let second = send(&sender, &everybody, &plain()).await;
    assert_eq!(
        spoken(&second),
        (RecipientStatus::Delivered, vec![(clear, Reason::RememberedBroken)])
    );
    // An address that cannot be reached is not why the next one gets clear text.
    sender
        .lookups_mut()
        .ipv4
        .get_mut(&name(HOST))
        .unwrap()
        .records
        .insert(0, Ipv4Addr::new(127, 0, 0, 9));
    let third = send(&sender, &everybody, &plain()).await;
    let expected = vec![(clear, Reason::Undecided), (clear, Reason::RememberedBroken)];
    assert_eq!(spoken(&third), (RecipientStatus::Delivered, expected));
    sender.lookups_mut().ipv4.get_mut(&name(HOST)).unwrap().records.remove(0);
    // A connector that would rather wait does not use what was learnt.
    let mut patient = everybody.clone();
    patient.yields.broken = Yield::Never;
    let deferred = RecipientStatus::Deferred(status(4, 7, 5));
    let twice = (deferred, vec![(tls, broken); 2]);
    assert_eq!(spoken(&send(&sender, &patient, &plain()).await), twice);
    let required = connector(Posture::Encrypt);
    assert_eq!(spoken(&send(&sender, &required, &plain()).await), twice);
}

/// What one sender learnt in a failed handshake saves the other from it.
#[tokio::test]
async fn broken_tls_is_remembered_by_all_senders_of_a_store() {
    let mut world = World::new(DnsStatus::Insecure).await;
    world.zone.mx.get_mut(&name(DOMAIN)).unwrap().records.truncate(1);
    let [listener] = <[TcpListener; 1]>::try_from(listen(&[loopback(1)]).await).unwrap();
    world.port = listener.local_addr().unwrap().port();
    tokio::spawn(breaks_tls(listener));
    let (pki, port) = (Pki::new(), world.port);
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.add_mx(&name(DOMAIN), 10, &name(HOST)).add_host(&name(HOST), [loopback(1)]);
    let store = Arc::new(MemoryStore::new());
    let first = world.sender().0.with_store(Arc::clone(&store)).await;
    let second = crate::common::sender(&pki, zone, port).with_store(Arc::clone(&store)).await;
    let everybody = connector(Posture::Opportunistic);
    let reasons = |report: &Report| -> Vec<Reason> {
        report.attempts.iter().map(|it| it.decision.reason).collect()
    };
    let report = send(&first, &everybody, &plain()).await;
    assert_eq!(reasons(&report)[0], Reason::HandshakeFailed);
    let report = send(&second, &everybody, &plain()).await;
    assert_eq!(reasons(&report), [Reason::RememberedBroken]);
    // A connector that requires TLS does not use it.
    let report = send(&second, &connector(Posture::Encrypt), &plain()).await;
    assert_eq!(reasons(&report)[0], Reason::HandshakeFailed);
    // A damaged record is set aside, and a new one is written. One of a later version stays.
    let (key, _) = store.list("broken/").await.unwrap().remove(0);
    let newer = &b"smtp-broken-peer 2\nwhatever a later version writes"[..];
    for (record, is_newer) in [(&b"nonsense"[..], false), (newer, true)] {
        store.put(&key, record, Duration::from_secs(60)).await.unwrap();
        let mut zone = Zone::new(DnsStatus::Insecure);
        zone.add_mx(&name(DOMAIN), 10, &name(HOST)).add_host(&name(HOST), [loopback(1)]);
        let third = crate::common::sender(&pki, zone, port).with_store(Arc::clone(&store)).await;
        let report = send(&third, &everybody, &plain()).await;
        assert_eq!(reasons(&report)[0], Reason::HandshakeFailed);
        // Its own memory has it now.
        assert_eq!(reasons(&send(&third, &everybody, &plain()).await), [Reason::RememberedBroken]);
        let aside = store.get(&format!("damaged/{key}")).await.unwrap();
        assert_eq!(aside.as_deref(), Some(&b"nonsense"[..]));
        let there = store.get(&key).await.unwrap();
        assert_eq!(there.as_deref() == Some(newer), is_newer);
    }
}
