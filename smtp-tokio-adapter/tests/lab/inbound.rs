//! Their clients, our server.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use smtp_proto::Date;
use smtp_proto::server::{ServerConfig, StartTls};
use smtp_proto::wire::body::Runs;
use smtp_proto::wire::params::RcptParameters;
use smtp_proto::wire::path::ForwardPath;
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::tls::{ClientCertificates, server_config};
use smtp_tls_policy::trace::{HopVerdict, trace};
use smtp_tokio_adapter::{Handler, Inbound, Session, serve};
use tokio::net::TcpListener;

use crate::lab::run;
use crate::peers::{Lab, Peer, Suite, files, has, lab, unique};

const HOST: &str = "mail.test.example";
/// Seconds for all clients together.
const CLIENTS: u32 = 600;
/// The server that sends mail from here. OpenSMTPD of Debian 12 has no working TLS, so the lab
/// uses it for clear text only.
const PEERS: [&str; 9] =
    ["postfix", "exim", "sendmail", "opensmtpd", "swaks", "msmtp", "gnutls", "aiosmtpd", "node"];
/// Rows that must fail, and why. One that passes is wrong as well.
const EXCEPTIONS: [(&str, &str); 1] =
    [("smtplib-utf8", "SMTPUTF8 is not offered, and smtplib stops for the lack of it")];

/// Stores every message in a file of its own, with a Received header on top.
struct Store {
    folder: PathBuf,
    /// Whether the message in a file came over TLS.
    over_tls: Mutex<BTreeMap<PathBuf, bool>>,
}

struct Desk {
    store: Arc<Store>,
    message: Vec<u8>,
}

impl Desk {
    fn stamp(&self, session: &Session) -> Vec<u8> {
        let mut header = Vec::new();
        let date = Date::utc(SystemTime::now()).unwrap();
        session.stamp(HOST, false, date).write(&mut header);
        header
    }
}

impl Handler for Desk {
    async fn recipient(
        &mut self,
        _: &Session,
        path: ForwardPath<'_>,
        _: RcptParameters<'_>,
    ) -> Response {
        if path.as_str().ends_with("@test.example") {
            Response::fixed(250, (2, 1, 5), "OK")
        } else {
            Response::fixed(550, (5, 7, 1), "relay denied")
        }
    }

    async fn data(&mut self, _: &Session) -> Response {
        self.message.clear();
        Response::fixed(354, (3, 0, 0), "end with <CRLF>.<CRLF>")
    }

    async fn body(&mut self, runs: Runs<'_>) {
        runs.append_to(&mut self.message);
    }

    async fn end_of_body(&mut self, session: &Session) -> Response {
        let file = self.store.folder.join(unique("message"));
        let message = [self.stamp(session), std::mem::take(&mut self.message)].concat();
        tokio::fs::write(&file, message).await.unwrap();
        self.store.over_tls.lock().unwrap().insert(file, session.tls.is_some());
        Response::fixed(250, (2, 0, 0), "stored")
    }
}

