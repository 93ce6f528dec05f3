//! Servers that send a reply too many: no recipient gets the reply to another one, whether one mail
//! or several go over the connection.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{HOST, Pki, connector, envelope, outbound, plan_for, sender_of};
use smtp_proto::error::Error;
use smtp_proto::route::RecipientStatus;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::Posture;
use smtp_tls_policy::{Domain, Host};
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::test_kit::{Listening, Script, listen_with};
use smtp_tokio_adapter::{Connection, Delivery, Failure, OutcomeBuf, Report, Target};
use tokio::net::TcpStream;

const GONE: &str = "gone@test.example";
const GOOD: &str = "good@test.example";

/// What a server adds to its replies.
#[derive(Clone, Copy, Default)]
struct Habits {
    /// After the reply to EHLO.
    after_ehlo: &'static str,
    /// After the reply to each message.
    after_message: &'static str,
    /// Its EHLO reply.
    ehlo: &'static str,
}

/// A server that refuses the recipient `gone` with 550, and takes all others.
async fn server(habits: Habits) -> Listening {
    let say = |text: &str| Some(Script::new().say(text));
    let listening = listen_with(move |mut peer, _| async move {
        peer.play(&Script::new().say("220 mx")).await?;
        peer.serve(|line| match line.get(..4)? {
            "EHLO" => say(&format!("{}\n{}", habits.ehlo, habits.after_ehlo)),
            "RCPT" if line.contains("gone") => say("550 5.1.1 gone"),
            "DATA" => {
                let kept = format!("250 2.0.0 kept\n{}", habits.after_message);
                say("354 go").map(|script| script.expect_message().say(&kept))
            }
            _ => None,
        })
        .await?;
        Ok(peer)
    });
    listening.await.unwrap()
}

const PLAIN: &str = "250 mx";
const SURPLUS: &str = "250 2.0.0 once more";

async fn connect(server: &Listening) -> Connection<TcpStream> {
    let (host, plan) = (Host::parse(HOST).unwrap(), plan_for(&connector(Posture::None), false));
    let stream = TcpStream::connect(server.address()).await.unwrap();
    outbound(&Pki::new()).open(&Target::new(&host, &plan), stream).await.unwrap()
}

async fn mail(connection: &mut Connection<TcpStream>, recipients: &[&str]) -> Delivery {
    connection.send(Arc::new(envelope(recipients)), &mut &b"Subject: x\r\n\r\nx\r\n"[..]).await
}

async fn deliver(habits: Habits, leave_over_limit: bool, recipients: &[&str]) -> Report {
    let host = Domain::parse(HOST).unwrap();
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.add_mx(&Domain::parse("test.example").unwrap(), 10, &host);
    zone.add_host(&host, ["127.0.0.1".parse().unwrap()]);
    let outbound = outbound(&Pki::new()).with_smtp(|smtp| smtp.leave_over_limit = leave_over_limit);
    let server = server(habits).await;
    let sender = sender_of(outbound, zone, server.address().port());
    sender.send(envelope(recipients), &Bytes::from_static(b"Subject: x\r\n\r\nx\r\n")).await
}

const fn is_unsolicited(failure: &Failure) -> bool {
    matches!(failure, Failure::Protocol(Error::UnsolicitedReply))
}

/// Rows C20a, C20b and C21: two replies to the final dot, then the next mail on the connection.
#[tokio::test]
async fn two_replies_to_the_dot_end_the_connection_before_the_next_mail() {
    for ehlo in [PLAIN, "250-mx\n250 PIPELINING"] {
        let habits = Habits { ehlo, after_message: SURPLUS, ..Habits::default() };
        let server = server(habits).await;
        let mut connection = connect(&server).await;
        let first = mail(&mut connection, &[GOOD]).await;
        assert!(matches!(first.end, Ok(OutcomeBuf::Accepted(_))), "{first:?}");
        assert!(!connection.is_reusable().await, "a reply is there that answers no command");
        let second = mail(&mut connection, &[GONE, GOOD]).await;
        for index in 0..2 {
            let status = second.status(index);
            let bounced = matches!(status, Some(RecipientStatus::Bounced(_)));
            assert!(!bounced, "recipient {index}: {second:?}");
        }
        assert_eq!(second.reply(1), None, "{second:?}");
    }
}

/// Rows C20a and C21, without the question whether the connection can be used again.
#[tokio::test]
async fn next_mail_after_two_replies_to_the_dot_fails_with_unsolicited_reply() {
    let habits = Habits { ehlo: PLAIN, after_message: SURPLUS, ..Habits::default() };
    let server = server(habits).await;
    let mut connection = connect(&server).await;
    let first = mail(&mut connection, &[GOOD]).await;
    assert!(matches!(first.end, Ok(OutcomeBuf::Accepted(_))), "{first:?}");
    let second = mail(&mut connection, &[GONE, GOOD]).await;
    let failure = second.end.as_ref().unwrap_err();
    assert!(is_unsolicited(failure), "{failure:?}");
    assert_eq!((second.status(0), second.reply(1)), (second.status(1), None), "{second:?}");
}

/// Rows C20e and C20h: one surplus reply after the EHLO reply, then one delivery by default rules.
#[tokio::test]
async fn surplus_reply_after_the_ehlo_reply_bounces_no_good_recipient() {
    for ehlo in [PLAIN, "250-mx\n250 PIPELINING"] {
        let habits = Habits { ehlo, after_ehlo: SURPLUS, ..Habits::default() };
        let report = deliver(habits, false, &[GONE, GOOD]).await;
        let deferred = |status: &RecipientStatus| matches!(status, RecipientStatus::Deferred(_));
        assert!(report.statuses().iter().all(deferred), "{:?}", report.statuses());
        let failure = report.recipients[1].failure.as_deref().unwrap();
        assert!(is_unsolicited(failure), "{failure:?}");
    }
}

/// Row C22: LIMITS makes two transactions of one delivery, and the reply too many is between them.
#[tokio::test]
async fn surplus_reply_between_the_transactions_of_one_delivery_bounces_no_good_recipient() {
    let ehlo = "250-mx\n250-PIPELINING\n250 LIMITS RCPTMAX=2";
    let habits = Habits { ehlo, after_message: SURPLUS, ..Habits::default() };
    let recipients = ["a@test.example", "b@test.example", GONE, GOOD];
    let report = deliver(habits, true, &recipients).await;
    let statuses = report.statuses();
    assert_eq!(statuses[..2], [RecipientStatus::Delivered, RecipientStatus::Delivered]);
    assert!(!matches!(statuses[3], RecipientStatus::Bounced(_)), "{report:?}");
    assert!(statuses[3] == RecipientStatus::Delivered || report.recipients[3].failure.is_some());

    // Without the reply too many each recipient has its own.
    let habits = Habits { ehlo, ..Habits::default() };
    let report = deliver(habits, true, &recipients).await;
    let gone = RecipientStatus::Bounced(EnhancedCode::new(5, 1, 1));
    let good = RecipientStatus::Delivered;
    assert_eq!(report.statuses(), [good, good, gone, good], "{report:?}");
}
