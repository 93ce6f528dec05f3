//! `probe` and `test` dial as the connector says: source address, families, proxy.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::atomic::Ordering;

use crate::common::{HOST, Pki};
use crate::program::{Folder, Ran, smtp_tls};
use crate::servers::{plain_on, refused, socks5, with_tls};

/// Runs `probe`, or `test` of the connector, which has this `dial`.
fn run(command: &str, address: &str, pki: &Pki, dial: &str, more: &[&str]) -> Ran {
    let folder = Folder::new();
    let root = folder.file("root.pem", pki.root_pem());
    let config = folder.file(
        "c.toml",
        format!(
            "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\", \"{HOST}\"]\n\
             posture = \"opportunistic\"\ndial = {{ {dial} }}\n"
        ),
    );
    let what = if command == "probe" { HOST } else { "all" };
    let mut arguments = vec![command, what, "--config", &config, "--connect", address];
    arguments.extend(["--ca", &root, "--timeout", "20", "--json"]);
    arguments.extend(more);
    smtp_tls(&arguments)
}

#[test]
fn connections_come_from_the_source_address_of_the_connector() {
    let pki = Pki::new();
    let source = Ipv4Addr::new(127, 0, 0, 9);
    for command in ["probe", "test"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let clients = plain_on(listener);
        let ran = run(command, &address, &pki, &format!("source-ipv4 = \"{source}\""), &[]);
        assert_eq!(ran.status, 1, "{command}: {ran:?}");
        assert_eq!(*clients.lock().unwrap(), [IpAddr::V4(source)], "{command}");
    }
}

#[test]
fn connections_go_through_the_proxy_of_the_connector() {
    let pki = Pki::new();
    let (server, _) = with_tls(pki.identity(HOST));
    for command in ["probe", "test"] {
        let (proxy, count) = socks5();
        let ran = run(
            command,
            &server.to_string(),
            &pki,
            &format!("socks5 = {{ address = \"{proxy}\" }}"),
            &[],
        );
        assert_eq!(ran.status, 0, "{command}: {ran:?}");
        // One as in a delivery, one with TLS 1.2, one for each of three other groups.
        assert_eq!(count.load(Ordering::Relaxed), 5, "{command}: {ran:?}");
    }
}

/// Nothing is dialled in another way: the mail would wait.
#[test]
fn a_source_address_or_proxy_that_fails_defers_and_says_so() {
    let pki = Pki::new();
    let (server, kept) = with_tls(pki.identity(HOST));
    let nowhere = refused();
    for (dial, reason) in [
        // An address for documentation (RFC 5737), which is not one of this machine.
        ("source-ipv4 = \"192.0.2.1\"".to_owned(), "source-unavailable"),
        ("interface = \"no-such-one\"".to_owned(), "source-unavailable"),
        (format!("socks5 = {{ address = \"{nowhere}\" }}"), "proxy-failed"),
    ] {
        for command in ["probe", "test"] {
            let ran = run(command, &server.to_string(), &pki, &dial, &[]);
            assert_eq!((ran.status, &*ran.stderr), (4, ""), "{command} {dial}: {ran:?}");
            let json = ran.json();
            let found = if command == "probe" { &json } else { &json["targets"][0] };
            let decision = &found["hosts"][0]["decision"];
            assert_eq!(decision["reason"], reason, "{command}: {json:#}");
            let sentence = decision["sentence"].as_str().unwrap();
            assert!(sentence.contains("the fault is on this side"), "{sentence}");
        }
    }
    assert!(kept.over_tls.lock().unwrap().is_empty());
}

#[test]
fn an_address_of_a_family_that_the_connector_does_not_dial_is_not_connected_to() {
    let pki = Pki::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let clients = plain_on(listener);
    for command in ["probe", "test"] {
        let ran = run(command, &address, &pki, "families = \"ipv6\"", &[]);
        assert_eq!(ran.status, 4, "{command}: {ran:?}");
        assert!(ran.stdout.contains("does not dial addresses of the family of 127.0.0.1"));
    }
    assert!(clients.lock().unwrap().is_empty());
}