/// A folder that is gone when this is dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Sends one message with every client whose row fits a pattern (with every client if there is
/// none), and looks at the rows and at what was stored.
fn receive(
    lab: &'static Lab,
    suite: Suite,
    starttls: StartTls,
    certificates: ClientCertificates,
    patterns: &[&str],
) {
    // What clients.sh finds, it uses.
    let peers = PEERS
        .into_iter()
        .filter(|name| suite == Suite::System || !matches!(*name, "aiosmtpd" | "node"));
    let all_here =
        peers.map(|name| has(lab, Peer { name, suite })).fold(true, |all, here| all & here);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = server_config(
        lab.identity("valid", &provider).unwrap(),
        certificates,
        Arc::clone(&provider),
    )
    .unwrap();
    let mut config = ServerConfig::new(HOST.parse().unwrap());
    config.starttls = starttls;
    config.size_limit = Some(50 << 20);
    let mut inbound = Inbound::new(Arc::new(config));
    inbound.tls = Some(tls);
    let folder = Folder(lab.state.join(unique("stored")));
    std::fs::create_dir(&folder.0).unwrap();
    let store = Arc::new(Store { folder: folder.0.clone(), over_tls: Mutex::default() });
    let stores = Arc::clone(&store);
    let service = move |_: SocketAddr| Desk { store: Arc::clone(&stores), message: Vec::new() };

    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = runtime.spawn(serve(listener, inbound, service, async { drop(stopped.await) }));
    let output = run(CLIENTS, lab.scripts.join("clients.sh"), |command| {
        command
            .env("STATE_DIR", &lab.state)
            .env("MAIL_DIR", &store.folder)
            .env("SUITE", suite.name())
            .args([&address.ip().to_string(), &address.port().to_string(), &lab.pki("root-ca.pem")])
            .args(patterns)
    })
    .unwrap();
    stop.send(()).unwrap();
    runtime.block_on(serving).unwrap().unwrap();

    let rows = rows(&String::from_utf8_lossy(&output.stdout));
    assert!(!rows.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut wrong = String::new();
    for (row, (passed, detail)) in &rows {
        let excepted = EXCEPTIONS.iter().any(|(name, _)| name == row);
        if *passed == excepted {
            writeln!(wrong, "{row}: {detail}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    if all_here && patterns.is_empty() {
        // Each kind of client has run: a row that is not printed cannot fail.
        for client in ["swaks", "msmtp", "curl", "smtplib", "smtp-source", "s_client", "gnutls-cli"]
            .into_iter()
            .chain(PEERS.into_iter().take(4))
        {
            let ran = rows.keys().any(|row| row.starts_with(client));
            assert!(ran, "{client} has not run: {:?}", rows.keys());
        }
    }
    let senders = rows.iter().filter(|(row, (passed, _))| *passed && !is_probe(row)).count();
    let over_tls = store.over_tls.lock().unwrap();
    assert!(over_tls.len() >= senders, "{} messages of {senders} rows", over_tls.len());
    files(&store.folder, &mut |file| check(file, over_tls[file], starttls));
}

/// A row that makes a handshake and sends nothing.
fn is_probe(row: &str) -> bool {
    row.starts_with("s_client") || row.starts_with("gnutls-cli")
}

/// A row that never speaks TLS. All others do where it is offered.
fn is_clear(row: &str) -> bool {
    row.ends_with("-none")
        || row.starts_with("smtp-source")
        || matches!(row, "swaks-pipeline" | "smtplib-utf8")
}

/// `pass|fail|skip`, the row, a word about it.
fn rows(text: &str) -> BTreeMap<String, (bool, String)> {
    text.lines()
        .map(|line| {
            let mut columns = line.splitn(3, '\t');
            let mut next = || columns.next().unwrap_or_default().to_owned();
            let (result, row, detail) = (next(), next(), next());
            (row, (result == "pass", format!("{result} {detail}")))
        })
        .collect()
}

/// A stored message is what its client has sent, under a header that says how it came.
fn check(file: &Path, over_tls: bool, starttls: StartTls) {
    let message = String::from_utf8(std::fs::read(file).unwrap()).unwrap();
    let (header, body) = message.split_once("\r\n\r\n").unwrap();
    let subject = header.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap();
    let row = subject.split_whitespace().nth(1).unwrap();
    assert_eq!(over_tls, starttls != StartTls::No && !is_clear(row), "{row}: {message}");

    let newest = trace(message.as_bytes()).next().unwrap();
    let channel = if over_tls { HopVerdict::Tls } else { HopVerdict::Cleartext };
    assert_eq!(newest.channel().verdict(), channel, "{message}");

    if row.starts_with("smtp-source") {
        // 2000 octets of numbered lines, and a CRLF.
        let mut odd = body.lines().filter(|line| {
            !line.trim_matches(|it: char| it == 'X' || it.is_ascii_digit()).is_empty()
        });
        assert_eq!((body.len(), odd.next()), (2002, None), "{row}: {message}");
    } else {
        assert_eq!(
            body.trim_end_matches("\r\n"),
            "One line.\r\n.\r\n..two dots",
            "{row}: {message}"
        );
    }
}

#[test]
fn every_client_of_the_system() {
    let Some(lab) = lab() else { return };
    receive(lab, Suite::System, StartTls::Offered, ClientCertificates::None, &[]);
}

#[test]
fn every_client_of_trixie() {
    let Some(lab) = lab() else { return };
    receive(lab, Suite::Trixie, StartTls::Offered, ClientCertificates::None, &[]);
}

#[test]
fn clients_without_starttls() {
    let Some(lab) = lab() else { return };
    let patterns = ["*-none", "*-may", "swaks-pipeline", "smtp-source-*"];
    receive(lab, Suite::System, StartTls::No, ClientCertificates::None, &patterns);
}

/// Clients that have no certificate are not disturbed by a question for one.
#[test]
fn clients_that_are_asked_for_a_certificate() {
    let Some(lab) = lab() else { return };
    let asking = ClientCertificates::Request { hints: Vec::new() };
    receive(
        lab,
        Suite::System,
        StartTls::Required,
        asking,
        &["*-may", "*-encrypt", "*-verify", "*-tls12", "nodemailer-pool"],
    );
}
