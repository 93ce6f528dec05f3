//! Runs the examples `send`, `submit`, `receive`, `relay` and `blocking` as programs, against each
//! other and against servers of this test. `SMTP_KILLS=100` makes the kill test thorough.
//!
//! `cargo test` builds the examples beside the tests; `cargo test --test examples` runs older ones.

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Pki, provider};
use smtp_proto::sasl::server::{Answer, Plain, Question};
use smtp_proto::server::ServerConfig;
use smtp_proto::wire::body::Runs;
use smtp_proto::wire::params::RcptParameters;
use smtp_proto::wire::path::ForwardPath;
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::tls::{ClientCertificates, server_config};
use smtp_tokio_adapter::test_kit::{Peer, Script, Tls};
use smtp_tokio_adapter::{Handler, Inbound, Session, serve};

const MESSAGE: &str = "Subject: hello\r\n\r\n.Hello.\r\n";

fn example(name: &str) -> Command {
    // target/PROFILE/deps/this-test -> target/PROFILE/examples/NAME
    let test = std::env::current_exe().unwrap();
    Command::new(test.parent().unwrap().parent().unwrap().join("examples").join(name))
}

/// A folder of one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("smtp-examples-{}-{number}", std::process::id()));
        std::fs::create_dir_all(path.join("inbox")).unwrap();
        std::fs::create_dir_all(path.join("queue")).unwrap();
        Self(path)
    }

    /// The root and the certificate of `localhost`, as files in PEM.
    fn with_pki() -> (Self, Pki) {
        let (folder, pki) = (Self::new(), Pki::new());
        let (chain, key) = pki.identity_pem("localhost");
        for (name, pem) in [("root.pem", pki.root_pem()), ("chain.pem", &chain), ("key.pem", &key)]
        {
            std::fs::write(folder.path(name), pem).unwrap();
        }
        (folder, pki)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The files of a folder that end in `.EXTENSION`, as text.
    fn files(&self, folder: &str, extension: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let wanted = paths.filter(|path| path.extension().is_some_and(|it| it == extension));
        wanted.filter_map(|path| std::fs::read_to_string(path).ok()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server, killed at the end of the test.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("cargo test builds it");
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
        // Else the server would wait for a reader of what it prints.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { child, address }
    }

    fn receive(folder: &Folder, address: &str) -> Self {
        let files = ["inbox", "chain.pem", "key.pem"].map(|name| folder.path(name));
        Self::start(example("receive").args([address, "localhost"]).args(files))
    }

    fn relay(folder: &Folder, next: SocketAddr) -> Self {
        let mut command = example("relay");
        command.args(["127.0.0.1:0", "relay.example"]).arg(folder.path("queue"));
        command.arg(format!("localhost:{}", next.port())).arg(folder.path("root.pem"));
        Self::start(&mut command)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(command: &mut Command) -> Output {
    let (input, output) = (Stdio::piped(), Stdio::piped());
    let mut child = command.stdin(input).stdout(output).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(MESSAGE.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn send(address: SocketAddr, roots: Option<&Path>) -> Output {
    let mut command = example("send");
    command.args(["a@client.example", "b@test.example", "localhost", &address.to_string()]);
    run(command.args(roots))
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn send_to_receive_with_a_trusted_certificate_uses_tls() {
    let (folder, _) = Folder::with_pki();
    let server = Server::receive(&folder, "127.0.0.1:0");
    let output = send(server.address, Some(&folder.path("root.pem")));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && printed.contains("b@test.example: delivered"), "{printed}");
    let [stored] = &folder.files("inbox", "eml")[..] else { panic!("not one message") };
    let head = "Delivered-To: b@test.example\r\nReceived: from client.example ([127.0.0.1])";
    assert!(stored.starts_with(head), "{stored}");
    assert!(stored.contains("with ESMTPS") && stored.contains("X25519MLKEM768"), "{stored}");
    assert!(stored.ends_with(MESSAGE), "{stored}");
}

/// Without the fifth argument the public roots are used, which did not issue this certificate.
#[test]
fn send_to_receive_with_an_unknown_issuer_uses_clear_text() {
    let (folder, _) = Folder::with_pki();
    let server = Server::receive(&folder, "127.0.0.1:0");
    let output = send(server.address, None);
    assert!(output.status.success(), "{output:?}");
    let [stored] = &folder.files("inbox", "eml")[..] else { panic!("not one message") };
    assert!(stored.contains("with ESMTP\r\n") || stored.contains("with ESMTP;"), "{stored}");
}

#[test]
fn receive_that_cannot_store_answers_451_and_send_defers() {
    let (folder, _) = Folder::with_pki();
    let server = Server::receive(&folder, "127.0.0.1:0");
    std::fs::remove_dir_all(folder.path("inbox")).unwrap();
    let output = send(server.address, Some(&folder.path("root.pem")));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success() && printed.contains("deferred: 4.3.0"), "{printed}");
}

/// A submission server with one user.
struct Submission(Arc<AtomicU32>);

impl Handler for Submission {
    async fn authenticate(&mut self, _: &Session, question: Question) -> Answer {
        match question {
            Question::Password { user, password }
                if user == "user" && password.as_bytes() == b"pencil" =>
            {
                Answer::Accepted(user)
            }
            _ => Answer::Refused,
        }
    }
    async fn recipient(
        &mut self,
        _: &Session,
        _: ForwardPath<'_>,
        _: RcptParameters<'_>,
    ) -> Response {
        Response::fixed(250, (2, 1, 5), "OK")
    }
    async fn body(&mut self, _: Runs<'_>) {}
    async fn end_of_body(&mut self, session: &Session) -> Response {
        assert!(session.tls.is_some() && session.identity.is_some());
        self.0.fetch_add(1, Ordering::Relaxed);
        Response::fixed(250, (2, 0, 0), "taken")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn submit_with_the_right_password_delivers_and_with_a_wrong_one_does_not() {
    let (folder, pki) = Folder::with_pki();
    let mut config = ServerConfig::new("localhost".parse().unwrap());
    config.starttls = smtp_proto::server::StartTls::Offered;
    config.mechanisms = vec![Arc::new(Plain)];
    config.auth_required = true;
    let mut inbound = Inbound::new(Arc::new(config));
    let identity = pki.identity("localhost");
    inbound.tls = Some(server_config(identity, ClientCertificates::None, provider()).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let taken = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&taken);
    let service = Arc::new(move |_: SocketAddr| Submission(Arc::clone(&counter)));
    tokio::spawn(serve(listener, inbound, service, std::future::pending()));

    let root = folder.path("root.pem");
    let submit = move |password: &'static str| {
        let mut command = example("submit");
        command.args([&address, "user", "a@client.example", "b@test.example"]).arg(&root);
        command.env("SMTP_PASSWORD", password);
        tokio::task::spawn_blocking(move || run(&mut command))
    };
    let output = submit("pencil").await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(taken.load(Ordering::Relaxed), 1);
    let output = submit("crayon").await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success() && printed.contains("deferred"), "{printed}");
    assert_eq!(taken.load(Ordering::Relaxed), 1);
}

#[test]
fn relay_queues_while_the_smart_host_is_down_and_delivers_after_a_restart() {
    let (folder, _) = Folder::with_pki();
    let down = Server::receive(&folder, "127.0.0.1:0").address;
    let relay = Server::relay(&folder, down);
    let output = send(relay.address, None);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(folder.files("queue", "mail").len(), 1);
    drop(relay);

    let up = Server::receive(&folder, "127.0.0.1:0");
    let _relay = Server::relay(&folder, up.address);
    wait_until("the queue is empty", || folder.files("queue", "mail").is_empty());
    let [stored] = &folder.files("inbox", "eml")[..] else { panic!("not one message") };
    assert_eq!(stored.matches("Received: ").count(), 2, "{stored}");
    assert!(stored.contains("with ESMTPS") && stored.ends_with(MESSAGE), "{stored}");
}

/// Sends messages until the server is gone; returns the subjects that were answered with 250.
fn flood(address: SocketAddr, name: &str) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let Ok(mut stream) = TcpStream::connect(address) else { return acknowledged };
    let Ok(copy) = stream.try_clone() else { return acknowledged };
    let mut replies = BufReader::new(copy).lines().map_while(Result::ok);
    let mut reply = || replies.by_ref().find(|line| line.as_bytes().get(3) == Some(&b' '));
    let (_, mut number) = (reply(), 0);
    loop {
        let subject = format!("<{name}.{number}>");
        let text = format!("Subject: {subject}\r\n\r\n{MESSAGE}.\r\n");
        let commands = [
            "HELO client.example\r\n",
            "MAIL FROM:<a@client.example>\r\n",
            "RCPT TO:<b@test.example>\r\n",
            "RCPT TO:<c@other.example>\r\n",
            "DATA\r\n",
            &text,
        ];
        for command in commands {
            if stream.write_all(command.as_bytes()).is_err() {
                return acknowledged;
            }
            match reply() {
                Some(line) if line.starts_with("250") || line.starts_with("354") => {}
                _ => return acknowledged,
            }
        }
        acknowledged.push(subject);
        number += 1;
    }
}

/// One message that the smart host has read up to its final dot.
struct Received {
    subject: String,
    recipients: Vec<String>,
    /// The relay has not said QUIT since: it may not have read the 250.
    is_open: bool,
}

/// A smart host that leaves one message in eight without a reply to its final dot, and one QUIT in
/// two without a reply, until it is calm.
#[derive(Clone)]
struct Unreliable {
    tls: Tls,
    received: Arc<Mutex<Vec<Received>>>,
    is_calm: Arc<AtomicBool>,
    random: Arc<Mutex<Random>>,
}

impl Unreliable {
    async fn listen(self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(self.clone().converse(Peer::new(stream)));
            }
        });
        address
    }

    fn fails(&self, one_in: u64) -> bool {
        !self.is_calm.load(Ordering::SeqCst) && self.random.lock().unwrap().below(one_in) == 0
    }

    /// Ends early when the relay is killed.
    async fn converse(self, mut peer: Peer) -> Option<()> {
        let say = |text| Script::new().say(text);
        let greeting = say("220 localhost").expect("EHLO").say("250-localhost\n250 STARTTLS");
        let greeting = greeting.starttls(self.tls.clone()).expect("EHLO").say("250 localhost");
        peer.play(&greeting).await.ok()?;
        let (mut recipients, mut first) = (Vec::new(), None);
        while let Some(line) = peer.next_line().await {
            let reply = match line.get(..4)? {
                "RCPT" => {
                    recipients.push(line);
                    say("250 recipient")
                }
                "DATA" => {
                    peer.play(&say("354 go").expect_message()).await.ok()?;
                    let message = String::from_utf8_lossy(peer.messages().last()?).into_owned();
                    let subject = message.split_once("Subject: ")?.1.split_once('\r')?.0.to_owned();
                    let recipients = std::mem::take(&mut recipients);
                    let mut received = self.received.lock().unwrap();
                    first.get_or_insert(received.len());
                    received.push(Received { subject, recipients, is_open: true });
                    drop(received);
                    if self.fails(8) { Script::new().stall() } else { say("250 taken") }
                }
                "QUIT" => {
                    // One message a connection.
                    if let Some(index) = first {
                        self.received.lock().unwrap()[index].is_open = false;
                    }
                    if self.fails(2) { Script::new().ignore() } else { say("221 bye").close() }
                }
                _ => say("250 OK"),
            };
            peer.play(&reply).await.ok()?;
        }
        None
    }
}

/// A linear congruential generator.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

/// Clients that send to the relay at a time.
const CLIENTS: usize = 4;

/// `SMTP_KILLS` is the number of kills: 8 unless set, 100 for a thorough run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relay_killed_at_any_time_loses_no_message_and_doubles_only_open_deliveries() {
    let (folder, pki) = Folder::with_pki();
    let kills = std::env::var("SMTP_KILLS").map_or(8, |kills| kills.parse().unwrap());
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let next = Unreliable {
        tls: Tls::server(pki.identity("localhost")),
        received: Arc::default(),
        is_calm: Arc::default(),
        random: Arc::new(Mutex::new(Random(seed))),
    };
    let address = next.clone().listen().await;
    let mut acknowledged = Vec::new();
    for round in 0..kills {
        let mut relay = Server::relay(&folder, address);
        let relayed = relay.address;
        let floods: [_; CLIENTS] = std::array::from_fn(|client| {
            std::thread::spawn(move || flood(relayed, &format!("{round}.{client}")))
        });
        let delay = next.random.lock().unwrap().below(1000);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        relay.child.kill().unwrap();
        acknowledged.extend(floods.into_iter().flat_map(|flood| flood.join().unwrap()));
    }
    next.is_calm.store(true, Ordering::SeqCst);
    let relay = Server::relay(&folder, address);
    let mut left = usize::MAX;
    while left > 0 {
        let count = || folder.files("queue", "mail").len();
        wait_until("the queue gets shorter", || count() < left);
        left = count();
    }
    drop(relay);

    // How often each message came for each recipient, and how many of those deliveries were open.
    let mut copies: HashMap<(String, String), (usize, usize)> = HashMap::new();
    for received in next.received.lock().unwrap().iter() {
        for recipient in &received.recipients {
            let key = (received.subject.clone(), recipient.clone());
            let (all, open) = copies.entry(key).or_default();
            *all += 1;
            *open += usize::from(received.is_open);
        }
    }
    let recipients = ["RCPT TO:<b@test.example>", "RCPT TO:<c@other.example>"];
    let expected = acknowledged
        .iter()
        .flat_map(|subject| recipients.map(|recipient| (subject.clone(), recipient.to_owned())));
    let lost: Vec<_> = expected.filter(|key| !copies.contains_key(key)).collect();
    let duplicates: usize = copies.values().map(|(all, _)| all - 1).sum();
    let open: usize = copies.values().map(|(_, open)| open).sum();
    let figures = format!(
        "{kills} kills: {} messages acknowledged, {} copies lost, {duplicates} duplicates, \
         {open} copies whose delivery was open at a kill (seed {seed})",
        acknowledged.len(),
        lost.len(),
    );
    // Past libtest, which hides what a test prints as long as it passes.
    writeln!(std::io::stderr(), "{figures}").unwrap();
    assert!(acknowledged.len() as u32 > kills, "too few messages to tell; {figures}");
    assert!(lost.is_empty(), "{lost:?} were acknowledged and not delivered; {figures}");
    for (key, (all, open)) in &copies {
        assert!(all - 1 <= *open, "{key:?} came {all} times, {open} open at a kill; {figures}");
    }
}

