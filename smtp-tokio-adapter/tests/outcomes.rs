//! The outcome of each recipient: whose it is, when it is handed out, and by which connector.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{
    HOST, Pki, connector, envelope, outbound, pipelined, plan_for, send_to, sender, sender_of,
    smtp, start, to_data,
};
use smtp_proto::client::Recipient;
use smtp_proto::route::{NO_SUCH_DOMAIN, RecipientStatus};
use smtp_proto::server::StartTls;
use smtp_proto::timeouts::Timeouts;
use smtp_proto::wire::host::HostName;
use smtp_proto::wire::path::{AddressRules, ForwardPath, PathError};
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::{OutboundConnectors, Posture};
use smtp_tls_policy::{Domain, Host, Namespace, Reason};
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::test_kit::{Script, Tls, in_memory, listen};
use smtp_tokio_adapter::{Delivery, Failure, Inbound, Mail, Outbound, Sender, Target};

/// What never ends by itself fails after this.
const HANG: Duration = Duration::from_secs(60);
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
    let by = connector(Posture::None);
    let recipients = ["gone@test.example", "good@test.example"];
    let report = send_to(&outbound(&Pki::new()), address, &by, MESSAGE, &recipients).await;
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
        sender.send_with(envelope, &Bytes::from(MESSAGE), &[], on_outcome).await
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
    let outbound = outbound(&Pki::new()).with_smtp(|smtp| smtp.timeouts.quit = 2 * HANG);
    let sender = sender_of(outbound, zone(&["test.example"]), address.port());
    let (envelope, message) = (envelope(&["a@test.example"]), Bytes::from(MESSAGE));
    let report = tokio::time::timeout(HANG, sender.send(envelope, &message))
        .await
        .expect("a report although QUIT is not answered");
    assert_eq!(report.statuses(), [RecipientStatus::Delivered]);
    let outcome = &report.recipients[0];
    assert_eq!(outcome.queue_id(), Some("4XyZ12"));
    assert_eq!(
        (outcome.host.as_ref().map(HostName::as_str), outcome.address),
        (Some(HOST), Some(address))
    );
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
    let report = sender.send(envelope(&recipients), &Bytes::from(MESSAGE)).await;
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
    let report = sender.send_mail(&Mail::new(&connector, &domain, &envelope, &message)).await;
    assert_eq!(report.statuses(), [RecipientStatus::Deferred(EnhancedCode::new(4, 3, 0)); 2]);
    assert!(report.attempts.is_empty(), "{report:?}");
    for outcome in &report.recipients {
        let failure = outcome.failure.as_deref();
        let Some(Failure::OtherDomain { index, domain: of }) = failure else {
            panic!("{failure:?}")
        };
        assert_eq!((*index, of), (1, &domain));
    }
    assert!(server.kept.messages.lock().unwrap().is_empty());
}

/// A `Sender` measures a message without a size. Elsewhere the caller states the body in the
/// envelope, and 8-bit octets under a 7-bit envelope do not leave.
#[tokio::test]
async fn eight_bit_bodies_are_measured_or_refused() {
    let server = start(Inbound::new(Arc::new(smtp()))).await;
    let message = Bytes::from("Subject: x\r\n\r\ngr\u{fc}n\r\n");
    let sender = sender(&Pki::new(), zone(&["test.example"]), server.address.port());
    let report = sender.send(envelope(&["a@test.example"]), &message).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered]);
    let (to, by) = (envelope(&["a@test.example"]), connector(Posture::None));
    let domain = Host::parse("test.example").unwrap();
    let report = sender.send_mail(&Mail::new(&by, &domain, &to, &message)).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered]);

    let by = connector(Posture::None);
    let recipients = ["a@test.example"];
    let report = send_to(&outbound(&Pki::new()), server.address, &by, message, &recipients).await;
    assert!(!matches!(report.statuses()[0], RecipientStatus::Delivered), "{report:?}");
    let failure = report.recipients[0].failure.as_deref();
    assert!(matches!(failure, Some(Failure::EightBit)), "{failure:?}");
    assert_eq!(server.kept.messages.lock().unwrap().len(), 2);
}

