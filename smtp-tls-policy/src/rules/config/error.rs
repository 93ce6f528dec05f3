//! The faults of a configuration, each with its place and its remedy.

use std::fmt;

use toml::de::DeValue;

use crate::visible::visible;

/// Most characters of a value that an error repeats.
const MAX_SHOWN: usize = 60;

/// One fault of a configuration file: where it is, what was found, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) field: String,
    pub(super) message: String,
}

impl ConfigError {
    /// A fault of another file of settings, for a program that reads one beside its connectors.
    /// `line` is counted from 1; `message` says what was found, and what would be right.
    pub fn new(
        file: impl Into<String>,
        line: usize,
        field: impl Into<String>,
        message: impl fmt::Display,
    ) -> Self {
        let message = message.to_string().replace('\n', " ");
        Self { file: file.into(), line, field: field.into(), message }
    }

    /// The file, by the name that [`Config::from_toml`](super::Config::from_toml) was given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The field, such as `outbound.posture`; empty if the text is no TOML.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What was found there, and what would be right, in one line.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: line {}", self.file, self.line)?;
        if !self.field.is_empty() {
            write!(f, ", field {}", self.field)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

/// The lines of a text.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter_map(|(at, it)| (it == b'\n').then_some(at)).collect())
    }

    /// The line of an octet, counted from 1.
    pub(super) fn at(&self, octet: usize) -> usize {
        self.0.partition_point(|end| *end < octet) + 1
    }
}

pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// What a value is, for people.
pub(super) fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.trim().is_empty() => "an empty string".to_owned(),
        DeValue::String(text) => format!("\"{}\"", shown(text)),
        DeValue::Integer(number) => format!("the number {}", shown(&number.to_string())),
        DeValue::Float(number) => format!("the number {}", shown(&number.to_string())),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(array) if array.is_empty() => "an empty list".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// The start of a text, without hidden characters and line ends.
pub(super) fn shown(text: &str) -> String {
    let start: String = text.chars().take(MAX_SHOWN).collect();
    let mut shown = visible(&start);
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}

pub(super) fn expected<T>(words: &[(&str, T)]) -> String {
    let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    format!("expected one of {}", words.join(", "))
}
