//! One message over the whole path, both ways: On-Premise -> EHS -> Online, and back.
//!
//! Three organisations on loopback, real sockets, real TLS, certificates made on the spot. Each hop
//! decides by the rules of `smtp-tls-policy`, and every scenario is checked against the end that it
//! must have.
//!
//! ```text
//! cargo run --release --example mail_path [-- OPTIONS]
//! ```
//!
//! `--help` lists the options.
#![allow(clippy::print_stderr, reason = "errors of a command go to stderr")]
#![allow(unreachable_pub, reason = "the modules of one program")]

mod describe;
mod fault;
#[path = "../../src/bin/smtp-tls/html.rs"]
#[allow(dead_code, reason = "smtp-tls draws more")]
mod html;
mod message;
mod page;
mod pki;
mod report;
mod run;
mod scenario;
mod server;
mod wire;

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use run::{Scratch, World};

const MESSAGE: &[u8] = include_bytes!("message.eml");

const HELP: &str = "\
Sends one message over the whole path, both ways, in many scenarios:
On-Premise -> EHS -> Online, and back. Servers and clients run in this
process, on loopback, with certificates made for the run.

Usage: cargo run --release --example mail_path [-- OPTIONS]

  --list            print the names of the scenarios
  --scenario NAME   run one scenario
  --message FILE    send this message (RFC 5322) instead of the built-in one
  --quiet           print one line a scenario
  --json            print four lines a scenario, one JSON object for each hop
  --capture DIR     write SCENARIO/HOP/wire.bin and received.eml
  --html FILE       write a page with the paths as boxes and arrows
  --help            print this text

For each scenario it prints what is broken, and for each hop how the message
went over it, how the delivery ended, and why.

Exit status: 0 if every scenario ended as it must, 1 if one did not, 2 if the
command line is wrong.
";

/// Why the run ended early.
#[derive(Debug)]
enum Failed {
    /// The caller's mistake.
    Usage(Usage),
    /// Anything else.
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// One line for the caller.
#[derive(Debug)]
struct Usage(String);

impl From<Usage> for Failed {
    fn from(usage: Usage) -> Self {
        Self::Usage(usage)
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Other(Box::new(error))
    }
}

impl Failed {
    fn from_text(text: impl std::fmt::Display) -> Self {
        Self::Other(text.to_string().into())
    }
}

#[derive(Default)]
struct Options {
    help: bool,
    list: bool,
    quiet: bool,
    json: bool,
    scenario: Option<String>,
    message: Option<PathBuf>,
    capture: Option<PathBuf>,
    html: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(Failed::Usage(Usage(text))) => {
            eprintln!("mail_path: {text}");
            ExitCode::from(2)
        }
        Err(Failed::Other(error)) => {
            eprintln!("mail_path: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, Usage> {
    let mut options = Options::default();
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        let name = argument.to_string_lossy().into_owned();
        let mut value = || arguments.next().ok_or_else(|| Usage(format!("{name} needs a value")));
        match &*name {
            "--help" | "-h" => options.help = true,
            "--list" => options.list = true,
            "--quiet" => options.quiet = true,
            "--json" => options.json = true,
            "--scenario" => options.scenario = Some(value()?.to_string_lossy().into_owned()),
            "--message" => options.message = Some(value()?.into()),
            "--capture" => options.capture = Some(value()?.into()),
            "--html" => options.html = Some(value()?.into()),
            _ => {
                return Err(Usage(format!("unknown option {name}; --help lists the options")));
            }
        }
    }
    Ok(options)
}

#[tokio::main]
async fn run() -> Result<ExitCode, Failed> {
    let options = options()?;
    let mut scenarios = scenario::all();
    let mut out = std::io::stdout().lock();
    if options.help {
        out.write_all(HELP.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    if options.list {
        for scenario in &scenarios {
            writeln!(out, "{}", scenario.name)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = &options.scenario {
        scenarios.retain(|scenario| scenario.name == *name);
        if scenarios.is_empty() {
            return Err(Usage(format!("unknown scenario {name}; --list names them")).into());
        }
    }
    let scratch = Scratch::new()?;
    let mut source: Box<dyn Read> = match &options.message {
        None => Box::new(MESSAGE),
        Some(path) => {
            let unreadable = |error| Usage(format!("cannot read {}: {error}", path.display()));
            Box::new(File::open(path).map_err(unreadable)?)
        }
    };
    let (mail, converted) = message::prepare(&mut source, &scratch.path().join("message.eml"))?;
    if converted {
        eprintln!(
            "mail_path: the message has lines that end in LF alone; they were made CRLF before sending"
        );
    }
    let world = World::new(scratch.path().to_owned(), options.capture)?;
    let mut failed = 0;
    let mut drawing = page::Drawing::default();
    for scenario in &scenarios {
        let observed = world.run(scenario, &mail).await?;
        let problems = report::problems(scenario, &observed);
        failed += usize::from(!problems.is_empty());
        if options.html.is_some() {
            drawing.add(scenario, &observed, &problems);
        }
        if options.json {
            report::json(&mut out, scenario, &observed)?;
            for problem in &problems {
                eprintln!("mail_path: {}: {problem}", scenario.name);
            }
        } else if options.quiet {
            report::line(&mut out, scenario, &problems)?;
        } else {
            report::table(&mut out, scenario, &observed, &problems)?;
        }
    }
    if let Some(path) = &options.html {
        let unwritable = |error| Usage(format!("cannot write {}: {error}", path.display()));
        std::fs::write(path, drawing.page(failed)).map_err(unwritable)?;
    }
    if !options.json {
        writeln!(
            out,
            "{}{} of {} scenarios ended as they must",
            if options.quiet { "" } else { "\n" },
            scenarios.len() - failed,
            scenarios.len()
        )?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
