//! `smtp-tls`: shows which TLS mail gets, and why. Each sub-command has a file of its own.

mod conversation;
mod generate;
mod help;
mod html;
mod import;
mod input;
mod lint;
mod network;
mod output;
mod plan;
mod postfix;
mod probe;
mod report;
mod review;
mod status;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::output::Out;
use crate::status::{Failure, Status};

/// Shows which TLS mail gets between servers, and why.
#[derive(Parser)]
#[command(
    name = "smtp-tls",
    version,
    after_help = help::PROGRAM,
    subcommand_required = true,
    arg_required_else_help = true,
    term_width = 80
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Lint(lint::Args),
    Plan(plan::Args),
    Probe(probe::Args),
    Test(test::Args),
    Review(review::Args),
    Report(report::Args),
    Postfix(postfix::Args),
    Import(import::Args),
    Completions(generate::Completions),
    Man(generate::Man),
}

impl Command {
    /// Whether JSON is wanted in place of text.
    fn writes_json(&self) -> bool {
        match self {
            Self::Lint(args) => args.output.json,
            Self::Plan(args) => args.output.json,
            Self::Probe(args) => args.output.json,
            Self::Test(args) => args.output.json,
            Self::Review(args) => args.output.json,
            Self::Report(args) => args.output.json,
            Self::Postfix(_) | Self::Import(_) | Self::Completions(_) | Self::Man(_) => false,
        }
    }
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let mut out = Out::new(command.writes_json());
    let result = match command {
        Command::Lint(args) => lint::run(&args, &mut out),
        Command::Plan(args) => plan::run(&args, &mut out),
        Command::Probe(args) => probe::run(&args, &mut out),
        Command::Test(args) => test::run(&args, &mut out),
        Command::Import(args) => import::run(&args, &mut out),
        Command::Postfix(args) => postfix::run(&args, &mut out),
        Command::Report(args) => report::run(&args, &mut out),
        Command::Review(args) => review::run(&args, &mut out),
        Command::Completions(args) => generate::completions(&args, &mut out),
        Command::Man(args) => generate::man(&args, &mut out),
    };
    let result = result.and_then(|status| out.flush().map(|()| status));
    match result {
        Ok(status) => status.into(),
        // The reader, such as `head`, has seen enough.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            Status::Good.into()
        }
        Err(failure) => {
            output::error(&failure);
            failure.status().into()
        }
    }
}
