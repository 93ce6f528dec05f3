//! DANE, from the DNS to the wire (RFC 7672).

use crate::world::*;

#[tokio::test]
async fn alias_is_asked_for_by_the_tlsa_base_domain() {
    let mut world = World::new(DnsStatus::Secure).await;
    let answer = DnsAnswer::new(DnsStatus::Secure, vec![Ipv4Addr::LOCALHOST])
        .through(name("host.example.net"));
    world.zone.ipv4.insert(name(HOST), answer);
    let (expanded, record) = (name("host.example.net"), world.end_entity());
    let port = world.port;
    world.zone.add_tlsa(&expanded, port, record);
    let (sender, first, _) = world.sender();
    let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    assert_eq!(*first.sni.lock().unwrap(), [Some("host.example.net".into())]);
    let decision = &report.attempts[0].decision;
    assert!(decision.sentence.contains("DANE for host.example.net"), "{}", decision.sentence);
    assert!(decision.verdict.as_ref().unwrap().is_authenticated());
}

#[tokio::test]
async fn a_host_whose_tlsa_records_cannot_be_had_is_not_dialled_and_the_next_one_is() {
    for broken in [DnsStatus::Bogus, DnsStatus::Failed, DnsStatus::Indeterminate] {
        let mut world = World::new(DnsStatus::Secure).await;
        world.zone.tlsa.insert(world.tlsa(HOST), DnsAnswer::none(broken));
        let (sender, first, second) = world.sender();
        let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
        assert_eq!(reason(&report), Some(Reason::TlsaLookupFailed));
        assert_eq!((first.connections(), second.connections()), (0, 1));
    }
}

#[tokio::test]
async fn a_wrong_certificate_under_dane_is_a_deferral_and_no_clear_text() {
    let mut world = World::new(DnsStatus::Secure).await;
    let record = TlsaRecord { usage: 3, selector: 1, matching: 1, data: vec![7; 32] };
    for host in [HOST, BACKUP] {
        let port = world.port;
        world.zone.add_tlsa(&name(host), port, record.clone());
    }
    let (sender, first, second) = world.sender();
    let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Deferred(status(4, 7, 5))]);
    assert_eq!(report.attempts.len(), 2);
    assert!(report.attempts.iter().all(|it| it.decision.reason == Reason::DaneMismatch));
    assert!(first.messages().is_empty() && second.messages().is_empty());
}

#[tokio::test]
async fn unsigned_zone_is_not_asked_for_tlsa_records() {
    let (sender, ..) = World::new(DnsStatus::Insecure).await.sender();
    let report = send(&sender, &connector(Posture::Deterministic), &plain()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered]);
    let asked = sender.lookups().asked();
    assert!(asked.iter().all(|question| !question.starts_with("TLSA")), "{asked:?}");
}

