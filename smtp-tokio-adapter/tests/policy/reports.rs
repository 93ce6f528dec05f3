//! What is reported of it (RFC 8460).

use crate::routes::breaks_tls;
use crate::sts::ENFORCE;
use crate::world::*;

/// Policy type, success, result types.
fn sessions(report: &Report) -> Vec<(&'static str, bool, Vec<&'static str>)> {
    let told = report.sessions().map(|it| {
        let results = it.failures.iter().filter_map(|reason| reason.result_type());
        let failures = results.map(|result| result.as_str()).collect();
        (it.policy.kind(), it.succeeded, failures)
    });
    told.collect()
}

/// RFC 8460, section 4: one final status for each connection, and none for one that only repeats
/// another.
#[tokio::test]
async fn every_connection_is_reported_once() {
    let everybody = connector(Posture::Opportunistic);
    let mut world = World::new(DnsStatus::Insecure).await;
    world.zone.publish_sts(&name(DOMAIN), "1", ENFORCE);
    let (sender, ..) = world.sender();
    let report = send(&sender, &everybody, &plain()).await;
    assert_eq!(
        sessions(&report),
        [("sts", false, vec!["validation-failure"]), ("sts", true, vec![])]
    );
    let passed_over = report.skipped[0].1.session.as_ref().unwrap();
    assert_eq!((&passed_over.mx, passed_over.receiving), (&Some(Host::parse(HOST).unwrap()), None));
    let delivered = &report.attempts[0].sessions[0];
    assert_eq!((delivered.sending, delivered.receiving), (Some(loopback(1)), Some(loopback(2))));
    assert_eq!(delivered.policy.domain(), &name(DOMAIN));
    assert_eq!(delivered.policy.strings()[2], "mx: backup.test.example");
    // A sender who has asked for no policy tells of none.
    let (domain, envelope) = (Host::parse(DOMAIN).unwrap(), plain());
    let mut mail = Mail::new(&everybody, &domain, &envelope, &MESSAGE);
    mail.tls_required_no = true;
    assert_eq!(sessions(&deliver(&sender, &mail).await), []);

    // TLS that breaks is told once, and not again for the clear text that follows, now or while it
    // is remembered.
    let mut world = World::new(DnsStatus::Insecure).await;
    world.zone.mx.get_mut(&name(DOMAIN)).unwrap().records.truncate(1);
    let [listener] = <[TcpListener; 1]>::try_from(listen(&[loopback(1)]).await).unwrap();
    world.port = listener.local_addr().unwrap().port();
    tokio::spawn(breaks_tls(listener));
    let (sender, ..) = world.sender();
    let first = send(&sender, &everybody, &plain()).await;
    assert_eq!(first.attempts.len(), 3);
    assert_eq!(sessions(&first), [("no-policy-found", false, vec!["validation-failure"])]);
    assert_eq!(sessions(&send(&sender, &everybody, &plain()).await), []);

    // What a server lacks beside TLS is no failure of TLS.
    let world = World::with(DnsStatus::Secure, with_requiretls(false), with_requiretls(true)).await;
    let (sender, ..) = world.sender();
    let report = send(&sender, &everybody, &requiretls()).await;
    assert_eq!(
        sessions(&report),
        [("no-policy-found", true, vec![]), ("no-policy-found", true, vec![])]
    );
}
