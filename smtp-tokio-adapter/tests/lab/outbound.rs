//! Our client, their servers.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use smtp_proto::client::{Envelope, Recipient};
use smtp_proto::route::RecipientStatus;
use smtp_proto::timeouts::Timeouts;
use smtp_proto::wire::params::BodyType;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::pki::{RootsId, Trust};
use smtp_tls_policy::plan::{DnsStatus, Facts, HostOrigin, Plan, plan};
use smtp_tls_policy::rules::{
    IdentityId, OutboundConnector, OutboundConnectors, Posture, SmartHost,
};
use smtp_tls_policy::tls::ClientTls;
use smtp_tls_policy::trace::{HopVerdict, trace};
use smtp_tls_policy::{Domain, Host, Namespace, Reason};
use smtp_tokio_adapter::lookups::Zone;
use smtp_tokio_adapter::{Outbound, OutcomeBuf, Report, Sender, Spoken, Target};
use tokio::net::TcpStream;

use crate::peers::{Lab, Peer, Server, Suite, lab, start, start_plain, unique};

/// The name in the lab's certificates.
const HOST: &str = "mail.test.example";
const RECIPIENT: &str = "reader@test.example";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// How to deliver.
struct How {
    posture: Posture,
    /// "Outbound Security: TLS".
    require_tls: bool,
    implicit_tls: bool,
    /// The file with the root that is trusted.
    root: &'static str,
    /// The certificate to show.
    identity: Option<&'static str>,
}

impl From<Posture> for How {
    fn from(posture: Posture) -> Self {
        Self {
            posture,
            require_tls: false,
            implicit_tls: false,
            root: "root-ca.pem",
            identity: None,
        }
    }
}

impl How {
    fn connector(&self) -> OutboundConnector {
        let mut connector = OutboundConnector::new("lab", vec![Namespace::Default], self.posture);
        connector.require_tls = self.require_tls;
        connector.identity = self.identity.map(IdentityId::new);
        connector
    }

    fn plan(&self) -> Plan {
        let (domain, host) = (Host::parse("test.example").unwrap(), Host::parse(HOST).unwrap());
        let connector = self.connector();
        let mut facts = Facts::new(&connector, &domain, &host, HostOrigin::Mx);
        facts.implicit_tls = self.implicit_tls;
        plan(&facts).unwrap()
    }

    fn outbound(&self, lab: &Lab) -> Outbound {
        let mut trust = Trust::empty();
        let roots = RootsId::public();
        for root in lab.certificates(self.root).unwrap() {
            trust.add_root_der(&roots, &root).unwrap();
        }
        for crl in CertificateRevocationListDer::pem_file_iter(lab.pki("crls.pem")).unwrap() {
            trust.add_crl_der(&roots, &crl.unwrap()).unwrap();
        }
        let tls = ClientTls::new(provider());
        if let Some(name) = self.identity {
            tls.add_identity(IdentityId::new(name), lab.identity(name, &provider()).unwrap());
        }
        let mut timeouts = Timeouts::default();
        timeouts.handshake = Duration::from_secs(20);
        Outbound::new("client.test.example".parse().unwrap(), provider(), trust)
            .with_smtp(|smtp| smtp.timeouts = timeouts)
            .with_tls(tls)
    }
}

/// A message that is easily damaged on its way.
struct Mail {
    mark: String,
    text: String,
}

impl Mail {
    fn new() -> Self {
        let mark = unique("mark");
        // RFC 5321, section 4.5.3.1.6 allows 998; Haraka folds lines of more than 990.
        let long = "x".repeat(990);
        let header = format!(
            "From: <sender@client.test.example>\r\nTo: <{RECIPIENT}>\r\nSubject: {mark}\r\n\
             Date: Tue, 3 Mar 2009 11:08:33 +0000\r\nMessage-ID: <{mark}@client.test.example>\r\n\
             MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
        );
        let body = format!(
            "One line.\r\n.\r\n..\r\n.dot\r\n..two dots\r\n\r\n{long}\r\ngr\u{fc}\u{df}e\r\nend of {mark}\r\n"
        );
        Self { mark, text: format!("{header}\r\n{body}") }
    }

