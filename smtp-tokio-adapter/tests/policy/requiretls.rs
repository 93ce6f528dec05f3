//! What messages want: REQUIRETLS and `TLS-Required: No` (RFC 8689).

use crate::sts::ENFORCE;
use crate::world::*;

#[tokio::test]
async fn mail_carries_requiretls_where_the_server_offers_it_and_goes_nowhere_else() {
    let everybody = connector(Posture::Opportunistic);
    let world = World::with(DnsStatus::Secure, with_requiretls(false), with_requiretls(true)).await;
    let (sender, first, second) = world.sender();
    let report = send(&sender, &everybody, &requiretls()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    assert_eq!(report.attempts[0].decision.reason, Reason::RequiretlsUnsupported);
    assert_eq!((first.connections(), first.messages()), (1, vec![]));
    assert_eq!(second.messages(), [(true, true)]);
    // A message without the wish goes to the first, and does not carry it to the second.
    assert_eq!(send(&sender, &everybody, &plain()).await.statuses(), [RecipientStatus::Delivered]);
    assert_eq!(first.messages(), [(false, true)]);

    let world =
        World::with(DnsStatus::Secure, with_requiretls(false), with_requiretls(false)).await;
    let (sender, first, second) = world.sender();
    let report = send(&sender, &everybody, &requiretls()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Bounced(status(5, 7, 30))]);
    assert_eq!((first.connections(), second.connections()), (1, 1));
    assert!(first.messages().is_empty() && second.messages().is_empty());
}

#[tokio::test]
async fn requiretls_wants_hosts_for_which_dnssec_or_mta_sts_vouches() {
    let offering =
        || World::with(DnsStatus::Insecure, with_requiretls(true), with_requiretls(true));
    let everybody = connector(Posture::Opportunistic);
    let (sender, first, second) = offering().await.sender();
    let report = send(&sender, &everybody, &requiretls()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Bounced(status(5, 7, 10))]);
    assert_eq!(reason(&report), Some(Reason::RequiretlsMxInsecure));
    assert_eq!((first.connections(), second.connections()), (0, 0));

    let mut world = offering().await;
    world.zone.publish_sts(&name(DOMAIN), "1", ENFORCE);
    let (sender, first, second) = world.sender();
    assert_eq!(
        send(&sender, &everybody, &requiretls()).await.statuses(),
        [RecipientStatus::Delivered]
    );
    assert_eq!((first.connections(), second.messages()), (0, vec![(true, true)]));
}

#[tokio::test]
async fn a_bounce_carries_requiretls_where_it_can_and_is_not_stopped_where_it_cannot() {
    let mut bounce = requiretls();
    bounce.reverse_path = ReversePath::Null;
    for offered in [true, false] {
        // Not even a signed MX record is asked for.
        let world = World::with(DnsStatus::Insecure, with_requiretls(offered), smtp()).await;
        let (sender, first, _) = world.sender();
        let report = send(&sender, &connector(Posture::Opportunistic), &bounce).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
        assert_eq!(first.messages(), [(offered, true)]);
    }
    // What is offered in clear text does not count.
    let config = changed(with_requiretls(true), |it| it.starttls = server::StartTls::No);
    let (sender, first, _) = World::with(DnsStatus::Insecure, config, smtp()).await.sender();
    assert_eq!(
        send(&sender, &connector(Posture::Opportunistic), &bounce).await.statuses(),
        [RecipientStatus::Delivered]
    );
    assert_eq!(first.messages(), [(false, false)]);
}

/// A server that offers nothing, and writes down what it hears inside TLS.
async fn hears(listener: TcpListener, identity: Arc<CertifiedKey>) -> Vec<String> {
    let (stream, _) = listener.accept().await.unwrap();
    let mut peer = Peer::new(stream);
    let say = |text| Script::new().say(text);
    let hello = say("220 mx").expect("EHLO").say("250-mx\n250 STARTTLS");
    peer.play(&hello.starttls(Tls::server(identity))).await.unwrap();
    let mut heard = Vec::new();
    while let Some(line) = peer.next_line().await {
        let reply = if line.starts_with("QUIT") { "221 bye" } else { "250 mx" };
        heard.push(line);
        // The client need not wait for it.
        drop(peer.play(&say(reply)).await);
    }
    heard
}

