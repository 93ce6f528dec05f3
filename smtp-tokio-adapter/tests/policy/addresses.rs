//! A host with several addresses (RFC 5321, section 5.1): what fails at one of them is tried at the
//! others.

use crate::routes::breaks_tls;
use crate::world::*;
use smtp_proto::route::Manner;
use smtp_tokio_adapter::test_kit::{Peer, Script};

/// What one address of the host does.
#[derive(Clone, Copy)]
enum Does {
    /// Takes mail, and shows a certificate for this name.
    Shows(&'static str),
    /// Says the first of these at once, one more after each line of the client, and closes.
    Says(&'static [&'static str]),
    /// Breaks each TLS handshake, and takes mail in clear text.
    Breaks,
    /// Takes mail, and does not offer STARTTLS.
    HasNone,
    /// Takes mail, and answers STARTTLS with this.
    Refuses(&'static str),
}

/// A sender to a domain with one host, which is at 127.0.0.1 and 127.0.0.2; what the addresses have
/// seen.
async fn host(first: Does, second: Does) -> (Sender<Zone>, [Arc<Seen>; 2]) {
    let pki = Pki::new();
    let addresses = [loopback(1), loopback(2)];
    let listeners = <[TcpListener; 2]>::try_from(listen(&addresses).await).unwrap();
    let port = listeners[0].local_addr().unwrap().port();
    let mut seen = Vec::new();
    for (listener, does) in listeners.into_iter().zip([first, second]) {
        seen.push(match does {
            Does::Shows(name) => take(listener, smtp(), pki.identity(name)),
            Does::Says(lines) => {
                tokio::spawn(says(listener, lines));
                Arc::default()
            }
            Does::HasNone => take_in_clear(listener, None),
            Does::Refuses(reply) => take_in_clear(listener, Some(reply)),
            Does::Breaks => {
                tokio::spawn(breaks_tls(listener));
                Arc::default()
            }
        });
    }
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.add_mx(&name(DOMAIN), 10, &name(HOST)).add_host(&name(HOST), addresses);
    (crate::common::sender(&pki, zone, port), seen.try_into().ok().unwrap())
}

/// Takes mail in clear text, offers STARTTLS if there is a reply to it, and answers with that.
fn take_in_clear(listener: TcpListener, starttls: Option<&'static str>) -> Arc<Seen> {
    let seen = Arc::new(Seen::default());
    let noting = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            noting.connected();
            let noting = Arc::clone(&noting);
            tokio::spawn(async move {
                let greeted = Script::new().say("220 mx").expect("EHLO");
                let greeted = match starttls {
                    Some(_) => greeted.say("250-mx\n250 STARTTLS"),
                    None => greeted.say("250 mx"),
                };
                let mut peer = Peer::new(stream);
                if peer.play(&greeted).await.is_err() {
                    return;
                }
                while let Some(line) = peer.next_line().await {
                    let (reply, takes) = match line.get(..4).unwrap_or_default() {
                        "STAR" => (starttls.unwrap_or("502 what"), false),
                        "DATA" => ("354 go", true),
                        _ => ("250 ok", false),
                    };
                    let mut script = Script::new().say(reply);
                    if takes {
                        script = script.expect_message().say("250 kept");
                    }
                    if peer.play(&script).await.is_err() {
                        return;
                    }
                    if takes {
                        noting.took(false, false);
                    }
                }
            });
        }
    });
    seen
}

async fn says(listener: TcpListener, replies: &'static [&'static str]) {
    let said = |script: Script, reply: &&str| script.send(*reply).expect("");
    // Reads what comes, so that the client sees the end of the stream and no reset.
    let script = replies.iter().fold(Script::new(), said).end_output().ignore();
    while let Ok((stream, _)) = listener.accept().await {
        let script = script.clone();
        tokio::spawn(async move { Peer::new(stream).play(&script).await });
    }
}

/// Row A04.
#[tokio::test]
async fn wrong_certificate_at_the_first_address_leads_to_the_second() {
    for posture in [Posture::Verified, Posture::Secure] {
        let mut connector = connector(posture);
        if posture == Posture::Secure {
            connector.names = vec![HOST.parse().unwrap()];
        }
        let (sender, [first, second]) = host(Does::Shows("other.example"), Does::Shows(HOST)).await;
        let report = send(&sender, &connector, &plain()).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{posture} {report:?}");
        assert_eq!((first.messages(), second.messages()), (vec![], vec![(false, true)]));
        let reasons: Vec<_> = report.attempts.iter().map(|it| it.decision.reason).collect();
        assert_eq!(reasons[0], Reason::CertNameMismatch, "{posture}");
    }
}