#[tokio::test]
async fn mandatory_dane_goes_on_to_the_host_that_has_records() {
    let mut world = World::new(DnsStatus::Secure).await;
    let backup = world.pki.identity(BACKUP);
    let key = TlsaRecord {
        usage: 3,
        selector: 1,
        matching: 0,
        data: backup.key.public_key().unwrap().to_vec(),
    };
    let [listener] = <[TcpListener; 1]>::try_from(listen(&[loopback(3)]).await).unwrap();
    world.port = listener.local_addr().unwrap().port();
    let third = take(listener, smtp(), backup);
    world.zone.ipv4.get_mut(&name(BACKUP)).unwrap().records = vec![Ipv4Addr::new(127, 0, 0, 3)];
    let port = world.port;
    world.zone.add_tlsa(&name(BACKUP), port, key);
    let (sender, first, _) = world.sender();
    let report = send(&sender, &connector(Posture::DaneOnly), &plain()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    assert_eq!(reason(&report), Some(Reason::DaneRequired));
    assert_eq!((first.connections(), third.messages()), (0, vec![(false, true)]));
}

#[tokio::test]
async fn the_domain_itself_is_its_host_where_there_are_no_mx_records() {
    let mut world = World::new(DnsStatus::Secure).await;
    world.zone.mx.clear();
    world.zone.add_host(&name(DOMAIN), [loopback(1)]);
    let (port, record) = (world.port, world.end_entity());
    world.zone.add_tlsa(&name(DOMAIN), port, record);
    let (sender, first, _) = world.sender();
    let report = send(&sender, &connector(Posture::DaneOnly), &plain()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    assert_eq!(*first.sni.lock().unwrap(), [Some(DOMAIN.into())]);
}

#[tokio::test]
async fn a_secure_smart_host_may_be_held_to_its_tlsa_records() {
    let mut world = World::new(DnsStatus::Secure).await;
    let (port, record) = (world.port, world.end_entity());
    world.zone.add_tlsa(&name(HOST), port, record);
    let (sender, first, _) = world.sender();
    // The smart host's own port counts.
    let sender = sender.with_route(|route| route.port = 1);
    let mut only = connector(Posture::DaneOnly);
    let mut smart_host = SmartHost::new(Host::parse(HOST).unwrap());
    (smart_host.port, smart_host.secure) = (port, true);
    only.smart_host = Some(smart_host);
    let report = send(&sender, &only, &plain()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    assert_eq!(first.messages(), [(false, true)]);
    let asked = sender.lookups().asked();
    assert!(asked.contains(&format!("TXT _mta-sts.{HOST}")), "{asked:?}");
    assert!(!asked.iter().any(|question| question.starts_with("MX")), "{asked:?}");
}

#[tokio::test]
async fn dane_that_is_switched_off_asks_nothing() {
    let mut world = World::new(DnsStatus::Secure).await;
    world.zone.tlsa.insert(world.tlsa(HOST), DnsAnswer::none(DnsStatus::Bogus));
    let (sender, first, _) = world.sender();
    let mut off = connector(Posture::Opportunistic);
    off.dane = DaneRule::Off;
    assert_eq!(send(&sender, &off, &plain()).await.statuses(), [RecipientStatus::Delivered]);
    assert_eq!(first.messages(), [(false, true)]);
    assert!(sender.lookups().asked().iter().all(|question| !question.starts_with("TLSA")));
}

/// RFC 7672, section 2.2.2, "Insecure CNAME": the zone of the alias may be signed although what it
/// leads to is not.
#[tokio::test]
async fn a_signed_alias_of_an_unsigned_host_has_tlsa_records_of_its_own() {
    for (alias, asked) in [(DnsStatus::Secure, true), (DnsStatus::Insecure, false)] {
        let mut world = World::new(DnsStatus::Secure).await;
        world.zone.mx.get_mut(&name(DOMAIN)).unwrap().records.truncate(1);
        let answer = DnsAnswer::new(DnsStatus::Insecure, vec![Ipv4Addr::LOCALHOST])
            .through(name("host.example.net"));
        world.zone.ipv4.insert(name(HOST), answer);
        world.zone.cname.insert(HOST.into(), alias);
        let wrong = TlsaRecord { usage: 3, selector: 1, matching: 1, data: vec![7; 32] };
        let (port, owner) = (world.port, world.tlsa(HOST));
        world.zone.add_tlsa(&name(HOST), port, wrong);
        let (sender, ..) = world.sender();
        let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
        let expected = if asked {
            RecipientStatus::Deferred(status(4, 7, 5))
        } else {
            RecipientStatus::Delivered
        };
        assert_eq!(report.statuses(), [expected]);
        let tlsa: Vec<_> =
            sender.lookups().asked().into_iter().filter(|it| it.starts_with("TLSA")).collect();
        assert_eq!(tlsa, if asked { vec![format!("TLSA {owner}")] } else { vec![] });
    }
    // A look-up that fails makes the host unreachable.
    let mut world = World::new(DnsStatus::Secure).await;
    world.zone.mx.get_mut(&name(DOMAIN)).unwrap().records.truncate(1);
    let answer = DnsAnswer::new(DnsStatus::Insecure, vec![Ipv4Addr::LOCALHOST])
        .through(name("host.example.net"));
    world.zone.ipv4.insert(name(HOST), answer);
    world.zone.cname.insert(HOST.into(), DnsStatus::Failed);
    let (sender, first, _) = world.sender();
    let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
    assert_eq!(
        (report.statuses()[0], first.connections()),
        (RecipientStatus::Deferred(status(4, 7, 5)), 0)
    );
}
