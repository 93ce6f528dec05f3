//! Connections that a sender keeps, on loopback.

mod common;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{HOST, Pki, changed, connector, envelope, outbound, provider, smtp, start};
use smtp_proto::route::Manner;
use smtp_proto::route::RecipientStatus;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::Domain;
use smtp_tls_policy::inquiry::DnsAnswer;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tls_policy::rules::{IdentityId, OutboundConnectors, Posture};
use smtp_tls_policy::tls::{ClientCertificates, ClientTls, server_config};
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::test_kit::{
    Listening, Peer, Script, ScriptError, Tls, listen, listen_with,
};
use smtp_tokio_adapter::{Inbound, PoolLimits, Report, Sender};
use tokio::sync::{Notify, watch};

/// What a server does that others do not.
#[derive(Clone, Copy, PartialEq)]
enum Habit {
    None,
    /// Announces this many transactions on a connection.
    MailMax(u32),
    /// Closes after a message, without a reply.
    ClosesAfterMessage,
    /// Answers the second MAIL of a connection with 421.
    SaysGoodbyeAtSecondMail,
    /// Closes at the second MAIL of a connection, without a reply.
    ClosesAtSecondMail,
    /// Answers the message only once it is released.
    Holds,
}

/// What a server has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    quits: AtomicUsize,
    /// The connection of each message, by number.
    messages: Mutex<Vec<usize>>,
    held: AtomicUsize,
    changed: Notify,
}

struct Server {
    seen: Arc<Seen>,
    release: watch::Sender<bool>,
    listening: Listening,
}

impl Server {
    async fn start(habit: Habit) -> Self {
        let seen = Arc::new(Seen::default());
        let (release, released) = watch::channel(false);
        let watched = Arc::clone(&seen);
        let react = move |mut peer: Peer, number| {
            let (seen, released) = (Arc::clone(&watched), released.clone());
            async move {
                seen.connections.fetch_add(1, Ordering::SeqCst);
                let open = seen.open.fetch_add(1, Ordering::SeqCst) + 1;
                seen.most_open.fetch_max(open, Ordering::SeqCst);
                let served = talk(&mut peer, number, habit, &seen, &released).await;
                seen.open.fetch_sub(1, Ordering::SeqCst);
                seen.changed.notify_waiters();
                served.map(|()| peer)
            }
        };
        Self { seen, release, listening: listen_with(react).await.unwrap() }
    }

    fn port(&self) -> u16 {
        self.listening.address().port()
    }

    fn release(&self) {
        self.release.send_replace(true);
    }
}

async fn talk(
    peer: &mut Peer,
    number: usize,
    habit: Habit,
    seen: &Seen,
    released: &watch::Receiver<bool>,
) -> Result<(), ScriptError> {
    let say = |text: &str| Script::new().say(text);
    peer.play(&say("220 mx")).await?;
    let mut mails = 0;
    peer.serve(|line| match (line.get(..4)?, habit) {
        ("EHLO", Habit::MailMax(limit)) => {
            Some(say(&format!("250-mx\n250 LIMITS MAILMAX={limit}")))
        }
        ("MAIL", _) => {
            mails += 1;
            match habit {
                Habit::SaysGoodbyeAtSecondMail if mails == 2 => {
                    Some(say("421 4.3.2 closing").close())
                }
                Habit::ClosesAtSecondMail if mails == 2 => Some(Script::new().close()),
                _ => None,
            }
        }
        ("DATA", _) => {
            seen.messages.lock().unwrap().push(number);
            let message = say("354 go").expect_message();
            Some(match habit {
                Habit::Holds => {
                    seen.held.fetch_add(1, Ordering::SeqCst);
                    seen.changed.notify_waiters();
                    message.wait_for(released.clone()).say("250 kept")
                }
                Habit::ClosesAfterMessage => message.say("250 kept").close(),
                _ => message.say("250 kept"),
            })
        }
        ("QUIT", _) => {
            seen.quits.fetch_add(1, Ordering::SeqCst);
            None
        }
        _ => None,
    })
    .await
}

impl Seen {
    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn messages(&self) -> Vec<usize> {
        self.messages.lock().unwrap().clone()
    }

    /// Waits until this is true; a test that waits for ever fails.
    async fn until(&self, is_true: impl Fn(&Self) -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if is_true(self) {
                    return;
                }
                let _ = tokio::time::timeout(Duration::from_millis(20), changed).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it becomes true");
    }
}

const DOMAINS: [&str; 2] = ["test.example", "other.example"];

