//! The second handshake, with the plainest ClientHello, on loopback.

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{
    HOST, Pki, Running, changed, connector, envelope, outbound, outbound_with, provider, smart,
    smtp, start,
};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use smtp_proto::route::Manner;
use smtp_proto::route::RecipientStatus;
use smtp_proto::server::ServerConfig;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::plan::{BrokenPeers, DnsStatus};
use smtp_tls_policy::rules::{
    IdentityId, MinTlsVersion, OutboundConnector, OutboundConnectors, Posture, TlsLimits,
};
use smtp_tls_policy::tls::{ClientCertificates, ClientTls, server_config};
use smtp_tls_policy::{Domain, Host};
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::store::{MemoryStore, Store};
use smtp_tokio_adapter::{Inbound, Mail, PoolLimits, Report, Sender};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// More octets than any ClientHello without a post-quantum key share has, and fewer than one with
/// it: the share of X25519MLKEM768 alone has 1216.
const LARGE: usize = 1000;

/// From this address no ClientHello gets through the middlebox.
const BROKEN_WAY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Forwards connections to a server, and closes each one whose ClientHello has this many octets or
/// more. Returns its port, and counts the ClientHellos.
async fn middlebox(server: SocketAddr, largest: usize) -> (u16, Arc<AtomicUsize>) {
    middlebox_with(server, Arc::new(AtomicUsize::new(largest))).await
}

async fn middlebox_with(server: SocketAddr, largest: Arc<AtomicUsize>) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hellos = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&hellos);
    tokio::spawn(async move {
        loop {
            let (client, from) = listener.accept().await.unwrap();
            let largest = match from.ip() == BROKEN_WAY {
                true => 0,
                false => largest.load(Ordering::SeqCst),
            };
            tokio::spawn(forward(client, server, largest, Arc::clone(&counted)));
        }
    });
    (port, hellos)
}

async fn forward(client: TcpStream, server: SocketAddr, largest: usize, hellos: Arc<AtomicUsize>) {
    let server = TcpStream::connect(server).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move {
        drop(tokio::io::copy(&mut from_server, &mut to_client).await);
    });
    let mut is_clear = true;
    let mut piece = vec![0; 16 * 1024];
    loop {
        let read = from_client.read(&mut piece).await.unwrap_or(0);
        // RFC 8446, section 5.1: a record of type handshake begins with 22.
        if is_clear && piece[0] == 22 {
            is_clear = false;
            hellos.fetch_add(1, Ordering::SeqCst);
            if read >= largest {
                break;
            }
        }
        if read == 0 || to_server.write_all(&piece[..read]).await.is_err() {
            break;
        }
    }
    back.abort();
}

fn client(pki: &Pki, posture: Posture, port: u16) -> Sender<Zone> {
    let identity = IdentityId::new("ours");
    let tls = ClientTls::new(provider());
    tls.add_identity(identity.clone(), pki.identity("client.test.example"));
    let mut connector = connector(posture);
    connector.identity = Some(identity);
    client_with(pki, tls, &connector, port)
}

fn client_with(
    pki: &Pki,
    tls: ClientTls,
    connector: &OutboundConnector,
    port: u16,
) -> Sender<Zone> {
    let (domain, host) = (Domain::parse("test.example").unwrap(), Domain::parse(HOST).unwrap());
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.add_mx(&domain, 10, &host).add_host(&host, [Ipv4Addr::LOCALHOST.into()]);
    let connectors = Arc::new(OutboundConnectors::new(vec![connector.clone()]).unwrap());
    let sender = Sender::new(outbound_with(pki, tls), connectors, zone).unwrap();
    let mut limits = PoolLimits::default();
    // Each message has a handshake.
    limits.idle = 0;
    sender.with_route(|route| route.port = port).with_pool(limits)
}

async fn send(sender: &Sender<Zone>) -> Report {
    let message = Bytes::from_static(b"Subject: hello\r\n\r\nHello.\r\n");
    sender.send(envelope(&["reader@test.example"]), &message).await
}

async fn server(pki: &Pki) -> Running {
    let request = ClientCertificates::Request { hints: Vec::new() };
    let tls = server_config(pki.identity(HOST), request, provider()).unwrap();
    start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(tls))).await
}

