//! The servers of `servers.py`, one set of them for all tests of a process.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};

use rustls::sign::CertifiedKey;
use serde_json::Value;
use sha2::{Digest, Sha256};
use smtp_tls_policy::pki::TlsaRecord;
use smtp_tokio_adapter::lookups::dns::{Anchors, Resolver, Servers};

use crate::common::Pki;
use crate::hosts::HOSTS;

/// What the script needs, by package.
const PROGRAMS: [(&str, &str); 5] = [
    ("python3", "python3"),
    ("nsd", "nsd"),
    ("unbound", "unbound"),
    ("dnssec-signzone", "bind9-utils"),
    ("dnssec-keygen", "bind9-utils"),
];

/// Real DNS servers, and what the zones say of our own mail server.
pub(crate) struct Dns {
    /// A resolver that validates.
    pub(crate) validating: SocketAddr,
    /// A resolver that does not.
    pub(crate) plain: SocketAddr,
    /// The authoritative server.
    pub(crate) authoritative: SocketAddr,
    /// A port that takes questions and never answers.
    pub(crate) silent: SocketAddr,
    /// The keys of the root.
    pub(crate) anchor: String,
    /// The keys of each signed zone, and the DS records.
    anchors: Value,
    digests: Value,
    /// Where the mail server of all hosts listens, once it does.
    pub(crate) mail: TcpListener,
    pub(crate) pki: Pki,
    /// The mail server's, which the TLSA records of the zones are of.
    pub(crate) identity: Arc<CertifiedKey>,
    /// The servers run until its standard input is closed, which the end of the process does.
    _script: Child,
}

impl Dns {
    /// Validates what the resolver that does not validate hands out.
    pub(crate) fn validates(&self) -> Resolver {
        Resolver::validating(servers(self.plain), Anchors::parse(&self.anchor).unwrap())
    }

    /// The DNSKEY records of a signed zone, in the format of a zone file.
    pub(crate) fn keys(&self, zone: &str) -> &str {
        self.anchors[zone].as_str().unwrap()
    }

    /// The DS record of the key of a signed zone that signs its keys.
    pub(crate) fn digest(&self, zone: &str) -> &str {
        self.digests[zone].as_str().unwrap()
    }

    /// Believes the AD bit of the resolver that validates.
    pub(crate) fn believes(&self) -> Resolver {
        Resolver::believing_local(servers(self.validating)).unwrap()
    }
}

pub(crate) fn servers(address: SocketAddr) -> Servers {
    Servers::new([address]).unwrap()
}

/// The servers; `None` where a program is not installed, which is said, and fails in CI.
pub(crate) fn dns() -> Option<&'static Dns> {
    static DNS: OnceLock<Option<Dns>> = OnceLock::new();
    DNS.get_or_init(|| can_start().then(start)).as_ref()
}

/// Whether the programs are installed. If not, it is said, and fails in CI.
pub(crate) fn can_start() -> bool {
    let absent = PROGRAMS.iter().find(|(program, _)| !is_installed(program));
    let Some((program, package)) = absent else { return true };
    let why = format!("{program} is not installed (package {package})");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "in CI the DNS tests must run: {why}");
    // Past libtest, which hides what a test prints as long as it passes.
    let _: std::io::Result<()> = writeln!(std::io::stderr(), "skipped: {why}");
    false
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(Into::into);
    std::env::split_paths(&path).chain(system).any(|folder| folder.join(program).is_file())
}

fn start() -> Dns {
    let pki = Pki::new();
    let names: Vec<_> = HOSTS.iter().map(|&host| host.to_owned()).collect();
    let identity = pki.sign(&rcgen::CertificateParams::new(names).unwrap());
    let mail = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).unwrap();
    mail.set_nonblocking(true).unwrap();
    let key = identity.key.public_key().unwrap();
    let tlsa =
        TlsaRecord { usage: 3, selector: 1, matching: 1, data: Sha256::digest(&key).to_vec() };
    let (ready, script) = run_script(mail.local_addr().unwrap().port(), &tlsa, "");
    let address = |name: &str| ready[name].as_str().unwrap().parse().unwrap();
    Dns {
        validating: address("validating"),
        plain: address("plain"),
        authoritative: address("authoritative"),
        silent: address("silent"),
        anchor: ready["anchor"].as_str().unwrap().to_owned(),
        anchors: ready["anchors"].clone(),
        digests: ready["digests"].clone(),
        mail,
        pki,
        identity,
        _script: script,
    }
}

/// Starts the script, for a mail server at this port whose TLSA record is this one, with further
/// records of the zone `example.`. The servers run until the child is dropped, which closes its
/// standard input.
pub(crate) fn run_script(port: u16, tlsa: &impl Display, records: &str) -> (Value, Child) {
    let state = std::env::temp_dir().join(format!("smtp-dns-{}-{port}", std::process::id()));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dns/servers.py");
    let mut child = Command::new("python3")
        .arg(script)
        .arg(&state)
        .args([&port.to_string(), &tlsa.to_string(), records])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).expect("the servers are ready");
    (ready, child)
}
