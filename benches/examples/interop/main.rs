//! Which of the lab's real mail servers and clients get on with ours, and by what, and what all of
//! them make of the peculiarities of others: two tables, or lines of JSON.
//!
//! ```text
//! cargo run --release --example interop -- LAB_STATE_DIR [OPTIONS]
//!   LAB_STATE_DIR   what the lab's install.sh has made
//!   --json          one object for each cell, in lines
//!   --only TABLE    only this table: `matrix` or `habits`
//!   --server NAME   only this server (postfix, exim, opensmtpd, sendmail, aiosmtpd, haraka, smtp-server)
//!   --client NAME   only this client (swaks, smtp-source, curl, smtplib, ...)
//! ```
//!
//! A cell is `delivered`: the message was stored octet by octet as it was sent, and by what the
//! column says, as a relay between the two has seen it; `-`: the peer has no such thing, for a
//! server by its recorded EHLO; or empty, and the reason is given below. AUTH is by EXTERNAL to
//! a server that has seen our certificate, and by PLAIN to those of the lab's servers to which a
//! user of ours can be given; these demand it. The scripts of the lab lie at `SMTP_LAB_DIR`,
//! `../shared/lab` unless set.
//!
//! The second table puts odd clients before each server, and odd servers before each client, ours
//! among them. A cell is a reply code or a verdict as it was seen; `-`: the peer has no such mode.
//! Each cell of ours must be what this library has decided.
//!
//! Exit status: 0 if no cell is empty and ours are as decided, 1 if one is not or the lab does not
//! work, 2 for a wrong call.
#![allow(clippy::print_stderr, reason = "errors of a command go to stderr")]

mod clients;
mod habits;
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

use habits::odd_server::Odd;
use habits::probes::PROBES;
use habits::table::{Habit, Side};
use lab::Lab;
use matrix::{Row, json, table};

/// The exit status after a signal.
const INTERRUPTED: i32 = 130;

struct Options {
    state: PathBuf,
    json: bool,
    only: Option<String>,
    server: Option<String>,
    client: Option<String>,
}

impl Options {
    fn wants_table(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == name)
    }

    /// Whether this server is wanted: not if clients alone are.
    fn wants_server(&self, name: &str) -> bool {
        match (&self.server, &self.client) {
            (Some(server), _) => server == name,
            (None, client) => client.is_none(),
        }
    }

    fn wants_client(&self, name: &str) -> bool {
        match (&self.client, &self.server) {
            (Some(client), _) => client == name,
            (None, server) => server.is_none(),
        }
    }
}

/// Both tables, as far as they are wanted.
#[derive(Default)]
struct Tables {
    matrix: Vec<Row>,
    habits: Vec<habits::table::Row>,
}

fn options() -> Result<Options, String> {
    let (mut state, mut json, mut only) = (None, false, None);
    let (mut server, mut client) = (None, None);
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        let name = argument.to_string_lossy().into_owned();
        let mut value = || {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            Ok::<_, String>(Some(value.to_string_lossy().into_owned()))
        };
        match &*name {
            "--json" => json = true,
            "--only" => only = value()?,
            "--server" => server = value()?,
            "--client" => client = value()?,
            _ if name.starts_with("--") => {
                return Err(format!(
                    "unknown option {name}; there are --json, --only TABLE, --server NAME, --client NAME"
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
    if let Some(table) = only.as_ref().filter(|it| !matches!(it.as_str(), "matrix" | "habits")) {
        return Err(format!("no table {table}; there are matrix, habits"));
    }
    check(&server, &peers::SERVERS.map(|peer| peer.name))?;
    check(&client, &clients::CLIENTS.map(|client| client.name))?;
    Ok(Options { state, json, only, server, client })
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("interop: {error}");
            return ExitCode::from(2);
        }
    };
    let tables = match run(&options) {
        Ok(tables) => tables,
        Err(error) => {
            eprintln!("interop: {error}");
            return ExitCode::FAILURE;
        }
    };
    let Tables { matrix, habits: rows } = &tables;
    let mut text = String::new();
    if !matrix.is_empty() {
        text += &if options.json { json(matrix) } else { table(matrix) + "\n" };
    }
    let mut good = matrix.iter().all(Row::is_complete);
    for (side, habits) in
        [(Side::Client, PROBES.map(|it| it.habit).to_vec()), (Side::Server, odd_servers())]
    {
        let of_side: Vec<_> = rows.iter().filter(|row| row.side == side).cloned().collect();
        if of_side.is_empty() {
            continue;
        }
        good &= of_side.iter().all(|row| row.wrong(&habits).is_empty());
        text += &if options.json {
            habits::table::json(&habits, &of_side)
        } else {
            habits::table::table(side, &habits, &of_side)
        };
    }
    let is_written = std::io::stdout().write_all(text.as_bytes()).is_ok() && !text.is_empty();
    if is_written && good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn odd_servers() -> Vec<Habit> {
    Odd::ALL.map(Odd::habit).to_vec()
}

fn run(options: &Options) -> Result<Tables, String> {
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
    let peers = || peers::SERVERS.into_iter().filter(|peer| options.wants_server(peer.name));
    let clients = || clients::CLIENTS.iter().filter(|it| options.wants_client(it.name));
    let mut tables = Tables::default();
    if options.wants_table("matrix") {
        let their_servers = || -> Result<Vec<Row>, String> {
            Ok(peers().filter_map(|peer| outbound::row(&lab, &runtime, peer)).collect())
        };
        let their_clients = || -> Result<Vec<Row>, String> {
            if clients().next().is_none() {
                return Ok(Vec::new());
            }
            let servers = inbound::Servers::start(&lab, &runtime)?;
            let rows = clients().filter_map(|it| inbound::row(&lab, &runtime, &servers, it));
            Ok(rows.collect())
        };
        tables.matrix = both(their_servers, their_clients)?;
    }
    if options.wants_table("habits") {
        let odd_clients = || -> Result<Vec<_>, String> {
            let theirs = peers().filter_map(|peer| habits::receivers::row(&lab, peer).transpose());
            let mut rows = theirs.collect::<Result<Vec<_>, String>>()?;
            rows.extend(habits::receivers::ours(&lab, &runtime)?);
            Ok(rows)
        };
        let odd_servers = || -> Result<Vec<_>, String> {
            let theirs =
                clients().filter_map(|it| habits::senders::row(&lab, &runtime, it).transpose());
            let ours = habits::senders::ours(&lab, &runtime);
            theirs.chain([ours]).collect()
        };
        tables.habits = both(odd_clients, odd_servers)?;
    }
    Ok(tables)
}

/// Runs both at a time: most of the time is spent waiting for the peers.
fn both<R: Send>(
    servers: impl FnOnce() -> Result<Vec<R>, String> + Send,
    clients: impl FnOnce() -> Result<Vec<R>, String>,
) -> Result<Vec<R>, String> {
    std::thread::scope(|scope| {
        let servers = scope.spawn(servers);
        let clients = clients();
        let mut rows = servers.join().map_err(|_| "a thread panicked")??;
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
