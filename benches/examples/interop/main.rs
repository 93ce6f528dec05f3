//! Which of the lab's real mail servers and clients get on with ours, and by what: a table, or
//! lines of JSON.
//!
//! ```text
//! cargo run --release --example interop -- LAB_STATE_DIR [OPTIONS]
//!   LAB_STATE_DIR   what the lab's install.sh has made
//!   --json          one object for each cell, in lines
//!   --server NAME   only this server (postfix, exim, opensmtpd, sendmail, aiosmtpd, haraka, smtp-server)
//!   --client NAME   only this client (swaks, smtp-source, curl, smtplib, ...)
//! ```
//!
//! A cell is `delivered`: the message was stored octet by octet as it was sent, and by what the
//! column says, as a relay between the two has seen it; `-`: the peer has no such thing, for a
//! server by its recorded EHLO; or empty, and then the reason stands below. AUTH is by EXTERNAL to
//! a server that has seen our certificate, and by PLAIN to those of the lab's servers to which a
//! user of ours can be given; these demand it. The scripts of the lab lie at `SMTP_LAB_DIR`,
//! `../shared/lab` unless set.
//!
//! Exit status: 0 if no cell is empty, 1 if one is or the lab does not work, 2 for a wrong call.
#![allow(clippy::print_stderr, reason = "errors of a command go to stderr")]

mod clients;
mod inbound;
mod lab;
mod matrix;
mod message;
mod our_server;
mod outbound;
mod peers;
mod tap;
mod transcripts;
mod wire;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use lab::Lab;
use matrix::{Row, json, table};

/// The exit status after a signal.
const INTERRUPTED: i32 = 130;

struct Options {
    state: PathBuf,
    json: bool,
    server: Option<String>,
    client: Option<String>,
}

fn options() -> Result<Options, String> {
    let (mut state, mut json, mut server, mut client) = (None, false, None, None);
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        let name = argument.to_string_lossy().into_owned();
        let mut value = || {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            Ok::<_, String>(Some(value.to_string_lossy().into_owned()))
        };
        match &*name {
            "--json" => json = true,
            "--server" => server = value()?,
            "--client" => client = value()?,
            _ if name.starts_with("--") => {
                return Err(format!(
                    "unknown option {name}; there are --json, --server NAME, --client NAME"
                ));
            }
            _ if state.is_none() => state = Some(PathBuf::from(argument)),
            _ => return Err(format!("{name}: one LAB_STATE_DIR is enough")),
        }
    }
    let state =
        state.ok_or("usage: interop LAB_STATE_DIR [--json] [--server NAME] [--client NAME]")?;
    let check = |name: &Option<String>, known: &[&str]| match name {
        Some(name) if !known.contains(&&**name) => {
            Err(format!("no peer {name}; there are {}", known.join(", ")))
        }
        _ => Ok(()),
    };
    check(&server, &peers::SERVERS.map(|peer| peer.name))?;
    check(&client, &clients::CLIENTS.map(|client| client.name))?;
    Ok(Options { state, json, server, client })
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("interop: {error}");
            return ExitCode::from(2);
        }
    };
    let rows = match run(&options) {
        Ok(rows) => rows,
        Err(error) => {
            eprintln!("interop: {error}");
            return ExitCode::FAILURE;
        }
    };
    let text = if options.json { json(&rows) } else { table(&rows) };
    if std::io::stdout().write_all(text.as_bytes()).is_err() || rows.is_empty() {
        return ExitCode::FAILURE;
    }
    if rows.iter().all(Row::is_complete) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(options: &Options) -> Result<Vec<Row>, String> {
    let beside = || PathBuf::from("../shared/lab");
    let scripts = std::env::var_os("SMTP_LAB_DIR").map_or_else(beside, PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.spawn(async {
        interrupted().await;
        lab::stop_all();
        std::process::exit(INTERRUPTED);
    });
    let lab = Lab::open(scripts, options.state.clone())?;
    let is_wanted =
        |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
    let their_servers = || -> Vec<Row> {
        if options.client.is_some() && options.server.is_none() {
            return Vec::new();
        }
        let peers = peers::SERVERS.into_iter().filter(|peer| is_wanted(&options.server, peer.name));
        peers.filter_map(|peer| outbound::row(&lab, &runtime, peer)).collect()
    };
    let their_clients = || -> Result<Vec<Row>, String> {
        if options.server.is_some() && options.client.is_none() {
            return Ok(Vec::new());
        }
        let servers = inbound::Servers::start(&lab, &runtime)?;
        let clients =
            clients::CLIENTS.iter().filter(|client| is_wanted(&options.client, client.name));
        Ok(clients.filter_map(|client| inbound::row(&lab, &runtime, &servers, client)).collect())
    };
    // Most of the time is spent waiting for them.
    std::thread::scope(|scope| {
        let servers = scope.spawn(their_servers);
        let clients = their_clients();
        let mut rows = servers.join().map_err(|_| "a thread panicked")?;
        rows.extend(clients?);
        Ok(rows)
    })
}

/// Waits for Ctrl-C, or to be told to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