/// The manner, reason and number of reported sessions of each connection.
fn steps(report: &Report) -> Vec<(Manner, &'static str, usize)> {
    let attempts = report.attempts.iter();
    attempts.map(|it| (it.manner, it.decision.reason.code(), it.sessions.len())).collect()
}

#[tokio::test]
async fn a_peer_that_closes_on_a_large_hello_gets_the_message_in_tls_with_the_plainest_hello() {
    for (posture, certificates) in [(Posture::Opportunistic, 0), (Posture::Verified, 1)] {
        let pki = Pki::new();
        let server = server(&pki).await;
        let (port, hellos) = middlebox(server.address, LARGE).await;
        let sender = client(&pki, posture, port);
        let report = send(&sender).await;
        assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
        assert_eq!(
            steps(&report),
            [(Manner::AsPlanned, "handshake-failed", 0), (Manner::PlainHello, "tls-ok", 1)]
        );
        let [first, second] = &report.attempts[..] else { panic!("{report:?}") };
        assert!(
            first.decision.sentence.starts_with(
                "another connection with the plainest hello, because the TLS handshake failed;"
            ),
            "{}",
            first.decision.sentence
        );
        assert!(second.decision.sentence.starts_with("TLS with the plainest hello, "));
        assert_eq!(second.decision.tls.as_ref().unwrap().group, Some("X25519"));
        assert!(report.sessions().all(|session| session.succeeded), "{report:?}");
        // The need is remembered: the next message takes one handshake.
        let report = send(&sender).await;
        assert_eq!(steps(&report), [(Manner::PlainHello, "tls-ok", 1)]);
        assert_eq!(hellos.load(Ordering::SeqCst), 3, "{posture}");
        assert_eq!(*server.kept.over_tls.lock().unwrap(), [true; 2]);
        // A certificate is optional where the next step would have been clear text.
        assert_eq!(*server.kept.chains.lock().unwrap(), [certificates; 2], "{posture}");
    }
}

#[tokio::test]
async fn a_peer_that_closes_on_each_hello_gets_clear_text_only_where_the_plan_allows_it() {
    for (posture, allows_clear_text) in
        [(Posture::Opportunistic, true), (Posture::Encrypt, false), (Posture::Verified, false)]
    {
        let pki = Pki::new();
        let server = server(&pki).await;
        let (port, hellos) = middlebox(server.address, 0).await;
        let sender = client(&pki, posture, port);
        let report = send(&sender).await;
        let mut expected = vec![
            (Manner::AsPlanned, "handshake-failed", 0),
            (Manner::PlainHello, "handshake-failed", 1),
        ];
        if allows_clear_text {
            expected.push((Manner::ClearText, "handshake-failed", 0));
            assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{posture}");
        } else {
            let status = EnhancedCode::new(4, 7, 5);
            assert_eq!(report.statuses(), [RecipientStatus::Deferred(status)], "{posture}");
        }
        assert_eq!(steps(&report), expected, "{posture}");
        assert_eq!(hellos.load(Ordering::SeqCst), 2);
        let over_tls: &[bool] = if allows_clear_text { &[false] } else { &[] };
        assert_eq!(*server.kept.over_tls.lock().unwrap(), over_tls, "{posture}");
        // Two handshakes are one failed session in a TLS report.
        let sessions: Vec<bool> = report.sessions().map(|session| session.succeeded).collect();
        assert_eq!(sessions, [false], "{posture}");
    }
}

/// Plain hellos that fail later are remembered as broken TLS, never as a need for them.
#[tokio::test]
async fn a_remembered_plain_hello_that_fails_ends_as_the_plan_says() {
    for (posture, manners) in [
        (Posture::Opportunistic, vec![Manner::PlainHello, Manner::ClearText]),
        (Posture::Verified, vec![Manner::PlainHello]),
    ] {
        let pki = Pki::new();
        let server = server(&pki).await;
        let largest = Arc::new(AtomicUsize::new(LARGE));
        let (port, _) = middlebox_with(server.address, Arc::clone(&largest)).await;
        let sender = client(&pki, posture, port);
        assert_eq!(send(&sender).await.statuses(), [RecipientStatus::Delivered]);
        largest.store(0, Ordering::SeqCst);
        let report = send(&sender).await;
        let seen: Vec<Manner> = report.attempts.iter().map(|it| it.manner).collect();
        assert_eq!(seen, manners, "{posture}");
        largest.store(usize::MAX, Ordering::SeqCst);
        let report = send(&sender).await;
        // Opportunistic mail goes in clear text at once for a while, and other mail tries the
        // usual hello again.
        assert_eq!(steps(&report).len(), 1, "{report:?}");
        assert_eq!(report.attempts[0].manner, Manner::AsPlanned);
        let is_tls = report.attempts[0].decision.tls.is_some();
        assert_eq!(is_tls, posture == Posture::Verified, "{report:?}");
    }
}