fn blocking(folder: &Folder, address: SocketAddr, root: &str) -> Output {
    let mut command = example("blocking");
    command.args(["a@client.example", "b@test.example", "localhost", &address.to_string()]);
    run(command.arg(folder.path(root)))
}

#[test]
fn blocking_to_receive_with_a_trusted_certificate_uses_tls() {
    let (folder, _) = Folder::with_pki();
    let server = Server::receive(&folder, "127.0.0.1:0");
    let output = blocking(&folder, server.address, "root.pem");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && printed.contains("b@test.example: delivered"), "{printed}");
    let [stored] = &folder.files("inbox", "eml")[..] else { panic!("not one message") };
    assert!(stored.contains("with ESMTPS") && stored.ends_with(MESSAGE), "{stored}");
}

#[test]
fn blocking_to_receive_with_an_unknown_issuer_sends_nothing() {
    let (folder, _) = Folder::with_pki();
    std::fs::write(folder.path("other.pem"), Pki::new().root_pem()).unwrap();
    let server = Server::receive(&folder, "127.0.0.1:0");
    let output = blocking(&folder, server.address, "other.pem");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success() && printed.contains("deferred"), "{printed}");
    assert!(folder.files("inbox", "eml").is_empty());
}

/// `tests/lab` runs it against Postfix.
#[test]
fn the_first_example_of_the_readme_is_the_file_hello_of_at_most_20_lines() {
    let (file, readme) = (include_str!("../examples/hello.rs"), include_str!("../../README.md"));
    let block = readme.split("```rust,no_run\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(block, file);
    assert!(file.lines().count() <= 20);
}