fn sender(
    pki: &Pki,
    posture: Posture,
    port: u16,
    limits: impl FnOnce(&mut PoolLimits),
) -> Arc<Sender<Zone>> {
    let host = Domain::parse(HOST).unwrap();
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.add_host(&host, [Ipv4Addr::LOCALHOST.into()]);
    for domain in DOMAINS {
        zone.add_mx(&Domain::parse(domain).unwrap(), 10, &host);
    }
    let connectors = Arc::new(OutboundConnectors::new(vec![connector(posture)]).unwrap());
    let mut pool = PoolLimits::default();
    limits(&mut pool);
    let sender = Sender::new(outbound(pki), connectors, zone).unwrap();
    Arc::new(sender.with_route(|route| route.port = port).with_pool(pool))
}

async fn send(sender: &Sender<Zone>, domain: &str) -> Report {
    let message = Bytes::from_static(b"Subject: hello\r\n\r\nHello.\r\n");
    sender.send(envelope(&[&format!("reader@{domain}")]), &message).await
}

fn is_delivered(report: &Report) -> bool {
    report.statuses() == [RecipientStatus::Delivered]
}

async fn three_messages(
    habit: Habit,
    limits: impl FnOnce(&mut PoolLimits),
) -> (Server, Vec<Report>) {
    let server = Server::start(habit).await;
    let sender = sender(&Pki::new(), Posture::None, server.port(), limits);
    let mut reports = Vec::new();
    for _ in 0..3 {
        reports.push(send(&sender, DOMAINS[0]).await);
    }
    assert!(reports.iter().all(is_delivered), "{reports:?}");
    (server, reports)
}

#[tokio::test]
async fn messages_with_equal_keys_share_a_connection_and_others_do_not() {
    let server = Server::start(Habit::None).await;
    let sender = sender(&Pki::new(), Posture::None, server.port(), |_| {});
    for domain in [DOMAINS[0], DOMAINS[1], DOMAINS[0], DOMAINS[1]] {
        assert!(is_delivered(&send(&sender, domain).await));
    }
    // One host, two next hops.
    assert_eq!(server.seen.messages(), [0, 1, 0, 1]);
}

#[tokio::test]
async fn pool_without_idle_connections_opens_one_for_each_message() {
    let (server, reports) = three_messages(Habit::None, |limits| limits.idle = 0).await;
    assert_eq!(server.seen.messages(), [0, 1, 2]);
    assert!(reports.iter().all(|report| !report.attempts[0].is_reused));
}

#[tokio::test]
async fn connection_carries_no_more_messages_than_the_limit() {
    let (server, _) = three_messages(Habit::None, |limits| limits.messages = 2).await;
    assert_eq!(server.seen.messages(), [0, 0, 1]);
}

#[tokio::test]
async fn connection_carries_no_more_messages_than_mailmax() {
    let (server, _) = three_messages(Habit::MailMax(2), |_| {}).await;
    assert_eq!(server.seen.messages(), [0, 0, 1]);
}

#[tokio::test]
async fn connection_older_than_the_limit_is_not_reused() {
    let (server, _) = three_messages(Habit::None, |limits| limits.age = Duration::ZERO).await;
    assert_eq!(server.seen.messages(), [0, 1, 2]);
}

/// Lets the tasks of this thread go on, without a change of the time.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// A sender with these limits, and the time in the hands of the test while no delivery is under
/// way.
async fn paused(idle_time: u64, age: u64) -> (Server, Arc<Sender<Zone>>) {
    let server = Server::start(Habit::None).await;
    let sender = sender(&Pki::new(), Posture::None, server.port(), |limits| {
        (limits.idle_time, limits.age) = (Duration::from_secs(idle_time), Duration::from_secs(age));
    });
    tokio::time::pause();
    (server, sender)
}

/// Sends in real time: otherwise each time limit of the delivery would be over at once.
async fn send_unpaused(sender: &Sender<Zone>) {
    tokio::time::resume();
    assert!(is_delivered(&send(sender, DOMAINS[0]).await));
    tokio::time::pause();
}

/// Moves the time, and returns how many connections have said QUIT.
async fn quits_after(server: &Server, seconds: u64) -> usize {
    settle().await;
    tokio::time::advance(Duration::from_secs(seconds)).await;
    settle().await;
    server.seen.quits.load(Ordering::SeqCst)
}

