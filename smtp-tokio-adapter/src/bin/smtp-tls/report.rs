//! `report`: what is wrong according to TLS reports.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::html::Colour;
use serde::Serialize;
use smtp_tls_policy::tlsrpt::{MAX_ENCLOSED_LEN, ReceivedReport};

use crate::input;
use crate::output::{self, Out, OutputOptions};
use crate::status::{Failure, Status};

/// Explain the TLS reports that others sent about your domains
///
/// Reads reports of RFC 8460 (TLSRPT): JSON, gzip, or the mail that carries either. Says in words
/// what failed, at which host, how often, and what to do. A report is no proof: anyone can send
/// one.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  smtp-tls report report.json.gz
  smtp-tls report reports/*.eml --json
  smtp-tls report - < mail.eml

With --json there is one line for each report.

Exit status: 0 if no session failed, 1 if some did, 5 if a file is no report.")]
pub(crate) struct Args {
    /// Reports; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

#[derive(Serialize)]
struct Answer<'a> {
    file: String,
    organization: &'a str,
    contact: &'a str,
    id: &'a str,
    begins: &'a str,
    ends: &'a str,
    successful: u64,
    failed: u64,
    complaints: Vec<String>,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> Result<Status, Failure> {
    let (mut failed, mut unread) = (false, None);
    for path in &args.files {
        match read(path) {
            Ok(report) => failed |= write(path, &report, out)?,
            Err(failure) => {
                // The last one is told by the exit; the others here.
                if let Some(earlier) = unread.replace(failure) {
                    output::error(&earlier);
                }
            }
        }
    }
    match (unread, failed) {
        (Some(failure), _) => {
            out.flush()?;
            Err(failure)
        }
        (None, true) => Ok(Status::Bad),
        (None, false) => Ok(Status::Good),
    }
}

fn read(path: &Path) -> Result<ReceivedReport, Failure> {
    let octets = match path == Path::new("-") {
        true => {
            let mut octets = Vec::new();
            let limit = MAX_ENCLOSED_LEN as u64 + 1;
            let read = io::stdin().lock().take(limit).read_to_end(&mut octets);
            read.map_err(|error| Failure::file(path, error))?;
            octets
        }
        false => input::read(path)?,
    };
    ReceivedReport::read(&octets).map_err(|error| Failure::file(path, error))
}

/// Whether sessions failed.
fn write(path: &Path, report: &ReceivedReport, out: &mut Out) -> Result<bool, Failure> {
    let sum = |of: fn(&smtp_tls_policy::tlsrpt::ReportedPolicy) -> u64| {
        report.policies.iter().map(of).fold(0, u64::saturating_add)
    };
    let (successful, failed) = (sum(|policy| policy.successful), sum(|policy| policy.failed));
    let complaints: Vec<String> = report.complaints().iter().map(ToString::to_string).collect();
    let is_bad = failed > 0 || !complaints.is_empty();
    if out.is_json() {
        out.json_line(&Answer {
            file: path.display().to_string(),
            organization: &report.organization,
            contact: &report.contact,
            id: &report.id,
            begins: &report.begins,
            ends: &report.ends,
            successful,
            failed,
            complaints,
        })?;
        return Ok(is_bad);
    }
    out.title(format!("{}, {} to {}", report.organization, report.begins, report.ends))?;
    out.row("  ", "file        ", path.display())?;
    if !report.contact.is_empty() {
        out.row("  ", "contact     ", &report.contact)?;
    }
    let colour = if is_bad { Colour::Amber } else { Colour::Green };
    out.coloured(colour, "  ", "sessions    ", format!("{successful} succeeded, {failed} failed"))?;
    for complaint in complaints {
        out.coloured(Colour::Red, "  ", "failed      ", complaint)?;
    }
    out.gap()?;
    Ok(is_bad)
}
