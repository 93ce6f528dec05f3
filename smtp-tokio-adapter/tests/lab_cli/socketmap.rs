//! `smtp-tls postfix` as the policy table of a Postfix of the lab, which delivers by its answers.

use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::Arc;

use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::common::provider;
use crate::lab::Peer;
use crate::peers::has;
use crate::postfix::{Fate, Postfix};
use crate::program::{Folder, command};
use crate::servers::policy_host;
use crate::world::{Tlsa, World};

/// How mail ends.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// Sent over TLS, with this of the certificate.
    Tls(&'static str),
    Clear,
    /// Deferred, with this in the reason.
    Deferred(&'static str),
}

use Wanted::{Clear, Deferred, Tls as OverTls};

/// A destination.
struct Row {
    /// The recipient's local part, and the connector.
    name: &'static str,
    next_hop: &'static str,
    certificate: Option<&'static str>,
    tlsa: Tlsa,
    /// The lines of its connector.
    rule: &'static str,
    wanted: Wanted,
}

const fn row(
    name: &'static str,
    next_hop: &'static str,
    certificate: Option<&'static str>,
    rule: &'static str,
    wanted: Wanted,
) -> Row {
    Row { name, next_hop, certificate, tlsa: Tlsa::None, rule, wanted }
}

const OPEN: &str = "posture = \"opportunistic\"";
const MAY: &str = "posture = \"opportunistic\"\ndane = \"off\"";
const SECURE: &str = "posture = \"secure\"";

/// The hosts `*.test.example` are one server, the certificate `wildcard` is good for all of them.
/// The TLSA records are those of `mail.test.example`.
const ROWS: [Row; 15] = [
    row("secure", "s1.test.example", Some("wildcard"), SECURE, OverTls("Verified")),
    row("secure-host", "[s2.test.example]", Some("wildcard"), SECURE, OverTls("Verified")),
    row("secure-name", "s3.test.example", Some("wrong-name"), SECURE, Deferred("not verified")),
    row("secure-clear", "s4.test.example", None, SECURE, Deferred("TLS is required")),
    row("may", "m1.test.example", Some("self-signed"), MAY, OverTls("Untrusted")),
    row("may-good", "m2.test.example", Some("wildcard"), MAY, OverTls("Trusted")),
    row("may-clear", "m3.test.example", None, MAY, Clear),
    row("none", "n1.test.example", Some("wildcard"), "posture = \"none\"", Clear),
    Row {
        tlsa: Tlsa::Key,
        ..row("dane", "mail.test.example", Some("self-signed"), OPEN, OverTls("Verified"))
    },
    row("dane-no-records", "d1.test.example", Some("self-signed"), OPEN, OverTls("Untrusted")),
    // The record of this host in the zones of the DNS tests fits no certificate; it is of the port
    // of `valid`.
    Row {
        tlsa: Tlsa::Key,
        ..row("dane-other", "mismatch.secure.example", Some("valid"), OPEN, Deferred("not"))
    },
    row(
        "dane-only",
        "d2.test.example",
        Some("wildcard"),
        "posture = \"dane-only\"",
        Deferred("TLSA"),
    ),
    // The MTA-STS policy of the domain has mode enforce.
    row("sts", "test.example", Some("wildcard"), OPEN, OverTls("Verified")),
    row("sts-name", "test.example", Some("wrong-name"), OPEN, Deferred("not verified")),
    // Postfix itself finds the host in its `/etc/hosts`; the policy says that its MX records are
    // bogus.
    row("bogus", "bogus.example", Some("wildcard"), OPEN, Deferred("configuration problem")),
];

/// The service, stopped at the end of the test.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The domain with an MTA-STS policy.
const POLICIES: &[(&str, &str, &str)] = &[("test.example", "enforce", "*.test.example")];

/// A certificate of the lab, with its key.
fn identity(world: &World, name: &str) -> Arc<CertifiedKey> {
    let read = |kind: &str| std::fs::read(world.lab.pki(&format!("{name}{kind}"))).unwrap();
    let chain = CertificateDer::pem_slice_iter(&read("-chain.pem")).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(&read(".key")).unwrap();
    Arc::new(CertifiedKey::from_der(chain, key, &provider()).unwrap())
}

fn start(world: &World, folder: &Folder) -> Running {
    let mut config = "[[outbound]]\nname = \"rest\"\nnamespaces = [\"*\"]\n\
                      posture = \"dane-only\"\n\n"
        .to_owned();
    let mut served = Vec::new();
    for Row { name, next_hop, rule, .. } in &ROWS {
        let domain = next_hop.trim_matches(['[', ']']);
        if served.contains(&domain) {
            continue;
        }
        served.push(domain);
        writeln!(config, "[[outbound]]\nname = \"{name}\"\nnamespaces = [\"{domain}\"]\n{rule}\n")
            .unwrap();
    }
    let config = folder.file("c.toml", config);
    let anchor = folder.file("root.key", world.anchor());
    let resolver = world.plain();
    let root = world.lab.pki("root-ca.pem");
    let policies = policy_host(identity(world, "wildcard"), POLICIES).port().to_string();
    let mut child = command(&[
        "postfix",
        "--config",
        &config,
        "--listen",
        "127.0.0.1:0",
        "--ca",
        &root,
        "--resolver",
        resolver,
        "--trust-anchor",
        &anchor,
        "--policy-port",
        &policies,
    ])
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
    Running { child, address }
}

fn recipient(row: &Row, run: &str) -> String {
    format!("{}@{run}.example", row.name)
}

/// Has Postfix deliver each row to its destination by the policies of the service.
fn configure(world: &World, postfix: &Postfix, map: &str, runs: &[&str]) {
    let mut transport = String::new();
    let mut services = String::new();
    for run in runs {
        writeln!(services, "{run} unix - - n - - smtp").unwrap();
        writeln!(
            services,
            "{run}-hosts unix - - n - - smtp -o smtp_host_lookup=native \
             -o smtp_dns_support_level=disabled"
        )
        .unwrap();
        for row in &ROWS {
            let port = world.port(row.certificate, row.tlsa);
            let lookup = if row.name == "bogus" { "-hosts" } else { "" };
            writeln!(transport, "{} {run}{lookup}:{}:{port}", recipient(row, run), row.next_hop)
                .unwrap();
        }
    }
    postfix.put("etc/postfix/transport", transport.as_bytes());
    postfix.put("etc/hosts", b"127.0.0.1 localhost bogus.example\n");
    let resolver = format!("nameserver {}\noptions trust-ad edns0\n", world.resolver);
    postfix.put("etc/resolv.conf", resolver.as_bytes());
    postfix.put("etc/tls/root-ca.pem", &std::fs::read(world.lab.pki("root-ca.pem")).unwrap());
    let main = format!(
        "transport_maps = texthash:/etc/postfix/transport\nsmtp_host_lookup = dns\n\
         smtp_dns_support_level = dnssec\nsmtp_tls_CAfile = /etc/tls/root-ca.pem\n\
         smtp_tls_loglevel = 1\nsmtp_connection_cache_on_demand = no\n\
         smtp_tls_policy_maps = socketmap:inet:{map}\n"
    );
    postfix.configure(&main, &services);
}

fn is(fate: &Fate, wanted: Wanted) -> bool {
    match wanted {
        OverTls(certificate) => fate.status == "sent" && fate.tls.as_deref() == Some(certificate),
        Clear => fate.status == "sent" && fate.tls.is_none(),
        Deferred(why) => fate.status == "deferred" && fate.detail.contains(why),
    }
}

#[test]
fn postfix_delivers_and_defers_by_the_policies_of_the_service() {
    let Some(world) = World::shared() else { return };
    // Postfix 3.10 and later know the attributes for TLS reports.
    for (peer, map) in [(Peer::POSTFIX, "QUERY"), (Peer::POSTFIX_TRIXIE, "QUERYwithTLSRPT")] {
        if !has(world.lab, peer) {
            continue;
        }
        let folder = Folder::new();
        let service = start(&world, &folder);
        let postfix = Postfix::start(world.lab, peer).unwrap();
        configure(&world, &postfix, &format!("{}:{map}", service.address), &["asked", "alone"]);
        let recipients: Vec<String> = ROWS.iter().map(|row| recipient(row, "asked")).collect();
        postfix.submit(&recipients);
        let fates = postfix.fates(&recipients);
        let wrong: Vec<_> = ROWS
            .iter()
            .map(|row| (row.name, &fates[&recipient(row, "asked")], row.wanted))
            .filter(|(_, fate, wanted)| !is(fate, *wanted))
            .collect();
        assert!(wrong.is_empty(), "{peer}: {wrong:#?}\n{}", postfix.log());
        // Without the service nothing is known of any destination, so that all mail waits.
        drop(service);
        let recipients: Vec<String> = ROWS.iter().map(|row| recipient(row, "alone")).collect();
        postfix.submit(&recipients);
        let sent: Vec<_> = postfix
            .fates(&recipients)
            .into_iter()
            .filter(|(_, fate)| fate.status != "deferred")
            .collect();
        assert!(sent.is_empty(), "{peer}: {sent:#?}");
    }
}
