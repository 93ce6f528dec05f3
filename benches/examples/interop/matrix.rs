//! The table: peers in rows, what was tried in columns, what came of it in cells.

use std::fmt::Write;

use serde::Serialize;

/// What a message is sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Column {
    Clear,
    StartTls,
    ImplicitTls,
    Pipelining,
    Chunking,
    SmtpUtf8,
    Dsn,
    Auth,
}

impl Column {
    pub(crate) const ALL: [Self; 8] = [
        Self::Clear,
        Self::StartTls,
        Self::ImplicitTls,
        Self::Pipelining,
        Self::Chunking,
        Self::SmtpUtf8,
        Self::Dsn,
        Self::Auth,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::StartTls => "STARTTLS",
            Self::ImplicitTls => "implicit TLS",
            Self::Pipelining => "pipelining",
            Self::Chunking => "chunking",
            Self::SmtpUtf8 => "SMTPUTF8",
            Self::Dsn => "DSN",
            Self::Auth => "AUTH",
        }
    }
}

/// What came of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Delivered and intact, by what the column says, with what was seen.
    Delivered(String),
    /// The peer cannot do that.
    Unsupported,
    /// Not delivered, not intact, or not by what the column says.
    Blank(String),
}

impl From<Result<String, String>> for Cell {
    fn from(result: Result<String, String>) -> Self {
        match result {
            Ok(seen) => Self::Delivered(seen),
            Err(why) => Self::Blank(why),
        }
    }
}

/// Which side the peer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Our client has sent to it.
    Server,
    /// It has sent to our server.
    Client,
}

/// One peer.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) role: Role,
    /// Its name and version.
    pub(crate) peer: String,
    /// In the order of [`Column::ALL`].
    pub(crate) cells: [Cell; 8],
}

impl Row {
    /// Whether every cell that the peer supports is delivered.
    pub(crate) fn is_complete(&self) -> bool {
        !self.cells.iter().any(|cell| matches!(cell, Cell::Blank(_)))
    }
}

/// The table for people. Blank cells are explained below it.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for (role, title) in
        [(Role::Server, "their servers, our client"), (Role::Client, "their clients, our server")]
    {
        let rows: Vec<_> = rows.iter().filter(|row| row.role == role).collect();
        if rows.is_empty() {
            continue;
        }
        let first =
            rows.iter().map(|row| row.peer.len()).chain([title.len()]).max().unwrap_or_default();
        let widths = Column::ALL.map(|column| column.name().len().max("delivered".len()));
        let mut line = |head: &str, cells: [&str; 8]| {
            let mut line = format!("{head:first$}");
            for (cell, width) in cells.into_iter().zip(widths) {
                let _ = write!(line, "  {cell:width$}");
            }
            let _ = writeln!(text, "{}", line.trim_end());
        };
        line(title, Column::ALL.map(Column::name));
        for row in &rows {
            line(
                &row.peer,
                row.cells.each_ref().map(|cell| match cell {
                    Cell::Delivered(_) => "delivered",
                    Cell::Unsupported => "-",
                    Cell::Blank(_) => "",
                }),
            );
        }
        for row in &rows {
            for (column, cell) in Column::ALL.iter().zip(&row.cells) {
                if let Cell::Blank(why) = cell {
                    let _ = writeln!(text, "FAILED: {}, {}: {why}", row.peer, column.name());
                }
            }
        }
        text.push('\n');
    }
    let supported: Vec<_> =
        rows.iter().flat_map(|row| &row.cells).filter(|cell| **cell != Cell::Unsupported).collect();
    let delivered = supported.iter().filter(|cell| matches!(cell, Cell::Delivered(_))).count();
    let _ =
        writeln!(text, "{delivered} of {} supported cells delivered and intact", supported.len());
    text
}

#[derive(Serialize)]
struct Line<'r> {
    role: Role,
    peer: &'r str,
    column: &'r str,
    result: &'r str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'r str,
}

/// One line of JSON for each cell.
pub(crate) fn json(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        for (column, cell) in Column::ALL.iter().zip(&row.cells) {
            let (result, detail) = match cell {
                Cell::Delivered(seen) => ("delivered", seen.as_str()),
                Cell::Unsupported => ("-", ""),
                Cell::Blank(why) => ("", why.as_str()),
            };
            let line =
                Line { role: row.role, peer: &row.peer, column: column.name(), result, detail };
            let line = serde_json::to_string(&line).unwrap_or_default();
            let _ = writeln!(text, "{line}");
        }
    }
    text
}
