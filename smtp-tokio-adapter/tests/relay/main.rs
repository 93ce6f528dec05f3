//! Runs the example `relay`: killed under load, with next hops that refuse, with revoked
//! certificates, with settings that change, and two in a row between real DNS servers and Postfix.
//!
//! `cargo test` builds the examples beside the tests; `cargo test --test relay` runs older ones.

#[path = "../common/certificates.rs"]
#[allow(dead_code, reason = "the tests of certificates use more of it")]
mod certificates;
#[path = "../common/mod.rs"]
mod common;
#[path = "../dns/servers.rs"]
#[allow(dead_code, reason = "the DNS tests ask more servers")]
mod dns;
#[path = "../dns/hosts.rs"]
mod hosts;
mod kill;
#[path = "../../../benches/examples/interop/lab.rs"]
#[allow(dead_code, reason = "the tests of the lab use more of it")]
mod lab;
mod lists;
#[path = "../lab/peers.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of the lab use more of it")]
mod peers;
mod queue;
mod reload;
mod row;
#[path = "../crl_fetch/web.rs"]
#[allow(dead_code, reason = "the tests of the fetcher use more of it")]
mod web;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use common::programs::{Folder, Server, address, example, ignore};

/// A relay, killed at the end of the test.
struct Relay {
    server: Server,
    metrics: SocketAddr,
}

impl Relay {
    /// Starts a relay with the fields of its only connector, and further settings.
    fn start(folder: &Folder, name: &str, connector: &str, settings: &str) -> Self {
        let all = format!("[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\n{connector}");
        Self::with_connectors(folder, name, &all, settings)
    }

    /// Starts a relay with these connectors and further settings.
    fn with_connectors(folder: &Folder, name: &str, connectors: &str, settings: &str) -> Self {
        Self::run(&mut Self::command(folder, name, connectors, settings))
    }

    /// The command of a relay with these connectors and further settings. It trusts the root of the
    /// folder, also in the set `ours`.
    fn command(folder: &Folder, name: &str, connectors: &str, settings: &str) -> Command {
        let file = folder.path("relay.toml");
        std::fs::write(folder.path("connectors.toml"), connectors).unwrap();
        let settings = format!(
            "name = \"{name}\"\nstate = \".\"\nconnectors = \"connectors.toml\"\n{settings}\
             [roots]\npublic = \"root.pem\"\nours = \"root.pem\"\n",
        );
        std::fs::write(&file, settings).unwrap();
        let mut command = example("relay");
        command.arg(file).args(["127.0.0.1:0"; 2]);
        command
    }

    fn run(command: &mut Command) -> Self {
        let (server, mut lines) = Server::with_output(command);
        let metrics = address(&mut lines, "metrics on ");
        ignore(lines);
        Self { server, metrics }
    }

    fn address(&self) -> SocketAddr {
        self.server.address
    }

    fn kill(&mut self) {
        self.server.child.kill().unwrap();
    }

    /// The lines of the page for Prometheus.
    fn page(&self) -> Vec<String> {
        let mut stream = TcpStream::connect(self.metrics).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: relay.example\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, page) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", page.len())), "{head}");
        page.lines().map(str::to_owned).collect()
    }
}
