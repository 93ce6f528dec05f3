//! The command line tool `smtp-tls` against the real servers of the mail lab and real DNS servers.
//!
//! The lab is the one of the tests `lab`: a folder of scripts beside the repository, or at
//! `SMTP_LAB_DIR`. Where it is absent, or a server cannot be installed, each test says so and
//! passes; with `CI=true` a lab that is there must work. `UPDATE_GOLDEN=1` writes the golden
//! tables, which a person then reads against `smtp-tls-policy/RULES.md`.

mod certificates;
#[path = "../common/mod.rs"]
mod common;
#[path = "../dns/servers.rs"]
#[allow(dead_code, reason = "the DNS tests ask more resolvers")]
mod dns;
#[path = "../dns/hosts.rs"]
mod hosts;
mod import;
#[path = "../../../benches/examples/interop/lab.rs"]
#[allow(dead_code, reason = "the example sends mail, and the tests of the lab read it")]
mod lab;
#[path = "../lab/peers.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of the lab read mail")]
mod peers;
mod postfix;
#[path = "../cli/program.rs"]
#[allow(dead_code, reason = "the tests without a lab write to standard input")]
mod program;
#[path = "../cli/servers.rs"]
#[allow(dead_code, reason = "the tests without a lab have more servers")]
mod servers;
mod setups;
mod shown;
mod socketmap;
mod table;
mod world;
mod zones;