/// Strict rules, recipients of each kind, and good ones between them.
#[tokio::test]
async fn recipient_whose_address_breaks_the_rules_bounces_and_the_others_get_the_message() {
    let server = start(Inbound::new(Arc::new(smtp()))).await;
    let outbound = outbound(&Pki::new()).with_smtp(|smtp| smtp.addresses = AddressRules::STRICT);
    let recipients = ["a@test.example", "a..b@test.example", "b@test.example", "c@x_y.example"];
    let sender = sender_of(outbound.clone(), zone(&["test.example"]), server.address.port());
    let (envelope, message) = (envelope(&recipients), Bytes::from(MESSAGE));
    let mut told = Vec::new();
    let report = sender.send_with(envelope, &message, &[], |index, _| told.push(index)).await;
    let bounced = RecipientStatus::Bounced(EnhancedCode::new(5, 1, 3));
    let delivered = RecipientStatus::Delivered;
    assert_eq!(report.statuses(), [delivered, bounced, delivered, bounced]);
    // Those that no host is asked about come first, and each comes once.
    assert_eq!(told, [1, 3, 0, 2]);
    for (index, error) in [(1, PathError::LocalPart), (3, PathError::Domain)] {
        let outcome = &report.recipients[index];
        assert_eq!((&outcome.host, outcome.address), (&None, None), "{outcome:?}");
        let failure = outcome.failure.as_deref();
        let named = matches!(failure, Some(Failure::Recipient(it))
            if *it == error);
        assert!(named, "{failure:?}");
    }
    assert_eq!(server.kept.messages.lock().unwrap().len(), 1);

    // A delivery by a connector of the caller, and a transaction on a connection, say the same.
    let by = connector(Posture::None);
    let recipients = &recipients[..3];
    let report = send_to(&outbound, server.address, &by, MESSAGE, recipients).await;
    assert_eq!(report.statuses(), [delivered, bounced, delivered]);
    let delivery = transact(&outbound, server.address, recipients).await;
    let statuses: Vec<_> = (0..3).map(|index| delivery.status(index)).collect();
    assert_eq!(statuses, [Some(delivered), Some(bounced), Some(delivered)]);
    assert_eq!(delivery.not_sent, [(1, PathError::LocalPart)]);
    assert_eq!(server.kept.messages.lock().unwrap().len(), 3);
}

/// The rest of a message that counts as failed would be delivered, and then be sent again.
#[tokio::test(start_paused = true)]
async fn rest_of_a_message_does_not_go_out_after_a_time_out_or_a_drop() {
    let pki = Pki::new();
    // More than the stream holds, and less than a TLS session takes.
    let message = format!("Subject: x\r\n\r\n{}", "x\r\n".repeat(8000));
    let patience = Timeouts::default().end_of_data;
    let second = Duration::from_secs(1);
    for (posture, is_dropped) in [
        (Posture::None, false),
        (Posture::None, true),
        (Posture::Verified, false),
        (Posture::Verified, true),
    ] {
        let mut script = Script::new().say("220 mx").expect("EHLO");
        if posture == Posture::Verified {
            script = script.say("250-mx\n250 STARTTLS").starttls(Tls::server(pki.identity(HOST)));
            script = script.expect("EHLO");
        }
        let script = script.say("250 mx").expect("MAIL").say("250 ok").expect("RCPT").say("250 ok");
        // It reads again while the connection might still be lingering.
        let script = script.expect("DATA").say("354 go").pause(patience + second).ignore();
        let (stream, peer) = in_memory(script);
        let plan = plan_for(&connector(posture), false);
        let target = Target::new(&Host::parse(HOST).unwrap(), &plan);
        let mut connection = outbound(&pki).open(&target, stream).await.unwrap();
        let mut source = message.as_bytes();
        let sending = connection.send(Arc::new(envelope(&["a@test.example"])), &mut source);
        let limit = if is_dropped { patience - second } else { 2 * patience };
        let delivery = tokio::time::timeout(limit, sending).await;
        assert_eq!(delivery.is_err(), is_dropped);
        if let Ok(delivery) = delivery {
            let failure = delivery.end.unwrap_err();
            assert!(matches!(failure, Failure::InDoubt(_)), "{failure}");
        }
        connection.quit().await;
        let received = peer.await.unwrap().unwrap().received();
        assert!(received < 8000, "{posture}: {received} octets of {}", message.len());
    }
}

async fn transact(outbound: &Outbound, address: SocketAddr, recipients: &[&str]) -> Delivery {
    let plan = plan_for(&connector(Posture::None), false);
    let target = Target::new(&Host::parse(HOST).unwrap(), &plan);
    let mut connection = outbound.connect(&target, address).await.unwrap();
    connection.send(Arc::new(envelope(recipients)), &mut MESSAGE.as_bytes()).await
}

