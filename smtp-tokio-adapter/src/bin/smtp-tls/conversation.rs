//! Records what clients and servers say, with the time of each line.
//!
//! The library tells it by `tracing` events, without credentials and without messages.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use smtp_tls_policy::trace::DateTime;
use smtp_tls_policy::visible;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::input;

/// The events of the library that are recorded.
const TARGET: &str = "smtp_tokio_adapter::conversation";
/// The span of the library that names the host of a connection.
const SPAN: &str = "smtp_deliver";
/// Most octets of lines that are kept of one connection.
const MAX_KEPT: usize = 64 * 1024;
/// Most octets of lines that are kept of all connections.
const MAX_KEPT_OF_ALL: usize = 16 << 20;

/// A command, or nothing before the greeting, and the reply.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Exchange {
    pub(crate) command: String,
    pub(crate) reply: Vec<String>,
}

/// What was said on all connections of the run.
#[derive(Clone)]
pub(crate) struct Recorder(Arc<Mutex<Recorded>>);

struct Recorded {
    begun: Instant,
    entries: Vec<(Duration, Said)>,
    /// Octets that were kept of the connection that is recorded.
    size: usize,
    /// Octets that were kept of all connections.
    all: usize,
}

enum Said {
    Client(String),
    Server(String),
    /// TLS is up.
    Tls(String),
    Note(String),
}

impl Recorder {
    /// Records from here to the end of the program.
    pub(crate) fn start() -> Self {
        let recorded = Recorded { begun: Instant::now(), entries: Vec::new(), size: 0, all: 0 };
        let recorder = Self(Arc::new(Mutex::new(recorded)));
        // The program has no other subscriber.
        let _ = tracing::subscriber::set_global_default(recorder.clone());
        let date = i64::try_from(input::now().as_secs()).ok().and_then(|it| DateTime::new(it, 0));
        let date = date.map(|date| format!("{date}; ")).unwrap_or_default();
        recorder.note(format!("{date}seconds since then"));
        recorder
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line of this side.
    pub(crate) fn note(&self, text: String) {
        self.lock().push(Said::Note(text));
    }

    /// Begins a connection, and returns its place for [`exchanges`](Self::exchanges).
    pub(crate) fn begin(&self, text: String) -> usize {
        let mut recorded = self.lock();
        recorded.size = 0;
        recorded.push(Said::Note(text));
        recorded.entries.len()
    }

    /// Each command in clear text with its reply, from a place on.
    pub(crate) fn exchanges(&self, place: usize) -> Vec<Exchange> {
        let recorded = self.lock();
        let mut exchanges = vec![Exchange::default()];
        for (_, said) in recorded.entries.iter().skip(place) {
            match said {
                Said::Client(command) => {
                    exchanges.push(Exchange { command: command.clone(), reply: Vec::new() });
                }
                Said::Server(line) => {
                    if let Some(last) = exchanges.last_mut() {
                        last.reply.push(line.clone());
                    }
                }
                Said::Tls(_) => break,
                Said::Note(_) => {}
            }
        }
        exchanges
    }

    /// All of it as text, with the seconds since the start.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut channel = "";
        for (at, said) in &self.lock().entries {
            let (mark, said) = match said {
                Said::Client(line) => (format!("C:  {channel}"), line),
                Said::Server(line) => (format!("S:  {channel}"), line),
                Said::Tls(line) => {
                    channel = "(TLS) ";
                    ("--  ".to_owned(), line)
                }
                Said::Note(line) => {
                    channel = "";
                    ("--  ".to_owned(), line)
                }
            };
            let said = visible(said);
            text.push_str(&format!("{:8.3} {mark}{said}\n", at.as_secs_f64()));
        }
        text
    }
}

impl Recorded {
    fn push(&mut self, said: Said) {
        self.entries.push((self.begun.elapsed(), said));
    }

    fn say(&mut self, said: Said, octets: usize) {
        let before = self.size;
        self.size = self.size.saturating_add(octets);
        let is_full = self.size > MAX_KEPT || self.all.saturating_add(octets) > MAX_KEPT_OF_ALL;
        match (before > MAX_KEPT, is_full) {
            (true, _) => {}
            (false, true) => {
                self.size = MAX_KEPT + 1;
                self.push(Said::Server("(more is left out)".to_owned()));
            }
            (false, false) => {
                self.all += octets;
                self.push(said);
            }
        }
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET || (metadata.is_span() && metadata.name() == SPAN)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let text = format!("{}, {}", fields.of("host"), fields.of("address"));
        let _ = self.begin(text);
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for (name, value) in &fields.0 {
            let octets = value.len();
            match *name {
                "client" => self.lock().say(Said::Client(value.clone()), octets),
                "server" => self.lock().say(Said::Server(value.clone()), octets),
                "version" => {
                    let text = format!("{value}, {}, {}", fields.of("cipher"), fields.of("group"));
                    self.lock().push(Said::Tls(text));
                }
                _ => {}
            }
        }
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The fields of an event.
#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn of(&self, name: &str) -> &str {
        self.0.iter().find(|(it, _)| *it == name).map_or("", |(_, value)| value)
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(recorded: &Recorded) -> usize {
        let text = |said: &Said| match said {
            Said::Client(text) | Said::Server(text) | Said::Tls(text) | Said::Note(text) => {
                text.len()
            }
        };
        recorded.entries.iter().map(|(_, said)| text(said)).sum()
    }

    #[test]
    fn what_is_kept_is_bounded_for_each_connection_and_for_all() {
        let mut recorded = Recorded { begun: Instant::now(), entries: Vec::new(), size: 0, all: 0 };
        let line = "x".repeat(1024);
        for connection in 0..1000 {
            recorded.size = 0;
            let before = size(&recorded);
            for _ in 0..100 {
                recorded.say(Said::Server(line.clone()), line.len());
            }
            let kept = size(&recorded) - before;
            assert!((1..=MAX_KEPT + 100).contains(&kept), "{connection}: {kept}");
        }
        let all = size(&recorded);
        assert!((MAX_KEPT_OF_ALL - 1024..MAX_KEPT_OF_ALL + 100_000).contains(&all), "{all}");
    }
}