/// A server that asks for client certificates, and ends the handshake if one is by another
/// authority than this.
async fn server_that_knows(pki: &Pki, clients: &Pki) -> Running {
    let mut roots = RootCertStore::empty();
    roots.add(clients.root().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .unwrap();
    let identity = pki.identity(HOST);
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(identity)));
    start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = Some(Arc::new(tls)))).await
}

async fn send_by(sender: &Sender<Zone>, connector: &OutboundConnector) -> Report {
    let (domain, envelope) =
        (Host::parse("test.example").unwrap(), envelope(&["reader@test.example"]));
    let message = Bytes::from_static(b"Subject: hello\r\n\r\nHello.\r\n");
    sender.send_mail(&Mail::new(connector, &domain, &envelope, &message)).await
}

/// The reason and whether the message went in TLS, for each connection.
fn channels(report: &Report) -> Vec<(Manner, &'static str, bool)> {
    let attempts = report.attempts.iter();
    attempts.map(|it| (it.manner, it.decision.reason.code(), it.decision.tls.is_some())).collect()
}

#[tokio::test]
async fn refused_client_certificate_of_one_connector_leaves_the_mail_of_others_in_tls() {
    let pki = Pki::new();
    let server = server_that_knows(&pki, &Pki::named("Other Root")).await;
    let store = Arc::new(MemoryStore::new());
    let sender = async || {
        client(&pki, Posture::Opportunistic, server.address.port())
            .with_store(Arc::clone(&store))
            .await
    };
    let first = sender().await;
    for posture in [Posture::Encrypt, Posture::Verified] {
        let mut partner = connector(posture);
        partner.identity = Some(IdentityId::new("ours"));
        let report = send_by(&first, &partner).await;
        assert_eq!(
            channels(&report),
            [
                (Manner::AsPlanned, "handshake-failed", false),
                (Manner::PlainHello, "handshake-failed", false)
            ],
            "{posture}"
        );
        for other in [Posture::Opportunistic, Posture::Deterministic] {
            for sender in [&first, &sender().await] {
                let report = send_by(sender, &connector(other)).await;
                assert_eq!(channels(&report), [(Manner::AsPlanned, "tls-ok", true)], "{other}");
            }
        }
    }
    assert_eq!(*server.kept.over_tls.lock().unwrap(), [true; 8]);
}

#[tokio::test]
async fn client_certificate_that_is_left_out_costs_other_connectors_no_plain_hello() {
    let pki = Pki::new();
    let server = server_that_knows(&pki, &Pki::named("Other Root")).await;
    let sender = client(&pki, Posture::Opportunistic, server.address.port());
    let mut partner = connector(Posture::Opportunistic);
    partner.identity = Some(IdentityId::new("ours"));
    let report = send_by(&sender, &partner).await;
    assert_eq!(
        channels(&report),
        [(Manner::AsPlanned, "handshake-failed", false), (Manner::PlainHello, "tls-ok", true)]
    );
    // It is remembered for connectors with a certificate that may be left out.
    let report = send_by(&sender, &partner).await;
    assert_eq!(channels(&report), [(Manner::PlainHello, "tls-ok", true)]);
    partner.posture = Posture::Verified;
    assert_eq!(send_by(&sender, &partner).await.attempts[0].manner, Manner::AsPlanned);
    let report = send_by(&sender, &connector(Posture::Opportunistic)).await;
    assert_eq!(channels(&report), [(Manner::AsPlanned, "tls-ok", true)]);
    let group = report.attempts[0].decision.tls.as_ref().unwrap().group;
    assert_eq!(group, Some("X25519MLKEM768"));
}

