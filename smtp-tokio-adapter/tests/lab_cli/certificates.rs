//! Each server of the lab with each certificate of its PKI: the golden table
//! `golden/certificates.txt`.

use std::fmt::Write;

use serde_json::Value;

use crate::lab::{Lab, Peer, Server, Suite};
use crate::peers::{has, lab};
use crate::program::{Folder, Ran, smtp_tls};
use crate::shown::{checks, postures, verdict, version};
use crate::table::{each, golden, grouped};

/// The name in the lab's certificates.
pub(crate) const HOST: &str = "mail.test.example";

/// The servers of the lab, each in the newest version that it has.
pub(crate) const SERVERS: [Peer; 7] = [
    Peer { name: "postfix", suite: Suite::Trixie },
    Peer { name: "exim", suite: Suite::Trixie },
    Peer { name: "opensmtpd", suite: Suite::Trixie },
    Peer { name: "sendmail", suite: Suite::Trixie },
    Peer { name: "aiosmtpd", suite: Suite::System },
    Peer { name: "smtp-server", suite: Suite::System },
    Peer { name: "haraka", suite: Suite::System },
];

/// The server certificates of the lab's `pki.sh`.
pub(crate) const CERTIFICATES: [&str; 21] = [
    "valid",
    "valid-rsa",
    "multi-san",
    "wildcard",
    "cn-only",
    "cn-mismatch",
    "wrong-name",
    "wildcard-partial",
    "wildcard-tld",
    "idn",
    "ip-san",
    "expired",
    "not-yet-valid",
    "under-expired-ca",
    "revoked",
    "must-staple",
    "client-eku-only",
    "private-ca-leaf",
    "self-signed",
    "weak-rsa1024",
    "sha1-signed",
];

/// The certificates with which pins are tried: those of `valid` and `self-signed` are pinned.
const PINS: [&str; 3] = ["valid", "valid-rsa", "self-signed"];

/// The lab, if it and each of the servers can be used.
pub(crate) fn whole_lab() -> Option<&'static Lab> {
    let lab = lab()?;
    SERVERS.iter().all(|&peer| has(lab, peer)).then_some(lab)
}

/// The SHA-256 of a key, from the lab's list of TLSA records.
pub(crate) fn key_digest(lab: &Lab, record: &str) -> String {
    let list = std::fs::read_to_string(lab.pki("tlsa.txt")).unwrap();
    let line = list.lines().find_map(|line| line.strip_prefix(&format!("{record} 3 1 1 ")));
    line.unwrap_or_else(|| panic!("no record {record}")).to_owned()
}

/// Runs of `probe` and `test` with the roots and lists of the lab.
pub(crate) struct Commands<'l> {
    lab: &'l Lab,
    folder: Folder,
}

impl<'l> Commands<'l> {
    pub(crate) fn new(lab: &'l Lab) -> Self {
        Self { lab, folder: Folder::new() }
    }

    /// Writes a configuration with one connector, called `lab`, of this posture.
    pub(crate) fn config(&self, posture: &str, more: &str) -> String {
        self.folder.file(
            &format!("{posture}.toml"),
            format!(
                "[[outbound]]\nname = \"lab\"\nnamespaces = [\"*\"]\nposture = \"{posture}\"\n\
                 {more}\n"
            ),
        )
    }

    /// A file of the test's folder.
    pub(crate) fn file(&self, name: &str, contents: &[u8]) -> String {
        self.folder.file(name, contents)
    }

    pub(crate) fn run(&self, server: &Server, arguments: &[&str]) -> (Ran, Value) {
        let [root, private, lists] =
            ["root-ca.pem", "private-ca.pem", "crls.pem"].map(|file| self.lab.pki(file));
        let (address, private) = (server.address.to_string(), format!("private={private}"));
        let trust = ["--ca", &root, "--ca", &private, "--crl", &lists];
        let more = ["--json", "--timeout", "30", "--connect", &address];
        let ran = smtp_tls(&[arguments, &trust, &more].concat());
        let json: Value = ran.json();
        let host = match json["targets"].as_array() {
            Some(targets) => targets[0]["hosts"][0].clone(),
            None => json["hosts"][0].clone(),
        };
        (ran, host)
    }

    pub(crate) fn probe(&self, server: &Server) -> (Ran, Value) {
        self.run(server, &["probe", HOST])
    }

    pub(crate) fn test(&self, server: &Server, config: &str, more: &[&str]) -> (Ran, Value) {
        let command = ["test", "lab", "--config", config, "--domain", HOST];
        self.run(server, &[&command, more].concat())
    }
}

/// What the commands show of one server with one certificate; `pinned` is a configuration, for the
/// certificates that are pinned and one that is not.
fn shown(commands: &Commands<'_>, server: &Server, verified: &str, pinned: Option<&str>) -> String {
    let (probed, host) = commands.probe(server);
    let mut lines = String::new();
    let (tested, checked) = commands.test(server, verified, &[]);
    writeln!(lines, "{}", version(&host)).unwrap();
    lines.push_str(&postures(&host));
    writeln!(lines, "probe: {}", verdict(&probed, &host)).unwrap();
    writeln!(lines, "test verified: {}", verdict(&tested, &checked)).unwrap();
    for line in checks(&checked).lines() {
        writeln!(lines, "  {line}").unwrap();
    }
    if let Some(pinned) = pinned {
        let (tested, checked) = commands.test(server, pinned, &[]);
        writeln!(lines, "test pinned: {}", verdict(&tested, &checked)).unwrap();
    }
    lines
}

#[test]
fn probe_and_test_judge_each_certificate_of_each_server_as_the_golden_table_says() {
    let Some(lab) = whole_lab() else { return };
    let commands = Commands::new(lab);
    let verified = commands.config("verified", "");
    let pins = ["leaf-spki-sha256", "self-signed-spki-sha256"].map(|it| key_digest(lab, it));
    let [valid, own] = pins.map(|digest| format!("\"spki:sha256:{digest}\""));
    let pinned = commands.config("pinned", &format!("pins = [{valid}, {own}]"));
    let jobs = CERTIFICATES.iter().flat_map(|name| SERVERS.iter().map(move |peer| (*name, *peer)));
    let found = each(jobs, |(name, peer)| {
        let options = lab.certificate_options(name);
        let options = options.each_ref().map(String::as_str);
        let lines = match lab.start(peer, &options) {
            Ok(server) => {
                let pinned = PINS.contains(&name).then_some(&*pinned);
                shown(&commands, &server, &verified, pinned)
            }
            // OpenSSL refuses weak keys when they are loaded.
            Err(_) => "does not start with this certificate\n".to_owned(),
        };
        (peer.name.to_owned(), lines)
    });
    let mut text = String::new();
    for (name, found) in CERTIFICATES.iter().zip(found.chunks(SERVERS.len())) {
        writeln!(text, "{name}\n{}", grouped(found)).unwrap();
    }
    golden("certificates.txt", &text);
}
