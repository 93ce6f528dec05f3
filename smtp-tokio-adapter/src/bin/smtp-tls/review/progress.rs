//! A progress bar on standard error, where that is a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::output::Out;

/// How often it is drawn.
const PAUSE: Duration = Duration::from_millis(100);
const WIDTH: u64 = 40;

/// How far the work is. Removed when it is dropped.
pub(super) struct Progress {
    total: u64,
    done: u64,
    unit: &'static str,
    drawn: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    /// A bar that is drawn if standard error is a terminal and the output goes elsewhere.
    pub(super) fn new(total: u64, unit: &'static str, out: &Out) -> Self {
        let is_shown = io::stderr().is_terminal() && !out.is_terminal() && total > 0;
        Self { total, done: 0, unit, drawn: None, is_shown }
    }

    /// No bar.
    pub(super) fn hidden() -> Self {
        Self { total: 0, done: 0, unit: "", drawn: None, is_shown: false }
    }

    pub(super) fn add(&mut self, more: u64) {
        self.set(self.done + more);
    }

    pub(super) fn set(&mut self, done: u64) {
        self.done = done;
        if !self.is_shown || self.drawn.is_some_and(|drawn| drawn.elapsed() < PAUSE) {
            return;
        }
        self.drawn = Some(Instant::now());
        let part = (done * WIDTH / self.total).min(WIDTH) as usize;
        let (full, rest) = ("#".repeat(part), ".".repeat(WIDTH as usize - part));
        let line = format!("\r[{full}{rest}] {done} of {} {}", self.total, self.unit);
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