/// Row A04b.
#[tokio::test]
async fn tls_at_the_second_address_comes_before_clear_text_at_the_first() {
    for does in [Does::Shows("other.example"), Does::Breaks] {
        let (sender, [first, second]) = host(does, Does::Shows(HOST)).await;
        let report = send(&sender, &connector(Posture::Deterministic), &plain()).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
        assert_eq!(second.messages(), [(false, true)], "{report:?}");
        assert!(first.messages().is_empty());
    }
}

/// What an address without TLS says to STARTTLS: all of the kind of rule S4b.
const WITHOUT_TLS: [Does; 4] = [
    Does::HasNone,
    Does::Refuses("454 4.7.0 not now"),
    Does::Refuses("502 5.5.1 what"),
    Does::Refuses("250 go"),
];

/// Rule S4b.
#[tokio::test]
async fn address_without_starttls_gets_no_clear_text_while_another_has_tls() {
    for does in WITHOUT_TLS {
        for posture in [Posture::Opportunistic, Posture::Deterministic] {
            let (sender, [first, second]) = host(does, Does::Shows(HOST)).await;
            let report = send(&sender, &connector(posture), &plain()).await;
            assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
            assert_eq!(second.messages(), [(false, true)], "{report:?}");
            assert!(first.messages().is_empty());
            // The address is remembered, so that the next message begins at the other one.
            let report = send(&sender, &connector(posture), &plain()).await;
            assert_eq!(report.attempts.len(), 1, "{report:?}");
            assert_eq!(second.messages().len(), 2);
        }
    }
}

/// Rule S4b where no address has TLS: the last one that was tried gets the mail, on the connection
/// that is there, and each address was asked once.
#[tokio::test]
async fn clear_text_is_sent_where_no_address_has_starttls() {
    for does in WITHOUT_TLS {
        let (sender, [first, second]) = host(does, does).await;
        let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
        let messages = [first.messages(), second.messages()].concat();
        assert_eq!(messages, [(false, false)], "{report:?}");
        assert!(report.attempts.len() <= 3, "{report:?}");
        // What is remembered spares the next message the search, and TLS is still asked for.
        let before = [first.connections(), second.connections()];
        let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
        // After such a 250 (rule S9), clear text takes another connection to the same address.
        let connections = if matches!(does, Does::Refuses("250 go")) { 2 } else { 1 };
        assert_eq!(report.attempts.len(), connections, "{report:?}");
        assert_eq!(report.attempts[0].manner, Manner::AsPlanned);
        let after = [first.connections(), second.connections()];
        assert!(after.iter().sum::<usize>() <= before.iter().sum::<usize>() + connections);
    }
}

/// Rule S4b: the first address gets clear text after the second one could not be reached.
#[tokio::test]
async fn clear_text_follows_where_the_other_address_is_down() {
    let (sender, [first, _]) = host(Does::HasNone, Does::Says(&[])).await;
    let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    assert_eq!(first.messages(), [(false, false)]);
    let manners: Vec<Manner> = report.attempts.iter().map(|it| it.manner).collect();
    assert_eq!(manners, [Manner::AsPlanned, Manner::AsPlanned, Manner::ClearText]);
}

fn publish(sender: &mut Sender<Zone>, addresses: &[Ipv4Addr]) {
    sender.lookups_mut().ipv4.get_mut(&name(HOST)).unwrap().records = addresses.to_vec();
}

/// Rule S4b on a kept connection: it carries further mail only while no other address may have TLS.
#[tokio::test]
async fn kept_connection_in_clear_text_is_not_reused_once_another_address_may_have_tls() {
    let both = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];
    for does in WITHOUT_TLS {
        // The second address comes beside the first one, or in its place.
        for later in [&both[..], &both[1..]] {
            let (mut sender, [first, second]) = host(does, Does::Shows(HOST)).await;
            publish(&mut sender, &both[..1]);
            for is_reused in [false, true] {
                let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
                assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
                // After a 250 to STARTTLS (rule S9) it is the retry in clear text that is reused.
                assert_eq!(report.attempts.last().unwrap().is_reused, is_reused, "{report:?}");
            }
            assert_eq!(first.messages(), [(false, false); 2]);
            publish(&mut sender, later);
            let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
            assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
            assert_eq!(second.messages(), [(false, true)], "{later:?}: {report:?}");
            assert_eq!(first.messages().len(), 2, "{later:?}");
            assert!(report.attempts.iter().all(|it| !it.is_reused), "{report:?}");
        }
    }
}

