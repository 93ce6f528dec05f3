//! How the table of peculiarities is printed.

use std::fmt::Write;

use serde::Serialize;

/// The name of the rows of this library.
pub(crate) const OURS: &str = "smtp-proto";

/// Which side has the peculiarity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    /// Clients have it; the rows are servers.
    Client,
    /// Servers have it; the rows are clients.
    Server,
}

/// A peculiarity of one side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habit {
    /// The head of its column.
    pub(crate) key: &'static str,
    /// What the side does.
    pub(crate) text: &'static str,
    /// What this library makes of it.
    pub(crate) decided: &'static str,
}

/// What one peer makes of the peculiarities of the other side.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) side: Side,
    /// The peer and its version.
    pub(crate) peer: String,
    /// In the order of the habits: a reply code, a verdict, or `-` for a peer without such a mode.
    pub(crate) cells: Vec<String>,
}

impl Row {
    /// What this library does and should not do; nothing for another peer.
    pub(crate) fn wrong(&self, habits: &[Habit]) -> Vec<String> {
        if self.peer != OURS {
            return Vec::new();
        }
        let cells = habits.iter().zip(&self.cells);
        let wrong = cells.filter(|(habit, cell)| habit.decided != *cell);
        let line = |(habit, cell): (&Habit, &String)| {
            format!("{}, {}: {cell}, and {} is decided", habit.key, habit.text, habit.decided)
        };
        wrong.map(line).collect()
    }
}

/// The rows of one side, for people: the table, what the columns mean, and what is wrong.
pub(crate) fn table(side: Side, habits: &[Habit], rows: &[Row]) -> String {
    let rows: Vec<_> = rows.iter().filter(|row| row.side == side).collect();
    let title = match side {
        Side::Client => "servers, odd clients",
        Side::Server => "clients, odd servers",
    };
    let mut text = String::new();
    let first =
        rows.iter().map(|row| row.peer.len()).chain([title.len()]).max().unwrap_or_default();
    let widths = (0..habits.len()).map(|at| {
        let cells = rows.iter().filter_map(|row| row.cells.get(at)).map(String::len);
        cells.chain([habits[at].key.len()]).max().unwrap_or_default()
    });
    let widths: Vec<usize> = widths.collect();
    let mut line = |head: &str, cells: Vec<&str>| {
        let mut line = format!("{head:first$}");
        for (cell, width) in cells.into_iter().zip(&widths) {
            let _ = write!(line, "  {cell:width$}");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    };
    line(title, habits.iter().map(|habit| habit.key).collect());
    for row in &rows {
        line(&row.peer, row.cells.iter().map(String::as_str).collect());
    }
    for habit in habits {
        let _ = writeln!(text, "{}: {}", habit.key, habit.text);
    }
    for wrong in rows.iter().flat_map(|row| row.wrong(habits)) {
        let _ = writeln!(text, "FAILED: {OURS}, {wrong}");
    }
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Line<'r> {
    odd: Side,
    peer: &'r str,
    habit: &'r str,
    text: &'r str,
    result: &'r str,
}

/// One line of JSON for each cell.
pub(crate) fn json(habits: &[Habit], rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        for (habit, cell) in habits.iter().zip(&row.cells) {
            let Habit { key, text: what, .. } = *habit;
            let line =
                Line { odd: row.side, peer: &row.peer, habit: key, text: what, result: cell };
            let _ = writeln!(text, "{}", serde_json::to_string(&line).unwrap_or_default());
        }
    }
    text
}