#[tokio::test]
async fn idle_connection_says_quit_when_its_idle_time_is_over_and_not_before() {
    let (server, sender) = paused(60, 1000).await;
    // The task that closes connections ends with the last one, and begins again with the next.
    for round in 0..3 {
        send_unpaused(&sender).await;
        assert_eq!(quits_after(&server, 58).await, round);
        assert_eq!(quits_after(&server, 3).await, round + 1);
    }
    assert_eq!(server.seen.messages(), [0, 1, 2]);
}

#[tokio::test]
async fn idle_time_begins_again_with_each_message() {
    let (server, sender) = paused(60, 1000).await;
    for _ in 0..3 {
        send_unpaused(&sender).await;
        assert_eq!(quits_after(&server, 50).await, 0);
    }
    assert_eq!(quits_after(&server, 11).await, 1);
    assert_eq!(server.seen.messages(), [0, 0, 0]);
}

#[tokio::test]
async fn connection_in_steady_use_says_quit_when_its_age_is_over() {
    let (server, sender) = paused(60, 100).await;
    for _ in 0..2 {
        send_unpaused(&sender).await;
        assert_eq!(quits_after(&server, 49).await, 0);
    }
    assert_eq!(quits_after(&server, 3).await, 1);
    assert_eq!(server.seen.messages(), [0, 0]);
}

#[tokio::test]
async fn each_idle_connection_says_quit_at_its_own_time() {
    let (server, sender) = paused(60, 1000).await;
    send_unpaused(&sender).await;
    assert_eq!(quits_after(&server, 30).await, 0);
    tokio::time::resume();
    assert!(is_delivered(&send(&sender, DOMAINS[1]).await));
    tokio::time::pause();
    assert_eq!(quits_after(&server, 31).await, 1);
    assert_eq!(quits_after(&server, 30).await, 2);
}

/// The task that closes connections ends with the runtime of the delivery that began it.
#[test]
fn idle_connections_are_closed_on_a_second_runtime_after_the_first_one_ended() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let sender = first.block_on(async {
        let (_server, sender) = paused(60, 1000).await;
        send_unpaused(&sender).await;
        sender
    });
    drop(first);
    second.block_on(async {
        let server = Server::start(Habit::None).await;
        let sender = Arc::into_inner(sender).unwrap();
        let sender = sender.with_route(|route| route.port = server.port());
        tokio::time::pause();
        send_unpaused(&sender).await;
        assert_eq!(quits_after(&server, 61).await, 1);
    });
}

#[tokio::test]
async fn oldest_idle_connection_is_closed_when_there_are_too_many() {
    let server = Server::start(Habit::None).await;
    let sender = sender(&Pki::new(), Posture::None, server.port(), |limits| limits.idle = 1);
    for domain in [DOMAINS[0], DOMAINS[1], DOMAINS[1], DOMAINS[0]] {
        assert!(is_delivered(&send(&sender, domain).await));
    }
    assert_eq!(server.seen.messages(), [0, 1, 1, 2]);
}

#[tokio::test]
async fn connection_that_died_while_idle_is_replaced_and_no_message_is_lost_or_doubled() {
    let (server, reports) = three_messages(Habit::ClosesAfterMessage, |_| {}).await;
    assert_eq!(server.seen.messages(), [0, 1, 2]);
    // The route does not see the connection that was over.
    assert!(reports.iter().all(|report| report.attempts.len() == 1), "{reports:?}");
}

#[tokio::test]
async fn connection_that_dies_at_mail_is_replaced_and_no_message_is_lost_or_doubled() {
    for habit in [Habit::ClosesAtSecondMail, Habit::SaysGoodbyeAtSecondMail] {
        let (server, reports) = three_messages(habit, |_| {}).await;
        assert_eq!(server.seen.messages(), [0, 1, 2]);
        assert!(reports.iter().all(|report| report.attempts.len() == 1), "{reports:?}");
    }
}

#[tokio::test]
async fn host_has_no_more_connections_than_the_limit_and_deliveries_wait_in_line() {
    let server = Server::start(Habit::Holds).await;
    let sender = sender(&Pki::new(), Posture::None, server.port(), |limits| {
        (limits.per_key, limits.per_host) = (2, 3);
    });
    let deliveries: Vec<_> = (0..40)
        .map(|number| {
            let sender = Arc::clone(&sender);
            tokio::spawn(async move { is_delivered(&send(&sender, DOMAINS[number % 2]).await) })
        })
        .collect();
    // Each connection holds its first message, so that none is idle or saying QUIT.
    server.seen.until(|seen| seen.held.load(Ordering::SeqCst) == 3).await;
    assert_eq!((server.seen.connections(), server.seen.most_open.load(Ordering::SeqCst)), (3, 3));
    server.release();
    for delivery in deliveries {
        assert!(delivery.await.unwrap());
    }
    assert_eq!(server.seen.messages().len(), 40);
}

