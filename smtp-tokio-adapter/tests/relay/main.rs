//! Runs the example `relay`: killed under load, and two in a row between real DNS servers and
//! Postfix.
//!
//! `cargo test` builds the examples beside the tests; `cargo test --test relay` runs older ones.

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
#[path = "../lab/peers.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of the lab use more of it")]
mod peers;
mod row;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use common::programs::{Folder, Server, address, example, ignore};

/// A relay, killed at the end of the test.
struct Relay {
    server: Server,
    metrics: SocketAddr,
}

impl Relay {
    /// Starts a relay with the fields of its connector and further settings. It trusts the root of
    /// the folder.
    fn start(folder: &Folder, name: &str, connector: &str, settings: &str) -> Self {
        let (file, connectors) = (folder.path("relay.toml"), folder.path("connectors.toml"));
        let connector = format!("[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\n{connector}");
        std::fs::write(&connectors, connector).unwrap();
        let settings = format!(
            "name = \"{name}\"\nlisten = \"127.0.0.1:0\"\nstate = {:?}\nconnectors = {connectors:?}\n\
             {settings}[roots]\npublic = {:?}\n",
            folder.path(""),
            folder.path("root.pem"),
        );
        std::fs::write(&file, settings).unwrap();
        let (server, mut lines) = Server::with_output(example("relay").arg(file));
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
