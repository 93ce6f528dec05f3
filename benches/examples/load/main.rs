//! Load on sockets: ours beside the peers in one run.
//!
//! ```text
//! cargo run --release -p benches --example load -- LAB_STATE_DIR [--runs N] [--scale FACTOR] [--only PART,...]
//!     [--ways WAY,...] [--servers SERVER,...] [--channel CHANNEL] [--at-once N,...]
//!   LAB_STATE_DIR   what the mail lab's install.sh has made: Postfix with smtp-sink and smtp-source is in it
//!   --runs N        rounds, in which every sender has its turn (default 5); the tables have their medians
//!   --scale FACTOR  on all numbers of messages (default 1), except those of the domains
//!   --only PART,... of connections, deliveries, domains and idle; all of them unless given
//!   --ways WAY,...  of connection, connections, pool, no-reuse, lettre and smtp-source; all unless given
//!   --servers SERVER,...  of sink, ours and postfix, for the deliveries; all of them unless given
//!   --channel CHANNEL  clear or tls, for the deliveries and the domains; both of them unless given
//!   --at-once N,...  of 1, 10 and 100, for the deliveries; all of them unless given
//! ```
//!
//! The scripts of the lab are in the folder `SMTP_LAB_DIR`, or beside the repository. The parts:
//!
//! - `connections`: messages a second over bare connections to a sink that discards mail, with the
//!   processor time of the sender for each (user and system).
//! - `deliveries`: the same for whole deliveries by `Sender`, with kept connections and without, to
//!   a sink, to our own server and to Postfix, in clear text and by TLS 1.3. Beside its transaction
//!   a delivery finds the rules for its recipients, its turn in the pool and its way along the
//!   route, and writes down the outcomes: some 9,000 instructions and 6 allocations. Where the
//!   server discards mail, on two processors that it shares with the client, a message over a bare
//!   connection costs both of them together so little that this shows: the rate by `Sender` is 80 to
//!   100 percent of it.
//! - `domains`: 1,000 domains over 100 hosts, with the memory and how evenly they have their turns.
//! - `idle`: memory of an idle connection of our server and of our client, as the growth of the
//!   process's proportional set size.
#![allow(unreachable_pub, reason = "the modules of one program")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the output of a command")]

mod certificate;
mod deliveries;
mod domains;
mod idle;
#[path = "../interop/lab.rs"]
#[allow(dead_code, reason = "the example interop uses more of it")]
mod lab;
mod process;
mod senders;
mod server;

use std::path::PathBuf;
use std::process::ExitCode;

use certificate::Certificate;
use senders::{Measured, Sender, Work};

/// Octets of a message, and messages of a run over 1, 10 and 100 connections.
const WORK: [(usize, [(usize, usize); 3]); 2] = [
    (1024, [(1, 4000), (10, 40_000), (100, 40_000)]),
    (100 * 1024, [(1, 1000), (10, 3000), (100, 3000)]),
];

const CONNECTIONS: &str = "connections";
const DELIVERIES: &str = "deliveries";
const DOMAINS: &str = "domains";
const IDLE: &str = "idle";
const PARTS: [&str; 4] = [CONNECTIONS, DELIVERIES, DOMAINS, IDLE];

pub(crate) struct Options {
    state: String,
    /// The scripts of the lab.
    scripts: PathBuf,
    parts: Vec<String>,
    ways: Option<Vec<String>>,
    servers: Option<Vec<String>>,
    channel: Option<String>,
    at_once: Option<Vec<String>>,
    runs: usize,
    scale: f64,
}

fn options() -> Result<Options, String> {
    let (mut state, mut runs, mut scale) = (None, 5, 1.0);
    let (mut ways, mut servers, mut channel, mut at_once) = (None, None, None, None);
    let mut parts = PARTS.map(str::to_owned).to_vec();
    let list = |names: &str| names.split(',').map(str::to_owned).collect();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match &*argument {
            "--runs" => runs = value()?.parse().map_err(|error| format!("--runs: {error}"))?,
            "--scale" => scale = value()?.parse().map_err(|error| format!("--scale: {error}"))?,
            "--only" => parts = list(&value()?),
            "--ways" => ways = Some(list(&value()?)),
            "--channel" => channel = Some(value()?),
            "--servers" => servers = Some(list(&value()?)),
            "--at-once" => at_once = Some(list(&value()?)),
            _ if argument.starts_with("--") || state.is_some() => {
                return Err(format!("unexpected {argument}"));
            }
            _ => state = Some(argument),
        }
    }
    let usage = "usage: load LAB_STATE_DIR [--runs N] [--scale FACTOR] [--only PART,...] \
                 [--ways WAY,...] [--servers SERVER,...] [--channel CHANNEL] [--at-once N,...]";
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
        return Err(format!("unknown part {unknown}; the parts are {}", PARTS.join(", ")));
    }
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/lab"));
    let scripts = std::env::var_os("SMTP_LAB_DIR").map_or_else(beside, PathBuf::from);
    Ok(Options {
        state: state.ok_or(usage)?,
        scripts,
        parts,
        ways,
        servers,
        channel,
        at_once,
        runs: runs.max(1),
        scale,
    })
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, files @ ..] = &arguments[..]
        && first == server::SERVE
    {
        return server::serve_until_end_of_input(files);
    }
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("load: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let certificate = Certificate::new()?;
    for part in PARTS.into_iter().filter(|&part| options.parts.iter().any(|it| it == part)) {
        match part {
            CONNECTIONS => throughput(options, &certificate)?,
            DELIVERIES => deliveries::report(options, &certificate)?,
            DOMAINS => domains::report(options, &certificate)?,
            _ => idle::report(&certificate)?,
        }
    }
    Ok(())
}

fn throughput(options: &Options, certificate: &Certificate) -> Result<(), String> {
    let sink = senders::Sink::start(&options.state)?;
    println!(
        "messages a second, median [lowest-highest], and microseconds of processor time of the sender for each"
    );
    for (size, rows) in WORK {
        for (connections, messages) in rows {
            let messages = ((messages as f64 * options.scale) as usize).max(connections);
            let work = Work { port: sink.port, size, connections, messages };
            println!("\n{size} octets, {connections} connections, {messages} messages");
            let mut results = Sender::ALL.map(|_| Vec::new());
            for _ in 0..options.runs {
                for (sender, results) in Sender::ALL.into_iter().zip(&mut results) {
                    results.push(sender.run(&options.state, certificate, work)?);
                }
            }
            for (sender, results) in Sender::ALL.into_iter().zip(results) {
                Measured::print(sender.name(), &results);
            }
        }
    }
    Ok(())
}
