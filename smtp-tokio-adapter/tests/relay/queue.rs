//! What the relay makes of outcomes: notifications, the end of the tries, a later run in clear
//! text; and which clients it hears.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use smtp_proto::sasl::server::plain;
use smtp_proto::wire::reply::Response;
use smtp_tokio_adapter::{Inbound, serve};

use crate::Relay;
use crate::common::programs::{Folder, MESSAGE, Server, example, wait_until};
use crate::common::{HOST, Pki, Taker, changed, smtp, start};

/// Nothing listens there: the addresses of smart hosts are known.
pub(crate) const NO_DNS: &str = "resolver = \"127.0.0.1:9\"\n";

/// A connector that sends the mail of a domain to this server, in clear text.
pub(crate) fn to(name: &str, domain: &str, next: SocketAddr, fields: &str) -> String {
    format!(
        "[[outbound]]\nname = \"{name}\"\nnamespaces = [\"{domain}\"]\n{fields}\n\
         smart-host = {{ host = \"[127.0.0.1]\", port = {} }}\n",
        next.port()
    )
}

/// Says these commands, and returns the reply to each.
pub(crate) fn say(address: SocketAddr, commands: &[&str]) -> Vec<String> {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let mut reply = || lines.by_ref().find(|line| line.as_bytes().get(3) == Some(&b' ')).unwrap();
    reply();
    let mut replies = Vec::new();
    for command in commands {
        write!(stream, "{command}\r\n").unwrap();
        replies.push(reply());
    }
    replies
}

/// Sends a message; the last reply must be 250.
pub(crate) fn submit(address: SocketAddr, from: &str, recipients: &[&str]) {
    let (from, text) = (format!("MAIL FROM:<{from}>"), format!("{MESSAGE}."));
    let recipients: Vec<_> = recipients.iter().map(|to| format!("RCPT TO:<{to}>")).collect();
    let mut commands = vec!["EHLO client.example", &*from];
    commands.extend(recipients.iter().map(|line| &**line));
    commands.extend(["DATA", &*text]);
    let replies = say(address, &commands);
    assert!(replies.last().unwrap().starts_with("250"), "{replies:?}");
}

