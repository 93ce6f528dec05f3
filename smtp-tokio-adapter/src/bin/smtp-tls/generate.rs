//! `completions` and `man`: files for the installation.

use std::io;
use std::path::PathBuf;

use clap::{Command, CommandFactory};

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

/// Write the manual pages: all of them to a folder, or one to standard output
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  smtp-tls man --folder /usr/local/share/man/man1
  smtp-tls man lint > smtp-tls-lint.1
  smtp-tls man | man -l -

The folder gets smtp-tls.1 and a page for each command, such as smtp-tls-lint.1.
It is made if it is not there. The pages have no date, so that each build writes
the same.

Exit status: 0 if the pages are written, 5 if one cannot be written.")]
pub(crate) struct Man {
    /// The command whose page is written; without it, the page of the program
    command: Option<String>,
    /// Write every page to a file of its own in this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    folder: Option<PathBuf>,
}

pub(crate) fn completions(args: &Completions, out: &mut Out) -> Result<Status, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "smtp-tls", &mut script);
    out.raw(&script)?;
    Ok(Status::Good)
}

pub(crate) fn man(args: &Man, out: &mut Out) -> Result<Status, Failure> {
    // `smtp-tls help` shows what the pages say.
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    if let Some(folder) = &args.folder {
        std::fs::create_dir_all(folder).map_err(|error| Failure::file(folder, error))?;
        for command in std::iter::once(&program).chain(program.get_subcommands()) {
            let path = folder.join(format!("{}.1", name(command)));
            let written = page(command).and_then(|page| std::fs::write(&path, page));
            written.map_err(|error| Failure::file(&path, error))?;
        }
        return Ok(Status::Good);
    }
    let command = match &args.command {
        None => &program,
        Some(name) => match program.find_subcommand(name) {
            Some(command) => command,
            None => {
                let names: Vec<_> = program.get_subcommands().map(Command::get_name).collect();
                let known = names.join(", ");
                return Err(Failure::Usage(format!("no command is called {name}; use {known}")));
            }
        },
    };
    out.raw(&page(command)?)?;
    Ok(Status::Good)
}

/// The name of a page, such as `smtp-tls-lint`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

/// The beginnings of paragraphs of the help that are sections of the page.
const SECTIONS: [(&str, &str); 3] = [
    ("Which command answers which question:", "COMMANDS BY QUESTION"),
    ("Examples:", "EXAMPLES"),
    ("Exit status:", "EXIT STATUS"),
];

/// A manual page in the language of man(7).
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let man = clap_mangen::Man::new(command.clone());
    let (title, version) = (name(command), env!("CARGO_PKG_VERSION"));
    // The date is empty.
    let mut page = format!(".TH {title} 1 \"\" \"smtp-tls {version}\" \"smtp-tls\"\n").into_bytes();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    page.extend_from_slice(after_options(&after).as_bytes());
    if !command.has_subcommands() {
        page.extend_from_slice(b".SH \"SEE ALSO\"\nsmtp\\-tls(1)\n");
    }
    Ok(page)
}

/// The end of the help. Lines that are indented there keep their form, for examples would be wrong
/// in another.
fn after_options(help: &str) -> String {
    let mut page = String::new();
    let (mut is_kept, mut follows_empty) = (false, true);
    for line in help.lines() {
        if line.is_empty() {
            follows_empty = true;
            continue;
        }
        let keeps = line.starts_with(' ');
        let is_start = follows_empty || (is_kept && !keeps);
        match (is_kept, keeps) {
            (false, true) => page.push_str(".RS 2\n.nf\n"),
            (true, false) => page.push_str(".fi\n.RE\n"),
            (true, true) if follows_empty => page.push('\n'),
            (true, true) | (false, false) => {}
        }
        (is_kept, follows_empty) = (keeps, false);
        let section = SECTIONS.iter().filter(|_| is_start).find_map(|(start, section)| {
            line.strip_prefix(start).map(|rest| (rest.trim(), *section))
        });
        let text = match section {
            Some((rest, section)) => {
                page.push_str(&format!(".SH \"{section}\"\n"));
                rest
            }
            None if is_start && !keeps => {
                page.push_str(".PP\n");
                line
            }
            None => line.strip_prefix("  ").unwrap_or(line),
        };
        if !text.is_empty() {
            page.push_str(&escaped(text));
            page.push('\n');
        }
    }
    page.push_str(if is_kept { ".fi\n.RE\n" } else { "" });
    page
}

/// A line of text for man(7): a hyphen that can be copied, and no request.
fn escaped(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    match text.starts_with('.') {
        true => format!("\\&{text}"),
        false => text,
    }
}