#[tokio::test]
async fn delivery_is_deferred_when_the_line_is_full_or_takes_too_long() {
    for (waiting, patience) in [(0, Duration::from_secs(60)), (1, Duration::from_millis(50))] {
        let server = Server::start(Habit::Holds).await;
        let sender = sender(&Pki::new(), Posture::None, server.port(), |limits| {
            (limits.total, limits.waiting, limits.patience) = (1, waiting, patience);
        });
        let first = Arc::clone(&sender);
        let first = tokio::spawn(async move { send(&first, DOMAINS[0]).await });
        server.seen.until(|seen| seen.held.load(Ordering::SeqCst) == 1).await;
        let second = send(&sender, DOMAINS[1]).await;
        let congested = RecipientStatus::Deferred(EnhancedCode::new(4, 4, 5));
        assert_eq!(second.statuses(), [congested], "{second:?}");
        server.release();
        assert!(is_delivered(&first.await.unwrap()));
        assert_eq!(server.seen.connections(), 1);
    }
}

#[tokio::test]
async fn delivery_that_is_dropped_gives_its_turn_to_the_next_one() {
    let server = Server::start(Habit::Holds).await;
    let sender = sender(&Pki::new(), Posture::None, server.port(), |limits| limits.total = 1);
    let spawn = |domain| {
        let sender = Arc::clone(&sender);
        tokio::spawn(async move { is_delivered(&send(&sender, domain).await) })
    };
    let first = spawn(DOMAINS[0]);
    server.seen.until(|seen| seen.held.load(Ordering::SeqCst) == 1).await;
    let (second, third) = (spawn(DOMAINS[0]), spawn(DOMAINS[1]));
    tokio::task::yield_now().await;
    second.abort();
    first.abort();
    server.seen.until(|seen| seen.held.load(Ordering::SeqCst) == 2).await;
    server.release();
    assert!(third.await.unwrap());
}

#[tokio::test]
async fn close_says_quit_on_idle_connections_and_keeps_none_afterwards() {
    let server = Server::start(Habit::None).await;
    let sender = sender(&Pki::new(), Posture::None, server.port(), |_| {});
    for domain in DOMAINS {
        assert!(is_delivered(&send(&sender, domain).await));
    }
    assert_eq!(server.seen.quits.load(Ordering::SeqCst), 0);
    sender.close().await;
    assert_eq!(server.seen.quits.load(Ordering::SeqCst), 2);
    assert!(is_delivered(&send(&sender, DOMAINS[0]).await));
    sender.close().await;
    assert_eq!(server.seen.quits.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn sender_that_is_dropped_says_quit_on_idle_connections() {
    let (server, _) = three_messages(Habit::None, |_| {}).await;
    server.seen.until(|seen| seen.quits.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn tls_report_counts_a_kept_session_once() {
    let pki = Pki::new();
    let inbound =
        changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(pki.server_config(HOST)));
    let server = start(inbound).await;
    let sender = sender(&pki, Posture::Verified, server.address.port(), |_| {});
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let report = send(&sender, DOMAINS[0]).await;
        assert!(is_delivered(&report), "{report:?}");
        let decision = &report.attempts[0].decision;
        assert_eq!(decision.reason.code(), "tls-ok");
        sessions.push((report.attempts[0].is_reused, report.sessions().count()));
    }
    assert_eq!(sessions, [(false, 1), (true, 0), (true, 0)]);
    assert_eq!(*server.kept.over_tls.lock().unwrap(), [true; 3]);
}

/// RSET is about the message before, and says nothing of this one.
#[tokio::test]
async fn connection_that_refuses_rset_is_replaced() {
    let greeting = Script::new().say("220 mx").expect("EHLO").say("250 mx").expect("MAIL");
    let first = greeting.clone().say("250 ok").expect("RCPT").say("550 no such user");
    let first = first.expect("RSET").say("451 not now").ignore();
    let second = greeting.say("250 ok").expect("RCPT").say("250 ok").expect("DATA").say("354 go");
    let second = second.expect_message().say("250 kept").ignore();
    let server = listen([first, second]).await.unwrap();
    let port = server.address().port();
    let sender = sender(&Pki::new(), Posture::None, port, |_| {});
    let refused = send(&sender, DOMAINS[0]).await;
    assert!(matches!(refused.statuses()[..], [RecipientStatus::Bounced(_)]), "{refused:?}");
    let report = send(&sender, DOMAINS[0]).await;
    assert!(is_delivered(&report), "{report:?}");
}

/// A certificate that was replaced because its key is known to others must not be used again.
#[tokio::test]
async fn connection_that_showed_a_replaced_identity_is_not_reused() {
    let pki = Pki::new();
    let request = ClientCertificates::Request { hints: Vec::new() };
    let tls = server_config(pki.identity(HOST), request, provider()).unwrap();
    let server = start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(tls))).await;
    let (ours, tls) = (IdentityId::new("ours"), Arc::new(ClientTls::new(provider())));
    tls.add_identity(ours.clone(), pki.identity("client.test.example"));
    let mut connector = connector(Posture::Verified);
    connector.identity = Some(ours.clone());
    let (domain, host) = (Domain::parse(DOMAINS[0]).unwrap(), Domain::parse(HOST).unwrap());
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.add_mx(&domain, 10, &host).add_host(&host, [Ipv4Addr::LOCALHOST.into()]);
    let connectors = Arc::new(OutboundConnectors::new(vec![connector]).unwrap());
    let outbound = outbound(&pki).with_tls(Arc::clone(&tls));
    let sender = Sender::new(outbound, connectors, zone).unwrap();
    let sender = sender.with_route(|route| route.port = server.address.port());
    let mut reused = Vec::new();
    for replaces in [false, false, true, false] {
        if replaces {
            tls.add_identity(ours.clone(), pki.identity("client.test.example"));
        }
        let report = send(&sender, DOMAINS[0]).await;
        assert!(is_delivered(&report), "{report:?}");
        reused.push(report.attempts[0].is_reused);
    }
    assert_eq!(reused, [false, true, false, true]);
}