/// Whose certificate was refused is a part of what is remembered, here and in the store.
#[tokio::test]
async fn refused_client_certificate_of_one_connector_is_no_reason_to_leave_out_that_of_another() {
    let (pki, theirs) = (Pki::new(), Pki::named("Other Root"));
    let server = server_that_knows(&pki, &theirs).await;
    let store = Arc::new(MemoryStore::new());
    let sender = async || {
        let tls = ClientTls::new(provider());
        tls.add_identity(IdentityId::new("ours"), pki.identity("client.test.example"));
        tls.add_identity(IdentityId::new("theirs"), theirs.identity("client.test.example"));
        client_with(&pki, tls, &connector(Posture::Opportunistic), server.address.port())
            .with_store(Arc::clone(&store))
            .await
    };
    let with = |name| {
        let mut connector = connector(Posture::Opportunistic);
        connector.identity = Some(IdentityId::new(name));
        connector
    };
    let first = sender().await;
    let refused = send_by(&first, &with("ours")).await;
    assert_eq!(
        channels(&refused),
        [(Manner::AsPlanned, "handshake-failed", false), (Manner::PlainHello, "tls-ok", true)]
    );
    // The sender that found it out, and one that has it from the store.
    for sender in [&first, &sender().await] {
        for (name, manner) in [("theirs", Manner::AsPlanned), ("ours", Manner::PlainHello)] {
            let report = send_by(sender, &with(name)).await;
            assert_eq!(channels(&report), [(manner, "tls-ok", true)], "{name}");
        }
        // Success without a certificate says nothing of this one.
        let report = send_by(sender, &connector(Posture::Opportunistic)).await;
        assert_eq!(channels(&report), [(Manner::AsPlanned, "tls-ok", true)]);
        let report = send_by(sender, &with("ours")).await;
        assert_eq!(channels(&report), [(Manner::PlainHello, "tls-ok", true)]);
    }
    let keys: Vec<String> =
        store.list("broken/").await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [format!("broken/{HOST}/{}/id-ours", server.address)]);
}

#[tokio::test]
async fn tls_limits_of_one_connector_leave_the_mail_of_others_in_tls() {
    let pki = Pki::new();
    let server = server(&pki).await;
    let (port, _) = middlebox(server.address, LARGE).await;
    let sender = client(&pki, Posture::Opportunistic, port);
    let mut partner = connector(Posture::Encrypt);
    partner.tls = TlsLimits::post_quantum();
    let report = send_by(&sender, &partner).await;
    assert_eq!(
        channels(&report),
        [
            (Manner::AsPlanned, "handshake-failed", false),
            (Manner::PlainHello, "handshake-failed", false)
        ]
    );
    let report = send_by(&sender, &connector(Posture::Opportunistic)).await;
    assert_eq!(
        channels(&report),
        [(Manner::AsPlanned, "handshake-failed", false), (Manner::PlainHello, "tls-ok", true)]
    );
}

#[tokio::test]
async fn way_of_one_connector_that_breaks_tls_leaves_the_mail_of_others_in_tls() {
    let pki = Pki::new();
    let server = server(&pki).await;
    let (port, _) = middlebox(server.address, usize::MAX).await;
    let sender = client(&pki, Posture::Opportunistic, port);
    let mut partner = connector(Posture::Opportunistic);
    partner.dial.source_ipv4 = Some(BROKEN_WAY);
    for _ in 0..2 {
        let report = send_by(&sender, &partner).await;
        assert_eq!(
            channels(&report),
            [
                (Manner::AsPlanned, "handshake-failed", false),
                (Manner::PlainHello, "handshake-failed", false),
                (Manner::ClearText, "handshake-failed", false)
            ]
        );
        let report = send_by(&sender, &connector(Posture::Opportunistic)).await;
        assert_eq!(channels(&report), [(Manner::AsPlanned, "tls-ok", true)]);
    }
}

