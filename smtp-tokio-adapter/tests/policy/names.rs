//! Host names with underscores, which the DNS allows and mailbox domains do not.

use crate::world::*;

/// As a large hoster writes it for the domains of its customers.
const UNDERSCORE: &str = "_dc-mx.5c2b0f0a1e7d.test.example";

/// A domain whose only MX record names a host with an underscore.
async fn world() -> World {
    let pki = Pki::new();
    let [one, two] =
        <[TcpListener; 2]>::try_from(listen(&[loopback(1), loopback(2)]).await).unwrap();
    let port = one.local_addr().unwrap().port();
    let identity = pki.identity(UNDERSCORE);
    let first = take(one, smtp(), Arc::clone(&identity));
    let second = take(two, smtp(), pki.identity(BACKUP));
    let mut zone = Zone::new(DnsStatus::Secure);
    zone.add_mx(&name(DOMAIN), 10, &name(UNDERSCORE)).add_host(&name(UNDERSCORE), [loopback(1)]);
    World { pki, port, first, second, identity, zone }
}

#[tokio::test]
async fn mx_with_an_underscore_is_delivered_to_under_every_posture() {
    for posture in [
        Posture::None,
        Posture::Opportunistic,
        Posture::Deterministic,
        Posture::Encrypt,
        Posture::Verified,
    ] {
        let (sender, first, _) = world().await.sender();
        let report = send(&sender, &connector(posture), &plain()).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{posture} {report:?}");
        assert_eq!(first.messages(), [(false, posture != Posture::None)]);
    }
}

#[tokio::test]
async fn tlsa_record_of_a_host_with_an_underscore_authenticates_it() {
    let mut world = world().await;
    let (port, record) = (world.port, world.end_entity());
    world.zone.add_tlsa(&name(UNDERSCORE), port, record);
    let (sender, first, _) = world.sender();
    let report = send(&sender, &connector(Posture::DaneOnly), &plain()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    assert_eq!(first.messages(), [(false, true)]);
    assert_eq!(first.sni.lock().unwrap()[..], [Some(UNDERSCORE.to_owned())]);
}

#[tokio::test]
async fn smart_host_with_an_underscore_is_dialled() {
    let world = world().await;
    let mut connector = connector(Posture::Verified);
    let mut smart_host = SmartHost::new(Host::parse(UNDERSCORE).unwrap());
    smart_host.port = world.port;
    connector.smart_host = Some(smart_host);
    let (sender, first, _) = world.sender();
    let report = send(&sender, &connector, &plain()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    assert_eq!(first.messages(), [(false, true)]);
}