/// RFC 8689, section 4.2.1: "If any of the above steps fail, the client MUST issue a QUIT".
#[tokio::test]
async fn server_without_requiretls_gets_quit() {
    for (certified, heard, final_status) in [
        ("elsewhere.example", &["QUIT"][..], (5, 7, 10)),
        (HOST, &["EHLO client.test.example", "QUIT"], (5, 7, 30)),
    ] {
        let mut world = World::new(DnsStatus::Secure).await;
        world.zone.mx.get_mut(&name(DOMAIN)).unwrap().records.truncate(1);
        let [listener] = <[TcpListener; 1]>::try_from(listen(&[loopback(1)]).await).unwrap();
        world.port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(hears(listener, world.pki.identity(certified)));
        let (sender, ..) = world.sender();
        let report = send(&sender, &connector(Posture::Opportunistic), &requiretls()).await;
        let (class, subject, detail) = final_status;
        assert_eq!(
            report.statuses(),
            [RecipientStatus::Bounced(status(class, subject, detail))],
            "{report:?}"
        );
        assert_eq!(server.await.unwrap(), heard);
    }
}

/// A plan for another message does not say whether this one may go.
#[tokio::test]
async fn a_plan_made_without_requiretls_sends_no_message_with_it() {
    let world = World::with(DnsStatus::Secure, with_requiretls(true), smtp()).await;
    let address = SocketAddr::new(loopback(1), world.port);
    let (host, plan) = (Host::parse(HOST).unwrap(), plan_for(&connector(Posture::Verified), false));
    let target = Target::new(&host, &plan);
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut connection = outbound(&world.pki).open(&target, stream).await.unwrap();
    let delivery = connection.send(Arc::new(requiretls()), &mut &MESSAGE[..]).await;
    assert!(matches!(delivery.end, Err(Failure::OtherMessage)), "{delivery:?}");
    assert_eq!(delivery.status(0), Some(RecipientStatus::Deferred(status(4, 3, 0))));
    // The connection is none the worse for it.
    let delivery = connection.send(Arc::new(plain()), &mut &MESSAGE[..]).await;
    assert_eq!(delivery.status(0), Some(RecipientStatus::Delivered));
    assert_eq!(world.first.messages(), [(false, true)]);
}

#[tokio::test]
async fn tls_required_no_lifts_what_is_published_and_not_what_the_administrator_wants() {
    let world = async || {
        let mut world = World::new(DnsStatus::Secure).await;
        let record = TlsaRecord { usage: 3, selector: 1, matching: 1, data: vec![7; 32] };
        let port = world.port;
        world.zone.add_tlsa(&name(HOST), port, record);
        world.zone.publish_sts(&name(DOMAIN), "1", &ENFORCE.replace("backup", "elsewhere"));
        world.zone.mx.get_mut(&name(DOMAIN)).unwrap().records.truncate(1);
        world
    };
    let (domain, envelope) = (Host::parse(DOMAIN).unwrap(), plain());
    let (sender, first, _) = world().await.sender();
    let everybody = connector(Posture::Opportunistic);
    let mut mail = Mail::new(&everybody, &domain, &envelope, &MESSAGE);
    mail.tls_required_no = true;
    let report = deliver(&sender, &mail).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    // TLS is tried all the same.
    assert_eq!(first.messages(), [(false, true)]);

    let mut world = world().await;
    world.zone.ipv4.get_mut(&name(HOST)).unwrap().records = vec![Ipv4Addr::new(127, 0, 0, 2)];
    let (sender, _, second) = world.sender();
    // Its certificate is for another name.
    let verified = connector(Posture::Verified);
    let mut mail = Mail::new(&verified, &domain, &envelope, &MESSAGE);
    mail.tls_required_no = true;
    let report = deliver(&sender, &mail).await;
    assert_eq!(report.statuses(), [RecipientStatus::Deferred(status(4, 7, 5))], "{report:?}");
    assert!(second.messages().is_empty());
}