/// Connectors whose handshakes are not like those of other mail.
fn special() -> [(&'static str, OutboundConnector); 2] {
    let mut limited = connector(Posture::Opportunistic);
    limited.tls.min_version = MinTlsVersion::Tls13;
    let mut own_way = connector(Posture::Opportunistic);
    own_way.dial.source_ipv4 = Some(Ipv4Addr::new(127, 0, 0, 3));
    [("TLS limits", limited), ("source address", own_way)]
}

#[tokio::test]
async fn plain_hello_that_limits_or_a_way_of_one_connector_need_is_not_used_for_the_mail_of_others()
{
    for (what, partner) in special() {
        let pki = Pki::new();
        let server = server(&pki).await;
        let largest = Arc::new(AtomicUsize::new(LARGE));
        let (port, _) = middlebox_with(server.address, Arc::clone(&largest)).await;
        let sender = client(&pki, Posture::Opportunistic, port);
        for _ in 0..2 {
            let report = send_by(&sender, &partner).await;
            assert_eq!(
                channels(&report),
                [
                    (Manner::AsPlanned, "handshake-failed", false),
                    (Manner::PlainHello, "tls-ok", true)
                ],
                "{what}"
            );
        }
        // The way of other mail lets large hellos pass.
        largest.store(usize::MAX, Ordering::SeqCst);
        let report = send_by(&sender, &connector(Posture::Opportunistic)).await;
        assert_eq!(channels(&report), [(Manner::AsPlanned, "tls-ok", true)], "{what}");
        let group = report.attempts[0].decision.tls.as_ref().unwrap().group;
        assert_eq!(group, Some("X25519MLKEM768"), "{what}");
    }
}

#[tokio::test]
async fn plain_hello_that_other_mail_needs_is_neither_used_nor_forgotten_under_limits_or_a_way_of_its_own()
 {
    for (what, partner) in special() {
        let pki = Pki::new();
        let server = server(&pki).await;
        let largest = Arc::new(AtomicUsize::new(LARGE));
        let (port, _) = middlebox_with(server.address, Arc::clone(&largest)).await;
        let sender = client(&pki, Posture::Opportunistic, port);
        let usual = connector(Posture::Opportunistic);
        assert_eq!(send_by(&sender, &usual).await.attempts.len(), 2, "{what}");
        largest.store(usize::MAX, Ordering::SeqCst);
        let report = send_by(&sender, &partner).await;
        assert_eq!(channels(&report), [(Manner::AsPlanned, "tls-ok", true)], "{what}");
        largest.store(LARGE, Ordering::SeqCst);
        let report = send_by(&sender, &usual).await;
        assert_eq!(channels(&report), [(Manner::PlainHello, "tls-ok", true)], "{what}");
    }
}

/// The first handshake is no failed session of its own where the second connection is a kept one:
/// the session of that was reported when it was opened.
#[tokio::test]
async fn failed_handshake_before_a_kept_connection_is_not_reported() {
    let pki = Pki::new();
    let server = server(&pki).await;
    let (port, hellos) = middlebox(server.address, LARGE).await;
    let sender = client(&pki, Posture::Opportunistic, port)
        .with_pool(PoolLimits::default())
        .with_memory(BrokenPeers::new(Duration::ZERO, 0));
    let report = send(&sender).await;
    assert_eq!(
        steps(&report),
        [(Manner::AsPlanned, "handshake-failed", 0), (Manner::PlainHello, "tls-ok", 1)]
    );
    let report = send(&sender).await;
    assert_eq!(
        steps(&report),
        [(Manner::AsPlanned, "handshake-failed", 0), (Manner::PlainHello, "tls-ok", 0)]
    );
    assert!(report.attempts[1].is_reused);
    assert_eq!(report.sessions().count(), 0, "{report:?}");
    assert_eq!(hellos.load(Ordering::SeqCst), 3);
}

/// Implicit TLS never leads to clear text, and takes the plainest hello as STARTTLS does.
#[tokio::test]
async fn implicit_tls_is_repeated_with_the_plainest_hello() {
    let pki = Pki::new();
    let inbound = changed(Inbound::new(Arc::new(ServerConfig::new(HOST.parse().unwrap()))), |it| {
        it.tls = Some(pki.server_config(HOST));
        it.implicit = true;
    });
    let server = start(inbound).await;
    let (port, hellos) = middlebox(server.address, LARGE).await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let by = smart(connector(Posture::Verified), port, true);
    let report = common::send(&outbound(&pki), address, &by, "Subject: x\r\n\r\n").await;
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{report:?}");
    let manners: Vec<Manner> = report.attempts.iter().map(|it| it.manner).collect();
    assert_eq!(manners, [Manner::AsPlanned, Manner::PlainHello]);
    assert_eq!(hellos.load(Ordering::SeqCst), 2);
}
