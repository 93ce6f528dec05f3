//! Corpora from outside this project, and the rows on which this library decides otherwise.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

use super::folder;

/// The rows of a corpus; `None` if it is absent.
pub fn corpus(name: &str) -> Option<Vec<Value>> {
    let text = folder::read(&format!("{name}.jsonl"))?;
    Some(text.lines().map(|row| serde_json::from_str(row).expect("a row is JSON")).collect())
}

pub fn text<'v>(row: &'v Value, field: &str) -> &'v str {
    row.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The exceptions of one corpus: a row's key, and the reason. `corpus | key | RFC, section |
/// sentence`.
pub fn exceptions(name: &str) -> HashMap<String, &'static str> {
    include_str!("../exceptions/core.txt")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .filter_map(|line| {
            let parts: Vec<&str> = line.split(" | ").collect();
            let [corpus, key, section, sentence] = parts[..] else { panic!("{line}") };
            assert!(
                section.starts_with("RFC ") && section.contains(", ") && !sentence.is_empty(),
                "{line}"
            );
            (corpus == name).then(|| (key.to_owned(), line))
        })
        .collect()
}

/// Collects what differs from the rows, less the exceptions; an exception that agrees has lost its
/// reason.
pub struct Verdicts {
    exceptions: HashMap<String, &'static str>,
    wrong: Vec<String>,
}

impl Verdicts {
    pub fn of(name: &str) -> Self {
        Self { exceptions: exceptions(name), wrong: Vec::new() }
    }

    /// Checks every row. One that panics is wrong too, and the others are checked all the same, so
    /// that all rows that fail are listed at once.
    pub fn each(&mut self, rows: &[Value], check: impl Fn(&mut Self, &Value)) {
        for (row, number) in rows.iter().zip(1..) {
            let checked = catch_unwind(AssertUnwindSafe(|| check(self, row)));
            if let Err(panic) = checked {
                self.wrong.push(format!("row {number}: {}: {row}", message(&*panic)));
            }
        }
    }

    pub fn check(&mut self, key: &str, agrees: bool, detail: impl FnOnce() -> String) {
        match (agrees, self.exceptions.get(key)) {
            (true, None) | (false, Some(_)) => {}
            (false, None) => self.wrong.push(format!("{key}: {}", detail())),
            (true, Some(exception)) => {
                self.wrong.push(format!("no longer an exception: {exception}"))
            }
        }
    }

    pub fn done(self) {
        assert!(self.wrong.is_empty(), "{} rows:\n{}", self.wrong.len(), self.wrong.join("\n"));
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked")
}

/// Lines that end in a bare LF, as files do, get the CRLF of the wire.
pub fn crlf(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\n', "\r\n");
    if text.ends_with("\r\n") { text } else { text + "\r\n" }
}

/// Sizes of pieces that look random and are the same every time.
pub fn sizes(seed: u64) -> impl Iterator<Item = usize> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        1 + (state % 17) as usize
    })
}

/// Every fragmentation that is tried: whole, byte by byte, random pieces.
pub fn fragmentations() -> Vec<Vec<usize>> {
    let random = (1..5).map(|seed| sizes(seed).take(50).collect());
    [vec![usize::MAX], vec![1]].into_iter().chain(random).collect()
}
