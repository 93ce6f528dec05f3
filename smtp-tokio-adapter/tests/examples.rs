//! Runs the examples `send`, `submit`, `receive` and `blocking` as programs, against each other and
//! against servers of this test. `tests/relay` runs the example `relay`.
//!
//! `cargo test` builds the examples beside the tests; `cargo test --test examples` runs older ones.

mod common;

use std::net::SocketAddr;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::programs::{Folder, MESSAGE, Server, example, run, send};
use common::{Pki, Taker, provider};
use smtp_proto::sasl::server::plain;
use smtp_proto::server::ServerConfig;
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::tls::{ClientCertificates, server_config};
use smtp_tokio_adapter::{Inbound, Session, serve};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn submit_with_the_right_password_delivers_and_with_a_wrong_one_does_not() {
    let (folder, pki) = Folder::with_pki();
    let mut config = ServerConfig::new("localhost".parse().unwrap());
    config.starttls = smtp_proto::server::StartTls::Offered;
    config.mechanisms = vec![plain()];
    config.auth_required = true;
    let mut inbound = Inbound::new(Arc::new(config));
    let identity = pki.identity("localhost");
    inbound.tls = Some(server_config(identity, ClientCertificates::None, provider()).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let taken = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&taken);
    let service = move |_: SocketAddr| {
        let counter = Arc::clone(&counter);
        Taker::new(move |session: &Session| {
            assert!(session.tls.is_some() && session.identity.is_some());
            counter.fetch_add(1, Ordering::Relaxed);
            Response::fixed(250, (2, 0, 0), "taken")
        })
    };
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
fn first_example_of_the_readme_is_the_file_hello_of_at_most_20_lines_and_8_names() {
    let (file, readme) = (include_str!("../examples/hello.rs"), include_str!("../../README.md"));
    let block = readme.split("```rust,no_run\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(block, file);
    assert!(file.lines().count() <= 20);
    let imports: Vec<&str> = file.lines().filter(|line| line.starts_with("use smtp_")).collect();
    let names: usize = imports.iter().map(|line| line.matches(',').count() + 1).sum();
    assert!(names <= 8 && !imports.concat().contains('*'), "{names} names: {imports:?}");
}
