//! A host with several addresses (RFC 5321, section 5.1): what fails at one of them is tried at the
//! others.

use crate::routes::breaks_tls;
use crate::world::*;

/// What one address of the host does.
enum Does {
    /// Takes mail, and shows a certificate for this name.
    Shows(&'static str),
    /// Says the first of these at once, one more after each line of the client, and closes.
    Says(&'static [&'static str]),
    /// Breaks each TLS handshake, and takes mail in clear text.
    Breaks,
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
