//! `report`: what is wrong according to TLS reports.

use std::borrow::Cow;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::html::Colour;
use flate2::read::MultiGzDecoder;
use serde::Serialize;
use serde_json::Value;
use smtp_tls_policy::tlsrpt::{MAX_ENCLOSED_LEN, ReceivedReport, ReportError};

use crate::input;
use crate::output::{self, Out, OutputOptions};
use crate::review::is_dated;
use crate::status::{Failure, Status};

/// Explain the TLS reports that others sent about your domains
///
/// Reads reports of RFC 8460 (TLSRPT): JSON, gzip, or the mail that carries either; a file may hold
/// several as an mbox, a list in JSON, or one JSON text after the other, and each of these may be
/// compressed with gzip. Says in words what failed,
/// at which host, how often, and what to do. A report is no proof: anyone can send one.
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
        let octets = match read(path) {
            Ok(octets) => octets,
            Err(failure) => {
                tell(&mut unread, failure);
                continue;
            }
        };
        let octets = expanded(&octets).unwrap_or(octets);
        let octets = input::utf8_of_utf16(&octets).unwrap_or(octets);
        let parts = parts(&octets);
        for (index, part) in parts.iter().enumerate() {
            let place = match parts.len() {
                1 => path.display().to_string(),
                _ => format!("{}, report {}", path.display(), index + 1),
            };
            match ReceivedReport::read(part) {
                Ok(report) => failed |= write(&place, &report, out)?,
                Err(error) => {
                    let why = match (&error, input::other_kind(part)) {
                        (ReportError::NoReport, Some(what)) => what.to_owned(),
                        _ => error.to_string(),
                    };
                    tell(&mut unread, Failure::File(format!("{place}: {why}")));
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

/// The last failure is told by the exit, the others at once.
fn tell(last: &mut Option<Failure>, failure: Failure) {
    if let Some(earlier) = last.replace(failure) {
        output::error(&earlier);
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return input::read(path);
    }
    let mut octets = Vec::new();
    let limit = MAX_ENCLOSED_LEN as u64 + 1;
    let read = io::stdin().lock().take(limit).read_to_end(&mut octets);
    read.map_err(|error| Failure::file(path, error))?;
    Ok(octets)
}

/// What a file of gzip holds: a report, or several, or mail as archives keep it. `None` if it is no
/// such file, or one that is damaged or expands to too much, which the reader of the report tells.
fn expanded(octets: &[u8]) -> Option<Vec<u8>> {
    // RFC 1952, section 2.3.1.
    if octets.len() > MAX_ENCLOSED_LEN || !octets.starts_with(&[0x1f, 0x8b]) {
        return None;
    }
    let limit = MAX_ENCLOSED_LEN as u64 + 1;
    let mut text = Vec::new();
    MultiGzDecoder::new(octets).take(limit).read_to_end(&mut text).ok()?;
    (text.len() <= MAX_ENCLOSED_LEN).then_some(text)
}

/// The reports of a file: one, or those of the mails of an mbox file, of a list in JSON, or of one
/// JSON text after the other.
fn parts(octets: &[u8]) -> Vec<Cow<'_, [u8]>> {
    if octets.starts_with(b"From ") {
        return mails(octets).into_iter().map(Cow::Borrowed).collect();
    }
    let text = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets).trim_ascii();
    let mut several = Vec::new();
    if octets.len() <= MAX_ENCLOSED_LEN && text.starts_with(b"[") {
        // A list that is no JSON is one broken report.
        let list: Vec<Value> = serde_json::from_slice(text).unwrap_or_default();
        several = list;
    } else if octets.len() <= MAX_ENCLOSED_LEN && text.starts_with(b"{") {
        let texts = serde_json::Deserializer::from_slice(text).into_iter();
        several = texts.collect::<Result<_, _>>().unwrap_or_default();
    }
    match several.len() {
        0 => vec![Cow::Borrowed(octets)],
        1 if text.starts_with(b"{") => vec![Cow::Borrowed(octets)],
        _ => several.iter().map(|value| Cow::Owned(value.to_string().into_bytes())).collect(),
    }
}

/// The messages of an mbox file.
fn mails(octets: &[u8]) -> Vec<&[u8]> {
    let (mut mails, mut begun, mut at) = (Vec::new(), None, 0);
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b"From ") && (begun.is_none() || is_dated(line)) {
            mails.extend(begun.replace(at + line.len()).map(|from| &octets[from..at]));
        }
        at += line.len();
    }
    mails.extend(begun.map(|from| &octets[from..]));
    mails
}

/// Whether sessions failed.
fn write(place: &str, report: &ReceivedReport, out: &mut Out) -> Result<bool, Failure> {
    let sum = |of: fn(&smtp_tls_policy::tlsrpt::ReportedPolicy) -> u64| {
        report.policies.iter().map(of).fold(0, u64::saturating_add)
    };
    let (successful, failed) = (sum(|policy| policy.successful), sum(|policy| policy.failed));
    let complaints: Vec<String> = report.complaints().iter().map(ToString::to_string).collect();
    let is_bad = failed > 0 || !complaints.is_empty();
    if out.is_json() {
        out.json_line(&Answer {
            file: place.to_owned(),
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
    let stated = |text: &str, otherwise: &str| match text.is_empty() {
        true => otherwise.to_owned(),
        false => text.to_owned(),
    };
    let organization = stated(&report.organization, "organisation not stated");
    match (report.begins.as_str(), report.ends.as_str()) {
        ("", "") => out.title(organization)?,
        (begins, ends) => {
            let (begins, ends) = (stated(begins, "not stated"), stated(ends, "not stated"));
            out.title(format!("{organization}, {begins} to {ends}"))?;
        }
    }
    out.row("  ", "file        ", place)?;
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
