//! Each server of the lab in each of its set-ups: without TLS, with TLS from the first octet, with
//! old versions, and with client certificates. The golden table is `golden/setups.txt`.

use std::fmt::Write;

use crate::certificates::{Commands, HOST, SERVERS, whole_lab};
use crate::lab::Lab;
use crate::shown::{postures, verdict, version};
use crate::table::{each, golden, grouped};

/// Client certificates of the lab, and none.
const IDENTITIES: [Option<&str>; 6] = [
    None,
    Some("client-valid"),
    Some("client-expired"),
    Some("client-server-eku"),
    Some("client-untrusted"),
    Some("client-self-signed"),
];

/// A set-up: its name, and the options of the start script.
const SETUPS: [(&str, &[&str]); 8] = [
    ("no TLS", &["--starttls", "none"]),
    ("TLS demanded", &["--starttls", "required"]),
    ("TLS from the first octet", &["--starttls", "implicit"]),
    ("TLS 1.2 only", &["--tls-versions", "tls12"]),
    ("TLS 1.3 only", &["--tls-versions", "tls13"]),
    ("TLS 1.0 and 1.1 only", &["--tls-versions", "old"]),
    ("client certificate requested", &["--client-cert", "request"]),
    ("client certificate required", &["--client-cert", "require"]),
];

/// A certificate and its key in one file.
fn identity(lab: &Lab, commands: &Commands<'_>, name: &str) -> String {
    let read = |file: String| std::fs::read(lab.pki(&file)).unwrap();
    let both = [read(format!("{name}-chain.pem")), read(format!("{name}.key"))].concat();
    format!("own={}", commands.file(&format!("{name}.pem"), &both))
}

#[test]
fn probe_and_test_judge_each_setup_of_each_server_as_the_golden_table_says() {
    let Some(lab) = whole_lab() else { return };
    let commands = Commands::new(lab);
    let verified = commands.config("verified", "");
    let with_identity = commands.file(
        "identity.toml",
        b"[[outbound]]\nname = \"lab\"\nnamespaces = [\"*\"]\nposture = \"verified\"\n\
          identity = \"own\"\n",
    );
    let identities: Vec<_> =
        IDENTITIES.iter().map(|name| name.map(|it| (it, identity(lab, &commands, it)))).collect();
    let jobs = SETUPS.iter().flat_map(|setup| SERVERS.iter().map(move |peer| (*setup, *peer)));
    let found = each(jobs, |((name, options), peer)| {
        // Of old versions only some have ECDSA.
        let certificate = if name.contains("1.1") { "valid-rsa" } else { "valid" };
        let chosen = lab.certificate_options(certificate);
        let client_ca = lab.pki("client-ca.pem");
        let mut all: Vec<&str> = options.to_vec();
        if !options.contains(&"none") {
            all.extend(chosen.iter().map(String::as_str));
        }
        if options.contains(&"--client-cert") {
            all.extend(["--client-ca", &client_ca]);
        }
        let mut lines = String::new();
        let server = match lab.start(peer, &all) {
            Ok(server) => server,
            Err(_) => return (peer.name.to_owned(), "has no such set-up\n".to_owned()),
        };
        if options.contains(&"implicit") {
            let port = server.address.port();
            let smart_host =
                format!("smart-host = {{ host = \"{HOST}\", port = {port}, implicit-tls = true }}");
            let config = commands.file(
                &format!("implicit-{port}.toml"),
                format!(
                    "[[outbound]]\nname = \"lab\"\nnamespaces = [\"*\"]\n\
                     posture = \"verified\"\n{smart_host}\n"
                )
                .as_bytes(),
            );
            let (tested, host) = commands.run(&server, &["test", "lab", "--config", &config]);
            writeln!(lines, "{}", version(&host)).unwrap();
            writeln!(lines, "test verified: {}", verdict(&tested, &host)).unwrap();
            return (peer.name.to_owned(), lines);
        }
        let (probed, host) = commands.probe(&server);
        writeln!(lines, "{}", version(&host)).unwrap();
        lines.push_str(&postures(&host));
        writeln!(lines, "probe: {}", verdict(&probed, &host)).unwrap();
        if !options.contains(&"--client-cert") {
            let (tested, host) = commands.test(&server, &verified, &[]);
            writeln!(lines, "test verified: {}", verdict(&tested, &host)).unwrap();
            return (peer.name.to_owned(), lines);
        }
        for identity in &identities {
            let (name, (tested, host)) = match identity {
                None => ("no certificate", commands.test(&server, &verified, &[])),
                Some((name, file)) => {
                    (*name, commands.test(&server, &with_identity, &["--identity", file]))
                }
            };
            writeln!(lines, "test verified, {name}: {}", verdict(&tested, &host)).unwrap();
        }
        (peer.name.to_owned(), lines)
    });
    let mut text = String::new();
    for ((name, _), found) in SETUPS.iter().zip(found.chunks(SERVERS.len())) {
        writeln!(text, "{name}\n{}", grouped(found)).unwrap();
    }
    golden("setups.txt", &text);
}