fn is_empty(folder: &Folder) -> bool {
    folder.files("queue", "mail").is_empty() && folder.files("queue", "journal").is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_recipient_is_told_to_the_sender_and_the_other_one_gets_the_message() {
    let (folder, _) = Folder::with_pki();
    let next = start(Inbound::new(Arc::new(smtp()))).await;
    let back = Server::receive(&folder, "127.0.0.1:0");
    let connectors = to("all", "*", next.address, "posture = \"none\"")
        + &to("back", "client.example", back.address, "posture = \"encrypt\"");
    let relay = Relay::with_connectors(&folder, "relay.example", &connectors, NO_DNS);
    submit(relay.address(), "a@client.example", &["nobody@test.example", "b@test.example"]);
    wait_until("the notification", || folder.files("inbox", "eml").len() == 1 && is_empty(&folder));
    assert_eq!(next.kept.messages.lock().unwrap().len(), 1);
    let [told] = &folder.files("inbox", "eml")[..] else { panic!("not one message") };
    for part in [
        "Delivered-To: a@client.example\r\n",
        "Content-Type: multipart/report; report-type=delivery-status;",
        "Auto-Submitted: auto-replied\r\n",
        "Reporting-MTA: dns; relay.example\r\n\r\nFinal-Recipient: rfc822; nobody@test.example\r\n\
         Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; [127.0.0.1]\r\n\
         Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
        "Subject: hello\r\n",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert!(!told.contains("b@test.example") && !told.contains("Hello."), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_notification_is_dropped_and_not_answered() {
    let (folder, _) = Folder::with_pki();
    let next = start(Inbound::new(Arc::new(smtp()))).await;
    let connectors = to("all", "*", next.address, "posture = \"none\"");
    let relay = Relay::with_connectors(&folder, "relay.example", &connectors, NO_DNS);
    submit(relay.address(), "", &["nobody@test.example"]);
    submit(relay.address(), "nobody@client.example", &["nobody@test.example"]);
    wait_until("the queue is empty", || is_empty(&folder));
    assert_eq!(next.kept.messages.lock().unwrap().len(), 0);
}

#[test]
fn message_of_six_days_is_given_up_and_told_to_the_sender() {
    let (folder, _) = Folder::with_pki();
    let (down, back) =
        (Server::receive(&folder, "127.0.0.1:0").address, Server::receive(&folder, "127.0.0.1:0"));
    let connectors = to("all", "*", down, "posture = \"none\"")
        + &to("back", "client.example", back.address, "posture = \"encrypt\"");
    let relay = Relay::with_connectors(&folder, "relay.example", &connectors, NO_DNS);
    submit(relay.address(), "a@client.example", &["b@test.example"]);
    drop(relay);
    let mails = std::fs::read_dir(folder.path("queue")).unwrap().map(|it| it.unwrap().path());
    let mails: Vec<_> = mails.filter(|it| it.extension().is_some_and(|it| it == "mail")).collect();
    let [mail] = &mails[..] else { panic!("{mails:?}") };
    let then = SystemTime::now() - Duration::from_secs(6 * 24 * 60 * 60);
    File::options().append(true).open(mail).unwrap().set_modified(then).unwrap();
    let _relay = Relay::with_connectors(&folder, "relay.example", &connectors, NO_DNS);
    wait_until("the notification", || folder.files("inbox", "eml").len() == 1 && is_empty(&folder));
    let told = &folder.files("inbox", "eml")[0];
    let part = "Final-Recipient: rfc822; b@test.example\r\nAction: failed\r\nStatus: 4.4.7\r\n";
    assert!(told.contains(part), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn untrusted_certificate_under_later_gets_the_message_in_clear_text_on_the_next_run_only() {
    let (folder, _) = Folder::with_pki();
    // The relay does not know this authority.
    let tls = Some(Pki::new().server_config(HOST));
    let next = start(changed(Inbound::new(Arc::new(smtp())), |it| it.tls = tls)).await;
    let fields = "posture = \"deterministic\"\nyields = { untrusted = \"later\" }";
    let connectors = to("all", "*", next.address, fields);
    let relay = Relay::with_connectors(&folder, "relay.example", &connectors, NO_DNS);
    submit(relay.address(), "a@client.example", &["b@test.example"]);
    wait_until("the journal", || folder.files("queue", "journal") == ["clear 0\n"]);
    assert!(next.kept.messages.lock().unwrap().is_empty());
    drop(relay);
    let relay = Relay::with_connectors(&folder, "relay.example", &connectors, NO_DNS);
    wait_until("the queue is empty", || is_empty(&folder));
    assert_eq!(*next.kept.over_tls.lock().unwrap(), [false]);
    // Another message has a first run of its own.
    submit(relay.address(), "a@client.example", &["b@test.example"]);
    wait_until("the journal", || folder.files("queue", "journal") == ["clear 0\n"]);
    assert_eq!(next.kept.messages.lock().unwrap().len(), 1);
}

#[test]
fn message_with_101_received_fields_is_returned_and_not_sent() {
    let (folder, _) = Folder::with_pki();
    let server = Server::receive(&folder, "127.0.0.1:0");
    let connectors = to("all", "*", server.address, "posture = \"encrypt\"");
    let relay = Relay::with_connectors(&folder, "relay.example", &connectors, NO_DNS);
    let text = "Received: from x by y; Sun, 29 Nov 2026 12:00:00 +0000\r\n".repeat(100) + "\r\n.";
    let commands =
        ["EHLO c", "MAIL FROM:<a@client.example>", "RCPT TO:<b@test.example>", "DATA", &text];
    assert!(say(relay.address(), &commands)[4].starts_with("250"));
    wait_until("the notification", || folder.files("inbox", "eml").len() == 1 && is_empty(&folder));
    let told = &folder.files("inbox", "eml")[0];
    assert!(told.contains("b@test.example\r\nAction: failed\r\nStatus: 5.4.6\r\n"), "{told}");
}

#[test]
fn inbound_connector_that_requires_tls_refuses_its_sender_domain_in_clear_text_alone() {
    let (folder, _) = Folder::with_pki();
    let server = Server::receive(&folder, "127.0.0.1:0");
    let inbound = "[[inbound]]\nname = \"world\"\nnamespaces = [\"*\"]\n\
                   [[inbound]]\nname = \"partner\"\nnamespaces = [\"partner.example\"]\n\
                   require-tls = true\n";
    let connectors = to("all", "*", server.address, "posture = \"encrypt\"") + inbound;
    let certificate =
        format!("{NO_DNS}[[certificate]]\nchain = \"chain.pem\"\nkey = \"key.pem\"\n");
    let relay = Relay::with_connectors(&folder, "relay.example", &connectors, &certificate);
    let replies = say(
        relay.address(),
        &["EHLO c", "MAIL FROM:<a@partner.example>", "MAIL FROM:<a@client.example>"],
    );
    let refused = "530 5.7.0 TLS is required; required by inbound connector partner";
    assert_eq!(replies[1..], [refused, "250 2.1.0 sender OK"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_of_the_settings_are_used_at_the_smart_host_of_their_connector() {
    let (folder, pki) = Folder::with_pki();
    let mut inbound = Inbound::new(Arc::new(changed(smtp(), |it| {
        it.mechanisms = vec![plain()];
        it.auth_required = true;
    })));
    inbound.tls = Some(pki.server_config("localhost"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (next, taken) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&taken);
    let service = move |_: SocketAddr| {
        let counter = Arc::clone(&counter);
        Taker::new(move |session| {
            let user = session.identity.as_ref().map(|identity| &identity.user[..]);
            counter.fetch_add(usize::from(user == Some("relay")), Ordering::SeqCst);
            Response::fixed(250, (2, 0, 0), "taken")
        })
    };
    tokio::spawn(serve(listener, inbound, service, std::future::pending()));
    std::fs::write(folder.path("password"), "pencil\n").unwrap();
    let connectors = to("all", "*", next, "posture = \"verified\"\nnames = [\"localhost\"]");
    let login = "[credentials.all]\nuser = \"relay\"\npassword-file = \"password\"\n";
    let settings = format!("{NO_DNS}{login}");
    let relay = Relay::with_connectors(&folder, "relay.example", &connectors, &settings);
    submit(relay.address(), "a@client.example", &["b@test.example"]);
    wait_until("the queue is empty", || is_empty(&folder));
    assert_eq!(taken.load(Ordering::SeqCst), 1);
}

/// The relay does not start: what it says.
fn complaint(folder: &Folder, settings: &str, connectors: &str) -> String {
    std::fs::write(folder.path("relay.toml"), settings).unwrap();
    std::fs::write(folder.path("connectors.toml"), connectors).unwrap();
    let mut command = example("relay");
    command.arg(folder.path("relay.toml")).args(["127.0.0.1:0"; 2]);
    let output = command.stdout(Stdio::null()).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn relay_with_wrong_settings_does_not_start_and_names_file_line_and_field() {
    let (folder, _) = Folder::with_pki();
    let good = "name = \"relay.example\"\nstate = \".\"\nconnectors = \"connectors.toml\"\n\
                resolver = \"127.0.0.1:9\"\n[roots]\npublic = \"root.pem\"\n";
    let all = "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\nposture = \"verified\"\n";
    let partner = "[[inbound]]\nname = \"p\"\nnamespaces = [\"*\"]\nrequire-tls = true\n";
    for (before, after, connectors, expected) in [
        ("relay.example", "no name", all, "relay.toml: line 1, field name: "),
        (
            "[roots]",
            "other-names = [\"mx.example\", \"-\"]\n[roots]",
            all,
            "relay.toml: line 5, field other-names: ",
        ),
        ("127.0.0.1:9", "dns", all, "relay.toml: line 4, field resolver: found \"dns\"; expected"),
        ("root.pem", "lost.pem", all, "relay.toml: line 6, field roots.public: "),
        ("root.pem", "key.pem", all, "key.pem has no certificate"),
        ("state", "stat", all, "relay.toml: line 2, field stat: unknown field `stat`"),
        ("\"127.0.0.1:9\"", "53", all, "relay.toml: line 4, field resolver: invalid type"),
        ("connectors.toml", "none.toml", all, "relay.toml: line 3, field connectors: "),
        ("none", "none", "[[outbound]]\nname = \"x\"", "connectors.toml: line 1, field outbound"),
        (
            "none",
            "none",
            &format!("{all}roots = \"lost\""),
            "connectors.toml: line 5, field outbound.roots",
        ),
        (
            "[roots]",
            "[credentials.all]\nuser = \"u\"\npassword-file = \"p\"\n[roots]",
            all,
            "relay.toml: line 6, field credentials.all: no outbound connector \"all\" has a smart",
        ),
        ("none", "none", &format!("{all}{partner}"), "relay.toml: line 3, field certificate: "),
    ] {
        let said = complaint(&folder, &good.replacen(before, after, 1), connectors);
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
}
