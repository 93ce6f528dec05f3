//! The outcome of each recipient: whose it is, when it is handed out, and by which connector.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{
    HOST, Pki, connector, envelope, outbound, pipelined, plan_for, send_to, sender, smtp, start,
    to_data,
};
use smtp_proto::route::RecipientStatus;
use smtp_proto::server::StartTls;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::{OutboundConnectors, Posture};
use smtp_tls_policy::{Domain, Host, Namespace, Reason};
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::test_kit::listen;
use smtp_tokio_adapter::{Failure, Inbound, Mail, MessageError, Sender};

const MESSAGE: &str = "Subject: x\r\n\r\nhello\r\n";

fn zone(domains: &[&str]) -> Zone {
    let host = Domain::parse(HOST).unwrap();
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.add_host(&host, ["127.0.0.1".parse().unwrap()]);
    for domain in domains {
        zone.add_mx(&Domain::parse(domain).unwrap(), 10, &host);
    }
    zone
}

/// One reply too many after MAIL: the 550 of the first recipient is read as that of the second, and
/// only the reply to DATA shows it.
#[tokio::test]
async fn replies_out_of_step_bounce_no_recipient() {
    let replies = "250 sender\n250 surplus\n550 5.1.1 gone\n250 good\n354 go";
    let server = listen([pipelined(replies).ignore()]).await.unwrap();
    let address = server.address();
    let plan = plan_for(&connector(Posture::None), false);
    let recipients = ["gone@test.example", "good@test.example"];
    let report = send_to(&outbound(&Pki::new()), address, plan, None, MESSAGE, &recipients).await;
    let deferred = |status: &RecipientStatus| matches!(status, RecipientStatus::Deferred(_));
    assert!(report.statuses().iter().all(deferred), "{:?}", report.statuses());
}

/// A refusal that is in step is final, and handed out before the message itself is answered.
#[tokio::test]
async fn a_refused_recipient_is_handed_out_before_the_end_of_the_message() {
    let script = pipelined("250 sender\n550 5.1.1 gone\n250 good\n354 go");
    let server = listen([script.expect_message().stall()]).await.unwrap();
    let address = server.address();
    let sender = sender(&Pki::new(), zone(&["test.example"]), address.port());
    let envelope = envelope(&["gone@test.example", "good@test.example"]);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let sending = tokio::spawn(async move {
        let on_outcome = move |index, outcome: &smtp_tokio_adapter::RecipientOutcome| {
            tell.send((index, outcome.status, outcome.reply.clone())).unwrap();
        };
        sender.send_with(&envelope, &Bytes::from(MESSAGE), on_outcome).await
    });
    let (index, status, reply) = told.recv().await.unwrap();
    let bounced = RecipientStatus::Bounced(EnhancedCode::new(5, 1, 1));
    assert_eq!((index, status), (0, bounced));
    assert_eq!(reply.unwrap().to_string(), "550 5.1.1 gone");
    assert!(!sending.is_finished(), "the other recipient waits for the reply to the message");
    sending.abort();
}

/// RFC 5321, section 4.5.3.2 gives QUIT minutes: the report must not wait for them.
#[tokio::test]
async fn a_peer_that_never_answers_quit_delays_nothing() {
    let script = to_data().expect_message().say("250 2.0.0 Ok: queued as 4XyZ12").stall();
    let server = listen([script]).await.unwrap();
    let address = server.address();
    let sender = sender(&Pki::new(), zone(&["test.example"]), address.port());
    let (envelope, message) = (envelope(&["a@test.example"]), Bytes::from(MESSAGE));
    let report = tokio::time::timeout(Duration::from_secs(5), sender.send(&envelope, &message))
        .await
        .expect("a report although QUIT is not answered");
    assert_eq!(report.statuses(), [RecipientStatus::Delivered]);
    let outcome = &report.recipients[0];
    assert_eq!(outcome.queue_id(), Some("4XyZ12"));
    assert_eq!((outcome.host.as_deref(), outcome.address), (Some(HOST), Some(address)));
}

/// One envelope, two domains: the bank's connector requires what the server does not offer.
#[tokio::test]
async fn recipients_of_two_domains_go_by_their_own_connectors() {
    let mut config = smtp();
    config.starttls = StartTls::No;
    let server = start(Inbound::new(Arc::new(config))).await;
    let mut bank = connector(Posture::Verified);
    bank.name = "bank".into();
    bank.namespaces = vec![Namespace::parse("bank.example").unwrap()];
    let others = connector(Posture::Opportunistic);
    let connectors = Arc::new(OutboundConnectors::new(vec![bank, others]).unwrap());
    let zone = zone(&["test.example", "bank.example"]);
    let port = server.address.port();
    let sender = Sender::new(outbound(&Pki::new()), connectors, zone).unwrap();
    let sender = sender.with_route(|route| route.port = port);
    let recipients = ["ceo@bank.example", "a@test.example", "cfo@bank.example"];
    let report = sender.send(&envelope(&recipients), &Bytes::from(MESSAGE)).await;
    let deferred = RecipientStatus::Deferred(EnhancedCode::new(4, 7, 4));
    assert_eq!(report.statuses(), [deferred, RecipientStatus::Delivered, deferred]);
    let decision = report.recipients[0].decision.as_ref().unwrap();
    assert_eq!(decision.reason, Reason::StarttlsNotOffered);
    let kept = server.kept.messages.lock().unwrap();
    assert_eq!(kept.len(), 1, "the bank's recipients were not sent to in clear text");
}

#[tokio::test]
async fn a_recipient_of_another_domain_is_refused_before_dialling() {
    let server = start(Inbound::new(Arc::new(smtp()))).await;
    let sender = sender(&Pki::new(), zone(&["test.example"]), server.address.port());
    let (connector, domain) = (connector(Posture::None), Host::parse("test.example").unwrap());
    let envelope = envelope(&["a@test.example", "ceo@bank.example"]);
    let message = Bytes::from(MESSAGE);
    let refused =
        sender.send_mail(&Mail::new(&connector, &domain, &envelope, &message)).await.unwrap_err();
    assert_eq!((refused.index, refused.domain), (1, domain));
    assert!(server.kept.messages.lock().unwrap().is_empty());
}

/// `send` measures a message without a size. Elsewhere the caller states the body in the envelope,
/// and 8-bit octets under a 7-bit envelope do not leave.
#[tokio::test]
async fn eight_bit_bodies_are_measured_or_refused() {
    let server = start(Inbound::new(Arc::new(smtp()))).await;
    let message = Bytes::from("Subject: x\r\n\r\ngr\u{fc}n\r\n");
    let sender = sender(&Pki::new(), zone(&["test.example"]), server.address.port());
    let report = sender.send(&envelope(&["a@test.example"]), &message).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered]);

    let plan = plan_for(&connector(Posture::None), false);
    let recipients = ["a@test.example"];
    let report =
        send_to(&outbound(&Pki::new()), server.address, plan, None, message, &recipients).await;
    assert!(!matches!(report.statuses()[0], RecipientStatus::Delivered), "{report:?}");
    let failure = report.recipients[0].failure.as_deref();
    assert!(matches!(failure, Some(Failure::Message(MessageError::EightBit))), "{failure:?}");
    assert_eq!(server.kept.messages.lock().unwrap().len(), 1);
}