/// The setting of rule S4b, by connector and for all mail.
#[tokio::test]
async fn clear_text_at_once_does_not_try_the_other_address() {
    for by_connector in [true, false] {
        let (sender, [first, second]) = host(Does::HasNone, Does::Shows(HOST)).await;
        let mut connector = connector(Posture::Opportunistic);
        connector.dial.clear_text_at_once = by_connector;
        let sender = sender.with_route(|it| it.tls_at_each_address = by_connector);
        let report = send(&sender, &connector, &plain()).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
        assert_eq!(first.messages(), [(false, false)], "{report:?}");
        assert!(second.messages().is_empty());
    }
}

/// Memory of rule S4b: TLS that is remembered to be broken at one address is no reason for clear
/// text there while another address has TLS.
#[tokio::test]
async fn remembered_broken_tls_at_the_first_address_leads_to_tls_at_the_second() {
    let (sender, [first, second]) = host(Does::Breaks, Does::Shows(HOST)).await;
    for count in 1..=3 {
        let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
        assert_eq!(second.messages().len(), count);
    }
    assert!(first.messages().is_empty());
}

/// Where TLS is required, no address gets clear text.
#[tokio::test]
async fn required_tls_is_deferred_where_no_address_has_starttls() {
    for does in WITHOUT_TLS {
        let (sender, [first, second]) = host(does, does).await;
        let report = send(&sender, &connector(Posture::Encrypt), &plain()).await;
        assert_eq!(report.statuses()[0].to_string(), "deferred: 4.7.4", "{report:?}");
        assert_eq!((first.messages(), second.messages()), (vec![], vec![]));
    }
}

/// Row A04b where no address has TLS.
#[tokio::test]
async fn clear_text_is_sent_where_no_address_has_good_tls() {
    let (sender, [first, second]) =
        host(Does::Shows("other.example"), Does::Shows("another.example")).await;
    let report = send(&sender, &connector(Posture::Deterministic), &plain()).await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    let messages = [first.messages(), second.messages()].concat();
    assert_eq!(messages, [(false, false)], "{report:?}");
}

/// Rows A04d and S11b.
#[tokio::test]
async fn refusal_at_the_first_address_leads_to_the_second() {
    let greetings: [&[&str]; 4] =
        [&["421 4.3.2 busy\r\n"], &["554 5.7.1 no\r\n"], &["451 4.3.0 later\r\n"], &[]];
    for greeting in greetings {
        let (sender, [_, second]) = host(Does::Says(greeting), Does::Shows(HOST)).await;
        let report = send(&sender, &connector(Posture::Verified), &plain()).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{greeting:?} {report:?}");
        assert_eq!(second.messages(), [(false, true)], "{greeting:?}");
        assert_eq!(report.attempts.len(), 2, "{greeting:?}");
    }
}

/// Row S11b: permanent only if each address said so.
#[tokio::test]
async fn mail_bounces_only_if_every_address_refuses_it_for_good() {
    const FOR_GOOD: &[&str] = &["554 5.7.1 no\r\n"];
    const FOR_NOW: &[&str] = &["451 4.3.0 later\r\n"];
    for (first, second, bounces) in
        [(FOR_GOOD, FOR_GOOD, true), (FOR_GOOD, FOR_NOW, false), (FOR_NOW, FOR_GOOD, false)]
    {
        let (sender, _) = host(Does::Says(first), Does::Says(second)).await;
        let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
        let bounced = matches!(report.statuses()[0], RecipientStatus::Bounced(_));
        assert_eq!(bounced, bounces, "{first:?}, {second:?}: {report:?}");
    }
}

/// Row H05b: the end of the stream in place of the 220 after STARTTLS. Nothing is known of the
/// peer's TLS, so there is no clear text.
#[tokio::test]
async fn end_of_stream_in_place_of_the_220_defers_without_clear_text() {
    const CLOSES: &[&str] = &["220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n"];
    let (sender, [first, second]) = host(Does::Says(CLOSES), Does::Says(CLOSES)).await;
    let report = send(&sender, &connector(Posture::Opportunistic), &plain()).await;
    assert!(matches!(report.statuses()[0], RecipientStatus::Deferred(_)), "{report:?}");
    assert!(report.attempts.iter().all(|it| it.decision.reason == Reason::Undecided));
    assert_eq!((first.messages(), second.messages()), (vec![], vec![]));
}