    fn envelope(&self, recipients: &[&str]) -> Envelope {
        let mut envelope = Envelope::new(
            "sender@client.test.example".parse().unwrap(),
            recipients.iter().map(|it| it.parse::<Recipient>().unwrap()),
        );
        envelope.size = Some(self.text.len() as u64);
        envelope.body = BodyType::EightBitMime;
        envelope
    }

    /// Waits for the message, compares it with what was sent, and gives it back as it was stored.
    fn arrived(&self, server: &Server) -> String {
        let stored = server.stored_text(&format!("end of {}", self.mark));
        let sent = self.text.replace("\r\n", "\n");
        let (header, body) = sent.split_once("\n\n").unwrap();
        let (stored_header, stored_body) = stored.split_once("\n\n").unwrap();
        assert_eq!(stored_body.trim_end_matches('\n'), body.trim_end_matches('\n'));
        for line in header.lines() {
            assert!(
                stored_header.lines().any(|stored| stored == line),
                "{line} is not in\n{stored_header}"
            );
        }
        stored
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// One message, one recipient.
fn send(lab: &Lab, server: &Server, how: &How, mail: &Mail) -> Report {
    send_to(lab, server, how, mail, &[RECIPIENT])
}

fn send_to(lab: &Lab, server: &Server, how: &How, mail: &Mail, recipients: &[&str]) -> Report {
    let mut by = how.connector();
    let mut smart_host = SmartHost::new(Host::parse(HOST).unwrap());
    (smart_host.port, smart_host.implicit_tls) = (server.address.port(), how.implicit_tls);
    by.smart_host = Some(smart_host);
    let connectors = Arc::new(OutboundConnectors::new(vec![by]).unwrap());
    let mut zone = Zone::new(DnsStatus::Insecure);
    zone.add_host(&Domain::parse(HOST).unwrap(), [Ipv4Addr::LOCALHOST.into()]);
    let sender = Sender::new(how.outbound(lab), connectors, zone).unwrap();
    let message = Bytes::from(mail.text.clone());
    runtime().block_on(async {
        let report = sender.send(mail.envelope(recipients), &message).await;
        sender.close().await;
        report
    })
}

/// Delivers, and holds what the server wrote into the header against what we saw of the connection.
#[track_caller]
fn delivers(
    lab: &Lab,
    server: &Server,
    how: impl Into<How>,
    reason: Reason,
    connections: usize,
) -> String {
    let (how, mail) = (how.into(), Mail::new());
    let report = send(lab, server, &how, &mail);
    assert_eq!(report.statuses(), [RecipientStatus::Delivered], "{}: {report:#?}", how.posture);
    assert_eq!(report.attempts.len(), connections, "{report:#?}");
    let decision = &report.attempts.last().unwrap().decision;
    assert_eq!(decision.reason, reason, "{}: {}", how.posture, decision.sentence);

    let stored = mail.arrived(server);
    let header = trace(stored.as_bytes()).next().expect("every server writes a Received header");
    let (verdict, channel) = (header.judge().verdict(), header.channel().verdict());
    assert_eq!(
        header.helo.map(|helo| helo.to_string()).as_deref(),
        Some("client.test.example"),
        "{header:#?}"
    );
    assert_eq!(header.by.map(|by| by.to_string()).as_deref(), Some(HOST), "{header:#?}");
    match &decision.tls {
        Some(tls) => {
            assert_eq!((decision.channel, channel), (Spoken::Tls, HopVerdict::Tls), "{header:#?}");
            assert_eq!(verdict, HopVerdict::Tls);
            let mark = header.tls.unwrap();
            if let Some(version) = mark.version {
                assert_eq!(version.to_string(), tls.version, "{header:#?}");
            }
            // In TLS 1.3 all but GnuTLS use IANA's names.
            if let (Some(cipher), "TLSv1.3") = (mark.cipher.map(|it| it.to_string()), tls.version)
                && !cipher.contains("_WITH_")
            {
                assert_eq!(cipher, tls.cipher, "{header:#?}");
            }
        }
        None => {
            let known = match server.peer.marks_tls() {
                true => HopVerdict::Cleartext,
                false => HopVerdict::Unknown,
            };
            assert_eq!((decision.channel, channel), (Spoken::Clear, known), "{header:#?}");
            assert_eq!(verdict, HopVerdict::Local, "the client is on loopback");
        }
    }
    stored
}

/// The recipient gets another word than "delivered", and nothing reaches the server's store.
#[track_caller]
fn refuses(lab: &Lab, server: &Server, how: impl Into<How>, reason: Reason, word: RecipientStatus) {
    let (how, mail) = (how.into(), Mail::new());
    let report = send(lab, server, &how, &mail);
    assert_eq!(report.statuses(), [word], "{}: {report:#?}", how.posture);
    assert_eq!(report.attempts.last().unwrap().decision.reason, reason, "{report:#?}");
    let stored = server.texts();
    assert!(!stored.iter().any(|message| message.contains(&mail.mark)), "{stored:?}");
}

const fn deferred(subject: u16, detail: u16) -> RecipientStatus {
    RecipientStatus::Deferred(EnhancedCode::new(4, subject, detail))
}

const fn bounced(subject: u16, detail: u16) -> RecipientStatus {
    RecipientStatus::Bounced(EnhancedCode::new(5, subject, detail))
}

fn required() -> How {
    How { require_tls: true, ..Posture::Deterministic.into() }
}

#[test]
fn postfix_in_clear_text() {
    let Some(lab) = lab() else { return };
    for peer in [Peer::POSTFIX, Peer::POSTFIX_TRIXIE] {
        let Some(server) = start_plain(lab, peer, &["--starttls", "none"]) else { continue };
        delivers(lab, &server, Posture::None, Reason::TlsNotWanted, 1);
        delivers(lab, &server, Posture::Opportunistic, Reason::StarttlsNotOffered, 1);
        delivers(lab, &server, Posture::Deterministic, Reason::StarttlsNotOffered, 1);
        for posture in [Posture::Encrypt, Posture::Verified, Posture::Secure] {
            refuses(lab, &server, posture, Reason::StarttlsNotOffered, deferred(7, 4));
        }
        refuses(lab, &server, required(), Reason::StarttlsNotOffered, deferred(7, 4));
        // What was not delivered is not on its way either: this came later and is there.
        delivers(lab, &server, Posture::None, Reason::TlsNotWanted, 1);
        assert_eq!(server.texts().len(), 4);
    }
}

#[test]
fn postfix_with_starttls() {
    let Some(lab) = lab() else { return };
    for peer in [Peer::POSTFIX, Peer::POSTFIX_TRIXIE] {
        let Some(server) = start(lab, peer, "valid", &[]) else { continue };
        delivers(lab, &server, Posture::None, Reason::TlsNotWanted, 1);
        for posture in
            [Posture::Opportunistic, Posture::Deterministic, Posture::Encrypt, Posture::Verified]
        {
            let stored = delivers(lab, &server, posture, Reason::TlsOk, 1);
            assert!(
                stored.contains("(using TLSv1.3 with cipher TLS_")
                    && stored.contains("with ESMTPS id"),
                "{stored}"
            );
        }
        delivers(lab, &server, required(), Reason::TlsOk, 1);
        // The root of another authority.
        let stranger = |posture| How { root: "private-ca.pem", ..How::from(posture) };
        refuses(
            lab,
            &server,
            stranger(Posture::Verified),
            Reason::CertUnknownIssuer,
            deferred(7, 5),
        );
        delivers(lab, &server, stranger(Posture::Deterministic), Reason::CertUnknownIssuer, 2);
        delivers(lab, &server, stranger(Posture::Encrypt), Reason::TlsOk, 1);
    }
}

#[test]
fn postfix_that_demands_tls() {
    let Some(lab) = lab() else { return };
    let Some(server) = start(lab, Peer::POSTFIX, "valid", &["--starttls", "required"]) else {
        return;
    };
    delivers(lab, &server, Posture::Opportunistic, Reason::TlsOk, 1);
    refuses(lab, &server, Posture::None, Reason::TlsNotWanted, bounced(7, 0));
}

#[test]
fn postfix_with_tls_from_the_first_byte() {
    let Some(lab) = lab() else { return };
    let Some(server) = start(lab, Peer::POSTFIX, "valid", &["--starttls", "implicit"]) else {
        return;
    };
    let implicit = |root| How { implicit_tls: true, root, ..Posture::Verified.into() };
    delivers(lab, &server, implicit("root-ca.pem"), Reason::TlsOk, 1);
    refuses(lab, &server, implicit("private-ca.pem"), Reason::CertUnknownIssuer, deferred(7, 5));
}

#[test]
fn postfix_with_other_certificates() {
    let Some(lab) = lab() else { return };
    for (name, reason) in [
        ("valid-rsa", Reason::TlsOk),
        ("multi-san", Reason::TlsOk),
        ("wildcard", Reason::TlsOk),
        ("cn-only", Reason::TlsOk),
        ("cn-mismatch", Reason::CertNameMismatch),
        ("wrong-name", Reason::CertNameMismatch),
        ("wildcard-partial", Reason::CertNameMismatch),
        ("expired", Reason::CertExpired),
        ("not-yet-valid", Reason::CertNotYetValid),
        ("under-expired-ca", Reason::CertExpired),
        ("revoked", Reason::CertRevoked),
        ("self-signed", Reason::CertSelfSigned),
        ("private-ca-leaf", Reason::CertUnknownIssuer),
        ("client-eku-only", Reason::CertWrongPurpose),
    ] {
        let Some(server) = start(lab, Peer::POSTFIX, name, &[]) else { return };
        if reason == Reason::TlsOk {
            delivers(lab, &server, Posture::Verified, reason, 1);
        } else {
            refuses(lab, &server, Posture::Verified, reason, deferred(7, 5));
            refuses(lab, &server, required(), reason, deferred(7, 5));
            delivers(lab, &server, Posture::Deterministic, reason, 2);
            delivers(lab, &server, Posture::Opportunistic, Reason::TlsOk, 1);
            assert_eq!(server.texts().len(), 2, "{name}");
        }
    }
}

#[test]
fn postfix_with_other_versions_of_tls() {
    let Some(lab) = lab() else { return };
    for (versions, expected) in
        [("tls12", Some("TLSv1.2")), ("tls13", Some("TLSv1.3")), ("old", None)]
    {
        let Some(server) = start(lab, Peer::POSTFIX, "valid-rsa", &["--tls-versions", versions])
        else {
            return;
        };
        match expected {
            Some(version) => {
                let stored = delivers(lab, &server, Posture::Verified, Reason::TlsOk, 1);
                assert!(stored.contains(&format!("(using {version} with cipher")), "{stored}");
            }
            None => {
                // RFC 8996: no TLS 1.0 and 1.1.
                refuses(lab, &server, Posture::Encrypt, Reason::HandshakeFailed, deferred(7, 5));
                // As planned, with the plainest hello, in clear text.
                delivers(lab, &server, Posture::Opportunistic, Reason::HandshakeFailed, 3);
            }
        }
    }
}

/// Postfix lets a client without the certificate that it demands through the handshake, and answers
/// EHLO with 421.
#[test]
fn postfix_that_demands_a_client_certificate() {
    let Some(lab) = lab() else { return };
    let client_ca = lab.pki("client-ca.pem");
    for versions in ["tls12", "tls13"] {
        let options =
            ["--client-cert", "require", "--client-ca", &client_ca, "--tls-versions", versions];
        let Some(server) = start(lab, Peer::POSTFIX, "valid", &options) else { return };
        let with = |identity| How { identity, ..Posture::Verified.into() };
        let stored = delivers(lab, &server, with(Some("client-valid")), Reason::TlsOk, 1);
        assert!(stored.contains(
            "(Client CN \"client.test.example\", Issuer \"Mail lab client CA\" (verified OK))"
        ));
        for identity in
            [None, Some("client-untrusted"), Some("client-self-signed"), Some("client-expired")]
        {
            refuses(lab, &server, with(identity), Reason::TlsHelloFailed, deferred(7, 5));
        }
    }
}

#[test]
fn postfix_takes_many_messages_over_one_connection() {
    let Some(lab) = lab() else { return };
    let Some(server) = start(lab, Peer::POSTFIX, "valid", &["--size-limit", "2000000"]) else {
        return;
    };
    let how = How::from(Posture::Verified);
    let mut mails: Vec<_> = (0..20).map(|_| Mail::new()).collect();
    // Larger than any buffer on the way.
    let large = format!("{}\r\n", "0123456789".repeat(90)).repeat(1500);
    mails[7].text = mails[7].text.replace("One line.", &format!("{large}One line."));
    runtime().block_on(async {
        let (plan, host) = (how.plan(), Host::parse(HOST).unwrap());
        let target = Target::new(&host, &plan);
        let stream = TcpStream::connect(server.address).await.unwrap();
        let connection = how.outbound(lab).open(&target, stream).await.unwrap();
        let decision = connection.decision().clone();
        assert_eq!(decision.reason, Reason::TlsOk);
        let mut connection = connection;
        for mail in &mails {
            let envelope = Arc::new(mail.envelope(&[RECIPIENT]));
            let delivery = connection.send(envelope, &mut mail.text.as_bytes()).await;
            assert!(matches!(delivery.end, Ok(OutcomeBuf::Accepted(_))), "{delivery:?}");
        }
        // SIZE says so before anything is sent (RFC 1870, section 6.1), and the connection goes on.
        let mut too_large = mails[0].envelope(&[RECIPIENT]);
        too_large.size = Some(2_000_001);
        let delivery = connection.send(Arc::new(too_large), &mut mails[0].text.as_bytes()).await;
        assert_eq!(delivery.status(0), Some(bounced(3, 4)), "{delivery:?}");
        let undeliverable = mails[0].envelope(&["reader@elsewhere.example"]);
        let delivery =
            connection.send(Arc::new(undeliverable), &mut mails[0].text.as_bytes()).await;
        assert_eq!(delivery.end.unwrap(), OutcomeBuf::NoRecipients);
        let last = Mail::new();
        let delivery =
            connection.send(Arc::new(last.envelope(&[RECIPIENT])), &mut last.text.as_bytes()).await;
        assert!(matches!(delivery.end, Ok(OutcomeBuf::Accepted(_))), "{delivery:?}");
        connection.quit().await;
        mails.push(last);
    });
    for mail in &mails {
        mail.arrived(&server);
    }
}

#[test]
fn postfix_has_a_word_on_each_of_many_recipients() {
    let Some(lab) = lab() else { return };
    let Some(server) = start(lab, Peer::POSTFIX, "valid", &[]) else { return };
    let ours: Vec<_> = (0..300).map(|index| format!("reader{index}@test.example")).collect();
    let mut recipients: Vec<_> = ours.iter().map(String::as_str).collect();
    recipients[5] = "reader@elsewhere.example";
    recipients[299] = "reader@elsewhere.example";
    let mail = Mail::new();
    let report = send_to(lab, &server, &Posture::Verified.into(), &mail, &recipients);
    for (index, word) in report.statuses().iter().enumerate() {
        let expected =
            if index == 5 || index == 299 { bounced(7, 1) } else { RecipientStatus::Delivered };
        assert_eq!(*word, expected, "recipient {index}");
    }
    mail.arrived(&server);
}

/// Every other server of the lab, in clear text and with STARTTLS.
#[test]
fn the_other_servers() {
    let Some(lab) = lab() else { return };
    for (name, suite) in [
        ("exim", Suite::System),
        ("exim", Suite::Trixie),
        ("sendmail", Suite::System),
        ("sendmail", Suite::Trixie),
        // That of Debian 12 has no working TLS.
        ("opensmtpd", Suite::Trixie),
        ("aiosmtpd", Suite::System),
        ("haraka", Suite::System),
        ("smtp-server", Suite::System),
    ] {
        let peer = Peer { name, suite };
        let Some(server) = start_plain(lab, peer, &["--starttls", "none"]) else { continue };
        delivers(lab, &server, Posture::Opportunistic, Reason::StarttlsNotOffered, 1);
        refuses(lab, &server, Posture::Verified, Reason::StarttlsNotOffered, deferred(7, 4));
        drop(server);

        let Some(server) = start(lab, peer, "valid", &[]) else { continue };
        delivers(lab, &server, Posture::None, Reason::TlsNotWanted, 1);
        delivers(lab, &server, Posture::Opportunistic, Reason::TlsOk, 1);
        delivers(lab, &server, required(), Reason::TlsOk, 1);
        drop(server);

        let Some(server) = start(lab, peer, "wrong-name", &[]) else { continue };
        refuses(lab, &server, Posture::Verified, Reason::CertNameMismatch, deferred(7, 5));
        delivers(lab, &server, Posture::Deterministic, Reason::CertNameMismatch, 2);
    }
}