/// A kept connection that ends in the middle of a message says nothing of the peer's TLS.
#[tokio::test]
async fn reused_tls_connection_that_dies_after_a_refused_recipient_leads_to_no_clear_text() {
    let pki = Pki::new();
    let script = Script::new()
        .say("220 mx")
        .expect("EHLO")
        .say("250-mx\n250 STARTTLS")
        .starttls(Tls::server(pki.identity(HOST)))
        .expect("EHLO")
        .say("250 mx")
        .expect("MAIL")
        .say("250 ok")
        .expect("RCPT")
        .say("250 ok")
        .expect("DATA")
        .say("354 go")
        .expect_message()
        .say("250 kept")
        .expect("MAIL")
        .say("250 ok")
        .expect("RCPT")
        .say("550 no such user")
        .expect("RCPT")
        .close();
    let server = listen([script]).await.unwrap();
    let sender = sender(&pki, Posture::Opportunistic, server.address().port(), |_| {});
    assert!(is_delivered(&send(&sender, DOMAINS[0]).await));
    let two = envelope(&["a@test.example", "b@test.example"]);
    let report = sender.send(two, &Bytes::from_static(b"Subject: hello\r\n\r\n")).await;
    let manners: Vec<_> = report.attempts.iter().map(|it| (it.manner, it.is_reused)).collect();
    assert_eq!(manners, [(Manner::AsPlanned, true)], "{report:?}");
    assert!(matches!(
        report.statuses()[..],
        [RecipientStatus::Bounced(_), RecipientStatus::Deferred(_)]
    ));
    server.finish().await.unwrap();
}

