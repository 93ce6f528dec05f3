//! A message on its way over two relays to Postfix.

use std::net::SocketAddr;

use sha2::{Digest, Sha256};
use smtp_tls_policy::pki::TlsaRecord;
use smtp_tokio_adapter::IdentityFiles;

use crate::Relay;
use crate::common::programs::{Folder, MESSAGE, send, wait_until};
use crate::common::{Pki, provider};
use crate::dns;
use crate::peers::{Peer, lab, start_plain};

/// A folder with a certificate of this name.
fn folder(pki: &Pki, name: &str) -> Folder {
    let folder = Folder::new();
    let (chain, key) = pki.identity_pem(name);
    for (file, pem) in [("root.pem", pki.root_pem()), ("chain.pem", &chain), ("key.pem", &key)] {
        std::fs::write(folder.path(file), pem).unwrap();
    }
    folder
}

/// The TLSA record of the key in a folder.
fn tlsa(folder: &Folder) -> TlsaRecord {
    let files = IdentityFiles::new(folder.path("chain.pem"), folder.path("key.pem"));
    let identity = files.load(&provider()).unwrap();
    let key = identity.key.public_key().unwrap();
    TlsaRecord { usage: 3, selector: 1, matching: 1, data: Sha256::digest(&key).to_vec() }
}

fn asks(resolver: SocketAddr, anchor: &Folder) -> String {
    format!("resolver = \"{resolver}\"\ntrust-anchor = {:?}\n", anchor.path("root.key"))
}

#[track_caller]
fn counts(page: &[String], name: &str, labels: &[&str], at_least: f64) {
    let is_it = |line: &&String| {
        let name_ends = line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        name_ends && labels.iter().all(|label| line.contains(label))
    };
    let found = page.iter().filter(is_it).filter_map(|line| line.rsplit(' ').next());
    let sum: f64 = found.map(|value| value.parse::<f64>().unwrap()).sum();
    assert!(sum >= at_least, "{name} {labels:?} is {sum} in {page:#?}");
}

/// The first relay hands over to the second one, a smart host whose certificate it verifies. The
/// second one finds Postfix by MX records, and verifies it by TLSA records; both by real DNS.
#[test]
fn message_travels_over_two_relays_to_postfix_and_the_pages_for_prometheus_tell() {
    let Some(lab) = lab() else { return };
    if !dns::can_start() {
        return;
    }
    let pki = Pki::new();
    let (first, second) = (folder(&pki, "first.example"), folder(&pki, "mx2.secure.example"));
    // Nothing but the TLSA record vouches for this name.
    let last = folder(&Pki::new(), "postfix.invalid");
    let [chain, key] = ["chain.pem", "key.pem"].map(|file| last.path(file).display().to_string());
    let options = ["--cert", &*chain, "--key", &*key];
    let Some(postfix) = start_plain(lab, Peer::POSTFIX, &options) else { return };
    let (zones, _script) = dns::run_script(postfix.address.port(), &tlsa(&last), "");
    for folder in [&first, &second] {
        std::fs::write(folder.path("root.key"), zones["anchor"].as_str().unwrap()).unwrap();
    }
    let resolver: SocketAddr = zones["plain"].as_str().unwrap().parse().unwrap();

    let certificate = format!(
        "port = {}\n[[certificate]]\nchain = {:?}\nkey = {:?}\n",
        postfix.address.port(),
        second.path("chain.pem"),
        second.path("key.pem")
    );
    let settings = asks(resolver, &second) + &certificate;
    let to_postfix =
        Relay::start(&second, "second.example", "posture = \"dane-only\"\n", &settings);
    let connector = format!(
        "posture = \"verified\"\nsmart-host = {{ host = \"mx2.secure.example\", port = {} }}\n",
        to_postfix.address().port()
    );
    let to_second = Relay::start(&first, "first.example", &connector, &asks(resolver, &first));

    let output = send(to_second.address(), None);
    assert!(output.status.success(), "{output:?}");
    let stored = postfix.stored_text("Subject: hello");
    let body = MESSAGE.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(stored.split_once("\n\n").unwrap().1.trim_end(), body.trim_end());
    assert_eq!(stored.matches("Received: ").count(), 3, "{stored}");
    assert!(stored.contains("from second.example") && stored.contains("from first.example"));
    for relay in [&first, &second] {
        wait_until("the queue is empty", || relay.files("queue", "mail").is_empty());
    }

    // Each relay has one decision, one handshake as a client and one connection that it keeps.
    for (relay, posture) in [(&to_second, "verified"), (&to_postfix, "dane-only")] {
        let page = relay.page();
        let decision = ["channel=\"tls\"", &*format!("posture=\"{posture}\""), "reason=\"tls-ok\""];
        counts(&page, "smtp_tls_decisions_total", &decision, 1.0);
        let handshake = ["role=\"client\"", "version=\"TLSv1.3\""];
        counts(&page, "smtp_tls_handshakes_total", &handshake, 1.0);
        counts(&page, "smtp_pool_turns_total", &["connection=\"opened\""], 1.0);
        counts(&page, "smtp_pool_connections", &[], 1.0);
        let addresses = ["question=\"ipv4\"", "outcome=\"secure\""];
        counts(&page, "smtp_lookups_total", &addresses, 1.0);
        counts(&page, "smtp_lookup_duration_seconds_count", &["question=\"ipv4\""], 1.0);
    }
    let page = to_postfix.page();
    for question in ["mx", "tlsa"] {
        let labels = [&*format!("question=\"{question}\""), "outcome=\"secure\""];
        counts(&page, "smtp_lookups_total", &labels, 1.0);
    }
    counts(&page, "smtp_tls_handshakes_total", &["role=\"server\""], 1.0);
}
