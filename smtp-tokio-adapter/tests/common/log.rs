//! Records the events that a test logs.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, Interest};
use tracing::{Event, Level, Metadata, Subscriber};

/// The events of this thread, each as `LEVEL message field=value`.
#[derive(Clone)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    /// Only this target, at each level; without one, warnings and errors of all targets.
    target: Option<&'static str>,
}

impl Log {
    /// Records warnings and errors until the guard is dropped. The test must run in one thread.
    pub fn record() -> (Self, DefaultGuard) {
        Self::record_target(None)
    }

    /// Records all events of one target, or as [`record`](Self::record).
    pub fn record_target(target: Option<&'static str>) -> (Self, DefaultGuard) {
        // An error says that it is installed already.
        drop(tracing::subscriber::set_global_default(Deaf));
        let log = Self { lines: Arc::default(), target };
        let guard = tracing::subscriber::set_default(log.clone());
        (log, guard)
    }

    /// The lines that have this text, in order.
    pub fn with(&self, text: &str) -> Vec<String> {
        self.lines.lock().unwrap().iter().filter(|line| line.contains(text)).cloned().collect()
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        match self.target {
            Some(target) => metadata.target() == target,
            None => *metadata.level() <= Level::WARN,
        }
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line { message: String::new(), fields: String::new() };
        event.record(&mut line);
        let line = format!("{} {}{}", event.metadata().level(), line.message, line.fields);
        self.lines.lock().unwrap().push(line);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Records nothing, and leaves each event possible: a test in another thread, which records
/// nothing, would otherwise switch an event off for all threads if it came to it first.
struct Deaf;

impl Subscriber for Deaf {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => write!(self.message, "{value:?}").unwrap(),
            name => write!(self.fields, " {name}={value:?}").unwrap(),
        }
    }
}