/// The end of an idle TLS session is no failure of TLS, so no clear text follows it.
#[tokio::test]
async fn tls_session_that_died_while_idle_is_replaced_by_tls() {
    let pki = Pki::new();
    let mut timeouts = smtp_proto::timeouts::Timeouts::default();
    timeouts.idle = Duration::from_millis(100);
    let mut config = smtp();
    config.timeouts = timeouts;
    let server =
        start(changed(Inbound::new(Arc::new(config)), |it| it.tls = Some(pki.server_config(HOST))))
            .await;
    let sender = sender(&pki, Posture::Opportunistic, server.address.port(), |_| {});
    for expected in 1..=3 {
        assert!(is_delivered(&send(&sender, DOMAINS[0]).await));
        let waiting = async {
            while server.kept.lost.lock().unwrap().len() < expected {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
    }
    assert_eq!(*server.kept.over_tls.lock().unwrap(), [true; 3]);
}

/// A sender, with its zone telling what it was asked.
async fn asking(limits: impl FnOnce(&mut PoolLimits)) -> (Server, Arc<Sender<Zone>>) {
    let server = Server::start(Habit::None).await;
    let mut sender = sender(&Pki::new(), Posture::None, server.port(), limits);
    Arc::get_mut(&mut sender).unwrap().lookups_mut().keeps_questions = true;
    (server, sender)
}

/// How often the domain was looked up.
fn lookups(sender: &Sender<Zone>, domain: &str) -> usize {
    let question = format!("MX {domain}");
    sender.lookups().asked().iter().filter(|it| **it == question).count()
}

#[tokio::test]
async fn facts_serve_the_messages_of_one_second() {
    let (server, sender) = asking(|_| {}).await;
    tokio::time::pause();
    for (seconds, asked) in [(0, 1), (0, 1), (2, 2), (0, 2)] {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        send_unpaused(&sender).await;
        assert_eq!(lookups(&sender, DOMAINS[0]), asked);
    }
    assert_eq!(server.seen.messages(), [0; 4]);
    // Each domain has facts of its own.
    tokio::time::resume();
    assert!(is_delivered(&send(&sender, DOMAINS[1]).await));
    assert_eq!(lookups(&sender, DOMAINS[1]), 1);
}

#[tokio::test]
async fn each_delivery_asks_where_facts_are_not_kept() {
    let limits: [fn(&mut PoolLimits); 2] =
        [|limits| limits.facts = Duration::ZERO, |limits| limits.idle = 0];
    for limits in limits {
        let (_server, sender) = asking(limits).await;
        for asked in 1..4 {
            assert!(is_delivered(&send(&sender, DOMAINS[0]).await));
            assert_eq!(lookups(&sender, DOMAINS[0]), asked);
        }
    }
}

#[tokio::test]
async fn facts_are_not_those_of_a_message_with_other_wishes() {
    let (server, sender) = asking(|_| {}).await;
    assert!(is_delivered(&send(&sender, DOMAINS[0]).await));
    let wish = Bytes::from_static(b"TLS-Required: No\r\nSubject: hello\r\n\r\nHello.\r\n");
    for _ in 0..2 {
        let envelope = envelope(&[&format!("reader@{}", DOMAINS[0])]);
        assert!(is_delivered(&sender.send(envelope, &wish).await));
    }
    assert_eq!(lookups(&sender, DOMAINS[0]), 2);
    assert_eq!(server.seen.messages(), [0, 1, 1]);
}

#[tokio::test]
async fn facts_are_dropped_with_a_change_of_the_look_ups() {
    let (server, mut sender) = asking(|_| {}).await;
    assert!(is_delivered(&send(&sender, DOMAINS[0]).await));
    let zone = Arc::get_mut(&mut sender).unwrap().lookups_mut();
    zone.mx.insert(Domain::parse(DOMAINS[0]).unwrap(), DnsAnswer::none(DnsStatus::Bogus));
    let report = send(&sender, DOMAINS[0]).await;
    let deferred = RecipientStatus::Deferred(EnhancedCode::new(4, 4, 3));
    assert_eq!(report.statuses(), [deferred], "{report:?}");
    assert_eq!(server.seen.messages(), [0]);
}

#[tokio::test]
async fn facts_are_dropped_when_a_connection_fails() {
    let server = Server::start(Habit::ClosesAfterMessage).await;
    let mut sender = sender(&Pki::new(), Posture::None, server.port(), |_| {});
    Arc::get_mut(&mut sender).unwrap().lookups_mut().keeps_questions = true;
    assert!(is_delivered(&send(&sender, DOMAINS[0]).await));
    drop(server);
    for asked in [1, 2] {
        let report = send(&sender, DOMAINS[0]).await;
        assert!(matches!(report.statuses()[..], [RecipientStatus::Deferred(_)]), "{report:?}");
        assert_eq!(lookups(&sender, DOMAINS[0]), asked);
    }
}

#[tokio::test]
async fn facts_of_more_domains_than_idle_connections_are_not_kept() {
    let (_server, sender) = asking(|limits| limits.idle = 1).await;
    for domain in [DOMAINS[0], DOMAINS[1], DOMAINS[0], DOMAINS[1]] {
        assert!(is_delivered(&send(&sender, domain).await));
    }
    assert_eq!((lookups(&sender, DOMAINS[0]), lookups(&sender, DOMAINS[1])), (1, 2));
}
