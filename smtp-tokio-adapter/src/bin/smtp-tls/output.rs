//! What is written: text that fits 80 columns, or JSON.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::path::Path;

use crate::html::{Colour, Page};
use clap::Args;
use serde::Serialize;
use smtp_tls_policy::{is_hidden, visible};

use crate::status::Failure;

/// The width that text keeps to.
const WIDTH: usize = 80;

/// The options of each command that has an answer.
#[derive(Args)]
pub(crate) struct OutputOptions {
    /// Write JSON in place of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Standard output. Hidden characters in text that others wrote are replaced.
pub(crate) struct Out {
    writer: BufWriter<StdoutLock<'static>>,
    colour: bool,
    json: bool,
}

impl Out {
    pub(crate) fn new(json: bool) -> Self {
        let stdout = io::stdout();
        // https://no-color.org: set and not empty.
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = stdout.is_terminal() && !no_colour && !json;
        Self { writer: BufWriter::new(stdout.lock()), colour, json }
    }

    /// Whether JSON is wanted.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Writes one value as JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        Ok(writeln!(self.writer, "{}", escaped(&json))?)
    }

    /// Writes one value as JSON, on one line.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string(value).map_err(io::Error::from)?;
        Ok(writeln!(self.writer, "{}", escaped(&json))?)
    }

    /// Whether standard output is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Writes octets as they are.
    pub(crate) fn raw(&mut self, octets: &[u8]) -> Result<(), Failure> {
        Ok(self.writer.write_all(octets)?)
    }

    /// Writes a paragraph, broken at spaces to fit 80 columns.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        self.row("", "", text)
    }

    /// Writes a title, in bold on a terminal.
    pub(crate) fn title(&mut self, text: impl Display) -> Result<(), Failure> {
        let text = self.painted(BOLD, &visible(&text.to_string()));
        Ok(writeln!(self.writer, "{text}")?)
    }

    /// Writes an empty line.
    pub(crate) fn gap(&mut self) -> Result<(), Failure> {
        Ok(writeln!(self.writer)?)
    }

    /// Writes a label and a text; the lines of the text are below each other.
    pub(crate) fn row(
        &mut self,
        indent: &str,
        label: &str,
        text: impl Display,
    ) -> Result<(), Failure> {
        self.write_row(None, indent, label, &text.to_string())
    }

    /// Writes a label in a colour, and a text.
    pub(crate) fn coloured(
        &mut self,
        colour: Colour,
        indent: &str,
        label: &str,
        text: impl Display,
    ) -> Result<(), Failure> {
        self.write_row(Some(colour), indent, label, &text.to_string())
    }

    fn write_row(
        &mut self,
        colour: Option<Colour>,
        indent: &str,
        label: &str,
        text: &str,
    ) -> Result<(), Failure> {
        let (label, text) = (visible(label), visible(text));
        let start = indent.len() + label.chars().count();
        let lines = wrap(&text, WIDTH.saturating_sub(start));
        let label = match colour {
            Some(colour) => self.painted(code(colour), &label),
            None => label,
        };
        write!(self.writer, "{indent}{label}")?;
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                write!(self.writer, "{:start$}", "")?;
            }
            writeln!(self.writer, "{line}")?;
        }
        Ok(())
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if !self.colour || text.trim().is_empty() {
            return text.to_owned();
        }
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Writes what is held back.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.writer.flush()?)
    }
}

/// Bold, as a code of ECMA-48 (SGR).
const BOLD: &str = "1";

fn code(colour: Colour) -> &'static str {
    match colour {
        Colour::Green => "32",
        Colour::Amber => "33",
        Colour::Red => "31",
    }
}

/// Writes a page to a file.
pub(crate) fn write_page(page: &Page, path: &Path) -> Result<(), Failure> {
    std::fs::write(path, page.to_string()).map_err(|error| Failure::file(path, error))
}

/// One line for an error, on standard error. There is nothing left to do if that cannot be written.
pub(crate) fn error(failure: &Failure) {
    let _ = writeln!(io::stderr(), "smtp-tls: {}", visible(&failure.to_string()));
}

/// One line for the administrator of a service, on standard error, as [`error`] does.
pub(crate) fn warning(text: &str) {
    let _ = writeln!(io::stderr(), "smtp-tls: warning: {}", visible(text));
}

/// The lines of a text, broken at spaces; a piece without a space may be longer.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut length = 0;
    for piece in text.split(' ') {
        let size = piece.chars().count();
        if length > 0 && length + 1 + size > width {
            lines.push(std::mem::take(&mut line));
            length = 0;
        } else if length > 0 || !line.is_empty() {
            line.push(' ');
            length += 1;
        }
        line.push_str(piece);
        length += size;
    }
    lines.push(line);
    lines
}

/// JSON whose strings have escapes in place of hidden characters, which a terminal would obey. The
/// value is the same. JSON without such escapes has hidden characters, other than its own line
/// ends, in strings only.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            c if c == '\n' || !is_hidden(c) => escaped.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    escaped.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    escaped
}
