//! Load on sockets: ours beside the peers in one run, against a sink that discards mail.
//!
//! ```text
//! cargo run --release -p benches --example load -- LAB_STATE_DIR [--runs N] [--scale FACTOR]
//!   LAB_STATE_DIR   what the mail lab's install.sh has made: smtp-sink and smtp-source of Postfix are in it
//!   --runs N        rounds, in which every sender has its turn (default 5); the table has their medians
//!   --scale FACTOR  on all numbers of messages (default 1)
//! ```
//!
//! Two tables: messages a second with the processor time of the sender for each (user and system),
//! and memory of an idle connection of our server and of our client, as the growth of the process's
//! proportional set size.
#![allow(unreachable_pub, reason = "the modules of one program")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the output of a command")]

mod idle;
mod process;
mod senders;

use std::process::ExitCode;

use senders::{Sender, Work};

/// Octets of a message, and messages of a run over 1, 10 and 100 connections.
const WORK: [(usize, [(usize, usize); 3]); 2] = [
    (1024, [(1, 4000), (10, 40_000), (100, 40_000)]),
    (100 * 1024, [(1, 1000), (10, 3000), (100, 3000)]),
];

struct Options {
    state: String,
    runs: usize,
    scale: f64,
}

fn options() -> Result<Options, String> {
    let (mut state, mut runs, mut scale) = (None, 5, 1.0);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match &*argument {
            "--runs" => runs = value()?.parse().map_err(|error| format!("--runs: {error}"))?,
            "--scale" => scale = value()?.parse().map_err(|error| format!("--scale: {error}"))?,
            _ if argument.starts_with("--") || state.is_some() => {
                return Err(format!("unexpected {argument}"));
            }
            _ => state = Some(argument),
        }
    }
    let state = state.ok_or("usage: load LAB_STATE_DIR [--runs N] [--scale FACTOR]")?;
    Ok(Options { state, runs: runs.max(1), scale })
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(idle::SERVE) {
        return idle::serve_until_end_of_input();
    }
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("load: {error}");
            return ExitCode::from(2);
        }
    };
    match throughput(&options).and_then(|()| idle::report()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn throughput(options: &Options) -> Result<(), String> {
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
                    results.push(sender.run(&options.state, work)?);
                }
            }
            for (sender, mut results) in Sender::ALL.into_iter().zip(results) {
                results.sort_by(|one, other| one.rate.total_cmp(&other.rate));
                let (lowest, highest) = (results[0].rate, results[results.len() - 1].rate);
                let rate = results[results.len() / 2].rate;
                results.sort_by(|one, other| one.micros.total_cmp(&other.micros));
                let micros = results[results.len() / 2].micros;
                println!(
                    "  {:24} {rate:8.0} [{lowest:.0}-{highest:.0}] {micros:7.1} us",
                    sender.name()
                );
            }
        }
    }
    Ok(())
}
