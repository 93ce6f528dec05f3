//! A revocation list that is replaced while mail is sent.

mod common;

use std::sync::Arc;

use common::{HOST, Pki, changed, connector, provider, send, smtp, start};
use rcgen::{CertificateParams, SerialNumber};
use smtp_proto::route::RecipientStatus;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::Reason;
use smtp_tls_policy::pki::{LiveTrust, Replaced, RootsId};
use smtp_tls_policy::rules::Posture;
use smtp_tls_policy::tls::{ClientCertificates, server_config};
use smtp_tokio_adapter::{Inbound, Outbound};

const SERIAL: u64 = 42;

#[tokio::test]
async fn a_list_replaced_between_two_deliveries() {
    let pki = Pki::new();
    let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    params.serial_number = Some(SerialNumber::from(SERIAL));
    let tls = server_config(pki.sign(&params), ClientCertificates::None, provider()).unwrap();
    let server = start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(tls))).await;

    let live = Arc::new(LiveTrust::new(pki.trust()));
    let outbound = Outbound::new("client.test.example".parse().unwrap(), provider(), live.clone());
    let replace = |number, serials: &[u64]| {
        live.replace_crl_der(&RootsId::public(), &pki.crl(number, serials))
    };
    assert_eq!(replace(1, &[]), Ok(Replaced::Added));

    let by = connector(Posture::Verified);
    let message = &b"Subject: hello\r\n\r\n"[..];
    // Twice, so that there is a session to resume.
    for _ in 0..2 {
        let report = send(&outbound, server.address, &by, message).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    }
    assert_eq!(replace(2, &[SERIAL]), Ok(Replaced::Replaced));
    let report = send(&outbound, server.address, &by, message).await;
    assert_eq!(
        report.statuses(),
        [RecipientStatus::Deferred(EnhancedCode::new(4, 7, 5))],
        "{report:?}"
    );
    assert_eq!(report.attempts[0].decision.reason, Reason::CertRevoked);
    assert_eq!(server.kept.messages.lock().unwrap().len(), 2);
    // An older list does not bring the host back; a newer one does.
    assert!(replace(1, &[]).is_err());
    let report = send(&outbound, server.address, &by, message).await;
    assert_eq!(report.attempts[0].decision.reason, Reason::CertRevoked);
    assert_eq!(replace(3, &[]), Ok(Replaced::Replaced));
    let report = send(&outbound, server.address, &by, message).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
}
