//! `completions` and `man`: files for the installation.

use clap::CommandFactory;

use crate::Cli;
use crate::output::Out;
use crate::status::{Failure, Status};

/// Write the completions for a shell
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  smtp-tls completions bash > /etc/bash_completion.d/smtp-tls
  smtp-tls completions zsh > /usr/share/zsh/site-functions/_smtp-tls")]
pub(crate) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

/// Write the manual page of the program, or of one command
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  smtp-tls man > /usr/share/man/man1/smtp-tls.1
  smtp-tls man lint > /usr/share/man/man1/smtp-tls-lint.1
  smtp-tls man | man -l -")]
pub(crate) struct Man {
    /// The command; without it, the program
    command: Option<String>,
}

pub(crate) fn completions(args: &Completions, out: &mut Out) -> Result<Status, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "smtp-tls", &mut script);
    out.raw(&script)?;
    Ok(Status::Good)
}

pub(crate) fn man(args: &Man, out: &mut Out) -> Result<Status, Failure> {
    let mut program = Cli::command();
    program.build();
    let command = match &args.command {
        None => program,
        Some(name) => match program.find_subcommand(name) {
            Some(command) => command.clone(),
            None => {
                let names: Vec<_> =
                    program.get_subcommands().map(clap::Command::get_name).collect();
                let known = names.join(", ");
                return Err(Failure::Usage(format!("no command is called {name}; use {known}")));
            }
        },
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    out.raw(&page)?;
    Ok(Status::Good)
}