/// No host is dialled, and none has to be up: the mail would be the same to each of them.
#[tokio::test]
async fn sender_whose_address_breaks_the_rules_bounces_every_recipient_without_a_connection() {
    let server = start(Inbound::new(Arc::new(smtp()))).await;
    let outbound = outbound(&Pki::new()).with_smtp(|smtp| smtp.addresses = AddressRules::STRICT);
    let sender = sender_of(outbound.clone(), zone(&["test.example"]), server.address.port());
    let mut mail = envelope(&["a@test.example", "b@elsewhere.example"]);
    mail.reverse_path = ".sender@client.test.example".parse().unwrap();
    let report = sender.send(mail.clone(), &Bytes::from(MESSAGE)).await;
    let bounced = RecipientStatus::Bounced(EnhancedCode::new(5, 1, 7));
    assert_eq!(report.statuses(), [bounced, bounced]);
    assert!(report.attempts.is_empty(), "{:?}", report.attempts);
    let failure = report.recipients[0].failure.as_deref();
    let named = matches!(failure, Some(Failure::Sender(PathError::LocalPart)));
    assert!(named, "{failure:?}");

    let plan = plan_for(&connector(Posture::None), false);
    let target = Target::new(&Host::parse(HOST).unwrap(), &plan);
    let mut connection = outbound.connect(&target, server.address).await.unwrap();
    let delivery = connection.send(Arc::new(mail), &mut MESSAGE.as_bytes()).await;
    assert_eq!((delivery.status(0), delivery.status(1)), (Some(bounced), Some(bounced)));
    assert!(connection.is_reusable().await, "nothing was sent");
    assert!(server.kept.messages.lock().unwrap().is_empty());
}

/// The default takes the addresses of the field but no path without a domain.
#[tokio::test]
async fn path_without_a_domain_bounces_unless_the_rules_allow_it() {
    let server = start(Inbound::new(Arc::new(smtp()))).await;
    let mut rules = AddressRules::FIELD;
    rules.no_domain = true;
    let root = Recipient::from(ForwardPath::parse("root", rules).unwrap().into_owned());
    let mut mail = envelope(&["a.@test.example"]);
    mail.recipients.push(root);
    let sender = sender(&Pki::new(), zone(&["test.example"]), server.address.port());
    let report = sender.send(mail.clone(), &Bytes::from(MESSAGE)).await;
    let bounced = RecipientStatus::Bounced(EnhancedCode::new(5, 1, 3));
    assert_eq!(report.statuses(), [RecipientStatus::Delivered, bounced]);

    // Where the rules allow it, no MX record says where it goes.
    let outbound = outbound(&Pki::new()).with_smtp(|smtp| smtp.addresses = rules);
    let sender = sender_of(outbound, zone(&["test.example"]), server.address.port());
    let report = sender.send(mail, &Bytes::from(MESSAGE)).await;
    let bounced = RecipientStatus::Bounced(NO_SUCH_DOMAIN);
    assert_eq!(report.statuses(), [RecipientStatus::Delivered, bounced]);
}

/// Row C17f: the first recipient cannot be one too many (RFC 5321, section 4.5.3.1.10), so its
/// mailbox is full. It bounces, and is sent to no second time; the other recipient has the message.
#[tokio::test]
async fn a_552_to_the_first_recipient_is_a_full_mailbox_and_bounces() {
    for (reply, code) in
        [("552 full", (5, 0, 0)), ("552 5.2.2: full", (5, 2, 2)), ("552 5.5.3 too many", (5, 5, 3))]
    {
        for leave_over_limit in [false, true] {
            let script = pipelined(&format!("250 sender\n{reply}\n250 good\n354 go"));
            let script = script.expect_message().say("250 kept").expect("QUIT").say("221 bye");
            let server = listen([script]).await.unwrap();
            let outbound =
                outbound(&Pki::new()).with_smtp(|smtp| smtp.leave_over_limit = leave_over_limit);
            let sender = sender_of(outbound, zone(&["test.example"]), server.address().port());
            let mail = envelope(&["full@test.example", "good@test.example"]);
            let report = sender.send(mail, &Bytes::from(MESSAGE)).await;
            sender.close().await;
            let (class, subject, detail) = code;
            let bounced = RecipientStatus::Bounced(EnhancedCode::new(class, subject, detail));
            assert_eq!(report.statuses(), [bounced, RecipientStatus::Delivered], "{reply}");
            let words = report.recipients[0].reply.as_ref().unwrap().to_string();
            assert_eq!(words, reply);
            server.finish().await.unwrap();
        }
    }
}

/// The same reply to a later recipient is what RFC 821 had for too many of them.
#[tokio::test]
async fn a_552_to_a_later_recipient_means_too_many_and_it_is_sent_to_in_a_transaction_of_its_own() {
    for reply in ["552 too many", "552 5.5.3 too many", "452 4.5.3 too many"] {
        let script = pipelined(&format!("250 sender\n250 good\n{reply}\n354 go"));
        let script = script.expect_message().say("250 kept").expect("MAIL").expect("RCPT");
        let script = script.expect("DATA").say("250 sender\n250 later\n354 go");
        let script = script.expect_message().say("250 kept").expect("QUIT").say("221 bye");
        let server = listen([script]).await.unwrap();
        let outbound = outbound(&Pki::new()).with_smtp(|smtp| smtp.leave_over_limit = true);
        let sender = sender_of(outbound, zone(&["test.example"]), server.address().port());
        let mail = envelope(&["good@test.example", "later@test.example"]);
        let report = sender.send(mail, &Bytes::from(MESSAGE)).await;
        sender.close().await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered; 2], "{reply}");
        server.finish().await.unwrap();
    }
}
