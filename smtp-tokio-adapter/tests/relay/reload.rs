//! A relay that reads its settings again at SIGHUP.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::Relay;
use crate::certificates::{client, ecdsa, leaf, shown_on, write};
use crate::common::programs::Folder;
use crate::common::provider;
use crate::queue::{NO_DNS, say, to};

const CLIENTS: usize = 10;

/// The certificate that the relay shows after STARTTLS.
async fn shown(client: &TlsConnector, address: SocketAddr) -> CertificateDer<'static> {
    let mut stream = tokio::io::BufStream::new(TcpStream::connect(address).await.unwrap());
    for command in ["", "EHLO client.example\r\n", "STARTTLS\r\n"] {
        stream.write_all(command.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut line = String::new();
        while line.as_bytes().get(3) != Some(&b' ') {
            line.clear();
            assert_ne!(stream.read_line(&mut line).await.unwrap(), 0, "{command}");
        }
        assert!(line.starts_with('2'), "{line}");
    }
    shown_on(client, stream.into_inner(), "localhost").await.expect("a handshake")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relay_shows_the_new_certificate_after_sighup_fails_no_handshake_and_keeps_it_if_broken() {
    let (folder, pki) = Folder::with_pki();
    let path = folder.path("");
    let files = write(&pki, &path, "mx", &["localhost"], &ecdsa());
    let connectors = to("all", "*", "127.0.0.1:9".parse().unwrap(), "posture = \"verified\"");
    let settings = format!("{NO_DNS}[[certificate]]\nchain = \"mx.pem\"\nkey = \"mx.key\"\n");
    let mut command = Relay::command(&folder, "localhost", &connectors, &settings);
    let mut relay = Relay::run(command.stderr(Stdio::piped()));
    let mut said = BufReader::new(relay.server.child.stderr.take().unwrap()).lines();
    let address = relay.address();
    let pid = relay.server.child.id().to_string();
    let hang_up = || {
        let sent = Command::new("kill").args(["-HUP", &*pid]).status().unwrap();
        assert!(sent.success());
    };
    let before = leaf(&files);
    let client = client(&pki, provider());
    assert_eq!(shown(&client, address).await, before);

    // Connections come and go meanwhile.
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, stop, before) = (client.clone(), Arc::clone(&stop), before.clone());
        clients.spawn(async move {
            let mut has_changed = false;
            while !(has_changed && stop.load(Ordering::SeqCst)) {
                let is_new = shown(&client, address).await != before;
                assert!(is_new || !has_changed, "the old certificate after the new one");
                has_changed = is_new;
            }
        });
    }
    write(&pki, &path, "mx", &["localhost"], &ecdsa());
    hang_up();
    stop.store(true, Ordering::SeqCst);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let after = leaf(&files);
    assert_eq!(shown(&client, address).await, after);

    std::fs::write(&files.key, "").unwrap();
    hang_up();
    let fault = said.next().unwrap().unwrap();
    assert!(fault.contains("relay.toml: line 7, field certificate.key: "), "{fault}");
    assert_eq!(shown(&client, address).await, after);
    assert_eq!(say(address, &["EHLO client.example"]).len(), 1);
}
